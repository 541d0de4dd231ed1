//! Flags for the data: labels, the validation split, the limits of decoding.

use std::path::{Path, PathBuf};

use clap::Args;
use ocelli::{
    Column, Grouping, ImageData, ImageDataBuilder, RunConfig, TableOptions, Task, ValidSplit, is_table,
};

use crate::errors::Failure;
use crate::values::{one_of, pixels};

/// Labelled photos and their validation split.
#[derive(Debug, Args)]
pub struct DataFlags {
    /// Table of labels: CSV or JSON Lines
    ///
    /// [default: a table found in DATA, if no folders name the classes]
    #[arg(long, value_name = "FILE", help_heading = "Data")]
    pub labels: Option<PathBuf>,
    /// Take folder names for the classes and all images for photos, whatever tables and names say
    ///
    /// Without it, a table beside folders that are no classes is read, published lists of images give the split, and
    /// segmentation masks are left out.
    #[arg(hide_short_help = true)]
    #[arg(long, help_heading = "Data")]
    #[arg(conflicts_with_all = ["labels", "suffix", "id_column", "label_column", "split_column", "label_separator", "allow_missing", "group_column"])]
    pub class_folders: bool,
    /// Extension to append to the table's ids, e.g. .jpg [default: detected]
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "EXTENSION", help_heading = "Data")]
    pub suffix: Option<String>,
    /// Column of the image ids: its name, or its number from 1 [default: detected]
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "COLUMN", help_heading = "Data", value_parser = column)]
    pub id_column: Option<Column>,
    /// Column of the labels; several: one 0/1 column per class [default: detected]
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "COLUMN", value_delimiter = ',', help_heading = "Data", value_parser = column)]
    pub label_column: Vec<Column>,
    /// Column that says train, valid or test, or none [default: the one named split]
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "COLUMN", help_heading = "Data", value_parser = column)]
    pub split_column: Option<Column>,
    /// Separator between several labels of an image [default: detected]
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "CHARACTER", help_heading = "Data")]
    pub label_separator: Option<char>,
    /// Whether images have one label or several: single-label or multi-label [default: detected]
    #[arg(hide_short_help = true, hide_possible_values = true)]
    #[arg(long, value_name = "TASK", help_heading = "Data", value_parser = one_of::<Task>(Task::NAMES))]
    pub task: Option<Task>,
    /// Skip rows without an image file, even if they are more than a tenth of all rows or of a class
    #[arg(hide_short_help = true)]
    #[arg(long, help_heading = "Data")]
    pub allow_missing: bool,

    /// Validation fraction, or none [default: 0.2]
    ///
    /// It is taken from each class. If the data defines a validation set, that is the default.
    #[arg(long, value_name = "FRACTION", allow_negative_numbers = true, help_heading = "Data", value_parser = valid)]
    pub valid: Option<ValidSplit>,
    /// Validate on one of several cross-validation folds, e.g. 1/5
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "K/FOLDS", conflicts_with = "valid", help_heading = "Data", value_parser = fold)]
    pub fold: Option<ValidSplit>,
    /// Split as an earlier run's split.csv, or as published lists such as train.txt
    ///
    /// Of published lists give one; those beside it that belong to it are read too, e.g. val.txt and test.txt.
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["valid", "fold"], help_heading = "Data")]
    pub split: Option<PathBuf>,
    /// Keep images with the same value in this column on one side of the split, e.g. patient
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "COLUMN", help_heading = "Data", value_parser = column)]
    pub group_column: Option<Column>,
    /// Keep images with the same match of this regular expression on one side of the split
    ///
    /// It is searched in file names, or in paths if it contains a slash; what ( ) captures is compared, e.g.
    /// '^(patient[0-9]+)_'.
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "REGEX", conflicts_with = "group_column", help_heading = "Data")]
    pub group_pattern: Option<String>,

    /// Largest image to read, in pixels [default: 178956970]
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "PIXELS", help_heading = "Images", value_parser = pixels)]
    pub max_pixels: Option<u64>,
}

impl DataFlags {
    /// The source, and the options if it is a table.
    pub fn source(&self, data: &Path) -> (PathBuf, Option<TableOptions>) {
        let options = self.table_options();
        match &self.labels {
            None if is_table(data) && !data.is_dir() => (data.to_owned(), Some(options)),
            // The library detects whether a folder has a table of labels.
            None if options == TableOptions::default() => (data.to_owned(), None),
            None => (data.to_owned(), Some(options)),
            Some(labels) => {
                // A bare name is looked up here and in the folder of photos.
                let among = data.join(labels);
                let table = if !labels.exists() && among.exists() { among } else { labels.clone() };
                (table, Some(TableOptions { folder: Some(data.to_owned()), ..options }))
            }
        }
    }

    fn table_options(&self) -> TableOptions {
        TableOptions {
            folder: None,
            suffix: self.suffix.clone(),
            header: None,
            id_column: self.id_column.clone(),
            label_columns: self.label_column.clone(),
            split_column: self.split_column.clone(),
            group_column: None,
            label_separator: self.label_separator,
            task: self.task,
            allow_missing: self.allow_missing,
        }
    }

    /// Applies the flags to settings. Flags about a table need DATA too, also with `--config`.
    pub fn apply(&self, data: Option<&Path>, settings: &mut RunConfig) -> Result<(), Failure> {
        match data {
            Some(data) => {
                (settings.data, settings.table) = self.source(data);
                settings.class_folders = self.class_folders;
            }
            None if self.class_folders
                || self.labels.is_some()
                || self.table_options() != TableOptions::default() =>
            {
                let message =
                    "flags about where labels are need DATA beside --config: ocelli train DATA --config …";
                return Err(Failure::Error(message.to_owned()));
            }
            None => {}
        }
        settings.groups = self.groups().or(settings.groups.take());
        settings.valid_split = self.valid_split().or(settings.valid_split.take());
        settings.max_pixels = self.max_pixels.or(settings.max_pixels);
        Ok(())
    }

    /// The image data that these flags describe.
    pub fn builder(&self, data: &Path) -> ImageDataBuilder {
        let mut data = match self.source(data) {
            (table, Some(options)) => ImageData::from_csv(table, options),
            (folder, None) => ImageData::from_folder(folder).class_folders(self.class_folders),
        };
        if let Some(valid_split) = self.valid_split() {
            data = data.valid_split(valid_split);
        }
        if let Some(groups) = self.groups() {
            data = data.groups(groups);
        }
        self.max_pixels.into_iter().fold(data, ImageDataBuilder::max_pixels)
    }

    fn groups(&self) -> Option<Grouping> {
        let by_column = self.group_column.clone().map(Grouping::Column);
        by_column.or(self.group_pattern.clone().map(Grouping::Pattern))
    }

    fn valid_split(&self) -> Option<ValidSplit> {
        let split = self.split.clone().map(ValidSplit::File);
        split.or(self.fold.clone()).or(self.valid.clone())
    }
}

/// A column by its name or its number from 1.
fn column(text: &str) -> Result<Column, String> {
    match text.parse::<usize>() {
        Ok(number @ 1..) => Ok(Column::Index(number - 1)),
        _ => Ok(Column::Name(text.to_owned())),
    }
}

/// `--valid 0.2`, `--valid none`
fn valid(text: &str) -> Result<ValidSplit, String> {
    match (text, text.parse()) {
        ("none", _) => Ok(ValidSplit::Nothing),
        (_, Ok(fraction)) if fraction > 0.0 && fraction < 1.0 => Ok(ValidSplit::Fraction(fraction)),
        _ => Err("expected a number between 0 and 1, such as 0.2, or none".to_owned()),
    }
}

/// `--fold 1/5`
fn fold(text: &str) -> Result<ValidSplit, String> {
    match text.split_once('/').map(|(fold, folds)| (fold.parse(), folds.parse())) {
        Some((Ok(fold @ 1..), Ok(folds))) if fold <= folds => Ok(ValidSplit::Fold { folds, fold: fold - 1 }),
        _ => Err("expected the fold's number and the number of folds, such as 1/5".to_owned()),
    }
}
