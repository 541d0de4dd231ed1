//! `ocelli train --trace`: the timeline is in Chrome's trace format, and says what the run did.

use std::collections::BTreeMap;
use std::fs;

use crate::common::{Place, small};
use serde_json::Value;

/// The spans of a timeline by name: thread, begin and length in microseconds.
fn spans(text: &str) -> BTreeMap<String, Vec<(u64, f64, f64)>> {
    let events: Vec<Value> = serde_json::from_str(text).unwrap();
    let mut spans: BTreeMap<String, Vec<(u64, f64, f64)>> = BTreeMap::new();
    for event in events.iter().filter(|event| event["ph"] == "X") {
        let number = |name: &str| event[name].as_f64().unwrap();
        let name = event["name"].as_str().unwrap().to_owned();
        spans.entry(name).or_default().push((event["tid"].as_u64().unwrap(), number("ts"), number("dur")));
    }
    spans
}

#[test]
fn a_timeline_has_every_part_of_a_run() {
    let place = Place::with_photos(12);
    place.run(&small(&["--head-epochs", "2", "--out", "traced", "--trace", "trace.json"]));
    let spans = spans(&fs::read_to_string(place.path("trace.json")).unwrap());
    for name in [
        "start",
        "scan",
        "hash",
        "split",
        "check images",
        "features",
        "read and hash",
        "decode",
        "resize",
        "forward",
        "wait for images",
        "lr finder",
        "epoch",
        "forward and backward",
        "optimizer",
        "validation",
        "checkpoint",
        "write model",
        "report",
        "exit",
    ] {
        assert!(spans.contains_key(name), "{name} is missing in {:?}", spans.keys());
    }
    let features = spans["features"][0];
    // A part lies within the whole.
    let within = |inner: &(u64, f64, f64), outer: &(u64, f64, f64)| {
        inner.1 >= outer.1 - 1.0 && inner.1 + inner.2 <= outer.1 + outer.2 + 1.0
    };
    // The report trains heads too, to check labels.
    let report = spans["report"][0];
    assert_eq!(spans["epoch"].iter().filter(|epoch| !within(epoch, &report)).count(), 2);
    assert!(spans["forward"].iter().all(|forward| within(forward, &features)));
    // Each image once, by the loader's threads, while the main thread computes its features; the report decodes
    // some again.
    let decoded: Vec<_> = spans["decode"].iter().filter(|decode| within(decode, &features)).collect();
    assert_eq!(decoded.len(), 36);
    assert!(decoded.iter().all(|(thread, ..)| *thread != features.0));
    // The results are those without a timeline.
    place.run(&small(&["--head-epochs", "2", "--out", "plain"]));
    for file in ["predictions.csv", "model.safetensors"] {
        let [traced, plain] = ["traced", "plain"].map(|run| fs::read(place.path(run).join(file)).unwrap());
        assert!(traced == plain, "{file} differs");
    }
}

#[test]
fn a_timeline_that_cannot_be_written_is_an_error_before_the_run() {
    let place = Place::with_photos(4);
    let output = place.ocelli(&small(&["--out", "run", "--trace", "nowhere/trace.json"])).output().unwrap();
    let error = crate::common::stderr(&output);
    assert!(!output.status.success());
    assert!(error.contains("nowhere/trace.json") && error.contains("--trace"), "{error}");
    assert!(!place.path("run").exists());
}
