//! Where photos come from, how they are read, and what is held out.

use std::path::{Path, PathBuf};

use ocelli_data::source::table::{self, Labelled, TableOptions, Tables};
use ocelli_data::{
    Augmentation, BadImages, Channels, DataError, Dataset, Digest, Filter, Framing, Grouping, Items, Split,
    Task, groups, source, split,
};

use crate::data::held_out::HeldOut;
use crate::data::options::ImageOptions;
use crate::data::photos::TrainedOn;
use crate::data::recorded::Recorded;
use crate::error::{Error, Result};

/// Who decided what is held out, where a column of a table does.
pub(super) const AS_THE_TABLE_SAYS: &str = "as the table says";

/// Where photos and their labels come from.
#[derive(Debug, Clone)]
pub(super) enum Source {
    Folder(PathBuf),
    Table(PathBuf, TableOptions),
}

/// How photos are read. Finish with [`load`](ImageDataBuilder::load).
#[derive(Debug, Clone)]
#[must_use]
pub struct ImageDataBuilder {
    pub(super) source: Source,
    pub(super) options: ImageOptions,
    pub(super) held_out: Option<HeldOut>,
    groups: Option<Grouping>,
    pub(super) decisions: Option<PathBuf>,
    pub(super) trained_on: Option<TrainedOn>,
    pub(super) recorded: Option<Recorded>,
    pub(super) seed: u64,
}

impl ImageDataBuilder {
    pub(super) fn new(source: Source) -> Self {
        Self {
            source,
            options: ImageOptions::default(),
            held_out: None,
            groups: None,
            decisions: None,
            trained_on: None,
            recorded: None,
            seed: 0,
        }
    }

    /// The side in pixels of the square images that the network sees, 1 to 8192. Default 224.
    pub fn size(mut self, size: usize) -> Self {
        self.options.size = size;
        self
    }

    /// How a photo becomes a square. Default: the shorter side to the size, the centre kept.
    pub fn framing(mut self, framing: Framing) -> Self {
        self.options.framing = framing;
        self
    }

    /// How photos are resized. Default bicubic, antialiased, as most backbones were trained.
    pub fn filter(mut self, filter: Filter) -> Self {
        self.options.filter = filter;
        self
    }

    /// How images are changed at random where they are trained on. Without it they are not.
    pub fn augmentation(mut self, augmentation: Augmentation) -> Self {
        self.options.augmentation = Some(augmentation);
        self
    }

    /// Draws every class equally often in an epoch, rare ones again and again, frequent ones in part. Default: each
    /// image once.
    pub fn balanced(mut self, balanced: bool) -> Self {
        self.options.balanced = balanced;
        self
    }

    /// The share of every class that is held out where the source does not say, above 0 and below 1. Default 0.2.
    pub fn valid(self, fraction: f64) -> Self {
        self.hold_out(HeldOut::Fraction(fraction))
    }

    /// What is held out. Default: what the source says (`valid/`, a column), else a fifth of every class.
    pub fn hold_out(mut self, held_out: HeldOut) -> Self {
        self.held_out = Some(held_out);
        self
    }

    /// Keeps images that belong together on one side of the split: of one patient, one place, one burst of a camera.
    /// Default: images that are byte for byte the same.
    pub fn groups(mut self, grouping: Grouping) -> Self {
        self.groups = Some(grouping);
        self
    }

    /// A table of what people have decided about labels, as the page of a report gives it, with the columns `id`,
    /// `decision` (keep, relabel or drop) and `label`. Training images are relabelled or left out; held-out ones stay
    /// as they are, so that results stay comparable.
    pub fn decisions(mut self, path: impl Into<PathBuf>) -> Self {
        self.decisions = Some(path.into());
        self
    }

    /// The photos that a run began with, and its division of them, are taken of those that the source holds.
    pub(crate) fn recorded(mut self, recorded: Recorded) -> Self {
        self.recorded = Some(recorded);
        self
    }

    /// The seed of the split. Default 0.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Images a batch, at least 2. Default 64.
    pub fn batch_size(mut self, images: usize) -> Self {
        self.options.loading.batch_size = images;
        self
    }

    /// Threads that decode; 0, the default: one for each core.
    pub fn threads(mut self, threads: usize) -> Self {
        self.options.loading.threads = threads;
        self
    }

    /// What to do about images that cannot be read. Default: leave them out and list them, unless a class loses all of its
    /// images, or more than a tenth.
    pub fn bad_images(mut self, policy: BadImages) -> Self {
        self.options.loading.bad_images = policy;
        self
    }

    /// The largest number of pixels of an image that is read; it bounds the memory. Default 178,956,970, Pillow's.
    pub fn max_pixels(mut self, pixels: u64) -> Self {
        self.options.loading.decoder.max_pixels = pixels;
        self
    }

    /// Leaves out of an evaluation what the run in this folder was trained on, as its `photos.csv` tells; nothing where it
    /// has none. Photos are known by their content, wherever they are.
    ///
    /// # Errors
    /// Where the run has this file, and it cannot be read.
    pub fn without_training_images_of(mut self, run: impl AsRef<Path>) -> Result<Self> {
        self.trained_on = TrainedOn::of_run(run.as_ref())?;
        Ok(self)
    }

    /// How a table is read that does not say whether images have several labels.
    pub(crate) fn expected_task(mut self, task: Task) -> Self {
        if let (Source::Table(_, options), Task::MultiLabel) = (&mut self.source, task) {
            options.task.get_or_insert(task);
        }
        self
    }

    /// Which bands of images with several are read, and which values are black and white; models that are trained on them
    /// read their images in the same way. Default: what the format says.
    pub fn channels(mut self, channels: Channels) -> Self {
        self.options.loading.decoder.channels = channels;
        self
    }

    /// What the source says, and by what it would say what is held out.
    pub(super) fn read(&self) -> Result<(Labelled, &'static str)> {
        self.read_with(&mut |root| source::folder::read(root))
    }

    /// The same, with class folders read so.
    pub(super) fn read_with(
        &self,
        folder: &mut dyn FnMut(&Path) -> std::result::Result<Dataset, DataError>,
    ) -> Result<(Labelled, &'static str)> {
        let column = match &self.groups {
            Some(Grouping::Column(column)) => Some(column),
            _ => None,
        };
        let of_table = |path: &Path, options: &TableOptions| {
            let group = column.or(options.group.as_ref()).cloned();
            source::table::read(path, &TableOptions { group, ..options.clone() })
        };
        let (mut labelled, says) = match &self.source {
            Source::Table(path, options) => (of_table(path, options)?, AS_THE_TABLE_SAYS),
            Source::Folder(root) => match Tables::of(root) {
                tables if !tables.is_empty() && table::says_the_classes(root) => {
                    (of_table(root, &TableOptions::default())?, AS_THE_TABLE_SAYS)
                }
                tables => {
                    let mut dataset = folder(root)?;
                    if column.is_some() {
                        return Err(Error::NoGroupColumn { data: root.clone() });
                    }
                    dataset.notices.extend(tables.mention(root));
                    (Labelled { dataset, label_separator: None, groups: None }, "folders")
                }
            },
        };
        if let Some(Grouping::Pattern(pattern)) = &self.groups {
            labelled.groups = Some(groups::by_pattern(&labelled.dataset.items, pattern)?);
        }
        Ok((labelled, says))
    }

    /// The folder that was given, where it is no table.
    pub(super) fn folder(&self) -> Option<PathBuf> {
        match &self.source {
            Source::Folder(root) => Some(root.clone()),
            Source::Table(path, _) if path.is_dir() => Some(path.clone()),
            Source::Table(_, options) => options.folder.clone(),
        }
    }

    /// The same, where a table may name files that do not exist.
    pub(super) fn allowing_missing(&self) -> Self {
        let mut same = self.clone();
        same.source = match same.source {
            Source::Table(path, options) => {
                Source::Table(path, TableOptions { allow_missing: true, ..options })
            }
            Source::Folder(root) if !Tables::of(&root).is_empty() && table::says_the_classes(&root) => {
                Source::Table(root, TableOptions { allow_missing: true, ..TableOptions::default() })
            }
            folder => folder,
        };
        same
    }

    /// A classifier tells at least two classes apart.
    pub(super) fn enough_classes(&self, items: &Items, says: &str) -> Result<()> {
        let (Source::Table(path, _) | Source::Folder(path)) = &self.source;
        match items.classes.names() {
            [class] if items.task == Task::SingleLabel && says == AS_THE_TABLE_SAYS => {
                Err(Error::Data(DataError::Table {
                    path: path.clone(),
                    row: None,
                    detail: format!("has the single class \"{class}\", and a classifier needs at least two"),
                    advice: "name the column of the labels (`label`), or add rows of other classes"
                        .to_owned(),
                }))
            }
            _ => Ok(()),
        }
    }

    /// The split and who decided it; `says` is by what the source does.
    pub(super) fn split(
        &self,
        own: Option<Split>,
        items: &Items,
        digests: &[Digest],
        groups: Option<&[Option<String>]>,
        says: &'static str,
    ) -> Result<(Split, &'static str)> {
        let (drawn, one_fold) = match groups {
            None => ("split by Ocelli", "one fold of several"),
            Some(_) => ("split by Ocelli, group by group", "one fold of several, of whole groups"),
        };
        let source_splits = own.as_ref().is_some_and(|own| !own.valid.is_empty());
        let test = own.as_ref().map_or_else(Vec::new, |own| own.test.clone());
        let stratified = |fraction| match groups {
            None => split::stratified(items, digests, &test, fraction, self.seed),
            Some(groups) => split::stratified_by_group(items, digests, groups, &test, fraction, self.seed),
        };
        Ok(match (&self.held_out, own) {
            (None, Some(own)) if source_splits => (own, says),
            (None, _) => (stratified(0.2)?, drawn),
            (Some(HeldOut::Fraction(fraction)), _) if source_splits => {
                return Err(Error::setting(
                    "held_out",
                    fraction,
                    "none, since the data says itself what is held out",
                ));
            }
            (Some(HeldOut::Fraction(fraction)), _) => (stratified(*fraction)?, drawn),
            (Some(HeldOut::Fold { folds, fold }), _) => {
                let split = match groups {
                    None => split::k_fold(items, digests, &test, *folds, *fold, self.seed)?,
                    Some(groups) => {
                        split::k_fold_by_group(items, digests, groups, &test, *folds, *fold, self.seed)?
                    }
                };
                (split, one_fold)
            }
            (Some(HeldOut::File(path)), _) => (Split::read(items, path)?, "as the split file says"),
            (Some(HeldOut::Items(valid)), _) => (Split::explicit(items, &test, valid)?, "as asked"),
            (Some(HeldOut::Nothing), _) => (Split::everything(items, &test), "nothing is held out"),
        })
    }
}
