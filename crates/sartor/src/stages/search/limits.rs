//! The budget in absolute numbers.

use anyhow::Result;
use rand_chacha::ChaCha8Rng;
use sartor_search::{Budget, Domain, Filter, Metric, Problem, WholeCosts};
use sartor_space::{Candidate, SearchSpace};

use crate::config::sections;
use crate::failure::Failure;
use crate::records::Costs;
use crate::report::{amount, plain_name};
use crate::stages::profile::Prices;

/// Random candidates behind the share that meets the budget.
const FEASIBILITY_DRAWS: usize = 2000;
/// Width of the network that relative limits refer to.
const REFERENCE_BITS: u8 = 8;

/// Absolute limits.
#[derive(Debug, Clone)]
pub struct Limits {
    budget: Budget,
    /// What the largest network costs at 8 bits.
    pub largest: Costs,
}

impl Limits {
    /// Turns shares of the largest network's 8-bit cost into absolute limits.
    ///
    /// # Errors
    /// A limit given twice, or a cost that is not priced.
    pub fn resolve(budget: &sections::Budget, space: &SearchSpace, prices: &Prices) -> Result<Self> {
        let largest = largest(space, prices)?;
        let mut limits = Vec::new();
        for (metric, absolute, share) in entries(budget) {
            limits.extend(one(metric, absolute, share, &largest)?.map(|limit| (metric, limit)));
        }
        Ok(Self { budget: Budget::new(limits)?, largest })
    }

    /// Every limit times a factor.
    ///
    /// # Errors
    /// A factor that leaves no positive limit.
    pub fn scaled(&self, factor: f64) -> Result<Self> {
        let limits = self.budget.limits().iter().map(|&(metric, limit)| (metric, factor * limit));
        Ok(Self { budget: Budget::new(limits)?, largest: self.largest.clone() })
    }

    /// The limits.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// The limits by name.
    pub fn as_costs(&self) -> Costs {
        self.budget.limits().iter().map(|(metric, limit)| (metric.name().to_owned(), *limit)).collect()
    }

    /// For people.
    pub fn describe(&self) -> String {
        let one = |(name, limit): (String, f64)| {
            let share = self.largest.get(&name).map(|whole| format!(" ({:.1} %)", 100.0 * limit / whole));
            format!("{} ≤ {}{}", plain_name(&name), amount(&name, limit), share.unwrap_or_default())
        };
        let limits: Vec<String> = self.as_costs().into_iter().map(one).collect();
        match limits.is_empty() {
            true => "none".to_owned(),
            false => format!("{} of the largest network at 8 bits", limits.join(", ")),
        }
    }

    /// The candidates that meet the limits and whose choices the filter allows.
    ///
    /// # Errors
    /// When there are none: which limit binds, and the closest value.
    pub fn domain<'a>(
        &self,
        prices: &'a Prices,
        whole: &'a WholeCosts<'a>,
        allowed: Filter<'a>,
    ) -> Result<Domain<'a>> {
        let problem = Problem::new(prices.space(), prices, self.budget.clone());
        Ok(problem.with_whole(whole).with_filter(allowed).domain()?)
    }

    /// Share of random candidates that meet the limits.
    ///
    /// # Errors
    /// A layer that is not priced.
    pub fn feasible_share(&self, prices: &Prices, rng: &mut ChaCha8Rng) -> Result<f64> {
        let mut meets = || -> Result<bool> {
            let costs = prices.of(&prices.space().random_candidate(rng))?;
            let within =
                |(metric, limit): &(Metric, f64)| costs.get(metric.name()).is_some_and(|cost| cost <= limit);
            Ok(self.budget.limits().iter().all(within))
        };
        let mut met = 0usize;
        for _ in 0..FEASIBILITY_DRAWS {
            met += usize::from(meets()?);
        }
        Ok(met as f64 / FEASIBILITY_DRAWS as f64)
    }
}

/// Every metric with its absolute limit and its share.
fn entries(budget: &sections::Budget) -> [(Metric, Option<f64>, Option<f64>); 6] {
    [
        (Metric::LatencyMs, budget.latency_ms, budget.latency_share),
        (Metric::EnergyMj, budget.energy_mj, budget.energy_share),
        (Metric::BitOps, budget.bitops, budget.bitops_share),
        (Metric::SizeBytes, budget.size_bytes, budget.size_share),
        (Metric::PeakActivationBytes, budget.peak_activation_bytes, budget.peak_activation_share),
        (Metric::Macs, budget.macs, budget.macs_share),
    ]
}

fn one(metric: Metric, absolute: Option<f64>, share: Option<f64>, largest: &Costs) -> Result<Option<f64>> {
    match (absolute, share) {
        (Some(_), Some(_)) => {
            let message =
                format!("{metric} is limited twice, absolutely and as a share of the largest network");
            Err(Failure::bad_input(message).hint("keep one of the two in `[search.budget]`").into())
        }
        (Some(limit), None) => Ok(Some(limit)),
        (None, Some(share)) => match largest.get(metric.name()) {
            Some(whole) => Ok(Some(share * whole)),
            None => Err(Failure::bad_input(format!("{metric} is limited but not priced")).into()),
        },
        (None, None) => Ok(None),
    }
}

fn largest(space: &SearchSpace, prices: &Prices) -> Result<Costs> {
    let subnet = space.largest();
    let policy = space.uniform_policy(&subnet, REFERENCE_BITS);
    prices.of(&Candidate { subnet, policy })
}
