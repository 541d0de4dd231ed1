//! The command `ocelli`: what it does is in the library of this crate.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(ocelli_cli::run(std::env::current_exe().ok(), std::env::args_os().collect()))
}
