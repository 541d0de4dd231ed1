//! Convolutions and pooling of bytes against slow f64 code.

use crate::common::*;
use ocelli_kernels::{Activation, Conv2dShape, Int8Conv, Int8ConvOptions, Int8Maps, Padding, Quantization};
use proptest::prelude::*;

/// What a number is after it was rounded to a byte.
fn rounded_to(quantization: Quantization, value: f64) -> f64 {
    let byte = (value / f64::from(quantization.scale) + f64::from(quantization.zero_point)).round();
    f64::from(quantization.scale) * (byte.clamp(0.0, 255.0) - f64::from(quantization.zero_point))
}

/// The largest number of steps between bytes and what they should be, where that is within their range.
#[track_caller]
fn assert_within_steps(what: &str, found: &Int8Maps, expected: &[f64], steps: f64) {
    let of = found.quantization();
    let values = found.to_f32();
    assert_eq!(values.len(), expected.len(), "{what}");
    let [low, high] = [of.to_f32(0), of.to_f32(255)].map(f64::from);
    for (at, (value, expected)) in values.iter().zip(expected).enumerate() {
        let wanted = expected.clamp(low, high);
        let error = (f64::from(*value) - wanted).abs() / f64::from(of.scale);
        assert!(error <= steps, "{what}: {value} instead of {wanted} at {at}, {error} steps");
    }
}

fn maps(seed: u64, shape: [usize; 4], range: [f32; 2]) -> Int8Maps {
    let [low, high] = range;
    let values: Vec<f32> = random(seed, shape.iter().product());
    let values: Vec<f32> = values.into_iter().map(|value| low + (value + 1.0) / 2.0 * (high - low)).collect();
    Int8Maps::from_f32(shape, &values, Quantization::of_range(range))
}

fn f64s_of(maps: &Int8Maps) -> Vec<f64> {
    maps.to_f32().into_iter().map(f64::from).collect()
}

fn options(shape: &Conv2dShape, activation: Activation, quantization: [Quantization; 2]) -> Int8ConvOptions {
    Int8ConvOptions {
        channels: [shape.in_channels, shape.out_channels],
        kernel: shape.kernel,
        stride: shape.stride,
        padding: shape.padding,
        dilation: shape.dilation,
        groups: shape.groups,
        activation,
        quantization,
    }
}

fn check(shape: &Conv2dShape, seed: u64) {
    let range = [[0.0, 6.0], [-1.0, 1.0], [-0.3, 5.0], [0.0, 0.0]][seed as usize % 4];
    let size = [shape.batch, shape.in_height, shape.in_width, shape.in_channels];
    let out_size = [shape.batch, shape.out_height(), shape.out_width(), shape.out_channels];
    let per_output = shape.weight_len() / shape.out_channels;
    let weights: Vec<f32> = random(seed + 1, shape.weight_len());
    let weights: Vec<f32> = weights.into_iter().map(|w| w * 2.0 / (per_output as f32).sqrt()).collect();
    let bias: Vec<f32> = random(seed + 2, shape.out_channels);
    // Weights in steps of each output; those of depthwise convolutions stay as they are.
    let depthwise = shape.groups == shape.in_channels && shape.in_channels == shape.out_channels;
    let steps = weights.chunks_exact(per_output).flat_map(|weights| {
        // Two channels side by side are at most 127 steps of one sign, and a single weight is, too.
        let taps = shape.kernel[0] * shape.kernel[1];
        let channels = weights.len() / taps;
        let pair = |channel: usize, tap: usize, sign: f32| -> f32 {
            let of = |channel: usize| weights.get(channel * taps + tap).map_or(0.0, |w| (sign * w).max(0.0));
            of(channel) + of(channel + 1)
        };
        let mut largest = 0f32;
        for (channel, tap) in (0..channels).step_by(2).flat_map(|c| (0..taps).map(move |tap| (c, tap))) {
            largest = largest.max(pair(channel, tap, 1.0)).max(pair(channel, tap, -1.0));
        }
        if shape.groups > 1 && channels % 2 == 1 && channels > 1 {
            largest = 2.0 * weights.iter().fold(0f32, |largest, weight| largest.max(weight.abs()));
        }
        let step = if largest > 0.0 { largest / 127.0 } else { 1.0 };
        weights.iter().map(move |weight| f64::from((weight / step).round_ties_even()) * f64::from(step))
    });
    let stepped: Vec<f64> = if depthwise { f64s(&weights) } else { steps.collect() };
    let x = maps(seed + 3, size, range);
    let residual = maps(seed + 4, out_size, [-2.0, 1.0]);
    let exact = conv_forward(shape, &f64s_of(&x), &stepped, &f64s(&bias));
    let residuals = f64s_of(&residual);
    on_every_isa(|isa| {
        for (at, activation) in ACTIVATIONS.into_iter().enumerate() {
            let with_residual = (seed as usize + at).is_multiple_of(2);
            let expected: Vec<f64> = exact
                .iter()
                .zip(&residuals)
                .map(|(y, r)| activate(activation, if with_residual { y + r } else { *y }))
                .collect();
            // Some of the numbers are out of range.
            let ends =
                expected.iter().fold([0f32; 2], |[low, high], y| [low.min(*y as f32), high.max(*y as f32)]);
            let to = Quantization::of_range(ends.map(|end| end * 0.9));
            let options = options(shape, activation, [x.quantization(), to]);
            let conv = Int8Conv::pack(options, &weights, &bias);
            let y = conv.forward(&x, with_residual.then_some(&residual));
            let what = format!("{isa} {activation:?} {range:?} {shape:?}");
            assert_eq!(y.shape(), out_size, "{what}");
            assert_within_steps(&what, &y, &expected, 0.51);
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn convolutions_of_bytes_are_their_sums(shape in conv_shapes(), seed in 0u64..1000) {
        check(&shape, seed);
    }

    #[test]
    fn pooling_of_bytes(shape in pool_shapes(), seed in 0u64..1000) {
        let sizes = (shape.batch, shape.in_height, shape.in_width, shape.channels);
        let x = maps(seed, [sizes.0, sizes.1, sizes.2, sizes.3], [-1.0, 2.0]);
        let x64 = f64s_of(&x);
        let count = (shape.kernel[0] * shape.kernel[1]) as f64;
        let [mut largest, mut inside, mut all] = [(); 3].map(|()| vec![0.0; shape.output_len()]);
        pool_windows(&shape, |o, members| {
            let values = members.iter().map(|i| x64[*i]);
            largest[o] = values.clone().fold(f64::MIN, f64::max);
            inside[o] = values.clone().sum::<f64>() / members.len() as f64;
            all[o] = values.sum::<f64>() / count;
        });
        assert_within_steps("max", &x.max_pool(&shape), &largest, 1e-3);
        assert_within_steps("mean", &x.average_pool(&shape, false), &inside, 0.51);
        assert_within_steps("mean with padding", &x.average_pool(&shape, true), &all, 0.51);
        let pixels = sizes.1 * sizes.2;
        let of_channel = |image: usize, channel: usize| {
            (0..pixels).map(move |pixel| (image * pixels + pixel) * sizes.3 + channel)
        };
        let (means, maxima) = (x.means(), x.maxima());
        for image in 0..sizes.0 {
            for channel in 0..sizes.3 {
                let values = of_channel(image, channel).map(|at| x64[at]);
                let at = image * sizes.3 + channel;
                let mean = values.clone().sum::<f64>() / pixels as f64;
                prop_assert!((f64::from(means[at]) - mean).abs() < 1e-5);
                prop_assert!((f64::from(maxima[at]) - values.fold(f64::MIN, f64::max)).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn factors_and_joined_channels_of_bytes(
        sizes in (1usize..3, 1usize..6, 1usize..6, 1usize..40),
        others in 1usize..40,
        seed in 0u64..1000,
    ) {
        let size = [sizes.0, sizes.1, sizes.2, sizes.3];
        let x = maps(seed, size, [-0.5, 3.0]);
        let second = maps(seed + 1, [sizes.0, sizes.1, sizes.2, others], [0.0, 1.0]);
        let [scale, shift]: [Vec<f32>; 2] = [2, 3].map(|at| random(seed + at, sizes.3));
        let factors: Vec<f32> = random(seed + 4, sizes.0 * sizes.3);
        let x64 = f64s_of(&x);
        let pixels = sizes.1 * sizes.2;
        let to = Quantization::of_range([-1.5, 2.5]);
        on_every_isa(|isa| {
            for activation in ACTIVATIONS {
                let expected: Vec<f64> = x64.iter().enumerate().map(|(at, x)| {
                    let channel = at % sizes.3;
                    activate(activation, x * f64::from(scale[channel]) + f64::from(shift[channel]) + x)
                }).collect();
                let y = x.affine(&scale, &shift, Some(&x), activation, to);
                assert_within_steps(&format!("{isa} {activation:?}"), &y, &expected, 0.51);
            }
            let expected: Vec<f64> = x64.iter().enumerate().map(|(at, x)| {
                x * f64::from(factors[at / sizes.3 / pixels * sizes.3 + at % sizes.3])
            }).collect();
            assert_within_steps("factors", &x.scale_channels(&factors, to), &expected, 0.51);
        });
        let joined = f64s_of(&Int8Maps::concat(&[&x, &second], to));
        let second = f64s_of(&second);
        for (at, value) in joined.into_iter().enumerate() {
            let (pixel, channel) = (at / (sizes.3 + others), at % (sizes.3 + others));
            let wanted = match channel.checked_sub(sizes.3) {
                None => x64[pixel * sizes.3 + channel],
                Some(channel) => second[pixel * others + channel],
            };
            prop_assert!((value - rounded_to(to, wanted)).abs() <= 1.001 * f64::from(to.scale));
        }
    }
}

#[test]
fn networks_shapes_of_bytes_and_threads() {
    for (seed, shape) in characteristic_shapes().into_iter().enumerate() {
        check(&shape, seed as u64);
    }
    // The same bytes for any number of threads, and in any batch.
    let [shape, ..] = characteristic_shapes()[..] else { unreachable!() };
    let quantization = [[-1.0, 1.0], [0.0, 2.0]].map(Quantization::of_range);
    let options = options(&shape, Activation::Relu, quantization);
    let conv = Int8Conv::pack(options, &random(1, shape.weight_len()), &random(2, shape.out_channels));
    let image: Vec<f32> = random(3, shape.in_height * shape.in_width * shape.in_channels);
    let of = |batch: usize| {
        let size = [batch, shape.in_height, shape.in_width, shape.in_channels];
        conv.forward(&Int8Maps::from_f32(size, &image.repeat(batch), options.quantization[0]), None).to_f32()
    };
    let one = of(1);
    assert_eq!(on_threads(1, || of(3)), one.repeat(3));
    assert_eq!(on_threads(3, || of(3)), one.repeat(3));
}

fn of_one_pixel(in_channels: usize, out_channels: usize) -> Conv2dShape {
    Conv2dShape {
        batch: 1,
        in_height: 1,
        in_width: 1,
        in_channels,
        out_channels,
        kernel: [1, 1],
        stride: [1, 1],
        padding: Padding::default(),
        dilation: [1, 1],
        groups: 1,
    }
}

#[test]
fn the_longest_sum_fits() {
    for sign in [1.0, -1.0] {
        let [inputs, outputs] = [1 << 16, 3];
        let range = |end: f32| Quantization::of_range([end.min(0.0), end.max(0.0)]);
        let shape = of_one_pixel(inputs, outputs);
        let quantization = [range(1.0), range(sign * inputs as f32)];
        let x = Int8Maps::from_f32([1, 1, 1, inputs], &vec![1.0; inputs], quantization[0]);
        let conv = Int8Conv::pack(
            options(&shape, Activation::None, quantization),
            &vec![sign; inputs * outputs],
            &[0.0; 3],
        );
        assert_close("the sum", &conv.forward(&x, None).to_f32(), &[f64::from(sign) * 65536.0; 3], 1e-6);
    }
}

#[test]
#[should_panic(expected = "131072 weights of an output are more than 65536")]
fn longer_sums_are_refused() {
    let shape = of_one_pixel(1 << 17, 1);
    let quantization = [Quantization::of_range([0.0, 1.0]); 2];
    Int8Conv::pack(options(&shape, Activation::None, quantization), &[], &[]);
}

#[test]
#[should_panic(expected = "values has 0 elements")]
fn sizes_beyond_memory_are_refused() {
    Int8Maps::from_f32([1 << 40, 1 << 20, 1 << 10, 3], &[], Quantization::of_range([0.0, 1.0]));
}
