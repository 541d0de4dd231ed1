//! Weights by name, from a real server on loopback that cuts, lies, redirects and falls silent.

mod server;

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use ocelli_hub::{Checksum, Error, PullEvent, RemoteFile, RetryPolicy, WeightStore, download, reach};
use ocelli_nn::Arch;
use proptest::prelude::*;
use server::{Reply, Request, Server};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// For tests: the pauses are short.
const RETRY: RetryPolicy = RetryPolicy {
    connect_timeout: Duration::from_secs(5),
    read_timeout: Duration::from_millis(400),
    attempts: 3,
    backoff: Duration::from_millis(1),
};

fn content() -> Vec<u8> {
    (0..200_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn remote(server: &Server, checksum: Checksum) -> RemoteFile {
    RemoteFile {
        url: format!("{}/models/weights.pth", server.url),
        name: "weights.pth".to_owned(),
        checksum,
        licence: "BSD-3-Clause".to_owned(),
    }
}

fn checked(content: &[u8]) -> Checksum {
    Checksum::prefix(&sha256(content)[..8]).unwrap()
}

fn go_on(_: &PullEvent) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// A folder and the file that is to appear in it.
fn place() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("weights").join("weights.pth");
    (folder, path)
}

/// What lies beside the file that was fetched, apart from the lock.
fn parts(path: &Path) -> Vec<u64> {
    let entries = fs::read_dir(path.parent().unwrap()).unwrap().flatten();
    let parts = entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(".part"));
    parts.map(|entry| entry.metadata().unwrap().len()).collect()
}

fn fetch(server: &Server, checksum: Checksum, path: &Path) -> Result<(), Error> {
    download(&remote(server, checksum), path, &RETRY, &mut go_on)
}

fn refusal(result: Result<(), Error>) -> Error {
    result.unwrap_err()
}

#[test]
fn a_file_comes_whole_and_checked_with_progress() {
    let server = Server::new(|request| Reply::part(&content(), request));
    let (_folder, path) = place();
    let (mut done, mut said) = (0, Vec::new());
    let file = remote(&server, checked(&content()));
    download(&file, &path, &RETRY, &mut |event: &PullEvent| {
        match event {
            PullEvent::Received { done: now, total } => {
                assert!(*now > done && *total == Some(800_000), "{now} after {done}");
                done = *now;
            }
            PullEvent::Started { file, resumed_from: 0, total: Some(800_000) } => {
                said.push(file.licence.clone())
            }
            PullEvent::Done { sha256: found, checked: true, .. } => said.push((*found).to_owned()),
            other => panic!("{other:?}"),
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(done, 800_000);
    assert_eq!(said, ["BSD-3-Clause".to_owned(), sha256(&content())]);
    assert!(fs::read(&path).unwrap() == content());
    assert_eq!(parts(&path), [0; 0]);
}

#[test]
fn a_cut_transfer_goes_on_where_it_stopped() {
    let server = Server::new(|request| Reply::part(&content(), request).cut(300_000));
    let (_folder, path) = place();
    let mut again = Vec::new();
    let file = remote(&server, checked(&content()));
    download(&file, &path, &RETRY, &mut |event: &PullEvent| {
        if let PullEvent::Retrying { reason } = event {
            again.push((*reason).to_owned());
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    assert!(fs::read(&path).unwrap() == content());
    assert_eq!(server.ranges(), ["", "bytes=300000-", "bytes=600000-"]);
    assert_eq!(again, ["the connection was cut"; 2]);
}

#[test]
fn a_transfer_that_was_given_up_goes_on_in_the_next_run() {
    let server = Server::new(|request| match request.number {
        0 => Reply::part(&content(), request).cut(300_000),
        1 | 2 => Reply::part(&content(), request).cut(0),
        _ => Reply::part(&content(), request),
    });
    let (_folder, path) = place();
    match refusal(fetch(&server, checked(&content()), &path)) {
        Error::Interrupted { attempts: 3, received: 300_000, .. } => {}
        other => panic!("{other:?}"),
    }
    assert!(!path.exists());
    assert_eq!(parts(&path), [300_000]);
    fetch(&server, checked(&content()), &path).unwrap();
    assert!(fs::read(&path).unwrap() == content());
    assert_eq!(server.ranges(), ["", "bytes=300000-", "bytes=300000-", "bytes=300000-"]);
}

#[test]
fn a_server_that_cannot_resume_is_asked_for_the_whole() {
    let server = Server::new(|request| match request.number {
        0 => Reply::whole(&content()).cut(300_000),
        _ => Reply::whole(&content()),
    });
    let (_folder, path) = place();
    fetch(&server, checked(&content()), &path).unwrap();
    assert!(fs::read(&path).unwrap() == content());
    assert_eq!(server.ranges(), ["", "bytes=300000-"]);
}

#[test]
fn a_server_that_sends_another_part_than_asked_for_is_not_believed() {
    let server = Server::new(|request| match (request.number, request.start()) {
        (0, _) => Reply::whole(&content()).cut(300_000),
        (_, Some(_)) => Reply { status: "206 Partial Content", ..Reply::whole(&content()[5..]) }
            .with("Content-Range", "bytes 5-799999/800000"),
        _ => Reply::whole(&content()),
    });
    let (_folder, path) = place();
    fetch(&server, checked(&content()), &path).unwrap();
    assert!(fs::read(&path).unwrap() == content());
}

#[test]
fn wrong_lengths_are_noticed() {
    // More is promised than comes.
    let server = Server::new(|request| {
        let mut longer = Reply::part(&content(), request);
        longer.headers.retain(|(name, _)| *name != "Content-Length");
        longer.with("Content-Length", "900000")
    });
    let (_folder, path) = place();
    let error = refusal(fetch(&server, Checksum::Unknown, &path));
    assert!(matches!(error, Error::Interrupted { .. }), "{error:?}");
    // Less is promised than there is.
    let server = Server::new(|_| Reply {
        headers: vec![("Content-Length", "1000".to_owned())],
        ..Reply::whole(&content())
    });
    let error = refusal(fetch(&server, checked(&content()), &path));
    assert!(matches!(error, Error::WrongContent { page: false, .. }), "{error:?}");
    // More is promised than any network has.
    let endless = (1u64 << 40).to_string();
    let server = Server::new(move |_| Reply {
        headers: vec![("Content-Length", endless.clone())],
        ..Reply::whole(&content())
    });
    let error = refusal(fetch(&server, checked(&content()), &path));
    assert!(matches!(error, Error::TooLong { .. }), "{error:?}");
    assert!(!path.exists());
}

#[test]
fn content_without_a_length_is_taken_to_its_end() {
    let chunked = |cut: usize| {
        let mut body = Vec::new();
        for chunk in content().chunks(70_000) {
            body.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
            body.extend(chunk);
            body.extend(b"\r\n");
        }
        body.extend(b"0\r\n\r\n");
        let headers = vec![("Transfer-Encoding", "chunked".to_owned())];
        Reply { status: "200 OK", headers, body, ..Reply::default() }.cut(cut)
    };
    let server = Server::new(move |request| chunked(if request.number == 0 { 500_000 } else { usize::MAX }));
    let (_folder, path) = place();
    fetch(&server, Checksum::Unknown, &path).unwrap();
    assert!(fs::read(&path).unwrap() == content());
    assert_eq!(server.ranges(), ["", ""], "nothing would tell one version from another");
}

#[test]
fn without_a_checksum_a_transfer_is_resumed_only_in_the_same_version() {
    let changed: Vec<u8> = content().into_iter().rev().collect();
    let new = changed.clone();
    let server = Server::new(move |request| match request.number {
        0 => Reply::whole(&content()).cut(300_000).with("ETag", "\"one\""),
        _ if request.headers.get("if-range").is_some_and(|tag| tag == "\"two\"") => {
            Reply::part(&new, request)
        }
        _ => Reply::whole(&new).with("ETag", "\"two\"").cut(400_000),
    });
    let (_folder, path) = place();
    fetch(&server, Checksum::Unknown, &path).unwrap();
    assert!(fs::read(&path).unwrap() == changed);
    assert_eq!(server.ranges(), ["", "bytes=300000-", "bytes=400000-"]);
}

#[test]
fn what_is_not_what_was_published_is_refused_and_leaves_nothing() {
    let server = Server::new(|request| Reply::part(&content(), request));
    let (_folder, path) = place();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "what was here before").unwrap();
    let error = refusal(fetch(&server, Checksum::prefix("0123456789ab").unwrap(), &path));
    let found = sha256(&content())[..12].to_owned();
    let said = error.to_string();
    assert!(said.contains("0123456789ab") && said.contains(&found) && said.contains("save it as"), "{said}");
    assert_eq!(fs::read(&path).unwrap(), b"what was here before");
    assert_eq!(parts(&path), [0; 0]);

    let server = Server::new(|_| Reply::whole(b"\n<!DOCTYPE html><p>Please log in"));
    let said = refusal(fetch(&server, checked(&content()), &path)).to_string();
    assert!(said.contains("web page"), "{said}");
}

#[test]
fn a_kept_part_of_something_else_is_thrown_away() {
    let server = Server::new(|request| Reply::part(&content(), request));
    let (_folder, path) = place();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let key = &sha256(&content())[..8];
    for kept in [vec![7; 5000], vec![7; 800_000], vec![7; 900_000], content()] {
        fs::write(path.with_file_name(format!(".weights.pth.{key}.part")), &kept).unwrap();
        fetch(&server, checked(&content()), &path).unwrap();
        assert!(fs::read(&path).unwrap() == content());
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn redirects_are_followed_with_the_part_that_is_asked_for() {
    let far = Server::new(|request| Reply::part(&content(), request).cut(500_000));
    let to = far.url.clone();
    let server = Server::new(move |request| match request.target.as_str() {
        "/models/weights.pth" => Reply::redirect("/moved/weights.pth?token=1"),
        "/moved/weights.pth?token=1" => Reply::redirect(format!("{to}/content")),
        other => panic!("{other}"),
    });
    let (_folder, path) = place();
    fetch(&server, checked(&content()), &path).unwrap();
    assert!(fs::read(&path).unwrap() == content());
    assert_eq!(far.ranges(), ["", "bytes=500000-"]);

    let circle = Server::new(|_| Reply::redirect("/models/weights.pth"));
    let said = refusal(fetch(&circle, checked(&content()), &path.with_file_name("other"))).to_string();
    assert!(said.contains("redirect"), "{said}");
}

#[test]
fn a_silent_server_is_given_up_and_tried_again() {
    let long = Duration::from_secs(20);
    let server = Server::new(move |request| match request.number {
        0 => Reply::part(&content(), request).cut(300_000).silent(long),
        1 => Reply { delay: long, ..Reply::part(&content(), request) },
        _ => Reply::part(&content(), request),
    });
    let (_folder, path) = place();
    let mut again = Vec::new();
    let file = remote(&server, checked(&content()));
    download(&file, &path, &RETRY, &mut |event: &PullEvent| {
        if let PullEvent::Retrying { reason } = event {
            again.push((*reason).to_owned());
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    assert!(fs::read(&path).unwrap() == content());
    assert_eq!(server.ranges(), ["", "bytes=300000-", "bytes=300000-"]);
    assert_eq!(again, ["the server fell silent"; 2]);

    let mute = Server::new(move |_| Reply { delay: long, ..Reply::default() });
    let error = refusal(fetch(&mute, checked(&content()), &path.with_file_name("other")));
    assert!(error.to_string().contains("the server fell silent, 3 times"), "{error}");
}

#[test]
fn a_slow_server_that_goes_on_sending_is_not_given_up() {
    let content = content();
    let slow = content.clone();
    // Each answer is cut; between them is less than the patience, in all more.
    let server = Server::new(move |request| {
        Reply::part(&slow, request).cut(100_000).silent(Duration::from_millis(100))
    });
    let (_folder, path) = place();
    fetch(&server, checked(&content), &path).unwrap();
    assert_eq!(server.requests().len(), 8, "more than the attempts that may come to nothing in a row");
}

#[test]
fn an_answer_that_is_no_file_is_told_or_tried_again() {
    for (status, in_words) in [("404 Not Found", "404"), ("403 Forbidden", "403"), ("410 Gone", "410")] {
        let server = Server::new(move |_| Reply::status(status));
        let (_folder, path) = place();
        let error = refusal(fetch(&server, checked(&content()), &path));
        let said = error.to_string();
        assert!(matches!(error, Error::Refused { .. }), "{error:?}");
        assert!(said.contains(in_words) && said.contains(&path.display().to_string()), "{said}");
        assert_eq!(server.requests().len(), 1);
    }
    let server = Server::new(|request| match request.number {
        0 => Reply::status("503 Service Unavailable"),
        1 => Reply::status("429 Too Many Requests"),
        _ => Reply::part(&content(), request),
    });
    let (_folder, path) = place();
    fetch(&server, checked(&content()), &path).unwrap();
}

#[test]
fn the_watcher_can_stop_and_what_came_is_kept() {
    let server = Server::new(|request| Reply::part(&content(), request));
    let (_folder, path) = place();
    let file = remote(&server, checked(&content()));
    let result = download(&file, &path, &RETRY, &mut |event: &PullEvent| match event {
        PullEvent::Received { done, .. } if *done > 200_000 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    assert!(matches!(result, Err(Error::Stopped)), "{result:?}");
    assert!(!path.exists());
    let kept = parts(&path)[0];
    assert!(kept > 200_000);
    fetch(&server, checked(&content()), &path).unwrap();
    assert_eq!(server.ranges()[1], format!("bytes={kept}-"));
    assert!(fs::read(&path).unwrap() == content());
}

#[test]
fn two_at_once_fetch_it_once() {
    let pause = Duration::from_millis(100);
    let server = Server::new(move |request| Reply { delay: pause, ..Reply::part(&content(), request) });
    let (_folder, path) = place();
    let waited = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let file = remote(&server, checked(&content()));
                let mut watch = |event: &PullEvent| {
                    waited.fetch_add(usize::from(*event == PullEvent::Waiting), Ordering::Relaxed);
                    ControlFlow::Continue(())
                };
                download(&file, &path, &RETRY, &mut watch).unwrap();
            });
        }
    });
    assert_eq!(waited.into_inner(), 3);
    assert_eq!(server.requests().len(), 1);
    assert!(fs::read(&path).unwrap() == content());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// Wherever the connection is cut, and whether or not the server resumes: the content, or nothing.
    #[test]
    fn cuts_anywhere_never_change_the_content(
        cuts in prop::collection::vec(0usize..800_000, 0..4),
        resumes in any::<bool>(),
    ) {
        let schedule = cuts.clone();
        let server = Server::new(move |request| {
            let reply = if resumes { Reply::part(&content(), request) } else { Reply::whole(&content()) };
            reply.cut(schedule.get(request.number).copied().unwrap_or(usize::MAX))
        });
        let (_folder, path) = place();
        match fetch(&server, checked(&content()), &path) {
            Ok(()) => prop_assert!(fs::read(&path).unwrap() == content()),
            Err(error) => {
                prop_assert!(matches!(error, Error::Interrupted { .. }), "{error}");
                prop_assert!(!path.exists());
            }
        }
    }
}

/// A store that keeps to a folder, with the hub at the server.
fn store(folder: &TempDir, url: &str) -> WeightStore {
    WeightStore {
        folder: folder.path().join("weights"),
        torch_hub: Some(folder.path().join("torch")),
        hugging_face: Some(folder.path().join("hub")),
        torchvision_url: url.to_owned(),
        hugging_face_url: url.to_owned(),
        retry: RETRY,
    }
}

const HUB: Arch = Arch::EfficientNetLite1;
const REPOSITORY: &str = "timm/tf_efficientnet_lite1.in1k";

/// As the hub answers: the checksum in a header, the content elsewhere.
fn hub(request: &Request, told: &str) -> Reply {
    match request.target.as_str() {
        "/content" => Reply::part(&content(), request),
        target if target == format!("/{REPOSITORY}/resolve/main/model.safetensors") => {
            Reply::redirect("/content").with("X-Linked-Etag", format!("\"{told}\""))
        }
        other => panic!("{other}"),
    }
}

#[test]
fn the_hub_tells_the_checksum() {
    let server = Server::new(|request| hub(request, &sha256(&content())));
    let folder = TempDir::new().unwrap();
    let store = store(&folder, &server.url);
    assert_eq!(store.find(HUB).unwrap(), None);
    let mut said = Vec::new();
    let path = store
        .pull(HUB, &mut |event: &PullEvent| {
            if let PullEvent::Done { checked, .. } = event {
                said.push(*checked);
            }
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(path, folder.path().join("weights/tf_efficientnet_lite1.in1k.safetensors"));
    assert!(fs::read(&path).unwrap() == content());
    assert_eq!(said, [true]);
    assert_eq!(store.find(HUB).unwrap(), Some(path.clone()));
    let before = server.requests().len();
    assert_eq!(store.pull(HUB, &mut go_on).unwrap(), path);
    assert_eq!(server.requests().len(), before, "what is here is not fetched again");

    let lying = Server::new(|request| hub(request, &"ab".repeat(32)));
    let folder = TempDir::new().unwrap();
    let error = self::store(&folder, &lying.url).pull(HUB, &mut go_on).unwrap_err();
    assert!(matches!(error, Error::WrongContent { .. }), "{error}");

    // A mirror that tells no checksum, or does not know the question.
    for answer in ["200 OK", "405 Method Not Allowed"] {
        let plain = Server::new(move |request| match request.method.as_str() {
            "HEAD" => Reply::status(answer),
            _ => Reply::part(&content(), request),
        });
        let folder = TempDir::new().unwrap();
        let path = self::store(&folder, &plain.url).pull(HUB, &mut go_on).unwrap();
        assert!(fs::read(&path).unwrap() == content());
    }
}

#[test]
fn offline_it_says_which_file_to_put_where_and_takes_it_there() {
    // A port that nobody listens at.
    let url = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let folder = TempDir::new().unwrap();
    let store = store(&folder, &url);
    let said = store.pull(HUB, &mut go_on).unwrap_err().to_string();
    let path = folder.path().join("weights/tf_efficientnet_lite1.in1k.safetensors");
    let wanted = format!(
        "download {url}/{REPOSITORY}/resolve/main/model.safetensors in another way and save it as {}",
        path.display()
    );
    assert!(said.starts_with("cannot reach") && said.contains(&wanted), "{said}");
    fs::write(&path, content()).unwrap();
    assert_eq!(store.pull(HUB, &mut go_on).unwrap(), path);
}

#[test]
fn a_name_that_does_not_exist_is_said_at_once() {
    let folder = TempDir::new().unwrap();
    let said = store(&folder, "http://weights.invalid").pull(HUB, &mut go_on).unwrap_err().to_string();
    assert!(said.starts_with("cannot reach http://weights.invalid/"), "{said}");
}

#[test]
fn a_server_is_reached_whatever_it_says_and_not_waited_for_long() {
    let soon = Duration::from_millis(300);
    for status in ["200 OK", "302 Found", "403 Forbidden", "503 Service Unavailable"] {
        let server = Server::new(move |_: &Request| Reply::status(status));
        reach(&server.url, Duration::from_secs(5)).unwrap();
        assert_eq!(server.requests().len(), 1, "{status}");
        assert_eq!(server.requests()[0].method, "HEAD");
    }
    let silent =
        Server::new(|_: &Request| Reply { delay: Duration::from_secs(60), ..Reply::status("200 OK") });
    for (url, reason) in [(silent.url.as_str(), "fell silent"), ("http://127.0.0.1:9", ""), ("nonsense", "")]
    {
        let error = reach(url, soon).unwrap_err();
        assert!(matches!(&error, Error::NoAnswer { url: named, .. } if named == url), "{error:?}");
        assert!(error.to_string().contains(reason), "{error}");
    }
}
