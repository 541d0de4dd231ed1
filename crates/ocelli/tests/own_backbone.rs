//! Backbones of the user's own, of Burn's layers: what is kept of them does not move on with training.

use std::path::Path;

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig};
use burn::tensor::{Device, Tensor, activation};
use ocelli::nn::{Backbone, Head, Pass};
use ocelli::{Epochs, ImageData, Learner, LrFind, Metric, Normalization};

/// A convolution and a norm whose statistics Burn moves in place.
#[derive(Module, Debug)]
struct AnyBackbone {
    conv: Conv2d,
    norm: BatchNorm,
}

impl AnyBackbone {
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        activation::relu(self.norm.forward(self.conv.forward(input)))
    }
}

impl Backbone for AnyBackbone {
    type Head = Head;

    fn stages(&self) -> usize {
        1
    }

    fn forward_stage(&self, _: usize, input: Tensor<4>, pass: &Pass) -> Tensor<4> {
        match pass {
            Pass::Infer => self.valid().forward(input.inner()),
            Pass::Train(_) => self.forward(input),
        }
    }

    fn channels(&self) -> usize {
        8
    }

    fn group_boundary(&self) -> usize {
        1
    }

    fn stage_of(&self, _: &str) -> usize {
        0
    }
}

fn learner() -> Learner<AnyBackbone> {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples/emoji");
    let data = ImageData::from_folder(samples).size(16).batch_size(32).load().unwrap();
    let device = Device::flex();
    device.seed(1);
    let conv = Conv2dConfig::new([3, 8], [3, 3]).with_stride([2, 2]).init(&device);
    let body = AnyBackbone { conv, norm: BatchNormConfig::new(8).init(&device) };
    let normalization = Normalization { mean: [127.5; 3], std: [127.5; 3] };
    let mut learner = Learner::from_backbone(body, "own", normalization, data, 1);
    learner.bn_freeze(false).unfreeze();
    learner
}

#[test]
fn the_finder_leaves_the_running_statistics_as_they_were() {
    let mut learner = learner();
    let before = learner.validate().unwrap();
    learner.lr_find(LrFind::default().steps(20)).unwrap();
    assert_eq!(learner.validate().unwrap().probabilities, before.probabilities);
}

#[test]
fn the_best_weights_keep_their_running_statistics() {
    let mut learner = learner();
    learner.keep_best(Some(Metric::LogLoss));
    learner.fit(1e-3, Epochs(1)).unwrap();
    let best = learner.validate().unwrap();
    // At this rate nothing gets better.
    learner.fit(0.3, Epochs(1)).unwrap();
    assert_ne!(learner.validate().unwrap().probabilities, best.probabilities);
    learner.return_to_best();
    assert_eq!(learner.validate().unwrap().probabilities, best.probabilities);
    // Nor does what comes after the return reach what is kept.
    learner.fit(0.3, Epochs(1)).unwrap();
    learner.return_to_best();
    assert_eq!(learner.validate().unwrap().probabilities, best.probabilities);
}
