//! The real command trains on real pictures.

mod common;

use std::fs;
use std::time::Duration;

use common::{Place, rows, snapshot, stderr};

const QUICK: [&str; 8] = ["train", "photos", "--size", "32", "--batch", "8", "--epochs", "3"];

fn quick<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&QUICK[..], more].concat()
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
    assert!(said.contains("1  head, precomputed"), "{said}");
    assert!(said.contains("3 epochs at learning rate 1.0e-2"), "{said}");
    assert!(said.contains("2  all layers"), "{said}");
    assert!(said.contains("1 epoch at learning rate 1.0e-5, 1.0e-4, 1.0e-3"), "{said}");
    assert!(said.contains("validation loss is"), "what the rows mean: {said}");
    assert!(said.contains("95 % interval"), "{said}");
    assert!(!said.contains('\u{1b}'), "no escape codes where output is no terminal");

    let history = place.read("runs/photos-1/history.csv");
    assert_eq!(history.lines().count(), 1 + 3 + 1, "{history}");
    assert!(history.starts_with("stage,epoch,train_loss,valid_loss,accuracy,"), "{history}");
    let accuracy: f64 = history.lines().nth(3).unwrap().split(',').nth(4).unwrap().parse().unwrap();
    assert!(accuracy > 0.7, "flags, food and faces are told apart: {history}");
    let config: toml::Table = place.read("runs/photos-1/config.toml").parse().unwrap();
    assert_eq!(config["settings"]["size"].as_integer(), Some(32));
    assert!(
        config["given"].as_str().unwrap().ends_with("--epochs 3 --unfrozen-epochs 1 --lr 1e-2"),
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
    assert!(place.run(&quick(&[])).contains("activations of 24 images · "));
    assert!(place.run(&quick(&[])).contains("activations of 24 images from the cache"));
    assert!(
        place.run(&quick(&["--framing", "pad"])).contains("activations of 24 images · "),
        "another framing"
    );

    let photo = snapshot(&place.path("photos")).remove(0).0;
    fs::copy(common::samples().join("flags/rainbow-flag.png"), photo).unwrap();
    let said = place.run(&quick(&[]));
    assert!(said.contains("activations of 1 image · ") && said.contains("23 from the cache"), "{said}");

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
    refused(&["train", "photos", "--size", "0"], &["size is 0", "from 1"]);
    refused(&["train", "photos", "--lr", "-1"], &["learning rate is -1", "above 0"]);
    refused(&["train", "photos", "--lr", "1,2"], &["one", "three"]);
    refused(&["train", "photos", "--epochs", "0"], &["epochs", "at least 1"]);
    refused(&["train", "photos", "--batch", "1"], &["batch size is 1", "at least 2"]);
    refused(&["train", "photos", "--valid", "1.5"], &["1.5", "between 0 and 1"]);
    refused(&["train", "photos", "--arch", "resnet9000"], &["resnet9000", "efficientnet_lite0"]);
    refused(&["train", "photos", "--weights", "photos"], &["photos"]);
    refused(&["train", "photos", "--out", "photos"], &["photos", "another folder"]);

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
