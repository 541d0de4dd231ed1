//! Connections to other processes: who is lost is noticed by a thread of its own, also while this process
//! computes.

use std::io::{self, BufReader};
use std::net::{Shutdown, TcpStream};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::tcp::frame::{self, Frame, Kind};

/// A connection to another process.
pub(super) struct Connection {
    pub(super) rank: usize,
    pub(super) host: String,
    writer: Arc<Mutex<TcpStream>>,
    frames: Receiver<Frame>,
    reader: Option<JoinHandle<()>>,
}

/// What all threads of this process know of the job.
pub(super) struct Shared {
    failure: Mutex<Option<Error>>,
    /// Every connection, to pass failures on and to send heartbeats.
    writers: Mutex<Vec<(usize, Arc<Mutex<TcpStream>>)>>,
}

/// How often a waiting process looks for failures.
const LOOK: Duration = Duration::from_millis(50);

impl Shared {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { failure: Mutex::new(None), writers: Mutex::new(Vec::new()) })
    }

    /// The failure of the job, if there is one.
    pub(super) fn check(&self) -> Result<()> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone().map_or(Ok(()), Err)
    }

    /// Notes the first failure, and sends it to all but the process that it came from.
    pub(super) fn fail(&self, failure: Error, from: Option<usize>) {
        {
            let mut first = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
            if first.is_some() {
                return;
            }
            *first = Some(failure.clone());
        }
        let (kind, rank, host, text) = match &failure {
            Error::Aborted { rank, host, message } => (Kind::Abort, *rank, host, message.as_str()),
            Error::Lost { rank, host, reason } => (Kind::Lost, *rank, host, reason.as_str()),
            _ => return,
        };
        let rank = (rank as u64).to_le_bytes();
        for (to, writer) in self.writers() {
            if Some(to) != from {
                let stream = writer.lock().unwrap_or_else(PoisonError::into_inner);
                // Whoever cannot be reached notices the loss.
                let _ = frame::write(&*stream, kind, 0, &[&rank, host.as_bytes(), text.as_bytes()]);
            }
        }
    }

    fn writers(&self) -> Vec<(usize, Arc<Mutex<TcpStream>>)> {
        self.writers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells all other processes that this one is alive. A connection that is being written to needs no
    /// heartbeat.
    pub(super) fn send_heartbeats(&self) {
        for (_, writer) in self.writers() {
            if let Ok(stream) = writer.try_lock() {
                let _ = frame::write(&*stream, Kind::Heartbeat, 0, &[]);
            }
        }
    }
}

impl Connection {
    /// Takes over a connection whose other end has joined. A process of which nothing is heard for
    /// `lost_after` is lost.
    pub(super) fn new(
        stream: TcpStream,
        rank: usize,
        host: String,
        lost_after: Duration,
        shared: &Arc<Shared>,
    ) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(lost_after))?;
        stream.set_write_timeout(Some(lost_after))?;
        let reading = stream.try_clone()?;
        let writer = Arc::new(Mutex::new(stream));
        shared.writers.lock().unwrap_or_else(PoisonError::into_inner).push((rank, writer.clone()));
        let (sender, frames) = channel();
        let (of, shared) = ((rank, host.clone(), lost_after), shared.clone());
        let reader = std::thread::Builder::new().name(format!("rank {rank}")).spawn(move || {
            read_all(&reading, of, &sender, &shared);
        })?;
        Ok(Self { rank, host, writer, frames, reader: Some(reader) })
    }

    /// Sends a message.
    pub(super) fn send(&self, kind: Kind, sequence: u64, parts: &[&[u8]], shared: &Shared) -> Result<()> {
        let written = {
            let stream = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
            frame::write(&*stream, kind, sequence, parts)
        };
        written.map_err(|error| {
            // The reader may know better why nothing can be written.
            std::thread::sleep(LOOK);
            let reason = format!("cannot send to it: {error}");
            shared.fail(Error::Lost { rank: self.rank, host: self.host.clone(), reason }, Some(self.rank));
            shared.check().expect_err("it has just failed")
        })
    }

    /// Waits for the message of this operation.
    pub(super) fn receive(&self, kind: Kind, sequence: u64, shared: &Shared) -> Result<Vec<Vec<u8>>> {
        loop {
            match self.frames.recv_timeout(LOOK) {
                Ok(frame) if (frame.kind, frame.sequence) == (kind, sequence) => return Ok(frame.parts),
                Ok(frame) => {
                    let step = |kind: Kind, sequence| format!("{} number {sequence}", kind.name());
                    return Err(Error::OutOfStep {
                        rank: self.rank,
                        host: self.host.clone(),
                        found: step(frame.kind, frame.sequence),
                        expected: step(kind, sequence),
                    });
                }
                Err(RecvTimeoutError::Timeout) => shared.check()?,
                Err(RecvTimeoutError::Disconnected) => {
                    shared.check()?;
                    let reason = "it has left the job".to_owned();
                    return Err(Error::Lost { rank: self.rank, host: self.host.clone(), reason });
                }
            }
        }
    }

    /// Says that nothing more will be sent.
    pub(super) fn leave(&self) {
        let stream = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = frame::write(&*stream, Kind::Leave, 0, &[]);
        let _ = stream.shutdown(Shutdown::Write);
    }

    /// Waits a moment for the other end to have read everything, then closes the connection.
    pub(super) fn close(&mut self, moment: Duration) {
        let _ = self.writer.lock().unwrap_or_else(PoisonError::into_inner).shutdown(Shutdown::Write);
        let Some(reader) = self.reader.take() else { return };
        let step = Duration::from_millis(5);
        for _ in 0..moment.as_millis() / step.as_millis() {
            if reader.is_finished() {
                break;
            }
            std::thread::sleep(step);
        }
        let _ = self.writer.lock().unwrap_or_else(PoisonError::into_inner).shutdown(Shutdown::Both);
        let _ = reader.join();
    }
}

/// Reads messages until the other end leaves, or something fails.
fn read_all(
    stream: &TcpStream,
    (rank, host, lost_after): (usize, String, Duration),
    frames: &Sender<Frame>,
    shared: &Shared,
) {
    let lost = |reason: String| {
        shared.fail(Error::Lost { rank, host: host.clone(), reason }, Some(rank));
    };
    let mut stream = BufReader::with_capacity(1 << 16, stream);
    loop {
        match frame::read(&mut stream) {
            Ok(Frame { kind: Kind::Heartbeat, .. }) => {}
            Ok(Frame { kind: Kind::Leave, .. }) => return,
            Ok(Frame { kind: kind @ (Kind::Abort | Kind::Lost), parts, .. }) => {
                return shared.fail(
                    failure(kind, &parts).unwrap_or_else(|| Error::Lost {
                        rank,
                        host: host.clone(),
                        reason: "it sent a damaged message".to_owned(),
                    }),
                    Some(rank),
                );
            }
            Ok(frame) => {
                if frames.send(frame).is_err() {
                    return;
                }
            }
            Err(error) => {
                return lost(match error.kind() {
                    io::ErrorKind::UnexpectedEof
                    | io::ErrorKind::ConnectionReset
                    | io::ErrorKind::ConnectionAborted
                    | io::ErrorKind::BrokenPipe => "its connection was closed".to_owned(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                        format!("nothing was heard of it for {:.0} s", lost_after.as_secs_f64())
                    }
                    _ => error.to_string(),
                });
            }
        }
    }
}

/// The failure that a message holds.
fn failure(kind: Kind, parts: &[Vec<u8>]) -> Option<Error> {
    let [rank, host, text] = parts else { return None };
    let rank = u64::from_le_bytes(rank.as_slice().try_into().ok()?) as usize;
    let (host, text) =
        (String::from_utf8_lossy(host).into_owned(), String::from_utf8_lossy(text).into_owned());
    Some(match kind {
        Kind::Abort => Error::Aborted { rank, host, message: text },
        _ => Error::Lost { rank, host, reason: text },
    })
}
