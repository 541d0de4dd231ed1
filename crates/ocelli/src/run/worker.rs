//! The part of a run's other processes: they compute as the first one does, and write nothing.

use std::path::Path;

use ocelli_nn::{AnyBackbone, Arch, Backbone};

use crate::data::ImageData;
use crate::error::Result;
use crate::event::Observer;
use crate::learner::Learner;
use crate::processes::agreement;
use crate::run::arch_choice::resolved;
use crate::run::config::{RunConfig, RunEnv};
use crate::run::folder::RunFolder;
use crate::run::new_learner;
use crate::run::resume::{Moved, Reopened, still_to_do};
use crate::run::run_recipe::run_recipe;
use crate::run::tracker::Tracker;

/// A run's part in a process other than the first of [`RunEnv::processes`], which has the [`Run`](crate::Run)
/// itself. Each step of one has its counterpart in the other.
pub struct Worker<B: Backbone = AnyBackbone> {
    learner: Learner<B>,
    tracker: Tracker,
    settings: RunConfig,
}

impl Worker {
    /// The counterpart of [`Run::prepare`](crate::Run::prepare), with the same settings.
    ///
    /// # Errors
    /// As there; [`Error::ProcessesDiffer`](crate::Error::ProcessesDiffer) where other processes have something else.
    pub fn prepare(settings: &RunConfig, env: &RunEnv) -> Result<Self> {
        let (settings, _) = &resolved(settings, env)?;
        settings.arch.parse::<Arch>()?;
        Self::prepare_with(settings, env, |data| Ok(settings.pretrained(data, env)?.0))
    }

    /// The counterpart of [`Run::resume`](crate::Run::resume), with the same run folder, which is only read.
    ///
    /// # Errors
    /// As there; [`Error::ProcessesDiffer`](crate::Error::ProcessesDiffer) where other processes have something else.
    pub fn resume(run: &Path, env: &RunEnv, moved: &Moved) -> Result<Self> {
        Self::resume_with(run, env, moved, |settings, data| Ok(settings.pretrained(data, env)?.0))
    }
}

impl<B: Backbone> Worker<B> {
    /// The counterpart of [`Run::prepare_with`](crate::Run::prepare_with).
    ///
    /// # Errors
    /// As [`prepare`](Worker::prepare), and any error of `learner`.
    pub fn prepare_with(
        settings: &RunConfig,
        env: &RunEnv,
        learner: impl FnOnce(ImageData) -> Result<Learner<B>>,
    ) -> Result<Self> {
        let (learner, settings, _) = new_learner(settings, env, learner)?;
        Ok(Self { learner, tracker: Tracker::new(None), settings })
    }

    /// The counterpart of [`Run::resume_with`](crate::Run::resume_with).
    ///
    /// # Errors
    /// As [`resume`](Worker::resume), and any error of `learner`.
    pub fn resume_with(
        run: &Path,
        env: &RunEnv,
        moved: &Moved,
        learner: impl FnOnce(&RunConfig, ImageData) -> Result<Learner<B>>,
    ) -> Result<Self> {
        let run = RunFolder::open(run)?;
        still_to_do(&run)?;
        let Reopened { last, settings, data, fewer, .. } = Reopened::read(&run, env, moved)?;
        let mut learner = learner(&settings, data)?;
        settings.apply(&mut learner, env)?;
        let mut tracker = match last.checkpoint {
            Some(checkpoint) => Tracker::at(checkpoint.restore(&mut learner, !fewer)?.0, None),
            None => Tracker::new(None),
        };
        if learner.unfinished.is_none() {
            tracker.repeat_tta(&settings.recipe);
        }
        learner.check_memory(&settings.recipe, tracker.progress.done)?;
        agreement::compare(&env.processes, &settings, &learner, tracker.progress.done)?;
        Ok(Self { learner, tracker, settings })
    }

    /// Adds an observer.
    pub fn observe(&mut self, observer: impl Observer + 'static) {
        self.learner.observe(observer);
    }

    /// The counterpart of [`Run::run`](crate::Run::run).
    ///
    /// # Errors
    /// As there; [`Error::Stopped`](crate::Error::Stopped) where any of the processes was asked to stop.
    pub fn run(&mut self) -> Result<()> {
        let Self { learner, tracker, settings } = self;
        run_recipe(learner, &settings.recipe, tracker)?;
        learner.fit_unknown()?;
        Ok(())
    }
}
