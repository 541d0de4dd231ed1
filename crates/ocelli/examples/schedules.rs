//! Draws the schedules that are built in, and one put together by hand.
//!
//! `cargo run --release -p ocelli --example schedules -- FOLDER`

use ocelli::schedule::{LinearOneCycle, LrPhase, LrPhases, OneCycle, SlantedTriangular, StepDecay};
use ocelli::{Schedule, Sgdr};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let by_hand = [
        LrPhase::linear(0.5, 0.01, 1.0),
        LrPhase::constant(3.0, 1.0),
        LrPhase::cosine(2.5, 1.0, 0.0).momentum(0.9, 0.95),
    ];
    let schedules: [(&str, Schedule); 7] = [
        ("sgdr", Sgdr::cycles(3).len(1).mult(2).into()),
        ("one_cycle", OneCycle::epochs(6).into()),
        ("linear_one_cycle", LinearOneCycle::epochs(6).into()),
        ("slanted", SlantedTriangular::cycles(2).len(3).momentum(0.95, 0.85).into()),
        ("triangular", SlantedTriangular::triangular(3).len(2).into()),
        ("step_decay", StepDecay::epochs(6).into()),
        ("by_hand", LrPhases::of(by_hand).into()),
    ];
    for (name, schedule) in schedules {
        let path = format!("{folder}/{name}.png");
        schedule.plot([1e-4, 1e-3, 1e-2], 100).write(&path)?;
        println!("{path}");
    }
    Ok(())
}
