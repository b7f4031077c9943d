//! One file per subcommand.

mod completions;
mod space;

use anyhow::Result;

use crate::cli::{Cli, Command};

/// Does what was asked.
///
/// # Errors
/// Whatever the command failed with.
pub fn run(cli: Cli) -> Result<()> {
    let Cli { command, global } = cli;
    match command {
        Command::Space(arguments) => space::run(&arguments, &global),
        Command::Completions { shell } => completions::run(shell),
        _ => Ok(()),
    }
}
