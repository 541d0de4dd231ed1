//! Jobs whose processes are threads, for tests.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};
use crate::host::host;
use crate::transport::Transport;

/// One of several threads that are the processes of a job.
pub struct Threads {
    rank: usize,
    job: Arc<Job>,
    finished: bool,
}

struct Job {
    size: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// For each receiver and sender, the parts on their way.
    boxes: Vec<Vec<VecDeque<Arc<[u8]>>>>,
    failure: Option<Error>,
}

impl Threads {
    /// The ends of a job of this many threads, in the order of ranks.
    pub fn of(size: usize) -> Vec<Self> {
        let boxes = vec![vec![VecDeque::new(); size]; size];
        let state = Mutex::new(State { boxes, failure: None });
        let job = Arc::new(Job { size, state, changed: Condvar::new() });
        (0..size).map(|rank| Self { rank, job: job.clone(), finished: false }).collect()
    }

    fn exchange(&mut self, parts: impl Iterator<Item = Arc<[u8]>>) -> Result<Vec<Vec<u8>>> {
        let mut state = self.job.lock();
        for (receiver, part) in parts.enumerate() {
            state.boxes[receiver][self.rank].push_back(part);
        }
        self.job.changed.notify_all();
        let mut received = Vec::with_capacity(self.job.size);
        while received.len() < self.job.size {
            if let Some(failure) = &state.failure {
                return Err(failure.clone());
            }
            match state.boxes[self.rank][received.len()].pop_front() {
                Some(part) => received.push(part.to_vec()),
                None => state = self.job.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            }
        }
        Ok(received)
    }

    fn fail(&mut self, failure: Error) {
        self.job.lock().failure.get_or_insert(failure);
        self.job.changed.notify_all();
    }
}

impl Job {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Transport for Threads {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.job.size
    }

    fn name(&self) -> String {
        "threads".to_owned()
    }

    fn all_gather(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        let part: Arc<[u8]> = bytes.into();
        self.exchange(std::iter::repeat_n(part, self.job.size))
    }

    fn all_to_all(&mut self, parts: Vec<Vec<u8>>) -> Result<Vec<Vec<u8>>> {
        assert_eq!(parts.len(), self.job.size, "one part per process");
        self.exchange(parts.into_iter().map(Arc::from))
    }

    fn check(&mut self) -> Result<()> {
        self.job.lock().failure.clone().map_or(Ok(()), Err)
    }

    fn abort(&mut self, message: &str) {
        self.fail(Error::Aborted { rank: self.rank, host: host(), message: message.to_owned() });
    }

    fn finish(&mut self) -> Result<()> {
        self.barrier()?;
        self.finished = true;
        Ok(())
    }
}

/// A thread that ends before the job does is a lost process.
impl Drop for Threads {
    fn drop(&mut self) {
        if !self.finished {
            let reason = "its thread has ended".to_owned();
            self.fail(Error::Lost { rank: self.rank, host: host(), reason });
        }
    }
}
