//! Image files in, batches out: fast, bounded in memory, and the same with any number of threads.
//!
//! ```text
//! folder ─ source ─► Items ─ split ─► train │ valid │ test        which images, and what is in them
//! file ─ decode ─► RgbImage ─ Preprocessing ─► sample             what a network sees of one
//! indices ─ Order ─► Loader ─► Batch(indices, images NHWC)        many of them, in order
//! ```
//!
//! A *source* lists files, never trusting names, and gives a [`Dataset`]: [`Items`] with stable ids and targets, the split
//! if the source has one, and everything that was left out, with the reason. [`mod@split`] makes a split from the
//! [digests] of the files, so that copies of an image stay on one side. Nothing is decoded so far, except by
//! [`check_classes`], which makes sure that each class has an image that can be.
//!
//! A [`Loader`] takes items and a [`Preprocessing`], the part of a model's contract that is about images, and turns lists of
//! indices into batches. Each thread decodes an image with the [`Decoder`], frames and resizes it, changes it at random if
//! an [`Augmentation`] is set, all in one warp, and writes it into its position of the batch. Random changes are
//! [draws](Draws) from (seed, epoch, item), so batches are the same with any number of threads, and after a restart.
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
//!     let order = Order::Shuffled { seed: 42 }.of(&items, &split.train, epoch);
//!     for batch in loader.batches(order, epoch)? {
//!         let batch = batch?;
//!         println!("{:?}", batch.shape); // [64, 224, 224, 3]
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Modules
//!
//! | module | what it knows |
//! |---|---|
//! | [`source`] | folders, tables of labels, lists: which files are images, and their classes |
//! | [`items`], [`dataset`] | items with stable ids, targets, classes; what was left out |
//! | [`digest`], [`groups`], [`mod@split`] | the identity of files; what belongs together; who is held out |
//! | [`decode`] | bytes to upright RGB pixels |
//! | [`mod@inspect`] | what is worth knowing of a data set before it is trained on, as a report and as a page |
//! | [`store`] | images resized once, kept in the cache folder |
//! | [`files`] | every access to files that are written here and read again; faults for tests |
//! | [`preprocess`] | framing, resizing, normalization: the part of a model's contract that is about images |
//! | [`augment`] | random changes of training images: fastai's presets, policies, mixup |
//! | [`order`], [`loader`] | epochs, batches, threads |
//! | [`names`] | paths that are not UTF-8, as text |
//! | [`picture`] | what Ocelli draws, marked so that it is no photo |
//! | [`random`] | draws as functions of (seed, purpose, epoch, key) |
//! | [`error`] | what can be wrong, said for people |
//! | [`path_text`] | paths in files of text |
//! | `formula.rs` | text in tables that a spreadsheet would take for a formula |
//! | [`text`] | numbers as people read them |

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
pub mod order;
pub mod path_text;
mod photo_file;
pub mod picture;
pub mod preprocess;
pub mod random;
mod resize;
pub mod source;
mod spare;
pub mod split;
pub mod store;
pub mod text;
mod threads;

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
pub use names::text_of;
pub use order::Order;
pub use preprocess::{Framing, Normalization, Preprocessing};
pub use random::{Draws, Purpose};
pub use resize::Filter;
pub use split::Split;
pub use store::Store;
pub use threads::{MAX_THREADS, check_threads};
