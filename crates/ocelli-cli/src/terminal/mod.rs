//! The output of training, in a terminal or as plain lines.

mod intro;
mod progress;

use std::ops::ControlFlow;
use std::sync::{Mutex, PoisonError};

use ocelli::event::{Activity, PhaseStarted, Progress};
use ocelli::{
    CurveShape, EpochRecord, Event, FoldFinished, Freezing, HashProgress, LrChoice, LrRule, LrSuggestion,
    Metric, Observer, Phase, Result, SuggestedLrs, TrainPhase, Tta, TtaViews,
};

use crate::output::{eprintln, message, println, shown};
use crate::text::{count, counted, duration};
use progress::ProgressDisplay;

pub use intro::{introduce, is_warning, machine, print_warnings};

/// The most skipped images that are named; skipped.csv has all.
const SKIPPED: usize = 3;

/// Prints the table on standard output, and progress and notices on standard error.
pub struct Terminal {
    quiet: bool,
    verbose: bool,
    progress: ProgressDisplay,
    /// Whether the current phase caches augmented copies of images.
    copies: bool,
    skipped: usize,
    /// Whether the next row needs a new table header.
    header: bool,
}

/// Shows progress alone.
pub fn progress_alone() -> impl Observer {
    let mut display = ProgressDisplay::default();
    move |event: &Event| {
        if let Event::Progress(progress) = event {
            display.show(*progress);
        }
        ControlFlow::Continue(())
    }
}

/// Shows how many photos are read.
pub fn hash_progress() -> HashProgress {
    /// Photos after which it is shown again.
    const OFTEN: usize = 256;
    // The thread with the last photo may not be the last to come here.
    let display = Mutex::new(Some(ProgressDisplay::default()));
    HashProgress::new(move |done, total| {
        if done % OFTEN == 0 || done == total {
            let mut display = display.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(shown) = display.as_mut() {
                shown.show(Progress { activity: Activity::Hashing, done, total });
            }
            display.take_if(|_| done == total);
        }
    })
}

impl Terminal {
    pub fn new(quiet: bool, verbose: bool) -> Self {
        Self {
            quiet,
            verbose,
            progress: ProgressDisplay::default(),
            copies: false,
            skipped: 0,
            header: false,
        }
    }

    /// Announces a phase of the recipe.
    fn phase(&mut self, PhaseStarted { number, phase }: &PhaseStarted) {
        self.copies = matches!(phase, Phase::Train(train) if train.freezing.augmented_copies() > 0);
        let (name, purpose) = match phase {
            Phase::Train(train) => (train_name(train), purpose(train)),
            Phase::LogisticRegression(_) => (
                "head, logistic regression".to_owned(),
                "a linear head on the features of the pretrained layers, fitted in one go",
            ),
            Phase::EndUnlessPromising => (
                "whether to train all layers".to_owned(),
                "it takes most of the time, and helps where photos are unlike those of the pretraining",
            ),
            Phase::Resize { size } => {
                (format!("{size} px"), "larger images show more detail, smaller ones are quicker to train on")
            }
            Phase::Tta(Tta { views: TtaViews::Random(views), .. }) => (
                format!("test-time augmentation, {views} views and the plain one"),
                "averages out errors of single views",
            ),
            Phase::Tta(_) => {
                ("test-time augmentation, corners".to_owned(), "averages out errors of single views")
            }
        };
        println!("\n{number}  {name}\n   {purpose}");
    }

    /// Prints the learning rate that is used, and why.
    fn learning_rate(
        &self,
        shape: Option<CurveShape>,
        suggestion: Option<LrSuggestion>,
        reason: Option<&str>,
    ) {
        let Some(LrSuggestion { rate, rule }) = suggestion else {
            let reason = reason.unwrap_or("no reliable suggestion");
            println!("   lr finder: {}; using the default", message(reason));
            return;
        };
        println!("   lr finder: using {rate:.1e}, {}", lr_reason(rule, shape));
        if let (true, Some(CurveShape::Descends(suggestions))) = (self.verbose, shape) {
            println!("              fastai's rules: {}", fastai_rules(&suggestions));
        }
    }

    fn features(&self, cached: usize, computed: usize, seconds: f64) {
        let unit = if self.copies { "view" } else { "image" };
        if computed == 0 {
            println!("   features of {} from the cache", counted(cached, unit));
            return;
        }
        let rate = count((computed as f64 / seconds).round() as usize);
        let from_cache =
            if cached > 0 { format!(" · {} from the cache", count(cached)) } else { String::new() };
        println!(
            "   features of {} · {rate} {unit}s/s · {}{from_cache}",
            counted(computed, unit),
            duration(seconds)
        );
    }

    fn epoch(&mut self, row: &EpochRecord) {
        let names: Vec<String> = row.metrics.iter().map(|(metric, _)| metric.to_string()).collect();
        if row.epoch == 1 || std::mem::take(&mut self.header) {
            let names: String = names.iter().map(|name| format!("  {name:>8}")).collect();
            println!("   epoch  train loss  valid loss{names}  accuracy       lr       time");
        }
        let cell = |value: Option<f64>| value.map_or_else(|| "–".into(), number);
        let wide = |(name, (_, value)): (&String, &(_, f64))| {
            format!("  {:>width$}", number(*value), width = name.len().max(8))
        };
        let metrics: String = names.iter().zip(&row.metrics).map(wide).collect();
        // The last star of a phase marks the epoch with the best weights.
        let best = if row.best { " *" } else { "" };
        println!(
            "   {:>5}  {:>10}  {:>10}{metrics}  {:>8}  {:>7}  {:>9}{best}",
            row.epoch,
            number(row.train_loss),
            cell(row.valid_loss),
            cell(row.accuracy),
            // A logistic regression has none.
            Some(row.learning_rates.head())
                .filter(|rate| *rate > 0.0)
                .map_or("–".into(), |rate| format!("{rate:.1e}")),
            duration(row.seconds)
        );
    }

    fn skipped(&mut self, path: &std::path::Path, reason: &str) {
        self.skipped += 1;
        self.progress.clear();
        if self.skipped <= SKIPPED {
            eprintln!("   skipped {}: {}", shown(path.display()), message(reason));
        } else if self.skipped == SKIPPED + 1 {
            eprintln!("   more are skipped, see skipped.csv");
        }
    }
}

/// A row for a fold of a cross-validation, after the header where it is the first.
fn print_fold(FoldFinished { fold, folds, images, metrics, seconds }: &FoldFinished) {
    let name = |metric: Metric| format!("  {:>10}", metric.to_string());
    if *fold == 1 {
        let names: String = metrics.iter().map(|measured| name(measured.metric)).collect();
        println!("    fold{names}    images       time");
    }
    let values = metrics.iter().map(|measured| {
        format!("  {:>width$}", number(measured.value), width = measured.metric.to_string().len().max(10))
    });
    let (values, images, of) = (values.collect::<String>(), count(*images), format!("{fold}/{folds}"));
    println!("   {of:>5}{values}  {images:>8}  {:>9}", duration(*seconds));
}

/// What the time for features was mostly spent on, where the waits say so; nothing where it was short.
fn bound_of_features(computed: usize, seconds: f64, waited: f64) -> Option<String> {
    /// In less time than this, the first batch would dominate.
    const LONG: f64 = 5.0;
    let share = waited / seconds;
    let percent = (100.0 * share).round();
    match computed {
        1.. if seconds >= LONG && share >= 0.5 => {
            Some(format!("bound by decoding: the network waited for photos {percent} % of the time"))
        }
        1.. if seconds >= LONG && share <= 0.1 => {
            Some(format!("bound by the network: it waited for photos {percent} % of the time"))
        }
        _ => None,
    }
}

/// A loss or a metric in the table: `0.0312`, `1.00e23`.
fn number(value: f64) -> String {
    /// From here on it would be wider than its column.
    const LARGE: f64 = 1e5;
    if value.abs() >= LARGE && value.is_finite() {
        format!("{value:.2e}")
    } else if value.abs() < 0.5e-4 {
        // What is nothing to four places has no sign.
        "0.0000".to_owned()
    } else {
        format!("{value:.4}")
    }
}

/// `head, cached features`, `head, augmented`, `all layers`
fn train_name(train: &TrainPhase) -> String {
    let augmented =
        if train.freezing.frozen() > 0 && !train.freezing.is_cached() { ", augmented" } else { "" };
    format!("{}{augmented}", train.freezing)
}

/// The purpose of a training phase.
fn purpose(train: &TrainPhase) -> &'static str {
    let plain = matches!(train.freezing, Freezing::Cached { augmented_copies: 0, .. });
    match (train.freezing.frozen(), plain) {
        (0, _) => match train.lr {
            LrChoice::Fixed(rates) if rates.0.iter().all(|rate| *rate == rates.head()) => {
                "fine-tunes all layers"
            }
            _ => "fine-tunes all layers, earlier ones at lower learning rates",
        },
        (GROUPS_BEFORE_HEAD, true) => "a new head on the features of the pretrained layers",
        (GROUPS_BEFORE_HEAD, false) => "the head on augmented images: learns what to ignore",
        _ => "fine-tunes the later layers on the features of the earlier ones",
    }
}

/// The number of frozen layer groups if only the head is trained.
const GROUPS_BEFORE_HEAD: usize = 2;

/// Why the LR finder suggests a learning rate.
pub fn lr_reason(rule: LrRule, shape: Option<CurveShape>) -> String {
    match (rule, shape) {
        (LrRule::ThirdOfMinimum, Some(CurveShape::Descends(SuggestedLrs { minimum, .. }))) => {
            format!("a third of the loss minimum's {:.1e}", minimum * 10.0)
        }
        (LrRule::TenthOfMinimum, Some(CurveShape::Descends(SuggestedLrs { minimum, .. }))) => {
            format!("a tenth of the loss minimum's {:.1e}", minimum * 10.0)
        }
        (LrRule::TenthOfRise, Some(CurveShape::OnlyRises(rate))) => {
            format!("a tenth of {rate:.1e}, above which the loss rises (it has no clear descent)")
        }
        (rule, _) => rule.to_string(),
    }
}

/// What fastai's lr_find would suggest from the same curve.
pub fn fastai_rules(suggestions: &SuggestedLrs) -> String {
    let SuggestedLrs { valley, slide, minimum, steep } = suggestions;
    format!("valley {valley:.1e} · slide {slide:.1e} · minimum/10 {minimum:.1e} · steep {steep:.1e}")
}

impl Observer for Terminal {
    fn observe(&mut self, event: &Event) -> Result<ControlFlow<()>> {
        match event {
            // Printed even with --quiet, since results depend on it.
            Event::Skipped { path, reason } => self.skipped(path, reason),
            Event::Notice { text } => {
                self.progress.clear();
                let label = if is_warning(text) { "" } else { "note: " };
                eprintln!("   {label}{}", message(text));
            }
            _ if self.quiet => {}
            Event::Progress(progress) => self.progress.show(*progress),
            event => {
                self.progress.clear();
                self.print(event);
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

impl Terminal {
    fn print(&mut self, event: &Event) {
        match event {
            Event::PhaseStarted(phase) => self.phase(phase),
            // What a logistic regression is fitted with is printed once it is known.
            Event::FitStarted(fit) if fit.learning_rates.head() == 0.0 => {}
            Event::FitStarted(fit) => println!("   {fit}"),
            Event::Decision { reason, .. } => println!("   → {}", message(reason)),
            Event::LogisticRegression(fit) => fit.to_string().lines().for_each(|line| println!("   {line}")),
            Event::LrFound { shape, suggestion, reason, .. } => {
                self.learning_rate(*shape, *suggestion, reason.as_deref());
            }
            Event::Resumed { fit, epochs: (done, all) } => {
                println!("\n   resuming phase {fit} after epoch {done} of {all}");
                self.header = true;
            }
            Event::Features { cached, computed, seconds, waited } => {
                self.features(*cached, *computed, *seconds);
                bound_of_features(*computed, *seconds, *waited).iter().for_each(|line| println!("   {line}"));
            }
            Event::Epoch(row) => self.epoch(row),
            Event::FoldFinished(fold) => print_fold(fold),
            Event::Diagnosis(diagnosis) => {
                for line in diagnosis.to_string().lines() {
                    println!("   → {line}");
                }
            }
            Event::Written { what: "checkpoint", path } if self.verbose => {
                println!("   checkpoint {}", shown(path.display()));
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_bound_the_features_is_said_where_it_can_be() {
        let text =
            |computed, seconds, waited| bound_of_features(computed, seconds, waited).unwrap_or_default();
        assert_eq!(
            text(9000, 10.0, 6.2),
            "bound by decoding: the network waited for photos 62 % of the time"
        );
        assert_eq!(text(9000, 10.0, 0.4), "bound by the network: it waited for photos 4 % of the time");
        // Both were busy; it was too short; nothing was computed.
        for (computed, seconds, waited) in [(9000, 10.0, 3.0), (9, 2.0, 1.9), (0, 10.0, 0.0)] {
            assert_eq!(bound_of_features(computed, seconds, waited), None);
        }
    }

    #[test]
    fn numbers_of_the_table_fit_their_columns_and_nothing_has_no_sign() {
        for (value, text) in [
            (0.0, "0.0000"),
            (-0.0, "0.0000"),
            (-0.000_04, "0.0000"),
            (-0.000_06, "-0.0001"),
            (0.000_06, "0.0001"),
            (0.03125, "0.0312"),
            (1e23, "1.00e23"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
