//! Splits are stratified, do not depend on order, and keep equal images together.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use ocelli_data::groups::by_pattern;
use ocelli_data::split::{k_fold, k_fold_by_group, stratified, stratified_by_group};
use ocelli_data::{Classes, DataError, Digest, Item, Items, Split, Target, Task};
use proptest::prelude::*;

/// Items of the given classes (`None`: unlabelled), named by their index.
fn items(classes: &[Option<usize>]) -> Items {
    let names: Vec<String> = (0..10).map(|class| format!("class {class}")).collect();
    let item = |(place, class): (usize, &Option<usize>)| Item {
        id: format!("{place:05}.jpg"),
        path: PathBuf::from(format!("{place:05}.jpg")),
        target: class.map_or(Target::Unlabelled, Target::Class),
    };
    Items {
        root: PathBuf::new(),
        task: Task::SingleLabel,
        classes: Classes::new(names),
        items: classes.iter().enumerate().map(item).collect(),
    }
}

/// Every image different from the others.
fn different(count: usize) -> Vec<Digest> {
    (0..count).map(|place| *blake3::hash(&place.to_le_bytes()).as_bytes()).collect()
}

fn ids(items: &Items, indices: &[usize]) -> Vec<String> {
    let mut ids: Vec<String> = indices.iter().map(|&index| items[index].id.clone()).collect();
    ids.sort();
    ids
}

#[test]
fn every_class_gives_its_fraction() {
    let classes: Vec<_> = (0..1000).map(|place| Some(if place < 900 { 0 } else { 1 })).collect();
    let items = items(&classes);
    let split = stratified(&items, &different(1000), &[], 0.2, 42).unwrap();
    assert_eq!(items.class_counts(&split.valid)[..2], [180, 20]);
    assert_eq!(items.class_counts(&split.train)[..2], [720, 80]);
}

#[test]
fn a_class_of_two_has_one_on_either_side_and_a_class_of_one_is_trained_on() {
    let items = items(&[Some(0), Some(0), Some(1), Some(2), Some(2), Some(2)]);
    for fraction in [0.01, 0.2, 0.5, 0.99] {
        let split = stratified(&items, &different(6), &[], fraction, 7).unwrap();
        assert_eq!(items.class_counts(&split.valid)[..2], [1, 0]);
        assert!((1..=2).contains(&items.class_counts(&split.valid)[2]));
    }
}

#[test]
fn unlabelled_items_are_for_testing() {
    let items = items(&[Some(0), None, Some(0), Some(1), Some(1), None]);
    assert_eq!(stratified(&items, &different(6), &[], 0.5, 1).unwrap().test, [1, 5]);
}

#[test]
fn labelled_test_items_are_neither_trained_on_nor_held_out() {
    let items = items(&[Some(0); 30]);
    let (digests, test) = (different(30), [3, 7, 20]);
    let splits = [
        stratified(&items, &digests, &test, 0.2, 1).unwrap(),
        k_fold(&items, &digests, &test, 3, 0, 1).unwrap(),
        Split::everything(&items, &test),
        Split::explicit(&items, &test, &[0, 3]).unwrap(),
    ];
    for split in splits {
        assert_eq!(split.test, test);
        assert_eq!(split.train.len() + split.valid.len(), 27);
        assert!(test.iter().all(|index| !split.train.contains(index) && !split.valid.contains(index)));
    }
}

#[test]
fn seeds_differ() {
    let items = items(&vec![Some(0); 100]);
    let valid = |seed| stratified(&items, &different(100), &[], 0.2, seed).unwrap().valid;
    assert_eq!(valid(1), valid(1));
    assert_ne!(valid(1), valid(2));
}

#[test]
fn what_cannot_be_split_is_refused() {
    let single = items(&[Some(0), Some(1)]);
    let error = stratified(&single, &different(2), &[], 0.2, 1).unwrap_err();
    assert!(
        matches!(error, DataError::Split { .. }) && error.to_string().contains("train on everything"),
        "{error}"
    );
    for fraction in [0.0, 1.0, -0.5, f64::NAN, 20.0] {
        let error = stratified(&single, &different(2), &[], fraction, 1).unwrap_err().to_string();
        assert!(error.contains("must be a fraction between 0 and 1"), "{error}");
    }
}

/// Classes and, for each item, the number of the image it is a copy of.
fn some_items() -> impl Strategy<Value = (Vec<Option<usize>>, Vec<usize>)> {
    prop::collection::vec((prop::option::weighted(0.95, 0..4usize), 0..60usize), 8..120)
        .prop_map(|pairs| pairs.into_iter().unzip())
}

proptest! {
    #[test]
    fn a_split_is_a_partition_that_keeps_copies_together((classes, copies) in some_items(), fraction in 0.05f64..0.9, seed: u64) {
        let items = items(&classes);
        let digests: Vec<Digest> = copies.iter().map(|copy| different(60)[*copy]).collect();
        let Ok(Split { train, valid, test }) = stratified(&items, &digests, &[], fraction, seed) else { return Ok(()) };
        let mut all: Vec<usize> = [&train[..], &valid, &test].concat();
        all.sort_unstable();
        prop_assert_eq!(all, (0..items.len()).collect::<Vec<_>>());
        for &index in &valid {
            prop_assert!(train.iter().all(|&other| digests[other] != digests[index]));
        }
    }

    #[test]
    fn the_order_of_the_items_changes_nothing((classes, copies) in some_items(), seed: u64, rotation in 0usize..100) {
        let forth = items(&classes);
        let digests: Vec<Digest> = copies.iter().map(|copy| different(60)[*copy]).collect();
        let mut back = forth.clone();
        let rotation = rotation % back.items.len();
        back.items.rotate_left(rotation);
        let mut rotated = digests.clone();
        rotated.rotate_left(rotation);
        let (Ok(a), Ok(b)) = (stratified(&forth, &digests, &[], 0.3, seed), stratified(&back, &rotated, &[], 0.3, seed)) else { return Ok(()) };
        prop_assert_eq!(ids(&forth, &a.valid), ids(&back, &b.valid));
        prop_assert_eq!(ids(&forth, &a.train), ids(&back, &b.train));
    }

    #[test]
    fn every_class_of_two_different_images_is_on_both_sides(classes in prop::collection::vec(0..5usize, 6..80), fraction in 0.01f64..0.99, seed: u64) {
        let items = items(&classes.iter().map(|&class| Some(class)).collect::<Vec<_>>());
        let mut counts = HashMap::new();
        classes.iter().for_each(|class| *counts.entry(*class).or_insert(0) += 1);
        let Ok(split) = stratified(&items, &different(items.len()), &[], fraction, seed) else { return Ok(()) };
        let (train, valid) = (items.class_counts(&split.train), items.class_counts(&split.valid));
        for (class, count) in counts {
            prop_assert!(train[class] > 0);
            prop_assert_eq!(valid[class] > 0, count > 1);
        }
    }
}

#[test]
fn folds_hold_out_everything_once_and_evenly() {
    let classes: Vec<_> = (0..103).map(|place| Some(place % 3)).collect();
    let items = items(&classes);
    let mut digests = different(103);
    digests[50] = digests[7];
    let mut held_out = Vec::new();
    for fold in 0..5 {
        let split = k_fold(&items, &digests, &[], 5, fold, 1).unwrap();
        assert!(split.valid.iter().all(|index| !split.train.contains(index)));
        assert_eq!(split.valid.contains(&50), split.valid.contains(&7));
        assert!(items.class_counts(&split.valid)[..3].iter().all(|count| (6..=8).contains(count)));
        held_out.extend(split.valid);
    }
    held_out.sort_unstable();
    assert_eq!(held_out, (0..103).collect::<Vec<_>>());
    assert!(
        k_fold(&items, &digests, &[], 1, 0, 1).is_err() && k_fold(&items, &digests, &[], 5, 5, 1).is_err()
    );
}

#[test]
fn the_only_image_of_a_class_is_trained_on_in_every_fold() {
    // Two classes of six images, one of one, and one whose two images are the same.
    let classes: Vec<_> = [0, 1].into_iter().cycle().take(12).chain([2, 3, 3]).map(Some).collect();
    let items = items(&classes);
    let mut digests = different(15);
    digests[14] = digests[13];
    let mut held_out = Vec::new();
    for fold in 0..3 {
        let split = k_fold(&items, &digests, &[], 3, fold, 1).unwrap();
        assert!([12, 13, 14].iter().all(|item| split.train.contains(item)), "{split:?}");
        assert_eq!(split.train.len() + split.valid.len(), 15);
        held_out.extend(split.valid);
    }
    held_out.sort_unstable();
    assert_eq!(held_out, (0..12).collect::<Vec<_>>());
    // Where there are no others, none can be held out.
    let error = k_fold(&items, &digests, &(0..12).collect::<Vec<_>>(), 2, 0, 1).unwrap_err().to_string();
    assert!(error.contains("several different images"), "{error}");
}

#[test]
fn several_labels_are_held_out_in_proportion() {
    let mut items = items(&[Some(0); 500]);
    items.task = Task::MultiLabel;
    let frequencies = [0.9, 0.4, 0.1, 0.02];
    let mut draws = ocelli_data::Draws::new(1, ocelli_data::Purpose::Sample, 0, 0);
    for item in &mut items.items {
        item.target = Target::Classes((0..4).filter(|&class| draws.chance(frequencies[class])).collect());
    }
    let all = items.class_counts(&(0..500).collect::<Vec<_>>());
    let split = stratified(&items, &different(500), &[], 0.2, 3).unwrap();
    assert!((95..=105).contains(&split.valid.len()), "{}", split.valid.len());
    for (class, count) in items.class_counts(&split.valid).into_iter().take(4).enumerate() {
        let wanted = all[class] as f64 * 0.2;
        assert!((count as f64 - wanted).abs() <= 2.0, "class {class}: {count} of {}", all[class]);
    }
}

#[test]
fn a_split_is_written_and_read_back() {
    let items = items(&[Some(0), Some(1), Some(0), Some(1), None, Some(0)]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run/split.csv");
    let split = stratified(&items, &different(6), &[], 0.4, 1).unwrap();
    split.write(&items, &path).unwrap();
    assert_eq!(Split::read(&items, &path).unwrap(), split);
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("id,split\n00000.jpg,"));

    let text = std::fs::read_to_string(&path).unwrap();
    for (change, part) in [
        (text.replace("00002.jpg", "x.jpg"), "row 4 names x.jpg, which is not in the data set"),
        (text.replace("00002.jpg", "00001.jpg"), "row 4 names 00001.jpg for the second time"),
        (text.replace("00004.jpg,test\n", ""), "lacks 1 items of the data set, the first is 00004.jpg"),
        (text.replace(",test", ",later"), "says \"later\""),
    ] {
        std::fs::write(&path, change).unwrap();
        let error = Split::read(&items, &path).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn explicit_indices_and_no_validation_set() {
    let items = items(&[Some(0), Some(1), None, Some(0)]);
    let split = Split::explicit(&items, &[], &[3, 0, 3]).unwrap();
    assert_eq!((split.train, split.valid, split.test), (vec![1], vec![0, 3], vec![2]));
    assert!(Split::explicit(&items, &[], &[4]).unwrap_err().to_string().contains("there are 4 items"));
    assert!(Split::explicit(&items, &[], &[0, 1, 3]).is_err());
    let all = Split::everything(&items, &[]);
    assert_eq!((all.train, all.valid, all.test), (vec![0, 1, 3], vec![], vec![2]));
}

#[test]
fn images_on_both_sides_are_reported() {
    let mut digests = different(6);
    (digests[4], digests[5], digests[1]) = (digests[0], digests[0], digests[2]);
    let split = Split { train: vec![0, 1, 2], valid: vec![3, 4], test: vec![5] };
    assert_eq!(split.shared_images(&digests), [vec![0, 4, 5]]);
}

/// Items with classes, copies and groups.
fn grouped_items() -> impl Strategy<Value = (Vec<Option<usize>>, Vec<usize>, Vec<Option<usize>>)> {
    let item = (prop::option::weighted(0.95, 0..4usize), 0..90usize, prop::option::weighted(0.9, 0..25usize));
    prop::collection::vec(item, 12..120).prop_map(|items| {
        let (pairs, groups): (Vec<_>, Vec<_>) =
            items.into_iter().map(|(class, copy, group)| ((class, copy), group)).unzip();
        let (classes, copies) = pairs.into_iter().unzip();
        (classes, copies, groups)
    })
}

fn named(groups: &[Option<usize>]) -> Vec<Option<String>> {
    groups.iter().map(|group| group.map(|group| format!("patient {group}"))).collect()
}

proptest! {
    #[test]
    fn no_group_and_no_copy_is_on_both_sides((classes, copies, groups) in grouped_items(), fraction in 0.05f64..0.6, seed: u64, folds in 2..5usize) {
        let items = items(&classes);
        let digests: Vec<Digest> = copies.iter().map(|copy| different(90)[*copy]).collect();
        let groups = named(&groups);
        let whole = |split: &Split| -> Result<(), TestCaseError> {
            let mut all: Vec<usize> = [&split.train[..], &split.valid, &split.test].concat();
            all.sort_unstable();
            prop_assert_eq!(all, (0..items.len()).collect::<Vec<_>>());
            prop_assert!(!split.train.is_empty() && !split.valid.is_empty());
            for &held_out in &split.valid {
                for &trained in &split.train {
                    prop_assert!(groups[held_out].is_none() || groups[held_out] != groups[trained]);
                    prop_assert!(digests[held_out] != digests[trained]);
                }
            }
            Ok(())
        };
        if let Ok(split) = stratified_by_group(&items, &digests, &groups, &[], fraction, seed) {
            whole(&split)?;
        }
        let mut held_out = Vec::new();
        for fold in 0..folds {
            let Ok(split) = k_fold_by_group(&items, &digests, &groups, &[], folds, fold, seed) else { return Ok(()) };
            whole(&split)?;
            held_out.extend(split.valid);
        }
        held_out.sort_unstable();
        // Once each, but for those of groups that have all images of a class.
        prop_assert!(held_out.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", held_out);
        let are_different = digests.iter().collect::<HashSet<_>>().len() == items.len();
        let unit = |item: usize| groups[item].clone().unwrap_or_else(|| item.to_string());
        let is_spread = |class: usize| {
            let of_class = (0..items.len()).filter(|&item| classes[item] == Some(class));
            of_class.map(unit).collect::<HashSet<_>>().len() > 1
        };
        if are_different && classes.iter().flatten().all(|&class| is_spread(class)) {
            let labelled: Vec<usize> = (0..items.len()).filter(|&item| classes[item].is_some()).collect();
            prop_assert_eq!(held_out, labelled);
        }
    }
}

#[test]
fn groups_keep_the_share_and_the_classes() {
    // 60 patients of 3 to 9 images, each of one class, two to one.
    let mut classes = Vec::new();
    let mut groups = Vec::new();
    for patient in 0..60 {
        for _ in 0..3 + patient % 7 {
            classes.push(Some(usize::from(patient % 3 == 0)));
            groups.push(Some(patient));
        }
    }
    let (items, groups) = (items(&classes), named(&groups));
    let all = items.class_counts(&(0..items.len()).collect::<Vec<_>>());
    for seed in 0..20 {
        let split = stratified_by_group(&items, &different(items.len()), &groups, &[], 0.2, seed).unwrap();
        let share = split.valid.len() as f64 / items.len() as f64;
        assert!((0.17..0.23).contains(&share), "{share}");
        for (class, count) in items.class_counts(&split.valid)[..2].iter().enumerate() {
            let share = *count as f64 / all[class] as f64;
            assert!((0.15..0.25).contains(&share), "class {class}: {share}");
        }
        assert!(split.shared_groups(&groups).is_empty());
        for fold in 0..5 {
            let split =
                k_fold_by_group(&items, &different(items.len()), &groups, &[], 5, fold, seed).unwrap();
            let counts = items.class_counts(&split.valid);
            assert!(
                (0..2).all(|class| (0.14..0.26).contains(&(counts[class] as f64 / all[class] as f64))),
                "{counts:?}"
            );
        }
    }
    let valid =
        |seed| stratified_by_group(&items, &different(items.len()), &groups, &[], 0.2, seed).unwrap().valid;
    assert_eq!(valid(1), valid(1));
    assert_ne!(valid(1), valid(2));
}

#[test]
fn few_groups_and_classes_of_one_group() {
    let one = named(&[Some(1); 8]);
    let classes: Vec<_> = (0..8).map(|place| Some(place % 2)).collect();
    let error =
        stratified_by_group(&items(&classes), &different(8), &one, &[], 0.2, 1).unwrap_err().to_string();
    assert!(error.contains("all of 8 images are of one group"), "{error}");
    // Equal images join groups.
    let mut digests = different(8);
    digests[7] = digests[0];
    let two = named(&[1, 1, 1, 1, 2, 2, 2, 2].map(Some));
    assert!(stratified_by_group(&items(&classes), &different(8), &two, &[], 0.2, 1).is_ok());
    assert!(stratified_by_group(&items(&classes), &digests, &two, &[], 0.2, 1).is_err());
    // A class that is in one group alone is trained on.
    let groups = named(&[1, 1, 2, 2, 3, 3, 4, 4].map(Some));
    let classes = [0, 0, 0, 0, 0, 0, 1, 1].map(Some);
    for seed in 0..20 {
        let split = stratified_by_group(&items(&classes), &different(8), &groups, &[], 0.4, seed).unwrap();
        assert!(split.train.contains(&6) && split.train.contains(&7), "{split:?}");
        for fold in 0..3 {
            let split =
                k_fold_by_group(&items(&classes), &different(8), &groups, &[], 3, fold, seed).unwrap();
            assert!(
                split.train.contains(&6) && split.train.contains(&7) && split.valid.len() == 2,
                "{split:?}"
            );
        }
    }
    let error =
        k_fold_by_group(&items(&classes), &different(8), &groups, &[], 5, 0, 1).unwrap_err().to_string();
    assert!(error.contains("3 groups are too few for 5 folds; 1 more"), "{error}");
}

#[test]
fn groups_by_a_pattern_of_the_name() {
    let mut items = items(&[Some(0); 3]);
    for (item, id) in items.items.iter_mut().zip(["a/p1_x.jpg", "b/p1_y.jpg", "a/p22_z.jpg"]) {
        item.id = id.to_owned();
    }
    let groups = |pattern: &str| {
        by_pattern(&items, pattern).map(|groups| groups.into_iter().map(Option::unwrap).collect::<Vec<_>>())
    };
    assert_eq!(groups("^p([0-9]+)_").unwrap(), ["1", "1", "22"]);
    assert_eq!(groups("p[0-9]+").unwrap(), ["p1", "p1", "p22"]);
    assert_eq!(groups("^([a-z])/").unwrap(), ["a", "b", "a"]);
    for (pattern, part) in [
        ("(", "no regular expression"),
        ("^p([0-9])_", "does not match 1 of 3 names; the first is a/p22_z.jpg"),
    ] {
        let error = groups(pattern).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn images_augmented_before_the_split_are_known_by_their_names() {
    use ocelli_data::groups::{by_pattern, related_images_of};
    let with_ids = |ids: &[&str]| {
        let mut items = items(&vec![Some(0); ids.len()]);
        items.items.iter_mut().zip(ids).for_each(|(item, id)| item.id = (*id).to_owned());
        items
    };
    let augmented = [
        "cats/0.jpg",
        "cats/0_aug.png",
        "cats/1.jpg",
        "cats/1-flip.jpg",
        "cats/1_rot90.jpg",
        "dogs/0.jpg",
        "dogs/0_aug_2.png",
        "dogs/lone.jpg",
        "dogs/lone_tree.jpg",
    ];
    let roboflow = [
        "cats/a_jpg.rf.0a1b.jpg",
        "cats/a_jpg.rf.2c3d.jpg",
        "cats/b_jpg.rf.11.jpg",
        "cats/b_jpg.rf.12.jpg",
        "dogs/c_jpg.rf.4e.jpg",
        "dogs/c_jpg.rf.5f.jpg",
        "dogs/d_jpg.rf.6.jpg",
    ];
    for (ids, groups) in [(&augmented[..], vec![2, 3, 2]), (&roboflow, vec![2, 2, 2])] {
        let items = with_ids(ids);
        let found = related_images_of(&items).unwrap();
        let mut sizes = std::collections::BTreeMap::new();
        found.groups.iter().flatten().for_each(|group| *sizes.entry(group.clone()).or_insert(0) += 1);
        let mut sizes: Vec<usize> = sizes.into_values().collect();
        sizes.sort_unstable();
        let mut expected = groups;
        expected.sort_unstable();
        assert_eq!(sizes, expected, "{found:?}");
        // The pattern that is advised keeps them together.
        let advised = by_pattern(&items, &found.pattern).unwrap();
        for (one, own) in
            found.groups.iter().enumerate().filter_map(|(at, group)| Some((at, group.as_ref()?)))
        {
            for (other, _) in found.groups.iter().enumerate().filter(|(_, group)| group.as_ref() == Some(own))
            {
                assert_eq!(advised[one], advised[other], "{} and {}", ids[one], ids[other]);
            }
        }
        assert!(!advised.contains(&None));
    }
    // Names of several words are no changes, nor are two by chance.
    let names =
        ["a/dark.jpg", "a/very_dark.jpg", "a/flip_chart.jpg", "a/x.jpg", "a/x_crop.jpg", "a/noise.jpg"];
    assert_eq!(related_images_of(&with_ids(&names)), None);
}
