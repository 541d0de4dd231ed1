//! A few validation photos whose predictions are recorded after each epoch, so that it can be seen how they change.

use std::path::PathBuf;

use serde::Serialize;

use crate::data::ImageData;
use crate::metric::predictions::Predictions;
use crate::metric::record::EpochRecord;
use crate::spread::spread;

/// How many photos, at most.
const PHOTOS: usize = 8;

/// Predictions for a few validation photos, the same ones after each epoch.
#[derive(Debug, Clone, Serialize)]
pub struct Examples {
    /// The fit, counted from 1.
    pub fit: usize,
    /// The epoch within the fit, counted from 1.
    pub epoch: usize,
    /// Photos at even distances in the validation set; unreadable ones are missing.
    pub photos: Vec<Example>,
}

/// The prediction for a photo.
#[derive(Debug, Clone, Serialize)]
pub struct Example {
    /// Its row in `photos.csv`, counted from 0.
    pub photo: usize,
    /// Its id.
    pub id: String,
    /// Its file.
    #[serde(serialize_with = "ocelli_data::names::as_text")]
    pub path: PathBuf,
    /// Its labels.
    pub labels: Vec<String>,
    /// The most probable class.
    pub class: String,
    /// The probability of that class.
    pub probability: f32,
    /// Whether that class is one of its labels.
    pub is_right: bool,
}

impl Examples {
    pub(crate) fn of(record: &EpochRecord, predictions: &Predictions, data: &ImageData) -> Self {
        let valid = &data.split.valid;
        let chosen = spread(valid, PHOTOS);
        let name = |class: usize| data.classes().get(class).cloned().unwrap_or_default();
        let measured = predictions.items().iter().enumerate().filter(|(_, item)| chosen.contains(item));
        let photos = measured.map(|(row, &photo)| {
            let (item, class) = (&data.items.items[photo], predictions.most_probable(row));
            let target = predictions.targets()[row].classes();
            Example {
                photo,
                id: item.id.clone(),
                path: item.path.clone(),
                labels: target.iter().map(|&class| name(class)).collect(),
                class: name(class),
                probability: predictions.row(row)[class],
                is_right: target.contains(&class),
            }
        });
        Self { fit: record.fit, epoch: record.epoch, photos: photos.collect() }
    }
}
