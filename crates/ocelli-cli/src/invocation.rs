//! How the command was called. In Python it is a function, whose process is the interpreter's.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::OnceLock;

static INVOCATION: OnceLock<(Option<PathBuf>, Vec<OsString>)> = OnceLock::new();

/// Sets the program and its arguments, once.
pub fn set(program: Option<PathBuf>, arguments: Vec<OsString>) {
    let _ = INVOCATION.set((program, arguments));
}

/// The program that starts the command again, if it is known.
pub fn program() -> Option<PathBuf> {
    INVOCATION.get().and_then(|(program, _)| program.clone())
}

/// The name of the command, and its arguments.
pub fn arguments() -> &'static [OsString] {
    INVOCATION.get().map_or(&[], |(_, arguments)| arguments)
}
