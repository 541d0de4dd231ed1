//! A metric of one's own: the recall of the class that is recognised worst, by which the best weights are kept.
//!
//!     cargo run --release -p ocelli --example own_metric

use ocelli::prelude::*;
use ocelli::{CustomMetric, Direction};

fn main() -> ocelli::Result<()> {
    let worst_recall = CustomMetric::new("worst-recall", Direction::Higher, |predictions| {
        let classes = predictions.per_class();
        // A class that no image has says nothing.
        let present = classes.iter().filter(|class| class.support > 0);
        present.map(|class| class.recall).fold(f64::NAN, f64::min)
    });
    let worst_recall = worst_recall.register()?;

    let photos = concat!(env!("CARGO_MANIFEST_DIR"), "/../../samples/emoji");
    let data = ImageData::from_folder(photos).size(32).load()?;
    let mut learner = Learner::pretrained(Arch::EfficientNetLite0, data)?;
    learner.keep_best(Some(worst_recall));
    learner.cache_features()?;
    for record in learner.fit(1e-2, Epochs(6))? {
        let recall = record.value(worst_recall).unwrap_or(f64::NAN);
        println!(
            "epoch {}: {worst_recall} {recall:.4}{}",
            record.epoch,
            if record.best { ", the best" } else { "" }
        );
    }
    let estimate = learner.validate()?.estimate(worst_recall);
    let (low, high) = estimate.interval;
    println!("{worst_recall} {:.4}, 95 % interval {low:.4} to {high:.4}", estimate.value);
    Ok(())
}
