//! The output of a download of weights, in a terminal or as plain lines.

use std::io::IsTerminal;
use std::path::Path;
use std::time::{Duration, Instant};

use indicatif::{DecimalBytes, ProgressBar, ProgressStyle};
use ocelli::hub::PullEvent;

use crate::output::{eprintln, shown};

/// Prints a download: as a progress bar in a terminal, else as plain lines.
pub struct Transfer {
    quiet: bool,
    bar: Option<ProgressBar>,
    mentioned: Instant,
}

/// The interval of plain lines.
const MENTION: Duration = Duration::from_secs(10);

impl Transfer {
    pub fn new(quiet: bool) -> Self {
        Self { quiet, bar: None, mentioned: Instant::now() }
    }

    pub fn observe(&mut self, event: &PullEvent) {
        if self.quiet {
            return;
        }
        match event {
            PullEvent::Started { file, resumed_from, total } => {
                let size = total.map_or("size unknown".to_owned(), |total| DecimalBytes(total).to_string());
                eprintln!("{}   {size}, licence {}", shown(&file.url), shown(&file.licence));
                if *resumed_from > 0 {
                    eprintln!("   resuming at {}", DecimalBytes(*resumed_from));
                }
                if std::io::stderr().is_terminal() {
                    self.bar = Some(bar(*resumed_from, *total));
                }
            }
            PullEvent::Received { done, total } => match &self.bar {
                Some(bar) => bar.set_position(*done),
                None if self.mentioned.elapsed() >= MENTION => {
                    self.mentioned = Instant::now();
                    let of = total.map_or(String::new(), |total| format!(" of {}", DecimalBytes(total)));
                    eprintln!("   {}{of}", DecimalBytes(*done));
                }
                None => {}
            },
            PullEvent::Retrying { reason } => self.print(&format!("   {}; trying again", shown(reason))),
            PullEvent::Waiting => eprintln!("   waiting for another process that downloads it"),
            PullEvent::Done { path, sha256, checked } => {
                if let Some(bar) = self.bar.take() {
                    bar.finish_and_clear();
                }
                let checked = if *checked { "as published" } else { "no published checksum to compare" };
                eprintln!("   {}   SHA-256 {}…, {checked}", shown(name(path)), &sha256[..16]);
            }
            _ => {}
        }
    }

    /// A line above the bar.
    fn print(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{line}")),
            None => eprintln!("{line}"),
        }
    }
}

fn bar(kept: u64, total: Option<u64>) -> ProgressBar {
    let template = match total {
        Some(_) => {
            "   {bar:30} {decimal_bytes} of {decimal_total_bytes} · {decimal_bytes_per_sec} · {eta} left"
        }
        None => "   {spinner} {decimal_bytes} · {decimal_bytes_per_sec}",
    };
    let style = ProgressStyle::with_template(template).expect("a valid template").progress_chars("━╸ ");
    let bar = total.map_or_else(ProgressBar::new_spinner, ProgressBar::new).with_style(style);
    bar.set_position(kept);
    bar.reset_eta();
    bar
}

fn name(path: &Path) -> std::borrow::Cow<'_, str> {
    path.file_name().map_or_else(|| path.to_string_lossy(), |name| name.to_string_lossy())
}
