//! Fitting on any CSV of pairs, without a run folder.

use std::path::Path;

use anyhow::{Context, Result};
use sartor_predictor::{Pairs, Predictor};

use crate::cli::Global;
use crate::config::load_space;
use crate::config::sections::Predictor as Settings;
use crate::failure::Failure;
use crate::stages::quality;
use crate::talk;

/// Fits on `samples` random pairs (four fifths if not given), judges on the rest, over several splits.
///
/// # Errors
/// A file that is no table of pairs of this space, or too few pairs.
pub fn fit(path: &Path, space: &str, samples: Option<usize>, global: &Global) -> Result<()> {
    let space = load_space(space)?;
    let pairs = read(path, &space)?;
    let settings = settings(samples, pairs.len())?;
    let seed = global.seed.unwrap_or(0);
    let fit = |known: &Pairs, seed| {
        Ok(Predictor::fit_with(&space, known, settings.method(), &settings.fit(), seed)?)
    };
    let quality = quality::judge(&pairs, &settings, seed, fit)?;
    let predictor = fit(&pairs, seed)?;
    let metrics = quality::metrics(&predictor, pairs.len(), &settings, quality, None);
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

/// The default settings, holding out all but `samples`.
fn settings(samples: Option<usize>, count: usize) -> Result<Settings, Failure> {
    let mut settings = Settings::default();
    if let Some(samples) = samples {
        if samples + 2 > count {
            let failure = Failure::bad_input(format!("--samples {samples}: the file has only {count} pairs"));
            return Err(failure.hint("at least two pairs must be left to judge on"));
        }
        settings.holdout = (count - samples) as f64 / count as f64;
    }
    Ok(settings)
}
