//! `ocelli --version`, and with `--verbose` what a report of a bug should name.

use ocelli::{DeviceKind, Isa, default_cache};

use crate::flags::default_threads;
use crate::output::{labelled, println, shown};

/// Prints the version; in a verbose form also what was built, and what it finds on this machine.
pub fn print(verbose: bool) {
    println!("ocelli {}", env!("CARGO_PKG_VERSION"));
    if !verbose {
        return;
    }
    let line = |label, text: &str| labelled(label, 14, text);
    line("commit", known(env!("OCELLI_BUILT_FROM")));
    line("built for", known(env!("OCELLI_TARGET")));
    line("built with", known(env!("OCELLI_RUSTC")));
    line("features", &features().join(", "));
    line("instructions", &instructions());
    line("threads", &default_threads().to_string());
    let cache = default_cache().map(|folder| shown(folder.display()));
    line("cache folder", &cache.unwrap_or_else(|error| error.to_string()));
}

fn known(text: &str) -> &str {
    if text.is_empty() { "unknown" } else { text }
}

/// The features that this program is built with.
fn features() -> Vec<&'static str> {
    let devices = DeviceKind::ALL.iter().filter(|kind| **kind != DeviceKind::Cpu && kind.is_built());
    let built = [
        ("hub", cfg!(feature = "hub")),
        ("lite0", cfg!(feature = "lite0")),
        ("onnx", cfg!(feature = "onnx")),
        ("plot", cfg!(feature = "plot")),
        ("report", cfg!(feature = "report")),
        ("serve", cfg!(feature = "serve")),
    ];
    let names = built.into_iter().filter_map(|(name, is_built)| is_built.then_some(name));
    let names: Vec<&str> = names.chain(devices.map(|kind| kind.name())).collect();
    if names.is_empty() { vec!["none"] } else { names }
}

/// The instruction sets of this processor that there are kernels for, and the one that is used.
pub fn instructions() -> String {
    let found: Vec<String> =
        Isa::ALL.iter().filter(|isa| isa.is_supported()).map(ToString::to_string).collect();
    format!("{} (used: {})", found.join(", "), Isa::current())
}
