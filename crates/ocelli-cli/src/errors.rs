//! Why the command fails, and in which words.
//!
//! The library's errors speak of its settings; the command translates them into flags here, and nowhere else: by the name of
//! the setting ([`SETTINGS`]), by the kind of error ([`advice`]), and in sentences ([`in_flags`]).

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
        let flag = error.downcast_ref::<ocelli::Error>().and_then(ocelli::Error::setting_name).and_then(flag);
        let flag = flag.map_or_else(String::new, |flag| format!("{flag}: "));
        let advice = advice(error).map_or_else(String::new, |advice| format!("\n       {advice}"));
        Self::Error(format!("{flag}{}{advice}", message(text)))
    }
}

/// What to do about an error, in flags.
pub fn advice(error: &(dyn StdError + 'static)) -> Option<String> {
    use ocelli::Error;
    Some(match error.downcast_ref()? {
        Error::Data(DataError::ClassLosesImages { .. } | DataError::ClassWithoutImages { .. }) => {
            "to continue without them:  --bad-images skip".to_owned()
        }
        Error::BadImage { .. } => "to continue without it:  --bad-images skip".to_owned(),
        Error::Memory { fits: Some(fits), .. } => format!("to fit:  --batch-size {fits}"),
        Error::Memory { fits: None, .. } => "to need less:  a smaller --size, or another --arch".to_owned(),
        Error::NoWeights { .. } if cfg!(not(feature = "hub")) => {
            "to use your own:  --weights FILE".to_owned()
        }
        Error::NoWeights { architecture, .. } => {
            format!("to download them:  ocelli pull {architecture}   to use your own:  --weights FILE")
        }
        Error::AllTrainedOn { .. } => "to evaluate them all the same:  --include-train".to_owned(),
        Error::OutputPath { .. } => "to choose the path:  --out".to_owned(),
        Error::SampleColumn { .. } => "to write labels:  --values labels".to_owned(),
        Error::NotComparable { reason, .. } if matches!(**reason, Error::NoCommonImages) => {
            "to train with the split of another run:  --split runs/A/split.csv".to_owned()
        }
        _ => return None,
    })
}

/// The flag, or flags, that a setting of the library comes from.
fn flag(setting: &str) -> Option<&'static str> {
    SETTINGS.iter().find(|(name, _)| *name == setting).and_then(|(_, flag)| *flag)
}

/// Every setting that the library can refuse, and its flag. Settings without one are set in a `config.toml` or in Rust alone,
/// where the library's name is the right word.
const SETTINGS: &[(&str, Option<&str>)] = &[
    ("fold", Some("--fold")),
    ("folds", Some("--fold")),
    ("held_out", Some("--valid")),
    ("valid", Some("--valid")),
    ("size", Some("--size")),
    ("sheet", Some("--columns, --rows and --size")),
    ("threads", Some("--threads")),
    ("batch_size", Some("--batch-size")),
    ("batch size", Some("--batch-size")),
    ("the finder's batch size", Some("--batch-size")),
    ("epochs", Some("--head-epochs and the like")),
    ("cycle_mult", Some("--cycles, --cycle-len and --cycle-mult")),
    ("lr", Some("--lr")),
    ("lr_decay", Some("--group-lr-ratio")),
    ("class_weights", Some("--class-weights")),
    ("the alpha of mixed images", Some("--mixup or --cutmix")),
    ("alpha", Some("--mixup or --cutmix")),
    ("label_smoothing", Some("--label-smoothing")),
    ("focal_gamma", Some("--focal-gamma")),
    ("the greatest gradient norm", Some("--max-grad-norm")),
    ("the number of batches a step", Some("--accumulate-steps")),
    ("the decay of averaged weights", Some("--ema-decay")),
    ("the average of weights", Some("--ema-decay and --swa-start")),
    ("weight_decay", Some("--weight-decay")),
    ("the finder's last learning rate", Some("--end-lr")),
    ("the finder's number of steps", Some("--steps")),
    ("clip", Some("--clip-probabilities")),
    ("augmented_copies", Some("--augmented-copies")),
    ("views", Some("--tta")),
];

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
