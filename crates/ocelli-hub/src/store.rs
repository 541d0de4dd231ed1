//! Where pretrained weights are looked up, and what is downloaded where they are missing.

use std::path::{Path, PathBuf};

use ocelli_data::files;
use ocelli_nn::{Arch, Publisher};

use crate::cache::default_cache;
use crate::checksum::{Checksum, RemoteFile, checksum_of};
#[cfg(feature = "download")]
use crate::download::{Watch, download};
use crate::error::{Error, Result};
use crate::other_caches::{hugging_face_cache, snapshot, torch_hub};
use crate::retry::RetryPolicy;

/// Where pretrained weights are looked up, and where they are downloaded from.
#[derive(Debug, Clone)]
pub struct WeightStore {
    /// The folder for downloaded weights.
    pub folder: PathBuf,
    /// torch hub's folder of checkpoints.
    pub torch_hub: Option<PathBuf>,
    /// The Hugging Face hub's cache.
    pub hugging_face: Option<PathBuf>,
    /// The address before the names of torchvision's files.
    pub torchvision_url: String,
    /// The Hugging Face hub's address.
    pub hugging_face_url: String,
    /// Timeouts of a download, and when it is given up.
    pub retry: RetryPolicy,
}

/// The hub's name for a repository's weights.
const HUB_FILE: &str = "model.safetensors";

impl WeightStore {
    /// The folders and addresses that the environment names, or the usual ones.
    ///
    /// # Errors
    /// [`Error::NoCacheFolder`]: see [`default_cache`].
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
            retry: RetryPolicy::default(),
        }
    }

    /// The file with a backbone's weights, if this machine has it; nothing is downloaded. Files whose
    /// checksum is published are checked. The BLAKE3 hash of a file in the cache folder is beside it, in a
    /// file that `b3sum --check` reads: it is written when the file has been downloaded, or found for the
    /// first time, and compared ever after.
    ///
    /// # Errors
    /// [`Error::Damaged`] where the file in the cache folder is not what was published, or found first.
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
                    false => Err(Error::damaged(path, algorithm, &expected, &found)),
                };
            }
            return match self.differs(&own, &published_checksum(publisher))? {
                None => {
                    // Where it cannot be written, the next run hashes the file again.
                    let _ = write_record(&own);
                    Ok(Some(own))
                }
                Some((expected, found)) => Err(Error::damaged(own, "SHA-256", &expected, &found)),
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

    /// The file with a backbone's weights, downloaded if this machine does not have it; `watch` is called
    /// with what happens, and may stop it. What has been received until then is kept for the next download.
    ///
    /// # Errors
    /// [`Error::Stopped`] where `watch` stops it; [`Error::Io`] where the file cannot be written; any other
    /// of [`Error`]'s where it cannot be downloaded: they say which file to put where.
    #[cfg(feature = "download")]
    pub fn pull(&self, arch: Arch, watch: &mut Watch) -> Result<PathBuf> {
        match self.find(arch) {
            Ok(Some(path)) => return Ok(path),
            Ok(None) | Err(Error::Damaged { .. }) => {}
            Err(error) => return Err(error),
        }
        let file = self.remote(arch);
        let path = self.folder.join(&file.name);
        files::sweep(&self.folder, files::LEFT);
        remove_record(&path)?;
        download(&file, &path, &self.retry, watch)?;
        write_record(&path)?;
        Ok(path)
    }

    /// Keeps these bytes as the file with a backbone's weights, in place of what would be downloaded, and of one that is
    /// there; returns its path. Whoever reads it sees what it is by its bytes, not by its name.
    ///
    /// # Errors
    /// [`Error::Io`], or that of the file system where it cannot be written.
    pub fn keep(&self, arch: Arch, bytes: &[u8]) -> Result<PathBuf> {
        let path = self.folder.join(file_name(arch.info().publisher));
        std::fs::create_dir_all(&self.folder).map_err(Error::io("make the folder", &self.folder))?;
        remove_record(&path)?;
        ocelli_data::write_whole(&path, bytes)?;
        write_record(&path)?;
        Ok(path)
    }

    /// What would be downloaded for a backbone, and its name in [`folder`](Self::folder).
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

/// What is put in a file's place is another one, until it is recorded.
fn remove_record(path: &Path) -> Result<()> {
    let record = record_of(path);
    match record.is_file() {
        true => files::remove(&record).map_err(Error::io("remove", &record)),
        false => Ok(()),
    }
}

fn write_record(path: &Path) -> Result<()> {
    let hash = files::hash(path).map_err(Error::io("read", path))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let record = record_of(path);
    Ok(ocelli_data::write_whole(&record, format!("{}  {name}\n", hash.to_hex()).as_bytes())?)
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
