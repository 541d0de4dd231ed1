//! Named measures of predictions, each exact over a whole set, with a direction and a 95 % interval.

pub(crate) mod predictions;
pub(crate) mod record;

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use ocelli_data::{Draws, Purpose, Task};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::interpret::paired_p_value;
use crate::metric::predictions::{Predictions, Z, wilson};
use crate::recipe::diagnosis::CHANCE;

/// A measure of predictions. In text, as in `--metric`, it has the name that [`Display`](fmt::Display) gives.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Metric {
    /// `accuracy`: the share of images that are said to have exactly the classes that they have.
    Accuracy,
    /// `error-rate`: one minus the accuracy.
    ErrorRate,
    /// `top-5`: the share of images with a class of theirs among so many most probable ones.
    Top(usize),
    /// `label-accuracy`: the share of all images' yes-or-no answers that are right (fastai's `accuracy_thresh`).
    LabelAccuracy,
    /// `balanced-accuracy`: the mean over the classes that some image has of the share of their images that are found.
    BalancedAccuracy,
    /// `log-loss`: cross-entropy, or the mean of the classes' binary cross-entropies; natural logarithm.
    LogLoss,
    /// `precision`, `precision-macro`, `precision-samples`: of what is said, the share that is true.
    Precision(Average),
    /// `recall`, …: of what is true, the share that is said.
    Recall(Average),
    /// `f1`, `f2-macro`, `f0.5-samples`, …: (1 + β²) · precision · recall / (β² · precision + recall), where recall
    /// counts β times as much as precision (van Rijsbergen 1979).
    F(f64, Average),
    /// `auroc`: the probability that an image of a class is given a higher probability of it than one without,
    /// ties counting half; the mean over the classes that some images have and some have not.
    Auroc,
}

/// What precision, recall and F are averaged over. Where nothing is said, or of an image nothing is true, they are 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Average {
    /// Counts of all classes together.
    #[default]
    Micro,
    /// The mean over the classes that some image has, each by itself; as scikit-learn's with `labels=unique(y_true)`.
    /// What is wrongly said to be of another class counts against the class that it is of.
    Macro,
    /// The mean over images, each by itself: Kaggle's F2 of satellite images.
    Samples,
}

/// Which way is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// More is better.
    Higher,
    /// Less is better.
    Lower,
}

/// A metric's value with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct MetricEstimate {
    /// What was measured.
    pub metric: Metric,
    /// NaN where it is not defined, as of nothing, or of predictions that are not finite.
    pub value: f64,
    /// The lower and the upper end of the interval, which holds the value; NaN where that is.
    pub interval: (f64, f64),
}

/// What is known of one class, by itself.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ClassMeasures {
    /// Images that have it.
    pub support: usize,
    /// Images that are said to have it.
    pub said: usize,
    /// Of those that are said to have it, the share that has; 0 where none are.
    pub precision: f64,
    /// Of those that have it, the share that is said to; 0 where none have.
    pub recall: f64,
    /// The harmonic mean of both.
    pub f1: f64,
    /// See [`Metric::Auroc`]; NaN where all images have it or none.
    pub auroc: f64,
}

impl Metric {
    /// Which way is better.
    pub fn direction(self) -> Direction {
        match self {
            Self::ErrorRate | Self::LogLoss => Direction::Lower,
            _ => Direction::Higher,
        }
    }

    /// Whether `new` is better than `old`. A finite number is better than NaN and than an infinity, and these are better
    /// than nothing.
    pub fn is_better(self, new: f64, old: f64) -> bool {
        match self.direction() {
            _ if !new.is_finite() => false,
            _ if !old.is_finite() => true,
            Direction::Higher => new > old,
            Direction::Lower => new < old,
        }
    }

    /// The metric by which models of a task are compared where nothing else is asked for.
    pub fn usual(task: Task) -> Self {
        match task {
            Task::SingleLabel => Self::Accuracy,
            Task::MultiLabel => Self::F(1.0, Average::Micro),
        }
    }
}

impl Direction {
    /// The better one of two numbers is on this side: `higher` or `lower`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Higher => "higher",
            Self::Lower => "lower",
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let averaged = |average: &Average| match average {
            Average::Micro => "",
            Average::Macro => "-macro",
            Average::Samples => "-samples",
        };
        match self {
            Self::Accuracy => formatter.write_str("accuracy"),
            Self::ErrorRate => formatter.write_str("error-rate"),
            Self::Top(count) => write!(formatter, "top-{count}"),
            Self::LabelAccuracy => formatter.write_str("label-accuracy"),
            Self::BalancedAccuracy => formatter.write_str("balanced-accuracy"),
            Self::LogLoss => formatter.write_str("log-loss"),
            Self::Precision(average) => write!(formatter, "precision{}", averaged(average)),
            Self::Recall(average) => write!(formatter, "recall{}", averaged(average)),
            Self::F(beta, average) => write!(formatter, "f{beta}{}", averaged(average)),
            Self::Auroc => formatter.write_str("auroc"),
        }
    }
}

impl FromStr for Metric {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let (measure, average) = match name.rsplit_once('-') {
            Some((measure, "macro")) => (measure, Average::Macro),
            Some((measure, "samples")) => (measure, Average::Samples),
            Some((measure, "micro")) => (measure, Average::Micro),
            _ => (name, Average::Micro),
        };
        let number = |prefix: &str| measure.strip_prefix(prefix);
        Ok(match measure {
            "precision" => Self::Precision(average),
            "recall" => Self::Recall(average),
            _ if number("f")
                .and_then(|beta| beta.parse().ok())
                .is_some_and(|beta: f64| beta > 0.0 && beta.is_finite()) =>
            {
                Self::F(measure[1..].parse().unwrap_or(1.0), average)
            }
            _ if measure != name => return Err(unknown(name)),
            "accuracy" => Self::Accuracy,
            "error-rate" => Self::ErrorRate,
            "label-accuracy" => Self::LabelAccuracy,
            "balanced-accuracy" => Self::BalancedAccuracy,
            "log-loss" => Self::LogLoss,
            "auroc" => Self::Auroc,
            _ => match number("top-").and_then(|count| count.parse().ok()) {
                Some(count @ 1..) => Self::Top(count),
                _ => return Err(unknown(name)),
            },
        })
    }
}

impl From<Metric> for String {
    fn from(metric: Metric) -> Self {
        metric.to_string()
    }
}

impl TryFrom<String> for Metric {
    type Error = Error;

    fn try_from(name: String) -> Result<Self> {
        name.parse()
    }
}

fn unknown(name: &str) -> Error {
    Error::setting(
        "metric",
        name,
        "accuracy, error-rate, top-5, label-accuracy, balanced-accuracy, log-loss, auroc, or precision, \
                   recall, f1, f2 as they are or with -macro or -samples",
    )
}

/// Resamples of the bootstrap.
const RESAMPLES: u64 = 2000;

impl Predictions {
    /// The value of a metric over all images; NaN where it is not defined, and where the predictions are not
    /// [finite](Self::is_finite).
    pub fn value(&self, metric: Metric) -> f64 {
        if !self.is_finite() {
            return f64::NAN;
        }
        Score::new(self, metric).of(&vec![1; self.items.len()])
    }

    /// The value of a metric and its 95 % interval, which always holds the value.
    ///
    /// For a share of the images the interval is Wilson's (1927). For every other metric from 0 to 1 it is Wilson's for
    /// as many images as would give the metric's variance if it were such a share, the usual way with averages of
    /// samples that are no simple ones (Korn and Graubard 1998): it stays within 0 and 1, and says something even where
    /// nothing is wrong. The variance is that of means of independent images, or else that of 2,000 sets of as many
    /// images drawn from these (Efron's bootstrap, always the same draws), in which classes that no drawn image has are
    /// left out. A class of few images tells less than its bootstrap shows, so that averages over classes count at most
    /// as as many images as they weigh them.
    ///
    /// The log loss has no upper bound; its interval holds the means from which the one seen is less than 1.96 of
    /// *their* standard errors away, the spread of losses being proportional to their mean. Its upper end is at most
    /// ten times the value.
    pub fn estimate(&self, metric: Metric) -> MetricEstimate {
        if !self.is_finite() {
            return MetricEstimate { metric, value: f64::NAN, interval: (f64::NAN, f64::NAN) };
        }
        let images = self.items.len();
        let score = Score::new(self, metric);
        let value = score.of(&vec![1; images]);
        // What rounding makes of no variance at all is none.
        let variance = Some(score.variance()).filter(|variance| *variance > 1e-20).unwrap_or(0.0);
        let interval = match (metric, variance) {
            _ if value.is_nan() => (f64::NAN, f64::NAN),
            (Metric::LogLoss, variance) => scale_interval(value, variance.sqrt()),
            (_, variance) => {
                let alike = value * (1.0 - value) / variance;
                // What never varies gives 0 / 0.
                let alike = if alike.is_nan() { f64::INFINITY } else { alike };
                wilson(value, alike.min(score.most_images(variance)))
            }
        };
        MetricEstimate { metric, value, interval }
    }

    /// For each image what it contributes to a metric, whose mean over images is, nearly, its value: the score of the
    /// image where the metric is a mean of such, else its pseudo-value of the jackknife (Tukey 1958). The difference of
    /// two models on the same images can be tested with these in pairs. `None` where the metric is not defined.
    pub(crate) fn contributions(&self, metric: Metric) -> Option<Vec<f64>> {
        if !self.is_finite() || self.items.is_empty() {
            return None;
        }
        let contributions = Score::new(self, metric).contributions();
        contributions.iter().all(|value| value.is_finite()).then_some(contributions)
    }

    /// Each class by itself, in the order of the classes.
    pub fn per_class(&self) -> Vec<ClassMeasures> {
        let counts = counts(self).into_iter().flatten().fold(
            vec![Counts::default(); self.classes],
            |mut sums, (class, count)| {
                sums[class].add(count, 1);
                sums
            },
        );
        // Class by class: the rankings of many classes together would fill the memory.
        let each_once = vec![1; self.items.len()];
        let aurocs = (0..self.classes).into_par_iter().map(|class| ranking(self, class).auroc(&each_once));
        let aurocs: Vec<f64> = aurocs.collect();
        let measures = counts.into_iter().zip(aurocs).map(|(counts, auroc)| ClassMeasures {
            support: counts.support(),
            said: counts.right + counts.wrong,
            precision: counts.precision(),
            recall: counts.recall(),
            f1: counts.f(1.0),
            auroc,
        });
        measures.collect()
    }
}

/// The variance of a score over drawn sets; a set is how often each image is in it.
fn bootstrap(images: usize, score: impl Fn(&[u32]) -> f64) -> f64 {
    let scores: Vec<f64> = (0..RESAMPLES)
        .map(|resample| {
            let mut draws = Draws::new(0, Purpose::Bootstrap, 0, resample);
            let mut weights = vec![0; images];
            (0..images).for_each(|_| weights[draws.below(images as u64) as usize] += 1);
            score(&weights)
        })
        .filter(|score| !score.is_nan())
        .collect();
    let centre = mean(scores.iter().copied());
    mean(scores.iter().map(|score| (score - centre).powi(2)))
}

/// The means of non-negative numbers from which one that was seen is not too far away, where the standard error is
/// proportional to the mean.
fn scale_interval(mean: f64, error: f64) -> (f64, f64) {
    /// From here on the upper end is ten times the mean, and would soon be infinite.
    const WIDEST: f64 = 0.9;
    let relative = Z * error / mean;
    // NaN of one image, which has no spread, or where all are 0.
    let relative = if relative < WIDEST { relative } else { WIDEST };
    (mean / (1.0 + relative), mean / (1.0 - relative))
}

/// A metric with all of the predictions that it needs, for any number of each image.
enum Score {
    /// The mean of a number an image.
    Mean(Vec<f64>),
    /// A function of each image's counts of each class.
    Counted {
        images: Vec<Vec<(usize, Counts)>>,
        classes: usize,
        function: fn(&[Counts], f64) -> f64,
        beta: f64,
        /// Whether every class counts the same.
        by_class: bool,
    },
    /// The mean of the classes' areas.
    Ranked(Vec<Ranking>),
}

impl Score {
    fn new(predictions: &Predictions, metric: Metric) -> Self {
        let images = 0..predictions.items.len();
        let exact =
            |place: usize| predictions.predicted_labels(place) == predictions.targets[place].classes();
        let of = |score: &dyn Fn(usize) -> f64| Self::Mean(images.clone().map(score).collect());
        let by_class = matches!(
            metric,
            Metric::BalancedAccuracy
                | Metric::Precision(Average::Macro)
                | Metric::Recall(Average::Macro)
                | Metric::F(_, Average::Macro)
        );
        let counted = |function, beta| Self::Counted {
            images: counts(predictions),
            classes: predictions.classes,
            function,
            beta,
            by_class,
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
            Metric::Accuracy => of(&|place| f64::from(u8::from(exact(place)))),
            Metric::ErrorRate => of(&|place| f64::from(u8::from(!exact(place)))),
            Metric::LogLoss => Self::Mean(predictions.losses.clone()),
            Metric::Top(count) => of(&|place| {
                let row = predictions.row(place);
                let found = predictions.targets[place].classes().iter().any(|&class| {
                    // Of equal ones the first is the more probable, as where one class is decided on.
                    let before = row.iter().enumerate().filter(|(other, probability)| {
                        **probability > row[class] || (**probability == row[class] && *other < class)
                    });
                    before.count() < count
                });
                f64::from(u8::from(found))
            }),
            Metric::LabelAccuracy => of(&|place| {
                let errors: usize =
                    each_image[place].iter().map(|(_, counts)| counts.wrong + counts.missed).sum();
                1.0 - errors as f64 / predictions.classes as f64
            }),
            Metric::BalancedAccuracy => counted(|classes, _| over_classes(classes, Counts::recall), 0.0),
            Metric::Precision(Samples) => by_image(&Counts::precision),
            Metric::Recall(Samples) => by_image(&Counts::recall),
            Metric::F(beta, Samples) => by_image(&|counts| counts.f(beta)),
            Metric::Precision(Micro) => counted(|classes, _| all(classes).precision(), 0.0),
            Metric::Recall(Micro) => counted(|classes, _| all(classes).recall(), 0.0),
            Metric::F(beta, Micro) => counted(|classes, beta| all(classes).f(beta), beta),
            Metric::Precision(Macro) => counted(|classes, _| over_classes(classes, Counts::precision), 0.0),
            Metric::Recall(Macro) => counted(|classes, _| over_classes(classes, Counts::recall), 0.0),
            Metric::F(beta, Macro) => {
                counted(|classes, beta| over_classes(classes, |counts| counts.f(beta)), beta)
            }
            Metric::Auroc => Self::Ranked(rankings(predictions)),
        }
    }

    /// The metric of a set in which each image is so many times.
    fn of(&self, weights: &[u32]) -> f64 {
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
                if weights.is_empty() { f64::NAN } else { function(&sums, *beta) }
            }
            Self::Ranked(classes) => {
                mean(classes.iter().map(|ranking| ranking.auroc(weights)).filter(|area| !area.is_nan()))
            }
        }
    }

    /// The variance of the metric over sets of as many images.
    fn variance(&self) -> f64 {
        match self {
            Self::Mean(scores) => {
                let centre = mean(scores.iter().copied());
                mean(scores.iter().map(|score| (score - centre).powi(2))) / scores.len() as f64
            }
            Self::Counted { images, .. } => bootstrap(images.len(), |weights| self.of(weights)),
            Self::Ranked(classes) => {
                let images = classes.first().map_or(0, Ranking::images);
                let variance = bootstrap(images, |weights| self.of(weights));
                // Drawn from so few, they vary too little: by m - 1 of m.
                let fewest = classes.iter().map(Ranking::sides).filter(|sides| sides.0.min(sides.1) > 0);
                let fewest = fewest.map(|sides| sides.0.min(sides.1)).min().unwrap_or(0) as f64;
                if fewest > 1.0 { variance * fewest / (fewest - 1.0) } else { variance }
            }
        }
    }

    /// The most images that a set counts as.
    fn most_images(&self, variance: f64) -> f64 {
        // Of k numbers that each are a mean over n images: k² / Σ 1/n.
        let together = |each: &mut dyn Iterator<Item = f64>| {
            let (count, sum) =
                each.fold((0.0, 0.0), |(count, sum), images| (count + 1.0, sum + 1.0 / images));
            count * count / sum
        };
        match self {
            // Labels of an image may say more than one image would, but where nothing varies nobody can tell.
            Self::Mean(scores) if variance == 0.0 => scores.len() as f64,
            Self::Counted { images, by_class: false, .. } if variance == 0.0 => images.len() as f64,
            Self::Counted { images, classes, by_class: true, .. } => {
                let mut support = vec![0.0; *classes];
                for &(class, counts) in images.iter().flatten() {
                    support[class] += counts.support() as f64;
                }
                together(&mut support.into_iter().filter(|support| *support > 0.0))
            }
            Self::Ranked(classes) => {
                let images = classes.first().map_or(0, Ranking::images) as f64;
                let sides = classes.iter().map(|ranking| ranking.sides());
                let sides = sides.filter(|(with, without)| with.min(without) > &0);
                // As many as there are where half of them have the class, and four for each that has it where few do.
                let mut each = sides.map(|(with, without)| 4.0 / (1.0 / with as f64 + 1.0 / without as f64));
                let most = together(&mut each);
                if variance == 0.0 { most.min(images) } else { most }
            }
            _ => f64::INFINITY,
        }
    }

    /// See [`Predictions::contributions`].
    fn contributions(&self) -> Vec<f64> {
        match self {
            Self::Mean(scores) => scores.clone(),
            Self::Counted { images, classes, function, beta, .. } => {
                let mut sums = vec![Counts::default(); *classes];
                for &(class, counts) in images.iter().flatten() {
                    sums[class].add(counts, 1);
                }
                let (value, number) = (function(&sums, *beta), images.len() as f64);
                let pseudo_value = |image: &Vec<(usize, Counts)>| {
                    for &(class, counts) in image {
                        sums[class] = sums[class].without(counts);
                    }
                    let without = function(&sums, *beta);
                    for &(class, counts) in image {
                        sums[class].add(counts, 1);
                    }
                    // The only image of all that has any class is all that there is.
                    if without.is_nan() { value } else { number * value - (number - 1.0) * without }
                };
                images.iter().map(pseudo_value).collect()
            }
            Self::Ranked(classes) => {
                let defined = classes.iter().filter(|ranking| {
                    let (with, without) = ranking.sides();
                    with > 0 && without > 0
                });
                let mut sums = vec![0.0; classes.first().map_or(0, Ranking::images)];
                let mut number = 0.0;
                for ranking in defined {
                    number += 1.0;
                    ranking.add_contributions(&mut sums);
                }
                sums.iter().map(|sum| sum / number).collect()
            }
        }
    }
}

fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = values.fold((0.0, 0), |(sum, count), value| (sum + value, count + 1));
    sum / f64::from(count)
}

/// The mean of a measure over the classes that some image has.
fn over_classes(classes: &[Counts], measure: impl Fn(Counts) -> f64) -> f64 {
    mean(classes.iter().filter(|counts| counts.support() > 0).map(|counts| measure(*counts)))
}

fn all(classes: &[Counts]) -> Counts {
    classes.iter().fold(Counts::default(), |mut sum, &counts| {
        sum.add(counts, 1);
        sum
    })
}

/// How often something was rightly said, wrongly said, and missed.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    right: usize,
    wrong: usize,
    missed: usize,
}

impl Counts {
    fn add(&mut self, other: Self, times: usize) {
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

    /// Images that have it.
    fn support(self) -> usize {
        self.right + self.missed
    }

    fn precision(self) -> f64 {
        self.right as f64 / (self.right + self.wrong).max(1) as f64
    }

    fn recall(self) -> f64 {
        self.right as f64 / (self.right + self.missed).max(1) as f64
    }

    fn f(self, beta: f64) -> f64 {
        let [right, wrong, missed] = [self.right, self.wrong, self.missed].map(|count| count as f64);
        let above = (1.0 + beta * beta) * right;
        if self.right == 0 { 0.0 } else { above / (above + beta * beta * missed + wrong) }
    }
}

/// For each image the classes that it has or is said to have, with what is right of it.
fn counts(predictions: &Predictions) -> Vec<Vec<(usize, Counts)>> {
    let image = |place: usize| {
        let (said, has) = (predictions.predicted_labels(place), predictions.targets[place].classes());
        let one = |right: bool, said: bool| Counts {
            right: usize::from(right),
            wrong: usize::from(said && !right),
            missed: usize::from(!said && !right),
        };
        let told = said.iter().map(|class| (*class, one(has.contains(class), true)));
        let missed =
            has.iter().filter(|class| !said.contains(class)).map(|class| (*class, one(false, false)));
        told.chain(missed).collect()
    };
    (0..predictions.items.len()).map(image).collect()
}

/// The images in the order of one class's probability, ascending.
struct Ranking {
    /// Images of equal probability stand together; whether each has the class.
    ties: Vec<Vec<(usize, bool)>>,
}

fn rankings(predictions: &Predictions) -> Vec<Ranking> {
    (0..predictions.classes).map(|class| ranking(predictions, class)).collect()
}

fn ranking(predictions: &Predictions, class: usize) -> Ranking {
    let probability = |place: &usize| predictions.row(*place)[class];
    let mut places: Vec<usize> = (0..predictions.items.len()).collect();
    places.sort_by(|a, b| probability(a).total_cmp(&probability(b)));
    let has = |place: &usize| (*place, predictions.targets[*place].classes().contains(&class));
    let ties = places.chunk_by(|a, b| probability(a) == probability(b));
    Ranking { ties: ties.map(|tie| tie.iter().map(has).collect()).collect() }
}

impl Ranking {
    /// The number of images.
    fn images(&self) -> usize {
        self.ties.iter().map(Vec::len).sum()
    }

    /// The numbers of images with the class and without it.
    fn sides(&self) -> (usize, usize) {
        let with = self.ties.iter().flatten().filter(|(_, has)| *has).count();
        (with, self.images() - with)
    }

    /// Adds each image's part in the area, in DeLong's terms (1988): the area, and how much more often than that the image
    /// wins against those of the other side, as often as there are images for one of its own side.
    fn add_contributions(&self, sums: &mut [f64]) {
        let (with, without) = self.sides();
        let (images, area) = (self.images() as f64, self.auroc(&vec![1; sums.len()]));
        let (mut with_below, mut without_below) = (0.0, 0.0);
        for tie in &self.ties {
            let having = tie.iter().filter(|(_, has)| *has).count() as f64;
            let lacking = tie.len() as f64 - having;
            for &(image, has) in tie {
                let (won, side) = if has {
                    ((without_below + lacking / 2.0) / without as f64, with)
                } else {
                    (1.0 - (with_below + having / 2.0) / with as f64, without)
                };
                sums[image] += area + images / side as f64 * (won - area);
            }
            (with_below, without_below) = (with_below + having, without_below + lacking);
        }
    }

    fn auroc(&self, weights: &[u32]) -> f64 {
        let (mut below, mut have, mut won) = (0.0, 0.0, 0.0);
        for tie in &self.ties {
            let (mut with, mut without) = (0.0, 0.0);
            for &(image, has) in tie {
                *(if has { &mut with } else { &mut without }) += f64::from(weights[image]);
            }
            won += with * (below + without / 2.0);
            below += without;
            have += with;
        }
        won / (have * below)
    }
}

// Thresholds.
impl Predictions {
    /// The one threshold for all classes at which the metric is best, of 0.01, 0.02 … 0.99; of equally good ones the
    /// middle one. Tuned on these images, so the metric at it is optimistic on them.
    pub fn best_threshold(&self, metric: Metric) -> f32 {
        let candidates: Vec<f32> = (1..100u8).map(|hundredth| f32::from(hundredth) / 100.0).collect();
        let mut with = self.clone();
        let values: Vec<f64> = candidates
            .iter()
            .map(|&threshold| {
                with.thresholds = vec![threshold; self.classes];
                with.value(metric)
            })
            .collect();
        let best = values
            .iter()
            .fold(f64::NAN, |best, &value| if metric.is_better(value, best) { value } else { best });
        let equal: Vec<f32> =
            candidates.into_iter().zip(values).filter(|(_, value)| *value == best).map(|(t, _)| t).collect();
        equal.get(equal.len() / 2).copied().unwrap_or(crate::THRESHOLD)
    }

    /// The value of a metric by which training is watched: F of several labels an image at its
    /// [best threshold](Self::best_threshold), since at a fixed one it says more of how sure a network is than of how
    /// right; every other metric as it is.
    pub fn value_watched(&self, metric: Metric) -> f64 {
        self.tuned(metric).value(metric)
    }

    /// The [contributions](Self::contributions) to what [`value_watched`](Self::value_watched) gives.
    pub(crate) fn watched_contributions(&self, metric: Metric) -> Option<Vec<f64>> {
        self.tuned(metric).contributions(metric)
    }

    /// Whether these predictions are better than others of the same images by more than chance, at 5 %: by McNemar's exact
    /// test where the metric is a share of the images, else by a bootstrap of the images in pairs.
    pub fn is_shown_better(&self, other: &Self, metric: Metric) -> bool {
        let contributions = (self.watched_contributions(metric), other.watched_contributions(metric));
        let (Some(one), Some(two)) = contributions else { return false };
        let better = metric.is_better(self.value_watched(metric), other.value_watched(metric));
        better && paired_p_value(&one, &two).is_some_and(|p| p < CHANCE)
    }

    fn tuned(&self, metric: Metric) -> Cow<'_, Self> {
        if !matches!((self.task, metric), (Task::MultiLabel, Metric::F(..))) {
            return Cow::Borrowed(self);
        }
        let mut tuned = self.clone();
        tuned.thresholds = vec![self.best_threshold(metric); self.classes];
        Cow::Owned(tuned)
    }

    /// For each class the threshold at which its own F-beta is highest, half-way between the probabilities of the
    /// last image that is said to have it and the next; a class that no image has gets the usual threshold. Tuned
    /// on these images, so what is measured with them here is optimistic.
    pub fn best_thresholds(&self, beta: f64) -> Vec<f32> {
        if !self.is_finite() {
            return vec![crate::THRESHOLD; self.classes];
        }
        let threshold = |(class, ranking): (usize, Ranking)| {
            let support = ranking.ties.iter().flatten().filter(|(_, has)| *has).count();
            if support == 0 {
                return crate::THRESHOLD;
            }
            let (mut counts, mut best) = (Counts { missed: support, ..Counts::default() }, (0.0, 1.0));
            let probability = |tie: &[(usize, bool)]| self.row(tie[0].0)[class];
            for (place, tie) in ranking.ties.iter().enumerate().rev() {
                let having = tie.iter().filter(|(_, has)| *has).count();
                counts.right += having;
                counts.missed -= having;
                counts.wrong += tie.len() - having;
                let below = if place == 0 { 0.0 } else { probability(&ranking.ties[place - 1]) };
                if counts.f(beta) > best.0 {
                    // What is half-way may round to the lower one, which must stay below.
                    let middle = (probability(tie) + below) / 2.0;
                    best = (counts.f(beta), if middle > below { middle } else { probability(tie) });
                }
            }
            best.1
        };
        rankings(self).into_iter().enumerate().map(threshold).collect()
    }
}
