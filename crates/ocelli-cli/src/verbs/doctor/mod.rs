//! `ocelli doctor`

mod checks;

use clap::Args;
use serde_json::json;

use crate::errors::Failure;
use crate::flags::CacheFlags;
use crate::output::{self, labelled, println, shown};
use crate::text::counted;
use checks::{Check, Status};

/// Check this machine, and say what would go wrong
///
/// Checks the memory, cores, disks and limits, the processor, GPUs if they are compiled in, fonts, the browser, and whether
/// the servers of pretrained weights answer. What is not needed for training is a warning. The exit status is 1 if there
/// is a problem.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ocelli doctor
  ocelli doctor --json")]
pub struct Doctor {
    /// Print a JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    cache: CacheFlags,
}

impl Doctor {
    pub fn run(&self) -> Result<(), Failure> {
        let checks = checks::all(&self.cache);
        let count = |status| checks.iter().filter(|check| check.status == status).count();
        let (problems, warnings) = (count(Status::Problem), count(Status::Warning));
        if self.json {
            let rows: Vec<_> = checks.iter().map(object).collect();
            output::json(&json!({
                "version": env!("CARGO_PKG_VERSION"),
                "problems": problems,
                "warnings": warnings,
                "checks": rows,
            }));
        } else {
            checks.iter().for_each(print);
            let found = [(problems, "problem"), (warnings, "warning")];
            let found =
                found.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| counted(count, what));
            let found: Vec<String> = found.collect();
            println!("\n{}", if found.is_empty() { "no problems".to_owned() } else { found.join(", ") });
        }
        if problems > 0 { Err(Failure::Printed) } else { Ok(()) }
    }
}

/// The width of the columns before what was found.
const COLUMNS: usize = 22;

fn print(check: &Check) {
    let label = format!("{:<9}{}", check.status.name(), check.name);
    labelled(&label, COLUMNS, shown(&check.found));
    if let Some(consequence) = &check.consequence {
        labelled("", COLUMNS, shown(consequence));
    }
}

fn object(check: &Check) -> serde_json::Value {
    json!({
        "check": check.name,
        "status": check.status.name(),
        "found": check.found,
        "consequence": check.consequence,
    })
}
