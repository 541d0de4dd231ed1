//! Predictions of labelled images, with the names of images and classes.

use std::path::PathBuf;

use ocelli::interpret::{Ranked, Ranking};
use ocelli::{Metric, Predictions};
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyDict};

use crate::errors;
use crate::values::{floats, named, plain};
use crate::work::{detached, library};

/// Predictions of labelled images.
#[pyclass(frozen, module = "ocelli._ocelli")]
pub struct Interpretation(pub ocelli::Interpretation);

impl Interpretation {
    fn predictions(&self) -> &Predictions {
        &self.0.predictions
    }
}

#[pymethods]
impl Interpretation {
    fn __len__(&self) -> usize {
        self.0.len()
    }

    #[getter]
    fn classes(&self) -> &[String] {
        &self.0.classes
    }

    #[getter]
    fn ids(&self) -> &[String] {
        &self.0.ids
    }

    #[getter]
    fn paths(&self) -> Vec<PathBuf> {
        self.0.paths.clone()
    }

    #[getter]
    fn is_multi_label(&self) -> bool {
        self.0.task() == ocelli::Task::MultiLabel
    }

    /// `[images, classes]`
    fn probabilities<'py>(&self, py: Python<'py>) -> Bound<'py, PyByteArray> {
        floats(py, self.predictions().probabilities())
    }

    #[getter]
    fn losses(&self) -> &[f64] {
        self.predictions().losses()
    }

    #[getter]
    fn thresholds(&self) -> &[f32] {
        self.predictions().thresholds()
    }

    /// The true classes of each image.
    fn targets(&self) -> Vec<Vec<usize>> {
        self.predictions().targets().iter().map(|target| target.classes().to_vec()).collect()
    }

    /// The predicted classes of each image.
    fn predicted(&self) -> Vec<Vec<usize>> {
        (0..self.0.len()).map(|index| self.predictions().predicted_labels(index)).collect()
    }

    fn loss(&self) -> f64 {
        self.predictions().loss()
    }

    /// Count, value and 95 % interval.
    fn accuracy(&self) -> (usize, f64, (f64, f64)) {
        let accuracy = self.predictions().accuracy();
        (accuracy.count, accuracy.value(), accuracy.interval())
    }

    /// The value of a metric and its 95 % interval.
    fn estimate(&self, py: Python<'_>, metric: &str) -> PyResult<(f64, (f64, f64))> {
        let metric: Metric = named(py, metric)?;
        let estimate = library(py, || Ok(self.predictions().estimate(metric)))?;
        Ok((estimate.value, estimate.interval))
    }

    fn class_table<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let table = detached(py, || self.0.class_table())?;
        plain(py, &table.rows)
    }

    /// The counts of the confusion matrix, `[true, predicted]`, and its chart as SVG.
    fn confusion_matrix(&self, py: Python<'_>) -> PyResult<(Vec<Vec<usize>>, Option<String>)> {
        let (matrix, drawn) = library(py, || {
            let drawn = self.0.drawn_matrix().map(|matrix| matrix.plot().to_svg());
            Ok((self.0.confusion_matrix()?, drawn))
        })?;
        Ok((matrix.counts, drawn))
    }

    fn most_confused<'py>(&self, py: Python<'py>, minimum: usize) -> PyResult<Bound<'py, PyAny>> {
        plain(py, &library(py, || self.0.most_confused(minimum))?)
    }

    /// Images of a class in an order, or those with the highest losses.
    #[pyo3(signature = (order, class_name, images))]
    fn ranked<'py>(
        &self,
        py: Python<'py>,
        order: &str,
        class_name: Option<&str>,
        images: usize,
    ) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let order = match order {
            "most-correct" => Ranking::MostCorrect,
            "most-incorrect" => Ranking::MostIncorrect,
            _ => Ranking::MostUncertain,
        };
        let ranked = library(py, || match class_name {
            Some(class) => self.0.ranked(order, class, images),
            None => Ok(self.0.top_losses(images)),
        })?;
        ranked.iter().map(|ranked| self.described(py, ranked)).collect()
    }

    fn label_errors<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        plain(py, &detached(py, || self.0.label_errors())?)
    }

    fn calibration<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        plain(py, &detached(py, || self.0.calibration())?)
    }

    /// The threshold of each class with the highest F of this beta.
    fn best_thresholds(&self, py: Python<'_>, beta: f64) -> PyResult<Vec<f32>> {
        if !(beta.is_finite() && beta > 0.0) {
            return Err(errors::setting(py, "beta", beta.to_string(), "a number above 0"));
        }
        detached(py, || self.predictions().best_thresholds(beta))
    }

    fn write_csv(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        library(py, || self.0.write_csv(path))
    }
}

impl Interpretation {
    fn described<'py>(&self, py: Python<'py>, ranked: &Ranked) -> PyResult<Bound<'py, PyDict>> {
        let row = PyDict::new(py);
        row.set_item("row", ranked.index)?;
        row.set_item("id", &ranked.id)?;
        row.set_item("path", &ranked.path)?;
        row.set_item("truth", &ranked.truth)?;
        row.set_item("predicted", &ranked.predicted)?;
        row.set_item("probability", ranked.probability)?;
        row.set_item("loss", ranked.loss)?;
        Ok(row)
    }
}
