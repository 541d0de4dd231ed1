//! Where an MPI library is looked for.

use std::path::{Path, PathBuf};

use crate::error::LIBRARY_VARIABLE;
use crate::launcher::{Family, Launcher};

/// What to give to the system's loader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Candidate {
    /// The file that the user has named: nothing else is tried.
    Named(PathBuf),
    /// A file that exists.
    File(PathBuf),
    /// A name that the loader looks up.
    Name(&'static str),
}

#[cfg(target_os = "macos")]
const STANDARD: &[&str] = &["libmpi_abi.dylib", "libmpi_abi.1.dylib"];
#[cfg(not(target_os = "macos"))]
const STANDARD: &[&str] = &["libmpi_abi.so.1", "libmpi_abi.so.0", "libmpi_abi.so"];
#[cfg(target_os = "macos")]
const MPICH: &[&str] = &["libmpi.12.dylib", "libmpich.12.dylib"];
#[cfg(not(target_os = "macos"))]
const MPICH: &[&str] = &["libmpi.so.12", "libmpich.so.12", "libmpi_cray.so.12"];
#[cfg(target_os = "macos")]
const OPEN_MPI: &[&str] = &["libmpi.40.dylib"];
#[cfg(not(target_os = "macos"))]
const OPEN_MPI: &[&str] = &["libmpi.so.40"];
#[cfg(target_os = "macos")]
const ANY: &[&str] = &["libmpi.dylib"];
#[cfg(not(target_os = "macos"))]
const ANY: &[&str] = &["libmpi.so"];

/// Folders of libraries beside a folder of programs; those of Debian's multiarch have subfolders.
const LIBRARIES: &[&str] = &["lib", "lib64"];

/// Names of libraries, first those of the launcher's family. Where it belongs to none, Open MPI comes first:
/// it is what PMIx launchers usually start.
fn names(family: Option<Family>) -> Vec<&'static str> {
    let groups = match family {
        Some(Family::Mpich) => [STANDARD, MPICH, ANY, OPEN_MPI],
        _ => [OPEN_MPI, STANDARD, ANY, MPICH],
    };
    groups.concat()
}

/// What to try, in this order: the named file; what lies beside the launcher, which is a parent of this
/// process or on the path; what the system's loader finds.
pub(crate) fn candidates(launcher: &Launcher) -> Vec<Candidate> {
    if let Some(path) = std::env::var_os(LIBRARY_VARIABLE).filter(|path| !path.is_empty()) {
        return vec![Candidate::Named(path.into())];
    }
    let names = names(launcher.family);
    let mut candidates = Vec::new();
    for programs in folders_of_launchers() {
        let Some(prefix) = programs.parent() else { continue };
        // Of the system's own folders the loader knows better.
        if [Path::new("/"), Path::new("/usr")].contains(&prefix) {
            continue;
        }
        for folder in LIBRARIES.iter().map(|folder| prefix.join(folder)) {
            let files = names.iter().map(|name| folder.join(name)).filter(|path| path.is_file());
            candidates.extend(files.map(Candidate::File));
        }
    }
    candidates.extend(names.into_iter().map(Candidate::Name));
    candidates
}

/// Folders of the program that has started this process, and of `mpirun` and `mpiexec` on the path.
fn folders_of_launchers() -> Vec<PathBuf> {
    let parent = std::fs::read_link(format!("/proc/{}/exe", std::os::unix::process::parent_id()));
    let is_launcher = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        ["hydra", "mpi", "prte", "orte"].iter().any(|start| name.starts_with(start))
    };
    let mut programs: Vec<PathBuf> = parent.ok().filter(is_launcher).into_iter().collect();
    let path = std::env::var_os("PATH").unwrap_or_default();
    for folder in std::env::split_paths(&path) {
        let found = ["mpirun", "mpiexec"].map(|name| folder.join(name));
        programs.extend(found.into_iter().filter(|path| path.is_file()));
    }
    let mut folders: Vec<PathBuf> = Vec::new();
    for program in programs {
        if let Some(folder) = program.parent().map(Path::to_owned)
            && !folders.contains(&folder)
        {
            folders.push(folder);
        }
    }
    folders
}
