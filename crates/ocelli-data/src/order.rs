//! In which order the items of an epoch come.

use crate::Items;
use std::collections::BTreeMap;

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
    /// As many places as there are items, shared evenly among the classes: the items of a rare class come several
    /// times an epoch, those of a frequent class take turns over the epochs. See [`shares`]. A multi-label item
    /// counts for the rarest of its classes. Probabilities predicted after such training are those of a world
    /// where all classes are equally frequent.
    ClassBalanced {
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
            Order::ClassBalanced { seed } => balanced(items, indices, seed, epoch),
        }
    }
}

/// What [`Order::ClassBalanced`] does to a class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// The class; `None`: items without any class.
    pub class: Option<usize>,
    /// Its items.
    pub items: usize,
    /// How many places of an epoch they get.
    pub places: usize,
}

/// What [`Order::ClassBalanced`] does to each class, so that it can be said.
pub fn shares(items: &Items, indices: &[usize]) -> Vec<Share> {
    let pools = pools(items, indices);
    let places = |pool: usize| {
        // The remainder goes to the first classes, one place each.
        indices.len() / pools.len() + usize::from(pool < indices.len() % pools.len())
    };
    let share = |(pool, (class, items)): (usize, (&Option<usize>, &Vec<usize>))| Share {
        class: *class,
        items: items.len(),
        places: places(pool),
    };
    pools.iter().enumerate().map(share).collect()
}

/// Items by the class they count for.
fn pools(items: &Items, indices: &[usize]) -> BTreeMap<Option<usize>, Vec<usize>> {
    let counts = items.class_counts(indices);
    let mut pools: BTreeMap<Option<usize>, Vec<usize>> = BTreeMap::new();
    for &index in indices {
        let rarest = items[index].target.classes().iter().copied().min_by_key(|&class| counts[class]);
        pools.entry(rarest).or_default().push(index);
    }
    pools
}

fn balanced(items: &Items, indices: &[usize], seed: u64, epoch: u64) -> Vec<usize> {
    let mut places = Vec::with_capacity(indices.len());
    for (share, pool) in shares(items, indices).iter().zip(pools(items, indices).into_values()) {
        // Epochs go on where the last one ended: round after round through the class, each in a new order.
        let first = epoch as usize * share.places;
        let mut at = first;
        while at < first + share.places {
            let round = at / pool.len();
            let order = by_draw(items, &pool, seed, Purpose::Sample, round as u64);
            let end = ((round + 1) * pool.len()).min(first + share.places);
            places.extend(&order[at - round * pool.len()..end - round * pool.len()]);
            at = end;
        }
    }
    Draws::new(seed, Purpose::Shuffle, epoch, 0).shuffle(&mut places);
    places
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
