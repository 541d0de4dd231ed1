//! Which items are trained on, and which are held out.

use std::collections::{BTreeMap, HashMap};

use crate::digest::Digest;
use crate::order::by_draw;
use crate::random::Purpose;
use crate::{DataError, Items, Target};

/// A division of items; numbers are indices into [`Items`], ascending.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Split {
    /// Items to train on.
    pub train: Vec<usize>,
    /// Items held out to measure on while training.
    pub valid: Vec<usize>,
    /// Items for the very end; possibly without labels.
    pub test: Vec<usize>,
}

/// Holds out `fraction` of every class, chosen by `seed` and the items' ids alone.
///
/// Every class with at least two different images has one on either side. Items with equal digests stay
/// together. Unlabelled items become the test items.
pub fn stratified(items: &Items, digests: &[Digest], fraction: f64, seed: u64) -> Result<Split, DataError> {
    if !(fraction > 0.0 && fraction < 1.0) {
        let value = fraction.to_string();
        return Err(DataError::Setting { name: "valid", value, expected: "a fraction between 0 and 1" });
    }
    let (test, labelled): (Vec<usize>, Vec<usize>) =
        (0..items.len()).partition(|&index| items[index].target == Target::Unlabelled);

    let mut split = Split { test, ..Split::default() };
    for groups in strata(items, digests, &by_draw(items, &labelled, seed, Purpose::Split, 0)).into_values() {
        let held_out = hold_out(&groups, fraction);
        for (group, held_out) in groups.into_iter().zip(held_out) {
            if held_out { &mut split.valid } else { &mut split.train }.extend(group);
        }
    }
    split.train.sort_unstable();
    split.valid.sort_unstable();
    if split.valid.is_empty() {
        return Err(DataError::Split {
            reason: format!(
                "no class has two different images, so none of {} can be held out",
                labelled.len()
            ),
            advice: "add images, or train on everything without a validation set".to_owned(),
        });
    }
    Ok(split)
}

/// Groups of byte-identical items by the classes of their first item, each in the order of `drawn`.
fn strata<'a>(
    items: &'a Items,
    digests: &[Digest],
    drawn: &[usize],
) -> BTreeMap<&'a [usize], Vec<Vec<usize>>> {
    let mut place: HashMap<Digest, (&[usize], usize)> = HashMap::new();
    let mut strata: BTreeMap<&[usize], Vec<Vec<usize>>> = BTreeMap::new();
    for &index in drawn {
        let &mut (stratum, group) = place.entry(digests[index]).or_insert_with(|| {
            let classes = items[index].target.classes();
            let groups = strata.entry(classes).or_default();
            groups.push(Vec::new());
            (classes, groups.len() - 1)
        });
        strata.get_mut(stratum).expect("made with the group")[group].push(index);
    }
    strata
}

/// Which groups are held out: the first that fit into the fraction, at least one of two.
fn hold_out(groups: &[Vec<usize>], fraction: f64) -> Vec<bool> {
    let total: usize = groups.iter().map(Vec::len).sum();
    let wanted = (total as f64 * fraction).round() as usize;
    let mut room = wanted.clamp(1, (total - 1).max(1));
    let mut held_out: Vec<bool> = groups
        .iter()
        .map(|group| {
            let fits = group.len() <= room;
            room -= if fits { group.len() } else { 0 };
            fits
        })
        .collect();
    let all = held_out.iter().all(|&held_out| held_out);
    if groups.len() == 1 {
        held_out[0] = false;
    } else if all {
        held_out[groups.len() - 1] = false;
    } else if !held_out.contains(&true) {
        let smallest = (0..groups.len()).min_by_key(|&group| groups[group].len()).unwrap_or(0);
        held_out[smallest] = true;
    }
    held_out
}
