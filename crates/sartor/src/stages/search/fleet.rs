//! Chips with their budgets, all to be met by one network.

use anyhow::Result;
use sartor_search::{
    AdditiveCosts, Budget, CHIPS, Costs as SearchCosts, Domain, Filter, Metric, Problem, SearchError,
};
use sartor_space::{Block, BlockBits, Candidate, SearchSpace};

use super::limits::Limits;
use crate::config::sections;
use crate::failure::Failure;
use crate::records::Costs;
use crate::stages::profile::Prices;

/// One chip with its budget.
#[derive(Debug)]
pub struct Chip {
    /// Its name.
    pub name: String,
    /// What networks cost on it.
    pub prices: Prices,
    /// What they may cost.
    pub limits: Limits,
}

impl Chip {
    /// A chip whose shares refer to the largest network on it.
    ///
    /// # Errors
    /// A limit given twice, or on what is not priced.
    pub fn new(name: &str, prices: Prices, budget: &sections::Budget) -> Result<Self> {
        let limits = Limits::resolve(budget, prices.space(), &prices)?;
        Ok(Self { name: name.to_owned(), prices, limits })
    }

    /// Whether a candidate meets this chip's budget.
    ///
    /// # Errors
    /// A layer that is not priced.
    pub fn allows(&self, candidate: &Candidate) -> Result<bool> {
        let costs = self.prices.of(candidate)?;
        let limits = self.limits.budget().limits();
        Ok(limits.iter().all(|(metric, limit)| costs.get(metric.name()).is_some_and(|cost| cost <= limit)))
    }
}

/// Up to four chips.
#[derive(Debug)]
pub struct Fleet<'a> {
    chips: Vec<&'a Chip>,
}

impl<'a> Fleet<'a> {
    /// Checks that one search can serve them.
    ///
    /// # Errors
    /// No chip, or too many.
    pub fn new(chips: impl IntoIterator<Item = &'a Chip>) -> Result<Self> {
        let chips: Vec<&Chip> = chips.into_iter().collect();
        if !(1..=CHIPS).contains(&chips.len()) {
            let failure =
                Failure::bad_input(format!("{} chips in one search, expected 1 to {CHIPS}", chips.len()));
            return Err(failure.hint("`sartor portfolio` serves more chips with several models").into());
        }
        Ok(Self { chips })
    }

    /// The chips.
    pub fn chips(&self) -> &[&'a Chip] {
        &self.chips
    }

    /// The space that is searched.
    pub fn space(&self) -> &SearchSpace {
        self.chips[0].prices.space()
    }

    /// All limits at once; of two limits on what no chip changes, the tighter one.
    ///
    /// # Errors
    /// Limits that make no sense.
    pub fn budget(&self) -> Result<Budget> {
        let mut all: Vec<(Metric, f64)> = Vec::new();
        for (place, chip) in self.chips.iter().enumerate() {
            for &(metric, limit) in chip.limits.budget().limits() {
                let Some(metric) = metric.on_chip(place) else { continue };
                match all.iter_mut().find(|other| other.0 == metric) {
                    Some(other) => other.1 = other.1.min(limit),
                    None => all.push((metric, limit)),
                }
            }
        }
        Ok(Budget::new(all)?)
    }

    /// What a candidate costs on every chip.
    ///
    /// # Errors
    /// A layer that is not priced.
    pub fn costs(&self, candidate: &Candidate) -> Result<Vec<Costs>> {
        self.chips.iter().map(|chip| chip.prices.of(candidate)).collect()
    }

    /// Everything that meets all budgets and that the filter allows, handed to `work`.
    ///
    /// # Errors
    /// When there is nothing: which limit binds on which chip, and the closest value. Otherwise what `work` fails with.
    pub fn within<T>(&self, filter: Filter<'_>, work: impl FnOnce(&Domain<'_>) -> Result<T>) -> Result<T> {
        self.within_budget(self.budget()?, filter, work)
    }

    /// As [`within`](Self::within), every limit times a factor.
    ///
    /// # Errors
    /// As [`within`](Self::within).
    pub fn within_scaled<T>(
        &self,
        factor: f64,
        filter: Filter<'_>,
        work: impl FnOnce(&Domain<'_>) -> Result<T>,
    ) -> Result<T> {
        let limits = self
            .budget()?
            .limits()
            .iter()
            .map(|&(metric, limit)| (metric, factor * limit))
            .collect::<Vec<_>>();
        self.within_budget(Budget::new(limits)?, filter, work)
    }

    /// As [`within`](Self::within), under another budget.
    ///
    /// # Errors
    /// As [`within`](Self::within).
    pub fn within_budget<T>(
        &self,
        budget: Budget,
        filter: Filter<'_>,
        work: impl FnOnce(&Domain<'_>) -> Result<T>,
    ) -> Result<T> {
        let whole = |candidate: &Candidate| self.chips[0].prices.whole(candidate);
        let problem = Problem::new(self.space(), self, budget).with_whole(&whole).with_filter(filter);
        match problem.domain() {
            Ok(domain) => work(&domain),
            Err(error) => Err(self.explain(error)),
        }
    }

    /// Names the chip behind `latency_ms_2` and the like, and says what each limit alone would need.
    fn explain(&self, error: SearchError) -> anyhow::Error {
        let named: Vec<String> = self.chips.iter().enumerate().skip(1).map(numbered).collect();
        let error = anyhow::Error::from(error);
        if named.is_empty() { error } else { error.context(named.join(", ")) }
    }

    fn sum(&self, one: impl Fn(&Prices) -> SearchCosts) -> SearchCosts {
        let mut costs = one(&self.chips[0].prices);
        for (place, chip) in self.chips.iter().enumerate().skip(1) {
            let own = one(&chip.prices);
            for metric in [Metric::LatencyMs, Metric::EnergyMj] {
                if let Some(slot) = metric.on_chip(place) {
                    costs.set(slot, own.get(metric));
                }
            }
        }
        costs
    }
}

fn numbered((place, chip): (usize, &&Chip)) -> String {
    format!("latency_ms_{0} and energy_mj_{0} are those of `{1}`", place + 1, chip.name)
}

impl AdditiveCosts for Fleet<'_> {
    fn fixed(&self) -> SearchCosts {
        self.sum(AdditiveCosts::fixed)
    }

    fn block(&self, block: usize, choice: Block, bits: Option<BlockBits>) -> SearchCosts {
        self.sum(|prices| prices.block(block, choice, bits))
    }
}
