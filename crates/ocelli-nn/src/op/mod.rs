//! The operations under the layers: this project's kernels on the CPU backend, Burn's own operations composed
//! on every other. Both give the same results within rounding, and both can be differentiated.
//!
//! Each operation is a function in a file of its own. Where `has_kernels` says so, it applies its `KernelOp`,
//! which is below it in the file; the rest of the function is the composition. Around it, the operation says
//! what it is where a network is [recorded](crate::Network::graph).

mod activation;
mod attention;
mod batch_norm;
mod bytes;
mod concat;
mod conv;
mod folded_conv;
mod fused_block;
mod global_pool;
mod kernel;
mod layer_norm;
mod linear;
pub(crate) mod operation;
mod optimizer_step;
mod pool;
mod precision;
mod scale_channels;
mod tokens;
pub(crate) mod trace;

pub use activation::{hard_sigmoid, hard_swish, relu, sigmoid};
pub use attention::attention;
pub use batch_norm::{AffineNorm, batch_norm, batch_statistics};
pub use bytes::{read_bytes, rounded, write_bytes};
pub use concat::{concat, concat_features};
pub use conv::{ConvOptions, Padding, conv2d, conv2d_with_bias, conv2d_with_statistics};
pub use folded_conv::{ConvTensors, FoldedConv, FoldedNorm};
pub use fused_block::{FusedStage, TrainableStage, fused_block, trainable_block};
pub use global_pool::{GlobalPool, global_pool};
pub(crate) use kernel::with_channels_last;
pub use layer_norm::layer_norm;
pub use linear::linear;
pub use ocelli_kernels::Activation;
pub use optimizer_step::{AdamWStep, SgdStep, adamw_step, sgd_step, sum_of_squares};
pub use pool::{Window, adaptive_average_pool2d, average_pool2d, max_pool2d};
pub use precision::{Precision, to_precision};
pub use scale_channels::scale_channels;
pub use tokens::{class_token, embed_tokens, patch_tokens};

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::backend::DispatchDevice;
use burn::tensor::{Device, Tensor};

/// Whether the kernels run on this device.
pub fn is_cpu(device: &Device) -> bool {
    matches!(device.clone().inner().as_dispatch(), DispatchDevice::Flex(_))
}

/// With `true`, the whole process computes by the composed operations on the CPU too, in f32, to compare the
/// two; with `false` it goes back to the kernels.
pub fn compose_always(always: bool) {
    COMPOSE_ALWAYS.store(always, Ordering::Relaxed);
}

/// Runs `work` with the composed operations on this thread, on the CPU too, to compare the two.
pub fn composed<T>(work: impl FnOnce() -> T) -> T {
    struct Restore(bool);
    impl Drop for Restore {
        fn drop(&mut self) {
            COMPOSE_HERE.set(self.0);
        }
    }
    let _restore = Restore(COMPOSE_HERE.replace(true));
    work()
}

static COMPOSE_ALWAYS: AtomicBool = AtomicBool::new(false);
thread_local! {
    static COMPOSE_HERE: Cell<bool> = const { Cell::new(false) };
}

/// Whether the kernels can take this tensor.
fn has_kernels<const D: usize>(tensor: &Tensor<D>) -> bool {
    let compose = COMPOSE_ALWAYS.load(Ordering::Relaxed) || COMPOSE_HERE.get();
    !compose && is_cpu(&tensor.device()) && kernel::has_element(tensor.dtype())
}

/// A value for each channel, to be broadcast over maps `[images, channels, height, width]`.
fn per_channel(vector: Tensor<1>) -> Tensor<4> {
    let channels = vector.dims()[0];
    vector.reshape([1, channels, 1, 1])
}

/// The sum of the two, or the first alone.
fn add(output: Tensor<4>, residual: Option<Tensor<4>>) -> Tensor<4> {
    match residual {
        Some(residual) => output + residual,
        None => output,
    }
}
