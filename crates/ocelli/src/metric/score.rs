//! How metrics are computed: exactly, over a set in which each image occurs any number of times.

use ocelli_data::{Draws, Purpose, Task};
use rayon::prelude::*;

use crate::metric::custom::CustomMetric;
use crate::metric::predictions::Predictions;
use crate::metric::{Average, Metric};

/// A metric with all of the predictions that it needs, for any multiplicity of each image.
pub(super) enum Score {
    /// The mean of one value per image.
    Mean(Vec<f64>),
    /// A function of each image's counts for each class.
    Counted {
        images: Vec<Vec<(usize, Counts)>>,
        classes: usize,
        /// Of the classes' counts, the number of images, and beta.
        function: fn(&[Counts], usize, f64) -> f64,
        beta: f64,
        weighting: Weighting,
    },
    /// The mean area under the ROC curves of the classes.
    Ranked(Vec<Ranking>),
    /// A function of all predictions.
    Custom(CustomMetric, Predictions),
}

/// What has the same weight in a score.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Weighting {
    /// Every label of every image.
    Labels,
    /// Every class, whatever the number of its images.
    Classes,
    /// Every class, and in it those that have it and those that have not.
    Sides,
}

impl Score {
    pub(super) fn new(predictions: &Predictions, metric: Metric) -> Self {
        let images = 0..predictions.items.len();
        let exact =
            |index: usize| predictions.predicted_labels(index) == predictions.targets[index].classes();
        let of = |score: &dyn Fn(usize) -> f64| Self::Mean(images.clone().map(score).collect());
        let weighting = match (metric, predictions.task) {
            (Metric::BalancedAccuracy, Task::MultiLabel) => Weighting::Sides,
            (
                Metric::BalancedAccuracy
                | Metric::Precision(Average::Macro)
                | Metric::Recall(Average::Macro)
                | Metric::F(_, Average::Macro),
                _,
            ) => Weighting::Classes,
            _ => Weighting::Labels,
        };
        let counted = |function, beta| Self::Counted {
            images: counts(predictions),
            classes: predictions.classes,
            function,
            beta,
            weighting,
        };
        let each_image = counts(predictions);
        let by_image = |score: &dyn Fn(Counts) -> f64| {
            let scores = each_image.iter().map(|classes| {
                let classes: Vec<Counts> = classes.iter().map(|(_, counts)| *counts).collect();
                score(all(&classes))
            });
            Self::Mean(scores.collect())
        };
        use Average::{Macro, Micro, Samples};
        match metric {
            Metric::Accuracy => of(&|index| f64::from(u8::from(exact(index)))),
            Metric::ErrorRate => of(&|index| f64::from(u8::from(!exact(index)))),
            Metric::LogLoss => Self::Mean(predictions.losses.clone()),
            Metric::Top(count) => of(&|index| f64::from(u8::from(is_among_top(predictions, index, count)))),
            Metric::LabelAccuracy => of(&|index| {
                let errors: usize =
                    each_image[index].iter().map(|(_, counts)| counts.wrong + counts.missed).sum();
                1.0 - errors as f64 / predictions.classes as f64
            }),
            Metric::BalancedAccuracy => match predictions.task {
                Task::SingleLabel => counted(|classes, _, _| over_classes(classes, Counts::recall), 0.0),
                Task::MultiLabel => counted(|classes, images, _| over_sides(classes, images), 0.0),
            },
            Metric::Precision(Samples) => by_image(&Counts::precision),
            Metric::Recall(Samples) => by_image(&Counts::recall),
            Metric::F(beta, Samples) => by_image(&|counts| counts.f(beta)),
            Metric::Precision(Micro) => counted(|classes, _, _| all(classes).precision(), 0.0),
            Metric::Recall(Micro) => counted(|classes, _, _| all(classes).recall(), 0.0),
            Metric::F(beta, Micro) => counted(|classes, _, beta| all(classes).f(beta), beta),
            Metric::Precision(Macro) => {
                counted(|classes, _, _| over_classes(classes, Counts::precision), 0.0)
            }
            Metric::Recall(Macro) => counted(|classes, _, _| over_classes(classes, Counts::recall), 0.0),
            Metric::F(beta, Macro) => {
                counted(|classes, _, beta| over_classes(classes, |counts| counts.f(beta)), beta)
            }
            Metric::Auroc => Self::Ranked(rankings(predictions)),
            Metric::Custom(metric) => Self::Custom(metric, predictions.clone()),
        }
    }

    /// The metric of a set in which each image occurs this many times.
    pub(super) fn of(&self, weights: &[u32]) -> f64 {
        match self {
            Self::Mean(scores) => {
                let sum: f64 =
                    scores.iter().zip(weights).map(|(score, &weight)| score * f64::from(weight)).sum();
                sum / f64::from(weights.iter().sum::<u32>())
            }
            Self::Counted { images, classes, function, beta, .. } => {
                let mut sums = vec![Counts::default(); *classes];
                for (image, &weight) in images.iter().zip(weights) {
                    for &(class, counts) in image {
                        sums[class].add(counts, weight as usize);
                    }
                }
                let drawn = weights.iter().sum::<u32>() as usize;
                if weights.is_empty() { f64::NAN } else { function(&sums, drawn, *beta) }
            }
            Self::Ranked(classes) => {
                mean(classes.iter().map(|ranking| ranking.auroc(weights)).filter(|area| !area.is_nan()))
            }
            Self::Custom(metric, predictions) => metric.score(&predictions.repeated(weights)),
        }
    }

    /// The variance of the metric over sets of as many images.
    pub(super) fn variance(&self) -> f64 {
        match self {
            Self::Mean(scores) => {
                let centre = mean(scores.iter().copied());
                mean(scores.iter().map(|score| (score - centre).powi(2))) / scores.len() as f64
            }
            Self::Counted { images, .. } => bootstrap(images.len(), |weights| self.of(weights)),
            // One after the other: a function from another language may have to wait for this thread.
            Self::Custom(_, predictions) => {
                let score = |resample| self.of(&drawn_set(predictions.len(), resample));
                variance_of((0..RESAMPLES).map(score).collect())
            }
            Self::Ranked(classes) => {
                let images = classes.first().map_or(0, Ranking::len);
                let variance = bootstrap(images, |weights| self.of(weights));
                // Of so few images, the drawn sets vary too little: by (m - 1) / m.
                let fewest = classes.iter().map(Ranking::sides).filter(|sides| sides.0.min(sides.1) > 0);
                let fewest = fewest.map(|sides| sides.0.min(sides.1)).min().unwrap_or(0) as f64;
                if fewest > 1.0 { variance * fewest / (fewest - 1.0) } else { variance }
            }
        }
    }

    /// The largest number of images that a set counts as.
    pub(super) fn most_images(&self, variance: f64) -> f64 {
        // For k values that each are a mean over n images: k² / Σ 1/n.
        let together = |each: &mut dyn Iterator<Item = f64>| {
            let (count, sum) =
                each.fold((0.0, 0.0), |(count, sum), images| (count + 1.0, sum + 1.0 / images));
            count * count / sum
        };
        match self {
            // Several labels per image may carry more information than one image, but without variance that
            // cannot be estimated.
            Self::Mean(scores) if variance == 0.0 => scores.len() as f64,
            Self::Counted { images, weighting: Weighting::Labels, .. } if variance == 0.0 => {
                images.len() as f64
            }
            Self::Counted {
                images,
                classes,
                weighting: weighting @ (Weighting::Classes | Weighting::Sides),
                ..
            } => {
                let mut support = vec![0; *classes];
                for &(class, counts) in images.iter().flatten() {
                    support[class] += counts.support();
                }
                match weighting {
                    Weighting::Sides => {
                        let sides = support.into_iter().map(|with| (with, images.len() - with));
                        let most = together(&mut balanced(sides));
                        if variance == 0.0 { most.min(images.len() as f64) } else { most }
                    }
                    _ => together(&mut support.into_iter().filter(|with| *with > 0).map(|with| with as f64)),
                }
            }
            Self::Ranked(classes) => {
                let images = classes.first().map_or(0, Ranking::len) as f64;
                let most = together(&mut balanced(classes.iter().map(Ranking::sides)));
                if variance == 0.0 { most.min(images) } else { most }
            }
            _ => f64::INFINITY,
        }
    }

    /// See [`Predictions::contributions`].
    pub(super) fn contributions(&self) -> Vec<f64> {
        match self {
            Self::Mean(scores) => scores.clone(),
            Self::Counted { images, classes, function, beta, .. } => {
                let mut sums = vec![Counts::default(); *classes];
                for &(class, counts) in images.iter().flatten() {
                    sums[class].add(counts, 1);
                }
                let (value, number) = (function(&sums, images.len(), *beta), images.len() as f64);
                let pseudo_value = |image: &Vec<(usize, Counts)>| {
                    for &(class, counts) in image {
                        sums[class] = sums[class].without(counts);
                    }
                    let without = function(&sums, images.len() - 1, *beta);
                    for &(class, counts) in image {
                        sums[class].add(counts, 1);
                    }
                    // The only image that has any class is the whole set.
                    if without.is_nan() { value } else { number * value - (number - 1.0) * without }
                };
                images.iter().map(pseudo_value).collect()
            }
            Self::Ranked(classes) => {
                let mut areas = Areas::new(classes.first().map_or(0, Ranking::len));
                classes.iter().for_each(|ranking| areas.add(ranking));
                areas.contributions()
            }
            Self::Custom(metric, predictions) => {
                let (value, number) = (metric.score(predictions), predictions.len() as f64);
                let mut weights = vec![1; predictions.len()];
                let pseudo_value = |image: usize| {
                    weights[image] = 0;
                    let without = self.of(&weights);
                    weights[image] = 1;
                    if without.is_nan() { value } else { number * value - (number - 1.0) * without }
                };
                (0..predictions.len()).map(pseudo_value).collect()
            }
        }
    }
}

/// Whether a true class of an image is among this many most probable ones.
fn is_among_top(predictions: &Predictions, index: usize, count: usize) -> bool {
    let row = predictions.row(index);
    predictions.targets[index].classes().iter().any(|&class| {
        // Of equal ones the first counts as the more probable, as for the predicted class.
        let before = row.iter().enumerate().filter(|(other, probability)| {
            **probability > row[class] || (**probability == row[class] && *other < class)
        });
        before.count() < count
    })
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
    sum / f64::from(count)
}

/// The mean of a metric over the classes that occur.
fn over_classes(classes: &[Counts], measure: impl Fn(Counts) -> f64) -> f64 {
    mean(classes.iter().filter(|counts| counts.support() > 0).map(|counts| measure(*counts)))
}

/// The mean of sensitivity and specificity, over the labels that some images have and some have not.
fn over_sides(classes: &[Counts], images: usize) -> f64 {
    let both = |counts: &&Counts| counts.support() > 0 && counts.support() < images;
    mean(classes.iter().filter(both).map(|counts| {
        let without = images - counts.support();
        let specificity = (without - counts.wrong) as f64 / without as f64;
        (counts.recall() + specificity) / 2.0
    }))
}

/// For each class that some images have and some have not, the number of images that it counts as: as many as
/// there are where half of them have the class, and four for each that has it where few do.
fn balanced(sides: impl Iterator<Item = (usize, usize)>) -> impl Iterator<Item = f64> {
    let both = sides.filter(|(with, without)| with.min(without) > &0);
    both.map(|(with, without)| 4.0 / (1.0 / with as f64 + 1.0 / without as f64))
}

fn all(classes: &[Counts]) -> Counts {
    classes.iter().fold(Counts::default(), |mut sum, &counts| {
        sum.add(counts, 1);
        sum
    })
}

/// True positives, false positives and false negatives.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counts {
    pub(super) right: usize,
    pub(super) wrong: usize,
    pub(super) missed: usize,
}

impl Counts {
    pub(super) fn add(&mut self, other: Self, times: usize) {
        self.right += other.right * times;
        self.wrong += other.wrong * times;
        self.missed += other.missed * times;
    }

    fn without(self, other: Self) -> Self {
        Self {
            right: self.right - other.right,
            wrong: self.wrong - other.wrong,
            missed: self.missed - other.missed,
        }
    }

    /// Images of the class.
    pub(super) fn support(self) -> usize {
        self.right + self.missed
    }

    pub(super) fn precision(self) -> f64 {
        self.right as f64 / (self.right + self.wrong).max(1) as f64
    }

    pub(super) fn recall(self) -> f64 {
        self.right as f64 / (self.right + self.missed).max(1) as f64
    }

    pub(super) fn f(self, beta: f64) -> f64 {
        let [right, wrong, missed] = [self.right, self.wrong, self.missed].map(|count| count as f64);
        let above = (1.0 + beta * beta) * right;
        if self.right == 0 { 0.0 } else { above / (above + beta * beta * missed + wrong) }
    }
}

/// For each image its true and predicted classes, and which of them are correct.
pub(super) fn counts(predictions: &Predictions) -> Vec<Vec<(usize, Counts)>> {
    let image = |index: usize| {
        let (predicted, has) = (predictions.predicted_labels(index), predictions.targets[index].classes());
        let one = |right: bool, predicted: bool| Counts {
            right: usize::from(right),
            wrong: usize::from(predicted && !right),
            missed: usize::from(!predicted && !right),
        };
        let of_predicted = predicted.iter().map(|class| (*class, one(has.contains(class), true)));
        let missed =
            has.iter().filter(|class| !predicted.contains(class)).map(|class| (*class, one(false, false)));
        of_predicted.chain(missed).collect()
    };
    (0..predictions.items.len()).map(image).collect()
}

/// The images ordered by the probability of one class, ascending.
pub(super) struct Ranking {
    /// Each image, and whether it is of the class.
    images: Vec<(u32, bool)>,
    /// Where each group of images of equal probability ends.
    ends: Vec<u32>,
}

pub(super) fn rankings(predictions: &Predictions) -> Vec<Ranking> {
    (0..predictions.classes).into_par_iter().map(|class| ranking(predictions, class)).collect()
}

pub(super) fn ranking(predictions: &Predictions, class: usize) -> Ranking {
    let mut ordered: Vec<(f32, u32)> =
        (0..predictions.items.len()).map(|index| (predictions.row(index)[class], index as u32)).collect();
    ordered.sort_by(|a, b| a.0.total_cmp(&b.0));
    let has = |index: u32| (index, predictions.targets[index as usize].classes().contains(&class));
    let mut end = 0;
    let ends = ordered.chunk_by(|a, b| a.0 == b.0).map(|tie| {
        end += tie.len() as u32;
        end
    });
    let ends = ends.collect();
    Ranking { images: ordered.into_iter().map(|(_, index)| has(index)).collect(), ends }
}

impl Ranking {
    /// Images of equal probability, the least probable first; whether each is of the class.
    pub(super) fn ties(&self) -> impl Iterator<Item = &[(u32, bool)]> {
        let mut from = 0;
        self.ends.iter().map(move |&to| &self.images[std::mem::replace(&mut from, to as usize)..to as usize])
    }

    /// The number of images.
    fn len(&self) -> usize {
        self.images.len()
    }

    /// The numbers of images of the class and not of it.
    pub(super) fn sides(&self) -> (usize, usize) {
        let with = self.images.iter().filter(|(_, has)| *has).count();
        (with, self.len() - with)
    }

    /// Adds each image's part in the area, in DeLong's terms (1988): the area, plus how much more often the
    /// image wins against those of the other side, times the number of images per image of its own side.
    pub(super) fn add_contributions(&self, sums: &mut [f64]) {
        let (with, without) = self.sides();
        let (images, area) = (self.len() as f64, self.auroc(&vec![1; sums.len()]));
        let (mut with_below, mut without_below) = (0.0, 0.0);
        for tie in self.ties() {
            let having = tie.iter().filter(|(_, has)| *has).count() as f64;
            let lacking = tie.len() as f64 - having;
            for &(image, has) in tie {
                let (won, side) = if has {
                    ((without_below + lacking / 2.0) / without as f64, with)
                } else {
                    (1.0 - (with_below + having / 2.0) / with as f64, without)
                };
                sums[image as usize] += area + images / side as f64 * (won - area);
            }
            (with_below, without_below) = (with_below + having, without_below + lacking);
        }
    }

    pub(super) fn auroc(&self, weights: &[u32]) -> f64 {
        let (mut below, mut have, mut won) = (0.0, 0.0, 0.0);
        for tie in self.ties() {
            let (mut with, mut without) = (0.0, 0.0);
            for &(image, has) in tie {
                *(if has { &mut with } else { &mut without }) += f64::from(weights[image as usize]);
            }
            won += with * (below + without / 2.0);
            below += without;
            have += with;
        }
        won / (have * below)
    }
}

/// Classes that are ranked at a time: the rankings of all classes would take much memory.
const RANKED_AT_ONCE: usize = 16;

/// What each image contributes to the mean area under the ROC curves of the classes; see
/// [`Predictions::contributions`].
pub(super) fn area_contributions(predictions: &Predictions) -> Vec<f64> {
    let mut areas = Areas::new(predictions.items.len());
    for first in (0..predictions.classes).step_by(RANKED_AT_ONCE) {
        let classes = first..predictions.classes.min(first + RANKED_AT_ONCE);
        let rankings: Vec<Ranking> =
            classes.into_par_iter().map(|class| ranking(predictions, class)).collect();
        rankings.iter().for_each(|ranking| areas.add(ranking));
    }
    areas.contributions()
}

/// The sum of what each image contributes to the areas of some classes.
struct Areas {
    sums: Vec<f64>,
    /// The number of classes that have an area.
    number: f64,
}

impl Areas {
    fn new(images: usize) -> Self {
        Self { sums: vec![0.0; images], number: 0.0 }
    }

    fn add(&mut self, ranking: &Ranking) {
        let (with, without) = ranking.sides();
        if with > 0 && without > 0 {
            self.number += 1.0;
            ranking.add_contributions(&mut self.sums);
        }
    }

    fn contributions(self) -> Vec<f64> {
        self.sums.iter().map(|sum| sum / self.number).collect()
    }
}

/// Resamples of the bootstrap.
const RESAMPLES: u64 = 2000;

/// The variance of a score over drawn sets; a set is the multiplicity of each image.
fn bootstrap(images: usize, score: impl Fn(&[u32]) -> f64 + Sync) -> f64 {
    let scores = (0..RESAMPLES).into_par_iter().map(|resample| score(&drawn_set(images, resample)));
    variance_of(scores.collect())
}

/// The multiplicity of each image in a set that is drawn with replacement.
fn drawn_set(images: usize, resample: u64) -> Vec<u32> {
    let mut draws = Draws::new(0, Purpose::Bootstrap, 0, resample);
    let mut weights = vec![0; images];
    (0..images).for_each(|_| weights[draws.below(images as u64) as usize] += 1);
    weights
}

/// The variance of the scores that are defined.
fn variance_of(scores: Vec<f64>) -> f64 {
    let scores: Vec<f64> = scores.into_iter().filter(|score| !score.is_nan()).collect();
    let centre = mean(scores.iter().copied());
    mean(scores.iter().map(|score| (score - centre).powi(2)))
}
