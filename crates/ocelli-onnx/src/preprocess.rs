//! What Ocelli does to an image before the network, as ONNX nodes.
//!
//! Resizing is a product with a matrix of weights for each axis, which is computed from the image's size in the file
//! itself: the operator `Resize` antialiases in few engines, and differs among them.

use ocelli_data::{Filter, Framing, Preprocessing};

use crate::builder::Builder;
use crate::proto::Attribute::Int;
use crate::proto::DataType;
use crate::{Error, Result};

/// Normalised floats of pixels from 0 to 255, `[images, 3, height, width]`.
pub fn normalize(builder: &mut Builder, pixels: &str, preprocessing: &Preprocessing) -> String {
    builder.part("normalize");
    let floats = float(builder, pixels);
    let output = shift_and_scale(builder, &floats, preprocessing);
    builder.part("");
    output
}

/// Resizes, crops or pads, then normalises images of any size, by Ocelli's rules, which are Pillow's and torchvision's:
/// sides are integers, columns are resized before rows, and both results are rounded to whole values from 0 to 255.
pub fn resize_and_normalize(
    builder: &mut Builder,
    pixels: &str,
    preprocessing: &Preprocessing,
) -> Result<String> {
    builder.part("resize");
    let shape = builder.node("Shape", &[pixels], []);
    let sides = slice(builder, &shape, 2, 4);
    let (resized, first) = framing(builder, &sides, preprocessing);
    let positions: Vec<i64> = (0..preprocessing.size as i64).collect();
    let positions = builder.integer_tensor("positions", &[positions.len(), 1], &positions);
    let [low, high] = [("low", 0.0), ("high", 255.0)].map(|(name, value)| builder.float(name, value));
    // Halves up, as in Pillow (`Round` would round them to even), also where weights of 32 bits fall a little short.
    let half = builder.float("half", 0.50003);

    let mut image = float(builder, pixels);
    let mut inside = Vec::new();
    for is_row in [false, true] {
        let at = i64::from(!is_row);
        let [from, to, first] = [&sides, &resized, &first].map(|value| slice(builder, value, at, at + 1));
        let positions = builder.node("Add", &[&positions, &first], []);
        let weights = weights(builder, &positions, &from, &to, preprocessing.filter)?;
        image = if is_row {
            builder.node("MatMul", &[&weights, &image], [])
        } else {
            let weights = builder.node("Transpose", &[&weights], []);
            builder.node("MatMul", &[&image, &weights], [])
        };
        image = builder.node("Add", &[&image, &half], []);
        image = builder.node("Floor", &[&image], []);
        image = builder.node("Clip", &[&image, &low, &high], []);
        if preprocessing.framing == Framing::Pad {
            let zero = builder.integers("zero", &[0]);
            let begun = builder.node("GreaterOrEqual", &[&positions, &zero], []);
            let not_ended = builder.node("Less", &[&positions, &to], []);
            inside.push(builder.node("And", &[&begun, &not_ended], []));
        }
    }
    if let [columns, rows] = &inside[..] {
        let columns = builder.node("Transpose", &[columns], []);
        let inside = builder.node("And", &[rows, &columns], []);
        let ground = preprocessing.normalization.ground().map(f32::from);
        let ground = builder.floats("ground", &[3, 1, 1], &ground);
        image = builder.node("Where", &[&inside, &image, &ground], []);
    }
    builder.part("normalize");
    let output = shift_and_scale(builder, &image, preprocessing);
    builder.part("");
    Ok(output)
}

/// Rows and columns of the whole resized image, and those where the network's image begins in it, which are negative
/// where it is padded.
fn framing(builder: &mut Builder, sides: &str, preprocessing: &Preprocessing) -> (String, String) {
    let size = builder.integers("size", &[preprocessing.size as i64; 2]);
    match preprocessing.framing {
        Framing::Crop { .. } => {
            // The shorter side becomes `needed`; of the longer one the fraction of a pixel is dropped.
            let needed = builder.integers("needed", &[i64::from(preprocessing.needed())]);
            let shorter = builder.node("ReduceMin", &[sides], []);
            let product = builder.node("Mul", &[sides, &needed], []);
            let resized = builder.node("Div", &[&product, &shorter], []);
            let first = centre(builder, &resized, &size);
            (resized, first)
        }
        Framing::Squish => {
            let first = builder.integers("first", &[0, 0]);
            (size, first)
        }
        Framing::Pad => {
            let longer = builder.node("ReduceMax", &[sides], []);
            let product = builder.node("Mul", &[sides, &size], []);
            let rounded = divide_to_even(builder, &product, &longer);
            let one = builder.integers("one", &[1]);
            let resized = builder.node("Max", &[&rounded, &one], []);
            let border = centre(builder, &size, &resized);
            let zero = builder.integers("zero", &[0]);
            let first = builder.node("Sub", &[&zero, &border], []);
            (resized, first)
        }
    }
}

/// The weight of each pixel of an axis of `from` pixels in those at these `positions`, `[size, 1]`, of `to` pixels:
/// `[size, from]`, each row with the sum 1.
fn weights(builder: &mut Builder, positions: &str, from: &str, to: &str, filter: Filter) -> Result<String> {
    let [zero, one] = [("zero", 0), ("one", 1)].map(|(name, value)| builder.integer(name, value));
    let count = builder.node("Squeeze", &[from], []);
    let pixels = builder.node("Range", &[&zero, &count, &one], []);
    // Twice the distance of two centres times `to`: an integer.
    let pixels = half_pixels(builder, &pixels);
    let pixels = builder.node("Mul", &[&pixels, to], []);
    let centres = half_pixels(builder, positions);
    let centres = builder.node("Mul", &[&centres, from], []);
    let distances = builder.node("Sub", &[&pixels, &centres], []);
    // The filter is as much wider as the image becomes smaller.
    let scale = builder.node("Max", &[from, to], []);
    let (distances, scale) = (float(builder, &distances), float(builder, &scale));
    let two = builder.float("two", 2.0);
    let scale = builder.node("Mul", &[&scale, &two], []);
    let distances = builder.node("Div", &[&distances, &scale], []);
    let x = builder.node("Abs", &[&distances], []);
    let weights = match filter {
        Filter::Area => return Err(Error::NoFilter { filter }),
        Filter::Bilinear => {
            let one = builder.float("one", 1.0);
            let rest = builder.node("Sub", &[&one, &x], []);
            builder.node("Relu", &[&rest], [])
        }
        Filter::Bicubic => bicubic(builder, &x),
        Filter::Lanczos => lanczos(builder, &x),
    };
    let axes = builder.integers("axes", &[1]);
    let sum = builder.node("ReduceSum", &[&weights, &axes], [("keepdims", Int(1))]);
    // Beside a padded image there may be none.
    let least = builder.float("least", 1e-3);
    let sum = builder.node("Max", &[&sum, &least], []);
    Ok(builder.node("Div", &[&weights, &sum], []))
}

/// Keys' cubic with a = −0.5 of distances from 0 on.
fn bicubic(builder: &mut Builder, x: &str) -> String {
    let inner = polynomial(builder, x, &[1.5, -2.5, 0.0, 1.0]);
    let outer = polynomial(builder, x, &[-0.5, 2.5, -4.0, 2.0]);
    let zero = builder.float("zero", 0.0);
    let outer = where_below(builder, x, 2.0, &outer, &zero);
    where_below(builder, x, 1.0, &inner, &outer)
}

/// A windowed sinc of distances from 0 on.
fn lanczos(builder: &mut Builder, x: &str) -> String {
    // The quotient's limit at 0, all but.
    let tiny = builder.float("tiny", 1e-4);
    let x = builder.node("Max", &[x, &tiny], []);
    let sinc = |builder: &mut Builder, factor: f64| {
        let factor = builder.float("factor", factor as f32);
        let angle = builder.node("Mul", &[&x, &factor], []);
        let sine = builder.node("Sin", &[&angle], []);
        builder.node("Div", &[&sine, &angle], [])
    };
    let wave = sinc(builder, std::f64::consts::PI);
    let window = sinc(builder, std::f64::consts::PI / 3.0);
    let product = builder.node("Mul", &[&wave, &window], []);
    let zero = builder.float("zero", 0.0);
    where_below(builder, &x, 3.0, &product, &zero)
}

/// Coefficients begin with that of the highest power.
fn polynomial(builder: &mut Builder, x: &str, coefficients: &[f32]) -> String {
    let mut sum = builder.float("coefficient", coefficients[0]);
    for coefficient in &coefficients[1..] {
        let coefficient = builder.float("coefficient", *coefficient);
        sum = builder.node("Mul", &[&sum, x], []);
        sum = builder.node("Add", &[&sum, &coefficient], []);
    }
    sum
}

/// `below` where `x` is less than the bound, and else `above`.
fn where_below(builder: &mut Builder, x: &str, bound: f32, below: &str, above: &str) -> String {
    let bound = builder.float("bound", bound);
    let is_below = builder.node("Less", &[x, &bound], []);
    builder.node("Where", &[&is_below, below, above], [])
}

/// `2 x + 1`
fn half_pixels(builder: &mut Builder, value: &str) -> String {
    let [one, two] = [("one", 1), ("two", 2)].map(|(name, value)| builder.integer(name, value));
    let twice = builder.node("Mul", &[value, &two], []);
    builder.node("Add", &[&twice, &one], [])
}

fn float(builder: &mut Builder, value: &str) -> String {
    builder.node("Cast", &[value], [("to", Int(DataType::Float as i64))])
}

fn slice(builder: &mut Builder, value: &str, from: i64, to: i64) -> String {
    let [from, to, axis] =
        [("from", from), ("to", to), ("axis", 0)].map(|(name, value)| builder.integers(name, &[value]));
    builder.node("Slice", &[value, &from, &to, &axis], [])
}

/// `(x − mean) / std` for each channel.
fn shift_and_scale(builder: &mut Builder, x: &str, preprocessing: &Preprocessing) -> String {
    let mean = builder.floats("mean", &[3, 1, 1], &preprocessing.normalization.mean);
    let std = builder.floats("std", &[3, 1, 1], &preprocessing.normalization.std);
    let x = builder.node("Sub", &[x, &mean], []);
    builder.node("Div", &[&x, &std], [])
}

/// The nearest integer to a quotient of positive integers, halves to even. (Pillow divides in 64-bit floats, which miss a
/// half now and then: of all sizes up to 3,000 pixels, 30 pairs in 4.5 million have one row more or less at 224 px.)
fn divide_to_even(builder: &mut Builder, above: &str, below: &str) -> String {
    let [one, two] = [("one", 1), ("two", 2)].map(|(name, value)| builder.integer(name, value));
    let above = builder.node("Mul", &[above, &two], []);
    let above = builder.node("Add", &[&above, below], []);
    let below = builder.node("Mul", &[below, &two], []);
    let up = builder.node("Div", &[&above, &below], []);
    let rest = builder.node("Mod", &[&above, &below], []);
    let not_half = builder.node("Min", &[&rest, &one], []);
    let is_half = builder.node("Sub", &[&one, &not_half], []);
    let odd = builder.node("Mod", &[&up, &two], []);
    let down = builder.node("Mul", &[&is_half, &odd], []);
    builder.node("Sub", &[&up, &down], [])
}

/// Where the middle `inner` of `outer` begins: half of the rest, halves to even.
fn centre(builder: &mut Builder, outer: &str, inner: &str) -> String {
    let two = builder.integer("two", 2);
    let rest = builder.node("Sub", &[outer, inner], []);
    divide_to_even(builder, &rest, &two)
}
