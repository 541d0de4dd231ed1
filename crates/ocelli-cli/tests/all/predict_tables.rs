//! `ocelli predict` for many photos: tables in files, resumed; photos in folders by class; several models.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;

use crate::common::{Place, small, snapshot, stderr};
use serde_json::Value;

const MODEL: &str = "run/model.safetensors";

/// A place with two trained models, shared by the tests: each writes below a folder of its own.
fn place() -> &'static Place {
    static PLACE: OnceLock<Place> = OnceLock::new();
    PLACE.get_or_init(|| {
        let place = Place::with_photos(12);
        let quick = small(&["--batch-size", "8", "--quiet"]);
        place.run(&[&quick[..], &["--out", "run"]].concat());
        let other = ["train", "photos", "--recipe", "quick", "--size", "40", "--batch-size", "8", "--quiet"];
        place.run(&[&other[..], &["--seed", "1", "--out", "other"]].concat());
        place
    })
}

/// A folder of photos of all kinds of names, one of them unreadable, and a text.
fn photos(name: &str) -> PathBuf {
    let folder = place().path(name);
    for class in ["flags", "food-and-drink"] {
        fs::create_dir_all(folder.join(class)).unwrap();
        for (number, entry) in sorted(&place().path("photos").join(class)).into_iter().take(5).enumerate() {
            let name = match number {
                0 => "same.png".to_owned(),
                1 => "=1+2, \"quoted\"\nin two lines.png".to_owned(),
                _ => format!("{number}.png"),
            };
            fs::copy(&entry, folder.join(class).join(name)).unwrap();
        }
    }
    fs::write(folder.join("broken.jpg"), "no photo").unwrap();
    fs::write(folder.join("notes.txt"), "notes").unwrap();
    folder
}

fn sorted(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// Runs the command; gives its exit status, standard output and standard error.
fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = place().ocelli(arguments).output().unwrap();
    let said = stderr(&output);
    assert!(!said.contains("panicked"), "{said}");
    (output.status.code(), String::from_utf8(output.stdout).unwrap(), said)
}

fn rows(csv: &str) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(csv.as_bytes());
    reader.records().map(|record| record.unwrap().iter().map(str::to_owned).collect()).collect()
}

/// A number of JSON as in CSV.
fn number(value: &Value) -> String {
    (value.as_f64().unwrap() as f32).to_string()
}

#[test]
fn no_photo_is_missing_from_a_table() {
    photos("whole");
    let (status, csv, said) = run(&["predict", MODEL, "whole", "missing.jpg", "--csv"]);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("2 of 12 files"), "{said}");
    let rows = rows(&csv);
    assert_eq!(rows.len(), 1 + 12);
    let failed: Vec<&Vec<String>> = rows[1..].iter().filter(|row| !row[3].is_empty()).collect();
    assert_eq!(
        failed.iter().map(|row| row[0].as_str()).collect::<Vec<_>>(),
        ["whole/broken.jpg", "missing.jpg"]
    );
    assert!(failed.iter().all(|row| row[1].is_empty() && row[2].is_empty() && row[4].is_empty()));
    // The other formats have the same rows.
    let (_, lines, _) = run(&["predict", MODEL, "whole", "missing.jpg", "--jsonl"]);
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (_, array, _) = run(&["predict", MODEL, "whole", "missing.jpg", "--json"]);
    assert_eq!(Value::Array(lines.clone()), serde_json::from_str::<Value>(&array).unwrap());
    for (line, row) in lines.iter().zip(&rows[1..]) {
        let path = row[0].strip_prefix('\'').unwrap_or(&row[0]);
        assert_eq!(line["path"], path);
        assert_eq!(line["class"].as_str().unwrap_or_default(), row[1]);
        assert_eq!(line["error"].as_str().unwrap_or_default(), row[3]);
        if row[3].is_empty() {
            assert_eq!(number(&line["probability"]), row[2]);
            assert_eq!(number(&line["probabilities"]["flags"]), row[4]);
        }
    }
}

#[test]
fn the_most_probable_classes_are_those_of_all_probabilities() {
    photos("top");
    let (_, all, _) = run(&["predict", MODEL, "top", "--csv"]);
    let all = rows(&all);
    for (most, expected) in [("2", 2), ("99", 3)] {
        let (_, csv, _) = run(&["predict", MODEL, "top", "--csv", "--top-k", most]);
        let top = rows(&csv);
        assert_eq!(top[0].len(), 4 + 2 * expected, "{:?}", top[0]);
        assert_eq!(top[0][4..8], ["class_1", "probability_1", "class_2", "probability_2"]);
        let (_, lines, _) = run(&["predict", MODEL, "top", "--jsonl", "--top-k", most]);
        for ((row, top), line) in all.iter().zip(&top).skip(1).zip(lines.lines()) {
            let line: Value = serde_json::from_str(line).unwrap();
            assert!(line["probabilities"].is_null(), "{line}");
            if !row[3].is_empty() {
                assert!(top[4..].iter().all(String::is_empty), "{top:?}");
                continue;
            }
            let names = ["flags", "food-and-drink", "smileys-and-emotion"];
            let mut ranked: Vec<(&str, &str)> =
                names.into_iter().zip(row[4..].iter().map(String::as_str)).collect();
            ranked.sort_by(|a, b| b.1.parse::<f32>().unwrap().total_cmp(&a.1.parse().unwrap()));
            let expected: Vec<&str> = ranked
                .iter()
                .take(expected)
                .flat_map(|(class, probability)| [*class, *probability])
                .collect();
            assert_eq!(top[4..], expected);
            let in_json: Vec<String> = line["top"]
                .as_array()
                .unwrap()
                .iter()
                .flat_map(|top| [top["class"].as_str().unwrap().to_owned(), number(&top["probability"])])
                .collect();
            assert_eq!(in_json, expected);
        }
    }
    let (_, text, _) = run(&["predict", MODEL, "top/flags/2.png", "--top-k", "2"]);
    assert!(
        text.starts_with("top/flags/2.png  flags  flags 0.") && text.matches(", ").count() == 1,
        "{text}"
    );
    assert_eq!(run(&["predict", MODEL, "top", "--top-k", "0"]).0, Some(2));
}

#[test]
fn a_photo_below_the_lowest_probability_has_no_class_but_its_probability() {
    photos("unsure");
    let (_, plain, _) = run(&["predict", MODEL, "unsure", "--csv"]);
    let plain = rows(&plain);
    let mut probabilities: Vec<f32> = plain[1..].iter().filter_map(|row| row[2].parse().ok()).collect();
    probabilities.sort_by(f32::total_cmp);
    let bound = probabilities[probabilities.len() / 2];
    let bound_text = bound.to_string();
    let bounded = ["predict", MODEL, "unsure", "--min-probability", &bound_text];
    let (_, csv, _) = run(&[&bounded[..], &["--csv"]].concat());
    let (_, lines, _) = run(&[&bounded[..], &["--jsonl"]].concat());
    let (_, text, _) = run(&bounded);
    let mut without = 0;
    for ((before, row), line) in plain.iter().zip(&rows(&csv)).skip(1).zip(lines.lines()) {
        let line: Value = serde_json::from_str(line).unwrap();
        if !before[3].is_empty() {
            continue;
        }
        let sure = before[2].parse::<f32>().unwrap() >= bound;
        assert_eq!(row[1], if sure { before[1].as_str() } else { "" });
        assert_eq!(row[2..], before[2..], "probabilities are as they were");
        assert_eq!(line["class"].as_str(), sure.then_some(before[1].as_str()));
        assert!(line.as_object().unwrap().contains_key("class"));
        without += usize::from(!sure);
    }
    assert!(without > 2);
    assert_eq!(text.matches("  no class  0.").count(), without, "{text}");
    assert_eq!(run(&["predict", MODEL, "unsure", "--min-probability", "1.1"]).0, Some(2));
}

#[test]
fn a_table_that_is_cut_off_anywhere_is_resumed_to_the_same_bytes() {
    photos("cut");
    for (file, more) in
        [("cut.csv", &["--top-k", "2"][..]), ("cut.jsonl", &["--tta", "2", "--with", "other"])]
    {
        let predict = |flag: &str| run(&[&["predict", MODEL, "cut", flag, file][..], more].concat());
        let (status, out, said) = predict("--out");
        assert_eq!(status, Some(1), "{said}");
        assert!(out.starts_with(&format!("{file}   11 photos\n")) && said.contains("1 of 11"), "{out}{said}");
        let whole = fs::read(place().path(file)).unwrap();
        let mut cuts: Vec<usize> = (0..whole.len()).step_by(whole.len() / 5).collect();
        cuts.extend([1, whole.len() - 1, whole.len()]);
        // Within the name with a line break.
        cuts.push(whole.windows(8).position(|bytes| bytes == b"in two l").unwrap());
        for cut in cuts {
            fs::write(place().path(file), &whole[..cut]).unwrap();
            let (status, _, said) = predict("--resume-from");
            assert_eq!(status, Some(1), "{said}");
            assert!(said.contains("kept") && said.contains("1 of 11 files"), "{cut}: {said}");
            if [0, 1, whole.len() - 1, whole.len()].contains(&cut) {
                assert_eq!(said.contains("cut off"), cut == 1 || cut == whole.len() - 1, "{cut}: {said}");
            }
            assert!(fs::read(place().path(file)).unwrap() == whole, "cut at {cut} of {}", whole.len());
        }
        // A new photo is appended, and all that is there is kept.
        let (_, _, said) =
            run(&[&["predict", MODEL, "photos/flags", "--resume-from", file][..], more].concat());
        assert!(said.contains("11 rows kept"), "{said}");
        let grown = fs::read(place().path(file)).unwrap();
        assert!(grown.starts_with(&whole) && grown.len() > whole.len());
    }
}

#[test]
fn a_table_of_another_model_or_of_other_settings_is_not_resumed() {
    photos("others");
    let predict = |model: &str, more: &[&str]| run(&[&["predict", model, "others/flags"], more].concat());
    let (status, _, said) = predict(MODEL, &["--out", "others.csv", "--top-k", "2"]);
    assert_eq!(status, Some(0), "{said}");
    let (before, settings) = (place().read("others.csv"), place().read("others.csv.settings.json"));
    let with_top = ["--resume-from", "others.csv", "--top-k", "2"];
    for (model, more, reason) in [
        (MODEL, &["--resume-from", "others.csv"][..], "--top-k was 2 and is not given"),
        ("other", &with_top, "the model (by its digest) was "),
        (MODEL, &[&with_top[..], &["--with", "other"]].concat(), "the model (by its digest) was "),
        (
            MODEL,
            &[&with_top[..], &["--min-probability", "0.5"]].concat(),
            "--min-probability was 0 and is 0.5",
        ),
        (MODEL, &[&with_top[..], &["--tta", "2"]].concat(), "--tta was null and is "),
        (MODEL, &[&with_top[..], &["--max-pixels", "1000000"]].concat(), "--max-pixels was 178956970"),
        (
            MODEL,
            &[&with_top[..], &["--jsonl"]].concat(),
            "--resume-from others.csv and --jsonl contradict each other",
        ),
        (MODEL, &["--out", "new.CSV", "--json"], "--out new.CSV and --json contradict each other"),
        (MODEL, &["--out", "new.json", "--csv"], "the ending .json says another format; remove --csv"),
        (MODEL, &["--out", "-"], "give --csv, --jsonl or --json"),
        (MODEL, &["--resume-from", "-", "--csv"], "--resume-from -: a table on standard output"),
        (MODEL, &["--copy-to", "-"], "--copy-to -: "),
        (MODEL, &["--out", "others.csv"], "to resume it:  --resume-from others.csv"),
        (MODEL, &["--out", "others.txt"], "its ending does not say the format"),
        (MODEL, &["--resume-from", "others.json"], "csv or jsonl, to resume a table"),
    ] {
        let (status, _, said) = predict(model, more);
        assert!(status == Some(1) && said.contains(reason), "{more:?}: {said}");
        assert_eq!(place().read("others.csv"), before);
    }
    assert!(!place().path("new.CSV").exists() && !place().path("new.json").exists());
    assert!(!place().path("-").exists());
    // A name without an ending leaves the format to the flags.
    assert_eq!(predict(MODEL, &["--out", "table", "--csv"]).0, Some(0));
    assert!(predict(MODEL, &["--resume-from", "table", "--jsonl"]).2.contains("the format was csv"));
    // The same model under another name is the same model.
    fs::copy(place().path(MODEL), place().path("renamed.safetensors")).unwrap();
    let (status, _, said) = predict("renamed.safetensors", &with_top);
    assert!(status == Some(0) && said.contains("5 rows kept"), "{said}");
    // A table that a person has changed, or whose settings are missing or damaged.
    let changed = before.replacen("others/flags/3.png,", "others/flags/3.png,x,", 1);
    fs::write(place().path("others.csv"), changed).unwrap();
    let (_, _, said) = predict(MODEL, &with_top);
    assert!(said.contains("row 3") && said.contains("9 cells, expected 8"), "{said}");
    fs::write(place().path("others.csv"), &before).unwrap();
    fs::write(place().path("others.csv.settings.json"), &settings[..20]).unwrap();
    assert!(predict(MODEL, &with_top).2.contains("cannot be read"));
    fs::remove_file(place().path("others.csv.settings.json")).unwrap();
    let (_, _, said) = predict(MODEL, &with_top);
    assert!(said.contains("others.csv.settings.json") && said.contains("is missing"), "{said}");
    assert_eq!(place().read("others.csv"), before);
}

/// Columns of numbers stand in one piece in a file as small as this; `ci/parquet.py` reads all of it by pyarrow.
#[test]
fn parquet_holds_the_numbers_of_json_whole_or_not_at_all() {
    photos("columns");
    let (status, _, said) = run(&["predict", MODEL, "columns", "--out", "columns.json"]);
    assert_eq!(status, Some(1), "{said}");
    let (status, _, said) = run(&["predict", MODEL, "columns", "--out", "columns.parquet"]);
    assert_eq!(status, Some(1), "{said}");
    let table = fs::read(place().path("columns.parquet")).unwrap();
    assert!(table.starts_with(b"PAR1") && table.ends_with(b"PAR1"));
    let holds = |bytes: &[u8]| table.windows(bytes.len()).any(|window| window == bytes);
    let rows: Value = serde_json::from_str(&place().read("columns.json")).unwrap();
    let column = |of: &dyn Fn(&Value) -> Option<f64>| -> Vec<u8> {
        rows.as_array().unwrap().iter().filter_map(of).flat_map(f64::to_le_bytes).collect()
    };
    let best = column(&|row| row["probability"].as_f64());
    assert!(best.len() == 80 && holds(&best));
    for class in ["flags", "food-and-drink"] {
        assert!(holds(&column(&|row| row["probabilities"][class].as_f64())), "{class}");
        assert!(holds(format!("probability_{class}").as_bytes()));
    }
    let broken = rows.as_array().unwrap().iter().find_map(|row| row["error"].as_str()).unwrap();
    assert!(holds(broken.as_bytes()) && holds(b"=1+2, \"quoted\"\nin two lines.png"));

    let (status, _, said) = run(&["predict", MODEL, "columns", "--out", "columns.parquet"]);
    assert!(status == Some(1) && said.contains("exists"), "{said}");
    let (status, _, said) = run(&["predict", MODEL, "columns", "--resume-from", "columns.parquet"]);
    assert!(status == Some(1) && said.contains("whole or not at all, and cannot be resumed"), "{said}");
    assert_eq!(fs::read(place().path("columns.parquet")).unwrap(), table);
    assert!(!place().path("columns.parquet.settings.json").exists());
    let bytes = fs::read(place().path(MODEL)).unwrap();
    fs::write(place().path("part.safetensors"), &bytes[..bytes.len() / 2]).unwrap();
    assert_eq!(run(&["predict", "part.safetensors", "columns", "--out", "none.parquet"]).0, Some(1));
    assert!(!place().path("none.parquet").exists());
}

#[test]
fn a_killed_table_is_resumed_and_json_is_written_whole_or_not_at_all() {
    photos("killed");
    let predict = |flag: &str, file: &str, fault: &str| {
        let mut command = place().ocelli(&["predict", MODEL, "killed/flags", flag, file]);
        command.env("OCELLI_FAULT", fault).output().unwrap()
    };
    let log = place().path("steps.log");
    predict("--out", "killed.csv", &format!("log:{}", log.display()));
    let whole = place().read("killed.csv");
    let steps = fs::read_to_string(log).unwrap();
    let writes: Vec<&str> = steps
        .lines()
        .filter(|line| line.ends_with("killed.csv") && line.contains(" Write "))
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    assert!(writes.len() >= 2, "{steps}");
    for step in writes {
        for file in ["killed.csv", "killed.csv.settings.json"] {
            fs::remove_file(place().path(file)).unwrap();
        }
        let output = predict("--out", "killed.csv", &format!("{step}:kill"));
        assert_eq!(output.status.code(), Some(137), "{}", stderr(&output));
        assert_ne!(place().read("killed.csv"), whole);
        let output = predict("--resume-from", "killed.csv", "");
        assert!(output.status.success(), "{}", stderr(&output));
        assert_eq!(place().read("killed.csv"), whole);
    }
    // A model that cannot answer is an error, and no part of an array is left.
    let bytes = fs::read(place().path(MODEL)).unwrap();
    fs::write(place().path("half.safetensors"), &bytes[..bytes.len() / 2]).unwrap();
    assert_eq!(run(&["predict", "half.safetensors", "killed/flags", "--out", "killed.json"]).0, Some(1));
    assert!(!place().path("killed.json").exists());
    let (status, _, said) = run(&["predict", MODEL, "killed/flags", "--out", "killed.json"]);
    assert_eq!(status, Some(0), "{said}");
    let array: Value = serde_json::from_str(&place().read("killed.json")).unwrap();
    assert_eq!(array.as_array().unwrap().len(), 5);
}

/// The files below a folder, relative to it.
fn below(folder: &str) -> BTreeSet<String> {
    let folder = place().path(folder);
    let files = snapshot(&folder).into_iter();
    files.map(|(path, _)| path.strip_prefix(&folder).unwrap().to_str().unwrap().to_owned()).collect()
}

#[test]
fn photos_are_copied_into_folders_by_class_once_and_nothing_is_overwritten() {
    let folder = photos("to-sort");
    // The same name twice in a class, with other content, and a file of somebody else's.
    fs::create_dir_all(folder.join("more")).unwrap();
    fs::copy(folder.join("flags/3.png"), folder.join("more/same.png")).unwrap();
    fs::create_dir_all(place().path("sorted/flags")).unwrap();
    fs::write(place().path("sorted/flags/2.png"), "somebody's").unwrap();
    let before = snapshot(&folder);
    let sort = ["predict", MODEL, "to-sort", "--copy-to", "sorted", "--csv"];
    let (status, csv, said) = run(&sort);
    assert_eq!(status, Some(1), "one photo cannot be read: {said}");
    assert!(said.contains("sorted: 11 photos copied\n"), "{said}");
    assert_eq!(snapshot(&folder), before, "photos are left where they are, as they are");
    let files = below("sorted");
    assert_eq!(files.len(), 12, "{files:?}");
    assert_eq!(place().read("sorted/flags/2.png"), "somebody's");
    for row in rows(&csv).iter().skip(1).filter(|row| row[3].is_empty()) {
        let path = PathBuf::from(row[0].strip_prefix('\'').unwrap_or(&row[0]));
        let content = fs::read(place().path("").join(&path)).unwrap();
        let of_class = snapshot(&place().path("sorted").join(&row[1]));
        assert!(of_class.iter().any(|(_, copy)| *copy == content), "{path:?} is not in {}", row[1]);
    }
    let (_, _, said) = run(&sort);
    assert!(said.contains("sorted: 0 photos copied, 11 were there\n"), "{said}");
    assert_eq!(below("sorted"), files);
    // Photos without a class have a folder of their own.
    let (_, _, said) = run(&[&sort[..3], &["--copy-to", "unsure-sorted", "--min-probability", "1"]].concat());
    assert!(said.contains("11 photos copied"), "{said}");
    assert!(below("unsure-sorted").iter().any(|path| path.starts_with("_no-class/")), "{said}");
}

#[cfg(unix)]
#[test]
fn links_lead_to_the_photos_from_anywhere() {
    let folder = photos("to-link");
    let link = ["predict", MODEL, "to-link", "--link-to", "linked"];
    let (_, _, said) = run(&link);
    assert!(said.contains("linked: 10 photos linked\n"), "{said}");
    let files = below("linked");
    let mut targets = BTreeSet::new();
    for file in &files {
        let link = place().path("linked").join(file);
        assert!(link.symlink_metadata().unwrap().is_symlink());
        let target = link.read_link().unwrap();
        assert!(target.is_absolute() && target.starts_with(folder.canonicalize().unwrap()));
        targets.insert(target);
    }
    assert_eq!(targets.len(), 10);
    let (_, _, said) = run(&link);
    assert!(said.contains("linked: 0 photos linked, 10 were there\n"), "{said}");
    assert_eq!(below("linked"), files);
}

#[test]
fn sorted_photos_and_their_sources_do_not_lie_in_one_another() {
    let folder = photos("apart");
    for to in ["apart", "apart/sorted", "."] {
        for flag in ["--copy-to", "--link-to"] {
            let said = place().refusal(&["predict", MODEL, "apart", flag, to]);
            assert!(said.contains("the photos are taken from") && said.contains("another folder"), "{said}");
        }
    }
    let said = place().refusal(&["predict", MODEL, "apart/flags/2.png", "--copy-to", "apart/flags"]);
    assert!(said.contains("is in it"), "{said}");
    assert!(!folder.join("sorted").exists());
    let said = place().refusal(&["predict", MODEL, "apart", "--copy-to", MODEL]);
    assert!(said.contains("it is no folder"), "{said}");
}

/// As [`run`], with this on standard input.
fn fed(arguments: &[&str], input: &str) -> (Option<i32>, String, String) {
    let mut command = place().ocelli(arguments);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout.clone()).unwrap(), stderr(&output))
}

#[test]
fn rows_that_are_kept_are_sorted_as_they_say() {
    photos("kept");
    let predict = |more: &[&str]| {
        let given = ["predict", MODEL, "kept/flags", "kept/food-and-drink", "--min-probability", "0.6"];
        run(&[&given[..], more].concat())
    };
    predict(&["--copy-to", "kept-at-once"]);
    let expected = below("kept-at-once");
    assert_eq!(expected.len(), 10);
    for (file, to) in [("kept.csv", "kept-csv"), ("kept.jsonl", "kept-jsonl")] {
        assert_eq!(predict(&["--out", file]).0, Some(0));
        let (status, _, said) = predict(&["--resume-from", file, "--copy-to", to]);
        assert!(status == Some(0) && said.contains("10 rows kept"), "{said}");
        assert!(said.contains(&format!("{to}: 10 photos copied\n")), "{said}");
        assert_eq!(below(to), expected);
    }
    // The rest is copied where a photo is gone.
    fs::remove_file(place().path("kept/flags/2.png")).unwrap();
    let (status, _, said) = predict(&["--resume-from", "kept.csv", "--copy-to", "kept-rest"]);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("kept/flags/2.png: not copied: it does not exist"), "{said}");
    assert!(said.contains("kept-rest: 9 photos copied, 1 could not be copied\n"), "{said}");
    let table = place().read("kept.csv").replace(",flags,", ",banners,");
    fs::write(place().path("kept.csv"), table).unwrap();
    let (_, _, said) = predict(&["--resume-from", "kept.csv", "--copy-to", "kept-changed"]);
    assert!(said.contains("the model has no class \"banners\""), "{said}");
}

#[cfg(unix)]
#[test]
fn photos_are_sorted_to_the_end_although_nobody_reads_the_answers() {
    photos("piped");
    for (number, format) in [&[][..], &["--csv"], &["--json"]].into_iter().enumerate() {
        let to = format!("piped-{number}");
        let sort = [&["predict", MODEL, "piped/flags", "--copy-to", &to], format].concat();
        let mut process = place().ocelli(&sort).stdout(Stdio::piped()).spawn().unwrap();
        drop(process.stdout.take());
        assert_eq!(process.wait().unwrap().code(), Some(0));
        assert_eq!(below(&to).len(), 5);
    }
}

#[test]
fn what_killed_calls_left_is_removed_and_what_is_being_written_is_not() {
    photos("swept");
    for folder in ["swept-to/flags", "tables"] {
        fs::create_dir_all(place().path(folder)).unwrap();
        for name in [".writing-left", ".writing-now"] {
            fs::write(place().path(folder).join(name), "half").unwrap();
        }
        let now = fs::File::open(place().path(folder).join(".writing-now")).unwrap();
        now.lock().unwrap();
        let (_, _, said) =
            run(&["predict", MODEL, "swept/flags", "--copy-to", "swept-to", "--out", "tables/table.json"]);
        assert!(said.contains("swept-to: "), "{said}");
        assert!(!place().path(folder).join(".writing-left").exists(), "{folder}: {said}");
        assert!(place().path(folder).join(".writing-now").exists(), "{folder}");
        let _ = fs::remove_file(place().path("tables/table.json"));
    }
}

#[test]
fn a_photo_that_is_named_twice_has_one_row() {
    photos("twice");
    let (_, once, _) = run(&["predict", MODEL, "twice/flags", "--csv"]);
    let (status, csv, said) =
        run(&["predict", MODEL, "twice/flags", "twice/flags/2.png", "./twice", "--csv"]);
    assert_eq!(status, Some(1), "one of them cannot be read: {said}");
    assert!(said.contains("note: 6 photos named more than once, taken once\n"), "{said}");
    assert!(said.contains("1 of 11 files"), "{said}");
    assert_eq!((csv.lines().next(), rows(&csv).len()), (once.lines().next(), 1 + 11));
    // From standard input each time, except into a table.
    let (_, csv, _) = fed(&["predict", MODEL, "--csv"], "twice/flags\ntwice/flags/2.png\n");
    assert_eq!(rows(&csv).len(), 1 + 6);
    let (status, _, said) =
        fed(&["predict", MODEL, "-", "--out", "twice.csv"], "twice/flags\ntwice/flags/2.png\n");
    assert!(status == Some(0) && said.contains("1 photo named more than once"), "{said}");
    assert_eq!(place().read("twice.csv"), once);
}

#[test]
fn standard_input_may_stand_among_other_paths() {
    photos("among");
    let (status, csv, said) = fed(
        &["predict", MODEL, "among/flags/2.png", "-", "among/flags/4.png", "--out", "-", "--csv"],
        "among/flags/3.png\n",
    );
    assert_eq!(status, Some(0), "{said}");
    let paths: Vec<String> = rows(&csv).into_iter().skip(1).map(|row| row[0].clone()).collect();
    assert_eq!(paths, ["among/flags/2.png", "among/flags/3.png", "among/flags/4.png"]);
    let (status, out, said) =
        fed(&["explain", MODEL, "-", "among/flags/4.png", "--out", "heat"], "among/flags/3.png\n");
    assert!(status == Some(0) && out.lines().count() == 2, "{out}{said}");
}

#[test]
fn a_folder_without_photos_does_not_keep_others_from_being_predicted() {
    photos("partly");
    fs::create_dir_all(place().path("nothing")).unwrap();
    let (status, csv, said) = run(&["predict", MODEL, "nothing", "partly/flags", "--csv"]);
    assert_eq!((status, rows(&csv).len()), (Some(1), 1 + 5), "{said}");
    assert!(said.contains("nothing: no photos in this folder\n"), "{said}");
    assert!(said.contains("skipped: 1 folder could not be used\n"), "{said}");
    let (status, csv, said) = fed(&["predict", MODEL, "--csv"], "nothing\npartly/flags\n");
    assert_eq!((status, rows(&csv).len()), (Some(1), 1 + 5), "{said}");
    assert!(place().refusal(&["predict", MODEL, "nothing"]).contains("no photos in this folder"));
    let (status, out, said) = run(&["explain", MODEL, "nothing", "partly/flags", "--out", "partly-heat"]);
    assert!(status == Some(1) && out.lines().count() == 5, "{said}");
}

#[test]
fn no_table_is_written_where_no_photo_can_be_read() {
    photos("typo");
    for file in ["typo.csv", "typo.jsonl", "typo.json", "new/typo.csv"] {
        let (status, _, said) = run(&["predict", MODEL, "tipo", "typo/broken.jpg", "--out", file]);
        assert!(status == Some(1) && said.contains("2 of 2"), "{said}");
        assert!(said.contains(&format!("{file}: not written, since no photo could be read")), "{said}");
        assert!(!place().path(file).exists());
        assert!(!place().path(&format!("{file}.settings.json")).exists());
        let (status, _, said) = run(&["predict", MODEL, "typo/flags", "--out", file]);
        assert_eq!(status, Some(0), "the corrected command is not refused: {said}");
    }
    // An empty list is no failure, and has a table without rows.
    assert_eq!(fed(&["predict", MODEL, "-", "--out", "empty.csv"], "").0, Some(0));
    assert_eq!(place().read("empty.csv").lines().count(), 1);
}

#[test]
fn pictures_are_not_written_into_a_file() {
    photos("heat-of");
    fs::write(place().path("a-file"), "text").unwrap();
    let said = place().refusal(&["explain", MODEL, "heat-of/flags", "--out", "a-file"]);
    assert!(said.contains("--out a-file: this is a file") && said.lines().count() == 1, "{said}");
}

#[test]
fn several_models_are_averaged_in_any_order_of_their_classes() {
    photos("several");
    let probabilities = |arguments: &[&str]| -> Vec<Vec<f64>> {
        let (status, csv, said) = run(&[&["predict"][..], arguments, &["several/flags", "--csv"]].concat());
        assert_eq!(status, Some(0), "{said}");
        rows(&csv)[1..].iter().map(|row| row[4..].iter().map(|p| p.parse().unwrap()).collect()).collect()
    };
    for more in [&[][..], &["--tta", "2"]] {
        let (one, other) =
            (probabilities(&[&[MODEL], more].concat()), probabilities(&[&["other"], more].concat()));
        let both = probabilities(&[&[MODEL, "--with", "other"], more].concat());
        for ((one, other), both) in one.iter().zip(&other).zip(&both) {
            for ((one, other), both) in one.iter().zip(other).zip(both) {
                assert!(((one + other) / 2.0 - both).abs() < 1e-6, "{one} {other} {both}");
            }
        }
        assert!(one.iter().zip(&other).any(|(one, other)| one != other));
    }
    // Its own training had no augmentation.
    let (_, _, said) = run(&["predict", MODEL, "several/flags", "--tta", "2"]);
    assert!(said.contains("all views of --tta are the same"), "{said}");
    let (_, _, said) = run(&["predict", MODEL, "several/flags", "--tta", "corners"]);
    assert!(!said.contains("are the same"), "{said}");
    // A model whose outputs have their names in another order, as far as the file says.
    let turned = |name: &str, from: &str, to: &str| {
        let bytes = fs::read(place().path(MODEL)).unwrap();
        let at = |text: &[u8]| bytes.windows(text.len()).position(|window| window == text).unwrap();
        let mut changed = bytes.clone();
        let digest = at(b"\"ocelli-digest\":\"") + b"\"ocelli-digest\":\"".len();
        changed[digest..digest + 65].copy_from_slice(format!("{:<65}", "none\"").as_bytes());
        let classes = at(from.as_bytes());
        changed[classes..classes + from.len()].copy_from_slice(to.as_bytes());
        fs::write(place().path(name), changed).unwrap();
    };
    let names = r#"\"flags\",\"food-and-drink\""#;
    turned("turned.safetensors", names, r#"\"food-and-drink\",\"flags\""#);
    let plain = probabilities(&[MODEL]);
    let both = probabilities(&[MODEL, "--with", "turned.safetensors"]);
    for (plain, both) in plain.iter().zip(&both) {
        let mean = f64::from((plain[0] as f32 + plain[1] as f32) / 2.0);
        assert!((both[0] - mean).abs() < 1e-6 && (both[1] - mean).abs() < 1e-6, "{plain:?} {both:?}");
        assert!((both[2] - plain[2]).abs() < 1e-6);
    }
    turned("strange.safetensors", names, r#"\"flagz\",\"food-and-drink\""#);
    let said = place().refusal(&["predict", MODEL, "--with", "strange.safetensors", "several"]);
    assert!(said.contains("strange.safetensors") && said.contains("flagz"), "{said}");
}
