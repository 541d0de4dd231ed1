//! The confusion matrix.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::Interpretation;
use crate::error::{Error, Result};
use ocelli_data::Task;

/// The number of images by true and predicted class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConfusionMatrix {
    /// The names of the classes.
    pub classes: Vec<String>,
    /// `counts[true][predicted]`
    pub counts: Vec<Vec<usize>>,
}

/// Images of one class that are predicted as another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Confused {
    /// The true class.
    pub truth: String,
    /// The predicted class.
    pub predicted: String,
    /// The number of images.
    pub count: usize,
    /// The number of images of the true class.
    pub of: usize,
}

impl Interpretation {
    /// The confusion matrix.
    ///
    /// # Errors
    /// For multi-label data, which has none.
    pub fn confusion_matrix(&self) -> Result<ConfusionMatrix> {
        if self.task() == Task::MultiLabel {
            return Err(no_matrix());
        }
        let mut counts = vec![vec![0; self.classes.len()]; self.classes.len()];
        for (truth, predicted) in self.answers_of_one() {
            counts[truth][predicted] += 1;
        }
        Ok(ConfusionMatrix { classes: self.classes.clone(), counts })
    }

    /// The same as [`ConfusionMatrix::most_confused`] without building the matrix, which is large for very
    /// many classes.
    ///
    /// # Errors
    /// For multi-label data, which has no confusion matrix.
    pub fn most_confused(&self, minimum: usize) -> Result<Vec<Confused>> {
        if self.task() == Task::MultiLabel {
            return Err(no_matrix());
        }
        let mut sums = vec![0; self.classes.len()];
        let mut pairs: BTreeMap<(usize, usize), usize> = BTreeMap::new();
        for (truth, predicted) in self.answers_of_one() {
            sums[truth] += 1;
            *pairs.entry((truth, predicted)).or_default() += 1;
        }
        pairs.retain(|(truth, predicted), count| truth != predicted && *count >= minimum.max(1));
        let name = |class: usize| self.classes[class].clone();
        let confused = pairs.into_iter().map(|((truth, predicted), count)| Confused {
            truth: name(truth),
            predicted: name(predicted),
            count,
            of: sums[truth],
        });
        Ok(ordered(confused.collect()))
    }

    /// The true and predicted class of each image.
    fn answers_of_one(&self) -> impl Iterator<Item = (usize, usize)> {
        (0..self.len()).map(|index| (self.truth(index)[0], self.predictions.predicted_labels(index)[0]))
    }
}

fn no_matrix() -> Error {
    Error::NoConfusionMatrix
}

/// The most frequent pairs first; of equally frequent ones, the one with the larger fraction of its class.
fn ordered(mut pairs: Vec<Confused>) -> Vec<Confused> {
    pairs.sort_by(|a, b| b.count.cmp(&a.count).then(a.of.cmp(&b.of)));
    pairs
}

impl ConfusionMatrix {
    /// With more classes than this a matrix is not shown: its cells would be too small to see.
    pub const MOST_CLASSES: usize = 200;

    /// The counts as fractions of their true class, 0 to 1; 0 in the row of a class without images.
    pub fn normalised(&self) -> Vec<Vec<f64>> {
        let fraction = |row: &Vec<usize>| {
            let total = row.iter().sum::<usize>().max(1) as f64;
            row.iter().map(|&count| count as f64 / total).collect()
        };
        self.counts.iter().map(fraction).collect()
    }

    /// Pairs of classes with at least `minimum` (and 1) confused images, the most frequent first; of equally
    /// frequent pairs, the one with the larger fraction of its class.
    pub fn most_confused(&self, minimum: usize) -> Vec<Confused> {
        let mut pairs = Vec::new();
        for (truth, row) in self.counts.iter().enumerate() {
            let of = row.iter().sum();
            for (predicted, &count) in row.iter().enumerate() {
                if predicted != truth && count >= minimum.max(1) {
                    let name = |class: usize| self.classes[class].clone();
                    pairs.push(Confused { truth: name(truth), predicted: name(predicted), count, of });
                }
            }
        }
        ordered(pairs)
    }

    /// An order of the classes that puts confused ones next to each other: the leaves of average-linkage
    /// clustering, where the similarity of classes is the fraction of their images that are confused, with
    /// each cluster oriented so that the more similar ends meet.
    pub fn clustered(&self) -> Vec<usize> {
        let fractions = self.normalised();
        let classes = self.classes.len();
        let near = |a: usize, b: usize| fractions[a][b] + fractions[b][a];
        let mut clusters: Vec<Vec<usize>> = (0..classes).map(|class| vec![class]).collect();
        let mut nearness: Vec<Vec<f64>> =
            (0..classes).map(|a| (0..classes).map(|b| near(a, b)).collect()).collect();
        let mut alive: Vec<usize> = (0..classes).collect();
        while alive.len() > 1 {
            let Some((a, b)) = nearest(&alive, &nearness) else { break };
            let (one, other) = (std::mem::take(&mut clusters[a]), std::mem::take(&mut clusters[b]));
            let (sizes, all) = ((one.len() as f64, other.len() as f64), one.len() + other.len());
            clusters[a] = joined(one, other, near);
            for &c in &alive {
                let mean = (nearness[a][c] * sizes.0 + nearness[b][c] * sizes.1) / all as f64;
                (nearness[a][c], nearness[c][a]) = (mean, mean);
            }
            alive.retain(|&cluster| cluster != b);
        }
        // Classes that are never confused keep their order.
        alive.into_iter().flat_map(|cluster| std::mem::take(&mut clusters[cluster])).collect()
    }
}

/// The two most similar clusters, the lower first; `None` if none are similar.
fn nearest(alive: &[usize], nearness: &[Vec<f64>]) -> Option<(usize, usize)> {
    let mut best = (0.0, None);
    for (index, &a) in alive.iter().enumerate() {
        for &b in &alive[index + 1..] {
            if nearness[a][b] > best.0 {
                best = (nearness[a][b], Some((a, b)));
            }
        }
    }
    best.1
}

/// Joins two clusters, oriented so that the most similar ends meet.
fn joined(mut one: Vec<usize>, mut other: Vec<usize>, near: impl Fn(usize, usize) -> f64) -> Vec<usize> {
    let ends = |row: &[usize]| (row[0], row[row.len() - 1]);
    let ((first, last), (left, right)) = (ends(&one), ends(&other));
    let turns = [
        (near(last, left), false, false),
        (near(last, right), false, true),
        (near(first, left), true, false),
        (near(first, right), true, true),
    ];
    let best = turns.into_iter().fold(turns[0], |best, turn| if turn.0 > best.0 { turn } else { best });
    if best.1 {
        one.reverse();
    }
    if best.2 {
        other.reverse();
    }
    one.extend(other);
    one
}

/// The most characters of a class name beside its row.
const NAME: usize = 40;

impl fmt::Display for ConfusionMatrix {
    /// Rows are true classes, columns predicted ones.
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let columns: Vec<String> = (1..=self.classes.len()).map(|number| number.to_string()).collect();
        let largest = self.counts.iter().flatten().max().copied().unwrap_or(0);
        let cell = largest.to_string().len().max(columns.last().map_or(1, String::len));
        let names = self.classes.iter().map(|class| match class.char_indices().nth(NAME) {
            Some(_) => class.chars().take(NAME - 1).chain(['…']).collect(),
            None => class.clone(),
        });
        let names: Vec<String> = names.collect();
        let width = names.iter().map(|class| class.chars().count()).max().unwrap_or(0);
        write!(formatter, "{:width$}     ", "")?;
        for column in &columns {
            write!(formatter, "  {column:>cell$}")?;
        }
        for ((class, row), column) in names.iter().zip(&self.counts).zip(&columns) {
            write!(formatter, "\n{class:width$}  {column:>3}")?;
            for count in row {
                write!(formatter, "  {count:>cell$}")?;
            }
        }
        Ok(())
    }
}
