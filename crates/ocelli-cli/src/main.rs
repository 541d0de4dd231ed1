//! The command `ocelli`: arguments in, words out.
//!
//! | to change | see |
//! |---|---|
//! | flags and their help | `arguments.rs` |
//! | what a verb does | the file of its name: `train.rs`, `predict.rs`, … |
//! | how training looks in the terminal | `terminal.rs` |
//! | how numbers and durations are written | `words.rs` |

mod arguments;
mod augment;
mod compare;
mod evaluate;
mod explain;
mod inspect;
mod lr_find;
mod models;
mod predict;
mod pull;
mod report;
mod source;
mod submit;
mod terminal;
mod train;
mod words;

use std::process::ExitCode;

use anstream::eprintln;
use anstyle::{AnsiColor, Style};
use clap::Parser;

use arguments::{Arguments, Verb};

/// The exit status of a run that was interrupted: 128 + SIGINT.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let result = match &arguments.verb {
        Verb::Train(train) => train::run(train),
        Verb::LrFind(lr_find) => lr_find::run(lr_find),
        Verb::Predict(predict) => predict::run(predict),
        Verb::Models(models) => models::run(models),
        Verb::Submit(submit) => submit::run(submit),
        Verb::Pull(pull) => pull::run(pull),
        Verb::Inspect(inspect) => inspect::run(inspect),
        Verb::Augment(augment) => augment::run(augment),
        Verb::Evaluate(evaluate) => evaluate::run(evaluate),
        Verb::Explain(explain) => explain::run(explain),
        Verb::Report(report) => report::run(report),
        Verb::Compare(compare) => compare::run(compare),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Closed) => ExitCode::SUCCESS,
        Err(Failure::Interrupted) => ExitCode::from(INTERRUPTED),
        Err(Failure::Said) => ExitCode::FAILURE,
        Err(Failure::Error(message)) => {
            let red = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
            eprintln!("{red}error:{red:#} {message}");
            ExitCode::FAILURE
        }
    }
}

/// Why a verb did not succeed.
enum Failure {
    /// With this message, which is still to be printed.
    Error(String),
    /// With messages that have been printed.
    Said,
    /// Whoever read the output has seen enough.
    Closed,
    /// The user asked to stop.
    Interrupted,
}

impl<E: std::error::Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let advice = advice(&error).map_or_else(String::new, |advice| format!("\n       {advice}"));
        Self::Error(format!("{error}{advice}"))
    }
}

/// The flag that lets an error pass.
fn advice(error: &(dyn std::error::Error + 'static)) -> Option<&'static str> {
    match error.downcast_ref() {
        Some(ocelli::Error::Data(
            ocelli::DataError::ClassLosesImages { .. } | ocelli::DataError::ClassWithoutImages { .. },
        )) => Some("to go on without them:  --bad-images skip"),
        _ => None,
    }
}
