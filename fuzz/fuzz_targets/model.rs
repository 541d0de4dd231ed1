//! A model's file: its bytes, or, behind an even first byte, its config's text in a file that is otherwise whole.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ocelli::{Model, TensorFile};

fuzz_target!(|input: &[u8]| {
    let [choice, bytes @ ..] = input else { return };
    let path = ocelli_fuzz::folder().join("model.safetensors");
    let content = match (choice % 2, std::str::from_utf8(bytes)) {
        (0, Ok(text)) => {
            let mut tensors = TensorFile::new("fuzz");
            tensors.insert("classifier.weight", vec![2, 3], vec![0.5; 6]);
            tensors.insert("classifier.bias", vec![2], vec![0.5; 2]);
            tensors.to_bytes("ocelli", text)
        }
        _ => bytes.to_vec(),
    };
    std::fs::write(&path, content).unwrap();
    let _ = Model::load(&path);
});
