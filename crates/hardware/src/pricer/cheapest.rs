//! # The cheapest candidate, exactly
//!
//! Dynamic programming over the blocks: costs are sums (peak memory: a maximum) over blocks, and what a block may
//! be depends on the past only through its context and, in a stage with prefix depths, through how many blocks were
//! active and whether one was already skipped. For each such state the cheapest way there is kept. Sums of
//! non-negative terms and maxima are monotone, so the cheapest whole consists of cheapest parts.

use std::collections::BTreeMap;

use sartor_space::{Block, BlockBits, Candidate, Depth, QuantPolicy, Subnet};

use super::{BlockChoice, CandidatePricer, Metric};
use crate::cost::Costs;

/// What the future depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    context: usize,
    /// Active blocks of the stage so far, if no block of it was skipped yet; `None` afterwards.
    open: Option<usize>,
}

/// The cheapest way to a state.
#[derive(Debug, Clone)]
struct Path {
    costs: Costs,
    choices: Vec<Option<(Block, BlockBits)>>,
}

impl CandidatePricer {
    /// The candidate with the least of a metric, and its costs; ties go to the first in the space's order.
    pub fn cheapest(&self, metric: Metric) -> Option<(Candidate, Costs)> {
        let start = State { context: 0, open: Some(0) };
        let mut paths = BTreeMap::from([(start, Path { costs: self.stem, choices: vec![] })]);
        for index in 0..self.blocks.len() {
            paths = self.extend(metric, index, paths);
        }
        let whole = |(state, path): (State, Path)| {
            let costs = path.costs + self.heads[state.context];
            (metric.of(&costs), costs, path.choices)
        };
        let (_, costs, choices) =
            paths.into_iter().map(whole).min_by(|one, other| one.0.total_cmp(&other.0))?;
        Some((self.candidate(&choices), costs))
    }

    fn extend(&self, metric: Metric, index: usize, paths: BTreeMap<State, Path>) -> BTreeMap<State, Path> {
        let mut next = BTreeMap::new();
        for (state, path) in paths {
            let context = &self.blocks[index].contexts[state.context];
            if let Some(open) = self.activated(index, state.open)
                && let Some(choice) = self.least(metric, index, state.context)
            {
                let state = State { context: context.after_active, open };
                keep(metric, &mut next, self.close(index, state), path.with(Some(choice)));
            }
            if let (Some(after), Some(open)) = (context.after_skip, self.skipped(index, state.open)) {
                keep(metric, &mut next, self.close(index, State { context: after, open }), path.with(None));
            }
        }
        next
    }

    /// The stage's progress after an active block, or `None` if the block must be skipped.
    fn activated(&self, index: usize, open: Option<usize>) -> Option<Option<usize>> {
        match (self.depth(index), open) {
            (Depth::AnyBlock, _) => Some(Some(0)),
            (Depth::Prefix(_), None) => None,
            (Depth::Prefix(depths), Some(active)) => {
                depths.iter().any(|&depth| depth > active).then_some(Some(active + 1))
            }
        }
    }

    /// The stage's progress after a skipped block, or `None` if the block must be active.
    fn skipped(&self, index: usize, open: Option<usize>) -> Option<Option<usize>> {
        match (self.depth(index), open) {
            (Depth::AnyBlock, _) => Some(Some(0)),
            (Depth::Prefix(_), None) => Some(None),
            (Depth::Prefix(depths), Some(active)) => depths.contains(&active).then_some(None),
        }
    }

    /// A stage's last block forgets the stage's progress.
    fn close(&self, index: usize, state: State) -> State {
        let stage = &self.space.stages()[self.space.blocks()[index].stage];
        if index + 1 == stage.range().end { State { open: Some(0), ..state } } else { state }
    }

    fn depth(&self, index: usize) -> &Depth {
        &self.space.stages()[self.space.blocks()[index].stage].depth
    }

    fn least(&self, metric: Metric, index: usize, context: usize) -> Option<BlockChoice> {
        let choices = self.choices(index, &self.blocks[index].contexts[context]);
        choices.into_iter().min_by(|one, other| metric.of(&one.costs).total_cmp(&metric.of(&other.costs)))
    }

    fn candidate(&self, choices: &[Option<(Block, BlockBits)>]) -> Candidate {
        let blocks = choices.iter().map(|choice| choice.map(|(block, _)| block)).collect();
        let policy = self.space.bits().map(|bits| {
            let widest = bits.widest();
            QuantPolicy {
                blocks: choices.iter().map(|choice| choice.map_or(widest, |(_, bits)| bits)).collect(),
            }
        });
        Candidate { subnet: Subnet { blocks }, policy }
    }
}

impl Path {
    fn with(&self, choice: Option<BlockChoice>) -> Self {
        let mut path = self.clone();
        if let Some(choice) = choice {
            path.costs += choice.costs;
        }
        path.choices.push(choice.map(|choice| (choice.block, choice.bits)));
        path
    }
}

fn keep(metric: Metric, paths: &mut BTreeMap<State, Path>, state: State, path: Path) {
    let better = |kept: &Path| metric.of(&path.costs) < metric.of(&kept.costs);
    if paths.get(&state).is_none_or(better) {
        paths.insert(state, path);
    }
}
