//! What is done to training besides its rates: each against what it is defined to be.

use std::collections::BTreeMap;

use ocelli::prelude::*;
use ocelli::{ClassWeights, Ensemble, Error, Freezing, LearningRates, Mix, TensorFile, WeightDecay};

fn data(batch: usize) -> ImageData {
    let photos = concat!(env!("CARGO_MANIFEST_DIR"), "/../../samples/emoji");
    ImageData::from_folder(photos).size(32).batch_size(batch).load().unwrap()
}

/// Its precomputed head is about to be trained.
fn learner(batch: usize) -> Learner {
    let mut learner = Learner::pretrained(Arch::EfficientNetLite0, data(batch)).unwrap();
    learner.cache_features().unwrap();
    learner
}

fn plain() -> TrainOptions {
    let optimizer = Optimizer::Sgd { momentum: 0.0, nesterov: false };
    TrainOptions { optimizer, weight_decay: 0.0.into(), ..TrainOptions::default() }
}

/// How far each tensor of the head has moved.
fn moves(before: &TensorFile, after: &TensorFile) -> BTreeMap<String, Vec<f64>> {
    let of = |name: &str| {
        let (old, new) = (&before.get(name).unwrap().values, &after.get(name).unwrap().values);
        old.iter().zip(new).map(|(old, new)| f64::from(*new) - f64::from(*old)).collect()
    };
    let trained = before.names().filter(|name| name.starts_with("head.") && !name.contains("running"));
    trained.map(|name| (name.to_owned(), of(name))).collect()
}

fn norm(moves: &BTreeMap<String, Vec<f64>>) -> f64 {
    moves.values().flatten().map(|value| value * value).sum::<f64>().sqrt()
}

/// One step over all images: 560 of them in one batch.
fn step(method: TrainOptions, rate: f64) -> BTreeMap<String, Vec<f64>> {
    let mut learner = learner(560);
    learner.set_options(method);
    let before = learner.network().to_tensors();
    learner.fit(rate, Epochs(1)).unwrap();
    moves(&before, &learner.network().to_tensors())
}

#[test]
fn clipping_shortens_a_step_and_keeps_its_direction() {
    let free = step(plain(), 0.1);
    let clipped = step(TrainOptions { max_grad_norm: Some(0.01), ..plain() }, 0.1);
    assert!(norm(&free) > 0.002, "{}", norm(&free));
    // Steps of SGD are as long as rate · gradient.
    assert!((norm(&clipped) / (0.1 * 0.01) - 1.0).abs() < 1e-2, "{}", norm(&clipped));
    let along: f64 = free.values().flatten().zip(clipped.values().flatten()).map(|(a, b)| a * b).sum();
    assert!(along / (norm(&free) * norm(&clipped)) > 0.999);
    let loose = step(TrainOptions { max_grad_norm: Some(1e6), ..plain() }, 0.1);
    assert_eq!(loose, free, "a gradient that is short enough stays as it is");
}

#[test]
fn weight_decay_pulls_weights_and_on_request_vectors() {
    let before = learner(560).network().to_tensors();
    let moved = |decay: WeightDecay| step(TrainOptions { weight_decay: decay, ..plain() }, 0.01);
    let (none, weights, all) =
        (moved(0.0.into()), moved(2.0.into()), moved(WeightDecay::from(2.0).on_bias_and_norm()));
    let other = moved([2.0, 2.0, 0.0].into());
    assert_eq!(other, none, "the head's own decay counts");
    for (name, free) in &none {
        let start = &before.get(name).unwrap().values;
        for (place, free) in free.iter().enumerate() {
            let pulled = -0.01 * 2.0 * f64::from(start[place]);
            let matrix = before.get(name).unwrap().shape.len() > 1;
            let near =
                |seen: f64, wanted: f64| assert!((seen - wanted).abs() < 1e-6, "{name}: {seen}, {wanted}");
            near(weights[name][place], free + if matrix { pulled } else { 0.0 });
            near(all[name][place], free + pulled);
        }
    }
}

#[test]
fn accumulated_batches_step_together() {
    let fit = |accumulate: usize| {
        let mut learner = learner(64);
        learner.set_options(TrainOptions { accumulate_steps: accumulate, ..plain() });
        let before = learner.network().to_tensors();
        learner.fit(1e-3, Epochs(1)).unwrap();
        (moves(&before, &learner.network().to_tensors()), learner.snapshot().unwrap())
    };
    let (one, two, all) = (fit(1).0, fit(2).0, fit(100).0);
    // Nine batches: nine steps, five, or one at the end of the epoch; at a low rate they lead almost as far as their
    // number.
    for (steps, moved) in [(5.0, &two), (1.0, &all)] {
        let share = norm(moved) / norm(&one) * 9.0 / steps;
        assert!((0.6..1.6).contains(&share), "{steps} steps: {share}");
    }
}

#[test]
fn a_fit_that_accumulates_and_averages_resumes_exactly() {
    use std::ops::ControlFlow;
    let method = || TrainOptions {
        accumulate_steps: 3,
        ema_decay: Some(0.9),
        max_grad_norm: Some(1.0),
        ..TrainOptions::default()
    };
    let fresh = || {
        let mut learner = learner(64);
        learner.set_options(method());
        learner
    };
    let mut whole = fresh();
    whole.fit(1e-2, Sgdr::cycles(2)).unwrap();
    let mut stopped = fresh();
    let mut steps = 0;
    stopped.observe(move |event: &Event| {
        steps += usize::from(
            matches!(event, Event::Progress(progress) if progress.activity == ocelli::event::Activity::Training),
        );
        if steps == 5 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(matches!(stopped.fit(1e-2, Sgdr::cycles(2)), Err(Error::Stopped)));
    let mut resumed = fresh();
    resumed.restore(stopped.snapshot().unwrap()).unwrap();
    resumed.resume().unwrap();
    assert_eq!(whole.validate().unwrap(), resumed.validate().unwrap());
}

#[test]
fn the_mean_of_weights_is_their_mean() {
    // SWA over the epochs 1, 2, 3 of four, against the weights that those epochs had.
    let fit = |epochs: usize, swa: Option<usize>| {
        let mut learner = learner(64);
        learner.set_options(TrainOptions { swa_start: swa, ..TrainOptions::default() });
        learner.fit(1e-2, Epochs(epochs)).unwrap();
        learner
    };
    let each: Vec<TensorFile> = (2..=4).map(|epochs| fit(epochs, None).network().to_tensors()).collect();
    let mut averaged = fit(4, Some(1));
    let mean = averaged.network().to_tensors();
    for name in ["head.4.weight", "head.8.bias", "head.6.weight"] {
        for (place, seen) in mean.get(name).unwrap().values.iter().enumerate() {
            let wanted: f32 = each.iter().map(|one| one.get(name).unwrap().values[place]).sum::<f32>() / 3.0;
            assert!((seen - wanted).abs() < 1e-5, "{name}: {seen}, {wanted}");
        }
    }
    let last = averaged.history().last().unwrap().valid_loss;
    assert_eq!(last, Some(averaged.validate().unwrap().loss()), "the last row measures what is kept");
}

#[test]
fn the_exponential_average_follows_the_weights() {
    let mut learner = learner(560);
    // One step: decay (1 + 1) / (10 + 1).
    learner.set_options(TrainOptions { ema_decay: Some(0.999), ..plain() });
    let before = learner.network().to_tensors();
    learner.fit(0.1, Epochs(1)).unwrap();
    let averaged = moves(&before, &learner.network().to_tensors());
    let free = step(plain(), 0.1);
    for (name, free) in &free {
        for (seen, free) in averaged[name].iter().zip(free) {
            assert!((seen - free * 9.0 / 11.0).abs() < 1e-6, "{name}: {seen}, {free}");
        }
    }
}

#[test]
fn class_weights_teach_rare_classes() {
    let fit = |class_weights: ClassWeights| {
        let mut learner = learner(64);
        learner.set_options(TrainOptions {
            loss: Loss::default().class_weights(class_weights),
            ..TrainOptions::default()
        });
        learner.fit(1e-2, Epochs(2)).unwrap();
        let predictions = learner.validate().unwrap();
        (0..predictions.len()).filter(|&place| predictions.predicted_labels(place) == [1]).count()
    };
    let mut heavy = vec![1.0; 7];
    heavy[1] = 20.0;
    let (equal, loved) = (fit(ClassWeights::Equal), fit(ClassWeights::Given(heavy)));
    assert!(loved > equal, "{loved} with 20-fold weight, {equal} without");
    // All classes have as many images, so that balanced weights change nothing.
    assert_eq!(fit(ClassWeights::Balanced), equal);
}

#[test]
fn images_are_mixed_and_cached_features_are_not() {
    let fit = |mix: Option<Mix>, cached: bool| {
        let mut learner = learner(64);
        if cached {
            learner.cache_features().unwrap()
        } else {
            learner.stream_images()
        }
        learner.set_options(TrainOptions { mix, ..TrainOptions::default() });
        let rows = learner.fit(1e-2, Epochs(1)).unwrap();
        (rows[0].train_loss, rows[0].valid_loss)
    };
    let plain = fit(None, false);
    for mix in [Mix::Mixup { alpha: 0.4 }, Mix::CutMix { alpha: 1.0 }] {
        let mixed = fit(Some(mix), false);
        assert_ne!(mixed, plain, "{mix:?}");
        assert!(mixed.0.is_finite() && mixed.1.unwrap() < 2.5, "{mix:?}: {mixed:?}");
        assert_eq!(fit(Some(mix), true), plain);
    }
}

#[test]
fn models_of_cycles_are_what_was_measured_and_answer_together() {
    let folder = tempfile::tempdir().unwrap();
    let mut learner = learner(64);
    learner.set_cycle_save_name(folder.path().join("snapshot"));
    let rows = learner.fit(1e-2, Sgdr::cycles(2).mult(2)).unwrap();
    let path = |cycle: usize| folder.path().join(format!("snapshot_cyc_{cycle}.safetensors"));
    assert!(!path(2).exists());
    let seen = learner.validate().unwrap();
    let photos: Vec<_> = seen.items().iter().map(|&item| learner.data().items()[item].path.clone()).collect();
    // fastai saves one step early; ours is the measured one, to the bit.
    let last: Vec<_> =
        Model::load(path(1)).unwrap().predict(photos.clone()).unwrap().map(Result::unwrap).collect();
    assert!(last.iter().enumerate().all(|(place, one)| one.probabilities == seen.row(place)));
    assert_eq!(rows.len(), 3);

    let first: Vec<_> =
        Model::load(path(0)).unwrap().predict(photos.clone()).unwrap().map(Result::unwrap).collect();
    let both: Vec<_> =
        Ensemble::load([path(0), path(1)]).unwrap().predict(photos).unwrap().map(Result::unwrap).collect();
    for ((first, last), both) in first.iter().zip(&last).zip(&both) {
        for class in 0..7 {
            let mean = (first.probabilities[class] + last.probabilities[class]) / 2.0;
            assert!((both.probabilities[class] - mean).abs() < 1e-6);
        }
    }
    assert!(matches!(<Ensemble>::of(Vec::new()), Err(Error::EmptyEnsemble)));
}

#[test]
fn settings_out_of_range_are_refused() {
    let refused = |method: TrainOptions| {
        let mut learner = learner(64);
        learner.set_options(method);
        matches!(learner.fit(1e-2, Epochs(1)), Err(Error::Setting { .. })) && learner.history().is_empty()
    };
    assert!(refused(TrainOptions { max_grad_norm: Some(-1.0), ..plain() }));
    assert!(refused(TrainOptions { accumulate_steps: 0, ..plain() }));
    assert!(refused(TrainOptions { ema_decay: Some(1.0), ..plain() }));
    assert!(refused(TrainOptions { ema_decay: Some(0.9), swa_start: Some(1), ..plain() }));
    assert!(refused(TrainOptions { weight_decay: f64::NAN.into(), ..plain() }));
    assert!(refused(TrainOptions { loss: Loss::smoothed(1.5), ..plain() }));
    assert!(refused(TrainOptions { loss: Loss::focal(0.5), ..plain() }));
    let two = ClassWeights::Given(vec![1.0, 2.0]);
    assert!(refused(TrainOptions { loss: Loss::default().class_weights(two), ..plain() }));
    assert!(refused(TrainOptions { optimizer: Optimizer::AdaGrad { epsilon: 0.0 }, ..plain() }));
}

#[test]
fn every_optimizer_learns() {
    let rates = [
        (Optimizer::Sgd { momentum: 0.9, nesterov: true }, 1e-2),
        (Optimizer::ADAM_W, 1e-3),
        (Optimizer::RMS_PROP, 1e-3),
        (Optimizer::ADA_GRAD, 1e-2),
        (Optimizer::LION, 1e-4),
    ];
    for (optimizer, rate) in rates {
        let mut learner = learner(64);
        learner.set_options(TrainOptions { optimizer, weight_decay: 0.01.into(), ..TrainOptions::default() });
        let rows = learner.fit(rate, OneCycle::epochs(3)).unwrap();
        assert!(rows[2].accuracy.unwrap() > 0.4, "{optimizer:?}: {:?}", rows[2].accuracy);
    }
}

#[test]
fn a_loss_that_is_no_number_moves_nothing() {
    let mut learner = learner(64);
    learner.set_options(TrainOptions { loss: Loss::focal(10.0), ..plain() });
    let error = learner.fit(1e36, Epochs(3)).unwrap_err();
    let Error::Diverged { value, batch, .. } = &error else { panic!("{error}") };
    assert!(!value.is_finite() && *batch > 1, "{error}");
    // The batch that failed is the next one that a resumed fit would take, and the network is what it was before.
    let before = learner.network().to_tensors();
    assert!(matches!(learner.resume(), Err(Error::Diverged { .. })));
    let after = learner.network().to_tensors();
    for name in before.names() {
        let bits = |file: &TensorFile| -> Vec<u32> {
            file.get(name).unwrap().values.iter().map(|value| value.to_bits()).collect()
        };
        assert_eq!(bits(&before), bits(&after), "{name}");
    }
}

#[test]
fn fine_tune_is_fastai_2s() {
    let mut learner = Learner::pretrained(Arch::EfficientNetLite0, data(64)).unwrap();
    let rows = learner.fine_tune(1).unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(learner.freezing(), Freezing::Streamed { frozen: 0 });
    // At the end of a cycle the rates are 1/100,000 of their peaks, all but that of the head's epoch.
    let LearningRates(last) = rows[1].learning_rates;
    assert!((last[1] / last[0] - 10.0).abs() < 1e-6 && (last[2] / last[1] - 10.0).abs() < 1e-6);
    assert!(rows[0].learning_rates.head() > 1.9e-3, "the head's rate rises almost to the end");
}
