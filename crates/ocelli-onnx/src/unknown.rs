//! The score of what a model has not seen, from its features.

use ocelli_nn::graph::{UNKNOWN_SCORE, UnknownParameters};

use crate::builder::Builder;
use crate::proto::Attribute::Int;

/// Writes the score of `features`, `[images, features]`.
pub fn write(builder: &mut Builder, features: &str, score: &UnknownParameters) {
    let (dimensions, directions) = (score.center.len(), score.total.len());
    let classes = score.means.len() / directions.max(1);
    builder.part("unknown");
    let last = builder.integers("last", &[-1]);
    let squares = builder.node("Mul", &[features, features], []);
    let square = builder.node("ReduceSum", &[&squares, &last], [("keepdims", Int(1))]);
    // Features that are all 0 stay so (those of a white image may be). Not every engine has a square root of 0.
    let tiny = builder.float("tiny", 1e-24);
    let square = builder.node("Max", &[&square, &tiny], []);
    let length = builder.node("Sqrt", &[&square], []);
    let unit = builder.node("Div", &[features, &length], []);
    let center = builder.floats("center", &[dimensions], &score.center);
    let centred = builder.node("Sub", &[&unit, &center], []);

    let projection =
        builder.floats("projection", &[dimensions, directions], &transposed(&score.projection, dimensions));
    let projected = builder.node("MatMul", &[&centred, &projection], []);
    let within = builder.floats("within", &[directions; 2], &transposed(&score.within, directions));
    let scaled = builder.node("MatMul", &[&projected, &within], []);

    // ‖y − m‖² = ‖y‖² − (2 y·m − ‖m‖²): the nearest mean has the largest of the brackets.
    let twice: Vec<f32> = transposed(&score.means, directions).iter().map(|value| 2.0 * value).collect();
    let twice = builder.floats("means", &[directions, classes], &twice);
    let lengths: Vec<f32> =
        score.means.chunks_exact(directions.max(1)).map(|mean| mean.iter().map(|m| m * m).sum()).collect();
    let lengths = builder.floats("lengths", &[classes], &lengths);
    let products = builder.node("MatMul", &[&scaled, &twice], []);
    let brackets = builder.node("Sub", &[&products, &lengths], []);
    let one = builder.integers("one", &[1]);
    let largest = builder.outputs("TopK", &[&brackets, &one], [("axis", Int(-1))], 2).swap_remove(0);
    let own = sum_of_squares(builder, &scaled, &last);
    let nearest = builder.node("Sub", &[&own, &largest], []);

    let total = builder.floats("total", &[directions], &score.total);
    let squares = builder.node("Mul", &[&projected, &projected], []);
    let weighted = builder.node("Mul", &[&squares, &total], []);
    let of_all = builder.node("ReduceSum", &[&weighted, &last], [("keepdims", Int(1))]);
    let whole = sum_of_squares(builder, &centred, &last);
    let inside = sum_of_squares(builder, &projected, &last);
    let outside = builder.node("Sub", &[&whole, &inside], []);
    let zero = builder.float("zero", 0.0);
    let outside = builder.node("Max", &[&outside, &zero], []);
    let residual = builder.float("residual", score.residual);
    let outside = builder.node("Mul", &[&outside, &residual], []);
    let relative = builder.node("Sub", &[&nearest, &of_all], []);
    let sum = builder.node("Add", &[&relative, &outside], []);
    builder.node("Squeeze", &[&sum, &last], []);
    builder.rename_last(UNKNOWN_SCORE);
    builder.part("");
}

fn sum_of_squares(builder: &mut Builder, value: &str, axis: &str) -> String {
    let squares = builder.node("Mul", &[value, value], []);
    builder.node("ReduceSum", &[&squares, axis], [("keepdims", Int(1))])
}

/// A matrix `[rows, columns]` as `[columns, rows]`.
fn transposed(matrix: &[f32], columns: usize) -> Vec<f32> {
    let columns = columns.max(1);
    (0..columns).flat_map(|column| matrix.iter().skip(column).step_by(columns).copied()).collect()
}
