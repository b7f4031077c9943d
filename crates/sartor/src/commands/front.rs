//! `sartor front`: accuracy against latency and energy, from a finished run.
//!
//! Searches at latency budgets from the cheapest network to the largest leave everything they score to one archive of
//! candidates that nothing dominates; a multi-objective search then starts from that archive.

use std::path::Path;

use anyhow::{Context, Result};
use sartor_search::strategies::{evolution, nsga};
use sartor_search::{Budget, Evaluation, Memory, Metric, ParetoFront, SearchError, Strategy};
use serde::Serialize;
use serde_json::json;

use super::asked::Asked;
use crate::cli::{FrontArguments, Global};
use crate::progress::Progress;
use crate::report::front_page;
use crate::run_folder::artefact;
use crate::stages::Stage;
use crate::stages::search::asking::{Asking, Effort, FRONT_METRICS, gather};
use crate::stages::search::fleet::Fleet;
use crate::talk;

/// Latency budgets, and evaluations at each.
const BUDGETS: usize = 12;
const EVALUATIONS: u64 = 1500;
/// Evaluations of the multi-objective search.
const POLISH: u64 = 8000;
const POPULATION: usize = 200;

/// One row of `front.csv`.
#[derive(Debug, Serialize)]
struct Row {
    id: String,
    predicted: f64,
    latency_ms: f64,
    energy_mj: f64,
    bitops: f64,
    size_bytes: f64,
    macs: f64,
    candidate: String,
}

/// Finds the front, writes `front.csv` and `front.html`.
///
/// # Errors
/// An infeasible budget (exit code 3), or a folder that cannot be written.
pub fn run(arguments: &FrontArguments, global: &Global) -> Result<()> {
    let asked = Asked::open(&arguments.target, global)?;
    let (flags, none) = (arguments.budget.budget(), crate::config::sections::Budget::default());
    let chip = asked.chip_or(arguments.hardware.as_ref(), &flags, &none, None)?;
    let fleet = Fleet::new([&chip])?;
    let budget = fleet.budget()?;
    let asking = Asking::new(&asked.session.config.search, &asked.predictor);
    let started = std::time::Instant::now();
    let front = find(&asking, &fleet, &budget, asked.session.seed(Stage::Search))?;
    let members: Vec<Evaluation> = by_latency(&front).into_iter().cloned().collect();
    let folder = arguments.out.clone().unwrap_or_else(|| asked.session.folder.path("front"));
    let (table, page) = (folder.join("front.csv"), folder.join("front.html"));
    artefact::write(&table, &csv(&asked, &members)?)?;
    artefact::write(&page, front_page(&asked.session.config.name, &chip.name, &members).as_bytes())?;
    say(&members, (&table, &page), started.elapsed().as_secs_f64(), global.json)
}

fn find(asking: &Asking<'_>, fleet: &Fleet<'_>, budget: &Budget, seed: u64) -> Result<ParetoFront> {
    let mut front = ParetoFront::new(FRONT_METRICS);
    let mut progress = Progress::new("front", BUDGETS as u64 + 1, 0);
    for (step, limit) in latencies(fleet, budget)?.into_iter().enumerate() {
        let limits = budget.limits().iter().copied().filter(|limit| limit.0 != Metric::LatencyMs);
        let tightened = Budget::new(limits.chain([(Metric::LatencyMs, limit)]))?;
        fleet.within_budget(tightened, &|_, _, _| true, |domain| {
            let strategy = Box::new(evolution::Evolution::new(evolution::Settings::default())?);
            let effort = Effort::Evaluations(EVALUATIONS);
            asking.run(domain, strategy, effort, seed.wrapping_add(step as u64), |batch| {
                gather(&mut front, batch)
            })
        })?;
        progress.at(step as u64 + 1, &format!("{} candidates", front.members().len()));
    }
    polish(asking, fleet, budget, seed, &mut front)?;
    Ok(front)
}

/// From the cheapest network to the largest (or the budget), in equal ratios.
fn latencies(fleet: &Fleet<'_>, budget: &Budget) -> Result<Vec<f64>> {
    let largest = fleet.chips()[0].limits.largest.get(Metric::LatencyMs.name()).copied();
    let most = budget.limit(Metric::LatencyMs).or(largest).context("latency is not priced")?;
    let cheapest: f64 = fleet.within_budget(budget.clone(), &|_, _, _| true, |domain| {
        let found = domain.cheapest(Metric::LatencyMs);
        Ok(found.ok_or(SearchError::NotPriced { metric: Metric::LatencyMs })?.0)
    })?;
    let least = (1.02 * cheapest).min(most);
    let at = |step: usize| least * (most / least).powf((step + 1) as f64 / BUDGETS as f64);
    Ok((0..BUDGETS).map(at).collect())
}

fn polish(
    asking: &Asking<'_>,
    fleet: &Fleet<'_>,
    budget: &Budget,
    seed: u64,
    front: &mut ParetoFront,
) -> Result<()> {
    let settings = nsga::Settings { population: POPULATION, ..nsga::Settings::default() };
    let mut strategy = nsga::Nsga::new(settings, &FRONT_METRICS)?;
    strategy.restore(Memory { evaluations: front.members().to_vec(), counters: Vec::new() });
    fleet.within_budget(budget.clone(), &|_, _, _| true, |domain| {
        asking
            .run(domain, Box::new(strategy), Effort::Evaluations(POLISH), seed, |batch| gather(front, batch))
    })?;
    Ok(())
}

fn by_latency(front: &ParetoFront) -> Vec<&Evaluation> {
    let mut members = front.sorted();
    members.sort_by(|a, b| a.costs.get(Metric::LatencyMs).total_cmp(&b.costs.get(Metric::LatencyMs)));
    members
}

fn csv(asked: &Asked, members: &[Evaluation]) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    for member in members {
        let cost = |metric: Metric| member.costs.get(metric);
        writer.serialize(Row {
            id: member.candidate.id(),
            predicted: member.score,
            latency_ms: cost(Metric::LatencyMs),
            energy_mj: cost(Metric::EnergyMj),
            bitops: cost(Metric::BitOps),
            size_bytes: cost(Metric::SizeBytes),
            macs: cost(Metric::Macs),
            candidate: member.candidate.to_json(&asked.session.config.space),
        })?;
    }
    writer.into_inner().map_err(|error| anyhow::anyhow!("cannot write the front: {error}"))
}

fn say(members: &[Evaluation], (table, page): (&Path, &Path), seconds: f64, json: bool) -> Result<()> {
    if json {
        let object = json!({ "points": members.len(), "csv": table, "picture": page, "seconds": seconds });
        return Ok(talk::data_line(&object.to_string())?);
    }
    talk::data_line(&format!("{} candidates that nothing dominates, in {seconds:.1} s", members.len()))?;
    talk::data_line(&table.display().to_string())?;
    Ok(talk::data_line(&page.display().to_string())?)
}
