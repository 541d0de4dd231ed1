//! `ocelli clean`: the real command, asked over sockets, by its page and by others.
#![cfg(unix)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::common::server::Server;
use crate::common::{Place, rows, small, snapshot};
use serde_json::{Value, json};

/// A file whose name is a formula, markup and a path's way up, as far as a file can be called so.
const ODD: &str = "=1+2,<b>&'\"..%2f..%2f|.png";

/// A place with photos, of which some are in the wrong folder, and a run that was trained on them.
fn place() -> &'static Place {
    static PLACE: OnceLock<Place> = OnceLock::new();
    PLACE.get_or_init(|| {
        let place = Place::with_photos(14);
        let names = |class: &str| -> Vec<String> {
            let all = fs::read_dir(place.path(&format!("photos/{class}"))).unwrap();
            let mut names: Vec<String> =
                all.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        let flags = names("flags");
        // Two in the wrong folder, one with an odd name, and one that is there twice.
        for name in &flags[..2] {
            fs::rename(
                place.path(&format!("photos/flags/{name}")),
                place.path(&format!("photos/food-and-drink/{name}")),
            )
            .unwrap();
        }
        fs::rename(
            place.path(&format!("photos/flags/{}", flags[2])),
            place.path(&format!("photos/flags/{ODD}")),
        )
        .unwrap();
        fs::copy(
            place.path(&format!("photos/flags/{}", flags[3])),
            place.path("photos/smileys-and-emotion/copy.png"),
        )
        .unwrap();
        place.run(&small(&[
            "--out",
            "runs/photos-1",
            "--threads",
            "1",
            "--batch-size",
            "8",
            "--head-epochs",
            "2",
        ]));
        place
    })
}

/// A copy of the run, for decisions of one test's own.
fn run_for(test: &str) -> String {
    let run = format!("{test}/photos-1");
    fs::create_dir_all(place().path(&run)).unwrap();
    for (path, bytes) in snapshot(&place().path("runs/photos-1")) {
        let to = place().path(&run).join(path.strip_prefix(place().path("runs/photos-1")).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, bytes).unwrap();
    }
    run
}

impl Server {
    fn cleaning(run: &str, more: &[&str]) -> Self {
        let arguments = [&["clean", run, "--port", "0", "--log", "none", "--threads", "1"], more].concat();
        Self::start(place().ocelli(&arguments).stderr(Stdio::piped()), 1)
    }

    fn post_json(&self, path: &str, body: &Value) -> (u16, Value) {
        let json = ["Content-Type: application/json"];
        let answer = self.ask("POST", path, &json, body.to_string().as_bytes());
        (answer.status, serde_json::from_slice(&answer.body).unwrap_or(Value::Null))
    }

    /// Decides about a photo, which must succeed.
    fn decide(&self, body: &Value) -> Value {
        let (status, answer) = self.post_json("/api/decisions", body);
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// All photos of the run, by their ids.
    fn photos(&self) -> BTreeMap<String, Value> {
        let classes = self.json("/api/run")["classes"].as_array().unwrap().len();
        let lists = (0..classes).map(|class| self.json(&format!("/api/photos?list=class-{class}")));
        let photos = lists.flat_map(|list| list["photos"].as_array().unwrap().clone());
        photos.map(|photo| (photo["id"].as_str().unwrap().to_owned(), photo)).collect()
    }

    fn end(&mut self) -> i32 {
        self.signal("TERM");
        self.process.wait().unwrap().code().unwrap()
    }
}

/// The rows of the table of decisions, without its header.
fn decisions(run: &str) -> Vec<Vec<String>> {
    read(&place().path(run).join("decisions.csv"))
}

fn read(path: &Path) -> Vec<Vec<String>> {
    let mut reader = csv::Reader::from_path(path).unwrap();
    assert_eq!(reader.headers().unwrap(), &csv::StringRecord::from(vec!["id", "decision", "label"]));
    reader.records().map(|row| row.unwrap().iter().map(str::to_owned).collect()).collect()
}

#[test]
fn decisions_are_saved_at_once_and_are_those_that_train_takes() {
    let run = run_for("saved");
    let before = snapshot(&place().path("photos"));
    let mut server = Server::cleaning(&run, &[]);
    let state = server.json("/api/run");
    assert_eq!(state["classes"], json!(["flags", "food-and-drink", "smileys-and-emotion"]));
    let photos = server.photos();
    // Held-out photos are not listed.
    let split = fs::read_to_string(place().path(&run).join("split.csv")).unwrap();
    let trained = split.lines().filter(|line| line.ends_with(",train")).count();
    assert_eq!(photos.len(), trained);
    assert_eq!(state["photos"], trained);
    let ids: Vec<&String> = photos.keys().collect();
    let [kept, dropped, changed, made] = [ids[0], ids[1], ids[2], ids[3]];
    server.decide(&json!({ "id": kept, "decision": "keep" }));
    server.decide(&json!({ "id": dropped, "decision": "drop" }));
    server.decide(&json!({ "id": changed, "decision": "relabel", "labels": ["smileys-and-emotion"] }));
    // A new class is made where that is said, and only then.
    let new = json!({ "id": made, "decision": "relabel", "labels": ["banners"] });
    let (status, refusal) = server.post_json("/api/decisions", &new);
    assert_eq!(status, 400);
    assert!(refusal["error"].as_str().unwrap().contains("there is no class banners"), "{refusal}");
    let mut new = new.clone();
    new["new_class"] = true.into();
    assert_eq!(server.decide(&new)["new_classes"], json!(["banners"]));
    for (labels, said) in [
        (json!(["Flags"]), "look like"),
        (json!([" x"]), "without blanks"),
        (json!([""]), "1 to 100"),
        (json!(["a\nb"]), "line breaks"),
        (json!(["../up"]), "slashes"),
        (json!(["a", "b"]), "one class"),
        (json!([]), "one class"),
    ] {
        let body = json!({ "id": made, "decision": "relabel", "labels": labels, "new_class": true });
        let (status, refusal) = server.post_json("/api/decisions", &body);
        assert_eq!(status, 400, "{body}");
        assert!(refusal["error"].as_str().unwrap().contains(said), "{refusal}");
    }
    let unescaped = |id: &String| if id.starts_with('=') { format!("'{id}") } else { id.clone() };
    let expected = [
        [unescaped(kept), "keep".to_owned(), String::new()],
        [unescaped(dropped), "drop".to_owned(), String::new()],
        [unescaped(changed), "relabel".to_owned(), "smileys-and-emotion".to_owned()],
        [unescaped(made), "new-class".to_owned(), "banners".to_owned()],
    ];
    assert_eq!(decisions(&run), expected);
    // Undone, and decided once more; another window sees it.
    let (status, _) = server.post_json("/api/undo", &json!({ "id": kept }));
    assert_eq!(status, 200);
    assert_eq!(decisions(&run), expected[1..]);
    let other = Server::cleaning(&run, &[]);
    assert_eq!(other.json("/api/run")["counts"]["decided"], 3);
    other.decide(&json!({ "id": changed, "decision": "drop" }));
    assert_eq!(server.photos()[changed]["decision"], json!({ "decision": "drop" }));
    server.decide(&json!({ "id": changed, "decision": "keep" }));
    // Killed at any time, all is there that was answered.
    server.process.kill().unwrap();
    let rows = decisions(&run);
    assert_eq!(rows.len(), 3);
    assert_eq!(rows[1], [unescaped(changed), "keep".to_owned(), String::new()]);
    assert_eq!(snapshot(&place().path("photos")), before, "photos are not touched");
    let table = format!("{run}/decisions.csv");
    let said = place().run(&small(&[
        "--batch-size",
        "8",
        "--head-epochs",
        "1",
        "--decisions",
        &table,
        "--out",
        "saved/next",
    ]));
    assert!(said.contains("1 relabelled, 1 dropped, 1 kept"), "{said}");
    assert!(said.contains("banners"), "{said}");
    // What a hand wrote and nobody understands is said, and stays.
    fs::write(place().path(&table), "id,decision,label\nx,perhaps,\n").unwrap();
    let (status, refusal) = other.post_json("/api/decisions", &json!({ "id": kept, "decision": "keep" }));
    assert_eq!(status, 409);
    assert!(refusal["error"].as_str().unwrap().contains("perhaps"), "{refusal}");
    assert!(place().read(&table).contains("x,perhaps"));
}

#[test]
fn suspects_duplicates_and_neighbours_are_those_of_the_photos() {
    let mut server = Server::cleaning(&run_for("lists"), &[]);
    let photos = server.photos();
    assert!(server.printed.contains("likely wrong"), "{}", server.printed);
    let list =
        |name: &str| server.json(&format!("/api/photos?list={name}"))["photos"].as_array().unwrap().clone();
    let ids = |list: &[Value]| {
        list.iter().map(|photo| photo["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    // The report's suspects, in its order.
    let mut reported =
        csv::Reader::from_path(place().path("runs/photos-1/results/label_errors.csv")).unwrap();
    let reported: Vec<String> =
        reported.records().map(|row| row.unwrap()[1].trim_start_matches('\'').to_owned()).collect();
    let suspects = ids(&list("suspects"));
    assert!(!suspects.is_empty());
    assert_eq!(suspects, reported);
    // A photo that is there twice, with two labels, comes first among the duplicates.
    let twice = ids(&list("duplicates"));
    let copy = "smileys-and-emotion/copy.png".to_owned();
    assert_eq!(twice.contains(&copy), photos.contains_key(&copy));
    // Parts of a list make up the list.
    let parts: Vec<Value> = (0..3)
        .flat_map(|part| {
            let part = server.json(&format!("/api/photos?list=suspects&start={}&count=1", part));
            part["photos"].as_array().unwrap().clone()
        })
        .collect();
    assert_eq!(ids(&parts), suspects[..parts.len()]);
    // Neighbours: never the photo itself, by falling similarity, and of the label that is said.
    for photo in photos.values().take(5) {
        let about = server.json(&format!("/api/photos/{}", photo["photo"]));
        let mut sum = 0.0;
        about["opinion"]
            .as_array()
            .unwrap()
            .iter()
            .for_each(|one| sum += one["probability"].as_f64().unwrap());
        assert!((sum - 1.0).abs() < 1e-4, "{about}");
        for (kind, same) in [("same_label", true), ("other_label", false)] {
            let near = about[kind].as_array().unwrap();
            assert!(!near.is_empty());
            let similarities: Vec<f64> =
                near.iter().map(|near| near["similarity"].as_f64().unwrap()).collect();
            assert!(similarities.is_sorted_by(|a, b| a >= b), "{similarities:?}");
            assert!(near.iter().all(|near| near["photo"] != photo["photo"]));
            assert!(near.iter().all(|near| (near["label"] == photo["label"]) == same));
        }
    }
    // Names are text, in JSON and in the table, and never a path.
    let odd = format!("flags/{ODD}");
    if let Some(photo) = photos.get(&odd) {
        let picture = server.get(&format!("/api/photos/{}/picture", photo["photo"]));
        assert_eq!((picture.status, &picture.body[..2]), (200, &b"\xff\xd8"[..]));
        server.decide(&json!({ "id": odd, "decision": "drop" }));
        assert_eq!(decisions("lists/photos-1")[0][0], odd);
    }
    assert_eq!(server.end(), 0);
}

#[test]
fn strangers_are_refused_and_nothing_is_a_path() {
    let server = Server::cleaning(&run_for("strangers"), &["--token", "a-long-secret"]);
    let token = "Authorization: Bearer a-long-secret";
    let json = "Content-Type: application/json";
    let status = |method: &str, path: &str, headers: &[&str], body: &str| {
        server.ask(method, path, headers, body.as_bytes()).status
    };
    assert_eq!(status("GET", "/", &[], ""), 200, "the page, in which the token is entered");
    for path in
        ["/api/run", "/api/photos?list=suspects", "/api/photos/0", "/api/photos/0/picture", "/api/train"]
    {
        assert_eq!(status("GET", path, &[], ""), 401, "{path}");
        assert_eq!(status("GET", path, &[token], ""), 200, "{path}");
        assert_eq!(status("GET", path, &[token, "Host: evil.example"], ""), 403, "{path}");
        assert_eq!(status("GET", path, &[token, "Origin: http://evil.example"], ""), 403, "{path}");
    }
    let body = r#"{"id":"x","decision":"drop"}"#;
    for path in ["/api/decisions", "/api/undo", "/api/train", "/api/train/stop"] {
        assert_eq!(status("POST", path, &[json], body), 401, "{path}");
        assert_eq!(status("POST", path, &[token, json, "Origin: http://evil.example"], body), 403, "{path}");
        // A form of another page is no JSON.
        assert_eq!(status("POST", path, &[token, "Content-Type: text/plain"], body), 415, "{path}");
    }
    for (path, expected) in [
        ("/api/photos/..%2f..%2fconfig.toml/picture", 404),
        ("/api/photos/../../../etc/passwd", 404),
        ("/api/photos/999999", 404),
        ("/api/photos/-1/picture", 404),
        ("/api/photos/0/picture?size=huge", 400),
        ("/api/photos/0/picture?path=config.toml", 400),
        ("/api/photos/0/picture?id=another.png", 409),
        ("/api/photos?list=../runs", 404),
        ("/api/photos?list=class-999", 404),
        ("/api/photos?list=suspects&start=-1", 400),
        ("/api/photos", 400),
        ("/decisions.csv", 404),
    ] {
        assert_eq!(status("GET", path, &[token], ""), expected, "{path}");
    }
    for (body, expected) in [
        (r#"{"id":"../../etc/passwd","decision":"drop"}"#, 404),
        (r#"{"id":"x"}"#, 400),
        (r#"{"id":"x","decision":"burn"}"#, 400),
        (r#"{"id":"x","decision":"keep","labels":["a"]}"#, 400),
        (r#"{"id":"x","decision":"keep","path":"a"}"#, 400),
        ("no JSON", 400),
    ] {
        assert_eq!(status("POST", "/api/decisions", &[token, json], body), expected, "{body}");
    }
    assert_eq!(status("POST", "/api/decisions", &[token, json], &"x".repeat(100_000)), 413);
    assert!(!place().path("strangers/photos-1/decisions.csv").exists());
    let head = server.get("/").head;
    assert!(head.contains("default-src 'none'") && head.contains("nosniff"), "{head}");
}

#[test]
fn photos_that_are_gone_or_have_changed_are_said() {
    // Photos of its own, since they are changed.
    let there = Place::with_photos(6);
    there.run(&small(&["--out", "run", "--threads", "1", "--batch-size", "8", "--head-epochs", "1"]));
    let moved = place().path("gone");
    fs::create_dir_all(&moved).unwrap();
    for name in ["photos", "run"] {
        fs::rename(there.path(name), moved.join(name)).unwrap();
    }
    let server = Server::cleaning("gone/run", &["--data", "gone/photos"]);
    let photos = server.photos();
    let ids: Vec<&String> = photos.keys().collect();
    let path = |id: &str| moved.join("photos").join(id);
    fs::remove_file(path(ids[0])).unwrap();
    fs::copy(path(ids[2]), path(ids[1])).unwrap();
    let picture = |id: &str| {
        let answer = server.get(&format!("/api/photos/{}/picture", photos[id]["photo"]));
        (answer.status, answer.text())
    };
    let (status, said) = picture(ids[0]);
    assert_eq!(status, 410, "{said}");
    let (status, said) = picture(ids[1]);
    assert!(status == 410 && said.contains("changed since the run"), "{status}: {said}");
    assert_eq!(picture(ids[2]).0, 200);
    // A decision about what is gone would stop the next training.
    let (status, said) = server.post_json("/api/decisions", &json!({ "id": ids[0], "decision": "drop" }));
    assert!(status == 410 && said["error"].as_str().unwrap().contains("no longer there"), "{status}: {said}");
    server.decide(&json!({ "id": ids[2], "decision": "keep" }));
    // Those that are gone at the start are not listed, which is said.
    let again = Server::cleaning("gone/run", &["--data", "gone/photos"]);
    let notices = again.json("/api/run")["notices"].to_string();
    assert!(notices.contains("no longer there") && notices.contains("changed since the run"), "{notices}");
    assert_eq!(again.photos().len(), photos.len() - 2);
}

#[test]
fn a_run_with_the_decisions_is_trained_and_compared_as_compare_does() {
    let run = run_for("again");
    let mut server = Server::cleaning(&run, &[]);
    assert_eq!(server.post_json("/api/train", &json!({})).0, 409, "nothing is decided yet");
    let photos = server.photos();
    for (id, photo) in photos.iter().filter(|(id, _)| id.starts_with("food-and-drink/")).take(2) {
        assert_eq!(photo["decision"], Value::Null);
        server.decide(&json!({ "id": id, "decision": "relabel", "labels": ["flags"] }));
    }
    let (status, started) = server.post_json("/api/train", &json!({}));
    assert_eq!(status, 202, "{started}");
    assert_eq!(started["run"], "photos-2");
    let began = Instant::now();
    let trained = loop {
        let state = server.json("/api/train");
        if state["state"] != "trains" {
            break state;
        }
        assert!(began.elapsed() < Duration::from_secs(300), "{state}");
        std::thread::sleep(Duration::from_millis(200));
    };
    assert_eq!(trained["state"], "finished", "{trained}");
    // Its history is shown as it is.
    let history = place().read("again/photos-2/history.csv");
    assert_eq!(trained["rows"].as_array().unwrap().len(), rows(&history).len() - 1);
    // The same photos are held out, and it was trained with a copy of the decisions.
    assert_eq!(place().read("again/photos-1/split.csv"), place().read("again/photos-2/split.csv"));
    assert_eq!(read(&place().path("again/photos-1/decisions-photos-2.csv")), decisions(&run));
    let config = place().read("again/photos-2/config.toml");
    assert!(config.contains("decisions-photos-2.csv"), "{config}");
    let compared = place().run(&["compare", &run, "again/photos-2", "--json", "--out", "again/compare.html"]);
    let compared: Value = serde_json::from_str(&compared).unwrap();
    let result = &trained["result"];
    assert_eq!(result["p_value"], compared["p_value"]);
    for (side, of) in [("before", "first"), ("after", "second")] {
        assert_eq!(result[side]["correct"], compared[of]["count"], "{compared}");
        assert_eq!(result[side]["images"], compared[of]["total"]);
    }
    assert_eq!(result["corrected"]["count"], compared["wrong_to_right"].as_array().unwrap().len());
    assert_eq!(result["lost"]["count"], compared["right_to_wrong"].as_array().unwrap().len());
    // In the next round the decisions of this one hold, and what is kept is the new label.
    let next = Server::cleaning("again/photos-2", &[]);
    assert_eq!(next.json("/api/run")["counts"]["decided"], 2);
    let id = photos.keys().find(|id| id.starts_with("food-and-drink/")).unwrap();
    next.decide(&json!({ "id": id, "decision": "keep" }));
    assert!(decisions("again/photos-2").iter().all(|row| row[1..] == ["relabel", "flags"]));
    // A run that still trains is asked to end with the server, and can be resumed.
    let (status, started) = server.post_json("/api/train", &json!({}));
    assert_eq!(status, 202, "{started}");
    assert_eq!(server.post_json("/api/train", &json!({})).0, 409, "one at a time");
    server.end();
    let folder = place().path("again/photos-3");
    assert!(folder.is_dir());
}

#[test]
fn a_folder_of_photos_means_its_newest_run() {
    place();
    let server = Server::cleaning("photos", &[]);
    assert_eq!(server.json("/api/run")["run"], "photos-1");
    fs::create_dir_all(place().path("others/a")).unwrap();
    let said = place().refusal(&["clean", "others"]);
    assert!(said.contains("train first: ocelli train others"), "{said}");
    let said = place().refusal(&["clean", "nowhere"]);
    assert!(said.contains("nowhere: it does not exist"), "{said}");
}
