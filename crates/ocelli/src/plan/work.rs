//! What a run has to do, by how processes share it, and how long that takes.

use ocelli_distributed::tree;
use serde::Serialize;

use crate::plan::link::Link;
use crate::processes::shared::BETWEEN_EXCHANGES;

/// A part of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Work {
    /// Images are loaded and go through frozen layers: whole batches, each on one process, which all receive.
    Pass(Pass),
    /// Layers of the backbone are trained, in pieces of batches.
    Steps(Steps),
    /// Every process does all of it.
    Same {
        /// What it is.
        name: String,
        /// Seconds.
        seconds: f64,
    },
}

/// Images that processes share out, in whole batches.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pass {
    /// What it is.
    pub name: String,
    /// How often all images are passed.
    pub times: f64,
    /// The images.
    pub images: usize,
    /// Images of a batch.
    pub batch: usize,
    /// Seconds an image takes in a process.
    pub image: f64,
    /// Bytes of an image that all processes receive; 0: nothing is exchanged.
    pub row: f64,
    /// Seconds that a byte takes besides its way between processes.
    pub handling: f64,
}

/// Training steps that processes share, by pieces of a batch.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Steps {
    /// What it is.
    pub name: String,
    /// The number of steps.
    pub steps: f64,
    /// Images of a batch.
    pub batch: usize,
    /// Images of a piece.
    pub micro_batch: usize,
    /// Whether each process loads all images, which are mixed with each other, instead of those of its pieces.
    pub loads_all: bool,
    /// Bytes of an image's pooled features, which all processes receive.
    pub row: f64,
    /// Bytes of the gradients of the backbone's trained parameters; each process has the head's.
    pub gradients: f64,
    /// The part of these that travels while those of the early layers are computed, 0 to 1.
    pub late: f64,
    /// What its parts take in a process.
    pub rates: StepRates,
}

/// Seconds of the parts of a training step, in one process with all of its threads.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct StepRates {
    /// To load an image.
    pub load: f64,
    /// An image's way through frozen layers before the trained ones.
    pub frozen: f64,
    /// A piece, forward and backward.
    pub piece: f64,
    /// The part of this that the early layers' gradients take.
    pub early: f64,
    /// The head, forward and backward, for the whole batch.
    pub head: f64,
    /// The optimizer's step.
    pub optimizer: f64,
    /// To write the backbone's gradients as bytes.
    pub pack: f64,
    /// To read them again.
    pub unpack: f64,
    /// To add two sums of gradients.
    pub add: f64,
    /// A byte, besides its way between processes.
    pub handling: f64,
}

/// Seconds, by what they are spent on.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Seconds {
    /// What gets less with more processes.
    pub shared: f64,
    /// What every process does.
    pub same: f64,
    /// Exchanging, as far as nothing else is done meanwhile.
    pub exchange: f64,
}

impl Seconds {
    /// All together.
    pub fn total(&self) -> f64 {
        self.shared + self.same + self.exchange
    }

    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            shared: self.shared + other.shared,
            same: self.same + other.same,
            exchange: self.exchange + other.exchange,
        }
    }
}

impl Work {
    /// What it is.
    pub fn name(&self) -> &str {
        match self {
            Self::Pass(pass) => &pass.name,
            Self::Steps(steps) => &steps.name,
            Self::Same { name, .. } => name,
        }
    }

    /// How long this many processes take: the slowest of them, for which the others wait.
    pub fn seconds(&self, processes: usize, link: &Link) -> Seconds {
        match self {
            Self::Pass(pass) => pass.seconds(processes.max(1), link),
            Self::Steps(steps) => steps.seconds(processes.max(1), link),
            Self::Same { seconds, .. } => Seconds { same: *seconds, ..Seconds::default() },
        }
    }
}

impl Pass {
    fn seconds(&self, processes: usize, link: &Link) -> Seconds {
        let batches = self.images.div_ceil(self.batch.max(1)).div_ceil(processes);
        let images = self.images.min(batches * self.batch);
        let mut exchange = 0.0;
        if self.row > 0.0 && processes > 1 {
            let (rounds, rest) = (batches / BETWEEN_EXCHANGES, batches % BETWEEN_EXCHANGES);
            let of = |batches: usize| {
                link.all_gather(processes, (batches * self.batch) as f64 * self.row, self.handling)
            };
            exchange = rounds as f64 * of(BETWEEN_EXCHANGES) + if rest > 0 { of(rest) } else { 0.0 };
        }
        Seconds {
            shared: self.times * images as f64 * self.image,
            exchange: self.times * exchange,
            same: 0.0,
        }
    }
}

impl Steps {
    fn seconds(&self, processes: usize, link: &Link) -> Seconds {
        let StepRates { load, frozen, piece, early, head, optimizer, pack, unpack, add, handling } =
            self.rates;
        let pieces = self.batch.div_ceil(self.micro_batch.max(1));
        // The first process has as many pieces as any.
        let own = pieces.div_ceil(processes);
        let nodes = |rank| tree::nodes_within(&tree::leaves_of(rank, processes, pieces), pieces).len();
        let sending = (0..processes.min(pieces)).map(nodes);
        let (most, all) = sending.fold((0, 0), |(most, all), nodes| (most.max(nodes), all + nodes));
        let (most, all) = (most as f64, all as f64);
        let share = 1.0 / processes as f64;
        let images = self.batch.min(own * self.micro_batch) as f64;
        let loaded = if self.loads_all { self.batch as f64 } else { images };
        let loading = loaded * (load + frozen);
        let mut step = Seconds {
            // Each process updates a shard of the parameters.
            shared: own as f64 * piece + (own as f64 - most) * add + share * optimizer,
            same: head,
            exchange: 0.0,
        };
        *if self.loads_all { &mut step.same } else { &mut step.shared } += loading;
        if processes > 1 {
            // Gradients of others' shards, and new weights, become bytes and numbers again; the rest of the tree is added up,
            // by shards.
            let others = 1.0 - share;
            let turned = (most * others + share) * pack
                + ((all - most) * share + others) * unpack
                + (all - 1.0) * share * add;
            // Whether all photos could be read, and the norm of the gradients.
            let travelling = 2.0 * link.all_gather(processes, 1.0, handling)
                + link.all_gather(processes, images * self.row, handling)
                + link.all_to_all(processes, most * (1.0 - self.late) * self.gradients, handling)
                + link.all_gather(processes, self.gradients * share, handling);
            // Photos are loaded while bytes travel.
            step.exchange = turned + (travelling - loaded * load).max(0.0);
            // Gradients of late layers travel while those of the early ones are computed.
            let late = link.all_to_all(processes, most * self.late * self.gradients, handling);
            step.exchange += (late - own as f64 * early).max(0.0);
        }
        self.of_all(step)
    }

    fn of_all(&self, step: Seconds) -> Seconds {
        let Seconds { shared, same, exchange } = step;
        Seconds { shared: self.steps * shared, same: self.steps * same, exchange: self.steps * exchange }
    }
}
