//! # Metrics and costs
//!
//! What a budget may limit. The names are those of the `totals` object that `sartor cost --json` prints.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::error::SearchError;

/// Something a candidate costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Metric {
    /// Latency of one inference, in milliseconds.
    #[serde(rename = "latency_ms")]
    LatencyMs,
    /// Energy of one inference, in millijoules.
    #[serde(rename = "energy_mj")]
    EnergyMj,
    /// Σ MACs × weight bits × activation bits.
    #[serde(rename = "bitops")]
    BitOps,
    /// Stored weights and biases, in bytes.
    #[serde(rename = "size_bytes")]
    SizeBytes,
    /// Largest sum of live activations, in bytes. Not additive over blocks.
    #[serde(rename = "peak_activation_bytes")]
    PeakActivationBytes,
    /// Multiply-accumulates.
    #[serde(rename = "macs")]
    Macs,
    /// Latency on a second chip, in milliseconds.
    #[serde(rename = "latency_ms_2")]
    LatencyMs2,
    /// Energy on a second chip, in millijoules.
    #[serde(rename = "energy_mj_2")]
    EnergyMj2,
    /// Latency on a third chip, in milliseconds.
    #[serde(rename = "latency_ms_3")]
    LatencyMs3,
    /// Energy on a third chip, in millijoules.
    #[serde(rename = "energy_mj_3")]
    EnergyMj3,
    /// Latency on a fourth chip, in milliseconds.
    #[serde(rename = "latency_ms_4")]
    LatencyMs4,
    /// Energy on a fourth chip, in millijoules.
    #[serde(rename = "energy_mj_4")]
    EnergyMj4,
}

/// Number of metrics.
pub const METRICS: usize = 12;

/// Most chips that one search can serve.
pub const CHIPS: usize = 4;

impl Metric {
    /// Every metric, in the order of [`Costs`].
    pub const ALL: [Metric; METRICS] = [
        Metric::LatencyMs,
        Metric::EnergyMj,
        Metric::BitOps,
        Metric::SizeBytes,
        Metric::PeakActivationBytes,
        Metric::Macs,
        Metric::LatencyMs2,
        Metric::EnergyMj2,
        Metric::LatencyMs3,
        Metric::EnergyMj3,
        Metric::LatencyMs4,
        Metric::EnergyMj4,
    ];

    /// What belongs to a chip, counted from 0, of at most [`CHIPS`]: the same metric for the first one, and for what no
    /// chip changes; `None` beyond the last chip.
    pub fn on_chip(self, chip: usize) -> Option<Metric> {
        use Metric::{
            EnergyMj, EnergyMj2, EnergyMj3, EnergyMj4, LatencyMs, LatencyMs2, LatencyMs3, LatencyMs4,
        };
        match self {
            LatencyMs => [LatencyMs, LatencyMs2, LatencyMs3, LatencyMs4].get(chip).copied(),
            EnergyMj => [EnergyMj, EnergyMj2, EnergyMj3, EnergyMj4].get(chip).copied(),
            other => (chip < CHIPS).then_some(other),
        }
    }

    /// Name in JSON and in configuration files.
    pub fn name(self) -> &'static str {
        match self {
            Metric::LatencyMs => "latency_ms",
            Metric::EnergyMj => "energy_mj",
            Metric::BitOps => "bitops",
            Metric::SizeBytes => "size_bytes",
            Metric::PeakActivationBytes => "peak_activation_bytes",
            Metric::Macs => "macs",
            Metric::LatencyMs2 => "latency_ms_2",
            Metric::EnergyMj2 => "energy_mj_2",
            Metric::LatencyMs3 => "latency_ms_3",
            Metric::EnergyMj3 => "energy_mj_3",
            Metric::LatencyMs4 => "latency_ms_4",
            Metric::EnergyMj4 => "energy_mj_4",
        }
    }

    /// Whether a candidate's cost is a fixed part plus one term per block.
    pub fn additive(self) -> bool {
        self != Metric::PeakActivationBytes
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Metric {
    type Err = SearchError;

    fn from_str(text: &str) -> Result<Self, SearchError> {
        let found = Metric::ALL.into_iter().find(|metric| metric.name() == text);
        found.ok_or_else(|| SearchError::UnknownMetric { name: text.to_string() })
    }
}

/// One number per metric; a metric that was not priced is NaN, and is left out of JSON.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(from = "BTreeMap<Metric, f64>", into = "BTreeMap<Metric, f64>")]
pub struct Costs([f64; METRICS]);

impl Costs {
    /// Nothing priced yet.
    pub const UNKNOWN: Costs = Costs([f64::NAN; METRICS]);

    /// All zero: the start of a sum.
    pub const ZERO: Costs = Costs([0.0; METRICS]);

    /// Cost under a metric, NaN if it was not priced.
    pub fn get(&self, metric: Metric) -> f64 {
        self.0[metric as usize]
    }

    /// Sets one metric.
    pub fn set(&mut self, metric: Metric, value: f64) {
        self.0[metric as usize] = value;
    }

    /// Sets one metric, by value.
    pub fn with(mut self, metric: Metric, value: f64) -> Self {
        self.set(metric, value);
        self
    }

    /// The metrics that were priced, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Metric, f64)> + '_ {
        Metric::ALL.into_iter().zip(self.0).filter(|(_, value)| !value.is_nan())
    }

    /// Adds term by term.
    pub fn add(&mut self, other: &Costs) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, term)| *sum += term);
    }
}

impl PartialEq for Costs {
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().zip(other.0).all(|(a, b)| a.total_cmp(&b).is_eq() || (a.is_nan() && b.is_nan()))
    }
}

impl Default for Costs {
    fn default() -> Self {
        Self::UNKNOWN
    }
}

impl FromIterator<(Metric, f64)> for Costs {
    fn from_iter<I: IntoIterator<Item = (Metric, f64)>>(pairs: I) -> Self {
        pairs.into_iter().fold(Self::UNKNOWN, |costs, (metric, value)| costs.with(metric, value))
    }
}

impl From<BTreeMap<Metric, f64>> for Costs {
    fn from(map: BTreeMap<Metric, f64>) -> Self {
        map.into_iter().collect()
    }
}

impl From<Costs> for BTreeMap<Metric, f64> {
    fn from(costs: Costs) -> Self {
        costs.iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for metric in Metric::ALL {
            assert_eq!(metric.name().parse::<Metric>().expect("known"), metric);
            assert_eq!(serde_json::to_string(&metric).expect("plain"), format!("\"{}\"", metric.name()));
        }
        assert!("latency".parse::<Metric>().is_err());
    }

    #[test]
    fn every_chip_has_metrics_of_its_own() {
        let mut seen = std::collections::BTreeSet::new();
        for chip in 0..CHIPS {
            for metric in [Metric::LatencyMs, Metric::EnergyMj] {
                assert!(seen.insert(metric.on_chip(chip).expect("a chip")));
            }
            assert_eq!(Metric::Macs.on_chip(chip), Some(Metric::Macs));
        }
        assert_eq!(Metric::LatencyMs.on_chip(CHIPS), None);
    }

    #[test]
    fn costs_leave_unknown_out_of_json() {
        let costs = Costs::UNKNOWN.with(Metric::LatencyMs, 8.5).with(Metric::Macs, 3.0);
        let text = serde_json::to_string(&costs).expect("plain");
        assert_eq!(text, r#"{"latency_ms":8.5,"macs":3.0}"#);
        assert_eq!(serde_json::from_str::<Costs>(&text).expect("back"), costs);
    }
}
