//! # Baselines: what joint search is compared with
//!
//! Each gets the same chip, budget, predictor and number of evaluations, and is one entry of [`BASELINES`]. The
//! sequential pipeline follows APQ, table 1 and section 4.2 (architecture, then channels, then bits, each frozen before
//! the next): its first two stages search under a looser budget, so that the later ones have something to save (see
//! [`SHARES`]).

use anyhow::{Context, Result};
use sartor_search::strategies::{random, release};
use sartor_search::{Evaluation, Strategy, ladder};
use sartor_space::{Block, BlockBits, Candidate, Options, SearchSpace};

use super::asking::{Asking, Effort};
use super::fleet::Fleet;
use super::hunt;
use crate::failure::{self, Exit};

/// Where baselines meet.
pub struct Arena<'a> {
    /// The chip with its budget.
    pub fleet: &'a Fleet<'a>,
    /// The run's predictor: it searches, and judges what others find.
    pub asking: &'a Asking<'a>,
    /// A predictor fitted on the same mixed-precision pairs without transfer.
    pub scratch: &'a Asking<'a>,
    /// Candidates that each may score.
    pub evaluations: u64,
}

/// One way to choose.
pub struct Baseline {
    /// Name in tables and JSON.
    pub name: &'static str,
    /// What it does.
    pub what: &'static str,
    /// Chooses, with a seed.
    pub find: fn(&Arena<'_>, u64) -> Result<Evaluation>,
}

/// What differences are taken against.
pub const JOINT: &str = "joint";
/// What the papers' claim is about.
pub const SEQUENTIAL: &str = "sequential";

/// The baselines, joint search first.
pub const BASELINES: &[Baseline] = &[
    Baseline {
        name: JOINT,
        what: "architecture, widths and bits together (the papers' evolution)",
        find: joint,
    },
    Baseline {
        name: SEQUENTIAL,
        what: "architecture, then widths, then bits, each frozen before the next; a third of the evaluations each",
        find: sequential,
    },
    Baseline {
        name: "without-transfer",
        what: "joint, with a predictor fitted from scratch (Ours-A)",
        find: without_transfer,
    },
    Baseline { name: "random", what: "random candidates within the budget", find: random_search },
    Baseline {
        name: "release",
        what: "joint, by the released evolution: crossover discarded, depth frozen",
        find: released,
    },
    Baseline {
        name: "uniform-8",
        what: "architecture and widths, 8 bits everywhere",
        find: |arena, seed| uniform(arena, 8, seed),
    },
    Baseline {
        name: "uniform-6",
        what: "architecture and widths, 6 bits everywhere",
        find: |arena, seed| uniform(arena, 6, seed),
    },
    Baseline {
        name: "uniform-4",
        what: "architecture and widths, 4 bits everywhere",
        find: |arena, seed| uniform(arena, 4, seed),
    },
    Baseline {
        name: "architecture-only",
        what: "architecture and widths at one width of bits, the best such width; the evaluations shared among the widths",
        find: architecture_only,
    },
    Baseline {
        name: "bits-only",
        what: "a fixed architecture, scaled by one multiplier until its middle width of bits meets the budget; bits searched",
        find: bits_only,
    },
];

fn joint(arena: &Arena<'_>, seed: u64) -> Result<Evaluation> {
    Ok(arena.asking.best(arena.fleet, &|_, _, _| true, Effort::Evaluations(arena.evaluations), seed)?.best)
}

fn without_transfer(arena: &Arena<'_>, seed: u64) -> Result<Evaluation> {
    let effort = Effort::Evaluations(arena.evaluations);
    Ok(arena.scratch.best(arena.fleet, &|_, _, _| true, effort, seed)?.best)
}

fn random_search(arena: &Arena<'_>, seed: u64) -> Result<Evaluation> {
    with_strategy(arena, Box::new(random::Random::new(random::Settings::default())?), seed)
}

fn released(arena: &Arena<'_>, seed: u64) -> Result<Evaluation> {
    with_strategy(arena, Box::new(release::Release::default()), seed)
}

fn with_strategy(arena: &Arena<'_>, strategy: Box<dyn Strategy>, seed: u64) -> Result<Evaluation> {
    let effort = Effort::Evaluations(arena.evaluations);
    arena
        .fleet
        .within(&|_, _, _| true, |domain| Ok(arena.asking.run(domain, strategy, effort, seed, |_| {})?.best))
}

fn uniform(arena: &Arena<'_>, bits: u8, seed: u64) -> Result<Evaluation> {
    uniform_within(arena, bits, arena.evaluations, seed)
}

fn uniform_within(arena: &Arena<'_>, bits: u8, evaluations: u64, seed: u64) -> Result<Evaluation> {
    let space = arena.fleet.space();
    let filter = |_: usize, block: Option<Block>, own: Option<BlockBits>| at_width(space, block, own, bits);
    Ok(arena.asking.best(arena.fleet, &filter, Effort::Evaluations(evaluations), seed)?.best)
}

/// Whether a block's bits are the nearest to a uniform width; a skipped block's always are.
fn at_width(space: &SearchSpace, block: Option<Block>, own: Option<BlockBits>, bits: u8) -> bool {
    match (block, space.bits()) {
        (Some(block), Some(choices)) => own == choices.nearest(block.kernel, BlockBits::uniform(bits)),
        _ => true,
    }
}

/// Widths of bits in the space, the widest first.
pub fn bit_widths(space: &SearchSpace) -> Vec<u8> {
    let slots = space.bits().map_or(&[][..], |bits| bits.slots());
    let mut widths: Vec<u8> = slots.iter().flat_map(|slot| slot.choices.iter().copied()).collect();
    widths.sort_unstable_by(|a, b| b.cmp(a));
    widths.dedup();
    widths
}

fn architecture_only(arena: &Arena<'_>, seed: u64) -> Result<Evaluation> {
    let widths = bit_widths(arena.fleet.space());
    let share = arena.evaluations / widths.len().max(1) as u64;
    let mut refused = None;
    let mut best: Option<Evaluation> = None;
    for bits in widths {
        match uniform_within(arena, bits, share, seed) {
            Ok(found) if best.as_ref().is_none_or(|best| found.score > best.score) => best = Some(found),
            Ok(_) => {}
            Err(error) if failure::exit_code(&error) == Exit::Infeasible => refused = Some(error),
            Err(error) => return Err(error),
        }
    }
    best.map_or_else(|| Err(refused.unwrap_or_else(|| anyhow::anyhow!("the space has no bits"))), Ok)
}

/// The fixed architecture: the largest of the family whose middle width of bits meets the budget, or else the smallest.
fn bits_only(arena: &Arena<'_>, seed: u64) -> Result<Evaluation> {
    let space = arena.fleet.space();
    let widths = bit_widths(space);
    let middle = widths.get(widths.len() / 2).copied().unwrap_or(8);
    let rungs = ladder::ladder(space);
    let mut chosen = rungs.last().context("a space without architectures")?;
    for rung in &rungs {
        let policy = space.uniform_policy(rung, middle);
        if arena.fleet.chips()[0].allows(&Candidate { subnet: rung.clone(), policy })? {
            chosen = rung;
            break;
        }
    }
    let filter = |index: usize, block: Option<Block>, _: Option<BlockBits>| block == chosen.blocks[index];
    Ok(arena.asking.best(arena.fleet, &filter, Effort::Evaluations(arena.evaluations), seed)?.best)
}

/// Share of what later stages could save, in logarithms, by which the earlier stages' budgets are looser: half of it if
/// that leaves something in every stage, else the next one that does.
const SHARES: [f64; 8] = [0.5, 0.65, 0.8, 0.95, 0.35, 0.2, 0.1, 0.0];

fn sequential(arena: &Arena<'_>, seed: u64) -> Result<Evaluation> {
    let (by_width, by_bits) = savings(arena)?;
    let mut refused = None;
    for share in SHARES {
        let factors = [(by_width * by_bits).powf(share), by_bits.powf(share)];
        match in_sequence(arena, factors, seed) {
            Ok(found) => return Ok(found),
            Err(error) if failure::exit_code(&error) == Exit::Infeasible => refused = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(refused.unwrap_or_else(|| anyhow::anyhow!("the sequential pipeline found nothing")))
}

/// What the largest network costs at most as a multiple of itself with the narrowest layers, and with the fewest bits.
fn savings(arena: &Arena<'_>) -> Result<(f64, f64)> {
    let space = arena.fleet.space();
    let chip = arena.fleet.chips()[0];
    let budget = chip.limits.as_costs();
    let largest = space.largest();
    let mut narrow = largest.clone();
    for (index, block) in narrow.blocks.iter_mut().enumerate() {
        if let (Some(block), Options::Grid { widths, .. }) = (block, &space.blocks()[index].options) {
            block.width = widths.iter().copied().min().unwrap_or(block.width);
        }
    }
    let widths = bit_widths(space);
    let (most, fewest) = (widths.first().copied().unwrap_or(8), widths.last().copied().unwrap_or(8));
    let costs = |subnet: &sartor_space::Subnet, bits: u8| {
        chip.prices.of(&Candidate { subnet: subnet.clone(), policy: space.uniform_policy(subnet, bits) })
    };
    let (whole, narrow, few) = (costs(&largest, most)?, costs(&narrow, most)?, costs(&largest, fewest)?);
    let saving = |other: &crate::records::Costs| {
        let ratios = budget.keys().filter_map(|name| Some(whole.get(name)? / other.get(name)?));
        ratios.fold(f64::INFINITY, f64::min)
    };
    let finite = |ratio: f64| if ratio.is_finite() { ratio.max(1.0) } else { 1.0 };
    Ok((finite(saving(&narrow)), finite(saving(&few))))
}

fn in_sequence(arena: &Arena<'_>, factors: [f64; 2], seed: u64) -> Result<Evaluation> {
    let space = arena.fleet.space();
    let widest = bit_widths(space).first().copied().unwrap_or(8);
    let effort = Effort::Evaluations(arena.evaluations / 3);
    let stage = |factor: f64, filter: sartor_search::Filter<'_>| {
        arena.fleet.within_scaled(factor, filter, |domain| {
            let strategy = hunt::strategy(arena.asking.settings())?;
            Ok(arena.asking.run(domain, strategy, effort, seed, |_| {})?.best)
        })
    };
    let full = |index: usize, block: Block| match &space.blocks()[index].options {
        Options::Grid { .. } => block.width == space.blocks()[index].options.max_width(),
        Options::List(_) => true,
    };
    let first = stage(factors[0], &|index, block, bits| {
        block.is_none_or(|block| full(index, block)) && at_width(space, block, bits, widest)
    })?;
    let frozen = &first.candidate.subnet.blocks;
    let like =
        |index: usize, block: Option<Block>| match (block, frozen[index], &space.blocks()[index].options) {
            (Some(own), Some(other), Options::Grid { .. }) => own.kernel == other.kernel,
            (own, other, _) => own == other,
        };
    let second =
        stage(factors[1], &|index, block, bits| like(index, block) && at_width(space, block, bits, widest))?;
    let frozen = &second.candidate.subnet.blocks;
    stage(1.0, &|index, block, _| block == frozen[index])
}
