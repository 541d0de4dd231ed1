//! The same bits for any number of threads, any batch and any position in it.

use crate::common::*;
use ocelli_kernels::{
    Activation, Attention, BatchNorm, Conv2dShape, Element, FusedStage, LayerNorm, PackedConv2d,
    StatisticsSource, bf16, channel_statistics, conv2d_backward_data, conv2d_backward_weights,
    conv2d_with_statistics, fused_block, global_concat_pool, linear, linear_backward_data,
    linear_backward_weights,
};

fn shapes() -> Vec<Conv2dShape> {
    vec![
        usual(5, 33, [3, 32], 3, 2, 1),
        usual(5, 28, [24, 72], 1, 1, 1),
        usual(5, 14, [64, 64], 3, 1, 1),
        usual(5, 15, [33, 47], 3, 2, 1),
        usual(5, 28, [72, 72], 3, 1, 72),
        usual(5, 28, [72, 72], 5, 2, 72),
        usual(5, 14, [64, 64], 3, 1, 8),
        // Enough outputs for threads to share the weights.
        usual(5, 3, [48, 400], 1, 1, 1),
        usual(5, 7, [24, 392], 3, 2, 1),
    ]
}

fn bits<T: Element>(values: &[T]) -> Vec<u32> {
    values.iter().map(|v| v.to_f32().to_bits()).collect()
}

fn everything<T: Element>(shape: &Conv2dShape) -> Vec<Vec<u32>> {
    let x: Vec<T> = random(1, shape.input_len());
    let dy: Vec<T> = random(2, shape.output_len());
    let weights: Vec<f32> = random(3, shape.weight_len());
    let channels = shape.out_channels;
    let gamma: Vec<f32> = random(4, channels);
    let packed = PackedConv2d::<T>::pack(shape, &weights, None, Some(&gamma));
    let mut y = vec![T::default(); dy.len()];
    packed.forward(shape, &x, Some(&dy), Activation::Silu, &mut y);
    let mut raw = vec![T::default(); dy.len()];
    let statistics = conv2d_with_statistics(shape, &weights, &x, &mut raw);
    let mut dx = vec![T::default(); x.len()];
    conv2d_backward_data(shape, &weights, &dy, None, &mut dx);
    let mut dw = vec![0.0; weights.len()];
    conv2d_backward_weights(shape, &x, &dy, &mut dw);
    let again = channel_statistics(channels, &raw);
    let norm = BatchNorm {
        mean: &again.mean,
        variance: &again.variance,
        gamma: &gamma,
        beta: &gamma,
        epsilon: 1e-5,
        activation: Activation::Relu,
    };
    let mut normalised = vec![T::default(); dy.len()];
    norm.forward(&raw, Some(&y), &mut normalised);
    let (mut draw, mut dresidual) = (vec![T::default(); dy.len()], vec![T::default(); dy.len()]);
    let gradients =
        norm.backward(StatisticsSource::Batch, &raw, Some(&y), &dy, None, &mut draw, Some(&mut dresidual));
    let (rows, inputs) = (shape.in_height, shape.input_len() / shape.in_height);
    let linear_weights: Vec<f32> = random(5, inputs * 7);
    let mut logits = vec![T::default(); rows * 7];
    linear([rows, inputs, 7], &linear_weights, None, &x, &mut logits);
    let mut linear_dx = vec![T::default(); x.len()];
    linear_backward_data([rows, inputs, 7], &linear_weights, &logits, &mut linear_dx);
    let mut linear_dw = vec![0.0; linear_weights.len()];
    linear_backward_weights([rows, inputs, 7], &x, &logits, &mut linear_dw);
    vec![
        bits(&y),
        bits(&raw),
        bits(&statistics.mean),
        bits(&statistics.variance),
        bits(&dx),
        bits(&dw),
        bits(&again.mean),
        bits(&again.variance),
        bits(&normalised),
        bits(&draw),
        bits(&dresidual),
        bits(&gradients.gamma),
        bits(&gradients.beta),
        bits(&logits),
        bits(&linear_dx),
        bits(&linear_dw),
    ]
}

#[test]
fn threads_do_not_change_results() {
    on_every_isa(|isa| {
        for shape in shapes() {
            let one = on_threads(1, || (everything::<f32>(&shape), everything::<bf16>(&shape)));
            for threads in [2, 3, 7] {
                let more = on_threads(threads, || (everything::<f32>(&shape), everything::<bf16>(&shape)));
                assert!(one == more, "{isa}, {threads} threads: {shape:?}");
            }
        }
    });
}

/// Attention and layer norms of images of 50 tokens, two heads of 24 channels.
fn tokens<T: Element>(images: usize) -> Vec<Vec<u32>> {
    let attention = Attention { batch: images, tokens: 50, heads: 2, width: 24 };
    let qkv: Vec<T> = random(1, images * 50 * 3 * 48);
    let dy: Vec<T> = random(2, images * 50 * 48);
    let mut y = vec![T::default(); dy.len()];
    attention.forward(&qkv, &mut y);
    let mut dqkv = vec![T::default(); qkv.len()];
    attention.backward(&qkv, &dy, &mut dqkv);
    let (gamma, beta): (Vec<f32>, Vec<f32>) = (random(3, 48), random(4, 48));
    let norm = LayerNorm { gamma: &gamma, beta: &beta, epsilon: 1e-6 };
    let (mut normalised, mut dx) = (vec![T::default(); dy.len()], vec![T::default(); dy.len()]);
    norm.forward(&y, &mut normalised);
    let gradients = norm.backward(&y, &dy, Some(&normalised), &mut dx);
    vec![bits(&y), bits(&normalised), bits(&dqkv), bits(&dx), bits(&gradients.gamma), bits(&gradients.beta)]
}

#[test]
fn threads_and_batches_do_not_change_tokens() {
    on_every_isa(|isa| {
        let one = on_threads(1, || (tokens::<f32>(5), tokens::<bf16>(5)));
        for threads in [2, 3, 7] {
            let more = on_threads(threads, || (tokens::<f32>(5), tokens::<bf16>(5)));
            assert!(one == more, "{isa}, {threads} threads");
        }
        // The random numbers of fewer images are the first of more.
        let fewer = (tokens::<f32>(2), tokens::<bf16>(2));
        for which in 0..4 {
            assert!(one.0[which].starts_with(&fewer.0[which]), "{isa}, {which}");
            assert!(one.1[which].starts_with(&fewer.1[which]), "{isa}, {which}");
        }
    });
}

fn check_batch<T: Element>(shape: &Conv2dShape) {
    let x: Vec<T> = random(1, shape.input_len());
    let weights: Vec<f32> = random(3, shape.weight_len());
    let bias: Vec<f32> = random(4, shape.out_channels);
    let packed = PackedConv2d::<T>::pack(shape, &weights, None, Some(&bias));
    let mut whole = vec![T::default(); shape.output_len()];
    packed.forward(shape, &x, None, Activation::HardSwish, &mut whole);
    let (image_in, image_out) = (shape.input_len() / shape.batch, shape.output_len() / shape.batch);
    for (first, count) in [(0, 1), (3, 1), (4, 1), (1, 3), (2, 2)] {
        let part = Conv2dShape { batch: count, ..*shape };
        let mut y = vec![T::default(); part.output_len()];
        packed.forward(
            &part,
            &x[first * image_in..][..part.input_len()],
            None,
            Activation::HardSwish,
            &mut y,
        );
        assert_eq!(bits(&y), bits(&whole[first * image_out..][..y.len()]), "{shape:?}");
    }
}

#[test]
fn batches_do_not_change_images() {
    on_every_isa(|_| {
        for shape in shapes() {
            check_batch::<f32>(&shape);
            check_batch::<bf16>(&shape);
        }
    });
}

#[test]
fn batches_do_not_change_rows_and_pooled_images() {
    on_every_isa(|_| {
        let x: Vec<f32> = random(1, 13 * 200);
        // Few outputs, and enough of them for threads to share the weights.
        for outputs in [10, 400] {
            let weights: Vec<f32> = random(2, 200 * outputs);
            let mut whole = vec![0.0; 13 * outputs];
            linear([13, 200, outputs], &weights, None, &x, &mut whole);
            for row in 0..13 {
                let mut y = vec![0.0; outputs];
                linear([1, 200, outputs], &weights, None, &x[row * 200..][..200], &mut y);
                assert_eq!(bits(&y), bits(&whole[row * outputs..][..outputs]));
            }
        }
        let mut pooled = vec![0.0; 13 * 80];
        global_concat_pool(13, 5, 40, &x, &mut pooled, None);
        for row in 0..13 {
            let mut y = vec![0.0; 80];
            global_concat_pool(1, 5, 40, &x[row * 200..][..200], &mut y, None);
            assert_eq!(bits(&y), bits(&pooled[row * 80..][..80]));
        }
    });
}

#[test]
fn an_image_size_other_than_the_packed_one_works() {
    let packed_for = usual(1, 8, [6, 10], 3, 2, 1);
    let used_for = usual(2, 13, [6, 10], 3, 2, 1);
    let weights: Vec<f32> = random(1, packed_for.weight_len());
    let x: Vec<f32> = random(2, used_for.input_len());
    let mut y = vec![0.0; used_for.output_len()];
    PackedConv2d::<f32>::pack(&packed_for, &weights, None, None).forward(
        &used_for,
        &x,
        None,
        Activation::None,
        &mut y,
    );
    assert_close("", &y, &conv_forward(&used_for, &f64s(&x), &f64s(&weights), &[0.0; 10]), 1e-5);
}

#[test]
fn an_empty_batch_is_no_work() {
    let shape = usual(0, 8, [6, 10], 3, 1, 1);
    let weights: Vec<f32> = random(1, shape.weight_len());
    PackedConv2d::<f32>::pack(&shape, &weights, None, None).forward(
        &shape,
        &[],
        None,
        Activation::None,
        &mut [],
    );
    conv2d_backward_data::<f32>(&shape, &weights, &[], None, &mut []);
    let mut dw = vec![f32::NAN; weights.len()];
    conv2d_backward_weights::<f32>(&shape, &[], &[], &mut dw);
    assert!(dw.iter().all(|dw| *dw == 0.0));
}

/// The shapes of an inverted residual: 1×1 to more channels, depthwise, 1×1 to others.
fn inverted_residual(
    batch: usize,
    size: usize,
    channels: [usize; 3],
    kernel: usize,
    stride: usize,
) -> [Conv2dShape; 3] {
    let [from, wide, to] = channels;
    let expand = usual(batch, size, [from, wide], 1, 1, 1);
    let depthwise = usual(batch, size, [wide, wide], kernel, stride, wide);
    [expand, depthwise, usual(batch, depthwise.out_height(), [wide, to], 1, 1, 1)]
}

fn fused_as_one_by_one<T: Element>(shapes: &[Conv2dShape], residual: bool) {
    let activations = [Activation::Relu6, Activation::Silu, Activation::None];
    let x: Vec<T> = random(1, shapes[0].input_len());
    on_every_isa(|isa| {
        let packed: Vec<_> = (2..)
            .zip(shapes)
            .map(|(seed, shape)| {
                let bias = random(seed + 10, shape.out_channels);
                PackedConv2d::<T>::pack(shape, &random(seed, shape.weight_len()), None, Some(&bias))
            })
            .collect();
        let stages: Vec<_> = packed
            .iter()
            .zip(shapes)
            .zip(activations)
            .map(|((conv, shape), activation)| FusedStage { conv, shape: *shape, activation })
            .collect();
        let mut expected = x.clone();
        for (at, stage) in stages.iter().enumerate() {
            let mut y = vec![T::default(); stage.shape.output_len()];
            let added = (residual && at + 1 == stages.len()).then_some(&x[..]);
            stage.conv.forward(&stage.shape, &expected, added, stage.activation, &mut y);
            expected = y;
        }
        for threads in [1, 2, 5] {
            let mut y = vec![T::from_f32(f32::NAN); expected.len()];
            on_threads(threads, || fused_block(&stages, &x, residual, &mut y));
            assert!(bits(&y) == bits(&expected), "{isa} with {threads} threads: {shapes:?}");
        }
    });
}

#[test]
fn fused_blocks_do_what_their_stages_do_one_by_one() {
    let cases = [
        // Whole images: many, few, and fewer than threads.
        (inverted_residual(13, 7, [24, 72, 24], 3, 1), true),
        (inverted_residual(3, 14, [16, 96, 40], 5, 2), false),
        (inverted_residual(1, 9, [16, 33, 16], 3, 1), true),
        // Bands, of odd heights too; the input's last row has no use where the stride skips it.
        (inverted_residual(2, 61, [16, 144, 16], 5, 1), true),
        (inverted_residual(1, 86, [8, 96, 24], 3, 2), false),
        (inverted_residual(1, 85, [8, 96, 24], 5, 2), false),
    ];
    for (shapes, residual) in cases {
        fused_as_one_by_one::<f32>(&shapes, residual);
        fused_as_one_by_one::<bf16>(&shapes, residual);
        fused_as_one_by_one::<bf16>(&shapes[1..], false);
    }
    // Padding that is not "same", rows that are far apart, and kernels of several rows one after another.
    let uneven = |shape: Conv2dShape| Conv2dShape {
        padding: ocelli_kernels::Padding { top: 3, left: 0, bottom: 1, right: 2 },
        ..shape
    };
    let first = uneven(usual(2, 120, [16, 64], 3, 1, 1));
    let then = Conv2dShape {
        in_height: first.out_height(),
        in_width: first.out_width(),
        dilation: [2, 2],
        ..usual(2, 1, [64, 24], 3, 1, 1)
    };
    fused_as_one_by_one::<f32>(&[first, uneven(then)], false);
    fused_as_one_by_one::<bf16>(&[first, uneven(then)], false);
}

#[test]
#[should_panic(expected = "one stage's output is the next's input")]
fn a_stages_input_is_the_output_before_it() {
    let shapes = [usual(1, 4, [8, 8], 1, 1, 1), usual(1, 5, [8, 8], 1, 1, 1)];
    let packed = shapes.map(|shape| PackedConv2d::<f32>::pack(&shape, &[0.0; 64], None, None));
    let stage = |at: usize| FusedStage { conv: &packed[at], shape: shapes[at], activation: Activation::None };
    fused_block(&[stage(0), stage(1)], &[0.0; 128], false, &mut [0.0; 200]);
}
