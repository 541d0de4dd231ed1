//! What of the arguments says where photos and labels are.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use ocelli::{
    Augmentation, Channels, Column, Crop, Decoder, Framing, Grouping, HeldOut, ImageData, ImageDataBuilder,
    Policy, Skipped, TableOptions, Task, Transform, is_table,
};

use crate::Failure;
use crate::arguments::{Change, Frame, Labels, Source};
use crate::output::{message, shown};
use crate::words::count;

impl Source {
    /// What is read, and how, where it is a table.
    pub fn data(&self, data: &Path) -> (PathBuf, Option<TableOptions>) {
        let options = self.table_options();
        match &self.labels {
            None if is_table(data) && !data.is_dir() => (data.to_owned(), Some(options)),
            // Of a folder the library knows itself whether a table says the labels.
            None if options == TableOptions::default() => (data.to_owned(), None),
            None => (data.to_owned(), Some(options)),
            Some(labels) => {
                // A bare name is looked for here and among the photos.
                let among = data.join(labels);
                let table = if !labels.exists() && among.exists() { among } else { labels.clone() };
                (table, Some(TableOptions { folder: Some(data.to_owned()), ..options }))
            }
        }
    }

    /// What is said of a table of labels.
    fn table_options(&self) -> TableOptions {
        TableOptions {
            folder: None,
            suffix: self.suffix.clone(),
            header: None,
            id: self.id_column.as_deref().map(column),
            label: self.label_column.iter().map(|text| column(text)).collect(),
            split: self.split_column.as_deref().map(column),
            group: None,
            label_separator: self.label_separator,
            task: self.task.map(|labels| match labels {
                Labels::Single => Task::SingleLabel,
                Labels::Multi => Task::MultiLabel,
            }),
            allow_missing: self.allow_missing,
        }
    }

    /// Whether something is said of a table of labels, which means nothing without the data.
    pub fn tells_of_a_table(&self) -> bool {
        self.labels.is_some() || self.table_options() != TableOptions::default()
    }

    /// What says which photos belong together.
    pub fn groups(&self) -> Option<Grouping> {
        let by_column = self.group_column.as_deref().map(|text| Grouping::Column(column(text)));
        by_column.or(self.group_pattern.clone().map(Grouping::Pattern))
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
        if let Some(groups) = self.groups() {
            data = data.groups(groups);
        }
        let Decoder { max_pixels, channels, .. } = self.decoder()?;
        Ok(data.max_pixels(max_pixels).channels(channels))
    }

    /// The limits of decoding.
    pub fn decoder(&self) -> Result<Decoder, Failure> {
        let usual = Decoder { channels: channels(&self.bands, &self.range)?, ..Decoder::default() };
        Ok(self.max_pixels.map_or(usual, |max_pixels| Decoder { max_pixels, ..usual }))
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

/// That a folder has no photos, with what lies there instead.
pub fn no_photos(folder: &Path, skipped: &[Skipped]) -> Failure {
    const NAMED: usize = 5;
    let mut named: Vec<String> = (skipped.iter().take(NAMED))
        .map(|skipped| format!("{}: {}", shown(skipped.path.display()), message(&skipped.reason)))
        .collect();
    if skipped.len() > NAMED {
        named.push(format!("and {} more", count(skipped.len() - NAMED)));
    }
    let named: String = named.iter().map(|named| format!("\n       {named}")).collect();
    Failure::Error(format!("{}: there are no photos in this folder{named}", shown(folder.display())))
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
fn column(text: &str) -> Column {
    match text.parse::<usize>() {
        Ok(number @ 1..) => Column::Index(number - 1),
        _ => Column::Name(text.to_owned()),
    }
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
