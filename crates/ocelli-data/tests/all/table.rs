//! Tables of labels as people have them.

use std::path::Path;

use crate::common::{png, shared, write};
use ocelli_data::source::table::{self, Column, Labelled, TableOptions};
use ocelli_data::{Dataset, Target, Task};

fn folder(files: &[&str], table: &str) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (number, file) in (0..).zip(files) {
        write(root.path(), file, png(number));
    }
    write(root.path(), "labels.csv", table);
    root
}

fn whole(root: &tempfile::TempDir, options: &TableOptions) -> Labelled {
    table::read(root.path().join("labels.csv"), options).unwrap()
}

fn read(root: &tempfile::TempDir, options: &TableOptions) -> Dataset {
    whole(root, options).dataset
}

#[track_caller]
fn refused(root: &tempfile::TempDir, options: &TableOptions, parts: &[&str]) {
    crate::common::refused(table::read(root.path().join("labels.csv"), options), parts);
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
        let data = read(&folder(&["a.png", "b.png"], table), &TableOptions::default());
        assert_eq!(rows(&data), expected, "{table}");
        assert_eq!((data.items.task, data.split, data.skipped), (Task::SingleLabel, None, vec![]), "{table}");
    }
}

#[test]
fn columns_by_name_and_a_folder() {
    let root = folder(&["pictures/x/a.png", "pictures/b.png"], "n,kind,file\n1,cat,x/a\n2,dog,b\n");
    let options = TableOptions {
        folder: Some(root.path().join("pictures")),
        suffix: Some(".png".to_owned()),
        id_column: Some(Column::Name("file".to_owned())),
        label_columns: vec![Column::Name("kind".to_owned())],
        ..TableOptions::default()
    };
    let data = read(&root, &options);
    assert_eq!(rows(&data), [row("x/a.png", &["cat"]), row("b.png", &["dog"])]);
    assert_eq!(data.notices, ["read as single-label: none of 2 rows has several labels"]);
    let stated = TableOptions { task: Some(Task::SingleLabel), ..options.clone() };
    assert_eq!(read(&root, &stated).notices, Vec::<String>::new(), "nothing is left to be detected");
    let wrong = TableOptions { label_columns: vec![Column::Name("breed".to_owned())], ..options.clone() };
    refused(&root, &wrong, &["no column \"breed\"", "n, kind, file"]);
    refused(
        &root,
        &TableOptions { id_column: Some(Column::Index(7)), ..options },
        &["3 columns", "no column number 8"],
    );
}

#[test]
fn several_labels() {
    let files = ["1.png", "2.png", "3.png", "4.png", "5.png"];
    let root = folder(&files, "image,tags\n1,clear road\n2,haze\n3,haze road water\n4,\n5,clear\n");
    let data = read(&root, &TableOptions::default());
    assert_eq!(data.items.task, Task::MultiLabel);
    assert_eq!(data.items.classes.names(), ["clear", "haze", "road", "water"]);
    assert_eq!(rows(&data)[2], row("3.png", &["haze", "road", "water"]));
    assert_eq!(data.items[3].target, Target::Classes(vec![]));
    assert!(
        data.notices.iter().any(|notice| notice.contains("1 of 5 rows of labels.csv have no label")),
        "{:?}",
        data.notices
    );
    let notice = data.notices.iter().find(|notice| notice.contains("multi-label")).unwrap();
    assert!(notice.contains("2 of 5 rows") && notice.contains("row 2: \"clear road\""), "{notice}");

    // Stated otherwise, each cell is one class, and the empty one is listed.
    let single = TableOptions { task: Some(Task::SingleLabel), ..TableOptions::default() };
    let data = read(&root, &single);
    assert_eq!(data.items.classes.names(), ["clear", "clear road", "haze", "haze road water"]);
    assert_eq!(data.skipped.len(), 1);
    assert_eq!(data.skipped[0].reason, "row 5 has no label");
}

#[test]
fn a_space_or_an_empty_cell_does_not_make_a_table_multi_label() {
    let files = ["1.png", "2.png", "3.png", "4.png"];
    let root = folder(&files, "id,breed\n1,golden retriever\n2,poodle\n3,\n4,poodle\n");
    let data = read(&root, &TableOptions::default());
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
    let options = TableOptions { split_column: Some(Column::Index(2)), ..TableOptions::default() };
    let data = read(&root, &options);
    let split = data.split.unwrap();
    assert_eq!((split.train, split.valid, split.test), (vec![0, 2], vec![1], vec![3]));
    assert_eq!(data.items[3].target, Target::Unlabelled);
    let root = folder(&files, "id,label,is_valid\n1,a,False\n2,b,True\n3,b,maybe\n");
    let options =
        TableOptions { split_column: Some(Column::Name("is_valid".to_owned())), ..TableOptions::default() };
    refused(&root, &options, &["row 4", "\"maybe\"", "train, valid or test"]);
}

#[test]
fn rows_without_files_and_files_without_rows_are_listed() {
    let root = folder(
        &["1.png", "2.png", "9.png"],
        "id,label\n1.png,a\n2.png,b\n3.png,b\n2.png,b\nlonely\n../x.png,a\n",
    );
    refused(&root, &TableOptions::default(), &["2 of 6 rows of labels.csv (33 %)", "`allow_missing`"]);
    let data = read(&root, &TableOptions { allow_missing: true, ..TableOptions::default() });
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
        ("x.png", "named in row 7, but there is no such file"),
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
        "row 1 of labels.csv names the columns: id, label",
        "2 of 6 rows of labels.csv (33 %) name files that do not exist; the first is row 4: 3.png, row 7: ../x.png",
        "1 of 6 rows of labels.csv cannot be used; the first is row 6",
        "1 of 6 rows of labels.csv repeat others and are left out; the first is row 5: 2.png",
        "1 image in",
        "9.png",
    ] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
}

#[test]
fn tables_that_would_train_wrongly_are_refused() {
    let files = ["1.png", "2.png"];
    let default = TableOptions::default();
    refused(
        &folder(&files, "id,label\n1,a\n2,b\n1,b\n"),
        &default,
        &["row 4", "contradicts row 2 on 1.png", "\"b\" here, \"a\" there"],
    );
    refused(&folder(&files, ""), &default, &["has no rows"]);
    // One class is not enough to train, but can be measured on.
    assert_eq!(read(&folder(&files, "id,label\n1,a\n2,a\n"), &default).items.classes.names(), ["a"]);
    refused(&folder(&files, "id,label\n1,\n2,\n"), &default, &["no labels"]);
    refused(
        &folder(&files, "id,label\nx1,a\nx2,b\n"),
        &default,
        &["names no file that exists", "x1", "suffix"],
    );
    let root = folder(&files, "");
    std::fs::write(root.path().join("labels.csv"), b"id,label\n1,caf\xE9\n2,b\n").unwrap();
    refused(&root, &default, &["row 2", "UTF-8"]);
    let error = table::read(root.path().join("none.csv"), &default).unwrap_err().to_string();
    assert!(error.contains("cannot read") && error.contains("none.csv"), "{error}");
    let error = table::read(root.path().join("."), &default).unwrap_err().to_string();
    assert!(error.contains("labels.csv: row 2"), "the folder's table: {error}");
}

#[test]
fn dog_breeds() {
    let Some(root) = shared("data/dogbreeds") else { return };
    let full = root.join("labels_full.csv");
    let error = table::read(&full, &TableOptions::default()).unwrap_err().to_string();
    assert!(error.contains("9,222 of 10,222 rows of labels_full.csv (90 %)"), "{error}");
    let missing = TableOptions { allow_missing: true, ..TableOptions::default() };
    let data = table::read(full, &missing).unwrap().dataset;
    assert_eq!((data.items.len(), data.items.task), (1000, Task::SingleLabel));
    assert_eq!(data.skipped.len(), 10_222 - 1000);
    assert_eq!(data.items.root, Path::new(&root).join("train"));
    assert!(data.notices.iter().any(|notice| notice.contains("lack \".jpg\"")), "{:?}", data.notices);
    let data = table::read(&root, &TableOptions::default()).unwrap().dataset;
    let chosen = "dogbreeds/labels.csv, by its name, and not those of labels_full.csv";
    assert!(data.notices[0].ends_with(chosen), "{:?}", data.notices);
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
        let data = read(&folder(&["a.png", "b.png"], table), &TableOptions::default());
        let reasons: Vec<&str> = data.skipped.iter().map(|skipped| skipped.reason.as_str()).collect();
        assert_eq!(reasons, [format!("named in row {line}, but there is no such file")], "{table:?}");
    }
}

fn names(count: usize) -> Vec<String> {
    (1..=count).map(|number| format!("{number:03}.png")).collect()
}

/// A folder `photos/` with so many images, and a table beside it.
fn photos(count: usize, table: impl AsRef<[u8]>) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (number, name) in (0..).zip(names(count)) {
        write(root.path(), &format!("photos/{name}"), png(number));
    }
    write(root.path(), "labels.csv", table);
    root
}

/// `name,LABEL` for each name.
fn lines(header: &str, count: usize, row: impl Fn(usize, &str) -> String) -> String {
    let rows = names(count).into_iter().enumerate().map(|(place, name)| row(place, &name));
    std::iter::once(header.to_owned()).chain(rows).map(|line| line + "\n").collect()
}

fn stated(root: &tempfile::TempDir) -> TableOptions {
    TableOptions { folder: Some(root.path().join("photos")), ..TableOptions::default() }
}

#[track_caller]
fn says(labelled: &Labelled, parts: &[&str]) {
    let said = labelled.dataset.notices.join("\n");
    for part in parts {
        assert!(said.contains(part), "{part:?} is not in: {said}");
    }
}

fn classes(labelled: &Labelled) -> Vec<&str> {
    labelled.dataset.items.classes.names().iter().map(String::as_str).collect()
}

#[test]
fn the_column_of_labels_goes_by_its_name_or_is_asked_for() {
    let cat = |place| if place < 8 { "cat" } else { "dog" };
    let table = |header: &str| {
        lines(header, 16, |place, name| {
            format!("{name},{},{},{}", ["F", "M"][place % 2], 20 + place % 3, cat(place))
        })
    };
    let root = photos(16, table("filename,sex,age,label"));
    let read = whole(&root, &stated(&root));
    assert_eq!(classes(&read), ["cat", "dog"]);
    says(
        &read,
        &["labels of labels.csv (filename, sex, age, label) are in the column \"label\", by its name"],
    );
    let root = photos(16, table("filename,sex,age,pet"));
    refused(&root, &stated(&root), &["filename, sex, age, pet", "not clear", "`label_columns`"]);
    let options = TableOptions { label_columns: vec![Column::Name("pet".to_owned())], ..stated(&root) };
    assert_eq!(classes(&whole(&root, &options)), ["cat", "dog"]);
    // Without names nothing says it.
    let root = photos(16, &table("x")[2..]);
    refused(&root, &stated(&root), &["1, 2, 3, 4", "not clear"]);
    // A number and a name of one class say the same; two names that do not are unclear.
    let root = photos(
        4,
        lines("image,class_id,class_name", 4, |place, name| {
            format!("{name},{},{}", place % 2, ["cat", "dog"][place % 2])
        }),
    );
    let read = whole(&root, &stated(&root));
    assert_eq!(classes(&read), ["cat", "dog"]);
    says(&read, &["divide the rows alike"]);
    let root = photos(
        4,
        lines("image,species,breed", 4, |place, name| format!("{name},s{},b{}", place % 2, place / 2)),
    );
    refused(&root, &stated(&root), &["image, species, breed", "not clear"]);
}

#[test]
fn the_column_of_files_goes_by_what_is_there() {
    let root = photos(
        4,
        lines("id,age,photo_file,breed", 4, |place, name| {
            format!("{place},3,{name},{}", ["a", "b"][place % 2])
        }),
    );
    let read = whole(&root, &stated(&root));
    assert_eq!(rows(&read.dataset)[1], row("002.png", &["b"]));
    says(&read, &["the files of labels.csv are in the column \"photo_file\": 4 of 4 sampled rows"]);
    // An index, as pandas and R write it, is no column of labels.
    for header in [",file,kind", "Unnamed: 0,file,kind", "file,kind", "\"\",\"file\",\"kind\""] {
        let table = lines(header, 4, |place, name| format!("{place},{name},{}", ["a", "b"][place % 2]));
        let root = photos(4, table);
        let read = whole(&root, &stated(&root));
        assert_eq!(rows(&read.dataset)[3], row("004.png", &["b"]), "{header}");
        says(&read, &["numbers its rows (0, 1, …) and is left out"]);
    }
    let root = photos(
        4,
        lines("0,x,y", 4, |place, name| format!("{place},{name},{}", ["a", "b"][place % 2])).split_off(6),
    );
    assert_eq!(classes(&whole(&root, &stated(&root))), ["a", "b"]);
}

/// A row a label, with a column that says of some that they are not there.
#[test]
fn labels_that_are_not_there_are_not_taken_for_labels() {
    let table = |confidence: [u8; 2]| {
        let mut text = "ImageID,LabelName,Confidence\n".to_owned();
        for name in names(6) {
            let id = name.trim_end_matches(".png");
            text += &format!("{id},cat,{}\n{id},dog,{}\n", confidence[0], confidence[1]);
        }
        photos(6, text)
    };
    let root = table([1, 0]);
    refused(&root, &stated(&root), &["row 3", "Confidence", "not there", "leave out the rows with 0"]);
    let root = table([1, 1]);
    assert_eq!(rows(&whole(&root, &stated(&root)).dataset)[0].1, ["cat", "dog"]);
}

/// Numbers of rows or of something else are no names of files, although there may be files of such names.
#[test]
fn numbers_beside_the_names_of_files_do_not_name_other_files() {
    let other = |place: usize| names(12)[(place * 5 + 3) % 12].clone();
    let table = |header: &str, ending: &str| {
        let cells = |place: usize, name: &str| {
            let number = name.trim_end_matches(".png");
            let file = other(place);
            let file = if ending.is_empty() { file.trim_end_matches(".png").to_owned() } else { file };
            format!("{number},{file},{}", ["a", "b"][place % 2])
        };
        photos(12, lines(header, 12, cells))
    };
    for header in ["id,name,label", "id,image_url,label", "id,file_id,label"] {
        let root = table(header, ".png");
        let read = whole(&root, &stated(&root));
        for (place, (id, labels)) in rows(&read.dataset).into_iter().enumerate() {
            assert_eq!((id, labels), (other(place), vec![["a", "b"][place % 2].to_owned()]), "{header}");
        }
    }
    for header in ["id,photo_no,label", "id,name,label", "ID,ImageNumber,label"] {
        let root = table(header, "");
        refused(&root, &stated(&root), &["names different files in the columns", "`id_column`"]);
    }
    // One that says that it holds images is taken.
    let root = table("id,image,label", "");
    assert_eq!(rows(&whole(&root, &stated(&root)).dataset)[0].0, other(0));
    // So is the only one.
    let root = photos(12, lines("id,label", 12, |place, name| format!("{name},{}", place % 6)));
    assert_eq!(classes(&whole(&root, &stated(&root))).len(), 6);
}

#[test]
fn columns_of_classes_hold_one_label_or_several() {
    let root = photos(
        6,
        lines("file,cat,dog,bird", 6, |place, name| {
            format!(
                "{name},{},{},{}",
                u8::from(place % 3 == 0),
                u8::from(place % 3 == 1),
                u8::from(place % 3 == 2)
            )
        }),
    );
    let read = whole(&root, &stated(&root));
    assert_eq!((classes(&read), read.dataset.items.task), (vec!["bird", "cat", "dog"], Task::SingleLabel));
    assert_eq!(rows(&read.dataset)[1], row("002.png", &["dog"]));
    says(&read, &["a column for each of 3 classes", "each of 6 rows has 1 for one class"]);
    let root = photos(
        3,
        lines("file,road,water", 3, |place, name| {
            format!("{name},{}.0,{}.0", u8::from(place < 2), u8::from(place == 1))
        }),
    );
    let read = whole(&root, &stated(&root));
    assert_eq!(read.dataset.items.task, Task::MultiLabel);
    assert_eq!(
        rows(&read.dataset),
        [row("001.png", &["road"]), row("002.png", &["road", "water"]), row("003.png", &[])]
    );
    says(&read, &["2 of 3 rows have 1 for no class or for several, the first is row 3: for 2"]);
    let single = TableOptions { task: Some(Task::SingleLabel), ..stated(&root) };
    refused(&root, &single, &["row 3", "2 columns of classes", "`task` multi-label"]);
    // Columns that are no class are left out by name.
    let root =
        photos(3, lines("file,age,road,water", 3, |place, name| format!("{name},{place}3,1,{}", place % 2)));
    refused(&root, &stated(&root), &["file, age, road, water", "not clear"]);
    let label = ["road", "water"].map(|name| Column::Name(name.to_owned())).to_vec();
    let options = TableOptions { label_columns: label.clone(), ..stated(&root) };
    assert_eq!(classes(&whole(&root, &options)), ["road", "water"]);
    let options = TableOptions {
        label_columns: [&label[..], &[Column::Name("age".to_owned())]].concat(),
        ..stated(&root)
    };
    refused(&root, &options, &["row 2", "\"03\" in the column \"age\"", "0 or 1"]);
}

#[test]
fn separators_of_columns_and_of_labels_are_found_out() {
    let multi = |separator: &str| {
        let sets = ["Mass|Effusion", "Effusion", "No Finding", "Mass", "No Finding|Mass"];
        lines("Image Index,Finding Labels", 10, |place, name| {
            format!("{name},\"{}\"", sets[place % 5].replace('|', separator))
        })
    };
    for (separator, found) in [("|", '|'), (";", ';'), (", ", ','), (",", ','), ("| ", '|')] {
        let root = photos(10, multi(separator));
        let read = whole(&root, &stated(&root));
        assert_eq!(classes(&read), ["Effusion", "Mass", "No Finding"], "{separator}");
        assert_eq!((read.dataset.items.task, read.label_separator), (Task::MultiLabel, Some(found)));
        assert_eq!(rows(&read.dataset)[0], row("001.png", &["Effusion", "Mass"]));
        let evidence =
            format!("4 of 10 rows have several labels, the first is row 2: \"Mass{separator}Effusion\"");
        says(&read, &["read as multi-label, labels separated by", &evidence]);
        // Stated otherwise, a cell is a class.
        let single = TableOptions { task: Some(Task::SingleLabel), ..stated(&root) };
        assert_eq!(classes(&whole(&root, &single)).len(), 5);
    }
    for (cell, other) in
        [("['a b', \"c\"]", "['c']"), ("[\"\"a b\"\", \"\"c\"\"]", "[\"\"c\"\"]"), ("[a b, c]", "[c]")]
    {
        let table = lines("file,tags", 4, |place, name| {
            format!(
                "{name},\"{}\"",
                if place % 2 == 0 { cell } else { other }
                    .replace("\"c\"]", "\"\"c\"\"]")
                    .replace("\"\"\"\"", "\"\"")
            )
        });
        let root = photos(4, table);
        let read = whole(&root, &stated(&root));
        assert_eq!(
            rows(&read.dataset)[..2],
            [row("001.png", &["a b", "c"]), row("002.png", &["c"])],
            "{cell}"
        );
        says(&read, &["commas in brackets"]);
    }
    for separator in ["|", ";", "\t", " ", "  "] {
        let table = lines(&format!("file{separator}label"), 4, |place, name| {
            format!("{name}{separator}{}", ["a", "b"][place % 2])
        });
        let root = photos(4, table);
        let read = whole(&root, &stated(&root));
        assert_eq!(rows(&read.dataset)[1], row("002.png", &["b"]), "{separator:?}");
        says(&read, &["are separated by", "row 1 has 2 (\"file\", \"label\"), and so have 5 of 5 rows"]);
    }
    // Excel says it in a line of its own.
    let root = photos(2, "sep=;\r\nfile;label\r\n001.png;a,b\r\n002.png;c\r\n");
    assert_eq!(classes(&whole(&root, &stated(&root))), ["a,b", "c"]);
}

#[test]
fn names_of_classes_keep_their_commas_and_spaces() {
    for names in [
        ["golden retriever", "labrador retriever", "poodle", "great dane"],
        ["black cat", "white dog", "black dog", "white cat"],
        ["Bulldog, French", "Bulldog, English", "Dane, Great", "Poodle"],
        ["tench, Tinca tinca", "goldfish, Carassius", "ray; stingray", "hen"],
        ["animal|dog", "animal|cat", "plant|rose", "plant|oak"],
    ] {
        let root =
            photos(8, lines("file,label", 8, |place, name| format!("{name},\"{}\"", names[place % 4])));
        let read = whole(&root, &stated(&root));
        let mut wanted = names;
        wanted.sort_unstable();
        assert_eq!((classes(&read), read.dataset.items.task), (wanted.to_vec(), Task::SingleLabel));
        assert_eq!(read.label_separator, None);
        says(&read, &["read as single-label, with"]);
        // Who knows better says so.
        let separator = names[0].chars().find(|c| !c.is_alphanumeric());
        let options = TableOptions { label_separator: separator, ..stated(&root) };
        let read = whole(&root, &options);
        assert_eq!((read.dataset.items.task, read.label_separator), (Task::MultiLabel, separator));
    }
}

#[test]
fn json_tables_are_read() {
    let meta = "{\"file_name\": \"001.png\", \"label\": \"cat\"}\n\n{\"label\": 3, \"file_name\": \"002.png\", \"more\": null}\n";
    let root = photos(2, "");
    let check = |name: &str, text: &str, wanted: &[(String, Vec<String>)]| {
        write(root.path(), name, text);
        let read = table::read(root.path().join(name), &stated(&root)).unwrap();
        assert_eq!(rows(&read.dataset), wanted, "{text}");
    };
    let pair = [row("001.png", &["cat"]), row("002.png", &["3"])];
    check("metadata.jsonl", meta, &pair);
    check(
        "metadata.json",
        "[{\"file_name\": \"001.png\", \"label\": \"cat\"},\n {\"file_name\": \"002.png\", \"label\": 3}]",
        &pair,
    );
    check("labels.json", "{\n\"001.png\": \"cat\",\n\"002.png\": 3}", &pair);
    let lists = [row("001.png", &["cat", "dog"]), row("002.png", &["dog"])];
    check(
        "a.ndjson",
        "{\"image\": \"001\", \"tags\": [\"cat\", \"dog\"]}\n{\"image\": \"002\", \"tags\": [\"dog\"]}",
        &lists,
    );
    // A single label beside lists, and flags by name.
    check(
        "b.jsonl",
        "{\"image\": \"001\", \"tags\": \"night time\"}\n{\"image\": \"002\", \"tags\": [\"dog\", \"night time\"]}",
        &[row("001.png", &["night time"]), row("002.png", &["dog", "night time"])],
    );
    check(
        "c.jsonl",
        "{\"image\": \"001\", \"labels\": {\"cat\": true, \"dog\": true, \"b, c\": false}}\n\
         {\"image\": \"002\", \"labels\": {\"cat\": 0, \"dog\": 0, \"b, c\": 1}}",
        &[row("001.png", &["cat", "dog"]), row("002.png", &["b, c"])],
    );
    for (text, parts) in [
        (
            "{\"file\": \"001.png\", \"label\": \"a\"}\n{\"file\": \"002.png\", \"label\": {\"name\": \"cat\"}}",
            &["row 2", "an object where labels are expected", "true and false"][..],
        ),
        (
            "{\"file\": \"001.png\", \"label\": [{\"name\": \"cat\"}]}\n{\"file\": \"002.png\", \"label\": []}",
            &["row 1", "an object where labels are expected"],
        ),
        ("{\"file\": \"001.png\"}\n{\"file\": ", &["row 2", "JSON"][..]),
        ("{\"file\": \"001.png\"}\n3\n", &["row 2", "no JSON object"]),
    ] {
        write(root.path(), "broken.jsonl", text);
        let error = table::read(root.path().join("broken.jsonl"), &stated(&root)).unwrap_err().to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
    }
    write(root.path(), "coco.json", "{\"images\": [{\"id\": 1}], \"annotations\": []}");
    let error = table::read(root.path().join("coco.json"), &stated(&root)).unwrap_err().to_string();
    assert!(error.contains("\"images\" is no label"), "{error}");
}

#[test]
fn json_whose_entries_have_names_of_their_own_takes_no_memory_for_every_name_in_every_row() {
    let root = photos(2, "");
    // A few gigabytes of cells, if all were made.
    let lines: String = (0..20_000).map(|number| format!("{{\"{number:05}.png\": \"cat\"}}\n")).collect();
    write(root.path(), "labels.jsonl", lines);
    let error = table::read(root.path().join("labels.jsonl"), &stated(&root)).unwrap_err().to_string();
    for part in ["labels.jsonl", "1,025 names", "00000.png", "the same names"] {
        assert!(error.contains(part), "{error}");
    }
    // Many columns are none the worse where they are filled.
    let columns: String = (0..1200).map(|number| format!(", \"class_{number}\": {}", number % 2)).collect();
    let lines: String =
        (0..1200).map(|number| format!("{{\"file\": \"{:03}.png\"{columns}}}\n", 1 + number % 2)).collect();
    write(root.path(), "wide.jsonl", lines);
    let read =
        table::read(root.path().join("wide.jsonl"), &stated(&root)).map(|read| read.dataset.items.task);
    let said = read.map_or_else(|error| error.to_string(), |task| format!("{task:?}"));
    assert!(!said.contains("would be columns"), "{said}");
}

#[test]
fn a_quote_that_is_left_open_is_named_with_its_row() {
    let labels = |broken: &str| {
        lines("filename,label,note", 16, |place, name| match place {
            2 => format!("{name},{broken}"),
            9 => format!("{name},dog,\"well\""),
            _ => format!("{name},{},x", ["cat", "dog"][place / 8]),
        })
    };
    for (broken, parts) in [
        ("\"cat,x", &["row 4", "opens a quote"][..]),
        ("cat,\"x", &["row 4", "row 11 closes amid a cell"]),
        ("\"cat\nand\nmore\",x", &["row 4", "around 3 lines", "beginning with cat⏎and"]),
    ] {
        let root = photos(16, labels(broken));
        refused(&root, &stated(&root), parts);
    }
    let root = photos(4, "filename,label\n001.png,cat\n002.png,\"dog\n003.png,dog\n004.png,cat\n");
    refused(&root, &stated(&root), &["row 3", "never closed"]);
    let root = photos(3, "filename,label\n\"001.png\n002.png\",cat\n003.png,dog\n");
    refused(&root, &stated(&root), &["row 2", "around 2 lines"]);
    // Elsewhere line breaks are part of a cell, and quotes within a cell are no quotes.
    let root = photos(
        3,
        "file,note,label\n001.png,\"two\nlines\",5\" plate\n002.png,,\"a \"\"big\"\" cup\"\n003.png,,\"5\"\n",
    );
    let read = whole(&root, &stated(&root));
    assert_eq!(classes(&read), ["5", "5\" plate", "a \"big\" cup"]);
}

#[test]
fn texts_of_other_programs() {
    let text = "file;label\r\n001.png;Löwe\r\n002.png;Bär\r\n";
    let utf16 = |order: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(order).collect::<Vec<u8>>();
    let little = [&[0xFF, 0xFE][..], &utf16(u16::to_le_bytes)].concat();
    let big = [&[0xFE, 0xFF][..], &utf16(u16::to_be_bytes)].concat();
    for bytes in [
        text.as_bytes().to_vec(),
        little,
        big,
        utf16(u16::to_le_bytes),
        [b"\xEF\xBB\xBF", text.as_bytes()].concat(),
    ] {
        let root = photos(2, bytes);
        assert_eq!(classes(&whole(&root, &stated(&root))), ["Bär", "Löwe"]);
    }
    let latin: Vec<u8> = text.chars().map(|c| c as u8).collect();
    let root = photos(2, latin);
    refused(&root, &stated(&root), &["row 2", "UTF-8", "as Latin-1 it is \"001.png;Löwe\""]);
    for (bytes, part) in [
        (&b"PK\x03\x04rest"[..], "Excel"),
        (b"PAR1rest", "Parquet"),
        (b"\x1F\x8B\x08rest", "gzip"),
        (b"file,label\n001.png,a\0b\n", "row 2 holds zero bytes"),
        (b"file,label\n", "no rows but that of the columns' names"),
        (b"\n\n", "has no rows"),
    ] {
        let root = photos(2, bytes);
        refused(&root, &stated(&root), &[part]);
    }
    // A name may begin as a comment does.
    let root = folder(&["#1.png", "#2.png"], "#1.png,a\n#2.png,b\n");
    assert_eq!(rows(&read(&root, &TableOptions::default())), [row("#1.png", &["a"]), row("#2.png", &["b"])]);
    // Comments, empty lines, spaces around cells, commas at the end.
    for text in [
        "# made by a program\n# version 2\nfile,label\n001.png,a\n# a line, in between\n\n002.png,b\n",
        "#file,label\n001.png,a\n002.png,b\n",
        "# the file, its label\nfile,label\n001.png,a\n002.png,b\n",
        " file , label \n 001.png , \"a\"\n\t002.png,b\n",
        "file,label,\n001.png,a,\n002.png,b,,,\n",
    ] {
        let root = photos(2, text.replace("# a line, in between", "# a line in between"));
        let read = whole(&root, &stated(&root));
        assert_eq!(rows(&read.dataset), [row("001.png", &["a"]), row("002.png", &["b"])], "{text}");
    }
    let root = photos(3, "file,label\n001.png,a\n002.png,b,c\n003.png,c\n");
    refused(&root, &stated(&root), &["row 3 has 3 cells, and row 1 has 2", "into quotes"]);
}

#[test]
fn names_of_classes_are_bounded() {
    let root = photos(2, format!("file,label\n001.png,a\n002.png,{}\n", "b".repeat(65_536)));
    refused(&root, &stated(&root), &["row 3", "65,536 characters", "255"]);
    let root = photos(2, format!("file,label\n001.png,a\n002.png,{}\n", "é".repeat(255)));
    assert_eq!(classes(&whole(&root, &stated(&root))).len(), 2);
    let root = photos(2, "file,label\n001.png,a\n002.png,b\u{1b}[31m\n");
    refused(&root, &stated(&root), &["row 3", "control character"]);
}

#[test]
fn paths_of_other_systems_lead_to_the_files() {
    let wanted = [row("001.png", &["a"]), row("002.png", &["b"]), row("003.png", &["a"])];
    for prefix in [
        "photos/",
        "photos\\",
        ".\\photos\\",
        "./",
        "C:\\Users\\me\\pets\\",
        "/kaggle/input/pets/images/",
        "train/",
        "../photos/",
        "https://x.org/y/",
    ] {
        let root = photos(
            3,
            lines("file,label", 3, |place, name| format!("{prefix}{name},{}", ["a", "b"][place % 2])),
        );
        let read = whole(&root, &stated(&root));
        assert_eq!(rows(&read.dataset), wanted, "{prefix}");
        assert_eq!(read.dataset.items.root, root.path().join("photos"));
        let dropped = prefix.contains(':') || prefix.starts_with("/k") || prefix.starts_with("train");
        if dropped {
            says(&read, &["3 names in labels.csv begin with folders that are not here", "row 2: "]);
        }
    }
    // An absolute path, and endings and names in another case or Unicode form.
    let root = photos(3, "");
    let inside = root.path().join("photos/003.png").display().to_string();
    write(root.path(), "photos/Cafe\u{301}.PNG", png(8));
    write(root.path(), "elsewhere/x.png", png(9));
    let outside = root.path().join("elsewhere/x.png").display().to_string();
    write(
        root.path(),
        "labels.csv",
        format!("file,label\n001.PNG,a\n002,b\n{inside},a\ncaf\u{e9},a\n{outside},b\n../elsewhere/x.png,b\n"),
    );
    let read = whole(&root, &stated(&root));
    let ids: Vec<String> = rows(&read.dataset).into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, ["001.png", "002.png", "003.png", "Cafe\u{301}.PNG", &outside, "../elsewhere/x.png"]);
    says(
        &read,
        &[
            "2 names in labels.csv differ in upper and lower case",
            "2 names in labels.csv are outside the folder",
        ],
    );
}

#[test]
fn endings_may_differ_from_row_to_row() {
    let root = tempfile::tempdir().unwrap();
    for (number, name) in (0..).zip(["a.jpg", "b.png", "c.JPEG", "d.v2.png"]) {
        write(root.path(), &format!("in/train/{name}"), png(number));
    }
    write(root.path(), "labels.csv", "id,label\na,x\nb,y\nc,x\nd.v2,y\n");
    let read = whole(&root, &TableOptions::default());
    let ids: Vec<String> = rows(&read.dataset).into_iter().map(|(id, _)| id).collect();
    assert_eq!(ids, ["a.jpg", "b.png", "c.JPEG", "d.v2.png"]);
    assert!(read.dataset.items.root.ends_with("in/train"));
    says(&read, &["lack \".JPEG\" (1), \".jpg\" (1), \".png\" (2) to be file names"]);
}

#[test]
fn what_could_be_several_files_is_refused() {
    let root = tempfile::tempdir().unwrap();
    for (number, name) in (0..).zip(["one/1.png", "two/1.png", "one/2.png", "two/3.png"]) {
        write(root.path(), &format!("in/{name}"), png(number));
    }
    let table = |text: &str| write(root.path(), "labels.csv", text);
    table("id,label\n1,x\n2,y\n3,x\n");
    refused(&root, &TableOptions::default(), &["row 2 names 1, which could be in/one/1.png or in/two/1.png"]);
    // With the folder in the name, or most of the others in one, it is clear.
    table("id,label\none/1,x\n2,y\ntwo/3,x\n");
    assert_eq!(rows(&read(&root, &TableOptions::default()))[0].0, "in/one/1.png");
    // A folder that is there and lacks the file is not passed over for another's file of that name.
    table("id,label\none/3.png,x\none/1.png,y\none/2.png,x\n");
    let read = read(&root, &TableOptions::default());
    assert_eq!(read.items.len(), 2);
    assert!(
        read.notices.iter().any(|notice| notice
            .contains("row 2: one/3.png (its folder one is there without it; there is in/two/3.png)")),
        "{:?}",
        read.notices
    );
    // Two folders that are not here do not lead to one file.
    table("id,label\ncats/2.png,x\ndogs/2.png,y\ntwo/3.png,x\none/2,x\n");
    refused(&root, &TableOptions::default(), &["2 of 4 rows", "another row names it in full"]);
    // One image of two endings.
    for name in ["1.jpg", "1.png", "2.png"] {
        write(root.path(), &format!("both/{name}"), png(3));
    }
    write(root.path(), "both.csv", "id,label\n1,x\n2,y\n");
    let options = TableOptions { folder: Some(root.path().join("both")), ..TableOptions::default() };
    let read = table::read(root.path().join("both.csv"), &options).unwrap();
    assert_eq!(rows(&read.dataset)[0].0, "1.png", "the ending that more rows lack");
    write(root.path(), "both.csv", "id,label\n1,x\n2.png,y\n");
    let error = table::read(root.path().join("both.csv"), &options).unwrap_err().to_string();
    assert!(error.contains("could be 1.jpg or 1.png"), "{error}");
}

#[test]
fn the_cause_is_named_where_a_file_is_not_found() {
    let root = photos(
        12,
        lines("file,label", 12, |place, name| match place {
            3 => "004.jpg,a".to_owned(),
            _ => format!("{name},{}", ["a", "b"][place % 2]),
        }),
    );
    says(
        &whole(&root, &stated(&root)),
        &["1 of 12 rows of labels.csv (8 %)", "row 5: 004.jpg (there is 004.png, with another ending)"],
    );
    let root = photos(3, "id,label\n1,a\n2,b\n3,a\n");
    refused(
        &root,
        &stated(&root),
        &["names no file that exists", "there is 001.png; a spreadsheet may have changed the number"],
    );
    // Rows for missing files: a class that is lost with them is an error.
    let root = photos(
        20,
        lines("file,label", 20, |place, name| match place {
            7 => "gone.png,c".to_owned(),
            _ => format!("{name},{}", ["a", "b"][place % 2]),
        }),
    );
    refused(&root, &stated(&root), &["1 of 20 rows", "no file is left of \"c\"", "`allow_missing`"]);
    let allowed = TableOptions { allow_missing: true, ..stated(&root) };
    let read = whole(&root, &allowed);
    says(&read, &["no file is left of \"c\": it is no class", "1 image in", "without a row in labels.csv"]);
    assert_eq!(classes(&read), ["a", "b"]);
}

#[test]
fn a_row_for_each_label() {
    let long = |count: usize| {
        let mut text = "file,tag\n".to_owned();
        for (place, name) in names(count).iter().enumerate() {
            text += &format!("{name},{}\n", ["red", "blue"][place % 2]);
            if place % 2 == 0 {
                text += &format!("{name},round\n");
            }
        }
        text
    };
    let root = photos(8, long(8));
    let read = whole(&root, &stated(&root));
    assert_eq!((read.dataset.items.task, read.dataset.items.len()), (Task::MultiLabel, 8));
    assert_eq!(rows(&read.dataset)[..2], [row("001.png", &["red", "round"]), row("002.png", &["blue"])]);
    says(&read, &["a row a label: 4 of 8 images have several rows", "001.png has rows 2, 3"]);
    // Stated otherwise, or with few of them, or with votes that repeat, they contradict each other.
    let single = TableOptions { task: Some(Task::SingleLabel), ..stated(&root) };
    refused(&root, &single, &["row 3 contradicts row 2", "keep the right one"]);
    for more in ["001.png,red\n", ""] {
        let count = if more.is_empty() { 40 } else { 8 };
        let text = if more.is_empty() {
            lines("file,tag", count, |place, name| format!("{name},{}", ["red", "blue"][place % 2]))
                + "001.png,blue\n"
        } else {
            long(8) + more
        };
        let root = photos(count, text);
        refused(&root, &stated(&root), &["contradicts row 2 on 001.png"]);
        let multi = TableOptions { task: Some(Task::MultiLabel), ..stated(&root) };
        assert_eq!(whole(&root, &multi).dataset.items.len(), count);
    }
}

#[test]
fn the_split_is_followed_where_a_column_is_called_so() {
    let root = photos(
        6,
        lines("file,label,split", 6, |place, name| {
            format!("{name},{},{}", ["a", "b"][place % 2], ["train", "val", "test"][place / 2])
        }),
    );
    let read = whole(&root, &stated(&root));
    let split = read.dataset.split.clone().unwrap();
    assert_eq!((split.train, split.valid, split.test), (vec![0, 1], vec![2, 3], vec![4, 5]));
    says(&read, &["the column \"split\" of labels.csv gives the split: test, train, val"]);
    let root = photos(
        4,
        lines("file,label,is_valid", 4, |place, name| {
            format!("{name},{},{}", ["a", "b"][place % 2], place > 1)
        }),
    );
    assert_eq!(whole(&root, &stated(&root)).dataset.split.unwrap().valid, [2, 3]);
    // Whatever it is called, a column of nothing else is not one of labels; one of 0 and 1 must be called so.
    let uses = |place: usize, name: &str| {
        format!("{name},{},{}", ["a", "b"][place % 2], ["train", "valid"][place / 3])
    };
    let root = photos(6, lines("file,animal,use", 6, uses));
    assert_eq!(whole(&root, &stated(&root)).dataset.split.unwrap().valid, [3, 4, 5]);
    let male = |place: usize, name: &str| format!("{name},{},{}", ["a", "b"][place % 2], place / 2);
    let root = photos(4, lines("file,label,male", 4, male));
    assert_eq!(whole(&root, &stated(&root)).dataset.split, None);
    // Characters in two forms are one class, as in folders.
    let root = photos(3, "file,label\n001.png,caf\u{e9}\n002.png,cafe\u{301}\n003.png,tea\n");
    assert_eq!(classes(&whole(&root, &stated(&root))), ["caf\u{e9}", "tea"]);
}

#[test]
fn groups_are_given_with_the_items() {
    let root = photos(4, "file,patient,label\n004.png,p2,a\n001.png,p1,b\n002.png,,a\n003.png,p1,b\n");
    let options = TableOptions { group_column: Some(Column::Name("Patient".to_owned())), ..stated(&root) };
    let read = whole(&root, &options);
    let groups: Vec<Option<&str>> = read.groups.as_ref().unwrap().iter().map(Option::as_deref).collect();
    assert_eq!(groups, [Some("p2"), Some("p1"), None, Some("p1")]);
    assert_eq!(classes(&read), ["a", "b"], "the group is no column of labels");
    assert!(
        !read.dataset.notices.iter().any(|notice| notice.contains("groups")),
        "{:?}",
        read.dataset.notices
    );
    // Spreadsheets make fractions of numbers where cells are empty.
    let root = photos(4, "file,patient,label\n004.png,6,a\n001.png,6.0,b\n002.png,p 1,a\n003.png,P_1,b\n");
    let read = whole(&root, &TableOptions { folder: stated(&root).folder, ..options });
    says(&read, &["the groups \"6\" and \"6.0\" differ in", "(1 more such)"]);
}

#[test]
fn the_table_in_a_folder() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path();
    let labels = "id,breed\n1,a\n2,b\n3,a\n";
    for (number, name) in (0..).zip(["train/1.png", "train/2.png", "train/3.png", "test/4.png"]) {
        write(folder, name, png(number));
    }
    assert!(table::says_the_classes(folder));
    write(folder, "sample_submission.csv", "id,a,b\n4,0.5,0.5\n");
    assert!(
        table::read(folder, &TableOptions::default())
            .unwrap_err()
            .to_string()
            .contains("holds no table of labels")
    );
    write(folder, "labels.csv", labels);
    write(folder, "labels_full.csv", labels);
    let read = table::read(folder, &TableOptions::default()).unwrap();
    assert_eq!(rows(&read.dataset)[0].0, "1.png");
    assert!(read.dataset.items.root.ends_with("train"));
    // Two that say nothing plainly are both named.
    std::fs::rename(folder.join("labels.csv"), folder.join("breeds.csv")).unwrap();
    let error = table::read(folder, &TableOptions::default()).unwrap_err().to_string();
    assert!(error.contains("several tables") && error.contains("breeds.csv, labels_full.csv"), "{error}");
    // Class folders need no table.
    for container in ["", "train/", "data/"] {
        let root = tempfile::tempdir().unwrap();
        for (number, name) in (0..).zip(["cats/1.png", "dogs/2.png"]) {
            write(root.path(), &format!("{container}{name}"), png(number));
        }
        assert!(!table::says_the_classes(root.path()), "{container}");
    }
    // As data sets of Hugging Face have it, in the folder for training.
    let root = tempfile::tempdir().unwrap();
    write(
        root.path(),
        "train/metadata.jsonl",
        "{\"file_name\": \"a/1.png\", \"label\": 0}\n{\"file_name\": \"2.png\", \"label\": 1}\n",
    );
    for (number, name) in (0..).zip(["train/a/1.png", "train/2.png", "test/3.png"]) {
        write(root.path(), name, png(number));
    }
    let read = table::read(root.path(), &TableOptions::default()).unwrap();
    assert_eq!(rows(&read.dataset), [row("a/1.png", &["0"]), row("2.png", &["1"])]);
}

#[test]
fn odd_labels_are_said() {
    let root = photos(4, "file,label\n001.png,1\n002.png,1.0\n003.png,Cat\n004.png,cat\n");
    says(
        &whole(&root, &stated(&root)),
        &["the classes \"1\" and \"1.0\" differ", "the classes \"Cat\" and \"cat\" differ"],
    );
    let root = photos(4, lines("file,age", 4, |place, name| format!("{name},{}.5", place % 3)));
    says(&whole(&root, &stated(&root)), &["numbers such as 0.5"]);
    // Named through another path, a photo still has its row.
    let root = photos(2, "file,label\nphotos\\001.png,a\nphotos/../photos/002.png,b\n");
    let read = whole(&root, &stated(&root));
    assert_eq!(rows(&read.dataset), [row("001.png", &["a"]), row("002.png", &["b"])]);
    assert_eq!(read.dataset.skipped, []);
}

#[test]
fn a_table_of_one_column_is_refused_with_a_row() {
    let root = photos(2, "file\n001.png\n002.png\n");
    refused(&root, &stated(&root), &["a single column; row 2 is \"001.png\""]);
    // After the name of a file, what follows a space is its label.
    let root = photos(2, "file label\n001.png golden retriever\n002.png poodle\n");
    let read = whole(&root, &stated(&root));
    assert_eq!(rows(&read.dataset), [row("001.png", &["golden retriever"]), row("002.png", &["poodle"])]);
    says(&read, &["the first word of each row and the rest, as in row 1"]);
}

#[test]
fn a_column_of_measurements_is_no_column_of_classes() {
    let names: Vec<String> = (0..12).map(|number| format!("{number}.png")).collect();
    let files: Vec<&str> = names.iter().map(String::as_str).collect();
    let rows = |label: &dyn Fn(u32) -> String| {
        (0..12).fold("file,price,kind\n".to_owned(), |table, row| {
            table + &format!("{row}.png,{},{}\n", label(row), if row % 2 == 0 { "house" } else { "flat" })
        })
    };
    let price =
        TableOptions { label_columns: vec![Column::Name("price".to_owned())], ..TableOptions::default() };
    let root = folder(&files, &rows(&|row| format!("{}.5", 100 + row)));
    let parts = [
        "measurements in the column \"price\"",
        "12 different numbers in 12 rows",
        "`label_columns`",
        "\"kind\"",
    ];
    refused(&root, &price, &parts);
    let root = folder(&files, &rows(&|row| format!("{}", row % 3)));
    assert_eq!(read(&root, &price).items.classes.names(), ["0", "1", "2"], "numbers may be classes");
}

#[test]
fn what_pandas_writes_for_nothing_is_no_class() {
    let table = "file,label\na.png,cat\nb.png,nan\nc.png,dog\nd.png,NaN\n";
    let root = folder(&["a.png", "b.png", "c.png", "d.png"], table);
    let data = read(&root, &TableOptions::default());
    assert_eq!(rows(&data), [row("a.png", &["cat"]), row("c.png", &["dog"])]);
    let notices = data.notices.join("\n");
    assert!(
        notices.contains("2 of 4 rows of")
            && notices.contains("no value for a label (\"NaN\", \"nan\"); the first is row 3: nan"),
        "{notices}"
    );
    // As pandas' default list has it; what is not in it is a class.
    for (word, is_class) in [
        ("N/A", false),
        ("NA", false),
        ("null", false),
        ("NULL", false),
        ("#N/A", false),
        ("None", false),
        ("<NA>", false),
        ("n/a", false),
        ("?", false),
        ("none", true),
        ("Nan", true),
        ("na", true),
    ] {
        let root = folder(
            &["a.png", "b.png", "c.png"],
            &format!("file,label\na.png,cat\nb.png,{word}\nc.png,dog\n"),
        );
        let data = read(&root, &TableOptions::default());
        assert_eq!(data.items.classes.len(), 2 + usize::from(is_class), "{word}");
        assert_eq!(
            data.notices.iter().any(|notice| notice.starts_with("warning: 1 of 3")),
            !is_class,
            "{word}"
        );
    }
    // Where all its files are in a folder of that name, it is a class.
    let root =
        folder(&["a.png", "None/b.png", "c.png"], "file,label\na.png,cat\nNone/b.png,None\nc.png,dog\n");
    let data = read(&root, &TableOptions::default());
    assert_eq!(data.items.classes.names(), ["None", "cat", "dog"]);
    assert!(data.notices.iter().any(|notice| notice.contains("\"None\" in labels.csv is read as a class")));
}

#[test]
fn labels_that_look_the_same_are_refused() {
    for other in ["cat\u{200b}", "ca\u{ad}t", "\u{feff}cat", "cat\u{200f}", "\u{2060}cat"] {
        let root = folder(
            &["a.png", "b.png", "c.png"],
            &format!("file,label\na.png,cat\nb.png,{other}\nc.png,dog\n"),
        );
        refused(&root, &TableOptions::default(), &["two labels that look the same", "\"cat\"", "\\u{"]);
    }
    let root = folder(
        &["a.png", "b.png", "c.png"],
        "file,label\na.png,golden retriever\nb.png,golden\u{a0}retriever\nc.png,dog\n",
    );
    refused(&root, &TableOptions::default(), &["look the same", "golden\\u{a0}retriever"]);
    let root = folder(
        &["a.png", "b.png", "c.png"],
        "file,label\na.png,golden retriever\nb.png,golden_retriever\nc.png,dog\n",
    );
    let single = TableOptions { task: Some(Task::SingleLabel), ..TableOptions::default() };
    let notices = read(&root, &single).notices.join("\n");
    assert!(notices.contains("\"golden retriever\" and \"golden_retriever\" differ"), "{notices}");
}

#[test]
fn labels_that_seldom_come_twice_are_no_classes_in_silence() {
    let names: Vec<String> = (0..20).map(|number| format!("{number}.png")).collect();
    let files: Vec<&str> = names.iter().map(String::as_str).collect();
    let table = |label: &dyn Fn(u32) -> String| {
        (0..20).fold("file;score\n".to_owned(), |table, row| table + &format!("{row}.png;{}\n", label(row)))
    };
    // The decimal comma of half of Europe.
    let root = folder(&files, &table(&|row| format!("0,{}", 800 + row)));
    refused(
        &root,
        &TableOptions::default(),
        &["measurements in the column \"score\"", "20 different numbers"],
    );
    let root = folder(&files, &table(&|row| format!("person {row}x")));
    let single = TableOptions { task: Some(Task::SingleLabel), ..TableOptions::default() };
    let notices = read(&root, &single).notices.join("\n");
    assert!(notices.contains("warning: labels.csv has 20 classes for 20 images"), "{notices}");
    let root = folder(&files, &table(&|row| ["a", "b"][row as usize % 2].to_owned()));
    let notices = read(&root, &single).notices.join("\n");
    assert!(!notices.contains("warning"), "{notices}");
    // Two numbers in a cell are labels.
    let root = folder(&files, &table(&|row| format!("{},{}", 1 + row % 3, 4 + row % 2)));
    assert_eq!(read(&root, &TableOptions::default()).items.classes.names(), ["1", "2", "3", "4", "5"]);
}

#[test]
fn names_written_as_web_addresses_are_those_of_their_files() {
    let files = ["my cat 1.png", "naïve.png", "3.png", "100%25.png"];
    let table = "file,label\nmy%20cat%201.png,a\nhttps://x.org/p/na%C3%AFve.png?raw=1,b\nhttp://x.org/3.png#top,a\n\
                 100%25.png,b\n";
    let root = folder(&files, table);
    let read = whole(&root, &TableOptions::default());
    let expected = [
        row("my cat 1.png", &["a"]),
        row("naïve.png", &["b"]),
        row("3.png", &["a"]),
        row("100%25.png", &["b"]),
    ];
    assert_eq!(rows(&read.dataset), expected, "a file that has the name itself is meant first");
    says(&read, &["3 names in labels.csv are those of web addresses", "my%20cat%201.png is my cat 1.png"]);
}

#[test]
fn a_separator_at_the_end_of_a_cell_makes_it_a_list() {
    let files = ["1.png", "2.png", "3.png"];
    for separator in [";", "|"] {
        let table = "file,label\n1.png,cat;dog\n2.png,owl;\n3.png,cow;hen\n".replace(';', separator);
        let read = read(&folder(&files, &table), &TableOptions::default());
        assert_eq!(read.items.task, Task::MultiLabel, "{separator}");
        assert_eq!(read.items.classes.names(), ["cat", "cow", "dog", "hen", "owl"]);
    }
    let table = "file,label\n1.png,cat;dog\n2.png,owl\n3.png,cow;hen\n";
    let read = read(&folder(&files, table), &TableOptions::default());
    assert_eq!(read.items.classes.names(), ["cat;dog", "cow;hen", "owl"]);
}

#[test]
fn names_that_are_hardly_classes_are_said() {
    let files = ["1.png", "2.png", "3.png"];
    // A Cyrillic a, and a mark for nothing.
    let table = "file,label\n1.png,cat\n2.png,c\u{430}t\n3.png,-\n";
    let read = whole(&folder(&files, table), &TableOptions::default());
    says(&read, &["the classes \"cat\" and \"c\u{430}t\" differ", "warning: \"-\" is read as a class"]);
    // Measurements have units.
    let names: Vec<String> = (0..12).map(|number| format!("{number}.png")).collect();
    let files: Vec<&str> = names.iter().map(String::as_str).collect();
    let weights = |step: u32| {
        (0..12).fold("file,weight\n".to_owned(), |table, row| {
            table + &format!("{row}.png,{} kg\n", row / step + 5)
        })
    };
    refused(
        &folder(&files, &weights(1)),
        &TableOptions::default(),
        &["12 different numbers in 12 rows, such as 10 kg"],
    );
    let kinds = read_of(&folder(&files, &weights(6)));
    assert_eq!(kinds, ["5 kg", "6 kg"], "a few sizes are classes");
}

fn read_of(root: &tempfile::TempDir) -> Vec<String> {
    read(root, &TableOptions::default()).items.classes.names().to_vec()
}
