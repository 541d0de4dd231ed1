//! Ctrl-C, and the signals by which `kill`, Docker, Slurm, systemd and a closed terminal ask a process to
//! end.
//!
//! They are handled from the start, in every verb: as process 1 of a container, a process without a handler
//! would ignore them. A verb that has nothing to lose is ended at once, since files are written whole or not
//! at all. One that works step by step calls [`finish`]; from then on it polls [`asked`], and only a second
//! signal ends it at once.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, LazyLock, Mutex};

use ocelli::Event;

use crate::errors::Failure;
use crate::output::eprintln;

/// The first signal; 0: none.
static SIGNAL: AtomicI32 = AtomicI32::new(0);

/// Whether there was a signal, as a flag.
static ASKED: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// What is finished before the process ends, such as "this batch"; `None`: it ends at once.
static FINISHING: Mutex<Option<&'static str>> = Mutex::new(None);

/// The number of Ctrl-C.
const INTERRUPT: i32 = 2;

/// The exit status of an interrupted process: 128 + the number of the signal, as in shells.
pub fn status() -> u8 {
    let signal = match SIGNAL.load(Ordering::SeqCst) {
        0 => INTERRUPT,
        signal => signal,
    };
    (128 + signal) as u8
}

/// From now on a signal is obeyed after this work, described in a few words: "this batch".
pub fn finish(what: &'static str) {
    *FINISHING.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(what);
}

/// As [`finish_batch`], without a word: another process speaks.
pub fn finish_batch_silently() {
    finish("");
}

/// As [`finish`], for work in batches. Returns [`flag`].
pub fn finish_batch() -> Arc<AtomicBool> {
    finish("this batch");
    flag()
}

/// The result of library work; [`Error::Stopped`](ocelli::Error::Stopped) is not an error, but an
/// interruption.
pub fn stopped<T>(result: ocelli::Result<T>, message: &str) -> Result<T, Failure> {
    result.map_err(|error| match error {
        ocelli::Error::Stopped => {
            eprintln!("stopped; {message}");
            Failure::Interrupted
        }
        error => error.into(),
    })
}

/// Whether a signal has asked the process to end.
pub fn asked() -> bool {
    ASKED.load(Ordering::SeqCst)
}

/// [`asked`], as a flag.
pub fn flag() -> Arc<AtomicBool> {
    Arc::clone(&ASKED)
}

/// [`asked`], for callbacks.
pub fn flow() -> ControlFlow<()> {
    if asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
}

/// An observer that asks to stop after a signal.
pub fn observer() -> impl FnMut(&Event) -> ControlFlow<()> + 'static {
    |_: &Event| flow()
}

/// Handles a signal.
fn take(signal: i32) {
    let finishing = *FINISHING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let first = SIGNAL.compare_exchange(0, signal, Ordering::SeqCst, Ordering::SeqCst).is_ok();
    ASKED.store(true, Ordering::SeqCst);
    match finishing {
        Some("") if first => {}
        Some(what) if first => eprintln!("\nstopping after {what}; once more to stop at once"),
        _ => std::process::exit(i32::from(status())),
    }
}

/// Starts to handle signals, until the process ends. To be called before any other thread is started.
#[cfg(unix)]
pub fn watch() -> Result<(), Failure> {
    use nix::sys::signal::{SigSet, Signal};

    let mut signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM]);
    // Under `nohup` a closed terminal ends nothing.
    if !hangup_is_ignored() {
        signals.add(Signal::SIGHUP);
    }
    // Signals that are blocked in all threads are delivered to the one that waits for them, even where the
    // system would otherwise drop them, as it does for the first process of a container.
    signals.thread_block()?;
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            while let Ok(signal) = signals.wait() {
                take(signal as i32);
            }
        })
        .map_err(|error| Failure::Error(format!("cannot start a thread: {}", ocelli::io_reason(&error))))?;
    Ok(())
}

/// Starts to handle Ctrl-C and the end of the session, until the process ends.
#[cfg(not(unix))]
pub fn watch() -> Result<(), Failure> {
    Ok(ctrlc::set_handler(|| take(INTERRUPT))?)
}

/// Whether the process was started with SIGHUP ignored, as `nohup` does.
#[cfg(unix)]
fn hangup_is_ignored() -> bool {
    match std::fs::read_to_string("/proc/self/status") {
        Ok(status) => ignored_in(&status).is_some_and(|mask| mask & 1 == 1),
        // Ignored signals stay ignored in a child process, which can then not end itself.
        Err(_) => std::process::Command::new("sh")
            .args(["-c", "kill -HUP $$"])
            .stderr(std::process::Stdio::null())
            .status()
            .is_ok_and(|status| status.success()),
    }
}

/// The ignored signals, from the system's table: the lowest bit is that of signal 1, SIGHUP.
#[cfg(unix)]
fn ignored_in(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

#[cfg(all(test, unix))]
mod tests {
    use super::ignored_in;

    #[test]
    fn what_is_ignored_is_read_from_the_systems_table() {
        let table = "SigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000000000\n";
        assert_eq!(ignored_in(table), Some(0x1001));
        assert_eq!(ignored_in("SigIgn:\tx\n"), None);
        assert_eq!(ignored_in(""), None);
    }
}
