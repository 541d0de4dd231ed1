//! What a program hands over itself: lists of photos with labels, weights of a model, a metric as a closure, pixels.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use ocelli::prelude::*;
use ocelli::{CustomMetric, DataError, Decoder, Direction, Embedder, Error, ImageDataBuilder, Task};

const PHOTOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../samples/emoji");

fn folder() -> ImageData {
    ImageData::from_folder(PHOTOS).size(32).load().unwrap()
}

fn listed(data: &ImageData) -> Vec<(PathBuf, Vec<String>)> {
    let label = |class: &usize| data.classes()[*class].clone();
    let items = data.items().items.iter();
    items.map(|item| (item.path.clone(), item.target.classes().iter().map(label).collect())).collect()
}

#[test]
fn listed_photos_are_those_of_the_folder() {
    let folder = folder();
    let list = ImageData::from_labels(listed(&folder), Task::SingleLabel).size(32).load().unwrap();
    assert_eq!(list.items(), folder.items());
    assert_eq!(list.split(), folder.split());
}

#[test]
fn lists_that_say_nothing_clear_are_refused() {
    let all = listed(&folder());
    let refused = |photos: Vec<(PathBuf, Vec<String>)>, task| {
        let load = |data: ImageDataBuilder| data.size(32).load();
        match load(ImageData::from_labels(photos, task)) {
            Err(Error::Data(DataError::Setting { name, .. })) => name,
            other => panic!("{other:?}"),
        }
    };
    let of_one = |index: usize, labels: &[&str]| {
        let mut photos = all.clone();
        photos[index].1 = labels.iter().map(ToString::to_string).collect();
        photos
    };
    assert_eq!(refused(Vec::new(), Task::SingleLabel), "paths");
    assert_eq!(refused([&all[..1], &all[..]].concat(), Task::SingleLabel), "paths");
    assert_eq!(refused(of_one(0, &[]), Task::SingleLabel), "labels");
    assert_eq!(refused(of_one(0, &["a", "b"]), Task::SingleLabel), "labels");
    assert_eq!(refused(of_one(0, &[""]), Task::MultiLabel), "labels");
    assert_eq!(refused(all[..3].to_vec(), Task::SingleLabel), "labels");
    let several =
        ImageData::from_labels(of_one(0, &["b", "a", "b"]), Task::MultiLabel).size(32).load().unwrap();
    let classes = &several.items().classes;
    assert_eq!(
        several.items()[0].target.classes(),
        [classes.index("a").unwrap(), classes.index("b").unwrap()]
    );
}

#[test]
fn weights_of_a_model_are_taken_over() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("model.safetensors");
    let mut trained = Learner::pretrained(Arch::EfficientNetLite0, folder()).unwrap();
    trained.cache_features().unwrap();
    trained.fit(1e-2, Epochs(1)).unwrap();
    trained.save(&path).unwrap();

    let mut fresh = Learner::pretrained(Arch::EfficientNetLite0, folder()).unwrap();
    fresh.cache_features().unwrap();
    assert_ne!(fresh.validate().unwrap(), trained.validate().unwrap());
    fresh.load_weights(&path).unwrap();
    assert_eq!(fresh.validate().unwrap(), trained.validate().unwrap());
    assert!(fresh.freezing().is_cached());

    let mut photos = listed(&folder());
    photos.iter_mut().for_each(|(_, labels)| labels[0].push_str(" too"));
    let others = ImageData::from_labels(photos, Task::SingleLabel).size(32).load().unwrap();
    let mut other = Learner::pretrained(Arch::EfficientNetLite0, others).unwrap();
    let before = other.validate().unwrap();
    assert!(matches!(other.load_weights(&path), Err(Error::ClassMismatch { .. })));
    assert_eq!(other.validate().unwrap(), before);
}

#[test]
fn a_metric_may_be_a_closure() {
    let calls: &AtomicUsize = Box::leak(Box::default());
    let metric =
        CustomMetric::from_closure("calls-so-far".to_owned(), Direction::Higher, move |predictions| {
            assert!(!predictions.is_empty());
            (calls.fetch_add(1, Ordering::SeqCst) + 1) as f64
        });
    let metric = metric.register().unwrap();
    assert_eq!("calls-so-far".parse::<ocelli::Metric>().unwrap(), metric);
    let mut learner = Learner::pretrained(Arch::EfficientNetLite0, folder()).unwrap();
    learner.measure(metric).cache_features().unwrap();
    let values: Vec<_> = learner.fit(1e-2, Epochs(2)).unwrap().iter().map(|row| row.value(metric)).collect();
    assert_eq!(values, [Some(1.0), Some(2.0)]);
}

#[test]
fn features_of_pixels_are_those_of_the_file() {
    let embedder = Embedder::pretrained(Arch::EfficientNetLite0, Some(32), None).unwrap();
    let photos: Vec<PathBuf> = listed(&folder()).into_iter().take(3).map(|(path, _)| path).collect();
    let of_files: Vec<Vec<f32>> =
        embedder.embed(photos.clone()).unwrap().map(|embedding| embedding.unwrap().features).collect();
    let images: Vec<_> = photos.iter().map(|path| Decoder::default().decode_file(path).unwrap()).collect();
    let of_pixels: Vec<Vec<f32>> =
        embedder.embed_images(&images).unwrap().into_iter().map(Result::unwrap).collect();
    assert_eq!(of_pixels, of_files);
}
