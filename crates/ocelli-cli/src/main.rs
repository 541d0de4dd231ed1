//! The command `ocelli`.
//!
//! | to change | see |
//! |---|---|
//! | a verb: its flags, its help, what it does | `verbs/NAME.rs`; a new one also gets a line in `verbs/mod.rs` |
//! | flags that several verbs share | `flags/` |
//! | how values of flags are parsed | `values.rs` |
//! | how training looks in the terminal | `terminal/` |
//! | how a download looks in the terminal | `transfer.rs` |
//! | how anything is printed | `output.rs` |
//! | how errors of the library become flags | `errors.rs` |
//! | what Ctrl-C and other signals do | `interrupt.rs` |
//! | how numbers and durations are written | `text.rs` |
//! | what `ocelli doctor` looks at | `verbs/doctor/checks.rs` |
//! | what `--version --verbose` says of the build | `build.rs`, `verbs/version.rs` |

#![deny(clippy::print_stdout, clippy::print_stderr)] // `output.rs` prints

mod errors;
mod flags;
mod interrupt;
mod output;
mod terminal;
mod text;
#[cfg(feature = "hub")]
mod transfer;
mod values;
mod verbs;

use std::io::Write;
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use clap::FromArgMatches;

use errors::Failure;
use output::{eprintln, println, shown};
use verbs::Ocelli;

fn main() -> ExitCode {
    let result = interrupt::watch().and_then(|()| parse()?.run());
    let result = match result {
        Err(Failure::Usage(error)) => print_usage(&error),
        result => result.map(|()| ExitCode::SUCCESS),
    };
    // What was printed counts as done only when it is written.
    match result.and_then(|status| output::finish().map(|()| status)) {
        Ok(status) => status,
        Err(Failure::Closed) => ExitCode::SUCCESS,
        Err(Failure::Interrupted) => ExitCode::from(interrupt::status()),
        Err(Failure::Printed) | Err(Failure::Usage(_)) => ExitCode::FAILURE,
        Err(Failure::Error(message)) => {
            let red = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
            let _ = write!(anstream::stderr(), "{red}error:{red:#} ");
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn parse() -> Result<Ocelli, Failure> {
    let matches = verbs::command().try_get_matches().map_err(Failure::Usage)?;
    Ocelli::from_arg_matches(&matches).map_err(Failure::Usage)
}

/// Prints what is wrong with the arguments, or the help that was asked for.
fn print_usage(error: &clap::Error) -> Result<ExitCode, Failure> {
    let text = error.render().to_string();
    // An argument may hold anything; only harmless text is printed in colours.
    if text.lines().any(|line| shown(line) != line) {
        if error.use_stderr() { eprintln!("{}", text.trim_end()) } else { println!("{}", text.trim_end()) }
    } else if let (Err(unwritten), false) = (error.print(), error.use_stderr()) {
        return Err(output::unwritten(unwritten));
    }
    Ok(ExitCode::from(error.exit_code() as u8))
}
