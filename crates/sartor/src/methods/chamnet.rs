//! # ChamNet: a Gaussian process on accuracies, then evolution
//!
//! Dai and others, "ChamNet: Towards Efficient Network Design through Platform-Aware Model Adaptation", 2019: an
//! accuracy predictor (Gaussian process regression, section 3.2) fitted on sampled full-precision networks, a cost
//! look-up table of the chip (section 3.3), and an evolutionary search that asks only these two.
//!
//! What differs: the accuracies are those of the supernet's subnets instead of networks trained one by one (their 240
//! networks took most of their time); samples are uniform instead of chosen where the process is least certain; the
//! process is `sartor_predictor`'s. The architecture is chosen by its full-precision accuracy and then runs at 8
//! bits everywhere, because the chips here have no float units: that is what "full precision" can be deployed as.

use anyhow::{Context, Result};
use sartor_predictor::{Method, Predictor};

use super::{Bench, Proposal};
use crate::stages::Stage;
use crate::stages::search::hunt::{self, Kind, Wanted};

/// Width that the architecture runs at.
const BITS: u8 = 8;

/// Architectures within the budget at 8 bits, by predicted full-precision accuracy.
///
/// # Errors
/// An infeasible budget, or pairs that cannot be fitted.
pub fn propose(bench: &Bench<'_>) -> Result<Proposal> {
    let (session, config) = (bench.session, &bench.session.config);
    let pairs = bench.pairs.context("no accuracies were sampled")?.load(session)?;
    let (fit, seed) = (config.predictor.fit(), session.seed(Stage::Fit));
    let predictor = Predictor::fit_with(&config.space, &pairs, Some(Method::Process), &fit, seed)?;
    let found = bench.within(&bench.limits, Kind::Uniform(BITS), |domain| {
        hunt::loop_over(session, domain, &predictor, Kind::Uniform(BITS))
    })?;
    bench.count(|meter| {
        meter.asked_predictor(found.evaluated);
        meter.tried(&found.tried);
    });
    let wanted = hunt::to_measure(&found, config.search.measure, 0, &Default::default());
    Ok(Proposal {
        ranked: wanted.into_iter().map(Wanted::into_searched).collect(),
        evaluated: found.evaluated,
        stop_reason: found.stop_reason.to_owned(),
        history: found.history,
    })
}
