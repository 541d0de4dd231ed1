//! Tells the program from what it is built: `ocelli --version --verbose` prints it.

use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-env-changed=OCELLI_COMMIT");
    let here = PathBuf::from(std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let commit = given().or_else(|| packaged(&here)).or_else(|| cloned(&here)).unwrap_or_default();
    println!("cargo:rustc-env=OCELLI_BUILT_FROM={commit}");
    println!("cargo:rustc-env=OCELLI_TARGET={}", std::env::var("TARGET").unwrap_or_default());
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    println!(
        "cargo:rustc-env=OCELLI_RUSTC={}",
        output(Command::new(rustc).arg("--version")).unwrap_or_default()
    );
}

/// The commit that whoever builds names: sources without a history do not know it.
fn given() -> Option<String> {
    std::env::var("OCELLI_COMMIT").ok().filter(|commit| !commit.is_empty())
}

/// The commit that `cargo package` records.
fn packaged(here: &Path) -> Option<String> {
    let record = here.join(".cargo_vcs_info.json");
    let text = std::fs::read_to_string(&record).ok()?;
    println!("cargo:rerun-if-changed={}", record.display());
    let (_, after) = text.split_once("\"sha1\"")?;
    let changed = if text.contains("\"dirty\": true") { " with changes" } else { "" };
    after.split('"').nth(1).map(|commit| format!("{commit}{changed}"))
}

/// The commit of the clone that this is a part of, and not of another repository that has a copy of it.
fn cloned(here: &Path) -> Option<String> {
    let root = here.join("../..");
    if !root.join(".git").exists() {
        return None;
    }
    let git = |arguments: &[&str]| output(Command::new("git").arg("-C").arg(&root).args(arguments));
    // Both change with every commit; a path that is not there would have cargo build anew each time.
    for name in ["HEAD", "logs/HEAD"] {
        let path = root.join(git(&["rev-parse", "--git-path", name])?);
        if path.exists() {
            println!("cargo:rerun-if-changed={}", path.display());
        }
    }
    git(&["log", "-1", "--format=%H (%cs)"])
}

/// What a program prints, if it succeeds.
fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}
