//! Image files in, batches out: fast, bounded in memory, and the same with any number of threads.
//!
//! ```text
//! folder ─ source ─► Items ─ split ─► train │ valid │ test        which images, and their labels
//! file ─ decode ─► RgbImage ─ Preprocessing ─► sample             a network's input
//! indices ─ Sampler ─► Loader ─► Batch(indices, images NHWC)      many of them, in order
//! ```
//!
//! # How the parts meet
//!
//! A *source* lists files, without trusting their names, and returns a [`Dataset`]: [`Items`] with stable ids
//! and targets, the source's own split if it has one, and everything that was skipped, with the reason.
//! [`mod@split`] makes a split from the [digests] of the files, so that copies of an image stay on one side.
//! Nothing is decoded so far, except by [`check_classes`], which checks that each class has an image that can
//! be decoded.
//!
//! A [`Loader`] takes items and a [`Preprocessing`], the part of a model's configuration that is about
//! images, and turns lists of indices, which a [`Sampler`] draws, into batches. Each thread decodes an image
//! with the [`Decoder`], frames, resizes and augments it in one warp, and writes it to its position in the
//! batch. Augmentation is [drawn](Draws) from (seed, epoch, item), so batches are the same with any number of
//! threads, and after a restart.
//!
//! # Example
//!
//! ```no_run
//! use std::sync::Arc;
//! use ocelli_data::*;
//!
//! # fn main() -> Result<(), DataError> {
//! let data = source::folder::read("photos")?;
//! for skipped in &data.skipped {
//!     eprintln!("{}: {}", skipped.path.display(), skipped.reason);
//! }
//! let items = Arc::new(data.items);
//! let split = match data.split {
//!     Some(split) => split,
//!     None => split::stratified(&items, &digests(&items, 0, || ())?, &[], 0.2, 42)?,
//! };
//! check_classes(&items, &split.train, &Decoder::default(), 0)?;
//!
//! let preprocessing = Preprocessing {
//!     size: 224,
//!     framing: Framing::Crop { fraction: 0.875 },
//!     filter: Filter::Bicubic,
//!     normalization: Normalization::IMAGENET,
//! };
//! let loader = Loader::new(Arc::clone(&items), preprocessing, LoaderOptions::default())?;
//! for epoch in 0..3 {
//!     let order = Sampler::Shuffled { seed: 42 }.of(&items, &split.train, epoch);
//!     for batch in loader.batches(order, epoch)? {
//!         let batch = batch?;
//!         println!("{:?}", batch.shape); // [64, 224, 224, 3]
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! | to change | file |
//! |---|---|
//! | folders of class folders, and splits of folders | `source/folder/mod.rs` |
//! | tables of labels | `source/table/mod.rs` |
//! | which files are listed, which are masks | `source/listing.rs`, `source/list.rs`, `source/masks.rs` |
//! | items, targets, classes; what a source found | `items.rs`, `dataset.rs` |
//! | hashes of files, groups of images, splits | `digest.rs`, `groups.rs`, `split.rs` |
//! | decoding: formats, orientation, colours | `decode/mod.rs` |
//! | framing, resizing, normalization | `preprocess.rs`, `resize.rs` |
//! | augmentation | `augment/mod.rs`, and a transform in `augment/transform.rs` |
//! | samplers, batches, threads | `sampler.rs`, `loader.rs`, `threads.rs` |
//! | random draws | `random.rs` |
//! | resized copies of images | `store.rs` |
//! | inspection of a data set | `inspect/mod.rs`, `inspect/report.rs` |
//! | writing and reading files; scratch files; faults for tests | `files.rs`, `files/scratch.rs`, `files/fault.rs` |
//! | the timeline of a process | `timeline.rs` |
//! | paths as text, text in CSV files | `names.rs`, `path_text.rs`, `formula.rs` |
//! | pictures that Ocelli draws | `picture.rs` |
//! | errors | `error.rs` |

pub mod augment;
mod buffer;
pub mod dataset;
pub mod decode;
pub mod digest;
pub mod error;
pub mod files;
mod formula;
pub mod groups;
pub mod inspect;
pub mod items;
pub mod loader;
pub mod names;
pub mod path_text;
mod photo_file;
pub mod picture;
pub mod preprocess;
pub mod random;
pub mod registry;
mod resize;
pub mod sampler;
pub mod source;
mod spare;
pub mod split;
pub mod store;
pub mod text;
mod threads;
pub mod timeline;

pub use augment::{Augmentation, Crop, CustomTransform, Pixels, Transform};
pub use buffer::Buffer;
pub use dataset::{ClassLoss, Dataset, check_classes, class_losses, undecodable_classes};
pub use decode::{Channels, Decoder, Format, RgbImage};
pub use digest::{Digest, digests};
pub use error::{DataError, DecodeError, io_reason};
pub use files::write_whole;
pub use formula::{escape_formula, unescape_formula};
pub use groups::Grouping;
pub use inspect::{Inspection, Report, inspect};
pub use items::{Classes, Item, Items, Skipped, Target, Task};
pub use loader::{BadImages, Batch, Batches, Loader, LoaderOptions};
pub use names::{stem_of, text_of};
pub use photo_file::read_photo;
pub use preprocess::{Framing, Normalization, Preprocessing};
pub use random::{Draws, Purpose};
pub use resize::Filter;
pub use sampler::Sampler;
pub use split::Split;
pub use store::Store;
pub use threads::{MAX_THREADS, check_threads};
