//! How kernels split their work over the current rayon pool. Work inside of [`single_threaded`], which is a
//! part of split work already, is not split again.

use std::cell::Cell;

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
