//! What parts of a run take on this machine, by a few photos and steps.

use std::net::TcpListener;
use std::time::Instant;

use burn::tensor::{Distribution, Tensor};
use ocelli_data::store::Store;
use ocelli_distributed::{Tcp, TcpOptions, Transport};
use ocelli_nn::{Backbone, GROUPS};

use crate::data::Part;
use crate::data::to_tensor::to_tensor;
use crate::error::{Error, Result};
use crate::learner::Learner;
use crate::plan::work::StepRates;
use crate::recipe::freezing::Freezing;
use crate::schedule::learning_rates::LearningRates;
use crate::spread::spread;
use crate::train::infer::values;
use crate::train::input::TrainBatch;
use crate::train::logistic::{Effort, Problem};
use crate::train::micro_batches::{self, Piecewise};
use crate::train::state::{StageInput, TrainState};
use crate::train::step::{Accumulation, Step, StepError, StepSize, train_step};

/// Photos that are loaded and looked at, spread evenly over all.
const PHOTOS: usize = 64;
/// The most pieces of a step, which are measured.
const PIECES: usize = 4;
/// Steps, after one to warm up. Their mean counts, as it does in a run.
const STEPS: usize = 4;
/// How often short work is repeated; the median counts.
const REPEATS: usize = 5;
/// Rows of features that the speed of a logistic regression is measured on.
const ROWS: usize = 256;
/// Bytes of a message between two processes of this machine.
const MESSAGE: usize = 4 << 20;

/// Seconds that images take, at the learner's size.
#[derive(Debug, Clone, Copy)]
pub(super) struct ImageRates {
    /// To load one.
    pub(super) load: f64,
    /// Its way through the whole frozen backbone.
    pub(super) forward: f64,
    /// To make a resized copy, and to load one with augmentation from there; without copies both are from the file.
    pub(super) copy: f64,
    pub(super) load_again: f64,
}

fn seconds<T>(work: impl FnOnce() -> Result<T>) -> Result<f64> {
    let began = Instant::now();
    work()?;
    Ok(began.elapsed().as_secs_f64())
}

fn median<T>(mut work: impl FnMut() -> Result<T>) -> Result<f64> {
    let mut all = (0..REPEATS).map(|_| seconds(&mut work)).collect::<Result<Vec<f64>>>()?;
    all.sort_by(f64::total_cmp);
    Ok(all[REPEATS / 2])
}

/// What images take. Resized copies are written to the cache folder, as training would.
pub(super) fn images<B: Backbone>(learner: &Learner<B>, several_epochs: bool) -> Result<ImageRates> {
    let (inputs, network) = (&learner.inputs, learner.network());
    let items = spread(learner.data().part(Part::Train), PHOTOS);
    let count = items.len().max(1) as f64;
    let (loader, mut loaded) = (inputs.loader()?, Vec::new());
    // Once to warm up: files are in memory afterwards, as in a later epoch.
    for batch in loader.batches(items.clone(), 0)? {
        batch?;
    }
    let load = seconds(|| {
        for batch in loader.batches(items.clone(), 0)? {
            loaded.push(batch?);
        }
        Ok(())
    })? / count;
    loaded.retain(|batch| !batch.indices.is_empty());
    let readable = loaded.iter().map(|batch| batch.indices.len()).sum::<usize>();
    let Some(first) = loaded.first().map(|batch| batch.shape) else { return Err(Error::NoTrainingBatch) };
    // What is allocated at first is used again.
    values(network.infer_features(Tensor::zeros(first, &network.device()).permute([0, 3, 1, 2])));
    let forward = seconds(|| {
        for batch in &mut loaded {
            values(network.infer_features(to_tensor(batch, &network.device())));
        }
        Ok(())
    })? / readable as f64;
    let (mut copy, mut store) = (0.0, None);
    let normalization = inputs.backbone.normalization;
    let side = learner.data().store_side(normalization).zip(inputs.cache.clone());
    if let Some((side, cache)) =
        side.filter(|_| several_epochs && learner.data().decoder().channels.is_usual())
    {
        let resized = Store::new(cache, side)?;
        let (data, options) = (learner.data(), learner.data().loading());
        let digests: Vec<_> = items.iter().map(|&item| data.digests[item]).collect();
        let copied = data.items_of(&items);
        let missing = digests.iter().filter(|digest| !resized.path(digest).exists()).count();
        copy = seconds(|| Ok(resized.fill(&copied, &digests, &options.decoder, options.threads, || ())?))?;
        // Copies that were there took no time.
        copy = if missing > 0 { copy / missing as f64 } else { load };
        store = Some(resized);
    }
    let batch = learner.data().batch_size();
    let training = learner.data().training_loader(store, normalization, learner.state.seed, batch)?;
    let load_again = seconds(|| {
        for batch in training.batches(items.clone(), 0)? {
            batch?;
        }
        Ok(())
    })? / count;
    Ok(ImageRates { load, forward, copy, load_again })
}

/// A step of the learner as it stands, on this input.
fn step<B: Backbone>(
    learner: &Learner<B>,
    state: &mut TrainState<B>,
    accumulation: &mut Accumulation,
    images: usize,
    input: StageInput,
) -> Result<Step> {
    let targets = targets(learner, images);
    let batch = TrainBatch { images, targets, input, part: None, waited: 0.0 };
    let size = StepSize { rates: LearningRates::from(1e-9), momentum: None, is_last: true, is_saved: false };
    match train_step(state, batch, size, &learner.options, &learner.inputs, accumulation) {
        Ok(step) => Ok(step),
        Err(StepError::Loss(error)) => Err(error),
        Err(StepError::NotFinite(_)) => Err(Error::NoTrainingBatch),
    }
}

/// Every image is of the first class.
fn targets<B: Backbone>(learner: &Learner<B>, images: usize) -> Vec<f32> {
    let classes = learner.data().classes().len();
    (0..images * classes).map(|place| if place % classes == 0 { 1.0 } else { 0.0 }).collect()
}

fn random<B: Backbone, const D: usize>(learner: &Learner<B>, shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), &learner.network().device())
}

/// Seconds of a step of the head alone, on pooled features of a batch of this many images.
pub(super) fn head<B: Backbone>(learner: &Learner<B>, images: usize) -> Result<f64> {
    let mut state = learner.state.fork();
    state.set_freezing(Freezing::Streamed { frozen: GROUPS - 1 });
    let width = width(learner);
    let mut accumulation = Accumulation::new(&learner.options)?;
    let mut once = || {
        let pooled = StageInput::Pooled(random(learner, [images, width]));
        step(learner, &mut state, &mut accumulation, images, pooled)
    };
    once()?;
    median(once)
}

/// The pooled features of an image.
pub(super) fn width<B: Backbone>(learner: &Learner<B>) -> usize {
    let network = learner.network();
    network.feature_widths(network.depths(), learner.data().size()).iter().sum()
}

/// The gradients of the backbone's trained parameters.
#[derive(Clone, Copy)]
pub(super) struct Gradients {
    pub(super) bytes: f64,
    /// The part of them that is the late layers'.
    pub(super) late: f64,
}

/// What the parts of a step take that trains what this freezing leaves, and its gradients. Loading is not among them.
pub(super) fn steps<B: Backbone>(
    learner: &Learner<B>,
    freezing: Freezing,
    images: usize,
    micro_batch: usize,
) -> Result<(StepRates, Gradients)> {
    let mut state = learner.state.fork();
    state.set_freezing(freezing);
    let size = learner.data().size();
    let measured = images.min(PIECES * micro_batch).max(2);
    let maps = || random(learner, [measured, size, size, 3]).permute([0, 3, 1, 2]);
    let frozen = match freezing.frozen() {
        0 => 0.0,
        _ => {
            state.infer_frozen(maps());
            median(|| Ok(state.infer_frozen(maps()).len()))? / measured as f64
        }
    };
    let mut accumulation = Accumulation::new(&learner.options)?;
    let mut all = Vec::new();
    for _ in 0..=STEPS {
        let input = state.infer_frozen(maps());
        all.push(step(learner, &mut state, &mut accumulation, measured, input)?);
    }
    // The first warms up.
    let mean = |part: fn(&Step) -> f64| all[1..].iter().map(part).sum::<f64>() / (all.len() - 1) as f64;
    let (passes, optimizer) = (mean(|step| step.forward + step.backward), mean(|step| step.optimizer));
    let (head, head_of_measured) = (head(learner, images)?, head(learner, measured)?);
    let StageInput::Maps(output) = state.infer_frozen(maps()) else { return Err(Error::NoTrainingBatch) };
    let targets = targets(learner, measured);
    let batch = Piecewise { output, part: 0..measured, images: measured, targets };
    let handled = micro_batches::handling(&state, batch, micro_batch, &learner.options, &learner.inputs)?;
    let pieces = measured.div_ceil(micro_batch) as f64;
    let piece = ((passes - head_of_measured) / pieces - handled.add * (pieces - 1.0) / pieces).max(0.0);
    let rates = StepRates {
        load: 0.0,
        frozen,
        piece,
        early: handled.early,
        head,
        optimizer,
        pack: handled.pack,
        unpack: handled.unpack,
        add: handled.add,
        handling: 0.0,
    };
    Ok((rates, Gradients { bytes: handled.bytes, late: handled.late }))
}

/// Seconds of one iteration of a logistic regression on one row of this many features.
pub(super) fn logistic<B: Backbone>(learner: &Learner<B>, features: usize) -> f64 {
    let classes = learner.data().classes().len();
    let x = values(random(learner, [ROWS, features]));
    let targets =
        (0..ROWS * classes).map(|place| f32::from(u8::from(place / classes % classes == place % classes)));
    let targets: Vec<f32> = targets.collect();
    let task = learner.data().task();
    let (row_weights, positive_weights) = (None, None);
    let problem =
        Problem { x: &x, features, targets: &targets, classes, row_weights, positive_weights, task };
    let began = Instant::now();
    let (_, iterations) = problem.fit(1e-2, problem.start(), Effort { iterations: 20, decrease: 0.0 });
    began.elapsed().as_secs_f64() / (iterations.max(1) * ROWS) as f64
}

/// Seconds that a byte between processes takes besides its way: two processes of this machine send each other messages.
pub(super) fn handling() -> Result<f64> {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let address = free.map_err(Error::io("listen at", "127.0.0.1"))?.to_string();
    let join = |rank| Tcp::join(&TcpOptions::new(&address, rank, 2, "plan"));
    let exchange = |rank: usize| -> Result<f64> {
        let mut process = join(rank)?;
        let message = vec![1u8; MESSAGE];
        process.all_gather(&message)?;
        let taken = median(|| Ok(process.all_gather(&message)?))?;
        process.finish()?;
        Ok(taken / MESSAGE as f64)
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| exchange(1));
        let own = exchange(0)?;
        other.join().expect("bytes are sent without a panic")?;
        Ok(own)
    })
}
