//! The real command is asked to end, by each signal that people, containers and schedulers send.
#![cfg(unix)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

use crate::common::{Place, rows, small};

/// So many epochs that a signal always comes in the middle.
fn long<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&small(&["--batch-size", "8", "--head-epochs", "2000", "--lr", "1e-3"])[..], more].concat()
}

/// A command at work.
struct Running {
    process: Child,
    out: BufReader<ChildStdout>,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(process.stdout.take().unwrap());
        Self { process, out }
    }

    /// Waits for a line of standard output that holds this, and gives it.
    fn wait_for(&mut self, text: &str) -> String {
        let mut line = String::new();
        while self.out.read_line(&mut line).unwrap() > 0 {
            if line.contains(text) {
                return line;
            }
            line.clear();
        }
        panic!("\"{text}\" never came: {:?}", self.end());
    }

    /// Waits until training is under way: its third epoch is over.
    fn wait_for_epochs(&mut self) {
        self.wait_for("epoch  train loss");
        for _ in 0..3 {
            self.wait_for(".");
        }
    }

    fn signal(&self, name: &str) {
        signal(self.process.id(), name);
    }

    /// The status, the rest of standard output, and standard error.
    fn end(&mut self) -> (ExitStatus, String, String) {
        let (mut out, mut said) = (String::new(), String::new());
        self.out.read_to_string(&mut out).unwrap();
        self.process.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (self.process.wait().unwrap(), out, said)
    }
}

fn signal(process: u32, name: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), &process.to_string()]).status().unwrap();
    assert!(sent.success());
}

/// Whether this process was started to ignore SIGHUP, which those that it starts inherit.
fn hangups_are_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

#[test]
fn each_signal_ends_a_run_after_its_batch_and_keeps_all() {
    let place = Place::with_photos(8);
    for (name, status) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        if name == "HUP" && hangups_are_ignored() {
            println!("skipped: the tests themselves were started to ignore SIGHUP, as by nohup");
            continue;
        }
        let mut running = Running::start(&mut place.ocelli(&long(&["--out", name])));
        running.wait_for_epochs();
        running.signal(name);
        let (ended, _, said) = running.end();
        assert_eq!(ended.code(), Some(status), "{name}: {said}");
        assert!(
            said.contains(&format!("a checkpoint is saved. To continue:  ocelli train --resume {name}")),
            "{said}"
        );
        let kept = rows(&place.read(&format!("{name}/history.csv"))).len();
        assert!((3..2000).contains(&kept), "{kept} rows");
    }
    // It goes on where it was, and can be ended again.
    let before = rows(&place.read("TERM/history.csv"));
    let mut running = Running::start(&mut place.ocelli(&["train", "--resume", "TERM"]));
    running.wait_for("resuming phase 1");
    running.wait_for_epochs();
    running.signal("TERM");
    assert_eq!(running.end().0.code(), Some(143));
    let after = rows(&place.read("TERM/history.csv"));
    assert!(after.len() > before.len() && after.starts_with(&before));
}

#[test]
fn a_second_signal_ends_the_command_at_once() {
    let place = Place::with_photos(8);
    let mut running = Running::start(&mut place.ocelli(&long(&[])));
    running.wait_for_epochs();
    // The process stands still, so that both are there when it goes on.
    running.signal("STOP");
    running.signal("TERM");
    running.signal("INT");
    running.signal("CONT");
    let (ended, _, said) = running.end();
    assert!(matches!(ended.code(), Some(143 | 130)), "{ended:?}: {said}");
    assert!(said.contains("once more to stop at once"), "{said}");
}

#[test]
fn a_hangup_that_was_to_be_ignored_is_ignored() {
    let place = Place::with_photos(8);
    let command = place.ocelli(&[]);
    let mut shell = Command::new("sh");
    shell
        .current_dir(place.path(""))
        .args(["-c", r#"trap "" HUP; exec "$0" "$@""#])
        .arg(command.get_program());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let mut running = Running::start(shell.args(long(&[])));
    running.wait_for_epochs();
    running.signal("HUP");
    for _ in 0..5 {
        running.wait_for(".");
    }
    running.signal("TERM");
    let (ended, _, said) = running.end();
    assert_eq!(ended.code(), Some(143), "{said}");
}

#[test]
fn as_the_first_process_of_a_container_it_is_ended_too() {
    let place = Place::with_photos(8);
    let within = |arguments: &[&str]| {
        let command = place.ocelli(arguments);
        let mut unshare = Command::new("unshare");
        unshare.args(["--pid", "--fork", "--mount-proc"]).arg(command.get_program()).args(arguments);
        unshare.current_dir(place.path("")).env("OCELLI_CACHE", place.path("cache"));
        unshare
    };
    match within(&["--version"]).stderr(Stdio::null()).stdout(Stdio::null()).status() {
        Ok(status) if status.success() => {}
        _ => {
            eprintln!("skipped: no process namespace can be made here");
            return;
        }
    }
    let mut running = Running::start(&mut within(&long(&[])));
    running.wait_for_epochs();
    let outer = running.process.id();
    let children = fs::read_to_string(format!("/proc/{outer}/task/{outer}/children")).unwrap();
    signal(children.trim().parse().unwrap(), "TERM");
    let (ended, _, said) = running.end();
    assert!(said.contains("a checkpoint is saved"), "{said}");
    assert_eq!(ended.code(), Some(143), "{said}");

    // And a verb that never asks.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut pull = within(&["pull", "resnet18", "--timeout", "600"]);
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut process =
        pull.env("OCELLI_TORCHVISION_URL", url).env("TORCH_HOME", place.path("torch")).spawn().unwrap();
    let _silent = listener.accept().unwrap();
    let outer = process.id();
    let children = fs::read_to_string(format!("/proc/{outer}/task/{outer}/children")).unwrap();
    signal(children.trim().parse().unwrap(), "TERM");
    assert_eq!(process.wait().unwrap().code(), Some(143));
}

#[test]
fn predictions_so_far_are_whole_lines() {
    let place = Place::with_photos(4);
    place.run(&small(&["--head-epochs", "1", "--out", "run"]));
    let mut command = place.ocelli(&["predict", "run", "-", "--jsonl"]);
    let mut running = Running::start(command.stdin(Stdio::piped()));
    let photo = crate::common::samples().join("flags/de.png");
    let paths = format!("{}\n", photo.display()).repeat(20_000);
    let mut stdin = running.process.stdin.take().unwrap();
    // Answers are read below: they come before all paths are written. What is written after the end is lost.
    std::thread::spawn(move || stdin.write_all(paths.as_bytes()));
    running.wait_for("de.png");
    running.signal("TERM");
    let (ended, out, said) = running.end();
    assert_eq!(ended.code(), Some(143), "{said}");
    assert!(said.contains("stopped after") && said.contains("photos"), "{said}");
    assert!(out.lines().count() < 20_000 - 1);
    for line in out.lines() {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(row["class"].is_string());
    }
}

#[test]
fn a_silent_server_does_not_keep_a_transfer_from_ending() {
    let place = Place::empty();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut command = place.ocelli(&["pull", "resnet18", "--timeout", "600"]);
    let mut running = Running::start(command.env("OCELLI_TORCHVISION_URL", url));
    let _silent = listener.accept().unwrap();
    running.signal("TERM");
    assert_eq!(running.end().0.code(), Some(143));
}
