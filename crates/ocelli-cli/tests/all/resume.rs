//! The real command is killed, interrupted, and left without disk space; then it goes on.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::common::{Place, rows, stderr};

/// Every kind of step, at two sizes, on little pictures.
const STEPS: [&str; 13] = [
    "train",
    "photos",
    "--recipe",
    "full",
    "--size",
    "32,48",
    "--batch-size",
    "8",
    "--head-epochs",
    "2",
    "--cycles",
    "1",
    "--verbose",
];

fn steps<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&STEPS[..], more].concat()
}

/// Numbers that look random, always the same.
fn moments(count: usize) -> impl Iterator<Item = f64> {
    let mut x = 7u64;
    (0..count).map(move |_| {
        x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (x >> 11) as f64 / (1u64 << 53) as f64
    })
}

fn result(place: &Place, run: &str) -> (Vec<String>, Vec<u8>) {
    let model = fs::read(place.path(run).join("model.safetensors")).unwrap();
    (rows(&place.read(&format!("{run}/history.csv"))), model)
}

/// Kills a run again and again, each time after a share of the undisturbed run's time, and resumes it.
fn assert_survives_kills(kills: usize) {
    let place = Place::with_photos(8);
    let began = std::time::Instant::now();
    place.run(&steps(&["--out", "undisturbed"]));
    let whole = began.elapsed();
    let wanted = result(&place, "undisturbed");
    let (mut run, mut number, mut survived) = (String::new(), 0, 0);
    for moment in moments(kills) {
        let fresh = run.is_empty();
        if fresh {
            number += 1;
            run = format!("run-{number}");
        }
        let new = steps(&["--out", &run]);
        let resume = ["train", "--resume", &run, "--verbose"];
        let mut process = place
            .ocelli(if fresh { &new } else { &resume[..] })
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(whole.mul_f64(0.05 + 0.6 * moment));
        let over = process.try_wait().unwrap().is_some();
        process.kill().unwrap(); // SIGKILL
        process.wait().unwrap();
        let run_path = place.path(&run);
        // A run that was killed before it had a folder is begun anew, one that is over is compared.
        if !run_path.join("config.toml").exists() {
            fs::remove_dir_all(&run_path).ok();
            run.clear();
        } else if over || run_path.join("checksums.b3").exists() {
            assert!(result(&place, &run) == wanted, "after {survived} kills");
            run.clear();
        } else {
            survived += 1;
        }
    }
    if !run.is_empty() {
        place.run(&["train", "--resume", &run]);
        assert!(result(&place, &run) == wanted, "after {survived} kills");
    }
    assert!(survived > 0, "no kill came in the middle");
}

#[test]
fn a_killed_run_goes_on_to_the_same_rows_and_the_same_model() {
    assert_survives_kills(4);
}

#[test]
#[ignore = "takes minutes"]
fn a_run_killed_twenty_times_goes_on_to_the_same_rows_and_the_same_model() {
    assert_survives_kills(20);
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_keeps_everything_and_says_how_to_go_on() {
    let place = Place::with_photos(8);
    let began = std::time::Instant::now();
    place.run(&steps(&["--out", "undisturbed"]));
    let process = place.ocelli(&steps(&[])).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(began.elapsed().mul_f64(0.5));
    let sent = Command::new("kill").args(["-INT", &process.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let output = process.wait_with_output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("ocelli train --resume runs/photos-1"), "{said}");
    let refused = place.refusal(&["train", "--resume", "photos"]);
    assert!(refused.contains("config.toml"), "{refused}");
    place.run(&["train", "--resume", "runs/photos-1"]);
    assert!(result(&place, "runs/photos-1") == result(&place, "undisturbed"));
    let refused = place.refusal(&["train", "--resume", "runs/photos-1"]);
    assert!(refused.contains("is finished") && refused.contains("model.safetensors"), "{refused}");

    // Checkpoints: the last two, and the best weights, which are models.
    let names: Vec<String> = fs::read_dir(place.path("runs/photos-1/checkpoints"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names.iter().filter(|name| name.starts_with("checkpoint-")).count(), 2, "{names:?}");
    let best = names.iter().find(|name| name.starts_with("best-")).unwrap();
    let photo = crate::common::samples().join("flags/de.png");
    let best = format!("runs/photos-1/checkpoints/{best}");
    assert!(place.run(&["predict", &best, photo.to_str().unwrap()]).contains("de.png"));

    // The settings of a run repeat it.
    place.run(&["train", "--config", "runs/photos-1/config.toml", "--out", "again"]);
    assert!(result(&place, "again") == result(&place, "undisturbed"));
}

#[test]
fn photos_that_have_changed_are_not_gone_on_with_and_a_damaged_checkpoint_is_passed_over() {
    let place = Place::with_photos(8);
    // A run whose last step is missing is as good as one that was killed.
    place.run(&steps(&["--out", "run"]));
    fs::remove_file(place.path("run/model.safetensors")).unwrap();
    let wanted = rows(&place.read("run/history.csv"));
    let checkpoints = place.path("run/checkpoints");
    let mut names: Vec<_> = fs::read_dir(&checkpoints).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.retain(|name| name.file_name().unwrap().to_str().unwrap().starts_with("checkpoint-"));
    names.sort();
    fs::write(&names[1], b"half a file").unwrap();
    let output = place.ocelli(&["train", "--resume", "run"]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("the checkpoint before it"), "{}", stderr(&output));
    assert_eq!(rows(&place.read("run/history.csv")), wanted);

    fs::remove_file(place.path("run/model.safetensors")).unwrap();
    let photo = fs::read_dir(place.path("photos/flags")).unwrap().next().unwrap().unwrap().path();
    fs::copy(crate::common::samples().join("flags/rainbow-flag.png"), photo).unwrap();
    let refused = place.refusal(&["train", "--resume", "run"]);
    assert!(refused.contains("1 photo has other content (flags/"), "{refused}");
}

/// A file system of so many megabytes, where the test may make one; it is gone with the value.
struct Disk<'a>(&'a Path);

impl<'a> Disk<'a> {
    fn small(at: &'a Path, megabytes: usize) -> Option<Self> {
        fs::create_dir_all(at).unwrap();
        let size = format!("size={megabytes}m");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(at)
            .stderr(Stdio::null())
            .status();
        mounted.is_ok_and(|status| status.success()).then_some(Self(at))
    }

    fn grow(&self, megabytes: usize) {
        let size = format!("remount,size={megabytes}m");
        assert!(Command::new("mount").args(["-o", &size]).arg(self.0).status().unwrap().success());
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

#[test]
fn a_full_disk_is_said_and_the_checkpoint_before_it_stays_whole() {
    let place = Place::with_photos(8);
    let at = place.path("disk");
    let Some(disk) = Disk::small(&at, 100) else {
        eprintln!("skipped: no file system can be mounted here");
        return;
    };
    place.run(&steps(&["--out", "undisturbed"]));
    let refused = place.refusal(&steps(&["--out", "disk/run"]));
    assert!(refused.contains("no space is left") && refused.contains("free some space"), "{refused}");
    assert!(refused.contains("ocelli train --resume disk/run"), "{refused}");
    for entry in fs::read_dir(place.path("disk/run/checkpoints")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(name.ends_with(".safetensors"), "nothing half-written is left: {name}");
    }
    disk.grow(1000);
    place.run(&["train", "--resume", "disk/run"]);
    assert!(result(&place, "disk/run") == result(&place, "undisturbed"));
}
