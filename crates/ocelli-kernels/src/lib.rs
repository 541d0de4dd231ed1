//! CPU kernels of convolutional networks and transformers, on slices.
//!
//! Activations are `[batch, height, width, channels]` (NHWC, contiguous), [`f32`] or [`bf16`]; weights come
//! in PyTorch's order `[out, in / groups, rows, columns]` in `f32`; sums are `f32`.
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
//! - **Threads do not change results**: work runs on the current rayon pool, and the shape of the data alone
//!   decides the order of sums: the same bits for any number of threads.
//! - **Batches do not change images**: in forward passes each image's result has the same bits whatever the batch
//!   and its position therein. (Batch statistics and weight gradients sum over the batch, of course.)
//! - **Instruction sets are chosen at run time** ([`Isa`]); between two of them results differ by rounding.
//!
//! # How the parts meet
//!
//! A public function checks lengths, divides its work into pieces that depend on the shape alone, and runs
//! them on the rayon pool. Each piece is a *kernel*: a struct of its arguments, for instance one block of
//! output channels of some pixels, that implements `simd::Kernel`. The kernel is written once, generic over
//! the element type and over the instruction set (the trait `simd::Simd`, whose implementations are one file
//! each), and always inlined; `compiled` lists all kernels and compiles each of them for both element types
//! and every instruction set. `compiled` is the one deliberate ring of imports: `Element` requires its trait,
//! so that generic code can call a kernel as a function of the element type, and the table names the kernels
//! of all modules. Elsewhere imports run downwards.
//!
//! For a change of one operation read its module: its first part is the public function, its second the
//! kernel. A new kernel needs a line in `compiled`; a new activation is in `activation` alone here (CONTRIBUTING says who else must know it); a new
//! instruction set is a file in `simd` and a variant in `isa`. For convolutions begin with
//! `conv/geometry.rs`: forward passes and gradients with respect to the input are the same sums over taps, on
//! other grids of pixels, and `conv/mod.rs` chooses among three ways to compute them: `dense`, `depthwise` or
//! `winograd`. After a change of a kernel run its test (against slow `f64` code), `tests/all/promises.rs`, and
//! `examples/measure.rs` before and after.
//!
//! | content | file |
//! |---|---|
//! | [`Conv2dShape`], [`Pool2dShape`], [`Padding`] | `shape.rs` |
//! | how values are stored; what is applied to them while they are in registers | `element.rs`, `activation.rs` |
//! | the instruction sets, and the few operations that kernels are written in | `isa.rs`, `simd/mod.rs` |
//! | the table of all kernels | `compiled.rs` |
//! | [`PackedConv2d`]; gradients with respect to data and weights; fused blocks of convolutions | `conv/mod.rs` |
//! | batch normalisation with residual and activation, and its backward pass | `batch_norm/mod.rs` |
//! | layer normalisation, and its backward pass | `layer_norm.rs` |
//! | attention of several heads, and its backward pass | `attention/mod.rs` |
//! | max, average, global pooling | `pool.rs` |
//! | convolutions of 8-bit integers: [`Int8Conv`], [`Int8Maps`] | `int8/mod.rs` |
//! | fully connected layers | `linear.rs` |
//! | conversion between element types, sums of squares, concatenation, factors of channels | `elementwise.rs` |
//! | steps of SGD and AdamW | `optimizer.rs` |
//! | how work is split over the rayon pool | `threads.rs` |
//! | [`Buffer`]: memory that is reused | `buffer_pool.rs` |
//! | a mutable slice that is shared by threads | `shared_mut.rs` |

mod activation;
mod attention;
mod batch_norm;
mod buffer_pool;
mod compiled;
mod conv;
mod element;
mod elementwise;
mod int8;
mod isa;
mod layer_norm;
mod linear;
mod optimizer;
mod pool;
mod shape;
mod shared_mut;
mod simd;
mod threads;

pub use activation::Activation;
pub use attention::Attention;
pub use batch_norm::{
    BatchNorm, ChannelStatistics, NormGradients, StatisticsSource, channel_statistics, channel_sums,
};
pub use buffer_pool::{Buffer, peak_of};
pub use conv::{
    FusedStage, PackedConv2d, StageGradients, conv2d, conv2d_backward_data, conv2d_backward_weights,
    conv2d_with_statistics, fused_block, fused_block_backward, fused_block_with_feature_maps,
    has_fused_block_backward,
};
pub use element::Element;
pub use elementwise::{
    concat_channels, round_to, scale_channels, scale_channels_backward, slice_channels, sum_of_squares, widen,
};
pub use half::bf16;
pub use int8::{Int8Conv, Int8ConvOptions, Int8Maps, MAX_PAIR, Quantization};
pub use isa::{Isa, IsaError};
pub use layer_norm::LayerNorm;
pub use linear::{linear, linear_backward_data, linear_backward_weights};
pub use optimizer::{AdamWStep, SgdStep, adamw_step, sgd_step};
pub use pool::{
    average_pool2d, average_pool2d_backward, global_average_pool, global_average_pool_backward,
    global_concat_pool, global_concat_pool_backward, max_pool2d, max_pool2d_backward,
};
pub use shape::{Conv2dShape, Padding, Pool2dShape, ShapeError};
pub use threads::single_threaded;
