//! Runs are resumed from other folders, on photos that have been moved, and on fewer than they began with.
#![cfg(unix)]

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::common::{Place, rows, stderr};

/// So many epochs that it is interrupted in the middle.
const STEPS: [&str; 10] =
    ["--recipe", "quick", "--size", "32", "--batch-size", "8", "--head-epochs", "40", "--lr", "1e-3"];

/// Trains `data` into `run`, and interrupts it after the first epoch.
fn interrupted(place: &Place, data: &[&str], run: &str) {
    let arguments = [&["train"], data, &STEPS[..], &["--out", run]].concat();
    let mut process = place.ocelli(&arguments).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("epoch  train loss")), "training began");
    assert!(lines.next().is_some());
    assert!(Command::new("kill").args(["-TERM", &process.id().to_string()]).status().unwrap().success());
    let _rest: Vec<_> = lines.collect();
    assert_eq!(process.wait().unwrap().code(), Some(143));
    assert!(!place.path(run).join("model.safetensors").exists());
}

/// A run that was not interrupted.
fn undisturbed(place: &Place, data: &[&str]) -> (Vec<String>, Vec<u8>) {
    place.run(&[&["train"], data, &STEPS[..], &["--out", "undisturbed"]].concat());
    result(place, "undisturbed")
}

fn result(place: &Place, run: &str) -> (Vec<String>, Vec<u8>) {
    let model = fs::read(place.path(run).join("model.safetensors")).unwrap();
    (rows(&place.read(&format!("{run}/history.csv"))), model)
}

fn first_in(folder: &Path) -> std::path::PathBuf {
    let mut names: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    names.swap_remove(0)
}

#[test]
fn a_run_is_resumed_from_another_folder_and_in_a_copy_of_its_own() {
    let place = Place::with_photos(8);
    let wanted = undisturbed(&place, &["photos"]);
    interrupted(&place, &["photos"], "runs/one");
    fs::create_dir(place.path("other")).unwrap();
    let before = crate::common::snapshot(&place.path("runs/one"));
    let elsewhere = |arguments: &[&str]| {
        let output = place.ocelli(arguments).current_dir(place.path("other")).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    let said = elsewhere(&["train", "--quiet", "--resume", "../runs/one", "--out", "copy"]);
    assert_eq!(said, "copy/model.safetensors\n", "the path alone");
    assert!(result(&place, "other/copy") == wanted);
    assert!(place.path("other/copy/report.html").is_file());
    assert_eq!(crate::common::snapshot(&place.path("runs/one")), before, "the copy alone went on");

    elsewhere(&["train", "--resume", "../runs/one"]);
    assert!(result(&place, "runs/one") == wanted);
    // Settings with relative paths mean the same from there.
    elsewhere(&["train", "--config", "../runs/one/config.toml", "--out", "again"]);
    assert!(result(&place, "other/again") == wanted);

    let refused = place.refusal(&["train", "--resume", "other/copy", "--out", "third"]);
    assert!(refused.contains("is finished"), "{refused}");
    let output = place.ocelli(&["train", "--resume", "other/copy", "--precision", "f32"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "nothing that decides the result is taken and ignored");
}

#[test]
fn photos_that_have_been_moved_are_found_where_they_are_said_to_be() {
    let place = Place::with_photos(8);
    let wanted = undisturbed(&place, &["photos"]);
    interrupted(&place, &["photos"], "run");
    fs::create_dir(place.path("disk")).unwrap();
    fs::rename(place.path("photos"), place.path("disk/photos")).unwrap();
    let refused = place.refusal(&["train", "--resume", "run"]);
    assert!(refused.contains("photos does not exist") && refused.contains("--data"), "{refused}");
    let refused = place.refusal(&["train", "--resume", "run", "--data", "run"]);
    assert!(!refused.contains("panicked"), "{refused}");
    // Interrupted again, it finds them there again; its settings are those that it began with.
    let config = place.read("run/config.toml");
    let mut process = place
        .ocelli(&["train", "--resume", "run", "--data", "disk/photos"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("epoch  train loss")), "training went on");
    assert!(Command::new("kill").args(["-TERM", &process.id().to_string()]).status().unwrap().success());
    let _rest: Vec<_> = lines.collect();
    assert_eq!(process.wait().unwrap().code(), Some(143));
    place.run(&["train", "--resume", "run"]);
    assert!(result(&place, "run") == wanted);
    assert_eq!(place.read("run/config.toml"), config);
    fs::remove_file(place.path("run/report.html")).unwrap();
    place.run(&["report", "run"]);
    let page = place.read("run/report.html");
    assert!(!page.contains("not where they were"), "the report finds the photos too");
}

#[test]
fn a_table_and_its_photos_may_be_moved_too() {
    let place = Place::with_photos(8);
    let mut table = "id,label\n".to_owned();
    for class in ["flags", "food-and-drink", "smileys-and-emotion"] {
        for entry in fs::read_dir(place.path("photos").join(class)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            table += &format!("{class}/{name},{class}\n");
        }
    }
    fs::write(place.path("photos/labels.csv"), &table).unwrap();
    let beside = ["photos/labels.csv"];
    let wanted = undisturbed(&place, &beside);
    interrupted(&place, &beside, "beside");
    fs::rename(place.path("photos"), place.path("moved")).unwrap();
    place.run(&["train", "--resume", "beside", "--data", "moved"]);
    assert!(result(&place, "beside") == wanted);

    fs::rename(place.path("moved/labels.csv"), place.path("labels.csv")).unwrap();
    interrupted(&place, &["moved", "--labels", "labels.csv"], "apart");
    fs::rename(place.path("moved"), place.path("photos")).unwrap();
    place.run(&["train", "--resume", "apart", "--data", "photos"]);
    assert!(result(&place, "apart") == wanted);
}

#[test]
fn photos_that_were_added_are_no_part_of_the_run() {
    let place = Place::with_photos(8);
    let wanted = undisturbed(&place, &["photos"]);
    interrupted(&place, &["photos"], "run");
    let photo = crate::common::samples().join("flags/rainbow-flag.png");
    fs::copy(&photo, place.path("photos/flags/new.png")).unwrap();
    // Also not where they would be a class of their own.
    fs::create_dir(place.path("photos/another")).unwrap();
    fs::copy(&photo, place.path("photos/another/new.png")).unwrap();
    let said = place.run(&["train", "--resume", "run"]);
    assert!(
        said.contains("2 photos were added (another/new.png, flags/new.png); they are no part of it"),
        "{said}"
    );
    assert!(result(&place, "run") == wanted);
    assert!(place.path("run/report.html").is_file(), "the report is of the run's photos too");
}

#[test]
fn photos_that_have_gone_or_changed_are_named_and_can_be_left_out() {
    let place = Place::with_photos(8);
    interrupted(&place, &["photos"], "run");
    let gone = first_in(&place.path("photos/flags"));
    fs::remove_file(&gone).unwrap();
    let changed = first_in(&place.path("photos/food-and-drink"));
    fs::copy(crate::common::samples().join("flags/rainbow-flag.png"), &changed).unwrap();
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let refused = place.refusal(&["train", "--resume", "run"]);
    for wanted in [
        "began with 24 photos",
        &format!("1 photo is missing (flags/{})", name(&gone)),
        &format!("1 photo has other content (food-and-drink/{})", name(&changed)),
        "ocelli train --resume run --skip-changed",
    ] {
        assert!(refused.contains(wanted), "{wanted}: {refused}");
    }
    let before = place.read("run/history.csv");
    let said = place.run(&["train", "--resume", "run", "--skip-changed"]);
    assert!(said.contains("without 2 of its 24 photos"), "{said}");
    let after = place.read("run/history.csv");
    assert!(rows(&after).starts_with(&rows(&before)[..1]) && after.len() > before.len(), "{after}");
    assert_eq!(place.read("run/split.csv").lines().count(), 1 + 22);
    assert_eq!(place.read("run/photos.csv").lines().count(), 1 + 22);
    assert!(place.path("run/model.safetensors").is_file());
    assert!(place.path("run/report.html").is_file());
    // What the run goes on without stays on record.
    let skipped = place.read("run/skipped.csv");
    for (photo, reason) in [(&gone, "gone"), (&changed, "changed")] {
        let row = skipped.lines().find(|row| row.contains(&name(photo)));
        assert!(row.is_some_and(|row| row.ends_with(&format!(",{reason} since the run began"))), "{skipped}");
    }
}

#[test]
fn the_best_epoch_may_be_one_on_photos_that_have_gone() {
    let place = Place::with_photos(8);
    interrupted(&place, &["photos"], "run");
    // One photo of each class is left, which were the first, the ninth and so on, and none to be validated on: no
    // later epoch is better.
    let mut classes = HashSet::new();
    for row in place.read("run/photos.csv").lines().skip(1) {
        let (id, rest) = row.split_once(',').unwrap();
        if !(rest.contains(",train,") && classes.insert(id.split('/').next().unwrap().to_owned())) {
            fs::remove_file(place.path("photos").join(id)).unwrap();
        }
    }
    let said = place.run(&["train", "--resume", "run", "--skip-changed"]);
    assert!(said.contains("without 21 of its 24 photos"), "{said}");
    assert!(!said.contains("significantly"), "what was measured on other photos is not compared: {said}");
    assert!(place.path("run/model.safetensors").is_file());
}

#[test]
fn a_run_that_went_on_without_some_photos_is_resumed_without_them_again() {
    let place = Place::with_photos(8);
    interrupted(&place, &["photos"], "run");
    fs::remove_file(first_in(&place.path("photos/flags"))).unwrap();
    let mut process = place
        .ocelli(&["train", "--resume", "run", "--skip-changed"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("resuming phase")), "it went on");
    process.kill().unwrap();
    process.wait().unwrap();
    place.run(&["train", "--resume", "run"]);
    assert!(place.path("run/model.safetensors").is_file());
}
