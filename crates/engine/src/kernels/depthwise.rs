//! # Depthwise convolution
//!
//! `y[r, q, c] = Σ_{i,j} x[r·s + i - p, q·s + j - p, c] · w[i, j, c]`, p = kernel / 2, and its two gradients
//!
//! ```text
//! dw[i, j, c] = Σ_{r,q} x[r·s + i - p, q·s + j - p, c] · dy[r, q, c]
//! dx[h, v, c] = Σ_{i,j} dy[(h + p - i) / s, (v + p - j) / s, c] · w[i, j, c]     where both divisions are exact
//! ```
//!
//! A few vectors of channels at a time are gathered from the NHWC rows into planes with a border of zeros; norm,
//! activation and fake quantization happen on the way. Rows of the plane are then correlated with the kernel, eight
//! outputs in registers, every input used for all the taps it meets. With stride 2 the input gradient falls into four
//! interleaved images, one for each parity of (h, v), each a stride-1 correlation of dy with a quarter of the kernel.

pub(crate) mod backward;
pub(crate) mod forward;

use super::Vector;

/// Floats that the planes gathered at once should not exceed (half of a small second-level cache).
const PLANE_BUDGET: usize = 1 << 16;
/// Outputs computed at once.
const WIDE: usize = 8;
/// Outputs computed at once where fewer are left.
const NARROW: usize = 4;
/// Floats behind the last plane that a tile may read (and ignore).
const SLACK: usize = 16 * 32;

/// Sizes of a depthwise convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// Height and width of the input.
    pub input: usize,
    /// Height and width of the output.
    pub output: usize,
    /// Odd.
    pub kernel: usize,
    /// 1 or 2.
    pub stride: usize,
    /// Channels with padding.
    pub pitch: usize,
}

impl Geometry {
    pub(crate) fn input_length(&self) -> usize {
        self.input * self.input * self.pitch
    }

    pub(crate) fn output_length(&self) -> usize {
        self.output * self.output * self.pitch
    }

    /// Height and width of a plane around an image of `size`.
    fn plane(&self, size: usize) -> usize {
        size + 2 * (self.kernel / 2)
    }

    /// Vectors of channels gathered at once.
    fn group(&self, lanes: usize) -> usize {
        let plane = self.plane(self.input).pow(2) * lanes;
        (PLANE_BUDGET / plane).clamp(1, 64 / lanes).min(self.pitch / lanes)
    }

    /// Floats of scratch that one pass needs: planes of the input (and of the output, going backward), and kernels.
    pub(crate) fn scratch_length(&self) -> usize {
        let planes = |size: usize, lanes: usize| self.plane(size).pow(2) * lanes * self.group(lanes) + SLACK;
        let of =
            |lanes: usize| planes(self.input, lanes) + planes(self.output, lanes) + self.kernel_length(lanes);
        of(4).max(of(8)).max(of(16))
    }

    fn kernel_length(&self, lanes: usize) -> usize {
        self.kernel.pow(2) * lanes * self.group(lanes)
    }
}

/// Takes results of a row one by one.
trait Sink<V: Vector> {
    /// Takes the result for `column`.
    ///
    /// # Safety
    /// The column must be one of the row's.
    unsafe fn put(&mut self, column: usize, value: V);
}

/// One row of a correlation.
#[derive(Clone, Copy)]
struct Row {
    /// The input under the first tap of the first output.
    input: *const f32,
    /// Floats between input rows.
    input_row: usize,
    /// One vector per tap, row by row.
    kernel: *const f32,
    /// Outputs wanted.
    count: usize,
}

impl Row {
    /// Correlates with a kernel of `H × W` taps, inputs `S` apart per output.
    ///
    /// # Safety
    /// All inputs under the taps exist, and [`SLACK`] floats behind them; so do H·W vectors of kernel.
    #[inline(always)]
    unsafe fn run<V: Vector, const H: usize, const W: usize, const S: usize>(self, sink: &mut impl Sink<V>) {
        let mut column = 0;
        while column < self.count {
            let left = self.count - column;
            // SAFETY: a tile may compute up to WIDE - 1 outputs too many; their inputs lie in the slack at worst,
            // and only columns below `count` are put.
            unsafe {
                let input = self.input.add(column * S * V::LANES);
                if left > NARROW && V::REGISTERS >= 16 {
                    let values = self.tile::<V, H, W, S, WIDE>(input);
                    for (t, value) in values.iter().enumerate() {
                        if t < left {
                            sink.put(column + t, *value);
                        }
                    }
                    column += WIDE;
                } else {
                    let values = self.tile::<V, H, W, S, NARROW>(input);
                    for (t, value) in values.iter().enumerate() {
                        if t < left {
                            sink.put(column + t, *value);
                        }
                    }
                    column += NARROW;
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn tile<V: Vector, const H: usize, const W: usize, const S: usize, const T: usize>(
        &self,
        input: *const f32,
    ) -> [V; T] {
        // SAFETY: as `run`.
        unsafe {
            let mut total = [V::zero(); T];
            for i in 0..H {
                let row = input.add(i * self.input_row);
                let mut values = [V::zero(); 24];
                for (n, value) in values.iter_mut().enumerate().take((T - 1) * S + W) {
                    *value = V::load(row.add(n * V::LANES));
                }
                for j in 0..W {
                    let tap = V::load(self.kernel.add((i * W + j) * V::LANES));
                    for t in 0..T {
                        total[t] = values[t * S + j].mul_add(tap, total[t]);
                    }
                }
            }
            total
        }
    }

    /// The same for sizes only known now; one output at a time.
    #[inline(always)]
    unsafe fn run_any<V: Vector>(self, taps: [usize; 2], stride: usize, sink: &mut impl Sink<V>) {
        for column in 0..self.count {
            // SAFETY: as `run`, without the slack.
            unsafe {
                let input = self.input.add(column * stride * V::LANES);
                let mut total = V::zero();
                for i in 0..taps[0] {
                    for j in 0..taps[1] {
                        let value = V::load(input.add(i * self.input_row + j * V::LANES));
                        total = value.mul_add(V::load(self.kernel.add((i * taps[1] + j) * V::LANES)), total);
                    }
                }
                sink.put(column, total);
            }
        }
    }
}

/// Where planes lie in scratch: `[vector][row][column][lane]`, with a border of zeros.
#[derive(Clone, Copy)]
struct Planes {
    data: *mut f32,
    /// Height and width of the image in the middle.
    image: usize,
    /// Width of the border.
    border: usize,
    lanes: usize,
}

impl Planes {
    /// Takes planes from the front of scratch and clears them.
    fn new(
        scratch: &mut [f32],
        image: usize,
        border: usize,
        lanes: usize,
        vectors: usize,
    ) -> (Self, &mut [f32]) {
        let length = (image + 2 * border).pow(2) * lanes * vectors + SLACK;
        let (planes, rest) = scratch.split_at_mut(length);
        planes.fill(0.0);
        (Self { data: planes.as_mut_ptr(), image, border, lanes }, rest)
    }

    fn row(&self) -> usize {
        (self.image + 2 * self.border) * self.lanes
    }

    /// Place of a padded position.
    ///
    /// # Safety
    /// Vector, row and column must be ones the planes were made for.
    #[inline(always)]
    unsafe fn at(&self, vector: usize, row: usize, column: usize) -> *mut f32 {
        let plane = (self.image + 2 * self.border) * self.row();
        // SAFETY: inside the slice that `new` took, as the caller promises.
        unsafe { self.data.add(vector * plane + row * self.row() + column * self.lanes) }
    }
}
