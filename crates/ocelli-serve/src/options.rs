//! What can be set, and why a server does not start.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// How a server listens, and to whom.
#[derive(Debug, Clone)]
pub struct ListenOptions {
    /// The address to listen at; default: 127.0.0.1, which only this machine reaches.
    pub host: IpAddr,
    /// The port; 0: a free one. Default: 8000.
    pub port: u16,
    /// What clients must send as `Authorization: Bearer TOKEN`; default: none, so that all that reach the server may ask.
    pub token: Option<String>,
    /// Names, beside `localhost` and addresses, that clients may know the server by. Another name in `Host` is refused:
    /// it may be that of a page whose owner had it resolved to this machine (DNS rebinding).
    pub names: Vec<String>,
    /// The most connections; default: 512, so that requests beyond the queue can be refused. For more, those are closed
    /// that have been idle longest; where none is idle, the new ones wait.
    pub max_connections: usize,
    /// The time for a request's headers, for its body, and for a client to take what is written to it; default: 30
    /// seconds.
    pub client_timeout: Duration,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self {
            host: Ipv4Addr::LOCALHOST.into(),
            port: 8000,
            token: None,
            names: Vec::new(),
            max_connections: 512,
            client_timeout: Duration::from_secs(30),
        }
    }
}

/// A token that nobody can guess, for [`ListenOptions::token`].
///
/// # Errors
/// Where the system gives no random numbers.
pub fn random_token() -> Result<String, Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| Error::Start(error.to_string()))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Why a server does not start, or ends.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A model cannot be loaded.
    #[error(transparent)]
    Model(#[from] ocelli::Error),
    /// No model is given.
    #[error("no model to serve")]
    NoModel,
    /// The address cannot be listened at.
    #[error("cannot listen at {address}: {}", ocelli::io_reason(source))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// There is no such folder of runs.
    #[error("cannot list {}: {}", path.display(), ocelli::io_reason(source))]
    Folder {
        /// The folder.
        path: std::path::PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A thread or the network's runtime cannot be started.
    #[error("cannot start: {0}")]
    Start(String),
}
