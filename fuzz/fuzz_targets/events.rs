//! What a run has written, as the report and an evaluation read it: events, behind a first byte whose remainder by 4 is 0,
//! each with the digest that it needs; history.csv behind 1; photos.csv behind 2; predictions.csv behind 3.
#![no_main]

use std::path::Path;
use std::sync::Once;

use libfuzzer_sys::fuzz_target;
use ocelli::finished::FinishedRun;
use ocelli::{ImageData, Interpretation, RunConfig, RunFolder};
use ocelli_report::{ReportOptions, report_run};
use serde::Serialize;

/// As a run's config.toml has it.
#[derive(Serialize)]
struct Config {
    version: &'static str,
    given: &'static str,
    directory: &'static Path,
    settings: RunConfig,
}

/// All that a finished run has hashes of.
const RESULTS: [&str; 7] = [
    "config.toml",
    "history.csv",
    "model.safetensors",
    "photos.csv",
    "predictions.csv",
    "skipped.csv",
    "split.csv",
];

fuzz_target!(|input: &[u8]| {
    static READY: Once = Once::new();
    let [choice, bytes @ ..] = input else { return };
    let run = ocelli_fuzz::folder().join("run");
    READY.call_once(|| {
        let folder = RunFolder::at(&run).unwrap();
        let (version, given, directory) = ("0.1.0", "ocelli train photos", Path::new("/nowhere"));
        folder
            .write_config(&Config { version, given, directory, settings: RunConfig::new("photos") })
            .unwrap();
        RESULTS[1..].iter().for_each(|name| std::fs::write(run.join(name), "").unwrap());
        std::fs::write(run.join("events.jsonl"), "").unwrap();
    });
    match choice % 4 {
        0 => {
            let mut events = Vec::new();
            for line in bytes.split(|&byte| byte == b'\n') {
                let digest = blake3::hash(line).to_hex();
                let event = line.strip_suffix(b"}").unwrap_or(line);
                events.extend_from_slice(event);
                events.extend_from_slice(format!(",\"digest\":\"{}\"}}\n", &digest[..16]).as_bytes());
            }
            std::fs::write(run.join("events.jsonl"), events).unwrap();
        }
        1 => std::fs::write(run.join("history.csv"), bytes).unwrap(),
        2 => {
            std::fs::write(run.join("photos.csv"), bytes).unwrap();
            let _ = ImageData::from_folder("/nowhere").without_training_images_of(&run);
            return;
        }
        _ => {
            let path = run.join("predictions.csv");
            std::fs::write(&path, bytes).unwrap();
            if let Ok(read) = Interpretation::read_csv(&path, "") {
                let _ = (read.class_table(), read.calibration(), read.top_losses(3), read.label_errors());
                let _ = (read.confusion_matrix(), read.most_confused(1), read.threshold_curves());
                let again = ocelli_fuzz::folder().join("again.csv");
                read.write_csv(&again).unwrap();
                Interpretation::read_csv(&again, "").unwrap();
            }
            return;
        }
    }
    let checksums = RESULTS
        .map(|name| format!("{}  {name}\n", blake3::hash(&std::fs::read(run.join(name)).unwrap()).to_hex()));
    std::fs::write(run.join("checksums.b3"), checksums.concat()).unwrap();
    // What a report draws of it, whatever the events and the history say.
    if let Ok(records) = FinishedRun::open(&run) {
        let images = records.data.as_ref().map_or(0, |data| data.train);
        let _ = (records.rate_curves(images), records.best_row(), records.phase_starts());
        let epochs = records.epochs();
        for phase in &records.phases {
            let _ = records.seconds_of(phase.number);
            for (_, epoch) in epochs.iter().take(10) {
                let _ = records.highest_rate(phase, *epoch, images);
            }
        }
    }
    // Its model is none.
    assert!(report_run(&run, ReportOptions::default()).is_err());
});
