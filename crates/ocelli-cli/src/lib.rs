//! The command `ocelli`, as a function, so that the Python package has it too.
//!
//! | to change | file |
//! |---|---|
//! | a verb: its flags, its help, what it does | `verbs/NAME.rs`; a new one also gets a line in `verbs/mod.rs` |
//! | flags that several verbs share | `flags/mod.rs`, `flags/data.rs`, `flags/images.rs`, `flags/training.rs` |
//! | how values of flags are parsed | `values.rs` |
//! | the output of training in the terminal | `terminal/mod.rs`, `terminal/intro.rs`, `terminal/progress.rs` |
//! | the output of a download | `transfer.rs` |
//! | how anything is printed | `output.rs` |
//! | how errors of the library are translated into flags | `errors.rs` |
//! | Ctrl-C and other signals | `interrupt.rs` |
//! | which program was called, with which arguments | `invocation.rs` |
//! | the format of numbers and durations | `text.rs` |
//! | the checks of `ocelli doctor` | `verbs/doctor/checks.rs` |
//! | the build's description in `--version --verbose` | `../build.rs`, `verbs/version.rs` |

#![deny(clippy::print_stdout, clippy::print_stderr)] // `output.rs` prints

mod errors;
mod flags;
mod interrupt;
mod invocation;
mod output;
mod photos;
mod terminal;
mod text;
#[cfg(feature = "hub")]
mod transfer;
mod values;
mod verbs;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

use anstyle::{AnsiColor, Style};
use clap::FromArgMatches;

use errors::Failure;
use output::{eprintln, println, shown};
use verbs::Ocelli;

/// The exit status of success.
const SUCCESS: u8 = 0;
/// The exit status of a failure other than wrong arguments.
const FAILURE: u8 = 1;

/// Runs the command once in a process, and returns its exit status. `program` is the file that starts it again, for
/// verbs that start a training; the first argument is its name.
pub fn run(program: Option<PathBuf>, arguments: Vec<OsString>) -> u8 {
    ocelli::timeline::origin();
    invocation::set(program, arguments);
    let result = interrupt::watch().and_then(|()| parse()?.run());
    let result = match result {
        Err(Failure::Usage(error)) => print_usage(&error),
        result => result.map(|()| SUCCESS),
    };
    // Output counts only once it is written.
    match result.and_then(|status| output::finish().map(|()| status)) {
        Ok(status) => status,
        Err(Failure::Closed) => SUCCESS,
        Err(Failure::Interrupted) => interrupt::status(),
        Err(Failure::Printed) | Err(Failure::Usage(_)) => FAILURE,
        Err(Failure::Error(message)) => {
            let red = Style::new().bold().fg_color(Some(AnsiColor::Red.into()));
            let _ = write!(anstream::stderr(), "{red}error:{red:#} ");
            eprintln!("{message}");
            FAILURE
        }
    }
}

fn parse() -> Result<Ocelli, Failure> {
    let matches = verbs::command().try_get_matches_from(invocation::arguments()).map_err(Failure::Usage)?;
    if let Some(verb) = matches.subcommand_name().filter(|verb| *verb != "train") {
        flags::processes::refuse(verb)?;
    }
    Ocelli::from_arg_matches(&matches).map_err(Failure::Usage)
}

/// Prints what is wrong with the arguments, or the help.
fn print_usage(error: &clap::Error) -> Result<u8, Failure> {
    let text = error.render().to_string();
    // An argument may contain anything; only harmless text is printed in colours.
    if text.lines().any(|line| shown(line) != line) {
        if error.use_stderr() { eprintln!("{}", text.trim_end()) } else { println!("{}", text.trim_end()) }
    } else if let (Err(unwritten), false) = (error.print(), error.use_stderr()) {
        return Err(output::unwritten(unwritten));
    }
    Ok(error.exit_code() as u8)
}
