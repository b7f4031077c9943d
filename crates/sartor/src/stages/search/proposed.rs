//! The search stage of methods that propose: the method, then the same measuring as for any other.

use anyhow::{Context, Result};
use rand_chacha::ChaCha8Rng;

use super::limits::Limits;
use super::remeasure::{self, Round};
use super::{Choice, any_extrapolated, better, keep};
use crate::methods::{Bench, Method, Proposal};
use crate::progress::seconds;
use crate::records::{Best, Counters, Measured};
use crate::run_folder::checkpoint::Checkpoint;
use crate::session::{SEARCH_SECONDS, Session};
use crate::stages::Stage;
use crate::stages::profile::Prices;
use crate::stages::sample::Pairs;
use crate::stages::train::TrainedSupernet;
use crate::talk;

/// How a method finds its candidates.
pub type Propose = fn(&Bench<'_>) -> Result<Proposal>;

/// Proposes and measures, or keeps what is there.
///
/// # Errors
/// An infeasible budget, or whatever the method or measuring fails with.
pub fn run(
    session: &Session,
    (method, propose): (&Method, Propose),
    (supernet, pairs): (&TrainedSupernet, Option<&Pairs>),
    prices: &Prices,
) -> Result<Choice> {
    let config = &session.config;
    let inputs = session.inputs().section("search", &config.search).section("method", &config.method);
    let inputs = inputs.section("samples.finetune", &config.samples.finetune);
    let inputs = inputs.section("predictor", &config.predictor);
    let inputs = inputs.artefacts(supernet.artefacts()).artefacts(prices.artefacts());
    let inputs = inputs.artefacts(pairs.iter().flat_map(|pairs| pairs.artefacts()));
    let artefacts = session.stage(Stage::Search, inputs.build(), |checkpoint| {
        let weights = supernet.weights(session)?;
        let limits = Limits::resolve(&config.search.budget, &config.space, prices)?;
        let bench = Bench::new(session, (&weights, pairs), (prices, limits), checkpoint)?;
        let proposal = search(&bench, method, propose)?;
        finish(&bench, (method, bench.counters()), proposal, checkpoint)
    })?;
    Ok(Choice::of(artefacts))
}

fn search(bench: &Bench<'_>, method: &Method, propose: Propose) -> Result<Proposal> {
    let started = std::time::Instant::now();
    let proposal = propose(bench)?;
    let took = started.elapsed().as_secs_f64();
    bench.session.note_measured(SEARCH_SECONDS, took)?;
    let took = seconds(took);
    let text =
        format!("{}: {} candidates in {took}, {}", method.name, proposal.evaluated, proposal.stop_reason);
    talk::stage_line(Stage::Search.title(), &text);
    Ok(proposal)
}

fn finish(
    bench: &Bench<'_>,
    (method, counters): (&Method, Counters),
    proposal: Proposal,
    checkpoint: &Checkpoint,
) -> Result<Vec<String>> {
    let Bench { session, prices, limits, weights, .. } = bench;
    let wanted = &proposal.ranked;
    let measured =
        remeasure::run(session, weights, &Round { number: 1, wanted }, vec![], prices, checkpoint)?;
    let chances = &mut session.random(Stage::Search);
    let best = choose((method, counters), &measured, (limits, prices), &proposal, chances)?;
    keep(session, &best, &proposal.history, &measured)
}

/// The most accurate measured candidate; the most accurate of every other role stands beside it.
fn choose(
    (method, counters): (&Method, Counters),
    measured: &[Measured],
    (limits, prices): (&Limits, &Prices),
    proposal: &Proposal,
    rng: &mut ChaCha8Rng,
) -> Result<Best> {
    let best_of = |all: Vec<&Measured>| {
        all.into_iter().reduce(|best, other| if better(other, best) { other } else { best }).cloned()
    };
    let best = best_of(measured.iter().collect()).context("nothing was measured")?;
    let mut references: Vec<Measured> = Vec::new();
    for one in measured.iter().filter(|one| one.role != best.role) {
        let same: Vec<&Measured> = measured.iter().filter(|other| other.role == one.role).collect();
        if references.iter().all(|known| known.role != one.role) {
            references.extend(best_of(same));
        }
    }
    let chosen = std::iter::once(&best).chain(&references).map(|measured| &measured.candidate);
    Ok(Best {
        extrapolated: any_extrapolated(prices.space(), prices, chosen)?,
        best,
        references,
        budget: limits.as_costs(),
        largest: limits.largest.clone(),
        evaluated: proposal.evaluated,
        stop_reason: proposal.stop_reason.clone(),
        feasible_share: limits.feasible_share(prices, rng)?,
        method: method.name.to_owned(),
        counters,
    })
}
