//! Recipes as a library: when a fit ends early, when a phase is skipped, and which weights the learner has at the end.

use ocelli::prelude::*;
use ocelli::{EpochRecord, Error, Freezing, LrChoice, Metric, Phase, TrainPhase};

use crate::common::notices;

fn learner() -> Learner {
    let photos = concat!(env!("CARGO_MANIFEST_DIR"), "/../../samples/emoji");
    let data = ImageData::from_folder(photos).size(32).load().unwrap();
    Learner::pretrained(Arch::EfficientNetLite0, data).unwrap()
}

/// The head on precomputed activations.
fn head(rate: f64, epochs: usize) -> Phase {
    let (lr, schedule) = (LrChoice::Fixed(rate.into()), Epochs(epochs).into());
    let freezing = Freezing::Cached { frozen: 2, augmented_copies: 0 };
    Phase::Train(TrainPhase { freezing, lr, schedule, optimizer: None })
}

/// The number of rows after which nobody has the patience for more: naively, from the rows themselves.
fn endured(rows: &[EpochRecord], patience: usize) -> usize {
    let better = |new: &EpochRecord, old: &EpochRecord| {
        let key = |row: &EpochRecord| (row.accuracy.unwrap(), -row.valid_loss.unwrap());
        key(new) > key(old)
    };
    let (mut best, mut since) = (0, 0);
    for place in 1..rows.len() {
        if better(&rows[place], &rows[best]) {
            (best, since) = (place, 0);
        } else {
            since += 1;
            if since == patience {
                return place + 1;
            }
        }
    }
    rows.len()
}

#[test]
fn a_stage_ends_when_patience_is_over() {
    let fit = |rate: f64, patience: Option<usize>| {
        let mut learner = learner();
        learner.cache_features().unwrap();
        learner.keep_best(Some(Metric::Accuracy)).early_stopping(patience);
        let mut rows = learner.fit(rate, Epochs(12)).unwrap();
        rows.iter_mut().for_each(|row| row.seconds = 0.0);
        rows
    };
    // So high a rate that epochs soon are no better than those before.
    let all = fit(0.3, None);
    assert_eq!(all.len(), 12);
    for patience in [1, 3] {
        let wanted = endured(&all, patience);
        assert!(wanted < 12, "the rows must get worse somewhere: {all:?}");
        assert_eq!(fit(0.3, Some(patience)), all[..wanted], "patience {patience}");
    }
    assert_eq!(fit(0.3, Some(50)), all);
}

#[test]
fn patience_counts_in_each_stage_anew() {
    let mut learner = learner();
    learner.early_stopping(Some(1));
    let recipe = Recipe::from(vec![head(1e-2, 3), head(0.3, 6), head(0.3, 6)]);
    learner.run_recipe(&recipe).unwrap();
    for fit in 1..=3 {
        let rows: Vec<EpochRecord> = learner.history().iter().filter(|row| row.fit == fit).cloned().collect();
        assert!(!rows.is_empty(), "fit {fit} has its first epoch");
        assert_eq!(rows.len(), endured(&rows, 1), "fit {fit} ended when it had to, and not before");
    }
}

#[test]
fn a_step_that_diverges_is_given_up_and_the_best_weights_stay() {
    let mut learner = learner();
    let heard = notices(&mut learner);
    let recipe = Recipe::from(vec![head(1e-2, 3), head(1e36, 2), head(1e-3, 1)]);
    let result = learner.run_recipe(&recipe).unwrap();
    let notices = heard.lock().unwrap().clone();
    assert!(
        matches!(&notices[..], [text] if text.contains("became") && text.contains("This phase is skipped")),
        "{notices:?}"
    );
    let fits: Vec<usize> = learner.history().iter().map(|row| row.fit).collect();
    assert_eq!(fits, [1, 1, 1, 3], "no row of what diverged, and the step after it is made");
    let best = learner
        .history()
        .iter()
        .reduce(|best, row| if row.is_better(best, Metric::Accuracy) { row } else { best });
    assert_eq!(Some(result.predictions.accuracy().value()), best.unwrap().accuracy);
    assert_eq!(learner.validate().unwrap(), result.predictions);

    let mut learner = self::learner();
    let error = learner.run_recipe(&Recipe::from(vec![head(1e36, 2)])).unwrap_err();
    assert!(matches!(error, Error::Diverged { .. }), "there are no weights to return to: {error}");
}
