//! # Reading a Bit Fusion chip from a specification

use super::{BitFusion, Energy};
use crate::HardwareError;
use crate::accelerator::Section;
use crate::models::tiling::Operands;

/// The chip's sections.
pub(crate) const SECTIONS: &[&str] = &["array", "dram", "buffers", "energy"];

const ARRAY: &[&str] = &[
    "rows_units",
    "columns_units",
    "fused_bits",
    "brick_bits",
    "partial_sum_bits",
    "depthwise_pack_channels_per_unit",
];
const DRAM: &[&str] = &["bandwidth_bits_per_cycle", "energy_pj_per_bit"];
const BUFFERS: &[&str] = &["weight_kib", "input_kib", "output_kib"];
const ENERGY: &[&str] = &[
    "compute_nj_per_compute_cycle",
    "background_nj_per_cycle",
    "input_read_pj_per_bit",
    "input_write_pj_per_bit",
    "weight_read_pj_per_bit",
    "weight_write_pj_per_bit",
    "output_read_pj_per_bit",
    "output_write_pj_per_bit",
    "output_read_write_pj_per_bit",
];

/// Array sides, buffer sizes and widths beyond this are taken for a slip.
const LARGEST: u64 = 1 << 20;
const BITS_PER_KIB: u64 = 8 * 1024;

/// The chip, from its sections.
pub(crate) fn read(spec: &Section<'_>) -> Result<BitFusion, HardwareError> {
    let array = spec.section("array", ARRAY)?;
    let dram = spec.section("dram", DRAM)?;
    let fused_bits = array.integer("fused_bits", 1..=16)?;
    Ok(BitFusion {
        rows: array.integer("rows_units", 1..=LARGEST)?,
        columns: array.integer("columns_units", 1..=LARGEST)?,
        fused_bits,
        brick_bits: array.integer("brick_bits", 1..=fused_bits)?,
        partial_sum_bits: array.integer("partial_sum_bits", fused_bits..=64)?,
        depthwise_pack: array.integer("depthwise_pack_channels_per_unit", 1..=LARGEST)?,
        bandwidth_bits_per_cycle: dram.integer("bandwidth_bits_per_cycle", 1..=LARGEST)?,
        buffers: read_buffers(&spec.section("buffers", BUFFERS)?)?,
        energy: read_energy(&spec.section("energy", ENERGY)?, dram.number("energy_pj_per_bit")?)?,
    })
}

fn read_buffers(buffers: &Section<'_>) -> Result<Operands, HardwareError> {
    let bits = |key| buffers.integer(key, 1..=LARGEST).map(|kib| kib * BITS_PER_KIB);
    Ok(Operands { input: bits("input_kib")?, weight: bits("weight_kib")?, output: bits("output_kib")? })
}

fn read_energy(energy: &Section<'_>, dram_pj: f64) -> Result<Energy, HardwareError> {
    Ok(Energy {
        compute_nj: energy.number("compute_nj_per_compute_cycle")?,
        background_nj: energy.number("background_nj_per_cycle")?,
        dram_pj,
        input_read_pj: energy.number("input_read_pj_per_bit")?,
        input_write_pj: energy.number("input_write_pj_per_bit")?,
        weight_read_pj: energy.number("weight_read_pj_per_bit")?,
        weight_write_pj: energy.number("weight_write_pj_per_bit")?,
        output_pair_pj: read_output_pair(energy)?,
    })
}

/// Reads and writes of the output buffer come in pairs: either both are given, or their sum.
fn read_output_pair(energy: &Section<'_>) -> Result<f64, HardwareError> {
    let (sum, read, write) =
        ("output_read_write_pj_per_bit", "output_read_pj_per_bit", "output_write_pj_per_bit");
    if !energy.has(sum) {
        return Ok(energy.number(read)? + energy.number(write)?);
    }
    match [read, write].into_iter().find(|key| energy.has(key)) {
        None => energy.number(sum),
        Some(key) => Err(HardwareError::ImpossibleValue {
            key: format!("energy.{key}"),
            expected: format!("either `{sum}` or both `{read}` and `{write}`"),
            got: "all of them".into(),
        }),
    }
}
