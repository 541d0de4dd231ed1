//! Photos of the validation set, small. A client names the row of a photo in the run's table; the file that is shown has
//! the digest that stands there, wherever it is.

use std::path::PathBuf;

use axum::http::StatusCode;
use ocelli::{Decoder, Normalization, Preprocessing, RunFolder, RunSettings};
use serde_json::Value;

use crate::refusal::Refusal;

/// The side in pixels.
const SIDE: usize = 192;
const QUALITY: u8 = 80;

/// A photo as the network sees it, as JPEG.
pub(crate) fn photo(run: &RunFolder, row: usize) -> Result<Vec<u8>, Refusal> {
    let not_listed =
        || Refusal::not_found("this run has no such photo among those whose predictions it shows");
    let (id, digest) = run.photo(row).map_err(|_| not_listed())?.ok_or_else(not_listed)?;
    let RunSettings { directory, settings, .. } = run.settings().map_err(|_| not_listed())?;
    // As it was given, which is from the folder in which the run was started.
    let path = directory.join(shown(run, row, &id).ok_or_else(not_listed)?);
    let gone = |why: &str| Refusal::new(StatusCode::GONE, format!("the photo {why}"));
    let is_file = std::fs::metadata(&path).is_ok_and(|found| found.is_file());
    let decoder = Decoder::default();
    if !is_file || std::fs::metadata(&path).is_ok_and(|found| found.len() > decoder.max_bytes()) {
        return Err(gone("is no longer there"));
    }
    let bytes = std::fs::read(&path).map_err(|_| gone("is no longer there"))?;
    if *blake3::hash(&bytes).as_bytes() != digest {
        return Err(gone("has changed since the run began"));
    }
    let seen = Preprocessing {
        size: SIDE,
        framing: settings.framing,
        filter: settings.filter,
        normalization: Normalization::LITE,
    };
    let unreadable = || Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "the photo cannot be read");
    let image = decoder.decode_for(&bytes, seen.needed()).map_err(|_| unreadable())?;
    Ok(seen.frame(&image).map_err(|_| unreadable())?.to_jpeg(QUALITY))
}

/// Where the photo of a row is, from the last event that shows it under this id.
fn shown(run: &RunFolder, row: usize, id: &str) -> Option<PathBuf> {
    let text = std::fs::read(run.events()).ok()?;
    let text = String::from_utf8_lossy(&text);
    let examples = |line: &str| line.contains("\"examples\"").then(|| RunFolder::event(line)).flatten();
    let of = |event: Value| {
        let photos = event["photos"].as_array()?.iter();
        let mut same = photos.filter(|photo| photo["photo"] == row && photo["id"] == id);
        Some(PathBuf::from(same.next()?["path"].as_str()?))
    };
    text.lines().rev().filter_map(examples).find_map(of)
}
