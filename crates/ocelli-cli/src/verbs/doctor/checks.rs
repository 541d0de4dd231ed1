//! What `ocelli doctor` looks at, one function for each thing.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use ocelli::{DeviceKind, DeviceName, Isa, MemoryLimit, available_memory, io_reason};

use crate::flags::{CacheFlags, default_threads};
use crate::output::shown;
use crate::text::{count, counted};
use crate::verbs::version::instructions;

/// What was found of one thing.
pub struct Check {
    pub name: &'static str,
    pub status: Status,
    pub found: String,
    /// What would go wrong, and what to do about it.
    pub consequence: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Status {
    Ok,
    /// Something that not every run needs does not work.
    Warning,
    /// Training does not work.
    Problem,
}

impl Status {
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Problem => "problem",
        }
    }
}

fn ok(name: &'static str, found: impl Into<String>) -> Check {
    Check { name, status: Status::Ok, found: found.into(), consequence: None }
}

fn warning(name: &'static str, found: impl Into<String>, consequence: impl Into<String>) -> Check {
    Check { name, status: Status::Warning, found: found.into(), consequence: Some(consequence.into()) }
}

fn problem(name: &'static str, found: impl Into<String>, consequence: impl Into<String>) -> Check {
    Check { name, status: Status::Problem, ..warning(name, found, consequence) }
}

pub fn all(cache: &CacheFlags) -> Vec<Check> {
    // The servers may take their time to say nothing.
    let network = std::thread::spawn(network);
    let mut checks = vec![memory(), cores(), open_files(), processor()];
    checks.extend(gpus());
    checks.push(folder(
        "this folder",
        std::env::current_dir().map_err(|error| io_reason(&error)),
        Status::Problem,
        "runs/ is written here: change to another folder, or choose one with --out",
    ));
    checks.push(folder(
        "cache folder",
        cache_folder(cache),
        Status::Problem,
        "features are cached there: choose another folder with --cache or OCELLI_CACHE",
    ));
    checks.push(folder(
        "temporary",
        Ok(std::env::temp_dir()),
        Status::Warning,
        "other programs need it, Ocelli does not: set TMPDIR",
    ));
    checks.extend([fonts(), browser()]);
    checks.push(network.join().unwrap_or_else(|_| warning("network", "not checked", "try `ocelli pull`")));
    checks
}

fn cache_folder(cache: &CacheFlags) -> Result<PathBuf, String> {
    cache.folder().map_err(|failure| match failure {
        crate::errors::Failure::Error(message) => message,
        _ => "unknown".to_owned(),
    })
}

/// Bytes below which the usual recipe at its usual size does not fit.
const LITTLE_MEMORY: u64 = 2_000_000_000;
/// Bytes below which not even the smallest networks fit at small sizes.
const NO_MEMORY: u64 = 400_000_000;

fn memory() -> Check {
    let name = "memory";
    let Some(memory) = available_memory() else {
        return ok(name, "the free memory is unknown on this system");
    };
    let limit = match memory.limit {
        MemoryLimit::ControlGroup => ", within the limit of this control group (container or job)",
        MemoryLimit::AddressSpace => ", within the limit of the address space (ulimit -v)",
        _ => "",
    };
    let found = format!("{} free{limit}", bytes(memory.bytes));
    match memory.bytes {
        0..NO_MEMORY => {
            problem(name, found, "training runs out of memory: close other programs, or raise the limit")
        }
        NO_MEMORY..LITTLE_MEMORY => warning(
            name,
            found,
            "large images and backbones do not fit: use a smaller --size and --batch-size",
        ),
        _ => ok(name, found),
    }
}

fn cores() -> Check {
    let name = "cores";
    let usable = default_threads();
    let found = match std::fs::read_to_string("/proc/cpuinfo").map(|text| processors(&text)) {
        Ok(all) if all > usable => {
            format!("{} of {}: a control group or an affinity allows no more", count(usable), count(all))
        }
        _ => counted(usable, "core"),
    };
    // As many threads as training starts: for the kernels, for the loader, and some.
    let wanted = 2 * usable + 4;
    match start_threads(wanted) {
        (started, Some(error)) if started < wanted => {
            let found =
                format!("{found}; only {started} of {wanted} threads can be started: {}", io_reason(&error));
            problem(
                name,
                found,
                "training cannot start its threads: raise the limit of processes (ulimit -u, pids.max)",
            )
        }
        _ => ok(name, found),
    }
}

/// The processors that a `/proc/cpuinfo` lists.
fn processors(text: &str) -> usize {
    text.lines().filter(|line| line.starts_with("processor") && line.contains(':')).count()
}

/// Starts so many threads at once; gives how many there were, and why no more.
fn start_threads(wanted: usize) -> (usize, Option<io::Error>) {
    let mut waiting = Vec::new();
    for started in 0..wanted {
        let (end, ended) = mpsc::channel::<()>();
        match std::thread::Builder::new().spawn(move || ended.recv().is_ok()) {
            Ok(thread) => waiting.push((end, thread)),
            Err(error) => return (started, Some(error)),
        }
    }
    for (end, thread) in waiting {
        drop(end);
        let _ = thread.join();
    }
    (wanted, None)
}

/// Files that are open at once, with some to spare.
const FEW_FILES: u64 = 64;

fn open_files() -> Check {
    let name = "open files";
    let limits = std::fs::read_to_string("/proc/self/limits").ok();
    match limits.as_deref().and_then(most_files) {
        Some(limit @ 0..FEW_FILES) => {
            problem(name, format!("at most {limit}"), "photos cannot be opened: raise the limit (ulimit -n)")
        }
        Some(limit) => ok(name, format!("at most {}", count(limit as usize))),
        None => ok(name, "unknown limit"),
    }
}

fn most_files(limits: &str) -> Option<u64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn processor() -> Check {
    let name = "processor";
    if let Err(error) = Isa::from_environment() {
        return warning(name, instructions(), format!("OCELLI_ISA is ignored: {error}"));
    }
    match Isa::current() {
        Isa::Portable => {
            warning(name, instructions(), "training is several times slower than with AVX2, AVX-512 or NEON")
        }
        _ => ok(name, instructions()),
    }
}

fn gpus() -> Vec<Check> {
    let built = || DeviceKind::ALL.iter().copied().filter(|kind| *kind != DeviceKind::Cpu && kind.is_built());
    let checks: Vec<Check> = built()
        .map(|kind| match (DeviceName { kind, index: None }).open() {
            Ok(_) => ok("GPU", format!("--device {} works", kind.name())),
            Err(error) => {
                warning("GPU", error.to_string(), format!("--device {} fails; cpu works", kind.name()))
            }
        })
        .collect();
    if checks.is_empty() { vec![ok("GPU", "none is compiled in; the CPU is used")] } else { checks }
}

/// Bytes below which a disk is full before long.
const LITTLE_SPACE: u64 = 1_000_000_000;
/// Bytes below which not even a small run and its cache fit.
const NO_SPACE: u64 = 100_000_000;

/// Whether files can be written in a folder, and how much room there is. A folder that is not there is not made: the
/// nearest one that is there is tried.
fn folder(
    name: &'static str,
    path: Result<PathBuf, String>,
    status: Status,
    consequence: &'static str,
) -> Check {
    let unusable = |found: String| Check { name, status, found, consequence: Some(consequence.to_owned()) };
    let path = match path {
        Ok(path) => path,
        Err(reason) => return unusable(reason),
    };
    let shown = shown(path.display());
    if let Err(error) = write_in(existing(&path)) {
        return unusable(format!("{shown}: cannot be written: {}", io_reason(&error)));
    }
    match free_space(existing(&path)) {
        Some(free @ 0..NO_SPACE) => unusable(format!("{shown}: only {} free", bytes(free))),
        Some(free @ NO_SPACE..LITTLE_SPACE) => warning(
            name,
            format!("{shown}: {} free", bytes(free)),
            "a run of thousands of photos may fill the disk",
        ),
        Some(free) => ok(name, format!("{shown}: {} free", bytes(free))),
        None => ok(name, format!("{shown}: can be written")),
    }
}

/// The path itself, or the nearest above it that there is.
fn existing(path: &Path) -> &Path {
    let there = path.ancestors().find(|path| path.symlink_metadata().is_ok());
    there.filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes a file that has no name afterwards.
fn write_in(folder: &Path) -> io::Result<()> {
    let mut file = tempfile::tempfile_in(folder)?;
    file.write_all(&[0; 4096])?;
    file.sync_all()
}

#[cfg(unix)]
fn free_space(path: &Path) -> Option<u64> {
    let system = nix::sys::statvfs::statvfs(path).ok()?;
    // The types differ between systems.
    #[allow(clippy::unnecessary_cast, clippy::useless_conversion)]
    Some((system.blocks_available() as u64).saturating_mul(system.fragment_size() as u64))
}

#[cfg(not(unix))]
fn free_space(_path: &Path) -> Option<u64> {
    None
}

/// Fonts of the pages: those of this machine, where they are looked at. Charts have their own.
fn fonts() -> Check {
    let name = "fonts";
    if cfg!(not(target_os = "linux")) {
        return ok(name, "the system's");
    }
    let home = |below: &str| std::env::var_os("HOME").map(|home| Path::new(&home).join(below));
    let folders = [
        Some(PathBuf::from("/usr/share/fonts")),
        Some(PathBuf::from("/usr/local/share/fonts")),
        Some(PathBuf::from("/run/current-system/sw/share/X11/fonts")),
        home(".fonts"),
        home(".local/share/fonts"),
    ];
    match folders.iter().flatten().find_map(|folder| font_in(folder, 4)) {
        Some(font) => ok(
            name,
            format!("charts use an embedded font; pages use the system's, such as {}", shown(font.display())),
        ),
        None => warning(
            name,
            "charts use an embedded font; none is installed for pages",
            "a browser on this machine shows reports without text: install a font, such as fonts-dejavu-core",
        ),
    }
}

/// A font in a folder, or so many folders deeper.
fn font_in(folder: &Path, depth: usize) -> Option<PathBuf> {
    let is_font = |path: &Path| {
        let end = path.extension().and_then(OsStr::to_str).unwrap_or_default().to_ascii_lowercase();
        ["ttf", "otf", "ttc"].contains(&end.as_str())
    };
    let entries: Vec<PathBuf> = std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).collect();
    let here = entries.iter().find(|path| is_font(path)).cloned();
    let deeper = || entries.iter().filter(|path| path.is_dir()).find_map(|path| font_in(path, depth - 1));
    here.or_else(|| if depth > 0 { deeper() } else { None })
}

/// Programs that open a page, as they are called on Linux and other Unixes.
const BROWSERS: [&str; 9] = [
    "xdg-open",
    "wslview",
    "firefox",
    "google-chrome",
    "chromium",
    "chromium-browser",
    "microsoft-edge",
    "brave-browser",
    "epiphany",
];

fn browser() -> Check {
    let name = "browser";
    if cfg!(any(windows, target_os = "macos")) {
        return ok(name, "the system's");
    }
    let advice = "open reports on another machine: report.html is one file that needs no network";
    let variable = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let found = match on_path(&BROWSERS, std::env::var_os("PATH").as_deref()) {
        Some(found) => found,
        None if variable("BROWSER") => "$BROWSER".to_owned(),
        None => return warning(name, "none was found", advice),
    };
    match variable("DISPLAY") || variable("WAYLAND_DISPLAY") || found == "wslview" {
        true => ok(name, found),
        false => warning(
            name,
            format!("{found}, but no screen (neither DISPLAY nor WAYLAND_DISPLAY is set)"),
            advice,
        ),
    }
}

/// The first of these programs that a search path has.
fn on_path(names: &[&str], path: Option<&OsStr>) -> Option<String> {
    let folders: Vec<PathBuf> = std::env::split_paths(path?).collect();
    let there = |name: &&&str| folders.iter().any(|folder| folder.join(**name).is_file());
    names.iter().find(there).map(|name| (*name).to_owned())
}

#[cfg(feature = "hub")]
fn network() -> Check {
    use ocelli::hub::reach;
    /// How long a server may take to answer.
    const PATIENCE: std::time::Duration = std::time::Duration::from_secs(3);
    let name = "network";
    let store = ocelli::WeightStore::with_cache("");
    let servers = [store.hugging_face_url, store.torchvision_url];
    let silent: Vec<String> = std::thread::scope(|scope| {
        let asked: Vec<_> = servers.iter().map(|url| scope.spawn(move || reach(url, PATIENCE))).collect();
        let answers = asked.into_iter().filter_map(|answer| answer.join().ok());
        answers.filter_map(|answer| answer.err().map(|error| error.to_string())).collect()
    });
    if silent.is_empty() {
        return ok(name, format!("{} answer", servers.join(" and ")));
    }
    let offline = if silent.len() == servers.len() { "offline: " } else { "" };
    let works =
        if cfg!(feature = "lite0") { "; efficientnet_lite0 is built in and needs no network" } else { "" };
    let found = format!("{offline}{}", silent.join("; "));
    warning(name, found, format!("`ocelli pull` and an --arch that is not on this machine fail{works}"))
}

#[cfg(not(feature = "hub"))]
fn network() -> Check {
    ok("network", "not needed: this build downloads nothing")
}

/// `20.1 GB`, `812 MB`
fn bytes(number: u64) -> String {
    match number {
        0..1_000_000_000 => format!("{} MB", number / 1_000_000),
        _ => format!("{:.1} GB", number as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_tables_are_read() {
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max open files            1024                 524288               files     \n";
        assert_eq!(most_files(limits), Some(1024));
        assert_eq!(most_files(&limits.replace("1024  ", "unlimited")), None);
        assert_eq!(most_files(""), None);
        assert_eq!(processors("processor\t: 0\nmodel name\t: A processor: fast\n\nprocessor\t: 1\n"), 2);
    }

    #[test]
    fn sizes_are_written_for_people() {
        assert_eq!([0, 812_999_999, 20_140_000_000].map(bytes), ["0 MB", "812 MB", "20.1 GB"]);
    }

    #[test]
    fn a_folder_that_is_not_there_is_judged_by_the_one_above_it_and_not_made() {
        let place = tempfile::tempdir().unwrap();
        let missing = place.path().join("a/b");
        assert_eq!(existing(&missing), place.path());
        let check = folder("x", Ok(missing.clone()), Status::Problem, "y");
        assert_ne!(check.status, Status::Problem, "{}", check.found);
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0, "nothing is left behind");

        std::fs::write(place.path().join("a"), "").unwrap();
        let check = folder("x", Ok(missing), Status::Problem, "y");
        assert_eq!(check.status, Status::Problem, "{}", check.found);
    }

    #[test]
    fn programs_and_fonts_are_found() {
        let place = tempfile::tempdir().unwrap();
        let deep = place.path().join("truetype/dejavu");
        std::fs::create_dir_all(&deep).unwrap();
        assert_eq!(font_in(place.path(), 2), None);
        std::fs::write(deep.join("Sans.TTF"), "").unwrap();
        assert_eq!(font_in(place.path(), 1), None, "too deep");
        assert_eq!(font_in(place.path(), 2), Some(deep.join("Sans.TTF")));

        std::fs::write(place.path().join("firefox"), "").unwrap();
        let path = std::env::join_paths([Path::new("/nowhere"), place.path()]).unwrap();
        assert_eq!(on_path(&BROWSERS, Some(&path)).as_deref(), Some("firefox"));
        assert_eq!(on_path(&["truetype"], Some(&path)), None, "a folder is no program");
        assert_eq!(on_path(&BROWSERS, None), None);
    }
}
