//! What a request uploads: its body within limits, the images in it, and the options in its address.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, EXPECT};
use axum::http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout_at};

use crate::refusal::Refusal;
use crate::serve::options::ServeOptions;

/// The limits of bodies.
pub(crate) struct Limits {
    max_body: usize,
    pub(crate) max_files: usize,
    timeout: Duration,
    /// What all bodies together may take, in KiB: slow clients hold only what they have sent.
    memory: Arc<Semaphore>,
}

/// How long it is waited for more of a body that is too large, whose client may be about to read the answer.
const PAUSE: Duration = Duration::from_secs(1);
/// The memory of all bodies together, in bytes, where `max_body` is not more.
const MEMORY: usize = 1 << 29;

/// A body in memory, and its share of what all may take.
pub(crate) struct Upload {
    pub(crate) bytes: Bytes,
    _memory: Option<OwnedSemaphorePermit>,
}

/// An image, and the id that the client knows it by: the name of its file, which is nothing but text here.
pub(crate) struct Image {
    pub(crate) id: String,
    pub(crate) bytes: Bytes,
}

impl Limits {
    pub(crate) fn new(options: &ServeOptions) -> Self {
        let memory = MEMORY.max(2 * options.max_body) / 1024;
        Self {
            max_body: options.max_body,
            max_files: options.max_files,
            timeout: options.listen.client_timeout,
            memory: Arc::new(Semaphore::new(memory.min(Semaphore::MAX_PERMITS))),
        }
    }

    fn too_large(&self) -> Refusal {
        let message =
            format!("the body is larger than the {} MB that this server takes", self.max_body as f64 / 1e6);
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, message)
    }

    /// Reads a body.
    pub(crate) async fn read(&self, headers: &HeaderMap, mut body: Body) -> Result<Upload, Refusal> {
        if headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
            let message = "the body is compressed (Content-Encoding); send it as it is";
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message));
        }
        let is_too_large = body.size_hint().lower() > self.max_body as u64;
        if is_too_large && headers.contains_key(EXPECT) {
            // This client sends its body only when it is told to go on, as reading it would.
            return Err(self.too_large());
        }
        let deadline = Instant::now() + self.timeout;
        let late = |_| {
            let message = format!("the body did not arrive within {} s", self.timeout.as_secs_f64());
            Refusal::new(StatusCode::REQUEST_TIMEOUT, message)
        };
        let (mut bytes, mut memory, mut read) = (Vec::new(), None::<OwnedSemaphorePermit>, 0);
        loop {
            let surplus = is_too_large || read > self.max_body;
            let until = if surplus { deadline.min(Instant::now() + PAUSE) } else { deadline };
            let frame = match timeout_at(until, body.frame()).await {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(_) if surplus => break,
                Err(elapsed) => return Err(late(elapsed)),
            };
            let frame = frame.map_err(|_| Refusal::bad_request("the body was cut off"))?;
            let Ok(data) = frame.into_data() else { continue };
            read += data.len();
            if is_too_large || read > self.max_body {
                bytes = Vec::new();
                // A client that is still writing would not read the answer; but this has an end, too.
                if read > 2 * self.max_body {
                    break;
                }
                continue;
            }
            let share = (bytes.len() + data.len()).div_ceil(1024) - bytes.len().div_ceil(1024);
            let more = self.memory.clone().try_acquire_many_owned(share as u32).map_err(|_| {
                Refusal::busy(
                    "the bodies of other requests take all the memory for them; send the request again later",
                )
            })?;
            match &mut memory {
                Some(memory) => memory.merge(more),
                None => memory = Some(more),
            }
            bytes.extend_from_slice(&data);
        }
        if is_too_large || read > self.max_body {
            return Err(self.too_large());
        }
        Ok(Upload { bytes: bytes.into(), _memory: memory })
    }

    /// The images of a request: its body, or the parts of a form (`multipart/form-data`).
    pub(crate) async fn images(&self, request: Request) -> Result<(Vec<Image>, Upload), Refusal> {
        let (parts, body) = request.into_parts();
        let kind = parts.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let is_form = kind.trim_start().to_ascii_lowercase().starts_with("multipart/form-data");
        let upload = self.read(&parts.headers, body).await?;
        if upload.bytes.is_empty() {
            let message = "the body is empty; send an image file as it is, or several as multipart/form-data";
            return Err(Refusal::bad_request(message));
        }
        if !is_form {
            let image = Image { id: "image".to_owned(), bytes: upload.bytes.clone() };
            return Ok((vec![image], upload));
        }
        let wrong = |error: String| Refusal::bad_request(format!("the form cannot be read: {error}"));
        let whole = Request::from_parts(parts, Body::from(upload.bytes.clone()));
        let mut form = Multipart::from_request(whole, &()).await.map_err(|error| wrong(error.body_text()))?;
        let mut images = Vec::new();
        while let Some(part) = form.next_field().await.map_err(|error| wrong(error.body_text()))? {
            if images.len() == self.max_files {
                let message = format!(
                    "the form has more than {} files, the most that this server takes",
                    self.max_files
                );
                return Err(Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, message));
            }
            let id = part.file_name().or(part.name()).unwrap_or("image").to_owned();
            let bytes = part.bytes().await.map_err(|error| wrong(error.body_text()))?;
            images.push(Image { id, bytes });
        }
        match images.is_empty() {
            true => Err(Refusal::bad_request("the form has no file")),
            false => Ok((images, upload)),
        }
    }
}
