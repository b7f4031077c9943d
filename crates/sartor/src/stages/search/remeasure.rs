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

/// Checkpoint of what is measured already.
const MEASURED: &str = "measured.json";
/// All candidates are fine-tuned with the same random numbers, so that they differ by what they are alone.
const STREAM: usize = 0;

/// Measures all of them; those in the checkpoint are kept.
///
/// # Errors
/// Divergence, or an unwritable folder.
pub fn run(
    session: &Session,
    weights: &Supernet,
    wanted: &[Wanted],
    prices: &Prices,
    checkpoint: &Checkpoint,
) -> Result<Vec<Measured>> {
    let mut measured = resume(checkpoint)?;
    let mut sampler = sampler(session, weights, Stage::Search)?;
    let mut progress = Progress::new("measure candidates", wanted.len() as u64, measured.len() as u64);
    for (index, wanted) in wanted.iter().enumerate().skip(measured.len()) {
        measured.push(measure(session, &mut sampler, wanted, prices, &measured)?);
        checkpoint.write(MEASURED, &serde_json::to_vec(&measured)?)?;
        progress.at(
            index as u64 + 1,
            &format!("{} {:.2} %", wanted.role, 100.0 * measured[index].measured.value),
        );
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
    wanted: &Wanted,
    prices: &Prices,
    before: &[Measured],
) -> Result<Measured> {
    let candidate: &Candidate = &wanted.candidate;
    let id = candidate.id();
    let known = before.iter().find(|other| other.id == id).map(|other| other.measured);
    let measured = match known {
        Some(accuracy) => accuracy,
        None => sampler.measure_mixed(candidate, STREAM)?.into(),
    };
    Ok(Measured {
        id,
        role: wanted.role.clone(),
        candidate: serde_json::from_str(&candidate.to_json(&session.config.space))?,
        predicted: wanted.predicted,
        measured,
        costs: prices.of(candidate)?,
    })
}
