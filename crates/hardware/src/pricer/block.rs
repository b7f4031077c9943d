//! # One block in one context, as dense arrays

use sartor_space::{Block, BlockBits, Layer, SearchSpace, Workload};

use super::FULL_PRECISION;
use super::price::Price;
use crate::CostTable;
use crate::reachable::{Context, WidthPairs, block_layers, fixed_layers, width_pairs};
use crate::units::Bytes;

/// Position of a kernel, width or bit-width that is not on offer.
const NONE: u16 = u16::MAX;
/// Every width that a `u8` can name, so that looking one up needs no check.
const BIT_WIDTHS: usize = 256;
/// Position of a bit-width that is not on offer; all its bits are set.
const NO_WIDTH: u8 = u8::MAX;

/// The prices of one block in one context.
#[derive(Debug, Clone)]
pub(super) struct ContextCosts {
    /// The next block's context if this one is active.
    pub(super) after_active: usize,
    /// The next block's context if this one is skipped, where it may be.
    pub(super) after_skip: Option<usize>,
    kernels: Positions,
    widths: Positions,
    bits: usize,
    /// Width × pointwise weight bits × pointwise activation bits.
    pointwise: Vec<Price>,
    /// Width × kernel × depthwise weight bits × depthwise activation bits.
    depthwise: Vec<Price>,
    /// Width × pointwise activation bits × depthwise activation bits.
    peaks: Vec<Bytes>,
}

impl ContextCosts {
    pub(super) fn new(
        space: &SearchSpace,
        table: &CostTable,
        bits: &BitPositions,
        (context, index): (Context, usize),
        after_active: usize,
        after_skip: Option<usize>,
    ) -> Self {
        let options = space.blocks()[index].options.all();
        let kernels = Positions::new(options.iter().map(|block| block.kernel));
        let widths = Positions::new(options.iter().map(|block| block.width));
        let pairs = bits.count * bits.count;
        let mut costs = Self {
            after_active,
            after_skip,
            pointwise: vec![Price::UNKNOWN; widths.count * pairs],
            depthwise: vec![Price::UNKNOWN; widths.count * kernels.count * pairs],
            peaks: vec![Bytes::ZERO; widths.count * pairs],
            kernels,
            widths,
            bits: bits.count,
        };
        for block in options {
            costs.fill(space, table, bits, (context, index), block);
        }
        costs
    }

    /// The block's cost at these positions of bit-widths, or `None` if it is not on offer.
    #[inline(always)]
    pub(super) fn price(&self, block: Block, bits: [usize; 4]) -> Option<(Price, Bytes)> {
        let (width, kernel) = (self.widths.get(block.width)?, self.kernels.get(block.kernel)?);
        let [weight, activation, depthwise_weight, depthwise_activation] = bits;
        let depthwise = (depthwise_weight, depthwise_activation);
        let place = width * self.kernels.count + kernel;
        let pointwise = &self.pointwise[self.at(width, weight, activation)];
        let total = pointwise.plus(&self.depthwise[self.at(place, depthwise.0, depthwise.1)]);
        let peak = self.peaks[self.at(width, activation, depthwise.1)];
        (!total.is_unknown()).then_some((total, peak))
    }

    #[inline]
    fn at(&self, place: usize, first: usize, second: usize) -> usize {
        (place * self.bits + first) * self.bits + second
    }

    fn fill(
        &mut self,
        space: &SearchSpace,
        table: &CostTable,
        bits: &BitPositions,
        (context, index): (Context, usize),
        block: Block,
    ) {
        let widest = space.bits().map(|bits| bits.widest());
        let layers = block_layers(space, context, index, block, widest);
        let pairs = width_pairs(space, block.kernel);
        let (pointwise, depthwise) = &pairs;
        for &pair in pointwise {
            let place = self.position(bits, self.widths.get(block.width), pair);
            let ends = [at_widths(&layers[0], pair), at_widths(&layers[2], pair)];
            self.pointwise[place] = Price::of(&table.group_costs(&ends));
        }
        let kernel = self.kernels.get(block.kernel).unwrap_or(0);
        let place = self.widths.get(block.width).map(|width| width * self.kernels.count + kernel);
        for &pair in depthwise {
            let place = self.position(bits, place, pair);
            self.depthwise[place] = Price::of(&table.group_costs(&[at_widths(&layers[1], pair)]));
        }
        self.fill_peaks(space, bits, context, layers, &pairs);
    }

    /// Peaks do not depend on the kernel: padding keeps the tensors' sizes.
    fn fill_peaks(
        &mut self,
        space: &SearchSpace,
        bits: &BitPositions,
        context: Context,
        layers: Vec<Layer>,
        (pointwise, depthwise): &(WidthPairs, WidthPairs),
    ) {
        let width = self.widths.get(layers[0].out_channels);
        let quantized = space.bits().is_some();
        let stem = if context.after_stem { fixed_layers(space, context, quantized).0 } else { vec![] };
        let mut network = Workload { layers: [stem, layers].concat() };
        let first = network.layers.len() - 3;
        for &(weight, activation) in pointwise {
            for &(depthwise_weight, depthwise_activation) in depthwise {
                let place = self.position(bits, width, (activation, depthwise_activation));
                network.layers[first] = at_widths(&network.layers[first], (weight, activation));
                let pair = (depthwise_weight, depthwise_activation);
                network.layers[first + 1] = at_widths(&network.layers[first + 1], pair);
                network.layers[first + 2] = at_widths(&network.layers[first + 2], (weight, activation));
                self.peaks[place] = Bytes(network.peak_activation_bytes());
            }
        }
    }

    /// Where a choice of the space itself lies.
    fn position(&self, bits: &BitPositions, place: Option<usize>, (first, second): (u8, u8)) -> usize {
        let position = |width: u8| bits.get(width).unwrap_or(0);
        self.at(place.unwrap_or(0), position(first), position(second))
    }
}

fn at_widths(layer: &Layer, (weight_bits, activation_bits): (u8, u8)) -> Layer {
    Layer { weight_bits, activation_bits, ..layer.clone() }
}

fn every_width(space: &SearchSpace) -> Vec<usize> {
    let Some(bits) = space.bits() else {
        return FULL_PRECISION.fields().map(usize::from).to_vec();
    };
    bits.slots().iter().flat_map(|slot| slot.choices.iter().map(|&bits| usize::from(bits))).collect()
}

/// From a bit-width on offer anywhere in the space to its position among them; one for all blocks, so that it stays
/// at hand.
#[derive(Debug, Clone)]
pub(super) struct BitPositions {
    of: [u8; BIT_WIDTHS],
    count: usize,
}

impl BitPositions {
    pub(super) fn new(space: &SearchSpace) -> Self {
        let mut sorted = every_width(space);
        sorted.sort_unstable();
        sorted.dedup();
        let mut of = [NO_WIDTH; BIT_WIDTHS];
        sorted.iter().enumerate().for_each(|(position, &width)| of[width] = position as u8);
        Self { of, count: sorted.len() }
    }

    /// The positions of a block's four widths.
    #[inline]
    pub(super) fn of(&self, bits: BlockBits) -> Option<[usize; 4]> {
        let positions = bits.fields().map(|width| self.of[usize::from(width)]);
        let on_offer = positions.iter().fold(0, |seen, &position| seen | position) != NO_WIDTH;
        on_offer.then_some(positions.map(usize::from))
    }

    #[inline]
    fn get(&self, width: u8) -> Option<usize> {
        Some(self.of[usize::from(width)]).filter(|&position| position != NO_WIDTH).map(usize::from)
    }
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
        let mut of = vec![NONE; sorted.last().map_or(0, |last| last + 1)];
        sorted.iter().enumerate().for_each(|(position, &value)| of[value] = position as u16);
        Self { of, count: sorted.len() }
    }

    #[inline]
    fn get(&self, value: usize) -> Option<usize> {
        self.of.get(value).copied().filter(|&position| position != NONE).map(usize::from)
    }
}
