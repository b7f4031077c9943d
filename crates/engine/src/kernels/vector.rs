//! One vector register of `f32`, for each instruction set.
//!
//! Every function is `unsafe` for one reason: the machine must have the instructions. Loads and stores also need
//! `LANES` readable (writable) floats at the pointer; no alignment is needed.

/// A vector of `f32`.
pub(crate) trait Vector: Copy {
    /// Floats in it; divides [`super::LANE_BLOCK`].
    const LANES: usize;
    /// How many such registers there are.
    const REGISTERS: usize;
    /// A vector half as long, or the same where there is none.
    type Half: Vector;
    /// All lanes equal.
    unsafe fn splat(value: f32) -> Self;
    /// The first half of the lanes.
    unsafe fn half(self) -> Self::Half;
    /// Reads `LANES` floats.
    unsafe fn load(from: *const f32) -> Self;
    /// Writes `LANES` floats.
    unsafe fn store(self, to: *mut f32);
    /// `self + other`.
    unsafe fn add(self, other: Self) -> Self;
    /// `self - other`.
    unsafe fn sub(self, other: Self) -> Self;
    /// `self * other`.
    unsafe fn mul(self, other: Self) -> Self;
    /// `self * factor + addend`, fused where the machine can.
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self;
    /// `min(max(self, low), high)`.
    unsafe fn clamp(self, low: Self, high: Self) -> Self;
    /// Nearest integer, ties to even.
    unsafe fn round(self) -> Self;
    /// `self` where `low < x < high`, else 0.
    unsafe fn where_inside(self, x: Self, low: Self, high: Self) -> Self;
    /// `self` where `x >= bound`, else 0.
    unsafe fn where_at_least(self, x: Self, bound: Self) -> Self;
    /// `self` where `x <= bound`, else 0.
    unsafe fn where_at_most(self, x: Self, bound: Self) -> Self;
    /// All lanes 0.
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: the caller has the instructions.
        unsafe { Self::splat(0.0) }
    }
}

/// Eight floats in plain code, which the compiler may vectorise as it can.
#[derive(Clone, Copy)]
#[repr(align(32))]
pub(crate) struct Portable([f32; 8]);

macro_rules! lanes {
    (|$i:ident| $value:expr) => {{
        let mut out = [0.0f32; 8];
        for ($i, slot) in out.iter_mut().enumerate() {
            *slot = $value;
        }
        Portable(out)
    }};
}

impl Vector for Portable {
    const LANES: usize = 8;
    const REGISTERS: usize = 8;
    type Half = Self;
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        Self([value; 8])
    }
    #[inline(always)]
    unsafe fn half(self) -> Self {
        self
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller gives eight readable floats; an array of floats needs no more alignment than they do.
        Self(unsafe { from.cast::<[f32; 8]>().read_unaligned() })
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller gives eight writable floats.
        unsafe { to.cast::<[f32; 8]>().write_unaligned(self.0) }
    }
    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        lanes!(|i| self.0[i] + other.0[i])
    }
    #[inline(always)]
    unsafe fn sub(self, other: Self) -> Self {
        lanes!(|i| self.0[i] - other.0[i])
    }
    #[inline(always)]
    unsafe fn mul(self, other: Self) -> Self {
        lanes!(|i| self.0[i] * other.0[i])
    }
    #[inline(always)]
    unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
        lanes!(|i| self.0[i] * factor.0[i] + addend.0[i])
    }
    #[inline(always)]
    unsafe fn clamp(self, low: Self, high: Self) -> Self {
        lanes!(|i| self.0[i].max(low.0[i]).min(high.0[i]))
    }
    #[inline(always)]
    unsafe fn round(self) -> Self {
        lanes!(|i| self.0[i].round_ties_even())
    }
    #[inline(always)]
    unsafe fn where_inside(self, x: Self, low: Self, high: Self) -> Self {
        lanes!(|i| if x.0[i] > low.0[i] && x.0[i] < high.0[i] { self.0[i] } else { 0.0 })
    }
    #[inline(always)]
    unsafe fn where_at_least(self, x: Self, bound: Self) -> Self {
        lanes!(|i| if x.0[i] >= bound.0[i] { self.0[i] } else { 0.0 })
    }
    #[inline(always)]
    unsafe fn where_at_most(self, x: Self, bound: Self) -> Self {
        lanes!(|i| if x.0[i] <= bound.0[i] { self.0[i] } else { 0.0 })
    }
}

/// Writes one vector type: its register, sizes, and one expression per operation.
macro_rules! vector {
    ($(#[$meta:meta])* $name:ident($register:ty), $lanes:literal lanes, $registers:literal registers, half($f:ident) $half:ident($first:expr),
     splat($v:ident) $splat:expr, load($from:ident) $load:expr, store($s:ident, $to:ident) $store:expr,
     add $add:path, sub $sub:path, mul $mul:path, mul_add($a:ident, $b:ident, $c:ident) $mul_add:expr,
     max $max:path, min $min:path, round($r:ident) $round:expr,
     inside($g:ident, $x:ident, $low:ident, $high:ident) $inside:expr,
     at_least($lg:ident, $lx:ident, $lb:ident) $at_least:expr,
     at_most($mg:ident, $mx:ident, $mb:ident) $at_most:expr $(,)?) => {
        $(#[$meta])*
        #[derive(Clone, Copy)]
        pub(crate) struct $name($register);

        // SAFETY of every block below: the caller has the instructions, and gives pointers to LANES floats.
        impl Vector for $name {
            const LANES: usize = $lanes;
            const REGISTERS: usize = $registers;
            type Half = $half;
            #[inline(always)]
            unsafe fn splat($v: f32) -> Self {
                Self(unsafe { $splat })
            }
            #[inline(always)]
            #[allow(unused_unsafe, reason = "where there is no half, nothing is done")]
            unsafe fn half(self) -> $half {
                let $f = self.0;
                $half(unsafe { $first })
            }
            #[inline(always)]
            unsafe fn load($from: *const f32) -> Self {
                Self(unsafe { $load })
            }
            #[inline(always)]
            unsafe fn store(self, $to: *mut f32) {
                let $s = self.0;
                unsafe { $store }
            }
            #[inline(always)]
            unsafe fn add(self, other: Self) -> Self {
                Self(unsafe { $add(self.0, other.0) })
            }
            #[inline(always)]
            unsafe fn sub(self, other: Self) -> Self {
                Self(unsafe { $sub(self.0, other.0) })
            }
            #[inline(always)]
            unsafe fn mul(self, other: Self) -> Self {
                Self(unsafe { $mul(self.0, other.0) })
            }
            #[inline(always)]
            unsafe fn mul_add(self, factor: Self, addend: Self) -> Self {
                let ($a, $b, $c) = (self.0, factor.0, addend.0);
                Self(unsafe { $mul_add })
            }
            #[inline(always)]
            unsafe fn clamp(self, low: Self, high: Self) -> Self {
                Self(unsafe { $min($max(self.0, low.0), high.0) })
            }
            #[inline(always)]
            unsafe fn round(self) -> Self {
                let $r = self.0;
                Self(unsafe { $round })
            }
            #[inline(always)]
            unsafe fn where_inside(self, x: Self, low: Self, high: Self) -> Self {
                let ($g, $x, $low, $high) = (self.0, x.0, low.0, high.0);
                Self(unsafe { $inside })
            }
            #[inline(always)]
            unsafe fn where_at_least(self, x: Self, bound: Self) -> Self {
                let ($lg, $lx, $lb) = (self.0, x.0, bound.0);
                Self(unsafe { $at_least })
            }
            #[inline(always)]
            unsafe fn where_at_most(self, x: Self, bound: Self) -> Self {
                let ($mg, $mx, $mb) = (self.0, x.0, bound.0);
                Self(unsafe { $at_most })
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Vector;
    use std::arch::x86_64::*;

    vector! {
        /// Sixteen floats, AVX-512F.
        Avx512(__m512), 16 lanes, 32 registers, half(f) Avx2(_mm512_castps512_ps256(f)),
        splat(v) _mm512_set1_ps(v),
        load(from) _mm512_loadu_ps(from),
        store(s, to) _mm512_storeu_ps(to, s),
        add _mm512_add_ps, sub _mm512_sub_ps, mul _mm512_mul_ps,
        mul_add(a, b, c) _mm512_fmadd_ps(a, b, c),
        max _mm512_max_ps, min _mm512_min_ps,
        round(r) _mm512_roundscale_ps::<0>(r),
        inside(g, x, low, high) {
            let above = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(x, low);
            _mm512_maskz_mov_ps(_mm512_mask_cmp_ps_mask::<_CMP_LT_OQ>(above, x, high), g)
        },
        at_least(g, x, bound) _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_GE_OQ>(x, bound), g),
        at_most(g, x, bound) _mm512_maskz_mov_ps(_mm512_cmp_ps_mask::<_CMP_LE_OQ>(x, bound), g),
    }

    vector! {
        /// Eight floats, AVX2 and FMA.
        Avx2(__m256), 8 lanes, 16 registers, half(f) Avx2(f),
        splat(v) _mm256_set1_ps(v),
        load(from) _mm256_loadu_ps(from),
        store(s, to) _mm256_storeu_ps(to, s),
        add _mm256_add_ps, sub _mm256_sub_ps, mul _mm256_mul_ps,
        mul_add(a, b, c) _mm256_fmadd_ps(a, b, c),
        max _mm256_max_ps, min _mm256_min_ps,
        round(r) _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(r),
        inside(g, x, low, high) {
            let above = _mm256_cmp_ps::<_CMP_GT_OQ>(x, low);
            let below = _mm256_cmp_ps::<_CMP_LT_OQ>(x, high);
            _mm256_and_ps(g, _mm256_and_ps(above, below))
        },
        at_least(g, x, bound) _mm256_and_ps(g, _mm256_cmp_ps::<_CMP_GE_OQ>(x, bound)),
        at_most(g, x, bound) _mm256_and_ps(g, _mm256_cmp_ps::<_CMP_LE_OQ>(x, bound)),
    }
}
#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};

#[cfg(target_arch = "aarch64")]
mod arm {
    use super::Vector;
    use std::arch::aarch64::*;

    #[inline(always)]
    unsafe fn masked(mask: uint32x4_t, g: float32x4_t) -> float32x4_t {
        // SAFETY: NEON is part of every aarch64 target this is compiled for.
        unsafe { vreinterpretq_f32_u32(vandq_u32(mask, vreinterpretq_u32_f32(g))) }
    }

    vector! {
        /// Four floats, NEON.
        Neon(float32x4_t), 4 lanes, 32 registers, half(f) Neon(f),
        splat(v) vdupq_n_f32(v),
        load(from) vld1q_f32(from),
        store(s, to) vst1q_f32(to, s),
        add vaddq_f32, sub vsubq_f32, mul vmulq_f32,
        mul_add(a, b, c) vfmaq_f32(c, a, b),
        max vmaxnmq_f32, min vminnmq_f32,
        round(r) vrndnq_f32(r),
        inside(g, x, low, high) masked(vandq_u32(vcgtq_f32(x, low), vcltq_f32(x, high)), g),
        at_least(g, x, bound) masked(vcgeq_f32(x, bound), g),
        at_most(g, x, bound) masked(vcleq_f32(x, bound), g),
    }
}
#[cfg(target_arch = "aarch64")]
pub(crate) use arm::Neon;
