//! Runs, live: what their folders hold, while and after they train.

mod follow;
mod photo;
mod routes;
mod runs;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::options::Error;
use crate::site::{Site, Stopping};
use crate::watch::routes::{App, OPEN, routes};
use crate::watch::runs::Folder;

/// The most clients that follow events at the same time.
const FOLLOWERS: usize = 64;

/// The runs of a folder, or a single one, for a [`Server`](crate::Server) of a page that shows them.
pub struct Runs {
    app: Arc<App>,
}

impl Runs {
    /// `path` is the folder of a run, or a folder in which runs are, now or later. `program` is the command `ocelli`, with
    /// which a run is continued; without it none can be.
    ///
    /// # Errors
    /// Where there is no such folder.
    pub fn open(path: &Path, program: Option<PathBuf>) -> Result<Self, Error> {
        let app = App {
            folder: Folder::open(path)?,
            program,
            followers: Arc::new(Semaphore::new(FOLLOWERS)),
            stopping: Stopping::new(),
        };
        Ok(Self { app: Arc::new(app) })
    }
}

impl From<Runs> for Site {
    fn from(Runs { app }: Runs) -> Self {
        let stopping = app.stopping.clone();
        Self::new(routes(app), OPEN, stopping)
    }
}
