//! `ocelli train`

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anstream::{eprintln, println};
use ocelli::report::{ReportOptions, report_run};
use ocelli::{
    Arch, Choices, ClassWeights, Event, Interpretation, Items, LearningRates, MAX_THREADS, Method, Metric,
    Mix, OneCycle, Optimizer, Outcome, Places, Predictions, Preset, Schedule, Settings, Sgdr, Task,
    Thresholds, Training, Tta, WeightStore, default_cache,
};

use crate::Failure;
use crate::arguments::{Rule, Train, Tuned};
use crate::pull::fetched;
use crate::source::{augmentation, channels};
use crate::terminal::{self, Terminal};
use crate::words::{count, counted, duration};

pub fn run(arguments: &Train) -> Result<(), Failure> {
    use_threads(arguments.machine.threads)?;
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
    let settings = if arguments.resume.is_some() { None } else { Some(settings(arguments)?) };
    let prepare = || match (&settings, &arguments.resume) {
        (Some(settings), _) => Training::prepare(settings, &places),
        (None, run) => Training::resume(run.as_deref().unwrap_or(Path::new(".")), &places),
    };
    let mut training = match prepare() {
        // By now the photos are known to be usable, so that the transfer is not in vain.
        Err(ocelli::Error::NoWeights { architecture, .. }) => {
            fetched(&WeightStore::with_cache(&cache), architecture.parse()?, quiet)?;
            prepare()?
        }
        training => training?,
    };
    if !quiet {
        let precision = training.learner().network().precision();
        println!(
            "ocelli {} · {}\n",
            env!("CARGO_PKG_VERSION"),
            terminal::machine(arguments.machine.device, precision)
        );
        terminal::introduce(&training);
    } else {
        // Warnings are no part of what is not wanted.
        let warnings =
            training.learner().data().notices().iter().filter(|notice| notice.starts_with("warning"));
        warnings.for_each(|warning| eprintln!("{warning}"));
    }
    training.observe(Terminal::new(quiet, arguments.machine.verbose));
    let interrupted = watch_for_interrupt()?;
    training.observe(move |_: &Event| {
        if interrupted.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    match training.run() {
        Err(ocelli::Error::Stopped) => {
            let run = training.run_folder().path();
            eprintln!("stopped; all is kept. To go on:  ocelli train --resume {}", quoted(run));
            Err(Failure::Interrupted)
        }
        Err(error) => {
            let go_on = format!("ocelli train --resume {}", quoted(training.run_folder().path()));
            // Where photos are what is the matter, the run would end there again.
            let kept = match training.has_checkpoint() && crate::advice(&error).is_none() {
                true => format!("\n       to go on:  {go_on}"),
                false => String::new(),
            };
            match Failure::from(error) {
                Failure::Error(error) => Err(Failure::Error(format!("{error}{kept}"))),
                failure => Err(failure),
            }
        }
        Ok(outcome) => {
            conclude(&outcome, training.learner().data().items());
            let options = ReportOptions {
                cache: Some(cache.clone()),
                threads: arguments.machine.threads,
                only_kept_activations: true,
                ..ReportOptions::default()
            };
            let began = Instant::now();
            // The model is what counts: without its report the run is still done.
            let report = match report_run(training.run_folder().path(), options) {
                Ok(report) => format!("   report {}", report.page.display()),
                Err(error) => {
                    eprintln!("   note: no report was written: {error}");
                    String::new()
                }
            };
            if !quiet {
                let reporting = began.elapsed().as_secs_f64();
                println!(
                    "done in {}, {} of it for the report   model {}{report}",
                    duration(outcome.seconds + reporting),
                    duration(reporting),
                    outcome.model.display()
                );
                println!("next:  ocelli predict {} PHOTO…", quoted(&outcome.model));
            }
            Ok(())
        }
    }
}

/// What the run came to, with its uncertainty, and what it gets wrong.
fn conclude(outcome: &Outcome, items: &Items) {
    let predictions = &outcome.predictions;
    println!();
    if predictions.items.is_empty() {
        println!("nothing was held out, so how good the model is was not measured");
        return;
    }
    let lines: Vec<(Metric, &str)> = match predictions.task {
        Task::SingleLabel => vec![(Metric::Accuracy, ""), (Metric::LogLoss, "")],
        Task::MultiLabel => {
            let f1 = Metric::usual(Task::MultiLabel);
            vec![(f1, "over all labels"), (Metric::LabelAccuracy, "of each label of each image")]
        }
    };
    let mut lines = lines;
    if !lines.iter().any(|(metric, _)| *metric == outcome.metric) {
        lines.insert(0, (outcome.metric, ""));
    }
    let sets = [("", Some(predictions)), ("  with test-time augmentation", outcome.augmented.as_ref())];
    for (name, predictions) in sets {
        let Some(predictions) = predictions else { continue };
        for (metric, more) in &lines {
            let measured = predictions.measure(*metric);
            let (low, high) = measured.interval;
            let count = match metric {
                Metric::Accuracy => {
                    let share = predictions.accuracy();
                    format!("{} of {} right", share.count, counted(share.total, "validation image"))
                }
                _ => (*more).to_owned(),
            };
            let line = format!(
                "{:<14} {:.4}   95 % interval {low:.4} … {high:.4}   {count}",
                metric.to_string(),
                measured.value
            );
            println!("{}{name}", line.trim_end());
        }
    }
    if let Some(line) = unmeasured(predictions, items.classes.names()) {
        println!("{line}");
    }
    let used = outcome.augmented.as_ref().unwrap_or(predictions);
    if let Some(mistakes) = mistakes(used, items) {
        println!("most often wrong   {mistakes}");
    }
    if let Some(thresholds) = &outcome.thresholds {
        let lowest = thresholds.iter().copied().fold(f32::INFINITY, f32::min);
        let highest = thresholds.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let (each, from) = match lowest == highest {
            true => ("a label", format!("{lowest:.2}")),
            false => ("each label", format!("its own, {lowest:.2} to {highest:.2},")),
        };
        println!(
            "{each} is given from a probability of {from} on, tuned to {} on these images",
            outcome.metric
        );
    }
}

/// The classes that nothing was measured on, since none of the measured images has them; nothing where there are none.
pub fn unmeasured(predictions: &Predictions, classes: &[String]) -> Option<String> {
    let measured: HashSet<usize> =
        predictions.targets.iter().flat_map(|target| target.classes().iter().copied()).collect();
    let without: Vec<&str> = (0..classes.len())
        .filter(|class| !measured.contains(class))
        .map(|class| classes[class].as_str())
        .collect();
    let named = without.iter().take(UNMEASURED).copied().collect::<Vec<_>>().join(", ");
    let more = if without.len() > UNMEASURED { ", …" } else { "" };
    (!without.is_empty()).then(|| {
        let of = counted(classes.len(), "class");
        format!(
            "not measured   {} of {of}, of which there is no image here: {named}{more}",
            count(without.len())
        )
    })
}

/// Classes without measured images that are named.
const UNMEASURED: usize = 5;

/// `cats said to be dogs 12 of 1,000 · …`; nothing where images have several classes, or all are right.
fn mistakes(predictions: &Predictions, items: &Items) -> Option<String> {
    let matrix = Interpretation::new(predictions.clone(), items).confusion_matrix().ok()?;
    let pairs = matrix.most_confused(1).into_iter().take(MISTAKES).map(|pair| {
        let (truth, predicted, of) = (pair.truth, pair.predicted, count(pair.of));
        format!("{truth} said to be {predicted} {} of {of}", count(pair.count))
    });
    let pairs: Vec<String> = pairs.collect();
    (!pairs.is_empty()).then(|| pairs.join(" · "))
}

/// Pairs of classes that are named.
const MISTAKES: usize = 3;

fn settings(arguments: &Train) -> Result<Settings, Failure> {
    let mut settings = match (&arguments.config, &arguments.data) {
        (Some(path), _) => Settings::read(path)?,
        (None, data) => Settings::new(data.clone().unwrap_or_default()),
    };
    if let Some(data) = &arguments.data {
        (settings.data, settings.table) = arguments.source.data(data);
    }
    if let Some(name) = &arguments.arch {
        let arch: Arch =
            name.parse().map_err(|error: ocelli::NetworkError| Failure::Error(error.to_string()))?;
        settings.architecture = arch.to_string();
        settings.size = arch.info().size;
    }
    if let Some(held_out) = arguments.source.held_out()? {
        settings.held_out = Some(held_out);
    }
    if let Some(weights) = &arguments.weights {
        settings.weights = Some(weights.clone());
    }
    if let Some(framing) = arguments.framing {
        settings.framing = framing.framing();
    }
    if let Some(decisions) = &arguments.decisions {
        settings.decisions = Some(decisions.clone());
    }
    if let Some(bad) = arguments.bad_images {
        settings.bad_images = bad.policy();
    }
    settings.method = method(arguments, settings.method)?;
    settings.bn_freeze &= !arguments.batch_statistics;
    settings.balanced |= arguments.balanced;
    settings.max_pixels = arguments.source.max_pixels.or(settings.max_pixels);
    let channels = channels(&arguments.source.bands, &arguments.source.range)?;
    settings.channels.bands = channels.bands.or(settings.channels.bands);
    settings.channels.range = channels.range.or(settings.channels.range);
    settings.batch_size = arguments.batch.unwrap_or(settings.batch_size);
    settings.seed = arguments.seed.unwrap_or(settings.seed);
    settings.metric = arguments.metric.or(settings.metric);
    settings.precision = arguments.machine.precision.precision().or(settings.precision);
    settings.patience = arguments.patience.or(settings.patience);
    if let Some(thresholds) = arguments.thresholds {
        settings.thresholds = match thresholds {
            Tuned::One => Thresholds::One,
            Tuned::PerClass => Thresholds::PerClass,
        };
    }
    let preset = arguments.recipe.unwrap_or_default();
    if !arguments.augment.is_empty() {
        settings.augmentation = augmentation(&arguments.augment);
    } else if arguments.config.is_none() {
        settings.augmentation = preset.augmentation();
    }
    if arguments.config.is_none() || changes_recipe(arguments) {
        let choices = choices(arguments, preset, settings.size, settings.augmentation.is_some())?;
        settings.size = choices.sizes[0];
        settings.recipe = choices.recipe();
    }
    Ok(settings)
}

/// How weights move, with what was asked for.
fn method(arguments: &Train, mut method: Method) -> Result<Method, Failure> {
    if let Some(rule) = arguments.optimizer {
        method.optimizer = rule.optimizer();
    }
    if let Some(decay) = arguments.weight_decay {
        method.weight_decay = decay.into();
    }
    method.loss.smoothing = arguments.label_smoothing.unwrap_or(method.loss.smoothing);
    method.loss.gamma = arguments.focal.unwrap_or(method.loss.gamma);
    match arguments.class_weights.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => {}
        ["equal"] => method.loss.class_weights = ClassWeights::Equal,
        ["balanced"] => method.loss.class_weights = ClassWeights::Balanced,
        ref numbers => {
            let weights: Result<Vec<f64>, _> = numbers.iter().map(|number| number.parse()).collect();
            let Ok(weights) = weights else {
                return Err(Failure::Error(format!(
                    "--class-weights {} is neither equal nor balanced nor a number a class, such as 1,2,1",
                    numbers.join(",")
                )));
            };
            method.loss.class_weights = ClassWeights::Given(weights);
        }
    }
    let mixup = arguments.mixup.map(|alpha| Mix::Mixup { alpha });
    method.mix = mixup.or(arguments.cutmix.map(|alpha| Mix::CutMix { alpha })).or(method.mix);
    method.clip = arguments.clip.or(method.clip);
    method.accumulate = arguments.accumulate.unwrap_or(method.accumulate);
    method.ema = arguments.ema.or(method.ema);
    method.swa = arguments.swa.or(method.swa);
    Ok(method)
}

/// Whether anything is given that a recipe follows from.
fn changes_recipe(arguments: &Train) -> bool {
    let Train {
        recipe, epochs, augmented_epochs, views, unfrozen_epochs, cycles, lr, spread, tta, size, ..
    } = arguments;
    let numbers = [epochs, augmented_epochs, views, unfrozen_epochs, cycles];
    recipe.is_some()
        || numbers.into_iter().any(Option::is_some)
        || !lr.is_empty()
        || !size.is_empty()
        || spread.is_some()
        || tta.is_some()
}

fn choices(arguments: &Train, preset: Preset, size: usize, augmented: bool) -> Result<Choices, Failure> {
    let sizes = if arguments.size.is_empty() { vec![size] } else { arguments.size.clone() };
    let (rate, unfrozen_rates) = match arguments.lr[..] {
        [] => (None, None),
        [rate] => (Some(rate), None),
        [early, late, head] => (None, Some(LearningRates([early, late, head]))),
        _ => {
            return Err(Failure::Error(format!(
                "--lr has {} rates; it takes one, for the head, or three, for early layers, late layers and head",
                arguments.lr.len()
            )));
        }
    };
    let unfrozen: Option<Schedule> = match (arguments.unfrozen_epochs, arguments.cycles) {
        (Some(epochs), _) => Some(OneCycle::epochs(epochs).into()),
        (None, Some(cycles)) => {
            Some(Sgdr::cycles(cycles).len(arguments.cycle_len).mult(arguments.cycle_mult).into())
        }
        (None, None) => None,
    };
    let usual = Choices::new(preset, sizes);
    Ok(Choices {
        augmented,
        epochs: arguments.epochs,
        augmented_epochs: arguments.augmented_epochs,
        views: arguments.views,
        unfrozen,
        rate,
        // What the head is given, its layers are given in a tenth, since all start near their goal.
        unfrozen_rates: unfrozen_rates.or(rate.map(|rate| {
            let spread = arguments.spread.unwrap_or(usual.spread);
            LearningRates::spread(rate / 10.0 / spread.powi(2), rate / 10.0)
        })),
        spread: arguments.spread.unwrap_or(usual.spread),
        tta: match arguments.tta.as_deref() {
            None => None,
            Some("none") => Some(None),
            Some(text) => Some(Some(views(text)?)),
        },
        ..usual
    })
}

/// `--tta 4`, `--tta corners`
pub fn views(text: &str) -> Result<Tta, Failure> {
    match (text, text.parse()) {
        ("corners", _) => Ok(Tta::corners()),
        (_, Ok(number @ 1..=64)) => Ok(Tta::views(number)),
        _ => Err(Failure::Error(format!(
            "--tta {text} is no number of views; give one from 1 to 64, such as 4, or corners"
        ))),
    }
}

impl Rule {
    pub fn optimizer(self) -> Optimizer {
        match self {
            Self::Sgd => Optimizer::SGD,
            Self::Nesterov => Optimizer::Sgd { momentum: 0.9, nesterov: true },
            Self::AdamW => Optimizer::ADAM_W,
            Self::RmsProp => Optimizer::RMS_PROP,
            Self::AdaGrad => Optimizer::ADA_GRAD,
            Self::Lion => Optimizer::LION,
        }
    }
}

/// The kernels' threads; those that decode are the loader's own.
pub fn use_threads(threads: usize) -> Result<(), Failure> {
    if threads > MAX_THREADS {
        let most =
            format!("--threads is {threads}; it must be at most {MAX_THREADS}, 0 is one for each core");
        return Err(Failure::Error(most));
    }
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
