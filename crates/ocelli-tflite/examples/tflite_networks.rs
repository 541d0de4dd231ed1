//! Writes networks of the registry as TFLite, with weights by a formula, and what they compute: for a comparison with
//! LiteRT, `tests/run_litert.py`. Without arguments it prints their names.
//!
//! `tflite_networks [FOLDER NAME...]`

#[path = "../../ocelli-nn/tests/common/mod.rs"]
mod common;

use std::path::Path;

use burn::tensor::Device;
use ocelli_nn::Arch;
use ocelli_tflite::{Model, Options};

use common::{images, infer, with_formula_weights};

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
        let network = with_formula_weights(arch.untrained(3, 10, 1, &Device::flex()));
        let graph = network.graph([size; 2])?;
        std::fs::write(
            folder.join(format!("{arch}.tflite")),
            Model::new(&graph, &Options::default())?.to_bytes()?,
        )?;
        let images = images(2, [3, size, size]);
        let logits = infer(&network, &images, [size; 2]);
        let text = serde_json::json!({ "size": size, "images": images, "logits": logits });
        std::fs::write(folder.join(format!("{arch}.json")), text.to_string())?;
    }
    Ok(())
}
