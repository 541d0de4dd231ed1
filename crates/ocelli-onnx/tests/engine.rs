//! What is written, run by another engine: it computes what the network computes.

#[path = "../../ocelli-nn/tests/common/mod.rs"]
mod common;

use std::collections::BTreeMap;

use burn::tensor::{Device, Tensor, TensorData};
use ocelli_data::{Filter, Framing, Normalization, Preprocessing, RgbImage};
use ocelli_nn::graph::{Output, UnknownParameters};
use ocelli_nn::{Arch, Graph, Network};
use ocelli_onnx::{Description, Engine, Error, Float, Input, Model, Options};

use common::{difference, formula, images, infer, with_formula_weights};

fn network(arch: Arch) -> Network {
    with_formula_weights(arch.untrained(3, 5, 1, &Device::flex()))
}

/// Noise of smooth colours, different for each seed.
fn image(width: u32, height: u32, seed: &str) -> RgbImage {
    let pixels = (0..height as usize * width as usize * 3)
        .map(|at| {
            let (x, y, channel) = (at / 3 % width as usize, at / 3 / width as usize, at % 3);
            let wave = ((x * (channel + 2)) as f64 / 9.0).sin() * 60.0 + (y as f64 / 7.0).cos() * 50.0;
            (128.0 + 2.0 * wave + 60.0 * formula(seed, at as u64)) as u8
        })
        .collect();
    RgbImage::new(width, height, pixels).unwrap()
}

/// Channels first, as files take them.
fn planes(image: &RgbImage) -> Vec<u8> {
    let pixels = image.pixels();
    (0..3).flat_map(|channel| pixels.iter().skip(channel).step_by(3).copied()).collect()
}

const SMALL: [Arch; 8] = [
    Arch::ResNet18,
    Arch::DenseNet121,
    Arch::MobileNetV2,
    Arch::MobileNetV3Large,
    Arch::EfficientNetB0,
    Arch::EfficientNetLite0,
    Arch::ConvNextAtto,
    Arch::VitTinyPatch16,
];

#[test]
fn another_engine_computes_the_same_logits() {
    for arch in SMALL {
        let size = 64;
        let network = network(arch);
        let graph = network.graph([size; 2]).unwrap();
        let images = images(2, [3, size, size]);
        let expected = infer(&network, &images, [size; 2]);
        let run = |float| {
            let options = Options { float, ..Options::default() };
            let file = Model::new(&graph, &options).unwrap().to_bytes();
            let engine = Engine::load(&file).unwrap();
            (file.len(), difference(&engine.run(&images, [2, 3, size, size]).unwrap()[0], &expected))
        };
        let ((length, of_f32), (half, of_f16)) = (run(Float::F32), run(Float::F16));
        println!("{arch}: {of_f32:.1e}, in f16 {of_f16:.1e}");
        assert!(of_f32 < 1e-4, "{arch}: {of_f32}");
        assert!(of_f16 < 3e-2 && of_f16 > 1e-6, "{arch} in f16: {of_f16}");
        assert!((half as f64) < 0.6 * length as f64, "{arch}: {half} and {length} bytes");
    }
}

#[test]
fn probabilities_and_features_are_those_of_the_network() {
    let (size, network) = (48, network(Arch::ResNet18));
    let graph = network.graph([size; 2]).unwrap();
    let images = images(1, [3, size, size]);
    let logits = infer(&network, &images, [size; 2]);
    let run = |output: Output| {
        let options = Options { output, ..Options::default() };
        let file = Model::new(&graph, &options).unwrap().to_bytes();
        Engine::load(&file).unwrap().run(&images, [1, 3, size, size]).unwrap().remove(0)
    };
    let exponentials: Vec<f32> = logits.iter().map(|logit| (logit / 2.5).exp()).collect();
    let sum: f32 = exponentials.iter().sum();
    for (found, exponential) in run(Output::Probabilities { temperature: 2.5 }).iter().zip(&exponentials) {
        assert!((found - exponential / sum).abs() < 1e-5);
    }
    for (found, logit) in run(Output::ProbabilityOfEach { temperature: 1.0 }).iter().zip(&logits) {
        assert!((found - 1.0 / (1.0 + (-logit).exp())).abs() < 1e-5);
    }
    let data = Tensor::from_data(TensorData::new(images.clone(), [1, 3, size, size]), &Device::flex());
    let maps = network.infer_stages(data, 0, 5).maps;
    let features: Vec<f32> = network.pool(maps).into_data().try_into_vec().unwrap();
    assert!(difference(&run(Output::Features), &features) < 1e-5);
}

/// A graph that gives the images back.
fn identity(size: usize) -> Graph {
    let mut graph = network(Arch::ResNet18).graph([size; 2]).unwrap();
    graph.nodes.clear();
    (graph.features, graph.logits) = (0, 0);
    graph
}

/// Ocelli's own values of the same image, also where black and white meet and bicubic weights overshoot.
#[test]
fn what_is_resized_inside_is_what_ocelli_resizes() {
    let size = 32;
    let graph = identity(size);
    let mut shapes = vec![(32, 32), (64, 64), (33, 32), (32, 47), (20, 31), (101, 57), (57, 101), (300, 45)];
    shapes.extend((0..12).map(|at| {
        let side = |seed| (50.0 + 45.0 * formula(seed, at)) as u32;
        (side("width"), side("height"))
    }));
    let framings =
        [Framing::Crop { fraction: 1.0 }, Framing::Crop { fraction: 0.875 }, Framing::Squish, Framing::Pad];
    let filters = [Filter::Bilinear, Filter::Bicubic, Filter::Lanczos];
    for (framing, filter) in framings.into_iter().flat_map(|framing| filters.map(|filter| (framing, filter)))
    {
        let preprocessing = Preprocessing { size, framing, filter, normalization: Normalization::IMAGENET };
        let options = Options { input: Input::AnySize(preprocessing), ..Options::default() };
        let file = Model::new(&graph, &options).unwrap().to_bytes();
        let engine = Engine::load(&file).unwrap();
        let (mut off, mut total) = (0, 0);
        for (width, height) in &shapes {
            let image = image(*width, *height, "photo");
            let mut sample = vec![0.0; preprocessing.sample_len()];
            preprocessing.apply(&image, &mut sample).unwrap();
            let shape = [1, 3, *height as usize, *width as usize];
            let found = engine.run(&planes(&image), shape).unwrap().remove(0);
            assert_eq!(found.len(), sample.len());
            for (at, found) in found.iter().enumerate() {
                let (channel, pixel) = (at / (size * size), at % (size * size));
                let levels = (found - sample[pixel * 3 + channel]) * preprocessing.normalization.std[channel];
                // Such images Pillow resizes in another order, and overshoots are cut off between the two steps.
                let is_long =
                    *height > *width && (height - size as u32) > 2 * width.saturating_sub(size as u32);
                let bound = if is_long { 6.0 } else { 2.01 };
                assert!(
                    levels.abs() < bound,
                    "{framing:?}, {filter:?}, {width}×{height}: {levels} levels at {at}"
                );
                off += usize::from(levels.abs() > 0.01);
                total += 1;
            }
        }
        println!("{framing:?}, {filter:?}: {off} of {total} values one level off");
        assert!(off * 50 <= total, "{framing:?}, {filter:?}: {off} of {total}");
    }
}

#[test]
fn pixels_are_normalized_inside() {
    let size = 32;
    let preprocessing = Preprocessing {
        size,
        framing: Framing::Squish,
        filter: Filter::Lanczos,
        normalization: Normalization::LITE,
    };
    let image = image(32, 32, "photo");
    let options = Options { input: Input::Pixels(preprocessing), ..Options::default() };
    let file = Model::new(&identity(size), &options).unwrap().to_bytes();
    let found = Engine::load(&file).unwrap().run(&planes(&image), [1, 3, size, size]).unwrap().remove(0);
    let mut sample = vec![0.0; preprocessing.sample_len()];
    preprocessing.apply(&image, &mut sample).unwrap();
    let expected = |at: usize| sample[at % (size * size) * 3 + at / (size * size)];
    assert!(found.iter().enumerate().all(|(at, found)| (found - expected(at)).abs() < 1e-6));
}

#[test]
fn what_cannot_be_written_or_read_is_an_error() {
    let preprocessing = Preprocessing {
        size: 32,
        framing: Framing::Squish,
        filter: Filter::Lanczos,
        normalization: Normalization::LITE,
    };
    let graph = identity(32);
    let model = |input| Model::new(&graph, &Options { input, ..Options::default() });
    let area = Preprocessing { filter: Filter::Area, ..preprocessing };
    assert!(matches!(model(Input::AnySize(area)), Err(Error::NoFilter { .. })));
    let other = Preprocessing { size: 33, ..preprocessing };
    assert!(matches!(model(Input::Pixels(other)), Err(Error::Size { .. })));

    let texts = BTreeMap::from([("classes".to_owned(), "[\"ant\", \"été\"]".to_owned())]);
    let file = Model::new(&graph, &Options { metadata: texts.clone(), ..Options::default() }).unwrap();
    let found = Description::read(&file.to_bytes()).unwrap();
    assert_eq!((found.metadata, found.opset), (texts, 17));
    let [input] = &found.inputs[..] else { panic!("{:?}", found.inputs) };
    assert_eq!((input.name.as_str(), input.dtype), ("images", "F32"));
    assert_eq!(input.shape, ["images", "3", "32", "32"]);
    for bytes in [&b""[..], b"PK\x03\x04", &[0xff; 64], &file.to_bytes()[..40]] {
        assert!(matches!(Description::read(bytes), Err(Error::NotOnnx { .. })), "{bytes:?}");
        assert!(matches!(Engine::load(bytes), Err(Error::Engine { .. })), "{bytes:?}");
    }
    let bytes = file.to_bytes();
    assert!(matches!(Engine::load_values(&bytes, &["nothing"]), Err(Error::Engine { .. })));
    let engine = Engine::load(&bytes).unwrap();
    let (floats, pixels) = (vec![0f32; 3 * 32 * 32], vec![0u8; 3 * 32 * 32]);
    assert!(engine.run(&floats, [1, 3, 32, 32]).is_ok());
    assert!(matches!(engine.run(&floats, [1, 3, 32, 31]), Err(Error::Engine { .. })));
    assert!(matches!(engine.run(&floats, [1, 3, 16, 64]), Err(Error::Engine { .. })));
    assert!(matches!(engine.run(&pixels, [1, 3, 32, 32]), Err(Error::Engine { .. })));
}

#[test]
fn the_unknown_score_follows_its_formula() {
    let (width, directions, classes, size) = (1024, 7, 3, 32);
    let graph = network(Arch::ResNet18).graph([size; 2]).unwrap();
    let values = |name: &str, count: usize| -> Vec<f32> {
        (0..count as u64).map(|at| 0.1 * formula(name, at) as f32).collect()
    };
    let score = UnknownParameters {
        center: values("center", width),
        projection: values("projection", directions * width),
        within: values("within", directions * directions),
        means: values("means", classes * directions),
        total: values("total", directions),
        residual: 0.7,
    };
    let options = |output| Options { output, unknown: Some(score.clone()), ..Options::default() };
    let images = images(2, [3, size, size]);
    let run = |output| {
        let file = Model::new(&graph, &options(output)).unwrap().to_bytes();
        Engine::load(&file).unwrap().run(&images, [2, 3, size, size]).unwrap()
    };
    let outputs = run(Output::Features);
    assert_eq!(run(Output::Logits)[1], outputs[1]);
    for (features, found) in outputs[0].chunks_exact(width).zip(&outputs[1]) {
        let features: Vec<f64> = features.iter().map(|value| f64::from(*value)).collect();
        let dot = |a: &[f32], b: &[f64]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * b).sum::<f64>();
        let length = features.iter().map(|value| value * value).sum::<f64>().sqrt();
        let u: Vec<f64> =
            features.iter().zip(&score.center).map(|(x, c)| x / length - f64::from(*c)).collect();
        let p: Vec<f64> = score.projection.chunks_exact(width).map(|row| dot(row, &u)).collect();
        let y: Vec<f64> = score.within.chunks_exact(directions).map(|row| dot(row, &p)).collect();
        let distance =
            |mean: &[f32]| y.iter().zip(mean).map(|(y, m)| (y - f64::from(*m)).powi(2)).sum::<f64>();
        let nearest = score.means.chunks_exact(directions).map(distance).fold(f64::MAX, f64::min);
        let squares: Vec<f64> = p.iter().map(|p| p * p).collect();
        let rest = u.iter().map(|u| u * u).sum::<f64>() - squares.iter().sum::<f64>();
        let expected = nearest - dot(&score.total, &squares) + 0.7 * rest.max(0.0);
        assert!((f64::from(*found) - expected).abs() < 1e-4 * expected.abs().max(1.0), "{found}, {expected}");
    }
}

/// Weights and values of eight bits: near what floats give, in a quarter of the bytes.
#[test]
fn eight_bits_are_near_floats() {
    for arch in SMALL {
        let size = 64;
        let graph = network(arch).graph([size; 2]).unwrap();
        let shape = [1, 3, size, size];
        let image = |seed: &str| -> Vec<f32> {
            (0..3 * size * size).map(|at| formula(seed, at as u64) as f32).collect()
        };
        let model = Model::new(&graph, &Options::default()).unwrap();
        let ranges = model.ranges(["a", "b"].map(|seed| (image(seed), shape))).unwrap();
        assert!(ranges.len() > 2 && ranges.keys().eq(model.quantized_values().iter()), "{arch}");
        let quantized = model.quantize(&ranges).unwrap().to_bytes();
        let bytes = model.to_bytes();
        let run = |file: &[u8]| Engine::load(file).unwrap().run(&image("c"), shape).unwrap().remove(0);
        let found = difference(&run(&quantized), &run(&bytes));
        println!("{arch}: {found:.1e}, {} of {} bytes", quantized.len(), bytes.len());
        assert!(found > 1e-4 && found < 0.25, "{arch}: {found}");
        assert!(quantized.len() * 10 < bytes.len() * 4, "{arch}");

        let mut missing = ranges.clone();
        let (name, _) = missing.pop_first().unwrap();
        assert!(matches!(model.quantize(&missing), Err(Error::NoRange { value }) if value == name));
        missing.insert(name, [f32::NAN, 1.0]);
        assert!(matches!(model.quantize(&missing), Err(Error::NoRange { .. })));
    }
}
