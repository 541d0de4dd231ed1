//! `ocelli watch`

use std::path::PathBuf;

use clap::Args;
use ocelli_serve::Runs;

use crate::errors::Failure;
use crate::flags::listen::{ListenFlags, Log, failure};
use crate::invocation;
use crate::output::shown;

/// Show training runs in a browser, live
///
/// Curves of losses, metrics and learning rates grow while a run trains; predictions for a few validation photos,
/// and where the time goes, come with each epoch. Runs can be compared, stopped with a checkpoint, and continued.
/// What is shown is read from the runs' folders, so the page can be opened late, or after a crash.
///
/// A run that is continued from the page goes on when this command ends.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ocelli watch
  ocelli watch runs/photos-1 --port 0")]
pub struct Watch {
    /// Folder of a run, or folder of runs
    #[arg(value_name = "FOLDER", default_value = "runs")]
    folder: PathBuf,
    #[command(flatten)]
    listen: ListenFlags,
}

impl Watch {
    pub fn run(&self) -> Result<(), Failure> {
        let listening = self.listen.listening(Log::None)?;
        let runs = Runs::open(&self.folder, invocation::program()).map_err(failure)?;
        listening.run(runs, &shown(self.folder.display()))
    }
}
