//! The command `ocelli`: what it does is in the library of this crate.

use std::process::ExitCode;

#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ExitCode::from(ocelli_cli::run(std::env::current_exe().ok(), std::env::args_os().collect()))
}
