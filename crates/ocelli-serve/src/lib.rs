//! Predictions of trained image classifiers over HTTP, on the machine's own processor.
//!
//! ```no_run
//! use std::sync::Arc;
//! use std::sync::atomic::AtomicBool;
//!
//! use ocelli::Model;
//! use ocelli_serve::{ServeOptions, Server};
//!
//! # fn main() -> Result<(), ocelli_serve::Error> {
//! let load = |path: &std::path::Path| Model::load(path);
//! let server = Server::bind(&["runs/photos-1".into()], load, ServeOptions::default(), |event| eprintln!("{event:?}"))?;
//! println!("{}", server.url());
//! server.run(Arc::new(AtomicBool::new(false)))
//! # }
//! ```
//!
//! # How a request flows
//!
//! ```text
//! connection ─ guard: Host, Origin, token ─ body: size, time, memory ─► Job(model, image, what is wanted)
//! Job ─ decoding threads ─► sample ─ one network thread: all that wait, in one batch ─► Outcome ─► answer
//! ```
//!
//! One thread reads requests and writes answers, one thread for each core decodes images, and one thread runs networks,
//! whose kernels use all cores. So reading, decoding and computing overlap. The network thread never waits for a batch to
//! fill: it takes what is there. Each image has a place in a bounded queue from its arrival to its answer; where no place
//! is free, the request is refused with 503 before anything is decoded.
//!
//! The probabilities of an image are those of `ocelli predict`, to the bit, whatever else is computed in its batch.
//!
//! Nothing is written to disk, and nothing that a client sends is a path, a URL or a command. Names of files are ids, which
//! come back in the answer.
//!
//! | to change | file |
//! |---|---|
//! | what can be set | `options.rs` |
//! | sockets, limits of connections, the end | `server.rs`, `stream.rs` |
//! | who may ask | `guard.rs` |
//! | queues, threads, batches | `engine.rs` |
//! | the models, and their names | `models.rs` |
//! | what a request uploads, and its options | `upload.rs` |
//! | the answers, one function a route | `routes.rs` |
//! | the Open Inference Protocol | `oip.rs` |
//! | how requests are refused | `refusal.rs` |
//! | the access log, and what else is told | `event.rs` |
//! | counts for Prometheus | `metrics.rs` |
//! | the page | `page.html` |
//! | the description of the routes | `openapi.json` |

mod engine;
mod event;
mod guard;
mod metrics;
mod models;
mod oip;
mod options;
mod refusal;
mod routes;
mod server;
mod stream;
mod upload;

pub use event::{Access, Event};
pub use options::{Error, ServeOptions, random_token};
pub use server::Server;
