//! Correlation of a plane with a kernel: `out[r, q] = Σ_{i,j} in[r·s + i, q·s + j] · w[i, j]`, lane by lane.

use super::super::{Kernel, LANE_BLOCK, Vector};

/// Outputs in registers at once, where there are enough registers and outputs.
const WIDE: usize = 8;
/// Else, for each of two rows.
const NARROW: usize = 4;
/// Inputs in registers: of `WIDE` outputs at stride 2 under 7 taps.
const INPUTS: usize = 2 * (WIDE - 1) + 7;

/// Arguments.
pub(crate) struct Correlate<'a> {
    /// Height and width of the kernel.
    pub taps: [usize; 2],
    /// Inputs between outputs.
    pub stride: usize,
    /// The plane, from the vector under the first tap of the first output.
    pub input: &'a [f32],
    /// Floats between its rows.
    pub input_row: usize,
    /// `[taps][LANE_BLOCK]`.
    pub kernel: &'a [f32],
    /// Output rows.
    pub rows: usize,
    /// Outputs in a row.
    pub count: usize,
    /// Written: `[rows][count][LANE_BLOCK]`.
    pub output: &'a mut [f32],
}

impl Kernel for Correlate<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        if self.rows * self.count == 0 {
            return;
        }
        self.check();
        let output = self.output.as_mut_ptr();
        for lane in (0..LANE_BLOCK).step_by(V::LANES) {
            // SAFETY: `check` has shown that all inputs, taps and outputs exist; `lane` is a vector within the block.
            unsafe {
                let places = Places {
                    input: self.input.as_ptr().add(lane),
                    input_row: self.input_row,
                    kernel: self.kernel.as_ptr().add(lane),
                    output: output.add(lane),
                    count: self.count,
                };
                places.lanes::<V>(self.taps, self.stride, self.rows);
            }
        }
    }
}

impl Correlate<'_> {
    /// A tile may compute up to WIDE - 1 outputs too many, whose inputs must exist but are ignored.
    fn check(&self) {
        let [high, wide] = self.taps;
        let columns = (self.count.next_multiple_of(WIDE) - 1) * self.stride + wide;
        let last_row = (self.rows - 1) * self.stride + high.saturating_sub(1);
        assert!(last_row * self.input_row + columns * LANE_BLOCK <= self.input.len());
        assert!(self.kernel.len() >= high * wide * LANE_BLOCK);
        assert!(self.output.len() >= self.rows * self.count * LANE_BLOCK);
    }
}

#[derive(Clone, Copy)]
struct Places {
    input: *const f32,
    input_row: usize,
    kernel: *const f32,
    output: *mut f32,
    count: usize,
}

impl Places {
    #[inline(always)]
    unsafe fn lanes<V: Vector>(self, taps: [usize; 2], stride: usize, rows: usize) {
        // SAFETY: as the caller's.
        unsafe {
            match (taps, stride) {
                ([1, 1], 1) => self.rows::<V, 1, 1, 1>(rows),
                ([1, 2], 1) => self.rows::<V, 1, 2, 1>(rows),
                ([2, 1], 1) => self.rows::<V, 2, 1, 1>(rows),
                ([2, 2], 1) => self.rows::<V, 2, 2, 1>(rows),
                ([2, 3], 1) => self.rows::<V, 2, 3, 1>(rows),
                ([3, 2], 1) => self.rows::<V, 3, 2, 1>(rows),
                ([3, 3], 1) => self.rows::<V, 3, 3, 1>(rows),
                ([3, 4], 1) => self.rows::<V, 3, 4, 1>(rows),
                ([4, 3], 1) => self.rows::<V, 4, 3, 1>(rows),
                ([4, 4], 1) => self.rows::<V, 4, 4, 1>(rows),
                ([5, 5], 1) => self.rows::<V, 5, 5, 1>(rows),
                ([7, 7], 1) => self.rows::<V, 7, 7, 1>(rows),
                ([3, 3], 2) => self.rows::<V, 3, 3, 2>(rows),
                ([5, 5], 2) => self.rows::<V, 5, 5, 2>(rows),
                ([7, 7], 2) => self.rows::<V, 7, 7, 2>(rows),
                (taps, stride) => self.any::<V>(rows, taps, stride),
            }
        }
    }

    /// Rows of wide tiles; where a row is too short for them, pairs of rows of narrow ones.
    #[inline(always)]
    unsafe fn rows<V: Vector, const H: usize, const W: usize, const S: usize>(self, rows: usize) {
        // SAFETY: the caller's rows and columns exist, tiles that overhang were checked for.
        unsafe {
            let mut row = 0;
            if V::REGISTERS >= 32 && self.count > NARROW {
                while row < rows {
                    self.row::<V, H, W, S, 1, WIDE>(row);
                    row += 1;
                }
            }
            while row + 2 <= rows && V::REGISTERS >= 32 {
                self.row::<V, H, W, S, 2, NARROW>(row);
                row += 2;
            }
            while row < rows {
                self.row::<V, H, W, S, 1, NARROW>(row);
                row += 1;
            }
        }
    }

    /// `P` rows from `row` on, in tiles of `T` outputs.
    #[inline(always)]
    unsafe fn row<
        V: Vector,
        const H: usize,
        const W: usize,
        const S: usize,
        const P: usize,
        const T: usize,
    >(
        self,
        row: usize,
    ) {
        for column in (0..self.count).step_by(T) {
            // SAFETY: as `rows`; only columns below `count` are stored.
            unsafe {
                let input = self.input.add(row * S * self.input_row + column * S * LANE_BLOCK);
                let values = self.tile::<V, H, W, S, P, T>(input);
                for p in 0..P {
                    let to = self.output.add(((row + p) * self.count + column) * LANE_BLOCK);
                    for t in 0..T {
                        if column + t < self.count {
                            values[p][t].store(to.add(t * LANE_BLOCK));
                        }
                    }
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn tile<
        V: Vector,
        const H: usize,
        const W: usize,
        const S: usize,
        const P: usize,
        const T: usize,
    >(
        self,
        input: *const f32,
    ) -> [[V; T]; P] {
        // SAFETY: as `rows`.
        unsafe {
            let mut total = [[V::zero(); T]; P];
            for i in 0..H {
                for p in 0..P {
                    let row = input.add((p * S + i) * self.input_row);
                    let mut values = [V::zero(); INPUTS];
                    for n in 0..(T - 1) * S + W {
                        values[n] = V::load(row.add(n * LANE_BLOCK));
                    }
                    for j in 0..W {
                        let tap = V::load(self.kernel.add((i * W + j) * LANE_BLOCK));
                        for t in 0..T {
                            total[p][t] = values[t * S + j].mul_add(tap, total[p][t]);
                        }
                    }
                }
            }
            total
        }
    }

    /// Sizes known only now; one output at a time.
    #[inline(always)]
    unsafe fn any<V: Vector>(self, rows: usize, [high, wide]: [usize; 2], stride: usize) {
        for output in 0..rows * self.count {
            let (row, column) = (output / self.count, output % self.count);
            // SAFETY: as `rows`, without overhang.
            unsafe {
                let input = self.input.add(row * stride * self.input_row + column * stride * LANE_BLOCK);
                let mut total = V::zero();
                for tap in 0..high * wide {
                    let value = V::load(input.add(tap / wide * self.input_row + tap % wide * LANE_BLOCK));
                    total = value.mul_add(V::load(self.kernel.add(tap * LANE_BLOCK)), total);
                }
                total.store(self.output.add(output * LANE_BLOCK));
            }
        }
    }
}
