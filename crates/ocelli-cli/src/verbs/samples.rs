//! `ocelli samples`

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;
use flate2::read::GzDecoder;
use ocelli::{NewFolder, io_reason};

use crate::errors::Failure;
use crate::output::{no_dash, println, quoted, shown};

/// The repository's folder `samples`, as `ci/samples` packs it.
const ARCHIVE: &[u8] = include_bytes!("../../samples.tar.gz");

/// The data set in it.
const DATA: &str = "emoji";

/// Write a small data set to try Ocelli on
///
/// 700 pictures of Google's Noto emoji in seven classes, 2.2 MB, with their licence. The folder must not exist yet.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ocelli samples
  ocelli samples /tmp/samples")]
pub struct Samples {
    /// Folder to write
    #[arg(value_name = "FOLDER", default_value = "samples")]
    folder: PathBuf,
}

impl Samples {
    pub fn run(&self) -> Result<(), Failure> {
        let folder = &self.folder;
        no_dash(folder, "FOLDER")?;
        check_new(folder)?;
        let cannot = |error: &io::Error| {
            Failure::Error(format!("cannot write {}: {}", shown(folder.display()), io_reason(error)))
        };
        unpack(folder).map_err(|error| cannot(&error))?;
        println!("samples  {}", shown(folder.display()));
        println!("next     ocelli train {}", quoted(folder.join(DATA).as_os_str()));
        Ok(())
    }
}

/// Refuses a name that is taken, by a link to nothing too.
fn check_new(folder: &Path) -> Result<(), Failure> {
    match folder.symlink_metadata() {
        Ok(_) => Err(Failure::Error(format!(
            "{}: it exists already; name a folder that does not exist yet:  ocelli samples FOLDER",
            shown(folder.display())
        ))),
        Err(_) => Ok(()),
    }
}

/// Writes the samples: they are there whole or not at all.
fn unpack(folder: &Path) -> io::Result<()> {
    let new = NewFolder::begin(folder)?;
    for entry in tar::Archive::new(GzDecoder::new(ARCHIVE)).entries()? {
        let mut entry = entry?;
        let path = new.path().join(entry.path()?);
        if entry.header().entry_type().is_dir() {
            fs::create_dir_all(path)?;
        } else {
            io::copy(&mut entry, &mut fs::File::create_new(path)?)?;
        }
    }
    new.finish()
}
