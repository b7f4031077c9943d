//! Weight gradient of a block of channels: `dw[i, j] += Σ_{r,q} x[r·s + i, q·s + j] · dy[r, q]`, lane by lane.

use super::super::{Kernel, LANE_BLOCK, Vector};

/// Arguments.
pub(crate) struct Taps<'a> {
    /// Odd.
    pub kernel: usize,
    /// 1 or 2.
    pub stride: usize,
    /// Height and width of the gradient.
    pub output: usize,
    /// The input's plane.
    pub input: &'a [f32],
    /// Floats between its rows.
    pub input_row: usize,
    /// The gradient's plane, from its first element inside the border.
    pub gradient: &'a [f32],
    /// Floats between its rows.
    pub gradient_row: usize,
    /// Added to: rows of `to_row`, one per tap, of which the first block is this one's.
    pub to: &'a mut [f32],
    /// Floats between its rows.
    pub to_row: usize,
}

impl Kernel for Taps<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        self.check();
        let to = self.to.as_mut_ptr();
        for lane in (0..LANE_BLOCK).step_by(V::LANES) {
            // SAFETY: `check` has shown that all inputs, gradients and taps exist; `lane` is a vector of the block.
            unsafe { self.lanes::<V>(lane, to.add(lane)) };
        }
    }
}

impl Taps<'_> {
    fn check(&self) {
        let last = (self.output - 1) * self.stride + self.kernel - 1;
        assert!(last * self.input_row + (last + 1) * LANE_BLOCK <= self.input.len());
        let last = self.output - 1;
        assert!(last * self.gradient_row + (last + 1) * LANE_BLOCK <= self.gradient.len());
        assert!((self.kernel.pow(2) - 1) * self.to_row + LANE_BLOCK <= self.to.len());
    }

    /// Row ranges that together cover the kernel once, as many at a time as there are registers for.
    #[inline(always)]
    unsafe fn lanes<V: Vector>(&self, lane: usize, to: *mut f32) {
        let many = V::REGISTERS >= 32;
        // SAFETY: as `run`.
        unsafe {
            match (self.kernel, self.stride) {
                (3, 1) => self.taps::<V, 3, 3, 1>(lane, to, 0),
                (3, 2) => self.taps::<V, 3, 3, 2>(lane, to, 0),
                (5, 1) if many => self.taps::<V, 5, 5, 1>(lane, to, 0),
                (5, 2) if many => self.taps::<V, 5, 5, 2>(lane, to, 0),
                (7, 1) if many => {
                    self.taps::<V, 3, 7, 1>(lane, to, 0);
                    self.taps::<V, 4, 7, 1>(lane, to, 3);
                }
                (7, 2) if many => {
                    self.taps::<V, 3, 7, 2>(lane, to, 0);
                    self.taps::<V, 4, 7, 2>(lane, to, 3);
                }
                (5, 1) => {
                    // Not a closure: one that is not inlined is compiled without the instructions.
                    for row in 0..5 {
                        self.taps::<V, 1, 5, 1>(lane, to, row);
                    }
                }
                (5, 2) => {
                    // Not a closure: one that is not inlined is compiled without the instructions.
                    for row in 0..5 {
                        self.taps::<V, 1, 5, 2>(lane, to, row);
                    }
                }
                (7, 1) => {
                    // Not a closure: one that is not inlined is compiled without the instructions.
                    for row in 0..7 {
                        self.taps::<V, 1, 7, 1>(lane, to, row);
                    }
                }
                (7, 2) => {
                    // Not a closure: one that is not inlined is compiled without the instructions.
                    for row in 0..7 {
                        self.taps::<V, 1, 7, 2>(lane, to, row);
                    }
                }
                _ => self.any::<V>(lane, to),
            }
        }
    }

    /// `H` rows of taps, from row `first`.
    #[inline(always)]
    unsafe fn taps<V: Vector, const H: usize, const W: usize, const S: usize>(
        &self,
        lane: usize,
        to: *mut f32,
        first: usize,
    ) {
        // SAFETY: as `run`.
        unsafe {
            let mut total = [[V::zero(); W]; H];
            for row in 0..self.output {
                let mut input = self.input.as_ptr().add((row * S + first) * self.input_row + lane);
                let mut gradient = self.gradient.as_ptr().add(row * self.gradient_row + lane);
                for _ in 0..self.output / 2 {
                    add_taps::<V, H, W, S, 2>(input, self.input_row, gradient, &mut total);
                    input = input.wrapping_add(2 * S * LANE_BLOCK);
                    gradient = gradient.wrapping_add(2 * LANE_BLOCK);
                }
                if self.output % 2 == 1 {
                    add_taps::<V, H, W, S, 1>(input, self.input_row, gradient, &mut total);
                }
            }
            for i in 0..H {
                for j in 0..W {
                    let tap = (first + i) * W + j;
                    let to = to.add(tap * self.to_row);
                    total[i][j].add(V::load(to)).store(to);
                }
            }
        }
    }

    /// Any kernel, one tap at a time.
    #[inline(always)]
    unsafe fn any<V: Vector>(&self, lane: usize, to: *mut f32) {
        for tap in 0..self.kernel * self.kernel {
            // SAFETY: as `run`.
            unsafe {
                let to = to.add(tap * self.to_row);
                let mut total = V::load(to);
                for pixel in 0..self.output * self.output {
                    let (row, column) = (pixel / self.output, pixel % self.output);
                    let (down, right) =
                        (row * self.stride + tap / self.kernel, column * self.stride + tap % self.kernel);
                    let x = self.input.as_ptr().add(down * self.input_row + right * LANE_BLOCK + lane);
                    let g = self.gradient.as_ptr().add(row * self.gradient_row + column * LANE_BLOCK + lane);
                    total = V::load(x).mul_add(V::load(g), total);
                }
                total.store(to);
            }
        }
    }
}

/// `total[i][j] += Σ_t input[i, t·S + j] · gradient[t]` for T neighbours.
#[inline(always)]
unsafe fn add_taps<V: Vector, const H: usize, const W: usize, const S: usize, const T: usize>(
    input: *const f32,
    input_row: usize,
    gradient: *const f32,
    total: &mut [[V; W]; H],
) {
    // SAFETY: the caller's inputs and gradients exist.
    unsafe {
        let mut gradients = [V::zero(); T];
        for t in 0..T {
            gradients[t] = V::load(gradient.add(t * LANE_BLOCK));
        }
        for i in 0..H {
            for j in 0..W {
                for t in 0..T {
                    let x = V::load(input.add(i * input_row + (t * S + j) * LANE_BLOCK));
                    total[i][j] = x.mul_add(gradients[t], total[i][j]);
                }
            }
        }
    }
}
