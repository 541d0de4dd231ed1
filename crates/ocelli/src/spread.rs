//! Some of many.

/// At most this many of some items, spread evenly over them.
pub(crate) fn spread<T: Clone>(items: &[T], most: usize) -> Vec<T> {
    let count = items.len().min(most);
    (0..count).map(|index| items[index * items.len() / count].clone()).collect()
}
