//! The findings about a data set, and the store of resized images.

use std::path::Path;

use crate::common::{fill, shared, write};
use ocelli_data::decode::Colour;
use ocelli_data::inspect::report::Histogram;
use ocelli_data::sampler::{Sampler, class_draws};
use ocelli_data::source::folder;
use ocelli_data::{Dataset, Decoder, Format, Report, Store, digests, inspect};

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/images").join(name)).unwrap()
}

/// A photo-like picture of waves at some size.
fn waves(side: u32, phase: f32, jpeg: bool) -> Vec<u8> {
    let image = image::RgbImage::from_fn(side, side, |x, y| {
        let (x, y) = (x as f32 / side as f32 * 9.0, y as f32 / side as f32 * 7.0);
        let wave =
            |a: f32, b: f32| (128.0 + 100.0 * (a * x + phase).sin() * (b * y + phase * 2.0).cos()) as u8;
        image::Rgb([wave(1.0, 0.7), wave(0.6, 1.1), wave(1.3, 0.4)])
    });
    let mut bytes = std::io::Cursor::new(Vec::new());
    let format = if jpeg { image::ImageFormat::Jpeg } else { image::ImageFormat::Png };
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

#[test]
fn a_data_set_is_inspected() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), "train/Cats/0.jpg", fixture("exif6.jpg"));
    write(root.path(), "train/Cats/1.jpg", fixture("grey16.png"));
    write(root.path(), "train/Cats/2.png", &fixture("rgb.png")[..100]);
    write(root.path(), "train/cats/3.png", waves(200, 0.3, false));
    write(root.path(), "train/dogs/4.jpg", waves(150, 0.3, true));
    write(root.path(), "train/dogs/5.png", waves(200, 2.0, false));
    write(root.path(), "train/dogs/7.png", fixture("alpha.png"));
    write(root.path(), "valid/dogs/6.png", waves(200, 2.0, false));
    write(root.path(), "valid/dogs/8.png", fixture("long.png"));
    let data = folder::read(root.path()).unwrap();
    let report = report(&data, 120);
    let found = &report.inspection;
    let item = |id: &str| data.items.items.iter().position(|item| item.id == id).unwrap();
    let image = |id: &str| &found.images[item(id)];

    let counts = report.class_counts();
    let counts: Vec<_> =
        counts.iter().map(|class| (class.class.as_str(), class.train, class.valid)).collect();
    assert_eq!(counts, [("Cats", 3, 0), ("cats", 1, 0), ("dogs", 3, 2)]);

    let rotated = image("train/Cats/0.jpg").probe.unwrap();
    assert_eq!(
        (rotated.width, rotated.height, rotated.orientation, rotated.format),
        (37, 29, 6, Format::Jpeg)
    );
    assert_eq!(rotated.colour, Colour { channels: 3, bits: 8 });
    assert_eq!(image("train/Cats/1.jpg").probe.unwrap().colour, Colour { channels: 1, bits: 16 });
    assert_eq!(image("train/Cats/1.jpg").wrong_extension, Some("png"));
    assert_eq!(image("train/dogs/7.png").probe.unwrap().colour, Colour { channels: 4, bits: 8 });
    assert!(image("train/Cats/2.png").problem.as_ref().unwrap().contains("damaged (PNG)"));
    assert!(image("train/Cats/0.jpg").smaller_than(30) && !image("train/cats/3.png").smaller_than(30));
    assert!((image("valid/dogs/8.png").lost_by_crop() - 0.9999).abs() < 1e-6);

    assert_eq!(found.duplicates, [[item("train/dogs/5.png"), item("valid/dogs/6.png")]]);
    let alike = found.near_duplicates.iter().find(|group| group.contains(&item("train/cats/3.png"))).unwrap();
    assert_eq!(*alike, [item("train/cats/3.png"), item("train/dogs/4.jpg")]);
    assert!(serde_json::to_string(&found).unwrap().contains("\"near_duplicates\""));

    let findings = report.findings();
    let cases = |title: &str| -> Vec<&str> {
        let finding = findings.iter().find(|finding| finding.title.starts_with(title));
        finding.unwrap_or_else(|| panic!("{title}")).cases.iter().map(|case| case.text.as_str()).collect()
    };
    assert!(cases("cannot be decoded")[0].starts_with("train/Cats/2.png: "));
    assert_eq!(
        cases("identical, in training and held out"),
        ["train/dogs/5.png (train) = valid/dogs/6.png (valid)"]
    );
    assert!(
        cases("look the same, with different labels")
            .contains(&"train/cats/3.png (cats) = train/dogs/4.jpg (dogs)")
    );
    assert_eq!(cases("with another ending"), ["train/Cats/1.jpg is a .png file"]);
    let tiny = cases("tiny");
    assert!(
        tiny.contains(&"train/Cats/0.jpg has 37 × 29") && tiny.contains(&"valid/dogs/8.png has 10000 × 1")
    );
    assert!(!tiny.iter().any(|case| case.contains("train/cats/3.png")), "{tiny:?}");
    // Its size is known, but what cannot be decoded is listed as that alone.
    assert!(image("train/Cats/2.png").smaller_than(30), "{:?}", image("train/Cats/2.png").probe);
    assert!(!tiny.iter().any(|case| case.contains("train/Cats/2.png")), "{tiny:?}");
    assert_eq!(cases("more than three times"), ["valid/dogs/8.png has 10000 × 1; a crop leaves out 100 %"]);
    assert_eq!(cases("turned"), ["train/Cats/0.jpg has orientation 6"]);
    assert_eq!(cases("classes whose names"), ["Cats = cats"]);
    assert_eq!(cases("classes with no image held out"), ["Cats", "cats"]);
    assert!(findings.iter().all(|finding| !finding.title.starts_with("identical otherwise")));
}

/// As [`ocelli_data::inspect`] has it for these items.
fn report(data: &Dataset, size: u32) -> Report {
    Report {
        data: data.items.root.clone(),
        items: data.items.clone(),
        split: data.split.clone().unwrap(),
        groups: None,
        skipped: data.skipped.clone(),
        notices: data.notices.clone(),
        problem: None,
        size,
        inspection: inspect(&data.items, &Decoder::default(), 2, || ()).unwrap(),
    }
}

#[test]
fn histograms_count_everything_in_round_bins() {
    let mut sides: Vec<u32> = (0..1000).map(|number| 120 + number % 379).collect();
    sides.push(40_000);
    sides.sort_unstable();
    let Histogram { start, step, counts, beyond } = Histogram::of(&sides, 12);
    assert_eq!((start, step, beyond), (100, 50, 1));
    assert_eq!(counts.iter().sum::<usize>(), 1000);
    assert_eq!(counts[1], sides.iter().filter(|side| (150..200).contains(*side)).count());
    assert_eq!(Histogram::of(&[7], 12), Histogram { start: 7, step: 1, counts: vec![1], beyond: 0 });
    assert_eq!(Histogram::of(&[], 12).counts, [0]);
}

#[test]
fn ants_and_bees_are_inspected() {
    let Some(root) = shared("data/hymenoptera") else { return };
    let data = folder::read(root).unwrap();
    let report = report(&data, 224);
    let found = &report.inspection;
    assert!(found.images.iter().all(|image| image.problem.is_none()));
    let gif = found.images.iter().find(|image| image.probe.unwrap().format == Format::Gif).unwrap();
    assert!(data.items[gif.item].id.ends_with("imageNotFound.gif"));
    let counts: Vec<_> = report.class_counts().iter().map(|class| class.train + class.valid).collect();
    assert_eq!(counts.iter().sum::<usize>(), data.items.len());
    println!("duplicates {:?}", found.duplicates);
    println!("near duplicates {:?}", found.near_duplicates);
}

#[test]
fn the_store_keeps_large_images_resized() {
    let (root, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(root.path(), "a/large.png", waves(800, 0.5, false));
    write(root.path(), "a/copy.png", waves(800, 0.5, false));
    write(root.path(), "b/small.png", waves(400, 0.5, false));
    write(root.path(), "b/bad.png", &waves(800, 0.9, false)[..500]);
    write(root.path(), "b/turned.jpg", fixture("exif6.jpg"));
    let items = folder::read(root.path()).unwrap().items;
    let digests = digests(&items, 2, || ()).unwrap();
    let store = Store::new(cache.path(), 64).unwrap();
    let decoder = Decoder::default();
    let filled = store.fill(&items, &digests, &decoder, 2, || ()).unwrap();
    assert_eq!((filled.made, filled.present, filled.small, filled.skipped.len()), (1, 0, 2, 1));
    let filled = store.fill(&items, &digests, &decoder, 2, || ()).unwrap();
    assert_eq!((filled.made, filled.present), (0, 1));

    let stored = |place: usize| store.image(&items[place], &digests[place], &decoder);
    for (place, item) in items.items.iter().enumerate().filter(|(_, item)| !item.id.ends_with("bad.png")) {
        let own = std::fs::read(&item.path).unwrap();
        assert_eq!(stored(place).unwrap() == own, item.id.starts_with("b/"), "{}", item.id);
    }
    assert!(stored(items.items.iter().position(|item| item.id.ends_with("bad.png")).unwrap()).is_err());
    let image = decoder.decode(&stored(1).unwrap()).unwrap();
    assert_eq!((image.width(), image.height()), (64, 64));
    let whole = decoder.decode_file(&items[1].path).unwrap();
    let fine = ocelli_data::Preprocessing {
        size: 64,
        framing: ocelli_data::Framing::Squish,
        filter: ocelli_data::Filter::Bicubic,
        normalization: ocelli_data::Normalization::IMAGENET,
    };
    let expected = fine.frame(&whole).unwrap();
    let difference: u32 =
        image.pixels().iter().zip(expected.pixels()).map(|(a, b)| u32::from(a.abs_diff(*b))).sum();
    assert!(f64::from(difference) / (image.pixels().len() as f64) < 1.5, "{difference}");
    assert!(Store::new(cache.path(), 0).is_err());
    // One whole file is there, which image viewers show too.
    let files = walk(cache.path());
    assert_eq!(files.len(), 1);
    let copy = std::fs::read(&files[0]).unwrap();
    assert_eq!(decoder.decode(&copy).unwrap().pixels(), image.pixels());

    // A copy that is damaged, cut off or gone is made again, to the bit, but of nothing else than it was made of.
    let wanted = stored(1).unwrap();
    type Hurt<'a> = &'a dyn Fn(&mut Vec<u8>);
    let hurt: [Hurt; 5] = [
        &|bytes| bytes[700] ^= 4,
        &|bytes| *bytes.last_mut().unwrap() ^= 1,
        &|bytes| bytes.truncate(bytes.len() / 2),
        &|bytes| bytes.truncate(20),
        &|bytes| bytes.clear(),
    ];
    for change in hurt {
        let mut bytes = copy.clone();
        change(&mut bytes);
        std::fs::write(&files[0], bytes).unwrap();
        assert!(stored(1).unwrap() == wanted);
        assert!(std::fs::read(&files[0]).unwrap() == copy);
    }
    // One of another photo is not taken for it.
    let other = store.path(&digests[3]);
    std::fs::create_dir_all(other.parent().unwrap()).unwrap();
    std::fs::copy(&files[0], &other).unwrap();
    assert!(stored(3).unwrap() != wanted);
    std::fs::write(&items[1].path, waves(800, 0.1, false)).unwrap();
    assert!(stored(1).unwrap() == wanted, "the copy still is of what the photo was");
    std::fs::remove_file(&files[0]).unwrap();
    let said = stored(1).unwrap_err().to_string();
    assert!(said.contains("has changed"), "{said}");
    assert!(!files[0].exists());
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(walk(&path)) } else { files.push(path) }
    }
    files
}

#[test]
fn a_balanced_order_gives_every_class_its_share() {
    let root = tempfile::tempdir().unwrap();
    fill(root.path(), "", &["many"], 50);
    fill(root.path(), "", &["few", "some"], 7);
    let items = folder::read(root.path()).unwrap().items;
    let all: Vec<usize> = (0..items.len()).collect();
    let draws = class_draws(&items, &all);
    let said: Vec<_> = draws.iter().map(|class| (class.class, class.items, class.draws)).collect();
    assert_eq!(said, [(Some(0), 7, 22), (Some(1), 50, 21), (Some(2), 7, 21)]);

    let mut seen = vec![0; items.len()];
    for epoch in 0..10 {
        let order = Sampler::ClassBalanced { seed: 4 }.of(&items, &all, epoch);
        assert_eq!(order.len(), all.len());
        assert_eq!(items.class_counts(&order), [22, 21, 21]);
        assert_eq!(order, Sampler::ClassBalanced { seed: 4 }.of(&items, &all, epoch));
        order.iter().for_each(|&index| seen[index] += 1);
    }
    // 210 slots for 50 items, 220 or 210 for 7: none is left out.
    for (index, &count) in seen.iter().enumerate() {
        let expected = if items[index].id.starts_with("many") { 4..=5 } else { 30..=32 };
        assert!(expected.contains(&count), "{}: {count}", items[index].id);
    }
}

#[test]
fn files_that_tell_the_classes_apart_are_told() {
    use ocelli_data::inspect::telltale;
    let image = |format: image::ImageFormat, side: u32, grey: bool| {
        let picture =
            image::RgbImage::from_fn(side, side, |x, y| image::Rgb([(7 * x) as u8, (11 * y) as u8, 90]));
        let picture = image::DynamicImage::ImageRgb8(picture);
        let picture = if grey { image::DynamicImage::ImageLuma8(picture.to_luma8()) } else { picture };
        let mut bytes = std::io::Cursor::new(Vec::new());
        picture.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    };
    use image::ImageFormat::{Jpeg, Png};
    let told = |of: &dyn Fn(&str, u32) -> Vec<u8>| {
        let root = tempfile::tempdir().unwrap();
        for class in ["defect", "ok"] {
            (0..6).for_each(|number| write(root.path(), &format!("{class}/{number}.jpg"), of(class, number)));
        }
        let items = folder::read(root.path()).unwrap().items;
        let all: Vec<usize> = (0..items.len()).collect();
        telltale(&items, &all, &Decoder::default())
    };
    let format =
        told(&|class, number| image(if class == "ok" { Jpeg } else { Png }, 20 + number, false)).unwrap();
    assert!(
        format.contains("format of the files tells the classes apart: PNG in defect, JPEG in ok"),
        "{format}"
    );
    let colours = told(&|class, number| image(Jpeg, 20 + number, class == "ok")).unwrap();
    assert!(colours.contains("colours") && colours.contains("grey in ok"), "{colours}");
    let size = told(&|class, _| image(Jpeg, if class == "ok" { 20 } else { 24 }, false)).unwrap();
    assert!(size.contains("20 × 20 px in ok"), "{size}");
    // One of another kind is enough that it tells nothing.
    assert_eq!(
        told(&|class, number| image(
            if class == "ok" && number > 0 { Jpeg } else { Png },
            20 + number,
            false
        )),
        None
    );
    assert_eq!(told(&|_, _| image(Jpeg, 20, false)), None);
}
