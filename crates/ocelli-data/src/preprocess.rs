//! Preprocessing: from an upright image of any size to a network's input.

use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::decode::budget;
use crate::resize::{self, Filter, Resize};
use crate::{DataError, Decoder, RgbImage, spare};

/// The largest side of a sample: 800 MB of floats.
const MAX_SIZE: usize = 8192;

/// How photos are made square: resize mode and crop (fastai's `ResizeMethod`, timm's `crop_mode`).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Framing {
    /// The shorter side is resized to ⌊size / `fraction`⌋ and the centre `size × size` is cropped: a
    /// `fraction` of 1 only cuts off the ends of the longer side. ImageNet's usual 256 → 224 is 0.875.
    ///
    /// Rounded as by torchvision's `Resize` and `CenterCrop`, and so by timm: the longer side loses its
    /// fraction of a pixel; where an odd number of pixels is cut off, halves go to the even start.
    Crop {
        /// The fraction of the shorter side that remains, in (0, 1].
        fraction: f64,
    },
    /// Both sides are resized to `size`, without keeping the aspect ratio.
    Squish,
    /// The longer side is resized to `size`, and the rest is filled with the mean colour of the normalization
    /// (so that the network sees zeros there). Rounded as by Pillow's `ImageOps.pad`.
    Pad,
}

impl Framing {
    /// The names that [`FromStr`] takes, with a line about each.
    pub const NAMES: &[(&str, &str)] = &[
        ("crop", "Resize the shorter side, crop the longer one"),
        ("squish", "Resize both sides, which distorts shapes"),
        ("pad", "Resize the longer side, fill up with the mean colour"),
    ];
}

impl FromStr for Framing {
    type Err = DataError;

    fn from_str(name: &str) -> Result<Self, DataError> {
        match name {
            "crop" => Ok(Self::Crop { fraction: 1.0 }),
            "squish" => Ok(Self::Squish),
            "pad" => Ok(Self::Pad),
            _ => Err(DataError::Setting {
                name: "framing",
                value: name.to_owned(),
                expected: "crop, squish or pad",
            }),
        }
    }
}

/// x ↦ (x − mean) / std for each channel, where x is a red, green or blue value in 0..=255.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Normalization {
    /// Red, green, blue, in 0..=255.
    pub mean: [f32; 3],
    /// Red, green, blue, in 0..=255; each more than 0.
    pub std: [f32; 3],
}

impl Normalization {
    /// Torchvision's statistics of ImageNet: mean (0.485, 0.456, 0.406), std (0.229, 0.224, 0.225), times
    /// 255.
    pub const IMAGENET: Normalization =
        Normalization { mean: [123.675, 116.28, 103.53], std: [58.395, 57.12, 57.375] };
    /// Inception's: mean 0.5, std 0.5, times 255.
    pub const INCEPTION: Normalization = Normalization { mean: [127.5; 3], std: [127.5; 3] };
    /// EfficientNet-Lite's: (x − 127) / 128.
    pub const LITE: Normalization = Normalization { mean: [127.0; 3], std: [128.0; 3] };

    /// 8-bit RGB of normalized values, to look at a sample.
    pub fn undo(&self, sample: &[f32]) -> Vec<u8> {
        let value = |(at, x): (usize, &f32)| {
            (x * self.std[at % 3] + self.mean[at % 3]).round().clamp(0.0, 255.0) as u8
        };
        sample.iter().enumerate().map(value).collect()
    }

    /// The colour around a padded image, red, green, blue: the mean, rounded, which becomes nearly 0.
    pub fn ground(&self) -> [u8; 3] {
        self.mean.map(|value| value.round().clamp(0.0, 255.0) as u8)
    }

    /// Normalizes interleaved RGB values in 0..=255.
    #[inline(always)]
    pub(crate) fn apply_to(&self, sample: &mut [f32]) {
        // Sixteen pixels at once fill whole vectors.
        let mean: [f32; 48] = std::array::from_fn(|at| self.mean[at % 3]);
        let factor: [f32; 48] = std::array::from_fn(|at| 1.0 / self.std[at % 3]);
        for pixels in sample.chunks_mut(48) {
            for ((value, mean), factor) in pixels.iter_mut().zip(mean).zip(factor) {
                *value = (*value - mean) * factor;
            }
        }
    }

    /// The normalized values of 0, 1, … 255 in each channel.
    fn table(&self) -> [[f32; 256]; 3] {
        std::array::from_fn(|channel| {
            std::array::from_fn(|value| (value as f32 - self.mean[channel]) / self.std[channel])
        })
    }
}

/// The preprocessing of decoded images, a part of a model's configuration.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Preprocessing {
    /// The side of the square, in pixels.
    pub size: usize,
    /// The resize mode.
    pub framing: Framing,
    /// The resampling filter.
    pub filter: Filter,
    /// The normalization.
    pub normalization: Normalization,
}

impl Preprocessing {
    /// Checks all settings.
    pub fn validate(&self) -> Result<(), DataError> {
        if !(1..=MAX_SIZE).contains(&self.size) {
            return Err(DataError::setting("size", self.size, "a number of pixels from 1 to 8192"));
        }
        if let Framing::Crop { fraction } = self.framing
            && !(fraction > 0.0 && fraction <= 1.0 && self.size as f64 / fraction <= 2.0 * MAX_SIZE as f64)
        {
            return Err(DataError::setting(
                "framing",
                format!("a crop of {fraction}"),
                "a crop of a fraction above 0 (with less than 16384 pixels before the crop) and at most 1",
            ));
        }
        let Normalization { mean, std } = self.normalization;
        if !mean.iter().all(|value| value.is_finite()) {
            return Err(DataError::setting(
                "mean",
                format!("{mean:?}"),
                "three finite numbers, in units of 0..=255",
            ));
        }
        if !std.iter().all(|value| value.is_finite() && *value > 0.0) {
            return Err(DataError::setting(
                "std",
                format!("{std:?}"),
                "three numbers above 0, in units of 0..=255",
            ));
        }
        Ok(())
    }

    /// The number of values in a sample: size · size · 3.
    pub fn sample_len(&self) -> usize {
        self.size * self.size * 3
    }

    /// The pixels that the shorter side of an image is resized to, before any zoom, for
    /// [`Decoder::decode_for`]. For squished or padded images it is the side that is resized less.
    pub fn needed(&self) -> u32 {
        match self.framing {
            Framing::Crop { fraction } => (self.size as f64 / fraction).floor() as u32,
            Framing::Squish | Framing::Pad => self.size as u32,
        }
    }

    /// Reads an image and makes the sample that a network sees: as [`Loader`](crate::Loader) does without
    /// augmentation, to the bit.
    pub fn load(
        &self,
        path: impl AsRef<Path>,
        decoder: &Decoder,
        sample: &mut [f32],
    ) -> Result<(), DataError> {
        let _scope = budget::scope();
        let image = decoder.decode_file_for(path, self.needed())?;
        let applied = self.apply(&image, sample);
        spare::keep(image.into_pixels());
        applied
    }

    pub(crate) fn check_sample(&self, sample: &[f32]) -> Result<(), DataError> {
        match sample.len() == self.sample_len() {
            true => Ok(()),
            false => Err(DataError::setting(
                "sample",
                format!("{} values", sample.len()),
                "size · size · 3 values",
            )),
        }
    }

    /// How an image is resized, and the position of the result in the square.
    fn framed(&self, image: &RgbImage) -> (Resize, (usize, usize)) {
        let size = self.size as u32;
        match self.framing {
            Framing::Crop { .. } => (Resize::shorter_side_to(image, self.needed()).centre(size), (0, 0)),
            Framing::Squish => (Resize::whole(image, (size, size)), (0, 0)),
            Framing::Pad => {
                let inner = Resize::longer_side_to(image, size);
                let (width, height) = inner.size();
                (inner, (resize::centred(size, width) as usize, resize::centred(size, height) as usize))
            }
        }
    }

    /// Reads an image and frames it.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn frame_file(&self, path: impl AsRef<Path>, decoder: &Decoder) -> Result<RgbImage, DataError> {
        self.frame(&decoder.decode_file_for(path, self.needed())?)
    }

    /// The image before normalization, `size × size`, for people.
    pub fn frame(&self, image: &RgbImage) -> Result<RgbImage, DataError> {
        self.validate()?;
        let (resize, (left, top)) = self.framed(image);
        let mut pixels = self.normalization.ground().repeat(self.size * self.size);
        resize.run(image, self.filter, |row, line| {
            let into = &mut pixels[((top + row) * self.size + left) * 3..][..line.len() * 3];
            for (pixel, [red, green, blue, _]) in into.as_chunks_mut().0.iter_mut().zip(line) {
                *pixel = [*red, *green, *blue];
            }
        });
        let size = self.size as u32;
        Ok(RgbImage::new(size, size, pixels).expect("framing gives size × size pixels"))
    }

    /// The sample that a network sees: `[size, size, 3]`, into the `sample` of
    /// [`sample_len`](Self::sample_len) values.
    pub fn apply(&self, image: &RgbImage, sample: &mut [f32]) -> Result<(), DataError> {
        self.validate()?;
        self.check_sample(sample)?;
        let (resize, (left, top)) = self.framed(image);
        let table = self.normalization.table();
        let normalized = |pixel: &[u8]| -> [f32; 3] {
            std::array::from_fn(|channel| table[channel][usize::from(pixel[channel])])
        };
        let pixels = sample.as_chunks_mut().0;
        if resize.size() != (self.size as u32, self.size as u32) {
            pixels.fill(normalized(&self.normalization.ground()));
        }
        resize.run(image, self.filter, |row, line| {
            for (sample, pixel) in pixels[(top + row) * self.size + left..].iter_mut().zip(line) {
                *sample = normalized(pixel);
            }
        });
        Ok(())
    }
}
