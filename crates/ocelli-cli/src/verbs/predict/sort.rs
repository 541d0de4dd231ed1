//! Photos in folders by predicted class.

use std::path::{Path, PathBuf};

use clap::Args;
use ocelli::{PhotoSorter, Placement, Prediction};

use crate::errors::Failure;
use crate::output::{eprintln, shown};
use crate::text::{count, counted};

/// Where photos are copied or linked to.
#[derive(Debug, Args)]
pub struct SortFlags {
    /// Copy photos into folders by predicted class
    ///
    /// A photo goes to DIR/CLASS, or to DIR/_no-class where no class was predicted; with several labels, to the
    /// folder of each. Nothing is moved or overwritten: a second a.jpg becomes a-2.jpg, and a photo that is there
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
    /// What sorts photos, if that is asked for. `photos` are the photos and folders that were named.
    pub fn sorter(&self, classes: &[String], photos: &[PathBuf]) -> Result<Option<Sorter>, Failure> {
        let (folder, placement) = match (&self.copy_to, &self.link_to) {
            (Some(folder), _) => (folder, Placement::Copy),
            (None, Some(folder)) => (folder, Placement::SymbolicLink),
            (None, None) => return Ok(None),
        };
        let photos: Vec<&Path> = photos.iter().map(PathBuf::as_path).collect();
        let sorter = PhotoSorter::new(folder, classes, placement, &photos)?;
        for (class, name) in sorter.changed_names() {
            eprintln!("note: photos of the class \"{}\" go to the folder {}", shown(class), shown(name));
        }
        Ok(Some(Sorter { sorter, placement }))
    }
}

/// Sorts photos, and says how many.
pub struct Sorter {
    sorter: PhotoSorter,
    placement: Placement,
}

impl Sorter {
    pub fn place(&mut self, prediction: &Prediction) -> Result<(), Failure> {
        Ok(self.sorter.place(prediction)?)
    }

    pub fn print(&self) {
        let done = match self.placement {
            Placement::Copy => "copied",
            Placement::SymbolicLink => "linked",
        };
        let PhotoSorter { placed, present, .. } = &self.sorter;
        let present = if *present > 0 { format!(", {} were there", count(*present)) } else { String::new() };
        let folder = shown(self.sorter.folder().display());
        eprintln!("{folder}: {} {done}{present}", counted(*placed, "photo"));
    }
}
