//! A temporary folder with photos in it, and the real command.

pub mod server;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{LazyLock, Mutex};

use tempfile::TempDir;

/// A place of its own for a test: photos, cache, runs.
pub struct Place {
    folder: TempDir,
}

/// An address at which nobody listens.
pub const NOBODY: &str = "http://127.0.0.1:9";

/// `ocelli train` on the photos of a [`Place`], as small as it gets: the head alone, at 32 px.
pub fn small<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["train", "photos", "--recipe", "quick", "--size", "32"], more].concat()
}

/// The same with a phase of all layers behind the head's, and without a search for learning rates.
pub fn two_phases<'a>(head_epochs: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let phases = ["--head-epochs", head_epochs, "--unfrozen-epochs", "1", "--lr", "1e-2"];
    [&small(&["--batch-size", "8", "--threads", "1"])[..], &phases, more].concat()
}

pub fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples/emoji")
}

impl Place {
    /// With `photos/`: three classes of the samples, so many images each.
    pub fn with_photos(images: usize) -> Self {
        let place = Self::empty();
        for class in ["flags", "food-and-drink", "smileys-and-emotion"] {
            let to = place.path("photos").join(class);
            fs::create_dir_all(&to).unwrap();
            let mut names: Vec<PathBuf> =
                fs::read_dir(samples().join(class)).unwrap().map(|entry| entry.unwrap().path()).collect();
            names.sort();
            for name in &names[..images] {
                fs::copy(name, to.join(name.file_name().unwrap())).unwrap();
            }
        }
        place
    }

    pub fn empty() -> Self {
        let folder = TempDir::new().unwrap();
        remove_at_the_end(folder.path());
        Self { folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The command, to be run here, with a cache of its own.
    pub fn ocelli(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ocelli"));
        command.args(arguments).current_dir(self.folder.path()).env("OCELLI_CACHE", self.path("cache"));
        command.env_remove("OCELLI_ISA").env("NO_COLOR", "1");
        // Nothing is fetched from outside of this machine, and no other program's caches are looked at.
        for variable in ["HF_ENDPOINT", "NPM_CONFIG_REGISTRY", "OCELLI_TORCHVISION_URL"] {
            command.env(variable, NOBODY);
        }
        command.env("TORCH_HOME", self.path("torch")).env("HF_HOME", self.path("hugging-face"));
        for variable in
            ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"]
        {
            command.env_remove(variable).env_remove(variable.to_lowercase());
        }
        command
    }

    /// Runs the command, which must succeed; gives its standard output.
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.ocelli(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs the command, which must refuse with exit status 1, or 2 for what is wrong in the arguments alone, and without a
    /// backtrace; gives what it said.
    pub fn refusal(&self, arguments: &[&str]) -> String {
        let output = self.ocelli(arguments).output().unwrap();
        let said = stderr(&output);
        assert!(matches!(output.status.code(), Some(1 | 2)), "{arguments:?}: {said}");
        assert!(said.starts_with("error: "), "{said}");
        assert!(!said.contains("panicked") && !said.contains("backtrace"), "{said}");
        said
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }
}

/// Has a folder removed when this process ends, however it does: nothing drops what a `static` holds. Where there is no
/// shell, it stays.
fn remove_at_the_end(folder: &Path) {
    const REMOVE: &str =
        r#"trap '' HUP INT TERM; while IFS= read -r folder; do set -- "$@" "$folder"; done; rm -rf -- "$@""#;
    static SHELL: LazyLock<Option<Mutex<Child>>> = LazyLock::new(|| {
        let mut shell = Command::new("sh");
        shell.args(["-c", REMOVE]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        shell.spawn().ok().map(Mutex::new)
    });
    if let Some(shell) = &*SHELL
        && let Some(input) = &mut shell.lock().unwrap().stdin
    {
        let _ = writeln!(input, "{}", folder.display());
    }
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The rows of a history without the column of seconds.
pub fn rows(history: &str) -> Vec<String> {
    history.lines().map(|line| line.rsplit_once(',').unwrap().0.to_owned()).collect()
}

/// All files below a folder with their content.
pub fn snapshot(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(snapshot(&path));
        } else {
            files.push((path.clone(), fs::read(&path).unwrap()));
        }
    }
    files.sort();
    files
}
