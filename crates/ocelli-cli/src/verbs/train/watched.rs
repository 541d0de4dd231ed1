//! The page of a run, while it trains.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::Duration;

use ocelli_serve::{ListenOptions, Runs, Server};

use crate::errors::Failure;
use crate::flags::listen::failure;

/// How long those who watch have to take what is left, in hundredths of a second.
const LEAVE: usize = 100;

/// A server of a run's page, on a thread of its own, until the value is dropped.
pub struct Watched {
    pub url: String,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Watched {
    /// Starts it, on a free port that only this machine reaches.
    pub fn start(run: &Path) -> Result<Self, Failure> {
        let options = ListenOptions { port: 0, ..ListenOptions::default() };
        let runs = Runs::open(run, None).map_err(failure)?;
        let server = Server::bind(runs, &options, |_| {}).map_err(failure)?;
        let (url, stop) = (server.url(), Arc::new(AtomicBool::new(false)));
        let ending = stop.clone();
        let thread = std::thread::Builder::new().name("watch".to_owned()).spawn(move || {
            // Training goes on without its page.
            let _ = server.run(ending);
        });
        let failed = |error| Failure::Error(format!("cannot start a thread: {}", ocelli::io_reason(&error)));
        Ok(Self { url, stop, thread: Some(thread.map_err(failed)?) })
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let Some(thread) = self.thread.take() else { return };
        // No run waits for a browser that takes nothing.
        for _ in 0..LEAVE {
            if thread.is_finished() {
                break;
            }
            sleep(Duration::from_millis(10));
        }
    }
}
