//! Whether kernels share their work among threads: by themselves they do; in a piece of work that is shared already
//! they do not.

use std::cell::Cell;

thread_local! {
    static ALONE: Cell<bool> = const { Cell::new(false) };
}

/// Does some work whose kernels stay on this thread.
pub(crate) fn alone<R>(work: impl FnOnce() -> R) -> R {
    struct Restored(bool);
    impl Drop for Restored {
        fn drop(&mut self) {
            ALONE.set(self.0);
        }
    }
    let _restored = Restored(ALONE.replace(true));
    work()
}

fn is_alone() -> bool {
    ALONE.get()
}

/// The least that is given to a thread of its own, for rayon's `with_min_len`.
pub(crate) fn least(items: usize) -> usize {
    if is_alone() { usize::MAX } else { items }
}

/// How many pieces work is cut into at least, so that threads can share it.
pub(crate) fn pieces(shared: usize) -> usize {
    if is_alone() { 1 } else { shared }
}
