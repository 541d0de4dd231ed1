//! Layouts in which people publish data sets: masks beside photos, lists of the split, tables apart by spaces,
//! folders of domains.

use std::collections::BTreeMap;
use std::path::Path;

use crate::common::{counts, noticed, place, png, refused, write};
use ocelli_data::source::folder::{self, FolderOptions};
use ocelli_data::source::table::{
    self, Column, Labelled, ListedSplit, SplitBy, TableOptions, read_folder, read_split,
};
use ocelli_data::{Classes, DataError, Dataset};
use tempfile::TempDir;

/// The ids of the images of each class.
fn by_class(data: &Dataset) -> BTreeMap<String, Vec<String>> {
    let mut classes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for item in &data.items.items {
        for &class in item.target.classes() {
            classes
                .entry(data.items.classes.name(class).unwrap().to_owned())
                .or_default()
                .push(item.id.clone());
        }
    }
    classes
}

fn read(root: &TempDir) -> Result<Labelled, DataError> {
    let options = TableOptions::default();
    Ok(read_folder(root.path(), &options, &mut |root| folder::read(root))?.labelled)
}

/// The sides of the split, as the ids' last parts.
fn sides(labelled: &Labelled) -> [Vec<&str>; 3] {
    let Dataset { items, split, .. } = &labelled.dataset;
    let split = split.as_ref().expect("a split");
    [&split.train, &split.valid, &split.test].map(|side| {
        let mut names: Vec<&str> =
            side.iter().map(|&item| items[item].id.rsplit('/').next().unwrap()).collect();
        names.sort_unstable();
        names
    })
}

fn each(of: &[&str], numbers: std::ops::Range<usize>, path: impl Fn(&str, usize) -> String) -> Vec<String> {
    of.iter().flat_map(|name| numbers.clone().map(|number| path(name, number)).collect::<Vec<_>>()).collect()
}

#[test]
fn masks_beside_photos_are_no_photos() {
    let kinds = ["COVID", "Normal"];
    let with = |photos: &dyn Fn(&str, usize) -> String, masks: &dyn Fn(&str, usize) -> String| {
        let mut paths = each(&kinds, 0..4, photos);
        paths.extend(each(&kinds, 0..4, masks));
        place(&paths)
    };
    for (photos, masks) in [
        ("{}/images/{n}.png", "{}/masks/{n}.png"),
        ("{}/images/{n}.png", "{}/mask/{n}_mask.png"),
        ("{}/{n}.png", "{}/masks/{n}.png"),
        ("{}/{n}.png", "{}/{n}_mask.png"),
        ("{}/case ({n}).png", "{}/case ({n})_mask_1.png"),
        ("{}/{n}.png", "{}/{n}_segmentation.png"),
        ("{}/{n}.png", "masks/{}/{n}.png"),
        ("images/{}/{n}.png", "annotations/trimaps/{}/{n}.png"),
        ("images/{}/{n}.png", "GroundTruth/{}/{n}.png"),
        ("JPEGImages/{}/{n}.png", "SegmentationClass/{}/{n}.png"),
        ("train/images/{}/{n}.png", "train/labels/{}/{n}.png"),
        ("train/{}/{n}.png", "train_masks/{}/{n}_mask.png"),
        ("{}/ISIC_Training_Data/{n}.png", "{}/ISIC_Training_Part1_GroundTruth/{n}_segmentation.png"),
    ] {
        let path = |text: &str| {
            let text = text.to_owned();
            move |kind: &str, number: usize| {
                text.replace("{}", kind).replace("{n}", &format!("{kind}{number}"))
            }
        };
        let root = with(&path(photos), &path(masks));
        let data = folder::read(root.path()).unwrap();
        assert_eq!(counts(&data), [("COVID".to_owned(), 4), ("Normal".to_owned(), 4)], "{masks}");
        noticed(&data, &["8 segmentation masks left out", "`class_folders`"]);
        let all = data.skipped.iter().filter(|skipped| skipped.reason.to_string().contains("mask")).count();
        assert!(all > 0, "{masks}: {:?}", data.skipped);
        // And so they are for a model's classes.
        let known = folder::read_known(root.path(), &Classes::new(kinds)).unwrap();
        assert_eq!(counts(&known), counts(&data), "{masks}");
    }
    // They can be kept.
    let root = with(&|kind, n| format!("{kind}/{n}.png"), &|kind, n| format!("{kind}/{n}_mask.png"));
    let kept = FolderOptions { include_masks: true, ..FolderOptions::default() }.read(root.path()).unwrap();
    assert_eq!(counts(&kept), [("COVID".to_owned(), 8), ("Normal".to_owned(), 8)]);
}

#[test]
fn photos_are_not_left_out_for_their_names() {
    // People with a mask and without, numbered alike in both folders.
    for classes in
        [["mask", "no_mask"], ["with_mask", "without_mask"], ["face_mask", "face"], ["labels", "tags"]]
    {
        let root = place(&each(&classes, 0..5, |class, n| format!("{class}/{n}.png")));
        let data = folder::read(root.path()).unwrap();
        let mut expected: Vec<(String, usize)> =
            classes.iter().map(|class| ((*class).to_owned(), 5)).collect();
        expected.sort();
        assert_eq!(counts(&data), expected);
        assert!(data.notices.iter().all(|notice| !notice.contains("segmentation")), "{:?}", data.notices);
    }
    // A folder called so, whose images have other names than the photos.
    let mut paths = each(&["cats", "dogs"], 0..4, |class, n| format!("images/{class}/{class}{n}.png"));
    paths.extend(each(&["masks"], 0..4, |class, n| format!("{class}/other{n}.png")));
    let data = folder::look(place(&paths).path()).unwrap().0;
    assert_eq!(counts(&data), [("images".to_owned(), 8), ("masks".to_owned(), 4)]);
    // A few photos that happen to be called like masks: they stay, and people know.
    let mut paths = each(&["cats", "dogs"], 0..5, |class, n| format!("{class}/{n}.png"));
    paths.push("cats/1_mask.png".to_owned());
    let data = folder::read(place(&paths).path()).unwrap();
    assert_eq!(counts(&data), [("cats".to_owned(), 6), ("dogs".to_owned(), 5)]);
    noticed(&data, &["warning: 1 images are called as segmentation masks", "cats/1_mask.png, beside 1.png"]);
    // Photos of people, each with a mask and without: masks have few colours.
    let root = tempfile::tempdir().unwrap();
    for (number, path) in (0..).zip(each(&["old", "young"], 0..6, |class, n| format!("{class}/{n}"))) {
        write(root.path(), &format!("{path}.png"), png(number));
        write(root.path(), &format!("{path}_mask.png"), png(100 + number));
    }
    let data = folder::read(root.path()).unwrap();
    assert_eq!(counts(&data), [("old".to_owned(), 12), ("young".to_owned(), 12)]);
    noticed(
        &data,
        &["warning: 12 images are called as", "but they have the colours of photos", "old/0_mask.png"],
    );
}

#[test]
fn a_name_in_a_table_is_that_of_the_photo_and_not_of_its_mask() {
    let mut paths = each(&["Abyssinian", "beagle"], 0..4, |breed, n| format!("images/{breed}_{n}.jpg"));
    paths.extend(each(&["Abyssinian", "beagle"], 0..4, |breed, n| {
        format!("annotations/trimaps/{breed}_{n}.png")
    }));
    let root = place(&paths);
    let mut list = "#Image CLASS-ID SPECIES BREED ID\n".to_owned();
    for (class, breed) in [(1, "Abyssinian"), (2, "beagle")] {
        (0..4).for_each(|n| list += &format!("{breed}_{n} {class} 1 {n}\n"));
    }
    write(root.path(), "annotations/list.txt", list);
    let path = root.path().join("annotations/list.txt");
    let options = TableOptions { folder: Some(root.path().to_owned()), ..TableOptions::default() };
    refused(table::read(&path, &options), &["CLASS-ID, SPECIES, BREED ID", "label_columns"]);
    let options = TableOptions { label_columns: vec![Column::Name("CLASS-ID".to_owned())], ..options };
    let data = table::read(&path, &options).unwrap().dataset;
    assert_eq!(counts(&data), [("1".to_owned(), 4), ("2".to_owned(), 4)]);
    assert!(data.items.items.iter().all(|item| item.path.to_str().unwrap().contains("/images/")), "{data:?}");
    noticed(
        &data,
        &["the columns of list.txt are separated by spaces", "a comment in list.txt names the columns"],
    );
    // Without the list being given, the folder alone does not say the breeds: it is said where it lies.
    refused(read(&root), &["annotations/list.txt", "`from_csv`"]);
}

#[test]
fn a_label_of_several_words_follows_a_name_after_a_space() {
    let root = place(&each(&["10"], 0..4, |_, n| format!("images/{n}00.jpg")));
    write(root.path(), "variants.txt", "000 Boeing 717\n100 A300B4\n200 Boeing 717\n300 A300B4\n");
    let data = table::read(root.path().join("variants.txt"), &TableOptions::default()).unwrap().dataset;
    assert_eq!(counts(&data), [("A300B4".to_owned(), 2), ("Boeing 717".to_owned(), 2)]);
    // A list of names is no table of labels.
    write(root.path(), "names.txt", "000\n100\n200\n300\n");
    refused(table::read(root.path().join("names.txt"), &TableOptions::default()), &["a single column"]);
}

#[test]
fn attributes_of_one_and_minus_one_are_read() {
    let root = place(&each(&["img"], 1..5, |folder, n| format!("{folder}/{n:06}.jpg")));
    let table = "4\nBald Male Smiling\n000001.jpg -1  1 -1\n000002.jpg  1  1 -1\n000003.jpg -1 -1 -1\n000004.jpg -1  1  1\n";
    write(root.path(), "list_attr_celeba.txt", table);
    let read = |name: &str| table::read(root.path().join(name), &TableOptions::default());
    let expected = [("Bald".to_owned(), 1), ("Male".to_owned(), 3), ("Smiling".to_owned(), 1)];
    assert_eq!(counts(&read("list_attr_celeba.txt").unwrap().dataset), expected);
    let csv = "image_id,Bald,Male,Smiling\n000001.jpg,-1,1,-1\n000002.jpg,1,1,-1\n000003.jpg,-1,-1,-1\n000004.jpg,-1,1,1\n";
    write(root.path(), "list.csv", csv);
    assert_eq!(counts(&read("list.csv").unwrap().dataset), expected);
    // Beside 0, -1 says that it is not known.
    write(root.path(), "unsure.csv", csv.replacen("-1", "0", 1));
    refused(read("unsure.csv"), &["which of them holds the labels is not clear"]);
    let options = TableOptions {
        label_columns: ["Bald", "Male"].map(|name| Column::Name(name.to_owned())).to_vec(),
        ..TableOptions::default()
    };
    refused(
        table::read(root.path().join("unsure.csv"), &options),
        &["\"-1\" in the column \"Bald\"", "row 4"],
    );
    // Its partition gives the split, and no labels.
    write(root.path(), "list_eval_partition.txt", "000001.jpg 0\n000002.jpg 0\n000003.jpg 1\n000004.jpg 2\n");
    let labelled = read("list.csv").unwrap();
    assert_eq!(sides(&labelled), [vec!["000001.jpg", "000002.jpg"], vec!["000003.jpg"], vec!["000004.jpg"]]);
}

#[test]
fn folders_of_domains_that_hold_the_same_classes_are_not_clear() {
    let domains = ["amazon", "dslr", "webcam"];
    for inside in ["images/", "", "a/b/"] {
        let path = |domain: &str, n: usize| format!("{domain}/{inside}{}/{n}.png", ["bike", "mug"][n % 2]);
        let root = place(&each(&domains, 0..4, path));
        refused(folder::read(root.path()), &["amazon, dslr, webcam", "bike, mug", "not clear"]);
        let (data, problem) = folder::look(root.path()).unwrap();
        assert!(problem.is_some() && data.items.classes.names() == domains);
    }
    // Classes whose photos lie in one folder more stay classes, also where it has folders of its own.
    let root = place(&each(&domains, 0..4, |class, n| format!("{class}/images/{class} {}/{n}.png", n % 2)));
    let data = folder::read(root.path()).unwrap();
    assert_eq!(data.items.classes.names(), domains);
    noticed(
        &data,
        &["what lies in their folders is of their class: amazon (images/amazon 0 2, images/amazon 1 2)"],
    );
}

/// Six photos of each of two classes, in folders.
fn pets(prefix: &str) -> (TempDir, Vec<String>) {
    let names = each(&["cats", "dogs"], 0..6, |class, n| format!("{class}/{class}_{n}.png"));
    (place(&names.iter().map(|name| format!("{prefix}{name}")).collect::<Vec<_>>()), names)
}

fn lines(names: &[String], keep: impl Fn(usize) -> bool) -> String {
    names.iter().enumerate().filter(|(n, _)| keep(n % 6)).map(|(_, name)| format!("{name}\n")).collect()
}

#[test]
fn published_lists_that_name_each_photo_give_the_split() {
    let bare = |text: String| text.replace(".png", "");
    let csv = |text: String| {
        let mut rows = ",Filename,Label\n".to_owned();
        (0..).zip(text.lines()).for_each(|(n, name)| rows += &format!("{n},{name},{}\n", &name[..4]));
        rows
    };
    let numbered = |text: String| text.lines().map(|name| format!("/{name} 7\n")).collect::<String>();
    type Form<'a> = &'a dyn Fn(String) -> String;
    let same: Form = &|text| text;
    let cases: [(&str, [&str; 3], Form); 7] = [
        ("Images/", ["TrainImages.txt", "", "TestImages.txt"], same),
        ("images/", ["meta/train.txt", "", "meta/test.txt"], &bare),
        ("", ["train.csv", "validation.csv", "test.csv"], &csv),
        ("images/", ["labels/train1.txt", "labels/val1.txt", "labels/test1.txt"], same),
        ("", ["train_list.txt", "val_list_NIH.txt", "test_list.txt"], same),
        ("data/", ["lists/places365_train_standard.txt", "lists/places365_val.txt", ""], &numbered),
        ("photos/", ["ImageSets/Main/trainval.txt", "", "ImageSets/Main/test.txt"], &bare),
    ];
    for (prefix, [train, valid, test], form) in cases {
        let (root, names) = pets(prefix);
        let of_valid = |n: usize| !valid.is_empty() && (n == 4 || test.is_empty() && n == 5);
        let of_test = |n: usize| !test.is_empty() && n == 5;
        write(root.path(), train, form(lines(&names, |n| !of_valid(n) && !of_test(n))));
        for (list, keep) in [(valid, &of_valid as &dyn Fn(usize) -> bool), (test, &of_test)] {
            if !list.is_empty() {
                write(root.path(), list, form(lines(&names, keep)));
            }
        }
        write(root.path(), "classes.txt", "cats\ndogs\n");
        let labelled = read(&root).unwrap();
        let data = &labelled.dataset;
        assert_eq!(data.items.classes.names(), ["cats", "dogs"], "{train}");
        let [trained, held_out, last] = sides(&labelled);
        let in_list = |keep: &dyn Fn(usize) -> bool| {
            (0..names.len())
                .filter(|n| keep(n % 6))
                .map(|n| names[n].rsplit('/').next().unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(trained, in_list(&|n| !of_valid(n) && !of_test(n)), "{train}");
        assert_eq!((held_out, last), (in_list(&of_valid), in_list(&of_test)), "{train}");
        assert_eq!(
            labelled.implied_split.as_ref().map(|implied| implied.by),
            Some(SplitBy::Lists),
            "{train}"
        );
        noticed(data, &["the split is that of the lists", train]);
        assert!(
            !data.notices.iter().any(|notice| notice.contains("is not read")),
            "{train}: {:?}",
            data.notices
        );
    }
}

#[test]
fn the_split_of_cub_goes_by_the_numbers_of_its_images() {
    let (root, names) = pets("images/");
    let rows = |of: &dyn Fn(usize, &str) -> String| {
        let rows = names.iter().enumerate().map(|(n, name)| format!("{} {}\n", n + 1, of(n, name)));
        rows.collect::<String>()
    };
    write(root.path(), "images.txt", rows(&|_, name| name.to_owned()));
    write(root.path(), "image_class_labels.txt", rows(&|n, _| (1 + n / 6).to_string()));
    write(root.path(), "train_test_split.txt", rows(&|n, _| u8::from(n % 3 > 0).to_string()));
    let labelled = read(&root).unwrap();
    let [train, valid, test] = sides(&labelled);
    assert_eq!(test, ["cats_0.png", "cats_3.png", "dogs_0.png", "dogs_3.png"]);
    assert_eq!((train.len(), valid.len()), (8, 0));
}

#[test]
fn lists_that_are_no_whole_split_are_mentioned_and_used_if_they_are_given() {
    let (root, names) = pets("Images/");
    write(root.path(), "TrainImages.txt", lines(&names, |n| n < 3));
    write(root.path(), "TestImages.txt", lines(&names, |n| n == 3));
    let labelled = read(&root).unwrap();
    assert_eq!((labelled.dataset.split.as_ref(), labelled.implied_split.as_ref()), (None, None));
    noticed(
        &labelled.dataset,
        &[
            "TrainImages.txt and TestImages.txt name 8 of 12 photos, and are not used as the split",
            "`ValidSplit::File`",
        ],
    );
    let items = &labelled.dataset.items;
    let ListedSplit { split, files } =
        read_split(&root.path().join("TestImages.txt"), items).unwrap().unwrap();
    assert_eq!(
        (split.train.len(), split.valid.len(), split.test.len()),
        (6, 0, 2),
        "the others are left out"
    );
    assert_eq!(files, "TrainImages.txt and TestImages.txt");
    assert!(labelled.dataset.notices.contains(&labelled.unused_split.unwrap()));

    // Several splits of all photos: any may be meant.
    let (root, names) = pets("images/");
    for number in 1..3 {
        write(root.path(), &format!("labels/train{number}.txt"), lines(&names, |n| n != number));
        write(root.path(), &format!("labels/val{number}.txt"), lines(&names, |n| n == number));
    }
    let labelled = read(&root).unwrap();
    assert_eq!(labelled.dataset.split, None);
    noticed(&labelled.dataset, &["2 published splits", "labels/train1.txt and labels/val1.txt"]);
    let items = &labelled.dataset.items;
    let ListedSplit { split, files } =
        read_split(&root.path().join("labels/val2.txt"), items).unwrap().unwrap();
    let held_out: Vec<&str> = split.valid.iter().map(|&item| items[item].id.as_str()).collect();
    assert_eq!(held_out, ["cats/cats_2.png", "dogs/dogs_2.png"]);
    assert_eq!(files, "train2.txt and val2.txt");

    // A list of validation photos alone: the others are trained on, if it is given.
    let (root, names) = pets("");
    write(root.path(), "lists/validation_list.txt", lines(&names, |n| n == 0));
    let data = read(&root).unwrap().dataset;
    noticed(
        &data,
        &["lists/validation_list.txt names 2 of 12 photos, none of them to train on, and is not used"],
    );
    let items = data.items;
    let ListedSplit { split, files } =
        read_split(&root.path().join("lists/validation_list.txt"), &items).unwrap().unwrap();
    assert_eq!((split.train.len(), split.valid.len(), &*files), (10, 2, "lists/validation_list.txt"));

    // Lists that contradict each other.
    write(root.path(), "lists/train_list.txt", lines(&names, |_| true));
    let labelled = read(&root).unwrap();
    assert_eq!(labelled.dataset.split, None);
    noticed(&labelled.dataset, &["name cats/cats_0.png for two sides of the split, and are not used"]);
    refused(read_split(&root.path().join("lists/train_list.txt"), &items), &["for two sides of the split"]);
    write(root.path(), "words.txt", "cats\n");
    refused(read_split(&root.path().join("words.txt"), &items), &["names no images of the data set"]);
}

#[test]
fn lists_split_the_photos_of_a_table_and_its_column_of_patients_is_known() {
    let root = place(&each(&["0"], 0..12, |_, n| {
        format!("images_00{}/images/{:04}_{}.png", 1 + n / 6, n / 3, n % 3)
    }));
    let name = |n: usize| format!("{:04}_{}.png", n / 3, n % 3);
    let mut table = "Image Index,Finding Labels,Patient ID\n".to_owned();
    (0..12)
        .for_each(|n| table += &format!("{},{},{}\n", name(n), ["Effusion", "Edema|Effusion"][n % 2], n / 3));
    write(root.path(), "Data_Entry_2017.csv", table);
    let labelled = read(&root).unwrap();
    assert_eq!(labelled.dataset.split, None);
    let unused = labelled.unused_groups.unwrap();
    assert_eq!(unused.column, "Patient ID");
    let groups: Vec<&str> = unused.groups.iter().flatten().map(String::as_str).collect();
    assert_eq!(groups, ["0", "0", "0", "1", "1", "1", "2", "2", "2", "3", "3", "3"]);

    let list = |range: std::ops::Range<usize>| range.map(|n| name(n) + "\n").collect::<String>();
    write(root.path(), "train_val_list.txt", list(0..9));
    write(root.path(), "test_list.txt", list(9..12));
    let labelled = read(&root).unwrap();
    let [train, valid, test] = sides(&labelled);
    assert_eq!((train.len(), valid.len()), (9, 0));
    assert_eq!(test, ["0003_0.png", "0003_1.png", "0003_2.png"]);
    // Asked for, the column is used.
    let column = Some(Column::Name("Patient ID".to_owned()));
    let options = TableOptions { group_column: column, ..TableOptions::default() };
    let labelled = read_folder(root.path(), &options, &mut |root| folder::read(root)).unwrap().labelled;
    assert_eq!((labelled.groups.unwrap().len(), labelled.unused_groups), (12, None));
}

#[test]
fn folders_of_patients_are_no_classes_where_a_table_says_so() {
    let path = |patient: &str, n: usize| format!("train_images/{patient}/{patient}{n}.png");
    let root = place(&each(&["10006", "10007", "10008"], 0..4, path));
    let mut table = "site_id,patient_id,image_id,view,age,cancer\n".to_owned();
    for patient in ["10006", "10007", "10008"] {
        (0..4).for_each(|n| table += &format!("2,{patient},{patient}{n},CC,61,{}\n", n % 2));
    }
    write(root.path(), "train.csv", table);
    let parts = ["\"patient_id\" of train.csv", "hardly classes", "`from_csv`", "`class_folders`"];
    refused(read(&root), &parts);
    // Nor beside a table and a folder of test images.
    write(root.path(), "test_images/10008/9.png", png(99));
    write(root.path(), "test.csv", "site_id,patient_id,image_id,view,age\n2,10008,9,CC,61\n");
    refused(read(&root), &["\"patient_id\" of", "hardly classes"]);
}

#[test]
fn a_path_may_stand_in_two_columns() {
    let root = place(&each(&["2019", "2020/a"], 0..4, |folder, n| format!("photos/{folder}/IMG_{n}.png")));
    let mut rows = String::new();
    for folder in ["2019", "2020/a"] {
        (0..4).for_each(|n| {
            rows += &format!("{},IMG_{n}{{}},{folder}\n", ["cat", "dog"][(n + folder.len()) % 2])
        });
    }
    let expected = |folder: &str, n: usize| ["cat", "dog"][(n + folder.len()) % 2].to_owned();
    for (header, ending) in [("kind,image_name,dir\n", ".png"), ("kind,file,folder\n", ""), ("", ".png")] {
        write(root.path(), "labels.csv", header.to_owned() + &rows.replace("{}", ending));
        let options = match header {
            "" => TableOptions { label_columns: vec![Column::Index(0)], ..TableOptions::default() },
            _ => TableOptions::default(),
        };
        let data = table::read(root.path().join("labels.csv"), &options).unwrap().dataset;
        let mut seen = 0;
        for (class, ids) in by_class(&data) {
            for id in ids {
                let path = Path::new(&id);
                let folder = path.parent().unwrap().to_str().unwrap();
                let n = path.file_stem().unwrap().to_str().unwrap()[4..].parse().unwrap();
                assert_eq!(class, expected(folder, n), "{id} by {header:?}");
                seen += 1;
            }
        }
        assert_eq!(seen, 8);
        noticed(&data, &["together, as row"]);
    }
    // Of two columns of folders, neither is the label.
    let rows =
        each(&["P_1", "P_2"], 0..4, |folder, n| format!("{folder},{folder},{n}.png,{}", ["B", "M"][n % 2]));
    let root = place(&each(&["P_1", "P_2"], 0..4, |folder, n| format!("jpeg/{folder}/{n}.png")));
    write(
        root.path(),
        "labels.csv",
        format!("patient_id,image_folder,image_file,pathology\n{}\n", rows.join("\n")),
    );
    let data = table::read(root.path().join("labels.csv"), &TableOptions::default()).unwrap().dataset;
    assert_eq!(counts(&data), [("B".to_owned(), 4), ("M".to_owned(), 4)]);
    // The folder may be the class too.
    let root = place(&each(&["cats", "dogs"], 0..3, |class, n| format!("{class}/{n}.png")));
    let rows = each(&["cats", "dogs"], 0..3, |class, n| format!("{n}.png,{class}"));
    write(root.path(), "labels.csv", format!("filename,class\n{}\n", rows.join("\n")));
    let data = table::read(root.path().join("labels.csv"), &TableOptions::default()).unwrap().dataset;
    let expected = |class: &str| (0..3).map(|n| format!("{class}/{n}.png")).collect::<Vec<_>>();
    assert_eq!(
        by_class(&data),
        BTreeMap::from(["cats", "dogs"].map(|class| (class.to_owned(), expected(class))))
    );
}

#[test]
fn a_side_without_class_folders_is_labelled_by_its_table() {
    let known = ["n01", "n02"];
    let train = each(&known, 0..4, |class, n| format!("train/{class}/images/{class}_{n}.JPEG"));
    let in_val = each(&["val"], 0..6, |side, n| format!("val/images/{side}_{n}.JPEG"));
    let rows =
        |form: &dyn Fn(usize, &str) -> String| (0..6).map(|n| form(n, known[n % 2])).collect::<String>();
    for (table, text) in [
        ("val/val_annotations.txt", rows(&|n, class| format!("val_{n}.JPEG\t{class}\t0\t0\t62\t62\n"))),
        ("val.txt", rows(&|n, class| format!("val_{n} {class}\n"))),
        (
            "val.csv",
            "Path,ClassId\n".to_owned() + &rows(&|n, class| format!("val/images/val_{n}.JPEG,{class}\n")),
        ),
    ] {
        let root = place(&[train.clone(), in_val.clone()].concat());
        write(root.path(), table, text);
        let data = folder::read(root.path()).unwrap();
        let split = data.split.as_ref().unwrap();
        let held_out: Vec<(&str, usize)> = split
            .valid
            .iter()
            .map(|&item| (data.items[item].id.as_str(), data.items[item].target.classes()[0]))
            .collect();
        let expected: Vec<(String, usize)> =
            (0..6).map(|n| (format!("val/images/val_{n}.JPEG"), n % 2)).collect();
        let expected: Vec<(&str, usize)> = expected.iter().map(|(id, class)| (id.as_str(), *class)).collect();
        assert_eq!(held_out, expected, "{table}");
        noticed(&data, &["the labels of 6 images in", table]);
    }
    // Classes that are not those to train on say nothing.
    let root = place(&[train, in_val].concat());
    write(root.path(), "val.txt", rows(&|n, _| format!("val_{n} {}\n", n % 2)));
    refused(folder::read(root.path()), &["\"images\""]);
}

#[test]
fn names_that_begin_with_a_side_give_the_split() {
    let mut names = each(&["train", "test"], 0..4, |side, n| format!("aligned/{side}_{n:05}.jpg"));
    let rows = |names: &[String]| {
        names
            .iter()
            .enumerate()
            .map(|(n, name)| format!("{} {}\n", &name[8..], 1 + n % 2))
            .collect::<String>()
    };
    let root = place(&names);
    write(root.path(), "labels.txt", rows(&names));
    let labelled = table::read(root.path().join("labels.txt"), &TableOptions::default()).unwrap();
    let [train, valid, test] = sides(&labelled);
    assert_eq!((train.len(), valid.len(), test.len()), (4, 0, 4));
    assert_eq!(labelled.implied_split.unwrap().by, SplitBy::Names);
    // One name that says no side, and none does.
    names.push("aligned/other.jpg".to_owned());
    let root = place(&names);
    write(root.path(), "labels.txt", rows(&names));
    let labelled = table::read(root.path().join("labels.txt"), &TableOptions::default()).unwrap();
    assert_eq!((labelled.dataset.split, labelled.implied_split), (None, None));
}

/// Archives are often unpacked into a folder of their own, and into one more.
#[test]
fn a_table_is_found_however_often_its_photos_are_packed_into_a_folder() {
    let photos = |folder: &str| -> Vec<String> {
        (0..6).map(|n| format!("{folder}/{}/p{n}.png", if n < 3 { "site A" } else { "site B" })).collect()
    };
    let rows: String =
        (0..6).map(|n| format!("p{n}.png,{}\n", if n % 2 == 0 { "mild" } else { "severe" })).collect();
    for folder in [".", "eyes", "eyes/eyes-2"] {
        let root = place(&photos(folder));
        write(
            root.path(),
            &format!("{folder}/annotations/labels.csv"),
            format!("image,grade\n{rows}").as_bytes(),
        );
        let plain = read(&root);
        // The same verdict, whatever it is, and never the sites without a word.
        let classes = plain.map(|labelled| counts(&labelled.dataset));
        match classes {
            Ok(classes) => {
                assert_eq!(classes, [("mild".to_owned(), 3), ("severe".to_owned(), 3)], "{folder}")
            }
            Err(error) => assert!(error.to_string().contains("labels.csv"), "{folder}: {error}"),
        }
    }
}

#[test]
fn images_that_no_row_names_are_noticed_in_every_folder_but_those_for_testing() {
    let of = |folder: &'static str| (0..4).map(move |n| format!("{folder}/{folder}-{n}.png"));
    let table = |named: &str| -> String {
        let rows = (0..4).map(|n| format!("{named}-{n}.png,{}\n", ["cat", "dog"][n % 2]));
        format!("file,label\n{}", rows.collect::<String>())
    };
    let root = place(&of("batch1").chain(of("batch2")).collect::<Vec<_>>());
    write(root.path(), "labels.csv", table("batch1").as_bytes());
    let data = read(&root).unwrap().dataset;
    assert_eq!(counts(&data), [("cat".to_owned(), 2), ("dog".to_owned(), 2)]);
    noticed(&data, &["4 images in", "without a row in labels.csv", "batch2-0.png"]);
    assert_eq!(data.skipped.len(), 4, "{:?}", data.skipped);

    let root = place(&of("train_images").chain(of("test_images")).collect::<Vec<_>>());
    write(root.path(), "train.csv", table("train_images").as_bytes());
    let data = read(&root).unwrap().dataset;
    assert_eq!(counts(&data), [("cat".to_owned(), 2), ("dog".to_owned(), 2)]);
    assert!(!data.notices.iter().any(|notice| notice.contains("without a row")), "{:?}", data.notices);
}

#[test]
fn a_column_of_a_class_that_no_image_has_is_noticed() {
    let root = place(&(0..4).map(|n| format!("p{n}.png")).collect::<Vec<_>>());
    let table = "image,MEL,NV,UNK\np0,1,0,0\np1,0,1,0\np2,1,0,0\np3,0,1,0\n";
    write(root.path(), "labels.csv", table.as_bytes());
    let data = read(&root).unwrap().dataset;
    assert_eq!(data.items.classes.names(), ["MEL", "NV"]);
    noticed(&data, &["no row of labels.csv has \"UNK\""]);
}
