//! Networks against logits that PyTorch computed in f64, on weights and inputs given by a formula.

use crate::common::{fixtures, formula, values};
use burn::tensor::{Device, Tensor, TensorData};
use ocelli_nn::{Arch, Publisher, TensorFile};
use serde_json::Value;

fn shape(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as usize).collect()
}

fn file(arch: Arch) -> String {
    match arch.info().publisher {
        Publisher::Torchvision { .. } => format!("{arch}.json"),
        Publisher::Timm { name, .. } => format!("timm_{name}.json"),
    }
}

/// Names and shapes of all tensors are PyTorch's, and so are the logits of two images.
fn compare(archs: &[Arch]) {
    let Some(folder) = fixtures("backbones") else { return };
    let device = Device::flex();
    for &arch in archs {
        let expected: Value =
            serde_json::from_slice(&std::fs::read(folder.join(file(arch))).unwrap()).unwrap();
        let mut weights = TensorFile::new(arch.info().name);
        for tensor in expected["tensors"].as_array().unwrap() {
            let (name, shape) = (tensor[0].as_str().unwrap(), shape(&tensor[1]));
            weights.insert(name, shape.clone(), values(name, &shape));
        }
        // Fails on names or shapes that differ in either direction.
        let network = arch.published(&weights, 1000, &device).unwrap();
        let parameters = network.parameters().iter().sum::<usize>();
        assert_eq!(parameters as u64, expected["params"].as_u64().unwrap(), "{arch}");
        assert_eq!(parameters, arch.info().parameters, "{arch}, in the registry");
        let back = network.to_tensors();
        for name in weights.names() {
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

#[test]
fn formula_is_the_documented_one() {
    let seen: Vec<f64> = (0..4).map(|index| formula("input", index)).collect();
    for (seen, wanted) in seen.iter().zip([-0.804363370, -0.705042839, 0.148168802, 0.705455542]) {
        assert!((seen - wanted).abs() < 1e-9, "{seen} is not {wanted}");
    }
}

#[test]
fn every_fixture_is_of_a_known_backbone() {
    let Some(folder) = fixtures("backbones") else { return };
    let known: Vec<String> = Arch::ALL.iter().copied().map(file).collect();
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(known.contains(&name), "{name}");
    }
}

#[test]
fn resnets_are_those_of_torchvision() {
    compare(&[
        Arch::ResNet18,
        Arch::ResNet34,
        Arch::ResNet50,
        Arch::ResNet101,
        Arch::ResNet152,
        Arch::WideResNet50_2,
    ]);
}

#[test]
fn resnexts_are_those_of_torchvision() {
    compare(&[Arch::ResNext50_32x4d, Arch::ResNext101_32x8d, Arch::ResNext101_64x4d]);
}

#[test]
fn efficientnet_lites_are_those_of_timm() {
    compare(&[
        Arch::EfficientNetLite0,
        Arch::EfficientNetLite1,
        Arch::EfficientNetLite2,
        Arch::EfficientNetLite3,
        Arch::EfficientNetLite4,
    ]);
}

#[test]
fn vggs_are_those_of_torchvision() {
    compare(&[Arch::Vgg16Bn, Arch::Vgg19Bn]);
}

#[test]
fn densenets_are_those_of_torchvision() {
    compare(&[Arch::DenseNet121, Arch::DenseNet161, Arch::DenseNet169, Arch::DenseNet201]);
}

#[test]
fn inceptions_are_those_of_timm() {
    compare(&[Arch::InceptionV4, Arch::InceptionResNetV2]);
}

#[test]
fn small_networks_are_those_of_torchvision() {
    compare(&[Arch::MobileNetV2, Arch::MobileNetV3Large, Arch::EfficientNetB0]);
}

#[test]
fn convnexts_are_those_of_torchvision_and_timm() {
    compare(&[Arch::ConvNextAtto, Arch::ConvNextTiny]);
}

#[test]
fn vision_transformers_are_those_of_timm() {
    compare(&[Arch::VitTinyPatch16]);
}
