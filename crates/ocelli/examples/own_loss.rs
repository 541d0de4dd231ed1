//! A custom loss: PolyLoss (Leng et al. 2022, <https://arxiv.org/abs/2204.12511>), the cross-entropy and ε times the
//! probability that the network does not give to the actual class.
//!
//!     cargo run --release -p ocelli --example own_loss

use burn::tensor::{Tensor, activation};
use ocelli::CustomLoss;
use ocelli::prelude::*;

/// PolyLoss's ε.
const EPSILON: f32 = 1.0;

fn main() -> ocelli::Result<()> {
    // Logits and targets are [images, classes]; the loss is the mean over the batch. Gradients come from autodiff.
    let poly = CustomLoss::new("poly-1", |logits: Tensor<2>, targets: Tensor<2>| {
        let log_probabilities = activation::log_softmax(logits, 1);
        let cross_entropy = (log_probabilities.clone() * targets.clone()).sum_dim(1).neg();
        let missing = (log_probabilities.exp() * targets).sum_dim(1).neg().add_scalar(1.0);
        (cross_entropy + missing.mul_scalar(EPSILON)).mean()
    });
    // A registered loss is found by its name when a run is resumed.
    let loss = poly.register()?.into();

    let photos = concat!(env!("CARGO_MANIFEST_DIR"), "/../../samples/emoji");
    let data = ImageData::from_folder(photos).size(32).load()?;
    let mut learner = Learner::pretrained(Arch::EfficientNetLite0, data)?;
    learner.set_options(TrainOptions { loss, ..TrainOptions::default() });
    learner.cache_features()?;
    for record in learner.fit(1e-2, Epochs(4))? {
        // The validation loss stays the plain cross-entropy, so that runs can be compared.
        let (valid_loss, accuracy) = (record.valid_loss.unwrap_or(0.0), record.accuracy.unwrap_or(0.0));
        println!(
            "epoch {}: train loss {:.4}, valid loss {valid_loss:.4}, accuracy {accuracy:.4}",
            record.epoch, record.train_loss
        );
    }
    Ok(())
}
