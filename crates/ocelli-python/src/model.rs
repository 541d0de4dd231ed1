//! Models: predictions and features of files, of bytes and of pixels.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use ocelli::{
    Agreement, Arch, Error, ExportPhotos, OnnxOptions, OnnxPrecision, Prediction, RgbImage, Sample,
    TfliteOptions, Tta,
};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyList};
use rayon::prelude::*;

use crate::errors;
use crate::settings::tta;
use crate::values::{Image, floats, image, named, plain};
use crate::work::{Watch, detached, library};

/// A trained classifier.
#[pyclass(frozen, module = "ocelli._ocelli")]
pub struct Model {
    model: ocelli::Model,
    /// Its file, or the folder of its run.
    path: Option<PathBuf>,
    /// The lowest probability of a predicted class.
    lowest_probability: f32,
}

/// Decoded images that are computed together.
const AT_ONCE: usize = 64;

type Results<T> = Vec<ocelli::Result<T>>;

/// An image in memory as the network takes it.
fn sample(model: &ocelli::Model, image: Image) -> ocelli::Result<Sample> {
    match image {
        Image::Bytes(bytes) => model.sample(&model.decode(&bytes)?),
        Image::Pixels(width, height, rgb) => match RgbImage::new(width, height, rgb) {
            Some(pixels) => model.sample(&pixels),
            // The Python code has checked shape and type.
            None => Err(no_pixels()),
        },
        Image::Path(path) => Err(Error::Photo { path, reason: "is a file".to_owned() }),
    }
}

fn no_pixels() -> Error {
    Error::Photo { path: "the image in memory".into(), reason: "has a side of 0 pixels".to_owned() }
}

/// What is computed of images, in their order: of files by `files`, of those in memory by `samples`.
fn in_order<T: Send>(
    model: &ocelli::Model,
    images: Vec<Image>,
    watch: &Watch,
    files: impl FnOnce(Vec<PathBuf>, &mut dyn FnMut(ocelli::Result<T>) -> ControlFlow<()>) -> ocelli::Result<()>,
    samples: impl Fn(&[Sample]) -> Results<T>,
) -> ocelli::Result<Results<T>> {
    let mut results: Vec<Option<ocelli::Result<T>>> = images.iter().map(|_| None).collect();
    let (mut paths, mut of_paths) = (Vec::new(), Vec::new());
    let (mut memory, mut of_memory) = (Vec::new(), Vec::new());
    for (index, image) in images.into_iter().enumerate() {
        match image {
            Image::Path(path) => {
                paths.push(path);
                of_paths.push(index);
            }
            image => {
                memory.push(image);
                of_memory.push(index);
            }
        }
    }
    if !paths.is_empty() {
        let mut each = of_paths.into_iter();
        files(paths, &mut |result| {
            if let Some(index) = each.next() {
                results[index] = Some(result);
            }
            watch.look()
        })?;
    }
    let mut memory = memory.into_iter();
    for indices in of_memory.chunks(AT_ONCE) {
        // Each image is dropped once it is prepared.
        let images: Vec<Image> = memory.by_ref().take(AT_ONCE).collect();
        let prepared: Results<Sample> = images.into_par_iter().map(|image| sample(model, image)).collect();
        let (mut ready, mut of_ready) =
            (Vec::with_capacity(indices.len()), Vec::with_capacity(indices.len()));
        for (prepared, &index) in prepared.into_iter().zip(indices) {
            match prepared {
                Ok(sample) => {
                    ready.push(sample);
                    of_ready.push(index);
                }
                Err(error) => results[index] = Some(Err(error)),
            }
        }
        for (result, index) in samples(&ready).into_iter().zip(of_ready) {
            results[index] = Some(result);
        }
        if watch.look().is_break() {
            return Err(Error::Stopped);
        }
    }
    Ok(results.into_iter().map(|result| result.unwrap_or(Err(Error::Stopped))).collect())
}

impl Model {
    pub fn new(model: ocelli::Model, path: Option<PathBuf>) -> Self {
        Self { model, path, lowest_probability: 0.0 }
    }

    fn changed(&self, model: ocelli::Model) -> Self {
        Self { model, path: self.path.clone(), lowest_probability: self.lowest_probability }
    }

    fn predictions(
        &self,
        images: Vec<Image>,
        tta: Option<Tta>,
        watch: &Watch,
    ) -> ocelli::Result<Results<Prediction>> {
        let files = |paths, each: &mut dyn FnMut(ocelli::Result<Prediction>) -> ControlFlow<()>| {
            for prediction in self.model.predict_with(paths, tta)? {
                if each(prediction).is_break() {
                    return Err(Error::Stopped);
                }
            }
            Ok(())
        };
        in_order(&self.model, images, watch, files, |samples| self.model.predict_samples(samples))
    }
}

/// Each exception, or none.
fn failures<'py, T>(py: Python<'py>, results: &Results<T>) -> PyResult<Bound<'py, PyList>> {
    let list = PyList::empty(py);
    for result in results {
        match result {
            Ok(_) => list.append(py.None())?,
            Err(error) => list.append(errors::raised(py, error))?,
        }
    }
    Ok(list)
}

/// The watched result of work, or the exception that ended it.
fn watched<T>(watch: &Watch, result: PyResult<T>) -> PyResult<T> {
    match watch.end() {
        Some(raised) => Err(raised),
        None => result,
    }
}

fn images(list: &Bound<'_, PyList>) -> PyResult<Vec<Image>> {
    list.iter().map(|each| image(&each)).collect()
}

/// Rows of numbers, zeros where there is none.
fn rows<'py, T>(
    py: Python<'py>,
    results: &Results<T>,
    width: usize,
    row: impl Fn(&T) -> &[f32],
) -> Bound<'py, PyByteArray> {
    let mut values = vec![0.0; results.len() * width];
    for (result, place) in results.iter().zip(values.chunks_exact_mut(width.max(1))) {
        if let Ok(found) = result {
            place.copy_from_slice(row(found));
        }
    }
    floats(py, &values)
}

/// Numbers as the bytes of f32, the unknown score of each image where there is one, and the errors.
type ImageOutputs<'py> = (Bound<'py, PyByteArray>, Vec<Option<f32>>, Bound<'py, PyList>);

/// Features as the bytes of f32, their number, and the errors.
type FeatureOutputs<'py> = (Bound<'py, PyByteArray>, usize, Bound<'py, PyList>);

/// The features of images; `width` gives their number where no image has any.
fn features_of<'py>(
    py: Python<'py>,
    results: &Results<Vec<f32>>,
    width: impl FnOnce() -> usize + Send,
) -> PyResult<FeatureOutputs<'py>> {
    let width = match results.iter().flatten().next() {
        Some(features) => features.len(),
        None => detached(py, width)?,
    };
    Ok((rows(py, results, width, |features| features), width, failures(py, results)?))
}

#[pymethods]
impl Model {
    #[staticmethod]
    fn load(py: Python<'_>, path: PathBuf) -> PyResult<Self> {
        library(py, || Ok(Self::new(ocelli::Model::load(&path)?, Some(path))))
    }

    /// The configuration in the model's file.
    fn config<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        plain(py, self.model.config())
    }

    #[getter]
    fn classes(&self) -> &[String] {
        &self.model.config().classes
    }

    #[getter]
    fn is_multi_label(&self) -> bool {
        self.model.config().task == ocelli::Task::MultiLabel
    }

    #[getter]
    fn thresholds(&self) -> Vec<f32> {
        self.model.config().thresholds()
    }

    #[getter]
    fn lowest_probability(&self) -> f32 {
        self.lowest_probability
    }

    #[getter]
    fn parameters(&self) -> usize {
        self.model.parameters()
    }

    #[getter]
    fn digest(&self) -> Option<&str> {
        self.model.digest()
    }

    #[getter]
    fn origin(&self) -> &str {
        self.model.origin()
    }

    #[getter]
    fn unknown_threshold(&self) -> Option<f32> {
        self.model.unknown_threshold()
    }

    /// Probabilities, `[images, classes]`; the unknown score of each; what went wrong with each.
    #[pyo3(signature = (list, views, mean))]
    fn predict<'py>(
        &self,
        py: Python<'py>,
        list: &Bound<'py, PyList>,
        views: Option<&Bound<'py, PyAny>>,
        mean: &str,
    ) -> PyResult<ImageOutputs<'py>> {
        let images = images(list)?;
        let tta = views.map(|views| tta(views, mean)).transpose()?;
        if tta.is_some() && images.iter().any(|image| !matches!(image, Image::Path(_))) {
            let expected = "left out for images in memory: views are drawn from a photo's path";
            return Err(errors::setting(py, "tta", "given".to_owned(), expected));
        }
        let watch = Watch::default();
        let results = watched(&watch, library(py, || self.predictions(images, tta, &watch)))?;
        let probabilities =
            rows(py, &results, self.model.config().classes.len(), |prediction| &prediction.probabilities);
        let unknown = results.iter().map(|result| Some(result.as_ref().ok()?.unknown?.score)).collect();
        Ok((probabilities, unknown, failures(py, &results)?))
    }

    /// Features, row by row; their number; what went wrong with each image.
    fn features<'py>(&self, py: Python<'py>, list: &Bound<'py, PyList>) -> PyResult<FeatureOutputs<'py>> {
        let (images, watch) = (images(list)?, Watch::default());
        let results = watched(
            &watch,
            library(py, || {
                let embedder = ocelli::Embedder::of_model(&self.model);
                let files = |paths, each: &mut dyn FnMut(ocelli::Result<Vec<f32>>) -> ControlFlow<()>| {
                    for embedding in embedder.embed::<PathBuf>(paths)? {
                        if each(embedding.map(|embedding| embedding.features)).is_break() {
                            return Err(Error::Stopped);
                        }
                    }
                    Ok(())
                };
                let samples = |samples: &[Sample]| self.model.embed_samples(samples);
                in_order(&self.model, images, &watch, files, samples)
            }),
        )?;
        features_of(py, &results, || ocelli::Embedder::of_model(&self.model).features())
    }

    fn calibrated(&self, py: Python<'_>) -> PyResult<Self> {
        let model = self.model.clone();
        library(py, || model.calibrated()).map(|model| self.changed(model))
    }

    fn min_probability(&self, py: Python<'_>, probability: f32) -> PyResult<Self> {
        let model = self.model.clone();
        let model = library(py, || model.min_probability(probability))?;
        Ok(Self { lowest_probability: probability, ..self.changed(model) })
    }

    fn with_thresholds(&self, py: Python<'_>, thresholds: Vec<f32>) -> PyResult<Self> {
        let model = self.model.clone();
        library(py, || model.with_thresholds(thresholds)).map(|model| self.changed(model))
    }

    /// Features in 8-bit integers, by these photos, or by those of the model's run.
    fn int8(&self, py: Python<'_>, photos: Option<Vec<PathBuf>>) -> PyResult<Self> {
        let model = self.model.clone();
        let quantized = library(py, || match (&photos, &self.path) {
            (Some(photos), _) => model.int8(photos),
            (None, Some(path)) => model.int8_of_run(path),
            (None, None) => model.int8(&[]),
        });
        quantized.map(|model| self.changed(model))
    }

    #[getter]
    fn is_int8(&self) -> bool {
        self.model.is_int8()
    }

    fn threads(&self, threads: usize) -> Self {
        self.changed(self.model.clone().threads(threads))
    }

    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        library(py, || self.model.save(path))
    }

    /// Writes an ONNX or a TFLite file: how it agrees with the model.
    #[pyo3(signature = (path, format, preprocessing, output, precision, calibrated, photos))]
    #[allow(clippy::too_many_arguments)] // they are named in Python
    fn export<'py>(
        &self,
        py: Python<'py>,
        path: PathBuf,
        format: &str,
        preprocessing: &str,
        output: &str,
        precision: &str,
        calibrated: bool,
        photos: Option<Vec<PathBuf>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (preprocessing, output) = (named(py, preprocessing)?, named(py, output)?);
        let precision = match precision {
            "f32" => OnnxPrecision::F32,
            "f16" => OnnxPrecision::F16,
            "int8" => OnnxPrecision::Int8,
            _ => return Err(errors::setting(py, "precision", precision.to_owned(), "f32, f16 or int8")),
        };
        if !matches!(format, "onnx" | "tflite") {
            return Err(errors::setting(py, "format", format.to_owned(), "onnx or tflite"));
        }
        if format == "tflite" && precision != OnnxPrecision::F32 {
            return Err(errors::setting(
                py,
                "precision",
                "other than f32".to_owned(),
                "f32 in a TFLite file",
            ));
        }
        let agreement: Agreement = library(py, || {
            let photos = match (photos, &self.path) {
                (Some(photos), _) => ExportPhotos { validation: photos, ..ExportPhotos::default() },
                (None, Some(path)) => ExportPhotos::of_run(path)?,
                (None, None) => ExportPhotos::default(),
            };
            if format == "onnx" {
                let options = OnnxOptions { preprocessing, output, precision, calibrated };
                return self.model.export_onnx(path, &options, &photos);
            }
            self.model.export_tflite(path, &TfliteOptions { preprocessing, output, calibrated }, &photos)
        })?;
        plain(py, &agreement)
    }
}

/// A backbone of the registry without a classifier.
#[pyclass(frozen, module = "ocelli._ocelli")]
pub struct Embedder(ocelli::Embedder);

#[pymethods]
impl Embedder {
    #[staticmethod]
    #[pyo3(signature = (arch, size, layer, threads))]
    fn pretrained(
        py: Python<'_>,
        arch: &str,
        size: Option<usize>,
        layer: Option<&str>,
        threads: usize,
    ) -> PyResult<Self> {
        let arch: Arch = named(py, arch)?;
        library(py, || {
            let embedder = ocelli::Embedder::pretrained(arch, size, None)?.threads(threads);
            Ok(Self(match layer {
                Some(layer) => embedder.layer(layer)?,
                None => embedder,
            }))
        })
    }

    /// Features of files, row by row; how many there are of each; the files that cannot be read. They are taken from the
    /// cache folder, and written there.
    #[pyo3(signature = (paths, cache))]
    #[allow(clippy::type_complexity)]
    fn embed<'py>(
        &self,
        py: Python<'py>,
        paths: Vec<PathBuf>,
        cache: Option<PathBuf>,
    ) -> PyResult<(Bound<'py, PyByteArray>, usize, Vec<(PathBuf, String)>)> {
        let watch = Watch::default();
        let result = library(py, || {
            self.0.embed_all(&paths, cache.as_deref().map(Path::new), &mut |_, _| watch.look())
        });
        let found = watched(&watch, result)?;
        let width = match found.paths.len() {
            0 => detached(py, || self.0.features())?,
            photos => found.features.len() / photos,
        };
        let skipped = found.skipped.into_iter().map(|skipped| (skipped.path, skipped.reason)).collect();
        Ok((floats(py, &found.features), width, skipped))
    }

    /// As [`embed`](Self::embed), of files in memory and of pixels; nothing is cached.
    fn embed_memory<'py>(&self, py: Python<'py>, list: &Bound<'py, PyList>) -> PyResult<FeatureOutputs<'py>> {
        let (images, watch) = (images(list)?, Watch::default());
        let results = watched(
            &watch,
            library(py, || {
                let mut results: Results<Vec<f32>> = Vec::with_capacity(images.len());
                let mut images = images.into_iter();
                while images.len() > 0 {
                    let some: Vec<Image> = images.by_ref().take(AT_ONCE).collect();
                    let decoded: Results<RgbImage> =
                        some.into_par_iter().map(|image| self.decoded(image)).collect();
                    let mut ready = Vec::with_capacity(decoded.len());
                    let refused: Vec<Option<Error>> = decoded
                        .into_iter()
                        .map(|decoded| decoded.map(|image| ready.push(image)).err())
                        .collect();
                    let mut features = self.0.embed_images(&ready)?.into_iter();
                    results.extend(refused.into_iter().map(|refused| match refused {
                        Some(error) => Err(error),
                        None => features.next().unwrap_or_else(|| Err(no_pixels())),
                    }));
                    if watch.look().is_break() {
                        return Err(Error::Stopped);
                    }
                }
                Ok(results)
            }),
        )?;
        features_of(py, &results, || self.0.features())
    }

    #[getter]
    fn size(&self) -> usize {
        self.0.preprocessing().size
    }
}

impl Embedder {
    fn decoded(&self, image: Image) -> ocelli::Result<RgbImage> {
        let needed = self.0.preprocessing().needed();
        let refused = |path: &Path, reason: String| Error::Photo { path: path.to_owned(), reason };
        match image {
            Image::Bytes(bytes) => self
                .0
                .decoder()
                .decode_for(&bytes, needed)
                .map_err(|reason| refused(Path::new("the image in memory"), reason.to_string())),
            Image::Pixels(width, height, rgb) => RgbImage::new(width, height, rgb).ok_or_else(no_pixels),
            Image::Path(path) => Ok(self.0.decoder().decode_file_for(&path, needed)?),
        }
    }
}
