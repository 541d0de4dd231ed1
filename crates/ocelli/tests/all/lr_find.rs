//! The learning rate finder on scripted losses, against fastai's rules, and on the sample pictures.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use ocelli::event::Activity;
use ocelli::prelude::*;
use ocelli::{CurveShape, Error, Growth, LrCurve, LrRule};

#[test]
fn rates_grow_as_fastais_do() {
    // fastai 0.7: (10 / 1e-5)^(1 / 360) = 1.03912 a batch.
    let find = LrFind::default().steps(360);
    for step in 1..360 {
        let growth = find.rates(step).head() / find.rates(step - 1).head();
        assert!((growth - 1.03912).abs() < 1e-5, "{growth}");
    }
    assert_eq!(find.rates(0), 1e-5.into());
    assert!((find.rates(180).head() - 1e-2).abs() < 1e-12);

    let linear = LrFind::default().start_lr(0.1).end_lr(1.1).steps(100).growth(Growth::Linear);
    for (step, wanted) in [(0, 0.1), (50, 0.6), (99, 1.09)] {
        assert!((linear.rates(step).head() - wanted).abs() < 1e-12);
    }
}

#[test]
fn groups_keep_their_proportions() {
    let find = LrFind::groups([1e-4, 1e-3, 1e-2]);
    assert!((find.rates(0).head() - 1e-5).abs() < 1e-18);
    for step in 0..100 {
        let rates = find.rates(step).0;
        assert!((rates[2] / rates[1] - 10.0).abs() < 1e-9 && (rates[1] / rates[0] - 10.0).abs() < 1e-9);
    }
    let curve = find.search(|_| Ok(1.0)).unwrap();
    let chosen = curve.rates_at(1e-3).0;
    assert!((chosen[0] / 1e-5 - 1.0).abs() < 1e-9 && (chosen[2] / 1e-3 - 1.0).abs() < 1e-9);
}

/// Plays losses, one a step, and tells how many steps were made.
fn play(losses: &[f64]) -> (LrCurve, usize) {
    let mut steps = 0;
    let find = LrFind::default().steps(losses.len());
    let curve = find.search(|_| {
        steps += 1;
        Ok(losses[steps - 1])
    });
    (curve.unwrap(), steps)
}

/// fastai's loop in its own words, as an oracle: the number of losses that it records.
fn recorded_by_fastai(losses: &[f64]) -> usize {
    let (mut average, mut best) = (0.0, 1e9);
    for (batch, loss) in losses.iter().enumerate() {
        average = average * 0.98 + loss * 0.02;
        let debiased = average / (1.0 - 0.98f64.powi(batch as i32 + 1));
        if debiased.is_nan() || debiased > best * 4.0 {
            return batch;
        }
        if debiased < best && batch > 10 {
            best = debiased;
        }
    }
    losses.len()
}

#[test]
fn a_search_stops_where_fastais_does() {
    let falling = |step: usize| 1.0 / (1.0 + 0.05 * step as f64);
    let explosion = |at: usize, factor: f64| -> Vec<f64> {
        (0..100)
            .map(|step| falling(step) * if step < at { 1.0 } else { factor.powi((step - at) as i32) })
            .collect()
    };
    let mut early = vec![0.01; 5];
    early.extend(vec![1.0; 95]);
    let cases = [explosion(60, 1.5), explosion(30, 3.0), explosion(95, 1.01), early, vec![0.5; 100]];
    for losses in cases {
        let wanted = recorded_by_fastai(&losses);
        let (curve, steps) = play(&losses);
        assert_eq!(curve.losses, losses[..wanted], "the step that ends it is left out");
        assert_eq!(steps, (wanted + 1).min(100), "no step more is made");
        assert_eq!(curve.diverged.is_some(), wanted < 100);
        assert_eq!(curve.rates.len(), wanted);
    }
    let mut losses = vec![0.5; 100];
    losses[40] = f64::NAN;
    assert_eq!(play(&losses).0.losses.len(), 40);
}

/// A falling, then rising loss over the logarithm of the rate, with or without bumps.
fn curve(bumps: f64) -> LrCurve {
    let loss = |step: f64| {
        let x = -5.0 + 6.0 * step / 100.0;
        let fall = 0.5 / (1.0 + (-3.0 * (x + 2.5)).exp());
        0.7 - fall
            + 0.02 * (3.0 * (x + 0.5)).exp()
            + bumps * (0.02 * (1.7 * step).sin() + 0.015 * (4.1 * step).sin())
    };
    let losses: Vec<f64> = (0..100).map(|step| loss(step as f64)).collect();
    let rates = (0..100).map(|step| 10f64.powf(-5.0 + 6.0 * step as f64 / 100.0)).collect();
    let (smoothed, start) = (losses.clone(), 1e-5.into());
    LrCurve { start, rates, smoothed, losses, diverged: None, frozen: 2, photos: Some(100) }
}

/// What fastai 2.8's `valley`, `slide`, `minimum` and `steep` give for the same numbers.
#[test]
fn suggestions_are_fastais() {
    let golden = [
        (0.0, [0.0016595869074375613, 0.001445439770745928, 0.010471285480508985, 0.0028840315031266055]),
        (1.0, [0.022908676527677724, 0.2089296130854041, 0.023988329190194897, 0.0007244359600749906]),
    ];
    for (bumps, wanted) in golden {
        let found = curve(bumps).suggestions().unwrap();
        let found = [found.valley, found.slide, found.minimum, found.steep];
        for (found, wanted) in found.iter().zip(wanted) {
            assert!((found / wanted - 1.0).abs() < 1e-6, "{found:e}, fastai {wanted:e}");
        }
    }
}

#[test]
fn one_rule_says_which_rate_is_taken() {
    let curve = curve(0.0);
    let lowest =
        (0..curve.rates.len()).min_by(|a, b| curve.smoothed[*a].total_cmp(&curve.smoothed[*b])).unwrap();
    let head = curve.suggestion().unwrap();
    assert_eq!(head.rule, LrRule::ThirdOfMinimum);
    assert!((3.0 * head.rate / curve.rates[lowest] - 1.0).abs() < 1e-9, "{head:?}");
    assert_eq!(head.rule.to_string(), "a third of the learning rate at the lowest loss");
    let all = LrCurve { frozen: 0, ..curve.clone() }.suggestion().unwrap();
    assert_eq!(all.rule, LrRule::TenthOfMinimum);
    assert!((10.0 * all.rate / curve.rates[lowest] - 1.0).abs() < 1e-9, "{all:?}");
    // What is suggested is marked where it is, beside fastai's rules.
    let figure = format!("{:?}", curve.plot());
    assert!(figure.contains(&format!("suggested {:.1e}", head.rate)), "{figure}");
    assert!(
        figure.contains("valley") && figure.contains("a third of the learning rate at the lowest loss"),
        "{figure}"
    );
}

#[test]
fn fewer_than_ten_photos_have_no_answer() {
    for photos in [2, 9] {
        let few = LrCurve { photos: Some(photos), ..curve(0.0) };
        for answer in [few.suggestion().map(|_| ()), few.suggestions().map(|_| ()), few.shape().map(|_| ())] {
            let Err(Error::NoLearningRate { reason }) = answer else { panic!("{answer:?}") };
            assert!(
                reason.contains(&format!("{photos} training images"))
                    && reason.contains("at least 10 are needed"),
                "{reason}"
            );
        }
        assert!(few.plot().title.contains("too few"), "{}", few.plot().title);
    }
    assert!(LrCurve { photos: Some(10), ..curve(0.0) }.suggestion().is_ok());
}

#[test]
fn a_curve_of_nothing_can_be_drawn() {
    // The loss was no number at the first step.
    let (nothing, steps) = play(&[f64::NAN; 20]);
    assert_eq!((nothing.losses.len(), steps), (0, 1));
    assert!(nothing.suggestion().is_err() && nothing.rises_at().is_none());
    let folder = tempfile::tempdir().unwrap();
    nothing.write(folder.path(), "lr_find").unwrap();
}

#[test]
fn smoothing_lags_nowhere() {
    let (curve, _) = play(&curve(1.0).losses);
    let lowest = |losses: &[f64]| (0..losses.len()).min_by(|a, b| losses[*a].total_cmp(&losses[*b])).unwrap();
    let truth = lowest(&self::curve(0.0).losses);
    assert!(lowest(&curve.smoothed).abs_diff(truth) <= 3, "{} is not {truth}", lowest(&curve.smoothed));
}

#[test]
fn no_answer_is_given_where_there_is_none() {
    let reason = |losses: &[f64]| match play(losses).0.suggestions() {
        Err(Error::NoLearningRate { reason }) => reason,
        other => panic!("{other:?}"),
    };
    let noise = |step: usize| 0.7 + 0.2 * (1.7 * step as f64).sin() + 0.15 * (4.1 * step as f64).sin();
    assert!(
        reason(&(0..100).map(noise).collect::<Vec<_>>()).contains("descends clearly at no learning rate")
    );
    assert!(
        reason(&(0..100).map(|step| 0.5 + 0.01 * step as f64).collect::<Vec<_>>())
            .contains("descends clearly at no")
    );
    let mut soon = vec![0.7; 15];
    soon.extend(vec![1e6; 85]);
    assert!(reason(&soon).contains("; start below "));
}

#[test]
fn a_rise_is_seen_where_it_begins() {
    let rise = |step: usize| 0.5 * 1.1f64.powi(step.saturating_sub(60) as i32);
    let (curve, _) = play(&(0..100).map(rise).collect::<Vec<_>>());
    let place = curve.rates.iter().position(|rate| Some(*rate) == curve.rises_at()).unwrap();
    assert!(place.abs_diff(60) <= 5, "{place}");
    let text = curve.suggestions().unwrap_err().to_string();
    assert!(
        text.contains("descends clearly at no learning rate") && text.contains("it rises above"),
        "{text}"
    );
    let (flat, _) = play(&[0.5; 100]);
    assert_eq!(flat.rises_at(), None);
}

#[test]
fn where_nothing_falls_the_rise_bounds_the_rate() {
    // A network that knows its photos: losses vary by a factor of e from batch to batch, until they explode.
    let varied = |step: usize| (0.4 * ((1.7 * step as f64).sin() + (4.1 * step as f64).sin())).exp();
    for (steps, rises) in [(100, 75), (40, 30), (30, 23)] {
        let loss = |step: usize| 0.08 * varied(step) * 1.6f64.powi(step.saturating_sub(rises) as i32);
        let (curve, _) = play(&(0..steps).map(loss).collect::<Vec<_>>());
        let shape = curve.shape().unwrap();
        let CurveShape::OnlyRises(rate) = shape else { panic!("{shape:?}") };
        let suggestion = curve.suggestion().unwrap();
        assert_eq!((suggestion.rate, suggestion.rule), (rate / 10.0, LrRule::TenthOfRise));
        // Within half a decade of where it begins: before it by what the smoothing takes together, after it by the noise.
        let began = 1e-5 * 1e6f64.powf(rises as f64 / steps as f64);
        assert!((0.5..3.0).contains(&(rate / began)), "{steps} steps: {rate:e}, it began at {began:e}");
    }
    // A clear fall is what counts, whatever comes after it.
    assert!(
        matches!(curve(0.0).shape().unwrap(), CurveShape::Descends(found) if found == curve(0.0).suggestions().unwrap())
    );
}

#[test]
fn a_rise_among_the_low_rates_bounds_the_rate_too() {
    let varied = |step: usize| (0.1 * ((1.7 * step as f64).sin() + (4.1 * step as f64).sin())).exp();
    for (steps, rises) in [(100, 35), (40, 14), (24, 8)] {
        let loss = |step: usize| 0.08 * varied(step) * 1.3f64.powi(step.saturating_sub(rises) as i32);
        let (curve, _) = play(&(0..steps).map(loss).collect::<Vec<_>>());
        let shape = curve.shape().unwrap();
        let CurveShape::OnlyRises(rate) = shape else { panic!("{shape:?}") };
        let began = 1e-5 * 1e6f64.powf(rises as f64 / steps as f64);
        assert!((0.3..8.0).contains(&(rate / began)), "{steps} steps: {rate:e}, it began at {began:e}");
    }
}

#[test]
fn a_rise_from_the_first_rates_on_bounds_nothing() {
    let reason = |losses: &[f64]| match play(losses).0.shape() {
        Err(Error::NoLearningRate { reason }) => reason,
        other => panic!("{other:?}"),
    };
    let at_once: Vec<f64> = (0..100).map(|step| 0.5 * 1.02f64.powi(step)).collect();
    assert!(reason(&at_once).contains("; start below "));
    assert!(reason(&[0.5; 100]).contains("does not rise either"));
    let mut soon = vec![0.7; 15];
    soon.extend(vec![1e6; 85]);
    assert!(reason(&soon).contains("; start below "));
    assert!(reason(&[f64::NAN; 100]).contains("; start below "));
}

#[test]
fn settings_out_of_range_are_refused() {
    let refused = |find: LrFind| matches!(find.search(|_| Ok(1.0)), Err(Error::Setting { .. }));
    assert!(refused(LrFind::default().steps(3)));
    assert!(refused(LrFind::default().end_lr(1e-6)));
    assert!(refused(LrFind::default().start_lr(-1.0)));
    assert!(refused(LrFind::default().start_lr(f64::NAN)));
}

fn learner() -> Learner {
    let photos = concat!(env!("CARGO_MANIFEST_DIR"), "/../../samples/emoji");
    let data = ImageData::from_folder(photos).size(32).batch_size(64).load().unwrap();
    Learner::pretrained(Arch::EfficientNetLite0, data).unwrap()
}

/// Everything that the next fit depends on, to the bit.
fn print(learner: &Learner) -> (String, Vec<(String, Vec<u32>)>) {
    let snapshot = learner.snapshot().unwrap();
    let bits =
        |name: &str| snapshot.tensors.get(name).unwrap().values.iter().map(|value| value.to_bits()).collect();
    let tensors = snapshot.tensors.names().map(|name| (name.to_owned(), bits(name))).collect();
    (toml::to_string(&snapshot.header).unwrap(), tensors)
}

#[test]
fn a_search_leaves_no_trace() {
    for (frozen, cached) in [(2, true), (1, false)] {
        let mut learner = learner();
        learner.freeze_to(frozen).unwrap();
        if cached {
            learner.cache_features().unwrap()
        } else {
            learner.stream_images()
        }
        let before = print(&learner);
        // More steps than there are batches, and rates that destroy the network.
        let curve = learner.lr_find(LrFind::default().steps(24).end_lr(1e6)).unwrap();
        assert!(curve.losses.len() > 9 || curve.diverged.is_some());
        assert_eq!(print(&learner), before);
        let mut other = self::learner();
        other.freeze_to(frozen).unwrap();
        if cached {
            other.cache_features().unwrap()
        } else {
            other.stream_images()
        }
        let (mut one, mut two) = (learner.fit(1e-2, Epochs(1)).unwrap(), other.fit(1e-2, Epochs(1)).unwrap());
        (one[0].seconds, two[0].seconds) = (0.0, 0.0);
        assert_eq!(one, two);
    }
}

#[test]
fn an_interrupted_search_leaves_no_trace() {
    let mut learner = learner();
    learner.cache_features().unwrap();
    let before = print(&learner);
    let steps = Arc::new(Mutex::new(0));
    let count = steps.clone();
    learner.observe(move |event: &Event| {
        let step = matches!(event, Event::Progress(progress) if progress.activity == Activity::LearningRates);
        *count.lock().unwrap() += usize::from(step);
        if *count.lock().unwrap() >= 30 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(matches!(learner.lr_find(LrFind::default()), Err(Error::Stopped)));
    assert_eq!(*steps.lock().unwrap(), 30);
    assert_eq!(print(&learner), before);
}

#[test]
fn a_search_that_panics_leaves_no_trace() {
    let mut learner = learner();
    learner.cache_features().unwrap();
    let before = print(&learner);
    learner.observe(|event: &Event| {
        let step = matches!(event, Event::Progress(progress) if progress.activity == Activity::LearningRates && progress.done == 12);
        assert!(!step, "an observer that panics");
        ControlFlow::Continue(())
    });
    let search = std::panic::AssertUnwindSafe(|| learner.lr_find(LrFind::default()));
    assert!(std::panic::catch_unwind(search).is_err());
    assert_eq!(print(&learner), before);
}

#[test]
fn the_head_of_the_samples_has_a_learning_rate() {
    let mut learner = learner();
    learner.cache_features().unwrap();
    let curve = learner.lr_find(LrFind::default()).unwrap();
    let suggestions = curve.suggestions().unwrap();
    for rate in [suggestions.valley, suggestions.slide, suggestions.minimum, suggestions.steep] {
        assert!((1e-5..1.0).contains(&rate), "{suggestions:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    curve.write(folder.path(), "lr_find").unwrap();
    let csv = std::fs::read_to_string(folder.path().join("lr_find.csv")).unwrap();
    assert_eq!(csv.lines().count(), curve.losses.len() + 1);
    let svg = std::fs::read_to_string(folder.path().join("lr_find.svg")).unwrap();
    assert!(svg.contains("valley") && svg.contains("suggested"));
    assert_eq!((curve.frozen, curve.photos), (2, Some(learner.data().train_len())));
    let png = ocelli::Decoder::default().decode_file(folder.path().join("lr_find.png")).unwrap();
    assert!(png.width() > 500 && png.height() > 300);
}
