//! What several tests need.
#![allow(dead_code)]

use std::fmt::Debug;
use std::path::{Path, PathBuf};

use ocelli_data::{DataError, Dataset};

/// A file or folder of the shared test data, or `None`, with a printed note, where it is absent.
pub fn shared(path: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared").join(path);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: {} is absent", path.display());
    None
}

/// A small PNG that differs for each `number`.
pub fn png(number: u32) -> Vec<u8> {
    let image = image::RgbImage::from_fn(40, 30, |x, y| {
        let value = number.wrapping_mul(2_654_435_761);
        image::Rgb([(x * 5) as u8 ^ value as u8, (y * 7) as u8 ^ (value >> 8) as u8, (value >> 16) as u8])
    });
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// The PNG that lies at a path: a mask of two colours where its name says so, else a photo, as [`png`].
pub fn png_for(path: &str, number: u32) -> Vec<u8> {
    let name = path.rsplit('/').next().unwrap_or(path);
    if !["mask", "seg", "gt", "label", "roi"].iter().any(|word| name.contains(word)) {
        return png(number);
    }
    let image = image::RgbImage::from_fn(40, 30, |x, y| {
        let is_object = x > 5 + number % 7 && y > 3 + number / 7 % 5;
        image::Rgb(if is_object { [200, 40, 40] } else { [0, 0, 0] })
    });
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// Writes `bytes` to `root/path` and makes the folders on the way.
pub fn write(root: &Path, path: &str, bytes: impl AsRef<[u8]>) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// A folder with `count` different images of each class, as `prefix/CLASS/N.png`.
pub fn fill(root: &Path, prefix: &str, classes: &[&str], count: u32) {
    for (number, class) in (0..).zip(classes) {
        for image in 0..count {
            let seed = number * 1000 + image + if prefix.contains("valid") { 500 } else { 0 };
            write(root, &format!("{prefix}{class}/{image}.png"), png(seed));
        }
    }
}

/// A folder with a photo at each of these paths.
pub fn place(photos: &[String]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (number, path) in (0..).zip(photos) {
        write(root.path(), path, png_for(path, number));
    }
    root
}

/// The number of images of each class.
pub fn counts(data: &Dataset) -> Vec<(String, usize)> {
    let classes = data.items.classes.names().iter().cloned();
    let counts = data.items.class_counts(&(0..data.items.len()).collect::<Vec<_>>());
    classes.zip(counts).collect()
}

/// All of these parts stand in a text.
#[track_caller]
pub fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

/// All of these parts stand in the notices of some data.
#[track_caller]
pub fn noticed(data: &Dataset, parts: &[&str]) {
    says(&data.notices.join("\n"), parts);
}

/// Reading was refused in a sentence with all of these parts.
#[track_caller]
pub fn refused<T: Debug>(read: Result<T, DataError>, parts: &[&str]) {
    says(&read.unwrap_err().to_string(), parts);
}
