//! `ocelli pull`

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{DecimalBytes, ProgressBar, ProgressStyle};
use ocelli::pull::PullEvent;
use ocelli::{Arch, WeightStore, built_in_weights};

use crate::errors::Failure;
use crate::flags::CacheFlags;
use crate::output::{eprintln, path_line, println, shown};
use crate::values::{arch, whole};

/// Download pretrained weights
///
/// Weights in the caches of torch.hub and Hugging Face are used where they are. The path of each file is printed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ocelli pull efficientnet_lite4
  HF_ENDPOINT=https://hub.example.org ocelli pull convnext_atto

Environment:
  HTTPS_PROXY, HTTP_PROXY, ALL_PROXY, NO_PROXY    proxies
  HF_ENDPOINT, OCELLI_TORCHVISION_URL             mirrors
  OCELLI_CACHE, TORCH_HOME, HF_HOME, HF_HUB_CACHE caches")]
pub struct Pull {
    /// Backbones; `ocelli models` lists them
    #[arg(required = true, value_name = "NAME", value_parser = arch)]
    names: Vec<Arch>,

    /// Give up if the server sends nothing for this long
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = whole::<1, 86_400>)]
    timeout: usize,
    /// Print only the paths
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    cache: CacheFlags,
}

impl Pull {
    pub fn run(&self) -> Result<(), Failure> {
        let mut store = match &self.cache.cache {
            Some(folder) => WeightStore::with_cache(folder),
            None => WeightStore::from_environment()?,
        };
        store.patience.silence = Duration::from_secs(self.timeout as u64);
        for arch in &self.names {
            match built_in_weights(*arch) {
                Some(_) => println!("{arch} is built in"),
                None => path_line(&fetched(&store, *arch, self.quiet)?),
            }
        }
        Ok(())
    }
}

/// The file with a backbone's weights, downloaded unless it is on this machine; messages go to standard error.
pub fn fetched(store: &WeightStore, arch: Arch, quiet: bool) -> ocelli::Result<PathBuf> {
    let mut transfer = Transfer::new(quiet);
    Ok(store.pull(arch, &mut |event| {
        transfer.observe(event);
        ControlFlow::Continue(())
    })?)
}

/// Prints a download: as a progress bar in a terminal, else as plain lines.
struct Transfer {
    quiet: bool,
    bar: Option<ProgressBar>,
    mentioned: Instant,
}

/// Without a terminal, progress is printed this often.
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
                    eprintln!("   resuming at {}", DecimalBytes(*kept));
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
            PullEvent::Again { reason } => self.print(&format!("   {}; trying again", shown(reason))),
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
