//! The answers: one function a route.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path as PathOf, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use ocelli::interpret::TargetClass;
use ocelli::{TableFormat, TableLayout, TableWriter};
use serde::Serialize;
use serde_json::{Value, json};

use crate::refusal::Refusal;
use crate::serve::engine::{Answer, Engine, Failure, Outcome, Source, Want};
use crate::serve::metrics::Metrics;
use crate::serve::models::{Models, Named};
use crate::serve::oip::{self, Inference};
use crate::serve::upload::{Image, Limits};
use crate::site::{Answered, Images, Stopping, answer, json_of, options, page, with_base};

/// All that answers are made of.
pub(crate) struct App {
    pub(crate) models: Models,
    pub(crate) engine: Engine,
    pub(crate) limits: Limits,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) stopping: Stopping,
}

/// The longest list of most probable classes, as in `predict --top-k`.
const TOP_K: usize = 100_000;

/// Routes that need no token: the page, in which it is entered, and what shows that the server is alive.
pub(crate) const OPEN: &[&str] = &["/", "/health", "/v2/health/live", "/v2/health/ready"];

pub(crate) fn routes(app: Arc<App>) -> Router {
    let html = with_base(include_str!("page.html"));
    Router::new()
        .route("/", get(async move || page(html.clone())))
        .route("/health", get(health))
        .route("/models", get(models))
        .route("/metrics", get(metrics))
        .route("/openapi.json", get(openapi))
        .route("/predict", post(predict))
        .route("/explain", post(explain))
        .route("/embed", post(embed))
        .route("/models/{name}/predict", post(predict_by))
        .route("/models/{name}/explain", post(explain_by))
        .route("/models/{name}/embed", post(embed_by))
        .route("/v2", get(async || json_of(StatusCode::OK, &oip::server())))
        .route("/v2/health/live", get(async || StatusCode::OK))
        .route("/v2/health/ready", get(health))
        .route("/v2/models/{name}", get(model_v2))
        .route("/v2/models/{name}/ready", get(ready_v2))
        .route("/v2/models/{name}/infer", post(infer_v2))
        .with_state(app)
}

async fn openapi() -> Response {
    answer(StatusCode::OK, "application/json", include_str!("openapi.json"))
}

async fn health(State(app): State<Arc<App>>) -> Response {
    match app.stopping.is_set() {
        true => json_of(StatusCode::SERVICE_UNAVAILABLE, &json!({ "status": "stopping" })),
        false => json_of(StatusCode::OK, &json!({ "status": "ok" })),
    }
}

async fn metrics(State(app): State<Arc<App>>) -> Response {
    answer(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", app.metrics.text(app.engine.waiting()))
}

async fn models(State(app): State<Arc<App>>) -> Response {
    let models: Vec<Value> = app
        .models
        .all()
        .map(|Named { name, model }| {
            let config = model.config();
            json!({
                "name": name,
                "classes": config.classes,
                "task": config.task,
                "arch": config.arch,
                "size": config.preprocessing.size,
                "calibrated": model.is_calibrated(),
                "unknown": model.unknown_threshold().is_some(),
                "digest": model.digest(),
            })
        })
        .collect();
    json_of(StatusCode::OK, &Value::from(models))
}

fn named(app: &App, name: &str) -> Result<Named, Refusal> {
    app.models
        .get(name)
        .ok_or_else(|| Refusal::not_found("there is no model of this name; GET /models lists them"))
}

async fn predict(State(app): State<Arc<App>>, request: Request) -> Answered {
    predict_with(&app, app.models.default(), request).await
}

async fn predict_by(State(app): State<Arc<App>>, PathOf(name): PathOf<String>, request: Request) -> Answered {
    predict_with(&app, named(&app, &name)?, request).await
}

async fn explain(State(app): State<Arc<App>>, request: Request) -> Answered {
    explain_with(&app, app.models.default(), request).await
}

async fn explain_by(State(app): State<Arc<App>>, PathOf(name): PathOf<String>, request: Request) -> Answered {
    explain_with(&app, named(&app, &name)?, request).await
}

async fn embed(State(app): State<Arc<App>>, request: Request) -> Answered {
    embed_with(&app, app.models.default(), request).await
}

async fn embed_by(State(app): State<Arc<App>>, PathOf(name): PathOf<String>, request: Request) -> Answered {
    embed_with(&app, named(&app, &name)?, request).await
}

/// The ids of a request's images, and the outcome for each.
async fn outcomes(
    app: &App,
    model: &Named,
    request: Request,
    want: &Want,
) -> Result<Vec<(String, Outcome)>, Refusal> {
    // The body's share of the memory is held until all images are computed.
    let (images, _upload) = app.limits.images(request).await?;
    if matches!(want, Want::HeatMap(_)) && images.len() > 1 {
        return Err(Refusal::bad_request("one image is explained at a time"));
    }
    let (ids, images): (Vec<String>, Vec<Source>) =
        images.into_iter().map(|Image { id, bytes }| (id, Source::File(bytes))).unzip();
    let outcomes = app.engine.run(&model.model, images, want).await?;
    Ok(ids.into_iter().zip(outcomes).collect())
}

/// What is wrong with an image; where something else is wrong, the request is refused.
fn reason(failure: Failure) -> Result<String, Refusal> {
    match failure {
        Failure::Library(ocelli::Error::Photo { reason, .. }) => Ok(for_clients(reason)),
        Failure::Library(error @ ocelli::Error::Data(_)) => Ok(error.to_string()),
        Failure::Library(error @ ocelli::Error::Setting { .. }) => {
            Err(Refusal::bad_request(error.to_string()))
        }
        Failure::Library(error) => Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
        Failure::Panicked => {
            let message = "this image makes Ocelli fail, which is a defect; please report it, with the image if you can";
            Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, message))
        }
    }
}

/// The reason without the advice to raise a limit, which clients cannot follow.
fn for_clients(mut reason: String) -> String {
    if let Some(end) = reason.find("; raise `max_pixels`") {
        reason.truncate(end);
    }
    reason
}

/// 422 where no image could be read.
fn status(images: usize, failed: usize) -> StatusCode {
    if images == failed { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK }
}

/// The JSON of `ocelli predict --json`.
async fn predict_with(app: &App, model: Named, request: Request) -> Answered {
    let options = options(&request, &["top_k", "unknown"])?;
    let top_k = options.get("top_k").map(|text| match text.parse() {
        Ok(number) if (1..=TOP_K).contains(&number) => Ok(number),
        _ => Err(Refusal::bad_request(format!("top_k: expected a whole number from 1 to {TOP_K}"))),
    });
    let unknown = match options.get("unknown").map(String::as_str) {
        None | Some("false") => false,
        Some("true") if model.model.unknown_threshold().is_some() => true,
        Some("true") => return Err(Refusal::bad_request("unknown: this model has no unknown score")),
        Some(_) => return Err(Refusal::bad_request("unknown: expected true or false")),
    };
    let layout = TableLayout {
        format: TableFormat::Json,
        classes: model.model.config().classes.clone(),
        task: model.model.config().task,
        separator: ' ',
        top_k: top_k.transpose()?,
        unknown,
    };
    let outcomes = outcomes(app, &model, request, &Want::Prediction).await?;
    let (images, mut failed) = (outcomes.len(), 0);
    let in_memory = "writing to memory succeeds";
    let mut table = TableWriter::new(Vec::new(), layout).expect(in_memory);
    for (id, outcome) in outcomes {
        match outcome {
            Ok(Answer::Prediction(mut prediction)) => {
                // The column is called so; it is never opened.
                prediction.path = PathBuf::from(id);
                table.write(&prediction).expect(in_memory);
            }
            Ok(_) => unreachable!("a prediction was wanted"),
            Err(failure) => {
                failed += 1;
                table.write_error(Path::new(&id), &reason(failure)?).expect(in_memory);
            }
        }
    }
    let mut response = answer(status(images, failed), "application/json", table.finish().expect(in_memory));
    response.extensions_mut().insert(Images(images));
    Ok(response)
}

/// The Grad-CAM heat map over an image, as PNG.
async fn explain_with(app: &App, model: Named, request: Request) -> Answered {
    let class = options(&request, &["class"])?.remove("class");
    let class = class.map_or(TargetClass::MostProbable, TargetClass::Named);
    let mut outcomes = outcomes(app, &model, request, &Want::HeatMap(class)).await?;
    let (_, outcome) = outcomes.remove(0);
    let mut response = match outcome {
        Ok(Answer::HeatMap(picture)) => answer(StatusCode::OK, "image/png", picture),
        Ok(_) => unreachable!("a heat map was wanted"),
        Err(failure) => Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, reason(failure)?).into_response(),
    };
    response.extensions_mut().insert(Images(1));
    Ok(response)
}

/// The features of an image, or why there are none.
#[derive(Serialize)]
struct Features {
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    features: Option<Vec<f32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// The features of images, those of `ocelli embed`.
async fn embed_with(app: &App, model: Named, request: Request) -> Answered {
    options(&request, &[])?;
    let outcomes = outcomes(app, &model, request, &Want::Features).await?;
    let (images, mut failed) = (outcomes.len(), 0);
    let mut rows = Vec::with_capacity(images);
    for (path, outcome) in outcomes {
        rows.push(match outcome {
            Ok(Answer::Features(features)) => Features { path, features: Some(features), error: None },
            Ok(_) => unreachable!("features were wanted"),
            Err(failure) => {
                failed += 1;
                Features { path, features: None, error: Some(reason(failure)?) }
            }
        });
    }
    let body = serde_json::to_string(&rows).expect("plain values serialise") + "\n";
    let mut response = answer(status(images, failed), "application/json", body);
    response.extensions_mut().insert(Images(images));
    Ok(response)
}

async fn model_v2(State(app): State<Arc<App>>, PathOf(name): PathOf<String>) -> Answered {
    let Named { name, model } = named(&app, &name)?;
    Ok(json_of(StatusCode::OK, &oip::model(&name, &model)))
}

async fn ready_v2(State(app): State<Arc<App>>, PathOf(name): PathOf<String>) -> Answered {
    named(&app, &name)?;
    Ok(health(State(app)).await)
}

async fn infer_v2(State(app): State<Arc<App>>, PathOf(name): PathOf<String>, request: Request) -> Answered {
    let Named { name, model } = named(&app, &name)?;
    let (parts, body) = request.into_parts();
    let upload = app.limits.read(&parts.headers, body).await?;
    let (inference, sources) = Inference::read(&parts.headers, &upload.bytes, &model)?;
    let images = sources.len();
    if images > app.limits.max_files {
        let message = format!("the request has more than {} images", app.limits.max_files);
        return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, message));
    }
    let mut predictions = Vec::with_capacity(images);
    for (index, outcome) in app.engine.run(&model, sources, &Want::Prediction).await?.into_iter().enumerate()
    {
        match outcome {
            Ok(Answer::Prediction(prediction)) => predictions.push(prediction),
            Ok(_) => unreachable!("a prediction was wanted"),
            // A tensor has no place for what is wrong with one image.
            Err(failure) => {
                let message = format!("image {}: {}", index + 1, reason(failure)?);
                return Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, message));
            }
        }
    }
    let mut response = inference.answer(&name, &predictions);
    response.extensions_mut().insert(Images(images));
    Ok(response)
}
