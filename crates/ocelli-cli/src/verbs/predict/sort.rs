//! Photos in folders by predicted class.

use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::ProgressBar;
use ocelli::{KeptRow, PhotoSorter, Placement, Prediction};

use crate::errors::Failure;
use crate::output::{eprintln, message, no_dash, shown};
use crate::text::{count, counted};

/// Where photos are copied or linked to.
#[derive(Debug, Args)]
pub struct SortFlags {
    /// Copy photos into folders by predicted class
    ///
    /// A photo goes to DIR/CLASS, or to DIR/_no-class where no class was predicted; with several labels, to the
    /// folder of each; with --unknown, to DIR/_unknown if it is called unknown. The rows that --resume-from keeps
    /// count as predictions. Nothing is moved or overwritten: a second a.jpg becomes a-2.jpg, and a photo that is there
    /// with the same name and content is not copied again. Class names that are no safe folder names are changed,
    /// which is said. DIR must not be in a folder of the photos, nor the other way round.
    #[arg(long, value_name = "DIR", conflicts_with = "link_to")]
    copy_to: Option<PathBuf>,
    /// The same with symbolic links instead of copies
    ///
    /// Links lead to the photos' absolute paths, and take no space.
    #[arg(long, value_name = "DIR")]
    link_to: Option<PathBuf>,
}

impl SortFlags {
    /// Checks that a folder is named.
    pub fn check(&self) -> Result<(), Failure> {
        self.copy_to.iter().try_for_each(|folder| no_dash(folder, "--copy-to"))?;
        self.link_to.iter().try_for_each(|folder| no_dash(folder, "--link-to"))
    }

    /// What sorts photos, if that is asked for. `photos` are the photos and folders that were named; with
    /// `unknown`, photos that are called so have a folder of their own.
    pub fn sorter(
        &self,
        classes: &[String],
        photos: &[PathBuf],
        unknown: bool,
    ) -> Result<Option<Sorter>, Failure> {
        let (folder, placement) = match (&self.copy_to, &self.link_to) {
            (Some(folder), _) => (folder, Placement::Copy),
            (None, Some(folder)) => (folder, Placement::SymbolicLink),
            (None, None) => return Ok(None),
        };
        let photos: Vec<&Path> = photos.iter().map(PathBuf::as_path).collect();
        let sorter = PhotoSorter::new(folder, classes, placement, &photos)?.unknown(unknown);
        for (class, name) in sorter.changed_names() {
            eprintln!("note: photos of the class \"{}\" go to the folder {}", shown(class), shown(name));
        }
        Ok(Some(Sorter { sorter, placement, failed: 0 }))
    }
}

/// Sorts photos, and says how many.
pub struct Sorter {
    sorter: PhotoSorter,
    placement: Placement,
    /// Photos that could not be placed, which has been said.
    pub failed: usize,
}

impl Sorter {
    pub fn place(&mut self, prediction: &Prediction, bar: &ProgressBar) -> ocelli::Result<()> {
        let placed = self.sorter.place(prediction);
        self.count(placed, bar)
    }

    /// Places the photo of a row that was there.
    pub fn place_kept(&mut self, row: &KeptRow, bar: &ProgressBar) -> ocelli::Result<()> {
        let placed = self.sorter.place_kept(row);
        self.count(placed, bar)
    }

    /// What is wrong with a photo alone is said, and does not stop the others.
    fn count(&mut self, placed: ocelli::Result<()>, bar: &ProgressBar) -> ocelli::Result<()> {
        match placed {
            Err(ocelli::Error::Photo { path, reason }) => {
                let (path, reason) = (shown(path.display()), message(&reason));
                bar.suspend(|| eprintln!("{path}: not {}: {reason}", self.done()));
                self.failed += 1;
                Ok(())
            }
            placed => placed,
        }
    }

    fn done(&self) -> &'static str {
        match self.placement {
            Placement::Copy => "copied",
            Placement::SymbolicLink => "linked",
        }
    }

    pub fn print(&self) {
        let done = self.done();
        let PhotoSorter { placed, present, .. } = &self.sorter;
        let present = if *present > 0 { format!(", {} were there", count(*present)) } else { String::new() };
        let failed = match self.failed {
            0 => String::new(),
            failed => format!(", {} could not be {done}", count(failed)),
        };
        let folder = shown(self.sorter.folder().display());
        eprintln!("{folder}: {} {done}{present}{failed}", counted(*placed, "photo"));
    }
}
