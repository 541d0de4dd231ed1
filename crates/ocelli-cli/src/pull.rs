//! `ocelli pull`

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::output::{eprintln, path_line, println, shown};
use indicatif::{DecimalBytes, ProgressBar, ProgressStyle};
use ocelli::pull::PullEvent;
use ocelli::{Arch, NetworkError, WeightStore, built_in_weights};

use crate::Failure;
use crate::arguments::Pull;

pub fn run(arguments: &Pull) -> Result<(), Failure> {
    let names = &arguments.names;
    let archs: Result<Vec<Arch>, NetworkError> = names.iter().map(|name| name.parse()).collect();
    let mut store = match &arguments.cache {
        Some(folder) => WeightStore::with_cache(folder),
        None => WeightStore::from_environment()?,
    };
    store.patience.silence = Duration::from_secs(arguments.patience as u64);
    for arch in archs? {
        match built_in_weights(arch) {
            Some(_) => println!("{arch} is built in"),
            None => path_line(&fetched(&store, arch, arguments.quiet)?),
        }
    }
    Ok(())
}

/// The file with a backbone's weights, fetched where it is not here; what is said goes to standard error.
pub fn fetched(store: &WeightStore, arch: Arch, quiet: bool) -> Result<PathBuf, Failure> {
    let mut transfer = Transfer::new(quiet);
    Ok(store.pull(arch, &mut |event| {
        transfer.observe(event);
        ControlFlow::Continue(())
    })?)
}

/// A transfer as it looks in a terminal, and as plain lines where there is none.
struct Transfer {
    quiet: bool,
    bar: Option<ProgressBar>,
    mentioned: Instant,
}

/// Without a terminal, something is said this often.
const MENTION: Duration = Duration::from_secs(10);

impl Transfer {
    fn new(quiet: bool) -> Self {
        Self { quiet, bar: None, mentioned: Instant::now() }
    }

    fn observe(&mut self, event: &PullEvent) {
        if self.quiet {
            return;
        }
        match event {
            PullEvent::Started { file, kept, total } => {
                let size = total.map_or("size unknown".to_owned(), |total| DecimalBytes(total).to_string());
                eprintln!("{}   {size}, licence {}", shown(&file.url), shown(&file.licence));
                if *kept > 0 {
                    eprintln!("   {} are here from an earlier time", DecimalBytes(*kept));
                }
                if std::io::stderr().is_terminal() {
                    self.bar = Some(bar(*kept, *total));
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
            PullEvent::Again { reason } => self.say(&format!("   {}; trying again", shown(reason))),
            PullEvent::Waiting => eprintln!("   another process is fetching it; waiting"),
            PullEvent::Done { path, sha256, checked } => {
                if let Some(bar) = self.bar.take() {
                    bar.finish_and_clear();
                }
                let checked = if *checked { "as published" } else { "no checksum is published" };
                eprintln!("   {}   SHA-256 {}…, {checked}", shown(name(path)), &sha256[..16]);
            }
            _ => {}
        }
    }

    /// A line above the bar.
    fn say(&self, line: &str) {
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
