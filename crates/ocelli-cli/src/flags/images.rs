//! Flags for the preprocessing of images.

use std::str::FromStr;

use clap::Args;
use ocelli::{Augmentation, BadImages, Channels, Framing, RunConfig};

use crate::values::{names_help, one_of};

/// Framing, augmentation, bad images and bands.
#[derive(Debug, Args)]
pub struct ImageFlags {
    /// Augmentations, such as side-on or top-down
    #[arg(help_heading = "Images", long_help = augment_help())]
    #[arg(long, value_name = "NAME", value_delimiter = ',', hide_possible_values = true)]
    #[arg(value_parser = one_of::<Augmentation>(Augmentation::NAMES))]
    pub augment: Vec<Augmentation>,
    /// How photos are made square: crop, squish or pad [default: crop]
    #[arg(hide_short_help = true, hide_possible_values = true, help_heading = "Images")]
    #[arg(long_help = names_help("How photos are made square [default: crop]", Framing::NAMES))]
    #[arg(long, value_name = "MODE", value_parser = one_of::<Framing>(Framing::NAMES))]
    pub framing: Option<Framing>,
    /// What to do with images that cannot be read: few, skip or fail [default: few]
    #[arg(hide_short_help = true, hide_possible_values = true, help_heading = "Images")]
    #[arg(long_help = names_help("What to do with images that cannot be read [default: few]", BadImages::NAMES))]
    #[arg(long, value_name = "POLICY", value_parser = one_of::<BadImages>(BadImages::NAMES))]
    pub bad_images: Option<BadImages>,
    #[command(flatten)]
    pub channels: ChannelFlags,
}

/// The long help of `--augment`.
fn augment_help() -> String {
    let about = "Augmentations of training images; several are combined [default: the recipe's]\n\nThe recipes lesson and \
                 full have side-on, quick and fine-tune none.";
    names_help(about, Augmentation::NAMES)
}

impl ImageFlags {
    /// Applies the flags to settings.
    pub fn apply(&self, settings: &mut RunConfig) {
        settings.framing = self.framing.unwrap_or(settings.framing);
        settings.bad_images = self.bad_images.unwrap_or(settings.bad_images);
        if !self.augment.is_empty() {
            settings.augmentation = combined(&self.augment);
        }
        settings.channels.bands = self.channels.bands.or(settings.channels.bands);
        settings.channels.value_range = self.channels.value_range.or(settings.channels.value_range);
    }
}

/// All of the augmentations, one after the other; `None` if there is none but `none`.
pub fn combined(augmentations: &[Augmentation]) -> Option<Augmentation> {
    let none = Augmentation::none();
    augmentations.iter().filter(|augmentation| **augmentation != none).cloned().reduce(Augmentation::and)
}

/// Which bands of a file become red, green and blue. Not for verbs with a model, which reads images as in training.
#[derive(Debug, Args)]
pub struct ChannelFlags {
    /// Bands of multi-band images to use as red, green and blue, e.g. 4,3,2
    #[arg(hide_short_help = true, help_heading = "Images")]
    #[arg(long, value_name = "R,G,B", value_parser = bands)]
    pub bands: Option<Bands>,
    /// Values that become black and white in images of more than 8 bits, e.g. 0,4095
    ///
    /// [default: the full range of integers; 0,1 for floats]
    #[arg(hide_short_help = true, help_heading = "Images")]
    #[arg(long, value_name = "LOW,HIGH", allow_hyphen_values = true, value_parser = value_range)]
    pub value_range: Option<ValueRange>,
}

type Bands = [u16; 3];
type ValueRange = [f64; 2];

impl ChannelFlags {
    pub fn channels(&self) -> Channels {
        Channels { bands: self.bands, value_range: self.value_range }
    }
}

fn numbers<T: FromStr, const N: usize>(text: &str) -> Option<[T; N]> {
    let numbers: Result<Vec<T>, _> = text.split(',').map(|number| number.trim().parse()).collect();
    numbers.ok()?.try_into().ok()
}

/// `--bands 4,3,2`
fn bands(text: &str) -> Result<Bands, String> {
    let bands = numbers(text).filter(|bands: &Bands| !bands.contains(&0));
    bands.ok_or_else(|| {
        "expected three band numbers for red, green and blue, counted from 1, such as 4,3,2".into()
    })
}

/// `--value-range 0,4095`
fn value_range(text: &str) -> Result<ValueRange, String> {
    let range = numbers(text).filter(|[low, high]: &ValueRange| low < high);
    range.ok_or_else(|| "expected the values of black and white, such as 0,4095".to_owned())
}
