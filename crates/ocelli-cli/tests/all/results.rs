//! The real command shows what a model gets right and wrong.

use std::fs;
use std::sync::OnceLock;

use crate::common::{Place, rows, small, snapshot, stderr};
use serde_json::Value;

/// A place with two runs on the same held-out photos, shared by the tests.
fn place() -> &'static Place {
    static PLACE: OnceLock<Place> = OnceLock::new();
    PLACE.get_or_init(|| {
        let place = Place::with_photos(16);
        let train = small(&["--batch-size", "8"]);
        place.run(&[&train[..], &["--head-epochs", "3", "--out", "a"]].concat());
        place.run(&[&train[..], &["--head-epochs", "1", "--lr", "1e-3", "--out", "b"]].concat());
        place
    })
}

/// What the page was given.
fn page(path: &str) -> Value {
    let html = place().read(path);
    let start = html.find(r#"type="application/json">"#).unwrap() + r#"type="application/json">"#.len();
    serde_json::from_str(&html[start..start + html[start..].find("</script>").unwrap()]).unwrap()
}

fn table(path: &str) -> Vec<Vec<String>> {
    place().read(path).lines().skip(1).map(|line| line.split(',').map(str::to_owned).collect()).collect()
}

#[test]
fn a_run_ends_with_a_report_that_agrees_with_its_tables() {
    let page = page("a/report.html");
    assert_eq!(page["classes"].as_array().unwrap().len(), 3);
    let predictions = table("a/predictions.csv");
    assert_eq!(predictions.len(), 9, "a fifth of each class is held out");
    let right = predictions.iter().filter(|row| row[1] == row[2]).count();
    let accuracy =
        page["figures"].as_array().unwrap().iter().find(|figure| figure["name"] == "Accuracy").unwrap();
    assert!((accuracy["value"].as_f64().unwrap() - right as f64 / 9.0).abs() < 1e-9);
    let counts: u64 = page["confusion"]["cells"]
        .as_array()
        .unwrap()
        .iter()
        .map(|cell| cell["count"].as_u64().unwrap())
        .sum();
    assert_eq!(counts, 9);
    for row in table("a/results/confusion.csv") {
        assert_eq!(row[1..].iter().map(|count| count.parse::<usize>().unwrap()).sum::<usize>(), 3, "{row:?}");
    }
    let history = place().read("a/history.csv");
    assert_eq!(page["phases"][0]["rows"].as_array().unwrap().len(), history.lines().count() - 1);
    let images = page["images"].as_array().unwrap();
    assert!(images.iter().all(|image| !image["jpeg"].as_str().unwrap().is_empty()));
    assert!(images.iter().any(|image| image["heat"].is_array()), "some images have heat maps");
    assert_eq!(page["labels"]["looked_at"], 39);
    assert!(page["inside"]["filters"].is_string());
    for name in [
        "classes",
        "ranking",
        "top_losses",
        "calibration",
        "label_errors",
        "duplicates",
        "outliers",
        "data",
        "figures",
        "most_confused",
    ] {
        let csv = table(&format!("a/results/{name}.csv"));
        let json: Vec<Value> =
            serde_json::from_str(&place().read(&format!("a/results/{name}.json"))).unwrap();
        assert_eq!(csv.len(), json.len(), "{name}");
    }
    let html = place().read("a/report.html");
    assert!(
        !html.contains("http://")
            || html.matches("http://").count() == html.matches("http://www.w3.org/2000/svg").count()
    );
    assert!(!html.contains("https://"), "nothing is fetched");
}

#[test]
fn learning_rates_are_shown_step_by_step_and_searches_as_they_were_recorded() {
    let (page, given) = (page("a/report.html"), page("b/report.html"));
    // A place in the frame as the number that it stands for, by the outermost grid lines.
    let number = |axis: &Value, at: &Value, logarithmic: bool| {
        let ticks = axis["ticks"].as_array().unwrap();
        let tick = |tick: &Value| {
            let value: f64 = tick[1].as_str().unwrap().parse().unwrap();
            (tick[0].as_f64().unwrap(), if logarithmic { value.ln() } else { value })
        };
        let ((low, from), (high, to)) = (tick(&ticks[0]), tick(ticks.last().unwrap()));
        let value = from + (at.as_f64().unwrap() - low) / (high - low) * (to - from);
        if logarithmic { value.exp() } else { value }
    };
    let titled = |page: &Value, title: &str| {
        let charts = page["charts"].as_array().unwrap();
        charts
            .iter()
            .find(|chart| chart["title"].as_str().unwrap().contains(title))
            .map(|part| part["chart"].clone())
    };
    // 39 images in batches of 8 are 5 steps, of which history.csv has each epoch's last.
    let chart = titled(&page, "Learning rates").unwrap();
    let lines = chart["lines"].as_array().unwrap();
    assert_eq!(lines.len(), 1, "the head alone was trained");
    let points = lines[0]["parts"][0].as_array().unwrap();
    assert_eq!(points.len(), 3 * 5);
    let history = place().read("a/history.csv");
    let head = history.lines().next().unwrap().split(',').position(|name| name == "learning_rate_head");
    let rates: Vec<f64> =
        table("a/history.csv").iter().map(|row| row[head.unwrap()].parse().unwrap()).collect();
    let highest = points.iter().map(|point| number(&chart["y"], &point[1], false)).fold(0.0, f64::max);
    for (epoch, rate) in rates.iter().enumerate() {
        let last = &points[5 * epoch + 4];
        let (at, value) = (number(&chart["x"], &last[0], false), number(&chart["y"], &last[1], false));
        assert!((at - (epoch as f64 + 0.8)).abs() < 1e-2, "{at}");
        assert!((value - rate).abs() < 1e-3 * highest, "{value} is not {rate}");
    }
    let chart = titled(&page, "finder").unwrap();
    let steps = table("a/lr_find-1.csv");
    let smoothed: Vec<&Value> = chart["lines"][0]["parts"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|part| part.as_array().unwrap())
        .collect();
    let rate = |step: usize| steps[step][1].parse::<f64>().unwrap();
    let first = number(&chart["x"], &smoothed[0][0], true);
    assert!((first / rate(0) - 1.0).abs() < 2e-3, "{first}");
    for (step, row) in steps.iter().enumerate() {
        let loss: f64 = row[3].parse().unwrap();
        let drawn = smoothed.iter().any(|point| {
            (number(&chart["x"], &point[0], true) / rate(step) - 1.0).abs() < 2e-3
                && (number(&chart["y"], &point[1], false) - loss).abs() < 2e-2
        });
        let shown = number(&chart["y"], &Value::from(1.0), false);
        assert!(drawn || loss > shown, "step {step}, {row:?}");
    }
    assert!(titled(&given, "finder").is_none(), "a given rate is not searched for");
}

#[test]
fn charts_and_matrices_are_drawn_as_files() {
    let svg = place().read("a/results/confusion.svg");
    for row in table("a/results/confusion.csv") {
        assert!(svg.contains(&format!(">{}</text>", row[0])), "{} is named", row[0]);
        for count in row[1..].iter().filter(|count| *count != "0") {
            assert!(svg.contains(&format!(">{count}</text>")), "{row:?}");
        }
    }
    for name in ["confusion", "confusion_normalised", "calibration", "losses", "learning_rates"] {
        let svg = place().read(&format!("a/results/{name}.svg"));
        let width = svg.split("width=\"").nth(1).unwrap().split('"').next().unwrap().parse::<f64>().unwrap();
        let png = fs::read(place().path(&format!("a/results/{name}.png"))).unwrap();
        assert_eq!(png[..8], *b"\x89PNG\r\n\x1a\n");
        let pixels = u32::from_be_bytes(png[16..20].try_into().unwrap());
        assert_eq!(f64::from(pixels), (2.0 * width).floor(), "{name} has two pixels a unit");
    }
}

#[test]
fn a_report_can_be_made_again_and_after_the_photos_have_moved() {
    let before = page("b/report.html");
    for (path, bytes) in snapshot(&place().path("b")) {
        let to = place().path("c").join(path.strip_prefix(place().path("b")).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, bytes).unwrap();
    }
    let said = place().run(&["report", "c"]);
    assert!(said.contains("confusion matrix (rows: true classes, columns: predictions)"), "{said}");
    assert!(said.contains("report  c/report.html") && said.contains("labels  "), "{said}");
    let mut after = page("c/report.html");
    after["title"] = before["title"].clone();
    for part in ["figures", "confusion", "images", "labels"] {
        assert_eq!(after[part], before[part], "{part}");
    }
    let said = place().refusal(&["report", "photos"]);
    assert!(said.contains("config.toml") && said.contains("folder of a run"), "{said}");
    let said = place().refusal(&["report", "a", "--data", "elsewhere"]);
    assert!(said.contains("elsewhere"), "{said}");
}

#[test]
fn an_evaluation_of_the_held_out_photos_says_what_validation_said() {
    let held_out: Vec<Vec<String>> = table("a/predictions.csv");
    for row in &held_out {
        let to = place().path("again").join(&row[0]);
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(place().path("photos").join(&row[0]), to).unwrap();
    }
    let said = place().run(&["evaluate", "a/model.safetensors", "again", "--out", "evaluated"]);
    assert!(said.contains("9 images in 3 classes") && said.contains("precision"), "{said}");
    let mut again = table("evaluated/predictions.csv");
    again.sort();
    let mut wanted = held_out;
    wanted.sort();
    for (again, wanted) in again.iter().zip(&wanted) {
        assert_eq!(again[..3], wanted[..3]);
        assert_eq!(again[4..], wanted[4..], "probabilities to the bit");
    }
    assert_eq!(page("evaluated/report.html")["figures"][0], page("a/report.html")["figures"][0]);
    let json: Value =
        serde_json::from_str(&place().run(&["evaluate", "a/model.safetensors", "again", "--json"])).unwrap();
    assert_eq!(json["classes"].as_array().unwrap().len(), 3);

    fs::create_dir_all(place().path("strange/elks")).unwrap();
    fs::create_dir_all(place().path("strange/flags")).unwrap();
    let photo = place().path("again").join(&wanted[0][0]);
    fs::copy(&photo, place().path("strange/elks/1.png")).unwrap();
    fs::copy(&photo, place().path("strange/flags/1.png")).unwrap();
    let said = place().refusal(&["evaluate", "a/model.safetensors", "strange"]);
    assert!(said.contains("elks") && said.contains("does not have"), "{said}");
}

#[test]
fn two_runs_are_compared_image_by_image() {
    let said = place().run(&["compare", "a", "b", "--out", "difference.html"]);
    let (a, b) = (table("a/predictions.csv"), table("b/predictions.csv"));
    let right = |row: &Vec<String>| row[1] == row[2];
    let lost = a.iter().zip(&b).filter(|(a, b)| right(a) && !right(b)).count();
    let won = a.iter().zip(&b).filter(|(a, b)| !right(a) && right(b)).count();
    assert!(lost > 0, "one epoch at a low rate learns less than three");
    assert!(said.contains(&format!("correct, then wrong: {lost} image")), "{said}");
    assert!(said.contains(&format!("wrong, then correct: {won} image")), "{said}");
    assert!(said.contains("McNemar"), "{said}");
    let page = page("difference.html");
    assert_eq!(page["comparison"]["right_to_wrong"].as_array().unwrap().len(), lost);
    assert!(
        page["differences"]
            .as_array()
            .unwrap()
            .iter()
            .any(|row| row[0].as_str().unwrap().starts_with("recipe")),
        "{page}"
    );
    let json: Value = serde_json::from_str(&place().run(&["compare", "a", "b", "--json"])).unwrap();
    assert_eq!(json["wrong_to_right"].as_array().unwrap().len(), won);
    let said = place().refusal(&["compare", "a", "photos"]);
    assert!(said.contains("photos") && said.contains("folder of a run"), "{said}");
}

#[test]
fn explain_writes_a_picture_a_photo() {
    let photo = "photos/flags";
    let name = fs::read_dir(place().path(photo)).unwrap().next().unwrap().unwrap().file_name();
    let photo = format!("{photo}/{}", name.to_str().unwrap());
    // Two of one name, and the first once more.
    fs::create_dir_all(place().path("more")).unwrap();
    let other = format!("more/{}", name.to_str().unwrap());
    fs::copy(place().path(&photo), place().path(&other)).unwrap();
    let said = place().run(&["explain", "a/model.safetensors", &photo, &other, &photo, "--out", "heat"]);
    assert_eq!(said.lines().count(), 2);
    assert_eq!(
        fs::read_dir(place().path("heat")).unwrap().count(),
        2,
        "the second does not overwrite the first"
    );
    let said = place().refusal(&["explain", "a/model.safetensors", &photo, "--class", "elks"]);
    assert!(said.contains("elks"), "{said}");
}

#[test]
fn decisions_change_training_photos_and_leave_held_out_ones_alone() {
    let split = table("a/split.csv");
    let ids = |side: &str, class: &str| -> Vec<String> {
        let of = |row: &&Vec<String>| row[1] == side && row[0].starts_with(class);
        split.iter().filter(of).map(|row| row[0].clone()).collect()
    };
    let (flags, food) = (ids("train", "flags"), ids("train", "food-and-drink"));
    let held_out = &ids("valid", "flags")[0];
    let decisions = format!(
        "id,decision,label\n{},relabel,food-and-drink\n{},drop,\n{},keep,\n{held_out},drop,\n",
        flags[0], flags[1], food[0]
    );
    fs::write(place().path("decisions.csv"), decisions).unwrap();
    let train = small(&["--batch-size", "8", "--head-epochs", "1"]);
    let said = place().run(&[&train[..], &["--decisions", "decisions.csv", "--out", "decided"]].concat());
    assert!(said.contains("train 38, valid 9"), "{said}");
    assert!(said.contains("1 relabelled, 1 dropped, 1 kept; 1 is about a held-out image"), "{said}");
    let counts = table("decided/results/data.csv");
    assert_eq!(counts[0][..3], ["flags", "11", "3"], "13 less the relabelled and the dropped one");
    assert_eq!(counts[1][..3], ["food-and-drink", "14", "3"]);
    // The record has the labels of the source, and beside them what was decided about photos for training.
    let record = place().read("decided/photos.csv");
    assert!(record.starts_with("id,label,split,blake3,decision,new_label\n"), "{record}");
    let changed: Vec<[String; 5]> = table("decided/photos.csv")
        .into_iter()
        .filter(|row| !row[4].is_empty() || !row[5].is_empty())
        .map(|row| [0, 1, 2, 4, 5].map(|column| row[column].clone()))
        .collect();
    assert_eq!(
        changed,
        [
            [flags[0].as_str(), "flags", "train", "relabel", "food-and-drink"],
            [&flags[1], "flags", "train", "drop", ""]
        ]
    );
    assert!(place().read("a/photos.csv").starts_with("id,label,split,blake3\n"));
    // The split of the run can be used again, with the decisions and without.
    let again = place().run(&[&train[..], &["--split", "decided/split.csv", "--out", "undecided"]].concat());
    assert!(again.contains("train 39, valid 9"), "{again}");
    assert_ne!(rows(&place().read("decided/history.csv")), rows(&place().read("undecided/history.csv")));

    for (table, parts) in [
        ("id,decision,label\nflags/none.png,drop,\n".to_owned(), ["flags/none.png", "row 2"]),
        (format!("id,decision,label\n{},relabel,elks\n", flags[0]), ["elks", "flags"]),
        (format!("id,decision,label\n{},burn,\n", flags[0]), ["burn", "keep, relabel, new-class or drop"]),
        (format!("id,decision,label\n{0},drop,\n'\t{0},keep,\n", flags[0]), ["row 3", "a second time"]),
        ("name,what\n".to_owned(), ["columns id and decision", "wrong.csv"]),
    ] {
        fs::write(place().path("wrong.csv"), table).unwrap();
        let said = place().refusal(&[&train[..], &["--decisions", "wrong.csv"]].concat());
        assert!(parts.iter().all(|part| said.contains(part)), "{said}");
    }
}

#[test]
fn calibrated_probabilities_are_said_only_when_asked_for() {
    let data = ocelli::ImageData::from_folder(place().path("photos")).size(32).load().unwrap();
    let mut learner = ocelli::Learner::pretrained(ocelli::Arch::EfficientNetLite0, data).unwrap();
    learner.cache_features().unwrap();
    learner.fit(1e-2, ocelli::Epochs(6)).unwrap();
    // Far less sure than the network is, and wrong now and then, so that a temperature is sure to help.
    let mut unsure = learner.predict(ocelli::Part::Train).unwrap().into_parts();
    for target in unsure.targets.iter_mut().step_by(6) {
        *target = ocelli::Target::Class((target.classes()[0] + 1) % 3);
    }
    let unsure = ocelli::Predictions::from_parts(unsure).with_temperature(5.0);
    let mut model = learner.to_model();
    model.calibrate(&unsure).unwrap();
    model.save(place().path("calibrated.safetensors")).unwrap();
    let model = "calibrated.safetensors";
    let photo = format!("photos/{}", table("b/predictions.csv")[0][0]);
    let plain: Value = serde_json::from_str(&place().run(&["predict", model, &photo, "--jsonl"])).unwrap();
    let output = place().ocelli(&["predict", model, &photo, "--jsonl", "--calibrated"]).output().unwrap();
    assert!(output.status.success(), "{}", crate::common::stderr(&output));
    let calibrated: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(plain["class"], calibrated["class"]);
    assert_ne!(plain["probability"], calibrated["probability"]);
    let sum: f64 =
        calibrated["probabilities"].as_object().unwrap().values().map(|p| p.as_f64().unwrap()).sum();
    assert!((sum - 1.0).abs() < 1e-5);
    // Validation and prediction agree to the bit on probabilities as they are.
    let said: Vec<String> = table("b/predictions.csv")[0][4..].to_vec();
    let row = place().run(&["predict", "b/model.safetensors", &photo, "--csv"]);
    assert_eq!(row.lines().nth(1).unwrap().split(',').skip(4).collect::<Vec<_>>(), said);
}

/// Cross-validation from the command to the report; the run is used like any other.
#[test]
fn cross_validation_measures_all_images_and_trains_on_all() {
    let place = Place::with_photos(16);
    let train = ["train", "photos", "--recipe", "linear", "--size", "32", "--folds", "3", "--out", "run"];
    let printed = place.run(&train);
    for words in [
        "3-fold cross-validation\n    fold",
        "\n     3/3  ",
        "of 48 images",
        "each image predicted by a model that had not seen it",
        "folds    run/fold-1 to fold-3",
    ] {
        assert!(printed.contains(words), "{words}: {printed}");
    }
    assert!(!printed.contains("validation image"), "{printed}");
    let predictions = place.read("run/predictions.csv");
    let cells = predictions.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>());
    assert_eq!(cells.clone().count(), 48);
    let right = cells.filter(|row| row[1] == row[2]).count();
    assert!(printed.contains(&format!("{right} of 48 images")), "{printed}");
    let report = place.read("run/report.html");
    assert!(report.contains("evaluated on 48 of them in 3-fold cross-validation"));
    assert!(report.contains("By fold, accuracy is "), "the folds are listed");
    assert!(place.path("run/results/label_errors.csv").exists(), "labels are checked");
    assert!(place.run(&["show", "run"]).contains("48 training images, 3-fold cross-validation"));
    assert!(place.run(&["predict", "run", "photos/flags"]).lines().count() == 16);
    let integers = place.ocelli(&["predict", "run", "photos/flags", "--int8"]).output().unwrap();
    assert!(stderr(&integers).contains("found on 48 training images, kept in run/"), "{}", stderr(&integers));
    // A fold is a run, and can be compared with the whole on its own images.
    assert!(place.run(&["compare", "run", "run/fold-1"]).contains("16 images"));

    let refused = place.ocelli(&[&train[..8], &["--valid", "0.2", "--out", "b"]].concat()).output().unwrap();
    assert!(stderr(&refused).contains("--folds"), "{}", stderr(&refused));
    assert!(!refused.status.success() && !place.path("b").exists());
}
