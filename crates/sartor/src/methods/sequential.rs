//! # Sequential: architecture, then channels, then bits
//!
//! EMS, equations 1 to 3 and table 2, the papers' strongest opponent: ProxylessNAS, pruned by AMC, quantized by HAQ, each
//! the best of its own stage. Without pruning it is the "NAS + quantization" of Gong and others, table IV. The stages
//! share the budget as the papers' did (13.14 ms, 9.77 ms, 8.45 ms): the architecture may cost 1.555 and the pruned
//! network 1.156 times the budget at 8 bits, `method.sequential` says otherwise.
//!
//! `architecture = "proxyless"` is the papers' pipeline; `"evolution"` finds the architecture at 8 bits by evolution scored
//! with the supernet's own weights (see `spos`).
//!
//! What differs: pruning and quantization work on the supernet's weights. Among the architectures found, the first that
//! pruning can bring within its limits is taken; if there is none, the search is repeated within those limits.

use anyhow::{Context, Result};
use sartor_search::episodes::Found;
use sartor_search::{Domain, amc::narrowest, haq::lowered};
use sartor_space::{Candidate, Subnet};

use super::{Bench, Proposal, agents, amc, haq, proxyless, spos};
use crate::config::methods::EVOLUTION;
use crate::records::Generation;
use crate::stages::search::hunt::Kind;
use crate::stages::search::limits::Limits;
use crate::talk;

/// Width of architecture and pruning.
const BITS: u8 = 8;
/// Architectures remembered, so that one of them can be pruned far enough.
const REMEMBERED: usize = 200;

/// Policies of the pruned architecture within the budget.
///
/// # Errors
/// When one of the stages cannot meet its limits, or whatever scoring fails with.
pub fn propose(bench: &Bench<'_>) -> Result<Proposal> {
    let mut path = Path::default();
    let architecture = path.architecture(bench)?;
    let subnet = match bench.session.config.method.sequential.pruning {
        true => path.pruned(bench, &architecture)?,
        false => architecture.subnet,
    };
    path.quantized(bench, &subnet)
}

/// What the stages before the present one did.
#[derive(Default)]
struct Path {
    history: Vec<Generation>,
    evaluated: u64,
}

impl Path {
    fn architecture(&mut self, bench: &Bench<'_>) -> Result<Candidate> {
        let sequential = &bench.session.config.method.sequential;
        let wide = bench.limits.scaled(sequential.architecture_limit)?;
        let narrow = bench.limits.scaled(sequential.pruning_limit)?;
        let target = if sequential.pruning { &narrow } else { &bench.limits };
        let ranked = self.architectures(bench, &wide)?;
        if let Some(found) = first_possible(bench, target, &ranked)? {
            return Ok(found);
        }
        talk::stage_line("search sequential", "no architecture can be pruned enough; searching smaller ones");
        let ranked = self.architectures(bench, target)?;
        ranked.into_iter().next().context("an architecture search without result")
    }

    fn architectures(&mut self, bench: &Bench<'_>, limits: &Limits) -> Result<Vec<Candidate>> {
        match bench.session.config.method.sequential.architecture.as_str() {
            EVOLUTION => self.evolved(bench, limits),
            _ => self.descended(bench, limits),
        }
    }

    /// Architectures at 8 bits by their accuracy with inherited weights.
    fn evolved(&mut self, bench: &Bench<'_>, limits: &Limits) -> Result<Vec<Candidate>> {
        let evolve = |domain: &Domain<'_>| spos::evolve(bench, domain, REMEMBERED);
        let (ranked, outcome) = bench.within(limits, Kind::Uniform(BITS), evolve)?;
        self.add(outcome.evaluated, outcome.history);
        Ok(ranked.into_iter().map(|evaluation| evaluation.candidate).collect())
    }

    /// The architecture that ProxylessNAS finds, at 8 bits.
    fn descended(&mut self, bench: &Bench<'_>, limits: &Limits) -> Result<Vec<Candidate>> {
        let search = |domain: &Domain<'_>| proxyless::search(bench, domain);
        let found = bench.within(limits, Kind::Searched, search)?;
        self.add(found.evaluated, found.history);
        Ok(found.ranked.into_iter().map(|wanted| wanted.candidate).collect())
    }

    fn pruned(&mut self, bench: &Bench<'_>, architecture: &Candidate) -> Result<Subnet> {
        let limits = bench.limits.scaled(bench.session.config.method.sequential.pruning_limit)?;
        let found =
            bench.within(&limits, Kind::Searched, |domain| Ok(amc::search(bench, domain, architecture)?))?;
        let subnet = quantizable_best(bench, &found)?;
        let proposal = agents::proposal(found, 0);
        self.add(proposal.evaluated, proposal.history);
        Ok(subnet)
    }

    fn quantized(mut self, bench: &Bench<'_>, subnet: &Subnet) -> Result<Proposal> {
        let found =
            bench.within(&bench.limits, Kind::Searched, |domain| Ok(haq::search(bench, domain, subnet)?))?;
        let proposal = agents::proposal(found, bench.session.config.search.measure);
        self.add(proposal.evaluated, proposal.history);
        Ok(Proposal { evaluated: self.evaluated, history: self.history, ..proposal })
    }

    /// Appends a stage's rows; numbers run on.
    fn add(&mut self, evaluated: u64, history: Vec<Generation>) {
        let (first, before) = (self.history.len() as u64, self.evaluated);
        self.history.extend(history.into_iter().enumerate().map(|(index, row)| Generation {
            generation: first + index as u64,
            evaluated: before + row.evaluated,
            ..row
        }));
        self.evaluated += evaluated;
    }
}

/// The best architecture that pruning (or, without it, fewer bits) can bring within the limits.
fn first_possible(bench: &Bench<'_>, limits: &Limits, ranked: &[Candidate]) -> Result<Option<Candidate>> {
    let config = &bench.session.config.method;
    let pruning = config.sequential.pruning;
    bench.within(limits, Kind::Searched, |domain| {
        let narrowed = |candidate: &Candidate| match pruning {
            true => narrowest(domain, candidate, config.amc.least_kept),
            false => candidate.clone(),
        };
        let fits = |least: &Candidate| !pruning || domain.allows(least);
        first_quantizable(bench, ranked.iter(), |candidate| {
            Some(narrowed(candidate)).filter(|least| fits(least))
        })
    })
}

/// The first candidate that, once cut, fewer bits bring within the budget itself.
fn first_quantizable<'a>(
    bench: &Bench<'_>,
    mut candidates: impl Iterator<Item = &'a Candidate>,
    cut: impl Fn(&Candidate) -> Option<Candidate>,
) -> Result<Option<Candidate>> {
    bench.within(&bench.limits, Kind::Searched, |domain| {
        let quantizable = |candidate: &Candidate| -> bool {
            let least = cut(candidate).map(|least| lowered(domain, &least));
            least.is_some_and(|least| least.is_ok_and(|least| domain.allows(&least)))
        };
        Ok(candidates.find(|candidate| quantizable(candidate)).cloned())
    })
}

/// The best pruned network that fewer bits bring within the budget; the best of all if there is none, so that
/// the error says what it would need.
fn quantizable_best(bench: &Bench<'_>, found: &Found) -> Result<Subnet> {
    let candidates = found.ranked.iter().map(|evaluation| &evaluation.candidate);
    if let Some(candidate) = first_quantizable(bench, candidates, |pruned| Some(pruned.clone()))? {
        return Ok(candidate.subnet);
    }
    let best = found.ranked.first().context("a pruning without result")?;
    Ok(best.candidate.subnet.clone())
}
