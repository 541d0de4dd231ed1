//! How long a run takes on several machines, from what its parts take on this one.
//!
//! ```no_run
//! use ocelli::plan::{Link, Plan, Route};
//! use ocelli::{RunConfig, RunEnv};
//!
//! # fn main() -> ocelli::Result<()> {
//! let plan = Plan::measure(&RunConfig::new("photos"), &RunEnv::default(), || println!("measuring"))?;
//! let link = Link { route: Route::Mpi, bits_per_second: 10e9, latency: 100e-6 };
//! for row in plan.rows(1024, &link) {
//!     println!("{} processes: {:.0} s", row.processes, row.seconds.total());
//! }
//! # Ok(())
//! # }
//! ```
//!
//! What is assumed: every machine has one process and is as fast as this one; the network is used by nothing else, and
//! connects all machines at the same rate. What is left out: reading the photos' digests at the start, checkpoints, the
//! report, that features in 8-bit integers take less, and decisions that are only taken in a run, such as that all layers
//! do not pay, or that a fit ends early.

mod link;
mod measure;
mod work;

use ocelli_nn::{AnyBackbone, GROUPS};
use serde::Serialize;

pub use link::{Link, Route};
pub use work::{Pass, Seconds, StepRates, Steps, Work};

use crate::data::Part;
use crate::error::Result;
use crate::learner::Learner;
use crate::learner::logistic_regression::MOST_COMPARED;
use crate::model::tta::TtaViews;
use crate::recipe::logistic::LogisticRegression;
use crate::recipe::{LrChoice, Phase, TrainPhase};
use crate::run::config::{RunConfig, RunEnv};
use crate::run::new_learner;
use crate::train::fit::batches_per_epoch;

/// The images of a piece where the settings name none: several processes need one.
pub const USUAL_MICRO_BATCH: usize = 8;
/// Iterations of a logistic regression that settings are compared by, and of the last one, as is usual.
const ITERATIONS: f64 = 25.0;
const LAST_ITERATIONS: f64 = 60.0;
/// Twice as many processes have to save this part of the time, or they do not pay.
const SAVED: f64 = 0.2;

/// What a run has to do, and how long its parts take here.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// Training and validation images.
    pub images: [usize; 2],
    /// The backbone.
    pub arch: String,
    /// The image size at the start, in pixels.
    pub size: usize,
    /// Images of a batch.
    pub batch: usize,
    /// Images of a piece of a batch.
    pub micro_batch: usize,
    /// Threads of a process.
    pub threads: usize,
    /// Seconds an image takes to load, at this size, in a process with all of its threads.
    pub load: f64,
    /// Seconds an image takes on its way through the frozen backbone.
    pub forward: f64,
    /// Seconds that a byte takes besides its way between processes.
    pub handling: f64,
    /// The parts, in order.
    pub work: Vec<Work>,
}

/// A number of processes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlanRow {
    /// The processes.
    pub processes: usize,
    /// What they take.
    pub seconds: Seconds,
    /// How many times as fast as one they are.
    pub speedup: f64,
    /// That divided by their number.
    pub efficiency: f64,
    /// What each part of the run takes, in order.
    pub parts: Vec<PlanPart>,
}

/// A part of a run, at some number of processes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlanPart {
    /// What it is.
    pub name: String,
    /// What it takes.
    pub seconds: Seconds,
}

/// Why more processes do not pay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// What they exchange takes longest: its way, and turning it into bytes and back.
    Exchange,
    /// What every process does takes longest.
    Same,
    /// There are not as many pieces or batches.
    Pieces,
}

impl Plan {
    /// Reads the photos, and measures what the parts of a run take here: some seconds, or minutes for a large backbone.
    /// `begins` is called in between.
    ///
    /// # Errors
    /// As [`Run::prepare`](crate::Run::prepare).
    pub fn measure(settings: &RunConfig, env: &RunEnv, begins: impl FnOnce()) -> Result<Self> {
        let (mut learner, settings, _) =
            new_learner(settings, env, |data| Ok(settings.pretrained(data, env)?.0))?;
        begins();
        let threads = match env.threads {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            threads => threads,
        };
        let (train, valid) = (learner.data().train_len(), learner.data().valid_len());
        let mut reader = Reader {
            micro_batch: settings.train.micro_batch.unwrap_or(USUAL_MICRO_BATCH),
            handling: measure::handling()?,
            learner: &mut learner,
            settings: &settings,
            rates: None,
            has_features: [false; 2],
            work: Vec::new(),
        };
        let first = reader.rates()?;
        for phase in &settings.recipe.phases {
            reader.phase(phase)?;
        }
        let Reader { micro_batch, handling, work, .. } = reader;
        Ok(Self {
            images: [train, valid],
            arch: settings.arch.clone(),
            size: settings.size,
            batch: settings.batch_size,
            micro_batch,
            threads,
            load: first.load,
            forward: first.forward,
            handling,
            work,
        })
    }

    /// What this many processes take.
    pub fn seconds(&self, processes: usize, link: &Link) -> Seconds {
        let all = self.work.iter().map(|work| work.seconds(processes, link));
        all.fold(Seconds::default(), Seconds::plus)
    }

    /// 1, 2, 4 … processes, and `most`.
    pub fn rows(&self, most: usize, link: &Link) -> Vec<PlanRow> {
        let one = self.seconds(1, link).total();
        let powers = std::iter::successors(Some(1), |processes| Some(2 * processes));
        let powers: Vec<usize> = powers.take_while(|processes| *processes < most).collect();
        let row = |processes: usize| {
            let seconds = self.seconds(processes, link);
            let speedup = one / seconds.total();
            let part = |work: &Work| {
                let (name, seconds) = (work.name().to_owned(), work.seconds(processes, link));
                PlanPart { name, seconds }
            };
            let parts = self.work.iter().map(part).collect();
            PlanRow { processes, seconds, speedup, efficiency: speedup / processes as f64, parts }
        };
        powers.into_iter().chain([most.max(1)]).map(row).collect()
    }

    /// The most processes, of 1, 2, 4 … up to `most`, of which half as many would take a quarter longer, and what keeps more
    /// from paying; `None` where more than `most` may pay.
    pub fn pays(&self, most: usize, link: &Link) -> (usize, Option<Limit>) {
        let mut processes = 1;
        while 2 * processes <= most {
            let (now, twice) = (self.seconds(processes, link), self.seconds(2 * processes, link));
            if twice.total() > (1.0 - SAVED) * now.total() {
                return (processes, Some(limit(now, twice)));
            }
            processes *= 2;
        }
        (processes, None)
    }
}

/// What keeps twice as many processes from taking half the time.
fn limit(now: Seconds, twice: Seconds) -> Limit {
    let lost = [
        (twice.exchange - now.exchange / 2.0, Limit::Exchange),
        (twice.same - now.same / 2.0, Limit::Same),
        (twice.shared - now.shared / 2.0, Limit::Pieces),
    ];
    let most = lost.into_iter().max_by(|first, second| first.0.total_cmp(&second.0));
    most.map_or(Limit::Exchange, |(_, limit)| limit)
}

/// Turns a recipe into work, phase by phase, and measures what is needed for that.
struct Reader<'a> {
    learner: &'a mut Learner<AnyBackbone>,
    settings: &'a RunConfig,
    micro_batch: usize,
    handling: f64,
    /// At the present size.
    rates: Option<measure::ImageRates>,
    /// Whether there are features of all images, and of augmented copies, at the present size.
    has_features: [bool; 2],
    work: Vec<Work>,
}

impl Reader<'_> {
    fn rates(&mut self) -> Result<measure::ImageRates> {
        if let Some(rates) = self.rates {
            return Ok(rates);
        }
        let several = |phase: &Phase| match phase {
            Phase::Train(train) => !train.freezing.is_cached() && train.schedule.epochs() > 1,
            _ => false,
        };
        let rates = measure::images(self.learner, self.settings.recipe.phases.iter().any(several))?;
        self.rates = Some(rates);
        Ok(rates)
    }

    fn phase(&mut self, phase: &Phase) -> Result<()> {
        match phase {
            Phase::Train(train) if train.freezing.frozen() + 1 < GROUPS => self.layers(train),
            Phase::Train(train) => self.head(train),
            Phase::LogisticRegression(settings) => self.logistic_regression(settings),
            Phase::EndUnlessPromising => Ok(()),
            Phase::Resize { size } => {
                (self.rates, self.has_features) = (None, [false; 2]);
                self.learner.set_size(*size)
            }
            Phase::Tta(tta) => {
                let views = match tta.views {
                    TtaViews::Random(number) => number,
                    TtaViews::Corners => 8,
                };
                let rates = self.rates()?;
                let valid = self.learner.data().valid_len();
                self.pass("views", (views + 1) as f64, valid, rates.load + rates.forward, 0.0);
                Ok(())
            }
        }
    }

    /// Images that are shared out; each gives pooled features, or what `row` says.
    fn pass(&mut self, name: &str, times: f64, images: usize, image: f64, row: f64) {
        let row = if row > 0.0 { row } else { self.row() };
        let (name, batch, handling) = (name.to_owned(), self.learner.data().batch_size(), self.handling);
        if images > 0 && times > 0.0 {
            self.work.push(Work::Pass(Pass { name, times, images, batch, image, row, handling }));
        }
    }

    /// Bytes of an image's pooled features.
    fn row(&self) -> f64 {
        4.0 * measure::width(self.learner) as f64
    }

    fn same(&mut self, name: &str, seconds: f64) {
        self.work.push(Work::Same { name: name.to_owned(), seconds });
    }

    /// The features of all images, unless there are some already.
    fn features(&mut self, copies: usize) -> Result<()> {
        let rates = self.rates()?;
        let (train, valid) = (self.learner.data().train_len(), self.learner.data().valid_len());
        let image = rates.load + rates.forward;
        if copies > 0 {
            if !std::mem::replace(&mut self.has_features[1], true) {
                self.pass("features of augmented copies", copies as f64, train, image, 0.0);
            }
            if !self.has_features[0] {
                self.pass("features of validation images", 1.0, valid, image, 0.0);
            }
        } else if !std::mem::replace(&mut self.has_features[0], true) {
            self.pass("features", 1.0, train + valid, image, 0.0);
        }
        Ok(())
    }

    fn head(&mut self, train: &TrainPhase) -> Result<()> {
        let (images, batch) = (self.learner.data().train_len(), self.learner.data().batch_size());
        let head = measure::head(self.learner, batch.min(images).max(2))?;
        let epochs = train.schedule.epochs();
        let steps = (batches_per_epoch(images, batch) * epochs) as f64;
        let finder = match train.lr {
            LrChoice::Finder { steps, .. } => steps as f64,
            LrChoice::Fixed(_) => 0.0,
        };
        if train.freezing.is_cached() {
            self.features(train.freezing.augmented_copies())?;
            self.same("head, on features", (steps + finder) * head);
        } else {
            let (rates, valid) = (self.rates()?, self.learner.data().valid_len());
            let looked_at = epochs as f64 + finder * batch as f64 / images.max(1) as f64;
            if epochs > 1 && rates.copy > 0.0 {
                self.copies(images, rates.copy);
            }
            self.pass("head, on augmented images", looked_at, images, rates.load_again + rates.forward, 0.0);
            self.same("head's steps", (steps + finder) * head);
            self.pass("validation", epochs as f64, valid, rates.load + rates.forward, 0.0);
        }
        Ok(())
    }

    /// Resized copies, of which each process makes some; nothing is exchanged.
    fn copies(&mut self, images: usize, image: f64) {
        let name = "resized copies".to_owned();
        let pass = Pass { name, times: 1.0, images, batch: 1, image, row: 0.0, handling: 0.0 };
        self.work.push(Work::Pass(pass));
    }

    fn layers(&mut self, train: &TrainPhase) -> Result<()> {
        let rates = self.rates()?;
        let data = self.learner.data();
        let (images, valid, batch) = (data.train_len(), data.valid_len(), data.batch_size());
        let epochs = train.schedule.epochs();
        let (mut step, gradients) =
            measure::steps(self.learner, train.freezing, batch.min(images).max(2), self.micro_batch)?;
        (step.load, step.handling) = (rates.load, self.handling);
        if let LrChoice::Finder { steps, .. } = train.lr {
            // Half a batch each.
            let of_finder = StepRates { head: step.head / 2.0, ..step };
            self.steps("all layers, LR finder", steps as f64, batch.div_ceil(2).max(2), gradients, of_finder);
        }
        if epochs > 1 && rates.copy > 0.0 {
            self.copies(images, rates.copy);
            step.load = rates.load_again;
        }
        let steps = images as f64 / batch as f64 * epochs as f64;
        self.steps("all layers", steps, batch, gradients, step);
        self.pass("validation", epochs as f64, valid, rates.load + rates.forward, 0.0);
        Ok(())
    }

    fn steps(
        &mut self,
        name: &str,
        steps: f64,
        batch: usize,
        gradients: measure::Gradients,
        rates: StepRates,
    ) {
        let (name, micro_batch, row) = (name.to_owned(), self.micro_batch, self.row());
        let loads_all = self.settings.train.mix.is_some();
        self.work.push(Work::Steps(Steps {
            name,
            steps,
            batch,
            micro_batch,
            loads_all,
            row,
            gradients: gradients.bytes,
            late: gradients.late,
            rates,
        }));
    }

    fn logistic_regression(&mut self, settings: &LogisticRegression) -> Result<()> {
        let sets = self.learner.depth_sets(settings)?;
        self.learner.set_linear_head(sets.last().map_or(&[], Vec::as_slice))?;
        self.features(0)?;
        let images = self.learner.data().part(Part::Train).len() as f64;
        let compared =
            images.min(MOST_COMPARED as f64) * (settings.folds as f64 - 1.0) / settings.folds as f64;
        // As the comparison itself expects.
        let penalties = if settings.c.is_some() { 2 } else { 5 };
        let fits = match (sets.len(), settings.c) {
            (1, Some(_)) => 0,
            (sets, _) => settings.folds * (sets + penalties),
        };
        let iteration = measure::logistic(self.learner, measure::width(self.learner));
        let rows = fits as f64 * compared * ITERATIONS + images * LAST_ITERATIONS;
        self.same("logistic regression", rows * iteration);
        Ok(())
    }
}
