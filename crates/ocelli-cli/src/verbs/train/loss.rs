//! Flags of the loss, of gradients, and of averages of weights.

use clap::Args;
use ocelli::{ClassWeights, Precision, TrainOptions};

use crate::errors::Failure;
use crate::values::{above_0, below_1, epochs, focal_gamma, one_of, whole};

/// The loss, gradients, and averages of weights.
#[derive(Debug, Args)]
#[command(next_help_heading = "Optimizer and loss")]
pub(super) struct LossFlags {
    /// Label smoothing, usually 0.1 [default: 0]
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "EPSILON", allow_negative_numbers = true, value_parser = below_1)]
    label_smoothing: Option<f64>,
    /// Focal loss with this gamma, usually 2 [default: 0, cross-entropy]
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "GAMMA", allow_negative_numbers = true, value_parser = focal_gamma)]
    focal_gamma: Option<f64>,
    /// Class weights in the loss: equal, balanced, or a number for each class [default: equal]
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "WEIGHTS", value_delimiter = ',')]
    class_weights: Vec<String>,
    /// Clip the total gradient norm to this value [default: no clipping]
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "NORM", allow_negative_numbers = true, value_parser = above_0)]
    max_grad_norm: Option<f64>,
    /// Gradient accumulation: batches per optimizer step [default: 1]
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "N", value_parser = whole::<1, 1_000_000>)]
    accumulate_steps: Option<usize>,
    /// Train layers of the backbone on N images of a batch at a time, usually 8 [default: all]
    ///
    /// Several processes share these pieces out; with any number of them, one included, the model is the same to
    /// the bit. The head and the loss see whole batches all the same. It also takes less memory.
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "N", value_parser = whole::<1, 65_536>)]
    pub(super) micro_batch: Option<usize>,
    /// How gradients travel between processes: f32, or bf16, half the bytes [default: f32]
    ///
    /// In bf16 gradients and the changes of weights are rounded, in the same way with any number of processes; weights
    /// stay f32. Needs --micro-batch.
    #[arg(hide_short_help = true, hide_possible_values = true)]
    #[arg(long, value_name = "PRECISION", value_parser = one_of::<Precision>(Precision::NAMES))]
    pub(super) exchange_precision: Option<Precision>,
    /// Exponential moving average of the weights with this decay, usually 0.99 to 0.9999
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "DECAY", allow_negative_numbers = true, value_parser = below_1)]
    ema_decay: Option<f64>,
    /// Stochastic weight averaging from this epoch of each phase on, counted from 0
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "EPOCH", conflicts_with = "ema_decay", value_parser = epochs)]
    swa_start: Option<usize>,
}

impl LossFlags {
    /// Changes options to what is given here.
    pub(super) fn apply(&self, method: &mut TrainOptions) -> Result<(), Failure> {
        method.loss.label_smoothing = self.label_smoothing.unwrap_or(method.loss.label_smoothing);
        method.loss.focal_gamma = self.focal_gamma.unwrap_or(method.loss.focal_gamma);
        match self.class_weights.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [] => {}
            ["equal"] => method.loss.class_weights = ClassWeights::Equal,
            ["balanced"] => method.loss.class_weights = ClassWeights::Balanced,
            ref numbers => {
                let weights: Result<Vec<f64>, _> = numbers.iter().map(|number| number.parse()).collect();
                let weights = weights.map_err(|_| {
                    Failure::Error(format!(
                        "--class-weights {}: expected equal, balanced, or a number for each class, such as 1,2,1",
                        numbers.join(",")
                    ))
                })?;
                method.loss.class_weights = ClassWeights::Given(weights);
            }
        }
        method.max_grad_norm = self.max_grad_norm.or(method.max_grad_norm);
        method.accumulate_steps = self.accumulate_steps.unwrap_or(method.accumulate_steps);
        method.micro_batch = self.micro_batch.or(method.micro_batch);
        method.exchange_precision = self.exchange_precision.unwrap_or(method.exchange_precision);
        method.ema_decay = self.ema_decay.or(method.ema_decay);
        method.swa_start = self.swa_start.or(method.swa_start);
        Ok(())
    }
}
