//! The operations under the layers: this crate's kernels on the CPU backend, Burn's own operations composed on
//! every other. Both give the same results within rounding, and both can be differentiated.

pub mod composed;
mod conv;
mod flex;
mod norm;
mod other;
mod precision;
mod step;
mod token;
mod window;

pub use conv::{
    Conv2d as Geometry, ConvNorm, FoldedConv, Link, Padding, RunningNorm, TrainedLink, conv_chain, conv2d,
    conv2d_with_bias, conv2d_with_statistics, trained_chain,
};
pub use norm::{NormScale, batch_norm, batch_statistics};
pub use ocelli_kernels::Activation;
pub use other::{GlobalPool, join, linear, pool, relu};
pub use precision::{Precision, to_precision};
pub use step::{AdamWStep, SgdStep, adamw_step, sgd_step, sum_of_squares};
pub use token::{attention, layer_norm};
pub use window::{Window, average_pool2d, max_pool2d, scale_channels};

use std::sync::atomic::{AtomicBool, Ordering};

use burn::backend::DispatchDevice;
use burn::tensor::{Device, Tensor};

/// Whether the kernels run on this device.
pub fn is_cpu(device: &Device) -> bool {
    matches!(device.clone().inner().as_dispatch(), DispatchDevice::Flex(_))
}

/// Has the whole process compute by the composed operations on the CPU too, in f32: to compare the two. With
/// `false` it goes on with the kernels, as it begins.
pub fn compose_always(always: bool) {
    COMPOSED.store(always, Ordering::Relaxed);
}

static COMPOSED: AtomicBool = AtomicBool::new(false);

/// Whether the kernels can take this tensor.
fn has_kernels<const D: usize>(tensor: &Tensor<D>) -> bool {
    is_cpu(&tensor.device()) && flex::has_element(tensor.dtype()) && !COMPOSED.load(Ordering::Relaxed)
}
