//! `ocelli completions`

use clap::Args;
use clap_complete::{Shell, generate};

use crate::errors::Failure;
use crate::output::raw;
use crate::verbs;

/// Print the completions for a shell
///
/// Where a shell looks for them, its own manual says; the usual places are in the examples.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ocelli completions bash > ~/.local/share/bash-completion/completions/ocelli
  ocelli completions zsh > ~/.zfunc/_ocelli
  ocelli completions fish > ~/.config/fish/completions/ocelli.fish")]
pub struct Completions {
    /// The shell
    #[arg(value_name = "SHELL", ignore_case = true)]
    shell: Shell,
}

impl Completions {
    pub fn run(&self) -> Result<(), Failure> {
        let mut script = Vec::new();
        generate(self.shell, &mut verbs::documented(), "ocelli", &mut script);
        raw(&script);
        Ok(())
    }
}
