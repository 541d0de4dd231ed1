//! Near duplicates and outliers among so many images that their features are read piece by piece, and that not
//! all pairs can be compared.
//!
//! Every image is compared with some of them, the references, by the random projection of their features. The
//! most similar of these pairs, and the farthest images, are then measured by the features themselves.

use ocelli_kernels::linear;
use rayon::prelude::*;

use super::neighbours::{
    CANDIDATES, DIMENSIONS, Moments, NEARLY_THE_SAME, NEIGHBOURS, Neighbours, Outlier, Pair, REFERENCES,
    Scale, directions, dot, row, unit,
};
use crate::error::Result;
use crate::stop::Stop;

/// The features of images, of which only some are in memory at a time.
pub(crate) struct FeatureRows<'a> {
    pub(crate) images: usize,
    /// The features of these images, row by row.
    pub(crate) read: &'a dyn Fn(&[usize]) -> Result<Vec<f32>>,
}

/// Comparisons of an image with a reference, at most: some seconds.
const MOST_COMPARED: usize = 2_000_000_000;
/// Pairs that are listed, at most.
pub(crate) const MOST_PAIRS: usize = 20_000;
/// Pairs that are measured exactly, at most.
const MOST_MEASURED: usize = 4 * MOST_PAIRS;
/// How much lower than the exact similarity that of the projections may be: three of its standard deviations.
const MARGIN: f32 = 0.02;
/// Candidates for each outlier.
const FAR: usize = 10;
/// Images that are read at once.
const READ: usize = 1024;
/// Images that are compared at once.
const COMPARED: usize = 256;

/// With how many of these images all are compared.
pub(crate) fn references(images: usize) -> usize {
    if images <= REFERENCES { images } else { images.div_ceil(step(images)) }
}

/// Every image whose number is a multiple of this is a reference.
fn step(images: usize) -> usize {
    images.div_ceil(REFERENCES.min((MOST_COMPARED / images).max(1)))
}

impl Neighbours {
    /// As [`of`](Self::of), for features that are read as they are needed: of more than 20,000 images each is
    /// compared with some only, and not more than [`MOST_PAIRS`] pairs are listed.
    pub(crate) fn of_rows(features: &FeatureRows, outliers: usize, stop: &Stop) -> Result<Self> {
        let images = features.images;
        if images <= REFERENCES {
            let all = (features.read)(&(0..images).collect::<Vec<_>>())?;
            return Ok(Self::until(&all, images, outliers, &|| stop.is_set()));
        }
        let search = Search::new(features, stop)?;
        let (pairs, far) = search.candidates(outliers, stop)?;
        let (pairs, outliers_found) = (search.measured(pairs, stop)?, search.outliers(&far)?);
        let mut found = Self { pairs, outliers: outliers_found }.ordered(outliers);
        found.pairs.truncate(MOST_PAIRS);
        Ok(found)
    }
}

/// The projected features of all images.
struct Search<'a> {
    features: &'a FeatureRows<'a>,
    scale: Scale,
    /// `[images, DIMENSIONS]`, rows of length 1.
    projected: Vec<f32>,
    /// Those of the references.
    references: Vec<f32>,
    step: usize,
}

/// Two images, and the cosine of their projections.
type Candidate = (f32, u32, u32);

impl<'a> Search<'a> {
    fn new(features: &'a FeatureRows<'a>, stop: &Stop) -> Result<Self> {
        let images = features.images;
        let all: Vec<usize> = (0..images).collect();
        let mut moments: Option<Moments> = None;
        for part in all.chunks(READ) {
            stop.check()?;
            let rows = (features.read)(part)?;
            moments.get_or_insert_with(|| Moments::new(rows.len() / part.len())).add(&rows);
        }
        let scale = moments.expect("there are images").scale();
        let mut projected = Vec::with_capacity(images * DIMENSIONS);
        let mut length_and_directions: Option<(usize, Vec<f32>)> = None;
        for part in all.chunks(READ) {
            stop.check()?;
            let mut rows = (features.read)(part)?;
            scale.apply(&mut rows);
            let (length, directions) = length_and_directions.get_or_insert_with(|| {
                let length = rows.len() / part.len();
                (length, directions(length))
            });
            let mut some = vec![0.0; part.len() * DIMENSIONS];
            linear([part.len(), *length, DIMENSIONS], directions, None, &rows, &mut some);
            some.par_chunks_exact_mut(DIMENSIONS).for_each(unit);
            projected.extend(some);
        }
        let step = step(images);
        let references = (0..images).step_by(step);
        let references = references.flat_map(|image| row(&projected, DIMENSIONS, image)).copied().collect();
        Ok(Self { features, scale, projected, references, step })
    }

    /// The references that are most similar to each of some images, by their projections, the most similar first.
    fn nearest(&self, images: &[usize]) -> Vec<Vec<(f32, usize)>> {
        let rows: Vec<f32> =
            images.iter().flat_map(|&image| row(&self.projected, DIMENSIONS, image)).copied().collect();
        let (count, step) = (self.references.len() / DIMENSIONS, self.step);
        let mut likeness = vec![0.0; images.len() * count];
        linear([images.len(), DIMENSIONS, count], &self.references, None, &rows, &mut likeness);
        let of = |(likeness, &image): (&[f32], &usize)| {
            let mut near: Vec<(f32, usize)> = Vec::with_capacity(4 * CANDIDATES);
            let mut least = f32::NEG_INFINITY;
            for (reference, &value) in likeness.iter().enumerate() {
                if value > least && reference * step != image {
                    near.push((value, reference * step));
                    if near.len() == 4 * CANDIDATES {
                        near.select_nth_unstable_by(CANDIDATES - 1, |a, b| b.0.total_cmp(&a.0));
                        near.truncate(CANDIDATES);
                        least = near[CANDIDATES - 1].0;
                    }
                }
            }
            near.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
            near.truncate(CANDIDATES);
            near
        };
        likeness.par_chunks_exact(count).zip(images).map(of).collect()
    }

    /// Pairs that may be nearly the same, and images that may be outliers.
    fn candidates(&self, outliers: usize, stop: &Stop) -> Result<(Vec<Candidate>, Vec<usize>)> {
        let all: Vec<usize> = (0..self.features.images).collect();
        let (mut pairs, mut far): (Vec<Candidate>, Vec<(f64, usize)>) = Default::default();
        let by_likeness =
            |a: &Candidate, b: &Candidate| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2)));
        for part in all.chunks(COMPARED) {
            stop.check()?;
            for (near, &image) in self.nearest(part).iter().zip(part) {
                let alike = near.iter().take_while(|(value, _)| *value >= NEARLY_THE_SAME - MARGIN);
                // Two references are compared twice.
                let alike = alike.filter(|(_, other)| *other > image || image % self.step != 0);
                pairs.extend(
                    alike.map(|&(value, other)| (value, image.min(other) as u32, image.max(other) as u32)),
                );
                let near = &near[..near.len().min(NEIGHBOURS)];
                let distance = near.iter().map(|(value, _)| 1.0 - f64::from(*value)).sum::<f64>();
                far.push((distance / near.len() as f64, image));
            }
            if pairs.len() > 4 * MOST_MEASURED {
                pairs.select_nth_unstable_by(MOST_MEASURED, by_likeness);
                pairs.truncate(MOST_MEASURED);
            }
        }
        pairs.sort_by(by_likeness);
        pairs.truncate(MOST_MEASURED);
        far.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        far.truncate(FAR * outliers);
        Ok((pairs, far.into_iter().map(|(_, image)| image).collect()))
    }

    /// The normalised features of some images.
    fn rows(&self, images: &[usize]) -> Result<Vec<f32>> {
        let mut rows = (self.features.read)(images)?;
        self.scale.apply(&mut rows);
        Ok(rows)
    }

    /// The pairs that are nearly the same, by all features.
    fn measured(&self, mut candidates: Vec<Candidate>, stop: &Stop) -> Result<Vec<Pair>> {
        // Near each other in the file.
        candidates.sort_unstable_by_key(|candidate| (candidate.1, candidate.2));
        let mut pairs = Vec::new();
        for some in candidates.chunks(READ / 2) {
            stop.check()?;
            let images: Vec<usize> = some.iter().flat_map(|&(_, a, b)| [a as usize, b as usize]).collect();
            let rows = self.rows(&images)?;
            let length = rows.len() / images.len();
            let likeness = rows.par_chunks_exact(2 * length).map(|both| {
                let (first, second) = both.split_at(length);
                dot(first, second)
            });
            let likeness: Vec<f32> = likeness.collect();
            pairs.extend(some.iter().zip(likeness).filter(|(_, likeness)| *likeness >= NEARLY_THE_SAME).map(
                |(&(_, first, second), likeness)| Pair {
                    first: first as usize,
                    second: second as usize,
                    likeness: f64::from(likeness.min(1.0)),
                },
            ));
        }
        Ok(pairs)
    }

    /// The distances of some images from their nearest references, by all features.
    fn outliers(&self, images: &[usize]) -> Result<Vec<Outlier>> {
        let distance = |(&image, near): (&usize, Vec<(f32, usize)>)| {
            let others: Vec<usize> = near.iter().map(|(_, other)| *other).collect();
            let (own, others) = (self.rows(&[image])?, self.rows(&others)?);
            let mut distances: Vec<f64> =
                others.chunks_exact(own.len()).map(|other| 1.0 - f64::from(dot(&own, other))).collect();
            distances.sort_by(f64::total_cmp);
            distances.truncate(NEIGHBOURS);
            Ok(Outlier { index: image, distance: distances.iter().sum::<f64>() / distances.len() as f64 })
        };
        images.iter().zip(self.nearest(images)).map(distance).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Features of images of eight kinds, in groups of four that are nearly the same, and one image unlike all.
    fn features(images: usize) -> Vec<f32> {
        use ocelli_data::{Draws, Purpose};
        const KINDS: usize = 8;
        const OF_KIND: usize = 4;
        const OF_GROUP: usize = 14;
        let mut values = Vec::new();
        for image in 0..images {
            let kind = image / 4 % KINDS;
            let mut draws = Draws::new(1, Purpose::Noise, 0, (image / 4) as u64);
            let mut noise = Draws::new(2, Purpose::Noise, 0, image as u64);
            values.extend((0..KINDS * OF_KIND).map(|at| f32::from(u8::from(at / OF_KIND == kind))));
            values.extend((0..OF_GROUP).map(|_| (draws.normal() + 0.05 * noise.normal()) as f32));
            values.push(f32::from(u8::from(image == 17)));
        }
        values
    }

    #[test]
    fn many_images_have_the_neighbours_that_few_would_have() {
        let images = REFERENCES + 4000;
        let features = features(images);
        let width = features.len() / images;
        let read = |images: &[usize]| {
            Ok(images.iter().flat_map(|&image| row(&features, width, image)).copied().collect())
        };
        let found = Neighbours::of_rows(&FeatureRows { images, read: &read }, 5, &Stop::default()).unwrap();
        let step = step(images);
        assert_eq!((step, references(images)), (2, images / 2));
        assert_eq!(found.outliers[0].index, 17, "{:?}", found.outliers);
        // Every pair of a group of which one is a reference: five of six.
        assert!(found.pairs.len() == MOST_PAIRS, "{}", found.pairs.len());
        for pair in &found.pairs {
            assert_eq!(pair.first / 4, pair.second / 4, "{pair:?}");
            assert!(pair.first < pair.second && pair.likeness >= f64::from(NEARLY_THE_SAME), "{pair:?}");
            assert!(pair.first % step == 0 || pair.second % step == 0, "{pair:?}");
        }
        let mut once: Vec<(usize, usize)> =
            found.pairs.iter().map(|pair| (pair.first, pair.second)).collect();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), found.pairs.len(), "each pair once");
        // The similarity is that of the features themselves.
        let rows = super::super::neighbours::normalised(&features, images);
        let pair = found.pairs[found.pairs.len() / 2];
        let exact = dot(row(&rows, width, pair.first), row(&rows, width, pair.second));
        assert!((pair.likeness - f64::from(exact)).abs() < 1e-5, "{pair:?} {exact}");
    }
}
