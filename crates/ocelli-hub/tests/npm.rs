//! Packages of npm, from a real server on loopback.

mod server;

use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Duration;

use ocelli_hub::{Error, NpmPackage, PullEvent, RetryPolicy};
use server::{Reply, Server};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

const CONTENT: &[u8] = b"an archive";

/// A package whose archive is [`CONTENT`].
fn package() -> NpmPackage {
    let digits: String = Sha256::digest(CONTENT).iter().map(|byte| format!("{byte:02x}")).collect();
    NpmPackage { name: "thing-web", version: "1.2.3", sha256: digits.leak(), licence: "MIT" }
}

fn pull(registry: &str, cache: &TempDir) -> Result<PathBuf, Error> {
    let seconds = Duration::from_secs;
    let retry = RetryPolicy {
        connect_timeout: seconds(5),
        read_timeout: seconds(1),
        attempts: 2,
        backoff: Duration::ZERO,
    };
    package().pull(registry, cache.path(), &retry, &mut |_: &PullEvent| ControlFlow::Continue(()))
}

#[test]
fn an_archive_is_downloaded_once_and_again_where_it_is_damaged() {
    let server = Server::new(|request| match request.target.as_str() {
        "/mirror/thing-web/-/thing-web-1.2.3.tgz" => Reply::part(CONTENT, request),
        _ => Reply::status("404 Not Found"),
    });
    let cache = TempDir::new().unwrap();
    assert_eq!(package().find(cache.path()).unwrap(), None);
    // As in npm's settings, the address may end with a slash.
    let path = pull(&format!("{}/mirror/", server.url), &cache).unwrap();
    assert_eq!(path, cache.path().join("npm/thing-web-1.2.3.tgz"));
    assert_eq!(fs::read(&path).unwrap(), CONTENT);
    let asked = server.requests().len();
    let registry = format!("{}/mirror", server.url);
    assert_eq!(pull(&registry, &cache).unwrap(), path);
    assert_eq!(package().find(cache.path()).unwrap(), Some(path.clone()));
    assert_eq!(server.requests().len(), asked);

    fs::write(&path, b"an arch1ve").unwrap();
    assert_eq!(package().find(cache.path()).unwrap(), None);
    pull(&registry, &cache).unwrap();
    assert_eq!(fs::read(&path).unwrap(), CONTENT);
}

#[test]
fn what_a_registry_sends_instead_is_not_kept() {
    let server = Server::new(|request| Reply::part(b"<html>log in</html>", request));
    let cache = TempDir::new().unwrap();
    assert!(matches!(pull(&server.url, &cache), Err(Error::WrongContent { page: true, .. })));
    assert_eq!(package().find(cache.path()).unwrap(), None);
    assert!(!package().path(cache.path()).exists());
}
