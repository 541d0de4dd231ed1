//! What is an image does not depend on the size that is asked for, nor on who asks.

use std::path::Path;
use std::sync::Arc;

use crate::common::write;
use ocelli_data::source::folder;
use ocelli_data::{
    Decoder, Draws, Filter, Framing, Loader, LoaderOptions, Normalization, Preprocessing, Purpose, RgbImage,
    Store, check_classes, digests, inspect,
};

/// Sizes at which a photo of 37 × 29 pixels is decoded at 1/8, 1/4, 1/2 and whole.
const NEEDED: [u32; 4] = [3, 7, 14, u32::MAX];

fn jpegs() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/images");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().extension().is_some_and(|extension| extension == "jpg"))
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .collect();
    files.sort();
    files
}

/// A photo of 120 × 90 pixels with zeros before its tables: libjpeg passes over them, others do not.
fn zeros_between_segments() -> Vec<u8> {
    let pixels =
        (0..90u32).flat_map(|y| (0..120u32).flat_map(move |x| [(x * 2) as u8, (y * 2) as u8, (x + y) as u8]));
    let mut jpeg = RgbImage::new(120, 90, pixels.collect()).unwrap().to_jpeg(90);
    let table = jpeg.windows(2).position(|pair| pair == [0xFF, 0xDB]).unwrap();
    jpeg.splice(table..table, [0; 7]);
    jpeg
}

#[test]
fn zeros_between_segments_are_passed_over_at_every_size_and_by_everyone() {
    let jpeg = zeros_between_segments();
    let decoder = Decoder::default();
    for needed in [1, 10, 20, 40, 90, u32::MAX] {
        let image = decoder.decode_for(&jpeg, needed).unwrap();
        assert!(image.width() >= 15, "{needed}");
    }
    assert_eq!(decoder.probe(&jpeg).unwrap().width, 120);

    let root = tempfile::tempdir().unwrap();
    for class in ["a", "b"] {
        write(root.path(), &format!("{class}/odd.jpg"), &jpeg);
        write(root.path(), &format!("{class}/other.png"), crate::common::png(class.len() as u32));
    }
    let data = folder::read(root.path()).unwrap();
    let items = Arc::new(data.items);
    assert_eq!(items.len(), 4);
    let found = inspect(&items, &decoder, 2, || ()).unwrap();
    assert!(found.images.iter().all(|image| image.problem.is_none() && image.probe.is_some()));
    assert!(check_classes(&items, &[0, 1, 2, 3], &decoder, 1).unwrap().is_empty());
    for size in [8, 64, 224] {
        let preprocessing = Preprocessing {
            size,
            framing: Framing::Crop { fraction: 1.0 },
            filter: Filter::Bilinear,
            normalization: Normalization::IMAGENET,
        };
        let loader = Loader::new(Arc::clone(&items), preprocessing, LoaderOptions::default()).unwrap();
        for batch in loader.batches(vec![0, 1, 2, 3], 0).unwrap() {
            assert!(batch.unwrap().skipped.is_empty(), "{size}");
        }
    }
    let cache = tempfile::tempdir().unwrap();
    let digests = digests(&items, 1, || ()).unwrap();
    let filled = Store::new(cache.path(), 32).unwrap().fill(&items, &digests, &decoder, 1, || ()).unwrap();
    assert!(filled.skipped.is_empty());
}

/// Bytes changed, cut, repeated, taken out; markers put where they do not belong.
fn mutate(bytes: &mut Vec<u8>, draws: &mut Draws) {
    for _ in 0..=draws.below(3) {
        let at = draws.below(bytes.len() as u64) as usize;
        match draws.below(9) {
            0 => bytes[at] ^= 1 << draws.below(8),
            1 => bytes[at] = draws.bits() as u8,
            2 if bytes.len() > 100 => bytes.truncate(at.max(50)),
            3 => {
                let end = (at + draws.below(64) as usize).min(bytes.len());
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
            4 if bytes.len() > 100 => {
                bytes.drain(at..(at + 9).min(bytes.len()));
            }
            // Headers are where most is decided.
            5 | 6 => {
                let at = draws.below(bytes.len().min(640) as u64) as usize;
                bytes[at] = draws.bits() as u8;
            }
            7 => {
                let marker = [0xC0, 0xC2, 0xC4, 0xD0, 0xD9, 0xDA, 0xDB, 0xDC, 0xDD, 0xE0, 0xFE, 0x00, 0xFF];
                let marker = marker[draws.below(marker.len() as u64) as usize];
                bytes.splice(at..at, [0xFF, marker]);
            }
            _ => {
                let zeros = vec![0; draws.below(9) as usize];
                bytes.splice(at..at, zeros);
            }
        }
    }
}

#[test]
fn a_mutated_jpeg_has_one_verdict_at_all_sizes() {
    let files = jpegs();
    assert!(files.len() > 15);
    let decoder = Decoder { max_pixels: 1 << 20, ..Decoder::default() };
    let count = std::env::var("OCELLI_MUTATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(3000u64);
    let (mut read, mut refused) = (0, 0);
    for number in 0..count {
        let (name, file) = &files[number as usize % files.len()];
        let mut bytes = file.clone();
        mutate(&mut bytes, &mut Draws::new(31, Purpose::Sample, 0, number));
        let images = NEEDED.map(|needed| decoder.decode_for(&bytes, needed));
        let good = images.iter().filter(|image| image.is_ok()).count();
        assert!(
            good == 0 || good == NEEDED.len(),
            "{name} {number}: {:?}",
            images.map(|image| image.map_err(|error| error.to_string()))
        );
        if good == 0 {
            refused += 1
        } else {
            read += 1
        }
        if let [Ok(small), .., Ok(whole)] = &images {
            let full = (whole.width(), whole.height());
            let part = |divisor: u32| (full.0.div_ceil(divisor), full.1.div_ceil(divisor));
            assert!([1, 2, 4, 8].map(part).contains(&(small.width(), small.height())), "{name} {number}");
            let probe = decoder.probe(&bytes).unwrap();
            assert_eq!((probe.width, probe.height), full, "{name} {number}");
        }
    }
    assert!(read > count / 5 && refused > count / 20, "{read} read, {refused} refused");
}
