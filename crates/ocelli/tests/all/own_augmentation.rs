//! Custom transforms in training: the same after a restart, never left out in silence, never taken from an old cache.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use ocelli::event::Activity;
use ocelli::prelude::*;
use ocelli::{
    CustomTransform, DataError, Error, Event, Freezing, LrChoice, Moved, Phase, RgbImage, Run, RunConfig,
    RunEnv, TensorFile, TrainPhase,
};

/// Two classes of 12 small pictures each, no two alike.
fn photos(folder: &Path) -> PathBuf {
    let photos = folder.join("photos");
    for (class, other) in [("dark", 40u8), ("light", 200)] {
        std::fs::create_dir_all(photos.join(class)).unwrap();
        for picture in 0..12u8 {
            let pixels = (0..32 * 32).flat_map(|at: usize| [other, (at % 32) as u8 * picture, 100]);
            let image = RgbImage::new(32, 32, pixels.collect()).unwrap();
            image.write_png(photos.join(class).join(format!("{picture}.png"))).unwrap();
        }
    }
    photos
}

/// Darkens by up to so much.
fn shade(name: &str, most: f64) -> CustomTransform {
    CustomTransform::new(name, move |pixels, draws| {
        let factor = 1.0 - draws.between(0.0, most) as f32;
        pixels.values().iter_mut().flatten().for_each(|value| *value *= factor);
    })
}

/// The head after two epochs, on features of two augmented copies or on images.
fn trained(
    photos: &Path,
    custom: CustomTransform,
    cache: Option<&Path>,
    threads: usize,
) -> ocelli::Result<TensorFile> {
    let augmentation = Augmentation::none().with(custom);
    let data = ImageData::from_folder(photos)
        .size(32)
        .batch_size(8)
        .threads(threads)
        .augmentation(augmentation)
        .load()?;
    let mut learner = Learner::pretrained(Arch::EfficientNetLite0, data)?;
    if let Some(cache) = cache {
        learner.set_cache(cache);
        learner.cache_augmented_copies(2)?;
    }
    learner.fit(1e-2, Epochs(2))?;
    Ok(learner.network().to_tensors())
}

fn same(one: &TensorFile, other: &TensorFile) -> bool {
    one.names().all(|name| one.get(name) == other.get(name))
}

#[test]
fn the_same_draws_are_made_with_any_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let photos = photos(folder.path());
    let one = trained(&photos, shade("shade", 0.9), None, 1).unwrap();
    assert!(same(&one, &trained(&photos, shade("shade", 0.9), None, 3).unwrap()));
    assert!(
        !same(&one, &trained(&photos, shade("shade", 0.1), None, 1).unwrap()),
        "the transform does nothing"
    );
}

#[test]
fn cached_features_are_those_of_the_code_at_hand() {
    let folder = tempfile::tempdir().unwrap();
    let photos = photos(folder.path());
    let (cache, fresh) = (folder.path().join("cache"), folder.path().join("fresh"));
    let before = trained(&photos, shade("shade", 0.9), Some(&cache), 1).unwrap();
    // Another function under the same name.
    let after = trained(&photos, shade("shade", 0.1), Some(&cache), 1).unwrap();
    assert!(!same(&before, &after));
    assert!(same(&after, &trained(&photos, shade("shade", 0.1), Some(&fresh), 1).unwrap()));
}

#[test]
fn what_fails_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let photos = photos(folder.path());
    let refused = |custom| match trained(&photos, custom, None, 1) {
        Err(Error::Data(error @ DataError::Transform { .. })) => error.to_string(),
        other => panic!("{:?}", other.map(drop)),
    };
    let text = refused(CustomTransform::new("nan", |pixels, _| pixels[(3, 4)] = [f32::NAN; 3]));
    assert!(text.contains("\"nan\"") && text.contains("NaN"), "{text}");
    let text = refused(CustomTransform::new("outside", |pixels, _| pixels[(32, 0)] = [0.0; 3]));
    assert!(text.contains("\"outside\"") && text.contains("(32, 0)"), "{text}");
    assert!(shade("Not a name", 0.1).register().is_err());
}

/// A run of two epochs on augmented images.
fn config(photos: &Path, custom: CustomTransform) -> RunConfig {
    let train = TrainPhase {
        freezing: Freezing::Streamed { frozen: 2 },
        lr: LrChoice::Fixed(1e-2.into()),
        schedule: Epochs(2).into(),
        optimizer: None,
    };
    let mut config = RunConfig::new(photos);
    (config.size, config.batch_size) = (32, 8);
    config.augmentation = Some(Augmentation::none().with(custom));
    config.recipe = Recipe::from(vec![Phase::Train(train)]);
    config
}

/// Stops in the second epoch: an epoch has three batches.
fn stop(run: &mut Run) {
    let mut steps = 0;
    run.observe(move |event: &Event| {
        let counts = matches!(event, Event::Progress(progress) if progress.activity == Activity::Training);
        steps += usize::from(counts);
        if counts && steps == 4 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(matches!(run.run(), Err(Error::Stopped)));
}

#[test]
fn a_run_is_resumed_with_its_transform_and_never_without() {
    let folder = tempfile::tempdir().unwrap();
    let photos = photos(folder.path());
    let env = |name: &str| RunEnv { out: Some(folder.path().join(name)), ..RunEnv::default() };
    let resume = |name: &str| Run::resume(&folder.path().join(name), &RunEnv::default(), &Moved::default());

    let known = config(&photos, shade("known", 0.9).register().unwrap());
    let mut whole = Run::prepare(&known, &env("whole")).unwrap();
    whole.run().unwrap();
    stop(&mut Run::prepare(&known, &env("known")).unwrap());
    let mut resumed = resume("known").unwrap();
    resumed.run().unwrap();
    let [whole, resumed] = [&whole, &resumed].map(|run| run.learner().network().to_tensors());
    assert!(same(&whole, &resumed));

    stop(&mut Run::prepare(&config(&photos, shade("unknown", 0.9)), &env("unknown")).unwrap());
    match resume("unknown").err().unwrap() {
        Error::Data(DataError::TransformNotRegistered { name }) => assert_eq!(name, "unknown"),
        error => panic!("{error}"),
    }
    shade("unknown", 0.9).register().unwrap();
    resume("unknown").unwrap();
}
