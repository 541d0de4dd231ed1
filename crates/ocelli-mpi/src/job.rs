//! A process of an MPI job.

use std::ffi::c_int;
use std::io::Write;
use std::time::Duration;

use ocelli_distributed::{Error as TransportError, Transport, host};

use crate::error::{Error, Result};
use crate::launcher::Launcher;
use crate::library::Library;
use crate::search::candidates;

/// A process of an MPI job, with the communicator of all.
///
/// There can be only one in a process, and MPI cannot be started again after it has ended.
pub struct Mpi {
    library: Library,
    rank: usize,
    size: usize,
    /// The most bytes of one call, counts being integers of 32 bits.
    most: usize,
    finished: bool,
}

/// So long a launcher may take to forward what a process has printed.
const FORWARDED: Duration = Duration::from_millis(100);

/// The most bytes that a process sends or receives in one call.
const MOST: usize = 1 << 30;

impl Mpi {
    /// Finds the library of the launcher that has started this process, loads it, and joins the job.
    ///
    /// # Errors
    /// Where no library is found, or one that does not belong to the launcher.
    pub fn join() -> Result<Self> {
        let launcher = Launcher::detect();
        if cfg!(all(target_env = "musl", target_feature = "crt-static")) {
            let launcher = launcher.map_or_else(|| "hand".to_owned(), |launcher| launcher.to_string());
            return Err(Error::Static { launcher });
        }
        let name = launcher.as_ref().map_or("hand, without a launcher", |launcher| launcher.name);
        let unknown = Launcher { name, family: None, rank: None, size: None, local_size: None };
        let launcher = launcher.unwrap_or(unknown);
        let library = Library::load(&candidates(&launcher), launcher.name)?;
        let (path, version) = (library.path.clone(), library.version.clone());
        if launcher.family.is_some_and(|family| family != library.family()) {
            // Each would say so in its own way: one aborts, the other starts a job of one.
            return Err(Error::WrongLauncher { launcher: launcher.to_string(), library: version, path });
        }
        if !library.calls.init()? {
            return Err(Error::Threads { library: version, path });
        }
        let (rank, size) = library.calls.rank_and_size()?;
        let mut job = Self { library, rank, size, most: MOST, finished: false };
        match launcher.size {
            Some(started) if started != size => {
                // A job of one, which ends without a word of the library's.
                job.finished = true;
                job.library.calls.finalize()?;
                Err(Error::OtherSize {
                    launcher: launcher.to_string(),
                    started,
                    found: size,
                    library: version,
                    path,
                })
            }
            _ => Ok(job),
        }
    }

    /// Sets the most bytes that a process sends or receives in one call, for tests.
    #[doc(hidden)]
    pub fn with_chunks(mut self, most: usize) -> Self {
        self.most = most.clamp(1, MOST);
        self
    }

    /// The path of the library.
    pub fn library(&self) -> &str {
        &self.library.path
    }

    /// What every process has sent of this part, one after the other.
    fn gather_counted(&mut self, own: &[u8], counts: &[c_int]) -> Result<Vec<u8>> {
        let mut received = vec![0; counts.iter().map(|count| *count as usize).sum()];
        self.library.calls.all_gather_v(own, (&mut received, counts), &mut pause())?;
        Ok(received)
    }

    /// The lengths of each process's parts.
    fn lengths(&mut self, own: &[usize]) -> Result<Vec<usize>> {
        let sent: Vec<u8> = own.iter().flat_map(|length| (*length as u64).to_le_bytes()).collect();
        let counts = vec![sent.len() as c_int; self.size];
        let received = self.gather_counted(&sent, &counts)?;
        Ok(received.as_chunks().0.iter().map(|length| u64::from_le_bytes(*length) as usize).collect())
    }

    fn gather(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        let lengths = self.lengths(&[bytes.len()])?;
        let mut parts: Vec<Vec<u8>> = lengths.iter().map(|length| Vec::with_capacity(*length)).collect();
        let chunk = (self.most / self.size).max(1);
        let longest = lengths.iter().copied().max().unwrap_or(0);
        for start in (0..longest).step_by(chunk) {
            let counts: Vec<c_int> = lengths.iter().map(|length| in_chunk(*length, start, chunk)).collect();
            let own = &bytes[start.min(bytes.len())..][..counts[self.rank] as usize];
            let received = self.gather_counted(own, &counts)?;
            append(&mut parts, &received, &counts);
        }
        Ok(parts)
    }

    fn exchange(&mut self, parts: &[Vec<u8>]) -> Result<Vec<Vec<u8>>> {
        let own: Vec<usize> = parts.iter().map(Vec::len).collect();
        let lengths = self.lengths(&own)?;
        let length = |from: usize, to: usize| lengths[from * self.size + to];
        let (rank, size) = (self.rank, self.size);
        let mut received: Vec<Vec<u8>> =
            (0..size).map(|from| Vec::with_capacity(length(from, rank))).collect();
        let chunk = (self.most / size).max(1);
        let longest = lengths.iter().copied().max().unwrap_or(0);
        for start in (0..longest).step_by(chunk) {
            let sent_counts: Vec<c_int> =
                (0..size).map(|to| in_chunk(length(rank, to), start, chunk)).collect();
            let counts: Vec<c_int> =
                (0..size).map(|from| in_chunk(length(from, rank), start, chunk)).collect();
            let pieces = parts.iter().zip(&sent_counts);
            let pieces = pieces.map(|(part, count)| &part[start.min(part.len())..][..*count as usize]);
            let sent = pieces.collect::<Vec<_>>().concat();
            let mut bytes = vec![0; counts.iter().map(|count| *count as usize).sum()];
            self.library.calls.all_to_all_v((&sent, &sent_counts), (&mut bytes, &counts), &mut pause())?;
            append(&mut received, &bytes, &counts);
        }
        Ok(received)
    }
}

/// What a process does while it waits. MPI's own functions wait in a busy loop, which takes the processor from
/// those that are waited for.
fn pause() -> impl FnMut() {
    let mut waited = 0u32;
    move || {
        waited = waited.saturating_add(1);
        match waited {
            0..100 => std::thread::yield_now(),
            100..300 => std::thread::sleep(Duration::from_micros(100)),
            _ => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

/// How many bytes of a part are in the chunk that begins there.
fn in_chunk(length: usize, start: usize, chunk: usize) -> c_int {
    length.saturating_sub(start).min(chunk) as c_int
}

/// Appends to each part what has been received of it.
fn append(parts: &mut [Vec<u8>], mut received: &[u8], counts: &[c_int]) {
    for (part, count) in parts.iter_mut().zip(counts) {
        let (own, rest) = received.split_at(*count as usize);
        part.extend_from_slice(own);
        received = rest;
    }
}

/// An error of a call, which by MPI's default has ended the job already.
fn failed(error: Error) -> TransportError {
    let operation = match &error {
        Error::Call { function, .. } => function,
        _ => "MPI",
    };
    TransportError::Failed { operation, reason: error.to_string() }
}

impl Transport for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn name(&self) -> String {
        self.library.version.clone()
    }

    fn all_gather(&mut self, bytes: &[u8]) -> ocelli_distributed::Result<Vec<Vec<u8>>> {
        self.gather(bytes).map_err(failed)
    }

    fn all_to_all(&mut self, parts: Vec<Vec<u8>>) -> ocelli_distributed::Result<Vec<Vec<u8>>> {
        assert_eq!(parts.len(), self.size, "one part per process");
        self.exchange(&parts).map_err(failed)
    }

    /// The launcher ends all processes as soon as one is lost.
    fn check(&mut self) -> ocelli_distributed::Result<()> {
        Ok(())
    }

    /// Prints the message with rank and host, and ends all processes.
    fn abort(&mut self, message: &str) {
        if self.finished {
            return;
        }
        // Where all processes have the same error, that of rank 0 is printed.
        if self.rank > 0 {
            std::thread::sleep(Duration::from_millis(300));
        }
        // In one piece, and with a moment for the launcher to forward it: it ends all processes without waiting for what
        // they have printed.
        let line = format!("error: rank {} on {}: {message}\n", self.rank, host());
        let _ = std::io::stderr().write_all(line.as_bytes());
        std::thread::sleep(FORWARDED);
        self.library.calls.abort(1);
    }

    fn finish(&mut self) -> ocelli_distributed::Result<()> {
        self.barrier()?;
        self.finished = true;
        self.library.calls.finalize().map_err(failed)
    }
}

/// A process that ends without [`finish`](Transport::finish) ends the job, since others would wait for it.
impl Drop for Mpi {
    fn drop(&mut self) {
        if !self.finished {
            self.library.calls.abort(1);
        }
    }
}
