//! The real command on folders, names and paths as people have them.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::OnceLock;

use crate::common::{Place, snapshot, stderr};

const QUICK: [&str; 8] = ["--recipe", "quick", "--size", "32", "--head-epochs", "1", "--threads", "1"];
const MODEL: &str = "runs/photos-1/model.safetensors";
const CLASSES: [&str; 3] = ["flags", "food-and-drink", "smileys-and-emotion"];

fn train<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [&["train"], arguments, &QUICK[..]].concat()
}

/// A place with photos, and a model that was trained on them in `runs/photos-1`; the tests add files of their own.
fn place() -> &'static Place {
    static PLACE: OnceLock<Place> = OnceLock::new();
    PLACE.get_or_init(|| {
        let place = Place::with_photos(10);
        place.run(&train(&["photos"]));
        place
    })
}

fn photos(place: &Place, class: &str) -> Vec<String> {
    let files = snapshot(&place.path("photos").join(class));
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    files.iter().map(|(path, _)| format!("photos/{class}/{}", name(path))).collect()
}

fn copy(place: &Place, from: &str, to: &str) {
    let to = place.path(to);
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::copy(place.path(from), to).unwrap();
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[test]
fn nothing_is_written_where_the_photos_are() {
    let place = Place::with_photos(6);
    let before = snapshot(&place.path("photos"));
    for run in 1..=2 {
        let output = place.ocelli(&train(&["."])).current_dir(place.path("photos")).output().unwrap();
        let (said, noted) = (stdout(&output), stderr(&output));
        assert!(output.status.success(), "{noted}");
        assert!(said.contains("18 images in 3 classes"), "{said}");
        assert!(
            said.contains(&format!("../runs/photos-{run}")) && noted.contains("see ../runs"),
            "{said}{noted}"
        );
        assert!(place.path(&format!("runs/photos-{run}/report.html")).is_file());
    }
    // The other verbs, deeper inside, where the model tells where photos are.
    let inside = place.path("photos/flags");
    let model = "../../runs/photos-1";
    let file = format!("{model}/model.safetensors");
    for arguments in [
        vec!["explain", &file, "../food-and-drink"],
        vec!["evaluate", &file, ".."],
        vec!["submit", &file, "."],
        vec!["compare", model, "../../runs/photos-2"],
        vec!["lr-find", "..", "--size", "32", "--steps", "20", "--json"],
    ] {
        let output = place.ocelli(&arguments).current_dir(&inside).output().unwrap();
        assert!(stderr(&output).contains("see ../.."), "{arguments:?}: {}", stderr(&output));
    }
    for written in ["explained", "evaluations", "submission.csv", "compare.html", "lr_find.png"] {
        assert!(place.path(written).exists(), "{written}");
    }
    assert_eq!(before, snapshot(&place.path("photos")));

    // Where it is asked for, it goes there, and is no class of the next run.
    let asked = train(&["photos", "--out", "photos/run"]);
    assert!(place.run(&asked).contains("18 images in 3 classes"));
    let photo = photos(&place, "flags").remove(0);
    place.run(&["explain", MODEL, &photo, "--out", "photos/explained"]);
    place.run(&["augment", "photos/flags", "--size", "32", "--out", "photos/flags/augmented.png"]);
    let said = place.run(&["inspect", "photos"]);
    assert!(said.contains("18 images in 3 classes"), "{said}");
    assert!(
        said.contains("a run of Ocelli's") && said.contains("2 × a picture that Ocelli has drawn"),
        "{said}"
    );
}

#[test]
fn a_class_that_vanishes_ends_the_run_unless_it_is_asked_for() {
    let place = Place::with_photos(6);
    fs::create_dir(place.path("photos/scans")).unwrap();
    for number in 0..3 {
        fs::write(place.path(&format!("photos/scans/{number}.mp4")), b"\0\0 no photo").unwrap();
    }
    let said = place.refusal(&train(&["photos"]));
    assert!(said.contains("\"scans\"") && said.contains("0.mp4 and 2 more"), "{said}");
    assert!(said.contains("--bad-images skip") && !place.path("runs").exists(), "{said}");
    let said = place.run(&["inspect", "photos"]);
    assert!(said.contains("warning  the class \"scans\"") && !said.contains("no problems found"), "{said}");
    let said = place.run(&train(&["photos", "--bad-images", "skip"]));
    assert!(
        said.contains("18 images in 3 classes") && said.contains("warning: the class \"scans\""),
        "{said}"
    );
    let said = place.refusal(&train(&["photos", "--bad-images", "fail"]));
    assert!(said.contains("0.mp4"), "{said}");
    fs::remove_dir_all(place.path("photos/scans")).unwrap();

    // What begins as a photo does, and breaks off, is found out when it is decoded.
    let broken = |number: usize| {
        let photo = photos(&place, "flags").remove(0);
        let bytes = fs::read(place.path(&photo)).unwrap();
        fs::write(place.path(&format!("photos/flags/z{number}.png")), &bytes[..bytes.len() / 2]).unwrap();
    };
    broken(0);
    broken(1);
    let output = place.ocelli(&train(&["photos", "--out", "ended"])).output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("skipped photos/flags/z"), "{said}");
    assert!(said.contains("\"flags\" loses 2 of 8 images") && said.contains("--bad-images skip"), "{said}");
    assert!(!place.path("ended/model.safetensors").exists());
    let output =
        place.ocelli(&train(&["photos", "--out", "skipped", "--bad-images", "skip"])).output().unwrap();
    assert!(output.status.success() && stderr(&output).contains("z1.png"), "{}", stderr(&output));
    let said = place.refusal(&["evaluate", "skipped/model.safetensors", "photos", "--include-train"]);
    assert!(said.contains("\"flags\" loses 2 of 8 images"), "{said}");
    let output = place.ocelli(&[
        "evaluate",
        "skipped/model.safetensors",
        "photos",
        "--include-train",
        "--bad-images",
        "skip",
    ]);
    assert!({ output }.status().unwrap().success());
}

#[test]
fn a_rare_class_with_few_held_out_photos_is_named_and_the_baseline_is_of_the_chosen_metric() {
    let place = Place::with_photos(30);
    fs::remove_dir_all(place.path("photos/smileys-and-emotion")).unwrap();
    for photo in &photos(&place, "food-and-drink")[8..] {
        fs::remove_file(place.path(photo)).unwrap();
    }
    let said = place.run(&train(&["photos", "--metric", "balanced-accuracy"]));
    let notice =
        "1 of 2 classes has fewer than 5 validation images, so that its figures say little: food-and-drink 2";
    assert!(said.contains(notice), "{said}");
    let baseline = said.lines().find(|line| line.starts_with("baseline")).unwrap_or_else(|| panic!("{said}"));
    assert!(
        baseline.contains("accuracy 0.75") && baseline.contains("balanced-accuracy 0.5000"),
        "{baseline}"
    );
}

#[test]
fn what_is_wrong_with_the_labels_is_said_before_and_after() {
    let place = Place::with_photos(6);
    copy(&place, &photos(&place, "flags")[0], "photos/food-and-drink/copy.png");
    copy(&place, &photos(&place, "flags")[1], "photos/rare/only.png");
    let said = place.run(&train(&["photos"]));
    let (before, after) = said.split_once("1  head").unwrap();
    assert!(
        before.contains("warning: 2 images have different labels") && before.contains("copy.png"),
        "{before}"
    );
    assert!(
        before.contains("1 of 4 classes has no validation images and is not evaluated: rare"),
        "{before}"
    );
    let line = after.lines().find(|line| line.starts_with("not evaluated")).unwrap();
    assert!(line.contains("1 of 4 classes") && line.contains("rare"), "{line}");
}

#[test]
fn folders_that_are_no_classes_are_not_trained_on() {
    let place = Place::with_photos(4);
    for year in ["2019", "2020"] {
        for class in CLASSES {
            for photo in photos(&place, class) {
                copy(&place, &photo, &photo.replace("photos", &format!("years/{year}")));
            }
        }
    }
    let said = place.refusal(&train(&["years"]));
    assert!(said.contains("2019, 2020") && said.contains("not clear"), "{said}");
    assert!(!place.path("runs").exists());
    let said = place.run(&["inspect", "years"]);
    assert!(said.contains("warning  the folders in years"), "{said}");
    assert!(!said.contains("no problems found"), "{said}");

    fs::rename(place.path("years/2019"), place.path("years/Training")).unwrap();
    fs::rename(place.path("years/2020"), place.path("years/Testing")).unwrap();
    let said = place.run(&train(&["years"]));
    assert!(said.contains("in 3 classes") && said.contains("(split by Ocelli)"), "{said}");
    assert_eq!(place.read("runs/years-1/split.csv").matches(",test").count(), 12);
}

#[test]
fn photos_are_answered_while_others_are_still_to_come() {
    let place = place();
    let mut child =
        place.ocelli(&["predict", MODEL, "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut paths, mut lines) =
        (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()).lines());
    // Would wait for ever if the answer waited for the end of the paths.
    for photo in photos(place, "flags").iter().take(2) {
        writeln!(paths, "{photo}").unwrap();
        paths.flush().unwrap();
        let line = lines.next().unwrap().unwrap();
        assert!(line.starts_with(photo.as_str()), "{line}");
    }
    drop(paths);
    assert!(child.wait().unwrap().success());
}

/// What `predict` says of these bytes on its standard input.
fn predict(arguments: &[&str], input: &[u8]) -> Output {
    let mut command = place().ocelli(&[&["predict", MODEL], arguments].concat());
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap()
}

#[cfg(unix)]
#[test]
fn paths_are_bytes() {
    use std::os::unix::ffi::OsStrExt;
    let place = place();
    let photo = photos(place, "flags").remove(0);
    let folder = place.path("odd");
    fs::create_dir_all(&folder).unwrap();
    for name in [&b"k\xe4se.png"[..], b"two\nlines.png", b" blank .png"] {
        fs::copy(place.path(&photo), folder.join(std::ffi::OsStr::from_bytes(name))).unwrap();
    }
    let output = predict(&["--csv"], b"odd/k\xe4se.png\r\n\nodd/ blank .png\n");
    let said = stdout(&output);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(said.lines().count(), 3, "{said}");
    assert!(said.contains("\nodd/k\\xE4se.png,") && said.contains("\nodd/ blank .png,"), "{said}");
    let output = predict(&["-0", "--jsonl"], b"odd/two\nlines.png\0odd/k\xe4se.png\0");
    assert!(output.status.success(), "{}", stderr(&output));
    let paths: Vec<serde_json::Value> =
        stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(paths[0]["path"], "odd/two\nlines.png");
    assert_eq!(paths[1]["path"], "odd/k\\xE4se.png");
    let said = place.refusal(&["predict", MODEL, "--null", &photo]);
    assert!(said.contains("--null"), "{said}");
    // A folder of them, and all that follows: the run's tables, its events, its report.
    fs::rename(&folder, place.path("photos-of-bytes")).unwrap();
    let place = Place::with_photos(6);
    let odd = place.path("photos").join(std::ffi::OsStr::from_bytes(b"f\xfcnf"));
    fs::rename(place.path("photos/flags"), &odd).unwrap();
    let broken = odd.join(std::ffi::OsStr::from_bytes(b"\xe4.png"));
    fs::write(&broken, &fs::read(place.path(&photos(&place, "food-and-drink")[0])).unwrap()[..300]).unwrap();
    let output = place.ocelli(&train(&["photos", "--bad-images", "skip"])).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stdout(&output).contains("f\\xFCnf 7"), "{}", stdout(&output));
    assert!(place.read("runs/photos-1/split.csv").contains("f\\xFCnf/\\xE4.png,"));
    assert!(place.read("runs/photos-1/skipped.csv").contains("f\\xFCnf/\\xE4.png,"));
    assert!(place.read("runs/photos-1/events.jsonl").contains("f\\\\xFCnf/\\\\xE4.png"));
    assert!(place.path("runs/photos-1/report.html").is_file());
    let said = place.run(&["inspect", "photos", "--json"]);
    assert!(said.contains("f\\\\xFCnf/\\\\xE4.png"));
    place.run(&["predict", MODEL, "photos/food-and-drink"]);
}

#[test]
fn every_file_that_is_left_out_is_named_and_the_status_says_so() {
    let place = place();
    let photo = photos(place, "flags").remove(0);
    copy(place, &photo, "mixed/photo.png");
    for name in ["notes.txt", "Thumbs.db", ".hidden.png"] {
        fs::write(place.path("mixed").join(name), "text").unwrap();
    }
    let output = place.ocelli(&["predict", MODEL, "mixed"]).output().unwrap();
    assert!(output.status.success());
    for name in ["notes.txt", "Thumbs.db", ".hidden.png"] {
        assert!(stderr(&output).contains(name), "{}", stderr(&output));
    }
    for (name, content) in [("film.mp4", "\0\x01"), ("empty.jpg", ""), ("odd.xyz", "\0")] {
        fs::write(place.path("mixed").join(name), content).unwrap();
        let given = [&["predict", MODEL][..], &["mixed"]].concat();
        for output in [place.ocelli(&given).output().unwrap(), predict(&["-"], b"mixed\n")] {
            assert_eq!(output.status.code(), Some(1), "{name}");
            assert!(
                stderr(&output).contains(name) && stderr(&output).contains("1 of 2"),
                "{}",
                stderr(&output)
            );
            assert_eq!(stdout(&output).lines().count(), 1);
        }
        fs::remove_file(place.path("mixed").join(name)).unwrap();
    }
}

#[test]
fn a_model_is_measured_on_what_it_has_not_seen() {
    let place = place();
    let evaluate = |data: &str, more: &[&str]| {
        let output = place.ocelli(&[&["evaluate", MODEL, data], more].concat()).output().unwrap();
        assert!(output.status.success(), "{data}: {}", stderr(&output));
        stdout(&output) + &stderr(&output)
    };
    // Its own photos: those that the run held out.
    let said = evaluate("photos", &[]);
    assert!(
        said.contains("6 images in 3 classes") && said.contains("24 of 30 images, which the model was"),
        "{said}"
    );
    assert!(evaluate("photos", &["--include-train"]).contains("30 images in 3 classes (all)"));
    // Their copies are the same photos.
    let class = |class: &str, to: &str| {
        for (number, photo) in photos(place, class).iter().enumerate() {
            copy(place, photo, &format!("{to}/{class}/{number}.png"));
        }
    };
    class("flags", "alone");
    let said = evaluate("alone", &[]);
    assert!(said.contains("2 images in 3 classes"), "{said}");
    assert!(said.contains("not evaluated   2 of 3 classes"), "{said}");
    assert!(evaluate("alone/flags", &["--include-train"]).contains("10 images"), "a class by its own name");
    // Of a split the part for the end, then the one that was held out, and never the one to train on.
    class("flags", "parts/Training");
    let said = place.refusal(&["evaluate", MODEL, "parts", "--include-train"]);
    assert!(said.contains("are training images"), "{said}");
    for (side, source) in [("Validation", "food-and-drink"), ("Testing", "smileys-and-emotion")] {
        class(source, &format!("parts/{side}"));
        let said = evaluate("parts", &["--include-train"]);
        assert!(said.contains("10 images"), "{said}");
        let row = said.lines().find(|line| line.starts_with(source)).unwrap();
        assert_eq!(row.split_whitespace().nth(1), Some("10"), "{said}");
    }
    class("flags", "strange");
    fs::rename(place.path("strange/flags"), place.path("strange/banners")).unwrap();
    assert!(place.refusal(&["evaluate", MODEL, "strange"]).contains("banners"));
}

#[test]
fn folders_are_taken_wherever_photos_are() {
    let place = place();
    let said = place.run(&["explain", MODEL, "photos/flags", "--out", "heat"]);
    assert_eq!(said.lines().count(), 10);
    assert_eq!(fs::read_dir(place.path("heat")).unwrap().count(), 10);
    let said = place.run(&["augment", "photos/flags", "--size", "32", "--out", "sheet.png"]);
    assert!(said.contains(&photos(place, "flags")[0]), "{said}");
    fs::create_dir_all(place.path("empty")).unwrap();
    for verb in [&["explain", MODEL, "empty"][..], &["augment", "empty"], &["predict", MODEL, "empty"]] {
        assert!(place.refusal(verb).contains("no photos in this folder"));
    }
}

#[test]
fn photos_that_a_model_was_trained_on_are_known_wherever_they_are() {
    let place = Place::with_photos(6);
    place.run(&train(&["photos", "--out", "run"]));
    fs::rename(place.path("photos"), place.path("moved")).unwrap();
    let said = |model: &str| stderr(&place.ocelli(&["evaluate", model, "moved"]).output().unwrap());
    let text = said("run");
    assert_eq!(text.matches("of 18 images, which the model was trained on").count(), 1, "{text}");
    fs::copy(place.path("run/model.safetensors"), place.path("alone.safetensors")).unwrap();
    let text = said("alone.safetensors");
    assert!(text.contains("cannot be excluded"), "{text}");
}
