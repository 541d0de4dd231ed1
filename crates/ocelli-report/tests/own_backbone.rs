//! The report of a run on a backbone, and with a head, of the user's own: those of the example `custom_backbone`.

#[allow(dead_code)] // its `main`
#[path = "../../ocelli/examples/custom_backbone.rs"]
mod custom_backbone;

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use custom_backbone::{Blocks, OneLayer};
use ocelli::nn::{Backbone, Head, Network};
use ocelli::{
    Epochs, Error, Freezing, ImageData, Learner, LrChoice, Normalization, Phase, Recipe, Run, RunConfig,
    RunEnv, TrainPhase,
};
use ocelli_report::{ReportOptions, report_run, report_run_with};

const NORMALIZATION: Normalization = Normalization { mean: [127.5; 3], std: [127.5; 3] };

/// Twenty pictures of each of three classes.
fn photos(folder: &Path) -> PathBuf {
    let (photos, samples) =
        (folder.join("photos"), concat!(env!("CARGO_MANIFEST_DIR"), "/../../samples/emoji"));
    for class in ["flags", "food-and-drink", "symbols"] {
        fs::create_dir_all(photos.join(class)).unwrap();
        let mut pictures: Vec<PathBuf> = fs::read_dir(Path::new(samples).join(class))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        pictures.sort();
        for picture in pictures.iter().take(20) {
            fs::copy(picture, photos.join(class).join(picture.file_name().unwrap())).unwrap();
        }
    }
    photos
}

/// Two epochs of all layers.
fn config(photos: PathBuf) -> RunConfig {
    let train = TrainPhase {
        freezing: Freezing::Streamed { frozen: 0 },
        lr: LrChoice::Fixed(1e-2.into()),
        schedule: Epochs(2).into(),
        optimizer: None,
    };
    let mut config = RunConfig::new(photos);
    config.arch = "blocks".to_owned();
    (config.size, config.batch_size, config.augmentation) = (32, 16, None);
    config.train.train_bn = true;
    config.recipe = Recipe::from(vec![Phase::Train(train)]);
    config
}

fn with_usual_head(_: &RunConfig, data: ImageData) -> ocelli::Result<Learner<Blocks<Head>>> {
    Ok(Learner::from_backbone(Blocks::new(&Device::flex()), "blocks", NORMALIZATION, data))
}

fn with_own_head(_: &RunConfig, data: ImageData) -> ocelli::Result<Learner<Blocks<OneLayer>>> {
    let device = Device::flex();
    let body = Blocks::new(&device);
    let head = OneLayer::new(body.channels(), data.classes().len(), &device);
    Learner::from_network(Network::from_modules(body, head), "blocks", NORMALIZATION, data)
}

/// Trains in a folder and writes the report; what it shows must be what the run has come to.
fn has_its_report<B: Backbone>(learner: impl Fn(&RunConfig, ImageData) -> ocelli::Result<Learner<B>>) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let config = config(photos(folder.path()));
    let env = RunEnv { out: Some(out.clone()), ..RunEnv::default() };
    let mut run = Run::prepare_with(&config, &env, |data| learner(&config, data)).unwrap();
    run.run().unwrap();
    let measured = run.learner().data().valid_len();
    drop(run);

    // The registry does not know the backbone.
    let error = report_run(&out, ReportOptions::default()).unwrap_err();
    assert!(matches!(&error, Error::NotAModel { reason, .. } if reason.contains("blocks")), "{error}");

    let report = report_run_with(&out, ReportOptions::default(), &learner).unwrap();
    assert!(report.notices.is_empty(), "{:?}", report.notices);
    assert_eq!(report.named.len(), measured);
    assert_eq!(report.label_errors.unwrap().images, 60 - measured, "each training image is judged once");
    let page = fs::read_to_string(&report.page).unwrap();
    let pictures = page.matches("data:image/jpeg").count();
    assert!(page.contains("\"heat\":[") && pictures > measured, "{pictures} pictures");
    for name in ["confusion.png", "losses.svg", "classes.csv"] {
        assert!(out.join("results").join(name).is_file(), "{name}");
    }
}

#[test]
fn a_custom_backbone_has_its_report() {
    has_its_report(with_usual_head);
}

#[test]
fn a_custom_head_has_its_report() {
    has_its_report(with_own_head);
}
