//! What operations between processes take.

use serde::Serialize;

/// What carries bytes between processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Route {
    /// An MPI library: every process sends to every other.
    #[default]
    Mpi,
    /// `--join`: all but process 0 are connected to that alone, which passes on what they send each other.
    Tcp,
}

/// The network between machines with one process each.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Link {
    /// What carries the bytes.
    pub route: Route,
    /// The rate of each machine's connection, in each direction.
    pub bits_per_second: f64,
    /// Seconds from sending a small message until it is received.
    pub latency: f64,
}

/// Bytes from which the parts of all processes together travel round a ring, as MPI libraries decide: each process sends to
/// its neighbour what it has just received. Below, messages double.
const RING: f64 = 512e3;

impl Link {
    /// Seconds of an all-gather among this many processes, to which each gives `bytes`. `handling` is what a byte takes
    /// besides its way: copies and system calls.
    pub fn all_gather(&self, processes: usize, bytes: f64, handling: f64) -> f64 {
        let (others, byte) = (others(processes), self.byte() + handling);
        match (self.route, processes) {
            (_, 0 | 1) => 0.0,
            // How long parts are, then the parts.
            (Route::Mpi, _) => {
                let messages = if others * bytes >= RING { others } else { doublings(processes) };
                (doublings(processes) + messages) * self.latency + others * bytes * byte
            }
            // Both send at the same time.
            (Route::Tcp, 2) => self.latency + bytes * byte,
            // Process 0 receives the part of each, then sends each those of all others.
            (Route::Tcp, _) => 2.0 * self.latency + (others * bytes + others * others * bytes) * byte,
        }
    }

    /// Seconds of an exchange in which each process has `bytes`, one part of them for each process.
    pub fn all_to_all(&self, processes: usize, bytes: f64, handling: f64) -> f64 {
        let (others, byte) = (others(processes), self.byte() + handling);
        let part = bytes / processes.max(1) as f64;
        match (self.route, processes) {
            (_, 0 | 1) => 0.0,
            (Route::Mpi, _) => (doublings(processes) + others) * self.latency + others * part * byte,
            (Route::Tcp, 2) => self.latency + part * byte,
            // Process 0 receives all parts of each, then sends each the parts of all others for it.
            (Route::Tcp, _) => 2.0 * self.latency + 2.0 * others * others * part * byte,
        }
    }

    /// Seconds of a byte on its way.
    fn byte(&self) -> f64 {
        8.0 / self.bits_per_second
    }
}

fn others(processes: usize) -> f64 {
    processes.saturating_sub(1) as f64
}

/// ⌈log₂⌉: after so many messages each process has heard of all.
fn doublings(processes: usize) -> f64 {
    f64::from(processes.next_power_of_two().trailing_zeros())
}
