//! Files written by real encoders, and damaged ones, become the pixels that were meant.
//!
//! The files of `tests/images` were written by Pillow (`ycck.jpg` by libjpeg-turbo) from one picture that is a formula
//! (see [`picture`]).

use std::path::{Path, PathBuf};

use ocelli_data::{DataError, DecodeError, Decoder, Format, RgbImage};

const WIDTH: usize = 37;
const HEIGHT: usize = 29;

/// Three gradients, and a mark near the upper left corner that shows which way is up.
fn picture() -> Vec<u8> {
    let mut pixels = Vec::new();
    for y in 0..HEIGHT {
        for x in 0..WIDTH {
            let marked = (2..8).contains(&y) && (3..13).contains(&x);
            let ramps = [x * 255 / (WIDTH - 1), y * 255 / (HEIGHT - 1), (x + y) * 255 / (WIDTH + HEIGHT - 2)];
            pixels.extend(if marked { [250, 20, 30] } else { ramps.map(|value| value as u8) });
        }
    }
    pixels
}

fn grey_picture() -> Vec<u8> {
    let grey =
        |p: &[u8]| (299 * u32::from(p[0]) + 587 * u32::from(p[1]) + 114 * u32::from(p[2]) + 500) / 1000;
    picture().chunks_exact(3).flat_map(|pixel| [grey(pixel) as u8; 3]).collect()
}

/// The picture fading into white from right to left.
fn faded(pixels: Vec<u8>) -> Vec<u8> {
    let fade = |(at, value): (usize, u8)| {
        let alpha = (at / 3 % WIDTH) * 255 / (WIDTH - 1);
        ((usize::from(value) * alpha + 255 * (255 - alpha)) as f64 / 255.0).round() as u8
    };
    pixels.into_iter().enumerate().map(fade).collect()
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/images").join(name)
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(file(name)).unwrap()
}

fn decode(name: &str) -> RgbImage {
    Decoder::default().decode_file(file(name)).unwrap()
}

/// Mean absolute difference from `expected`, in units of 0..=255.
fn difference(name: &str, expected: &[u8]) -> f64 {
    let image = decode(name);
    assert_eq!((image.width() as usize, image.height() as usize), (WIDTH, HEIGHT), "{name}");
    let sum: f64 =
        image.pixels().iter().zip(expected).map(|(&a, &b)| (f64::from(a) - f64::from(b)).abs()).sum();
    sum / expected.len() as f64
}

#[test]
fn lossless_files_are_read_exactly() {
    let names = [
        "rgb.png",
        "rgb16.png",
        "interlaced.png",
        "animated.png",
        "lossless.webp",
        "animated.webp",
        "rgb.bmp",
        "rgb.tif",
        "lzw.tif",
        "deflate.tif",
        "packbits.tif",
        "cmyk.tif",
    ];
    for name in names {
        assert_eq!(difference(name, &picture()), 0.0, "{name}");
    }
}

#[test]
fn lossy_files_are_read_closely() {
    let names = [
        ("baseline.jpg", 2.0),
        ("progressive.jpg", 4.5),
        ("420.jpg", 4.5),
        ("422.jpg", 4.0),
        ("411.jpg", 6.0),
        ("restart.jpg", 4.5),
        ("rgb.jpg", 2.0),
        ("cmyk.jpg", 2.0),
        ("ycck.jpg", 2.0),
        ("lossy.webp", 8.0),
        ("jpeg.tif", 5.0),
        ("rgb.gif", 9.0),
        ("animated.gif", 9.0),
        ("palette.png", 15.5),
        ("palette.bmp", 15.5),
        ("optimized.jpg", 10.0),
    ];
    for (name, tolerance) in names {
        let difference = difference(name, &picture());
        assert!(difference <= tolerance, "{name}: {difference}");
    }
}

#[test]
fn grey_becomes_rgb() {
    for name in ["grey.png", "grey16.png", "grey.bmp", "grey.tif", "grey16.tif", "grey.jpg"] {
        let difference = difference(name, &grey_picture());
        assert!(difference <= if name.ends_with("jpg") { 2.0 } else { 0.5 }, "{name}: {difference}");
    }
}

#[test]
fn black_and_white_becomes_rgb() {
    for name in ["one_bit.png", "one_bit.bmp", "one_bit_g4.tif"] {
        let image = decode(name);
        assert!(image.pixels().iter().all(|value| [0, 255].contains(value)), "{name}");
        assert_eq!(image.pixels(), decode("one_bit.png").pixels(), "{name}");
        let white = image.pixels().iter().filter(|&&value| value == 255).count() as f64;
        let light: f64 = grey_picture().iter().map(|&value| f64::from(value) / 255.0).sum();
        assert!((white / light - 1.0).abs() < 0.05, "{name}: {white} white values, {light} expected");
    }
}

#[test]
fn transparency_shows_white() {
    for name in ["alpha.png", "alpha.webp", "alpha.tif"] {
        assert!(difference(name, &faded(picture())) < 0.01, "{name}");
    }
    assert!(difference("grey_alpha.png", &faded(grey_picture())) < 0.5);

    let (opaque, transparent) = (decode("palette.png"), decode("palette_transparent.png"));
    let changed = opaque.pixels().chunks(3).zip(transparent.pixels().chunks(3)).filter(|(a, b)| a != b);
    let changed: Vec<_> = changed.map(|(_, b)| b).collect();
    assert!(!changed.is_empty() && changed.iter().all(|pixel| *pixel == [255; 3]));
}

#[test]
fn every_exif_orientation_is_turned_upright() {
    for orientation in 1..=8 {
        let name = format!("exif{orientation}.jpg");
        let difference = difference(&name, &picture());
        assert!(difference <= 1.5, "{name}: {difference}");
    }
    for name in ["exif3.png", "exif6.png", "exif3.webp", "exif6.webp", "exif3.tif", "exif6.tif"] {
        assert_eq!(difference(name, &picture()), 0.0, "{name}");
    }
}

#[test]
fn tiny_and_long_images_are_read() {
    for name in ["1x1.png", "1x1.jpg"] {
        let image = decode(name);
        assert_eq!((image.width(), image.height()), (1, 1), "{name}");
        for (found, expected) in image.pixels().iter().zip([250, 20, 30]) {
            assert!(found.abs_diff(expected) <= 4, "{name}: {:?}", image.pixels());
        }
    }
    let long = decode("long.png");
    assert_eq!((long.width(), long.height()), (10_000, 1));
}

#[test]
fn the_content_decides_not_the_name() {
    let folder = tempfile::tempdir().unwrap();
    let misnamed = folder.path().join("photo.jpg");
    std::fs::copy(file("rgb.png"), &misnamed).unwrap();
    assert_eq!(Decoder::default().decode_file(&misnamed).unwrap().pixels(), picture());
}

#[test]
fn the_pixel_limit_is_named() {
    let decoder = Decoder { max_pixels: 1000, ..Decoder::default() };
    for name in ["baseline.jpg", "rgb.png", "lossless.webp", "rgb.gif", "rgb.bmp", "rgb.tif"] {
        let error = decoder.decode(&bytes(name)).unwrap_err();
        assert!(
            matches!(error, DecodeError::TooLarge { width: 37, height: 29, limit: 1000 }),
            "{name}: {error:?}"
        );
        assert!(error.to_string().contains("37 × 29") && error.to_string().contains("1000"), "{error}");
    }
}

#[test]
fn a_header_that_promises_too_much_costs_no_memory() {
    // A PNG of 50,000 × 50,000 pixels with an empty body, and a JPEG whose size was changed to 65,500 × 65,500.
    let mut png = bytes("rgb.png");
    png[16..24].copy_from_slice(&[0, 0, 0xC3, 0x50, 0, 0, 0xC3, 0x50]);
    assert!(Decoder::default().decode(&png).is_err());

    let mut jpeg = bytes("baseline.jpg");
    let frame = jpeg.windows(2).position(|marker| marker == [0xFF, 0xC0]).unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0xFF, 0xDC, 0xFF, 0xDC]);
    assert!(matches!(Decoder::default().decode(&jpeg), Err(DecodeError::TooLarge { .. })));
}

#[test]
fn truncated_files_are_damaged() {
    let names =
        ["baseline.jpg", "progressive.jpg", "rgb.png", "lossless.webp", "rgb.bmp", "rgb.tif", "rgb.gif"];
    for name in names {
        let whole = bytes(name);
        for part in [whole.len() / 2, whole.len() * 3 / 4] {
            let result = Decoder::default().decode(&whole[..part]);
            assert!(result.is_err(), "{name} cut to {part} of {} bytes was read", whole.len());
        }
    }
}

#[test]
fn a_jpeg_with_an_error_in_the_middle_is_read_as_browsers_read_it() {
    let mut jpeg = bytes("restart.jpg");
    let scan = jpeg.windows(2).position(|marker| marker == [0xFF, 0xDA]).unwrap();
    let middle = scan + (jpeg.len() - scan) / 2;
    jpeg[middle..middle + 4].copy_from_slice(&[0x12, 0x34, 0x56, 0x78]);
    let image = Decoder::default().decode(&jpeg).unwrap();
    assert_eq!((image.width() as usize, image.height() as usize), (WIDTH, HEIGHT));
}

#[test]
fn errors_name_the_file_and_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("empty.jpg");
    std::fs::write(&path, b"").unwrap();
    let error = Decoder::default().decode_file(&path).unwrap_err();
    assert!(matches!(error, DataError::BadImage { reason: DecodeError::Empty, .. }));
    assert_eq!(error.to_string(), format!("{}: the file is empty", path.display()));

    std::fs::write(&path, b"<html>not found</html>").unwrap();
    let error = Decoder::default().decode_file(&path).unwrap_err();
    assert!(error.to_string().contains("is not an image in a known format"), "{error}");

    let error = Decoder::default().decode_file(folder.path().join("none.jpg")).unwrap_err();
    assert!(error.to_string().contains("none.jpg: cannot be read"), "{error}");
}

#[test]
fn formats_are_told_apart_by_their_first_bytes() {
    let names = [
        ("baseline.jpg", Format::Jpeg),
        ("rgb.png", Format::Png),
        ("lossy.webp", Format::WebP),
        ("rgb.gif", Format::Gif),
        ("rgb.bmp", Format::Bmp),
        ("rgb.tif", Format::Tiff),
    ];
    for (name, format) in names {
        assert_eq!(Format::of(&bytes(name)[..Format::MAGIC_LEN]), Some(format), "{name}");
    }
    assert_eq!(Format::of(b"%PDF-1.7"), None);
}

/// Mean absolute difference between the pixels of a reduced image and the means of the pixels they stand for;
/// those cut off by the border are left out.
fn reduced_difference(whole: &RgbImage, reduced: &RgbImage) -> f64 {
    let factor = (whole.width() as f64 / reduced.width() as f64).round() as usize;
    let (stride, small) = (whole.width() as usize, reduced.width() as usize);
    let (mut sum, mut count) = (0.0, 0);
    for y in 0..whole.height() as usize / factor {
        for x in 0..stride / factor {
            for channel in 0..3 {
                let part = (0..factor * factor).map(|at| {
                    let (x, y) = (x * factor + at % factor, y * factor + at / factor);
                    f64::from(whole.pixels()[(y * stride + x) * 3 + channel])
                });
                let mean = part.sum::<f64>() / (factor * factor) as f64;
                sum += (mean - f64::from(reduced.pixels()[(y * small + x) * 3 + channel])).abs();
                count += 1;
            }
        }
    }
    sum / f64::from(count)
}

/// A 601 × 403 JPEG of waves, written by another encoder with the given colour sampling and restart interval.
fn large_jpeg(sampling: jpeg_encoder::SamplingFactor, restart: u16, grey: bool) -> Vec<u8> {
    let (width, height) = (601u16, 403u16);
    let wave = |x: f32, y: f32| (128.0 + 60.0 * (x / 31.0).sin() + 60.0 * (y / 23.0).cos()) as u8;
    let mut pixels = Vec::new();
    for y in 0..height {
        for x in 0..width {
            let (x, y) = (f32::from(x), f32::from(y));
            pixels.push(wave(x, y));
            if !grey {
                pixels.extend([wave(y * 1.3, x * 0.8), wave(x + y, x)]);
            }
        }
    }
    let mut bytes = Vec::new();
    let mut encoder = jpeg_encoder::Encoder::new(&mut bytes, 90);
    encoder.set_sampling_factor(sampling);
    if restart > 0 {
        encoder.set_restart_interval(restart);
    }
    let colour = if grey { jpeg_encoder::ColorType::Luma } else { jpeg_encoder::ColorType::Rgb };
    encoder.encode(&pixels, width, height, colour).unwrap();
    bytes
}

#[test]
fn large_jpegs_are_decoded_at_a_reduced_size() {
    use jpeg_encoder::SamplingFactor::*;
    for (sampling, restart, grey) in [
        (R_4_4_4, 0, false),
        (R_4_2_0, 0, false),
        (R_4_2_2, 7, false),
        (R_4_4_0, 3, false),
        (R_4_4_4, 5, true),
    ] {
        let bytes = large_jpeg(sampling, restart, grey);
        let whole = Decoder::default().decode(&bytes).unwrap();
        for (needed, size) in
            [(40, (76, 51)), (100, (151, 101)), (201, (301, 202)), (202, (601, 403)), (1000, (601, 403))]
        {
            let reduced = Decoder::default().decode_for(&bytes, needed).unwrap();
            assert_eq!((reduced.width(), reduced.height()), size, "{sampling:?} for {needed}");
            let difference = reduced_difference(&whole, &reduced);
            // Colour that is stored at another scale in one direction only is read at the coarser one.
            let limit = if matches!(sampling, R_4_2_2 | R_4_4_0) { 6.0 } else { 1.5 };
            assert!(difference < limit, "{sampling:?} for {needed}: {difference}");
        }
    }
}

#[test]
fn reduced_photos_are_turned_upright() {
    for orientation in 1..=8 {
        let bytes = bytes(&format!("exif{orientation}.jpg"));
        let reduced = Decoder::default().decode_for(&bytes, 10).unwrap();
        assert_eq!((reduced.width(), reduced.height()), (19, 15), "{orientation}");
        let whole = RgbImage::new(WIDTH as u32, HEIGHT as u32, picture()).unwrap();
        let difference = reduced_difference(&whole, &reduced);
        // A mirrored image begins with the pixels that the border cut off; a wrong turn differs by 40 and more.
        assert!(difference < 12.0, "{orientation}: {difference}");
    }
}

#[test]
fn damaged_jpegs_fail_at_a_reduced_size_as_they_do_whole() {
    let bytes = large_jpeg(jpeg_encoder::SamplingFactor::R_4_2_0, 0, false);
    let cut = &bytes[..bytes.len() / 2];
    assert!(Decoder::default().decode_for(cut, 40).is_err());
    assert!(matches!(
        Decoder { max_pixels: 1000, ..Decoder::default() }.decode_for(&bytes, 40),
        Err(DecodeError::TooLarge { .. })
    ));
}

#[test]
fn photos_at_a_reduced_size_are_the_photos() {
    let Some(folder) = crate::common::shared("data/hymenoptera/train/ants") else { return };
    let mut differences = vec![Vec::new(); 9];
    for entry in std::fs::read_dir(folder).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap();
        let whole = Decoder::default().decode(&bytes).unwrap();
        for needed in [whole.width().min(whole.height()) / 8, 64, 128] {
            let reduced = Decoder::default().decode_for(&bytes, needed).unwrap();
            let factor = (f64::from(whole.width()) / f64::from(reduced.width())).round() as usize;
            differences[factor].push(reduced_difference(&whole, &reduced));
        }
    }
    // Against means of blocks: where light and dark are clipped the coefficients know more than the pixels.
    for factor in [2, 4, 8] {
        let (count, sum) = (differences[factor].len() as f64, differences[factor].iter().sum::<f64>());
        assert!(count > 50.0 && sum / count < 1.0, "1/{factor}: {} on average of {count}", sum / count);
        assert!(
            differences[factor].iter().all(|difference| *difference < 3.0),
            "1/{factor}: {:?}",
            differences[factor]
        );
    }
}
