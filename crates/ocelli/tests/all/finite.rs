//! What is not finite is never the best, never a model, and never an answer.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use ocelli::interpret::TargetClass;
use ocelli::prelude::*;
use ocelli::{
    Decoder, Ensemble, EpochRecord, Error, Freezing, LrChoice, Metric, Phase, Submission, TrainPhase,
    TrainSnapshot,
};

use crate::common::notices;

const PHOTOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../samples/emoji");

fn learner() -> Learner {
    let data = ImageData::from_folder(PHOTOS).size(32).load().unwrap();
    Learner::pretrained(Arch::EfficientNetLite0, data).unwrap()
}

fn head(rate: f64, epochs: usize) -> Phase {
    let (lr, schedule) = (LrChoice::Fixed(rate.into()), Epochs(epochs).into());
    let freezing = Freezing::Cached { frozen: 2, augmented_copies: 0 };
    Phase::Train(TrainPhase { freezing, lr, schedule, optimizer: None })
}

/// Puts a number into a tensor of the network.
fn put(learner: &mut Learner, tensor: &str, number: f32) {
    let TrainSnapshot { header, mut tensors } = learner.snapshot().unwrap();
    let mut values = tensors.get(tensor).unwrap().clone();
    values.values[0] = number;
    tensors.insert(tensor, values.shape, values.values);
    learner.restore(TrainSnapshot { header, tensors }).unwrap();
}

/// A running mean of the head's norm, which training does not use, but validation.
const STATISTIC: &str = "head.6.running_mean";

fn row(epoch: usize, accuracy: f64, valid_loss: f64) -> EpochRecord {
    EpochRecord {
        fit: 1,
        epoch,
        train_loss: 1.0,
        valid_loss: Some(valid_loss),
        accuracy: Some(accuracy),
        metrics: vec![(Metric::Auroc, f64::NAN)],
        learning_rates: 1e-2.into(),
        seconds: 0.0,
        best: false,
    }
}

#[test]
fn an_epoch_that_is_not_finite_is_never_better() {
    let sound = row(1, 0.5, 0.7);
    for bad in [f64::NAN, f64::INFINITY] {
        // Even with an accuracy that looks better, as where NaN counts as the first class.
        let lost = row(2, 0.9, bad);
        for metric in [Metric::Accuracy, Metric::ErrorRate, Metric::LogLoss, Metric::Auroc] {
            assert!(!lost.is_better(&sound, metric) && sound.is_better(&lost, metric), "{metric}, {bad}");
            assert!(!lost.is_better(&lost, metric));
        }
    }
    // Where the metric is defined for neither, the loss decides.
    let lower = row(2, 0.4, 0.6);
    assert!(lower.is_better(&sound, Metric::Auroc) && !sound.is_better(&lower, Metric::Auroc));
}

#[test]
fn a_fit_that_becomes_nan_keeps_its_best_epoch_and_says_nan() {
    let mut learner = learner();
    learner.cache_features().unwrap();
    learner.keep_best(Some(Metric::Accuracy)).early_stopping(Some(2));
    let rows = learner.fit(1e-2, Epochs(2)).unwrap();
    assert!(rows[0].best && rows.iter().all(EpochRecord::is_finite));
    put(&mut learner, STATISTIC, f32::NAN);
    let lost = learner.fit(1e-3, Epochs(4)).unwrap();
    assert_eq!(lost.len(), 3, "patience is over: no epoch is better than the first");
    for row in &lost {
        assert!(!row.best && !row.is_finite(), "{row:?}");
        assert!(row.accuracy.unwrap().is_nan() && row.valid_loss.unwrap().is_nan(), "{row:?}");
        assert!(row.train_loss.is_finite(), "training does not see it");
    }
    let best = learner.best().unwrap().clone();
    assert_eq!(best.fit, 1);
    let error = learner.save(tempfile::tempdir().unwrap().path().join("model.safetensors")).unwrap_err();
    assert!(matches!(&error, Error::NotFiniteTensor { tensor, .. } if tensor == STATISTIC), "{error}");
    learner.return_to_best();
    assert_eq!(Some(learner.validate().unwrap().accuracy().value()), best.accuracy);
}

/// Breaks the statistic at the beginning of a step, by way of the rate: at 1e9 the weights stay finite for a while, and what
/// they compute does not.
#[test]
fn a_recipe_whose_epochs_are_all_lost_fails_and_says_what_to_do() {
    let mut learner = learner();
    let error = learner.run_recipe(&Recipe::from(vec![head(1e9, 3)])).unwrap_err();
    assert!(matches!(error, Error::NoFiniteEpoch { .. } | Error::Diverged { .. }), "{error}");
    assert!(
        error.to_string().contains("lower ones") || error.to_string().contains("lower learning rates"),
        "{error}"
    );
    assert!(
        learner.best().is_none() && learner.history().iter().all(|row| !row.best),
        "{:?}",
        learner.history()
    );
}

#[test]
fn a_step_that_is_lost_is_given_up_where_there_are_good_weights() {
    let mut learner = learner();
    let heard = notices(&mut learner);
    let result = learner.run_recipe(&Recipe::from(vec![head(1e-2, 2), head(1e9, 3)])).unwrap();
    assert!(result.predictions.is_finite());
    assert_eq!(learner.best().unwrap().fit, 1);
    let notices = heard.lock().unwrap().clone();
    assert!(matches!(&notices[..], [text] if text.contains("This phase is skipped")), "{notices:?}");
}

#[test]
fn a_cycle_that_is_lost_leaves_no_model() {
    let folder = tempfile::tempdir().unwrap();
    let mut learner = learner();
    learner.cache_features().unwrap();
    learner.set_cycle_save_name(folder.path().join("snapshot"));
    put(&mut learner, STATISTIC, f32::NAN);
    learner.fit(1e-3, Sgdr::cycles(2)).unwrap();
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn nothing_held_out_is_no_excuse() {
    let data = ImageData::from_folder(PHOTOS).size(32).valid_split(ocelli::ValidSplit::Nothing).load();
    let mut learner = Learner::pretrained(Arch::EfficientNetLite0, data.unwrap()).unwrap();
    put(&mut learner, STATISTIC, f32::NAN);
    let error = learner.run_recipe(&Recipe::from(vec![head(1e-3, 1)])).unwrap_err();
    assert!(error.to_string().contains(STATISTIC), "{error}");
}

/// A model whose weights are finite and whose answers are not.
fn overflowing(folder: &Path) -> PathBuf {
    let path = folder.join("model.safetensors");
    let mut learner = learner();
    put(&mut learner, "head.8.weight", f32::MAX);
    put(&mut learner, "head.8.bias", f32::MAX);
    learner.save(&path).unwrap();
    path
}

#[test]
fn answers_that_are_not_finite_are_refused_whatever_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let path = overflowing(folder.path());
    let model = Model::load(&path).unwrap();
    let photo = PathBuf::from(PHOTOS).join("flags/de.png");
    let mut errors = Vec::new();
    for tta in [None, Some(Tta::views(2)), Some(Tta::corners().mean(ocelli::TtaMean::Logits))] {
        let answers: Vec<_> = model.predict_with([photo.clone(), photo.clone()], tta).unwrap().collect();
        assert_eq!(answers.len(), 2);
        errors.extend(answers.into_iter().map(Result::unwrap_err));
    }
    errors.push(model.explain(&photo, &TargetClass::MostProbable).unwrap_err());
    let image = Decoder::default().decode_file_for(&photo, model.config().preprocessing.needed()).unwrap();
    errors.push(model.predict_images(&[image]).unwrap_err());
    let ensemble = Ensemble::load([&path, &path]).unwrap();
    errors.push(ensemble.predict([photo.clone()]).unwrap().next().unwrap().unwrap_err());
    let test = folder.path().join("test");
    std::fs::create_dir(&test).unwrap();
    std::fs::copy(&photo, test.join("1.png")).unwrap();
    let out = folder.path().join("submission.csv");
    errors.push(
        Submission::default().write(&model, &test, &out, |_, _| ControlFlow::Continue(())).unwrap_err(),
    );
    assert!(!out.exists(), "no row of NaN is written");
    let data = ImageData::from_folder(PHOTOS).size(32);
    errors.push(ocelli::evaluate(&model, data, &mut |_, _| ControlFlow::Continue(())).unwrap_err());
    for error in errors {
        let text = error.to_string();
        assert!(matches!(error, Error::NotFiniteOutput { .. }), "{text}");
        assert!(text.contains("model.safetensors") && text.contains("lower learning rate"), "{text}");
    }
}

#[test]
fn a_calibrated_model_is_calibrated_whichever_way_it_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let mut learner = learner();
    learner.cache_features().unwrap();
    learner.fit(1e-3, Epochs(1)).unwrap();
    let predictions = learner.validate().unwrap();
    let mut trained = learner.to_model();
    let temperature = trained.calibrate(&predictions).expect("one epoch leaves a network unsure");
    trained.save(&path).unwrap();
    let model = Model::load(&path).unwrap();
    let photos: Vec<PathBuf> =
        predictions.items()[..3].iter().map(|&item| learner.data().items()[item].path.clone()).collect();
    let needed = model.config().preprocessing.needed();
    let images: Vec<_> =
        photos.iter().map(|photo| Decoder::default().decode_file_for(photo, needed).unwrap()).collect();
    let rows = |model: &Model| -> Vec<Vec<f32>> {
        let said = model.predict(photos.clone()).unwrap().map(|said| said.unwrap().probabilities).collect();
        assert_eq!(model.predict_images(&images).unwrap(), said, "images in memory are the same photos");
        for (photo, row) in photos.iter().zip(&said) {
            assert_eq!(
                &model.explain(photo, &TargetClass::MostProbable).unwrap().prediction.probabilities,
                row
            );
        }
        let ensemble = Ensemble::of(vec![model.clone()]).unwrap();
        let together = ensemble.predict(photos.clone()).unwrap().map(|said| said.unwrap().probabilities);
        assert_eq!(together.collect::<Vec<_>>(), said);
        said
    };
    let plain = rows(&model);
    let calibrated = rows(&model.clone().calibrated().unwrap());
    let wanted = predictions.with_temperature(temperature);
    for (place, row) in calibrated.iter().enumerate() {
        assert_eq!(plain[place], predictions.row(place));
        assert_eq!(row, wanted.row(place));
        assert_ne!(row, &plain[place]);
    }
}
