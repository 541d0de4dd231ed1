//! Predictions of a network for a part of the data, in inference mode.

use burn::tensor::Tensor;
use ocelli_data::Batch;
use ocelli_nn::{Backbone, Network};

use crate::data::Part;
use crate::data::to_tensor::to_tensor;
use crate::error::Result;
use crate::event::{Activity, Observers};
use crate::features::cache::View;
use crate::metric::predictions::Predictions;
use crate::processes::shared::Rows;
use crate::train::input::Inputs;
use crate::train::state::TrainState;

/// Pooled features are small: larger batches amortise the packing of the head's weights.
const POOLED_AT_ONCE: usize = 1024;
/// Images from whose number on the progress of predictions from cached features is reported.
const LARGE: usize = 10_000;

/// Predicts the images of a part, in the order of the split; those without labels have a loss of NaN.
pub(crate) fn predict<B: Backbone>(
    state: &TrainState<B>,
    inputs: &mut Inputs,
    part: Part,
    observers: &mut Observers,
) -> Result<Predictions> {
    let data = inputs.data.clone();
    let mut predictions = Predictions::new(data.task(), data.classes().len());
    infer_each(state, inputs, part, Activity::Validation, observers, &mut |item, logits| {
        predictions.push(item, &data.items[item].target, logits);
    })?;
    Ok(predictions)
}

/// The readable images of a part, and their logits `[images, classes]`, row by row; from cached features if
/// there are any. `activity` is the one that progress is reported for.
pub(crate) fn infer<B: Backbone>(
    state: &TrainState<B>,
    inputs: &mut Inputs,
    part: Part,
    activity: Activity,
    observers: &mut Observers,
) -> Result<(Vec<usize>, Vec<f32>)> {
    let images = inputs.data.part(part).len();
    let mut readable = Vec::with_capacity(images);
    let mut all = Vec::with_capacity(images * inputs.data.classes().len());
    infer_each(state, inputs, part, activity, observers, &mut |item, logits| {
        readable.push(item);
        all.extend_from_slice(logits);
    })?;
    Ok((readable, all))
}

/// Calls `each` with the logits of every readable image of a part, in the order of the split: with very many
/// classes those of all images would take much memory.
fn infer_each<B: Backbone>(
    state: &TrainState<B>,
    inputs: &mut Inputs,
    part: Part,
    activity: Activity,
    observers: &mut Observers,
    each: &mut dyn FnMut(usize, &[f32]),
) -> Result<()> {
    let classes = inputs.data.classes().len();
    let mut each = |items: &[usize], logits: &[f32]| {
        items.iter().zip(logits.chunks_exact(classes)).for_each(|(&item, logits)| each(item, logits));
    };
    if Inputs::prepares_features_of(state.freezing, part) {
        inputs.prepare_features(state, observers)?;
        return infer_cached(state, inputs, part, activity, observers, &mut each);
    }
    let items = inputs.data.part(part).to_vec();
    let (total, mut done) = (items.len(), 0);
    let samples = items.into_iter().map(|item| (item, 0)).collect();
    let mut batches = inputs.shared_batches(&inputs.loader()?, samples)?;
    while let Some(batch) = batches.next(&inputs.data, &mut |batch| Ok(logits_of(&state.network, batch)))? {
        observers.emit_skipped(&batch.skipped, &inputs.data)?;
        each(&batch.indices, &batch.rows.values);
        done += batch.indices.len() + batch.skipped.len();
        observers.progress(activity, done, total)?;
    }
    Ok(())
}

/// The same from cached features.
fn infer_cached<B: Backbone>(
    state: &TrainState<B>,
    inputs: &Inputs,
    part: Part,
    activity: Activity,
    observers: &mut Observers,
    each: &mut dyn FnMut(&[usize], &[f32]),
) -> Result<()> {
    let items = inputs.with_features(inputs.data.part(part), View::Validation);
    let (network, device) = (&state.network, state.network.device());
    let at_once = if state.is_pooled() { POOLED_AT_ONCE } else { 1 };
    let mut done = 0;
    for some in items.chunks(inputs.data.batch_size().max(at_once)) {
        let features = inputs.features_of(some, View::Validation)?;
        let pooled = if state.is_pooled() {
            Tensor::from_data(features, &device)
        } else {
            let maps = Tensor::<4>::from_data(features, &device);
            network.infer_features_from(state.first_trained_stage(), maps)
        };
        each(some, &values(network.infer_head(pooled)));
        done += some.len();
        // Few are predicted in no time.
        if items.len() > LARGE {
            observers.progress(activity, done, items.len())?;
        }
    }
    Ok(())
}

/// The logits of a batch of images.
pub(crate) fn logits_of<B: Backbone>(network: &Network<B>, batch: &mut Batch) -> Rows {
    let logits = network.infer(to_tensor(batch, &network.device()));
    Rows { shape: vec![logits.dims()[1]], values: values(logits), targets: Vec::new() }
}

/// Logits, row by row.
pub(crate) fn values(logits: Tensor<2>) -> Vec<f32> {
    logits.into_data().try_into_vec::<f32>().expect("logits are f32")
}
