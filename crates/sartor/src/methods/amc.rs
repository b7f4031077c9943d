//! # AMC in a run: which network is pruned, and how it is scored
//!
//! The algorithm, its paper and what differs stand in `sartor_search::amc`. The network to be pruned is a fixed one, as
//! in the paper: the largest of the space's family of one multiplier (`sartor_search::ladder`) that pruning can bring
//! within the budget at `method.amc.bits`. Its weights are the supernet's, in which the first channels matter most.

use anyhow::Result;
use sartor_search::amc::{Settings, narrowest, prune};
use sartor_search::episodes::Found;
use sartor_search::ladder::ladder;
use sartor_search::{Domain, SearchError};
use sartor_space::Candidate;

use super::bench::{Bench, Scoring};
use super::{Proposal, agents};
use crate::stages::search::hunt::Kind;

/// Pruned networks within the budget, by their accuracy without fine-tuning.
///
/// # Errors
/// When no member of the family can be pruned far enough, or whatever scoring fails with.
pub fn propose(bench: &Bench<'_>) -> Result<Proposal> {
    let found = bench.within(&bench.limits, Kind::Searched, |domain| {
        let base = base(bench, domain);
        Ok(search(bench, domain, &base)?)
    })?;
    Ok(agents::proposal(found, bench.session.config.search.measure))
}

/// The largest of the family that can be pruned enough; the smallest if there is none, so that the error says what it
/// would need.
fn base(bench: &Bench<'_>, domain: &Domain<'_>) -> Candidate {
    let settings = &bench.session.config.method.amc;
    let at_width = |subnet| {
        let policy = domain.space().uniform_policy(&subnet, settings.bits);
        Candidate { subnet, policy }
    };
    let possible = |base: &Candidate| domain.allows(&narrowest(domain, base, settings.least_kept));
    let family: Vec<Candidate> = ladder(domain.space()).into_iter().map(at_width).collect();
    let found = family.iter().find(|base| possible(base)).or(family.last()).cloned();
    found.unwrap_or_else(|| at_width(domain.space().smallest()))
}

/// Prunes one network.
///
/// # Errors
/// When it cannot be pruned far enough, or whatever scoring fails with.
pub fn search(bench: &Bench<'_>, domain: &Domain<'_>, base: &Candidate) -> Result<Found, SearchError> {
    let amc = &bench.session.config.method.amc;
    let settings = Settings {
        schedule: agents::schedule(amc.episodes, amc.warm_up),
        least_kept: amc.least_kept,
        agent: amc.agent,
    };
    let score = &mut |candidate: &Candidate| bench.accuracy(candidate, Scoring::Inherited(amc.images));
    prune(domain, base, &settings, bench.seed(), score, &mut agents::observer("amc", amc.episodes))
}
