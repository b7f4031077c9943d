//! # Pricing candidates fast
//!
//! A network's cost is a sum over its blocks, and a block's a sum of two independent parts: its 1×1 convolutions,
//! which depend on width and pointwise bits, and its depthwise convolution, which depends on kernel, width and
//! depthwise bits. [`CandidatePricer`] keeps both parts of every block in dense arrays, so that a candidate costs
//! two look-ups a block and nothing is allocated. Peak activation memory is a maximum instead of a sum and has an
//! array of its own, over width and the two activation widths.
//!
//! The sums run in the order of [`CostTable::price`], so both give the same bits.

mod block;
mod cheapest;
mod price;

use sartor_space::{Block, BlockBits, Candidate, SearchSpace, Workload};
use serde::Serialize;

use self::block::{BitPositions, ContextCosts};
use self::price::Price;
use crate::cost::Costs;
use crate::reachable::{Context, contexts, fixed_layers, may_skip, reachable_layers};
use crate::units::Bytes;
use crate::{CostTable, HardwareError};

/// What can be limited or minimised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// Latency in milliseconds.
    LatencyMs,
    /// Energy in millijoules.
    EnergyMj,
    /// MACs × weight bits × activation bits.
    BitOps,
    /// Stored size in bytes.
    SizeBytes,
    /// Peak activation memory in bytes.
    PeakActivationBytes,
    /// Multiply-accumulates.
    Macs,
}

impl Metric {
    /// Every metric.
    pub const ALL: [Self; 6] = [
        Self::LatencyMs,
        Self::EnergyMj,
        Self::BitOps,
        Self::SizeBytes,
        Self::PeakActivationBytes,
        Self::Macs,
    ];

    /// The metric's value, in its unit.
    pub fn of(self, costs: &Costs) -> f64 {
        match self {
            Self::LatencyMs => costs.latency_ms.0,
            Self::EnergyMj => costs.energy_mj.0,
            Self::BitOps => costs.bitops.0 as f64,
            Self::SizeBytes => costs.size_bytes.0 as f64,
            Self::PeakActivationBytes => costs.peak_activation_bytes.0 as f64,
            Self::Macs => costs.macs.0 as f64,
        }
    }
}

/// A table as dense arrays over a space's choices.
#[derive(Debug, Clone)]
pub struct CandidatePricer {
    space: SearchSpace,
    stem: Costs,
    bits: BitPositions,
    blocks: Vec<BlockCosts>,
    heads: Vec<Costs>,
}

/// The prices of one searched block, for every place in the network it can have.
#[derive(Debug, Clone)]
struct BlockCosts {
    contexts: Vec<ContextCosts>,
}

/// One choice of a block and what it costs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BlockChoice {
    /// Kernel and width.
    pub block: Block,
    /// Bit-widths.
    pub bits: BlockBits,
    /// Cost of the block's three layers; the peak is the block's own.
    pub costs: Costs,
}

impl CandidatePricer {
    /// Looks everything up once.
    ///
    /// # Errors
    /// [`HardwareError::MissingRows`] if the table does not hold every layer the space can reach;
    /// [`HardwareError::UnsupportedBits`] never: a full-precision space is priced from full-precision rows.
    pub fn new(space: &SearchSpace, table: &CostTable) -> Result<Self, HardwareError> {
        table.check_covers(&reachable_layers(space))?;
        let contexts = contexts(space);
        let quantized = space.bits().is_some();
        let bits = BitPositions::new(space);
        let blocks =
            (0..space.blocks().len()).map(|index| BlockCosts::new(space, table, &bits, &contexts, index));
        let head = |&context: &Context| head_costs(space, table, context, quantized);
        let (stem, _) = fixed_layers(space, contexts[0][0], quantized);
        Ok(Self {
            stem: Costs { peak_activation_bytes: Bytes::ZERO, ..table.group_costs(&stem) },
            blocks: blocks.collect(),
            bits,
            heads: contexts[space.blocks().len()].iter().map(head).collect(),
            space: space.clone(),
        })
    }

    /// The cost of a candidate, every layer counted.
    ///
    /// # Errors
    /// [`HardwareError::OutsideSpace`] for a candidate the space does not contain, or without a policy where the
    /// space has bit-widths.
    pub fn price(&self, candidate: &Candidate) -> Result<Costs, HardwareError> {
        let blocks = &candidate.subnet.blocks;
        let policy = self.policy(candidate)?;
        if blocks.len() != self.blocks.len() {
            return Err(outside(blocks.len(), "the candidate has another number of blocks than the space"));
        }
        let (mut total, mut peak, mut context) = (Price::of(&self.stem), Bytes::ZERO, 0);
        for (index, (choice, block)) in blocks.iter().zip(&self.blocks).enumerate() {
            let costs = block.at(context);
            context = match choice {
                Some(block) => {
                    let bits = policy.map_or(FULL_PRECISION, |policy| policy[index]);
                    let (price, held) = self
                        .bits
                        .of(bits)
                        .and_then(|bits| costs.price(*block, bits))
                        .ok_or_else(|| outside(index, "no such kernel, width or bits"))?;
                    total = total.plus(&price);
                    peak = if held > peak { held } else { peak };
                    costs.after_active
                }
                None => costs.after_skip.ok_or_else(|| outside(index, "the block cannot be skipped"))?,
            };
        }
        Ok(total.costs(peak) + self.heads[context])
    }

    /// The candidate's bits, where the space has any.
    fn policy<'a>(&self, candidate: &'a Candidate) -> Result<Option<&'a [BlockBits]>, HardwareError> {
        match (&candidate.policy, self.space.bits()) {
            (Some(policy), Some(_)) if policy.blocks.len() == self.blocks.len() => Ok(Some(&policy.blocks)),
            (None, None) => Ok(None),
            (Some(_), Some(_)) => Err(outside(0, "the policy has another number of blocks than the space")),
            (None, Some(_)) => {
                Err(outside(0, "the candidate has no quantization policy, the space has bit-widths"))
            }
            (Some(_), None) => {
                Err(outside(0, "the candidate has a quantization policy, the space no bit-widths"))
            }
        }
    }

    /// What every candidate pays before its first block.
    pub fn stem_costs(&self) -> Costs {
        self.stem
    }

    /// What every candidate pays after its last block, in the usual place.
    pub fn head_costs(&self) -> Costs {
        self.heads[0]
    }

    /// Every allowed choice of a block in its usual place, kernels slowest; empty for a block there is not.
    ///
    /// Where no block that changes the tensor's shape can be skipped, the usual place is the only one, and a
    /// candidate costs the stem, its blocks' choices and the head.
    pub fn block_choices(&self, index: usize) -> Vec<BlockChoice> {
        self.blocks.get(index).map_or(vec![], |block| self.choices(index, &block.contexts[0]))
    }

    fn choices(&self, index: usize, costs: &ContextCosts) -> Vec<BlockChoice> {
        let options = self.space.blocks()[index].options.all();
        let bits = |block: Block| match self.space.bits() {
            Some(bits) => bits.legal(block.kernel).to_vec(),
            None => vec![FULL_PRECISION],
        };
        let priced = |block: Block, bits: BlockBits| {
            let (price, peak) = costs.price(block, self.bits.of(bits)?)?;
            Some(BlockChoice { block, bits, costs: price.costs(peak) })
        };
        options
            .into_iter()
            .flat_map(|block| bits(block).into_iter().filter_map(move |bits| priced(block, bits)))
            .collect()
    }
}

impl BlockCosts {
    fn new(
        space: &SearchSpace,
        table: &CostTable,
        bits: &BitPositions,
        contexts: &[Vec<Context>],
        index: usize,
    ) -> Self {
        let position = |context: Context| contexts[index + 1].iter().position(|&other| other == context);
        let costs = |&context: &Context| {
            let after_active = position(context.activate(space, index)).unwrap_or(0);
            let skip = may_skip(space, index).then(|| context.skip(space, index));
            ContextCosts::new(space, table, bits, (context, index), after_active, skip.and_then(position))
        };
        Self { contexts: contexts[index].iter().map(costs).collect() }
    }

    /// The prices in a context. Most spaces have one context per block; telling so apart lets the processor look up
    /// the next block before it knows where this one leads.
    #[inline]
    fn at(&self, context: usize) -> &ContextCosts {
        match &self.contexts[..] {
            [only] => only,
            contexts => &contexts[context],
        }
    }
}

const FULL_PRECISION: BlockBits = BlockBits {
    pointwise_weight: 32,
    pointwise_activation: 32,
    depthwise_weight: 32,
    depthwise_activation: 32,
};

fn head_costs(space: &SearchSpace, table: &CostTable, context: Context, quantized: bool) -> Costs {
    let (stem, head) = fixed_layers(space, context, quantized);
    let costs = table.group_costs(&head);
    let layers = if context.after_stem { [stem, head].concat() } else { head };
    Costs { peak_activation_bytes: Bytes(Workload { layers }.peak_activation_bytes()), ..costs }
}

fn outside(block: usize, reason: &'static str) -> HardwareError {
    HardwareError::OutsideSpace { block, reason }
}
