//! Predictions of images in memory are those of their files.

use ocelli::prelude::*;
use ocelli::{Decoder, Error, RgbImage};

#[test]
fn bytes_are_predicted_as_files_are() {
    let photos = concat!(env!("CARGO_MANIFEST_DIR"), "/../../samples/emoji");
    let data = ImageData::from_folder(photos).size(32).load().unwrap();
    let model = Learner::pretrained(Arch::EfficientNetLite0, data).unwrap().to_model();
    let folder = tempfile::tempdir().unwrap();
    // Decoded at a part of its size, unlike an image that is given in pixels.
    let large = folder.path().join("large.jpg");
    let pixels = (0..900 * 1200).flat_map(|at: u32| [(at % 251) as u8, (at / 1200) as u8, (at % 17) as u8]);
    let image = RgbImage::new(1200, 900, pixels.collect()).unwrap();
    std::fs::write(&large, image.to_jpeg(90)).unwrap();
    for path in [large, format!("{photos}/flags/de.png").into()] {
        let of_file = model.predict([&path]).unwrap().next().unwrap().unwrap();
        let of_bytes = model.predict_bytes(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(of_bytes.probabilities, of_file.probabilities, "{}", path.display());
        assert_eq!(of_bytes.best(), of_file.best());
        assert_eq!((&of_bytes.classes, of_bytes.task), (&of_file.classes, of_file.task));
    }
    // Decoded pixels, as of the crate `image` or a camera.
    let path = format!("{photos}/flags/de.png");
    let decoded = Decoder::default().decode_file(&path).unwrap();
    let of_pixels = model.predict_pixels(decoded.width(), decoded.height(), decoded.pixels()).unwrap();
    assert_eq!(of_pixels, model.predict_bytes(&std::fs::read(&path).unwrap()).unwrap());
    for (width, height, bytes) in [(2, 2, &[0; 11][..]), (0, 1, &[]), (u32::MAX, u32::MAX, &[0; 3])] {
        match model.predict_pixels(width, height, bytes).unwrap_err() {
            Error::Photo { reason, .. } => assert!(reason.contains("width · height · 3"), "{reason}"),
            error => panic!("{error}"),
        }
    }
    let damaged = &image.to_jpeg(90)[..400];
    for bytes in [damaged, b"no image", b""] {
        match model.predict_bytes(bytes).unwrap_err() {
            Error::Photo { reason, .. } => assert!(!reason.is_empty()),
            error => panic!("{error}"),
        }
    }
}
