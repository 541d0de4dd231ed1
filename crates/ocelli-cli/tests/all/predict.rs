//! The real command says what is on pictures.

use std::fs;
use std::io::Write;
use std::process::Stdio;
use std::sync::OnceLock;

use crate::common::{Place, small, stderr};

/// A place with a trained model, shared by the tests.
fn place() -> &'static Place {
    static PLACE: OnceLock<Place> = OnceLock::new();
    PLACE.get_or_init(|| {
        let place = Place::with_photos(12);
        let quick = small(&["--batch-size", "8"]);
        place.run(&[&quick[..], &["--out", "run", "--quiet"]].concat());
        place
    })
}

const MODEL: &str = "run/model.safetensors";

fn photo(class: &str) -> String {
    let mut names: Vec<_> = fs::read_dir(place().path("photos").join(class)).unwrap().collect();
    names.sort_by_key(|entry| entry.as_ref().unwrap().path());
    format!("photos/{class}/{}", names.remove(0).unwrap().file_name().to_str().unwrap())
}

#[test]
fn photos_folders_and_standard_input_give_the_same_answers() {
    let folder = place().run(&["predict", MODEL, "photos", "--csv"]);
    assert_eq!(folder.lines().count(), 1 + 36);
    let flag = photo("flags");
    let alone = place().run(&["predict", MODEL, &flag, "--csv"]);
    let row = alone.lines().nth(1).unwrap();
    assert!(folder.lines().any(|line| line == row), "{row} to the last digit in {folder}");

    let mut child = place()
        .ocelli(&["predict", MODEL, "--csv"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    writeln!(child.stdin.take().unwrap(), "{flag}\n{}", photo("food-and-drink")).unwrap();
    let output = child.wait_with_output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    assert_eq!(lines.lines().nth(1).unwrap(), row);
    assert_eq!(lines.lines().count(), 3);
}

#[test]
fn no_photos_are_an_error_unless_standard_input_was_asked_for() {
    let output = place().ocelli(&["predict", MODEL]).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("no photos: name files or folders"), "{}", stderr(&output));
    let output = place().ocelli(&["predict", MODEL, "-"]).stdin(Stdio::null()).output().unwrap();
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
}

#[test]
fn text_json_and_csv_say_the_same() {
    let flag = photo("flags");
    let text = place().run(&["predict", MODEL, &flag]);
    let json: serde_json::Value =
        serde_json::from_str(&place().run(&["predict", MODEL, &flag, "--jsonl"])).unwrap();
    let array: serde_json::Value =
        serde_json::from_str(&place().run(&["predict", MODEL, &flag, "--json"])).unwrap();
    assert_eq!(array, serde_json::json!([json]));
    let csv = place().run(&["predict", MODEL, &flag, "--csv"]);
    assert_eq!(json["path"], flag);
    assert_eq!(json["class"], "flags");
    let probability = json["probability"].as_f64().unwrap();
    assert!(probability > 0.5 && probability <= 1.0);
    let all: f64 = json["probabilities"].as_object().unwrap().values().map(|p| p.as_f64().unwrap()).sum();
    assert!((all - 1.0).abs() < 1e-5);
    assert_eq!(text, format!("{flag}  flags  {probability:.4}\n"));
    let header = csv.lines().next().unwrap();
    let classes =
        ["flags", "food-and-drink", "smileys-and-emotion"].map(|class| format!("probability_{class}"));
    assert_eq!(header, format!("path,class,probability,error,{}", classes.join(",")));
    let in_csv: f64 = csv.lines().nth(1).unwrap().split(',').nth(2).unwrap().parse().unwrap();
    assert!((in_csv - probability).abs() < 1e-6);
}

#[test]
fn a_photo_that_cannot_be_read_is_named_and_the_others_are_answered() {
    let broken = place().path("broken.jpg");
    fs::write(&broken, "no photo").unwrap();
    let flag = photo("flags");
    let output = place().ocelli(&["predict", MODEL, "broken.jpg", &flag, "missing.jpg"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = stderr(&output);
    assert!(said.contains("broken.jpg") && said.contains("missing.jpg") && said.contains("2 of 3"), "{said}");
    let answers = String::from_utf8(output.stdout).unwrap();
    assert_eq!(answers.lines().count(), 1);
    assert!(answers.starts_with(&flag));
}

#[test]
fn files_that_are_no_model_are_refused_with_the_reason() {
    let flag = photo("flags");
    let bytes = fs::read(place().path(MODEL)).unwrap();
    let refused = |name: &str, bytes: Option<&[u8]>, parts: &[&str]| {
        if let Some(bytes) = bytes {
            fs::write(place().path(name), bytes).unwrap();
        }
        let said = place().refusal(&["predict", name, &flag]);
        for part in [&[name][..], parts].concat() {
            assert!(said.contains(part), "{name}: {said:?} lacks {part:?}");
        }
    };
    refused("absent.safetensors", None, &["does not exist"]);
    refused("photos", None, &["folder without a model"]);
    refused("empty.safetensors", Some(b""), &["not a complete safetensors file"]);
    refused("truncated.safetensors", Some(&bytes[..bytes.len() / 2]), &["not a complete safetensors file"]);
    refused(
        "text.safetensors",
        Some(b"not a model, but a longer text"),
        &["not a complete safetensors file"],
    );
    // Whoever changes a model says so, and so takes the digest away.
    let noted = br#""ocelli-digest":""#;
    let at = bytes.windows(noted.len()).position(|window| window == noted).unwrap() + noted.len();
    let mut by_hand = bytes.clone();
    assert_eq!(by_hand[at + 64], b'"', "64 digits");
    by_hand[at..at + 65].copy_from_slice(format!("{:<65}", "none\"").as_bytes());
    let renamed = |from: &[u8], to: &[u8]| {
        let at = by_hand.windows(from.len()).position(|window| window == from).unwrap();
        [&by_hand[..at], to, &by_hand[at + from.len()..]].concat()
    };
    refused(
        "other.safetensors",
        Some(&renamed(b"efficientnet_lite0", b"efficientnet_lite1")),
        &["not the weights of efficientnet_lite1", "missing"],
    );
    refused(
        "unknown.safetensors",
        Some(&renamed(b"efficientnet_lite0", b"efficientnet_lite9")),
        &["efficientnet_lite9", "efficientnet_lite0"],
    );
    let format = br#"\"format\":4"#;
    refused("newer.safetensors", Some(&renamed(format, br#"\"format\":9"#)), &["form 9"]);
    refused("weights.safetensors", Some(ocelli_lite0::WEIGHTS), &["not what they are for"]);
}

#[test]
fn photos_on_standard_input_are_no_paths() {
    let bytes = fs::read(place().path(&photo("flags"))).unwrap();
    for more in [&[][..], &["--null"]] {
        let mut child = place()
            .ocelli(&[&["predict", MODEL, "-"], more].concat())
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // It may have seen enough before all is written.
        let _ = child.stdin.take().unwrap().write_all(&bytes);
        let output = child.wait_with_output().unwrap();
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.starts_with("error: standard input") && said.contains("give its name"), "{said}");
        assert_eq!(said.lines().count(), 1, "once, and not line by line: {said}");
    }
}

#[test]
fn a_folder_without_photos_is_described() {
    let folder = place().path("notes");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("readme.txt"), "notes").unwrap();
    for arguments in [&["predict", MODEL, "notes"][..], &["explain", MODEL, "notes"], &["augment", "notes"]] {
        let said = place().refusal(arguments);
        assert!(said.contains("no photos in this folder") && said.contains("readme.txt"), "{said}");
    }
}

#[test]
fn several_labels_are_apart_as_in_the_table_that_was_trained_on() {
    let place = Place::with_photos(12);
    let mut table = "id,labels\n".to_owned();
    for (class, labels) in
        [("flags", "flag|flat"), ("food-and-drink", "food|round"), ("smileys-and-emotion", "face|round")]
    {
        for entry in fs::read_dir(place.path("photos").join(class)).unwrap() {
            table += &format!("{class}/{},{labels}\n", entry.unwrap().file_name().to_str().unwrap());
        }
    }
    fs::write(place.path("photos/labels.csv"), table).unwrap();
    let quick = ["train", "photos/labels.csv", "--recipe", "quick", "--size", "32", "--batch-size", "8"];
    let output = place
        .ocelli(&[&quick[..], &["--head-epochs", "6", "--out", "run", "--quiet"]].concat())
        .output()
        .unwrap();
    let said = stderr(&output);
    assert!(
        output.status.success() && said.contains("warning: "),
        "the images are small, which is said: {said}"
    );
    let csv = place.run(&["predict", MODEL, "photos/smileys-and-emotion", "--csv"]);
    let several = csv.lines().skip(1).filter(|line| line.split(',').nth(1).unwrap().contains('|')).count();
    assert!(several > 0, "{csv}");
}

/// Features in 8-bit integers: nearly the same answers, by ranges of the run's training photos or of others.
#[test]
fn integers_answer_nearly_as_floats() {
    let table = |more: &[&str]| {
        let text = place().run(&[&["predict", "run", "photos", "--csv"], more].concat());
        let lines = text.lines().skip(1).map(|line| line.split(',').map(str::to_owned).collect());
        lines.collect::<Vec<Vec<String>>>()
    };
    let (floats, integers) = (table(&["--precision", "f32"]), table(&["--int8"]));
    assert_eq!(floats.len(), 36);
    let (mut same, mut differ) = (0, 0);
    for (float, integer) in floats.iter().zip(&integers) {
        assert_eq!(float[0], integer[0]);
        same += usize::from(float[1] == integer[1]);
        let probability = |row: &[String]| row[2].parse::<f64>().unwrap();
        let difference = (probability(float) - probability(integer)).abs();
        differ += usize::from(difference > 0.0);
        assert!(difference < 0.2, "{float:?} and {integer:?}");
    }
    assert!(same >= 33 && differ > 18, "{same} and {differ} of 36");
    // The ranges are kept in the run's folder, and taken from it; a damaged file is as none.
    let kept = place().path("run/int8-ranges.json");
    let text = fs::read_to_string(&kept).unwrap();
    assert_eq!(table(&["--int8"]), integers);
    let mut wider: serde_json::Value = serde_json::from_str(&text).unwrap();
    wider["ranges"]["images"] = serde_json::json!([-100.0, 100.0]);
    let digest = blake3::hash(wider["ranges"].to_string().as_bytes()).to_hex().to_string();
    let digest = std::mem::replace(&mut wider["digest"], digest.into());
    fs::write(&kept, wider.to_string()).unwrap();
    assert_ne!(table(&["--int8"]), integers);
    // With the model's file they are enough.
    fs::create_dir(place().path("pair")).unwrap();
    fs::copy(place().path(MODEL), place().path("pair/model.safetensors")).unwrap();
    fs::write(place().path("pair/int8-ranges.json"), &text).unwrap();
    let pair = place().run(&["predict", "pair/model.safetensors", "photos", "--csv", "--int8"]);
    let rows: Vec<String> = integers.iter().map(|row| row.join(",")).collect();
    assert_eq!(pair.lines().skip(1).collect::<Vec<_>>(), rows);
    for (field, other) in [("model", "none"), ("version", "0.0.0"), ("digest", digest.as_str().unwrap())] {
        let mut of_another = wider.clone();
        of_another[field] = other.into();
        fs::write(&kept, of_another.to_string()).unwrap();
        assert_eq!(table(&["--int8"]), integers, "{field}");
        assert_eq!(fs::read_to_string(&kept).unwrap(), text, "{field}");
    }
    fs::write(&kept, &text[..text.len() / 2]).unwrap();
    assert_eq!(table(&["--int8"]), integers);
    // A model without its run needs photos; so do photos that cannot be read.
    fs::copy(place().path(MODEL), place().path("alone.safetensors")).unwrap();
    fs::write(place().path("broken.jpg"), b"no photo").unwrap();
    let refused = |more: &[&str]| {
        let output = place().ocelli(&[&["predict"], more].concat()).output().unwrap();
        assert_ne!(output.status.code(), Some(0), "{more:?}");
        stderr(&output)
    };
    let said = refused(&["alone.safetensors", "photos", "--int8"]);
    assert!(said.contains("8-bit integers need photos") && said.contains("--int8-photos FOLDER"), "{said}");
    let said = refused(&["alone.safetensors", "photos", "--int8", "--int8-photos", "nowhere"]);
    assert!(said.contains("nowhere: does not exist"), "{said}");
    let said = refused(&["alone.safetensors", "photos", "--int8", "--int8-photos", "broken.jpg"]);
    assert!(said.contains("none that can be read (") && said.contains("alone.safetensors"), "{said}");
    let alone = place().run(&[
        "predict",
        "alone.safetensors",
        "photos/flags",
        "--csv",
        "--int8",
        "--int8-photos",
        "photos",
    ]);
    assert_eq!(alone.lines().count(), 13);
    let said = refused(&["run", "photos", "--int8", "--precision", "f32"]);
    assert!(said.contains("--int8") && said.contains("--precision"), "{said}");
    let said = refused(&["run", "photos", "--int8-photos", "photos"]);
    assert!(said.contains("--int8"), "{said}");
    // A table that was begun in floats is not continued in integers.
    place().run(&["predict", "run", "photos/flags", "--out", "floats.csv"]);
    let said = refused(&["run", "photos", "--resume-from", "floats.csv", "--int8"]);
    assert!(said.contains("--int8 was false and is true"), "{said}");
    // Nor one by the ranges of other photos.
    place().run(&["predict", "run", "photos/flags", "--out", "integers.csv", "--int8"]);
    let flag = photo("flags");
    let others = ["run", "photos", "--resume-from", "integers.csv", "--int8", "--int8-photos", &flag];
    let said = refused(&others);
    assert!(said.contains("the ranges of 8-bit integers (by their digests) was "), "{said}");
}

/// What is kept for later starts does not hang on what the first one was asked for, or on what has become of photos.
#[test]
fn ranges_are_kept_where_all_training_photos_are_there() {
    let place = Place::with_photos(8);
    place.run(&[&small(&["--batch-size", "8"])[..], &["--out", "run", "--quiet"]].concat());
    let kept = place.path("run/int8-ranges.json");
    let split = place.read("run/split.csv");
    let trained: Vec<&str> = split.lines().filter_map(|line| line.strip_suffix(",train")).collect();
    let first = place.path("photos").join(trained[0]);
    let predict = |more: &[&str]| {
        let photo = place.path("photo.png");
        let photo = photo.to_str().unwrap();
        place.ocelli(&[&["predict", "run", photo, "--csv", "--int8"], more].concat()).output().unwrap()
    };
    fs::rename(&first, place.path("photo.png")).unwrap();
    let said = predict(&[]);
    assert_eq!(said.status.code(), Some(0));
    let expected = format!(
        "found on {} training images (1 more could not be used: missing, changed or unreadable); they are not kept",
        trained.len() - 1
    );
    assert!(stderr(&said).contains(&expected) && !kept.exists(), "{}", stderr(&said));
    fs::copy(place.path("photo.png"), &first).unwrap();
    let said = predict(&[]);
    let expected = format!("found on {} training images, kept in run/int8-ranges.json", trained.len());
    assert!(stderr(&said).contains(&expected), "{}", stderr(&said));
    let text = fs::read(&kept).unwrap();
    assert_eq!(stderr(&predict(&[])), "", "they are read");
    // The limit is for the photos that are predicted.
    fs::remove_file(&kept).unwrap();
    assert_eq!(predict(&["--max-pixels", "1"]).status.code(), Some(1));
    assert_eq!(fs::read(&kept).unwrap(), text);
    // Without its photos a run needs its ranges.
    fs::rename(place.path("photos"), place.path("moved")).unwrap();
    assert_eq!(predict(&[]).status.code(), Some(0));
    fs::remove_file(&kept).unwrap();
    let said = predict(&[]);
    assert_eq!(said.status.code(), Some(1));
    assert!(
        stderr(&said).contains("8-bit integers need photos")
            && stderr(&said).contains("photos does not exist"),
        "{}",
        stderr(&said)
    );
}
