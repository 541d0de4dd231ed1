//! Data sets as they lie in projects and come out of programs: folders beside the class folders, exports, names of images
//! that belong together.

use crate::common::{counts, noticed, place, refused, write};
use ocelli_data::groups::related_images_of;
use ocelli_data::source::folder;
use ocelli_data::source::table::{self, TableOptions, read_folder};
use ocelli_data::{Dataset, Task};

/// `of` with each of these numbers.
fn photos(numbers: std::ops::Range<usize>, of: impl Fn(usize) -> String) -> Vec<String> {
    numbers.map(of).collect()
}

#[test]
fn folders_of_a_project_are_no_classes() {
    let classes = |around: &str| photos(0..8, |n| format!("{around}/{}/{n}.png", ["cat", "dog"][n % 2]));
    for (around, beside) in [
        ("data", "results"),
        ("dataset", "docs"),
        ("my_dataset", "assets"),
        ("simpsons_dataset", "kaggle_simpson_testset"),
    ] {
        let beside_it = photos(0..2, |n| format!("{beside}/{n}.png"));
        let root = place(&[classes(around), beside_it].concat());
        refused(
            folder::read(root.path()),
            &[around, beside, "these are hardly two classes", "give it alone"],
        );
    }
    // A picture beside the folder that holds the classes.
    let root = place(&[classes("data"), vec!["screenshot.png".to_owned()]].concat());
    refused(folder::read(root.path()), &["holds the folder data", "cat, dog", "give it: "]);
    // A divided data set in a folder, beside another.
    let divided =
        photos(0..8, |n| format!("data/{}/{}/{n}.png", ["train", "test"][n / 4], ["cat", "dog"][n % 2]));
    let root = place(&[divided, vec!["more/1.png".to_owned()]].concat());
    refused(folder::read(root.path()), &["part of a split", "data is the data set, give it alone"]);
    // TensorFlow's word for validation, beside a test.
    let of_split =
        |n: usize| format!("{}/{}/{n}.png", ["train", "eval", "test"][n % 3], ["cat", "dog"][n / 3 % 2]);
    let split = folder::read(place(&photos(0..12, of_split)).path()).unwrap().split.unwrap();
    assert_eq!((split.train.len(), split.valid.len(), split.test.len()), (4, 4, 4));
    // One class to train on, and more to measure on, as MVTec AD has them.
    let good = photos(0..6, |n| format!("{}/good/{n}.png", ["train", "test"][n / 3]));
    let root = place(&[good, photos(0..3, |n| format!("test/broken/{n}.png"))].concat());
    refused(folder::read(root.path()), &["single class \"good\"", "broken, good", "give it: "]);
    // Classes that are called like that.
    let root = place(&photos(0..8, |n| format!("{}/{n}.png", ["plots", "figures"][n % 2])));
    assert_eq!(folder::read(root.path()).unwrap().items.classes.len(), 2);
    let years = |class: &str| photos(0..4, |n| format!("{class}/{}/{n}.png", 2019 + n % 2));
    let root = place(&[years("test strip"), years("lamp")].concat());
    assert_eq!(folder::read(root.path()).unwrap().items.classes.len(), 2);
}

#[test]
fn words_for_what_has_no_class_and_for_parts_are_known_in_other_languages() {
    for name in ["pred", "to_predict", "unclassified", "sin clasificar", "未分类", "previews", "gradcam"] {
        let root = place(&photos(0..9, |n| format!("{}/{n}.png", ["yes", "no", name][n % 3])));
        noticed(&folder::read(root.path()).unwrap(), &["called as a folder of photos without a class", name]);
    }
    for [train, test] in [["训练集", "测试集"], ["обучение", "тест"], ["学習", "テスト"], ["훈련", "테스트"]]
    {
        let root =
            place(&photos(0..8, |n| format!("{}/{}/{n}.png", [train, test][n / 4], ["cat", "dog"][n % 2])));
        let split = folder::read(root.path()).unwrap().split.unwrap();
        assert_eq!((split.train.len(), split.test.len()), (4, 4), "{train}");
    }
}

#[test]
fn frames_tiles_and_copies_of_well_known_sets_belong_together() {
    let found = |names: &dyn Fn(usize, usize) -> String| {
        let name = |n: usize| format!("{}/{}", ["a", "b"][n / 24], names(n / 6, n % 6));
        let root = place(&photos(0..48, name));
        related_images_of(&folder::read(root.path()).unwrap().items)
    };
    let together: [&dyn Fn(usize, usize) -> String; 12] = [
        &|track, frame| format!("00003_{track:05}_{frame:05}.png"),
        &|track, frame| format!("{track:05}_{frame:05}.png"),
        &|patient, tile| format!("1025{patient}_idx5_x{tile}01_y{tile}51_class0.png"),
        &|image, copy| format!("_{image}_{}.png", 1000 * copy + 77),
        &|image, copy| format!("aug_{image}_{}.png", 1000 * copy + 77),
        &|patient, scan| format!("CNV-{}-{}.png", 1000 + patient, scan + 1),
        &|photo, copy| {
            let before =
                ["", "rotated_by_15_", "rotated_by_30_", "saltandpepper_", "translation_", "vertical_flip_"];
            format!("{}Screen Shot {photo}.png", before[copy])
        },
        &|photo, copy| {
            format!(
                "IMG_{photo}{}.png",
                ["", "_sharpened", "_clahe", "_scaled 2", "_elastic", "_cutout"][copy]
            )
        },
        &|patient, slice| format!("{patient}_slice{slice}.png"),
        &|patient, view| format!("{patient}_cam{view}.png"),
        &|film, frame| format!("v{film}_f{frame:03}.png"),
        &|patient, scan| format!("{patient}_{}.png", ["T1", "T2", "FLAIR", "DWI", "ADC", "SWI"][scan]),
    ];
    for names in together {
        let related = found(names).unwrap_or_else(|| panic!("{}", names(0, 0)));
        assert_eq!(related.groups.iter().flatten().count(), 48, "{}", names(0, 0));
        // The pattern keeps together what the example shows.
        let regex = regex::Regex::new(&related.pattern).unwrap();
        let stem = |id: &str| regex.captures(id.rsplit('/').next().unwrap()).unwrap()[1].to_owned();
        assert_eq!(stem(&related.example.0), stem(&related.example.1));
    }
    // A camera's numbers count on; dates and numbers of a class say nothing.
    let apart: [&dyn Fn(usize, usize) -> String; 5] = [
        &|folder, n| format!("10{folder}_{:04}.png", 6 * folder + n + 20),
        &|day, n| format!("IMG_2024010{day}_{:06}.png", 120_000 + 731 * n),
        &|_, n| format!("0_{n}.png"),
        &|thing, n| format!("{}_{n}.png", ["cat", "dog", "cat_big", "dog_big"][thing % 4]),
        &|a, b| format!("{}.png", 6 * a + b),
    ];
    for names in apart {
        assert_eq!(found(names), None, "{}", names(0, 1));
    }
}

#[test]
fn the_same_name_in_two_parts_of_a_split_says_nothing() {
    for word in ["cropped", "gray", "flip", "rot90", "aug"] {
        let names = |side: &str, number| photos(0..number, |n| format!("{side}/cat/{n}_{word}.png"));
        let dogs = ["train/dog/1.png".to_owned(), "valid/dog/1.png".to_owned()];
        let root = place(&[&names("train", 8)[..], &names("valid", 4), &dogs].concat());
        assert_eq!(related_images_of(&folder::read(root.path()).unwrap().items), None, "{word}");
    }
}

fn read(root: &std::path::Path) -> Dataset {
    let read = read_folder(root, &TableOptions::default(), &mut |root| folder::read(root));
    read.unwrap().labelled.dataset
}

#[test]
fn titles_over_the_names_of_columns_are_passed_over() {
    let root = place(&photos(0..12, |n| format!("images/{n}.png")));
    for (title, header, separator) in [
        ("Plant survey 2024,,\n", "image,class,notes", ","),
        ("Plant survey 2024\n\n", "image,class,notes", ","),
        ("Plant survey 2024;;\n;;\n", "Datei;Klasse;Bemerkung", ";"),
        ("Plant survey 2024,\n", "image,class", ","),
    ] {
        let columns = header.split(separator).count();
        let row = |n: usize| {
            let cells = [format!("{n}.png"), ["oak", "elm"][n % 2].to_owned(), format!("seen {n}")];
            cells[..columns].join(separator)
        };
        let rows: Vec<String> = (0..12).map(row).collect();
        write(root.path(), "labels.csv", format!("{title}{header}\n{}\n", rows.join("\n")));
        let data = read(root.path());
        assert_eq!(counts(&data), [("elm".to_owned(), 6), ("oak".to_owned(), 6)], "{title}");
        noticed(&data, &["have their names in row", "the rows above it are not read"]);
    }
}

#[test]
fn names_that_label_studio_gives_to_uploaded_files_are_those_of_the_files() {
    let root = place(&photos(0..12, |n| format!("IMG_{n}.png")));
    let rows: String = (0..12)
        .map(|n| {
            format!("/data/upload/1/{:08x}-IMG_{n}.png,{n},{}\n", 77_777 * (n + 1), ["oak", "elm"][n % 2])
        })
        .collect();
    write(root.path(), "project-1.csv", format!("image,id,choice\n{rows}"));
    let data = table::read(root.path().join("project-1.csv"), &TableOptions::default()).unwrap().dataset;
    assert_eq!(counts(&data), [("elm".to_owned(), 6), ("oak".to_owned(), 6)]);
    noticed(&data, &["12 names in project-1.csv are those that Label Studio gives to uploaded files"]);
}

#[test]
fn coco_without_boxes_says_the_classes_of_images() {
    let root = place(&photos(0..12, |n| format!("images/{n}.png")));
    let images: Vec<String> =
        (0..12).map(|n| format!(r#"{{"id":{},"file_name":"images/{n}.png"}}"#, 100 + n)).collect();
    let annotation = |id: usize, image: usize, category: usize, more: &str| {
        format!(r#"{{"id":{id},"image_id":{},"category_id":{category}{more}}}"#, 100 + image)
    };
    let read = |annotations: &[String]| {
        let text = format!(
            r#"{{"images":[{}],"annotations":[{}],"categories":[{{"id":7,"name":"oak"}},{{"id":9,"name":"elm"}}]}}"#,
            images.join(","),
            annotations.join(",")
        );
        write(root.path(), "annotations.json", text);
        table::read(root.path().join("annotations.json"), &TableOptions::default())
    };
    let one: Vec<String> = (0..12).map(|n| annotation(n, n, [7, 9][n % 2], "")).collect();
    let data = read(&one).unwrap().dataset;
    assert_eq!(counts(&data), [("elm".to_owned(), 6), ("oak".to_owned(), 6)]);
    assert_eq!(data.items.task, Task::SingleLabel);
    // Two categories of an image, and one of them twice.
    let more = [annotation(20, 0, 9, ""), annotation(21, 0, 9, "")];
    let data = read(&[one.clone(), more.to_vec()].concat()).unwrap().dataset;
    assert_eq!(counts(&data), [("elm".to_owned(), 7), ("oak".to_owned(), 6)]);
    assert_eq!(data.items.task, Task::MultiLabel);
    // Boxes say where things are.
    let boxes: Vec<String> = (0..12).map(|n| annotation(n, n, 7, r#","bbox":[1,2,3,4]"#)).collect();
    refused(read(&boxes).map(drop), &["is one JSON object"]);
}

#[test]
fn columns_that_say_no_class_leave_the_one_that_does() {
    let root = place(&photos(0..12, |n| format!("IMG_{n}.png")));
    let read = |header: &str, row: &dyn Fn(usize) -> String| {
        let rows: Vec<String> = (0..12).map(row).collect();
        write(root.path(), "labels.csv", format!("{header}\n{}\n", rows.join("\n")));
        table::read(root.path().join("labels.csv"), &TableOptions::default()).map(|read| read.dataset)
    };
    let kind = |n: usize| ["oak", "elm"][n % 2];
    let both = [("elm".to_owned(), 6), ("oak".to_owned(), 6)];
    let data = read("file,label,x,y", &|n| format!("IMG_{n}.png,{},{}.5,{}", kind(n), n * 7, n * 3)).unwrap();
    assert_eq!(counts(&data), both);
    let data = read("file,label,y", &|n| format!("IMG_{n}.png,{},{}", kind(n), n * 3)).unwrap();
    assert_eq!(counts(&data), both);
    for (header, row) in [
        (
            "No,Photo,What",
            &(|n: usize| format!("{},IMG_{n}.png,{}", n + 1, kind(n))) as &dyn Fn(usize) -> String,
        ),
        ("Photo,What,Date,Lat", &|n| format!("IMG_{n}.png,{},2024-05-{:02},{}.25", kind(n), n + 1, 40 + n)),
    ] {
        let data = read(header, row).unwrap();
        assert_eq!(counts(&data), both, "{header}");
    }
    noticed(
        &read("Photo,What,Date", &|n| format!("IMG_{n}.png,{},2024-05-{:02}", kind(n), n + 1)).unwrap(),
        &["in the column \"What\", the only one whose cells come again"],
    );
    // Two are left: one of them is asked for.
    refused(
        read("Photo,What,Where", &|n| format!("IMG_{n}.png,{},{}", kind(n), ["here", "there"][n / 6])),
        &["which of them holds the labels is not clear"],
    );
    // Several classes of 0 and 1, and a column that is none.
    let flags = |n: usize| format!("{},{},{}", n % 2, n / 2 % 2, n / 4 % 2);
    for (header, more) in [
        ("file,a,b,c,notes", &(|_: usize| String::new()) as &dyn Fn(usize) -> String),
        ("file,a,b,c,notes", &|n| if n == 3 { "x".to_owned() } else { String::new() }),
        ("file,a,b,c,patient", &|n| format!("p{}", n / 2)),
    ] {
        let data = read(header, &|n| format!("IMG_{n}.png,{},{}", flags(n), more(n))).unwrap();
        assert_eq!(data.items.classes.names(), ["a", "b", "c"], "{header}");
        assert_eq!(data.items.task, Task::MultiLabel);
    }
}

#[test]
fn what_is_packed_is_to_be_unpacked() {
    for (name, said) in [("train.zip", "unpack it"), ("data/train-00000-of-00001.parquet", "write them out")]
    {
        let root = tempfile::tempdir().unwrap();
        write(root.path(), name, "PK");
        refused(folder::read(root.path()), &[name, said]);
        refused(folder::read(root.path().join(name)), &[name, said]);
    }
}

#[test]
fn a_table_of_persons_is_to_tell_persons() {
    let root = place(&photos(0..12, |n| format!("{n}.png")));
    let read = |header: &str, more: &str| {
        let rows: String =
            (0..12).map(|n| format!("{n}.png,{}{more}\n", ["Anna", "Ben", "Cy"][n % 3])).collect();
        write(root.path(), "labels.csv", format!("{header}\n{rows}"));
        table::read(root.path().join("labels.csv"), &TableOptions::default()).unwrap().dataset
    };
    let data = read("image,person", "");
    assert!(!data.notices.iter().any(|notice| notice.contains("warning")), "{:?}", data.notices);
    // In a table of images to measure on, all are.
    let rows: String = (0..12).map(|n| format!("{n}.png,{}\n", ["a", "b"][n % 2])).collect();
    write(root.path(), "test.csv", format!("image,label\n{rows}"));
    let data = table::read(root.path().join("test.csv"), &TableOptions::default()).unwrap().dataset;
    assert!(
        !data.notices.iter().any(|notice| notice.contains("--split") || notice.contains("train on")),
        "{data:?}"
    );
}
