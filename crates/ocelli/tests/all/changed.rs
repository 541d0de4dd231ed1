//! Photos that are replaced while a learner works: nothing is taken for what it is not, now or later.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use ocelli::WeightStore;
use ocelli::event::Activity;
use ocelli::prelude::*;
use tempfile::TempDir;

/// Photos of two classes, and a place for the cache.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(TempDir::new().unwrap());
        let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples/emoji");
        for class in ["flags", "smileys-and-emotion"] {
            let to = place.photos().join(class);
            fs::create_dir_all(&to).unwrap();
            let mut names: Vec<PathBuf> =
                fs::read_dir(samples.join(class)).unwrap().map(|entry| entry.unwrap().path()).collect();
            names.sort();
            for name in &names[..24] {
                fs::copy(name, to.join(name.file_name().unwrap())).unwrap();
            }
        }
        place
    }

    fn photos(&self) -> PathBuf {
        self.0.path().join("photos")
    }

    fn cache(&self) -> PathBuf {
        self.0.path().join("cache")
    }

    fn data(&self) -> ImageData {
        ImageData::from_folder(self.photos()).size(32).batch_size(4).threads(1).load().unwrap()
    }

    fn learner(&self, data: ImageData) -> Learner {
        let mut learner = Learner::pretrained(Arch::EfficientNetLite0, data).unwrap();
        learner.set_cache(self.cache());
        learner
    }
}

/// The photo of the other class is put in the place of this one.
fn replace(data: &ImageData, item: usize) -> Vec<u8> {
    let items = data.items();
    let other = (0..items.len()).find(|&other| items[other].target != items[item].target).unwrap();
    let before = fs::read(&items[item].path).unwrap();
    fs::copy(&items[other].path, &items[item].path).unwrap();
    before
}

type Told = Arc<Mutex<Vec<String>>>;

/// What the learner says of photos that are left out.
fn listen(learner: &mut Learner) -> Told {
    let told = Told::default();
    let into = told.clone();
    learner.observe(move |event: &Event| {
        if let Event::Skipped { path, reason } = event {
            into.lock().unwrap().push(format!("{}: {reason}", path.display()));
        }
        ControlFlow::Continue(())
    });
    told
}

fn assert_names(told: &Told, path: &Path) {
    let told = told.lock().unwrap();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains(&path.display().to_string()) && told[0].contains("has changed"), "{told:?}");
}

/// What a learner comes to that has only ever seen intact photos, and no cache.
fn honest(place: &Place) -> Vec<f32> {
    let mut learner = Learner::pretrained(Arch::EfficientNetLite0, place.data()).unwrap();
    learner.cache_features().unwrap();
    learner.fit(1e-2, Epochs(1)).unwrap();
    learner.validate().unwrap().into_parts().probabilities
}

#[test]
fn a_photo_replaced_before_its_activations_are_computed_does_not_poison_the_cache() {
    for part in 0..2 {
        let place = Place::new();
        let wanted = honest(&place);
        let data = place.data();
        let item = if part == 0 { data.split().train[0] } else { data.split().valid[0] };
        let path = data.items()[item].path.clone();
        let before = replace(&data, item);
        let mut learner = place.learner(data);
        let told = listen(&mut learner);
        learner.cache_features().unwrap();
        assert_names(&told, &path);
        // The photos are intact again: what comes of the cache is what comes of them.
        fs::write(&path, before).unwrap();
        let mut learner = place.learner(place.data());
        let told = listen(&mut learner);
        learner.cache_features().unwrap();
        learner.fit(1e-2, Epochs(1)).unwrap();
        assert!(learner.validate().unwrap().into_parts().probabilities == wanted);
        assert!(told.lock().unwrap().is_empty(), "{told:?}");
    }
}

#[test]
fn views_are_not_poisoned_either() {
    let place = Place::new();
    let load = || {
        let data = ImageData::from_folder(place.photos()).size(32).batch_size(4).threads(1);
        data.augmentation(Augmentation::side_on()).load().unwrap()
    };
    let fitted = |mut learner: Learner| {
        learner.cache_augmented_copies(2).unwrap();
        learner.fit(1e-2, Epochs(2)).unwrap();
        learner.validate().unwrap().into_parts().probabilities
    };
    let wanted = fitted(Learner::pretrained(Arch::EfficientNetLite0, load()).unwrap());
    let data = load();
    let item = data.split().train[1];
    let path = data.items()[item].path.clone();
    let before = replace(&data, item);
    let mut learner = place.learner(data);
    let told = listen(&mut learner);
    learner.cache_augmented_copies(2).unwrap();
    assert_names(&told, &path);
    fs::write(&path, before).unwrap();
    assert!(fitted(place.learner(load())) == wanted);
}

#[test]
fn a_photo_replaced_between_epochs_or_before_the_validation_is_named_and_left_out() {
    for (activity, part) in [(Activity::Training, 0), (Activity::Training, 1), (Activity::Validation, 0)] {
        let place = Place::new();
        let data = place.data();
        let item = if part == 0 { data.split().train[0] } else { data.split().valid[0] };
        let path = data.items()[item].path.clone();
        let mut learner = Learner::pretrained(Arch::EfficientNetLite0, data.clone()).unwrap();
        learner.freeze_to(2).unwrap();
        let told = listen(&mut learner);
        let mut left = Some(data);
        learner.observe(move |event: &Event| {
            // When the last batch of the first epoch is over, in training or in validation.
            if let Event::Progress(progress) = event
                && progress.activity == activity
                && progress.done == progress.total
                && let Some(data) = left.take()
            {
                replace(&data, item);
            }
            ControlFlow::Continue(())
        });
        learner.fit(1e-3, Epochs(2)).unwrap();
        assert_names(&told, &path);
        let named = learner.validate().unwrap();
        let measured = if part == 0 { 0 } else { 1 };
        assert_eq!(named.len() + measured, learner.data().valid_len(), "{activity:?}");
    }
}

#[test]
fn a_photo_replaced_under_bad_images_fail_ends_the_fit_with_its_name() {
    let place = Place::new();
    let data = ImageData::from_folder(place.photos()).size(32).batch_size(4).bad_images(BadImages::Fail);
    let data = data.load().unwrap();
    let item = data.split().train[2];
    let path = data.items()[item].path.clone();
    replace(&data, item);
    let mut learner = place.learner(data);
    let said = learner.cache_features().unwrap_err().to_string();
    assert!(said.contains(&path.display().to_string()) && said.contains("has changed"), "{said}");
}

#[test]
fn what_was_computed_of_a_photo_stays_its_own_when_the_photo_is_replaced_later() {
    let place = Place::new();
    let wanted = honest(&place);
    let data = place.data();
    let (train, valid) = (data.split().train[0], data.split().valid[0]);
    let mut learner = place.learner(data.clone());
    learner.cache_features().unwrap();
    replace(&data, train);
    replace(&data, valid);
    learner.fit(1e-2, Epochs(1)).unwrap();
    assert!(learner.validate().unwrap().into_parts().probabilities == wanted);
    // A new learner sees other photos, and says nothing: they are what they are.
    let mut learner = place.learner(place.data());
    let told = listen(&mut learner);
    learner.cache_features().unwrap();
    assert!(told.lock().unwrap().is_empty());
}

#[test]
fn weights_in_the_cache_folder_are_compared_with_what_was_recorded_of_them() {
    let place = Place::new();
    let mut store = WeightStore::with_cache(place.cache());
    (store.torch_hub, store.hugging_face) = (None, None);
    let arch = Arch::EfficientNetLite1; // published by timm, without a checksum in its name
    let path = store.folder.join(store.remote(arch).name);
    let record = PathBuf::from(format!("{}.b3", path.display()));
    assert_eq!(store.find(arch).unwrap(), None);
    fs::create_dir_all(&store.folder).unwrap();
    let content: Vec<u8> = (0..100_000u32).map(|value| (value % 251) as u8).collect();
    fs::write(&path, &content).unwrap();
    assert_eq!(store.find(arch).unwrap().as_ref(), Some(&path));
    let text = fs::read_to_string(&record).unwrap();
    let file = path.file_name().unwrap().to_str().unwrap();
    assert_eq!(text, format!("{}  {file}\n", blake3::hash(&content).to_hex()));
    for bit in [0, 7, 123_456, 799_999] {
        let mut hurt = content.clone();
        hurt[bit / 8] ^= 1 << (bit % 8);
        fs::write(&path, &hurt).unwrap();
        let error = store.find(arch).unwrap_err();
        let said = error.to_string();
        assert!(
            matches!(error, ocelli::hub::Error::Damaged { .. })
                && said.contains(file)
                && said.contains("damaged"),
            "{said}"
        );
    }
    fs::write(&path, &content[..5000]).unwrap();
    assert!(store.find(arch).is_err());
    // Whoever removes it may put another in its place.
    fs::remove_file(&path).unwrap();
    assert_eq!(store.find(arch).unwrap(), None);
    fs::write(&path, &content[..5000]).unwrap();
    assert_eq!(store.find(arch).unwrap(), Some(path));
}
