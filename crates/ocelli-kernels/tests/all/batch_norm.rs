//! Batch normalisation against a slow f64 implementation and finite differences.

use crate::common::*;
use ocelli_kernels::{
    Activation, BatchNorm, Element, StatisticsSource, bf16, channel_statistics, channel_sums,
};
use proptest::prelude::*;

const EPSILON: f64 = 1e-3;

/// One normalisation in f64. Everything is `[pixels, channels]`.
struct Reference {
    channels: usize,
    x: Vec<f64>,
    residual: Option<Vec<f64>>,
    gamma: Vec<f64>,
    beta: Vec<f64>,
    activation: Activation,
    /// Mean and variance, if they are constants.
    frozen: Option<(Vec<f64>, Vec<f64>)>,
}

impl Reference {
    fn statistics(&self) -> (Vec<f64>, Vec<f64>) {
        if let Some(frozen) = &self.frozen {
            return frozen.clone();
        }
        let pixels = (self.x.len() / self.channels) as f64;
        let column = |c: usize| self.x.iter().skip(c).step_by(self.channels);
        let mean: Vec<f64> = (0..self.channels).map(|c| column(c).sum::<f64>() / pixels).collect();
        let variance = (0..self.channels)
            .map(|c| column(c).map(|x| (x - mean[c]).powi(2)).sum::<f64>() / pixels)
            .collect();
        (mean, variance)
    }

    /// The activation's arguments.
    fn arguments(&self) -> Vec<f64> {
        let (mean, variance) = self.statistics();
        (0..self.x.len())
            .map(|i| {
                let c = i % self.channels;
                let normalised = (self.x[i] - mean[c]) / (variance[c] + EPSILON).sqrt();
                normalised * self.gamma[c] + self.beta[c] + self.residual.as_ref().map_or(0.0, |r| r[i])
            })
            .collect()
    }

    fn output(&self) -> Vec<f64> {
        self.arguments().into_iter().map(|u| activate(self.activation, u)).collect()
    }

    /// dx, dresidual, dgamma, dbeta for the gradient `dy`, by the textbook.
    fn gradients(&self, dy: &[f64]) -> [Vec<f64>; 4] {
        let (mean, variance) = self.statistics();
        let pixels = (self.x.len() / self.channels) as f64;
        let du: Vec<f64> = self
            .arguments()
            .iter()
            .zip(dy)
            .map(|(u, dy)| dy * activation_slope(self.activation, *u))
            .collect();
        let normalised =
            |i: usize| (self.x[i] - mean[i % self.channels]) / (variance[i % self.channels] + EPSILON).sqrt();
        let (mut dgamma, mut dbeta) = (vec![0.0; self.channels], vec![0.0; self.channels]);
        for (i, du) in du.iter().enumerate() {
            dgamma[i % self.channels] += du * normalised(i);
            dbeta[i % self.channels] += du;
        }
        let dx = (0..self.x.len())
            .map(|i| {
                let c = i % self.channels;
                let through = match self.frozen {
                    Some(_) => 0.0,
                    None => (dbeta[c] + normalised(i) * dgamma[c]) / pixels,
                };
                (du[i] - through) * self.gamma[c] / (variance[c] + EPSILON).sqrt()
            })
            .collect();
        [dx, du, dgamma, dbeta]
    }

    /// The sums of absolute values of what dgamma and dbeta sum: what rounding errors are relative to. A pixel near the mean
    /// has the errors of both, which may be far from 0.
    fn gradient_magnitudes(&self, du: &[f64]) -> [Vec<f64>; 2] {
        let (mean, variance) = self.statistics();
        let mut sums = [vec![0.0; self.channels], vec![0.0; self.channels]];
        for (i, du) in du.iter().enumerate() {
            let c = i % self.channels;
            let rounded = 0.1 * (self.x[i].abs() + mean[c].abs());
            sums[0][c] += du.abs() * ((self.x[i] - mean[c]).abs() + rounded) / (variance[c] + EPSILON).sqrt();
            sums[1][c] += du.abs();
        }
        sums
    }
}

#[derive(Clone, Debug)]
struct Case {
    channels: usize,
    pixels: usize,
    activation: Activation,
    residual: bool,
    frozen: bool,
    offset: f32,
    seed: u64,
}

fn cases() -> impl Strategy<Value = Case> {
    let sizes = prop_oneof![(1usize..200, 2usize..60), (1usize..20, 500usize..5000)];
    (sizes, 0usize..5, any::<bool>(), any::<bool>(), -3.0f32..3.0, 0u64..1000).prop_map(
        |((channels, pixels), activation, residual, frozen, offset, seed)| Case {
            channels,
            pixels,
            activation: ACTIVATIONS[activation],
            residual,
            frozen,
            offset,
            seed,
        },
    )
}

fn check<T: Element>(case: &Case) {
    let Case { channels, seed, .. } = *case;
    let len = channels * case.pixels;
    let x: Vec<T> = random::<f32>(seed, len).into_iter().map(|x| T::from_f32(x + case.offset)).collect();
    let residual: Option<Vec<T>> = case.residual.then(|| random(seed + 1, len));
    let gamma: Vec<f32> = random(seed + 2, channels);
    let beta: Vec<f32> = random(seed + 3, channels);
    let dy: Vec<T> = random(seed + 4, len);
    let frozen: Option<(Vec<f32>, Vec<f32>)> = case.frozen.then(|| {
        let variance = random::<f32>(seed + 6, channels).into_iter().map(|v| v + 1.2).collect();
        (random(seed + 5, channels), variance)
    });
    let reference = Reference {
        channels,
        x: f64s(&x),
        residual: residual.as_ref().map(|r| f64s(r)),
        gamma: f64s(&gamma),
        beta: f64s(&beta),
        activation: case.activation,
        frozen: frozen.as_ref().map(|(m, v)| (f64s(m), f64s(v))),
    };
    let arguments = reference.arguments();
    let exact = reference.output();
    let [dx_exact, dresidual_exact, dgamma_exact, dbeta_exact] = reference.gradients(&f64s(&dy));
    let magnitudes = reference.gradient_magnitudes(&dresidual_exact);
    // Beside a kink the slope hangs on the last bit of the argument: no gradient to compare there.
    let kinks: &[f64] = match case.activation {
        Activation::Relu => &[0.0],
        Activation::Relu6 => &[0.0, 6.0],
        Activation::HardSwish => &[-3.0, 3.0],
        _ => &[],
    };
    let beside_kink = |u: &f64| kinks.iter().any(|kink| (u - kink).abs() < 3e-5);
    let smooth = !arguments.iter().any(beside_kink);
    on_every_isa(|isa| {
        let what = format!("{isa} {case:?}");
        let (mean, variance) = match &frozen {
            Some(frozen) => frozen.clone(),
            None => {
                let statistics = channel_statistics(channels, &x);
                let (mean, variance) = reference.statistics();
                assert_close(&format!("mean {what}"), &statistics.mean, &mean, 1e-5);
                assert_close(&format!("variance {what}"), &statistics.variance, &variance, 1e-5);
                (statistics.mean, statistics.variance)
            }
        };
        let norm = BatchNorm {
            mean: &mean,
            variance: &variance,
            gamma: &gamma,
            beta: &beta,
            epsilon: EPSILON as f32,
            activation: case.activation,
        };
        let mut y = vec![T::from_f32(f32::NAN); len];
        norm.forward(&x, residual.as_deref(), &mut y);
        assert_close(&format!("y {what}"), &y, &exact, tolerance::<T>());
        let mut dx = vec![T::from_f32(f32::NAN); len];
        let mut dresidual = case.residual.then(|| vec![T::from_f32(f32::NAN); len]);
        let source = if case.frozen { StatisticsSource::Frozen } else { StatisticsSource::Batch };
        let gradients =
            norm.backward(source, &x, residual.as_deref(), &dy, None, &mut dx, dresidual.as_deref_mut());
        let mut sums = vec![T::from_f32(f32::NAN); len];
        norm.backward(source, &x, residual.as_deref(), &dy, Some(&y), &mut sums, dresidual.as_deref_mut());
        let exact: Vec<f64> = f64s(&dx).into_iter().zip(f64s(&y)).map(|(dx, other)| dx + other).collect();
        assert_close(&format!("dx with others {what}"), &sums, &exact, tolerance::<T>());
        if smooth {
            // The distance of two pixels from their mean is a difference of nearly equal terms, as is dx.
            let few = if case.pixels < 20 { 100.0 } else { 1.0 };
            let tolerance = tolerance::<T>() * few;
            assert_close(&format!("dx {what}"), &dx, &dx_exact, tolerance);
            if let Some(dresidual) = &dresidual {
                assert_close(&format!("dresidual {what}"), dresidual, &dresidual_exact, tolerance);
            }
            for c in 0..channels {
                let what = format!("channel {c} {what}");
                assert_sum(
                    &format!("dgamma {what}"),
                    gradients.gamma[c],
                    dgamma_exact[c],
                    few * magnitudes[0][c],
                );
                assert_sum(
                    &format!("dbeta {what}"),
                    gradients.beta[c],
                    dbeta_exact[c],
                    few * magnitudes[1][c],
                );
            }
        }
    });
}

#[track_caller]
fn assert_sum(what: &str, got: f32, expected: f64, magnitude: f64) {
    assert!(
        (f64::from(got) - expected).abs() <= 1e-5 * magnitude + 1e-9,
        "{what}: {got}, expected {expected} of {magnitude}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(120) })]

    #[test]
    fn batch_norm_f32(case in cases()) {
        check::<f32>(&case);
    }

    #[test]
    fn batch_norm_bf16(case in cases()) {
        check::<bf16>(&case);
    }

    #[test]
    fn sums_of_channels(channels in 1usize..100, pixels in 0usize..3000, seed in 0u64..100) {
        let x: Vec<f32> = random(seed, channels * pixels);
        on_every_isa(|isa| {
            for (c, sum) in channel_sums(channels, &x).into_iter().enumerate() {
                let column: Vec<f64> = f64s(&x).into_iter().skip(c).step_by(channels).collect();
                let magnitude = column.iter().map(|x| x.abs()).sum();
                assert_sum(&isa.to_string(), sum, column.iter().sum(), magnitude);
            }
        });
    }
}

#[test]
fn variance_survives_a_mean_a_thousand_times_larger() {
    let x: Vec<f32> = random::<f32>(1, 64 * 5000).into_iter().map(|x| x + 1000.0).collect();
    let exact = Reference {
        channels: 64,
        x: f64s(&x),
        residual: None,
        gamma: vec![1.0; 64],
        beta: vec![0.0; 64],
        activation: Activation::None,
        frozen: None,
    }
    .statistics()
    .1;
    on_every_isa(|isa| assert_close(&isa.to_string(), &channel_statistics(64, &x).variance, &exact, 1e-4));
}

#[test]
fn the_reference_agrees_with_finite_differences() {
    for activation in ACTIVATIONS {
        let reference = |x: Vec<f64>| Reference {
            channels: 3,
            x,
            residual: Some(f64s(&random::<f32>(9, 24))),
            gamma: vec![0.7, -1.3, 2.0],
            beta: vec![0.1, 0.2, -0.3],
            activation,
            frozen: None,
        };
        let x = f64s(&random::<f32>(7, 24));
        let dy = f64s(&random::<f32>(8, 24));
        let [dx, ..] = reference(x.clone()).gradients(&dy);
        let loss = |x: Vec<f64>| -> f64 { reference(x).output().iter().zip(&dy).map(|(y, dy)| y * dy).sum() };
        for (i, dx) in dx.iter().enumerate() {
            let (mut more, mut less) = (x.clone(), x.clone());
            more[i] += 1e-5;
            less[i] -= 1e-5;
            assert!(((loss(more) - loss(less)) / 2e-5 - dx).abs() < 1e-5, "{activation:?}");
        }
    }
}
