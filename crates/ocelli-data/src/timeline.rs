//! A timeline of what the threads of a process do, in Chrome's trace format: a file that
//! [Perfetto](https://ui.perfetto.dev) and `chrome://tracing` open.
//!
//! Nothing is measured unless it was [started](start): a [`span`] then costs one comparison. Each thread
//! gathers its spans and writes them a few thousand at a time, so that the file of a process that was killed
//! can still be opened.
//!
//! ```
//! use ocelli_data::timeline;
//!
//! # fn main() -> std::io::Result<()> {
//! # let path = std::env::temp_dir().join(format!("timeline-{}.json", std::process::id()));
//! timeline::start(&path)?;
//! {
//!     let _span = timeline::span("decode");
//!     // …
//! }
//! timeline::finish()?;
//! # assert!(std::fs::read_to_string(&path)?.contains("\"decode\""));
//! # std::fs::remove_file(path)
//! # }
//! ```

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Instant;

/// Whether spans are measured.
static IS_ON: AtomicBool = AtomicBool::new(false);
/// The numbers of threads, in the order of their first spans.
static THREADS: AtomicU64 = AtomicU64::new(0);
/// Spans of single images so far.
static DETAILS: AtomicU64 = AtomicU64::new(0);
static WRITER: Mutex<Option<Writer>> = Mutex::new(None);
/// The zero of all times.
static ORIGIN: OnceLock<Instant> = OnceLock::new();

/// Spans of single images that are written, at most; a million make a file of 100 MB.
const MOST_DETAILS: u64 = 1_000_000;
/// Spans that a thread gathers before they are written.
const AT_ONCE: usize = 4096;

struct Writer {
    out: BufWriter<File>,
    /// The first error, after which nothing is written.
    failed: Option<io::Error>,
}

/// Something that a thread did, in nanoseconds since the origin.
struct Done {
    name: &'static str,
    began: u64,
    ended: u64,
}

/// The spans of a thread that are not written yet.
struct Gathered {
    thread: u64,
    spans: Vec<Done>,
}

thread_local! {
    static GATHERED: RefCell<Gathered> = RefCell::new(Gathered {
        thread: THREADS.fetch_add(1, Ordering::Relaxed),
        spans: Vec::new(),
    });
}

/// What a thread does from here until this is dropped.
#[derive(Debug)]
#[must_use = "a span ends when it is dropped"]
pub struct Span(Option<(&'static str, u64)>);

/// Begins the timeline of this process in a file, which is replaced. Times count from [`origin`], or from now.
///
/// # Errors
/// Where the file cannot be created.
pub fn start(path: impl AsRef<Path>) -> io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    origin();
    // The closing bracket may be missing: a killed process writes none.
    out.write_all(b"[\n")?;
    *WRITER.lock().unwrap_or_else(PoisonError::into_inner) = Some(Writer { out, failed: None });
    IS_ON.store(true, Ordering::Relaxed);
    Ok(())
}

/// The time that all others count from: that of the first call.
pub fn origin() -> Instant {
    *ORIGIN.get_or_init(Instant::now)
}

/// Whether a timeline is written.
pub fn is_on() -> bool {
    IS_ON.load(Ordering::Relaxed)
}

/// Begins a span of this thread.
pub fn span(name: &'static str) -> Span {
    Span(is_on().then(|| (name, now())))
}

/// Begins a span about a single image, of which there may be very many: after a million, none is written.
pub fn detail(name: &'static str) -> Span {
    let is_measured = is_on() && DETAILS.fetch_add(1, Ordering::Relaxed) < MOST_DETAILS;
    Span(is_measured.then(|| (name, now())))
}

/// Adds what this thread has done since `began`.
pub fn add(name: &'static str, began: Instant) {
    if is_on() {
        let began = began.saturating_duration_since(origin()).as_nanos() as u64;
        gather(Done { name, began, ended: now() });
    }
}

/// Writes what this thread has gathered, and ends the timeline. Spans of other living threads that are not
/// written yet are left out.
///
/// # Errors
/// Where the file could not be written, now or before.
pub fn finish() -> io::Result<()> {
    if !IS_ON.swap(false, Ordering::Relaxed) {
        return Ok(());
    }
    let _ = GATHERED.try_with(|gathered| gathered.borrow_mut().write());
    let writer = WRITER.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(Writer { mut out, failed }) = writer else { return Ok(()) };
    if let Some(error) = failed {
        return Err(error);
    }
    let left_out = DETAILS.load(Ordering::Relaxed).saturating_sub(MOST_DETAILS);
    let (name, process) = ("spans of single images that were left out", std::process::id());
    writeln!(
        out,
        r#"{{"name":"{name}","ph":"M","pid":{process},"tid":0,"args":{{"count":{left_out}}}}}
]"#
    )?;
    out.flush()
}

/// Nanoseconds since the origin.
fn now() -> u64 {
    origin().elapsed().as_nanos() as u64
}

fn gather(done: Done) {
    // A thread that ends has already written what it had.
    let _ = GATHERED.try_with(|gathered| {
        let mut gathered = gathered.borrow_mut();
        if gathered.spans.is_empty() {
            gathered.spans.reserve(64);
        }
        gathered.spans.push(done);
        if gathered.spans.len() >= AT_ONCE {
            gathered.write();
        }
    });
}

impl Drop for Span {
    fn drop(&mut self) {
        if let Some((name, began)) = self.0 {
            gather(Done { name, began, ended: now() });
        }
    }
}

impl Gathered {
    fn write(&mut self) {
        let spans = std::mem::take(&mut self.spans);
        let mut writer = WRITER.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Writer { out, failed: failed @ None }) = writer.as_mut() else { return };
        let (process, thread) = (std::process::id(), self.thread);
        let current = std::thread::current();
        let name = current.name().unwrap_or("worker").escape_default();
        let mut write = || {
            writeln!(
                out,
                r#"{{"name":"thread_name","ph":"M","pid":{process},"tid":{thread},"args":{{"name":"{name}"}}}},"#
            )?;
            for Done { name, began, ended } in &spans {
                let (begin, length) = (*began as f64 / 1e3, ended.saturating_sub(*began) as f64 / 1e3);
                writeln!(
                    out,
                    r#"{{"name":"{name}","ph":"X","pid":{process},"tid":{thread},"ts":{begin:.3},"dur":{length:.3}}},"#
                )?;
            }
            out.flush()
        };
        *failed = write().err();
    }
}

impl Drop for Gathered {
    fn drop(&mut self) {
        if !self.spans.is_empty() {
            self.write();
        }
    }
}
