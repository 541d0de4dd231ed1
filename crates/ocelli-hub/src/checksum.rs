//! Files that are published, and what tells that they came whole and unchanged.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use hmac_sha256::Hash as Sha256;

/// A file that is published somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteFile {
    /// Its address.
    pub url: String,
    /// Its name on this machine.
    pub name: String,
    /// What its content is checked against.
    pub checksum: Checksum,
    /// Under which licence it may be used.
    pub licence: String,
}

/// What is known of a file's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checksum {
    /// Its SHA-256, or the first digits of it: lower-case hexadecimal.
    Sha256(String),
    /// The server tells its SHA-256 in a header, as the Hugging Face hub does.
    FromServer,
    /// Nothing. The length alone is checked, and an interrupted download starts over.
    Unknown,
}

impl Checksum {
    /// A whole SHA-256.
    pub fn sha256(digits: &str) -> Option<Self> {
        if digits.len() == 64 { Self::prefix(digits) } else { None }
    }

    /// The first digits of a SHA-256, eight at least.
    pub fn prefix(digits: &str) -> Option<Self> {
        let hexadecimal = digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        ((8..=64).contains(&digits.len()) && hexadecimal).then(|| Self::Sha256(digits.to_owned()))
    }

    /// The digits that are known.
    pub fn digits(&self) -> Option<&str> {
        match self {
            Self::Sha256(digits) => Some(digits),
            Self::FromServer | Self::Unknown => None,
        }
    }
}

/// The SHA-256 of a file's content: 64 lower-case hexadecimal digits.
pub(crate) fn checksum_of(path: &Path) -> io::Result<String> {
    let mut hasher = Sha256::new();
    let (mut file, mut block) = (File::open(path)?, vec![0; 1 << 16]);
    loop {
        match file.read(&mut block)? {
            0 => break,
            read => hasher.update(&block[..read]),
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
