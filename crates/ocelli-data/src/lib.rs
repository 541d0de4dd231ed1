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
pub mod source;
pub mod split;

pub use dataset::Dataset;
pub use decode::{Decoder, RgbImage};
pub use digest::{Digest, digests};
pub use error::{DataError, DecodeError};
pub use items::{Classes, Item, Items, Skipped, Target, Task};
pub use loader::{BadImages, Batch, Batches, Loader, LoaderOptions};
pub use order::Order;
pub use preprocess::{Filter, Framing, Normalization, Preprocessing};
pub use random::{Draws, Purpose};
pub use split::Split;
