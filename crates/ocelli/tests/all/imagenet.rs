//! Photo to logits, whole, against PyTorch on ImageNet photos.

use std::path::Path;
use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use ocelli::{Arch, Filter, Framing, Normalization, Preprocessing, Task, TensorFile};
use ocelli_data::{Classes, Item, Items, Loader, LoaderOptions, Target};

#[test]
fn lite0_sees_in_imagenet_photos_what_it_sees_in_pytorch() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures/imagenet100");
    if !folder.is_dir() {
        println!("skipped: {} is absent", folder.display());
        return;
    }
    let expected: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("expected.json")).unwrap()).unwrap();
    let images = expected["images"].as_array().unwrap();
    let item = |image: &serde_json::Value| {
        let id = image["file"].as_str().unwrap().to_owned();
        Item { path: folder.join(&id), id, target: Target::Unlabelled }
    };
    let items = Items {
        root: folder.clone(),
        task: Task::SingleLabel,
        classes: Classes::default(),
        items: images.iter().map(item).collect(),
    };
    let preprocessing = Preprocessing {
        size: 224,
        framing: Framing::Crop { fraction: 0.875 },
        filter: Filter::Bicubic,
        normalization: Normalization::LITE,
    };
    let options = LoaderOptions { batch_size: 10, ..LoaderOptions::default() };
    let loader = Loader::new(Arc::new(items), preprocessing, options).unwrap();
    let device = Device::flex();
    let weights = TensorFile::parse(ocelli_lite0::WEIGHTS, "the built-in weights").unwrap();
    let network = Arch::EfficientNetLite0.published(&weights, 1000, &device).unwrap();

    let (mut same, mut right, mut worst) = (0, 0, 0f64);
    for batch in loader.batches((0..images.len()).collect(), 0).unwrap() {
        let batch = batch.unwrap();
        assert!(batch.skipped.is_empty());
        let input = Tensor::<4>::from_data(TensorData::new(batch.images.to_vec(), batch.shape), &device);
        let logits = network.infer(input.permute([0, 3, 1, 2])).into_data().try_into_vec::<f32>().unwrap();
        for (&index, logits) in batch.indices.iter().zip(logits.chunks_exact(1000)) {
            let image = &images[index];
            let best = (0..1000).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).unwrap() as u64;
            same += usize::from(best == image["top5"][0].as_u64().unwrap());
            right += usize::from(best == image["label"].as_u64().unwrap());
            for (class, wanted) in
                image["top5"].as_array().unwrap().iter().zip(image["top5_logits"].as_array().unwrap())
            {
                let seen = f64::from(logits[class.as_u64().unwrap() as usize]);
                worst = worst.max((seen - wanted.as_f64().unwrap()).abs());
            }
        }
    }
    println!(
        "same top-1 as PyTorch on {same} of 100 photos; right on {right}; logits differ by at most {worst:.2}"
    );
    assert!(same >= 98, "the same top-1 on {same} of 100 photos only");
}
