//! Thousands of mutated files: none panics, hangs, or takes memory beyond its limits; all stay bad or become images.
//!
//! `OCELLI_MUTATIONS=10000 cargo test --release -p ocelli-data --test hostile` runs as many as asked for.

#[path = "all/common/mod.rs"]
mod common;

use std::path::Path;
use std::time::{Duration, Instant};

use common::write;
use ocelli_data::source::table::{self, Column, TableOptions};
use ocelli_data::{Decoder, Draws, Purpose};

fn mutations(default: u64) -> u64 {
    std::env::var("OCELLI_MUTATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// Bytes changed, cut, repeated, moved; now and then lengths and sizes made extreme.
fn mutate(bytes: &mut Vec<u8>, draws: &mut Draws) {
    for _ in 0..=draws.below(6) {
        let length = bytes.len() as u64;
        if length == 0 {
            return;
        }
        let at = draws.below(length) as usize;
        match draws.below(8) {
            0 => bytes[at] ^= 1 << draws.below(8),
            1 => bytes[at] = draws.bits() as u8,
            2 => bytes[at] = [0, 0xFF, 0x7F, 0x80][draws.below(4) as usize],
            3 => bytes.truncate(at),
            4 => {
                let end = (at + draws.below(64) as usize).min(bytes.len());
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
            5 => {
                let end = (at + draws.below(16) as usize).min(bytes.len());
                bytes.drain(at..end);
            }
            // Headers are where sizes are.
            6 => {
                let at = draws.below(length.min(64)) as usize;
                bytes[at] = draws.bits() as u8;
            }
            _ => {
                let end = (at + 4).min(bytes.len());
                bytes[at..end].fill(0xFF);
            }
        }
    }
}

#[test]
fn mutated_images_are_images_or_errors() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/images");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let decoder = Decoder { max_pixels: 1 << 20, ..Decoder::default() };
    let mut read = 0;
    for number in 0..mutations(2000) {
        let path = &files[number as usize % files.len()];
        let mut bytes = std::fs::read(path).unwrap();
        mutate(&mut bytes, &mut Draws::new(11, Purpose::Sample, 0, number));
        let start = Instant::now();
        for image in [decoder.decode(&bytes), decoder.decode_for(&bytes, 5)] {
            match image {
                Ok(image) => {
                    read += 1;
                    assert_eq!(image.pixels().len(), image.width() as usize * image.height() as usize * 3);
                    assert!(u64::from(image.width()) * u64::from(image.height()) <= decoder.max_pixels);
                }
                Err(error) => {
                    assert!(!error.to_string().contains('\n'));
                    assert!(
                        !error.to_string().contains("gave up"),
                        "{} {number}: the decoder panicked",
                        path.display()
                    );
                }
            }
        }
        let _ = decoder.probe(&bytes);
        // No time is asserted but that of a hang.
        assert!(start.elapsed() < Duration::from_secs(60), "{} {number} hangs", path.display());
    }
    assert!(read > 100, "the mutations are too strong to test anything: {read}");
}

#[test]
fn mutated_tables_are_data_sets_or_errors() {
    let root = tempfile::tempdir().unwrap();
    for number in 0..4 {
        write(root.path(), &format!("{number}.png"), common::png(number));
    }
    let table =
        "id,label,split\n0.png,cat,train\n1.png,dog,valid\n\"2.png\",\"cat dog\",train\n3.png,,test\n";
    let mut read = 0;
    for number in 0..mutations(2000) {
        let mut bytes = table.as_bytes().to_vec();
        mutate(&mut bytes, &mut Draws::new(12, Purpose::Sample, 0, number));
        write(root.path(), "labels.csv", &bytes);
        let split = (number % 2 == 0).then_some(Column::Index(2));
        let options = TableOptions { split_column: split, ..TableOptions::default() };
        match table::read(root.path().join("labels.csv"), &options) {
            Ok(table::Labelled { dataset: data, .. }) => {
                read += 1;
                for item in &data.items.items {
                    assert!(item.path.is_file() && !item.id.contains(".."));
                    assert!(item.target.classes().iter().all(|&class| class < data.items.classes.len()));
                }
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    assert!(read > 100, "{read}");
}
