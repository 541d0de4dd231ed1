//! EfficientNet-Lite0's ImageNet weights, embedded: a pretrained image backbone that needs no download.
//!
//! EfficientNet-Lite0 is EfficientNet-B0 for small devices, without squeeze-and-excite and with ReLU6
//! for swish: 4.65 million parameters, 0.4 billion multiply-adds for an image of 224 × 224 pixels.
//! Google trained it on ImageNet-1k and states **75.1 % top-1 accuracy** for the weights in single
//! precision ([EfficientNet-Lite][lite]; the method is [Tan and Le, 2019][paper]). Rounding to half
//! precision, as here, moves no logit by more than 0.04 on 100 ImageNet photos (their standard deviation
//! is 1.1) and changes none of the 100 first choices.
//!
//! [`WEIGHTS`] is a file in [safetensors] format with 247 tensors under the names and shapes of timm's
//! `tf_efficientnet_lite0`: convolutions and the classifier's matrix in `F16`; biases and the batch
//! norms' weights, biases, running means and variances in `F32`, exact: a variance has no bound that would
//! keep it within the half range, and all of them take 0.3 MB. 130 channels are constant: their
//! variance is 0, which epsilon keeps harmless. The metadata says where the file is from: `architecture`,
//! `source`, `source_sha256`, `license`.
//!
//! ```
//! use safetensors::{Dtype, SafeTensors};
//!
//! let weights = SafeTensors::deserialize(ocelli_lite0::WEIGHTS)?;
//! let stem = weights.tensor("conv_stem.weight")?;
//! assert_eq!((stem.dtype(), stem.shape()), (Dtype::F16, &[32, 3, 3, 3][..]));
//!
//! assert_eq!(ocelli_lite0::CLASSES.lines().nth(291), Some("lion"));
//! # Ok::<(), safetensors::SafeTensorError>(())
//! ```
//!
//! # What the network must do
//!
//! The weights were trained in TensorFlow, so two things differ from most PyTorch networks:
//! convolutions pad as TensorFlow's `SAME` does (at stride 2 one row and column more at the bottom
//! and right than at the top and left, for even sizes), and batch norm's epsilon is 1e-3. With other
//! padding it still runs, and is several per cent less accurate.
//!
//! Images are RGB; each value `x` of 0 to 255 becomes `(x - MEAN) / STD`. ImageNet's usual frame is
//! [`RESIZED`], then [`SIZE`].
//!
//! # Files
//!
//! `convert.py` makes `weights.safetensors` and `CLASSES` from their public sources, byte for byte.
//! `NOTICE` says whose they are and what was changed; `LICENSE-APACHE` covers all but the class names,
//! which are under `LICENSE-BSD`.
//!
//! [lite]: https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite
//! [paper]: https://arxiv.org/abs/1905.11946
//! [safetensors]: https://docs.rs/safetensors

#![no_std]

/// The network's name in timm, and in [`WEIGHTS`]' metadata under `architecture`.
pub const ARCHITECTURE: &str = "tf_efficientnet_lite0";

/// The weights as a file in safetensors format, 9.6 MB.
///
/// The slice may begin at any address: read its numbers as bytes, not through a cast to `f32`.
pub const WEIGHTS: &[u8] = include_bytes!("../weights.safetensors");

/// SHA-256 of [`WEIGHTS`], in lower-case hexadecimal digits.
pub const WEIGHTS_SHA256: &str = "020a91a2c6739ea118e62d7f11cc29b27385447ddfc66d830f6c42ec3eae2b29";

/// The classifier's 1000 classes in the order of its outputs, one a line; no two are alike.
pub const CLASSES: &str = include_str!("../CLASSES");

/// Side of the square that the network was trained on, in pixels.
pub const SIZE: usize = 224;

/// Length of an image's shorter side, in pixels, before the middle [`SIZE`] × [`SIZE`] are cut out:
/// the usual frame for measuring accuracy on ImageNet.
pub const RESIZED: usize = 256;

/// What is subtracted from each channel's values of 0 to 255.
pub const MEAN: f32 = 127.0;

/// What each channel's values are divided by after [`MEAN`] is subtracted.
pub const STD: f32 = 128.0;

/// Where the weights and the class names come from, and what was changed.
pub const NOTICE: &str = include_str!("../NOTICE");

/// The weights' licence: the text of the Apache License 2.0.
pub const LICENSE: &str = include_str!("../LICENSE-APACHE");

/// The class names' licence: the text of the BSD 3-Clause License.
pub const CLASSES_LICENSE: &str = include_str!("../LICENSE-BSD");
