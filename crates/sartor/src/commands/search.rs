//! `sartor search`: the search of a run, or another budget answered from a finished run.

use anyhow::Result;
use serde_json::{Value, json};

use crate::cli::{Global, SearchArguments};
use crate::config::sections::Budget;
use crate::report::{amount, plain_name};
use crate::session::Session;
use crate::stages::profile::{self, Prices};
use crate::stages::search::{self, BEST, Found, Knowledge};
use crate::stages::{Stage, fit, sample, train, transfer};
use crate::talk;
use crate::warnings::Warning;

/// Searches.
///
/// # Errors
/// An infeasible budget (exit code 3), or stages that have not run.
pub fn run(arguments: &SearchArguments, global: &Global) -> Result<()> {
    let asked =
        arguments.latency_ms.is_some() || arguments.energy_mj.is_some() || arguments.hardware.is_some();
    match asked {
        true => answer(arguments, global),
        false => stage(arguments, global),
    }
}

/// The stage: searches, measures, leaves its artefacts.
fn stage(arguments: &SearchArguments, global: &Global) -> Result<()> {
    let session = Session::open(&arguments.target, global)?;
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

/// Another budget or chip on a finished run: the predictor's answer, nothing written.
fn answer(arguments: &SearchArguments, global: &Global) -> Result<()> {
    let session = Session::read_only(&arguments.target, global)?;
    let predictor = transfer::finished(&session)?;
    let prices = prices(&session, arguments.hardware.as_deref())?;
    let budget =
        Budget { latency_ms: arguments.latency_ms, energy_mj: arguments.energy_mj, ..Budget::default() };
    let (found, budget) = search::answer(&session, &budget, &predictor, &prices)?;
    let candidate: Value = serde_json::from_str(&found.best.candidate.to_json(&session.config.space))?;
    let costs = prices.of(&found.best.candidate)?;
    let Found { best, evaluated, stop_reason, seconds, .. } = &found;
    if global.json {
        let best = json!({ "id": best.candidate.id(), "candidate": candidate, "predicted": best.score, "costs": costs });
        let object = json!({
            "best": best,
            "evaluated": evaluated,
            "stop_reason": stop_reason,
            "seconds": seconds,
            "budget": budget,
        });
        return Ok(talk::data_line(&object.to_string())?);
    }
    talk::data_line(&format!("predicted accuracy  {:.2} %", 100.0 * best.score))?;
    for (name, value) in &costs {
        talk::data_line(&format!("{:<19} {}", plain_name(name), amount(name, *value)))?;
    }
    Ok(talk::data_line(&candidate.to_string())?)
}

fn prices(session: &Session, hardware: Option<&str>) -> Result<Prices> {
    let Some(hardware) = hardware else { return profile::finished(session) };
    let source = profile::Source::open(hardware, session.config.hardware.batch)?;
    let table = source.for_space(&session.config.space)?;
    session.warn(&Warning::of_table(&table.provenance));
    Ok(Prices::new(session.config.space.clone(), table, Vec::new()))
}
