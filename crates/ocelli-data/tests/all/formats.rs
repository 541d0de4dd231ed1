//! What people bring beside JPEG and PNG: every kind of TIFF, Netpbm, HEIC; and what is refused by name.
//!
//! The files of `tests/images` were written by tifffile, Pillow and libheif (see `formats.py`) from the picture of
//! `decode.rs`, which `rgb.png` and `grey.png` hold.

use std::path::{Path, PathBuf};

use crate::common::write;
use ocelli_data::source::{folder, list};
use ocelli_data::{Channels, DataError, DecodeError, Decoder, Format, RgbImage};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/images").join(name)
}

fn bytes(name: &str) -> Vec<u8> {
    std::fs::read(file(name)).unwrap()
}

/// The pixels of a PNG as the `image` crate has them.
fn png(name: &str) -> Vec<u8> {
    image::load_from_memory(&bytes(name)).unwrap().to_rgb8().into_raw()
}

fn decode(name: &str) -> RgbImage {
    Decoder::default().decode_file(file(name)).unwrap_or_else(|error| panic!("{error}"))
}

fn with(channels: Channels) -> Decoder {
    Decoder { channels, ..Decoder::default() }
}

fn bands(bands: [u16; 3]) -> Decoder {
    with(Channels { bands: Some(bands), ..Channels::default() })
}

fn range(low: f64, high: f64) -> Decoder {
    with(Channels { value_range: Some([low, high]), ..Channels::default() })
}

/// The largest difference, and the mean of all.
fn differences(image: &RgbImage, expected: &[u8], name: &str) -> (u8, f64) {
    assert_eq!((image.width(), image.height()), (37, 29), "{name}");
    let differences: Vec<u8> = image.pixels().iter().zip(expected).map(|(a, b)| a.abs_diff(*b)).collect();
    let mean = differences.iter().map(|&it| f64::from(it)).sum::<f64>() / differences.len() as f64;
    (differences.into_iter().max().unwrap(), mean)
}

/// Over white, fading from right to left.
fn faded(pixels: &[u8]) -> Vec<u8> {
    let fade = |(at, &value): (usize, &u8)| {
        let alpha = (at / 3 % 37) * 255 / 36;
        ((usize::from(value) * alpha + 255 * (255 - alpha)) as f64 / 255.0).round() as u8
    };
    pixels.iter().enumerate().map(fade).collect()
}

#[test]
fn colours_of_any_depth_and_layout_are_read_exactly() {
    let expected = png("rgb.png");
    let names = [
        "rgb16.tif",
        "rgb16_big_endian.tif",
        "float32.tif",
        "float16.tif",
        "zstd.tif",
        "tiled.tif",
        "planar.tif",
        "tiled_planar.tif",
        "tiled_planar16.tif",
        "big_tiff.tif",
        "pages.tif",
        "near_infrared.tif",
        "rgb.ppm",
        "text.ppm",
        "rgb.pfm",
    ];
    for name in names {
        assert_eq!(differences(&decode(name), &expected, name), (0, 0.0), "{name}");
    }
}

#[test]
fn grey_of_any_depth_is_read_exactly() {
    let expected = png("grey.png");
    let names = [
        "grey32.tif",
        "grey_signed16.tif",
        "grey_signed8.tif",
        "grey12.tif",
        "float64.tif",
        "white_is_zero.tif",
        "grey.pgm",
        "grey16.pgm",
        "grey12.pgm",
        "grey_big_endian.pfm",
    ];
    for name in names {
        assert_eq!(differences(&decode(name), &expected, name), (0, 0.0), "{name}");
    }
    let sixteen: Vec<u8> = expected.iter().map(|value| value / 16 * 17).collect();
    assert_eq!(differences(&decode("palette4.tif"), &sixteen, "palette4.tif"), (0, 0.0));
}

#[test]
fn black_and_white_by_bits_and_by_text() {
    let expected: Vec<u8> = png("grey.png").iter().map(|value| if *value >= 128 { 255 } else { 0 }).collect();
    for name in ["one_bit.pbm", "text.pbm"] {
        assert_eq!(differences(&decode(name), &expected, name), (0, 0.0), "{name}");
    }
}

#[test]
fn lossy_and_subsampled_colours_are_read_closely() {
    let expected = png("rgb.png");
    for (name, mean) in
        [("ycbcr.tif", 3.5), ("jpeg_rgb.tif", 3.0), ("jpeg_tiled.tif", 5.0), ("photo.heic", 3.0)]
    {
        let found = differences(&decode(name), &expected, name).1;
        assert!(found <= mean, "{name}: {found}");
    }
}

#[test]
fn transparency_shows_white() {
    let expected = faded(&png("rgb.png"));
    assert_eq!(differences(&decode("alpha.pam"), &expected, "alpha.pam"), (0, 0.0));
    // Colours multiplied by alpha were rounded once more.
    assert!(differences(&decode("alpha_multiplied.tif"), &expected, "alpha_multiplied.tif").0 <= 1);
    assert!(differences(&decode("alpha.heic"), &expected, "alpha.heic").1 <= 3.0);
}

#[test]
fn bands_are_chosen() {
    // Blue, green, red, 255 − red, green / 2.
    let rgb = png("rgb.png");
    let swap = |pixel: &[u8; 3]| [pixel[2], pixel[1], pixel[0]];
    let swapped: Vec<u8> = rgb.as_chunks().0.iter().flat_map(swap).collect();
    for name in ["five_bands.tif", "five_bands_planar.tif"] {
        assert_eq!(decode(name).pixels(), swapped, "{name}: the first three");
        let image = bands([3, 2, 1]).decode(&bytes(name)).unwrap();
        assert_eq!(image.pixels(), rgb, "{name}");
        let image = bands([4, 5, 4]).decode(&bytes(name)).unwrap();
        let other = |pixel: &[u8; 3]| {
            let half = (u32::from(pixel[1]) * 257 / 2 + 128) / 257;
            [255 - pixel[0], half as u8, 255 - pixel[0]]
        };
        let expected: Vec<u8> = rgb.as_chunks().0.iter().flat_map(other).collect();
        assert!(differences(&image, &expected, name).0 <= 1, "{name}");
        let error = bands([4, 3, 6]).decode(&bytes(name)).unwrap_err().to_string();
        assert_eq!(error, "has 5 bands (TIFF), but band 6 is selected; choose from 1 to 5");
    }
    let infrared = bands([4, 1, 2]).decode(&bytes("near_infrared.tif")).unwrap();
    let pixel: [u8; 3] = infrared.pixels()[3 * 36..][..3].try_into().unwrap();
    assert_eq!(pixel, [255, rgb[3 * 36], rgb[3 * 36 + 1]]);
    // Images of three bands have them in any order, and no fourth.
    for name in ["rgb.png", "rgb.ppm", "lossless.webp", "rgb.bmp", "rgb.tif", "cmyk.tif"] {
        assert_eq!(bands([3, 2, 1]).decode(&bytes(name)).unwrap().pixels(), swapped, "{name}");
        assert!(matches!(
            bands([4, 3, 2]).decode(&bytes(name)),
            Err(DecodeError::Band { band: 4, count: 3, .. })
        ));
    }
    let whole = bands([3, 2, 1]).decode(&bytes("baseline.jpg")).unwrap();
    let reduced = bands([3, 2, 1]).decode_for(&bytes("baseline.jpg"), 10).unwrap();
    assert!(reduced.width() < whole.width());
    let [a, b] = [whole.means(), reduced.means()];
    assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 6.0), "{a:?} {b:?}");
    // Grey is the same in all of them.
    let grey = bands([3, 2, 1]).decode(&bytes("grey.pgm")).unwrap();
    assert_eq!(grey.pixels(), png("grey.png"));
}

#[test]
fn a_range_gives_deep_samples_their_meaning() {
    let (grey, rgb) = (png("grey.png"), png("rgb.png"));
    // Floats from 0 to 255 have no meaning of themselves.
    let error = Decoder::default().decode(&bytes("float_beyond.tif")).unwrap_err().to_string();
    assert!(error.contains("its floats go from 0 to 255") && error.contains("range"), "{error}");
    assert_eq!(range(0.0, 255.0).decode(&bytes("float_beyond.tif")).unwrap().pixels(), grey);
    // A half of 16 bits is all that there is: twice as light, and cut off.
    let lighter = |pixels: &[u8]| -> Vec<u8> { pixels.iter().map(|value| value.saturating_mul(2)).collect() };
    let half = range(0.0, 32767.5);
    for name in ["rgb16.tif", "rgb16.png", "tiled_planar16.tif"] {
        assert!(differences(&half.decode(&bytes(name)).unwrap(), &lighter(&rgb), name).0 <= 1, "{name}");
    }
    for name in ["grey16.pgm", "grey16.png", "grey16.tif"] {
        assert!(differences(&half.decode(&bytes(name)).unwrap(), &lighter(&grey), name).0 <= 1, "{name}");
    }
    // Samples of 8 bits are what they are.
    for name in ["rgb.tif", "rgb.png", "rgb.ppm"] {
        assert_eq!(half.decode(&bytes(name)).unwrap().pixels(), rgb, "{name}");
    }
}

#[test]
fn formats_sizes_and_pages_are_probed() {
    for (name, format, channels, bits, frames) in [
        ("rgb.ppm", Format::Pnm, 3, 8, 1),
        ("one_bit.pbm", Format::Pnm, 1, 1, 1),
        ("grey12.pgm", Format::Pnm, 1, 12, 1),
        ("rgb.pfm", Format::Pnm, 3, 32, 1),
        ("alpha.pam", Format::Pnm, 4, 8, 1),
        ("grey12.tif", Format::Tiff, 1, 12, 1),
        ("big_tiff.tif", Format::Tiff, 3, 8, 1),
        ("five_bands.tif", Format::Tiff, 5, 16, 1),
        ("pages.tif", Format::Tiff, 3, 8, 3),
        ("photo.heic", Format::Heic, 3, 8, 1),
        ("animated.gif", Format::Gif, 4, 8, 2),
        ("animated.png", Format::Png, 3, 8, 2),
        ("animated.webp", Format::WebP, 3, 8, 2),
        ("rgb.gif", Format::Gif, 4, 8, 1),
    ] {
        let probe = Decoder::default().probe(&bytes(name)).unwrap();
        assert_eq!((probe.format, probe.width, probe.height), (format, 37, 29), "{name}");
        assert_eq!(
            (probe.colour.channels, probe.colour.bits, probe.frames),
            (channels, bits, frames),
            "{name}"
        );
        assert_eq!(Format::of(&bytes(name)[..Format::MAGIC_LEN]), Some(format), "{name}");
    }
}

/// One directory of short and long values, `(tag, kind, value)`, at an offset.
fn directory(at: u32, entries: &[(u16, u16, u32)], next: u32) -> Vec<u8> {
    let mut bytes = vec![];
    bytes.extend((entries.len() as u16).to_le_bytes());
    for &(tag, kind, value) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        bytes.extend(1u32.to_le_bytes());
        bytes.extend(value.to_le_bytes());
    }
    bytes.extend(next.to_le_bytes());
    assert!(at.is_multiple_of(2));
    bytes
}

/// A TIFF file whose first image is a small one, whole and readable, with a second below or after it.
fn with_preview(first: &[(u16, u16, u32)], second: &[(u16, u16, u32)], below: bool) -> Vec<u8> {
    let small = [
        (256, 4, 4),
        (257, 4, 4),
        (258, 3, 8),
        (262, 3, 1),
        (273, 4, 8),
        (277, 3, 1),
        (278, 4, 4),
        (279, 4, 16),
    ];
    let second_at = 24;
    let mut second = second.to_vec();
    second.sort();
    let second_bytes = directory(second_at, &second, 0);
    let first_at = second_at + second_bytes.len() as u32;
    let mut entries = [&small, first].concat();
    if below {
        entries.push((330, 4, second_at));
    }
    entries.sort();
    let mut bytes = b"II*\0".to_vec();
    bytes.extend(first_at.to_le_bytes());
    bytes.extend([128; 16]);
    bytes.extend(second_bytes);
    bytes.extend(directory(first_at, &entries, if below { 0 } else { second_at }));
    bytes
}

/// `Make`: three letters and an end fit into the field.
const MAKE: (u16, u16, u32) = (271, 2, u32::from_le_bytes(*b"Nik\0"));
const REDUCED: (u16, u16, u32) = (254, 4, 1);

#[test]
fn camera_raw_is_refused_by_name_and_its_preview_is_not_read() {
    let whole = [(254, 4, 0), (256, 4, 4000), (257, 4, 3000), (262, 3, 1)];
    let sensor = [(254, 4, 0), (256, 4, 4000), (257, 4, 3000), (262, 3, 32803)];
    // Make is bytes, and directory() writes a count of 1: enough to be there.
    let files = [
        ("a preview, and the whole below", with_preview(&[REDUCED, MAKE], &whole, true)),
        ("a sensor's values below", with_preview(&[], &sensor, true)),
        ("a sensor's values after", with_preview(&[], &sensor, false)),
        ("DNG", with_preview(&[(50706, 1, 0x0104)], &whole, true)),
        ("CR2", [b"II*\0\x10\0\0\0CR\x02\0".to_vec(), vec![0; 64]].concat()),
        ("ORF", [b"IIRO\x08\0\0\0".to_vec(), vec![0; 64]].concat()),
        ("RW2", [b"IIU\0\x18\0\0\0".to_vec(), vec![0; 64]].concat()),
        ("RAF", [b"FUJIFILMCCD-RAW 0201".to_vec(), vec![0; 64]].concat()),
        ("CR3", [b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom".to_vec(), vec![0; 64]].concat()),
    ];
    for (name, bytes) in &files {
        for error in [Decoder::default().decode(bytes), Decoder::default().decode_for(bytes, 32)]
            .map(Result::unwrap_err)
        {
            assert!(matches!(error, DecodeError::Foreign { .. }), "{name}: {error}");
            let error = error.to_string();
            assert!(
                error.starts_with("is a camera's raw file, ") && error.contains("develop"),
                "{name}: {error}"
            );
        }
        assert!(Decoder::default().probe(bytes).is_err(), "{name}");
    }
    // Nothing but the name tells this one.
    let plain = with_preview(&[], &whole, true);
    let folder = tempfile::tempdir().unwrap();
    for name in ["photo.NEF", "photo.dng", "photo.arw"] {
        write(folder.path(), name, &plain);
        let error = Decoder::default().decode_file(folder.path().join(name)).unwrap_err().to_string();
        assert!(error.contains("a camera's raw file"), "{error}");
    }
    // TIFF files are read: as scans, with smaller versions below, of cameras, and whatever they are called.
    for (name, bytes) in [
        ("scan.tif", &plain),
        ("camera.tif", &with_preview(&[MAKE], &[REDUCED], true)),
        ("pyramid.tiff", &with_preview(&[], &[REDUCED], true)),
        ("pages.tif", &with_preview(&[MAKE], &whole, false)),
    ] {
        write(folder.path(), name, bytes);
        let image = Decoder::default().decode_file(folder.path().join(name)).unwrap();
        assert_eq!((image.width(), image.pixels()), (4, &[128; 48][..]), "{name}");
    }
}

#[test]
fn other_formats_are_refused_by_name_with_what_to_do() {
    let dicom = [vec![0; 128], b"DICM\x02\0".to_vec(), vec![0; 200]].concat();
    for (kind, remedy, bytes) in [
        ("a DICOM image", "dcm2img", dicom),
        ("an AVIF image", "avifdec", b"\0\0\0\x20ftypavif\0\0\0\0avifmif1miafMA1B".to_vec()),
        ("an AVIF image", "avifdec", b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf....".to_vec()),
        ("a JPEG XL image", "djxl", b"\xFF\x0A\x00\x10...............".to_vec()),
        ("a JPEG 2000 image", "magick", b"\0\0\0\x0CjP  \r\n\x87\n.........".to_vec()),
        ("a Photoshop image", "magick", b"8BPS\0\x01.................".to_vec()),
        ("an OpenEXR image", "magick", b"\x76\x2F\x31\x01..................".to_vec()),
        ("a video", "ffmpeg", b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom".to_vec()),
        ("a video", "ffmpeg", b"\x1A\x45\xDF\xA3\x01\0\0\0\0\0\0\x1F........".to_vec()),
        ("a video (AVI)", "ffmpeg", b"RIFF\0\0\0\0AVI LIST........".to_vec()),
    ] {
        let error = Decoder::default().decode(&bytes).unwrap_err().to_string();
        assert!(error.starts_with(&format!("is {kind}")) && error.contains("which is not read; "), "{error}");
        assert!(error.contains(remedy), "{error}");
    }
    let error = Decoder::default().decode(b"%PDF-1.7 and more").unwrap_err().to_string();
    assert!(error.contains("known format") && error.contains("PNM") && error.contains("HEIC"), "{error}");
}

#[test]
fn a_folder_says_what_it_does_not_read() {
    let root = tempfile::tempdir().unwrap();
    let photo = crate::common::png(1);
    write(root.path(), "cats/1.png", &photo);
    write(root.path(), "dogs/2.png", &photo);
    write(root.path(), "cats/3.ppm", bytes("rgb.ppm"));
    write(root.path(), "dogs/4.heic", bytes("photo.heic"));
    write(root.path(), "cats/5.nef", with_preview(&[REDUCED, MAKE], &[(254, 4, 0)], true));
    write(root.path(), "dogs/6.avif", b"\0\0\0\x20ftypavif\0\0\0\0avifmif1miafMA1B");
    write(root.path(), "dogs/7.heic", b"no image");
    write(root.path(), "dogs/8.dcm", b"an old one without a preamble");
    write(root.path(), "dogs/notes.txt", b"no image, and not meant as one");
    let data = folder::read(root.path()).unwrap();
    let names: Vec<&str> = data.items.items.iter().map(|item| item.id.as_str()).collect();
    assert_eq!(names, ["cats/1.png", "cats/3.ppm", "dogs/2.png", "dogs/4.heic"]);
    let reason = |name: &str| {
        let skipped = data.skipped.iter().find(|skipped| skipped.path.ends_with(name)).unwrap();
        (skipped.reason.as_str(), skipped.is_image)
    };
    assert!(reason("5.nef").0.starts_with("is a camera's raw file") && reason("5.nef").1);
    assert!(reason("6.avif").0.starts_with("is an AVIF image") && reason("6.avif").1);
    assert_eq!(reason("7.heic"), ("named .heic, but its content is no image", true));
    assert!(reason("8.dcm").0.starts_with("is a DICOM image") && reason("8.dcm").1);
    assert_eq!(reason("notes.txt"), ("not an image", false));
    // A file that is given by name is refused when it is decoded.
    let given = list::read([root.path().join("cats/5.nef")]).unwrap();
    let error = Decoder::default().decode_file_for(&given.items[0].path, 32).unwrap_err();
    assert!(matches!(error, DataError::BadImage { reason: DecodeError::Foreign { .. }, .. }), "{error}");
    // A class of nothing else is no class without a word.
    write(root.path(), "birds/9.arw", with_preview(&[REDUCED, MAKE], &[(254, 4, 0)], true));
    let data = folder::read(root.path()).unwrap();
    let birds = data.losses.iter().find(|loss| loss.class == "birds").unwrap();
    assert!(birds.usable == 0 && birds.lost[0].reason.contains("raw file"), "{birds:?}");
}

/// Files that break off anywhere are errors, and none panics.
#[test]
fn truncated_files_are_errors() {
    let names = [
        "rgb16.tif",
        "grey32.tif",
        "float32.tif",
        "grey12.tif",
        "zstd.tif",
        "tiled_planar.tif",
        "big_tiff.tif",
        "five_bands.tif",
        "jpeg_tiled.tif",
        "palette4.tif",
        "ycbcr.tif",
        "white_is_zero.tif",
        "grey_signed16.tif",
        "rgb.ppm",
        "text.ppm",
        "text.pbm",
        "one_bit.pbm",
        "grey16.pgm",
        "alpha.pam",
        "rgb.pfm",
        "photo.heic",
    ];
    for name in names {
        let whole = bytes(name);
        for part in [1, 5, 9, 20, whole.len() / 4, whole.len() / 2, whole.len() * 3 / 4, whole.len() - 40] {
            if let Err(error) = Decoder::default().decode(&whole[..part]) {
                let error = error.to_string();
                assert!(!error.contains("gave up") && !error.contains('\n'), "{name} {part}: {error}");
            } else {
                // What is missing here may be what is not read: the directory's end, or a trailing part of a stream.
                assert!(part > whole.len() / 2, "{name} {part}");
            }
        }
    }
}

/// A header's word for a size is not believed: nothing is allocated for pixels that cannot be there.
#[test]
fn sizes_are_held_against_the_bytes_there_are() {
    for text in [
        "P5 100000 1000 255\n",
        "P4 1000000 100\n",
        "P3 10000 10000 255\n1 2 3",
        "PF\n10000 10000 -1.0\nabcd",
    ] {
        let error = Decoder::default().decode(text.as_bytes()).unwrap_err().to_string();
        assert_eq!(error, "is damaged (PNM): it breaks off", "{text}");
    }
    let error = Decoder::default().decode(b"P5 4000000000 4000000000 255\n").unwrap_err();
    assert!(matches!(error, DecodeError::TooLarge { .. }), "{error}");
    let header = "P7\nWIDTH 10\nHEIGHT 10\nDEPTH 60000\nMAXVAL 65535\nENDHDR\n";
    assert!(Decoder::default().decode(header.as_bytes()).is_err());
    for compression in [1, 5, 8, 32773] {
        let sides = [(256, 4, 12000), (257, 4, 12000), (258, 3, 8), (259, 3, compression), (262, 3, 1)];
        let strips = [(273, 4, 8), (277, 3, 1), (278, 4, 12000), (279, 4, 16)];
        let mut file = b"II*\0\x18\0\0\0".to_vec();
        file.extend([0; 16]);
        file.extend(directory(24, &[&sides[..], &strips[..]].concat(), 0));
        let error = Decoder::default().decode(&file).unwrap_err().to_string();
        assert!(error.contains("breaks off"), "{compression}: {error}");
    }
    // A chain of pages that bites its own tail is counted once.
    let mut file = bytes("rgb.tif");
    let at = u32::from_le_bytes(file[4..8].try_into().unwrap()) as usize;
    let entries = usize::from(u16::from_le_bytes(file[at..at + 2].try_into().unwrap()));
    let next = at + 2 + 12 * entries;
    file.splice(next..next + 4, (at as u32).to_le_bytes());
    assert_eq!(Decoder::default().probe(&file).unwrap().frames, 1);
}

/// What LittleCMS makes of the profiles, in PNG, WebP, TIFF, JPEG and HEIC.
#[test]
fn colours_of_other_spaces_become_srgb() {
    let (plain, p3, adobe) = (png("rgb.png"), png("display_p3_in_srgb.png"), png("adobe_rgb_in_srgb.png"));
    for (name, expected) in [
        ("display_p3.png", &p3),
        ("adobe_rgb.png", &adobe),
        ("adobe_rgb.webp", &adobe),
        ("adobe_rgb.tif", &adobe),
    ] {
        let image = decode(name);
        assert!(differences(&image, &plain, name).1 > 2.0, "{name}: the profile does something");
        let (largest, mean) = differences(&image, expected, name);
        assert!(largest <= 2 && mean < 0.3, "{name}: {largest} {mean}");
    }
    for name in ["adobe_rgb.jpg", "adobe_rgb.heic"] {
        let found = differences(&decode(name), &adobe, name).1;
        assert!(found < 3.0, "{name}: {found}");
    }
    let jpeg = bytes("adobe_rgb.jpg");
    let reduced = Decoder::default().decode_for(&jpeg, 10).unwrap();
    let [a, b] = [Decoder::default().decode(&jpeg).unwrap().means(), reduced.means()];
    assert!(reduced.width() < 37 && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 6.0), "{a:?} {b:?}");
    // sRGB under another name changes nothing.
    assert_eq!(decode("srgb_profile.png").pixels(), plain);
    // Nor does what is no profile: the photo is read.
    let start = jpeg.windows(12).position(|window| window == b"ICC_PROFILE\0").unwrap();
    let mut damaged = jpeg.clone();
    damaged[start + 14..start + 300].fill(0xA5);
    let without = jpeg[..start - 4]
        .iter()
        .chain(&jpeg[start - 2 + usize::from(u16::from_be_bytes([jpeg[start - 2], jpeg[start - 1]]))..]);
    let without: Vec<u8> = without.copied().collect();
    let [damaged, without] = [damaged, without].map(|bytes| Decoder::default().decode(&bytes).unwrap());
    assert!(damaged == without && differences(&without, &plain, "without").1 < 2.5);
}

/// A TIFF of one tile or strip, little-endian: tags of one number, or of bits a sample.
fn tiff(tags: &[(u16, u32)], bits: &[u16], data: &[u8]) -> Vec<u8> {
    let start = 8 + 2 + 12 * (tags.len() as u32 + 2) + 4;
    let mut entries: Vec<[u8; 12]> = Vec::new();
    let entry = |tag: u16, kind: u16, count: u32, value: u32| {
        let mut bytes = [0; 12];
        bytes[..2].copy_from_slice(&tag.to_le_bytes());
        bytes[2..4].copy_from_slice(&kind.to_le_bytes());
        bytes[4..8].copy_from_slice(&count.to_le_bytes());
        bytes[8..].copy_from_slice(&value.to_le_bytes());
        bytes
    };
    let offsets = if tags.iter().any(|(tag, _)| *tag == 322) { 324 } else { 273 };
    entries.push(entry(258, 3, bits.len() as u32, start));
    entries.push(entry(offsets, 4, 1, start + 2 * bits.len() as u32));
    entries.extend(tags.iter().map(|&(tag, value)| entry(tag, 4, 1, value)));
    entries.sort();
    entries.sort_by_key(|entry| u16::from_le_bytes([entry[0], entry[1]]));
    let mut file = b"II*\0\x08\0\0\0".to_vec();
    file.extend((entries.len() as u16).to_le_bytes());
    entries.iter().for_each(|entry| file.extend(entry));
    file.extend([0; 4]);
    bits.iter().for_each(|bits| file.extend(bits.to_le_bytes()));
    file.extend(data);
    file
}

#[test]
fn a_range_is_of_colours_and_not_of_opacity() {
    // A dark pixel, at half the range, and half opaque.
    let samples = [1000u16, 1000, 1000, 32768];
    let little: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    let tags = [(256, 1), (257, 1), (259, 1), (262, 2), (277, 4), (278, 1), (338, 2)];
    let tiff = tiff(&tags, &[16; 4], &little);
    let mut pam = b"P7\nWIDTH 1\nHEIGHT 1\nDEPTH 4\nMAXVAL 65535\nTUPLTYPE RGB_ALPHA\nENDHDR\n".to_vec();
    pam.extend(samples.iter().flat_map(|sample| sample.to_be_bytes()));
    let mut png = std::io::Cursor::new(Vec::new());
    image::ImageBuffer::<image::Rgba<u16>, _>::from_raw(1, 1, samples.to_vec())
        .map(|pixel| image::DynamicImage::ImageRgba16(pixel).write_to(&mut png, image::ImageFormat::Png))
        .unwrap()
        .unwrap();
    for (name, file) in [("TIFF", &tiff), ("PAM", &pam), ("PNG", png.get_ref())] {
        let image = range(0.0, 2000.0).decode(file).unwrap_or_else(|error| panic!("{name}: {error}"));
        let value = image.pixels()[0];
        // 128 · 0.5 + 255 · 0.5
        assert!((190..=193).contains(&value), "{name}: {value}");
        let image = Decoder::default().decode(file).unwrap();
        assert!((128..=131).contains(&image.pixels()[0]), "{name}: {:?}", image.pixels());
    }
}

#[test]
fn a_tile_is_no_larger_than_the_file_can_hold() {
    // 16 pixels, in one tile of four hundred million.
    let tags = [(256, 4), (257, 4), (259, 8), (262, 2), (277, 3), (322, 100_000_000), (323, 4)];
    let error = Decoder::default().decode(&tiff(&tags, &[8; 3], &[0x78, 0x9c, 1, 2, 3])).unwrap_err();
    assert!(error.to_string().contains("far fewer bytes than one of its strips or tiles"), "{error}");
}
