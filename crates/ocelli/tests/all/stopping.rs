//! Whoever asks to stop loses nothing that has been computed.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex};

use ocelli::event::Activity;
use ocelli::{Arch, Error, Event, ImageData, Learner};

const PHOTOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../samples/emoji");

fn learner(cache: &Path) -> Learner {
    let data = ImageData::from_folder(PHOTOS).size(32).batch_size(8).load().unwrap();
    let mut learner = Learner::pretrained(Arch::EfficientNetLite0, data).unwrap();
    learner.set_cache(cache);
    learner
}

#[test]
fn features_that_were_computed_are_cached_for_the_next_time() {
    let cache = tempfile::tempdir().unwrap();
    let mut first = learner(cache.path());
    // Far fewer than are written at once otherwise.
    first.observe(|event: &Event| match event {
        Event::Progress(progress) if progress.activity == Activity::Features && progress.done >= 40 => {
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    });
    assert!(matches!(first.cache_features(), Err(Error::Stopped)));

    let seen = Arc::new(Mutex::new(None));
    let told = Arc::clone(&seen);
    let mut second = learner(cache.path());
    second.observe(move |event: &Event| {
        if let Event::Features { cached, computed, .. } = event {
            *told.lock().unwrap() = Some((*cached, *computed));
        }
        ControlFlow::Continue(())
    });
    second.cache_features().unwrap();
    let (cached, computed) = seen.lock().unwrap().unwrap();
    assert!(cached >= 38, "of 40 images, some may be alike: {cached}");
    assert!(computed > 0, "it was stopped on the way: {computed}");

    // What was cached is what would have been computed.
    let mut whole = learner(tempfile::tempdir().unwrap().path());
    whole.cache_features().unwrap();
    assert_eq!(
        second.fit(1e-2, ocelli::Epochs(1)).unwrap()[0].valid_loss,
        whole.fit(1e-2, ocelli::Epochs(1)).unwrap()[0].valid_loss
    );
}
