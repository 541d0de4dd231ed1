//! Predictions of a learner for its images, in inference mode.

use std::collections::HashMap;

use ocelli_data::Batch;
use ocelli_nn::Backbone;

use crate::data::Part;
use crate::error::Result;
use crate::event::Activity;
use crate::learner::Learner;
use crate::metric::predictions::{Predictions, THRESHOLD};
use crate::model::tta::{FIRST_EPOCH, Tta, TtaLogits, TtaViews};
use crate::train::fit::estimate_statistics;
use crate::train::infer::{infer, logits_of, predict};

impl<B: Backbone> Learner<B> {
    /// Predicts the validation set, in the order of the split; empty without validation images.
    ///
    /// # Errors
    /// Where an image cannot be used and bad images are errors, or an observer asks to stop.
    pub fn validate(&mut self) -> Result<Predictions> {
        self.predict(Part::Valid)
    }

    /// Predicts the images of a part, in the order of the split. Training images are not augmented; images
    /// without labels have a loss of NaN.
    ///
    /// # Errors
    /// Where an image cannot be used and bad images are errors, or an observer asks to stop.
    pub fn predict(&mut self, part: Part) -> Result<Predictions> {
        predict(&self.state, &mut self.inputs, part, &mut self.observers)
    }

    /// Predicts the validation set with test-time augmentation.
    ///
    /// # Errors
    /// As [`validate`](Self::validate).
    pub fn tta(&mut self, tta: Tta) -> Result<Predictions> {
        Ok(self.predict_views(Part::Valid, tta.views)?.mean(tta.mean))
    }

    /// Predicts several views of the images of a part; all but the plain view start from the images, even if
    /// features are cached. Random views use [`ImageData::augmentation`](crate::ImageData::augmentation), or
    /// random crops without one.
    ///
    /// # Errors
    /// As [`validate`](Self::validate).
    pub fn predict_views(&mut self, part: Part, views: TtaViews) -> Result<TtaLogits> {
        let Self { state, inputs, observers, .. } = self;
        let passes = views.passes(inputs.data.augmentation())?;
        let mut weights: Vec<f64> =
            passes.iter().flat_map(|(_, epochs, weight)| epochs.iter().map(|_| *weight)).collect();
        weights.insert(0, 1.0 - weights.iter().sum::<f64>());
        let plain_loader = inputs.loader()?;
        let (items, plain) = infer(state, inputs, part, Activity::Views, observers)?;
        let classes = inputs.data.classes().len();
        let rows: HashMap<usize, usize> = items.iter().enumerate().map(|(row, &item)| (item, row)).collect();
        // Images that cannot be read in the plain view are skipped; those that cannot be read in a later view
        // keep their plain logits.
        let mut logits = vec![plain; weights.len()];
        let (total, mut done) = (items.len() * (weights.len() - 1), 0);
        for (change, epochs, _) in passes {
            let loader = plain_loader.clone().augment(change, state.seed)?;
            let samples = items.iter().flat_map(|&item| epochs.iter().map(move |&epoch| (item, epoch)));
            let mut batches = inputs.shared_batches(&loader, samples.collect())?;
            let mut compute = |batch: &mut Batch| Ok(logits_of(&state.network, batch));
            while let Some(batch) = batches.next(&inputs.data, &mut compute)? {
                observers.emit_skipped(&batch.skipped, &inputs.data)?;
                done += batch.indices.len() + batch.skipped.len();
                let samples = batch.indices.iter().zip(&batch.epochs);
                for ((item, epoch), row) in samples.zip(batch.rows.values.chunks_exact(classes)) {
                    let view = 1 + (epoch - FIRST_EPOCH) as usize;
                    logits[view][rows[item] * classes..][..classes].copy_from_slice(row);
                }
                observers.progress(Activity::Views, done, total)?;
            }
        }
        Ok(TtaLogits {
            task: inputs.data.task(),
            classes,
            targets: items.iter().map(|&item| inputs.data.items[item].target.clone()).collect(),
            items,
            logits,
            weights,
            thresholds: vec![THRESHOLD; classes],
        })
    }

    /// Re-estimates the running statistics of trainable norms as means over the batches of all training
    /// images: those of the head, and, with [`train_bn`](crate::TrainOptions::train_bn), of trained groups of
    /// the backbone. Averaged weights need this, since they have never been run.
    ///
    /// # Errors
    /// Where an image cannot be used and bad images are errors, or an observer asks to stop.
    pub fn estimate_statistics(&mut self) -> Result<()> {
        let Self { state, inputs, options, observers, .. } = self;
        estimate_statistics(state, inputs, options, observers)
    }
}
