//! # ProxylessNAS: an architecture by gradient descent, one path at a time
//!
//! Cai and others, "On-Device Image Classification with Proxyless Neural Architecture Search and Quantization-Aware
//! Fine-tuning" (2019). The algorithm is `sartor_supernet::differentiable::proxyless`. It searches in full precision
//! with prices at 8 bits; the found network is then quantized to 8 bits like any other's. The target is the budget. A search within other limits (see
//! [`super::sequential`]) has a checkpoint of its own.

use anyhow::Result;
use sartor_search::{Domain, Metric};
use sartor_space::Candidate;
use sartor_supernet::differentiable::proxyless::Search;

use super::gradient::{self, Aim};
use super::{Bench, Proposal};
use crate::stages::search::hunt::Kind;

/// The most probable path near the limit, at 8 bits.
///
/// # Errors
/// An infeasible budget, or divergence.
pub fn propose(bench: &Bench<'_>) -> Result<Proposal> {
    bench.within(&bench.limits, Kind::Searched, |domain| search(bench, domain))
}

/// The same within any domain, for searches that go on from the architecture.
///
/// # Errors
/// As [`propose`].
pub fn search(bench: &Bench<'_>, domain: &Domain<'_>) -> Result<Proposal> {
    let settings = &bench.session.config.method.proxyless;
    let aim = Aim::of(bench, domain, (settings.metric.as_deref(), Metric::LatencyMs))?;
    let weights = gradient::start(bench, settings.start);
    let mut search_settings = settings.search.clone();
    search_settings.target = aim.percent().unwrap_or(search_settings.target);
    let label = format!("proxyless-{}", search_settings.target);
    let (choices, outcome) = gradient::with_costs(bench, domain, &aim, |costs| {
        let dataset = bench.session.dataset()?;
        let space = domain.space();
        let mut search = Search::new(space, dataset, costs, &weights, search_settings, bench.seed())?;
        gradient::run(bench, ("proxyless", &label), &mut search, aim.reference)?;
        let allowed = |candidate: &Candidate| domain.allows(&gradient::deployed(space, candidate));
        let limit = aim.limit.unwrap_or(f64::MAX);
        Ok((search.choices().clone(), search.finish_near(limit, &allowed)?))
    })?;
    gradient::propose(bench, &aim, &choices, &outcome)
}
