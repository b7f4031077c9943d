//! # The domain of a search: which candidates are allowed, what they cost, how to draw one
//!
//! Built once from a [`Problem`]. Building it proves that the budget can be met as far as costs add up: the
//! cheapest candidate of every limited metric is found exactly, and combinations are checked by a Lagrangian
//! bound (see `boltzmann`). Peak activation memory does not add up; under such a limit candidates are drawn and
//! repaired a bounded number of times, and the error says that nothing is proven.

use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sartor_space::{Block, BlockBits, Candidate, SearchSpace};

use crate::boltzmann::{Boltzmann, Tilt, balance, cheapest, prove_infeasible};
use crate::budget::Budget;
use crate::error::SearchError;
use crate::evaluation::Evaluation;
use crate::metric::{Costs, Metric};
use crate::table::{AdditiveCosts, ChoiceTable, Filter, StageTable};

/// Costs of a whole candidate; only used for metrics that do not add up over blocks.
pub type WholeCosts<'a> = dyn Fn(&Candidate) -> Costs + Sync + 'a;

/// Draws before a candidate is repaired instead, and moves of one repair.
const SAMPLE_TRIES: u64 = 500;
const REPAIR_MOVES: usize = 400;
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
        let prior = Boltzmann::new(&table, &[]);
        let limits = check_limits(&table, &self.budget, self.whole.is_some())?;
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
        let needed = self.budget.limits().iter().any(|(metric, _)| !metric.additive());
        if needed { self.full_costs(candidate) } else { self.table.costs(candidate) }
    }

    /// All costs that can be priced.
    pub fn full_costs(&self, candidate: &Candidate) -> Costs {
        let mut costs = self.table.costs(candidate);
        let whole = self.whole.map_or(Costs::UNKNOWN, |whole| whole(candidate));
        whole
            .iter()
            .filter(|(metric, _)| !metric.additive())
            .for_each(|(metric, value)| costs.set(metric, value));
        costs
    }

    /// Whether a candidate of the space is allowed: nothing frozen out, within the budget.
    pub fn allows(&self, candidate: &Candidate) -> bool {
        self.contains(candidate) && self.budget.allows(&self.costs(candidate))
    }

    /// Whether every choice of the candidate is in the space and not frozen out, whatever it costs.
    pub fn contains(&self, candidate: &Candidate) -> bool {
        let count = self.table.blocks.len();
        let fits = candidate.subnet.blocks.len() == count
            && candidate
                .policy
                .as_ref()
                .map_or(!self.table.quantized(), |policy| policy.blocks.len() == count);
        fits && self.rows_known(candidate) && self.depths_known(candidate)
    }

    fn rows_known(&self, candidate: &Candidate) -> bool {
        let bits = |index: usize| candidate.policy.as_ref().map(|policy| policy.blocks[index]);
        candidate.subnet.active().all(|(index, block)| self.table.row(index, block, bits(index)).is_some())
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

    /// Puts scores and costs together, as [`Runner`](crate::Runner) wants them.
    pub fn evaluations(&self, candidates: &[Candidate], scores: &[f64]) -> Vec<Evaluation> {
        let pairs = candidates.iter().zip(scores);
        pairs
            .map(|(candidate, &score)| Evaluation {
                candidate: candidate.clone(),
                score,
                costs: self.costs(candidate),
            })
            .collect()
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
            if self.budget.allows(&self.costs(&candidate)) {
                return Ok(candidate);
            }
        }
        self.sample_by_repair(rng)
    }

    fn sample_by_repair(&self, rng: &mut impl Rng) -> Result<Candidate, SearchError> {
        let mut closest: Option<(f64, Candidate)> = None;
        for _ in 0..REPAIR_TRIES {
            let candidate = self.repair(self.sampler.sample(&self.table, rng), rng);
            let excess = self.budget.excess(&self.costs(&candidate));
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

    /// Pushes a candidate towards the budget by random moves that lower its excess; what is within is left as it
    /// is. Bounded: the result may still exceed the budget.
    pub fn repair(&self, candidate: Candidate, rng: &mut impl Rng) -> Candidate {
        let mut best = candidate;
        let mut excess = self.budget.excess(&self.costs(&best));
        for _ in 0..REPAIR_MOVES {
            if excess == 0.0 {
                break;
            }
            let donor = self.sampler.sample(&self.table, rng);
            let child = self.transplant(&best, &donor, rng);
            let left = self.budget.excess(&self.costs(&child));
            if left < excess {
                (best, excess) = (child, left);
            }
        }
        best
    }

    /// Copies one random block (sometimes a whole stage, and with it its depth) from a cheap donor.
    fn transplant(&self, candidate: &Candidate, donor: &Candidate, rng: &mut impl Rng) -> Candidate {
        let mut child = candidate.clone();
        let stage = &self.table.stages[rng.random_range(0..self.table.stages.len())];
        let whole = rng.random_bool(0.25);
        let chosen = rng.random_range(stage.blocks.clone());
        for index in stage.blocks.clone() {
            let free = stage.depths.is_none()
                || donor.subnet.blocks[index].is_some() == child.subnet.blocks[index].is_some();
            if whole || (index == chosen && free) {
                copy_block(donor, &mut child, index);
            }
        }
        child
    }

    /// A copy in which every block's choices, and every stage's depth, are redrawn with `probability`, among
    /// what is not frozen out. The budget is not looked at.
    pub fn mutate(&self, parent: &Candidate, probability: f64, rng: &mut impl Rng) -> Candidate {
        let mut child = parent.clone();
        for stage in &self.table.stages {
            let depth = stage.depths.as_ref().filter(|_| rng.random_bool(probability));
            let depth = depth.map(|depths| depths[rng.random_range(0..depths.len())]);
            for index in stage.blocks.clone() {
                let was = child.subnet.blocks[index].is_some();
                let active = match (&stage.depths, depth) {
                    (Some(_), Some(depth)) => index - stage.blocks.start < depth,
                    (Some(_), None) => was,
                    (None, _) => self.mutate_activity(index, was, probability, rng),
                };
                if active != was || (active && rng.random_bool(probability)) {
                    self.redraw(&mut child, index, active, rng);
                }
            }
        }
        child
    }

    /// A copy in which single choices of active blocks are redrawn, each block with `probability`, at least one: its
    /// kernel, its width or one of its bit-widths, among what is not frozen out. Depths stay; the budget is not looked at.
    pub fn tweak(&self, parent: &Candidate, probability: f64, rng: &mut impl Rng) -> Candidate {
        let mut child = parent.clone();
        let active: Vec<usize> = parent.subnet.active().map(|(index, _)| index).collect();
        if active.is_empty() {
            return child;
        }
        let certain = active[rng.random_range(0..active.len())];
        for index in active {
            if index == certain || rng.random_bool(probability) {
                self.tweak_block(&mut child, index, rng);
            }
        }
        child
    }

    /// Takes one choice from a random row, if that with the rest of the block is a row; where bit-widths only go
    /// together, all of them.
    fn tweak_block(&self, child: &mut Candidate, index: usize, rng: &mut impl Rng) {
        let donor = self.table.blocks[index].rows.get(self.prior.row(index, rng));
        let (Some(donor), Some(mut block)) = (donor, child.subnet.blocks[index]) else { return };
        let mut bits = child.policy.as_ref().map(|policy| policy.blocks[index]);
        let fields = if bits.is_some() { 6 } else { 2 };
        match (rng.random_range(0..fields), &mut bits, donor.bits) {
            (0, _, _) => block.kernel = donor.block.kernel,
            (1, _, _) => block.width = donor.block.width,
            (field, Some(own), Some(other)) => {
                let mut values = own.fields();
                values[field - 2] = other.fields()[field - 2];
                *own = BlockBits::from_fields(values);
            }
            _ => {}
        }
        let together = [bits, donor.bits.filter(|_| bits.is_some())];
        let known = together.into_iter().find(|&bits| self.table.row(index, block, bits).is_some());
        if let Some(bits) = known {
            child.subnet.blocks[index] = Some(block);
            if let (Some(policy), Some(bits)) = (&mut child.policy, bits) {
                policy.blocks[index] = bits;
            }
        }
    }

    fn mutate_activity(&self, index: usize, was: bool, probability: f64, rng: &mut impl Rng) -> bool {
        let block = &self.table.blocks[index];
        let free = block.skip > 0.0 && !block.rows.is_empty();
        if free && rng.random_bool(probability) { rng.random_bool(0.5) } else { was }
    }

    fn redraw(&self, child: &mut Candidate, index: usize, active: bool, rng: &mut impl Rng) {
        let row =
            active.then(|| self.prior.row(index, rng)).and_then(|row| self.table.blocks[index].rows.get(row));
        child.subnet.blocks[index] = row.map(|row| row.block);
        if let Some(policy) = &mut child.policy {
            policy.blocks[index] = row.and_then(|row| row.bits).unwrap_or(self.table.idle);
        }
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

fn copy_block(from: &Candidate, to: &mut Candidate, index: usize) {
    to.subnet.blocks[index] = from.subnet.blocks[index];
    if let (Some(to), Some(from)) = (&mut to.policy, &from.policy) {
        to.blocks[index] = from.blocks[index];
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
