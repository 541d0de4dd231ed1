//! How the model was trained: charts, phases with their epochs, and where the time went.

use std::time::Instant;

use ocelli::finished::{FinishedRun, PhaseRecord, SearchRecord};
use ocelli::nn::GROUPS;
use ocelli::{Finding, LearningRates, Suggestions};
use ocelli_data::text::count;
use ocelli_plot::{Figure, Layout};
use serde::Serialize;

use crate::Subject;
use crate::page::settings::settings;

/// The part of the page that is of the run, where there is one.
#[derive(Serialize, Default)]
pub(super) struct TrainingPart {
    settings: Vec<[String; 2]>,
    /// Charts of the training, in their order.
    charts: Vec<ChartPart>,
    steps: Vec<StepPart>,
    /// Phases that trained, all of them; `steps` may be fewer.
    steps_in_all: usize,
    /// What took how many seconds; together they are the whole.
    times: Vec<(String, f64)>,
}

impl TrainingPart {
    pub(super) fn new<'a>(subject: &Subject, drawn: &impl Fn(&str) -> Option<&'a Figure>) -> Self {
        let Some(run) = subject.records else { return Self::default() };
        Self {
            settings: settings(run),
            charts: charts(run, drawn),
            steps: steps(run, subject.train_len()),
            steps_in_all: run.phases.len(),
            times: times(run, subject.began),
        }
    }
}

/// A chart as it is drawn, with its title and what is to be said of it.
#[derive(Serialize)]
struct ChartPart {
    title: String,
    chart: Layout,
    note: String,
}

/// A step of the recipe that trained.
#[derive(Serialize)]
struct StepPart {
    number: usize,
    title: String,
    /// "5 epochs at learning rate 3.5e-2, 17 s"
    text: String,
    readings: Vec<String>,
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
    /// The place among the rows of the epoch whose weights the model has.
    kept: Option<usize>,
    /// All epochs, of which the rows are some.
    epochs: usize,
}

/// Steps of the recipe, and searches for learning rates, on the page.
const STEPS: usize = 50;

/// Epochs of a step in its table.
const EPOCHS: usize = 200;

/// The charts of the training: losses, metrics, learning rates, then what the learning rate finder saw.
fn charts<'a>(records: &FinishedRun, drawn: &impl Fn(&str) -> Option<&'a Figure>) -> Vec<ChartPart> {
    let mut charts = Vec::new();
    let titles = [("losses", ["Loss", "Metrics"]), ("learning_rates", ["Learning rates", ""])];
    for (name, titles) in titles {
        let layouts = drawn(name).map(Figure::layouts).unwrap_or_default();
        charts.extend(layouts.into_iter().zip(titles).map(|(chart, title)| ChartPart {
            title: title.to_owned(),
            chart,
            note: String::new(),
        }));
    }
    for search in records.searches.iter().take(STEPS) {
        let head = search.rates.head();
        let figure = search.curve.plot().with_vertical(format!("taken {head:.1e}"), head);
        charts.extend(figure.layouts().into_iter().map(|chart| ChartPart {
            title: format!("Learning rate finder before phase {}", search.fit),
            chart,
            note: said_of(search, records.phases.iter().find(|phase| phase.number == search.fit)),
        }));
    }
    charts
}

/// What a search for a learning rate came to.
fn said_of(search: &SearchRecord, phase: Option<&PhaseRecord>) -> String {
    let found = match (&search.finding, &search.doubt) {
        (Some(Finding::Falls(Suggestions { valley, slide, minimum, steep })), _) => format!(
            "Found: valley {valley:.1e}, slide {slide:.1e}, minimum / 10 {minimum:.1e}, steep {steep:.1e}"
        ),
        (Some(Finding::Rises(rate)), _) => {
            format!("No clear descent; the loss rises above {rate:.1e}")
        }
        (None, Some(doubt)) => format!("No reliable learning rate: {doubt}"),
        (None, None) => "No reliable learning rate".to_owned(),
    };
    // Frozen groups have no learning rate.
    let head_alone = phase.is_some_and(|phase| phase.frozen + 1 == GROUPS);
    let rates = if head_alone { LearningRates::from(search.rates.head()) } else { search.rates };
    format!("{found}. Used: {rates}.")
}

/// The steps that trained, each with its epochs.
fn steps(records: &FinishedRun, training_images: usize) -> Vec<StepPart> {
    records.phases.iter().take(STEPS).map(|phase| step(records, phase, training_images)).collect()
}

fn step(records: &FinishedRun, phase: &PhaseRecord, training_images: usize) -> StepPart {
    let (names, table) = &records.history;
    let epochs = records.epochs();
    let all: Vec<usize> = (0..table.len()).filter(|&row| epochs[row].0 == phase.number).collect();
    let kept = records.kept_row().filter(|row| all.contains(row));
    // Of many epochs some, the first, the last and the one that was kept among them.
    let stride = all.len().div_ceil(EPOCHS).max(1);
    let mut shown: Vec<usize> =
        all.iter().copied().step_by(stride).chain(all.last().copied()).chain(kept).collect();
    shown.sort_unstable();
    shown.dedup();
    let hidden = |name: &str| name == "fit" || name.starts_with("learning_rate");
    let filled =
        |column: usize| all.iter().any(|&row| table[row].get(column).is_some_and(|cell| !cell.is_empty()));
    let columns: Vec<usize> =
        (0..names.len()).filter(|&column| !hidden(&names[column]) && filled(column)).collect();
    let mut titles: Vec<String> = columns.iter().map(|&column| names[column].replace('_', " ")).collect();
    titles.push("highest rate".to_owned());
    let cell = |row: usize, column: usize| {
        let text = table[row].get(column).map_or("", String::as_str);
        match (names[column].as_str(), text.parse::<f64>()) {
            ("epoch", _) => text.to_owned(),
            ("seconds", Ok(value)) => format!("{value:.1}"),
            (_, Ok(value)) => format!("{value:.4}"),
            (_, Err(_)) => "–".to_owned(),
        }
    };
    let rows = shown.iter().map(|&row| {
        let mut cells: Vec<String> = columns.iter().map(|&column| cell(row, column)).collect();
        let rate = records.highest_rate(phase, epochs[row].1, training_images);
        cells.push(rate.map_or_else(|| "–".to_owned(), |rate| format!("{rate:.1e}")));
        cells
    });
    let seconds = duration(records.seconds_of(phase.number));
    StepPart {
        number: phase.number,
        title: phase.title.clone(),
        text: if phase.text.is_empty() { seconds } else { format!("{}, {seconds}", phase.text) },
        readings: phase.readings.clone(),
        columns: titles,
        rows: rows.collect(),
        kept: kept.and_then(|kept| shown.iter().position(|&row| row == kept)),
        epochs: all.len(),
    }
}

/// What took how long. The parts add up to the whole: what is left of it is told too.
fn times(records: &FinishedRun, began: Instant) -> Vec<(String, f64)> {
    let mut times = Vec::new();
    if records.activations > 0.0 {
        let rate = records.computed as f64 / records.activations;
        let speed = if records.computed > 0 { format!(", {rate:.0} images/s") } else { String::new() };
        times.push((
            format!("features of {} images{speed}", count(records.computed as usize)),
            records.activations,
        ));
    }
    let mut add = |name: &str, seconds: f64| {
        if seconds > 0.0 {
            times.push((name.to_owned(), seconds));
        }
    };
    add("resizing images", records.resizing);
    add("learning rate finder", records.searching);
    for phase in records.phases.iter().take(STEPS) {
        let epochs = records.epochs().iter().filter(|(of, _)| *of == phase.number).count();
        let epochs = if epochs == 1 { "1 epoch".to_owned() } else { format!("{} epochs", count(epochs)) };
        add(&format!("phase {}: {}, {epochs}", phase.number, phase.title), records.seconds_of(phase.number));
    }
    add("views for test-time augmentation", records.viewing);
    if let Some(finished) = &records.finished {
        let told: f64 = times.iter().map(|time| time.1).sum();
        times.push((
            "other: checkpoints, final validation, files".to_owned(),
            (finished.seconds - told).max(0.0),
        ));
    }
    times.push(("this report".to_owned(), began.elapsed().as_secs_f64()));
    times
}

/// `0.4 s`, `19 s`, `1 min 52 s`, `2 h 5 min`
fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        _ if seconds < 9.95 => format!("{seconds:.1} s"),
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}
