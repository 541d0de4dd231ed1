//! Features of training images in 8-bit integers: those of [`Model::int8`], kept apart from the others.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use burn::tensor::Device;
use ocelli::nn;
use ocelli::prelude::*;
use ocelli::{Error, LogisticRegression, Normalization, Predictions, ValidSplit};

const PHOTOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../samples/emoji");
const SIZE: usize = 64;

fn data() -> ImageData {
    ImageData::from_folder(PHOTOS).size(SIZE).augmentation(Augmentation::side_on()).load().unwrap()
}

fn learner(cache: &Path, int8: bool) -> Learner {
    let mut learner = Learner::pretrained(Arch::EfficientNetLite0, data()).unwrap();
    // The rounding of f32 alone, also where the processor has bf16.
    learner.set_precision(Precision::F32).set_cache(cache);
    learner.set_int8_features(int8).unwrap();
    learner
}

/// How many features came from the cache, and how many were computed, in each call.
fn counts(learner: &mut Learner) -> Arc<Mutex<Vec<(usize, usize)>>> {
    let counts = Arc::new(Mutex::new(Vec::new()));
    let list = counts.clone();
    learner.observe(move |event: &Event| {
        if let Event::Features { cached, computed, .. } = event {
            list.lock().unwrap().push((*cached, *computed));
        }
        ControlFlow::Continue(())
    });
    counts
}

fn rows(predictions: &Predictions) -> Vec<Vec<f32>> {
    (0..predictions.len()).map(|row| predictions.row(row).to_vec()).collect()
}

/// The largest difference of probabilities.
fn difference(some: &[Vec<f32>], others: &[Vec<f32>]) -> f32 {
    assert_eq!(some.len(), others.len());
    let both = some.iter().flatten().zip(others.iter().flatten());
    both.map(|(one, other)| (one - other).abs()).fold(0.0, f32::max)
}

#[test]
fn training_images_have_the_integers_of_the_model_and_validation_images_floats() {
    let cache = tempfile::tempdir().unwrap();
    let mut integers = learner(cache.path(), true);
    let counted = counts(&mut integers);
    integers.cache_features().unwrap();
    let all = integers.data().train_len() + integers.data().valid_len();
    assert_eq!(counted.lock().unwrap()[..], [(0, all)]);
    integers.fit(1e-2, Epochs(2)).unwrap();
    let (train, valid) = (integers.predict(Part::Train).unwrap(), integers.predict(Part::Valid).unwrap());

    // What the saved model gives in integers by the same images, and in floats.
    let path = cache.path().join("model.safetensors");
    integers.save(&path).unwrap();
    let model = Model::load(&path).unwrap();
    let paths = |items: &[usize]| -> Vec<PathBuf> {
        items.iter().map(|&item| integers.data().items()[item].path.clone()).collect()
    };
    let predicted = |model: &Model, items: &[usize]| -> Vec<Vec<f32>> {
        let predictions = model.predict(paths(items)).unwrap();
        predictions.map(|prediction| prediction.unwrap().probabilities).collect()
    };
    let in_integers = model.clone().int8(&paths(&integers.data().split().train)).unwrap();
    let close = |found: &Predictions, expected: Vec<Vec<f32>>| difference(&rows(found), &expected);
    assert!(close(&train, predicted(&in_integers, train.items())) < 1e-5);
    assert!(close(&valid, predicted(&model, valid.items())) < 1e-5);
    // They do differ.
    assert!(close(&train, predicted(&model, train.items())) > 1e-3);
    assert!(valid.accuracy().value() > 0.5, "{}", valid.accuracy().value());

    // A run without takes the validation images' from the cache, and computes its own of the others.
    let mut floats = learner(cache.path(), false);
    let counted = counts(&mut floats);
    floats.cache_features().unwrap();
    let (train, valid) = (floats.data().train_len(), floats.data().valid_len());
    assert_eq!(counted.lock().unwrap()[..], [(valid, train)]);
}

#[test]
fn they_are_computed_once() {
    let cache = tempfile::tempdir().unwrap();
    let fitted = || {
        let mut learner = learner(cache.path(), true);
        let counted = counts(&mut learner);
        learner.cache_features().unwrap();
        let of_head = learner.fit(1e-2, Epochs(1)).unwrap()[0].valid_loss;
        learner.set_size(SIZE - 8).unwrap();
        let settings = LogisticRegression { c: Some(0.02), ..LogisticRegression::default() };
        let of_regression = learner.logistic_regression(&settings).unwrap().valid_loss;
        // What the regression has narrowed its features to is kept too.
        learner.out_of_fold(3).unwrap();
        let counted = counted.lock().unwrap().clone();
        (of_head, of_regression, counted)
    };
    let (first, second) = (fitted(), fitted());
    assert_eq!((first.0, first.1), (second.0, second.1));
    assert!(first.2.iter().take(2).all(|(cached, computed)| *cached == 0 && *computed > 0), "{:?}", first.2);
    assert!(second.2.iter().all(|(cached, computed)| *cached > 0 && *computed == 0), "{:?}", second.2);

    // Of other training images the ranges are others.
    let half = ImageData::from_folder(PHOTOS).size(SIZE).valid_split(ValidSplit::Fraction(0.5));
    let mut other = learner(cache.path(), true);
    other.set_data(half.load().unwrap()).unwrap();
    let counted = counts(&mut other);
    other.cache_features().unwrap();
    let [(cached, computed)] = counted.lock().unwrap()[..] else { panic!("{counted:?}") };
    assert!(cached > 0 && computed >= other.data().train_len(), "{counted:?}");
}

#[test]
fn augmented_copies_are_computed_in_integers_too() {
    let trained = |int8: bool| {
        let folder = tempfile::tempdir().unwrap();
        let mut learner = learner(folder.path(), int8);
        learner.cache_augmented_copies(1).unwrap();
        let before = learner.validate().unwrap();
        (rows(&before), learner.fit(1e-2, Epochs(1)).unwrap()[0].clone())
    };
    let ((before, integers), (same, floats)) = (trained(true), trained(false));
    assert_eq!(before, same, "validation images are floats");
    assert_ne!(integers.train_loss, floats.train_loss);
    assert!((integers.train_loss - floats.train_loss).abs() < 0.1, "{integers:?} {floats:?}");
}

#[test]
fn a_transformer_is_refused_at_once() {
    let data = data();
    let network = nn::Arch::VitTinyPatch16.untrained(3, data.classes().len(), 0, &Device::flex().autodiff());
    let normalization = Normalization::IMAGENET;
    let mut learner = Learner::from_network(network, "vit_tiny", normalization, data).unwrap();
    let error = learner.set_int8_features(true).err().unwrap();
    assert!(matches!(error, Error::Network(nn::Error::NotInt8 { .. })), "{error}");
}
