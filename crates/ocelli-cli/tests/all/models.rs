//! The list of backbones, weights that are given, and devices that are not there.

use std::collections::BTreeSet;
use std::fs;

use crate::common::{Place, small, stderr};

#[test]
fn models_are_listed_for_people_and_for_programs() {
    let place = Place::empty();
    let table = place.run(&["models"]);
    let json = place.run(&["models", "--json"]);
    let objects: Vec<serde_json::Value> =
        json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: BTreeSet<&str> = objects.iter().map(|object| object["name"].as_str().unwrap()).collect();
    assert_eq!((objects.len(), names.len()), (28, 28));
    for object in &objects {
        let name = object["name"].as_str().unwrap();
        assert!(table.lines().any(|line| line.split_whitespace().next() == Some(name)), "{name}: {table}");
        let weights = &object["weights"];
        let origin = weights["file"].as_str().or(weights["repository"].as_str()).unwrap();
        let shown = ["licence", "late_layers_from"].map(|key| object[key].as_str().unwrap().len());
        assert!(!origin.is_empty() && shown.iter().all(|length| *length > 0), "{object}");
        assert!(object["multiply_adds_millions"].as_u64().unwrap() > 0, "{object}");
        // One set of weights is built in, and this place has no others.
        assert_eq!(object["weights_here"].as_bool().unwrap(), name == "efficientnet_lite0", "{object}");
    }
    let one = place.run(&["models", "resnet34"]);
    for part in ["resnet34", "224", "73.3 %", "21.8 M", "3.66 G", "layer3", "torchvision", "BSD-3-Clause"] {
        assert!(one.contains(part), "{one}");
    }
    assert_eq!(one.lines().take_while(|line| !line.is_empty()).count(), 2, "heads and one row: {one}");
    assert!(place.refusal(&["models", "resnet35"]).contains("resnet34"), "the error lists what there is");
}

#[test]
fn speed_is_measured() {
    let place = Place::empty();
    let arguments =
        ["models", "convnext_atto", "--benchmark", "--size", "32", "--batch-size", "2", "--batches", "1"];
    let table = place.run(&arguments);
    assert!(table.contains("images/s") && table.contains("convnext_atto"), "{table}");
    let json = place.run(&[&arguments[..], &["--json"]].concat());
    let object: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert!(object["measured"]["training_images_per_second"].as_f64().unwrap() > 0.0, "{object}");
    let refusal = place.refusal(&["models", "inception_v4", "--benchmark", "--size", "64"]);
    assert!(refusal.contains("75 px"), "{refusal}");
}

#[test]
fn a_classifier_in_given_weights_is_set_aside_and_said() {
    let place = Place::with_photos(4);
    fs::write(place.path("own.safetensors"), ocelli_lite0::WEIGHTS).unwrap();
    let quick = small(&["--head-epochs", "1"]);
    let train = [&quick[..], &["--weights", "own.safetensors"]].concat();
    let said = place.run(&train);
    let line = "weights from own.safetensors, without its classifier (classifier.bias, classifier.weight)";
    assert!(said.contains(line), "{said}");

    let refusal = place.refusal(&[&train[..], &["--arch", "resnet18"]].concat());
    for part in ["own.safetensors", "resnet18", "missing: conv1.weight", "not part of the network: blocks.0"]
    {
        assert!(refusal.contains(part), "{refusal}");
    }
}

#[test]
fn images_that_a_backbone_cannot_take_are_refused() {
    let place = Place::with_photos(4);
    let weights = place.path("weights.safetensors");
    let network = ocelli::Arch::ConvNextAtto.untrained(3, 2, 0, &cpu());
    fs::write(&weights, network.to_tensors().to_bytes("architecture", "convnext_atto")).unwrap();
    let train = ["train", "photos", "--arch", "convnext_atto", "--weights", "weights.safetensors"];
    let refusal = place.refusal(&[&train[..], &["--size", "24"]].concat());
    assert!(refusal.contains("convnext_atto needs images of at least 32 px"), "{refusal}");
}

/// The CPU.
fn cpu() -> ocelli::Device {
    ocelli::DeviceName::default().open().unwrap()
}

#[test]
fn devices_that_are_not_there_are_refused() {
    let place = Place::with_photos(2);
    for device in ["cuda", "metal:1"] {
        let refusal = place.refusal(&["train", "photos", "--device", device]);
        let kind = device.split(':').next().unwrap();
        assert!(refusal.contains(&format!("--features {kind}")), "{refusal}");
    }
    let output = place.ocelli(&["train", "photos", "--device", "gpu"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "wrong usage");
    assert!(stderr(&output).contains("unknown device \"gpu\""), "{}", stderr(&output));
    assert!(!place.path("runs").exists(), "nothing was begun");
}

#[test]
fn the_backbone_is_chosen_among_those_whose_weights_are_on_this_machine() {
    let place = Place::with_photos(24);
    let train = ["train", "photos", "--arch", "auto", "--recipe", "linear", "--size", "64"];
    let said = |more: &[&str]| {
        let output = place.ocelli(&[&train[..], more].concat()).output().unwrap();
        assert!(output.status.success(), "{}", crate::common::stderr(&output));
        crate::common::stderr(&output)
    };
    let alone = said(&["--out", "alone"]);
    assert!(alone.contains("efficientnet_lite0, the only one whose weights are on this machine"), "{alone}");
    // Weights that nothing was learnt by are here as well, and cheaper to compute.
    let network = ocelli::Arch::MobileNetV3Large.untrained(3, 2, 0, &cpu());
    fs::write(place.path("weights.safetensors"), network.to_tensors().to_bytes("format", "pt")).unwrap();
    let path = place.run(&["pull", "mobilenet_v3_large", "--from", "weights.safetensors"]);
    assert!(path.contains("weights"), "{path}");
    let chosen = said(&["--out", "chosen"]);
    assert!(chosen.contains("the backbone is efficientnet_lite0"), "{chosen}");
    assert!(chosen.contains("of others: mobilenet_v3_large "), "{chosen}");
    assert!(place.read("chosen/config.toml").contains("arch = \"efficientnet_lite0\""));
    // The choice is that of training images alone, and what follows is that of the backbone by its name.
    place
        .run(&[&["train", "photos", "--recipe", "linear", "--size", "64"][..], &["--out", "named"]].concat());
    let model = |run: &str| fs::read(place.path(run).join("model.safetensors")).unwrap();
    assert!(model("chosen") == model("named"), "the choice has changed what follows");
    // Kept weights are used by their name, and must be those of the network.
    place.run(&["train", "photos", "--arch", "mobilenet_v3_large", "--recipe", "linear", "--size", "64"]);
    let refused = place.refusal(&["pull", "resnet18", "--from", "weights.safetensors"]);
    assert!(refused.contains("conv1.weight"), "{refused}");
    assert!(
        place.refusal(&["pull", "efficientnet_lite0", "--from", "weights.safetensors"]).contains("built in")
    );
    let weights = ["--weights", "weights.safetensors"];
    assert!(place.refusal(&[&train[..], &weights].concat()).contains("--weights"));
    assert!(
        place.refusal(&["lr-find", "photos", "--arch", "auto"]).contains("--arch auto is for ocelli train")
    );
}
