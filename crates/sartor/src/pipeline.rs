//! # Pipeline: from images to a verified model, on one screen
//!
//! APQ, Algorithm 1 ("joint search of network architecture, channel and quantization policy"): train once, sample
//! accuracies, fit a full-precision predictor, transfer it to mixed precision, search under a budget, fine-tune.

use anyhow::Result;

use crate::methods::{self, Way};
use crate::session::Session;
use crate::stages::profile::Prices;
use crate::stages::search::{Choice, Knowledge, proposed};
use crate::stages::train::TrainedSupernet;
use crate::stages::{export, finetune, fit, profile, report, sample, search, train, transfer, verify};
use crate::talk;

/// Every stage in order; those whose inputs have not changed are skipped.
///
/// # Errors
/// Whatever a stage fails with; what earlier stages made is kept.
pub fn run(session: &Session) -> Result<()> {
    let costs = profile::run(session)?;
    search::check_budget(session, &costs)?;
    let supernet = train::run(session)?;
    let choice = choose(session, &supernet, &costs)?;
    let models = finetune::run(session, &supernet, &choice)?;
    let files = export::run(session, models)?;
    verify::run(session, &files)?;
    report::run(session)
}

/// Everything before the search, for methods that will share it.
///
/// # Errors
/// As [`run`].
pub fn prepare(session: &Session) -> Result<()> {
    profile::run(session)?;
    let supernet = train::run(session)?;
    let full_precision = fit::run(session, &sample::full_precision(session, &supernet)?)?;
    transfer::run(session, &full_precision, &sample::mixed_precision(session, &supernet)?)?;
    Ok(())
}

/// The supernet and the prices alone.
///
/// # Errors
/// As [`run`].
pub fn prepare_supernet(session: &Session) -> Result<()> {
    profile::run(session)?;
    train::run(session).map(drop)
}

/// Everything up to the search's choice.
///
/// # Errors
/// As [`run`].
pub fn until_searched(session: &Session) -> Result<()> {
    let costs = profile::run(session)?;
    search::check_budget(session, &costs)?;
    let supernet = train::run(session)?;
    choose(session, &supernet, &costs).map(drop)
}

/// Everything up to the fine-tuned models, without files for runtimes.
///
/// # Errors
/// As [`run`].
pub fn until_finetuned(session: &Session) -> Result<()> {
    let costs = profile::run(session)?;
    search::check_budget(session, &costs)?;
    let supernet = train::run(session)?;
    let choice = choose(session, &supernet, &costs)?;
    finetune::run(session, &supernet, &choice).map(drop)
}

/// The method's choice; every method gets the same supernet and the same prices.
fn choose(session: &Session, supernet: &TrainedSupernet, costs: &Prices) -> Result<Choice> {
    let method = methods::named(&session.config.method.name)?;
    talk::stage_line("method", &format!("{}: {} ({})", method.name, method.title, method.paper));
    match method.way {
        Way::Joint => joint(session, supernet, costs),
        Way::Proposing { samples, propose } => {
            let pairs = samples.then(|| sample::full_precision(session, supernet)).transpose()?;
            proposed::run(session, (method, propose), (supernet, pairs.as_ref()), costs)
        }
        Way::FromQuantized(propose) => {
            let pairs = sample::mixed_precision(session, supernet)?;
            proposed::run(session, (method, propose), (supernet, Some(&pairs)), costs)
        }
    }
}

/// The papers' own: a predictor of quantized accuracies, searched under the budget.
fn joint(session: &Session, supernet: &TrainedSupernet, costs: &Prices) -> Result<Choice> {
    let pairs = sample::full_precision(session, supernet)?;
    let full_precision = fit::run(session, &pairs)?;
    let quantized_pairs = sample::mixed_precision(session, supernet)?;
    let predictor = transfer::run(session, &full_precision, &quantized_pairs)?;
    let knowledge =
        Knowledge { predictor: &predictor, full_precision: &full_precision, pairs: &quantized_pairs };
    search::run(session, supernet, &knowledge, costs)
}
