//! What can be said of photos and labels: tables, splits, balance, augmentation; and the verbs that look at them.

use std::fs;

use crate::common::{Place, rows, small, snapshot};

/// `photos/` without class folders, and a table with a cell of labels for each.
fn labelled(place: &Place, table: &str, cell: impl Fn(&str) -> String) {
    let mut lines = "picture,what,use\n".to_owned();
    fs::create_dir_all(place.path("all/images")).unwrap();
    for (number, (path, bytes)) in snapshot(&place.path("photos")).into_iter().enumerate() {
        let class = path.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
        fs::write(place.path(&format!("all/images/p{number}.png")), bytes).unwrap();
        let side = if number % 4 == 0 { "valid" } else { "train" };
        lines += &format!("p{number},{},{side}\n", cell(&class));
    }
    fs::write(place.path(table), lines).unwrap();
}

/// A PNG file of so many pixels.
fn image(width: u32, height: u32) -> Vec<u8> {
    let pixels = (0..height).flat_map(|y| (0..width).flat_map(move |x| [x as u8, y as u8, (x / 5) as u8]));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.png");
    ocelli::RgbImage::new(width, height, pixels.collect()).unwrap().write_png(&path).unwrap();
    fs::read(path).unwrap()
}

#[test]
fn a_table_of_labels_is_trained_on() {
    let place = Place::with_photos(8);
    labelled(&place, "all/labels.csv", str::to_owned);
    let common = ["--recipe", "quick", "--size", "32", "--head-epochs", "3", "--split-column", "use"];
    let said = place.run(&[&["train", "all", "--labels", "labels.csv"], &common[..]].concat());
    assert!(said.contains("24 images in 3 classes") && said.contains("train 18, valid 6"), "{said}");
    assert!(said.contains("lack \".png\"") && said.contains("as the table says"), "{said}");
    let again = place.run(&[&["train", "all/labels.csv"], &common[..]].concat());
    assert!(again.contains("from the cache"), "the same photos under another name: {again}");
    let history = |run: u32| rows(&place.read(&format!("runs/all-{run}/history.csv")));
    assert_eq!(history(1), history(2));

    let named =
        ["train", "all/labels.csv", "--id-column", "picture", "--label-column", "use", "--size", "32"];
    assert!(
        place
            .run(&[&named[..], &["--recipe", "quick", "--head-epochs", "1"]].concat())
            .contains("in 2 classes")
    );
    let said = place.refusal(&["train", "all/labels.csv", "--label-column", "kind"]);
    assert!(said.contains("labels.csv") && said.contains("kind") && said.contains("what"), "{said}");
    let said = place.refusal(&["train", "all", "--labels", "none.csv"]);
    assert!(said.contains("none.csv"), "{said}");
}

#[test]
fn several_labels_an_image_are_learned_and_predicted() {
    let place = Place::with_photos(24);
    labelled(&place, "all/tags.csv", |class| {
        match class {
            "flags" => "thing cloth",
            "food-and-drink" => "thing food",
            _ => "face",
        }
        .to_owned()
    });
    let usual = [
        "train",
        "all/tags.csv",
        "--task",
        "multi-label",
        "--recipe",
        "quick",
        "--size",
        "64",
        "--head-epochs",
        "8",
    ];
    let said = place.run(&[&usual[..], &["--out", "run"]].concat());
    assert!(said.contains("72 images in 4 classes"), "{said}");
    let history = place.read("run/history.csv");
    assert!(history.starts_with("phase,epoch,train_loss,valid_loss,accuracy,f1,"), "{history}");
    let f1: f64 = history.lines().last().unwrap().split(',').nth(5).unwrap().parse().unwrap();
    assert!(f1 > 0.75, "{history}");
    let flag = crate::common::samples().join("flags/rainbow-flag.png");
    let line = place.run(&["predict", "run/model.safetensors", flag.to_str().unwrap(), "--jsonl"]);
    let prediction: serde_json::Value = serde_json::from_str(&line).unwrap();
    let probability = |class: &str| prediction["probabilities"][class].as_f64().unwrap();
    let decided = prediction["classes"].as_array().unwrap();
    for class in ["cloth", "face", "food", "thing"] {
        assert_eq!(decided.iter().any(|name| name == class), probability(class) >= 0.5, "{line}");
    }
    assert!(probability("thing") > 0.5 && probability("face") < 0.5, "{line}");
    // A threshold for each label stands in the model, and decides.
    let said = place.run(&[&usual[..], &["--thresholds", "per-class", "--out", "each"]].concat());
    assert!(said.contains("one per class (tuned to"), "{said}");
    let file = fs::read(place.path("each/model.safetensors")).unwrap();
    let length = u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&file[8..8 + length]).unwrap();
    let config: serde_json::Value =
        serde_json::from_str(header["__metadata__"]["ocelli"].as_str().unwrap()).unwrap();
    let thresholds: Vec<f64> =
        config["thresholds"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect();
    assert!(thresholds.iter().any(|threshold| *threshold != thresholds[0]), "{thresholds:?}");
    let lines = place.run(&["predict", "each/model.safetensors", "all", "--jsonl"]);
    for line in lines.lines() {
        let prediction: serde_json::Value = serde_json::from_str(line).unwrap();
        let decided = prediction["classes"].as_array().unwrap();
        for (class, threshold) in ["cloth", "face", "food", "thing"].iter().zip(&thresholds) {
            let probability = prediction["probabilities"][class].as_f64().unwrap();
            assert_eq!(decided.iter().any(|name| name == class), probability >= *threshold, "{line}");
        }
    }
    // The same cells, said to be one label each.
    let single = [
        "train",
        "all/tags.csv",
        "--task",
        "single-label",
        "--recipe",
        "quick",
        "--size",
        "32",
        "--head-epochs",
        "1",
    ];
    assert!(place.run(&single).contains("in 3 classes"));
}

#[test]
fn what_is_held_out_can_be_said() {
    let place = Place::with_photos(9);
    let run = |out: &str, more: &[&str]| {
        let quick = small(&["--head-epochs", "2", "--out", out]);
        place.run(&[&quick[..], more].concat())
    };
    let held_out = |out: &str| -> Vec<String> {
        let split = place.read(&format!("{out}/split.csv"));
        split.lines().filter_map(|line| line.strip_suffix(",valid")).map(str::to_owned).collect()
    };
    let mut all = Vec::new();
    for fold in 1..=3 {
        let out = format!("fold-{fold}");
        run(&out, &["--fold", &format!("{fold}/3")]);
        assert_eq!(held_out(&out).len(), 9);
        all.extend(held_out(&out));
    }
    all.sort();
    all.dedup();
    assert_eq!(all.len(), 27, "every photo is held out once");

    run("again", &["--split", "fold-2/split.csv", "--seed", "7"]);
    assert_eq!(held_out("again"), held_out("fold-2"));

    let said = run("everything", &["--valid", "none"]);
    assert!(said.contains("train 27, valid 0") && said.contains("not evaluated"), "{said}");
    assert!(!said.contains("NaN"), "{said}");
    let history = place.read("everything/history.csv");
    let last: Vec<&str> = history.lines().last().unwrap().split(',').collect();
    assert_eq!(last[3..5], ["", ""], "{history}");

    for (arguments, wanted) in [
        (["--fold", "4/3"], "4/3"),
        (["--fold", "0/3"], "0/3"),
        (["--valid", "much"], "much"),
        (["--split", "no.csv"], "no.csv"),
    ] {
        let said = place.refusal(&[&["train", "photos"], &arguments[..]].concat());
        assert!(said.contains(wanted), "{said}");
    }
}

#[test]
fn augmentation_and_balance_change_training_and_repeat() {
    let place = Place::with_photos(12);
    let run_epochs = |epochs: &str, out: &str, more: &[&str]| {
        let usual = small(&["--head-epochs", "0", "--unfrozen-epochs", epochs]);
        place.run(&[&usual[..], &["--batch-size", "16", "--out", out], more].concat());
        rows(&place.read(&format!("{out}/history.csv")))
    };
    let run = |out: &str, more: &[&str]| run_epochs("1", out, more);
    let plain = run("plain", &[]);
    let augmented = run("augmented", &["--augment", "side-on"]);
    assert_ne!(plain, augmented);
    assert_ne!(augmented, run("more", &["--augment", "side-on,color-jitter,cutout"]));
    assert_eq!(augmented, run("augmented-again", &["--augment", "side-on", "--threads", "1"]));
    assert!(!place.path("cache/resized").exists(), "64-pixel photos are quickly decoded");
    let large = image(1200, 900);
    fs::write(place.path("photos/flags/large.png"), large).unwrap();
    let resized = run_epochs("2", "large", &["--augment", "side-on", "--valid", "none"]);
    assert!(place.path("cache/resized").is_dir(), "a large photo is kept at the size that is needed");
    // Resized copies that are gone are made again.
    fs::remove_dir_all(place.path("cache/resized")).unwrap();
    assert_eq!(resized, run_epochs("2", "large-again", &["--augment", "side-on", "--valid", "none"]));
    fs::remove_file(place.path("photos/flags/large.png")).unwrap();
    for photo in &snapshot(&place.path("photos/flags"))[4..] {
        fs::remove_file(&photo.0).unwrap();
    }
    assert_ne!(run("rare", &[]), run("balanced", &["--balanced-sampling"]));
}

#[test]
fn a_data_set_is_inspected() {
    let place = Place::with_photos(8);
    let photos = snapshot(&place.path("photos"));
    let copy = place.path("photos/food-and-drink/copy-of-a-flag.png");
    fs::write(copy, &photos[0].1).unwrap();
    fs::write(place.path("photos/flags/broken.png"), &photos[1].1[..200]).unwrap();
    fs::write(place.path("photos/flags/notes.txt"), "no image").unwrap();
    let before = snapshot(&place.path("photos"));
    let said = place.run(&["inspect", "photos"]);
    assert!(said.contains("26 images in 3 classes"), "{said}");
    assert!(said.contains("cannot be decoded") && said.contains("broken.png"), "{said}");
    assert!(said.contains("with different labels") && said.contains("copy-of-a-flag.png"), "{said}");
    assert!(said.contains("notes.txt"), "{said}");
    assert_eq!(before, snapshot(&place.path("photos")), "nothing is changed");

    let said = place.run(&["inspect", "photos", "--json", "--html", "pages/photos.html"]);
    let found: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(found["inspection"]["images"].as_array().unwrap().len(), 26);
    assert_eq!(found["inspection"]["duplicates"].as_array().unwrap().len(), 1);
    let titles: Vec<&str> =
        found["findings"].as_array().unwrap().iter().map(|f| f["title"].as_str().unwrap()).collect();
    assert!(titles.contains(&"cannot be decoded"), "{titles:?}");
    let page = place.read("pages/photos.html");
    assert!(page.starts_with("<!doctype html>") && page.contains("copy-of-a-flag.png"));
    assert_eq!(before, snapshot(&place.path("photos")), "nothing is changed");
    assert!(place.refusal(&["inspect", "nowhere"]).contains("nowhere"));
}

#[test]
fn a_training_folder_with_a_test_folder_is_split() {
    let place = Place::with_photos(8);
    fs::rename(place.path("photos"), place.path("train")).unwrap();
    fs::create_dir_all(place.path("photos/test/flags")).unwrap();
    fs::rename(place.path("train"), place.path("photos/train")).unwrap();
    for (number, (_, bytes)) in snapshot(&place.path("photos/train/flags")).into_iter().take(3).enumerate() {
        fs::write(place.path(&format!("photos/test/flags/{number}.png")), bytes).unwrap();
    }
    let quick = small(&["--head-epochs", "1"]);
    let said = place.run(&[&quick[..], &["--out", "run", "--balanced-sampling"]].concat());
    assert!(said.contains("valid 6 (split by Ocelli)"), "{said}");
    assert!(
        said.contains("3 images are byte for byte in both the training set and the validation or test set"),
        "{said}"
    );
    assert!(said.contains("balanced sampling: each of 6 images"), "{said}");
    let split = place.read("run/split.csv");
    assert_eq!(split.lines().filter(|line| line.ends_with(",test")).count(), 3, "{split}");
    assert!(split.lines().all(|line| line.ends_with(",test") == line.starts_with("test/")), "{split}");
    let said = place.run(&["inspect", "photos", "--fold", "2/4"]);
    assert!(said.contains("27 images in 3 classes"), "{said}");
    let said = place.refusal(&["train", "photos", "--max-pixels", "100", "--out", "none"]);
    assert!(said.contains("more than the limit of 100"), "{said}");
    let predict = ["predict", "run/model.safetensors", "photos/train/flags", "--max-pixels", "100"];
    let output = place.ocelli(&predict).output().unwrap();
    let said = crate::common::stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("more than the limit of 100"), "{said}");
}

#[test]
fn an_augmentation_is_shown() {
    let place = Place::with_photos(1);
    let (photo, _) = snapshot(&place.path("photos")).remove(0);
    let photo = photo.to_str().unwrap();
    place.run(&["augment", photo, "--size", "48", "--columns", "3", "--rows", "2"]);
    let bytes = fs::read(place.path("augmented.png")).unwrap();
    assert!(bytes.starts_with(b"\x89PNG"));
    // IHDR: three pictures of 48 and four gaps of 4 across, two and three down.
    assert_eq!(bytes[16..24], [0, 0, 0, 160, 0, 0, 0, 108]);
    assert!(place.refusal(&["augment", "none.jpg"]).contains("none.jpg"));
    assert!(place.refusal(&["augment", photo, "--size", "0"]).contains('0'));
}

#[test]
fn copies_of_training_photos_among_those_for_validation_are_told() {
    let place = Place::with_photos(10);
    fs::rename(place.path("photos"), place.path("train")).unwrap();
    fs::create_dir_all(place.path("photos")).unwrap();
    fs::rename(place.path("train"), place.path("photos/train")).unwrap();
    for class in ["flags", "food-and-drink", "smileys-and-emotion"] {
        let of_train = place.path(&format!("photos/train/{class}"));
        let of_valid = place.path(&format!("photos/valid/{class}"));
        fs::create_dir_all(&of_valid).unwrap();
        for (number, (path, mut bytes)) in snapshot(&of_train).into_iter().take(4).enumerate() {
            // Two are moved, and two are saved anew: the same pixels in other bytes.
            match number < 2 {
                true => fs::remove_file(path).unwrap(),
                false => bytes.push(0),
            }
            fs::write(of_valid.join(format!("{number}.png")), bytes).unwrap();
        }
    }
    let linear = ["train", "photos", "--recipe", "linear", "--size", "64", "--out"];
    let notices = |run: &str| {
        let output = place.ocelli(&[&linear[..], &[run]].concat()).output().unwrap();
        assert!(output.status.success(), "{}", crate::common::stderr(&output));
        crate::common::stderr(&output)
    };
    let said = notices("run");
    assert!(said.contains("at least 6 validation images look much like training images"), "{said}");
    assert!(said.contains("valid/flags/2.png, which looks like train/flags/"), "{said}");
    assert!(!said.contains("byte for byte"), "{said}");
    // And not where there are none.
    for class in ["flags", "food-and-drink", "smileys-and-emotion"] {
        (2..4).for_each(|n| fs::remove_file(place.path(&format!("photos/valid/{class}/{n}.png"))).unwrap());
    }
    assert!(!notices("apart").contains("look like"));
}

#[test]
fn evaluation_tells_of_training_photos_that_are_saved_anew() {
    let place = Place::with_photos(8);
    // A table names photos without their endings.
    let mut table = "id,label\n".to_owned();
    for (path, _) in snapshot(&place.path("photos")) {
        let [photo, class] = [path.file_stem(), path.parent().and_then(|class| class.file_name())];
        table += &format!("{},{}\n", photo.unwrap().display(), class.unwrap().display());
    }
    fs::write(place.path("table.csv"), table).unwrap();
    place.run(&["train", "photos", "--recipe", "linear", "--size", "64", "--out", "run"]);
    place.run(&[
        "train",
        "photos",
        "--labels",
        "table.csv",
        "--recipe",
        "linear",
        "--size",
        "64",
        "--out",
        "of-table",
    ]);
    for run in ["run", "of-table"] {
        let split = place.read(&format!("{run}/split.csv"));
        let trained: Vec<&str> = split.lines().filter_map(|row| row.strip_suffix(",train")).collect();
        let folder = format!("anew-{run}");
        for (path, mut bytes) in snapshot(&place.path("photos")) {
            let id = path.strip_prefix(place.path("photos")).unwrap();
            let stem = path.file_stem().unwrap().to_str().unwrap();
            if trained.contains(&id.to_str().unwrap()) || trained.contains(&stem) {
                let to = place.path(&folder).join(id);
                fs::create_dir_all(to.parent().unwrap()).unwrap();
                bytes.push(0);
                fs::write(to, bytes).unwrap();
            }
        }
        let evaluated =
            |data: &str| crate::common::stderr(&place.ocelli(&["evaluate", run, data]).output().unwrap());
        let said = evaluated(&folder);
        let expected = format!("at least {} images look much like training images", trained.len());
        assert!(said.contains(&expected), "{run}: {said}");
        // Images that were held out are none of them.
        if run == "run" {
            let own = evaluated("photos");
            assert!(!own.contains("look much like") && own.contains("left out"), "{own}");
        }
    }
}

#[test]
fn folders_of_patients_within_classes_are_told_where_the_split_cuts_them() {
    let place = Place::with_photos(12);
    for class in ["flags", "food-and-drink", "smileys-and-emotion"] {
        for (number, (path, _)) in snapshot(&place.path(&format!("photos/{class}"))).into_iter().enumerate() {
            let inner = place.path(&format!("photos/{class}/patient-{class}-{}", number / 3));
            fs::create_dir_all(&inner).unwrap();
            fs::rename(&path, inner.join(format!("{}.png", number % 3))).unwrap();
        }
    }
    let said = |more: &[&str]| {
        let train = ["train", "photos", "--recipe", "linear", "--size", "32"];
        let output = place.ocelli(&[&train[..], more].concat()).output().unwrap();
        assert!(output.status.success(), "{}", crate::common::stderr(&output));
        String::from_utf8_lossy(&output.stdout).into_owned() + &crate::common::stderr(&output)
    };
    for more in [&[][..], &["--folds", "3"]] {
        let text = said(more);
        assert!(text.contains("of one patient, animal or video, metrics are too good"), "{text}");
        assert!(text.contains("--group-pattern '(?:^|/)([^/]+)/[^/]+$'"), "{text}");
    }
    let text = said(&["--group-pattern", "(?:^|/)([^/]+)/[^/]+$"]);
    assert!(!text.contains("metrics are too good"), "{text}");
    assert!(text.contains("no group is in both the training and the validation set"), "{text}");
}

#[test]
fn a_table_with_the_same_labels_for_all_images_is_refused() {
    let place = Place::with_photos(4);
    let mut table = "file,labels\n".to_owned();
    for (path, _) in snapshot(&place.path("photos")) {
        table += &format!("{},a|b\n", path.strip_prefix(place.path("photos")).unwrap().display());
    }
    fs::write(place.path("table.csv"), table).unwrap();
    let refused = place.refusal(&["train", "photos", "--labels", "table.csv", "--task", "multi-label"]);
    assert!(refused.contains("the same labels, a, b") && refused.contains("--label-column"), "{refused}");
}

#[test]
fn cross_validation_tells_of_copies_in_several_folds_once() {
    let place = Place::with_photos(9);
    for (path, mut bytes) in snapshot(&place.path("photos")) {
        bytes.push(0);
        fs::write(path.with_extension("copy.png"), bytes).unwrap();
    }
    let train = ["train", "photos", "--folds", "3", "--recipe", "linear", "--size", "64"];
    let output = place.ocelli(&train).output().unwrap();
    let said = crate::common::stderr(&output);
    assert!(output.status.success(), "{said}");
    assert_eq!(said.matches("in fold 1 of 3 at least").count(), 1, "{said}");
    assert_eq!(said.matches("look much like").count(), 1, "{said}");
}
