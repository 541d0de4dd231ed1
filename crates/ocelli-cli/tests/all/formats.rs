//! Files of other kinds than photos usually are: several bands, deep samples, camera raw, HEIC.

use std::fs;
use std::path::{Path, PathBuf};

use crate::common::Place;

fn image(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../ocelli-data/tests/images").join(name)
}

/// A PAM file of four bands and 16 bits, of which the first three are the same in all and the fourth, up to 4095, tells
/// the class.
fn four_bands(number: u32, class: u32) -> Vec<u8> {
    let mut bytes = b"P7\nWIDTH 24\nHEIGHT 24\nDEPTH 4\nMAXVAL 65535\nENDHDR\n".to_vec();
    for at in 0..24 * 24u32 {
        let (x, y) = (at % 24, at / 24);
        let stripe = if class == 0 { x } else { y } / 4 % 2 * 3900;
        let fourth = stripe + (x * 7 + y * 11 + number * 13) % 190;
        for value in [900, 900, 900, fourth] {
            bytes.extend((value as u16).to_be_bytes());
        }
    }
    bytes
}

#[test]
fn that_only_three_of_many_bands_are_read_is_said() {
    let place = Place::empty();
    for (class, name) in [(0, "a"), (64, "b")] {
        fs::create_dir_all(place.path("bands").join(name)).unwrap();
        for number in class..class + 10u8 {
            let mut bytes = b"P7\nWIDTH 40\nHEIGHT 40\nDEPTH 5\nMAXVAL 255\nENDHDR\n".to_vec();
            bytes.extend((0..40 * 40 * 5).map(|at| (at % 251) as u8 ^ number));
            fs::write(place.path("bands").join(name).join(format!("{number}.pam")), bytes).unwrap();
        }
    }
    let train = ["train", "bands", "--size", "32", "--recipe", "quick", "--head-epochs", "1", "--lr", "1e-2"];
    let said = place.run(&train);
    let notice = "images have 5 bands, of which the first three are read as red, green and blue; --bands chooses others";
    assert!(said.contains(notice), "{said}");
    let said = place.run(&[&train[..], &["--bands", "1,2,3"]].concat());
    assert!(!said.contains("of which the first three"), "{said}");
}

#[test]
fn bands_and_range_are_kept_in_the_model() {
    let place = Place::empty();
    for (class, name) in [(0, "across"), (1, "down")] {
        fs::create_dir_all(place.path("bands").join(name)).unwrap();
        for number in 0..10 {
            let file = place.path("bands").join(name).join(format!("{number}.pam"));
            fs::write(file, four_bands(number, class)).unwrap();
        }
    }
    let said = place.run(&["inspect", "bands", "--bands", "4,4,4"]);
    assert!(said.contains("try the range 0,4095") && said.contains("nearly black"), "{said}");
    let train = [
        "train",
        "bands",
        "--bands",
        "4,4,4",
        "--value-range",
        "0,4095",
        "--size",
        "64",
        "--recipe",
        "quick",
        "--head-epochs",
        "4",
    ];
    place.run(&train);
    let model = fs::read(place.path("runs/bands-1/model.safetensors")).unwrap();
    let header = String::from_utf8_lossy(&model[..8192.min(model.len())]).replace('\\', "");
    assert!(
        header.contains(r#""bands":[4,4,4]"#) && header.contains(r#""value_range":[0.0,4095.0]"#),
        "{header}"
    );
    // What validation saw is what prediction sees: the first three bands say nothing.
    let said = place.run(&["predict", "runs/bands-1/model.safetensors", "bands/across", "bands/down"]);
    let right = said.lines().filter(|line| {
        let mut words = line.split_whitespace();
        let (path, class) = (words.next().unwrap(), words.next().unwrap());
        path.contains(class)
    });
    assert!(right.count() >= 18, "{said}");
    // A photo lacks the band.
    let output = place
        .ocelli(&["predict", "runs/bands-1/model.safetensors", image("rgb.png").to_str().unwrap()])
        .output();
    let said = String::from_utf8(output.unwrap().stderr).unwrap();
    assert!(said.contains("has 3 bands (RGB), but band 4 is selected; choose from 1 to 3"), "{said}");
    let said = place.refusal(&["evaluate", "runs/bands-1/model.safetensors", "bands", "--bands", "1,2,3"]);
    assert!(said.contains("unexpected argument '--bands'"), "a model reads images as in training: {said}");
    let said = place.run(&["evaluate", "runs/bands-1/model.safetensors", "bands"]);
    assert!(said.contains("accuracy"), "{said}");
    let said = place.refusal(&["train", "bands", "--bands", "4,4"]);
    assert!(said.contains("'4,4' for '--bands <R,G,B>': expected three band numbers"), "{said}");
    let said = place.refusal(&["inspect", "bands", "--value-range", "5,5"]);
    assert!(
        said.contains("'5,5' for '--value-range <LOW,HIGH>': expected the values of black and white"),
        "{said}"
    );
}

#[test]
fn what_is_not_read_is_refused_by_name_in_every_verb() {
    let place = Place::with_photos(12);
    place.run(&["train", "photos", "--size", "32", "--recipe", "quick", "--head-epochs", "1"]);
    let model = "runs/photos-1/model.safetensors";
    let raw = [b"II*\0\x10\0\0\0CR\x02\0".to_vec(), vec![0; 64]].concat();
    fs::write(place.path("photo.cr2"), &raw).unwrap();
    fs::write(place.path("photo.avif"), b"\0\0\0\x20ftypavif\0\0\0\0avifmif1miafMA1B").unwrap();
    for (file, kind) in [("photo.cr2", "a camera's raw file, Canon (CR2)"), ("photo.avif", "an AVIF image")] {
        for arguments in [&["predict", model, file][..], &["explain", model, file], &["augment", file]] {
            let output = place.ocelli(arguments).output().unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
            assert!(
                said.contains(file) && said.contains(&format!("is {kind}, which is not read; ")),
                "{said}"
            );
        }
    }
    // In a class folder it is listed, and a class of nothing else is refused.
    fs::copy(place.path("photo.avif"), place.path("photos/flags/photo.avif")).unwrap();
    let said = place.run(&["inspect", "photos"]);
    assert!(said.contains("flags/photo.avif: is an AVIF image"), "{said}");
    fs::create_dir(place.path("photos/raw")).unwrap();
    fs::copy(place.path("photo.cr2"), place.path("photos/raw/1.cr2")).unwrap();
    let said = place.refusal(&["train", "photos", "--size", "32"]);
    assert!(said.contains("raw") && said.contains("Canon (CR2)"), "{said}");
    let said = place.run(&["inspect", "photos"]);
    assert!(said.contains("raw/1.cr2: is a camera's raw file, Canon (CR2)"), "{said}");
    // And HEIC is read.
    let said = place.run(&["predict", model, image("photo.heic").to_str().unwrap()]);
    assert!(said.contains("photo.heic"), "{said}");
}
