//! What there is to learn from: items with stable ids, their targets, the classes.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{DataError, random};

/// Whether an image has exactly one class, or any number of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// Exactly one class an image: softmax.
    SingleLabel,
    /// Any number of classes an image: a sigmoid for each.
    MultiLabel,
}

impl Task {
    /// The names that [`FromStr`] takes, with a line about each.
    pub const NAMES: &[(&str, &str)] = &[
        ("single-label", "Exactly one class per image"),
        ("multi-label", "Any number of classes per image"),
    ];
}

impl FromStr for Task {
    type Err = DataError;

    fn from_str(name: &str) -> Result<Self, DataError> {
        match name {
            "single-label" => Ok(Self::SingleLabel),
            "multi-label" => Ok(Self::MultiLabel),
            _ => Err(DataError::Setting {
                name: "task",
                value: name.to_owned(),
                expected: "single-label or multi-label",
            }),
        }
    }
}

/// What is known about one image. Numbers are indices into [`Classes`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// Nothing: an image to predict.
    Unlabelled,
    /// The one class of a single-label image.
    Class(usize),
    /// The classes of a multi-label image, ascending; possibly none.
    Classes(Vec<usize>),
}

impl Target {
    /// The target of an image with these classes, ascending: of a single-label image the first of them, if there is one.
    pub fn new(task: Task, classes: Vec<usize>) -> Self {
        match task {
            Task::SingleLabel => classes.first().map_or(Target::Unlabelled, |&class| Target::Class(class)),
            Task::MultiLabel => Target::Classes(classes),
        }
    }

    /// The classes in this target, ascending.
    pub fn classes(&self) -> &[usize] {
        match self {
            Target::Unlabelled => &[],
            Target::Class(class) => std::slice::from_ref(class),
            Target::Classes(classes) => classes,
        }
    }
}

/// One image and what is known about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The path relative to the data folder, separated by `/` on every system: the item's name in splits,
    /// caches and reports. What of a path is not UTF-8 is written as [`text_of`](crate::text_of) has it.
    pub id: String,
    /// Where the file is.
    pub path: PathBuf,
    /// Its class or classes.
    pub target: Target,
}

impl Item {
    /// The item's key for random draws: a function of the id alone, so that adding files changes no other
    /// item's draws.
    pub fn key(&self) -> u64 {
        random::key(&self.id)
    }
}

/// The names of the classes; their order is the order of a model's outputs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Classes(Vec<String>);

impl Classes {
    /// Sorts the names by bytes and drops repeated ones.
    pub fn new(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let mut names: Vec<String> = names.into_iter().map(Into::into).collect();
        names.sort_unstable();
        names.dedup();
        Classes(names)
    }

    /// The number of classes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The name of a class, if there is one with this index.
    pub fn name(&self, class: usize) -> Option<&str> {
        self.0.get(class).map(String::as_str)
    }

    /// The index of a class.
    pub fn index(&self, name: &str) -> Option<usize> {
        self.0.binary_search_by(|class| class.as_str().cmp(name)).ok()
    }

    /// All names, in order.
    pub fn names(&self) -> &[String] {
        &self.0
    }
}

/// The items of a data set, in a fixed order, with their task and classes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Items {
    /// The data folder: ids are relative to it.
    pub root: PathBuf,
    /// Single- or multi-label.
    pub task: Task,
    /// The classes.
    pub classes: Classes,
    /// The items, sorted by id unless their source has an order of its own (a CSV file, a list).
    pub items: Vec<Item>,
}

impl Items {
    /// The number of items.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// How many of the items at `indices` have each class.
    pub fn class_counts(&self, indices: &[usize]) -> Vec<usize> {
        let mut counts = vec![0; self.classes.len()];
        for class in indices.iter().flat_map(|&index| self.items[index].target.classes()) {
            counts[*class] += 1;
        }
        counts
    }
}

impl std::ops::Index<usize> for Items {
    type Output = Item;

    fn index(&self, index: usize) -> &Item {
        &self.items[index]
    }
}

/// A file or folder that was left out, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// What was left out.
    #[serde(serialize_with = "crate::names::as_text")]
    pub path: PathBuf,
    /// Why, for people.
    pub reason: String,
    /// Whether it is meant as an image, by its name or its content, or may hold images.
    pub is_image: bool,
    /// Whether it is usual among photos and surely none: a text, a table, what is hidden, what a system or Ocelli has left
    /// there. A film or an unknown kind of file is neither this nor an image.
    pub is_usual: bool,
}

impl Skipped {
    /// Records that `path`, which is surely no image, is left out.
    pub fn new(path: impl AsRef<Path>, reason: impl ToString) -> Self {
        Skipped {
            path: path.as_ref().to_owned(),
            reason: reason.to_string(),
            is_image: false,
            is_usual: true,
        }
    }

    /// Records that the image `path` is left out.
    pub fn image(path: impl AsRef<Path>, reason: impl ToString) -> Self {
        Skipped { is_image: true, is_usual: false, ..Skipped::new(path, reason) }
    }

    /// Records that `path`, which is of another or an unknown kind, is left out.
    pub fn other(path: impl AsRef<Path>, reason: impl ToString) -> Self {
        Skipped { is_usual: false, ..Skipped::new(path, reason) }
    }
}
