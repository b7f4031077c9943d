//! # Drawing feasible candidates under tight budgets, and the exact cheapest one
//!
//! Random candidates rarely meet a tight budget (0.2 % of space `apq` meets 6.11 ms), so they are not drawn
//! blindly. With additive costs the distribution
//!
//! `p(c) ∝ prior(c) · exp(−Σ_m β_m · cost_m(c) / limit_m)`
//!
//! factorises over blocks (and over the depths of a stage), so it is sampled exactly, and its mean costs are
//! sums. The multipliers `β` are the smallest ones that bring every mean cost to its limit; draws above a limit
//! are then rejected. Among candidates of equal cost this keeps the ratios of the space's own random sampling:
//! what is biased is only the share of each cost level. (This is the distribution of largest entropy relative to
//! the prior that has those mean costs.)
//!
//! Cheapest: per block the cheapest row, per stage the cheapest depth. Exact, because costs add up.
//! Combination bound (Lagrangian duality): for weights `λ ≥ 0` that sum to one, if
//! `min_c Σ_m λ_m · cost_m(c)/limit_m > 1` no candidate meets all limits. Any such `λ` is a proof; they are
//! looked for by subgradient steps.

use rand::{Rng, RngExt};
use rayon::prelude::*;
use sartor_space::{Candidate, QuantPolicy, Subnet};

use crate::metric::{Costs, Metric};
use crate::table::{BlockTable, ChoiceTable, Row, StageTable};

/// Steps of doubling or bisecting a multiplier; 2^40 times the limit's scale separates any two real costs.
const DOUBLINGS: usize = 40;
const BISECTIONS: usize = 14;
/// Passes over the limits; each limit's multiplier moves the means of the others.
const PASSES: usize = 3;
/// Subgradient steps of the combination bound.
const DUAL_STEPS: usize = 300;

/// Places around the straight line in which an entry is looked for first: a cache line's worth.
const NEAR: usize = 4;

/// Draws from the tilted distribution.
#[derive(Debug, Clone)]
pub(crate) struct Boltzmann {
    blocks: Vec<BlockSampler>,
    stages: Vec<StageSampler>,
}

#[derive(Debug, Clone)]
struct BlockSampler {
    cumulative: Vec<f64>,
    log_weight: f64,
    skip: f64,
}

#[derive(Debug, Clone)]
struct StageSampler {
    depths: Vec<usize>,
    cumulative: Vec<f64>,
}

/// A limit on an additive metric with its multiplier.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tilt {
    pub metric: Metric,
    pub limit: f64,
    pub beta: f64,
}

impl Boltzmann {
    /// The distribution for given multipliers.
    pub fn new(table: &ChoiceTable, tilts: &[Tilt]) -> Self {
        let blocks: Vec<_> = table.blocks.iter().map(|block| BlockSampler::new(block, tilts)).collect();
        let log_weight = |index: usize| blocks[index].log_weight;
        let stages = table.stages.iter().map(|stage| StageSampler::new(stage, log_weight)).collect();
        Self { blocks, stages }
    }

    /// One candidate.
    pub fn sample(&self, table: &ChoiceTable, rng: &mut impl Rng) -> Candidate {
        let mut draft = Draft::new(table);
        for (stage, sampler) in table.stages.iter().zip(&self.stages) {
            let depth = sampler.draw(rng);
            for index in stage.blocks.clone() {
                let active = match depth {
                    Some(depth) => index - stage.blocks.start < depth,
                    None => rng.random::<f64>() >= self.blocks[index].skip,
                };
                if active {
                    draft.set(table, index, self.blocks[index].draw(rng));
                }
            }
        }
        draft.finish()
    }

    /// A row of one block, given that it is active.
    pub fn row(&self, index: usize, rng: &mut impl Rng) -> usize {
        self.blocks[index].draw(rng)
    }
}

impl BlockSampler {
    fn new(block: &BlockTable, tilts: &[Tilt]) -> Self {
        let energies: Vec<f64> = block.rows.iter().map(|row| energy(&row.costs, tilts)).collect();
        let least = energies.iter().copied().fold(f64::INFINITY, f64::min);
        let mut sum = 0.0;
        let weigh = |(row, energy): (&Row, &f64)| {
            sum += row.prior * (least - energy).exp();
            sum
        };
        let cumulative: Vec<f64> = block.rows.iter().zip(&energies).map(weigh).collect();
        let log_weight = if cumulative.is_empty() { f64::NEG_INFINITY } else { sum.ln() - least };
        Self { cumulative, log_weight, skip: skip_chance(block.skip, log_weight) }
    }

    fn draw(&self, rng: &mut impl Rng) -> usize {
        draw(&self.cumulative, rng)
    }
}

/// Chance of skipping: prior `skip` at no cost against `1 − skip` at the block's weight.
fn skip_chance(skip: f64, log_weight: f64) -> f64 {
    if skip == 0.0 {
        return 0.0;
    }
    let odds = (1.0 - skip) / skip * log_weight.exp();
    1.0 / (1.0 + odds)
}

impl StageSampler {
    fn new(stage: &StageTable, block_log_weight: impl Fn(usize) -> f64) -> Self {
        let depths = stage.depths.clone().unwrap_or_default();
        let first = stage.blocks.start;
        let log_weight = |&depth: &usize| -> f64 { (first..first + depth).map(&block_log_weight).sum() };
        let logs: Vec<f64> = depths.iter().map(log_weight).collect();
        let most = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let mut sum = 0.0;
        let accumulate = |log: &f64| {
            sum += (log - most).exp();
            sum
        };
        Self { cumulative: logs.iter().map(accumulate).collect(), depths }
    }

    fn draw(&self, rng: &mut impl Rng) -> Option<usize> {
        (!self.depths.is_empty()).then(|| self.depths[draw(&self.cumulative, rng)])
    }

    fn chance_deeper_than(&self, position: usize) -> f64 {
        let mut before = 0.0;
        let mut sum = 0.0;
        for (&depth, &upto) in self.depths.iter().zip(&self.cumulative) {
            sum += if depth > position { upto - before } else { 0.0 };
            before = upto;
        }
        if before > 0.0 { sum / before } else { 0.0 }
    }
}

/// The first entry above a random point. Where all weights are about equal (the space's own sampling) it is within a few
/// places of where a straight line would have it; else it is searched for.
fn draw(cumulative: &[f64], rng: &mut impl Rng) -> usize {
    let total = cumulative.last().copied().unwrap_or(0.0);
    let share = rng.random::<f64>();
    let (point, last) = (share * total, cumulative.len().saturating_sub(1));
    let low = ((share * cumulative.len() as f64) as usize).saturating_sub(NEAR);
    let near = cumulative.get(low..(low + 2 * NEAR).min(cumulative.len())).unwrap_or_default();
    let inside = (low == 0 || cumulative[low - 1] <= point) && near.last().is_some_and(|&upto| upto > point);
    let (from, part) = if inside { (low, near) } else { (0, cumulative) };
    (from + part.partition_point(|&upto| upto <= point)).min(last)
}

fn energy(costs: &Costs, tilts: &[Tilt]) -> f64 {
    tilts.iter().map(|tilt| tilt.beta * costs.get(tilt.metric) / tilt.limit).sum()
}

/// Mean cost under one metric, without the fixed part.
fn mean(table: &ChoiceTable, tilts: &[Tilt], metric: Metric) -> f64 {
    let blocks: Vec<_> = table.blocks.par_iter().map(|block| BlockMean::new(block, tilts, metric)).collect();
    let stage = |stage: &StageTable| -> f64 {
        let sampler = StageSampler::new(stage, |index| blocks[index].log_weight);
        let chance = |index: usize| match stage.depths {
            Some(_) => sampler.chance_deeper_than(index - stage.blocks.start),
            None => 1.0 - skip_chance(table.blocks[index].skip, blocks[index].log_weight),
        };
        stage.blocks.clone().map(|index| chance(index) * blocks[index].mean).sum()
    };
    table.stages.iter().map(stage).sum()
}

/// What the mean needs to know of a block: a [`BlockSampler`] that cannot draw.
struct BlockMean {
    log_weight: f64,
    mean: f64,
}

impl BlockMean {
    fn new(block: &BlockTable, tilts: &[Tilt], metric: Metric) -> Self {
        let least = block.rows.iter().map(|row| energy(&row.costs, tilts)).fold(f64::INFINITY, f64::min);
        let add = |(weights, costs): (f64, f64), row: &Row| {
            let weight = row.prior * (least - energy(&row.costs, tilts)).exp();
            (weights + weight, costs + weight * row.costs.get(metric))
        };
        let (weights, costs) = block.rows.iter().fold((0.0, 0.0), add);
        let log_weight = if block.rows.is_empty() { f64::NEG_INFINITY } else { weights.ln() - least };
        Self { log_weight, mean: if weights > 0.0 { costs / weights } else { 0.0 } }
    }
}

/// The smallest multipliers under which every mean cost is within its limit (as far as the limits can be met).
pub(crate) fn balance(table: &ChoiceTable, mut tilts: Vec<Tilt>) -> Vec<Tilt> {
    for _ in 0..PASSES.min(2 * tilts.len()) {
        for chosen in 0..tilts.len() {
            tilts[chosen].beta = balance_one(table, &tilts, chosen);
        }
    }
    tilts
}

fn balance_one(table: &ChoiceTable, tilts: &[Tilt], chosen: usize) -> f64 {
    let Tilt { metric, limit, .. } = tilts[chosen];
    let within = |beta: f64| {
        let mut tilts = tilts.to_vec();
        tilts[chosen].beta = beta;
        mean(table, &tilts, metric) + table.fixed.get(metric) <= limit
    };
    if within(0.0) {
        return 0.0;
    }
    let mut high = 1.0;
    for _ in 0..DOUBLINGS {
        if within(high) {
            break;
        }
        high *= 2.0;
    }
    bisect(if high > 1.0 { high / 2.0 } else { 0.0 }, high, within)
}

fn bisect(mut low: f64, mut high: f64, within: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..BISECTIONS {
        let middle = 0.5 * (low + high);
        if within(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    high
}

/// The candidate that minimises `Σ_m weight_m · cost_m` over additive metrics, with that minimum (fixed part
/// included).
pub(crate) fn cheapest(table: &ChoiceTable, weights: &[(Metric, f64)]) -> (f64, Candidate) {
    let price =
        |costs: &Costs| -> f64 { weights.iter().map(|(metric, weight)| weight * costs.get(*metric)).sum() };
    let best: Vec<(f64, usize)> = table.blocks.iter().map(|block| cheapest_row(block, price)).collect();
    let mut draft = Draft::new(table);
    let mut sum = price(&table.fixed);
    for stage in &table.stages {
        for index in cheapest_active(stage, table, &best) {
            sum += best[index].0;
            draft.set(table, index, best[index].1);
        }
    }
    (sum, draft.finish())
}

fn cheapest_row(block: &BlockTable, price: impl Fn(&Costs) -> f64) -> (f64, usize) {
    let prices = block.rows.iter().map(|row| price(&row.costs)).enumerate();
    let least = prices.min_by(|a, b| a.1.total_cmp(&b.1));
    least.map_or((f64::INFINITY, 0), |(row, price)| (price, row))
}

fn cheapest_active(stage: &StageTable, table: &ChoiceTable, best: &[(f64, usize)]) -> Vec<usize> {
    let first = stage.blocks.start;
    let Some(depths) = &stage.depths else {
        let keep = |&index: &usize| table.blocks[index].skip == 0.0 || best[index].0 < 0.0;
        return stage.blocks.clone().filter(keep).collect();
    };
    let price = |depth: usize| -> f64 { best[first..first + depth].iter().map(|row| row.0).sum() };
    let depth = depths.iter().copied().min_by(|&a, &b| price(a).total_cmp(&price(b)));
    (first..first + depth.unwrap_or(0)).collect()
}

/// Weights that prove that no candidate meets all limits, with the proven minimum of the weighted sum of
/// cost / limit (above 1); `None` if no proof was found.
pub(crate) fn prove_infeasible(table: &ChoiceTable, limits: &[(Metric, f64)]) -> Option<(Vec<f64>, f64)> {
    let mut lambda = vec![1.0 / limits.len() as f64; limits.len()];
    for step in 0..DUAL_STEPS {
        let weights: Vec<_> =
            limits.iter().zip(&lambda).map(|(&(metric, limit), weight)| (metric, weight / limit)).collect();
        let (bound, candidate) = cheapest(table, &weights);
        if bound > 1.0 + PROOF_MARGIN {
            return Some((lambda, bound));
        }
        ascend(&mut lambda, &table.costs(&candidate), limits, 1.0 / (1.0 + step as f64 / 10.0));
    }
    None
}

/// Rounding in a sum of some hundred terms stays far below this.
const PROOF_MARGIN: f64 = 1e-9;

/// Multiplicative step (keeps the weights positive and summing to one).
fn ascend(lambda: &mut [f64], costs: &Costs, limits: &[(Metric, f64)], rate: f64) {
    for (weight, &(metric, limit)) in lambda.iter_mut().zip(limits) {
        *weight *= (rate * (costs.get(metric) / limit - 1.0)).clamp(-4.0, 4.0).exp();
    }
    let sum: f64 = lambda.iter().sum();
    lambda.iter_mut().for_each(|weight| *weight = (*weight / sum).max(f64::MIN_POSITIVE));
}

/// A candidate being put together from rows; what is not set is skipped.
pub(crate) struct Draft {
    subnet: Subnet,
    policy: QuantPolicy,
    quantized: bool,
}

impl Draft {
    pub fn new(table: &ChoiceTable) -> Self {
        let count = table.blocks.len();
        Self {
            subnet: Subnet { blocks: vec![None; count] },
            policy: QuantPolicy { blocks: vec![table.idle; count] },
            quantized: table.quantized(),
        }
    }

    pub fn set(&mut self, table: &ChoiceTable, index: usize, row: usize) {
        if let Some(row) = table.blocks[index].rows.get(row) {
            self.subnet.blocks[index] = Some(row.block);
            self.policy.blocks[index] = row.bits.unwrap_or(table.idle);
        }
    }

    pub fn finish(self) -> Candidate {
        Candidate { subnet: self.subnet, policy: self.quantized.then_some(self.policy) }
    }
}
