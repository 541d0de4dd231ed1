//! A figure as the text of an SVG file.

use std::fmt::Write;

use crate::canvas::{Anchor, Canvas, Colour, Point};

/// An SVG file that is being written.
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

    fn word(&mut self, text: &str, position: &str, size: f64, [r, g, b]: Colour, anchor: Anchor) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = printable(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        self.add(format_args!(
            "<text {position} font-size=\"{size}\" text-anchor=\"{anchor}\" fill=\"rgb({r},{g},{b})\">{text}</text>"
        ));
    }
}

impl Canvas for Svg {
    fn line(&mut self, points: &[Point], width: f64, [r, g, b]: Colour) {
        let points: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        self.add(format_args!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"rgb({r},{g},{b})\" stroke-width=\"{width}\" \
             stroke-linejoin=\"round\"/>",
            points.join(" ")
        ));
    }

    fn rectangle(&mut self, from: Point, to: Point, [r, g, b]: Colour) {
        let (width, height) = (to.0 - from.0, to.1 - from.1);
        self.add(format_args!(
            "<rect x=\"{:.2}\" y=\"{:.2}\" width=\"{width:.2}\" height=\"{height:.2}\" fill=\"rgb({r},{g},{b})\"/>",
            from.0, from.1
        ));
    }

    fn dot(&mut self, (x, y): Point, radius: f64, [r, g, b]: Colour) {
        self.add(format_args!(
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"rgb({r},{g},{b})\"/>"
        ));
    }

    fn text(&mut self, text: &str, (x, y): Point, size: f64, colour: Colour, anchor: Anchor) {
        self.word(text, &format!("x=\"{x:.1}\" y=\"{y:.1}\""), size, colour, anchor);
    }

    fn text_upwards(&mut self, text: &str, (x, y): Point, size: f64, colour: Colour, anchor: Anchor) {
        let position = format!("transform=\"translate({x:.1},{y:.1}) rotate(-90)\"");
        self.word(text, &position, size, colour, anchor);
    }
}

/// A text without what XML cannot hold, control characters above all, each of which becomes U+FFFD.
fn printable(text: &str) -> String {
    let allowed = |character: char| !character.is_control() && !matches!(character, '\u{fffe}' | '\u{ffff}');
    text.chars().map(|character| if allowed(character) { character } else { '\u{fffd}' }).collect()
}
