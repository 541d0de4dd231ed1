//! In which order the items of an epoch come.

use crate::Items;
use crate::random::{Draws, Purpose};

/// How an epoch walks through the items of a split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As they are listed.
    Sequential,
    /// Every item once, in an order drawn from the seed, the epoch and the items' ids: it does not depend on
    /// how `indices` was ordered.
    Shuffled {
        /// The seed of the run.
        seed: u64,
    },
}

impl Order {
    /// The items of `indices` in the order of `epoch`.
    pub fn of(&self, items: &Items, indices: &[usize], epoch: u64) -> Vec<usize> {
        match *self {
            Order::Sequential => indices.to_vec(),
            Order::Shuffled { seed } => by_draw(items, indices, seed, Purpose::Shuffle, epoch),
        }
    }
}

/// Sorts `indices` by a number drawn for each item.
pub(crate) fn by_draw(
    items: &Items,
    indices: &[usize],
    seed: u64,
    purpose: Purpose,
    epoch: u64,
) -> Vec<usize> {
    let mut order = indices.to_vec();
    // The id decides between equal draws, so that the listing order never does.
    order.sort_by_cached_key(|&index| {
        let item = &items[index];
        (Draws::new(seed, purpose, epoch, item.key()).bits(), item.id.clone())
    });
    order
}
