//! A run's events as they are written, as server-sent events: <https://html.spec.whatwg.org/multipage/server-sent-events.html>
//!
//! The id of an event is the number of its line, counted from 1. A line that is not yet whole is waited for, and one that
//! is damaged is left out. Where the file was replaced or cut off, as it may be when a run is resumed, the event `restart`
//! comes before all lines from the first. The event `state` tells what the run is doing, at first and whenever that
//! changes.

use std::convert::Infallible;
use std::fs::File;
use std::future::poll_fn;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::Frame;
use ocelli::RunFolder;
use serde_json::Value;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::sleep;

use crate::site::Stopping;

/// How often it is looked whether the file has grown.
const PAUSE: Duration = Duration::from_millis(250);
/// In so many of these pauses, a state that no event tells is looked for once.
const STATE: usize = 4;
/// In so many of these pauses something is sent, so that a client that is gone is noticed.
const ALIVE: usize = 60;
/// The bytes that are read at once.
const CHUNK: usize = 1 << 16;
/// The longest line.
const LONGEST: usize = 1 << 24;

/// The events of a run after the line `last`, as a body that goes on until the client leaves or the server ends.
pub(crate) fn follow(
    run: RunFolder,
    last: usize,
    describe: impl Fn(&RunFolder) -> Value + Send + Sync + 'static,
    stopping: Stopping,
    place: OwnedSemaphorePermit,
) -> Body {
    let (sender, receiver) = channel(16);
    tokio::spawn(async move {
        let _place = place;
        let mut lines = Lines { last, ..Lines::default() };
        let mut told = Value::Null;
        let followed = async {
            for pause in 0usize.. {
                let grown = lines.send_new(&run, &sender).await?;
                if grown || pause.is_multiple_of(STATE) {
                    let now = describe(&run);
                    if without_time(&now) != told {
                        told = without_time(&now);
                        send(&sender, format!("event: state\ndata: {now}\n\n")).await?;
                    }
                }
                if pause % ALIVE == ALIVE - 1 {
                    send(&sender, ":\n\n".to_owned()).await?;
                }
                sleep(PAUSE).await;
            }
            Ok::<(), Gone>(())
        };
        let is_left = {
            let (mut followed, mut left) = (pin!(followed), pin!(sender.closed()));
            let mut ending = pin!(stopping.wait());
            poll_fn(|context| {
                if followed.as_mut().poll(context).is_ready() || left.as_mut().poll(context).is_ready() {
                    return Poll::Ready(true);
                }
                ending.as_mut().poll(context).map(|()| false)
            })
            .await
        };
        if !is_left && lines.send_new(&run, &sender).await.is_ok() {
            // How it ended, where the server ends with the run.
            let _ = send(&sender, format!("event: state\ndata: {}\n\n", describe(&run))).await;
        }
    });
    Body::new(Sent(receiver))
}

/// A description without the seconds since the last event, which always change.
fn without_time(described: &Value) -> Value {
    let mut described = described.clone();
    if let Some(fields) = described.as_object_mut() {
        fields.remove("idle");
    }
    described
}

/// The client has left.
struct Gone;

async fn send(sender: &Sender<Bytes>, text: String) -> Result<(), Gone> {
    sender.send(Bytes::from(text)).await.map_err(|_| Gone)
}

/// The body of an answer: what is sent to it.
struct Sent(Receiver<Bytes>);

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

/// How far a file of events has been read.
#[derive(Default)]
struct Lines {
    /// Whole lines, and the bytes that they have.
    number: usize,
    read: u64,
    /// By what it is seen that the file is another one.
    identity: Option<u64>,
    /// The last line that the client has.
    last: usize,
}

impl Lines {
    /// Sends the whole lines that the file has beyond those that were read, and returns whether there were any.
    async fn send_new(&mut self, run: &RunFolder, sender: &Sender<Bytes>) -> Result<bool, Gone> {
        let Some((mut file, length, identity)) = opened(&run.events()) else { return Ok(false) };
        let is_first = self.identity.is_none();
        if !is_first && (self.identity != Some(identity) || length < self.read) {
            *self = Self::default();
            send(sender, "event: restart\ndata: {}\n\n".to_owned()).await?;
        }
        self.identity = Some(identity);
        if length <= self.read || file.seek(SeekFrom::Start(self.read)).is_err() {
            return Ok(false);
        }
        let (mut waiting, mut chunk, before) = (Vec::new(), vec![0; CHUNK], self.number);
        // Only what the file has now: what is added meanwhile comes next time.
        let mut file = file.take(length - self.read);
        while let Ok(count @ 1..) = file.read(&mut chunk) {
            waiting.extend_from_slice(&chunk[..count]);
            let Some(end) = waiting.iter().rposition(|byte| *byte == b'\n') else {
                if waiting.len() > LONGEST {
                    // No run writes such a line: what comes after it is read.
                    self.read += waiting.len() as u64;
                    waiting.clear();
                }
                continue;
            };
            let rest = waiting.split_off(end + 1);
            let text = String::from_utf8_lossy(&waiting);
            let mut events = String::new();
            for line in text.lines() {
                self.number += 1;
                if self.number > self.last
                    && let Some(event) = whole(line)
                {
                    events += &format!("id: {}\ndata: {event}}}\n\n", self.number);
                }
            }
            self.read += waiting.len() as u64;
            if !events.is_empty() {
                send(sender, events).await?;
            }
            waiting = rest;
        }
        if is_first && self.number < self.last {
            // The client has more lines than there are: those of a file that was replaced.
            *self = Self { identity: self.identity, ..Self::default() };
            send(sender, "event: restart\ndata: {}\n\n".to_owned()).await?;
            return Ok(true);
        }
        Ok(self.number > before)
    }
}

/// The event of a whole line as it stands there, up to its last field, the digest, so that every number keeps its digits.
fn whole(line: &str) -> Option<&str> {
    RunFolder::event(line)?;
    line.rsplit_once(",\"digest\":").map(|(event, _)| event)
}

/// A file, its length, and what tells it from one that replaces it.
fn opened(path: &Path) -> Option<(File, u64, u64)> {
    let file = File::open(path).ok()?;
    let found = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
    #[cfg(unix)]
    let identity = std::os::unix::fs::MetadataExt::ino(&found);
    #[cfg(not(unix))]
    let identity = 0;
    Some((file, found.len(), identity))
}
