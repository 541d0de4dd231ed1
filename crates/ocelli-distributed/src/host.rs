//! The name of this machine.

use std::process::Command;

/// The name of this machine, for messages.
pub fn host() -> String {
    let kernel = || std::fs::read_to_string("/proc/sys/kernel/hostname").ok();
    let variable = || std::env::var("COMPUTERNAME").ok();
    let uname = || {
        let output = Command::new("uname").arg("-n").output().ok()?;
        String::from_utf8(output.stdout).ok()
    };
    let name = kernel().or_else(variable).or_else(uname).unwrap_or_default();
    match name.trim() {
        "" => "an unnamed machine".to_owned(),
        name => name.chars().filter(|letter| !letter.is_control()).take(64).collect(),
    }
}
