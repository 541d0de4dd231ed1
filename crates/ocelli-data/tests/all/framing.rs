//! Framed photos are what Pillow makes of them, and every framing keeps what it promises.

use crate::common::shared;
use ocelli_data::{Decoder, Filter, Framing, Normalization, Preprocessing, RgbImage};
use proptest::prelude::*;
use serde::Deserialize;

/// Pillow's resizing of [`noise`], every seventh value.
#[test]
fn resizing_gives_pillows_values() {
    #[derive(Deserialize)]
    struct Golden {
        width: u32,
        height: u32,
        size: usize,
        filter: Filter,
        pixels: Vec<u8>,
    }
    let golden: Vec<Golden> = serde_json::from_str(include_str!("../golden/pillow_resize.json")).unwrap();
    for Golden { width, height, size, filter, pixels } in golden {
        let framed = preprocessing(size, Framing::Squish, filter).frame(&noise(width, height)).unwrap();
        assert!(framed.pixels().iter().step_by(7).eq(&pixels), "{width} × {height} to {size}, {filter:?}");
    }
}

/// What torchvision's `Resize` and `CenterCrop`, and Pillow's `ImageOps.pad`, make of [`noise`] of 60 sizes: every 23rd
/// value, and the sum of all. (Of 33 the longer side ends in a half pixel or more, which torchvision drops.)
#[test]
fn sizes_and_places_are_rounded_as_torchvision_and_pillow_do() {
    #[derive(Deserialize)]
    struct Golden {
        width: u32,
        height: u32,
        size: usize,
        fraction: f64,
        filter: Filter,
        crop: Vec<u8>,
        crop_sum: u64,
        pad: Vec<u8>,
        pad_sum: u64,
    }
    let golden: Vec<Golden> =
        serde_json::from_str(include_str!("../golden/torchvision_framing.json")).unwrap();
    assert_eq!(golden.len(), 60);
    for Golden { width, height, size, fraction, filter, crop, crop_sum, pad, pad_sum } in golden {
        let image = noise(width, height);
        for (framing, pixels, sum) in
            [(Framing::Crop { fraction }, crop, crop_sum), (Framing::Pad, pad, pad_sum)]
        {
            let framed = preprocessing(size, framing, filter).frame(&image).unwrap();
            let name = format!("{width} × {height} to {size}, {framing:?}, {filter:?}");
            assert!(framed.pixels().iter().step_by(23).eq(&pixels), "{name}");
            assert_eq!(framed.pixels().iter().map(|&value| u64::from(value)).sum::<u64>(), sum, "{name}");
        }
    }
}

/// A JPEG decoded at a part of its size is framed as the whole photo is: the part that is cut off, and the size it is
/// resized to, are those of the photo, not of its rounded half, quarter or eighth.
#[test]
fn a_reduced_photo_is_framed_as_the_whole_one() {
    for (width, height) in [(1201, 403), (403, 1201), (637, 633), (801, 535)] {
        // Slopes that tell where a pixel comes from, and that are the same at any scale.
        let pixels = (0..height).flat_map(|y| {
            (0..width).flat_map(move |x| [(x * 255 / width) as u8, (y * 255 / height) as u8, 128])
        });
        let photo = RgbImage::new(width, height, pixels.collect()).unwrap().to_jpeg(98);
        for size in [25, 50, 100] {
            for framing in [Framing::Crop { fraction: 1.0 }, Framing::Squish, Framing::Pad] {
                let preprocessing = preprocessing(size, framing, Filter::Bilinear);
                let whole = Decoder::default().decode(&photo).unwrap();
                let reduced = Decoder::default().decode_for(&photo, preprocessing.needed()).unwrap();
                assert!(reduced.width() * 2 <= whole.width() + 1);
                let (whole, reduced) =
                    (preprocessing.frame(&whole).unwrap(), preprocessing.frame(&reduced).unwrap());
                let differences: Vec<f64> = (whole.pixels().iter().zip(reduced.pixels()))
                    .map(|(&a, &b)| f64::from(a) - f64::from(b))
                    .collect();
                // A shift of half a pixel of the sample would be 255 / size / 2 in the mean.
                let mean = differences.iter().sum::<f64>() / differences.len() as f64;
                assert!(mean.abs() < 0.3, "{width} × {height} to {size}, {framing:?}: {mean}");
                let most = differences.iter().fold(0.0f64, |most, difference| most.max(difference.abs()));
                assert!(most <= 4.0, "{width} × {height} to {size}, {framing:?}: {most}");
            }
        }
    }
}

/// Noise over a slope.
fn noise(width: u32, height: u32) -> RgbImage {
    let value = |at: u32| {
        let (x, y) = (at / 3 % width, at / 3 / width);
        let noise = ((u64::from(at) * 2_654_435_761) >> 13) % 96;
        ((x * 5 + y * 3) % 160) as u8 + noise as u8
    };
    RgbImage::new(width, height, (0..width * height * 3).map(value).collect()).unwrap()
}

#[derive(Deserialize)]
struct Probe {
    file: String,
    filter: Filter,
    framing: String,
    size: usize,
    x: Vec<usize>,
    y: Vec<usize>,
    rgb: Vec<[u8; 3]>,
    mean: f64,
}

fn preprocessing(size: usize, framing: Framing, filter: Filter) -> Preprocessing {
    Preprocessing { size, framing, filter, normalization: Normalization::LITE }
}

#[test]
fn photos_are_framed_as_pillow_does() {
    let probes: Vec<Probe> = serde_json::from_str(include_str!("../golden/pillow_framing.json")).unwrap();
    for probe in probes {
        let Some(path) = shared(&probe.file) else { return };
        let framing = match probe.framing.as_str() {
            "crop" => Framing::Crop { fraction: 1.0 },
            "crop875" => Framing::Crop { fraction: 0.875 },
            "squish" => Framing::Squish,
            _ => Framing::Pad,
        };
        let image = Decoder::default().decode_file(&path).unwrap();
        let framed = preprocessing(probe.size, framing, probe.filter).frame(&image).unwrap();
        let name = format!("{} {:?} {:?}", probe.file, framing, probe.filter);
        let mut differences = Vec::new();
        for ((x, y), expected) in probe.x.iter().zip(&probe.y).zip(&probe.rgb) {
            let found = &framed.pixels()[(y * probe.size + x) * 3..][..3];
            differences.extend(found.iter().zip(expected).map(|(a, b)| f64::from(a.abs_diff(*b))));
        }
        // The decoders interpolate colour differently, so single pixels at edges of colour differ.
        let difference = differences.iter().sum::<f64>() / differences.len() as f64;
        assert!(difference < 0.6, "{name}: mean difference from Pillow {difference}");
        let mean =
            framed.pixels().iter().map(|&value| f64::from(value)).sum::<f64>() / framed.pixels().len() as f64;
        assert!((mean - probe.mean).abs() < 0.25, "{name}: mean {mean}, Pillow has {}", probe.mean);
    }
}

/// `expected.json` of the ImageNet samples has the mean and standard deviation of the network's input.
#[test]
fn the_input_of_a_network_has_the_known_statistics() {
    #[derive(Deserialize)]
    struct Expected {
        images: Vec<Sample>,
    }
    #[derive(Deserialize)]
    struct Sample {
        file: String,
        size: [u32; 2],
        resized: [u32; 2],
        input_mean: f64,
        input_std: f64,
    }
    let Some(folder) = shared("fixtures/imagenet100") else { return };
    let expected: Expected =
        serde_json::from_slice(&std::fs::read(folder.join("expected.json")).unwrap()).unwrap();
    let preprocessing = preprocessing(224, Framing::Crop { fraction: 0.875 }, Filter::Bicubic);
    let mut sample = vec![0.0; preprocessing.sample_len()];
    let mut compared = 0;
    for known in expected.images {
        // The reference rounds the longer side; photos of which torchvision's rule makes another size are left out.
        let [long, short] = [known.size[0].max(known.size[1]), known.size[0].min(known.size[1])];
        if 256 * long / short != known.resized[0].max(known.resized[1]) {
            continue;
        }
        compared += 1;
        let bytes = without_profile(&std::fs::read(folder.join(&known.file)).unwrap());
        let image = Decoder::default().decode(&bytes).unwrap();
        preprocessing.apply(&image, &mut sample).unwrap();
        let mean = sample.iter().map(|&x| f64::from(x)).sum::<f64>() / sample.len() as f64;
        let variance =
            sample.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / sample.len() as f64;
        assert!(
            (mean - known.input_mean).abs() < 2e-3,
            "{}: mean {mean}, not {}",
            known.file,
            known.input_mean
        );
        let std = variance.sqrt();
        assert!((std - known.input_std).abs() < 2e-3, "{}: std {std}, not {}", known.file, known.input_std);
    }
    assert!(compared > 50, "{compared}");
}

/// A JPEG without its colour profile, which the reference does not follow.
fn without_profile(jpeg: &[u8]) -> Vec<u8> {
    let mut kept = jpeg[..2].to_vec();
    let mut rest = &jpeg[2..];
    while let [0xff, marker, high, low, ..] = *rest
        && marker != 0xda
    {
        let (segment, others) = rest.split_at(2 + usize::from(u16::from_be_bytes([high, low])));
        if !(marker == 0xe2 && segment[4..].starts_with(b"ICC_PROFILE\0")) {
            kept.extend_from_slice(segment);
        }
        rest = others;
    }
    [&kept, rest].concat()
}

/// An image whose pixels say where they are: red across, green down.
fn ramp(width: u32, height: u32) -> RgbImage {
    let pixels = (0..height).flat_map(|y| {
        (0..width).flat_map(move |x| [(x * 255 / width.max(2)) as u8, (y * 255 / height.max(2)) as u8, 200])
    });
    RgbImage::new(width, height, pixels.collect()).unwrap()
}

#[test]
fn crop_keeps_the_centre_and_squish_and_pad_keep_all() {
    let wide = ramp(200, 100);
    let across = |framing| {
        let framed = preprocessing(50, framing, Filter::Bilinear).frame(&wide).unwrap();
        let row: Vec<u8> = framed.pixels()[25 * 150..26 * 150].chunks(3).map(|pixel| pixel[0]).collect();
        (row[0], row[49])
    };
    // A quarter of the width is cut off on either side.
    let (left, right) = across(Framing::Crop { fraction: 1.0 });
    assert!(left.abs_diff(64) <= 2 && right.abs_diff(190) <= 2, "{left} {right}");
    for framing in [Framing::Squish, Framing::Pad] {
        let (left, right) = across(framing);
        assert!(left <= 4 && right >= 249, "{framing:?}: {left} {right}");
    }
    let padded = preprocessing(50, Framing::Pad, Filter::Bilinear).frame(&wide).unwrap();
    assert_eq!(&padded.pixels()[..3], [127; 3], "the ground is the mean colour");
    let mut sample = vec![1.0; 7500];
    preprocessing(50, Framing::Pad, Filter::Bilinear).apply(&wide, &mut sample).unwrap();
    assert_eq!(sample[..3], [0.0; 3], "which the network sees as zeros");
}

#[test]
fn normalization_is_in_units_of_255() {
    let white = RgbImage::new(1, 1, vec![255; 3]).unwrap();
    let preprocessing = Preprocessing {
        size: 1,
        framing: Framing::Squish,
        filter: Filter::Area,
        normalization: Normalization::IMAGENET,
    };
    let mut sample = [0.0; 3];
    preprocessing.apply(&white, &mut sample).unwrap();
    for (found, (mean, std)) in sample.iter().zip([(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)]) {
        assert!((found - (1.0 - mean) / std).abs() < 1e-6, "{sample:?}");
    }
}

#[test]
fn a_contract_survives_serialization() {
    let preprocessing = preprocessing(224, Framing::Crop { fraction: 0.875 }, Filter::Bicubic);
    let text = serde_json::to_string(&preprocessing).unwrap();
    assert_eq!(
        text,
        r#"{"size":224,"framing":{"crop":{"fraction":0.875}},"filter":"bicubic","normalization":{"mean":[127.0,127.0,127.0],"std":[128.0,128.0,128.0]}}"#
    );
    assert_eq!(serde_json::from_str::<Preprocessing>(&text).unwrap(), preprocessing);
}

#[test]
fn settings_out_of_range_are_refused() {
    let good = preprocessing(224, Framing::Squish, Filter::Area);
    let image = ramp(4, 4);
    let normalization = |mean, std| Normalization { mean, std };
    for (bad, name) in [
        (Preprocessing { size: 0, ..good }, "size is 0"),
        (Preprocessing { size: 100_000, ..good }, "size is 100000"),
        (Preprocessing { framing: Framing::Crop { fraction: 0.0 }, ..good }, "framing is a crop of 0;"),
        (Preprocessing { framing: Framing::Crop { fraction: f64::NAN }, ..good }, "framing is a crop of NaN"),
        (
            Preprocessing { framing: Framing::Crop { fraction: 1e-9 }, ..good },
            "framing is a crop of 0.000000001",
        ),
        (Preprocessing { normalization: normalization([0.0; 3], [0.0; 3]), ..good }, "std is"),
        (Preprocessing { normalization: normalization([f32::NAN; 3], [1.0; 3]), ..good }, "mean is"),
    ] {
        let error = bad.frame(&image).unwrap_err().to_string();
        assert!(error.starts_with(name), "{error}");
    }
    assert!(good.apply(&image, &mut [0.0; 5]).is_err());
}

proptest! {
    #[test]
    fn any_shape_is_framed(width in 1u32..400, height in 1u32..400, size in 1usize..70, fraction in 0.05f64..=1.0) {
        let image = ramp(width, height);
        for framing in [Framing::Crop { fraction }, Framing::Squish, Framing::Pad] {
            for filter in [Filter::Area, Filter::Bilinear, Filter::Bicubic, Filter::Lanczos] {
                let framed = preprocessing(size, framing, filter).frame(&image).unwrap();
                prop_assert_eq!((framed.width() as usize, framed.height() as usize), (size, size));
            }
        }
    }

    #[test]
    fn a_plain_colour_stays_what_it_is(width in 1u32..200, height in 1u32..200, size in 1usize..50, colour: [u8; 3]) {
        let image = RgbImage::new(width, height, colour.repeat((width * height) as usize)).unwrap();
        for filter in [Filter::Area, Filter::Bilinear, Filter::Bicubic, Filter::Lanczos] {
            let framed = preprocessing(size, Framing::Crop { fraction: 0.9 }, filter).frame(&image).unwrap();
            prop_assert!(framed.pixels().iter().zip(colour.iter().cycle()).all(|(a, b)| a.abs_diff(*b) <= 1), "{:?}", filter);
        }
    }
}

#[test]
fn extreme_shapes_need_no_extreme_memory() {
    for (width, height) in [(100_000, 1), (1, 100_000), (1, 1)] {
        let image = ramp(width, height);
        for framing in [Framing::Crop { fraction: 0.875 }, Framing::Squish, Framing::Pad] {
            let framed = preprocessing(224, framing, Filter::Bicubic).frame(&image).unwrap();
            assert_eq!(framed.pixels().len(), 224 * 224 * 3);
        }
    }
}
