//! Dropout (Srivastava et al. 2014) with masks that depend on nothing but their key.

use burn::module::Module;
use burn::tensor::{Tensor, TensorData};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::{Builder, Pass, TrainPass};

/// In training zeroes each value with probability `p` and divides the others by `1 − p`; else does nothing.
#[derive(Module, Debug)]
pub struct Dropout {
    #[module(skip)]
    probability: f64,
    #[module(skip)]
    key: u64,
}

impl Dropout {
    /// `probability` from 0 to below 1; the builder's path tells the masks of one network's layers apart.
    ///
    /// # Panics
    /// Where the probability is outside that range.
    pub fn new(builder: &Builder, probability: f64) -> Self {
        assert!((0.0..1.0).contains(&probability), "a dropout probability is from 0 to below 1");
        Self { probability, key: builder.key() }
    }

    /// Any matrix `[images, features]`.
    pub fn forward(&self, input: Tensor<2>, pass: &Pass) -> Tensor<2> {
        let Pass::Train(TrainPass { dropout_key: Some(dropout_key), .. }) = pass else { return input };
        if self.probability == 0.0 {
            return input;
        }
        let mut random = ChaCha8Rng::seed_from_u64(self.key ^ dropout_key.rotate_left(32));
        let dropped_below = (self.probability * 2f64.powi(32)) as u32;
        let scale = (1.0 / (1.0 - self.probability)) as f32;
        let shape = input.dims();
        let mut mask = vec![0.0; shape[0] * shape[1]];
        // Many values at once: a call for each would take longer than drawing it.
        let mut bytes = [0; 4096];
        for mask in mask.chunks_mut(bytes.len() / size_of::<u32>()) {
            random.fill_bytes(&mut bytes[..size_of_val(mask)]);
            for (mask, bytes) in mask.iter_mut().zip(bytes.as_chunks().0) {
                *mask = if u32::from_le_bytes(*bytes) < dropped_below { 0.0 } else { scale };
            }
        }
        let device = input.device();
        input * Tensor::from_data(TensorData::new(mask, shape), &device)
    }
}
