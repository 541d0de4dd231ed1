//! Predictions of models over HTTP.

pub(crate) mod engine;
pub(crate) mod metrics;
pub(crate) mod models;
pub(crate) mod oip;
pub(crate) mod options;
pub(crate) mod routes;
pub(crate) mod upload;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ocelli::Model;

use crate::options::Error;
use crate::serve::engine::Engine;
use crate::serve::metrics::Metrics;
use crate::serve::models::Models;
use crate::serve::options::ServeOptions;
use crate::serve::routes::{App, OPEN, routes};
use crate::serve::upload::Limits;
use crate::site::{Site, Stopping};

/// How often the models' files are looked at.
const WATCH: Duration = Duration::from_secs(1);

/// Models that are loaded, for a [`Server`](crate::Server) of their predictions.
pub struct Classifiers {
    app: Arc<App>,
    watch: bool,
}

impl Classifiers {
    /// Loads models, each from its file or the folder of its run by `load`, and starts the threads that compute.
    ///
    /// # Errors
    /// Where a model cannot be loaded, or a thread cannot be started.
    pub fn load(
        models: &[PathBuf],
        load: impl Fn(&Path) -> ocelli::Result<Model> + Send + Sync + 'static,
        options: &ServeOptions,
    ) -> Result<Self, Error> {
        let models = Models::load(models, load)?;
        let metrics = Arc::new(Metrics::default());
        let engine = Engine::start(options.queue, options.threads, metrics.clone())?;
        let (limits, stopping) = (Limits::new(options), Stopping::new());
        let app = Arc::new(App { models, engine, limits, metrics, stopping });
        Ok(Self { app, watch: options.watch })
    }

    /// The names of the models, the default one first.
    pub fn names(&self) -> Vec<String> {
        self.app.models.all().map(|named| named.name).collect()
    }
}

impl From<Classifiers> for Site {
    fn from(classifiers: Classifiers) -> Self {
        let Classifiers { app, watch } = classifiers;
        let metrics = app.metrics.clone();
        let site = Self::new(routes(app.clone()), OPEN, app.stopping.clone())
            .counting(move |route, status, duration| metrics.request(route, status, duration));
        if !watch {
            return site;
        }
        let mut stamps = app.models.stamps();
        site.working(move |stop, observe| {
            while !stop.load(Ordering::SeqCst) {
                std::thread::sleep(WATCH);
                app.models.reload(&mut stamps).into_iter().for_each(&**observe);
            }
        })
    }
}
