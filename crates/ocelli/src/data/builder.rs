//! Reading image data: where it comes from, how images are loaded, and the validation split.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ocelli_data::source::folder::FolderOptions;
use ocelli_data::source::table::{self, Column, Labelled, SplitBy, TableOptions, UnusedGroups};
use ocelli_data::{
    Augmentation, BadImages, Channels, DataError, Dataset, Digest, Filter, Framing, Grouping, Items, Split,
    Target, Task, groups, source, split,
};

use crate::data::notices;
use crate::data::options::ImageOptions;
use crate::data::photos::TrainedOn;
use crate::data::recorded::Recorded;
use crate::data::valid_split::ValidSplit;
use crate::error::{Error, Result};

/// The origin of a split of files that a program lists, which has none of its own.
const AS_LISTED: &str = "as listed";
/// The origin of a split that a column of a table defines.
pub(super) const AS_THE_TABLE_SAYS: &str = "as the table says";
/// That of a split by single images.
pub(super) const DRAWN: &str = "split by Ocelli";
pub(super) const ONE_FOLD: &str = "one fold of several";
/// The origin of a split that folders define.
const BY_FOLDERS: &str = "folders";
/// The origin of a split that the folders of a table's files define.
const AS_THEIR_FOLDERS_SAY: &str = "by the folders of the table's files";
/// The origin of a split that lists beside the photos define.
const AS_LISTS_SAY: &str = "by the lists beside the photos";
/// The origin of the split of a cross-validation, whose folds have splits of their own.
pub(super) const BY_FOLDS: &str = "evaluated by cross-validation";
/// The origin of a split that the images' names define.
const AS_NAMES_SAY: &str = "by the names of the images";

/// Where images and their labels come from.
#[derive(Debug, Clone)]
pub(super) enum Source {
    Folder(PathBuf),
    Table(PathBuf, TableOptions),
    /// Files with their labels.
    List(Arc<Vec<(PathBuf, Vec<String>)>>, Task),
}

impl Source {
    /// The folder or table, for people; of listed files, the first one.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::Folder(path) | Self::Table(path, _) => path,
            Self::List(files, _) => files.first().map_or(Path::new(""), |(path, _)| path),
        }
    }
}

/// How image data is read. Finish with [`load`](ImageDataBuilder::load).
#[derive(Debug, Clone)]
#[must_use]
pub struct ImageDataBuilder {
    pub(super) source: Source,
    pub(super) options: ImageOptions,
    pub(super) valid_split: Option<ValidSplit>,
    groups: Option<Grouping>,
    class_folders: bool,
    /// Whether a table that is found in a folder may name files that do not exist.
    allow_missing: bool,
    pub(super) decisions: Option<PathBuf>,
    pub(super) trained_on: Option<TrainedOn>,
    pub(super) recorded: Option<Recorded>,
    pub(super) seed: u64,
    pub(super) progress: HashProgress,
}

/// What is called while files are hashed.
#[derive(Clone, Default)]
pub struct HashProgress(Option<Arc<dyn Fn(usize, usize) + Send + Sync>>);

impl HashProgress {
    /// `progress` is called with the number of files that are hashed and of all, from any thread.
    pub fn new(progress: impl Fn(usize, usize) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(progress)))
    }

    pub(super) fn call(&self, done: usize, total: usize) {
        self.0.iter().for_each(|progress| progress(done, total));
    }
}

impl fmt::Debug for HashProgress {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(if self.0.is_some() { "HashProgress(a function)" } else { "HashProgress(None)" })
    }
}

impl ImageDataBuilder {
    pub(super) fn new(source: Source) -> Self {
        Self {
            source,
            options: ImageOptions::default(),
            valid_split: None,
            groups: None,
            class_folders: false,
            allow_missing: false,
            decisions: None,
            trained_on: None,
            recorded: None,
            seed: 0,
            progress: HashProgress::default(),
        }
    }

    /// Reports how many files are hashed while [`load`](Self::load) reads them all.
    pub fn hash_progress(mut self, progress: HashProgress) -> Self {
        self.progress = progress;
        self
    }

    /// The image size in pixels, 1 to 8192. Default 224.
    pub fn size(mut self, size: usize) -> Self {
        self.options.size = size;
        self
    }

    /// How photos are made square. Default: resize the shorter side, crop the centre.
    pub fn framing(mut self, framing: Framing) -> Self {
        self.options.framing = framing;
        self
    }

    /// The resampling filter. Default: bicubic with antialiasing, as most backbones were trained.
    pub fn filter(mut self, filter: Filter) -> Self {
        self.options.filter = filter;
        self
    }

    /// The augmentation of training images. Default: none.
    pub fn augmentation(mut self, augmentation: Augmentation) -> Self {
        self.options.augmentation = Some(augmentation);
        self
    }

    /// Samples every class equally often in an epoch: images of rare classes several times, of frequent ones
    /// in part. Default: each image once.
    pub fn balanced_sampling(mut self, balanced_sampling: bool) -> Self {
        self.options.balanced_sampling = balanced_sampling;
        self
    }

    /// The validation fraction of every class if the source defines no validation set, above 0 and below 1.
    /// Default 0.2.
    pub fn valid(self, fraction: f64) -> Self {
        self.valid_split(ValidSplit::Fraction(fraction))
    }

    /// The validation split. Default: the source's own (`valid/`, a column), else a fifth of every class.
    pub fn valid_split(mut self, valid_split: ValidSplit) -> Self {
        self.valid_split = Some(valid_split);
        self
    }

    /// Keeps images of one group on the same side of the split: of one patient, one site, one burst of a
    /// camera. Default: byte-identical images.
    pub fn groups(mut self, grouping: Grouping) -> Self {
        self.groups = Some(grouping);
        self
    }

    /// Takes the names of a folder's folders for the classes and every image in them for a photo, whatever
    /// tables and lists lie beside them. Default: a table that names the photos in folders named like parts
    /// (`images_part_1`) is read, and where it says something else than other folders' names, loading is an
    /// error; lists that name each photo (`train.txt`, `test.txt`) give the split; and segmentation masks beside
    /// photos are left out. No effect on [`from_csv`](crate::ImageData::from_csv).
    pub fn class_folders(mut self, class_folders: bool) -> Self {
        self.class_folders = class_folders;
        self
    }

    /// A table of decisions about labels, as exported by a report's page, with the columns `id`, `decision`
    /// (keep, relabel, new-class or drop) and `label`. Training images are relabelled or dropped; validation images are
    /// not changed, so that results stay comparable.
    pub fn decisions(mut self, path: impl Into<PathBuf>) -> Self {
        self.decisions = Some(path.into());
        self
    }

    /// The photos that a run began with, and their split, are selected from the source.
    pub(crate) fn recorded(mut self, recorded: Recorded) -> Self {
        self.recorded = Some(recorded);
        self
    }

    /// The seed of the split. Default 0.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// The batch size, at least 2. Default 64.
    pub fn batch_size(mut self, images: usize) -> Self {
        self.options.loading.batch_size = images;
        self
    }

    /// Decoding threads; 0, the default: one per core.
    pub fn threads(mut self, threads: usize) -> Self {
        self.options.loading.threads = threads;
        self
    }

    /// What to do with images that cannot be read. Default: skip and list them, unless a class loses all of
    /// its images, or more than a tenth.
    pub fn bad_images(mut self, policy: BadImages) -> Self {
        self.options.loading.bad_images = policy;
        self
    }

    /// The largest image that is read, in pixels; it limits the memory. Default 178,956,970, Pillow's.
    pub fn max_pixels(mut self, pixels: u64) -> Self {
        self.options.loading.decoder.max_pixels = pixels;
        self
    }

    /// Excludes from an evaluation the training images of the run in this folder, by its `photos.csv`; none
    /// if it has no such file: see [`RunFolder::check_results`](crate::RunFolder::check_results). Photos are
    /// recognised by content.
    ///
    /// # Errors
    /// Where the run has this file, but it cannot be read.
    pub fn without_training_images_of(mut self, run: impl AsRef<Path>) -> Result<Self> {
        self.trained_on = TrainedOn::of_run(run.as_ref())?;
        Ok(self)
    }

    /// The task to assume if a table does not determine it.
    pub(crate) fn expected_task(mut self, task: Task) -> Self {
        if let (Source::Table(_, options), Task::MultiLabel) = (&mut self.source, task) {
            options.task.get_or_insert(task);
        }
        self
    }

    /// Which bands of multi-band images are read, and which values are black and white; models read images in
    /// the same way. Default: by the image format.
    pub fn channels(mut self, channels: Channels) -> Self {
        self.options.loading.decoder.channels = channels;
        self
    }

    /// The source, and the origin of its split.
    pub(super) fn read(&self) -> Result<(Labelled, &'static str)> {
        self.read_with(&mut |root| self.folder_options().read(root))
    }

    /// The ids of all images that are there now, and of those that are test images; nothing is decoded or hashed.
    pub(crate) fn ids(&self) -> Result<(BTreeSet<String>, BTreeSet<String>)> {
        let (labelled, _) = self.allowing_missing().read()?;
        let Dataset { items, split, .. } = labelled.dataset;
        let tested = split.iter().flat_map(|split| &split.test).map(|&item| items[item].id.clone()).collect();
        Ok((items.items.into_iter().map(|item| item.id).collect(), tested))
    }

    /// What counts as a photo in class folders.
    pub(super) fn folder_options(&self) -> FolderOptions {
        FolderOptions { include_masks: self.class_folders, outermost: self.class_folders }
    }

    /// The same, with another reader of class folders.
    pub(super) fn read_with(
        &self,
        folder: &mut dyn FnMut(&Path) -> std::result::Result<Dataset, DataError>,
    ) -> Result<(Labelled, &'static str)> {
        let column = match &self.groups {
            Some(Grouping::Column(column)) => Some(column),
            _ => None,
        };
        let of_table = |path: &Path, options: &TableOptions| {
            let group = column.or(options.group_column.as_ref()).cloned();
            source::table::read(path, &TableOptions { group_column: group, ..options.clone() })
        };
        let (mut labelled, says) = match &self.source {
            Source::Table(path, options) => (of_table(path, options)?, AS_THE_TABLE_SAYS),
            Source::List(files, task) => {
                (Labelled::by_folders(source::list::read_labelled(files, *task)?), AS_LISTED)
            }
            Source::Folder(root) if self.class_folders => {
                let mut labelled = Labelled::by_folders(folder(root)?);
                table::follow_lists(root, &mut labelled);
                (labelled, BY_FOLDERS)
            }
            Source::Folder(root) => {
                let options = TableOptions {
                    group_column: column.cloned(),
                    allow_missing: self.allow_missing,
                    ..TableOptions::default()
                };
                let read = table::read_folder(root, &options, folder)?;
                (read.labelled, if read.by_table { AS_THE_TABLE_SAYS } else { BY_FOLDERS })
            }
        };
        if let (Source::Folder(root), Some(column), BY_FOLDERS) = (&self.source, column, says) {
            // A table beside the class folders may have it.
            let is_asked = |unused: &UnusedGroups| match column {
                Column::Name(name) => unused.column.eq_ignore_ascii_case(name),
                Column::Index(_) => false,
            };
            let unused = labelled.unused_groups.take().filter(is_asked);
            let unused = unused.ok_or_else(|| Error::NoGroupColumn { data: root.clone() })?;
            labelled.groups = Some(unused.groups);
        }
        self.split_asked_for(&mut labelled);
        if let Some(Grouping::Pattern(pattern)) = &self.groups {
            labelled.groups = Some(groups::by_pattern(&labelled.dataset.items, pattern)?);
        }
        Ok((labelled, says))
    }

    /// A split that is asked for goes before that of the folders of a table's files, or of lists, except for
    /// test images.
    fn split_asked_for(&self, labelled: &mut Labelled) {
        if let (Some(ValidSplit::File(_) | ValidSplit::Items(_)), Some(unused)) =
            (&self.valid_split, labelled.unused_split.take())
        {
            labelled.dataset.notices.retain(|notice| *notice != unused);
        }
        let (true, Some(split)) = (self.valid_split.is_some(), &mut labelled.dataset.split) else { return };
        let Some(implied) = labelled.implied_split.take() else { return };
        split.valid.clear();
        let notices = &mut labelled.dataset.notices;
        notices.retain(|notice| !implied.notices.contains(notice));
        if let Some(ValidSplit::File(file)) = &self.valid_split
            && implied.by == SplitBy::Lists
            && file.file_name().is_some_and(|name| implied.files.contains(&*name.to_string_lossy()))
        {
            // These are the lists that are asked for.
            return;
        }
        let what = match implied.by {
            SplitBy::Folders => {
                format!("the folders of a split that the table's files are in ({})", implied.files)
            }
            SplitBy::Lists => format!("the lists {}", implied.files),
            SplitBy::Names => "the sides that the names of images begin with".to_owned(),
        };
        notices.push(format!(
            "the validation images are those that are asked for; {what} are ignored, except for test images"
        ));
    }

    /// The folder, if the source is not a table.
    pub(super) fn folder(&self) -> Option<PathBuf> {
        match &self.source {
            Source::Folder(root) => Some(root.clone()),
            Source::Table(path, _) if path.is_dir() => Some(path.clone()),
            Source::Table(_, options) => options.folder.clone(),
            Source::List(..) => None,
        }
    }

    /// The same, where a table may name files that do not exist.
    pub(super) fn allowing_missing(&self) -> Self {
        let mut same = self.clone();
        same.allow_missing = true;
        if let Source::Table(_, options) = &mut same.source {
            options.allow_missing = true;
        }
        same
    }

    /// A classifier needs at least two classes.
    pub(super) fn enough_classes(&self, items: &Items, says: &str) -> Result<()> {
        let path = self.source.path();
        match items.classes.names() {
            [class] if items.task == Task::SingleLabel && says == AS_THE_TABLE_SAYS => {
                Err(Error::Data(DataError::Table {
                    path: path.to_owned(),
                    row: None,
                    detail: format!("has the single class \"{class}\", and a classifier needs at least two"),
                    advice: "name the column of the labels (`label_columns`), or add rows of other classes"
                        .to_owned(),
                }))
            }
            _ if items.task == Task::MultiLabel && have_the_same_labels(items) => {
                Err(Error::Data(DataError::Table {
                    path: path.to_owned(),
                    row: None,
                    detail: format!(
                        "gives all {} images the same labels, {}, so that there is nothing to learn",
                        ocelli_data::text::count(items.len()),
                        items
                            .classes
                            .names()
                            .iter()
                            .take(5)
                            .map(String::as_str)
                            .collect::<Vec<_>>()
                            .join(", ")
                    ),
                    advice: "name the column of the labels (`label_columns`), and what separates them \
                             (`label_separator`), or add rows with others"
                        .to_owned(),
                }))
            }
            _ => Ok(()),
        }
    }

    /// The split and its origin; `says` is the origin of the source's own. What else is to be said goes to
    /// `notices`.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn split(
        &self,
        own: Option<Split>,
        items: &Items,
        digests: &[Digest],
        groups: Option<&[Option<String>]>,
        says: &'static str,
        implied: Option<SplitBy>,
        notices: &mut Vec<String>,
    ) -> Result<(Split, &'static str)> {
        let says = match implied {
            Some(SplitBy::Folders) => AS_THEIR_FOLDERS_SAY,
            Some(SplitBy::Lists) => AS_LISTS_SAY,
            Some(SplitBy::Names) => AS_NAMES_SAY,
            None => says,
        };
        let (drawn, one_fold) = match groups {
            None => (DRAWN, ONE_FOLD),
            Some(_) => ("split by Ocelli, group by group", "one fold of several, of whole groups"),
        };
        let source_splits = own.as_ref().is_some_and(|own| !own.valid.is_empty());
        let test = own.as_ref().map_or_else(Vec::new, |own| own.test.clone());
        let stratified = |fraction| match groups {
            None => split::stratified(items, digests, &test, fraction, self.seed),
            Some(groups) => split::stratified_by_group(items, digests, groups, &test, fraction, self.seed),
        };
        Ok(match (&self.valid_split, own) {
            (None, Some(own)) if source_splits => (own, says),
            (None, _) => (stratified(0.2)?, drawn),
            (Some(ValidSplit::Fraction(fraction)), _) if source_splits => {
                let expected = match says {
                    AS_THE_TABLE_SAYS => {
                        "left out, since the table defines a validation set; where its column is none of a split: \
                         `split_column` none"
                    }
                    _ => "left out, since the data defines a validation set",
                };
                return Err(Error::setting("valid_split", fraction, expected));
            }
            (Some(ValidSplit::Fraction(fraction)), _) => (stratified(*fraction)?, drawn),
            (Some(ValidSplit::Fold { folds, fold }), _) => {
                (split::k_fold_of(items, digests, groups, &test, *folds, *fold, self.seed)?, one_fold)
            }
            (Some(ValidSplit::File(path)), _) => match table::read_split(path, items)? {
                Some(listed) => {
                    notices.push(format!("the split is that of {}", listed.files));
                    (listed.split, AS_LISTS_SAY)
                }
                None => (Split::read(items, path)?, "as the split file says"),
            },
            (Some(ValidSplit::Items(valid)), _) => (Split::explicit(items, &test, valid)?, "as asked"),
            (Some(ValidSplit::Folds(_)), _) => {
                let split = Split::everything(items, &test);
                // Folds by group hold out whole groups.
                notices.extend(
                    groups.is_none().then(|| notices::never_held_out(items, digests, &split)).flatten(),
                );
                (split, BY_FOLDS)
            }
            (Some(ValidSplit::Nothing), _) => (Split::everything(items, &test), "nothing is held out"),
        })
    }
}

fn have_the_same_labels(items: &Items) -> bool {
    let mut targets =
        items.items.iter().map(|item| &item.target).filter(|target| **target != Target::Unlabelled);
    match targets.next() {
        Some(first) => items.len() > 1 && targets.all(|target| target == first),
        None => false,
    }
}
