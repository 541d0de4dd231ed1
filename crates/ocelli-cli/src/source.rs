//! What of the arguments says where photos and labels are.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use ocelli::{
    Augmentation, Channels, Column, Crop, CsvOptions, Decoder, Framing, HeldOut, ImageData, ImageDataBuilder,
    Policy, Task, Transform,
};

use crate::Failure;
use crate::arguments::{Change, Frame, Labels, Source};

impl Source {
    /// What is read, and how, where it is a table.
    pub fn data(&self, data: &Path) -> (PathBuf, Option<CsvOptions>) {
        let extension = data.extension().map(|extension| extension.to_ascii_lowercase());
        let is_table = extension.is_some_and(|extension| extension == "csv" || extension == "tsv");
        let (file, folder) = match &self.labels {
            None if is_table => (data.to_owned(), None),
            None => return (data.to_owned(), None),
            // A bare name is looked for here and among the photos.
            Some(labels) if !labels.exists() && data.join(labels).exists() => (data.join(labels), None),
            Some(labels) => (labels.clone(), Some(data.to_owned())),
        };
        let usual = CsvOptions::default();
        let options = CsvOptions {
            folder,
            suffix: self.suffix.clone(),
            id: column(&self.id_column).unwrap_or(usual.id),
            label: column(&self.label_column).unwrap_or(usual.label),
            split: column(&self.split_column),
            task: self.task.map(|labels| match labels {
                Labels::Single => Task::SingleLabel,
                Labels::Multi => Task::MultiLabel,
            }),
            label_separator: self.label_separator.unwrap_or(usual.label_separator),
            header: usual.header,
        };
        (file, Some(options))
    }

    /// The photos, with everything that is said about them here.
    pub fn builder(&self, data: &Path) -> Result<ImageDataBuilder, Failure> {
        let mut data = match self.data(data) {
            (table, Some(options)) => ImageData::from_csv(table, options),
            (folder, None) => ImageData::from_folder(folder),
        };
        if let Some(held_out) = self.held_out()? {
            data = data.hold_out(held_out);
        }
        let Decoder { max_pixels, channels, .. } = self.decoder()?;
        Ok(data.max_pixels(max_pixels).channels(channels))
    }

    /// The limits of decoding.
    pub fn decoder(&self) -> Result<Decoder, Failure> {
        let usual = Decoder::default();
        let channels = channels(&self.bands, &self.range)?;
        Ok(Decoder { max_pixels: self.max_pixels.unwrap_or(usual.max_pixels), channels, ..usual })
    }

    /// What is held out, if it is said.
    pub fn held_out(&self) -> Result<Option<HeldOut>, Failure> {
        if let Some(path) = &self.split {
            return Ok(Some(HeldOut::File(path.clone())));
        }
        if let Some(text) = &self.fold {
            let numbers = text.split_once('/').map(|(fold, folds)| (fold.parse(), folds.parse()));
            return match numbers {
                Some((Ok(fold @ 1..), Ok(folds))) if fold <= folds => {
                    Ok(Some(HeldOut::Fold { folds, fold: fold - 1 }))
                }
                _ => Err(Failure::Error(format!(
                    "--fold {text} is no fold; give its number and how many there are, such as 1/5"
                ))),
            };
        }
        match self.valid.as_deref() {
            None => Ok(None),
            Some("none") => Ok(Some(HeldOut::Nothing)),
            Some(share) => match share.parse() {
                Ok(share) if share > 0.0 && share < 1.0 => Ok(Some(HeldOut::Fraction(share))),
                _ => Err(Failure::Error(format!(
                    "--valid {share} is no share; give a number between 0 and 1, such as 0.2, or none"
                ))),
            },
        }
    }
}

/// `--bands 4,3,2` and `--range 0,4095`
pub fn channels(bands: &Option<String>, range: &Option<String>) -> Result<Channels, Failure> {
    fn numbers<T: FromStr, const N: usize>(text: &str) -> Option<[T; N]> {
        let numbers: Result<Vec<T>, _> = text.split(',').map(|number| number.trim().parse()).collect();
        numbers.ok()?.try_into().ok()
    }
    let bands = bands.as_ref().map(|text| match numbers(text) {
        Some(bands) if !bands.contains(&0) => Ok(bands),
        _ => Err(Failure::Error(format!(
            "--bands {text} is no choice of bands; give those that become red, green and blue, counted from 1, such as 4,3,2"
        ))),
    });
    let range = range.as_ref().map(|text| match numbers(text) {
        Some([low, high]) if low < high => Ok([low, high]),
        _ => Err(Failure::Error(format!(
            "--range {text} is no range of values; give what is black and what is white, such as 0,4095"
        ))),
    });
    Ok(Channels { bands: bands.transpose()?, range: range.transpose()? })
}

/// A column by its name or its number from 1.
fn column(text: &Option<String>) -> Option<Column> {
    let text = text.as_ref()?;
    Some(match text.parse::<usize>() {
        Ok(number @ 1..) => Column::Index(number - 1),
        _ => Column::Name(text.clone()),
    })
}

impl Frame {
    pub fn framing(self) -> Framing {
        match self {
            Self::Crop => Framing::Crop { fraction: 1.0 },
            Self::Squish => Framing::Squish,
            Self::Pad => Framing::Pad,
        }
    }
}

/// All of the changes, one after the other; nothing where none is wanted.
pub fn augmentation(changes: &[Change]) -> Option<Augmentation> {
    let wanted = changes.iter().filter(|change| **change != Change::None);
    wanted.map(|change| change.augmentation()).reduce(|mut all, next| {
        all.transforms.extend(next.transforms);
        let zoom = (all.zoom.0.max(next.zoom.0), all.zoom.1.max(next.zoom.1));
        let crop = if next.crop == Crop::Random { all.crop } else { next.crop };
        Augmentation { zoom, crop, ..all }
    })
}

impl Change {
    fn augmentation(self) -> Augmentation {
        let only = |transform| Augmentation::none().with(transform);
        match self {
            Self::None => Augmentation::none(),
            Self::Basic => Augmentation::basic(),
            Self::SideOn => Augmentation::side_on().max_zoom(1.1),
            Self::TopDown => Augmentation::top_down().max_zoom(1.05),
            Self::Trivial => only(Transform::Policy(Policy::trivial_augment())),
            Self::Rand => only(Transform::Policy(Policy::rand_augment(2, 9.0))),
            Self::GoogleNet => Augmentation::none().crop(Crop::GoogleNet),
            Self::Jitter => only(Transform::ColorJitter { hue: 0.03, saturation: 0.3 }),
            Self::Stretch => only(Transform::Stretch { max: 0.1 }),
            Self::Blur => only(Transform::Blur { strength: 3, probability: 0.5 }),
            Self::Cutout => only(Transform::Cutout { holes: 1, length: 0.25, probability: 0.5 }),
        }
    }
}
