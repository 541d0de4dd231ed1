//! Where other programs keep weights that they have fetched.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// torch hub's folder of checkpoints: `$TORCH_HOME/hub/checkpoints`.
pub fn torch_hub() -> Option<PathBuf> {
    let home = variable("TORCH_HOME").map(PathBuf::from).or_else(|| Some(user_cache()?.join("torch")))?;
    Some(home.join("hub").join("checkpoints"))
}

/// The Hugging Face hub's cache: `$HF_HUB_CACHE`, or `$HF_HOME/hub`.
pub fn hugging_face_cache() -> Option<PathBuf> {
    let own = variable("HF_HUB_CACHE").or_else(|| variable("HUGGINGFACE_HUB_CACHE")).map(PathBuf::from);
    own.or_else(|| {
        let home = variable("HF_HOME").map(PathBuf::from);
        Some(home.or_else(|| Some(user_cache()?.join("huggingface")))?.join("hub"))
    })
}

/// A file of a repository in the hub's cache: that of the main branch, or any other version there is.
///
/// ```text
/// models--timm--tf_efficientnet_lite1.in1k/
///   refs/main                            the commit
///   snapshots/COMMIT/model.safetensors   a link into blobs/, whose names are checksums
/// ```
pub fn snapshot(cache: &Path, repository: &str, file: &str) -> Option<PathBuf> {
    let folder = cache.join(format!("models--{}", repository.replace('/', "--")));
    let snapshots = folder.join("snapshots");
    let main = fs::read_to_string(folder.join("refs").join("main")).ok();
    let main = main.map(|commit| snapshots.join(commit.trim()).join(file));
    if let Some(path) = main.filter(|path| path.is_file()) {
        return Some(path);
    }
    let mut versions: Vec<PathBuf> =
        fs::read_dir(snapshots).ok()?.flatten().map(|entry| entry.path().join(file)).collect();
    versions.sort();
    versions.into_iter().find(|path| path.is_file())
}

/// Both programs keep to `~/.cache` on every system.
fn user_cache() -> Option<PathBuf> {
    variable("XDG_CACHE_HOME").map(PathBuf::from).or_else(|| Some(etcetera::home_dir().ok()?.join(".cache")))
}

fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}
