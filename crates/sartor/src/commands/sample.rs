//! `sartor sample`: accuracy pairs alone.

use anyhow::Result;
use serde_json::json;

use crate::cli::{Global, SampleArguments};
use crate::session::Session;
use crate::stages::{sample, train};
use crate::talk;

/// Measures the pairs of a run.
///
/// # Errors
/// Whatever the stage fails with, or when there is no supernet yet.
pub fn run(arguments: &SampleArguments, global: &Global) -> Result<()> {
    let session = Session::open(&arguments.target, global)?;
    let supernet = train::finished(&session)?;
    let pairs = match arguments.quantized {
        true => sample::mixed_precision(&session, &supernet)?,
        false => sample::full_precision(&session, &supernet)?,
    };
    if global.json {
        let count = pairs.load(&session)?.len();
        talk::data_line(&json!({ "pairs": count, "file": session.folder.path(pairs.file()) }).to_string())?;
    }
    Ok(())
}
