//! What a learner trains, and on which features: one value that cannot contradict itself.

use std::fmt;

use ocelli_data::text::count;
use ocelli_nn::{GROUPS, Statistics};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Which layer groups are frozen, and whether their features are cached.
///
/// Groups are counted from the input: early layers 0, late layers 1, head 2. Frozen groups run in inference
/// mode: norms use their running statistics, and nothing changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "features", rename_all = "kebab-case")]
pub enum Freezing {
    /// The features of the frozen groups are computed once for every image; without augmented copies,
    /// augmentation has no effect.
    Cached {
        /// The number of frozen groups, at least 1.
        frozen: usize,
        /// The number of augmented copies of each training image, of which each epoch uses one; 0: the image
        /// without augmentation.
        #[serde(default)]
        augmented_copies: usize,
    },
    /// Every epoch starts from the images.
    Streamed {
        /// The number of frozen groups; 0: all are trained.
        frozen: usize,
    },
}

/// The most augmented copies of each image whose features are cached.
const MAX_COPIES: usize = 1000;

impl Freezing {
    /// The number of frozen groups.
    pub fn frozen(self) -> usize {
        match self {
            Self::Cached { frozen, .. } | Self::Streamed { frozen } => frozen,
        }
    }

    /// The number of augmented copies of each training image whose features are cached.
    pub fn augmented_copies(self) -> usize {
        match self {
            Self::Cached { augmented_copies, .. } => augmented_copies,
            Self::Streamed { .. } => 0,
        }
    }

    pub(crate) fn check(self) -> Result<()> {
        let (frozen, copies) = (self.frozen(), self.augmented_copies());
        if copies > MAX_COPIES {
            return Err(Error::setting("augmented_copies", copies, "at most 1,000"));
        }
        if self.is_cached() && frozen == 0 || frozen >= GROUPS {
            let expected = "0, 1 or 2, and not 0 where features are cached";
            return Err(Error::setting("frozen", frozen, expected));
        }
        Ok(())
    }

    /// Whether training starts from cached features.
    pub fn is_cached(self) -> bool {
        matches!(self, Self::Cached { .. })
    }
}

impl fmt::Display for Freezing {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(match self.frozen() {
            0 => "all layers",
            frozen if frozen + 1 == GROUPS => "head",
            _ => "late layers and head",
        })?;
        match self {
            Self::Cached { augmented_copies: 0, .. } => formatter.write_str(", cached features"),
            Self::Cached { augmented_copies, .. } => {
                write!(formatter, ", cached features of {augmented_copies} augmented copies")
            }
            Self::Streamed { .. } => Ok(()),
        }
    }
}

/// What is trained of a network, printed with one line per layer group.
///
/// ```text
/// early layers    61,840 parameters   frozen
/// late layers  3,309,168 parameters   frozen
/// head         1,318,919 parameters   trained   batch statistics
/// head, cached features
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// What is frozen, and whether its features are cached.
    pub freezing: Freezing,
    /// What the trainable norms of the backbone normalise by.
    pub statistics: Statistics,
    /// The parameters of each layer group, running statistics not counted.
    pub parameters: [usize; GROUPS],
}

impl Summary {
    /// The number of trainable parameters.
    pub fn trained(&self) -> usize {
        self.parameters[self.freezing.frozen()..].iter().sum()
    }

    /// The number of frozen parameters.
    pub fn frozen(&self) -> usize {
        self.parameters[..self.freezing.frozen()].iter().sum()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        for (group, (name, parameters)) in GROUP_NAMES.iter().zip(self.parameters).enumerate() {
            let norms = match self.statistics {
                _ if group + 1 == GROUPS => "batch statistics",
                Statistics::Batch => "batch statistics",
                Statistics::Running => "running statistics",
            };
            let trained = group >= self.freezing.frozen();
            let state = if trained { format!("trained   {norms}") } else { "frozen".to_owned() };
            writeln!(formatter, "{name:12} {:>10} parameters   {state}", count(parameters))?;
        }
        write!(formatter, "{}", self.freezing)
    }
}

/// The names of the layer groups, for people.
pub(crate) const GROUP_NAMES: [&str; GROUPS] = ["early layers", "late layers", "head"];
