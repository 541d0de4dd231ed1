//! The page of a run, while it trains.

use std::path::Path;

use ocelli_serve::{Background, ListenOptions, Runs, Server};

use crate::errors::Failure;
use crate::flags::listen::failure;

/// Shows a run, on a free port that only this machine reaches, until the value is dropped.
pub fn page_of(run: &Path) -> Result<Background, Failure> {
    let options = ListenOptions { port: 0, ..ListenOptions::default() };
    let runs = Runs::open(run, None).map_err(failure)?;
    Server::bind(runs, &options, |_| {}).and_then(Server::spawn).map_err(failure)
}
