//! # HAQ in a run: which network is quantized, and how a policy is scored
//!
//! The algorithm, its paper and what differs stand in `sartor_search::haq`. The fixed network is the largest of the
//! space's family of one multiplier (`sartor_search::ladder`) that meets the budget at `method.haq.reference_bits`
//! everywhere: mixed widths then spend the same budget on the layers that need them, which is the comparison of the
//! paper's tables. Every policy is scored after a short fine-tune (the paper: one epoch), unless
//! `method.haq.finetune = false`.

use anyhow::Result;
use sartor_search::episodes::Found;
use sartor_search::haq::{Settings, lowered, quantize};
use sartor_search::ladder::ladder;
use sartor_search::{Domain, SearchError};
use sartor_space::{Candidate, Subnet};

use super::bench::{Bench, Scoring};
use super::{Proposal, agents, uniform};
use crate::stages::search::hunt::Kind;

/// Width of the original network.
const ORIGINAL_BITS: u8 = 8;

/// Policies of the fixed network within the budget, by their accuracy.
///
/// # Errors
/// When no member of the family meets the budget with any bits, or whatever scoring fails with.
pub fn propose(bench: &Bench<'_>) -> Result<Proposal> {
    let found = bench.within(&bench.limits, Kind::Searched, |domain| {
        let architecture = architecture(bench, domain)?;
        Ok(search(bench, domain, &architecture)?)
    })?;
    Ok(agents::proposal(found, bench.session.config.search.measure))
}

/// The fixed network; where the budget is too tight for it, the largest that fewer bits bring within.
fn architecture(bench: &Bench<'_>, domain: &Domain<'_>) -> Result<Subnet, SearchError> {
    let bits = bench.session.config.method.haq.reference_bits;
    if let Some(candidate) = uniform::largest_within(domain, bits) {
        return Ok(candidate.subnet);
    }
    for subnet in ladder(domain.space()) {
        if domain.allows(&lowered(domain, &original(domain, &subnet))?) {
            return Ok(subnet);
        }
    }
    Ok(domain.space().smallest())
}

fn original(domain: &Domain<'_>, subnet: &Subnet) -> Candidate {
    let policy = domain.space().uniform_policy(subnet, ORIGINAL_BITS);
    Candidate { subnet: subnet.clone(), policy }
}

/// Chooses the bits of one architecture.
///
/// # Errors
/// When fewer bits do not reach the budget, or whatever scoring fails with.
pub fn search(bench: &Bench<'_>, domain: &Domain<'_>, subnet: &Subnet) -> Result<Found, SearchError> {
    let haq = &bench.session.config.method.haq;
    let how = if haq.finetune { Scoring::Finetuned } else { Scoring::Inherited(haq.images) };
    let base = original(domain, subnet);
    let settings = Settings {
        schedule: agents::schedule(haq.episodes, haq.warm_up),
        reward_scale: haq.reward_scale,
        original: bench.accuracy(&base, how)?,
        agent: haq.agent,
    };
    let score = &mut |candidate: &Candidate| bench.accuracy(candidate, how);
    quantize(domain, &base, &settings, bench.seed(), score, &mut agents::observer("haq", haq.episodes))
}
