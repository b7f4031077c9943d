//! # Pipeline: from images to a verified model, on one screen
//!
//! APQ, Algorithm 1 ("joint search of network architecture, channel and quantization policy"): train once, sample
//! accuracies, fit a full-precision predictor, transfer it to mixed precision, search under a budget, fine-tune.

use anyhow::Result;

use crate::session::Session;
use crate::stages::search::Knowledge;
use crate::stages::{export, finetune, fit, profile, report, sample, search, train, transfer, verify};

/// Every stage in order; those whose inputs have not changed are skipped.
///
/// # Errors
/// Whatever a stage fails with; what earlier stages made is kept.
pub fn run(session: &Session) -> Result<()> {
    let costs = profile::run(session)?;
    search::check_budget(session, &costs)?;
    let supernet = train::run(session)?;
    let pairs = sample::full_precision(session, &supernet)?;
    let full_precision = fit::run(session, &pairs)?;
    let quantized_pairs = sample::mixed_precision(session, &supernet)?;
    let predictor = transfer::run(session, &full_precision, &quantized_pairs)?;
    let knowledge =
        Knowledge { predictor: &predictor, full_precision: &full_precision, pairs: &quantized_pairs };
    let choice = search::run(session, &supernet, &knowledge, &costs)?;
    let models = finetune::run(session, &supernet, &choice)?;
    let files = export::run(session, models)?;
    verify::run(session, &files)?;
    report::run(session)
}
