//! A run in a folder that is stopped, and resumed from its checkpoint: it comes to the same weights, to the bit, as one
//! that was not stopped.
//!
//!     cargo run --release -p ocelli --example resume

use std::ops::ControlFlow;

use ocelli::prelude::*;
use ocelli::{Error, Moved, Run, RunConfig, RunEnv};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut config = RunConfig::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../samples/emoji"));
    config.size = 32;
    config.recipe = Recipe::preset(Preset::Quick, config.size);
    let folder = tempfile::tempdir()?;
    let env = |name: &str| RunEnv { out: Some(folder.path().join(name)), ..RunEnv::default() };

    // Stopped when four of the ten epochs are over. A process that is killed is resumed in the same way.
    let mut run = Run::prepare(&config, &env("stopped"))?;
    run.observe(|event: &Event| match event {
        Event::Epoch(record) if record.epoch == 4 => ControlFlow::Break(()),
        _ => ControlFlow::Continue(()),
    });
    match run.run() {
        Err(Error::Stopped) => println!("stopped after {} epochs", run.learner().history().len()),
        other => panic!("the run was to be stopped: {other:?}"),
    }
    drop(run);

    // Settings, photos and progress are read from the folder.
    let mut run = Run::resume(&folder.path().join("stopped"), &RunEnv::default(), &Moved::default())?;
    println!("resumed after {} epochs", run.learner().history().len());
    let result = run.run()?;
    println!("accuracy {:.4}", result.predictions.accuracy().value());

    let mut whole = Run::prepare(&config, &env("whole"))?;
    whole.run()?;
    let [resumed, whole] = [&run, &whole].map(|run| run.learner().network().to_tensors());
    let same = whole.names().all(|name| whole.get(name) == resumed.get(name));
    println!("the same weights as without the interruption: {same}");
    assert!(same);
    Ok(())
}
