//! How the model was trained: charts, phases with their epochs, and where the time went.

use std::time::Instant;

use ocelli::finished::{FinishedRun, PhaseRecord, SearchRecord};
use ocelli::nn::GROUPS;
use ocelli::{CurveShape, LearningRates, SuggestedLrs};
use ocelli_data::text::count;
use ocelli_plot::{Figure, Layout};
use serde::Serialize;

use crate::Subject;
use crate::page::settings::settings;

/// The part of the page about the run, where there is one.
#[derive(Serialize, Default)]
pub(super) struct TrainingPart {
    settings: Vec<[String; 2]>,
    /// Charts of the training, in order.
    charts: Vec<ChartPart>,
    phases: Vec<PhasePart>,
    /// The number of phases that trained; `phases` may be fewer.
    phases_in_all: usize,
    /// Where the seconds went; they add up to the whole.
    times: Vec<(String, f64)>,
}

impl TrainingPart {
    pub(super) fn new<'a>(subject: &Subject, drawn: &impl Fn(&str) -> Option<&'a Figure>) -> Self {
        let Some(run) = subject.records else { return Self::default() };
        Self {
            settings: settings(run),
            charts: charts(run, drawn),
            phases: phases(run, subject.train_len()),
            phases_in_all: run.phases.len(),
            times: times(run, subject.began),
        }
    }
}

/// A chart with its title and a note.
#[derive(Serialize)]
struct ChartPart {
    title: String,
    chart: Layout,
    note: String,
}

/// A phase of the recipe that trained.
#[derive(Serialize)]
struct PhasePart {
    number: usize,
    title: String,
    /// "5 epochs at learning rate 3.5e-2, 17 s"
    text: String,
    diagnosis: Vec<String>,
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
    /// The index of the row of the epoch whose weights the model has.
    best: Option<usize>,
    /// The number of epochs; the rows may be fewer.
    epochs: usize,
}

/// The most phases, and runs of the learning rate finder, on the page.
const PHASES: usize = 50;

/// The most epochs in the table of a phase.
const EPOCHS: usize = 200;

/// The charts of the training: losses, metrics, learning rates, and the learning rate finder's curves.
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
    for search in records.searches.iter().take(PHASES) {
        let head = search.learning_rates.head();
        let figure = search.curve.plot().with_vertical(format!("used {head:.1e}"), head);
        charts.extend(figure.layouts().into_iter().map(|chart| ChartPart {
            title: format!("Learning rate finder before phase {}", search.fit),
            chart,
            note: search_note(search, records.phases.iter().find(|phase| phase.number == search.fit)),
        }));
    }
    charts
}

/// The result of a run of the learning rate finder.
fn search_note(search: &SearchRecord, phase: Option<&PhaseRecord>) -> String {
    let found = match (&search.shape, &search.reason) {
        (Some(CurveShape::Descends(SuggestedLrs { valley, slide, minimum, steep })), _) => format!(
            "fastai's rules: valley {valley:.1e}, slide {slide:.1e}, minimum / 10 {minimum:.1e}, steep {steep:.1e}"
        ),
        (Some(CurveShape::OnlyRises(rate)), _) => {
            format!("No clear descent; the loss rises above {rate:.1e}")
        }
        (None, Some(reason)) => format!("No reliable learning rate: {reason}"),
        (None, None) => "No reliable learning rate".to_owned(),
    };
    // Frozen groups have no learning rate.
    let head_alone = phase.is_some_and(|phase| phase.frozen + 1 == GROUPS);
    let rates =
        if head_alone { LearningRates::from(search.learning_rates.head()) } else { search.learning_rates };
    format!("{found}. Used: {rates}.")
}

/// The phases that trained, each with its epochs.
fn phases(records: &FinishedRun, training_images: usize) -> Vec<PhasePart> {
    records.phases.iter().take(PHASES).map(|phase| phase_part(records, phase, training_images)).collect()
}

fn phase_part(records: &FinishedRun, phase: &PhaseRecord, training_images: usize) -> PhasePart {
    let (names, table) = &records.history;
    let epochs = records.epochs();
    let all: Vec<usize> = (0..table.len()).filter(|&row| epochs[row].0 == phase.number).collect();
    let best = records.best_row().filter(|row| all.contains(row));
    // Of many epochs a sample, with the first, the last and the best.
    let stride = all.len().div_ceil(EPOCHS).max(1);
    let mut shown: Vec<usize> =
        all.iter().copied().step_by(stride).chain(all.last().copied()).chain(best).collect();
    shown.sort_unstable();
    shown.dedup();
    let hidden = |name: &str| name == "phase" || name.starts_with("learning_rate");
    let filled =
        |column: usize| all.iter().any(|&row| table[row].get(column).is_some_and(|cell| !cell.is_empty()));
    let columns: Vec<usize> =
        (0..names.len()).filter(|&column| !hidden(&names[column]) && filled(column)).collect();
    let mut titles: Vec<String> = columns.iter().map(|&column| names[column].replace('_', " ")).collect();
    let has_rates = phase.learning_rates.head() > 0.0;
    if has_rates {
        titles.push("peak lr".to_owned());
    }
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
        if has_rates {
            cells.push(rate.map_or_else(|| "–".to_owned(), |rate| format!("{rate:.1e}")));
        }
        cells
    });
    let seconds = duration(records.seconds_of(phase.number));
    PhasePart {
        number: phase.number,
        title: phase.title.clone(),
        text: if phase.text.is_empty() { seconds } else { format!("{}, {seconds}", phase.text) },
        diagnosis: phase.diagnosis.clone(),
        columns: titles,
        rows: rows.collect(),
        best: best.and_then(|best| shown.iter().position(|&row| row == best)),
        epochs: all.len(),
    }
}

/// Where the time went. The parts add up to the whole; the rest is listed as well.
fn times(records: &FinishedRun, began: Instant) -> Vec<(String, f64)> {
    let mut times = Vec::new();
    if records.features > 0.0 {
        let rate = records.computed as f64 / records.features;
        let speed = if records.computed > 0 { format!(", {rate:.0} images/s") } else { String::new() };
        times.push((
            format!("features of {} images{speed}", count(records.computed as usize)),
            records.features,
        ));
    }
    let mut add = |name: &str, seconds: f64| {
        if seconds > 0.0 {
            times.push((name.to_owned(), seconds));
        }
    };
    add("resizing images", records.resizing);
    add("learning rate finder", records.searching);
    for phase in records.phases.iter().take(PHASES) {
        let epochs = records.epochs().iter().filter(|(of, _)| *of == phase.number).count();
        let epochs = if epochs == 1 { "1 epoch".to_owned() } else { format!("{} epochs", count(epochs)) };
        add(&format!("phase {}: {}, {epochs}", phase.number, phase.title), records.seconds_of(phase.number));
    }
    add("views for test-time augmentation", records.viewing);
    if let Some(finished) = &records.finished {
        let listed: f64 = times.iter().map(|time| time.1).sum();
        times.push((
            "other: checkpoints, final validation, files".to_owned(),
            (finished.seconds - listed).max(0.0),
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
