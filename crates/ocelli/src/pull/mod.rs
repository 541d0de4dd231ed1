//! Pretrained weights by name: found on this machine, or fetched from where they are published.
//!
//! torchvision's weights come from its own server, timm's from the Hugging Face hub. A file that the cache
//! folder, torch hub's or Hugging Face's has already is used where it lies. What is fetched goes into the cache
//! folder under a name that says what it is, whole and checked, or not at all; a transfer that was cut goes on
//! where it stopped. Nothing is fetched unasked.
//!
//! ```no_run
//! use ocelli::{Arch, WeightStore};
//! use std::ops::ControlFlow;
//!
//! # fn main() -> ocelli::Result<()> {
//! let store = WeightStore::from_environment()?;
//! let path = store.pull(Arch::EfficientNetLite1, &mut |_| ControlFlow::Continue(()))?;
//! # Ok(())
//! # }
//! ```
//!
//! | environment variable | what it sets | default |
//! |---|---|---|
//! | `OCELLI_CACHE` | the cache folder, weights are in `weights/` | `ocelli` in the user's cache folder |
//! | `OCELLI_TORCHVISION_URL` | a mirror of torchvision's weights | `https://download.pytorch.org/models` |
//! | `HF_ENDPOINT` | a mirror of the Hugging Face hub | `https://huggingface.co` |
//! | `TORCH_HOME` | the folder in which torch hub keeps `hub/checkpoints` | `~/.cache/torch` |
//! | `HF_HUB_CACHE`, `HF_HOME` | Hugging Face's cache, the folder that has it in `hub` | `~/.cache/huggingface` |
//! | `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY` | proxies | none |

mod error;
mod places;
mod transfer;

use std::path::{Path, PathBuf};

use ocelli_data::files;
use ocelli_nn::{Arch, Publisher, TensorFile};

pub use error::PullError;
pub use transfer::{Checksum, Patience, PullEvent, RemoteFile, Watch, download};

use crate::cache::default_cache;
use crate::error::{Error, Result};
use crate::file;
use places::{hugging_face_cache, snapshot, torch_hub};
use transfer::checksum_of;

/// Where pretrained weights are looked for, and where they are fetched from.
#[derive(Debug, Clone)]
pub struct WeightStore {
    /// The folder for weights that are fetched.
    pub folder: PathBuf,
    /// torch hub's folder of checkpoints.
    pub torch_hub: Option<PathBuf>,
    /// The Hugging Face hub's cache.
    pub hugging_face: Option<PathBuf>,
    /// The address before the names of torchvision's files.
    pub torchvision_url: String,
    /// The Hugging Face hub's address.
    pub hugging_face_url: String,
    /// When a transfer is given up.
    pub patience: Patience,
}

/// The hub's name for a repository's weights.
const HUB_FILE: &str = "model.safetensors";

impl WeightStore {
    /// The places that the environment names, or the usual ones.
    ///
    /// # Errors
    /// Where there is no place for the cache: see [`default_cache`].
    pub fn from_environment() -> Result<Self> {
        Ok(Self::with_cache(default_cache()?))
    }

    /// As [`from_environment`](Self::from_environment), with another cache folder.
    pub fn with_cache(cache: impl AsRef<Path>) -> Self {
        let url = |name: &str, usual: &str| {
            let set = std::env::var(name).ok().filter(|url| !url.is_empty());
            set.as_deref().unwrap_or(usual).trim_end_matches('/').to_owned()
        };
        Self {
            folder: cache.as_ref().join("weights"),
            torch_hub: torch_hub(),
            hugging_face: hugging_face_cache(),
            torchvision_url: url("OCELLI_TORCHVISION_URL", "https://download.pytorch.org/models"),
            hugging_face_url: url("HF_ENDPOINT", "https://huggingface.co"),
            patience: Patience::default(),
        }
    }

    /// The file with a backbone's weights, where this machine has it; nothing is fetched. Files whose checksum is
    /// published are checked. Beside a file in the cache folder stands its BLAKE3 hash, in a file that `b3sum --check`
    /// reads: it is written when the file has been fetched, or found for the first time, and compared ever after.
    ///
    /// # Errors
    /// [`PullError::Damaged`] where the file in the cache folder is not what was published, or found first.
    pub fn find(&self, arch: Arch) -> Result<Option<PathBuf>> {
        let publisher = arch.info().publisher;
        let own = self.folder.join(file_name(publisher));
        let record = record_of(&own);
        if own.is_file() {
            if let Some(expected) = read_record(&record)? {
                let found = files::hash(&own).map_err(Error::io("read", &own))?.to_hex().to_string();
                let (algorithm, path) = ("BLAKE3 hash", own.clone());
                return match expected == found {
                    true => Ok(Some(own)),
                    false => Err(PullError::damaged(path, algorithm, &expected, &found).into()),
                };
            }
            return match self.differs(&own, &published_checksum(publisher))? {
                None => {
                    // Where it cannot be kept, the file is found for the first time again.
                    let _ = write_record(&own);
                    Ok(Some(own))
                }
                Some((expected, found)) => Err(PullError::damaged(own, "SHA-256", &expected, &found).into()),
            };
        }
        if record.is_file() {
            // The file was removed, and another may be put in its place.
            let _ = files::remove(&record);
        }
        let (elsewhere, checksum) = match publisher {
            Publisher::Torchvision { file } => {
                let checksum = published_checksum(publisher);
                (self.torch_hub.as_ref().map(|folder| folder.join(file)), checksum)
            }
            Publisher::Timm { repository, .. } => {
                let found =
                    self.hugging_face.as_ref().and_then(|cache| snapshot(cache, repository, HUB_FILE));
                // The cache keeps content under its checksum, and links to it.
                let content = found.as_ref().and_then(|path| path.canonicalize().ok());
                let name = content.as_ref().and_then(|path| path.file_name()?.to_str());
                let checksum = name.and_then(Checksum::sha256).unwrap_or(Checksum::Unknown);
                (found, checksum)
            }
        };
        match elsewhere.filter(|path| path.is_file()) {
            Some(path) if self.differs(&path, &checksum)?.is_none() => Ok(Some(path)),
            _ => Ok(None),
        }
    }

    /// The file with a backbone's weights, fetched where this machine does not have it; `watch` is told what
    /// happens, and may stop it. What came until then is kept for the next time.
    ///
    /// # Errors
    /// [`Error::Pull`], which says which file to put where when it cannot be fetched; [`Error::Stopped`] where
    /// `watch` stops it; [`Error::Io`] where the file cannot be written.
    pub fn pull(&self, arch: Arch, watch: &mut Watch) -> Result<PathBuf> {
        match self.find(arch) {
            Ok(Some(path)) => return Ok(path),
            Ok(None) | Err(Error::Pull(PullError::Damaged { .. })) => {}
            Err(error) => return Err(error),
        }
        let file = self.remote(arch);
        let path = self.folder.join(&file.name);
        files::sweep(&self.folder, files::LEFT);
        // What is fetched is another file, until it is recorded.
        let record = record_of(&path);
        if record.is_file() {
            files::remove(&record).map_err(Error::io("remove", &record))?;
        }
        download(&file, &path, &self.patience, watch)?;
        write_record(&path)?;
        Ok(path)
    }

    /// What would be fetched for a backbone, and its name in [`folder`](Self::folder).
    pub fn remote(&self, arch: Arch) -> RemoteFile {
        let info = arch.info();
        let url = match info.publisher {
            Publisher::Torchvision { file } => format!("{}/{file}", self.torchvision_url),
            Publisher::Timm { repository, .. } => {
                format!("{}/{repository}/resolve/main/{HUB_FILE}", self.hugging_face_url)
            }
        };
        RemoteFile {
            url,
            name: file_name(info.publisher),
            checksum: published_checksum(info.publisher),
            licence: info.licence.to_owned(),
        }
    }

    /// What was expected and what was found, where a file is not what its checksum says.
    fn differs(&self, path: &Path, checksum: &Checksum) -> Result<Option<(String, String)>> {
        let Some(expected) = checksum.digits() else { return Ok(None) };
        let found = checksum_of(path).map_err(Error::io("read", path))?;
        Ok((!found.starts_with(expected)).then(|| (expected.to_owned(), found[..expected.len()].to_owned())))
    }
}

/// The file's name in the cache folder.
fn file_name(publisher: Publisher) -> String {
    match publisher {
        Publisher::Torchvision { file } => file.to_owned(),
        Publisher::Timm { repository, .. } => {
            let name = repository.rsplit('/').next().unwrap_or(repository);
            format!("{name}.safetensors")
        }
    }
}

/// The file with the hash of one in the cache folder.
fn record_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".b3");
    name.into()
}

/// A hash that was recorded; nothing where none was, or it cannot be read any more.
fn read_record(record: &Path) -> Result<Option<String>> {
    match files::read(record) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        text => {
            let text = text.map_err(Error::io("read", record))?;
            let text = String::from_utf8_lossy(&text);
            Ok(text.split_once("  ").map(|(hash, _)| hash.to_owned()))
        }
    }
}

fn write_record(path: &Path) -> Result<()> {
    let hash = files::hash(path).map_err(Error::io("read", path))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    file::write(&record_of(path), format!("{}  {name}\n", hash.to_hex()).as_bytes())
}

/// What is known of the content before it is asked for. The hub tells it with the file.
fn published_checksum(publisher: Publisher) -> Checksum {
    match publisher {
        Publisher::Torchvision { file } => {
            let end = file.rsplit_once('-').map(|(_, end)| end.trim_end_matches(".pth"));
            end.and_then(Checksum::prefix).unwrap_or(Checksum::Unknown)
        }
        Publisher::Timm { .. } => Checksum::FromServer,
    }
}

/// The weights that this crate holds itself, as the bytes of a safetensors file.
pub fn built_in_weights(arch: Arch) -> Option<&'static [u8]> {
    (arch == Arch::EfficientNetLite0).then_some(ocelli_lite0::WEIGHTS)
}

/// A backbone's pretrained weights: built in, or from this machine; `cache` is the cache folder where it is not
/// the usual one.
///
/// # Errors
/// [`Error::NoWeights`] where they are not at hand.
pub(crate) fn pretrained_weights(arch: Arch, cache: Option<&Path>) -> Result<TensorFile> {
    if let Some(bytes) = built_in_weights(arch) {
        return Ok(TensorFile::parse(bytes, "the built-in weights")?);
    }
    let store =
        cache.map_or_else(WeightStore::from_environment, |cache| Ok(WeightStore::with_cache(cache)))?;
    if let Some(path) = store.find(arch)? {
        return Ok(TensorFile::read(path)?);
    }
    let RemoteFile { url, name, .. } = store.remote(arch);
    Err(Error::NoWeights { architecture: arch.to_string(), url, path: store.folder.join(name) })
}
