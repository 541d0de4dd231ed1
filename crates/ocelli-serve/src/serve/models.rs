//! The models that are served: each has a name, and may be replaced while the server runs.

use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::SystemTime;

use ocelli::Model;

use crate::event::Event;
use crate::options::Error;

/// What loads a model from its file or the folder of its run.
type Load = dyn Fn(&Path) -> ocelli::Result<Model> + Send + Sync;

/// The models in the order given; the first is the default.
pub(crate) struct Models {
    all: Vec<Served>,
    load: Box<Load>,
}

struct Served {
    name: String,
    file: PathBuf,
    model: RwLock<Arc<Model>>,
}

/// A model, and the name that it is asked for by.
#[derive(Clone)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) model: Arc<Model>,
}

/// By what a replaced file is known.
#[derive(PartialEq, Clone)]
pub(crate) struct Stamp(Option<(u64, SystemTime, u64)>);

impl Models {
    pub(crate) fn load(
        paths: &[PathBuf],
        load: impl Fn(&Path) -> ocelli::Result<Model> + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let mut all: Vec<Served> = Vec::new();
        for path in paths {
            let model = RwLock::new(Arc::new(load(path)?));
            let first = name_of(path);
            let numbered = (2..).map(|number: usize| format!("{first}-{number}"));
            let mut names = std::iter::once(first.clone()).chain(numbered);
            let name =
                names.find(|name| all.iter().all(|other| other.name != *name)).expect("numbers do not end");
            let file = if path.is_dir() { path.join("model.safetensors") } else { path.clone() };
            all.push(Served { name, file, model });
        }
        if all.is_empty() {
            return Err(Error::NoModel);
        }
        Ok(Self { all, load: Box::new(load) })
    }

    /// The first one.
    pub(crate) fn default(&self) -> Named {
        named(&self.all[0])
    }

    pub(crate) fn get(&self, name: &str) -> Option<Named> {
        self.all.iter().find(|served| served.name == name).map(named)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = Named> {
        self.all.iter().map(named)
    }

    pub(crate) fn stamps(&self) -> Vec<Stamp> {
        self.all.iter().map(|served| stamp(&served.file)).collect()
    }

    /// Loads the models whose files are no longer those of `stamps`, which become those of now. Requests that have begun
    /// go on with the model of before.
    pub(crate) fn reload(&self, stamps: &mut [Stamp]) -> Vec<Event> {
        let mut events = Vec::new();
        for (served, before) in self.all.iter().zip(stamps) {
            let now = stamp(&served.file);
            // A file that is missing is about to be replaced, or the old model goes on.
            if now == *before || now.0.is_none() {
                continue;
            }
            *before = now;
            let model = served.name.clone();
            match (self.load)(&served.file) {
                Ok(loaded) => {
                    *served.model.write().unwrap_or_else(|poisoned| poisoned.into_inner()) = Arc::new(loaded);
                    events.push(Event::Reloaded { model });
                }
                Err(error) => events.push(Event::NotReloaded { model, reason: error.to_string() }),
            }
        }
        events
    }
}

fn named(served: &Served) -> Named {
    let model = served.model.read().unwrap_or_else(|poisoned| poisoned.into_inner());
    Named { name: served.name.clone(), model: model.clone() }
}

fn stamp(file: &Path) -> Stamp {
    let found = std::fs::metadata(file).ok().and_then(|found| {
        #[cfg(unix)]
        let inode = std::os::unix::fs::MetadataExt::ino(&found);
        #[cfg(not(unix))]
        let inode = 0;
        Some((found.len(), found.modified().ok()?, inode))
    });
    Stamp(found)
}

/// The name of a run's folder, or of a model's file; with letters, digits, `.`, `_` and `-` alone, which stand in
/// addresses as they are.
fn name_of(path: &Path) -> String {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let is_of_run = path.file_name().is_some_and(|name| name == "model.safetensors");
    let named = if is_of_run { path.parent().unwrap_or(&path) } else { &path };
    let name = if named.is_dir() { named.file_name() } else { named.file_stem() };
    let name = name.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let safe =
        |letter: char| if letter.is_ascii_alphanumeric() || "._-".contains(letter) { letter } else { '-' };
    let name: String = name.chars().map(safe).collect();
    // `.` and `..` are no names in addresses.
    if name.chars().all(|letter| letter == '.') { "model".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_in_addresses_as_they_are() {
        for (path, name) in [
            ("runs/photos-1/model.safetensors", "photos-1"),
            ("cats and dogs.safetensors", "cats-and-dogs"),
            ("a/b_2.v3.safetensors", "b_2.v3"),
            ("Käse", "K-se"),
            ("/", "model"),
        ] {
            assert_eq!(name_of(Path::new(path)), name, "{path}");
        }
    }
}
