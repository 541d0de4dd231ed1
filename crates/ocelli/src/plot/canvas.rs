//! Lines, rectangles, dots and words, as an SVG file or as pixels.

use std::fmt::Write;

use ab_glyph::{Font, FontRef, ScaleFont, point};
use ab_glyph_rasterizer::Rasterizer;
use ocelli_data::RgbImage;

/// Red, green, blue.
pub type Colour = [u8; 3];
/// From the left and from the top, in pixels.
pub type Place = (f64, f64);

/// Which part of a word stands at its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

/// What a chart is drawn on.
pub trait Canvas {
    /// A line of straight parts.
    fn line(&mut self, places: &[Place], width: f64, colour: Colour);
    /// A full rectangle between two corners.
    fn rectangle(&mut self, from: Place, to: Place, colour: Colour);
    /// A full circle.
    fn dot(&mut self, centre: Place, radius: f64, colour: Colour);
    /// A word whose base line is at the place.
    fn text(&mut self, text: &str, at: Place, size: f64, colour: Colour, anchor: Anchor);
    /// A word that is read from below, its base line through the place.
    fn text_upwards(&mut self, text: &str, at: Place, size: f64, colour: Colour, anchor: Anchor);
}

/// An SVG file in the making.
pub struct Svg {
    text: String,
}

impl Svg {
    pub fn new((width, height): (f64, f64)) -> Self {
        let text = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
             viewBox=\"0 0 {width} {height}\" font-family=\"DejaVu Sans, Verdana, sans-serif\">\n\
             <rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n"
        );
        Self { text }
    }

    pub fn finish(mut self) -> String {
        self.text.push_str("</svg>\n");
        self.text
    }

    fn add(&mut self, element: std::fmt::Arguments) {
        self.text.write_fmt(element).expect("strings take all");
        self.text.push('\n');
    }

    fn word(&mut self, text: &str, place: &str, size: f64, [r, g, b]: Colour, anchor: Anchor) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = printable(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        self.add(format_args!(
            "<text {place} font-size=\"{size}\" text-anchor=\"{anchor}\" fill=\"rgb({r},{g},{b})\">{text}</text>"
        ));
    }
}

impl Canvas for Svg {
    fn line(&mut self, places: &[Place], width: f64, [r, g, b]: Colour) {
        let places: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        self.add(format_args!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"rgb({r},{g},{b})\" stroke-width=\"{width}\" \
             stroke-linejoin=\"round\"/>",
            places.join(" ")
        ));
    }

    fn rectangle(&mut self, from: Place, to: Place, [r, g, b]: Colour) {
        let (width, height) = (to.0 - from.0, to.1 - from.1);
        self.add(format_args!(
            "<rect x=\"{:.2}\" y=\"{:.2}\" width=\"{width:.2}\" height=\"{height:.2}\" fill=\"rgb({r},{g},{b})\"/>",
            from.0, from.1
        ));
    }

    fn dot(&mut self, (x, y): Place, radius: f64, [r, g, b]: Colour) {
        self.add(format_args!(
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"rgb({r},{g},{b})\"/>"
        ));
    }

    fn text(&mut self, text: &str, (x, y): Place, size: f64, colour: Colour, anchor: Anchor) {
        self.word(text, &format!("x=\"{x:.1}\" y=\"{y:.1}\""), size, colour, anchor);
    }

    fn text_upwards(&mut self, text: &str, (x, y): Place, size: f64, colour: Colour, anchor: Anchor) {
        let place = format!("transform=\"translate({x:.1},{y:.1}) rotate(-90)\"");
        self.word(text, &place, size, colour, anchor);
    }
}

/// A picture of pixels in the making.
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
        let bytes = include_bytes!("../../assets/DejaVuSans-latin-greek-cyrillic.ttf");
        let font = FontRef::try_from_slice(bytes).expect("the font in assets is a font");
        let (width, height) = ((width * FINE) as usize, (height * FINE) as usize);
        Self { font, width, height, values: vec![255; width * height * 3] }
    }

    pub fn finish(self) -> RgbImage {
        RgbImage::new(self.width as u32, self.height as u32, self.values).expect("three bytes a pixel")
    }

    /// Mixes a colour into one pixel; what is outside is left out.
    fn mix(&mut self, x: i64, y: i64, share: f32, colour: Colour) {
        let inside = |at: i64, side: usize| (0..side as i64).contains(&at);
        if inside(x, self.width) && inside(y, self.height) {
            let start = (y as usize * self.width + x as usize) * 3;
            for (value, colour) in self.values[start..start + 3].iter_mut().zip(colour) {
                let mixed =
                    f32::from(*value) + share.clamp(0.0, 1.0) * (f32::from(colour) - f32::from(*value));
                *value = mixed.round() as u8;
            }
        }
    }

    /// Fills convex shapes, each given by its corners in the same sense of rotation.
    fn fill(&mut self, shapes: &[Vec<Place>], colour: Colour) {
        let corners = || shapes.iter().flatten().map(|(x, y)| (x * FINE, y * FINE));
        let low = |at: fn(&Place) -> f64| corners().map(|place| at(&place)).fold(f64::INFINITY, f64::min);
        let high =
            |at: fn(&Place) -> f64| corners().map(|place| at(&place)).fold(f64::NEG_INFINITY, f64::max);
        let (left, top) = (low(|place| place.0).floor(), low(|place| place.1).floor());
        let (right, bottom) = (high(|place| place.0).ceil(), high(|place| place.1).ceil());
        if !(right > left && bottom > top) {
            return;
        }
        let mut raster = Rasterizer::new((right - left) as usize + 1, (bottom - top) as usize + 1);
        let corner = |(x, y): Place| point((x * FINE - left) as f32, (y * FINE - top) as f32);
        for shape in shapes {
            for (place, from) in shape.iter().enumerate() {
                raster.draw_line(corner(*from), corner(shape[(place + 1) % shape.len()]));
            }
        }
        raster.for_each_pixel_2d(|x, y, share| {
            self.mix(left as i64 + i64::from(x), top as i64 + i64::from(y), share.abs(), colour);
        });
    }

    /// Sets a word; `place` says which pixel one of a word that lies at the origin is.
    fn word(&mut self, text: &str, size: f64, colour: Colour, place: impl Fn(f64, i64, i64) -> (i64, i64)) {
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
            outline.draw(|x, y, share| {
                let (x, y) = place(f64::from(length), left + i64::from(x), top + i64::from(y));
                self.mix(x, y, share, colour);
            });
        }
    }
}

impl Canvas for Pixels {
    fn line(&mut self, places: &[Place], width: f64, colour: Colour) {
        let reach = width / 2.0;
        let mut shapes = Vec::new();
        for pair in places.windows(2) {
            let (from, to) = (pair[0], pair[1]);
            let length = (to.0 - from.0).hypot(to.1 - from.1);
            if length > 0.0 {
                let (x, y) = (-(to.1 - from.1) / length * reach, (to.0 - from.0) / length * reach);
                let moved = |place: Place, sign: f64| (place.0 + sign * x, place.1 + sign * y);
                shapes.push(vec![moved(from, 1.0), moved(from, -1.0), moved(to, -1.0), moved(to, 1.0)]);
            }
        }
        for joint in places.iter().skip(1).take(places.len().saturating_sub(2)) {
            shapes.push(circle(*joint, reach));
        }
        self.fill(&shapes, colour);
    }

    fn rectangle(&mut self, from: Place, to: Place, colour: Colour) {
        self.fill(&[vec![from, (to.0, from.1), to, (from.0, to.1)]], colour);
    }

    fn dot(&mut self, centre: Place, radius: f64, colour: Colour) {
        self.fill(&[circle(centre, radius)], colour);
    }

    fn text(&mut self, text: &str, (x, y): Place, size: f64, colour: Colour, anchor: Anchor) {
        let share = share_before(anchor);
        self.word(text, size, colour, |length, right, down| {
            ((x * FINE - share * length).round() as i64 + right, (y * FINE).round() as i64 + down)
        });
    }

    fn text_upwards(&mut self, text: &str, (x, y): Place, size: f64, colour: Colour, anchor: Anchor) {
        let share = share_before(anchor);
        self.word(text, size, colour, |length, right, down| {
            ((x * FINE).round() as i64 + down, (y * FINE + share * length).round() as i64 - right)
        });
    }
}

/// A text without what XML cannot hold, control characters above all, each of which becomes U+FFFD.
fn printable(text: &str) -> String {
    let allowed = |character: char| !character.is_control() && !matches!(character, '\u{fffe}' | '\u{ffff}');
    text.chars().map(|character| if allowed(character) { character } else { '\u{fffd}' }).collect()
}

/// The part of a word that stands before its place.
fn share_before(anchor: Anchor) -> f64 {
    match anchor {
        Anchor::Start => 0.0,
        Anchor::Middle => 0.5,
        Anchor::End => 1.0,
    }
}

/// A circle as a polygon, turning as the parts of lines do.
fn circle((x, y): Place, radius: f64) -> Vec<Place> {
    const CORNERS: usize = 24;
    let angle = |corner: usize| std::f64::consts::TAU * corner as f64 / CORNERS as f64;
    (0..CORNERS).map(|corner| (x + radius * angle(corner).cos(), y + radius * angle(corner).sin())).collect()
}
