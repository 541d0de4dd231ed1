//! Networks of image classification, on [Burn](https://burn.dev).
//!
//! A [`Network`] is a [`Backbone`] and a [`Head`]; an [`Arch`] of the registry builds one from a
//! [`TensorFile`] under the tensor names of torchvision and timm. Networks run forward in a [`Pass`], for
//! training or for inference. On the CPU they run on `ocelli-kernels`, on other devices on Burn's own
//! operations.
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
//! # How the parts meet
//!
//! The registry, [`Arch`], finds an architecture's entry, which is at the end of its family's file in
//! [`model`]. The entry builds the backbone from [`layer`]s, and each layer asks the [`Builder`] for its
//! parameters by their published names. The builder looks them up in the weights file or draws them, and
//! reports what is missing, misshapen or unexpected. A backbone is a sequence of stages in two layer groups;
//! the head is the third group. Freezing and caching cut the network between two stages.
//!
//! In a forward pass every layer is given the [`Pass`], and calls the operations of [`op`] accordingly: in
//! training one operation after another, with autodiff; in inference with batch norms and activations folded
//! into the convolutions. Each operation runs this project's kernels on Burn's CPU backend, with a backward
//! pass of its own, and Burn's operations on other devices. Passes change no parameter: a training pass
//! collects the batch statistics, with which [`Network::update_running_stats`] returns a new network.
//!
//! | to change | file |
//! |---|---|
//! | a backbone, or a variant of one | its family's file in `model/`, such as `model/resnet.rs`, with its registry entries at the end |
//! | what the registry knows of an architecture | `arch.rs` |
//! | stages, layer groups, heads | `backbone.rs`, `network.rs`, `head.rs` |
//! | layers | one file each in `layer/`, such as `layer/conv_bn_act.rs` |
//! | operations, by kernels or composed of Burn's | one file each in `op/`, such as `op/conv.rs`; the bridge to the kernels is `op/kernel.rs` |
//! | how a pass runs, in training and in inference | `pass.rs` |
//! | a network in 8-bit integers | `graph/int8.rs` |
//! | a network as a list of operations | `graph/mod.rs`, `op/operation.rs`, how it is recorded `op/trace.rs`, what files of it share `graph/export.rs` |
//! | weight files: safetensors, PyTorch checkpoints | `weights/mod.rs`, `weights/safetensors.rs`, `weights/pytorch.rs` |
//! | how parameters are found in a weights file, or initialised | `builder.rs` |
//! | devices | `device.rs` |
//! | errors | `error.rs` |

mod arch;
mod backbone;
pub mod builder;
mod device;
mod error;
pub mod graph;
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
pub use graph::{Graph, Int8Features, Ranges};
pub use head::{
    Classifier, Head, HeadForm, HeadKind, HiddenActivation, LinearHead, PublishedForm, PublishedHead,
    TransferHead,
};
pub use model::AnyBackbone;
pub use network::{GROUPS, Network, ParamKind, ParamRole, StageOutput};
pub use op::Precision;
pub use pass::{BatchStats, Pass, Statistics, TrainPass};
pub use weights::{NamedTensor, TensorFile};
