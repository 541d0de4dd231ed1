//! Networks of image classification, on [Burn](https://burn.dev).
//!
//! A [`Network`] is a [`Backbone`] and a [`Head`]; an [`Arch`] of the registry builds one from a [`TensorFile`]
//! under the tensor names of torchvision and timm. Networks run forward in a [`Pass`]: as they are trained, or
//! as they are used, with batch norms folded into the convolutions and without autodiff. On the CPU the work is
//! done by `ocelli-kernels`, on other devices by Burn's own operations.
//!
//! ```no_run
//! use burn::tensor::{Device, Tensor};
//! use ocelli_nn::{Arch, TensorFile};
//!
//! # fn main() -> ocelli_nn::Result<()> {
//! let device = Device::flex();
//! let weights = TensorFile::read("tf_efficientnet_lite0.safetensors")?;
//! let network = Arch::EfficientNetLite0.published(&weights, 1000, &device)?;
//! let images = Tensor::zeros([1, 3, 224, 224], &device); // (pixels − 127) / 128
//! let logits = network.infer(images); // [1, 1000]
//! # Ok(())
//! # }
//! ```
//!
//! | to change | see |
//! |---|---|
//! | a network, or add one | [`model`], a file each |
//! | a layer | [`layer`] |
//! | how an operation reaches the kernels or Burn | [`op`] |
//! | names and initial values of parameters | [`builder`] |
//! | where networks run | [`DeviceName`] |
//! | which weights files are read, and how | [`TensorFile`], in `weights/` |

mod arch;
mod backbone;
pub mod builder;
mod device;
mod error;
mod head;
pub mod layer;
pub mod model;
mod network;
pub mod op;
mod pass;
mod weights;

pub use arch::{Arch, ArchInfo, Publisher};
pub use backbone::Backbone;
pub use builder::Builder;
pub use device::{DeviceKind, DeviceName};
pub use error::{Error, Result};
pub use head::{Classifier, Head, HiddenActivation, PublishedForm, PublishedHead, TransferHead};
pub use model::AnyBackbone;
pub use network::{GROUPS, Kind, Network, Place};
pub use op::Precision;
pub use pass::{Pass, SeenStatistics, Statistics, Training};
pub use weights::{NamedTensor, TensorFile};
