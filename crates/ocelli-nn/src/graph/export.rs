//! What files of a graph have, whatever their format.

use std::collections::HashSet;

/// What a file gives.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub enum Output {
    /// `logits`: f32, `[images, classes]`.
    #[default]
    Logits,
    /// `probabilities`: f32, `[images, classes]`, which sum to 1: softmax of logits over the temperature.
    Probabilities {
        /// 1 without calibration.
        temperature: f64,
    },
    /// `probabilities`: f32, `[images, classes]`, each on its own: sigmoid of logits over the temperature.
    ProbabilityOfEach {
        /// 1 without calibration.
        temperature: f64,
    },
    /// `features`: f32, `[images, features]`, pooled, before the classifier.
    Features,
}

impl Output {
    /// The output's name in the file.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Logits => "logits",
            Self::Probabilities { .. } | Self::ProbabilityOfEach { .. } => "probabilities",
            Self::Features => "features",
        }
    }
}

/// The parameters of a score of features `x` with `D` numbers: how unlike the training photos an image is.
///
/// ```text
/// u = x / ‖x‖ − center,  p = projection · u,  y = within · p
/// score = min over classes c of ‖y − means[c]‖² − Σ_k total[k] · p[k]² + residual · max(‖u‖² − ‖p‖², 0)
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct UnknownParameters {
    /// `[D]`
    pub center: Vec<f32>,
    /// `[K, D]`, row by row; rows are orthonormal.
    pub projection: Vec<f32>,
    /// `[K, K]`, row by row.
    pub within: Vec<f32>,
    /// `[classes, K]`, row by row.
    pub means: Vec<f32>,
    /// `[K]`
    pub total: Vec<f32>,
    /// One number.
    pub residual: f32,
}

/// The name of the output that is the score.
pub const UNKNOWN_SCORE: &str = "unknown_score";

/// Names of what is in a file, none of which is there twice.
#[derive(Debug, Clone, Default)]
pub struct UniqueNames {
    given: HashSet<String>,
    part: String,
}

impl UniqueNames {
    /// None of them is one of these.
    pub fn beside(given: impl IntoIterator<Item = String>) -> Self {
        Self { given: given.into_iter().collect(), part: String::new() }
    }

    /// What follows is a part of this: its names are `part/name`. An empty text ends the part.
    pub fn part(&mut self, name: &str) {
        name.clone_into(&mut self.part);
    }

    /// A name that nothing else has: this one, or with a number.
    pub fn unique(&mut self, of: &str) -> String {
        let name = if self.part.is_empty() { of.to_owned() } else { format!("{}/{of}", self.part) };
        let mut unique = name.clone();
        let mut number = 2;
        while !self.given.insert(unique.clone()) {
            unique = format!("{name}_{number}");
            number += 1;
        }
        unique
    }

    /// Takes a name as it is.
    pub fn take(&mut self, name: &str) {
        self.given.insert(name.to_owned());
    }
}
