//! Options of loading images, from the builder to the loader.

use ocelli_data::{Augmentation, Filter, Framing, LoaderOptions, Normalization, Preprocessing};

use crate::error::{Error, Result};

/// See the setters of [`ImageDataBuilder`](crate::ImageDataBuilder).
#[derive(Debug, Clone)]
pub(crate) struct ImageOptions {
    /// The image size in pixels.
    pub(crate) size: usize,
    pub(crate) framing: Framing,
    pub(crate) filter: Filter,
    pub(crate) augmentation: Option<Augmentation>,
    pub(crate) balanced_sampling: bool,
    pub(crate) loading: LoaderOptions,
}

/// The largest batch.
const MAX_BATCH: usize = 1 << 16;

impl Default for ImageOptions {
    fn default() -> Self {
        Self {
            size: 224,
            framing: Framing::Crop { fraction: 1.0 },
            filter: Filter::Bicubic,
            augmentation: None,
            balanced_sampling: false,
            loading: LoaderOptions::default(),
        }
    }
}

impl ImageOptions {
    /// The preprocessing for a network with this normalisation.
    pub(crate) fn preprocessing(&self, normalization: Normalization) -> Preprocessing {
        Preprocessing { size: self.size, framing: self.framing, filter: self.filter, normalization }
    }

    /// Checks the preprocessing.
    pub(crate) fn check_preprocessing(&self) -> Result<()> {
        // Any valid normalisation; the network's is set later.
        Ok(self.preprocessing(Normalization::IMAGENET).validate()?)
    }

    /// Checks everything that training needs.
    pub(crate) fn check(&self) -> Result<()> {
        self.check_preprocessing()?;
        if !(2..=MAX_BATCH).contains(&self.loading.batch_size) {
            return Err(Error::setting(
                "batch_size",
                self.loading.batch_size,
                "from 2, since batch norm needs more than one image, to 65,536",
            ));
        }
        if let Some(augmentation) = &self.augmentation {
            augmentation.validate()?;
        }
        Ok(self.loading.decoder.channels.validate()?)
    }
}
