//! # From a layer to loops, and from a mapping to a cost

use std::collections::HashMap;

use rayon::prelude::*;
use sartor_space::{Layer, LayerKind};

use super::BitFusion;
use crate::cost::{BufferTraffic, DramTraffic, EnergyParts, LayerCost, Limit};
use crate::models::Parameters;
use crate::models::tiling::{Access, Convolution, Mapping, Rules, search};
use crate::units::{Bits, Cycles, Millijoules};
use crate::{Accelerator, HardwareError};

/// The cost of one layer.
pub(crate) fn price(
    accelerator: &Accelerator,
    layer: &Layer,
    rules: &impl Rules,
) -> Result<LayerCost, HardwareError> {
    let chip = chip(accelerator)?;
    let split = split(layer, chip, accelerator)?;
    match search(chip, rules, &split.convolution) {
        Some(mapping) => Ok(cost(chip, accelerator, &mapping, split.count)),
        None => Err(does_not_fit(layer, accelerator)),
    }
}

/// The costs of many layers; layers that split into the same convolution are searched once, on all threads.
pub(crate) fn price_all(
    accelerator: &Accelerator,
    layers: &[Layer],
    rules: &impl Rules,
) -> Result<Vec<LayerCost>, HardwareError> {
    let chip = chip(accelerator)?;
    let splits = layers.iter().map(|layer| split(layer, chip, accelerator));
    let splits = splits.collect::<Result<Vec<_>, _>>()?;
    let mappings = search_all(chip, rules, &splits);
    let price = |(layer, split): (&Layer, &Split)| match mappings[&split.convolution] {
        Some(mapping) => Ok(cost(chip, accelerator, &mapping, split.count)),
        None => Err(does_not_fit(layer, accelerator)),
    };
    layers.iter().zip(&splits).map(price).collect()
}

fn search_all(
    chip: &BitFusion,
    rules: &impl Rules,
    splits: &[Split],
) -> HashMap<Convolution, Option<Mapping>> {
    let mut seen = std::collections::HashSet::new();
    let unique: Vec<_> = splits.iter().map(|split| split.convolution).filter(|it| seen.insert(*it)).collect();
    unique.into_par_iter().map(|convolution| (convolution, search(chip, rules, &convolution))).collect()
}

fn chip(accelerator: &Accelerator) -> Result<&BitFusion, HardwareError> {
    match &accelerator.parameters {
        Parameters::BitFusion(chip) => Ok(chip),
        _ => {
            Err(HardwareError::WrongParameters { accelerator: accelerator.name.clone(), model: "Bit Fusion" })
        }
    }
}

/// A layer as `count` equal dense convolutions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Split {
    convolution: Convolution,
    count: u64,
}

/// Checks a layer and splits it.
fn split(layer: &Layer, chip: &BitFusion, accelerator: &Accelerator) -> Result<Split, HardwareError> {
    check_bits(layer, chip, accelerator)?;
    check_shape(layer)?;
    let groups = layer.groups as u64;
    let (bits_in, bits_weight) = (u64::from(layer.activation_bits), u64::from(layer.weight_bits));
    let depthwise = layer.kind() == LayerKind::Depthwise && layer.out_channels == layer.in_channels;
    let pack = chip.depthwise_pack * chip.pairs_per_unit(bits_in, bits_weight);
    let (in_channels, out_channels, count) = if depthwise {
        (pack, pack, groups.div_ceil(pack))
    } else {
        (layer.in_channels as u64 / groups, layer.out_channels as u64 / groups, groups)
    };
    let convolution = Convolution {
        batch: accelerator.batch,
        kernel: layer.kernel as u64,
        output: layer.output_size() as u64,
        stride: layer.stride as u64,
        in_channels,
        out_channels,
        activation_bits: bits_in,
        weight_bits: bits_weight,
        unrolled: layer.first,
    };
    check_magnitude(layer, chip, &convolution)?;
    Ok(Split { convolution, count })
}

fn check_bits(layer: &Layer, chip: &BitFusion, accelerator: &Accelerator) -> Result<(), HardwareError> {
    let supported = |bits: u8| (1..=chip.fused_bits).contains(&u64::from(bits));
    if supported(layer.weight_bits) && supported(layer.activation_bits) {
        return Ok(());
    }
    Err(HardwareError::UnsupportedBits {
        layer: layer.name.clone(),
        accelerator: accelerator.name.clone(),
        weight_bits: layer.weight_bits,
        activation_bits: layer.activation_bits,
        widest: chip.fused_bits as u8,
    })
}

pub(crate) fn check_shape(layer: &Layer) -> Result<(), HardwareError> {
    let Layer { in_channels, out_channels, input_size, kernel, stride, padding, groups, .. } = *layer;
    let impossible = |reason: &str| {
        Err(HardwareError::ImpossibleLayer { layer: describe(layer), reason: reason.to_owned() })
    };
    if [in_channels, out_channels, input_size, kernel, stride, groups].contains(&0) {
        return impossible("every dimension must be at least 1");
    }
    if [in_channels, out_channels, input_size, kernel, stride, padding]
        .iter()
        .any(|&size| size > MAX_DIMENSION)
    {
        return impossible("no dimension may exceed 1,048,576");
    }
    if in_channels % groups != 0 || out_channels % groups != 0 {
        return impossible("groups must divide the input and the output channels");
    }
    if kernel > input_size + 2 * padding {
        return impossible("the kernel is larger than the padded input");
    }
    Ok(())
}

/// Sanity limit on any one dimension.
const MAX_DIMENSION: usize = 1 << 20;
/// Counters stay far inside 64 bits.
const MAX_MAGNITUDE: f64 = 4e18;

/// Bounds the largest counter any tiling can reach: operands moved per multiplication at full width, over
/// dimensions padded to the array.
fn check_magnitude(layer: &Layer, chip: &BitFusion, loops: &Convolution) -> Result<(), HardwareError> {
    let padded = |size: u64, unit: u64| size.next_multiple_of(unit) as f64 * 2.0;
    let window = (loops.kernel * loops.kernel) as f64 * (loops.stride * loops.stride) as f64;
    let pixels = loops.batch as f64 * (2.0 * loops.output as f64).powi(2);
    let channels =
        padded(loops.in_channels, chip.inputs_per_cycle(loops)) * padded(loops.out_channels, chip.columns);
    let packs = (layer.groups as u64) as f64;
    if window * pixels * channels * packs * 2.0 * chip.partial_sum_bits as f64 <= MAX_MAGNITUDE {
        return Ok(());
    }
    let reason = "the layer is too large to count its traffic in 64 bits".to_owned();
    Err(HardwareError::ImpossibleLayer { layer: describe(layer), reason })
}

fn describe(layer: &Layer) -> String {
    crate::table::LayerKey::of(layer).to_string()
}

/// The error when not even the smallest tile fits.
fn does_not_fit(layer: &Layer, accelerator: &Accelerator) -> HardwareError {
    HardwareError::TileDoesNotFit { layer: describe(layer), accelerator: accelerator.name.clone() }
}

/// `count` copies of a mapping as a cost.
fn cost(chip: &BitFusion, accelerator: &Accelerator, mapping: &Mapping, count: u64) -> LayerCost {
    let cycles = Cycles(mapping.cycles * count);
    let traffic = mapping.movement.traffic.times(count);
    let access =
        |access: Access| BufferTraffic { read: Bits(access.read * count), write: Bits(access.write * count) };
    LayerCost {
        cycles,
        latency: cycles.at(accelerator.clock_mhz),
        energy: Millijoules::from_nanojoules(mapping.energy_nj * count as f64),
        extrapolated: false,
        compute_cycles: Cycles(mapping.compute * count),
        stall_cycles: Cycles((mapping.cycles - mapping.compute) * count),
        dram: DramTraffic {
            input_read: Bits(traffic.input),
            weight_read: Bits(traffic.weight),
            output_read: Bits(traffic.output),
            output_write: Bits(traffic.output),
        },
        input_buffer: access(mapping.accesses.input),
        weight_buffer: access(mapping.accesses.weight),
        output_buffer: access(mapping.accesses.output),
        energy_parts: energy_parts(chip, mapping, count),
        limit: limit(chip, mapping),
    }
}

fn energy_parts(chip: &BitFusion, mapping: &Mapping, count: u64) -> EnergyParts {
    let dram = mapping.movement.traffic.total();
    let parts = chip.energy.parts(mapping.compute, mapping.cycles, dram, &mapping.accesses);
    let millijoules = |nanojoules: f64| Millijoules::from_nanojoules(nanojoules * count as f64);
    EnergyParts {
        compute: millijoules(parts.compute),
        background: millijoules(parts.background),
        dram: millijoules(parts.dram),
        input_buffer: millijoules(parts.input_buffer),
        weight_buffer: millijoules(parts.weight_buffer),
        output_buffer: millijoules(parts.output_buffer),
    }
}

/// What to improve to make the layer faster: the larger of computing, loading what nothing hides, and waiting for
/// the memory port beyond that.
fn limit(chip: &BitFusion, mapping: &Mapping) -> Limit {
    let load = chip.load_cycles(&mapping.movement.resident);
    let waiting = mapping.cycles - (mapping.compute + load).min(mapping.cycles);
    let port = mapping.movement.traffic.total().div_ceil(chip.bandwidth_bits_per_cycle);
    if waiting > 0 && port >= mapping.compute {
        Limit::Bandwidth
    } else if load > mapping.compute {
        Limit::Load
    } else {
        Limit::Compute
    }
}
