//! What Ocelli does to an image before the network, as ONNX nodes.

use ocelli_data::{Filter, Framing, Preprocessing};

use crate::builder::Builder;
use crate::proto::Attribute::{Float, Int, Ints, Text};
use crate::proto::DataType;
use crate::{Error, Result};

/// Normalised floats of pixels from 0 to 255, `[images, 3, height, width]`.
pub fn normalize(builder: &mut Builder, pixels: &str, preprocessing: &Preprocessing) -> String {
    let floats = builder.node("Cast", &[pixels], [("to", Int(DataType::Float as i64))]);
    normalize_floats(builder, &floats, preprocessing)
}

fn normalize_floats(builder: &mut Builder, floats: &str, preprocessing: &Preprocessing) -> String {
    builder.part("normalize");
    let output = shift_and_scale(builder, floats, preprocessing.normalization.mean, preprocessing);
    builder.part("");
    output
}

/// Resizes, crops or pads, then normalises images of any size, by Ocelli's rules, which are Pillow's and torchvision's: sides
/// are computed as integers.
pub fn resize_and_normalize(
    builder: &mut Builder,
    pixels: &str,
    preprocessing: &Preprocessing,
) -> Result<String> {
    let side = preprocessing.size as i64;
    builder.part("resize");
    let shape = builder.node("Shape", &[pixels], []);
    let [two, four, axis] = [2, 4, 0].map(|at| builder.integers("at", &[at]));
    let sides = builder.node("Slice", &[&shape, &two, &four, &axis], []);
    let size = builder.integers("size", &[side; 2]);
    let output = match preprocessing.framing {
        Framing::Crop { .. } => {
            // The shorter side becomes `needed`; of the longer one the fraction of a pixel is dropped.
            let needed = builder.integers("needed", &[i64::from(preprocessing.needed())]);
            let shorter = builder.node("ReduceMin", &[&sides], []);
            let product = builder.node("Mul", &[&sides, &needed], []);
            let resized = builder.node("Div", &[&product, &shorter], []);
            let image = resize(builder, pixels, &resized, preprocessing.filter)?;
            let start = centre(builder, &resized, &size);
            let end = builder.node("Add", &[&start, &size], []);
            let axes = builder.integers("axes", &[2, 3]);
            let cropped = builder.node("Slice", &[&image, &start, &end, &axes], []);
            normalize_floats(builder, &cropped, preprocessing)
        }
        Framing::Squish => {
            let image = resize(builder, pixels, &size, preprocessing.filter)?;
            normalize_floats(builder, &image, preprocessing)
        }
        Framing::Pad => {
            // In f64, and halves to even, as Pillow computes it.
            let double = |builder: &mut Builder, value: &str| {
                builder.node("Cast", &[value], [("to", Int(DataType::Double as i64))])
            };
            let longer = builder.node("ReduceMax", &[&sides], []);
            let (sides, longer) = (double(builder, &sides), double(builder, &longer));
            let ratio = builder.node("Div", &[&sides, &longer], []);
            let of_size = double(builder, &size);
            let product = builder.node("Mul", &[&ratio, &of_size], []);
            let rounded = round(builder, &product);
            let one = builder.integers("one", &[1]);
            let resized = builder.node("Max", &[&rounded, &one], []);
            let image = resize(builder, pixels, &resized, preprocessing.filter)?;
            let before = centre(builder, &size, &resized);
            let rest = builder.node("Sub", &[&size, &resized], []);
            let after = builder.node("Sub", &[&rest, &before], []);
            let none = builder.integers("none", &[0, 0]);
            let pads = [none.as_str(), &before, &none, &after];
            let pads = builder.node("Concat", &pads, [("axis", Int(0))]);
            // The ground is subtracted, so that what is added around the image is 0.
            let ground = preprocessing.normalization.mean.map(|value| value.round().clamp(0.0, 255.0));
            let ground_constant = builder.floats("ground", &[3, 1, 1], &ground);
            let above = builder.node("Sub", &[&image, &ground_constant], []);
            let padded = builder.node("Pad", &[&above, &pads], []);
            builder.part("normalize");
            let mean = preprocessing.normalization.mean;
            let below = std::array::from_fn(|channel| mean[channel] - ground[channel]);
            let output = shift_and_scale(builder, &padded, below, preprocessing);
            builder.part("");
            output
        }
    };
    Ok(output)
}

/// `(x − mean) / std` for each channel.
fn shift_and_scale(builder: &mut Builder, x: &str, mean: [f32; 3], preprocessing: &Preprocessing) -> String {
    let mean = builder.floats("mean", &[3, 1, 1], &mean);
    let std = builder.floats("std", &[3, 1, 1], &preprocessing.normalization.std);
    let x = builder.node("Sub", &[x, &mean], []);
    builder.node("Div", &[&x, &std], [])
}

/// Pillow's resizing to these rows and columns: columns first, then rows, each rounded to whole values from 0 to 255.
/// `exclude_outside` gives what lies beyond the image no weight, as Pillow does. In floats, since engines round 8-bit
/// integers in ways of their own.
fn resize(builder: &mut Builder, pixels: &str, sides: &str, filter: Filter) -> Result<String> {
    let mode = match filter {
        Filter::Bilinear => "linear",
        Filter::Bicubic => "cubic",
        Filter::Area | Filter::Lanczos => return Err(Error::NoFilter { filter }),
    };
    let axis = builder.integers("axis", &[0]);
    let [low, high, half] =
        [("low", 0.0), ("high", 255.0), ("half", 0.50003)].map(|(name, value)| builder.float(name, value));
    let mut image = builder.node("Cast", &[pixels], [("to", Int(DataType::Float as i64))]);
    for (which, along) in [(1, 3), (0, 2)] {
        let (from, to) = (builder.integers("from", &[which]), builder.integers("to", &[which + 1]));
        let side = builder.node("Slice", &[sides, &from, &to, &axis], []);
        let attributes = [
            ("antialias", Int(1)),
            ("axes", Ints(vec![along])),
            ("coordinate_transformation_mode", Text("half_pixel")),
            ("cubic_coeff_a", Float(-0.5)),
            ("exclude_outside", Int(1)),
            ("mode", Text(mode)),
        ];
        image = builder.node("Resize", &[&image, "", "", &side], attributes);
        // Halves up, as in Pillow (`Round` would round them to even), also where weights of 32 bits fall a little short.
        image = builder.node("Add", &[&image, &half], []);
        image = builder.node("Floor", &[&image], []);
        image = builder.node("Clip", &[&image, &low, &high], []);
    }
    Ok(image)
}

fn double(builder: &mut Builder, value: &str) -> String {
    builder.node("Cast", &[value], [("to", Int(DataType::Double as i64))])
}

/// Positive f64 to the nearest integer, halves to even. (Not every engine has `Round` for f64.)
fn round(builder: &mut Builder, value: &str) -> String {
    let integer = |builder: &mut Builder, value: &str| {
        builder.node("Cast", &[value], [("to", Int(DataType::Int64 as i64))])
    };
    let below = integer(builder, value);
    let below_as_double = double(builder, &below);
    let rest = builder.node("Sub", &[value, &below_as_double], []);
    // The rest less a half, as an integer without loss: its sign says where to round.
    let [half, bits] = [("half", 0.5f64), ("bits", 2f64.powi(53))]
        .map(|(name, value)| builder.constant(name, DataType::Double, &[], value.to_le_bytes().to_vec()));
    let above_half = builder.node("Sub", &[&rest, &half], []);
    let above_half = builder.node("Mul", &[&above_half, &bits], []);
    let above_half = integer(builder, &above_half);
    let [minus_one, one, two] =
        [("minus_one", -1), ("one", 1), ("two", 2)].map(|(name, value)| builder.integers(name, &[value]));
    let sign = builder.node("Min", &[&above_half, &one], []);
    let sign = builder.node("Max", &[&sign, &minus_one], []);
    let zero = builder.integers("zero", &[0]);
    let up = builder.node("Max", &[&sign, &zero], []);
    let square = builder.node("Mul", &[&sign, &sign], []);
    let is_half = builder.node("Sub", &[&one, &square], []);
    let is_odd = builder.node("Mod", &[&below, &two], []);
    let to_even = builder.node("Mul", &[&is_half, &is_odd], []);
    let sum = builder.node("Add", &[&below, &up], []);
    builder.node("Add", &[&sum, &to_even], [])
}

/// Where the middle `inner` of `outer` begins: half of the rest, halves to even.
fn centre(builder: &mut Builder, outer: &str, inner: &str) -> String {
    let two = builder.integers("two", &[2]);
    let rest = builder.node("Sub", &[outer, inner], []);
    let half = builder.node("Div", &[&rest, &two], []);
    let odd = builder.node("Mod", &[&rest, &two], []);
    let half_is_odd = builder.node("Mod", &[&half, &two], []);
    let up = builder.node("Mul", &[&odd, &half_is_odd], []);
    builder.node("Add", &[&half, &up], [])
}
