//! Fits a recipe to photos and a time limit: image sizes, and the kind of head.

use std::time::Instant;

use ocelli_data::text::count;
use ocelli_nn::{Arch, Backbone};

use crate::data::to_tensor::to_tensor;
use crate::data::{ImageData, Part};
use crate::error::Result;
use crate::learner::Learner;
use crate::recipe::builder::Preset;
use crate::recipe::logistic::LogisticRegression;
use crate::recipe::{Phase, Recipe};
use crate::run::config::RunConfig;
use crate::run::run_recipe::{LEAST_STEPS, trains_backbone};
use crate::spread::spread;
use crate::train::fit::batches_per_epoch;
use crate::train::infer::values;

/// The most photos whose dimensions are looked at, spread evenly over all.
const LOOKED_AT: usize = 200;
/// The smallest size at which all layers are trained because photos are small: backbones see little in smaller ones.
const SMALLEST: usize = 128;
/// The smallest size that is chosen because time is short.
const SMALLEST_IN_TIME: usize = 64;
/// Sizes are multiples of this: every stage of the backbones halves them.
const STEP: usize = 32;
/// The part of a time limit that features may take.
const FEATURES: f64 = 0.5;
/// The values of features to which a logistic regression is fitted at most: 1 GB, of which there are copies.
const MOST_VALUES: usize = 250_000_000;
/// The products in one of its steps, of which it takes a hundred or more: about a second.
const MOST_PRODUCTS: usize = 20_000_000_000;
/// The most epochs of all layers to which few photos lengthen a schedule.
const MOST_EPOCHS: usize = 30;
/// The images by which the speed is measured, after as many to warm up.
const MEASURED: usize = 24;

/// Sets the image size of the settings and the learner, at most what the settings have: less where a time limit is
/// short. Where the recipe may train all layers, which takes most of the time, it does that at the size that the backbone
/// was trained at, or, where photos are smaller, at theirs. Returns what is to be known of it, and of what else depends on the photos.
pub(super) fn fit<B: Backbone>(settings: &mut RunConfig, learner: &mut Learner<B>) -> Result<Vec<String>> {
    let reason = match settings.recipe.time_limit {
        Some(limit) => in_time(limit, settings, learner)?,
        None => None,
    };
    let phases = &mut settings.recipe.phases;
    if let Some(end) = phases.iter().position(|phase| *phase == Phase::EndUnlessPromising) {
        if !phases[end..].iter().any(|phase| matches!(phase, Phase::Resize { .. }))
            && let Some(side) = usual_side(learner.data())
        {
            let size = side.next_multiple_of(STEP).max(SMALLEST.max(smallest_of(&settings.arch)));
            let size = size.min(native_of(&settings.arch).unwrap_or(size));
            if size < settings.size {
                let again = Phase::LogisticRegression(LogisticRegression::default());
                phases.splice(end + 1..=end, [Phase::Resize { size }, again]);
            }
        }
        let steps = batches_per_epoch(learner.data().train_len(), settings.batch_size).max(1);
        lengthen(&mut phases[end..], LEAST_STEPS.div_ceil(steps).min(MOST_EPOCHS));
    }
    settings.fit_to_photos = false;
    Ok(reason.into_iter().chain(without_regression(settings, learner)).collect())
}

/// Epochs of few photos have few steps: all layers are trained for this many at least.
fn lengthen(phases: &mut [Phase], epochs: usize) {
    for phase in phases {
        if let Phase::Train(train) = phase
            && trains_backbone(train)
            && train.schedule.epochs() < epochs
        {
            train.schedule.cycle_len = epochs;
        }
    }
}

/// Where photos and classes are so many that a logistic regression would take long, or much memory, a head with a hidden
/// layer is trained in small steps instead. Returns what is to be known of it.
fn without_regression<B: Backbone>(settings: &mut RunConfig, learner: &Learner<B>) -> Option<String> {
    let (data, network) = (learner.data(), learner.network());
    let stages: Vec<usize> = (0..network.backbone().stages() - 1).collect();
    let features: usize = network.feature_widths(&stages, settings.size).iter().sum();
    let values = data.train_len() * features;
    if values <= MOST_VALUES && values * data.classes().len() <= MOST_PRODUCTS {
        return None;
    }
    let head = Recipe::preset(Preset::Quick, settings.size).phases;
    let is_regression = |phase: &&mut Phase| matches!(phase, Phase::LogisticRegression(_));
    let regressions = settings.recipe.phases.iter_mut().filter(is_regression);
    let replaced = regressions.map(|phase| *phase = head[0].clone()).count();
    if replaced == 0 {
        return None;
    }
    Some(format!(
        "with {} training images in {} classes a logistic regression would take long, or much memory: a head with a hidden \
         layer is trained instead, as by the recipe quick",
        count(data.train_len()),
        count(data.classes().len())
    ))
}

/// The largest size at which there is time to look at all photos.
fn in_time<B: Backbone>(
    limit: f64,
    settings: &mut RunConfig,
    learner: &mut Learner<B>,
) -> Result<Option<String>> {
    let size = settings.size;
    let needed = seconds_of_features(learner)?;
    let seconds = |side: usize| needed * (side * side) as f64 / (size * size) as f64;
    let smaller = (smallest_of(&settings.arch).max(SMALLEST_IN_TIME)..size).rev();
    let sizes = std::iter::once(size).chain(smaller.filter(|side| side % STEP == 0));
    let sizes: Vec<usize> = sizes.collect();
    let fits = sizes.iter().copied().find(|&side| seconds(side) <= FEATURES * limit);
    let taken = fits.or(sizes.last().copied()).unwrap_or(size);
    // Processes are not equally fast.
    settings.size = learner.inputs.processes.as_first(taken)?;
    learner.set_size(settings.size)?;
    let takes = seconds(settings.size);
    Ok(match fits {
        None => Some(format!(
            "warning: looking once at all photos takes about {takes:.0} s even at {} px, which leaves little of the \
             {limit:.0} s",
            settings.size
        )),
        Some(_) if settings.size < size => Some(format!(
            "images are {} px instead of {size}: looking at all photos then takes about {takes:.0} s of the {limit:.0} s, \
             instead of {needed:.0} s",
            settings.size
        )),
        Some(_) => None,
    })
}

/// The size that a backbone of the registry was trained at.
fn native_of(arch: &str) -> Option<usize> {
    Some(arch.parse::<Arch>().ok()?.info().size)
}

fn smallest_of(arch: &str) -> usize {
    arch.parse::<Arch>().map_or(1, |arch| arch.info().smallest)
}

/// The median of the photos' shorter sides in pixels; `None` where none can be read.
fn usual_side(data: &ImageData) -> Option<usize> {
    let decoder = data.decoder();
    let looked_at = spread(data.part(Part::Train), LOOKED_AT);
    let sides = looked_at.into_iter().filter_map(|item| decoder.probe_file(&data.items()[item].path).ok());
    let mut sides: Vec<usize> = sides.map(|probe| probe.width.min(probe.height) as usize).collect();
    sides.sort_unstable();
    sides.get(sides.len() / 2).copied()
}

/// The seconds that the features of all training and validation photos take at the learner's size, if none are
/// cached; by some photos.
fn seconds_of_features<B: Backbone>(learner: &Learner<B>) -> Result<f64> {
    let (network, data) = (learner.network(), learner.data());
    let some = spread(data.part(Part::Train), 2 * MEASURED);
    let (first, second) = some.split_at(some.len() / 2);
    let loader = learner.inputs.loader()?;
    let seconds_of = |images: &[usize]| -> Result<f64> {
        let began = Instant::now();
        for batch in loader.batches(images.to_vec(), 0)? {
            let mut batch = batch?;
            if !batch.indices.is_empty() {
                values(network.infer_features(to_tensor(&mut batch, &network.device())));
            }
        }
        Ok(began.elapsed().as_secs_f64())
    };
    // To warm up.
    seconds_of(first)?;
    let images = (data.train_len() + data.valid_len()) as f64;
    Ok(seconds_of(second)? / second.len().max(1) as f64 * images)
}
