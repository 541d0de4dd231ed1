//! Files of a run that were damaged, changed or removed: it is said, or nothing comes of it; never another result.

use std::fmt;
use std::fs::{self, File};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use crate::common::{Place, rows, stderr, two_phases};
use ocelli::TensorFile;

/// A finished run, for all tests; each works on a copy.
fn place() -> &'static Place {
    static PLACE: OnceLock<Place> = OnceLock::new();
    PLACE.get_or_init(|| {
        let place = Place::with_photos(6);
        place.run(&two_phases("2", &["--out", "run"]));
        place
    })
}

/// The name of a copy of the run, which is removed with it: resumed, each is as large as the run.
struct RunCopy(String);

impl Drop for RunCopy {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(place().path(&self.0));
    }
}

impl Deref for RunCopy {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunCopy {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A run that was killed within a phase, after the checkpoint of an epoch.
fn killed() -> &'static str {
    const NAME: &str = "killed";
    static KILLED: OnceLock<()> = OnceLock::new();
    KILLED.get_or_init(|| {
        // So many epochs that it is killed before their end.
        let mut command = place().ocelli(&two_phases("10000", &["--out", NAME]));
        let mut process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // The first one is that of the phase's beginning.
        while !place().path(NAME).join("checkpoints").is_dir() || checkpoints(NAME, "checkpoint-").len() < 2 {
            assert!(process.try_wait().unwrap().is_none(), "it ends without a checkpoint of an epoch");
            thread::sleep(Duration::from_millis(20));
        }
        process.kill().unwrap();
        process.wait().unwrap();
    });
    NAME
}

/// A copy of the finished run; files are the same ones until they are replaced.
fn copy(name: &str) -> RunCopy {
    copy_of("run", name)
}

fn copy_of(run: &str, name: &str) -> RunCopy {
    fn link(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let from = entry.unwrap().path();
            let to = to.join(from.file_name().unwrap());
            if from.ends_with(".lock") {
                continue; // it would be one lock for all
            }
            if from.is_dir() {
                link(&from, &to);
            } else if to.ends_with("events.jsonl") {
                // What is written to in place is no link.
                fs::copy(&from, &to).unwrap();
            } else {
                fs::hard_link(&from, &to).unwrap();
            }
        }
    }
    link(&place().path(run), &place().path(name));
    RunCopy(name.to_owned())
}

/// A run that was ended before its model was written.
fn unfinished(name: &str) -> RunCopy {
    let run = copy(name);
    for file in ["model.safetensors", "predictions.csv", "checksums.b3", "report.html"] {
        fs::remove_file(place().path(&run).join(file)).unwrap();
    }
    run
}

fn flip(path: &Path, bit: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[bit / 8] ^= 1 << (bit % 8);
    // Not in place, for the sake of the other names of the file.
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

/// A bit of a file, as a share of it, always the same.
fn bit(path: &Path, share: f64) -> usize {
    (fs::metadata(path).unwrap().len() as f64 * 8.0 * share) as usize
}

fn result(run: &str) -> (Vec<String>, Vec<Vec<u8>>) {
    let files = ["model.safetensors", "predictions.csv", "split.csv", "skipped.csv"];
    let read = |name: &str| fs::read(place().path(run).join(name)).unwrap();
    (rows(&place().read(&format!("{run}/history.csv"))), files.map(read).to_vec())
}

/// Resumes a run, which must come to the usual result; gives what was said.
fn resumed(run: &str) -> String {
    let output = place().ocelli(&["train", "--resume", run]).output().unwrap();
    assert!(output.status.success(), "{run}: {}", stderr(&output));
    assert!(result(run) == result("run"), "{run}: {}", stderr(&output));
    for file in ["checksums.b3", "report.html"] {
        assert!(place().path(run).join(file).exists(), "{file}");
    }
    stderr(&output)
}

fn checkpoints(run: &str, begins: &str) -> Vec<PathBuf> {
    let folder = place().path(run).join("checkpoints");
    let mut paths: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.file_name().unwrap().to_str().unwrap().starts_with(begins));
    paths.sort();
    paths
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

#[test]
fn a_damaged_checkpoint_is_passed_over_for_the_whole_one_before_it() {
    type Hurt<'a> = (&'a str, &'a dyn Fn(&Path));
    let hurt: [Hurt; 4] = [
        ("tensors", &|path| flip(path, bit(path, 0.61))),
        ("text", &|path| flip(path, bit(path, 0.0005))),
        ("shorter", &|path| {
            let bytes = fs::read(path).unwrap();
            fs::remove_file(path).unwrap();
            fs::write(path, &bytes[..bytes.len() - 4]).unwrap();
        }),
        ("empty", &|path| {
            fs::remove_file(path).unwrap();
            fs::write(path, b"").unwrap();
        }),
    ];
    for (kind, hurt) in hurt {
        let run = unfinished(&format!("checkpoint-{kind}"));
        let newest = checkpoints(&run, "checkpoint-").pop().unwrap();
        hurt(&newest);
        let said = resumed(&run);
        assert!(said.contains(name(&newest)) && said.contains("the checkpoint before it"), "{kind}: {said}");
        assert!(
            !newest.exists() || fs::metadata(&newest).unwrap().len() > 1_000_000,
            "it is not kept for a whole one"
        );
    }
}

/// The last checkpoint of a run within a phase, alone, with its text and its tensors changed as another program could.
fn forged(run: RunCopy, text: impl Fn(&str) -> String, tensor: impl Fn(&str) -> bool) -> (RunCopy, PathBuf) {
    const ENTRY: &str = "ocelli-checkpoint";
    let within = |path: &PathBuf| {
        let tensors = TensorFile::read(path).unwrap();
        tensors.metadata(ENTRY).unwrap().contains("[snapshot.fit.schedule]")
    };
    let all = checkpoints(&run, "checkpoint-");
    let path = all.iter().rfind(|path| within(path)).unwrap().clone();
    all.iter().filter(|other| **other != path).for_each(|other| fs::remove_file(other).unwrap());
    let mut tensors = TensorFile::read(&path).unwrap();
    let old = tensors.metadata(ENTRY).unwrap().to_owned();
    let new = text(&old);
    let shorter: Vec<String> = tensors.names().filter(|name| tensor(name)).map(str::to_owned).collect();
    assert!(new != old || !shorter.is_empty(), "{run}: something is changed");
    shorter.into_iter().for_each(|name| tensors.insert(name, vec![1], vec![0.5]));
    fs::remove_file(&path).unwrap();
    fs::write(&path, tensors.to_bytes(ENTRY, &new)).unwrap();
    (run, path)
}

#[test]
fn a_checkpoint_that_no_run_has_written_is_refused_and_never_a_panic() {
    // The image of index 1000.
    let packed = |text: &str| {
        let (before, after) = text.split_once("each = \"").unwrap();
        format!("{before}each = \"6AMAAAAAAAA=\"{}", after.split_once('"').unwrap().1)
    };
    type Changed<'a> = (&'a str, &'a dyn Fn(&str) -> String, &'a str, &'a str);
    let same = |text: &str| text.to_owned();
    let cases: [Changed; 6] = [
        ("image", &packed, "", "other images than the run's 18"),
        (
            "frozen",
            &|text| text.replace("frozen = 2", "frozen = 3").replace("frozen = 0", "frozen = 3"),
            "",
            "frozen is 3",
        ),
        ("cycles", &|text| text.replace("cycles = 1", "cycles = 0"), "", "epochs is 0"),
        ("momentum", &|text| text.replace("momentum = 0.9\n", "momentum = 1.5\n"), "", "momentum is 1.5"),
        ("moment", &same, "fit.optimizer.0.head.8.bias", "fit.optimizer.0.head.8.bias"),
        ("scores", &|text| text.replace("each = \"", "each = \"AAAA"), "", "are not an index and a value"),
    ];
    for (name, text, tensor, wanted) in cases {
        let copy = format!("forged-{name}");
        // Moments are there after a step.
        let run = if tensor.is_empty() { unfinished(&copy) } else { copy_of(killed(), &copy) };
        let (run, path) = forged(run, text, |name| name == tensor);
        let output = place().ocelli(&["train", "--resume", &run]).output().unwrap();
        let said = stderr(&output);
        assert!(said.contains(wanted) && said.contains(self::name(&path)), "{name}: {said}");
        assert!(!said.contains("panicked"), "{name}: {said}");
    }
    // As where a file is missing, the run begins anew.
    let elsewhere = |text: &str| text.replace("file = \"best-", "file = \"../checkpoints/best-");
    let (run, _) = forged(unfinished("forged-best"), elsewhere, |_| false);
    let said = resumed(&run);
    assert!(said.contains("no file beside it") && said.contains("starts again"), "{said}");
}

#[test]
fn files_that_are_named_almost_as_checkpoints_are_left_alone() {
    let run = unfinished("almost");
    let newest = checkpoints(&run, "checkpoint-").pop().unwrap();
    let others = ["checkpoint-77.safetensors", "checkpoint-+00008.safetensors", "checkpoint-old.safetensors"]
        .map(|name| newest.with_file_name(name));
    for other in &others {
        fs::copy(&newest, other).unwrap();
    }
    // There is no number after it.
    fs::write(newest.with_file_name(format!("checkpoint-{}.safetensors", u64::MAX)), "").unwrap();
    let said = resumed(&run);
    assert!(!said.contains("checkpoint"), "{said}");
    assert!(others.iter().all(|other| other.exists()));
}

#[test]
fn a_run_without_a_whole_checkpoint_begins_anew_and_says_so() {
    let run = unfinished("none-whole");
    for path in checkpoints(&run, "checkpoint-") {
        flip(&path, bit(&path, 0.3));
    }
    let said = resumed(&run);
    assert!(said.contains("starts again"), "{said}");

    // Where the best weights are hurt, the checkpoints that name them are of no use.
    let run = unfinished("best");
    let best = checkpoints(&run, "best-").pop().unwrap();
    flip(&best, bit(&best, 0.5));
    let said = resumed(&run);
    assert!(said.contains(name(&best)) && said.contains("starts again"), "{said}");
    let run = unfinished("best-gone");
    fs::remove_file(checkpoints(&run, "best-").pop().unwrap()).unwrap();
    assert!(resumed(&run).contains("best-"));
    // Weights of another epoch under its name are whole, and not what the checkpoint means.
    let run = unfinished("best-other");
    let best = checkpoints(&run, "best-").pop().unwrap();
    fs::remove_file(&best).unwrap();
    let photo = place().path("photos/flags");
    let mut other = ocelli::Learner::pretrained(
        ocelli::Arch::EfficientNetLite0,
        ocelli::ImageData::from_folder(photo.parent().unwrap()).size(32).load().unwrap(),
    )
    .unwrap();
    other.set_precision(ocelli::Precision::F32);
    other.save(&best).unwrap();
    let said = resumed(&run);
    assert!(said.contains("other weights"), "{said}");
}

#[test]
fn a_model_with_a_flipped_bit_is_refused_by_name() {
    let run = copy("model");
    let path = place().path(&run).join("model.safetensors");
    let whole = fs::read(&path).unwrap();
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().unwrap()) as usize;
    // Everywhere in the text, and all over the tensors.
    let bits = (0..12)
        .map(|n| (n * 8 * header) / 12 + n % 8)
        .chain((1..16).map(|n| (whole.len() / 16) * 8 * n + n % 8));
    let hurt = place().path("hurt.safetensors");
    for bit in bits {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(&hurt, &bytes).unwrap();
        let error = ocelli::Model::load(&hurt).map(drop).unwrap_err().to_string();
        assert!(error.contains("hurt.safetensors"), "bit {bit}: {error}");
    }
    // One bit of the mean: 127 becomes 327.
    let text = String::from_utf8_lossy(&whole[8..header]).into_owned();
    let mean = 8 + text.find("127.0").unwrap();
    fs::write(&hurt, &whole).unwrap();
    flip(&hurt, 8 * mean + 1);
    assert!(String::from_utf8_lossy(&fs::read(&hurt).unwrap()[..header]).contains("327.0"));
    let refused = place().refusal(&["predict", "hurt.safetensors", "photos"]);
    assert!(refused.contains("hurt.safetensors: is damaged"), "{refused}");
    // The weights of a damaged model are not trained on either.
    let refused = place().refusal(&two_phases("2", &["--weights", "hurt.safetensors"]));
    assert!(refused.contains("hurt.safetensors"), "{refused}");
}

#[test]
fn results_of_a_finished_run_that_are_damaged_are_refused_and_made_again() {
    for file in
        ["history.csv", "predictions.csv", "split.csv", "skipped.csv", "model.safetensors", "checksums.b3"]
    {
        let run = copy(&format!("result-{file}"));
        let path = place().path(&run).join(file);
        flip(&path, bit(&path, 0.4) & !7);
        let refused = place().refusal(&["report", &run]);
        // Where the list of hashes is hurt, it names a file that does not agree with it.
        assert!(file == "checksums.b3" || refused.contains(file), "{refused}");
        assert!(refused.contains("checksums.b3"), "{refused}");
        if file == "predictions.csv" {
            let refused = place().refusal(&["compare", "run", &run]);
            assert!(refused.contains(file), "{refused}");
        }
        if file != "skipped.csv" {
            resumed(&run);
        }
        fs::remove_file(&path).unwrap();
        let refused = place().refusal(&["report", &run]);
        assert!(file == "checksums.b3" || refused.contains(file), "{refused}");
        if file == "predictions.csv" {
            resumed(&run);
        }
    }
}

#[test]
fn a_damaged_line_of_events_is_left_out_of_the_report_and_that_is_said() {
    let run = copy("events");
    let path = place().path(&run).join("events.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok()), "each is JSON");
    let epoch = text.find("\"train_loss\":").unwrap() + "\"train_loss\":".len();
    let mut bytes = text.into_bytes();
    bytes[epoch] ^= 1; // another digit
    fs::write(&path, bytes).unwrap();
    place().run(&["report", &run]);
    let page = place().read(&format!("{run}/report.html"));
    assert!(page.contains("events.jsonl: 1 damaged line is ignored"), "the page says it");
}

#[test]
fn changed_settings_are_named_and_may_begin_another_run() {
    let run = unfinished("config");
    let path = place().path(&run).join("config.toml");
    let text = fs::read_to_string(&path).unwrap();
    let write = |text: &str| {
        fs::remove_file(&path).unwrap();
        fs::write(&path, text).unwrap();
    };
    write(&text.replace("seed = 0", "seed = 1"));
    let refused = place().refusal(&["train", "--resume", &run]);
    assert!(
        refused.contains("config.toml") && refused.contains("settings.seed is 1, and was 0"),
        "{refused}"
    );
    place().run(&["train", "--config", &format!("{run}/config.toml"), "--out", "other-seed"]);
    assert!(result("other-seed") != result("run"));
    write(&text.replace("seed = 0", "seed = "));
    let refused = place().refusal(&["train", "--resume", &run]);
    assert!(refused.contains("config.toml"), "{refused}");
    // Another layout of the same settings is none of the run's business.
    write(&text.replace("\n[settings", "\n\n[settings"));
    resumed(&run);

    // Before there is a checkpoint, the file itself tells that it was changed.
    let run = unfinished("config-early");
    fs::remove_dir_all(place().path(&run).join("checkpoints")).unwrap();
    let path = place().path(&run).join("config.toml");
    flip(&path, 8 * text.find("seed = 0").unwrap() + 8 * "seed = ".len());
    let refused = place().refusal(&["train", "--resume", &run]);
    assert!(refused.contains("config.toml") && refused.contains("changed"), "{refused}");
    fs::remove_file(&path).unwrap();
    fs::write(&path, text).unwrap();
    resumed(&run);
}

#[test]
fn a_run_is_finished_when_all_is_there() {
    // Killed after the model, after the predictions, and in the report.
    let steps: [&[&str]; 3] = [
        &["predictions.csv", "checksums.b3", "report.html"],
        &["checksums.b3", "report.html"],
        &["report.html"],
    ];
    for (number, missing) in steps.into_iter().enumerate() {
        let run = copy(&format!("ends-{number}"));
        for file in missing {
            fs::remove_file(place().path(&run).join(file)).unwrap();
        }
        for left in [".writing-abc", "checkpoints/.writing-def"] {
            fs::write(place().path(&run).join(left), "half a f").unwrap();
        }
        if number < 2 {
            let refused = place().refusal(&["report", &run]);
            assert!(refused.contains("the run is not finished"), "{refused}");
        }
        resumed(&run);
        if number < 2 {
            assert!(!place().path(&run).join(".writing-abc").exists());
            assert!(!place().path(&run).join("checkpoints/.writing-def").exists());
        }
        let refused = place().refusal(&["train", "--resume", &run]);
        assert!(refused.contains("is finished") && refused.contains("model.safetensors"), "{refused}");
    }
    // The hashes are such as b3sum reads.
    let text = place().read("run/checksums.b3");
    assert_eq!(text.lines().count(), 7);
    for line in text.lines() {
        let (hash, file) = line.split_once("  ").unwrap();
        assert_eq!(hash.len(), 64);
        assert!(place().path("run").join(file).exists(), "{file}");
    }
}

#[test]
fn two_processes_do_not_work_on_one_run() {
    let run = unfinished("busy");
    let lock = place().path(&run).join(".lock");
    let other = File::create(&lock).unwrap();
    other.lock().unwrap();
    let refused = place().refusal(&["train", "--resume", &run]);
    assert!(refused.contains("another process is using this run") && refused.contains(&*run), "{refused}");
    other.unlock().unwrap();
    resumed(&run);

    // A folder with nothing but a lock in it is as good as a new one, but for whoever is not quick enough.
    fs::create_dir(place().path("early")).unwrap();
    let other = File::create(place().path("early/.lock")).unwrap();
    other.lock().unwrap();
    let steps = two_phases("2", &["--out", "early"]);
    let refused = place().refusal(&steps);
    assert!(refused.contains("another process"), "{refused}");
    drop(other);
    place().run(&steps);
    assert!(result("early") == result("run"));
}

#[test]
fn a_model_that_names_no_classes_or_one_twice_is_refused() {
    let mut model = TensorFile::read(place().path("run/model.safetensors")).unwrap();
    let text = model.metadata("ocelli").unwrap().to_owned();
    let classes = r#"["flags","food-and-drink","smileys-and-emotion"]"#;
    assert!(text.contains(classes), "{text}");
    model.insert("none", vec![0, 1], Vec::new());
    for (named, expected) in
        [("[]", "no classes"), (r#"["flags","food","flags"]"#, "two classes named \"flags\"")]
    {
        fs::write(place().path("wrong.safetensors"), model.to_bytes("ocelli", &text.replace(classes, named)))
            .unwrap();
        let said = place().refusal(&["predict", "wrong.safetensors", "photos"]);
        assert!(said.contains("wrong.safetensors") && said.contains(expected), "{said}");
    }
}
