//! Resizing, with Pillow's rules: antialiased, and to within rounding its values.

use fast_image_resize as fir;

use crate::RgbImage;
use crate::preprocess::Filter;

impl Filter {
    fn algorithm(self) -> fir::ResizeAlg {
        fir::ResizeAlg::Convolution(match self {
            Filter::Area => fir::FilterType::Box,
            Filter::Bilinear => fir::FilterType::Bilinear,
            Filter::Bicubic => fir::FilterType::CatmullRom,
            Filter::Lanczos => fir::FilterType::Lanczos3,
        })
    }
}

/// Width and height when the shorter side becomes `side`; the longer one is rounded to the nearest pixel.
pub(crate) fn shorter_side_to(image: &RgbImage, side: u32) -> (u32, u32) {
    scaled(image, side, image.width().min(image.height()))
}

/// Width and height when the longer side becomes `side`; the shorter one is rounded, and at least 1.
pub(crate) fn longer_side_to(image: &RgbImage, side: u32) -> (u32, u32) {
    scaled(image, side, image.width().max(image.height()))
}

fn scaled(image: &RgbImage, side: u32, of: u32) -> (u32, u32) {
    let scale = |length: u32| {
        let scaled = f64::from(length) * f64::from(side) / f64::from(of);
        scaled.round().clamp(1.0, f64::from(u32::MAX)) as u32
    };
    (scale(image.width()), scale(image.height()))
}

/// Where a centred window of `size` begins on a side of `length ≥ size`: half of the rest, halves to even,
/// as in torchvision.
fn centred(length: u32, size: u32) -> u32 {
    (f64::from(length - size) / 2.0).round_ties_even() as u32
}

/// The image at exactly this width and height.
pub(crate) fn whole(image: &RgbImage, (width, height): (u32, u32), filter: Filter) -> Vec<u8> {
    let source = (0.0, 0.0, f64::from(image.width()), f64::from(image.height()));
    part(image, source, (width, height), filter)
}

/// The centre `size × size` of the image at this width and height; only that part is computed.
pub(crate) fn crop(image: &RgbImage, (width, height): (u32, u32), size: u32, filter: Filter) -> Vec<u8> {
    let (left, top) = (centred(width, size), centred(height, size));
    let (x, y) = (f64::from(image.width()) / f64::from(width), f64::from(image.height()) / f64::from(height));
    let across = within(f64::from(left) * x, f64::from(size) * x, image.width());
    let down = within(f64::from(top) * y, f64::from(size) * y, image.height());
    part(image, (f64::from(left) * x, f64::from(top) * y, across, down), (size, size), filter)
}

/// The largest length up to `length` that, from `start`, stays within `end` in spite of rounding.
fn within(start: f64, length: f64, end: u32) -> f64 {
    let mut length = length;
    while start + length > f64::from(end) {
        length = length.next_down();
    }
    length
}

/// The pixels of `inner` size in the middle of a square of `size`, the rest in the colour `ground`.
pub(crate) fn centre_on(pixels: &[u8], inner: (u32, u32), size: u32, ground: [u8; 3]) -> Vec<u8> {
    let size_bytes = size as usize * 3;
    let mut square = ground.repeat(size as usize * size as usize);
    let (left, top) = (centred(size, inner.0) as usize * 3, centred(size, inner.1) as usize);
    let row_bytes = inner.0 as usize * 3;
    for (row, line) in pixels.chunks_exact(row_bytes).enumerate() {
        let start = (top + row) * size_bytes + left;
        square[start..start + row_bytes].copy_from_slice(line);
    }
    square
}

/// The part (left, top, width, height) of the image, resized.
fn part(
    image: &RgbImage,
    (left, top, across, down): (f64, f64, f64, f64),
    to: (u32, u32),
    filter: Filter,
) -> Vec<u8> {
    let source =
        fir::images::ImageRef::new(image.width(), image.height(), image.pixels(), fir::PixelType::U8x3)
            .expect("an RgbImage has width · height · 3 bytes");
    let mut resized = fir::images::Image::new(to.0, to.1, fir::PixelType::U8x3);
    let options = fir::ResizeOptions::new().resize_alg(filter.algorithm()).crop(left, top, across, down);
    fir::Resizer::new().resize(&source, &mut resized, &options).expect("the part lies within the image");
    resized.into_vec()
}
