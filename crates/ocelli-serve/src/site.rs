//! A site: the routes that a server answers at, and what every one of them has.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use crate::event::{Access, Event};
use crate::guard::Guard;
use crate::refusal::Refusal;

/// What a [`Server`](crate::Server) answers with.
pub struct Site {
    routes: Router,
    pub(crate) open: &'static [&'static str],
    pub(crate) stopping: Stopping,
    counts: Option<Box<Counts>>,
    pub(crate) work: Option<Box<Work>>,
}

/// Receives what happens.
pub(crate) type Observe = Arc<dyn Fn(Event) + Send + Sync>;

/// Counts an answer: its route, its status, and the time that it took.
type Counts = dyn Fn(&str, u16, Duration) + Send + Sync;

/// What goes on beside the answers, on a thread of its own, until the flag is set.
pub(crate) type Work = dyn FnOnce(&AtomicBool, &Observe) + Send;

/// What a route answers.
pub(crate) type Answered = Result<Response, Refusal>;

impl Site {
    /// `open` are the paths that need no token: pages, in which it is entered, and what shows that the server is alive.
    pub(crate) fn new(routes: Router, open: &'static [&'static str], stopping: Stopping) -> Self {
        Self { routes, open, stopping, counts: None, work: None }
    }

    /// The same, with each answer counted.
    pub(crate) fn counting(self, count: impl Fn(&str, u16, Duration) + Send + Sync + 'static) -> Self {
        Self { counts: Some(Box::new(count)), ..self }
    }

    /// The same, with work beside the answers.
    pub(crate) fn working(self, work: impl FnOnce(&AtomicBool, &Observe) + Send + 'static) -> Self {
        Self { work: Some(Box::new(work)), ..self }
    }

    /// The routes with what all have: the guard, the headers that forbid browsers what they need not do, and the log.
    pub(crate) fn router(self, guard: Guard, observe: Observe) -> Router {
        let routes = self
            .routes
            .fallback(async || Refusal::not_found("there is nothing at this address"))
            .method_not_allowed_fallback(async |method: Method| {
                let message =
                    if method == Method::POST { "this address takes GET" } else { "this address takes POST" };
                Refusal::new(StatusCode::METHOD_NOT_ALLOWED, message)
            });
        // Bodies are read within limits of this crate's own.
        let routes = routes.layer(DefaultBodyLimit::disable());
        let watched = Arc::new(Watched { guard, observe, counts: self.counts });
        routes.layer(from_fn_with_state(watched, Watched::answer))
    }
}

/// Told when the server is about to end. Answers that go on for long must then end, too.
#[derive(Clone)]
pub(crate) struct Stopping(watch::Sender<bool>);

impl Stopping {
    pub(crate) fn new() -> Self {
        Self(watch::channel(false).0)
    }

    pub(crate) fn set(&self) {
        self.0.send_replace(true);
    }

    pub(crate) fn is_set(&self) -> bool {
        *self.0.borrow()
    }

    /// Waits until it is set.
    pub(crate) async fn wait(&self) {
        // The sender outlives its receivers.
        let _ = self.0.subscribe().wait_for(|stopping| *stopping).await;
    }
}

/// Who asks: an extension of each request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client(pub(crate) SocketAddr);

/// The number of a request's images: an extension of its answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Images(pub(crate) usize);

/// Checks, counts and logs each request.
struct Watched {
    guard: Guard,
    observe: Observe,
    counts: Option<Box<Counts>>,
}

impl Watched {
    async fn answer(State(watched): State<Arc<Self>>, request: Request, next: Next) -> Response {
        let start = Instant::now();
        let client =
            request.extensions().get::<Client>().map(|client| client.0.to_string()).unwrap_or_default();
        let mut access = Access::new(client, request.method(), request.uri().path());
        let route = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str).to_owned();
        let mut response = match watched.guard.check(request.uri().path(), request.headers()) {
            Ok(()) => next.run(request).await,
            Err(refusal) => refusal.into_response(),
        };
        let set = |headers: &mut HeaderMap, name: HeaderName, value: &'static str| {
            headers.entry(name).or_insert(HeaderValue::from_static(value));
        };
        set(response.headers_mut(), X_CONTENT_TYPE_OPTIONS, "nosniff");
        set(response.headers_mut(), CACHE_CONTROL, "no-store");
        set(response.headers_mut(), REFERRER_POLICY, "no-referrer");
        set(response.headers_mut(), CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'");
        set(response.headers_mut(), HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
        access.status = response.status().as_u16();
        access.duration = start.elapsed();
        access.images = response.extensions().get::<Images>().map_or(0, |images| images.0);
        if let Some(count) = &watched.counts {
            count(&route, access.status, access.duration);
        }
        (watched.observe)(Event::Access(access));
        response
    }
}

/// An answer of this media type.
pub(crate) fn answer(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

pub(crate) fn json_of(status: StatusCode, value: &Value) -> Response {
    answer(status, "application/json", value.to_string() + "\n")
}

/// A page with what all pages have, the colours and how a server is asked, where the page says so.
pub(crate) fn with_base(html: &str) -> Bytes {
    let styled = html.replacen("/* base.css */\n", include_str!("base.css"), 1);
    styled.replacen("/* base.js */\n", include_str!("base.js"), 1).into()
}

/// A page with its script and style inline, which may ask this server alone.
pub(crate) fn page(html: impl Into<Body>) -> Response {
    let mut response = answer(StatusCode::OK, "text/html; charset=utf-8", html);
    let policy = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src blob: data:; connect-src \
                  'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    response
}

/// The options in a request's address, of which only these are known.
pub(crate) fn options(request: &Request, known: &[&str]) -> Result<BTreeMap<String, String>, Refusal> {
    let query = request.uri().query().unwrap_or_default();
    let mut options = BTreeMap::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if !known.contains(&&*name) {
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(Refusal::bad_request(format!("{name:?} is no option here; known: {known}")));
        }
        if options.insert(name.to_string(), value.into_owned()).is_some() {
            return Err(Refusal::bad_request(format!("the option {name} is given twice")));
        }
    }
    Ok(options)
}

/// Work on files, beside the thread that reads requests.
pub(crate) async fn beside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refusal> {
    let message = "this cannot be answered, which is a defect; please report it";
    spawn_blocking(work).await.map_err(|_| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, message))
}
