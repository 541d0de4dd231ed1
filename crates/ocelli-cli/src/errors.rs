//! Errors of the command, in its own words.
//!
//! The library's errors speak of its settings; they are translated into flags here, and nowhere else: by the
//! name of the setting ([`SETTINGS`]), by the kind of error ([`advice`]), and in sentences ([`in_flags`]).

use std::error::Error as StdError;
use std::io;

use ocelli::DataError;

use crate::output::message;

/// Why a verb failed.
pub enum Failure {
    /// With this message, which has not been printed yet.
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
        let setting = error.downcast_ref::<ocelli::Error>().and_then(ocelli::Error::setting_name);
        let advice = advice(error).map_or_else(String::new, |advice| format!("\n       {advice}"));
        Self::Error(format!("{}{advice}", message(by_flag(text, setting))))
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
        Error::NoWeights { arch, .. } => {
            format!("to download them:  ocelli pull {arch}   to use your own:  --weights FILE")
        }
        Error::AllTrainedOn { .. } => "to evaluate them all the same:  --include-train".to_owned(),
        Error::OutputPath { .. } => "to choose the path:  --out".to_owned(),
        Error::TableExists { path } => {
            format!("to resume it:  --resume-from {}", message(path.display()))
        }
        Error::NoPhotosForRanges { .. } => "to find ranges on others:  --int8-photos FOLDER".to_owned(),
        #[cfg(feature = "onnx")]
        Error::NoPhotosToCheck { .. } => "to compare on others:  --photos FOLDER".to_owned(),
        #[cfg(feature = "onnx")]
        Error::QuantizationLoss { .. } => "to halve the size without a loss:  --half".to_owned(),
        Error::SampleColumn { classes, .. } if classes.iter().all(|class| class.parse::<i64>().is_ok()) => {
            "to write labels:  --values labels".to_owned()
        }
        Error::SampleColumn { .. } => {
            "to write labels:  --values labels   to write their numbers from 0:  --values indices".to_owned()
        }
        Error::SampleForm { .. } => {
            "as the competition's page says:  --values probabilities, --values indices or --values labels"
                .to_owned()
        }
        Error::NotShared { .. } => {
            "to share them:  --micro-batch 8   to train the head alone:  --unfrozen-epochs 0".to_owned()
        }
        Error::NotComparable { reason, .. } if matches!(**reason, Error::NoCommonImages) => {
            "to train with the split of another run:  --split runs/A/split.csv".to_owned()
        }
        _ => return None,
    })
}

/// The flag or flags that set a setting of the library: usually it has the setting's name.
fn flag(setting: &str) -> Option<String> {
    match SETTINGS.iter().find(|(name, _)| *name == setting) {
        Some((_, flag)) => flag.map(str::to_owned),
        None => Some(namesake(setting)),
    }
}

/// The text of an error, by the flag of the setting that is refused, if there is one.
fn by_flag(text: String, setting: Option<&str>) -> String {
    let Some((setting, flag)) = setting.and_then(|setting| Some((setting, flag(setting)?))) else {
        return text;
    };
    match text.strip_prefix(&format!("{setting} is ")) {
        Some(rest) if flag == namesake(setting) => format!("{flag} is {rest}"),
        _ => format!("{flag}: {text}"),
    }
}

/// The flag of a setting's own name.
fn namesake(setting: &str) -> String {
    format!("--{}", setting.replace('_', "-"))
}

/// The settings that the library can refuse whose flag has another name. Settings without a flag can only be
/// set in a `config.toml` or in Rust, where the library's name is the right word.
const SETTINGS: &[(&str, Option<&str>)] = &[
    ("augmentation", Some("--augment")),
    ("epochs", Some("--head-epochs, --augmented-epochs, --unfrozen-epochs or --cycles")),
    ("folds", Some("--fold")),
    ("format", Some("--csv, --jsonl or --json")),
    ("mix.alpha", Some("--mixup or --cutmix")),
    ("time_limit", Some("--time")),
    ("sheet", Some("--columns, --rows and --size")),
    ("valid_split", Some("--valid")),
    ("views", Some("--tta")),
    // Only in a config.toml, or in Rust.
    ("balance", None),
    ("c", None),
    ("classes", None),
    ("contrast", None),
    ("count", None),
    ("crop", None),
    ("cut_div", None),
    ("degrees", None),
    ("depths", None),
    ("div", None),
    ("div_final", None),
    ("epsilon", None),
    ("every", None),
    ("factor", None),
    ("frozen", None),
    ("group", None),
    ("header", None),
    ("holes", None),
    ("hue", None),
    ("input_channels", None),
    ("item", None),
    ("label", None),
    ("length", None),
    ("loss", None),
    ("lr_factor", None),
    ("magnitude", None),
    ("mean", None),
    ("momentum", None),
    ("operations", None),
    ("pad", None),
    ("pct", None),
    ("pct_start", None),
    ("power", None),
    ("prefetch", None),
    ("probability", None),
    ("resize", None),
    ("sample", None),
    ("saturation", None),
    ("std", None),
    ("stop_above", None),
    ("strength", None),
    ("stretch", None),
    ("transform", None),
    ("zoom", None),
];

/// Settings that the library's sentences name in backquotes, and their flags.
const IN_SENTENCES: &[(&str, &str)] = &[
    ("`ValidSplit::File`", "--split"),
    ("`ValidSplit::Nothing`", "--valid none"),
    ("`allow_missing`", "--allow-missing"),
    ("`bands`", "--bands"),
    ("`calibrated`", "--calibrated"),
    ("`class_folders`", "--class-folders"),
    ("`from_csv`", "--labels"),
    ("`group_column`", "--group-column"),
    ("`group_pattern`", "--group-pattern"),
    ("`id_column`", "--id-column"),
    ("`int8`", "--int8"),
    ("`label_columns`", "--label-column"),
    ("`max_pixels`", "--max-pixels"),
    ("`micro_batch`", "--micro-batch"),
    ("`min_probability`", "--min-probability"),
    ("`label_separator`", "--label-separator"),
    ("`split_column`", "--split-column"),
    ("`suffix`", "--suffix"),
    ("`task`", "--task"),
    ("`time_limit`", "--time"),
    ("`top_k`", "--top-k"),
    ("`train_bn`", "--train-bn"),
    ("`tta`", "--tta"),
    ("`valid_split`", "--valid"),
    ("`value_range`", "--value-range"),
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

    /// The text of all sources below a folder.
    fn sources(folder: &Path, text: &mut String) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => sources(&path, text),
                false => *text += &fs::read_to_string(&path).unwrap(),
            }
        }
    }

    /// The sources of the library.
    fn library() -> String {
        let mut text = String::new();
        for library in ["ocelli", "ocelli-data"] {
            sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(library).join("src"), &mut text);
        }
        text
    }

    /// The names of settings in the errors that the library makes.
    fn refused() -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        let library = library();
        for start in ["Error::setting(", "Error::Setting {", "at_least_1(", "check(", "enlargement("] {
            for after in library.split(start).skip(1) {
                let after = after.trim_start().strip_prefix("name:").unwrap_or(after).trim_start();
                if let Some((name, _)) = after.strip_prefix('"').and_then(|text| text.split_once('"')) {
                    names.insert(name.to_owned());
                }
            }
        }
        names
    }

    #[test]
    fn every_setting_that_the_library_refuses_is_known_here() {
        let (flags, names) = (flags(), refused());
        assert!(names.len() > 40, "{names:?}");
        for name in &names {
            let known = SETTINGS.iter().any(|(known, _)| known == name) || flags.contains(&namesake(name));
            assert!(known, "{name} is no flag, and has no entry in SETTINGS");
            assert!(
                name.chars().all(|letter| letter.is_ascii_lowercase()
                    || letter.is_ascii_digit()
                    || "_.".contains(letter)),
                "{name} is no name of a setting"
            );
        }
        for (name, _) in SETTINGS {
            assert!(names.contains(*name), "the library has no setting {name}");
        }
    }

    #[test]
    fn every_setting_in_a_sentence_of_the_library_has_a_flag() {
        let (library, refused) = (library(), refused());
        for (setting, _) in IN_SENTENCES {
            assert!(
                library.contains(&format!("({setting})"))
                    || library.contains(&format!("{setting} "))
                    // A problem that inspect finds begins with its setting.
                    || refused.contains(setting.trim_matches('`')),
                "{setting}"
            );
        }
    }

    #[test]
    fn only_existing_flags_are_named() {
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
        let refused = |setting, text: &str| by_flag(text.to_owned(), setting);
        assert_eq!(
            refused(Some("batch_size"), "batch_size is 0; it must be 1"),
            "--batch-size is 0; it must be 1"
        );
        assert_eq!(refused(Some("augmentation"), "augmentation is odd"), "--augment: augmentation is odd");
        assert_eq!(refused(Some("batch_size"), "8 is too many"), "--batch-size: 8 is too many");
        assert_eq!(refused(None, "batch_size is 0"), "batch_size is 0");
        assert_eq!(
            in_flags("let images have several labels (`task` multi-label)"),
            "let images have several labels (--task multi-label)"
        );
        assert_eq!(in_flags("`ocelli predict` needs no classes"), "`ocelli predict` needs no classes");
    }
}
