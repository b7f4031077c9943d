//! # Bit Fusion: the chip, and how a layer becomes loops
//!
//! Sharma et al., "Bit Fusion: Bit-level dynamically composable architecture for accelerating deep neural
//! networks", ISCA 2018. An array of `rows × columns` fusion units; one unit multiplies one pair of 8-bit operands
//! a cycle, or `P = ⌊8/p(a)⌋·⌊8/p(w)⌋` pairs of `a`- and `w`-bit operands, `p(b) = max(b, 2)`. Rows reduce over
//! inputs, columns hold different outputs. So 5 to 8 bits compute alike, and 3 and 4 alike.
//!
//! Both cost models ([`bitfusion_apq`](super::bitfusion_apq), [`bitfusion_public`](super::bitfusion_public))
//! share what is here: the parameters, compute cycles, the energy formula, and the way a layer is split:
//!
//! - fully connected: a 1×1 convolution on one pixel;
//! - depthwise: packs of `G = 8·P` channels, each priced as a dense convolution G → G, `⌈C/G⌉` of them;
//! - grouped: each group is a dense convolution of its own.

mod pricing;
mod spec;

pub(crate) use pricing::{check_shape, price, price_all};
pub(crate) use spec::{SECTIONS, read};

use super::tiling::{Accesses, Convolution, Operands, Tile};

/// Parameters of a Bit Fusion chip.
#[derive(Debug, Clone, PartialEq)]
pub struct BitFusion {
    /// Fusion units that reduce over inputs (N).
    pub rows: u64,
    /// Fusion units that hold different outputs (M).
    pub columns: u64,
    /// Widest operand of one unit, in bits.
    pub fused_bits: u64,
    /// Narrowest operand, in bits; narrower ones are computed as this.
    pub brick_bits: u64,
    /// Bits of a partial sum and of an output.
    pub partial_sum_bits: u64,
    /// Channels of a depthwise pack for each operand pair a unit multiplies at once.
    pub depthwise_pack: u64,
    /// Width of the memory port, bits per cycle.
    pub bandwidth_bits_per_cycle: u64,
    /// Buffer sizes in bits.
    pub buffers: Operands,
    /// Energies.
    pub energy: Energy,
}

/// Energy per action.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Energy {
    /// Array, nJ per cycle in which it multiplies.
    pub compute_nj: f64,
    /// Leakage and clock, nJ per cycle.
    pub background_nj: f64,
    /// Memory, pJ per bit.
    pub dram_pj: f64,
    /// Input buffer read, pJ per bit.
    pub input_read_pj: f64,
    /// Input buffer write, pJ per bit.
    pub input_write_pj: f64,
    /// Weight buffer read, pJ per bit.
    pub weight_read_pj: f64,
    /// Weight buffer write, pJ per bit.
    pub weight_write_pj: f64,
    /// Output buffer, a read and a write, pJ per bit; the two always come in pairs.
    pub output_pair_pj: f64,
}

/// Nanojoules per part.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Nanojoules {
    pub(crate) compute: f64,
    pub(crate) background: f64,
    pub(crate) dram: f64,
    pub(crate) input_buffer: f64,
    pub(crate) weight_buffer: f64,
    pub(crate) output_buffer: f64,
}

impl Nanojoules {
    pub(crate) fn total(&self) -> f64 {
        self.compute
            + self.background
            + self.dram
            + self.input_buffer
            + self.weight_buffer
            + self.output_buffer
    }
}

const NJ_PER_PJ: f64 = 1e-3;

impl Energy {
    /// Counts × energy per action.
    pub(crate) fn parts(&self, compute: u64, cycles: u64, dram_bits: u64, accesses: &Accesses) -> Nanojoules {
        let picojoules = |bits: u64, each: f64| bits as f64 * each * NJ_PER_PJ;
        let Accesses { input, weight, output } = accesses;
        Nanojoules {
            compute: compute as f64 * self.compute_nj,
            background: cycles as f64 * self.background_nj,
            dram: picojoules(dram_bits, self.dram_pj),
            input_buffer: picojoules(input.read, self.input_read_pj)
                + picojoules(input.write, self.input_write_pj),
            weight_buffer: picojoules(weight.read, self.weight_read_pj)
                + picojoules(weight.write, self.weight_write_pj),
            output_buffer: picojoules(output.read, self.output_pair_pj),
        }
    }
}

impl BitFusion {
    /// P: operand pairs one unit multiplies per cycle.
    pub fn pairs_per_unit(&self, activation_bits: u64, weight_bits: u64) -> u64 {
        let lanes = |bits: u64| self.fused_bits / bits.max(self.brick_bits);
        lanes(activation_bits) * lanes(weight_bits)
    }

    /// N·P: inputs reduced per cycle.
    pub(crate) fn inputs_per_cycle(&self, layer: &Convolution) -> u64 {
        self.rows * self.pairs_per_unit(layer.activation_bits, layer.weight_bits)
    }

    /// Steps of the reduction for one output: K²·⌈ic/(N·P)⌉, or ⌈K²·ic/(N·P)⌉ on unrolled windows.
    pub(crate) fn reduction_steps(&self, layer: &Convolution, tile: &Tile) -> u64 {
        let (window, each) = (layer.kernel * layer.kernel, self.inputs_per_cycle(layer));
        if layer.unrolled {
            (window * tile.in_channels).div_ceil(each)
        } else {
            window * tile.in_channels.div_ceil(each)
        }
    }

    /// Cycles in which the array works on one tile.
    pub(crate) fn tile_cycles(&self, layer: &Convolution, tile: &Tile) -> u64 {
        let pixels = tile.batch * tile.output * tile.output;
        pixels * tile.out_channels.div_ceil(self.columns) * self.reduction_steps(layer, tile)
    }

    /// Cycles that nothing hides: the first load and the last store of what is resident.
    pub(crate) fn load_cycles(&self, resident: &Operands) -> u64 {
        let port = self.bandwidth_bits_per_cycle;
        resident.read().div_ceil(port) + resident.output.div_ceil(port)
    }

    /// Buffers are double-buffered.
    pub(crate) fn half_buffers(&self) -> Operands {
        let Operands { input, weight, output } = self.buffers;
        Operands { input: input / 2, weight: weight / 2, output: output / 2 }
    }
}

/// Elements of an input tile: overlapping windows once, or every window unrolled.
pub(crate) fn input_elements(layer: &Convolution, tile: &Tile) -> u64 {
    let side = layer.kernel + (tile.output - 1) * layer.stride;
    let unrolled = tile.output * tile.output * layer.kernel * layer.kernel;
    let pixels = if layer.unrolled { unrolled } else { side * side };
    pixels * tile.in_channels * tile.batch
}
