//! The page that compares two runs on the images that both were evaluated on.

use std::path::Path;

use ocelli::finished::FinishedRun;
use ocelli::interpret::{Comparison, Flip};
use ocelli::{Result, Stop, write_whole};
use serde::Serialize;

use crate::html;
use crate::page::plain_figures;
use crate::page::settings::settings;

/// The data of the page.
#[derive(Serialize)]
struct Page<'a> {
    first: String,
    second: String,
    comparison: &'a Comparison,
    /// Values of the figures in both runs, by name.
    figures: Vec<(String, f64, f64)>,
    /// Settings that differ: name, first, second.
    differences: Vec<[String; 3]>,
    /// A data URL of a JPEG for each of the first flips, right to wrong, then wrong to right.
    pictures: [Vec<String>; 2],
}

/// The most flips with pictures.
const SHOWN: usize = 60;
const SIDE: usize = 96;

/// Compares two runs, given their folders or the models in them; the page is written to `page`, if it is
/// given.
///
/// # Errors
/// Where a folder is not that of a finished run; as [`FinishedRun::compare`]. Missing photos are not shown
/// on the page.
pub fn compare_runs(first: &Path, second: &Path, page: Option<&Path>) -> Result<Comparison> {
    let (one, two) = (FinishedRun::open(first)?, FinishedRun::open(second)?);
    let comparison = one.compare(&two)?;
    if let Some(path) = page {
        let (mut named, other) = (one.labelled_predictions()?, two.labelled_predictions()?);
        one.images(&mut named, None, 0, &Stop::default())?;
        let config = one.model_config()?;
        let picture = |flip: &Flip| -> String {
            let image = config.framed(&named.paths[flip.index], SIDE);
            image.map(|image| image.to_inline_jpeg(70)).unwrap_or_default()
        };
        let pictures = [&comparison.right_to_wrong, &comparison.wrong_to_right];
        let pictures = pictures.map(|flips| flips.iter().take(SHOWN).map(picture).collect());
        let figures = plain_figures(&named).into_iter().zip(plain_figures(&other));
        let page = Page {
            first: one.name.clone(),
            second: two.name.clone(),
            comparison: &comparison,
            figures: figures.map(|(a, b)| (a.name, a.value, b.value)).collect(),
            differences: differences(&one, &two),
            pictures,
        };
        let title = format!("{} and {} · Ocelli", page.first, page.second);
        write_whole(path, html::page(&title, include_str!("versus.js"), &page).as_bytes())?;
    }
    Ok(comparison)
}

/// Settings that differ.
fn differences(one: &FinishedRun, two: &FinishedRun) -> Vec<[String; 3]> {
    let (one, two) = (settings(one), settings(two));
    let value = |rows: &[[String; 2]], name: &str| {
        rows.iter().find(|row| row[0] == name).map_or_else(|| "–".to_owned(), |row| row[1].clone())
    };
    let mut names: Vec<&String> = one.iter().chain(&two).map(|row| &row[0]).collect();
    names.sort();
    names.dedup();
    let rows = names.into_iter().map(|name| [name.clone(), value(&one, name), value(&two, name)]);
    rows.filter(|row| row[1] != row[2]).collect()
}
