//! What a learner trains, and from what: one value that cannot contradict itself.

use std::fmt;

use ocelli_nn::GROUPS;
use serde::{Deserialize, Serialize};

/// Which layer groups are frozen, and whether their output is computed once or in every epoch.
///
/// Groups are counted from the input: early body 0, late body 1, head 2. A frozen group runs as in use: norms
/// with their running statistics, nothing changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "activations", rename_all = "kebab-case")]
pub enum State {
    /// The output of the frozen groups was computed once for every image and kept; augmentation has no effect.
    Precomputed {
        /// The number of frozen groups, at least 1.
        frozen: usize,
    },
    /// Every epoch starts from the images.
    Live {
        /// The number of frozen groups; 0: all are trained.
        frozen: usize,
    },
}

impl State {
    /// The number of frozen groups.
    pub fn frozen(self) -> usize {
        match self {
            Self::Precomputed { frozen } | Self::Live { frozen } => frozen,
        }
    }

    /// Whether training starts from kept activations.
    pub fn is_precomputed(self) -> bool {
        matches!(self, Self::Precomputed { .. })
    }
}

impl fmt::Display for State {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(match self.frozen() {
            0 => "all layers",
            frozen if frozen + 1 == GROUPS => "head",
            _ => "late layers and head",
        })?;
        if self.is_precomputed() { formatter.write_str(", precomputed") } else { Ok(()) }
    }
}
