//! The processes that train one model together, on one machine or several.
//!
//! All run the same recipe on the same photos and settings, and take every decision alike, since they compute
//! from the same numbers. What takes long on images, decoding and the frozen layers, is shared out in whole
//! batches, which are those of a single process, and what comes out is gathered; heads are trained by every
//! process on all features, which takes less time than sending gradients would. Layers of the backbone are
//! trained in pieces of a batch (`train/micro_batches.rs`), each process updating a shard of the parameters
//! (`train/shards.rs`). So the result is the same, to the bit, with any number of processes. Process 0 alone
//! writes and prints.

pub(crate) mod agreement;
pub(crate) mod gather;
pub(crate) mod shared;

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ocelli_data::Skipped;
use ocelli_distributed::Transport;

use crate::data::ImageData;
use crate::error::{Error, Result};

/// The processes that train together; by default this one alone.
#[derive(Clone, Default)]
pub struct ProcessGroup(Option<Arc<Joined>>);

struct Joined {
    rank: usize,
    size: usize,
    transport: Mutex<Box<dyn Transport>>,
    /// Whether this process has been asked to stop. All stop together, when they next exchange something.
    stop: AtomicBool,
}

impl fmt::Debug for ProcessGroup {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        write!(formatter, "process {} of {}", self.rank(), self.size())
    }
}

impl ProcessGroup {
    /// The processes of a transport.
    pub fn new(transport: impl Transport + 'static) -> Self {
        let (rank, size) = (transport.rank(), transport.size());
        if size < 2 {
            return Self::default();
        }
        let (transport, stop) =
            (Mutex::new(Box::new(transport) as Box<dyn Transport>), AtomicBool::new(false));
        Self(Some(Arc::new(Joined { rank, size, transport, stop })))
    }

    /// The number of this process, from 0.
    pub fn rank(&self) -> usize {
        self.0.as_ref().map_or(0, |joined| joined.rank)
    }

    /// The number of processes.
    pub fn size(&self) -> usize {
        self.0.as_ref().map_or(1, |joined| joined.size)
    }

    /// Whether there are other processes.
    pub fn is_shared(&self) -> bool {
        self.0.is_some()
    }

    /// What carries the bytes between them, for people; `None` for a process alone.
    pub fn transport_name(&self) -> Option<String> {
        self.0.as_ref().map(|joined| joined.transport().name())
    }

    /// Decoding and compute threads for this process, if those of a machine are divided among its processes:
    /// by the machine's cores, unless a launcher has bound processes to different ones.
    ///
    /// # Errors
    /// Where a process is lost.
    pub fn threads(&self) -> Result<usize> {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let allowed = status.lines().find(|line| line.starts_with("Cpus_allowed_list:")).unwrap_or_default();
        let own = format!("{}\n{allowed}", ocelli_distributed::host());
        let all = self.all_gather(own.as_bytes())?;
        let neighbours = all.iter().filter(|other| **other == own.as_bytes()).count();
        Ok((cores / neighbours.max(1)).max(1))
    }

    /// Ends the job of all processes, with this message.
    pub fn abort(&self, message: &str) {
        if let Some(joined) = &self.0 {
            joined.transport().abort(message);
        }
    }

    /// Waits for all processes, then leaves the job.
    ///
    /// # Errors
    /// Where a process is lost.
    pub fn finish(&self) -> Result<()> {
        self.0.as_ref().map_or(Ok(()), |joined| Ok(joined.transport().finish()?))
    }

    /// The bytes of every process, in the order of ranks.
    pub(crate) fn all_gather(&self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        match &self.0 {
            None => Ok(vec![bytes.to_vec()]),
            Some(joined) => Ok(joined.transport().all_gather(bytes)?),
        }
    }

    /// Sends a part to each process, and returns what each has sent here.
    pub(crate) fn all_to_all(&self, parts: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>> {
        match &self.0 {
            None => Ok(parts),
            Some(joined) => Ok(joined.transport().all_to_all(parts)?),
        }
    }

    /// Whether the job has failed meanwhile.
    pub(crate) fn check(&self) -> Result<()> {
        self.0.as_ref().map_or(Ok(()), |joined| Ok(joined.transport().check()?))
    }

    /// What process 0 has decided; the others may know less.
    pub(crate) fn decided(&self, own: bool) -> Result<bool> {
        Ok(self.as_first(usize::from(own))? == 1)
    }

    /// The number that process 0 has.
    pub(crate) fn as_first(&self, own: usize) -> Result<usize> {
        let all = self.all_gather(&(own as u64).to_le_bytes())?;
        let first = all.first().and_then(|bytes| bytes[..].try_into().ok());
        Ok(first.map_or(own, |bytes| u64::from_le_bytes(bytes) as usize))
    }

    /// Notes a request to stop; whether the other processes must be asked first.
    pub(crate) fn wants_to_stop(&self) -> bool {
        if let Some(joined) = &self.0 {
            joined.stop.store(true, Ordering::Relaxed);
        }
        self.is_shared()
    }

    /// Whether this process has been asked to stop.
    pub(crate) fn is_to_stop(&self) -> bool {
        self.0.as_ref().is_some_and(|joined| joined.stop.load(Ordering::Relaxed))
    }

    /// Compares a digest of what all processes have computed alike, and stops all of them where one was asked
    /// to.
    ///
    /// # Errors
    /// [`Error::ProcessesDiverged`] where digests differ; [`Error::Stopped`].
    pub(crate) fn agree(&self, what: &'static str, digest: impl FnOnce() -> blake3::Hash) -> Result<()> {
        if !self.is_shared() {
            return Ok(());
        }
        let own = [&[u8::from(self.is_to_stop())][..], digest().as_bytes()].concat();
        let all = self.all_gather(&own)?;
        if let Some(rank) = all.iter().position(|other| other[1..] != all[0][1..]) {
            return Err(Error::ProcessesDiverged { what, rank });
        }
        if all.iter().any(|other| other[0] != 0) { Err(Error::Stopped) } else { Ok(()) }
    }

    /// The skipped images of all processes, with the paths that they have here.
    pub(crate) fn all_skipped(&self, own: Vec<Skipped>, data: &ImageData) -> Result<Vec<Skipped>> {
        if !self.is_shared() {
            return Ok(own);
        }
        let own = serde_json::to_vec(&numbered(&own, data)).expect("numbers and texts serialise");
        let mut all = Vec::new();
        for (rank, bytes) in self.all_gather(&own)?.iter().enumerate() {
            let skipped = serde_json::from_slice(bytes)
                .map_err(|_| Error::ProcessesDiverged { what: "messages", rank })?;
            all.extend(with_paths(skipped, data));
        }
        Ok(all)
    }
}

impl Joined {
    fn transport(&self) -> MutexGuard<'_, Box<dyn Transport>> {
        self.transport.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Skipped images by their items, since paths may differ between machines.
fn numbered(skipped: &[Skipped], data: &ImageData) -> Vec<(usize, String)> {
    if skipped.is_empty() {
        return Vec::new();
    }
    let items = data.items.items.iter().enumerate();
    let numbers: HashMap<&Path, usize> = items.map(|(number, item)| (item.path.as_path(), number)).collect();
    let number = |skipped: &Skipped| Some((*numbers.get(skipped.path.as_path())?, skipped.reason.clone()));
    skipped.iter().filter_map(number).collect()
}

fn with_paths(skipped: Vec<(usize, String)>, data: &ImageData) -> Vec<Skipped> {
    let known = skipped.into_iter().filter(|(item, _)| *item < data.items.len());
    known.map(|(item, reason)| Skipped::image(&data.items[item].path, reason)).collect()
}
