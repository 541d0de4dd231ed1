//! `ocelli watch` and `ocelli train --watch`: the real command, asked over sockets, while runs are trained, stopped,
//! continued and damaged.
#![cfg(unix)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::common::server::{Answer, Server};
use crate::common::{Place, rows, small};
use serde_json::Value;

/// How many epochs the runs have: enough to stop one before its end.
const TRAINING: [&str; 6] = ["--head-epochs", "30", "--lr", "1e-2", "--threads", "1"];

/// A place with photos and a finished run, for all tests of this file.
fn place() -> &'static Place {
    static PLACE: OnceLock<Place> = OnceLock::new();
    PLACE.get_or_init(|| {
        let place = Place::with_photos(8);
        place.run(&small(&[&TRAINING[..], &["--out", "runs/whole"]].concat()));
        place
    })
}

/// A folder of runs with one that is not finished, which has these events.
fn unfinished(folder: &str, name: &str, events: &str) -> PathBuf {
    let run = place().path(folder).join(name);
    fs::create_dir_all(&run).unwrap();
    for file in ["config.toml", "photos.csv"] {
        fs::copy(place().path("runs/whole").join(file), run.join(file)).unwrap();
    }
    fs::write(run.join("events.jsonl"), events).unwrap();
    run
}

fn whole_events() -> String {
    place().read("runs/whole/events.jsonl")
}

/// The first lines of a text.
fn first(text: &str, lines: usize) -> String {
    text.split_inclusive('\n').take(lines).collect()
}

impl Server {
    /// What is printed on standard error is left out: that of training would fill a pipe.
    fn quiet(arguments: &[&str]) -> Self {
        Self::start(place().ocelli(arguments).stderr(Stdio::null()), 1)
    }

    fn watch(folder: &str, more: &[&str]) -> Self {
        Self::quiet(&[&["watch", folder, "--port", "0"], more].concat())
    }

    fn status(&self, method: &str, path: &str, headers: &[&str]) -> u16 {
        self.ask(method, path, headers, &[]).status
    }

    fn follow(&self, run: &str, last: Option<usize>) -> Events {
        let header = last.map(|last| format!("Last-Event-ID: {last}"));
        let headers: Vec<&str> = header.iter().map(String::as_str).collect();
        Events(BufReader::new(self.send("GET", &format!("/api/runs/{run}/events"), &headers, &[])))
    }

    /// Waits until a run is in this state.
    fn wait_for(&self, run: &str, state: &str) {
        let began = Instant::now();
        loop {
            let found = self.json(&format!("/api/runs/{run}"))["state"].clone();
            if found == state {
                return;
            }
            assert!(began.elapsed() < Duration::from_secs(180), "{run} is {found}, not {state}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Server-sent events as they come.
struct Events(BufReader<TcpStream>);

/// One of them: its name, its id, and its data.
#[derive(Debug)]
struct Event {
    name: String,
    id: Option<usize>,
    data: Value,
}

impl Iterator for Events {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        let (mut name, mut id) = (String::new(), None);
        let mut line = String::new();
        // The lengths of chunks, between the events, are passed over.
        while self.0.read_line(&mut line).unwrap() > 0 {
            let text = line.trim_end();
            if let Some(text) = text.strip_prefix("event: ") {
                name = text.to_owned();
            } else if let Some(text) = text.strip_prefix("id: ") {
                id = Some(text.parse().unwrap());
            } else if let Some(text) = text.strip_prefix("data: ") {
                return Some(Event { name, id, data: serde_json::from_str(text).unwrap() });
            }
            line.clear();
        }
        None
    }
}

impl Events {
    /// The next events of the run itself, by their ids.
    fn ids(&mut self, number: usize) -> Vec<usize> {
        self.filter_map(|event| event.id).take(number).collect()
    }

    fn until(&mut self, name: &str) -> Event {
        self.find(|event| event.name == name).unwrap_or_else(|| panic!("{name} never comes"))
    }
}

#[test]
fn events_come_as_they_are_written_each_once_and_whole() {
    let events = whole_events();
    let lines: Vec<&str> = events.split_inclusive('\n').collect();
    let (sixth, rest) = lines[5].split_at(lines[5].len() / 2);
    let run = unfinished("growing", "run", &[&first(&events, 5), sixth].concat());
    let server = Server::watch("growing", &[]);
    let mut stream = server.follow("run", None);
    let begin: Vec<Event> = stream.by_ref().take(6).collect();
    for (event, line) in begin.iter().zip(&lines[..5]) {
        let mut line: Value = serde_json::from_str(line).unwrap();
        line.as_object_mut().unwrap().remove("digest");
        assert_eq!(event.data, line);
    }
    assert_eq!(begin.iter().filter_map(|event| event.id).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    // Half a line is waited for; then comes what the run is doing.
    assert_eq!(begin[5].name, "state");
    assert_eq!(begin[5].data["state"], "interrupted");
    assert_eq!(begin[5].data["can_continue"], true);

    let path = run.join("events.jsonl");
    let append =
        |text: &str| fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(text.as_bytes());
    append(rest).unwrap();
    assert_eq!(stream.ids(1), [6]);
    // A damaged line has a number, but is no event; nor is one that a client sends to be taken for several.
    append("{\"event\":\"epoch\",\"digest\":\"0000000000000000\"}\n\u{0}\u{fffd}garbage\n").unwrap();
    append(lines[6]).unwrap();
    assert_eq!(stream.ids(1), [9]);

    // A client that comes back gets what it has not had.
    assert_eq!(server.follow("run", Some(4)).ids(3), [5, 6, 9]);
    assert_eq!(server.status("GET", "/api/runs/run/events", &["Last-Event-ID: x"]), 400);
    // A file that is replaced, as when a run is resumed, is told from its first line.
    let fewer = run.join("fewer");
    fs::write(&fewer, first(&events, 2)).unwrap();
    fs::rename(&fewer, &path).unwrap();
    stream.until("restart");
    assert_eq!(stream.ids(2), [1, 2]);
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(lines[0].len() as u64).unwrap();
    stream.until("restart");
    assert_eq!(stream.ids(1), [1]);
    // So is one that has fewer lines than a client says that it has had.
    let mut late = server.follow("run", Some(9));
    late.until("restart");
    assert_eq!(late.ids(1), [1]);
}

#[test]
fn a_run_that_is_opened_late_is_told_as_it_went() {
    let server = Server::watch("runs/whole", &[]);
    let list = server.json("/api/runs");
    assert_eq!(list["is_single"], true);
    assert_eq!(list["runs"][0]["state"], "finished");
    let history = place().read("runs/whole/history.csv");
    let told: Vec<Event> = server.follow("whole", None).take_while(|event| event.name != "state").collect();
    let of = |kind: &str| told.iter().filter(|event| event.data["event"] == kind).collect::<Vec<_>>();
    let epochs = of("epoch");
    assert_eq!(epochs.len(), 30);
    for (epoch, row) in epochs.iter().zip(history.lines().skip(1)) {
        let cells: Vec<&str> = row.split(',').collect();
        for (name, cell) in [("fit", 0), ("epoch", 1), ("train_loss", 2), ("valid_loss", 3), ("accuracy", 4)]
        {
            // The reader of JSON here rounds the last digit.
            let (told, written) = (epoch.data[name].as_f64().unwrap(), cells[cell].parse::<f64>().unwrap());
            assert!((told - written).abs() <= 4.0 * f64::EPSILON * written.abs(), "{name} {told}: {row}");
        }
    }
    // Where the time of each epoch went is part of it.
    for (times, epoch) in of("epoch-times").iter().zip(&epochs) {
        let seconds = |name: &str| times.data[name].as_f64().unwrap();
        let parts: f64 = ["wait", "forward", "backward", "optimizer", "validation"].map(seconds).iter().sum();
        assert!(
            parts > 0.0 && parts <= epoch.data["seconds"].as_f64().unwrap() * 1.000_001,
            "{times:?} {epoch:?}"
        );
        assert_eq!(times.data["epoch"], epoch.data["epoch"]);
    }
    assert_eq!(of("epoch-times").len(), 30);
    // The last predictions for a few photos are those of the table, where the last epoch is the best.
    let examples = of("examples");
    assert_eq!(examples.len(), 30);
    let photos = |event: &Event| -> Vec<Value> {
        event.data["photos"].as_array().unwrap().iter().map(|photo| photo["id"].clone()).collect()
    };
    let valid: BTreeSet<String> = place()
        .read("runs/whole/split.csv")
        .lines()
        .filter_map(|line| line.strip_suffix(",valid").map(str::to_owned))
        .collect();
    for event in &examples {
        assert_eq!(photos(event), photos(examples[0]), "the same photos after each epoch");
    }
    for photo in examples[0].data["photos"].as_array().unwrap() {
        assert!(valid.contains(photo["id"].as_str().unwrap()), "{photo} is for validation");
        let is_label = photo["labels"].as_array().unwrap().contains(&photo["class"]);
        assert_eq!(photo["is_right"], is_label, "{photo}");
        let path = format!("/api/runs/whole/photos/{}", photo["photo"]);
        let Answer { status, body: bytes, .. } = server.get(&path);
        assert_eq!((status, &bytes[..3]), (200, &b"\xff\xd8\xff"[..]), "a JPEG of {photo}");
    }
    // Also from another folder than that in which the run was started.
    let mut command = place().ocelli(&["watch", "whole", "--port", "0"]);
    let elsewhere = Server::start(command.current_dir(place().path("runs")).stderr(Stdio::null()), 1);
    let address = format!("/api/runs/whole/photos/{}", examples[0].data["photos"][0]["photo"]);
    assert_eq!(elsewhere.status("GET", &address, &[]), 200, "{address}");
    let Answer { status, body: report, .. } = server.get("/runs/whole/report");
    assert_eq!((status, report), (200, fs::read(place().path("runs/whole/report.html")).unwrap()));
    // It is finished, and not to be stopped or continued.
    assert_eq!(server.status("POST", "/api/runs/whole/stop", &[]), 409);
    assert_eq!(server.status("POST", "/api/runs/whole/continue", &[]), 409);
    assert!(!place().path("runs/whole/.stop").exists());
}

#[test]
fn only_photos_that_the_run_knows_are_shown() {
    let events = whole_events();
    let server_of = |folder: &str, from: &str, to: &str| {
        // An event with another path, as someone could write who knows how lines are made.
        let changed: String = events
            .lines()
            .map(|line| match line.contains("\"examples\"") {
                true => {
                    let line = line.replace(from, to);
                    let (event, _) = line.rsplit_once(",\"digest\":\"").unwrap();
                    let digest = &blake3::hash(format!("{event}}}").as_bytes()).to_hex()[..16];
                    format!("{event},\"digest\":\"{digest}\"}}\n")
                }
                false => format!("{line}\n"),
            })
            .collect();
        unfinished(folder, "run", &changed);
        Server::watch(folder, &[])
    };
    let example = events.lines().find(|line| line.contains("\"examples\"")).unwrap();
    let example: Value = serde_json::from_str(example).unwrap();
    let photo = &example["photos"][0];
    let (row, path) = (photo["photo"].to_string(), photo["path"].as_str().unwrap().to_owned());
    let address = format!("/api/runs/run/photos/{row}");
    let server = server_of("same", &path, &path);
    assert_eq!(server.status("GET", &address, &[]), 200, "{path}");
    for row in ["99999", "x", "-1", "..", "%2e%2e%2fconfig.toml", "18446744073709551616"] {
        assert_eq!(server.status("GET", &format!("/api/runs/run/photos/{row}"), &[]), 404, "{row}");
    }
    // A photo that is in the run's table, but not among those that are shown.
    let shown: Vec<String> =
        example["photos"].as_array().unwrap().iter().map(|photo| photo["photo"].to_string()).collect();
    let other = (0..).map(|row: usize| row.to_string()).find(|row| !shown.contains(row)).unwrap();
    assert_eq!(server.status("GET", &format!("/api/runs/run/photos/{other}"), &[]), 404);
    // Another image in its place.
    let secret = place().path("secret.png");
    let another = example["photos"][1]["path"].as_str().unwrap();
    fs::copy(place().path(another), &secret).unwrap();
    let server = server_of("another", &path, secret.to_str().unwrap());
    assert_eq!(server.status("GET", &address, &[]), 410);
    let server = server_of("device", &path, "/dev/zero");
    assert_eq!(server.status("GET", &address, &[]), 410);
}

#[test]
fn names_are_text_and_nothing_else_is_opened() {
    let odd = "a <b>&\"'%#?é\u{202e}";
    unfinished("odd", odd, &first(&whole_events(), 3));
    fs::create_dir_all(place().path("odd/empty")).unwrap();
    fs::create_dir_all(place().path("odd/garbage")).unwrap();
    fs::write(place().path("odd/garbage/config.toml"), b"\xff\x00[[[").unwrap();
    fs::write(place().path("odd/garbage/events.jsonl"), b"\xff\x00\n{\n\"\n").unwrap();
    fs::write(place().path("odd/file"), "no run").unwrap();
    let server = Server::watch("odd", &[]);
    let list = server.json("/api/runs");
    let ids: Vec<&str> =
        list["runs"].as_array().unwrap().iter().map(|run| run["id"].as_str().unwrap()).collect();
    assert_eq!(ids, [odd, "garbage"]);
    let encoded: String = odd.bytes().map(|byte| format!("%{byte:02x}")).collect();
    assert_eq!(server.json(&format!("/api/runs/{encoded}"))["id"], odd);
    assert_eq!(server.follow(&encoded, None).ids(3), [1, 2, 3]);
    assert!(server.json("/api/runs/garbage")["unreadable"].as_str().unwrap().contains("config.toml"));
    assert_eq!(server.follow("garbage", None).next().unwrap().name, "state");
    for name in [
        "..",
        "%2e%2e",
        "..%2fruns%2fwhole",
        "%2fetc",
        ".",
        "empty",
        "file",
        "nothing",
        "%ff",
        "odd%2f..",
        "garbage%00",
    ] {
        for route in ["", "/events", "/photos/0"] {
            let status = server.status("GET", &format!("/api/runs/{name}{route}"), &[]);
            assert!([400, 404].contains(&status), "{name}{route}: {status}");
        }
        for command in ["stop", "continue"] {
            let status = server.status("POST", &format!("/api/runs/{name}/{command}"), &[]);
            assert!([400, 404].contains(&status), "{name}/{command}: {status}");
        }
        let status = server.status("GET", &format!("/runs/{name}/report"), &[]);
        assert!([400, 404].contains(&status), "the report of {name}: {status}");
    }
}

#[test]
fn other_pages_and_those_without_the_token_are_refused() {
    unfinished("guarded", "run", &first(&whole_events(), 3));
    let server = Server::watch("guarded", &["--token", "a-long-secret"]);
    let token = "Authorization: Bearer a-long-secret";
    assert_eq!(server.status("GET", "/", &[]), 200);
    for path in
        ["/api/runs", "/api/runs/run", "/api/runs/run/events", "/api/runs/run/photos/0", "/runs/run/report"]
    {
        assert_eq!(server.status("GET", path, &[]), 401, "{path}");
    }
    assert_eq!(server.status("GET", "/api/runs/run", &[token]), 200);
    for command in ["/api/runs/run/stop", "/api/runs/run/continue"] {
        assert_eq!(server.status("POST", command, &[]), 401);
        assert_eq!(server.status("GET", command, &[token]), 405);
        assert_eq!(server.status("POST", command, &[token, "Origin: http://evil.example"]), 403);
        assert_eq!(server.status("POST", command, &[token, "Origin: null"]), 403);
        assert_eq!(server.status("POST", command, &[token, "Host: evil.example"]), 403);
    }
    // No process was started for any of them.
    assert!(!place().path("guarded/run/resume.log").exists());
}

#[test]
fn a_run_that_is_stopped_and_continued_from_the_page_is_the_run_undisturbed() {
    let arguments = small(&[&TRAINING[..], &["--out", "stopped/run", "--watch"]].concat());
    let mut training = Server::quiet(&arguments);
    assert!(training.printed.contains("watch    http://127.0.0.1:"), "{}", training.printed);
    let server = Server::watch("stopped", &[]);
    // From the training process itself, and from another one.
    let mut own = training.follow("run", None);
    let state = own.until("state").data;
    assert_eq!((&state["state"], &state["can_continue"]), (&"running".into(), &false.into()));
    assert!(own.any(|event| event.data["event"] == "epoch"));
    assert_eq!(server.json("/api/runs/run")["state"], "running");
    assert_eq!(server.status("POST", "/api/runs/run/continue", &[]), 409, "it is running");
    assert_eq!(server.status("POST", "/api/runs/run/stop", &[]), 202);
    assert_eq!(training.process.wait().unwrap().code(), Some(130));
    // Those who watch hear of it before the process ends.
    let last = own.filter(|event| event.data["event"] == "stopped").count();
    assert_eq!(last, 1);
    server.wait_for("run", "stopped");
    assert!(!place().path("stopped/run/.stop").exists(), "the request is honoured");
    let done = rows(&place().read("stopped/run/history.csv")).len();
    assert!(done < 30, "it was stopped before its end");
    assert_eq!(server.status("POST", "/api/runs/run/stop", &[]), 409, "it is not running");

    assert_eq!(server.status("POST", "/api/runs/run/continue", &[]), 202);
    server.wait_for("run", "finished");
    let histories =
        ["stopped/run", "runs/whole"].map(|run| rows(&place().read(&format!("{run}/history.csv"))));
    assert_eq!(histories[0], histories[1]);
    assert_eq!(place().read("stopped/run/predictions.csv"), place().read("runs/whole/predictions.csv"));
}

#[test]
fn what_is_no_folder_is_refused() {
    let said = place().refusal(&["watch", "nowhere", "--port", "0"]);
    assert!(said.contains("nowhere"), "{said}");
    let said = place().refusal(&["watch", "runs/whole/history.csv", "--port", "0"]);
    assert!(said.contains("history.csv"), "{said}");
}
