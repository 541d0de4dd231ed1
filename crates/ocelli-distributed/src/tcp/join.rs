//! How processes join a job: rank 0 listens, the others connect to it, and both show that they know the
//! token, which itself is not sent.
//!
//! ```text
//! rank 0   MAGIC, version, a nonce of 32 bytes
//! other    a nonce of 32 bytes, rank, number of processes, length of the host's name, the name, MAC
//! rank 0   0 or 1 (joined or refused), length of a text, the text (its host's name, or why), MAC
//! rank 0   2, once all have joined
//! ```
//!
//! The MACs are BLAKE3, keyed by the token, over both nonces and the message. Before that nothing is believed:
//! messages have a fixed or small length and must arrive within seconds, and few are served at a time.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::host::host;
use crate::tcp::TcpOptions;

const MAGIC: &[u8; 8] = b"ocelli\0d";
/// The version of all that is sent.
const VERSION: u8 = 2;
/// What rank 0 sends once all processes have joined.
const COMPLETE: u8 = 2;
/// The time that the other end has to join, once it has connected.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Connections that are in a handshake at the same time; more are closed at once.
const AT_ONCE: usize = 64;
const PAUSE: Duration = Duration::from_millis(20);
const NONCE: usize = 32;
const MAC: usize = 32;

/// A process that has joined.
pub(super) struct Joined {
    pub(super) rank: usize,
    pub(super) host: String,
    pub(super) stream: TcpStream,
}

/// What is agreed on before anything is believed.
struct Job {
    size: usize,
    key: [u8; 32],
    host: String,
}

impl Job {
    fn new(options: &TcpOptions) -> Self {
        let key = blake3::derive_key("ocelli 2026-11 processes of one job", options.token.as_bytes());
        Self { size: options.size, key, host: host() }
    }

    fn mac(&self, purpose: &str, nonces: [&[u8; NONCE]; 2], message: &[u8]) -> blake3::Hash {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(purpose.as_bytes()).update(nonces[0]).update(nonces[1]).update(message);
        hasher.finalize()
    }
}

/// A stream that must be done by a point in time.
struct Until<'a> {
    stream: &'a TcpStream,
    end: Instant,
}

impl Until<'_> {
    fn left(&self) -> io::Result<Duration> {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

impl Read for Until<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        self.stream.read(buffer)
    }
}

impl Write for Until<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

fn nonce() -> io::Result<[u8; NONCE]> {
    let mut nonce = [0; NONCE];
    getrandom::fill(&mut nonce).map_err(|error| io::Error::other(error.to_string()))?;
    Ok(nonce)
}

fn read_array<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// A text of at most 65,535 bytes, after its length.
fn read_text(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut text = vec![0; usize::from(u16::from_le_bytes(read_array(from)?))];
    from.read_exact(&mut text)?;
    Ok(text)
}

fn with_length(text: &str) -> Vec<u8> {
    let text = &text.as_bytes()[..text.len().min(usize::from(u16::MAX))];
    [&(text.len() as u16).to_le_bytes(), text].concat()
}

/// Waits until all other processes have joined; returns them in the order of ranks.
pub(super) fn listen(options: &TcpOptions) -> Result<Vec<Joined>> {
    let failed = |reason: String| Error::Join { address: options.address.clone(), reason };
    let cannot = |error: io::Error| {
        failed(format!(
            "cannot listen there: {error} (rank 0 needs an address of its own machine, and a free port)"
        ))
    };
    let listener = TcpListener::bind(&options.address).map_err(cannot)?;
    listener.set_nonblocking(true).map_err(cannot)?;
    let job = Arc::new(Job::new(options));
    let end = Instant::now() + options.join_timeout;
    let (sender, handshakes) = channel::<io::Result<(Joined, Answer)>>();
    let (mut joined, mut in_handshake): (Vec<Option<Joined>>, usize) =
        ((1..options.size).map(|_| None).collect(), 0);
    while joined.iter().any(Option::is_none) {
        if let Ok((stream, _)) = listener.accept()
            && in_handshake < AT_ONCE
        {
            let (sender, job) = (sender.clone(), job.clone());
            let spawned = std::thread::Builder::new().name("join".to_owned()).spawn(move || {
                let _ = sender.send(meet(stream, &job));
            });
            in_handshake += usize::from(spawned.is_ok());
        }
        while let Ok(met) = handshakes.try_recv() {
            in_handshake -= 1;
            // A stranger is not worth a message: whoever belongs to the job is told by its own process.
            let Ok((process, answer)) = met else { continue };
            let seat = &mut joined[process.rank - 1];
            let other = seat.as_ref().map(|seat| seat.host.clone());
            let answered = match other {
                Some(host) => answer.refuse(
                    &process.stream,
                    &job,
                    &format!("rank {} has already joined, on {host}", process.rank),
                ),
                None => answer.accept(&process.stream, &job),
            };
            if answered.is_ok() && seat.is_none() {
                *seat = Some(process);
            }
        }
        if Instant::now() > end {
            let missing = (1..options.size).filter(|rank| joined[rank - 1].is_none());
            let missing: Vec<String> = missing.map(|rank| rank.to_string()).collect();
            return Err(failed(format!(
                "rank {} did not join within {} s",
                missing.join(", "),
                options.join_timeout.as_secs()
            )));
        }
        std::thread::sleep(PAUSE);
    }
    let joined: Vec<Joined> = joined.into_iter().flatten().collect();
    for process in &joined {
        // One that has ended meanwhile is noticed, with its name, by the first operation.
        let mut stream = Until { stream: &process.stream, end: Instant::now() + HANDSHAKE };
        let _ = stream.write_all(&[COMPLETE]);
    }
    Ok(joined)
}

/// Waits until all others have joined, too, which rank 0 says: as long as it may wait for them.
fn wait_for_others(joined: &Joined, options: &TcpOptions) -> std::result::Result<(), String> {
    let mut until = Until { stream: &joined.stream, end: Instant::now() + options.join_timeout + HANDSHAKE };
    match read_array(&mut until) {
        Ok([COMPLETE]) => Ok(()),
        Ok(_) => Err("rank 0 is another version of Ocelli".to_owned()),
        Err(error)
            if error.kind() == io::ErrorKind::TimedOut || error.kind() == io::ErrorKind::WouldBlock =>
        {
            Err(format!("rank 0, on {}, is not heard of any more", joined.host))
        }
        Err(_) => Err(format!("rank 0, on {}, has ended before all processes had joined", joined.host)),
    }
}

/// What rank 0 needs to answer.
struct Answer {
    nonces: [[u8; NONCE]; 2],
}

impl Answer {
    fn accept(&self, stream: &TcpStream, job: &Job) -> io::Result<()> {
        self.send(stream, job, 0, &job.host)
    }

    fn refuse(&self, stream: &TcpStream, job: &Job, reason: &str) -> io::Result<()> {
        self.send(stream, job, 1, reason)?;
        Err(io::ErrorKind::PermissionDenied.into())
    }

    fn send(&self, stream: &TcpStream, job: &Job, status: u8, text: &str) -> io::Result<()> {
        let message = [&[status][..], &with_length(text)].concat();
        let mac = job.mac("rank 0", [&self.nonces[0], &self.nonces[1]], &message);
        let mut stream = Until { stream, end: Instant::now() + HANDSHAKE };
        stream.write_all(&[&message[..], mac.as_bytes()].concat())
    }
}

/// Rank 0's half, up to its answer.
fn meet(stream: TcpStream, job: &Job) -> io::Result<(Joined, Answer)> {
    // On some systems it is inherited from the listener.
    stream.set_nonblocking(false)?;
    let mut until = Until { stream: &stream, end: Instant::now() + HANDSHAKE };
    let own = nonce()?;
    until.write_all(&[&MAGIC[..], &[VERSION], &own].concat())?;
    let theirs: [u8; NONCE] = read_array(&mut until)?;
    let numbers: [u8; 8] = read_array(&mut until)?;
    let name = read_text(&mut until)?;
    let found: [u8; MAC] = read_array(&mut until)?;
    let message = [&numbers[..], &(name.len() as u16).to_le_bytes(), &name].concat();
    let answer = Answer { nonces: [own, theirs] };
    if job.mac("other", [&own, &theirs], &message) != blake3::Hash::from_bytes(found) {
        answer.refuse(&stream, job, "another token")?;
    }
    let number = |at: usize| u32::from_le_bytes(numbers[at..at + 4].try_into().expect("four bytes")) as usize;
    let (rank, size) = (number(0), number(4));
    if size != job.size {
        answer.refuse(&stream, job, &format!("rank 0 expects {} processes, this one {size}", job.size))?;
    }
    if !(1..job.size).contains(&rank) {
        answer.refuse(&stream, job, &format!("there is no rank {rank} among {size} processes"))?;
    }
    Ok((Joined { rank, host: String::from_utf8_lossy(&name).into_owned(), stream }, answer))
}

/// Joins the job of rank 0, which may start later.
pub(super) fn connect(options: &TcpOptions) -> Result<Joined> {
    let failed = |reason: String| Error::Join { address: options.address.clone(), reason };
    let job = Job::new(options);
    let end = Instant::now() + options.join_timeout;
    loop {
        let attempt = dial(&options.address).and_then(|stream| greet(stream, options, &job));
        match attempt {
            Ok(Ok(joined)) => {
                wait_for_others(&joined, options).map_err(failed)?;
                return Ok(joined);
            }
            Ok(Err(reason)) => return Err(failed(reason)),
            Err(error) if Instant::now() > end => {
                return Err(failed(format!(
                    "{error}. Rank 0 must be started with the same address within {} s",
                    options.join_timeout.as_secs()
                )));
            }
            Err(_) => std::thread::sleep(PAUSE * 10),
        }
    }
}

fn dial(address: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, HANDSHAKE) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The half of the other processes. An error may pass; a reason will not.
fn greet(
    stream: TcpStream,
    options: &TcpOptions,
    job: &Job,
) -> io::Result<std::result::Result<Joined, String>> {
    let mut until = Until { stream: &stream, end: Instant::now() + HANDSHAKE };
    let magic: [u8; 9] = read_array(&mut until)?;
    if magic[..8] != MAGIC[..] {
        return Ok(Err("something else answers there, not rank 0 of a job".to_owned()));
    }
    if magic[8] != VERSION {
        return Ok(Err("rank 0 is another version of Ocelli".to_owned()));
    }
    let theirs: [u8; NONCE] = read_array(&mut until)?;
    let own = nonce()?;
    let numbers = [(options.rank as u32).to_le_bytes(), (options.size as u32).to_le_bytes()].concat();
    let message = [&numbers[..], &with_length(&job.host)].concat();
    let mac = job.mac("other", [&theirs, &own], &message);
    until.write_all(&[&own[..], &message, mac.as_bytes()].concat())?;
    let status: [u8; 1] = read_array(&mut until)?;
    let text = read_text(&mut until)?;
    let found: [u8; MAC] = read_array(&mut until)?;
    let message = [&status[..], &(text.len() as u16).to_le_bytes(), &text].concat();
    if job.mac("rank 0", [&theirs, &own], &message) != blake3::Hash::from_bytes(found) {
        return Ok(Err("the token is not that of rank 0".to_owned()));
    }
    let text = String::from_utf8_lossy(&text).into_owned();
    match status {
        [0] => Ok(Ok(Joined { rank: 0, host: text, stream })),
        _ => Ok(Err(text)),
    }
}
