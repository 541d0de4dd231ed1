//! Tables of labels, groups and submissions as people have them, through the real command.

use std::fs;

use crate::common::{Place, samples, stderr};

const CLASSES: [&str; 3] = ["flags", "food-and-drink", "smileys-and-emotion"];

/// A place with `pets/train/NN.png`, so many of each class in turn, and `pets/test/` with two of each.
fn place(images: usize) -> Place {
    let place = Place::empty();
    for folder in ["pets/train", "pets/test"] {
        fs::create_dir_all(place.path(folder)).unwrap();
    }
    for (number, class) in CLASSES.iter().enumerate() {
        let mut names: Vec<_> =
            fs::read_dir(samples().join(class)).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.sort();
        for (image, name) in names[..images + 2].iter().enumerate() {
            let id = 3 * image + number;
            let to = if image < images {
                format!("pets/train/{id:02}.png")
            } else {
                format!("pets/test/{id:02}.png")
            };
            fs::copy(name, place.path(&to)).unwrap();
        }
    }
    place
}

/// A table with a row for each of `pets/train`, made from its number and class.
fn table(place: &Place, name: &str, header: &str, images: usize, row: impl Fn(usize, usize) -> String) {
    let rows = (0..3 * images).map(|id| row(id, id % 3) + "\n");
    fs::write(place.path(name), std::iter::once(format!("{header}\n")).chain(rows).collect::<String>())
        .unwrap();
}

const QUICK: [&str; 11] = [
    "--recipe",
    "quick",
    "--size",
    "32",
    "--batch-size",
    "8",
    "--head-epochs",
    "2",
    "--threads",
    "1",
    "--quiet",
];

fn train<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [&["train"], arguments, &QUICK].concat()
}

#[test]
fn whole_numbers_are_submitted_as_they_were_learned() {
    let place = place(6);
    table(&place, "pets/train.csv", "id_code;diagnosis", 6, |id, class| format!("{id:02};{class}"));
    // The folder's own table, in the lesson's layout.
    let said = place.run(&["inspect", "pets", "--size", "32"]);
    for part in [
        "18 images in 3 classes",
        "labels are those of pets/train.csv",
        "separated by \";\"",
        "lack \".png\"",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    place.run(&train(&["pets", "--out", "run"]));
    let submit = |sample: &str, more: &[&str]| {
        fs::write(place.path("sample.csv"), sample).unwrap();
        // A file that is there is not overwritten.
        let _ = fs::remove_file(place.path("out.csv"));
        let arguments =
            ["submit", "run/model.safetensors", "pets/test", "--sample", "sample.csv", "--out", "out.csv"];
        place.run(&[&arguments[..], more].concat());
        place.read("out.csv")
    };
    let is_class = |cell: &str| ["0", "1", "2"].contains(&cell);
    let out = submit("id_code;diagnosis\n19;0\ntest/18.png;0\n20.PNG;0\n", &[]);
    let rows: Vec<(&str, &str)> = out.lines().map(|line| line.split_once(';').unwrap()).collect();
    assert_eq!(rows.iter().map(|row| row.0).collect::<Vec<_>>(), ["id_code", "19", "test/18.png", "20.PNG"]);
    assert!(rows[0].1 == "diagnosis" && rows[1..].iter().all(|row| is_class(row.1)), "{out}");
    // A column that numbers the rows stays as it is, and tabs stay tabs.
    let out = submit("\tid\tlabel\n0\t20\t0\n1\t21\t2\n", &[]);
    assert!(
        out.starts_with("\tid\tlabel\n0\t20\t")
            && out.lines().skip(1).all(|line| is_class(line.rsplit('\t').next().unwrap())),
        "{out}"
    );
    let out = submit("id,2,0,1\n20,0,0,0\n", &["--values", "labels"]);
    assert!(out.starts_with("id,2,0,1\n20,") && out.matches(",1").count() == 2, "one of three: {out}");
    let sum: f64 = submit("id,2,0,1\n20,0,0,0\n", &[])
        .lines()
        .nth(1)
        .unwrap()
        .split(',')
        .skip(1)
        .map(|cell| cell.parse::<f64>().unwrap())
        .sum();
    assert!((sum - 1.0).abs() < 1e-4);

    // What is wrong is known before anything is predicted, and nothing is written.
    fs::remove_file(place.path("out.csv")).unwrap();
    let refused = |sample: &str, out: &str, part: &str| {
        fs::write(place.path("sample.csv"), sample).unwrap();
        let said = place.refusal(&[
            "submit",
            "run/model.safetensors",
            "pets/test",
            "--sample",
            "sample.csv",
            "--out",
            out,
        ]);
        assert!(said.contains(part), "{part}: {said}");
    };
    refused("id,label\n20,0\n", "pets", "pets: it is a folder");
    refused("id,label\n20,0\n", "sample.csv/out.csv", "sample.csv is a file");
    refused("id,label\n20,0\n99,0\n", "out.csv", "row 3: there is no photo for the id 99");
    refused("id,label\n20,7.5\n", "out.csv", "--values labels");
    refused("id,label\n20,\"0\n21,0\n", "out.csv", "row 2 opens a quote");
    assert!(!place.path("out.csv").exists());
}

#[test]
fn zeros_alone_do_not_say_what_is_submitted() {
    let place = place(6);
    table(&place, "pets/train.csv", "image_name,target", 6, |id, class| format!("{id:02},{}", class.min(1)));
    place.run(&train(&["pets", "--out", "run"]));
    fs::write(place.path("names.csv"), "image_name,target\n18,0\n19,1\n20,0\n").unwrap();
    fs::write(place.path("zeros.csv"), "image_name,target\n18,0\n19,0\n20,0\n").unwrap();
    let submit = |sample: &'static str, more: &[&'static str]| {
        let submit = ["submit", "run/model.safetensors", "pets/test", "--sample", sample, "--out", "-"];
        [&submit[..], more].concat()
    };
    let said = place.refusal(&submit("zeros.csv", &[]));
    for part in ["\"target\" holds 0 alone", "probabilities (of 1)", "--values probabilities"] {
        assert!(said.contains(part), "{part:?} is not in: {said}");
    }
    let column = |out: String| -> Vec<f64> {
        out.lines().skip(1).map(|line| line.rsplit(',').next().unwrap().parse().unwrap()).collect()
    };
    let probabilities = column(place.run(&submit("zeros.csv", &["--values", "probabilities"])));
    let classes: Vec<f64> = probabilities.iter().map(|value| value.round()).collect();
    assert!(probabilities.len() == 3 && probabilities != classes, "{probabilities:?}");
    // Both in the sample: these are classes.
    for (sample, values) in [
        ("names.csv", &[][..]),
        ("zeros.csv", &["--values", "indices"]),
        ("zeros.csv", &["--values", "labels"]),
    ] {
        assert_eq!(column(place.run(&submit(sample, values))), classes, "{sample} {values:?}");
    }
}

#[test]
fn masks_and_published_lists_beside_photos_are_seen() {
    let place = Place::with_photos(6);
    let mut lists = [String::new(), String::new()];
    for class in CLASSES {
        let folder = place.path(&format!("photos/{class}"));
        let mut names: Vec<_> = fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        for (number, name) in names.iter().enumerate() {
            fs::copy(samples().join("symbols/aries.png"), folder.join(name.replace(".png", "_mask.png")))
                .unwrap();
            lists[usize::from(number == 0)] += &format!("{class}/{name}\n");
        }
    }
    let inspect = |more: &[&'static str]| place.run(&[&["inspect", "photos", "--size", "32"], more].concat());
    let said = inspect(&[]);
    for part in [
        "18 images in 3 classes",
        "18 segmentation masks left out",
        "(to take them for photos: --class-folders)",
    ] {
        assert!(said.contains(part), "{part:?} is not in: {said}");
    }
    assert!(inspect(&["--class-folders"]).contains("36 images in 3 classes"));
    for (name, list) in ["train_list.txt", "test_list.txt"].iter().zip(&lists) {
        fs::write(place.path(&format!("photos/{name}")), list).unwrap();
    }
    let said = inspect(&[]);
    let part = "the split is that of the lists train_list.txt and test_list.txt: 15 photos to train on, 3 for testing";
    assert!(said.contains(part), "{said}");
    let quick = &QUICK[..10];
    let said = place.run(&[&["train", "photos", "--out", "run", "--valid", "0.4"], quick].concat());
    assert!(
        said.contains("lists train_list.txt and test_list.txt are ignored, except for test images"),
        "{said}"
    );
    assert!(said.contains("train 9, valid 6"), "{said}");
    // Lists of some photos are followed if they are given.
    fs::write(place.path("photos/train_list.txt"), lists[0].lines().skip(2).collect::<Vec<_>>().join("\n"))
        .unwrap();
    assert!(inspect(&[]).contains("name 16 of 18 photos, and are not used as the split"));
    let said = inspect(&["--split", "photos/test_list.txt"]);
    assert!(said.contains("2 of 18 images are in no part of the split, and are left out"), "{said}");
}

#[test]
fn several_labels_are_submitted_with_the_separator_of_the_table() {
    let place = place(6);
    let labels = |class: usize| ["No Finding", "Mass|Effusion", "Effusion"][class];
    table(&place, "pets/labels.csv", "Image Index,Finding Labels", 6, |id, class| {
        format!("{id:02}.png,{}", labels(class))
    });
    let said = place.run(&["inspect", "pets", "--size", "32"]);
    assert!(said.contains("read as multi-label, labels separated by \"|\": 6 of 18 rows"), "{said}");
    place.run(&train(&["pets", "--out", "run"]));
    let model = fs::read(place.path("run/model.safetensors")).unwrap();
    assert!(String::from_utf8_lossy(&model[..20_000]).contains("label_separator"), "recorded in the model");
    fs::write(
        place.path("sample.csv"),
        "Image Index,Finding Labels\n18.png,No Finding\n19.png,No Finding\n20.png,No Finding\n",
    )
    .unwrap();
    place.run(&[
        "submit",
        "run/model.safetensors",
        "pets/test",
        "--sample",
        "sample.csv",
        "--out",
        "out.csv",
    ]);
    let out = place.read("out.csv");
    for line in out.lines().skip(1) {
        let cell = line.split_once(',').unwrap().1;
        let known = ["", "Mass", "Effusion", "No Finding"];
        assert!(cell.split('|').all(|label| known.contains(&label)), "{out}");
    }
    assert!(out.contains('|'), "two epochs leave several labels: {out}");
}

#[test]
fn groups_are_kept_on_one_side_and_in_the_settings() {
    let place = place(8);
    table(&place, "pets/labels.csv", "image,patient,label", 8, |id, class| {
        format!("{id:02},p{},{}", id / 4, CLASSES[class])
    });
    let sides = |run: &str| -> Vec<(usize, String)> {
        let split = place.read(&format!("{run}/split.csv"));
        let row = |line: &str| {
            let (id, side) = line.split_once(',').unwrap();
            (id[..2].parse::<usize>().unwrap(), side.to_owned())
        };
        split.lines().skip(1).map(row).collect()
    };
    let check = |sides: &[(usize, String)], size: usize, most: usize| {
        assert_eq!(sides.len(), 24);
        for (id, side) in sides {
            assert!(
                sides.iter().all(|(other, there)| other / size != id / size || there == side),
                "{sides:?}"
            );
        }
        let held_out = sides.iter().filter(|(_, side)| side == "valid").count();
        assert!((3..=most).contains(&held_out), "{sides:?}");
    };
    place.run(&train(&["pets", "--group-column", "patient", "--out", "one"]));
    check(&sides("one"), 4, 8);
    assert!(place.read("one/config.toml").contains("[settings.groups]\ncolumn = \"patient\""));
    // The settings of a run are those of the next.
    place.run(&["train", "--config", "one/config.toml", "--quiet", "--out", "two"]);
    assert_eq!(sides("two"), sides("one"));
    place.run(&train(&["pets", "--group-pattern", "^([0-9])", "--fold", "1/3", "--out", "three"]));
    check(&sides("three"), 10, 10);
    let said = place.refusal(&train(&["pets", "--group-pattern", "^x", "--out", "four"]));
    assert!(said.contains("does not match 24 of 24 names; the first is 00.png"), "{said}");

    // Nobody has asked for the column, and its name says what it is.
    let said = place.run(&["inspect", "pets", "--size", "32"]);
    for part in ["the column \"patient\" says which images belong together", "--group-column \"patient\""] {
        assert!(said.contains(part), "{part:?} is not in: {said}");
    }
    // Where the data itself puts a group on both sides, inspection shows it.
    table(&place, "split.csv", "image,patient,label,split", 8, |id, class| {
        format!("{id:02},p{},{},{}", id / 4, CLASSES[class], if id % 8 == 0 { "valid" } else { "train" })
    });
    let said =
        place.run(&["inspect", "pets", "--labels", "split.csv", "--group-column", "patient", "--size", "32"]);
    for part in [
        "groups with images in training and held out: 3",
        "p0: 3 in train, 1 in valid",
        "gives the split: train, valid",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn flags_decide_what_is_not_clear_and_are_never_ignored() {
    let place = place(4);
    table(&place, "pets/labels.csv", "file,sex,age,animal", 4, |id, class| {
        format!("{id:02},{},{},{}", id % 2, 20 + id, CLASSES[class])
    });
    let said = place.refusal(&["inspect", "pets"]);
    assert!(said.contains("file, sex, age, animal") && said.contains("--label-column"), "{said}");
    let said = place.run(&["inspect", "pets", "--label-column", "animal", "--size", "32"]);
    assert!(said.contains("12 images in 3 classes"), "{said}");
    // Class folders have no columns, and a table among them is mentioned.
    let folders = Place::with_photos(4);
    let said = folders.refusal(&["inspect", "photos", "--label-column", "animal"]);
    assert!(said.contains("holds no table of labels"), "{said}");
    let said = folders.refusal(&["inspect", "photos", "--group-column", "animal"]);
    assert!(said.contains("class folders, which have no column of groups"), "{said}");
    fs::write(folders.path("photos/labels.csv"), "file,label\n").unwrap();
    let said = folders.run(&["inspect", "photos", "--size", "32"]);
    assert!(
        said.contains("labels.csv in photos is not read") && said.contains("12 images in 3 classes"),
        "{said}"
    );
    // Rows for files that are not there.
    table(&place, "more.csv", "file,label", 5, |id, class| format!("{id:02},{}", CLASSES[class]));
    let train = train(&["pets/train", "--labels", "more.csv", "--out", "run"]);
    let said = place.refusal(&train);
    assert!(said.contains("3 of 15 rows of more.csv (20 %)") && said.contains("--allow-missing"), "{said}");
    let output =
        place.ocelli(&["inspect", "pets/train", "--labels", "more.csv", "--size", "32"]).output().unwrap();
    assert!(output.status.success(), "inspection shows the rest: {}", stderr(&output));
    place.run(&[&train[..], &["--allow-missing"]].concat());
    let said =
        place.refusal(&["train", "--config", "run/config.toml", "--label-column", "x", "--out", "other"]);
    assert!(said.contains("need DATA beside --config"), "{said}");
}

#[test]
fn a_split_in_the_paths_of_a_table_is_followed_unless_another_is_asked_for() {
    let place = place(6);
    fs::rename(place.path("pets/test"), place.path("pets/valid")).unwrap();
    let rows = |class: &dyn Fn(usize) -> String| {
        let row = |id: usize| {
            let folder = if id < 18 { "train" } else { "valid" };
            format!("{folder}/{id:02}.png,{}\n", class(id % 3))
        };
        "path,label\n".to_owned() + &(0..24).map(row).collect::<String>()
    };
    fs::write(place.path("pets/labels.csv"), rows(&|class| CLASSES[class].to_owned())).unwrap();
    let train = |more: &[&str]| {
        place.run(&[&["train", "pets", "--labels", "pets/labels.csv"], more, &QUICK[..10]].concat())
    };
    let said = train(&["--out", "run"]);
    assert!(said.contains("train 18, valid 6 (by the folders of the table's files)"), "{said}");
    assert!(said.contains("train (18), valid (6)"), "{said}");
    let said = train(&["--out", "other", "--valid", "0.5"]);
    assert!(said.contains("train 12, valid 12 (split by Ocelli)"), "{said}");
    assert!(said.contains("(train (18), valid (6)) are ignored, except for test images"), "{said}");
    // Classes in another case are those of the model, as between folders of a split.
    fs::write(place.path("pets/upper.csv"), rows(&|class| CLASSES[class].to_uppercase())).unwrap();
    let evaluate = ["evaluate", "run/model.safetensors", "pets", "--labels", "pets/upper.csv"];
    let said = place.run(&evaluate);
    assert!(said.contains("6 images") || said.contains("of 6"), "{said}");
}

#[test]
fn a_table_that_is_not_read_is_named_where_folders_give_one_class() {
    let place = place(2);
    fs::remove_dir_all(place.path("pets/test")).unwrap();
    fs::rename(place.path("pets/train"), place.path("pets/images")).unwrap();
    for (table, advice) in [("labels.txt", "give it (--labels)"), ("labels.xlsx", "save it as a CSV file")] {
        fs::write(place.path(&format!("pets/{table}")), "00.png flags\n").unwrap();
        let said = place.refusal(&["inspect", "pets"]) + &place.refusal(&["train", "pets", "--out", "run"]);
        assert!(said.contains(table) && said.contains(advice) && said.contains("\"images\""), "{said}");
        fs::remove_file(place.path(&format!("pets/{table}"))).unwrap();
    }
}

#[test]
fn a_table_beside_folders_of_photos_is_read_or_asked_about() {
    // As HAM10000 is: photos in two folders that are no classes.
    let place = place(6);
    let (one, two) = ("pets/images_part_1", "pets/images_part_2");
    fs::remove_dir_all(place.path("pets/test")).unwrap();
    for folder in [one, two] {
        fs::create_dir_all(place.path(folder)).unwrap();
    }
    for id in 0..18 {
        let folder = if id < 9 { one } else { two };
        let (from, to) = (format!("pets/train/{id:02}.png"), format!("{folder}/{id:02}.png"));
        fs::rename(place.path(&from), place.path(&to)).unwrap();
    }
    fs::remove_dir(place.path("pets/train")).unwrap();
    table(&place, "pets/metadata.csv", "image_id,dx", 6, |id, class| format!("{id:02},{}", CLASSES[class]));
    let train = |more: &[&'static str]| {
        let quick = QUICK.iter().filter(|flag| **flag != "--quiet").copied();
        [&["train", "pets"], more].concat().into_iter().chain(quick).collect::<Vec<_>>()
    };
    let said = place.run(&train(&["--out", "run"]));
    for part in ["18 images in 3 classes: flags 6", "images_part_1, images_part_2", "--class-folders"] {
        assert!(said.contains(part), "{part:?} is not in: {said}");
    }
    assert!(place.read("run/photos.csv").contains("images_part_1/00.png,flags,"), "the table's labels");
    assert!(place.run(&["evaluate", "run", "pets", "--include-train"]).contains("18 images in 3 classes"));

    // Folders that may be classes are nobody's guess.
    fs::rename(place.path(one), place.path("pets/A")).unwrap();
    fs::rename(place.path(two), place.path("pets/B")).unwrap();
    for verb in [&["train", "pets"][..], &["lr-find", "pets"], &["evaluate", "run", "pets"]] {
        let said = place.refusal(verb);
        for part in ["metadata.csv", "(--labels metadata.csv)", "(--class-folders)", "18 of their 18 photos"]
        {
            assert!(said.contains(part), "{verb:?}: {part:?} is not in: {said}");
        }
    }
    let said = place.run(&["inspect", "pets"]);
    assert!(said.contains("2 classes") && said.contains("--class-folders"), "{said}");
    let said = place.run(&train(&["--labels", "metadata.csv", "--out", "by-table"]));
    assert!(said.contains("3 classes"), "{said}");
    let said = place.run(&train(&["--class-folders", "--out", "by-folders"]));
    assert!(said.contains("2 classes: A 9, B 9"), "{said}");
    // A run keeps to what it was told.
    let config = place.read("by-folders/config.toml");
    assert!(
        config.contains("class_folders = true") && !place.read("run/config.toml").contains("class_folders")
    );
    let again = place.run(&["train", "--config", "by-folders/config.toml", "--out", "again"]);
    assert!(again.contains("2 classes: A 9, B 9"), "{again}");
    let said = place.refusal(&["train", "pets", "--class-folders", "--labels", "metadata.csv"]);
    assert!(said.contains("cannot be used with"), "{said}");
}
