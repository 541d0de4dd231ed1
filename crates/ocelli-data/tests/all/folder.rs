//! Folders of photos as people have them.

use std::path::Path;

use crate::common::{fill, png, shared, write};
use ocelli_data::source::folder;
use ocelli_data::{DataError, Dataset, Decoder, Target, check_classes};

fn skipped(data: &Dataset) -> Vec<(String, String)> {
    let relative = |path: &Path| path.strip_prefix(&data.items.root).unwrap().display().to_string();
    data.skipped.iter().map(|skipped| (relative(&skipped.path), skipped.reason.clone())).collect()
}

fn ids(data: &Dataset, indices: &[usize]) -> Vec<String> {
    indices.iter().map(|&index| data.items[index].id.clone()).collect()
}

#[test]
fn one_folder_of_class_folders() {
    let root = tempfile::tempdir().unwrap();
    fill(root.path(), "", &["dogs", "cats", "Birds"], 2);
    write(root.path(), "cats/kittens/small/0.png", png(77));
    let data = folder::read(root.path()).unwrap();
    assert_eq!(data.items.classes.names(), ["Birds", "cats", "dogs"]);
    assert_eq!(data.split, None);
    assert_eq!(data.skipped, []);
    let all: Vec<usize> = (0..data.items.len()).collect();
    assert_eq!(
        ids(&data, &all),
        [
            "Birds/0.png",
            "Birds/1.png",
            "cats/0.png",
            "cats/1.png",
            "cats/kittens/small/0.png",
            "dogs/0.png",
            "dogs/1.png"
        ]
    );
    assert_eq!(data.items[4].target, Target::Class(1));
    assert_eq!(data.items.class_counts(&all), [2, 3, 2]);
    assert_eq!(data.items[4].path, root.path().join("cats/kittens/small/0.png"));
}

#[test]
fn train_valid_and_test_folders() {
    for valid in ["valid", "val", "validation"] {
        let root = tempfile::tempdir().unwrap();
        fill(root.path(), "train/", &["cats", "dogs"], 3);
        fill(root.path(), &format!("{valid}/"), &["cats", "dogs"], 1);
        write(root.path(), "test/9.png", png(90));
        write(root.path(), "test/more/8.png", png(91));
        write(root.path(), "models/a.h5", b"weights");
        let data = folder::read(root.path()).unwrap();
        let split = data.split.as_ref().unwrap();
        assert_eq!(split.train.len(), 6);
        assert_eq!(ids(&data, &split.valid), [format!("{valid}/cats/0.png"), format!("{valid}/dogs/0.png")]);
        assert_eq!(ids(&data, &split.test), ["test/9.png", "test/more/8.png"]);
        assert!(split.test.iter().all(|&index| data.items[index].target == Target::Unlabelled));
        assert_eq!(skipped(&data), [("models".into(), "lies beside the folders of the split".into())]);
    }
}

#[test]
fn a_test_folder_of_class_folders_is_labelled() {
    let root = tempfile::tempdir().unwrap();
    fill(root.path(), "train/", &["cats", "dogs"], 1);
    fill(root.path(), "valid/", &["cats", "dogs"], 1);
    fill(root.path(), "test/", &["dogs"], 2);
    let data = folder::read(root.path()).unwrap();
    let targets: Vec<_> =
        data.split.unwrap().test.iter().map(|&index| data.items[index].target.clone()).collect();
    assert_eq!(targets, [Target::Class(1), Target::Class(1)]);
}

#[test]
fn what_is_no_image_is_listed_with_a_reason() {
    let root = tempfile::tempdir().unwrap();
    fill(root.path(), "", &["cats", "dogs"], 1);
    write(root.path(), ".DS_Store", b"x");
    write(root.path(), ".ipynb_checkpoints/0.png", png(1));
    write(root.path(), "__MACOSX/cats/._0.png", b"x");
    write(root.path(), "labels.csv", b"id,label\n");
    write(root.path(), "stray.png", png(5));
    write(root.path(), "cats/.hidden.png", png(2));
    write(root.path(), "cats/notes.txt", b"fluffy");
    write(root.path(), "cats/page.jpg", b"<html>");
    write(root.path(), "cats/nothing.jpg", b"");
    write(root.path(), "cats/no_extension", png(3));
    write(root.path(), "cats/wrong.txt", png(4));
    std::fs::create_dir(root.path().join("empty")).unwrap();
    write(root.path(), "papers/a.pdf", b"%PDF");
    let data = folder::read(root.path()).unwrap();
    let all: Vec<usize> = (0..data.items.len()).collect();
    assert_eq!(ids(&data, &all), ["cats/0.png", "cats/no_extension", "cats/wrong.txt", "dogs/0.png"]);
    let expected = [
        (".DS_Store", "what macOS notes on a folder"),
        (".ipynb_checkpoints", "copies of Jupyter"),
        ("__MACOSX", "what macOS adds to zip files"),
        ("cats/.hidden.png", "hidden"),
        ("cats/notes.txt", "not an image"),
        ("cats/nothing.jpg", "named .jpg, but the file is empty"),
        ("cats/page.jpg", "named .jpg, but its content is no image"),
        ("empty", "an empty folder"),
        ("labels.csv", "not an image"),
        ("papers", "a folder without images"),
        ("papers/a.pdf", "not an image"),
        ("stray.png", "an image that lies outside of the class folders"),
    ];
    assert_eq!(skipped(&data), expected.map(|(path, reason)| (path.to_owned(), reason.to_owned())));
}

#[cfg(unix)]
#[test]
fn links_are_followed_and_loops_are_listed() {
    use std::os::unix::fs::symlink;
    let (root, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fill(root.path(), "", &["cats"], 1);
    fill(elsewhere.path(), "", &["dogs"], 2);
    symlink(elsewhere.path().join("dogs"), root.path().join("dogs")).unwrap();
    symlink(elsewhere.path().join("dogs/0.png"), root.path().join("cats/link.png")).unwrap();
    symlink(root.path(), root.path().join("cats/again")).unwrap();
    symlink(root.path().join("gone"), root.path().join("cats/broken.png")).unwrap();
    let data = folder::read(root.path()).unwrap();
    let all: Vec<usize> = (0..data.items.len()).collect();
    assert_eq!(ids(&data, &all), ["cats/0.png", "cats/link.png", "dogs/0.png", "dogs/1.png"]);
    let skipped = skipped(&data);
    assert_eq!(skipped.len(), 2, "{skipped:?}");
    assert!(skipped[0].0 == "cats/again" && skipped[0].1.contains("a link to its own parent"), "{skipped:?}");
    assert!(skipped[1].0 == "cats/broken.png" && skipped[1].1.contains("a broken link"), "{skipped:?}");
}

#[track_caller]
fn refused(root: &Path, parts: &[&str]) -> DataError {
    let error = folder::read(root).unwrap_err();
    for part in parts {
        assert!(error.to_string().contains(part), "{part:?} is not in: {error}");
    }
    error
}

#[test]
fn wrong_places_are_refused() {
    let root = tempfile::tempdir().unwrap();
    refused(&root.path().join("nowhere"), &["nowhere", "does not exist", "give the folder"]);
    refused(root.path(), &["holds no images", "it is empty"]);
    write(root.path(), "a.txt", b"x");
    refused(root.path(), &["holds no images", "a.txt: not an image"]);
    refused(&root.path().join("a.txt"), &["a.txt is a file"]);
    write(root.path(), "a.png", png(1));
    write(root.path(), "b.png", png(2));
    refused(root.path(), &["holds 2 images but no class folders", "a.txt in it is not read", "from_csv"]);
    fill(root.path(), "", &["cats"], 2);
    refused(root.path(), &["single class \"cats\"", "at least two"]);
}

#[test]
fn a_training_folder_alone_does_not_say_what_is_held_out() {
    let root = tempfile::tempdir().unwrap();
    fill(root.path(), "train/", &["cats", "dogs"], 2);
    let split = folder::read(root.path()).unwrap().split.unwrap();
    assert_eq!((split.train.len(), split.valid.len(), split.test.len()), (4, 0, 0));
    fill(root.path(), "test/", &["dogs"], 1);
    let data = folder::read(root.path()).unwrap();
    assert_eq!(data.items.classes.names(), ["cats", "dogs"]);
    let split = data.split.as_ref().unwrap();
    assert_eq!((split.train.len(), split.valid.len()), (4, 0));
    assert_eq!(ids(&data, &split.test), ["test/dogs/0.png"]);

    // What is beside them is left out, with a notice.
    fill(root.path(), "", &["mice"], 2);
    let data = folder::read(root.path()).unwrap();
    assert_eq!(data.items.classes.names(), ["cats", "dogs"]);
    assert!(
        data.notices[0].contains("left out") && data.notices[0].contains("mice (2 images)"),
        "{:?}",
        data.notices
    );
}

#[test]
fn half_a_split_is_refused() {
    let root = tempfile::tempdir().unwrap();
    fill(root.path(), "val/", &["cats", "dogs"], 2);
    refused(root.path(), &["val/ but no train/"]);

    let root = tempfile::tempdir().unwrap();
    for folder in ["train/", "valid/", "val/"] {
        fill(root.path(), folder, &["cats", "dogs"], 2);
    }
    refused(root.path(), &["both hold validation images"]);
}

#[test]
fn a_class_may_be_called_train() {
    let root = tempfile::tempdir().unwrap();
    fill(root.path(), "", &["train", "plane", "car"], 2);
    assert_eq!(folder::read(root.path()).unwrap().items.classes.names(), ["car", "plane", "train"]);
}

#[test]
fn a_class_that_only_valid_has_is_refused() {
    let root = tempfile::tempdir().unwrap();
    fill(root.path(), "train/", &["cats", "dogs"], 2);
    fill(root.path(), "valid/", &["catz", "dogs"], 2);
    let path = root.path().display().to_string();
    let error =
        refused(root.path(), &["valid/catz has the class \"catz\"", "(it has: cats, dogs)", "rename"]);
    assert!(error.to_string().starts_with(&path));
}

#[test]
fn a_class_that_valid_lacks_is_noticed() {
    let root = tempfile::tempdir().unwrap();
    fill(root.path(), "train/", &["cats", "dogs"], 2);
    fill(root.path(), "valid/", &["dogs"], 2);
    let data = folder::read(root.path()).unwrap();
    assert_eq!(data.notices.len(), 1);
    assert!(data.notices[0].contains("no images of \"cats\""), "{:?}", data.notices);
    assert_eq!(
        data.split.unwrap().valid.iter().map(|&i| data.items[i].target.clone()).collect::<Vec<_>>(),
        vec![Target::Class(1); 2]
    );
}

#[test]
fn a_class_of_unreadable_images_is_refused() {
    let root = tempfile::tempdir().unwrap();
    fill(root.path(), "", &["cats", "dogs"], 2);
    write(root.path(), "mice/0.jpg", b"<html>");
    write(root.path(), "mice/1.txt", b"notes");
    let data = folder::read(root.path()).unwrap();
    assert_eq!(data.items.classes.names(), ["cats", "dogs"]);
    assert!(data.losses.len() == 1 && data.losses[0].is_serious(), "{:?}", data.losses);
    let error = data.losses[0].error().to_string();
    assert!(
        error.contains("class \"mice\"") && error.contains("0.jpg: named .jpg, but its content is no image"),
        "{error}"
    );

    // Bytes that begin like an image are found out by decoding.
    write(root.path(), "mice/0.jpg", &crate::common::png(3)[..60]);
    let data = folder::read(root.path()).unwrap();
    let all: Vec<usize> = (0..data.items.len()).collect();
    let error = check_classes(&data.items, &all, &Decoder::default(), 2).unwrap_err().to_string();
    assert!(error.contains("class \"mice\"") && error.contains("mice/0.jpg"), "{error}");

    write(root.path(), "mice/2.png", png(9));
    let data = folder::read(root.path()).unwrap();
    let all: Vec<usize> = (0..data.items.len()).collect();
    let bad = check_classes(&data.items, &all, &Decoder::default(), 2).unwrap();
    assert_eq!(bad.len(), 1);
    assert!(bad[0].path.ends_with("mice/0.jpg"));
}

#[test]
fn photos_of_ants_and_bees() {
    let Some(root) = shared("data/hymenoptera") else { return };
    let data = folder::read(root).unwrap();
    assert_eq!(data.items.classes.names(), ["ants", "bees"]);
    let split = data.split.as_ref().unwrap();
    assert_eq!(split.train.len() + split.valid.len() + data.skipped.len(), 398);
    assert!(data.items.items.iter().any(|item| item.id.ends_with("imageNotFound.gif")));
    assert_eq!(check_classes(&data.items, &split.train, &Decoder::default(), 0).unwrap(), []);
    for item in &data.items.items {
        Decoder::default().decode_file(&item.path).unwrap();
    }
}
