//! Resizing, with Pillow's rules: antialiased, and to within rounding its values.

use fast_image_resize as fir;

use crate::preprocess::Filter;
use crate::{RgbImage, spare};

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

/// How much longer than its shorter side an image may be before a random crop sees its middle only.
const LONGEST: f64 = 16.0;

/// The part (left, top, width, height) of the image and its size when its shorter side becomes `side`: all of it,
/// unless it is so long that resizing it whole would take more memory than the image.
pub(crate) fn bounded_shorter_side_to(image: &RgbImage, side: u32) -> ((f64, f64, f64, f64), (u32, u32)) {
    let (width, height) = (f64::from(image.width()), f64::from(image.height()));
    let longest = LONGEST * width.min(height);
    if width.max(height) <= longest {
        return ((0.0, 0.0, width, height), shorter_side_to(image, side));
    }
    let (across, down) = (width.min(longest), height.min(longest));
    let scale = |length: f64| (length * f64::from(side) / width.min(height)).round() as u32;
    (((width - across) / 2.0, (height - down) / 2.0, across, down), (scale(across), scale(down)))
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
///
/// The two axes are resized one after the other, over whole pixels on the other axis: given both at once with
/// a part, fast_image_resize 6.1 may read beyond its intermediate image. Across comes first, as in Pillow (what
/// overshoots is clipped in between, so the order is seen at sharp edges); an image that is very tall for its
/// width goes down first, lest the intermediate image be larger than both ends.
pub(crate) fn part(
    image: &RgbImage,
    part: (f64, f64, f64, f64),
    (width, height): (u32, u32),
    filter: Filter,
) -> Vec<u8> {
    let (left, top, across, down) = part;
    let columns = window(left, across, width, image.width(), filter);
    let rows = window(top, down, height, image.height(), filter);
    let down_first = u64::from(width) * u64::from(rows.len) > 8 * u64::from(columns.len) * u64::from(height);
    let source = fir::images::ImageRef::new(image.width(), image.height(), image.pixels(), PIXEL)
        .expect("an RgbImage has width · height · 3 bytes");
    let mut resizer = fir::Resizer::new();
    let options = fir::ResizeOptions::new().resize_alg(filter.algorithm());
    let mut resize = |from: &dyn Fn(&mut fir::Resizer, &mut fir::images::Image), (width, height)| {
        let bytes = spare::zeros(width as usize * height as usize * 3);
        let mut into =
            fir::images::Image::from_vec_u8(width, height, bytes, PIXEL).expect("three bytes a pixel");
        from(&mut resizer, &mut into);
        into
    };
    let resized = if down_first {
        let (start, len) = (f64::from(columns.start), f64::from(columns.len));
        let middle = resize(
            &|r, into| pass(r, &source, into, &options.crop(start, top, len, down)),
            (columns.len, height),
        );
        let options = options.crop(columns.inner(left), 0.0, columns.fit(left, across), f64::from(height));
        let resized = resize(&|r, into| pass(r, &middle, into, &options), (width, height));
        spare::keep(middle.into_vec());
        resized
    } else {
        let (start, len) = (f64::from(rows.start), f64::from(rows.len));
        let middle = resize(
            &|r, into| pass(r, &source, into, &options.crop(left, start, across, len)),
            (width, rows.len),
        );
        let options = options.crop(0.0, rows.inner(top), f64::from(width), rows.fit(top, down));
        let resized = resize(&|r, into| pass(r, &middle, into, &options), (width, height));
        spare::keep(middle.into_vec());
        resized
    };
    resized.into_vec()
}

const PIXEL: fir::PixelType = fir::PixelType::U8x3;

fn pass(
    resizer: &mut fir::Resizer,
    from: &impl fir::IntoImageView,
    into: &mut fir::images::Image,
    options: &fir::ResizeOptions,
) {
    resizer.resize(from, into, options).expect("the part lies within the image");
}

/// Whole pixels of one axis.
struct Window {
    start: u32,
    len: u32,
}

impl Window {
    /// `left` as seen from the start of the window.
    fn inner(&self, left: f64) -> f64 {
        left - f64::from(self.start)
    }

    /// The length of the part, within the window in spite of rounding.
    fn fit(&self, left: f64, length: f64) -> f64 {
        within(self.inner(left), length, self.len)
    }
}

/// The pixels of an axis that the part `start .. start + length`, resized to `to` pixels, depends on.
fn window(start: f64, length: f64, to: u32, end: u32, filter: Filter) -> Window {
    let support = match filter {
        Filter::Area => 0.5,
        Filter::Bilinear => 1.0,
        Filter::Bicubic => 2.0,
        Filter::Lanczos => 3.0,
    };
    let margin = support * (length / f64::from(to)).max(1.0) + 1.0;
    let first = (start - margin).floor().clamp(0.0, f64::from(end - 1)) as u32;
    let last = (start + length + margin).ceil().clamp(f64::from(first + 1), f64::from(end)) as u32;
    Window { start: first, len: last - first }
}
