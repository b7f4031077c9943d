//! The two Bit Fusion models against published figures.

use sartor_hardware::{Accelerator, Costs, LayerKey};
use sartor_space::{Layer, networks};

/// The authors' energies are given to seven decimals of a millijoule.
const ENERGY_TOLERANCE_MJ: f64 = 0.5001e-7;
const LATENCY_TOLERANCE: f64 = 1e-9;
/// Counters are whole numbers; energies are products of them.
const COUNTER_ENERGY_TOLERANCE: f64 = 1e-12;

struct Worked {
    shape: [usize; 7],
    bits: [u8; 2],
    first: bool,
    latency_ms: f64,
    energy_mj: f64,
}

fn worked(shape: [usize; 7], bits: [u8; 2], latency_ms: f64, energy_mj: f64) -> Worked {
    Worked { shape, bits, first: shape[0] == 3, latency_ms, energy_mj }
}

fn layer(shape: [usize; 7], bits: [u8; 2], first: bool) -> Layer {
    let [in_channels, out_channels, input_size, kernel, stride, padding, groups] = shape;
    let [weight_bits, activation_bits] = bits;
    let key = LayerKey {
        in_channels,
        out_channels,
        input_size,
        kernel,
        stride,
        padding,
        groups,
        weight_bits,
        activation_bits,
        first,
    };
    key.layer("layer")
}

#[test]
fn apq_reproduces_the_worked_rows() {
    let chip = Accelerator::preset("bitfusion-apq").unwrap();
    let rows = [
        worked([16, 96, 112, 1, 1, 0, 1], [4, 4], 0.811244, 1.3691566),
        worked([16, 96, 112, 1, 1, 0, 1], [8, 8], 0.819670, 1.3833758),
        worked([96, 96, 112, 3, 2, 1, 96], [4, 4], 0.258504, 0.4788603),
        worked([96, 96, 112, 3, 2, 1, 96], [4, 8], 0.340944, 0.6354341),
        worked([96, 96, 112, 3, 2, 1, 96], [6, 6], 0.679344, 0.7418926),
        worked([96, 96, 112, 3, 2, 1, 96], [8, 8], 0.679656, 0.7894859),
        worked([96, 456, 14, 1, 1, 0, 1], [4, 4], 0.062192, 0.1068820),
        worked([3, 32, 224, 3, 2, 1, 1], [8, 8], 0.295904, 0.5061845),
        worked([320, 1280, 7, 1, 1, 0, 1], [8, 8], 0.081608, 0.1518076),
    ];
    for row in rows {
        let cost = chip.price_layer(&layer(row.shape, row.bits, row.first)).unwrap();
        let name = format!("{:?} {:?}: {} {}", row.shape, row.bits, cost.latency, cost.energy);
        assert!((cost.latency.0 - row.latency_ms).abs() < LATENCY_TOLERANCE, "{name}");
        assert!((cost.energy.0 - row.energy_mj).abs() < ENERGY_TOLERANCE_MJ, "{name}");
    }
}

#[test]
fn apq_reproduces_mobilenet_v2() {
    let chip = Accelerator::preset("bitfusion-apq").unwrap();
    let costs = chip.price(&networks::fixed("mobilenet-v2", 8, 8).unwrap()).unwrap();
    let Costs { latency_ms, energy_mj, bitops, .. } = costs;
    assert_eq!(format!("{latency_ms:.4}, {energy_mj:.4}"), "9.0986 ms, 12.4558 mJ");
    assert_eq!(format!("{:.1}", bitops.0 as f64 * 1e-9), "19.2");
}

/// The public simulator's own benchmark, where it lies beside the repository.
#[test]
fn public_reproduces_the_simulators_counters() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/bitfusion-public/layers.csv");
    let Ok(text) = std::fs::read_to_string(path) else {
        eprintln!("skipped: {path} is not there");
        return;
    };
    let chip = Accelerator::preset("bitfusion-public").unwrap();
    let wrong: Vec<String> = text.lines().skip(1).filter_map(|line| check_public(&chip, line)).collect();
    assert!(wrong.is_empty(), "{} rows differ:\n{}", wrong.len(), wrong.join("\n"));
}

fn check_public(chip: &Accelerator, line: &str) -> Option<String> {
    let cells: Vec<&str> = line.split(',').collect();
    let number = |column: usize| cells[column].parse::<u64>().unwrap();
    let size = |column: usize| number(column) as usize;
    let [kernel, output, stride, in_channels, out_channels] = [2, 3, 4, 5, 6].map(size);
    let input_size = (output - 1) * stride + kernel;
    let shape = [in_channels, out_channels, input_size, kernel, stride, 0, 1];
    let bits = [number(9) as u8, number(8) as u8];
    let chip = chip.clone().with_batch(number(7)).unwrap();
    let cost = chip.price_layer(&layer(shape, bits, number(10) == 1)).unwrap();
    let (weight, outputs, inputs) = (cost.weight_buffer, cost.output_buffer, cost.input_buffer);
    let buffers = [weight.read, weight.write, outputs.read, outputs.write, inputs.read, inputs.write];
    let mut got = vec![cost.cycles.0, cost.stall_cycles.0];
    got.extend(buffers.map(|bits| bits.0));
    got.extend([cost.dram.read().0, cost.dram.output_write.0]);
    let expected: Vec<u64> = (11..21).map(number).collect();
    let energy: f64 = cells[21].parse().unwrap();
    let close = (cost.energy.0 * 1e6 / energy - 1.0).abs() < COUNTER_ENERGY_TOLERANCE;
    (got != expected || !close).then(|| format!("{line}\n  got {got:?} {}", cost.energy.0 * 1e6))
}
