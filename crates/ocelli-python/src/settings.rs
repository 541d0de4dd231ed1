//! Settings by name, recipes and schedules as plain values: what the Python code puts together and hands back.

use ocelli::{
    Arch, Augmentation, Epochs, Framing, OneCycle, Optimizer, Preset, Recipe, RecipeBuilder, Schedule, Sgdr,
    Tta, TtaMean, TtaViews, WeightDecay,
};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use serde_json::{Map, Value};

use crate::values::{learning_rates, named, of_plain, plain};
use crate::{errors, work};

/// The preset augmentation of a name, or several joined by `+`.
#[pyfunction]
fn augmentation<'py>(py: Python<'py>, names: &str) -> PyResult<Bound<'py, PyAny>> {
    let mut parts = names.split('+').map(|name| named::<Augmentation>(py, name.trim()));
    let first = parts.next().unwrap_or_else(|| named(py, ""))?;
    plain(py, &parts.try_fold(first, |all, next| Ok::<_, PyErr>(all.and(next?)))?)
}

/// How photos are made square, by name.
#[pyfunction]
fn framing<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    plain(py, &named::<Framing>(py, name)?)
}

/// An optimizer by name.
#[pyfunction]
fn optimizer<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    plain(py, &named::<Optimizer>(py, name)?)
}

/// Weight decay of all groups.
#[pyfunction]
fn weight_decay<'py>(py: Python<'py>, decay: f64) -> PyResult<Bound<'py, PyAny>> {
    plain(py, &WeightDecay::from(decay))
}

/// A schedule: `epochs`, `one-cycle` or `sgdr`, with the settings of its builder.
#[pyfunction]
#[pyo3(signature = (kind, epochs, **settings))]
fn schedule<'py>(
    py: Python<'py>,
    kind: &str,
    epochs: usize,
    settings: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let number = |name: &str| match settings.map(|settings| settings.get_item(name)).transpose()?.flatten() {
        Some(value) => Ok::<_, PyErr>(Some(value)),
        None => Ok(None),
    };
    let schedule: Schedule = match kind {
        "one-cycle" => {
            let mut cycle = OneCycle::epochs(epochs);
            if let Some(value) = number("pct_start")? {
                cycle = cycle.pct_start(value.extract()?);
            }
            if let Some(value) = number("div")? {
                cycle = cycle.div(value.extract()?);
            }
            if let Some(value) = number("div_final")? {
                cycle = cycle.div_final(value.extract()?);
            }
            if let Some(value) = number("momentum")? {
                let (high, low) = value.extract()?;
                cycle = cycle.momentum(high, low);
            }
            cycle.into()
        }
        "sgdr" => {
            let mut cycles = Sgdr::cycles(epochs);
            if let Some(value) = number("cycle_len")? {
                cycles = cycles.len(value.extract()?);
            }
            if let Some(value) = number("cycle_mult")? {
                cycles = cycles.mult(value.extract()?);
            }
            cycles.into()
        }
        _ => Epochs(epochs).into(),
    };
    plain(py, &schedule)
}

/// Test-time augmentation: a number of random views, or `corners`; and how views are averaged.
pub fn tta(views: &Bound<'_, PyAny>, mean: &str) -> PyResult<Tta> {
    let py = views.py();
    let expected = "a number of random views from 1 on, or \"corners\"";
    let refused = || errors::setting(py, "tta", views.to_string(), expected);
    let views = match (views.extract::<usize>(), views.extract::<&str>()) {
        (Ok(number @ 1..), _) => TtaViews::Random(number),
        (_, Ok("corners")) => TtaViews::Corners,
        _ => return Err(refused()),
    };
    let mean = match mean {
        "probabilities" => TtaMean::Probabilities,
        "logits" => TtaMean::Logits,
        _ => return Err(errors::setting(py, "mean", mean.to_owned(), "probabilities or logits")),
    };
    Ok(Tta { views, mean })
}

/// The recipe of a preset with changes: `augmented`, `then_sizes`, and the settings of the builder.
#[pyfunction]
#[pyo3(signature = (preset, size, **settings))]
fn recipe<'py>(
    py: Python<'py>,
    preset: &str,
    size: usize,
    settings: Option<&Bound<'py, PyDict>>,
) -> PyResult<Bound<'py, PyAny>> {
    let preset: Preset = named(py, preset)?;
    let mut builder = RecipeBuilder::new(preset, size).augmented(preset.augmentation().is_some());
    for (name, value) in settings.into_iter().flatten() {
        builder = match name.extract::<&str>()? {
            "augmented" => builder.augmented(value.extract()?),
            "then_sizes" => builder.then_sizes(value.extract::<Vec<usize>>()?),
            "head_epochs" => builder.head_epochs(value.extract()?),
            "augmented_epochs" => builder.augmented_epochs(value.extract()?),
            "augmented_copies" => builder.augmented_copies(value.extract()?),
            "unfrozen_schedule" => {
                builder.unfrozen_schedule(of_plain::<Schedule>("unfrozen_schedule", &value)?)
            }
            "head_lr" => builder.head_lr(value.extract()?),
            "unfrozen_lrs" => builder.unfrozen_lrs(learning_rates(&value)?),
            "time_limit" => builder.time_limit(value.extract()?),
            "group_lr_ratio" => builder.group_lr_ratio(value.extract()?),
            "tta" if value.is_none() => builder.tta(None),
            "tta" => builder.tta(Some(tta(&value, "probabilities")?)),
            name => {
                let expected = "a setting of RecipeBuilder, such as head_epochs";
                return Err(errors::setting(py, name, value.to_string(), expected));
            }
        };
    }
    plain(py, &builder.build())
}

/// The augmentation of a preset, if it has one.
#[pyfunction]
fn preset_augmentation<'py>(py: Python<'py>, preset: &str) -> PyResult<Bound<'py, PyAny>> {
    plain(py, &named::<Preset>(py, preset)?.augmentation())
}

/// The image size of a preset for a backbone, in pixels, where none is asked for.
#[pyfunction]
fn preset_size(py: Python<'_>, preset: &str, arch: &str) -> PyResult<usize> {
    let arch = arch.parse().unwrap_or(Arch::EfficientNetLite0);
    Ok(named::<Preset>(py, preset)?.size(arch))
}

/// The number of epochs of a recipe.
#[pyfunction]
fn recipe_epochs(recipe: &Bound<'_, PyAny>) -> PyResult<usize> {
    Ok(of_plain::<Recipe>("recipe", recipe)?.epochs())
}

/// The backbones of the registry: name, parameters, image size, ImageNet top-1.
#[pyfunction]
fn archs(py: Python<'_>) -> PyResult<Vec<(&'static str, usize)>> {
    work::detached(py, || Arch::ALL.iter().map(|arch| (arch.info().name, arch.info().size)).collect())
}

/// The default cache folder of the command.
#[pyfunction]
fn default_cache(py: Python<'_>) -> PyResult<std::path::PathBuf> {
    work::library(py, || Ok(ocelli::default_cache()?))
}

/// Settings over defaults; what is not known is left to the reader of the value, which names it.
pub fn merged(mut defaults: Value, over: Map<String, Value>) -> Value {
    if let Some(settings) = defaults.as_object_mut() {
        settings.extend(over);
    }
    defaults
}

pub fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(augmentation, module)?)?;
    module.add_function(wrap_pyfunction!(framing, module)?)?;
    module.add_function(wrap_pyfunction!(optimizer, module)?)?;
    module.add_function(wrap_pyfunction!(weight_decay, module)?)?;
    module.add_function(wrap_pyfunction!(schedule, module)?)?;
    module.add_function(wrap_pyfunction!(recipe, module)?)?;
    module.add_function(wrap_pyfunction!(preset_augmentation, module)?)?;
    module.add_function(wrap_pyfunction!(preset_size, module)?)?;
    module.add_function(wrap_pyfunction!(recipe_epochs, module)?)?;
    module.add_function(wrap_pyfunction!(archs, module)?)?;
    module.add_function(wrap_pyfunction!(default_cache, module)?)
}
