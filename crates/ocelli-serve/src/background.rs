//! A server beside other work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle, sleep};
use std::time::Duration;

use crate::options::Error;
use crate::server::Server;

/// How long clients have to take what is left, in hundredths of a second.
const LEAVE: usize = 100;

/// A server on a thread of its own, until the value is dropped. Clients then have a second to take what is left.
pub struct Background {
    url: String,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Answers on a thread of its own.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub fn spawn(self) -> Result<Background, Error> {
        let (url, stop) = (self.url(), Arc::new(AtomicBool::new(false)));
        let ending = stop.clone();
        let thread = Builder::new().name("server".to_owned()).spawn(move || {
            // The other work goes on without its page.
            let _ = self.run(ending);
        });
        let thread = thread.map_err(|error| Error::Start(ocelli::io_reason(&error)))?;
        Ok(Background { url, stop, thread: Some(thread) })
    }
}

impl Background {
    /// Where the server listens: see [`Server::url`].
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let Some(thread) = self.thread.take() else { return };
        // Nobody waits for a browser that takes nothing.
        for _ in 0..LEAVE {
            if thread.is_finished() {
                break;
            }
            sleep(Duration::from_millis(10));
        }
    }
}
