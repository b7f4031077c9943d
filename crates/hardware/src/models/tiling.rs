//! # Exhaustive search over tilings and loop orders
//!
//! Bit Fusion (Sharma et al., ISCA 2018) runs a convolution as five nested loops over tiles: batch, output
//! columns, output rows, input channels, output channels. The compiler chooses tile sizes and the order of the
//! loops; both variants of the cost model take the choice with the fewest cycles, ties by energy.
//!
//! Data movement of one choice: every operand starts as one tile and the loops are walked from the innermost
//! outwards. A loop that indexes the operand multiplies its traffic by its trip count. A loop that does not
//! leaves the traffic alone as long as everything gathered so far still fits in half of the operand's buffer;
//! once it does not, every further loop multiplies.
//!
//! | loop | indexes |
//! |---|---|
//! | batch, output columns, output rows | inputs, outputs |
//! | input channels | inputs, weights |
//! | output channels | weights, outputs |
//!
//! ## Why fewer than 5! = 120 orders are walked, with the same result
//!
//! 1. A loop of one trip multiplies by one and cannot make anything overflow: its place does not matter.
//! 2. Tiles are square, so the loops over columns and rows have equal trips and index equal operands: exchanging
//!    them gives the same order. Together: at batch 1 at most 4!/2! = 12 orders remain, else 5!/2! = 60.
//! 3. A tiling is skipped when a lower bound of its cycles exceeds the best so far. Whatever the order, at least
//!    one tile of each operand is resident, so the first load takes at least `load(tile)`, and both models charge
//!    `compute + load`; every operand moves at least once through the memory port, and both models charge at
//!    least all traffic over the port's width. The bound is the larger of the two, so what is skipped is strictly
//!    worse. Equal bounds are walked, so that ties are still decided by energy.
//!
//! The test at the bottom compares with the naive 120 orders over all tilings on random layers.

use super::bitfusion::BitFusion;

/// A dense convolution as the loops see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Convolution {
    /// Images.
    pub batch: u64,
    /// Side of the square kernel.
    pub kernel: u64,
    /// Side of the square output.
    pub output: u64,
    /// Stride.
    pub stride: u64,
    /// Input channels.
    pub in_channels: u64,
    /// Output channels.
    pub out_channels: u64,
    /// Bits of an input.
    pub activation_bits: u64,
    /// Bits of a weight.
    pub weight_bits: u64,
    /// Whether windows are unrolled first (the network's input layer).
    pub unrolled: bool,
}

/// Tile sizes; output tiles are square.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tile {
    /// Images.
    pub batch: u64,
    /// Side of the output tile.
    pub output: u64,
    /// Input channels.
    pub in_channels: u64,
    /// Output channels.
    pub out_channels: u64,
}

/// A number of bits for each operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Operands {
    /// Input activations.
    pub input: u64,
    /// Weights.
    pub weight: u64,
    /// Outputs and partial sums.
    pub output: u64,
}

impl Operands {
    /// Bits read from memory: outputs are read before they are added to.
    pub fn read(&self) -> u64 {
        self.input + self.weight + self.output
    }

    /// Bits read and written.
    pub fn total(&self) -> u64 {
        self.read() + self.output
    }
}

/// Bits read from and written to one on-chip buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Access {
    /// Bits read.
    pub read: u64,
    /// Bits written.
    pub write: u64,
}

/// Accesses of the three buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Accesses {
    /// Input buffer.
    pub input: Access,
    /// Weight buffer.
    pub weight: Access,
    /// Output buffer.
    pub output: Access,
}

/// What crosses the memory port under one tiling and order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Movement {
    /// Bits moved over the whole layer.
    pub traffic: Operands,
    /// Largest number of bits kept on chip at once.
    pub resident: Operands,
}

/// Where the variants of the model differ.
pub(crate) trait Rules: Sync {
    /// Bits moved for one tile of each operand.
    fn loads(&self, chip: &BitFusion, layer: &Convolution, tile: &Tile) -> Operands;
    /// Bits one tile of each operand occupies.
    fn capacities(&self, chip: &BitFusion, layer: &Convolution, tile: &Tile) -> Operands;
    /// Total cycles.
    fn cycles(&self, chip: &BitFusion, compute: u64, movement: &Movement) -> u64;
    /// Buffer reads and writes by the array while it computes one tile, without fills.
    fn array_accesses(&self, chip: &BitFusion, layer: &Convolution, tile: &Tile) -> Operands;
}

/// The chosen tiling with everything it implies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Mapping {
    /// Tile sizes.
    pub tile: Tile,
    /// Cycles in which the array multiplies.
    pub compute: u64,
    /// All cycles.
    pub cycles: u64,
    /// Traffic and residency.
    pub movement: Movement,
    /// Buffer reads and writes.
    pub accesses: Accesses,
    /// Energy in nanojoules.
    pub energy_nj: f64,
}

/// The cheapest mapping: fewest cycles, ties by energy; `None` if not even the smallest tile fits.
pub(crate) fn search(chip: &BitFusion, rules: &impl Rules, layer: &Convolution) -> Option<Mapping> {
    let mut best: Option<Mapping> = None;
    for tile in tiles(chip, layer) {
        if let Some(tiling) = Tiling::new(chip, rules, layer, tile)
            && best.is_none_or(|best| tiling.bound(chip) <= best.cycles)
        {
            tiling.improve(chip, rules, &mut best);
        }
    }
    best
}

/// One tiling, before an order is chosen.
struct Tiling {
    tile: Tile,
    trips: Trips,
    loads: Operands,
    walk: Walk,
    compute: u64,
    array_accesses: Operands,
}

impl Tiling {
    fn new(chip: &BitFusion, rules: &impl Rules, layer: &Convolution, tile: Tile) -> Option<Self> {
        let loads = rules.loads(chip, layer, &tile);
        let walk = Walk::new(chip, loads, rules.capacities(chip, layer, &tile))?;
        let trips = Trips::new(layer, &tile);
        let array_accesses = rules.array_accesses(chip, layer, &tile).times(trips.total());
        let compute = trips.total() * chip.tile_cycles(layer, &tile);
        Some(Self { tile, trips, loads, walk, compute, array_accesses })
    }

    /// No order takes fewer cycles (see the file's header).
    fn bound(&self, chip: &BitFusion) -> u64 {
        let Trips { batch, output, in_channels, out_channels } = self.trips;
        let pixels = batch * output * output;
        let once = Operands {
            input: self.loads.input * pixels * in_channels,
            weight: self.loads.weight * in_channels * out_channels,
            output: self.loads.output * pixels * out_channels,
        };
        let port = once.total().div_ceil(chip.bandwidth_bits_per_cycle);
        port.max(self.compute + chip.load_cycles(&self.loads))
    }

    fn improve(&self, chip: &BitFusion, rules: &impl Rules, best: &mut Option<Mapping>) {
        self.walk.orders(self.trips.remaining(), &mut |walk| {
            let movement = walk.movement();
            let cycles = rules.cycles(chip, self.compute, &movement);
            if best.is_some_and(|best| cycles > best.cycles) {
                return;
            }
            let mapping = self.mapping(chip, cycles, movement);
            if best.is_none_or(|best| (cycles, mapping.energy_nj) < (best.cycles, best.energy_nj)) {
                *best = Some(mapping);
            }
        });
    }

    fn mapping(&self, chip: &BitFusion, cycles: u64, movement: Movement) -> Mapping {
        let (array, traffic) = (self.array_accesses, movement.traffic);
        let both = array.output + traffic.output;
        let accesses = Accesses {
            input: Access { read: array.input, write: traffic.input },
            weight: Access { read: array.weight, write: traffic.weight },
            output: Access { read: both, write: both },
        };
        let energy_nj = chip.energy.parts(self.compute, cycles, traffic.total(), &accesses).total();
        Mapping { tile: self.tile, compute: self.compute, cycles, movement, accesses, energy_nj }
    }
}

impl Operands {
    /// Each operand multiplied.
    pub(crate) fn times(self, count: u64) -> Self {
        Self { input: self.input * count, weight: self.weight * count, output: self.output * count }
    }
}

/// How often each loop turns.
#[derive(Debug, Clone, Copy)]
struct Trips {
    batch: u64,
    output: u64,
    in_channels: u64,
    out_channels: u64,
}

impl Trips {
    fn new(layer: &Convolution, tile: &Tile) -> Self {
        Self {
            batch: layer.batch.div_ceil(tile.batch),
            output: layer.output.div_ceil(tile.output),
            in_channels: layer.in_channels.div_ceil(tile.in_channels),
            out_channels: layer.out_channels.div_ceil(tile.out_channels),
        }
    }

    fn total(&self) -> u64 {
        self.batch * self.output * self.output * self.in_channels * self.out_channels
    }

    /// Loops of more than one trip, equal ones together.
    fn remaining(&self) -> [Loop; LOOP_KINDS] {
        let turn = |indexes, trips, copies| Loop { indexes, trips, left: if trips > 1 { copies } else { 0 } };
        [
            turn(Indexes { input: true, weight: false, output: true }, self.batch, 1),
            turn(Indexes { input: true, weight: false, output: true }, self.output, 2),
            turn(Indexes { input: true, weight: true, output: false }, self.in_channels, 1),
            turn(Indexes { input: false, weight: true, output: true }, self.out_channels, 1),
        ]
    }
}

/// Batch, output side (twice), input channels, output channels.
const LOOP_KINDS: usize = 4;

/// A kind of loop that is still to be placed `left` times.
#[derive(Debug, Clone, Copy)]
struct Loop {
    indexes: Indexes,
    trips: u64,
    left: u8,
}

/// Which operands a loop indexes.
#[derive(Debug, Clone, Copy)]
struct Indexes {
    input: bool,
    weight: bool,
    output: bool,
}

/// The three operands on the way from the innermost loop outwards.
#[derive(Debug, Clone, Copy)]
struct Walk {
    input: Operand,
    weight: Operand,
    output: Operand,
}

impl Walk {
    fn new(chip: &BitFusion, loads: Operands, capacities: Operands) -> Option<Self> {
        let half = chip.half_buffers();
        Some(Self {
            input: Operand::new(loads.input, capacities.input, half.input)?,
            weight: Operand::new(loads.weight, capacities.weight, half.weight)?,
            output: Operand::new(loads.output, capacities.output, half.output)?,
        })
    }

    fn enter(&self, turn: &Loop) -> Self {
        Self {
            input: self.input.enter(turn.trips, turn.indexes.input),
            weight: self.weight.enter(turn.trips, turn.indexes.weight),
            output: self.output.enter(turn.trips, turn.indexes.output),
        }
    }

    /// Visits every distinct order of what is left, outermost loop last.
    fn orders(&self, remaining: [Loop; LOOP_KINDS], visit: &mut impl FnMut(&Walk)) {
        if remaining.iter().all(|turn| turn.left == 0) {
            return visit(self);
        }
        for next in 0..LOOP_KINDS {
            if remaining[next].left > 0 {
                let mut rest = remaining;
                rest[next].left -= 1;
                self.enter(&remaining[next]).orders(rest, visit);
            }
        }
    }

    fn movement(&self) -> Movement {
        let (input, weight, output) = (self.input, self.weight, self.output);
        Movement {
            traffic: Operands { input: input.traffic, weight: weight.traffic, output: output.traffic },
            resident: Operands { input: input.kept, weight: weight.kept, output: output.kept },
        }
    }
}

/// One operand on the way outwards.
#[derive(Debug, Clone, Copy)]
struct Operand {
    traffic: u64,
    kept: u64,
    occupied: u64,
    half_buffer: u64,
    resident: bool,
}

impl Operand {
    fn new(load: u64, capacity: u64, half_buffer: u64) -> Option<Self> {
        let tile = Self { traffic: load, kept: load, occupied: capacity, half_buffer, resident: true };
        (capacity <= half_buffer).then_some(tile)
    }

    fn enter(mut self, trips: u64, indexed: bool) -> Self {
        if indexed || !self.resident {
            self.traffic *= trips;
        }
        if indexed && self.resident {
            self.occupied *= trips;
            self.resident = self.occupied <= self.half_buffer;
            self.kept *= if self.resident { trips } else { 1 };
        }
        self
    }
}

/// Every tiling, larger tiles first so that the bound soon bites.
fn tiles(chip: &BitFusion, layer: &Convolution) -> impl Iterator<Item = Tile> + use<> {
    let step = if layer.unrolled { 1 } else { chip.columns };
    let (outputs, inputs) = (sizes(1, layer.output), sizes(1, layer.in_channels));
    let channels = sizes(step, layer.out_channels);
    sizes(1, layer.batch).into_iter().rev().flat_map(move |batch| {
        let (inputs, channels) = (inputs.clone(), channels.clone());
        outputs.clone().into_iter().rev().flat_map(move |output| {
            let channels = channels.clone();
            inputs.clone().into_iter().rev().flat_map(move |in_channels| {
                let tile = move |out_channels| Tile { batch, output, in_channels, out_channels };
                channels.clone().into_iter().rev().map(tile)
            })
        })
    })
}

/// `min(step·2^j, dimension)`, ascending, without repeats.
fn sizes(step: u64, dimension: u64) -> Vec<u64> {
    let doubling = std::iter::successors(Some(step), |size| size.checked_mul(2));
    doubling.take_while(|&size| size < dimension).chain([dimension]).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Accelerator;
    use crate::models::Parameters;
    use crate::models::bitfusion_apq::ApqRules;
    use crate::models::bitfusion_public::PublicRules;

    /// 0 batch, 1 and 2 output side, 3 input channels, 4 output channels.
    fn naive_orders() -> Vec<[usize; 5]> {
        let all = (0..5usize.pow(5)).map(|code| [0, 1, 2, 3, 4].map(|place| code / 5usize.pow(place) % 5));
        all.filter(|order| (0..5).all(|turn| order.contains(&turn))).collect()
    }

    /// Every tiling, every one of the 120 orders, no bound, written without anything of the search but the rules.
    fn naive(chip: &BitFusion, rules: &impl Rules, layer: &Convolution) -> Option<(u64, f64)> {
        let mut best: Option<(u64, f64)> = None;
        let orders = naive_orders();
        assert_eq!(orders.len(), 120);
        for tile in tiles(chip, layer) {
            let (loads, sizes) = (rules.loads(chip, layer, &tile), rules.capacities(chip, layer, &tile));
            let half = chip.half_buffers();
            if sizes.input > half.input || sizes.weight > half.weight || sizes.output > half.output {
                continue;
            }
            let side = layer.output.div_ceil(tile.output);
            let trips = [
                layer.batch.div_ceil(tile.batch),
                side,
                side,
                layer.in_channels.div_ceil(tile.in_channels),
                layer.out_channels.div_ceil(tile.out_channels),
            ];
            let count: u64 = trips.iter().product();
            let array = rules.array_accesses(chip, layer, &tile).times(count);
            let compute = count * chip.tile_cycles(layer, &tile);
            for order in &orders {
                let walk = |load, size, half, indexed: [bool; 5]| {
                    naive_walk(load, size, half, indexed, &trips, order)
                };
                let input = walk(loads.input, sizes.input, half.input, [true, true, true, true, false]);
                let weight = walk(loads.weight, sizes.weight, half.weight, [false, false, false, true, true]);
                let output = walk(loads.output, sizes.output, half.output, [true, true, true, false, true]);
                let traffic = Operands { input: input.0, weight: weight.0, output: output.0 };
                let resident = Operands { input: input.1, weight: weight.1, output: output.1 };
                let cycles = rules.cycles(chip, compute, &Movement { traffic, resident });
                let both =
                    Access { read: array.output + traffic.output, write: array.output + traffic.output };
                let accesses = Accesses {
                    input: Access { read: array.input, write: traffic.input },
                    weight: Access { read: array.weight, write: traffic.weight },
                    output: both,
                };
                let energy = chip.energy.parts(compute, cycles, traffic.total(), &accesses).total();
                if best.is_none_or(|best| (cycles, energy) < best) {
                    best = Some((cycles, energy));
                }
            }
        }
        best
    }

    fn naive_walk(
        load: u64,
        size: u64,
        half: u64,
        indexed: [bool; 5],
        trips: &[u64; 5],
        order: &[usize; 5],
    ) -> (u64, u64) {
        let (mut traffic, mut gathered, mut largest, mut fits) = (load, size, load, true);
        for &turn in order {
            if !fits || indexed[turn] {
                traffic *= trips[turn];
            }
            if fits && indexed[turn] {
                gathered *= trips[turn];
                fits = gathered <= half;
                largest = if fits { traffic } else { largest };
            }
        }
        (traffic, largest)
    }

    fn layers() -> impl Strategy<Value = Convolution> {
        let shape = (1..=3u64, 0..4usize, 1..=60u64, 1..=2u64, 1..=200u64, 1..=300u64);
        (shape, 1..=8u64, 1..=8u64, any::<bool>()).prop_map(
            |(shape, activation_bits, weight_bits, unrolled)| {
                let (batch, kernel, output, stride, in_channels, out_channels) = shape;
                let kernel = [1, 3, 5, 7][kernel];
                Convolution {
                    batch,
                    kernel,
                    output,
                    stride,
                    in_channels,
                    out_channels,
                    activation_bits,
                    weight_bits,
                    unrolled,
                }
            },
        )
    }

    fn chip(name: &str) -> BitFusion {
        match Accelerator::preset(name).unwrap().parameters {
            Parameters::BitFusion(chip) => chip,
            Parameters::Roofline(_) => unreachable!("not a Bit Fusion specification"),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]

        #[test]
        fn the_search_equals_the_naive_loops(layer in layers(), rows in 3..=6u32, columns in 3..=6u32) {
            for (chip, apq) in [(chip("bitfusion-apq"), true), (chip("bitfusion-public"), false)] {
                let chip = BitFusion { rows: 1 << rows, columns: 1 << columns, ..chip };
                let (expected, found) = match apq {
                    true => (naive(&chip, &ApqRules, &layer), search(&chip, &ApqRules, &layer)),
                    false => (naive(&chip, &PublicRules, &layer), search(&chip, &PublicRules, &layer)),
                };
                prop_assert_eq!(found.map(|mapping| (mapping.cycles, mapping.energy_nj)), expected);
            }
        }
    }

    #[test]
    fn sizes_double_and_end_at_the_dimension() {
        assert_eq!(sizes(1, 1), [1]);
        assert_eq!(sizes(1, 112), [1, 2, 4, 8, 16, 32, 64, 112]);
        assert_eq!(sizes(32, 96), [32, 64, 96]);
        assert_eq!(sizes(32, 20), [20]);
    }
}
