//! The real command fetches weights from a real server on loopback, and trains with them.

use std::fs;

use crate::common::{NOBODY, Place, stderr};
use crate::hub_server::{Reply, Request, Server};

const TARGET: &str = "/timm/tf_efficientnet_lite1.in1k/resolve/main/model.safetensors";
const FILE: &str = "cache/weights/tf_efficientnet_lite1.in1k.safetensors";

/// The hub, with one file that is not kept apart from its address.
fn hub(content: Vec<u8>) -> Server {
    Server::new(move |request: &Request| match request.target.as_str() {
        TARGET => Reply::part(&content, request),
        _ => Reply::status("404 Not Found"),
    })
}

#[test]
fn pull_prints_the_path_and_says_where_from_and_under_which_licence() {
    let place = Place::empty();
    let server = hub(vec![7; 3_000_000]);
    let pull =
        || place.ocelli(&["pull", "efficientnet_lite1"]).env("HF_ENDPOINT", &server.url).output().unwrap();
    let output = pull();
    let said = stderr(&output);
    assert!(output.status.success(), "{said}");
    assert_eq!(output.stdout, format!("{}\n", place.path(FILE).display()).into_bytes());
    let url = format!("{}{TARGET}", server.url);
    for part in [url.as_str(), "3.00 MB", "licence Apache-2.0", "SHA-256", "no published checksum"] {
        assert!(said.contains(part), "{said:?} lacks {part:?}");
    }
    assert!(!said.contains('\u{1b}'), "no escape codes where output is no terminal");
    assert_eq!(fs::read(place.path(FILE)).unwrap(), vec![7; 3_000_000]);

    let before = server.requests().len();
    let output = pull();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", stderr(&output));
    assert_eq!(server.requests().len(), before, "what is here is not fetched again");

    let output = place.ocelli(&["pull", "efficientnet_lite0"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "efficientnet_lite0 is built in\n");
}

#[test]
fn a_proxy_from_the_environment_is_used() {
    let place = Place::empty();
    let proxy = hub(vec![7; 1000]);
    let mut command = place.ocelli(&["pull", "efficientnet_lite1", "--quiet"]);
    let output = command.env("HTTP_PROXY", &proxy.url).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", stderr(&output));
    assert_eq!(fs::read(place.path(FILE)).unwrap(), vec![7; 1000]);
    let asked: Vec<String> = proxy.requests().into_iter().map(|request| request.target).collect();
    let host = NOBODY.trim_start_matches("http://");
    assert_eq!(asked, [host, TARGET, host, TARGET], "the head, then the content");
}

#[test]
fn offline_the_way_round_is_said() {
    let place = Place::with_photos(4);
    for verb in [&["pull", "efficientnet_lite1"][..], &["train", "photos", "--arch", "efficientnet_lite1"]] {
        let said = place.refusal(verb);
        let path = place.path(FILE);
        for part in ["cannot reach", TARGET, "save it as", path.to_str().unwrap()] {
            assert!(said.contains(part), "{verb:?} says {said:?}, which lacks {part:?}");
        }
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    assert!(!place.path("runs").exists(), "no run folder is left behind");
    // The photos are looked at first.
    assert!(place.refusal(&["train", "nowhere", "--arch", "efficientnet_lite1"]).contains("nowhere"));
    assert!(place.refusal(&["pull", "resnet9000"]).contains("resnet9000"));
}
