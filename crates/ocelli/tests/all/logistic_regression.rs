//! The head as a logistic regression: what it chooses, what it predicts, and the file of its model.

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex};

use ocelli::finished::FinishedRun;
use ocelli::prelude::*;
use ocelli::review::ReviewOptions;
use ocelli::{
    ClassWeights, Error, LogisticRegression, LogisticRegressionFit, Metric, Phase, Run, RunConfig, RunEnv,
    Stop, TensorFile, ValidSplit,
};

const PHOTOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../samples/emoji");
const SIZE: usize = 64;

fn learner() -> Learner {
    let data = ImageData::from_folder(PHOTOS).size(SIZE).load().unwrap();
    Learner::pretrained(Arch::EfficientNetLite0, data).unwrap()
}

/// A learner, and the fits that it reports.
fn watched() -> (Learner, Arc<Mutex<Vec<LogisticRegressionFit>>>) {
    let (mut learner, fits) = (learner(), Arc::new(Mutex::new(Vec::new())));
    let seen = fits.clone();
    learner.observe(move |event: &Event| {
        if let Event::LogisticRegression(fit) = event {
            seen.lock().unwrap().push(fit.clone());
        }
        ControlFlow::Continue(())
    });
    (learner, fits)
}

#[test]
fn the_best_setting_in_cross_validation_is_used_and_the_model_has_it() {
    let (mut learner, fits) = watched();
    learner.keep_best(Some(Metric::Accuracy));
    let row = learner.logistic_regression(&LogisticRegression::default()).unwrap();
    let fits = fits.lock().unwrap();
    let [fit] = &fits[..] else { panic!("one fit: {fits:?}") };
    let best = fit.candidates.iter().min_by(|a, b| a.log_loss.total_cmp(&b.log_loss)).unwrap();
    assert_eq!((&best.depths, best.c), (&fit.depths, fit.c), "{fit:?}");
    assert!(
        fit.candidates.iter().any(|candidate| candidate.depths.is_empty()),
        "the last stage alone is tried"
    );
    assert!(fit.candidates.iter().any(|candidate| candidate.depths.len() > 2), "{fit:?}");
    assert!(row.best && row.accuracy.unwrap() > 0.6, "{row:?}");
    assert!(row.train_loss < row.valid_loss.unwrap(), "{row:?}");
    // Cross-validation has not seen the validation images, and agrees with them.
    let several = (best.accuracy * (1.0 - best.accuracy) / 140.0).sqrt() * 4.0;
    assert!((best.accuracy - row.accuracy.unwrap()).abs() < several, "{best:?} and {row:?}");

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    learner.save(&path).unwrap();
    let model = Model::load(&path).unwrap();
    assert_eq!(model.config().head.depths, fit.depths);
    let expected = learner.validate().unwrap();
    let files: Vec<_> =
        expected.items().iter().map(|&item| learner.data().items()[item].path.clone()).collect();
    let predicted = model.predict(files.iter()).unwrap();
    for (row, prediction) in predicted.enumerate() {
        let found: Vec<f32> = prediction.unwrap().probabilities;
        for (found, expected) in found.iter().zip(expected.row(row)) {
            assert!((found - expected).abs() < 2e-3, "row {row}: {found}, {expected}");
        }
    }
}

/// A network that is fitted in one go, or in pieces, is the same: settings that are given are used.
#[test]
fn given_settings_are_used_and_nothing_is_compared() {
    let (mut learner, fits) = watched();
    let given =
        LogisticRegression { depths: Some(vec![5, 7]), c: Some(0.02), ..LogisticRegression::default() };
    learner.logistic_regression(&given).unwrap();
    let fit = fits.lock().unwrap()[0].clone();
    assert_eq!((fit.depths, fit.c, fit.candidates.len()), (vec![5, 7], 0.02, 0));
    assert_eq!(learner.network().depths(), [5, 7]);
    let wrong =
        |settings: LogisticRegression| learner.logistic_regression(&settings).unwrap_err().to_string();
    let mut wrong = wrong;
    assert!(wrong(LogisticRegression { depths: Some(vec![8]), ..given.clone() }).contains("depths"));
    assert!(wrong(LogisticRegression { c: Some(0.0), ..given.clone() }).contains("c"));
    assert!(wrong(LogisticRegression { folds: 1, ..given }).contains("folds"));
}

#[test]
fn the_bits_do_not_depend_on_the_number_of_threads() {
    let tensors = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut learner = learner();
            learner.logistic_regression(&LogisticRegression::default()).unwrap();
            learner.network().to_tensors()
        })
    };
    let (one, three) = (tensors(1), tensors(3));
    for name in one.names() {
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&one.get(name).unwrap().values), bits(&three.get(name).unwrap().values), "{name}");
    }
}

/// All layers go on from the linear head, at a learning rate at which nothing is lost.
#[test]
fn all_layers_train_on_from_it() {
    let mut learner = learner();
    learner.keep_best(Some(Metric::Accuracy));
    let fitted = learner.logistic_regression(&LogisticRegression::default()).unwrap();
    learner.unfreeze();
    let rows = learner.fit([1e-5, 1e-5, 1e-5], Epochs(1)).unwrap();
    let (before, after) = (fitted.valid_loss.unwrap(), rows[0].valid_loss.unwrap());
    assert!((after - before).abs() < 0.2 * before, "{before} and {after}");
}

#[test]
fn rare_classes_weigh_more_where_that_is_asked_for() {
    let recall = |weights: ClassWeights| {
        let mut learner = learner();
        learner.set_options(TrainOptions {
            loss: Loss::default().class_weights(weights),
            ..TrainOptions::default()
        });
        let given =
            LogisticRegression { depths: Some(Vec::new()), c: Some(0.01), ..LogisticRegression::default() };
        learner.logistic_regression(&given).unwrap();
        let predictions = learner.validate().unwrap();
        let first = predictions.targets().iter().enumerate().filter(|(_, target)| target.classes() == [0]);
        let rows: Vec<usize> = first.map(|(row, _)| row).collect();
        rows.iter().map(|&row| f64::from(predictions.row(row)[0])).sum::<f64>() / rows.len() as f64
    };
    let classes = learner().data().classes().len();
    let mut given = vec![1.0; classes];
    given[0] = 20.0;
    let (equal, more) = (recall(ClassWeights::Equal), recall(ClassWeights::Given(given)));
    assert!(more > equal, "{more} after {equal}");
}

#[test]
fn a_loss_that_it_does_not_minimise_is_refused() {
    let mut learner = learner();
    learner.set_options(TrainOptions { loss: Loss::focal(2.0), ..TrainOptions::default() });
    let error = learner.logistic_regression(&LogisticRegression::default()).unwrap_err();
    assert!(matches!(error, Error::Setting { .. }), "{error}");
}

#[test]
fn few_photos_a_class_are_fitted_too() {
    let folder = tempfile::tempdir().unwrap();
    for (class, photos) in [("animals-and-nature", 1), ("flags", 2)] {
        std::fs::create_dir(folder.path().join(class)).unwrap();
        let from = std::path::Path::new(PHOTOS).join(class);
        let mut names: Vec<_> = std::fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.sort();
        for name in &names[..photos] {
            std::fs::copy(name, folder.path().join(class).join(name.file_name().unwrap())).unwrap();
        }
    }
    let data =
        ImageData::from_folder(folder.path()).size(32).valid_split(ValidSplit::Nothing).load().unwrap();
    let mut learner = Learner::pretrained(Arch::EfficientNetLite0, data).unwrap();
    let row = learner.logistic_regression(&LogisticRegression::default()).unwrap();
    assert!(row.train_loss.is_finite() && row.valid_loss.is_none(), "{row:?}");
}

/// A run is the same run after an interruption, and its report can be made.
#[test]
fn a_run_of_it_is_resumed_to_the_same_model() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = RunConfig::new(PHOTOS);
    (config.size, config.batch_size) = (32, 16);
    let phases = vec![
        Phase::LogisticRegression(LogisticRegression::default()),
        Phase::Train(ocelli::TrainPhase {
            freezing: ocelli::Freezing::Cached { frozen: 2, augmented_copies: 0 },
            lr: ocelli::LrChoice::Fixed(1e-4.into()),
            schedule: Epochs(3).into(),
            optimizer: None,
        }),
    ];
    config.recipe = Recipe::from(phases);
    let env = |name: &str| RunEnv { out: Some(folder.path().join(name)), ..RunEnv::default() };
    let whole = Run::prepare(&config, &env("whole")).unwrap().run().unwrap();
    let mut run = Run::prepare(&config, &env("stopped")).unwrap();
    let epochs = Mutex::new(0);
    run.observe(move |event: &Event| {
        let mut epochs = epochs.lock().unwrap();
        *epochs += usize::from(matches!(event, Event::Epoch(_)));
        if *epochs == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    assert!(matches!(run.run(), Err(Error::Stopped)));
    drop(run);
    let stopped = folder.path().join("stopped");
    let resumed =
        Run::resume(&stopped, &RunEnv::default(), &ocelli::Moved::default()).unwrap().run().unwrap();
    let model = |path: &std::path::Path| TensorFile::read(path).unwrap();
    let (whole, resumed) = (model(&whole.model), model(&resumed.model));
    for name in whole.names() {
        assert_eq!(whole.get(name).unwrap().values, resumed.get(name).unwrap().values, "{name}");
    }
}

/// Labels are checked by regressions on the features that the run has cached, those of several depths.
#[test]
fn its_labels_are_reviewed_from_cached_features() {
    let folder = tempfile::tempdir().unwrap();
    let (out, cache) = (folder.path().join("run"), folder.path().join("cache"));
    let mut config = RunConfig::new(PHOTOS);
    (config.size, config.batch_size) = (32, 16);
    let settings = LogisticRegression {
        depths: Some(vec![2, 4]),
        c: Some(0.01),
        folds: 2,
        ..LogisticRegression::default()
    };
    config.recipe = Recipe::from(vec![Phase::LogisticRegression(settings)]);
    let env = RunEnv { out: Some(out.clone()), cache: Some(cache.clone()), ..RunEnv::default() };
    Run::prepare(&config, &env).unwrap().run().unwrap();
    let run = FinishedRun::open(&out).unwrap();
    let mut predictions = run.labelled_predictions().unwrap();
    let (data, _) = run.images(&mut predictions, None, 0, &Stop::default()).unwrap();
    let options = |only_cached| ReviewOptions {
        cache: Some(cache.clone()),
        only_cached,
        features: true,
        ..ReviewOptions::default()
    };
    let review = run.review_labels(&data, options(true), &Stop::default()).unwrap().expect("cached features");
    assert_eq!(review.predictions.predictions.items().len(), 560);
    let accuracy = review.predictions.predictions.accuracy().value();
    assert!(accuracy > 0.5, "{accuracy}");
    // Neighbours are found by the last stage alone, as for other heads.
    let last = run.model_config().unwrap();
    assert_eq!(last.head.depths, [2, 4]);
    let width = review.features.unwrap().len() / 560;
    assert_eq!(width, 2560);
}

/// Copies of a photo in both parts of a fold would give away its label, which means nothing here.
#[test]
fn images_of_a_group_are_in_one_fold() {
    let folder = tempfile::tempdir().unwrap();
    let mut flags: Vec<_> =
        fs::read_dir(Path::new(PHOTOS).join("flags")).unwrap().map(|entry| entry.unwrap().path()).collect();
    flags.sort();
    for (subject, flag) in flags.iter().take(40).enumerate() {
        let class = folder.path().join(["a", "b"][subject % 2]);
        fs::create_dir_all(&class).unwrap();
        for copy in 0..3 {
            // Bytes after the end of a PNG file are no part of the picture.
            let bytes = [fs::read(flag).unwrap(), vec![copy]].concat();
            fs::write(class.join(format!("subject{subject}_{copy}.png")), bytes).unwrap();
        }
    }
    let accuracy = |grouped: bool| {
        let mut data = ImageData::from_folder(folder.path()).size(SIZE).valid_split(ValidSplit::Nothing);
        if grouped {
            data = data.groups(ocelli::Grouping::Pattern("^(subject[0-9]+)_".to_owned()));
        }
        let mut learner = Learner::pretrained(Arch::EfficientNetLite0, data.load().unwrap()).unwrap();
        let best = Arc::new(Mutex::new(f64::NAN));
        let seen = best.clone();
        learner.observe(move |event: &Event| {
            if let Event::LogisticRegression(fit) = event {
                let candidates = fit.candidates.iter();
                let best = candidates.min_by(|a, b| a.log_loss.total_cmp(&b.log_loss)).unwrap();
                *seen.lock().unwrap() = best.accuracy;
            }
            ControlFlow::Continue(())
        });
        learner.logistic_regression(&LogisticRegression::default()).unwrap();
        *best.lock().unwrap()
    };
    let (apart, together) = (accuracy(false), accuracy(true));
    assert!(apart > 0.9, "{apart}");
    assert!(together < 0.75, "{together}");
}
