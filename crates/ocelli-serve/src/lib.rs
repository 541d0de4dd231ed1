//! HTTP servers on the machine's own processor: predictions of trained image classifiers.
//!
//! ```no_run
//! use std::sync::Arc;
//! use std::sync::atomic::AtomicBool;
//!
//! use ocelli::Model;
//! use ocelli_serve::{Classifiers, ServeOptions, Server};
//!
//! # fn main() -> Result<(), ocelli_serve::Error> {
//! let load = |path: &std::path::Path| Model::load(path);
//! let options = ServeOptions::default();
//! let models = Classifiers::load(&["runs/photos-1".into()], load, &options)?;
//! let server = Server::bind(models, &options.listen, |event| eprintln!("{event:?}"))?;
//! println!("{}", server.url());
//! server.run(Arc::new(AtomicBool::new(false)))
//! # }
//! ```
//!
//! A [`Server`] has the sockets, the guard, the limits of connections and the end; what it answers is a [`Site`]: a folder
//! of this crate with its routes and pages. `serve` is the one of predictions, `clean` the one where labels are cleaned, and
//! `watch`, with the feature of this name, the one of training runs.
//!
//! # How a request for predictions flows
//!
//! ```text
//! connection ─ guard: Host, Origin, token ─ body: size, time, memory ─► Job(model, image, what is wanted)
//! Job ─ decoding threads ─► sample ─ network threads: each its share of those that wait, in one batch ─► Outcome ─► answer
//! ```
//!
//! One thread reads requests and writes answers, one thread for each core decodes images, and one for each core runs
//! networks. So reading, decoding and computing overlap. No network thread waits for a batch to fill: it takes its share of
//! what is there. It computes by itself while the others compute, too; alone, it shares its work among all cores. Each image has a place in a bounded queue from its arrival to its answer; where no place
//! is free, the request is refused with 503 before anything is decoded.
//!
//! The probabilities of an image are those of `ocelli predict`, to the bit, whatever else is computed in its batch.
//!
//! No prediction writes to disk, and nothing that a client sends is a path, a URL or a command. Names of files are ids, which
//! come back in the answer.
//!
//! | to change | file |
//! |---|---|
//! | how a server listens | `options.rs` |
//! | sockets, limits of connections, the end | `server.rs`, `stream.rs` |
//! | a server beside other work | `background.rs` |
//! | who may ask | `guard.rs` |
//! | what every route has: headers, log, refusals of unknown addresses | `site.rs` |
//! | what all pages have: colours, how a server is asked | `base.css`, `base.js` |
//! | how requests are refused | `refusal.rs` |
//! | the access log, and what else is told | `event.rs` |
//! | how models are served, and the limits of requests | `serve/mod.rs`, `serve/options.rs` |
//! | queues, threads, batches | `serve/engine.rs` |
//! | the models, and their names | `serve/models.rs` |
//! | what a request uploads, and its options | `serve/upload.rs` |
//! | the answers, one function a route | `serve/routes.rs` |
//! | the Open Inference Protocol | `serve/oip.rs` |
//! | counts for Prometheus | `serve/metrics.rs` |
//! | the page | `serve/page.html` |
//! | the description of the routes | `serve/openapi.json` |
//! | which runs are shown, and what is known of each | `watch/runs.rs` |
//! | the answers about runs; stopping and continuing them | `watch/mod.rs`, `watch/routes.rs` |
//! | events as they are written | `watch/follow.rs` |
//! | photos of the validation set | `watch/photo.rs` |
//! | the page of runs | `watch/page.html`, `watch/page.css`, `watch/page.js` |
//! | label cleaning: lists and decisions over HTTP | `clean/mod.rs`, `clean/routes.rs` |
//! | its pictures, and how many are kept | `clean/pictures.rs` |
//! | training again, and the comparison | `clean/training.rs` |
//! | its page | `clean/page.html` |

mod background;
mod clean;
mod event;
mod guard;
mod options;
mod refusal;
mod serve;
mod server;
mod site;
mod stream;
#[cfg(feature = "watch")]
mod watch;

pub use background::Background;
pub use clean::{Cleaning, TrainCommand};
pub use event::{Access, Event};
pub use options::{Error, ListenOptions, random_token};
pub use serve::Classifiers;
pub use serve::options::ServeOptions;
pub use server::Server;
pub use site::Site;
#[cfg(feature = "watch")]
pub use watch::Runs;
