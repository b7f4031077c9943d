//! A finished run that is asked, never changed: its predictor, its chip, other chips.

use anyhow::Result;
use sartor_predictor::Predictor;
use sartor_search::{Evaluation, Metric};
use serde_json::{Value, json};

use crate::cli::{ChipArgument, Global, Target};
use crate::config::sections::Budget;
use crate::failure::Failure;
use crate::records::Costs;
use crate::session::Session;
use crate::stages::profile::{self, Prices};
use crate::stages::search::asking::Answer;
use crate::stages::search::fleet::{Chip, Fleet};
use crate::stages::transfer;
use crate::warnings::Warning;

/// A run with its mixed-precision predictor.
pub struct Asked {
    /// The run.
    pub session: Session,
    /// What it knows about accuracy.
    pub predictor: Predictor,
}

impl Asked {
    /// Opens a finished run.
    ///
    /// # Errors
    /// No run, or one without a predictor.
    pub fn open(target: &Target, global: &Global) -> Result<Self> {
        let session = Session::read_only(target, global)?;
        let predictor = transfer::finished(&session)?.load(&session)?;
        Ok(Self { session, predictor })
    }

    /// A chip with its limits: its own, else those of the flags, else the run's.
    ///
    /// # Errors
    /// An unknown chip or metric, or a limit that makes no sense.
    pub fn chip(&self, asked: Option<&ChipArgument>, flags: &Budget, batch: Option<usize>) -> Result<Chip> {
        self.chip_or(asked, flags, &self.session.config.search.budget, batch)
    }

    /// As [`chip`](Self::chip), with other limits than the run's where none are given.
    ///
    /// # Errors
    /// As [`chip`](Self::chip).
    pub fn chip_or(
        &self,
        asked: Option<&ChipArgument>,
        flags: &Budget,
        otherwise: &Budget,
        batch: Option<usize>,
    ) -> Result<Chip> {
        let config = &self.session.config;
        let name = asked.map_or(config.hardware.accelerator.as_str(), |chip| chip.name.as_str());
        let own = asked.map_or(&[][..], |chip| &chip.limits);
        let budget = match (own.is_empty(), flags == &Budget::default()) {
            (false, _) => named_limits(own)?,
            (true, false) => flags.clone(),
            (true, true) => otherwise.clone(),
        };
        Chip::new(name, self.prices(name, batch)?, &budget)
    }

    fn prices(&self, name: &str, batch: Option<usize>) -> Result<Prices> {
        let config = &self.session.config;
        let same =
            name == config.hardware.accelerator && batch.is_none_or(|batch| batch == config.hardware.batch);
        if same && let Ok(prices) = profile::finished(&self.session) {
            return Ok(prices);
        }
        let batch = batch.unwrap_or(config.hardware.batch);
        if batch == 0 {
            return Err(Failure::bad_input("--batch is 0, expected at least 1").into());
        }
        let table = profile::Source::open(name, batch)?.for_space(&config.space)?;
        self.session.warn(&Warning::of_table(&table.provenance));
        Ok(Prices::new(config.space.clone(), table, Vec::new()))
    }

    /// A candidate as JSON.
    ///
    /// # Errors
    /// Never for a candidate of the space.
    pub fn candidate(&self, evaluation: &Evaluation) -> Result<Value> {
        Ok(serde_json::from_str(&evaluation.candidate.to_json(&self.session.config.space))?)
    }

    /// A found candidate with its costs on every chip of the fleet.
    ///
    /// # Errors
    /// A layer that is not priced.
    pub fn describe(&self, found: &Evaluation, fleet: &Fleet<'_>) -> Result<Value> {
        let costs = fleet.costs(&found.candidate)?;
        let mut object = json!({
            "id": found.candidate.id(),
            "candidate": self.candidate(found)?,
            "predicted": found.score,
            "costs": costs[0],
        });
        if costs.len() > 1 {
            let chips = fleet.chips().iter().zip(&costs);
            let one = |(chip, costs): (&&Chip, &Costs)| json!({ "hardware": chip.name, "costs": costs, "budget": chip.limits.as_costs() });
            object["hardware"] = chips.map(one).collect();
        }
        Ok(object)
    }

    /// The answer as one object.
    ///
    /// # Errors
    /// A layer that is not priced.
    pub fn to_json(&self, answer: &Answer, fleet: &Fleet<'_>) -> Result<Value> {
        Ok(json!({
            "best": self.describe(&answer.best, fleet)?,
            "evaluated": answer.evaluated,
            "stop_reason": answer.stop_reason,
            "seconds": answer.seconds,
            "budget": fleet.chips()[0].limits.as_costs(),
            "gap": answer.gap.map(|gap| gap.accuracy),
            "gap_proof": answer.gap.map(|gap| gap.proof),
        }))
    }
}

/// Limits by metric name.
fn named_limits(limits: &[(String, f64)]) -> Result<Budget> {
    let mut budget = Budget::default();
    for (name, limit) in limits {
        let metric = name.parse::<Metric>()?;
        let slot = match metric {
            Metric::LatencyMs => &mut budget.latency_ms,
            Metric::EnergyMj => &mut budget.energy_mj,
            Metric::BitOps => &mut budget.bitops,
            Metric::SizeBytes => &mut budget.size_bytes,
            Metric::PeakActivationBytes => &mut budget.peak_activation_bytes,
            Metric::Macs => &mut budget.macs,
            _ => return Err(Failure::bad_input(format!("{metric} belongs to another chip")).into()),
        };
        if let Some(first) = slot.replace(*limit) {
            return Err(sartor_search::SearchError::TwoLimits { metric, first, second: *limit }.into());
        }
    }
    Ok(budget)
}
