//! `ocelli compare`

use std::path::{Path, PathBuf};

use clap::Args;
use ocelli::interpret::Flip;
use ocelli::{CorrectedEstimate, Proportion, photos_of_run};
use ocelli_report::compare_runs;

use crate::errors::Failure;
use crate::output::{self, println, shown, text_destination};
use crate::text::{count, counted};

/// Compare the predictions of two runs, image by image
///
/// Compares the images that both were evaluated on: which predictions differ, and McNemar's exact test.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ocelli compare runs/photos-1 runs/photos-2
  ocelli compare runs/photos-1 runs/photos-2 --out difference.html")]
pub struct Compare {
    /// Folder of a finished run, or the model in it
    #[arg(value_name = "RUN_A")]
    first: PathBuf,
    /// Folder of another run
    #[arg(value_name = "RUN_B")]
    second: PathBuf,

    /// HTML page with both side by side [default: compare.html, or a free name like it]
    ///
    /// With - it goes to standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Print the comparison as a JSON object
    #[arg(long)]
    json: bool,
}

/// The most differing predictions that are listed in each direction; the JSON has all.
const LISTED: usize = 8;

impl Compare {
    pub fn run(&self) -> Result<(), Failure> {
        let photos = [&self.first, &self.second].map(photos_of_run);
        let photos: Vec<&Path> = photos.iter().flatten().map(PathBuf::as_path).collect();
        let out = text_destination(self.out.as_deref(), "compare.html", &photos, self.json)?;
        let comparison = compare_runs(&self.first, &self.second, Some(out.path()))?;
        if out.is_stdout() {
            return out.send();
        }
        if self.json {
            output::json(&serde_json::to_value(&comparison)?);
            return Ok(());
        }
        let names = [&self.first, &self.second].map(|run| shown(run.display()));
        let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        let corrected = &comparison.corrected;
        for (model, (run, correct)) in names.iter().zip([comparison.first, comparison.second]).enumerate() {
            println!("{run:width$}   {}", accuracy(correct));
            if let Some(balanced) = comparison.balanced_accuracy {
                println!(
                    "{:width$}   balanced {:.4}   the mean of the classes' recalls",
                    "", balanced[model]
                );
            }
            if let Some(CorrectedEstimate { value, epochs, interval: (low, high), .. }) = &corrected[model] {
                println!(
                    "{:width$}   corrected {value:.4}  95 % CI {low:.4}–{high:.4}   for choosing the best of {epochs} epochs",
                    ""
                );
            }
        }
        if comparison.only_first + comparison.only_second > 0 {
            println!(
                "not compared: {} only in {}, {} only in {}",
                counted(comparison.only_first, "image"),
                names[0],
                count(comparison.only_second),
                names[1]
            );
        }
        if comparison.other_files > 0 {
            println!(
                "not compared: {} of the same name in both, but not the same file",
                counted(comparison.other_files, "image")
            );
        }
        list("correct, then wrong", &comparison.right_to_wrong);
        list("wrong, then correct", &comparison.wrong_to_right);
        let verdict = if comparison.p_value < 0.05 { "significant" } else { "not significant" };
        let probability = match comparison.p_value {
            ..0.0001 => "p < 0.0001".to_owned(),
            value => format!("p = {value:.4}"),
        };
        println!("\nMcNemar's exact test: {probability}, the difference is {verdict}");
        if comparison.p_value < 0.05 && comparison.holds_corrected() == Some(false) {
            println!(
                "but it may come from choosing epochs by these images: with that corrected, it is not in the same direction"
            );
        }
        println!("page  {}", shown(out.path().display()));
        Ok(())
    }
}

/// `accuracy 0.9845   95 % CI 0.9781–0.9890   1,969 of 2,000 images`
pub fn accuracy(correct: Proportion) -> String {
    let (low, high) = correct.interval();
    format!(
        "accuracy {:.4}   95 % CI {low:.4}–{high:.4}   {} of {}",
        correct.value(),
        count(correct.count),
        counted(correct.total, "image")
    )
}

fn list(title: &str, flips: &[Flip]) {
    println!("\n{title}: {}", counted(flips.len(), "image"));
    for flip in flips.iter().take(LISTED) {
        let name = |classes: &str| if classes.is_empty() { "nothing".to_owned() } else { shown(classes) };
        println!(
            "  {}   {}: predicted {}, then {} {:.4}",
            shown(&flip.id),
            name(&flip.truth),
            name(&flip.first),
            name(&flip.second),
            flip.probability
        );
    }
    if flips.len() > LISTED {
        println!("  … {} more", count(flips.len() - LISTED));
    }
}
