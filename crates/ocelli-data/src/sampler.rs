//! Samplers: which items an epoch draws, and in which order.

use crate::Items;
use std::collections::BTreeMap;

use crate::random::{Draws, Purpose};

/// Which items an epoch draws, and in which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sampler {
    /// Every item once, as listed.
    Sequential,
    /// Every item once, in an order drawn from the seed, the epoch and the items' ids; it does not depend on
    /// the order of `indices`.
    Shuffled {
        /// The seed of the run.
        seed: u64,
    },
    /// As many draws as there are items, divided evenly among the classes: the items of a rare class are
    /// drawn several times per epoch, those of a frequent class take turns over the epochs. See
    /// [`class_draws`]. A multi-label item counts for the rarest of its classes. Probabilities are then those
    /// of a population where all classes are equally frequent.
    ClassBalanced {
        /// The seed of the run.
        seed: u64,
    },
}

impl Sampler {
    /// The items of `indices` in the order of `epoch`.
    pub fn of(&self, items: &Items, indices: &[usize], epoch: u64) -> Vec<usize> {
        match *self {
            Sampler::Sequential => indices.to_vec(),
            Sampler::Shuffled { seed } => by_draw(items, indices, seed, Purpose::Shuffle, epoch),
            Sampler::ClassBalanced { seed } => balanced(items, indices, seed, epoch),
        }
    }
}

/// How often [`Sampler::ClassBalanced`] draws the items of a class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassDraws {
    /// The class; `None`: items without any class.
    pub class: Option<usize>,
    /// Its items.
    pub items: usize,
    /// How many of an epoch's draws they get.
    pub draws: usize,
}

/// How often [`Sampler::ClassBalanced`] draws the items of each class.
pub fn class_draws(items: &Items, indices: &[usize]) -> Vec<ClassDraws> {
    let pools = pools(items, indices);
    let draws = |pool: usize| {
        // The remainder goes to the first classes, one draw each.
        indices.len() / pools.len() + usize::from(pool < indices.len() % pools.len())
    };
    let of_class = |(pool, (class, items)): (usize, (&Option<usize>, &Vec<usize>))| ClassDraws {
        class: *class,
        items: items.len(),
        draws: draws(pool),
    };
    pools.iter().enumerate().map(of_class).collect()
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
    let mut drawn = Vec::with_capacity(indices.len());
    for (class, pool) in class_draws(items, indices).iter().zip(pools(items, indices).into_values()) {
        // Epochs continue where the last one ended: round after round through the class, each in a new order.
        let first = epoch as usize * class.draws;
        let mut at = first;
        while at < first + class.draws {
            let round = at / pool.len();
            let order = by_draw(items, &pool, seed, Purpose::Sample, round as u64);
            let end = ((round + 1) * pool.len()).min(first + class.draws);
            drawn.extend(&order[at - round * pool.len()..end - round * pool.len()]);
            at = end;
        }
    }
    Draws::new(seed, Purpose::Shuffle, epoch, 0).shuffle(&mut drawn);
    drawn
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
