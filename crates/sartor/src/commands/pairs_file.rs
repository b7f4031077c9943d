//! Fitting and transferring on any CSV of pairs, without a run folder.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sartor_predictor::{MlpSettings, Pairs, Predictor};
use sartor_space::SearchSpace;

use crate::cli::{FitArguments, Global, Holdout, PairsArguments, TransferArguments};
use crate::config::sections::Predictor as Settings;
use crate::config::{checks, load_space, reading};
use crate::failure::Failure;
use crate::records::PredictorMetrics;
use crate::session::size_thread_pool;
use crate::stages::contest::{self, Contest};
use crate::stages::quality;

/// What the settings that count here begin with.
const SECTION: &str = "predictor.";

/// Fits on `samples` random pairs (four fifths if not given), judges on those held out, over several splits.
///
/// # Errors
/// A file that is no table of pairs of this space, or too few pairs.
pub fn fit(path: &Path, space: &str, arguments: &FitArguments, global: &Global) -> Result<()> {
    size_thread_pool(global.threads.unwrap_or(0))?;
    let space = load_space(space)?;
    let pairs = read(path, &space)?;
    let seed = global.seed.unwrap_or(0);
    let (pairs, settings) = split(pairs, &arguments.pairs, global, None)?;
    let judged = quality::judge(&pairs, &settings, seed, |known, seed| {
        Ok(Predictor::fit_to_judge(&space, known, settings.method(), &settings.fit(), seed)?)
    })?;
    let metrics = quality::metrics(judged.method, pairs.len(), &settings, judged);
    let mut object = quality::to_json(&metrics);
    let contenders = match arguments.compare {
        true => contest::methods(&space, &pairs, &settings, seed)?,
        false => Vec::new(),
    };
    contest::note(&mut object, "methods", &contenders)?;
    contest::say(&metrics, &contenders, &object, global.json)
}

/// Fits on the full-precision pairs, transfers with `samples` of the mixed-precision ones, judges on the others.
///
/// # Errors
/// Files that are no tables of pairs of this space, the wrong kind of pairs, or too few of them.
pub fn transfer(full: &Path, space: &str, arguments: &TransferArguments, global: &Global) -> Result<()> {
    size_thread_pool(global.threads.unwrap_or(0))?;
    let space = load_space(space)?;
    let mixed = arguments.mixed.as_ref().ok_or_else(no_mixed)?;
    let (full, mixed) = (read(full, &space)?, read(mixed, &space)?);
    let seed = global.seed.unwrap_or(0);
    let (mixed, settings) = split(mixed, &arguments.pairs, global, Some(full.len()))?;
    let base = Predictor::fit_with(&space, &full, settings.method(), &settings.fit(), seed)?;
    let contest = Contest { space: &space, base: &base, pairs: &mixed, settings: &settings, seed };
    let metrics: PredictorMetrics = contest.judge()?;
    let mut object = quality::to_json(&metrics);
    object.insert("full_precision_pairs".to_owned(), full.len().into());
    let contenders = if arguments.ablate { contest.variants()? } else { Vec::new() };
    contest::note(&mut object, "variants", &contenders)?;
    if arguments.curves {
        let file = arguments.out.clone().unwrap_or_else(|| PathBuf::from(contest::CURVES));
        contest::note_curves(&mut object, &contest.curves()?, &file)?;
    }
    contest::say(&metrics, &contenders, &object, global.json)
}

fn no_mixed() -> Failure {
    let failure = Failure::bad_input("transfer needs full-precision pairs and mixed-precision ones");
    failure.hint(
        "`--pairs FULL.csv --mixed MIXED.csv`, or `--run FOLDER`; `sartor fit --pairs` fits from scratch",
    )
}

fn read(path: &Path, space: &SearchSpace) -> Result<Pairs> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Failure::bad_input(format!("cannot read pairs `{}`: {error}", path.display())))?;
    let pairs =
        Pairs::from_csv(&text, space).with_context(|| format!("cannot use pairs `{}`", path.display()))?;
    pairs.check().with_context(|| format!("cannot use pairs `{}`", path.display()))?;
    Ok(pairs)
}

/// The pairs that take part, and settings that hold out what `--samples` and `--holdout` say; networks are sized for `size`
/// pairs, or for those that are fitted on.
fn split(
    pairs: Pairs,
    arguments: &PairsArguments,
    global: &Global,
    size: Option<usize>,
) -> Result<(Pairs, Settings), Failure> {
    let count = pairs.len();
    let configured = settings(count, global)?;
    let held_out = match (arguments.holdout, arguments.samples) {
        (Some(Holdout::Share(share)), _) => quality::held_out(count, share),
        (_, Some(samples)) => count.saturating_sub(samples),
        (_, None) => quality::held_out(count, configured.holdout),
    };
    let samples = arguments.samples.unwrap_or(count - held_out);
    if held_out < 2 || samples + held_out > count {
        let failure = Failure::bad_input(format!("--samples {samples}: the file has only {count} pairs"));
        return Err(failure.hint("at least two pairs must be left to judge on"));
    }
    if samples < sartor_predictor::FEWEST_PAIRS {
        let needed = sartor_predictor::FEWEST_PAIRS;
        let failure = Failure::bad_input(format!("{samples} pairs to fit on, at least {needed} are needed"));
        return Err(failure.hint(format!("use `--samples {needed}` or more, or measure more pairs")));
    }
    let used = samples + held_out;
    let holdout = held_out as f64 / used as f64;
    let settings = Settings { holdout, ..settings(size.unwrap_or(samples), global)? };
    Ok((pairs.split(used, global.seed.unwrap_or(0)).0, settings))
}

/// The default settings with networks sized for `pairs`, and what `--set predictor.…` changes in them.
fn settings(pairs: usize, global: &Global) -> Result<Settings, Failure> {
    if let Some(other) = global.overrides.iter().find(|setting| !setting.trim().starts_with(SECTION)) {
        let failure = Failure::bad_input(format!("--set {other}: without a run there is only `{SECTION}…`"));
        return Err(failure.hint("for example `--set predictor.method=networks`"));
    }
    let MlpSettings { hidden, steps, .. } = MlpSettings::suited_to(pairs);
    let text = format!("[predictor]\nhidden = {hidden}\nsteps = {steps}\n");
    let sections = reading::overridden(&text, "the default settings", &global.overrides)?;
    checks::check(&sections).map_err(|broken| broken.into_failure("", "--set"))?;
    Ok(sections.predictor)
}
