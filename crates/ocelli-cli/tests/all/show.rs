//! The real command describes models, checkpoints and weights.

use std::fs;
use std::sync::OnceLock;

use crate::common::{Place, small, stderr, two_phases};
use serde_json::Value;

/// A place with a trained model, shared by the tests.
fn place() -> &'static Place {
    static PLACE: OnceLock<Place> = OnceLock::new();
    PLACE.get_or_init(|| {
        let place = Place::with_photos(12);
        place.run(&two_phases("2", &["--seed", "7", "--out", "run", "--quiet"]));
        place
    })
}

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&place().run(&[&["show"], arguments, &["--json"]].concat())).unwrap()
}

#[test]
fn a_model_says_the_same_with_its_run_and_alone() {
    fs::copy(place().path("run/model.safetensors"), place().path("alone.safetensors")).unwrap();
    let (run, file, alone) =
        (json(&["run"]), json(&["run/model.safetensors"]), json(&["alone.safetensors", "--tensors"]));
    assert_eq!(run, file);
    assert_eq!(run["kind"], "model");
    assert_eq!(run["arch"], "efficientnet_lite0");
    assert_eq!(run["classes"], serde_json::json!(["flags", "food-and-drink", "smileys-and-emotion"]));
    assert_eq!(run["published"]["licence"], "Apache-2.0");
    assert_eq!(run["preprocessing"]["size"], 32);
    let training = &run["training"];
    assert_eq!(training["pretrained"], "published");
    assert_eq!(training["seed"], 7);
    let images = |part: &str| training[part].as_u64().unwrap();
    assert_eq!(images("train_images") + images("valid_images"), 36);
    // The history of the run says how many epochs each phase had, and the report's predictions the accuracy.
    let history = place().read("run/history.csv");
    let epochs_of =
        |phase: &str| history.lines().skip(1).filter(|line| line.starts_with(&format!("{phase},"))).count();
    let phases = training["phases"].as_array().unwrap();
    assert_eq!(phases.len(), 2);
    for phase in phases {
        assert_eq!(phase["epochs"], epochs_of(&phase["number"].to_string()));
    }
    assert!(phases[0]["trained"].as_str().unwrap().starts_with("head"), "{phases:?}");
    assert_eq!(phases[1]["trained"], "all layers");
    let predictions = place().read("run/predictions.csv");
    let rows: Vec<Vec<&str>> = predictions.lines().skip(1).map(|line| line.split(',').collect()).collect();
    let right = rows.iter().filter(|row| row[1] == row[2]).count();
    let accuracy = &training["metrics"][0];
    assert_eq!(accuracy["metric"], "accuracy");
    assert!((accuracy["value"].as_f64().unwrap() - right as f64 / rows.len() as f64).abs() < 1e-9);
    let interval = accuracy["interval"].as_array().unwrap();
    assert!(interval[0].as_f64() < accuracy["value"].as_f64() && interval[1].as_f64() <= Some(1.0));
    // The lone file lacks only what the folder adds.
    assert_eq!(run["run"]["name"], "run");
    assert!(run["run"]["phases"][1].as_str().unwrap().contains("learning rate"), "{run}");
    assert!(alone["run"].is_null());
    for field in ["training", "classes", "digest", "parameters", "preprocessing", "temperature", "bytes"] {
        assert_eq!(alone[field], run[field], "{field}");
    }
    assert_eq!(alone["bytes"], fs::metadata(place().path("alone.safetensors")).unwrap().len());
    // The tensors are those of the file's header.
    let bytes = fs::read(place().path("alone.safetensors")).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let tensors = alone["tensors"].as_array().unwrap();
    assert_eq!(tensors.len(), header.as_object().unwrap().len() - 1);
    for tensor in tensors {
        let found = &header[tensor["name"].as_str().unwrap()];
        assert_eq!((&tensor["shape"], &tensor["dtype"]), (&found["shape"], &found["dtype"]));
    }
    assert!(run["tensors"].is_null());
    let counted = ocelli::Model::load(place().path("alone.safetensors")).unwrap().parameters();
    assert_eq!(alone["parameters"], counted);
}

#[test]
fn the_file_names_nothing_of_the_machine() {
    let bytes = fs::read(place().path("run/model.safetensors")).unwrap();
    let folder = place().path("");
    let folder = folder.to_str().unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header = std::str::from_utf8(&bytes[8..8 + length]).unwrap();
    for text in [folder, "photos/", "\"photos\"", "run/", "model.safetensors"] {
        assert!(!header.contains(text), "the model holds {text:?}");
    }
    let card = place().run(&["show", "run", "--card"]);
    assert!(!card.contains(folder) && !card.contains("photos"), "{card}");
}

#[test]
fn the_text_has_what_a_reader_asks_for() {
    let text = place().run(&["show", "run"]);
    for part in [
        "a model of Ocelli's, ",
        "efficientnet_lite0 (timm/tf_efficientnet_lite0.in1k), ",
        "one label per image",
        "3: flags, food-and-drink, smileys-and-emotion",
        "32 × 32 px, RGB",
        "resize the shorter side to 32 px (bicubic), crop the centre 32 × 32 px",
        "with mean 127 and std 128",
        "published ImageNet weights",
        "seed 7",
        "1  head",
        "2  all layers: 1 epoch at learning rate",
        "95 % CI",
        "Apache-2.0",
        ", matches the content",
    ] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
    assert!(text.lines().all(|line| !line.ends_with(' ')), "{text}");
    let tensors = place().run(&["show", "run", "--tensors"]);
    assert!(tensors.starts_with(&text) && tensors.contains("head.8.weight") && tensors.contains("3 × 512"));
}

#[test]
fn many_classes_are_shortened_unless_asked_for() {
    let place = Place::empty();
    for class in 0..23 {
        let folder = place.path("photos").join(format!("class{class:02}"));
        fs::create_dir_all(&folder).unwrap();
        for number in 0..3 {
            // Other bytes, so that no two photos are the same.
            let mut bytes = fs::read(crate::common::samples().join("flags/de.png")).unwrap();
            bytes.extend([class, number]);
            fs::write(folder.join(format!("{number}.png")), bytes).unwrap();
        }
    }
    let arguments =
        small(&["--batch-size", "8", "--head-epochs", "1", "--lr", "1e-2", "--out", "run", "--quiet"]);
    place.run(&arguments);
    let text = place.run(&["show", "run"]);
    assert!(text.contains("class19, and 3 more (--classes)") && !text.contains("class20"), "{text}");
    let text = place.run(&["show", "run", "--classes"]);
    assert!(text.contains("class22") && !text.contains("more"), "{text}");
}

#[test]
fn a_card_is_yaml_and_markdown_that_claims_nothing_unknown() {
    let card = place().run(&["show", "run", "--card"]);
    let (front, body) = card.strip_prefix("---\n").unwrap().split_once("\n---\n").unwrap();
    for line in [
        "license: unknown # to be chosen; the pretrained weights are under Apache-2.0",
        "library_name: ocelli",
        "pipeline_tag: image-classification",
        "base_model: \"timm/tf_efficientnet_lite0.in1k\"",
        "model-index:",
        "    - type: \"accuracy\"",
    ] {
        assert!(front.lines().any(|found| found == line), "{line}\n{front}");
    }
    for section in ["Model", "Use", "Preprocessing", "Classes", "Training", "Results", "Limits", "Licence"] {
        assert!(body.contains(&format!("\n## {section}\n\n")), "{section}\n{body}");
    }
    assert!(
        body.contains("- food-and-drink\n") && body.contains("| accuracy | 0.")
            || body.contains("| accuracy | 1.")
    );
    // PyYAML, where it is there, reads the same figures.
    let script = "import sys, yaml; print(yaml.safe_load(sys.argv[1])['model-index'][0]['results'][0]['metrics'][0]['value'])";
    match std::process::Command::new("python3").args(["-c", script, front]).output() {
        Ok(output) if output.status.success() => {
            let value: f64 = String::from_utf8(output.stdout).unwrap().trim().parse().unwrap();
            assert_eq!(Some(value), json(&["run"])["training"]["metrics"][0]["value"].as_f64());
        }
        _ => println!("skipped: there is no PyYAML here"),
    }
}

#[test]
fn checkpoints_and_weights_are_described_as_what_they_are() {
    let mut names: Vec<_> = fs::read_dir(place().path("run/checkpoints"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let last = names.iter().rfind(|name| name.starts_with("checkpoint-")).unwrap();
    let checkpoint = json(&[&format!("run/checkpoints/{last}")]);
    assert_eq!(checkpoint["kind"], "checkpoint");
    assert_eq!((&checkpoint["arch"], &checkpoint["size"]), (&"efficientnet_lite0".into(), &32.into()));
    assert_eq!(checkpoint["epochs"], place().read("run/history.csv").lines().count() - 1);
    let best = checkpoint["best"][0]["file"].as_str().unwrap();
    assert!(best.starts_with("best-") && names.iter().any(|name| name == best), "{best} of {names:?}");
    let best = json(&[&format!("run/checkpoints/{best}")]);
    assert_eq!(best["kind"], "model");
    assert!(best["training"].is_null() && best["run"].is_null());
    // A run that is not finished has no model yet, and its last checkpoint is described.
    let copy = place().path("unfinished/checkpoints");
    fs::create_dir_all(&copy).unwrap();
    fs::copy(place().path("run/config.toml"), place().path("unfinished/config.toml")).unwrap();
    fs::copy(place().path("run/checkpoints").join(last), copy.join(last)).unwrap();
    assert_eq!(json(&["unfinished"])["epochs"], checkpoint["epochs"]);
    assert!(place().run(&["show", "unfinished"]).contains("a checkpoint of a run"));
    // Weights are known by their publisher's name for the file, if they are what it says.
    let name = "tf_efficientnet_lite0.in1k.safetensors";
    fs::write(place().path(name), ocelli_lite0::WEIGHTS).unwrap();
    let weights = json(&[name]);
    assert_eq!(weights["kind"], "weights");
    assert_eq!(
        (&weights["arch"], &weights["published"]["licence"]),
        (&"efficientnet_lite0".into(), &"Apache-2.0".into())
    );
    assert_eq!(weights["parameters"], ocelli::Arch::EfficientNetLite0.info().parameters);
    fs::write(place().path("some.safetensors"), ocelli_lite0::WEIGHTS).unwrap();
    let some = place().run(&["show", "some.safetensors"]);
    assert!(some.contains("architecture    not known") && some.contains("licence         unknown"), "{some}");
    fs::copy(place().path(name), place().path("tf_efficientnet_lite1.in1k.safetensors")).unwrap();
    assert!(json(&["tf_efficientnet_lite1.in1k.safetensors"])["arch"].is_null(), "it has another one's name");
    for file in [name, "unfinished"] {
        assert!(place().refusal(&["show", file, "--card"]).contains("--card is for models"));
    }
}

#[test]
fn hostile_files_are_refused_in_a_line() {
    let bytes = fs::read(place().path("run/model.safetensors")).unwrap();
    let mut flipped = bytes.clone();
    let end = flipped.len() - 1;
    flipped[end] ^= 1;
    let files: [(&str, &[u8], &str); 4] = [
        ("half.safetensors", &bytes[..bytes.len() / 2], "not a complete safetensors file"),
        ("flipped.safetensors", &flipped, "digest"),
        ("text.txt", b"a text, and no model", "text.txt"),
        ("empty.safetensors", b"", "not a complete safetensors file"),
    ];
    fs::create_dir_all(place().path("folder")).unwrap();
    let mut cases =
        vec![("folder", "folder without a model"), ("nowhere", "does not exist"), ("photos", "folder")];
    for (name, content, reason) in files {
        fs::write(place().path(name), content).unwrap();
        cases.push((name, reason));
    }
    for name in ["sparse.safetensors", "sparse.pth", "sparse"] {
        fs::File::create(place().path(name)).unwrap().set_len(3 << 30).unwrap();
        cases.push((name, name));
    }
    #[cfg(unix)]
    cases.extend([("/dev/zero", "it is no file"), ("/dev/null", "it is no file")]);
    for (name, reason) in cases {
        for more in [&[][..], &["--json"], &["--card"]] {
            let output = place().ocelli(&[&["show", name], more].concat()).output().unwrap();
            let said = stderr(&output);
            assert_eq!(output.status.code(), Some(1), "{name}: {said}");
            assert!(said.starts_with("error: ") && said.contains(reason), "{name}: {said}");
            assert!(said.lines().count() <= 2 && output.stdout.is_empty(), "{name}: {said}");
        }
    }
}

#[test]
fn an_onnx_file_is_described_and_a_damaged_one_named() {
    place().run(&["export", "run", "--half", "--preprocessing", "all", "--out", "shown.onnx", "--quiet"]);
    let (model, file) = (json(&["run"]), json(&["shown.onnx", "--tensors"]));
    assert_eq!(file["kind"], "onnx");
    assert_eq!(file["inputs"][0]["shape"], serde_json::json!(["images", "3", "height", "width"]));
    assert_eq!(file["outputs"][0]["name"], "probabilities");
    for key in ["classes", "preprocessing", "training", "arch", "unknown"] {
        assert_eq!(file["model"][key], model[key], "{key}");
    }
    assert!(file["agreement"]["photos"].as_u64() > Some(0));
    let tensors = file["tensors"].as_array().unwrap();
    let halves = tensors.iter().filter(|tensor| tensor["dtype"] == "F16").count();
    // Each convolution and each linear layer has its weights.
    let layers = file["operators"]["Conv"].as_u64().unwrap() + 2;
    assert_eq!(halves as u64, layers);
    let text = place().run(&["show", "shown.onnx"]);
    assert!(text.contains("takes           images: U8, images × 3 × height × width"), "{text}");
    assert!(text.contains("compared        with the model in "), "{text}");

    // As many convolutions as the model itself lists.
    let operations = place().run(&["show", "run", "--operations"]);
    let convolutions = operations.lines().filter(|line| line.contains("conv ")).count();
    assert_eq!(convolutions as u64, file["operators"]["Conv"].as_u64().unwrap());
    assert!(operations.contains("  3×32×32  images") && operations.contains("  = logits"), "{operations}");

    let bytes = fs::read(place().path("shown.onnx")).unwrap();
    fs::write(place().path("cut.onnx"), &bytes[..bytes.len() / 2]).unwrap();
    for arguments in [&["cut.onnx"][..], &["shown.onnx", "--card"], &["shown.onnx", "--operations"]] {
        let output = place().ocelli(&[&["show"], arguments].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(stderr(&output).contains(&format!("error: {}: ", arguments[0])), "{}", stderr(&output));
    }
}
