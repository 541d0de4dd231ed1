//! `ocelli train`

mod idle;
mod loss;
#[cfg(feature = "report")]
mod report;
mod result;
mod settings;
#[cfg(all(feature = "report", feature = "serve"))]
mod watched;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use clap::builder::UnknownArgumentValueParser;
use clap::{Arg, Args, Command};
use ocelli::{
    AUTO_ARCH, Arch, HashProgress, Metric, Moved, Preset, ProcessGroup, Run, RunConfig, RunEnv, RunResult,
    Thresholds, Tta, ValidSplit, WeightStore, Worker, io_reason, timeline,
};

use crate::errors::{self, Failure};
use crate::flags::{CacheFlags, ComputeFlags, OutputFlags, ProcessFlags};
use crate::interrupt::{self, finish_batch, finish_batch_silently};
use crate::invocation;
#[cfg(all(feature = "report", feature = "serve"))]
use crate::output::unwritten;
use crate::output::{eprintln, message, no_dash, path_line, println, quoted, shown};
use crate::terminal::{self, Terminal};
use crate::text::duration;
use crate::values::{OrNone, above_0, epochs, lr_ratio, metric, one_of, recipe, time, tta, whole};
use crate::verbs::pull::fetched;

#[cfg(feature = "report")]
pub use result::{confused, not_measured, print_metrics};
pub use settings::SettingFlags;

/// Train a classifier on a folder of photos
///
/// DATA is a folder with one folder of photos per class, or with train/ and valid/ that have such folders, or
/// a CSV table of labels. Nothing is written into it.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ocelli train photos
  ocelli train photos --recipe quick --size 128
--help shows all options.")]
#[command(after_long_help = "Examples:
  ocelli train photos
  ocelli train photos --recipe fine-tune-5 --arch resnet34 --lr 1e-3
  ocelli train satellite --augment top-down --size 64,128 --group-lr-ratio 3
  ocelli train planet --labels planet/train.csv --metric f2-samples
  ocelli train --resume runs/photos-1")]
pub struct Train {
    /// Folder of photos with one folder per class, or a table of labels
    #[arg(required_unless_present_any = ["resume", "config", "moved_to"])]
    data: Option<PathBuf>,
    /// Resume an interrupted run
    ///
    /// The result is the same, to the bit, as without the interruption. It works from any folder. If the
    /// photos have been moved, use --data. With --out the run is copied there first, and the copy is
    /// continued.
    #[arg(long, value_name = "RUN")]
    resume: Option<PathBuf>,
    /// With --resume: where the photos, or the table of labels, are now
    #[arg(hide_short_help = true)]
    #[arg(long = "data", value_name = "DATA")]
    moved_to: Option<PathBuf>,
    /// With --resume: continue without the photos that are missing or have changed
    #[arg(hide_short_help = true)]
    #[arg(long, requires = "resume")]
    skip_changed: bool,
    #[command(flatten)]
    settings: SettingFlags,

    /// Cross-validation: train a model for each of K folds, then one on all images
    ///
    /// Each image is predicted by a model that has not seen it: the figures are of all images, and need about K + 1
    /// times as long. The folds are runs of their own in the run's folder, fold-1 to fold-K; predict averages them
    /// with --with.
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "K", conflicts_with_all = ["valid", "fold", "split"], help_heading = "Data")]
    #[arg(value_parser = whole::<2, 100>)]
    folds: Option<usize>,

    /// Run folder, new or empty [default: runs/DATA-N]
    ///
    /// If the current folder is in DATA, runs/ is made beside DATA: nothing is written among the photos.
    #[arg(long, value_name = "FOLDER", help_heading = "Run")]
    out: Option<PathBuf>,
    /// Write an event file for TensorBoard into the run folder
    ///
    /// tensorboard --logdir runs shows the losses, metrics and learning rates of all runs by epoch, also while they
    /// train, and at the end the confusion matrix.
    #[arg(hide_short_help = true)]
    #[arg(long, help_heading = "Run")]
    tensorboard: bool,
    /// Show the run in a browser while it trains
    ///
    /// The address is printed; only this machine reaches it. The page ends with the command; afterwards, and for runs
    /// that were started without this flag, there is ocelli watch.
    #[cfg(all(feature = "report", feature = "serve"))]
    #[arg(hide_short_help = true)]
    #[arg(long, help_heading = "Run")]
    watch: bool,
    /// Write a timeline of the run, which ui.perfetto.dev opens
    ///
    /// What each thread did and when: reading, decoding, computing, waiting, checkpoints, the report. The file has
    /// Chrome's trace format; an existing one is replaced.
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "FILE", help_heading = "Run")]
    trace: Option<PathBuf>,
    /// Compute features of training images in 8-bit integers: faster, a little less exact
    ///
    /// Cached features of a convolutional backbone, on the CPU; ConvNeXt and ViT are refused. Static quantization by the
    /// ranges of activations on 100 training images. Features of validation images, and all training of layers, stay
    /// floats: metrics are of the model that is saved. It pays on processors without bf16, and with ResNets most; the guide
    /// has figures of speed and accuracy.
    #[arg(hide_short_help = true)]
    #[arg(long, conflicts_with = "folds", help_heading = "Run")]
    int8: bool,
    #[command(flatten)]
    processes: ProcessFlags,
    #[command(flatten)]
    compute: ComputeFlags,
    #[command(flatten)]
    cache: CacheFlags,
    #[command(flatten)]
    output: OutputFlags,
}

/// The recipe: phases, epochs and learning rates.
#[derive(Debug, Args)]
#[command(next_help_heading = "Training")]
struct RecipeFlags {
    /// auto, linear, quick, lesson, full, fine-tune-N
    ///
    /// auto, the default: a linear head on features of several depths, by logistic regression, which takes seconds;
    /// then all layers, if that promises a gain: where photos are many, and unlike ImageNet's. linear: the
    /// linear head alone. quick: a head with a hidden layer on cached features, as in fast.ai's lesson. lesson:
    /// the lesson's phases, with one epoch of all layers and test-time augmentation. full: the same with 7
    /// epochs of all layers at each size. fine-tune-N: fastai's fine_tune(N), one epoch of the head, then N of
    /// all layers.
    #[arg(long, value_name = "NAME", value_parser = recipe)]
    recipe: Option<Preset>,
    /// Time to train in, such as 30s, 2m or 1h
    ///
    /// Images are made smaller, and all layers trained for fewer epochs, so that training ends in time; with
    /// auto, also for more epochs where that is worth it.
    #[arg(long, value_name = "DURATION", allow_negative_numbers = true, value_parser = time)]
    time: Option<f64>,
    /// Epochs of the head on cached features
    #[arg(long, value_name = "N", value_parser = epochs)]
    head_epochs: Option<usize>,
    /// Epochs of the head on augmented images
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "N", value_parser = epochs)]
    augmented_epochs: Option<usize>,
    /// Epochs of all layers, in one cycle; 0 skips them
    #[arg(long, value_name = "N", value_parser = epochs)]
    unfrozen_epochs: Option<usize>,
    /// Learning rate of the head [default: LR finder]
    ///
    /// All layers then train at a tenth of it and below. Three rates, such as 1e-5,1e-4,1e-3, are those of
    /// early layers, late layers and head for training all layers (discriminative learning rates).
    #[arg(long, value_name = "LR", value_delimiter = ',', allow_negative_numbers = true, value_parser = above_0)]
    lr: Vec<f64>,
    /// LR ratio between layer groups [default: 10]
    ///
    /// Each layer group trains at the learning rate of the next one divided by this (timm's layer decay of
    /// 0.1 is a ratio of 10). 10 is for everyday photos, which resemble ImageNet's; 3 for others, such as
    /// satellite or medical images.
    #[arg(long, value_name = "RATIO", value_parser = lr_ratio)]
    group_lr_ratio: Option<f64>,
    /// Metric that selects the best epoch
    ///
    /// accuracy, error-rate, top-5, label-accuracy, balanced-accuracy, log-loss, precision, recall, f1, f2 or
    /// auroc; precision, recall and F also with -macro or -samples. [default: accuracy; f1 with several
    /// labels per image]
    #[arg(long, value_name = "NAME", value_parser = metric)]
    metric: Option<Metric>,
    /// Test-time augmentation: views, corners or none
    ///
    /// A number of augmented views to average with the plain one, corners for the four corners, or none.
    /// [default: 4, with the recipes lesson and full]
    #[arg(long, value_name = "VIEWS", value_parser = tta)]
    tta: Option<OrNone<Tta>>,
    /// Augmented copies per image whose features are cached for --augmented-epochs; 0: no cache
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "N", value_parser = whole::<0, 1000>)]
    augmented_copies: Option<usize>,
    /// Train all layers in N cosine cycles (SGDR) instead of one cycle
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "N", conflicts_with = "unfrozen_epochs", value_parser = whole::<0, 1000>)]
    cycles: Option<usize>,
    /// Epochs of the first cycle
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "N", default_value_t = 1, requires = "cycles", value_parser = whole::<1, 10_000>)]
    cycle_len: usize,
    /// Length of each cycle divided by that of the one before
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "FACTOR", default_value_t = 1, requires = "cycles", value_parser = whole::<1, 100>)]
    cycle_mult: usize,
    /// Early stopping: end a phase after N epochs without improvement
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "N", value_parser = whole::<1, 100_000>)]
    patience: Option<usize>,
    /// Decision thresholds with several labels per image: one or per-class [default: one]
    ///
    /// They are tuned on the validation images.
    #[arg(hide_short_help = true, hide_possible_values = true)]
    #[arg(long, value_name = "HOW", value_parser = one_of::<Thresholds>(Thresholds::NAMES))]
    thresholds: Option<Thresholds>,
    /// Train batch norm with batch statistics [default: keep the running statistics]
    ///
    /// It applies to the backbone's layers that are trained.
    #[arg(hide_short_help = true)]
    #[arg(long)]
    train_bn: bool,
}

/// Flags that `--resume` can be combined with; all others are settings, and a run has its own.
const WITH_RESUME: [&str; 18] = [
    "resume",
    "moved_to",
    "skip_changed",
    "out",
    "tensorboard",
    "watch",
    "trace",
    "device",
    "threads",
    "cache",
    "join",
    "rank",
    "ranks",
    "data_per_rank",
    "quiet",
    "verbose",
    "help",
    "version",
];

/// Flags of other trainers, and what to use here.
const ELSEWHERE: [(&str, &str); 8] = [
    (
        "epochs",
        "use --time for as many as fit into a time, --unfrozen-epochs for N epochs of all layers, or --head-epochs for those of the head alone",
    ),
    ("model", "use --arch for the backbone"),
    ("imgsz", "use --size for the image size"),
    ("img-size", "use --size for the image size"),
    ("valid-pct", "use --valid for the validation fraction"),
    ("clip-grad", "use --max-grad-norm"),
    ("layer-decay", "use --group-lr-ratio; 10 is a decay of 0.1"),
    ("monitor", "use --metric"),
];

/// The complete command: `--resume` conflicts with every flag that is a setting, and flags of other trainers
/// are refused with what to use instead.
pub fn complete(train: Command) -> Command {
    let settings: Vec<_> = train
        .get_arguments()
        .map(|argument| argument.get_id().clone())
        .filter(|id| !WITH_RESUME.contains(&id.as_str()))
        .collect();
    let train = train.mut_arg("resume", |resume| resume.conflicts_with_all(settings));
    train.args(ELSEWHERE.map(|(name, advice)| {
        Arg::new(name).long(name).hide(true).value_parser(UnknownArgumentValueParser::suggest(advice))
    }))
}

impl Train {
    pub fn run(&self) -> Result<(), Failure> {
        if let (Some(data), None) = (&self.moved_to, &self.resume) {
            return Err(Failure::Error(format!(
                "--data says where the photos of a run are now, and goes with --resume; to train, give the photos \
                 without it:  ocelli train {}",
                quoted(data.as_os_str())
            )));
        }
        self.out.iter().try_for_each(|out| no_dash(out, "--out"))?;
        let processes = self.processes.join(self.output.quiet)?;
        let result = self.run_traced(&processes);
        match &result {
            // Processes stop together, and leave together.
            Ok(()) | Err(Failure::Interrupted) => processes.finish()?,
            // The others print it as one line.
            Err(Failure::Error(reason)) => processes.abort(&reason.replace("\n       ", "; ")),
            Err(_) => processes.abort("ended early"),
        }
        result
    }

    /// Trains as one of these processes, of which the first writes a timeline if it is to.
    fn run_traced(&self, processes: &ProcessGroup) -> Result<(), Failure> {
        let Some(path) = self.trace.as_deref().filter(|_| processes.rank() == 0) else {
            return self.run_in(processes);
        };
        no_dash(path, "--trace")?;
        let failed = |error: io::Error| {
            let (path, reason) = (shown(path.display()), io_reason(&error));
            Failure::Error(format!("cannot write the timeline {path} (--trace): {reason}"))
        };
        timeline::start(path).map_err(failed)?;
        timeline::add("start", timeline::origin());
        let result = self.run_in(processes);
        let written = timeline::finish().map_err(failed);
        result.and(written)
    }

    /// Trains as one of these processes.
    fn run_in(&self, processes: &ProcessGroup) -> Result<(), Failure> {
        let threads = self.compute.threads.start_beside(processes)?;
        let cache = self.cache.folder()?;
        let env = RunEnv {
            out: self.out.clone(),
            cache: Some(cache.clone()),
            device: self.compute.device,
            threads,
            given: invocation::arguments().iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "),
            tensorboard: self.tensorboard,
            processes: processes.clone(),
            hash_progress: self.hash_progress(processes),
        };
        let mut settings = match self.resume {
            Some(_) => None,
            None => Some(self.all_settings()?),
        };
        let gathered = |folder: &Path| self.processes.gathered(folder, &cache, processes, self.output.quiet);
        if let Some(settings) = &mut settings {
            settings.data = gathered(&settings.data)?;
        }
        let moved_to = self.moved_to.as_deref().map(gathered).transpose()?;
        let moved = Moved { data: moved_to, without_changed: self.skip_changed };
        if processes.rank() > 0 {
            return self.work(settings.as_ref(), &moved, &env, &cache);
        }
        for warning in settings.iter().flat_map(|settings| self.settings.idle_flags(settings)) {
            eprintln!("{warning}");
        }
        let is_open = |settings: &RunConfig| settings.arch == AUTO_ARCH && settings.weights.is_none();
        if settings.as_ref().is_some_and(is_open) && !self.output.quiet {
            eprintln!("comparing the backbones whose weights are on this machine");
        }
        let mut training = match self.prepare(settings.as_ref(), &moved, &env, &cache) {
            #[cfg(feature = "report")]
            // Only the report is missing: the process was ended while it wrote that.
            Err(ocelli::Error::Finished { path, model }) if !path.join("report.html").exists() => {
                return self.write_missing_report(&path, &model, &cache);
            }
            Err(error) => return Err(self.resume_failure(error)),
            Ok(training) => training,
        };
        #[cfg(all(feature = "report", feature = "serve"))]
        let _watched = self.watched(&training)?;
        self.introduce(&training, processes);
        training.observe(Terminal::new(self.output.quiet, self.output.verbose));
        let stop = finish_batch();
        training.observe(interrupt::observer());
        if let Err(error) = self.run_folds(&mut training, &moved, &env) {
            return Err(failure(error, &training));
        }
        match training.run() {
            Ok(outcome) => {
                if !self.output.quiet {
                    result::print(&outcome, training.learner(), training.settings().folds());
                }
                self.conclude(&training, &outcome, &cache, stop)?;
            }
            Err(error) => return Err(failure(error, &training)),
        }
        let _span = timeline::span("exit");
        drop(training);
        Ok(())
    }

    /// The settings, with the folds of a cross-validation.
    fn all_settings(&self) -> Result<RunConfig, Failure> {
        let mut settings = self.settings.settings(self.data.as_deref(), self.compute.precision)?;
        settings.int8 |= self.int8;
        let Some(folds) = self.folds else { return Ok(settings) };
        settings.valid_split = Some(ValidSplit::Folds(folds));
        // It is one for all trainings together.
        settings.recipe.time_limit = settings.recipe.time_limit.map(|limit| limit / (folds + 1) as f64);
        Ok(settings)
    }

    /// Runs the folds of a cross-validation, of which each has a line when it is finished.
    fn run_folds(&self, training: &mut Run, moved: &Moved, env: &RunEnv) -> ocelli::Result<()> {
        let Some(folds) = training.settings().folds() else { return Ok(()) };
        if !self.output.quiet {
            println!("\n{folds}-fold cross-validation");
        }
        // What they say has been said of all images, or is in their folders.
        let env = RunEnv { hash_progress: HashProgress::default(), ..env.clone() };
        training.run_folds(&env, moved, &mut |run, _| {
            if !self.output.quiet {
                run.observe(terminal::progress_alone());
            }
            run.observe(interrupt::observer());
        })
    }

    /// Shows how far the reading of the photos is, before anything else is printed.
    fn hash_progress(&self, processes: &ProcessGroup) -> HashProgress {
        if self.output.quiet || processes.rank() > 0 {
            return HashProgress::default();
        }
        terminal::hash_progress()
    }

    /// Computes for the first process, which alone writes and prints.
    fn work(
        &self,
        settings: Option<&RunConfig>,
        moved: &Moved,
        env: &RunEnv,
        cache: &Path,
    ) -> Result<(), Failure> {
        let worker = self.with_weights(cache, || match settings {
            Some(settings) => Worker::prepare(settings, env),
            None => Worker::resume(self.resumed(), env, moved),
        });
        let mut worker = match worker {
            // The first process says so, or writes the report that is missing.
            Err(ocelli::Error::Finished { .. }) => return Ok(()),
            worker => worker.map_err(|error| self.resume_failure(error))?,
        };
        finish_batch_silently();
        worker.observe(interrupt::observer());
        worker.run().map_err(|error| match error {
            ocelli::Error::Stopped => Failure::Interrupted,
            error => error.into(),
        })
    }

    /// Prepares the run.
    fn prepare(
        &self,
        settings: Option<&RunConfig>,
        moved: &Moved,
        env: &RunEnv,
        cache: &Path,
    ) -> ocelli::Result<Run> {
        self.with_weights(cache, || match settings {
            Some(settings) => Run::prepare(settings, env),
            None => Run::resume(self.resumed(), env, moved),
        })
    }

    /// The run to resume.
    fn resumed(&self) -> &Path {
        self.resume.as_deref().unwrap_or(Path::new("."))
    }

    /// The weights of the backbone are downloaded if they are not on this machine.
    fn with_weights<T>(&self, cache: &Path, prepare: impl Fn() -> ocelli::Result<T>) -> ocelli::Result<T> {
        match prepare() {
            // The photos have been checked by now, so the download is worth it.
            Err(ocelli::Error::NoWeights { arch, .. }) => {
                let arch: Arch = arch.parse()?;
                fetched(&WeightStore::with_cache(cache), arch, self.output.quiet)?;
                prepare()
            }
            training => training,
        }
    }

    /// The server of the run's page, if it was asked for.
    #[cfg(all(feature = "report", feature = "serve"))]
    fn watched(&self, training: &Run) -> Result<Option<ocelli_serve::Background>, Failure> {
        if !self.watch {
            return Ok(None);
        }
        let watched = watched::page_of(training.run_folder().path())?;
        // Standard output has only results where it is to be quiet.
        match self.output.quiet {
            true => eprintln!("watch    {}", watched.url()),
            false => println!("watch    {}", watched.url()),
        }
        std::io::Write::flush(&mut std::io::stdout()).map_err(unwritten)?;
        Ok(Some(watched))
    }

    fn introduce(&self, training: &Run, processes: &ProcessGroup) {
        if self.output.quiet {
            return terminal::print_warnings(training);
        }
        let precision = training.learner().network().precision();
        let machine = terminal::machine(self.compute.device, precision);
        let several = processes.transport_name();
        let several =
            several.map_or_else(String::new, |name| format!(" · {} processes, {name}", processes.size()));
        println!("ocelli {} · {machine}{several}\n", env!("CARGO_PKG_VERSION"));
        terminal::introduce(training);
    }

    /// Writes the report, and prints where everything is.
    fn conclude(
        &self,
        training: &Run,
        outcome: &RunResult,
        cache: &Path,
        stop: Arc<AtomicBool>,
    ) -> Result<(), Failure> {
        let began = Instant::now();
        let page = self.report(training, outcome, cache, stop)?;
        if self.output.quiet {
            path_line(&outcome.model);
            return Ok(());
        }
        let reporting = began.elapsed().as_secs_f64();
        println!();
        println!("model    {}", shown(outcome.model.display()));
        if let Some(folds) = training.settings().folds() {
            let first = training.run_folder().fold(1);
            println!("folds    {} to fold-{folds}, each with its model", shown(first.display()));
        }
        page.iter().for_each(|page| println!("report   {}", shown(page.display())));
        let of_it = match cfg!(feature = "report") {
            true => format!(", {} of it for the report", duration(reporting)),
            false => String::new(),
        };
        println!("time     {}{of_it}", duration(outcome.seconds + reporting));
        println!("next     ocelli predict {} PHOTO…", quoted(training.run_folder().path().as_os_str()));
        Ok(())
    }

    /// This build has no reports.
    #[cfg(not(feature = "report"))]
    fn report(
        &self,
        _: &Run,
        _: &RunResult,
        _: &Path,
        _: Arc<AtomicBool>,
    ) -> Result<Option<PathBuf>, Failure> {
        Ok(None)
    }

    /// Why a run cannot be prepared; if it cannot be resumed, with the flags that help.
    fn resume_failure(&self, error: ocelli::Error) -> Failure {
        use std::io::ErrorKind::NotFound;

        use ocelli::DataError::{Io, Missing, NoClassFolders, NoImages, NotAFolder};

        let Some(run) = &self.resume else { return error.into() };
        let (when, flag) = match &error {
            ocelli::Error::PhotosChanged { .. } => {
                let data =
                    self.moved_to.as_deref().map(|data| format!(" --data {}", quoted(data.as_os_str())));
                ("to continue without them", format!("--skip-changed{}", data.unwrap_or_default()))
            }
            ocelli::Error::Data(
                Missing { .. } | NoImages { .. } | NotAFolder { .. } | NoClassFolders { .. },
            ) => ("if they have been moved", "--data FOLDER".to_owned()),
            ocelli::Error::Data(Io { source, .. }) if source.kind() == NotFound => {
                ("if it has been moved", "--data FOLDER".to_owned())
            }
            _ => return error.into(),
        };
        let run = quoted(run.as_os_str());
        Failure::Error(format!("{}\n       {when}:  ocelli train --resume {run} {flag}", message(error)))
    }
}

/// Why a run ended, and how to resume it if that can help.
fn failure(error: ocelli::Error, training: &Run) -> Failure {
    let run = quoted(training.run_folder().path().as_os_str());
    if matches!(error, ocelli::Error::Stopped) {
        eprintln!("stopped; a checkpoint is saved. To continue:  ocelli train --resume {run}");
        return Failure::Interrupted;
    }
    // With the same photos, or the same learning rates, it would end there again.
    let in_vain = matches!(error, ocelli::Error::Diverged { .. } | ocelli::Error::NoFiniteEpoch { .. })
        || errors::advice(&error).is_some();
    match Failure::from(error) {
        Failure::Error(error) if training.has_checkpoint() && !in_vain => {
            Failure::Error(format!("{error}\n       to continue:  ocelli train --resume {run}"))
        }
        failure => failure,
    }
}
