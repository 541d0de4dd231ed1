//! Logistic regression on features in memory, by L-BFGS (Liu & Nocedal 1989,
//! <https://doi.org/10.1007/BF01589116>).
//!
//! One class an image: multinomial, softmax over the classes. Several: one binary regression a class. With the
//! features standardised, `N` rows, row weights `s` with mean 1 and blocks `b` of `d_b` features (mean width
//! `d`), what is minimised is scikit-learn's
//!
//! `mean(s · cross-entropy) + Σ_b (d_b / d) ‖W_b‖² / (2 C N)`
//!
//! where the factors `d_b / d` give each block of features the same influence, whatever its width (they are 1
//! where there is one block). Biases have no penalty. Sums are formed in an order that does not depend on the
//! number of threads.

use std::ops::Range;

use ocelli_data::Task;
use ocelli_kernels::{linear, linear_backward_weights};
use rayon::prelude::*;

/// What is fitted: rows of features that [`Standard`] has prepared, and their targets.
pub(crate) struct Problem<'a> {
    /// `[rows, features]`.
    pub(crate) x: &'a [f32],
    pub(crate) features: usize,
    /// `[rows, classes]`, from 0 to 1.
    pub(crate) targets: &'a [f32],
    pub(crate) classes: usize,
    /// One a row, of mean 1; `None`: all 1.
    pub(crate) row_weights: Option<&'a [f32]>,
    /// The weight of a class's images that have it, where images have several classes; `None`: all 1.
    pub(crate) positive_weights: Option<&'a [f32]>,
    pub(crate) task: Task,
}

/// The weights `[classes, features]` and the biases `[classes]` of a regression, one after the other.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Coefficients(pub(crate) Vec<f32>);

/// When the search for the minimum ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) iterations: usize,
    /// The decrease of an iteration that is too small to go on, relative to the loss.
    pub(crate) decrease: f64,
}

impl Effort {
    /// For the head of a model.
    pub(crate) const FINAL: Self = Self { iterations: 200, decrease: 1e-5 };
    /// To look for labels that are likely wrong.
    pub(crate) const OUT_OF_FOLD: Self = Self { iterations: 40, decrease: 1e-3 };
    /// To compare settings.
    pub(crate) const COMPARE: Self = Self { iterations: 60, decrease: 3e-4 };
}

/// Pairs of steps and gradients that L-BFGS remembers.
const MEMORY: usize = 8;
/// A step is accepted if the loss falls by this fraction of what the gradient promises (Armijo).
const SUFFICIENT: f64 = 1e-4;
/// Trials of one line search.
const TRIALS: usize = 20;
/// Values that are summed one after the other; the sums of chunks follow in order.
const CHUNK: usize = 1 << 14;

/// How features become the rows of a problem: standardised, and each block divided by the root of its relative
/// width, so that one penalty serves all.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Standard {
    pub(crate) mean: Vec<f32>,
    /// The variance, biased.
    pub(crate) variance: Vec<f32>,
    /// The factor of each feature after its mean was subtracted.
    factor: Vec<f32>,
}

impl Standard {
    /// Of rows of features in blocks of these widths; `epsilon` is added to variances.
    pub(crate) fn of(x: &[f32], blocks: &[usize], epsilon: f64) -> Self {
        let features: usize = blocks.iter().sum();
        let rows = (x.len() / features) as f64;
        let moments: Vec<(f32, f32)> = (0..features)
            .into_par_iter()
            .with_min_len(64)
            .map(|feature| {
                let values = || x.iter().skip(feature).step_by(features).map(|value| f64::from(*value));
                let mean = values().sum::<f64>() / rows;
                let variance = values().map(|value| (value - mean).powi(2)).sum::<f64>() / rows;
                (mean as f32, variance as f32)
            })
            .collect();
        let width = features as f64 / blocks.len() as f64;
        let scales =
            blocks.iter().flat_map(|&block| std::iter::repeat_n((width / block as f64).sqrt(), block));
        let factor = moments.iter().zip(scales);
        let factor =
            factor.map(|((_, variance), scale)| (scale / (f64::from(*variance) + epsilon).sqrt()) as f32);
        let factor = factor.collect();
        let (mean, variance) = moments.into_iter().unzip();
        Self { mean, variance, factor }
    }

    /// The same, without the features of a part of the last block, and with each feature divided by the geometric mean of
    /// its deviation and that of its block.
    pub(crate) fn weighted(x: &[f32], blocks: &[usize], without: &Range<usize>, epsilon: f64) -> Self {
        let mut all = Self::of(x, blocks, epsilon);
        let mut at = 0;
        for (number, &block) in blocks.iter().enumerate() {
            let columns = at..at + block;
            at += block;
            let is_left_out = |column: &usize| number + 1 == blocks.len() && without.contains(column);
            let taken: Vec<usize> = columns.clone().filter(|column| !is_left_out(column)).collect();
            let variance = |column: usize| f64::from(all.variance[column]) + epsilon;
            let common =
                taken.iter().map(|&column| variance(column)).sum::<f64>() / taken.len().max(1) as f64;
            // What is left out of the block makes room for the rest.
            let room = (block as f64 / taken.len().max(1) as f64).sqrt();
            let factors: Vec<f64> =
                columns.clone().map(|column| room * (variance(column) / common).powf(0.25)).collect();
            for (column, factor) in columns.zip(factors) {
                let factor = if is_left_out(&column) { 0.0 } else { factor };
                all.factor[column] = (f64::from(all.factor[column]) * factor) as f32;
            }
        }
        all
    }

    /// Prepares rows.
    pub(crate) fn apply(&self, x: &mut [f32]) {
        x.par_chunks_mut(self.mean.len()).for_each(|row| {
            for ((value, mean), factor) in row.iter_mut().zip(&self.mean).zip(&self.factor) {
                *value = (*value - mean) * factor;
            }
        });
    }

    /// The weights for features that are only standardised, from those for prepared rows.
    pub(crate) fn weights(&self, coefficients: &Coefficients, epsilon: f64) -> Vec<f32> {
        let features = self.mean.len();
        let scale: Vec<f32> = self
            .factor
            .iter()
            .zip(&self.variance)
            .map(|(factor, variance)| factor * (f64::from(*variance) + epsilon).sqrt() as f32)
            .collect();
        let weights = coefficients
            .0
            .chunks_exact(features)
            .flat_map(|row| row.iter().zip(&scale).map(|(weight, scale)| weight * scale));
        let classes = coefficients.0.len() / (features + 1);
        weights.take(classes * features).collect()
    }
}

impl Problem<'_> {
    fn rows(&self) -> usize {
        self.x.len() / self.features
    }

    /// Weights of 0, and the biases that give every row the mean of the targets.
    pub(crate) fn start(&self) -> Coefficients {
        let rows = self.rows() as f64;
        let mut values = vec![0.0; self.classes * (self.features + 1)];
        for class in 0..self.classes {
            let column = self.targets.iter().skip(class).step_by(self.classes);
            let share = (column.map(|target| f64::from(*target)).sum::<f64>() + 0.5) / (rows + 1.0);
            values[self.classes * self.features + class] = match self.task {
                Task::SingleLabel => share.ln(),
                Task::MultiLabel => (share / (1.0 - share)).ln(),
            } as f32;
        }
        Coefficients(values)
    }

    /// Fits with inverse penalty `c`, from `start` on; returns the coefficients and the iterations that it took.
    pub(crate) fn fit(&self, c: f64, start: Coefficients, effort: Effort) -> (Coefficients, usize) {
        let mut at = start.0;
        let mut gradient = vec![0.0; at.len()];
        let mut logits = vec![0.0; self.rows() * self.classes];
        let mut loss = self.evaluate(c, &at, &mut gradient, &mut logits);
        let mut memory: Vec<(Vec<f32>, Vec<f32>, f64)> = Vec::new();
        let mut trial = vec![0.0; at.len()];
        let mut next = vec![0.0; at.len()];
        for iteration in 0..effort.iterations {
            let mut direction = descent(&gradient, &memory);
            let mut slope = dot(&gradient, &direction);
            if slope >= 0.0 {
                memory.clear();
                direction = gradient.iter().map(|value| -value).collect();
                slope = -dot(&gradient, &gradient);
            }
            if slope == 0.0 || !slope.is_finite() {
                return (Coefficients(at), iteration);
            }
            let mut step = if memory.is_empty() { 1.0 / (1.0 + (-slope).sqrt()) } else { 1.0 };
            let mut found = None;
            for _ in 0..TRIALS {
                add_scaled(&at, &direction, step as f32, &mut trial);
                let value = self.evaluate(c, &trial, &mut next, &mut logits);
                if value.is_finite() && value <= loss + SUFFICIENT * step * slope {
                    found = Some(value);
                    break;
                }
                step *= 0.5;
            }
            let Some(value) = found else { return (Coefficients(at), iteration) };
            let moved: Vec<f32> = trial.iter().zip(&at).map(|(new, old)| new - old).collect();
            let turned: Vec<f32> = next.iter().zip(&gradient).map(|(new, old)| new - old).collect();
            let curvature = dot(&moved, &turned);
            if curvature > 1e-12 * dot(&moved, &moved) {
                memory.push((moved, turned, 1.0 / curvature));
                if memory.len() > MEMORY {
                    memory.remove(0);
                }
            }
            let decrease = loss - value;
            loss = value;
            std::mem::swap(&mut at, &mut trial);
            std::mem::swap(&mut gradient, &mut next);
            if decrease <= effort.decrease * loss.abs().max(1e-8) {
                return (Coefficients(at), iteration + 1);
            }
        }
        (Coefficients(at), effort.iterations)
    }

    /// Logits of rows like the problem's, `[rows, classes]`.
    pub(crate) fn logits(&self, coefficients: &Coefficients, x: &[f32]) -> Vec<f32> {
        let (features, classes) = (self.features, self.classes);
        let (weights, bias) = coefficients.0.split_at(classes * features);
        let rows = x.len() / features;
        let mut logits = vec![0.0; rows * classes];
        if rows > 0 {
            linear([rows, features, classes], weights, Some(bias), x, &mut logits);
        }
        logits
    }

    /// The mean loss of the rows as training has it: without the penalty; where images have several classes the
    /// mean over these.
    pub(crate) fn loss(&self, coefficients: &Coefficients) -> f64 {
        let mut logits = self.logits(coefficients, self.x);
        let loss = self.loss_and_gradient(&mut logits);
        if self.task == Task::MultiLabel { loss / self.classes as f64 } else { loss }
    }

    /// The mean loss of logits, which become their gradients, row by row.
    fn loss_and_gradient(&self, logits: &mut [f32]) -> f64 {
        let (rows, classes) = (self.rows(), self.classes);
        let losses: Vec<f64> = logits
            .par_chunks_mut(classes)
            .zip(self.targets.par_chunks(classes))
            .enumerate()
            .map(|(row, (logits, targets))| {
                let weight = self.row_weights.map_or(1.0, |weights| weights[row]);
                let scale = weight / rows as f32;
                let loss = match self.task {
                    Task::SingleLabel => softmax_loss(logits, targets, scale),
                    Task::MultiLabel => sigmoid_loss(logits, targets, self.positive_weights, scale),
                };
                loss * f64::from(weight)
            })
            .collect();
        losses.chunks(CHUNK).map(|chunk| chunk.iter().sum::<f64>()).sum::<f64>() / rows as f64
    }

    /// What is minimised, and its gradient.
    fn evaluate(&self, c: f64, at: &[f32], gradient: &mut [f32], logits: &mut [f32]) -> f64 {
        let (rows, features, classes) = (self.rows(), self.features, self.classes);
        let (weights, bias) = at.split_at(classes * features);
        linear([rows, features, classes], weights, Some(bias), self.x, logits);
        let loss = self.loss_and_gradient(logits);
        let penalty = 1.0 / (c * rows as f64);
        let (of_weights, of_bias) = gradient.split_at_mut(classes * features);
        linear_backward_weights([rows, features, classes], self.x, logits, of_weights);
        let factor = penalty as f32;
        of_weights.par_chunks_mut(CHUNK).zip(weights.par_chunks(CHUNK)).for_each(|(gradient, weights)| {
            gradient.iter_mut().zip(weights).for_each(|(gradient, weight)| *gradient += factor * weight);
        });
        for (class, gradient) in of_bias.iter_mut().enumerate() {
            *gradient =
                logits.iter().skip(class).step_by(classes).map(|value| f64::from(*value)).sum::<f64>() as f32;
        }
        loss + 0.5 * penalty * dot(weights, weights)
    }
}

/// The cross-entropy of a row, whose logits are replaced by the gradient, times `scale`.
fn softmax_loss(logits: &mut [f32], targets: &[f32], scale: f32) -> f64 {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = logits.iter().map(|logit| (logit - most).exp()).sum();
    let log_sum = most + sum.ln();
    let total: f32 = targets.iter().sum();
    let mut loss = 0.0;
    for (logit, target) in logits.iter_mut().zip(targets) {
        let likely = *logit - log_sum;
        loss -= f64::from(target * likely);
        *logit = (likely.exp() * total - target) * scale;
    }
    loss
}

/// The sum of the classes' binary cross-entropies of a row, likewise.
fn sigmoid_loss(logits: &mut [f32], targets: &[f32], weights: Option<&[f32]>, scale: f32) -> f64 {
    let mut loss = 0.0;
    for (class, (logit, target)) in logits.iter_mut().zip(targets).enumerate() {
        let weight = weights.map_or(1.0, |weights| weights[class]);
        let (has, has_not) = (target * weight, 1.0 - target);
        // ln(1 + e^−|x|) is exact where e^|x| would overflow.
        let small = (-logit.abs()).exp().ln_1p();
        let (unlikely, likely) = (logit.max(0.0) + small, (-*logit).max(0.0) + small);
        loss += f64::from(has * likely + has_not * unlikely);
        let probability = 1.0 / (1.0 + (-*logit).exp());
        *logit = (probability * (has + has_not) - has) * scale;
    }
    loss
}

/// The direction in which to search: the gradient times an approximation of the inverse curvature.
fn descent(gradient: &[f32], memory: &[(Vec<f32>, Vec<f32>, f64)]) -> Vec<f32> {
    let mut direction: Vec<f32> = gradient.iter().map(|value| -value).collect();
    let mut alphas = Vec::with_capacity(memory.len());
    for (moved, turned, inverse) in memory.iter().rev() {
        let alpha = inverse * dot(moved, &direction);
        add_to(&mut direction, turned, -alpha as f32);
        alphas.push(alpha);
    }
    if let Some((_, turned, inverse)) = memory.last() {
        let scale = (1.0 / (inverse * dot(turned, turned))) as f32;
        direction.iter_mut().for_each(|value| *value *= scale);
    }
    for ((moved, turned, inverse), alpha) in memory.iter().zip(alphas.into_iter().rev()) {
        let beta = inverse * dot(turned, &direction);
        add_to(&mut direction, moved, (alpha - beta) as f32);
    }
    direction
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    let chunks = a.par_chunks(CHUNK).zip(b.par_chunks(CHUNK));
    let sums: Vec<f64> =
        chunks.map(|(a, b)| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()).collect();
    sums.iter().sum()
}

fn add_to(to: &mut [f32], what: &[f32], factor: f32) {
    to.iter_mut().zip(what).for_each(|(to, what)| *to += factor * what);
}

fn add_scaled(from: &[f32], direction: &[f32], step: f32, to: &mut [f32]) {
    for ((to, from), direction) in to.iter_mut().zip(from).zip(direction) {
        *to = from + step * direction;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: usize = 40;
    const FEATURES: usize = 5;
    /// As [`LinearHead`](ocelli_nn::LinearHead)'s.
    const EPSILON: f64 = 1e-5;
    const EXACT: Effort = Effort { iterations: 1000, decrease: 1e-12 };

    fn features() -> Vec<f32> {
        let value = |row: usize, feature: usize| {
            let (row, feature) = (row as f64, feature as f64);
            ((1.7 * row + 2.3 * feature).sin() + 0.1 * (row % 7.0) * feature) as f32
        };
        (0..ROWS).flat_map(|row| (0..FEATURES).map(move |feature| value(row, feature))).collect()
    }

    fn class(row: usize) -> usize {
        row * 7 % 11 % 3
    }

    fn one_hot() -> Vec<f32> {
        (0..ROWS).flat_map(|row| (0..3).map(move |of| f32::from(u8::from(class(row) == of)))).collect()
    }

    /// Of three classes, all rows alike.
    fn of_three<'a>(x: &'a [f32], targets: &'a [f32]) -> Problem<'a> {
        Problem {
            x,
            features: x.len() / ROWS,
            targets,
            classes: 3,
            row_weights: None,
            positive_weights: None,
            task: Task::SingleLabel,
        }
    }

    /// Leaving features out, and weighing the others, is what it is on a table without them.
    #[test]
    fn weighted_features_are_those_of_a_smaller_table() {
        let blocks = [FEATURES - 4, 4];
        let without = FEATURES - 4..FEATURES - 2;
        let (raw, targets) = (&features(), one_hot());
        let standard = Standard::weighted(raw, &blocks, &without, EPSILON);
        let fitted = |x: &[f32]| {
            let problem = of_three(x, &targets);
            let (coefficients, _) = problem.fit(0.5, problem.start(), EXACT);
            let logits = problem.logits(&coefficients, x);
            (coefficients, logits)
        };
        let mut x = raw.clone();
        standard.apply(&mut x);
        let (coefficients, logits) = fitted(&x);
        let weights = standard.weights(&coefficients, EPSILON);
        assert!(without.clone().all(|column| (0..3).all(|class| weights[class * FEATURES + column] == 0.0)));
        // By hand: centred, divided by the root of both deviations, blocks of equal weight.
        let taken: Vec<usize> = (0..FEATURES).filter(|column| !without.contains(column)).collect();
        let column = |column: usize| (0..ROWS).map(move |row| f64::from(raw[row * FEATURES + column]));
        let moments = |at: usize| {
            let mean = column(at).sum::<f64>() / ROWS as f64;
            (mean, column(at).map(|value| (value - mean).powi(2)).sum::<f64>() / ROWS as f64 + EPSILON)
        };
        let common =
            |columns: &[usize]| columns.iter().map(|&at| moments(at).1).sum::<f64>() / columns.len() as f64;
        let (first, last) = taken.split_at(FEATURES - 4);
        let width = FEATURES as f64 / 2.0;
        let mut small = Vec::new();
        for row in 0..ROWS {
            for (part, share) in [(first, width / first.len() as f64), (last, width / last.len() as f64)] {
                for &at in part {
                    let (mean, variance) = moments(at);
                    let value = f64::from(raw[row * FEATURES + at]) - mean;
                    small.push((value * share.sqrt() / (variance * common(part)).powf(0.25)) as f32);
                }
            }
        }
        let (_, expected) = fitted(&small);
        for (found, expected) in logits.iter().zip(&expected) {
            assert!((found - expected).abs() < 1e-3, "{found}, {expected}");
        }
    }

    /// Weights for standardised features, and biases.
    fn fit(
        blocks: &[usize],
        targets: &[f32],
        row_weights: Option<&[f32]>,
        task: Task,
    ) -> (Vec<f32>, Vec<f32>) {
        let mut x = features();
        let standard = Standard::of(&x, blocks, EPSILON);
        standard.apply(&mut x);
        let classes = targets.len() / ROWS;
        let problem = Problem {
            x: &x,
            features: FEATURES,
            targets,
            classes,
            row_weights,
            positive_weights: None,
            task,
        };
        let (coefficients, _) = problem.fit(0.5, problem.start(), EXACT);
        let mut biases = coefficients.0[classes * FEATURES..].to_vec();
        if task == Task::SingleLabel {
            // A softmax does not change if all are moved.
            let mean = biases.iter().sum::<f32>() / classes as f32;
            biases.iter_mut().for_each(|bias| *bias -= mean);
        }
        (standard.weights(&coefficients, EPSILON), biases)
    }

    fn assert_close(found: &[f32], expected: &[f32]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-3, "{found} instead of {expected}");
        }
    }

    // The expected values are those of scikit-learn 1.9's LogisticRegression(C=0.5) on standardised features.

    #[test]
    fn one_class_an_image_gives_scikit_learns_coefficients() {
        let (weights, biases) = fit(&[FEATURES], &one_hot(), None, Task::SingleLabel);
        #[rustfmt::skip]
        assert_close(&weights, &[
            -0.104451, 0.089321, -0.016495, -0.055420, 0.075319,
            -0.043606, 0.098215, -0.142360, -0.030802, -0.027443,
            0.148057, -0.187536, 0.158855, 0.086222, -0.047876,
        ]);
        assert_close(&biases, &[0.233131, 0.102341, -0.335472]);
    }

    #[test]
    fn blocks_share_the_penalty_by_their_widths() {
        let (weights, _) = fit(&[2, 3], &one_hot(), None, Task::SingleLabel);
        #[rustfmt::skip]
        assert_close(&weights, &[
            -0.119517, 0.097678, -0.007284, -0.042723, 0.058911,
            -0.044028, 0.114197, -0.128329, -0.027979, -0.038737,
            0.163545, -0.211875, 0.135614, 0.070703, -0.020174,
        ]);
    }

    #[test]
    fn several_classes_an_image_are_regressions_of_their_own() {
        let targets: Vec<f32> = (0..ROWS)
            .flat_map(|row| [f32::from(u8::from(row % 2 == 1)), f32::from(u8::from(row * 5 % 7 < 2))])
            .collect();
        let (weights, biases) = fit(&[FEATURES], &targets, None, Task::MultiLabel);
        #[rustfmt::skip]
        assert_close(&weights, &[
            -0.008855, -0.025107, 0.020745, -0.030171, -0.014315,
            -0.417171, -0.230430, -0.027438, -0.889473, -0.443088,
        ]);
        assert_close(&biases, &[0.0, -1.123712]);
    }

    #[test]
    fn images_weigh_as_much_as_their_classes() {
        let raw: Vec<f32> = (0..ROWS).map(|row| if class(row) == 0 { 2.0 } else { 0.5 }).collect();
        let mean = raw.iter().sum::<f32>() / ROWS as f32;
        let weights: Vec<f32> = raw.iter().map(|weight| weight / mean).collect();
        let (weights, biases) = fit(&[FEATURES], &one_hot(), Some(&weights), Task::SingleLabel);
        #[rustfmt::skip]
        assert_close(&weights, &[
            -0.168702, 0.122000, -0.030684, -0.118067, 0.087749,
            -0.063841, 0.086175, -0.110127, -0.055307, -0.015352,
            0.232543, -0.208175, 0.140811, 0.173375, -0.072398,
        ]);
        assert_close(&biases, &[1.146426, -0.353026, -0.793400]);
    }

    #[test]
    fn nothing_to_learn_gives_the_shares_of_the_classes() {
        let targets = one_hot();
        let x = vec![0.0; ROWS * FEATURES];
        let problem = of_three(&x, &targets);
        let (coefficients, _) = problem.fit(0.5, problem.start(), EXACT);
        let logits = problem.logits(&coefficients, &x[..FEATURES]);
        let sum: f32 = logits.iter().map(|logit| logit.exp()).sum();
        for (of, logit) in logits.iter().enumerate() {
            let share = (0..ROWS).filter(|row| class(*row) == of).count() as f32 / ROWS as f32;
            assert!((logit.exp() / sum - share).abs() < 1e-4, "{of}");
        }
    }
}
