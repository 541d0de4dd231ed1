//! Writes networks of the registry as TFLite, with weights by a formula, and what they compute: for a comparison with
//! LiteRT, `tests/run_litert.py`. Without arguments it prints their names.
//!
//! `tflite_networks [FOLDER NAME...]`

#[path = "../../ocelli-nn/tests/common/mod.rs"]
mod common;

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use ocelli_nn::{Arch, TensorFile};
use ocelli_tflite::{Model, Options};

use common::{formula, values};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let Some(folder) = arguments.next() else {
        Arch::ALL.iter().for_each(|arch| println!("{arch}"));
        return Ok(());
    };
    let folder = Path::new(&folder);
    std::fs::create_dir_all(folder)?;
    for name in arguments {
        let arch: Arch = name.parse()?;
        let size = arch.info().smallest.max(64);
        let network = arch.untrained(3, 10, 1, &Device::flex());
        let own = network.to_tensors();
        let mut tensors = TensorFile::new("the formula");
        for name in own.names() {
            let shape = &own.get(name).ok_or("a tensor")?.shape;
            tensors.insert(name, shape.clone(), values(name, shape));
        }
        let network = network.with_tensors(&tensors)?;
        let graph = network.graph([size; 2])?;
        std::fs::write(
            folder.join(format!("{arch}.tflite")),
            Model::new(&graph, &Options::default())?.to_bytes()?,
        )?;
        let images: Vec<f32> =
            (0..2 * 3 * size * size).map(|at| formula("images", at as u64) as f32).collect();
        let input = Tensor::from_data(TensorData::new(images.clone(), [2, 3, size, size]), &Device::flex());
        let logits: Vec<f32> = network.infer(input).into_data().try_into_vec()?;
        let text = serde_json::json!({ "size": size, "images": images, "logits": logits });
        std::fs::write(folder.join(format!("{arch}.json")), text.to_string())?;
    }
    Ok(())
}
