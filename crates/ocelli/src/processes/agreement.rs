//! What processes compare before they train together.

use std::collections::BTreeMap;

use ocelli_nn::{Backbone, GROUPS, Network};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::learner::Learner;
use crate::processes::ProcessGroup;
use crate::recipe::Phase;
use crate::run::config::{RunConfig, by_name};

/// All that determines the result, of one process.
#[derive(Serialize, Deserialize)]
struct Terms {
    host: String,
    version: String,
    /// Determines how the kernels round.
    instructions: String,
    precision: String,
    /// The settings, without the places of files.
    settings: String,
    images: usize,
    /// A hash of the images, their labels and their split.
    data: String,
    /// A hash of the network's tensors.
    weights: String,
    /// Whether there is a cache.
    is_cached: bool,
    /// Finished phases, and epochs and batches of the current one.
    progress: (usize, usize, usize),
}

/// Checks that all processes have the same program, settings, images and weights.
///
/// # Errors
/// [`Error::ProcessesDiffer`], which names what differs, and where; the same in all processes.
pub(crate) fn compare<B: Backbone>(
    processes: &ProcessGroup,
    settings: &RunConfig,
    learner: &Learner<B>,
    done: usize,
) -> Result<()> {
    if !processes.is_shared() {
        return Ok(());
    }
    let fit = learner.unfinished.as_ref();
    let own = Terms {
        host: ocelli_distributed::host(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        instructions: ocelli_kernels::Isa::current().to_string(),
        precision: learner.network().precision().to_string(),
        settings: without_places(settings),
        images: learner.data().items().len(),
        data: learner.data().fingerprint(),
        weights: digest_of(learner).to_hex().to_string(),
        is_cached: learner.inputs.cache.is_some(),
        progress: (done, fit.map_or(0, |fit| fit.epoch), fit.map_or(0, |fit| fit.batch)),
    };
    let own = serde_json::to_vec(&own).expect("plain values serialise");
    let mut all: Vec<Terms> = Vec::new();
    for (rank, bytes) in processes.all_gather(&own)?.iter().enumerate() {
        all.push(serde_json::from_slice(bytes).map_err(|_| Error::ProcessesDiffer {
            what: "Ocelli",
            rank,
            host: "another machine".to_owned(),
            found: "another version".to_owned(),
            expected: env!("CARGO_PKG_VERSION").to_owned(),
            advice: "",
        })?);
    }
    let first = all.remove(0);
    for (index, other) in all.into_iter().enumerate() {
        if let Some((what, expected, found, advice)) = first.difference(&other) {
            let (rank, host) = (index + 1, other.host);
            return Err(Error::ProcessesDiffer { what, rank, host, found, expected, advice });
        }
    }
    Ok(())
}

/// Whether all phases of a recipe can be shared.
///
/// # Errors
/// [`Error::NotShared`] where layers of the backbone are trained on whole batches.
pub(crate) fn check_recipe(processes: &ProcessGroup, settings: &RunConfig) -> Result<()> {
    if let Some(folds) = settings.folds().filter(|_| processes.is_shared()) {
        let expected = "nothing where several processes train together; cross-validation is for one";
        return Err(Error::setting("folds", folds, expected));
    }
    let trains_backbone =
        |phase: &Phase| matches!(phase, Phase::Train(train) if train.freezing.frozen() + 1 < GROUPS);
    match settings.recipe.phases.iter().position(trains_backbone) {
        Some(phase) if processes.is_shared() && settings.train.micro_batch.is_none() => {
            Err(Error::NotShared { phase: phase + 1, processes: processes.size() })
        }
        _ => Ok(()),
    }
}

/// A hash of a learner's tensors.
pub(crate) fn digest_of<B: Backbone>(learner: &Learner<B>) -> blake3::Hash {
    digest(learner.network())
}

/// A hash of a network's tensors.
pub(crate) fn digest<B: Backbone>(network: &Network<B>) -> blake3::Hash {
    let tensors = network.to_tensors();
    let mut hasher = blake3::Hasher::new();
    for name in tensors.names() {
        let tensor = tensors.get(name).expect("a listed name");
        hasher.update(&(name.len() as u64).to_le_bytes()).update(name.as_bytes());
        let bytes: Vec<u8> = tensor.values.iter().flat_map(|value| value.to_le_bytes()).collect();
        hasher.update(&(bytes.len() as u64).to_le_bytes()).update(&bytes);
    }
    hasher.finalize()
}

/// The text of settings without what may differ between machines: where files are. Their content is compared
/// by the images, their labels, and the weights.
fn without_places(settings: &RunConfig) -> String {
    let settings = RunConfig { data: Default::default(), weights: None, decisions: None, ..settings.clone() };
    toml::to_string_pretty(&settings).unwrap_or_default()
}

impl Terms {
    /// What differs from another process's, what is here and there, and what to do.
    fn difference(&self, other: &Self) -> Option<(&'static str, String, String, &'static str)> {
        let texts = [
            ("the version of Ocelli", &self.version, &other.version, ""),
            (
                "the instruction set",
                &self.instructions,
                &other.instructions,
                ". Set OCELLI_ISA to a set that all processors have, such as avx2 or portable, in all processes",
            ),
            (
                "the precision",
                &self.precision,
                &other.precision,
                ". Give the same precision to all processes",
            ),
        ];
        for (what, own, others, advice) in texts {
            if own != others {
                return Some((what, own.clone(), others.clone(), advice));
            }
        }
        if self.settings != other.settings {
            let [own, others] = [self, other].map(|terms| by_name(&terms.settings).unwrap_or_default());
            let name =
                own.keys().chain(others.keys()).filter(|name| own.get(*name) != others.get(*name)).min();
            let said = |settings: &BTreeMap<String, String>| {
                let name = name.map_or("settings", String::as_str);
                match settings.get(name) {
                    Some(value) => format!("{name} = {value}"),
                    None => format!("{name} not set"),
                }
            };
            return Some(("a setting", said(&own), said(&others), ""));
        }
        if self.images != other.images {
            let count = |terms: &Self| format!("{} images", terms.images);
            return Some(("the data", count(self), count(other), ""));
        }
        if self.is_cached != other.is_cached {
            let text = |terms: &Self| if terms.is_cached { "a folder" } else { "none" }.to_owned();
            return Some(("the cache", text(self), text(other), ""));
        }
        let rest = [
            (
                "the content of images, their labels or the split",
                &self.data,
                &other.data,
                ". Each process needs the same photos, labels and decisions, in a shared folder or as a copy",
            ),
            ("the weights at the start", &self.weights, &other.weights, ""),
        ];
        for (what, own, others, advice) in rest {
            if own != others {
                return Some((
                    what,
                    format!("hash {}", &own[..own.len().min(8)]),
                    format!("hash {}", &others[..others.len().min(8)]),
                    advice,
                ));
            }
        }
        (self.progress != other.progress).then(|| {
            let text =
                |(phases, epochs, batches)| format!("phase {}, epoch {epochs}, batch {batches}", phases + 1);
            (
                "the checkpoint",
                text(self.progress),
                text(other.progress),
                ". Each process needs the same run folder",
            )
        })
    }
}
