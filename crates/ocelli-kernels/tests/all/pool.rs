//! Pooling against its definition in f64; channels side by side.

use crate::common::*;
use ocelli_kernels::{
    Element, Padding, Pool2dShape, average_pool2d, average_pool2d_backward, bf16, concat_channels,
    global_average_pool, global_average_pool_backward, global_concat_pool, global_concat_pool_backward,
    max_pool2d, max_pool2d_backward, slice_channels,
};
use proptest::prelude::*;

fn check<T: Element>(shape: &Pool2dShape, seed: u64) {
    // Few distinct values, so that there are ties.
    let x: Vec<T> =
        random::<f32>(seed, shape.input_len()).into_iter().map(|x| T::from_f32((x * 20.0).round())).collect();
    let dy: Vec<T> = random(seed + 1, shape.output_len());
    let (x64, dy64) = (f64s(&x), f64s(&dy));
    let count = (shape.kernel[0] * shape.kernel[1]) as f64;
    let mut max = vec![0.0; dy.len()];
    let mut dmax = vec![0.0; x.len()];
    let mut means = [vec![0.0; dy.len()], vec![0.0; dy.len()]];
    let mut dmeans = [vec![0.0; x.len()], vec![0.0; x.len()]];
    pool_windows(shape, |o, members| {
        let best =
            members.iter().copied().reduce(|a, b| if x64[b] > x64[a] { b } else { a }).expect("not empty");
        max[o] = x64[best];
        dmax[best] += dy64[o];
        for (at, divisor) in [(0, members.len() as f64), (1, count)] {
            means[at][o] = members.iter().map(|i| x64[*i]).sum::<f64>() / divisor;
            for i in &members {
                dmeans[at][*i] += dy64[o] / divisor;
            }
        }
    });
    on_every_isa(|isa| {
        let what = format!("{isa} {shape:?}");
        let nan = T::from_f32(f32::NAN);
        let (mut y, mut again, mut argmax) =
            (vec![nan; dy.len()], vec![nan; dy.len()], vec![u32::MAX; dy.len()]);
        max_pool2d(shape, &x, &mut y, Some(&mut argmax));
        max_pool2d(shape, &x, &mut again, None);
        assert_close(&what, &y, &max, 0.0);
        assert_eq!(y, again, "{what}");
        let mut dx = vec![nan; x.len()];
        max_pool2d_backward(shape, &argmax, &dy, &mut dx);
        assert_close(&what, &dx, &dmax, tolerance::<T>());
        for (at, count_padding) in [(0, false), (1, true)] {
            average_pool2d(shape, count_padding, &x, &mut y);
            assert_close(&what, &y, &means[at], tolerance::<T>());
            average_pool2d_backward(shape, count_padding, &dy, &mut dx);
            assert_close(&what, &dx, &dmeans[at], tolerance::<T>());
        }
    });
}

fn check_global<T: Element>(batch: usize, pixels: usize, channels: usize, seed: u64) {
    let x: Vec<T> = random::<f32>(seed, batch * pixels * channels)
        .into_iter()
        .map(|x| T::from_f32((x * 20.0).round()))
        .collect();
    let dy: Vec<f32> = random(seed + 1, batch * 2 * channels);
    let (mut concat, mut mean) = (vec![0.0; dy.len()], vec![0.0; batch * channels]);
    let (mut dconcat, mut dmean) = (vec![0.0; x.len()], vec![0.0; x.len()]);
    for n in 0..batch {
        for c in 0..channels {
            let index = |p: usize| (n * pixels + p) * channels + c;
            let value = |p: usize| f64::from(x[index(p)].to_f32());
            let best = (0..pixels).reduce(|a, b| if value(b) > value(a) { b } else { a }).expect("not empty");
            let average = (0..pixels).map(value).sum::<f64>() / pixels as f64;
            concat[n * 2 * channels + c] = value(best);
            concat[n * 2 * channels + channels + c] = average;
            mean[n * channels + c] = average;
            dconcat[index(best)] += f64::from(dy[n * 2 * channels + c]);
            for p in 0..pixels {
                dconcat[index(p)] += f64::from(dy[n * 2 * channels + channels + c]) / pixels as f64;
                dmean[index(p)] = f64::from(dy[n * channels + c]) / pixels as f64;
            }
        }
    }
    on_every_isa(|isa| {
        let what = format!("{isa} {batch} {pixels} {channels}");
        let (mut y, mut argmax) = (vec![f32::NAN; batch * 2 * channels], vec![u32::MAX; batch * channels]);
        global_concat_pool(batch, pixels, channels, &x, &mut y, Some(&mut argmax));
        assert_close(&what, &y, &concat, 1e-5);
        let mut dx = vec![T::from_f32(f32::NAN); x.len()];
        global_concat_pool_backward(batch, pixels, channels, &argmax, &dy, &mut dx);
        assert_close(&what, &dx, &dconcat, tolerance::<T>());
        let mut y = vec![f32::NAN; batch * channels];
        global_average_pool(batch, pixels, channels, &x, &mut y);
        assert_close(&what, &y, &mean, 1e-5);
        let dy = &dy[..batch * channels];
        global_average_pool_backward(batch, pixels, channels, dy, None, &mut dx);
        assert_close(&what, &dx, &dmean, tolerance::<T>());
        global_average_pool_backward(batch, pixels, channels, dy, Some(&x), &mut dx);
        let sums: Vec<f64> = dmean.iter().zip(f64s(&x)).map(|(dx, other)| dx + other).collect();
        assert_close(&what, &dx, &sums, tolerance::<T>());
    });
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(120) })]

    #[test]
    fn windows(shape in pool_shapes(), seed in 0u64..1000) {
        check::<f32>(&shape, seed);
        check::<bf16>(&shape, seed);
    }

    #[test]
    fn global(batch in 1usize..5, pixels in 1usize..60, channels in 1usize..150, seed in 0u64..1000) {
        check_global::<f32>(batch, pixels, channels, seed);
        check_global::<bf16>(batch, pixels, channels, seed);
    }
}

#[test]
fn channels_side_by_side_are_taken_apart_again() {
    // Also more pixels than a piece has.
    for (pixels, channels) in [(1, [1, 1]), (35, [3, 16]), (9_000, [5, 2])] {
        let a: Vec<f32> = random(1, pixels * channels[0]);
        let b: Vec<f32> = random(2, pixels * channels[1]);
        let all = channels[0] + channels[1];
        let mut y = vec![f32::NAN; pixels * all];
        concat_channels(channels, &a, &b, &mut y);
        for (pixel, y) in y.chunks_exact(all).enumerate() {
            assert_eq!(y[..channels[0]], a[pixel * channels[0]..][..channels[0]], "pixel {pixel}");
            assert_eq!(y[channels[0]..], b[pixel * channels[1]..][..channels[1]], "pixel {pixel}");
        }
        for (taken, expected) in [(0..channels[0], a), (channels[0]..all, b)] {
            let mut part = vec![f32::NAN; expected.len()];
            slice_channels(all, taken, &y, &mut part);
            assert!(part == expected);
        }
    }
}

#[test]
fn a_nan_is_the_maximum() {
    let shape = Pool2dShape {
        batch: 1,
        in_height: 2,
        in_width: 2,
        channels: 1,
        kernel: [2, 2],
        stride: [1, 1],
        padding: Padding::default(),
    };
    on_every_isa(|_| {
        let mut y = [0.0];
        max_pool2d(&shape, &[1.0, f32::NAN, 2.0, 0.0], &mut y, None);
        assert!(y[0].is_nan());
    });
}
