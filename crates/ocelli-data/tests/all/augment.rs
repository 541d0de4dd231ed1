//! Augmentation follows fastai's formulas, and never leaves the range of values.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::common::fill;
use ocelli_data::augment::mix::Mix;
use ocelli_data::augment::policy::{Operation, Policy};
use ocelli_data::augment::sheet::contact_sheet;
use ocelli_data::source::folder;
use ocelli_data::{
    Augmentation, Crop, CustomTransform, DataError, Draws, Filter, Framing, Loader, LoaderOptions,
    Normalization, Preprocessing, Purpose, RgbImage, Transform,
};
use proptest::prelude::*;

/// Leaves values in 0..=255.
const RAW: Normalization = Normalization { mean: [0.0; 3], std: [1.0; 3] };

fn raw(size: usize) -> Preprocessing {
    Preprocessing { size, framing: Framing::Crop { fraction: 1.0 }, filter: Filter::Area, normalization: RAW }
}

fn draws(epoch: u64) -> Draws {
    Draws::new(1, Purpose::Augment, epoch, 9)
}

fn augmented(
    image: &RgbImage,
    augmentation: &Augmentation,
    preprocessing: Preprocessing,
    epoch: u64,
) -> Vec<f32> {
    let mut sample = vec![0.0; preprocessing.sample_len()];
    augmentation.apply(image, &preprocessing, &mut draws(epoch), &mut sample).unwrap();
    sample
}

/// Red grows to the right by `step` a pixel, green downwards; blue is 50.
fn ramp(width: u32, height: u32, step: u32) -> RgbImage {
    let pixels =
        (0..height).flat_map(|y| (0..width).flat_map(move |x| [(x * step) as u8, (y * step) as u8, 50]));
    RgbImage::new(width, height, pixels.collect()).unwrap()
}

fn pixel(sample: &[f32], size: usize, x: usize, y: usize) -> [f32; 3] {
    std::array::from_fn(|channel| sample[(y * size + x) * 3 + channel])
}

#[test]
fn presets_are_fastais() {
    let rotate = Transform::Rotate { degrees: 10.0, probability: 0.75 };
    let lighting = Transform::Lighting { balance: 0.05, contrast: 0.05 };
    assert_eq!(Augmentation::basic().transforms, [rotate.clone(), lighting.clone()]);
    assert_eq!(
        Augmentation::side_on().max_zoom(1.1).transforms,
        [rotate.clone(), lighting.clone(), Transform::Flip { probability: 0.5 }]
    );
    assert_eq!(Augmentation::top_down().transforms, [rotate, lighting, Transform::Dihedral]);
    assert_eq!(Augmentation::side_on().max_zoom(1.1).zoom, (1.0, 1.1));
}

#[test]
fn nothing_drawn_is_what_validation_sees() {
    let image = ramp(60, 40, 3);
    let preprocessing = Preprocessing { normalization: Normalization::IMAGENET, ..raw(20) };
    let mut expected = vec![0.0; preprocessing.sample_len()];
    preprocessing.apply(&image, &mut expected).unwrap();
    let found = augmented(&image, &Augmentation::none().crop(Crop::Center), preprocessing, 0);
    for (a, b) in found.iter().zip(&expected) {
        assert!((a - b).abs() < 1e-6);
    }
}

/// x ↦ (x − μ) · m + μ + b, with b and c drawn one after the other.
#[test]
fn lighting_is_fastais_formula() {
    let image = ramp(16, 16, 15);
    let mean =
        image.pixels().iter().map(|&value| f64::from(value)).sum::<f64>() / image.pixels().len() as f64;
    let augmentation = Augmentation::none().with(Transform::Lighting { balance: 0.3, contrast: 0.5 });
    let mut signs = BTreeSet::new();
    for epoch in 0..20 {
        let mut draws = draws(epoch);
        let (b, c) = (draws.uniform() * 0.6 - 0.3, draws.uniform() - 0.5);
        let m = if c >= 0.0 { 1.0 + c } else { 1.0 / (1.0 - c) };
        signs.insert(c >= 0.0);
        for (found, &x) in augmented(&image, &augmentation, raw(16), epoch).iter().zip(image.pixels()) {
            let on_one = ((f64::from(x) - mean) / 255.0 * m + mean / 255.0 + b).clamp(0.0, 1.0);
            assert!((f64::from(*found) - on_one * 255.0).abs() < 1e-3, "b {b}, c {c}, x {x}: {found}");
        }
    }
    assert_eq!(signs.len(), 2);
}

/// Positive angles turn counter-clockwise about (w // 2, h // 2).
#[test]
fn rotation_turns_counter_clockwise_about_the_whole_centre() {
    let size = 41;
    let image = ramp(41, 41, 6);
    let augmentation = Augmentation::none().with(Transform::Rotate { degrees: 30.0, probability: 1.0 });
    for epoch in 0..10 {
        let mut draws = draws(epoch);
        draws.uniform();
        let angle = (draws.uniform() * 60.0 - 30.0).to_radians();
        let sample = augmented(&image, &augmentation, raw(size), epoch);
        let centre = pixel(&sample, size, 20, 20);
        assert!(
            (centre[0] - 120.0).abs() < 1e-3 && (centre[1] - 120.0).abs() < 1e-3,
            "the centre stays: {centre:?}"
        );
        for (x, y) in [(25usize, 20usize), (20, 12), (14, 26)] {
            // A point of the scene at (dx, dy) from the centre (y down) moves by the angle, counter-clockwise as
            // seen: so what is at (x, y) now came from the clockwise side.
            let (dx, dy) = (x as f64 - 20.0, y as f64 - 20.0);
            let from = (dx * angle.cos() - dy * angle.sin(), dx * angle.sin() + dy * angle.cos());
            let expected = [(20.0 + from.0) * 6.0, (20.0 + from.1) * 6.0];
            let found = pixel(&sample, size, x, y);
            assert!(
                (f64::from(found[0]) - expected[0]).abs() < 0.01
                    && (f64::from(found[1]) - expected[1]).abs() < 0.01
            );
        }
    }
}

#[test]
fn corners_are_filled_by_reflection_with_the_edge_repeated() {
    // Padded by 3 on each side: cba|abc.
    let image = ramp(8, 8, 30);
    let sample = augmented(
        &image,
        &Augmentation::none().pad(3).crop(Crop::Center),
        Preprocessing { framing: Framing::Squish, ..raw(8) },
        0,
    );
    // The centre of the padded image is the image itself; a crop elsewhere shows the border.
    assert_eq!(pixel(&sample, 8, 0, 0), [0.0, 0.0, 50.0]);
    let mut rows = BTreeSet::new();
    for epoch in 0..200 {
        let sample = augmented(
            &image,
            &Augmentation::none().pad(3),
            Preprocessing { framing: Framing::Squish, ..raw(8) },
            epoch,
        );
        rows.insert((0..8).map(|x| (pixel(&sample, 8, x, 4)[0] / 30.0) as u32).collect::<Vec<_>>());
    }
    assert!(rows.contains(&vec![2, 1, 0, 0, 1, 2, 3, 4]), "{rows:?}");
    assert!(rows.contains(&vec![2, 3, 4, 5, 6, 7, 7, 6]), "{rows:?}");
    // Starts are ⌊u · 6⌋.
    assert_eq!(rows.len(), 6, "{rows:?}");
}

#[test]
fn dihedral_gives_the_eight_symmetries_equally_often() {
    let image = ramp(5, 5, 20);
    let symmetries: BTreeSet<Vec<u32>> = (0..8)
        .map(|symmetry| {
            let at = |x: usize, y: usize| {
                let (x, y) = if symmetry & 1 == 1 { (4 - x, y) } else { (x, y) };
                let (x, y) = if symmetry & 2 == 2 { (x, 4 - y) } else { (x, y) };
                let (x, y) = if symmetry & 4 == 4 { (y, x) } else { (x, y) };
                [x as u32 * 20, y as u32 * 20, 50]
            };
            (0..25).flat_map(|place| at(place % 5, place / 5)).collect()
        })
        .collect();
    let mut counts = std::collections::BTreeMap::new();
    for epoch in 0..800 {
        let sample = augmented(&image, &Augmentation::none().with(Transform::Dihedral), raw(5), epoch);
        *counts.entry(sample.iter().map(|&value| value as u32).collect::<Vec<_>>()).or_insert(0) += 1;
    }
    assert_eq!(counts.keys().cloned().collect::<BTreeSet<_>>(), symmetries);
    assert!(counts.values().all(|count| (65..140).contains(count)), "{:?}", counts.values());
}

#[test]
fn flips_mirror_half_of_the_images() {
    let image = ramp(6, 6, 20);
    let augmentation = Augmentation::none().with(Transform::Flip { probability: 0.5 });
    let mut flipped = 0;
    for epoch in 0..200 {
        let sample = augmented(&image, &augmentation, raw(6), epoch);
        let row: Vec<f32> = (0..6).map(|x| pixel(&sample, 6, x, 2)[0]).collect();
        match row[0] {
            0.0 => assert_eq!(row, [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]),
            _ => {
                assert_eq!(row, [100.0, 80.0, 60.0, 40.0, 20.0, 0.0]);
                flipped += 1;
            }
        }
    }
    assert!((75..125).contains(&flipped), "{flipped}");
}

#[test]
fn zoom_enlarges_three_quarters_of_the_images() {
    // The distance between values tells the scale.
    let image = ramp(80, 80, 3);
    let mut zoomed = 0;
    for epoch in 0..200 {
        let sample = augmented(&image, &Augmentation::none().max_zoom(1.5), raw(40), epoch);
        let span = pixel(&sample, 40, 39, 20)[0] - pixel(&sample, 40, 0, 20)[0];
        // Whole: 39 steps of 6; enlarged by 1.5: 39 steps of 4.
        assert!((155.0..=235.0).contains(&span), "{span}");
        zoomed += usize::from(span < 233.0);
    }
    assert!((120..180).contains(&zoomed), "{zoomed}");
}

/// The pixel of the ramp that is seen at (x, y) of a 41 × 41 sample, and the middle, 20.
fn seen(image: &RgbImage, transform: &Transform, epoch: u64, x: usize, y: usize) -> (f64, f64) {
    let sample = augmented(image, &Augmentation::none().with(transform.clone()), raw(41), epoch);
    let [red, green, _] = pixel(&sample, 41, x, y).map(f64::from);
    (red / 6.0, green / 6.0)
}

/// Zoom: 1 + z about the centre. Stretch: one axis by 1 + s.
#[test]
fn zoom_and_stretch_enlarge_about_the_centre() {
    let image = ramp(41, 41, 6);
    let near = |(a, b): (f64, f64), (c, d): (f64, f64)| (a - c).abs() < 1e-3 && (b - d).abs() < 1e-3;
    let mut axes = BTreeSet::new();
    for epoch in 0..30 {
        let factor = 1.0 + 0.1 + draws(epoch).uniform() * 0.4;
        for (x, y) in [(0usize, 0usize), (33, 7), (20, 20)] {
            let from = |at: usize| 20.0 + (at as f64 - 20.0) / factor;
            let found = seen(&image, &Transform::Zoom { min: 0.1, max: 0.5 }, epoch, x, y);
            assert!(near(found, (from(x), from(y))), "{found:?}");
        }
        let mut draws = draws(epoch);
        let (factor, across) = (1.0 + draws.uniform() * 0.5, draws.uniform() < 0.5);
        axes.insert(across);
        let from = |at: usize, moved: bool| 20.0 + (at as f64 - 20.0) / if moved { factor } else { 1.0 };
        let found = seen(&image, &Transform::Stretch { max: 0.5 }, epoch, 33, 7);
        assert!(near(found, (from(33, across), from(7, !across))), "{found:?}");
    }
    assert_eq!(axes.len(), 2);
}

/// A quarter of the images each: rotation, zoom, stretch, nothing.
#[test]
fn rotate_zoom_picks_one_of_four() {
    let image = ramp(41, 41, 6);
    let transform = Transform::RotateZoom { degrees: 9.0, zoom: 0.5, stretch: 0.5 };
    let mut counts = [0; 4];
    for epoch in 0..400 {
        let (right, below) =
            (seen(&image, &transform, epoch, 33, 20), seen(&image, &transform, epoch, 20, 33));
        let scale = ((right.0 - 20.0) / 13.0, (below.1 - 20.0) / 13.0);
        let turned = (right.1 - 20.0).abs() > 1e-3;
        let kind = match (turned, (scale.0 - 1.0).abs() > 1e-3, (scale.1 - 1.0).abs() > 1e-3) {
            (true, _, _) => 0,
            (false, true, true) => 1,
            (false, false, false) => 3,
            _ => 2,
        };
        counts[kind] += 1;
    }
    assert!(counts.iter().all(|count| (70..130).contains(count)), "{counts:?}");
}

/// Of an odd rest halves go to the even start, as in validation and in torchvision.
#[test]
fn a_centre_crop_is_that_of_validation() {
    for (width, start) in [(25, 0.0), (26, 1.0), (27, 2.0), (28, 2.0), (29, 2.0), (31, 4.0)] {
        let image = ramp(width, 24, 8);
        let sample = augmented(&image, &Augmentation::none().crop(Crop::Center), raw(24), 0);
        assert_eq!(pixel(&sample, 24, 0, 0), [start * 8.0, 0.0, 50.0], "{width}");
        let mut plain = vec![0.0; raw(24).sample_len()];
        raw(24).apply(&image, &mut plain).unwrap();
        assert_eq!(sample, plain, "{width}");
    }
}

#[test]
fn google_net_crops_keep_their_area_and_shape() {
    let image = ramp(120, 84, 2);
    for epoch in 0..300 {
        let sample = augmented(&image, &Augmentation::none().crop(Crop::GoogleNet), raw(20), epoch);
        let across =
            f64::from(pixel(&sample, 20, 19, 9)[0] - pixel(&sample, 20, 0, 9)[0]) / 2.0 * 20.0 / 19.0;
        let down = f64::from(pixel(&sample, 20, 9, 19)[1] - pixel(&sample, 20, 9, 0)[1]) / 2.0 * 20.0 / 19.0;
        let (area, aspect) = (across * down / (120.0 * 84.0), across / down);
        assert!((0.07..=1.01).contains(&area) && (0.7..=1.43).contains(&aspect), "{across} × {down}");
    }
}

#[test]
fn cutout_and_blur_do_what_they_say() {
    let white = RgbImage::new(40, 40, vec![255; 4800]).unwrap();
    let holes = Augmentation::none().with(Transform::Cutout { holes: 1, length: 0.25, probability: 1.0 });
    for epoch in 0..50 {
        let black =
            augmented(&white, &holes, raw(40), epoch).iter().filter(|&&value| value == 0.0).count() / 3;
        assert!((25..=100).contains(&black), "{black}");
    }
    // A single white pixel spreads without loss.
    let mut pixels = vec![0; 31 * 31 * 3];
    pixels[(15 * 31 + 15) * 3] = 255;
    let dot = RgbImage::new(31, 31, pixels).unwrap();
    let blur = Augmentation::none().with(Transform::Blur { strength: 5, probability: 1.0 });
    let mut widths = BTreeSet::new();
    for epoch in 0..50 {
        let sample = augmented(&dot, &blur, raw(31), epoch);
        assert!((sample.iter().sum::<f32>() - 255.0).abs() < 0.1);
        widths.insert((0..31).filter(|&x| pixel(&sample, 31, x, 15)[0] > 0.0).count());
    }
    assert_eq!(widths, BTreeSet::from([1, 3, 5, 7, 9]));
}

#[test]
fn colours_jitter_around_grey() {
    let image = RgbImage::new(1, 2, vec![90, 90, 90, 200, 60, 30]).unwrap();
    let preprocessing = Preprocessing { framing: Framing::Squish, ..raw(2) };
    let unchanged = augmented(
        &image,
        &Augmentation::none().with(Transform::ColorJitter { hue: 0.0, saturation: 0.0 }),
        preprocessing,
        0,
    );
    assert!((pixel(&unchanged, 2, 0, 1)[0] - 200.0).abs() < 0.01);
    let jitter = Augmentation::none().with(Transform::ColorJitter { hue: 0.2, saturation: 0.5 });
    let mut reds = BTreeSet::new();
    for epoch in 0..20 {
        let sample = augmented(&image, &jitter, preprocessing, epoch);
        assert!(pixel(&sample, 2, 0, 0).iter().all(|value| (value - 90.0).abs() < 0.01), "grey stays grey");
        reds.insert(pixel(&sample, 2, 0, 1)[0] as u32);
    }
    assert!(reds.len() > 10);
}

#[test]
fn operations_of_policies_are_pillows() {
    let image = ramp(16, 16, 10);
    let only = |operation: Operation, magnitude: f64| {
        let policy = Policy { operations: vec![operation], count: 1, magnitude: Some(magnitude) };
        augmented(&image, &Augmentation::none().with(Transform::Policy(policy)), raw(16), 0)
    };
    let values = image.pixels();
    let expect = |found: Vec<f32>, expected: &dyn Fn(usize, f32) -> f32| {
        for (at, (found, &value)) in found.iter().zip(values).enumerate() {
            let expected = expected(at % 3, f32::from(value));
            assert!(
                (found - expected).abs() < 0.01,
                "channel {}: {value} became {found}, not {expected}",
                at % 3
            );
        }
    };
    expect(only(Operation::Identity, 1.0), &|_, x| x);
    expect(only(Operation::Posterize(4.0), 1.0), &|_, x| (x as u32 & 0xF0) as f32);
    expect(only(Operation::Solarize, 0.5), &|_, x| if x >= 127.5 { 255.0 - x } else { x });
    // Red and green reach from 0 to 150; blue has one value and stays.
    expect(only(Operation::AutoContrast, 0.3), &|channel, x| if channel < 2 { x * 255.0 / 150.0 } else { x });
    // Pillow's levels: (step / 2 + pixels below) / step, where step = (pixels − pixels of the brightest) / 255.
    let large = RgbImage::new(64, 64, (0..64 * 64).flat_map(|at| [(at % 64 / 4 * 10) as u8, 0, 0]).collect())
        .unwrap();
    let policy = Policy { operations: vec![Operation::Equalize], count: 1, magnitude: Some(0.3) };
    let equalized = augmented(&large, &Augmentation::none().with(Transform::Policy(policy)), raw(64), 0);
    for x in 0..64 {
        let level = (7 + 256 * (x as u32 / 4)) / 15;
        assert_eq!(equalized[(64 + x) * 3], level.min(255) as f32, "{x}");
    }
    let brighter = only(Operation::Brightness(0.5), 1.0);
    let factor = brighter[45] / f32::from(values[45]);
    assert!((factor - 0.5).abs() < 1e-4 || (factor - 1.5).abs() < 1e-4 || brighter[45] == 255.0, "{factor}");
}

#[test]
fn settings_out_of_range_are_refused() {
    let bad = [
        Augmentation::none().max_zoom(0.5),
        Augmentation::none().max_zoom(f64::NAN),
        Augmentation::none().pad(1 << 20),
        Augmentation::none().with(Transform::Rotate { degrees: -1.0, probability: 1.0 }),
        Augmentation::none().with(Transform::Flip { probability: 1.5 }),
        Augmentation::none().with(Transform::Lighting { balance: 0.1, contrast: 1.0 }),
        Augmentation::none().with(Transform::Blur { strength: 0, probability: 1.0 }),
        Augmentation::none().with(Transform::Policy(Policy {
            operations: vec![],
            count: 1,
            magnitude: None,
        })),
        Augmentation::none().with(Transform::Policy(Policy::rand_augment(2, 31.0))),
    ];
    for augmentation in bad {
        let error = augmentation.validate().unwrap_err().to_string();
        assert!(error.contains("it must be"), "{error}");
    }
    assert!(Augmentation::none().with(Transform::Policy(Policy::trivial_augment())).validate().is_ok());
}

#[test]
fn an_augmentation_survives_serialization() {
    let augmentation = Augmentation::side_on()
        .max_zoom(1.1)
        .with(Transform::Policy(Policy::rand_augment(2, 9.0)))
        .with(Transform::Cutout { holes: 2, length: 0.2, probability: 0.5 });
    let text = serde_json::to_string(&augmentation).unwrap();
    assert_eq!(serde_json::from_str::<Augmentation>(&text).unwrap(), augmentation);
}

fn any_augmentation() -> impl Strategy<Value = Augmentation> {
    let transform = prop_oneof![
        (0.0..180.0f64).prop_map(|degrees| Transform::Rotate { degrees, probability: 0.9 }),
        Just(Transform::Flip { probability: 0.5 }),
        Just(Transform::Dihedral),
        (0.0..1.0f64, 0.0..0.9f64).prop_map(|(balance, contrast)| Transform::Lighting { balance, contrast }),
        (0.0..5.0f64).prop_map(|max| Transform::Zoom { min: 0.0, max }),
        (0.0..5.0f64).prop_map(|max| Transform::Stretch { max }),
        Just(Transform::RotateZoom { degrees: 9.0, zoom: 0.18, stretch: 0.1 }),
        (1..6usize).prop_map(|strength| Transform::Blur { strength, probability: 0.8 }),
        (0.0..1.0f64).prop_map(|length| Transform::Cutout { holes: 3, length, probability: 0.8 }),
        Just(Transform::ColorJitter { hue: 0.5, saturation: 1.0 }),
        (0.0..30.0f64).prop_map(|magnitude| Transform::Policy(Policy::rand_augment(2, magnitude))),
        Just(Transform::Policy(Policy::trivial_augment())),
    ];
    let crop = prop_oneof![Just(Crop::Random), Just(Crop::Center), Just(Crop::GoogleNet)];
    (prop::collection::vec(transform, 0..4), 1.0..3.0f64, crop, 0..20usize)
        .prop_map(|(transforms, zoom, crop, pad)| Augmentation { transforms, zoom: (1.0, zoom), crop, pad })
}

proptest! {
    #[test]
    fn any_augmentation_of_any_image_stays_in_range(
        augmentation in any_augmentation(), width in 1u32..80, height in 1u32..80, size in 1usize..40,
        framing in prop_oneof![Just(Framing::Crop { fraction: 0.875 }), Just(Framing::Squish), Just(Framing::Pad)],
        epoch: u64,
    ) {
        let image = ramp(width, height, 3);
        let sample = augmented(&image, &augmentation, Preprocessing { framing, ..raw(size) }, epoch);
        prop_assert!(sample.iter().all(|value| (-0.01..=255.01).contains(value)));
    }
}

#[test]
fn extreme_shapes_are_augmented() {
    for (width, height) in [(100_000, 1), (1, 100_000), (1, 1)] {
        augmented(&ramp(width, height, 1), &Augmentation::side_on().max_zoom(1.1), raw(64), 0);
    }
}

#[test]
fn batches_depend_on_seed_and_epoch_and_not_on_threads() {
    let root = tempfile::tempdir().unwrap();
    fill(root.path(), "", &["cats", "dogs"], 10);
    let items = Arc::new(folder::read(root.path()).unwrap().items);
    let batches = |threads, seed, epoch, indices: Vec<usize>| {
        let options = LoaderOptions { batch_size: 6, threads, ..Default::default() };
        let loader = Loader::new(Arc::clone(&items), raw(16), options).unwrap();
        let loader = loader.augment(Augmentation::side_on().max_zoom(1.1), seed).unwrap();
        loader
            .batches(indices, epoch)
            .unwrap()
            .map(|batch| batch.unwrap().images.to_vec())
            .collect::<Vec<_>>()
            .concat()
    };
    let all: Vec<usize> = (0..20).collect();
    let one = batches(1, 5, 2, all.clone());
    for threads in [2, 7] {
        assert!(batches(threads, 5, 2, all.clone()) == one);
    }
    assert!(batches(1, 6, 2, all.clone()) != one);
    assert!(batches(1, 5, 3, all.clone()) != one);
    // An item's sample does not depend on the others', and is new each time the item occurs.
    let length = raw(16).sample_len();
    assert_eq!(batches(2, 5, 2, vec![7]), one[7 * length..8 * length]);
    let twice = batches(2, 5, 2, vec![7, 7]);
    assert_eq!(twice[..length], one[7 * length..8 * length]);
    assert_ne!(twice[..length], twice[length..]);
}

#[test]
fn mixed_batches_are_sums_and_rectangles() {
    let root = tempfile::tempdir().unwrap();
    fill(root.path(), "", &["cats", "dogs"], 8);
    let items = Arc::new(folder::read(root.path()).unwrap().items);
    let options = LoaderOptions { batch_size: 16, ..Default::default() };
    let loader = Loader::new(Arc::clone(&items), raw(16), options).unwrap();
    let plain = loader.batches((0..16).collect(), 0).unwrap().next().unwrap().unwrap();
    let length = raw(16).sample_len();
    let mut weights = Vec::new();
    for epoch in 0..200 {
        for mix in [Mix::Mixup { alpha: 0.4 }, Mix::CutMix { alpha: 1.0 }] {
            let mut batch = plain.clone();
            let mixed = mix.apply(&mut batch, &items, 3, epoch).unwrap();
            assert!((0.0..=1.0).contains(&mixed.weight));
            let mut own_pixels = 0;
            for image in 0..16 {
                let (own, other) = (
                    &plain.images[image * length..][..length],
                    &plain.images[mixed.partners[image] * length..][..length],
                );
                for ((a, b), found) in own.iter().zip(other).zip(&batch.images[image * length..]) {
                    match mix {
                        Mix::Mixup { .. } => {
                            assert!((found - (mixed.weight * a + (1.0 - mixed.weight) * b)).abs() < 0.01);
                        }
                        Mix::CutMix { .. } => {
                            assert!(found == a || found == b);
                            own_pixels += usize::from(found == a);
                        }
                    }
                }
            }
            match mix {
                Mix::Mixup { .. } => weights.push(f64::from(mixed.weight)),
                Mix::CutMix { .. } => assert!(own_pixels as f32 >= mixed.weight * (16 * length) as f32 - 1.0),
            }
        }
    }
    // Beta(0.4, 0.4) has mean 1/2 and variance 1 / (4 · (2 · 0.4 + 1)).
    let mean = weights.iter().sum::<f64>() / 200.0;
    let variance = weights.iter().map(|weight| (weight - mean).powi(2)).sum::<f64>() / 200.0;
    assert!((mean - 0.5).abs() < 0.09 && (variance - 1.0 / 7.2).abs() < 0.03, "{mean} {variance}");
    assert!(Mix::Mixup { alpha: 0.0 }.apply(&mut plain.clone(), &items, 1, 0).is_err());
}

#[test]
fn a_contact_sheet_shows_what_training_sees() {
    let image = ramp(60, 40, 3);
    let sheet = contact_sheet(&image, "a.png", &raw(20), &Augmentation::side_on(), 1, (4, 2)).unwrap();
    assert_eq!((sheet.width(), sheet.height()), (4 * 20 + 5 * 4, 2 * 20 + 3 * 4));
    let first = raw(20).frame(&image).unwrap();
    assert_eq!(sheet.pixels()[(4 * 100 + 4) * 3..][..60], first.pixels()[..60]);
    assert!(contact_sheet(&image, "a.png", &raw(20), &Augmentation::none(), 1, (0, 2)).is_err());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sheet.png");
    sheet.write_png(&path).unwrap();
    assert_eq!(ocelli_data::Decoder::default().decode_file(&path).unwrap(), sheet);
}

#[test]
fn a_fixed_crop_lies_where_it_is_said_to() {
    // A ramp tells where its pixels come from.
    let image = ramp(90, 60, 1);
    let at = |x, y| augmented(&image, &Augmentation::none().crop(Crop::At(x, y)), raw(40), 0);
    let corner = |sample: &[f32]| (sample[0], sample[(40 * 40 - 1) * 3]);
    let (left, right) = (corner(&at(0.0, 0.0)), corner(&at(1.0, 1.0)));
    assert!(left.0 < right.0 && left.1 < right.1, "{left:?} {right:?}");
    assert_eq!(at(0.0, 0.0), at(0.0, 0.0), "nothing is drawn");
    assert!(Augmentation::none().crop(Crop::At(1.1, 0.0)).validate().is_err());
    // One factor of zoom is no range: it always acts.
    for epoch in 0..8 {
        let zoomed =
            augmented(&image, &Augmentation::none().zoom(1.5, 1.5).crop(Crop::Center), raw(40), epoch);
        assert_eq!(
            zoomed,
            augmented(&image, &Augmentation::none().zoom(1.5, 1.5).crop(Crop::Center), raw(40), 0)
        );
    }
}

#[test]
fn a_custom_transform_changes_the_pixels_that_it_names_and_is_clipped() {
    let image = ramp(8, 8, 10);
    let plain = augmented(&image, &Augmentation::none(), raw(8), 0);
    let custom = CustomTransform::new("swap", |pixels, _| {
        assert_eq!((pixels.size(), pixels.values().len()), (8, 64));
        (pixels[(0, 0)], pixels[(7, 2)]) = (pixels[(7, 2)], pixels[(0, 0)]);
        pixels[(1, 1)] = [-5.0, 300.0, 20.5];
    });
    let changed = augmented(&image, &Augmentation::none().with(custom), raw(8), 0);
    let [was, is] = [&plain, &changed].map(|sample| move |x, y| pixel(sample, 8, x, y));
    assert_ne!(was(0, 0), was(7, 2));
    assert_eq!((is(0, 0), is(7, 2), is(1, 1)), (was(7, 2), was(0, 0), [0.0, 255.0, 20.5]));
    assert_eq!(is(3, 5), was(3, 5));
}

#[test]
fn a_custom_transform_is_read_by_its_name() {
    let text = |augmentation: &Augmentation| serde_json::to_string(augmentation).unwrap();
    let read = |text: &str| serde_json::from_str::<Augmentation>(text).unwrap();
    let black = CustomTransform::new("black", |pixels, _| pixels.values().fill([0.0; 3]));
    let augmentation = Augmentation::none().with(black.register().unwrap());
    assert!(text(&augmentation).contains(r#"{"custom":"black"}"#), "{}", text(&augmentation));
    let again = read(&text(&augmentation));
    assert!(augmented(&ramp(8, 8, 10), &again, raw(8), 0).iter().all(|value| *value == 0.0));

    let other = read(&text(&augmentation).replace("black", "white"));
    match other.validate().unwrap_err() {
        DataError::TransformNotRegistered { name } => assert_eq!(name, "white"),
        error => panic!("{error}"),
    }
}
