//! # Budgets: hard limits, any number at once
//!
//! A candidate meets a budget when every limited cost is at most its limit. A limited cost that was not priced
//! (NaN) never meets it: unknown is not free.

use serde::{Deserialize, Serialize};

use crate::error::SearchError;
use crate::metric::{Costs, Metric};

/// Hard limits, at most one per metric, in the order of [`Metric`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(try_from = "Vec<(Metric, f64)>", into = "Vec<(Metric, f64)>")]
pub struct Budget {
    limits: Vec<(Metric, f64)>,
}

/// A limit that a candidate exceeds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Violation {
    /// What is limited.
    pub metric: Metric,
    /// The limit.
    pub limit: f64,
    /// What the candidate costs.
    pub value: f64,
}

impl Budget {
    /// Checks the limits: each positive and finite, no metric twice.
    pub fn new(limits: impl IntoIterator<Item = (Metric, f64)>) -> Result<Self, SearchError> {
        let mut limits: Vec<(Metric, f64)> = limits.into_iter().collect();
        limits.sort_by_key(|limit| limit.0);
        if let Some(&(metric, limit)) = limits.iter().find(|(_, limit)| !limit.is_finite() || *limit <= 0.0) {
            return Err(SearchError::BadLimit { metric, limit });
        }
        if let Some(pair) = limits.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(SearchError::TwoLimits { metric: pair[0].0, first: pair[0].1, second: pair[1].1 });
        }
        Ok(Self { limits })
    }

    /// No limits at all.
    pub fn unlimited() -> Self {
        Self::default()
    }

    /// The limits, in the order of [`Metric`].
    pub fn limits(&self) -> &[(Metric, f64)] {
        &self.limits
    }

    /// The limit on one metric, if there is one.
    pub fn limit(&self, metric: Metric) -> Option<f64> {
        self.limits.iter().find(|limit| limit.0 == metric).map(|limit| limit.1)
    }

    /// Whether every limited cost is known and within its limit.
    pub fn allows(&self, costs: &Costs) -> bool {
        self.limits.iter().all(|&(metric, limit)| costs.get(metric) <= limit)
    }

    /// The limits that are exceeded (or not priced).
    pub fn violations(&self, costs: &Costs) -> Vec<Violation> {
        let all =
            self.limits.iter().map(|&(metric, limit)| Violation { metric, limit, value: costs.get(metric) });
        all.filter(|violation| !matches!(violation.value.partial_cmp(&violation.limit), Some(order) if order.is_le()))
            .collect()
    }

    /// Sum of relative excesses, 0 when the budget is met, infinite when a limited cost is unknown.
    pub fn excess(&self, costs: &Costs) -> f64 {
        self.limits.iter().map(|&(metric, limit)| relative_excess(costs.get(metric), limit)).sum()
    }
}

/// How far above its limit a cost is; infinite if it is unknown.
pub(crate) fn relative_excess(cost: f64, limit: f64) -> f64 {
    if cost.is_nan() { f64::INFINITY } else { (cost / limit - 1.0).max(0.0) }
}

impl TryFrom<Vec<(Metric, f64)>> for Budget {
    type Error = SearchError;

    fn try_from(limits: Vec<(Metric, f64)>) -> Result<Self, SearchError> {
        Self::new(limits)
    }
}

impl From<Budget> for Vec<(Metric, f64)> {
    fn from(budget: Budget) -> Self {
        budget.limits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_limits_are_refused() {
        for limit in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let error = Budget::new([(Metric::LatencyMs, limit)]).expect_err("bad limit");
            assert!(matches!(error, SearchError::BadLimit { metric: Metric::LatencyMs, .. }), "{limit}");
        }
        let twice = Budget::new([(Metric::Macs, 1.0), (Metric::Macs, 2.0)]);
        assert!(matches!(twice, Err(SearchError::TwoLimits { metric: Metric::Macs, .. })));
    }

    #[test]
    fn unknown_cost_is_not_free() {
        let budget = Budget::new([(Metric::LatencyMs, 1.0), (Metric::EnergyMj, 2.0)]).expect("valid");
        let cases = [
            (Costs::UNKNOWN.with(Metric::LatencyMs, 1.0).with(Metric::EnergyMj, 2.0), 0, 0.0),
            (Costs::UNKNOWN.with(Metric::LatencyMs, 1.5).with(Metric::EnergyMj, 2.0), 1, 0.5),
            (Costs::UNKNOWN.with(Metric::LatencyMs, 0.5), 1, f64::INFINITY),
        ];
        for (costs, violations, excess) in cases {
            assert_eq!(budget.violations(&costs).len(), violations, "{costs:?}");
            assert_eq!(budget.allows(&costs), violations == 0, "{costs:?}");
            assert_eq!(budget.excess(&costs), excess, "{costs:?}");
        }
    }
}
