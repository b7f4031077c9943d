//! # Moves: how one candidate becomes another
//!
//! Every move stays among the choices that are not frozen out. Coarse ones redraw whole blocks (`mutate`) or copy them from
//! a cheap donor (`repair`); fine ones redraw a single choice (`tweak`) or change a stage's depth with as little damage
//! as possible (`reshape`).

use rand::{Rng, RngExt};
use sartor_space::{Block, BlockBits, Candidate};

use super::Domain;
use crate::metric::METRICS;
use crate::table::StageTable;

/// Moves of one repair.
const REPAIR_MOVES: usize = 400;
/// Single choices redrawn to pay for another depth.
const PAYMENTS: usize = 100;

impl Domain<'_> {
    /// Pushes a candidate towards the budget by random moves that lower its excess; what is within is left as it
    /// is. Bounded: the result may still exceed the budget.
    pub fn repair(&self, candidate: Candidate, rng: &mut impl Rng) -> Candidate {
        let mut best = candidate;
        let mut excess = self.excess(&best);
        for _ in 0..REPAIR_MOVES {
            if excess == 0.0 {
                break;
            }
            let donor = self.sampler.sample(&self.table, rng);
            let child = self.transplant(&best, &donor, rng);
            let left = self.excess(&child);
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
                choose(&mut child, index, choice(donor, index));
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

    /// A copy in which one stage has another depth (or one block that can be skipped wakes up or falls asleep). What wakes
    /// up takes the choices of the block before it, where those are among its own: what has proved good there is a better
    /// guess than a random draw. The child is then brought back into the budget by redrawing single choices. Where nothing can
    /// be skipped, one choice is redrawn instead.
    pub fn reshape(&self, parent: &Candidate, rng: &mut impl Rng) -> Candidate {
        let mut child = parent.clone();
        let stage = &self.table.stages[rng.random_range(0..self.table.stages.len())];
        let wanted = self.other_activity(stage, parent, rng);
        for (index, active) in stage.blocks.clone().zip(wanted) {
            if active != child.subnet.blocks[index].is_some() {
                self.redraw(&mut child, index, active, rng);
                if active && index > stage.blocks.start {
                    self.imitate(&mut child, index);
                }
            }
        }
        if child == *parent { self.tweak(parent, 0.0, rng) } else { self.pay(child, rng) }
    }

    /// Which blocks of a stage shall be active: another depth, or one block changed.
    fn other_activity(&self, stage: &StageTable, candidate: &Candidate, rng: &mut impl Rng) -> Vec<bool> {
        let mut active: Vec<bool> =
            stage.blocks.clone().map(|index| candidate.subnet.blocks[index].is_some()).collect();
        match &stage.depths {
            Some(depths) => {
                let depth = depths[rng.random_range(0..depths.len())];
                active.iter_mut().enumerate().for_each(|(index, active)| *active = index < depth);
            }
            None => {
                let index = rng.random_range(0..active.len());
                let block = &self.table.blocks[stage.blocks.start + index];
                active[index] ^= block.skip > 0.0 && !block.rows.is_empty();
            }
        }
        active
    }

    /// Copies the choices of the block before, if there are such in the table.
    fn imitate(&self, child: &mut Candidate, index: usize) {
        let Some(block) = child.subnet.blocks[index - 1] else { return };
        let bits = child.policy.as_ref().map(|policy| policy.blocks[index - 1]);
        if self.table.row(index, block, bits).is_some() {
            choose(child, index, (Some(block), bits));
        }
    }

    /// Redraws single choices, keeping what lowers the excess over the budget, until none is left. Bounded: the result may
    /// still exceed it.
    fn pay(&self, mut child: Candidate, rng: &mut impl Rng) -> Candidate {
        let active: Vec<usize> = child.subnet.active().map(|(index, _)| index).collect();
        let Some(mut costs) = self.table.limited_costs(&child) else { return child };
        let mut excess = self.excess_at(&child, costs);
        for _ in 0..if active.is_empty() { 0 } else { PAYMENTS } {
            if excess == 0.0 {
                break;
            }
            let index = active[rng.random_range(0..active.len())];
            let before = choice(&child, index);
            self.tweak_block(&mut child, index, rng);
            let after = choice(&child, index);
            let Some(left) = self.exchanged(costs, index, before, after).filter(|_| before != after) else {
                continue;
            };
            let left_over = self.excess_at(&child, left);
            if left_over < excess {
                (costs, excess) = (left, left_over);
            } else {
                choose(&mut child, index, before);
            }
        }
        child
    }

    /// Limited costs after a block has exchanged one choice for another, both of which are in the table.
    fn exchanged(
        &self,
        mut costs: [f64; METRICS],
        index: usize,
        before: Choice,
        after: Choice,
    ) -> Option<[f64; METRICS]> {
        let row = |(block, bits): Choice| self.table.limited_row(index, block?, bits);
        let changes = row(before)?.iter().zip(row(after)?);
        costs.iter_mut().zip(changes).for_each(|(cost, (before, after))| *cost += after - before);
        Some(costs)
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
        let rows = &self.table.blocks[index].rows;
        let donor = (!rows.is_empty()).then(|| &rows[rng.random_range(0..rows.len())]);
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
            choose(child, index, (Some(block), bits));
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
}

/// What a candidate has chosen for one block.
type Choice = (Option<Block>, Option<BlockBits>);

fn choice(candidate: &Candidate, index: usize) -> Choice {
    (candidate.subnet.blocks[index], candidate.policy.as_ref().map(|policy| policy.blocks[index]))
}

fn choose(candidate: &mut Candidate, index: usize, (block, bits): Choice) {
    candidate.subnet.blocks[index] = block;
    if let (Some(policy), Some(bits)) = (&mut candidate.policy, bits) {
        policy.blocks[index] = bits;
    }
}
