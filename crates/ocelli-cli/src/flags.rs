//! The library speaks of its settings; people at a command line are told of flags.

/// What the library's sentences call settings, in backquotes, and what they are called here.
const FLAGS: [(&str, &str); 17] = [
    ("with `without_training_images_of`", "without --all"),
    ("without `without_training_images_of`", "with --all"),
    ("`allow_missing`", "--allow-missing"),
    ("`architecture`", "--arch"),
    ("`batch_size`", "--batch"),
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

/// A sentence of the library with flags in the place of its settings.
pub fn in_flags(text: &str) -> String {
    FLAGS.iter().fold(text.to_owned(), |text, (setting, flag)| text.replace(setting, flag))
}

/// The flag, or the flags, that a setting of the library comes from.
pub fn of_setting(error: &ocelli::Error) -> Option<&'static str> {
    let name = match error {
        ocelli::Error::Setting { name, .. } => name,
        ocelli::Error::Data(ocelli::DataError::Setting { name, .. }) => name,
        ocelli::Error::ImageSize { .. } => return Some("--size"),
        _ => return None,
    };
    Some(match *name {
        "fold" | "folds" => "--fold",
        "valid" | "the share that is held out" => "--valid",
        "size" => "--size",
        "sheet" => "--columns, --rows and --size",
        "threads" => "--threads",
        "the batch size" | "batch size" | "the finder's batch size" => "--batch",
        "the number of epochs" | "cycle_mult" => "--epochs, --cycles and the like",
        "the learning rate" => "--lr",
        "the spread of learning rates" => "--spread",
        "the number of class weights" | "a class weight" => "--class-weights",
        "the alpha of mixed images" | "alpha" => "--mixup or --cutmix",
        "label smoothing" => "--label-smoothing",
        "the focal loss's gamma" => "--focal",
        "the greatest gradient norm" => "--clip",
        "the number of batches a step" => "--accumulate",
        "the decay of averaged weights" => "--ema",
        "the average of weights" => "--ema and --swa",
        "weight decay" => "--weight-decay",
        "the finder's last learning rate" => "--end",
        "the finder's number of steps" => "--steps",
        "the clip" => "--clip",
        "the number of views" => "--views or --tta",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_become_flags() {
        assert_eq!(in_flags("raise `max_pixels` to read it"), "raise --max-pixels to read it");
        assert_eq!(
            in_flags("measure on all of them, without `without_training_images_of`"),
            "measure on all of them, with --all"
        );
        assert_eq!(in_flags("`ocelli predict` needs no classes"), "`ocelli predict` needs no classes");
    }
}
