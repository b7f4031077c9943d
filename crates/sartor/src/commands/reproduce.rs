//! `sartor reproduce`: the papers' tables and figures on a config's own images, with what they claim put to the test.
//!
//! A table or figure is a list of arms (a method with its settings) and of claims about them. All arms share one
//! supernet, that of the config's run; seeds are those of search and fine-tuning. What the papers printed stands in
//! columns of its own.

mod arms;
mod claims;
mod figures;
mod landing;
mod predictors;
mod published;
mod written;

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use sartor_space::suggest::nearest;
use serde_json::json;

use crate::cli::{Global, ReproduceArguments, Target};
use crate::failure::Failure;
use crate::pipeline;
use crate::session::Session;
use crate::talk;
use claims::Verdict;
use figures::{Budget, FIGURES, Figure};
use written::Record;

/// The figure that is about predictors alone.
const PREDICTORS: &str = "fig6";
/// Config of a quick run, and of a full one.
const CONFIGS: [(bool, &str); 2] = [(true, "configs/quickstart.toml"), (false, "configs/fashion-mnist.toml")];

/// Reproduces one table or figure.
///
/// # Errors
/// An unknown name, a method that is not there, or whatever a stage fails with.
pub fn run(arguments: &ReproduceArguments, global: &Global) -> Result<()> {
    let what = arguments.what.as_str();
    let figure = FIGURES.iter().find(|figure| figure.name == what);
    if figure.is_none() && what != PREDICTORS {
        return Err(unknown(what).into());
    }
    let started = Instant::now();
    let base = Session::open(&target(arguments), global)?;
    match figure.map(|figure| figure.budget) {
        Some(Budget::Targets(_)) => pipeline::prepare_supernet(&base)?,
        _ => pipeline::prepare(&base)?,
    }
    let mut record = Record::new(&base, what, arguments)?;
    let verdicts = match figure {
        None => {
            let verdicts = predictors::run(&base, arguments, &mut record)?;
            record.minutes = started.elapsed().as_secs_f64() / 60.0;
            verdicts
        }
        Some(figure) => {
            let folder = base.config.folder.clone();
            drop(base);
            measured(figure, arguments, global, &folder, &mut record)?
        }
    };
    let files = record.write(&arguments.out, &verdicts)?;
    answer(&verdicts, &files, global.json)
}

fn measured(
    figure: &Figure,
    arguments: &ReproduceArguments,
    global: &Global,
    base: &std::path::Path,
    record: &mut Record,
) -> Result<Vec<Verdict>> {
    let rows = arms::run(figure, arguments, (&target(arguments), global), base)?;
    let verdicts = claims::judge(figure, &rows);
    record.rows(figure, &rows)?;
    Ok(verdicts)
}

fn target(arguments: &ReproduceArguments) -> Target {
    let own =
        CONFIGS.iter().find(|(quick, _)| *quick == arguments.quick).map(|(_, path)| PathBuf::from(path));
    Target { config: arguments.config.clone().or(own), run: None }
}

fn answer(verdicts: &[Verdict], files: &[PathBuf], as_json: bool) -> Result<()> {
    if as_json {
        let object = json!({ "claims": verdicts, "files": files });
        return Ok(talk::data_line(&object.to_string())?);
    }
    verdicts.iter().try_for_each(|verdict| talk::data_line(&verdict.line()))?;
    Ok(files.iter().try_for_each(|file| talk::data_line(&format!("written  {}", file.display())))?)
}

fn unknown(what: &str) -> Failure {
    let names: Vec<&str> = FIGURES.iter().map(|figure| figure.name).chain([PREDICTORS]).collect();
    let hint = match nearest(what, names.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("there are {}", names.join(", ")),
    };
    Failure::bad_input(format!("nothing to reproduce is called `{what}`")).hint(hint)
}
