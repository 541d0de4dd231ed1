//! Resizing by the rules of Pillow 13 and with its values, to the bit: pretrained networks were trained on
//! such images, and users compare with PyTorch's. (fast_image_resize, whose weights have 15 bits, differs by
//! up to 4 of 255, and cannot skip what an augmentation does not need.)
//!
//! One axis is resized after the other, with weights of 22 bits, and rounded to 8 bits in between. Only the
//! needed rows and columns are computed, and between the two passes only as many rows are stored as the next
//! row of the result needs.

use std::ops::Range;

use macerator::{AutoArch, Simd, WithSimd};
use serde::{Deserialize, Serialize};

use crate::RgbImage;

/// How pixels are weighted when an image is resized; the support grows with the scale (antialiasing), as in
/// Pillow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Filter {
    /// The average of the pixels whose centres lie in the new pixel (Pillow's BOX).
    Area,
    /// A triangle two pixels wide.
    Bilinear,
    /// Keys' cubic with a = −0.5 (Catmull–Rom), four pixels wide.
    Bicubic,
    /// A windowed sinc, six pixels wide.
    Lanczos,
}

/// One axis: the part from `start` on of this `length`, in pixels of the image, becomes `to` pixels.
#[derive(Debug, Clone, PartialEq)]
struct Axis {
    start: f64,
    length: f64,
    to: u32,
    /// Which of the new pixels are computed; at least one.
    needed: Range<u32>,
}

impl RgbImage {
    /// The image with its longer side at most this long, in pixels, at least 1.
    pub fn bounded(&self, side: u32) -> Self {
        let longer = self.width().max(self.height()).min(side.max(1));
        let resize = Resize::longer_side_to(self, longer);
        let ((width, height), pixels) = (resize.size(), resize.pixels(self, Filter::Area));
        Self::new(width, height, pixels).expect("three bytes a pixel")
    }
}

/// How an image is resized, and which part of the result is computed.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Resize {
    across: Axis,
    down: Axis,
}

impl Resize {
    /// The whole image at this width and height.
    pub(crate) fn whole(image: &RgbImage, to: (u32, u32)) -> Self {
        Self::part(image.extent(), to)
    }

    /// The part (left, top), (width, height) of an image at this width and height.
    pub(crate) fn part((start, length): ((f64, f64), (f64, f64)), to: (u32, u32)) -> Self {
        let axis = |start, length, to| Axis { start, length, to, needed: 0..to };
        Resize { across: axis(start.0, length.0, to.0), down: axis(start.1, length.1, to.1) }
    }

    /// The whole image when its shorter side becomes `side`; of the longer one the fraction of a pixel is
    /// dropped, as torchvision's `Resize` does.
    pub(crate) fn shorter_side_to(image: &RgbImage, side: u32) -> Self {
        let (_, (width, height)) = image.extent();
        let scale = |length: f64| truncated(length, side, width.min(height));
        Self::whole(image, (scale(width), scale(height)))
    }

    /// The same, unless the image is so long that its result would take more memory than the image: then its
    /// middle.
    pub(crate) fn bounded_shorter_side_to(image: &RgbImage, side: u32) -> Self {
        let (start, (width, height)) = image.extent();
        let shorter = width.min(height);
        let longest = LONGEST * shorter;
        if width.max(height) <= longest {
            return Self::shorter_side_to(image, side);
        }
        let (across, down) = (width.min(longest), height.min(longest));
        let scale = |length: f64| truncated(length, side, shorter);
        let start = (start.0 + (width - across) / 2.0, start.1 + (height - down) / 2.0);
        Self::part((start, (across, down)), (scale(across), scale(down)))
    }

    /// The whole image when its longer side becomes `side`; the shorter one is rounded, halves to even, and
    /// at least 1, as in Pillow's `ImageOps.pad`.
    pub(crate) fn longer_side_to(image: &RgbImage, side: u32) -> Self {
        let (_, (width, height)) = image.extent();
        let scale = |length: f64| {
            // Written as in Pillow, whose rounding is needed.
            let scaled = length / width.max(height) * f64::from(side);
            scaled.round_ties_even().clamp(1.0, f64::from(u32::MAX)) as u32
        };
        Self::whole(image, (scale(width), scale(height)))
    }

    /// Width and height of the whole result.
    pub(crate) fn size(&self) -> (u32, u32) {
        (self.across.to, self.down.to)
    }

    /// Only these columns and rows of the result.
    pub(crate) fn only(mut self, columns: Range<u32>, rows: Range<u32>) -> Self {
        (self.across.needed, self.down.needed) = (columns, rows);
        self
    }

    /// Only the `size × size` pixels in its middle; both sides are at least as long.
    pub(crate) fn centre(self, size: u32) -> Self {
        let (left, top) = (centred(self.across.to, size), centred(self.down.to, size));
        self.only(left..left + size, top..top + size)
    }

    /// Whether the rows are resized before the columns: where they lose more than twice as much, as in
    /// Pillow.
    fn down_first(&self) -> bool {
        let lost = |axis: &Axis| axis.length - f64::from(axis.to);
        lost(&self.down) > 0.0 && lost(&self.down) > 2.0 * lost(&self.across)
    }

    /// Computes what is needed: `row` gets its number, counted from the first one that is needed, and its
    /// pixels as red, green, blue and a byte without meaning.
    pub(crate) fn run(&self, image: &RgbImage, filter: Filter, row: impl FnMut(usize, &[[u8; 4]])) {
        let columns = Weights::new(&self.across, image.width(), filter);
        let rows = Weights::new(&self.down, image.height(), filter);
        AutoArch::new().dispatch(Passes { image, columns, rows, down_first: self.down_first(), row });
    }

    /// The pixels that are needed.
    pub(crate) fn pixels(&self, image: &RgbImage, filter: Filter) -> Vec<u8> {
        let mut pixels = Vec::with_capacity(self.across.needed.len() * self.down.needed.len() * 3);
        self.run(image, filter, |_, row| {
            pixels.extend(row.iter().flat_map(|&[red, green, blue, _]| [red, green, blue]))
        });
        pixels
    }
}

/// How much longer than its shorter side an image may be before a random crop sees its middle only.
const LONGEST: f64 = 16.0;

/// `length` when what is `shorter` long becomes `side`: Python's `int(side * length / shorter)`.
fn truncated(length: f64, side: u32, shorter: f64) -> u32 {
    // Products stay far below 2^53, so that the quotient alone is rounded, as in Python.
    (f64::from(side) * length / shorter).clamp(1.0, f64::from(u32::MAX)) as u32
}

/// Where a centred window of `size` begins on a side of `length ≥ size`: half of the rest, halves to even,
/// as in torchvision.
pub(crate) fn centred(length: u32, size: u32) -> u32 {
    (f64::from(length - size) / 2.0).round_ties_even() as u32
}

/// Pillow's precision: 8 bits for the result, two for what overshoots.
const BITS: u32 = 32 - 8 - 2;

impl Filter {
    /// How far it reaches.
    fn support(self) -> f64 {
        match self {
            Filter::Area => 0.5,
            Filter::Bilinear => 1.0,
            Filter::Bicubic => 2.0,
            Filter::Lanczos => 3.0,
        }
    }

    fn weight(self, x: f64) -> f64 {
        // Written as in Pillow, whose rounding is needed.
        match self {
            Filter::Area => f64::from(x > -0.5 && x <= 0.5),
            Filter::Bilinear => (1.0 - x.abs()).max(0.0),
            Filter::Bicubic => {
                const A: f64 = -0.5;
                match x.abs() {
                    x if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
                    x if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
                    _ => 0.0,
                }
            }
            Filter::Lanczos => {
                let sinc = |x: f64| {
                    if x == 0.0 { 1.0 } else { (x * std::f64::consts::PI).sin() / (x * std::f64::consts::PI) }
                };
                if (-3.0..3.0).contains(&x) { sinc(x) * sinc(x / 3.0) } else { 0.0 }
            }
        }
    }
}

/// For each new pixel of an axis the first old one it depends on, and the weights of that and those after it:
/// the same number for all, of which the first and the last ones may be 0.
struct Weights {
    taps: usize,
    starts: Vec<usize>,
    values: Vec<i32>,
}

impl Weights {
    fn new(axis: &Axis, length: u32, filter: Filter) -> Self {
        let scale = axis.length / f64::from(axis.to);
        let filter_scale = scale.max(1.0);
        let support = filter.support() * filter_scale;
        let centre = |at: u32| axis.start + (f64::from(at) + 0.5) * scale;
        let reach = |at: u32| {
            let first = (centre(at) - support + 0.5).max(0.0) as usize;
            let end = ((centre(at) + support + 0.5) as usize).min(length as usize);
            first.min(length as usize - 1)..end.max(first + 1).min(length as usize)
        };
        let taps = axis.needed.clone().map(|at| reach(at).len()).max().unwrap_or(1);
        let mut starts = Vec::with_capacity(axis.needed.len());
        let mut values = vec![0; axis.needed.len() * taps];
        let mut weights = Vec::with_capacity(taps);
        for (at, values) in axis.needed.clone().zip(values.chunks_exact_mut(taps)) {
            let reach = reach(at);
            let start = reach.start.min(length as usize - taps);
            let lead = reach.start - start;
            let (centre, factor) = (centre(at), 1.0 / filter_scale);
            weights.clear();
            weights.extend(reach.map(|old| filter.weight((old as f64 - centre + 0.5) * factor)));
            let sum: f64 = weights.iter().sum();
            for (value, weight) in values[lead..].iter_mut().zip(&weights) {
                let fraction = if sum == 0.0 { *weight } else { weight / sum };
                *value = (fraction * f64::from(1 << BITS) + 0.5f64.copysign(fraction)) as i32;
            }
            starts.push(start);
        }
        Weights { taps, starts, values }
    }

    /// The old pixels that are used at all.
    fn used(&self) -> Range<usize> {
        self.starts[0]..self.starts[self.starts.len() - 1] + self.taps
    }

    fn of(&self) -> impl Iterator<Item = (usize, &[i32])> {
        self.starts.iter().copied().zip(self.values.chunks_exact(self.taps))
    }
}

/// Rows that are resized across at once: their pixels, four bytes each, fill a vector.
const ROWS: usize = 4;
type Group = [[u8; 4]; ROWS];

struct Passes<'a, Row> {
    image: &'a RgbImage,
    columns: Weights,
    rows: Weights,
    down_first: bool,
    row: Row,
}

impl<Row: FnMut(usize, &[[u8; 4]])> WithSimd for Passes<'_, Row> {
    type Output = ();

    // Inlined, as is everything it calls, so that it is compiled for the processor's vectors.
    #[inline(always)]
    fn with_simd<S: Simd>(self) {
        if self.down_first { self.down_then_across() } else { self.across_then_down() }
    }
}

impl<Row: FnMut(usize, &[[u8; 4]])> Passes<'_, Row> {
    /// The columns of a row of the image that are used.
    #[inline(always)]
    fn line(&self, row: usize) -> &[u8] {
        let columns = self.columns.used();
        &self.image.pixels()[(row * self.image.width() as usize + columns.start) * 3..][..columns.len() * 3]
    }

    #[inline(always)]
    fn across_then_down(mut self) {
        let (used, width) = (self.rows.used(), self.columns.starts.len());
        // A ring of rows resized across: those that a row of the result needs, and the rest of a group.
        let slots = (self.rows.taps + ROWS - 1).min(used.len()).next_multiple_of(ROWS);
        let mut ring = vec![[0; 4]; slots * width];
        let mut group = vec![Group::default(); self.columns.used().len()];
        let mut resized = vec![Group::default(); width];
        let (mut sums, mut line) = (vec![0; width * 4], vec![[0; 4]; width]);
        let mut done = 0;
        for (number, (start, weights)) in self.rows.of().enumerate() {
            let start = start - used.start;
            while done < start + self.rows.taps {
                // Where rows end within a group, the last one is repeated.
                let row = |index: usize| (used.start + done + index).min(used.end - 1);
                gather(std::array::from_fn(|index| self.line(row(index))), &mut group);
                across(&group, &self.columns, &mut resized);
                let rows = &mut ring[done % slots * width..][..ROWS * width];
                for (index, row) in rows.chunks_exact_mut(width).enumerate() {
                    row.iter_mut().zip(&resized).for_each(|(pixel, group)| *pixel = group[index]);
                }
                done += ROWS;
            }
            let row = |row: usize| ring[row % slots * width..][..width].as_flattened();
            down((start..start + weights.len()).map(row).zip(weights), &mut sums, line.as_flattened_mut());
            (self.row)(number, &line);
        }
    }

    #[inline(always)]
    fn down_then_across(mut self) {
        let (used, width) = (self.columns.used().len(), self.columns.starts.len());
        let (mut sums, mut lines) = (vec![0; used * 3], vec![0; used * 3 * ROWS]);
        let (mut group, mut resized) = (vec![Group::default(); used], vec![Group::default(); width]);
        let mut pixels = vec![[0; 4]; width];
        let rows: Vec<(usize, &[i32])> = self.rows.of().collect();
        for (number, rows) in rows.chunks(ROWS).enumerate() {
            for ((start, weights), line) in rows.iter().zip(lines.chunks_exact_mut(used * 3)) {
                down(
                    (*start..start + weights.len()).map(|row| self.line(row)).zip(*weights),
                    &mut sums,
                    line,
                );
            }
            gather(std::array::from_fn(|index| &lines[index * used * 3..][..used * 3]), &mut group);
            across(&group, &self.columns, &mut resized);
            for index in 0..rows.len() {
                pixels.iter_mut().zip(&resized).for_each(|(pixel, group)| *pixel = group[index]);
                (self.row)(number * ROWS + index, &pixels);
            }
        }
    }
}

/// Resizes down to one line: the weighted sum of rows.
#[inline(always)]
fn down<'a>(rows: impl Iterator<Item = (&'a [u8], &'a i32)>, sums: &mut [i32], line: &mut [u8]) {
    sums.fill(HALF);
    for (row, weight) in rows {
        sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += weight * i32::from(value));
    }
    line.iter_mut().zip(sums).for_each(|(value, sum)| *value = clipped(*sum));
}

/// Puts the pixels of `ROWS` lines beside each other.
#[inline(always)]
fn gather(lines: [&[u8]; ROWS], group: &mut [Group]) {
    let (last, group) = group.split_last_mut().expect("a column");
    // A pixel is read with the byte after it, which has no meaning; the last one has none.
    for (x, pixels) in group.iter_mut().enumerate() {
        *pixels = lines.map(|line| *line[3 * x..].first_chunk().expect("four bytes"));
    }
    *last = lines.map(|line| [line[line.len() - 3], line[line.len() - 2], line[line.len() - 1], 0]);
}

/// Resizes a group of rows across.
#[inline(always)]
fn across(group: &[Group], columns: &Weights, resized: &mut [Group]) {
    let used = columns.used().start;
    for (resized, (start, weights)) in resized.iter_mut().zip(columns.of()) {
        let mut sums = [HALF; 4 * ROWS];
        for (pixels, weight) in group[start - used..].iter().zip(weights) {
            for (sum, &value) in sums.iter_mut().zip(pixels.as_flattened()) {
                *sum += weight * i32::from(value);
            }
        }
        resized.as_flattened_mut().iter_mut().zip(sums).for_each(|(value, sum)| *value = clipped(sum));
    }
}

/// One half, in the weights' units: what is cut off after it was added is rounded.
const HALF: i32 = 1 << (BITS - 1);

#[inline(always)]
fn clipped(sum: i32) -> u8 {
    (sum >> BITS).clamp(0, 255) as u8
}
