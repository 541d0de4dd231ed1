//! Silly values of every flag: the real command refuses them with the flag's name and its range, and never panics.

use std::collections::BTreeSet;
use std::process::{Output, Stdio};

use crate::common::{Place, small, stderr};

/// Numbers, and what only looks like them.
const SILLY: [&str; 12] = [
    "nan",
    "inf",
    "-1",
    "0",
    "1",
    "1e400",
    "0.5.5",
    "64,0",
    "18446744073709551615",
    "18446744073709551616",
    "٣",
    "",
];

/// Flags that take a number, or numbers, with values out of their range.
const NUMBERS: &[(&str, &[&str])] = &[
    ("--accumulate-steps", &["0", "-1", "18446744073709551615"]),
    ("--augmented-epochs", &["-1", "100001"]),
    ("--bands", &["0", "1,2", "1,2,0"]),
    ("--batch-size", &["0", "1", "-2", "65537", "18446744073709551615"]),
    ("--class-weights", &[]),
    ("--clip-probabilities", &["nan", "-1", "0.5"]),
    ("--max-grad-norm", &["nan", "-1", "inf"]),
    ("--columns", &["0", "1001"]),
    ("--cutmix", &["nan", "0", "-1", "101"]),
    ("--cycle-len", &[]),
    ("--cycle-mult", &[]),
    ("--cycles", &["-1", "1001", "18446744073709551615"]),
    ("--ema-decay", &["nan", "-0.1", "1", "1.5"]),
    ("--end-lr", &["nan", "0", "-1", "inf"]),
    ("--head-epochs", &["-1", "100001", "18446744073709551615", "1.5"]),
    ("--focal-gamma", &["nan", "-1", "0.5", "11"]),
    ("--false-refusals", &["nan", "-0.1", "1.5", "inf"]),
    ("--fold", &["0/0", "6/5", "1", "-1"]),
    ("--folds", &["0", "1", "101", "-1"]),
    ("--group-lrs", &["nan", "0", "-1"]),
    ("--label-smoothing", &["nan", "-0.1", "1"]),
    ("--latency", &["0", "-1ms", "nan ms", "11s", "1h"]),
    ("--lr", &["nan", "inf", "-1", "0"]),
    ("--client-timeout", &["nan", "0", "-1", "3601"]),
    ("--max-body", &["0", "-1", "1001"]),
    ("--max-connections", &["0", "-1", "10001"]),
    ("--max-files", &["0", "-1", "10001"]),
    ("--max-pixels", &["0", "-1", "1e9"]),
    ("--network", &["0", "-1G", "nan", "1e300", "10X", "G"]),
    ("--min-probability", &["nan", "-0.1", "1.1", "inf"]),
    ("--mixup", &["nan", "0", "-1", "inf"]),
    ("--patience", &["0", "-1", "18446744073709551615"]),
    ("--timeout", &["0", "-1", "86401"]),
    ("--value-range", &["5", "5,5", "nan"]),
    ("--port", &["-1", "65536"]),
    ("--queue", &["0", "-1", "100001"]),
    ("--micro-batch", &["0", "-1", "65537"]),
    ("--rank", &["-1", "4096"]),
    ("--ranks", &["0", "-1", "4097"]),
    ("--rows", &["0", "1001"]),
    ("--batches", &["0", "10001"]),
    ("--seed", &["-1", "9223372036854775808", "1.5"]),
    ("--size", &["0", "8193", "-1"]),
    ("--group-lr-ratio", &["nan", "0", "-1", "0.5", "inf"]),
    ("--start-lr", &["nan", "0", "-1"]),
    ("--steps", &["0", "19", "100001"]),
    ("--swa-start", &["-1", "100001"]),
    ("--time", &["0", "-1", "nan", "1e300", "soon", "2 moons"]),
    ("--threads", &["1000000", "-1", "18446744073709551615"]),
    ("--top-k", &["0", "-1", "100001", "nan"]),
    ("--tta", &["0", "65", "-1", "nan"]),
    ("--unfrozen-epochs", &["-1", "100001"]),
    ("--valid", &["nan", "-1", "1", "1.5"]),
    ("--augmented-copies", &["-1", "1001", "18446744073709551615"]),
    ("--weight-decay", &["nan", "-1", "inf"]),
];

/// Flags that take something else.
const OTHERS: &[&str] = &[
    "--allow-host",
    "--among",
    "--arch",
    "--augment",
    "--bad-images",
    "--cache",
    "--class",
    "--config",
    "--copy-to",
    "--data",
    "--decisions",
    "--device",
    "--exchange-precision",
    "--format",
    "--framing",
    "--group-column",
    "--group-pattern",
    "--host",
    "--html",
    "--id-column",
    "--int8-photos",
    "--join",
    "--label-column",
    "--label-separator",
    "--labels",
    "--layer",
    "--layers",
    "--link-to",
    "--log",
    "--metric",
    "--optimizer",
    "--out",
    "--output",
    "--photos",
    "--precision",
    "--preprocessing",
    "--recipe",
    "--resume",
    "--resume-from",
    "--runtime",
    "--sample",
    "--split",
    "--split-column",
    "--strangers",
    "--suffix",
    "--task",
    "--thresholds",
    "--token",
    "--trace",
    "--values",
    "--weights",
    "--from",
    "--with",
];

/// Every verb, with what it needs to get as far as its flags: nothing of it is there.
const VERBS: &[&[&str]] = &[
    &["train", "nowhere"],
    &["lr-find", "nowhere"],
    &["inspect", "nowhere"],
    &["augment", "nowhere.jpg"],
    &["predict", "nowhere.safetensors", "nowhere.jpg"],
    &["serve", "nowhere.safetensors"],
    &["watch", "nowhere"],
    &["clean", "nowhere"],
    &["models", "resnet18"],
    &["plan", "nowhere"],
    &["show", "nowhere.safetensors"],
    &["submit", "nowhere.safetensors", "nowhere"],
    &["export", "nowhere.safetensors"],
    &["embed", "nowhere.safetensors", "nowhere.jpg", "--out", "nowhere.npy"],
    &["similar", "nowhere.safetensors", "nowhere.jpg", "--among", "nowhere"],
    &["evaluate", "nowhere.safetensors", "nowhere"],
    &["explain", "nowhere.safetensors", "nowhere.jpg"],
    &["report", "nowhere"],
    &["compare", "nowhere", "nowhere"],
    &["pull", "resnet18"],
    &["samples", "nowhere"],
    &["doctor"],
    &["completions", "bash"],
    &["man"],
];

fn assert_no_panic(arguments: &[&str], output: &Output) -> String {
    let said = stderr(output);
    assert!(matches!(output.status.code(), Some(0..=2)), "{arguments:?}: {:?}: {said}", output.status);
    assert!(!said.contains("panicked") && !said.contains("os error"), "{arguments:?}: {said}");
    said
}

/// The flags with a value that a verb has, by its help.
fn flags(place: &Place, verb: &str) -> BTreeSet<String> {
    let help = place.run(&[verb, "--help"]);
    let flag = |line: &str| {
        let flag = line.trim_start().trim_start_matches("-q, ").trim_start_matches("-v, ");
        let (flag, value) = flag.split_once(' ')?;
        (flag.starts_with("--") && value.starts_with('<')).then(|| flag.to_owned())
    };
    help.lines().filter_map(flag).collect()
}

#[test]
fn no_value_of_any_flag_makes_any_verb_panic() {
    let place = Place::empty();
    let verbs: Vec<&str> = VERBS.iter().map(|verb| verb[0]).collect();
    let help = place.run(&["help"]);
    for line in
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty())
    {
        let verb = line.split_whitespace().next().unwrap();
        assert!(verb == "help" || verbs.contains(&verb), "{verb} is not tried here");
    }
    let mut tried = BTreeSet::new();
    std::thread::scope(|scope| {
        for verb in VERBS {
            let place = &place;
            let flags = flags(place, verb[0]);
            for flag in &flags {
                let known =
                    NUMBERS.iter().any(|(number, _)| number == flag) || OTHERS.contains(&flag.as_str());
                assert!(known, "{} {flag} is not tried here", verb[0]);
            }
            tried.extend(flags.clone());
            scope.spawn(move || {
                for (flag, refused) in NUMBERS.iter().filter(|(flag, _)| flags.contains(*flag)) {
                    // A transfer of weights is no part of this.
                    let wrong: Vec<&str> = match verb[0] {
                        "pull" | "models" => refused.to_vec(),
                        _ => SILLY.into_iter().chain(refused.iter().copied()).collect(),
                    };
                    for value in wrong {
                        let flag_and_value = format!("{flag}={value}");
                        let arguments = [verb, &[flag_and_value.as_str()][..]].concat();
                        let output = place.ocelli(&arguments).stdin(Stdio::null()).output().unwrap();
                        let said = assert_no_panic(&arguments, &output);
                        if refused.contains(&value) {
                            assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
                            assert!(
                                said.contains(flag) && said.contains("expected "),
                                "{arguments:?}: {said}"
                            );
                        }
                    }
                }
            });
        }
    });
    for (flag, _) in NUMBERS {
        assert!(tried.contains(*flag), "{flag} is no flag of any verb");
    }
}

#[test]
fn what_only_the_data_decides_names_its_flag_too() {
    let place = Place::with_photos(4);
    let refused: [(&[&str], &[&str]); 16] = [
        (&["--size", "64,0"], &["--size", "1 to 8,192"]),
        (&["--size", "32,10", "--arch", "vgg16_bn"], &["--size", "32 px"]),
        (&["--size", "10", "--arch", "vit_tiny_patch16"], &["--size", "16 px"]),
        (&["--fold", "0/0"], &["'0/0' for '--fold", "1/5"]),
        (&["--fold", "6/5"], &["'6/5' for '--fold"]),
        (&["--fold", "1/1"], &["--fold"]),
        (&["--fold", "1/18446744073709551615"], &["--fold", "number of images"]),
        (&["--valid", "nan"], &["'nan' for '--valid", "between 0 and 1"]),
        (&["--valid", "-1"], &["'-1' for '--valid"]),
        (&["--valid", "1"], &["'1' for '--valid"]),
        (&["--class-weights", "1,nan,1"], &["--class-weights", "0 or more"]),
        (&["--class-weights", "1,1"], &["--class-weights", "one a class"]),
        (&["--cycles", "1000", "--cycle-mult", "100"], &["--cycles", "100,000"]),
        (&["--recipe", "fine-tune-18446744073709551615"], &["--recipe", "from 1 to 100,000"]),
        (&["--head-epochs", "0", "--recipe", "quick"], &["--head-epochs", "at least 1"]),
        (&["--lr", "1,2"], &["--lr", "three"]),
    ];
    for (more, wanted) in refused {
        let arguments = [&["train", "photos", "--size", "32", "--out", "none"][..], more].concat();
        let arguments: Vec<&str> = if more[0] == "--size" {
            [&["train", "photos", "--out", "none"][..], more].concat()
        } else {
            arguments
        };
        let output = place.ocelli(&arguments).output().unwrap();
        let said = assert_no_panic(&arguments, &output);
        assert!(!output.status.success(), "{arguments:?}");
        for wanted in wanted {
            assert!(said.contains(wanted), "{arguments:?}: {said}");
        }
        assert!(!place.path("none").exists(), "{arguments:?}");
    }
    let output =
        place.ocelli(&["augment", "photos/flags", "--columns", "1000", "--rows", "1000"]).output().unwrap();
    assert_no_panic(&["augment"], &output);
}

#[test]
fn values_at_the_ends_of_their_ranges_are_taken() {
    let place = Place::with_photos(4);
    place.run(&small(&[
        "--head-epochs",
        "2",
        "--batch-size",
        "65536",
        "--accumulate-steps",
        "1000000",
        "--swa-start",
        "100000",
        "--patience",
        "100000",
        "--seed",
        "9223372036854775807",
        "--max-pixels",
        "1000000000000",
        "--threads",
        "64",
        "--group-lr-ratio",
        "1000000",
        "--weight-decay",
        "0",
        "--focal-gamma",
        "10",
        "--max-grad-norm",
        "1e-30",
        "--label-smoothing",
        "0.999",
        "--lr",
        "1e-300",
        "--out",
        "run",
    ]));
    let config: toml::Table = place.read("run/config.toml").parse().unwrap();
    assert_eq!(config["settings"]["seed"].as_integer(), Some(i64::MAX));
}

#[test]
fn names_that_do_not_exist_are_answered_with_those_that_are_alike() {
    let place = Place::empty();
    let tries: [(&[&str], &str); 6] = [
        (&["train", "x", "--arch", "resnet99"], "did you mean resnet"),
        (&["lr-find", "x", "--arch", "efficientnet-lite0"], "did you mean efficientnet_lite0"),
        (&["pull", "convnext_nano"], "did you mean convnext_"),
        (&["models", "vit"], "did you mean vit_tiny_patch16"),
        (&["train", "x", "--recipe", "quikc"], "did you mean quick?"),
        (&["train", "x", "--metric", "acuracy"], "did you mean accuracy"),
    ];
    for (arguments, wanted) in tries {
        let output = place.ocelli(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(wanted), "{arguments:?}: {}", stderr(&output));
    }
}

#[cfg(unix)]
mod unix {
    use std::ffi::OsStr;
    use std::fs::{self, File};
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;

    use super::*;

    fn odd() -> &'static OsStr {
        OsStr::from_bytes(b"caf\xe9 1")
    }

    #[test]
    fn arguments_that_are_not_text_are_taken_as_paths_and_refused_as_words() {
        let place = Place::with_photos(4);
        if fs::create_dir(place.path("").join(odd())).is_err() {
            eprintln!("skipped: this file system takes no such name");
            return;
        }
        fs::rename(place.path("photos"), place.path("").join(odd()).join("photos")).unwrap();
        let photos = Path::new(odd()).join("photos");
        let run = Path::new(odd()).join("run");
        let mut train =
            place.ocelli(&["train", "--recipe", "quick", "--size", "32", "--head-epochs", "2", "--out"]);
        let output = train.arg(&run).arg(&photos).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        let config: toml::Table =
            fs::read_to_string(place.path("").join(&run).join("config.toml")).unwrap().parse().unwrap();
        let given = config["given"].as_str().unwrap();
        assert!(given.ends_with(r"--out $'caf\xe9 1/run' $'caf\xe9 1/photos'"), "{given}");

        // The paths come back from the settings to the byte.
        fs::remove_file(place.path("").join(&run).join("model.safetensors")).unwrap();
        let output = place.ocelli(&["train", "--quiet", "--resume"]).arg(&run).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        assert_eq!(output.stdout, b"caf\xe9 1/run/model.safetensors\n", "{output:?}");
        let photo =
            fs::read_dir(place.path("").join(&photos).join("flags")).unwrap().next().unwrap().unwrap().path();
        let output = place.ocelli(&["predict"]).arg(&run).arg(photo).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));

        for arguments in [&["train", "x", "--recipe"][..], &["models"], &["explain", "m", "p", "--class"]] {
            let output = place.ocelli(arguments).arg(odd()).output().unwrap();
            assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        }
    }

    #[test]
    fn a_full_disk_behind_standard_output_is_said_and_no_run_is_lost() {
        let full = || File::options().write(true).open("/dev/full");
        if full().is_err() {
            eprintln!("skipped: there is no /dev/full here");
            return;
        }
        let place = Place::with_photos(4);
        let photo = crate::common::samples().join("flags/de.png");
        let photo = photo.to_str().unwrap();
        let run = small(&["--head-epochs", "2", "--out", "run"]);
        for arguments in [
            &run[..],
            &["predict", "run", photo],
            &["predict", "run", "--csv", photo],
            &["inspect", "photos"],
            &["inspect", "photos", "--json"],
            &["evaluate", "run", "photos"],
            &["models", "resnet18"],
            &["plan", "photos", "--recipe", "linear", "--size", "32"],
            &["completions", "bash"],
            &["man"],
            &["train", "--help"],
        ] {
            let output = place.ocelli(arguments).stdout(full().unwrap()).output().unwrap();
            let said = assert_no_panic(arguments, &output);
            assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
            assert!(said.contains("cannot write standard output: no space is left"), "{arguments:?}: {said}");
        }
        for name in ["model.safetensors", "predictions.csv", "report.html"] {
            assert!(place.path("run").join(name).is_file(), "the run went on to its end: {name}");
        }
    }

    #[test]
    fn a_closed_pipe_is_no_error() {
        let place = Place::with_photos(4);
        let run = small(&["--head-epochs", "2", "--out", "run"]);
        for arguments in [&run[..], &["models"], &["inspect", "photos"], &["predict", "run", "photos"]] {
            let mut process =
                place.ocelli(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
            drop(process.stdout.take());
            let output = process.wait_with_output().unwrap();
            assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", stderr(&output));
            assert!(!stderr(&output).contains("panicked"), "{arguments:?}: {}", stderr(&output));
        }
        assert!(place.path("run/model.safetensors").is_file(), "the run went on to its end");
    }
}

#[test]
fn a_run_or_its_model_is_taken_wherever_the_other_is() {
    let place = Place::with_photos(5);
    for run in ["a", "b"] {
        place.run(&small(&["--head-epochs", "1", "--out", run]));
    }
    let photo = crate::common::samples().join("flags/de.png");
    let photo = photo.to_str().unwrap();
    let model = "a/model.safetensors";
    assert_eq!(place.run(&["predict", "a", photo]), place.run(&["predict", model, photo]));
    assert_eq!(
        place.run(&["evaluate", "a", "photos", "--json"]),
        place.run(&["evaluate", model, "photos", "--json"])
    );
    place.run(&["explain", "a", photo]);
    place.run(&["submit", "a", "photos/flags"]);
    place.run(&["report", model]);
    place.run(&["compare", model, "b/model.safetensors"]);
    let refused = place.refusal(&["train", "--resume", model]);
    assert!(refused.contains("a: this run is finished"), "{refused}");

    // What is neither is refused in words.
    std::fs::remove_file(place.path("b/model.safetensors")).unwrap();
    std::fs::write(place.path("file"), "x").unwrap();
    for (arguments, wanted) in [
        (&["predict", "b", photo][..], "not finished"),
        (&["predict", "photos", photo], "folder without a model.safetensors"),
        (&["predict", "nowhere", photo], "it does not exist"),
        (&["report", "photos"], "not the folder of a run"),
        (&["report", "file"], "not the folder of a run"),
        (&["compare", "a", "nowhere"], "not the folder of a run"),
        (&["train", "photos", "--config", "photos"], "it is a folder"),
        (&["train", "photos", "--config", "file/x"], "is a file, and a folder is needed"),
        (&["train", "photos", "--weights", "photos", "--size", "32"], "it is a folder"),
        (&["submit", "a", "photos/flags", "--sample", "nowhere.csv"], "does not exist"),
        (&["submit", "a", "photos/flags", "--out", "photos"], "photos: it is a folder"),
    ] {
        let refused = place.refusal(arguments);
        assert!(refused.contains(wanted), "{arguments:?}: {refused}");
        assert!(!refused.contains("os error"), "{arguments:?}: {refused}");
    }
    let refused = place.refusal(&["explain", "a", photo, "--class", "flag"]);
    assert!(refused.contains("did you mean flags?") && refused.contains("food-and-drink"), "{refused}");
}
