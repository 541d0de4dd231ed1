//! A table of labels: one row per image, with its file, its labels, and possibly its part of the split.
//!
//! ```text
//! id,breed                          image_name,tags,split             file,cat,dog
//! 000bec18,boston_bull              photos/1.jpg,clear primary,train  1.jpg,1,0
//! 001cdf01,pekinese                 photos/2.jpg,haze water,valid     2.jpg,0,1
//! ```
//!
//! Commas, tabs, semicolons, `|` and spaces separate columns; JSON lines are read too. Options that are not
//! set are detected and reported in [`Dataset::notices`], with the rows that decided it: whether there is a
//! header, which columns hold files and labels, where the files are, which suffix their names lack, what
//! separates several labels, and the task; so is the number of unusable rows. What is ambiguous is an error
//! that says what to set. Rows are numbered as the lines of the file, from 1.
//!
//! | file | content |
//! |---|---|
//! | `names.rs` | common names of columns and tables |
//! | `sheet.rs` | bytes to rows of cells |
//! | `columns.rs` | which column is which |
//! | `columns/doubts.rs` | what is doubtful about them |
//! | `files.rs` | which file a name refers to |
//! | `path_columns.rs` | paths whose folder and name stand in two columns |
//! | `header.rs` | whether the first row names the columns |
//! | `labels.rs` | one label or several in a cell |
//! | `rows.rs` | from rows to files and labels |
//! | `merge.rs` | several rows for one file, and missing files |
//! | `items.rs` | from files and labels to a data set |
//! | `side_labels.rs` | the labels of a folder of the split without class folders |
//! | `sides.rs` | on which side of the split a row is |
//! | `several.rs` | a table for each side of the split |
//! | `split_lists.rs` | published lists of the images on each side of the split |
//! | `discover.rs` | the tables in a folder of photos |
//! | `beside.rs` | whether a table or the folders beside it say the classes |
//! | `parts.rs` | whether folders are called as parts of one collection |
//! | `passed_over.rs` | what a table says that is not read |

mod beside;
mod columns;
mod discover;
mod files;
mod header;
mod items;
mod labels;
mod merge;
mod names;
mod parts;
mod passed_over;
mod path_columns;
mod rows;
mod several;
mod sheet;
mod side_labels;
mod sides;
mod split_lists;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use discover::{Tables, is_table, says_the_classes};
pub(crate) use discover::{names_labels, unread};
pub use files::{Finder, Found, Match, Several};
pub(crate) use parts::are_surely_parts;
pub use sheet::{Row, Sheet};
pub(crate) use side_labels::{SideLabels, side_labels, unknown_side_labels};
pub use split_lists::{ListedSplit, read_split};

use super::existing_folder;
use super::role::{self, Role};
use crate::files::folder_of;
use crate::text::count;
use crate::{DataError, Dataset, Task};
use beside::Verdict;
use columns::{Columns, Search};
use header::{first_row_is_a_header, known_header};
use path_columns::PathColumns;
use rows::Notes;
use sheet::shortened;

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Column {
    /// Counted from 0.
    Index(usize),
    /// By its name in the header.
    Name(String),
}

/// Options for reading a table; those that are `None` or empty are detected.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TableOptions {
    /// The folder that holds the files. Detected: the table's own.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "crate::path_text::option")]
    pub folder: Option<PathBuf>,
    /// The suffix that the ids lack to be file names: `.jpg`. Detected: none, or an image format's usual
    /// extension, for each id by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suffix: Option<String>,
    /// Whether the first row names the columns. Detected: it does if a column is given by name, if it has a
    /// common column name, or if its id is not a file while other rows' are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<bool>,
    /// The column of the files. Detected: the one whose cells are files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id_column: Option<Column>,
    /// The column of the labels, or several columns of 0 and 1, each named after a class. Detected by name,
    /// or if there is no other.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub label_columns: Vec<Column>,
    /// The column that contains train, valid or test (or true and false: whether a row is for validation).
    /// Detected by name; called `none`, there is no such column.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub split_column: Option<Column>,
    /// The column of groups, such as the patient: returned in [`Labelled::groups`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group_column: Option<Column>,
    /// The separator of several labels of one image. Detected: `|`, `;`, a comma or a space, or lists in
    /// brackets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_separator: Option<char>,
    /// Single- or multi-label. Detected: multi-label if more than half of the parts between separators (for
    /// `|` and `;`: half) are in several different cells, so that "golden retriever" stays one class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<Task>,
    /// Whether more than a tenth of the rows, or all of a class, may name files that do not exist.
    pub allow_missing: bool,
}

/// The content of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labelled {
    /// Images and their labels.
    pub dataset: Dataset,
    /// The separator of several labels of one image, if the table has one.
    pub label_separator: Option<char>,
    /// The group of each item, if a column of groups is given; `None` for an empty cell.
    pub groups: Option<Vec<Option<String>>>,
    /// What the split follows that no column of a table says; a split that is asked for goes before it.
    pub implied_split: Option<ImpliedSplit>,
    /// The notice that lists beside the images are not used as the split; it is untrue where one is asked for.
    pub unused_split: Option<String>,
    /// A column that says which images belong together, and is not used.
    pub unused_groups: Option<UnusedGroups>,
}

/// A split that a data set has by the names of its files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImpliedSplit {
    /// What gives it.
    pub by: SplitBy,
    /// The folders or lists, for people.
    pub files: String,
    /// The notices about it.
    pub notices: Vec<String>,
}

/// What gives a split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SplitBy {
    /// Folders in the paths of a table's files, such as `train` and `valid`.
    Folders,
    /// Published lists beside the photos, such as `train.txt` and `test.txt`.
    Lists,
    /// The first words of the images' names, such as `train_00001.jpg` and `test_00001.jpg`.
    Names,
}

/// A column that says by its name which images belong together: of one patient, one subject, one lesion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnusedGroups {
    /// The name of the column.
    pub column: String,
    /// The group of each item; `None` for an empty cell.
    pub groups: Vec<Option<String>>,
}

/// Reads a table of labels, or the one in a folder; no image is decoded. Items keep the order of the rows.
///
/// Where a folder has a table for each side of the split (`train.csv` and `valid.csv`, or one in each of the
/// folders `train` and `valid`, or, without other tables, `train.txt` and `test.txt`), they are read as one data set
/// with that split.
///
/// # Errors
/// Where it is not a table, where something that is not set is ambiguous, where rows contradict each other,
/// and where more than a tenth of them name missing files; with the row.
pub fn read(path: impl AsRef<Path>, options: &TableOptions) -> Result<Labelled, DataError> {
    let path = path.as_ref();
    if !path.is_dir() {
        let mut notices = Vec::new();
        // One that is given alone is read alone.
        let beside = |tables: Tables| {
            let sides = tables.sides.into_iter().map(|(_, side)| side).collect::<Vec<PathBuf>>();
            let (own, others): (Vec<_>, Vec<_>) =
                sides.into_iter().partition(|side| side.file_name() == path.file_name());
            (!own.is_empty()).then(|| {
                format!(
                    "beside {}, and not read: {}; to read them as one data set, give their folder",
                    path.file_name().unwrap_or_default().display(),
                    discover::some(&others)
                )
            })
        };
        notices.extend(beside(Tables::of(folder_of(path))));
        let mut read = read_one(path, options, notices)?;
        let images = read.labelled.dataset.items.root.clone();
        read.list_unnamed(&images);
        split_lists::apply(
            options.folder.as_deref().unwrap_or(folder_of(path)),
            Some(path),
            &mut read.labelled,
        );
        // Texts may be lists of the split instead, and are then used.
        if read.labelled.dataset.split.is_none() {
            read.labelled.dataset.notices.extend(beside(Tables::texts_in(folder_of(path))));
        }
        return Ok(read.labelled);
    }
    let mut tables = Tables::of(path);
    if tables.is_empty() {
        tables = Tables::texts_in(path);
    }
    if tables.sides.len() > 1 {
        return several::read(path, &tables, options);
    }
    let table = tables.one(path)?;
    let mut notices = vec![format!("the labels are those of {}{}", table.display(), tables.others())];
    notices.extend(tables.without_table());
    let mut read = read_one(&table, options, notices)?;
    let images = options.folder.as_deref().unwrap_or(path);
    let unnamed = read.list_unnamed(images);
    read.check_rivals(path, &tables.others, &unnamed)?;
    split_lists::apply(images, Some(&table), &mut read.labelled);
    Ok(read.labelled)
}

/// What a folder of photos is labelled by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelledFolder {
    /// Its images and their labels.
    pub labelled: Labelled,
    /// Whether a table in it says the labels, and not its class folders.
    pub by_table: bool,
}

/// Reads a folder of photos by the table of labels in it, or, with `folders`, by its class folders.
///
/// A table is read where there are no class folders, or where they are named like parts of one collection
/// (`images_part_1`, `batch2`) and a table names their photos.
///
/// # Errors
/// Those of [`read`] and of `folders`, and where a table that names the photos in class folders says something
/// else than the folders' names.
pub fn read_folder(
    root: &Path,
    options: &TableOptions,
    folders: &mut dyn FnMut(&Path) -> Result<Dataset, DataError>,
) -> Result<LabelledFolder, DataError> {
    // Tables lie beside the photos, however often these were packed into a folder.
    let outer = root;
    let root = &discover::unwrapped(root);
    let mut tables = Tables::of(root);
    let is_none = tables.is_empty();
    if is_none && says_the_classes(root) {
        tables = Tables::to_measure_on(root);
    }
    if says_the_classes(root) && !tables.is_empty() {
        let one = match tables.labels.len() {
            _ if is_none => Some(tables.clone()),
            1 => beside::instead_of_named(root, &tables)?,
            _ => beside::among_several(root, &tables),
        };
        let labelled = match one {
            Some(one) if one.sides.len() > 1 => several::read(root, &one, options)?,
            Some(one) => {
                let table = one.one(root)?;
                let notice =
                    format!("the labels are those of {}, the one that names photos", table.display());
                let options = TableOptions { folder: Some(root.to_owned()), ..options.clone() };
                let mut read = read_one(&table, &options, vec![notice])?;
                read.list_unnamed(root);
                split_lists::apply(root, Some(&table), &mut read.labelled);
                read.labelled
            }
            None => read(root, options)?,
        };
        return Ok(LabelledFolder { labelled, by_table: true });
    }
    if tables.is_empty() && says_the_classes(root) {
        let texts = Tables::texts_in(root);
        if let Some((_, train)) = texts.sides.first().filter(|_| texts.sides.len() > 1)
            && has_names_and_labels(train, root)
        {
            return Ok(LabelledFolder { labelled: several::read(root, &texts, options)?, by_table: true });
        }
    }
    let read = folders(outer);
    match beside::decide(root, &tables, &read)? {
        Verdict::Folders(notice) => {
            let mut labelled = Labelled::by_folders(read?);
            labelled.unused_groups = passed_over::groups_beside(root, &tables, &labelled.dataset);
            let mut lists = split_lists::apply(root, None, &mut labelled);
            if labelled.dataset.split.is_none() && labelled.unused_split.is_none() {
                let beside = tables.labels.iter().chain(&tables.others).cloned().collect::<Vec<_>>();
                lists.extend(split_lists::apply_tables(root, &beside, &mut labelled));
            }
            // A table whose rows give the split is not passed over.
            let used: Vec<String> = lists.iter().map(|list| crate::names::file_name(list)).collect();
            let names_a_list = |notice: &&String| used.iter().any(|list| notice.starts_with(list.as_str()));
            let is_used = tables.labels.iter().any(|table| lists.contains(table))
                || notice.iter().any(|notice| names_a_list(&notice));
            labelled
                .dataset
                .notices
                .extend(notice.filter(|notice| !is_used || notice.starts_with("warning")));
            Ok(LabelledFolder { labelled, by_table: false })
        }
        Verdict::Tables(tables, notice) => {
            let in_root = TableOptions { folder: Some(root.to_owned()), ..options.clone() };
            let mut labelled = match tables.sides.len() {
                0 | 1 => {
                    let table = tables.one(root)?;
                    let mut read = read_one(&table, &in_root, Vec::new())?;
                    read.list_unnamed(root);
                    split_lists::apply(root, Some(&table), &mut read.labelled);
                    read.labelled
                }
                // Each side's photos may lie in a folder of its own, under the same names.
                _ => several::read(root, &tables, options)?,
            };
            labelled.dataset.notices.insert(0, notice);
            Ok(LabelledFolder { labelled, by_table: true })
        }
    }
}

/// Whether a text has a column of files in a folder, and another: lists of a split have the files alone.
fn has_names_and_labels(text: &Path, root: &Path) -> bool {
    let finder = Finder::new(root);
    Sheet::read_beginning(text).is_ok_and(|sheet| {
        let sheet = cut_at_spaces(&sheet, &finder, None).unwrap_or(sheet);
        sheet.width() == 2 && names_files(&sheet, &finder, None)
    })
}

/// Takes the split of published lists below a folder, as [`read_folder`] does, for data that has none of its own.
pub fn follow_lists(root: &Path, labelled: &mut Labelled) {
    split_lists::apply(root, None, labelled);
}

impl Labelled {
    /// Images that are labelled by their folders.
    pub fn by_folders(dataset: Dataset) -> Self {
        Self {
            dataset,
            label_separator: None,
            groups: None,
            implied_split: None,
            unused_split: None,
            unused_groups: None,
        }
    }
}

/// A table that has been read.
struct ReadTable {
    labelled: Labelled,
    /// The name of the table, for people.
    name: String,
    /// Its columns of labels, to find the same in another table.
    label_columns: Vec<Column>,
    /// The names of all columns, where it has them.
    header: Option<Vec<String>>,
    /// What rows name that does not exist.
    missing: Vec<String>,
}

impl ReadTable {
    /// Lists the images in a folder that no row names, and gives them.
    fn list_unnamed(&mut self, folder: &Path) -> Vec<PathBuf> {
        let unnamed = items::list_unnamed(&self.name, folder, &mut self.labelled.dataset);
        let data = &mut self.labelled.dataset;
        data.notices.extend(items::off_by_one(&self.name, &self.missing, &unnamed, &data.items));
        unnamed
    }

    /// Refuses to choose between this table and others beside it with the same column of labels: where they name images
    /// that it does not, or say other labels.
    fn check_rivals(&self, root: &Path, others: &[PathBuf], unnamed: &[PathBuf]) -> Result<(), DataError> {
        let [Column::Name(label)] = &self.label_columns[..] else { return Ok(()) };
        let items = &self.labelled.dataset.items;
        let labels = |items: &crate::Items| -> HashMap<PathBuf, Vec<String>> {
            let names = |item: &crate::Item| {
                let names = item.target.classes().iter().filter_map(|&class| items.classes.name(class));
                names.map(str::to_owned).collect()
            };
            items.items.iter().map(|item| (item.path.clone(), names(item))).collect()
        };
        let options = |label: String| TableOptions {
            folder: Some(root.to_owned()),
            allow_missing: true,
            label_columns: vec![Column::Name(label)],
            ..TableOptions::default()
        };
        // The same column, or the one that is called as labels are.
        let label_of = |path: &Path| -> Option<String> {
            let sheet = Sheet::read_beginning(path).ok()?;
            let header = sheet.possible_header()?;
            // `y` beside `x` is a place in an image.
            let is_place = |name: &str| name == "y" && header.iter().any(|other| other == "x");
            let mut called = header.iter().filter(|name| names::is_label(name) && !is_place(name));
            let only = called.next().filter(|_| called.next().is_none());
            header.iter().find(|name| *name == label).or(only.filter(|_| names::is_label(label))).cloned()
        };
        let own = labels(items);
        // The test images' labels are read with the test images.
        let is_of_test = |path: &&PathBuf| {
            let stem = crate::stem_of(path);
            role::named_role(&stem).is_some_and(|named| named.sure && named.role == Role::Test)
        };
        let others = others.iter().filter(|other| !is_of_test(other));
        for (other, label) in others.filter_map(|other| Some((other, label_of(other)?))) {
            let options = options(label);
            let Ok(read) = read_one(other, &options, Vec::new()) else { continue };
            let theirs = labels(&read.labelled.dataset.items);
            let more = unnamed.iter().filter(|image| theirs.contains_key(*image)).count();
            let both = theirs.iter().filter_map(|(path, labels)| Some((own.get(path)?, labels)));
            let (same, differ): (Vec<_>, Vec<_>) = both.partition(|(own, theirs)| own == theirs);
            let one = "give the one that is meant (`from_csv`)";
            let (what, advice) = if 10 * more >= items.len() && more > 0 {
                let what = format!("names {} images that {} does not", count(more), self.name);
                (what, format!("{one}, or put the rows of both into one"))
            } else if !differ.is_empty()
                && (2 * (same.len() + differ.len()) >= items.len()
                    || differ.len() >= same.len()
                    || names::says_corrected(&crate::stem_of(other)))
            {
                let what = format!("says other labels than {} for {} images", self.name, count(differ.len()));
                (what, one.to_owned())
            } else {
                continue;
            };
            let detail =
                format!("holds several tables of labels: {}, and {}, which {what}", self.name, read.name);
            return Err(table_error(root, None, detail, &advice));
        }
        Ok(())
    }
}

/// Reads one table.
fn read_one(path: &Path, options: &TableOptions, notices: Vec<String>) -> Result<ReadTable, DataError> {
    Opened::open(path, options, notices)?.read()
}

/// A table whose column of files is known.
struct Opened<'a> {
    sheet: Sheet,
    options: &'a TableOptions,
    /// The folder that holds the files.
    folder: PathBuf,
    finder: Finder,
    /// The names of the columns, where the table has them.
    header: Option<Vec<String>>,
    /// The columns that make the paths of the files, where they are two.
    path_columns: Option<PathColumns>,
    /// The column of the files.
    file: usize,
    /// The file of each row.
    matches: Vec<Match>,
    notices: Vec<String>,
}

impl<'a> Opened<'a> {
    fn open(path: &Path, options: &'a TableOptions, mut notices: Vec<String>) -> Result<Self, DataError> {
        let mut sheet = Sheet::read(path)?;
        notices.append(&mut sheet.notices);
        let beside = folder_of(path);
        let folder = match &options.folder {
            Some(folder) => existing_folder(folder)?,
            None => beside.to_owned(),
        };
        let finder = Finder::new(&folder);
        if let Some(mut cut) = cut_at_spaces(&sheet, &finder, options.suffix.as_deref()) {
            notices.append(&mut cut.notices);
            sheet = cut;
        }
        if sheet.width() < 2 {
            let row = sheet.rows.get(1).or(sheet.rows.first());
            let (line, text) = row.map_or((1, ""), |row| (row.line, row.cell(0)));
            let detail = format!("has a single column; row {line} is \"{}\"", shortened(text));
            let advice =
                "give it a column of files and one of labels, separated by commas, tabs, semicolons or |";
            return Err(table_error(path, None, detail, advice));
        }
        let mut header = known_header(&mut sheet, options, &finder, &mut notices)?;
        let suffix = options.suffix.as_deref();
        let path_columns = match options.id_column {
            None => path_columns::join(&mut sheet, &mut header, &finder, suffix, &mut notices),
            Some(_) => None,
        };
        let search =
            Search { sheet: &sheet, options, finder: &finder, header: header.as_deref(), path_columns };
        let file = search.file(&mut notices)?;
        // A quote that was forgotten makes one cell of many rows.
        refuse_long_cells(&sheet, file)?;
        let names: Vec<&str> = sheet.rows.iter().map(|row| row.cell(file)).collect();
        let mut matches = finder.resolve(&names, options.suffix.as_deref(), &[beside.to_owned()]);
        if !matches.iter().any(|found| matches!(found, Match::Found(_))) {
            return Err(nothing_found(&sheet, file, header.is_none(), &folder, options, &matches));
        }
        if options.header.is_none() && header.is_none() && first_row_is_a_header(&sheet, file, &matches) {
            let row = sheet.rows.remove(0);
            matches.remove(0);
            notices.insert(
                0,
                format!(
                    "row {} of {} names the columns ({}): there is no file {}",
                    row.line,
                    sheet.name(),
                    row.cells.join(", "),
                    folder.join(row.cell(file)).display()
                ),
            );
            header = Some(row.cells);
        }
        Ok(Self { sheet, options, folder, finder, header, path_columns, file, matches, notices })
    }

    /// Reads labels, split and groups.
    fn read(self) -> Result<ReadTable, DataError> {
        let Self { sheet, options, folder, finder, header, path_columns, file, matches, mut notices } = self;
        let search =
            Search { sheet: &sheet, options, finder: &finder, header: header.as_deref(), path_columns };
        let columns = search.find(file, &mut notices)?;
        for &column in &columns.labels {
            refuse_long_cells(&sheet, column)?;
        }
        let label_columns = columns.labels.iter().map(|&column| {
            let name = header.as_ref().and_then(|header| header.get(column)).filter(|name| !name.is_empty());
            name.map_or(Column::Index(column), |name| Column::Name(name.clone()))
        });
        let label_columns = label_columns.collect();
        let missing = sheet.rows.iter().zip(&matches).filter(|(_, found)| matches!(found, Match::Missing(_)));
        let missing = missing.map(|(row, _)| row.cell(file).to_owned()).collect();
        let table = Table { sheet: &sheet, columns, header: header.as_deref(), options };
        let labelled = table.read(&folder, matches, notices)?;
        Ok(ReadTable { labelled, name: sheet.name(), label_columns, header, missing })
    }
}

/// A table of one column, cut at spaces, if that makes a column of files of it.
fn cut_at_spaces(sheet: &Sheet, finder: &Finder, suffix: Option<&str>) -> Option<Sheet> {
    if sheet.width() > 1 || names_files(sheet, finder, suffix) {
        return None;
    }
    sheet.cut_at_spaces().filter(|cut| names_files(cut, finder, suffix))
}

/// Whether a column of the first rows of a table names files.
fn names_files(sheet: &Sheet, finder: &Finder, suffix: Option<&str>) -> bool {
    const SOME_ROWS: usize = 1000;
    let rows = || sheet.rows.iter().take(SOME_ROWS);
    let names = |column: usize| {
        let hits = finder.hits(rows().map(|row| row.cell(column)), suffix);
        // A photo may have several rows, and some photos may not be here.
        hits > 0 && 10 * hits >= rows().count().saturating_sub(1)
    };
    (0..sheet.width()).any(names)
}

/// An error where a cell of a column goes over several lines.
fn refuse_long_cells(sheet: &Sheet, column: usize) -> Result<(), DataError> {
    let long = |row: &Row| {
        row.long
            .iter()
            .find(|(long, _)| *long == column)
            .map(|(_, line)| (*line, row.cell(column).to_owned()))
    };
    match sheet.rows.iter().find_map(long) {
        None => Ok(()),
        Some((line, cell)) => {
            let lines = cell.lines().count().max(2);
            let detail = format!("opens a quote around {lines} lines, beginning with {}", shortened(&cell));
            let advice = "a name has no line breaks: close the quote in its row";
            Err(table_error(&sheet.path, Some(line), detail, advice))
        }
    }
}

/// Why no row names a file.
fn nothing_found(
    sheet: &Sheet,
    file: usize,
    may_have_header: bool,
    folder: &Path,
    options: &TableOptions,
    matches: &[Match],
) -> DataError {
    let index = usize::from(may_have_header && sheet.rows.len() > 1);
    let advice = "give the folder of the images, the column of the file names (`id_column`), or the suffix they lack (`suffix`)";
    for (row, found) in sheet.rows.iter().zip(matches).skip(index) {
        if let Match::Ambiguous(several) = found {
            return ambiguous(sheet, row, file, several);
        }
    }
    let Some(row) = sheet.rows.get(index) else {
        return table_error(&sheet.path, None, "names no file that exists", advice);
    };
    let name = format!("{}{}", row.cell(file), options.suffix.as_deref().unwrap_or_default());
    let why = match matches.get(index) {
        Some(Match::Missing(Some(why))) => format!(" ({why})"),
        _ => String::new(),
    };
    let advice = match why.contains(files::ANOTHER_ENDING) {
        true => {
            "write the names in the table without their endings, which are then found, or with those of the files"
        }
        false => advice,
    };
    let detail = format!(
        "names no file that exists: there is no {}, nor another file of that name below {}; row {}{why}",
        shortened(&folder.join(name).display().to_string()),
        folder.display(),
        row.line
    );
    table_error(&sheet.path, None, detail, advice)
}

/// How it is said that a name is that of several files.
const COULD_BE: &str = "which could be";

fn ambiguous(sheet: &Sheet, row: &Row, file: usize, several: &Several) -> DataError {
    let detail = format!("names {}, {COULD_BE} {several}", shortened(row.cell(file)));
    let advice = "give the folder of the images, the suffix that names lack (`suffix`), or names in full";
    table_error(&sheet.path, Some(row.line), detail, advice)
}

/// A file of rows, whose columns are known.
struct Table<'a> {
    sheet: &'a Sheet,
    columns: Columns,
    header: Option<&'a [String]>,
    options: &'a TableOptions,
}

impl Table<'_> {
    fn name(&self) -> String {
        self.sheet.name()
    }

    /// A column's name, or its number from 1.
    fn column_name(&self, column: usize) -> String {
        match self.header.and_then(|header| header.get(column)).filter(|name| !name.is_empty()) {
            Some(name) => format!("\"{name}\""),
            None => format!("number {}", column + 1),
        }
    }

    fn column_names(&self) -> String {
        (0..self.sheet.width()).map(|column| self.column_name(column)).collect::<Vec<_>>().join(", ")
    }

    fn error(&self, line: Option<u64>, detail: String, advice: &str) -> DataError {
        table_error(&self.sheet.path, line, detail, advice)
    }

    fn read(self, folder: &Path, matches: Vec<Match>, notices: Vec<String>) -> Result<Labelled, DataError> {
        let mut notes = Notes { skipped: Vec::new(), notices };
        let root = self.say_where(folder, &matches, &mut notes.notices);
        let (entries, missing) = self.entries(folder, &root, matches, &mut notes)?;
        let (labels, mut task) = self.labels(&entries, &mut notes.notices)?;
        let lines =
            self.sheet.rows.iter().flat_map(|row| labels.of(row).into_iter().map(|label| (row.line, label)));
        labels::check_names(&self.sheet.path, lines)?;
        let entries = self.merge(entries, &labels, &mut task, &mut notes)?;
        self.say_missing(&missing, &entries, &labels, &mut notes.notices)?;
        self.dataset(root, entries, &labels, task, notes)
    }
}

fn table_error(path: &Path, row: Option<u64>, detail: impl ToString, advice: &str) -> DataError {
    DataError::Table { path: path.to_owned(), row, detail: detail.to_string(), advice: advice.to_owned() }
}
