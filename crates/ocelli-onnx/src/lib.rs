//! Networks as ONNX files, and another engine to run them.
//!
//! [`Model::new`] writes the operations of a [`Graph`](ocelli_nn::Graph) as an ONNX model, with as much of the
//! preprocessing inside as [`Input`] says. [`Engine`] runs such a file in this process with
//! [rten](https://github.com/robertknight/rten), which shares no code with the network's own kernels: what both
//! compute alike is no accident.
//!
//! Files have opset 17, the oldest with layer norm. All operators are those of the standard; nothing of a vendor's
//! is in them.
//!
//! | to change | file |
//! |---|---|
//! | what a file is made of: inputs, outputs, metadata | `model.rs` |
//! | the operators of an operation | `network.rs` |
//! | resizing, cropping, normalising | `preprocess.rs` |
//! | the score of what a model has not seen | `unknown.rs` |
//! | 8-bit integers | `quantize.rs` |
//! | the messages of the format | `proto.rs`, and `builder.rs`, which makes nodes of them |
//! | the engine that checks | `engine.rs` |
//! | what is said of a file | `describe.rs` |
//! | errors | `error.rs` |

mod builder;
mod describe;
mod engine;
mod error;
mod model;
mod network;
mod preprocess;
mod proto;
mod quantize;
mod unknown;

pub use describe::{Description, ValueDescription};
pub use engine::{Element, Engine};
pub use error::{Error, Result};
pub use model::{Float, Input, Model, Options};
pub use quantize::Ranges;
