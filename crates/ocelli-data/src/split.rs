//! Splits into training, validation and test items.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::hash::Hash;
use std::path::Path;

use crate::digest::Digest;
use crate::files::write_whole;
use crate::formula::{escape_formula, unescape_formula};
use crate::random::Purpose;
use crate::sampler::by_draw;
use crate::source::role::{Role, said_role};
use crate::{DataError, Items, Target, Task};

/// A split of items; numbers are indices into [`Items`], ascending.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Split {
    /// Training items.
    pub train: Vec<usize>,
    /// Validation items.
    pub valid: Vec<usize>,
    /// Test items; possibly without labels.
    pub test: Vec<usize>,
}

impl Split {
    /// No validation set: every labelled item is for training, except those of `test`.
    pub fn everything(items: &Items, test: &[usize]) -> Self {
        let (test, train) = apart(items, test);
        Split { train, valid: Vec::new(), test }
    }

    /// Exactly these validation items; those of `test` are test items.
    pub fn explicit(items: &Items, test: &[usize], valid: &[usize]) -> Result<Self, DataError> {
        let for_valid: HashSet<usize> = valid.iter().copied().collect();
        if let Some(&beyond) = valid.iter().find(|&&index| index >= items.len()) {
            return Err(refused(
                format!(
                    "item {beyond} is to be held out, but there are {} items, counted from 0",
                    items.len()
                ),
                "give indices of items",
            ));
        }
        let (test, labelled) = apart(items, test);
        let (valid, train): (Vec<_>, Vec<_>) =
            labelled.into_iter().partition(|index| for_valid.contains(index));
        if train.is_empty() {
            return Err(refused("no item is left to train on".to_owned(), "hold out fewer"));
        }
        Ok(Split { train, valid, test })
    }

    /// The same split without its validation items.
    pub fn without_valid(&self) -> Self {
        Split { valid: Vec::new(), ..self.clone() }
    }

    /// Writes the split as a table of ids: `id,split`.
    pub fn write(&self, items: &Items, path: impl AsRef<Path>) -> Result<(), DataError> {
        let path = path.as_ref();
        let mut rows: Vec<(usize, &str)> = Vec::new();
        for (indices, side) in [(&self.train, "train"), (&self.valid, "valid"), (&self.test, "test")] {
            rows.extend(indices.iter().map(|&index| (index, side)));
        }
        rows.sort_unstable();
        let mut table = csv::Writer::from_writer(Vec::new());
        let written = table.write_record(["id", "split"]).and_then(|()| {
            rows.iter()
                .try_for_each(|&(index, side)| table.write_record([&*escape_formula(&items[index].id), side]))
        });
        written.map_err(|error| DataError::io("write", path)(error.into()))?;
        let bytes = table.into_inner().map_err(|error| DataError::io("write", path)(error.into_error()))?;
        write_whole(path, &bytes)
    }

    /// Reads a split that was written, for the same items: it must list each of them, and nothing else.
    pub fn read(items: &Items, path: impl AsRef<Path>) -> Result<Self, DataError> {
        let path = path.as_ref();
        let wrong = |row, detail: String, advice: &str| DataError::Table {
            path: path.to_owned(),
            row,
            detail,
            advice: advice.to_owned(),
        };
        let bytes = std::fs::read(path).map_err(DataError::io("read", path))?;
        let by_id: HashMap<&str, usize> =
            items.items.iter().enumerate().map(|(index, item)| (item.id.as_str(), index)).collect();
        let mut missing: BTreeSet<usize> = (0..items.len()).collect();
        let mut split = Split::default();
        for record in csv::Reader::from_reader(&bytes[..]).records() {
            let record = record.map_err(|error| wrong(None, error.to_string(), "make the split anew"))?;
            let row = record.position().map(csv::Position::line);
            let (id, side) = (record.get(0).unwrap_or_default(), record.get(1).unwrap_or_default());
            let id = unescape_formula(id);
            let index = *by_id.get(id).ok_or_else(|| {
                wrong(row, format!("names {id}, which is not in the data set"), "make the split anew")
            })?;
            if !missing.remove(&index) {
                return Err(wrong(row, format!("names {id} for the second time"), "keep one of the rows"));
            }
            match said_role(side) {
                Some(Role::Train) => split.train.push(index),
                Some(Role::Valid) => split.valid.push(index),
                Some(Role::Test) => split.test.push(index),
                None => return Err(wrong(row, format!("says \"{side}\""), "say train, valid or test")),
            }
        }
        if let Some(&first) = missing.first() {
            let detail =
                format!("lacks {} items of the data set, the first is {}", missing.len(), items[first].id);
            return Err(wrong(None, detail, "make the split anew"));
        }
        for side in [&mut split.train, &mut split.valid, &mut split.test] {
            side.sort_unstable();
        }
        Ok(split)
    }

    /// Byte-identical images in different parts: each group ascending, groups by their first item.
    pub fn shared_images(&self, digests: &[Digest]) -> Vec<Vec<usize>> {
        self.shared(|index| Some(digests[index]))
    }

    /// Groups with images in different parts, as [`shared_images`](Self::shared_images).
    pub fn shared_groups(&self, groups: &[Option<String>]) -> Vec<Vec<usize>> {
        self.shared(|index| groups[index].as_deref())
    }

    /// Items with the same key in different parts.
    fn shared<K: Eq + Hash>(&self, key: impl Fn(usize) -> Option<K>) -> Vec<Vec<usize>> {
        let mut groups: HashMap<K, [Vec<usize>; 3]> = HashMap::new();
        for (side, indices) in [&self.train, &self.valid, &self.test].into_iter().enumerate() {
            for &index in indices {
                if let Some(key) = key(index) {
                    groups.entry(key).or_default()[side].push(index);
                }
            }
        }
        let mut shared: Vec<Vec<usize>> = groups
            .into_values()
            .filter(|sides| sides.iter().filter(|side| !side.is_empty()).count() > 1)
            .map(|sides| {
                let mut group = sides.concat();
                group.sort_unstable();
                group
            })
            .collect();
        shared.sort_unstable();
        shared
    }
}

/// A validation set with `fraction` of every class, chosen by `seed` and the items' ids alone.
///
/// Every class with at least two different images has one in either part. Items with equal digests stay
/// together. Items of `test`, and unlabelled ones, are test items. Multi-label items are stratified as nearly
/// as their combinations allow (iterative stratification, Sechidis et al. 2011).
pub fn stratified(
    items: &Items,
    digests: &[Digest],
    test: &[usize],
    fraction: f64,
    seed: u64,
) -> Result<Split, DataError> {
    check_fraction(fraction)?;
    let (test, labelled) = apart(items, test);
    let drawn = by_draw(items, &labelled, seed, Purpose::Split, 0);
    let mut split = Split { test, ..Split::default() };
    match items.task {
        Task::SingleLabel => {
            for groups in strata(items, digests, &drawn).into_values() {
                let held_out = hold_out(&groups, fraction);
                for (group, held_out) in groups.into_iter().zip(held_out) {
                    if held_out { &mut split.valid } else { &mut split.train }.extend(group);
                }
            }
        }
        Task::MultiLabel => {
            let groups: Vec<Vec<usize>> = strata(items, digests, &drawn).into_values().flatten().collect();
            let mut sides = iterative(items, groups, &[1.0 - fraction, fraction]);
            split.valid = sides.pop().unwrap_or_default().concat();
            split.train = sides.pop().unwrap_or_default().concat();
        }
    }
    split.train.sort_unstable();
    split.valid.sort_unstable();
    if split.valid.is_empty() || split.train.is_empty() {
        return Err(refused(
            format!("no class has two different images, so none of {} can be held out", labelled.len()),
            "add images, or train on everything without a validation set (`ValidSplit::Nothing`)",
        ));
    }
    Ok(split)
}

/// Cross-validation fold `fold` (from 0) of `folds`: every labelled item that is not in `test` is a
/// validation item in exactly one of them, but for the only one of its class, which is always trained on.
///
/// Folds are stratified by class; items with equal digests stay together.
pub fn k_fold(
    items: &Items,
    digests: &[Digest],
    test: &[usize],
    folds: usize,
    fold: usize,
    seed: u64,
) -> Result<Split, DataError> {
    let (test, labelled) = apart(items, test);
    check_fold(folds, fold, labelled.len())?;
    let drawn = by_draw(items, &labelled, seed, Purpose::Split, 0);
    let strata = strata(items, digests, &drawn).into_values();
    // Without its only image a class could not be learnt.
    let is_alone = |groups: &Vec<Vec<usize>>| items.task == Task::SingleLabel && groups.len() == 1;
    let (alone, strata): (Vec<_>, Vec<_>) = strata.partition(is_alone);
    let strata = strata.into_iter();
    let mut sides: Vec<Vec<usize>> = match items.task {
        Task::SingleLabel => {
            let mut sides = vec![Vec::new(); folds];
            // Counting on from class to class evens out the folds.
            for (index, group) in strata.flatten().enumerate() {
                sides[index % folds].extend(group);
            }
            sides
        }
        Task::MultiLabel => {
            let sides = iterative(items, strata.flatten().collect(), &vec![1.0 / folds as f64; folds]);
            sides.into_iter().map(|groups| groups.concat()).collect()
        }
    };
    let mut valid = sides.swap_remove(fold);
    let mut train = sides.concat();
    train.extend(alone.into_iter().flatten().flatten());
    valid.sort_unstable();
    train.sort_unstable();
    if valid.is_empty() || train.is_empty() {
        let reason =
            format!("fold {fold} of {folds} is empty: too few classes have several different images");
        return Err(refused(reason, "ask for fewer folds, or add images"));
    }
    Ok(Split { train, valid, test })
}

fn check_fold(folds: usize, fold: usize, images: usize) -> Result<(), DataError> {
    if folds < 2 || folds > images {
        let value = folds.to_string();
        return Err(DataError::Setting { name: "folds", value, expected: "from 2 to the number of images" });
    }
    if fold >= folds {
        let value = fold.to_string();
        let expected = "less than the number of folds, from 0";
        return Err(DataError::Setting { name: "fold", value, expected });
    }
    Ok(())
}

fn check_fraction(fraction: f64) -> Result<(), DataError> {
    if !(fraction > 0.0 && fraction < 1.0) {
        let value = fraction.to_string();
        return Err(DataError::Setting { name: "valid", value, expected: "a fraction between 0 and 1" });
    }
    Ok(())
}

/// As [`stratified`], with all items of a group in one part: the same patient, the same burst of a camera.
///
/// `groups` has an entry for each item; items with `None` are in no group. Items with equal digests stay
/// together too, and so do the groups that they are in. As groups are not divided, `fraction` and the
/// frequencies of classes are met as nearly as possible; every class is in the training set if possible.
pub fn stratified_by_group(
    items: &Items,
    digests: &[Digest],
    groups: &[Option<String>],
    test: &[usize],
    fraction: f64,
    seed: u64,
) -> Result<Split, DataError> {
    check_fraction(fraction)?;
    let (test, labelled) = apart(items, test);
    let units = units(items, digests, groups, &labelled, seed);
    if units.len() < 2 {
        let reason = format!("all of {} images are of one group, so none can be held out", labelled.len());
        return Err(refused(reason, "name a group that tells more of them apart"));
    }
    let mut sides = iterative(items, units, &[1.0 - fraction, fraction]);
    move_smallest(&mut sides, 0, 1);
    // A class without training images cannot be learnt.
    let count = |unit: &Vec<usize>, class: usize| items.class_counts(unit)[class];
    for class in 0..items.classes.len() {
        if sides[0].iter().any(|unit| count(unit, class) > 0) || sides[1].len() < 2 {
            continue;
        }
        let with = (0..sides[1].len()).filter(|&unit| count(&sides[1][unit], class) > 0);
        if let Some(smallest) = with.min_by_key(|&unit| sides[1][unit].len()) {
            let unit = sides[1].remove(smallest);
            sides[0].push(unit);
        }
    }
    let [mut train, mut valid] = [sides[0].concat(), sides[1].concat()];
    train.sort_unstable();
    valid.sort_unstable();
    Ok(Split { train, valid, test })
}

/// As [`k_fold`], with all items of a group in one fold; see [`stratified_by_group`].
pub fn k_fold_by_group(
    items: &Items,
    digests: &[Digest],
    groups: &[Option<String>],
    test: &[usize],
    folds: usize,
    fold: usize,
    seed: u64,
) -> Result<Split, DataError> {
    let (test, labelled) = apart(items, test);
    check_fold(folds, fold, labelled.len())?;
    let units = units(items, digests, groups, &labelled, seed);
    // Without a group that has all images of a class, that could not be learnt.
    let counts = items.class_counts(&labelled);
    let is_alone = |unit: &Vec<usize>| {
        let of_unit = items.class_counts(unit);
        items.task == Task::SingleLabel
            && of_unit.iter().zip(&counts).any(|(of_unit, all)| *all > 0 && of_unit == all)
    };
    let (alone, units): (Vec<_>, Vec<_>) = units.into_iter().partition(is_alone);
    if units.len() < folds {
        let reason = format!("{} groups are too few for {folds} folds", units.len());
        let more = match alone.len() {
            0 => String::new(),
            alone => format!("; {alone} more have all images of a class, and are always trained on"),
        };
        return Err(refused(format!("{reason}{more}"), "ask for fewer folds, or add images of other groups"));
    }
    let mut sides = iterative(items, units, &vec![1.0 / folds as f64; folds]);
    // An empty fold takes the smallest group of the one with the most.
    while let Some(empty) = sides.iter().position(Vec::is_empty) {
        let largest = (0..folds).max_by_key(|&side| sides[side].len()).unwrap_or(0);
        move_smallest(&mut sides, largest, empty);
    }
    let mut valid = sides.swap_remove(fold).concat();
    let mut train = sides.concat().concat();
    train.extend(alone.into_iter().flatten());
    valid.sort_unstable();
    train.sort_unstable();
    Ok(Split { train, valid, test })
}

/// [`k_fold_by_group`] where images are grouped, else [`k_fold`].
pub fn k_fold_of(
    items: &Items,
    digests: &[Digest],
    groups: Option<&[Option<String>]>,
    test: &[usize],
    folds: usize,
    fold: usize,
    seed: u64,
) -> Result<Split, DataError> {
    match groups {
        None => k_fold(items, digests, test, folds, fold, seed),
        Some(groups) => k_fold_by_group(items, digests, groups, test, folds, fold, seed),
    }
}

/// If one of two parts is empty, it gets the smallest unit of the other.
fn move_smallest(sides: &mut [Vec<Vec<usize>>], one: usize, other: usize) {
    let (empty, full) = match (sides[one].is_empty(), sides[other].is_empty()) {
        (true, false) => (one, other),
        (false, true) => (other, one),
        _ => return,
    };
    let smallest = (0..sides[full].len()).min_by_key(|&unit| sides[full][unit].len());
    if let Some(unit) = smallest {
        let unit = sides[full].remove(unit);
        sides[empty].push(unit);
    }
}

/// Items that must stay together: of one group, byte-identical, or connected by others that are. In an order
/// drawn from the seed.
fn units(
    items: &Items,
    digests: &[Digest],
    groups: &[Option<String>],
    labelled: &[usize],
    seed: u64,
) -> Vec<Vec<usize>> {
    let drawn = by_draw(items, labelled, seed, Purpose::Split, 0);
    let mut parent: Vec<usize> = (0..items.len()).collect();
    fn top(parent: &mut [usize], mut item: usize) -> usize {
        while parent[item] != item {
            parent[item] = parent[parent[item]];
            item = parent[item];
        }
        item
    }
    let (mut by_digest, mut by_group) = (HashMap::new(), HashMap::new());
    for &item in &drawn {
        let same = *by_digest.entry(digests[item]).or_insert(item);
        let alike = groups[item].as_deref().map(|group| *by_group.entry(group).or_insert(item));
        for other in [Some(same), alike].into_iter().flatten() {
            let (one, other) = (top(&mut parent, item), top(&mut parent, other));
            parent[one] = other;
        }
    }
    let mut unit_of = HashMap::new();
    let mut units: Vec<Vec<usize>> = Vec::new();
    for &item in &drawn {
        let unit = *unit_of.entry(top(&mut parent, item)).or_insert_with(|| {
            units.push(Vec::new());
            units.len() - 1
        });
        units[unit].push(item);
    }
    // Large ones first: the small ones fill what is left.
    units.sort_by_key(|unit| std::cmp::Reverse(unit.len()));
    units
}

/// Test items, and items to split.
fn apart(items: &Items, test: &[usize]) -> (Vec<usize>, Vec<usize>) {
    let test: HashSet<usize> = test.iter().copied().collect();
    (0..items.len()).partition(|index| items[*index].target == Target::Unlabelled || test.contains(index))
}

fn refused(reason: String, advice: &str) -> DataError {
    DataError::Split { reason, advice: advice.to_owned() }
}

/// Assigns groups to parts so that every class has the given fractions: the class with the fewest remaining
/// items is assigned first, each of its groups to the part that lacks most of it, then most of anything.
fn iterative(items: &Items, groups: Vec<Vec<usize>>, fractions: &[f64]) -> Vec<Vec<Vec<usize>>> {
    let classes = items.classes.len();
    // How many of a group's items have each of its classes.
    let of = |group: &[usize]| {
        let mut counts: BTreeMap<usize, usize> = BTreeMap::new();
        let all = group.iter().flat_map(|&item| items[item].target.classes());
        all.for_each(|&class| *counts.entry(class).or_default() += 1);
        counts
    };
    let mut left = vec![0usize; classes];
    let mut total = 0.0;
    type Counted = (Vec<usize>, BTreeMap<usize, usize>);
    let mut waiting: Vec<Option<Counted>> = Vec::with_capacity(groups.len());
    for group in groups {
        total += group.len() as f64;
        let counts = of(&group);
        counts.iter().for_each(|(&class, count)| left[class] += count);
        waiting.push(Some((group, counts)));
    }
    let mut lacking: Vec<Vec<f64>> = fractions
        .iter()
        .map(|fraction| left.iter().map(|&count| count as f64 * fraction).collect())
        .collect();
    let mut room: Vec<f64> = fractions.iter().map(|fraction| total * fraction).collect();
    let mut sides = vec![Vec::new(); fractions.len()];
    loop {
        let rarest = (0..classes).filter(|&class| left[class] > 0).min_by_key(|&class| left[class]);
        let mut dealt = false;
        for slot in &mut waiting {
            // After the last class, the images without any are dealt.
            let has = |(_, counts): &Counted| rarest.is_none_or(|class| counts.contains_key(&class));
            if !slot.as_ref().is_some_and(has) {
                continue;
            }
            let Some((group, counts)) = slot.take() else { continue };
            dealt = true;
            let need = |side: usize| (rarest.map_or(0.0, |class| lacking[side][class]), room[side]);
            let side = (0..fractions.len())
                .max_by(|&a, &b| need(a).partial_cmp(&need(b)).unwrap_or(Ordering::Equal).then(b.cmp(&a)))
                .unwrap_or(0);
            room[side] -= group.len() as f64;
            for (class, count) in counts {
                lacking[side][class] -= count as f64;
                left[class] -= count;
            }
            sides[side].push(group);
        }
        if !dealt {
            return sides;
        }
    }
}

/// Groups of byte-identical items by the classes of their first item, each in the order of `drawn`.
fn strata<'a>(
    items: &'a Items,
    digests: &[Digest],
    drawn: &[usize],
) -> BTreeMap<&'a [usize], Vec<Vec<usize>>> {
    let mut group_of: HashMap<Digest, (&[usize], usize)> = HashMap::new();
    let mut strata: BTreeMap<&[usize], Vec<Vec<usize>>> = BTreeMap::new();
    for &index in drawn {
        let &mut (stratum, group) = group_of.entry(digests[index]).or_insert_with(|| {
            let classes = items[index].target.classes();
            let groups = strata.entry(classes).or_default();
            groups.push(Vec::new());
            (classes, groups.len() - 1)
        });
        strata.get_mut(stratum).expect("made with the group")[group].push(index);
    }
    strata
}

/// Which groups are for validation: the first that fit into the fraction, at least one of two.
fn hold_out(groups: &[Vec<usize>], fraction: f64) -> Vec<bool> {
    let total: usize = groups.iter().map(Vec::len).sum();
    let count = (total as f64 * fraction).round() as usize;
    let mut room = count.clamp(1, (total - 1).max(1));
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
