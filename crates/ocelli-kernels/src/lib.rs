//! CPU kernels of convolutional networks and transformers, on slices.
//!
//! Activations are `[batch, height, width, channels]` (NHWC, contiguous), [`f32`] or [`bf16`]; weights come in
//! PyTorch's order `[out, in / groups, rows, columns]` in `f32`; sums are `f32`.
//!
//! ```
//! use ocelli_kernels::{Activation, Conv2dShape, PackedConv2d, Padding};
//!
//! let shape = Conv2dShape {
//!     batch: 1, in_height: 8, in_width: 8, in_channels: 3, out_channels: 4, kernel: [3, 3], stride: [2, 2],
//!     padding: Padding::same([8, 8], [3, 3], [2, 2], [1, 1]), dilation: [1, 1], groups: 1,
//! };
//! shape.validate()?;
//! let weights = vec![0.1f32; shape.weight_len()];
//! let conv = PackedConv2d::<f32>::pack(&shape, &weights, None, None);
//! let input = vec![1.0f32; shape.input_len()];
//! let mut output = vec![0.0f32; shape.output_len()];
//! conv.forward(&shape, &input, None, Activation::Relu, &mut output);
//! assert!((output[0] - 2.7).abs() < 1e-5);
//! # Ok::<(), ocelli_kernels::ShapeError>(())
//! ```
//!
//! # Promises
//!
//! - **Lengths are the caller's business**: functions panic if a slice has another length than its shape says, or
//!   if a shape does not [validate](Conv2dShape::validate). Nothing else panics.
//! - **Threads do not change results**: work runs on the current rayon pool, and sums have an order that the shape of
//!   the data alone decides: the same bits for any number of threads.
//! - **Batches do not change images**: in forward passes each image's result has the same bits whatever the batch
//!   and its place therein. (Batch statistics and weight gradients sum over the batch, of course.)
//! - **Instruction sets are chosen at run time** ([`Isa`]); between two of them results differ by rounding.
//!
//! # Map
//!
//! | module | |
//! |---|---|
//! | `shape` | [`Conv2dShape`], [`Pool2dShape`], [`Padding`] |
//! | `isa`, `simd` | which vector instructions, and the few operations that kernels are written in |
//! | `conv` | [`PackedConv2d`]; gradients with respect to data and weights; chains of convolutions |
//! | `norm` | batch normalisation with residual and activation, and its backward pass |
//! | `layer_norm` | layer normalisation, and its backward pass |
//! | `attention` | attention of several heads, and its backward pass |
//! | `pool` | max, average, global pooling |
//! | `linear` | fully connected layers |
//! | `elementwise` | conversion between element types, sums, factors of channels |
//! | `optimizer` | steps of SGD and AdamW |
//! | `threads` | whether work is shared |
//! | `memory` | [`Buffer`]: memory that is used again |

mod activation;
mod attention;
mod compiled;
mod conv;
mod element;
mod elementwise;
mod isa;
mod layer_norm;
mod linear;
mod memory;
mod norm;
mod optimizer;
mod pool;
mod shape;
mod simd;
mod threads;

pub use activation::Activation;
pub use attention::Attention;
pub use conv::{
    Link, LinkGradients, PackedConv2d, conv2d, conv2d_backward_data, conv2d_backward_weights, conv2d_chain,
    conv2d_chain_backward, conv2d_chain_with_maps, conv2d_with_statistics, has_chain_backward,
};
pub use element::Element;
pub use elementwise::{
    join_channels, round_to, scale_channels, scale_channels_backward, sum_of_squares, take_channels, widen,
};
pub use half::bf16;
pub use isa::{Isa, IsaError};
pub use layer_norm::LayerNorm;
pub use linear::{linear, linear_backward_data, linear_backward_weights};
pub use memory::{Buffer, peak_of};
pub use norm::{
    BatchNorm, ChannelStatistics, NormGradients, StatisticsSource, channel_statistics, channel_sums,
};
pub use optimizer::{AdamWStep, SgdStep, adamw_step, sgd_step};
pub use pool::{
    average_pool2d, average_pool2d_backward, global_average_pool, global_average_pool_backward,
    global_concat_pool, global_concat_pool_backward, max_pool2d, max_pool2d_backward,
};
pub use shape::{Conv2dShape, Padding, Pool2dShape, ShapeError};

#[track_caller]
fn assert_len<T>(name: &str, slice: &[T], wanted: usize) {
    assert!(slice.len() == wanted, "{name} has {} elements, its shape has {wanted}", slice.len());
}
