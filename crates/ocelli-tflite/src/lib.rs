//! Networks as TFLite files, which LiteRT runs, and a slow interpreter to check them.
//!
//! [`Model::new`] writes the operations of a [`Graph`](ocelli_nn::Graph) as a TFLite model of 32-bit floats: images are
//! channels last, as everywhere in LiteRT. [`Interpreter`] reads such a file back and computes in f64 what it says. It
//! shares no code with the network's own kernels, so that a wrong weight, a wrong order of dimensions or a wrong padding
//! shows; that LiteRT reads the format as it does is shown by `tests/run_litert.py`, which needs LiteRT.
//!
//! All operators are built-in ones. The format is a FlatBuffer; what is needed of that is so little that it is written
//! here: the crate `flatbuffers` reads through unsafe code, and cannot align weights to 16 bytes without it.
//!
//! | to change | file |
//! |---|---|
//! | what a file is made of: inputs, outputs | `model.rs` |
//! | the operators of an operation | `network.rs` |
//! | the score of what a model has not seen | `unknown.rs` |
//! | labels and other files inside | `metadata.rs` |
//! | numbers of the format | `schema.rs` |
//! | tensors and operators, one after the other | `builder.rs` |
//! | tables as bytes, and back | `flatbuffer.rs` |
//! | what a file says, as plain values | `file.rs` |
//! | the interpreter | `interpreter.rs`, `kernels.rs` |
//! | errors | `error.rs` |

mod builder;
mod error;
mod file;
mod flatbuffer;
mod interpreter;
mod kernels;
mod metadata;
mod model;
mod network;
mod schema;
mod unknown;

pub use error::{Error, Result};
pub use interpreter::{Images, Interpreter};
pub use model::{Input, Model, Normalization, Options};

/// Whether a file begins as a TFLite model does, given its first eight bytes.
pub fn begins(start: &[u8]) -> bool {
    start.get(4..8) == Some(schema::IDENTIFIER)
}
