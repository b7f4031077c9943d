//! # Roofline
//!
//! Williams et al., "Roofline: an insightful visual performance model", CACM 2009: a layer takes as long as the
//! slower of its multiplications at the peak rate and its data at the peak bandwidth.
//!
//! - cycles = max(⌈MACs / rate(b)⌉, ⌈bits moved / bandwidth⌉), bits moved = weights, inputs and outputs once each;
//! - rate(b) is the peak at the wider of the two operands, halved for each doubling of the width beyond 8 bits,
//!   doubled for each halving below it down to the narrowest width the chip speeds up;
//! - energy = MACs × energy(b) + bits moved × memory energy + cycles × background energy.
//!
//! For a chip of which nothing but the data sheet is known. It knows no tiling: real layers are slower.

use sartor_space::Layer;

use super::{CostModel, Parameters};
use crate::accelerator::Section;
use crate::cost::{BufferTraffic, DramTraffic, EnergyParts, LayerCost, Limit};
use crate::units::{Bits, Cycles, Millijoules};
use crate::{Accelerator, HardwareError};

/// A data sheet.
#[derive(Debug, Clone, PartialEq)]
pub struct Roofline {
    /// 8-bit MACs per cycle.
    pub macs_per_cycle: u64,
    /// Narrowest operand that still computes faster.
    pub narrowest_bits: u64,
    /// Widest operand.
    pub widest_bits: u64,
    /// Bits of a stored output.
    pub output_bits: u64,
    /// Memory bandwidth.
    pub bandwidth_bits_per_cycle: u64,
    /// Energy of an 8-bit MAC; proportional to the product of the operands' widths.
    pub mac_pj: f64,
    /// Memory energy.
    pub dram_pj: f64,
    /// Leakage and clock.
    pub background_nj: f64,
}

/// The model in the list.
pub struct RooflineModel;

const REFERENCE_BITS: u64 = 8;
const NJ_PER_PJ: f64 = 1e-3;
/// Array and memory widths beyond this are taken for a slip.
const LARGEST: u64 = 1 << 24;

impl CostModel for RooflineModel {
    fn name(&self) -> &'static str {
        "roofline"
    }

    fn version(&self) -> u32 {
        1
    }

    fn sections(&self) -> &'static [&'static str] {
        &["array", "dram", "energy"]
    }

    fn parameters(&self, spec: &Section<'_>) -> Result<Parameters, HardwareError> {
        read(spec).map(Parameters::Roofline)
    }

    fn price(&self, accelerator: &Accelerator, layer: &Layer) -> Result<LayerCost, HardwareError> {
        match &accelerator.parameters {
            Parameters::Roofline(chip) => price(accelerator, chip, layer),
            _ => Err(HardwareError::WrongParameters {
                accelerator: accelerator.name.clone(),
                model: self.name(),
            }),
        }
    }
}

fn read(spec: &Section<'_>) -> Result<Roofline, HardwareError> {
    let array = spec.section("array", &["macs_per_cycle", "narrowest_bits", "widest_bits", "output_bits"])?;
    let macs_per_cycle = array.integer("macs_per_cycle", 1..=LARGEST)?;
    let narrowest_bits = array.integer("narrowest_bits", 1..=REFERENCE_BITS)?;
    let widest_bits = array.integer("widest_bits", REFERENCE_BITS..=32)?;
    let output_bits = array.integer("output_bits", 1..=64)?;
    let dram = spec.section("dram", &["bandwidth_bits_per_cycle", "energy_pj_per_bit"])?;
    let bandwidth_bits_per_cycle = dram.integer("bandwidth_bits_per_cycle", 1..=LARGEST)?;
    let dram_pj = dram.number("energy_pj_per_bit")?;
    let energy = spec.section("energy", &["mac_pj_at_8_bits", "background_nj_per_cycle"])?;
    let (mac_pj, background_nj) =
        (energy.number("mac_pj_at_8_bits")?, energy.number("background_nj_per_cycle")?);
    Ok(Roofline {
        macs_per_cycle,
        narrowest_bits,
        widest_bits,
        output_bits,
        bandwidth_bits_per_cycle,
        mac_pj,
        dram_pj,
        background_nj,
    })
}

fn price(accelerator: &Accelerator, chip: &Roofline, layer: &Layer) -> Result<LayerCost, HardwareError> {
    let widest = u64::from(layer.weight_bits.max(layer.activation_bits));
    let narrowest = layer.weight_bits.min(layer.activation_bits);
    if narrowest == 0 || widest > chip.widest_bits {
        return Err(HardwareError::UnsupportedBits {
            layer: layer.name.clone(),
            accelerator: accelerator.name.clone(),
            weight_bits: layer.weight_bits,
            activation_bits: layer.activation_bits,
            widest: chip.widest_bits as u8,
        });
    }
    super::bitfusion::check_shape(layer)?;
    let compute = compute_cycles(chip, layer, accelerator.batch);
    let dram = traffic(chip, layer, accelerator.batch);
    let moving = dram.total().0.div_ceil(chip.bandwidth_bits_per_cycle);
    Ok(assemble(accelerator, chip, layer, compute, moving, dram))
}

/// MACs over the rate at the wider operand; computed in bits so that it stays an integer.
fn compute_cycles(chip: &Roofline, layer: &Layer, batch: u64) -> u64 {
    let widest = u64::from(layer.weight_bits.max(layer.activation_bits));
    let width = widest.next_power_of_two().max(chip.narrowest_bits);
    (layer.macs() * batch * width).div_ceil(chip.macs_per_cycle * REFERENCE_BITS)
}

fn traffic(chip: &Roofline, layer: &Layer, batch: u64) -> DramTraffic {
    DramTraffic {
        input_read: Bits(layer.input_elements() * batch * u64::from(layer.activation_bits)),
        weight_read: Bits(layer.weights() * u64::from(layer.weight_bits)),
        output_read: Bits::ZERO,
        output_write: Bits(layer.output_elements() * batch * chip.output_bits),
    }
}

fn assemble(
    accelerator: &Accelerator,
    chip: &Roofline,
    layer: &Layer,
    compute: u64,
    moving: u64,
    dram: DramTraffic,
) -> LayerCost {
    let cycles = Cycles(compute.max(moving));
    let relative = layer.bitops() as f64 / (REFERENCE_BITS * REFERENCE_BITS) as f64;
    let energy_parts = EnergyParts {
        compute: Millijoules::from_nanojoules(relative * accelerator.batch as f64 * chip.mac_pj * NJ_PER_PJ),
        background: Millijoules::from_nanojoules(cycles.0 as f64 * chip.background_nj),
        dram: Millijoules::from_nanojoules(dram.total().0 as f64 * chip.dram_pj * NJ_PER_PJ),
        ..EnergyParts::default()
    };
    LayerCost {
        cycles,
        latency: cycles.at(accelerator.clock_mhz),
        energy: energy_parts.total(),
        extrapolated: false,
        compute_cycles: Cycles(compute),
        stall_cycles: Cycles(cycles.0 - compute),
        dram,
        input_buffer: BufferTraffic::default(),
        weight_buffer: BufferTraffic::default(),
        output_buffer: BufferTraffic::default(),
        energy_parts,
        limit: if moving > compute { Limit::Bandwidth } else { Limit::Compute },
    }
}
