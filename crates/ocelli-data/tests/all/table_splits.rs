//! Splits that tables give: by columns, by the folders of their files, and by a table for each side.

use std::collections::BTreeSet;
use std::path::Path;

use crate::common::{noticed, png, write};
use ocelli_data::Dataset;
use ocelli_data::source::table::{self, TableOptions};
use tempfile::TempDir;

/// A folder with these files, and these tables.
fn place(files: &[String], tables: &[(&str, String)]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for (number, file) in (0..).zip(files) {
        write(root.path(), file, png(number));
    }
    for (name, text) in tables {
        write(root.path(), name, text);
    }
    root
}

fn numbered(folder: &str, numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("{folder}{number}.png")).collect()
}

const CLASSES: [&str; 2] = ["cat", "dog"];

/// A table of files of two classes in turn.
fn table(files: &[String]) -> String {
    let rows = files.iter().enumerate().map(|(row, file)| format!("{file},{}\n", CLASSES[row % 2]));
    "file,label\n".to_owned() + &rows.collect::<String>()
}

#[track_caller]
fn read(path: &Path) -> Dataset {
    table::read(path, &TableOptions::default()).unwrap().dataset
}

#[track_caller]
fn refused(path: &Path, parts: &[&str]) {
    crate::common::refused(table::read(path, &TableOptions::default()), parts);
}

/// The ids of each side of the split.
fn sides(data: &Dataset) -> [BTreeSet<&str>; 3] {
    let split = data.split.as_ref().expect("a split");
    let ids = |side: &[usize]| side.iter().map(|&index| data.items[index].id.as_str()).collect();
    [ids(&split.train), ids(&split.valid), ids(&split.test)]
}

fn set(ids: &[String]) -> BTreeSet<&str> {
    ids.iter().map(String::as_str).collect()
}

#[test]
fn folders_of_a_split_in_the_paths_of_files_are_followed() {
    let (train, valid, test) =
        (numbered("train/", 0..6), numbered("valid/", 6..10), numbered("test/", 10..12));
    let files = [train.clone(), valid.clone(), test.clone()].concat();
    let bare: Vec<String> = numbered("", 0..12);
    for listed in [&files, &bare] {
        let root = place(&files, &[("labels.csv", table(listed))]);
        let data = read(&root.path().join("labels.csv"));
        assert_eq!(sides(&data), [set(&train), set(&valid), set(&test)]);
        noticed(&data, &["folders of a split, which is followed: train (6), valid (4), test (2)"]);
    }
    // At any depth, in the words of the field.
    let inside = |name: &str| {
        format!("images/{}", name.replace("valid/", "Validation/a/").replace("train/", "train/a/"))
    };
    let files: Vec<String> = files.iter().map(|name| inside(name)).collect();
    let root = place(&files, &[("labels.csv", table(&files))]);
    let data = read(&root.path().join("labels.csv"));
    assert_eq!(sides(&data).map(|side| side.len()), [6, 4, 2]);
    // What lies beside them is on no side, and said.
    let files = [train.clone(), valid.clone(), numbered("more/", 20..23)].concat();
    let root = place(&files, &[("labels.csv", table(&files))]);
    let data = read(&root.path().join("labels.csv"));
    assert_eq!(sides(&data).map(|side| side.len()), [6, 4, 0]);
    noticed(&data, &["warning: 3 images of labels.csv lie beside these folders", "more (3)"]);
    // Folders that are no split's give none.
    let files = [numbered("train/", 0..3), numbered("bus/", 3..6)].concat();
    let root = place(&files, &[("labels.csv", table(&files))]);
    assert_eq!(read(&root.path().join("labels.csv")).split, None);
    // A column goes first, and what disagrees is said.
    let files = [train, valid].concat();
    let rows = files.iter().enumerate().map(|(row, file)| {
        format!("{file},{},{}\n", CLASSES[row % 2], if row < 2 { "valid" } else { "train" })
    });
    let root = place(&files, &[("labels.csv", "file,label,split\n".to_owned() + &rows.collect::<String>())]);
    let data = read(&root.path().join("labels.csv"));
    assert_eq!(sides(&data).map(|side| side.len()), [8, 2, 0]);
    noticed(&data, &["the folders of 6 images of labels.csv say another one"]);
}

#[test]
fn columns_that_ask_for_a_side_are_followed() {
    let files = numbered("", 0..6);
    let with = |header: &str, cells: &dyn Fn(usize) -> String| {
        let rows = files.iter().enumerate();
        let rows = rows.map(|(row, file)| format!("{file},{},{}\n", CLASSES[row % 2], cells(row)));
        place(&files, &[("labels.csv", format!("file,label,{header}\n{}", rows.collect::<String>()))])
    };
    let one =
        |yes: &'static str, no: &'static str| move |row: usize| if row < 2 { yes } else { no }.to_owned();
    // What rows 0 and 1 are, and the others.
    for (header, first, others) in [
        ("is_test", 2, 0),
        ("is_train", 0, 1),
        ("is_training_image", 0, 1),
        ("test", 2, 0),
        ("valid", 1, 0),
        ("held_out", 2, 0),
        ("isValidation", 1, 0),
        ("Is Val", 1, 0),
    ] {
        for (yes, no) in [("1", "0"), ("True", "False"), ("1.0", "0.0"), ("1", ""), ("yes", "no")] {
            let root = with(header, &one(yes, no));
            let data = read(&root.path().join("labels.csv"));
            let mut expected = [BTreeSet::new(), BTreeSet::new(), BTreeSet::new()];
            expected[first].extend(files[..2].iter().map(String::as_str));
            expected[others].extend(files[2..].iter().map(String::as_str));
            assert_eq!(sides(&data), expected, "{header}: {yes}, {no}");
            noticed(&data, &["gives the split: 1 is "]);
        }
    }
    // Several columns say it together.
    let root = with("is_train,is_test", &|row| ["1,0", "1,0", "0,1", "0,0", "1,0", "0,1"][row].to_owned());
    let data = read(&root.path().join("labels.csv"));
    assert_eq!(sides(&data).map(|side| side.len()), [3, 1, 2]);
    let root = with("is_train,is_test", &|row| ["1,0", "1,1", "0,1", "0,0", "1,0", "0,1"][row].to_owned());
    refused(&root.path().join("labels.csv"), &["row 3", "1 in one of the columns"]);
    // A class of that name is a class.
    let rows = (0..6).map(|row| format!("{row}.png,{},{}\n", row % 2, 1 - row % 2));
    let root = place(&files, &[("labels.csv", "file,train,bus\n".to_owned() + &rows.collect::<String>())]);
    let data = read(&root.path().join("labels.csv"));
    assert_eq!((data.items.classes.names(), data.split), (&["bus".to_owned(), "train".to_owned()][..], None));
}

#[test]
fn a_side_that_is_not_known_is_an_error_and_not_trained_on() {
    let files = numbered("", 0..20);
    let with = |header: &str, cell: &dyn Fn(usize) -> &'static str| {
        let rows = files.iter().enumerate();
        let rows = rows.map(|(row, file)| format!("{file},{},{}\n", CLASSES[row % 2], cell(row)));
        place(&files, &[("labels.csv", format!("file,label,{header}\n{}", rows.collect::<String>()))])
    };
    for odd in ["", "unlabeled", "3"] {
        for header in ["split", "use"] {
            let root =
                with(header, &|row| if row == 4 || row == 7 { odd } else { ["train", "test"][row % 2] });
            let parts =
                ["row 6", "2 of 20 rows", "train, valid or test", header, &format!("\"{odd}\" in rows 6, 9")];
            refused(&root.path().join("labels.csv"), &parts);
        }
    }
    let root = with("is_valid", &|row| ["1", "0", ""][row % 3]);
    refused(&root.path().join("labels.csv"), &["row 4", "1 or 0", "is_valid"]);
    for (word, side) in
        [("holdout", 2), ("eval", 2), ("PublicTest", 1), ("PrivateTest", 2), ("Private Test", 2), ("dev", 1)]
    {
        let root = with("Usage", &|row| if row < 5 { word } else { "Training" });
        let data = read(&root.path().join("labels.csv"));
        assert_eq!(sides(&data)[side].len(), 5, "{word}");
        assert_eq!(sides(&data)[0].len(), 15, "{word}");
    }
    // What is called so and is another thing is no split, which is said.
    let root = with("fold", &|row| ["0", "1", "2", "3"][row % 4]);
    let data = read(&root.path().join("labels.csv"));
    assert_eq!(data.split, None);
    noticed(&data, &["warning: the column \"fold\" of labels.csv is ignored"]);
}

#[test]
fn tables_for_the_sides_of_the_split_are_read_together() {
    let (train, valid, test) = (numbered("", 0..6), numbered("", 6..10), numbered("", 10..12));
    let within = |folder: &str, files: &[String]| {
        files.iter().map(|file| format!("{folder}/{file}")).collect::<Vec<_>>()
    };
    let in_folders = [within("train", &train), within("valid", &valid), within("test", &test)];
    let in_one = [within("images", &train), within("images", &valid), within("images", &test)];
    // Roboflow's, and two that are as common.
    let layouts: [(&[Vec<String>; 3], [&str; 3]); 3] = [
        (&in_folders, ["train/_classes.csv", "valid/_classes.csv", "test/_classes.csv"]),
        (&in_folders, ["train.csv", "valid.csv", "test.csv"]),
        (&in_one, ["train_labels.csv", "val_labels.csv", "test_labels.csv"]),
    ];
    for (files, names) in layouts {
        let tables = [&train, &valid, &test].map(|files| table(files));
        let tables: Vec<(&str, String)> = names.into_iter().zip(tables).collect();
        let root = place(&files.concat(), &tables);
        let data = read(root.path());
        assert_eq!(sides(&data).map(|side| side.len()), [6, 4, 2], "{names:?}");
        for (side, files) in sides(&data).iter().zip([&train, &valid, &test]) {
            let ends = |id: &&str| files.iter().any(|file| id.rsplit('/').next() == Some(file));
            assert!(side.iter().all(ends), "{names:?}: {side:?}");
        }
        assert_eq!(data.items.classes.names(), CLASSES);
        assert!(data.items.items.iter().all(|item| data.items.root.join(&item.id) == item.path));
        noticed(&data, &["which give the split"]);
        assert_eq!(data.skipped, [], "{names:?}");
        // One that is given alone is read alone.
        if names[0] == "train.csv" {
            let data = read(&root.path().join("train.csv"));
            assert_eq!((data.items.len(), data.split), (6, None));
            assert!(
                data.notices.iter().any(|notice| notice.contains("not read: valid.csv, test.csv")
                    || notice.contains("not read: test.csv, valid.csv")),
                "{:?}",
                data.notices
            );
        }
    }
    // Tables in folders may be called as these; one that has none is named.
    let tables = [("train/train.csv", table(&train)), ("test/test_labels.csv", table(&test))];
    let root = place(&in_folders.concat(), &tables);
    let data = read(root.path());
    assert_eq!(sides(&data).map(|side| side.len()), [6, 0, 2]);
    noticed(&data, &["warning: photos are left out", "valid"]);
    // A table for testing without labels is left out, with a word.
    let bare = "file\n10.png\n11.png\n".to_owned();
    for text in [bare, "file,label\n10.png,\n11.png,\n".to_owned()] {
        let root = place(
            &in_folders.concat(),
            &[("train.csv", table(&train)), ("valid.csv", table(&valid)), ("test.csv", text)],
        );
        let data = read(root.path());
        assert_eq!(sides(&data).map(|side| side.len()), [6, 4, 0]);
        noticed(&data, &["test.csv has no labels and is left out"]);
    }
}

#[test]
fn texts_for_the_sides_of_the_split_are_read_together_where_they_are_the_labels() {
    let files = numbered("images/", 0..12);
    // As ImageNet, RVL-CDIP and others have them: path and number of class, by blanks.
    let text = |files: &[String]| {
        let rows = files.iter().enumerate().map(|(row, file)| format!("{file} {}\n", row % 2));
        rows.collect::<String>()
    };
    let root = place(
        &files,
        &[
            ("labels/train.txt", text(&files[..6])),
            ("labels/val.txt", text(&files[6..10])),
            ("labels/test.txt", text(&files[10..])),
        ],
    );
    let options = TableOptions { folder: Some(root.path().to_owned()), ..TableOptions::default() };
    let read = |path: &str| table::read(root.path().join(path), &options).unwrap().dataset;
    let data = read("labels");
    assert_eq!(sides(&data).map(|side| side.len()), [6, 4, 2]);
    assert_eq!(data.items.classes.names(), ["0", "1"]);
    noticed(&data, &["train.txt", "val.txt", "test.txt", "which give the split"]);
    let alone = read("labels/train.txt");
    assert_eq!(alone.items.len(), 6);
    noticed(&alone, &["not read: val.txt, test.txt", "give their folder"]);
    // Where they list the split, as VOC's do, they are not said to be unread.
    let root = place(
        &files,
        &[
            ("Main/cat_train.txt", text(&files[..6])),
            ("Main/cat_val.txt", text(&files[6..])),
            ("Main/cat_trainval.txt", text(&files)),
        ],
    );
    let options = TableOptions { folder: Some(root.path().to_owned()), ..TableOptions::default() };
    let data = table::read(root.path().join("Main/cat_trainval.txt"), &options).unwrap().dataset;
    assert!(!data.notices.iter().any(|notice| notice.contains("not read")), "{:?}", data.notices);
}

#[test]
fn tables_that_do_not_go_together_are_refused() {
    let files = numbered("images/", 0..10);
    let (train, valid) = (table(&files[..6]), table(&files[6..]));
    let with = |valid: String| place(&files, &[("train.csv", train.clone()), ("valid.csv", valid)]);
    refused(with(valid.replace("dog", "wolf")).path(), &["valid.csv", "\"wolf\"", "train.csv", "`from_csv`"]);
    refused(with(valid.replace("label", "breed")).path(), &["valid.csv", "no column \"label\""]);
    refused(with(table(&files[5..])).path(), &["valid.csv", "5.png, as train.csv does"]);
    let root =
        place(&files, &[("train.csv", train.clone()), ("valid.csv", valid.clone()), ("val.csv", valid)]);
    refused(root.path(), &["two tables of validation images", "val.csv", "valid.csv"]);
}
