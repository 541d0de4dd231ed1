//! What a learner does, recorded in a folder that is read as a run's.

use std::ops::ControlFlow;
use std::time::Duration;

use ocelli::{Arch, Epochs, Error, Event, ImageData, Learner, RunFolder, RunState};

const PHOTOS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../samples/emoji");

fn learner() -> Learner {
    let data = ImageData::from_folder(PHOTOS).size(32).load().unwrap();
    let mut learner = Learner::pretrained(Arch::EfficientNetLite0, data).unwrap();
    learner.cache_features().unwrap();
    learner
}

fn events(run: &RunFolder) -> Vec<String> {
    let text = std::fs::read_to_string(run.events()).unwrap();
    let name =
        |line| RunFolder::event(line).expect("every line is whole")["event"].as_str().unwrap().to_owned();
    text.lines().map(name).collect()
}

#[test]
fn a_recording_is_read_as_a_run_and_a_request_to_stop_ends_one_call() {
    let place = tempfile::tempdir().unwrap();
    let (mut learner, mut plain) = (learner(), learner());
    learner.fit(1e-2, Epochs(1)).unwrap();
    plain.fit(1e-2, Epochs(1)).unwrap();
    let recording = learner.record(place.path().join("learner")).unwrap();
    let run = RunFolder::open(recording.path()).unwrap();
    assert_eq!(run.state(), RunState::Running);
    assert_eq!(events(&run), ["data", "epoch"], "what it had done before is there");
    let settings = run.settings().unwrap().settings;
    assert_eq!((settings.arch.as_str(), settings.size), ("efficientnet_lite0", 32));
    assert!(settings.recipe.phases.is_empty());
    assert!(matches!(learner.record(recording.path()), Err(Error::FolderNotEmpty { .. })));

    let asked = run.clone();
    learner.observe(move |event: &Event| {
        if matches!(event, Event::Epoch(record) if record.fit == 2 && record.epoch == 1) {
            asked.request_stop().unwrap();
            // It is looked for five times a second.
            std::thread::sleep(Duration::from_millis(300));
        }
        ControlFlow::Continue(())
    });
    let epochs = 4;
    assert!(matches!(learner.fit(1e-3, Epochs(epochs)), Err(Error::Stopped)));
    assert_eq!(run.state(), RunState::Running);
    assert!(events(&run).contains(&"stopped".to_owned()));
    learner.resume().unwrap();
    plain.fit(1e-3, Epochs(epochs)).unwrap();
    let losses =
        |learner: &Learner| learner.history().iter().map(|record| record.valid_loss).collect::<Vec<_>>();
    assert_eq!(losses(&learner), losses(&plain));
    assert_eq!(events(&run).iter().filter(|event| *event == "epoch").count(), 1 + epochs);
    assert!(events(&run).contains(&"resumed".to_owned()));

    recording.end();
    assert_ne!(run.state(), RunState::Running);
    let before = events(&run).len();
    learner.fit(1e-3, Epochs(1)).unwrap();
    assert_eq!(events(&run).len(), before, "nothing more is recorded");
}
