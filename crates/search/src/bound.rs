//! # What any candidate could reach
//!
//! Where a score adds up over blocks, as ridge regression does, Lagrangian duality bounds it. With costs that add up, limits `l_m`
//! and any multipliers λ ≥ 0,
//!
//! `max { score(c) : cost_m(c) ≤ l_m } ≤ Σ_m λ_m + max_c [ score(c) − Σ_m λ_m · cost_m(c) / l_m ]`,
//!
//! and the right side is a maximum block by block (and depth by depth of each stage), so it is exact. The λ of the lowest bound are
//! looked for by subgradient steps of Polyak's length, towards the best score known. Limits on costs that do not add up
//! are left out: the bound stays one.

use sartor_space::{Block, BlockBits, Candidate};

use crate::domain::Domain;
use crate::metric::{Costs, Metric};
use crate::table::{BlockTable, ChoiceTable, Row, StageTable};

/// Subgradient steps; each looks at every row.
const STEPS: usize = 200;

/// Score of an active block with its choices.
pub type Gain<'a> = &'a dyn Fn(usize, Block, Option<BlockBits>) -> f64;

impl Domain<'_> {
    /// A bound that no allowed candidate's score exceeds, the score being `constant` plus the gain of every active block.
    /// `best` is the best candidate known; its score tells how far to step.
    pub fn bound(&self, constant: f64, gain: Gain<'_>, best: &Candidate) -> f64 {
        let bits = |index: usize| best.policy.as_ref().map(|policy| policy.blocks[index]);
        let gains = best.subnet.active().map(|(index, block)| gain(index, block, bits(index)));
        let reached = constant + gains.sum::<f64>();
        let dual = Dual::new(self.table(), self.additive_limits().collect(), constant, gain);
        let mut lambda = vec![0.0; dual.limits.len()];
        let mut least = f64::INFINITY;
        for _ in 0..STEPS {
            let (bound, slack) = dual.at(&lambda);
            least = least.min(bound);
            let length: f64 = slack.iter().map(|slack| slack * slack).sum();
            let distance = bound - reached;
            if distance <= 0.0 || length == 0.0 {
                break;
            }
            let step = distance / length;
            lambda
                .iter_mut()
                .zip(&slack)
                .for_each(|(lambda, slack)| *lambda = (*lambda - step * slack).max(0.0));
        }
        least
    }
}

/// The dual function of a table.
struct Dual<'a> {
    table: &'a ChoiceTable,
    limits: Vec<(Metric, f64)>,
    constant: f64,
    /// Per block, per row.
    gains: Vec<Vec<f64>>,
}

impl<'a> Dual<'a> {
    fn new(table: &'a ChoiceTable, limits: Vec<(Metric, f64)>, constant: f64, gain: Gain<'_>) -> Self {
        let of_block = |(index, block): (usize, &BlockTable)| -> Vec<f64> {
            block.rows.iter().map(|row| gain(index, row.block, row.bits)).collect()
        };
        let gains = table.blocks.iter().enumerate().map(of_block).collect();
        Self { table, limits, constant, gains }
    }

    /// The bound, and by how much (as shares of the limits) its candidate stays below each limit.
    fn at(&self, lambda: &[f64]) -> (f64, Vec<f64>) {
        let best: Vec<Option<(f64, &Row)>> =
            (0..self.gains.len()).map(|index| self.best(index, lambda)).collect();
        let mut costs = self.table.fixed;
        let mut bound = self.constant + lambda.iter().sum::<f64>() - self.price(&costs, lambda);
        for stage in &self.table.stages {
            for &(value, row) in self.active(stage, &best).iter() {
                bound += value;
                costs.add(&row.costs);
            }
        }
        let slack = self.limits.iter().map(|&(metric, limit)| 1.0 - costs.get(metric) / limit).collect();
        (bound, slack)
    }

    fn price(&self, costs: &Costs, lambda: &[f64]) -> f64 {
        self.limits
            .iter()
            .zip(lambda)
            .map(|(&(metric, limit), lambda)| lambda * costs.get(metric) / limit)
            .sum()
    }

    /// The row that is worth most, and what it is worth.
    fn best(&self, index: usize, lambda: &[f64]) -> Option<(f64, &Row)> {
        let rows = self.table.blocks[index].rows.iter().zip(&self.gains[index]);
        let valued = rows.map(|(row, gain)| (gain - self.price(&row.costs, lambda), row));
        valued.max_by(|a, b| a.0.total_cmp(&b.0))
    }

    /// The blocks of a stage that are worth having.
    fn active<'b>(&self, stage: &StageTable, best: &[Option<(f64, &'b Row)>]) -> Vec<(f64, &'b Row)> {
        let blocks = || best[stage.blocks.clone()].iter().flatten().copied();
        let Some(depths) = &stage.depths else {
            let wanted = |index: &usize| {
                self.table.blocks[*index].skip == 0.0 || best[*index].is_some_and(|(value, _)| value > 0.0)
            };
            return stage.blocks.clone().filter(wanted).filter_map(|index| best[index]).collect();
        };
        let worth = |depth: usize| blocks().take(depth).map(|(value, _)| value).sum::<f64>();
        let depth = depths.iter().copied().max_by(|&a, &b| worth(a).total_cmp(&worth(b)));
        blocks().take(depth.unwrap_or(0)).collect()
    }
}
