//! Custom losses: trained on as built-in ones are, and never left out in silence.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use burn::tensor::{Tensor, activation};
use ocelli::event::Activity;
use ocelli::prelude::*;
use ocelli::{
    CustomLoss, EpochRecord, Error, Event, Freezing, LrChoice, Moved, Phase, Run, RunConfig, RunEnv,
    TrainPhase,
};

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples/emoji")
}

fn cross_entropy(name: &str) -> CustomLoss {
    CustomLoss::new(name, |logits: Tensor<2>, targets: Tensor<2>| {
        let [images, _] = logits.dims();
        (activation::log_softmax(logits, 1) * targets).sum().mul_scalar(-1.0 / images as f32)
    })
}

/// Two epochs of the head with a loss.
fn trained(loss: Loss) -> ocelli::Result<(Learner, Vec<EpochRecord>)> {
    let data = ImageData::from_folder(samples()).size(32).load()?;
    let mut learner = Learner::pretrained(Arch::EfficientNetLite0, data)?;
    learner.set_options(TrainOptions { loss, ..TrainOptions::default() });
    learner.cache_features()?;
    let records = learner.fit(1e-2, Epochs(2))?;
    Ok((learner, records))
}

#[test]
fn cross_entropy_written_by_hand_trains_as_the_built_in_one() {
    let (built_in, records) = trained(Loss::default()).unwrap();
    let (by_hand, others) = trained(cross_entropy("by-hand").into()).unwrap();
    for (one, other) in records.iter().zip(&others) {
        assert!((one.train_loss - other.train_loss).abs() < 1e-6, "{one:?} {other:?}");
        assert!((one.valid_loss.unwrap() - other.valid_loss.unwrap()).abs() < 1e-6, "{one:?} {other:?}");
    }
    let (one, other) = (built_in.network().to_tensors(), by_hand.network().to_tensors());
    for name in one.names() {
        let [one, other] = [&one, &other].map(|tensors| &tensors.get(name).unwrap().values);
        assert!(one.iter().zip(other).all(|(one, other)| (one - other).abs() < 1e-6), "{name}");
    }
    // The comparison sees a difference: half the loss has half the gradients.
    let half = CustomLoss::new("half", |logits: Tensor<2>, targets: Tensor<2>| {
        let [images, _] = logits.dims();
        (activation::log_softmax(logits, 1) * targets).sum().mul_scalar(-0.5 / images as f32)
    });
    let (_, halved) = trained(half.into()).unwrap();
    assert!((halved[1].valid_loss.unwrap() - records[1].valid_loss.unwrap()).abs() > 1e-4);
}

#[test]
fn what_cannot_be_trained_on_is_an_error() {
    let refused = |loss: CustomLoss| trained(loss.into()).err().unwrap().to_string();
    let each = CustomLoss::new("each-image", |logits: Tensor<2>, targets: Tensor<2>| {
        (activation::log_softmax(logits, 1) * targets).sum_dim(1).neg().squeeze_dim::<1>(1)
    });
    let text = refused(each);
    assert!(
        text.contains("\"each-image\"") && text.contains("64 numbers") && text.contains("mean"),
        "{text}"
    );
    let constant = CustomLoss::new("constant", |logits: Tensor<2>, _| Tensor::ones([1], &logits.device()));
    let text = refused(constant);
    assert!(text.contains("does not depend on the logits"), "{text}");
    let without = CustomLoss::new("inner", |logits: Tensor<2>, _| logits.inner().sum());
    let text = refused(without);
    assert!(text.contains("does not depend on the logits"), "{text}");
    let nan = CustomLoss::new("nan", |logits: Tensor<2>, _| logits.sum().mul_scalar(f32::NAN));
    let error = trained(nan.into()).err().unwrap();
    assert!(matches!(error, Error::Diverged { what: "training loss", .. }), "{error}");
    let both = Loss { label_smoothing: 0.1, ..cross_entropy("smoothed").into() };
    let error = trained(both).err().unwrap();
    assert!(matches!(error, Error::Setting { name: "loss", .. }), "{error}");
    assert!(cross_entropy("Not a name").register().is_err());
}

/// A run of two epochs with a loss that is stopped in the second.
fn stopped(loss: CustomLoss, out: &Path) {
    let mut config = RunConfig::new(samples());
    (config.size, config.batch_size, config.augmentation) = (32, 64, None);
    config.train.loss = loss.into();
    let train = TrainPhase {
        freezing: Freezing::Cached { frozen: 2, augmented_copies: 0 },
        lr: LrChoice::Fixed(1e-2.into()),
        schedule: Epochs(2).into(),
        optimizer: None,
    };
    config.recipe = Recipe::from(vec![Phase::Train(train)]);
    let mut run = Run::prepare(&config, &RunEnv { out: Some(out.to_owned()), ..RunEnv::default() }).unwrap();
    let mut steps = 0;
    run.observe(move |event: &Event| {
        let counts = matches!(event, Event::Progress(progress) if progress.activity == Activity::Training);
        steps += usize::from(counts);
        if counts && steps == 12 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(matches!(run.run(), Err(Error::Stopped)));
}

#[test]
fn a_run_is_resumed_with_its_loss_and_never_without() {
    let folder = tempfile::tempdir().unwrap();
    let resumed = |name: &str| Run::resume(&folder.path().join(name), &RunEnv::default(), &Moved::default());
    stopped(cross_entropy("known").register().unwrap(), &folder.path().join("known"));
    let mut run = resumed("known").unwrap();
    run.run().unwrap();
    assert_eq!(run.settings().train.loss.custom.as_ref().unwrap().name(), "known");
    assert_eq!(run.learner().history().len(), 2);

    stopped(cross_entropy("unknown"), &folder.path().join("unknown"));
    match resumed("unknown").err().unwrap() {
        Error::LossNotRegistered { name } => assert_eq!(name, "unknown"),
        error => panic!("{error}"),
    }
    // Registered, it goes on.
    cross_entropy("unknown").register().unwrap();
    resumed("unknown").unwrap();
}
