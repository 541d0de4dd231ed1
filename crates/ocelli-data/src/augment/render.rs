//! Every pixel of a sample, computed once.

use std::ops::Range;

use macerator::{AutoArch, Simd, WithSimd};

use super::Base;
use super::plan::{Affine, Effect, Plan};
use crate::{DataError, Normalization, spare};

/// The part of a resized image that a sample is taken from; the border around the image has no end.
#[derive(Debug)]
pub(crate) struct Canvas {
    /// Red, green, blue and nothing: four bytes a pixel fill a vector.
    bytes: Vec<u8>,
    /// Of the whole image.
    width: u32,
    height: u32,
    /// The part of it that is in memory.
    columns: Range<u32>,
    rows: Range<u32>,
    /// The colour around the image; `None`: the image reflected at its edges, which are repeated.
    ground: Option<[u8; 3]>,
}

impl Drop for Canvas {
    fn drop(&mut self) {
        spare::keep(std::mem::take(&mut self.bytes));
    }
}

impl Canvas {
    /// What a sample of `size × size` pixels needs whose pixels lie at `map` of (0, 0), (1, 0), … in the
    /// image.
    pub(crate) fn new(base: &Base, map: Affine, size: u32) -> Self {
        let (width, height) = base.resize.size();
        let last = f64::from(size - 1);
        let corners = [(0.0, 0.0), (last, 0.0), (0.0, last), (last, last)].map(|(x, y)| map.of(x, y));
        let columns = reached(corners.map(|(x, _)| x), width);
        let rows = reached(corners.map(|(_, y)| y), height);
        let mut bytes = spare::take(columns.len() * rows.len() * 4);
        let resize = base.resize.clone().only(columns.clone(), rows.clone());
        resize.run(base.image, base.filter, |_, row| bytes.extend_from_slice(row.as_flattened()));
        Canvas { bytes, width, height, columns, rows, ground: base.ground }
    }

    fn pixels(&self) -> &[[u8; 4]] {
        self.bytes.as_chunks().0
    }

    /// The pixel at any whole position.
    fn at(&self, x: i64, y: i64) -> [f32; 3] {
        let inside = (0..i64::from(self.width)).contains(&x) && (0..i64::from(self.height)).contains(&y);
        let (x, y) = match self.ground {
            Some(ground) if !inside => return ground.map(f32::from),
            _ => (reflected(x, self.width), reflected(y, self.height)),
        };
        let at = |position: u32, part: &Range<u32>| {
            (position.clamp(part.start, part.end - 1) - part.start) as usize
        };
        let pixel = self.pixels()[at(y, &self.rows) * self.columns.len() + at(x, &self.columns)];
        let [red, green, blue, _] = pixel.map(f32::from);
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
    #[inline(always)]
    fn line(&self, map: Affine, y: usize, row: &mut [[f32; 3]]) {
        let Affine([a, b, c, d, e, f]) = map;
        let (step_x, start_x) = (a as f32, (b * y as f64 + c) as f32);
        let (step_y, start_y) = (d as f32, (e * y as f64 + f) as f32);
        let from = |x: usize| (start_x + step_x * x as f32, start_y + step_y * x as f32);
        // Along a line the positions whose four neighbours are in memory are contiguous.
        let (left, right) = (self.columns.start as f32, self.columns.end as f32 - 1.0);
        let (above, below) = (self.rows.start as f32, self.rows.end as f32 - 1.0);
        let inside = |x: usize| {
            let (x, y) = from(x);
            x >= left && y >= above && x < right && y < below
        };
        let count = row.len();
        let first = (0..count).find(|&x| inside(x)).unwrap_or(count);
        let end = (first..count).rfind(|&x| inside(x)).map_or(first, |last| last + 1);
        for x in (0..first).chain(end..count) {
            let (from_x, from_y) = from(x);
            row[x] = self.between(from_x, from_y);
        }
        let (pixels, width) = (self.pixels(), self.columns.len());
        let (left, top) = (self.columns.start as i32, self.rows.start as i32);
        // A few positions at a time, so that first these and then four channels fill vectors.
        const PLACES: usize = 16;
        let (mut corners, mut fractions, mut mixed) = ([0; PLACES], [(0.0, 0.0); PLACES], [[0.0; 4]; PLACES]);
        for (part, row) in row[first..end].chunks_mut(PLACES).enumerate() {
            for (x, (corner, fraction)) in
                (first + part * PLACES..).zip(corners.iter_mut().zip(&mut fractions))
            {
                let (from_x, from_y) = from(x);
                // Conversions to i32 are single instructions, those to usize are not.
                let (whole_x, whole_y) = (from_x as i32, from_y as i32);
                *corner = (whole_y - top) * width as i32 + (whole_x - left);
                *fraction = (from_x - whole_x as f32, from_y - whole_y as f32);
            }
            for ((corner, (u, v)), mixed) in corners.iter().zip(&fractions).zip(&mut mixed[..row.len()]) {
                let corner = *corner as usize;
                let above: &[[u8; 4]; 2] = pixels[corner..].first_chunk().expect("two pixels above");
                let below: &[[u8; 4]; 2] = pixels[corner + width..].first_chunk().expect("two pixels below");
                let [a, b, c, d] = [above[0], above[1], below[0], below[1]].map(|pixel| pixel.map(f32::from));
                for channel in 0..4 {
                    mixed[channel] = mix(a[channel], b[channel], c[channel], d[channel], *u, *v);
                }
            }
            for (pixel, mixed) in row.iter_mut().zip(&mixed) {
                *pixel = [mixed[0], mixed[1], mixed[2]];
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
fn reflected(position: i64, length: u32) -> u32 {
    let period = 2 * i64::from(length);
    let position = position.rem_euclid(period);
    position.min(period - 1 - position) as u32
}

/// The pixels of an axis, reflected at its ends, that are neighbours of a position between the outermost of
/// these.
fn reached(corners: [f64; 4], length: u32) -> Range<u32> {
    let length = i64::from(length);
    // A pixel more on both sides, since positions are rounded.
    let low = corners.into_iter().fold(f64::INFINITY, f64::min).floor() as i64 - 1;
    let high = corners.into_iter().fold(f64::NEG_INFINITY, f64::max).floor() as i64 + 2;
    let (mut first, mut last) = (low.clamp(0, length - 1), high.clamp(0, length - 1));
    if low < 0 {
        (first, last) = (0, last.max((-1 - low).min(length - 1)));
    }
    if high >= length {
        (first, last) = (first.min((2 * length - 1 - high).max(0)), length - 1);
    }
    first as u32..last as u32 + 1
}

/// Computes the `size × size` sample whose pixels lie at `map` of (0, 0), (1, 0), … in the image, with the
/// plan's colours and filters, normalized.
pub(crate) fn render(
    canvas: &Canvas,
    plan: &Plan,
    map: Affine,
    size: u32,
    normalization: &Normalization,
    sample: &mut [f32],
) -> Result<(), DataError> {
    AutoArch::new().dispatch(Lines { canvas, plan, map, size: size as usize, normalization, sample })
}

struct Lines<'a> {
    canvas: &'a Canvas,
    plan: &'a Plan,
    map: Affine,
    size: usize,
    normalization: &'a Normalization,
    sample: &'a mut [f32],
}

impl WithSimd for Lines<'_> {
    type Output = Result<(), DataError>;

    // Inlined, as are the lines, so that it is compiled for the processor's vectors.
    #[inline(always)]
    fn with_simd<S: Simd>(self) -> Result<(), DataError> {
        let Lines { canvas, plan, map, size, normalization, sample } = self;
        for (y, row) in sample.chunks_exact_mut(size * 3).enumerate() {
            canvas.line(map, y, row.as_chunks_mut().0);
            for colour in &plan.colours {
                colour.apply(row);
            }
            // While the line is in cache, unless a filter needs values in 0..=255.
            if plan.effects.is_empty() {
                normalization.apply_to(row);
            }
        }
        if !plan.effects.is_empty() {
            for filter in &plan.effects {
                apply(filter, size, sample)?;
            }
            normalization.apply_to(sample);
        }
        Ok(())
    }
}

fn apply(filter: &Effect, size: usize, sample: &mut [f32]) -> Result<(), DataError> {
    match filter {
        Effect::Blur { strength } => {
            let kernel = gaussian(*strength);
            separable(&kernel, size, sample);
        }
        Effect::Sharpness { factor } => sharpen(*factor as f32, size, sample),
        Effect::Custom { transform, key } => transform.apply(size, *key, sample)?,
        Effect::Holes { centres, length } => {
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
    Ok(())
}

/// OpenCV's kernel of 2 · strength − 1 taps with its automatic σ.
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

/// Pillow's sharpness: away from, or towards, a 3 × 3 mean that counts the centre five times; the border
/// stays.
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
