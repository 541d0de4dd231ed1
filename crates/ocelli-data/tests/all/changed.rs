//! Files that change after they were hashed are never taken for what they were.

use std::sync::Arc;

use crate::common::fill;
use ocelli_data::source::folder;
use ocelli_data::{
    Augmentation, BadImages, DataError, Filter, Framing, Items, Loader, LoaderOptions, Normalization,
    Preprocessing, digests,
};

const SMALL: Preprocessing = Preprocessing {
    size: 16,
    framing: Framing::Crop { fraction: 1.0 },
    filter: Filter::Bilinear,
    normalization: Normalization::IMAGENET,
};

fn loader(items: &Arc<Items>, bad_images: BadImages) -> Loader {
    let known = Arc::new(digests(items, 1, || ()).unwrap());
    let options = LoaderOptions { batch_size: 4, threads: 2, bad_images, ..Default::default() };
    Loader::new(items.clone(), SMALL, options).unwrap().expecting(known)
}

#[test]
fn a_replaced_photo_is_left_out_and_named_and_comes_back_with_its_content() {
    let root = tempfile::tempdir().unwrap();
    fill(root.path(), "", &["cats", "dogs"], 4);
    let items = Arc::new(folder::read(root.path()).unwrap().items);
    let plain = loader(&items, BadImages::Skip);
    let augmented = plain.clone().augment(Augmentation::side_on(), 1).unwrap();
    let all: Vec<usize> = (0..8).collect();
    let pass = |loader: &Loader| -> Vec<_> {
        loader.batches(all.clone(), 0).unwrap().map(|batch| batch.unwrap()).collect()
    };
    let before = [pass(&plain), pass(&augmented)];
    let (photo, other) = (&items[2].path, &items[6].path);
    let bytes = std::fs::read(photo).unwrap();
    // Another photo, the same one with something after its end, a part of it, nothing at all, and not even a file.
    let contents = [
        std::fs::read(other).unwrap(),
        [&bytes[..], b"1"].concat(),
        bytes[..bytes.len() - 1].to_vec(),
        Vec::new(),
    ];
    for content in contents {
        std::fs::write(photo, &content).unwrap();
        for loader in [&plain, &augmented] {
            let batches = pass(loader);
            assert_eq!(batches[0].indices, [0, 1, 3]);
            assert_eq!(batches[0].skipped.len(), 1);
            assert_eq!(batches[0].skipped[0].path, *photo);
            assert!(batches[0].skipped[0].reason.contains("has changed"), "{}", batches[0].skipped[0].reason);
        }
    }
    let strict = loader(&items, BadImages::Fail);
    std::fs::write(photo, &bytes).unwrap();
    let refused = strict.batches(all.clone(), 0).unwrap().find_map(Result::err);
    assert!(
        matches!(&refused, Some(DataError::BadImage { path, .. }) if path == photo),
        "what was noted is the empty file: {refused:?}"
    );
    // With its content it is the same photo again.
    assert!([pass(&plain), pass(&augmented)] == before);
}
