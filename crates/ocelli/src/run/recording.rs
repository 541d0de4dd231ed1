//! A learner's events in a folder, so that they can be shown while it trains.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ocelli_nn::Backbone;

use crate::error::{Error, Result};
use crate::event::{Event, Observer};
use crate::learner::Learner;
use crate::recipe::Recipe;
use crate::run::config::{Config, RunConfig};
use crate::run::data_event;
use crate::run::folder::{Recorder, RunFolder};
use crate::run::stop_request::StopRequest;

/// Records what a learner does in a folder, until it [ends](Self::end) or is dropped: see [`Learner::record`].
pub struct Recording {
    path: PathBuf,
    writing: Arc<Mutex<Option<Writing>>>,
}

/// What is there while it is recorded.
struct Writing {
    /// Holds the lock of the folder.
    folder: RunFolder,
    recorder: Recorder,
    stop: StopRequest,
}

struct RecordingObserver(Arc<Mutex<Option<Writing>>>);

fn locked(writing: &Mutex<Option<Writing>>) -> MutexGuard<'_, Option<Writing>> {
    writing.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Recording {
    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Records nothing more, and unlocks the folder.
    pub fn end(&self) {
        *locked(&self.writing) = None;
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.end();
    }
}

impl Observer for RecordingObserver {
    fn observe(&mut self, event: &Event) -> Result<ControlFlow<()>> {
        let mut writing = locked(&self.0);
        let Some(Writing { folder, recorder, stop }) = &mut *writing else {
            return Ok(ControlFlow::Continue(()));
        };
        recorder.record(event)?;
        if stop.observe(event)?.is_continue() {
            return Ok(ControlFlow::Continue(()));
        }
        // The request ends one call; the learner goes on with the next.
        folder.end_stop_request();
        *stop = StopRequest::of(folder.path());
        recorder.record(&Event::Stopped)?;
        Ok(ControlFlow::Break(()))
    }
}

impl<B: Backbone> Learner<B> {
    /// Records what this learner has done, and does from now on, in a folder that is read as a run's: a page that shows runs
    /// live shows it too, and a request to stop that is made there ends the current call. It is no run: its settings have no
    /// recipe, and it has neither checkpoints nor a model.
    ///
    /// # Errors
    /// [`Error::FolderNotEmpty`] where the folder holds anything; where it cannot be written.
    pub fn record(&mut self, folder: impl Into<PathBuf>) -> Result<Recording> {
        let folder = RunFolder::at(folder)?.locked()?;
        if folder.config().exists() {
            // Another process has taken it.
            return Err(Error::FolderNotEmpty { path: folder.path().to_owned() });
        }
        folder.sweep();
        folder.write_config(&Config {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            given: "Learner::record".to_owned(),
            directory: std::env::current_dir().unwrap_or_default(),
            settings: self.recorded_settings(),
        })?;
        self.data().write_record(folder.path())?;
        let mut recorder = folder.recorder(&[], self.data().skipped())?;
        let data = self.used_data();
        recorder.record(&data_event(&data))?;
        for text in data.notices() {
            recorder.record(&Event::Notice { text: text.clone() })?;
        }
        for record in &self.history {
            recorder.record(&Event::Epoch(record.clone()))?;
        }
        let path = folder.path().to_owned();
        let stop = StopRequest::of(&path);
        let writing = Arc::new(Mutex::new(Some(Writing { folder, recorder, stop })));
        self.observe(RecordingObserver(writing.clone()));
        Ok(Recording { path, writing })
    }

    /// Its settings as those of a run that has no recipe.
    fn recorded_settings(&self) -> RunConfig {
        let (data, options) = (self.data(), self.data().image_options());
        RunConfig {
            arch: self.arch().to_owned(),
            size: options.size,
            fit_to_photos: false,
            filter: options.filter,
            balanced_sampling: options.balanced_sampling,
            precision: Some(self.network().precision()),
            batch_size: data.batch_size(),
            seed: data.seed(),
            framing: options.framing,
            train: self.options.clone(),
            metric: self.best.metric,
            recipe: Recipe::from(Vec::new()),
            augmentation: options.augmentation.clone(),
            ..RunConfig::new(data.folders()[0])
        }
    }
}
