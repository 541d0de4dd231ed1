//! Batch buffers, whose memory the loader reuses.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// A buffer whose memory returns to the loader when it is dropped: fresh memory costs a page fault for every
/// 4 kB, which for a batch takes longer than decoding a photo.
#[derive(Debug, Default)]
pub struct Buffer {
    values: Vec<f32>,
    home: Weak<Mutex<Vec<Vec<f32>>>>,
}

/// The free buffers of a pass.
#[derive(Debug, Default)]
pub(crate) struct Buffers(Arc<Mutex<Vec<Vec<f32>>>>);

impl Buffers {
    /// A buffer of `length` values, which are arbitrary until they are written.
    pub(crate) fn take(&self, length: usize) -> Buffer {
        let free = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut values = free.unwrap_or_else(|| vec![0.0; length]);
        values.resize(length, 0.0);
        Buffer { values, home: Arc::downgrade(&self.0) }
    }
}

impl Buffer {
    /// Truncates to `length` values.
    pub(crate) fn truncate(&mut self, length: usize) {
        self.values.truncate(length);
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(home) = self.home.upgrade() {
            home.lock().unwrap_or_else(PoisonError::into_inner).push(std::mem::take(&mut self.values));
        }
    }
}

impl Clone for Buffer {
    /// A copy in its own memory.
    fn clone(&self) -> Self {
        Buffer { values: self.values.clone(), home: Weak::new() }
    }
}

impl PartialEq for Buffer {
    fn eq(&self, other: &Self) -> bool {
        self.values == other.values
    }
}

impl From<Vec<f32>> for Buffer {
    fn from(values: Vec<f32>) -> Self {
        Buffer { values, home: Weak::new() }
    }
}

impl Deref for Buffer {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        &self.values
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.values
    }
}

impl AsRef<[u8]> for Buffer {
    /// The bytes, in native order.
    fn as_ref(&self) -> &[u8] {
        bytemuck::cast_slice(&self.values)
    }
}
