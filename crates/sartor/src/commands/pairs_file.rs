//! Fitting on any CSV of pairs, without a run folder.

use std::path::Path;

use anyhow::{Context, Result};
use sartor_predictor::{Pairs, Predictor};

use crate::cli::{Global, Holdout, PairsArguments};
use crate::config::load_space;
use crate::config::sections::Predictor as Settings;
use crate::failure::Failure;
use crate::stages::quality;
use crate::talk;

/// Fits on `samples` random pairs (four fifths if not given), judges on those held out, over several splits.
///
/// # Errors
/// A file that is no table of pairs of this space, or too few pairs.
pub fn fit(path: &Path, space: &str, arguments: &PairsArguments, global: &Global) -> Result<()> {
    let space = load_space(space)?;
    let pairs = read(path, &space)?;
    let seed = global.seed.unwrap_or(0);
    let (pairs, settings) = split(pairs, arguments, seed)?;
    let judged = quality::judge(&pairs, &settings, seed, |known, seed| {
        Ok(Predictor::fit_with(&space, known, settings.method(), &settings.fit(), seed)?)
    })?;
    let metrics = quality::metrics(judged.method, pairs.len(), &settings, judged);
    match global.json {
        true => talk::data_line(&quality::to_json(&metrics).to_string())?,
        false => talk::data_line(&quality::line(&metrics))?,
    }
    Ok(())
}

fn read(path: &Path, space: &sartor_space::SearchSpace) -> Result<Pairs> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::bad_input(format!("cannot read pairs `{}`: {error}", path.display())))?;
    Pairs::from_csv(&text, space).with_context(|| format!("cannot use pairs `{}`", path.display()))
}

/// The pairs that take part, and settings that hold out what `--samples` and `--holdout` say.
fn split(pairs: Pairs, arguments: &PairsArguments, seed: u64) -> Result<(Pairs, Settings), Failure> {
    let mut settings = Settings::default();
    let count = pairs.len();
    let held_out = match (arguments.holdout, arguments.samples) {
        (Some(Holdout::Share(share)), _) => quality::held_out(count, share),
        (_, Some(samples)) => count.saturating_sub(samples),
        (_, None) => quality::held_out(count, settings.holdout),
    };
    let samples = arguments.samples.unwrap_or(count - held_out);
    if held_out < 2 || samples + held_out > count {
        let failure = Failure::bad_input(format!("--samples {samples}: the file has only {count} pairs"));
        return Err(failure.hint("at least two pairs must be left to judge on"));
    }
    let used = samples + held_out;
    settings.holdout = held_out as f64 / used as f64;
    Ok((pairs.split(used, seed).0, settings))
}
