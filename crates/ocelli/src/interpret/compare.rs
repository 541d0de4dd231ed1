//! How two models differ on the same images.

use std::collections::HashMap;

use serde::Serialize;

use super::Interpretation;
use crate::{Error, Result, Share};

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
    pub first: Share,
    /// The second model's accuracy on these images.
    pub second: Share,
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
        let differ = |found: String, advice| Error::State { found, advice };
        if self.classes != other.classes || self.task() != other.task() {
            let list = |of: &Self| of.classes.iter().take(8).cloned().collect::<Vec<_>>().join(", ");
            let found = format!("the classes differ: {} in one, {} in the other", list(self), list(other));
            return Err(differ(found, "compare models of the same classes"));
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
            let found = "no image was held out in both".to_owned();
            return Err(differ(found, "give both the same held-out images, with --split runs/A/split.csv"));
        }
        if let Some(&(a, b)) = pairs.iter().find(|&&(a, b)| self.truth(a) != other.truth(b)) {
            let (one, two) = (self.named(self.truth(a)), other.named(other.truth(b)));
            let found = format!("{} is {one} in one and {two} in the other", self.ids[a]);
            return Err(differ(found, "compare runs on the same labels"));
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
        let share = |count| Share { count, total: pairs.len() };
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
        let said = other.predictions.decided(there);
        let row = other.predictions.row(there);
        let sure = said.iter().map(|&class| row[class]).fold(0.0, f32::max);
        Flip {
            id: self.ids[place].clone(),
            place,
            truth: self.named(self.truth(place)),
            first: self.named(&self.predictions.decided(place)),
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

#[cfg(test)]
mod tests {
    use super::mcnemar;

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
