//! One training step.

use std::time::{Duration, Instant};

use burn::module::ParamId;
use burn::tensor::Tensor;
use ocelli_data::timeline;
use ocelli_nn::{Backbone, BatchStats, Network, Precision, TensorFile};
use serde::{Deserialize, Serialize};

use crate::data::ImageData;
use crate::error::{Error, Result};
use crate::processes::ProcessGroup;
use crate::schedule::learning_rates::LearningRates;
use crate::train::gradients::ParameterGradients;
use crate::train::input::{Inputs, TrainBatch};
use crate::train::micro_batches::{self, Piecewise};
use crate::train::optimizer::OptimizerState;
use crate::train::options::TrainOptions;
use crate::train::shards::{Shards, message, next_vector, read_message};
use crate::train::state::{StageInput, TrainState};

/// The optimizer's state, and the gradients accumulated for its next step. Of several processes each has those of its own
/// parameters, until they are [gathered](Self::gather).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Accumulation {
    optimizer: OptimizerState,
    /// The sum of each batch's gradients times its number of images.
    #[serde(skip)]
    accumulated: ParameterGradients,
    /// The number of those batches and of their images.
    batches: usize,
    images: usize,
    /// Which process has what, while process 0 lacks what is others'.
    #[serde(skip)]
    shards: Option<Shards>,
}

/// How many moments a parameter has, and whether it has an accumulated gradient.
type Kept = (usize, bool);

/// The learning rates and momentum of a step.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StepSize {
    pub(crate) rates: LearningRates,
    pub(crate) momentum: Option<f64>,
    /// Whether this is the last batch of the epoch, so that accumulated gradients are used now.
    pub(crate) is_last: bool,
    /// Whether the state is to be saved after it.
    pub(crate) is_saved: bool,
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
        let accumulated = ParameterGradients::default();
        Ok(Self { optimizer, accumulated, batches: 0, images: 0, shards: None })
    }

    /// Whether process 0 has the whole state, so that it can be saved.
    pub(crate) fn is_whole(&self) -> bool {
        self.shards.is_none()
    }

    /// Sends the state of all processes' parameters to process 0.
    pub(crate) fn gather<B: Backbone>(
        &mut self,
        network: &Network<B>,
        processes: &ProcessGroup,
    ) -> Result<()> {
        let Some(shards) = self.shards.take() else { return Ok(()) };
        let mut parts = vec![Vec::new(); processes.size()];
        if processes.rank() > 0 {
            let (mut header, mut vectors): (Vec<Kept>, Vec<&Tensor<1>>) = (Vec::new(), Vec::new());
            for (id, _) in shards.own() {
                let (moments, accumulated) = (self.optimizer.moments(id), self.accumulated.get(id));
                header.push((moments.len(), accumulated.is_some()));
                vectors.extend(moments.iter().chain(accumulated));
            }
            parts[0] = message(&header, vectors.iter().copied(), Precision::F32);
        }
        let received = processes.all_to_all(parts)?;
        if processes.rank() > 0 {
            return Ok(());
        }
        for (rank, bytes) in received.iter().enumerate().skip(1) {
            let diverged = || Error::ProcessesDiverged { what: "the optimizer's state", rank };
            self.take(bytes, shards.of(rank), network).ok_or_else(diverged)?;
        }
        Ok(())
    }

    /// Takes the state of another process's parameters; `None` where it is not that.
    fn take<B: Backbone>(
        &mut self,
        bytes: &[u8],
        parameters: &[(ParamId, usize)],
        network: &Network<B>,
    ) -> Option<()> {
        let (header, mut rest): (Vec<Kept>, _) = read_message(bytes)?;
        if header.len() != parameters.len() {
            return None;
        }
        for (&(id, length), (moments, is_accumulated)) in parameters.iter().zip(header) {
            let mut next = || next_vector(&mut rest, length, Precision::F32, &network.device());
            let moments: Vec<Tensor<1>> = (0..moments).map(|_| next()).collect::<Option<_>>()?;
            if is_accumulated {
                self.accumulated.insert(id, next()?);
            }
            if !moments.is_empty() {
                self.optimizer.set_moments(id, moments);
            }
        }
        rest.is_empty().then_some(())
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
    /// Which process has the gradients of what, where several have computed them.
    pub(crate) shards: Option<Shards>,
    /// Whether any process is to save its state afterwards.
    pub(crate) any_asked: bool,
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
    let batch_stats = pass.into_batch_stats();
    Ok(Backward { loss: value, forward, gradients, batch_stats, shards: None, any_asked: false })
}

/// Trains on a batch. The weights are updated once enough batches have been
/// accumulated, or at the last batch. If the loss or a gradient is not finite, nothing is updated.
pub(crate) fn train_step<B: Backbone>(
    state: &mut TrainState<B>,
    batch: TrainBatch,
    step: StepSize,
    options: &TrainOptions,
    inputs: &Inputs,
    accumulation: &mut Accumulation,
) -> std::result::Result<Step, StepError> {
    let began = Instant::now();
    let computing = timeline::span("forward and backward");
    let TrainBatch { images, targets, input, part, .. } = batch;
    let Backward { loss, forward, mut gradients, batch_stats, shards, any_asked } =
        match (options.micro_batch, input) {
            (Some(size), StageInput::Maps(output)) => {
                let batch = Piecewise { output, part: part.unwrap_or(0..images), images, targets };
                micro_batches::backward(state, batch, size, options, inputs, step.is_saved)?
            }
            // The head alone takes the whole batch at once.
            (_, input) => backward(state, input, targets, options, &inputs.data)?,
        };
    options.loss.check_gradients(&gradients).map_err(StepError::Loss)?;
    // Of several processes each has the gradients of its own parameters, and keeps the state of these.
    if let Some(shards) = &shards {
        accumulation.optimizer.retain(|id| gradients.get(id).is_some());
        accumulation.accumulated.retain(|id| gradients.get(id).is_some());
        accumulation.shards = Some(shards.clone());
    }
    let norm_of = |gradients: &ParameterGradients| match &shards {
        Some(shards) => shards.norm(gradients, &inputs.processes).map_err(StepError::Loss),
        None => Ok(gradients.norm()),
    };
    let several = options.accumulate_steps > 1;
    if several {
        gradients.scale(images as f64);
        gradients.add(accumulation.accumulated.clone());
    }
    let mut norm = finite("gradients' norm", norm_of(&gradients)?)?;
    let backward = began.elapsed();
    drop(computing);
    let _span = timeline::span("optimizer");
    accumulation.batches += 1;
    accumulation.images += images;
    if step.is_last || accumulation.batches >= options.accumulate_steps {
        if several {
            gradients.scale(1.0 / accumulation.images as f64);
        }
        if let Some(most) = options.max_grad_norm {
            if several {
                norm = norm_of(&gradients)?;
            }
            gradients.clip(norm, most);
        }
        let network = state.network.clone();
        let network = accumulation.optimizer.step(network, gradients, step.rates, step.momentum);
        state.network = match &shards {
            Some(shards) => {
                let _span = timeline::span("exchange weights");
                let (before, precision) = (&state.network, options.exchange_precision);
                let updated = shards.with_parameters_of_all(before, network, &inputs.processes, precision);
                updated.map_err(StepError::Loss)?
            }
            None => network,
        };
        (accumulation.batches, accumulation.images) = (0, 0);
        accumulation.accumulated = ParameterGradients::default();
    } else {
        accumulation.accumulated = gradients;
    }
    state.network = state.network.clone().update_running_stats(batch_stats);
    state.steps += 1;
    if any_asked {
        accumulation.gather(&state.network, &inputs.processes).map_err(StepError::Loss)?;
    }
    Ok(Step {
        loss,
        forward: forward.as_secs_f64(),
        backward: (backward - forward).as_secs_f64(),
        optimizer: (began.elapsed() - backward).as_secs_f64(),
    })
}
