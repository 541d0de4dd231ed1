//! The operations of inference as plain values.

use std::fmt;
use std::sync::Arc;

use ocelli_kernels::Activation;

/// An operation, with its parameters. Maps are `[images, channels, height, width]`, features
/// `[images, features]`, tokens maps of one column.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Operation {
    /// `activation(conv(maps) + bias + residual)`; inputs: maps, and the residual if there is one.
    Conv {
        /// `[outputs, channels / groups, rows, columns]`, with a norm after the convolution folded in.
        weight: Parameter,
        /// `[outputs]`
        bias: Parameter,
        /// How the kernel moves.
        window: ConvWindow,
        /// What follows.
        activation: Activation,
    },
    /// `activation(scale · maps + shift + residual)`, a factor and a shift for each channel; inputs: maps, and
    /// the residual if there is one.
    Affine {
        /// `[channels]`
        scale: Parameter,
        /// `[channels]`
        shift: Parameter,
        /// What follows.
        activation: Activation,
    },
    /// Each pixel's channels normalised by their mean and biased variance; then `weight · x + bias`.
    LayerNorm {
        /// `[channels]`
        weight: Parameter,
        /// `[channels]`
        bias: Parameter,
        /// What is added to the variance.
        epsilon: f64,
    },
    /// `weight · features + bias`
    Linear {
        /// `[outputs, inputs]`
        weight: Parameter,
        /// `[outputs]`
        bias: Parameter,
    },
    /// The maximum of each window; padding is never the maximum.
    MaxPool(PoolWindow),
    /// The mean of each window.
    AveragePool {
        /// The windows.
        window: PoolWindow,
        /// Whether padding counts as zeros.
        count_padding: bool,
    },
    /// The mean of each channel: maps to features.
    GlobalAverage,
    /// The maximum of each channel, then the mean of each channel: maps to features.
    GlobalMaximumAndAverage,
    /// The means of a grid of as many rows as columns, channel by channel: maps to features. Cell `i` of `n`
    /// over `size` pixels is from `⌊i · size / n⌋` to `⌈(i + 1) · size / n⌉`.
    AdaptiveAverage {
        /// Rows, and columns.
        grid: usize,
    },
    /// Maps, or features, side by side in their channels.
    Concat,
    /// Each channel of each image times a factor; inputs: maps, features.
    ScaleChannels,
    /// Sigmoid of each value.
    Sigmoid,
    /// `min(max(x + 3, 0), 6) / 6` of each value.
    HardSigmoid,
    /// An activation of each value.
    Activate(Activation),
    /// `softmax(query · keyᵀ / √width) · value` in each of several heads: tokens with
    /// `3 · heads · width` channels to tokens with `heads · width`.
    Attention {
        /// Heads.
        heads: usize,
    },
    /// Maps to tokens, row by row, with a class token before them and a position embedding added.
    Tokens {
        /// `[channels]`
        class_token: Parameter,
        /// `[1 + height · width, channels]`
        positions: Parameter,
    },
    /// The first token: tokens to features.
    ClassToken,
    /// All tokens but the first.
    PatchTokens,
    /// The same values in this shape for each image.
    Reshape(Vec<usize>),
}

/// How a convolution's kernel moves over a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConvWindow {
    /// The distance between two applications.
    pub stride: usize,
    /// Zeros at the top, left, bottom and right.
    pub padding: [usize; 4],
    /// The distance between the kernel's points.
    pub dilation: usize,
    /// The number of groups that the channels are split into.
    pub groups: usize,
}

/// How a pooling window moves over a map. Pairs are (rows, columns).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PoolWindow {
    /// The size of a window.
    pub kernel: [usize; 2],
    /// The distance between two windows.
    pub stride: [usize; 2],
    /// Padding at the top, left, bottom and right.
    pub padding: [usize; 4],
}

/// Constant values of an operation.
#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    /// The name of the parameter that they were made of; empty for others.
    pub name: String,
    /// The sizes of the dimensions.
    pub shape: Vec<usize>,
    /// The values, the last dimension the fastest.
    pub values: Arc<Vec<f32>>,
}

impl Parameter {
    /// Values of that shape.
    ///
    /// # Panics
    /// If there are fewer or more values than the shape has.
    pub fn new(name: impl Into<String>, shape: Vec<usize>, values: Vec<f32>) -> Self {
        assert_eq!(shape.iter().product::<usize>(), values.len(), "a value for each place");
        Self { name: name.into(), shape, values: Arc::new(values) }
    }
}

impl Operation {
    /// Its name, as [`Display`](fmt::Display) begins with it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Conv { window, weight, .. } if window.groups > 1 && weight.shape[1] == 1 => {
                "depthwise conv"
            }
            Self::Conv { .. } => "conv",
            Self::Affine { .. } => "affine",
            Self::LayerNorm { .. } => "layer norm",
            Self::Linear { .. } => "linear",
            Self::MaxPool(_) => "max pool",
            Self::AveragePool { .. } => "average pool",
            Self::GlobalAverage => "global average",
            Self::GlobalMaximumAndAverage => "global maximum and average",
            Self::AdaptiveAverage { .. } => "adaptive average",
            Self::Concat => "concat",
            Self::ScaleChannels => "scale channels",
            Self::Sigmoid => "sigmoid",
            Self::HardSigmoid => "hard sigmoid",
            Self::Activate(_) => "activation",
            Self::Attention { .. } => "attention",
            Self::Tokens { .. } => "tokens",
            Self::ClassToken => "class token",
            Self::PatchTokens => "patch tokens",
            Self::Reshape(_) => "reshape",
        }
    }

    /// Its parameters.
    pub fn parameters(&self) -> Vec<&Parameter> {
        match self {
            Self::Conv { weight, bias, .. }
            | Self::LayerNorm { weight, bias, .. }
            | Self::Linear { weight, bias } => {
                vec![weight, bias]
            }
            Self::Affine { scale, shift, .. } => vec![scale, shift],
            Self::Tokens { class_token, positions } => vec![class_token, positions],
            _ => Vec::new(),
        }
    }

    /// The activation in it.
    pub fn activation(&self) -> Activation {
        match self {
            Self::Conv { activation, .. } | Self::Affine { activation, .. } | Self::Activate(activation) => {
                *activation
            }
            _ => Activation::None,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(self.name())?;
        match self {
            Self::Conv { weight, window, .. } => {
                let [rows, columns] = [weight.shape[2], weight.shape[3]];
                write!(formatter, " {rows}×{columns}")?;
                if window.stride > 1 {
                    write!(formatter, ", stride {}", window.stride)?;
                }
                if window.groups > 1 && weight.shape[1] > 1 {
                    write!(formatter, ", {} groups", window.groups)?;
                }
            }
            Self::MaxPool(window) | Self::AveragePool { window, .. } => {
                let [rows, columns] = window.kernel;
                write!(formatter, " {rows}×{columns}, stride {}", window.stride[0])?;
            }
            Self::AdaptiveAverage { grid } => write!(formatter, " {grid}×{grid}")?,
            Self::Attention { heads } => write!(formatter, ", {heads} heads")?,
            _ => {}
        }
        match self.activation() {
            Activation::None => Ok(()),
            activation => write!(formatter, ", {activation:?}"),
        }
    }
}
