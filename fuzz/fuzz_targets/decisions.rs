//! A table of what people have decided about labels, applied to a small set of images.
#![no_main]

use std::sync::Once;

use libfuzzer_sys::fuzz_target;
use ocelli::{ImageData, RgbImage};

fuzz_target!(|bytes: &[u8]| {
    static READY: Once = Once::new();
    let folder = ocelli_fuzz::folder();
    READY.call_once(|| {
        for (number, name) in
            (0..).zip(["cats/1.png", "cats/2.png", "cats/3.png", "dogs/1.png", "dogs/2.png", "a|b/1.png"])
        {
            let path = folder.join("photos").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, RgbImage::new(1, 1, vec![number; 3]).unwrap().to_png()).unwrap();
        }
    });
    let path = folder.join("decisions.csv");
    std::fs::write(&path, bytes).unwrap();
    let data = ImageData::from_folder(folder.join("photos")).decisions(path).valid(0.4).threads(1);
    if let Ok(data) = data.load() {
        let split = data.split();
        let mut all: Vec<usize> =
            [&split.train, &split.valid, &split.test].into_iter().flatten().copied().collect();
        all.sort_unstable();
        assert!(
            all.windows(2).all(|pair| pair[0] < pair[1]) && all.iter().all(|&item| item < data.items().len())
        );
    }
});
