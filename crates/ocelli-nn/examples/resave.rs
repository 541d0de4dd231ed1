//! Reads a backbone's weights and writes them again, with the logits that they give: for `tests/strict.py`,
//! which compares both with PyTorch's.
//!
//!     cargo run --release -p ocelli-nn --example resave -- ARCH WEIGHTS IMAGES OUT
//!
//! IMAGES is a safetensors file with the tensor `images`, shape `[images, 3, height, width]`. OUT, a folder,
//! gets `published.safetensors`, the network with its classifier of 1000 classes; `transfer.safetensors`, the
//! same body with a new head of 5 classes; and `logits.safetensors`, with a tensor for each of them.

use std::error::Error;
use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use ocelli_nn::{Arch, Network, TensorFile};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [arch, weights, images, out] = &arguments[..] else {
        return Err("four arguments are needed: ARCH WEIGHTS IMAGES OUT".into());
    };
    let (arch, weights, out) = (arch.parse::<Arch>()?, TensorFile::read(weights)?, Path::new(out));
    let device = Device::flex();
    let images = TensorFile::read(images)?;
    let images = images.get("images").ok_or("there is no tensor `images`")?;
    let shape: [usize; 4] = images.shape[..].try_into()?;
    let images = Tensor::<4>::from_data(TensorData::new(images.values.clone(), shape), &device);

    let mut logits = TensorFile::new("logits");
    let mut write = |name: &str, network: Network| -> Result<(), Box<dyn Error>> {
        let result = network.infer(images.clone());
        let shape = result.dims().to_vec();
        logits.insert(name, shape, result.into_data().try_into_vec::<f32>()?);
        let bytes = network.to_tensors().to_bytes("architecture", &arch.to_string());
        Ok(std::fs::write(out.join(format!("{name}.safetensors")), bytes)?)
    };
    write("published", arch.published(&weights, 1000, &device)?)?;
    write("transfer", arch.transfer(&weights, 5, 0, &device)?)?;
    Ok(std::fs::write(out.join("logits.safetensors"), logits.to_bytes("architecture", &arch.to_string()))?)
}
