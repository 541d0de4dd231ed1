//! Convolutions against a slow f64 implementation, on every instruction set and both element types.

use crate::common::*;
use ocelli_kernels::{
    Activation, Conv2dShape, Element, PackedConv2d, bf16, conv2d, conv2d_backward_data,
    conv2d_backward_weights, conv2d_with_statistics,
};
use proptest::prelude::*;

/// Weights whose outputs are of about the size that norms make them, where activations are curved.
fn random_weights(shape: &Conv2dShape, seed: u64) -> Vec<f32> {
    let products = (shape.weight_len() / shape.out_channels) as f32;
    let weights: Vec<f32> = random(seed, shape.weight_len());
    weights.iter().map(|weight| weight * 3.0 / products.sqrt()).collect()
}

fn check_forward<T: Element>(shape: &Conv2dShape, seed: u64) {
    let x: Vec<T> = random(seed, shape.input_len());
    let weights = random_weights(shape, seed + 1);
    let bias: Vec<f32> = random(seed + 2, shape.out_channels);
    let scale: Vec<f32> = random(seed + 3, shape.out_channels);
    let residual: Vec<T> = random(seed + 4, shape.output_len());
    let per_output = shape.weight_len() / shape.out_channels;
    let scaled: Vec<f32> = weights.iter().enumerate().map(|(i, w)| w * scale[i / per_output]).collect();
    let exact = conv_forward(shape, &f64s(&x), &rounded::<T>(&scaled), &f64s(&bias));
    let plain = conv_forward(shape, &f64s(&x), &rounded::<T>(&weights), &vec![0.0; shape.out_channels]);
    let residual_f64 = f64s(&residual);
    on_every_isa(|isa| {
        let mut y = vec![T::from_f32(f32::NAN); shape.output_len()];
        PackedConv2d::<T>::pack(shape, &weights, None, None).forward(
            shape,
            &x,
            None,
            Default::default(),
            &mut y,
        );
        assert_close(&format!("{isa} {shape:?}"), &y, &plain, tolerance::<T>());
        let packed = PackedConv2d::<T>::pack(shape, &weights, Some(&scale), Some(&bias));
        for (at, activation) in ACTIVATIONS.into_iter().enumerate() {
            let with_residual = (seed as usize + at).is_multiple_of(2);
            let expected: Vec<f64> = exact
                .iter()
                .zip(&residual_f64)
                .map(|(y, r)| activate(activation, if with_residual { y + r } else { *y }))
                .collect();
            y.fill(T::from_f32(f32::NAN));
            packed.forward(shape, &x, with_residual.then_some(&residual[..]), activation, &mut y);
            assert_close(&format!("{isa} {activation:?} {shape:?}"), &y, &expected, tolerance::<T>());
        }
        packed.forward(shape, &x, Some(&residual), Activation::None, &mut y);
        let mut again = vec![T::from_f32(f32::NAN); shape.output_len()];
        conv2d(shape, &scaled, Some(&bias), &x, Some(&residual), Activation::None, &mut again);
        assert!(f64s(&again) == f64s(&y), "{isa} {shape:?}: weights that are used once");
        let mut raw = vec![T::from_f32(f32::NAN); shape.output_len()];
        let statistics = conv2d_with_statistics(shape, &weights, &x, &mut raw);
        assert_close(&format!("{isa} {shape:?}"), &raw, &plain, tolerance::<T>());
        let stored = f64s(&raw);
        let pixels = (stored.len() / shape.out_channels) as f64;
        let moment = |c: usize, f: &dyn Fn(f64) -> f64| {
            stored.iter().skip(c).step_by(shape.out_channels).map(|v| f(*v)).sum::<f64>() / pixels
        };
        let means: Vec<f64> = (0..shape.out_channels).map(|c| moment(c, &|v| v)).collect();
        let variances: Vec<f64> =
            (0..shape.out_channels).map(|c| moment(c, &|v| (v - means[c]).powi(2))).collect();
        assert_close(&format!("mean {isa} {shape:?}"), &statistics.mean, &means, 1e-5);
        assert_close(&format!("variance {isa} {shape:?}"), &statistics.variance, &variances, 1e-5);
    });
}

fn check_backward<T: Element>(shape: &Conv2dShape, seed: u64) {
    let x: Vec<T> = random(seed, shape.input_len());
    let dy: Vec<T> = random(seed + 1, shape.output_len());
    let weights = random_weights(shape, seed + 2);
    let exact_dx = conv_backward_data(shape, &rounded::<T>(&weights), &f64s(&dy));
    let others: Vec<T> = random(seed + 3, shape.input_len());
    let exact_sum: Vec<f64> = exact_dx.iter().zip(f64s(&others)).map(|(dx, other)| dx + other).collect();
    let exact_dw = conv_backward_weights(shape, &f64s(&x), &f64s(&dy));
    on_every_isa(|isa| {
        let mut dx = vec![T::from_f32(f32::NAN); shape.input_len()];
        conv2d_backward_data(shape, &weights, &dy, None, &mut dx);
        assert_close(&format!("dx {isa} {shape:?}"), &dx, &exact_dx, tolerance::<T>());
        conv2d_backward_data(shape, &weights, &dy, Some(&others), &mut dx);
        assert_close(&format!("dx with others {isa} {shape:?}"), &dx, &exact_sum, tolerance::<T>());
        let mut dw = vec![f32::NAN; shape.weight_len()];
        conv2d_backward_weights(shape, &x, &dy, &mut dw);
        assert_close(&format!("dw {isa} {shape:?}"), &dw, &exact_dw, tolerance::<T>());
    });
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) })]

    #[test]
    fn forward_f32(shape in conv_shapes(), seed in 0u64..1000) {
        check_forward::<f32>(&shape, seed);
    }

    #[test]
    fn with_fewer_multiplications_f32(shape in winograd_shapes(), seed in 0u64..1000) {
        check_forward::<f32>(&shape, seed);
        check_backward::<f32>(&shape, seed);
    }

    #[test]
    fn with_fewer_multiplications_bf16(shape in winograd_shapes(), seed in 0u64..1000) {
        check_forward::<bf16>(&shape, seed);
        check_backward::<bf16>(&shape, seed);
    }

    #[test]
    fn forward_bf16(shape in conv_shapes(), seed in 0u64..1000) {
        check_forward::<bf16>(&shape, seed);
    }

    #[test]
    fn backward_f32(shape in conv_shapes(), seed in 0u64..1000) {
        check_backward::<f32>(&shape, seed);
    }

    #[test]
    fn backward_bf16(shape in conv_shapes(), seed in 0u64..1000) {
        check_backward::<bf16>(&shape, seed);
    }
}

#[test]
fn characteristic_shapes_f32() {
    for (seed, shape) in characteristic_shapes().iter().enumerate() {
        check_forward::<f32>(shape, seed as u64);
        check_backward::<f32>(shape, seed as u64);
    }
}

#[test]
fn characteristic_shapes_bf16() {
    for (seed, shape) in characteristic_shapes().iter().enumerate() {
        check_forward::<bf16>(shape, seed as u64);
        check_backward::<bf16>(shape, seed as u64);
    }
}

/// The reference's gradients are the slopes of the reference's forward pass.
#[test]
fn reference_gradients_are_finite_differences() {
    for shape in [usual(2, 5, [2, 3], 3, 2, 1), usual(1, 6, [4, 4], 3, 1, 2), usual(2, 5, [3, 6], 2, 3, 3)] {
        let x = f64s(&random::<f32>(1, shape.input_len()));
        let weights = f64s(&random::<f32>(2, shape.weight_len()));
        let dy = f64s(&random::<f32>(3, shape.output_len()));
        let bias = vec![0.0; shape.out_channels];
        let loss = |x: &[f64], w: &[f64]| -> f64 {
            conv_forward(&shape, x, w, &bias).iter().zip(&dy).map(|(y, dy)| y * dy).sum()
        };
        let slope = |values: &[f64], i: usize, loss: &dyn Fn(&[f64]) -> f64| {
            let (mut more, mut less) = (values.to_vec(), values.to_vec());
            more[i] += 1e-3;
            less[i] -= 1e-3;
            (loss(&more) - loss(&less)) / 2e-3
        };
        let dx = conv_backward_data(&shape, &weights, &dy);
        for (i, dx) in dx.iter().enumerate() {
            assert!((slope(&x, i, &|x| loss(x, &weights)) - dx).abs() < 1e-8);
        }
        let dw = conv_backward_weights(&shape, &x, &dy);
        for (i, dw) in dw.iter().enumerate() {
            assert!((slope(&weights, i, &|w| loss(&x, w)) - dw).abs() < 1e-8);
        }
    }
}

#[test]
#[should_panic(expected = "x has 3 elements")]
fn a_wrong_length_panics_with_both_lengths() {
    let shape = usual(1, 4, [2, 2], 3, 1, 1);
    let packed = PackedConv2d::<f32>::pack(&shape, &vec![0.0; shape.weight_len()], None, None);
    packed.forward(&shape, &[0.0; 3], None, Default::default(), &mut vec![0.0; shape.output_len()]);
}

#[test]
fn invalid_shapes_are_errors_with_a_reason() {
    let valid = usual(1, 4, [4, 4], 3, 1, 1);
    let reason = |shape: Conv2dShape| shape.validate().expect_err("it is invalid").to_string();
    assert!(reason(Conv2dShape { stride: [0, 1], ..valid }).contains("stride is 0"));
    assert!(
        reason(Conv2dShape { groups: 3, ..valid }).contains("4 input channels do not divide into 3 groups")
    );
    assert!(reason(Conv2dShape { kernel: [9, 1], ..valid }).contains("spans 9 rows"));
    assert!(reason(Conv2dShape { batch: usize::MAX, ..valid }).contains("more elements"));
}
