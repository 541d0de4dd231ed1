//! A model as a folder with a web page, which classifies photos in the browser.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use ocelli_data::{Preprocessing, Task, files};
use ocelli_hub::NpmPackage;
use ocelli_nn::Backbone;
use serde::Serialize;

use crate::error::{Error, Result};
use crate::export::{Agreement, ExportPhotos, OnnxOptions, OnnxPrecision};
use crate::file::write_whole;
use crate::metric::temperature::thresholds_with_temperature;
use crate::model::Model;

/// The page: with its script and its style, and the same for every model.
const PAGE: &str = include_str!("web/index.html");
/// The licence of onnxruntime-web; its npm package has no file of it.
const LICENCE: &str = include_str!("web/LICENSE-onnxruntime");

/// The files of the npm package that a page needs, and their names beside the page. Not every web server knows that a
/// file `.mjs` is a script.
const SCRIPT: (&str, &str) = ("dist/ort.wasm.bundle.min.mjs", "onnxruntime/ort.wasm.bundle.min.js");
const ENGINE: (&str, &str) = ("dist/ort-wasm-simd-threaded.wasm", "onnxruntime/ort-wasm-simd-threaded.wasm");
/// What says which package it is, and which version.
const MANIFEST: &str = "package.json";

/// How a model is written as a web page.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct WebOptions {
    /// How weights are stored.
    pub precision: OnnxPrecision,
    /// Whether probabilities are calibrated, as by [`Model::calibrated`].
    pub calibrated: bool,
}

/// The files of onnxruntime-web, the engine that runs a model in a browser.
#[derive(Clone)]
pub struct WebRuntime {
    script: Vec<u8>,
    engine: Vec<u8>,
}

impl WebRuntime {
    /// The npm package that [`pull`](Self::pull) downloads.
    pub const PACKAGE: NpmPackage = NpmPackage {
        name: "onnxruntime-web",
        version: "1.30.0",
        sha256: "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71",
        licence: "MIT",
    };

    /// From the unpacked npm package: the folder that holds `package.json` and `dist`.
    ///
    /// # Errors
    /// [`Error::NotWebRuntime`] where the folder does not hold its files.
    pub fn from_folder(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        let read = |name: &str| {
            files::read(folder.join(name)).map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => not_runtime(folder, format!("it has no file {name}")),
                _ => not_runtime(folder, format!("{name}: {}", ocelli_data::io_reason(&error))),
            })
        };
        Self::new(folder, [read(MANIFEST)?, read(SCRIPT.0)?, read(ENGINE.0)?])
    }

    /// From the archive of the npm package in the cache folder; `None` where it is not there, or damaged.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be read.
    pub fn find(cache: impl AsRef<Path>) -> Result<Option<Self>> {
        let archive = Self::PACKAGE.find(cache.as_ref())?;
        archive.map(|archive| Self::from_archive(&archive)).transpose()
    }

    /// From the archive of the npm package, downloaded into the cache folder unless it is there; from the registry that
    /// the environment variable `NPM_CONFIG_REGISTRY` names, or npm's own.
    ///
    /// # Errors
    /// [`Error::Hub`] where it cannot be downloaded; [`Error::Io`].
    #[cfg(feature = "hub")]
    pub fn pull(cache: impl AsRef<Path>, watch: &mut ocelli_hub::Watch) -> Result<Self> {
        let (registry, retry) = (ocelli_hub::npm_registry(), ocelli_hub::RetryPolicy::default());
        Self::from_archive(&Self::PACKAGE.pull(&registry, cache.as_ref(), &retry, watch)?)
    }

    fn from_archive(archive: &Path) -> Result<Self> {
        const NAMES: [&str; 3] = [MANIFEST, SCRIPT.0, ENGINE.0];
        let unpack = || {
            let mut found = [const { None }; 3];
            let file = io::BufReader::new(fs::File::open(archive)?);
            for entry in tar::Archive::new(GzDecoder::new(file)).entries()? {
                let mut entry = entry?;
                // npm puts everything into one folder.
                let path = entry.path()?;
                let inside: PathBuf = path.components().skip(1).collect();
                if let Some(at) = NAMES.iter().position(|name| inside == Path::new(name)) {
                    let mut bytes = Vec::new();
                    entry.read_to_end(&mut bytes)?;
                    found[at] = Some(bytes);
                }
            }
            Ok::<_, io::Error>(found)
        };
        let mut found = unpack().map_err(Error::io("unpack", archive))?;
        let mut take = |at: usize| {
            found[at].take().ok_or_else(|| not_runtime(archive, format!("it has no file {}", NAMES[at])))
        };
        Self::new(archive, [take(0)?, take(1)?, take(2)?])
    }

    fn new(from: &Path, [manifest, script, engine]: [Vec<u8>; 3]) -> Result<Self> {
        let manifest: serde_json::Value = serde_json::from_slice(&manifest)
            .map_err(|error| not_runtime(from, format!("{MANIFEST}: {error}")))?;
        let text = |key: &str| manifest[key].as_str().unwrap_or("?");
        let (name, version) = (text("name"), text("version"));
        if (name, version) != (Self::PACKAGE.name, Self::PACKAGE.version) {
            return Err(not_runtime(from, format!("{MANIFEST} says {name} {version}")));
        }
        if !engine.starts_with(b"\0asm") {
            return Err(not_runtime(from, format!("{} is not WebAssembly", ENGINE.0)));
        }
        Ok(Self { script, engine })
    }
}

fn not_runtime(path: &Path, reason: String) -> Error {
    Error::NotWebRuntime { path: path.to_owned(), version: WebRuntime::PACKAGE.version, reason }
}

impl std::fmt::Debug for WebRuntime {
    fn fmt(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        let bytes = self.script.len() + self.engine.len();
        formatter.debug_struct("WebRuntime").field("bytes", &bytes).finish_non_exhaustive()
    }
}

/// What the page has to know of the model: `model.json`.
#[derive(Serialize)]
struct Description<'a> {
    version: &'a str,
    arch: &'a str,
    task: Task,
    classes: &'a [String],
    preprocessing: Preprocessing,
    /// Where images may have several classes: the probability from which on each is predicted.
    #[serde(skip_serializing_if = "Option::is_none")]
    thresholds: Option<&'a [f32]>,
    /// Where the model has an unknown score: the score above which a photo is called unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    unknown_threshold: Option<f32>,
    calibrated: bool,
}

impl<B: Backbone> Model<B> {
    /// Writes a folder with a web page that classifies photos in the browser: the page, the model as an ONNX file, its
    /// classes and preprocessing, and the engine with its licence. Any web server can serve it. The file is compared
    /// with the model as by [`export_onnx`](Self::export_onnx). The folder must be new or empty.
    ///
    /// # Errors
    /// [`Error::FolderNotEmpty`]; [`Error::NotForBrowsers`] where the model reads images as no browser does; otherwise as
    /// [`export_onnx`](Self::export_onnx). Nothing is written then.
    pub fn export_web(
        &self,
        folder: impl AsRef<Path>,
        options: &WebOptions,
        runtime: &WebRuntime,
        photos: &ExportPhotos,
    ) -> Result<Agreement> {
        let folder = folder.as_ref();
        new_or_empty(folder)?;
        let config = self.config();
        if !config.channels.is_usual() {
            return Err(Error::NotForBrowsers);
        }
        let WebOptions { precision, calibrated } = *options;
        let options = OnnxOptions { precision, calibrated, ..OnnxOptions::default() };
        let (model, agreement) = self.onnx_file(&options, photos)?;
        let temperature = config.temperature.filter(|_| calibrated);
        let thresholds = thresholds_with_temperature(&config.thresholds(), temperature);
        let description = Description {
            version: &config.version,
            arch: &config.arch,
            task: config.task,
            classes: &config.classes,
            preprocessing: config.preprocessing,
            thresholds: (config.task == Task::MultiLabel).then_some(&thresholds[..]),
            unknown_threshold: self.unknown_threshold(),
            calibrated,
        };
        let description = serde_json::to_vec_pretty(&description).expect("plain values serialise");
        write_folder(
            folder,
            &[
                (SCRIPT.1, &runtime.script),
                (ENGINE.1, &runtime.engine),
                ("onnxruntime/LICENSE", LICENCE.as_bytes()),
                ("model.onnx", &model),
                ("model.json", &description),
                ("index.html", PAGE.as_bytes()),
            ],
        )?;
        Ok(agreement)
    }
}

/// Refuses a folder that holds anything.
fn new_or_empty(folder: &Path) -> Result<()> {
    match fs::read_dir(folder).map(|mut entries| entries.next().is_none()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::FolderNotEmpty { path: folder.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io("write", folder)(error)),
    }
}

/// Writes a new folder: beside it first, so that it is there whole or not at all. Into an empty one, which may be the
/// working folder, files are moved at the end.
fn write_folder(folder: &Path, contents: &[(&str, &[u8])]) -> Result<()> {
    let is_there = folder.is_dir();
    let place = if is_there { folder } else { files::folder_of(folder) };
    files::create_dir_all(place).map_err(Error::io("create", place))?;
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
    let temporary = builder.prefix(".writing-").tempdir_in(place).map_err(Error::io("write", folder))?;
    for (name, bytes) in contents {
        write_whole(&temporary.path().join(name), bytes)?;
    }
    if !is_there {
        files::rename(temporary.path(), folder).map_err(Error::io("write", folder))?;
        // It has another name now.
        let _ = temporary.keep();
        return Ok(());
    }
    let mut moved = Vec::new();
    for (name, _) in contents {
        let top = name.split('/').next().unwrap_or(name);
        let to = folder.join(top);
        if moved.contains(&to) {
            continue;
        }
        if let Err(error) = files::rename(temporary.path().join(top), &to) {
            for path in &moved {
                let _ = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
            }
            return Err(Error::io("write", &to)(error));
        }
        moved.push(to);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An npm package with these files.
    fn archive(contents: &[(&str, &[u8])]) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut tar =
            tar::Builder::new(flate2::write::GzEncoder::new(file.reopen().unwrap(), Default::default()));
        for (name, bytes) in contents {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, format!("package/{name}"), *bytes).unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap();
        file
    }

    #[test]
    fn the_engine_is_taken_from_the_packages_archive() {
        const MANIFEST_TEXT: &[u8] = br#"{"name": "onnxruntime-web", "version": "1.30.0"}"#;
        let whole: [(&str, &[u8]); 4] = [
            ("lib/dist/ort.wasm.bundle.min.mjs", b"another"),
            (ENGINE.0, b"\0asm engine"),
            (MANIFEST, MANIFEST_TEXT),
            (SCRIPT.0, b"script"),
        ];
        let runtime = WebRuntime::from_archive(archive(&whole).path()).unwrap();
        assert_eq!((&runtime.script[..], &runtime.engine[..]), (&b"script"[..], &b"\0asm engine"[..]));
        let said = |contents: &[(&str, &[u8])]| {
            WebRuntime::from_archive(archive(contents).path()).unwrap_err().to_string()
        };
        let without = said(&whole[..3]);
        assert!(without.ends_with("it has no file dist/ort.wasm.bundle.min.mjs"), "{without}");
        let other =
            said(&[(MANIFEST, br#"{"name": "onnxruntime-web", "version": "1.2.3"}"#), whole[1], whole[3]]);
        assert!(other.ends_with("package.json says onnxruntime-web 1.2.3"), "{other}");
        let no_engine = said(&[whole[2], whole[3], (ENGINE.0, b"<!doctype html>")]);
        assert!(no_engine.ends_with("is not WebAssembly"), "{no_engine}");
        let cut = archive(&whole);
        cut.as_file().set_len(60).unwrap();
        assert!(matches!(WebRuntime::from_archive(cut.path()), Err(Error::Io { .. })));
    }

    #[test]
    fn an_empty_folder_is_filled_and_a_failure_leaves_nothing() {
        let place = tempfile::tempdir().unwrap();
        let names = |folder: &Path| {
            let mut names: Vec<_> =
                fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            names.sort();
            names
        };
        let empty = place.path().join("empty");
        fs::create_dir(&empty).unwrap();
        new_or_empty(&empty).unwrap();
        write_folder(&empty, &[("a/1", b"1"), ("a/2", b"2"), ("b", b"3")]).unwrap();
        assert_eq!(names(&empty), ["a", "b"]);
        assert_eq!(fs::read(empty.join("a/2")).unwrap(), b"2");
        assert!(matches!(new_or_empty(&empty), Err(Error::FolderNotEmpty { .. })));
        // The second name cannot be written: the first is a file, not a folder.
        for folder in [place.path().join("new"), place.path().join("second")] {
            if folder.ends_with("second") {
                fs::create_dir(&folder).unwrap();
            }
            write_folder(&folder, &[("a", b"1"), ("a/2", b"2")]).unwrap_err();
            assert!(!folder.exists() || names(&folder).is_empty(), "{folder:?}");
        }
        assert_eq!(names(place.path()), ["empty", "second"]);
    }
}
