//! The default recipe: when it trains all layers, at which size, and what a time limit does to it.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex};

use ocelli::prelude::*;
use ocelli::{EpochRecord, Error, Moved, Optimizer, Phase, Run, RunConfig, RunEnv, TensorFile};

const CLASSES: usize = 2;
/// Photos of each class.
const PHOTOS: usize = 40;
const SIDE: u32 = 40;

/// Photos that only early layers tell apart: fine stripes in two directions, over blobs that are the same in both
/// classes.
fn stripes(folder: &Path, photos: usize) {
    for class in 0..CLASSES {
        let folder = folder.join(["across", "down"][class]);
        fs::create_dir_all(&folder).unwrap();
        for photo in 0..photos {
            let pixels = (0..SIDE * SIDE).flat_map(|at| {
                let (x, y) = (at % SIDE, at / SIDE);
                let along = if class == 0 { y } else { x };
                let blob = hash(photo as u32, x / 10, y / 10) % 160;
                let noise = hash(photo as u32 + 1000, x, y) % 60;
                let value = blob + noise + 30 * (along % 2);
                [value as u8, (value / 2) as u8, 255 - value as u8]
            });
            let image = ocelli::RgbImage::new(SIDE, SIDE, pixels.collect()).unwrap();
            image.write_png(folder.join(format!("{photo}.png"))).unwrap();
        }
    }
}

fn hash(seed: u32, x: u32, y: u32) -> u32 {
    let mut mixed =
        seed.wrapping_mul(0x9E37_79B9) ^ x.wrapping_mul(0x85EB_CA6B) ^ y.wrapping_mul(0xC2B2_AE35);
    mixed ^= mixed >> 15;
    mixed = mixed.wrapping_mul(0x2C1B_3C6D);
    mixed ^ (mixed >> 12)
}

/// The default settings for these photos, with small images.
fn config(photos: &Path) -> RunConfig {
    let mut config = RunConfig::new(photos);
    (config.size, config.batch_size) = (64, 8);
    config
}

fn env(out: &Path) -> RunEnv {
    RunEnv { out: Some(out.to_owned()), ..RunEnv::default() }
}

/// Decisions and notices of a run.
fn texts(run: &mut Run) -> Arc<Mutex<Vec<String>>> {
    let texts = Arc::new(Mutex::new(Vec::new()));
    let seen = texts.clone();
    run.observe(move |event: &Event| {
        match event {
            Event::Decision { reason, .. } => seen.lock().unwrap().push(reason.clone()),
            Event::Notice { text } => seen.lock().unwrap().push(text.clone()),
            _ => {}
        }
        ControlFlow::Continue(())
    });
    texts
}

/// The epochs of all layers.
fn unfrozen_epochs(run: &Run) -> usize {
    let of_phase =
        |row: &&EpochRecord| matches!(run.settings().recipe.phases.get(row.fit - 1), Some(Phase::Train(_)));
    run.learner().history().iter().filter(of_phase).count()
}

#[test]
fn all_layers_are_trained_where_early_ones_tell_classes_apart() {
    let folder = tempfile::tempdir().unwrap();
    let photos = folder.path().join("photos");
    stripes(&photos, PHOTOS);
    let mut run = Run::prepare(&config(&photos), &env(&folder.path().join("run"))).unwrap();
    let texts = texts(&mut run);
    run.run().unwrap();
    // As many as make 150 steps of 8 of the 64 training photos.
    assert_eq!(unfrozen_epochs(&run), 19);
    assert!(texts.lock().unwrap().iter().any(|text| text.starts_with("yes")), "{texts:?}");
    let Some(Phase::Train(train)) = run.settings().recipe.phases.last() else {
        panic!("a phase of all layers")
    };
    assert_eq!(train.optimizer, Some(Optimizer::ADAM_W));
}

#[test]
fn a_run_of_all_layers_is_resumed_to_the_same_model() {
    let folder = tempfile::tempdir().unwrap();
    let photos = folder.path().join("photos");
    stripes(&photos, PHOTOS);
    let config = config(&photos);
    let whole = Run::prepare(&config, &env(&folder.path().join("whole"))).unwrap().run().unwrap();
    let stopped = folder.path().join("stopped");
    let mut run = Run::prepare(&config, &env(&stopped)).unwrap();
    let mut epochs = 0;
    run.observe(move |event: &Event| {
        epochs += usize::from(matches!(event, Event::Epoch(_)));
        if epochs == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(matches!(run.run(), Err(Error::Stopped)));
    drop(run);
    let mut resumed = Run::resume(&stopped, &RunEnv::default(), &Moved::default()).unwrap();
    let result = resumed.run().unwrap();
    assert_eq!(unfrozen_epochs(&resumed), 19);
    let (whole, resumed) =
        (TensorFile::read(&whole.model).unwrap(), TensorFile::read(&result.model).unwrap());
    for name in whole.names() {
        assert_eq!(whole.get(name).unwrap().values, resumed.get(name).unwrap().values, "{name}");
    }
}

#[test]
fn too_few_steps_end_it_at_the_head() {
    let folder = tempfile::tempdir().unwrap();
    let photos = folder.path().join("photos");
    stripes(&photos, PHOTOS);
    let config = RunConfig { batch_size: 64, ..config(&photos) };
    let mut run = Run::prepare(&config, &env(&folder.path().join("run"))).unwrap();
    let texts = texts(&mut run);
    run.run().unwrap();
    assert_eq!(run.learner().history().len(), 1);
    let expected = "no: 30 training steps are too few, since fewer than 150 seldom pay";
    assert!(texts.lock().unwrap().iter().any(|text| text == expected), "{texts:?}");
}

#[test]
fn too_few_photos_of_a_class_end_it_at_the_head() {
    let folder = tempfile::tempdir().unwrap();
    let photos = folder.path().join("photos");
    stripes(&photos, 15);
    let mut run = Run::prepare(&config(&photos), &env(&folder.path().join("run"))).unwrap();
    let texts = texts(&mut run);
    run.run().unwrap();
    assert_eq!(run.learner().history().len(), 1);
    let texts = texts.lock().unwrap();
    let expected =
        "no: that seldom pays with fewer than 20 training photos of each class, and these are 12 on average";
    assert_eq!(texts.iter().filter(|text| *text == expected).count(), 1, "{texts:?}");
}

#[test]
fn all_layers_are_trained_at_the_size_of_smaller_photos() {
    let folder = tempfile::tempdir().unwrap();
    let photos = folder.path().join("photos");
    stripes(&photos, 5);
    let out = folder.path().join("run");
    let config = RunConfig { size: 224, ..config(&photos) };
    let run = Run::prepare(&config, &env(&out)).unwrap();
    let phases = &run.settings().recipe.phases;
    assert_eq!(run.learner().data().size(), 224);
    let resized =
        phases.iter().position(|phase| *phase == Phase::Resize { size: 128 }).expect("a smaller size");
    assert_eq!(phases[resized - 1], Phase::EndUnlessPromising);
    assert!(matches!(phases[resized + 1..], [Phase::LogisticRegression(_), Phase::Train(_)]), "{phases:?}");
    drop(run);
    // What was chosen is what config.toml says: the same again takes no other decision.
    let again = RunConfig::read(out.join("config.toml")).unwrap();
    assert!(!again.fit_to_photos);
    let run = Run::prepare(&again, &env(&folder.path().join("again"))).unwrap();
    assert_eq!(run.settings(), &again);
}

#[test]
fn a_short_time_makes_images_smaller_and_leaves_out_what_does_not_fit() {
    let folder = tempfile::tempdir().unwrap();
    let photos = folder.path().join("photos");
    stripes(&photos, PHOTOS);
    let mut config = RunConfig { size: 224, ..config(&photos) };
    config.recipe.time_limit = Some(1.0);
    config.recipe.phases.retain(|phase| *phase != Phase::EndUnlessPromising);
    if let Some(Phase::Train(train)) = config.recipe.phases.last_mut() {
        train.schedule = OneCycle::epochs(1000).into();
    }
    let mut run = Run::prepare(&config, &env(&folder.path().join("run"))).unwrap();
    let size = run.learner().data().size();
    assert!(size == 224 || size.is_multiple_of(32) && size >= 64, "{size}");
    assert_eq!(run.settings().size, size);
    let texts = texts(&mut run);
    run.run().unwrap();
    let epochs = unfrozen_epochs(&run);
    assert!(epochs < 1000, "{epochs}");
    let texts = texts.lock().unwrap();
    let said = match epochs {
        0 => "all layers are not trained",
        _ => "into the time",
    };
    assert!(texts.iter().any(|text| text.contains(said)), "{epochs} epochs: {texts:?}");
    // And how much time would be enough, where an epoch was measured.
    let measured = |text: &&String| text.contains("all layers") && text.contains("takes about");
    let Some(text) = texts.iter().find(measured) else { return };
    let enough: f64 = text.split("`time_limit` ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(enough >= 10.0 && enough % 10.0 == 0.0, "{text}");
}

#[test]
fn a_time_limit_out_of_range_is_refused() {
    let mut config = RunConfig::new("nowhere");
    for seconds in [0.0, -5.0, f64::NAN, 1e300] {
        config.recipe.time_limit = Some(seconds);
        let error = Run::prepare(&config, &RunEnv::default()).err().expect("an error").to_string();
        assert!(error.contains("time_limit"), "{error}");
    }
}
