//! How another process asks a run to stop: by a file in its folder, which training looks for between batches.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::Result;
use crate::event::{Event, Observer};
use crate::file;
use crate::run::folder::RunFolder;

/// The file's name.
pub(crate) const FILE: &str = ".stop";

/// How often it is looked for.
const PAUSE: Duration = Duration::from_millis(200);

impl RunFolder {
    /// Asks the process that trains this run to stop after the current batch, with a checkpoint.
    ///
    /// # Errors
    /// Where the request cannot be written.
    pub fn request_stop(&self) -> Result<()> {
        file::write_whole(&self.path().join(FILE), b"")
    }

    /// Whether it was asked to stop, and has not stopped yet.
    pub fn is_stop_requested(&self) -> bool {
        self.path().join(FILE).exists()
    }

    /// Removes a request that was honoured, or that came too late.
    pub(crate) fn end_stop_request(&self) {
        if self.is_stop_requested() {
            // One that is left behind is removed before the run is resumed.
            let _ = ocelli_data::files::remove(self.path().join(FILE));
        }
    }
}

/// Asks training to stop once the file is there.
pub(crate) struct StopRequest {
    file: PathBuf,
    looked: Instant,
    is_there: bool,
}

impl StopRequest {
    pub(crate) fn of(run: &Path) -> Self {
        Self { file: run.join(FILE), looked: Instant::now(), is_there: false }
    }
}

impl Observer for StopRequest {
    fn observe(&mut self, _: &Event) -> Result<ControlFlow<()>> {
        if !self.is_there && self.looked.elapsed() >= PAUSE {
            self.looked = Instant::now();
            self.is_there = self.file.exists();
        }
        Ok(if self.is_there { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }
}
