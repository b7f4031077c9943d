//! # One block in one context, as dense arrays

use sartor_space::{Block, BlockBits, Layer, SearchSpace, Workload};

use super::FULL_PRECISION;
use crate::CostTable;
use crate::cost::Costs;
use crate::reachable::{Context, block_layers, fixed_layers, width_pairs};
use crate::units::{Bytes, Milliseconds};

/// Position of a kernel, width or bit-width that is not on offer.
const NONE: u16 = u16::MAX;
/// Widths of operands, 0 to 32.
const BIT_WIDTHS: usize = 33;

/// The prices of one block in one context.
#[derive(Debug, Clone)]
pub(super) struct ContextCosts {
    /// The next block's context if this one is active.
    pub(super) after_active: usize,
    /// The next block's context if this one is skipped, where it may be.
    pub(super) after_skip: Option<usize>,
    kernels: Positions,
    widths: Positions,
    bits: Positions,
    /// Width × pointwise weight bits × pointwise activation bits.
    pointwise: Vec<Costs>,
    /// Width × kernel × depthwise weight bits × depthwise activation bits.
    depthwise: Vec<Costs>,
    /// Width × pointwise activation bits × depthwise activation bits.
    peaks: Vec<Bytes>,
}

impl ContextCosts {
    pub(super) fn new(
        space: &SearchSpace,
        table: &CostTable,
        context: Context,
        index: usize,
        after_active: usize,
        after_skip: Option<usize>,
    ) -> Self {
        let options = space.blocks()[index].options.all();
        let kernels = Positions::new(options.iter().map(|block| block.kernel));
        let widths = Positions::new(options.iter().map(|block| block.width));
        let bits = Positions::new(every_width(space).into_iter());
        let pairs = bits.count * bits.count;
        let mut costs = Self {
            after_active,
            after_skip,
            pointwise: vec![UNPRICED; widths.count * pairs],
            depthwise: vec![UNPRICED; widths.count * kernels.count * pairs],
            peaks: vec![Bytes::ZERO; widths.count * pairs],
            kernels,
            widths,
            bits,
        };
        for block in options {
            costs.fill(space, table, context, index, block);
        }
        costs
    }

    /// The block's cost, or `None` if it is not on offer.
    #[inline]
    pub(super) fn price(&self, block: Block, bits: BlockBits) -> Option<Costs> {
        let (width, kernel) = (self.widths.get(block.width)?, self.kernels.get(block.kernel)?);
        let [weight, activation, depthwise_weight, depthwise_activation] = bits.fields().map(usize::from);
        let (weight, activation) = (self.bits.get(weight)?, self.bits.get(activation)?);
        let depthwise = (self.bits.get(depthwise_weight)?, self.bits.get(depthwise_activation)?);
        let pointwise = self.pointwise[self.at(width, weight, activation)];
        let place = width * self.kernels.count + kernel;
        let total = pointwise + self.depthwise[self.at(place, depthwise.0, depthwise.1)];
        let peak_activation_bytes = self.peaks[self.at(width, activation, depthwise.1)];
        (!total.latency_ms.0.is_nan()).then_some(Costs { peak_activation_bytes, ..total })
    }

    #[inline]
    fn at(&self, place: usize, first: usize, second: usize) -> usize {
        (place * self.bits.count + first) * self.bits.count + second
    }

    fn fill(&mut self, space: &SearchSpace, table: &CostTable, context: Context, index: usize, block: Block) {
        let widest = space.bits().map(|bits| bits.widest());
        let layers = block_layers(space, context, index, block, widest);
        let (pointwise, depthwise) = width_pairs(space, block.kernel);
        for &pair in &pointwise {
            let place = self.position(self.widths.get(block.width), pair);
            let ends = [at_widths(&layers[0], pair), at_widths(&layers[2], pair)];
            self.pointwise[place] = table.group_costs(&ends);
        }
        let kernel = self.kernels.get(block.kernel).unwrap_or(0);
        let place = self.widths.get(block.width).map(|width| width * self.kernels.count + kernel);
        for &pair in &depthwise {
            let place = self.position(place, pair);
            self.depthwise[place] = table.group_costs(&[at_widths(&layers[1], pair)]);
        }
        self.fill_peaks(space, context, layers, &pointwise, &depthwise);
    }

    /// Peaks do not depend on the kernel: padding keeps the tensors' sizes.
    fn fill_peaks(
        &mut self,
        space: &SearchSpace,
        context: Context,
        layers: Vec<Layer>,
        pointwise: &[(u8, u8)],
        depthwise: &[(u8, u8)],
    ) {
        let width = self.widths.get(layers[0].out_channels);
        let quantized = space.bits().is_some();
        let stem = if context.after_stem { fixed_layers(space, context, quantized).0 } else { vec![] };
        let mut network = Workload { layers: [stem, layers].concat() };
        let first = network.layers.len() - 3;
        for &(weight, activation) in pointwise {
            for &(depthwise_weight, depthwise_activation) in depthwise {
                let place = self.position(width, (activation, depthwise_activation));
                network.layers[first] = at_widths(&network.layers[first], (weight, activation));
                let pair = (depthwise_weight, depthwise_activation);
                network.layers[first + 1] = at_widths(&network.layers[first + 1], pair);
                network.layers[first + 2] = at_widths(&network.layers[first + 2], (weight, activation));
                self.peaks[place] = Bytes(network.peak_activation_bytes());
            }
        }
    }

    /// Where a choice of the space itself lies.
    fn position(&self, place: Option<usize>, (first, second): (u8, u8)) -> usize {
        let bits = |bits: u8| self.bits.get(usize::from(bits)).unwrap_or(0);
        self.at(place.unwrap_or(0), bits(first), bits(second))
    }
}

/// The cost of a combination that the space does not offer; NaN survives every sum.
const UNPRICED: Costs = Costs {
    cycles: crate::units::Cycles::ZERO,
    latency_ms: Milliseconds(f64::NAN),
    energy_mj: crate::units::Millijoules::ZERO,
    macs: crate::units::Macs::ZERO,
    bitops: crate::units::BitOps::ZERO,
    parameters: crate::units::Parameters::ZERO,
    size_bytes: Bytes::ZERO,
    peak_activation_bytes: Bytes::ZERO,
};

fn at_widths(layer: &Layer, (weight_bits, activation_bits): (u8, u8)) -> Layer {
    Layer { weight_bits, activation_bits, ..layer.clone() }
}

fn every_width(space: &SearchSpace) -> Vec<usize> {
    let Some(bits) = space.bits() else {
        return FULL_PRECISION.fields().map(usize::from).to_vec();
    };
    bits.slots().iter().flat_map(|slot| slot.choices.iter().map(|&bits| usize::from(bits))).collect()
}

/// From a value on offer to its position among them.
#[derive(Debug, Clone)]
struct Positions {
    of: Vec<u16>,
    count: usize,
}

impl Positions {
    fn new(values: impl Iterator<Item = usize>) -> Self {
        let mut sorted: Vec<usize> = values.collect();
        sorted.sort_unstable();
        sorted.dedup();
        let mut of = vec![NONE; sorted.last().map_or(0, |last| last + 1).max(BIT_WIDTHS)];
        sorted.iter().enumerate().for_each(|(position, &value)| of[value] = position as u16);
        Self { of, count: sorted.len() }
    }

    #[inline]
    fn get(&self, value: usize) -> Option<usize> {
        self.of.get(value).copied().filter(|&position| position != NONE).map(usize::from)
    }
}
