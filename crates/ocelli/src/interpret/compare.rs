//! How two models differ on the same images.

use std::collections::HashMap;

use ocelli_data::{Draws, Purpose};
use serde::Serialize;

use super::Interpretation;
use crate::error::{Error, Result};
use crate::metric::predictions::Proportion;

/// Two models on the images that both have predicted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// Images that both are right about.
    pub both_right: usize,
    /// Images that both are wrong about.
    pub both_wrong: usize,
    /// Images that the first is right about and the second wrong, the surest mistakes first.
    pub right_to_wrong: Vec<Flip>,
    /// Images that the first is wrong about and the second right, the surest corrections first.
    pub wrong_to_right: Vec<Flip>,
    /// The first model's accuracy on these images.
    pub first: Proportion,
    /// The second model's accuracy on these images.
    pub second: Proportion,
    /// McNemar's exact test (two-sided, binomial): how probable a difference at least as large would be if both
    /// models were equally good.
    pub p_value: f64,
    /// Images of the first that the second has not predicted.
    pub only_first: usize,
    /// Images of the second that the first has not predicted.
    pub only_second: usize,
}

/// An image about which two models differ.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Flip {
    /// The image's id.
    pub id: String,
    /// The place in the first model's predictions.
    pub place: usize,
    /// What it is.
    pub truth: String,
    /// What the first model says.
    pub first: String,
    /// What the second model says.
    pub second: String,
    /// The probability of what the second model says.
    pub probability: f32,
}

impl Interpretation {
    /// Compares with another model's predictions; images are the same where their ids are.
    ///
    /// # Errors
    /// Where the classes differ, no image is in both, or an image has another label.
    pub fn compare(&self, other: &Self) -> Result<Comparison> {
        if self.classes != other.classes || self.task() != other.task() {
            return Err(Error::ClassMismatch {
                what: "the second".to_owned(),
                found: other.classes.clone(),
                expected: self.classes.clone(),
            });
        }
        let places: HashMap<&str, usize> =
            other.ids.iter().enumerate().map(|(place, id)| (id.as_str(), place)).collect();
        let pairs: Vec<(usize, usize)> = self
            .ids
            .iter()
            .enumerate()
            .filter_map(|(place, id)| Some((place, *places.get(id.as_str())?)))
            .collect();
        if pairs.is_empty() {
            return Err(Error::NoCommonImages);
        }
        if let Some(&(a, b)) = pairs.iter().find(|&&(a, b)| self.truth(a) != other.truth(b)) {
            let (first, second) = (self.named(self.truth(a)), other.named(other.truth(b)));
            return Err(Error::LabelsDiffer { image: self.ids[a].clone(), first, second });
        }
        let (mut both_right, mut both_wrong) = (0, 0);
        let (mut lost, mut won) = (Vec::new(), Vec::new());
        for &(a, b) in &pairs {
            match (self.is_right(a), other.is_right(b)) {
                (true, true) => both_right += 1,
                (false, false) => both_wrong += 1,
                (true, false) => lost.push(self.flip(a, other, b)),
                (false, true) => won.push(self.flip(a, other, b)),
            }
        }
        for flips in [&mut lost, &mut won] {
            flips.sort_by(|a, b| b.probability.total_cmp(&a.probability));
        }
        let share = |count| Proportion { count, total: pairs.len() };
        Ok(Comparison {
            first: share(both_right + lost.len()),
            second: share(both_right + won.len()),
            p_value: mcnemar(lost.len(), won.len()),
            only_first: self.len() - pairs.len(),
            only_second: other.len() - pairs.len(),
            both_right,
            both_wrong,
            right_to_wrong: lost,
            wrong_to_right: won,
        })
    }

    fn flip(&self, place: usize, other: &Self, there: usize) -> Flip {
        let said = other.predictions.predicted_labels(there);
        let row = other.predictions.row(there);
        let sure = said.iter().map(|&class| row[class]).fold(0.0, f32::max);
        Flip {
            id: self.ids[place].clone(),
            place,
            truth: self.named(self.truth(place)),
            first: self.named(&self.predictions.predicted_labels(place)),
            second: self.named(&said),
            probability: sure,
        }
    }
}

/// The two-sided p-value of McNemar's exact test (McNemar 1947): of `one + other` images about which two models differ,
/// a fair coin would give each half.
fn mcnemar(one: usize, other: usize) -> f64 {
    let (fewer, all) = (one.min(other), one + other);
    // Binomial terms by logarithms: 2^-all is 0 in a float beyond a thousand flips.
    let mut term = -(all as f64) * std::f64::consts::LN_2;
    let mut sum = 0.0;
    for count in 0..=fewer {
        sum += term.exp();
        term += ((all - count) as f64 / (count + 1) as f64).ln();
    }
    (2.0 * sum).min(1.0)
}

/// How probable a difference of two means at least as large would be if both came from the same distribution, from
/// numbers of the same images in the same order: McNemar's exact test where all are 0 or 1, else the bootstrap of the
/// differences, moved to a mean of 0. Nothing where there is none to pair, or their numbers differ.
pub(crate) fn paired_p_value(one: &[f64], other: &[f64]) -> Option<f64> {
    if one.is_empty() || one.len() != other.len() {
        return None;
    }
    if one.iter().chain(other).all(|value| [0.0, 1.0].contains(value)) {
        let flips = |from: f64| one.iter().zip(other).filter(|(a, b)| **a == from && a != b).count();
        return Some(mcnemar(flips(0.0), flips(1.0)));
    }
    let differences: Vec<f64> = one.iter().zip(other).map(|(a, b)| a - b).collect();
    let number = differences.len() as f64;
    let mean = differences.iter().sum::<f64>() / number;
    if !mean.is_finite() {
        return None;
    }
    // A difference that rounding may have made is none.
    let spread = differences.iter().map(|difference| difference.abs()).sum::<f64>() / number;
    if mean.abs() <= 1e-9 * spread.max(f64::MIN_POSITIVE) || spread == 0.0 {
        return Some(1.0);
    }
    if differences.len() > MANY {
        let variance = differences.iter().map(|difference| (difference - mean).powi(2)).sum::<f64>() / number;
        return Some(beyond(mean.abs() / (variance / number).sqrt()));
    }
    let as_large = (0..PAIRED_RESAMPLES).filter(|&resample| {
        let mut draws = Draws::new(1, Purpose::Bootstrap, 0, resample);
        let drawn: f64 =
            differences.iter().map(|_| differences[draws.below(differences.len() as u64) as usize]).sum();
        (drawn / number - mean).abs() >= mean.abs()
    });
    Some((as_large.count() + 1) as f64 / (PAIRED_RESAMPLES + 1) as f64)
}

/// From so many images on, the bootstrap of a mean is the normal distribution, which is quicker.
const MANY: usize = 2000;

/// The probability that a standard normal number is at least so far from 0 (Abramowitz and Stegun 1964, 7.1.26).
fn beyond(deviations: f64) -> f64 {
    let x = deviations / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.3275911 * x);
    let series = [1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592];
    let sum = series.iter().fold(0.0, |sum, factor| (sum + factor) * t);
    (sum * (-x * x).exp()).clamp(0.0, 1.0)
}

/// Resamples of the bootstrap of differences.
const PAIRED_RESAMPLES: u64 = 2000;

#[cfg(test)]
mod tests {
    use super::{beyond, mcnemar, paired_p_value};

    #[test]
    fn normal_tails_are_those_of_scipy() {
        // 2 * scipy.stats.norm.sf(x)
        for (x, p) in [(0.0, 1.0), (1.0, 0.317310508), (1.959963985, 0.05), (3.0, 0.002699796)] {
            assert!((beyond(x) - p).abs() < 1e-6, "{x}: {}", beyond(x));
        }
    }

    #[test]
    fn differences_are_tested_in_pairs() {
        assert_eq!(paired_p_value(&[], &[]), None);
        assert_eq!(paired_p_value(&[1.0], &[1.0, 0.0]), None);
        assert_eq!(paired_p_value(&[0.3, 0.7], &[0.3, 0.7]), Some(1.0));
        // Six right that were wrong before, none the other way: scipy.stats.binomtest(0, 6).pvalue
        let (before, after) = ([[0.0; 6], [1.0; 6]].concat(), [1.0; 12]);
        assert!((paired_p_value(&before, &after).unwrap() - 0.03125).abs() < 1e-12);
        // Numbers that vary much from image to image, and little from one model to the other.
        let one: Vec<f64> = (0..100).map(|image| f64::from(image % 10)).collect();
        let shifted = |by: f64| -> Vec<f64> {
            one.iter()
                .enumerate()
                .map(|(image, value)| value + by + 0.1 * (7.0 * image as f64).sin())
                .collect()
        };
        assert!(paired_p_value(&one, &shifted(0.05)).unwrap() < 0.001, "seven standard errors");
        assert!(paired_p_value(&one, &shifted(0.005)).unwrap() > 0.3, "0.7 standard errors");
    }

    #[test]
    fn p_values_are_those_of_scipy() {
        // scipy.stats.binomtest(min(b, c), b + c).pvalue
        for (one, other, p) in
            [(0, 0, 1.0), (5, 5, 1.0), (1, 9, 0.021484375), (0, 6, 0.03125), (700, 800, 0.010559255)]
        {
            assert!((mcnemar(one, other) - p).abs() < 1e-6, "{one} {other}: {}", mcnemar(one, other));
        }
    }
}
