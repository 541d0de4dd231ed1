//! What unfreezing does to a trained head, by what the backbone's batch norms normalise by: the table of
//! `benches/unfreezing.md`.
//!
//! `cargo run --release -p ocelli --example unfreezing -- DATA SIZE HEAD_EPOCHS EPOCHS SEED`

use std::time::Instant;

use ocelli::{
    Arch, Augmentation, Epochs, ImageData, Learner, LearningRates, LrFind, OneCycle, Result, default_cache,
};

/// How the change of the norms' statistics is met.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    /// Statistics stay as they are.
    Running,
    /// The batch's, at once.
    Batch,
    /// Estimated anew on the photos before the head is trained; then the batch's.
    Estimated,
    /// The batch's, the head alone moving in the first epoch.
    HeadFirst,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [data, size, head_epochs, epochs, seed] = &arguments[..] else {
        eprintln!("usage: unfreezing DATA SIZE HEAD_EPOCHS EPOCHS SEED");
        std::process::exit(2);
    };
    let number = |text: &str| text.parse::<usize>().expect("a number");
    let (head_epochs, epochs) = (number(head_epochs), number(epochs));
    let augmentation = match data.contains("satellite") {
        true => Augmentation::top_down(),
        false => Augmentation::side_on().max_zoom(1.1),
    };
    let photos = ImageData::from_folder(data).transforms(augmentation).size(number(size)).load()?;
    println!(
        "{data}, {size} px, seed {seed}: {} trained on, {} measured",
        photos.train_len(),
        photos.valid_len()
    );
    for way in [Way::Running, Way::Batch, Way::Estimated, Way::HeadFirst] {
        let began = Instant::now();
        let mut learner =
            Learner::pretrained_seeded(Arch::EfficientNetLite0, photos.clone(), number(seed) as u64)?;
        learner.cache(default_cache()?);
        if way == Way::Estimated {
            learner.unfreeze();
            learner.bn_freeze(false);
            learner.estimate_statistics()?;
            learner.freeze();
        }
        learner.precompute(true)?;
        let rows = learner.fit(1e-2, OneCycle::epochs(head_epochs))?;
        let head = rows.last().and_then(|row| row.accuracy).unwrap_or(f64::NAN);
        learner.unfreeze();
        learner.bn_freeze(way == Way::Running);
        if way == Way::HeadFirst {
            learner.fit([1e-9, 1e-9, 1e-3], Epochs(1))?;
        }
        let proportions = LearningRates::spread(1e-2, 1.0);
        let found = learner.lr_find(LrFind::groups(proportions).start(proportions.scaled(1e-6)).steps(40))?;
        let (rates, said) = match found.suggestions() {
            Ok(found) => (proportions.scaled(found.valley), format!("{:.1e}", found.valley)),
            Err(error) => (proportions.scaled(1e-4), format!("1e-4 ({error})")),
        };
        let after: Vec<String> = match learner.fit(rates, OneCycle::epochs(epochs)) {
            Ok(rows) => rows.iter().map(|row| format!("{:.4}", row.accuracy.unwrap_or(f64::NAN))).collect(),
            Err(error) => vec![error.to_string()],
        };
        println!(
            "| {way:?} | {head:.4} | {said} | {} | {:.0} s |",
            after.join(" "),
            began.elapsed().as_secs_f64()
        );
    }
    Ok(())
}
