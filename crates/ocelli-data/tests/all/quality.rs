//! Photos with nothing to see in them are found, by CleanVision's measures, and reported.

use std::path::Path;

use crate::common::write;
use ocelli_data::inspect::quality::Quality;
use ocelli_data::source::folder;
use ocelli_data::split::Split;
use ocelli_data::{Channels, Decoder, Report, RgbImage, inspect};

fn image(width: u32, height: u32, pixel: impl Fn(u32, u32) -> [u32; 3]) -> RgbImage {
    let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    let pixels = places.flat_map(|(x, y)| pixel(x, y).map(|value| value as u8)).collect();
    RgbImage::new(width, height, pixels).unwrap()
}

fn texture(x: u32, y: u32) -> [u32; 3] {
    let (red, green) = ((x * 7 + y * 13) % 256, (x * x * 31 + y * y * 17 + x * y * 7) % 251);
    [red, green, (red + green) / 2]
}

fn smooth(x: u32, y: u32) -> [u32; 3] {
    [x * 255 / 199, y * 255 / 149, (x + y) * 255 / 348]
}

/// Numbers by CleanVision 0.3.6 and Pillow 12: entropy, percentiles 99 and 5 of brightness, sharpness.
#[test]
fn measures_are_cleanvisions() {
    let textured = |change: fn(u32) -> u32| image(200, 150, move |x, y| texture(x, y).map(change));
    let file = |name: &str| {
        Decoder::default()
            .decode_file(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/images").join(name))
            .unwrap()
    };
    for (name, image, entropy, bright, dark, sharpness) in [
        ("texture", textured(|value| value), 9.4728, 0.9247, 0.1638, 0.5318),
        ("dark", textured(|value| value / 5), 7.1611, 0.1834, 0.0314, 0.4983),
        ("light", textured(|value| 255 - value / 32), 4.4960, 1.0, 0.9755, 1.0),
        ("smooth", image(200, 150, smooth), 9.0927, 0.9389, 0.1642, 0.3191),
        ("rgb.png", file("rgb.png"), 6.8580, 0.9483, 0.2222, 0.4166),
        ("grey.png", file("grey.png"), 7.5347, 0.9423, 0.1804, 0.4166),
        ("long.png", file("long.png"), 5.0579, 0.6033, 0.3002, 0.0012),
    ] {
        let quality = Quality::of(&image);
        let found = [quality.entropy, quality.bright, quality.dark, quality.sharpness];
        for ((found, expected), tolerance) in
            found.into_iter().zip([entropy, bright, dark, sharpness]).zip([1e-3, 2e-3, 2e-3, 5e-3])
        {
            assert!((found - expected).abs() <= tolerance, "{name}: {quality:?}");
        }
    }
    // One colour has no entropy, however it is stored.
    assert!(Quality::of(&image(30, 20, |_, _| [7, 7, 7])).entropy == 0.0);
    assert!(Quality::of(&image(30, 20, |_, _| [7, 200, 90])).entropy < 1.6);
    // The smallest image has a quality.
    assert!(Quality::of(&image(1, 1, |_, _| [7, 7, 7])).sharpness < 1.0);
}

fn report(root: &Path, decoder: &Decoder) -> Report {
    let data = folder::read(root).unwrap();
    let inspection = inspect(&data.items, decoder, 2, || ()).unwrap();
    Report {
        data: root.to_owned(),
        split: Split { train: (0..data.items.len()).collect(), ..Split::default() },
        groups: None,
        items: data.items,
        skipped: data.skipped,
        notices: data.notices,
        problem: None,
        size: 32,
        inspection,
    }
}

/// What is listed under a title.
fn cases(report: &Report, title: &str) -> Vec<String> {
    let findings = report.findings();
    let found = findings.iter().find(|finding| finding.title.contains(title));
    found.map(|finding| finding.cases.iter().map(|case| case.text.clone()).collect()).unwrap_or_default()
}

#[test]
fn blank_dark_light_and_blurred_photos_are_listed() {
    let root = tempfile::tempdir().unwrap();
    let save = |name: &str, image: RgbImage| write(root.path(), name, image.to_png());
    let textured = |change: fn(u32) -> u32| image(200, 150, move |x, y| texture(x, y).map(change));
    save("a/fine.png", textured(|value| value));
    save("a/blank.png", image(200, 150, |_, _| [0; 3]));
    save("b/dark.png", textured(|value| value / 5));
    save("b/light.png", textured(|value| 255 - value / 32));
    // Light that grows from one corner to the other, without an edge anywhere.
    save("b/blurred.png", image(200, 150, |x, y| [x * 100 / 199 + y * 60 / 149; 3]));
    let report = report(root.path(), &Decoder::default());
    assert_eq!(cases(&report, "blank"), ["a/blank.png: 0.0 bits of entropy"]);
    assert_eq!(cases(&report, "nearly black"), ["b/dark.png: 99 % of it is darker than 18 % of white"]);
    assert_eq!(cases(&report, "nearly white"), ["b/light.png: 95 % of it is lighter than 98 % of white"]);
    let blurred = cases(&report, "blurred");
    assert!(blurred.len() == 1 && blurred[0].starts_with("b/blurred.png: sharpness 0."), "{blurred:?}");
    let json = serde_json::to_value(&report.inspection).unwrap();
    assert!(json["images"][0]["quality"]["entropy"].as_f64().is_some_and(|entropy| entropy == 0.0));
}

fn grey16(most: u32) -> Vec<u8> {
    let mut bytes = b"P5 60 40 65535\n".to_vec();
    let values = (0..60 * 40).map(|at| (at % 60 * 971 + at / 60 * 410) % (most + 1));
    values.for_each(|value| bytes.extend((value as u16).to_be_bytes()));
    bytes
}

#[test]
fn twelve_bits_in_sixteen_are_noticed_and_a_range_mends_them() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "a/1.pgm", grey16(4095));
    write(root.path(), "b/2.pgm", grey16(4000));
    write(root.path(), "b/3.png", crate::common::png(3));
    let seen = report(root.path(), &Decoder::default());
    let text = "2 images of more than 8 bits; the largest value in them is 4095: try the range 0,4095 (`value_range`)";
    assert_eq!(cases(&seen, "deeper than what they hold"), [text]);
    let dark = seen.findings().into_iter().find(|finding| finding.title == "nearly black").unwrap();
    assert_eq!(dark.cases.len(), 2);
    let channels = Channels { value_range: Some([0.0, 4095.0]), ..Channels::default() };
    let mended = report(root.path(), &Decoder { channels, ..Decoder::default() });
    assert_eq!(cases(&mended, "nearly black"), [""; 0]);
    // One file that uses all bits says that the others are dark of themselves.
    write(root.path(), "a/4.pgm", grey16(65535));
    let mixed = report(root.path(), &Decoder::default());
    assert_eq!(cases(&mixed, "deeper than what they hold"), [""; 0]);
    assert_eq!(cases(&mixed, "nearly black").len(), 2);
}

#[test]
fn pages_that_are_not_read_are_said() {
    let root = tempfile::tempdir().unwrap();
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/images");
    for name in ["pages.tif", "animated.gif", "rgb.gif", "rgb.tif"] {
        write(root.path(), &format!("a/{name}"), std::fs::read(images.join(name)).unwrap());
        write(root.path(), &format!("b/{name}.png"), crate::common::png(name.len() as u32));
    }
    let seen = report(root.path(), &Decoder::default());
    assert_eq!(cases(&seen, "pages or frames"), ["a/animated.gif has 2", "a/pages.tif has 3"]);
}
