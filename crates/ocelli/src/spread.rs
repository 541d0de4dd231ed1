//! Some of many.

/// At most this many of some items, spread evenly over them.
pub(crate) fn spread(items: &[usize], most: usize) -> Vec<usize> {
    let count = items.len().min(most);
    (0..count).map(|index| items[index * items.len() / count]).collect()
}
