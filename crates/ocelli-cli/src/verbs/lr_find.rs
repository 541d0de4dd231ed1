//! `ocelli lr-find`

use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use ocelli::{
    Arch, CurveShape, Growth, Learner, LearningRates, LrCurve, LrFind as Search, LrSuggestion, RunConfig,
    RunEnv, WeightStore,
};

use crate::errors::Failure;
use crate::flags::{
    BackboneFlags, BatchFlags, CacheFlags, ComputeFlags, DataFlags, ImageFlags, OptimizerFlags, OutputFlags,
};
use crate::interrupt::{self, finish_batch, stopped};
use crate::output::{self, eprintln, free_of, message, println, shown, usual_place};
use crate::terminal::{Terminal, fastai_rules, lr_reason};
use crate::values::{above_0, names_help, one_of, side, whole};
use crate::verbs::pull::fetched;

/// Find a good learning rate
///
/// Trains for some steps while the learning rate grows, and suggests one from the curve of the loss (the LR
/// range test, as fastai's lr_find). Writes the curve as lr_find.csv, lr_find.png and lr_find.svg. No model
/// is written.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ocelli lr-find photos
  ocelli lr-find photos --layers all --group-lrs 1e-4,1e-3,1e-2 --out curves
--help shows all options.")]
#[command(after_long_help = "Examples:
  ocelli lr-find photos
  ocelli lr-find photos --layers all --group-lrs 1e-4,1e-3,1e-2 --out curves")]
pub struct LrFind {
    /// Folder of photos with one folder per class, or a table of labels
    data: PathBuf,

    /// Layers to train: head, late or all
    #[arg(long_help = names_help("Layers to train", Layers::NAMES), hide_possible_values = true)]
    #[arg(long, value_name = "LAYERS", default_value = "head", value_parser = one_of::<Layers>(Layers::NAMES))]
    layers: Layers,
    /// Start from augmented photos instead of cached features
    ///
    /// With --layers all this is always so.
    #[arg(long)]
    stream_images: bool,
    /// Learning rate of the first step
    #[arg(long, value_name = "LR", default_value = "1e-5", allow_negative_numbers = true, value_parser = above_0)]
    start_lr: f64,
    /// Learning rate of the last step
    #[arg(long, value_name = "LR", default_value = "10", allow_negative_numbers = true, value_parser = above_0)]
    end_lr: f64,
    /// Number of steps, one batch each
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = whole::<20, 100_000>)]
    steps: usize,
    /// Learning rates of early layers, late layers and head, up to a factor
    ///
    /// The search scales all three alike, so that the head's goes from --start-lr to --end-lr. [default: all
    /// equal]
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "LR,LR,LR", value_delimiter = ',', allow_negative_numbers = true, value_parser = above_0)]
    group_lrs: Vec<f64>,
    /// Increase the learning rate linearly instead of exponentially
    #[arg(hide_short_help = true)]
    #[arg(long)]
    linear: bool,
    /// Folder for the curve [default: the current folder]
    ///
    /// [default: the current folder; if that is in DATA, the folder beside DATA]
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Print suggestion and curve as a JSON object
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    source: DataFlags,
    /// Image size in pixels [default: the backbone's]
    #[arg(long, value_name = "PIXELS", help_heading = "Images", value_parser = side)]
    size: Option<usize>,
    #[command(flatten)]
    images: ImageFlags,
    #[command(flatten)]
    backbone: BackboneFlags,
    #[command(flatten)]
    batches: BatchFlags,
    #[command(flatten)]
    optimizer: OptimizerFlags,
    #[command(flatten)]
    compute: ComputeFlags,
    #[command(flatten)]
    cache: CacheFlags,
    #[command(flatten)]
    output: OutputFlags,
}

/// Which layers are trained: the number of layer groups before them, which are frozen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Layers {
    frozen: usize,
}

impl Layers {
    const NAMES: &[(&str, &str)] = &[
        ("head", "The new head"),
        ("late", "The later half of the backbone, and the head"),
        ("all", "All layers"),
    ];
}

impl FromStr for Layers {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "head" => Ok(Self { frozen: 2 }),
            "late" => Ok(Self { frozen: 1 }),
            "all" => Ok(Self { frozen: 0 }),
            _ => Err("expected head, late or all".to_owned()),
        }
    }
}

/// The extensions of the curve's files.
const WRITTEN: &[&str] = if cfg!(feature = "plot") { &["png", "svg", "csv"] } else { &["csv"] };

impl LrFind {
    pub fn run(&self) -> Result<(), Failure> {
        self.out.iter().try_for_each(|out| output::no_dash(out, "--out"))?;
        self.backbone.no_auto("lr-find")?;
        self.compute.threads.start()?;
        let search = self.search()?;
        let quiet = self.output.quiet || self.json;
        let mut learner = self.learner(quiet)?;
        let out = match &self.out {
            Some(out) => out.clone(),
            None => usual_place("", &learner.data().folders())?,
        };
        learner.observe(Terminal::new(quiet, self.output.verbose));
        finish_batch();
        learner.observe(interrupt::observer());
        learner.freeze_to(self.layers.frozen)?;
        if self.uses_features() && !self.images.augment.is_empty() {
            eprintln!("warning: --augment has no effect without --stream-images");
        }
        if self.uses_features() {
            stopped(learner.cache_features(), "nothing was written")?;
        }
        let curve = stopped(learner.lr_find(search), "nothing was written")?;
        let pictures = free_of(&out.join("lr_find").with_extension(WRITTEN[0]), &WRITTEN[1..]);
        let name = ocelli::stem_of(&pictures);
        curve.write(&out, &name)?;
        self.print(&curve, &pictures, quiet)
    }

    /// Whether the search starts from cached features of the frozen layers.
    fn uses_features(&self) -> bool {
        self.layers.frozen > 0 && !self.stream_images
    }

    /// Prints the suggestion; that there is none is an error.
    fn print(&self, curve: &LrCurve, pictures: &Path, quiet: bool) -> Result<(), Failure> {
        if self.json {
            output::json(&json(curve));
        }
        let LrSuggestion { rate, rule } = curve.suggestion().map_err(|error| {
            Failure::Error(format!("{}; the curve is in {}", message(error), shown(pictures.display())))
        })?;
        if self.json {
            return Ok(());
        }
        let rates = curve.rates_at(rate);
        if quiet {
            println!("{rates}");
            return Ok(());
        }
        let shape = curve.shape().ok();
        println!("\nlearning rate   {rates}");
        println!("reason          {}", lr_reason(rule, shape));
        if let Some(CurveShape::Descends(suggestions)) = shape {
            println!("fastai's rules  {}", fastai_rules(&suggestions));
        }
        match curve.diverged {
            Some(rate) => println!("diverged at     {rate:.1e}"),
            None => println!("diverged at     none up to {:.1e}", self.end_lr),
        }
        let others: String = WRITTEN[1..].iter().map(|extension| format!(", .{extension}")).collect();
        println!("curve           {}{others}", shown(pictures.display()));
        Ok(())
    }

    fn search(&self) -> Result<Search, Failure> {
        let start = match self.group_lrs[..] {
            [] => self.start_lr.into(),
            [early, late, head] => {
                let rates = LearningRates([early, late, head]);
                rates.scaled(self.start_lr / rates.head())
            }
            _ => {
                let number = self.group_lrs.len();
                return Err(Failure::Error(format!(
                    "--group-lrs has {number} learning rates; expected three, for early layers, late layers and head"
                )));
            }
        };
        let growth = if self.linear { Growth::Linear } else { Growth::Geometric };
        Ok(Search::default().start_lr(start).end_lr(self.end_lr).steps(self.steps).growth(growth))
    }

    fn learner(&self, quiet: bool) -> Result<Learner, Failure> {
        // No augmentation unless --augment asks for it.
        let mut settings = RunConfig { augmentation: None, ..RunConfig::new(&self.data) };
        self.source.apply(Some(&self.data), &mut settings)?;
        self.backbone.apply(&mut settings);
        self.images.apply(&mut settings);
        self.batches.apply(&mut settings);
        self.optimizer.apply(&mut settings);
        settings.size = self.size.unwrap_or(settings.size);
        settings.precision = self.compute.precision;
        let cache = self.cache.folder()?;
        let env = RunEnv {
            cache: Some(cache.clone()),
            device: self.compute.device,
            threads: self.compute.threads.threads,
            ..RunEnv::default()
        };
        match settings.learner(&env) {
            Err(ocelli::Error::NoWeights { .. }) => {
                let arch: Arch = settings.arch.parse()?;
                fetched(&WeightStore::with_cache(&cache), arch, quiet)?;
                Ok(settings.learner(&env)?)
            }
            learner => Ok(learner?),
        }
    }
}

fn json(curve: &LrCurve) -> serde_json::Value {
    let suggestion = curve.suggestion();
    let suggested = suggestion.as_ref().ok().map(|&LrSuggestion { rate, rule }| {
        serde_json::json!({
            "rate": rate, "rates": curve.rates_at(rate), "rule": rule, "reason": lr_reason(rule, curve.shape().ok())
        })
    });
    serde_json::json!({
        "suggestion": suggested,
        "suggestions": curve.suggestions().ok(),
        "rises_at": curve.rises_at(),
        "reason": suggestion.as_ref().err().map(ToString::to_string),
        "curve": curve,
    })
}
