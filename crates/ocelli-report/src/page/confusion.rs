//! The confusion matrix with its images, or the most confused pairs of many classes.

use std::collections::{BTreeMap, BTreeSet};

use ocelli::interpret::{Confused, Interpretation};
use serde::Serialize;

use crate::CELLS;
use crate::pictures::{Album, Source};

#[derive(Serialize)]
pub(super) struct ConfusionPart {
    pub(super) cells: Vec<CellPart>,
    /// The classes in an order that groups confused ones; empty if there is no matrix.
    pub(super) order: Option<Vec<usize>>,
    pub(super) confused: Vec<Confused>,
    pub(super) confused_in_all: usize,
}

/// A cell of the matrix that is not 0.
#[derive(Serialize)]
pub(super) struct CellPart {
    pub(super) truth: usize,
    pub(super) predicted: usize,
    pub(super) count: usize,
    pub(super) images: Vec<usize>,
    /// The ids of errors without pictures.
    pub(super) more: Vec<String>,
}

/// The most images of an off-diagonal cell.
const IN_A_CELL: usize = 24;

/// The most errors that are listed by name, in all.
const NAMES: usize = 10_000;

/// The most pairs of classes on the page.
const CONFUSED: usize = 100;

pub(super) fn confusion(named: &Interpretation, album: &mut Album) -> Option<ConfusionPart> {
    let mut confused = named.most_confused(1).ok().filter(|_| !named.is_empty())?;
    let matrix = named.classes.len() <= CELLS;
    let mut indices: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
    for index in 0..named.len() {
        indices
            .entry((named.truth(index)[0], named.predictions.predicted_labels(index)[0]))
            .or_default()
            .push(index);
    }
    let losses = named.predictions.losses();
    indices.values_mut().for_each(|indices| indices.sort_by(|&a, &b| losses[b].total_cmp(&losses[a])));
    // Off-diagonal cells first, since people click on them. Each has one picture before any has two.
    let mut order: Vec<(usize, usize)> = indices.keys().copied().collect();
    order.sort_by_key(|cell| std::cmp::Reverse(indices[cell].len()));
    let (wrong, right): (Vec<_>, Vec<_>) =
        order.into_iter().partition(|(truth, predicted)| truth != predicted);
    let mut images: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
    for cells in [&wrong, &right] {
        for turn in 0..IN_A_CELL {
            for cell in cells {
                let image = indices[cell].get(turn).and_then(|&index| album.add(Source::Evaluated, index));
                images.entry(*cell).or_default().extend(image);
            }
        }
    }
    if !matrix {
        // Pairs that are not listed cannot be chosen.
        let class = |name: &String| named.classes.iter().position(|class| class == name);
        let listed = confused.iter().take(CONFUSED);
        let listed = listed.filter_map(|pair| Some((class(&pair.truth)?, class(&pair.predicted)?)));
        let listed: BTreeSet<(usize, usize)> = listed.collect();
        indices.retain(|cell, _| listed.contains(cell));
    }
    let mut room = NAMES;
    let cells = indices.into_iter().map(|((truth, predicted), indices)| {
        let (count, images) = (indices.len(), images.remove(&(truth, predicted)).unwrap_or_default());
        let hidden = if truth == predicted { 0 } else { (count - images.len()).min(room) };
        room -= hidden;
        let pictured = |index: &&usize| album.has(Source::Evaluated, **index);
        let more = indices.iter().filter(|index| !pictured(index)).take(hidden);
        let more = more.map(|&index| named.ids[index].clone()).collect();
        CellPart { truth, predicted, count, images, more }
    });
    let cells = cells.collect();
    let confused_in_all = confused.len();
    confused.truncate(CONFUSED);
    let order = matrix.then(|| Some(named.confusion_matrix().ok()?.clustered())).flatten();
    Some(ConfusionPart { cells, order, confused, confused_in_all })
}
