//! One training step.

use std::time::{Duration, Instant};

use ocelli_data::timeline;
use ocelli_nn::{Backbone, BatchStats, Network, TensorFile};
use serde::{Deserialize, Serialize};

use crate::data::ImageData;
use crate::error::{Error, Result};
use crate::schedule::learning_rates::LearningRates;
use crate::train::gradients::ParameterGradients;
use crate::train::input::{Inputs, TrainBatch};
use crate::train::micro_batches::{self, Piecewise};
use crate::train::optimizer::OptimizerState;
use crate::train::options::TrainOptions;
use crate::train::state::{StageInput, TrainState};

/// The optimizer's state, and the gradients accumulated for its next step.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Accumulation {
    optimizer: OptimizerState,
    /// The sum of each batch's gradients times its number of images.
    #[serde(skip)]
    accumulated: ParameterGradients,
    /// The number of those batches and of their images.
    batches: usize,
    images: usize,
}

/// The learning rates and momentum of a step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StepSize {
    pub(crate) rates: LearningRates,
    pub(crate) momentum: Option<f64>,
    /// Whether this is the last batch of the epoch, so that accumulated gradients are used now.
    pub(crate) is_last: bool,
}

/// A loss or gradient norm that became NaN or infinite.
pub(crate) struct NotFinite {
    pub(crate) what: &'static str,
    pub(crate) value: f64,
}

impl Accumulation {
    /// Before the first step of a fit.
    pub(crate) fn new(options: &TrainOptions) -> Result<Self> {
        let optimizer = OptimizerState::new(options.optimizer.check()?, options.weight_decay);
        Ok(Self { optimizer, accumulated: ParameterGradients::default(), batches: 0, images: 0 })
    }

    /// Whether the last batch has updated the weights.
    pub(crate) fn has_stepped(&self) -> bool {
        self.batches == 0
    }

    /// Adds the tensors to a file, with this prefix.
    pub(crate) fn write<B: Backbone>(&self, network: &Network<B>, prefix: &str, file: &mut TensorFile) {
        self.optimizer.write(network, &format!("{prefix}optimizer"), file);
        self.accumulated.write(network, &format!("{prefix}accumulated"), file);
    }

    /// Reads the tensors from a file that [`write`](Self::write) has filled.
    pub(crate) fn read<B: Backbone>(
        &mut self,
        network: &Network<B>,
        prefix: &str,
        file: &TensorFile,
    ) -> Result<()> {
        self.optimizer.read(network, &format!("{prefix}optimizer"), file)?;
        self.accumulated.read(network, &format!("{prefix}accumulated"), file)
    }

    /// Checks one that has been read from a file.
    pub(crate) fn check(&self) -> Result<()> {
        self.optimizer.check()
    }
}

/// A step that was made.
pub(crate) struct Step {
    /// The mean loss of the batch.
    pub(crate) loss: f64,
    /// The seconds of its parts.
    pub(crate) forward: f64,
    pub(crate) backward: f64,
    pub(crate) optimizer: f64,
}

/// Why a step was not made.
pub(crate) enum StepError {
    NotFinite(NotFinite),
    /// A custom loss cannot be trained on.
    Loss(Error),
}

/// The gradients of a batch.
pub(crate) struct Backward {
    /// The mean loss of the batch.
    pub(crate) loss: f64,
    /// The time up to the loss.
    pub(crate) forward: Duration,
    pub(crate) gradients: ParameterGradients,
    pub(crate) batch_stats: Vec<BatchStats>,
}

/// A value, unless it is NaN or infinite.
pub(crate) fn finite(what: &'static str, value: f64) -> std::result::Result<f64, StepError> {
    match value.is_finite() {
        true => Ok(value),
        false => Err(StepError::NotFinite(NotFinite { what, value })),
    }
}

/// The gradients of a batch as a whole.
fn backward<B: Backbone>(
    state: &TrainState<B>,
    input: StageInput,
    targets: Vec<f32>,
    options: &TrainOptions,
    data: &ImageData,
) -> std::result::Result<Backward, StepError> {
    let began = Instant::now();
    let (logits, pass) = state.forward(&state.network, input, options.statistics());
    let weights = options.loss.weights(data);
    let loss = options.loss.of(logits, targets, weights.as_deref(), data.task());
    let loss = loss.map_err(StepError::Loss)?;
    // Reading the value waits for it, also on a device that computes beside this thread.
    let value = finite("training loss", f64::from(loss.clone().into_scalar::<f32>()))?;
    let forward = began.elapsed();
    let gradients = match state.is_pooled() {
        true => ParameterGradients::take_of_head(&state.network, loss.backward()),
        false => ParameterGradients::take(&state.network, loss.backward()),
    };
    Ok(Backward { loss: value, forward, gradients, batch_stats: pass.into_batch_stats() })
}

/// Trains on a batch. The weights are updated once enough batches have been
/// accumulated, or at the last batch. If the loss or a gradient is not finite, nothing is updated.
pub(crate) fn train_step<B: Backbone>(
    state: &mut TrainState<B>,
    batch: TrainBatch,
    size: StepSize,
    options: &TrainOptions,
    inputs: &Inputs,
    accumulation: &mut Accumulation,
) -> std::result::Result<Step, StepError> {
    let began = Instant::now();
    let computing = timeline::span("forward and backward");
    let TrainBatch { images, targets, input, part, .. } = batch;
    let Backward { loss, forward, mut gradients, batch_stats } = match (options.micro_batch, input) {
        (Some(size), StageInput::Maps(output)) => {
            let batch = Piecewise { output, part: part.unwrap_or(0..images), images, targets };
            micro_batches::backward(state, batch, size, options, inputs)?
        }
        // The head alone takes the whole batch at once.
        (_, input) => backward(state, input, targets, options, &inputs.data)?,
    };
    options.loss.check_gradients(&gradients).map_err(StepError::Loss)?;
    let several = options.accumulate_steps > 1;
    if several {
        gradients.scale(images as f64);
        gradients.add(accumulation.accumulated.clone());
    }
    finite("gradients' norm", gradients.norm())?;
    let backward = began.elapsed();
    drop(computing);
    let _span = timeline::span("optimizer");
    accumulation.batches += 1;
    accumulation.images += images;
    if size.is_last || accumulation.batches >= options.accumulate_steps {
        if several {
            gradients.scale(1.0 / accumulation.images as f64);
        }
        if let Some(most) = options.max_grad_norm {
            gradients.clip(most);
        }
        let network = state.network.clone();
        state.network = accumulation.optimizer.step(network, gradients, size.rates, size.momentum);
        (accumulation.batches, accumulation.images) = (0, 0);
        accumulation.accumulated = ParameterGradients::default();
    } else {
        accumulation.accumulated = gradients;
    }
    state.network = state.network.clone().update_running_stats(batch_stats);
    state.steps += 1;
    Ok(Step {
        loss,
        forward: forward.as_secs_f64(),
        backward: (backward - forward).as_secs_f64(),
        optimizer: (began.elapsed() - backward).as_secs_f64(),
    })
}
