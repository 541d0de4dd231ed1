//! What is frozen stays, what is kept is never stale.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex};

use burn::tensor::{Tensor, TensorData};
use ocelli::nn::Backbone;
use ocelli::prelude::*;
use ocelli::{Decoder, Error, Freezing, TensorFile};

const PHOTOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../samples/emoji");

fn data(size: usize) -> ImageData {
    let augmentation = Augmentation::side_on().max_zoom(1.2);
    ImageData::from_folder(PHOTOS).size(size).augmentation(augmentation).load().unwrap()
}

fn learner() -> Learner {
    Learner::pretrained(Arch::EfficientNetLite0, data(32)).unwrap()
}

/// Notes how many activations were taken from the cache, and how many were computed.
fn count(learner: &mut Learner) -> Arc<Mutex<Vec<(usize, usize)>>> {
    let counts = Arc::new(Mutex::new(Vec::new()));
    let list = counts.clone();
    learner.observe(move |event: &Event| {
        if let Event::Features { cached, computed, .. } = event {
            list.lock().unwrap().push((*cached, *computed));
        }
        ControlFlow::Continue(())
    });
    counts
}

#[test]
fn the_state_is_told_with_the_number_of_parameters() {
    let mut learner = learner();
    let all = learner.network().parameters();
    for frozen in [2, 1, 0] {
        learner.freeze_to(frozen).unwrap();
        let summary = learner.summary();
        assert_eq!(summary.trained(), all[frozen..].iter().sum::<usize>());
        assert_eq!(summary.trained() + summary.frozen(), all.iter().sum::<usize>());
        let text = summary.to_string();
        assert_eq!(text.matches("frozen").count(), frozen, "{text}");
        assert_eq!(text.matches("trained").count(), 3 - frozen, "{text}");
    }
    learner.set_train_bn(true);
    assert_eq!(learner.summary().to_string().matches("batch statistics").count(), 3);
    learner.freeze();
    learner.cache_augmented_copies(2).unwrap();
    assert!(learner.summary().to_string().ends_with("head, cached features of 2 augmented copies"));
}

#[test]
fn norms_of_frozen_groups_never_move() {
    let moved = |before: &TensorFile, after: &TensorFile, name: &str| before.get(name) != after.get(name);
    for (freeze, frozen) in [(true, 0), (false, 0), (false, 1), (false, 2)] {
        let mut learner = learner();
        learner.freeze_to(frozen).unwrap();
        learner.set_train_bn(!(freeze));
        let before = learner.network().to_tensors();
        learner.fit(1e-4, Epochs(1)).unwrap();
        let after = learner.network().to_tensors();
        for (name, group) in
            [("bn1.running_mean", 0), ("blocks.1.0.bn2.running_var", 0), ("bn2.running_mean", 1)]
        {
            assert_eq!(
                moved(&before, &after, name),
                !freeze && group >= frozen,
                "{name}, {freeze}, {frozen}"
            );
        }
        assert!(moved(&before, &after, "head.2.running_mean"), "a head's norms always learn");
    }
}

#[test]
fn statistics_can_be_estimated_anew() {
    let mut learner = learner();
    learner.unfreeze();
    learner.set_train_bn(true);
    let before = learner.network().to_tensors();
    learner.estimate_statistics().unwrap();
    let after = learner.network().to_tensors();
    for name in before.names() {
        assert_eq!(before.get(name) != after.get(name), name.contains("running"), "{name}");
    }
}

#[test]
fn estimated_statistics_are_those_of_all_training_images() {
    // PyTorch's `update_bn`: the mean over the batches of their means, and of their unbiased variances.
    for batch_size in [560, 80] {
        let data = ImageData::from_folder(PHOTOS).size(32).batch_size(batch_size).load().unwrap();
        let mut learner = Learner::pretrained(Arch::EfficientNetLite0, data).unwrap();
        learner.cache_features().unwrap();
        learner.estimate_statistics().unwrap();
        let (network, preprocessing) = (learner.network(), learner.preprocessing());
        let data = learner.data();
        let device = network.device();
        let features: Vec<Vec<f32>> = (data.split().train.iter())
            .map(|&item| {
                let bytes = std::fs::read(&data.items()[item].path).unwrap();
                let image = Decoder::default().decode_for(&bytes, preprocessing.needed()).unwrap();
                let mut sample = vec![0.0; 32 * 32 * 3];
                preprocessing.apply(&image, &mut sample).unwrap();
                let image = Tensor::<4>::from_data(TensorData::new(sample, [1, 32, 32, 3]), &device);
                let maps =
                    network.infer_stages(image.permute([0, 3, 1, 2]), 0, network.backbone().stages()).maps;
                network.pool(maps).into_data().try_into_vec::<f32>().unwrap()
            })
            .collect();
        assert_eq!(features.len(), 560);
        let tensors = network.to_tensors();
        let statistic = |name: &str| tensors.get(name).unwrap().values.clone();
        let (means, variances) = (statistic("head.2.running_mean"), statistic("head.2.running_var"));
        let mut constant = 0;
        for feature in 0..means.len() {
            let column = || features.iter().map(|row| f64::from(row[feature]));
            let mean = column().sum::<f64>() / 560.0;
            let variance = column().map(|value| (value - mean).powi(2)).sum::<f64>() / 559.0;
            let near =
                |seen: f32, expected: f64| (f64::from(seen) - expected).abs() <= 1e-4 + 2e-3 * expected.abs();
            assert!(near(means[feature], mean), "{feature}: {} and {mean}", means[feature]);
            if batch_size == 560 {
                assert!(
                    near(variances[feature], variance),
                    "{feature}: {} and {variance}",
                    variances[feature]
                );
            } else {
                assert!(f64::from(variances[feature]) <= 1.2 * variance + 1e-4, "{feature}");
            }
            constant += usize::from(variance < 1e-4);
        }
        assert!(constant > 0, "some features are constant in training, as a head must bear");
    }
}

#[test]
fn views_are_computed_once_and_seen_in_turn() {
    let cache = tempfile::tempdir().unwrap();
    let fit = |views: usize| {
        let mut learner = learner();
        let counts = count(&mut learner);
        learner.set_cache(cache.path());
        if views == 0 {
            learner.cache_features().unwrap()
        } else {
            learner.cache_augmented_copies(views).unwrap()
        };
        assert_eq!(learner.freezing(), Freezing::Cached { frozen: 2, augmented_copies: views });
        let mut rows = learner.fit(1e-2, Epochs(2)).unwrap();
        rows.iter_mut().for_each(|row| row.seconds = 0.0);
        let counts = counts.lock().unwrap().clone();
        (rows, counts)
    };
    let (two, counts) = fit(2);
    assert_eq!(counts, [(0, 2 * 560 + 140)], "two views of each image to train on, one to measure on");
    let (again, counts) = fit(2);
    assert_eq!(counts, [(2 * 560 + 140, 0)]);
    assert_eq!(two, again, "from the cache as computed");
    let (three, counts) = fit(3);
    assert_eq!(counts, [(2 * 560 + 140, 560)], "one view more");
    let (plain, counts) = fit(0);
    assert_eq!(counts, [(140, 560)]);
    assert!(two[0] != plain[0] && three != two, "views are augmented");
}

#[test]
fn views_ask_for_augmentation_and_frozen_groups() {
    let plain = ImageData::from_folder(PHOTOS).size(32).load().unwrap();
    let mut learner = Learner::pretrained(Arch::EfficientNetLite0, plain).unwrap();
    assert!(matches!(learner.cache_augmented_copies(2), Err(Error::NotAugmented)));
    let mut learner = self::learner();
    assert!(matches!(learner.cache_augmented_copies(0), Err(Error::Setting { .. })));
    learner.unfreeze();
    assert!(matches!(learner.cache_augmented_copies(2), Err(Error::NothingFrozen)));
}

/// Precomputed validation says what validation from the images says.
fn assert_fresh(learner: &mut Learner) {
    let kept = learner.validate().unwrap();
    let state = learner.freezing();
    learner.stream_images();
    assert_eq!(kept, learner.validate().unwrap(), "{state}");
    learner.cache_features().unwrap();
}

fn grow(cache: Option<&Path>, frozen: usize) -> Vec<(usize, usize)> {
    let mut learner = learner();
    let counts = count(&mut learner);
    if let Some(cache) = cache {
        learner.set_cache(cache);
    }
    learner.freeze_to(frozen).unwrap();
    learner.cache_features().unwrap();
    learner.fit(1e-3, Epochs(1)).unwrap();
    for size in [48, 64, 32] {
        learner.set_size(size).unwrap();
        assert_eq!((learner.data().size(), learner.preprocessing().size), (size, size));
        learner.fit(1e-3, Epochs(1)).unwrap();
        assert_fresh(&mut learner);
    }
    learner.set_data(data(48)).unwrap();
    assert_fresh(&mut learner);
    counts.lock().unwrap().clone()
}

#[test]
fn activations_follow_the_size() {
    let cache = tempfile::tempdir().unwrap();
    for frozen in [2, 1] {
        grow(None, frozen);
        let counts = grow(Some(cache.path()), frozen);
        let computed: Vec<usize> =
            counts.iter().map(|(_, computed)| *computed).filter(|computed| *computed > 0).collect();
        assert_eq!(computed, [700, 700, 700], "each size once: 32 and 48 come back from the cache");
    }
}

#[test]
fn the_same_learner_goes_on_at_the_lessons_sizes() {
    let folder = tempfile::tempdir().unwrap();
    for class in ["flags", "symbols"] {
        let place = folder.path().join(class);
        std::fs::create_dir(&place).unwrap();
        let mut photos: Vec<_> = std::fs::read_dir(Path::new(PHOTOS).join(class)).unwrap().collect();
        photos.sort_by_key(|photo| photo.as_ref().unwrap().path());
        for photo in photos.into_iter().take(10).map(Result::unwrap) {
            std::fs::copy(photo.path(), place.join(photo.file_name())).unwrap();
        }
    }
    let data = ImageData::from_folder(folder.path()).size(64).batch_size(8).load().unwrap();
    let mut learner = Learner::pretrained(Arch::EfficientNetLite0, data).unwrap();
    for size in [64, 128, 224, 299] {
        learner.set_size(size).unwrap();
        learner.freeze();
        learner.cache_features().unwrap();
        learner.fit(1e-2, Epochs(1)).unwrap();
        assert_fresh(&mut learner);
        learner.unfreeze();
        let rows = learner.fit([1e-5, 1e-4, 1e-3], Epochs(1)).unwrap();
        assert!(rows[0].train_loss.is_finite() && rows[0].valid_loss.unwrap().is_finite(), "{size} px");
    }
    assert_eq!(learner.history().len(), 8);
    assert_eq!(learner.preprocessing().size, 299);
}

#[test]
fn photos_of_other_classes_are_refused() {
    let mut learner = learner();
    let folder = tempfile::tempdir().unwrap();
    for class in ["one", "two"] {
        let place = folder.path().join(class);
        std::fs::create_dir(&place).unwrap();
        for name in ["de.png", "it.png", "checkered_flag.png"] {
            std::fs::copy(Path::new(PHOTOS).join("flags").join(name), place.join(format!("{class}-{name}")))
                .unwrap();
        }
    }
    let other = ImageData::from_folder(folder.path()).size(32).load().unwrap();
    let error = learner.set_data(other).unwrap_err();
    assert!(error.to_string().contains("one, two") && error.to_string().contains("flags"), "{error}");
    assert_eq!(learner.data().classes().len(), 7);
    assert!(learner.set_size(0).is_err() && learner.set_size(100_000).is_err());
    assert_eq!(learner.data().size(), 32);
}
