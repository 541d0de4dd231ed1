//! Why the command fails, and in which words.
//!
//! The library's errors speak of its settings; the command translates them into flags here, and nowhere else.

use std::error::Error as StdError;
use std::io;

use ocelli::DataError;

use crate::output::message;

/// Why a verb did not succeed.
pub enum Failure {
    /// With this message, which is still to be printed.
    Error(String),
    /// With messages that have been printed.
    Printed,
    /// The reader of standard output has closed it.
    Closed,
    /// The user, or the system, asked to stop.
    Interrupted,
    /// The arguments are wrong, or ask for help.
    Usage(clap::Error),
}

impl<E: StdError + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let error: &(dyn StdError + 'static) = &error;
        let text = match error.downcast_ref::<io::Error>() {
            Some(error) => ocelli::io_reason(error),
            None => error.to_string(),
        };
        let flag = error.downcast_ref::<ocelli::Error>().and_then(setting).and_then(flag);
        let flag = flag.map_or_else(String::new, |flag| format!("{flag}: "));
        let advice = advice(error).map_or_else(String::new, |advice| format!("\n       {advice}"));
        Self::Error(format!("{flag}{}{advice}", message(text)))
    }
}

/// The flag that lets an error pass.
pub fn advice(error: &(dyn StdError + 'static)) -> Option<&'static str> {
    match error.downcast_ref() {
        Some(ocelli::Error::Data(
            DataError::ClassLosesImages { .. } | DataError::ClassWithoutImages { .. },
        )) => Some("to continue without them:  --bad-images skip"),
        _ => None,
    }
}

/// The library's setting that an error is about.
fn setting(error: &ocelli::Error) -> Option<&'static str> {
    match error {
        ocelli::Error::Setting { name, .. } => Some(name),
        ocelli::Error::Data(DataError::Setting { name, .. }) => Some(name),
        ocelli::Error::ImageSize { .. } => Some("size"),
        _ => None,
    }
}

/// The flag, or flags, that a setting of the library comes from.
fn flag(setting: &str) -> Option<&'static str> {
    SETTINGS.iter().find(|(name, _)| *name == setting).and_then(|(_, flag)| *flag)
}

/// Every setting that the library can refuse, and its flag. Settings without one can be given in a `config.toml` or in Rust
/// only: there, the library's name is the right word.
const SETTINGS: &[(&str, Option<&str>)] = &[];

/// What the library's sentences call settings, in backquotes, and what they are called here.
const IN_SENTENCES: &[(&str, &str)] = &[
    ("with `without_training_images_of`", "without --include-train"),
    ("without `without_training_images_of`", "with --include-train"),
    ("`allow_missing`", "--allow-missing"),
    ("`architecture`", "--arch"),
    ("`batch_size`", "--batch-size"),
    ("`from_csv`", "--labels"),
    ("`held_out`", "--valid"),
    ("`id`", "--id-column"),
    ("`label`", "--label-column"),
    ("`max_pixels`", "--max-pixels"),
    ("`out`", "--out"),
    ("`size`", "--size"),
    ("`split`", "--split"),
    ("`suffix`", "--suffix"),
    ("`task`", "--task"),
    ("`values`", "--values"),
    ("`weights`", "--weights FILE"),
];

/// A sentence of the library with flags in place of its settings.
pub fn in_flags(text: &str) -> String {
    IN_SENTENCES.iter().fold(text.to_owned(), |text, (setting, flag)| text.replace(setting, flag))
}
