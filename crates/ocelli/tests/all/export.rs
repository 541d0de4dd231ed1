//! Exported files, run by another engine on photos, beside what the model predicts.

#![cfg(feature = "onnx")]

use std::path::{Path, PathBuf};

use ocelli::prelude::*;
use ocelli::{
    Error, ExportOutput, ExportPhotos, ExportPreprocessing, Model, OnnxOptions, OnnxPrecision, Precision,
    Target, TfliteOptions,
};
use ocelli_onnx::{Description, Engine};

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples/emoji")
}

fn trained(size: usize) -> Model {
    let data = ImageData::from_folder(samples()).size(size).load().unwrap();
    let mut learner = Learner::pretrained(Arch::EfficientNetLite0, data).unwrap();
    learner.cache_features().unwrap();
    learner.fit(1e-2, Epochs(1)).unwrap();
    let (score, config) = learner.fit_unknown().unwrap();
    learner.to_model().with_unknown(score, config)
}

/// The first of the samples, with their classes.
fn photos(count: usize) -> ExportPhotos {
    let data = ImageData::from_folder(samples()).size(32).load().unwrap();
    let items = data.items();
    let mut photos = ExportPhotos::default();
    for item in items.items.iter().step_by(items.items.len() / count).take(count) {
        photos.validation.push(item.path.clone());
        let Target::Class(class) = item.target else { panic!("{}", item.id) };
        photos.labels.push(class);
    }
    photos
}

#[test]
fn another_engine_predicts_the_same() {
    let model = trained(32).precision(Precision::F32);
    let given = photos(40);
    let photos = &given.validation;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let agreement = model.export_onnx(&path, &OnnxOptions::default(), &given).unwrap();
    assert!(agreement.difference < 1e-5 && agreement.photos == 32, "{agreement:?}");
    assert_eq!(agreement.same_class, 35, "{agreement:?}");

    let file = std::fs::read(&path).unwrap();
    let engine = Engine::load(&file).unwrap();
    for (photo, prediction) in photos.iter().zip(model.predict(photos).unwrap()) {
        let image = model.config().framed(photo, 32).unwrap();
        let planes: Vec<u8> =
            (0..3).flat_map(|channel| image.pixels().iter().skip(channel).step_by(3).copied()).collect();
        let outputs = engine.run(&planes, [1, 3, 32, 32]).unwrap();
        let expected = prediction.unwrap().probabilities;
        let worst = outputs[0].iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-5, "{}: {:?} and {expected:?}", photo.display(), outputs[0]);
    }

    let texts = Description::read(&file).unwrap().metadata;
    let config: serde_json::Value = serde_json::from_str(&texts["ocelli"]).unwrap();
    assert_eq!(config["classes"], serde_json::json!(model.config().classes));
    assert_eq!(texts["agreement"], serde_json::to_string(&agreement).unwrap());
}

#[test]
fn every_form_agrees_and_the_unknown_score_too() {
    let model = trained(32);
    let photos = photos(8);
    let folder = tempfile::tempdir().unwrap();
    for (number, (preprocessing, output, precision)) in [
        (ExportPreprocessing::None, ExportOutput::Logits, OnnxPrecision::F32),
        (ExportPreprocessing::None, ExportOutput::Features, OnnxPrecision::F16),
        (ExportPreprocessing::All, ExportOutput::Probabilities, OnnxPrecision::F32),
        (ExportPreprocessing::Normalize, ExportOutput::Probabilities, OnnxPrecision::F16),
    ]
    .into_iter()
    .enumerate()
    {
        let options = OnnxOptions { preprocessing, output, precision, calibrated: false };
        let path = folder.path().join(format!("{number}.onnx"));
        let agreement = model.export_onnx(&path, &options, &photos).unwrap();
        assert!(agreement.unknown_score.is_some_and(|found| found < 1e-1), "{options:?}: {agreement:?}");
        assert_eq!(agreement.grey_levels.is_some(), preprocessing == ExportPreprocessing::All);
        assert!(path.is_file());
    }
    let options = OnnxOptions::default();
    let error =
        model.export_onnx(folder.path().join("none.onnx"), &options, &ExportPhotos::default()).unwrap_err();
    assert!(matches!(error, Error::NoPhotosToCheck { reason: None }), "{error}");
    let error = model.export_onnx(folder.path(), &options, &photos).unwrap_err();
    assert!(error.to_string().contains("folder"), "{error}");
}

#[test]
fn a_tflite_file_predicts_the_same() {
    let model = trained(32).precision(Precision::F32);
    let given = photos(8);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.tflite");
    let options = TfliteOptions::default();
    let agreement = model.export_tflite(&path, &options, &given).unwrap();
    assert!(
        agreement.difference < 1e-5 && (agreement.photos, agreement.same_class) == (8, 11),
        "{agreement:?}"
    );
    assert!(agreement.unknown_score.is_some_and(|found| found < 1e-3), "{agreement:?}");
    assert!(agreement.engine.contains("own interpreter"), "{agreement:?}");
    let interpreter = ocelli_tflite::Interpreter::load(&std::fs::read(&path).unwrap()).unwrap();
    for (photo, prediction) in given.validation.iter().zip(model.predict(&given.validation).unwrap()) {
        let image = model.config().framed(photo, 32).unwrap();
        let images = ocelli_tflite::Images::Pixels(image.pixels());
        let found = interpreter.run(images, &["probabilities"]).unwrap().remove(0);
        let expected = prediction.unwrap().probabilities;
        let worst = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-5, "{}: {found:?} and {expected:?}", photo.display());
    }
    for output in [ExportOutput::Logits, ExportOutput::Features] {
        let options = TfliteOptions { preprocessing: ExportPreprocessing::None, output, calibrated: false };
        model.export_tflite(folder.path().join("other.tflite"), &options, &given).unwrap();
    }
    // Nothing is written where something is refused.
    let none = folder.path().join("none.tflite");
    let all = TfliteOptions { preprocessing: ExportPreprocessing::All, ..options };
    let error = model.export_tflite(&none, &all, &given).unwrap_err();
    assert!(matches!(error, Error::Setting { name: "preprocessing", .. }), "{error}");
    let calibrated = TfliteOptions { calibrated: true, ..options };
    let error = model.export_tflite(&none, &calibrated, &given).unwrap_err();
    assert!(matches!(error, Error::NotCalibrated { .. }), "{error}");
    assert!(!none.exists());
}

#[test]
fn eight_bits_are_as_accurate_or_refused() {
    let model = trained(96);
    let mut photos = photos(120);
    let folder = tempfile::tempdir().unwrap();
    let size = |name: &str| std::fs::metadata(folder.path().join(name)).unwrap().len();
    let export = |name: &str, precision, photos: &ExportPhotos| {
        let options = OnnxOptions { precision, ..OnnxOptions::default() };
        model.export_onnx(folder.path().join(name), &options, photos)
    };
    export("f32.onnx", OnnxPrecision::F32, &photos).unwrap();
    let agreement = export("int8.onnx", OnnxPrecision::Int8, &photos).unwrap();
    let [before, after] = agreement.accuracy.unwrap();
    assert!(agreement.photos == 60 && agreement.made_up == 0, "{agreement:?}");
    assert!(before > 0.6 && after >= before - 0.02, "{agreement:?}");
    // No more than the model's own: the engine has run the integers.
    assert!(agreement.difference > 1e-3 && agreement.difference < 0.2, "{agreement:?}");
    assert!(size("int8.onnx") * 5 < size("f32.onnx") * 2);

    // Features are judged by what the model's head makes of them.
    let options = OnnxOptions {
        precision: OnnxPrecision::Int8,
        output: ExportOutput::Features,
        ..OnnxOptions::default()
    };
    let of_features = model.export_onnx(folder.path().join("features.onnx"), &options, &photos).unwrap();
    assert_eq!(of_features.accuracy.unwrap()[0], before);
    assert!((of_features.accuracy.unwrap()[1] - after).abs() < 0.02, "{of_features:?}");

    // Ranges of one grey photo cut off what other photos need.
    let grey = folder.path().join("grey.pgm");
    std::fs::write(&grey, [b"P5\n40 40\n255\n".to_vec(), vec![127; 1600]].concat()).unwrap();
    photos.training = vec![grey];
    let error = export("grey.onnx", OnnxPrecision::Int8, &photos).unwrap_err();
    assert!(matches!(error, Error::QuantizationLoss { .. }), "{error}");
    assert!(!folder.path().join("grey.onnx").exists());
    let error = model.export_onnx(folder.path().join("grey.onnx"), &options, &photos).unwrap_err();
    assert!(matches!(error, Error::QuantizationLoss { .. }), "{error}");
    // As well where classes are unknown.
    photos.labels.clear();
    let error = export("grey.onnx", OnnxPrecision::Int8, &photos).unwrap_err();
    assert!(error.to_string().contains("most probable class"), "{error}");

    let one = ExportPhotos { validation: vec![photos.validation[0].clone()], ..ExportPhotos::default() };
    let error = export("one.onnx", OnnxPrecision::Int8, &one).unwrap_err();
    assert!(error.to_string().contains("two at least"), "{error}");
}

/// Features in 8-bit integers: as accurate but for three photos in a hundred, the same for a photo alone.
#[test]
fn features_in_integers_predict_nearly_the_same() {
    let model = trained(96).precision(Precision::F32);
    let given = photos(120);
    let integers = model.clone().int8(&given.validation).unwrap();
    assert!(integers.is_int8() && !model.is_int8());
    let predicted = |model: &Model| -> Vec<Vec<f32>> {
        let predictions = model.predict(&given.validation).unwrap();
        predictions.map(|prediction| prediction.unwrap().probabilities).collect()
    };
    let (floats, of_integers) = (predicted(&model), predicted(&integers));
    let right = |rows: &[Vec<f32>]| {
        let best = |row: &Vec<f32>| (0..row.len()).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap();
        rows.iter().zip(&given.labels).filter(|(row, label)| best(row) == **label).count()
    };
    let (before, after) = (right(&floats), right(&of_integers));
    assert!(before > 72 && after + 4 >= before, "{before} and {after} of 120");
    assert_ne!(floats, of_integers);
    let alone = integers.predict(&given.validation[7..8]).unwrap().next().unwrap().unwrap();
    assert_eq!(alone.probabilities, of_integers[7]);
    let bytes = std::fs::read(&given.validation[7]).unwrap();
    assert_eq!(integers.predict_bytes(&bytes).unwrap().probabilities, of_integers[7]);

    let error = model.clone().int8(&[]).unwrap_err();
    assert!(matches!(error, Error::NoPhotosForRanges { reason: None, .. }), "{error}");
    let error = model.int8_of_run("nowhere/model.safetensors").unwrap_err();
    assert!(matches!(error, Error::NoPhotosForRanges { .. }), "{error}");
}
