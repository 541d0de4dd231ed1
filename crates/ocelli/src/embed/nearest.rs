//! The nearest photos by the cosine of their features: exact search, and groups of near duplicates.

use rayon::prelude::*;

use crate::interpret::neighbours::{NEARLY_THE_SAME, dot, normalised, row};

/// A photo near another one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Nearest {
    /// Its row among the photos that were searched.
    pub index: usize,
    /// The cosine of both features, −1 to 1.
    pub similarity: f32,
}

/// Rows with length 1 (L2); a row of zeros stays one.
pub(crate) fn unit_rows(features: &[f32], width: usize) -> Vec<f32> {
    let mut rows = features.to_vec();
    rows.par_chunks_exact_mut(width.max(1)).for_each(normalize);
    rows
}

/// Scales a vector to length 1 (L2); zeros stay zeros.
pub(crate) fn normalize(values: &mut [f32]) {
    let norm = values.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>().sqrt();
    if norm > 0.0 {
        values.iter_mut().for_each(|value| *value = (f64::from(*value) / norm) as f32);
    }
}

/// For each query, the `count` most similar rows of `among`, the most similar first; equal ones in the order
/// of their rows. Both are `[rows, width]`, row by row; every pair is compared.
///
/// # Panics
/// Where `width` is 0.
pub fn nearest(queries: &[f32], among: &[f32], width: usize, count: usize) -> Vec<Vec<Nearest>> {
    let (queries, among) = (unit_rows(queries, width), unit_rows(among, width));
    queries
        .chunks_exact(width)
        .map(|query| {
            let mut all: Vec<Nearest> = among
                .par_chunks_exact(width)
                .enumerate()
                .map(|(index, row)| Nearest { index, similarity: dot(query, row) })
                .collect();
            let order =
                |a: &Nearest, b: &Nearest| b.similarity.total_cmp(&a.similarity).then(a.index.cmp(&b.index));
            if count < all.len() {
                all.select_nth_unstable_by(count, order);
                all.truncate(count);
            }
            all.sort_by(order);
            all
        })
        .collect()
}

/// Groups of near duplicates among photos, the largest first: photos of one group are connected by pairs
/// whose cosine is at least 0.97, where every feature was first normalised to mean 0 and variance 1 over
/// these photos, as in a report's list of near duplicates. Every pair is compared. A group's photos are
/// ascending rows of `features` `[photos, width]`, each with its highest similarity to another one of the
/// group.
///
/// # Panics
/// Where `width` is 0.
pub fn duplicate_groups(features: &[f32], width: usize) -> Vec<Vec<Nearest>> {
    let photos = features.len() / width;
    if photos < 2 {
        return Vec::new();
    }
    let rows = normalised(features, photos);
    let pairs: Vec<(usize, usize, f32)> = (0..photos)
        .into_par_iter()
        .flat_map_iter(|first| {
            let of_first = row(&rows, width, first);
            let rows = &rows;
            (first + 1..photos).filter_map(move |second| {
                let mut similarity = dot(of_first, row(rows, width, second));
                // Where all photos are equal, every normalised feature is 0.
                if features[first * width..][..width] == features[second * width..][..width] {
                    similarity = 1.0;
                }
                (similarity >= NEARLY_THE_SAME).then_some((first, second, similarity.min(1.0)))
            })
        })
        .collect();
    connected(photos, pairs)
}

/// Groups of photos that pairs connect, each with its highest similarity to another one; the largest first.
pub(crate) fn connected(
    photos: usize,
    pairs: impl IntoIterator<Item = (usize, usize, f32)>,
) -> Vec<Vec<Nearest>> {
    let mut roots: Vec<usize> = (0..photos).collect();
    fn root(roots: &mut [usize], mut index: usize) -> usize {
        while roots[index] != index {
            roots[index] = roots[roots[index]];
            index = roots[index];
        }
        index
    }
    let mut highest = vec![f32::NEG_INFINITY; photos];
    for (first, second, similarity) in pairs {
        let (one, other) = (root(&mut roots, first), root(&mut roots, second));
        roots[one.max(other)] = one.min(other);
        for index in [first, second] {
            highest[index] = highest[index].max(similarity);
        }
    }
    let mut groups: Vec<Vec<Nearest>> = vec![Vec::new(); photos];
    for (index, &similarity) in highest.iter().enumerate().filter(|(_, similarity)| similarity.is_finite()) {
        groups[root(&mut roots, index)].push(Nearest { index, similarity });
    }
    groups.retain(|group| group.len() > 1);
    groups.sort_by(|a, b| b.len().cmp(&a.len()).then(a[0].index.cmp(&b[0].index)));
    groups
}
