//! The unknown score against its definition, and on few or odd photos.

#![allow(clippy::needless_range_loop)] // indices of matrices, as in the textbook

use ocelli::{UnknownConfig, UnknownScore, auroc};
use ocelli_data::{Draws, Purpose};

/// Rows around one center per class, in 12 dimensions.
fn clusters(each: usize, classes: usize, seed: u64) -> (Vec<f32>, Vec<usize>) {
    let mut draws = Draws::new(seed, Purpose::Project, 0, 2);
    let mut labels = Vec::new();
    let mut rows = Vec::new();
    for class in 0..classes {
        for _ in 0..each {
            let noise = (0..12).map(|d| 0.3 * draws.normal() as f32 + if d == class { 4.0 } else { 1.0 });
            rows.extend(noise);
            labels.push(class);
        }
    }
    (rows, labels)
}

/// The score by the definition: dense covariances of all directions, inverted by elimination.
fn by_definition(features: &[f32], labels: &[usize], classes: usize, row: &[f32]) -> f64 {
    let width = row.len();
    let unit = |row: &[f32]| {
        let norm = row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
        row.iter().map(|v| f64::from(*v) / norm).collect::<Vec<f64>>()
    };
    let rows: Vec<Vec<f64>> = features.chunks_exact(width).map(unit).collect();
    let mean = |chosen: &[&Vec<f64>]| -> Vec<f64> {
        (0..width).map(|d| chosen.iter().map(|row| row[d]).sum::<f64>() / chosen.len() as f64).collect()
    };
    let all = mean(&rows.iter().collect::<Vec<_>>());
    let means: Vec<Vec<f64>> = (0..classes)
        .map(|c| mean(&rows.iter().zip(labels).filter(|(_, l)| **l == c).map(|(r, _)| r).collect::<Vec<_>>()))
        .collect();
    let distance = |centers: &dyn Fn(usize) -> Vec<f64>, freedom: f64, at: &[f64]| {
        let mut covariance = vec![vec![0.0; width + 1]; width];
        for (row, &label) in rows.iter().zip(labels) {
            let center = centers(label);
            for i in 0..width {
                for j in 0..width {
                    covariance[i][j] += (row[i] - center[i]) * (row[j] - center[j]) / freedom;
                }
            }
        }
        let mean = (0..width).map(|i| covariance[i][i]).sum::<f64>() / width as f64;
        for i in 0..width {
            covariance[i][..width].iter_mut().for_each(|v| *v *= 0.9);
            covariance[i][i] += 0.1 * mean;
            covariance[i][width] = at[i];
        }
        for i in 0..width {
            let pivot = covariance[i].clone();
            for j in (0..width).filter(|j| *j != i) {
                let factor = covariance[j][i] / pivot[i];
                covariance[j].iter_mut().zip(&pivot).for_each(|(v, p)| *v -= factor * p);
            }
        }
        (0..width).map(|i| at[i] * covariance[i][width] / covariance[i][i]).sum::<f64>()
    };
    let row = unit(row);
    let minus = |other: &[f64]| row.iter().zip(other).map(|(a, b)| a - b).collect::<Vec<f64>>();
    let n = rows.len() as f64;
    let within = |label: usize| means[label].clone();
    let near = means.iter().map(|m| distance(&within, n - classes as f64, &minus(m)));
    near.fold(f64::INFINITY, f64::min) - distance(&|_| all.clone(), n - 1.0, &minus(&all))
}

#[test]
fn the_score_is_that_of_the_definition() {
    let (features, labels) = clusters(20, 3, 1);
    let score = UnknownScore::fit(&features, 12, &labels, 3).unwrap();
    let (others, _) = clusters(2, 5, 2);
    for row in others.chunks_exact(12) {
        let (found, expected) = (f64::from(score.of(row)[0]), by_definition(&features, &labels, 3, row));
        assert!((found - expected).abs() < 2e-3 * (1.0 + expected.abs()), "{found} is not {expected}");
    }
}

#[test]
fn strangers_are_told_from_known_photos() {
    let (features, labels) = clusters(20, 3, 1);
    let score = UnknownScore::fit(&features, 12, &labels, 3).unwrap();
    let (more, of_more) = clusters(20, 6, 3);
    let scores = score.of(&more);
    let part = |known: bool| -> Vec<f32> {
        scores.iter().zip(&of_more).filter(|(_, l)| (**l < 3) == known).map(|(s, _)| *s).collect()
    };
    assert!(auroc(&part(true), &part(false)).unwrap() > 0.95);
}

#[test]
fn few_equal_or_constant_photos_give_a_finite_score_or_a_reason() {
    let (features, labels) = clusters(5, 2, 4);
    let score = UnknownScore::fit(&features, 12, &labels, 2).unwrap();
    assert!(score.of(&features).iter().all(|score| score.is_finite()));
    assert!(score.of(&[0.0; 12])[0].is_finite(), "a photo without features");
    let one = UnknownScore::fit(&features, 12, &[0; 10], 1).unwrap();
    let far: Vec<f32> = (0..12).map(|d| if d == 11 { 9.0 } else { 0.0 }).collect();
    assert!(one.of(&far)[0] > *one.of(&features).iter().max_by(|a, b| a.total_cmp(b)).unwrap());
    // A class without photos changes nothing.
    let absent = UnknownScore::fit(&features, 12, &labels, 3).unwrap();
    assert_eq!(absent, score);
    assert!(UnknownScore::fit(&[0.5; 60], 12, &[0, 1, 0, 1, 0], 2).unwrap_err().contains("the same"));
    assert!(UnknownScore::fit(&[0.0; 60], 12, &[0, 1, 0, 1, 0], 2).unwrap_err().contains("the same"));
    assert!(UnknownScore::fit(&features[..36], 12, &[0, 1, 1], 2).unwrap_err().contains("too few"));
    // Identical photos within each class: no variance within classes.
    let twice: Vec<f32> = (0..6).flat_map(|i| features[(i % 2) * 60..][..12].to_vec()).collect();
    let score = UnknownScore::fit(&twice, 12, &[0, 1, 0, 1, 0, 1], 2).unwrap();
    assert!(score.of(&features).iter().all(|score| score.is_finite()));
}

#[test]
fn the_threshold_refuses_the_chosen_fraction() {
    let config =
        UnknownConfig::Fitted { train_photos: 9, valid_scores: (0..199).map(|score| score as f32).collect() };
    // Of 200 exchangeable photos, 10 are above the 190th.
    assert_eq!(config.threshold(0.05), Some(189.0));
    assert!(config.has_enough(0.05) && !config.has_enough(0.001));
    assert_eq!(config.threshold(0.0), Some(198.0), "the highest score");
    let few = UnknownConfig::Fitted { train_photos: 9, valid_scores: vec![1.0, 2.0] };
    assert_eq!((few.threshold(0.05), few.has_enough(0.05)), (Some(2.0), false));
    let missing = UnknownConfig::Missing { reason: "none".to_owned() };
    assert_eq!(missing.threshold(0.05), None);
}

#[test]
fn the_area_under_the_curve_counts_ties_half() {
    assert_eq!(auroc(&[1.0, 2.0], &[3.0, 4.0]), Some(1.0));
    assert_eq!(auroc(&[1.0, 2.0], &[2.0]), Some(0.75));
    assert_eq!(auroc(&[], &[2.0]), None);
}
