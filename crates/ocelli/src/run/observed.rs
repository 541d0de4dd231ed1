//! What other processes see of a run, in whatever state it is.

use std::path::PathBuf;

use ocelli_data::files;
use serde::Serialize;
use serde_json::Value;

use crate::data::recorded::Recorded;
use crate::error::Result;
use crate::run::config::{Config, RunConfig};
use crate::run::folder::{EVENTS, LOCK, RunFolder, event_of};

/// What a run is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum RunState {
    /// A process is training it.
    Running,
    /// A process is training it, and was asked to stop.
    Stopping,
    /// It was stopped, and can be resumed.
    Stopped,
    /// Its process ended without being asked to, by a signal, an error or a power cut; it can be resumed.
    Interrupted,
    /// It is finished.
    Finished,
}

/// The settings of a run, as it began.
#[derive(Debug, Clone)]
pub struct RunSettings {
    /// Ocelli's version.
    pub version: String,
    /// The command.
    pub given: String,
    /// The folder in which it was given.
    pub directory: PathBuf,
    /// Everything that determines the result.
    pub settings: RunConfig,
}

impl RunFolder {
    /// What the run is doing, from what is on disk.
    pub fn state(&self) -> RunState {
        if self.checksums().exists() {
            return RunState::Finished;
        }
        if files::is_locked(self.path().join(LOCK)) {
            return if self.is_stop_requested() { RunState::Stopping } else { RunState::Running };
        }
        let events = files::read(self.events()).unwrap_or_default();
        let last = String::from_utf8_lossy(&events).lines().rev().find_map(Self::event);
        match last.is_some_and(|event| event["event"] == "stopped") {
            true => RunState::Stopped,
            false => RunState::Interrupted,
        }
    }

    /// Path of the events, one JSON object per line.
    pub fn events(&self) -> PathBuf {
        self.path().join(EVENTS)
    }

    /// The event of a line of [`events`](Self::events); `None` where the line is damaged or incomplete.
    pub fn event(line: &str) -> Option<Value> {
        event_of(line)
    }

    /// The settings that the run began with.
    ///
    /// # Errors
    /// Where they cannot be read, or have been changed.
    pub fn settings(&self) -> Result<RunSettings> {
        let Config { version, given, directory, settings } = Config::of_run(self, None)?;
        Ok(RunSettings { version, given, directory, settings })
    }

    /// The id of a photo, by its row in `photos.csv` counted from 0, and the BLAKE3 digest of its file; `None` where there
    /// are fewer.
    ///
    /// # Errors
    /// Where `photos.csv` cannot be read.
    pub fn photo(&self, row: usize) -> Result<Option<(String, [u8; 32])>> {
        let recorded = Recorded::read(self.path(), true)?;
        let id = recorded.ids().nth(row).map(str::to_owned);
        Ok(id.and_then(|id| recorded.digest(&id).copied().map(|digest| (id, digest))))
    }
}
