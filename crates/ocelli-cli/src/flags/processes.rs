//! Flags of processes that train together, and how they join.

use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::ProgressBar;
use ocelli::ProcessGroup;
use ocelli::distributed::{Tcp, TcpOptions};
#[cfg(unix)]
use ocelli_mpi::Mpi;
use ocelli_mpi::{LIBRARY_VARIABLE, Launcher};

use crate::errors::Failure;
use crate::output::{eprintln, progress_bar};
use crate::text::counted;
use crate::values::whole;

/// The secret that processes share which join over TCP. Not a flag, since all users of a machine see those.
const TOKEN: &str = "OCELLI_TOKEN";
/// As the library's name: processes that a launcher has started have nothing to do with each other.
const NONE: &str = "none";

/// Processes on several machines.
#[derive(Debug, Args)]
#[command(next_help_heading = "Several processes")]
pub struct ProcessFlags {
    /// Train with other processes over TCP: HOST:PORT of process 0
    ///
    /// Process 0 listens there, the others connect; all need the same command, photos and OCELLI_TOKEN, a secret
    /// of your choice. Traffic is not encrypted: for networks whose machines trust each other. Under mpirun this
    /// is not needed.
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "HOST:PORT", requires_all = ["rank", "ranks"])]
    join: Option<String>,
    /// With --join: the number of this process, from 0
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "R", requires = "join", value_parser = whole::<0, 4095>)]
    rank: Option<usize>,
    /// With --join: the number of processes
    #[arg(hide_short_help = true)]
    #[arg(long, value_name = "N", requires = "join", value_parser = whole::<1, 4096>)]
    ranks: Option<usize>,
    /// Each process has a part of the photos: bring them together first
    ///
    /// DATA is then a folder of each process. The photos of all, told apart by content, are sent to every machine,
    /// into the cache folder, and trained on as one folder with all of them would be; what is there already is not
    /// sent again.
    #[arg(hide_short_help = true)]
    #[arg(long, conflicts_with = "labels")]
    data_per_rank: bool,
}

impl ProcessFlags {
    /// Joins the processes that train together, if there are any. The first one says that it waits for the others.
    pub fn join(&self, quiet: bool) -> Result<ProcessGroup, Failure> {
        if let (Some(address), Some(rank), Some(ranks)) = (&self.join, self.rank, self.ranks) {
            let token = std::env::var(TOKEN).unwrap_or_default();
            if token.is_empty() {
                return Err(Failure::Error(format!(
                    "--join needs a secret that only these processes know, so that no other can join: set {TOKEN} to the same \
                     text for all of them"
                )));
            }
            let options = TcpOptions::new(address, rank, ranks, token);
            if rank == 0 && ranks > 1 && !quiet {
                let seconds = options.join_timeout.as_secs();
                eprintln!(
                    "waiting at {address} for {}, {seconds} s at most",
                    counted(ranks - 1, "other process")
                );
            }
            return Ok(ProcessGroup::new(Tcp::join(&options)?));
        }
        match launcher() {
            Some(launcher) => by_mpi(&launcher),
            None => Ok(ProcessGroup::default()),
        }
    }

    /// The folder with the photos of all processes, where each has a part of them in `folder`; else that itself.
    pub fn gathered(
        &self,
        folder: &Path,
        cache: &Path,
        processes: &ProcessGroup,
        quiet: bool,
    ) -> Result<PathBuf, Failure> {
        if !self.data_per_rank {
            return Ok(folder.to_owned());
        }
        let shows = !quiet && processes.rank() == 0;
        let bar = shows.then(|| {
            progress_bar("photos of other processes  {bar:30} {bytes} of {total_bytes} · {eta} left")
        });
        let gathered = processes.gather_photos(folder, cache, &mut |arrived, all| {
            if let Some(bar) = &bar {
                bar.set_length(all);
                bar.set_position(arrived);
            }
        });
        bar.iter().for_each(ProgressBar::finish_and_clear);
        Ok(gathered?)
    }
}

/// What has started this process as one of several that belong together.
pub fn launcher() -> Option<Launcher> {
    let are_separate = std::env::var_os(LIBRARY_VARIABLE).is_some_and(|library| library == NONE);
    Launcher::detect().filter(|launcher| launcher.is_several() && !are_separate)
}

#[cfg(unix)]
fn by_mpi(launcher: &Launcher) -> Result<ProcessGroup, Failure> {
    Mpi::join().map(ProcessGroup::new).map_err(|error| {
        // Where all have the same error, that of process 0 is printed, and ends the job.
        if launcher.rank.unwrap_or(0) > 0 {
            std::thread::sleep(std::time::Duration::from_millis(500));
        }
        error.into()
    })
}

#[cfg(not(unix))]
fn by_mpi(launcher: &Launcher) -> Result<ProcessGroup, Failure> {
    Err(Failure::Error(format!(
        "started by {launcher}, and on this system MPI is not supported; start the processes one by one, with --join"
    )))
}

/// Refuses a verb that several processes cannot share; process 0 says so.
pub fn refuse(verb: &str) -> Result<(), Failure> {
    let Some(launcher) = launcher() else { return Ok(()) };
    if launcher.rank.unwrap_or(0) > 0 {
        return Err(Failure::Printed);
    }
    let size = launcher.size.map_or_else(|| "several".to_owned(), |size| size.to_string());
    Err(Failure::Error(format!(
        "ocelli {verb} does not share its work, and {launcher} has started {size} processes, each of which would do all of \
         it. Start it alone; only ocelli train takes several processes\n       if they have nothing to do with each other:  \
         {LIBRARY_VARIABLE}={NONE} ocelli {verb} …"
    )))
}
