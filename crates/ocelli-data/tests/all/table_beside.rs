//! A table of labels beside folders that may be classes, or parts of one collection.

use std::path::Path;

use crate::common::{fill, png, write};
use ocelli_data::source::folder;
use ocelli_data::source::table::{LabelledFolder, TableOptions, read_folder};
use ocelli_data::{DataError, Target};
use tempfile::TempDir;

/// Photos at these paths, and a table with these rows after `header`.
fn place(photos: &[(String, &str)], table: &str, header: &str, name: impl Fn(&str) -> String) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let mut rows = format!("{header}\n");
    for (number, (path, label)) in (0..).zip(photos) {
        write(root.path(), path, png(number));
        rows += &format!("{},{label}\n", name(path));
    }
    write(root.path(), table, rows);
    root
}

/// Twelve photos, six in each folder, with labels that have nothing to do with the folders.
fn parts<'a>(folders: [&str; 2], labels: [&'a str; 3]) -> Vec<(String, &'a str)> {
    (0..12).map(|n| (format!("{}/img{n:03}.png", folders[n / 6]), labels[n % 3])).collect()
}

const LESIONS: [&str; 3] = ["nv", "mel", "bkl"];

fn stem(path: &str) -> String {
    Path::new(path).file_stem().unwrap().to_str().unwrap().to_owned()
}

fn read(root: &Path) -> Result<LabelledFolder, DataError> {
    read_folder(root, &TableOptions::default(), &mut |root| folder::read(root))
}

/// The classes, and whether a table says them.
#[track_caller]
fn classes(root: &TempDir) -> (Vec<String>, bool) {
    let read = read(root.path()).unwrap();
    (read.labelled.dataset.items.classes.names().to_vec(), read.by_table)
}

#[track_caller]
fn noticed(root: &TempDir, parts: &[&str]) {
    crate::common::noticed(&read(root.path()).unwrap().labelled.dataset, parts);
}

#[track_caller]
fn refused(root: &TempDir, parts: &[&str]) {
    crate::common::refused(read(root.path()).map(|read| read.labelled.dataset.items.classes), parts);
}

#[test]
fn folders_that_are_parts_are_no_classes_where_a_table_names_their_photos() {
    for folders in [
        ["HAM10000_images_part_1", "HAM10000_images_part_2"],
        ["batch1", "batch2"],
        ["images_001/images", "images_002/images"],
        ["train_part_1", "train_part_2"],
        ["zip1", "zip2"],
        ["scans part A", "scans part B"],
        ["all/part1", "all/part2"],
        ["train/part1", "train/part2"],
    ] {
        let root = place(&parts(folders, LESIONS), "HAM10000_metadata.csv", "image_id,dx", stem);
        // Another table, which names no photos.
        write(root.path(), "pixels.csv", "pixel0,pixel1,label\n1,2,0\n3,4,1\n");
        let read = read(root.path()).unwrap();
        let data = &read.labelled.dataset;
        assert!(read.by_table, "{folders:?}");
        assert_eq!(data.items.classes.names(), ["bkl", "mel", "nv"], "{folders:?}");
        for (n, item) in data.items.items.iter().enumerate() {
            assert_eq!(item.target, Target::Class([2, 1, 0][n % 3]), "{}", item.id);
        }
        let said = data.notices.iter().any(|notice| notice.contains("HAM10000_metadata.csv"));
        assert!(said && data.items.len() == 12, "{folders:?}: {:?}", data.notices);
    }
    // Each class is in one part: the labels are the table's all the same.
    let photos: Vec<(String, &str)> =
        (0..12).map(|n| (format!("part_{}/{n}.png", n / 6), ["cat", "dog"][n / 6])).collect();
    let root = place(&photos, "labels.csv", "id,label", stem);
    assert_eq!(classes(&root), (vec!["cat".to_owned(), "dog".to_owned()], true));
    noticed(&root, &["labels.csv", "part_0, part_1", "`class_folders`"]);
    // With tables for the sides of a split, or one in a folder beside.
    let root = place(&parts(["images_1", "images_2"], LESIONS), "notes/labels.csv", "id,label", stem);
    assert!(classes(&root).1);
    // The table says nothing that could be trained on.
    let root = place(&parts(["batch_1", "batch_2"], LESIONS), "table.csv", "id,age,sex,site", |path| {
        format!("{},40,male", stem(path))
    });
    refused(&root, &["batch_1, batch_2", "table.csv", "`label_columns`", "`class_folders`"]);
}

#[test]
fn other_folders_and_a_table_that_says_something_else_are_refused() {
    for (folders, labels) in [
        (["A", "B"], LESIONS),
        (["Berlin", "Paris"], ["x", "y", "z"]),
        (["1", "2"], LESIONS),
        (["class_1", "class_2"], LESIONS),
    ] {
        let root = place(&parts(folders, labels), "labels.csv", "file,label", |path| path.to_owned());
        refused(
            &root,
            &["names 12 of their 12 photos", "labels.csv", "(`from_csv` labels.csv)", "(`class_folders`)"],
        );
    }
    // Each breed is in the folder of its species: either may be meant.
    let breeds: Vec<(String, &str)> = (0..12)
        .map(|n| {
            (format!("{}/{n}.png", ["cats", "dogs"][n % 2]), ["manx", "boxer", "birman", "beagle"][n % 4])
        })
        .collect();
    refused(&place(&breeds, "breeds.csv", "id,breed", stem), &["such as \"manx\" for 0.png in cats"]);
}

#[test]
fn a_table_that_agrees_with_class_folders_is_not_read() {
    let of = |folders: [&str; 3], labels: [&'static str; 3]| -> Vec<(String, &'static str)> {
        (0..12).map(|n| (format!("{}/{n:03}.png", folders[n % 3]), labels[n % 3])).collect()
    };
    for (folders, labels) in [
        (["cats", "dogs", "owls"], ["cats", "dogs", "owls"]),
        (["00000", "00001", "00002"], ["0", "1", "2"]),
        (["n02085620", "n02085782", "n02085936"], ["chihuahua", "spaniel", "maltese"]),
        (["class_a", "class_b", "class_c"], ["a", "b", "c"]),
        // Coarser, and in the folders' names.
        (["Apple___rot", "Apple___scab", "Tomato___rot"], ["apple", "apple", "tomato"]),
        // Nothing that could be classes.
        (["cats", "dogs", "owls"], ["vidir", "vidir", "vidir"]),
    ] {
        let root = place(&of(folders, labels), "labels.csv", "id,label", stem);
        assert!(!classes(&root).1, "{folders:?}");
        noticed(&root, &["labels.csv", "not read"]);
    }
    // What it corrects is said.
    let mut photos = of(["cats", "dogs", "owls"], ["cats", "dogs", "owls"]);
    photos[4].1 = "owls";
    let root = place(&photos, "labels.csv", "id,label", stem);
    assert!(!classes(&root).1);
    noticed(
        &root,
        &["another class than the folders for 1 of 12 photos", "004.png, \"owls\" in the folder dogs"],
    );
    // A table of few of the photos is not that of their labels.
    let root = place(&of(["cats", "dogs", "owls"], LESIONS), "some.csv", "id,label", |path| {
        if path < "cats/010" { stem(path) } else { format!("other{}", stem(path)) }
    });
    assert!(!classes(&root).1);
}

#[test]
fn parts_without_a_table_are_warned_about() {
    let root = tempfile::tempdir().unwrap();
    for (number, path) in (0..).zip(["batch_1/a.png", "batch_2/b.png", "batch_1/c.png"]) {
        write(root.path(), path, png(number));
    }
    noticed(&root, &["warning: the folders batch_1, batch_2 are named like parts of one collection"]);
    write(root.path(), "labels.xlsx", "PK\u{3}\u{4}");
    noticed(&root, &["labels.xlsx", "save it as a CSV file"]);
}

#[test]
fn of_several_tables_the_one_that_names_most_photos_is_read() {
    let photos = parts(["images_001/images", "images_002/images"], ["Effusion", "No Finding", "Mass"]);
    let root = place(&photos, "Data_Entry_2017.csv", "Image Index,Finding Labels", |path| {
        path.rsplit('/').next().unwrap().to_owned()
    });
    write(root.path(), "BBox_List_2017.csv", "Image Index,Finding Label,x\nimg000.png,Effusion,1\n");
    assert_eq!(classes(&root).0, ["Effusion", "Mass", "No Finding"]);
    // Two that say the labels of all are both named.
    let second = std::fs::read_to_string(root.path().join("Data_Entry_2017.csv")).unwrap();
    write(root.path(), "Data_Entry_2020.csv", second);
    refused(&root, &["Data_Entry_2017.csv, Data_Entry_2020.csv", "`from_csv`"]);
}

#[test]
fn the_split_of_a_table_that_says_the_classes_of_the_folders_is_followed() {
    let root = tempfile::tempdir().unwrap();
    fill(root.path(), "", &["a", "b"], 10);
    let row = |class: &str, number: usize, label: &str| {
        format!("{class}/{number}.png,{label},{}\n", if number < 7 { "train" } else { "test" })
    };
    let table = |label: &dyn Fn(&str) -> String| {
        let rows = ["a", "b"].into_iter().flat_map(|class| (0..10).map(move |number| (class, number)));
        let rows = rows.map(|(class, number)| row(class, number, &label(class)));
        "path,label,split\n".to_owned() + &rows.collect::<String>()
    };
    let read = || {
        let options = TableOptions::default();
        read_folder(root.path(), &options, &mut |root| folder::read(root)).unwrap().labelled.dataset
    };
    write(root.path(), "labels.csv", table(&|class| class.to_owned()));
    let data = read();
    let split = data.split.as_ref().expect("the table's split");
    assert_eq!((split.train.len(), split.test.len()), (14, 6));
    assert_eq!(data.items.classes.names(), ["a", "b"]);
    crate::common::noticed(&data, &["labels.csv", "the same classes as the folders"]);
    // With other names for the classes the folders' stay, and the split is followed all the same.
    write(root.path(), "labels.csv", table(&|class| format!("class {class}")));
    let data = read();
    let split = data.split.as_ref().expect("the table's split");
    assert_eq!((split.train.len(), split.test.len()), (14, 6));
    assert_eq!(data.items.classes.names(), ["a", "b"]);
    crate::common::noticed(&data, &["the split is that of labels.csv"]);
    assert!(!data.notices.iter().any(|notice| notice.contains("not read")), "{:?}", data.notices);
    // Folds are no labels.
    let folds: String = (0..10)
        .flat_map(|number| ["a", "b"].map(|class| format!("{class}/{number}.png,{}\n", number % 5)))
        .collect();
    write(root.path(), "labels.csv", format!("path,fold\n{folds}"));
    crate::common::noticed(&read(), &["labels.csv", "folds of a split", "no labels"]);
    // Nor are patients, which are then known as such.
    let patients: String = (0..10)
        .flat_map(|number| ["a", "b"].map(|class| format!("{class}/{number}.png,p{}\n", number / 2)))
        .collect();
    write(root.path(), "labels.csv", format!("file,patient_id\n{patients}"));
    let read_it = read_folder(root.path(), &TableOptions::default(), &mut |root| folder::read(root)).unwrap();
    assert_eq!(read_it.labelled.dataset.items.classes.names(), ["a", "b"]);
    assert!(read_it.labelled.unused_groups.is_some());
    // A table whose names both folders have says nothing of the folders, and they are hardly classes.
    let names: String = (0..10).map(|number| format!("{number},{}\n", ["x", "y"][number % 2])).collect();
    write(root.path(), "labels.csv", format!("id,label\n{names}"));
    crate::common::refused(
        read_folder(root.path(), &TableOptions::default(), &mut |root| folder::read(root)),
        &["photos of the same names", "labels.csv", "`class_folders`"],
    );
    // Lists in forms that are not read are named.
    std::fs::remove_file(root.path().join("labels.csv")).unwrap();
    write(root.path(), "split_zhou.json", "{}");
    crate::common::noticed(&read(), &["warning: split_zhou.json", "is not read"]);
}

#[test]
fn a_column_called_label_says_more_than_the_name_of_another_table() {
    let root = tempfile::tempdir().unwrap();
    (0..12).for_each(|number| write(root.path(), &format!("images/{number}.png"), png(number)));
    let rows = |row: &dyn Fn(usize) -> String| {
        (0..12).map(|number| format!("{number},{}\n", row(number))).collect::<String>()
    };
    write(root.path(), "train.csv", "id,label\n".to_owned() + &rows(&|row| ["a", "b"][row % 2].to_owned()));
    let read = || read_folder(root.path(), &TableOptions::default(), &mut |root| folder::read(root)).unwrap();
    for header in ["id,patient_id,sex", "id,sex,age"] {
        let values = rows(&|row| format!("{},{}", ["m", "f"][row % 2], 50 + row % 4));
        write(root.path(), "metadata.csv", format!("{header}\n{values}"));
        let data = read().labelled.dataset;
        assert_eq!(data.items.classes.names(), ["a", "b"], "{header}");
        crate::common::noticed(&data, &["train.csv"]);
    }
}
