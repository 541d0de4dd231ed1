//! Folders that may be classes or parts of a split, wrappers, names of all kinds, and photos that are lost.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::common::{fill, noticed, png, write};
use ocelli_data::source::folder::FolderOptions;
use ocelli_data::source::{folder, list};
use ocelli_data::{Classes, Dataset, RgbImage, Skipped, Split, Target, class_losses, picture};
use proptest::prelude::*;
use tempfile::TempDir;

fn place() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn read(root: &TempDir) -> Dataset {
    folder::read(root.path()).unwrap()
}

fn sides(data: &Dataset) -> (usize, usize, usize) {
    let split = data.split.as_ref().unwrap();
    (split.train.len(), split.valid.len(), split.test.len())
}

#[track_caller]
fn refused(root: &TempDir, parts: &[&str]) {
    crate::common::refused(folder::read(root.path()).map(|data| data.items.classes), parts);
}

const PETS: [&str; 2] = ["cats", "dogs"];

#[test]
fn the_words_of_the_field_are_known_in_any_case() {
    for (train, valid, test) in [
        ("Training", "Validation", "Testing"),
        ("training_set", "validation-set", "test set"),
        ("TRAIN", "VAL", "TEST"),
        ("trn", "dev", "tst"),
        ("seg_train", "seg_val", "seg_test"),
        ("train_images", "valid_images", "test1"),
        ("training", "validation", "evaluation"),
        ("traindata", "valset", "Holdout"),
    ] {
        let root = place();
        fill(root.path(), &format!("{train}/"), &PETS, 3);
        fill(root.path(), &format!("{test}/"), &PETS, 1);
        let data = read(&root);
        assert_eq!(
            (data.items.classes.names(), sides(&data)),
            (&PETS.map(str::to_owned)[..], (6, 0, 2)),
            "{train}"
        );
        fill(root.path(), &format!("{valid}/"), &PETS, 2);
        let data = read(&root);
        assert_eq!((data.items.classes.len(), sides(&data)), (2, (6, 4, 2)), "{valid}");
        // Whatever else is there is left out, with a notice.
        fill(root.path(), "", &["old", "sample"], 2);
        write(root.path(), "models/a.h5", "weights");
        let data = read(&root);
        assert_eq!(sides(&data), (6, 4, 2));
        noticed(&data, &["left out", "old (2 images)", "sample (2 images)"]);
    }
}

#[test]
fn two_folders_of_one_role_are_refused_by_name() {
    for (first, second) in [("train", "Training"), ("val", "valid"), ("test", "test_set")] {
        let root = place();
        for side in ["train", first, second] {
            fill(root.path(), &format!("{side}/"), &PETS, 1);
        }
        refused(&root, &[first, second, "both hold"]);
        // An empty one does not count.
        std::fs::remove_dir_all(root.path().join(second)).unwrap();
        std::fs::create_dir(root.path().join(second)).unwrap();
        read(&root);
    }
}

#[test]
fn classes_that_look_like_a_split_are_refused() {
    let root = place();
    fill(root.path(), "", &["good", "test"], 2);
    refused(&root, &["test", "good", "/train", "rename"]);
    let (data, problem) = folder::look(root.path()).unwrap();
    assert_eq!(data.items.classes.names(), ["good", "test"]);
    assert!(problem.is_some());

    let root = place();
    fill(root.path(), "", &PETS, 2);
    fill(root.path(), "Validation/", &PETS, 2);
    refused(&root, &["Validation", "cats, dogs"]);

    let root = place();
    fill(root.path(), "Training/", &PETS, 2);
    fill(root.path(), "Whatever/", &PETS, 2);
    refused(&root, &["Training", "Whatever", "cats, dogs", "`class_folders`"]);

    // Names of people, of which some are words as well.
    let root = place();
    fill(root.path(), "", &["dev", "eva", "holdout"], 2);
    assert_eq!(read(&root).items.classes.len(), 3);
    // What a train of photos may be.
    let root = place();
    fill(root.path(), "", &["Train", "bus"], 2);
    assert_eq!(read(&root).items.classes.names(), ["Train", "bus"]);
}

#[test]
fn classes_that_hold_the_same_folders_are_refused() {
    let root = place();
    fill(root.path(), "2019/", &PETS, 2);
    fill(root.path(), "2020/", &["cats", "dogs", "mice"], 2);
    refused(&root, &["2019, 2020", "cats, dogs", "not clear"]);
    assert_eq!(folder::look(root.path()).unwrap().0.items.classes.names(), ["2019", "2020"]);

    let root = place();
    fill(root.path(), "cats/", &["train", "test"], 2);
    fill(root.path(), "dogs/", &["train", "test"], 2);
    refused(&root, &["cats, dogs", "test, train", "turn it around"]);

    // Patients, breeds, rolls of film: folders inside of classes, each their own.
    let root = place();
    fill(root.path(), "ill/", &["p1", "p2", "p3"], 1);
    fill(root.path(), "well/", &["p4", "p5", "p1"], 1);
    assert_eq!(read(&root).items.classes.names(), ["ill", "well"]);
    write(root.path(), "ill/direct.png", png(900));
    assert_eq!(read(&root).items.classes.names(), ["ill", "well"]);
}

#[test]
fn a_folder_that_holds_but_another_is_entered() {
    let root = place();
    fill(root.path(), "archive/photos/photos/", &PETS, 2);
    write(root.path(), "__MACOSX/photos/cats/._0.png", "x");
    write(root.path(), "archive/README.txt", "from a zip file");
    write(root.path(), "archive/photos/labels.csv", "x");
    let data = read(&root);
    assert_eq!(data.items.root, root.path().join("archive/photos/photos"));
    assert_eq!(data.items[0].id, "cats/0.png");
    noticed(&data, &["archive/photos/photos is all that", "__MACOSX"]);

    // Inside of the folders of a split, too, as Kaggle's archives have it.
    let root = place();
    fill(root.path(), "training_set/training_set/", &PETS, 2);
    fill(root.path(), "test_set/test_set/", &PETS, 1);
    let data = read(&root);
    assert_eq!((data.items.classes.names(), sides(&data)), (&PETS.map(str::to_owned)[..], (4, 0, 2)));
    assert!(data.items.items.iter().all(|item| item.target != Target::Unlabelled));

    // A single class is none.
    let root = place();
    fill(root.path(), "", &["cats"], 2);
    refused(&root, &["single class \"cats\""]);
    // Nor is a single class to measure on a wrapper.
    let root = place();
    fill(root.path(), "train/", &PETS, 2);
    fill(root.path(), "valid/cats/", &["kittens", "old"], 2);
    assert_eq!(sides(&read(&root)), (4, 4, 0));
}

#[test]
fn a_class_whose_photos_are_all_unreadable_is_a_loss() {
    let lost = |files: &[(&str, &[u8])], class: &str| {
        let root = place();
        fill(root.path(), "", &PETS, 4);
        files.iter().for_each(|(path, bytes)| write(root.path(), path, bytes));
        let data = read(&root);
        let loss = data.losses.iter().find(|loss| loss.class == class);
        (loss.cloned(), data)
    };
    let unknown: &[u8] = b"\0\x01\x02\x03 of some kind";
    for name in ["1.mp4", "1.dcm", "1.nii.gz", "1.zip", "1", "1.jpg", "1.npy"] {
        let (loss, data) = lost(&[(&format!("mice/{name}"), unknown)], "mice");
        let loss = loss.unwrap_or_else(|| panic!("{name}: {:?}", data.skipped));
        assert!(loss.is_serious() && loss.usable == 0, "{name}");
        let error = loss.error().to_string();
        assert!(error.contains("\"mice\"") && error.contains(name), "{error}");
    }
    // What is no class, with a word.
    for name in ["labels.csv", "README.txt", "README", "data.json", "._x.jpg", "Thumbs.db"] {
        let (loss, data) = lost(&[(&format!("notes/{name}"), b"text")], "notes");
        assert_eq!(loss, None, "{name}");
        noticed(&data, &["notes holds no images"]);
    }
    // A few films are no loss of photos; nor is the camera's raw file beside its JPEG.
    let (loss, _) = lost(&[("cats/film.mp4", unknown), ("cats/0.heif", unknown)], "cats");
    assert_eq!(loss, None);
    let (loss, _) = lost(&[("cats/0.jpg", b"")], "cats");
    assert_eq!(loss, None, "0.png is the same photo");
    let (loss, _) = lost(&[("cats/9.jpg", b"")], "cats");
    let loss = loss.unwrap();
    assert!(loss.is_serious() && loss.error().to_string().contains("1 of 5"), "{}", loss.error());
    // A tenth is borne.
    let root = place();
    fill(root.path(), "", &PETS, 9);
    write(root.path(), "cats/bad.jpg", "");
    assert!(!read(&root).losses[0].is_serious());
    write(root.path(), "cats/worse.jpg", "");
    let error = read(&root).losses[0].error().to_string();
    assert!(error.contains("2 of 11") && error.contains("bad.jpg and 1 more: named .jpg"), "{error}");
    #[cfg(unix)]
    {
        std::fs::create_dir(root.path().join("mice")).unwrap();
        std::os::unix::fs::symlink("gone", root.path().join("mice/1.jpg")).unwrap();
        let losses = read(&root).losses;
        assert!(losses.iter().any(|loss| loss.class == "mice" && loss.usable == 0), "{losses:?}");
    }
}

#[test]
fn losses_are_seen_on_each_side_of_a_split_and_later() {
    let root = place();
    for side in ["train", "valid", "test"] {
        fill(root.path(), &format!("{side}/"), &["cats", "dogs", "mice"], 3);
    }
    for side in ["valid", "test"] {
        std::fs::remove_dir_all(root.path().join(side).join("mice")).unwrap();
        write(root.path(), &format!("{side}/mice/1.jpg"), "");
    }
    let data = read(&root);
    let folders: Vec<&Path> =
        data.losses.iter().map(|loss| loss.folder.strip_prefix(root.path()).unwrap()).collect();
    assert_eq!(folders, [Path::new("valid/mice"), Path::new("test/mice")]);
    assert!(data.losses.iter().all(|loss| loss.is_serious()));

    // What decoding finds adds up with what was lost before, by class.
    let root = place();
    fill(root.path(), "", &PETS, 18);
    write(root.path(), "cats/empty.jpg", "");
    let data = read(&root);
    let (cats, all) = (0..18, (0..data.items.len()).collect::<Vec<_>>());
    let bad = |items: std::ops::Range<usize>| -> BTreeMap<usize, Skipped> {
        items.map(|item| (item, Skipped::image(&data.items[item].path, "damaged"))).collect()
    };
    let of = |items| class_losses(&data.items, &all, &data.losses, &bad(items));
    assert!(of(0..0).is_empty());
    let [loss] = &of(cats.start..1)[..] else { panic!() };
    assert_eq!((loss.class.as_str(), loss.usable, loss.lost.len(), loss.is_serious()), ("cats", 17, 2, true));
    assert!(!of(18..19)[0].is_serious() && of(18..20)[0].is_serious());
}

#[cfg(unix)]
#[test]
fn names_are_bytes() {
    use std::os::unix::ffi::OsStrExt;
    let name = |bytes: &[u8]| PathBuf::from(std::ffi::OsStr::from_bytes(bytes));
    let root = place();
    fill(root.path(), "", &PETS, 2);
    let latin = root.path().join(name(b"K\xe4fer"));
    std::fs::create_dir(&latin).unwrap();
    for (number, file) in [&b"\xe4.png"[..], b"\xf6.png", b"\\xE4.png", b"plain.png"].iter().enumerate() {
        std::fs::write(latin.join(name(file)), png(700 + number as u32)).unwrap();
    }
    let data = read(&root);
    assert_eq!(data.items.classes.names(), ["K\\xE4fer", "cats", "dogs"]);
    let ids: BTreeSet<&str> = data.items.items.iter().map(|item| item.id.as_str()).collect();
    assert_eq!(ids.len(), 8);
    assert!(ids.contains("K\\xE4fer/\\xE4.png") && ids.contains("K\\xE4fer/\\x5CxE4.png"), "{ids:?}");
    assert!(data.items.items.iter().all(|item| item.path.is_file()));
    // Splits find the same files again.
    let split = Split { train: (0..5).collect(), valid: (5..8).collect(), test: Vec::new() };
    split.write(&data.items, root.path().join("split.csv")).unwrap();
    assert_eq!(Split::read(&data.items, root.path().join("split.csv")).unwrap(), split);
    assert_eq!(list::read([&latin]).unwrap().items.len(), 4);
    // What is left out is in the JSON as well.
    std::fs::write(latin.join(name(b"\xfc.jpg")), "").unwrap();
    assert!(serde_json::to_string(&read(&root).skipped).unwrap().contains("\\\\xFC.jpg"));
}

#[test]
fn names_that_look_the_same_are_never_two_classes() {
    for (first, second) in [
        ("Caf\u{e9}", "Cafe\u{301}"),
        ("cats", "cats "),
        ("cats", "ca\u{200b}ts"),
        ("red fox", "red\u{a0}fox"),
        ("\u{feff}cats", "cats"),
    ] {
        let root = place();
        fill(root.path(), "", &[first, second, "other"], 2);
        refused(&root, &["look the same", "2 images", "rename one"]);
    }
    let root = place();
    fill(root.path(), "", &["Cats", "cats"], 2);
    noticed(&read(&root), &["Cats and cats", "upper and lower case"]);

    // Parts that were made on different systems are of the same class.
    let root = place();
    fill(root.path(), "train/", &["Cafe\u{301}", "Dogs"], 2);
    fill(root.path(), "valid/", &["Caf\u{e9}", "dogs "], 2);
    fill(root.path(), "test/", &["Caf\u{e9}", "DOGS"], 2);
    let data = read(&root);
    assert_eq!(data.items.classes.names(), ["Caf\u{e9}", "Dogs"]);
    let split = data.split.as_ref().unwrap();
    assert_eq!(data.items.class_counts(&split.valid), [2, 2]);
    assert_eq!(data.items.class_counts(&split.test), [2, 2]);
    noticed(&data, &["dogs  is taken for the class \"Dogs\""]);
}

#[test]
fn what_systems_and_programs_leave_behind_is_no_photo() {
    let root = place();
    fill(root.path(), "", &PETS, 2);
    for folder in [
        "@eaDir",
        "lost+found",
        "$RECYCLE.BIN",
        "System Volume Information",
        ".ipynb_checkpoints",
        "__MACOSX",
        ".@__thumb",
        ".thumbnails",
        "#recycle",
        "@Recycle",
        "cats/@eaDir",
        "cats/.AppleDouble",
        "dogs/THMBNL",
        "$recycle.bin/deep",
    ] {
        write(root.path(), &format!("{folder}/1.png"), png(800));
    }
    for file in ["cats/._0.png", "cats/Thumbs.db", "dogs/MVI_1.THM", "dogs/Desktop.ini"] {
        write(root.path(), file, png(801));
    }
    let data = read(&root);
    assert_eq!(data.items.classes.names(), PETS);
    assert_eq!(data.items.len(), 4);
    assert!(data.losses.is_empty());
    noticed(&data, &["2 × @eaDir (thumbnails of a Synology NAS)"]);
    assert_eq!(list::read([root.path()]).unwrap().items.len(), 4);
    // Who names one means it.
    assert_eq!(list::read([root.path().join("cats/@eaDir")]).unwrap().items.len(), 1);
}

#[test]
fn what_ocelli_made_is_no_class() {
    let root = place();
    fill(root.path(), "", &PETS, 2);
    fill(root.path(), "runs/photos-1/", &["pictures"], 2);
    write(root.path(), "runs/photos-1/config.toml", "version = \"1\"");
    write(root.path(), "runs/photos-1/split.csv", "id,split\n");
    fill(root.path(), "evaluations/new-1/results/", &["x"], 1);
    write(root.path(), "evaluations/new-1/report.html", "");
    write(root.path(), "evaluations/new-1/predictions.csv", "");
    fill(root.path(), "cache/", &["images"], 1);
    write(
        root.path(),
        "cache/CACHEDIR.TAG",
        "Signature: 8a477f597d28d172789f06886806bc55\n# of some program\n",
    );
    let drawing = RgbImage::new(2, 2, vec![7; 12]).unwrap();
    for path in ["explained/a.png", "cats/augmented.png", "lr_find.png"] {
        picture::write_drawing(&drawing, root.path().join(path)).unwrap();
    }
    let data = read(&root);
    assert_eq!(data.items.classes.names(), PETS);
    assert_eq!(data.items.len(), 4);
    assert!(data.losses.is_empty(), "{:?}", data.losses);
    noticed(&data, &["photos-1 (a run of Ocelli's)", "new-1 (an evaluation of Ocelli's)", "cache"]);
    // A picture without the note is a photo like others.
    drawing.write_png(root.path().join("cats/photo.png")).unwrap();
    assert_eq!(read(&root).items.len(), 5);
}

#[test]
fn a_model_is_measured_on_one_class_and_on_parts() {
    let known = Classes::new(["cats", "dogs", "test"]);
    let of = |root: &TempDir, inside: &str| folder::read_known(root.path().join(inside), &known);
    let root = place();
    fill(root.path(), "", &["cats"], 2);
    let data = of(&root, "").unwrap();
    assert_eq!((data.items.len(), data.items.classes.names()), (2, &["cats".to_owned()][..]));
    // The folder of the class itself, called as it is.
    let data = of(&root, "cats").unwrap();
    assert_eq!((data.items.len(), data.items[0].target.clone()), (2, Target::Class(0)));
    noticed(&data, &["taken for the class \"cats\""]);
    assert!(folder::read_known(root.path().join("cats"), &Classes::new(["mice"])).is_err());
    // A class that is called as a part of a split is the class.
    fill(root.path(), "", &["test"], 2);
    assert_eq!(of(&root, "").unwrap().split, None);

    let root = place();
    fill(root.path(), "Testing/", &PETS, 2);
    assert_eq!(sides(&of(&root, "").unwrap()), (0, 0, 4));
    fill(root.path(), "Training/", &PETS, 3);
    assert_eq!(sides(&of(&root, "").unwrap()), (6, 0, 4));
    // What the model does not know is still there, to be refused by name.
    fill(root.path(), "Training/", &["mice"], 1);
    assert!(of(&root, "").unwrap().items.classes.index("mice").is_some());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]

    /// Whatever a folder is like: each file in it is an item, or it is listed why it is none, itself or its folder.
    #[test]
    fn no_file_vanishes(files in prop::collection::btree_set(
        (prop::collection::vec(prop::sample::select(vec![
            "cats", "dogs", "train", "Test", "valid", "val", ".hidden", "__MACOSX", "runs", "a b", "Cats", "mice",
        ]), 0..4), prop::sample::select(vec!["a.png", "b.png", "bad.jpg", "c.txt", "d.mp4", ".e.png", "Thumbs.db"])),
        1..14,
    )) {
        let root = place();
        let mut written = Vec::new();
        for (number, (folders, name)) in files.iter().enumerate() {
            let path = folders.iter().copied().chain([*name]).collect::<Vec<_>>().join("/");
            let bytes = if name.ends_with(".png") { png(number as u32) } else { b"\0 none".to_vec() };
            write(root.path(), &path, bytes);
            written.push(root.path().join(path));
        }
        let known = Classes::new(["cats", "dogs", "mice"]);
        let seen = [folder::look(root.path()).map(|(data, _)| data), folder::read_known(root.path(), &known)];
        for data in seen.into_iter().flatten() {
            let items: BTreeSet<&Path> = data.items.items.iter().map(|item| item.path.as_path()).collect();
            prop_assert_eq!(items.len(), data.items.len());
            for path in &written {
                let is_listed = data.skipped.iter().any(|skipped| path.starts_with(&skipped.path));
                prop_assert!(items.contains(path.as_path()) != is_listed, "{:?} of {:?}", path, data);
            }
            if let Some(split) = &data.split {
                let mut all = [&split.train[..], &split.valid, &split.test].concat();
                all.sort_unstable();
                prop_assert_eq!(all, (0..data.items.len()).collect::<Vec<_>>());
            }
        }
    }
}

#[test]
fn folders_that_are_merged_into_a_class_are_named() {
    let root = place();
    fill(root.path(), "animal/", &["cat", "dog"], 2);
    fill(root.path(), "vehicle/", &["bus", "car"], 2);
    let data = read(&root);
    assert_eq!(data.items.classes.names(), ["animal", "vehicle"]);
    noticed(&data, &["animal (cat 2, dog 2), vehicle (bus 2, car 2)", "move them up, or give a table"]);
    // Beside photos of the class, they are warned of.
    let root = place();
    fill(root.path(), "", &PETS, 2);
    write(root.path(), "cats/kittens/0.png", png(77));
    write(root.path(), "dogs/rejected/2024/0.png", png(78));
    let data = read(&root);
    assert_eq!(data.items.len(), 6);
    noticed(&data, &["warning: images in folders", "cats (kittens 1), dogs (rejected/2024 1)"]);
    // A folder that is all of its class says nothing else than the class does.
    let root = place();
    fill(root.path(), "cats/", &["images"], 2);
    fill(root.path(), "dogs/", &["images"], 2);
    assert_eq!(read(&root).notices, Vec::<String>::new());
}

#[test]
fn a_folder_of_another_name_inside_of_a_class_is_refused() {
    for (inner, parts) in [
        (
            "dogs/cats/0.png",
            ["dogs/cats (1 image)", "the folder of the class \"dogs\"", "the class \"cats\" beside it"],
        ),
        ("dogs/old/Cats/0.png", ["dogs/old/Cats (1 image)", "of the class \"dogs\"", "the class \"cats\""]),
        (
            "cats/valid/0.png",
            ["cats/valid (1 image)", "the folder of the class \"cats\"", "a part of a split"],
        ),
    ] {
        let root = place();
        fill(root.path(), "", &PETS, 2);
        write(root.path(), inner, png(79));
        refused(&root, &parts);
        // An inspection goes on, and says it.
        let (data, problem) = folder::look(root.path()).unwrap();
        assert_eq!(data.items.len(), 5);
        assert!(problem.unwrap().to_string().contains(parts[0]));
        for side in ["train", "valid", "test"] {
            let root = place();
            for other in ["train", "valid", "test"] {
                fill(root.path(), &format!("{other}/"), &PETS, 2);
            }
            write(root.path(), &format!("{side}/{inner}"), png(79));
            refused(&root, &parts);
        }
    }
    // Its own name again, as zip files unpack, is no other class.
    let root = place();
    fill(root.path(), "", &PETS, 2);
    write(root.path(), "dogs/dogs/0.png", png(80));
    assert_eq!(read(&root).items.len(), 5);
}

#[test]
fn folders_called_by_class_and_part_are_told_how_they_should_be() {
    let root = place();
    fill(root.path(), "", &["ants_train", "bees_train", "ants_test", "bees_test"], 2);
    refused(&root, &["ants_train", "by class and part of the split at once", "train/ants/", "test/bees/"]);
    let root = place();
    fill(root.path(), "", &["train-ants", "train-bees", "val-ants", "val-bees"], 2);
    refused(&root, &["by class and part", "train/ants/", "valid/bees/"]);
    let asked = FolderOptions { outermost: true, ..FolderOptions::default() };
    assert_eq!(asked.read(root.path()).unwrap().items.classes.len(), 4);
    // One of them was forgotten.
    let root = place();
    fill(root.path(), "", &["cats_train", "cats_val", "dogs_train"], 2);
    refused(&root, &["by class and part", "train/cats/", "train/dogs/", "`class_folders`"]);
    assert_eq!(asked.read(root.path()).unwrap().items.classes.len(), 3);
    // CycleGAN's.
    let root = place();
    fill(root.path(), "", &["trainA", "trainB", "testA", "testB"], 2);
    refused(&root, &["trainA", "by class and part", "train/a/", "test/b/"]);
}

#[test]
fn images_for_a_test_are_said_to_be_left_out() {
    let root = place();
    fill(root.path(), "train/", &PETS, 2);
    fill(root.path(), "valid/", &PETS, 1);
    write(root.path(), "test/9.png", png(90));
    noticed(&read(&root), &["test images are neither trained on nor evaluated: 1 image in"]);
}
