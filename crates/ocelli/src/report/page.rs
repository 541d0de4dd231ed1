//! What the page is given: one value that becomes JSON.

use std::collections::BTreeMap;

use ocelli_data::{RgbImage, words::count};
use rayon::prelude::*;
use serde::Serialize;
use serde_json::Value;

use super::pictures::{Album, Picture, Source};
use super::records::{RateCurve, Records, SearchRecord};
use super::{Doubts, Subject, html};
use crate::interpret::{Calibration, Confused, Order, Pair, ThresholdCurve};
use crate::{Average, ClassCount, Interpretation, Measured, Metric, Result, Share, Task};

/// Everything on the page. Images are numbers of places in [`images`](Self::images).
#[derive(Serialize)]
pub(super) struct Page<'a> {
    title: String,
    subtitle: String,
    /// Whether images have several classes.
    several: bool,
    classes: Vec<String>,
    figures: Vec<Figure>,
    facts: Vec<[String; 2]>,
    settings: Vec<[String; 2]>,
    pub(super) notices: Vec<String>,
    data: DataPart,
    stages: Vec<StagePart>,
    history: Option<Grid>,
    rates: Vec<RateCurve>,
    searches: &'a [SearchRecord],
    times: Vec<(String, f64)>,
    confusion: Option<ConfusionPart>,
    table: Vec<ClassPart>,
    means: Option<crate::interpret::Means>,
    curves: Vec<ThresholdCurve>,
    calibration: Option<Calibration>,
    images: Vec<Picture>,
    losses: Vec<usize>,
    galleries: Vec<Gallery>,
    labels: Option<LabelsPart>,
    inside: InsidePart,
}

/// A figure with its 95 % interval, where it has one.
#[derive(Serialize)]
pub(super) struct Figure {
    pub(super) name: &'static str,
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
    origin: &'static str,
    /// Width and height of images, as many as were looked at.
    sizes: Vec<[u32; 2]>,
    skipped: Vec<Vec<String>>,
    skipped_in_all: usize,
}

#[derive(Serialize)]
struct StagePart {
    number: usize,
    title: String,
    /// The number of frozen layer groups.
    frozen: usize,
    seconds: f64,
}

/// Columns and rows of a CSV file.
#[derive(Serialize)]
struct Grid {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

#[derive(Serialize)]
struct ConfusionPart {
    cells: Vec<CellPart>,
    /// The classes in an order that brings confused ones together.
    order: Vec<usize>,
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
/// Images whose size is looked at.
const SIZES: usize = 2000;

impl<'a> Page<'a> {
    pub(super) fn of(subject: &'a Subject) -> Result<Self> {
        let named = subject.named;
        let mut album = Album::default();
        let losses: Vec<usize> = named
            .top_losses(LOSSES)
            .iter()
            .filter_map(|ranked| album.add(Source::Measured, ranked.place))
            .collect();
        let galleries = galleries(named, &mut album);
        let confusion = confusion(named, &mut album);
        let labels = subject.doubts.map(|doubts| labels(doubts, &mut album));
        let (images, inside) = album.develop(subject)?;
        let inside = InsidePart {
            filters: inside.filters.as_ref().map(jpeg),
            photo: (!inside.stages.is_empty()).then_some(0),
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
            figures: if measured { figures(named) } else { Vec::new() },
            facts: facts(subject),
            settings: subject.records.map(settings).unwrap_or_default(),
            notices: notices(subject),
            data: data(subject),
            stages: subject.records.map(stages).unwrap_or_default(),
            history: subject.records.map(|records| grid(&records.history)),
            rates: subject
                .records
                .map_or_else(Vec::new, |records| records.rate_curves(subject.data.train_len())),
            searches: subject.records.map_or(&[], |records| &records.searches),
            times: subject.records.map(times).unwrap_or_default(),
            confusion,
            means: measured.then_some(table.means),
            table: if measured {
                let part = |share: Option<Share>| {
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
            curves: if several && measured { named.threshold_curves() } else { Vec::new() },
            calibration: measured.then(|| named.calibration()),
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

/// The figures that stand for a whole set.
pub(super) fn figures(named: &Interpretation) -> Vec<Figure> {
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
    let figure = |(name, metric, detail): (&'static str, Metric, &str)| {
        let Measured { value, interval: (low, high), .. } = predictions.measure(metric);
        let finite = |number: f64| Some(number).filter(|number| number.is_finite());
        Figure { name, value, low: finite(low), high: finite(high), detail: detail.to_owned() }
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
    let matrix = named.confusion_matrix().ok().filter(|_| !named.is_empty())?;
    let mut places: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
    for place in 0..named.len() {
        places.entry((named.truth(place)[0], named.predictions.decided(place)[0])).or_default().push(place);
    }
    let losses = &named.predictions.losses;
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
    let mut confused = matrix.most_confused(1);
    let confused_in_all = confused.len();
    confused.truncate(CONFUSED);
    Some(ConfusionPart { cells, order: matrix.clustered(), confused, confused_in_all })
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
            format!("{what} · trained on {} images, measured on {measured}", count(subject.data.train_len()))
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
    notices
}

fn data(subject: &Subject) -> DataPart {
    let data = subject.data;
    let all: Vec<usize> = data.split().train.iter().chain(&data.split().valid).copied().collect();
    let step = all.len().div_ceil(SIZES).max(1);
    let some: Vec<usize> = all.into_iter().step_by(step).collect();
    let decoder = data.loading().decoder;
    let size = |&item: &usize| {
        let probe = decoder.probe_file(&data.items()[item].path).ok()?;
        Some([probe.width, probe.height])
    };
    let sizes = some.par_iter().filter_map(size).collect();
    let mut skipped = match subject.records {
        Some(records) => records.skipped.clone(),
        None => data.skipped().iter().map(|s| vec![s.path.display().to_string(), s.reason.clone()]).collect(),
    };
    let skipped_in_all = skipped.len();
    skipped.truncate(SKIPPED);
    let origin = if subject.records.is_some() { "split.csv says which" } else { data.split_origin() };
    let (train, valid) = (data.train_len(), data.valid_len());
    DataPart { train, valid, counts: data.class_counts(), origin, sizes, skipped, skipped_in_all }
}

fn stages(records: &Records) -> Vec<StagePart> {
    let part = |stage: &super::records::StageRecord| StagePart {
        number: stage.number,
        title: stage.title.clone(),
        frozen: stage.frozen,
        seconds: stage.seconds,
    };
    records.stages.iter().map(part).collect()
}

fn times(records: &Records) -> Vec<(String, f64)> {
    let mut times = Vec::new();
    if records.activations > 0.0 {
        let rate = records.computed as f64 / records.activations;
        let speed = if records.computed > 0 { format!(", {rate:.0} images a second") } else { String::new() };
        times.push((
            format!("activations of {} images{speed}", count(records.computed as usize)),
            records.activations,
        ));
    }
    for stage in &records.stages {
        let epochs =
            if stage.epochs == 1 { "1 epoch".to_owned() } else { format!("{} epochs", stage.epochs) };
        times.push((format!("stage {}: {}, {epochs}", stage.number, stage.title), stage.seconds));
    }
    times
}

fn grid((columns, rows): &(Vec<String>, Vec<Vec<String>>)) -> Grid {
    Grid { columns: columns.clone(), rows: rows.clone() }
}

fn jpeg(image: &RgbImage) -> String {
    image.to_inline_jpeg(85)
}
