//! `ocelli predict`

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use crate::output::{eprintln, shown, unwritten};
use ocelli::interpret::probability_column;
use ocelli::{
    ClassProbability, DeviceName, Found, Model, Prediction, Skipped, Task, escape_formula, photos_in, text_of,
};

use crate::Failure;
use crate::arguments::Predict;
use crate::interrupt;
use crate::train::use_threads;
use crate::words::{count, counted};

pub fn run(arguments: &Predict) -> Result<(), Failure> {
    use_threads(arguments.threads)?;
    let mut model = Model::load(&arguments.model)?.threads(arguments.threads);
    if let Some(precision) = arguments.precision.precision() {
        model = model.precision(precision);
    }
    if let Some(pixels) = arguments.max_pixels {
        model = model.max_pixels(pixels);
    }
    if arguments.device != DeviceName::default() {
        model = model.to_device(&arguments.device.open()?);
    }
    if arguments.calibrated {
        model = model.calibrated()?;
    }
    interrupt::finish("this batch");
    let mut out = Output::new(arguments, &model.contract().classes).map_err(unwritten)?;
    let mut tally = Tally::default();
    let mut answer = |asked: Asked, tally: &mut Tally| -> Result<(), Failure> {
        tally.total += asked.photos.len();
        asked.say_left_out(tally);
        for prediction in model.predict_with(asked.photos, arguments.tta)? {
            match prediction {
                Ok(prediction) => out.write(&prediction).map_err(unwritten)?,
                // No photo's fault: no answer of this model can be believed.
                Err(error @ ocelli::Error::NotFiniteOutput { .. }) => return Err(error.into()),
                Err(error) => {
                    tally.failed += 1;
                    eprintln!("{}", shown(error));
                }
            }
            tally.answered += 1;
            if interrupt::asked() {
                out.flush().map_err(unwritten)?;
                return Err(stopped(tally));
            }
        }
        out.flush().map_err(unwritten)
    };
    match from_standard_input(arguments)? {
        false => {
            let mut asked = Asked::default();
            arguments.photos.iter().try_for_each(|path| asked.add(path))?;
            answer(asked, &mut tally)?;
        }
        true => {
            let lines = lines_of_standard_input(if arguments.null { b'\0' } else { b'\n' });
            // What has been written by now is answered now: more may be long in coming.
            while let Some(first) = next(&lines, &tally)? {
                let mut asked = Asked::default();
                for line in std::iter::once(first).chain(lines.try_iter().take(AT_ONCE - 1)) {
                    let path = line.map_err(|error| {
                        Failure::Error(format!("standard input: {}", ocelli::io_reason(&error)))
                    })?;
                    tally.lines += 1;
                    asked.add(&path)?;
                }
                answer(asked, &mut tally)?;
            }
            // Who writes `-` may have none to give.
            if tally.lines == 0 && arguments.photos.is_empty() {
                return Err(Failure::Error(NOTHING_GIVEN.to_owned()));
            }
        }
    }
    if tally.failed > 0 {
        let Tally { failed, total, .. } = tally;
        eprintln!("left out: {failed} of {total} files could not be read as photos");
        return Err(Failure::Said);
    }
    Ok(())
}

const NOTHING_GIVEN: &str =
    "no photos were given: name files or folders, or write their paths to standard input, one a line";

/// So many paths of standard input are taken at once at most.
const AT_ONCE: usize = 1024;
/// So many files that are none of the photos' kind are named.
const NAMED: usize = 5;

/// How it went.
#[derive(Default)]
struct Tally {
    /// Files that were meant as photos, or may be.
    total: usize,
    /// Those of them that are left out.
    failed: usize,
    /// Paths on standard input.
    lines: usize,
    /// Photos that were looked at.
    answered: usize,
}

/// Photos to be answered, and what was found beside them.
#[derive(Default)]
struct Asked {
    photos: Vec<PathBuf>,
    skipped: Vec<Skipped>,
}

impl Asked {
    /// A file as given, a folder by what is in it.
    fn add(&mut self, path: &Path) -> Result<(), Failure> {
        if !path.is_dir() {
            self.photos.push(path.to_owned());
            return Ok(());
        }
        let Found { photos, skipped } = photos_in(path)?;
        if photos.is_empty() && skipped.iter().all(|skipped| skipped.is_usual) {
            return Err(Failure::Error(format!(
                "{}: there are no photos in this folder",
                shown(path.display())
            )));
        }
        self.photos.extend(photos);
        self.skipped.extend(skipped);
        Ok(())
    }

    /// Names what is left out: each file that may be a photo, and the first of those that lie among photos as a matter of
    /// course.
    fn say_left_out(&self, tally: &mut Tally) {
        let (usual, others): (Vec<&Skipped>, Vec<&Skipped>) =
            self.skipped.iter().partition(|skipped| skipped.is_usual);
        for Skipped { path, reason, .. } in &others {
            eprintln!("{}: {}", shown(path.display()), shown(reason));
        }
        tally.failed += others.len();
        tally.total += others.len();
        if !usual.is_empty() {
            let name = |skipped: &&Skipped| {
                format!("{} ({})", shown(skipped.path.display()), shown(&skipped.reason))
            };
            let mut named: Vec<String> = usual.iter().take(NAMED).map(name).collect();
            if usual.len() > NAMED {
                named.push(format!("and {} more", count(usual.len() - NAMED)));
            }
            eprintln!("no photos, and left out: {}", named.join(", "));
        }
    }
}

/// The next path of standard input, which may be long in coming; a signal is obeyed meanwhile.
fn next(
    lines: &Receiver<io::Result<PathBuf>>,
    tally: &Tally,
) -> Result<Option<io::Result<PathBuf>>, Failure> {
    loop {
        match lines.recv_timeout(Duration::from_millis(100)) {
            Ok(path) => return Ok(Some(path)),
            Err(RecvTimeoutError::Disconnected) => return Ok(None),
            Err(RecvTimeoutError::Timeout) if interrupt::asked() => return Err(stopped(tally)),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

fn stopped(tally: &Tally) -> Failure {
    eprintln!("stopped after {}", counted(tally.answered, "photo"));
    Failure::Interrupted
}

/// Whether paths are read from there.
fn from_standard_input(arguments: &Predict) -> Result<bool, Failure> {
    let asked = arguments.photos == [PathBuf::from("-")];
    if arguments.photos.is_empty() && io::stdin().is_terminal() {
        return Err(Failure::Error(NOTHING_GIVEN.to_owned()));
    }
    let reads = asked || arguments.photos.is_empty();
    match arguments.null && !reads {
        true => Err(Failure::Error(
            "--null is about paths on standard input, and photos are named here; leave one of both out"
                .to_owned(),
        )),
        false => Ok(reads),
    }
}

/// The paths on standard input as they come, without empty ones. They are bytes, and need not be text.
fn lines_of_standard_input(end: u8) -> Receiver<io::Result<PathBuf>> {
    let (send, lines) = sync_channel(AT_ONCE);
    std::thread::spawn(move || {
        for line in io::stdin().lock().split(end) {
            let path = line.map(|mut line| {
                if end == b'\n' && line.last() == Some(&b'\r') {
                    line.pop();
                }
                path_of(line)
            });
            let is_empty = path.as_ref().is_ok_and(|path| path.as_os_str().is_empty());
            if !is_empty && send.send(path).is_err() {
                return;
            }
        }
    });
    lines
}

#[cfg(unix)]
fn path_of(bytes: Vec<u8>) -> PathBuf {
    use std::os::unix::ffi::OsStringExt;
    std::ffi::OsString::from_vec(bytes).into()
}

/// Where paths are no bytes, what is no text is no path either: it names no file.
#[cfg(not(unix))]
fn path_of(bytes: Vec<u8>) -> PathBuf {
    String::from_utf8_lossy(&bytes).into_owned().into()
}

/// Where predictions go, in which form.
enum Output {
    Text(io::Stdout),
    Json(io::Stdout),
    Csv(Box<csv::Writer<io::Stdout>>),
}

impl Output {
    fn new(arguments: &Predict, classes: &[String]) -> io::Result<Self> {
        if arguments.json {
            return Ok(Self::Json(io::stdout()));
        }
        if arguments.csv {
            let mut writer = csv::Writer::from_writer(io::stdout());
            // The column of a class cannot have the name of another, whatever the class is called.
            let header = ["path", "class", "probability"].into_iter().map(str::to_owned);
            let header = header.chain(classes.iter().map(|class| probability_column(class)));
            writer.write_record(header.map(|name| escape_formula(&name).into_owned()))?;
            return Ok(Self::Csv(Box::new(writer)));
        }
        Ok(Self::Text(io::stdout()))
    }

    fn write(&mut self, prediction: &Prediction) -> io::Result<()> {
        let path = text_of(&prediction.path);
        let decided = prediction.predicted_labels();
        let class = decided.iter().map(|guess| guess.class.as_str()).collect::<Vec<_>>().join(" ");
        let probability = prediction.best().probability;
        match self {
            Self::Text(out) if prediction.task == Task::SingleLabel => {
                writeln!(out, "{}  {}  {probability:.4}", shown(path), shown(class))?;
            }
            Self::Text(out) => {
                let guess =
                    |guess: &ClassProbability| format!("{} {:.4}", shown(&guess.class), guess.probability);
                let said = decided.iter().map(guess).collect::<Vec<_>>().join(", ");
                writeln!(out, "{}  {}", shown(path), if said.is_empty() { "no label" } else { &said })?;
            }
            Self::Json(out) => {
                let probabilities: serde_json::Map<String, serde_json::Value> = prediction
                    .classes
                    .iter()
                    .zip(&prediction.probabilities)
                    .map(|(class, probability)| (class.clone(), (*probability).into()))
                    .collect();
                let mut object = serde_json::json!({ "path": path, "probabilities": probabilities });
                match prediction.task {
                    Task::SingleLabel => {
                        object["class"] = class.into();
                        object["probability"] = probability.into();
                    }
                    Task::MultiLabel => {
                        object["classes"] = decided.iter().map(|guess| guess.class.as_str()).collect();
                    }
                }
                writeln!(out, "{object}")?;
            }
            Self::Csv(writer) => {
                let text = |text: &str| escape_formula(text).into_owned();
                let mut cells = vec![text(&path), text(&class), probability.to_string()];
                cells.extend(prediction.probabilities.iter().map(f32::to_string));
                writer.write_record(cells)?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Text(out) | Self::Json(out) => out.flush(),
            Self::Csv(writer) => writer.flush(),
        }
    }
}
