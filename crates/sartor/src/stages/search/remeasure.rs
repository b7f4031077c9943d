//! Measures what the predictor only guessed: calibrated, briefly fine-tuned, scored on validation, as in sampling.

use anyhow::{Context, Result};
use sartor_space::Candidate;
use sartor_supernet::Supernet;
use sartor_supernet::sampling::Sampler;

use super::hunt::Wanted;
use crate::progress::Progress;
use crate::records::Measured;
use crate::run_folder::checkpoint::Checkpoint;
use crate::session::Session;
use crate::stages::Stage;
use crate::stages::profile::Prices;
use crate::stages::sample::sampler;

/// What one round of searching wants measured.
pub struct Round<'a> {
    /// From 1.
    pub number: usize,
    /// In this order.
    pub wanted: &'a [Wanted],
}

/// Checkpoint of what is measured already.
const MEASURED: &str = "measured.json";
/// All candidates are fine-tuned with the same random numbers, so that they differ by what they are alone.
const STREAM: usize = 0;

/// Measures one more round on top of what earlier rounds measured; those in the checkpoint are kept. The round's first candidate
/// bears the work of getting ready, in a resumed process too.
///
/// # Errors
/// Divergence, or an unwritable folder.
pub fn run(
    session: &Session,
    weights: &Supernet,
    round: &Round<'_>,
    mut measured: Vec<Measured>,
    prices: &Prices,
    checkpoint: &Checkpoint,
) -> Result<Vec<Measured>> {
    let before = measured.len();
    let kept = resume(checkpoint)?;
    measured.extend(kept.into_iter().skip(before).take(round.wanted.len()));
    let mut sampler = sampler(session, weights, Stage::Search)?;
    let setup = sampler.prepare()?;
    let done = measured.len() - before;
    let mut progress = Progress::new("measure candidates", round.wanted.len() as u64, done as u64);
    for (index, wanted) in round.wanted.iter().enumerate().skip(done) {
        let mut found = measure(session, &mut sampler, (round.number, wanted), prices, &measured)?;
        if index == 0 {
            found.work += setup;
        }
        progress.at(index as u64 + 1, &format!("{} {:.2} %", wanted.role, 100.0 * found.measured.value));
        measured.push(found);
        checkpoint.write(MEASURED, &serde_json::to_vec(&measured)?)?;
    }
    Ok(measured)
}

fn resume(checkpoint: &Checkpoint) -> Result<Vec<Measured>> {
    let text = checkpoint.read(MEASURED)?;
    let measured = text.map(|text| serde_json::from_slice(&text)).transpose();
    Ok(measured.context("cannot understand the search checkpoint")?.unwrap_or_default())
}

fn measure(
    session: &Session,
    sampler: &mut Sampler<'_>,
    (round, wanted): (usize, &Wanted),
    prices: &Prices,
    before: &[Measured],
) -> Result<Measured> {
    let candidate: &Candidate = &wanted.candidate;
    let id = candidate.id();
    let known = before.iter().find(|other| other.id == id).map(|other| other.measured);
    let done = sampler.work();
    let measured = match known {
        Some(accuracy) => accuracy,
        None => sampler.measure_mixed(candidate, STREAM)?.into(),
    };
    Ok(Measured {
        id,
        role: wanted.role.clone(),
        round,
        candidate: serde_json::from_str(&candidate.to_json(&session.config.space))?,
        predicted: wanted.predicted,
        measured,
        costs: prices.of(candidate)?,
        work: sampler.work().since(done),
    })
}
