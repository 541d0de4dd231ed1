//! Training as it looks in a terminal, and as plain lines where there is none.

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use crate::output::{eprintln, println, shown};
use indicatif::{ProgressBar, ProgressStyle};
use ocelli::event::{PhaseStarted, Progress, Stage, Task};
use ocelli::{
    Arch, DeviceKind, DeviceName, Event, Finding, Freezing, ImageData, Metric, Observer, Phase, Precision,
    Result, Suggestion, Suggestions, Task as Labels, TrainPhase, Training, Tta, Views,
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
    if let Some(line) = baseline(data) {
        println!("        {line}");
    }
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
    let settings = training.settings();
    let warning = learner.architecture().parse::<Arch>().ok();
    if let Some(warning) = warning.and_then(|arch| settings.recipe.size_warning(arch, settings.size)) {
        println!("        warning: {warning}");
    }
    if let Some((path, set_aside)) = training.set_aside() {
        let classifier = match set_aside {
            [] => "a body without a classifier".to_owned(),
            tensors => format!("its classifier is set aside ({})", tensors.join(", ")),
        };
        println!("        weights from {}: {}", shown(path.display()), shown(classifier));
    }
    println!("run     {}", shown(run.display()));
}

/// What the same answer for every photo held out would be worth; nothing where none is held out.
fn baseline(data: &ImageData) -> Option<String> {
    let baseline = data.baseline(&data.split().valid);
    if baseline.is_empty() {
        return None;
    }
    let metric = Metric::usual(data.task());
    let value = baseline.value_watched(metric);
    Some(match data.task() {
        Labels::SingleLabel => {
            let class = &data.classes()[baseline.predicted_labels(0)[0]];
            format!(
                "baseline: always saying {}, the most frequent class, has {metric} {value:.4}",
                shown(class)
            )
        }
        Labels::MultiLabel => format!("baseline: the same labels for every image have {metric} {value:.4}"),
    })
}

/// What fastai's rules say of the same curve.
pub fn fastais(suggestions: &Suggestions) -> String {
    let Suggestions { valley, slide, minimum, steep } = suggestions;
    format!(
        "fastai's rules: valley {valley:.1e} · slide {slide:.1e} · minimum/10 {minimum:.1e} · steep {steep:.1e}"
    )
}

/// Shows the table on standard output and progress on standard error.
pub struct Terminal {
    quiet: bool,
    bar: Option<(Task, ProgressBar)>,
    /// How fast the task at hand goes.
    pace: Option<(Task, Pace)>,
    /// For plain lines: when the task at hand was last mentioned.
    mentioned: Option<Instant>,
    /// Whether the step at hand computes several views of each image.
    views: bool,
    skipped: usize,
    verbose: bool,
    /// Whether the next row needs a header above it.
    header: bool,
}

/// What training in this way is for.
fn purpose(train: &TrainPhase) -> &'static str {
    let plain = matches!(train.freezing, Freezing::Cached { augmented_copies: 0, .. });
    match (train.freezing.frozen(), plain) {
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

/// How fast a task goes, from what was done since it was first told of: what was done before took no time that is known.
#[derive(Clone, Copy)]
struct Pace {
    began: Instant,
    before: usize,
    /// What was done when it was told of last.
    last: usize,
}

impl Pace {
    /// What was done a second, and the seconds that are left; nothing before it can be known.
    fn of(self, progress: Progress, now: Instant) -> Option<(f64, f64)> {
        /// After less, the first batch decides all.
        const SOONEST: f64 = 0.5;
        let seconds = (now - self.began).as_secs_f64();
        let done = progress.done.saturating_sub(self.before);
        let rate = done as f64 / seconds;
        let left = progress.total.saturating_sub(progress.done) as f64 / rate;
        (seconds >= SOONEST && done > 0).then_some((rate, left))
    }
}

/// ` · 1,234 images/s · 19 s left`; nothing as long as that is not known.
fn pace_text(pace: Option<(f64, f64)>, unit: &str) -> String {
    pace.map_or_else(String::new, |(rate, left)| {
        format!(" · {} {unit}s/s · {} left", count(rate.round() as usize), duration(left))
    })
}

/// Without a terminal, long steps say something this often.
const MENTION: Duration = Duration::from_secs(10);

impl Terminal {
    pub fn new(quiet: bool, verbose: bool) -> Self {
        Self {
            quiet,
            bar: None,
            pace: None,
            mentioned: None,
            views: false,
            skipped: 0,
            verbose,
            header: false,
        }
    }

    /// What a phase of the recipe is, and what it is for.
    fn phase(&mut self, PhaseStarted { number, phase }: &PhaseStarted) {
        self.views = matches!(phase, Phase::Train(train) if train.freezing.augmented_copies() > 0);
        let (name, purpose) = match phase {
            Phase::Train(train) => {
                let augmented = if train.freezing.frozen() > 0 && !train.freezing.is_cached() {
                    ", augmented"
                } else {
                    ""
                };
                (format!("{}{augmented}", train.freezing), purpose(train))
            }
            Phase::Resize { size } => {
                (format!("{size} px"), "larger images show more, and are nearly new photos to the network")
            }
            Phase::Tta(Tta { views: Views::Random(number), .. }) => {
                (format!("test-time augmentation, {number} views + 1"), "errors of single views are outvoted")
            }
            Phase::Tta(_) => {
                ("test-time augmentation, corners".to_owned(), "errors of single views are outvoted")
            }
        };
        println!("\n{number}  {name}   {purpose}");
    }

    fn stage(&mut self, stage: &Stage) {
        println!("   {stage}");
    }

    /// What the finder says, and by which rule the rate is taken.
    fn found(&mut self, search: Search) {
        match search {
            Search { suggestion: Some(suggestion), finding, .. } => {
                let Suggestion { rate, rule } = suggestion;
                println!("   found: learning rate {rate:.1e} ({rule})");
                match finding {
                    Some(Finding::Falls(suggestions)) => println!("          {}", fastais(&suggestions)),
                    Some(Finding::Rises(rate)) => {
                        println!(
                            "          the loss does not clearly fall any more, and rises from {rate:.1e} on"
                        );
                    }
                    None => {}
                }
            }
            Search { doubt, .. } => {
                let doubt = doubt.unwrap_or("no reliable learning rate");
                println!("   {doubt}; the usual one is taken");
            }
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
        let now = Instant::now();
        let pace = match self.pace {
            Some((task, pace)) if task == progress.task && progress.done >= pace.last => {
                Pace { last: progress.done, ..pace }
            }
            _ => {
                self.mentioned = Some(now);
                Pace { began: now, before: progress.done, last: progress.done }
            }
        };
        // The next task of this kind begins anew.
        self.pace = (progress.done < progress.total).then_some((progress.task, pace));
        let text = pace_text(pace.of(progress, now), progress.task.unit());
        if std::io::stderr().is_terminal() {
            self.show_bar(name, progress, text);
        } else {
            self.mention(name, progress, &text, now);
        }
    }

    fn show_bar(&mut self, name: &'static str, progress: Progress, pace: String) {
        let same = |(task, _): &(Task, ProgressBar)| *task == progress.task;
        if !self.bar.as_ref().is_some_and(same) {
            self.clear();
            let bar = ProgressBar::new(progress.total as u64);
            let unit = progress.task.unit();
            let template =
                format!("   {{prefix:14}} {{bar:30}} {{human_pos}} of {{human_len}} {unit}s{{msg}}");
            let style = ProgressStyle::with_template(&template).expect("a valid template");
            bar.set_style(style.progress_chars("━╸ "));
            bar.set_prefix(name);
            self.bar = Some((progress.task, bar));
        }
        if let Some((_, bar)) = &self.bar {
            bar.set_position(progress.done as u64);
            bar.set_message(pace);
        }
        if progress.done == progress.total {
            self.clear();
        }
    }

    fn mention(&mut self, name: &str, progress: Progress, pace: &str, now: Instant) {
        let due = self.mentioned.is_none_or(|last| now - last >= MENTION);
        if due && progress.done < progress.total {
            self.mentioned = Some(now);
            eprintln!(
                "   {name}: {} of {} {}s{pace}",
                count(progress.done),
                count(progress.total),
                progress.task.unit()
            );
        }
    }

    fn clear(&mut self) {
        if let Some((_, bar)) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// What the finder says.
struct Search<'a> {
    finding: Option<Finding>,
    suggestion: Option<Suggestion>,
    doubt: Option<&'a str>,
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
            Event::PhaseStarted(phase) => self.phase(phase),
            Event::StageStarted(stage) => self.stage(stage),
            Event::RateFound { finding, suggestion, doubt, .. } => {
                self.clear();
                let (finding, suggestion, doubt) = (*finding, *suggestion, doubt.as_deref());
                self.found(Search { finding, suggestion, doubt });
            }
            Event::Resumed { stage, epochs: (over, all) } => {
                println!("\n   going on with step {stage}: {over} of {} are over", counted(*all, "epoch"));
                self.header = true;
            }
            Event::Diagnosis(diagnosis) => {
                for line in diagnosis.to_string().lines() {
                    println!("   → {line}");
                }
            }
            Event::Written { what: "checkpoint", path } if self.verbose => {
                self.clear();
                println!("   checkpoint {}", shown(path.display()));
            }
            Event::Activations { kept, computed: 0, .. } => {
                let unit = if self.views { "view" } else { "image" };
                println!("\n   activations of {} from the cache", counted(*kept, unit));
            }
            Event::Activations { kept, computed, seconds } => {
                let unit = if self.views { "view" } else { "image" };
                let rate = count((*computed as f64 / seconds).round() as usize);
                let cached =
                    if *kept > 0 { format!(" · {} from the cache", count(*kept)) } else { String::new() };
                println!(
                    "\n   activations of {} · {rate} {unit}s/s · {}{cached}",
                    counted(*computed, unit),
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
                // The last star of a step stands at the epoch whose weights are kept.
                let best = if row.best { " *" } else { "" };
                println!(
                    "   {:>5}  {:>10.4}  {:>10}{metrics}  {:>8}  {:>9}{best}",
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

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(done: usize) -> Progress {
        Progress { task: Task::Activations, done, total: 400 }
    }

    #[test]
    fn a_rate_is_told_when_it_can_be_known() {
        let began = Instant::now();
        let pace = Pace { began, before: 64, last: 64 };
        let after = |seconds: f64| began + Duration::from_secs_f64(seconds);
        assert_eq!(pace.of(progress(64), began), None, "the first tick");
        assert_eq!(pace.of(progress(128), after(0.001)), None);
        let (rate, left) = pace.of(progress(264), after(2.0)).unwrap();
        assert!((rate - 100.0).abs() < 1e-6 && (left - 1.36).abs() < 1e-6, "{rate} {left}");
        assert_eq!(pace_text(Some((1234.4, 19.0)), "image"), " · 1,234 images/s · 19 s left");
        assert_eq!(pace_text(None, "image"), "");
    }
}
