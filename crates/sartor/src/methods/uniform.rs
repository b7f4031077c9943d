//! # Uniform: fixed networks at one width everywhere
//!
//! The papers' first baseline (EMS, table 2 and figure 3): a network that people designed, MobileNetV2 (Sandler and
//! others, 2018), at 8, 6 and 4 bits, made smaller by one multiplier until it meets the budget. Nothing is searched.
//!
//! What differs: MobileNetV2 itself has other channels than any space here, so its weights are not in the supernet.
//! The fixed network is the largest of the space's own family of one multiplier (`sartor_search::ladder`) that meets
//! the budget at the width. `sartor cost --network mobilenet-v2` and `proxyless-mobile` price the published ones.

use anyhow::Result;
use sartor_search::ladder::ladder;
use sartor_search::{Domain, Metric, SearchError};
use sartor_space::{Candidate, Subnet};

use super::{Bench, Proposal};
use crate::stages::search::hunt::{Kind, Wanted};

/// The largest fixed network within the budget at every width.
///
/// # Errors
/// When there is none at any width.
pub fn propose(bench: &Bench<'_>) -> Result<Proposal> {
    let widths = &bench.session.config.method.uniform.bits;
    let ranked = bench.within(&bench.limits, Kind::Searched, |domain| {
        let found = widths.iter().filter_map(|&bits| Some((bits, largest_within(domain, bits)?)));
        let ranked: Vec<Wanted> = found.map(|(bits, candidate)| wanted(bits, candidate)).collect();
        if ranked.is_empty() {
            return Err(nothing(domain, widths).into());
        }
        Ok(ranked)
    })?;
    bench.count(|meter| ranked.iter().take(1).for_each(|wanted| meter.note(&wanted.candidate)));
    let evaluated = ranked.len() as u64;
    Ok(Proposal { ranked, evaluated, stop_reason: "nothing to search".to_owned(), history: Vec::new() })
}

fn wanted(bits: u8, candidate: Candidate) -> Wanted {
    Wanted { role: Kind::Uniform(bits).role(), candidate, predicted: 0.0 }
}

/// The largest network of the family that meets the budget with these bits.
pub fn largest_within(domain: &Domain<'_>, bits: u8) -> Option<Candidate> {
    let at_width = |subnet: Subnet| {
        let policy = domain.space().uniform_policy(&subnet, bits);
        Candidate { subnet, policy }
    };
    ladder(domain.space()).into_iter().map(at_width).find(|candidate| domain.allows(candidate))
}

/// The complaint that no member of the family meets the budget, with what the cheapest needs.
fn nothing(domain: &Domain<'_>, widths: &[u8]) -> SearchError {
    let space = domain.space();
    let bits = widths.iter().copied().min().unwrap_or(u8::MAX);
    let subnet = space.smallest();
    let policy = space.uniform_policy(&subnet, bits);
    let costs = domain.costs(&Candidate { subnet, policy });
    let violations = domain.budget().violations(&costs);
    let worst = violations.iter().max_by(|a, b| (a.value / a.limit).total_cmp(&(b.value / b.limit)));
    let (metric, limit, cheapest) =
        worst.map_or((Metric::LatencyMs, 0.0, 0.0), |worst| (worst.metric, worst.limit, worst.value));
    SearchError::Infeasible { metric, limit, cheapest }
}
