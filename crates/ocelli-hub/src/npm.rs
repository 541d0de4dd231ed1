//! Packages of npm's registry, as archives in the cache folder.

use std::path::{Path, PathBuf};

use crate::checksum::{Checksum, RemoteFile, checksum_of};
#[cfg(feature = "download")]
use crate::download::{Watch, download};
use crate::error::{Error, Result};
#[cfg(feature = "download")]
use crate::retry::RetryPolicy;

/// One version of an npm package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NpmPackage {
    /// Its name.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// The SHA-256 of its archive.
    pub sha256: &'static str,
    /// Under which licence it may be used.
    pub licence: &'static str,
}

/// The address of the registry: that of `NPM_CONFIG_REGISTRY`, or npm's own.
pub fn npm_registry() -> String {
    let set = std::env::var("NPM_CONFIG_REGISTRY").ok().filter(|url| !url.is_empty());
    set.unwrap_or_else(|| "https://registry.npmjs.org".to_owned())
}

impl NpmPackage {
    /// What is downloaded from a registry.
    pub fn remote(&self, registry: &str) -> RemoteFile {
        let Self { name, version, .. } = self;
        let registry = registry.trim_end_matches('/');
        RemoteFile {
            url: format!("{registry}/{name}/-/{name}-{version}.tgz"),
            name: format!("{name}-{version}.tgz"),
            checksum: Checksum::Sha256(self.sha256.to_owned()),
            licence: self.licence.to_owned(),
        }
    }

    /// The archive, if it is in the cache folder; one that is not as published does not count.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be read.
    pub fn find(&self, cache: &Path) -> Result<Option<PathBuf>> {
        let path = self.path(cache);
        if !path.is_file() {
            return Ok(None);
        }
        let found = checksum_of(&path).map_err(Error::io("read", &path))?;
        Ok((found == self.sha256).then_some(path))
    }

    /// The archive, downloaded from a registry unless it is in the cache folder.
    ///
    /// # Errors
    /// Those of [`download`].
    #[cfg(feature = "download")]
    pub fn pull(
        &self,
        registry: &str,
        cache: &Path,
        retry: &RetryPolicy,
        watch: &mut Watch,
    ) -> Result<PathBuf> {
        if let Some(path) = self.find(cache)? {
            return Ok(path);
        }
        let path = self.path(cache);
        download(&self.remote(registry), &path, retry, watch)?;
        Ok(path)
    }

    /// Where the archive is in a cache folder.
    pub fn path(&self, cache: &Path) -> PathBuf {
        cache.join("npm").join(format!("{}-{}.tgz", self.name, self.version))
    }
}
