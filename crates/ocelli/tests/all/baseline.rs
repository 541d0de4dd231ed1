//! What a model has to be better than, and images that are too small for its backbone.

use ocelli::prelude::*;
use ocelli::{Metric, PredictionParts, Predictions, Target, Task, Tta};

fn data() -> ImageData {
    let photos = concat!(env!("CARGO_MANIFEST_DIR"), "/../../samples/emoji");
    ImageData::from_folder(photos).size(32).load().unwrap()
}

#[test]
fn the_baseline_is_the_share_of_the_most_frequent_class() {
    let data = data();
    let valid = data.split().valid.clone();
    let class = |item: usize| data.items()[item].target.classes()[0];
    let trained = |wanted: usize| data.split().train.iter().filter(|&&item| class(item) == wanted).count();
    let most = (0..data.classes().len()).rev().max_by_key(|&class| trained(class)).unwrap();
    let baseline = data.baseline(&valid);
    assert!((0..valid.len()).all(|place| baseline.predicted_labels(place) == [most]));
    let share = valid.iter().filter(|&&item| class(item) == most).count() as f64 / valid.len() as f64;
    assert_eq!(baseline.value(Metric::Accuracy), share);
    assert_eq!(baseline.value(Metric::Auroc), 0.5, "it tells no image from another");
    let row: f32 = baseline.row(0).iter().sum();
    assert!((row - 1.0).abs() < 1e-5);
}

#[test]
fn only_what_is_clearly_better_than_the_baseline_is_shown_to_be() {
    let data = data();
    let valid = data.split().valid.clone();
    let baseline = data.baseline(&valid);
    let with_right = |right: usize| {
        let mut model = baseline.clone().into_parts();
        let classes = model.classes;
        for place in 0..model.items.len() {
            let own = model.targets[place].classes()[0];
            let said = if place < right { own } else { (own + 1) % classes };
            let row = &mut model.probabilities[place * classes..][..classes];
            row.fill(0.0);
            row[said] = 1.0;
        }
        Predictions::from_parts(model)
    };
    let metric = Metric::Accuracy;
    let always = baseline.accuracy().count;
    assert!(!baseline.is_significantly_better(&baseline, metric));
    assert!(!with_right(always).is_significantly_better(&baseline, metric));
    assert!(!with_right(always + 2).is_significantly_better(&baseline, metric), "two more may be chance");
    assert!(with_right(valid.len()).is_significantly_better(&baseline, metric));
    assert!(!baseline.is_significantly_better(&with_right(valid.len()), metric));
    // Metrics that are no share of the images.
    for metric in ["f1-macro", "balanced-accuracy", "auroc"] {
        let metric: Metric = metric.parse().unwrap();
        assert!(with_right(valid.len()).is_significantly_better(&baseline, metric), "{metric}");
        assert!(!baseline.is_significantly_better(&with_right(valid.len()), metric), "{metric}");
    }
}

#[test]
fn several_labels_have_a_baseline_too() {
    let nothing = data().baseline(&[]);
    assert!(nothing.is_empty() && nothing.value(Metric::Accuracy).is_nan());
    let mut data = nothing.into_parts();
    data.task = Task::MultiLabel;
    let data = Predictions::from_parts(data);
    assert!(
        !data.is_significantly_better(&data.clone(), Metric::usual(Task::MultiLabel)),
        "nothing is no better than nothing"
    );
}

/// The verdict is of the labels that are shown: those at the thresholds of the classes.
#[test]
fn several_labels_are_judged_at_their_own_thresholds() {
    let has = |image: usize, class: usize| (image >> class) % 2 == 1;
    let targets: Vec<Target> =
        (0..64).map(|image| Target::Classes((0..2).filter(|&class| has(image, class)).collect())).collect();
    let probability = |image: usize, class: usize| match (class, has(image, class)) {
        (0, true) => 0.9,
        (0, false) => 0.7,
        (_, true) => 0.3,
        (_, false) => 0.1,
    };
    let parts = |probabilities: Vec<f32>, thresholds: Vec<f32>| {
        let (items, losses) = ((0..64).collect(), vec![0.5; 64]);
        let targets = targets.clone();
        let task = Task::MultiLabel;
        Predictions::from_parts(PredictionParts {
            task,
            classes: 2,
            items,
            targets,
            probabilities,
            losses,
            thresholds,
        })
    };
    let rows = || (0..64).flat_map(|image| [0, 1].map(|class| probability(image, class))).collect();
    let metric = Metric::usual(Task::MultiLabel);
    let same = parts(vec![0.5; 128], vec![0.5; 2]);
    let tuned = parts(rows(), vec![0.8, 0.2]);
    assert_eq!(tuned.value(metric), 1.0);
    assert!(tuned.is_significantly_better(&same.monitored(metric), metric));
    assert!(!parts(rows(), vec![0.5; 2]).is_significantly_better(&same.monitored(metric), metric));
}

#[test]
fn images_of_less_than_half_the_backbones_side_are_warned_of() {
    let arch = Arch::EfficientNetLite0;
    assert_eq!(arch.info().size, 224);
    let recipe = Recipe::preset(Preset::Quick, 64);
    let warning = recipe.size_warning(arch, 64).unwrap();
    assert!(
        warning.contains("64 px") && warning.contains("224 px") && warning.contains("112 px"),
        "{warning}"
    );
    assert!(recipe.size_warning(arch, 111).is_some() && recipe.size_warning(arch, 112).is_none());
    // What counts are the largest images.
    let mut growing = recipe;
    growing.phases.push(ocelli::Phase::Resize { size: 128 });
    growing.phases.push(ocelli::Phase::Tta(Tta::views(2)));
    assert_eq!(growing.largest_size(64), 128);
    assert_eq!(growing.size_warning(arch, 64), None);
}

#[test]
fn a_held_out_photo_that_cannot_be_read_leaves_the_comparison_in_place() {
    use std::ops::ControlFlow;
    use std::sync::{Arc, Mutex};

    let folder = tempfile::tempdir().unwrap();
    let samples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples/emoji");
    for class in ["flags", "symbols"] {
        std::fs::create_dir(folder.path().join(class)).unwrap();
        for photo in std::fs::read_dir(samples.join(class)).unwrap().map(|entry| entry.unwrap().path()) {
            std::fs::copy(&photo, folder.path().join(class).join(photo.file_name().unwrap())).unwrap();
        }
    }
    let load = || ImageData::from_folder(folder.path()).size(32).threads(1).load().unwrap();
    let data = load();
    let lost = data.split().valid[1];
    let path = &data.items()[lost].path;
    let bytes = std::fs::read(path).unwrap();
    std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap();

    let data = load();
    let mut learner = Learner::pretrained(Arch::EfficientNetLite0, data).unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let list = heard.clone();
    learner.observe(move |event: &Event| {
        if let Event::Diagnosis(diagnosis) = event {
            list.lock().unwrap().push((diagnosis.fit, diagnosis.baseline));
        }
        ControlFlow::Continue(())
    });
    let recipe = Recipe::preset(Preset::Quick, 32);
    let predictions = learner.run_recipe(&recipe).unwrap().predictions;
    assert!(!predictions.items().contains(&lost), "it cannot be read");
    let expected = learner.data().baseline(predictions.items()).value(Metric::Accuracy);
    let [(1, Some(baseline))] = heard.lock().unwrap()[..] else { panic!("{heard:?}") };
    assert_eq!(baseline.value, expected, "of the photos that were measured on, and no others");

    // A second recipe has rows of its own.
    learner.run_recipe(&recipe).unwrap();
    let epochs = |fit: usize| learner.history().iter().filter(|row| row.fit == fit).count();
    assert!(epochs(1) > 0 && epochs(1) == epochs(2), "{:?}", learner.history());
    assert_eq!(heard.lock().unwrap().iter().map(|(stage, _)| *stage).collect::<Vec<_>>(), [1, 2]);
}
