//! Labelled images: read, split and checked before training.

pub(crate) mod builder;
pub(crate) mod decisions;
pub(crate) mod of_run;
pub(crate) mod options;
pub(crate) mod photos;
pub(crate) mod recorded;
pub(crate) mod to_tensor;
pub(crate) mod valid_split;

mod baseline;
mod load;
pub(crate) mod notices;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ocelli_data::source::table::{self, TableOptions};
use ocelli_data::split::k_fold_of;
use ocelli_data::{
    Augmentation, BadImages, ClassLoss, DataError, Digest, Items, Loader, LoaderOptions, Normalization,
    Preprocessing, Skipped, Split, Store, Target, Task, class_losses,
};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::data::builder::{ImageDataBuilder, Source};
use crate::data::options::ImageOptions;
use crate::error::Result;

/// Labelled images, split into training and validation sets.
///
/// Made by [`ImageData::from_folder`], [`ImageData::from_csv`] or [`ImageData::from_labels`].
#[derive(Debug, Clone)]
pub struct ImageData {
    pub(crate) items: Arc<Items>,
    pub(crate) split: Split,
    pub(crate) digests: Arc<Vec<Digest>>,
    skipped: Vec<Skipped>,
    notices: Vec<String>,
    /// What classes have lost before decoding.
    losses: Vec<ClassLoss>,
    /// The folder, if the source is one.
    folder: Option<PathBuf>,
    origin: &'static str,
    /// The separator of several labels of an image in the source's table.
    pub(crate) label_separator: Option<char>,
    /// Training items that were dropped by decisions.
    dropped: Vec<usize>,
    /// The items' labels in the source, where decisions have changed some.
    undecided: Option<Arc<Vec<Target>>>,
    /// The group of each item that must be on one side of a split, where images are grouped.
    groups: Option<Arc<Vec<Option<String>>>>,
    /// The seed of the split.
    seed: u64,
    options: ImageOptions,
}

/// Images of one class in each part of the data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassCount {
    /// The class.
    pub class: String,
    /// Training images.
    pub train: usize,
    /// Validation images.
    pub valid: usize,
}

/// A part of the split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// Training images.
    Train,
    /// Validation images.
    Valid,
    /// Test images, with or without labels.
    Test,
}

impl ImageData {
    /// Data of items with a split, with the builder's options and without notices.
    fn new(
        items: Items,
        split: Split,
        digests: Vec<Digest>,
        origin: &'static str,
        builder: &ImageDataBuilder,
    ) -> Self {
        Self {
            items: Arc::new(items),
            split,
            digests: Arc::new(digests),
            skipped: Vec::new(),
            notices: Vec::new(),
            losses: Vec::new(),
            folder: builder.folder(),
            origin,
            label_separator: None,
            dropped: Vec::new(),
            undecided: None,
            groups: None,
            seed: builder.seed,
            options: builder.options.clone(),
        }
    }

    fn skipping(mut self, mut skipped: Vec<Skipped>) -> Self {
        skipped.sort_by(|a, b| a.path.cmp(&b.path));
        self.skipped = skipped;
        self
    }

    /// Photos in a folder, as [`from_folder`](Self::from_folder), or named in a table, as
    /// [`from_csv`](Self::from_csv), depending on the path.
    pub fn from_path(path: impl AsRef<Path>) -> ImageDataBuilder {
        let path = path.as_ref();
        match table::is_table(path) && !path.is_dir() {
            true => Self::from_csv(path, TableOptions::default()),
            false => Self::from_folder(path),
        }
    }

    /// Photos in `root/train/CLASS/` and `root/valid/CLASS/`, or in `root/CLASS/`; see
    /// [`ocelli_data::source::folder`]. If there are no class folders, but a table of labels in the folder,
    /// the table is read, with a [notice](Self::notices).
    pub fn from_folder(root: impl AsRef<Path>) -> ImageDataBuilder {
        ImageDataBuilder::new(Source::Folder(root.as_ref().to_owned()))
    }

    /// Photos named in a table, one row each, with their label or labels: CSV or JSON lines; see
    /// [`ocelli_data::source::table`]. For a folder, the table in it. Options that are not set are detected,
    /// with a [notice](Self::notices).
    pub fn from_csv(path: impl AsRef<Path>, options: TableOptions) -> ImageDataBuilder {
        ImageDataBuilder::new(Source::Table(path.as_ref().to_owned(), options))
    }

    /// Photos that the program lists, each with its labels: exactly one with [`Task::SingleLabel`]. They are split as those
    /// of one folder of class folders.
    pub fn from_labels(
        photos: impl IntoIterator<Item = (PathBuf, Vec<String>)>,
        task: Task,
    ) -> ImageDataBuilder {
        ImageDataBuilder::new(Source::List(Arc::new(photos.into_iter().collect()), task))
    }

    /// Whether an image has one label or several.
    pub fn task(&self) -> Task {
        self.items.task
    }

    /// The names of the classes, in the order of a model's outputs.
    pub fn classes(&self) -> &[String] {
        self.items.classes.names()
    }

    /// The number of images of each class.
    pub fn class_counts(&self) -> Vec<ClassCount> {
        let train = self.items.class_counts(&self.split.train);
        let valid = self.items.class_counts(&self.split.valid);
        let counts = train.into_iter().zip(valid);
        let named = self.classes().iter().zip(counts);
        named.map(|(class, (train, valid))| ClassCount { class: class.clone(), train, valid }).collect()
    }

    /// The number of training images.
    pub fn train_len(&self) -> usize {
        self.split.train.len()
    }

    /// The number of validation images.
    pub fn valid_len(&self) -> usize {
        self.split.valid.len()
    }

    /// All items; the [`split`](Self::split) holds indices into them.
    pub fn items(&self) -> &Items {
        &self.items
    }

    /// The split.
    pub fn split(&self) -> &Split {
        &self.split
    }

    /// Writes the split, for [`ValidSplit::File`](crate::ValidSplit::File). Training items that
    /// [decisions](ImageDataBuilder::decisions) drop count as training items: the decisions are a file of
    /// their own.
    ///
    /// # Errors
    /// Where the file cannot be written.
    pub fn write_split(&self, path: impl AsRef<Path>) -> Result<()> {
        Ok(self.split_with_dropped().write(&self.items, path)?)
    }

    fn split_with_dropped(&self) -> Split {
        let mut split = self.split.clone();
        split.train.extend(&self.dropped);
        split.train.sort_unstable();
        split
    }

    /// Records these photos, for a run that may be resumed.
    pub(crate) fn write_record(&self, folder: &Path) -> Result<()> {
        let before = self.undecided.as_deref();
        let decided = before.map(|before| recorded::Decided { before, dropped: &self.dropped });
        recorded::write(folder, &self.items, decided.as_ref(), &self.split_with_dropped(), &self.digests)
    }

    /// The same images with another split.
    pub(crate) fn with_split(&self, split: Split) -> Self {
        Self { split, ..self.clone() }
    }

    /// The same data without images that could not be used, in no part of the split.
    pub(crate) fn without(&self, is_unusable: impl Fn(&Path) -> bool) -> Self {
        let mut split = self.split.clone();
        for part in [&mut split.train, &mut split.valid, &mut split.test] {
            part.retain(|&item| !is_unusable(&self.items[item].path));
        }
        self.with_split(split)
    }

    /// Where the split comes from, for people: "folders", "split by Ocelli".
    pub fn split_origin(&self) -> &'static str {
        self.origin
    }

    /// The augmentation of training images.
    pub fn augmentation(&self) -> Option<&Augmentation> {
        self.options.augmentation.as_ref()
    }

    /// Whether every class is sampled equally often.
    pub fn balanced_sampling(&self) -> bool {
        self.options.balanced_sampling
    }

    /// Skipped files and folders, sorted by path.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// Notices that matter for trusting a result, one sentence each.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// The folders of the photos, in which nothing is written unasked.
    pub fn folders(&self) -> Vec<&Path> {
        self.folder.as_deref().into_iter().chain([self.items.root.as_path()]).collect()
    }

    /// Checks whether classes lose too many images, given these bad ones.
    ///
    /// # Errors
    /// With [`BadImages::Few`], where a class loses all of its images, or more than a tenth. The error lists
    /// all bad images of that class, including those that have not been loaded yet.
    pub(crate) fn can_spare<'a>(&self, bad: impl IntoIterator<Item = (&'a Path, &'a str)>) -> Result<()> {
        if self.options.loading.bad_images != BadImages::Few {
            return Ok(());
        }
        let bad: HashMap<&Path, &str> = bad.into_iter().collect();
        let read: Vec<usize> = self.split.train.iter().chain(&self.split.valid).copied().collect();
        let met = read.iter().filter_map(|&item| {
            let path = self.items[item].path.as_path();
            bad.get(path).map(|reason| (item, Skipped::image(path, reason)))
        });
        let mut met: BTreeMap<usize, Skipped> = met.collect();
        let serious = |met: &BTreeMap<usize, Skipped>| {
            class_losses(&self.items, &read, &self.losses, met).into_iter().filter(ClassLoss::is_serious)
        };
        let Some(loss) = serious(&met).next() else { return Ok(()) };
        let class = self.items.classes.index(&loss.class);
        let of_class =
            |item: &usize| self.items[*item].target.classes().iter().any(|other| Some(*other) == class);
        let others: Vec<usize> =
            read.iter().copied().filter(|item| of_class(item) && !met.contains_key(item)).collect();
        let decoded = others.par_iter().filter_map(|&item| {
            match self.options.loading.decoder.decode_file_for(&self.items[item].path, 1) {
                Err(DataError::BadImage { path, reason }) => Some((item, Skipped::image(path, reason))),
                _ => None,
            }
        });
        met.extend(decoded.collect::<Vec<_>>());
        let complete = serious(&met).find(|complete| complete.class == loss.class);
        Err(complete.unwrap_or(loss).error().into())
    }

    /// The image size in pixels.
    pub fn size(&self) -> usize {
        self.options.size
    }

    /// The same data at another image size, 1 to 8192 pixels.
    ///
    /// # Errors
    /// [`Error::Data`](crate::Error::Data) for other sizes.
    pub fn with_size(self, size: usize) -> Result<Self> {
        let data = Self { options: ImageOptions { size, ..self.options }, ..self };
        data.options.check_preprocessing()?;
        Ok(data)
    }

    /// How images become samples and batches.
    pub(crate) fn image_options(&self) -> &ImageOptions {
        &self.options
    }

    /// The seed of the split, and of a learner: of its head, dropout, and the order of the images.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The same data and split, with another seed for a learner.
    pub fn with_seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// The batch size.
    pub fn batch_size(&self) -> usize {
        self.options.loading.batch_size
    }

    /// The same data with another batch size.
    pub(crate) fn with_batch_size(mut self, images: usize) -> Self {
        self.options.loading.batch_size = images;
        self
    }

    /// The items of a part, as indices.
    pub(crate) fn part(&self, part: Part) -> &[usize] {
        match part {
            Part::Train => &self.split.train,
            Part::Valid => &self.split.valid,
            Part::Test => &self.split.test,
        }
    }

    /// A hash of the images, their labels and their split.
    pub(crate) fn fingerprint(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        let mut add = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
        };
        self.classes().iter().for_each(|class| add(class.as_bytes()));
        for (item, digest) in self.items.items.iter().zip(self.digests.iter()) {
            add(item.id.as_bytes());
            add(digest);
            item.target.classes().iter().for_each(|class| add(&(*class as u64).to_le_bytes()));
        }
        for part in [&self.split.train, &self.split.valid, &self.split.test] {
            add(&part.iter().flat_map(|item| (*item as u64).to_le_bytes()).collect::<Vec<u8>>());
        }
        hasher.finalize().to_hex()[..32].to_owned()
    }

    /// The preprocessing for a network with this normalisation.
    pub(crate) fn preprocessing(&self, normalization: Normalization) -> Preprocessing {
        self.options.preprocessing(normalization)
    }

    pub(crate) fn loader(&self, normalization: Normalization) -> Result<Loader> {
        self.loader_with(normalization, self.options.loading)
    }

    /// The same with other options.
    pub(crate) fn loader_with(&self, normalization: Normalization, options: LoaderOptions) -> Result<Loader> {
        let loader = Loader::new(self.items.clone(), self.preprocessing(normalization), options)?;
        Ok(loader.expecting(self.digests.clone()))
    }

    /// As [`loader`](Self::loader), with augmentation; from resized copies, if there is a store of them.
    pub(crate) fn training_loader(
        &self,
        copies: Option<Store>,
        normalization: Normalization,
        seed: u64,
        batch_size: usize,
    ) -> Result<Loader> {
        let options = LoaderOptions { batch_size, ..self.options.loading };
        let mut loader = self.loader_with(normalization, options)?;
        if let Some(store) = copies {
            loader = loader.copies(store);
        }
        Ok(match &self.options.augmentation {
            Some(augmentation) => loader.augment(augmentation.clone(), seed)?,
            None => loader,
        })
    }

    /// The decoder.
    pub fn decoder(&self) -> ocelli_data::Decoder {
        self.options.loading.decoder
    }

    /// The options of the loader.
    pub(crate) fn loading(&self) -> LoaderOptions {
        self.options.loading
    }

    /// The largest shorter side that training needs of an image; `None` if it may need whole images.
    pub(crate) fn store_side(&self, normalization: Normalization) -> Option<u32> {
        let preprocessing = self.preprocessing(normalization);
        let needed = match &self.options.augmentation {
            Some(augmentation) => augmentation.needed(&preprocessing),
            None => preprocessing.needed(),
        };
        (16..=4000).contains(&needed).then_some(needed)
    }

    /// The training items.
    pub(crate) fn training_items(&self) -> Items {
        self.items_of(&self.split.train)
    }

    /// Cross-validation folds of some items, as numbers into them: equal images, and those of a group, are in one.
    pub(crate) fn folds_of(&self, items: &[usize], folds: usize, seed: u64) -> Result<Vec<Split>> {
        let digests: Vec<Digest> = items.iter().map(|&item| self.digests[item]).collect();
        let some = self.items_of(items);
        let groups: Option<Vec<Option<String>>> =
            self.groups.as_ref().map(|groups| items.iter().map(|&item| groups[item].clone()).collect());
        let of = |fold| k_fold_of(&some, &digests, groups.as_deref(), &[], folds, fold, seed);
        Ok((0..folds).map(of).collect::<std::result::Result<_, _>>()?)
    }

    /// The fold that each item is held out in, as [`ValidSplit::Fold`](crate::ValidSplit) draws them, counted from 1;
    /// `None` for one that is in none.
    pub(crate) fn fold_of_each(&self, folds: usize) -> Result<Vec<Option<usize>>> {
        let mut found = vec![None; self.items.len()];
        for fold in 0..folds {
            let groups = self.groups.as_ref().map(|groups| groups.as_slice());
            let (test, seed) = (&self.split.test, self.seed());
            let split = k_fold_of(&self.items, &self.digests, groups, test, folds, fold, seed)?;
            split.valid.into_iter().for_each(|item| found[item] = Some(fold + 1));
        }
        Ok(found)
    }

    /// These images as items of their own.
    pub(crate) fn items_of(&self, indices: &[usize]) -> Items {
        Items {
            items: indices.iter().map(|&item| self.items[item].clone()).collect(),
            root: self.items.root.clone(),
            classes: self.items.classes.clone(),
            task: self.items.task,
        }
    }
}
