//! `sartor search`: the search of a run, or another budget answered from a finished run.

use anyhow::Result;
use serde_json::json;

use super::asked::Asked;
use crate::cli::{Global, SearchArguments};
use crate::config::sections::Budget;
use crate::report::{amount, plain_name};
use crate::session::Session;
use crate::stages::search::asking::Asking;
use crate::stages::search::fleet::Fleet;
use crate::stages::search::{self, BEST, Knowledge};
use crate::stages::{Stage, fit, profile, sample, train, transfer};
use crate::talk;
use crate::warnings::Warning;

/// Searches.
///
/// # Errors
/// An infeasible budget (exit code 3), or stages that have not run.
pub fn run(arguments: &SearchArguments, global: &Global) -> Result<()> {
    let asked = arguments.budget.budget() != Budget::default() || !arguments.hardware.is_empty();
    match asked {
        true => answer(arguments, global),
        false => stage(arguments, global),
    }
}

/// The stage: searches, measures, leaves its artefacts.
fn stage(arguments: &SearchArguments, global: &Global) -> Result<()> {
    let rounds = arguments.rounds.map(|rounds| format!("search.rounds={rounds}"));
    let mut global = global.clone();
    global.overrides.extend(rounds);
    let session = Session::open(&arguments.target, &global)?;
    let (supernet, predictor) = (train::finished(&session)?, transfer::finished(&session)?);
    let full_precision = fit::finished(&session)?;
    let pairs = sample::finished(&session, Stage::SampleMixedPrecision)?;
    let knowledge = Knowledge { predictor: &predictor, full_precision: &full_precision, pairs: &pairs };
    let prices = profile::run(&session)?;
    search::check_budget(&session, &prices)?;
    let best = search::run(&session, &supernet, &knowledge, &prices)?.best(&session)?;
    session.warn(&Warning::of_search(&best));
    if global.json {
        let seconds = session.timings().stages.get("search").map(|time| time.seconds);
        let object = json!({
            "best": best.best,
            "evaluated": best.evaluated,
            "stop_reason": best.stop_reason,
            "seconds": seconds,
            "budget": best.budget,
            "references": best.references,
        });
        return Ok(talk::data_line(&object.to_string())?);
    }
    Ok(talk::data_line(&session.folder.path(BEST).display().to_string())?)
}

/// Another budget, another chip or several chips on a finished run: the predictor's answer, nothing written.
fn answer(arguments: &SearchArguments, global: &Global) -> Result<()> {
    let asked = Asked::open(&arguments.target, global)?;
    let flags = arguments.budget.budget();
    let chips = match arguments.hardware.as_slice() {
        [] => vec![asked.chip(None, &flags, None)?],
        chips => chips.iter().map(|chip| asked.chip(Some(chip), &flags, None)).collect::<Result<_>>()?,
    };
    let fleet = Fleet::new(&chips)?;
    let asking = Asking::new(&asked.session.config.search, &asked.predictor);
    let answer = asking.answer(&fleet, asked.session.seed(Stage::Search))?;
    if global.json {
        return Ok(talk::data_line(&asked.to_json(&answer, &fleet)?.to_string())?);
    }
    talk::data_line(&format!("predicted accuracy  {:.2} %", 100.0 * answer.best.score))?;
    for (chip, costs) in fleet.chips().iter().zip(fleet.costs(&answer.best.candidate)?) {
        if chips.len() > 1 {
            talk::data_line(&chip.name)?;
        }
        for (name, value) in &costs {
            talk::data_line(&format!("{:<19} {}", plain_name(name), amount(name, *value)))?;
        }
    }
    let gap = match answer.gap {
        Some(gap) => format!("at most {:.2} points: {}", 100.0 * gap.accuracy, gap.proof),
        None => "unknown: no bound can be computed for this predictor".to_owned(),
    };
    talk::plain_line(&format!("gap to the best there is: {gap}"));
    Ok(talk::data_line(&asked.candidate(&answer.best)?.to_string())?)
}
