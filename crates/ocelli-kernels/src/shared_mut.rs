//! A mutable slice that is shared by threads.

/// A slice that several threads write, each at its own elements.
#[derive(Clone, Copy)]
pub struct SharedMut<T> {
    start: *mut T,
    len: usize,
}

// SAFETY: it is only a pointer; whoever writes through it promises that elements are disjoint.
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
