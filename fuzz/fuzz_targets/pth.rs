//! A file of weights as PyTorch writes it, of any age, or safetensors: by its bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ocelli_nn::TensorFile;

fuzz_target!(|bytes: &[u8]| {
    let path = ocelli_fuzz::folder().join("weights.pth");
    std::fs::write(&path, bytes).unwrap();
    if let Ok(file) = TensorFile::read(&path) {
        for name in file.names() {
            let tensor = file.get(name).unwrap();
            assert_eq!(tensor.shape.iter().product::<usize>(), tensor.values.len(), "{name}");
        }
    }
});
