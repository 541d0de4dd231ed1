//! Photos are turned upright whatever the format, and wherever it notes how the camera was held.

use std::path::Path;

use miniz_oxide::deflate::compress_to_vec_zlib;
use ocelli_data::{Decoder, RgbImage};

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/images").join(name)).unwrap()
}

/// A TIFF structure with one directory: what EXIF is.
fn exif(orientation: u16, big_endian: bool, long: bool) -> Vec<u8> {
    let (kind, value) = if long { (4, u64::from(orientation)) } else { (3, u64::from(orientation)) };
    tiff(big_endian, &[(274, kind, 1, value)], &[])
}

/// A TIFF of these entries (tag, type, count, value or offset), followed by `data`.
fn tiff(big_endian: bool, entries: &[(u16, u16, u32, u64)], data: &[u8]) -> Vec<u8> {
    let number = |value: u64, width: usize| -> Vec<u8> {
        let bytes = value.to_le_bytes()[..width].to_vec();
        if big_endian { bytes.into_iter().rev().collect() } else { bytes }
    };
    let mut file = if big_endian { b"MM".to_vec() } else { b"II".to_vec() };
    file.extend(number(42, 2));
    file.extend(number(8, 4));
    file.extend(number(entries.len() as u64, 2));
    for &(tag, kind, count, value) in entries {
        file.extend(number(tag.into(), 2));
        file.extend(number(kind.into(), 2));
        file.extend(number(count.into(), 4));
        // A single short lies in the first two bytes of the value.
        match (kind, count) {
            (3, 1) => file.extend([number(value, 2), vec![0; 2]].concat()),
            _ => file.extend(number(value, 4)),
        }
    }
    file.extend([0; 4]);
    file.extend(data);
    file
}

const XMP_HEADER: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";

fn xmp(orientation: u16, element: bool) -> Vec<u8> {
    let note = match element {
        true => format!("><tiff:Orientation> {orientation} </tiff:Orientation>"),
        false => format!(" tiff:Orientation = \"{orientation}\">"),
    };
    format!(
        "<x:xmpmeta xmlns:x=\"adobe:ns:meta/\"><rdf:RDF xmlns:rdf=\"http://www.w3.org/1999/02/22-rdf-syntax-ns#\">\
         <rdf:Description xmlns:tiff=\"http://ns.adobe.com/tiff/1.0/\"{note}</rdf:Description></rdf:RDF></x:xmpmeta>"
    )
    .into_bytes()
}

fn jpeg(segments: &[Vec<u8>]) -> Vec<u8> {
    let mut file = bytes("baseline.jpg");
    let segments = segments.iter().flat_map(|content| {
        let length = (content.len() as u16 + 2).to_be_bytes();
        [&[0xFF, 0xE1], &length[..], content].concat()
    });
    file.splice(2..2, segments.collect::<Vec<u8>>());
    file
}

fn webp(chunks: &[(&[u8; 4], Vec<u8>)]) -> Vec<u8> {
    let plain = bytes("lossless.webp");
    let image = decoded(&plain);
    let side = |length: u32| (length - 1).to_le_bytes()[..3].to_vec();
    let mut content = b"WEBPVP8X".to_vec();
    let flags = chunks
        .iter()
        .map(|(name, _)| if *name == b"EXIF" { 0x08 } else { 0x04 })
        .fold(0, |all, flag| all | flag);
    content.extend([10, 0, 0, 0, flags, 0, 0, 0]);
    content.extend([side(image.width()), side(image.height())].concat());
    content.extend(&plain[12..]);
    for (name, chunk) in chunks {
        content.extend([&name[..], &(chunk.len() as u32).to_le_bytes(), chunk].concat());
        content.resize(content.len().next_multiple_of(2), 0);
    }
    [b"RIFF", &(content.len() as u32).to_le_bytes()[..], &content].concat()
}

fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(
            crc ^ u32::from(byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 },
        )
    })
}

/// The chunk at the beginning, or after the pixels.
fn png(name: &[u8; 4], content: &[u8], late: bool) -> Vec<u8> {
    let mut file = bytes("rgb.png");
    let body = [name, content].concat();
    let chunk = [&(content.len() as u32).to_be_bytes(), &body[..], &crc(&body).to_be_bytes()].concat();
    let at = if late { file.len() - 12 } else { 33 };
    file.splice(at..at, chunk);
    file
}

/// As ImageMagick writes a profile: a line with its name, one with its length, lines of 36 bytes.
fn raw_profile(name: &str, profile: &[u8]) -> Vec<u8> {
    let lines =
        profile.chunks(36).map(|line| line.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    format!("\n{name}\n{:8}\n{}\n", profile.len(), lines.collect::<Vec<_>>().join("\n")).into_bytes()
}

fn tiff_file(big_endian: bool, kind: u16, orientation: Option<u16>, packet: &[u8]) -> Vec<u8> {
    let image = decoded(&bytes("rgb.tif"));
    let (width, height) = (u64::from(image.width()), u64::from(image.height()));
    let mut entries = vec![
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 3, 0),
        (259, 3, 1, 1),
        (262, 3, 1, 2),
        (273, 4, 1, 0),
        (277, 3, 1, 3),
        (278, 4, 1, height),
        (279, 4, 1, width * height * 3),
    ];
    entries.extend(orientation.map(|orientation| (274, kind, 1, orientation.into())));
    if !packet.is_empty() {
        entries.push((700, 1, packet.len() as u32, 0));
    }
    entries.sort();
    let start = 8 + 2 + 12 * entries.len() as u64 + 4;
    for entry in &mut entries {
        match entry.0 {
            258 => entry.3 = start,
            700 => entry.3 = start + 6,
            273 => entry.3 = start + 6 + packet.len() as u64,
            _ => {}
        }
    }
    let bits = if big_endian { [0, 8, 0, 8, 0, 8] } else { [8, 0, 8, 0, 8, 0] };
    tiff(big_endian, &entries, &[&bits, packet, image.pixels()].concat())
}

fn decoded(bytes: &[u8]) -> RgbImage {
    Decoder::default().decode(bytes).unwrap()
}

/// The image that is meant where `stored` has an orientation, by EXIF's definition: which sides of the scene the first
/// row and the first column are.
fn turned(stored: &RgbImage, orientation: u16) -> RgbImage {
    let (width, height) = (stored.width() as usize, stored.height() as usize);
    let (across, down) = if orientation < 5 { (width, height) } else { (height, width) };
    let mut pixels = vec![0; stored.pixels().len()];
    for row in 0..height {
        for column in 0..width {
            let (x, y) = match orientation {
                1 => (column, row),
                2 => (width - 1 - column, row),
                3 => (width - 1 - column, height - 1 - row),
                4 => (column, height - 1 - row),
                5 => (row, column),
                6 => (height - 1 - row, column),
                7 => (height - 1 - row, width - 1 - column),
                _ => (row, width - 1 - column),
            };
            let from = (row * width + column) * 3;
            pixels[(y * across + x) * 3..][..3].copy_from_slice(&stored.pixels()[from..from + 3]);
        }
    }
    RgbImage::new(across as u32, down as u32, pixels).unwrap()
}

#[test]
fn every_orientation_of_every_format_is_turned_upright() {
    let header = |exif: Vec<u8>| [b"Exif\0\0", &exif[..]].concat();
    let text = |keyword: &str, text: &[u8]| [keyword.as_bytes(), b"\0", text].concat();
    let packed =
        |keyword: &str, text: &[u8]| [keyword.as_bytes(), b"\0\0", &compress_to_vec_zlib(text, 6)].concat();
    let international =
        |flag: u8, text: &[u8]| [b"XML:com.adobe.xmp\0", &[flag, 0][..], b"en\0name\0", text].concat();
    let mut tried = 0;
    for orientation in 1..=8 {
        let plain = exif(orientation, false, false);
        let big = exif(orientation, true, false);
        let packet = xmp(orientation, false);
        let files = [
            ("JPEG, EXIF", jpeg(&[header(plain.clone())])),
            ("JPEG, EXIF, big-endian", jpeg(&[header(big.clone())])),
            ("JPEG, EXIF after another segment", jpeg(&[b"something else".to_vec(), header(plain.clone())])),
            ("JPEG, XMP", jpeg(&[[XMP_HEADER, &packet].concat()])),
            ("JPEG, XMP element", jpeg(&[[XMP_HEADER, &xmp(orientation, true)].concat()])),
            ("WebP, EXIF", webp(&[(b"EXIF", plain.clone())])),
            ("WebP, EXIF with JPEG's header", webp(&[(b"EXIF", header(big.clone()))])),
            ("WebP, XMP", webp(&[(b"XMP ", packet.clone())])),
            ("PNG, eXIf", png(b"eXIf", &plain, false)),
            ("PNG, eXIf with a long number", png(b"eXIf", &exif(orientation, true, true), false)),
            ("PNG, eXIf with JPEG's header", png(b"eXIf", &header(plain.clone()), false)),
            ("PNG, eXIf after the pixels", png(b"eXIf", &big, true)),
            (
                "PNG, raw profile exif, packed",
                png(
                    b"zTXt",
                    &packed("Raw profile type exif", &raw_profile("exif", &header(plain.clone()))),
                    false,
                ),
            ),
            (
                "PNG, raw profile APP1",
                png(
                    b"tEXt",
                    &text("Raw profile type APP1", &raw_profile("generic profile", &header(big))),
                    true,
                ),
            ),
            (
                "PNG, raw profile xmp",
                png(b"zTXt", &packed("Raw profile type xmp", &raw_profile("xmp", &packet)), false),
            ),
            ("PNG, XMP", png(b"iTXt", &international(0, &packet), false)),
            ("PNG, XMP, packed", png(b"iTXt", &international(1, &compress_to_vec_zlib(&packet, 6)), true)),
            ("TIFF", tiff_file(false, 3, Some(orientation), &[])),
            ("TIFF, big-endian, long", tiff_file(true, 4, Some(orientation), &[])),
            ("TIFF, XMP", tiff_file(false, 3, None, &packet)),
        ];
        for (name, file) in files {
            let stored = match &name[..4] {
                "JPEG" => decoded(&bytes("baseline.jpg")),
                _ => decoded(&bytes("rgb.png")),
            };
            let expected = turned(&stored, orientation);
            let found = decoded(&file);
            assert_eq!(
                (found.width(), found.height()),
                (expected.width(), expected.height()),
                "{name}: {orientation}"
            );
            assert!(found.pixels() == expected.pixels(), "{name}: {orientation}");
            let probe = Decoder::default().probe(&file).unwrap();
            assert_eq!(u16::from(probe.orientation), orientation, "{name}");
            assert_eq!(
                (probe.width, probe.height),
                (expected.width(), expected.height()),
                "{name}: {orientation}"
            );
            tried += 1;
        }
    }
    assert_eq!(tried, 8 * 20);
}

#[test]
fn exif_counts_before_xmp_and_what_has_no_meaning_turns_nothing() {
    let with = |exif: Vec<u8>, packet: Vec<u8>| webp(&[(b"XMP ", packet), (b"EXIF", exif)]);
    let orientation = |file: &[u8]| Decoder::default().probe(file).unwrap().orientation;
    assert_eq!(orientation(&with(exif(1, false, false), xmp(6, false))), 1);
    assert_eq!(orientation(&with(exif(8, false, false), xmp(1, false))), 8);
    // EXIF without the tag says nothing.
    assert_eq!(orientation(&with(tiff(false, &[(271, 2, 1, 0)], &[]), xmp(6, false))), 6);
    for nothing in [0, 9, 255, 65535] {
        assert_eq!(orientation(&with(exif(nothing, false, false), Vec::new())), 1, "{nothing}");
    }
    for broken in [&b""[..], b"II", b"II*\0\xFF\xFF\xFF\xFF", b"Exif\0\0", b"MM\0*\0\0\0\x08\xFF\xFF"] {
        assert_eq!(orientation(&with(broken.to_vec(), b"tiff:Orientation".to_vec())), 1, "{broken:?}");
    }
}
