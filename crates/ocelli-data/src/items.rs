//! Items with stable ids, their targets and classes.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::names::look_of;
use crate::{DataError, random};

/// Whether an image has exactly one label, or any number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// Exactly one label per image: softmax.
    SingleLabel,
    /// Any number of labels per image: a sigmoid for each class.
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

/// The labels of one image. Numbers are indices into [`Classes`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// No label: an image to predict.
    Unlabelled,
    /// The one class of a single-label image.
    Class(usize),
    /// The classes of a multi-label image, ascending; possibly none.
    Classes(Vec<usize>),
}

impl Target {
    /// The target of an image with these classes, ascending: for single-label data the first of them, if
    /// there is one.
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

/// One image and its labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The path relative to the data folder, separated by `/` on every system: the item's name in splits,
    /// caches and reports. Parts that are not UTF-8 are written as by [`text_of`](crate::text_of).
    pub id: String,
    /// Where the file is.
    pub path: PathBuf,
    /// Its labels.
    pub target: Target,
}

impl Item {
    /// The item's key for random draws: a function of the id alone, so that adding files does not change the
    /// draws of other items.
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

    /// The class of this name; where there is none, the only one that looks the same, or differs from it in
    /// upper and lower case only.
    pub fn alike(&self, name: &str) -> Option<&str> {
        if let Some(index) = self.index(name) {
            return self.name(index);
        }
        let looks: [fn(&str) -> String; 2] = [look_of, |name| look_of(name).to_lowercase()];
        for look in looks {
            let expected = look(name);
            let mut alike = self.names().iter().filter(|class| look(class) == expected);
            match (alike.next(), alike.next()) {
                (Some(class), None) => return Some(class),
                (Some(_), Some(_)) => return None,
                _ => {}
            }
        }
        // As pandas writes whole numbers in a column with gaps: `1.0`.
        let number = |name: &str| name.parse::<f64>().ok().filter(|number| number.is_finite());
        let expected = number(name)?;
        let mut same = self.names().iter().filter(|class| number(class) == Some(expected));
        same.next().filter(|_| same.next().is_none()).map(String::as_str)
    }

    /// All names, in order.
    pub fn names(&self) -> &[String] {
        &self.0
    }
}

/// The items of a data set, in a fixed order, with their task and classes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Items {
    /// The data folder, which ids are relative to.
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

    /// The number of items of each class, among those at `indices`.
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

/// A skipped file or folder, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// The file or folder.
    #[serde(serialize_with = "crate::names::as_text")]
    pub path: PathBuf,
    /// Why, for people.
    pub reason: String,
    /// Whether it seems to be an image, by its name or its content, or may contain images.
    pub is_image: bool,
    /// Whether it is common among photos and certainly not one: a text, a table, a hidden file, left by a
    /// system or by Ocelli. A film or an unknown kind of file is neither this nor an image.
    pub is_usual: bool,
}

impl Skipped {
    /// A skipped `path` that is certainly not an image.
    pub fn new(path: impl AsRef<Path>, reason: impl ToString) -> Self {
        Skipped {
            path: path.as_ref().to_owned(),
            reason: reason.to_string(),
            is_image: false,
            is_usual: true,
        }
    }

    /// A skipped image `path`.
    pub fn image(path: impl AsRef<Path>, reason: impl ToString) -> Self {
        Skipped { is_image: true, is_usual: false, ..Skipped::new(path, reason) }
    }

    /// A skipped `path` of another or an unknown kind.
    pub fn other(path: impl AsRef<Path>, reason: impl ToString) -> Self {
        Skipped { is_usual: false, ..Skipped::new(path, reason) }
    }
}
