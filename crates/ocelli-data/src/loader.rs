//! Batches of samples, made by threads ahead of their use.

use std::sync::Arc;

use crate::{DataError, Decoder, Items, Preprocessing, Skipped};

/// What to do about an image that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BadImages {
    /// Leave it out of its batch and list it.
    #[default]
    Skip,
    /// Stop with an error that names it.
    Fail,
}

/// How batches are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoaderOptions {
    /// Images a batch, before bad ones are left out.
    pub batch_size: usize,
    /// Threads that decode; 0: one for each core.
    pub threads: usize,
    /// Batches kept ready ahead of the one in use, at least 1: with the batch size, what bounds the memory.
    pub prefetch: usize,
    /// What to do about an image that cannot be used.
    pub bad_images: BadImages,
    /// The limits of decoding.
    pub decoder: Decoder,
}

impl Default for LoaderOptions {
    fn default() -> Self {
        LoaderOptions {
            batch_size: 64,
            threads: 0,
            prefetch: 2,
            bad_images: BadImages::Skip,
            decoder: Decoder::default(),
        }
    }
}

/// Some images as a network sees them.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// The items in this batch, as indices into [`Items`]: the first dimension of `images`.
    pub indices: Vec<usize>,
    /// `[images, size, size, 3]`: NHWC.
    pub images: Vec<f32>,
    /// The shape of `images`; the first number may be 0, if no image of the batch could be used.
    pub shape: [usize; 4],
    /// The images that belonged to this batch and could not be used.
    pub skipped: Vec<Skipped>,
}

/// Makes batches of the items of a data set.
///
/// The same items, order and settings give the same batches to the bit, whatever the number of threads.
#[derive(Debug, Clone)]
pub struct Loader {
    items: Arc<Items>,
    preprocessing: Preprocessing,
    options: LoaderOptions,
}

impl Loader {
    /// A loader without augmentation: what validation and prediction see.
    pub fn new(
        items: Arc<Items>,
        preprocessing: Preprocessing,
        options: LoaderOptions,
    ) -> Result<Self, DataError> {
        Ok(Loader { items, preprocessing, options })
    }

    /// The batches of one pass over the items at `indices`, in this order, in `epoch` (which decides the
    /// random draws of an augmentation).
    pub fn batches(&self, indices: Vec<usize>, epoch: u64) -> Batches {
        let _ = (&self.items, self.preprocessing, self.options, indices, epoch);
        todo!()
    }
}

/// The batches of one pass, in order. Dropping it stops its threads.
#[derive(Debug)]
pub struct Batches {}

impl Iterator for Batches {
    type Item = Result<Batch, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        todo!()
    }
}
