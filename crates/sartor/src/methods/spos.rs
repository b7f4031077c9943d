//! # SPOS: evolution scored by the supernet itself
//!
//! Guo and others, "Single Path One-Shot Neural Architecture Search with Uniform Sampling", 2019: one supernet,
//! trained by drawing one path a step uniformly (section 3.3); then evolution (section 3.4, algorithm 1: population
//! 50, top 10, 20 generations, half mutated with probability 0.1, half crossed over), every candidate scored on
//! validation images with inherited weights and recomputed batch-norm statistics. Bit-widths are choices like any
//! other (section 4.2).
//!
//! What differs: the supernet is the one every method here gets; in its last phases every step draws subnets
//! uniformly, as theirs does, after having been shrunk step by step. It was not trained with fake quantization, so a
//! candidate's thresholds and ranges are calibrated before it is scored. The first population meets the budget by
//! construction instead of being redrawn, and equal candidates breed once (both of `sartor_search`'s evolution).

use anyhow::Result;
use sartor_search::strategies::evolution::{Evolution, Settings};
use sartor_search::{Control, Domain, Evaluation, Limits, ObserverMode, Runner, SearchError};
use sartor_space::Candidate;

use super::Proposal;
use super::bench::{Bench, Scoring};
use crate::config::methods::Spos;
use crate::progress::Progress;
use crate::records::Generation;
use crate::stages::search::hunt::{self, Kind, Top, Wanted};

/// Candidates within the budget, by their accuracy with inherited weights.
///
/// # Errors
/// An infeasible budget, or whatever scoring fails with.
pub fn propose(bench: &Bench<'_>) -> Result<Proposal> {
    let most = bench.session.config.search.measure;
    let (ranked, evolved) =
        bench.within(&bench.limits, Kind::Searched, |domain| evolve(bench, domain, most))?;
    Ok(Proposal {
        ranked: ranked.into_iter().map(Wanted::searched).collect(),
        evaluated: evolved.evaluated,
        stop_reason: evolved.stop_reason.to_owned(),
        history: evolved.history,
    })
}

/// What an evolution did.
pub struct Evolved {
    /// Candidates scored.
    pub evaluated: u64,
    /// Why it stopped.
    pub stop_reason: &'static str,
    /// Generation by generation.
    pub history: Vec<Generation>,
}

/// Evolves candidates of a domain; the best `keep` by accuracy with inherited weights.
///
/// # Errors
/// Whatever scoring fails with.
pub fn evolve(bench: &Bench<'_>, domain: &Domain<'_>, keep: usize) -> Result<(Vec<Evaluation>, Evolved)> {
    let settings = &bench.session.config.method.spos;
    let (mut history, mut top) = (Vec::new(), Top::new(keep));
    let mut progress = Progress::new("search spos", settings.generations as u64 + 1, 0);
    let observe = |seen: &sartor_search::Progress<'_>| {
        history.push(hunt::generation(seen));
        progress.at(seen.generation, &format!("best inherited {:.2} %", 100.0 * seen.best.score));
        seen.batch.iter().for_each(|evaluation| top.offer(evaluation));
        Control::Continue
    };
    let outcome = Runner::new(domain, Box::new(Evolution::new(strategy(settings))?), bench.seed())
        .with_limits(Limits { generations: settings.generations as u64, ..Limits::default() })
        .with_observer(ObserverMode::Always, observe)
        .run(|candidates| scores(bench, candidates))?;
    let stop_reason = outcome.stop_reason.name();
    Ok((top.sorted(), Evolved { evaluated: outcome.evaluated, stop_reason, history }))
}

fn strategy(settings: &Spos) -> Settings {
    let mutated = settings.population / 2;
    Settings {
        population: settings.population,
        parents: settings.parents,
        mutated,
        crossed: settings.population - mutated,
        mutation_probability: settings.mutation_probability,
    }
}

fn scores(bench: &Bench<'_>, candidates: &[Candidate]) -> Result<Vec<f64>, SearchError> {
    let how = Scoring::Inherited(bench.session.config.method.spos.images);
    candidates.iter().map(|candidate| bench.accuracy(candidate, how)).collect()
}
