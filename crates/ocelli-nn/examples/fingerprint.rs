//! Prints a hash of what networks compute from random weights, to show that a change alters no bit of it.
//!
//!     cargo run --release -p ocelli-nn --example fingerprint -- [ARCH …] > after
//!
//! The first line of an architecture hashes its registry entry and the name, shape, stage and layer group of
//! every tensor. Then comes one line for each precision and each kind of batch norm statistics, with hashes
//! of the logits in inference, the logits and gradients of a training step, and the running statistics after
//! it. Without arguments it runs one architecture of each family, and prints the first line of all others.
//! Numbers depend on the instruction set; compare on one machine.

use blake3::Hasher;
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use ocelli_nn::{Arch, Backbone, Network, Pass, Precision, Statistics};

/// One architecture of each family and kind of block.
const FAMILIES: [&str; 14] = [
    "resnet18",
    "resnet50",
    "resnext50_32x4d",
    "vgg16_bn",
    "densenet121",
    "inception_v4",
    "inception_resnet_v2",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "efficientnet_b0",
    "efficientnet_lite0",
    "convnext_atto",
    "convnext_tiny",
    "vit_tiny_patch16",
];

/// The image side, the least that every architecture takes, and not a multiple of any stride.
const SIZE: usize = 77;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let named: Vec<String> = std::env::args().skip(1).collect();
    for &arch in Arch::ALL {
        let name = arch.to_string();
        if named.is_empty() || named.contains(&name) {
            let network = arch.untrained(3, 10, 7, &Device::flex());
            println!("{name} tensors {}", tensors(arch, &network));
            if named.contains(&name) || FAMILIES.contains(&&*name) {
                compute(&name, &network.train_groups_from(0));
            }
        }
    }
    Ok(())
}

fn compute(name: &str, network: &Network) {
    let pixels = (0..2 * 3 * SIZE * SIZE).map(|i| ((i * 2_654_435_761) >> 7 & 255) as f32 / 128.0 - 1.0);
    let images = TensorData::new(pixels.collect::<Vec<_>>(), [2, 3, SIZE, SIZE]);
    let images = Tensor::<4>::from_data(images, &Device::flex());
    for precision in [Precision::F32, Precision::Bf16] {
        let network = network.clone().with_precision(precision);
        let inference = hash(network.infer(images.clone()));
        for statistics in [Statistics::Batch, Statistics::Running] {
            let pass = Pass::train(statistics, 3);
            let logits = network.forward_from(0, images.clone(), &pass);
            let gradients = logits.clone().powf_scalar(2.0).sum().backward();
            let gradients = hash_gradients(&network, &gradients);
            let network = network.clone().update_running_stats(pass.into_batch_stats());
            let mut after = Hasher::new();
            let file = network.to_tensors();
            for name in file.names() {
                add(&mut after, &file.get(name).expect("a name of the file").values);
            }
            let (logits, after) = (hash(logits.inner()), short(&after));
            println!("{name} {precision} {statistics:?} {inference} {logits} {gradients} {after}");
        }
    }
}

fn hash_gradients(network: &Network, gradients: &Gradients) -> String {
    struct Visit<'a>(&'a Gradients, Hasher);
    impl ModuleVisitor for Visit<'_> {
        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
            if let Some(gradient) = parameter.val().grad(self.0) {
                add(&mut self.1, &values(gradient));
            }
        }
    }
    let mut visit = Visit(gradients, Hasher::new());
    network.visit(&mut visit);
    short(&visit.1)
}

fn tensors(arch: Arch, network: &Network) -> String {
    let mut hasher = Hasher::new();
    let info = arch.info();
    hasher.update(
        format!(
            "{} {} {:?} {} {} {:?} {:?} {} {} {}",
            info.name,
            info.published_name(),
            info.publisher,
            info.licence,
            info.size,
            info.mean,
            info.std,
            info.accuracy,
            info.parameters,
            info.multiply_adds
        )
        .as_bytes(),
    );
    struct Visit<'a>(&'a Network, Hasher);
    impl ModuleVisitor for Visit<'_> {
        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
            let name = self.0.name(parameter.id);
            let (shape, group) = (parameter.val().dims(), self.0.role(parameter.id, D).group);
            let stage = if group < 2 { self.0.backbone().stage_of(name) } else { 0 };
            self.1.update(format!("{name} {shape:?} {stage} {group};").as_bytes());
        }
    }
    let mut visit = Visit(network, hasher);
    network.visit(&mut visit);
    short(&visit.1)
}

fn hash<const D: usize>(tensor: Tensor<D>) -> String {
    let mut hasher = Hasher::new();
    add(&mut hasher, &values(tensor));
    short(&hasher)
}

fn add(hasher: &mut Hasher, values: &[f32]) {
    hasher.update(bytemuck::cast_slice(values));
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().try_into_vec().expect("converted to f32")
}

fn short(hasher: &Hasher) -> String {
    hasher.finalize().to_hex()[..16].to_owned()
}
