//! `ocelli lr-find`, as a user runs it.

use crate::common::{Place, small, snapshot};

#[test]
fn a_learning_rate_is_found_and_shown() {
    let place = Place::with_photos(40);
    let before = snapshot(&place.path("photos"));
    let said = place.run(&["lr-find", "photos", "--size", "32", "--batch-size", "16", "--out", "curve"]);
    assert!(said.contains("learning rate ") && said.contains("valley") && said.contains("steep"), "{said}");
    let csv = place.read("curve/lr_find.csv");
    assert!(csv.starts_with("step,learning_rate,loss,smoothed_loss\n0,1e-5,"), "{csv}");
    assert!(place.read("curve/lr_find.svg").contains("learning rate"));
    assert!(std::fs::read(place.path("curve/lr_find.png")).unwrap().starts_with(b"\x89PNG"));
    assert_eq!(snapshot(&place.path("photos")), before, "nothing is written beside the photos");

    let again = place.run(&["lr-find", "photos", "--size", "32", "--batch-size", "16", "--json"]);
    let found: serde_json::Value = serde_json::from_str(&again).unwrap();
    let valley = found["suggestions"]["valley"].as_f64().unwrap();
    assert!((1e-5..1.0).contains(&valley), "{valley}");
    assert!(said.contains(&format!("valley {valley:.1e}")), "the same rate again: {valley:e}, {said}");
    let (rate, reason) = (&found["suggestion"]["rate"], found["suggestion"]["reason"].as_str().unwrap());
    let shown = format!("{:.1e}", rate.as_f64().unwrap());
    assert!(
        said.contains(&format!("learning rate   {shown}\nreason          {reason}\n")),
        "{reason}: {said}"
    );
    // The minimum is ten times fastai's suggestion.
    let minimum = found["suggestions"]["minimum"].as_f64().unwrap() * 10.0;
    assert_eq!(reason, format!("a third of the loss minimum's {minimum:.1e}"));
    assert!((rate.as_f64().unwrap() * 3.0 / minimum - 1.0).abs() < 1e-9, "{found}");
    assert!(place.read("curve/lr_find.svg").contains("suggested"));

    // Training takes the same rate, by the same rule, and says so.
    let train = small(&["--batch-size", "16", "--head-epochs", "1"]);
    let trained = place.run(&[&train[..], &["--out", "run"]].concat());
    assert!(trained.contains(&format!("lr finder: using {shown}, {reason}\n")), "{reason}: {trained}");
    let rates = format!("1 epoch at learning rate {:.1e}", rate.as_f64().unwrap());
    assert!(trained.contains(&rates), "{rates}: {trained}");
    let recorded = place.read("run/events.jsonl");
    let recorded = recorded.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let event = recorded.into_iter().find(|event| event["event"] == "lr-found").unwrap();
    assert_eq!(event["suggestion"]["rule"], "third-of-minimum");
    assert_eq!(event["suggestion"]["rate"], *rate);
    assert_eq!(found["curve"]["rates"].as_array().unwrap().len(), csv.lines().count() - 1);
}

#[test]
fn too_few_photos_have_no_rate_and_training_says_which_it_takes() {
    let place = Place::with_photos(3);
    let said = place.refusal(&["lr-find", "photos", "--size", "32", "--valid", "none"]);
    assert!(said.contains("9 training images are too few") && said.contains("lr_find.png"), "{said}");
    let json =
        place.ocelli(&["lr-find", "photos", "--size", "32", "--valid", "none", "--json"]).output().unwrap();
    let found: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert!(
        found["suggestion"].is_null() && found["reason"].as_str().unwrap().contains("too few"),
        "{found}"
    );
    let train = small(&["--valid", "none", "--head-epochs", "1"]);
    let said = place.run(&train);
    assert!(said.contains("too few") && said.contains("using the default"), "{said}");
    assert!(said.contains("1 epoch at learning rate 1.0e-2"), "{said}");
}

#[test]
fn every_layer_group_has_its_rate() {
    let place = Place::with_photos(12);
    let all = ["lr-find", "photos", "--size", "32", "--batch-size", "12", "--layers", "all", "--steps", "20"];
    let output =
        place.ocelli(&[&all[..], &["--group-lrs", "1e-4,1e-3,1e-2", "--json"]].concat()).output().unwrap();
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let start: Vec<f64> =
        found["curve"]["start"].as_array().unwrap().iter().map(|rate| rate.as_f64().unwrap()).collect();
    assert!((start[2] / 1e-5 - 1.0).abs() < 1e-9 && (start[1] / start[0] - 10.0).abs() < 1e-9, "{start:?}");
    // Twenty steps may be too few to tell, which is then said.
    assert_eq!(output.status.success(), found["reason"].is_null());
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let place = Place::with_photos(12);
    for (wrong, said) in [
        (["--steps", "3"], "from 20 to 100,000"),
        (["--end-lr", "1e-9"], "--end-lr is 0.000000001; it must be above"),
        (["--group-lrs", "1e-3,1e-2"], "three"),
    ] {
        let answer = place.refusal(&[&["lr-find", "photos", "--size", "32"], &wrong[..]].concat());
        assert!(answer.contains(said), "{answer}");
    }
}
