//! Folders and files that may not be read or written: each is named with the reason, and the status says so. Root may
//! read everything, so that as root the command is run as another user, where that is possible.
#![cfg(unix)]

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::common::{Place, small, stderr};

/// "nobody" of most systems.
const OTHER: u32 = 65534;

/// A place, and whether the command is to be run as another user.
struct Guarded {
    place: Place,
    as_other: bool,
}

impl Guarded {
    /// `None`, with the reason printed, where permissions hold for nobody who can run the command.
    fn new() -> Option<Self> {
        let place = Place::with_photos(4);
        let closed = place.path("closed");
        fs::write(&closed, "").unwrap();
        mode(&closed, 0o000);
        let as_other = fs::read(&closed).is_ok();
        let guarded = Self { place, as_other };
        if as_other {
            let mut folder = guarded.place.path("photos");
            folder.pop();
            give(&folder);
            let started = guarded.ocelli(&["--version"]).output();
            let read = guarded.other(Command::new("cat")).arg(&closed).output();
            if !started.is_ok_and(|output| output.status.success())
                || read.is_ok_and(|output| output.status.success())
            {
                println!(
                    "skipped: permissions do not hold for root, and the command cannot be run as another user"
                );
                return None;
            }
        }
        Some(guarded)
    }

    fn other(&self, mut command: Command) -> Command {
        if self.as_other {
            command.uid(OTHER).gid(OTHER);
        }
        command
    }

    fn ocelli(&self, arguments: &[&str]) -> Command {
        self.other(self.place.ocelli(arguments))
    }

    /// Runs the command while a path has these permissions; gives the status, and what was said.
    fn with(&self, path: &str, bits: u32, arguments: &[&str]) -> (Option<i32>, String) {
        let path = self.place.path(path);
        let before = fs::metadata(&path).unwrap().permissions();
        mode(&path, bits);
        let output = self.ocelli(arguments).output().unwrap();
        fs::set_permissions(&path, before).unwrap();
        (output.status.code(), stderr(&output))
    }

    /// The command must be refused with the path and the reason.
    fn refused(&self, path: &str, bits: u32, arguments: &[&str]) {
        let (status, said) = self.with(path, bits, arguments);
        assert_eq!(status, Some(1), "{path} {bits:o} {arguments:?}: {said}");
        let error = said.lines().find(|line| line.starts_with("error: ")).unwrap_or_default();
        assert!(
            error.contains(path) && error.contains("permission denied"),
            "{path} {bits:o} {arguments:?}: {said}"
        );
    }
}

fn mode(path: &Path, bits: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(bits)).unwrap();
}

/// Gives everything below a folder to the other user.
fn give(path: &Path) {
    chown(path, Some(OTHER), Some(OTHER)).unwrap();
    if path.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| give(&entry.unwrap().path()));
    }
}

#[test]
fn what_may_not_be_read_or_written_is_named() {
    let Some(guarded) = Guarded::new() else { return };
    let train = small(&["--lr", "1e-2", "--head-epochs", "1", "--threads", "1"]);
    let train_to = |out: &'static str| [&train[..], &["--out", out]].concat();

    // Photos.
    let photo = "photos/flags/checkered_flag.png";
    guarded.refused("photos/flags", 0o000, &train_to("none"));
    guarded.refused("photos/flags", 0o644, &train_to("none"));
    guarded.refused("photos", 0o000, &train_to("none"));

    // Where results are written.
    fs::create_dir(guarded.place.path("results")).unwrap();
    if guarded.as_other {
        give(&guarded.place.path("results"));
    }
    guarded.refused("results", 0o555, &train_to("results/run"));
    guarded.refused("results", 0o555, &train_to("results"));

    // Without a cache all is computed.
    fs::create_dir(guarded.place.path("cache")).unwrap();
    if guarded.as_other {
        give(&guarded.place.path("cache"));
    }
    let (status, said) = guarded.with("cache", 0o555, &train_to("run"));
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("permission denied") && said.contains("goes on without it"), "{said}");

    // Nor where what it holds cannot be read.
    let mut shard = guarded.place.path("cache/activations");
    assert!(guarded.ocelli(&train_to("kept")).output().unwrap().status.success());
    while shard.is_dir() {
        shard = fs::read_dir(&shard).unwrap().next().unwrap().unwrap().path();
    }
    let (status, said) = guarded.with(shard.to_str().unwrap(), 0o000, &train_to("again"));
    assert_eq!(status, Some(0), "{said}");
    let notice = format!("cannot read {}: permission denied; its activations", shard.display());
    assert!(said.contains(&notice), "{said}");

    // A run and its model.
    guarded.refused("run", 0o000, &["predict", "run", photo]);
    guarded.refused("run", 0o000, &["evaluate", "run", "photos"]);
    guarded.refused("run", 0o644, &["train", "--resume", "run"]);
    guarded.refused("run", 0o644, &["report", "run"]);
    guarded.refused("run", 0o555, &["report", "run"]);
    guarded.refused("run/model.safetensors", 0o000, &["predict", "run", photo]);
    guarded.refused("run/config.toml", 0o000, &["train", "--resume", "run"]);
    let (status, said) = guarded.with(photo, 0o000, &["predict", "run", photo]);
    assert!(status == Some(1) && said.contains(photo) && said.contains("permission denied"), "{said}");
    assert!(guarded.ocelli(&["predict", "run", photo]).output().unwrap().status.success());
}
