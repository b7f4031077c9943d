//! One register of pairs of 16-bit numbers and one of 32-bit sums, for each instruction set.

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
        let all = Level::all_available().map(Self::within);
        #[cfg(target_arch = "x86_64")]
        let all = all.chain(is_x86_feature_detected!("avx512bw").then_some(Self::Avx512Bw));
        all.collect()
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

/// A register of `LANES` pairs of 16-bit numbers, and one of as many sums. Unsafe because the machine must have the
/// instructions.
pub(super) trait Pairs: Copy {
    /// Pairs in it; divides [`BLOCK`].
    const LANES: usize;
    /// As many sums of 32 bits.
    type Sums: Copy;
    /// All pairs 0.
    unsafe fn zero() -> Self;
    /// All sums 0.
    unsafe fn no_sums() -> Self::Sums;
    /// The pair at the pointer (two readable numbers) in all lanes.
    unsafe fn splat(from: *const i16) -> Self;
    /// Reads `2 · LANES` numbers.
    unsafe fn load(from: *const i16) -> Self;
    /// Pairs of a number of `self` and the same one of `other`: two registers in an order that
    /// [`store_interleaved`](Self::store_interleaved) undoes.
    unsafe fn interleave(self, other: Self) -> (Self, Self);
    /// Adds to each sum both products of its pair.
    unsafe fn add_products(sums: Self::Sums, a: Self, b: Self) -> Self::Sums;
    /// Writes `LANES` sums.
    unsafe fn store(sums: Self::Sums, to: *mut i32);
    /// Writes the `2 · LANES` sums of interleaved pairs in the order of the numbers.
    unsafe fn store_interleaved(low: Self::Sums, high: Self::Sums, to: *mut i32);
}

/// Plain code, which the compiler may vectorise as it can.
#[derive(Clone, Copy)]
pub(super) struct Portable([[i16; 2]; 4]);

impl Pairs for Portable {
    const LANES: usize = 4;
    type Sums = [i32; 4];
    #[inline(always)]
    unsafe fn zero() -> Self {
        Self([[0; 2]; 4])
    }
    #[inline(always)]
    unsafe fn no_sums() -> [i32; 4] {
        [0; 4]
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
    unsafe fn interleave(self, other: Self) -> (Self, Self) {
        let ([a, b, c, d], [e, f, g, h]) = (self.0, other.0);
        let low = [[a[0], e[0]], [a[1], e[1]], [b[0], f[0]], [b[1], f[1]]];
        let high = [[c[0], g[0]], [c[1], g[1]], [d[0], h[0]], [d[1], h[1]]];
        (Self(low), Self(high))
    }
    #[inline(always)]
    unsafe fn add_products(mut sums: [i32; 4], a: Self, b: Self) -> [i32; 4] {
        for ((sum, a), b) in sums.iter_mut().zip(a.0).zip(b.0) {
            let (one, other) = (i32::from(a[0]) * i32::from(b[0]), i32::from(a[1]) * i32::from(b[1]));
            *sum = sum.wrapping_add(one).wrapping_add(other);
        }
        sums
    }
    #[inline(always)]
    unsafe fn store(sums: [i32; 4], to: *mut i32) {
        // SAFETY: the caller gives four writable numbers.
        unsafe { to.cast::<[i32; 4]>().write_unaligned(sums) }
    }
    #[inline(always)]
    unsafe fn store_interleaved(low: [i32; 4], high: [i32; 4], to: *mut i32) {
        // SAFETY: the caller gives eight writable numbers.
        unsafe { to.cast::<[[i32; 4]; 2]>().write_unaligned([low, high]) }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Kernel, Pairs};
    use std::arch::x86_64::*;

    /// Writes one register type; every block is safe because the caller has the instructions and gives the memory.
    macro_rules! pairs {
        ($name:ident($register:ty), $lanes:literal, $zero:ident, $splat:ident, $load:ident, $store:ident,
         $low:ident, $high:ident, $in_order:ident, |$s:ident, $a:ident, $b:ident| $products:expr) => {
            #[derive(Clone, Copy)]
            struct $name($register);
            // SAFETY of every block: see the macro's description.
            impl Pairs for $name {
                const LANES: usize = $lanes;
                type Sums = $register;
                #[inline(always)]
                unsafe fn zero() -> Self {
                    Self(unsafe { $zero() })
                }
                #[inline(always)]
                unsafe fn no_sums() -> $register {
                    unsafe { $zero() }
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
                unsafe fn interleave(self, other: Self) -> (Self, Self) {
                    unsafe { (Self($low(self.0, other.0)), Self($high(self.0, other.0))) }
                }
                #[inline(always)]
                unsafe fn add_products($s: $register, a: Self, b: Self) -> $register {
                    let ($a, $b) = (a.0, b.0);
                    unsafe { $products }
                }
                #[inline(always)]
                unsafe fn store(sums: $register, to: *mut i32) {
                    unsafe { $store(to.cast(), sums) }
                }
                #[inline(always)]
                unsafe fn store_interleaved(low: $register, high: $register, to: *mut i32) {
                    unsafe {
                        let (first, second) = $in_order(low, high);
                        $store(to.cast(), first);
                        $store(to.add($lanes).cast(), second);
                    }
                }
            }
        };
    }

    /// Interleaving works within 128 bits: these are their places in the order of the numbers.
    #[inline(always)]
    unsafe fn in_order_256(low: __m256i, high: __m256i) -> (__m256i, __m256i) {
        // SAFETY: the caller has AVX2.
        unsafe {
            (_mm256_permute2x128_si256::<0x20>(low, high), _mm256_permute2x128_si256::<0x31>(low, high))
        }
    }

    /// As above, for four times 128 bits.
    #[inline(always)]
    unsafe fn in_order_512(low: __m512i, high: __m512i) -> (__m512i, __m512i) {
        // SAFETY: the caller has AVX-512F.
        unsafe {
            let first = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
            let second = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
            (_mm512_permutex2var_epi64(low, first, high), _mm512_permutex2var_epi64(low, second, high))
        }
    }

    pairs!(
        Avx2(__m256i),
        8,
        _mm256_setzero_si256,
        _mm256_set1_epi32,
        _mm256_loadu_si256,
        _mm256_storeu_si256,
        _mm256_unpacklo_epi16,
        _mm256_unpackhi_epi16,
        in_order_256,
        |s, a, b| _mm256_add_epi32(s, _mm256_madd_epi16(a, b))
    );
    pairs!(
        Avx512Bw(__m512i),
        16,
        _mm512_setzero_si512,
        _mm512_set1_epi32,
        _mm512_loadu_si512,
        _mm512_storeu_si512,
        _mm512_unpacklo_epi16,
        _mm512_unpackhi_epi16,
        in_order_512,
        |s, a, b| _mm512_add_epi32(s, _mm512_madd_epi16(a, b))
    );
    pairs!(
        Avx512Vnni(__m512i),
        16,
        _mm512_setzero_si512,
        _mm512_set1_epi32,
        _mm512_loadu_si512,
        _mm512_storeu_si512,
        _mm512_unpacklo_epi16,
        _mm512_unpackhi_epi16,
        in_order_512,
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
