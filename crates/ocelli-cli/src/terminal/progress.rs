//! Progress of long work: a bar in a terminal, else a line at intervals.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use ocelli::event::{Activity, Progress};

use crate::output::{eprintln, progress_bar};
use crate::text::{count, duration};

/// The interval of plain lines.
const INTERVAL: Duration = Duration::from_secs(10);

/// Shows progress on standard error.
#[derive(Default)]
pub struct ProgressDisplay {
    bar: Option<(Activity, ProgressBar)>,
    /// How fast the current activity is.
    pace: Option<(Activity, Pace)>,
    /// When the last plain line was printed.
    printed: Option<Instant>,
}

/// The speed of an activity since it was first seen: when earlier work began is not known.
#[derive(Clone, Copy)]
struct Pace {
    began: Instant,
    before: usize,
    /// What was done when it was last seen.
    last: usize,
}

impl Pace {
    /// The speed per second, and the seconds that are left, once they can be estimated.
    fn at(self, progress: Progress, now: Instant) -> Option<(f64, f64)> {
        /// In less time than this, the first batch would dominate.
        const SOONEST: f64 = 0.5;
        let seconds = (now - self.began).as_secs_f64();
        let done = progress.done.saturating_sub(self.before);
        let rate = done as f64 / seconds;
        let left = progress.total.saturating_sub(progress.done) as f64 / rate;
        (seconds >= SOONEST && done > 0).then_some((rate, left))
    }
}

/// ` · 1,234 images/s · 19 s left`; empty until it is known.
fn pace_text(pace: Option<(f64, f64)>, unit: &str) -> String {
    pace.map_or_else(String::new, |(rate, left)| match rate.round() as usize {
        0 => format!(" · {} left", duration(left)),
        rate => format!(" · {} {unit}s/s · {} left", count(rate), duration(left)),
    })
}

fn name(activity: Activity) -> &'static str {
    match activity {
        Activity::Hashing => "reading photos",
        Activity::Features => "features",
        Activity::Training => "training",
        Activity::Validation => "validation",
        Activity::Statistics => "statistics",
        Activity::LearningRates => "lr finder",
        Activity::Resizing => "resizing",
        Activity::LogisticRegression => "logistic regression",
        Activity::Views => "TTA",
        Activity::Review => "label check",
    }
}

impl ProgressDisplay {
    pub fn show(&mut self, progress: Progress) {
        let now = Instant::now();
        let pace = match self.pace {
            Some((activity, pace)) if activity == progress.activity && progress.done >= pace.last => {
                Pace { last: progress.done, ..pace }
            }
            _ => {
                self.printed = Some(now);
                Pace { began: now, before: progress.done, last: progress.done }
            }
        };
        // The next activity of this kind starts anew.
        self.pace = (progress.done < progress.total).then_some((progress.activity, pace));
        let text = pace_text(pace.at(progress, now), progress.activity.unit());
        if std::io::stderr().is_terminal() {
            self.show_bar(progress, text);
        } else {
            self.print_line(progress, &text, now);
        }
    }

    fn show_bar(&mut self, progress: Progress, pace: String) {
        let same = |(activity, _): &(Activity, ProgressBar)| *activity == progress.activity;
        if !self.bar.as_ref().is_some_and(same) {
            self.clear();
            let unit = progress.activity.unit();
            let template =
                format!("   {{prefix:14}} {{bar:30}} {{human_pos}} of {{human_len}} {unit}s{{msg}}");
            let bar = progress_bar(&template);
            bar.set_length(progress.total as u64);
            bar.set_prefix(name(progress.activity));
            self.bar = Some((progress.activity, bar));
        }
        if let Some((_, bar)) = &self.bar {
            bar.set_position(progress.done as u64);
            bar.set_message(pace);
        }
        if progress.done == progress.total {
            self.clear();
        }
    }

    fn print_line(&mut self, progress: Progress, pace: &str, now: Instant) {
        let due = self.printed.is_none_or(|last| now - last >= INTERVAL);
        if due && progress.done < progress.total {
            self.printed = Some(now);
            let (name, unit) = (name(progress.activity), progress.activity.unit());
            eprintln!("   {name}: {} of {} {unit}s{pace}", count(progress.done), count(progress.total));
        }
    }

    /// Removes the bar before something else is printed.
    pub fn clear(&mut self) {
        if let Some((_, bar)) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(done: usize) -> Progress {
        Progress { activity: Activity::Features, done, total: 400 }
    }

    #[test]
    fn a_rate_is_shown_when_it_can_be_known() {
        let began = Instant::now();
        let pace = Pace { began, before: 64, last: 64 };
        let after = |seconds: f64| began + Duration::from_secs_f64(seconds);
        assert_eq!(pace.at(progress(64), began), None, "the first tick");
        assert_eq!(pace.at(progress(128), after(0.001)), None);
        let (rate, left) = pace.at(progress(264), after(2.0)).unwrap();
        assert!((rate - 100.0).abs() < 1e-6 && (left - 1.36).abs() < 1e-6, "{rate} {left}");
        assert_eq!(pace_text(Some((1234.4, 19.0)), "image"), " · 1,234 images/s · 19 s left");
        assert_eq!(pace_text(Some((0.04, 29.0)), "fold"), " · 29 s left");
        assert_eq!(pace_text(None, "image"), "");
    }
}
