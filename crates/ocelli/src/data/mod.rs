//! Photos with labels, read, split and checked, before anything is computed.

pub(crate) mod decisions;
pub(crate) mod photos;
pub(crate) mod recorded;
pub(crate) mod to_tensor;

mod of_run;

pub(crate) use of_run::{Lost, RunImages};

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ocelli_data::inspect::{Report, inspect};
use ocelli_data::order::{self, Share};
use ocelli_data::source::table::{self, Labelled, TableOptions, Tables};
use ocelli_data::{
    Augmentation, BadImages, Channels, ClassLoss, Classes, DataError, Dataset, Digest, Filter, Framing,
    Grouping, Items, Loader, LoaderOptions, Normalization, Preprocessing, Skipped, Split, Store, Target,
    Task, check_classes, class_losses, digests, groups, source, split, undecodable_classes, words,
};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::data::photos::TrainedOn;
use crate::data::recorded::Recorded;
use crate::error::{Error, Result};
use crate::interpret::target_of;

/// Photos with labels, divided into those to train on and those to measure on.
///
/// Made by [`ImageData::from_folder`] or [`ImageData::from_csv`].
#[derive(Debug, Clone)]
pub struct ImageData {
    pub(crate) items: Arc<Items>,
    pub(crate) split: Split,
    pub(crate) digests: Arc<Vec<Digest>>,
    skipped: Vec<Skipped>,
    notices: Vec<String>,
    /// What classes have lost before anything was decoded.
    losses: Vec<ClassLoss>,
    /// The folder that was given, if it is one.
    folder: Option<PathBuf>,
    origin: &'static str,
    /// What separates several labels of an image in the table that they come from.
    pub(crate) label_separator: Option<char>,
    /// Items that were to be trained on, and that people have decided to leave out.
    dropped: Vec<usize>,
    /// The items' labels by their source, where people have decided on others.
    undecided: Option<Arc<Vec<Target>>>,
    size: usize,
    framing: Framing,
    filter: Filter,
    augmentation: Option<Augmentation>,
    balanced: bool,
    seed: u64,
    loading: LoaderOptions,
}

/// A part of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// The images that are trained on.
    Train,
    /// Those that are held out to measure on.
    Valid,
    /// Those for the very end, with labels or without.
    Test,
}

/// Which images are held out to measure on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HeldOut {
    /// This share of every class, above 0 and below 1, drawn from the seed.
    Fraction(f64),
    /// One of several folds, counted from 0: each image is held out in exactly one.
    Fold {
        /// The number of folds, at least 2.
        folds: usize,
        /// Which of them.
        fold: usize,
    },
    /// As a `split.csv` says that an earlier run has written.
    File(#[serde(with = "ocelli_data::path_text")] PathBuf),
    /// These items, as indices into [`ImageData::items`].
    Items(Vec<usize>),
    /// None: all are trained on, and nothing is measured.
    Nothing,
}

/// Who decided what is held out, where a column of a table does.
const AS_THE_TABLE_SAYS: &str = "as the table says";

/// Where photos and their labels come from.
#[derive(Debug, Clone)]
enum Source {
    Folder(PathBuf),
    Table(PathBuf, TableOptions),
}

/// How photos are read. Finish with [`load`](ImageDataBuilder::load).
#[derive(Debug, Clone)]
pub struct ImageDataBuilder {
    source: Source,
    size: usize,
    framing: Framing,
    filter: Filter,
    augmentation: Option<Augmentation>,
    balanced: bool,
    held_out: Option<HeldOut>,
    groups: Option<Grouping>,
    decisions: Option<PathBuf>,
    trained_on: Option<TrainedOn>,
    recorded: Option<Recorded>,
    seed: u64,
    loading: LoaderOptions,
}

/// Images of the largest batch.
const MAX_BATCH: usize = 1 << 16;

/// Images of one class in each part of the data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassCount {
    /// The class.
    pub class: String,
    /// Images to train on.
    pub train: usize,
    /// Images to measure on.
    pub valid: usize,
}

impl ImageData {
    /// Photos in a folder, as [`from_folder`](Self::from_folder), or named in a table, as
    /// [`from_csv`](Self::from_csv): what the path leads to decides.
    pub fn from_path(path: impl AsRef<Path>) -> ImageDataBuilder {
        let path = path.as_ref();
        match table::is_table(path) && !path.is_dir() {
            true => Self::from_csv(path, TableOptions::default()),
            false => Self::from_folder(path),
        }
    }

    /// Photos in `root/train/CLASS/` and `root/valid/CLASS/`, or in `root/CLASS/`; see
    /// [`ocelli_data::source::folder`]. Where there are no class folders, but a table of labels lies in the folder, that
    /// is read, and said in [`notices`](Self::notices).
    pub fn from_folder(root: impl AsRef<Path>) -> ImageDataBuilder {
        ImageDataBuilder::new(Source::Folder(root.as_ref().to_owned()))
    }

    /// Photos named in a table, a row each, with their label or labels: a CSV file, or JSON lines; see
    /// [`ocelli_data::source::table`]. Of a folder, the table that lies in it. What the options leave open is detected
    /// and said in [`notices`](Self::notices).
    pub fn from_csv(path: impl AsRef<Path>, options: TableOptions) -> ImageDataBuilder {
        ImageDataBuilder::new(Source::Table(path.as_ref().to_owned(), options))
    }

    /// Whether an image has one class or several.
    pub fn task(&self) -> Task {
        self.items.task
    }

    /// The names of the classes, in the order of a model's outputs.
    pub fn classes(&self) -> &[String] {
        self.items.classes.names()
    }

    /// How many images of each class there are.
    pub fn class_counts(&self) -> Vec<ClassCount> {
        let train = self.items.class_counts(&self.split.train);
        let valid = self.items.class_counts(&self.split.valid);
        let counts = train.into_iter().zip(valid);
        let named = self.classes().iter().zip(counts);
        named.map(|(class, (train, valid))| ClassCount { class: class.clone(), train, valid }).collect()
    }

    /// The number of images to train on.
    pub fn train_len(&self) -> usize {
        self.split.train.len()
    }

    /// The number of images to measure on.
    pub fn valid_len(&self) -> usize {
        self.split.valid.len()
    }

    /// All items, of which the [`split`](Self::split) holds indices.
    pub fn items(&self) -> &Items {
        &self.items
    }

    /// Which items are trained on and which are held out.
    pub fn split(&self) -> &Split {
        &self.split
    }

    /// Writes which items are trained on and which are held out, as [`HeldOut::File`] reads it. Training items that
    /// [decisions](ImageDataBuilder::decisions) leave out count as trained on: the decisions are a file of their own.
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

    /// Writes which photos these are, for a run that may be resumed on them.
    pub(crate) fn write_record(&self, folder: &Path) -> Result<()> {
        let targets = self.undecided.as_deref().map(Vec::as_slice);
        recorded::write(folder, &self.items, targets, &self.split_with_dropped(), &self.digests)
    }

    /// The same images, divided otherwise.
    pub(crate) fn with_split(&self, split: Split) -> Self {
        Self { split, ..self.clone() }
    }

    /// Who decided what is held out, for people: "folders", "split by Ocelli".
    pub fn split_origin(&self) -> &'static str {
        self.origin
    }

    /// How images are changed at random where they are trained on.
    pub fn augmentation(&self) -> Option<&Augmentation> {
        self.augmentation.as_ref()
    }

    /// Whether rare classes are drawn as often as frequent ones.
    pub fn is_balanced(&self) -> bool {
        self.balanced
    }

    /// Files and folders that were left out, sorted by path.
    pub fn skipped(&self) -> &[Skipped] {
        &self.skipped
    }

    /// What people should know before they trust a result, a sentence each.
    pub fn notices(&self) -> &[String] {
        &self.notices
    }

    /// The folders that the photos are in: nothing is written there unasked.
    pub fn folders(&self) -> Vec<&Path> {
        self.folder.as_deref().into_iter().chain([self.items.root.as_path()]).collect()
    }

    /// Whether classes can do without these images, which have turned out to be bad.
    ///
    /// # Errors
    /// With [`BadImages::Few`], where a class loses all of its images by them, or more than a tenth. The error tells of all
    /// bad images of that class, also of those that have not been met yet.
    pub(crate) fn can_spare<'a>(&self, bad: impl IntoIterator<Item = (&'a Path, &'a str)>) -> Result<()> {
        if self.loading.bad_images != BadImages::Few {
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
            match self.loading.decoder.decode_file_for(&self.items[item].path, 1) {
                Err(DataError::BadImage { path, reason }) => Some((item, Skipped::image(path, reason))),
                _ => None,
            }
        });
        met.extend(decoded.collect::<Vec<_>>());
        let complete = serious(&met).find(|complete| complete.class == loss.class);
        Err(complete.unwrap_or(loss).error().into())
    }

    /// The side in pixels of the images that the network sees.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The same photos, split and labels for a network that sees squares of another size, 1 to 8192 pixels.
    ///
    /// # Errors
    /// [`Error::Data`] for other sizes.
    pub fn with_size(self, size: usize) -> Result<Self> {
        let data = Self { size, ..self };
        // Any valid normalisation: the network's own comes later.
        data.preprocessing(Normalization::IMAGENET).validate()?;
        Ok(data)
    }

    /// The seed of the split, and of a learner of these photos: of its head, dropout, and the order of the images.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The same photos, divided as they are, with another seed for a learner of them.
    pub fn with_seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Images a batch.
    pub fn batch_size(&self) -> usize {
        self.loading.batch_size
    }

    /// The same with another number of images a batch.
    pub(crate) fn with_batch_size(mut self, images: usize) -> Self {
        self.loading.batch_size = images;
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

    /// From file to network, for a network that wants this normalisation.
    pub(crate) fn preprocessing(&self, normalization: Normalization) -> Preprocessing {
        Preprocessing { size: self.size, framing: self.framing, filter: self.filter, normalization }
    }

    pub(crate) fn loader(&self, normalization: Normalization) -> Result<Loader> {
        self.loader_with(normalization, self.loading)
    }

    fn loader_with(&self, normalization: Normalization, options: LoaderOptions) -> Result<Loader> {
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
        let options = LoaderOptions { batch_size, ..self.loading };
        let mut loader = self.loader_with(normalization, options)?;
        if let Some(store) = copies {
            loader = loader.copies(store);
        }
        Ok(match &self.augmentation {
            Some(augmentation) => loader.augment(augmentation.clone(), seed)?,
            None => loader,
        })
    }

    /// How images are loaded.
    pub(crate) fn loading(&self) -> LoaderOptions {
        self.loading
    }

    /// The shorter side that training needs of an image at most; nothing where it may need whole images.
    pub(crate) fn store_side(&self, normalization: Normalization) -> Option<u32> {
        let preprocessing = self.preprocessing(normalization);
        let needed = match &self.augmentation {
            Some(augmentation) => augmentation.needed(&preprocessing),
            None => preprocessing.needed(),
        };
        (16..=4000).contains(&needed).then_some(needed)
    }

    /// The items that are trained on.
    pub(crate) fn training_items(&self) -> Items {
        let items = self.split.train.iter().map(|&item| self.items[item].clone()).collect();
        Items {
            items,
            root: self.items.root.clone(),
            classes: self.items.classes.clone(),
            task: self.items.task,
        }
    }
}

impl ImageDataBuilder {
    fn new(source: Source) -> Self {
        Self {
            source,
            size: 224,
            framing: Framing::Crop { fraction: 1.0 },
            filter: Filter::Bicubic,
            augmentation: None,
            balanced: false,
            held_out: None,
            groups: None,
            decisions: None,
            trained_on: None,
            recorded: None,
            seed: 0,
            loading: LoaderOptions::default(),
        }
    }

    /// The side in pixels of the square images that the network sees, 1 to 8192. Default 224.
    pub fn size(mut self, size: usize) -> Self {
        self.size = size;
        self
    }

    /// How a photo becomes a square. Default: the shorter side to the size, the centre kept.
    pub fn framing(mut self, framing: Framing) -> Self {
        self.framing = framing;
        self
    }

    /// How photos are resized. Default bicubic, antialiased, as most backbones were trained.
    pub fn filter(mut self, filter: Filter) -> Self {
        self.filter = filter;
        self
    }

    /// How images are changed at random where they are trained on and are not precomputed. Default: not at all.
    pub fn transforms(mut self, augmentation: Augmentation) -> Self {
        self.augmentation = Some(augmentation);
        self
    }

    /// Draws every class equally often in an epoch, rare ones again and again, frequent ones in part. Default: each
    /// image once.
    pub fn balanced(mut self, balanced: bool) -> Self {
        self.balanced = balanced;
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
        self.loading.batch_size = images;
        self
    }

    /// Threads that decode; 0, the default: one for each core.
    pub fn threads(mut self, threads: usize) -> Self {
        self.loading.threads = threads;
        self
    }

    /// What to do about images that cannot be read. Default: leave them out and list them, unless a class loses all of its
    /// images, or more than a tenth.
    pub fn bad_images(mut self, policy: BadImages) -> Self {
        self.loading.bad_images = policy;
        self
    }

    /// The largest number of pixels of an image that is read; it bounds the memory. Default 178,956,970, Pillow's.
    pub fn max_pixels(mut self, pixels: u64) -> Self {
        self.loading.decoder.max_pixels = pixels;
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
        self.loading.decoder.channels = channels;
        self
    }

    /// Reads names, splits, hashes every file, and makes sure that every class has an image that can be decoded.
    ///
    /// # Errors
    /// [`Error::Data`](crate::Error::Data), which names the folder or file and says what to do.
    pub fn load(self) -> Result<ImageData> {
        self.preprocessing_is_valid()?;
        if !(2..=MAX_BATCH).contains(&self.loading.batch_size) {
            return Err(Error::setting(
                "batch_size",
                self.loading.batch_size,
                "from 2, since batch norm needs more than one image, to 65,536",
            ));
        }
        if let Some(augmentation) = &self.augmentation {
            augmentation.validate()?;
        }
        self.loading.decoder.channels.validate()?;
        let threads = self.loading.threads;
        // What a run that is resumed began with is all that matters of what is there now.
        let (Labelled { dataset, label_separator, groups }, says) = match &self.recorded {
            Some(_) => self.allowing_missing().read()?,
            None => self.read()?,
        };
        let Dataset { mut items, split: own, mut skipped, mut notices, mut losses } = dataset;
        match &self.recorded {
            Some(recorded) => losses.retain(|loss| recorded.has_class(&loss.class)),
            None => {
                self.may_lose(&losses, &mut notices)?;
                self.enough_classes(&items, says)?;
            }
        }
        let mut digests = digests(&items, threads, || ())?;
        let own_says = own.as_ref().is_some_and(|own| !own.valid.is_empty());
        let (mut split, origin) = match &self.recorded {
            Some(recorded) => {
                let restored = recorded.restore(items, &digests)?;
                (items, digests) = (restored.items, restored.digests);
                notices.extend(restored.notices);
                (restored.split, "as the run began")
            }
            None => {
                let (split, origin) = self.split(own, &items, &digests, groups.as_deref(), says)?;
                notices.extend(groups.iter().flat_map(|groups| self.say_groups(groups, &split)));
                (split, origin)
            }
        };
        let (mut dropped, mut undecided) = (Vec::new(), None);
        if let Some(path) = &self.decisions {
            undecided = Some(Arc::new(items.items.iter().map(|item| item.target.clone()).collect()));
            let mut decided = decisions::read(path)?;
            if self.recorded.is_some() {
                // Photos may have gone since the run began.
                let there: HashSet<&str> = items.items.iter().map(|item| item.id.as_str()).collect();
                decided.retain(|decision| there.contains(decision.id()));
            }
            let applied = decisions::apply(&decided, path, &mut items, &mut split)?;
            notices.push(applied.to_string());
            dropped = applied.dropped;
        }
        notices.extend(contradictions(&items, &digests));
        notices.extend(shared_images(&items, &digests, &split));
        // What the source holds out it has been told of already.
        if !own_says || self.held_out.is_some() {
            notices.extend(nothing_held_out(&items, &split));
        }
        if self.balanced {
            notices.extend(balance(&items, &split));
        }
        let bad = match self.loading.bad_images {
            BadImages::Skip => {
                let (_, lost) = undecodable_classes(&items, &split.train, &self.loading.decoder, threads)?;
                let (lost, without): (Vec<_>, Vec<_>) =
                    lost.into_iter().partition(|loss| !loss.lost.is_empty());
                if !without.is_empty() {
                    check_classes(&items, &split.train, &self.loading.decoder, threads)?;
                }
                self.may_lose(&lost, &mut notices)?;
                Vec::new()
            }
            BadImages::Few | BadImages::Fail => {
                check_classes(&items, &split.train, &self.loading.decoder, threads)?
            }
        };
        if let (BadImages::Fail, Some(bad)) = (self.loading.bad_images, bad.first()) {
            return Err(bad_image(bad));
        }
        // Images found bad here are met again, and listed, when their batch is made.
        skipped.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(ImageData {
            items: Arc::new(items),
            split,
            digests: Arc::new(digests),
            skipped,
            notices,
            losses,
            folder: self.folder(),
            origin,
            label_separator,
            dropped,
            undecided,
            size: self.size,
            framing: self.framing,
            filter: self.filter,
            augmentation: self.augmentation,
            balanced: self.balanced,
            seed: self.seed,
            loading: self.loading,
        })
    }

    /// The images with labels that a model of these classes is to be measured on, as held out: those that the source
    /// itself keeps for the end, or holds out, or all of them; without those that the model was trained on.
    pub(crate) fn for_evaluation(self, classes: &[String]) -> Result<ImageData> {
        self.preprocessing_is_valid()?;
        let known = Classes::new(classes.iter().cloned());
        let (Labelled { dataset, label_separator, groups }, says) =
            self.read_with(&mut |root| source::folder::read_known(root, &known))?;
        let Dataset { mut items, split: own, mut skipped, mut notices, losses } = dataset;
        self.may_lose(&losses, &mut notices)?;
        let digests = digests(&items, self.loading.threads, || ())?;
        let class = |&class: &usize| {
            let name = items.classes.name(class).unwrap_or_default();
            known.index(name).ok_or_else(|| Error::ClassUnknownToModel {
                data: items.root.clone(),
                class: name.to_owned(),
            })
        };
        let targets = items.items.iter().map(|item| {
            let classes = item.target.classes().iter().map(class).collect::<Result<Vec<_>>>()?;
            Ok(match &item.target {
                Target::Unlabelled => Target::Unlabelled,
                _ => target_of(items.task, classes),
            })
        });
        let targets = targets.collect::<Result<Vec<_>>>()?;
        items.items.iter_mut().zip(targets).for_each(|(item, target)| item.target = target);
        items.classes = known;
        let asked = self.held_out.as_ref().filter(|held_out| **held_out != HeldOut::Nothing);
        let has_labels =
            |side: &Vec<usize>| side.iter().any(|&item| items[item].target != Target::Unlabelled);
        let (mut valid, mut origin) = match own {
            own if asked.is_some() => {
                let (split, origin) = self.split(own, &items, &digests, groups.as_deref(), says)?;
                (split.valid, origin)
            }
            Some(own) if has_labels(&own.test) => {
                let labelled = |&item: &usize| items[item].target != Target::Unlabelled;
                (own.test.into_iter().filter(labelled).collect(), "the test images")
            }
            Some(own) if !own.valid.is_empty() => (own.valid, "the part that is held out"),
            Some(own) if !own.train.is_empty() && says != AS_THE_TABLE_SAYS => {
                return Err(Error::NothingHeldOut { data: items.root.clone() });
            }
            _ => (Split::everything(&items, &[]).train, "all"),
        };
        if let Some(trained_on) = &self.trained_on {
            let all = valid.len();
            let seen = trained_on.those_among(&digests, &valid);
            valid.retain(|item| !seen.contains(item));
            if valid.is_empty() && all > 0 {
                return Err(Error::AllTrainedOn { data: items.root.clone(), images: all });
            }
            if !seen.is_empty() {
                notices.push(format!(
                    "left out: {} of {all} images, which the model was trained on",
                    seen.len()
                ));
                origin = "those that the model was not trained on";
            }
        }
        skipped.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(ImageData {
            items: Arc::new(items),
            split: Split { valid, ..Split::default() },
            digests: Arc::new(digests),
            skipped,
            notices,
            losses,
            folder: self.folder(),
            origin,
            label_separator,
            dropped: Vec::new(),
            undecided: None,
            size: self.size,
            framing: self.framing,
            filter: self.filter,
            augmentation: None,
            balanced: false,
            seed: self.seed,
            loading: self.loading,
        })
    }

    /// Decodes every image once and says what is worth knowing, whether or not it can be trained on. `progress` is told
    /// the number of images after each, from any thread.
    ///
    /// # Errors
    /// Where the source cannot be read at all.
    pub fn inspect(self, progress: impl Fn(usize) + Sync) -> Result<Report> {
        self.preprocessing_is_valid()?;
        // What keeps a table from being trained on is said, and the rest is shown.
        let mut problems: Vec<String> = Vec::new();
        let mut look = |root: &Path| {
            let (dataset, doubt) = source::folder::look(root)?;
            problems.extend(doubt.iter().map(DataError::to_string));
            Ok(dataset)
        };
        let (labelled, says) = match self.read_with(&mut look) {
            Ok(read) => read,
            Err(error) => match self.allowing_missing().read_with(&mut look) {
                Ok(read) => {
                    problems.push(error.to_string());
                    read
                }
                Err(_) => return Err(error),
            },
        };
        let Labelled { dataset, groups, .. } = labelled;
        let Dataset { items, split: own, skipped, mut notices, losses } = dataset;
        let total = items.len();
        let inspection = inspect(&items, &self.loading.decoder, self.loading.threads, || progress(total))?;
        let bad = inspection.images.iter().filter_map(|image| {
            let reason = image.problem.as_ref()?;
            Some((image.item, Skipped::image(&items[image.item].path, reason)))
        });
        let bad: BTreeMap<usize, Skipped> = bad.collect();
        let all: Vec<usize> = (0..items.len()).collect();
        let later = class_losses(&items, &all, &losses, &bad);
        let told: HashSet<String> = later.iter().map(|loss| loss.class.clone()).collect();
        let before = losses.into_iter().filter(|loss| !told.contains(&loss.class));
        let serious = later.into_iter().chain(before).filter(ClassLoss::is_serious);
        problems.extend(serious.map(|loss| loss.error().to_string()));
        let split = match self.split(own, &items, &inspection.digests, groups.as_deref(), says) {
            Ok((split, _)) => split,
            Err(error) => {
                problems.push(error.to_string());
                Split::everything(&items, &[])
            }
        };
        problems.extend(self.enough_classes(&items, says).err().map(|error| error.to_string()));
        notices.extend(groups.iter().flat_map(|groups| self.say_groups(groups, &split)));
        let problem = (!problems.is_empty()).then(|| problems.join("\n"));
        if self.balanced {
            notices.extend(balance(&items, &split));
        }
        let data = match self.source {
            Source::Folder(path) | Source::Table(path, _) => path,
        };
        let size = self.size as u32;
        Ok(Report { data, items, split, groups, skipped, notices, problem, size, inspection })
    }

    /// What the source says, and by what it would say what is held out.
    fn read(&self) -> Result<(Labelled, &'static str)> {
        self.read_with(&mut |root| source::folder::read(root))
    }

    /// The same, with class folders read so.
    fn read_with(
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
    fn folder(&self) -> Option<PathBuf> {
        match &self.source {
            Source::Folder(root) => Some(root.clone()),
            Source::Table(path, _) if path.is_dir() => Some(path.clone()),
            Source::Table(_, options) => options.folder.clone(),
        }
    }

    /// Whether classes may lose what they have lost; what is allowed and serious is said.
    fn may_lose(&self, losses: &[ClassLoss], notices: &mut Vec<String>) -> Result<()> {
        let serious: Vec<&ClassLoss> = losses.iter().filter(|loss| loss.is_serious()).collect();
        match (self.loading.bad_images, serious.first()) {
            (BadImages::Few, Some(loss)) => Err(loss.error().into()),
            (BadImages::Fail, _) => match losses.first().and_then(|loss| loss.lost.first()) {
                Some(bad) => Err(bad_image(bad)),
                None => Ok(()),
            },
            _ => {
                notices.extend(serious.into_iter().map(|loss| format!("warning: {}", loss.error())));
                Ok(())
            }
        }
    }

    /// The same, where a table may name files that do not exist.
    fn allowing_missing(&self) -> Self {
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
    fn enough_classes(&self, items: &Items, says: &str) -> Result<()> {
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

    /// How groups lie in the split.
    fn say_groups(&self, groups: &[Option<String>], split: &Split) -> Vec<String> {
        let mut notices = Vec::new();
        let among = |indices: &[usize]| {
            indices.iter().filter_map(|&item| groups[item].as_deref()).collect::<HashSet<_>>().len()
        };
        let (held_out, trained) = (among(&split.valid), among(&split.train));
        let images = split.train.len() + split.valid.len();
        let without = groups.iter().filter(|group| group.is_none()).count();
        let shared = split.shared_groups(groups);
        match shared.first() {
            None if !split.valid.is_empty() => notices.push(format!(
                "no group is on both sides: {} of {} groups are held out, {:.1} % of the images",
                words::count(held_out),
                words::count(held_out + trained),
                100.0 * split.valid.len() as f64 / images.max(1) as f64
            )),
            None => {}
            Some(first) => notices.push(format!(
                "{} groups have images on several sides of the split, so what is measured is too good; the first is {}",
                words::count(shared.len()),
                groups[first[0]].as_deref().unwrap_or_default()
            )),
        }
        if without > 0 {
            notices
                .push(format!("{} images have no group, and are taken for one each", words::count(without)));
        }
        notices
    }

    /// The split and who decided it; `says` is by what the source does.
    fn split(
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

    fn preprocessing_is_valid(&self) -> Result<()> {
        let Self { size, framing, filter, .. } = *self;
        // Any valid normalisation: the network's own comes later.
        let preprocessing = Preprocessing { size, framing, filter, normalization: Normalization::IMAGENET };
        Ok(preprocessing.validate()?)
    }
}

fn bad_image(bad: &Skipped) -> Error {
    Error::BadImage { path: bad.path.clone(), reason: bad.reason.to_string() }
}

/// A warning where the same image has different labels: at most one of them can be right.
fn contradictions(items: &Items, digests: &[Digest]) -> Option<String> {
    let mut by_digest: HashMap<Digest, Vec<usize>> = HashMap::new();
    let labelled = |item: &usize| items[*item].target != Target::Unlabelled;
    (0..items.len()).filter(labelled).for_each(|item| by_digest.entry(digests[item]).or_default().push(item));
    let differ = |group: &Vec<usize>| group.iter().any(|&item| items[item].target != items[group[0]].target);
    let mut groups: Vec<Vec<usize>> = by_digest.into_values().filter(differ).collect();
    groups.sort_unstable();
    let named = groups.iter().take(3).map(|group| {
        let names: Vec<&str> = group.iter().take(4).map(|&item| items[item].id.as_str()).collect();
        names.join(" = ")
    });
    let named = named.collect::<Vec<_>>().join(", ");
    let more = if groups.len() > 3 { ", …" } else { "" };
    let images =
        if groups.len() == 1 { "1 image has".to_owned() } else { format!("{} images have", groups.len()) };
    (!groups.is_empty()).then(|| {
        format!("warning: {images} different labels in several files, byte for byte the same: {named}{more}")
    })
}

/// A note of classes that nothing is measured on.
fn nothing_held_out(items: &Items, split: &Split) -> Option<String> {
    if split.valid.is_empty() {
        return None;
    }
    let counts = items.class_counts(&split.valid);
    let without: BTreeSet<&str> = (0..items.classes.len())
        .filter(|&class| counts[class] == 0)
        .filter_map(|class| items.classes.name(class))
        .collect();
    let named = without.iter().take(5).copied().collect::<Vec<_>>().join(", ");
    let more = if without.len() > 5 { ", …" } else { "" };
    (!without.is_empty()).then(|| {
        format!(
            "nothing is measured on {} of {} classes, of which no image is held out: {named}{more}",
            without.len(),
            items.classes.len()
        )
    })
}

/// A warning where the same image is on several sides of the split, as in splits that the folders give.
fn shared_images(items: &Items, digests: &[Digest], split: &Split) -> Option<String> {
    let shared = split.shared_images(digests);
    let first = shared.first()?;
    let names: Vec<&str> = first.iter().take(3).map(|&item| items[item].id.as_str()).collect();
    Some(format!(
        "{} images are byte for byte both trained on and held out, so what is measured is too good; the first is {}",
        shared.len(),
        names.join(" = ")
    ))
}

/// What drawing every class equally often does to the rarest and the most frequent one.
fn balance(items: &Items, split: &Split) -> Option<String> {
    let shares = order::shares(items, &split.train);
    let said = |share: &Share| {
        let class = share.class.and_then(|class| items.classes.name(class)).unwrap_or("no class");
        let times = share.places as f64 / share.items as f64;
        format!("each of {} images of {class} about {times:.2} times", share.items)
    };
    let rarest = shares.iter().min_by_key(|share| share.items)?;
    let commonest = shares.iter().max_by_key(|share| share.items)?;
    Some(format!(
        "balanced: an epoch draws {}, {}; probabilities are those of a world where all classes are equally frequent",
        said(rarest),
        said(commonest)
    ))
}
