//! `ocelli export`: a file that computes what the model computes, or none.

use std::fs;
use std::sync::OnceLock;

use crate::common::{Place, small, snapshot, stderr};
use crate::hub_server::{Reply, Request, Server};

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
    assert!(said.contains("none can be read") && said.contains("broken.jpg"), "{said}");
    let said = refused(&["export", "run", "--calibrated", "--photos", "nowhere", "--out", "alone.onnx"]);
    assert!(said.contains("nowhere") || said.contains("calibrat"), "{said}");
    assert!(!place().path("alone.onnx").exists());
    assert!(said.contains("--photos FOLDER"), "{said}");
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

#[test]
fn a_tflite_file_says_what_was_compared_and_holds_its_labels() {
    let output =
        place().ocelli(&["export", "run", "--format", "tflite", "--out", "said.tflite"]).output().unwrap();
    let (said, notes) = (String::from_utf8_lossy(&output.stdout).into_owned(), stderr(&output));
    assert!(said.starts_with("compared in Ocelli's own interpreter of TFLite files on "), "{said}{notes}");
    assert!(said.contains("logits differ by at most") && said.ends_with("said.tflite\n"), "{said}");
    assert!(notes.contains("LiteRT is not part of this program and has not run the file"), "{notes}");
    let file = fs::read(place().path("said.tflite")).unwrap();
    assert_eq!(&file[4..8], b"TFL3");
    // The central directory, and the names stored as they are: the archive is read in the tests of ocelli-tflite.
    let text = String::from_utf8_lossy(&file);
    for name in ["labels.txt", "ocelli.json", "agreement.json"] {
        assert_eq!(text.matches(name).count(), if name == "labels.txt" { 3 } else { 2 }, "{name}");
    }
    for (name, more) in [
        ("run.tflite", &[][..]),
        ("floats.tflite", &["--preprocessing", "none", "--output", "logits", "--out", "floats.tflite"]),
        ("features.tflite", &["--output", "features", "--out", "features.tflite"]),
    ] {
        let said = place().run(&[&["export", "run", "--format", "tflite", "--quiet"], more].concat());
        assert_eq!(said, format!("{name}\n"));
    }
    // What it cannot be, and that no verb takes it for something else.
    let tflite =
        |more: &[&str]| refused(&[&["export", "run", "--format", "tflite", "--out", "none"], more].concat());
    let said = tflite(&["--preprocessing", "all"]);
    assert!(said.contains("a TFLite file takes images of the model's size"), "{said}");
    for flag in ["--half", "--int8"] {
        assert!(tflite(&[flag]).contains("a TFLite file has 32-bit floats"));
    }
    assert!(tflite(&["--runtime", "x"]).contains("--runtime is for --format web"));
    assert!(!place().path("none").exists());
    for verb in [&["show"][..], &["predict"]] {
        let more: &[&str] = if verb == ["predict"] { &["photos"] } else { &[] };
        let said = refused(&[verb, &["said.tflite"], more].concat());
        assert!(said.contains("said.tflite: is a TFLite file (LiteRT), which Ocelli writes"), "{said}");
    }
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
        "--runtime node_modules/onnxruntime-web",
    ] {
        assert!(said.contains(part), "{said:?} lacks {part:?}");
    }
    // A mirror that sends something else.
    let server = Server::new(|request: &Request| Reply::part(b"another archive", request));
    let mut command = place().ocelli(&["export", "run", "--format", "web", "--out", "none"]);
    let output = command.env("NPM_CONFIG_REGISTRY", format!("{}/npm/", server.url)).output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("is not the published one") && said.contains("--runtime node_modules"), "{said}");
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

/// An npm package with these files, as `npm pack` writes it.
fn archive(name: &str, contents: &[(&str, &[u8])]) -> String {
    let path = place().path(name);
    let file = fs::File::create(&path).unwrap();
    let gzip = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
    let mut tar = tar::Builder::new(gzip);
    for (name, bytes) in contents {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, format!("package/{name}"), *bytes).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn the_engine_is_taken_from_an_archive_and_a_failure_leaves_nothing() {
    let manifest: (&str, &[u8]) = ("package.json", br#"{"name": "onnxruntime-web", "version": "1.30.0"}"#);
    let script: (&str, &[u8]) = ("dist/ort.wasm.bundle.min.mjs", b"script");
    let engine: (&str, &[u8]) = ("dist/ort-wasm-simd-threaded.wasm", b"\0asm engine");
    let inner: (&str, &[u8]) = ("lib/dist/ort.wasm.bundle.min.mjs", b"another");
    let whole = archive("whole.tgz", &[inner, engine, manifest, script]);
    let web = |runtime: &str, out: &str| {
        let mut command = place().ocelli(&["export", "run", "--format", "web", "--quiet"]);
        command.args(["--runtime", runtime, "--out", out]);
        command
    };
    let written = web(&whole, "from-archive").output().unwrap();
    assert!(written.status.success(), "{}", stderr(&written));
    assert_eq!(place().read("from-archive/onnxruntime/ort.wasm.bundle.min.js"), "script");
    assert_eq!(place().read("from-archive/onnxruntime/ort-wasm-simd-threaded.wasm"), "\0asm engine");

    let older: (&str, &[u8]) = ("package.json", br#"{"name": "onnxruntime-web", "version": "1.2.3"}"#);
    let page: (&str, &[u8]) = ("dist/ort-wasm-simd-threaded.wasm", b"<!doctype html>");
    fs::write(place().path("cut.tgz"), &fs::read(&whole).unwrap()[..60]).unwrap();
    fs::write(place().path("text.tgz"), "no archive").unwrap();
    for (wrong, wanted) in [
        (archive("part.tgz", &[manifest, engine, inner]), "it has no file dist/ort.wasm.bundle.min.mjs"),
        (archive("older.tgz", &[older, engine, script]), "package.json says onnxruntime-web 1.2.3"),
        (archive("page.tgz", &[manifest, page, script]), "is not WebAssembly"),
        ("cut.tgz".to_owned(), "cannot unpack cut.tgz"),
        ("text.tgz".to_owned(), "cannot unpack text.tgz"),
    ] {
        let output = web(&wrong, "none").output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{wrong}");
        assert!(stderr(&output).contains(wanted), "{}", stderr(&output));
    }

    // The disk fails at one of the steps of a new folder, then of an empty one.
    for out in ["new", "empty"] {
        let make = || {
            if out == "empty" {
                fs::create_dir_all(place().path(out)).unwrap()
            }
        };
        make();
        let log = place().path("steps");
        let mut command = web(&whole, out);
        let output = command.env("OCELLI_FAULT", format!("log:{}", log.display())).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        let steps = fs::read_to_string(&log).unwrap().lines().count();
        fs::remove_file(&log).unwrap();
        assert!(steps > 20, "{steps}");
        for step in [1, 4, steps - 3, steps - 1, steps] {
            fs::remove_dir_all(place().path(out)).unwrap_or_default();
            make();
            let output = web(&whole, out).env("OCELLI_FAULT", format!("{step}:eio")).output().unwrap();
            assert_eq!(output.status.code(), Some(1), "step {step} of {steps}: {}", stderr(&output));
            assert!(stderr(&output).contains("cannot "), "{}", stderr(&output));
            assert_eq!(names(out), [""; 0], "step {step} of {steps}");
            assert_eq!(place().path(out).exists(), out == "empty", "step {step} of {steps}");
        }
    }
    let left = fs::read_dir(place().path("")).unwrap().map(|entry| entry.unwrap().file_name());
    let left: Vec<_> = left.filter(|name| name.to_string_lossy().starts_with(".writing-")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_run_whose_photos_have_moved_says_so() {
    let place = Place::with_photos(12);
    place.run(&[&small(&["--batch-size", "8"])[..], &["--out", "run", "--quiet"]].concat());
    fs::rename(place.path("photos"), place.path("moved")).unwrap();
    let said = place.refusal(&["export", "run"]);
    for part in ["those of its run have moved: ", "to compare on others:  --photos FOLDER"] {
        assert!(said.contains(part), "{said}");
    }
    place.run(&["export", "run", "--photos", "moved", "--quiet"]);
}
