//! A backbone and a head of one's own: any Burn modules, trained by Ocelli's learner.
//!
//!     cargo run --release -p ocelli --example custom_backbone -- samples/emoji
//!
//! The body is three blocks of Burn's own layers, which train from nothing here; with `Network::with_tensors` it would
//! take weights from a file. It is trained first under Ocelli's usual head, then under a head of its own, saved, read
//! again, and asked.

use burn::module::Module;
use burn::tensor::{Device, Tensor, activation};
use burn_nn::conv::{Conv2d, Conv2dConfig};
use burn_nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig, PaddingConfig2d};
use ocelli::Normalization;
use ocelli::nn::layer::Pool;
use ocelli::nn::{Backbone, Classifier, Head, Network, Pass};
use ocelli::prelude::*;

/// Convolution, batch norm, ReLU; each halves the size.
#[derive(Module, Debug)]
struct Block {
    conv: Conv2d,
    norm: BatchNorm,
}

impl Block {
    fn new(from: usize, to: usize, device: &Device) -> Self {
        let conv = Conv2dConfig::new([from, to], [3, 3])
            .with_stride([2, 2])
            .with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1));
        Self { conv: conv.init(device), norm: BatchNormConfig::new(to).init(device) }
    }

    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        activation::relu(self.norm.forward(self.conv.forward(input)))
    }
}

/// A row of blocks. `H` is what stands on it.
#[derive(Module, Debug)]
pub struct Blocks<H: Classifier> {
    blocks: Vec<Block>,
    #[module(skip)]
    head: std::marker::PhantomData<H>,
}

const WIDTHS: [usize; 4] = [3, 32, 64, 128];

impl<H: Classifier> Blocks<H> {
    /// Blocks with random weights.
    pub fn new(device: &Device) -> Self {
        let blocks = WIDTHS.windows(2).map(|widths| Block::new(widths[0], widths[1], device));
        Self { blocks: blocks.collect(), head: std::marker::PhantomData }
    }
}

impl<H: Classifier + 'static> Backbone for Blocks<H> {
    type Head = H;

    fn stages(&self) -> usize {
        self.blocks.len()
    }

    fn forward_stage(&self, stage: usize, input: Tensor<4>, pass: &Pass) -> Tensor<4> {
        match pass {
            // As it is used: Burn's batch norm then takes its running statistics.
            Pass::Infer => self.blocks[stage].valid().forward(input.inner()),
            Pass::Train(_) => self.blocks[stage].forward(input),
        }
    }

    fn channels(&self) -> usize {
        WIDTHS[WIDTHS.len() - 1]
    }

    fn group_boundary(&self) -> usize {
        2
    }

    fn stage_of(&self, tensor: &str) -> usize {
        // Tensors are named by the fields that hold them: blocks.1.conv.weight.
        tensor.split('.').nth(1).and_then(|block| block.parse().ok()).unwrap_or(0)
    }
}

/// A head of one's own: average pooling and one linear layer.
#[derive(Module, Debug)]
pub struct OneLayer {
    linear: Linear,
    #[module(skip)]
    classes: usize,
}

impl OneLayer {
    /// A head with random weights.
    pub fn new(channels: usize, classes: usize, device: &Device) -> Self {
        Self { linear: LinearConfig::new(channels, classes).init(device), classes }
    }
}

impl Classifier for OneLayer {
    fn pool(&self, maps: Tensor<4>) -> Tensor<2> {
        Pool::Average.forward(maps)
    }

    fn classify(&self, pooled: Tensor<2>, pass: &Pass) -> Tensor<2> {
        match pass {
            Pass::Infer => self.valid().linear.forward(pooled.inner()),
            Pass::Train(_) => self.linear.forward(pooled),
        }
    }

    fn classes(&self) -> usize {
        self.classes
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| "samples/emoji".to_owned());
    let data = || ImageData::from_folder(&folder).size(48).batch_size(32).load();
    let (device, normalization) = (Device::flex(), Normalization { mean: [127.5; 3], std: [127.5; 3] });
    device.seed(1);

    // Under the usual head.
    let body = Blocks::<Head>::new(&device);
    let mut learner = Learner::from_backbone(body, "blocks", normalization, data()?);
    // Nothing is pretrained: all layers train, and norms by what they see. A rate that warms up and ends low suits them.
    learner.set_train_bn(true).unfreeze();
    for row in learner.fit(1e-2, OneCycle::epochs(8))? {
        println!("epoch {}   accuracy {:.3}", row.epoch, row.accuracy.unwrap_or(0.0));
    }

    // Under its own.
    let network = |classes| {
        let body = Blocks::<OneLayer>::new(&device);
        let head = OneLayer::new(body.channels(), classes, &device);
        Network::from_modules(body, head)
    };
    let data = data()?;
    let classes = data.classes().len();
    let mut learner = Learner::from_network(network(classes), "blocks", normalization, data)?;
    learner.set_train_bn(true).unfreeze();
    learner.fit(1e-2, OneCycle::epochs(8))?;
    println!("own head   accuracy {:.3}", learner.validate()?.accuracy().value());

    // What is saved is a model like any other; reading it needs the same modules, whatever their values.
    let path = std::env::temp_dir().join(format!("custom-backbone-{}.safetensors", std::process::id()));
    learner.save(&path)?;
    let model = Model::load_into(&path, network(classes))?;
    let photo = &learner.data().items()[0].path;
    for prediction in model.predict([photo])? {
        let best = prediction?.best();
        println!("{}   {} {:.3}", photo.display(), best.class, best.probability);
    }
    std::fs::remove_file(path)?;
    Ok(())
}
