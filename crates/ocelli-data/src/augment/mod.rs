//! Data augmentation: random changes of training images that keep their class.
//!
//! An [`Augmentation`] is a value: how large the image is before the crop, where the crop lies, and a list of
//! [`Transform`]s. For one image in one epoch its random numbers are drawn (from seed, epoch and the item's
//! id), all geometry is composed into one affine map and all colour into a short list of maps. The part of
//! the image that the sample is taken from is resized once, and one pass over the sample computes every pixel
//! from that 8-bit image, with bilinear interpolation and without rounding in between.
//!
//! | module | content |
//! |---|---|
//! | [`transform`] | transforms, fastai's and others, and how each is drawn |
//! | [`policy`] | RandAugment and TrivialAugment |
//! | [`CustomTransform`] | custom transforms |
//! | [`mix`] | Mixup and CutMix, which mix the images of a batch |
//! | [`sheet`] | a contact sheet of augmented images |
//!
//! The presets have the values of fastai 0.7.

mod custom;
pub mod mix;
mod plan;
pub mod policy;
mod render;
pub mod sheet;
pub mod transform;

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::random::Draws;
use crate::resize::{Resize, centred};
use crate::{DataError, Filter, Framing, Preprocessing, RgbImage};
pub use custom::{CustomTransform, Pixels};
use plan::{Affine, Plan};
use policy::Policy;
use render::Canvas;
pub use transform::Transform;

/// The position of the `size × size` crop in the resized image.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Crop {
    /// Anywhere: the start is ⌊u · (side − size)⌋ on each axis, u uniform in [0, 1).
    #[default]
    Random,
    /// In the centre, as for validation.
    Center,
    /// At these fractions, 0 to 1, from left to right and from top to bottom: (0, 0) is the upper left
    /// corner, (1, 1) the lower right one.
    At(f64, f64),
    /// Random resized crop: a part of 8 to 100 % of the area with an aspect ratio of 3/4 to 4/3, resized to
    /// the square (Inception's crop, with fastai's linear draw of the ratio): up to ten tries, else the
    /// centre. Zoom and padding do not apply.
    GoogleNet,
}

/// The augmentation of training images, as a value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Augmentation {
    /// The transforms, in order.
    pub transforms: Vec<Transform>,
    /// With probability 0.75 the image is resized larger by a factor uniform in this range before the crop,
    /// or always by one factor if both ends are equal; (1, 1) is none.
    pub zoom: (f64, f64),
    /// The position of the crop.
    pub crop: Crop,
    /// Pixels added to every side of the resized image by reflection, so that the crop can move farther.
    pub pad: usize,
}

/// The probability with which fastai's `RandomScale` and `RandomRotate` act.
const USUALLY: f64 = 0.75;

impl Augmentation {
    /// The names that [`FromStr`] takes, with a line about each.
    pub const NAMES: &[(&str, &str)] = &[
        ("none", "Centre crop, as in validation"),
        ("basic", "Random crop, rotation by up to 10°, lighting"),
        ("side-on", "basic, zoom up to 1.1, flips: everyday photos"),
        ("top-down", "basic, zoom, rotations by 90°: aerial images"),
        ("trivial-augment", "TrivialAugment: one random operation per image"),
        ("rand-augment", "RandAugment: two random operations per image"),
        ("random-resized-crop", "8 % to 100 % of the area (Inception's crop)"),
        ("color-jitter", "Small changes of hue and saturation"),
        ("stretch", "Up to 10 % wider or higher"),
        ("blur", "Blurs half of the images"),
        ("cutout", "Cuts a black square out of half of the images"),
    ];

    /// Only a random crop.
    pub fn none() -> Self {
        Augmentation { transforms: Vec::new(), zoom: (1.0, 1.0), crop: Crop::Random, pad: 0 }
    }

    /// `transforms_basic`: rotation by up to 10° with probability 0.75, lighting by 0.05.
    pub fn basic() -> Self {
        Self::none()
            .with(Transform::Rotate { degrees: 10.0, probability: USUALLY })
            .with(Transform::Lighting { balance: 0.05, contrast: 0.05 })
    }

    /// `transforms_side_on`: basic and a horizontal flip; for photos taken from the side.
    pub fn side_on() -> Self {
        Self::basic().with(Transform::Flip { probability: 0.5 })
    }

    /// `transforms_top_down`: basic and the eight symmetries of the square; for satellite images and the
    /// like.
    pub fn top_down() -> Self {
        Self::basic().with(Transform::Dihedral)
    }

    /// Adds a transform at the end.
    pub fn with(mut self, transform: impl Into<Transform>) -> Self {
        self.transforms.push(transform.into());
        self
    }

    /// Combines two: the transforms of the other after these, the larger zoom and padding, and the other's
    /// crop unless that is the default, random.
    pub fn and(mut self, other: Self) -> Self {
        self.transforms.extend(other.transforms);
        Self {
            zoom: (self.zoom.0.max(other.zoom.0), self.zoom.1.max(other.zoom.1)),
            crop: if other.crop == Crop::Random { self.crop } else { other.crop },
            pad: self.pad.max(other.pad),
            ..self
        }
    }

    /// Zooms in by up to this factor; fastai's course uses 1.1 for photos from the side, 1.05 from above.
    pub fn max_zoom(self, factor: f64) -> Self {
        self.zoom(1.0, factor)
    }

    /// Zooms by a factor in this range.
    pub fn zoom(mut self, low: f64, high: f64) -> Self {
        self.zoom = (low, high);
        self
    }

    /// Sets the position of the crop.
    pub fn crop(mut self, crop: Crop) -> Self {
        self.crop = crop;
        self
    }

    /// Adds pixels to every side by reflection before the crop.
    pub fn pad(mut self, pixels: usize) -> Self {
        self.pad = pixels;
        self
    }

    /// Checks all settings.
    pub fn validate(&self) -> Result<(), DataError> {
        let (low, high) = self.zoom;
        if !(low >= 1.0 && low <= high && high <= 10.0) {
            let value = format!("{low} to {high}");
            return Err(DataError::Setting { name: "zoom", value, expected: "a range within 1 to 10" });
        }
        if let Crop::At(x, y) = self.crop
            && !((0.0..=1.0).contains(&x) && (0.0..=1.0).contains(&y))
        {
            let value = format!("{x}, {y}");
            return Err(DataError::Setting { name: "crop", value, expected: "two fractions from 0 to 1" });
        }
        if self.pad > 4096 {
            let value = self.pad.to_string();
            return Err(DataError::Setting { name: "pad", value, expected: "at most 4096 pixels" });
        }
        self.transforms.iter().try_for_each(Transform::validate)
    }

    /// Whether samples depend on the code of a [custom transform](CustomTransform).
    pub fn is_custom(&self) -> bool {
        self.transforms.iter().any(|transform| matches!(transform, Transform::Custom(_)))
    }

    /// The largest size in pixels that the shorter side of an image is resized to, for
    /// [`decode_for`](crate::Decoder::decode_for). A random resized crop may take any part, so it needs the
    /// whole image.
    pub fn needed(&self, preprocessing: &Preprocessing) -> u32 {
        match self.crop {
            Crop::GoogleNet => u32::MAX,
            _ => (f64::from(preprocessing.needed()) * self.zoom.1).ceil() as u32,
        }
    }

    /// The sample that a network sees: `[size, size, 3]`, into the `sample` of `size · size · 3` values.
    pub fn apply(
        &self,
        image: &RgbImage,
        preprocessing: &Preprocessing,
        draws: &mut Draws,
        sample: &mut [f32],
    ) -> Result<(), DataError> {
        self.validate()?;
        preprocessing.check_sample(sample)?;
        let size = preprocessing.size as u32;
        let base = self.base(image, preprocessing, draws);
        let mut plan = Plan::new(base.width, base.height);
        for transform in &self.transforms {
            transform.draw(draws, &base, &mut plan);
        }
        let (width, height) = plan.size();
        let [across, down] = [width, height].map(|side| f64::from(side - size));
        let start = match self.crop {
            // The product stays below the way, whose floor is the last start.
            Crop::Random => {
                let left = (draws.uniform() * across).floor();
                (left, (draws.uniform() * down).floor())
            }
            Crop::Center | Crop::GoogleNet => {
                (f64::from(centred(width, size)), f64::from(centred(height, size)))
            }
            Crop::At(x, y) => ((x * across).floor(), (y * down).floor()),
        };
        let (left, top) = base.border;
        let map = Affine::shift(-f64::from(left), -f64::from(top))
            .after(plan.map)
            .after(Affine::shift(start.0, start.1));
        let canvas = Canvas::new(&base, map, size);
        render::render(&canvas, &plan, map, size, &preprocessing.normalization, sample)
    }

    /// The image before its transforms: its zoom is drawn.
    fn base<'a>(&self, image: &'a RgbImage, preprocessing: &Preprocessing, draws: &mut Draws) -> Base<'a> {
        let size = preprocessing.size as u32;
        let filter = preprocessing.filter;
        let of = |resize: Resize, pad: u32| {
            let (width, height) = resize.size();
            let (width, height, border) = (width + 2 * pad, height + 2 * pad, (pad, pad));
            Base { image, resize, filter, width, height, border, ground: None }
        };
        if self.crop == Crop::GoogleNet {
            return of(Resize::part(google_net(image, draws), (size, size)), 0);
        }
        let (low, high) = self.zoom;
        let zoom = if low == high {
            low
        } else if draws.chance(USUALLY) {
            draws.between(low, high)
        } else {
            1.0
        };
        let side = (f64::from(preprocessing.needed()) * zoom) as u32;
        let pad = self.pad as u32;
        match preprocessing.framing {
            Framing::Crop { .. } => of(Resize::bounded_shorter_side_to(image, side), pad),
            Framing::Squish => of(Resize::whole(image, (side, side)), pad),
            Framing::Pad => {
                let resize = Resize::longer_side_to(image, side);
                let (width, height) = resize.size();
                let border = (centred(side, width) + pad, centred(side, height) + pad);
                let (width, height) = (side + 2 * pad, side + 2 * pad);
                let ground = Some(preprocessing.normalization.ground());
                Base { image, resize, filter, width, height, border, ground }
            }
        }
    }
}

impl FromStr for Augmentation {
    type Err = DataError;

    fn from_str(name: &str) -> Result<Self, DataError> {
        let only = |transform| Self::none().with(transform);
        Ok(match name {
            "none" => Self::none(),
            "basic" => Self::basic(),
            "side-on" => Self::side_on().max_zoom(1.1),
            "top-down" => Self::top_down().max_zoom(1.05),
            "trivial-augment" => only(Transform::Policy(Policy::trivial_augment())),
            "rand-augment" => only(Transform::Policy(Policy::rand_augment(2, 9.0))),
            "random-resized-crop" => Self::none().crop(Crop::GoogleNet),
            "color-jitter" => only(Transform::ColorJitter { hue: 0.03, saturation: 0.3 }),
            "stretch" => only(Transform::Stretch { max: 0.1 }),
            "blur" => only(Transform::Blur { strength: 3, probability: 0.5 }),
            "cutout" => only(Transform::Cutout { holes: 1, length: 0.25, probability: 0.5 }),
            _ => {
                return Err(DataError::Setting {
                    name: "augmentation",
                    value: name.to_owned(),
                    expected: "one of the names of Augmentation::NAMES, such as side-on",
                });
            }
        })
    }
}

/// What transforms begin with: the resized image and what is around it.
#[derive(Debug)]
pub(crate) struct Base<'a> {
    image: &'a RgbImage,
    resize: Resize,
    filter: Filter,
    /// With the border that counts as the image.
    width: u32,
    height: u32,
    /// Where the resized image begins in it.
    border: (u32, u32),
    /// The colour around it; `None`: the image reflected at its edges, which are repeated.
    ground: Option<[u8; 3]>,
}

impl Base<'_> {
    /// The means of the image's channels, in 0..=255. Resizing would not change them, but for rounding.
    pub(crate) fn means(&self) -> [f64; 3] {
        self.image.means()
    }

    /// How often each value occurs in the channels of the resized image.
    pub(crate) fn histograms(&self) -> [[u64; 256]; 3] {
        let mut histograms = [[0; 256]; 3];
        self.resize.run(self.image, self.filter, |_, row| {
            for pixel in row {
                for (histogram, &value) in histograms.iter_mut().zip(pixel) {
                    histogram[usize::from(value)] += 1;
                }
            }
        });
        histograms
    }
}

/// (left, top), (width, height) of a part of an image.
type Part = ((f64, f64), (f64, f64));

fn google_net(image: &RgbImage, draws: &mut Draws) -> Part {
    let (width, height) = (f64::from(image.width()), f64::from(image.height()));
    for _ in 0..10 {
        let area = draws.between(0.08, 1.0) * width * height;
        let aspect = draws.between(0.75, 1.333);
        let mut across = ((area * aspect).sqrt() + 0.5).floor();
        let mut down = ((area / aspect).sqrt() + 0.5).floor();
        if draws.chance(0.5) {
            (across, down) = (down, across);
        }
        if (1.0..=width).contains(&across) && (1.0..=height).contains(&down) {
            let left = (draws.uniform() * (width - across + 1.0)).floor().min(width - across);
            let top = (draws.uniform() * (height - down + 1.0)).floor().min(height - down);
            return ((left, top), (across, down));
        }
    }
    let side = width.min(height);
    (((width - side) / 2.0, (height - side) / 2.0), (side, side))
}
