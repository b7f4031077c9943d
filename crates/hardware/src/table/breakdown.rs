//! # Why a layer costs what it costs
//!
//! The table's twelve columns, then where the cycles, the bits and the energy go. One line per layer asked for, in the
//! order asked, repeats included: a list, not a table to search with.

use std::fmt::Write;

use sartor_space::Layer;

use super::csv::{provenance_lines, row_line};
use super::{Provenance, Row};
use crate::cost::LayerCost;

/// Columns after the contract's twelve.
const COLUMNS: &str = "compute_cycles,stall_cycles,\
    input_buffer_read_bits,input_buffer_write_bits,\
    weight_buffer_read_bits,weight_buffer_write_bits,\
    output_buffer_read_bits,output_buffer_write_bits,\
    dram_read_bits,dram_write_bits,dram_input_read_bits,dram_weight_read_bits,dram_output_read_bits,\
    compute_mj,background_mj,dram_mj,input_buffer_mj,weight_buffer_mj,output_buffer_mj,\
    bound,extrapolated,first";

/// Prices with their breakdown, as CSV.
pub fn breakdown_csv(provenance: &Provenance, layers: &[Layer], costs: &[LayerCost]) -> String {
    let mut text = provenance_lines(provenance, &[], true);
    let _ = writeln!(text, "{},{COLUMNS}", super::csv::contract());
    for (layer, cost) in layers.iter().zip(costs) {
        let row = Row::new(layer, cost);
        let _ = writeln!(text, "{},{},{}", row_line(&row), numbers(cost), marks(cost, layer.first));
    }
    text
}

fn numbers(cost: &LayerCost) -> String {
    let LayerCost { input_buffer, weight_buffer, output_buffer, dram, energy_parts, .. } = cost;
    let counts = [
        cost.compute_cycles.0,
        cost.stall_cycles.0,
        input_buffer.read.0,
        input_buffer.write.0,
        weight_buffer.read.0,
        weight_buffer.write.0,
        output_buffer.read.0,
        output_buffer.write.0,
        dram.read().0,
        dram.output_write.0,
        dram.input_read.0,
        dram.weight_read.0,
        dram.output_read.0,
    ];
    let energies = [
        energy_parts.compute,
        energy_parts.background,
        energy_parts.dram,
        energy_parts.input_buffer,
        energy_parts.weight_buffer,
        energy_parts.output_buffer,
    ];
    let counts = counts.iter().map(u64::to_string);
    counts.chain(energies.iter().map(|energy| energy.0.to_string())).collect::<Vec<_>>().join(",")
}

fn marks(cost: &LayerCost, first: bool) -> String {
    format!("{},{},{}", cost.limit, u8::from(cost.extrapolated), u8::from(first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Accelerator;
    use sartor_space::networks;

    #[test]
    fn every_line_has_every_column_and_the_parts_add_up() {
        let chip = Accelerator::preset("bitfusion-apq").unwrap();
        let layers = networks::fixed("mobilenet-v1", 8, 8).unwrap().layers;
        let costs = chip.price_layers(&layers).unwrap();
        let text = breakdown_csv(&Provenance::of(&chip).unwrap(), &layers, &costs);
        let mut lines = text.lines().filter(|line| !line.starts_with('#'));
        let header: Vec<&str> = lines.next().unwrap().split(',').collect();
        let column = |name: &str| header.iter().position(|it| *it == name).unwrap();
        let lines: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
        assert_eq!(lines.len(), layers.len(), "repeats are kept");
        for cells in lines {
            assert_eq!(cells.len(), header.len());
            let number = |name: &str| cells[column(name)].parse::<f64>().unwrap();
            assert_eq!(number("compute_cycles") + number("stall_cycles"), number("cycles"));
            assert!(["compute", "bandwidth", "load"].contains(&cells[column("bound")]));
        }
    }
}
