//! # Joint search without transfer
//!
//! EMS, table 2, "Ours-A (w/o transfer)": the same mixed-precision pairs, but the predictor starts fresh instead of from
//! full precision; then the same evolution. One round, as the papers': nothing is measured before the search has ended.

use anyhow::{Context, Result};
use sartor_predictor::Predictor;

use super::{Bench, Proposal};
use crate::stages::Stage;
use crate::stages::search::hunt::{self, Kind};

/// Candidates within the budget, by a predictor fitted on mixed-precision pairs alone.
///
/// # Errors
/// An infeasible budget, or pairs that cannot be fitted.
pub fn propose(bench: &Bench<'_>) -> Result<Proposal> {
    let (session, config) = (bench.session, &bench.session.config);
    let pairs = bench.pairs.context("no accuracies were sampled")?.load(session)?;
    let (settings, seed) = (&config.predictor, session.seed(Stage::Transfer));
    let predictor = Predictor::fit_with(&config.space, &pairs, settings.method(), &settings.fit(), seed)?;
    let found = bench.within(&bench.limits, Kind::Searched, |domain| {
        hunt::loop_over(session, domain, &predictor, Kind::Searched)
    })?;
    bench.count(|meter| {
        meter.asked_predictor(found.evaluated);
        meter.tried(&found.tried);
    });
    let ranked = hunt::to_measure(&found, config.search.measure, 0, &Default::default());
    let stop_reason = found.stop_reason.to_owned();
    Ok(Proposal { ranked, evaluated: found.evaluated, stop_reason, history: found.history })
}
