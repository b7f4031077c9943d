//! # The Bit Fusion variant behind the APQ and EMS tables
//!
//! APQ (Wang et al., CVPR 2020) and EMS price candidates with a layer table for Bit Fusion at batch 1. This model
//! reproduces it: every entry's cycles exactly and its energy to 1e-8. It is the public simulator
//! ([`bitfusion_public`](super::bitfusion_public)) with these rules, w' and a' being bit-widths rounded up to a
//! power of two, b·o² the pixels of a tile, ic and oc its channels:
//!
//! - moved bits are unpadded: weights K²·ic·oc·w, outputs b·o²·oc·32;
//! - occupied bits are padded to the array: weights K²→⌈K²·ic/(N·P)⌉·N·P·⌈oc/M⌉·M·w',
//!   inputs window·⌈ic/(N·P)⌉·N·P·a', outputs b·o²·⌈oc/M⌉·M·32;
//! - cycles = max(compute + load, ⌈read/192⌉ + ⌈written/192⌉);
//! - the array shares operands: an input is read once per ⌈oc/M⌉ columns, partial sums once per reduction step;
//!   of weight-, output- and input-stationary the one of least energy is taken.
//!
//! 2-bit depthwise layers are outside what the published table shows and are marked as extrapolated.

use sartor_space::{Layer, LayerKind};

use super::bitfusion::{BitFusion, input_elements};
use super::tiling::{Access, Accesses, Convolution, Movement, Operands, Rules, Tile};
use super::{CostModel, Parameters, bitfusion};
use crate::accelerator::Section;
use crate::cost::LayerCost;
use crate::{Accelerator, HardwareError};

/// The model in the list.
pub struct BitFusionApq;

/// The published depthwise entries stop at this width.
const NARROWEST_PUBLISHED_DEPTHWISE_BITS: u8 = 4;

impl CostModel for BitFusionApq {
    fn name(&self) -> &'static str {
        "bitfusion-apq"
    }

    fn version(&self) -> u32 {
        1
    }

    fn sections(&self) -> &'static [&'static str] {
        bitfusion::SECTIONS
    }

    fn parameters(&self, spec: &Section<'_>) -> Result<Parameters, HardwareError> {
        bitfusion::read(spec).map(Parameters::BitFusion)
    }

    fn price(&self, accelerator: &Accelerator, layer: &Layer) -> Result<LayerCost, HardwareError> {
        let cost = bitfusion::price(accelerator, layer, &ApqRules)?;
        Ok(LayerCost { extrapolated: extrapolated(layer), ..cost })
    }

    fn price_all(
        &self,
        accelerator: &Accelerator,
        layers: &[Layer],
    ) -> Result<Vec<LayerCost>, HardwareError> {
        let mut costs = bitfusion::price_all(accelerator, layers, &ApqRules)?;
        costs.iter_mut().zip(layers).for_each(|(cost, layer)| cost.extrapolated = extrapolated(layer));
        Ok(costs)
    }
}

fn extrapolated(layer: &Layer) -> bool {
    layer.kind() == LayerKind::Depthwise
        && layer.weight_bits.min(layer.activation_bits) < NARROWEST_PUBLISHED_DEPTHWISE_BITS
}

pub(crate) struct ApqRules;

impl Rules for ApqRules {
    fn loads(&self, chip: &BitFusion, layer: &Convolution, tile: &Tile) -> Operands {
        Operands {
            input: input_elements(layer, tile) * layer.activation_bits,
            weight: weights(layer, tile) * layer.weight_bits,
            output: pixels(tile) * tile.out_channels * chip.partial_sum_bits,
        }
    }

    fn capacities(&self, chip: &BitFusion, layer: &Convolution, tile: &Tile) -> Operands {
        let each = chip.inputs_per_cycle(layer);
        let outputs = tile.out_channels.next_multiple_of(chip.columns);
        let window = layer.kernel * layer.kernel;
        let padded = Tile { in_channels: tile.in_channels.next_multiple_of(each), ..*tile };
        Operands {
            input: input_elements(layer, &padded) * layer.activation_bits.next_power_of_two(),
            weight: (window * tile.in_channels).next_multiple_of(each)
                * outputs
                * layer.weight_bits.next_power_of_two(),
            output: pixels(tile) * outputs * chip.partial_sum_bits,
        }
    }

    fn cycles(&self, chip: &BitFusion, compute: u64, movement: &Movement) -> u64 {
        let port = chip.bandwidth_bits_per_cycle;
        let moving = movement.traffic.read().div_ceil(port) + movement.traffic.output.div_ceil(port);
        moving.max(compute + chip.load_cycles(&movement.resident))
    }

    fn array_accesses(&self, chip: &BitFusion, layer: &Convolution, tile: &Tile) -> Operands {
        let columns = tile.out_channels.div_ceil(chip.columns);
        let inputs = layer.kernel * layer.kernel * tile.in_channels * pixels(tile) * layer.activation_bits;
        let weight = weights(layer, tile) * layer.weight_bits;
        let sums = tile.out_channels * pixels(tile) * chip.partial_sum_bits;
        let stepped = sums * chip.reduction_steps(layer, tile);
        let weight_stationary = Operands { input: inputs * columns, weight, output: stepped };
        let output_stationary =
            Operands { input: inputs * columns, weight: weight * pixels(tile), output: sums };
        let input_stationary = Operands { input: inputs, weight: weight * pixels(tile), output: stepped };
        let choices = [weight_stationary, output_stationary, input_stationary];
        let energy = |choice: &Operands| array_energy(chip, choice);
        choices.into_iter().min_by(|a, b| energy(a).total_cmp(&energy(b))).unwrap_or_default()
    }
}

fn pixels(tile: &Tile) -> u64 {
    tile.batch * tile.output * tile.output
}

fn weights(layer: &Convolution, tile: &Tile) -> u64 {
    layer.kernel * layer.kernel * tile.in_channels * tile.out_channels
}

fn array_energy(chip: &BitFusion, moved: &Operands) -> f64 {
    let read = |read| Access { read, write: 0 };
    let output = Access { read: moved.output, write: moved.output };
    let accesses = Accesses { input: read(moved.input), weight: read(moved.weight), output };
    chip.energy.parts(0, 0, 0, &accesses).total()
}
