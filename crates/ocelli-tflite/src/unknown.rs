//! The score of what a model has not seen, from its features.

use ocelli_nn::graph::{UNKNOWN_SCORE, UnknownParameters};

use crate::builder::Builder;
use crate::schema::{Fused, code};

/// Writes the score of `features`, `[images, features]`, and gives its tensor, `[images, 1]`.
pub fn write(builder: &mut Builder, features: usize, score: &UnknownParameters) -> usize {
    let (dimensions, directions) = (score.center.len(), score.total.len());
    let classes = score.means.len() / directions.max(1);
    builder.part("unknown");
    let square = sum_of_squares(builder, features);
    // Features that are all 0 stay so (those of a white image may be).
    let tiny = builder.float("tiny", 1e-24);
    let square = builder.binary("max", code::MAXIMUM, square, tiny);
    let length = builder.each("length", code::SQRT, square);
    let unit = builder.binary("unit", code::DIV, features, length);
    let center = builder.floats("center", &[dimensions], &score.center);
    let centred = builder.binary("centred", code::SUB, unit, center);
    let projection = builder.floats("projection", &[directions, dimensions], &score.projection);
    let projected = builder.fully_connected(centred, projection, None);
    let within = builder.floats("within", &[directions; 2], &score.within);
    let scaled = builder.fully_connected(projected, within, None);

    // ‖y − m‖² = ‖y‖² − (2 y·m − ‖m‖²): the nearest mean has the largest of the brackets.
    let twice: Vec<f32> = score.means.iter().map(|value| 2.0 * value).collect();
    let means = builder.floats("means", &[classes, directions], &twice);
    let lengths = score.means.chunks_exact(directions.max(1));
    let lengths: Vec<f32> = lengths.map(|mean| -mean.iter().map(|m| m * m).sum::<f32>()).collect();
    let lengths = builder.floats("lengths", &[classes], &lengths);
    let brackets = builder.fully_connected(scaled, means, Some(lengths));
    let largest = builder.reduce("largest", code::REDUCE_MAX, brackets, &[1], true);
    let own = sum_of_squares(builder, scaled);
    let nearest = builder.binary("nearest", code::SUB, own, largest);

    let total = builder.floats("total", &[directions], &score.total);
    let squares = builder.mul(projected, projected);
    let weighted = builder.mul(squares, total);
    let of_all = builder.reduce("sum", code::SUM, weighted, &[1], true);
    let whole = sum_of_squares(builder, centred);
    let inside = sum_of_squares(builder, projected);
    let outside = builder.binary("outside", code::SUB, whole, inside);
    let zero = builder.float("zero", 0.0);
    let outside = builder.binary("max", code::MAXIMUM, outside, zero);
    let residual = builder.float("residual", score.residual);
    let outside = builder.mul(outside, residual);
    let relative = builder.binary("relative", code::SUB, nearest, of_all);
    let sum = builder.add(relative, outside, Fused::None);
    builder.part("");
    builder.rename(sum, UNKNOWN_SCORE);
    sum
}

fn sum_of_squares(builder: &mut Builder, value: usize) -> usize {
    let squares = builder.mul(value, value);
    builder.reduce("sum", code::SUM, squares, &[1], true)
}
