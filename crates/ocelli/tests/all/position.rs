//! Training that is interrupted and resumed, against training that is not.

use std::ops::ControlFlow;

use ocelli::event::Activity;
use ocelli::prelude::*;
use ocelli::{Error, SnapshotHeader, TensorFile, TrainSnapshot};

fn learner(frozen: usize, cached: bool) -> Learner {
    let photos = concat!(env!("CARGO_MANIFEST_DIR"), "/../../samples/emoji");
    let data =
        ImageData::from_folder(photos).size(32).batch_size(128).balanced_sampling(!cached).load().unwrap();
    let mut learner = Learner::pretrained(Arch::EfficientNetLite0, data).unwrap();
    learner.set_optimizer(Optimizer::ADAM_W);
    learner.freeze_to(frozen).unwrap();
    if cached {
        learner.cache_features().unwrap()
    } else {
        learner.stream_images()
    }
    learner
}

const RATES: [f64; 3] = [1e-4, 1e-3, 1e-2];

/// Stops after so many events of this kind.
fn stop_after(learner: &mut Learner, events: usize, of: Activity) {
    let mut left = events;
    learner.observe(move |event: &Event| {
        let counts = matches!(event, Event::Progress(progress) if progress.activity == of);
        // Once only: what is resumed is not stopped again.
        let stops = counts && left == 1;
        left = left.saturating_sub(usize::from(counts));
        if stops { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
}

/// As a process would that begins anew: through text and bytes.
fn kept(snapshot: &TrainSnapshot) -> TrainSnapshot {
    let header: SnapshotHeader = toml::from_str(&toml::to_string(&snapshot.header).unwrap()).unwrap();
    let tensors = TensorFile::parse(&snapshot.tensors.to_bytes("", ""), "memory").unwrap();
    TrainSnapshot { header, tensors }
}

fn assert_resumes(frozen: usize, cached: bool, steps: usize, of: Activity) {
    let mut whole = learner(frozen, cached);
    let mut rows = whole.fit(RATES, Sgdr::cycles(2)).unwrap();

    let mut first = learner(frozen, cached);
    stop_after(&mut first, steps, of);
    assert!(matches!(first.fit(RATES, Sgdr::cycles(2)), Err(Error::Stopped)));
    let mut second = learner(frozen, cached);
    second.restore(kept(&first.snapshot().unwrap())).unwrap();
    second.resume().unwrap();

    let mut resumed = [first.history(), second.history()].concat();
    for row in rows.iter_mut().chain(&mut resumed) {
        row.seconds = 0.0;
    }
    assert_eq!(rows, resumed);
    let (whole, second) = (whole.snapshot().unwrap(), second.snapshot().unwrap());
    for name in whole.tensors.names() {
        assert_eq!(whole.tensors.get(name), second.tensors.get(name), "{name}");
    }
    assert_eq!(toml::to_string(&whole.header).unwrap(), toml::to_string(&second.header).unwrap());
}

#[test]
fn a_fit_resumes_within_an_epoch() {
    assert_resumes(2, true, 2, Activity::Training);
    assert_resumes(1, false, 8, Activity::Training);
}

#[test]
fn a_fit_resumes_before_the_validation() {
    assert_resumes(2, false, 5, Activity::Training);
    assert_resumes(2, false, 1, Activity::Validation);
}

#[test]
fn a_stopped_learner_goes_on_itself() {
    let mut whole = learner(2, true);
    whole.fit(RATES, Sgdr::cycles(2)).unwrap();
    let mut stopped = learner(2, true);
    stop_after(&mut stopped, 3, Activity::Training);
    assert!(stopped.fit(RATES, Sgdr::cycles(2)).is_err());
    assert_eq!(stopped.resume().unwrap().len(), 2);
    assert_eq!(whole.validate().unwrap(), stopped.validate().unwrap());
    assert!(stopped.resume().unwrap().is_empty(), "it is finished");
}

#[test]
fn a_position_of_another_network_is_refused() {
    let mut one = learner(2, true);
    let mut snapshot = one.snapshot().unwrap();
    snapshot.tensors.insert("head.8.bias", vec![3], vec![0.0; 3]);
    let before = one.network().to_tensors();
    assert!(matches!(one.restore(snapshot), Err(Error::Network(_))));
    let after = one.network().to_tensors();
    assert!(before.names().all(|name| before.get(name) == after.get(name)));
}
