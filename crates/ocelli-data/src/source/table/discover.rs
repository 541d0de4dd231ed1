//! The table of labels that lies in a folder of photos.

use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use super::names;
use super::sheet::{Sheet, is_image_ending};
use crate::DataError;
use crate::names::{ending, file_name, stem_of};
use crate::source::role::{self, Role};
use crate::source::{listing, masks};

/// Whether the name of a table, without its ending, says that it has the labels.
pub(crate) fn names_labels(stem: &str) -> bool {
    names::table_rank(stem).is_some()
}

/// Whether a file is a table, by its ending.
pub fn is_table(path: impl AsRef<Path>) -> bool {
    matches!(
        ending(path.as_ref()).as_str(),
        "csv" | "tsv" | "tab" | "txt" | "jsonl" | "ndjson" | "jsonlines" | "json"
    )
}

/// What tables lie directly in a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tables {
    /// Those that may be the labels, by how plainly their names say so.
    pub(super) labels: Vec<PathBuf>,
    /// Those whose names say it less plainly.
    pub(super) others: Vec<PathBuf>,
    /// Those that are each of a side of the split, that for training first: `train.csv` and `valid.csv`, or
    /// tables in the folders `train` and `valid`.
    pub(super) sides: Vec<(Role, PathBuf)>,
    /// Folders of the split that hold images, but no table, where others hold one.
    pub(super) without: Vec<(Role, PathBuf)>,
}

impl Tables {
    /// Looks for the tables in a folder, or, where it has none, in its folders of a split; those whose names
    /// say that they hold something else are left out.
    pub fn of(folder: &Path) -> Self {
        Self::without(folder, None)
    }

    /// The same, as if one of them were not there.
    pub(super) fn without(folder: &Path, left_out: Option<&Path>) -> Self {
        let mut tables = Self::directly_in(folder, left_out);
        if tables.is_empty() {
            return Self::in_folders_of_split(folder);
        }
        let paths: Vec<PathBuf> =
            files(folder).filter(|path| is_table(path) && Some(path.as_path()) != left_out).collect();
        let sides = with_roles(paths, |path| stem_of(path));
        // A table whose name says it more plainly has the labels of all.
        let train = sides.first().filter(|(role, _)| *role == Role::Train).map(|(_, path)| path.clone());
        // Tables that say it equally plainly may be those of the sides: `label_train.csv` and `label_val.csv`.
        let is_side = |path: &PathBuf| sides.iter().any(|(_, side)| side == path);
        if let Some(train) = train.filter(|train| tables.labels.contains(train))
            && tables.labels.iter().all(is_side)
            && sides.len() > 1
        {
            tables.labels = vec![train];
            tables.others.retain(|other| !sides.iter().any(|(_, path)| path == other));
            tables.sides = sides;
        } else {
            // Texts with such names are lists of a split rather than tables of labels.
            let unread = sides.into_iter().map(|(_, path)| path).filter(|path| !is_text(path));
            tables.others.extend(unread.filter(|path| !tables.labels.contains(path)));
            tables.others.sort();
            tables.others.dedup();
        }
        tables
    }

    /// Texts that are each of a side of the split, as many published data sets have: `train.txt` and `test.txt`. They
    /// are tables of labels only where they are said to be: in a folder of photos such texts list the split.
    pub(super) fn texts_in(folder: &Path) -> Self {
        let texts: Vec<PathBuf> = files(folder).filter(|path| is_text(path)).collect();
        let sides = with_roles(texts, |path| stem_of(path));
        let has_one_of_each = sides.windows(2).all(|pair| pair[0].0 != pair[1].0);
        match &sides[..] {
            [(Role::Train, train), _, ..] if has_one_of_each => {
                Self { labels: vec![train.clone()], sides, ..Self::default() }
            }
            _ => Self::default(),
        }
    }

    /// The one table in a folder that is called as one of images to measure on, and has labels: `test.csv`.
    pub(super) fn to_measure_on(folder: &Path) -> Self {
        let is_one = |path: &PathBuf| {
            let stem = stem_of(path);
            let is_side =
                role::named_role(&stem).is_some_and(|named| named.sure && named.role != Role::Train);
            is_side && is_table(path) && !is_text(path) && has_labels(path)
        };
        let mut found = files(folder).filter(is_one);
        let labels = found.next().filter(|_| found.next().is_none());
        Self { labels: labels.into_iter().collect(), ..Self::default() }
    }

    fn in_folders_of_split(folder: &Path) -> Self {
        let folders: Vec<PathBuf> = folders(folder).collect();
        let of_split = with_roles(folders.clone(), |path| file_name(path));
        let mut tables = Self::default();
        for (role, folder) in &of_split {
            let mut inside = Self::directly_in(folder, None);
            if inside.labels.is_empty() {
                // There a table may have the name of its side.
                let is_own = |path: &PathBuf| {
                    let stem = stem_of(path);
                    let named = role::named_role(&stem).is_some_and(|named| named.role == *role);
                    named && is_table(path) && path.extension().is_some_and(|ending| ending != "txt")
                };
                inside.labels = files(folder).filter(is_own).collect();
            }
            match inside.labels.is_empty() {
                false => {
                    tables.sides.extend(inside.labels.iter().map(|table| (*role, table.clone())));
                    tables.others.extend(inside.others);
                    if *role == Role::Train {
                        tables.labels.extend(inside.labels);
                    }
                }
                true if holds_images(folder, 2) => tables.without.push((*role, folder.clone())),
                true => {}
            }
        }
        if tables.labels.is_empty() {
            // A folder for training alone.
            let is_train =
                |path: &&PathBuf| is_container(path) && file_name(path).to_lowercase().starts_with("train");
            let found = folders.iter().filter(is_train).map(|train| Self::directly_in(train, None));
            return found.into_iter().find(|tables| !tables.is_empty()).unwrap_or_default();
        }
        if tables.sides.len() < 2 {
            tables.sides.clear();
        }
        tables
    }

    fn directly_in(folder: &Path, left_out: Option<&Path>) -> Self {
        let mut ranked: Vec<(usize, PathBuf)> = Vec::new();
        for path in files(folder).filter(|path| is_table(path) && Some(path.as_path()) != left_out) {
            let stem = stem_of(&path);
            // Files of JSON and text hold all sorts of things.
            let is_json = ending(&path) == "json";
            if ending(&path) == "txt" {
                continue;
            }
            match names::table_rank(&stem) {
                Some(rank) => ranked.push((rank, path)),
                None if names::is_other_table(&stem) || is_json => {}
                None => ranked.push((usize::MAX, path)),
            }
        }
        // The same once more in another format: the first of these is read.
        const FORMATS: [&str; 7] = ["csv", "tsv", "tab", "jsonl", "ndjson", "jsonlines", "json"];
        let format = |path: &Path| FORMATS.iter().position(|format| *format == ending(path));
        let all: Vec<PathBuf> = ranked.iter().map(|(_, path)| path.clone()).collect();
        for (rank, path) in &mut ranked {
            let is_same = |other: &&PathBuf| other.with_extension("") == path.with_extension("");
            if all.iter().filter(is_same).any(|other| format(other) < format(path)) {
                *rank = usize::MAX;
            }
        }
        ranked.sort();
        // A name that says it plainly leaves those that do not say it out of question.
        let least = ranked.first().map(|(rank, _)| *rank);
        let (labels, others): (Vec<_>, Vec<_>) =
            ranked.into_iter().partition(|(rank, _)| Some(*rank) == least);
        let paths = |ranked: Vec<(usize, PathBuf)>| ranked.into_iter().map(|(_, path)| path).collect();
        Self { labels: paths(labels), others: paths(others), ..Self::default() }
    }

    /// The notices about tables that were not chosen.
    pub(super) fn others(&self) -> String {
        match &self.others[..] {
            [] => String::new(),
            others => format!(", by its name, and not those of {}", some(others)),
        }
    }

    /// The notice about folders of the split that have no table.
    pub(super) fn without_table(&self) -> Option<String> {
        let named: Vec<PathBuf> = self.without.iter().map(|(_, folder)| folder.clone()).collect();
        let unmeasured = self.without.iter().any(|(role, _)| *role == Role::Valid);
        let warning = if unmeasured { "warning: " } else { "" };
        (!named.is_empty()).then(|| {
            format!(
                "{warning}photos are left out, since they have no table as those for training have: {}",
                some(&named)
            )
        })
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The one table.
    ///
    /// # Errors
    /// Where there is none, or several could be meant.
    pub fn one(&self, folder: &Path) -> Result<PathBuf, DataError> {
        match &self.labels[..] {
            [table] => Ok(table.clone()),
            [] => Err(super::table_error(
                folder,
                None,
                "holds no table of labels",
                "give the table (`from_csv`)",
            )),
            several => Err(super::table_error(
                folder,
                None,
                format!("holds several tables that may be the labels: {}", some(several)),
                "say which (`from_csv`), or, where each has a part of the rows, put them into one",
            )),
        }
    }

    /// The notices about tables that are not read.
    pub fn mention(&self, folder: &Path) -> Option<String> {
        let name = some(&self.labels);
        // A table for each of the folders may say what is in it.
        let of_folder = |table: &PathBuf| folder.join(table.file_stem().unwrap_or_default()).is_dir();
        let warning =
            if self.labels.len() > 1 && self.labels.iter().all(of_folder) { "warning: " } else { "" };
        (!self.labels.is_empty()).then(|| {
            format!(
                "{warning}{name} in {} is not read: the class folders beside it are the classes (to read it: `from_csv`)",
                folder.display()
            )
        })
    }
}

/// Whether a table has one column that is called as labels are, or a column of files and one of 0 and 1 for each of several
/// classes.
fn has_labels(path: &Path) -> bool {
    Sheet::read_beginning(path).is_ok_and(|sheet| {
        let header = sheet.possible_header().unwrap_or_default();
        header.iter().filter(|name| names::is_label(name)).count() == 1 || has_flags(&sheet)
    })
}

fn has_flags(sheet: &Sheet) -> bool {
    let [header, rows @ ..] = &sheet.rows[..] else { return false };
    let is_flag = |column: &usize| {
        let mut cells = rows.iter().map(|row| row.cell(*column));
        !rows.is_empty() && cells.all(|cell| matches!(cell, "0" | "1" | "0.0" | "1.0"))
    };
    header.cells.iter().any(|name| names::file_rank(name).is_some())
        && (0..sheet.width()).filter(is_flag).count() > 1
}

fn is_text(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("txt"))
}

/// Those of these paths whose names have a role beside the others', by role.
fn with_roles(paths: Vec<PathBuf>, name: impl Fn(&PathBuf) -> String) -> Vec<(Role, PathBuf)> {
    let names: Vec<String> = paths.iter().map(name).collect();
    let roles = role::roles(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let mut with: Vec<(Role, PathBuf)> =
        roles.into_iter().zip(paths).filter_map(|(role, path)| Some((role?, path))).collect();
    with.sort();
    with
}

/// The folder in this one that has the name of a side of the split, and holds images.
pub(super) fn folder_of_side(folder: &Path, side: Role) -> Option<PathBuf> {
    let of_split = with_roles(folders(folder).collect(), |path| file_name(path));
    let mut of_side = of_split.into_iter().filter(|(role, path)| *role == side && holds_images(path, 2));
    of_side.next().map(|(_, path)| path).filter(|_| of_side.next().is_none())
}

pub(super) fn some(paths: &[PathBuf]) -> String {
    let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut text = paths.iter().take(4).map(name).collect::<Vec<_>>().join(", ");
    if paths.len() > 4 {
        text += &format!(" and {} more", paths.len() - 4);
    }
    text
}

/// Endings of tables in forms that are not read.
const FOREIGN: [&str; 8] = ["xlsx", "xls", "xlsm", "ods", "parquet", "feather", "arrow", "sqlite"];
const SAVE_AS_CSV: &str = "if it holds the labels, save it as a CSV file and give that (`from_csv`)";

/// The notice that tables beside class folders are of a form that is not read.
pub(super) fn foreign_tables(root: &Path) -> Option<String> {
    let is_one = |path: &PathBuf| {
        let stem = stem_of(path);
        FOREIGN.contains(&ending(path).as_str()) && !names::is_other_table(&stem)
    };
    let found: Vec<PathBuf> = files(root).filter(is_one).collect();
    (!found.is_empty()).then(|| {
        format!(
            "{} in {} is not read: the class folders beside it are the classes; {SAVE_AS_CSV}",
            some(&found),
            root.display()
        )
    })
}

/// Files in a folder, or in folders in it, that may be a table of its labels, which is not found there or not
/// read in this form; with what to do.
pub(crate) fn unread(folder: &Path) -> Option<(String, &'static str)> {
    const NO_LABELS: [&str; 6] = ["readme", "license", "licence", "requirements", "notes", "citation"];
    let may_be = |path: &PathBuf| {
        let stem = stem_of(path).to_lowercase();
        (is_table(path) || FOREIGN.contains(&ending(path).as_str()))
            && !NO_LABELS.iter().any(|other| stem.starts_with(other))
            && !stem.contains("submission")
    };
    let mut found: Vec<PathBuf> = files(folder).filter(may_be).collect();
    found.extend(folders(folder).flat_map(|inner| files(&inner).filter(may_be).collect::<Vec<_>>()));
    let first = found.first()?;
    let advice = match FOREIGN.contains(&ending(first).as_str()) {
        true => SAVE_AS_CSV,
        false if found.len() > 1 => "if one of them holds the labels, give it (`from_csv`)",
        false => "if it holds the labels, give it (`from_csv`)",
    };
    let names = found.iter().take(4).map(|path| crate::source::id_of(folder, path));
    Some((names.collect::<Vec<_>>().join(", "), advice))
}

/// Whether the photos of a folder with tables lie in it without folders for their classes, so that a table
/// must say them: directly in it, or in folders whose names say that they hold photos of a side of the split,
/// or just photos.
pub fn says_the_classes(folder: &Path) -> bool {
    let class_folders = |folder: &Path| {
        let beside_photos = || folders(folder).any(|path| is_container(&path));
        let holds = |path: &PathBuf| {
            let is_of_masks = || masks::is_named(path) && beside_photos();
            !is_container(path) && holds_images(path, 2) && !is_of_masks()
        };
        folders(folder).filter(holds).count()
    };
    let directly = holds_images(folder, 0);
    let containers: Vec<PathBuf> = folders(folder).filter(|path| is_container(path)).collect();
    let in_containers = containers.iter().any(|path| holds_images(path, 2));
    class_folders(folder) == 0
        && (directly || in_containers)
        && containers.iter().all(|container| class_folders(container) < 2)
}

/// Whether a folder's name is no class's name: `train`, `test_images`, `img2`, `train-jpg`.
fn is_container(path: &Path) -> bool {
    const WORDS: [&str; 29] = [
        "train",
        "training",
        "trainset",
        "test",
        "testing",
        "testset",
        "valid",
        "val",
        "validation",
        "dev",
        "image",
        "images",
        "imgs",
        "img",
        "photo",
        "photos",
        "picture",
        "pictures",
        "pics",
        "jpg",
        "jpeg",
        "jpegs",
        "png",
        "data",
        "dataset",
        "media",
        "set",
        "files",
        "all",
    ];
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let mut words = name.split(|c: char| !c.is_alphabetic()).filter(|word| !word.is_empty()).peekable();
    words.peek().is_some() && words.all(|word| WORDS.contains(&word))
}

pub(super) fn files(folder: &Path) -> impl Iterator<Item = PathBuf> {
    entries(folder).filter(|path| path.is_file())
}

pub(super) fn folders(folder: &Path) -> impl Iterator<Item = PathBuf> {
    entries(folder).filter(|path| path.is_dir())
}

/// What lies directly in a folder, but for what is no photo of anybody's, sorted.
fn entries(folder: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    let walk = WalkDir::new(folder).min_depth(1).max_depth(1).follow_links(true).sort_by_file_name();
    let entries = walk.into_iter().flatten().filter(|entry| listing::refused(entry).is_none());
    entries.map(|entry| entry.into_path())
}

/// Whether a folder's name says that it holds a data set, and nothing of what is in it.
fn is_wrapper(path: &Path) -> bool {
    ["data", "dataset", "data_set", "files"].contains(&file_name(path).to_lowercase().as_str())
}

/// The most folders that are each all that another holds.
const WRAPPERS: usize = 8;

/// The folder that is all that a folder holds, and so on, as archives are unpacked: nothing but one folder of folders,
/// and possibly texts.
pub(super) fn unwrapped(folder: &Path) -> PathBuf {
    let mut at = folder.to_owned();
    for _ in 0..WRAPPERS {
        let has_tables =
            files(&at).any(|path| is_table(&path) && !matches!(&ending(&path)[..], "txt" | "json"));
        let inside: Vec<PathBuf> = folders(&at).collect();
        match &inside[..] {
            [only]
                if !has_tables
                    && !holds_images(&at, 0)
                    && !holds_images(only, 0)
                    && (!is_container(only) || is_wrapper(only)) =>
            {
                at = only.clone();
            }
            _ => break,
        }
    }
    at
}

/// Whether a file with an image's ending lies in a folder, or so many levels below it.
pub(super) fn holds_images(folder: &Path, levels: usize) -> bool {
    let is_image = |path: PathBuf| {
        path.extension().is_some_and(|ending| is_image_ending(&ending.to_string_lossy().to_lowercase()))
    };
    files(folder).any(is_image)
        || levels > 0 && folders(folder).any(|folder| holds_images(&folder, levels - 1))
}
