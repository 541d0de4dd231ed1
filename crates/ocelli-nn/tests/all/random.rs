//! Random tensors.

use burn::tensor::{Device, Tensor, TensorData};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rand_distr::Distribution;

/// Random numbers that depend on the seed alone. A device has one generator for all threads, so that what its seed
/// gives depends on the tests that run at the same time.
pub fn random<const D: usize>(
    shape: [usize; D],
    distribution: impl Distribution<f32>,
    seed: u64,
    device: &Device,
) -> Tensor<D> {
    let numbers =
        distribution.sample_iter(ChaCha8Rng::seed_from_u64(seed)).take(shape.iter().product()).collect();
    Tensor::from_data(TensorData::new::<f32, _>(numbers, shape), device)
}
