//! Reused memory: buffers that return to a pool when they are dropped.
//!
//! Training needs the same buffers in each step. Fresh memory costs a page fault every 4 KiB, so [`Buffer`]s
//! (activations and gradients) and [`Scratch`] (packed weights, panels, partial sums) take theirs from one
//! pool for the process. All of it starts at a cache line.

use crate::element::Element;
use std::{
    marker::PhantomData,
    ops::{Deref, DerefMut},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Words that start at a cache line.
#[derive(Clone, Debug, Default)]
pub(crate) struct AlignedWords {
    lines: Vec<Line>,
}

#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
struct Line([u32; 16]);

impl AlignedWords {
    /// `len` zeros.
    pub(crate) fn zeros(len: usize) -> Self {
        AlignedWords { lines: vec![Line::default(); len.div_ceil(16)] }
    }

    pub(crate) fn len(&self) -> usize {
        self.lines.len() * 16
    }

    pub(crate) fn as_ptr(&self) -> *const u32 {
        self.lines.as_ptr().cast()
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [u32] {
        // SAFETY: a line is 16 words without padding.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.lines.len() * 16) }
    }
}

/// Words that return to the pool when they are dropped.
#[derive(Debug)]
pub(crate) struct Scratch {
    words: AlignedWords,
}

static POOL: Mutex<Pool> =
    Mutex::new(Pool { free: Vec::new(), free_words: 0, used_words: 0, max_used_words: 0, peak_words: 0 });

/// Free words, the least recently used first. Free and used words together stay below 1.5 times the most that
/// were ever used: with a lower limit, buffers of one size would evict those of another that the next step of
/// training needs again.
struct Pool {
    free: Vec<AlignedWords>,
    free_words: usize,
    used_words: usize,
    max_used_words: usize,
    /// The most that were used since the last call of [`peak_of`] began.
    peak_words: usize,
}

/// Free words that are never released.
const MIN_FREE_WORDS: usize = 64 << 20;

impl Pool {
    /// The smallest buffer that is long enough and at most about twice as long; the most recently used of
    /// several.
    fn take(&mut self, len: usize) -> Option<AlignedWords> {
        let max_len = 2 * len + 1024;
        let fitting =
            self.free.iter().enumerate().rev().filter(|(_, words)| (len..=max_len).contains(&words.len()));
        let best = fitting.min_by_key(|(_, words)| words.len()).map(|(at, _)| at);
        best.map(|at| {
            let words = self.free.remove(at);
            self.free_words -= words.len();
            words
        })
    }

    fn record_taken(&mut self, words: usize) -> Vec<AlignedWords> {
        self.used_words += words;
        self.max_used_words = self.max_used_words.max(self.used_words);
        self.peak_words = self.peak_words.max(self.used_words);
        self.excess()
    }

    fn give_back(&mut self, words: AlignedWords) -> Vec<AlignedWords> {
        self.used_words -= words.len();
        self.free_words += words.len();
        self.free.push(words);
        self.excess()
    }

    /// Removes what exceeds the limit. The caller drops it after unlocking the pool.
    fn excess(&mut self) -> Vec<AlignedWords> {
        let room = self.max_used_words + self.max_used_words / 2 - self.used_words;
        let mut surplus = self.free_words.saturating_sub(room.max(MIN_FREE_WORDS));
        let count = self
            .free
            .iter()
            .take_while(|words| {
                let drops = surplus > 0;
                surplus = surplus.saturating_sub(words.len());
                drops
            })
            .count();
        let excess: Vec<AlignedWords> = self.free.drain(..count).collect();
        self.free_words -= excess.iter().map(AlignedWords::len).sum::<usize>();
        excess
    }
}

fn pool() -> MutexGuard<'static, Pool> {
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does some work, and returns with its result the most bytes of [`Buffer`]s and other memory of the kernels
/// that were in use at once meanwhile, besides those in use before. The work of other threads counts too.
pub fn peak_of<R>(work: impl FnOnce() -> R) -> (R, usize) {
    let before = {
        let mut pool = pool();
        pool.peak_words = pool.used_words;
        pool.used_words
    };
    let result = work();
    let peak = pool().peak_words;
    (result, peak.saturating_sub(before) * size_of::<u32>())
}

impl Scratch {
    /// At least `len` words, with any values.
    pub(crate) fn take(len: usize) -> Self {
        let found = pool().take(len);
        let words = found.unwrap_or_else(|| AlignedWords::zeros(len));
        let excess = pool().record_taken(words.len());
        drop(excess);
        Scratch { words }
    }
}

impl Deref for Scratch {
    type Target = AlignedWords;
    fn deref(&self) -> &AlignedWords {
        &self.words
    }
}

impl DerefMut for Scratch {
    fn deref_mut(&mut self) -> &mut AlignedWords {
        &mut self.words
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let words = std::mem::take(&mut self.words);
        let excess = pool().give_back(words);
        drop(excess);
    }
}

/// Memory for activations. It returns to the crate's pool when it is dropped, so that each step of training
/// reuses the memory of the step before. It starts at a cache line.
#[derive(Debug)]
pub struct Buffer<T> {
    words: Scratch,
    len: usize,
    element: PhantomData<T>,
}

impl<T: Element> Buffer<T> {
    /// Memory for `len` elements, which hold any values until they are written.
    pub fn take(len: usize) -> Self {
        Buffer { words: Scratch::take((len * size_of::<T>()).div_ceil(4)), len, element: PhantomData }
    }
}

impl<T: Element> Deref for Buffer<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        // SAFETY: there are as many words; every pattern of bits is an f32 or two bf16.
        unsafe { std::slice::from_raw_parts(self.words.as_ptr().cast(), self.len) }
    }
}

impl<T: Element> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.words.as_mut_slice().as_mut_ptr().cast(), self.len) }
    }
}

impl<T: Element> AsRef<[u8]> for Buffer<T> {
    /// Its bytes in the machine's order.
    fn as_ref(&self) -> &[u8] {
        // SAFETY: there are as many bytes, and they are initialised.
        unsafe { std::slice::from_raw_parts(self.words.as_ptr().cast(), self.len * size_of::<T>()) }
    }
}
