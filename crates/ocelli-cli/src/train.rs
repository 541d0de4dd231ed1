//! `ocelli train`

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anstream::{eprintln, println};
use ocelli::{
    Arch, Event, LearningRates, Metric, Optimizer, Places, Precision, Predictions, Recipe, Settings, Task,
    Training, WeightStore, default_cache,
};

use crate::Failure;
use crate::arguments::{Bad, Rule, Train};
use crate::pull::fetched;
use crate::source::augmentation;
use crate::terminal::{self, Terminal};
use crate::words::{counted, duration};

pub fn run(arguments: &Train) -> Result<(), Failure> {
    use_threads(arguments.machine.threads)?;
    let settings = settings(arguments)?;
    let cache = match &arguments.machine.cache {
        Some(folder) => folder.clone(),
        None => default_cache()?,
    };
    let places = Places {
        out: arguments.out.clone(),
        cache: Some(cache.clone()),
        device: arguments.machine.device,
        threads: arguments.machine.threads,
        given: std::env::args().collect::<Vec<_>>().join(" "),
    };
    let quiet = arguments.machine.quiet;
    if !quiet {
        let precision = settings.precision.unwrap_or_else(Precision::fastest);
        let machine = terminal::machine(arguments.machine.device, precision);
        println!("ocelli {} · {machine}\n", env!("CARGO_PKG_VERSION"));
    }
    let mut training = match Training::prepare(&settings, &places) {
        // By now the photos are known to be usable, so that the transfer is not in vain.
        Err(ocelli::Error::NoWeights { .. }) => {
            fetched(&WeightStore::with_cache(&cache), settings.architecture.parse()?, quiet)?;
            Training::prepare(&settings, &places)?
        }
        training => training?,
    };
    if !quiet {
        terminal::introduce(&training);
    }
    training.observe(Terminal::new(quiet));
    let interrupted = watch_for_interrupt()?;
    training.observe(move |_: &Event| {
        if interrupted.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let outcome = match training.run() {
        Err(ocelli::Error::Stopped) => {
            let run = training.run_folder();
            match training.learner().history().len() {
                0 => eprintln!("stopped in the first epoch; what was computed of the activations is kept"),
                epochs => eprintln!(
                    "stopped after {}; the model as it is then: {}",
                    counted(epochs, "epoch"),
                    run.model().display()
                ),
            }
            return Err(Failure::Interrupted);
        }
        outcome => outcome?,
    };
    conclude(&outcome.predictions);
    if !quiet {
        println!("done in {}   model {}", duration(outcome.seconds), outcome.model.display());
        println!("next:  ocelli predict {} PHOTO…", quoted(&outcome.model));
    }
    Ok(())
}

/// What the run came to, with its uncertainty.
fn conclude(predictions: &Predictions) {
    let accuracy = predictions.accuracy();
    if accuracy.total == 0 {
        println!("\nnothing was held out, so how good the model is was not measured");
        return;
    }
    println!();
    if predictions.task == Task::MultiLabel {
        let f1 = predictions.measure(Metric::usual(Task::MultiLabel));
        let (low, high) = f1.interval;
        println!("F1       {:.4}   95 % interval {low:.4} … {high:.4}   over all labels", f1.value);
    }
    let (low, high) = accuracy.interval();
    println!(
        "accuracy {:.4}   95 % interval {low:.4} … {high:.4}   {} of {} right",
        accuracy.value(),
        accuracy.count,
        counted(accuracy.total, "validation image"),
    );
}

fn settings(arguments: &Train) -> Result<Settings, Failure> {
    let arch: Arch =
        arguments.arch.parse().map_err(|error: ocelli::NetworkError| Failure::Error(error.to_string()))?;
    let (head, unfrozen) = match arguments.lr[..] {
        [rate] => (rate, None),
        [early, late, head] => (1e-2, Some(LearningRates([early, late, head]))),
        _ => {
            return Err(Failure::Error(format!(
                "--lr has {} rates; it takes one, for the head, or three, for early layers, late layers and head",
                arguments.lr.len()
            )));
        }
    };
    let recipe = Recipe::with_learning_rate(head);
    let (data, table) = arguments.source.data();
    Ok(Settings {
        architecture: arch.to_string(),
        weights: arguments.weights.clone(),
        size: arguments.size.unwrap_or(arch.info().size),
        held_out: arguments.source.held_out()?,
        balanced: arguments.balanced,
        table,
        augmentation: augmentation(&arguments.augment),
        precision: arguments.machine.precision.precision(),
        batch_size: arguments.batch,
        seed: arguments.seed,
        weight_decay: arguments.weight_decay,
        fail_on_bad_images: arguments.bad_images == Bad::Fail,
        max_pixels: arguments.source.max_pixels,
        framing: arguments.framing.framing(),
        optimizer: arguments.optimizer.optimizer(),
        recipe: Recipe {
            epochs: arguments.epochs,
            unfrozen_epochs: arguments.unfrozen_epochs,
            unfrozen_learning_rates: unfrozen.unwrap_or(recipe.unfrozen_learning_rates),
            ..recipe
        },
        ..Settings::new(data)
    })
}

impl Rule {
    pub fn optimizer(self) -> Optimizer {
        match self {
            Self::Sgd => Optimizer::SGD,
            Self::AdamW => Optimizer::ADAM_W,
        }
    }
}

/// The kernels' threads; those that decode are the loader's own.
pub fn use_threads(threads: usize) -> Result<(), Failure> {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
    Ok(())
}

/// A flag that Ctrl-C sets. The second Ctrl-C ends the process at once.
pub fn watch_for_interrupt() -> Result<Arc<AtomicBool>, Failure> {
    let flag = Arc::new(AtomicBool::new(false));
    let set = flag.clone();
    ctrlc::set_handler(move || {
        if set.swap(true, Ordering::Relaxed) {
            std::process::exit(i32::from(crate::INTERRUPTED));
        }
        eprintln!("\nstopping after this batch; once more to stop at once");
    })?;
    Ok(flag)
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,:=@%".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}
