//! # The public Bit Fusion simulator
//!
//! The counters of the simulator released with Bit Fusion (Sharma et al., ISCA 2018), at any batch. Bits of a
//! tile, moved and occupied alike (b·o² its pixels, ic and oc its channels):
//!
//! - weights ⌈K²·ic/(N·P)⌉·N·P·oc·w; inputs (K + (o−1)·S)²·ic·b·a, or o²·K²·ic·b·a unrolled;
//! - outputs o²·⌈oc/M⌉·M·b·32, read and written;
//! - cycles = compute + load + max(0, ⌈(traffic − resident)/192⌉ − compute);
//! - buffers: operands are read per multiplication, nothing is shared over the array; of input-, output- and
//!   weight-stationary the one that moves the fewest bits is taken.
//!
//! The simulator has no depthwise layers; they are split as in [`bitfusion_apq`](super::bitfusion_apq).

use sartor_space::{Layer, LayerKind};

use super::bitfusion::{BitFusion, input_elements};
use super::tiling::{Convolution, Movement, Operands, Rules, Tile};
use super::{CostModel, Parameters, bitfusion};
use crate::accelerator::Section;
use crate::cost::LayerCost;
use crate::{Accelerator, HardwareError};

/// The model in the list.
pub struct BitFusionPublic;

impl CostModel for BitFusionPublic {
    fn name(&self) -> &'static str {
        "bitfusion-public"
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
        let cost = bitfusion::price(accelerator, layer, &PublicRules)?;
        Ok(LayerCost { extrapolated: layer.kind() == LayerKind::Depthwise, ..cost })
    }

    fn price_all(
        &self,
        accelerator: &Accelerator,
        layers: &[Layer],
    ) -> Result<Vec<LayerCost>, HardwareError> {
        let mut costs = bitfusion::price_all(accelerator, layers, &PublicRules)?;
        let marks = costs.iter_mut().zip(layers);
        marks.for_each(|(cost, layer)| cost.extrapolated = layer.kind() == LayerKind::Depthwise);
        Ok(costs)
    }
}

pub(crate) struct PublicRules;

impl Rules for PublicRules {
    fn loads(&self, chip: &BitFusion, layer: &Convolution, tile: &Tile) -> Operands {
        let window = layer.kernel * layer.kernel * tile.in_channels;
        let inputs = window.next_multiple_of(chip.inputs_per_cycle(layer));
        let outputs = tile.out_channels.next_multiple_of(chip.columns);
        Operands {
            input: input_elements(layer, tile) * layer.activation_bits,
            weight: inputs * tile.out_channels * layer.weight_bits,
            output: tile.batch * tile.output * tile.output * outputs * chip.partial_sum_bits,
        }
    }

    fn capacities(&self, chip: &BitFusion, layer: &Convolution, tile: &Tile) -> Operands {
        self.loads(chip, layer, tile)
    }

    fn cycles(&self, chip: &BitFusion, compute: u64, movement: &Movement) -> u64 {
        let rest = movement.traffic.total() - movement.resident.total();
        let waiting = rest.div_ceil(chip.bandwidth_bits_per_cycle).saturating_sub(compute);
        compute + chip.load_cycles(&movement.resident) + waiting
    }

    fn array_accesses(&self, chip: &BitFusion, layer: &Convolution, tile: &Tile) -> Operands {
        let pixels = tile.batch * tile.output * tile.output;
        let reduced = layer.kernel * layer.kernel * tile.in_channels;
        let multiplications = reduced * pixels * tile.out_channels;
        let (a, w, sum) = (layer.activation_bits, layer.weight_bits, chip.partial_sum_bits);
        let (each_input, each_weight) = (multiplications * a, multiplications * w);
        let each_sum = multiplications * sum;
        let choices = [
            Operands { input: reduced * pixels * a, weight: each_weight, output: each_sum },
            Operands { input: each_input, weight: each_weight, output: pixels * tile.out_channels * sum },
            Operands { input: each_input, weight: reduced * tile.out_channels * w, output: each_sum },
        ];
        choices.into_iter().min_by_key(Operands::total).unwrap_or_default()
    }
}
