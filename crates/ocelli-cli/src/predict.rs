//! `ocelli predict`

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;

use anstream::eprintln;
use ocelli::{DeviceName, Guess, Model, Prediction, Skipped, Task};

use crate::Failure;
use crate::arguments::Predict;
use crate::train::{use_threads, views};

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
    let (photos, unusable) = photos(&arguments.photos)?;
    let mut out = Output::new(arguments, &model.contract().classes).map_err(unwritten)?;
    for Skipped { path, reason, .. } in &unusable {
        eprintln!("{}: {reason}", path.display());
    }
    let mut failed = unusable.len();
    let total = photos.len() + unusable.len();
    let tta = arguments.tta.as_deref().map(views).transpose()?;
    for prediction in model.predict_with(photos, tta)? {
        match prediction {
            Ok(prediction) => out.write(&prediction).map_err(unwritten)?,
            Err(error) => {
                failed += 1;
                eprintln!("{error}");
            }
        }
    }
    out.finish().map_err(unwritten)?;
    if failed > 0 {
        eprintln!("{failed} of {total} photos could not be read");
        return Err(Failure::Said);
    }
    Ok(())
}

const NOTHING_GIVEN: &str =
    "no photos were given: name files or folders, or write their paths to standard input, one a line";

/// The photos meant: files as given, folders by what is in them, standard input line by line; then what cannot be
/// read in those folders.
fn photos(given: &[PathBuf]) -> Result<(Vec<PathBuf>, Vec<Skipped>), Failure> {
    let nothing = || Failure::Error(NOTHING_GIVEN.to_owned());
    if given.is_empty() && io::stdin().is_terminal() {
        return Err(nothing());
    }
    if given.is_empty() || given == [PathBuf::from("-")] {
        let lines: Result<Vec<String>, io::Error> = io::stdin().lock().lines().collect();
        let lines = lines.map_err(|error| Failure::Error(format!("standard input: {error}")))?;
        let paths: Vec<_> = lines.into_iter().filter(|line| !line.is_empty()).map(PathBuf::from).collect();
        // Who writes `-` may have none to give.
        if paths.is_empty() && given.is_empty() {
            return Err(nothing());
        }
        return Ok((paths, Vec::new()));
    }
    let (mut photos, mut unusable) = (Vec::new(), Vec::new());
    for path in given {
        if path.is_dir() {
            let (found, broken) = ocelli::photos_in(path)?;
            if found.is_empty() && broken.is_empty() {
                return Err(Failure::Error(format!(
                    "{}: there are no photos in this folder",
                    path.display()
                )));
            }
            photos.extend(found);
            unusable.extend(broken);
        } else {
            photos.push(path.clone());
        }
    }
    Ok((photos, unusable))
}

fn unwritten(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe { Failure::Closed } else { error.into() }
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
            let header = ["path", "class", "probability"].into_iter();
            writer.write_record(header.chain(classes.iter().map(String::as_str)))?;
            return Ok(Self::Csv(Box::new(writer)));
        }
        Ok(Self::Text(io::stdout()))
    }

    fn write(&mut self, prediction: &Prediction) -> io::Result<()> {
        let path = prediction.path.display().to_string();
        let decided = prediction.decided();
        let class = decided.iter().map(|guess| guess.class.as_str()).collect::<Vec<_>>().join(" ");
        let probability = prediction.best().probability;
        match self {
            Self::Text(out) if prediction.task == Task::SingleLabel => {
                writeln!(out, "{path}  {class}  {probability:.4}")?;
            }
            Self::Text(out) => {
                let guess = |guess: &Guess| format!("{} {:.4}", guess.class, guess.probability);
                let said = decided.iter().map(guess).collect::<Vec<_>>().join(", ");
                writeln!(out, "{path}  {}", if said.is_empty() { "no label" } else { &said })?;
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
                let mut cells = vec![path, class, probability.to_string()];
                cells.extend(prediction.probabilities.iter().map(f32::to_string));
                writer.write_record(cells)?;
            }
        }
        Ok(())
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Self::Text(mut out) | Self::Json(mut out) => out.flush()?,
            Self::Csv(mut writer) => writer.flush()?,
        }
        Ok(())
    }
}
