//! The command `ocelli`: arguments in, words out.
//!
//! | to change | see |
//! |---|---|
//! | flags and their help | `arguments.rs` |
//! | what a verb does | the file of its name: `train.rs`, `predict.rs`, … |
//! | how training looks in the terminal | `terminal.rs` |
//! | how a download looks in the terminal | `transfer.rs` |
//! | how anything is printed | `output.rs` |
//! | what Ctrl-C and other signals do | `interrupt.rs` |
//! | how numbers and durations are written | `words.rs` |

#![deny(clippy::print_stdout, clippy::print_stderr)] // `output.rs` prints

mod arguments;
mod augment;
mod compare;
mod evaluate;
mod explain;
mod inspect;
mod interrupt;
mod lr_find;
mod models;
mod output;
mod predict;
mod pull;
mod report;
mod source;
mod submit;
mod terminal;
mod train;
#[cfg(feature = "hub")]
mod transfer;
mod words;

use std::io::{self, Write};
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use clap::Parser;

use arguments::{Arguments, Verb};
use output::{eprintln, println, shown};

fn main() -> ExitCode {
    let result = interrupt::watch().and_then(|()| match Arguments::try_parse() {
        Ok(arguments) => perform(&arguments.verb),
        Err(error) => Err(Failure::Usage(error)),
    });
    let result = match result {
        Err(Failure::Usage(error)) => explain_usage(&error),
        result => result.map(|()| ExitCode::SUCCESS),
    };
    // What was printed counts as done only when it is written.
    match result.and_then(|status| output::finish().map(|()| status)) {
        Ok(status) => status,
        Err(Failure::Closed) => ExitCode::SUCCESS,
        Err(Failure::Interrupted) => ExitCode::from(interrupt::status()),
        Err(Failure::Said) | Err(Failure::Usage(_)) => ExitCode::FAILURE,
        Err(Failure::Error(message)) => {
            let red = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
            let _ = write!(anstream::stderr(), "{red}error:{red:#} ");
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn perform(verb: &Verb) -> Result<(), Failure> {
    match verb {
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
    }
}

/// Prints what is wrong with the arguments, or the help that was asked for.
fn explain_usage(error: &clap::Error) -> Result<ExitCode, Failure> {
    let text = error.render().to_string();
    // An argument may hold anything; in colours only what needs no care.
    if text.lines().any(|line| shown(line) != line) {
        if error.use_stderr() { eprintln!("{}", text.trim_end()) } else { println!("{}", text.trim_end()) }
    } else if let (Err(unwritten), false) = (error.print(), error.use_stderr()) {
        return Err(output::unwritten(unwritten));
    }
    Ok(ExitCode::from(error.exit_code() as u8))
}

/// Why a verb did not succeed.
enum Failure {
    /// With this message, which is still to be printed.
    Error(String),
    /// With messages that have been printed.
    Said,
    /// Whoever read the output has seen enough.
    Closed,
    /// The user, or the system, asked to stop.
    Interrupted,
    /// The arguments are wrong, or ask for help.
    Usage(clap::Error),
}

impl<E: std::error::Error + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        let error: &(dyn std::error::Error + 'static) = &error;
        let said = match error.downcast_ref::<io::Error>() {
            Some(error) => ocelli::io_reason(error),
            None => error.to_string(),
        };
        let flag = error.downcast_ref::<ocelli::Error>().and_then(flag);
        let flag = flag.map_or_else(String::new, |flag| format!("{flag}: "));
        let advice = advice(error).map_or_else(String::new, |advice| format!("\n       {advice}"));
        Self::Error(format!("{flag}{}{advice}", shown(said)))
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

/// The flag, or the flags, that a setting of the library comes from.
fn flag(error: &ocelli::Error) -> Option<&'static str> {
    let name = match error {
        ocelli::Error::Setting { name, .. } => name,
        ocelli::Error::Data(ocelli::DataError::Setting { name, .. }) => name,
        ocelli::Error::ImageSize { .. } => return Some("--size"),
        _ => return None,
    };
    Some(match *name {
        "fold" | "folds" => "--fold",
        "valid" | "the share that is held out" => "--valid",
        "size" => "--size",
        "sheet" => "--columns, --rows and --size",
        "threads" => "--threads",
        "the batch size" | "batch size" | "the finder's batch size" => "--batch",
        "the number of epochs" | "cycle_mult" => "--epochs, --cycles and the like",
        "the learning rate" => "--lr",
        "the spread of learning rates" => "--spread",
        "the number of class weights" | "a class weight" => "--class-weights",
        "the alpha of mixed images" | "alpha" => "--mixup or --cutmix",
        "label smoothing" => "--label-smoothing",
        "the focal loss's gamma" => "--focal",
        "the greatest gradient norm" => "--clip",
        "the number of batches a step" => "--accumulate",
        "the decay of averaged weights" => "--ema",
        "the average of weights" => "--ema and --swa",
        "weight decay" => "--weight-decay",
        "the finder's last learning rate" => "--end",
        "the finder's number of steps" => "--steps",
        "the clip" => "--clip",
        "the number of views" => "--views or --tta",
        _ => return None,
    })
}
