//! Passes over images that processes share out: in whole batches, or in pieces of each.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Instant;

use ocelli_data::{Batch, Batches, Loader, Skipped, timeline};
use ocelli_distributed::tree;

use crate::data::ImageData;
use crate::error::{Error, Result};
use crate::processes::{ProcessGroup, numbered, with_paths};

/// What is computed of a batch: the rows of its images, each of this shape.
pub(crate) struct Rows {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Vec<f32>,
    /// The targets that the batch is trained on, where they are not those of its items.
    pub(crate) targets: Vec<f32>,
}

/// A batch that one of the processes has loaded and computed.
pub(crate) struct SharedBatch {
    /// The items that could be read.
    pub(crate) indices: Vec<usize>,
    /// The epoch that the augmentation of each was drawn for.
    pub(crate) epochs: Vec<u64>,
    pub(crate) skipped: Vec<Skipped>,
    pub(crate) rows: Rows,
    /// Whether this process has computed it.
    pub(crate) is_own: bool,
    /// Seconds that this process has waited for images, or for other processes.
    pub(crate) waited: f64,
}

/// The batches of a pass, each loaded and computed by one process, and received by all in the usual order.
///
/// Batch b is that of process b mod n. Processes exchange what they have after some batches each, while their
/// threads go on loading.
pub(crate) struct SharedBatches {
    processes: ProcessGroup,
    /// The batches of this process.
    own: Batches,
    /// The number of the next batch to be computed, by any process.
    next: usize,
    total: usize,
    received: VecDeque<SharedBatch>,
    is_stopped: bool,
}

/// Batches that a process computes between two exchanges.
pub(crate) const BETWEEN_EXCHANGES: usize = 4;

impl SharedBatches {
    /// A pass over samples, items and the epochs that their augmentation is drawn for, from the batch `first`
    /// on. `size` is the loader's batch size.
    pub(crate) fn new(
        loader: &Loader,
        samples: Vec<(usize, u64)>,
        size: usize,
        first: usize,
        processes: &ProcessGroup,
    ) -> Result<Self> {
        let (total, processes) = (samples.len().div_ceil(size), processes.clone());
        let (rank, all) = (processes.rank(), processes.size());
        let own = loader.some_batches_of(samples, |batch| batch >= first && batch % all == rank)?;
        Ok(Self {
            processes,
            own,
            next: first.min(total),
            total,
            received: VecDeque::new(),
            is_stopped: false,
        })
    }

    /// The next batch; `compute` makes the rows of one whose images could be read. Batches that were computed
    /// before a request to stop are handed over first.
    ///
    /// # Errors
    /// Where an image cannot be used and bad images are errors; where a process is lost; [`Error::Stopped`].
    pub(crate) fn next(
        &mut self,
        data: &ImageData,
        compute: &mut dyn FnMut(&mut Batch) -> Result<Rows>,
    ) -> Result<Option<SharedBatch>> {
        if self.received.is_empty() {
            if self.is_stopped {
                return Err(Error::Stopped);
            }
            if self.next == self.total {
                return Ok(None);
            }
            self.round(data, compute)?;
        }
        Ok(self.received.pop_front())
    }

    /// Computes the next batches of this process, and receives those of the others.
    fn round(&mut self, data: &ImageData, compute: &mut dyn FnMut(&mut Batch) -> Result<Rows>) -> Result<()> {
        let (rank, all) = (self.processes.rank(), self.processes.size());
        let batches = if all == 1 { 1 } else { BETWEEN_EXCHANGES * all };
        let round = self.next..self.total.min(self.next + batches);
        let mut own = VecDeque::new();
        for _ in round.clone().filter(|batch| batch % all == rank) {
            own.push_back(self.compute(compute)?);
            self.processes.check()?;
        }
        self.next = round.end;
        if all == 1 {
            self.received = own;
            return Ok(());
        }
        let began = Instant::now();
        let mut bytes = vec![u8::from(self.processes.is_to_stop())];
        own.iter().for_each(|batch| write(batch, data, &mut bytes));
        let parts = self.processes.all_gather(&bytes)?;
        let waited = began.elapsed().as_secs_f64() / round.len() as f64;
        self.is_stopped = parts.iter().any(|part| part.first() == Some(&1));
        let mut rest: Vec<&[u8]> = parts.iter().map(|part| part.get(1..).unwrap_or_default()).collect();
        for batch in round {
            let of = batch % all;
            let mut received = match of == rank {
                true => own.pop_front(),
                false => read(&mut rest[of], data),
            };
            let received = received.take().ok_or(Error::ProcessesDiverged { what: "messages", rank: of })?;
            self.received.push_back(SharedBatch { waited: received.waited + waited, ..received });
        }
        Ok(())
    }

    /// Loads and computes the next batch of this process.
    fn compute(&mut self, compute: &mut dyn FnMut(&mut Batch) -> Result<Rows>) -> Result<SharedBatch> {
        let began = Instant::now();
        let mut batch = self.own.next().expect("as many batches as samples give")?;
        let waited = began.elapsed().as_secs_f64();
        timeline::add("wait for images", began);
        let _span = timeline::span("forward");
        let rows = match batch.indices.is_empty() {
            true => Rows { shape: Vec::new(), values: Vec::new(), targets: Vec::new() },
            false => compute(&mut batch)?,
        };
        let Batch { indices, epochs, skipped, .. } = batch;
        Ok(SharedBatch { indices, epochs, skipped, rows, is_own: true, waited })
    }
}

/// The batches of an epoch, of each of which a process loads its pieces alone.
pub(crate) struct PieceBatches {
    processes: ProcessGroup,
    /// Items, and the epoch that their augmentation is drawn for.
    samples: Vec<(usize, u64)>,
    /// The images of a batch, and of a piece.
    size: usize,
    piece: usize,
    /// The number of the next batch.
    next: usize,
    loader: Loader,
    /// This process's parts of whole batches, and of the last one where that is smaller.
    own: Batches,
    last: Batches,
}

/// A batch that processes have loaded together.
pub(crate) enum PieceBatch {
    /// These items, and of them the part of this process, without images where it has none.
    Part(Vec<usize>, Range<usize>, Option<Batch>),
    /// An image of it could not be used, which moves the others: every process has loaded all.
    Whole(Batch),
}

impl PieceBatches {
    /// The batches of samples from the batch `first` on, in pieces of `piece` images.
    pub(crate) fn new(
        loader: Loader,
        samples: Vec<(usize, u64)>,
        size: usize,
        piece: usize,
        first: usize,
        processes: &ProcessGroup,
    ) -> Result<Self> {
        let (total, processes) = (samples.len(), processes.clone());
        let of = |images| part_of(&processes, images, piece);
        let is_own = |position: usize| {
            let batch = position / size;
            batch >= first && of(size.min(total - batch * size)).contains(&(position % size))
        };
        let whole = total / size;
        let own = loader.clone().batch_size(of(size).len());
        let own = own.chosen_of(samples.clone(), |position| position / size < whole && is_own(position))?;
        let last = loader.clone().batch_size(size);
        let last =
            last.chosen_of(samples.clone(), |position| position / size == whole && is_own(position))?;
        Ok(Self { processes, samples, size, piece, next: first, loader, own, last })
    }

    /// The next batch.
    ///
    /// # Errors
    /// Where an image cannot be used and bad images are errors; where a process is lost.
    pub(crate) fn next(&mut self) -> Result<Option<PieceBatch>> {
        let (number, start) = (self.next, self.next * self.size);
        if start >= self.samples.len() {
            return Ok(None);
        }
        self.next += 1;
        let images = self.size.min(self.samples.len() - start);
        let part = part_of(&self.processes, images, self.piece);
        let batches = if images == self.size { &mut self.own } else { &mut self.last };
        let own = if part.is_empty() { None } else { batches.next().transpose().unwrap_or(None) };
        let is_complete = own.as_ref().map_or(0, |batch| batch.indices.len()) == part.len();
        if self.processes.all_gather(&[u8::from(is_complete)])?.iter().all(|other| other[..] == [1]) {
            let items = self.samples[start..start + images].iter().map(|(item, _)| *item).collect();
            return Ok(Some(PieceBatch::Part(items, part, own)));
        }
        let loader = self.loader.clone().batch_size(images);
        let mut whole = loader.chosen_of(self.samples.clone(), |position| position / self.size == number)?;
        Ok(whole.next().transpose()?.map(PieceBatch::Whole))
    }
}

/// The images of a batch that belong to the pieces of this process.
fn part_of(processes: &ProcessGroup, images: usize, piece: usize) -> Range<usize> {
    let pieces = tree::leaves_of(processes.rank(), processes.size(), images.div_ceil(piece));
    images.min(pieces.start * piece)..images.min(pieces.end * piece)
}

/// Appends a batch: the length of a text, the text, then values and targets.
fn write(batch: &SharedBatch, data: &ImageData, bytes: &mut Vec<u8>) {
    let SharedBatch { indices, epochs, skipped, rows, .. } = batch;
    let lengths = (rows.values.len(), rows.targets.len());
    let header = (indices, epochs, numbered(skipped, data), &rows.shape, lengths);
    let header = serde_json::to_vec(&header).expect("numbers and texts serialise");
    bytes.extend((header.len() as u64).to_le_bytes());
    bytes.extend(header);
    bytes.extend(rows.values.iter().chain(&rows.targets).flat_map(|value| value.to_le_bytes()));
}

/// Reads a batch from the front of what another process has sent.
fn read(bytes: &mut &[u8], data: &ImageData) -> Option<SharedBatch> {
    let mut take = |length: usize| {
        let (taken, rest) = bytes.split_at_checked(length)?;
        *bytes = rest;
        Some(taken)
    };
    let length = u64::from_le_bytes(take(8)?.try_into().ok()?);
    type Header = (Vec<usize>, Vec<u64>, Vec<(usize, String)>, Vec<usize>, (usize, usize));
    let (indices, epochs, skipped, shape, (values, targets)): Header =
        serde_json::from_slice(take(usize::try_from(length).ok()?)?).ok()?;
    let mut floats = |count: usize| {
        let bytes = take(count.checked_mul(4)?)?.as_chunks().0;
        Some(bytes.iter().map(|value| f32::from_le_bytes(*value)).collect::<Vec<f32>>())
    };
    let rows = Rows { values: floats(values)?, targets: floats(targets)?, shape };
    let is_whole = indices.len() == epochs.len()
        && indices.iter().all(|item| *item < data.items.len())
        && rows.values.len() == indices.len() * rows.shape.iter().product::<usize>();
    is_whole.then(|| SharedBatch {
        indices,
        epochs,
        skipped: with_paths(skipped, data),
        rows,
        is_own: false,
        waited: 0.0,
    })
}
