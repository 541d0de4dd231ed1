//! The answers about runs: one function a route.

use std::fs::OpenOptions;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path as PathOf, State};
use axum::http::header::CONTENT_SECURITY_POLICY;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use ocelli::{RunFolder, RunState};
use serde_json::json;
use tokio::sync::Semaphore;

use crate::refusal::Refusal;
use crate::site::{Answered, Stopping, answer, beside, json_of, page};
use crate::watch::follow::follow;
use crate::watch::photo;
use crate::watch::runs::{Folder, described};

/// All that answers are made of.
pub(crate) struct App {
    pub(crate) folder: Folder,
    /// The command with which runs are continued.
    pub(crate) program: Option<PathBuf>,
    /// Places for those who follow events.
    pub(crate) followers: Arc<Semaphore>,
    pub(crate) stopping: Stopping,
}

/// Routes that need no token: the page, in which it is entered.
pub(crate) const OPEN: &[&str] = &["/"];

/// What a run printed that was continued here, in its folder.
const LOG: &str = "resume.log";

pub(crate) fn routes(app: Arc<App>) -> Router {
    let html = ocelli_report::live_page(
        "Training runs",
        include_str!("page.css"),
        include_str!("page.html"),
        include_str!("page.js"),
    );
    let html = axum::body::Bytes::from(html);
    Router::new()
        .route("/", get(async move || page(html.clone())))
        .route("/api/runs", get(runs))
        .route("/api/runs/{id}", get(run))
        .route("/api/runs/{id}/events", get(events))
        .route("/api/runs/{id}/photos/{row}", get(photo_of))
        .route("/api/runs/{id}/stop", post(stop))
        .route("/api/runs/{id}/continue", post(resume))
        .route("/runs/{id}/report", get(report))
        .with_state(app)
}

impl App {
    fn run(&self, id: &str) -> Result<RunFolder, Refusal> {
        self.folder
            .run(id)
            .ok_or_else(|| Refusal::not_found("there is no run of this name; GET /api/runs lists them"))
    }
}

async fn runs(State(app): State<Arc<App>>) -> Answered {
    let is_run = app.folder.is_run();
    let runs = beside(move || app.folder.summaries()).await?;
    Ok(json_of(StatusCode::OK, &json!({ "is_single": is_run, "runs": runs })))
}

async fn run(State(app): State<Arc<App>>, PathOf(id): PathOf<String>) -> Answered {
    let described = beside(move || app.run(&id).map(|run| described(&id, &run, app.program.is_some())));
    Ok(json_of(StatusCode::OK, &described.await??))
}

async fn events(State(app): State<Arc<App>>, PathOf(id): PathOf<String>, headers: HeaderMap) -> Answered {
    let run = app.run(&id)?;
    let last = match headers.get("last-event-id") {
        None => 0,
        Some(value) => {
            let number = value.to_str().ok().and_then(|text| text.trim().parse().ok());
            number.ok_or_else(|| Refusal::bad_request("Last-Event-ID: expected the number of a line"))?
        }
    };
    let busy = |_| Refusal::busy("too many clients follow events; try again later");
    let place = app.followers.clone().try_acquire_owned().map_err(busy)?;
    let can_continue = app.program.is_some();
    let describe = move |run: &RunFolder| described(&id, run, can_continue);
    let body = follow(run, last, describe, app.stopping.clone(), place);
    Ok(answer(StatusCode::OK, "text/event-stream", body))
}

async fn photo_of(State(app): State<Arc<App>>, PathOf((id, row)): PathOf<(String, String)>) -> Answered {
    let row = row.parse().map_err(|_| Refusal::not_found("a photo is the number of its row"))?;
    let jpeg = beside(move || photo::photo(&app.run(&id)?, row)).await??;
    Ok(answer(StatusCode::OK, "image/jpeg", jpeg))
}

/// The report of a finished run. What stands in a run's folder may come from elsewhere, so it runs apart from this site.
async fn report(State(app): State<Arc<App>>, PathOf(id): PathOf<String>) -> Answered {
    let html = beside(move || {
        let path = app.run(&id)?.path().join("report.html");
        std::fs::read(path).map_err(|_| Refusal::not_found("this run has no report yet"))
    });
    let mut response = answer(StatusCode::OK, "text/html; charset=utf-8", html.await??);
    let policy = "sandbox allow-scripts allow-downloads allow-popups; default-src 'none'; script-src 'unsafe-inline'; style-src \
                  'unsafe-inline'; img-src blob: data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    Ok(response)
}

fn conflict(message: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::CONFLICT, message)
}

/// Asks a run to stop.
async fn stop(State(app): State<Arc<App>>, PathOf(id): PathOf<String>) -> Answered {
    let asked = beside(move || {
        let run = app.run(&id)?;
        match run.state() {
            RunState::Running | RunState::Stopping => {
                run.request_stop().map_err(|error| conflict(error.to_string()))
            }
            _ => Err(conflict("this run is not running")),
        }
    });
    asked.await??;
    Ok(json_of(StatusCode::ACCEPTED, &json!({ "state": RunState::Stopping })))
}

/// Continues a run by another process, which goes on when this one ends.
async fn resume(State(app): State<Arc<App>>, PathOf(id): PathOf<String>) -> Answered {
    let Some(program) = app.program.clone() else {
        return Err(conflict("runs are not continued from here; use ocelli watch, or ocelli train --resume"));
    };
    let started = beside(move || {
        let run = app.run(&id)?;
        if !matches!(run.state(), RunState::Stopped | RunState::Interrupted) {
            return Err(conflict("this run is neither stopped nor interrupted"));
        }
        let failed =
            |error: std::io::Error| conflict(format!("cannot continue: {}", ocelli::io_reason(&error)));
        let log = OpenOptions::new().create(true).append(true).open(run.path().join(LOG)).map_err(failed)?;
        let mut command = Command::new(program);
        command.args(["train", "--resume"]).arg(run.path());
        command.stdin(Stdio::null()).stdout(log.try_clone().map_err(failed)?).stderr(log);
        // Ctrl-C in the terminal of this process is not meant for the run.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().map_err(failed)?;
        // It must be waited for, or it would stay in the table of processes.
        let waiting = std::thread::Builder::new().name("continued run".to_owned());
        waiting.spawn(move || child.wait()).map_err(failed)?;
        Ok(())
    });
    started.await??;
    Ok(json_of(StatusCode::ACCEPTED, &json!({ "state": "starting", "log": LOG })).into_response())
}
