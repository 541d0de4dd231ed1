//! What is said of a weights file.

use std::path::Path;

use ocelli_hub::WeightStore;
use ocelli_nn::{Arch, Publisher, TensorFile};
use serde::Serialize;

use crate::error::Result;
use crate::summary::FileInfo;
use crate::summary::model::PublishedBackbone;

/// What is known of a weights file.
#[derive(Debug, Clone, Serialize)]
pub struct WeightsSummary {
    /// The file.
    #[serde(flatten)]
    pub file: FileInfo,
    /// The backbone whose published weights have this file's name, and whose tensors it holds; `None` where there
    /// is none.
    pub arch: Option<String>,
    /// What is published about it.
    pub published: Option<PublishedBackbone>,
    /// The image side in pixels that the weights were trained at.
    pub size: Option<usize>,
    /// What is subtracted from the pixels (0 to 255) of red, green, blue.
    pub mean: Option<[f32; 3]>,
    /// What they are then divided by.
    pub std: Option<[f32; 3]>,
    /// The published accuracy on ImageNet's validation set.
    pub accuracy: Option<f32>,
}

impl WeightsSummary {
    pub(crate) fn of(path: &Path, tensors: &TensorFile) -> Result<Self> {
        let arch = published_as(path).filter(|arch| has_tensors_of(*arch, tensors));
        let info = arch.map(Arch::info);
        Ok(Self {
            file: FileInfo::of(path, tensors)?,
            arch: arch.map(|arch| arch.to_string()),
            published: arch.map(PublishedBackbone::of),
            size: info.map(|info| info.size),
            mean: info.map(|info| info.mean),
            std: info.map(|info| info.std),
            accuracy: info.map(|info| info.accuracy),
        })
    }
}

/// The backbone whose published weights are in a file of this name: where Ocelli, torch hub or the Hugging Face
/// hub have put it.
fn published_as(path: &Path) -> Option<Arch> {
    let name = path.file_name()?.to_str()?;
    // Only names are asked for: no folder is looked at.
    let store = WeightStore::with_cache("");
    let in_hub = |repository: &str| {
        let folder = format!("models--{}", repository.replace('/', "--"));
        path.components().any(|part| part.as_os_str() == folder.as_str())
    };
    Arch::ALL.iter().copied().find(|arch| {
        store.remote(*arch).name == name
            || matches!(arch.info().publisher, Publisher::Timm { repository, .. } if in_hub(repository))
    })
}

/// Whether the tensors have as many values as the backbone with its classifier.
fn has_tensors_of(arch: Arch, tensors: &TensorFile) -> bool {
    let statistics = |name: &&str| !name.ends_with(".running_mean") && !name.ends_with(".running_var");
    let values = tensors.names().filter(statistics).filter_map(|name| tensors.get(name));
    let parameters: usize = values.map(|tensor| tensor.values.len()).sum();
    parameters == arch.info().parameters
}
