//! The loader: batches of samples, prepared by threads in advance.
//!
//! The unit of work is one image: each thread takes the next position of the pass, and the following ones
//! with samples of the same image, makes them and copies each to its position in the batch. A thread waits
//! before it would begin a batch too far ahead, which limits the memory. No thread makes decisions: a sample
//! depends on its item alone, and its slot on its position.
//! goes from its position.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use serde::{Deserialize, Serialize};

use crate::augment::Augmentation;
use crate::buffer::{Buffer, Buffers};
use crate::decode::budget;
use crate::digest::{Digest, read_expected};
use crate::random::{Draws, Purpose};
use crate::{
    DataError, DecodeError, Decoder, Items, Preprocessing, RgbImage, Skipped, Store, spare, threads, timeline,
};

/// What to do with an image that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BadImages {
    /// Skip and list it, unless its class loses all of its images, or more than a tenth: a loader does not
    /// know that, and treats it as [`Skip`](Self::Skip); see [`ClassLoss`](crate::ClassLoss).
    #[default]
    Few,
    /// Skip and list it, however many there are.
    Skip,
    /// Stop with an error that names it.
    Fail,
}

impl BadImages {
    /// The names that [`FromStr`] takes, with a line about each.
    pub const NAMES: &[(&str, &str)] = &[
        ("few", "Skip and list them; fail if a class loses over a tenth"),
        ("skip", "Skip and list them, however many there are"),
        ("fail", "Fail at the first one"),
    ];
}

impl FromStr for BadImages {
    type Err = DataError;

    fn from_str(name: &str) -> Result<Self, DataError> {
        match name {
            "few" => Ok(Self::Few),
            "skip" => Ok(Self::Skip),
            "fail" => Ok(Self::Fail),
            _ => Err(DataError::Setting {
                name: "bad_images",
                value: name.to_owned(),
                expected: "few, skip or fail",
            }),
        }
    }
}

/// Options of a loader.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LoaderOptions {
    /// The batch size, before bad images are skipped.
    pub batch_size: usize,
    /// Decoding threads, at most [`MAX_THREADS`](crate::MAX_THREADS); 0: one per core.
    pub threads: usize,
    /// Batches prepared in advance, at least 1. At most this many and one more are in memory.
    pub prefetch: usize,
    /// What to do with an image that cannot be used.
    pub bad_images: BadImages,
    /// The limits of decoding.
    pub decoder: Decoder,
}

impl Default for LoaderOptions {
    fn default() -> Self {
        LoaderOptions {
            batch_size: 64,
            threads: 0,
            prefetch: 2,
            bad_images: BadImages::default(),
            decoder: Decoder::default(),
        }
    }
}

/// A batch of images as a network sees them.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// The items in this batch, as indices into [`Items`]: the first dimension of `images`.
    pub indices: Vec<usize>,
    /// The epoch that the augmentation of each was drawn for.
    pub epochs: Vec<u64>,
    /// `[images, size, size, 3]`: NHWC.
    pub images: Buffer,
    /// The shape of `images`; the first number may be 0, if no image of the batch could be used.
    pub shape: [usize; 4],
    /// The images of this batch that could not be used.
    pub skipped: Vec<Skipped>,
}

/// Loads batches of the items of a data set.
///
/// The same items, order and settings give the same batches, to the bit, with any number of threads.
#[derive(Debug, Clone)]
pub struct Loader {
    items: Arc<Items>,
    preprocessing: Preprocessing,
    options: LoaderOptions,
    augmentation: Option<(Augmentation, u64)>,
    /// The digest of each item's file.
    digests: Option<Arc<Vec<Digest>>>,
    /// The store of resized copies.
    copies: Option<Store>,
}

impl Loader {
    /// A loader without augmentation, as for validation and prediction.
    pub fn new(
        items: Arc<Items>,
        preprocessing: Preprocessing,
        options: LoaderOptions,
    ) -> Result<Self, DataError> {
        preprocessing.validate()?;
        let at_least_1 = |name, value: usize| match value {
            0 => Err(DataError::Setting { name, value: value.to_string(), expected: "at least 1" }),
            _ => Ok(()),
        };
        at_least_1("batch_size", options.batch_size)?;
        at_least_1("prefetch", options.prefetch)?;
        threads::check_threads(options.threads)?;
        Ok(Loader { items, preprocessing, options, augmentation: None, digests: None, copies: None })
    }

    /// The same loader, with the expected digest of each item's file: a file with another content is a bad
    /// image. Each file is read once, and the hashed bytes are decoded.
    ///
    /// # Panics
    /// Where the number of digests is not that of items.
    pub fn expecting(mut self, digests: Arc<Vec<Digest>>) -> Self {
        assert_eq!(digests.len(), self.items.len(), "a digest an item");
        self.digests = Some(digests);
        self
    }

    /// The same loader, which reads large images from resized copies; it needs
    /// [`expecting`](Self::expecting).
    pub fn copies(mut self, store: Store) -> Self {
        self.copies = Some(store);
        self
    }

    /// The same loader with augmentation, drawn from `seed`, the epoch and the item.
    pub fn augment(mut self, augmentation: Augmentation, seed: u64) -> Result<Self, DataError> {
        augmentation.validate()?;
        self.augmentation = Some((augmentation, seed));
        Ok(self)
    }

    /// The batches of one pass over the items at `indices`, in this order.
    ///
    /// `epoch` determines the draws of an augmentation; without one it has no effect. An item that occurs
    /// several times is drawn anew each time.
    pub fn batches(&self, indices: Vec<usize>, epoch: u64) -> Result<Batches, DataError> {
        self.batches_from(indices, epoch, 0)
    }

    /// The batches of one pass from `first` on, counted from 0: the rest of an interrupted pass.
    pub fn batches_from(&self, indices: Vec<usize>, epoch: u64, first: usize) -> Result<Batches, DataError> {
        let samples = indices.into_iter().map(|index| (index, epoch)).collect();
        let size = self.options.batch_size;
        self.chosen_of(samples, |position| position / size >= first)
    }

    /// The batches of some samples: items, and the epochs to draw augmentation for. An image with consecutive
    /// samples in a batch is decoded once.
    pub fn batches_of(&self, samples: Vec<(usize, u64)>) -> Result<Batches, DataError> {
        self.chosen_of(samples, |_| true)
    }

    /// Some batches of a pass, by their numbers from 0: those that another process does not load. Each is the same
    /// as in the whole pass.
    pub fn some_batches_of(
        &self,
        samples: Vec<(usize, u64)>,
        is_chosen: impl Fn(usize) -> bool,
    ) -> Result<Batches, DataError> {
        let size = self.options.batch_size;
        self.chosen_of(samples, |position| is_chosen(position / size))
    }

    /// The same loader with another batch size, at least 1.
    pub fn batch_size(mut self, images: usize) -> Self {
        self.options.batch_size = images.max(1);
        self
    }

    /// The samples at some positions of a pass, in batches of their own. Each is the same as in the whole pass.
    pub fn chosen_of(
        &self,
        samples: Vec<(usize, u64)>,
        is_chosen: impl Fn(usize) -> bool,
    ) -> Result<Batches, DataError> {
        if let Some((index, _)) = samples.iter().find(|(index, _)| *index >= self.items.len()) {
            return Err(DataError::Setting {
                name: "item",
                value: index.to_string(),
                expected: "less than the number of items",
            });
        }
        let mut seen: HashMap<(usize, u64), u32> = HashMap::new();
        let occurrences = samples.iter().map(|sample| {
            let count = seen.entry(*sample).or_default();
            *count += 1;
            *count - 1
        });
        let occurrences: Vec<u32> = occurrences.collect();
        let chosen = (0..samples.len()).filter(|position| is_chosen(*position));
        let (samples, occurrences) =
            chosen.map(|position| (samples[position], occurrences[position])).unzip();
        let work = Arc::new(Work {
            loader: self.clone(),
            occurrences,
            samples,
            state: Mutex::default(),
            changed: Condvar::new(),
            buffers: Buffers::default(),
        });
        let mut batches = Batches { work, threads: Vec::new() };
        // More threads than images would be useless.
        for thread in 0..threads::count(self.options.threads).min(batches.work.samples.len()) {
            let work = Arc::clone(&batches.work);
            let thread = std::thread::Builder::new()
                .name(format!("ocelli-loader-{thread}"))
                .spawn(move || work.run())
                .map_err(|source| DataError::Threads { source })?;
            batches.threads.push(thread);
        }
        Ok(batches)
    }

    fn gave_up(&self, index: usize) -> DataError {
        let detail = "making a sample of it failed; please report this with the file".to_owned();
        let reason = DecodeError::Damaged { format: "image", detail };
        DataError::BadImage { path: self.items[index].path.clone(), reason }
    }

    /// Makes one sample of an item; all of `sample` is written. `decoded`: the item's image, once it was
    /// needed.
    fn sample(
        &self,
        (index, epoch): (usize, u64),
        occurrence: u32,
        decoded: &mut Option<RgbImage>,
        sample: &mut [f32],
    ) -> Result<(), DataError> {
        let Some((augmentation, seed)) = &self.augmentation else {
            let image = self.image(index, self.preprocessing.needed())?;
            let _span = timeline::detail("resize");
            let applied = self.preprocessing.apply(&image, sample);
            spare::keep(image.into_pixels());
            return applied;
        };
        let image = match decoded {
            Some(image) => image,
            None => decoded.insert(self.image(index, augmentation.needed(&self.preprocessing))?),
        };
        let item = &self.items[index];
        let _span = timeline::detail("augment and resize");
        let mut draws = Draws::new(*seed, Purpose::Augment, epoch ^ u64::from(occurrence) << 32, item.key());
        augmentation.apply(image, &self.preprocessing, &mut draws, sample)
    }

    /// The image of an item, for a use that needs its shorter side to have `needed` pixels; its file is read
    /// once.
    fn image(&self, index: usize, needed: u32) -> Result<RgbImage, DataError> {
        let (item, decoder) = (&self.items[index], &self.options.decoder);
        let digest = self.digests.as_ref().map(|digests| &digests[index]);
        let reading = timeline::detail("read and hash");
        let bytes = match (&self.copies, digest) {
            (Some(store), Some(digest)) => store.image(item, digest, decoder),
            _ => read_expected(&item.path, digest, decoder.max_bytes()),
        };
        drop(reading);
        let _span = timeline::detail("decode");
        bytes
            .and_then(|bytes| decoder.decode_for(&bytes, needed))
            .map_err(|reason| DataError::BadImage { path: item.path.clone(), reason })
    }
}

/// The batches of one pass, in order. Dropping it stops its threads.
///
/// After an error there are no further batches.
#[derive(Debug)]
pub struct Batches {
    work: Arc<Work>,
    threads: Vec<JoinHandle<()>>,
}

impl Batches {
    /// The number of batches in the pass, without those that were left out.
    pub fn batch_count(&self) -> usize {
        self.work.batch_count()
    }
}

impl Iterator for Batches {
    type Item = Result<Batch, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut state = self.work.lock();
        loop {
            if state.stopped || state.taken == self.work.batch_count() {
                return None;
            }
            if state.underway.front().is_some_and(|batch| batch.missing == 0) {
                break;
            }
            state = self.work.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let made = state.underway.pop_front()?;
        state.taken += 1;
        drop(state);
        let result = self.work.loader.finish(made);
        self.work.lock().stopped |= result.is_err();
        self.work.changed.notify_all();
        Some(result)
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        self.work.lock().stopped = true;
        self.work.changed.notify_all();
        for thread in self.threads.drain(..) {
            // A thread that panicked has nothing left to stop.
            let _ = thread.join();
        }
    }
}

/// The state shared by the threads of a pass.
#[derive(Debug)]
struct Work {
    loader: Loader,
    /// Items, and the epochs to draw for.
    samples: Vec<(usize, u64)>,
    /// How often each position's sample has occurred before.
    occurrences: Vec<u32>,
    state: Mutex<State>,
    changed: Condvar,
    buffers: Buffers,
}

/// The progress of a pass.
#[derive(Debug, Default)]
struct State {
    /// Images begun.
    begun: usize,
    /// Batches handed over.
    taken: usize,
    /// The batches that follow the ones handed over.
    underway: VecDeque<Underway>,
    stopped: bool,
}

/// A batch in progress.
#[derive(Debug)]
struct Underway {
    samples: Vec<(usize, u64)>,
    /// Room for all its samples. Its lock is held only while one is copied.
    images: Arc<Mutex<Buffer>>,
    /// By position in the batch, as far as they are made.
    made: Vec<Option<Result<(), DataError>>>,
    missing: usize,
}

impl Work {
    fn batch_count(&self) -> usize {
        let (images, size) = (self.samples.len(), self.loader.options.batch_size);
        images.div_ceil(size)
    }

    /// The batch of a position, and the position in it.
    fn batch_of(&self, position: usize) -> (usize, usize) {
        let size = self.loader.options.batch_size;
        let batch = (position / size).min(self.batch_count() - 1);
        (batch, position - batch * size)
    }

    /// The positions of a batch.
    fn positions(&self, batch: usize) -> Range<usize> {
        let size = self.loader.options.batch_size;
        let end = if batch + 1 == self.batch_count() { self.samples.len() } else { (batch + 1) * size };
        batch * size..end
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is changed in single steps that cannot panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The life of a thread.
    fn run(&self) {
        let mut sample = vec![0.0; self.loader.preprocessing.sample_len()];
        while let Some((positions, images)) = self.begin() {
            // The image counts until its last sample is made.
            let _scope = budget::scope();
            let (mut decoded, mut complete) = (None, false);
            for position in positions {
                // Whoever waits for this position would wait for ever if a panic left it open.
                let made = catch_unwind(AssertUnwindSafe(|| {
                    let (of, occurrence) = (self.samples[position], self.occurrences[position]);
                    self.loader.sample(of, occurrence, &mut decoded, &mut sample)
                }))
                .unwrap_or_else(|_| Err(self.loader.gave_up(self.samples[position].0)));
                let (batch, position) = self.batch_of(position);
                if made.is_ok() {
                    let mut images = images.lock().unwrap_or_else(PoisonError::into_inner);
                    images[position * sample.len()..][..sample.len()].copy_from_slice(&sample);
                }
                let mut state = self.lock();
                // Batches are taken whole, so this one is still there, at the position that it has by now.
                let Some(underway) = state.underway_mut(batch) else { break };
                underway.made[position] = Some(made);
                underway.missing -= 1;
                complete = underway.missing == 0;
            }
            if complete {
                self.changed.notify_all();
            }
            if let Some(image) = decoded {
                spare::keep(image.into_pixels());
            }
        }
    }

    /// The next samples to make, all of one image, and the room of their batch, once there is some; `None` at
    /// the end.
    fn begin(&self) -> Option<(Range<usize>, Arc<Mutex<Buffer>>)> {
        let prefetch = self.loader.options.prefetch;
        let mut state = self.lock();
        loop {
            if state.stopped || state.begun == self.samples.len() {
                return None;
            }
            if self.batch_of(state.begun).0 <= state.taken + prefetch {
                break;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let position = state.begun;
        let (batch, at) = self.batch_of(position);
        let of_batch = self.positions(batch);
        let of_image = self.samples[position..of_batch.end]
            .iter()
            .take_while(|sample| sample.0 == self.samples[position].0);
        let positions = position..position + of_image.count();
        state.begun = positions.end;
        if at == 0 {
            let samples = self.samples[of_batch].to_vec();
            let images = self.buffers.take(samples.len() * self.loader.preprocessing.sample_len());
            state.underway.push_back(Underway {
                missing: samples.len(),
                made: samples.iter().map(|_| None).collect(),
                images: Arc::new(Mutex::new(images)),
                samples,
            });
        }
        Some((positions, Arc::clone(&state.underway_mut(batch)?.images)))
    }
}

impl State {
    /// The batch of this number, unless it was handed over.
    fn underway_mut(&mut self, batch: usize) -> Option<&mut Underway> {
        self.underway.get_mut(batch.checked_sub(self.taken)?)
    }
}

impl Loader {
    /// A batch whose samples are made, without those of bad images, or the first one's error.
    fn finish(&self, underway: Underway) -> Result<Batch, DataError> {
        let (size, length) = (self.preprocessing.size, self.preprocessing.sample_len());
        let mut images = std::mem::take(&mut *underway.images.lock().unwrap_or_else(PoisonError::into_inner));
        let (mut good, mut skipped): (Vec<(usize, u64)>, _) = (Vec::new(), Vec::new());
        for (position, (sample, made)) in
            underway.samples.into_iter().zip(underway.made.into_iter().flatten()).enumerate()
        {
            match made {
                Ok(()) => {
                    if !skipped.is_empty() {
                        images.copy_within(position * length..(position + 1) * length, good.len() * length);
                    }
                    good.push(sample);
                }
                Err(DataError::BadImage { path, reason }) if self.options.bad_images != BadImages::Fail => {
                    skipped.push(Skipped::image(path, reason));
                }
                Err(error) => return Err(error),
            }
        }
        images.truncate(good.len() * length);
        let shape = [good.len(), size, size, 3];
        let (indices, epochs) = good.into_iter().unzip();
        Ok(Batch { indices, epochs, images, shape, skipped })
    }
}
