//! Published lists of the images on each side of the split, which lie beside the photos of many data sets.
//!
//! | files | content |
//! |---|---|
//! | `train.txt`, `TestImages.txt`, `val_list.csv` | a row for each image, with its name in some column |
//! | `images.txt` and `train_test_split.txt` | number and name, and number and 1 for training, as CUB-200 has |
//! | `list_eval_partition.csv` | name and 0, 1 or 2 for training, validation or testing, as CelebA has |
//! | `splits.csv` | name and train, valid or test |
//!
//! Lists that name each image of the data set once give its split; without lists, so do the images' own names
//! where each begins with its side, `train_00001.jpg`. Others are mentioned, and used where they
//! are asked for: [`read_split`].

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};

use super::discover::{files, folders, is_table};
use super::sheet::{Row, Sheet};
use super::sides::{SplitColumns, flag};
use super::{Finder, ImpliedSplit, Labelled, Match, SplitBy, names, table_error};
use crate::files::folder_of;
use crate::names::{ending, stem_of};
use crate::source::role::{self, Role};
use crate::source::{UNUSED, id_of};
use crate::text::count;
use crate::{DataError, Items, Split};

/// So many folders deep lists are looked for.
const DEEPEST: usize = 3;
/// So many rows tell which column of a list has the names.
const SOME_ROWS: usize = 500;

/// Lists that belong together, and the sides of the images that they name.
struct Lists {
    files: Vec<PathBuf>,
    sides: BTreeMap<usize, Role>,
    /// An image that is named on two sides.
    twice: Option<usize>,
    /// Two lists for the same side.
    rivals: Option<(PathBuf, PathBuf)>,
}

impl Lists {
    fn roles(&self) -> BTreeSet<Role> {
        self.sides.values().copied().collect()
    }

    /// Whether it is a split of all images, that cannot be meant otherwise.
    fn is_whole(&self, items: &Items) -> bool {
        let roles = self.roles();
        self.twice.is_none()
            && self.rivals.is_none()
            && self.sides.len() == items.len()
            && roles.contains(&Role::Train)
            && roles.len() > 1
    }

    fn split(&self) -> Split {
        let side =
            |side| self.sides.iter().filter(|(_, role)| **role == side).map(|(item, _)| *item).collect();
        Split { train: side(Role::Train), valid: side(Role::Valid), test: side(Role::Test) }
    }

    /// Their names, for people.
    fn names(&self, root: &Path) -> String {
        let mut names: Vec<String> = self.files.iter().map(|file| id_of(root, file)).collect();
        let last = names.pop().unwrap_or_default();
        if names.is_empty() { last } else { format!("{} and {last}", names.join(", ")) }
    }
}

/// Takes the split of the lists below a folder for data that has none of its own; says so, or why it is not
/// taken. Gives the lists. `table`: that of the labels, which is read.
pub(super) fn apply(root: &Path, table: Option<&Path>, labelled: &mut Labelled) -> Vec<PathBuf> {
    let data = &mut labelled.dataset;
    if data.split.is_some() || data.items.is_empty() {
        return Vec::new();
    }
    let found = find(root, &data.items);
    let whole: Vec<&Lists> = found.iter().filter(|lists| lists.is_whole(&data.items)).collect();
    let Some(first) = whole.first().or(found.first().as_ref()).copied() else {
        by_names(labelled);
        if labelled.dataset.split.is_none() {
            labelled.dataset.notices.extend(unread(root, table));
        }
        return Vec::new();
    };
    let names = first.names(root);
    let use_it = format!("`ValidSplit::File` {}", first.files[0].display());
    if whole.iter().any(|lists| lists.sides != first.sides) {
        let notice = format!(
            "{} published splits lie beside the photos, and none is used; to use the first, {names}: {use_it}",
            count(whole.len())
        );
        data.notices.push(notice.clone());
        labelled.unused_split = Some(notice);
        return Vec::new();
    }
    // The table of the images that are measured on is no split of them.
    if first.sides.len() == data.items.len() && first.roles().len() == 1 {
        return Vec::new();
    }
    if whole.is_empty() {
        let warning = if first.twice.is_some() || first.rivals.is_some() { "warning: " } else { "" };
        let notice = format!("{warning}{names} {}", why_not(first, root, &data.items, &use_it));
        data.notices.push(notice.clone());
        labelled.unused_split = Some(notice);
        return Vec::new();
    }
    let said = format!("the split is that of the lists {names}");
    follow(labelled, first.split(), SplitBy::Lists, names, said);
    first.files.clone()
}

/// Takes the split that a table beside class folders says in one of its columns; says so, or that it is not taken. Gives the
/// table.
pub(super) fn apply_tables(root: &Path, tables: &[PathBuf], labelled: &mut Labelled) -> Option<PathBuf> {
    let items = &labelled.dataset.items;
    let says_sides = |table: &&PathBuf| {
        let roles = |sheet: &Sheet, column: usize| -> BTreeSet<Role> {
            sheet.rows.iter().filter_map(|row| role::said_role(row.cell(column))).collect()
        };
        Sheet::read_beginning(table).is_ok_and(|sheet| {
            let asks = |name: &String| names::asked_role(name).is_some_and(|asked| asked.sure);
            sheet.possible_header().is_some_and(|header| header.iter().any(asks))
                || (0..sheet.width()).any(|column| roles(&sheet, column).len() > 1)
        })
    };
    let mut said = tables.iter().filter(says_sides).peekable();
    said.peek()?;
    let finder = finder_of(root, items);
    let index: HashMap<&Path, usize> =
        items.items.iter().enumerate().map(|(index, item)| (item.path.as_path(), index)).collect();
    let most = |lists: &Lists| 2 * lists.sides.len() >= items.len() && lists.roles().len() > 1;
    let lists = said.find_map(|table| by_partition(table, &finder, &index).filter(most))?;
    let names = lists.names(root);
    if !lists.is_whole(items) {
        let use_it = format!("`ValidSplit::File` {}", lists.files[0].display());
        let notice = format!("warning: {names} {}", why_not(&lists, root, items, &use_it));
        labelled.dataset.notices.push(notice.clone());
        labelled.unused_split = Some(notice);
        return None;
    }
    let said = format!("the split is that of {names}");
    follow(labelled, lists.split(), SplitBy::Lists, names, said);
    lists.files.into_iter().next()
}

/// A warning of files that are called as lists of a split, in forms that are not read.
fn unread(root: &Path, table: Option<&Path>) -> Option<String> {
    let is_one = |path: &PathBuf| {
        let stem = stem(path);
        matches!(ending(path).as_str(), "json" | "lst" | "npy" | "npz" | "pkl" | "mat" | "yaml" | "yml")
            && (stem.contains("split") || side(&stem).is_some())
    };
    let is_table = |path: &&PathBuf| table.is_some_and(|table| table.file_name() == path.file_name());
    let found: Vec<PathBuf> = files(root).filter(is_one).collect();
    let first = found.iter().find(|path| !is_table(path))?;
    Some(format!(
        "warning: {} is called as a list of the split, and is not read: lists are read as text or CSV, a row for each photo \
         (`ValidSplit::File`)",
        id_of(root, first)
    ))
}

/// What lists say that are not used, and how they are.
fn why_not(lists: &Lists, root: &Path, items: &Items, use_it: &str) -> String {
    let [name, are, them] =
        if lists.files.len() == 1 { ["names", "is", "it"] } else { ["name", "are", "them"] };
    let not_used = format!("and {are} not used as the split");
    if let Some(item) = lists.twice {
        return format!("{name} {} for two sides of the split, {not_used}", items[item].id);
    }
    if let Some((one, other)) = &lists.rivals {
        return format!(
            "have two lists for one side ({}, {}), {not_used}",
            id_of(root, one),
            id_of(root, other)
        );
    }
    let (named, all) = (count(lists.sides.len()), count(items.len()));
    let (none, others) = match lists.roles().contains(&Role::Train) {
        true => ("", "leave out"),
        false => (", none of them to train on", "train on"),
    };
    format!(
        "{name} {named} of {all} photos{none}, {not_used}; to use {them}, and {others} the other photos: {use_it}"
    )
}

/// Takes the split that the first words of all images' names say: `train_00001.jpg`, `test_00001.jpg`.
fn by_names(labelled: &mut Labelled) {
    let items = &labelled.dataset.items.items;
    let mut lists = Lists { files: Vec::new(), sides: BTreeMap::new(), twice: None, rivals: None };
    for (index, item) in items.iter().enumerate() {
        let name = item.id.rsplit('/').next().unwrap_or_default();
        let word: String = name.chars().take_while(|letter| letter.is_alphabetic()).collect();
        let Some(named) = role::named_role(&word).filter(|named| named.sure) else { return };
        lists.sides.insert(index, named.role);
    }
    if lists.is_whole(&labelled.dataset.items) {
        let said = "the split is that of the first words of the images' names".to_owned();
        follow(labelled, lists.split(), SplitBy::Names, "their names".to_owned(), said);
    }
}

/// Takes a split, and says so.
fn follow(labelled: &mut Labelled, split: Split, by: SplitBy, files: String, said: String) {
    let data = &mut labelled.dataset;
    let mut parts = vec![format!("{} photos to train on", count(split.train.len()))];
    for (part, what) in [(&split.valid, "for validation"), (&split.test, "for testing")] {
        parts.extend((!part.is_empty()).then(|| format!("{} {what}", count(part.len()))));
    }
    let said = format!("{said}: {}", parts.join(", "));
    data.notices.push(said.clone());
    if !split.test.is_empty() {
        let test = count(split.test.len());
        data.notices.push(format!("test images are {UNUSED}: {test}"));
    }
    data.split = Some(split);
    labelled.implied_split = Some(ImpliedSplit { by, files, notices: vec![said] });
}

/// The split of published lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedSplit {
    /// The images on each side.
    pub split: Split,
    /// The lists, for people.
    pub files: String,
}

/// The split that a list says, and those that lie beside it and belong to it; `None` if the file is one that
/// [`Split::write`] has written. Without a list of training images these are all that no list names; else images
/// that no list names are in no part of the split.
///
/// # Errors
/// Where the file cannot be read, names no images, or contradicts the others.
pub fn read_split(path: &Path, items: &Items) -> Result<Option<ListedSplit>, DataError> {
    if !is_table(path) || is_written(path, items)? {
        return Ok(None);
    }
    let wrong = |detail: String| {
        let advice = "give the split.csv of a run, or a list of images called as its side of the split: train.txt, val.txt";
        Err(table_error(path, None, detail, advice))
    };
    let finder = finder_of(&items.root, items);
    let beside: Vec<PathBuf> = files(folder_of(path)).filter(|file| is_table(file)).collect();
    let of_path = |lists: &Lists| lists.files.iter().any(|file| file.file_name() == path.file_name());
    let mut groups = groups(&beside, items, &finder, 1).into_iter();
    let index: HashMap<&Path, usize> =
        items.items.iter().enumerate().map(|(index, item)| (item.path.as_path(), index)).collect();
    let lists = groups.find(of_path).or_else(|| by_partition(path, &finder, &index));
    let Some(lists) = lists.filter(|lists| !lists.sides.is_empty()) else {
        let detail = "names no images of the data set; or neither its name says a side of the split, nor a word in each row";
        return wrong(detail.to_owned());
    };
    if let Some(item) = lists.twice {
        let id = &items[item].id;
        return wrong(format!(
            "and {} beside it name {id} for two sides of the split",
            lists.names(folder_of(path))
        ));
    }
    if let Some((one, other)) = &lists.rivals {
        let [one, other] = [one, other].map(|file| crate::names::file_name(file));
        return wrong(format!("is not clear: {one} and {other} are lists for the same side"));
    }
    let mut split = lists.split();
    if split.train.is_empty() {
        split.train = (0..items.len()).filter(|item| !lists.sides.contains_key(item)).collect();
    }
    if split.train.is_empty() {
        return wrong("leaves no images to train on".to_owned());
    }
    let root = if path.starts_with(&items.root) { &items.root } else { folder_of(path) };
    Ok(Some(ListedSplit { split, files: lists.names(root) }))
}

/// Whether a file is one that [`Split::write`] has written: people's own may have the same columns, with other names of
/// the images.
fn is_written(path: &Path, items: &Items) -> Result<bool, DataError> {
    let text = std::fs::read(path).map_err(DataError::io("read", path))?;
    if text.split(|byte| matches!(byte, b'\r' | b'\n')).next() != Some(b"id,split") {
        return Ok(false);
    }
    let finder = finder_of(&items.root, items);
    let names_images = |sheet: Sheet| finder.hits(sheet.rows.iter().map(|row| row.cell(0)), None) > 0;
    let ids: HashSet<&str> = items.items.iter().map(|item| item.id.as_str()).collect();
    let has_ids = |sheet: &Sheet| sheet.rows.iter().any(|row| ids.contains(row.cell(0)));
    Ok(Sheet::read(path).map_or(true, |sheet| has_ids(&sheet) || !names_images(sheet)))
}

fn finder_of(root: &Path, items: &Items) -> Finder {
    Finder::of(root, items.items.iter().map(|item| item.path.clone()))
}

/// The lists below a folder, those that belong together.
fn find(root: &Path, items: &Items) -> Vec<Lists> {
    // A folder of many photos is not listed again.
    let with_photos: HashSet<&Path> = items.items.iter().filter_map(|item| item.path.parent()).collect();
    let mut by_folder = vec![(0, root.to_owned())];
    let (mut at, mut finder, mut found) = (0, None, Vec::new());
    while let Some((depth, folder)) = by_folder.get(at).cloned() {
        at += 1;
        let tables: Vec<PathBuf> = files(&folder).filter(|file| is_table(file) && is_list(file)).collect();
        if !tables.is_empty() {
            let finder = finder.get_or_insert_with(|| finder_of(root, items));
            found.extend(groups(&tables, items, finder, 2));
        }
        if depth < DEEPEST {
            let inner = folders(&folder).filter(|inner| !with_photos.contains(inner.as_path()));
            by_folder.extend(inner.map(|inner| (depth + 1, inner)));
        }
    }
    found
}

fn stem(path: &Path) -> String {
    stem_of(path).to_lowercase()
}

/// Whether a file's name is that of a list.
fn is_list(path: &Path) -> bool {
    let stem = stem(path);
    is_partition(&stem) || is_numbers(&stem) || side(&stem).is_some()
}

fn is_partition(stem: &str) -> bool {
    has_numbers(stem) || stem.contains("split") && side(stem).is_none()
}

/// Whether 0, 1 and 2 in a table of this name stand for training, validation and testing.
fn has_numbers(stem: &str) -> bool {
    // `patition`, as RAF-DB has it.
    stem.contains("partition") || stem.contains("patition")
}

fn is_numbers(stem: &str) -> bool {
    matches!(stem, "train_test_split" | "traintestsplit")
}

/// The side that a list's name says, and whether it is that of training and validation together.
fn side(stem: &str) -> Option<(Role, bool)> {
    // A list is surely none of people or things that are called so.
    let is_list =
        |word: &str| ["holdout", "heldout", "held_out", "hold_out"].iter().any(|list| word.contains(list));
    let words = stem.replace("list", "").replace("held_out", "heldout").replace("hold_out", "holdout");
    let named = role::named_role(&words).filter(|named| named.sure || is_list(stem))?;
    let both = named.role == Role::Train && stem.replacen("train", "", 1).contains("val");
    Some((named.role, both))
}

/// What a list's name says besides its side: what lists that belong together have in common.
fn rest(stem: &str) -> String {
    const SIDES: [&str; 9] =
        ["training", "train", "validation", "validate", "valid", "val", "testing", "test", "dev"];
    let rest = SIDES.iter().fold(stem.to_owned(), |stem, side| stem.replacen(side, "", 1));
    rest.chars().filter(|letter| letter.is_alphanumeric()).collect()
}

/// A list that names images.
struct List {
    file: PathBuf,
    role: Role,
    both: bool,
    items: BTreeSet<usize>,
}

/// The lists among these files in one folder that name images of at least so many sides.
fn groups(tables: &[PathBuf], items: &Items, finder: &Finder, sides: usize) -> Vec<Lists> {
    let index: HashMap<&Path, usize> =
        items.items.iter().enumerate().map(|(index, item)| (item.path.as_path(), index)).collect();
    let mut groups: Vec<Lists> = Vec::new();
    let mut lists: Vec<List> = Vec::new();
    for file in tables {
        let stem = stem(file);
        if is_numbers(&stem) {
            let numbers = by_numbers(file, tables, finder, &index);
            groups.extend(numbers.or_else(|| by_partition(file, finder, &index)));
        } else if is_partition(&stem) {
            groups.extend(by_partition(file, finder, &index));
        } else if let Some((role, both)) = side(&stem) {
            let items: BTreeSet<usize> = names(file, finder)
                .map(|names| found(&names, file, finder, &index).into_iter().flatten().collect())
                .unwrap_or_default();
            if !items.is_empty() {
                lists.push(List { file: file.clone(), role, both, items });
            }
        }
    }
    let refs: Vec<&List> = lists.iter().collect();
    let together = without_joined(&refs);
    let roles: BTreeSet<Role> = together.iter().map(|list| list.role).collect();
    if roles.len() == together.len() {
        groups.push(joined(&together));
    } else {
        let mut by_rest: BTreeMap<String, Vec<&List>> = BTreeMap::new();
        refs.iter().for_each(|list| by_rest.entry(rest(&stem(&list.file))).or_default().push(list));
        groups.extend(by_rest.values().map(|lists| joined(&without_joined(lists))));
    }
    groups.retain(|lists| {
        let roles = lists.roles();
        // A table of all images that is called `train` says nothing of a split.
        let is_part = lists.sides.len() < items.len();
        !roles.is_empty() && (roles.len() >= sides || !roles.contains(&Role::Train) || is_part)
    });
    groups
}

/// Lists without `trainval` where `train` and `val` lie beside it.
fn without_joined<'a>(lists: &[&'a List]) -> Vec<&'a List> {
    let has = |role: Role| lists.iter().any(|list| list.role == role && !list.both);
    let apart = has(Role::Train) && has(Role::Valid);
    let mut lists: Vec<&List> = lists.iter().copied().filter(|list| !(apart && list.both)).collect();
    lists.sort_by(|a, b| (a.role, &a.file).cmp(&(b.role, &b.file)));
    lists
}

/// One split of several lists.
fn joined(lists: &[&List]) -> Lists {
    let mut joined = Lists { files: Vec::new(), sides: BTreeMap::new(), twice: None, rivals: None };
    for list in lists {
        let rival = lists.iter().find(|other| other.role == list.role && other.file < list.file);
        joined.rivals = joined.rivals.or_else(|| rival.map(|rival| (rival.file.clone(), list.file.clone())));
        joined.files.push(list.file.clone());
        for &item in &list.items {
            if joined.sides.insert(item, list.role).is_some_and(|other| other != list.role) {
                joined.twice.get_or_insert(item);
            }
        }
    }
    joined
}

/// The rows of a list, as columns: as they are, cut at spaces, and whole.
fn readings(path: &Path) -> Vec<Sheet> {
    let Ok(sheet) = Sheet::read(path) else { return Vec::new() };
    let cut = sheet.cut_at_spaces();
    let whole = (sheet.delimiter == ' ').then(|| {
        let mut whole = sheet.clone();
        whole.rows.iter_mut().for_each(|row| row.cells = vec![row.cells.join(" ")]);
        whole
    });
    [Some(sheet), cut, whole].into_iter().flatten().collect()
}

/// The sheet and the column of a list that name most files.
fn column(path: &Path, finder: &Finder) -> Option<(Sheet, usize)> {
    let mut best: Option<(usize, Sheet, usize)> = None;
    for sheet in readings(path) {
        let step = sheet.rows.len().div_ceil(SOME_ROWS).max(1);
        let sampled = sheet.rows.len().div_ceil(step);
        for column in 0..sheet.width() {
            let hits = finder.hits(sheet.rows.iter().step_by(step).map(|row| row.cell(column)), None);
            // Some photos may not be here.
            let names = hits > 0 && 10 * hits >= sampled.saturating_sub(1);
            if names && best.as_ref().is_none_or(|(most, ..)| hits > *most) {
                best = Some((hits, sheet.clone(), column));
            }
        }
    }
    best.map(|(_, sheet, column)| (sheet, column))
}

fn names(path: &Path, finder: &Finder) -> Option<Vec<String>> {
    let (sheet, column) = column(path, finder)?;
    Some(sheet.rows.iter().map(|row| row.cell(column).to_owned()).collect())
}

/// The item of each name.
fn found(
    names: &[String],
    path: &Path,
    finder: &Finder,
    index: &HashMap<&Path, usize>,
) -> Vec<Option<usize>> {
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let matches = finder.resolve(&names, None, &[folder_of(path).to_owned()]);
    // `valid/1.jpg` is not `train/1.jpg`, where the photos of one side are all that is read.
    let of_other_side =
        |dropped: &str| dropped.rsplit('/').next().is_some_and(|folder| role::named_role(folder).is_some());
    let item = |found: Match| match found {
        Match::Found(found) if !of_other_side(&found.dropped) => index.get(found.path.as_path()).copied(),
        _ => None,
    };
    matches.into_iter().map(item).collect()
}

/// `1 001.Albatross/1.jpg` in `images.txt`, and `1 0` in `train_test_split.txt`.
fn by_numbers(
    split: &Path,
    tables: &[PathBuf],
    finder: &Finder,
    index: &HashMap<&Path, usize>,
) -> Option<Lists> {
    let images = tables.iter().find(|file| stem(file) == "images").cloned().or_else(|| {
        let beside = split.with_file_name("images.txt");
        beside.is_file().then_some(beside)
    })?;
    let pairs = |path: &Path| -> Option<Vec<(String, String)>> {
        let of = |sheet: Sheet| -> Option<Vec<(String, String)>> {
            let pair = |row: &Row| Some((row.cell(0).to_owned(), row.cells.get(1)?.clone()));
            sheet.rows.iter().map(pair).collect()
        };
        readings(path).into_iter().find_map(of)
    };
    let names: HashMap<String, String> = pairs(&images)?.into_iter().collect();
    let sides = pairs(split)?;
    let named: Vec<String> =
        sides.iter().map(|(number, _)| names.get(number).cloned().unwrap_or_default()).collect();
    let mut lists = Lists {
        files: vec![split.to_owned(), images.clone()],
        sides: BTreeMap::new(),
        twice: None,
        rivals: None,
    };
    for ((_, side), item) in sides.iter().zip(found(&named, &images, finder, index)) {
        let role = match side.as_str() {
            "1" => Role::Train,
            "0" => Role::Test,
            _ => return None,
        };
        if let Some(item) = item {
            lists.sides.insert(item, role);
        }
    }
    Some(lists)
}

/// A column of 0, 1 and 2, of words, or of yes and no (`is_test`), beside the names.
fn by_partition(path: &Path, finder: &Finder, index: &HashMap<&Path, usize>) -> Option<Lists> {
    let (sheet, file) = column(path, finder)?;
    let numbers = has_numbers(&stem(path));
    let role = |cell: &str| match cell {
        "0" if numbers => Some(Role::Train),
        "1" if numbers => Some(Role::Valid),
        "2" if numbers => Some(Role::Test),
        words => role::said_role(words),
    };
    // A first row may name the columns.
    let rows = &sheet.rows[..];
    let names_a_file = |row: &Row| finder.hits(std::iter::once(row.cell(file)), None) > 0;
    let (header, rows) = match sheet.names.as_ref() {
        Some(header) => (Some(header), rows),
        None if rows.len() > 1 && !names_a_file(&rows[0]) => (Some(&rows[0].cells), &rows[1..]),
        None => (None, rows),
    };
    let is_side =
        |column: &usize| *column != file && rows.iter().all(|row| role(row.cell(*column)).is_some());
    let (column, columns) = match (0..sheet.width()).find(is_side) {
        Some(column) => (Some(column), None),
        None => (None, Some(SplitColumns::Flags(vec![flags(header?, rows)?]))),
    };
    let of_row = |row: &Row| match &columns {
        Some(columns) => columns.role(row).ok(),
        None => role(row.cell(column?)),
    };
    let named: Vec<String> = rows.iter().map(|row| row.cell(file).to_owned()).collect();
    let mut lists = Lists { files: vec![path.to_owned()], sides: BTreeMap::new(), twice: None, rivals: None };
    for (row, item) in rows.iter().zip(found(&named, path, finder, index)) {
        if let (Some(item), Some(role)) = (item, of_row(row))
            && lists.sides.insert(item, role).is_some_and(|other| other != role)
        {
            lists.twice.get_or_insert(item);
        }
    }
    Some(lists)
}

/// The first column that asks for a side of the split by its name, as `is_test` does, and says yes or no in all of these rows;
/// with that side. One of validation that says yes in most of them asks for something else.
fn flags(header: &[String], rows: &[Row]) -> Option<(usize, Role)> {
    header.iter().enumerate().find_map(|(column, name)| {
        let asked = names::asked_role(name).filter(|asked| asked.sure)?;
        let said: Vec<bool> = rows.iter().map(|row| flag(row.cell(column))).collect::<Option<_>>()?;
        let yes = said.iter().filter(|said| **said).count();
        let is_split = (1..said.len()).contains(&yes) && (asked.role != Role::Valid || 2 * yes < said.len());
        is_split.then_some((column, asked.role))
    })
}
