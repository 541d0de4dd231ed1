//! The golden outputs from outside the repository, the formula that their weights follow, and networks with such weights.

#![allow(dead_code)] // not every test file needs all of it

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use ocelli_nn::{Backbone, Network, TensorFile};

/// A folder of golden outputs, where there is one.
pub fn fixtures(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures").join(name);
    if !path.is_dir() {
        println!("skipped: {} is absent", path.display());
        return None;
    }
    Some(path)
}

/// The fixtures' formula: a number in [−1, 1) from a name and an index.
pub fn formula(name: &str, index: u64) -> f64 {
    let hash =
        name.bytes().fold(0xCBF2_9CE4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01B3));
    let mut z = hash.wrapping_add(index).wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^= z >> 31;
    (z >> 40) as f64 / 2f64.powi(24) * 2.0 - 1.0
}

/// The values of a tensor by its name.
pub fn values(name: &str, shape: &[usize]) -> Vec<f32> {
    let fan_in: usize = shape.iter().skip(1).product();
    (0..shape.iter().product::<usize>() as u64)
        .map(|index| {
            let u = formula(name, index);
            (if shape.len() > 1 {
                u * (6.0 / fan_in as f64).sqrt()
            } else if name.ends_with("running_var") {
                1.0 + 0.5 * u
            } else if name.ends_with("weight") {
                1.0 + 0.1 * u
            } else {
                0.1 * u
            }) as f32
        })
        .collect()
}

/// A network with weights by the formula.
pub fn with_formula_weights<B: Backbone>(network: Network<B>) -> Network<B> {
    let mut tensors = TensorFile::new("the formula");
    let own = network.to_tensors();
    for name in own.names() {
        let shape = &own.get(name).expect("a listed name").shape;
        tensors.insert(name, shape.clone(), values(name, shape));
    }
    network.with_tensors(&tensors).expect("its own names and shapes")
}

/// Images by the formula: `[count, channels, height, width]`.
pub fn images(count: usize, [channels, height, width]: [usize; 3]) -> Vec<f32> {
    (0..count * channels * height * width).map(|at| formula("images", at as u64) as f32).collect()
}

/// The logits of images, `[count, channels, height, width]`.
pub fn infer<B: Backbone>(network: &Network<B>, images: &[f32], [height, width]: [usize; 2]) -> Vec<f32> {
    let channels = network.input_channels();
    let count = images.len() / (channels * height * width);
    let data = TensorData::new(images.to_vec(), [count, channels, height, width]);
    let logits = network.infer(Tensor::from_data(data, &Device::flex()));
    logits.into_data().try_into_vec().expect("logits are f32")
}

pub fn spread(values: &[f32]) -> f32 {
    values.iter().copied().fold(f32::MIN, f32::max) - values.iter().copied().fold(f32::MAX, f32::min)
}

/// The largest difference, in parts of the spread of what is expected.
pub fn difference(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    let differences = found.iter().zip(expected).map(|(found, expected)| (found - expected).abs());
    differences.fold(0.0, f32::max) / spread(expected)
}
