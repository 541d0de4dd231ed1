//! `ocelli submit`

use std::io::IsTerminal;
use std::path::Path;

use crate::output::{eprintln, free, message, new_file, path_line, println, shown};
use indicatif::ProgressBar;
use ocelli::{Model, Submission, Values, outside, photos_of_run, trained_on};

use crate::Failure;
use crate::arguments::{self, Submit};
use crate::interrupt;
use crate::train::use_threads;
use crate::words::{count, counted};

pub fn run(arguments: &Submit) -> Result<(), Failure> {
    use_threads(arguments.threads)?;
    let model = Model::load(&arguments.model)?.threads(arguments.threads);
    let submission = Submission {
        sample: arguments.sample.clone(),
        values: arguments.values.map(|values| match values {
            arguments::Values::Labels => Values::Labels,
            arguments::Values::Probabilities => Values::Probabilities,
        }),
        tta: arguments.tta,
        clip: arguments.clip,
    };
    let bar = (!arguments.quiet && std::io::stderr().is_terminal()).then(|| ProgressBar::new(0));
    let (out, said) = match &arguments.out {
        Some(out) => (new_file(out, "--out")?, None),
        None => {
            let photos = photos_of_run(&arguments.model);
            let folders: Vec<&Path> = [&*arguments.test].into_iter().chain(photos.as_deref()).collect();
            outside("submission.csv", &folders)?
        }
    };
    let out = if arguments.out.is_some() { out } else { free(&out) };
    said.iter().for_each(|said| eprintln!("{}", message(said)));
    if let Some((seen @ 1.., all)) = trained_on(&arguments.model, &arguments.test)? {
        eprintln!(
            "warning: the model was trained on {} of {}: what is expected of others cannot be told from them",
            count(seen),
            counted(all, "photo")
        );
    }
    interrupt::finish("this batch");
    let submitted = submission.write(&model, &arguments.test, &out, |done, total| {
        if let Some(bar) = &bar {
            bar.set_length(total as u64);
            bar.set_position(done as u64);
        }
        interrupt::wish()
    });
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let submitted = match submitted {
        Err(ocelli::Error::Stopped) => {
            eprintln!("stopped; nothing was written");
            return Err(Failure::Interrupted);
        }
        submitted => submitted?,
    };
    for skipped in &submitted.filled {
        eprintln!("{}: {}", shown(skipped.path.display()), message(&skipped.reason));
    }
    if !submitted.filled.is_empty() {
        let photos = counted(submitted.filled.len(), "photo");
        eprintln!("{photos} could not be read; their rows say that every class is as likely as any other");
    }
    if submitted.unnamed > 0 {
        eprintln!("{} are not named in the sample, and were left out", counted(submitted.unnamed, "photo"));
    }
    if arguments.quiet {
        path_line(&out);
        return Ok(());
    }
    println!("{}   {} rows · {}", shown(out.display()), count(submitted.rows), shown(&submitted.columns));
    if submitted.clip > 0.0 {
        println!("probabilities are kept {} from 0 and 1", submitted.clip);
    }
    match model.contract().clip {
        Some(chosen) if submitted.probabilities && chosen.at == submitted.clip => {
            let (loss, low, high) = chosen.log_loss;
            println!(
                "expected log loss {loss:.4}   95 % interval {low:.4} … {high:.4}   as on the validation images, without views"
            );
        }
        _ => {}
    }
    Ok(())
}
