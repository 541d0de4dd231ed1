//! What is written, read back and run by the interpreter: it computes what the network computes.

#[path = "../../ocelli-nn/tests/common/mod.rs"]
mod common;

use burn::tensor::{Device, Tensor, TensorData};
use ocelli_nn::graph::{Graph, Operation, Output, Parameter, PoolWindow, UnknownParameters};
use ocelli_nn::{Arch, Network};
use ocelli_tflite::{Error, Images, Input, Interpreter, Model, Normalization, Options};

use common::{difference, formula, images, infer, with_formula_weights};

fn network(arch: Arch) -> Network {
    with_formula_weights(arch.untrained(3, 5, 1, &Device::flex()))
}

/// Images channels first as images channels last.
fn channels_last<T: Copy>(images: &[T], size: usize) -> Vec<T> {
    let pixel = |image: &[T], at: usize| [0, 1, 2].map(|channel| image[channel * size * size + at]);
    images
        .chunks_exact(3 * size * size)
        .flat_map(|image| (0..size * size).flat_map(|at| pixel(image, at)))
        .collect()
}

fn written(graph: &Graph, options: &Options) -> Vec<u8> {
    Model::new(graph, options).unwrap().to_bytes().unwrap()
}

#[test]
fn files_say_what_networks_compute() {
    for arch in [
        Arch::ResNet18,
        Arch::DenseNet121,
        Arch::MobileNetV2,
        Arch::MobileNetV3Large,
        Arch::EfficientNetB0,
        Arch::EfficientNetLite0,
        Arch::ConvNextAtto,
        Arch::VitTinyPatch16,
    ] {
        let size = arch.info().smallest.max(32);
        let network = network(arch);
        let file = written(&network.graph([size; 2]).unwrap(), &Options::default());
        let images = images(2, [3, size, size]);
        let expected = infer(&network, &images, [size; 2]);
        let interpreter = Interpreter::load(&file).unwrap();
        let found =
            interpreter.run(Images::Floats(&channels_last(&images, size)), &["logits"]).unwrap().remove(0);
        let worst = difference(&found, &expected);
        println!("{arch}: {worst:.1e}");
        assert!(worst < 1e-4, "{arch}: {worst}");
    }
}

#[test]
fn pixels_are_normalized_and_outputs_are_those_asked_for() {
    let (size, network) = (48, network(Arch::ResNet18));
    let graph = network.graph([size; 2]).unwrap();
    let pixels: Vec<u8> =
        images(1, [3, size, size]).iter().map(|value| (127.5 + 127.5 * value) as u8).collect();
    let normalization = Normalization { mean: vec![120.0, 110.0, 100.0], std: vec![50.0, 60.0, 70.0] };
    let images: Vec<f32> = pixels
        .iter()
        .enumerate()
        .map(|(at, &pixel)| {
            let channel = at / (size * size) % 3;
            (f32::from(pixel) - normalization.mean[channel]) / normalization.std[channel]
        })
        .collect();
    let logits = infer(&network, &images, [size; 2]);
    let last = channels_last(&pixels, size);
    let run = |output: Output| {
        let options = Options { input: Input::Pixels(normalization.clone()), output, ..Options::default() };
        let interpreter = Interpreter::load(&written(&graph, &options)).unwrap();
        interpreter.run(Images::Pixels(&last), &[output.name()]).unwrap().remove(0)
    };
    assert!(difference(&run(Output::Logits), &logits) < 1e-5);
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

/// A graph of these operations on images of that size, the last of which is features and logits.
fn graph(size: usize, operations: Vec<(Operation, Vec<usize>)>) -> Graph {
    let mut graph = network(Arch::ResNet18).graph([size; 2]).unwrap();
    let node = graph.nodes[0].clone();
    graph.nodes.clear();
    for (number, (operation, shape)) in operations.into_iter().enumerate() {
        let mut node = node.clone();
        node.name = format!("node{number}");
        (node.operation, node.inputs, node.shape) = (operation, vec![number], shape);
        graph.nodes.push(node);
    }
    (graph.features, graph.logits) = (graph.nodes.len(), graph.nodes.len());
    graph
}

/// Paddings of which TFLite has one, both, or neither.
#[test]
fn windows_are_those_of_the_graph_whatever_the_padding() {
    let size = 11;
    let images = images(2, [3, size, size]);
    let exact: Vec<f64> = images.iter().map(|&value| value.into()).collect();
    for (kernel, stride, padding) in [
        ([3, 3], 2, [1, 1, 1, 1]),
        ([2, 3], 1, [0, 1, 1, 1]),
        ([3, 2], 3, [0, 0, 0, 0]),
        ([4, 4], 2, [2, 0, 2, 1]),
        ([1, 1], 2, [0, 0, 0, 0]),
    ] {
        let window = PoolWindow { kernel, stride: [stride; 2], padding };
        let out = |axis: usize| (size + padding[axis] + padding[axis + 2] - kernel[axis]) / stride + 1;
        let shape = vec![3, out(0), out(1)];
        let length = shape.iter().product();
        for operation in [
            Operation::MaxPool(window),
            Operation::AveragePool { window, count_padding: true },
            Operation::AveragePool { window, count_padding: false },
        ] {
            let name = format!("{operation}, {padding:?}");
            // Reshaping orders the values as the reference does.
            let reshape = Operation::Reshape(vec![length]);
            let graph = graph(size, vec![(operation, shape.clone()), (reshape, vec![length])]);
            let expected: Vec<f32> = graph.run(&exact).iter().map(|value| *value as f32).collect();
            let interpreter = Interpreter::load(&written(&graph, &Options::default())).unwrap();
            let found = interpreter.run(Images::Floats(&channels_last(&images, size)), &["logits"]).unwrap();
            assert!(difference(&found[0], &expected) < 1e-6, "{name}");
        }
    }
}

#[test]
fn the_unknown_score_is_that_of_its_formula() {
    let (dimensions, directions, classes) = (3, 2, 4);
    let numbers = |name: &str, count: usize| -> Vec<f32> {
        (0..count).map(|at| formula(name, at as u64) as f32).collect()
    };
    let score = UnknownParameters {
        center: numbers("center", dimensions),
        projection: numbers("projection", directions * dimensions),
        within: numbers("within", directions * directions),
        means: numbers("means", classes * directions),
        total: numbers("total", directions),
        residual: 1.5,
    };
    let size = 5;
    let graph = graph(size, vec![(Operation::GlobalAverage, vec![3])]);
    let images = images(3, [3, size, size]);
    let options = Options { unknown: Some(score.clone()), ..Options::default() };
    let interpreter = Interpreter::load(&written(&graph, &options)).unwrap();
    let images = channels_last(&images, size);
    let found = interpreter.run(Images::Floats(&images), &["logits", "unknown_score"]).unwrap();
    let dot = |a: &[f64], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * f64::from(*b)).sum::<f64>();
    for (features, found) in found[0].chunks_exact(dimensions).zip(&found[1]) {
        let features: Vec<f64> = features.iter().map(|&value| value.into()).collect();
        let length = features.iter().map(|value| value * value).sum::<f64>().sqrt();
        let u: Vec<f64> = features
            .iter()
            .zip(&score.center)
            .map(|(value, center)| value / length - f64::from(*center))
            .collect();
        let p: Vec<f64> = score.projection.chunks_exact(dimensions).map(|row| dot(&u, row)).collect();
        let y: Vec<f64> = score.within.chunks_exact(directions).map(|row| dot(&p, row)).collect();
        let square = |values: &[f64]| values.iter().map(|value| value * value).sum::<f64>();
        let nearest = score
            .means
            .chunks_exact(directions)
            .map(|mean| y.iter().zip(mean).map(|(y, m)| (y - f64::from(*m)).powi(2)).sum::<f64>())
            .fold(f64::MAX, f64::min);
        let total: f64 = p.iter().zip(&score.total).map(|(p, total)| p * p * f64::from(*total)).sum();
        let expected = nearest - total + 1.5 * (square(&u) - square(&p)).max(0.0);
        assert!((f64::from(*found) - expected).abs() < 1e-5 * expected.abs().max(1.0), "{found} {expected}");
    }
}

#[test]
fn labels_are_packed_and_line_breaks_in_them_refused() {
    let graph = graph(5, vec![(Operation::GlobalAverage, vec![3])]);
    let options =
        Options { labels: ["ant", "bée", "c d"].map(str::to_owned).to_vec(), ..Options::default() };
    let mut model = Model::new(&graph, &options).unwrap();
    let alone = model.to_bytes().unwrap();
    model.attach("ocelli.json", "{}");
    let bytes = model.to_bytes().unwrap();
    // The network's part is the same: the files come after it.
    let same = alone.iter().zip(&bytes).take_while(|(a, b)| a == b).count();
    assert!(same > alone.len() / 2);
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(&bytes)).unwrap();
    let mut content = |name: &str| std::io::read_to_string(archive.by_name(name).unwrap()).unwrap();
    assert_eq!(
        (content("labels.txt"), content("ocelli.json")),
        ("ant\nbée\nc d\n".to_owned(), "{}".to_owned())
    );
    assert!(Interpreter::load(&bytes).is_ok() && ocelli_tflite::begins(&bytes));

    let options = Options { labels: vec!["two\nlines".to_owned()], ..Options::default() };
    let error = Model::new(&graph, &options).err().unwrap();
    assert!(matches!(&error, Error::Label { class } if class == "two\nlines"), "{error}");
    let normalization = Normalization { mean: vec![0.0], std: vec![1.0; 3] };
    let options = Options { input: Input::Pixels(normalization), ..Options::default() };
    let error = Model::new(&graph, &options).err().unwrap();
    assert!(matches!(error, Error::Channels { channels: 3, given: 1 }), "{error}");
}

/// A byte that is another, or none, is an error or another number: never a panic.
#[test]
fn damaged_files_are_refused_or_run() {
    let size = 5;
    let weight = Parameter::new("head.weight", vec![2, 3], vec![0.5, -0.25, 1.0, 0.0, 2.0, -1.0]);
    let bias = Parameter::new("head.bias", vec![2], vec![0.1, -0.1]);
    let linear = Operation::Linear { weight, bias };
    let graph = graph(size, vec![(Operation::GlobalAverage, vec![3]), (linear, vec![2])]);
    let file = written(&graph, &Options::default());
    let images = channels_last(&images(1, [3, size, size]), size);
    let run = |bytes: &[u8]| Interpreter::load(bytes)?.run(Images::Floats(&images), &["logits"]);
    assert!(run(&file).is_ok());
    let mut refused = 0;
    for at in 0..file.len() {
        for value in [0, 1, 0x7F, 0xFF] {
            let mut damaged = file.clone();
            damaged[at] = value;
            refused += usize::from(run(&damaged).is_err());
        }
        refused += usize::from(run(&file[..at]).is_err());
    }
    assert!(refused > file.len(), "{refused}");
    assert!(matches!(run(b"no model at all").unwrap_err(), Error::NotReadable { .. }));
}
