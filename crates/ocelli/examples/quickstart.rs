//! From a folder of photos to a model: a new head on cached features, by the one-cycle policy.
//!
//!     cargo run --release -p ocelli --example quickstart

use ocelli::prelude::*;

fn main() -> ocelli::Result<()> {
    let photos = concat!(env!("CARGO_MANIFEST_DIR"), "/../../samples/emoji");
    let data = ImageData::from_folder(photos).size(32).load()?;
    let mut learner = Learner::pretrained(Arch::EfficientNetLite0, data)?;
    // The quick recipe: the learning rate finder, then ten epochs. Other recipes train all layers too; fits of your own
    // are `learner.cache_features()?` and `learner.fit(1e-2, OneCycle::epochs(10))?`.
    let result = learner.run_recipe(&Recipe::preset(Preset::Quick, 32))?;

    let accuracy = result.predictions.accuracy();
    let (low, high) = accuracy.interval();
    println!("accuracy {:.4}, 95 % interval {low:.4} to {high:.4}", accuracy.value());

    let model_path = std::env::temp_dir().join(format!("quickstart-{}.safetensors", std::process::id()));
    learner.save(&model_path)?;
    let model = Model::load(&model_path)?;
    for prediction in model.predict([format!("{photos}/flags/de.png")])? {
        let best = prediction?.best();
        println!("flags/de.png is predicted as {} with probability {:.3}", best.class, best.probability);
    }
    std::fs::remove_file(&model_path).ok();
    Ok(())
}
