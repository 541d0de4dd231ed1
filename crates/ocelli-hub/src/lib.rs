//! Pretrained weights by name: found on this machine, or downloaded from where they are published.
//!
//! A [`WeightStore`] knows where the weights of a backbone may be: in Ocelli's cache folder, in torch hub's,
//! and in the Hugging Face hub's. [`WeightStore::find`] looks there, and compares what it finds with the
//! published checksum. `WeightStore::pull` downloads what is missing, torchvision's weights from its own
//! server and timm's from the Hugging Face hub. The file goes into the cache folder under a descriptive name,
//! whole and verified, or not at all; an interrupted download resumes where it stopped. Nothing is downloaded
//! unasked.
//!
//! `download` does the same for any one file: the store decides which file, from where and to where, and
//! `download` moves its bytes; `reach` asks whether a server answers. No other code of Ocelli opens a socket.
//! Without the feature `download` (on by default) both are left out, and no HTTP client or TLS library is
//! compiled; finding works as before.
//!
#![cfg_attr(feature = "download", doc = "```no_run")]
#![cfg_attr(not(feature = "download"), doc = "```ignore")]
//! use std::ops::ControlFlow;
//!
//! use ocelli_hub::WeightStore;
//! use ocelli_nn::Arch;
//!
//! # fn main() -> ocelli_hub::Result<()> {
//! let store = WeightStore::from_environment()?;
//! let path = store.pull(Arch::EfficientNetLite1, &mut |_| ControlFlow::Continue(()))?;
//! # Ok(())
//! # }
//! ```
//!
//! | environment variable | what it sets | default |
//! |---|---|---|
//! | `OCELLI_CACHE` | the cache folder; weights are in `weights/` | `ocelli` in the user's cache folder |
//! | `OCELLI_TORCHVISION_URL` | a mirror of torchvision's weights | `https://download.pytorch.org/models` |
//! | `HF_ENDPOINT` | a mirror of the Hugging Face hub | `https://huggingface.co` |
//! | `NPM_CONFIG_REGISTRY` | a mirror of npm's registry | `https://registry.npmjs.org` |
//! | `TORCH_HOME` | the folder in which torch hub keeps `hub/checkpoints` | `~/.cache/torch` |
//! | `HF_HUB_CACHE`, `HF_HOME` | Hugging Face's cache, the folder that has it in `hub` | `~/.cache/huggingface` |
//! | `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY` | proxies | none |
//!
//! | to change | file |
//! |---|---|
//! | which file a backbone's weights are in | `store.rs` |
//! | the caches of other programs | `other_caches.rs` |
//! | packages of npm | `npm.rs` |
//! | the cache folder | `cache.rs` |
//! | how a file is downloaded, and its checksums | `download.rs`, `checksum.rs` |
//! | errors | `error.rs` |

mod cache;
mod checksum;
#[cfg(feature = "download")]
mod download;
mod error;
mod npm;
mod other_caches;
mod retry;
mod store;

pub use cache::{CACHE_VARIABLE, default_cache};
pub use checksum::{Checksum, RemoteFile};
#[cfg(feature = "download")]
pub use download::{PullEvent, Watch, download, reach};
pub use error::{Error, Result};
pub use npm::{NpmPackage, npm_registry};
pub use retry::RetryPolicy;
pub use store::WeightStore;
