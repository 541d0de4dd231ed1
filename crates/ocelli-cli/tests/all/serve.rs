//! `ocelli serve`: the real command, asked over sockets, by clients that behave and by others.
#![cfg(unix)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::Duration;

use crate::common::server::{Answer, Server};
use crate::common::{Place, small, snapshot};
use ocelli::interpret::TargetClass;
use ocelli::{Embedder, Model};
use serde_json::Value;

/// A place with photos and a run that was trained on them, for all tests of this file.
fn place() -> &'static Place {
    static PLACE: OnceLock<Place> = OnceLock::new();
    PLACE.get_or_init(|| {
        let place = Place::with_photos(8);
        place.run(&small(&["--out", "run", "--threads", "1"]));
        place
    })
}

/// The photos, as paths from the place.
fn photos() -> Vec<String> {
    let all = snapshot(&place().path("photos"));
    let root = place().path("");
    all.iter().map(|(path, _)| path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned()).collect()
}

fn bytes_of(photo: &str) -> Vec<u8> {
    fs::read(place().path(photo)).unwrap()
}

impl Server {
    /// Serves a model on a free port.
    fn of(model: &str, more: &[&str]) -> Self {
        let log: &[&str] = if more.contains(&"--log") { &[] } else { &["--log", "none"] };
        let arguments = [&["serve", model, "--port", "0"], log, more].concat();
        // With an address that others reach, the next line is the token.
        let lines = if more.contains(&"0.0.0.0") { 2 } else { 1 };
        Self::start(place().ocelli(&arguments).stderr(Stdio::piped()), lines)
    }

    fn new(more: &[&str]) -> Self {
        Self::of("run", more)
    }

    fn post(&self, path: &str, body: &[u8]) -> Answer {
        self.ask("POST", path, &[], body)
    }

    /// Sends files as a form, by their names.
    fn form(&self, path: &str, files: &[(&str, &[u8])]) -> Answer {
        let mut body = Vec::new();
        for (name, bytes) in files {
            let head = format!(
                "--edge\r\nContent-Disposition: form-data; name=\"photo\"; filename=\"{name}\"\r\n\r\n"
            );
            body.extend([head.as_bytes(), bytes, b"\r\n"].concat());
        }
        body.extend(b"--edge--\r\n");
        self.ask("POST", path, &["Content-Type: multipart/form-data; boundary=edge"], &body)
    }

    fn is_alive(&self) {
        let answer = self.post("/predict", &bytes_of(&photos()[0]));
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

#[test]
fn many_at_once_get_what_predict_says_to_the_bit() {
    let (photos, server) = (photos(), Server::new(&[]));
    let before = snapshot(&place().path("run"));
    let names: Vec<&str> = photos.iter().map(String::as_str).collect();
    let table = place().run(&[&["predict", "run", "--json"], &names[..]].concat());
    let rows: Vec<Value> = serde_json::from_str(&table).unwrap();
    std::thread::scope(|scope| {
        for request in 0..64 {
            let (server, photos, rows) = (&server, &photos, &rows);
            scope.spawn(move || {
                // Others that cannot be read are in between, and other answers are wanted of the same model.
                match request % 8 {
                    6 => assert_eq!(server.post("/predict", b"\x89PNG\r\n\x1a\n nothing").status, 422),
                    7 => assert_eq!(
                        server.post("/embed", &bytes_of(&photos[request % photos.len()])).status,
                        200
                    ),
                    _ => {
                        let index = request % photos.len();
                        let answer = server.post("/predict", &bytes_of(&photos[index]));
                        let mut expected = rows[index].clone();
                        expected["path"] = "image".into();
                        assert_eq!(answer.json(), Value::from(vec![expected]), "{}", photos[index]);
                    }
                }
            });
        }
    });
    let files: Vec<Vec<u8>> = photos.iter().map(|photo| bytes_of(photo)).collect();
    let files: Vec<(&str, &[u8])> =
        names.iter().zip(&files).map(|(name, bytes)| (*name, bytes.as_slice())).collect();
    assert_eq!(server.form("/predict", &files).text(), table, "a form of all, to the byte");
    let top = place().run(&[&["predict", "run", "--json", "--top-k", "2"], &names[..]].concat());
    assert_eq!(server.form("/models/run/predict?top_k=2", &files).text(), top);
    assert_eq!(snapshot(&place().path("run")), before, "nothing is written");
    let metrics = server.get("/metrics").text();
    assert!(metrics.contains("ocelli_requests_total{route=\"/predict\",status=\"422\"} 8"), "{metrics}");
    assert!(metrics.contains("ocelli_queue_images 0"), "{metrics}");
    assert!(metrics.lines().all(|line| line.starts_with('#') || line.starts_with("ocelli_")), "{metrics}");
}

#[test]
fn features_and_heat_maps_are_the_librarys() {
    let (photo, server) = (photos().remove(3), Server::new(&[]));
    let model = Model::load(place().path("run")).unwrap();
    let path = place().path(&photo);
    let features = Embedder::of_model(&model).embed([&path]).unwrap().next().unwrap().unwrap().features;
    let row = server.post("/embed", &bytes_of(&photo)).json();
    let found: Vec<f32> = row[0]["features"]
        .as_array()
        .unwrap()
        .iter()
        .map(|value| value.to_string().parse().unwrap())
        .collect();
    assert_eq!(found, features);
    for (query, class) in [
        ("", TargetClass::MostProbable),
        ("?class=food-and-drink", TargetClass::Named("food-and-drink".to_owned())),
    ] {
        let explained = model.explain(&path, &class).unwrap();
        let answer = server.post(&format!("/explain{query}"), &bytes_of(&photo));
        assert_eq!(answer.body, explained.heat.over(&explained.image).to_png(), "{query}");
    }
    assert_eq!(server.post("/explain?class=cats", &bytes_of(&photo)).status, 400);
    assert_eq!(server.post("/explain", b"no image").status, 422);
}

#[test]
fn bad_images_have_the_words_of_the_library() {
    let server = Server::new(&["--max-pixels", "100000"]);
    let photo = bytes_of(&photos()[0]);
    let cut = &photo[..photo.len() / 2];
    fs::write(place().path("text.jpg"), "no image").unwrap();
    let expected = place().ocelli(&["predict", "run", "text.jpg", "--json"]).output().unwrap();
    let rows: Value = serde_json::from_slice(&expected.stdout).unwrap();
    let answer = server.form("/predict", &[("text.jpg", b"no image")]);
    assert_eq!((answer.status, answer.json()), (422, rows));
    let big = format!("P6\n1000 1000\n255\n{}", "x".repeat(3_000_000));
    let answer = server.form(
        "/predict",
        &[
            ("../../etc/passwd", cut),
            ("/etc/passwd", b"/etc/passwd"),
            ("big.ppm", big.as_bytes()),
            ("good", &photo),
        ],
    );
    let rows = answer.json();
    assert_eq!(answer.status, 200, "{rows}");
    assert_eq!((&rows[0]["path"], &rows[1]["path"]), (&"../../etc/passwd".into(), &"/etc/passwd".into()));
    for row in 0..3 {
        assert!(!rows[row]["error"].as_str().unwrap().is_empty() && rows[row]["class"].is_null(), "{rows}");
    }
    assert!(rows[3]["error"].is_null() && rows[3]["class"].is_string(), "{rows}");
}

#[test]
fn other_pages_and_strangers_are_refused() {
    let photo = bytes_of(&photos()[0]);
    let server = Server::new(&["--token", "a-long-secret", "--allow-host", "photos.example"]);
    let token = "Authorization: Bearer a-long-secret";
    let status = |headers: &[&str]| server.ask("POST", "/predict", headers, &photo).status;
    assert_eq!(status(&[token]), 200);
    assert_eq!(status(&[token, "Host: photos.example"]), 200);
    assert_eq!(status(&[token, "Host: evil.example"]), 403);
    assert_eq!(status(&[token, "Origin: http://evil.example"]), 403);
    assert_eq!(status(&[token, "Origin: null"]), 403);
    assert_eq!(status(&[token, &format!("Origin: http://{}", server.address)]), 200);
    assert_eq!(status(&[]), 401);
    assert_eq!(status(&["Authorization: Bearer a-long-secreT"]), 401);
    for path in ["/models", "/metrics", "/openapi.json", "/nothing"] {
        assert_eq!(server.get(path).status, 401, "{path}");
    }
    for path in ["/", "/health"] {
        assert_eq!(server.get(path).status, 200, "{path}");
        assert_eq!(server.ask("GET", path, &["Host: evil.example"], &[]).status, 403, "{path}");
    }

    let mut open = Server::new(&["--host", "0.0.0.0"]);
    assert!(open.wait_for_line("warning").contains("not encrypted"));
    let made = open.printed.split("token: ").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    assert!(made.len() >= 32, "{}", open.printed);
    assert_eq!(open.get("/models").status, 401);
    assert_eq!(open.ask("GET", "/models", &[&format!("Authorization: Bearer {made}")], &[]).status, 200);
}

#[test]
fn what_is_wrong_with_a_request_is_said_and_harms_no_other() {
    let server = Server::new(&["--max-body", "1", "--max-files", "3"]);
    let photo = bytes_of(&photos()[0]);
    assert_eq!(server.post("/predict", &vec![b'x'; 1_000_001]).status, 413);
    assert_eq!(server.post("/predict", &vec![b'x'; 1_000_000]).status, 422);
    let mut stream = server.connect();
    let head = format!(
        "POST /predict HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
        server.address
    );
    stream.write_all(head.as_bytes()).unwrap();
    let chunk = [&b"186a0\r\n"[..], &[b'x'; 100_000], b"\r\n"].concat();
    for _ in 0..11 {
        let _ = stream.write_all(&chunk);
    }
    let _ = stream.write_all(b"0\r\n\r\n");
    assert_eq!(Answer::read(stream).status, 413, "also where no length is given");
    let files = [("a", &photo[..]), ("b", &photo), ("c", &photo), ("d", &photo)];
    assert_eq!(server.form("/predict", &files).status, 413);
    assert_eq!(server.form("/predict", &files[..3]).status, 200);
    assert_eq!(server.form("/predict", &[]).status, 400);
    assert_eq!(server.post("/predict", &[]).status, 400);
    let form = ["Content-Type: multipart/form-data; boundary=edge"];
    assert_eq!(server.ask("POST", "/predict", &form, b"--edge\r\nnonsense").status, 400);
    assert_eq!(server.ask("POST", "/predict", &["Content-Type: multipart/form-data"], &photo).status, 400);
    for (query, expected) in [
        ("top_k=1", 200),
        ("top_k=0", 400),
        ("top_k=x", 400),
        ("topk=1", 400),
        ("top_k=1&top_k=2", 400),
        ("unknown=maybe", 400),
        ("unknown=false", 200),
    ] {
        assert_eq!(server.post(&format!("/predict?{query}"), &photo).status, expected, "{query}");
    }
    assert_eq!(server.ask("POST", "/predict", &["Content-Encoding: gzip"], &photo).status, 415);
    assert_eq!(server.get("/predict").status, 405);
    assert_eq!(server.get("/etc/passwd").status, 404);
    assert_eq!(server.get("/models/../run").status, 404);
    assert_eq!(server.post("/models/nowhere/predict", &photo).status, 404);
    let long = format!("X-Long: {}", "x".repeat(40_000));
    assert!([400, 431, 0].contains(&server.ask("GET", "/health", &[&long], &[]).status));
    let many: Vec<String> = (0..200).map(|number| format!("X-{number}: 1")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(server.ask("GET", "/health", &many, &[]).status, 431);
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01"[..],
        b"\0\0\0\0\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"\r\n\r\n\r\n",
    ] {
        let mut stream = server.connect();
        stream.write_all(garbage).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert!([0, 400].contains(&Answer::read(stream).status), "{garbage:?}");
    }
    server.is_alive();
}

#[test]
fn a_body_that_is_said_to_be_too_large_is_refused_before_it_is_sent() {
    let server = Server::new(&["--max-body", "1"]);
    let answer = |headers: &str, body: &[u8]| {
        let mut stream = server.connect();
        let head = format!("POST /predict HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", server.address);
        stream.write_all(format!("{head}{headers}\r\n\r\n").as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        Answer::read(stream)
    };
    // A client that waits to be told to go on, and clients that send nothing.
    for (headers, expected) in [
        ("Expect: 100-continue\r\nContent-Length: 1000001", 413),
        ("Content-Length: 1000001", 413),
        ("Content-Length: 9223372036854775808", 413),
        ("Content-Length: 99999999999999999999", 400),
        ("Content-Length: -1", 400),
        ("Content-Length: many", 400),
        ("Content-Length: 5\r\nContent-Length: 6", 400),
    ] {
        assert_eq!(answer(headers, b"").status, expected, "{headers}");
    }
    let told = answer("Expect: 100-continue\r\nContent-Length: 8", b"no photo");
    assert_eq!(told.status, 100, "{}", told.head);
    server.is_alive();
}

#[test]
fn slow_and_vanished_clients_are_cut_off_and_block_nobody() {
    let server = Server::new(&["--client-timeout", "1"]);
    let photo = bytes_of(&photos()[0]);
    let head =
        format!("POST /predict HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n", server.address, photo.len());
    // Headers that do not end, bodies that do not end, clients that say nothing, and one that is gone.
    let mut slow: Vec<TcpStream> = (0..30).map(|_| server.connect()).collect();
    for (number, stream) in slow.iter_mut().enumerate() {
        match number % 3 {
            0 => stream.write_all(head.as_bytes()).unwrap(),
            1 => stream.write_all(format!("{head}\r\n").as_bytes()).unwrap(),
            _ => {}
        }
    }
    drop(slow.split_off(24));
    server.is_alive();
    // A byte now and then does not keep a connection open.
    std::thread::scope(|scope| {
        for mut stream in slow {
            scope.spawn(move || {
                let mut writer = stream.try_clone().unwrap();
                let dripping = std::thread::spawn(move || {
                    while writer.write_all(b"x").is_ok() {
                        std::thread::sleep(Duration::from_millis(50));
                    }
                });
                let mut answer = Vec::new();
                let _ = stream.read_to_end(&mut answer);
                let answer = String::from_utf8_lossy(&answer).into_owned();
                assert!(
                    answer.is_empty() || answer.contains(" 408 ") || answer.contains(" 400 "),
                    "{answer}"
                );
                drop(stream);
                dripping.join().unwrap();
            });
        }
    });
    // A client that has said all, and listens.
    let mut half = server.connect();
    half.write_all(format!("{head}\r\n").as_bytes()).unwrap();
    half.write_all(&photo).unwrap();
    half.shutdown(Shutdown::Write).unwrap();
    assert_eq!(Answer::read(half).status, 200);
}

#[test]
fn clients_that_ask_nothing_make_room_for_others() {
    let server = Server::new(&["--max-connections", "4", "--client-timeout", "600"]);
    let idle: Vec<TcpStream> = (0..9).map(|_| server.connect()).collect();
    server.is_alive();
    // One that has asked before, and keeps its connection.
    let mut kept = server.connect();
    let request = format!("GET /health HTTP/1.1\r\nHost: {}\r\n\r\n", server.address);
    kept.write_all(request.as_bytes()).unwrap();
    assert_ne!(kept.read(&mut [0; 1000]).unwrap(), 0);
    let more: Vec<TcpStream> = (0..9).map(|_| server.connect()).collect();
    server.is_alive();
    assert_eq!(kept.read(&mut [0; 1000]).unwrap(), 0, "its connection is closed");
    drop((idle, more));
}

#[test]
fn a_full_queue_refuses_at_once_and_says_when_to_come_back() {
    let server = Server::new(&["--queue", "1", "--max-files", "1"]);
    let photo = bytes_of(&photos()[0]);
    let mut seen = BTreeSet::new();
    // How many are refused depends on the machine; that some are does not, in the long run.
    for _ in 0..100 {
        let answers: Vec<Answer> = std::thread::scope(|scope| {
            let all: Vec<_> = (0..16).map(|_| scope.spawn(|| server.post("/explain", &photo))).collect();
            all.into_iter().map(|answer| answer.join().unwrap()).collect()
        });
        for answer in &answers {
            assert_eq!(answer.head.contains("retry-after: 1"), answer.status == 503, "{}", answer.head);
        }
        seen.extend(answers.iter().map(|answer| answer.status));
        if seen.len() > 1 {
            break;
        }
    }
    assert_eq!(seen, BTreeSet::from([200, 503]));
    server.is_alive();
}

#[test]
fn requests_that_have_begun_are_answered_before_the_end() {
    let photo = bytes_of(&photos()[0]);
    for (name, again, status) in
        [("TERM", false, Some(0)), ("INT", false, Some(0)), ("TERM", true, Some(143))]
    {
        let mut server = Server::new(&[]);
        let mut begun = server.connect();
        let head = format!(
            "POST /predict HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n\r\n",
            server.address,
            photo.len()
        );
        begun.write_all(head.as_bytes()).unwrap();
        begun.write_all(&photo[..10]).unwrap();
        // Connections are taken in their order.
        server.is_alive();
        server.signal(name);
        server.wait_for_line("stopping after the requests that have begun");
        if again {
            server.signal(name);
        } else {
            begun.write_all(&photo[10..]).unwrap();
            assert_eq!(Answer::read(begun).status, 200);
        }
        assert_eq!(server.process.wait().unwrap().code(), status, "{name}");
        assert!(TcpStream::connect(&server.address).is_err());
    }
}

#[test]
fn a_replaced_model_is_loaded_without_losing_a_request() {
    let file = place().path("watched.safetensors");
    let replace = |bytes: &[u8]| {
        let new = place().path("new");
        fs::write(&new, bytes).unwrap();
        fs::rename(new, &file).unwrap();
    };
    let model = fs::read(place().path("run/model.safetensors")).unwrap();
    replace(&model);
    let mut server = Server::of("watched.safetensors", &["--watch"]);
    assert!(server.printed.contains("watched"), "{}", server.printed);
    let digest = server.get("/models").json()[0]["digest"].clone();
    replace(&model[..model.len() / 2]);
    let said = server.wait_for_line("was replaced");
    assert!(said.contains("the old model goes on"), "{said}");
    server.is_alive();
    assert_eq!(server.get("/models").json()[0]["digest"], digest);
    // Of two classes.
    let two = Place::with_photos(8);
    fs::remove_dir_all(two.path("photos/flags")).unwrap();
    two.run(&small(&["--out", "run", "--threads", "1"]));
    replace(&fs::read(two.path("run/model.safetensors")).unwrap());
    server.wait_for_line("loaded again");
    assert_eq!(server.get("/models").json()[0]["classes"].as_array().unwrap().len(), 2);
    server.is_alive();
}

#[test]
fn several_models_have_names() {
    let file = place().path("other.safetensors");
    fs::copy(place().path("run/model.safetensors"), &file).unwrap();
    let server = Server::new(&["other.safetensors", "run"]);
    let models = server.get("/models").json();
    let names: Vec<&str> =
        models.as_array().unwrap().iter().map(|model| model["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["run", "other", "run-2"]);
    let photo = bytes_of(&photos()[0]);
    let of = |path: &str| server.post(path, &photo).text();
    assert_eq!(of("/models/other/predict"), of("/predict"));
    assert!(place().refusal(&["serve", "nowhere.safetensors"]).contains("nowhere.safetensors"));
    let port = server.address.rsplit_once(':').unwrap().1;
    let said = place().refusal(&["serve", "run", "--port", port]);
    assert!(said.contains("cannot listen at 127.0.0.1") && said.contains("--port 0"), "{said}");
}

#[test]
fn the_log_is_lines_or_json_without_what_a_client_could_forge() {
    for (format, is_json) in [("lines", false), ("json", true)] {
        let mut server = Server::new(&["--log", format]);
        server.get("/a%0Ab?secret=1");
        let line = server.wait_for_line("/a%0Ab");
        assert!(!line.contains("secret") && line.contains("404"), "{line}");
        assert_eq!(serde_json::from_str::<Value>(&line).is_ok(), is_json, "{line}");
    }
}

/// The keys of an object, or of the first one in an array.
fn keys(value: &Value) -> BTreeSet<String> {
    let object = value.get(0).unwrap_or(value);
    object.as_object().unwrap().keys().cloned().collect()
}

#[test]
fn the_description_says_what_is_answered() {
    let server = Server::new(&[]);
    let described = server.get("/openapi.json").json();
    let photo = bytes_of(&photos()[0]);
    let mut examples = 0;
    for (path, methods) in described["paths"].as_object().unwrap() {
        for (method, about) in methods.as_object().unwrap() {
            let (path, body) = (path.replace("{name}", "run"), about["requestBody"]["content"].clone());
            let of = |body: &[u8], query: &str| {
                server.ask(&method.to_uppercase(), &format!("{path}{query}"), &[], body)
            };
            let content = |status: &str| about["responses"][status]["content"].clone();
            let example = body.pointer("/application~1json/example").map(Value::to_string);
            let answer = of(example.as_ref().map_or(&photo[..], |example| example.as_bytes()), "");
            assert_eq!(answer.status, 200, "{path}: {}", answer.text());
            for (kind, _) in content("200").as_object().into_iter().flatten() {
                assert!(answer.head.contains(&format!("content-type: {kind}")), "{path}: {}", answer.head);
            }
            if let Some(example) = content("200").pointer("/application~1json/example") {
                examples += 1;
                assert_eq!(keys(&answer.json()), keys(example), "{path}");
            }
            if let Some(example) = content("422").pointer("/application~1json/example") {
                let answer = of(b"no image", "");
                assert_eq!((answer.status, keys(&answer.json())), (422, keys(example)), "{path}");
            }
            let parameters = about["parameters"].as_array().into_iter().flatten();
            for parameter in parameters.filter(|parameter| parameter["in"] == "query") {
                let (name, value) = (parameter["name"].as_str().unwrap(), parameter["example"].to_string());
                let query = format!("?{name}={}", value.trim_matches('"'));
                assert_eq!(of(&photo, &query).status, 200, "{path}{query}");
            }
        }
    }
    assert!(examples >= 11, "{examples}");
}

#[test]
fn the_page_needs_nothing_from_elsewhere() {
    let server = Server::new(&[]);
    let page = server.get("/");
    assert_eq!(page.status, 200);
    assert!(page.head.contains("content-security-policy: default-src 'none'"), "{}", page.head);
    assert!(page.head.contains("x-content-type-options: nosniff"), "{}", page.head);
    let text = page.text();
    assert!(text.contains("<html lang=\"en\">") && text.contains("name=\"viewport\""));
    assert!(!text.contains("http://") && !text.contains("https://") && !text.contains("src=\"//"));
    // What it asks for is there.
    for path in ["/models", "/explain", "/predict"] {
        assert!(text.contains(path), "{path}");
    }
}

/// Sends a request of the Open Inference Protocol: JSON, and tensors behind it.
fn infer(server: &Server, request: &Value, tensors: &[u8]) -> Answer {
    let json = request.to_string();
    let length = format!("Inference-Header-Content-Length: {}", json.len());
    server.ask("POST", "/v2/models/run/infer", &[&length], &[json.as_bytes(), tensors].concat())
}

#[test]
fn the_open_inference_protocol_gives_the_same_probabilities() {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde_json::json;

    let server = Server::new(&["--max-files", "3"]);
    let photos: Vec<Vec<u8>> = photos()[..2].iter().map(|photo| bytes_of(photo)).collect();
    let model = Model::load(place().path("run")).unwrap();
    let expected: Vec<f32> =
        photos.iter().flat_map(|photo| model.predict_bytes(photo).unwrap().probabilities).collect();
    let numbers = |answer: &Answer| -> Vec<f32> {
        let data = answer.json()["outputs"][0]["data"].clone();
        data.as_array().unwrap().iter().map(|value| value.to_string().parse().unwrap()).collect()
    };
    // Files as texts, and as bytes behind the JSON.
    let texts: Vec<String> = photos.iter().map(|photo| STANDARD.encode(photo)).collect();
    let request = json!({ "id": "7", "inputs": [{ "name": "images", "datatype": "BYTES", "shape": [2], "data": texts }] });
    let answer = server.post("/v2/models/run/infer", request.to_string().as_bytes());
    assert_eq!(numbers(&answer), expected);
    let answer = answer.json();
    assert_eq!((&answer["id"], &answer["outputs"][0]["shape"]), (&"7".into(), &json!([2, 3])));
    let bytes: Vec<u8> =
        photos.iter().flat_map(|photo| [&(photo.len() as u32).to_le_bytes(), &photo[..]].concat()).collect();
    let of_bytes = |more: Value| {
        let input = json!({ "name": "images", "datatype": "BYTES", "shape": [2], "parameters": { "binary_data_size": bytes.len() } });
        let mut request = json!({ "inputs": [input] });
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        infer(&server, &request, &bytes)
    };
    let answer = of_bytes(json!({ "parameters": { "binary_data_output": true } }));
    assert!(answer.head.contains("inference-header-content-length: "), "{}", answer.head);
    let tensor = &answer.body[answer.body.len() - 4 * expected.len()..];
    let found: Vec<f32> =
        tensor.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect();
    assert_eq!(found, expected);
    let answer =
        of_bytes(json!({ "outputs": [{ "name": "probabilities", "parameters": { "classification": 1 } }] }));
    let best = model.predict_bytes(&photos[0]).unwrap().best();
    let text = answer.json()["outputs"][0]["data"][0].as_str().unwrap().to_owned();
    assert!(
        text.starts_with(&format!("{}:", best.probability)) && text.ends_with(&format!(":{}", best.class)),
        "{text}"
    );
    // Pixels, and normalised values, channels first.
    let image = model.decode(&photos[0]).unwrap();
    let shape = json!([1, image.height(), image.width(), 3]);
    let size = image.pixels().len();
    let input = json!({ "name": "images", "datatype": "UINT8", "shape": shape, "parameters": { "binary_data_size": size } });
    assert_eq!(numbers(&infer(&server, &json!({ "inputs": [input] }), image.pixels())), expected[..3]);
    let preprocessing = model.config().preprocessing;
    let mut sample = vec![0.0; preprocessing.sample_len()];
    preprocessing.apply(&image, &mut sample).unwrap();
    let planes: Vec<f32> =
        (0..3).flat_map(|channel| sample.iter().skip(channel).step_by(3).copied()).collect();
    let shape = json!([1, 3, preprocessing.size, preprocessing.size]);
    let request =
        json!({ "inputs": [{ "name": "images", "datatype": "FP32", "shape": shape, "data": [planes] }] });
    assert_eq!(numbers(&server.post("/v2/models/run/infer", request.to_string().as_bytes())), expected[..3]);

    for (input, status) in [
        (json!({ "name": "images", "datatype": "BYTES", "shape": [1], "data": ["bm8gaW1hZ2U="] }), 422),
        (json!({ "name": "images", "datatype": "BYTES", "shape": [1], "data": ["/etc/passwd."] }), 400),
        (json!({ "name": "images", "datatype": "BYTES", "shape": [2], "data": ["AAAA"] }), 400),
        (
            json!({ "name": "images", "datatype": "BYTES", "shape": [4], "data": ["AAAA", "AAAA", "AAAA", "AAAA"] }),
            413,
        ),
        (json!({ "name": "x", "datatype": "BYTES", "shape": [1], "data": ["AAAA"] }), 400),
        (json!({ "name": "images", "datatype": "INT64", "shape": [1], "data": [1] }), 400),
        (json!({ "name": "images", "datatype": "UINT8", "shape": [1, 1, 1, 3], "data": [1, 2, 256] }), 400),
        (json!({ "name": "images", "datatype": "UINT8", "shape": [0, 1, 1, 3], "data": [] }), 400),
        (
            json!({ "name": "images", "datatype": "UINT8", "shape": [1, 4294967296u64, 4294967296u64, 3], "data": [1] }),
            400,
        ),
        (
            json!({ "name": "images", "datatype": "UINT8", "shape": [1, 1, 1, 3], "parameters": { "binary_data_size": 99 } }),
            400,
        ),
        (json!({ "name": "images", "datatype": "FP32", "shape": [1, 3, 2, 2], "data": [0.5] }), 400),
    ] {
        let request = json!({ "inputs": [input] }).to_string();
        let answer = server.post("/v2/models/run/infer", request.as_bytes());
        assert_eq!(answer.status, status, "{request}: {}", answer.text());
    }
    for path in ["/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/run", "/v2/models/run/ready"] {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
    assert_eq!(server.get("/v2/models/nowhere/ready").status, 404);
    assert_eq!(server.post("/v2/models/run/infer", b"[[[").status, 400);
    server.is_alive();
}
