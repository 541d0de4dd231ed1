//! Test-time augmentation on the sample pictures, against its definition.

use ocelli::prelude::*;
use ocelli::{Error, Part, Task, TtaMean, TtaViews};

fn learner() -> Learner {
    let photos = concat!(env!("CARGO_MANIFEST_DIR"), "/../../samples/emoji");
    let change = Augmentation::side_on().max_zoom(1.1);
    let data = ImageData::from_folder(photos).size(32).augmentation(change).load().unwrap();
    let mut learner = Learner::pretrained(Arch::EfficientNetLite0, data).unwrap();
    learner.cache_features().unwrap();
    learner.fit(1e-2, Epochs(2)).unwrap();
    learner
}

#[test]
fn views_are_weighed_as_fastai_weighs_them_and_the_plain_one_is_what_validation_sees() {
    let mut learner = learner();
    let plain = learner.validate().unwrap();
    // Views besides the plain one, and how often the plain one counts: fastai 0.7's ⌈n / 4⌉.
    for (views, times) in [(1, 1.0), (4, 1.0), (5, 2.0), (8, 2.0)] {
        let stack = learner.predict_views(Part::Valid, TtaViews::Random(views)).unwrap();
        assert_eq!((stack.logits.len(), stack.weights.len()), (1 + views, 1 + views));
        assert!((stack.weights[0] - times / (times + views as f64)).abs() < 1e-12);
        assert!((stack.weights.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert_eq!(stack.plain(), plain);
        assert!((1..=views).all(|view| stack.logits[view] != stack.logits[0]), "training changes images");
        assert!(views < 2 || stack.logits[1] != stack.logits[2], "each view is drawn anew");
    }
    let corners = learner.predict_views(Part::Valid, TtaViews::Corners).unwrap();
    assert_eq!(corners.weights.len(), 9);
    assert!((corners.weights[0] - 0.4).abs() < 1e-12);
    assert_eq!(corners, learner.predict_views(Part::Valid, TtaViews::Corners).unwrap(), "nothing is drawn");
    assert!(matches!(learner.predict_views(Part::Valid, TtaViews::Random(0)), Err(Error::Setting { .. })));
}

#[test]
fn means_are_what_they_are_called() {
    let mut learner = learner();
    let stack = learner.predict_views(Part::Valid, TtaViews::Random(2)).unwrap();
    let classes = stack.classes;
    let softmax = |logits: &[f64]| -> Vec<f64> {
        let sum: f64 = logits.iter().map(|logit| logit.exp()).sum();
        logits.iter().map(|logit| logit.exp() / sum).collect()
    };
    let (probabilities, logits) = (stack.mean(TtaMean::Probabilities), stack.mean(TtaMean::Logits));
    for place in 0..stack.items.len() {
        let views: Vec<Vec<f64>> = (0..3)
            .map(|view| {
                stack.logits[view][place * classes..][..classes].iter().map(|l| f64::from(*l)).collect()
            })
            .collect();
        let mean = |of: &dyn Fn(&[f64]) -> Vec<f64>| -> Vec<f64> {
            let values: Vec<Vec<f64>> = views.iter().map(|view| of(view)).collect();
            (0..classes).map(|class| values.iter().map(|view| view[class]).sum::<f64>() / 3.0).collect()
        };
        let wanted = mean(&softmax);
        let wanted_of_logits = softmax(&mean(&|view| view.to_vec()));
        for class in 0..classes {
            assert!((f64::from(probabilities.row(place)[class]) - wanted[class]).abs() < 1e-6);
            assert!((f64::from(logits.row(place)[class]) - wanted_of_logits[class]).abs() < 1e-6);
        }
        let truth = stack.targets[place].classes()[0];
        assert!((probabilities.losses()[place] + wanted[truth].ln()).abs() < 1e-5);
    }
    assert_eq!(probabilities.task(), Task::SingleLabel);
    assert_eq!(learner.tta(Tta::views(2)).unwrap(), probabilities);
}

#[test]
fn a_saved_model_sees_the_same_fixed_views_and_images_in_memory_as_files() {
    let mut learner = learner();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    learner.save(&path).unwrap();
    let model = Model::load(&path).unwrap();
    assert_eq!(model.config().augmentation.as_ref(), learner.data().augmentation());
    let seen = learner.tta(Tta::corners()).unwrap();
    let photos: Vec<_> =
        seen.items().iter().map(|&item| learner.data().items()[item].path.clone()).take(5).collect();
    let predictions = model.predict_with(photos.clone(), Some(Tta::corners())).unwrap();
    for (place, prediction) in predictions.enumerate() {
        assert_eq!(prediction.unwrap().probabilities, seen.row(place));
    }
    let plain: Vec<_> = model.predict(photos.clone()).unwrap().map(|p| p.unwrap().probabilities).collect();
    let decoder = ocelli::Decoder::default();
    let images: Vec<_> = photos.iter().map(|photo| decoder.decode_file(photo).unwrap()).collect();
    assert_eq!(model.predict_images(&images).unwrap(), plain);

    // What was trained on and what is held out are all there is.
    let (train, valid) = (learner.predict(Part::Train).unwrap(), learner.predict(Part::Valid).unwrap());
    assert_eq!(train.len() + valid.len(), learner.data().items().len());
    assert!(train.accuracy().value() >= valid.accuracy().value(), "what was trained on is known better");
    assert!(learner.predict(Part::Test).unwrap().is_empty());
}
