//! The `sartor` command: flags, stages and glue. Only here is anything printed, timed or ended.

mod answers;
mod cli;
mod commands;
mod config;
mod curves;
mod failure;
mod methods;
mod pipeline;
mod progress;
mod records;
mod report;
mod run_folder;
mod session;
mod stages;
mod standings;
mod statistics;
mod summary;
mod talk;
mod warnings;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match commands::run(cli::Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if failure::reader_left(&error) => ExitCode::SUCCESS,
        Err(error) => {
            failure::print(&error);
            ExitCode::from(failure::exit_code(&error) as u8)
        }
    }
}
