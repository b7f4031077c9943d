//! `sartor run`: everything, from images to a verified model and its report.

use anyhow::Result;
use serde_json::json;

use crate::cli::{Global, RunArguments, Target};
use crate::methods;
use crate::pipeline;
use crate::session::Session;
use crate::summary::Summary;
use crate::talk;

/// Runs the pipeline and prints its summary.
///
/// # Errors
/// Whatever a stage fails with; what earlier stages made is kept.
pub fn run(arguments: &RunArguments, global: &Global) -> Result<()> {
    let mut global = global.clone();
    if let Some(method) = &arguments.method {
        let name = methods::named(method)?.name;
        global.overrides.push(format!("method.name={name}"));
    }
    global.overrides.extend(arguments.target.iter().map(|name| format!("space.target={name:?}")));
    let target = Target { config: Some(arguments.config.clone()), run: None };
    let session = Session::open_method(&target, &global, arguments.from.as_deref())?;
    pipeline::run(&session)?;
    let summary = Summary::of(&session)?;
    if global.json {
        return Ok(talk::data_line(&json!(summary).to_string())?);
    }
    summary.lines().iter().try_for_each(|line| Ok(talk::data_line(line)?))
}
