//! The answer that needs no photo: what a model has learnt is what it does better.

use ocelli_data::Task;

use crate::data::ImageData;
use crate::metric::predictions::Predictions;

impl ImageData {
    /// The same answer for each of some items: every class as probable as it is frequent among the images to train on,
    /// counted once more than it occurs. What a model has learnt is what it is better than this: in accuracy, than always
    /// saying the most frequent class.
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
