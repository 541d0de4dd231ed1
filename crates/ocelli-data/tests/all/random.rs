//! Draws are functions of their four keys, portable, and evenly spread.

use ocelli_data::random::key;
use ocelli_data::{Draws, Purpose};

/// The stream is ChaCha8 keyed with the numbers, little-endian. Expected values come from an implementation of
/// the cipher's specification in Python.
#[test]
fn the_stream_is_chacha8() {
    let mut draws = Draws::new(1, Purpose::Augment, 2, 3);
    assert_eq!([draws.bits(), draws.bits(), draws.bits()], CHACHA8_1_3_2_3);
}
const CHACHA8_1_3_2_3: [u64; 3] = [0x628bbbc0cd4dffbf, 0x8063adac6c7750fc, 0x27b6fbeb414904ff];

#[test]
fn every_number_makes_another_stream() {
    let first = |seed, purpose, epoch, key| Draws::new(seed, purpose, epoch, key).bits();
    let all = [
        first(0, Purpose::Split, 0, 0),
        first(1, Purpose::Split, 0, 0),
        first(0, Purpose::Shuffle, 0, 0),
        first(0, Purpose::Split, 1, 0),
        first(0, Purpose::Split, 0, 1),
    ];
    for (place, a) in all.iter().enumerate() {
        assert!(all[..place].iter().all(|b| a != b));
    }
}

/// Expected: the first eight bytes of BLAKE3 of the empty string, from its published test vectors.
#[test]
fn keys_are_blake3() {
    assert_eq!(key("").to_le_bytes(), [0xaf, 0x13, 0x49, 0xb9, 0xf5, 0xf9, 0xa1, 0xa6]);
    assert_ne!(key("cats/1.jpg"), key("cats/2.jpg"));
}

#[test]
fn draws_have_the_moments_of_their_distributions() {
    let mut draws = Draws::new(5, Purpose::Sample, 0, 0);
    let n = 200_000;
    let moments = |values: Vec<f64>| {
        let mean = values.iter().sum::<f64>() / n as f64;
        (mean, values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n as f64)
    };
    let (mean, variance) = moments((0..n).map(|_| draws.uniform()).collect());
    assert!((mean - 0.5).abs() < 0.004 && (variance - 1.0 / 12.0).abs() < 0.002, "{mean} {variance}");
    let (mean, variance) = moments((0..n).map(|_| draws.normal()).collect());
    assert!(mean.abs() < 0.01 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");
    let (mean, _) = moments((0..n).map(|_| draws.between(-3.0, 1.0)).collect());
    assert!((mean + 1.0).abs() < 0.02, "{mean}");
    let (mean, _) = moments((0..n).map(|_| f64::from(u8::from(draws.chance(0.3)))).collect());
    assert!((mean - 0.3).abs() < 0.005, "{mean}");
}

#[test]
fn small_ranges_are_even() {
    let mut draws = Draws::new(5, Purpose::Sample, 0, 1);
    let mut counts = [0; 7];
    for _ in 0..70_000 {
        counts[draws.below(7) as usize] += 1;
    }
    assert!(counts.iter().all(|count| (9_600..10_400).contains(count)), "{counts:?}");
    assert_eq!((draws.below(1), draws.below(0)), (0, 0));
}

#[test]
fn shuffling_keeps_everything() {
    let mut values: Vec<u32> = (0..100).collect();
    Draws::new(5, Purpose::Sample, 0, 2).shuffle(&mut values);
    assert!(values.iter().zip(0..).any(|(a, b)| *a != b));
    values.sort_unstable();
    assert_eq!(values, (0..100).collect::<Vec<_>>());
}
