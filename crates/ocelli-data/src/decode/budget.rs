//! The memory of all decodes together.
//!
//! An image's size is bounded; how many are decoded at once is not, with a thread for each core. So a decoder
//! claims the bytes it will need, once it knows them from the header and before it takes them, and waits
//! while others have too much. What was claimed is given back when the scope around the decode, and around
//! the use of its pixels, ends.
//!
//! Threads are admitted in the order in which they ask. One that needs more than there is altogether is
//! admitted alone. A thread that has something already, and asks for more, is not made to wait: so no two can
//! wait for each other. Who waits changes no result.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// What all decodes may take together, unless a single one needs more: 2 GiB.
pub(crate) const CAPACITY: u64 = 2 << 30;

static BUDGET: Budget = Budget::new(CAPACITY);

thread_local! {
    static SCOPES: Cell<u32> = const { Cell::new(0) };
    static CLAIMED: Cell<u64> = const { Cell::new(0) };
}

/// Until it is dropped, this thread keeps what it claims.
pub(crate) struct Scope {
    // Claims belong to a thread.
    _of_one_thread: PhantomData<*const ()>,
}

/// Begins a scope; within another one it does nothing.
pub(crate) fn scope() -> Scope {
    SCOPES.set(SCOPES.get() + 1);
    Scope { _of_one_thread: PhantomData }
}

/// Claims bytes for the scope that the thread is in; may wait for other threads.
pub(crate) fn claim(bytes: u64) {
    debug_assert!(SCOPES.get() > 0, "a claim needs a scope");
    let claimed = CLAIMED.get();
    if claimed == 0 {
        BUDGET.take(bytes);
    } else {
        BUDGET.take_at_once(bytes);
    }
    CLAIMED.set(claimed.saturating_add(bytes));
}

impl Drop for Scope {
    fn drop(&mut self) {
        SCOPES.set(SCOPES.get() - 1);
        if SCOPES.get() == 0 {
            BUDGET.give_back(CLAIMED.replace(0));
        }
    }
}

struct Budget {
    capacity: u64,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    used: u64,
    /// The number that the next one to ask gets, and the one that is admitted next.
    next: u64,
    admitted: u64,
}

impl Budget {
    const fn new(capacity: u64) -> Self {
        let state = State { used: 0, next: 0, admitted: 0 };
        Budget { capacity, state: Mutex::new(state), changed: Condvar::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is changed in single steps that cannot panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, bytes: u64) {
        let mut state = self.lock();
        let number = state.next;
        state.next += 1;
        let fits = |used: u64| used == 0 || used.checked_add(bytes).is_some_and(|sum| sum <= self.capacity);
        while state.admitted != number || !fits(state.used) {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.admitted += 1;
        state.used = state.used.saturating_add(bytes);
        let others_wait = state.next != state.admitted;
        drop(state);
        if others_wait {
            self.changed.notify_all();
        }
    }

    fn take_at_once(&self, bytes: u64) {
        let mut state = self.lock();
        state.used = state.used.saturating_add(bytes);
    }

    fn give_back(&self, bytes: u64) {
        if bytes == 0 {
            return;
        }
        let mut state = self.lock();
        state.used = state.used.saturating_sub(bytes);
        let others_wait = state.next != state.admitted;
        drop(state);
        if others_wait {
            self.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn all_are_admitted_and_never_have_more_than_there_is() {
        let budget = Budget::new(100);
        let (inside, most, alone, done) = Default::default();
        let (inside, most, alone, done): (AtomicU64, AtomicU64, AtomicU64, AtomicU64) =
            (inside, most, alone, done);
        std::thread::scope(|threads| {
            for thread in 0..8u64 {
                let (budget, inside, most, alone, done) = (&budget, &inside, &most, &alone, &done);
                threads.spawn(move || {
                    for round in 0..200 {
                        // Every seventh needs more than there is.
                        let bytes = if round % 7 == 0 { 250 } else { 1 + (thread * 31 + round * 17) % 60 };
                        budget.take(bytes);
                        let now = inside.fetch_add(bytes, Ordering::SeqCst) + bytes;
                        if bytes > 100 {
                            alone.fetch_add(u64::from(now == bytes), Ordering::SeqCst);
                        } else {
                            most.fetch_max(now, Ordering::SeqCst);
                        }
                        std::thread::yield_now();
                        inside.fetch_sub(bytes, Ordering::SeqCst);
                        budget.give_back(bytes);
                        done.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(done.into_inner(), 8 * 200);
        assert!(most.into_inner() <= 100);
        assert_eq!(alone.into_inner(), 8 * 29, "what needs all is alone");
        assert_eq!(budget.lock().used, 0);
    }

    #[test]
    fn a_thread_that_has_something_never_waits_for_itself() {
        let outer = scope();
        claim(CAPACITY);
        {
            let _inner = scope();
            claim(CAPACITY);
        }
        assert_eq!(CLAIMED.get(), 2 * CAPACITY, "an inner scope gives nothing back");
        drop(outer);
        assert_eq!(CLAIMED.get(), 0);
    }
}
