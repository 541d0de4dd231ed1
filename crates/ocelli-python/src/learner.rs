//! The learner.

use std::path::PathBuf;

use ocelli::{
    Arch, EpochRecord, LrFind, Metric, Part, Precision, Recipe, Schedule, TensorFile, TrainOptions,
};
use pyo3::prelude::*;

use crate::data::ImageData;
use crate::errors;
use crate::interpretation::Interpretation;
use crate::live::LivePage;
use crate::model::Model;
use crate::settings::tta;
use crate::values::{learning_rates, named, of_plain, plain};
use crate::work::{Exclusive, Watch, detached, library};

/// What Python calls with each event.
type Callback = Option<Py<PyAny>>;

/// A learner of the registry's backbones.
#[pyclass(frozen, module = "ocelli._ocelli")]
pub struct Learner(Exclusive<ocelli::Learner>);

/// The curve of the learning rate finder.
#[pyclass(frozen, module = "ocelli._ocelli")]
pub struct LrCurve(ocelli::LrCurve);

fn records<'py>(py: Python<'py>, records: &[EpochRecord]) -> PyResult<Bound<'py, PyAny>> {
    plain(py, &records)
}

/// Predictions with the names of the learner's items.
fn interpretation(predictions: ocelli::Predictions, learner: &ocelli::Learner) -> Interpretation {
    Interpretation(ocelli::Interpretation::new(predictions, learner.data().items()))
}

#[pymethods]
impl Learner {
    #[staticmethod]
    #[pyo3(signature = (arch, data, weights, cache))]
    fn pretrained(
        py: Python<'_>,
        arch: &str,
        data: &ImageData,
        weights: Option<PathBuf>,
        cache: Option<PathBuf>,
    ) -> PyResult<Self> {
        let arch: Arch = named(py, arch)?;
        let (watch, data) = (Watch::default(), data.0.clone());
        let observer = watch.clone();
        let learner = library(py, move || {
            let mut learner = match weights {
                Some(path) => ocelli::Learner::with_weights(arch, &TensorFile::read(path)?, data)?,
                None => ocelli::Learner::pretrained(arch, data)?,
            };
            if let Some(cache) = cache {
                learner.set_cache(cache);
            }
            learner.observe(observer);
            Ok(learner)
        })?;
        Ok(Self(Exclusive::new("learner", learner, watch)))
    }

    fn fit<'py>(
        &self,
        py: Python<'py>,
        lr: &Bound<'py, PyAny>,
        schedule: &Bound<'py, PyAny>,
        on_event: Callback,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (rates, schedule) = (learning_rates(lr)?, of_plain::<Schedule>("schedule", schedule)?);
        records(py, &self.0.work(py, on_event, move |learner| learner.fit(rates, schedule))?)
    }

    fn fine_tune<'py>(
        &self,
        py: Python<'py>,
        epochs: usize,
        on_event: Callback,
    ) -> PyResult<Bound<'py, PyAny>> {
        records(py, &self.0.work(py, on_event, move |learner| learner.fine_tune(epochs))?)
    }

    fn resume<'py>(&self, py: Python<'py>, on_event: Callback) -> PyResult<Bound<'py, PyAny>> {
        records(py, &self.0.work(py, on_event, |learner| learner.resume())?)
    }

    /// The predictions of the validation images, with the best weights.
    fn run_recipe(
        &self,
        py: Python<'_>,
        recipe: &Bound<'_, PyAny>,
        on_event: Callback,
    ) -> PyResult<Interpretation> {
        let recipe: Recipe = of_plain("recipe", recipe)?;
        self.0.work(py, on_event, move |learner| {
            let result = learner.run_recipe(&recipe)?;
            Ok(interpretation(result.predictions, learner))
        })
    }

    fn lr_find(
        &self,
        py: Python<'_>,
        start_lr: &Bound<'_, PyAny>,
        end_lr: f64,
        steps: usize,
        batch_size: Option<usize>,
        on_event: Callback,
    ) -> PyResult<LrCurve> {
        let mut find = LrFind::default().start_lr(learning_rates(start_lr)?).end_lr(end_lr).steps(steps);
        if let Some(images) = batch_size {
            find = find.batch_size(images);
        }
        self.0.work(py, on_event, move |learner| learner.lr_find(find)).map(LrCurve)
    }

    fn freeze(&self, py: Python<'_>) -> PyResult<()> {
        self.0.read(py, |learner| learner.freeze())
    }

    fn freeze_to(&self, py: Python<'_>, group: usize) -> PyResult<()> {
        self.0.work(py, None, move |learner| learner.freeze_to(group))
    }

    fn unfreeze(&self, py: Python<'_>) -> PyResult<()> {
        self.0.read(py, |learner| learner.unfreeze())
    }

    /// Caches features of the images, or of augmented copies.
    fn cache_features(
        &self,
        py: Python<'_>,
        augmented_copies: Option<usize>,
        on_event: Callback,
    ) -> PyResult<()> {
        self.0.work(py, on_event, move |learner| match augmented_copies {
            None => learner.cache_features(),
            Some(copies) => learner.cache_augmented_copies(copies),
        })
    }

    fn stream_images(&self, py: Python<'_>) -> PyResult<()> {
        self.0.read(py, |learner| learner.stream_images())
    }

    fn predict(&self, py: Python<'_>, part: &str, on_event: Callback) -> PyResult<Interpretation> {
        let part = match part {
            "train" => Part::Train,
            "valid" => Part::Valid,
            "test" => Part::Test,
            _ => return Err(errors::setting(py, "part", part.to_owned(), "train, valid or test")),
        };
        self.0.work(py, on_event, move |learner| {
            let predictions = learner.predict(part)?;
            Ok(interpretation(predictions, learner))
        })
    }

    fn tta(
        &self,
        py: Python<'_>,
        views: &Bound<'_, PyAny>,
        mean: &str,
        on_event: Callback,
    ) -> PyResult<Interpretation> {
        let tta = tta(views, mean)?;
        self.0.work(py, on_event, move |learner| {
            let predictions = learner.tta(tta)?;
            Ok(interpretation(predictions, learner))
        })
    }

    /// Records what is done from now on in a folder, and shows it on a page.
    fn watch(&self, py: Python<'_>, folder: PathBuf, port: u16) -> PyResult<LivePage> {
        let path = folder.clone();
        let recording = self.0.work(py, None, move |learner| learner.record(path))?;
        LivePage::start(py, folder, Some(recording), port)
    }

    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        self.0.work(py, None, move |learner| learner.save(path))
    }

    fn load(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        self.0.work(py, None, move |learner| learner.load_weights(path))
    }

    fn to_model(&self, py: Python<'_>) -> PyResult<Model> {
        let model = self.0.read(py, |learner| learner.to_model())?;
        Ok(Model::new(model, None))
    }

    fn data(&self, py: Python<'_>) -> PyResult<ImageData> {
        self.0.read(py, |learner| ImageData(learner.data().clone()))
    }

    fn set_data(&self, py: Python<'_>, data: &ImageData) -> PyResult<()> {
        let data = data.0.clone();
        self.0.work(py, None, move |learner| learner.set_data(data))
    }

    fn set_size(&self, py: Python<'_>, size: usize) -> PyResult<()> {
        self.0.work(py, None, move |learner| learner.set_size(size))
    }

    /// Changes some of the options of training.
    fn set_options(&self, py: Python<'_>, options: &Bound<'_, PyAny>) -> PyResult<()> {
        let options: TrainOptions = of_plain("options", options)?;
        self.0.read(py, move |learner| {
            learner.set_options(options);
        })
    }

    fn set_precision(&self, py: Python<'_>, precision: &str) -> PyResult<()> {
        let precision: Precision = named(py, precision)?;
        self.0.read(py, move |learner| {
            learner.set_precision(precision);
        })
    }

    fn set_int8_features(&self, py: Python<'_>, int8: bool) -> PyResult<()> {
        self.0.work(py, None, move |learner| learner.set_int8_features(int8).map(|_| ()))
    }

    fn measure(&self, py: Python<'_>, metric: &str) -> PyResult<()> {
        let metric: Metric = named(py, metric)?;
        self.0.read(py, move |learner| {
            learner.measure(metric);
        })
    }

    fn keep_best(&self, py: Python<'_>, metric: Option<&str>, patience: Option<usize>) -> PyResult<()> {
        let metric = metric.map(|name| named::<Metric>(py, name)).transpose()?;
        self.0.read(py, move |learner| {
            learner.keep_best(metric).early_stopping(patience);
        })
    }

    fn return_to_best(&self, py: Python<'_>) -> PyResult<()> {
        self.0.read(py, |learner| learner.return_to_best())
    }

    fn best<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let best = self.0.read(py, |learner| learner.best().cloned())?;
        plain(py, &best)
    }

    fn history<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let history = self.0.read(py, |learner| learner.history().to_vec())?;
        records(py, &history)
    }

    fn arch(&self, py: Python<'_>) -> PyResult<String> {
        self.0.read(py, |learner| learner.arch().to_owned())
    }

    /// What is trained, in words.
    fn summary(&self, py: Python<'_>) -> PyResult<String> {
        self.0.read(py, |learner| learner.summary().to_string())
    }

    /// The number of frozen groups, and whether their features are cached.
    fn freezing(&self, py: Python<'_>) -> PyResult<(usize, bool)> {
        self.0.read(py, |learner| (learner.freezing().frozen(), learner.freezing().is_cached()))
    }
}

#[pymethods]
impl LrCurve {
    #[getter]
    fn learning_rates(&self) -> &[f64] {
        &self.0.rates
    }

    #[getter]
    fn losses(&self) -> &[f64] {
        &self.0.losses
    }

    #[getter]
    fn smoothed(&self) -> &[f64] {
        &self.0.smoothed
    }

    #[getter]
    fn diverged(&self) -> Option<f64> {
        self.0.diverged
    }

    /// The learning rates of all groups, the head's, and the rule in words.
    fn suggestion(&self, py: Python<'_>) -> PyResult<([f64; 3], f64, String)> {
        let suggestion = library(py, || self.0.suggestion())?;
        let rates = self.0.rates_at(suggestion.rate);
        Ok((rates.0, suggestion.rate, suggestion.rule.to_string()))
    }

    /// fastai's four rules.
    fn suggestions<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        plain(py, &library(py, || self.0.suggestions())?)
    }

    fn to_svg(&self, py: Python<'_>) -> PyResult<String> {
        detached(py, || self.0.plot().to_svg())
    }

    fn to_csv(&self) -> String {
        self.0.to_csv()
    }
}
