//! Whoever asks to stop loses nothing that has been computed.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex};

use ocelli::event::Task;
use ocelli::{Arch, Error, Event, ImageData, Learner};

const PHOTOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../samples/emoji");

fn learner(cache: &Path) -> Learner {
    let data = ImageData::from_folder(PHOTOS).size(32).batch_size(8).load().unwrap();
    let mut learner = Learner::pretrained(Arch::EfficientNetLite0, data).unwrap();
    learner.set_cache(cache);
    learner
}

#[test]
fn activations_that_were_computed_are_kept_for_the_next_time() {
    let cache = tempfile::tempdir().unwrap();
    let mut first = learner(cache.path());
    // Far fewer than are written at once otherwise.
    first.observe(|event: &Event| match event {
        Event::Progress(progress) if progress.task == Task::Activations && progress.done >= 40 => {
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    });
    assert!(matches!(first.precompute(true), Err(Error::Stopped)));

    let seen = Arc::new(Mutex::new(None));
    let told = Arc::clone(&seen);
    let mut second = learner(cache.path());
    second.observe(move |event: &Event| {
        if let Event::Activations { kept, computed, .. } = event {
            *told.lock().unwrap() = Some((*kept, *computed));
        }
        ControlFlow::Continue(())
    });
    second.precompute(true).unwrap();
    let (kept, computed) = seen.lock().unwrap().unwrap();
    assert!(kept >= 38, "of 40 images, some may be alike: {kept}");
    assert!(computed > 0, "it was stopped on the way: {computed}");

    // What was kept is what would have been computed.
    let mut whole = learner(tempfile::tempdir().unwrap().path());
    whole.precompute(true).unwrap();
    assert_eq!(
        second.fit(1e-2, ocelli::Epochs(1)).unwrap()[0].valid_loss,
        whole.fit(1e-2, ocelli::Epochs(1)).unwrap()[0].valid_loss
    );
}
