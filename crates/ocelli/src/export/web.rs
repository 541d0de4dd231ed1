//! A model as a folder with a web page, which classifies photos in the browser.

use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use ocelli_data::files::{self, NewFolder};
use ocelli_data::{Preprocessing, Task};
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

    /// From the archive of the npm package, as `npm pack` writes it.
    ///
    /// # Errors
    /// [`Error::Io`] where it is no archive, and [`Error::NotWebRuntime`] where it does not hold the files.
    pub fn from_archive(archive: impl AsRef<Path>) -> Result<Self> {
        const NAMES: [&str; 3] = [MANIFEST, SCRIPT.0, ENGINE.0];
        let archive = archive.as_ref();
        let unpack = || {
            let mut found = [const { None }; 3];
            let file = io::BufReader::new(fs::File::open(archive)?);
            for entry in tar::Archive::new(GzDecoder::new(file)).entries()? {
                let mut entry = entry?;
                // npm puts everything into one folder.
                let inside: PathBuf = entry.path()?.components().skip(1).collect();
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

    /// From the archive of the npm package in the cache folder; `None` where it is not there, or damaged.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be read.
    pub fn find(cache: impl AsRef<Path>) -> Result<Option<Self>> {
        let archive = Self::PACKAGE.find(cache.as_ref())?;
        archive.map(Self::from_archive).transpose()
    }

    /// From the archive of the npm package, downloaded into the cache folder unless it is there; from the registry that
    /// the environment variable `NPM_CONFIG_REGISTRY` names, or npm's own.
    ///
    /// # Errors
    /// [`Error::Hub`] where it cannot be downloaded; [`Error::Io`].
    #[cfg(feature = "hub")]
    pub fn pull(cache: impl AsRef<Path>, watch: &mut ocelli_hub::Watch) -> Result<Self> {
        let (registry, retry) = (ocelli_hub::npm_registry(), ocelli_hub::RetryPolicy::default());
        Self::from_archive(Self::PACKAGE.pull(&registry, cache.as_ref(), &retry, watch)?)
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
        if !files::is_new_or_empty(folder).map_err(Error::io("write", folder))? {
            return Err(Error::FolderNotEmpty { path: folder.to_owned() });
        }
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
        let new = NewFolder::begin(folder).map_err(Error::io("write", folder))?;
        let contents: [(&str, &[u8]); 6] = [
            (SCRIPT.1, &runtime.script),
            (ENGINE.1, &runtime.engine),
            ("onnxruntime/LICENSE", LICENCE.as_bytes()),
            ("model.onnx", &model),
            ("model.json", &description),
            ("index.html", PAGE.as_bytes()),
        ];
        for (name, bytes) in contents {
            write_whole(&new.path().join(name), bytes)?;
        }
        new.finish().map_err(Error::io("write", folder))?;
        Ok(agreement)
    }
}
