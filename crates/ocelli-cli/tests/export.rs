//! `ocelli export`: a file that computes what the model computes, or none.

mod common;

use std::fs;
use std::sync::OnceLock;

use common::{Place, small, stderr};

/// A place with a trained model, shared by the tests.
fn place() -> &'static Place {
    static PLACE: OnceLock<Place> = OnceLock::new();
    PLACE.get_or_init(|| {
        let place = Place::with_photos(12);
        place.run(&[&small(&["--batch-size", "8"])[..], &["--out", "run", "--quiet"]].concat());
        place
    })
}

fn refused(arguments: &[&str]) -> String {
    let output = place().ocelli(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", stderr(&output));
    stderr(&output)
}

#[test]
fn a_run_is_exported_and_says_how_well_it_agrees() {
    let said = place().run(&["export", "run", "--out", "said.onnx"]);
    assert!(said.contains("logits differ by at most") && said.ends_with("said.onnx\n"), "{said}");
    assert!(said.contains("the most probable class is the same for"), "{said}");
    for (name, more) in [
        ("all.onnx", &["--preprocessing", "all"][..]),
        ("half.onnx", &["--half", "--output", "logits"]),
        ("features.onnx", &["--output", "features", "--preprocessing", "none"]),
    ] {
        let said =
            place().run(&[&["export", "run/model.safetensors", "--quiet", "--out", name], more].concat());
        assert_eq!(said, format!("{name}\n"));
    }
    let size = |name: &str| fs::metadata(place().path(name)).unwrap().len() as f64;
    assert!(size("half.onnx") < 0.6 * size("said.onnx"));
    // The run is too small and too short for 8 bits to be sure: either answer is one.
    let output = place().ocelli(&["export", "run", "--int8", "--out", "int8.onnx"]).output().unwrap();
    match output.status.success() {
        true => {
            assert!(
                String::from_utf8_lossy(&output.stdout).contains("accuracy 0."),
                "{}",
                String::from_utf8_lossy(&output.stdout)
            );
            assert!(size("int8.onnx") < 0.4 * size("said.onnx"));
        }
        false => {
            let said = stderr(&output);
            assert!(said.contains("in 8-bit integers the accuracy falls from 0."), "{said}");
            assert!(said.contains("to halve the size without a loss:  --half"), "{said}");
            assert!(!place().path("int8.onnx").exists());
        }
    }
    // Named after the run; nothing is overwritten.
    assert_eq!(place().run(&["export", "run", "--quiet"]), "run.onnx\n");
    assert_eq!(place().run(&["export", "run", "--quiet"]), "run-2.onnx\n");
}

#[test]
fn what_cannot_be_compared_is_not_written() {
    fs::copy(place().path("run/model.safetensors"), place().path("alone.safetensors")).unwrap();
    let said = refused(&["export", "alone.safetensors", "--out", "alone.onnx"]);
    assert!(said.contains("there are none; give some, or the folder of the model's run"), "{said}");
    fs::write(place().path("broken.jpg"), b"no photo").unwrap();
    let said = refused(&["export", "alone.safetensors", "--photos", "broken.jpg", "--out", "alone.onnx"]);
    assert!(said.contains("none of those given can be read") && said.contains("broken.jpg"), "{said}");
    let said = refused(&["export", "run", "--calibrated", "--photos", "nowhere", "--out", "alone.onnx"]);
    assert!(said.contains("nowhere") || said.contains("calibrat"), "{said}");
    assert!(!place().path("alone.onnx").exists());
    place().run(&["export", "alone.safetensors", "--photos", "photos", "--quiet", "--out", "photos.onnx"]);
}

#[test]
fn places_and_files_that_do_not_fit_are_refused() {
    fs::create_dir_all(place().path("folder")).unwrap();
    let said = refused(&["export", "run", "--out", "folder"]);
    assert!(said.contains("folder") && !said.contains("os error"), "{said}");
    fs::write(place().path("kept.onnx"), b"mine").unwrap();
    let said = refused(&["export", "run", "--out", "kept.onnx"]);
    assert!(said.contains("exists already"), "{said}");
    assert_eq!(fs::read(place().path("kept.onnx")).unwrap(), b"mine");
    let said = refused(&["export", "run", "--out", "kept.onnx/x.onnx"]);
    assert!(said.contains("kept.onnx") && !said.contains("os error"), "{said}");
    for wrong in ["photos", "kept.onnx", "nowhere"] {
        let said = refused(&["export", wrong, "--out", "wrong.onnx"]);
        assert!(said.contains(wrong), "{said}");
    }
    assert!(!place().path("wrong.onnx").exists());
}
