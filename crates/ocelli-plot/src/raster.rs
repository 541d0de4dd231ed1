//! A figure as pixels.

use ab_glyph::{Font, FontRef, ScaleFont, point};
use ab_glyph_rasterizer::Rasterizer;

use crate::canvas::{Anchor, Canvas, Colour, Point};

/// An image of pixels that is being drawn.
pub struct Pixels {
    font: FontRef<'static>,
    width: usize,
    height: usize,
    values: Vec<u8>,
}

/// Pixels a unit: sharp on screens that are.
const FINE: f64 = 2.0;

impl Pixels {
    pub fn new((width, height): (f64, f64)) -> Self {
        let bytes = include_bytes!("../assets/DejaVuSans-latin-greek-cyrillic.ttf");
        let font = FontRef::try_from_slice(bytes).expect("the font in assets is a font");
        let (width, height) = ((width * FINE) as usize, (height * FINE) as usize);
        Self { font, width, height, values: vec![255; width * height * 3] }
    }

    /// The bytes of a PNG file.
    pub fn finish(self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, self.width as u32, self.height as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_compression(png::Compression::Fast);
        encoder.set_filter(png::Filter::Adaptive);
        let mut writer = encoder.write_header().expect("a figure is at least as large as its title");
        writer.write_image_data(&self.values).expect("memory takes all");
        writer.finish().expect("memory takes all");
        bytes
    }

    /// Mixes a colour into one pixel; what is outside is left out.
    fn mix(&mut self, x: i64, y: i64, coverage: f32, colour: Colour) {
        let inside = |at: i64, side: usize| (0..side as i64).contains(&at);
        if inside(x, self.width) && inside(y, self.height) {
            let start = (y as usize * self.width + x as usize) * 3;
            for (value, colour) in self.values[start..start + 3].iter_mut().zip(colour) {
                let mixed =
                    f32::from(*value) + coverage.clamp(0.0, 1.0) * (f32::from(colour) - f32::from(*value));
                *value = mixed.round() as u8;
            }
        }
    }

    /// Fills convex shapes, each given by its corners in the same sense of rotation.
    fn fill(&mut self, shapes: &[Vec<Point>], colour: Colour) {
        let corners = || shapes.iter().flatten().map(|(x, y)| (x * FINE, y * FINE));
        let low = |at: fn(&Point) -> f64| corners().map(|point| at(&point)).fold(f64::INFINITY, f64::min);
        let high =
            |at: fn(&Point) -> f64| corners().map(|point| at(&point)).fold(f64::NEG_INFINITY, f64::max);
        let (left, top) = (low(|point| point.0).floor(), low(|point| point.1).floor());
        let (right, bottom) = (high(|point| point.0).ceil(), high(|point| point.1).ceil());
        if !(right > left && bottom > top) {
            return;
        }
        let mut raster = Rasterizer::new((right - left) as usize + 1, (bottom - top) as usize + 1);
        let corner = |(x, y): Point| point((x * FINE - left) as f32, (y * FINE - top) as f32);
        for shape in shapes {
            for (index, from) in shape.iter().enumerate() {
                raster.draw_line(corner(*from), corner(shape[(index + 1) % shape.len()]));
            }
        }
        raster.for_each_pixel_2d(|x, y, coverage| {
            self.mix(left as i64 + i64::from(x), top as i64 + i64::from(y), coverage.abs(), colour);
        });
    }

    /// Sets a word; `pixel` moves the pixels of a text at the origin to its point.
    fn word(&mut self, text: &str, size: f64, colour: Colour, pixel: impl Fn(f64, i64, i64) -> (i64, i64)) {
        let font = self.font.clone();
        // Of the height of a line, which `PxScale` is, DejaVu's em is 1 / 1.164.
        let scaled = font.as_scaled((size * FINE * 1.164) as f32);
        let length: f32 = text.chars().map(|character| scaled.h_advance(font.glyph_id(character))).sum();
        let mut pen = 0.0;
        for character in text.chars() {
            let id = font.glyph_id(character);
            let glyph = id.with_scale_and_position(scaled.scale(), point(pen, 0.0));
            pen += scaled.h_advance(id);
            let Some(outline) = font.outline_glyph(glyph) else { continue };
            let bounds = outline.px_bounds();
            let (left, top) = (bounds.min.x as i64, bounds.min.y as i64);
            outline.draw(|x, y, coverage| {
                let (x, y) = pixel(f64::from(length), left + i64::from(x), top + i64::from(y));
                self.mix(x, y, coverage, colour);
            });
        }
    }
}

impl Canvas for Pixels {
    fn line(&mut self, points: &[Point], width: f64, colour: Colour) {
        let reach = width / 2.0;
        let mut shapes = Vec::new();
        for pair in points.windows(2) {
            let (from, to) = (pair[0], pair[1]);
            let length = (to.0 - from.0).hypot(to.1 - from.1);
            if length > 0.0 {
                let (x, y) = (-(to.1 - from.1) / length * reach, (to.0 - from.0) / length * reach);
                let moved = |point: Point, sign: f64| (point.0 + sign * x, point.1 + sign * y);
                shapes.push(vec![moved(from, 1.0), moved(from, -1.0), moved(to, -1.0), moved(to, 1.0)]);
            }
        }
        for joint in points.iter().skip(1).take(points.len().saturating_sub(2)) {
            shapes.push(circle(*joint, reach));
        }
        self.fill(&shapes, colour);
    }

    fn rectangle(&mut self, from: Point, to: Point, colour: Colour) {
        self.fill(&[vec![from, (to.0, from.1), to, (from.0, to.1)]], colour);
    }

    fn dot(&mut self, centre: Point, radius: f64, colour: Colour) {
        self.fill(&[circle(centre, radius)], colour);
    }

    fn text(&mut self, text: &str, (x, y): Point, size: f64, colour: Colour, anchor: Anchor) {
        let before = fraction_before(anchor);
        self.word(text, size, colour, |length, right, down| {
            ((x * FINE - before * length).round() as i64 + right, (y * FINE).round() as i64 + down)
        });
    }

    fn text_upwards(&mut self, text: &str, (x, y): Point, size: f64, colour: Colour, anchor: Anchor) {
        let before = fraction_before(anchor);
        self.word(text, size, colour, |length, right, down| {
            ((x * FINE).round() as i64 + down, (y * FINE + before * length).round() as i64 - right)
        });
    }
}

/// The part of a text that is before its point.
fn fraction_before(anchor: Anchor) -> f64 {
    match anchor {
        Anchor::Start => 0.0,
        Anchor::Middle => 0.5,
        Anchor::End => 1.0,
    }
}

/// A circle as a polygon, turning as the parts of lines do.
fn circle((x, y): Point, radius: f64) -> Vec<Point> {
    const CORNERS: usize = 24;
    let angle = |corner: usize| std::f64::consts::TAU * corner as f64 / CORNERS as f64;
    (0..CORNERS).map(|corner| (x + radius * angle(corner).cos(), y + radius * angle(corner).sin())).collect()
}
