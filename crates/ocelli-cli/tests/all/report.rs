//! The report of a real run: it says what the terminal said, and stands names, lost photos and many classes.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};

use crate::common::{Place, samples, small, snapshot};
use ocelli::{Error, ImageData, Stop, escape_formula, unescape_formula};
use ocelli_report::{ReportOptions, report_run};
use serde_json::Value;

/// Names that a spreadsheet would run, or that HTML would take for elements.
const CLASSES: [&str; 3] = ["=1+2", "-minus 'quoted' \"so\"", "<script>alert(1)\u{2028}<!--`${x}`"];
const PHOTOS: [&str; 4] = ["=cmd.png", "'quote.png", "@at.png", "+a,b\u{202e}.png"];

/// A place with a run, and what was printed meanwhile.
struct Ran {
    place: Place,
    said: String,
}

fn ran() -> &'static Ran {
    static RAN: OnceLock<Ran> = OnceLock::new();
    RAN.get_or_init(|| {
        let place = Place::empty();
        photos(&place, "photos");
        let said =
            place.run(&small(&["--batch-size", "8", "--head-epochs", "3", "--tta", "2", "--out", "run"]));
        Ran { place, said }
    })
}

/// Twelve photos of each class.
fn photos(place: &Place, folder: &str) {
    for (class, from) in CLASSES.into_iter().zip(["flags", "food-and-drink", "symbols"]) {
        let to = place.path(folder).join(class);
        fs::create_dir_all(&to).unwrap();
        let mut names: Vec<_> =
            fs::read_dir(samples().join(from)).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.sort();
        for (place, name) in names[..12].iter().enumerate() {
            let own = name.file_name().unwrap().to_str().unwrap();
            fs::copy(name, to.join(PHOTOS.get(place).copied().unwrap_or(own))).unwrap();
        }
    }
}

/// A copy of the run, whose photos are looked for elsewhere.
fn copy_of_run(name: &str, data: &str) {
    let place = &ran().place;
    for (path, bytes) in snapshot(&place.path("run")) {
        let to = place.path(name).join(path.strip_prefix(place.path("run")).unwrap());
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::write(to, bytes).unwrap();
    }
    let config = place.path(name).join("config.toml");
    let text = fs::read_to_string(&config).unwrap();
    assert!(text.contains("data = \"photos\""), "{text}");
    let text = text.replace("data = \"photos\"", &format!("data = \"{data}\""));
    // As a run on those photos would have written it, with the digests.
    let body = &text[..text.find("\n# Digest of").unwrap()];
    let seal = text.rfind("# blake3 ").unwrap() + "# blake3 ".len();
    let text = format!("{}{}\n", &text[..seal], blake3::hash(body.as_bytes()).to_hex());
    fs::write(&config, &text).unwrap();
    let sums = place.path(name).join("checksums.b3");
    let own = format!("{}  config.toml", blake3::hash(text.as_bytes()).to_hex());
    let lines: Vec<String> = fs::read_to_string(&sums)
        .unwrap()
        .lines()
        .map(|line| if line.ends_with("  config.toml") { own.clone() } else { line.to_owned() })
        .collect();
    fs::write(sums, lines.join("\n") + "\n").unwrap();
}

fn html(run: &str) -> String {
    ran().place.read(&format!("{run}/report.html"))
}

/// What the page was given.
fn page(run: &str) -> Value {
    page_of(&html(run))
}

fn page_of(html: &str) -> Value {
    let start = html.find(r#"type="application/json">"#).unwrap() + r#"type="application/json">"#.len();
    serde_json::from_str(&html[start..start + html[start..].find("</script>").unwrap()]).unwrap()
}

fn list(value: &Value) -> &Vec<Value> {
    value.as_array().unwrap()
}

fn table(path: &Path) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_path(path).unwrap();
    reader.records().map(|record| record.unwrap().iter().map(str::to_owned).collect()).collect()
}

#[test]
fn the_page_says_what_the_terminal_said() {
    let (page, Ran { place, said }) = (page("run"), ran());
    let phase = &page["phases"][0];
    let rates = phase["text"].as_str().unwrap().rsplit_once(", ").unwrap().0;
    assert!(said.contains(&format!("   {rates}\n")), "{rates} is not in {said}");
    assert!(rates.starts_with("3 epochs at learning rate "), "{rates}");
    for line in list(&phase["diagnosis"]) {
        assert!(said.contains(&format!("   → {}\n", line.as_str().unwrap())), "{line} is not in {said}");
    }
    assert_eq!(said.matches("   → ").count(), list(&phase["diagnosis"]).len(), "{said}");
    // The table has the rows of the terminal.
    assert_eq!(list(&phase["rows"]).len(), 3);
    for row in list(&phase["rows"]) {
        for cell in &list(row)[..3] {
            assert!(said.contains(cell.as_str().unwrap()), "{row} is not in {said}");
        }
    }
    // With test-time augmentation, as printed.
    let (_, augmented) = said.split_once("with test-time augmentation:").unwrap();
    let line = augmented.lines().find(|line| line.starts_with("accuracy")).unwrap();
    let figures = list(&page["figures"]);
    let figure = figures.iter().find(|figure| figure["name"] == "Accuracy, test-time augmentation").unwrap();
    for value in ["value", "low", "high"] {
        let value = format!("{:.4}", figure[value].as_f64().unwrap());
        assert!(line.contains(&value), "{value} is not in {line}");
    }
    assert!(place.read("run/results/figures.csv").contains("test-time augmentation"));
    // The weights that the model has: the best row of the history, marked in table, chart and words.
    let history = table(&place.path("run/history.csv"));
    let column = |name: &str| history[0].iter().position(|column| column == name).unwrap();
    let number = |row: usize, name: &str| history[row][column(name)].parse::<f64>().unwrap();
    let better = |a: &usize, b: &usize| {
        let accuracy = number(*a, "accuracy").total_cmp(&number(*b, "accuracy"));
        accuracy.then(number(*b, "valid_loss").total_cmp(&number(*a, "valid_loss")))
    };
    let best = (1..history.len()).max_by(better).unwrap();
    assert_eq!(phase["best"], best - 1, "{history:?}");
    let summary = page["summary"][0].as_str().unwrap();
    assert!(summary.contains(&format!("phase 1, epoch {best}")), "{summary}");
    let mark = &page["charts"][0]["chart"]["marks"][0];
    assert_eq!(mark["label"], "best epoch");
    assert!(mark["at"].is_array());
    assert!(place.read("run/results/losses.svg").contains(">best epoch</text>"));
    // Where time went: all of it.
    let events = place.read("run/events.jsonl");
    let finished = events.lines().rfind(|line| line.contains("\"finished\"")).unwrap();
    let finished: Value = serde_json::from_str(finished).unwrap();
    let times = list(&page["times"]);
    let seconds = |time: &Value| time[1].as_f64().unwrap();
    let (report, parts) = times.split_last().unwrap();
    assert_eq!(report[0], "this report");
    let sum: f64 = parts.iter().map(seconds).sum();
    assert!((sum - finished["seconds"].as_f64().unwrap()).abs() < 1e-6, "{times:?}");
    for part in ["features", "learning rate finder", "phase 1", "views", "other"] {
        assert!(times.iter().any(|time| time[0].as_str().unwrap().contains(part)), "{part}: {times:?}");
    }
}

#[test]
fn charts_lie_in_their_frames_and_the_finders_have_all_that_is_said() {
    let (page, Ran { place, said }) = (page("run"), ran());
    let inside = |at: &Value| (0.0..=1.0).contains(&at.as_f64().unwrap());
    let finder = list(&page["charts"])
        .iter()
        .find(|chart| chart["title"].as_str().unwrap().contains("finder"))
        .expect("the rate was searched for");
    for part in list(&page["charts"]) {
        let chart = &part["chart"];
        for line in list(&chart["lines"]) {
            let points = list(&line["parts"]).iter().flat_map(list).flat_map(list);
            assert!(points.clone().count() > 2, "{}: {line}", part["title"]);
            assert!(points.clone().all(inside), "{}: {line}", part["title"]);
        }
        for mark in list(&chart["marks"]) {
            assert!(list(&mark["at"]).iter().all(inside), "{}: {mark}", part["title"]);
        }
        assert!(list(&chart["x"]["ticks"]).len() >= 2, "{}", part["title"]);
    }
    // What the file shows, the page shows: the suggestions, and the rate that training took.
    let svg = place.read("run/lr_find-1.svg");
    let vertical = finder["chart"]["verticals"][0][0].as_str().unwrap();
    let rate = vertical.strip_prefix("used ").unwrap();
    assert!(said.contains(&format!("at learning rate {rate}\n")), "{vertical}: {said}");
    assert!(svg.contains(&format!(">{vertical}</text>")), "{vertical}");
    for mark in list(&finder["chart"]["marks"]) {
        assert!(svg.contains(&format!(">{}</text>", mark["label"].as_str().unwrap())), "{mark}");
    }
}

#[test]
fn text_in_tables_cannot_be_run_and_comes_back() {
    let place = &ran().place;
    let mut tables: Vec<_> = snapshot(&place.path("run")).into_iter().map(|(path, _)| path).collect();
    tables.retain(|path| path.extension().is_some_and(|ending| ending == "csv"));
    assert!(tables.len() > 10, "{tables:?}");
    let model = place.path("run/model.safetensors");
    let photo = place.path("photos").join(CLASSES[0]).join(PHOTOS[0]);
    let predicted = place.run(&["predict", model.to_str().unwrap(), photo.to_str().unwrap(), "--csv"]);
    fs::write(place.path("predicted.csv"), predicted).unwrap();
    tables.push(place.path("predicted.csv"));
    for path in &tables {
        for cell in table(path).iter().flatten() {
            let runs = cell.starts_with(['=', '+', '-', '@', '\t', '\r']) && cell.parse::<f64>().is_err();
            assert!(!runs, "{}: {cell}", path.display());
        }
    }
    let header = &table(&place.path("run/predictions.csv"))[0];
    let class = |cell: &String| cell.strip_prefix("probability_").unwrap().to_owned();
    let mut classes: Vec<String> = header[4..].iter().map(class).collect();
    classes.sort_unstable();
    let mut wanted = CLASSES;
    wanted.sort_unstable();
    assert_eq!(classes, wanted);
    assert_eq!(class(&table(&place.path("predicted.csv"))[0][4]), classes[0]);
    // Every id is that of a photo, whatever it begins with.
    let ids = |path: &str| -> BTreeSet<String> {
        table(&place.path(path))[1..].iter().map(|row| unescape_formula(&row[0]).to_owned()).collect()
    };
    let there: BTreeSet<String> = snapshot(&place.path("photos"))
        .into_iter()
        .map(|(path, _)| path.strip_prefix(place.path("photos")).unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids("run/split.csv"), there);
    assert!(ids("run/predictions.csv").is_subset(&there));
    // What the model was trained on is known by these ids, and is not measured.
    place.run(&["evaluate", model.to_str().unwrap(), "photos", "--out", "evaluated"]);
    assert_eq!(ids("evaluated/predictions.csv"), ids("run/predictions.csv"));
    // Decisions, as the page writes them, and as people do.
    let split = table(&place.path("run/split.csv"));
    let trained: Vec<&Vec<String>> = split[1..].iter().filter(|row| row[1] == "train").collect();
    let escaped = trained.iter().find(|row| row[0].starts_with("'=")).expect("a class begins with =");
    let plain = trained.iter().find(|row| row[0].starts_with("'-")).unwrap();
    let mut writer = csv::Writer::from_path(place.path("decisions.csv")).unwrap();
    writer.write_record(["id", "decision", "label"]).unwrap();
    writer
        .write_record([escaped[0].as_str(), "relabel", escape_formula(&class(&header[4])).as_ref()])
        .unwrap();
    writer.write_record([unescape_formula(&plain[0]), "drop", ""]).unwrap();
    writer.flush().unwrap();
    let data =
        ImageData::from_folder(place.path("photos")).decisions(place.path("decisions.csv")).load().unwrap();
    assert!(
        data.notices().iter().any(|notice| notice.contains("1 relabelled, 1 dropped")),
        "{:?}",
        data.notices()
    );
}

#[test]
fn names_stay_text_in_pages_and_pictures() {
    let (place, html) = (&ran().place, html("run"));
    assert_eq!(html.matches("<script").count(), 2, "the data and the script");
    assert_eq!(html.matches("</script").count(), 2);
    let mut wanted = CLASSES;
    wanted.sort_unstable();
    assert_eq!(list(&page_of(&html)["classes"]), &wanted.map(Value::from));
    let svg = place.read("run/results/confusion.svg");
    assert!(!svg.contains("<script"), "{svg}");
    assert!(svg.contains(">&lt;script&gt;"));
    assert!(!svg.chars().any(|character| character.is_control() && character != '\n'));
}

#[test]
fn photos_that_are_gone_or_others_cost_themselves_and_not_the_report() {
    let place = &ran().place;
    photos(place, "fewer");
    copy_of_run("lost", "fewer");
    let measured: Vec<String> = table(&place.path("run/predictions.csv"))[1..]
        .iter()
        .map(|row| unescape_formula(&row[0]).to_owned())
        .collect();
    let split = table(&place.path("run/split.csv"));
    let trained = split[1..].iter().find(|row| row[1] == "train").unwrap();
    let trained = unescape_formula(&trained[0]).to_owned();
    fs::remove_file(place.path("fewer").join(&measured[0])).unwrap();
    fs::remove_file(place.path("fewer").join(&trained)).unwrap();
    let recorded = place.path("run/photos.csv").is_file();
    if recorded {
        fs::copy(place.path("fewer").join(&measured[2]), place.path("fewer").join(&measured[1])).unwrap();
    } else {
        eprintln!("skipped: photos that hold something else, since the run has not recorded what they held");
    }
    place.run(&["report", "lost"]);
    let (page, before) = (page("lost"), page("run"));
    for part in ["figures", "confusion", "table", "phases", "charts", "calibration"] {
        assert_eq!(page[part], before[part], "{part}");
    }
    let notices = page["notices"].to_string();
    assert!(notices.contains("2 photos are no longer there"), "{notices}");
    let why = |id: &str| {
        let images = list(&page["images"]);
        let image = images.iter().find(|image| image["id"] == id).unwrap();
        assert_eq!(image["jpeg"] == "", image["why"].is_string(), "{id}");
        image["why"].clone()
    };
    assert_eq!(why(&measured[0]), "no longer there");
    assert_eq!(why(&measured[2]), Value::Null);
    if recorded {
        assert!(notices.contains("1 photo is no longer the same file"), "{notices}");
        assert_eq!(why(&measured[1]), "changed since the run");
    }
    assert_eq!(page["labels"]["looked_at"], before["labels"]["looked_at"].as_u64().unwrap() - 1);
}

#[test]
fn without_any_photos_there_are_tables_and_charts() {
    let place = &ran().place;
    copy_of_run("alone", "nowhere");
    fs::remove_dir_all(place.path("alone/results")).unwrap();
    fs::remove_file(place.path("alone/report.html")).unwrap();
    place.run(&["report", "alone"]);
    let (page, before) = (page("alone"), page("run"));
    for part in ["figures", "confusion", "table", "phases", "charts", "calibration", "subtitle"] {
        let change = |value: &Value| value.to_string().replace("alone", "run");
        assert_eq!(change(&page[part]), change(&before[part]), "{part}");
    }
    assert_eq!(page["data"]["counts"], before["data"]["counts"]);
    let notices = page["notices"].to_string();
    assert!(notices.contains("nowhere") && notices.contains("36 photos are no longer there"), "{notices}");
    assert!(list(&page["images"]).iter().all(|image| image["jpeg"] == ""));
    for name in ["classes.csv", "confusion.png", "losses.svg", "calibration.png", "ranking.json"] {
        assert!(place.path("alone/results").join(name).is_file(), "{name}");
    }
    // Who says where the photos are is told where they are not.
    let said = place.refusal(&["report", "alone", "--data", "elsewhere"]);
    assert!(said.contains("elsewhere"), "{said}");
}

#[test]
fn a_report_that_is_stopped_leaves_the_one_that_was_there() {
    let place = &ran().place;
    copy_of_run("stopped", "photos");
    let before = snapshot(&place.path("stopped"));
    let run = fs::canonicalize(place.path("stopped")).unwrap();
    let options =
        ReportOptions { stop: Stop::new(Arc::new(AtomicBool::new(true))), ..ReportOptions::default() };
    assert!(matches!(report_run(run, options), Err(Error::Stopped)));
    assert!(before == snapshot(&place.path("stopped")), "no file is written, changed or taken away");
}

#[test]
fn of_more_than_200_classes_there_is_no_matrix() {
    let place = Place::empty();
    let png = fs::read(samples().join("flags").join("flag-be.png"));
    let png = png.unwrap_or_else(|_| {
        let first = fs::read_dir(samples().join("flags")).unwrap().next().unwrap().unwrap().path();
        fs::read(first).unwrap()
    });
    for class in 0..201 {
        let folder = place.path("photos").join(format!("class {class}"));
        fs::create_dir_all(&folder).unwrap();
        for photo in 0..2 {
            // The same picture in other files: what comes after a PNG's end is not looked at.
            let bytes = [&png[..], format!("{class} {photo}").as_bytes()].concat();
            fs::write(folder.join(format!("{photo}.png")), bytes).unwrap();
        }
    }
    place.run(&small(&["--head-epochs", "1", "--lr", "1e-2", "--out", "run"]));
    let page = page_of(&place.read("run/report.html"));
    let confusion = &page["confusion"];
    assert!(confusion["order"].is_null());
    assert_eq!(list(&confusion["confused"]).len(), 100);
    assert!(list(&confusion["cells"]).len() <= 100);
    let results = place.path("run/results");
    for name in ["confusion.csv", "confusion.png", "confusion.svg", "confusion_normalised.png"] {
        assert!(!results.join(name).exists(), "{name}");
    }
    let pairs = table(&results.join("most_confused.csv"));
    let wrong: usize = pairs[1..].iter().map(|row| row[2].parse::<usize>().unwrap()).sum();
    let predictions = table(&place.path("run/predictions.csv"));
    assert_eq!(wrong, predictions[1..].iter().filter(|row| row[1] != row[2]).count());
}
