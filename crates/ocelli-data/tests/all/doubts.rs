//! What could be read in two ways: folders in folders, names of several files, cells of several words, columns of 0 and
//! 1. It is read in the right one, or refused with the way out.

use std::path::Path;

use crate::common::{counts, noticed, place, refused, write};
use ocelli_data::source::folder::{self, FolderOptions};
use ocelli_data::source::table::{self, Column, Labelled, TableOptions, Tables, read_folder};
use ocelli_data::{Classes, DataError, Task};
use tempfile::TempDir;

fn table_of(rows: usize, header: &str, row: impl Fn(usize) -> String) -> (TempDir, String) {
    let photos: Vec<String> = (0..rows).map(|number| format!("{number:03}.png")).collect();
    let lines = (0..rows).map(|number| format!("{number:03}.png,{}\n", row(number)));
    (place(&photos), format!("{header}\n{}", lines.collect::<String>()))
}

fn read_table(root: &Path, text: &str, options: &TableOptions) -> Result<Labelled, DataError> {
    write(root, "labels.csv", text);
    table::read(root.join("labels.csv"), options)
}

#[test]
fn folders_of_first_letters_are_no_classes() {
    let scenes = [
        "a/abbey",
        "a/airport_terminal",
        "b/bakery/shop",
        "b/bedroom",
        "c/church/indoor",
        "c/church/outdoor",
    ];
    let photos = |prefix: &str| -> Vec<String> {
        scenes.iter().flat_map(|scene| (0..2).map(move |n| format!("{prefix}{scene}/sun_{n}.png"))).collect()
    };
    let classes = ["abbey", "airport_terminal", "bakery/shop", "bedroom", "church/indoor", "church/outdoor"];
    let expected: Vec<(String, usize)> = classes.iter().map(|class| ((*class).to_owned(), 2)).collect();
    let root = place(&photos(""));
    let data = folder::read(root.path()).unwrap();
    assert_eq!(counts(&data), expected);
    noticed(&data, &["first letters", "a/abbey is \"abbey\""]);
    // Wrapped in a folder, in those of a split, and for a model's classes.
    assert_eq!(counts(&folder::read(place(&photos("SUN397/")).path()).unwrap()), expected);
    let mut split = photos("train/");
    split.extend(photos("val/"));
    let root = place(&split);
    let data = folder::read(root.path()).unwrap();
    let sides = data.split.as_ref().map(|split| (split.train.len(), split.valid.len()));
    assert_eq!((counts(&data).len(), sides), (6, Some((12, 12))));
    let known = folder::read_known(root.path(), &Classes::new(classes)).unwrap();
    assert_eq!(counts(&known).len(), 6);
    // Images in a class's folder and in a folder inside of it are of that class.
    let mut more = photos("");
    more.push("a/abbey/old/1.png".to_owned());
    assert_eq!(counts(&folder::read(place(&more).path()).unwrap())[0], ("abbey".to_owned(), 3));
    // Letters that are classes: images directly in them, or folders called otherwise.
    for photos in
        [&["a/1.png", "a/2.png", "b/1.png"][..], &["a/x/1.png", "a/y/1.png", "b/u/1.png", "b/v/1.png"]]
    {
        let photos: Vec<String> = photos.iter().map(|path| (*path).to_owned()).collect();
        let data = folder::look(place(&photos).path()).unwrap().0;
        assert_eq!(data.items.classes.names(), ["a", "b"]);
    }
}

#[test]
fn levels_of_a_taxonomy_are_asked_about() {
    let species = [
        "Animalia/Chordata/Aves/Corvidae/corvus_corax",
        "Animalia/Chordata/Aves/Paridae/parus_major",
        "Animalia/Chordata/Mammalia/Felidae/felis_catus",
        "Animalia/Arthropoda/Insecta/Apidae/apis_mellifera",
        "Plantae/Tracheophyta/Magnoliopsida/Fagaceae/quercus_robur",
        "Plantae/Tracheophyta/Magnoliopsida/Rosaceae/rosa_canina",
    ];
    let photos: Vec<String> = species.iter().map(|path| format!("{path}/1.png")).collect();
    let root = place(&photos);
    let parts = ["Animalia, Plantae", "6 folders", "not clear", "`class_folders`", "`from_csv`"];
    refused(folder::read(root.path()).map(|data| counts(&data)), &parts);
    let outermost = FolderOptions { outermost: true, ..FolderOptions::default() };
    // As the flag does where names may be those of a split.
    for classes in [["control", "test"], ["invalid", "valid"]] {
        let photos: Vec<String> = (0..4).map(|n| format!("{}/{n}.png", classes[n % 2])).collect();
        let root = place(&photos);
        refused(folder::read(root.path()).map(|data| counts(&data)), &["`class_folders`"]);
        assert_eq!(outermost.read(root.path()).unwrap().items.classes.names(), classes);
    }
    assert_eq!(outermost.read(root.path()).unwrap().items.classes.names(), ["Animalia", "Plantae"]);
    // As iNaturalist's contests had them.
    let of = |kind: &str| (0..4).map(|n| format!("{kind}/{kind}{n}00/1.png")).collect::<Vec<_>>();
    refused(
        folder::read(place(&[of("Aves"), of("Insecta")].concat()).path()).map(|data| counts(&data)),
        &["Aves, Insecta", "8 folders"],
    );
    // Years, months and days inside of classes are nothing of the kind, nor are patients.
    let dated = |kind: &str| format!("{kind}/2019/05/12/{kind}.png");
    let patient = |kind: &str, n: usize| format!("{kind}/{kind}_patient{n}/1.png");
    for photos in [
        vec![dated("cats"), dated("dogs")],
        (0..8).map(|n| patient(["benign", "malignant"][n % 2], n)).collect(),
    ] {
        folder::read(place(&photos).path()).unwrap();
    }
}

/// One photo that is missing left its mask as the only file of that name, and all others followed it.
#[test]
fn a_name_of_several_files_is_decided_by_many_names_of_one() {
    let both = |photos: std::ops::Range<usize>, maps: std::ops::Range<usize>| {
        let of = |folder: &str, range: std::ops::Range<usize>| {
            range.map(|n| format!("{folder}/{n:03}.png")).collect::<Vec<_>>()
        };
        place(&[of("images", photos), of("heatmaps", maps)].concat())
    };
    let rows = |count: usize| -> String {
        let row = |n: usize| format!("{n:03},{}\n", ["cat", "dog"][n % 2]);
        format!("filename,label\n{}", (0..count).map(row).collect::<String>())
    };
    let root = both(1..20, 0..20);
    refused(read_table(root.path(), &rows(20), &TableOptions::default()), &["could be"]);
    // Where most photos have no map, it is a photo that is meant.
    let root = both(0..20, 17..20);
    let data = read_table(root.path(), &rows(20), &TableOptions::default()).unwrap().dataset;
    assert!(data.items.items.iter().all(|item| item.path.to_str().unwrap().contains("/images/")));
}

#[test]
fn names_with_a_word_in_common_are_single_labels() {
    let whole = |header: &str, names: &[&str]| {
        let (root, text) = table_of(60, header, |row| format!("\"{}\"", names[row % names.len()]));
        read_table(root.path(), &text, &TableOptions::default()).unwrap()
    };
    for (header, names) in [
        (
            "file,model",
            &["Audi A4", "Audi A3", "BMW 3 Series", "BMW 5 Series", "Audi A4 Avant", "VW Golf"][..],
        ),
        (
            "file,diagnosis",
            &["mild dysplasia", "severe dysplasia", "mild inflammation", "severe inflammation", "normal"],
        ),
        ("file,breed", &["black cat", "white cat", "black dog", "white dog", "cat"]),
        ("file,fruit", &["apple", "green apple", "red apple", "pear", "green pear", "red pear"]),
        ("file,direction", &["left", "right", "left turn", "right turn", "turn"]),
        ("file,city", &["Paris, France", "Lyon, France", "Paris, Texas", "Austin, Texas"]),
    ] {
        let read = whole(header, names);
        assert_eq!((read.dataset.items.task, counts(&read.dataset).len()), (Task::SingleLabel, names.len()));
        noticed(&read.dataset, &["read as single-label"]);
    }
    // What could be labels after all says how.
    noticed(
        &whole("file,breed", &["black cat", "white cat", "cat", "black dog", "white dog"]).dataset,
        &["`label_separator`"],
    );
    // Labels: numbers, alone in some cells, in many combinations, or in a column that is called so.
    for (header, sets) in [
        ("file,label", &["cat", "dog", "cat, dog", "bird"][..]),
        ("file,target", &["7", "7 12", "12 3", "3"]),
        ("file,label", &["a b", "a c", "b c", "a b c", "a d", "b d", "c d", "a b d"]),
        ("file,tags", &["haze primary", "clear primary", "clear primary road", "haze primary road"]),
    ] {
        let read = whole(header, sets);
        assert_eq!(read.dataset.items.task, Task::MultiLabel, "{header}");
    }
    noticed(&whole("file,label", &["cat", "dog", "cat, dog"]).dataset, &["`task` single-label"]);
}

/// With a row for each label, the advice to let images have several must not cut their names.
#[test]
fn a_row_for_each_label_is_a_label_in_each_row() {
    let labels = ["No finding", "Aortic enlargement", "Nodule", "Pleural effusion"];
    let mut text = "file,class_name\n".to_owned();
    for row in 0..12 {
        text += &format!("{:03}.png,{}\n{:03}.png,{}\n", row, labels[row % 4], row, labels[(row + 1) % 4]);
    }
    let root = place(&(0..12).map(|n| format!("{n:03}.png")).collect::<Vec<_>>());
    let options = TableOptions { task: Some(Task::MultiLabel), ..TableOptions::default() };
    let read = read_table(root.path(), &text, &options).unwrap();
    let mut expected = labels;
    expected.sort_unstable();
    assert_eq!(read.dataset.items.classes.names(), expected);
}

/// A column `valid` may say which photos are sound, and `test` how a test turned out.
#[test]
fn a_column_that_would_hold_out_half_of_the_photos_is_asked_about() {
    for (column, role, ones) in [("valid", "validation", 16), ("test", "test", 10)] {
        let header = format!("filename,label,{column}");
        let row = |n: usize| format!("{},{}", ["cat", "dog"][n % 2], u8::from(n < ones));
        let (root, text) = table_of(20, &header, row);
        let read = |split: Option<&str>| {
            let split_column = split.map(|name| Column::Name(name.to_owned()));
            let labels = vec![Column::Name("label".to_owned())];
            let options = TableOptions { split_column, label_columns: labels, ..TableOptions::default() };
            read_table(root.path(), &text, &options).map(|read| read.dataset.split)
        };
        let ways = [format!("`split_column` {column}"), "`split_column` none".to_owned()];
        refused(read(None), &[&format!("\"{column}\""), role, &ways[0], &ways[1]]);
        assert_eq!(read(Some("none")).unwrap(), None);
        assert_eq!(read(Some(column)).unwrap().map(|split| split.train.len()), Some(20 - ones));
    }
    let few = |n: usize| format!("{},{}", ["cat", "dog"][n % 2], u8::from(n < 5));
    let (root, text) = table_of(20, "filename,label,valid", few);
    let data = read_table(root.path(), &text, &TableOptions::default()).unwrap().dataset;
    assert_eq!(data.split.map(|split| split.valid.len()), Some(5));
}

#[test]
fn tables_of_the_sides_may_have_any_name_in_common() {
    let photos = |side: &str, count: usize| (0..count).map(|n| format!("{side}/{n}.png")).collect::<Vec<_>>();
    let root = place(&[photos("train", 8), photos("val", 4)].concat());
    for (side, count) in [("train", 8), ("val", 4)] {
        let rows = (0..count).map(|n| format!("{side}/{n}.png,{},{}\n", n * 7 + 20, ["A", "B"][n % 2]));
        let text = format!("file,age,race\n{}", rows.collect::<String>());
        write(root.path(), &format!("fairface_label_{side}.csv"), text);
    }
    let options = |columns: &[&str]| TableOptions {
        label_columns: columns.iter().map(|name| Column::Name((*name).to_owned())).collect(),
        ..TableOptions::default()
    };
    refused(table::read(root.path(), &options(&[])), &["age, race", "`label_columns`"]);
    let data = table::read(root.path(), &options(&["race"])).unwrap().dataset;
    let split = data.split.as_ref().unwrap();
    assert_eq!((split.train.len(), split.valid.len()), (8, 4));
    // A table whose name says more plainly that it has the labels has those of all.
    write(root.path(), "labels.csv", "file,race\ntrain/0.png,A\nval/0.png,B\n");
    assert!(Tables::of(root.path()).one(root.path()).unwrap().ends_with("labels.csv"));
}

/// ImageNet's folders are numbers of WordNet, which no column of a table beside them needs to explain.
#[test]
fn wordnet_numbers_are_classes() {
    let synsets = ["n01440764", "n02102040", "n02979186"];
    let photos: Vec<String> = ["train", "val"]
        .iter()
        .flat_map(|side| synsets.iter().map(move |class| format!("{side}/{class}/{class}_{side}.png")))
        .collect();
    let root = place(&photos);
    let rows = photos.iter().map(|path| {
        let class = path.split('/').nth(1).unwrap();
        format!("{path},{class},{class},{}\n", path.starts_with("val"))
    });
    let text = format!("path,noisy_labels_0,noisy_labels_1,is_valid\n{}", rows.collect::<String>());
    write(root.path(), "noisy.csv", text);
    let read = read_folder(root.path(), &TableOptions::default(), &mut |root| folder::read(root)).unwrap();
    assert_eq!(
        (read.by_table, read.labelled.dataset.items.classes.names()),
        (false, &synsets.map(String::from)[..])
    );
    noticed(&read.labelled.dataset, &["noisy.csv", "not read"]);
}

#[test]
fn masks_that_a_table_names_are_not_listed_as_left_out() {
    let photos: Vec<String> =
        (0..6).flat_map(|n| [format!("images/{n}.png"), format!("masks/{n}.png")]).collect();
    let root = place(&photos);
    let rows = photos.iter().map(|path| format!("{path},{}\n", &path[..path.find('/').unwrap()]));
    let text = format!("file,kind\n{}", rows.collect::<String>());
    let data = read_table(root.path(), &text, &TableOptions::default()).unwrap().dataset;
    assert_eq!(data.items.len(), 12);
    assert_eq!(data.skipped, []);
    // Of those that it does not name, each is.
    let few: String = text.lines().take(8).map(|line| format!("{line}\n")).collect();
    let data = read_table(root.path(), &few, &TableOptions::default()).unwrap().dataset;
    assert_eq!((data.items.len(), data.skipped.len()), (7, 5));
}

/// A table in a folder of its own, whose column of labels has no usual name: CBIS-DDSM's folders are studies.
#[test]
fn folders_of_few_photos_beside_a_table_that_names_them_are_asked_about() {
    let studies = |folders: usize, each: usize| {
        let photos: Vec<String> = (0..folders)
            .flat_map(|study| (1..=each).map(move |n| format!("jpeg/{study:03}/{n}-1.png")))
            .collect();
        let root = place(&photos);
        let rows = photos
            .iter()
            .enumerate()
            .map(|(n, path)| format!("P_{:05},{path},{},{}\n", n / 2, n % 5, ["BENIGN", "MALIGNANT"][n % 2]));
        let text = format!("patient_id,image file path,subtlety,pathology\n{}", rows.collect::<String>());
        write(root.path(), "csv/mass.csv", text);
        root
    };
    let read = |root: &TempDir| {
        read_folder(root.path(), &TableOptions::default(), &mut |root| folder::read(root))
            .map(|read| read.labelled.dataset)
    };
    refused(
        read(&studies(20, 2)),
        &["20 folders", "40 photos", "csv/mass.csv", "pathology", "`class_folders`"],
    );
    // Folders with more are taken for classes, and the table is named.
    noticed(
        &read(&studies(3, 8)).unwrap(),
        &["csv/mass.csv", "24 of the photos", "is not read", "`from_csv`"],
    );
}

/// Camera names come again in other folders: a photo of a folder that is not here is missing.
#[test]
fn rows_of_a_folder_that_is_not_here_are_not_given_other_photos() {
    let root = place(&(0..20).map(|n| format!("2021-05/IMG_{n:04}.png")).collect::<Vec<_>>());
    let row = |n: usize| {
        let folder = if n < 18 { "2021-05" } else { "2020-01" };
        format!("{folder}/IMG_{n:04}.png,{}\n", ["cat", "dog"][n % 2])
    };
    let text = format!("file,label\n{}", (0..20).map(row).collect::<String>());
    let read = read_table(root.path(), &text, &TableOptions::default()).unwrap();
    assert_eq!(read.dataset.items.len(), 18);
    let reasons: Vec<String> =
        read.dataset.skipped.iter().map(|skipped| skipped.reason.to_string()).collect();
    assert!(reasons.iter().any(|reason| reason.contains("2020-01 is not here")), "{reasons:?}");
    // Where no row's folder is here, the table is from elsewhere.
    let text = text.replace("2020-01/", "/kaggle/input/").replace("2021-05/", "/kaggle/input/");
    assert_eq!(read_table(root.path(), &text, &TableOptions::default()).unwrap().dataset.items.len(), 20);
}

#[test]
fn a_folder_that_holds_all_others_once_more_is_left_out() {
    let mut photos: Vec<String> =
        ["no", "yes"].iter().flat_map(|class| (0..3).map(move |n| format!("{class}/{n}.png"))).collect();
    let root = place(&photos);
    for path in &photos {
        write(root.path(), &format!("brain/{path}"), std::fs::read(root.path().join(path)).unwrap());
    }
    let data = folder::read(root.path()).unwrap();
    assert_eq!(counts(&data), [("no".to_owned(), 3), ("yes".to_owned(), 3)]);
    noticed(&data, &["brain", "once more (6 images)", "left out"]);
    // Other photos under the same names are asked about.
    photos.extend((0..3).map(|n| format!("brain/no/{n}x.png")));
    refused(folder::read(place(&photos).path()).map(|data| counts(&data)), &["brain/no"]);
}

#[test]
fn a_table_of_names_and_sides_gives_the_split() {
    let photos: Vec<String> =
        ["cat", "dog"].iter().flat_map(|class| (0..6).map(move |n| format!("{class}/{n}.png"))).collect();
    let root = place(&photos);
    let side = |n: usize| ["train", "train", "train", "train", "val", "test"][n % 6];
    let rows = photos.iter().enumerate().map(|(n, path)| format!("{path},{}\n", side(n)));
    let text = format!("file,split\n{}", rows.collect::<String>());
    write(root.path(), "splits.csv", &text);
    let read = read_folder(root.path(), &TableOptions::default(), &mut |root| folder::read(root)).unwrap();
    let split = read.labelled.dataset.split.as_ref().unwrap();
    assert_eq!((split.train.len(), split.valid.len(), split.test.len()), (8, 2, 2));
    // One of any name, where it is given.
    std::fs::rename(root.path().join("splits.csv"), root.path().join("mine.csv")).unwrap();
    let items = &read.labelled.dataset.items;
    let listed = table::read_split(&root.path().join("mine.csv"), items).unwrap().unwrap();
    assert_eq!((listed.split.valid.len(), &*listed.files), (2, "mine.csv"));
    // A list of the photos to train on alone is named, too.
    std::fs::remove_file(root.path().join("mine.csv")).unwrap();
    write(root.path(), "train.txt", "cat/0.png\ncat/1.png\ndog/0.png\ndog/1.png\n");
    let read = read_folder(root.path(), &TableOptions::default(), &mut |root| folder::read(root)).unwrap();
    noticed(&read.labelled.dataset, &["train.txt names 4 of 12 photos", "not used as the split"]);
}

#[test]
fn judgements_and_slips_are_no_classes() {
    let options = TableOptions::default();
    for (header, row) in [
        (
            "filename,y_true,y_pred",
            (|n| format!("{},{}", n % 2, (n + usize::from(n == 3)) % 2)) as fn(usize) -> String,
        ),
        ("filename,first,second", |n| format!("{},{}", n % 2, n % 2)),
    ] {
        let (root, text) = table_of(40, header, row);
        refused(read_table(root.path(), &text, &options), &["which of them holds the labels is not clear"]);
    }
    // One row of many makes images have several labels: that is said loudly.
    let one_hot = |n: usize| match n {
        77 => "1,1,0".to_owned(),
        _ => ["1,0,0", "0,1,0", "0,0,1"][n % 3].to_owned(),
    };
    let (root, text) = table_of(120, "filename,ant,bee,fly", one_hot);
    let data = read_table(root.path(), &text, &options).unwrap().dataset;
    noticed(&data, &["warning: read as multi-label: 1 of 120 rows", "`task` single-label"]);
    let cell =
        |n: usize| if n == 77 { "ant;bee".to_owned() } else { ["ant", "bee", "fly"][n % 3].to_owned() };
    let (root, text) = table_of(120, "filename,label", cell);
    let data = read_table(root.path(), &text, &options).unwrap().dataset;
    noticed(&data, &["warning: read as multi-label", "1 of 120 rows"]);
}

#[test]
fn tables_beside_folders_are_not_passed_over() {
    // A label for each folder.
    let scans: Vec<String> =
        (0..10).flat_map(|n| [format!("scan{n}/0.png"), format!("scan{n}/1.png")]).collect();
    let root = place(&scans);
    let rows = (0..10).map(|n| format!("scan{n},{}\n", ["cat", "dog"][n % 2]));
    write(root.path(), "labels.csv", format!("folder,label\n{}", rows.collect::<String>()));
    let read = |root: &TempDir| {
        read_folder(root.path(), &TableOptions::default(), &mut |root| folder::read(root)).unwrap().labelled
    };
    noticed(&read(&root).dataset, &["warning: labels.csv", "a label for each folder", "\"cat\" for scan0"]);
    // Patients, beside classes that the folders say.
    let photos: Vec<String> = (0..12).map(|n| format!("{}/{n}.png", ["sick", "well"][n / 6])).collect();
    let root = place(&photos);
    let rows = photos.iter().enumerate().map(|(n, path)| format!("{path},P{},{}\n", n / 3, 30 + n));
    write(root.path(), "metadata.csv", format!("file,patient_id,age\n{}", rows.collect::<String>()));
    let unused = read(&root).unused_groups.unwrap();
    assert_eq!((&*unused.column, unused.groups.iter().flatten().count()), ("patient_id", 12));
    // Folders of a phone, and years.
    for folders in [["100APPLE", "101APPLE"], ["2019", "2020"]] {
        let photos: Vec<String> =
            folders.iter().flat_map(|folder| (0..2).map(move |n| format!("{folder}/{n}.png"))).collect();
        noticed(&read(&place(&photos)).dataset, &["warning: the folders", "parts of one collection"]);
    }
}

/// A name decides between tables that name the photos, and no others.
#[test]
fn of_several_tables_the_one_that_names_the_photos_is_read() {
    let photos: Vec<String> = (0..20).map(|n| format!("images/{n:03}.png")).collect();
    let rows = |count: usize, label: &dyn Fn(usize) -> &'static str| -> String {
        (0..count).map(|n| format!("{n:03}.png,{}\n", label(n))).collect()
    };
    let kind = |n: usize| ["cat", "dog"][n % 2];
    let camera = |n: usize| ["Canon", "Nikon"][usize::from(n.is_multiple_of(3))];
    let read = |root: &TempDir| {
        read_folder(root.path(), &TableOptions::default(), &mut |root| folder::read(root))
            .map(|read| counts(&read.labelled.dataset))
    };
    let both = [("cat".to_owned(), 10), ("dog".to_owned(), 10)];
    // An old beginning, and names of classes, beside the table of all photos.
    for (name, text) in [
        ("labels.csv", format!("file,label\n{}", rows(4, &kind))),
        ("labels.csv", "label,name\n0,cat\n1,dog\n".to_owned()),
    ] {
        let root = place(&photos);
        write(root.path(), name, text);
        write(root.path(), "annotations_all.csv", format!("file,kind\n{}", rows(20, &kind)));
        assert_eq!(read(&root).unwrap(), both);
    }
    // Two tables of all photos: of columns, the one that is called as labels are says it.
    let root = place(&photos);
    write(root.path(), "metadata.csv", format!("id,camera\n{}", rows(20, &camera)));
    write(root.path(), "species.csv", format!("id,habitat\n{}", rows(20, &kind)));
    refused(read(&root), &["metadata.csv, species.csv", "say which"]);
    write(root.path(), "species.csv", format!("id,species\n{}", rows(20, &kind)));
    assert_eq!(read(&root).unwrap(), both);
    write(root.path(), "metadata.csv", format!("id,label\n{}", rows(20, &kind)));
    assert_eq!(read(&root).unwrap(), both);
}

#[test]
fn checksums_of_photos_are_no_labels() {
    let photos: Vec<String> = (0..12).map(|n| format!("{}/{n}.png", ["a", "b"][n % 2])).collect();
    let root = place(&photos);
    let sums = photos.iter().enumerate().map(|(n, path)| format!("{:032x}  {path}\n", n * 7919));
    write(root.path(), "md5sums.txt", sums.collect::<String>());
    let read = read_folder(root.path(), &TableOptions::default(), &mut |root| folder::read(root)).unwrap();
    assert_eq!((read.by_table, counts(&read.labelled.dataset).len()), (false, 2));
}

#[test]
fn photos_that_are_not_here_yet_are_lost_and_copies_are_none() {
    let mut photos: Vec<String> =
        ["a", "b"].iter().flat_map(|class| (0..6).map(move |n| format!("{class}/{n}.png"))).collect();
    photos.extend(["a/7.jpg.crdownload", "a/8.JPG~", "b/9.png.bak"].map(str::to_owned));
    let root = place(&photos);
    (0..3).for_each(|n| write(root.path(), &format!("a/.IMG_{n}.jpg.icloud"), "bplist00"));
    (0..3).for_each(|n| write(root.path(), &format!("c/.IMG_{n}.jpg.icloud"), "bplist00"));
    let data = folder::read(root.path()).unwrap();
    assert_eq!(counts(&data)[..2], [("a".to_owned(), 6), ("b".to_owned(), 6)]);
    let losses: Vec<(&str, usize)> =
        data.losses.iter().map(|loss| (loss.class.as_str(), loss.lost.len())).collect();
    assert_eq!(losses, [("a", 4), ("c", 3)]);
    let reasons: Vec<String> = data.skipped.iter().map(|skipped| skipped.reason.to_string()).collect();
    assert!(reasons.iter().any(|reason| reason.contains("iCloud")), "{reasons:?}");
}

#[test]
fn masks_are_known_by_what_is_before_the_photos_name_too() {
    for mask in ["mask_{}", "gt-{}", "{}_label", "{}_roi"] {
        let photos: Vec<String> = (0..12)
            .flat_map(|n| {
                let (class, name) = (["a", "b"][n % 2], format!("scan{n}"));
                [format!("{class}/{name}.png"), format!("{class}/{}.png", mask.replace("{}", &name))]
            })
            .collect();
        let data = folder::read(place(&photos).path()).unwrap();
        assert_eq!(counts(&data), [("a".to_owned(), 6), ("b".to_owned(), 6)], "{mask}");
    }
}

/// Put together, every image would have every label.
#[test]
fn probabilities_of_labels_are_no_labels() {
    let photos: Vec<String> = (0..8).map(|n| format!("{n}.png")).collect();
    let rows = (0..8).flat_map(|n| {
        ["cat", "dog"].map(|class| format!("{n}.png,{class},{}\n", if class == "cat" { 0.8 } else { 0.2 }))
    });
    let text = format!("image,class,probability\n{}", rows.collect::<String>());
    refused(
        read_table(place(&photos).path(), &text, &TableOptions::default()),
        &["a row for each label", "\"probability\"", "the surest row"],
    );
}

/// The tables of the sides name photos that lie in the folders of the sides, under the same numbers: Stanford Cars.
#[test]
fn tables_of_the_sides_name_photos_in_the_folders_of_the_sides() {
    let of = |side: &str, count: usize| {
        (0..count).map(|n| format!("cars_{side}/cars_{side}/{n:05}.png")).collect::<Vec<_>>()
    };
    let root = place(&[of("train", 8), of("test", 4)].concat());
    for (side, count) in [("train", 8), ("test", 4)] {
        let rows = (0..count).map(|n| format!("{n:05}.png,{}\n", ["Audi", "BMW"][n % 2]));
        write(
            root.path(),
            &format!("cars_{side}_annos.csv"),
            format!("fname,class\n{}", rows.collect::<String>()),
        );
    }
    let read = read_folder(root.path(), &TableOptions::default(), &mut |root| folder::read(root)).unwrap();
    let split = read.labelled.dataset.split.as_ref().unwrap();
    assert_eq!((split.train.len(), split.test.len()), (8, 4));
}

#[test]
fn lists_of_zeros_and_ones_have_no_names_for_their_places() {
    let place_of = |row: usize| ["[1, 0, 0]", "[0, 1, 0]", "[0, 0, 1]"][row % 3];
    for text in [
        &(|row| place_of(row).to_owned()) as &dyn Fn(usize) -> String,
        &|row| place_of(row).replace(", ", " "),
        &|row| place_of(row).replace('1', "1.0").replace(" 0", " 0.0").replace("[0", "[0.0"),
    ] {
        let (root, table) = table_of(12, "file,label", |row| format!("\"{}\"", text(row)));
        refused(
            read_table(root.path(), &table, &TableOptions::default()),
            &["row 2", "a column for each class"],
        );
    }
    // Numbers of classes are others: 0 and 1 among several, or as many as an image has.
    let (root, table) =
        table_of(12, "file,labels", |row| ["\"[0, 1]\"", "\"[2]\"", "\"[1, 2]\""][row % 3].to_owned());
    let read = read_table(root.path(), &table, &TableOptions::default()).unwrap().dataset;
    assert_eq!(read.items.classes.names(), ["0", "1", "2"]);
}

#[test]
fn cells_as_python_prints_them_and_endings_of_other_files_are_told_the_way_out() {
    let read = |cell: &dyn Fn(usize) -> String| {
        let (root, table) = table_of(12, "file,labels", cell);
        let read = read_table(root.path(), &table, &TableOptions::default());
        (root, read)
    };
    let (_root, objects) = read(&|row| format!("\"{{'cat': 1, 'dog': {}}}\"", row % 2));
    refused(objects, &["row 2", "holds an object"]);
    let (_root, lists) = read(&|row| ["(cat; dog)", "(dog)", "()"][row % 3].to_owned());
    let lists = lists.unwrap().dataset;
    assert_eq!(lists.items.classes.names(), ["cat", "dog"]);
    assert_eq!((lists.items.task, lists.items.len()), (Task::MultiLabel, 12));
    for ending in ["jpg", "dcm"] {
        let (root, table) = table_of(12, "file,label", |row| ["a", "b"][row % 2].to_owned());
        let table = table.replace(".png", &format!(".{ending}"));
        let error = read_table(root.path(), &table, &TableOptions::default());
        refused(
            error,
            &["there is 000.png, with another ending", "without their endings, which are then found"],
        );
        let bare = table.replace(&format!(".{ending}"), "");
        assert_eq!(read_table(root.path(), &bare, &TableOptions::default()).unwrap().dataset.items.len(), 12);
    }
}

#[test]
fn predictions_are_no_labels() {
    let header = "path,class,probability,error,probability_a,probability_b";
    let (root, table) = table_of(12, header, |row| format!("{},0.9,,0.9,0.1", ["a", "b"][row % 2]));
    refused(
        read_table(root.path(), &table, &TableOptions::default()),
        &["columns of predictions", "`label_columns`"],
    );
    let asked =
        TableOptions { label_columns: vec![Column::Name("class".to_owned())], ..TableOptions::default() };
    assert_eq!(read_table(root.path(), &table, &asked).unwrap().dataset.items.classes.names(), ["a", "b"]);
}

#[test]
fn what_lies_beside_class_folders_is_named() {
    let photos = ["Hund/1.png", "Hund/2.png", "Katze/1.png", "Photos from 2020/1.png", "Trash/1.png"];
    let photos = photos.map(str::to_owned);
    let data = folder::read(place(&photos).path()).unwrap();
    noticed(&data, &["warning", "\"Photos from 2020\"", "\"Trash\""]);
    // Trash may be a class like another, and all folders may be years.
    for photos in [["trash/1.png", "glass/1.png"], ["Fotos von 2019/1.png", "Fotos von 2020/1.png"]] {
        let data = folder::read(place(&photos.map(str::to_owned)).path()).unwrap();
        assert!(!data.notices.iter().any(|notice| notice.contains("by year")), "{:?}", data.notices);
    }
    for (names, told) in [
        (&["cats", "cats (1)", "cats - Copy", "dogs"][..], "cats, cats (1), cats - Copy are named as copies"),
        (&["dogs-20240101T120000Z-001", "dogs-20240101T120000Z-002", "cats"], "dogs-20240101T120000Z-001, "),
        (&["cats", "cats 2"], "cats, cats 2 are named"),
    ] {
        let photos: Vec<String> = names.iter().map(|name| format!("{name}/1.png")).collect();
        noticed(
            &folder::read(place(&photos).path()).unwrap(),
            &["warning", told, "put their images together"],
        );
    }
    let levels = folder::read(place(&["level 1/1.png", "level 2/1.png"].map(str::to_owned)).path()).unwrap();
    assert!(!levels.notices.iter().any(|notice| notice.contains("copies")), "{:?}", levels.notices);
    let root = place(&["Garten/1.png", "Wald/1.png"].map(str::to_owned));
    for name in ["Garten", "Wald"] {
        write(root.path(), &format!("{name}/labels.csv"), "file,label\n1.png,a\n");
    }
    noticed(
        &folder::read(root.path()).unwrap(),
        &["warning: the class folders hold tables", "Garten/labels.csv"],
    );
    let people = ["anna/Yes/1.png", "anna/No/1.png", "bob/yes/1.png", "bob/no/1.png"].map(str::to_owned);
    refused(folder::read(place(&people).path()), &["all hold the same folders", "no"]);
    let root = place(&["a/1.png", "b/1.png"].map(str::to_owned));
    write(root.path(), "a/scan.pdf", b"%PDF-1.4");
    write(root.path(), "c/scan.PDF", b"%PDF-1.4");
    noticed(&folder::read(root.path()).unwrap(), &["warning: PDF files", "left out: 2", "a/scan.pdf"]);
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("/nowhere/birds", root.path().join("birds")).unwrap();
        noticed(
            &folder::read(root.path()).unwrap(),
            &["warning: birds beside the class folders leads nowhere"],
        );
    }
}

#[test]
fn masks_that_are_taken_for_photos_are_named() {
    let of = |class: &str| (0..4).map(move |n| format!("{class}/ground truth/{n}.png")).collect::<Vec<_>>();
    let mut photos: Vec<String> = ["cats", "dogs"].iter().flat_map(|class| of(class)).collect();
    photos.extend(photos.iter().map(|path| path.replace("ground truth", "images")).collect::<Vec<_>>());
    let root = place(&photos);
    let keep = FolderOptions { include_masks: true, outermost: true };
    let data = keep.read(root.path()).unwrap();
    assert_eq!(data.items.len(), 16);
    noticed(&data, &["warning: 8 images are named as segmentation masks", "cats/ground truth"]);
    let pairs: Vec<String> =
        (0..8).map(|n| format!("{}/{}{}.png", ["a", "b"][n / 4], n / 2, ["", "_mask"][n % 2])).collect();
    noticed(&keep.read(place(&pairs).path()).unwrap(), &["warning: 4 images", "a/0_mask.png"]);
    assert_eq!(FolderOptions::default().read(place(&pairs).path()).unwrap().items.len(), 4);
}

#[test]
fn peoples_own_split_may_have_the_columns_of_a_runs() {
    let (root, text) = table_of(8, "id,label", |row| ["a", "b"][row % 2].to_owned());
    let items = read_table(root.path(), &text, &TableOptions::default()).unwrap().dataset.items;
    let rows = |name: fn(usize) -> String| -> String {
        (0..8).map(|row| format!("{},{}\n", name(row), if row < 6 { "train" } else { "valid" })).collect()
    };
    let path = root.path().join("split.csv");
    write(root.path(), "split.csv", "id,split\n".to_owned() + &rows(|row| format!("{row:03}")));
    let split = table::read_split(&path, &items).unwrap().unwrap().split;
    assert_eq!((split.train.len(), split.valid), (6, vec![6, 7]));
    // A run's own has the ids to the letter, and one of another data set is not taken for people's.
    write(root.path(), "split.csv", "id,split\n".to_owned() + &rows(|row| format!("{row:03}.png")));
    assert_eq!(table::read_split(&path, &items).unwrap(), None);
    write(root.path(), "split.csv", "id,split\n".to_owned() + &rows(|row| format!("other/{row}.jpg")));
    assert_eq!(table::read_split(&path, &items).unwrap(), None);
}

#[test]
fn a_missing_photo_is_not_the_test_photo_of_its_number() {
    let photos = |lost: usize, test: std::ops::Range<usize>| -> Vec<String> {
        let train = (1..=40 - lost).map(|n| format!("train/{n}.png"));
        train.chain(test.map(|n| format!("test/{n}.png"))).collect()
    };
    let table = "id,label\n".to_owned()
        + &(1..=40).map(|n| format!("{n},{}\n", ["a", "b"][n % 2])).collect::<String>();
    let read = |photos: &[String], name: &str| {
        let root = place(photos);
        write(root.path(), name, &table);
        table::read(root.path().join(name), &TableOptions::default()).unwrap().dataset
    };
    for name in ["train.csv", "labels.csv"] {
        let data = read(&photos(2, 1..61), name);
        assert_eq!(data.items.len(), 38, "{name}");
        assert!(data.items.items.iter().all(|item| item.path.to_string_lossy().contains("train/")));
        noticed(
            &data,
            &["2 of 40 rows", "row 40: 39", "there is test/39.png, but train holds the other files"],
        );
    }
    // Without names in common it may be a table of both.
    let data = read(&photos(3, 38..50), "train.csv");
    assert_eq!(data.split.as_ref().map(|split| split.test.len()), Some(3));
    noticed(&data, &["warning: train.csv is called as a table of training images, but 3 of its rows"]);
    let data = read(&photos(3, 38..50), "labels.csv");
    assert_eq!(data.split.as_ref().map(|split| split.test.len()), Some(3));
    assert!(!data.notices.iter().any(|notice| notice.contains("is called as a table")), "{:?}", data.notices);
}

#[test]
fn test_images_whose_labels_are_no_classes_are_named() {
    let photos = |test: &[&str]| -> Vec<String> {
        let train = ["train/cats", "train/dogs"].into_iter();
        train
            .chain(test.iter().copied())
            .flat_map(|dir| (0..3).map(move |n| format!("{dir}/{n}.png")))
            .collect()
    };
    let data = folder::read(place(&photos(&["test/cat", "test/dog"])).path()).unwrap();
    noticed(&data, &["warning", "without labels, since none of its folders", "cat, dog", "cats, dogs"]);
    let root = place(&photos(&["test"]));
    let unlabelled = folder::read(root.path()).unwrap();
    assert!(!unlabelled.notices.iter().any(|notice| notice.contains("warning")), "{:?}", unlabelled.notices);
    write(root.path(), "test_labels.csv", "id,label\n0,0\n1,1\n2,1\n");
    noticed(
        &folder::read(root.path()).unwrap(),
        &[
            "warning",
            "test_labels.csv names them, but its column \"label\" holds other values",
            "such as \"0\"",
        ],
    );
}

#[test]
fn columns_that_are_hardly_labels_are_warned_of() {
    let label = |row: usize| ["one", "two"][row % 2].to_owned();
    for (column, values) in [
        ("date", ["2024-01-01", "2024-01-02"]),
        ("width", ["640", "800"]),
        ("license", ["CC0", "CC-BY"]),
        ("photographer", ["Anna", "Ben"]),
        ("MD5", ["aa", "bb"]),
        ("Comment", ["good", "bad"]),
    ] {
        let (root, text) = table_of(12, &format!("file,{column}"), |row| values[row % 2].to_owned());
        let data = read_table(root.path(), &text, &TableOptions::default()).unwrap().dataset;
        noticed(&data, &["warning: the labels of labels.csv are in the column", "may say something else"]);
    }
    for column in ["species", "weather", "quality", "kind"] {
        let (root, text) = table_of(12, &format!("file,{column}"), label);
        let data = read_table(root.path(), &text, &TableOptions::default()).unwrap().dataset;
        assert!(!data.notices.iter().any(|notice| notice.contains("warning")), "{:?}", data.notices);
    }
    let (root, text) = table_of(12, "file,species,ring", |row| format!("{},{}", row % 2, row / 4));
    let by_species =
        TableOptions { group_column: Some(Column::Name("species".to_owned())), ..TableOptions::default() };
    let data = read_table(root.path(), &text, &by_species).unwrap().dataset;
    noticed(
        &data,
        &["warning", "\"ring\"", "\"species\", whose name says labels, is asked for as that of groups"],
    );
}

#[test]
fn labels_apart_by_marks_of_names_are_said_to_be_so() {
    let read = |cells: &[&str], header: &str| {
        let (root, text) = table_of(24, header, |row| cells[row % cells.len()].to_owned());
        read_table(root.path(), &text, &TableOptions::default()).unwrap().dataset
    };
    for (cells, mark) in [
        (&["#cat#dog", "#dog", "#cat", "#bird"][..], "\"#\""),
        (&["cat/dog", "dog", "cat", "bird/cat"], "\"/\""),
        (&["cat+dog", "dog", "cat"], "\"+\""),
    ] {
        let data = read(cells, "file,label");
        assert_eq!(data.items.task, Task::SingleLabel);
        noticed(&data, &[&format!("if {mark} separate labels, say so (`label_separator`)")]);
    }
    for cells in [&["Apple/healthy", "Corn/healthy", "Corn/rust"][..], &["a", "b"], &["n/a", "cat", "dog"]] {
        let data = read(cells, "file,label");
        assert!(!data.notices.iter().any(|notice| notice.contains("say so")), "{:?}", data.notices);
    }
    let data = read(&["aGrass green", "eForest green", "cIndustry"], "file,tags");
    noticed(&data, &["with spaces in the names of classes", "if spaces separate labels, say so"]);
}

#[test]
fn words_that_were_misread_are_read() {
    // Names of files are no measurements with a unit.
    let (root, _) = table_of(12, "", |_| String::new());
    let text: String = (0..12).map(|n| format!("{n:03}.png,{:03}.png\n", n + 12)).collect();
    let read = read_table(root.path(), &format!("a,b\n{text}"), &TableOptions::default());
    assert!(!format!("{read:?}").contains("measurements"));
    // A sentence is no header.
    let (root, text) = table_of(12, "# one label per line", |row| format!("{},1,{}", row % 3, row % 2));
    let text = text.replace(',', " ");
    let options = TableOptions { label_columns: vec![Column::Index(1)], ..TableOptions::default() };
    let data = read_table(root.path(), &text, &options).unwrap().dataset;
    assert!(!data.notices.iter().any(|notice| notice.contains("names the columns")), "{:?}", data.notices);
    assert_eq!(data.items.classes.len(), 3);
    // Numbers as pandas writes them.
    let numbers = Classes::new(["0", "1", "2"]);
    assert_eq!((numbers.alike("1.0"), numbers.alike("3.0")), (Some("1"), None));
    assert_eq!(Classes::new(["1", "1.0"]).alike("1.00"), None);
}

#[test]
fn a_folder_for_each_photo_is_no_class() {
    let photos: Vec<String> = (0..8).map(|n| format!("{n}/original.png")).collect();
    let root = place(&photos);
    let read = |root: &Path| {
        read_folder(root, &TableOptions::default(), &mut |root| folder::read(root)).map(|read| read.by_table)
    };
    assert!(!read(root.path()).unwrap());
    let rows: String = (0..8).map(|n| format!("{n},{}\n", ["a", "b"][n % 2])).collect();
    write(root.path(), "labels.csv", format!("id,label\n{rows}"));
    refused(
        read(root.path()),
        &[
            "hold a single photo",
            "labels.csv",
            "has a label for each folder",
            "`from_csv`",
            "`class_folders`",
        ],
    );
    let root = place(&["a1/1.png", "b1/2.png"].map(str::to_owned));
    write(root.path(), "Labels.xlsx", "PK");
    let read = read_folder(root.path(), &TableOptions::default(), &mut |root| folder::read(root)).unwrap();
    noticed(&read.labelled.dataset, &["Labels.xlsx", "is not read", "save it as a CSV file"]);
}

#[test]
fn files_of_several_images_in_class_folders_are_named() {
    let root = place(&["a/1.png", "a/2.png", "b/1.png", "b/2.png"].map(str::to_owned));
    write(root.path(), "a/x.h5", b"\x89HDF\r\n\x1a\n");
    write(root.path(), "b/x.mat", b"MATLAB 5.0 MAT-file");
    write(root.path(), "model.h5", b"\x89HDF\r\n\x1a\n");
    let data = folder::read(root.path()).unwrap();
    noticed(
        &data,
        &["warning: HDF5 files", "left out: 1, the first is a/x.h5", "warning: MATLAB files", "b/x.mat"],
    );
}

#[test]
fn lists_of_what_is_held_out_give_the_split() {
    let photos: Vec<String> = (0..20).map(|n| format!("{}/{n}.png", ["a", "b"][n % 2])).collect();
    for (train, test) in [("training_list.csv", "holdout_list.csv"), ("train.txt", "held_out.txt")] {
        let root = place(&photos);
        write(root.path(), train, photos[..16].join("\n"));
        write(root.path(), test, photos[16..].join("\n"));
        let read =
            read_folder(root.path(), &TableOptions::default(), &mut |root| folder::read(root)).unwrap();
        let split = read.labelled.dataset.split.map(|split| (split.train.len(), split.test.len()));
        assert_eq!(split, Some((16, 4)), "{train}");
    }
}

#[test]
fn a_header_that_lacks_the_last_name_names_the_first_columns() {
    let place = |first: &dyn Fn(usize) -> String| {
        let photos: Vec<String> = (0..12).map(|n| format!("{n:03}.png")).collect();
        (place(&photos), (0..12).map(first).collect::<String>())
    };
    let label = |n: usize| ["a", "b"][n % 2];
    let remark = |n: usize| ["x", "y", "z"][n % 3];
    for (header, row) in [
        (
            "file,label",
            &(|n: usize| format!("{n:03}.png,{},{}\n", label(n), remark(n))) as &dyn Fn(usize) -> String,
        ),
        ("id,file,label", &|n| format!("{n},{n:03}.png,{},{}\n", label(n), remark(n))),
        ("id,label", &|n| format!("{n:03},{},{}\n", label(n), remark(n))),
        ("file,label", &|n| format!("{n:03}.png,{},\n", label(n))),
        // As R writes it: the first column has no name.
        ("file,label", &|n| format!("{},{n:03}.png,{}\n", n + 1, label(n))),
        ("label,note", &|n| format!("{n:03}.png,{},{}\n", label(n), remark(n))),
    ] {
        let (root, rows) = place(row);
        let data =
            read_table(root.path(), &format!("{header}\n{rows}"), &TableOptions::default()).unwrap().dataset;
        assert_eq!(
            (data.items.classes.names().join(","), data.items.len()),
            ("a,b".to_owned(), 12),
            "{rows}"
        );
    }
}

#[test]
fn merged_cells_are_not_rows_without_a_label() {
    let merged = |block: usize| {
        move |row: usize| if row.is_multiple_of(block) { ["a", "b"][row / block % 2] } else { "" }
    };
    for block in [2, 3, 20] {
        let (root, text) = table_of(40, "file,label", |row| merged(block)(row).to_owned());
        refused(
            read_table(root.path(), &text, &TableOptions::default()),
            &["the first of which is row 3", "as merged cells of a spreadsheet", "fill the cells down"],
        );
        let named = TableOptions { label_columns: vec![Column::Index(1)], ..TableOptions::default() };
        let data = read_table(root.path(), &text, &named).unwrap().dataset;
        assert_eq!(data.items.len(), 40_usize.div_ceil(block));
        noticed(&data, &["warning: labels.csv has labels in"]);
    }
    // Two of one value would be one cell: every third frame has a label.
    let (root, text) =
        table_of(40, "file,label", |row| if row % 3 == 0 { ["a", "b"][row / 20] } else { "" }.to_owned());
    assert_eq!(read_table(root.path(), &text, &TableOptions::default()).unwrap().dataset.items.len(), 14);
    // A few without a label are left out, and most with a warning.
    let (root, text) =
        table_of(40, "file,label", |row| if row % 20 < 6 { ["a", "b"][row % 2] } else { "" }.to_owned());
    noticed(
        &read_table(root.path(), &text, &TableOptions::default()).unwrap().dataset,
        &["warning: 28 of 40 rows of labels.csv have no label"],
    );
    let (root, text) =
        table_of(40, "file,label,patient", |row| format!("{},{}", ["a", "b"][row % 2], merged(4)(row)));
    let data = read_table(root.path(), &text, &TableOptions::default()).unwrap().dataset;
    noticed(&data, &["warning: the column \"patient\"", "in the first row of each block only"]);
    let by_patient =
        TableOptions { group_column: Some(Column::Name("patient".to_owned())), ..TableOptions::default() };
    refused(read_table(root.path(), &text, &by_patient), &["has groups in 10 of 40 rows", "merged cells"]);
}

#[test]
fn folders_of_unsorted_photos_and_other_versions_are_warned_of() {
    let read = |classes: &[&str]| {
        let photos: Vec<String> = classes.iter().map(|class| format!("{class}/1.png")).collect();
        folder::read(place(&photos).path()).unwrap()
    };
    for name in ["no_label", "Unlabeled", "to sort", "New folder (2)", "Neuer Ordner", "Duplicates"] {
        noticed(
            &read(&["cat", "dog", name]),
            &[&format!("warning: \"{name}\" is called as a folder of photos without")],
        );
    }
    for names in [
        &["cat", "cat_augmented", "dog", "dog_augmented"][..],
        &["cat", "cat (Kopie)", "dog"],
        &["cat", "aug_cat", "dog"],
        &["cat", "cat-old", "dog"],
    ] {
        noticed(&read(names), &["warning: the classes", "named as copies or other versions of a folder"]);
    }
    let data = read(&["apple_fresh", "apple_rotten", "new york", "york minster", "test strip", "strip"]);
    assert!(!data.notices.iter().any(|notice| notice.contains("no_label")), "{:?}", data.notices);
    let data = read(&["apple", "apple_rotten", "no_mask", "mask"]);
    assert!(!data.notices.iter().any(|notice| notice.contains("warning")), "{:?}", data.notices);
}

#[test]
fn augmented_images_are_known_by_names_and_folders() {
    let of = |changed: &dyn Fn(usize) -> String| {
        let photos = (0..4).flat_map(|n| [format!("cat/IMG_{n}.png"), changed(n)]).collect::<Vec<_>>();
        let photos: Vec<String> = photos.into_iter().chain(["dog/1.png".to_owned()]).collect();
        ocelli_data::groups::related_images_of(&folder::read(place(&photos).path()).unwrap().items)
    };
    let names: [&dyn Fn(usize) -> String; 8] = [
        &|n| format!("cat/aug_IMG_{n}.png"),
        &|n| format!("cat/IMG_{n} flipped.png"),
        &|n| format!("cat/IMG_{n}-edited.png"),
        &|n| format!("cat/IMG_{n}_horizontal_flip.png"),
        &|n| format!("cat/IMG_{n}_0_{}.png", 1234 + n),
        &|n| format!("cat/IMG_{n}.aug1.png"),
        &|n| format!("cat/augmented/IMG_{n}.png"),
        &|n| format!("cat/IMG_{n}_mirrored.png"),
    ];
    for changed in names {
        let found = of(changed).unwrap_or_else(|| panic!("{}", changed(0)));
        assert_eq!(found.groups.iter().flatten().count(), 8, "{}", changed(0));
        assert_eq!(found.example, (changed(0), "cat/IMG_0.png".to_owned()));
        let pattern = regex::Regex::new(&found.pattern).unwrap();
        let stem = |id: &str| pattern.captures(id.rsplit('/').next().unwrap()).unwrap()[1].to_owned();
        assert_eq!(stem(&changed(3)), stem("cat/IMG_3.png"), "{}", found.pattern);
    }
    for other in
        [&|n: usize| format!("cat/IMG_{}_{n}_12.png", n + 4) as String, &|n| format!("cat/night/{n}.png")]
            as [&dyn Fn(usize) -> String; 2]
    {
        assert_eq!(of(other), None, "{}", other(0));
    }
}

#[test]
fn classes_may_be_innermost_below_lines_and_days() {
    let read = |folders: &[&str]| {
        let photos: Vec<String> =
            folders.iter().flat_map(|folder| (0..2).map(move |n| format!("{folder}/{n}.png"))).collect();
        folder::read(place(&photos).path())
    };
    for folders in [
        &[
            "Line1/2024-01-01/OK",
            "Line1/2024-01-01/NG",
            "Line1/2024-01-02/OK",
            "Line2/2024-01-01/OK",
            "Line2/2024-01-01/NG",
        ][..],
        &["anna/scan1/yes", "anna/scan1/no", "bob/scan1/yes", "carl/scan1/no"],
        &["patient01/benign", "patient02/malignant", "patient03/benign", "patient04/benign"],
        &["anna/yes", "bob/no", "carl/yes"],
    ] {
        refused(
            read(folders).map(|data| data.items.classes),
            &["come again in others of them", "which of both"],
        );
    }
    for folders in [
        &["cat/site 1/2019", "cat/site 2/2020", "dog/site 3/2019", "dog/site 4/2020"][..],
        &["cat/indoor/images", "dog/indoor/images", "cat/outdoor/images", "cow/outdoor/images"],
        &["cat/images", "dog/images", "cow/photos"],
        &["cat/indoor", "dog/outdoor"],
        &["cat/kittens", "dog/puppies", "cow/calves"],
        // What the folders inside are called says no class.
        &["cat/2019", "cat/2020", "dog/2019", "dog/2020"],
        &["cat/session1", "cat/session2", "dog/session1", "dog/session2"],
        &["cat/jpg", "cat/png", "dog/jpg", "dog/png"],
    ] {
        assert!(read(folders).is_ok_and(|data| data.items.classes.index("cat").is_some()), "{folders:?}");
    }
}

#[test]
fn rows_that_are_marked_as_out_are_named() {
    for (column, values) in
        [("exclude", ["x", ""]), ("deleted", ["0", "1"]), ("Status", ["approved", "rejected"])]
    {
        let (root, text) =
            table_of(12, &format!("file,label,{column}"), |row| format!("{},{}", row % 3, values[row % 2]));
        let data = read_table(root.path(), &text, &TableOptions::default()).unwrap().dataset;
        noticed(&data, &[&format!("warning: the column \"{column}\" of labels.csv is not read: rows with")]);
    }
    let (root, text) = table_of(12, "file,age", |row| (20 + row % 5).to_string());
    noticed(
        &read_table(root.path(), &text, &TableOptions::default()).unwrap().dataset,
        &["warning", "\"age\"", "may say something else"],
    );
    // Words may be classes, whatever the column is called.
    let (root, text) = table_of(12, "file,time", |row| ["day", "night"][row % 2].to_owned());
    let data = read_table(root.path(), &text, &TableOptions::default()).unwrap().dataset;
    assert!(!data.notices.iter().any(|notice| notice.contains("warning")), "{:?}", data.notices);
}

#[test]
fn predictions_as_json_are_no_labels() {
    let (root, _) = table_of(4, "", |_| String::new());
    let line = |n: usize| {
        format!(
            "{{\"path\":\"{n:03}.png\",\"class\":\"{}\",\"probability\":0.9,\"probabilities\":{{\"a\":0.9,\"b\":0.1}}}}\n",
            ["a", "b"][n % 2]
        )
    };
    write(root.path(), "pp.jsonl", (0..4).map(line).collect::<String>());
    refused(
        table::read(root.path().join("pp.jsonl"), &TableOptions::default()),
        &["has the columns of predictions"],
    );
    write(root.path(), "pp.csv", "path,class,probability\n000.png,a,0.9\n001.png,b,0.8\n002.png,a,0.7\n");
    refused(
        table::read(root.path().join("pp.csv"), &TableOptions::default()),
        &["has the columns of predictions"],
    );
}

#[test]
fn pairs_bands_and_tiles_belong_together() {
    let of = |names: &dyn Fn(usize) -> [String; 2]| {
        let photos: Vec<String> = (0..4).flat_map(names).map(|name| format!("cat/{name}")).collect();
        let photos: Vec<String> = photos.into_iter().chain(["dog/1.png".to_owned()]).collect();
        ocelli_data::groups::related_images_of(&folder::read(place(&photos).path()).unwrap().items)
    };
    let together: [&dyn Fn(usize) -> [String; 2]; 5] = [
        &|n| [format!("DJI_000{n}_D.png"), format!("DJI_000{n}_MS_NIR.png")],
        &|n| [format!("slide{n}_x0_y0.png"), format!("slide{n}_x1_y0.png")],
        &|n| [format!("{n}_left.png"), format!("{n}_right.png")],
        &|n| [format!("IMG_000{n}.png"), format!("IMG_E000{n}.png")],
        &|n| [format!("IMG_{n}.JPG"), format!("IMG_{n}.png")],
    ];
    for names in together {
        let found = of(names).unwrap_or_else(|| panic!("{:?}", names(0)));
        assert_eq!(found.groups.iter().flatten().count(), 8, "{:?}", names(0));
    }
    let apart: [&dyn Fn(usize) -> [String; 2]; 2] =
        [&|n| [format!("IMG_000{n}.png"), format!("IMG_001{n}.png")], &|n| {
            [format!("DJI_000{n}.png"), format!("DJI_010{n}.png")]
        }];
    for names in apart {
        assert_eq!(of(names), None, "{:?}", names(0));
    }
}

#[test]
fn numbers_that_are_off_by_one_are_warned_of() {
    let rows = |from: usize| {
        (from..from + 40).map(|n| format!("{n},{}\n", ["a", "b"][n / 20 % 2])).collect::<String>()
    };
    let photos: Vec<String> = (0..40).map(|n| format!("images/{n}.png")).collect();
    let read = |from: usize| {
        let root = place(&photos);
        write(root.path(), "labels.csv", format!("id,label\n{}", rows(from)));
        table::read(root.path(), &TableOptions::default()).unwrap().dataset
    };
    noticed(
        &read(1),
        &["warning: the numbers in labels.csv go from 1 to 40, and those of the photos from 0 to 39"],
    );
    assert!(!read(0).notices.iter().any(|notice| notice.contains("warning")));
}

#[test]
fn the_same_labels_in_two_orders_are_several() {
    let cells = ["cat,dog", "dog,cat", "bird", "cat"];
    let (root, text) = table_of(24, "file,label", |row| format!("\"{}\"", cells[row % 4]));
    let data = read_table(root.path(), &text, &TableOptions::default()).unwrap().dataset;
    assert_eq!((data.items.task, data.items.classes.len()), (Task::MultiLabel, 3));
}

#[test]
fn errors_of_spreadsheets_are_no_classes() {
    for cell in ["#NV", "#REF!", "#DIV/0!", "(blank)", "k.A."] {
        let (root, text) = table_of(12, "file,label", |row| ["a", "b", cell][row % 3].to_owned());
        let data = read_table(root.path(), &text, &TableOptions::default()).unwrap().dataset;
        assert_eq!(data.items.classes.names(), ["a", "b"], "{cell}");
        noticed(&data, &["4 of 12 rows of labels.csv have no label"]);
    }
    let (root, text) = table_of(12, "file,label", |row| ["0", "1", "-1"][row % 3].to_owned());
    noticed(
        &read_table(root.path(), &text, &TableOptions::default()).unwrap().dataset,
        &["warning: \"-1\" is read as a class"],
    );
    let (root, text) = table_of(12, "file,label", |row| ["Katze", "Katze?", "Hund"][row % 3].to_owned());
    noticed(
        &read_table(root.path(), &text, &TableOptions::default()).unwrap().dataset,
        &["\"Katze\" and \"Katze?\" differ"],
    );
}

#[test]
fn classes_named_by_two_things_at_once_are_noted() {
    let read = |classes: &[&str]| {
        let photos: Vec<String> = classes.iter().map(|class| format!("{class}/1.png")).collect();
        folder::read(place(&photos).path()).unwrap()
    };
    noticed(
        &read(&["Anna_Apfel", "Anna_Birne", "Ben_Apfel", "Ben_Birne"]),
        &["named by two things at once (Anna, Ben, each with Apfel, Birne)"],
    );
    for names in [
        &["red_apple", "green_apple", "red_pear"][..],
        &["level 1", "level 2"],
        &["a_1", "a_2", "b_1", "b_2"],
    ] {
        assert!(!read(names).notices.iter().any(|notice| notice.contains("two things")), "{names:?}");
    }
}

#[test]
fn a_second_table_with_other_labels_or_photos_is_not_passed_over() {
    let photos: Vec<String> = (0..40).map(|n| format!("images/{n}.png")).collect();
    let rows = |range: std::ops::Range<usize>, label: &dyn Fn(usize) -> &'static str| {
        "id,label\n".to_owned() + &range.map(|n| format!("{n},{}\n", label(n))).collect::<String>()
    };
    let usual = |n: usize| ["a", "b"][n % 2];
    let root = place(&photos);
    write(root.path(), "train.csv", rows(0..20, &usual));
    write(root.path(), "train_extra.csv", rows(20..40, &usual));
    let read = |root: &Path| table::read(root, &TableOptions::default());
    refused(
        read(root.path()),
        &["train.csv, and train_extra.csv, which names 20 images that train.csv does not"],
    );
    let root = place(&photos);
    write(root.path(), "labels.csv", rows(0..40, &usual));
    write(root.path(), "labels_v2.csv", rows(0..40, &|n| if n == 7 { "a" } else { usual(n) }));
    refused(read(root.path()), &["labels_v2.csv, which says other labels than labels.csv for 1 images"]);
    // The same once more, or something else, is none of these.
    write(root.path(), "labels_v2.csv", rows(0..40, &usual));
    write(root.path(), "boxes.csv", "id,x,y\n0,1,2\n1,2,3\n");
    assert_eq!(read(root.path()).unwrap().dataset.items.len(), 40);
}

#[test]
fn marks_and_words_of_other_languages_say_the_split() {
    let sides = |header: &str, words: [&str; 3]| {
        let (root, text) =
            table_of(30, header, |row| format!("{},{}", ["a", "b"][row % 2], words[row / 2 % 3]));
        let data = read_table(root.path(), &text, &TableOptions::default()).unwrap().dataset;
        data.split.map(|split| [split.train.len(), split.valid.len(), split.test.len()])
    };
    assert_eq!(sides("file,label,test", ["", "", "x"]), Some([20, 0, 10]));
    assert_eq!(sides("file,label,in_test_set", ["no", "no", "yes"]), Some([20, 0, 10]));
    for words in [
        ["Trainingsdaten", "Validierungsdaten", "Testdaten"],
        ["entraînement", "validation", "test"],
        ["entrenamiento", "validación", "prueba"],
    ] {
        assert_eq!(sides("file,label,teil", words), Some([10, 10, 10]), "{words:?}");
    }
    assert_eq!(sides("file,label,invalid", ["", "", "x"]), None);
}

#[test]
fn a_split_in_a_table_beside_class_folders_is_followed_or_named() {
    let photos: Vec<String> = (0..24).map(|n| format!("{}/{n}.png", ["a", "b"][n % 2])).collect();
    let read = |rows: usize| {
        let root = place(&photos);
        let row = |n: usize| {
            format!(
                "{},{},{},p{}\n",
                photos[n],
                ["m", "f"][n / 2 % 2],
                if n < 18 { "train" } else { "test" },
                n / 4
            )
        };
        write(
            root.path(),
            "meta.csv",
            "path,sex,split,patient\n".to_owned() + &(0..rows).map(row).collect::<String>(),
        );
        read_folder(root.path(), &TableOptions::default(), &mut |root| folder::read(root)).unwrap().labelled
    };
    let whole = read(24);
    assert_eq!(
        whole.dataset.split.as_ref().map(|split| (split.train.len(), split.test.len())),
        Some((18, 6))
    );
    noticed(&whole.dataset, &["the split is that of meta.csv: 18 photos to train on, 6 for testing"]);
    let part = read(22);
    assert_eq!(part.dataset.split, None);
    noticed(
        &part.dataset,
        &["warning: meta.csv names 22 of 24 photos", "not used as the split", "`ValidSplit::File`"],
    );
}

#[test]
fn a_photo_on_two_sides_of_a_split_is_warned_of() {
    let (root, text) = table_of(12, "id,label", |row| ["a", "b"][row % 2].to_owned());
    let sides: String =
        (0..12).map(|n| format!("{n:03}.png,{}\n", if n < 9 { "train" } else { "test" })).collect();
    write(root.path(), "split.csv", format!("name,part\n{sides}003.png,test\n"));
    let data = read_table(root.path(), &text, &TableOptions::default()).unwrap().dataset;
    assert_eq!(data.split, None);
    noticed(&data, &["warning: split.csv names 003.png for two sides of the split"]);
}

#[test]
fn a_table_of_the_classes_does_not_hide_those_of_the_photos() {
    let photos = |folder: [&str; 2]| -> Vec<String> {
        (0..20)
            .map(|n| format!("{}/{n}.png", folder[0]))
            .chain((0..6).map(|n| format!("{}/t{n}.png", folder[1])))
            .collect()
    };
    let train: String = (0..20).map(|n| format!("{n},{}\n", ["a", "b"][n % 2])).collect();
    let test: String = (0..6).map(|n| format!("t{n},{}\n", ["a", "b"][n % 2])).collect();
    for (folders, name) in [(["train", "test"], "metadata.csv"), (["images", "images"], "labels.csv")] {
        let root = place(&photos(folders));
        write(root.path(), "train.csv", format!("id,label\n{train}"));
        write(root.path(), "test.csv", format!("id,label\n{test}"));
        write(root.path(), name, "label,name\na,Ant\nb,Bee\n");
        let read =
            read_folder(root.path(), &TableOptions::default(), &mut |root| folder::read(root)).unwrap();
        let split = read.labelled.dataset.split.map(|split| (split.train.len(), split.test.len()));
        assert_eq!((read.by_table, split), (true, Some((20, 6))), "{name}");
    }
}

#[test]
fn archives_and_joined_labels_are_named() {
    let root = place(&["a/1.png", "b/1.png"].map(str::to_owned));
    for name in ["c.zip", "a/rest.7z", "d.lnk"] {
        write(root.path(), name, b"PK");
    }
    noticed(
        &folder::read(root.path()).unwrap(),
        &["archives and shortcuts", "not read: 3, the first is a/rest.7z"],
    );
    for word in ["and", "und", "&"] {
        let cells = [format!("cat {word} dog"), "cat".to_owned(), "dog".to_owned()];
        let (root, text) = table_of(24, "file,label", |row| cells[row % 3].clone());
        let data = read_table(root.path(), &text, &TableOptions::default()).unwrap().dataset;
        noticed(&data, &[&format!("if \"{word}\" stands between labels")]);
    }
}

#[test]
fn words_between_labels_are_hardly_classes() {
    for word in ["and", "&", "/"] {
        let cells = ["haze", "primary", "road", "water"];
        let cell = |row: usize| match row % 3 {
            0 => cells[row / 3 % 4].to_owned(),
            _ => format!("{} {word} {}", cells[row % 4], cells[(row + 1 + row / 4 % 3) % 4]),
        };
        let (root, text) = table_of(24, "file,tags", cell);
        let data = read_table(root.path(), &text, &TableOptions::default()).unwrap().dataset;
        noticed(&data, &[&format!("warning: \"{word}\" is read as a class; if it stands between labels")]);
    }
}

#[test]
fn the_same_table_in_two_formats_is_one() {
    let (root, text) = table_of(12, "file,label", |row| ["a", "b"][row % 2].to_owned());
    write(root.path(), "labels.csv", text);
    let entries: Vec<String> =
        (0..12).map(|row| format!("\"{row:03}.png\": \"{}\"", ["a", "b"][row % 2])).collect();
    write(root.path(), "labels.json", format!("{{{}}}", entries.join(", ")));
    let data = table::read(root.path(), &TableOptions::default()).unwrap().dataset;
    assert_eq!(data.items.len(), 12);
    noticed(&data, &["labels.csv", "and not those of labels.json"]);
}

/// Class folders of photos with a table beside them, as they are read.
fn folders_with(photos: &[String], name: &str, text: &str) -> Result<Labelled, DataError> {
    let root = place(photos);
    write(root.path(), name, text);
    read_folder(root.path(), &TableOptions::default(), &mut |root| folder::read(root)).map(|read| {
        assert!(!read.by_table, "{name}");
        read.labelled
    })
}

#[test]
fn a_column_beside_class_folders_that_says_no_labels_is_no_reason_to_stop() {
    let photos: Vec<String> = (0..24).map(|n| format!("{}/{n}.png", ["cat", "dog"][n % 2])).collect();
    let table = |header: &str, of: &dyn Fn(usize) -> String| {
        let rows: String = photos.iter().enumerate().map(|(n, path)| format!("{path},{}\n", of(n))).collect();
        format!("path,{header}\n{rows}")
    };
    let words = |n: usize| ["canon", "nikon"][n / 2 % 2].to_owned();
    for column in ["camera", "sex", "quality", "source", "license"] {
        let read = folders_with(&photos, "metadata.csv", &table(column, &words)).unwrap();
        noticed(&read.dataset, &["metadata.csv", "is not read", "class folders are the classes"]);
        let warned = |notice: &String| notice.starts_with("warning") && notice.contains("metadata");
        assert!(!read.dataset.notices.iter().any(warned), "{column}");
    }
    let read = folders_with(&photos, "metadata.csv", &table("disease", &words)).unwrap();
    noticed(&read.dataset, &["warning", "its column \"disease\" says \"canon\", \"nikon\""]);
    let read =
        folders_with(&photos, "metadata.csv", &table("exclude", &|n| (n % 3 / 2).to_string())).unwrap();
    noticed(&read.dataset, &["warning", "whatever its column \"exclude\" says"]);
    for (name, column) in [("metadata.csv", "label"), ("labels.csv", "camera")] {
        let error = folders_with(&photos, name, &table(column, &words)).map(drop);
        refused(error, &["not clear which of both are the classes"]);
    }
}

#[test]
fn a_yes_or_no_of_the_split_beside_class_folders_is_followed() {
    let photos: Vec<String> = (0..24).map(|n| format!("{}/{n}.png", ["a", "b"][n % 2])).collect();
    let table = |header: &str, yes: &dyn Fn(usize) -> bool| {
        let row = |(n, path): (usize, &String)| format!("{path},{}\n", u8::from(yes(n)));
        format!("path,{header}\n{}", photos.iter().enumerate().map(row).collect::<String>())
    };
    let read = folders_with(&photos, "meta.csv", &table("is_test", &|n| n >= 18)).unwrap();
    let split = read.dataset.split.as_ref().map(|split| (split.train.len(), split.test.len()));
    assert_eq!(split, Some((18, 6)));
    noticed(&read.dataset, &["the split is that of meta.csv: 18 photos to train on, 6 for testing"]);
    // Which images are valid is another question.
    assert_eq!(
        folders_with(&photos, "meta.csv", &table("is_valid", &|n| n < 18)).unwrap().dataset.split,
        None
    );
}

#[test]
fn a_question_of_validity_that_most_rows_answer_with_yes_is_no_split() {
    for name in ["is_valid", "is_valid_image"] {
        let (root, text) = table_of(40, &format!("file,label,{name}"), |row| {
            format!("{},{}", ["a", "b"][row % 2], u8::from(row % 4 != 0))
        });
        let read = read_table(root.path(), &text, &TableOptions::default()).map(drop);
        refused(read, &["1 in 30 of 40 rows", "not clear whether these are the validation images"]);
        let none = TableOptions { split_column: Some(Column::Name("none".to_owned())), ..Default::default() };
        assert_eq!(read_table(root.path(), &text, &none).unwrap().dataset.split, None);
    }
}

#[test]
fn of_two_tables_that_with_a_column_of_labels_is_read() {
    let photos: Vec<String> = (0..20).map(|n| format!("images/{n:02}.png")).collect();
    let rows = |of: &dyn Fn(usize) -> &'static str| -> String {
        (0..20).map(|n| format!("{n:02}.png,{}\n", of(n))).collect()
    };
    let labels = rows(&|n| ["ant", "bee"][n % 2]);
    let others = rows(&|n| ["m", "f"][n / 2 % 2]);
    for (label, other) in [("train.csv", "metadata.csv"), ("metadata.csv", "train.csv")] {
        let root = place(&photos);
        write(root.path(), label, format!("file,label\n{labels}"));
        write(root.path(), other, format!("file,sex\n{others}"));
        let read =
            read_folder(root.path(), &TableOptions::default(), &mut |root| folder::read(root)).unwrap();
        assert_eq!(read.labelled.dataset.items.classes.names(), ["ant", "bee"], "{label}");
    }
}

#[test]
fn corrections_beside_the_labels_are_not_passed_over() {
    let (root, text) = table_of(40, "file,label", |row| ["a", "b"][row % 2].to_owned());
    write(root.path(), "labels.csv", &text);
    let some: String = (0..5).map(|row| format!("{row:03}.png,{}\n", ["b", "a"][row % 2])).collect();
    for (name, header) in [("corrections.csv", "file,label"), ("labels_new.csv", "path,class")] {
        write(root.path(), name, format!("{header}\n{some}"));
        let read = table::read(root.path(), &TableOptions::default()).map(drop);
        refused(read, &[name, "says other labels than labels.csv for 5 images"]);
        std::fs::remove_file(root.path().join(name)).unwrap();
    }
    // Some of the same rows once more are none.
    let same: String = text.lines().take(6).map(|line| format!("{line}\n")).collect();
    write(root.path(), "hard.csv", same);
    assert_eq!(table::read(root.path(), &TableOptions::default()).unwrap().dataset.items.len(), 40);
}

#[test]
fn predictions_are_no_labels_by_the_name_of_their_column() {
    for name in ["prediction", "Predicted Class", "y_pred"] {
        let (root, text) = table_of(12, &format!("file,{name}"), |row| ["a", "b"][row % 2].to_owned());
        let read = read_table(root.path(), &text, &TableOptions::default()).map(drop);
        refused(read, &["of predictions by its name"]);
        let asked = TableOptions { label_columns: vec![Column::Name(name.to_owned())], ..Default::default() };
        assert_eq!(read_table(root.path(), &text, &asked).unwrap().dataset.items.len(), 12);
    }
}

#[test]
fn numbers_in_folders_of_train_and_test_are_those_of_train() {
    for inner in ["", "images/"] {
        let photos: Vec<String> = ["train", "test"]
            .iter()
            .flat_map(|side| (0..12).map(move |n| format!("{side}/{inner}{n}.png")))
            .collect();
        let root = place(&photos);
        let rows: String = (0..12).map(|n| format!("{n},{}\n", ["a", "b"][n % 2])).collect();
        write(root.path(), "train.csv", format!("id,label\n{rows}"));
        let read =
            read_folder(root.path(), &TableOptions::default(), &mut |root| folder::read(root)).unwrap();
        let items = &read.labelled.dataset.items.items;
        let train = root.path().join("train");
        assert!(items.len() == 12 && items.iter().all(|item| item.path.starts_with(&train)), "{inner}");
    }
}

#[test]
fn masks_beside_class_folders_are_no_class() {
    let classes = ["cat", "dog"];
    let photos: Vec<String> =
        classes.iter().flat_map(|class| (0..8).map(move |n| format!("{class}/{class}{n}.png"))).collect();
    let named = |masks: &[String]| {
        let data = folder::read(place(&[&photos[..], masks].concat()).path()).unwrap();
        (data.items.classes.names().to_vec(), data.notices)
    };
    let masks: Vec<String> =
        classes.iter().flat_map(|class| (0..8).map(move |n| format!("masks/{class}{n}.png"))).collect();
    let (names, notices) = named(&masks);
    assert_eq!(names, classes);
    assert!(notices.iter().any(|notice| notice.contains("16 segmentation masks left out")), "{notices:?}");
    let masks: Vec<String> = classes
        .iter()
        .flat_map(|class| (0..8).map(move |n| format!("{class}_masks/{class}{n}.png")))
        .collect();
    assert_eq!(named(&masks).0, classes);
    // People with a mask: numbers alone are in all folders.
    let faces: Vec<String> = ["mask", "scarf", "none"]
        .iter()
        .flat_map(|class| (0..8).map(move |n| format!("{class}/{n}.png")))
        .collect();
    assert_eq!(folder::read(place(&faces).path()).unwrap().items.classes.len(), 3);
}

#[test]
fn opposites_and_words_of_a_status_are_no_reason_to_warn() {
    let unsorted = |names: [&str; 2]| {
        let photos: Vec<String> = (0..8).map(|n| format!("{}/{n}.png", names[n % 2])).collect();
        let data = folder::read(place(&photos).path()).unwrap();
        data.notices.iter().any(|notice| notice.contains("without a class"))
    };
    assert!(!unsorted(["sorted", "unsorted"]) && !unsorted(["labeled", "not labeled"]));
    assert!(unsorted(["cats", "unsorted"]) && unsorted(["cats", "Papierkorb"]));
    let warned = |header: &str, values: [&str; 2]| {
        let row = |row: usize| format!("{},{}", ["a", "b"][row % 2], values[row / 2 % 2]);
        let (root, text) = table_of(24, header, row);
        let data = read_table(root.path(), &text, &TableOptions::default()).unwrap().dataset;
        data.notices.iter().any(|notice| notice.contains("are used alike"))
    };
    assert!(
        !warned("file,label,status", ["married", "single"]) && !warned("file,label,use", ["food", "tool"])
    );
    assert!(warned("file,label,status", ["ok", "rejected"]) && warned("file,label,corrupt", ["0", "1"]));
}

#[test]
fn a_part_of_a_split_that_is_alone_in_another_name_is_entered() {
    let photos: Vec<String> = (0..8).map(|n| format!("Final_Training/Images/{:05}/{n}.png", n % 2)).collect();
    let data = folder::read(place(&photos).path()).unwrap();
    assert_eq!(data.items.classes.names(), ["00000", "00001"]);
}

#[test]
fn classes_named_by_a_number_and_a_word_are_doubted() {
    let notices = |names: &[&str]| {
        let photos: Vec<String> =
            names.iter().flat_map(|name| (0..2).map(move |n| format!("{name}/{n}.png"))).collect();
        folder::read(place(&photos).path()).unwrap().notices.join("\n")
    };
    let said = notices(&["p01_benign", "p02_malignant", "p03_benign", "p04_malignant"]);
    assert!(said.contains("warning: each class is named by a number of its own"), "{said}");
    for names in [
        &["2019_cat", "2019_dog", "2020_cat", "2020_dog"][..],
        &["Anna_apple", "Anna_pear", "Ben_apple", "Ben_pear", "Cem_apple"],
    ] {
        assert!(notices(names).contains("two things at once"), "{names:?}");
    }
    assert!(!notices(&["red_apple", "green_apple", "red_car"]).contains("two things at once"));
    assert!(!notices(&["001_rose", "002_daisy", "003_tulip"]).contains("number of its own"));
}

#[test]
fn patients_and_frames_in_names_belong_together() {
    let groups = |name: &dyn Fn(usize) -> String| {
        let photos: Vec<String> =
            (0..24).map(|n| format!("{}/{}.png", ["a", "b"][n / 12], name(n))).collect();
        let items = folder::read(place(&photos).path()).unwrap().items;
        ocelli_data::groups::related_images_of(&items)
            .map(|related| related.groups.iter().flatten().collect::<std::collections::BTreeSet<_>>().len())
    };
    assert_eq!(groups(&|n| format!("patient{}_img{}", n / 4, n % 4)), Some(6));
    assert_eq!(groups(&|n| format!("video_{}_{}", n / 3, n % 3)), Some(8));
    assert_eq!(groups(&|n| format!("p{:02}_frame{:03}", n / 4, n % 4)), Some(6));
    assert_eq!(groups(&|n| format!("patient{n}_img0")), None);
    assert_eq!(groups(&|n| format!("slide{n}")), None);
    let photos: Vec<String> = ["orig", "aug"]
        .iter()
        .flat_map(|kind| (0..12).map(move |n| format!("{}/{kind}/{n}.png", ["a", "b"][n % 2])))
        .collect();
    let (data, _) =
        FolderOptions { outermost: true, ..Default::default() }.look(place(&photos).path()).unwrap();
    assert!(ocelli_data::groups::related_images_of(&data.items).is_some());
    assert_eq!(
        groups(&|n| if n % 2 == 0 { format!("IMG_{n}") } else { format!("IMG_{}_r90", n - 1) }),
        Some(12)
    );
}

#[test]
fn names_in_other_languages_and_of_programs_are_known() {
    for header in [
        "Dateiname;Klasse;Bemerkung",
        "fichier;Espèce;note",
        "ファイル名;ラベル;備考",
        "image;choice;annotator",
    ] {
        let header = header.replace(';', ",");
        let (root, text) = table_of(12, &header, |row| format!("{},n{row}", ["a", "b"][row % 2]));
        let data = read_table(root.path(), &text, &TableOptions::default()).unwrap().dataset;
        assert_eq!(data.items.classes.names(), ["a", "b"], "{header}");
    }
    // Label Studio's cells of several choices.
    let cells = ["cat", "\"{\"\"choices\"\":[\"\"cat\"\",\"\"dog\"\"]}\"", "dog"];
    let (root, text) = table_of(12, "image,choice,annotator", |row| format!("{},1", cells[row % 3]));
    let data = read_table(root.path(), &text, &TableOptions::default()).unwrap().dataset;
    assert_eq!((data.items.task, data.items.classes.names().len()), (Task::MultiLabel, 2));
}

#[test]
fn numbers_above_the_columns_are_their_names() {
    for (header, index) in [("0,1", false), (",0,1", true)] {
        let photos: Vec<String> = (0..12).map(|n| format!("{n}.png")).collect();
        let root = place(&photos);
        let row = |n: usize| {
            let row = format!("{n}.png,{}\n", ["a", "b"][n % 2]);
            if index { format!("{n},{row}") } else { row }
        };
        write(root.path(), "labels.csv", format!("{header}\n{}", (0..12).map(row).collect::<String>()));
        let data = table::read(root.path(), &TableOptions::default()).unwrap().dataset;
        assert_eq!(counts(&data), [("a".to_owned(), 6), ("b".to_owned(), 6)], "{header}");
    }
}

#[test]
fn tables_in_a_folder_of_data_are_found() {
    let photos: Vec<String> = ["train", "validation"]
        .iter()
        .flat_map(|side| (0..8).map(move |n| format!("data/{side}/{n:04}.png")))
        .collect();
    let root = place(&photos);
    let rows: String = (0..8).map(|n| format!("{n:04}.png,{}\n", ["a", "b"][n % 2])).collect();
    for side in ["train", "validation"] {
        write(root.path(), &format!("data/{side}/metadata.csv"), format!("file_name,label\n{rows}"));
    }
    let read = read_folder(root.path(), &TableOptions::default(), &mut |root| folder::read(root)).unwrap();
    let split = read.labelled.dataset.split.map(|split| (split.train.len(), split.valid.len()));
    assert_eq!(split, Some((8, 8)));
}

#[test]
fn files_that_are_named_in_full_come_before_numbers() {
    let photos: Vec<String> = (0..30).map(|n| format!("images/{n}.png")).collect();
    let read = |header: &str, row: &dyn Fn(usize) -> String| {
        let root = place(&photos);
        write(root.path(), "labels.csv", format!("{header}\n{}", (0..30).map(row).collect::<String>()));
        counts(&table::read(root.path(), &TableOptions::default()).unwrap().dataset)
    };
    let class = |n: usize| ["apple", "pear"][n / 2 % 2];
    // Two rows for each of half of the photos.
    let expected = [("apple".to_owned(), 8), ("pear".to_owned(), 7)];
    assert_eq!(read("filename,class,box_id", &|n| format!("{}.png,{},{n}\n", n / 2, class(n))), expected);
    assert_eq!(read("box_id,filename,class", &|n| format!("{n},{}.png,{}\n", n / 2, class(n))), expected);
    assert_eq!(read("annotation_id,image_id,class", &|n| format!("{n},{},{}\n", n / 2, class(n))), expected);
}

#[test]
fn sets_for_detection_and_classes_in_names_are_told() {
    let read = |files: &[(&str, &str)]| {
        let root = place(&["train/images/1.png", "train/images/2.png"].map(str::to_owned));
        for (name, text) in files {
            write(root.path(), name, text);
        }
        folder::read(root.path()).map(drop)
    };
    for file in [
        ("train/labels/1.txt", "0 0.5 0.5 0.2 0.1\n"),
        ("Annotations/1.xml", "<annotation><bndbox></bndbox></annotation>"),
        ("train/_annotations.coco.json", "{\"annotations\":[{\"image_id\":0,\"bbox\":[1,2,3,4]}]}"),
    ] {
        refused(read(&[file]), &["a data set for detection", file.0, "Folder Structure"]);
    }
    let photos: Vec<String> = (0..12).map(|n| format!("train/{}.{n}.png", ["cat", "dog"][n % 2])).collect();
    for photos in [photos.clone(), photos.iter().map(|path| format!("train/{path}")).collect()] {
        refused(folder::read(place(&photos).path()).map(drop), &["names begin with cat, dog", "train/cat"]);
    }
    let photos: Vec<String> = (0..12).map(|n| format!("train/{}_{n}.png", n % 3)).collect();
    refused(folder::read(place(&photos).path()).map(drop), &["names begin with 0, 1, 2", "train/0"]);
    // Names of cameras say nothing.
    let photos: Vec<String> = (0..12).map(|n| format!("{}_{n}.png", ["IMG", "DSC"][n % 2])).collect();
    refused(folder::read(place(&photos).path()).map(drop), &["no class folders; put the images"]);
    // A folder for validation with photos directly in it.
    let photos = ["train/a/1.png", "train/b/1.png", "valid/1.png", "valid/2.png"].map(str::to_owned);
    refused(folder::read(place(&photos).path()).map(drop), &["valid holds 2 images but no class folders"]);
}

#[test]
fn packages_of_programs_are_no_classes() {
    let photos: Vec<String> =
        ["a/1.png", "b/1.png", "venv/lib/x/1.png", "node_modules/x/1.png"].map(str::to_owned).to_vec();
    let root = place(&photos);
    write(root.path(), "venv/pyvenv.cfg", "home = /usr/bin\n");
    let data = folder::read(root.path()).unwrap();
    assert_eq!(data.items.classes.names(), ["a", "b"]);
}

#[test]
fn what_labels_are_not_is_doubted() {
    let notices = |header: &str, row: &dyn Fn(usize) -> String| {
        let (root, text) = table_of(24, header, row);
        read_table(root.path(), &text, &TableOptions::default()).unwrap().dataset.notices.join("\n")
    };
    let class = |n: usize| ["a", "b"][n % 2];
    let said = notices("file,label,true_label", &|n| {
        format!("{},{}", class(n), if n == 3 { "a" } else { class(n) })
    });
    assert!(
        said.contains("\"true_label\" of labels.csv says other labels than \"label\" in 1 of 24 rows"),
        "{said}"
    );
    let said = notices("file,genus,species", &|n| {
        ["Quercus,alba", "Fagus,sylvatica", "Alnus,alba"][n % 3].to_owned()
    });
    assert!(said.contains("\"alba\" in the column \"species\"") && said.contains("Quercus"), "{said}");
    let said = notices("file,cat,dog,cow,total", &|n| ["1,0,0,1", "0,1,0,1", "0,0,1,1"][n % 3].to_owned());
    assert!(said.contains("all columns of classes in labels.csv but \"total\""), "{said}");
    let said = notices("file,label", &|n| ["09-Mar", "20-29", "Oct-19"][n % 3].to_owned());
    assert!(said.contains("look like dates") && said.contains("20-29"), "{said}");
    // A column of other words is no split.
    let said = notices("file,label,usage", &|n| format!("{},{}", class(n), ["Casual", "Sports"][n / 2 % 2]));
    assert!(!said.contains("is ignored"), "{said}");
}

#[test]
fn marks_in_columns_of_classes_are_read() {
    let read = |header: &str, rows: [&str; 3]| {
        let (root, text) = table_of(12, header, |row| rows[row % 3].to_owned());
        let data = read_table(root.path(), &text, &TableOptions::default()).unwrap().dataset;
        (data.items.classes.names().join(" "), data.items.task)
    };
    let expected = ("cat cow dog".to_owned(), Task::SingleLabel);
    assert_eq!(read("file,cat,dog,cow", ["x,,", ",x,", ",,x"]), expected);
    assert_eq!(read("file,cat,dog,cow", ["1,,", ",1,", ",,1"]), expected);
    assert_eq!(read("file,cat,dog,cow", ["yes,no,no", "no,yes,no", "no,no,yes"]), expected);
    assert_eq!(read("file,cat,dog,cow,patient", ["1,0,0,p1", "0,1,0,p2", "0,0,1,p3"]), expected);
    // Empty beside 0 is no answer.
    let (root, text) = table_of(12, "file,cat,dog", |row| ["1,0", "0,", "0,1"][row % 3].to_owned());
    refused(read_table(root.path(), &text, &TableOptions::default()).map(drop), &["is not clear"]);
}

#[test]
fn names_exchanged_are_no_renaming() {
    let photos: Vec<String> = (0..24).map(|n| format!("{}/{n}.png", ["cat", "dog"][n / 12])).collect();
    let rows: String =
        photos.iter().enumerate().map(|(n, path)| format!("{path},{}\n", ["dog", "cat"][n / 12])).collect();
    let read = folders_with(&photos, "labels.csv", &format!("path,label\n{rows}")).map(drop);
    refused(read, &["says other labels than the folders' names", "\"dog\" for 0.png in cat"]);
}

#[test]
fn augmented_images_belong_to_those_on_the_other_side_of_a_split() {
    let groups = |photos: &[String]| {
        let items = folder::read(place(photos).path()).unwrap().items;
        ocelli_data::groups::related_images_of(&items).map(|related| {
            let groups = related.groups.iter().flatten();
            groups.fold(std::collections::BTreeMap::new(), |mut sizes, group| {
                *sizes.entry(group.clone()).or_insert(0) += 1;
                sizes
            })
        })
    };
    let of = |name: &dyn Fn(usize, &str) -> Option<String>| -> Vec<String> {
        ["train", "valid"]
            .iter()
            .flat_map(|side| {
                (0..12).filter_map(move |n| Some(format!("{side}/{}/{}", ["a", "b"][n % 2], name(n, side)?)))
            })
            .collect()
    };
    for word in ["_90deg", "_flipLR", "_new30degFlipLR", "_aug1"] {
        let photos = of(&|n, side| {
            Some(if side == "train" { format!("leaf {n}.png") } else { format!("leaf {n}{word}.png") })
        });
        let found = groups(&photos).unwrap_or_default();
        assert!(found.len() == 12 && found.values().all(|size| *size == 2), "{word}: {found:?}");
    }
    let found = groups(&of(&|n, side| Some(format!("IMG_{n}_jpg.rf.{side}.png")))).unwrap();
    assert!(found.len() == 12 && found.values().all(|size| *size == 2), "{found:?}");
    // Where each side has its own images of these numbers, what was changed is its own side's.
    let photos: Vec<String> = ["train", "valid"]
        .iter()
        .flat_map(|side| {
            (0..6).flat_map(move |n| ["", "_flip"].map(|word| format!("{side}/a/{n}{word}.png")))
        })
        .chain(["train/b/x.png".to_owned(), "valid/b/y.png".to_owned()])
        .collect();
    let found = groups(&photos).unwrap();
    assert!(
        found.len() == 12 && found.keys().all(|key| key.contains("train") || key.contains("valid")),
        "{found:?}"
    );
    let hash = "0a1b2c3d-0000-4000-8000-0123456789ab";
    let photos: Vec<String> = (0..12)
        .flat_map(|n| {
            [format!("a/{n}.png"), format!("a/a_original_{n}.png_{hash}.png"), format!("b/z{n}.png")]
        })
        .collect();
    assert_eq!(groups(&photos).map(|found| found.len()), Some(12));
}

#[test]
fn lists_with_labels_are_tables_where_there_are_no_class_folders() {
    let photos: Vec<String> = (0..24).map(|n| format!("images/{n:02}.png")).collect();
    let root = place(&photos);
    let rows = |range: std::ops::Range<usize>| -> String {
        range.map(|n| format!("images/{n:02}.png {}\n", n % 2)).collect()
    };
    write(root.path(), "train.txt", rows(0..18));
    write(root.path(), "test.txt", rows(18..24));
    let read = read_folder(root.path(), &TableOptions::default(), &mut |root| folder::read(root)).unwrap();
    let split = read.labelled.dataset.split.map(|split| (split.train.len(), split.test.len()));
    assert_eq!((read.by_table, split), (true, Some((18, 6))));
}

#[test]
fn parts_of_downloads_and_versions_of_photos_are_no_classes() {
    let read = |folders: &[&str]| {
        let photos: Vec<String> =
            folders.iter().flat_map(|folder| (0..3).map(move |n| format!("{folder}/{n}.png"))).collect();
        folder::read(place(&photos).path()).map(|data| data.notices.join("\n"))
    };
    let drive = ["x-20240101T101010Z-001/cat", "x-20240101T101010Z-001/dog", "x-20240101T101010Z-002/dog"];
    refused(read(&drive), &["parts of one download", "put the folders of all parts together"]);
    let art = ["images/images/Monet", "images/images/Manet", "resized/resized"];
    refused(read(&art), &["named as collections of photos", "to train on one of them"]);
    // Within a training folder as without.
    let patients = ["train/p1/negative", "train/p1/positive", "train/p2/negative", "train/p2/positive"];
    refused(read(&patients), &["all hold the same folders (negative, positive)", "train/p1"]);
    assert!(read(&["cat 1", "cat 2", "dog 1", "dog 2"]).unwrap().contains("are numbered as several folders"));
    for names in
        [&["type 1", "type 2", "type 3"][..], &["A320", "A330", "B737", "B747"], &["cat", "cat 2", "dog"]]
    {
        assert!(!read(names).unwrap().contains("are numbered as"), "{names:?}");
    }
    let fish: Vec<String> = ["Bream", "Trout"]
        .iter()
        .flat_map(|fish| [format!("{fish}/{fish}"), format!("{fish}/{fish} GT")])
        .collect();
    let said = read(&fish.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    assert!(said.contains("6 segmentation masks left out"), "{said}");
}

#[test]
fn a_table_of_test_images_alone_is_read() {
    for folder in ["images/", ""] {
        let photos: Vec<String> = (0..10).map(|n| format!("{folder}{n:02}.png")).collect();
        let root = place(&photos);
        let rows: String = (0..10).map(|n| format!("{n:02}.png,{}\n", ["a", "b"][n % 2])).collect();
        for header in ["file,label", "file,remark"] {
            write(root.path(), "test.csv", format!("{header}\n{rows}"));
            let read = read_folder(root.path(), &TableOptions::default(), &mut |root| folder::read(root));
            match header {
                "file,label" => assert_eq!(read.unwrap().labelled.dataset.items.len(), 10),
                // It says no labels.
                _ => assert!(read.is_err()),
            }
        }
    }
    // Two formats of one table.
    let (root, text) = table_of(12, "file,label", |row| ["a", "b"][row % 2].to_owned());
    write(root.path(), "labels.csv", &text);
    write(root.path(), "labels.tsv", text.replace(',', "\t"));
    assert_eq!(table::read(root.path(), &TableOptions::default()).unwrap().dataset.items.len(), 12);
}

#[test]
fn a_fold_that_is_the_group_is_no_split_that_is_ignored() {
    let row = |row: usize| format!("{},{}", ["a", "b"][row % 2], row % 5);
    let (root, text) = table_of(20, "file,label,fold", row);
    let options =
        TableOptions { group_column: Some(Column::Name("fold".to_owned())), ..TableOptions::default() };
    let data = read_table(root.path(), &text, &options).unwrap().dataset;
    assert!(!data.notices.iter().any(|notice| notice.contains("is ignored")), "{:?}", data.notices);
}
