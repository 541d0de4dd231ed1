//! Every pixel of a sample, computed once.

use super::plan::{Affine, Filter, Plan};
use crate::{Normalization, spare};

/// The resized image that a sample is taken from, with a border that goes on for ever.
#[derive(Debug, Clone)]
pub(crate) struct Canvas {
    /// Red, green, blue and nothing: four bytes a pixel fill a vector.
    bytes: Vec<u8>,
    width: usize,
    height: usize,
    /// Pixels of the border that count as the image.
    pad: u32,
    /// The colour of the border; `None`: the image reflected at its edges, which are repeated.
    ground: Option<[u8; 3]>,
}

impl Drop for Canvas {
    fn drop(&mut self) {
        spare::keep(std::mem::take(&mut self.bytes));
    }
}

impl Canvas {
    pub(crate) fn new(pixels: Vec<u8>, size: (u32, u32), pad: u32, ground: Option<[u8; 3]>) -> Self {
        let mut bytes = spare::zeros(pixels.len() / 3 * 4);
        for (four, three) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(pixels.as_chunks::<3>().0) {
            *four = [three[0], three[1], three[2], 0];
        }
        spare::keep(pixels);
        Canvas { bytes, width: size.0 as usize, height: size.1 as usize, pad, ground }
    }

    fn pixels(&self) -> &[[u8; 4]] {
        self.bytes.as_chunks().0
    }

    /// With the border that counts.
    pub(crate) fn width(&self) -> u32 {
        self.width as u32 + 2 * self.pad
    }

    /// With the border that counts.
    pub(crate) fn height(&self) -> u32 {
        self.height as u32 + 2 * self.pad
    }

    /// Over all pixels and channels, in 0..=255.
    pub(crate) fn mean(&self) -> f64 {
        self.channel_means().iter().sum::<f64>() / 3.0
    }

    pub(crate) fn channel_means(&self) -> [f64; 3] {
        let mut sums = [0u64; 4];
        for line in self.pixels().chunks(self.width) {
            let mut sums_of_line = [0u32; 4];
            for pixel in line {
                sums_of_line.iter_mut().zip(pixel).for_each(|(sum, &value)| *sum += u32::from(value));
            }
            sums.iter_mut().zip(sums_of_line).for_each(|(sum, line)| *sum += u64::from(line));
        }
        std::array::from_fn(|channel| sums[channel] as f64 / self.pixels().len() as f64)
    }

    pub(crate) fn histograms(&self) -> [[u64; 256]; 3] {
        let mut histograms = [[0; 256]; 3];
        for pixel in self.pixels() {
            for (histogram, &value) in histograms.iter_mut().zip(pixel) {
                histogram[usize::from(value)] += 1;
            }
        }
        histograms
    }

    /// The pixel at any whole position.
    fn at(&self, x: i64, y: i64) -> [f32; 3] {
        let inside = (0..self.width as i64).contains(&x) && (0..self.height as i64).contains(&y);
        let (x, y) = match self.ground {
            Some(ground) if !inside => return ground.map(f32::from),
            _ => (reflected(x, self.width), reflected(y, self.height)),
        };
        let [red, green, blue, _] = self.pixels()[y * self.width + x].map(f32::from);
        [red, green, blue]
    }

    /// The value between the four nearest pixels, anywhere.
    fn between(&self, x: f32, y: f32) -> [f32; 3] {
        let (left, top) = (x.floor(), y.floor());
        let (u, v) = (x - left, y - top);
        let (left, top) = (left as i64, top as i64);
        let (a, b) = (self.at(left, top), self.at(left + 1, top));
        let (c, d) = (self.at(left, top + 1), self.at(left + 1, top + 1));
        std::array::from_fn(|channel| mix(a[channel], b[channel], c[channel], d[channel], u, v))
    }

    /// One line of the result: the values at `map` of (0, y), (1, y), …
    fn line(&self, map: Affine, y: usize, row: &mut [f32]) {
        let Affine([a, b, c, d, e, f]) = map;
        let (step_x, start_x) = (a as f32, (b * y as f64 + c) as f32);
        let (step_y, start_y) = (d as f32, (e * y as f64 + f) as f32);
        let from = |x: usize| (start_x + step_x * x as f32, start_y + step_y * x as f32);
        let count = row.len() / 3;
        // Along a line the places whose four neighbours all exist lie together.
        let inside = |x: usize| {
            let (x, y) = from(x);
            x >= 0.0 && y >= 0.0 && x < self.width as f32 - 1.0 && y < self.height as f32 - 1.0
        };
        let first = (0..count).find(|&x| inside(x)).unwrap_or(count);
        let end = (first..count).rfind(|&x| inside(x)).map_or(first, |last| last + 1);
        let (before, rest) = row.split_at_mut(first * 3);
        let (within, after) = rest.split_at_mut((end - first) * 3);
        for (place, part) in [(0, before), (end, after)] {
            for (x, pixel) in (place..).zip(part.chunks_exact_mut(3)) {
                let (x, y) = from(x);
                pixel.copy_from_slice(&self.between(x, y));
            }
        }
        let pixels = self.pixels();
        // A few places at a time with four channels each, so that channels fill vectors.
        let mut mixed = [[0.0f32; 4]; 32];
        for (chunk, part) in within.chunks_mut(3 * mixed.len()).enumerate() {
            let start = first + chunk * mixed.len();
            for (x, mixed) in (start..).zip(&mut mixed[..part.len() / 3]) {
                let (from_x, from_y) = from(x);
                // Conversions to i32 are single instructions, those to usize are not.
                let (left, top) = (from_x as i32, from_y as i32);
                let (u, v) = (from_x - left as f32, from_y - top as f32);
                let corner = top as usize * self.width + left as usize;
                let above: &[[u8; 4]; 2] = pixels[corner..].first_chunk().expect("two pixels above");
                let below: &[[u8; 4]; 2] =
                    pixels[corner + self.width..].first_chunk().expect("two pixels below");
                let [a, b, c, d] = [above[0], above[1], below[0], below[1]].map(|pixel| pixel.map(f32::from));
                *mixed =
                    std::array::from_fn(|channel| mix(a[channel], b[channel], c[channel], d[channel], u, v));
            }
            for (pixel, mixed) in part.chunks_exact_mut(3).zip(&mixed) {
                pixel.copy_from_slice(&mixed[..3]);
            }
        }
    }
}

/// Bilinear interpolation of two values above and two below.
#[inline(always)]
fn mix(a: f32, b: f32, c: f32, d: f32, u: f32, v: f32) -> f32 {
    let above = a + (b - a) * u;
    let below = c + (d - c) * u;
    above + (below - above) * v
}

/// `… 2 1 0 | 0 1 2 … n−1 | n−1 n−2 …`
fn reflected(position: i64, length: usize) -> usize {
    let period = 2 * length as i64;
    let position = position.rem_euclid(period);
    position.min(period - 1 - position) as usize
}

/// Computes the `size × size` window that begins at `corner` of the plan's result, normalized.
pub(crate) fn render(
    canvas: &Canvas,
    plan: &Plan,
    corner: (f64, f64),
    size: u32,
    normalization: &Normalization,
    sample: &mut [f32],
) {
    let pad = f64::from(canvas.pad);
    let map = Affine([1.0, 0.0, -pad, 0.0, 1.0, -pad])
        .after(plan.map)
        .after(Affine([1.0, 0.0, corner.0, 0.0, 1.0, corner.1]));
    for (y, row) in sample.chunks_exact_mut(size as usize * 3).enumerate() {
        canvas.line(map, y, row);
        for colour in &plan.colours {
            colour.apply(row);
        }
        // While the line is at hand, unless a filter wants values in 0..=255.
        if plan.filters.is_empty() {
            normalization.apply_to(row);
        }
    }
    if !plan.filters.is_empty() {
        for filter in &plan.filters {
            apply(filter, size as usize, sample);
        }
        normalization.apply_to(sample);
    }
}

fn apply(filter: &Filter, size: usize, sample: &mut [f32]) {
    match filter {
        Filter::Blur { strength } => {
            let kernel = gaussian(*strength);
            separable(&kernel, size, sample);
        }
        Filter::Sharpness { factor } => sharpen(*factor as f32, size, sample),
        Filter::Holes { centres, length } => {
            let side = size as f64;
            let half = (length * side / 2.0).round();
            for &(x, y) in centres {
                let range = |centre: f64| {
                    let centre = (centre * side).floor();
                    ((centre - half).max(0.0) as usize)..((centre + half).min(side) as usize)
                };
                for row in range(y) {
                    let columns = range(x);
                    sample[(row * size + columns.start) * 3..(row * size + columns.end) * 3].fill(0.0);
                }
            }
        }
    }
}

/// OpenCV's kernel of 2 · strength − 1 numbers with its automatic σ.
fn gaussian(strength: usize) -> Vec<f32> {
    let centre = strength as f64 - 1.0;
    let sigma = 0.3 * (centre - 1.0) + 0.8;
    let weights: Vec<f64> = (0..2 * strength - 1)
        .map(|at| (-(at as f64 - centre).powi(2) / (2.0 * sigma * sigma)).exp())
        .collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|weight| (weight / sum) as f32).collect()
}

/// Convolves rows, then columns; the border reflects without repeating the edge, as OpenCV's does.
fn separable(kernel: &[f32], size: usize, sample: &mut [f32]) {
    let half = (kernel.len() / 2) as i64;
    let last = (size - 1) as i64;
    let inside = |at: i64| match last {
        0 => 0,
        _ => {
            let at = at.rem_euclid(2 * last);
            at.min(2 * last - at) as usize
        }
    };
    for (step, line) in [(3, size * 3), (size * 3, 3)] {
        let source = sample.to_vec();
        for along in 0..size {
            for across in 0..size {
                for channel in 0..3 {
                    let start = along * line + channel;
                    let tap = |(at, weight): (usize, &f32)| {
                        weight * source[start + inside(across as i64 + at as i64 - half) * step]
                    };
                    sample[start + across * step] = kernel.iter().enumerate().map(tap).sum();
                }
            }
        }
    }
}

/// Pillow's sharpness: away from, or towards, a 3 × 3 mean that counts the centre five times; the border stays.
fn sharpen(factor: f32, size: usize, sample: &mut [f32]) {
    let source = sample.to_vec();
    for y in 1..size.saturating_sub(1) {
        for x in 1..size - 1 {
            for channel in 0..3 {
                let at = |x: usize, y: usize| source[(y * size + x) * 3 + channel];
                let around: f32 = (y - 1..=y + 1)
                    .flat_map(|y| (x - 1..=x + 1).map(move |x| (x, y)))
                    .map(|(x, y)| at(x, y))
                    .sum();
                let smooth = (around + 4.0 * at(x, y)) / 13.0;
                sample[(y * size + x) * 3 + channel] =
                    (smooth + (at(x, y) - smooth) * factor).clamp(0.0, 255.0);
            }
        }
    }
}
