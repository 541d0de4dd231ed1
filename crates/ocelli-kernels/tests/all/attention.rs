//! Attention against a slow f64 implementation and finite differences.

use crate::common::*;
use ocelli_kernels::{Attention, Element, bf16};
use proptest::prelude::*;

/// Where the elements of an image's, head's and token's query (0), key (1) or value (2) begin.
fn element(a: &Attention, image: usize, token: usize, part: usize, head: usize) -> usize {
    (((image * a.tokens + token) * 3 + part) * a.heads + head) * a.width
}

/// Calls `visit(image, head, query's token, what it takes of each token)`.
fn weights(a: &Attention, qkv: &[f64], mut visit: impl FnMut(usize, usize, usize, &[f64])) {
    for image in 0..a.batch {
        for head in 0..a.heads {
            for token in 0..a.tokens {
                let query = &qkv[element(a, image, token, 0, head)..][..a.width];
                let powers: Vec<f64> = (0..a.tokens)
                    .map(|other| {
                        let key = &qkv[element(a, image, other, 1, head)..][..a.width];
                        let product: f64 = query.iter().zip(key).map(|(q, k)| q * k).sum();
                        (product / (a.width as f64).sqrt()).exp()
                    })
                    .collect();
                let sum: f64 = powers.iter().sum();
                let weights: Vec<f64> = powers.iter().map(|power| power / sum).collect();
                visit(image, head, token, &weights);
            }
        }
    }
}

fn forward(a: &Attention, qkv: &[f64]) -> Vec<f64> {
    let mut y = vec![0.0; qkv.len() / 3];
    weights(a, qkv, |image, head, token, weights| {
        let y = &mut y[((image * a.tokens + token) * a.heads + head) * a.width..][..a.width];
        for (other, weight) in weights.iter().enumerate() {
            let value = &qkv[element(a, image, other, 2, head)..][..a.width];
            y.iter_mut().zip(value).for_each(|(y, value)| *y += weight * value);
        }
    });
    y
}

fn backward(a: &Attention, qkv: &[f64], dy: &[f64]) -> Vec<f64> {
    let mut dqkv = vec![0.0; qkv.len()];
    let scale = 1.0 / (a.width as f64).sqrt();
    weights(a, qkv, |image, head, token, weights| {
        let dy = &dy[((image * a.tokens + token) * a.heads + head) * a.width..][..a.width];
        let at = |other: usize, part: usize| element(a, image, other, part, head);
        let dweights: Vec<f64> = (0..a.tokens)
            .map(|other| dy.iter().zip(&qkv[at(other, 2)..]).map(|(dy, value)| dy * value).sum())
            .collect();
        let mean: f64 = weights.iter().zip(&dweights).map(|(weight, dweight)| weight * dweight).sum();
        for (other, (weight, dweight)) in weights.iter().zip(&dweights).enumerate() {
            let score = weight * (dweight - mean) * scale;
            for c in 0..a.width {
                dqkv[at(token, 0) + c] += score * qkv[at(other, 1) + c];
                dqkv[at(other, 1) + c] += score * qkv[at(token, 0) + c];
                dqkv[at(other, 2) + c] += weight * dy[c];
            }
        }
    });
    dqkv
}

fn check<T: Element>(a: &Attention, spread: f32, seed: u64) {
    let len = a.batch * a.tokens * a.heads * a.width;
    let qkv: Vec<T> = random::<f32>(seed, 3 * len).into_iter().map(|x| T::from_f32(spread * x)).collect();
    let dy: Vec<T> = random(seed + 1, len);
    let y_exact = forward(a, &f64s(&qkv));
    let dqkv_exact = backward(a, &f64s(&qkv), &f64s(&dy));
    on_every_isa(|isa| {
        let what = format!("{isa}: {a:?}, spread {spread}, seed {seed}");
        let mut y = vec![T::from_f32(f32::NAN); len];
        a.forward(&qkv, &mut y);
        assert_close(&format!("y, {what}"), &y, &y_exact, tolerance::<T>());
        let mut dqkv = vec![T::from_f32(f32::NAN); 3 * len];
        a.backward(&qkv, &dy, &mut dqkv);
        assert_close(&format!("dqkv, {what}"), &dqkv, &dqkv_exact, tolerance::<T>());
    });
}

fn cases() -> impl Strategy<Value = (Attention, f32, u64)> {
    let sizes = (1usize..4, 1usize..120, 1usize..4, 1usize..70);
    (sizes, 0.1f32..4.0, 0u64..1000).prop_map(|((batch, tokens, heads, width), spread, seed)| {
        (Attention { batch, tokens, heads, width }, spread, seed)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) })]

    #[test]
    fn attention_f32((attention, spread, seed) in cases()) {
        check::<f32>(&attention, spread, seed);
    }

    #[test]
    fn attention_bf16((attention, spread, seed) in cases()) {
        check::<bf16>(&attention, spread, seed);
    }
}

#[test]
fn the_shapes_of_vision_transformers() {
    for tokens in [37, 197] {
        check::<f32>(&Attention { batch: 2, tokens, heads: 3, width: 64 }, 1.0, 1);
        check::<bf16>(&Attention { batch: 1, tokens, heads: 3, width: 64 }, 1.0, 2);
    }
}

#[test]
fn scores_beyond_what_exp_can_take_are_no_trouble() {
    let attention = Attention { batch: 1, tokens: 3, heads: 1, width: 1 };
    let qkv = [1e4f32, 1e3, 1.0, -1e4, -1e3, 2.0, 0.0, 0.0, 5.0];
    on_every_isa(|isa| {
        let mut y = [f32::NAN; 3];
        attention.forward(&qkv, &mut y);
        assert_close(&isa.to_string(), &y, &[1.0, 2.0, 8.0 / 3.0], 1e-6);
    });
}

#[test]
fn an_empty_batch_is_no_work() {
    let attention = Attention { batch: 0, tokens: 3, heads: 2, width: 5 };
    attention.forward::<f32>(&[], &mut []);
    attention.backward::<f32>(&[], &[], &mut []);
}

#[test]
fn the_reference_agrees_with_finite_differences() {
    let attention = Attention { batch: 1, tokens: 4, heads: 2, width: 3 };
    let (qkv, dy) = (f64s(&random::<f32>(7, 72)), f64s(&random::<f32>(8, 24)));
    let loss = |qkv: &[f64]| -> f64 { forward(&attention, qkv).iter().zip(&dy).map(|(y, dy)| y * dy).sum() };
    for (at, exact) in backward(&attention, &qkv, &dy).into_iter().enumerate() {
        let moved = |by: f64| {
            let mut moved = qkv.clone();
            moved[at] += by;
            loss(&moved)
        };
        let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
        assert!((slope - exact).abs() < 1e-8, "{at}: {slope} and {exact}");
    }
}
