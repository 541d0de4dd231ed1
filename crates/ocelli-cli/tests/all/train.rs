//! The real command trains on real pictures.

use std::fs;
use std::time::Duration;

use crate::common::{Place, rows, small, snapshot, stderr};

fn quick<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&small(&["--batch-size", "8", "--head-epochs", "3"])[..], more].concat()
}

#[test]
fn a_run_leaves_a_complete_folder_and_the_photos_as_they_were() {
    let place = Place::with_photos(12);
    let before = snapshot(&place.path("photos"));
    let said = place.run(&quick(&["--unfrozen-epochs", "1", "--lr", "1e-2"]));
    assert_eq!(before, snapshot(&place.path("photos")), "the photo folder is as it was");
    assert!(
        said.contains("36 images in 3 classes: flags 12, food-and-drink 12, smileys-and-emotion 12"),
        "{said}"
    );
    assert!(said.contains("1  head, cached features\n"), "{said}");
    assert!(said.contains("3 epochs at learning rate 1.0e-2"), "{said}");
    assert!(said.contains("2  all layers"), "{said}");
    assert!(said.contains("1 epoch at learning rate 1.0e-5, 1.0e-4, 1.0e-3"), "{said}");
    assert!(said.contains("→ the validation loss "), "what the rows mean: {said}");
    assert!(
        said.contains("baseline  accuracy 0.3333 (always predicting flags, the most frequent class)"),
        "{said}"
    );
    assert!(said.contains("warning: images of 32 px are less than half as large as the 224 px"), "{said}");
    assert!(
        said.contains("→ best weights: epoch ")
            || said.contains("→ no improvement: restored the weights of phase "),
        "{said}"
    );
    assert!(said.contains("95 % CI"), "{said}");
    assert!(!said.contains('\u{1b}'), "no escape codes where output is no terminal");

    let history = place.read("runs/photos-1/history.csv");
    assert_eq!(history.lines().count(), 1 + 3 + 1, "{history}");
    assert!(history.starts_with("phase,epoch,train_loss,valid_loss,accuracy,"), "{history}");
    let accuracies = history.lines().skip(1).map(|row| row.split(',').nth(4).unwrap().parse().unwrap());
    // Of six photos held out.
    assert!(accuracies.fold(0.0, f64::max) > 0.7, "flags, food and faces are told apart: {history}");
    let config: toml::Table = place.read("runs/photos-1/config.toml").parse().unwrap();
    assert_eq!(config["settings"]["size"].as_integer(), Some(32));
    assert!(
        config["given"].as_str().unwrap().ends_with("--head-epochs 3 --unfrozen-epochs 1 --lr 1e-2"),
        "{config}"
    );
    for line in place.read("runs/photos-1/events.jsonl").lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(event["event"].is_string());
    }
    assert_eq!(place.read("runs/photos-1/skipped.csv"), "path,reason\n");
    assert!(place.path("runs/photos-1/model.safetensors").is_file());
    let split = place.read("runs/photos-1/split.csv");
    assert!(
        split.starts_with("id,split\n") && split.contains(",train") && split.contains(",valid"),
        "{split}"
    );
}

#[test]
fn the_same_command_gives_the_same_rows_and_model_with_any_number_of_threads() {
    let place = Place::with_photos(12);
    let more = ["--unfrozen-epochs", "1"];
    place.run(&quick(&[&more[..], &["--out", "a", "--threads", "1", "--cache", "cache-a"]].concat()));
    place.run(&quick(&[&more[..], &["--out", "b", "--threads", "2", "--cache", "cache-b"]].concat()));
    place.run(&quick(&[&more[..], &["--out", "c", "--cache", "cache-b"]].concat()));
    place.run(&quick(&[&more[..], &["--out", "d", "--seed", "1", "--cache", "cache-b"]].concat()));
    let history = |run: &str| rows(&place.read(&format!("{run}/history.csv")));
    let model = |run: &str| fs::read(place.path(run).join("model.safetensors")).unwrap();
    assert_eq!(history("a"), history("b"), "one thread and two");
    assert_eq!(history("b"), history("c"), "activations computed and kept");
    assert_ne!(history("c"), history("d"), "another seed");
    assert_eq!(model("a"), model("b"));
    assert_eq!(model("b"), model("c"));
}

#[test]
fn a_second_run_takes_activations_from_the_cache_and_a_damaged_cache_is_noticed() {
    let place = Place::with_photos(8);
    assert!(place.run(&quick(&[])).contains("features of 24 images · "));
    assert!(place.run(&quick(&[])).contains("features of 24 images from the cache"));
    assert!(place.run(&quick(&["--framing", "pad"])).contains("features of 24 images · "), "another framing");

    let photo = snapshot(&place.path("photos")).remove(0).0;
    fs::copy(crate::common::samples().join("flags/rainbow-flag.png"), photo).unwrap();
    let said = place.run(&quick(&[]));
    assert!(said.contains("features of 1 image · ") && said.contains("23 from the cache"), "{said}");

    for (path, mut bytes) in snapshot(&place.path("cache")) {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, bytes).unwrap();
    }
    let output = place.ocelli(&quick(&[])).output().unwrap();
    assert!(
        stderr(&output).contains("is damaged; its activations are computed again"),
        "{}",
        stderr(&output)
    );
    let all = rows(&place.read("runs/photos-5/history.csv"));
    assert_eq!(all, rows(&place.read("runs/photos-4/history.csv")));
}

#[test]
fn features_of_training_images_may_be_integers() {
    let place = Place::with_photos(12);
    let seed = ["--seed", "3", "--precision", "f32"];
    let output =
        place.ocelli(&quick(&[&seed[..], &["--int8", "--out", "integers"]].concat())).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &stderr(&output);
    assert!(
        said.contains("features of training images are computed in 8-bit integers; ranges by 30"),
        "{said}"
    );
    let config: toml::Table = place.read("integers/config.toml").parse().unwrap();
    assert_eq!(config["settings"]["int8"].as_bool(), Some(true));
    let again = place.run(&quick(&["--config", "integers/config.toml", "--out", "again"]));
    assert!(again.contains("features of 36 images from the cache"), "{again}");
    let floats = place.run(&quick(&[&seed[..], &["--out", "floats"]].concat()));
    assert!(floats.contains("features of 30 images") && floats.contains("6 from the cache"), "{floats}");
    let model = |run: &str| fs::read(place.path(run).join("model.safetensors")).unwrap();
    assert!(model("integers") == model("again") && model("integers") != model("floats"));
    // Validation is of the model as it is used.
    let table = place.read("integers/predictions.csv");
    let mut lines = table.lines().map(|line| line.split(',').collect::<Vec<&str>>());
    let classes = lines.next().unwrap()[4..].join(",");
    let valid: Vec<Vec<&str>> = lines.collect();
    assert_eq!(valid.len(), 6, "{table}");
    let photos: Vec<String> = valid.iter().map(|row| format!("photos/{}", row[0])).collect();
    let photos: Vec<&str> = photos.iter().map(String::as_str).collect();
    let predicted =
        place.run(&[&["predict", "integers", "--csv", "--precision", "f32"], &photos[..]].concat());
    let (head, rows) = predicted.split_once('\n').unwrap();
    let first = head.split(',').position(|name| name.starts_with("probability_")).unwrap();
    assert!(head.ends_with(&classes), "{head} {classes}");
    for (row, found) in valid.iter().zip(rows.lines()) {
        let numbers =
            |cells: &[&str]| -> Vec<f32> { cells.iter().map(|cell| cell.parse().unwrap()).collect() };
        let found = numbers(&found.split(',').collect::<Vec<_>>()[first..]);
        let both = numbers(&row[4..]).into_iter().zip(found);
        assert!(both.into_iter().all(|(one, other)| (one - other).abs() < 1e-5), "{row:?} {predicted}");
    }

    let refused = |more: &[&str]| stderr(&place.ocelli(&quick(more)).output().unwrap());
    let said = refused(&["--int8", "--folds", "3"]);
    assert!(said.contains("--int8") && said.contains("--folds"), "{said}");
    let text = place.read("integers/config.toml");
    let (head, rest) = text.split_once("[settings]\n").unwrap();
    let folds = format!("{head}[settings]\nvalid_split = {{ folds = 3 }}\n{rest}");
    fs::write(place.path("folds.toml"), folds).unwrap();
    let said = refused(&["--config", "folds.toml"]);
    assert!(said.contains("--int8 is true") && said.contains("cross-validation"), "{said}");
}

#[test]
fn a_run_killed_at_any_moment_leaves_nothing_that_is_later_believed() {
    let place = Place::with_photos(16);
    let arguments = quick(&["--unfrozen-epochs", "1"]);
    place.run(&[&arguments[..], &["--out", "undisturbed", "--cache", "other-cache"]].concat());
    let wanted = rows(&place.read("undisturbed/history.csv"));
    for (attempt, milliseconds) in [15, 60, 140, 300, 550].into_iter().enumerate() {
        let mut killed = place.ocelli(&arguments).stdout(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(milliseconds));
        killed.kill().unwrap(); // SIGKILL
        killed.wait().unwrap();
        let out = format!("after-{attempt}");
        place.run(&[&arguments[..], &["--out", &out]].concat());
        assert_eq!(
            rows(&place.read(&format!("{out}/history.csv"))),
            wanted,
            "killed after {milliseconds} ms"
        );
    }
}

#[test]
fn bad_photos_and_odd_files_are_listed_or_end_the_run_as_asked() {
    let place = Place::with_photos(10);
    fs::write(place.path("photos/flags/broken.jpg"), b"\xff\xd8\xff\xe0 not much of a photo").unwrap();
    fs::write(place.path("photos/flags/notes.txt"), "flags").unwrap();
    fs::write(place.path("photos/flags/.hidden.png"), "").unwrap();
    fs::create_dir(place.path("photos/nothing")).unwrap();
    let output = place.ocelli(&quick(&[])).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("broken.jpg"), "{}", stderr(&output));
    let skipped = place.read("runs/photos-1/skipped.csv");
    for name in ["broken.jpg", "notes.txt", ".hidden.png", "nothing"] {
        assert_eq!(skipped.matches(name).count(), 1, "{name} in {skipped}");
    }
    let said = place.refusal(&quick(&["--bad-images", "fail"]));
    assert!(said.contains("broken.jpg"), "{said}");
}

#[test]
fn what_cannot_work_is_refused_before_anything_is_computed() {
    let place = Place::with_photos(4);
    let refused = |arguments: &[&str], parts: &[&str]| {
        let said = place.refusal(arguments);
        for part in parts {
            assert!(said.contains(part), "{arguments:?} says {said:?}, which lacks {part:?}");
        }
    };
    fs::create_dir(place.path("empty")).unwrap();
    refused(&["train", "nowhere"], &["nowhere", "does not exist"]);
    refused(&["train", "empty"], &["empty", "no images"]);
    refused(&["train", "photos/flags"], &["class folders"]);
    let photo = snapshot(&place.path("photos")).remove(0).0;
    refused(&["train", photo.to_str().unwrap()], &["is a file", "folder"]);
    refused(&["train", "photos", "--size", "0"], &["'0' for '--size", "from 1"]);
    refused(&["train", "photos", "--lr", "-1"], &["'-1' for '--lr", "above 0"]);
    refused(&["train", "photos", "--lr", "1,2"], &["one", "three"]);
    refused(&["train", "photos", "--recipe", "quick", "--head-epochs", "0"], &["epochs", "at least 1"]);
    refused(&["train", "photos", "--batch-size", "1"], &["'1' for '--batch-size", "from 2"]);
    refused(&["train", "photos", "--valid", "1.5"], &["1.5", "between 0 and 1"]);
    refused(&["train", "photos", "--arch", "resnet9000"], &["resnet9000", "did you mean"]);
    refused(&["train", "photos", "--weights", "photos"], &["photos"]);
    refused(&["train", "photos", "--out", "photos"], &["photos", "a new or empty folder"]);

    let valid = place.path("two/valid");
    for class in ["flags", "catz"] {
        fs::create_dir_all(valid.join(class)).unwrap();
        fs::copy(&photo, valid.join(class).join("1.png")).unwrap();
    }
    for class in ["flags", "cats"] {
        fs::create_dir_all(place.path("two/train").join(class)).unwrap();
        fs::copy(&photo, place.path("two/train").join(class).join("1.png")).unwrap();
    }
    refused(&["train", "two"], &["catz", "cats, flags", "rename"]);
    fs::create_dir_all(place.path("one/flags")).unwrap();
    fs::copy(&photo, place.path("one/flags/1.png")).unwrap();
    refused(&["train", "one"], &["single class", "flags"]);
    assert!(!place.path("runs").exists(), "no run folder is left behind");
    assert!(!place.path("cache").exists(), "nothing was computed");
}

#[test]
fn the_default_recipe_fits_a_head_and_says_whether_it_trains_all_layers() {
    let place = Place::with_photos(12);
    let said = place.run(&["train", "photos", "--size", "32", "--batch-size", "8"]);
    let steps =
        ["1  head, logistic regression\n", "2  whether to train all layers\n", "   → no: that seldom pays"];
    let mut rest = &said[..];
    for step in steps {
        let at = rest.find(&format!("\n{step}")).unwrap_or_else(|| panic!("{step} in its place in {said}"));
        rest = &rest[at + 1..];
    }
    assert!(rest.contains("most confused") || said.contains("9 of 9"), "{said}");
    // What is asked for is done, in the time that there is.
    let said = place.run(&[
        "train",
        "photos",
        "--size",
        "32",
        "--batch-size",
        "8",
        "--unfrozen-epochs",
        "2",
        "--time",
        "1h",
    ]);
    assert!(
        said.contains("\n2  all layers\n") && said.contains("2 epochs at learning rate 4.0e-4"),
        "{said}"
    );
    let config: toml::Table = place.read("runs/photos-2/config.toml").parse().unwrap();
    assert_eq!(config["settings"]["recipe"]["time_limit"].as_float(), Some(3600.0));
}

#[test]
fn the_lesson_does_its_steps_and_says_each() {
    let place = Place::with_photos(12);
    let said = place.run(&["train", "photos", "--recipe", "lesson", "--size", "32,48", "--batch-size", "8"]);
    let steps = [
        "1  head, cached features\n",
        "2  head, cached features of 2 augmented copies",
        "3  all layers",
        "4  48 px",
        "5  head, cached features of 2 augmented copies",
        "6  test-time augmentation, 4 views",
    ];
    let mut rest = &said[..];
    for step in steps {
        let at = rest.find(&format!("\n{step}")).unwrap_or_else(|| panic!("{step} in its place in {said}"));
        rest = &rest[at + 1..];
    }
    assert_eq!(
        said.matches("   lr finder: using ").count() + said.matches("no reliable learning rate").count(),
        4
    );
    assert!(rest.contains("with test-time augmentation:"), "{said}");
    assert!(rest.contains("most confused") || said.contains("9 of 9"), "{said}");
}

#[test]
fn every_recipe_trains_on_all_photos_where_nothing_is_held_out() {
    let place = Place::with_photos(5);
    let recipes: [&[&str]; 6] = [
        &["auto"],
        &["auto", "--unfrozen-epochs", "1"],
        &["quick"],
        &["lesson"],
        &["full", "--cycles", "1"],
        &["fine-tune-1", "--augment", "side-on"],
    ];
    for recipe in recipes {
        let out = &recipe.join("");
        let usual = ["train", "photos", "--valid", "none", "--size", "32", "--batch-size", "8", "--out", out];
        let said = place.run(&[&usual[..], &["--recipe"], recipe].concat());
        assert!(said.contains("train 15, valid 0") && said.contains("not evaluated"), "{said}");
        let history = place.read(&format!("{out}/history.csv"));
        assert!(history.lines().skip(1).all(|row| row.split(',').nth(3) == Some("")), "{history}");
        assert!(place.path(out).join("model.safetensors").is_file(), "{out}");
    }
}

#[test]
fn how_weights_move_can_be_said_and_is_kept_in_the_settings() {
    let place = Place::with_photos(5);
    let asked = [
        "--optimizer=nesterov",
        "--weight-decay=0.1",
        "--label-smoothing=0.1",
        "--focal-gamma=2",
        "--class-weights=1,2,0.5",
        "--mixup=0.3",
        "--max-grad-norm=1",
        "--accumulate-steps=2",
        "--ema-decay=0.9",
        "--train-bn",
        "--patience=2",
    ];
    let more = ["--unfrozen-epochs", "1", "--lr", "1e-2"];
    let quick = |more: &[&str]| -> Vec<String> {
        let usual = small(&["--batch-size", "4", "--head-epochs", "1"]);
        [&usual[..], more].concat().into_iter().map(str::to_owned).collect()
    };
    let run = |arguments: Vec<String>| place.run(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    run(quick(&[&more[..], &asked[..], &["--out", "all"]].concat()));
    let config: toml::Table = place.read("all/config.toml").parse().unwrap();
    let method = &config["settings"]["train"];
    assert_eq!(method["optimizer"]["nesterov"].as_bool(), Some(true));
    assert_eq!(method["weight_decay"]["groups"].as_array().unwrap()[0].as_float(), Some(0.1));
    assert_eq!(method["loss"]["label_smoothing"].as_float(), Some(0.1));
    assert_eq!(method["loss"]["focal_gamma"].as_float(), Some(2.0));
    assert_eq!(method["loss"]["class_weights"]["given"].as_array().unwrap()[2].as_float(), Some(0.5));
    assert_eq!(method["max_grad_norm"].as_float(), Some(1.0));
    assert_eq!(method["accumulate_steps"].as_integer(), Some(2));
    assert_eq!(method["ema_decay"].as_float(), Some(0.9));
    assert_eq!(config["settings"]["train"]["train_bn"].as_bool(), Some(true));
    assert_eq!(config["settings"]["patience"].as_integer(), Some(2));
    let history = |run: &str| rows(&place.read(&format!("{run}/history.csv")));
    place.run(&["train", "--config", "all/config.toml", "--out", "again"]);
    assert_eq!(history("again"), history("all"), "settings are read as they were written");

    // Each of them does something: none of the flags is read and forgotten.
    run(quick(&[&more[..], &["--out", "plain"]].concat()));
    for (number, flag) in asked[..10].iter().enumerate() {
        let out = format!("one-{number}");
        run(quick(&[&more[..], &[flag, "--out", &out]].concat()));
        assert_ne!(history(&out), history("plain"), "{flag}");
    }
    // In f32, where it is seen that something is rounded otherwise.
    let far = ["--unfrozen-epochs", "1", "--lr", "0.1", "--precision", "f32"];
    run(quick(&[&far[..], &["--out", "whole"]].concat()));
    run(quick(&[&far[..], &["--micro-batch=2", "--out", "exact"]].concat()));
    assert_ne!(history("exact"), history("whole"));
    run(quick(&[&far[..], &["--micro-batch=2", "--exchange-precision=bf16", "--out", "rounded"]].concat()));
    assert_ne!(history("rounded"), history("exact"));
    let alone = [&more[..], &["--exchange-precision=bf16", "--out", "none"]].concat();
    let refused = place.refusal(&quick(&alone).iter().map(String::as_str).collect::<Vec<_>>());
    assert!(refused.contains("--exchange-precision") && refused.contains("--micro-batch"), "{refused}");
    for (wrong, said) in [
        ("--label-smoothing=2", "from 0 to below 1"),
        ("--focal-gamma=0.5", "from 1 to 10, or 0"),
        ("--class-weights=1,2", "one a class"),
        ("--class-weights=many", "expected equal, balanced"),
        ("--mixup=0", "above 0 and at most 100"),
        ("--max-grad-norm=-1", "a number above 0"),
        ("--accumulate-steps=0", "from 1 to 1,000,000"),
        ("--ema-decay=1", "from 0 to below 1"),
    ] {
        let refused = place.refusal(&["train", "photos", "--size", "32", wrong, "--out", "none"]);
        assert!(refused.contains(said), "{wrong}: {refused}");
    }
    assert!(!place.path("none").exists());
}

/// The system's limit on a process's address space stands for any lack of memory.
#[cfg(target_os = "linux")]
#[test]
fn too_little_memory_is_said_before_anything_is_computed_with_the_batch_that_fits() {
    let place = Place::with_photos(60);
    let train = "train photos --size 224 --head-epochs 0 --augmented-epochs 0 --unfrozen-epochs 1 --lr 1e-2 --tta none";
    let limited = |batch: &str| {
        let ocelli = place.ocelli(&[]);
        let program = ocelli.get_program().to_owned();
        let mut shell = std::process::Command::new("sh");
        let line = format!("ulimit -v 2500000 && exec \"$0\" {train} --batch-size {batch} --out run");
        shell.args(["-c", &line]).arg(program).current_dir(place.path("."));
        shell.env("OCELLI_CACHE", place.path("cache")).env("NO_COLOR", "1");
        shell.output().unwrap()
    };
    let output = limited("144");
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("training all layers with a batch of 144 images of 224 px needs about"), "{said}");
    assert!(said.contains(" GB are free"), "{said}");
    assert!(!place.path("run").exists(), "no run folder is left behind");
    let fits = said.split("--batch-size ").nth(1).map(str::trim).unwrap().to_owned();
    assert!((2..144).contains(&fits.parse::<usize>().unwrap()), "{said}");
    let output = limited(&fits);
    assert!(output.status.success(), "what is said to fit does: {}", stderr(&output));
}

#[test]
fn wrong_usage_has_its_own_exit_status() {
    let place = Place::empty();
    for arguments in [
        &["trian", "photos"][..],
        &["train"],
        &["train", "photos", "--siez", "64"],
        &["train", "photos", "--size", "big"],
    ] {
        assert_eq!(place.ocelli(arguments).output().unwrap().status.code(), Some(2), "{arguments:?}");
    }
}

#[test]
fn what_no_step_has_a_use_for_is_said() {
    let place = Place::with_photos(4);
    let quick = small(&["--head-epochs", "1"]);
    let said = |more: &[&str]| stderr(&place.ocelli(&[&quick[..], more].concat()).output().unwrap());
    for flag in [
        &["--augment", "side-on"][..],
        &["--mixup", "0.4"],
        &["--group-lr-ratio", "3"],
        &["--lr", "1e-4,1e-3,1e-2"],
    ] {
        let text = said(flag);
        assert!(text.contains(&format!("warning: {}", flag[0])) && text.contains("has no effect"), "{text}");
    }
    let streamed = [
        "train",
        "photos",
        "--size",
        "32",
        "--recipe",
        "quick",
        "--head-epochs",
        "0",
        "--augmented-epochs",
        "1",
        "--int8",
    ];
    let text = stderr(&place.ocelli(&streamed).output().unwrap());
    assert!(
        text.contains("warning: --int8 has no effect: no phase of this recipe trains on cached"),
        "{text}"
    );
    let text = said(&["--augment", "side-on", "--augmented-epochs", "1"]);
    assert!(!text.contains("has no effect"), "{text}");
}
