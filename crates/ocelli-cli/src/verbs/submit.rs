//! `ocelli submit`

use std::path::{Path, PathBuf};

use clap::Args;
use ocelli::{Model, Submission, Submitted, Tta, Values, photos_of_run};

use crate::errors::Failure;
use crate::flags::{PixelFlags, ThreadFlags};
use crate::interrupt::{self, stopped};
use crate::output::{eprintln, message, path_line, println, progress_bar, shown, text_destination};
use crate::text::{count, counted};
use crate::values::{OrNone, clip, one_of, tta};
use crate::verbs::predict::say_equal_views;

/// Write a competition submission
///
/// Writes a CSV table with a row per test photo. With a sample submission, its ids, their order and its
/// columns are used, and every id must have its photo. Probabilities are clipped at the value that was best
/// for the log loss of the validation images.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ocelli submit runs/dogbreeds-1 test --sample sample_submission.csv
  ocelli submit runs/all test --clip-probabilities 0.001 --tta 4 --out all.csv")]
pub struct Submit {
    /// Model file, or the folder of its run
    model: PathBuf,
    /// Folder of test photos
    test: PathBuf,

    /// The competition's sample submission
    #[arg(long, value_name = "FILE")]
    sample: Option<PathBuf>,
    /// Values of a single column: labels, indices or probabilities
    ///
    /// Indices count the classes from 0. [default: the kind of values that the sample's rows have]
    #[arg(long, value_name = "KIND", requires = "sample", hide_possible_values = true, value_parser = one_of::<Values>(Values::NAMES))]
    values: Option<Values>,
    /// Test-time augmentation: views, corners or none
    #[arg(long, value_name = "VIEWS", value_parser = tta)]
    tta: Option<OrNone<Tta>>,
    /// Clip probabilities to P … 1 − P [default: tuned]
    ///
    /// [default: as was best for the log loss of the validation images]
    #[arg(long, value_name = "P", allow_negative_numbers = true, value_parser = clip)]
    clip_probabilities: Option<f64>,
    /// Output file [default: submission.csv]
    ///
    /// With - it goes to standard output. [default: submission.csv, or the first free name like submission-2.csv]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print only the path
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    pixels: PixelFlags,
    #[command(flatten)]
    threads: ThreadFlags,
}

impl Submit {
    pub fn run(&self) -> Result<(), Failure> {
        let threads = self.threads.start()?;
        let model = self.pixels.apply(Model::load(&self.model)?.threads(threads));
        let photos = photos_of_run(&self.model);
        let folders: Vec<&Path> = [&*self.test].into_iter().chain(photos.as_deref()).collect();
        let out = text_destination(self.out.as_deref(), "submission.csv", &folders, false)?;
        let submitted = self.write(&model, out.path())?;
        if submitted.trained > 0 {
            eprintln!(
                "warning: the model was trained on the photos of {} of {}; results on them do not show how well it generalizes",
                count(submitted.trained),
                counted(submitted.rows, "row")
            );
        }
        print_problems(&submitted);
        match (out.is_stdout(), self.quiet) {
            (true, _) => out.send()?,
            (_, true) => path_line(out.path()),
            _ => print(&submitted, &model, out.path()),
        }
        Ok(())
    }

    fn write(&self, model: &Model, out: &Path) -> Result<Submitted, Failure> {
        let tta = self.tta.and_then(|tta| tta.0);
        say_equal_views(std::slice::from_ref(model), tta);
        let submission = Submission {
            sample: self.sample.clone(),
            values: self.values,
            tta,
            clip_probabilities: self.clip_probabilities,
        };
        let bar = progress_bar("   predicting     {bar:30} {human_pos} of {human_len} images · {eta} left");
        interrupt::finish("this batch");
        let submitted = submission.write(model, &self.test, out, |done, total| {
            if !self.quiet {
                bar.set_length(total as u64);
                bar.set_position(done as u64);
            }
            interrupt::flow()
        });
        bar.finish_and_clear();
        stopped(submitted, "nothing was written")
    }
}

/// The most columns without a class that are listed.
const COLUMNS: usize = 5;

fn print_problems(submitted: &Submitted) {
    for skipped in &submitted.filled {
        eprintln!("{}: {}", shown(skipped.path.display()), message(&skipped.reason));
    }
    if !submitted.filled.is_empty() {
        let photos = counted(submitted.filled.len(), "photo");
        let rows = match submitted.probabilities {
            true => "their rows give all classes the same probability",
            false => "their rows have no label",
        };
        eprintln!("{photos} could not be read; {rows}");
    }
    if !submitted.untrained.is_empty() {
        let several = submitted.untrained.len() > 1;
        let names = submitted.untrained.iter().take(COLUMNS).map(shown).collect::<Vec<_>>().join(", ");
        let more = if submitted.untrained.len() > COLUMNS { ", …" } else { "" };
        let what = match several {
            true => "the model knows none of these classes; their columns hold",
            false => "the model does not know this class; its column holds",
        };
        let columns = counted(submitted.untrained.len(), "column");
        eprintln!("warning: {columns} of the sample: {names}{more}: {what} {}", submitted.clip);
    }
    if submitted.unnamed > 0 {
        let were = if submitted.unnamed == 1 { "was" } else { "were" };
        eprintln!("{} not in the sample {were} skipped", counted(submitted.unnamed, "photo"));
    }
}

fn print(submitted: &Submitted, model: &Model, out: &Path) {
    println!("{}   {} rows · {}", shown(out.display()), count(submitted.rows), shown(&submitted.columns));
    if submitted.clip > 0.0 {
        println!("probabilities are clipped {} from 0 and 1", submitted.clip);
    }
    match model.config().clip {
        Some(chosen) if submitted.probabilities && chosen.at == submitted.clip => {
            let (loss, low, high) = chosen.log_loss;
            println!(
                "expected log loss {loss:.4}   95 % CI {low:.4}–{high:.4}   (validation images, without TTA)"
            );
        }
        _ => {}
    }
}
