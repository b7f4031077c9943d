//! Everything the report tells, read from the artefacts of the run folder.

use std::path::Path;

use anyhow::{Context, Result};
use sartor_hardware::{CostTable, Provenance};
use sartor_space::SearchSpace;
use serde::de::DeserializeOwned;

use crate::answers;
use crate::records::{
    Best, Comparison, Contender, CurveRow, Generation, Measured, PredictorMetrics, Score, SupernetMetrics,
    Verification,
};
use crate::run_folder::RunFolder;
use crate::run_folder::timings::Timings;
use crate::stages::Stage;
use crate::stages::finetune::LARGEST;
use crate::standings::{self, Standing};
use crate::warnings::Warning;

/// What is known about a run; parts whose stage has not run are absent.
#[derive(Debug)]
pub struct Facts {
    /// Name of the run.
    pub name: String,
    /// Seed of the run.
    pub seed: u64,
    /// The chip's name.
    pub hardware: String,
    /// The search space.
    pub space: SearchSpace,
    /// What the space was cut for.
    pub target: Option<String>,
    /// Supernet training.
    pub supernet: Option<SupernetMetrics>,
    /// Full-precision predictor.
    pub full_precision: Option<PredictorMetrics>,
    /// Mixed-precision predictor.
    pub mixed_precision: Option<PredictorMetrics>,
    /// Methods on equal full-precision pairs, if they were compared.
    pub methods: Vec<Contender>,
    /// Variants of transfer on equal pairs, if they were compared.
    pub variants: Vec<Contender>,
    /// Joint search beside baselines, if they were run.
    pub comparison: Option<Comparison>,
    /// Learning curves, if they were drawn.
    pub curves: Vec<CurveRow>,
    /// The search's choice.
    pub best: Option<Best>,
    /// Everything that was measured after the search.
    pub front: Vec<Measured>,
    /// The search, generation by generation.
    pub history: Vec<Generation>,
    /// The largest network, in full precision.
    pub largest: Option<Score>,
    /// Fine-tuned models, the searched one first.
    pub scores: Vec<Score>,
    /// Which test images each of them gets right, where that is known.
    pub right: Vec<Option<Vec<bool>>>,
    /// What a real runtime says about them.
    pub verifications: Vec<Verification>,
    /// Seconds per stage.
    pub timings: Timings,
    /// Where the costs come from.
    pub cost_table: Option<Provenance>,
    /// Every method that has searched with this supernet.
    pub standings: Vec<Standing>,
    /// What the reader should beware of.
    pub warnings: Vec<Warning>,
}

impl Facts {
    /// Reads what is there.
    ///
    /// # Errors
    /// An artefact that is there but cannot be understood.
    pub fn gather(
        folder: &RunFolder,
        name: &str,
        seed: u64,
        hardware: &str,
        (space, target): (&SearchSpace, Option<&str>),
    ) -> Result<Self> {
        let mut facts = Self {
            name: name.to_owned(),
            seed,
            hardware: hardware.to_owned(),
            space: space.clone(),
            target: target.map(str::to_owned),
            supernet: json(folder, "supernet/metrics.json")?,
            full_precision: json(folder, "predictor-fp.json")?,
            mixed_precision: json(folder, "predictor-mp.json")?,
            methods: json(folder, crate::commands::METHODS)?.unwrap_or_default(),
            variants: json(folder, crate::commands::VARIANTS)?.unwrap_or_default(),
            comparison: json(folder, crate::commands::COMPARED)?,
            curves: rows(&folder.path(crate::stages::contest::CURVES))?,
            best: json(folder, "search/best.json")?,
            front: json(folder, "search/front.json")?.unwrap_or_default(),
            history: rows(&folder.path("search/history.csv"))?,
            largest: json(folder, LARGEST)?,
            scores: Vec::new(),
            right: Vec::new(),
            verifications: Vec::new(),
            timings: Timings::load(folder),
            cost_table: cost_table(folder),
            standings: standings::of(folder.root())?,
            warnings: Vec::new(),
        };
        facts.gather_models(folder)?;
        facts.warnings = Warning::all_of(&facts);
        Ok(facts)
    }

    fn gather_models(&mut self, folder: &RunFolder) -> Result<()> {
        let Some(best) = &self.best else { return Ok(()) };
        let mut ids: Vec<&String> = Vec::new();
        for id in std::iter::once(&best.best).chain(&best.references).map(|measured| &measured.id) {
            if ids.contains(&id) {
                continue;
            }
            ids.push(id);
            if let Some(score) = json(folder, &format!("models/{id}/score.json"))? {
                self.scores.push(score);
                self.right.push(answers::right(folder, id)?);
            }
            self.verifications.extend(json(folder, &format!("models/{id}/verify.json"))?);
        }
        Ok(())
    }
}

/// Provenance of the table that the run's costs come from, if it has one.
fn cost_table(folder: &RunFolder) -> Option<Provenance> {
    let artefacts = folder.finished(Stage::Profile.key(), None).ok()??;
    let text = std::fs::read_to_string(folder.path(&artefacts.first()?.name)).ok()?;
    CostTable::from_csv(&text).ok().map(|table| table.provenance)
}

/// A JSON artefact, if it is there.
fn json<T: DeserializeOwned>(folder: &RunFolder, name: &str) -> Result<Option<T>> {
    let path = folder.path(name);
    if !path.is_file() {
        return Ok(None);
    }
    let text = std::fs::read(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
    serde_json::from_slice(&text).map(Some).with_context(|| format!("cannot understand `{}`", path.display()))
}

/// The rows of a CSV, if it is there.
fn rows<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let mut reader =
        csv::Reader::from_path(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let rows: csv::Result<Vec<T>> = reader.deserialize().collect();
    rows.with_context(|| format!("cannot understand `{}`", path.display()))
}
