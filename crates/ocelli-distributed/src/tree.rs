//! Sums in one fixed order.
//!
//! Adding floats in another order gives other bits, so a sum over processes usually depends on their number.
//! Here the terms, numbered from 0, are the leaves of one binary tree that depends on their number alone: a
//! range of several leaves is divided at the largest power of two below its length. A process has the terms
//! of a contiguous range. It adds up every node of the tree that lies wholly in its range, and sends those
//! that are in no larger one, at most twice as many as the tree has levels; whoever receives the nodes of
//! all processes adds the rest of the tree. Each addition is one that a single process makes too.
//!
//! With 24 leaves on 2, 3, 4, 5 or 7 processes each sends at most 2, 1, 2, 3 or 2 nodes.

use std::ops::Range;

/// The leaves of a process: contiguous ranges, whose lengths differ by at most one.
pub fn leaves_of(rank: usize, size: usize, leaves: usize) -> Range<usize> {
    let start = |rank: usize| rank * (leaves / size) + rank.min(leaves % size);
    start(rank)..start(rank + 1)
}

/// The nodes of the tree that lie wholly in a range, and in no other node that does, in order.
pub fn nodes_within(range: &Range<usize>, leaves: usize) -> Vec<Range<usize>> {
    let mut nodes = Vec::new();
    collect(0..leaves, range, &mut nodes);
    nodes
}

fn collect(node: Range<usize>, range: &Range<usize>, nodes: &mut Vec<Range<usize>>) {
    if node.start >= range.end || range.start >= node.end {
        return;
    }
    if range.start <= node.start && node.end <= range.end {
        nodes.push(node);
    } else if let Some(middle) = middle(&node) {
        collect(node.start..middle, range, nodes);
        collect(middle..node.end, range, nodes);
    }
}

/// Where a node is divided; `None` for a leaf.
fn middle(node: &Range<usize>) -> Option<usize> {
    let length = node.len();
    (length > 1).then(|| node.start + (length.next_power_of_two() / 2))
}

/// The value of a node. `known` gives the values of some nodes, at least of all leaves that are in no other
/// known node; the others are added up.
pub fn sum<T>(
    node: Range<usize>,
    known: &mut impl FnMut(&Range<usize>) -> Option<T>,
    add: &mut impl FnMut(T, T) -> T,
) -> Option<T> {
    if let Some(value) = known(&node) {
        return Some(value);
    }
    let middle = middle(&node)?;
    let first = sum(node.start..middle, known, add)?;
    let second = sum(middle..node.end, known, add)?;
    Some(add(first, second))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Adds vectors element by element.
    fn add(mut first: Vec<f32>, second: Vec<f32>) -> Vec<f32> {
        first.iter_mut().zip(second).for_each(|(sum, term)| *sum += term);
        first
    }

    /// The sum as this many processes compute it, and the most nodes that one sends.
    fn by_processes(terms: &[Vec<f32>], size: usize) -> (Vec<f32>, usize) {
        let mut sent: Vec<(Range<usize>, Vec<f32>)> = Vec::new();
        let mut most = 0;
        for rank in 0..size {
            let own = leaves_of(rank, size, terms.len());
            let nodes = nodes_within(&own, terms.len());
            most = most.max(nodes.len());
            for node in nodes {
                let mut leaf = |node: &Range<usize>| {
                    assert!(own.start <= node.start && node.end <= own.end, "a process has its own terms");
                    (node.len() == 1).then(|| terms[node.start].clone())
                };
                sent.push((node.clone(), sum(node, &mut leaf, &mut add).unwrap()));
            }
        }
        let mut known =
            |node: &Range<usize>| sent.iter().find(|(sent, _)| sent == node).map(|(_, value)| value.clone());
        (sum(0..terms.len(), &mut known, &mut add).unwrap(), most)
    }

    /// An order of additions that is written down, independently of the code above: pairs are added, then
    /// pairs of pairs, and what has no partner waits.
    fn by_levels(terms: &[Vec<f32>]) -> Vec<f32> {
        let mut level = terms.to_vec();
        while level.len() > 1 {
            level = level
                .chunks(2)
                .map(|pair| match pair {
                    [first, second] => add(first.clone(), second.clone()),
                    rest => rest[0].clone(),
                })
                .collect();
        }
        level.remove(0)
    }

    fn bits(values: &[f32]) -> Vec<u32> {
        values.iter().map(|value| value.to_bits()).collect()
    }

    proptest! {
        #[test]
        fn any_number_of_processes_gives_the_same_bits(
            terms in prop::collection::vec(prop::collection::vec(-1e3f32..1e3, 3), 1..70),
            size in 1usize..=24,
        ) {
            let (found, _) = by_processes(&terms, size);
            prop_assert_eq!(bits(&found), bits(&by_levels(&terms)));
        }

        #[test]
        fn processes_divide_the_leaves(leaves in 0usize..1000, size in 1usize..=24) {
            let ranges: Vec<_> = (0..size).map(|rank| leaves_of(rank, size, leaves)).collect();
            prop_assert_eq!(ranges.iter().map(|range| range.len()).sum::<usize>(), leaves);
            prop_assert!(ranges.windows(2).all(|pair| pair[0].end == pair[1].start));
            let lengths = ranges.iter().map(|range| range.len());
            prop_assert!(lengths.clone().max().unwrap() - lengths.min().unwrap() <= 1);
        }
    }

    #[test]
    fn a_process_sends_few_nodes() {
        let terms: Vec<Vec<f32>> = (0..24).map(|term| vec![1.0 / (1.0 + term as f32); 4]).collect();
        let most = |size| by_processes(&terms, size).1;
        assert_eq!([1, 2, 3, 4, 5, 6, 7, 8, 12, 24].map(most), [1, 2, 1, 2, 3, 1, 2, 2, 1, 1]);
        for size in [1, 2, 4, 8, 16] {
            assert_eq!(by_processes(&terms[..16], size).1, 1, "powers of two send one node each");
        }
    }
}
