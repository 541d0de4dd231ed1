//! Several processes: over TCP they train the model of one; under a launcher other verbs do nothing.

use std::fs;
use std::net::TcpListener;
use std::process::{Output, Stdio};

use crate::common::{Place, small};

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
