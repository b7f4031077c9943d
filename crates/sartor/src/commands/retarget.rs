//! `sartor retarget`: another chip, batch or budget for a finished run, without training.

use anyhow::Result;
use sartor_space::Candidate;
use serde_json::json;

use super::asked::Asked;
use crate::cli::{Global, RetargetArguments};
use crate::report::{amount, plain_name};
use crate::run_folder::artefact;
use crate::stages::Stage;
use crate::stages::search;
use crate::stages::search::asking::Asking;
use crate::stages::search::fleet::Fleet;
use crate::talk;

/// Finds the network for the new target and says what becomes of the old one there.
///
/// # Errors
/// An infeasible budget (exit code 3), or a run that is not finished.
pub fn run(arguments: &RetargetArguments, global: &Global) -> Result<()> {
    let asked = Asked::open(&arguments.target, global)?;
    let config = &asked.session.config;
    let chip = asked.chip(arguments.hardware.as_ref(), &arguments.budget.budget(), arguments.batch)?;
    let fleet = Fleet::new([&chip])?;
    let asking = Asking::new(&config.search, &asked.predictor);
    let answer = asking.answer(&fleet, asked.session.seed(Stage::Search))?;
    let chosen = search::finished(&asked.session)?.best(&asked.session)?.best;
    let old = Candidate::from_json(&chosen.candidate.to_string(), &config.space)?;
    let old_score = asking.scores(std::slice::from_ref(&old))?[0];
    let (old_costs, meets) = (chip.prices.of(&old)?, chip.allows(&old)?);
    if let Some(file) = &arguments.out {
        artefact::write(file, asked.candidate(&answer.best)?.to_string().as_bytes())?;
    }
    let mut object = asked.to_json(&answer, &fleet)?;
    object["hardware"] = json!(chip.name);
    object["batch"] = json!(arguments.batch.unwrap_or(config.hardware.batch));
    object["chosen"] =
        json!({ "id": chosen.id, "predicted": old_score, "costs": old_costs, "meets_budget": meets });
    object["gain_points"] = json!(100.0 * (answer.best.score - old_score));
    if global.json {
        return Ok(talk::data_line(&object.to_string())?);
    }
    let verdict = if meets { "meets" } else { "misses" };
    talk::data_line(&format!("the run's network {} {verdict} the budget on {}", chosen.id, chip.name))?;
    let new_costs = chip.prices.of(&answer.best.candidate)?;
    talk::data_line(&format!("{:<24} {:>16} {:>16}", "", "the run's", "new"))?;
    talk::data_line(&format!(
        "{:<24} {:>14.2} % {:>14.2} %",
        "predicted accuracy",
        100.0 * old_score,
        100.0 * answer.best.score
    ))?;
    for (name, value) in &new_costs {
        let old = old_costs.get(name).map_or(String::new(), |old| amount(name, *old));
        talk::data_line(&format!("{:<24} {old:>16} {:>16}", plain_name(name), amount(name, *value)))?;
    }
    Ok(talk::data_line(&asked.candidate(&answer.best)?.to_string())?)
}
