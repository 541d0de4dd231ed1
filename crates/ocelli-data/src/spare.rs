//! Buffers that a thread uses again for the next image: a fresh one costs a page fault for every 4 kB of it.

use std::cell::RefCell;

/// Buffers that a thread keeps; an image on its way needs no more at once.
const COUNT: usize = 4;

/// The largest buffer that is kept, in bytes: an image of 5 megapixels.
const LARGEST: usize = 16 << 20;

thread_local! {
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer with room for `length` bytes, if possible one that was kept.
pub(crate) fn take(length: usize) -> Vec<u8> {
    let kept = SPARE.with_borrow_mut(|spare| {
        let fits = |buffer: &Vec<u8>| buffer.capacity() >= length;
        // The smallest that is large enough.
        let best = (0..spare.len()).filter(|&at| fits(&spare[at])).min_by_key(|&at| spare[at].capacity());
        best.map(|at| spare.swap_remove(at))
    });
    kept.unwrap_or_else(|| Vec::with_capacity(length))
}

/// A buffer of `length` zeros.
pub(crate) fn zeros(length: usize) -> Vec<u8> {
    let mut buffer = take(length);
    buffer.resize(length, 0);
    buffer
}

/// Keeps a buffer for this thread's next image.
pub(crate) fn keep(mut buffer: Vec<u8>) {
    if buffer.capacity() == 0 || buffer.capacity() > LARGEST {
        return;
    }
    buffer.clear();
    SPARE.with_borrow_mut(|spare| {
        spare.push(buffer);
        if spare.len() > COUNT {
            // The smallest is the cheapest to make anew.
            let smallest = (0..spare.len()).min_by_key(|&at| spare[at].capacity());
            if let Some(at) = smallest {
                spare.swap_remove(at);
            }
        }
    });
}
