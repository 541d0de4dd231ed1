//! What the page is given: one value that becomes JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use ocelli_data::{RgbImage, words::count};
use ocelli_nn::GROUPS;
use rayon::prelude::*;
use serde::Serialize;
use serde_json::Value;

use super::pictures::{Album, Picture, Source};
use super::records::{Records, SearchRecord, StageRecord};
use super::{CELLS, Doubts, Stop, Subject, html};
use crate::data::{ClassCount, ImageData};
use crate::error::Result;
use crate::interpret::{Calibration, Confused, Interpretation, Order, Pair, ThresholdCurve};
use crate::lr_finder::suggest::{Finding, Suggestions};
use crate::metric::proportion::Proportion;
use crate::metric::{Average, Metric, MetricEstimate};
use crate::plot::{self, Layout};
use crate::schedule::learning_rates::LearningRates;
use ocelli_data::Task;

/// Everything on the page. Images are numbers of places in [`images`](Self::images).
#[derive(Serialize)]
pub(super) struct Page<'a> {
    title: String,
    subtitle: String,
    /// Whether images have several classes.
    several: bool,
    classes: Vec<String>,
    figures: &'a [Figure],
    /// What the model is, a sentence each.
    summary: Vec<String>,
    facts: Vec<[String; 2]>,
    settings: Vec<[String; 2]>,
    pub(super) notices: Vec<String>,
    data: DataPart,
    /// Charts of the training, in their order.
    charts: Vec<ChartPart>,
    steps: Vec<StepPart>,
    /// Steps of the recipe that are told, and all.
    steps_in_all: usize,
    /// What took how many seconds; together they are the whole.
    times: Vec<(String, f64)>,
    confusion: Option<ConfusionPart>,
    /// The number of classes from which on there is no matrix of cells.
    cells: usize,
    table: Vec<ClassPart>,
    means: Option<crate::interpret::Means>,
    curves: Vec<CurvePart>,
    calibration: Option<Calibration>,
    reliability: Option<Layout>,
    images: Vec<Picture>,
    losses: Vec<usize>,
    galleries: Vec<Gallery>,
    labels: Option<LabelsPart>,
    inside: InsidePart,
}

/// A figure with its 95 % interval, where it has one.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Figure {
    pub(super) name: String,
    pub(super) value: f64,
    pub(super) low: Option<f64>,
    pub(super) high: Option<f64>,
    detail: String,
}

#[derive(Serialize)]
struct DataPart {
    train: usize,
    valid: usize,
    counts: Vec<ClassCount>,
    origin: String,
    /// How many images' sizes were looked at, then the smallest, the middle and the largest shorter side.
    sizes: Option<[usize; 4]>,
    sizes_chart: Option<Layout>,
    skipped: Vec<Vec<String>>,
    skipped_in_all: usize,
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

/// The curves of a class by its threshold.
#[derive(Serialize)]
struct CurvePart {
    /// The class; nothing: all labels together.
    class: Option<String>,
    chart: Layout,
    /// The highest F1, its threshold, the highest F2, its threshold.
    best: [f64; 4],
}

#[derive(Serialize)]
struct ConfusionPart {
    cells: Vec<CellPart>,
    /// The classes in an order that brings confused ones together; nothing where there is no matrix.
    order: Option<Vec<usize>>,
    confused: Vec<Confused>,
    confused_in_all: usize,
}

/// A cell of the matrix that is not 0.
#[derive(Serialize)]
struct CellPart {
    truth: usize,
    said: usize,
    count: usize,
    images: Vec<usize>,
    /// The ids of mistakes for whose pictures there is no room.
    more: Vec<String>,
}

#[derive(Serialize)]
struct ClassPart {
    support: usize,
    predicted: usize,
    precision: Option<[f64; 3]>,
    recall: Option<[f64; 3]>,
    f1: Option<f64>,
    auroc: Option<f64>,
}

#[derive(Serialize)]
struct Gallery {
    class: usize,
    correct: Vec<usize>,
    incorrect: Vec<usize>,
    uncertain: Vec<usize>,
}

#[derive(Serialize)]
struct LabelsPart {
    trainable: bool,
    /// Heads that predicted the images, each trained on the others.
    folds: usize,
    looked_at: usize,
    likely: usize,
    suspects: Vec<SuspectPart>,
    suspects_in_all: usize,
    /// Images of a pair, likeness, whether byte-identical, whether of the same label.
    duplicates: Vec<(usize, usize, f64, bool, bool)>,
    duplicates_in_all: usize,
    outliers: Vec<(usize, f64)>,
}

#[derive(Serialize)]
struct SuspectPart {
    image: usize,
    given: Vec<usize>,
    suggested: Vec<usize>,
    score: f64,
    likely: bool,
}

#[derive(Serialize, Default)]
struct InsidePart {
    filters: Option<String>,
    /// The photo, then stage by stage: title and picture.
    photo: Option<usize>,
    stages: Vec<(String, String)>,
    patches: Vec<(String, String)>,
}

/// Images of a wrong cell that can be clicked through.
const IN_A_CELL: usize = 24;
/// Mistakes that are told by name, in all.
const NAMES: usize = 10_000;
/// Top losses.
const LOSSES: usize = 24;
/// Images of each order in a gallery, at most.
const IN_A_GALLERY: usize = 8;
/// Suspects on the page; all are in the tables.
const SUSPECTS: usize = 100;
/// Pairs of duplicates on the page.
const PAIRS: usize = 24;
/// Pairs of classes on the page.
const CONFUSED: usize = 100;
/// Skipped images on the page.
const SKIPPED: usize = 200;
/// Notices on the page.
const NOTICES: usize = 30;
/// Classes whose threshold curves are on the page.
const CURVES: usize = 100;
/// Steps of the recipe, and searches for learning rates, on the page.
const STEPS: usize = 50;
/// Epochs of a step in its table.
const EPOCHS: usize = 200;
/// Images whose size is looked at.
const SIZES: usize = 2000;

impl<'a> Page<'a> {
    pub(super) fn of(
        subject: &'a Subject,
        drawings: &[(&'static str, plot::Figure)],
        figures: &'a [Figure],
    ) -> Result<Self> {
        let named = subject.named;
        let drawn = |name: &str| drawings.iter().find(|(other, _)| *other == name).map(|(_, figure)| figure);
        let mut album = Album::default();
        let losses: Vec<usize> = named
            .top_losses(LOSSES)
            .iter()
            .filter_map(|ranked| album.add(Source::Measured, ranked.place))
            .collect();
        let galleries = galleries(named, &mut album);
        let confusion = confusion(named, &mut album);
        let labels = subject.doubts.map(|doubts| labels(doubts, &mut album));
        let (images, inside, photo) = album.develop(subject)?;
        let inside = InsidePart {
            filters: inside.filters.as_ref().map(jpeg),
            photo,
            stages: inside
                .stages
                .iter()
                .map(|stage| {
                    let [height, width] = stage.side;
                    let maps =
                        format!("Stage {} · {} maps of {width} × {height}", stage.stage + 1, stage.channels);
                    (maps, jpeg(&stage.picture))
                })
                .collect(),
            patches: inside
                .patches
                .iter()
                .map(|patches| (format!("Stage {}", patches.stage + 1), jpeg(&patches.picture)))
                .collect(),
        };
        let table = named.class_table();
        let measured = !named.is_empty();
        let several = named.task() == Task::MultiLabel;
        Ok(Self {
            title: subject.title.clone(),
            subtitle: subtitle(subject),
            several,
            classes: named.classes.clone(),
            figures,
            summary: summary(subject),
            facts: facts(subject),
            settings: subject.records.map(settings).unwrap_or_default(),
            notices: notices(subject),
            data: data(subject, drawn("sizes")),
            charts: subject.records.map_or_else(Vec::new, |records| charts(records, &drawn)),
            steps: subject.records.map_or_else(Vec::new, |records| steps(records, subject.train_len())),
            steps_in_all: subject.records.map_or(0, |records| records.stages.len()),
            times: subject.records.map_or_else(Vec::new, |records| times(records, subject.began)),
            confusion,
            cells: CELLS,
            means: measured.then_some(table.means),
            table: if measured {
                let part = |share: Option<Proportion>| {
                    share.map(|share| {
                        let (low, high) = share.interval();
                        [share.value(), low, high]
                    })
                };
                let rows = table.rows.into_iter().map(|row| ClassPart {
                    support: row.support,
                    predicted: row.predicted,
                    precision: part(row.precision),
                    recall: part(row.recall),
                    f1: row.f1,
                    auroc: row.auroc,
                });
                rows.collect()
            } else {
                Vec::new()
            },
            curves: if several && measured { curves(named.threshold_curves()) } else { Vec::new() },
            calibration: measured.then(|| named.calibration()),
            reliability: drawn("calibration").and_then(|figure| figure.layouts().pop()),
            images,
            losses,
            galleries,
            labels,
            inside,
        })
    }

    pub(super) fn html(&self) -> String {
        html::page(&format!("{} · Ocelli", self.title), include_str!("page.js"), self)
    }
}

/// The figures that stand for a whole set, those with test-time augmentation too; nothing where nothing was measured.
pub(super) fn figures(subject: &Subject) -> Vec<Figure> {
    let mut figures = plain_figures(subject.named);
    let finished = subject.records.and_then(|records| records.finished.as_ref());
    for measured in finished.iter().flat_map(|finished| &finished.augmented) {
        let name = measured.metric.to_string().replace('-', " ");
        let name = name[..1].to_uppercase() + &name[1..];
        figures.extend(measured.value.map(|value| Figure {
            name: format!("{name}, test-time augmentation"),
            value,
            low: measured.interval.0,
            high: measured.interval.1,
            detail: "mean of several views of each image".to_owned(),
        }));
    }
    figures
}

/// The figures of predictions as they are.
pub(super) fn plain_figures(named: &Interpretation) -> Vec<Figure> {
    if named.is_empty() {
        return Vec::new();
    }
    let predictions = &named.predictions;
    let accuracy = predictions.accuracy();
    let right = format!("{} of {} images right", count(accuracy.count), count(accuracy.total));
    let several = named.task() == Task::MultiLabel;
    let mut wanted = vec![
        (if several { "Exactly right" } else { "Accuracy" }, Metric::Accuracy, right.as_str()),
        ("Balanced accuracy", Metric::BalancedAccuracy, "mean recall of the classes"),
        ("Macro F1", Metric::F(1.0, Average::Macro), "mean F1 of the classes"),
        ("Log loss", Metric::LogLoss, "lower is better"),
    ];
    if several {
        wanted.insert(0, ("F1", Metric::F(1.0, Average::Micro), "over all labels"));
        wanted.insert(1, ("F2", Metric::F(2.0, Average::Samples), "mean over images; recall counts more"));
    }
    let figure = |(name, metric, detail): (&str, Metric, &str)| {
        let MetricEstimate { value, interval: (low, high), .. } = predictions.estimate(metric);
        let finite = |number: f64| Some(number).filter(|number| number.is_finite());
        let (low, high) = (finite(low), finite(high));
        Figure { name: name.to_owned(), value, low, high, detail: detail.to_owned() }
    };
    wanted.into_iter().map(figure).collect()
}

/// Pairs that are nearly the same without being byte-identical.
pub(super) fn near_duplicates(doubts: &Doubts) -> Vec<Pair> {
    let mut group = BTreeMap::new();
    for (number, places) in doubts.duplicates.iter().enumerate() {
        places.iter().for_each(|&place| {
            group.insert(place, number);
        });
    }
    let same = |pair: &Pair| group.get(&pair.first).is_some_and(|one| group.get(&pair.second) == Some(one));
    doubts.neighbours.pairs.iter().filter(|pair| !same(pair)).copied().collect()
}

fn galleries(named: &Interpretation, album: &mut Album) -> Vec<Gallery> {
    // Each class has as many as fit; the classes with most mistakes come first.
    let classes = named.classes.len();
    let each = (Album::ROOM / 2 / (3 * classes)).clamp(1, IN_A_GALLERY);
    let wrong = |class: usize| named.places(Order::MostIncorrect, class).len();
    let mut order: Vec<(usize, usize)> = (0..classes).map(|class| (wrong(class), class)).collect();
    order.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    let mut galleries: Vec<Gallery> = order
        .into_iter()
        .map(|(_, class)| {
            let mut of = |order| {
                let places = named.places(order, class).into_iter().take(each);
                places.filter_map(|place| album.add(Source::Measured, place)).collect()
            };
            Gallery {
                class,
                incorrect: of(Order::MostIncorrect),
                uncertain: of(Order::MostUncertain),
                correct: of(Order::MostCorrect),
            }
        })
        .collect();
    galleries.sort_by_key(|gallery| gallery.class);
    galleries
}

fn confusion(named: &Interpretation, album: &mut Album) -> Option<ConfusionPart> {
    let mut confused = named.most_confused(1).ok().filter(|_| !named.is_empty())?;
    let matrix = named.classes.len() <= CELLS;
    let mut places: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
    for place in 0..named.len() {
        places
            .entry((named.truth(place)[0], named.predictions.predicted_labels(place)[0]))
            .or_default()
            .push(place);
    }
    let losses = named.predictions.losses();
    places.values_mut().for_each(|places| places.sort_by(|&a, &b| losses[b].total_cmp(&losses[a])));
    // Wrong cells first: they are what people click on. Each has one picture before any has two.
    let mut order: Vec<(usize, usize)> = places.keys().copied().collect();
    order.sort_by_key(|cell| std::cmp::Reverse(places[cell].len()));
    let (wrong, right): (Vec<_>, Vec<_>) = order.into_iter().partition(|(truth, said)| truth != said);
    let mut images: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
    for cells in [&wrong, &right] {
        for turn in 0..IN_A_CELL {
            for cell in cells {
                let image = places[cell].get(turn).and_then(|&place| album.add(Source::Measured, place));
                images.entry(*cell).or_default().extend(image);
            }
        }
    }
    if !matrix {
        // What is not among the pairs that are listed cannot be chosen.
        let class = |name: &String| named.classes.iter().position(|class| class == name);
        let listed = confused.iter().take(CONFUSED);
        let listed = listed.filter_map(|pair| Some((class(&pair.truth)?, class(&pair.predicted)?)));
        let listed: BTreeSet<(usize, usize)> = listed.collect();
        places.retain(|cell, _| listed.contains(cell));
    }
    let mut room = NAMES;
    let cells = places.into_iter().map(|((truth, said), places)| {
        let (count, images) = (places.len(), images.remove(&(truth, said)).unwrap_or_default());
        let hidden = if truth == said { 0 } else { (count - images.len()).min(room) };
        room -= hidden;
        let pictured = |place: &&usize| album.has(Source::Measured, **place);
        let more = places.iter().filter(|place| !pictured(place)).take(hidden);
        let more = more.map(|&place| named.ids[place].clone()).collect();
        CellPart { truth, said, count, images, more }
    });
    let cells = cells.collect();
    let confused_in_all = confused.len();
    confused.truncate(CONFUSED);
    let order = matrix.then(|| Some(named.confusion_matrix().ok()?.clustered())).flatten();
    Some(ConfusionPart { cells, order, confused, confused_in_all })
}

fn labels(doubts: &Doubts, album: &mut Album) -> LabelsPart {
    let named = &doubts.named;
    let class =
        |name: &String| named.classes.iter().position(|class| class == name).expect("a class of its own");
    let source = if doubts.trainable { Source::Doubted } else { Source::Measured };
    let suspects = doubts.errors.suspects.iter().take(SUSPECTS);
    let suspects = suspects
        .filter_map(|suspect| {
            Some(SuspectPart {
                image: album.add(source, suspect.place)?,
                given: suspect.given.iter().map(class).collect(),
                suggested: suspect.suggested.iter().map(class).collect(),
                score: suspect.score,
                likely: suspect.likely,
            })
        })
        .collect();
    let identical = doubts.duplicates.iter().flat_map(|group| {
        group[1..].iter().map(|&other| (Pair { first: group[0], second: other, likeness: 1.0 }, true))
    });
    let near = near_duplicates(doubts).into_iter().map(|pair| (pair, false));
    let mut pairs: Vec<(Pair, bool)> = identical.chain(near).collect();
    // Those of different labels cannot both be right.
    pairs.sort_by_key(|(pair, _)| named.truth(pair.first) == named.truth(pair.second));
    let duplicates_in_all = pairs.len();
    let duplicates = pairs
        .into_iter()
        .take(PAIRS)
        .filter_map(|(pair, identical)| {
            let same = named.truth(pair.first) == named.truth(pair.second);
            Some((
                album.add(source, pair.first)?,
                album.add(source, pair.second)?,
                pair.likeness,
                identical,
                same,
            ))
        })
        .collect();
    let outliers = doubts.neighbours.outliers.iter();
    let outliers = outliers.filter_map(|outlier| Some((album.add(source, outlier.place)?, outlier.distance)));
    LabelsPart {
        trainable: doubts.trainable,
        folds: super::FOLDS,
        looked_at: doubts.errors.images,
        likely: doubts.errors.likely,
        suspects,
        suspects_in_all: doubts.errors.suspects.len(),
        duplicates,
        duplicates_in_all,
        outliers: outliers.collect(),
    }
}

fn subtitle(subject: &Subject) -> String {
    let contract = subject.model.contract();
    let (size, classes) = (contract.preprocessing.size, count(contract.classes.len()));
    let what = format!("{} · {size} px · {classes} classes", contract.architecture);
    let measured = count(subject.named.len());
    match subject.records {
        Some(_) => {
            format!("{what} · trained on {} images, measured on {measured}", count(subject.train_len()))
        }
        None => format!("{what} · measured on {measured} images"),
    }
}

fn facts(subject: &Subject) -> Vec<[String; 2]> {
    let contract = subject.model.contract();
    let mut facts = Vec::new();
    let mut add = |name: &str, value: String| facts.push([name.to_owned(), value]);
    if let Some(records) = subject.records {
        add("Command", records.given.clone());
        add("Photos", records.settings.data.display().to_string());
    }
    add("Backbone", contract.architecture.clone());
    add("Image size", format!("{0} × {0} pixels", contract.preprocessing.size));
    let parameters: usize = subject.model.network.parameters().iter().sum();
    add("Parameters", format!("{:.2} million", parameters as f64 / 1e6));
    if let Some(temperature) = contract.temperature {
        add("Temperature", format!("{temperature:.3}"));
    }
    let version = subject.records.map_or(&contract.version, |records| &records.version);
    add("Ocelli", version.clone());
    facts
}

/// Every setting under its dotted name.
pub(super) fn settings(records: &Records) -> Vec<[String; 2]> {
    fn walk(path: &str, value: &Value, rows: &mut Vec<[String; 2]>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    walk(&path, value, rows);
                }
            }
            // Steps of a recipe and the like, counted from 1.
            Value::Array(values) if values.iter().any(Value::is_object) => {
                for (place, value) in values.iter().enumerate() {
                    walk(&format!("{path}.{}", place + 1), value, rows);
                }
            }
            Value::Null => {}
            Value::String(text) => rows.push([path.to_owned(), text.clone()]),
            other => rows.push([path.to_owned(), other.to_string()]),
        }
    }
    let mut rows = Vec::new();
    walk("", &serde_json::to_value(&records.settings).expect("plain values"), &mut rows);
    rows
}

fn notices(subject: &Subject) -> Vec<String> {
    let mut notices = subject.data.notices().to_vec();
    if let Some(records) = subject.records {
        notices.extend(
            records.notices.iter().filter(|notice| !subject.data.notices().contains(notice)).cloned(),
        );
    }
    notices.splice(0..0, super::said_of_lost(subject.lost));
    if notices.len() > NOTICES {
        let more = notices.len() - NOTICES;
        notices.truncate(NOTICES);
        notices.push(format!("and {} more, in events.jsonl", count(more)));
    }
    notices
}

/// Width and height of images, of many images those of some.
pub(super) fn sizes(data: &ImageData, stop: &Stop) -> Vec<[u32; 2]> {
    let all: Vec<usize> = data.split().train.iter().chain(&data.split().valid).copied().collect();
    let step = all.len().div_ceil(SIZES).max(1);
    let some: Vec<usize> = all.into_iter().step_by(step).collect();
    let decoder = data.loading().decoder;
    let size = |&item: &usize| {
        let path = &data.items()[item].path;
        if stop.is_set() || !path.is_file() {
            return None;
        }
        let probe = decoder.probe_file(path).ok()?;
        Some([probe.width, probe.height])
    };
    some.par_iter().filter_map(size).collect()
}

fn data(subject: &Subject, sizes: Option<&plot::Figure>) -> DataPart {
    let data = subject.data;
    let mut skipped = match subject.records {
        Some(records) => records.skipped.clone(),
        None => data.skipped().iter().map(|s| vec![s.path.display().to_string(), s.reason.clone()]).collect(),
    };
    let skipped_in_all = skipped.len();
    skipped.truncate(SKIPPED);
    let recorded = subject.records.and_then(|records| records.data.as_ref());
    let origin = match recorded {
        Some(recorded) => format!("{}; split.csv says which", recorded.origin),
        None if subject.records.is_some() => "split.csv says which".to_owned(),
        None => data.split_origin().to_owned(),
    };
    let mut shorter: Vec<usize> = subject.sizes.iter().map(|size| size[0].min(size[1]) as usize).collect();
    shorter.sort_unstable();
    let of_sizes = match shorter[..] {
        [] => None,
        _ => Some([shorter.len(), shorter[0], shorter[shorter.len() / 2], shorter[shorter.len() - 1]]),
    };
    DataPart {
        train: subject.train_len(),
        valid: recorded.map_or_else(|| data.valid_len(), |recorded| recorded.valid),
        counts: subject.class_counts(),
        origin,
        sizes: of_sizes,
        sizes_chart: sizes.and_then(|figure| figure.layouts().pop()),
        skipped,
        skipped_in_all,
    }
}

/// Which weights the model has, and what brought nothing.
fn summary(subject: &Subject) -> Vec<String> {
    let Some(records) = subject.records else { return Vec::new() };
    let mut said = Vec::new();
    match records.finished.as_ref().map(|finished| (finished.kept, finished.size)) {
        Some((Some((step, epoch)), size)) => {
            said.push(format!(
                "The model has the weights of step {step}, epoch {epoch}, the best, at {size} px."
            ));
        }
        Some((None, _)) => {
            said.push(
                "Nothing was held out to choose by: the model has the weights of the last epoch.".to_owned(),
            );
        }
        None => {}
    }
    said
}

/// The charts of the training: losses, metrics, learning rates, then what the learning rate finder saw.
fn charts<'a>(records: &Records, drawn: &impl Fn(&str) -> Option<&'a plot::Figure>) -> Vec<ChartPart> {
    let mut charts = Vec::new();
    let titles = [("losses", ["Loss", "Metrics"]), ("learning_rates", ["Learning rates", ""])];
    for (name, titles) in titles {
        let layouts = drawn(name).map(plot::Figure::layouts).unwrap_or_default();
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
            title: format!("Learning rate finder before step {}", search.fit),
            chart,
            note: said_of(search, records.stages.iter().find(|stage| stage.number == search.fit)),
        }));
    }
    charts
}

/// What a search for a learning rate came to.
fn said_of(search: &SearchRecord, stage: Option<&StageRecord>) -> String {
    let found = match (&search.finding, &search.doubt) {
        (Some(Finding::Falls(Suggestions { valley, slide, minimum, steep })), _) => format!(
            "Found: valley {valley:.1e}, slide {slide:.1e}, minimum / 10 {minimum:.1e}, steep {steep:.1e}"
        ),
        (Some(Finding::Rises(rate)), _) => {
            format!("The loss does not clearly fall any more, and rises from {rate:.1e} on")
        }
        (None, Some(doubt)) => format!("No reliable answer: {doubt}"),
        (None, None) => "No reliable answer".to_owned(),
    };
    // Frozen groups have no learning rate.
    let head_alone = stage.is_some_and(|stage| stage.frozen + 1 == GROUPS);
    let rates = if head_alone { LearningRates::from(search.rates.head()) } else { search.rates };
    format!("{found}. Taken: {rates}.")
}

/// The steps that trained, each with its epochs.
fn steps(records: &Records, training_images: usize) -> Vec<StepPart> {
    records.stages.iter().take(STEPS).map(|stage| step(records, stage, training_images)).collect()
}

fn step(records: &Records, stage: &StageRecord, training_images: usize) -> StepPart {
    let (names, table) = &records.history;
    let epochs = records.epochs();
    let all: Vec<usize> = (0..table.len()).filter(|&row| epochs[row].0 == stage.number).collect();
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
        let rate = records.highest_rate(stage, epochs[row].1, training_images);
        cells.push(rate.map_or_else(|| "–".to_owned(), |rate| format!("{rate:.1e}")));
        cells
    });
    let seconds = duration(records.seconds_of(stage.number));
    StepPart {
        number: stage.number,
        title: stage.title.clone(),
        text: if stage.text.is_empty() { seconds } else { format!("{}, {seconds}", stage.text) },
        readings: stage.readings.clone(),
        columns: titles,
        rows: rows.collect(),
        kept: kept.and_then(|kept| shown.iter().position(|&row| row == kept)),
        epochs: all.len(),
    }
}

fn curves(curves: Vec<ThresholdCurve>) -> Vec<CurvePart> {
    let part = |curve: ThresholdCurve| {
        let best = |threshold: f64| curve.points.iter().find(|point| point.threshold == threshold);
        let chart = super::drawings::thresholds(&curve).layouts().pop()?;
        let (f1, f2) = (best(curve.best_f1)?.f1, best(curve.best_f2)?.f2);
        Some(CurvePart { class: curve.class, chart, best: [f1, curve.best_f1, f2, curve.best_f2] })
    };
    curves.into_iter().take(CURVES + 1).filter_map(part).collect()
}

/// What took how long. The parts add up to the whole: what is left of it is told too.
fn times(records: &Records, began: Instant) -> Vec<(String, f64)> {
    let mut times = Vec::new();
    if records.activations > 0.0 {
        let rate = records.computed as f64 / records.activations;
        let speed = if records.computed > 0 { format!(", {rate:.0} images a second") } else { String::new() };
        times.push((
            format!("activations of {} images{speed}", count(records.computed as usize)),
            records.activations,
        ));
    }
    let mut add = |name: &str, seconds: f64| {
        if seconds > 0.0 {
            times.push((name.to_owned(), seconds));
        }
    };
    add("images resized once for all epochs", records.resizing);
    add("learning rate finder", records.searching);
    for stage in records.stages.iter().take(STEPS) {
        let epochs = records.epochs().iter().filter(|(of, _)| *of == stage.number).count();
        let epochs = if epochs == 1 { "1 epoch".to_owned() } else { format!("{} epochs", count(epochs)) };
        add(&format!("step {}: {}, {epochs}", stage.number, stage.title), records.seconds_of(stage.number));
    }
    add("views for test-time augmentation", records.viewing);
    if let Some(finished) = &records.finished {
        let told: f64 = times.iter().map(|time| time.1).sum();
        times.push((
            "all else: checkpoints, validation at the end, files".to_owned(),
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

fn jpeg(image: &RgbImage) -> String {
    image.to_inline_jpeg(85)
}
