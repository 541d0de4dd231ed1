//! Photos of no class that the model knows.

use std::fs;

use crate::common::{Place, small, stderr};

/// A model of flags and faces, and a folder of food that it has not seen.
fn place() -> Place {
    let place = Place::with_photos(30);
    fs::rename(place.path("photos/food-and-drink"), place.path("food")).unwrap();
    place.run(&[&small(&["--batch-size", "8", "--threads", "1"])[..], &["--out", "run", "--quiet"]].concat());
    place
}

#[test]
fn evaluate_measures_known_photos_and_strangers() {
    let place = place();
    let evaluate = ["evaluate", "run", "photos", "--threads", "1", "--strangers", "food"];
    let json = place.run(&[&evaluate[..], &["--out", "evaluation", "--json"]].concat());
    let figures: serde_json::Value = serde_json::from_str(&json).unwrap();
    let unknown = &figures["unknown"];
    let auroc = unknown["auroc"].as_f64().unwrap();
    assert!(auroc > 0.7, "food is told from flags and faces: {unknown}");
    assert_eq!(unknown["strangers_let_through"]["of"], 30);
    let refused = &unknown["known_refused"];
    // The threshold was set on these photos: the highest of their scores, since there are fewer than 19.
    assert_eq!(refused["count"], 0, "{unknown}");
    let text = place.run(&[&evaluate[..], &["--out", "again"]].concat());
    assert!(text.contains("known photos refused 0 of") && text.contains("AUROC"), "{text}");
    let report = place.read("evaluation/report.html");
    assert!(
        report.contains("Unknown scores of validation photos") && report.contains("too few"),
        "chart and sentence"
    );
    assert!(place.path("evaluation/results/unknown.svg").is_file());

    // Photos that the model knows are no strangers, whatever their names.
    fs::create_dir(place.path("known")).unwrap();
    let mut numbered = (0..).map(|number| place.path(&format!("known/{number}.png")));
    for photo in fs::read_dir(place.path("photos/flags")).unwrap() {
        fs::copy(photo.unwrap().path(), numbered.next().unwrap()).unwrap();
    }
    let refusal = |folder: &str| {
        let arguments = ["evaluate", "run", "photos", "--strangers", folder, "--out", "none"];
        let output = place.ocelli(&arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        stderr(&output)
    };
    for folder in ["photos/flags", "known"] {
        let said = refusal(folder);
        assert!(said.contains("of the 30 strangers are evaluated photos; strangers show none"), "{said}");
    }
    fs::create_dir(place.path("few")).unwrap();
    let line = place.read("run/photos.csv").lines().find(|line| line.contains(",train,")).unwrap().to_owned();
    let id = line.split(',').next().unwrap();
    fs::copy(place.path(&format!("photos/{id}")), place.path("few/one.png")).unwrap();
    let said = refusal("few");
    assert!(said.contains("1 of the 1 strangers are training photos"), "{said}");
    assert!(!place.path("none").exists());
}

#[test]
fn predict_says_which_photos_are_unknown() {
    let place = place();
    let predict = |photos: &str, more: &[&str]| {
        place.run(&[&["predict", "run", photos, "--threads", "1", "--unknown"], more].concat())
    };
    let json = predict("food", &["--jsonl", "--false-refusals", "0.2"]);
    let rows: Vec<serde_json::Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let unknown: Vec<bool> = rows.iter().map(|row| row["unknown"].as_bool().unwrap()).collect();
    assert!(unknown.iter().any(|unknown| *unknown), "{json}");
    // Refused are those with the highest scores.
    let score = |row: &serde_json::Value| row["unknown_score"].as_f64().unwrap();
    let of = |wanted: bool| {
        rows.iter().zip(&unknown).filter(move |(_, is)| **is == wanted).map(|(row, _)| score(row))
    };
    assert!(of(true).fold(f64::INFINITY, f64::min) > of(false).fold(f64::NEG_INFINITY, f64::max));
    let text = predict("food", &["--false-refusals", "0.2"]);
    let lines = text.lines().map(|line| line.contains("  unknown (looks least unlike "));
    assert_eq!(lines.collect::<Vec<_>>(), unknown, "{text}");
    let csv = predict("food", &["--csv", "--false-refusals", "0.2"]);
    assert!(csv.starts_with("path,class,probability,error,unknown,unknown_score,probability_flags"), "{csv}");
    let cells: Vec<&str> = csv.lines().nth(1).unwrap().split(',').collect();
    assert_eq!(cells[4], unknown[0].to_string());
    assert!((cells[5].parse::<f64>().unwrap() - score(&rows[0])).abs() < 1e-3);
    // They have a folder of their own, also those of rows that are kept.
    let count = |to: &str, class: &str| fs::read_dir(place.path(to).join(class)).map_or(0, Iterator::count);
    let refused = unknown.iter().filter(|unknown| **unknown).count();
    predict("food", &["--false-refusals", "0.2", "--copy-to", "sorted"]);
    predict("food", &["--false-refusals", "0.2", "--out", "food.csv"]);
    predict("food", &["--false-refusals", "0.2", "--resume-from", "food.csv", "--copy-to", "again"]);
    for to in ["sorted", "again"] {
        assert_eq!(count(to, "_unknown"), refused, "{to}");
        assert_eq!(count(to, "flags") + count(to, "smileys-and-emotion"), 30 - refused, "{to}");
    }
    // Without the flag, nothing changes.
    let plain = place.run(&["predict", "run", "food", "--threads", "1", "--csv"]);
    assert!(plain.starts_with("path,class,probability,error,probability_flags"), "{plain}");
    let said = place.refusal(&["predict", "run", "food", "--with", "run", "--unknown"]);
    assert!(said.contains("one model"), "{said}");
}

#[test]
fn a_model_without_validation_photos_has_none_and_says_why() {
    let place = Place::with_photos(8);
    let train = small(&["--batch-size", "8", "--threads", "1", "--valid", "none", "--lr", "1e-2"]);
    let output = place.ocelli(&[&train[..], &["--out", "run", "--quiet"]].concat()).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let said = place.refusal(&[
        "evaluate",
        "run",
        "photos",
        "--include-train",
        "--strangers",
        "photos/flags",
        "--out",
        "evaluation",
    ]);
    assert!(said.contains("no unknown score") && said.contains("no validation photos"), "{said}");
}

#[test]
fn the_model_is_the_same_on_any_number_of_threads() {
    let place = Place::with_photos(8);
    let digest = |threads: &str| {
        let train = small(&["--batch-size", "8", "--threads", threads, "--lr", "1e-2", "--quiet"]);
        place.run(&[&train[..], &["--out", threads]].concat());
        blake3::hash(&fs::read(place.path(&format!("{threads}/model.safetensors"))).unwrap())
    };
    assert_eq!(digest("1"), digest("2"));
}
