//! `ocelli embed` and `ocelli similar`.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use crate::common::{Place, stderr};

const ARCH: &str = "efficientnet_lite0";
const SMALL: [&str; 4] = ["--size", "32", "--threads", "1"];

/// An array of a `.npy` file, read by the format's specification: shape and f32 values.
fn read_npy(bytes: &[u8]) -> (Vec<usize>, Vec<f32>) {
    assert_eq!(&bytes[..8], b"\x93NUMPY\x01\x00");
    let length = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    assert_eq!((10 + length) % 64, 0);
    let header = std::str::from_utf8(&bytes[10..10 + length]).unwrap();
    assert!(header.contains("'descr': '<f4'") && header.contains("'fortran_order': False"), "{header}");
    assert!(header.ends_with('\n'));
    let shape = header.split_once("'shape': (").unwrap().1.split_once(')').unwrap().0;
    let shape: Vec<usize> = shape.split(',').map(|length| length.trim().parse().unwrap()).collect();
    let values: Vec<f32> =
        bytes[10 + length..].chunks(4).map(|value| f32::from_le_bytes(value.try_into().unwrap())).collect();
    assert_eq!(values.len(), shape.iter().product::<usize>());
    (shape, values)
}

/// The rows of a table written by `embed`: path and features.
fn read_csv(text: &str) -> Vec<(String, Vec<f32>)> {
    let rows = text.lines().skip(1).map(|line| {
        let (path, values) = line.split_once(',').unwrap();
        (path.to_owned(), values.split(',').map(|value| value.parse().unwrap()).collect())
    });
    rows.collect()
}

/// The entries of a ZIP archive that is stored without compression, by its local headers (ZIP64).
fn read_zip(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let (mut at, mut entries) = (0, Vec::new());
    while bytes[at..].starts_with(b"PK\x03\x04") {
        let short = |from: usize| usize::from(u16::from_le_bytes([bytes[at + from], bytes[at + from + 1]]));
        let (name, extra) = (short(26), short(28));
        let begin = at + 30 + name + extra;
        let size = &bytes[at + 30 + name + 4..][..8];
        let size = u64::from_le_bytes(size.try_into().unwrap()) as usize;
        let text = String::from_utf8(bytes[at + 30..at + 30 + name].to_vec()).unwrap();
        entries.push((text, bytes[begin..begin + size].to_vec()));
        at = begin + size;
    }
    assert!(bytes[at..].starts_with(b"PK\x01\x02"));
    entries
}

fn embed(place: &Place, more: &[&str]) -> String {
    place.run(&[&["embed", ARCH, "photos"], &SMALL[..], more].concat())
}

#[test]
fn every_format_holds_the_same_features() {
    let place = Place::with_photos(2);
    let text = embed(&place, &["--out", "x.npy"]);
    assert!(text.contains("6 photos × 2,560 features"), "{text}");
    let (shape, values) = read_npy(&fs::read(place.path("x.npy")).unwrap());
    assert_eq!(shape, [6, 2560]);
    embed(&place, &["--out", "x.csv"]);
    let rows = read_csv(&place.read("x.csv"));
    let index = place.read("x.npy.index.csv");
    assert_eq!(index.lines().next(), Some("path,row,reason"));
    for (number, (path, row)) in rows.iter().enumerate() {
        assert_eq!(row[..], values[number * 2560..][..2560], "to the bit");
        assert_eq!(index.lines().nth(1 + number).unwrap(), format!("{path},{number},"));
    }
    embed(&place, &["--out", "x.jsonl"]);
    for (line, (path, row)) in place.read("x.jsonl").lines().zip(&rows) {
        let object: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(object["path"], *path);
        let features = object["features"].as_array().unwrap().iter();
        assert!(features.zip(row).all(|(a, b)| a.as_f64().unwrap() as f32 == *b));
    }
    embed(&place, &["--out", "x.npz"]);
    let entries = read_zip(&fs::read(place.path("x.npz")).unwrap());
    assert_eq!(entries.iter().map(|entry| &entry.0[..]).collect::<Vec<_>>(), ["features.npy", "paths.npy"]);
    assert_eq!(read_npy(&entries[0].1), (shape, values.clone()));
    let first: String = entries[1].1[128..]
        .chunks(4)
        .map_while(|c| char::from_u32(u32::from_le_bytes(c.try_into().unwrap())).filter(|c| *c != '\0'))
        .take(rows[0].0.chars().count())
        .collect();
    assert_eq!(first, rows[0].0);
    embed(&place, &["--out", "x.parquet"]);
    let table = fs::read(place.path("x.parquet")).unwrap();
    let bytes: Vec<u8> = values.iter().flat_map(|value: &f32| value.to_le_bytes()).collect();
    assert!(table.starts_with(b"PAR1") && table.ends_with(b"PAR1"));
    assert!(table.windows(bytes.len()).any(|window| window == bytes));
    assert_eq!(place.read("x.parquet.index.csv"), index);
    // Nothing else is left beside them.
    let left = |name: &str| name.contains(".part") || name.contains(".journal") || name.contains(".lock");
    for entry in fs::read_dir(place.path("")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(!left(&name), "{name}");
    }
}

#[test]
fn normalized_features_have_length_1_and_a_layer_has_its_channels() {
    let place = Place::with_photos(1);
    embed(&place, &["--normalize", "--out", "unit.csv"]);
    for (_, row) in read_csv(&place.read("unit.csv")) {
        let norm: f64 = row.iter().map(|value| f64::from(*value).powi(2)).sum();
        assert!((norm - 1.0).abs() < 1e-5, "{norm}");
    }
    // The third stage of EfficientNet-Lite0's blocks puts out 40 channels: their maxima and means.
    embed(&place, &["--layer", "blocks.2", "--out", "blocks.csv"]);
    assert_eq!(read_csv(&place.read("blocks.csv"))[0].1.len(), 80);
    let said = place.refusal(&["embed", ARCH, "photos", "--size", "32", "--layer", "99", "--out", "y.csv"]);
    assert!(said.contains("no layer \"99\"") && said.contains("blocks."), "{said}");
}

#[test]
fn a_photo_that_cannot_be_read_has_a_reason_in_the_index_and_no_row() {
    let place = Place::with_photos(1);
    fs::write(place.path("photos/flags/a-broken.jpg"), "no photo").unwrap();
    let arguments = [&["embed", ARCH, "photos", "missing.png", "--out", "x.npy"], &SMALL[..]].concat();
    let output = place.ocelli(&arguments).output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("a-broken.jpg") && said.contains("missing.png") && said.contains("2 of 5"),
        "{said}"
    );
    assert_eq!(read_npy(&fs::read(place.path("x.npy")).unwrap()).0, [3, 2560]);
    let index = place.read("x.npy.index.csv");
    let rows: Vec<Vec<&str>> = index.lines().skip(1).map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), 5, "all photos are listed: {index}");
    let without = rows.iter().filter(|row| row[1].is_empty());
    assert!(without.clone().count() == 2 && without.clone().all(|row| row[2].len() > 5), "{index}");
    let said = place.refusal(&arguments);
    assert!(said.contains("exists already"), "{said}");
}

#[test]
fn an_interrupted_output_continues_to_the_same_bytes() {
    let place = Place::with_photos(3);
    for ending in ["npy", "parquet"] {
        let whole = format!("whole.{ending}");
        embed(&place, &["--out", &whole]);
        let index = place.read(&format!("{whole}.index.csv"));
        // Killed at each of its steps in turn, until one run gets through.
        let mut killed = 0;
        for step in 1.. {
            let name = format!("cut-{step}.{ending}");
            let arguments = [&["embed", ARCH, "photos", "--out", &name], &SMALL[..]].concat();
            let output =
                place.ocelli(&arguments).env("OCELLI_FAULT", format!("{step}:power")).output().unwrap();
            if output.status.success() {
                break;
            }
            assert_eq!(output.status.code(), Some(137), "{}", stderr(&output));
            killed += 1;
            if !place.path(&name).exists() {
                let output = place.ocelli(&arguments).output().unwrap();
                assert!(output.status.success(), "step {step}: {}", stderr(&output));
            }
            assert!(
                fs::read(place.path(&name)).unwrap() == fs::read(place.path(&whole)).unwrap(),
                "{ending}, step {step}"
            );
            assert_eq!(place.read(&format!("{name}.index.csv")), index, "{ending}, step {step}");
        }
        assert!(killed > 8, "{killed} steps");
    }
}

#[test]
fn what_is_done_is_not_computed_again_unless_a_photo_has_changed() {
    let place = Place::with_photos(2);
    let arguments = [&["embed", ARCH, "photos", "--out", "x.csv"], &SMALL[..]].concat();
    let photos = {
        embed(&place, &["--out", "all.csv"]);
        read_csv(&place.read("all.csv"))
    };
    // The last steps are the sync and the renaming: all rows are written.
    let log = place.path("steps");
    let logged = format!("log:{}", log.display());
    place
        .ocelli(&[&["embed", ARCH, "photos", "--out", "y.csv"], &SMALL[..]].concat())
        .env("OCELLI_FAULT", logged)
        .output()
        .unwrap();
    let steps = fs::read_to_string(&log).unwrap();
    let renamed = steps.lines().position(|line| line.contains("Rename")).unwrap() + 1;
    let cut = |fault: &str| {
        let output =
            place.ocelli(&arguments).env("OCELLI_FAULT", format!("{renamed}:{fault}")).output().unwrap();
        assert!(!output.status.success());
    };
    cut("kill");
    let output = place.ocelli(&arguments).output().unwrap();
    assert!(stderr(&output).contains("continuing after 6 photos"), "{}", stderr(&output));
    assert_eq!(read_csv(&place.read("x.csv")), photos);
    fs::remove_file(place.path("x.csv")).unwrap();
    cut("kill");
    // The third photo is replaced by another one.
    let (third, other) = (place.path(&photos[2].0), place.path(&photos[5].0));
    fs::copy(&other, &third).unwrap();
    let output = place.ocelli(&arguments).output().unwrap();
    assert!(stderr(&output).contains("continuing after 2 photos"), "{}", stderr(&output));
    let rows = read_csv(&place.read("x.csv"));
    assert_eq!(rows[2].1, photos[5].1);
    assert_eq!(rows[3..], photos[3..]);
}

#[test]
fn finished_rows_of_other_settings_are_not_dropped() {
    let place = Place::with_photos(2);
    let arguments = [&["embed", ARCH, "photos", "--out", "x.npy"], &SMALL[..]].concat();
    let log = place.path("steps");
    let logged = [&["embed", ARCH, "photos", "--out", "y.npy"], &SMALL[..]].concat();
    place.ocelli(&logged).env("OCELLI_FAULT", format!("log:{}", log.display())).output().unwrap();
    let steps = fs::read_to_string(&log).unwrap();
    let renamed = steps.lines().position(|line| line.contains("Rename")).unwrap() + 1;
    place.ocelli(&arguments).env("OCELLI_FAULT", format!("{renamed}:kill")).output().unwrap();
    let part = fs::read(place.path("x.npy.part")).unwrap();
    for (more, reason) in [
        (&["--normalize"][..], "the scaling to length 1 was false and is true"),
        (&["--layer", "2"], "the layer was "),
        (&["--max-pixels", "1000000"], "--max-pixels was 178956970 and is 1000000"),
    ] {
        let said = place.refusal(&[&arguments[..], more].concat());
        assert!(said.contains(reason) && said.contains("remove x.npy.journal"), "{said}");
    }
    let other = [&["embed", ARCH, "photos/food-and-drink", "--out", "x.npy"], &SMALL[..]].concat();
    let said = place.refusal(&other);
    assert!(said.contains("the first photo was photos/flags/"), "{said}");
    assert!(fs::read(place.path("x.npy.part")).unwrap() == part, "it is untouched");
    // The way out.
    fs::remove_file(place.path("x.npy.journal")).unwrap();
    assert!(place.run(&other).contains("2 photos"));
}

#[test]
fn a_photo_that_is_named_twice_has_one_row_of_features() {
    let place = Place::with_photos(2);
    fs::create_dir_all(place.path("nothing")).unwrap();
    let arguments =
        ["embed", ARCH, "photos/flags", "nothing", "-", "./photos", "--size", "32", "--out", "x.csv"];
    let mut child = place
        .ocelli(&arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"photos/food-and-drink\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "a folder has none: {said}");
    assert!(said.contains("nothing: no photos in this folder"), "{said}");
    assert!(said.contains("4 photos named more than once"), "{said}");
    let paths: Vec<String> = read_csv(&place.read("x.csv")).into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths.len(), 6);
    assert!(paths[2].starts_with("photos/food-and-drink/") && paths[4].starts_with("./photos/"), "{paths:?}");
    let text = similar(&place, &["--among", "photos", "--among", "photos", "--duplicates"]);
    assert_eq!(text, "no near duplicates among 6 photos\n");
}

#[test]
fn nothing_is_left_where_no_photo_can_be_read() {
    let place = Place::with_photos(1);
    let said = place.ocelli(&["embed", ARCH, "fotos", "--size", "32", "--out", "x.npy"]).output().unwrap();
    assert_eq!(said.status.code(), Some(1));
    assert!(
        stderr(&said).contains("x.npy: nothing is written, since none of the 1 files"),
        "{}",
        stderr(&said)
    );
    for entry in fs::read_dir(place.path("")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(!name.starts_with("x.npy"), "{name}");
    }
    embed(&place, &["--out", "x.npy"]);
}

#[test]
fn names_of_networks_and_files_are_refused_with_the_reason() {
    let place = Place::with_photos(1);
    let said = place.refusal(&["embed", "efficientnet_lite9", "photos", "--out", "x.npy"]);
    assert!(said.contains("no such model file") && said.contains("efficientnet_lite"), "{said}");
    let said = place.refusal(&["embed", ARCH, "photos", "--out", "x.feather"]);
    assert!(said.contains(".npy, .npz, .csv, .jsonl or .parquet"), "{said}");
    let said = place.refusal(&["embed", "resnet34", "photos", "--out", "x.npy"]);
    assert!(said.contains("not on this machine") && said.contains("ocelli pull resnet34"), "{said}");
    assert!(!said.contains("--weights"), "a flag that is not there: {said}");
    assert!(place.refusal(&["embed", ARCH, "photos", "--out", "-"]).contains("--out -: "));
}

fn similar(place: &Place, more: &[&str]) -> String {
    place.run(&[&["similar", ARCH], &SMALL[..], more].concat())
}

fn first_photo(folder: &Path) -> String {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names.remove(0)
}

#[test]
fn the_most_similar_photo_is_the_copy_and_not_the_query_itself() {
    let place = Place::with_photos(4);
    let name = first_photo(&place.path("photos/flags"));
    let query = format!("photos/flags/{name}");
    fs::copy(place.path(&query), place.path("photos/food-and-drink/copy.png")).unwrap();
    let text = similar(&place, &[&query, "--among", "photos", "--top-k", "3"]);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], query);
    assert_eq!(lines[1], "  1.0000  photos/food-and-drink/copy.png");
    assert_eq!(lines.len(), 4, "{text}");
    let json = similar(&place, &[&query, "--among", "photos", "--top-k", "3", "--json"]);
    let object: serde_json::Value = serde_json::from_str(&json).unwrap();
    let near = object["similar"].as_array().unwrap();
    let values: Vec<f64> = near.iter().map(|near| near["similarity"].as_f64().unwrap()).collect();
    assert!(near.len() == 3 && values.is_sorted_by(|a, b| a >= b), "{json}");
    assert!(near.iter().all(|near| near["path"] != query));
    // The features of all 13 photos are cached by content.
    assert!(place.path("cache/activations").is_dir());
}

#[test]
fn near_duplicates_are_grouped_on_the_page_too() {
    let place = Place::with_photos(4);
    let name = first_photo(&place.path("photos/flags"));
    fs::copy(place.path("photos/flags").join(&name), place.path("photos/flags/z-copy.png")).unwrap();
    let text = similar(&place, &["--among", "photos", "--duplicates", "--html", "page.html"]);
    assert!(text.starts_with("group 1: 2 photos\n"), "{text}");
    assert!(text.contains("z-copy.png") && text.contains(&name), "{text}");
    let page = place.read("page.html");
    assert_eq!(page.matches("<img src=\"data:image/jpeg").count(), 2, "two pictures");
    assert!(page.contains("z-copy.png") && !page.contains("http://"));
    let page = similar(&place, &["--among", "photos", "--duplicates", "--html", "-"]);
    assert_eq!(page, place.read("page.html"));
    let said = place.refusal(&["similar", ARCH, "--among", "photos"]);
    assert!(said.contains("QUERY"), "{said}");
}
