//! What the machine could do at best: fused multiply-adds from registers, and a pass over memory.
//!
//! Both do a fixed amount of work on every thread of the current pool and leave the timing to the caller.

use rayon::prelude::*;

use crate::kernels::{Kernel, Vector, dispatch};
use crate::simd;

/// Chains of dependent operations that hide each other's latency.
const CHAINS: usize = 12;

struct Chains(usize);

impl Kernel for Chains {
    type Output = f32;

    #[inline(always)]
    unsafe fn run<V: Vector>(self) -> f32 {
        // SAFETY: registers only, but for the last store into an array of the longest vector's length.
        unsafe {
            let factor = V::splat(0.999);
            // Each begins elsewhere and counts in the end, for equal or unread chains are compiled away.
            let mut chains = [V::splat(1.0); CHAINS];
            for (i, chain) in chains.iter_mut().enumerate() {
                *chain = V::splat(std::hint::black_box(i as f32));
            }
            for _ in 0..self.0 {
                for chain in &mut chains {
                    *chain = chain.mul_add(factor, factor);
                }
            }
            let mut sum = V::zero();
            for chain in chains {
                sum = sum.add(chain);
            }
            let mut lanes = [0.0; crate::kernels::LANE_BLOCK];
            sum.store(lanes.as_mut_ptr());
            lanes[0]
        }
    }
}

struct Lanes;

impl Kernel for Lanes {
    type Output = usize;

    #[inline(always)]
    unsafe fn run<V: Vector>(self) -> usize {
        V::LANES
    }
}

/// Multiply-adds from registers on every thread; returns the floating-point operations done and a value that depends
/// on them.
pub fn multiply_adds(rounds: usize) -> (f64, f32) {
    let threads = rayon::current_num_threads();
    let level = simd::level();
    let value = (0..threads).into_par_iter().with_max_len(1).map(|_| dispatch(level, Chains(rounds))).sum();
    ((2 * threads * rounds * CHAINS * dispatch(level, Lanes)) as f64, value)
}

/// `c = a + 3 b` on every thread; returns the bytes read and written (three arrays, as STREAM counts them).
pub fn triad(a: &[f32], b: &[f32], c: &mut [f32]) -> f64 {
    let block = c.len().div_ceil(4 * rayon::current_num_threads()).max(1);
    let inputs = a.par_chunks(block).zip(b.par_chunks(block));
    c.par_chunks_mut(block).zip(inputs).for_each(|(c, (a, b))| {
        c.iter_mut().zip(a).zip(b).for_each(|((c, a), b)| *c = a + 3.0 * b);
    });
    (3 * size_of_val(c)) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_is_done_and_counted() {
        let (operations, value) = multiply_adds(1000);
        assert!(operations >= 2.0 * 1000.0 * CHAINS as f64 && value > 1.0);
        let mut c = [0.0; 5];
        assert_eq!(triad(&[1.0; 5], &[2.0; 5], &mut c), 60.0);
        assert_eq!(c, [7.0; 5]);
    }
}
