//! How kernels split their work over the current rayon pool. Work inside of [`single_threaded`], which is a
//! part of split work already, is not split again.

use std::{cell::Cell, ops::Range};

thread_local! {
    static SINGLE_THREADED: Cell<bool> = const { Cell::new(false) };
}

/// Does some work whose kernels stay on this thread.
pub fn single_threaded<R>(work: impl FnOnce() -> R) -> R {
    struct Restored(bool);
    impl Drop for Restored {
        fn drop(&mut self) {
            SINGLE_THREADED.set(self.0);
        }
    }
    let _restored = Restored(SINGLE_THREADED.replace(true));
    work()
}

/// The fewest items for one thread, for rayon's `with_min_len`.
pub(crate) fn min_len(items: usize) -> usize {
    if SINGLE_THREADED.get() { usize::MAX } else { items }
}

/// The number of pieces to divide work into: `shared` where threads share them.
pub(crate) fn target_pieces(shared: usize) -> usize {
    if SINGLE_THREADED.get() { 1 } else { shared }
}

/// Pieces of the pixels, each with all blocks of channels, or where there are fewer than `target` pieces, with some of them.
pub(crate) fn with_blocks<'a, B>(
    pieces: &'a [Range<usize>],
    blocks: &'a [B],
    target: usize,
) -> Vec<(&'a Range<usize>, &'a [B])> {
    let splits = (target / pieces.len().max(1)).clamp(1, blocks.len());
    let blocks_per_split = blocks.len().div_ceil(splits);
    let with_blocks = |piece| blocks.chunks(blocks_per_split).map(move |blocks| (piece, blocks));
    pieces.iter().flat_map(with_blocks).collect()
}
