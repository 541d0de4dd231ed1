//! What can be set where models are served.

use crate::options::ListenOptions;

/// How models are served, and the limits of requests.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// How the server listens.
    pub listen: ListenOptions,
    /// The longest body of a request in bytes; default: 20 MB.
    pub max_body: usize,
    /// The most images in a request; default: 64.
    pub max_files: usize,
    /// The most images that wait or are computed, of all requests; default: 256.
    pub queue: usize,
    /// The number of threads that decode images, and of those that run networks; 0, the default: one per core.
    pub threads: usize,
    /// Whether models whose files are replaced are loaded again; default: no.
    pub watch: bool,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            listen: ListenOptions::default(),
            max_body: 20_000_000,
            max_files: 64,
            queue: 256,
            threads: 0,
            watch: false,
        }
    }
}
