//! `ocelli doctor`, on this machine and on worse ones.

use std::fs;
use std::process::{Command, Output};

use crate::common::{Place, stderr};
use serde_json::Value;

/// The checks, by name, and the exit status.
fn doctor(command: &mut Command) -> (Value, Option<i32>) {
    let output = command.output().unwrap();
    let said = stderr(&output);
    assert!(!said.contains("panicked"), "{said}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    (serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}")), output.status.code())
}

fn check<'a>(found: &'a Value, name: &str) -> &'a Value {
    let checks = found["checks"].as_array().unwrap();
    checks.iter().find(|check| check["check"] == name).unwrap_or_else(|| panic!("no {name}: {found}"))
}

#[test]
fn a_machine_without_a_network_can_train() {
    let place = Place::empty();
    // The addresses of the servers are those at which nobody listens.
    let (found, status) = doctor(&mut place.ocelli(&["doctor", "--json"]));
    let network = check(&found, "network");
    assert_eq!(network["status"], "warning");
    assert!(network["found"].as_str().unwrap().starts_with("offline: "), "{network}");
    assert!(network["consequence"].as_str().unwrap().contains("efficientnet_lite0 is built in"), "{network}");
    assert_eq!((found["problems"].as_u64(), status), (Some(0), Some(0)), "{found}");
    for name in [
        "memory",
        "cores",
        "open files",
        "processor",
        "GPU",
        "this folder",
        "cache folder",
        "fonts",
        "browser",
    ] {
        let check = check(&found, name);
        let status = check["status"].as_str().unwrap();
        assert!(["ok", "warning"].contains(&status), "{check}");
        assert_eq!(check["consequence"].is_null(), status == "ok", "{check}");
    }
    assert_eq!(fs::read_dir(place.path("")).unwrap().count(), 0, "nothing is left behind");

    let text = place.run(&["doctor"]);
    assert!(text.lines().any(|line| line.starts_with("warning  network ")), "{text}");
    let warnings = found["warnings"].as_u64().unwrap();
    assert!(
        text.trim_end().ends_with(&format!("{warnings} warning{}", if warnings == 1 { "" } else { "s" })),
        "{text}"
    );
}

#[test]
fn what_keeps_a_run_from_its_folders_is_a_problem() {
    let place = Place::empty();
    fs::write(place.path("file"), "").unwrap();
    let (found, status) = doctor(&mut place.ocelli(&["doctor", "--json", "--cache", "file/cache"]));
    assert_eq!((found["problems"].as_u64(), status), (Some(1), Some(1)), "{found}");
    let cache = check(&found, "cache folder");
    assert_eq!(cache["status"], "problem");
    assert!(cache["found"].as_str().unwrap().contains("file/cache: cannot be written"), "{cache}");
    assert!(cache["consequence"].as_str().unwrap().contains("--cache"), "{cache}");

    let output: Output = place.ocelli(&["doctor", "--cache", "file/cache"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text.lines().any(|line| line.starts_with("problem  cache folder ")) && text.contains("1 problem"),
        "{text}"
    );
    assert!(!text.contains("os error"), "{text}");
}

/// Limits that a shell sets for the command.
#[cfg(target_os = "linux")]
#[test]
fn limits_are_found_before_they_are_met() {
    let place = Place::empty();
    for (limit, name, wanted) in
        [("-v 2000000", "memory", "address space"), ("-n 20", "open files", "at most 20")]
    {
        let script = format!("ulimit {limit} && exec \"$0\" doctor --json");
        let mut shell = Command::new("sh");
        let command = place.ocelli(&[]);
        shell.args(["-c", &script]).arg(command.get_program()).current_dir(place.path(""));
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        let (found, _) = doctor(&mut shell);
        let check = check(&found, name);
        assert!(check["found"].as_str().unwrap().contains(wanted), "{check}");
        assert_ne!(check["status"], "ok", "{check}");
    }
    let (found, status) = doctor(place.ocelli(&["doctor", "--json"]).current_dir("/proc"));
    assert_eq!(
        (check(&found, "this folder")["status"].as_str(), status),
        (Some("problem"), Some(1)),
        "{found}"
    );
    let (found, status) =
        doctor(place.ocelli(&["doctor", "--json"]).env("OCELLI_ISA", "sse9").env("PATH", ""));
    assert_eq!(
        (check(&found, "processor")["status"].as_str(), status),
        (Some("warning"), Some(0)),
        "{found}"
    );
    assert_eq!(check(&found, "browser")["status"], "warning");
}
