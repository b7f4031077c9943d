//! # Gong: architecture and bits by gradient descent
//!
//! Gong and others, "Mixed Precision Neural Architecture Search for Energy Efficient Deep Learning" (2019). The
//! algorithm is `sartor_supernet::differentiable::gong`; here it gets the prices of the chip and the budget. λ pushes
//! the expected cost below the limit while searching; what is proposed is the most probable candidate within it.

use anyhow::Result;
use sartor_search::{Domain, Metric};
use sartor_space::Candidate;
use sartor_supernet::differentiable::derive::as_expected;
use sartor_supernet::differentiable::gong::{Search, Settings};
use sartor_supernet::differentiable::{Choices, Pinned};

use super::gradient::{self, Aim};
use super::{Bench, Proposal};
use crate::config::methods::Gradient;
use crate::stages::search::hunt::Kind;

/// The most probable candidate that costs what the controller expects, within the limits.
///
/// # Errors
/// An infeasible budget, or divergence.
pub fn propose(bench: &Bench<'_>) -> Result<Proposal> {
    let settings = &bench.session.config.method.gong;
    bench.within(&bench.limits, Kind::Searched, |domain| {
        search(bench, domain, ("gong", settings), &Pinned::default())
    })
}

/// A search whose pinned choices stay; for [`super::dnas`] too.
///
/// # Errors
/// As [`propose`].
pub fn search(
    bench: &Bench<'_>,
    domain: &Domain<'_>,
    (name, settings): (&str, &Gradient<Settings>),
    pinned: &Pinned,
) -> Result<Proposal> {
    let aim = Aim::of(bench, domain, (settings.metric.as_deref(), Metric::EnergyMj))?;
    let weights = gradient::start(bench, settings.start);
    let choices = Choices::new(domain.space(), pinned)?;
    let mut search_settings = settings.search.clone();
    search_settings.limit = search_settings.limit.or_else(|| aim.percent());
    let outcome = gradient::with_costs(bench, domain, &aim, |costs| {
        let dataset = bench.session.dataset()?;
        let mut search =
            Search::new(dataset, choices.clone(), costs, &weights, search_settings, bench.seed())?;
        gradient::run(bench, (name, name), &mut search, aim.reference)?;
        let windows = as_expected(search.expected_cost(), aim.limit.unwrap_or(f64::MAX));
        Ok(search.finish(&windows, &|candidate: &Candidate| domain.allows(candidate))?)
    })?;
    gradient::propose(bench, &aim, &choices, &outcome)
}
