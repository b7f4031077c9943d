//! # A price in one cache line
//!
//! What adds up in [`Costs`], as two short arrays that a processor adds in a few instructions. The peak, which does not
//! add up, is kept apart.

use crate::cost::Costs;
use crate::units::{BitOps, Bytes, Cycles, Macs, Millijoules, Milliseconds, Parameters};

/// The sums of [`Costs`].
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(super) struct Price {
    /// Latency and energy.
    reals: [f64; 2],
    /// Cycles, MACs, BitOps, parameters, bytes.
    counts: [u64; 5],
}

impl Price {
    /// A combination that the space does not offer; NaN survives every sum.
    pub(super) const UNKNOWN: Self = Self { reals: [f64::NAN; 2], counts: [0; 5] };

    pub(super) fn of(costs: &Costs) -> Self {
        let Costs { cycles, latency_ms, energy_mj, macs, bitops, parameters, size_bytes, .. } = costs;
        Self {
            reals: [latency_ms.0, energy_mj.0],
            counts: [cycles.0, macs.0, bitops.0, parameters.0, size_bytes.0],
        }
    }

    /// As costs with this peak.
    pub(super) fn costs(self, peak_activation_bytes: Bytes) -> Costs {
        let ([latency_ms, energy_mj], [cycles, macs, bitops, parameters, size_bytes]) =
            (self.reals, self.counts);
        Costs {
            cycles: Cycles(cycles),
            latency_ms: Milliseconds(latency_ms),
            energy_mj: Millijoules(energy_mj),
            macs: Macs(macs),
            bitops: BitOps(bitops),
            parameters: Parameters(parameters),
            size_bytes: Bytes(size_bytes),
            peak_activation_bytes,
        }
    }

    #[inline(always)]
    pub(super) fn plus(mut self, other: &Self) -> Self {
        (0..self.reals.len()).for_each(|place| self.reals[place] += other.reals[place]);
        (0..self.counts.len()).for_each(|place| self.counts[place] += other.counts[place]);
        self
    }

    #[inline(always)]
    pub(super) fn is_unknown(&self) -> bool {
        self.reals[0].is_nan()
    }
}
