//! What of the arguments says where photos and labels are.

use std::path::PathBuf;

use ocelli::{Augmentation, Column, CsvOptions, Framing, HeldOut, Policy, Task, Transform};

use crate::Failure;
use crate::arguments::{Change, Frame, Labels, Source};

impl Source {
    /// What is read, and how, where it is a table.
    pub fn data(&self) -> (PathBuf, Option<CsvOptions>) {
        let extension = self.data.extension().map(|extension| extension.to_ascii_lowercase());
        let is_table = extension.is_some_and(|extension| extension == "csv" || extension == "tsv");
        let (file, folder) = match &self.labels {
            None if is_table => (self.data.clone(), None),
            None => return (self.data.clone(), None),
            // A bare name is looked for here and among the photos.
            Some(labels) if !labels.exists() && self.data.join(labels).exists() => {
                (self.data.join(labels), None)
            }
            Some(labels) => (labels.clone(), Some(self.data.clone())),
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
            ..CsvOptions::default()
        };
        (file, Some(options))
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
                Ok(share) => Ok(Some(HeldOut::Fraction(share))),
                Err(_) => Err(Failure::Error(format!(
                    "--valid {share} is no share; give a number between 0 and 1, such as 0.2, or none"
                ))),
            },
        }
    }
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

impl Change {
    pub fn augmentation(self) -> Option<Augmentation> {
        Some(match self {
            Self::None => return None,
            Self::Basic => Augmentation::basic(),
            Self::SideOn => Augmentation::side_on().max_zoom(1.1),
            Self::TopDown => Augmentation::top_down().max_zoom(1.05),
            Self::Trivial => Augmentation::none().with(Transform::Policy(Policy::trivial_augment())),
            Self::Rand => Augmentation::none().with(Transform::Policy(Policy::rand_augment(2, 9.0))),
        })
    }
}
