//! `ocelli plan`: what it measures is its own, what it makes of that is compared here.

use crate::common::Place;
use serde_json::Value;

#[test]
fn a_plan_is_the_sum_of_its_parts() {
    let place = Place::with_photos(10);
    let flags = ["plan", "photos", "--size", "32", "--batch-size", "16", "--threads", "1", "--ranks", "6"];
    let run = |more: &[&str]| place.run(&[&flags[..], more].concat());
    let plan: Value = serde_json::from_str(&run(&["--recipe", "fine-tune-2", "--json"])).unwrap();
    let number = |value: &Value| value.as_f64().unwrap();
    let total = |seconds: &Value| {
        ["shared", "same", "exchange"].map(|part| number(&seconds[part])).iter().sum::<f64>()
    };
    let rows = plan["processes"].as_array().unwrap();
    let processes: Vec<u64> = rows.iter().map(|row| row["processes"].as_u64().unwrap()).collect();
    assert_eq!(processes, [1, 2, 4, 6]);
    let one = total(&rows[0]["seconds"]);
    assert!(one > 0.0 && number(&rows[0]["seconds"]["exchange"]) == 0.0, "{plan}");
    for row in rows {
        let parts: f64 = row["parts"].as_array().unwrap().iter().map(|part| total(&part["seconds"])).sum();
        assert!((parts - total(&row["seconds"])).abs() < 1e-9 * one, "{row}");
        assert!((number(&row["speedup"]) - one / parts).abs() < 1e-9, "{row}");
    }
    let names: Vec<&str> =
        rows[0]["parts"].as_array().unwrap().iter().map(|part| part["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["features", "head, on features", "resized copies", "all layers", "validation"]);
    let steps =
        plan["measured"]["work"].as_array().unwrap().iter().find(|work| work["kind"] == "steps").unwrap();
    // 24 training photos, in 2 epochs; gradients of a backbone with 3.4 million parameters.
    assert_eq!((number(&steps["steps"]), &steps["micro_batch"]), (3.0, &Value::from(8)));
    assert!((13e6..14e6).contains(&number(&steps["gradients"])), "{steps}");
    // The head alone: nothing is trained in pieces.
    let text = run(&["--recipe", "quick"]);
    assert!(text.contains("processes") && text.contains(" pay") && !text.contains("--micro-batch"), "{text}");
    let text = run(&["--tta", "4"]);
    for expected in ["MPI", "10 Gbit/s", "--micro-batch 8", "Assumed:", "Left out:"] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(!place.path("runs").exists(), "nothing is trained");
}

#[test]
fn a_plan_needs_photos_and_no_time() {
    let place = Place::with_photos(4);
    let said = place.refusal(&["plan", "photos", "--time", "1m"]);
    assert!(said.contains("--time") && said.contains("--unfrozen-epochs"), "{said}");
    assert!(place.refusal(&["plan", "nowhere"]).contains("nowhere"));
    assert!(place.refusal(&["plan"]).contains("DATA"));
}
