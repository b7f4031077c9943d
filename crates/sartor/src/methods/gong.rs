//! # Gong: architecture and bits by gradient descent
//!
//! Gong and others, "Mixed Precision Neural Architecture Search for Energy Efficient Deep Learning" (2019). The
//! algorithm is `sartor_supernet::differentiable::gong`; here it gets the prices of the chip and the budget. λ pushes
//! the expected cost below the limit while searching; what is proposed is the most probable candidate within it.

use anyhow::Result;
use sartor_search::{Domain, Metric};
use sartor_space::Candidate;
use sartor_supernet::differentiable::derive::Window;
use sartor_supernet::differentiable::gong::{Search, Settings};
use sartor_supernet::differentiable::{Choices, Pinned};

use super::gradient::{self, Aim};
use super::{Bench, Proposal};
use crate::config::methods::Gradient;
use crate::stages::search::hunt::Kind;

/// Share by which what is found may cost less than the controller expects.
const TOLERANCE: f64 = 0.03;

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
        let high = aim.limit.unwrap_or(f64::MAX);
        let expected = search.expected_cost().min(high);
        // The most probable option of every choice may cost a good deal less than the controller expects to spend.
        let near = Window { low: (1.0 - TOLERANCE) * expected, high: expected };
        let windows = [near, Window { low: 0.0, high }];
        Ok(search.finish(&windows, &|candidate: &Candidate| domain.allows(candidate))?)
    })?;
    gradient::propose(bench, &aim, &choices, &outcome)
}
