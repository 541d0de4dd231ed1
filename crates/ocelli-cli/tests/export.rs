//! `ocelli export`: a file that computes what the model computes, or none.

mod common;
#[path = "../../ocelli-hub/tests/server/mod.rs"]
mod server;

use std::fs;
use std::sync::OnceLock;

use common::{Place, small, snapshot, stderr};
use server::{Reply, Request, Server};

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

/// What `--format web` needs of the npm package onnxruntime-web, under this name.
fn package(folder: &str, name: &str) -> String {
    let folder = place().path(folder);
    fs::create_dir_all(folder.join("dist")).unwrap();
    let manifest = format!(r#"{{"name": "{name}", "version": "1.30.0"}}"#);
    fs::write(folder.join("package.json"), manifest).unwrap();
    fs::write(folder.join("dist/ort.wasm.bundle.min.mjs"), "export const script = 1;").unwrap();
    fs::write(folder.join("dist/ort-wasm-simd-threaded.wasm"), b"\0asm\x01\0\0\0").unwrap();
    folder.to_str().unwrap().to_owned()
}

/// The names in a folder that was written, or none.
fn names(folder: &str) -> Vec<String> {
    let root = place().path(folder);
    let files = if root.is_dir() { snapshot(&root) } else { Vec::new() };
    files.iter().map(|(path, _)| path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned()).collect()
}

#[test]
fn a_web_page_is_a_whole_folder() {
    let runtime = package("npm", "onnxruntime-web");
    let output =
        place().ocelli(&["export", "run", "--format", "web", "--runtime", &runtime]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(said.contains("logits differ by at most") && said.ends_with("run-web\n"), "{said}");
    assert!(stderr(&output).contains("python3 -m http.server --directory run-web"), "{}", stderr(&output));
    let expected = [
        "index.html",
        "model.json",
        "model.onnx",
        "onnxruntime/LICENSE",
        "onnxruntime/ort-wasm-simd-threaded.wasm",
        "onnxruntime/ort.wasm.bundle.min.js",
    ];
    assert_eq!(names("run-web"), expected);
    assert_eq!(place().read("run-web/onnxruntime/ort.wasm.bundle.min.js"), "export const script = 1;");
    assert!(place().read("run-web/onnxruntime/LICENSE").contains("MIT"));
    let model: serde_json::Value = serde_json::from_str(&place().read("run-web/model.json")).unwrap();
    assert_eq!(model["classes"], serde_json::json!(["flags", "food-and-drink", "smileys-and-emotion"]));
    assert_eq!(model["preprocessing"]["size"], 32);
    place().run(&["export", "run", "--quiet", "--out", "beside.onnx"]);
    assert_eq!(
        fs::read(place().path("run-web/model.onnx")).unwrap(),
        fs::read(place().path("beside.onnx")).unwrap()
    );
    // The page asks for exactly what is beside it.
    let page = place().read("run-web/index.html");
    for name in ["model.json", "model.onnx", expected[3], expected[4], expected[5]] {
        assert!(page.contains(&format!("\"{name}\"")), "{name}");
    }
    // The first free name; and an empty folder, which may be the working folder.
    let again = place().run(&["export", "run", "--format", "web", "--runtime", &runtime, "--quiet"]);
    assert_eq!(again, "run-web-2\n");
    fs::create_dir(place().path("here")).unwrap();
    let mut command =
        place().ocelli(&["export", "../run", "--format=web", "--runtime", &runtime, "--out", "."]);
    assert!(command.current_dir(place().path("here")).output().unwrap().status.success());
    assert_eq!(names("here"), expected);
}

#[test]
fn a_web_page_is_not_written_over_anything() {
    let runtime = package("npm-2", "onnxruntime-web");
    let web = |more: &[&str]| refused(&[&["export", "run", "--format", "web"], more].concat());
    fs::write(place().path("file"), b"mine").unwrap();
    fs::create_dir_all(place().path("full")).unwrap();
    fs::write(place().path("full/photo.txt"), b"mine").unwrap();
    let said = web(&["--runtime", &runtime, "--out", "file"]);
    assert!(said.contains("--out file: this file exists already"), "{said}");
    let said = web(&["--runtime", &runtime, "--out", "full"]);
    assert!(said.contains("--out full: this folder is not empty"), "{said}");
    let said = web(&["--runtime", &runtime, "--out", "file/site"]);
    assert!(said.contains("file") && !said.contains("os error"), "{said}");
    assert_eq!(fs::read(place().path("file")).unwrap(), b"mine");
    assert_eq!(names("full"), ["photo.txt"]);
    // What does not go with a page, and a page's with a file.
    for (arguments, wanted) in [
        (&["--preprocessing", "all", "--runtime", &runtime][..], "--preprocessing is for --format onnx"),
        (&["--output", "logits", "--runtime", &runtime], "--output is for --format onnx"),
    ] {
        let said = web(&[arguments, &["--out", "odd"]].concat());
        assert!(said.contains(wanted), "{said}");
    }
    let said = refused(&["export", "run", "--runtime", &runtime, "--out", "odd"]);
    assert!(said.contains("--runtime is for --format web"), "{said}");
    assert!(!place().path("odd").exists());
}

#[test]
fn without_its_engine_there_is_no_web_page_and_both_ways_are_said() {
    let web =
        |more: &[&str]| refused(&[&["export", "run", "--format", "web", "--out", "none"], more].concat());
    let said = web(&[]);
    let archive = place().path("cache/npm/onnxruntime-web-1.30.0.tgz");
    for part in [
        "cannot reach",
        "/onnxruntime-web/-/onnxruntime-web-1.30.0.tgz",
        "save it as",
        archive.to_str().unwrap(),
        "onnxruntime-web, unpacked:  --runtime FOLDER",
    ] {
        assert!(said.contains(part), "{said:?} lacks {part:?}");
    }
    // A mirror that sends something else.
    let server = Server::new(|request: &Request| Reply::part(b"another archive", request));
    let mut command = place().ocelli(&["export", "run", "--format", "web", "--out", "none"]);
    let output = command.env("NPM_CONFIG_REGISTRY", format!("{}/npm/", server.url)).output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("is not the published one") && said.contains("--runtime FOLDER"), "{said}");
    let asked: Vec<String> = server.requests().into_iter().map(|request| request.target).collect();
    assert_eq!(asked, ["/npm/onnxruntime-web/-/onnxruntime-web-1.30.0.tgz"]);
    // Another package, a part of one, and nothing.
    let other = package("other", "onnxruntime-node");
    let said = web(&["--runtime", &other]);
    assert!(said.contains("is not the npm package onnxruntime-web 1.30.0"), "{said}");
    assert!(said.contains("package.json says onnxruntime-node 1.30.0"), "{said}");
    let part = package("part", "onnxruntime-web");
    fs::remove_file(place().path("part/dist/ort-wasm-simd-threaded.wasm")).unwrap();
    let said = web(&["--runtime", &part]);
    assert!(said.contains("it has no file dist/ort-wasm-simd-threaded.wasm"), "{said}");
    let said = web(&["--runtime", "nowhere"]);
    assert!(said.contains("nowhere: is not the npm package") && said.contains("package.json"), "{said}");
    assert!(!archive.exists() && !place().path("none").exists());
}
