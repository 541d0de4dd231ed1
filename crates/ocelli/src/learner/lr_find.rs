//! The learning rate finder on a learner.

use ocelli_nn::Backbone;

use crate::error::Result;
use crate::event::Task;
use crate::learner::Learner;
use crate::lr_finder::LrFind;
use crate::lr_finder::curve::LrCurve;
use crate::train::input::EndlessBatches;
use crate::train::step::{Accumulation, StepError, StepSize, train_step};

impl<B: Backbone> Learner<B> {
    /// Searches for learning rates: trains a copy as a fit in the present state would, at rates that grow step by step.
    /// The learner itself stays as it is.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) for settings out of range; [`Error::Stopped`](crate::Error::Stopped)
    /// where an observer asks to stop; where an image cannot be used and bad images are to stop the work.
    pub fn lr_find(&mut self, find: LrFind) -> Result<LrCurve> {
        find.check()?;
        let Self { state, inputs, options, observers, .. } = self;
        options.check(inputs.data.classes().len())?;
        let images = find.batch_size.unwrap_or(inputs.data.batch_size());
        // The photos come again and again only where a search needs more than there are.
        let epochs = (find.steps * images).div_ceil(inputs.data.train_len().max(1));
        inputs.prepare(state, epochs, observers)?;
        let mut accumulation = Accumulation::new(options)?;
        let mut fork = state.fork();
        let mut batches = EndlessBatches::new(images);
        let mut done = 0;
        let mut curve = find.search(|rates| {
            let batch = batches.next(&mut fork, inputs, options.mix, observers)?;
            let step = StepSize { rates, momentum: None, is_last: false };
            let loss = train_step(&mut fork, batch, step, options, &inputs.data, &mut accumulation);
            done += 1;
            observers.progress(Task::LearningRates, done, find.steps)?;
            match loss {
                // A loss that is not finite ends a search as one that grows does.
                Err(StepError::NotFinite(_)) => Ok(f64::NAN),
                Err(StepError::Loss(error)) => Err(error),
                Ok(loss) => Ok(loss),
            }
        })?;
        (curve.frozen, curve.photos) = (state.freezing.frozen(), Some(inputs.data.train_len()));
        Ok(curve)
    }
}
