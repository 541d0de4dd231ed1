//! Networks against logits that PyTorch computed in f64, on weights and inputs given by a formula.

use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use ocelli_nn::{Arch, TensorFile};
use serde_json::Value;

fn fixtures() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures/backbones");
    if !path.is_dir() {
        println!("skipped: {} is absent", path.display());
        return None;
    }
    Some(path)
}

/// The fixtures' formula: a number in [−1, 1) from a name and an index.
fn formula(name: &str, index: u64) -> f64 {
    let hash =
        name.bytes().fold(0xCBF2_9CE4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01B3));
    let mut z = hash.wrapping_add(index).wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^= z >> 31;
    (z >> 40) as f64 / 2f64.powi(24) * 2.0 - 1.0
}

fn values(name: &str, shape: &[usize]) -> Vec<f32> {
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

fn shape(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect()
}

#[test]
fn formula_is_the_documented_one() {
    let seen: Vec<f64> = (0..4).map(|index| formula("input", index)).collect();
    for (seen, wanted) in seen.iter().zip([-0.804363370, -0.705042839, 0.148168802, 0.705455542]) {
        assert!((seen - wanted).abs() < 1e-9, "{seen} is not {wanted}");
    }
}

#[test]
fn logits_are_those_of_pytorch() {
    let Some(folder) = fixtures() else { return };
    let device = Device::flex();
    for arch in Arch::ALL {
        let path = folder.join(format!("timm_{}.json", arch.info().timm_name));
        let expected: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let mut weights = TensorFile::new(arch.info().timm_name);
        let mut names = Vec::new();
        for tensor in expected["tensors"].as_array().unwrap() {
            let (name, shape) = (tensor[0].as_str().unwrap(), shape(&tensor[1]));
            weights.insert(name, shape.clone(), values(name, &shape));
            names.push(name);
        }
        // Fails on names or shapes that differ in either direction.
        let network = arch.published(&weights, 1000, &device).unwrap();
        assert_eq!(network.parameters().iter().sum::<usize>() as u64, expected["params"].as_u64().unwrap());
        let back = network.to_tensors();
        for name in names {
            assert_eq!(back.get(name), weights.get(name), "{name} comes back unchanged");
        }

        let input = shape(&expected["input"]);
        let length = input.iter().product::<usize>() as u64;
        let images: Vec<f32> = (0..length).map(|index| formula("input", index) as f32).collect();
        let images =
            Tensor::<4>::from_data(TensorData::new(images, [input[0], 3, input[2], input[3]]), &device);
        let logits = network.infer(images).into_data().try_into_vec::<f32>().unwrap();

        let spread = expected["logits_std"].as_f64().unwrap();
        let mut worst = 0f64;
        for (image, row) in expected["logits"].as_array().unwrap().iter().enumerate() {
            let seen = &logits[image * 1000..(image + 1) * 1000];
            for (seen, wanted) in seen.iter().zip(row.as_array().unwrap()) {
                worst = worst.max((f64::from(*seen) - wanted.as_f64().unwrap()).abs() / spread);
            }
            let best = (0..1000).max_by(|&a, &b| seen[a].total_cmp(&seen[b])).unwrap();
            assert_eq!(best as u64, expected["argmax"][image].as_u64().unwrap(), "{arch}, image {image}");
        }
        println!("{arch}: logits differ by at most {worst:.1e} of their spread");
        assert!(worst < 1e-4, "{arch}: logits differ by {worst:e} of their spread");
    }
}
