//! A set of paths that takes little memory.

use std::collections::HashSet;
use std::path::Path;

use ocelli_data::text_of;

/// A set of paths, held as digests of 16 bytes.
#[derive(Debug, Clone, Default)]
pub struct PathSet {
    digests: HashSet<[u8; 16]>,
}

impl PathSet {
    /// Adds a path; `false` if the set has it.
    pub fn insert(&mut self, path: &Path) -> bool {
        self.insert_text(&text_of(path))
    }

    /// Adds a path by its text, as tables have it; `false` if the set has it.
    pub(crate) fn insert_text(&mut self, path: &str) -> bool {
        self.digests.insert(digest(path))
    }

    /// Whether the set has a path.
    pub fn contains(&self, path: &Path) -> bool {
        !self.digests.is_empty() && self.digests.contains(&digest(&text_of(path)))
    }
}

fn digest(path: &str) -> [u8; 16] {
    *blake3::hash(path.as_bytes()).as_bytes().first_chunk().expect("a hash has 32 bytes")
}
