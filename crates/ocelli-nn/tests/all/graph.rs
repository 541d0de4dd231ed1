//! A network as a list of operations: what it computes in f64 is what the network computes.

use std::collections::HashSet;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use ocelli_nn::builder::build;
use ocelli_nn::graph::Operation;
use ocelli_nn::layer::{ConvBnAct, ConvSpec, Pool};
use ocelli_nn::{
    Arch, Backbone, Builder, Error, Head, HeadForm, HeadKind, HiddenActivation, Network, Pass, PublishedForm,
    PublishedHead, op,
};

use crate::common::{images, infer, spread, with_formula_weights};

/// The largest difference from the network's logits, in parts of their spread.
fn difference<B: Backbone>(network: &Network<B>, size: [usize; 2], count: usize) -> f64 {
    let graph = network.graph(size).unwrap();
    let images = images(count, graph.image);
    let found = graph.run(&images.iter().map(|value| f64::from(*value)).collect::<Vec<_>>());
    let expected = infer(network, &images, size);
    assert_eq!(found.len(), expected.len());
    let differences =
        found.iter().zip(&expected).map(|(found, expected)| (found - f64::from(*expected)).abs());
    differences.fold(0.0, f64::max) / f64::from(spread(&expected))
}

/// Every network of the registry under both heads, with sides that are not even.
#[test]
fn every_network_is_its_list_of_operations() {
    for &arch in Arch::ALL {
        let smallest = arch.info().smallest.max(32);
        let size = [smallest + 1, smallest];
        let network = with_formula_weights(arch.untrained(3, 5, 1, &Device::flex()));
        let found = difference(&network, size, if arch.info().multiply_adds < 1_000 { 2 } else { 1 });
        println!("{arch}: {found:.1e}");
        assert!(found < 1e-4, "{arch}: {found}");
        let graph = network.graph(size).unwrap();
        let names: HashSet<&String> = graph.nodes.iter().map(|node| &node.name).collect();
        assert_eq!(names.len(), graph.nodes.len(), "{arch}: names differ");
        assert!(
            graph
                .nodes
                .iter()
                .enumerate()
                .all(|(number, node)| node.inputs.iter().all(|input| *input <= number))
        );
        let convolutions = graph.nodes.iter().filter(|node| matches!(node.operation, Operation::Conv { .. }));
        let unnamed = convolutions.filter(|node| node.operation.parameters()[0].name.is_empty()).count();
        assert_eq!(unnamed, 0, "{arch}: convolutions are named by their weights");
    }
}

/// Classifiers as they are published: a grid of means and hidden layers, a layer norm, a class token.
#[test]
fn published_classifiers_are_in_the_list() {
    let mut vgg = PublishedForm::linear("classifier.6");
    (vgg.pool, vgg.hidden) = (Pool::Grid(7), &[("classifier.0", 32)]);
    let mut mobile = PublishedForm::linear("classifier.3");
    (mobile.hidden, mobile.activation) = (&[("classifier.0", 32)], HiddenActivation::HardSwish);
    let mut convnext = PublishedForm::linear("head.fc");
    convnext.norm = Some("head.norm");
    let mut transformer = PublishedForm::linear("head");
    transformer.pool = Pool::ClassToken;
    let forms = [
        (Arch::ResNet18, vgg, [230, 90]),
        (Arch::ResNet18, mobile, [64, 64]),
        (Arch::ResNet18, convnext, [64, 64]),
        (Arch::VitTinyPatch16, transformer, [48, 48]),
    ];
    for (arch, form, size) in forms {
        let backbone = arch.untrained(3, 5, 1, &Device::flex()).backbone().clone();
        let construct =
            |builder: &Builder| Head::Published(PublishedHead::new(builder, form, backbone.channels(), 6));
        let (head, names) = build("a head", &Device::flex(), None, |_| true, 1, 3, construct).unwrap();
        let network = Network::from_modules(backbone.clone(), head);
        assert_eq!(
            network.to_tensors().names().filter(|name| name.starts_with("head.")).count(),
            names.len()
        );
        let found = difference(&with_formula_weights(network), size, 1);
        assert!(found < 1e-4, "{arch}, {form:?}: {found}");
    }
}

/// The counts that papers give.
#[test]
fn operations_are_counted() {
    let network = Arch::ResNet50.untrained(3, 1000, 1, &Device::flex());
    let graph = network.graph([224, 224]).unwrap();
    let of_convolutions: usize = graph.multiply_adds();
    // 4.09 G with a classifier of 2,048 × 1,000; here the head is another.
    assert!((4_080_000_000..4_100_000_000).contains(&of_convolutions), "{of_convolutions}");
    let text = graph.to_string();
    assert!(text.contains("conv 7×7, stride 2, Relu of 0  (conv1)"), "{text}");
    assert!(text.lines().last().unwrap().ends_with("= logits"), "{text}");
}

#[derive(Module, Debug)]
struct Custom {
    conv: ConvBnAct,
    #[module(skip)]
    by_burn: bool,
}

impl Backbone for Custom {
    type Head = Head;

    fn stages(&self) -> usize {
        1
    }

    fn forward_stage(&self, _: usize, input: Tensor<4>, pass: &Pass) -> Tensor<4> {
        let x = self.conv.forward(input, None, pass);
        if self.by_burn { op::max_pool2d(x.mul_scalar(2.0), op::Window::new(2, 2)) } else { x }
    }

    fn channels(&self) -> usize {
        8
    }

    fn pool(&self) -> Pool {
        Pool::Average
    }

    fn group_boundary(&self) -> usize {
        0
    }

    fn stage_of(&self, _: &str) -> usize {
        0
    }
}

/// A custom backbone of this crate's layers has a list; what Burn computes in between is not left out silently.
#[test]
fn what_cannot_be_recorded_is_an_error() {
    let custom = |by_burn| {
        let construct = |builder: &Builder| Custom {
            conv: ConvBnAct::new(builder, ["conv", "bn"], ConvSpec::new(3, 8, 3), 1e-5, op::Activation::Relu),
            by_burn,
        };
        let (backbone, _) = build("custom", &Device::flex(), None, |_| true, 1, 3, construct).unwrap();
        Network::with_transfer_head(backbone, 3, 1)
    };
    assert!(difference(&custom(false), [9, 12], 2) < 1e-5);
    let error = custom(true).graph([9, 12]).unwrap_err();
    assert!(matches!(&error, Error::NotRecorded { before } if before == "max pool"), "{error}");
    // The next recording is not disturbed.
    assert!(custom(false).graph([9, 12]).is_ok());
}

/// A linear head on features of earlier stages: what it computes is in the list, whatever the backbone, and a file of its
/// tensors gives the same network.
#[test]
fn a_linear_head_on_several_depths_is_its_list_of_operations_and_its_file() {
    for &arch in Arch::ALL {
        let info = arch.info();
        let size = info.smallest.max(32);
        let plain = arch.untrained(3, 5, 1, &Device::flex());
        let before_last = plain.backbone().stages() - 1;
        let depths: Vec<usize> = (before_last / 2..before_last).collect();
        let form = HeadForm { kind: HeadKind::Linear, depths: depths.clone() };
        let widths = plain.feature_widths(&depths, size);
        let network = plain.with_head_form(&form, widths.iter().sum(), 1).unwrap();
        let network = with_formula_weights(network);
        assert_eq!(network.head_form(), Some(form.clone()), "{arch}");

        // Each depth by its definition: the means of the stages' outputs.
        let images = images(1, [3, size, size]);
        let input =
            Tensor::<4>::from_data(TensorData::new(images.clone(), [1, 3, size, size]), &Device::flex());
        let found: Vec<f32> = network.infer_features(input.clone()).into_data().try_into_vec().unwrap();
        let mut at = 0;
        for (depth, width) in depths.iter().zip(&widths) {
            let maps = network.infer_stages(input.clone(), 0, depth + 1).maps;
            let [_, channels, height, columns] = maps.dims();
            assert_eq!(channels, *width, "{arch}, stage {depth}");
            let values: Vec<f32> = maps
                .reshape([channels, height * columns])
                .into_data()
                .convert::<f32>()
                .try_into_vec()
                .unwrap();
            for (channel, values) in values.chunks_exact(height * columns).enumerate() {
                let mean = values.iter().map(|value| f64::from(*value)).sum::<f64>() / values.len() as f64;
                let (found, largest) =
                    (f64::from(found[at + channel]), values.iter().fold(1e-3, |a: f32, b| a.max(b.abs())));
                assert!(
                    (found - mean).abs() < 1e-4 * f64::from(largest),
                    "{arch}, stage {depth}: {found}, {mean}"
                );
            }
            at += width;
        }
        let last: Vec<f32> = network
            .pool(network.infer_stages(input, 0, before_last + 1).maps)
            .into_data()
            .try_into_vec()
            .unwrap();
        assert_eq!(found[at..], last, "{arch}: the last stage's features are the head's own");

        let difference = difference(&network, [size; 2], 1);
        println!("{arch}, {} features: {difference:.1e}", found.len());
        assert!(difference < 1e-4, "{arch}: {difference}");
        let again = arch.trained(&network.to_tensors(), &form, 5, &Device::flex()).unwrap();
        assert_eq!(infer(&again, &images, [size; 2]), infer(&network, &images, [size; 2]), "{arch}");
    }
}

#[test]
fn depths_that_are_no_stages_are_refused() {
    let arch = Arch::EfficientNetLite0;
    let tensors = arch.untrained(3, 5, 1, &Device::flex()).to_tensors();
    for depths in [vec![8], vec![3, 3], vec![5, 4], vec![usize::MAX]] {
        let form = HeadForm { kind: HeadKind::Linear, depths };
        let refused = arch.trained(&tensors, &form, 5, &Device::flex());
        assert!(matches!(refused, Err(Error::HeadForm { .. })), "{form:?}: {refused:?}");
    }
    // The tensors of another head.
    let form = HeadForm { kind: HeadKind::Linear, depths: vec![7] };
    assert!(matches!(arch.trained(&tensors, &form, 5, &Device::flex()), Err(Error::Mismatch { .. })));
}
