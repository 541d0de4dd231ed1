//! Memory as kernels need it: aligned to cache lines, and written by several threads at disjoint places.

use crate::Element;
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

/// A buffer of words that goes back to a pool when it is dropped: fresh memory costs a page fault every 4 KiB.
#[derive(Debug)]
pub(crate) struct Scratch {
    words: AlignedWords,
}

static POOL: Mutex<Pool> =
    Mutex::new(Pool { kept: Vec::new(), kept_words: 0, lent_words: 0, most_words: 0, peak_words: 0 });

/// Buffers that wait to be used again, the longest unused first. What is kept and lent together stays below one and a
/// half times the most that was ever lent: less, and the buffers of one size push out those of another, which a step
/// of training needs again.
struct Pool {
    kept: Vec<AlignedWords>,
    kept_words: usize,
    lent_words: usize,
    most_words: usize,
    /// The most that was lent since somebody began to watch.
    peak_words: usize,
}

/// Words that may be kept in any case.
const KEPT_WORDS: usize = 64 << 20;

impl Pool {
    /// The smallest buffer that is long enough and at most about twice as long, the last returned of several.
    fn take(&mut self, len: usize) -> Option<AlignedWords> {
        let most = 2 * len + 1024;
        let fitting =
            self.kept.iter().enumerate().rev().filter(|(_, words)| (len..=most).contains(&words.len()));
        let best = fitting.min_by_key(|(_, words)| words.len()).map(|(at, _)| at);
        best.map(|at| {
            let words = self.kept.remove(at);
            self.kept_words -= words.len();
            words
        })
    }

    fn lend(&mut self, words: usize) -> Vec<AlignedWords> {
        self.lent_words += words;
        self.most_words = self.most_words.max(self.lent_words);
        self.peak_words = self.peak_words.max(self.lent_words);
        self.excess()
    }

    fn give_back(&mut self, words: AlignedWords) -> Vec<AlignedWords> {
        self.lent_words -= words.len();
        self.kept_words += words.len();
        self.kept.push(words);
        self.excess()
    }

    /// What is too much; dropped by the caller, who has unlocked the pool by then.
    fn excess(&mut self) -> Vec<AlignedWords> {
        let room = self.most_words + self.most_words / 2 - self.lent_words;
        let mut surplus = self.kept_words.saturating_sub(room.max(KEPT_WORDS));
        let count = self
            .kept
            .iter()
            .take_while(|words| {
                let drops = surplus > 0;
                surplus = surplus.saturating_sub(words.len());
                drops
            })
            .count();
        let excess: Vec<AlignedWords> = self.kept.drain(..count).collect();
        self.kept_words -= excess.iter().map(AlignedWords::len).sum::<usize>();
        excess
    }
}

fn pool() -> MutexGuard<'static, Pool> {
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does some work, and says how many bytes of [`Buffer`]s and other memory of the kernels were in use at once while it
/// went on, besides those in use before. What other threads do meanwhile counts too.
pub fn peak_of<R>(work: impl FnOnce() -> R) -> (R, usize) {
    let before = {
        let mut pool = pool();
        pool.peak_words = pool.lent_words;
        pool.lent_words
    };
    let result = work();
    let peak = pool().peak_words;
    (result, peak.saturating_sub(before) * size_of::<u32>())
}

impl Scratch {
    /// At least `len` words of any value.
    pub(crate) fn take(len: usize) -> Self {
        let found = pool().take(len);
        let words = found.unwrap_or_else(|| AlignedWords::zeros(len));
        let excess = pool().lend(words.len());
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

/// Room for activations, from a pool that it goes back to when it is dropped: so the steps of a training use the same
/// memory again and again. It starts at a cache line.
#[derive(Debug)]
pub struct Buffer<T> {
    words: Scratch,
    len: usize,
    element: PhantomData<T>,
}

impl<T: Element> Buffer<T> {
    /// Room for `len` elements, which hold any values until they are written.
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

/// A slice that several threads write, each at places of its own.
#[derive(Clone, Copy)]
pub struct SharedMut<T> {
    start: *mut T,
    len: usize,
}

// SAFETY: it is only a pointer; who writes through it promises that places are disjoint.
unsafe impl<T: Send> Send for SharedMut<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for SharedMut<T> {}

impl<T> SharedMut<T> {
    pub(crate) fn new(slice: &mut [T]) -> Self {
        SharedMut { start: slice.as_mut_ptr(), len: slice.len() }
    }

    /// A pointer to the element at `index`, which may be one past the end.
    pub(crate) fn at(self, index: usize) -> *mut T {
        debug_assert!(index <= self.len);
        self.start.wrapping_add(index)
    }

    /// The elements from `index` on.
    pub(crate) fn from(self, index: usize) -> Self {
        SharedMut { len: self.len - index, start: self.at(index) }
    }

    /// # Safety
    /// Inside of the slice, which is still borrowed, and no other thread has or writes this piece.
    pub(crate) unsafe fn slice<'a>(self, start: usize, len: usize) -> &'a mut [T] {
        debug_assert!(start + len <= self.len);
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }
}
