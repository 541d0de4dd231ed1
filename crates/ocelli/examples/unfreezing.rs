//! What unfreezing does to a trained head, by what the backbone's batch norms normalise by: the table of
//! `benches/unfreezing.md`.
//!
//! `cargo run --release -p ocelli --example unfreezing -- DATA SIZE HEAD_EPOCHS EPOCHS SEED RATE,…`
//!
//! All layers are trained in one cycle, the body's rates spread up to that of the head, each group's ten times that of
//! the one before.

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
    let [data, size, head_epochs, epochs, seed, rates] = &arguments[..] else {
        eprintln!("usage: unfreezing DATA SIZE HEAD_EPOCHS EPOCHS SEED RATE,…");
        std::process::exit(2);
    };
    let number = |text: &str| text.parse::<usize>().expect("a number");
    let (head_epochs, epochs) = (number(head_epochs), number(epochs));
    let rates: Vec<f64> = rates.split(',').map(|rate| rate.parse().expect("a rate")).collect();
    let augmentation = match data.contains("satellite") {
        true => Augmentation::top_down(),
        false => Augmentation::side_on().max_zoom(1.1),
    };
    let photos = ImageData::from_folder(data).augmentation(augmentation).size(number(size)).load()?;
    println!(
        "{data}, {size} px, seed {seed}: {} images trained on, {} measured\n",
        photos.train_len(),
        photos.valid_len()
    );
    println!("| norms of the backbone | head | unfrozen, found | at | after each epoch | time |");
    println!("|---|---|---|---|---|---|");
    for way in [Way::Running, Way::Batch, Way::Estimated, Way::HeadFirst] {
        let mut learner =
            Learner::pretrained(Arch::EfficientNetLite0, photos.clone().with_seed(number(seed) as u64))?;
        learner.set_cache(default_cache()?);
        if way == Way::Estimated {
            learner.unfreeze();
            learner.set_train_bn(true);
            learner.estimate_statistics()?;
            learner.freeze();
        }
        learner.cache_features()?;
        let rows = learner.fit(1e-2, OneCycle::epochs(head_epochs))?;
        let head = rows.last().and_then(|row| row.accuracy).unwrap_or(f64::NAN);
        learner.unfreeze();
        learner.set_train_bn(!(way == Way::Running));
        if way == Way::HeadFirst {
            learner.fit([1e-9, 1e-9, 1e-3], Epochs(1))?;
        }
        let proportions = LearningRates::geometric(1e-2, 1.0);
        let curve = learner.lr_find(LrFind::groups(proportions).steps(60))?;
        let found = match curve.suggestions() {
            Ok(found) => format!("valley {:.1e}, minimum/10 {:.1e}", found.valley, found.minimum),
            Err(_) => "nothing reliable".to_owned(),
        };
        let start = learner.snapshot()?;
        for rate in &rates {
            let began = Instant::now();
            learner.restore(start.clone())?;
            let after: Vec<String> = match learner.fit(proportions.scaled(*rate), OneCycle::epochs(epochs)) {
                Ok(rows) => {
                    rows.iter().map(|row| format!("{:.4}", row.accuracy.unwrap_or(f64::NAN))).collect()
                }
                Err(error) => vec![error.to_string()],
            };
            let seconds = began.elapsed().as_secs_f64();
            println!("| {way:?} | {head:.4} | {found} | {rate:.0e} | {} | {seconds:.0} s |", after.join(" "));
        }
    }
    Ok(())
}
