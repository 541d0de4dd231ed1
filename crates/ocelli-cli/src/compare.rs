//! `ocelli compare`

use std::path::PathBuf;

use crate::output::{self, eprintln, free, println, shown};
use ocelli::interpret::Flip;
use ocelli::report::compare_runs;
use ocelli::{Proportion, outside, photos_of_run};

use crate::Failure;
use crate::arguments::Compare;
use crate::words::{count, counted};

/// Flips that are listed each way; all are in the JSON.
const LISTED: usize = 8;

pub fn run(arguments: &Compare) -> Result<(), Failure> {
    let (out, said) = match &arguments.out {
        Some(out) => (out.clone(), None),
        None => {
            let photos = [&arguments.first, &arguments.second].map(photos_of_run);
            outside("compare.html", &photos.iter().flatten().map(PathBuf::as_path).collect::<Vec<_>>())?
        }
    };
    let out = if arguments.out.is_some() { out } else { free(&out) };
    said.iter().for_each(|said| eprintln!("{}", shown(said)));
    let comparison = compare_runs(&arguments.first, &arguments.second, Some(&out))?;
    if arguments.json {
        output::json(&serde_json::to_value(&comparison)?);
        return Ok(());
    }
    let names = [&arguments.first, &arguments.second].map(|run| shown(run.display()));
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let line = |run: &str, share: Proportion| {
        let (low, high) = share.interval();
        println!(
            "{run:width$}   accuracy {:.4}   95 % interval {low:.4} … {high:.4}   {} of {} right",
            share.value(),
            count(share.count),
            counted(share.total, "image")
        );
    };
    line(&names[0], comparison.first);
    line(&names[1], comparison.second);
    if comparison.only_first + comparison.only_second > 0 {
        println!(
            "not compared: {} only in {}, {} only in {}",
            counted(comparison.only_first, "image"),
            names[0],
            count(comparison.only_second),
            names[1]
        );
    }
    list("right, then wrong", &comparison.right_to_wrong);
    list("wrong, then right", &comparison.wrong_to_right);
    let verdict = if comparison.p_value < 0.05 { "a difference is shown" } else { "no difference is shown" };
    let probability = match comparison.p_value {
        ..0.0001 => "p < 0.0001".to_owned(),
        value => format!("p = {value:.4}"),
    };
    println!("\nMcNemar's exact test   {probability}: {verdict}");
    println!("side by side   {}", shown(out.display()));
    Ok(())
}

fn list(title: &str, flips: &[Flip]) {
    println!("\n{title}: {}", counted(flips.len(), "image"));
    for flip in flips.iter().take(LISTED) {
        let said = |classes: &str| if classes.is_empty() { "nothing".to_owned() } else { shown(classes) };
        println!(
            "  {}   is {}: {}, then {} {:.4}",
            shown(&flip.id),
            said(&flip.truth),
            said(&flip.first),
            said(&flip.second),
            flip.probability
        );
    }
    if flips.len() > LISTED {
        println!("  … {} more", count(flips.len() - LISTED));
    }
}
