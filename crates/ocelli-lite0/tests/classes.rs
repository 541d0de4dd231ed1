//! The class names: 1000, all different, each at its place among the classifier's outputs.

use std::{collections::BTreeSet, fs, path::Path};

use ocelli_lite0::CLASSES;

#[test]
fn there_are_a_thousand_different_names() {
    let names: BTreeSet<_> = CLASSES.lines().collect();
    assert_eq!(CLASSES.lines().count(), 1000);
    assert_eq!(names.len(), 1000);
    assert!(names.iter().all(|name| !name.is_empty() && *name == name.trim()));
}

/// The photos' file names carry their class in words from another list of the same classes.
#[test]
fn names_stand_at_the_classifiers_outputs() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures/imagenet100");
    if !folder.exists() {
        eprintln!("skipped: {} is not here", folder.display());
        return;
    }
    let expected: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.join("expected.json")).unwrap()).unwrap();
    let names: Vec<_> = CLASSES.lines().collect();
    let photos = expected["images"].as_array().unwrap();
    assert_eq!(photos.len(), 100);
    for photo in photos {
        let file = photo["file"].as_str().unwrap();
        let (_, in_words) = file.strip_suffix(".JPEG").unwrap().split_once('_').unwrap();
        let label = photo["label"].as_u64().unwrap() as usize;
        assert_eq!(names[label], in_words.replace('_', " "), "{file}");
    }
}
