//! Slow f64 implementations written from the definitions, random data, and comparison.
#![allow(dead_code)]

use ocelli_kernels::{Activation, Conv2dShape, Element, Isa, Padding, Pool2dShape, bf16};
use proptest::prelude::*;
use std::sync::{Mutex, MutexGuard, PoisonError};

static FORCING: Mutex<()> = Mutex::new(());

/// Runs `test` once for each instruction set that this processor has. Tests of one binary take turns.
pub fn on_every_isa(mut test: impl FnMut(Isa)) {
    let _guard: MutexGuard<'_, ()> = FORCING.lock().unwrap_or_else(PoisonError::into_inner);
    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_supported()) {
        Isa::force(Some(isa)).expect("it is supported");
        test(isa);
    }
    Isa::force(None).expect("the default is supported");
}

/// Runs `work` on a pool of `threads` threads.
pub fn on_threads<R: Send>(threads: usize, work: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .expect("threads can be started")
        .install(work)
}

/// Numbers in -1..1, a pure function of seed and position.
pub fn random<T: Element>(seed: u64, len: usize) -> Vec<T> {
    (0..len as u64)
        .map(|i| {
            let mut z =
                (seed << 32 ^ i).wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ z >> 30).wrapping_mul(0x94d0_49bb_1331_11eb);
            T::from_f32(((z ^ z >> 31) >> 40) as f32 / (1u32 << 23) as f32 - 1.0)
        })
        .collect()
}

pub fn f64s<T: Element>(values: &[T]) -> Vec<f64> {
    values.iter().map(|v| f64::from(v.to_f32())).collect()
}

pub fn rounded<T: Element>(values: &[f32]) -> Vec<f64> {
    values.iter().map(|v| f64::from(T::from_f32(*v).to_f32())).collect()
}

/// What a result may differ from the exact one, as a fraction of the exact result's spread.
pub fn tolerance<T: Element>() -> f64 {
    if T::BF16 { 1e-2 } else { 1e-5 }
}

/// Panics with the worst element unless all are within `tolerance` of the spread of `expected`.
#[track_caller]
pub fn assert_close<T: Element>(what: &str, got: &[T], expected: &[f64], tolerance: f64) {
    assert_eq!(got.len(), expected.len(), "{what}");
    if expected.is_empty() {
        return;
    }
    let largest = expected.iter().fold(0.0f64, |a, b| a.max(b.abs()));
    let (low, high) = expected.iter().fold((f64::MAX, f64::MIN), |(l, h), w| (l.min(*w), h.max(*w)));
    let spread = largest.max(high - low).max(1e-3);
    let (at, error) = got
        .iter()
        .zip(expected)
        .map(|(g, w)| (f64::from(g.to_f32()) - w).abs())
        .map(|e| if e.is_nan() { f64::INFINITY } else { e })
        .enumerate()
        .fold((0, 0.0), |worst, e| if e.1 > worst.1 { e } else { worst });
    assert!(
        error <= tolerance * spread,
        "{what}: element {at} of {} is {:?}, expected {}, which differs by {:.1e} of the spread",
        got.len(),
        got[at],
        expected[at],
        error / spread
    );
}

/// Shapes small enough for the slow implementation and odd enough to find edges.
pub fn conv_shapes() -> impl Strategy<Value = Conv2dShape> {
    let sizes = (1usize..4, 1usize..14, 1usize..14);
    let window = (1usize..8, 1usize..8, 1usize..4, 1usize..4, 1usize..3, 1usize..3);
    let padding = (0usize..4, 0usize..4, 0usize..4, 0usize..4);
    let groups = prop_oneof![
        4 => (Just(0usize), 1usize..70, 1usize..70), // dense
        2 => (2usize..5, 1usize..20, 1usize..20),    // grouped
        2 => (1usize..70, Just(0usize), 1usize..3),  // depthwise, with a multiplier
    ];
    (sizes, window, padding, groups).prop_filter_map("the kernel fits", |(sizes, window, padding, groups)| {
        let (groups, in_channels, out_channels) = match groups {
            (0, i, o) => (1, i, o),
            (g, 0, multiplier) => (g, g, g * multiplier),
            (g, i, o) => (g, g * i, g * o),
        };
        let shape = Conv2dShape {
            batch: sizes.0,
            in_height: sizes.1,
            in_width: sizes.2,
            in_channels,
            out_channels,
            kernel: [window.0, window.1],
            stride: [window.2, window.3],
            dilation: [window.4, window.5],
            padding: Padding { top: padding.0, left: padding.1, bottom: padding.2, right: padding.3 },
            groups,
        };
        shape.validate().is_ok().then_some(shape)
    })
}

/// The usual case: square kernel and stride, padding that keeps the size.
pub fn usual(
    batch: usize,
    size: usize,
    channels: [usize; 2],
    kernel: usize,
    stride: usize,
    groups: usize,
) -> Conv2dShape {
    Conv2dShape {
        batch,
        in_height: size,
        in_width: size,
        in_channels: channels[0],
        out_channels: channels[1],
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: Padding::same([size; 2], [kernel; 2], [stride; 2], [1, 1]),
        dilation: [1, 1],
        groups,
    }
}

/// Shapes that reach every kernel's main loop and its remainders.
pub fn characteristic_shapes() -> Vec<Conv2dShape> {
    let mut shapes = Vec::new();
    for (channels, kernel, stride) in [
        ([3, 32], 3, 2),
        ([3, 64], 7, 2),
        ([32, 16], 1, 1),
        ([16, 96], 1, 1),
        ([24, 40], 1, 1),
        ([40, 80], 1, 1),
        ([112, 48], 1, 1),
        ([64, 128], 1, 2),
        ([64, 64], 3, 1),
        ([64, 128], 3, 2),
        ([96, 33], 3, 1),
        ([130, 17], 2, 1),
    ] {
        shapes.push(usual(2, 15, channels, kernel, stride, 1));
        shapes.push(usual(3, 8, channels, kernel, stride, 1));
    }
    // So many channels that tiles are small.
    shapes.push(usual(2, 7, [260, 264], 3, 1, 1));
    // More pixels than are summed at once, and enough channels to share without cutting pixels.
    for kernel in [1, 3] {
        shapes.push(usual(4, 14, [256, 10], kernel, 1, 1));
    }
    // Few pixels and enough outputs, or inputs, that threads share the weights.
    shapes.push(usual(2, 5, [72, 408], 1, 1, 1));
    shapes.push(usual(2, 5, [408, 72], 1, 1, 1));
    shapes.push(usual(1, 7, [25, 401], 3, 2, 1));
    shapes.push(usual(1, 7, [400, 25], 3, 2, 1));
    shapes.push(usual(1, 5, [96, 400], 3, 2, 4));
    // So many inputs, and outputs, that weights are multiplied span by span; the last one with more pixels than are
    // summed at once.
    shapes.push(usual(2, 7, [1040, 40], 1, 1, 1));
    shapes.push(usual(2, 7, [40, 1040], 1, 1, 1));
    shapes.push(usual(2, 12, [520, 1160], 1, 1, 1));
    // Fully connected: the sums over all images are the gradient, with blocks that are full and others.
    shapes.push(usual(64, 1, [1040, 67], 1, 1, 1));
    shapes.push(usual(9, 1, [64, 5], 1, 1, 1));
    for (kernel, stride) in [(3, 1), (3, 2), (5, 1), (5, 2), (7, 1), (4, 3)] {
        for channels in [8, 32, 72, 145] {
            shapes.push(usual(2, 19, [channels; 2], kernel, stride, channels));
            shapes.push(usual(1, 7, [channels; 2], kernel, stride, channels));
        }
        shapes.push(Conv2dShape { stride: [1, 2], ..usual(2, 9, [40; 2], kernel, 2, 40) });
        shapes.push(usual(2, 16, [64, 64], kernel, stride, 4));
        shapes.push(usual(2, 9, [32, 64], kernel, stride, 32));
    }
    shapes
}

/// Dense 3×3 convolutions of stride 1.
pub fn winograd_shapes() -> impl Strategy<Value = Conv2dShape> {
    let sizes = (1usize..4, 1usize..20, 1usize..20);
    let padding = (0usize..4, 0usize..4, 0usize..4, 0usize..4);
    let channels = (8usize..32, 8usize..32, 0usize..2).prop_map(|(from, to, odd)| [2 * from, 2 * to + odd]);
    (sizes, padding, channels).prop_filter_map("the kernel fits", |(sizes, padding, channels)| {
        let shape = Conv2dShape {
            batch: sizes.0,
            in_height: sizes.1,
            in_width: sizes.2,
            padding: Padding { top: padding.0, bottom: padding.1, left: padding.2, right: padding.3 },
            ..usual(1, 9, channels, 3, 1, 1)
        };
        shape.validate().is_ok().then_some(shape)
    })
}

/// Calls `visit(index of x, index of the weight, index of y)` for each product of a convolution.
fn products(shape: &Conv2dShape, mut visit: impl FnMut(usize, usize, usize)) {
    let (group_in, group_out) = (shape.in_channels / shape.groups, shape.out_channels / shape.groups);
    let (out_height, out_width) = (shape.out_height(), shape.out_width());
    for n in 0..shape.batch {
        for oy in 0..out_height {
            for ox in 0..out_width {
                for ky in 0..shape.kernel[0] {
                    for kx in 0..shape.kernel[1] {
                        let iy = (oy * shape.stride[0] + ky * shape.dilation[0]) as isize
                            - shape.padding.top as isize;
                        let ix = (ox * shape.stride[1] + kx * shape.dilation[1]) as isize
                            - shape.padding.left as isize;
                        if iy < 0 || ix < 0 || iy as usize >= shape.in_height || ix as usize >= shape.in_width
                        {
                            continue;
                        }
                        let x = ((n * shape.in_height + iy as usize) * shape.in_width + ix as usize)
                            * shape.in_channels;
                        let y = ((n * out_height + oy) * out_width + ox) * shape.out_channels;
                        for k in 0..shape.out_channels {
                            let first = x + k / group_out * group_in;
                            for c in 0..group_in {
                                let w = ((k * group_in + c) * shape.kernel[0] + ky) * shape.kernel[1] + kx;
                                visit(first + c, w, y + k);
                            }
                        }
                    }
                }
            }
        }
    }
}

pub fn conv_forward(shape: &Conv2dShape, x: &[f64], w: &[f64], bias: &[f64]) -> Vec<f64> {
    let mut y: Vec<f64> = (0..shape.output_len()).map(|i| bias[i % shape.out_channels]).collect();
    products(shape, |i, j, o| y[o] += x[i] * w[j]);
    y
}

pub fn conv_backward_data(shape: &Conv2dShape, w: &[f64], dy: &[f64]) -> Vec<f64> {
    let mut dx = vec![0.0; shape.input_len()];
    products(shape, |i, j, o| dx[i] += dy[o] * w[j]);
    dx
}

pub fn conv_backward_weights(shape: &Conv2dShape, x: &[f64], dy: &[f64]) -> Vec<f64> {
    let mut dw = vec![0.0; shape.weight_len()];
    products(shape, |i, j, o| dw[j] += dy[o] * x[i]);
    dw
}

pub const ACTIVATIONS: [Activation; 6] = [
    Activation::None,
    Activation::Relu,
    Activation::Relu6,
    Activation::Silu,
    Activation::HardSwish,
    Activation::Gelu,
];

pub fn activate(activation: Activation, u: f64) -> f64 {
    match activation {
        Activation::None => u,
        Activation::Relu => u.max(0.0),
        Activation::Relu6 => u.clamp(0.0, 6.0),
        Activation::Silu => u / (1.0 + (-u).exp()),
        Activation::HardSwish => u * (u + 3.0).clamp(0.0, 6.0) / 6.0,
        Activation::Gelu => u * normal_distribution(u),
    }
}

/// By its Taylor series, whose terms fall from the u²/2-th on.
fn normal_distribution(u: f64) -> f64 {
    if u.abs() > 6.0 {
        return f64::from(u > 0.0);
    }
    let (mut term, mut sum) = (u, u);
    for n in 1..200 {
        term *= -u * u / (2 * n) as f64;
        sum += term / (2 * n + 1) as f64;
    }
    0.5 + sum / (2.0 * std::f64::consts::PI).sqrt()
}

/// By central differences, so that it owes nothing to a formula.
pub fn activation_slope(activation: Activation, u: f64) -> f64 {
    let h = 1e-6;
    (activate(activation, u + h) - activate(activation, u - h)) / (2.0 * h)
}

pub fn pool_shapes() -> impl Strategy<Value = Pool2dShape> {
    let sizes = (1usize..4, 1usize..14, 1usize..14, 1usize..70);
    let window = (1usize..5, 1usize..5, 1usize..4, 1usize..4);
    (sizes, window, (0usize..3, 0usize..3, 0usize..3, 0usize..3)).prop_filter_map("it fits", |(s, w, p)| {
        let shape = Pool2dShape {
            batch: s.0,
            in_height: s.1,
            in_width: s.2,
            channels: s.3,
            kernel: [w.0, w.1],
            stride: [w.2, w.3],
            padding: Padding { top: p.0, left: p.1, bottom: p.2, right: p.3 },
        };
        shape.validate().is_ok().then_some(shape)
    })
}

pub fn pool_windows(shape: &Pool2dShape, mut visit: impl FnMut(usize, Vec<usize>)) {
    for n in 0..shape.batch {
        for oy in 0..shape.out_height() {
            for ox in 0..shape.out_width() {
                for c in 0..shape.channels {
                    let mut members = Vec::new();
                    for ky in 0..shape.kernel[0] {
                        for kx in 0..shape.kernel[1] {
                            let iy = (oy * shape.stride[0] + ky).wrapping_sub(shape.padding.top);
                            let ix = (ox * shape.stride[1] + kx).wrapping_sub(shape.padding.left);
                            if iy < shape.in_height && ix < shape.in_width {
                                members.push(
                                    ((n * shape.in_height + iy) * shape.in_width + ix) * shape.channels + c,
                                );
                            }
                        }
                    }
                    let o = ((n * shape.out_height() + oy) * shape.out_width() + ox) * shape.channels + c;
                    visit(o, members);
                }
            }
        }
    }
}

pub type Bf16 = bf16;
