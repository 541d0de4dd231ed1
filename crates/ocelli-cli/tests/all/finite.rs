//! The real command refuses models that compute what is not finite, and classes may be called like columns.

use std::collections::BTreeSet;
use std::fs;

use crate::common::{Place, small, stderr};
use ocelli::TrainSnapshot;
use ocelli::prelude::*;

#[test]
fn a_rate_that_is_far_too_high_ends_the_run_and_says_what_to_do() {
    let place = Place::with_photos(12);
    let quick = small(&["--batch-size", "8", "--head-epochs", "2"]);
    for rate in ["1e9", "1e30"] {
        let said = place.refusal(&[&quick[..], &["--lr", rate, "--out", rate]].concat());
        assert!(said.contains("use lower"), "{said}");
        assert!(!said.contains("to continue"), "continuing comes to the same end: {said}");
        assert!(!place.path(rate).join("model.safetensors").exists(), "{rate}");
    }
}

/// A model whose weights are finite and whose answers are not.
fn overflowing(place: &Place) {
    let data = ImageData::from_folder(place.path("photos")).size(32).load().unwrap();
    let mut learner = Learner::pretrained(Arch::EfficientNetLite0, data).unwrap();
    let TrainSnapshot { header, mut tensors } = learner.snapshot().unwrap();
    let mut bias = tensors.get("head.8.bias").unwrap().clone();
    bias.values[1] = f32::MAX;
    tensors.insert("head.8.bias", bias.shape, bias.values);
    let mut weight = tensors.get("head.8.weight").unwrap().clone();
    weight.values.fill(f32::MAX);
    tensors.insert("head.8.weight", weight.shape, weight.values);
    learner.restore(TrainSnapshot { header, tensors }).unwrap();
    learner.save(place.path("lost.safetensors")).unwrap();
}

#[test]
fn every_verb_refuses_a_model_whose_answers_are_not_finite() {
    let place = Place::with_photos(3);
    overflowing(&place);
    for arguments in [
        &["predict", "lost.safetensors", "photos"][..],
        &["predict", "lost.safetensors", "photos", "--csv", "--tta", "2"],
        &["evaluate", "lost.safetensors", "photos", "--out", "evaluated"],
        &["submit", "lost.safetensors", "photos/flags", "--out", "submission.csv"],
    ] {
        let output = place.ocelli(arguments).output().unwrap();
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains("error: lost.safetensors") && said.contains("is not finite"), "{said}");
        let answers = String::from_utf8(output.stdout).unwrap();
        assert!(!answers.contains("NaN"), "{arguments:?}: {answers}");
    }
    assert!(!place.path("submission.csv").exists());
    let photo = fs::read_dir(place.path("photos/flags")).unwrap().next().unwrap().unwrap().path();
    let said = place.refusal(&["explain", "lost.safetensors", photo.to_str().unwrap()]);
    assert!(said.contains("is not finite"), "{said}");
}

#[test]
fn classes_may_be_called_like_columns() {
    let place = Place::with_photos(12);
    for (class, name) in [("flags", "path"), ("food-and-drink", "class"), ("smileys-and-emotion", "id")] {
        fs::rename(place.path("photos").join(class), place.path("photos").join(name)).unwrap();
    }
    let quick = small(&["--batch-size", "8", "--head-epochs", "2"]);
    place.run(&[&quick[..], &["--lr", "1e-2", "--out", "run"]].concat());
    let csv = place.run(&["predict", "run/model.safetensors", "photos/id", "--csv"]);
    for header in [csv.lines().next().unwrap(), place.read("run/predictions.csv").lines().next().unwrap()] {
        let columns: Vec<&str> = header.split(',').collect();
        assert_eq!(columns.iter().collect::<BTreeSet<_>>().len(), columns.len(), "{header}");
        assert!(header.ends_with("probability_class,probability_id,probability_path"), "{header}");
    }
    // A table without a sample would have the column id twice.
    let submit = ["submit", "run/model.safetensors", "photos/id", "--out", "submission.csv"];
    let said = place.refusal(&submit);
    assert!(said.contains("a class of the model is called id") && said.contains("sample"), "{said}");
}
