//! Runs the arms of a figure, each in a run folder of its own inside the base run, on the base run's supernet. Figures
//! that ask for the same arm under the same budget share its run.

use std::path::Path;

use anyhow::Result;
use sartor_search::Metric;
use serde::Serialize;

use super::figures::{Arm, Budget, Figure};
use crate::answers;
use crate::cli::{Global, ReproduceArguments, Target};
use crate::config::Config;
use crate::config::sections;
use crate::failure::{Exit, exit_code};
use crate::methods::{self, LANDING, Landing};
use crate::pipeline;
use crate::records::{Best, Score};
use crate::session::{SEARCH_SECONDS, Session};
use crate::stages::search::BEST;
use crate::talk;

/// Folder of the arms inside the base run.
const FOLDER: &str = "reproduce";
/// What makes a run a matter of minutes; the results say so.
const QUICK: [&str; 10] = [
    "search.measure=2",
    "finetune.epochs=2",
    "method.spos.population=12",
    "method.spos.parents=4",
    "method.spos.generations=4",
    "method.amc.episodes=30",
    "method.haq.episodes=30",
    "method.gong.search.epochs=6",
    "method.dnas.gradient.search.epochs=3",
    "method.proxyless.search.epochs=6",
];
/// A share that limits nothing.
const NO_LIMIT: f64 = 1e9;

/// One arm under one budget with one seed.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Row {
    /// The arm's label.
    pub arm: String,
    /// The method.
    pub method: String,
    /// Seed of search and fine-tuning.
    pub seed: u64,
    /// Budget: factor of the config's, or share of the largest network.
    pub budget: f64,
    /// Why there is no result, if there is none.
    pub note: String,
    /// The fine-tuned model on validation.
    pub validation: Option<f64>,
    /// On test, once.
    pub test: Option<f64>,
    /// Test images.
    pub images: usize,
    /// Which of them the model gets right, if it left its answers.
    #[serde(skip)]
    pub right: Option<Vec<bool>>,
    /// What it costs.
    pub latency_ms: Option<f64>,
    /// What it costs.
    pub energy_mj: Option<f64>,
    /// What it costs.
    pub bitops: Option<f64>,
    /// The latency limit, if there was one.
    pub latency_limit_ms: Option<f64>,
    /// Expected latency when a search by gradient on latency ended.
    pub expected_latency_ms: Option<f64>,
    /// Latency of the candidate that it liked best, whatever the limit.
    pub most_probable_latency_ms: Option<f64>,
    /// Seconds of the search alone, before its proposals were measured.
    pub search_seconds: Option<f64>,
    /// Seconds of the whole arm, search and fine-tuning.
    #[serde(skip)]
    pub seconds: f64,
    /// Optimiser steps during the search.
    pub training_steps: u64,
    /// Images in forward passes during the search.
    pub inferred_images: u64,
    /// Accuracies measured during the search.
    pub accuracy_evaluations: u64,
    /// The candidate.
    pub candidate: String,
}

/// All arms under all budgets with all seeds.
///
/// # Errors
/// A method that is not there, or whatever a stage fails with; a budget that an arm cannot meet is a row without a
/// result.
pub fn run(
    figure: &Figure,
    arguments: &ReproduceArguments,
    (target, global): (&Target, &Global),
    base: &Path,
) -> Result<Vec<Row>> {
    for arm in figure.arms {
        methods::named(arm.method)?;
    }
    let budgets = match (figure.budget, arguments.quick) {
        (Budget::Times(quick, _) | Budget::BitOps(quick, _), true) => quick,
        (Budget::Times(_, full) | Budget::BitOps(_, full), false) => full,
        (Budget::Targets(shares), _) => shares,
        (Budget::Free, _) => &[1.0],
    };
    let mut rows = Vec::new();
    for (&budget, seed) in
        budgets.iter().flat_map(|budget| (0..arguments.seeds).map(move |seed| (budget, seed)))
    {
        for arm in figure.arms {
            talk::stage_line(figure.name, &format!("{}, budget {budget}, seed {seed}", arm.label));
            let plan = Plan { figure, arm, budget, seed, quick: arguments.quick };
            rows.push(plan.run(target, global, base)?);
        }
    }
    Ok(rows)
}

struct Plan<'a> {
    figure: &'a Figure,
    arm: &'a Arm,
    budget: f64,
    seed: u64,
    quick: bool,
}

impl Plan<'_> {
    fn run(&self, target: &Target, global: &Global, base: &Path) -> Result<Row> {
        let overrides = self.overrides(target, global, base)?;
        let global = Global { overrides, ..global.clone() };
        let session = Session::open_method(target, &global, Some(base))?;
        let done = match self.figure.budget {
            Budget::Targets(_) => pipeline::until_searched(&session),
            _ => pipeline::until_finetuned(&session),
        };
        match done {
            Ok(()) => self.row(&session),
            Err(error) if exit_code(&error) == Exit::Infeasible => Ok(self.empty(&error.to_string())),
            Err(error) => Err(error),
        }
    }

    /// Quick settings, then the user's, then the arm's.
    fn overrides(&self, target: &Target, global: &Global, base: &Path) -> Result<Vec<String>> {
        let mut overrides: Vec<String> =
            if self.quick { QUICK.map(str::to_owned).into() } else { Vec::new() };
        overrides.extend(global.overrides.iter().cloned());
        overrides.extend(self.arm.set.iter().map(|&setting| setting.to_owned()));
        overrides.extend(self.limits(&Config::load(target, global)?.search.budget));
        let speed = if self.quick { "quick" } else { "full" };
        let name = format!("{}-{}-{speed}-{}", self.arm.label, self.seed, self.budget);
        let folder = base.join(FOLDER).join(self.figure.budget.name()).join(name);
        overrides.push(format!("run.folder={}", folder.display()));
        overrides.push(format!("method.name={}", self.arm.method));
        overrides.push(format!("method.seed={}", self.seed));
        overrides.push("search.references=[]".to_owned());
        Ok(overrides)
    }

    fn limits(&self, budget: &sections::Budget) -> Vec<String> {
        let configured = entries(budget).into_iter().filter_map(|(name, value)| Some((name, value?)));
        match self.figure.budget {
            Budget::Times(..) => configured
                .map(|(name, value)| format!("search.budget.{name}={:?}", value * self.budget))
                .collect(),
            Budget::BitOps(..) => self.alone("bitops", configured),
            Budget::Targets(_) => self.alone("latency", configured),
            Budget::Free => unlimited(configured),
        }
    }

    /// A limit on one metric alone, as a share.
    fn alone(&self, metric: &str, configured: impl Iterator<Item = (&'static str, f64)>) -> Vec<String> {
        let mut limits = unlimited(configured.filter(|(name, _)| !name.starts_with(metric)));
        limits.push(format!("search.budget.{metric}_share={:?}", self.budget));
        limits
    }

    fn row(&self, session: &Session) -> Result<Row> {
        let best: Best = session.folder.read_json(BEST)?;
        let score = match self.figure.budget {
            Budget::Targets(_) => None,
            _ => Some(session.folder.read_json::<Score>(&format!("models/{}/score.json", best.best.id))?),
        };
        let landing = landing(session)?;
        let cost = |name: &str| best.best.costs.get(name).copied();
        let limit = best.budget.get("latency_ms").copied();
        Ok(Row {
            validation: Some(score.as_ref().map_or(best.best.measured.value, |score| score.validation.value)),
            test: score.as_ref().map(|score| score.test.value),
            images: score.as_ref().map_or(0, |score| score.test.images),
            right: answers::right(&session.folder, &best.best.id)?,
            expected_latency_ms: landing.as_ref().map(|landing| landing.expected),
            most_probable_latency_ms: landing.as_ref().map(|landing| landing.most_probable),
            latency_ms: cost("latency_ms"),
            energy_mj: cost("energy_mj"),
            bitops: cost("bitops"),
            latency_limit_ms: limit.filter(|limit| *limit < NO_LIMIT),
            search_seconds: session.timings().measured.get(SEARCH_SECONDS).copied(),
            seconds: session.timings().total(),
            training_steps: best.counters.training_steps,
            inferred_images: best.counters.inferred_images,
            accuracy_evaluations: best.counters.accuracy_evaluations,
            candidate: best.best.candidate.to_string(),
            ..self.empty("")
        })
    }

    fn empty(&self, note: &str) -> Row {
        Row {
            arm: self.arm.label.to_owned(),
            method: self.arm.method.to_owned(),
            seed: self.seed,
            budget: self.budget,
            note: note.to_owned(),
            ..Row::default()
        }
    }
}

/// How near to its target a search by gradient on latency came.
fn landing(session: &Session) -> Result<Option<Landing>> {
    if !session.folder.path(LANDING).is_file() {
        return Ok(None);
    }
    let landing: Landing = session.folder.read_json(LANDING)?;
    Ok(Some(landing).filter(|landing| landing.metric == Metric::LatencyMs.name()))
}

fn unlimited(configured: impl Iterator<Item = (&'static str, f64)>) -> Vec<String> {
    configured.map(|(name, value)| format!("search.budget.{name}={:?}", value * NO_LIMIT)).collect()
}

fn entries(budget: &sections::Budget) -> [(&'static str, Option<f64>); 12] {
    [
        ("latency_ms", budget.latency_ms),
        ("energy_mj", budget.energy_mj),
        ("bitops", budget.bitops),
        ("size_bytes", budget.size_bytes),
        ("peak_activation_bytes", budget.peak_activation_bytes),
        ("macs", budget.macs),
        ("latency_share", budget.latency_share),
        ("energy_share", budget.energy_share),
        ("bitops_share", budget.bitops_share),
        ("size_share", budget.size_share),
        ("peak_activation_share", budget.peak_activation_share),
        ("macs_share", budget.macs_share),
    ]
}
