//! One file over HTTP: resumed, checked, whole or not at all.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ocelli_data::{files, io_reason};
use ureq::http::{Response, header};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body};

use crate::checksum::{Checksum, RemoteFile, checksum_of};
use crate::error::{Error, Result};
use crate::retry::RetryPolicy;

/// What happens while a file is fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PullEvent<'a> {
    /// The server gives the file.
    Started {
        /// The file.
        file: &'a RemoteFile,
        /// Bytes that an earlier download left, from which this one resumes.
        resumed_from: u64,
        /// Bytes in all, where the server says it.
        total: Option<u64>,
    },
    /// More of it came.
    Received {
        /// Bytes received so far, those of earlier downloads included.
        done: u64,
        /// Bytes in all, where the server says it.
        total: Option<u64>,
    },
    /// The download was interrupted, and is tried again.
    Retrying {
        /// What happened.
        reason: &'a str,
    },
    /// Another process downloads the same file; this one waits for it.
    Waiting,
    /// The file is whole, and was checked.
    Done {
        /// Where it is.
        path: &'a Path,
        /// Its SHA-256.
        sha256: &'a str,
        /// Whether the checksum that was published says the same; otherwise there was none.
        checked: bool,
    },
}

/// Receives the progress; `Break` stops the transfer.
pub type Watch<'a> = dyn FnMut(&PullEvent) -> ControlFlow<()> + 'a;

/// No weights of a network that classifies images are larger.
const LONGEST: u64 = 8 << 30;

/// Downloads a file to `path`: into a partial file beside it first, which is kept where the download is
/// interrupted, then checked, synced to the disk and renamed. Two processes do not disturb each other.
///
/// # Errors
/// [`Error::Stopped`] where `watch` stops it, [`Error::Io`] where it cannot be written, and any other of
/// [`Error`]'s where the file cannot be had.
pub fn download(file: &RemoteFile, path: &Path, policy: &RetryPolicy, watch: &mut Watch) -> Result<()> {
    let folder = files::folder_of(path);
    files::create_dir_all(folder).map_err(Error::io("create", folder))?;
    let Some(_alone) = lock(folder, file, path, watch)? else { return Ok(()) };
    let agent = agent(&file.url, policy);
    let mut transfer =
        Transfer { file, path, folder, agent, announced_start: false, received: 0, version: None };
    let published = transfer.retried(policy, watch, |transfer, _| transfer.published_checksum())?;
    let checksum = published.as_deref().or(file.checksum.digits()).map(str::to_owned);

    // Two rounds: what an earlier run left may be a part of something else.
    loop {
        let part = transfer.part(checksum.as_deref());
        let resumed = length(&part) > 0;
        transfer
            .retried(policy, watch, |transfer, watch| transfer.receive(&part, checksum.is_some(), watch))?;
        let found = checksum_of(&part).map_err(Error::io("read", &part))?;
        let expected = checksum.as_deref().unwrap_or_default();
        if found.starts_with(expected) {
            finish(&part, path)?;
            let done = PullEvent::Done { path, sha256: &found, checked: checksum.is_some() };
            let _ = watch(&done); // there is nothing left to stop
            return Ok(());
        }
        let page = begins_as_page(&part);
        files::remove(&part).map_err(Error::io("remove", &part))?;
        if !resumed {
            return Err(Error::WrongContent {
                url: file.url.clone(),
                expected: expected.to_owned(),
                found: found[..expected.len()].to_owned(),
                page,
                path: path.to_owned(),
            });
        }
    }
}

/// Whether a server answers within this time, whatever it says. Nothing is downloaded.
///
/// # Errors
/// [`Error::NoAnswer`].
pub fn reach(url: &str, timeout: Duration) -> Result<()> {
    let policy = RetryPolicy { connect_timeout: timeout, read_timeout: timeout, ..RetryPolicy::default() };
    let request =
        agent(url, &policy).head(url).config().max_redirects(0).timeout_global(Some(timeout)).build();
    match request.call() {
        Ok(_) => Ok(()),
        Err(error) => Err(Error::NoAnswer { url: url.to_owned(), reason: in_words(&error) }),
    }
}

struct Transfer<'a> {
    file: &'a RemoteFile,
    path: &'a Path,
    folder: &'a Path,
    agent: Agent,
    /// Whether [`PullEvent::Started`] was sent.
    announced_start: bool,
    /// Bytes received so far.
    received: u64,
    /// What tells versions of the file apart, where no checksum does.
    version: Option<String>,
}

/// Why an attempt did not succeed.
enum Failure {
    /// Something that may pass: it is tried again.
    Temporary { reason: String, reached: bool },
    /// Something that will not.
    Permanent(Error),
}

impl<'a> Transfer<'a> {
    /// Tries until it succeeds, fails for good, or nothing came for several times in a row. A server that has
    /// never answered is not tried twice: without a network that is known at once.
    fn retried<T>(
        &mut self,
        policy: &RetryPolicy,
        watch: &mut Watch,
        mut attempt: impl FnMut(&mut Self, &mut Watch) -> std::result::Result<T, Failure>,
    ) -> Result<T> {
        let mut failed = 0;
        let mut before = self.received;
        loop {
            let (reason, reached) = match attempt(self, watch) {
                Ok(value) => return Ok(value),
                Err(Failure::Permanent(error)) => return Err(error),
                Err(Failure::Temporary { reason, reached }) => (reason, reached),
            };
            let received = self.received;
            if !reached && !self.announced_start {
                let (url, path) = (self.file.url.clone(), self.path.to_owned());
                return Err(Error::Unreachable { url, reason, path });
            }
            failed = if received > before { 1 } else { failed + 1 };
            before = received;
            if failed >= policy.attempts {
                let (url, path) = (self.file.url.clone(), self.path.to_owned());
                return Err(Error::Interrupted { url, reason, attempts: failed, received, path });
            }
            emit(watch, &PullEvent::Retrying { reason: &reason })?;
            std::thread::sleep(policy.backoff * 2u32.pow(failed - 1));
        }
    }

    /// The checksum in the hub's headers, before it redirects to where the content is.
    fn published_checksum(&self) -> std::result::Result<Option<String>, Failure> {
        if self.file.checksum != Checksum::FromServer {
            return Ok(None);
        }
        let request = self.agent.head(&self.file.url).config().max_redirects(0).build();
        let response = request.call().map_err(|error| failure(&error))?;
        if matches!(response.status().as_u16(), 405 | 501) {
            return Ok(None); // a mirror that gives files and nothing else
        }
        self.check_status(&response)?;
        let tag = ["x-linked-etag", "etag"].into_iter().find_map(|name| text(&response, name));
        let digits = tag.map(|tag| tag.trim_start_matches("W/").trim_matches('"').to_owned());
        Ok(digits.filter(|digits| Checksum::sha256(digits).is_some()))
    }

    /// Receives what is missing of the part.
    fn receive(&mut self, part: &Path, checked: bool, watch: &mut Watch) -> std::result::Result<(), Failure> {
        let io = |action| move |source| Failure::Permanent(Error::io(action, part)(source));
        let mut out = OpenOptions::new().append(true).create(true).open(part).map_err(io("write"))?;
        if !checked && self.version.is_none() {
            // Nothing would tell a part of this file from a part of another.
            out.set_len(0).map_err(io("write"))?;
        }
        let kept = out.seek(io::SeekFrom::End(0)).map_err(io("write"))?;
        let mut request = self.agent.get(&self.file.url);
        if kept > 0 {
            request = request.header(header::RANGE, format!("bytes={kept}-"));
            if let (false, Some(version)) = (checked, &self.version) {
                request = request.header(header::IF_RANGE, version);
            }
        }
        let mut response = request.call().map_err(|error| failure(&error))?;
        let (done, total) = match response.status().as_u16() {
            206 => match content_range(&response) {
                Some((start, total)) if start == kept => (kept, total),
                _ => return Err(restart(&out, part, "the server sends another part than was asked for")),
            },
            // The part is as long as the file, or longer.
            416 if kept > 0 => match text(&response, "content-range").as_deref().and_then(unsatisfied) {
                Some(total) if total == kept => return Ok(()),
                _ => return Err(restart(&out, part, "the partial file is longer than the file")),
            },
            _ => {
                self.check_status(&response)?;
                out.set_len(0).map_err(io("write"))?;
                self.version = text(&response, "etag").filter(|tag| !tag.starts_with("W/"));
                (0, response.body().content_length())
            }
        };
        self.received = done;
        if !self.announced_start {
            self.announced_start = true;
            let started = PullEvent::Started { file: self.file, resumed_from: done, total };
            emit(watch, &started).map_err(Failure::Permanent)?;
        }
        let mut body = response.body_mut().with_config().limit(u64::MAX).reader();
        let write = |bytes: &[u8]| out.write_all(bytes).map_err(io("write"));
        self.copy(&mut body, write, (done, total), watch)
    }

    /// Copies a body to the part, from the `done` first bytes on, of so many in all.
    fn copy(
        &mut self,
        body: &mut impl Read,
        mut write: impl FnMut(&[u8]) -> std::result::Result<(), Failure>,
        (mut done, total): (u64, Option<u64>),
        watch: &mut Watch,
    ) -> std::result::Result<(), Failure> {
        let mut buffer = vec![0; 64 << 10];
        loop {
            if done.max(total.unwrap_or(0)) > LONGEST {
                let (url, path) = (self.file.url.clone(), self.path.to_owned());
                return Err(Failure::Permanent(Error::TooLong { url, limit: LONGEST, path }));
            }
            let length = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failure::Temporary { reason: cut(&error), reached: true }),
            };
            write(&buffer[..length])?;
            done += length as u64;
            self.received = done;
            emit(watch, &PullEvent::Received { done, total }).map_err(Failure::Permanent)?;
        }
        match total {
            Some(total) if done != total => {
                let reason = format!("the transfer ended after {done} of {total} bytes");
                Err(Failure::Temporary { reason, reached: true })
            }
            _ => Ok(()),
        }
    }

    /// Fails where the answer is not the file: permanently, or temporarily where the server has trouble.
    fn check_status(&self, response: &Response<Body>) -> std::result::Result<(), Failure> {
        let status = response.status();
        match status.as_u16() {
            200..=399 => Ok(()),
            408 | 425 | 429 | 500..=599 => {
                Err(Failure::Temporary { reason: format!("the server answers {status}"), reached: true })
            }
            _ => Err(Failure::Permanent(Error::Refused {
                url: self.file.url.clone(),
                status: status.to_string(),
                path: self.path.to_owned(),
            })),
        }
    }

    /// The file in which what came waits for the rest. Its name depends on the content that is expected, so
    /// that nothing is ever added to a part of something else.
    fn part(&self, checksum: Option<&str>) -> PathBuf {
        let key = checksum.map_or("unchecked", |digits| &digits[..digits.len().min(16)]);
        self.folder.join(format!(".{}.{key}.part", self.file.name))
    }
}

fn agent(url: &str, policy: &RetryPolicy) -> Agent {
    let config = Agent::config_builder()
        .user_agent(concat!("ocelli/", env!("CARGO_PKG_VERSION")))
        .https_only(url.starts_with("https:"))
        .http_status_as_error(false)
        .timeout_connect(Some(policy.connect_timeout))
        .timeout_recv_response(Some(policy.read_timeout))
        .timeout_per_read(Some(policy.read_timeout))
        .tls_config(TlsConfig::builder().root_certs(certificates()).build());
    config.build().into()
}

/// Whom to believe: the system's authorities, which may include a company's own. A bare container has none at
/// all; then Mozilla's.
fn certificates() -> RootCerts {
    #[cfg(target_os = "linux")]
    if rustls_native_certs::load_native_certs().certs.is_empty() {
        return RootCerts::WebPki;
    }
    RootCerts::PlatformVerifier
}

/// Waits until no other process fetches the file. Where another has just fetched it, there is nothing left to
/// do.
fn lock(folder: &Path, file: &RemoteFile, path: &Path, watch: &mut Watch) -> Result<Option<File>> {
    let name = folder.join(format!(".{}.lock", file.name));
    let lock = File::create(&name).map_err(Error::io("write", &name))?;
    match lock.try_lock() {
        Ok(()) => return Ok(Some(lock)),
        Err(TryLockError::Error(_)) => return Ok(Some(lock)), // a file system without locks
        Err(TryLockError::WouldBlock) => {}
    }
    emit(watch, &PullEvent::Waiting)?;
    lock.lock().map_err(Error::io("lock", &name))?;
    let whole = path.is_file() && {
        let expected = file.checksum.digits().unwrap_or_default();
        checksum_of(path).map_err(Error::io("read", path))?.starts_with(expected)
    };
    Ok((!whole).then_some(lock))
}

/// Forces the whole part to the disk and gives it its name.
fn finish(part: &Path, path: &Path) -> Result<()> {
    files::sync(part).map_err(Error::io("write", part))?;
    files::rename(part, path).map_err(Error::io("write", path))
}

fn begins_as_page(path: &Path) -> bool {
    let mut start = Vec::new();
    let read = File::open(path).and_then(|file| file.take(64).read_to_end(&mut start));
    let start = String::from_utf8_lossy(&start).trim_start().to_ascii_lowercase();
    read.is_ok() && (start.starts_with("<!doctype") || start.starts_with("<html"))
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

fn emit(watch: &mut Watch, event: &PullEvent) -> Result<()> {
    if watch(event).is_break() { Err(Error::Stopped) } else { Ok(()) }
}

/// Empties the partial file, for the next attempt.
fn restart(out: &File, part: &Path, reason: &str) -> Failure {
    match out.set_len(0) {
        Ok(()) => Failure::Temporary { reason: reason.to_owned(), reached: true },
        Err(error) => Failure::Permanent(Error::io("write", part)(error)),
    }
}

fn text(response: &Response<Body>, name: &str) -> Option<String> {
    Some(response.headers().get(name)?.to_str().ok()?.trim().to_owned())
}

/// Start and total of `bytes START-END/TOTAL`; the total may be `*`.
fn content_range(response: &Response<Body>) -> Option<(u64, Option<u64>)> {
    let range = text(response, "content-range")?;
    let (start, rest) = range.strip_prefix("bytes ")?.split_once('-')?;
    let (_, total) = rest.split_once('/')?;
    Some((start.parse().ok()?, total.parse().ok()))
}

/// The total of `bytes */TOTAL`.
fn unsatisfied(range: &str) -> Option<u64> {
    range.strip_prefix("bytes */")?.parse().ok()
}

/// An attempt that ended before there was an answer.
fn failure(error: &ureq::Error) -> Failure {
    use ureq::{Error as Http, Timeout};
    let reached = match error {
        Http::Io(error) => is_cut(error),
        Http::Timeout(phase) => !matches!(phase, Timeout::Resolve | Timeout::Connect),
        Http::Protocol(_) => true,
        _ => false,
    };
    Failure::Temporary { reason: in_words(error), reached }
}

fn in_words(error: &ureq::Error) -> String {
    use ureq::{Error as Http, Timeout};
    match error {
        Http::Timeout(Timeout::Resolve | Timeout::Connect) => "nobody answers".to_owned(),
        Http::Timeout(_) => "the server fell silent".to_owned(),
        Http::Io(error) if is_cut(error) => "the connection was cut".to_owned(),
        Http::Io(error) => io_reason(error),
        error => error.to_string(),
    }
}

/// What ended a body, in words.
fn cut(error: &io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>()) {
        Some(inner) => in_words(inner),
        None if is_cut(error) => "the connection was cut".to_owned(),
        None => io_reason(error),
    }
}

fn is_cut(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset | UnexpectedEof)
}
