//! `ocelli man`

use std::path::PathBuf;

use clap::{Args, Command};
use clap_mangen::Man as Page;
use ocelli::write_whole;

use crate::errors::Failure;
use crate::output::{no_dash, path_line, raw};
use crate::verbs;

/// Write the manual pages
///
/// One page for each verb and one for the command, for `man`. Pages of an earlier version are replaced. Without a folder,
/// the command's own page is printed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ocelli man ~/.local/share/man/man1
  ocelli man > ocelli.1")]
pub struct Man {
    /// Folder to write them to
    #[arg(value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

impl Man {
    pub fn run(&self) -> Result<(), Failure> {
        let mut ocelli = verbs::documented().disable_help_subcommand(true);
        ocelli.build();
        let Some(folder) = &self.folder else {
            raw(&page(&ocelli)?.1);
            return Ok(());
        };
        no_dash(folder, "FOLDER")?;
        for command in std::iter::once(&ocelli).chain(ocelli.get_subcommands()) {
            let (name, text) = page(command)?;
            let path = folder.join(name);
            write_whole(&path, &text)?;
            path_line(&path);
        }
        Ok(())
    }
}

/// A page's name, and what is in it.
fn page(command: &Command) -> Result<(String, Vec<u8>), Failure> {
    let page =
        Page::new(command.clone()).manual("Ocelli").source(concat!("Ocelli ", env!("CARGO_PKG_VERSION")));
    let mut text = Vec::new();
    page.render(&mut text)?;
    Ok((page.get_filename(), text))
}
