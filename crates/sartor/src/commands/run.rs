//! `sartor run`: everything, from images to a verified model and its report.

use anyhow::Result;
use sartor_space::suggest::nearest;
use serde_json::json;

use crate::cli::{Global, RunArguments, Target};
use crate::failure::Failure;
use crate::pipeline;
use crate::session::Session;
use crate::summary::Summary;
use crate::talk;

/// Ways from images to a candidate.
const METHODS: [&str; 1] = ["transfer"];

/// Runs the pipeline and prints its summary.
///
/// # Errors
/// Whatever a stage fails with; what earlier stages made is kept.
pub fn run(arguments: &RunArguments, global: &Global) -> Result<()> {
    check_method(&arguments.method)?;
    let target = Target { config: Some(arguments.config.clone()), run: None };
    let session = Session::open(&target, global)?;
    pipeline::run(&session)?;
    let summary = Summary::of(&session)?;
    if global.json {
        return Ok(talk::data_line(&json!(summary).to_string())?);
    }
    summary.lines().iter().try_for_each(|line| Ok(talk::data_line(line)?))
}

fn check_method(method: &str) -> Result<(), Failure> {
    if METHODS.contains(&method) {
        return Ok(());
    }
    let hint = match nearest(method, METHODS) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("methods: {}", METHODS.join(", ")),
    };
    Err(Failure::bad_input(format!("unknown method `{method}`")).hint(hint))
}
