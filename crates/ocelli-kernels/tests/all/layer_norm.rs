//! Layer normalisation against a slow f64 implementation and finite differences.

use crate::common::*;
use ocelli_kernels::{Element, LayerNorm, bf16};
use proptest::prelude::*;

const EPSILON: f64 = 1e-3;

/// Mean, and one over the deviation, of a row.
fn moments(row: &[f64]) -> (f64, f64) {
    let count = row.len() as f64;
    let mean = row.iter().sum::<f64>() / count;
    let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
    (mean, 1.0 / (variance + EPSILON).sqrt())
}

fn forward(x: &[f64], gamma: &[f64], beta: &[f64]) -> Vec<f64> {
    let normalise = |row: &[f64]| {
        let (mean, inverse) = moments(row);
        let normalised = row.iter().zip(gamma.iter().zip(beta));
        normalised.map(|(x, (gamma, beta))| (x - mean) * inverse * gamma + beta).collect::<Vec<_>>()
    };
    x.chunks(gamma.len()).flat_map(normalise).collect()
}

/// dx without others, dgamma, dbeta, by the textbook.
fn gradients(x: &[f64], gamma: &[f64], dy: &[f64]) -> [Vec<f64>; 3] {
    let channels = gamma.len();
    let (mut dx, mut dgamma, mut dbeta) = (Vec::new(), vec![0.0; channels], vec![0.0; channels]);
    for (row, dy) in x.chunks(channels).zip(dy.chunks(channels)) {
        let (mean, inverse) = moments(row);
        let normalised: Vec<f64> = row.iter().map(|x| (x - mean) * inverse).collect();
        let slope: Vec<f64> = dy.iter().zip(gamma).map(|(dy, gamma)| dy * gamma).collect();
        let average = slope.iter().sum::<f64>() / channels as f64;
        let product = slope.iter().zip(&normalised).map(|(a, b)| a * b).sum::<f64>() / channels as f64;
        for c in 0..channels {
            dx.push((slope[c] - average - normalised[c] * product) * inverse);
            dgamma[c] += dy[c] * normalised[c];
            dbeta[c] += dy[c];
        }
    }
    [dx, dgamma, dbeta]
}

fn check<T: Element>(rows: usize, channels: usize, offset: f32, seed: u64) {
    let len = rows * channels;
    let x: Vec<T> = random::<f32>(seed, len).into_iter().map(|x| T::from_f32(x + offset)).collect();
    let (gamma, beta): (Vec<f32>, Vec<f32>) = (random(seed + 1, channels), random(seed + 2, channels));
    let (dy, others): (Vec<T>, Vec<T>) = (random(seed + 3, len), random(seed + 4, len));
    let exact = forward(&f64s(&x), &f64s(&gamma), &f64s(&beta));
    let [dx_exact, dgamma_exact, dbeta_exact] = gradients(&f64s(&x), &f64s(&gamma), &f64s(&dy));
    let with_others: Vec<f64> = dx_exact.iter().zip(f64s(&others)).map(|(dx, other)| dx + other).collect();
    on_every_isa(|isa| {
        let what = format!("{isa}: {rows} rows of {channels}, offset {offset}, seed {seed}");
        let norm = LayerNorm { gamma: &gamma, beta: &beta, epsilon: EPSILON as f32 };
        let mut y = vec![T::from_f32(f32::NAN); len];
        norm.forward(&x, &mut y);
        // Few values that are nearly equal: their distance from the mean is a difference of nearly equal terms.
        let few = if channels < 8 { 100.0 } else { 1.0 };
        assert_close(&format!("y, {what}"), &y, &exact, few * tolerance::<T>());
        for (others, expected) in [(None, &dx_exact), (Some(&others[..]), &with_others)] {
            let mut dx = vec![T::from_f32(f32::NAN); len];
            let gradients = norm.backward(&x, &dy, others, &mut dx);
            assert_close(&format!("dx, {what}"), &dx, expected, few * tolerance::<T>());
            // Sums are f32 whatever the elements are.
            assert_close(&format!("dgamma, {what}"), &gradients.gamma, &dgamma_exact, few * 1e-5);
            assert_close(&format!("dbeta, {what}"), &gradients.beta, &dbeta_exact, 1e-5);
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(100) })]

    #[test]
    fn layer_norm_f32(rows in 1usize..90, channels in 1usize..260, offset in -3.0f32..3.0, seed in 0u64..1000) {
        check::<f32>(rows, channels, offset, seed);
    }

    #[test]
    fn layer_norm_bf16(rows in 1usize..90, channels in 1usize..260, offset in -3.0f32..3.0, seed in 0u64..1000) {
        check::<bf16>(rows, channels, offset, seed);
    }
}

#[test]
fn many_rows_and_wide_rows() {
    check::<f32>(3000, 24, 0.5, 1);
    check::<bf16>(300, 192, 0.5, 2);
    check::<f32>(3, 9000, 0.5, 3);
}

#[test]
fn no_rows_are_no_work() {
    let norm = LayerNorm { gamma: &[1.0; 5], beta: &[0.0; 5], epsilon: 1e-6 };
    norm.forward::<f32>(&[], &mut []);
    let gradients = norm.backward::<f32>(&[], &[], None, &mut []);
    assert_eq!((gradients.gamma, gradients.beta), (vec![0.0; 5], vec![0.0; 5]));
}

#[test]
fn the_reference_agrees_with_finite_differences() {
    let (x, dy) = (f64s(&random::<f32>(7, 35)), f64s(&random::<f32>(8, 35)));
    let (gamma, beta) = (f64s(&random::<f32>(9, 7)), f64s(&random::<f32>(10, 7)));
    let loss = |x: &[f64], gamma: &[f64], beta: &[f64]| -> f64 {
        forward(x, gamma, beta).iter().zip(&dy).map(|(y, dy)| y * dy).sum()
    };
    let slope = |values: &[f64], loss: &dyn Fn(&[f64]) -> f64| -> Vec<f64> {
        let moved = |at: usize, by: f64| {
            let mut moved = values.to_vec();
            moved[at] += by;
            loss(&moved)
        };
        (0..values.len()).map(|at| (moved(at, 1e-5) - moved(at, -1e-5)) / 2e-5).collect()
    };
    let [dx, dgamma, dbeta] = gradients(&x, &gamma, &dy);
    for (exact, expected) in [
        (dx, slope(&x, &|x| loss(x, &gamma, &beta))),
        (dgamma, slope(&gamma, &|gamma| loss(&x, gamma, &beta))),
        (dbeta, slope(&beta, &|beta| loss(&x, &gamma, beta))),
    ] {
        exact
            .iter()
            .zip(expected)
            .for_each(|(a, b)| assert!((a - b).abs() < 1e-6 * b.abs().max(1.0), "{a} {b}"));
    }
}
