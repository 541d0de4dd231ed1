//! Image files in, batches out.

pub mod dataset;
pub mod decode;
pub mod digest;
pub mod error;
pub mod items;
pub mod loader;
pub mod order;
pub mod preprocess;
pub mod random;
mod resize;
pub mod source;
pub mod split;
mod threads;

pub use dataset::{Dataset, check_classes};
pub use decode::{Decoder, Format, RgbImage};
pub use digest::{Digest, digests};
pub use error::{DataError, DecodeError};
pub use items::{Classes, Item, Items, Skipped, Target, Task};
pub use loader::{BadImages, Batch, Batches, Loader, LoaderOptions};
pub use order::Order;
pub use preprocess::{Filter, Framing, Normalization, Preprocessing};
pub use random::{Draws, Purpose};
pub use split::Split;
