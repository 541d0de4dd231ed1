//! What figures are drawn on: lines, rectangles, dots and words.

/// Red, green, blue.
pub type Colour = [u8; 3];
/// From the left and from the top, in pixels.
pub type Point = (f64, f64);

/// Which part of a text is at its point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

/// What a chart is drawn on.
pub trait Canvas {
    /// A line of straight parts.
    fn line(&mut self, points: &[Point], width: f64, colour: Colour);
    /// A full rectangle between two corners.
    fn rectangle(&mut self, from: Point, to: Point, colour: Colour);
    /// A full circle.
    fn dot(&mut self, centre: Point, radius: f64, colour: Colour);
    /// A word whose base line begins, is centred or ends at a point.
    fn text(&mut self, text: &str, at: Point, size: f64, colour: Colour, anchor: Anchor);
    /// A word that is read from below, its base line through the point.
    fn text_upwards(&mut self, text: &str, at: Point, size: f64, colour: Colour, anchor: Anchor);
}
