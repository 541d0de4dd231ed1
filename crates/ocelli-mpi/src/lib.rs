//! Joins an MPI job with whatever MPI library is found at run time.
//!
//! An MPI launcher (`mpirun`, `mpiexec`, `srun`) starts a program several times. [`Launcher::detect`] tells by
//! the environment whether one has; [`Mpi::join`] then finds the launcher's library, loads it, and is a
//! [`Transport`](ocelli_distributed::Transport) for bytes. Nothing is linked, so one binary runs with every
//! library below, and without any.
//!
//! | library | file | recognised by |
//! |---|---|---|
//! | standard ABI of MPI 5: MPICH from 5.0, Open MPI from 6.0 | `libmpi_abi.so` | the name of the file |
//! | Open MPI | `libmpi.so.40` | the symbol `ompi_mpi_comm_world` |
//! | MPICH, Intel MPI, Cray MPICH, MVAPICH | `libmpi.so.12`, `libmpich.so.12` | neither of these |
//!
//! | to change | file |
//! |---|---|
//! | how a launcher is recognised | `launcher.rs` |
//! | where a library is looked for | `search.rs` |
//! | the functions and constants of each ABI, all `unsafe` code | `library.rs` |
//! | what is done with them: chunks, waiting, checks at the start | `job.rs` |
//! | errors | `error.rs` |

mod error;
#[cfg(unix)]
mod job;
mod launcher;
#[cfg(unix)]
mod library;
#[cfg(unix)]
mod search;

pub use error::{Error, LIBRARY_VARIABLE, Result};
#[cfg(unix)]
pub use job::Mpi;
pub use launcher::{Family, Launcher};
