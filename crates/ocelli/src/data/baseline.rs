//! The baseline: a constant prediction, which a model must beat.

use ocelli_data::Task;

use crate::data::ImageData;
use crate::metric::predictions::Predictions;

impl ImageData {
    /// The constant prediction for some items: every class with its (smoothed) frequency among the training
    /// images. In accuracy it is the baseline of always predicting the most frequent class.
    pub fn baseline(&self, items: &[usize]) -> Predictions {
        let mut counts = vec![1usize; self.classes().len()];
        for &item in &self.split.train {
            self.items[item].target.classes().iter().for_each(|&class| counts[class] += 1);
        }
        let all = match self.task() {
            Task::SingleLabel => counts.iter().sum::<usize>(),
            Task::MultiLabel => self.split.train.len() + 2,
        };
        let row: Vec<f32> = counts.iter().map(|count| (*count as f64 / all as f64) as f32).collect();
        let mut predictions = Predictions::new(self.task(), counts.len());
        for &item in items {
            predictions.push_probabilities(item, &self.items[item].target, row.clone());
        }
        predictions
    }
}
