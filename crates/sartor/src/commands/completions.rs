//! `sartor completions`: completions for a shell, on stdout.

use anyhow::Result;
use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::Cli;

/// Prints the completions.
///
/// # Errors
/// When stdout is closed.
pub fn run(shell: Shell) -> Result<()> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "sartor", &mut text);
    Ok(std::io::Write::write_all(&mut std::io::stdout().lock(), &text)?)
}
