//! In which order the items of an epoch come.

use crate::Items;

/// How an epoch walks through the items of a split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As they are listed.
    Sequential,
    /// Every item once, in an order drawn from the seed, the epoch and the items' ids.
    Shuffled {
        /// The seed of the run.
        seed: u64,
    },
}

impl Order {
    /// The items of `indices` in the order of `epoch`.
    pub fn of(&self, items: &Items, indices: &[usize], epoch: u64) -> Vec<usize> {
        let _ = (items, indices, epoch);
        todo!()
    }
}
