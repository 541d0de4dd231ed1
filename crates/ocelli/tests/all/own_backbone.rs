//! Backbones of the user's own, of Burn's layers: what is kept of them does not move on with training.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::{Device, Tensor, activation};
use burn_nn::conv::{Conv2d, Conv2dConfig};
use burn_nn::{BatchNorm, BatchNormConfig};
use ocelli::event::Activity;
use ocelli::nn::{Backbone, Head, Network, Pass};
use ocelli::{
    Epochs, Error, Event, Freezing, ImageData, Learner, LrChoice, LrFind, Metric, Moved, Normalization,
    Phase, Recipe, Run, RunConfig, RunEnv, TrainPhase,
};

/// A convolution and a norm whose statistics Burn moves in place.
#[derive(Module, Debug)]
struct Body {
    conv: Conv2d,
    norm: BatchNorm,
}

impl Body {
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        activation::relu(self.norm.forward(self.conv.forward(input)))
    }
}

impl Backbone for Body {
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

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples/emoji")
}

fn learner() -> Learner<Body> {
    learner_of(ImageData::from_folder(samples()).size(16).batch_size(32).load().unwrap())
}

fn body() -> Body {
    let device = Device::flex();
    let conv = Conv2dConfig::new([3, 8], [3, 3]).with_stride([2, 2]).init(&device);
    Body { conv, norm: BatchNormConfig::new(8).init(&device) }
}

fn learner_of(data: ImageData) -> Learner<Body> {
    let normalization = Normalization { mean: [127.5; 3], std: [127.5; 3] };
    let mut learner = Learner::from_backbone(body(), "own", normalization, data.with_seed(1));
    learner.set_train_bn(true).unfreeze();
    learner
}

#[test]
fn the_finder_leaves_the_running_statistics_as_they_were() {
    let mut learner = learner();
    let before = learner.validate().unwrap();
    learner.lr_find(LrFind::default().steps(20)).unwrap();
    assert_eq!(
        learner.validate().unwrap().into_parts().probabilities,
        before.clone().into_parts().probabilities
    );
}

#[test]
fn the_best_weights_keep_their_running_statistics() {
    let mut learner = learner();
    learner.keep_best(Some(Metric::LogLoss));
    learner.fit(1e-3, Epochs(1)).unwrap();
    let best = learner.validate().unwrap();
    // At this rate nothing gets better.
    learner.fit(0.3, Epochs(1)).unwrap();
    assert_ne!(
        learner.validate().unwrap().into_parts().probabilities,
        best.clone().into_parts().probabilities
    );
    learner.return_to_best();
    assert_eq!(
        learner.validate().unwrap().into_parts().probabilities,
        best.clone().into_parts().probabilities
    );
    // Nor does what comes after the return reach what is kept.
    learner.fit(0.3, Epochs(1)).unwrap();
    learner.return_to_best();
    assert_eq!(
        learner.validate().unwrap().into_parts().probabilities,
        best.clone().into_parts().probabilities
    );
}

#[test]
fn a_learner_can_be_moved_to_another_thread() {
    fn assert_send<T: Send>() {}
    assert_send::<Learner>();
    assert_send::<Learner<Body>>();
    assert_send::<Run>();
}

/// A run of two epochs in a folder.
fn config() -> RunConfig {
    let train = TrainPhase {
        freezing: Freezing::Streamed { frozen: 0 },
        lr: LrChoice::Fixed(1e-2.into()),
        schedule: Epochs(2).into(),
        optimizer: None,
    };
    let mut config = RunConfig::new(samples());
    config.arch = "own".to_owned();
    (config.size, config.batch_size, config.augmentation) = (16, 64, None);
    config.train.train_bn = true;
    config.recipe = Recipe::from(vec![Phase::Train(train)]);
    config
}

#[test]
fn a_run_of_an_own_backbone_is_resumed() {
    let folder = tempfile::tempdir().unwrap();
    // Burn draws first weights from one generator for all threads, so that every run begins with a copy.
    let body = body();
    let learner_of = |data: ImageData| {
        let network = Network::with_transfer_head(body.clone(), data.classes().len(), 1).copy();
        let normalization = Normalization { mean: [127.5; 3], std: [127.5; 3] };
        let mut learner = Learner::from_network(network, "own", normalization, data)?;
        learner.set_train_bn(true).unfreeze();
        Ok(learner)
    };
    let env = |name: &str| RunEnv { out: Some(folder.path().join(name)), ..RunEnv::default() };
    let mut whole = Run::prepare_with(&config(), &env("whole"), learner_of).unwrap();
    whole.run().unwrap();

    let mut stopped = Run::prepare_with(&config(), &env("stopped"), learner_of).unwrap();
    let mut steps = 0;
    // In the second epoch: an epoch has nine batches.
    stopped.observe(move |event: &Event| {
        let counts = matches!(event, Event::Progress(progress) if progress.activity == Activity::Training);
        steps += usize::from(counts);
        if counts && steps == 12 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(matches!(stopped.run(), Err(Error::Stopped)));
    drop(stopped);
    let path = folder.path().join("stopped");
    let again = RunEnv::default();
    let mut resumed = Run::resume_with(&path, &again, &Moved::default(), |_, data| learner_of(data)).unwrap();
    assert_eq!(resumed.learner().history().len(), 1, "the first epoch is not trained again");
    resumed.run().unwrap();

    let (whole, resumed) = (whole.learner().snapshot().unwrap(), resumed.learner().snapshot().unwrap());
    assert!(whole.tensors.names().any(|name| name.ends_with("running_mean")));
    for name in whole.tensors.names() {
        // Burn's own layers add in the order in which threads come, so that two runs differ in the last bits.
        let [one, other] = [&whole, &resumed].map(|run| &run.tensors.get(name).unwrap().values);
        assert!(one.iter().zip(other).all(|(a, b)| (a - b).abs() < 1e-4), "{name}: {one:?} {other:?}");
    }
    assert!(path.join("checksums.b3").is_file(), "the run is finished");
}
