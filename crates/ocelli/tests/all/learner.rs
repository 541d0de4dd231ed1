//! The learner as a library, on the sample pictures.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use ocelli::prelude::*;
use ocelli::{Error, Freezing};

fn data() -> ImageData {
    let photos = concat!(env!("CARGO_MANIFEST_DIR"), "/../../samples/emoji");
    ImageData::from_folder(photos).size(32).batch_size(32).load().unwrap()
}

fn learner() -> Learner {
    Learner::pretrained(Arch::EfficientNetLite0, data()).unwrap()
}

/// The saved model's probabilities of the validation photos are those that validation saw, to the bit.
fn assert_model_agrees(learner: &mut Learner) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    learner.save(&path).unwrap();
    let seen = learner.validate().unwrap();
    let items = learner.data().items();
    let photos: Vec<_> = seen.items().iter().map(|&item| items[item].path.clone()).collect();
    // In another order and in batches of another size.
    let backwards = photos.iter().rev().cloned();
    let model = Model::load(&path).unwrap();
    let predictions: Vec<_> = model.predict(backwards).unwrap().collect::<Result<_, _>>().unwrap();
    assert_eq!(predictions.len(), photos.len());
    for (place, prediction) in predictions.iter().rev().enumerate() {
        assert_eq!(prediction.path, photos[place]);
        assert_eq!(prediction.probabilities, seen.row(place), "{}", photos[place].display());
    }
}

#[test]
fn a_saved_model_predicts_what_validation_saw_to_the_bit() {
    let mut learner = learner();
    learner.cache_features().unwrap();
    let rows = learner.fit(1e-2, Epochs(3)).unwrap();
    assert!(rows[2].accuracy.unwrap() > 0.4 && rows[2].valid_loss.unwrap() < rows[0].train_loss);
    assert_model_agrees(&mut learner);
    learner.freeze_to(1).unwrap();
    learner.cache_features().unwrap();
    learner.fit([1e-5, 1e-4, 1e-3], Epochs(1)).unwrap();
    assert_model_agrees(&mut learner);
}

#[test]
fn training_on_cached_features_is_training_on_images() {
    for frozen in [2, 1] {
        let fit = |cached: bool| {
            let mut learner = learner();
            learner.freeze_to(frozen).unwrap();
            if cached {
                learner.cache_features().unwrap()
            } else {
                learner.stream_images()
            }
            assert_eq!(learner.freezing().is_cached(), cached);
            let mut rows = learner.fit(LearningRates::geometric(1e-4, 1e-2), Epochs(1)).unwrap();
            rows[0].seconds = 0.0;
            (rows, learner.validate().unwrap())
        };
        assert_eq!(fit(true), fit(false), "{frozen} groups frozen");
    }
}

#[test]
fn frozen_groups_do_not_move_and_trained_ones_do() {
    for frozen in [2, 1, 0] {
        let mut learner = learner();
        learner.freeze_to(frozen).unwrap();
        assert_eq!(learner.freezing(), Freezing::Streamed { frozen });
        let before = learner.network().to_tensors();
        learner.fit(1e-3, Epochs(1)).unwrap();
        let after = learner.network().to_tensors();
        let moved = |name: &str| before.get(name) != after.get(name);
        assert!(moved("head.8.weight") && moved("head.6.running_mean"), "{frozen}");
        for (name, group) in
            [("conv_stem.weight", 0), ("blocks.6.0.conv_pw.weight", 1), ("conv_head.weight", 1)]
        {
            assert_eq!(moved(name), group >= frozen, "{name} with {frozen} frozen");
        }
        assert!(!moved("bn2.running_mean"), "the backbone's running statistics stay by default");
    }
}

#[test]
fn observers_hear_of_everything_and_can_end_it() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let list = heard.clone();
    let mut learner = learner();
    learner.observe(move |event: &Event| {
        list.lock().unwrap().push(serde_json::to_value(event).unwrap()["event"].as_str().unwrap().to_owned());
        ControlFlow::Continue(())
    });
    learner.cache_features().unwrap();
    learner.fit(1e-2, Epochs(2)).unwrap();
    let heard = heard.lock().unwrap().clone();
    let place = |name: &str| heard.iter().position(|event| event == name).unwrap_or_else(|| panic!("{name}"));
    assert!(place("progress") < place("features") && place("features") < place("fit-started"));
    assert_eq!(heard.iter().filter(|event| *event == "epoch").count(), 2);

    let mut epochs = 0;
    learner.observe(move |event: &Event| {
        epochs += usize::from(matches!(event, Event::Epoch(_)));
        if epochs < 2 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    assert!(matches!(learner.fit(1e-2, Epochs(5)), Err(Error::Stopped)));
    assert_eq!(learner.history().len(), 2 + 2);
    assert!(learner.validate().is_ok(), "the learner is still of use");
}

#[test]
fn what_makes_no_sense_is_refused() {
    let mut learner = learner();
    assert!(matches!(learner.fit(-1.0, Epochs(1)), Err(Error::Setting { .. })));
    assert!(matches!(learner.fit([1e-2, f64::NAN, 1e-2], Epochs(1)), Err(Error::Setting { .. })));
    assert!(matches!(learner.fit(1e-2, Epochs(0)), Err(Error::Setting { .. })));
    assert!(matches!(learner.fit(1e-2, Sgdr::cycles(50).len(1).mult(2)), Err(Error::Setting { .. })));
    assert!(matches!(learner.freeze_to(3), Err(Error::Setting { .. })));
    learner.unfreeze();
    assert!(matches!(learner.cache_features(), Err(Error::NothingFrozen)));
    assert!(learner.history().is_empty());

    learner.freeze();
    learner.cache_features().unwrap();
    let before = learner.network().to_tensors();
    let error = learner.fit(1e30, Epochs(3)).unwrap_err();
    assert!(matches!(error, Error::Diverged { .. }), "{error}");
    assert!(error.to_string().contains("1.0e30"), "{error}");
    drop(before);
}

#[test]
fn one_image_more_than_a_batch_trains() {
    let photos = concat!(env!("CARGO_MANIFEST_DIR"), "/../../samples/emoji");
    // 560 images to train on: 13 batches of 43 and one image.
    let data = ImageData::from_folder(photos).size(32).batch_size(43).load().unwrap();
    assert_eq!(data.train_len() % 43, 1);
    let mut learner = Learner::pretrained(Arch::EfficientNetLite0, data).unwrap();
    learner.cache_features().unwrap();
    let rows = learner.fit(1e-2, Sgdr::cycles(1)).unwrap();
    assert!(rows[0].train_loss.is_finite());
}
