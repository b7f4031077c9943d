//! # DNAS: bit-widths of one architecture by gradient descent
//!
//! Wu and others, "Mixed precision quantization of convnets via differentiable neural architecture search" (2018). The
//! algorithm is `sartor_supernet::differentiable::dnas`. The architecture is what `haq` starts from, too: the largest
//! fixed network that meets the budget at a reference width.

use anyhow::{Context, Result};
use sartor_search::Domain;
use sartor_supernet::differentiable::dnas;

use super::{Bench, Proposal, gong, uniform};
use crate::stages::search::hunt::Kind;

/// The most probable bit-widths within the limits.
///
/// # Errors
/// An infeasible budget, or divergence.
pub fn propose(bench: &Bench<'_>) -> Result<Proposal> {
    bench.within(&bench.limits, Kind::Searched, |domain| search(bench, domain))
}

fn search(bench: &Bench<'_>, domain: &Domain<'_>) -> Result<Proposal> {
    let settings = &bench.session.config.method.dnas;
    let bits = settings.reference_bits;
    let fixed = uniform::largest_within(domain, bits)
        .with_context(|| format!("no fixed network meets the budget at {bits} bits"))?;
    gong::search(bench, domain, ("dnas", &settings.gradient), &dnas::pinned(fixed.subnet))
}
