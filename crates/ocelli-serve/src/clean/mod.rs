//! Label cleaning in the browser: a queue of photos whose labels may be wrong, decided by single keys.

mod pictures;
mod routes;
mod training;

use std::sync::Arc;

use ocelli::clean::LabelCleaning;

use crate::clean::pictures::Pictures;
use crate::clean::routes::{App, Lists, OPEN, routes};
use crate::clean::training::Trainer;
use crate::site::{Site, Stopping};

pub use training::TrainCommand;

/// The photos of a run whose labels are cleaned, for a [`Server`](crate::Server) of a page for that.
pub struct Cleaning(Arc<App>);

impl Cleaning {
    /// `train` is how a next run is started where the page asks for it; `None`: the page does not offer it.
    pub fn new(cleaning: LabelCleaning, train: Option<TrainCommand>) -> Self {
        let lists = Lists::of(&cleaning);
        let cleaning = Arc::new(cleaning);
        let trainer = train.map(|command| Trainer::new(cleaning.clone(), command));
        Self(Arc::new(App { lists, pictures: Pictures::new(cleaning.clone()), trainer, cleaning }))
    }
}

impl From<Cleaning> for Site {
    fn from(Cleaning(app): Cleaning) -> Self {
        Self::new(routes(app), OPEN, Stopping::new())
    }
}
