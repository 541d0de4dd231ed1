//! Memory as kernels need it: aligned to cache lines, and written by several threads at disjoint places.

use std::{
    ops::{Deref, DerefMut},
    sync::{Mutex, PoisonError},
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
pub(crate) struct Scratch {
    words: AlignedWords,
}

static POOL: Mutex<Vec<AlignedWords>> = Mutex::new(Vec::new());

/// Buffers that the pool keeps, and their size together.
const KEPT_BUFFERS: usize = 16;
const KEPT_WORDS: usize = 64 << 20;

impl Scratch {
    /// At least `len` words of any value.
    pub(crate) fn take(len: usize) -> Self {
        let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
        let fitting = pool.iter().enumerate().filter(|(_, words)| words.len() >= len);
        let best = fitting.min_by_key(|(_, words)| words.len()).map(|(at, _)| at);
        let kept = best.map(|at| pool.swap_remove(at));
        drop(pool);
        Scratch { words: kept.unwrap_or_else(|| AlignedWords::zeros(len)) }
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
        let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
        pool.push(std::mem::take(&mut self.words));
        while pool.len() > KEPT_BUFFERS || pool.iter().map(AlignedWords::len).sum::<usize>() > KEPT_WORDS {
            let smallest = (0..pool.len()).min_by_key(|at| pool[*at].len());
            let Some(smallest) = smallest else { break };
            pool.swap_remove(smallest);
        }
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

    /// # Safety
    /// Inside of the slice, which is still borrowed, and no other thread has or writes this piece.
    pub(crate) unsafe fn slice<'a>(self, start: usize, len: usize) -> &'a mut [T] {
        debug_assert!(start + len <= self.len);
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(start), len) }
    }
}
