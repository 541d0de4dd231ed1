//! Submissions of the real command.

use std::fs;

use crate::common::{Place, small, snapshot, stderr};

/// A place with a trained model, and test photos in `test`: some of each class under names of their own.
fn place() -> (Place, Vec<(String, String)>) {
    let place = Place::with_photos(12);
    let test = place.path("test");
    fs::create_dir_all(&test).unwrap();
    let mut photos = Vec::new();
    for (number, (path, _)) in snapshot(&place.path("photos")).into_iter().step_by(9).enumerate() {
        let class = path.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
        let id = format!("id{number}");
        fs::copy(&path, test.join(format!("{id}.png"))).unwrap();
        photos.push((id, class));
    }
    let quick = small(&["--batch-size", "8", "--head-epochs", "4"]);
    place.run(&[&quick[..], &["--out", "run"]].concat());
    (place, photos)
}

const SUBMIT: [&str; 3] = ["submit", "run/model.safetensors", "test"];

fn submit<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&SUBMIT[..], more].concat()
}

fn table(text: &str) -> Vec<Vec<String>> {
    text.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect()
}

#[test]
fn a_submission_has_the_ids_the_order_and_the_columns_of_the_sample() {
    let (place, photos) = place();
    let said = place.run(&submit(&[]));
    assert!(said.contains("submission.csv") && said.contains("probabilities of 3 classes"), "{said}");
    assert!(said.contains("expected log loss"), "{said}");
    let plain = table(&place.read("submission.csv"));
    assert_eq!(plain[0], ["id", "flags", "food-and-drink", "smileys-and-emotion"]);
    assert_eq!(plain.len(), 1 + photos.len());

    let mut sample = "image,smileys-and-emotion,flags,food-and-drink\n".to_owned();
    for (id, _) in photos.iter().rev() {
        sample += &format!("{id},0.3,0.3,0.3\n");
    }
    fs::write(place.path("sample.csv"), &sample).unwrap();
    place.run(&submit(&["--sample", "sample.csv", "--out", "out.csv", "--clip-probabilities", "0.01"]));
    let rows = table(&place.read("out.csv"));
    assert_eq!(rows[0], ["image", "smileys-and-emotion", "flags", "food-and-drink"]);
    let mut right = 0;
    for (row, (id, class)) in rows[1..].iter().zip(photos.iter().rev()) {
        assert_eq!(&row[0], id);
        let values: Vec<f64> = row[1..].iter().map(|value| value.parse().unwrap()).collect();
        assert!((values.iter().sum::<f64>() - 1.0).abs() < 1e-5, "{values:?}");
        assert!(values.iter().all(|value| *value > 0.009), "clipped at 0.01: {values:?}");
        let best = (0..3).max_by(|a, b| values[*a].total_cmp(&values[*b])).unwrap();
        right += usize::from(rows[0][1 + best] == *class);
    }
    assert!(right * 4 >= photos.len() * 3, "photos that were trained on are known: {right}");
    // A class of the competition of which no photo was trained on: it must have a column all the same.
    let more = sample.lines().map(|line| match line.split_once(',') {
        Some(("image", rest)) => format!("image,cars,{rest}\n"),
        Some((id, rest)) => format!("{id},0.3,{rest}\n"),
        None => String::new(),
    });
    fs::write(place.path("more.csv"), more.collect::<String>()).unwrap();
    for (clip, least) in [("0", 0.0), ("0.01", 0.01)] {
        let out = format!("more-{clip}.csv");
        let flags = ["--sample", "more.csv", "--out", &out, "--clip-probabilities", clip];
        let output = place.ocelli(&submit(&flags)).output().unwrap();
        let said = stderr(&output);
        assert!(output.status.success(), "{said}");
        assert!(said.contains("1 column of the sample: cars: the model does not know this class"), "{said}");
        let with = table(&place.read(&out));
        assert_eq!(with[0], ["image", "cars", "smileys-and-emotion", "flags", "food-and-drink"]);
        assert!(with[1..].iter().all(|row| row[1].parse::<f64>().unwrap() == least), "{with:?}");
    }
    // One column that is no class and holds no numbers: names.
    let mut names = "image,category\n".to_owned();
    photos.iter().for_each(|(id, _)| names += &format!("{id}.png,flags\n"));
    fs::write(place.path("names.csv"), &names).unwrap();
    let odd = "is none of the model's classes, whose names are written";
    let said = place.run(&submit(&["--sample", "names.csv", "--out", "names-out.csv", "--tta", "corners"]));
    assert!(said.contains("names of classes") && !said.contains(odd), "{said}");
    // Labels in another spelling would be wrong in every row.
    fs::write(place.path("spelled.csv"), names.replace(",flags", ",Flags")).unwrap();
    for (out, values) in [("detected.csv", &[][..]), ("asked.csv", &["--values", "labels"])] {
        let said = place.run(&submit(&[&["--sample", "spelled.csv", "--out", out][..], values].concat()));
        assert!(said.contains(&format!("warning: \"Flags\" in the sample {odd}")), "{said}");
        assert!(place.read(out).lines().skip(1).all(|row| !row.contains("Flags")), "{out}");
    }
    let rows = table(&place.read("names-out.csv"));
    assert!(rows[1..].iter().zip(&photos).all(|(row, (id, _))| row[0] == format!("{id}.png")));
    assert!(rows[1..].iter().all(|row| rows[0][1] == "category" && plain[0][1..].contains(&row[1])));
}

#[test]
fn what_does_not_belong_together_is_refused_and_a_broken_photo_is_told() {
    let (place, photos) = place();
    let write = |name: &str, text: &str| fs::write(place.path(name), text).unwrap();
    let id = &photos[0].0;
    for (text, part) in [
        ("image,flags,food-and-drink\nid0,0,0\n", "no column for the model's class \"smileys-and-emotion\""),
        ("image,flags,food-and-drink,cars\nid0,0,0,0\n", "\"cars\" is none of the model's classes"),
        ("image,score\nid0,0.5\n", "neither it nor they are among the model's classes"),
        ("id0,flags\nid1,flags\n", "its first row names the photo id0"),
        ("image,category\nid0,flags\nid0,flags\n", "was there before"),
        ("image,category\nnobody,flags\n", "there is no photo for the id nobody"),
        ("image\nid0\n", "no column after the id"),
    ] {
        write("sample.csv", text);
        let said = place.refusal(&submit(&["--sample", "sample.csv"]));
        assert!(said.contains(part), "{text:?}: {said}");
    }
    assert!(!place.path("submission.csv").exists(), "nothing is written");
    write("sample.csv", &format!("image,flags,food-and-drink,smileys-and-emotion\n{id},0,0,0\n"));
    write(&format!("test/{id}.png"), "no photo");
    let output = place.ocelli(&submit(&["--sample", "sample.csv"])).output().unwrap();
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains(&format!("{id}.png")) && said.contains("1 photo could not be read"), "{said}");
    assert!(said.contains("not in the sample"), "{said}");
    let row = &table(&place.read("submission.csv"))[1];
    assert!(row[1..].iter().all(|value| (value.parse::<f64>().unwrap() - 1.0 / 3.0).abs() < 1e-6), "{row:?}");
}

#[test]
fn a_file_that_is_there_stays_and_photos_of_the_training_are_told() {
    let (place, _) = place();
    fs::write(place.path("mine.csv"), "of great value").unwrap();
    let said = place.refusal(&submit(&["--out", "mine.csv"]));
    assert!(said.contains("--out mine.csv: this file exists already"), "{said}");
    assert_eq!(place.read("mine.csv"), "of great value");
    let said = place.refusal(&["inspect", "photos", "--html", "mine.csv"]);
    assert!(said.contains("--html mine.csv"), "{said}");

    let output = place.ocelli(&submit(&["--out", "own.csv", "--quiet"])).output().unwrap();
    assert!(stderr(&output).contains("warning: the model was trained on "), "{}", stderr(&output));
    fs::create_dir(place.path("other")).unwrap();
    fs::copy(crate::common::samples().join("symbols/aries.png"), place.path("other/1.png")).unwrap();
    let output = place.ocelli(&["submit", "run", "other", "--out", "other.csv"]).output().unwrap();
    assert!(output.status.success() && !stderr(&output).contains("warning"), "{}", stderr(&output));
}

#[test]
fn a_report_without_held_out_photos_says_so() {
    let place = Place::with_photos(8);
    let quick =
        ["train", "photos", "--recipe", "quick", "--size", "32", "--batch-size", "8", "--head-epochs", "1"];
    place.run(&[&quick[..], &["--lr", "1e-2", "--valid", "none", "--out", "run"]].concat());
    let said = place.run(&["report", "run"]);
    assert!(said.contains("no validation images") && !said.contains("confusion matrix"), "{said}");
}
