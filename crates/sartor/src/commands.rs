//! One file per subcommand.

mod asked;
mod compare;
mod completions;
mod cost;
mod export;
mod finetune;
mod fit;
mod front;
mod pairs_file;
mod portfolio;
mod profile;
mod quantize;
mod report;
mod reproduce;
mod retarget;
mod run;
mod sample;
mod search;
mod space;
mod study;
mod train;
mod transfer;
mod verify;

use anyhow::Result;

pub use compare::FILE as COMPARED;
pub use fit::METHODS;
pub use transfer::VARIANTS;

use crate::cli::{Cli, Command};

/// Does what was asked.
///
/// # Errors
/// Whatever the command failed with.
pub fn run(cli: Cli) -> Result<()> {
    let Cli { command, global } = cli;
    match command {
        Command::Run(arguments) => run::run(&arguments, &global),
        Command::Train(target) => train::run(&target, &global),
        Command::Sample(arguments) => sample::run(&arguments, &global),
        Command::Fit(arguments) => fit::run(&arguments, &global),
        Command::Transfer(arguments) => transfer::run(&arguments, &global),
        Command::Profile(arguments) => profile::run(&arguments, &global),
        Command::Search(arguments) => search::run(&arguments, &global),
        Command::Front(arguments) => front::run(&arguments, &global),
        Command::Retarget(arguments) => retarget::run(&arguments, &global),
        Command::Portfolio(arguments) => portfolio::run(&arguments, &global),
        Command::Compare(arguments) => compare::run(&arguments, &global),
        Command::Finetune(target) => finetune::run(&target, &global),
        Command::Export(arguments) => export::run(&arguments, &global),
        Command::Verify(target) => verify::run(&target, &global),
        Command::Report(target) => report::run(&target, &global),
        Command::Quantize(arguments) => quantize::run(&arguments, &global),
        Command::Cost(arguments) => cost::run(&arguments, &global),
        Command::Space(arguments) => space::run(&arguments, &global),
        Command::Reproduce(arguments) => reproduce::run(&arguments, &global),
        Command::Study(arguments) => study::run(&arguments, &global),
        Command::Completions { shell } => completions::run(shell),
    }
}

/// Prints a JSON artefact of the run folder as the last line of stdout, if `--json` was given.
///
/// # Errors
/// When it cannot be read, or stdout is closed.
fn print_artefact(session: &crate::session::Session, json: bool, name: &str) -> Result<()> {
    if !json {
        return Ok(());
    }
    let value: serde_json::Value = session.folder.read_json(name)?;
    Ok(crate::talk::data_line(&value.to_string())?)
}
