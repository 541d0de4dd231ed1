//! Paired tests: whether two models differ significantly on the same images.

use ocelli_data::{Draws, Purpose};

/// The significance level.
pub(crate) const SIGNIFICANCE: f64 = 0.05;

/// The two-sided p-value of McNemar's exact test (McNemar 1947): the probability of at least as uneven a
/// split of `one + other` fair coin flips, the images about which two models differ.
pub(crate) fn mcnemar(one: usize, other: usize) -> f64 {
    let (fewer, all) = (one.min(other), one + other);
    // Binomial terms by logarithms: 2^-all underflows beyond a thousand flips.
    let mut term = -(all as f64) * std::f64::consts::LN_2;
    let mut sum = 0.0;
    for count in 0..=fewer {
        sum += term.exp();
        term += ((all - count) as f64 / (count + 1) as f64).ln();
    }
    (2.0 * sum).min(1.0)
}

/// The p-value of a difference of two means under the null hypothesis that both are equal, from values for
/// the same images in the same order: McNemar's exact test where all are 0 or 1, else a bootstrap of the
/// differences, shifted to a mean of 0. `None` where there is nothing to pair, or the lengths differ.
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
    // A difference that may be rounding error counts as none.
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

/// With at least this many images the bootstrap of a mean is replaced by the normal distribution, which is
/// faster.
const MANY: usize = 2000;

/// The probability that a standard normal value is at least this far from 0 (Abramowitz and Stegun 1964,
/// 7.1.26).
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
        // Values that vary much from image to image, and little from one model to the other.
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
