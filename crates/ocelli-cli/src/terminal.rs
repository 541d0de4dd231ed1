//! Training as it looks in a terminal, and as plain lines where there is none.

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use crate::output::{eprintln, println, shown};
use indicatif::{ProgressBar, ProgressStyle};
use ocelli::event::{Progress, Stage, StepStarted, Task};
use ocelli::{
    DeviceKind, DeviceName, Event, Finding, LearningRates, Observer, Precision, Result, Step, Suggestions,
    Train, Training, Tta, Views,
};
use ocelli_kernels::Isa;

use crate::words::{count, counted, duration, size};

/// `cpu, 2 threads, bf16 (AVX-512)`, or the name of another device.
pub fn machine(device: DeviceName, precision: Precision) -> String {
    if device.kind != DeviceKind::Cpu {
        return format!("{device}, f32");
    }
    let isa = match Isa::current() {
        Isa::Portable => "no vectors",
        Isa::Avx2 => "AVX2",
        Isa::Avx512 | Isa::Avx512Bf16 => "AVX-512",
        Isa::Neon => "NEON",
        #[allow(unreachable_patterns)]
        _ => "CPU",
    };
    format!("cpu, {}, {precision} ({isa})", counted(rayon::current_num_threads(), "thread"))
}

/// What is about to be trained, on what.
pub fn introduce(training: &Training) {
    let learner = training.learner();
    let data = learner.data();
    let counts = data.class_counts();
    let total = data.train_len() + data.valid_len();
    let mut classes: Vec<String> =
        counts.iter().take(6).map(|c| format!("{} {}", shown(&c.class), count(c.train + c.valid))).collect();
    if counts.len() > classes.len() {
        classes.push("…".to_owned());
    }
    println!(
        "data    {} in {}: {}\n        train {}, valid {} ({})",
        counted(total, "image"),
        counted(counts.len(), "class"),
        classes.join(", "),
        count(data.train_len()),
        count(data.valid_len()),
        data.split_origin(),
    );
    let run = training.run_folder().path();
    if !data.skipped().is_empty() {
        let listed = run.join("skipped.csv");
        println!("        {} skipped, see {}", count(data.skipped().len()), shown(listed.display()));
    }
    for notice in data.notices() {
        println!("        {}", shown(notice));
    }
    let parameters = learner.network().parameters();
    println!(
        "model   {}, {} px · {} parameters, {} of them in the new head",
        shown(learner.architecture()),
        data.size(),
        size(parameters.iter().sum()),
        size(parameters[parameters.len() - 1]),
    );
    if let Some((path, set_aside)) = training.set_aside() {
        let classifier = match set_aside {
            [] => "a body without a classifier".to_owned(),
            tensors => format!("its classifier is set aside ({})", tensors.join(", ")),
        };
        println!("        weights from {}: {}", shown(path.display()), shown(classifier));
    }
    println!("run     {}", shown(run.display()));
}

/// Shows the table on standard output and progress on standard error.
pub struct Terminal {
    quiet: bool,
    bar: Option<(Task, ProgressBar)>,
    /// For plain lines: when the task began, and when it was last mentioned.
    lines: Option<(Task, Instant, Instant)>,
    skipped: usize,
    verbose: bool,
    /// Whether the next row needs a header above it.
    header: bool,
}

/// What training in this way is for.
fn purpose(train: &Train) -> &'static str {
    match (train.frozen, train.precompute && train.views == 0) {
        (0, _) => "all layers, the earlier the slower: edges and textures are of use anywhere",
        (GROUPS_BEFORE_HEAD, true) => "a new head, on what the pretrained layers see in each photo",
        (GROUPS_BEFORE_HEAD, false) => {
            "the head, on photos changed at random: what does not matter is learnt"
        }
        _ => "later layers too, on what the earlier ones see",
    }
}

/// Layer groups that are frozen where the head alone is trained.
const GROUPS_BEFORE_HEAD: usize = 2;

/// Without a terminal, long steps say something this often.
const MENTION: Duration = Duration::from_secs(10);

impl Terminal {
    pub fn new(quiet: bool, verbose: bool) -> Self {
        Self { quiet, bar: None, lines: None, skipped: 0, verbose, header: false }
    }

    /// What a step of the recipe is, and what it is for.
    fn step(&mut self, StepStarted { number, step }: &StepStarted) {
        let (name, purpose) = match step {
            Step::Train(train) => {
                let augmented = if train.frozen > 0 && !train.precompute { ", augmented" } else { "" };
                (format!("{}{augmented}", train.state()), purpose(train))
            }
            Step::Resize { size } => {
                (format!("{size} px"), "larger images show more, and are nearly new photos to the network")
            }
            Step::Views(Tta { views: Views::Random(number), .. }) => {
                (format!("test-time augmentation, {number} views + 1"), "errors of single views are outvoted")
            }
            Step::Views(_) => {
                ("test-time augmentation, corners".to_owned(), "errors of single views are outvoted")
            }
        };
        println!("\n{number}  {name}   {purpose}");
    }

    fn stage(&mut self, stage: &Stage) {
        println!("   {stage}");
    }

    fn found(&mut self, rates: LearningRates, finding: Option<Finding>, doubt: &Option<String>) {
        match (finding, doubt) {
            (Some(Finding::Falls(Suggestions { valley, slide, minimum, steep })), _) => println!(
                "   found: valley {valley:.1e} · slide {slide:.1e} · minimum/10 {minimum:.1e} · steep {steep:.1e}"
            ),
            (Some(Finding::Rises(rate)), _) => println!(
                "   found: the loss does not clearly fall any more, and rises from {rate:.1e} on; a tenth of that is taken"
            ),
            (None, doubt) => println!(
                "   {}; taken: {rates}",
                doubt.as_deref().unwrap_or("the learning rate finder has no reliable answer")
            ),
        }
    }

    fn progress(&mut self, progress: Progress) {
        let name = match progress.task {
            Task::Activations => "activations",
            Task::Training => "training",
            Task::Validation => "validation",
            Task::Statistics => "statistics",
            Task::LearningRates => "learning rates",
            Task::Resizing => "resizing",
            Task::Views => "views",
        };
        if std::io::stderr().is_terminal() {
            self.show_bar(name, progress);
        } else {
            self.mention(name, progress);
        }
    }

    fn show_bar(&mut self, name: &'static str, progress: Progress) {
        let same = |(task, _): &(Task, ProgressBar)| *task == progress.task;
        if !self.bar.as_ref().is_some_and(same) {
            self.clear();
            let bar = ProgressBar::new(progress.total as u64);
            let template = "   {msg:11} {bar:30} {human_pos} of {human_len} images · {per_sec} · {eta} left";
            let style = ProgressStyle::with_template(template).expect("a valid template");
            let rate = |state: &indicatif::ProgressState, out: &mut dyn std::fmt::Write| {
                let _ = write!(out, "{:.0} images/s", state.per_sec());
            };
            let left = |state: &indicatif::ProgressState, out: &mut dyn std::fmt::Write| {
                let _ = write!(out, "{}", duration(state.eta().as_secs_f64()));
            };
            bar.set_style(style.with_key("per_sec", rate).with_key("eta", left).progress_chars("━╸ "));
            bar.set_message(name);
            self.bar = Some((progress.task, bar));
        }
        if let Some((_, bar)) = &self.bar {
            bar.set_position(progress.done as u64);
        }
        if progress.done == progress.total {
            self.clear();
        }
    }

    fn mention(&mut self, name: &str, progress: Progress) {
        let now = Instant::now();
        match &mut self.lines {
            Some((task, began, last)) if *task == progress.task && progress.done < progress.total => {
                if now - *last >= MENTION {
                    *last = now;
                    let rate = progress.done as f64 / (now - *began).as_secs_f64();
                    eprintln!(
                        "   {name}: {} of {} images · {rate:.0} images/s · {} left",
                        count(progress.done),
                        count(progress.total),
                        duration((progress.total - progress.done) as f64 / rate),
                    );
                }
            }
            _ => self.lines = (progress.done < progress.total).then_some((progress.task, now, now)),
        }
    }

    fn clear(&mut self) {
        if let Some((_, bar)) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Observer for Terminal {
    fn observe(&mut self, event: &Event) -> Result<ControlFlow<()>> {
        if let Event::Skipped { path, reason } = event {
            self.skipped += 1;
            if self.skipped <= 3 {
                self.clear();
                eprintln!("   skipped {}: {}", shown(path.display()), shown(reason));
            } else if self.skipped == 4 {
                eprintln!("   skipped more; they are listed in skipped.csv");
            }
        }
        if self.quiet {
            return Ok(ControlFlow::Continue(()));
        }
        match event {
            Event::Progress(progress) => self.progress(*progress),
            Event::StepStarted(step) => self.step(step),
            Event::StageStarted(stage) => self.stage(stage),
            Event::RateFound { rates, finding, doubt, .. } => {
                self.clear();
                self.found(*rates, *finding, doubt);
            }
            Event::Resumed { stage, epochs: (over, all) } => {
                println!("\n   going on with step {stage}: {over} of {} are over", counted(*all, "epoch"));
                self.header = true;
            }
            Event::Reading(reading) => {
                for line in reading.to_string().lines() {
                    println!("   → {line}");
                }
            }
            Event::Written { what: "checkpoint", path } if self.verbose => {
                self.clear();
                println!("   checkpoint {}", shown(path.display()));
            }
            Event::Activations { kept, computed: 0, .. } => {
                println!("\n   activations of {} from the cache", counted(*kept, "image"));
            }
            Event::Activations { kept, computed, seconds } => {
                let rate = *computed as f64 / seconds;
                let cached =
                    if *kept > 0 { format!(" · {} from the cache", count(*kept)) } else { String::new() };
                println!(
                    "\n   activations of {} · {rate:.0} images/s · {}{cached}",
                    counted(*computed, "image"),
                    duration(*seconds)
                );
            }
            Event::Epoch(row) => {
                self.clear();
                let names: Vec<String> = row.metrics.iter().map(|(metric, _)| metric.to_string()).collect();
                if row.epoch == 1 || std::mem::take(&mut self.header) {
                    let names: String = names.iter().map(|name| format!("  {name:>8}")).collect();
                    println!("   epoch  train loss  valid loss{names}  accuracy       time");
                }
                let cell =
                    |value: Option<f64>| value.map_or_else(|| "–".into(), |value| format!("{value:.4}"));
                let wide = |(name, (_, value)): (&String, &(_, f64))| {
                    format!("  {value:>width$.4}", width = name.len().max(8))
                };
                let metrics: String = names.iter().zip(&row.metrics).map(wide).collect();
                println!(
                    "   {:>5}  {:>10.4}  {:>10}{metrics}  {:>8}  {:>9}",
                    row.epoch,
                    row.train_loss,
                    cell(row.valid_loss),
                    cell(row.accuracy),
                    duration(row.seconds)
                );
            }
            Event::Notice { text } => {
                self.clear();
                eprintln!("   note: {}", shown(text));
            }
            _ => {}
        }
        Ok(ControlFlow::Continue(()))
    }
}
