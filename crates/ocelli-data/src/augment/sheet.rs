//! A contact sheet of augmented images.

use super::Augmentation;
use crate::random::{Draws, Purpose, key};
use crate::{DataError, Preprocessing, RgbImage};

/// Pixels between the pictures of a sheet.
const GAP: usize = 4;

/// A sheet of `columns × rows` pictures on white: first the image as in validation, then as in training in
/// epochs 0, 1, 2, …
pub fn contact_sheet(
    image: &RgbImage,
    id: &str,
    preprocessing: &Preprocessing,
    augmentation: &Augmentation,
    seed: u64,
    (columns, rows): (usize, usize),
) -> Result<RgbImage, DataError> {
    let size = preprocessing.size;
    let side = |pictures: usize| pictures.saturating_mul(size + GAP).saturating_add(GAP);
    if columns == 0 || rows == 0 || side(columns).saturating_mul(side(rows)) > 100_000_000 {
        let value = format!("{columns} × {rows}");
        return Err(DataError::Setting {
            name: "sheet",
            value,
            expected: "at least 1 × 1, and below 100 megapixels",
        });
    }
    let (width, height) = (side(columns), side(rows));
    let mut sheet = vec![255; width * height * 3];
    let mut sample = vec![0.0; preprocessing.sample_len()];
    for index in 0..columns * rows {
        match index.checked_sub(1) {
            None => preprocessing.apply(image, &mut sample)?,
            Some(epoch) => {
                let mut draws = Draws::new(seed, Purpose::Augment, epoch as u64, key(id));
                augmentation.apply(image, preprocessing, &mut draws, &mut sample)?;
            }
        }
        let picture = preprocessing.normalization.undo(&sample);
        let (left, top) = (GAP + index % columns * (size + GAP), GAP + index / columns * (size + GAP));
        for (row, line) in picture.chunks_exact(size * 3).enumerate() {
            let start = ((top + row) * width + left) * 3;
            sheet[start..start + size * 3].copy_from_slice(line);
        }
    }
    Ok(RgbImage::new(width as u32, height as u32, sheet).expect("the sheet has width · height · 3 bytes"))
}
