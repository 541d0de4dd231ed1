//! Image data, and its inspection.

use std::path::PathBuf;

use ocelli::{ImageDataBuilder, Part, RunConfig, TableOptions, Task};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use serde_json::{Map, Value};

use crate::errors;
use crate::settings::merged;
use crate::values::{named, of_plain, plain};
use crate::work::{detached, library};

/// Labelled images with their split.
#[pyclass(frozen, module = "ocelli._ocelli")]
pub struct ImageData(pub ocelli::ImageData);

/// A configuration of these settings over the defaults of the library: without augmentation, as for data alone.
pub fn config(py: Python<'_>, data: PathBuf, settings: &Bound<'_, PyAny>) -> PyResult<RunConfig> {
    let over: Map<String, Value> = of_plain("settings", settings)?;
    let mut defaults = RunConfig::new("");
    defaults.augmentation = None;
    let defaults = serde_json::to_value(&defaults)
        .map_err(|error| errors::internal(py, &format!("the defaults cannot be written: {error}")))?;
    let found = settings.to_string();
    let config = serde_json::from_value::<RunConfig>(merged(defaults, over));
    let config = config.map_err(|error| errors::unreadable(py, "settings", found, &error.to_string()))?;
    Ok(RunConfig { data, ..config })
}

/// The part of the split of a name.
fn part_of(py: Python<'_>, name: &str) -> PyResult<Part> {
    match name {
        "train" => Ok(Part::Train),
        "valid" => Ok(Part::Valid),
        "test" => Ok(Part::Test),
        _ => Err(errors::setting(py, "part", name.to_owned(), "train, valid or test")),
    }
}

/// Where data comes from.
enum Source {
    Folder(PathBuf),
    Table(PathBuf, TableOptions),
    List(Vec<(PathBuf, Vec<String>)>, Task),
}

impl Source {
    /// From its kind, the path, and the options of a table or the labels of listed files.
    fn of(py: Python<'_>, kind: &str, source: &Bound<'_, PyAny>, more: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(match kind {
            "folder" => Self::Folder(source.extract()?),
            "table" => Self::Table(source.extract()?, of_plain("table", more)?),
            _ => Self::List(source.extract()?, named(py, &more.extract::<String>()?)?),
        })
    }

    fn builder(self, config: &RunConfig, threads: usize) -> ImageDataBuilder {
        match self {
            Self::Folder(path) => {
                let config = RunConfig { data: path, table: None, ..config.clone() };
                config.image_data(threads)
            }
            Self::Table(path, options) => {
                let config = RunConfig { data: path, table: Some(options), ..config.clone() };
                config.image_data(threads)
            }
            Self::List(photos, task) => {
                let mut data = ocelli::ImageData::from_labels(photos, task)
                    .size(config.size)
                    .framing(config.framing)
                    .filter(config.filter)
                    .balanced_sampling(config.balanced_sampling)
                    .seed(config.seed)
                    .batch_size(config.batch_size)
                    .threads(threads)
                    .channels(config.channels)
                    .bad_images(config.bad_images);
                if let Some(split) = &config.valid_split {
                    data = data.valid_split(split.clone());
                }
                if let Some(groups) = &config.groups {
                    data = data.groups(groups.clone());
                }
                if let Some(pixels) = config.max_pixels {
                    data = data.max_pixels(pixels);
                }
                if let Some(augmentation) = &config.augmentation {
                    data = data.augmentation(augmentation.clone());
                }
                match &config.decisions {
                    Some(path) => data.decisions(path),
                    None => data,
                }
            }
        }
    }
}

#[pymethods]
impl ImageData {
    /// Reads data: `kind` is folder, table or list.
    #[staticmethod]
    #[pyo3(signature = (kind, source, more, settings, threads))]
    fn load(
        py: Python<'_>,
        kind: &str,
        source: &Bound<'_, PyAny>,
        more: &Bound<'_, PyAny>,
        settings: &Bound<'_, PyAny>,
        threads: usize,
    ) -> PyResult<Self> {
        let source = Source::of(py, kind, source, more)?;
        let config = config(py, PathBuf::new(), settings)?;
        library(py, || source.builder(&config, threads).load()).map(Self)
    }

    #[getter]
    fn classes(&self) -> Vec<String> {
        self.0.classes().to_vec()
    }

    #[getter]
    fn is_multi_label(&self) -> bool {
        self.0.task() == Task::MultiLabel
    }

    #[getter]
    fn size(&self) -> usize {
        self.0.size()
    }

    #[getter]
    fn batch_size(&self) -> usize {
        self.0.batch_size()
    }

    #[getter]
    fn seed(&self) -> u64 {
        self.0.seed()
    }

    #[getter]
    fn notices(&self) -> Vec<String> {
        self.0.notices().to_vec()
    }

    #[getter]
    fn split_origin(&self) -> &'static str {
        self.0.split_origin()
    }

    /// Files and folders that were skipped, with the reason.
    #[getter]
    fn skipped(&self) -> Vec<(PathBuf, String)> {
        self.0.skipped().iter().map(|skipped| (skipped.path.clone(), skipped.reason.clone())).collect()
    }

    #[getter]
    fn augmentation<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        plain(py, &self.0.augmentation())
    }

    /// Training images, validation images, all.
    fn lengths(&self) -> (usize, usize, usize) {
        (self.0.train_len(), self.0.valid_len(), self.0.items().len())
    }

    /// Class, training images, validation images.
    fn class_counts(&self) -> Vec<(String, usize, usize)> {
        self.0.class_counts().into_iter().map(|count| (count.class, count.train, count.valid)).collect()
    }

    /// Id, path and labels of each item of a part, or of all.
    #[pyo3(signature = (part=None))]
    fn items(&self, py: Python<'_>, part: Option<&str>) -> PyResult<Vec<(String, PathBuf, Vec<String>)>> {
        let split = self.0.split();
        let part = part.map(|name| part_of(py, name)).transpose()?;
        let indices: Vec<usize> = match part {
            None => (0..self.0.items().len()).collect(),
            Some(Part::Train) => split.train.clone(),
            Some(Part::Valid) => split.valid.clone(),
            Some(Part::Test) => split.test.clone(),
        };
        let name = |class: &usize| self.0.classes()[*class].clone();
        let items = indices.into_iter().map(|index| {
            let item = &self.0.items()[index];
            (item.id.clone(), item.path.clone(), item.target.classes().iter().map(name).collect())
        });
        Ok(items.collect())
    }

    fn with_size(&self, py: Python<'_>, size: usize) -> PyResult<Self> {
        let data = self.0.clone();
        library(py, || data.with_size(size)).map(Self)
    }

    fn with_seed(&self, seed: u64) -> Self {
        Self(self.0.clone().with_seed(seed))
    }

    fn write_split(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        library(py, || self.0.write_split(path))
    }
}

/// Decodes every image once: what is notable, as a dictionary, and the page that shows it.
#[pyfunction]
fn inspect<'py>(
    py: Python<'py>,
    kind: &str,
    source: &Bound<'_, PyAny>,
    more: &Bound<'_, PyAny>,
    settings: &Bound<'_, PyAny>,
    threads: usize,
) -> PyResult<(Bound<'py, PyDict>, String)> {
    let source = Source::of(py, kind, source, more)?;
    let config = config(py, PathBuf::new(), settings)?;
    let (report, page) = library(py, || {
        let report = source.builder(&config, threads).inspect(|_| ())?;
        let decoder = ocelli::Decoder { channels: config.channels, ..ocelli::Decoder::default() };
        let page = ocelli_report::inspect_page(&report, &decoder, threads)?;
        Ok((report, page))
    })?;
    let (counts, findings, sizes) =
        detached(py, || (report.class_counts(), report.findings(), report.sizes()))?;
    let found = PyDict::new(py);
    found.set_item("images", report.items.len())?;
    found.set_item("classes", plain(py, &counts)?)?;
    found.set_item("findings", plain(py, &findings)?)?;
    found.set_item("notices", &report.notices)?;
    found.set_item("problem", &report.problem)?;
    let skipped = report.skipped.iter().map(|skipped| (skipped.path.clone(), skipped.reason.clone()));
    found.set_item("skipped", skipped.collect::<Vec<_>>())?;
    found.set_item("widths", sizes.0)?;
    found.set_item("heights", sizes.1)?;
    Ok((found, page))
}

/// Decodes images to `[side, side, 3]` pixels, framed as the data's: for pictures of photos.
#[pyfunction]
fn thumbnails(py: Python<'_>, paths: Vec<PathBuf>, side: u32) -> PyResult<Vec<Option<String>>> {
    use rayon::prelude::*;
    let thumbnail = |path: &PathBuf| {
        let image = ocelli::Decoder::default().decode_file_for(path, side).ok()?;
        Some(image.bounded(side).to_inline_jpeg(80))
    };
    detached(py, || paths.par_iter().map(thumbnail).collect())
}

pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<ImageData>()?;
    module.add_function(wrap_pyfunction!(inspect, module)?)?;
    module.add_function(wrap_pyfunction!(thumbnails, module)?)
}
