//! Sample accuracies: pairs of candidate and validation accuracy, appended to a checkpoint one by one.

pub mod more;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use sartor_space::Candidate;
use sartor_supernet::sampling::{MixedPlan, Sampler, full_precision_candidate};
use serde::{Deserialize, Serialize};

use super::Stage;
use super::train::TrainedSupernet;
use crate::progress::Progress;
use crate::run_folder::artefact::Artefact;
use crate::run_folder::checkpoint::Checkpoint;
use crate::session::Session;
use crate::talk;

const FULL_PRECISION: &str = "accuracies-fp.csv";
const MIXED_PRECISION: &str = "accuracies-mp.csv";
const ROWS: &str = "rows.csv";
/// Pairs measured since the last checkpoint are lost when killed; this bounds the loss.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(2);

/// Accuracy pairs in the run folder.
#[derive(Debug)]
pub struct Pairs {
    artefacts: Vec<Artefact>,
    file: &'static str,
    /// Whether pairs that were chosen and measured later lie beside them.
    more: bool,
}

impl Pairs {
    /// What later stages depend on.
    pub fn artefacts(&self) -> &[Artefact] {
        &self.artefacts
    }

    /// Name of the CSV.
    pub fn file(&self) -> &'static str {
        self.file
    }

    /// The pairs.
    ///
    /// # Errors
    /// When the CSV cannot be read or is not of this space.
    pub fn load(&self, session: &Session) -> Result<sartor_predictor::Pairs> {
        let mut pairs = read(session, self.file)?;
        if self.more {
            let more = read(session, more::FILE)?;
            for (candidate, accuracy) in more.candidates.into_iter().zip(more.accuracies) {
                if !pairs.candidates.contains(&candidate) {
                    pairs.push(candidate, accuracy);
                }
            }
        }
        Ok(pairs)
    }

    /// With the pairs that `sartor sample --more` measured, if there are any.
    fn with_more(mut self, session: &Session) -> Result<Self> {
        let path = session.folder.path(more::FILE);
        if path.is_file() {
            self.artefacts.push(Artefact::hashed(more::FILE, &path)?);
            self.more = true;
        }
        Ok(self)
    }
}

fn read(session: &Session, file: &str) -> Result<sartor_predictor::Pairs> {
    let path = session.folder.path(file);
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let pairs = sartor_predictor::Pairs::from_csv(&text, &session.config.space);
    pairs.with_context(|| format!("cannot use `{}`", path.display()))
}

/// One row of a pairs CSV.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Row {
    candidate: String,
    accuracy: f64,
    images: usize,
}

/// Full-precision pairs: inherited weights, recalibrated.
///
/// # Errors
/// Whatever measuring or writing fails with.
pub fn full_precision(session: &Session, supernet: &TrainedSupernet) -> Result<Pairs> {
    let samples = &session.config.samples;
    let inputs = session.inputs().artefacts(supernet.artefacts()).value("pairs", samples.full_precision);
    let inputs = inputs.value("recalibration_images", samples.finetune.recalibration_images).build();
    let stage = Stage::SampleFullPrecision;
    let artefacts = session.stage(stage, inputs, |checkpoint| {
        let weights = supernet.weights(session)?;
        let mut sampler = sampler(session, &weights, stage)?;
        let space = &session.config.space;
        let rows = measure(stage, checkpoint, samples.full_precision, |index| {
            let candidate = full_precision_candidate(space, session.seed(stage), index);
            let accuracy = sampler.measure_full_precision(&candidate)?;
            Ok(row(session, &candidate, accuracy))
        })?;
        write(session, stage, FULL_PRECISION, &rows)
    })?;
    Ok(Pairs { artefacts, file: FULL_PRECISION, more: false })
}

/// Mixed-precision pairs: calibrated and briefly fine-tuned before they are scored.
///
/// # Errors
/// Whatever measuring or writing fails with.
pub fn mixed_precision(session: &Session, supernet: &TrainedSupernet) -> Result<Pairs> {
    let samples = &session.config.samples;
    let inputs =
        session.inputs().artefacts(supernet.artefacts()).section("samples.finetune", &samples.finetune);
    let inputs = inputs.value("pairs", samples.mixed_precision);
    let inputs = inputs.value("policies_per_architecture", samples.policies_per_architecture).build();
    let plan = MixedPlan {
        pairs: samples.mixed_precision,
        policies_per_architecture: samples.policies_per_architecture,
    };
    let stage = Stage::SampleMixedPrecision;
    let artefacts = session.stage(stage, inputs, |checkpoint| {
        let weights = supernet.weights(session)?;
        let mut sampler = sampler(session, &weights, stage)?;
        let rows = measure(stage, checkpoint, plan.pairs, |index| {
            let candidate = plan.candidate(&session.config.space, session.seed(stage), index)?;
            let accuracy = sampler.measure_mixed(&candidate, index)?;
            Ok(row(session, &candidate, accuracy))
        })?;
        write(session, stage, MIXED_PRECISION, &rows)
    })?;
    Pairs { artefacts, file: MIXED_PRECISION, more: false }.with_more(session)
}

/// Pairs that an earlier process measured.
///
/// # Errors
/// When there are none.
pub fn finished(session: &Session, stage: Stage) -> Result<Pairs> {
    let file = if stage == Stage::SampleFullPrecision { FULL_PRECISION } else { MIXED_PRECISION };
    let pairs = Pairs { artefacts: session.finished(stage)?, file, more: false };
    if stage == Stage::SampleFullPrecision { Ok(pairs) } else { pairs.with_more(session) }
}

/// A sampler with the settings of `[samples]`.
///
/// # Errors
/// A data set that does not fit the space.
pub fn sampler<'a>(
    session: &'a Session,
    weights: &'a sartor_supernet::Supernet,
    stage: Stage,
) -> Result<Sampler<'a>> {
    let settings = session.config.samples.finetune.clone();
    Ok(Sampler::new(&session.config.space, session.dataset()?, weights, settings, session.seed(stage))?)
}

fn row(session: &Session, candidate: &Candidate, accuracy: sartor_supernet::evaluation::Accuracy) -> Row {
    Row {
        candidate: candidate.to_json(&session.config.space),
        accuracy: accuracy.value(),
        images: accuracy.images,
    }
}

/// Rows 0 to `count`, those of the checkpoint kept.
fn measure(
    stage: Stage,
    checkpoint: &Checkpoint,
    count: usize,
    mut one: impl FnMut(usize) -> Result<Row>,
) -> Result<Vec<Row>> {
    let mut rows = checkpoint.read(ROWS)?.map(|text| parse(&text)).transpose()?.unwrap_or_default();
    let mut progress = Progress::new(stage.title(), count as u64, rows.len() as u64);
    let mut kept = Instant::now();
    for index in rows.len()..count {
        rows.push(one(index)?);
        if kept.elapsed() >= CHECKPOINT_INTERVAL {
            checkpoint.write(ROWS, &to_csv(&rows)?)?;
            kept = Instant::now();
        }
        progress.at(index as u64 + 1, &format!("pair {} of {count}", index + 1));
    }
    Ok(rows)
}

/// Each candidate once, as first measured: in a small space the draws repeat.
fn distinct(rows: &[Row]) -> Vec<Row> {
    let mut seen = HashSet::new();
    rows.iter().filter(|row| seen.insert(row.candidate.as_str())).cloned().collect()
}

fn parse(text: &[u8]) -> Result<Vec<Row>> {
    let rows: csv::Result<Vec<Row>> = csv::Reader::from_reader(text).deserialize().collect();
    rows.context("cannot understand the sampling checkpoint")
}

fn to_csv(rows: &[Row]) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    rows.iter().try_for_each(|row| writer.serialize(row))?;
    writer.into_inner().map_err(|error| anyhow::anyhow!("cannot write pairs: {error}"))
}

fn write(session: &Session, stage: Stage, file: &str, rows: &[Row]) -> Result<Vec<String>> {
    session.folder.write(file, &to_csv(&distinct(rows))?)?;
    let accuracies = || rows.iter().map(|row| 100.0 * row.accuracy);
    let (low, high) = (accuracies().fold(f64::MAX, f64::min), accuracies().fold(f64::MIN, f64::max));
    let images = rows.first().map_or(0, |row| row.images);
    let text = format!("{} pairs on {images} validation images, {low:.2} to {high:.2} %", rows.len());
    talk::stage_line(stage.title(), &text);
    Ok(vec![file.to_owned()])
}
