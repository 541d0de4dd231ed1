//! Tables of labels as people have them.

mod common;

use std::path::Path;

use common::{png, shared, write};
use ocelli_data::source::csv::{self, Column, CsvOptions};
use ocelli_data::{Dataset, Target, Task};

fn folder(files: &[&str], table: &str) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (number, file) in (0..).zip(files) {
        write(root.path(), file, png(number));
    }
    write(root.path(), "labels.csv", table);
    root
}

fn read(root: &tempfile::TempDir, options: &CsvOptions) -> Dataset {
    csv::read(root.path().join("labels.csv"), options).unwrap()
}

#[track_caller]
fn refused(root: &tempfile::TempDir, options: &CsvOptions, parts: &[&str]) {
    let error = csv::read(root.path().join("labels.csv"), options).unwrap_err().to_string();
    for part in parts {
        assert!(error.contains(part), "{part:?} is not in: {error}");
    }
}

fn rows(data: &Dataset) -> Vec<(String, Vec<String>)> {
    let names = |target: &Target| {
        target.classes().iter().map(|&class| data.items.classes.name(class).unwrap().to_owned()).collect()
    };
    data.items.items.iter().map(|item| (item.id.clone(), names(&item.target))).collect()
}

fn row(id: &str, labels: &[&str]) -> (String, Vec<String>) {
    (id.to_owned(), labels.iter().map(|&label| label.to_owned()).collect())
}

#[test]
fn with_and_without_a_header_and_a_suffix() {
    let expected = [row("b.png", &["dog"]), row("a.png", &["cat"])];
    for table in [
        "id,breed\nb,dog\na,cat\n",
        "b,dog\na,cat\n",
        "\u{feff}id,breed\r\nb.png,dog\r\na.png,cat\r\n",
        "id;breed\nb.png;dog\na.png;cat",
        "id\tbreed\tmore\nb.png\tdog\tx\na.png\tcat\ty\n\n",
        "id,breed\n\"b.png\",\" dog \"\n./a.png,cat\n",
    ] {
        let data = read(&folder(&["a.png", "b.png"], table), &CsvOptions::default());
        assert_eq!(rows(&data), expected, "{table}");
        assert_eq!((data.items.task, data.split, data.skipped), (Task::SingleLabel, None, vec![]), "{table}");
    }
}

#[test]
fn columns_by_name_and_a_folder() {
    let root = folder(&["pictures/x/a.png", "pictures/b.png"], "n,kind,file\n1,cat,x/a\n2,dog,b\n");
    let options = CsvOptions {
        folder: Some(root.path().join("pictures")),
        suffix: Some(".png".to_owned()),
        id: Column::Name("file".to_owned()),
        label: Column::Name("kind".to_owned()),
        ..CsvOptions::default()
    };
    let data = read(&root, &options);
    assert_eq!(rows(&data), [row("x/a.png", &["cat"]), row("b.png", &["dog"])]);
    assert_eq!(data.notices, ["read as single-label: none of 2 rows has several labels"]);
    let stated = CsvOptions { task: Some(Task::SingleLabel), ..options.clone() };
    assert_eq!(read(&root, &stated).notices, Vec::<String>::new(), "nothing is left to be detected");
    let wrong = CsvOptions { label: Column::Name("breed".to_owned()), ..options.clone() };
    refused(&root, &wrong, &["no column \"breed\"", "n, kind, file"]);
    refused(&root, &CsvOptions { id: Column::Index(7), ..options }, &["3 columns", "no column number 8"]);
}

#[test]
fn several_labels() {
    let files = ["1.png", "2.png", "3.png", "4.png", "5.png"];
    let root = folder(&files, "image,tags\n1,clear road\n2,haze\n3,haze road water\n4,\n5,clear\n");
    let data = read(&root, &CsvOptions::default());
    assert_eq!(data.items.task, Task::MultiLabel);
    assert_eq!(data.items.classes.names(), ["clear", "haze", "road", "water"]);
    assert_eq!(rows(&data)[2], row("3.png", &["haze", "road", "water"]));
    assert_eq!(data.items[3].target, Target::Classes(vec![]));
    assert!(data.notices.iter().any(|notice| notice.contains("1 rows have no label")), "{:?}", data.notices);
    let notice = data.notices.iter().find(|notice| notice.contains("multi-label")).unwrap();
    assert!(notice.contains("2 of 5 rows") && notice.contains("row 2: \"clear road\""), "{notice}");

    // Stated otherwise, each cell is one class, and the empty one is listed.
    let single = CsvOptions { task: Some(Task::SingleLabel), ..CsvOptions::default() };
    let data = read(&root, &single);
    assert_eq!(data.items.classes.names(), ["clear", "clear road", "haze", "haze road water"]);
    assert_eq!(data.skipped.len(), 1);
    assert_eq!(data.skipped[0].reason, "row 5 has no label");
}

#[test]
fn a_space_or_an_empty_cell_does_not_make_a_table_multi_label() {
    let files = ["1.png", "2.png", "3.png", "4.png"];
    let root = folder(&files, "id,breed\n1,golden retriever\n2,poodle\n3,\n4,poodle\n");
    let data = read(&root, &CsvOptions::default());
    assert_eq!(data.items.task, Task::SingleLabel);
    assert_eq!(data.items.classes.names(), ["golden retriever", "poodle"]);
    assert!(
        data.notices.iter().any(|notice| notice.contains("single-label, with spaces")),
        "{:?}",
        data.notices
    );
    assert_eq!(
        data.skipped.iter().map(|skipped| skipped.reason.as_str()).collect::<Vec<_>>(),
        ["row 4 has no label"]
    );
}

#[test]
fn the_split_column() {
    let files = ["1.png", "2.png", "3.png", "4.png"];
    let root = folder(&files, "id,label,fold\n1,a,train\n2,b,Valid\n3,b,train\n4,,test\n");
    let options = CsvOptions { split: Some(Column::Index(2)), ..CsvOptions::default() };
    let data = read(&root, &options);
    let split = data.split.unwrap();
    assert_eq!((split.train, split.valid, split.test), (vec![0, 2], vec![1], vec![3]));
    assert_eq!(data.items[3].target, Target::Unlabelled);
    let root = folder(&files, "id,label,is_valid\n1,a,False\n2,b,True\n3,b,maybe\n");
    let options = CsvOptions { split: Some(Column::Name("is_valid".to_owned())), ..CsvOptions::default() };
    refused(&root, &options, &["row 4", "\"maybe\"", "train, valid or test"]);
}

#[test]
fn rows_without_files_and_files_without_rows_are_listed() {
    let root = folder(
        &["1.png", "2.png", "9.png"],
        "id,label\n1.png,a\n2.png,b\n3.png,b\n2.png,b\nlonely\n../x.png,a\n",
    );
    let data = read(&root, &CsvOptions::default());
    assert_eq!(data.items.len(), 2);
    let reasons: Vec<(String, &str)> = data
        .skipped
        .iter()
        .map(|skipped| {
            (skipped.path.file_name().unwrap().to_string_lossy().into_owned(), skipped.reason.as_str())
        })
        .collect();
    for (file, part) in [
        ("3.png", "named in row 4, but there is no such file"),
        ("2.png", "row 5 repeats row 3"),
        ("labels.csv", "row 6 has too few columns (1)"),
        ("labels.csv", "row 7 names no file within"),
        ("9.png", "an image that no row of labels.csv names"),
    ] {
        assert!(
            reasons.iter().any(|(name, reason)| name == file && reason.contains(part)),
            "{file} {part}: {reasons:?}"
        );
    }
    assert_eq!(reasons.len(), 5, "{reasons:?}");
    let said = data.notices.join("\n");
    for part in [
        "row 1 of labels.csv names the columns (id, label): there is no file",
        "1 of 6 rows of labels.csv name files that do not exist; the first is row 4: ",
        "1 of 6 rows of labels.csv repeat others and are left out; the first is row 5: 2.png",
        "1 images in",
        "9.png",
    ] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
}

#[test]
fn tables_that_would_train_wrongly_are_refused() {
    let files = ["1.png", "2.png"];
    let default = CsvOptions::default();
    refused(
        &folder(&files, "id,label\n1,a\n2,b\n1,b\n"),
        &default,
        &["row 4", "contradicts row 2 on 1.png", "\"b\" here, \"a\" there"],
    );
    refused(&folder(&files, ""), &default, &["has no rows"]);
    refused(&folder(&files, "id,label\n1,a\n2,a\n"), &default, &["single class \"a\""]);
    refused(&folder(&files, "id,label\n1,\n2,\n"), &default, &["no labels"]);
    refused(
        &folder(&files, "id,label\nx1,a\nx2,b\n"),
        &default,
        &["names no file that exists", "x1", "suffix"],
    );
    let root = folder(&files, "");
    std::fs::write(root.path().join("labels.csv"), b"id,label\n1,caf\xE9\n2,b\n").unwrap();
    refused(&root, &default, &["row 2", "UTF-8"]);
    let error = csv::read(root.path().join("none.csv"), &default).unwrap_err().to_string();
    assert!(error.contains("cannot read") && error.contains("none.csv"), "{error}");
    assert!(csv::read(root.path(), &default).unwrap_err().to_string().contains("is a folder"));
}

#[test]
fn dog_breeds() {
    let Some(root) = shared("data/dogbreeds") else { return };
    let data = csv::read(root.join("labels_full.csv"), &CsvOptions::default()).unwrap();
    assert_eq!((data.items.len(), data.items.task), (1000, Task::SingleLabel));
    assert_eq!(data.skipped.len(), 10_222 - 1000);
    assert_eq!(data.items.root, Path::new(&root).join("train"));
    assert!(data.notices.iter().any(|notice| notice.contains("lack \".jpg\"")), "{:?}", data.notices);
    let data = csv::read(root.join("labels.csv"), &CsvOptions::default()).unwrap();
    assert_eq!((data.items.len(), data.skipped.len()), (1000, 0));
    assert_eq!(data.items[0].id, "000bec180eb18c7604dcecc8fe0dba07.jpg");
}

#[test]
fn rows_are_numbered_as_the_lines_of_the_file() {
    for (table, line) in [
        ("id,label\na.png,cat\nno.png,dog\nb.png,dog\n", 3),
        ("id,label\r\na.png,cat\r\nno.png,dog\r\nb.png,dog\r\n", 3),
        ("id,label\ra.png,cat\rno.png,dog\rb.png,dog\r", 3),
        ("id,label\r\n\r\n\r\na.png,cat\r\n\r\nno.png,dog\r\nb.png,dog", 6),
        ("id,label,note\na.png,cat,\"two\nlines\"\nno.png,dog,\nb.png,dog,\n", 4),
        ("id,label,note\r\na.png,cat,\"three\r\nlines\r\nhere\"\r\nno.png,dog,\r\nb.png,dog,\r\n", 5),
        ("\u{feff}id,label\r\na.png,cat\r\nno.png,dog\r\nb.png,dog\r\n", 3),
        ("no.png,dog\r\na.png,cat\r\nb.png,dog", 1),
    ] {
        let data = read(&folder(&["a.png", "b.png"], table), &CsvOptions::default());
        let reasons: Vec<&str> = data.skipped.iter().map(|skipped| skipped.reason.as_str()).collect();
        assert_eq!(reasons, [format!("named in row {line}, but there is no such file")], "{table:?}");
    }
}
