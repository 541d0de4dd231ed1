//! Resuming an interrupted run.

use std::path::{Path, PathBuf};

use ocelli_nn::Backbone;

use crate::data::ImageData;
use crate::data::recorded::{self, Recorded};
use crate::error::{Error, Result};
use crate::learner::Learner;
use crate::processes::agreement;
use crate::run::Run;
use crate::run::checkpoint::{Checkpoint, Checkpoints, Last};
use crate::run::config::{Config, RunConfig, RunEnv};
use crate::run::folder::{RunFolder, Wholeness, moved_data, note_moved_data};
use crate::run::stop_request::StopRequest;
use crate::run::tensorboard::{self, TensorBoard};
use crate::run::tracker::Tracker;

/// What has changed when a run is resumed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Moved {
    /// Where the photos, or the table of their labels, are now; default: where they were last. It is recorded
    /// in the run's folder.
    pub data: Option<PathBuf>,
    /// Whether to continue without photos that are missing, have changed or have other labels; if not, that
    /// is an error.
    pub without_changed: bool,
}

impl Run {
    /// As [`prepare`](Self::prepare), for an interrupted run: it continues from its last checkpoint, and
    /// reaches the same history and the same model, to the bit, as without the interruption. The photos are
    /// looked up where they were when the run began, or where they have been moved to. Photos that were added
    /// since are not part of it. With [`RunEnv::out`] the run is copied there first, and the copy is
    /// continued.
    ///
    /// # Errors
    /// [`Error::Finished`] where the run is finished; [`Error::RunBusy`] where another process is using it;
    /// [`Error::Settings`] where its settings were changed; [`Error::PhotosChanged`] where photos have
    /// changed, unless the run is to continue without them, which changes its result. Damaged or missing
    /// result files of the run are written again.
    pub fn resume(run: &Path, env: &RunEnv, moved: &Moved) -> Result<Self> {
        let mut dropped_tensors = Vec::new();
        let training = Self::resume_with(run, env, moved, |settings, data| {
            let (learner, names) = settings.pretrained(data, env)?;
            dropped_tensors = names;
            Ok(learner)
        })?;
        let pretrained = training.settings.pretrained_weights();
        Ok(Self { dropped_tensors, pretrained, ..training })
    }
}

impl<B: Backbone> Run<B> {
    /// As [`resume`](Run::resume), for a custom network: `learner` makes a new learner of the run's settings
    /// and images, as it did for [`prepare_with`](Self::prepare_with).
    ///
    /// # Errors
    /// As [`resume`](Run::resume), and any error of `learner`.
    pub fn resume_with(
        run: &Path,
        env: &RunEnv,
        moved: &Moved,
        learner: impl FnOnce(&RunConfig, ImageData) -> Result<Learner<B>>,
    ) -> Result<Self> {
        let (mut run, mut notices) = open(run, env)?;
        let Reopened { mut last, config, settings, is_new, data, fewer } = Reopened::read(&run, env, moved)?;
        let mut learner = learner(&settings, data)?;
        settings.apply(&mut learner, env)?;
        if let Some(out) = &env.out {
            run = run.copy_to(out)?.locked()?;
            last = Checkpoint::last(&run.checkpoints())?;
        }
        if let Some(data) = &moved.data {
            note_moved_data(run.path(), data)?;
        }
        notices.extend(damaged(&last));
        let text = config_text(&run, &config)?;
        if is_new {
            learner.data().write_record(run.path())?;
        }
        let mut tracker = match last.checkpoint.take() {
            Some(checkpoint) => {
                let (progress, after, notice) = checkpoint.restore(&mut learner, !fewer)?;
                notices.extend(notice);
                Tracker::at(progress, Some(after))
            }
            None => {
                Tracker::new(Some(Checkpoints::new(run.checkpoints(), text.clone()).after_damaged(&last)))
            }
        };
        if learner.unfinished.is_none() {
            tracker.repeat_tta(&settings.recipe);
        }
        run.write_split(learner.data())?;
        let recorder = run.recorder(&learner.history, learner.data().skipped())?;
        learner.observe(recorder);
        learner.observe(StopRequest::of(run.path()));
        if env.tensorboard || run.path().join(tensorboard::FILE).exists() {
            learner.observe(TensorBoard::open(run.path(), &text, &learner.history)?);
        }
        learner.check_memory(&settings.recipe, tracker.progress.done)?;
        // The other processes have read the run's folder by then.
        agreement::compare(&env.processes, &settings, &learner, tracker.progress.done)?;
        let mut training =
            Self { is_resumed: true, ..Self::assembled(learner, tracker, run, settings, notices) };
        if fewer {
            // From here on the run consists of the remaining photos.
            training.write_checkpoint()?;
            training.learner.data().write_record(training.run.path())?;
        }
        Ok(training)
    }
}

/// What an unfinished run goes on with.
pub(super) struct Reopened {
    pub(super) last: Last,
    config: Config,
    pub(super) settings: RunConfig,
    /// Whether it had not begun.
    is_new: bool,
    pub(super) data: ImageData,
    /// Whether photos are missing that it began with.
    pub(super) fewer: bool,
}

impl Reopened {
    /// Reads what is in the run's folder, and the photos.
    pub(super) fn read(run: &RunFolder, env: &RunEnv, moved: &Moved) -> Result<Self> {
        let last = Checkpoint::last(&run.checkpoints())?;
        let config = Config::of_run(run, last.checkpoint.as_ref().map(Checkpoint::config))?;
        config.settings.check()?;
        let mut settings = config.settings_from_here();
        agreement::check_recipe(&env.processes, &settings)?;
        if let Some(data) = moved.data.clone().or_else(|| moved_data(run.path())) {
            settings = settings.moved(&data);
        }
        // A process that was killed before it had recorded its photos had not used them.
        let is_new = last.checkpoint.is_none() && !run.path().join(recorded::FILE).exists();
        let (data, fewer) = photos(run, &settings, env, moved, is_new)?;
        Ok(Self { last, config, settings, is_new, data, fewer })
    }
}

/// Opens the folder of an unfinished run, locked for this process unless it is copied first; and notices
/// about its files.
fn open(run: &Path, env: &RunEnv) -> Result<(RunFolder, Vec<String>)> {
    let run = RunFolder::open(run)?;
    if env.out.is_some() {
        let notices = still_to_do(&run)?;
        return Ok((run, notices));
    }
    let run = run.locked()?;
    let notices = still_to_do(&run)?;
    run.sweep();
    Ok((run, notices))
}

/// The text of a run's settings; a text that was only reformatted is written again in the usual format.
fn config_text(run: &RunFolder, config: &Config) -> Result<String> {
    match run.read_config()? {
        (text, true) => Ok(text),
        (_, false) => run.write_config(config),
    }
}

/// Checks that a run is unfinished; returns notices about damaged files.
pub(crate) fn still_to_do(run: &RunFolder) -> Result<Vec<String>> {
    match run.wholeness()? {
        Wholeness::Whole => Err(Error::Finished { path: run.path().to_owned(), model: run.model() }),
        Wholeness::Unfinished => Ok(Vec::new()),
        Wholeness::Damaged(paths) => Ok(paths
            .into_iter()
            .map(|path| {
                format!("{} is missing, or not as the run wrote it; it is made again", path.display())
            })
            .collect()),
    }
}

/// The photos of a run, and whether they are fewer than it began with.
fn photos(
    run: &RunFolder,
    settings: &RunConfig,
    env: &RunEnv,
    moved: &Moved,
    is_new: bool,
) -> Result<(ImageData, bool)> {
    let mut data = settings.image_data(env.threads).hash_progress(env.hash_progress.clone());
    let mut began_with = 0;
    if !is_new {
        let recorded = Recorded::read(run.path(), moved.without_changed)?;
        began_with = recorded.len();
        data = data.recorded(recorded);
    }
    let data = data.load()?;
    let fewer = data.items().len() < began_with;
    Ok((data, fewer))
}

/// Notices about damaged checkpoints.
fn damaged(last: &Last) -> Vec<String> {
    let mut notices: Vec<String> = last.damaged.iter().map(Error::to_string).collect();
    match &last.checkpoint {
        _ if last.damaged.is_empty() => {}
        Some(checkpoint) => notices.push(format!(
            "resuming from the checkpoint before it, {}, which is complete",
            checkpoint.path().display()
        )),
        None => notices.push("no complete checkpoint is left, so the run starts again".to_owned()),
    }
    notices
}
