//! # Costs: of a layer with its breakdown, and of a network

use std::fmt;
use std::ops::{Add, AddAssign};

use sartor_space::Workload;
use serde::Serialize;

use crate::units::{BitOps, Bits, Bytes, Cycles, Macs, Millijoules, Milliseconds, Parameters};

/// What a whole network costs: latency and energy for the accelerator's batch, the rest for one image.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Costs {
    /// Clock cycles; 0 where a table was measured in time alone.
    pub cycles: Cycles,
    /// Latency.
    pub latency_ms: Milliseconds,
    /// Energy.
    pub energy_mj: Millijoules,
    /// Multiply-accumulates.
    pub macs: Macs,
    /// MACs × weight bits × activation bits.
    pub bitops: BitOps,
    /// Weights and biases.
    pub parameters: Parameters,
    /// Stored weights at their widths, scales and biases.
    pub size_bytes: Bytes,
    /// Largest sum of live activation tensors under the execution order.
    pub peak_activation_bytes: Bytes,
}

impl Costs {
    /// What follows from the workload alone, without a chip.
    pub fn analytic(workload: &Workload) -> Self {
        Self {
            macs: Macs(workload.macs()),
            bitops: BitOps(workload.bitops()),
            parameters: Parameters(workload.parameters()),
            size_bytes: Bytes(workload.size_bytes()),
            peak_activation_bytes: Bytes(workload.peak_activation_bytes()),
            ..Self::default()
        }
    }
}

/// One part after another: sums, except the peak, which is the larger.
impl Add for Costs {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        let (ours, theirs) = (self.peak_activation_bytes, other.peak_activation_bytes);
        Self {
            cycles: self.cycles + other.cycles,
            latency_ms: self.latency_ms + other.latency_ms,
            energy_mj: self.energy_mj + other.energy_mj,
            macs: self.macs + other.macs,
            bitops: self.bitops + other.bitops,
            parameters: self.parameters + other.parameters,
            size_bytes: self.size_bytes + other.size_bytes,
            peak_activation_bytes: if theirs > ours { theirs } else { ours },
        }
    }
}

impl AddAssign for Costs {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// What one layer costs, and why; everything for the accelerator's batch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LayerCost {
    /// Clock cycles.
    pub cycles: Cycles,
    /// Latency.
    pub latency: Milliseconds,
    /// Energy.
    pub energy: Millijoules,
    /// Whether the model was used outside what it was checked on.
    pub extrapolated: bool,
    /// Cycles in which the array multiplies.
    pub compute_cycles: Cycles,
    /// All other cycles.
    pub stall_cycles: Cycles,
    /// Memory traffic by operand.
    pub dram: DramTraffic,
    /// Accesses of the input buffer.
    pub input_buffer: BufferTraffic,
    /// Accesses of the weight buffer.
    pub weight_buffer: BufferTraffic,
    /// Accesses of the output buffer.
    pub output_buffer: BufferTraffic,
    /// Energy by part; sums to `energy` up to rounding.
    pub energy_parts: EnergyParts,
    /// What bounds the latency.
    pub limit: Limit,
}

/// Bits that cross the memory port.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct DramTraffic {
    /// Input activations.
    pub input_read: Bits,
    /// Weights.
    pub weight_read: Bits,
    /// Partial sums read back.
    pub output_read: Bits,
    /// Partial sums and outputs.
    pub output_write: Bits,
}

impl DramTraffic {
    /// Everything read.
    pub fn read(&self) -> Bits {
        self.input_read + self.weight_read + self.output_read
    }

    /// Everything read and written.
    pub fn total(&self) -> Bits {
        self.read() + self.output_write
    }
}

/// Bits in and out of one buffer.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct BufferTraffic {
    /// Read.
    pub read: Bits,
    /// Written.
    pub write: Bits,
}

/// Energy by part of the chip.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct EnergyParts {
    /// The array.
    pub compute: Millijoules,
    /// Leakage and clock.
    pub background: Millijoules,
    /// Memory.
    pub dram: Millijoules,
    /// Input buffer.
    pub input_buffer: Millijoules,
    /// Weight buffer.
    pub weight_buffer: Millijoules,
    /// Output buffer.
    pub output_buffer: Millijoules,
}

impl EnergyParts {
    /// All parts.
    pub fn total(&self) -> Millijoules {
        let array = self.compute + self.background + self.dram;
        array + self.input_buffer + self.weight_buffer + self.output_buffer
    }
}

/// What to improve to make a layer faster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Limit {
    /// The array.
    Compute,
    /// The memory port, while the array waits.
    Bandwidth,
    /// The first load and last store, which nothing hides.
    Load,
}

impl fmt::Display for Limit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Compute => "compute",
            Self::Bandwidth => "bandwidth",
            Self::Load => "load",
        })
    }
}
