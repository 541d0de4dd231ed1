//! Several processes: over TCP they train the model of one; under a launcher other verbs do nothing.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Output, Stdio};

use crate::common::{Place, small, snapshot};

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn two_processes_over_tcp_train_the_model_of_one() {
    let place = Place::with_photos(20);
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let start = |rank: &str, more: &[&str]| {
        let join =
            ["--join", &address, "--rank", rank, "--ranks", "2", "--batch-size", "8", "--threads", "1"];
        let mut command = place.ocelli(&[&small(&join)[..], more].concat());
        command.env("OCELLI_TOKEN", "of this test").stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let (zero, one) = (start("0", &["--out", "two"]), start("1", &["--out", "elsewhere"]));
    let (zero, one) = (zero.wait_with_output().unwrap(), one.wait_with_output().unwrap());
    assert!(zero.status.success() && one.status.success(), "{}\n{}", said(&zero), said(&one));
    assert!(String::from_utf8_lossy(&zero.stdout).contains("· 2 processes, TCP"), "process 0 speaks");
    assert_eq!((one.stdout.len(), said(&one)), (0, String::new()), "process 1 does not");
    assert!(!place.path("elsewhere").exists(), "process 1 writes no run");
    place.run(&small(&["--batch-size", "8", "--threads", "1", "--out", "one"]));
    let model = |run: &str| fs::read(place.path(run).join("model.safetensors")).unwrap();
    assert!(model("one") == model("two"), "two processes train another model");
    // What differs is named by both, and nothing is written.
    let (zero, one) = (start("0", &["--out", "seeds"]), start("1", &["--seed", "7"]));
    let outputs = [zero.wait_with_output().unwrap(), one.wait_with_output().unwrap()];
    for output in &outputs {
        assert_eq!(output.status.code(), Some(1));
        assert!(
            said(output).contains("a setting differs: seed = 0 in process 0, seed = 7 in process 1"),
            "{}",
            said(output)
        );
    }
    assert!(!place.path("seeds").exists(), "a run of different settings has begun");
}

/// All files below a folder, by their paths in it.
fn files_in(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let name = |path: &Path| path.strip_prefix(folder).unwrap().display().to_string();
    snapshot(folder).into_iter().map(|(path, bytes)| (name(&path), bytes)).collect()
}

#[test]
fn photos_of_which_each_process_has_a_part_are_trained_on_as_one_folder() {
    let place = Place::with_photos(12);
    // One photo is in both parts, one path has another photo in each.
    for (number, (path, bytes)) in snapshot(&place.path("photos")).into_iter().enumerate() {
        let id = path.strip_prefix(place.path("photos")).unwrap().to_owned();
        let put = |part: &str, id: &Path| {
            let to = place.path(part).join(id);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::write(to, &bytes).unwrap();
        };
        match number {
            0 => ["first", "second"].iter().for_each(|part| put(part, &id)),
            1 => put("first", Path::new("flags/same.png")),
            2 => put("second", Path::new("flags/same.png")),
            _ => put(["first", "second"][number % 2], &id),
        }
    }
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let start = |rank: &str, data: &str, more: &[&str]| {
        let mut command =
            place.ocelli(&["train", data, "--data-per-rank", "--recipe", "linear", "--size", "32"]);
        command.args([
            "--join",
            &address,
            "--rank",
            rank,
            "--ranks",
            "2",
            "--batch-size",
            "8",
            "--threads",
            "1",
        ]);
        // As on a machine of its own.
        command.args(["--cache", &format!("cache-{rank}")]).args(more).env("OCELLI_TOKEN", "of this test");
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let (zero, one) = (start("0", "first", &["--out", "two"]), start("1", "second", &[]));
    let (zero, one) = (zero.wait_with_output().unwrap(), one.wait_with_output().unwrap());
    assert!(zero.status.success() && one.status.success(), "{}\n{}", said(&zero), said(&one));
    // Both machines have all photos, and a model that is that of one folder with them.
    let gathered = |rank: usize| {
        let cache =
            fs::read_dir(place.path(&format!("cache-{rank}"))).unwrap().map(|entry| entry.unwrap().path());
        let folder =
            cache.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("gathered-"));
        folder.collect::<Vec<_>>().remove(0).join("first")
    };
    let all = files_in(&gathered(0));
    assert_eq!(all.len(), snapshot(&place.path("photos")).len());
    assert!(all == files_in(&gathered(1)), "machines have other photos");
    let contents =
        |files: Vec<(String, Vec<u8>)>| files.into_iter().map(|(_, bytes)| bytes).collect::<BTreeSet<_>>();
    assert!(contents(all.clone()) == contents(files_in(&place.path("photos"))));
    assert_eq!(all.iter().filter(|(name, _)| name.starts_with("flags/same-")).count(), 2);
    let folder = gathered(0).display().to_string();
    place.run(&[
        "train",
        &folder,
        "--recipe",
        "linear",
        "--size",
        "32",
        "--batch-size",
        "8",
        "--threads",
        "1",
        "--out",
        "one",
    ]);
    let model = |run: &str| fs::read(place.path(run).join("model.safetensors")).unwrap();
    assert!(model("one") == model("two"), "two processes train another model");
    // A table of one process says nothing of the photos of the others.
    fs::create_dir_all(place.path("loose")).unwrap();
    for (number, (_, bytes)) in snapshot(&place.path("first")).into_iter().enumerate() {
        fs::write(place.path(&format!("loose/{number}.png")), bytes).unwrap();
    }
    fs::write(place.path("loose/labels.csv"), "file,label\n0.png,a\n1.png,b\n").unwrap();
    let (zero, one) = (start("0", "loose", &["--out", "none"]), start("1", "second", &[]));
    let outputs = [zero.wait_with_output().unwrap(), one.wait_with_output().unwrap()];
    for output in &outputs {
        assert_eq!(output.status.code(), Some(1));
        assert!(
            said(output).contains("--data-per-rank") && said(output).contains("labels.csv"),
            "{}",
            said(output)
        );
    }
}

#[test]
fn processes_join_with_a_token_alone() {
    let place = Place::empty();
    let join = ["train", "photos", "--join", "127.0.0.1:1", "--rank", "1", "--ranks", "2"];
    let output = place.ocelli(&join).env_remove("OCELLI_TOKEN").output().unwrap();
    assert!(said(&output).contains("OCELLI_TOKEN"), "{}", said(&output));
    let output = place.ocelli(&["train", "photos", "--join", "127.0.0.1:1"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
}

#[test]
fn under_a_launcher_other_verbs_say_once_that_they_share_nothing() {
    let place = Place::with_photos(3);
    let launched = |rank: &str, library: &str| {
        let mut command = place.ocelli(&["inspect", "photos"]);
        command.env("OMPI_COMM_WORLD_SIZE", "4").env("OMPI_COMM_WORLD_RANK", rank).env("OCELLI_MPI", library);
        command.output().unwrap()
    };
    let zero = launched("0", "");
    assert_eq!(zero.status.code(), Some(1));
    let text = said(&zero);
    assert!(
        text.contains("ocelli inspect does not share its work") && text.contains("has started 4 processes"),
        "{text}"
    );
    let one = launched("1", "");
    assert_eq!((one.status.code(), said(&one)), (Some(1), String::new()));
    assert!(launched("1", "none").status.success(), "{}", said(&launched("1", "none")));
}

#[test]
#[cfg(unix)]
fn a_library_that_is_none_is_named() {
    let place = Place::with_photos(3);
    let mut command = place.ocelli(&["train", "photos"]);
    command
        .env("OMPI_COMM_WORLD_SIZE", "4")
        .env("OMPI_COMM_WORLD_RANK", "0")
        .env("OCELLI_MPI", "nowhere/libmpi.so");
    let output = command.output().unwrap();
    assert!(
        said(&output).contains("OCELLI_MPI is nowhere/libmpi.so, which cannot be loaded"),
        "{}",
        said(&output)
    );
    assert!(!place.path("runs").exists(), "a run has begun");
}
