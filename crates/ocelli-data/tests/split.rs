//! Splits are stratified, do not depend on order, and keep equal images together.

use std::collections::HashMap;
use std::path::PathBuf;

use ocelli_data::split::stratified;
use ocelli_data::{Classes, DataError, Digest, Item, Items, Split, Target, Task};
use proptest::prelude::*;

/// Items of the given classes (`None`: unlabelled), named by their place.
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
    let split = stratified(&items, &different(1000), 0.2, 42).unwrap();
    assert_eq!(items.class_counts(&split.valid)[..2], [180, 20]);
    assert_eq!(items.class_counts(&split.train)[..2], [720, 80]);
}

#[test]
fn a_class_of_two_has_one_on_either_side_and_a_class_of_one_is_trained_on() {
    let items = items(&[Some(0), Some(0), Some(1), Some(2), Some(2), Some(2)]);
    for fraction in [0.01, 0.2, 0.5, 0.99] {
        let split = stratified(&items, &different(6), fraction, 7).unwrap();
        assert_eq!(items.class_counts(&split.valid)[..2], [1, 0]);
        assert!((1..=2).contains(&items.class_counts(&split.valid)[2]));
    }
}

#[test]
fn unlabelled_items_are_for_testing() {
    let items = items(&[Some(0), None, Some(0), Some(1), Some(1), None]);
    assert_eq!(stratified(&items, &different(6), 0.5, 1).unwrap().test, [1, 5]);
}

#[test]
fn seeds_differ() {
    let items = items(&vec![Some(0); 100]);
    let valid = |seed| stratified(&items, &different(100), 0.2, seed).unwrap().valid;
    assert_eq!(valid(1), valid(1));
    assert_ne!(valid(1), valid(2));
}

#[test]
fn what_cannot_be_split_is_refused() {
    let single = items(&[Some(0), Some(1)]);
    let error = stratified(&single, &different(2), 0.2, 1).unwrap_err();
    assert!(
        matches!(error, DataError::Split { .. }) && error.to_string().contains("train on everything"),
        "{error}"
    );
    for fraction in [0.0, 1.0, -0.5, f64::NAN, 20.0] {
        let error = stratified(&single, &different(2), fraction, 1).unwrap_err().to_string();
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
        let Ok(Split { train, valid, test }) = stratified(&items, &digests, fraction, seed) else { return Ok(()) };
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
        let (Ok(a), Ok(b)) = (stratified(&forth, &digests, 0.3, seed), stratified(&back, &rotated, 0.3, seed)) else { return Ok(()) };
        prop_assert_eq!(ids(&forth, &a.valid), ids(&back, &b.valid));
        prop_assert_eq!(ids(&forth, &a.train), ids(&back, &b.train));
    }

    #[test]
    fn every_class_of_two_different_images_is_on_both_sides(classes in prop::collection::vec(0..5usize, 6..80), fraction in 0.01f64..0.99, seed: u64) {
        let items = items(&classes.iter().map(|&class| Some(class)).collect::<Vec<_>>());
        let mut counts = HashMap::new();
        classes.iter().for_each(|class| *counts.entry(*class).or_insert(0) += 1);
        let Ok(split) = stratified(&items, &different(items.len()), fraction, seed) else { return Ok(()) };
        let (train, valid) = (items.class_counts(&split.train), items.class_counts(&split.valid));
        for (class, count) in counts {
            prop_assert!(train[class] > 0);
            prop_assert_eq!(valid[class] > 0, count > 1);
        }
    }
}
