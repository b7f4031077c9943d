//! One register of pairs of 16-bit numbers, which is also one of 32-bit sums, for each instruction set.

use crate::simd::{Level, level};

/// Outputs computed side by side; weights are packed in blocks of as many.
pub(super) const BLOCK: usize = 16;

/// What the integer kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Instructions {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512Bw,
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
}

impl Instructions {
    /// The best ones within the engine's level.
    pub(super) fn chosen() -> Self {
        Self::within(level())
    }

    #[cfg(target_arch = "x86_64")]
    pub(super) fn within(level: Level) -> Self {
        let wide = level == Level::Avx512 && is_x86_feature_detected!("avx512bw");
        match level {
            _ if wide && is_x86_feature_detected!("avx512vnni") => Self::Avx512Vnni,
            _ if wide => Self::Avx512Bw,
            Level::Avx512 | Level::Avx2 => Self::Avx2,
            _ => Self::Portable,
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    pub(super) fn within(_: Level) -> Self {
        Self::Portable
    }

    /// Every one this machine can run.
    #[cfg(test)]
    pub(super) fn all_available() -> Vec<Self> {
        let mut all: Vec<Self> = Level::all_available().map(Self::within).collect();
        #[cfg(target_arch = "x86_64")]
        if all.contains(&Self::Avx512Vnni) {
            all.push(Self::Avx512Bw);
        }
        all
    }
}

/// A kernel, generic over the register.
pub(super) trait Kernel {
    /// # Safety
    /// The machine must have the instructions of `P`.
    unsafe fn run<P: Pairs>(self);
}

/// Runs a kernel with these instructions.
pub(super) fn dispatch<K: Kernel>(instructions: Instructions, kernel: K) {
    // SAFETY: `Instructions` beyond the portable ones only come from asking the processor.
    unsafe {
        match instructions {
            Instructions::Portable => kernel.run::<Portable>(),
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => x86::avx2(kernel),
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512Bw => x86::avx512_bw(kernel),
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512Vnni => x86::avx512_vnni(kernel),
        }
    }
}

/// `LANES` sums of 32 bits, or as many pairs of 16-bit numbers. Unsafe because the machine must have the instructions.
pub(super) trait Pairs: Copy {
    /// Sums in it; divides [`BLOCK`].
    const LANES: usize;
    /// All 0.
    unsafe fn zero() -> Self;
    /// The pair at the pointer (two readable numbers) in all lanes.
    unsafe fn splat(from: *const i16) -> Self;
    /// Reads `2 · LANES` numbers.
    unsafe fn load(from: *const i16) -> Self;
    /// Writes `LANES` sums.
    unsafe fn store(self, to: *mut i32);
    /// Adds to each sum both products of its pair.
    unsafe fn plus_products(self, a: Self, b: Self) -> Self;
}

/// Plain code, which the compiler may vectorise as it can.
#[derive(Clone, Copy)]
pub(super) struct Portable([[i16; 2]; 4]);

impl Portable {
    fn sums(self) -> [i32; 4] {
        self.0.map(|[low, high]| i32::from(low) & 0xffff | i32::from(high) << 16)
    }

    fn of(sums: [i32; 4]) -> Self {
        Self(sums.map(|sum| [sum as i16, (sum >> 16) as i16]))
    }
}

impl Pairs for Portable {
    const LANES: usize = 4;
    #[inline(always)]
    unsafe fn zero() -> Self {
        Self([[0; 2]; 4])
    }
    #[inline(always)]
    unsafe fn splat(from: *const i16) -> Self {
        // SAFETY: the caller gives two readable numbers.
        Self([unsafe { from.cast::<[i16; 2]>().read_unaligned() }; 4])
    }
    #[inline(always)]
    unsafe fn load(from: *const i16) -> Self {
        // SAFETY: the caller gives eight readable numbers.
        Self(unsafe { from.cast::<[[i16; 2]; 4]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut i32) {
        // SAFETY: the caller gives four writable numbers.
        unsafe { to.cast::<[i32; 4]>().write_unaligned(self.sums()) }
    }
    #[inline(always)]
    unsafe fn plus_products(self, a: Self, b: Self) -> Self {
        let product = |i: usize, j: usize| i32::from(a.0[i][j]) * i32::from(b.0[i][j]);
        let mut sums = self.sums();
        for (i, sum) in sums.iter_mut().enumerate() {
            *sum = sum.wrapping_add(product(i, 0)).wrapping_add(product(i, 1));
        }
        Self::of(sums)
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Kernel, Pairs};
    use std::arch::x86_64::*;

    /// Writes one register type; every block is safe because the caller has the instructions and gives the memory.
    macro_rules! pairs {
        ($name:ident($register:ty), $lanes:literal, $zero:ident, $splat:ident, $load:ident, $store:ident,
         |$s:ident, $a:ident, $b:ident| $products:expr) => {
            #[derive(Clone, Copy)]
            struct $name($register);
            // SAFETY of every block: see the macro's description.
            impl Pairs for $name {
                const LANES: usize = $lanes;
                #[inline(always)]
                unsafe fn zero() -> Self {
                    Self(unsafe { $zero() })
                }
                #[inline(always)]
                unsafe fn splat(from: *const i16) -> Self {
                    Self(unsafe { $splat(from.cast::<i32>().read_unaligned()) })
                }
                #[inline(always)]
                unsafe fn load(from: *const i16) -> Self {
                    Self(unsafe { $load(from.cast()) })
                }
                #[inline(always)]
                unsafe fn store(self, to: *mut i32) {
                    unsafe { $store(to.cast(), self.0) }
                }
                #[inline(always)]
                unsafe fn plus_products(self, a: Self, b: Self) -> Self {
                    let ($s, $a, $b) = (self.0, a.0, b.0);
                    Self(unsafe { $products })
                }
            }
        };
    }

    pairs!(
        Avx2(__m256i),
        8,
        _mm256_setzero_si256,
        _mm256_set1_epi32,
        _mm256_loadu_si256,
        _mm256_storeu_si256,
        |s, a, b| _mm256_add_epi32(s, _mm256_madd_epi16(a, b))
    );
    pairs!(
        Avx512Bw(__m512i),
        16,
        _mm512_setzero_si512,
        _mm512_set1_epi32,
        _mm512_loadu_si512,
        _mm512_storeu_si512,
        |s, a, b| _mm512_add_epi32(s, _mm512_madd_epi16(a, b))
    );
    pairs!(
        Avx512Vnni(__m512i),
        16,
        _mm512_setzero_si512,
        _mm512_set1_epi32,
        _mm512_loadu_si512,
        _mm512_storeu_si512,
        |s, a, b| _mm512_dpwssd_epi32(s, a, b)
    );

    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn avx2<K: Kernel>(kernel: K) {
        // SAFETY: the caller has these instructions.
        unsafe { kernel.run::<Avx2>() }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx2,fma")]
    pub(super) unsafe fn avx512_bw<K: Kernel>(kernel: K) {
        // SAFETY: the caller has these instructions.
        unsafe { kernel.run::<Avx512Bw>() }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vnni,avx2,fma")]
    pub(super) unsafe fn avx512_vnni<K: Kernel>(kernel: K) {
        // SAFETY: the caller has these instructions.
        unsafe { kernel.run::<Avx512Vnni>() }
    }
}
