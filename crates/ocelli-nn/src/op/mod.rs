//! The operations under the layers: this crate's kernels on the CPU backend, Burn's own operations composed on
//! every other. Both give the same results within rounding, and both can be differentiated.

pub mod composed;
mod conv;
mod flex;
mod norm;
mod other;

pub use conv::{Conv2d as Geometry, ConvNorm, FoldedConv, Padding, conv2d};
pub use norm::{NormScale, batch_norm, batch_statistics};
pub use ocelli_kernels::Activation;
pub use other::{linear, pool, relu};

use burn::backend::DispatchDevice;
use burn::tensor::Tensor;

/// Whether the kernels can take this tensor.
fn has_kernels<const D: usize>(tensor: &Tensor<D>) -> bool {
    let device = tensor.device().inner();
    matches!(device.as_dispatch(), DispatchDevice::Flex(_))
}
