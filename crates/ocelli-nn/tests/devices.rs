//! What another device computes, beside the CPU: logits of a frozen network, and the gradients of a training step.
//!
//! The device is named by `OCELLI_TEST_DEVICE`, such as `wgpu`, whose feature must be compiled in: `ci/wgpu` does both.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Distribution, Gradients, Tensor, activation};
use ocelli_nn::{Arch, DeviceName, Network, Pass, Statistics};

/// A network of each kind of layer.
const ARCHS: [Arch; 4] = [Arch::ResNet34, Arch::EfficientNetLite0, Arch::ConvNextAtto, Arch::VitTinyPatch16];

/// More than a few: the norms of the head take the statistics of the batch, and of two images these say which is the
/// larger and nothing else, so that what reaches the layers before them is rounding.
const IMAGES: usize = 8;

fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().unwrap()
}

fn gradients(network: &Network, gradients: &Gradients) -> BTreeMap<String, Vec<f32>> {
    struct Collect<'a>(&'a Network, &'a Gradients, BTreeMap<String, Vec<f32>>);
    impl ModuleVisitor for Collect<'_> {
        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
            if let Some(gradient) = parameter.val().grad(self.1) {
                self.2.insert(self.0.name(parameter.id).to_owned(), numbers(gradient));
            }
        }
    }
    let mut collect = Collect(network, gradients, BTreeMap::new());
    network.visit(&mut collect);
    collect.2
}

/// Logits of a frozen pass, and the gradients of the loss of a training pass.
fn compute(arch: Arch, images: &[f32], device: &Device) -> (Vec<f32>, BTreeMap<String, Vec<f32>>) {
    let network = arch.untrained(3, 5, 3, device).train_groups_from(0);
    let images = Tensor::<1>::from_floats(images, device).reshape([IMAGES, 3, 64, 64]);
    let logits = numbers(network.infer(images.clone()));
    let pass = Pass::train(Statistics::Running, 9);
    let loss = activation::log_softmax(network.forward_from(0, images, &pass), 1);
    let loss = loss.narrow(1, 0, 1).mean().neg();
    (logits, gradients(&network, &loss.backward()))
}

fn length(numbers: impl IntoIterator<Item = f32>) -> f64 {
    numbers.into_iter().map(|x| f64::from(x).powi(2)).sum::<f64>().sqrt()
}

/// The length of the difference, relative to the expected length, or to `least` where that is more.
fn difference(seen: &[f32], wanted: &[f32], least: f64) -> f64 {
    let of_all = length(wanted.iter().copied()).max(least);
    length(seen.iter().zip(wanted).map(|(seen, wanted)| seen - wanted)) / of_all
}

#[test]
fn devices_agree_with_the_cpu() {
    let Ok(name) = std::env::var("OCELLI_TEST_DEVICE") else {
        println!("skipped: OCELLI_TEST_DEVICE names no device");
        return;
    };
    let device = name.parse::<DeviceName>().unwrap().open().unwrap();
    let cpu = Device::flex();
    cpu.seed(4);
    let images = numbers(Tensor::<1>::random([IMAGES * 3 * 64 * 64], Distribution::Normal(0.0, 1.0), &cpu));
    for arch in ARCHS {
        let (wanted_logits, wanted) = compute(arch, &images, &cpu);
        let (logits, seen) = compute(arch, &images, &device);
        let of_logits = difference(&logits, &wanted_logits, f64::MIN_POSITIVE);
        assert_eq!(seen.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>(), "{arch}");
        // A bias before a norm has no gradient but rounding: shares are of something that counts.
        let least =
            1e-3 * wanted.values().map(|gradient| length(gradient.iter().copied())).fold(0.0, f64::max);
        let mut differences: Vec<(f64, &String)> =
            seen.iter().map(|(name, gradient)| (difference(gradient, &wanted[name], least), name)).collect();
        differences.sort_by(|a, b| a.0.total_cmp(&b.0));
        let (median, _) = differences[differences.len() / 2];
        let (worst, parameter) = *differences.last().unwrap();
        println!(
            "{arch} on {name}: logits {of_logits:.1e} apart, {} gradients {median:.1e} (the median), {worst:.1e} \
             ({parameter})",
            seen.len()
        );
        assert!(of_logits < 1e-4, "{arch}: logits");
        assert!(median < 1e-2, "{arch}: the gradients");
        // Where the argument of a ReLU is 0 but for rounding, a whole product of its gradient is on one side only.
        assert!(worst < 5e-2, "{arch}: the gradient of {parameter}");
    }
}
