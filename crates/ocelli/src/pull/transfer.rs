//! One file over HTTP: resumed, checked, whole or not at all.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ocelli_data::{files, io_reason};
use sha2::{Digest, Sha256};
use ureq::http::{Response, header};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body};

use super::PullError;
use crate::error::{Error, Result};

/// A file that is published somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteFile {
    /// Its address.
    pub url: String,
    /// Its name on this machine.
    pub name: String,
    /// What tells that it came whole and unchanged.
    pub checksum: Checksum,
    /// Under which licence it may be used.
    pub licence: String,
}

/// What is known of a file's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Checksum {
    /// Its SHA-256, or the first digits of it: lower-case hexadecimal.
    Sha256(String),
    /// The server tells its SHA-256 in a header, as the Hugging Face hub does.
    FromServer,
    /// Nothing. The length alone is checked, and a cut transfer begins anew.
    Unknown,
}

/// When a transfer is given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// How long connecting may take.
    pub connect: Duration,
    /// How long the server may be silent.
    pub silence: Duration,
    /// How often in a row nothing may come.
    pub attempts: u32,
    /// How long to wait after the first attempt that failed; after each further one, twice as long.
    pub pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { connect: seconds(15), silence: seconds(30), attempts: 5, pause: seconds(1) }
    }
}

/// What happens while a file is fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PullEvent<'a> {
    /// The server gives the file.
    Started {
        /// The file.
        file: &'a RemoteFile,
        /// Bytes that are here from an earlier time.
        kept: u64,
        /// Bytes in all, where the server says it.
        total: Option<u64>,
    },
    /// More of it came.
    Received {
        /// Bytes that are here.
        done: u64,
        /// Bytes in all, where the server says it.
        total: Option<u64>,
    },
    /// The transfer was cut, and is tried again.
    Again {
        /// What happened.
        reason: &'a str,
    },
    /// Another process fetches the same file, and is waited for.
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

/// Is told what happens; `Break` stops the transfer.
pub type Watch<'a> = dyn FnMut(&PullEvent) -> ControlFlow<()> + 'a;

/// No weights of a network that classifies images are larger.
const LONGEST: u64 = 8 << 30;

/// Fetches a file to `path`: into a file beside it first, which is kept where the transfer is cut, then checked,
/// forced to the disk and renamed. Two processes do not disturb each other.
///
/// # Errors
/// [`Error::Pull`] where the file cannot be had, [`Error::Stopped`] where `watch` stops it, and [`Error::Io`]
/// where it cannot be written.
pub fn download(file: &RemoteFile, path: &Path, patience: &Patience, watch: &mut Watch) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    files::create_dir_all(folder).map_err(Error::io("create", folder))?;
    let Some(_alone) = lock(folder, file, path, watch)? else { return Ok(()) };
    let agent = agent(file, patience);
    let mut transfer = Transfer { file, path, folder, agent, told: false, received: 0, version: None };
    let announced = transfer.retried(patience, watch, |transfer, _| transfer.announced())?;
    let checksum = announced.as_deref().or(file.checksum.digits()).map(str::to_owned);

    // Two rounds: what an earlier run left may be a part of something else.
    loop {
        let part = transfer.part(checksum.as_deref());
        let resumed = length(&part) > 0;
        transfer
            .retried(patience, watch, |transfer, watch| transfer.receive(&part, checksum.is_some(), watch))?;
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
            return Err(Error::Pull(PullError::WrongContent {
                url: file.url.clone(),
                expected: expected.to_owned(),
                found: found[..expected.len()].to_owned(),
                page,
                path: path.to_owned(),
            }));
        }
    }
}

impl Checksum {
    /// A whole SHA-256.
    pub fn sha256(digits: &str) -> Option<Self> {
        if digits.len() == 64 { Self::prefix(digits) } else { None }
    }

    /// The first digits of a SHA-256, eight at least.
    pub fn prefix(digits: &str) -> Option<Self> {
        let hexadecimal = digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        ((8..=64).contains(&digits.len()) && hexadecimal).then(|| Self::Sha256(digits.to_owned()))
    }

    /// The digits that are known.
    pub fn digits(&self) -> Option<&str> {
        match self {
            Self::Sha256(digits) => Some(digits),
            Self::FromServer | Self::Unknown => None,
        }
    }
}

struct Transfer<'a> {
    file: &'a RemoteFile,
    path: &'a Path,
    folder: &'a Path,
    agent: Agent,
    /// Whether the start was told.
    told: bool,
    /// Bytes that are here.
    received: u64,
    /// What tells versions of the file apart, where no checksum does.
    version: Option<String>,
}

/// Why an attempt did not succeed.
enum Failure {
    /// Something that may pass: it is tried again.
    Passing { reason: String, reached: bool },
    /// Something that will not.
    Lasting(Error),
}

impl<'a> Transfer<'a> {
    /// Tries until it succeeds, fails for good, or nothing came for several times in a row. A server that has
    /// never answered is not tried twice: without a network that is known at once.
    fn retried<T>(
        &mut self,
        patience: &Patience,
        watch: &mut Watch,
        mut attempt: impl FnMut(&mut Self, &mut Watch) -> std::result::Result<T, Failure>,
    ) -> Result<T> {
        let mut fruitless = 0;
        let mut before = self.received;
        loop {
            let (reason, reached) = match attempt(self, watch) {
                Ok(value) => return Ok(value),
                Err(Failure::Lasting(error)) => return Err(error),
                Err(Failure::Passing { reason, reached }) => (reason, reached),
            };
            let received = self.received;
            if !reached && !self.told {
                let (url, path) = (self.file.url.clone(), self.path.to_owned());
                return Err(Error::Pull(PullError::Unreachable { url, reason, path }));
            }
            fruitless = if received > before { 1 } else { fruitless + 1 };
            before = received;
            if fruitless >= patience.attempts {
                let (url, path) = (self.file.url.clone(), self.path.to_owned());
                return Err(Error::Pull(PullError::Cut { url, reason, attempts: fruitless, received, path }));
            }
            tell(watch, &PullEvent::Again { reason: &reason })?;
            std::thread::sleep(patience.pause * 2u32.pow(fruitless - 1));
        }
    }

    /// The checksum that the hub tells of a file before it sends anyone to where the content is.
    fn announced(&self) -> std::result::Result<Option<String>, Failure> {
        if self.file.checksum != Checksum::FromServer {
            return Ok(None);
        }
        let request = self.agent.head(&self.file.url).config().max_redirects(0).build();
        let response = request.call().map_err(|error| failure(&error))?;
        if matches!(response.status().as_u16(), 405 | 501) {
            return Ok(None); // a mirror that gives files and nothing else
        }
        self.refuse(&response)?;
        let tag = ["x-linked-etag", "etag"].into_iter().find_map(|name| text(&response, name));
        let digits = tag.map(|tag| tag.trim_start_matches("W/").trim_matches('"').to_owned());
        Ok(digits.filter(|digits| Checksum::sha256(digits).is_some()))
    }

    /// Receives what is missing of the part.
    fn receive(&mut self, part: &Path, checked: bool, watch: &mut Watch) -> std::result::Result<(), Failure> {
        let io = |action| move |source| Failure::Lasting(Error::io(action, part)(source));
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
        let (mut done, total) = match response.status().as_u16() {
            206 => match content_range(&response) {
                Some((start, total)) if start == kept => (kept, total),
                _ => return Err(start_anew(&out, part, "the server sends another part than was asked for")),
            },
            // The part is as long as the file, or longer.
            416 if kept > 0 => match text(&response, "content-range").as_deref().and_then(unsatisfied) {
                Some(total) if total == kept => return Ok(()),
                _ => return Err(start_anew(&out, part, "what was kept is longer than the file")),
            },
            _ => {
                self.refuse(&response)?;
                out.set_len(0).map_err(io("write"))?;
                self.version = text(&response, "etag").filter(|tag| !tag.starts_with("W/"));
                (0, response.body().content_length())
            }
        };
        self.received = done;
        if !self.told {
            self.told = true;
            let started = PullEvent::Started { file: self.file, kept: done, total };
            tell(watch, &started).map_err(Failure::Lasting)?;
        }
        let too_long = || {
            let (url, path) = (self.file.url.clone(), self.path.to_owned());
            Failure::Lasting(PullError::TooLong { url, limit: LONGEST, path }.into())
        };
        let mut body = response.body_mut().with_config().limit(u64::MAX).reader();
        let mut buffer = vec![0; 64 << 10];
        loop {
            if done.max(total.unwrap_or(0)) > LONGEST {
                return Err(too_long());
            }
            let length = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failure::Passing { reason: cut(&error), reached: true }),
            };
            out.write_all(&buffer[..length]).map_err(io("write"))?;
            done += length as u64;
            self.received = done;
            tell(watch, &PullEvent::Received { done, total }).map_err(Failure::Lasting)?;
        }
        match total {
            Some(total) if done != total => {
                let reason = format!("the transfer ended after {done} of {total} bytes");
                Err(Failure::Passing { reason, reached: true })
            }
            _ => Ok(()),
        }
    }

    /// Refuses an answer that is not the file: for good, or for now where the server has trouble.
    fn refuse(&self, response: &Response<Body>) -> std::result::Result<(), Failure> {
        let status = response.status();
        match status.as_u16() {
            200..=399 => Ok(()),
            408 | 425 | 429 | 500..=599 => {
                Err(Failure::Passing { reason: format!("the server answers {status}"), reached: true })
            }
            _ => Err(Failure::Lasting(Error::Pull(PullError::Refused {
                url: self.file.url.clone(),
                status: status.to_string(),
                path: self.path.to_owned(),
            }))),
        }
    }

    /// The file in which what came waits for the rest. Its name depends on the content that is expected, so that
    /// nothing is ever added to a part of something else.
    fn part(&self, checksum: Option<&str>) -> PathBuf {
        let key = checksum.map_or("unchecked", |digits| &digits[..digits.len().min(16)]);
        self.folder.join(format!(".{}.{key}.part", self.file.name))
    }
}

fn agent(file: &RemoteFile, patience: &Patience) -> Agent {
    let config = Agent::config_builder()
        .user_agent(concat!("ocelli/", env!("CARGO_PKG_VERSION")))
        .https_only(file.url.starts_with("https:"))
        .http_status_as_error(false)
        .timeout_connect(Some(patience.connect))
        .timeout_recv_response(Some(patience.silence))
        .timeout_per_read(Some(patience.silence))
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

/// Waits until no other process fetches the file. Where another has just fetched it, there is nothing left to do.
fn lock(folder: &Path, file: &RemoteFile, path: &Path, watch: &mut Watch) -> Result<Option<File>> {
    let name = folder.join(format!(".{}.lock", file.name));
    let lock = File::create(&name).map_err(Error::io("write", &name))?;
    match lock.try_lock() {
        Ok(()) => return Ok(Some(lock)),
        Err(TryLockError::Error(_)) => return Ok(Some(lock)), // a file system without locks
        Err(TryLockError::WouldBlock) => {}
    }
    tell(watch, &PullEvent::Waiting)?;
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

/// The SHA-256 of a file's content: 64 lower-case hexadecimal digits.
pub fn checksum_of(path: &Path) -> io::Result<String> {
    let mut hasher = Sha256::new();
    io::copy(&mut File::open(path)?, &mut hasher)?;
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
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

fn tell(watch: &mut Watch, event: &PullEvent) -> Result<()> {
    if watch(event).is_break() { Err(Error::Stopped) } else { Ok(()) }
}

/// Empties what was kept, for the next attempt.
fn start_anew(out: &File, part: &Path, reason: &str) -> Failure {
    match out.set_len(0) {
        Ok(()) => Failure::Passing { reason: reason.to_owned(), reached: true },
        Err(error) => Failure::Lasting(Error::io("write", part)(error)),
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
    Failure::Passing { reason: in_words(error), reached }
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
