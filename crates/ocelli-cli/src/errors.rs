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

/// The flag, or flags, that a setting of the library comes from: usually it has the setting's name.
fn flag(setting: &str) -> Option<String> {
    match SETTINGS.iter().find(|(name, _)| *name == setting) {
        Some((_, flag)) => flag.map(str::to_owned),
        None => Some(namesake(setting)),
    }
}

/// The flag of a setting's own name.
fn namesake(setting: &str) -> String {
    format!("--{}", setting.replace('_', "-"))
}

/// The settings that the library can refuse whose flag has another name. Settings without a flag are set in a `config.toml` or
/// in Rust alone, where the library's name is the right word.
const SETTINGS: &[(&str, Option<&str>)] = &[
    ("alpha", Some("--mixup or --cutmix")),
    ("augmentation", Some("--augment")),
    ("clip", Some("--clip-probabilities")),
    ("epochs", Some("--head-epochs, --augmented-epochs, --unfrozen-epochs or --cycles")),
    ("folds", Some("--fold")),
    ("held_out", Some("--valid")),
    ("lr_decay", Some("--group-lr-ratio")),
    ("range", Some("--value-range")),
    ("sheet", Some("--columns, --rows and --size")),
    ("the alpha of mixed images", Some("--mixup or --cutmix")),
    ("the average of weights", Some("--ema-decay and --swa-start")),
    ("the decay of averaged weights", Some("--ema-decay")),
    ("the finder's batch size", Some("--batch-size")),
    ("the finder's last learning rate", Some("--end-lr")),
    ("the finder's number of steps", Some("--steps")),
    ("the greatest gradient norm", Some("--max-grad-norm")),
    ("the number of batches a step", Some("--accumulate-steps")),
    ("views", Some("--tta")),
    // Only in a config.toml, or in Rust.
    ("bits cleared", None),
    ("cut_div", None),
    ("epsilon", None),
    ("every", None),
    ("factor", None),
    ("frozen", None),
    ("group", None),
    ("header", None),
    ("item", None),
    ("largest angle", None),
    ("largest strength", None),
    ("loss", None),
    ("lr_factor", None),
    ("magnitude", None),
    ("mean", None),
    ("momentum", None),
    ("operations", None),
    ("operations an image", None),
    ("pad", None),
    ("pct", None),
    ("pct_start", None),
    ("power", None),
    ("resize", None),
    ("sample length", None),
    ("std", None),
    ("the finder's stop", None),
    ("the head's number of classes", None),
    ("the network's number of input channels", None),
    ("the place of the crop", None),
    ("transform", None),
    ("zoom", None),
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    /// Every flag of every verb.
    fn flags() -> BTreeSet<String> {
        let command = crate::verbs::command();
        let flags = command.get_subcommands().flat_map(|verb| verb.get_arguments());
        flags
            .filter(|flag| !flag.is_hide_set())
            .filter_map(|flag| flag.get_long())
            .map(|name| format!("--{name}"))
            .collect()
    }

    /// The words of a text that are flags.
    fn flags_in(text: &str) -> impl Iterator<Item = String> {
        let words = text.split_whitespace().map(|word| word.trim_matches([',', ';', ':', '.']));
        words.filter(|word| word.starts_with("--")).map(str::to_owned)
    }

    /// The names of settings that refusals in these sources begin with.
    fn refused(folder: &Path, names: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                refused(&path, names);
                continue;
            }
            let source = fs::read_to_string(&path).unwrap();
            for start in ["Error::setting(", "DataError::Setting {", "Error::Setting {"] {
                for after in source.split(start).skip(1) {
                    let after = after.trim_start().strip_prefix("name:").unwrap_or(after).trim_start();
                    if let Some((name, _)) = after.strip_prefix('"').and_then(|text| text.split_once('"')) {
                        names.insert(name.to_owned());
                    }
                }
            }
        }
    }

    #[test]
    fn every_setting_that_the_library_refuses_is_known_here() {
        let (flags, mut names) = (flags(), BTreeSet::new());
        for library in ["ocelli", "ocelli-data"] {
            refused(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(library).join("src"), &mut names);
        }
        assert!(names.len() > 40, "{names:?}");
        for name in &names {
            let known = SETTINGS.iter().any(|(known, _)| known == name) || flags.contains(&namesake(name));
            assert!(known, "{name} is no flag, and has no entry in SETTINGS");
        }
    }

    #[test]
    fn only_flags_that_there_are_are_named() {
        let flags = flags();
        let in_table =
            SETTINGS.iter().filter_map(|(_, flag)| *flag).chain(IN_SENTENCES.iter().map(|(_, to)| *to));
        for flag in in_table.flat_map(flags_in) {
            assert!(flags.contains(&flag), "{flag} is no flag");
        }
    }

    #[test]
    fn settings_become_flags() {
        assert_eq!(in_flags("raise `max_pixels` to read it"), "raise --max-pixels to read it");
        assert_eq!(
            in_flags("evaluate all of them, without `without_training_images_of`"),
            "evaluate all of them, with --include-train"
        );
        assert_eq!(in_flags("`ocelli predict` needs no classes"), "`ocelli predict` needs no classes");
    }
}
