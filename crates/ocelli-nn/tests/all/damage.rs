//! A file of tensors whose content is not what was written is never believed.

use std::collections::HashMap;

use ocelli_nn::{Error, TensorFile};
use safetensors::tensor::{Dtype, TensorView};

fn tensors() -> TensorFile {
    let mut file = TensorFile::new("here");
    file.insert("head.0.weight", vec![2, 3], vec![1.0, -2.0, 0.5, 3.0, f32::MIN_POSITIVE, 0.0]);
    file.insert("head.0.bias", vec![2], vec![0.25, 7.0]);
    file.insert("head.1.bias", vec![2], vec![1.25, 9.0]);
    file
}

fn assert_same(one: &TensorFile, other: &TensorFile) {
    assert!(one.names().eq(other.names()));
    for name in one.names() {
        let bits = |file: &TensorFile| {
            let tensor = file.get(name).unwrap();
            (tensor.shape.clone(), tensor.values.iter().map(|value| value.to_bits()).collect::<Vec<_>>())
        };
        assert_eq!(bits(one), bits(other), "{name}");
    }
}

#[test]
fn every_single_flipped_bit_is_noticed_or_changes_nothing() {
    let text = r#"{"classes":["ants","bees"],"mean":[127.0,127.0,127.0]}"#;
    let bytes = tensors().to_bytes("ocelli", text);
    assert_eq!(bytes, tensors().to_bytes("ocelli", text), "the same tensors give the same bytes");
    let whole = TensorFile::parse(&bytes, "a.safetensors").unwrap();
    assert_same(&whole, &tensors());
    assert_eq!(whole.digest().unwrap().len(), 64);
    let (mut refused, mut harmless) = (0, 0);
    for bit in 0..8 * bytes.len() {
        let mut hurt = bytes.clone();
        hurt[bit / 8] ^= 1 << (bit % 8);
        match TensorFile::parse(&hurt, "a.safetensors") {
            Err(error) => {
                let said = error.to_string();
                assert!(said.starts_with("a.safetensors: "), "{said}");
                refused += 1;
            }
            // Spaces after the header, or the name of the digest itself: then nothing vouches for the file.
            Ok(read) => {
                assert_same(&read, &whole);
                let entry = read.metadata("ocelli");
                assert!(read.digest().is_none() || entry == Some(text), "bit {bit}");
                harmless += 1;
            }
        }
    }
    assert!(refused > 20 * harmless, "{refused} refused, {harmless} harmless");
    for length in 0..bytes.len() {
        assert!(TensorFile::parse(&bytes[..length], "a.safetensors").is_err(), "{length} bytes");
    }
}

#[test]
fn the_digest_is_of_the_content_not_of_its_layout() {
    let text = "text with \"quotes\", a\nline and Ünïcode";
    let (bytes, digest) = tensors().to_bytes_and_digest("ocelli", text);
    // As another program lays them out, with the metadata that it has found.
    let again = |metadata: HashMap<String, String>, bias: f32| {
        let values: Vec<(String, Vec<usize>, Vec<u8>)> = tensors()
            .names()
            .map(|name| {
                let tensor = tensors().get(name).unwrap().clone();
                let values = tensor.values.iter().map(|value| if *value == 7.0 { bias } else { *value });
                (name.to_owned(), tensor.shape, values.flat_map(f32::to_le_bytes).collect())
            })
            .collect();
        let views = values
            .iter()
            .map(|(name, shape, bytes)| (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
        safetensors::serialize(views, Some(metadata)).unwrap()
    };
    let metadata = |digest: &str| {
        HashMap::from(
            [("ocelli", text), ("ocelli-digest", digest)]
                .map(|(key, text)| (key.to_owned(), text.to_owned())),
        )
    };
    for _ in 0..4 {
        // The order of a hash map is another each time.
        let read = TensorFile::parse(&again(metadata(&digest), 7.0), "b").unwrap();
        assert_same(&read, &TensorFile::parse(&bytes, "a").unwrap());
    }
    let error = TensorFile::parse(&again(metadata(&digest), 7.5), "b").unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    // Whoever has changed a file can say so.
    assert_eq!(TensorFile::parse(&again(metadata("none"), 7.5), "b").unwrap().digest(), Some("none"));
}
