//! What several tests need.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use ocelli::prelude::*;

/// The notices of a learner, but those of photos that look alike, as some flags of the samples do.
pub fn notices(learner: &mut Learner) -> Arc<Mutex<Vec<String>>> {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let list = heard.clone();
    learner.observe(move |event: &Event| {
        if let Event::Notice { text } = event
            && !text.contains("look much like")
        {
            list.lock().unwrap().push(text.clone());
        }
        ControlFlow::Continue(())
    });
    heard
}
