//! Writes networks of the registry as ONNX, with weights by a formula, and what they compute: for a comparison with
//! onnxruntime, `tests/run_onnxruntime.py`. Without arguments it prints their names.
//!
//! `networks [FOLDER NAME...]`

#[path = "../../ocelli-nn/tests/common/mod.rs"]
mod common;

use std::path::Path;

use burn::tensor::Device;
use ocelli_nn::Arch;
use ocelli_onnx::{Engine, Model, Options};

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
            folder.join(format!("{arch}.onnx")),
            Model::new(&graph, &Options::default())?.to_bytes(),
        )?;
        let images = images(2, [3, size, size]);
        let logits = infer(&network, &images, [size; 2]);
        // The same in 8 bits, and what another engine computes from that.
        let model = Model::new(&graph, &Options::default())?;
        let shape = [1, 3, size, size];
        let each: Vec<Vec<f32>> = images.chunks_exact(3 * size * size).map(<[f32]>::to_vec).collect();
        let quantized =
            model.quantize(&model.ranges(each.iter().map(|image| (image.clone(), shape)))?)?.to_bytes();
        std::fs::write(folder.join(format!("{arch}-int8.onnx")), &quantized)?;
        let engine = Engine::load(&quantized)?;
        let mut of_integers = Vec::new();
        for image in &each {
            of_integers.extend(engine.run(image, shape)?.swap_remove(0));
        }
        let text =
            serde_json::json!({ "size": size, "images": images, "logits": logits, "int8": of_integers });
        std::fs::write(folder.join(format!("{arch}.json")), text.to_string())?;
    }
    Ok(())
}
