//! A custom augmentation: sensor noise, on top of the built-in flips, rotations and zoom.
//!
//!     cargo run --release -p ocelli --example own_augmentation

use ocelli::CustomTransform;
use ocelli::prelude::*;

/// The largest standard deviation of the noise, where pixels are 0 to 255.
const LARGEST: f64 = 20.0;

fn main() -> ocelli::Result<()> {
    // The function changes the pixels of a cropped and resized training image. All randomness comes from `draws`, which
    // follow from seed, epoch and image: runs stay reproducible.
    let noise = CustomTransform::new("sensor-noise", |pixels, draws| {
        let deviation = draws.between(0.0, LARGEST);
        for value in pixels.values().iter_mut().flatten() {
            *value += (deviation * draws.normal()) as f32;
        }
    });
    // A registered transform is found by its name when a run is resumed.
    let augmentation = Augmentation::side_on().max_zoom(1.1).with(noise.register()?);

    let photos = concat!(env!("CARGO_MANIFEST_DIR"), "/../../samples/emoji");
    let data = ImageData::from_folder(photos).size(32).augmentation(augmentation).load()?;
    let mut learner = Learner::pretrained(Arch::EfficientNetLite0, data)?;
    // Features of two augmented copies of each image; validation images are not augmented. Features of images that a
    // custom transform has changed stay in memory: the cache folder could not tell one version of its code from another.
    learner.cache_augmented_copies(2)?;
    for record in learner.fit(1e-2, Epochs(4))? {
        println!("epoch {}: accuracy {:.4}", record.epoch, record.accuracy.unwrap_or(0.0));
    }
    Ok(())
}
