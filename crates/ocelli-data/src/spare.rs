//! Buffers that a thread reuses for the next image: a fresh one costs a page fault for every 4 kB.

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The most spare buffers of a thread; an image needs no more at once.
const COUNT: usize = 4;

/// The largest spare buffer, in bytes: an image of 5 megapixels.
const LARGEST: usize = 16 << 20;

/// The limit of the spare buffers of all threads together, in bytes.
const ALL: usize = 1 << 30;

static KEPT: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static SPARE: RefCell<Spare> = const { RefCell::new(Spare(Vec::new())) };
}

/// The spare buffers of a thread, which count towards the limit.
struct Spare(Vec<Vec<u8>>);

impl Spare {
    fn remove(&mut self, at: usize) -> Vec<u8> {
        let buffer = self.0.swap_remove(at);
        KEPT.fetch_sub(buffer.capacity(), Ordering::Relaxed);
        buffer
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        while !self.0.is_empty() {
            self.remove(0);
        }
    }
}

/// An empty buffer with a capacity of `length` bytes, if possible a spare one.
pub(crate) fn take(length: usize) -> Vec<u8> {
    let reused = SPARE.with_borrow_mut(|spare| {
        let fits = |buffer: &Vec<u8>| buffer.capacity() >= length;
        // The smallest that is large enough.
        let best =
            (0..spare.0.len()).filter(|&at| fits(&spare.0[at])).min_by_key(|&at| spare.0[at].capacity());
        best.map(|at| spare.remove(at))
    });
    reused.unwrap_or_else(|| Vec::with_capacity(length))
}

/// A buffer of `length` zeros.
pub(crate) fn zeros(length: usize) -> Vec<u8> {
    let mut buffer = take(length);
    buffer.resize(length, 0);
    buffer
}

/// Keeps a buffer for this thread's next image.
pub(crate) fn keep(mut buffer: Vec<u8>) {
    let size = buffer.capacity();
    if size == 0 || size > LARGEST {
        return;
    }
    if KEPT.fetch_add(size, Ordering::Relaxed) + size > ALL {
        KEPT.fetch_sub(size, Ordering::Relaxed);
        return;
    }
    buffer.clear();
    SPARE.with_borrow_mut(|spare| {
        spare.0.push(buffer);
        if spare.0.len() > COUNT {
            // The smallest is the cheapest to allocate again.
            let smallest = (0..spare.0.len()).min_by_key(|&at| spare.0[at].capacity());
            if let Some(at) = smallest {
                spare.remove(at);
            }
        }
    });
}
