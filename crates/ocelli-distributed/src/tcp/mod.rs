//! Processes that are joined over TCP. All are connected to rank 0, which passes on what the others send each
//! other: only its address must be known, and only it must be reachable.

mod connection;
mod frame;
mod join;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::host::host;
use crate::tcp::connection::{Connection, Shared};
use crate::tcp::frame::{Kind, MOST_PARTS};
use crate::transport::Transport;

/// How a process joins a job over TCP.
#[derive(Debug, Clone)]
pub struct TcpOptions {
    /// `HOST:PORT` of rank 0, the same for all processes: rank 0 listens there.
    pub address: String,
    /// The number of this process, from 0.
    pub rank: usize,
    /// The number of processes.
    pub size: usize,
    /// A secret that all processes know; not empty.
    pub token: String,
    /// How long to wait until all processes have joined. Default: 60 s.
    pub join_timeout: Duration,
    /// A process of which nothing is heard for this long is lost, though its connection is open. Default:
    /// 10 s.
    pub lost_after: Duration,
}

impl TcpOptions {
    /// With the default times.
    pub fn new(address: impl Into<String>, rank: usize, size: usize, token: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            rank,
            size,
            token: token.into(),
            join_timeout: Duration::from_secs(60),
            lost_after: Duration::from_secs(10),
        }
    }

    fn check(&self) -> Result<()> {
        let setting = |name, value: String, expected: String| Err(Error::Setting { name, value, expected });
        if self.size == 0 || self.size > MOST_PARTS as usize {
            return setting(
                "the number of processes",
                self.size.to_string(),
                format!("from 1 to {MOST_PARTS}"),
            );
        }
        if self.rank >= self.size {
            return setting("the rank", self.rank.to_string(), format!("from 0 to {}", self.size - 1));
        }
        if self.token.is_empty() {
            return setting("the token", "empty".to_owned(), "a secret that all processes share".to_owned());
        }
        Ok(())
    }
}

/// A process that has joined a job over TCP.
pub struct Tcp {
    rank: usize,
    size: usize,
    /// Of rank 0: to all others, in the order of ranks; of any other: to rank 0.
    connections: Vec<Connection>,
    shared: Arc<Shared>,
    /// How many operations were called.
    sequence: u64,
    heartbeat: Heartbeat,
}

/// A thread that sends heartbeats until the value is dropped.
struct Heartbeat {
    end: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

/// How long a process waits at its end for others to have read its last message.
const LAST_MESSAGE: Duration = Duration::from_secs(2);

impl Heartbeat {
    fn start(shared: Arc<Shared>, pause: Duration) -> std::io::Result<Self> {
        let end = Arc::new((Mutex::new(false), Condvar::new()));
        let ended = end.clone();
        let thread = std::thread::Builder::new().name("heartbeat".to_owned()).spawn(move || {
            let mut over = ended.0.lock().unwrap_or_else(PoisonError::into_inner);
            while !*over {
                over = ended.1.wait_timeout(over, pause).unwrap_or_else(PoisonError::into_inner).0;
                shared.send_heartbeats();
            }
        })?;
        Ok(Self { end, thread: Some(thread) })
    }

    fn stop(&mut self) {
        *self.end.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.end.1.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Tcp {
    /// Joins a job, and waits until all of its processes have.
    ///
    /// # Errors
    /// [`Error::Setting`] for options out of range; [`Error::Join`] where not all join in time, or where this
    /// process is refused.
    pub fn join(options: &TcpOptions) -> Result<Self> {
        options.check()?;
        let joined = match options.rank {
            0 => join::listen(options)?,
            _ => vec![join::connect(options)?],
        };
        let shared = Shared::new();
        let failed =
            |error: std::io::Error| Error::Failed { operation: "joining", reason: error.to_string() };
        let connections = joined.into_iter().map(|process| {
            Connection::new(process.stream, process.rank, process.host, options.lost_after, &shared)
        });
        let connections = connections.collect::<std::io::Result<_>>().map_err(failed)?;
        let heartbeat = Heartbeat::start(shared.clone(), options.lost_after / 5).map_err(failed)?;
        let mut tcp =
            Self { rank: options.rank, size: options.size, connections, shared, sequence: 0, heartbeat };
        // Those that joined early wait for the others here; rank 0 has waited for them already.
        tcp.barrier()?;
        Ok(tcp)
    }

    /// Sends to each of the others what belongs to it, all at the same time.
    fn send_to_all<'a>(
        &mut self,
        kind: Kind,
        parts_of: impl Fn(usize) -> Vec<&'a [u8]> + Sync,
    ) -> Result<()> {
        let Self { connections, shared, sequence, .. } = self;
        let (shared, sequence) = (&**shared, *sequence);
        let failed = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for connection in connections {
                let (parts_of, failed) = (&parts_of, &failed);
                scope.spawn(move || {
                    if connection.send(kind, sequence, &parts_of(connection.rank), shared).is_err() {
                        failed.store(true, Ordering::Relaxed);
                    }
                });
            }
        });
        if failed.into_inner() { self.shared.check() } else { Ok(()) }
    }

    /// Of rank 0: the message of each other process, after `own`.
    fn receive_all(&self, kind: Kind, own: Vec<Vec<u8>>, parts: usize) -> Result<Vec<Vec<Vec<u8>>>> {
        let mut all = vec![own];
        for connection in &self.connections {
            let received = connection.receive(kind, self.sequence, &self.shared)?;
            if received.len() != parts {
                let reason = format!("it sent {} parts, not {parts}", received.len());
                return Err(Error::Lost { rank: connection.rank, host: connection.host.clone(), reason });
            }
            all.push(received);
        }
        Ok(all)
    }

    /// Of any other: what rank 0 has sent, a part of each process. That of this one is empty: it has it.
    fn received(&self, kind: Kind) -> Result<Vec<Vec<u8>>> {
        let connection = &self.connections[0];
        let received = connection.receive(kind, self.sequence, &self.shared)?;
        if received.len() != self.size {
            let reason = format!("it sent {} parts, not {}", received.len(), self.size);
            return Err(Error::Lost { rank: connection.rank, host: connection.host.clone(), reason });
        }
        Ok(received)
    }

    /// The end of an operation, which others wait for no longer if it has failed.
    fn end<T>(&mut self, result: Result<T>) -> Result<T> {
        self.sequence += 1;
        if let Err(error @ Error::OutOfStep { .. }) = &result {
            self.abort(&error.to_string());
        }
        if let Err(error @ Error::Lost { .. }) = &result {
            self.shared.fail(error.clone(), None);
        }
        result
    }
}

/// The parts of all, of which the receiver has its own.
fn without<'a>(receiver: usize, parts: impl Iterator<Item = &'a [u8]>) -> Vec<&'a [u8]> {
    parts.enumerate().map(|(rank, part)| if rank == receiver { &[][..] } else { part }).collect()
}

impl Transport for Tcp {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn name(&self) -> String {
        "TCP".to_owned()
    }

    fn all_gather(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        let (kind, sequence, rank) = (Kind::AllGather, self.sequence, self.rank);
        let result = self.shared.check().and_then(|()| match self.rank {
            // Both send at the same time.
            0 if self.size == 2 => {
                self.send_to_all(kind, |_| vec![bytes, &[]])?;
                Ok(self.receive_all(kind, vec![bytes.to_vec()], 1)?.concat())
            }
            0 => {
                let all = self.receive_all(kind, vec![bytes.to_vec()], 1)?.concat();
                self.send_to_all(kind, |rank| without(rank, all.iter().map(Vec::as_slice)))?;
                Ok(all)
            }
            _ => {
                self.connections[0].send(kind, sequence, &[bytes], &self.shared)?;
                let mut all = self.received(kind)?;
                all[rank] = bytes.to_vec();
                Ok(all)
            }
        });
        self.end(result)
    }

    fn all_to_all(&mut self, mut parts: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>> {
        assert_eq!(parts.len(), self.size, "one part per process");
        let (kind, sequence, rank) = (Kind::AllToAll, self.sequence, self.rank);
        let result = self.shared.check().and_then(|()| match self.rank {
            // Both send at the same time.
            0 if self.size == 2 => {
                let other = parts.pop().unwrap_or_default();
                self.send_to_all(kind, |_| vec![&other, &[]])?;
                let mut all = self.receive_all(kind, vec![parts.swap_remove(0)], 2)?;
                Ok(vec![all[0].swap_remove(0), all[1].swap_remove(0)])
            }
            0 => {
                let all = self.receive_all(kind, parts, self.size)?;
                self.send_to_all(kind, |rank| without(rank, all.iter().map(|parts| parts[rank].as_slice())))?;
                Ok(all.into_iter().map(|mut parts| parts.swap_remove(0)).collect())
            }
            _ => {
                let own = std::mem::take(&mut parts[rank]);
                let borrowed: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
                self.connections[0].send(kind, sequence, &borrowed, &self.shared)?;
                let mut all = self.received(kind)?;
                all[rank] = own;
                Ok(all)
            }
        });
        self.end(result)
    }

    fn check(&mut self) -> Result<()> {
        self.shared.check()
    }

    fn abort(&mut self, message: &str) {
        let failure = Error::Aborted { rank: self.rank, host: host(), message: message.to_owned() };
        self.shared.fail(failure, None);
    }

    fn finish(&mut self) -> Result<()> {
        self.barrier()?;
        self.heartbeat.stop();
        self.connections.iter().for_each(Connection::leave);
        Ok(())
    }
}

/// Without [`finish`](Transport::finish), others notice that this process is lost.
impl Drop for Tcp {
    fn drop(&mut self) {
        self.heartbeat.stop();
        let moment = if self.shared.check().is_ok() { LAST_MESSAGE } else { LAST_MESSAGE / 4 };
        self.connections.iter_mut().for_each(|connection| connection.close(moment));
    }
}
