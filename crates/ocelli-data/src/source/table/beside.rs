//! Whether a table says the classes of photos, or the folders beside it that they lie in.
//!
//! Folders may be classes, or parts of one collection: `images_part_1`, `batch2`. A table that names most of
//! their photos and says the same as the folders is only mentioned. One that says something else is read
//! where the folders are named like parts, and refused as ambiguous where they are not.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use super::discover::{Tables, files, folders, foreign_tables, holds_images, is_table, some, unread};
use super::parts::{are_parts, are_surely_parts, has_part_word};
use super::passed_over::labels_of_folders;
use super::sheet::{Row, Sheet};
use super::{
    COULD_BE, Column, Finder, Labelled, Match, Opened, TableOptions, cut_at_spaces, labels, names,
    names_files, several,
};
use crate::names::{ending, file_name, look_of, stem_of};
use crate::source::{id_of, listing, masks};
use crate::text::count;
use crate::{DataError, Dataset};

/// The part of the photos that a table names, at least, where it may be that of their labels.
pub(super) const MOST: f64 = 0.5;
/// The part of the photos, at least, for which folder and label go together where both say the same.
pub(super) const AGREEING: f64 = 0.9;

/// What says the labels.
pub(super) enum Verdict {
    /// The folders; with a notice about a table.
    Folders(Option<String>),
    /// These tables; with the notice that says so.
    Tables(Tables, String),
}

/// What says the labels of the photos in a folder that holds class folders, which were read as `read`, and
/// tables.
///
/// # Errors
/// Where it is not clear; and that of `read`, unless a table is to be read instead.
pub(super) fn decide(
    root: &Path,
    tables: &Tables,
    read: &Result<Dataset, DataError>,
) -> Result<Verdict, DataError> {
    let mention = || tables.mention(root);
    let elsewhere = less_plain(root, read);
    if tables.is_empty() && elsewhere.is_empty() {
        let names = read.iter().flat_map(|data| data.items.classes.names().iter().cloned()).collect();
        return Ok(Verdict::Folders(looks_like_parts(root, &names).or_else(|| foreign_tables(root))));
    }
    let photos = Photos::of(root, read);
    let are_parts = are_parts(&photos.folders);
    let candidates = candidates(root, tables, &elsewhere, &photos);
    let Some(candidate) = chosen(root, candidates, are_parts)? else {
        let notices = if read.is_ok() { looks_like_parts(root, &photos.folders) } else { None };
        let of_folders = || labels_of_folders(root, tables, &photos.folders);
        if read.is_ok()
            && 2 * photos.folders.len() > photos.class.len()
            && let Some(says) = of_folders()
        {
            return Err(a_folder_for_each(root, &photos, &says));
        }
        let not_read = |says: String| {
            format!(
                "warning: {says}, and is not read: the folders' names are taken for the classes; if the labels are, give a \
                 table with a row for each photo (`from_csv`)"
            )
        };
        return Ok(Verdict::Folders(of_folders().map(not_read).or(notices).or_else(mention)));
    };
    if let Err(DataError::ClassLosesImages { .. } | DataError::ClassWithoutImages { .. }) = read {
        return Ok(Verdict::Folders(None));
    }
    let name = candidate.name(root);
    let agreement = match &candidate.read {
        Ok(labelled) => Agreement::of(&labelled.dataset, &photos),
        // Without labels it says nothing else than the folders.
        Err(error) => match read {
            _ if are_parts => return Err(unclear(root, &photos, &name, error)),
            Ok(_) if candidate.groups.is_some() => {
                let column = candidate.groups.as_deref().unwrap_or_default();
                return Err(groups_as_folders(root, &photos, &name, column, error));
            }
            Ok(_) if looks_like_parts(root, &photos.folders).is_some() => {
                return Err(unclear(root, &photos, &name, error));
            }
            Ok(_) if 2 * candidate.ambiguous > candidate.photos => {
                return Err(several_of_each(root, &photos, &name));
            }
            Ok(_) if photos.are_few_in_each() => {
                return Err(hardly_classes(root, &photos, &candidate, error));
            }
            Ok(_) => return Ok(Verdict::Folders(mention().or_else(|| Some(candidate.mention(root))))),
            Err(refused) => return Err(neither(refused, &name, &format!("cannot be read: {error}"))),
        },
    };
    // Which images belong together.
    if read.is_ok() && candidate.label.as_deref().is_some_and(|label| names::group_rank(label).is_some()) {
        return Ok(Verdict::Folders(None));
    }
    // Of a cross-validation, as a column is called.
    if read.is_ok() && candidate.label.as_deref().is_some_and(names::is_split) {
        return Ok(Verdict::Folders(Some(format!(
            "{name} in {} says parts or folds of a split for the photos, and no labels: it is not used",
            root.display()
        ))));
    }
    if agreement.is_same(&photos) && !(are_parts && has_part_word(&photos.folders)) {
        let split = candidate.read.as_ref().ok().and_then(|read| read.dataset.split.as_ref());
        // Of one table: those for the sides are lists of the split.
        let is_one = candidate.tables.sides.is_empty();
        let Some(split) = split.filter(|split| is_one && !(split.valid.is_empty() && split.test.is_empty()))
        else {
            return Ok(Verdict::Folders(agreement.mention(&name, root, mention())));
        };
        let all = split.train.len() + split.valid.len() + split.test.len();
        if agreement.same_name == photos.class.len() && all == photos.class.len() {
            let notice = format!(
                "the labels and the split are those of {name}, which says the same classes as the folders"
            );
            return Ok(Verdict::Tables(candidate.tables, notice));
        }
        return Ok(Verdict::Folders(agreement.mention(&name, root, mention())));
    }
    // Of another one for each photo: checksums, numbers, times.
    let labels = candidate.read.as_ref().map_or(0, |read| read.dataset.items.classes.len());
    if read.is_ok() && !are_parts && labels::are_nearly_all_different(labels, agreement.photos) {
        return Ok(Verdict::Folders(mention().or_else(|| Some(candidate.mention(root)))));
    }
    if let (Err(refused), false) = (read, are_parts) {
        let says = format!(
            "names {} of its photos; to train on its labels, give it (`from_csv` {name})",
            count(candidate.photos)
        );
        return match candidate.tables.sides.is_empty() {
            true => Err(neither(refused, &name, &says)),
            false => {
                let notice = format!(
                    "the labels are those of {name}, since the folders beside it are no classes: {refused}"
                );
                Ok(Verdict::Tables(candidate.tables, notice))
            }
        };
    }
    // A column that is not called as labels are, in a table that is not either, is of something else.
    if read.is_ok()
        && !are_parts
        && let Some(label) = candidate.other_label()
    {
        return Ok(Verdict::Folders(Some(candidate.mention_column(root, label))));
    }
    let folders = some_folders(&photos.folders);
    if are_parts {
        let notice = format!(
            "the labels are those of {name}: the folders beside it ({folders}) are named like parts of one collection (to \
             take their names for the classes: `class_folders`)"
        );
        return Ok(Verdict::Tables(candidate.tables, notice));
    }
    Err(DataError::Split {
        reason: format!(
            "{} has the folders {folders}, and a table, {name}, which names {} of their {} photos and says other labels \
             than the folders' names{}: it is not clear which of both are the classes",
            root.display(),
            count(candidate.photos),
            count(photos.class.len()),
            agreement.example()
        ),
        advice: format!(
            "to train on the table's labels, {}; to train on the folders' names, say so (`class_folders`)",
            match candidate.tables.sides.is_empty() {
                true => format!("give it (`from_csv` {name})"),
                false => "put the rows of all into one table, with a column of the split, and give that (`from_csv`)".to_owned(),
            }
        ),
    })
}

/// That the folders are hardly classes, where no table says others.
fn looks_like_parts(root: &Path, folders: &BTreeSet<String>) -> Option<String> {
    are_surely_parts(folders).then(|| {
        let unread = unread(root).map_or_else(String::new, |(tables, advice)| {
            format!(". {tables} in {} is not read: {advice}", root.display())
        });
        format!(
            "warning: the folders {} are named like parts of one collection, and their names are taken for the classes; if \
             they are none, make a folder for each class, or give a table of labels{unread}",
            some_folders(folders)
        )
    })
}

/// That the folders are parts, and what their table says is not clear.
fn unclear(root: &Path, photos: &Photos, table: &str, error: &DataError) -> DataError {
    DataError::Split {
        reason: format!(
            "the folders in {} ({}) are named like parts of one collection, and {table}, which names their photos, cannot be \
             read: {error}",
            root.display(),
            some_folders(&photos.folders)
        ),
        advice: format!(
            "give the table with what it lacks (`from_csv` {table}), or, if the folders' names are the classes, say so \
             (`class_folders`)"
        ),
    }
}

/// That most folders hold a photo each, and a table has labels for the folders.
fn a_folder_for_each(root: &Path, photos: &Photos, says: &str) -> DataError {
    DataError::Split {
        reason: format!(
            "most folders in {} ({}) hold a single photo, and are hardly classes; {says}",
            root.display(),
            some_folders(&photos.folders)
        ),
        advice: "give a table with the path of each photo and its label (`from_csv`), or, if the folders' names are the \
                 classes, say so (`class_folders`)"
            .to_owned(),
    }
}

/// That the folders' names are in a column that says which images belong together, and hardly classes.
fn groups_as_folders(
    root: &Path,
    photos: &Photos,
    table: &str,
    column: &str,
    error: &DataError,
) -> DataError {
    DataError::Split {
        reason: format!(
            "the folders in {} ({}) have the names in the column \"{column}\" of {table}, which are hardly classes, and the \
             table cannot be read for its labels: {error}",
            root.display(),
            some_folders(&photos.folders)
        ),
        advice: format!(
            "give the table with what it lacks (`from_csv` {table}), or, if the folders' names are the classes, say so \
             (`class_folders`)"
        ),
    }
}

/// That the folders hold too few photos each to be classes, and a table names the photos.
fn hardly_classes(root: &Path, photos: &Photos, candidate: &Candidate, error: &DataError) -> DataError {
    let table = candidate.name(root);
    DataError::Split {
        reason: format!(
            "{} has {} folders ({}) with {} photos, hardly classes, and {table}, which names {} of them, cannot be read for \
             its labels: {error}",
            root.display(),
            count(photos.folders.len()),
            some_folders(&photos.folders),
            count(photos.class.len()),
            count(candidate.photos)
        ),
        advice: format!(
            "give the table with what it lacks (`from_csv` {table}), or, if the folders' names are the classes, say so \
             (`class_folders`)"
        ),
    }
}

/// That several folders hold a photo of each name, and a table has the names.
fn several_of_each(root: &Path, photos: &Photos, table: &str) -> DataError {
    DataError::Split {
        reason: format!(
            "the folders in {} ({}) hold photos of the same names, and {table} has these names: they are hardly classes, and \
             which of the photos a row means is not clear",
            root.display(),
            some_folders(&photos.folders)
        ),
        advice: format!(
            "train on the folder that is meant, with the table (`from_csv` {table}), or, if the folders' names are the \
             classes, say so (`class_folders`)"
        ),
    }
}

/// The error of the folders, with what is the matter with a table that names their photos.
fn neither(refused: &DataError, table: &str, says: &str) -> DataError {
    let text = refused.to_string();
    let (reason, advice) = text.split_once("; ").unwrap_or((&text, ""));
    let about = format!("{table}, a table beside them, {says}");
    let advice = match (advice.is_empty(), text.contains(table)) {
        (_, true) => advice.to_owned(),
        (true, false) => about,
        (false, false) => format!("{advice}; or: {about}"),
    };
    DataError::Split { reason: reason.to_owned(), advice }
}

/// The one table among several in a folder that names most of its photos, where there are no class folders.
pub(super) fn among_several(root: &Path, tables: &Tables) -> Option<Tables> {
    let photos = Photos::anywhere(root);
    let finder = Finder::new(root);
    let mut named = tables.labels.iter().filter_map(|table| one_of(root, table, &finder, &photos));
    let first = named.next()?;
    named.next().is_none().then_some(first.tables)
}

/// The table to read instead of the one whose name says most plainly that it has the labels: where that names few
/// photos, and another most.
///
/// # Errors
/// Where both name most photos, and the column of the plain one is not called as one of labels.
pub(super) fn instead_of_named(root: &Path, tables: &Tables) -> Result<Option<Tables>, DataError> {
    let ([named], [_, ..]) = (&tables.labels[..], &tables.others[..]) else { return Ok(None) };
    let photos = Photos::anywhere(root);
    let finder = Finder::new(root);
    let own = one_of(root, named, &finder, &photos);
    let is_called = |own: &Candidate| own.label.as_deref().is_some_and(names::is_label);
    if own.as_ref().is_some_and(|own| own.read.is_ok() && is_called(own)) {
        return Ok(None);
    }
    if own.is_none() {
        // One of the classes, whose others may be those of the sides of the split.
        let rest = Tables::without(root, Some(named));
        let names_photos = |table: &PathBuf| {
            Sheet::read_beginning(table).is_ok_and(|sheet| names_files(&sheet, &finder, None))
        };
        if rest.sides.len() > 1 && rest.labels.iter().all(names_photos) {
            return Ok(Some(rest));
        }
    }
    let others = tables.others.iter().filter_map(|table| one_of(root, table, &finder, &photos));
    let mut others: Vec<Candidate> = others.filter(|other| other.read.is_ok()).collect();
    // A column that is called label says more than the name of a table whose own column is not clear.
    if own.is_some() && others.iter().any(is_called) {
        others.retain(is_called);
        if others.len() == 1 {
            return Ok(others.pop().map(|other| other.tables));
        }
    }
    match (own, &others[..]) {
        (None, [_]) => Ok(others.pop().map(|other| other.tables)),
        (Some(own), _) if own.read.is_err() => Ok(None),
        (Some(_), [_, ..]) => {
            let labels = std::iter::once(named.clone());
            let labels = labels.chain(others.into_iter().flat_map(|other| other.tables.labels)).collect();
            Tables { labels, ..Tables::default() }.one(root).map(|_| None)
        }
        _ => Ok(None),
    }
}

/// The photos that lie in folders.
struct Photos {
    /// The folder of each photo, as a class.
    class: HashMap<PathBuf, String>,
    /// The folders' names.
    folders: BTreeSet<String>,
}

impl Photos {
    /// The photos by their classes, or, where folders could not be read as classes, by the folders around them.
    fn of(root: &Path, read: &Result<Dataset, DataError>) -> Self {
        let Ok(data) = read else { return Self::anywhere(root) };
        let name = |class: &usize| data.items.classes.name(*class).unwrap_or_default().to_owned();
        let classed = data.items.items.iter();
        let class: HashMap<PathBuf, String> = classed
            .filter_map(|item| Some((item.path.clone(), name(item.target.classes().first()?))))
            .collect();
        let folders = class.values().cloned().collect();
        Self { class, folders }
    }

    /// Whether there are many folders of so few photos that their names are hardly classes.
    fn are_few_in_each(&self) -> bool {
        const MANY_FOLDERS: usize = 10;
        const FEW_PHOTOS: usize = 5;
        self.folders.len() >= MANY_FOLDERS && self.class.len() < FEW_PHOTOS * self.folders.len()
    }

    fn anywhere(root: &Path) -> Self {
        let folder = |path: &Path| path.parent().filter(|folder| *folder != root).map(file_name);
        let images = listing::images_below(root).images.into_iter();
        let class: HashMap<PathBuf, String> = images
            .map(|path| {
                let folder = folder(&path).unwrap_or_default();
                (path, folder)
            })
            .collect();
        let folders = class.values().filter(|folder| !folder.is_empty()).cloned().collect();
        Self { class, folders }
    }
}

/// Tables that name most of the photos.
struct Candidate {
    tables: Tables,
    /// How many of the photos they name.
    photos: usize,
    /// How many rows have a name that several photos have.
    ambiguous: usize,
    /// The column of groups, such as patients, that has the names of the photos' folders.
    groups: Option<String>,
    /// The name of the column of labels, if it is one.
    label: Option<String>,
    read: Result<Labelled, DataError>,
}

impl Candidate {
    /// The notice that it is not read.
    fn mention(&self, root: &Path) -> String {
        format!(
            "{}, which names {} of the photos in {}, is not read: the class folders are the classes (to read it: `from_csv`)",
            self.name(root),
            count(self.photos),
            root.display()
        )
    }

    /// The name of its column, if neither that nor its own says that it holds labels.
    fn other_label(&self) -> Option<&str> {
        let is_of_labels = |table: &PathBuf| names::says_labels(&stem_of(table));
        let label = self.label.as_deref()?;
        (!names::is_label(label) && !self.tables.labels.iter().any(is_of_labels)).then_some(label)
    }

    /// The notice that it is not read, which is a warning where its column may be that of the labels, or says which photos
    /// are to be left out.
    fn mention_column(&self, root: &Path, column: &str) -> String {
        let usual = self.mention(root);
        let cells = self.read.iter().flat_map(|read| read.dataset.items.classes.names());
        let numbers = cells.clone().all(|cell| cell.starts_with(|first: char| first.is_ascii_digit()));
        if names::says_left_out(column) {
            return format!(
                "warning: {usual}; photos are used whatever its column \"{column}\" says: take out those that are not to be used"
            );
        }
        if names::says_something_else(column, numbers) || names::says_circumstances(column) {
            return usual;
        }
        let some = cells.take(2).map(|cell| format!("\"{cell}\"")).collect::<Vec<_>>().join(", ");
        format!(
            "warning: {usual}; its column \"{column}\" says {some} and the like: where these are to be learned, read it"
        )
    }

    /// The tables, for people.
    fn name(&self, root: &Path) -> String {
        let of = |path: &PathBuf| id_of(root, path);
        match &self.tables.sides[..] {
            [] => self.tables.labels.iter().map(of).collect::<Vec<_>>().join(", "),
            sides => sides.iter().map(|(_, path)| of(path)).collect::<Vec<_>>().join(" and "),
        }
    }
}

/// The tables that name most of the photos, by how plainly their names say that they are those of the labels.
fn candidates(root: &Path, tables: &Tables, elsewhere: &[PathBuf], photos: &Photos) -> Vec<Vec<Candidate>> {
    let mut finder = None;
    let mut all = Vec::new();
    if tables.sides.len() > 1 {
        let finder = finder.get_or_insert_with(|| Finder::new(root));
        all.push(several_of(root, tables, finder, photos).into_iter().collect());
    }
    for group in [&tables.labels[..], &tables.others, elsewhere] {
        if all.iter().any(|found: &Vec<Candidate>| !found.is_empty()) {
            break;
        }
        let named = group.iter().filter_map(|table| {
            let finder = finder.get_or_insert_with(|| Finder::new(root));
            one_of(root, table, finder, photos)
        });
        all.push(named.collect());
    }
    all
}

/// Tables whose place or form says less plainly that they may hold the labels: texts, JSON, and what lies in a
/// folder without photos.
fn less_plain(root: &Path, read: &Result<Dataset, DataError>) -> Vec<PathBuf> {
    let may_be = |path: &PathBuf| is_table(path) && !names::is_other_table(&stem_of(path));
    let text = |path: &PathBuf| matches!(ending(path).as_str(), "txt" | "json");
    let mut found: Vec<PathBuf> = files(root).filter(|path| text(path) && may_be(path)).collect();
    // A folder of many photos is not listed again.
    let items = read.iter().flat_map(|data| &data.items.items);
    let with_photos: BTreeSet<PathBuf> =
        items.filter_map(|item| Some(root.join(item.path.strip_prefix(root).ok()?.iter().next()?))).collect();
    let no_photos = |folder: &Path| masks::is_named(folder) || !holds_images(folder, 2);
    let without_photos = folders(root).filter(|folder| !with_photos.contains(folder) && no_photos(folder));
    found.extend(without_photos.flat_map(|folder| files(&folder).filter(may_be).collect::<Vec<_>>()));
    found
}

/// A table, if it names most of the photos.
fn one_of(root: &Path, table: &Path, finder: &Finder, photos: &Photos) -> Option<Candidate> {
    // Most tables name no photos, and some are large.
    let may_name_files =
        |sheet: Sheet| names_files(&sheet, finder, None) || cut_at_spaces(&sheet, finder, None).is_some();
    if !Sheet::read_beginning(table).is_ok_and(may_name_files) {
        return None;
    }
    let options =
        TableOptions { folder: Some(root.to_owned()), allow_missing: true, ..TableOptions::default() };
    let opened = match Opened::open(table, &options, Vec::new()) {
        Ok(opened) => opened,
        // Each name is that of several photos.
        Err(error) if error.to_string().contains(COULD_BE) => {
            let tables = Tables { labels: vec![table.to_owned()], ..Tables::default() };
            let photos = photos.class.len() / 2;
            return Some(Candidate {
                tables,
                photos,
                ambiguous: photos,
                groups: None,
                label: None,
                read: Err(error),
            });
        }
        Err(_) => return None,
    };
    let found: BTreeSet<&Path> = opened
        .matches
        .iter()
        .filter_map(|found| match found {
            Match::Found(found) => Some(found.path.as_path()),
            _ => None,
        })
        .collect();
    // A name that several photos have is one of theirs.
    let ambiguous = opened.matches.iter().filter(|found| matches!(found, Match::Ambiguous(_))).count();
    let named = ambiguous + photos.class.keys().filter(|path| found.contains(path.as_path())).count();
    let tables = Tables { labels: vec![table.to_owned()], ..Tables::default() };
    let most = named > 0 && named as f64 >= MOST * photos.class.len() as f64;
    most.then(|| {
        let groups = folders_of_groups(&opened, photos);
        let read = opened.read();
        let label = read.as_ref().ok().and_then(|read| match &read.label_columns[..] {
            [Column::Name(name)] => Some(name.clone()),
            _ => None,
        });
        Candidate { tables, photos: named, ambiguous, groups, label, read: read.map(|read| read.labelled) }
    })
}

/// The tables for the sides of the split, if they name most of the photos, or, where they cannot be read, seem to.
fn several_of(root: &Path, tables: &Tables, finder: &Finder, photos: &Photos) -> Option<Candidate> {
    let (_, train) = &tables.sides[0];
    if !Sheet::read_beginning(train).is_ok_and(|sheet| names_files(&sheet, finder, None)) {
        return None;
    }
    let options = TableOptions { allow_missing: true, ..TableOptions::default() };
    let read = several::read(root, tables, &options);
    let items = read.as_ref().map_or(&[][..], |labelled| &labelled.dataset.items.items);
    let named: BTreeSet<&Path> = items.iter().map(|item| item.path.as_path()).collect();
    let named = photos.class.keys().filter(|path| named.contains(path.as_path())).count();
    let most = read.is_err() || named > 0 && named as f64 >= MOST * photos.class.len() as f64;
    let of_train = || {
        let options = TableOptions { folder: Some(root.to_owned()), ..options };
        folders_of_groups(&Opened::open(train, &options, Vec::new()).ok()?, photos)
    };
    most.then(|| {
        let groups = if read.is_err() { of_train() } else { None };
        Candidate { tables: tables.clone(), photos: named, ambiguous: 0, groups, label: None, read }
    })
}

/// The column of groups whose cells are the names of the folders of the rows' photos.
fn folders_of_groups(opened: &Opened, photos: &Photos) -> Option<String> {
    let header = opened.header.as_ref()?;
    let rows = opened.sheet.rows.iter().zip(&opened.matches);
    let found: Vec<(&Row, &String)> = rows
        .filter_map(|(row, found)| match found {
            Match::Found(found) => Some((row, photos.class.get(&found.path)?)),
            _ => None,
        })
        .collect();
    let is_theirs = |column: &usize| {
        let same = found.iter().filter(|(row, folder)| alike(folder, row.cell(*column))).count();
        same > 0 && same as f64 >= AGREEING * found.len() as f64
    };
    let called = |column: &usize| names::group_rank(&header[*column]).is_some();
    (0..header.len()).filter(called).find(is_theirs).map(|column| header[column].clone())
}

/// The one table to compare with the folders.
///
/// # Errors
/// Where folders are parts, and it is not clear which table has the labels.
fn chosen(
    root: &Path,
    candidates: Vec<Vec<Candidate>>,
    are_parts: bool,
) -> Result<Option<Candidate>, DataError> {
    let Some(mut plainest) = candidates.into_iter().find(|group| !group.is_empty()) else { return Ok(None) };
    let readable = plainest.iter().filter(|candidate| candidate.read.is_ok()).count();
    if readable > 0 {
        plainest.retain(|candidate| candidate.read.is_ok());
    }
    if plainest.len() > 1 && are_parts {
        let paths: Vec<PathBuf> =
            plainest.iter().flat_map(|candidate| candidate.tables.labels.clone()).collect();
        return Err(Tables { labels: paths, ..Tables::default() }.one(root).expect_err("there are several"));
    }
    // Where folders may be classes, any table that says something else makes it unclear.
    plainest.sort_by_key(|candidate| std::cmp::Reverse(candidate.photos));
    Ok(plainest.into_iter().next())
}

/// How the labels of a table and the folders of the same photos go together.
struct Agreement {
    /// The photos that have both.
    photos: usize,
    /// How many have the label that most have in their folder.
    label_of_folder: usize,
    /// How many lie in the folder where most of their label lie.
    folder_of_label: usize,
    /// How many labels look like the name of their folder.
    same_name: usize,
    /// How many labels look like the name of another folder.
    other_name: usize,
    /// How many folders have the label in their name.
    in_name: usize,
    /// How many labels there are.
    labels: usize,
    /// A photo whose label is another than its folder's name, with its folder and label.
    differs: Option<(String, String, String)>,
}

impl Agreement {
    fn of(data: &Dataset, photos: &Photos) -> Self {
        let mut pairs: BTreeMap<(&str, String), usize> = BTreeMap::new();
        let mut differs = None;
        for item in &data.items.items {
            let Some(folder) = photos.class.get(&item.path) else { continue };
            let labels: Vec<&str> =
                item.target.classes().iter().filter_map(|&class| data.items.classes.name(class)).collect();
            let label = labels.join(", ");
            if label.is_empty() {
                continue;
            }
            if differs.is_none() && !alike(folder, &label) {
                differs = Some((file_name(&item.path), folder.clone(), label.clone()));
            }
            *pairs.entry((folder, label)).or_default() += 1;
        }
        let mut best: [BTreeMap<&str, usize>; 2] = Default::default();
        let names: BTreeSet<String> = photos.folders.iter().map(|folder| bare(folder)).collect();
        let is_folder = |label: &str| names.contains(&bare(label));
        let (mut all, mut same_name, mut in_name, mut other_name) = (0, 0, 0, 0);
        for ((folder, label), &photos) in &pairs {
            for (best, key) in best.iter_mut().zip([*folder, label.as_str()]) {
                let most = best.entry(key).or_default();
                *most = photos.max(*most);
            }
            all += photos;
            let same = alike(folder, label);
            same_name += if same { photos } else { 0 };
            other_name += if !same && is_folder(label) { photos } else { 0 };
            in_name += if contains(folder, label) { photos } else { 0 };
        }
        let labels = best[1].len();
        let [label_of_folder, folder_of_label] = best.map(|best| best.values().sum());
        Self {
            labels,
            photos: all,
            label_of_folder,
            folder_of_label,
            same_name,
            other_name,
            in_name,
            differs,
        }
    }

    /// Whether the folders say the same as the labels: by other names, or more finely with the label in the
    /// folder's name.
    fn is_same(&self, photos: &Photos) -> bool {
        let most = |part: f64, number: usize| number as f64 >= part * self.photos as f64;
        let one_to_one = most(AGREEING, self.label_of_folder) && most(AGREEING, self.folder_of_label);
        let finer = most(AGREEING, self.label_of_folder) && most(AGREEING, self.in_name);
        let one_for_all = self.labels < 2;
        // The same names exchanged are no renaming.
        let is_exchanged = 2 * self.other_name > self.photos;
        photos.folders.len() > 1
            && !is_exchanged
            && (one_for_all || one_to_one || finer || most(0.5, self.same_name))
    }

    /// The notice about a table that is not read; with how often it says otherwise, where both use the same
    /// names.
    fn mention(&self, table: &str, root: &Path, usual: Option<String>) -> Option<String> {
        let otherwise = self.photos - self.same_name;
        match (&self.differs, self.same_name) {
            (Some((photo, folder, label)), 1..) if 2 * otherwise <= self.photos => Some(format!(
                "warning: {table} in {} is not read (to read it: `from_csv`), and says another class than the folders for {} \
                 of {} photos; the first is {photo}, \"{label}\" in the folder {folder}",
                root.display(),
                count(otherwise),
                count(self.photos)
            )),
            _ => usual,
        }
    }

    fn example(&self) -> String {
        let text = |(photo, folder, label): &(String, String, String)| {
            format!(", such as \"{label}\" for {photo} in {folder}")
        };
        self.differs.as_ref().map(text).unwrap_or_default()
    }
}

/// A name without case, blanks and marks.
fn bare(name: &str) -> String {
    look_of(name).chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Whether a label and the name of a folder are the same to people: `Black cat` and `black_cat`, `3` and
/// `00003`.
fn alike(folder: &str, label: &str) -> bool {
    let number = |name: &str| name.parse::<f64>().ok();
    bare(folder) == bare(label) || number(folder).is_some() && number(folder) == number(label)
}

fn contains(folder: &str, label: &str) -> bool {
    let label = bare(label);
    !label.is_empty() && bare(folder).contains(&label)
}

/// The first names of folders.
fn some_folders(folders: &BTreeSet<String>) -> String {
    some(&folders.iter().map(PathBuf::from).collect::<Vec<_>>())
}
