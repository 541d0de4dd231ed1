//! Collective operations on bytes between the processes of one job, and sums that have the same bits for any
//! number of processes.
//!
//! ```
//! use ocelli_distributed::{Threads, Transport};
//!
//! std::thread::scope(|scope| {
//!     for mut transport in Threads::of(3) {
//!         scope.spawn(move || {
//!             let own = vec![transport.rank() as u8; transport.rank()];
//!             let parts = transport.all_gather(&own).unwrap();
//!             assert_eq!(parts, [vec![], vec![1], vec![2, 2]]);
//!             transport.finish().unwrap();
//!         });
//!     }
//! });
//! ```
//!
//! A [`Transport`] is one process's end of a job. All processes call the same operations in the same order,
//! each blocks until the others have called it too. [`Threads`] are for tests; [`Tcp`] joins processes on
//! machines that reach each other; MPI is in the crate `ocelli-mpi`. [`tree`] knows nothing of transports: it
//! says which sums of pieces a process sends, and how they are completed.
//!
//! | to change | file |
//! |---|---|
//! | what a transport can do | `transport.rs` |
//! | threads | `threads.rs` |
//! | TCP: the operations, and what is noticed about lost processes | `tcp/mod.rs`, `tcp/connection.rs` |
//! | how processes join over TCP | `tcp/join.rs` |
//! | messages over TCP | `tcp/frame.rs` |
//! | the fixed order of sums | `tree.rs` |
//! | the name of this machine | `host.rs` |
//! | errors | `error.rs` |

mod error;
mod host;
mod tcp;
mod threads;
mod transport;
pub mod tree;

pub use error::{Error, Result};
pub use host::host;
pub use tcp::{Tcp, TcpOptions};
pub use threads::Threads;
pub use transport::Transport;
