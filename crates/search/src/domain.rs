//! # The domain of a search: which candidates are allowed, what they cost, how to draw one
//!
//! Built once from a [`Problem`]. Building it proves that the budget can be met as far as costs add up: the
//! cheapest candidate of every limited metric is found exactly, and combinations are checked by a Lagrangian
//! bound (see `boltzmann`). Peak activation memory does not add up; under such a limit candidates are drawn and
//! repaired a bounded number of times, and the error says that nothing is proven.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use sartor_space::{Block, BlockBits, Candidate, SearchSpace};

use crate::boltzmann::{Boltzmann, Tilt, balance, cheapest, prove_infeasible};
use crate::budget::{Budget, relative_excess};
use crate::error::SearchError;
use crate::evaluation::Evaluation;
use crate::metric::{Costs, METRICS, Metric};
use crate::table::{AdditiveCosts, ChoiceTable, Filter, StageTable};

mod moves;

/// Costs of a whole candidate; only used for metrics that do not add up over blocks.
pub type WholeCosts<'a> = dyn Fn(&Candidate) -> Costs + Sync + 'a;

/// Fewest evaluations that are worth another thread.
const EVALUATIONS_AT_ONCE: usize = 16;
/// Draws before a candidate is repaired instead.
const SAMPLE_TRIES: u64 = 500;
/// Repairs before giving up on a budget that is not proven to be met.
const REPAIR_TRIES: u64 = 20;
/// Draws that measure how often the sampler meets the budget, the share wanted, and how often it is sharpened.
const ACCEPTANCE_DRAWS: u64 = 200;
const ACCEPTANCE_WANTED: f64 = 0.05;
const SHARPENINGS: usize = 12;

/// What to search over, before it is checked.
#[derive(Clone)]
pub struct Problem<'a> {
    space: &'a SearchSpace,
    prices: &'a dyn AdditiveCosts,
    whole: Option<&'a WholeCosts<'a>>,
    filter: Option<Filter<'a>>,
    budget: Budget,
}

impl<'a> Problem<'a> {
    /// Every candidate of the space within the budget.
    pub fn new(space: &'a SearchSpace, prices: &'a dyn AdditiveCosts, budget: Budget) -> Self {
        Self { space, prices, whole: None, filter: None, budget }
    }

    /// Adds the costs that do not add up over blocks (peak activation memory).
    pub fn with_whole(mut self, whole: &'a WholeCosts<'a>) -> Self {
        self.whole = Some(whole);
        self
    }

    /// Freezes out every choice that the filter refuses: `filter(block, None, None)` asks about skipping,
    /// `filter(block, Some(choice), bits)` about an active block.
    pub fn with_filter(mut self, filter: Filter<'a>) -> Self {
        self.filter = Some(filter);
        self
    }

    /// Checks the budget and prepares drawing.
    ///
    /// # Errors
    /// [`SearchError::NoChoice`], [`SearchError::NotPriced`], [`SearchError::Infeasible`], [`SearchError::InfeasibleTogether`] or
    /// [`SearchError::NothingFound`].
    pub fn domain(self) -> Result<Domain<'a>, SearchError> {
        let everything = |_: usize, _: Option<Block>, _: Option<BlockBits>| true;
        let table = ChoiceTable::new(self.space, self.prices, self.filter.unwrap_or(&everything));
        check_choices(&table)?;
        let limits = check_limits(&table, &self.budget, self.whole.is_some())?;
        let table = table.with_limited(limits.iter().map(|limit| limit.0).collect());
        let prior = Boltzmann::new(&table, &[]);
        let sampler = prior.clone();
        let mut domain =
            Domain { space: self.space, budget: self.budget, whole: self.whole, table, prior, sampler };
        domain.aim(&limits)?;
        Ok(domain)
    }
}

/// Allowed candidates and their costs.
pub struct Domain<'a> {
    space: &'a SearchSpace,
    budget: Budget,
    whole: Option<&'a WholeCosts<'a>>,
    table: ChoiceTable,
    prior: Boltzmann,
    sampler: Boltzmann,
}

impl<'a> Domain<'a> {
    /// The search space.
    pub fn space(&self) -> &'a SearchSpace {
        self.space
    }

    /// The limits.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    pub(crate) fn table(&self) -> &ChoiceTable {
        &self.table
    }

    /// Costs that add up, plus the others if one of them is limited.
    pub fn costs(&self, candidate: &Candidate) -> Costs {
        self.completed(self.table.costs(candidate), candidate)
    }

    fn completed(&self, additive: Costs, candidate: &Candidate) -> Costs {
        if self.limits_whole() { self.with_whole_costs(additive, candidate) } else { additive }
    }

    /// All costs that can be priced.
    pub fn full_costs(&self, candidate: &Candidate) -> Costs {
        self.with_whole_costs(self.table.costs(candidate), candidate)
    }

    fn with_whole_costs(&self, mut costs: Costs, candidate: &Candidate) -> Costs {
        let whole = self.whole.map_or(Costs::UNKNOWN, |whole| whole(candidate));
        whole
            .iter()
            .filter(|(metric, _)| !metric.additive())
            .for_each(|(metric, value)| costs.set(metric, value));
        costs
    }

    /// Whether a candidate of the space is allowed: nothing frozen out, within the budget.
    pub fn allows(&self, candidate: &Candidate) -> bool {
        self.fits(candidate) && self.meets_limits(candidate)
    }

    fn meets_limits(&self, candidate: &Candidate) -> bool {
        let Some(costs) = self.table.limited_costs(candidate) else { return false };
        let additive = self.additive_limits().zip(costs).all(|((_, limit), cost)| cost <= limit);
        additive && (!self.limits_whole() || self.budget.allows(&self.costs(candidate)))
    }

    /// Sum of relative excesses over the budget, 0 when it is met, infinite where a choice or a cost is unknown.
    pub fn excess(&self, candidate: &Candidate) -> f64 {
        match self.table.limited_costs(candidate) {
            Some(costs) => self.excess_at(candidate, costs),
            None => f64::INFINITY,
        }
    }

    /// The excess of a candidate whose limited costs are known.
    fn excess_at(&self, candidate: &Candidate, costs: [f64; METRICS]) -> f64 {
        if self.limits_whole() {
            return self.budget.excess(&self.costs(candidate));
        }
        self.additive_limits().zip(costs).map(|((_, limit), cost)| relative_excess(cost, limit)).sum()
    }

    pub(crate) fn additive_limits(&self) -> impl Iterator<Item = (Metric, f64)> + '_ {
        self.budget.limits().iter().copied().filter(|(metric, _)| metric.additive())
    }

    /// Whether a cost that does not add up is limited.
    fn limits_whole(&self) -> bool {
        self.budget.limits().iter().any(|(metric, _)| !metric.additive())
    }

    /// Whether every choice of the candidate is in the space and not frozen out, whatever it costs.
    pub fn contains(&self, candidate: &Candidate) -> bool {
        self.fits(candidate) && self.table.price(candidate).is_some()
    }

    /// Whether all but the choices of active blocks is in the space and not frozen out.
    fn fits(&self, candidate: &Candidate) -> bool {
        let count = self.table.blocks.len();
        let fits = candidate.subnet.blocks.len() == count
            && candidate
                .policy
                .as_ref()
                .map_or(!self.table.quantized(), |policy| policy.blocks.len() == count);
        fits && self.depths_known(candidate)
    }

    fn depths_known(&self, candidate: &Candidate) -> bool {
        let active = |index: usize| candidate.subnet.blocks[index].is_some();
        self.table.stages.iter().all(|stage| match &stage.depths {
            Some(depths) => {
                let depth = stage.blocks.clone().take_while(|&index| active(index)).count();
                depths.contains(&depth) && stage.blocks.clone().skip(depth).all(|index| !active(index))
            }
            None => stage.blocks.clone().all(|index| active(index) || self.table.blocks[index].skip > 0.0),
        })
    }

    /// Puts candidates, their scores and their costs together.
    pub fn evaluations(&self, candidates: Vec<Candidate>, scores: &[f64]) -> Vec<Evaluation> {
        let evaluation = |(candidate, &score): (Candidate, &f64)| {
            let costs = self.costs(&candidate);
            Evaluation { candidate, score, costs }
        };
        candidates.into_par_iter().zip(scores).with_min_len(EVALUATIONS_AT_ONCE).map(evaluation).collect()
    }

    /// The exact cheapest candidate under an additive metric, whatever the budget; `None` if it does not add up
    /// or is not priced.
    pub fn cheapest(&self, metric: Metric) -> Option<(f64, Candidate)> {
        let (cost, candidate) = cheapest(&self.table, &[(metric, 1.0)]);
        (metric.additive() && cost.is_finite()).then_some((cost, candidate))
    }

    /// A random candidate within the budget (see the module's header for how it is drawn).
    ///
    /// # Errors
    /// [`SearchError::NothingFound`] after a bounded number of tries.
    pub fn sample(&self, rng: &mut impl Rng) -> Result<Candidate, SearchError> {
        for _ in 0..SAMPLE_TRIES {
            let candidate = self.sampler.sample(&self.table, rng);
            if self.meets_limits(&candidate) {
                return Ok(candidate);
            }
        }
        self.sample_by_repair(rng)
    }

    fn sample_by_repair(&self, rng: &mut impl Rng) -> Result<Candidate, SearchError> {
        let mut closest: Option<(f64, Candidate)> = None;
        for _ in 0..REPAIR_TRIES {
            let candidate = self.repair(self.sampler.sample(&self.table, rng), rng);
            let excess = self.excess(&candidate);
            if excess == 0.0 {
                return Ok(candidate);
            }
            if closest.as_ref().is_none_or(|(least, _)| excess < *least) {
                closest = Some((excess, candidate));
            }
        }
        Err(self.nothing_found(closest.map(|(_, candidate)| candidate)))
    }

    fn nothing_found(&self, closest: Option<Candidate>) -> SearchError {
        let costs = closest.map_or(Costs::UNKNOWN, |candidate| self.costs(&candidate));
        let violations = self.budget.violations(&costs);
        let worst = violations.into_iter().max_by(|a, b| (a.value / a.limit).total_cmp(&(b.value / b.limit)));
        let (metric, limit, closest) =
            worst.map_or((Metric::LatencyMs, 0.0, 0.0), |worst| (worst.metric, worst.limit, worst.value));
        SearchError::NothingFound { tries: SAMPLE_TRIES + REPAIR_TRIES, metric, limit, closest }
    }

    /// Makes the sampler meet the additive limits.
    fn aim(&mut self, limits: &[(Metric, f64)]) -> Result<(), SearchError> {
        let tilts = limits.iter().map(|&(metric, limit)| Tilt { metric, limit, beta: 0.0 }).collect();
        let mut tilts = balance(&self.table, tilts);
        self.sampler = Boltzmann::new(&self.table, &tilts);
        for _ in 0..SHARPENINGS {
            if self.acceptance(limits) >= ACCEPTANCE_WANTED {
                break;
            }
            tilts.iter_mut().for_each(|tilt| tilt.beta = 1.5 * tilt.beta + 1.0);
            self.sampler = Boltzmann::new(&self.table, &tilts);
        }
        let found = self.sample(&mut ChaCha8Rng::seed_from_u64(0)).map(drop);
        found.map_err(|error| self.explain(limits).unwrap_or(error))
    }

    fn acceptance(&self, limits: &[(Metric, f64)]) -> f64 {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let meets = |costs: Costs| limits.iter().all(|&(metric, limit)| costs.get(metric) <= limit);
        let drawn = (0..ACCEPTANCE_DRAWS).map(|_| self.sampler.sample(&self.table, &mut rng));
        let met = drawn.filter(|candidate| meets(self.table.costs(candidate))).count();
        met as f64 / ACCEPTANCE_DRAWS as f64
    }

    /// A proof that the limits contradict each other, if there is one.
    fn explain(&self, limits: &[(Metric, f64)]) -> Option<SearchError> {
        let (weights, bound) = prove_infeasible(&self.table, limits)?;
        let most = weights.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1))?.0;
        let (metric, limit) = limits[most];
        let bound = limit * (bound - (1.0 - weights[most])) / weights[most];
        Some(SearchError::InfeasibleTogether { metric, limit, bound })
    }
}

/// Every stage must have a depth left, every block that cannot be skipped a row.
fn check_choices(table: &ChoiceTable) -> Result<(), SearchError> {
    let stuck = |index: usize| table.blocks[index].rows.is_empty() && table.blocks[index].skip == 0.0;
    let first_stuck = |stage: &StageTable| match &stage.depths {
        Some(depths) => depths.is_empty().then_some(stage.blocks.start),
        None => stage.blocks.clone().find(|&index| stuck(index)),
    };
    match table.stages.iter().find_map(first_stuck) {
        Some(block) => Err(SearchError::NoChoice { block }),
        None => Ok(()),
    }
}

/// The limits on additive metrics, each proven to be reachable on its own.
fn check_limits(
    table: &ChoiceTable,
    budget: &Budget,
    whole: bool,
) -> Result<Vec<(Metric, f64)>, SearchError> {
    let (additive, rest): (Vec<_>, Vec<_>) =
        budget.limits().iter().partition(|(metric, _)| metric.additive());
    if let Some(&(metric, _)) = rest.first().filter(|_| !whole) {
        return Err(SearchError::NotPriced { metric });
    }
    for &(metric, limit) in &additive {
        let (cost, _) = cheapest(table, &[(metric, 1.0)]);
        if cost.is_nan() {
            return Err(SearchError::NotPriced { metric });
        }
        if cost > limit {
            return Err(SearchError::Infeasible { metric, limit, cheapest: cost });
        }
    }
    Ok(additive)
}
