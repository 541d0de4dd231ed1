//! Exported files, run by another engine on photos, beside what the model predicts.

#![cfg(feature = "onnx")]

use std::path::{Path, PathBuf};

use ocelli::prelude::*;
use ocelli::{
    Agreement, Error, Model, OnnxOptions, OnnxOutput, OnnxPrecision, OnnxPreprocessing, Precision, photos_in,
};
use ocelli_onnx::{Engine, metadata};

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples/emoji")
}

fn trained() -> Model {
    let data = ImageData::from_folder(samples()).size(32).load().unwrap();
    let mut learner = Learner::pretrained(Arch::EfficientNetLite0, data).unwrap();
    learner.cache_features().unwrap();
    learner.fit(1e-2, Epochs(1)).unwrap();
    let (score, config) = learner.fit_unknown().unwrap();
    learner.to_model().with_unknown(score, config)
}

#[test]
fn another_engine_predicts_the_same() {
    let model = trained().precision(Precision::F32);
    let mut photos = photos_in(samples()).unwrap().photos;
    photos.truncate(40);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let agreement = model.export_onnx(&path, &OnnxOptions::default(), &photos).unwrap();
    assert!(agreement.difference < 1e-5 && agreement.photos == 32, "{agreement:?}");
    assert_eq!(agreement.same_class, 35, "{agreement:?}");

    let file = std::fs::read(&path).unwrap();
    let engine = Engine::load(&file).unwrap();
    for (photo, prediction) in photos.iter().zip(model.predict(&photos).unwrap()) {
        let image = model.config().framed(photo, 32).unwrap();
        let planes: Vec<u8> =
            (0..3).flat_map(|channel| image.pixels().iter().skip(channel).step_by(3).copied()).collect();
        let outputs = engine.run(&planes, [1, 3, 32, 32]).unwrap();
        let expected = prediction.unwrap().probabilities;
        let worst = outputs[0].iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-5, "{}: {:?} and {expected:?}", photo.display(), outputs[0]);
    }

    let texts = metadata(&file).unwrap();
    let config: serde_json::Value = serde_json::from_str(&texts["ocelli"]).unwrap();
    assert_eq!(config["classes"], serde_json::json!(model.config().classes));
    assert_eq!(serde_json::from_str::<Agreement>(&texts["agreement"]).unwrap(), agreement);
}

#[test]
fn every_form_agrees_and_the_unknown_score_too() {
    let model = trained();
    let mut photos = photos_in(samples()).unwrap().photos;
    photos.truncate(8);
    let folder = tempfile::tempdir().unwrap();
    for (number, (preprocessing, output, precision)) in [
        (OnnxPreprocessing::None, OnnxOutput::Logits, OnnxPrecision::F32),
        (OnnxPreprocessing::None, OnnxOutput::Features, OnnxPrecision::F16),
        (OnnxPreprocessing::All, OnnxOutput::Probabilities, OnnxPrecision::F32),
        (OnnxPreprocessing::Normalize, OnnxOutput::Probabilities, OnnxPrecision::F16),
    ]
    .into_iter()
    .enumerate()
    {
        let options = OnnxOptions { preprocessing, output, precision, calibrated: false };
        let path = folder.path().join(format!("{number}.onnx"));
        let agreement = model.export_onnx(&path, &options, &photos).unwrap();
        assert!(agreement.unknown_score.is_some_and(|found| found < 1e-1), "{options:?}: {agreement:?}");
        assert_eq!(agreement.grey_levels.is_some(), preprocessing == OnnxPreprocessing::All);
        assert!(path.is_file());
    }
    let options = OnnxOptions::default();
    let error = model.export_onnx(folder.path().join("none.onnx"), &options, &[]).unwrap_err();
    assert!(matches!(error, Error::NoPhotosToCheck { reason: None }), "{error}");
    let error = model.export_onnx(folder.path(), &options, &photos).unwrap_err();
    assert!(error.to_string().contains("folder"), "{error}");
}
