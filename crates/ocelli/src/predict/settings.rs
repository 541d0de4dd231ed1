//! What a table of predictions was made with, in a small file beside it: a table is resumed with the same.

use std::path::{Path, PathBuf};

use ocelli_data::{Channels, files};
use ocelli_nn::{Backbone, Precision};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::file::write_whole;
use crate::model::Model;
use crate::model::ensemble::Ensemble;
use crate::model::tta::Tta;
use crate::predict::table::{TableFormat, TableLayout};

/// A plain value as text.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("plain values serialise").replace('"', "")
}

/// The version of this form.
const FORM: u32 = 1;
/// The ending of the settings' file, after the table's whole name.
const ENDING: &str = ".settings.json";

/// Everything that the rows of a table of predictions follow from, except the photos and the kind of machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TableSettings {
    form: u32,
    /// The version of Ocelli.
    version: String,
    /// The digest of each model.
    models: Vec<String>,
    calibrated: bool,
    precision: Vec<Precision>,
    /// Where features are computed in 8-bit integers: the digest of each model's ranges.
    #[serde(default)]
    int8: Option<Vec<Option<String>>>,
    device: String,
    max_pixels: u64,
    channels: Vec<Channels>,
    tta: Option<Tta>,
    min_probability: f32,
    format: TableFormat,
    top_k: Option<usize>,
    /// The threshold of the unknown score, where it is written.
    #[serde(default)]
    unknown: Option<f32>,
}

impl TableSettings {
    /// The settings of a table that these models make. `device` is the device's name.
    pub fn new<B: Backbone>(
        ensemble: &Ensemble<B>,
        tta: Option<Tta>,
        layout: &TableLayout,
        device: &str,
    ) -> Self {
        let models = ensemble.models();
        Self {
            form: FORM,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            models: models.iter().map(|model| model.digest().unwrap_or("none").to_owned()).collect(),
            calibrated: models.iter().any(|model| model.is_calibrated()),
            precision: models.iter().map(|model| model.network.precision()).collect(),
            int8: models.iter().any(Model::is_int8).then(|| models.iter().map(Model::int8_digest).collect()),
            device: device.to_owned(),
            max_pixels: models[0].decoder().max_pixels,
            channels: models.iter().map(|model| model.decoder().channels).collect(),
            tta,
            min_probability: ensemble.lowest(),
            format: layout.format,
            top_k: layout.top_k,
            unknown: models[0].unknown_threshold().filter(|_| layout.unknown),
        }
    }

    /// The file beside a table.
    pub fn path(table: &Path) -> PathBuf {
        let mut name = table.as_os_str().to_owned();
        name.push(ENDING);
        name.into()
    }

    /// Writes the file beside a table.
    pub(crate) fn write(&self, table: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self).expect("plain values serialise");
        write_whole(&Self::path(table), format!("{text}\n").as_bytes())
    }

    /// Checks that a table was made with these settings.
    ///
    /// # Errors
    /// [`Error::TableWithoutSettings`], [`Error::OtherTableSettings`].
    pub(crate) fn check(&self, table: &Path) -> Result<()> {
        let path = Self::path(table);
        let without = |reason: String| Error::TableWithoutSettings {
            table: table.to_owned(),
            settings: path.clone(),
            reason,
        };
        let text = match files::read_text(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(without("is missing".to_owned()));
            }
            text => text.map_err(Error::io("read", &path))?,
        };
        let found: Self =
            serde_json::from_str(&text).map_err(|error| without(format!("cannot be read: {error}")))?;
        if found == *self {
            return Ok(());
        }
        Err(Error::OtherTableSettings { table: table.to_owned(), differences: self.differences(&found) })
    }

    /// How earlier settings differ from these, for people.
    fn differences(&self, before: &Self) -> String {
        let mut differences = Vec::new();
        let mut compare = |what: &str, before: String, now: String| {
            if before != now {
                differences.push(format!("{what} was {before} and is {now}"));
            }
        };
        if before.models != self.models {
            let digests = |models: &[String]| {
                models.iter().map(|digest| digest.get(..8).unwrap_or(digest)).collect::<Vec<_>>().join(", ")
            };
            compare("the model (by its digest)", digests(&before.models), digests(&self.models));
        }
        let number = |value: Option<usize>| value.map_or("not given".to_owned(), |value| value.to_string());
        compare("`top_k` ", number(before.top_k), number(self.top_k));
        compare("`min_probability` ", before.min_probability.to_string(), self.min_probability.to_string());
        let threshold = |value: Option<f32>| value.map_or("none".to_owned(), |value| value.to_string());
        compare("the unknown score's threshold", threshold(before.unknown), threshold(self.unknown));
        compare("the format", json(&before.format), json(&self.format));
        compare("`tta` ", json(&before.tta), json(&self.tta));
        compare("`calibrated` ", before.calibrated.to_string(), self.calibrated.to_string());
        compare("the precision", json(&before.precision), json(&self.precision));
        compare("`int8` ", before.int8.is_some().to_string(), self.int8.is_some().to_string());
        if before.int8.is_some() == self.int8.is_some() {
            let what = "the ranges of 8-bit integers (by their digests)";
            compare(what, json(&before.int8), json(&self.int8));
        }
        compare("the device", before.device.clone(), self.device.clone());
        compare("`max_pixels` ", before.max_pixels.to_string(), self.max_pixels.to_string());
        compare("the bands and their range", json(&before.channels), json(&self.channels));
        compare("the version of Ocelli", before.version.clone(), self.version.clone());
        compare("the form of the settings", before.form.to_string(), self.form.to_string());
        differences.join("; ").replace("  ", " ")
    }
}
