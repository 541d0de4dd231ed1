//! Cross-validation: each image is predicted by a model that has not seen it, and the model has seen all.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use ocelli::finished::FinishedRun;
use ocelli::prelude::*;
use ocelli::{
    Error, Freezing, LogisticRegression, LrChoice, Moved, Phase, Run, RunConfig, RunEnv, RunResult,
    TensorFile, TrainPhase, ValidSplit,
};

const PHOTOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../samples/emoji");
const FOLDS: usize = 3;

/// A regression, whose features are cached, and if asked for epochs, among which the best is chosen.
fn config(epochs: usize) -> RunConfig {
    let mut config = RunConfig::new(PHOTOS);
    (config.size, config.batch_size, config.valid_split) = (32, 16, Some(ValidSplit::Folds(FOLDS)));
    let settings = LogisticRegression {
        depths: Some(Vec::new()),
        c: Some(0.01),
        folds: 2,
        ..LogisticRegression::default()
    };
    let mut phases = vec![Phase::LogisticRegression(settings)];
    if epochs > 0 {
        phases.push(Phase::Train(TrainPhase {
            freezing: Freezing::Cached { frozen: 2, augmented_copies: 0 },
            lr: LrChoice::Fixed(1e-3.into()),
            schedule: Epochs(epochs).into(),
            optimizer: None,
        }));
    }
    config.recipe = Recipe::from(phases);
    config
}

fn env(folder: &Path, name: &str) -> RunEnv {
    RunEnv { out: Some(folder.join(name)), cache: Some(folder.join("cache")), ..RunEnv::default() }
}

fn run(config: &RunConfig, env: &RunEnv) -> RunResult {
    let mut run = Run::prepare(config, env).unwrap();
    run.run_folds(env, &Moved::default(), &mut |_, _| {}).unwrap();
    run.run().unwrap()
}

#[test]
fn each_image_is_predicted_by_the_fold_that_has_not_seen_it() {
    let folder = tempfile::tempdir().unwrap();
    let env = env(folder.path(), "run");
    let outcome = run(&config(0), &env);
    assert_eq!(outcome.predictions.items(), (0..700).collect::<Vec<_>>());
    assert_eq!(outcome.corrected, None, "there was no choice among epochs");

    let all = FinishedRun::open(folder.path().join("run")).unwrap();
    let record = all.model_config().unwrap().training.unwrap();
    assert_eq!((record.train_images, record.valid_images, record.folds), (700, 0, Some(FOLDS)));
    assert_eq!(all.folds.iter().map(|fold| fold.images).sum::<usize>(), 700);
    let named = all.predictions().unwrap();
    let classes = named.classes.len();
    let row_of: HashMap<&str, usize> = named.ids.iter().map(String::as_str).zip(0..).collect();
    let mut seen = HashSet::new();
    for fold in 1..=FOLDS {
        let path = folder.path().join(format!("run/fold-{fold}"));
        let split = fs::read_to_string(path.join("split.csv")).unwrap();
        let held_out: Vec<&str> = split.lines().filter_map(|line| line.strip_suffix(",valid")).collect();
        let photos: Vec<_> = held_out.iter().map(|id| Path::new(PHOTOS).join(id)).collect();
        let model = Model::load(path.join("model.safetensors")).unwrap();
        for (id, prediction) in held_out.iter().zip(model.predict(photos).unwrap()) {
            let row = row_of[*id];
            let kept = &named.predictions.probabilities()[row * classes..][..classes];
            for (kept, now) in kept.iter().zip(&prediction.unwrap().probabilities) {
                assert!((kept - now).abs() < 1e-4, "{id} in fold {fold}: {kept} and {now}");
            }
            assert!(seen.insert(row), "{id} is in one fold");
        }
    }
    assert_eq!(seen.len(), 700);
    let right = (0..700).filter(|&row| named.is_right(row)).count();
    let accuracy = record.metrics.iter().find(|metric| metric.metric == "accuracy").unwrap();
    assert!((accuracy.value.unwrap() - right as f64 / 700.0).abs() < 1e-12);
    assert!(right > 350, "{right}");
}

#[test]
fn stopped_in_a_fold_it_goes_on_to_the_same_predictions_and_the_same_model() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(3);
    let whole = run(&config, &env(folder.path(), "whole"));
    let corrected = whole.corrected.expect("the best of several epochs was chosen in each fold");
    assert!(
        corrected.epochs == 4 && corrected.value <= whole.predictions.accuracy().value(),
        "{corrected:?}"
    );
    assert!(
        corrected.interval.0 < corrected.value && corrected.value < corrected.interval.1,
        "{corrected:?}"
    );

    let env = env(folder.path(), "stopped");
    let mut stopped = Run::prepare(&config, &env).unwrap();
    let mut begin = |run: &mut Run, fold: usize| {
        run.observe(move |event: &Event| match event {
            Event::Epoch(row) if fold == 2 && row.fit == 2 && row.epoch == 2 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        });
    };
    let result = stopped.run_folds(&env, &Moved::default(), &mut begin);
    assert!(matches!(result, Err(Error::Stopped)), "{result:?}");
    assert!(stopped.has_checkpoint());
    drop(stopped);

    // In a copy, so that the interrupted one stays as it is.
    let copy = RunEnv { out: Some(folder.path().join("copy")), ..env.clone() };
    let mut resumed = Run::resume(&folder.path().join("stopped"), &copy, &Moved::default()).unwrap();
    let mut begun = Vec::new();
    resumed.run_folds(&copy, &Moved::default(), &mut |_, fold| begun.push(fold)).unwrap();
    assert_eq!(begun, [2, 3], "the first fold was finished");
    let resumed = resumed.run().unwrap();
    assert!(!folder.path().join("stopped/fold-3").exists());
    let text = |name: &str| fs::read_to_string(folder.path().join(name).join("predictions.csv")).unwrap();
    assert_eq!(text("whole"), text("copy"));
    assert_eq!(whole.corrected, resumed.corrected);
    let model = |path: &Path| TensorFile::read(path).unwrap();
    let (whole, resumed) = (model(&whole.model), model(&resumed.model));
    for name in whole.names() {
        assert_eq!(whole.get(name).unwrap().values, resumed.get(name).unwrap().values, "{name}");
    }
}

#[test]
fn folds_stay_those_that_the_run_began_with_where_photos_come_and_go() {
    let folder = tempfile::tempdir().unwrap();
    let photos = folder.path().join("photos");
    let mut samples: Vec<_> = ["flags", "symbols", "food-and-drink"]
        .into_iter()
        .flat_map(|class| {
            let files = fs::read_dir(Path::new(PHOTOS).join(class)).unwrap();
            let mut files: Vec<_> = files.map(|file| file.unwrap().path()).collect();
            files.sort();
            files.truncate(13);
            files.into_iter().map(move |file| (class, file))
        })
        .collect();
    let put = |(class, file): &(&str, std::path::PathBuf)| {
        fs::create_dir_all(photos.join(class)).unwrap();
        fs::copy(file, photos.join(class).join(file.file_name().unwrap())).unwrap();
        format!("{class}/{}", file.file_name().unwrap().to_str().unwrap())
    };
    let later = samples.remove(5);
    let began: HashSet<String> = samples.iter().map(put).collect();
    let config = RunConfig { data: photos.clone(), ..config(0) };
    let env = env(folder.path(), "run");
    let mut stopped = Run::prepare(&config, &env).unwrap();
    let mut begin = |run: &mut Run, fold: usize| {
        run.observe(move |event: &Event| match event {
            Event::LogisticRegression(_) if fold == 2 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        });
    };
    let result = stopped.run_folds(&env, &Moved::default(), &mut begin);
    assert!(matches!(result, Err(Error::Stopped)), "{result:?}");
    drop(stopped);
    let run = folder.path().join("run");
    let text = fs::read_to_string(run.join("folds.csv")).unwrap();
    let of_each: HashMap<&str, &str> = text.lines().skip(1).filter_map(|line| line.split_once(',')).collect();
    assert_eq!(of_each.len(), began.len());
    // One photo of the fold that is still to begin is gone, and another one is there.
    let (gone, _) = of_each.iter().find(|(_, fold)| **fold == "3").unwrap();
    fs::remove_file(photos.join(gone)).unwrap();
    put(&later);
    let moved = Moved { without_changed: true, ..Moved::default() };
    let env = RunEnv { out: None, ..env };
    let mut resumed = Run::resume(&run, &env, &moved).unwrap();
    resumed.run_folds(&env, &moved, &mut |_, _| {}).unwrap();
    resumed.run().unwrap();
    let mut seen = HashSet::new();
    for fold in 1..=FOLDS {
        let split = fs::read_to_string(run.join(format!("fold-{fold}/split.csv"))).unwrap();
        for id in split.lines().filter_map(|line| line.strip_suffix(",valid")) {
            assert_eq!(of_each[id], fold.to_string(), "{id}");
            assert!(seen.insert(id.to_owned()), "{id} is in one fold");
        }
        let added = later.1.file_name().unwrap().to_str().unwrap();
        let of_added = split.lines().find(|line| line.contains(added));
        assert!(of_added.is_none_or(|line| line.ends_with(",test")), "added in fold {fold}: {of_added:?}");
    }
    let expected: HashSet<String> = began.into_iter().filter(|id| id != gone).collect();
    assert_eq!(seen, expected);
    let predicted = FinishedRun::open(&run).unwrap().predictions().unwrap();
    assert_eq!(predicted.ids.len(), expected.len());
    assert_eq!(predicted.ids.into_iter().collect::<HashSet<_>>(), expected);
}

#[test]
fn what_cannot_be_cross_validated_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let one = RunConfig { valid_split: Some(ValidSplit::Folds(1)), ..config(0) };
    let refused = Run::prepare(&one, &env(folder.path(), "one")).err().expect("one fold");
    assert!(matches!(&refused, Error::Setting { name: "folds", .. }), "{refused}");
    let env = env(folder.path(), "run");
    let refused = Run::prepare(&config(0), &env).unwrap().run();
    assert!(matches!(refused, Err(Error::FoldsNotRun { .. })), "{refused:?}");
}
