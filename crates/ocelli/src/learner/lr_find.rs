//! The learning rate finder on a learner.

use std::time::Instant;

use ocelli_data::timeline;
use ocelli_nn::Backbone;

use crate::error::Result;
use crate::event::Activity;
use crate::learner::Learner;
use crate::lr_finder::LrFind;
use crate::lr_finder::curve::LrCurve;
use crate::schedule::learning_rates::LearningRates;
use crate::train::input::EndlessBatches;
use crate::train::step::{Accumulation, StepError, StepSize, train_step};

/// The training steps by which the time of an epoch is measured, after one to warm up, and the most images of each.
const MEASURED_STEPS: usize = 2;
const MEASURED_BATCH: usize = 64;

impl<B: Backbone> Learner<B> {
    /// Runs the learning rate finder: trains a copy of the network, as a fit in the current state would, at
    /// growing learning rates. The learner itself is not changed.
    ///
    /// # Errors
    /// [`Error::Setting`](crate::Error::Setting) for settings out of range;
    /// [`Error::Stopped`](crate::Error::Stopped) where an observer asks to stop; where an image cannot be
    /// used and bad images are errors.
    pub fn lr_find(&mut self, find: LrFind) -> Result<LrCurve> {
        find.check()?;
        let _span = timeline::span("lr finder");
        let Self { state, inputs, options, observers, .. } = self;
        options.check(inputs.data.classes().len())?;
        let images = find.batch_size.unwrap_or(inputs.data.batch_size());
        // Images are only repeated if the finder needs more than there are.
        let epochs = (find.steps * images).div_ceil(inputs.data.train_len().max(1));
        inputs.prepare(state, epochs, observers)?;
        let mut accumulation = Accumulation::new(options)?;
        let mut fork = state.fork();
        let mut batches = EndlessBatches::new(images, options.pieces());
        let mut done = 0;
        let mut curve = find.search(|rates| {
            let batch = batches.next(&mut fork, inputs, options.mix, observers)?;
            let step = StepSize { rates, momentum: None, is_last: false, is_saved: false };
            let step = train_step(&mut fork, batch, step, options, inputs, &mut accumulation);
            let loss = step.map(|step| step.loss);
            done += 1;
            observers.progress(Activity::LearningRates, done, find.steps)?;
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

    /// The seconds that an epoch takes as the learner stands, with its validation; by some training steps, which
    /// change nothing.
    pub(crate) fn seconds_of_an_epoch(&mut self) -> Result<f64> {
        let Self { state, inputs, options, observers, .. } = self;
        options.check(inputs.data.classes().len())?;
        inputs.prepare(state, 1, observers)?;
        let mut accumulation = Accumulation::new(options)?;
        let mut fork = state.fork();
        let images = inputs.data.batch_size().min(MEASURED_BATCH);
        let mut batches = EndlessBatches::new(images, options.pieces());
        let mut began = Instant::now();
        for number in 0..=MEASURED_STEPS {
            let batch = batches.next(&mut fork, inputs, options.mix, observers)?;
            let step = StepSize {
                rates: LearningRates::from(1e-9),
                momentum: None,
                is_last: false,
                is_saved: false,
            };
            match train_step(&mut fork, batch, step, options, inputs, &mut accumulation) {
                Ok(_) | Err(StepError::NotFinite(_)) => {}
                Err(StepError::Loss(error)) => return Err(error),
            }
            if number == 0 {
                // The first step warms up.
                began = Instant::now();
            }
        }
        let an_image = began.elapsed().as_secs_f64() / (MEASURED_STEPS * images) as f64;
        // The forward pass is a third of a training step.
        let passes = inputs.data.train_len() as f64 + inputs.data.valid_len() as f64 / 3.0;
        Ok(an_image * passes)
    }
}
