//! The inner loops, generic over the vector type and compiled once per instruction set.
//!
//! All tensors that kernels touch have rows (pixels) padded with zero channels to a multiple of [`LANE_BLOCK`], so no
//! kernel has a remainder of channels. A kernel is a struct of its arguments that implements [`Kernel`];
//! [`dispatch`] runs it with the wanted instruction set. `unsafe` is confined to this module and [`crate::arena`].

// Register tiles are indexed by constants in several places at once; iterators would hide what is unrolled.
#![allow(clippy::needless_range_loop)]

pub(crate) mod depthwise;
pub(crate) mod elementwise;
pub(crate) mod product;
pub(crate) mod vector;

use crate::simd::Level;
pub(crate) use vector::Vector;

/// Channels are padded to a multiple of this; every vector length divides it.
pub(crate) const LANE_BLOCK: usize = 16;

/// Channels after padding.
pub(crate) fn pitch(channels: usize) -> usize {
    channels.next_multiple_of(LANE_BLOCK)
}

/// Row stride for a matrix in scratch: an odd number of cache lines, so that columns spread over all cache sets.
pub(crate) fn scratch_stride(columns: usize) -> usize {
    (columns.div_ceil(LANE_BLOCK) | 1) * LANE_BLOCK
}

/// Asks for the cache line of an address; nothing else happens, whatever the address. On processors other than x86-64
/// nothing happens at all.
#[inline(always)]
pub(crate) fn prefetch(at: *const f32) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: part of every x86-64 processor; a hint about an address that may even be invalid.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// An inner loop, generic over the vector type.
pub(crate) trait Kernel {
    /// What it computes beside its outputs.
    type Output;
    /// Runs it.
    ///
    /// # Safety
    /// The machine must have the instruction set of `V`.
    unsafe fn run<V: Vector>(self) -> Self::Output;
}

/// Runs a kernel with the instructions of `level`.
pub(crate) fn dispatch<K: Kernel>(level: Level, kernel: K) -> K::Output {
    debug_assert!(level.available());
    // SAFETY: a level only comes from `simd::level` or `Level::all_available`, both of which ask the processor.
    unsafe {
        match level {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => x86::avx512(kernel),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => x86::avx2(kernel),
            #[cfg(target_arch = "aarch64")]
            Level::Neon => kernel.run::<vector::Neon>(),
            _ => kernel.run::<vector::Portable>(),
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Kernel, vector};

    #[target_feature(enable = "avx512f,avx2,fma")]
    pub(super) unsafe fn avx512<K: Kernel>(kernel: K) -> K::Output {
        // SAFETY: the caller has this instruction set.
        unsafe { kernel.run::<vector::Avx512>() }
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn avx2<K: Kernel>(kernel: K) -> K::Output {
        // SAFETY: the caller has this instruction set.
        unsafe { kernel.run::<vector::Avx2>() }
    }
}
