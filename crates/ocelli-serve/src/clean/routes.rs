//! The answers: one function a route.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::{Path as PathOf, Request, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, EXPECT};
use axum::response::Response;
use axum::routing::{get, post};
use ocelli::clean::{Decisions, LabelCleaning, LabelDecision};
use ocelli::{Error, Nearest, text_of};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::clean::pictures::{Pictures, Size};
use crate::clean::training::Trainer;
use crate::refusal::Refusal;
use crate::site::{Answered, Images, answer, beside, json_of, options, page, with_base};

/// All that answers are made of.
pub(super) struct App {
    pub(super) cleaning: Arc<LabelCleaning>,
    pub(super) lists: Lists,
    pub(super) pictures: Pictures,
    pub(super) trainer: Option<Trainer>,
}

/// The lists of the page: photos, in the order in which they are looked at.
pub(super) struct Lists {
    suspects: Vec<usize>,
    /// How many of the suspects are likely wrong.
    likely: usize,
    /// The group of each photo of a duplicate.
    groups: HashMap<usize, usize>,
    duplicates: Vec<usize>,
    outliers: Vec<usize>,
    classes: Vec<Vec<usize>>,
}

/// The page, in which the token is entered, needs none.
pub(super) const OPEN: &[&str] = &["/"];
/// The longest body of a request, in bytes.
const LONGEST: usize = 64 << 10;
/// The most photos in an answer.
const MOST: usize = 200;
/// Neighbours of each kind.
const NEIGHBOURS: usize = 6;
/// Classes whose probabilities are given.
const CLASSES: usize = 9;

pub(super) fn routes(app: Arc<App>) -> Router {
    let html = with_base(include_str!("page.html"));
    Router::new()
        .route("/", get(async move || page(html.clone())))
        .route("/api/run", get(run))
        .route("/api/photos", get(photos))
        .route("/api/photos/{photo}", get(photo))
        .route("/api/photos/{photo}/picture", get(picture))
        .route("/api/decisions", post(decide))
        .route("/api/undo", post(undo))
        .route("/api/train", get(training).post(train))
        .route("/api/train/stop", post(stop))
        .with_state(app)
}

impl Lists {
    pub(super) fn of(cleaning: &LabelCleaning) -> Self {
        let (suspects, likely) = cleaning.suspects();
        let mut classes = vec![Vec::new(); cleaning.classes().len()];
        for photo in 0..cleaning.len() {
            cleaning.label(photo).iter().for_each(|&class| classes[class].push(photo));
        }
        let groups = cleaning.duplicates().iter().enumerate();
        let groups =
            groups.flat_map(|(number, group)| group.photos.iter().map(move |&photo| (photo, number)));
        Self {
            suspects: suspects.iter().map(|suspect| suspect.index).collect(),
            likely,
            groups: groups.clone().collect(),
            duplicates: groups.map(|(photo, _)| photo).collect(),
            outliers: cleaning.outliers().iter().map(|outlier| outlier.index).collect(),
            classes,
        }
    }

    /// A list by its name; a class by its number.
    fn named(&self, name: &str) -> Option<&[usize]> {
        Some(match name {
            "suspects" => &self.suspects,
            "duplicates" => &self.duplicates,
            "outliers" => &self.outliers,
            class => self.classes.get(class.strip_prefix("class-")?.parse::<usize>().ok()?)?,
        })
    }
}

impl App {
    /// How many photos each list has, and how many of them are decided.
    fn counts(&self, decisions: &Decisions) -> Value {
        let count = |list: &[usize]| {
            let decided = list.iter().filter(|&&photo| decisions.contains_key(self.cleaning.id(photo)));
            json!({ "photos": list.len(), "decided": decided.count() })
        };
        let Lists { suspects, duplicates, outliers, classes, .. } = &self.lists;
        json!({
            "suspects": count(suspects),
            "duplicates": count(duplicates),
            "outliers": count(outliers),
            "classes": classes.iter().map(|class| count(class)).collect::<Vec<_>>(),
            "decided": decisions.len(),
        })
    }

    /// A photo, as the lists have it.
    fn photo(&self, photo: usize, decisions: &Decisions) -> Value {
        let id = self.cleaning.id(photo);
        json!({
            "photo": photo,
            "id": id,
            "label": self.cleaning.label(photo),
            "decision": decisions.get(id),
            "group": self.lists.groups.get(&photo),
        })
    }

    fn check(&self, photo: usize) -> Result<usize, Refusal> {
        match photo < self.cleaning.len() {
            true => Ok(photo),
            false => Err(Refusal::not_found("there is no photo of this number")),
        }
    }
}

/// Runs what reads or writes files.
async fn blocking<T: Send + 'static>(
    app: &Arc<App>,
    work: impl FnOnce(&App) -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let app = app.clone();
    beside(move || work(&app)).await?
}

/// What is wrong, for the page.
fn refused(error: Error) -> Refusal {
    let status = match &error {
        Error::Setting { .. } => StatusCode::BAD_REQUEST,
        Error::Photo { .. } => StatusCode::GONE,
        Error::RunBusy { .. } => StatusCode::SERVICE_UNAVAILABLE,
        // A table that was changed by hand, and is not understood.
        Error::Data(_) => StatusCode::CONFLICT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    Refusal::new(status, error.to_string())
}

/// The run, its classes and lists.
async fn run(State(app): State<Arc<App>>) -> Answered {
    let body = blocking(&app, |app| {
        let cleaning = &app.cleaning;
        let decisions = cleaning.decisions().map_err(refused)?;
        Ok(json!({
            "run": cleaning.run().name,
            "classes": cleaning.classes(),
            "new_classes": cleaning.new_classes().map_err(refused)?,
            "task": cleaning.task(),
            "photos": cleaning.len(),
            "likely": app.lists.likely,
            "better_than_chance": cleaning.better_than_chance(),
            "decisions": text_of(cleaning.decisions_path()),
            "notices": cleaning.notices(),
            "trains": app.trainer.is_some(),
            "counts": app.counts(&decisions),
        }))
    });
    Ok(json_of(StatusCode::OK, &body.await?))
}

/// A part of a list.
async fn photos(State(app): State<Arc<App>>, request: Request) -> Answered {
    let mut wanted = options(&request, &["list", "start", "count"])?;
    let mut whole = |name: &str, default: usize| match wanted.remove(name) {
        None => Ok(default),
        Some(text) => {
            text.parse().map_err(|_| Refusal::bad_request(format!("{name}: expected a whole number")))
        }
    };
    let (start, count) = (whole("start", 0)?, whole("count", MOST)?.min(MOST));
    let list = wanted.remove("list").ok_or_else(|| Refusal::bad_request("list: say which one"))?;
    let body = blocking(&app, move |app| {
        let missing = || {
            Refusal::not_found("there is no list of this name: suspects, duplicates, outliers, class-0, …")
        };
        let photos = app.lists.named(&list).ok_or_else(missing)?;
        let decisions = app.cleaning.decisions().map_err(refused)?;
        let part = photos.iter().skip(start).take(count);
        let part: Vec<Value> = part.map(|&photo| app.photo(photo, &decisions)).collect();
        Ok(
            json!({ "list": list, "start": start, "all": photos.len(), "photos": part, "counts": app.counts(&decisions) }),
        )
    });
    Ok(json_of(StatusCode::OK, &body.await?))
}

/// What is known about a photo: the opinion of a network that was not trained on it, and its neighbours.
async fn photo(State(app): State<Arc<App>>, PathOf(photo): PathOf<String>) -> Answered {
    let photo = number(&app, &photo)?;
    let body = blocking(&app, move |app| {
        let cleaning = &app.cleaning;
        let decisions = cleaning.decisions().map_err(refused)?;
        let probabilities = cleaning.probabilities(photo);
        let mut order: Vec<usize> = (0..probabilities.len()).collect();
        order.sort_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]).then(a.cmp(&b)));
        // The label's classes are always among them.
        let label = cleaning.label(photo);
        let mut shown: Vec<usize> = order.iter().copied().take(CLASSES).collect();
        shown.extend(label.iter().filter(|class| !order[..CLASSES.min(order.len())].contains(class)));
        let alike = cleaning.alike(photo, NEIGHBOURS);
        let near = |all: &[Nearest]| -> Vec<Value> {
            all.iter()
                .map(|near| {
                    let mut found = app.photo(near.index, &decisions);
                    found["similarity"] = json!(near.similarity);
                    found
                })
                .collect()
        };
        let suspect = cleaning.suspects().0.iter().find(|suspect| suspect.index == photo);
        let outlier = cleaning.outliers().iter().find(|outlier| outlier.index == photo);
        let group = app.lists.groups.get(&photo).map(|&group| &cleaning.duplicates()[group]);
        let mut body = app.photo(photo, &decisions);
        body["opinion"] = shown
            .iter()
            .map(|&class| json!({ "class": class, "probability": probabilities[class] }))
            .collect();
        body["suspect"] = json!(suspect);
        body["outlier"] = json!(outlier.map(|outlier| outlier.distance));
        body["duplicates"] = json!(group);
        body["same_label"] = near(&alike.same_label).into();
        body["other_label"] = near(&alike.other_label).into();
        Ok(body)
    });
    Ok(json_of(StatusCode::OK, &body.await?))
}

/// A photo as JPEG. An id says which photo is meant: numbers are those of this start of the server.
async fn picture(State(app): State<Arc<App>>, PathOf(photo): PathOf<String>, request: Request) -> Answered {
    let photo = number(&app, &photo)?;
    let mut wanted = options(&request, &["size", "id"])?;
    let (size, id) = (wanted.remove("size"), wanted.remove("id"));
    if id.is_some_and(|id| id != app.cleaning.id(photo)) {
        return Err(Refusal::new(StatusCode::CONFLICT, "the server was started again: load this page again"));
    }
    let size = match size.as_deref() {
        None | Some("large") => Size::Large,
        Some("small") => Size::Small,
        Some(_) => return Err(Refusal::bad_request("size: expected small or large")),
    };
    let jpeg = app.pictures.jpeg(photo, size).await?;
    let mut response = answer(StatusCode::OK, "image/jpeg", jpeg);
    response.extensions_mut().insert(Images(1));
    Ok(response)
}

fn number(app: &App, photo: &str) -> Result<usize, Refusal> {
    let missing = |_| Refusal::not_found("photos are named by their numbers here, from 0");
    app.check(photo.parse().map_err(missing)?)
}

/// A decision as the page sends it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Decided {
    id: String,
    decision: String,
    labels: Option<Vec<String>>,
    /// Whether labels may name a class that there is not yet.
    #[serde(default)]
    new_class: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Undone {
    id: String,
}

/// A request's body. JSON alone is taken: other pages' forms cannot send it.
async fn body_of<T: serde::de::DeserializeOwned>(request: Request) -> Result<T, Refusal> {
    is_json(&request)?;
    let large = || Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "the body is too long, or was cut off");
    // Before a client that asks is told to go on.
    if request.headers().contains_key(EXPECT) && request.body().size_hint().lower() > LONGEST as u64 {
        return Err(large());
    }
    let bytes = to_bytes(request.into_body(), LONGEST).await.map_err(|_| large())?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Refusal::bad_request(format!("the body is not as expected: {error}")))
}

fn is_json(request: &Request<Body>) -> Result<(), Refusal> {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    match kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        true => Ok(()),
        false => {
            Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "expected Content-Type: application/json"))
        }
    }
}

async fn decide(State(app): State<Arc<App>>, request: Request) -> Answered {
    let Decided { id, decision, labels, new_class } = body_of(request).await?;
    let decision = match (decision.as_str(), labels) {
        ("keep", None) => LabelDecision::Keep,
        ("drop", None) => LabelDecision::Drop,
        ("relabel", Some(labels)) => LabelDecision::Relabel(labels),
        ("relabel", None) => return Err(Refusal::bad_request("relabel needs labels")),
        ("keep" | "drop", Some(_)) => return Err(Refusal::bad_request("labels are those of relabel")),
        _ => return Err(Refusal::bad_request("decision: expected keep, relabel or drop")),
    };
    let body = blocking(&app, move |app| {
        if let (LabelDecision::Relabel(labels), false) = (&decision, new_class) {
            let made = app.cleaning.new_classes().map_err(refused)?;
            let known = |name: &&String| app.cleaning.classes().contains(name) || made.contains(name);
            if let Some(new) = labels.iter().find(|name| !known(name)) {
                let message =
                    format!("there is no class {new}; send \"new_class\": true if it is to be made");
                return Err(Refusal::bad_request(message));
            }
        }
        app.set(&id, Some(&decision))
    });
    Ok(json_of(StatusCode::OK, &body.await?))
}

async fn undo(State(app): State<Arc<App>>, request: Request) -> Answered {
    let Undone { id } = body_of(request).await?;
    Ok(json_of(StatusCode::OK, &blocking(&app, move |app| app.set(&id, None)).await?))
}

impl App {
    fn set(&self, id: &str, decision: Option<&LabelDecision>) -> Result<Value, Refusal> {
        let missing = || Refusal::not_found("the run has no training photo of this id");
        let photo = self.cleaning.index(id).ok_or_else(missing)?;
        let decisions = self.cleaning.decide(photo, decision).map_err(refused)?;
        Ok(json!({
            "photo": self.photo(photo, &decisions),
            "counts": self.counts(&decisions),
            "new_classes": self.cleaning.new_classes().map_err(refused)?,
        }))
    }

    fn trainer(&self) -> Result<&Trainer, Refusal> {
        self.trainer.as_ref().ok_or_else(|| Refusal::not_found("this server does not train"))
    }
}

async fn training(State(app): State<Arc<App>>) -> Answered {
    Ok(json_of(StatusCode::OK, &blocking(&app, |app| Ok(app.trainer()?.status())).await?))
}

async fn train(State(app): State<Arc<App>>, request: Request) -> Answered {
    is_json(&request)?;
    let body = blocking(&app, |app| {
        let trainer = app.trainer()?;
        trainer.start()?;
        Ok(trainer.status())
    });
    Ok(json_of(StatusCode::ACCEPTED, &body.await?))
}

async fn stop(State(app): State<Arc<App>>, request: Request) -> Result<Response, Refusal> {
    is_json(&request)?;
    app.trainer()?.stop();
    Ok(json_of(StatusCode::OK, &json!({})))
}
