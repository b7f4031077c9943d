//! # Depthwise convolution
//!
//! `y[r, q, c] = Σ_{i,j} x[r·s + i - p, q·s + j - p, c] · w[i, j, c]`, p = kernel / 2, and its two gradients
//!
//! ```text
//! dw[i, j, c] = Σ_{r,q} x[r·s + i - p, q·s + j - p, c] · dy[r, q, c]
//! dx[h, v, c] = Σ_{i,j} dy[(h + p - i) / s, (v + p - j) / s, c] · w[i, j, c]     where both divisions are exact
//! ```
//!
//! Work goes by blocks of [`LANE_BLOCK`] channels. A block of an image is gathered from its NHWC rows into a plane
//! with a border of zeros ([`moves`]); norm, activation and fake quantization happen on the way. Rows of the plane are
//! then correlated with the kernel, eight outputs in registers, every input used for all the taps it meets
//! ([`correlate`]), or multiplied with a gradient plane, one register per tap ([`taps`]). With stride 2 the input
//! gradient falls into four interleaved images, one for each parity of (h, v), each a stride-1 correlation of dy with
//! a quarter of the kernel ([`Phase`]).

pub(crate) mod correlate;
pub(crate) mod moves;
pub(crate) mod taps;

use super::LANE_BLOCK;

/// Floats behind a plane that a tile of outputs may read (and ignore).
const SLACK: usize = 32 * LANE_BLOCK;

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
    /// Floats of an input image.
    pub(crate) fn input_length(&self) -> usize {
        self.input * self.input * self.pitch
    }

    /// Floats of an output image.
    pub(crate) fn output_length(&self) -> usize {
        self.output * self.output * self.pitch
    }

    /// Number of taps.
    pub(crate) fn taps(&self) -> usize {
        self.kernel * self.kernel
    }

    /// Where an image of `size` lies in its plane.
    pub(crate) fn plane(&self, size: usize) -> Plane {
        Plane { size, border: self.kernel / 2 }
    }

    /// The parts of the input gradient: vertical and horizontal phase.
    pub(crate) fn phases(&self) -> impl Iterator<Item = [Phase; 2]> + use<> {
        let geometry = *self;
        let stride = self.stride;
        (0..stride * stride)
            .map(move |i| [Phase::new(&geometry, i / stride), Phase::new(&geometry, i % stride)])
    }
}

/// One block of channels of an image with a border of zeros: `[row][column][LANE_BLOCK]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plane {
    /// Height and width of the image in the middle.
    pub size: usize,
    /// Width of the border.
    pub border: usize,
}

impl Plane {
    /// Floats of a row.
    pub(crate) fn row(&self) -> usize {
        (self.size + 2 * self.border) * LANE_BLOCK
    }

    /// Floats of the plane, and behind it.
    pub(crate) fn length(&self) -> usize {
        (self.size + 2 * self.border) * self.row() + SLACK
    }

    /// Zeroes the border of each plane.
    pub(crate) fn clear_borders(&self, planes: &mut [f32]) {
        let (row, edge) = (self.row(), self.border * LANE_BLOCK);
        for plane in planes.chunks_exact_mut(self.length()) {
            for (i, row) in plane.chunks_exact_mut(row).take(self.size + 2 * self.border).enumerate() {
                if (self.border..self.border + self.size).contains(&i) {
                    let length = row.len();
                    row[..edge].fill(0.0);
                    row[length - edge..].fill(0.0);
                } else {
                    row.fill(0.0);
                }
            }
        }
    }

    /// Place of a position, counted from the border's corner.
    pub(crate) fn at(&self, row: usize, column: usize) -> usize {
        row * self.row() + column * LANE_BLOCK
    }
}

/// Taps along one axis that input positions of one parity meet, and where they start in the padded gradient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Phase {
    /// First input position.
    pub first: usize,
    /// Input positions.
    pub count: usize,
    /// Largest tap; the others follow downwards, a stride apart.
    pub last: usize,
    /// How many.
    pub taps: usize,
    /// Padded position of the gradient under `last`, for the first input position of this parity.
    pub start: usize,
}

impl Phase {
    fn new(geometry: &Geometry, parity: usize) -> Self {
        let (kernel, stride, border) = (geometry.kernel, geometry.stride, geometry.kernel / 2);
        let lowest = (parity + border) % stride;
        let taps = if lowest < kernel { (kernel - lowest).div_ceil(stride) } else { 0 };
        let last = lowest + taps.saturating_sub(1) * stride;
        // (parity + border - last) / stride + border, kept above zero; exact, since last ≡ parity + border.
        let start = (parity + border + stride * border).saturating_sub(last) / stride;
        let count = geometry.input.saturating_sub(parity).div_ceil(stride);
        Self { first: parity, count, last, taps, start }
    }
}

/// Copies the taps of every block to `[block][tap][lane]`; weights are `[tap][weight_row]`.
pub(crate) fn block_kernels(geometry: &Geometry, weight: &[f32], weight_row: usize, to: &mut [f32]) {
    let mut to = to.chunks_exact_mut(LANE_BLOCK);
    for channel in (0..geometry.pitch).step_by(LANE_BLOCK) {
        for (row, to) in weight.chunks(weight_row).zip(to.by_ref().take(geometry.taps())) {
            to.copy_from_slice(&row[channel..channel + LANE_BLOCK]);
        }
    }
}

/// The same for the input gradient: the phases' kernels one after another, each flipped.
pub(crate) fn flipped_kernels(geometry: &Geometry, weight: &[f32], weight_row: usize, to: &mut [f32]) {
    let mut to = to.chunks_exact_mut(LANE_BLOCK);
    for channel in (0..geometry.pitch).step_by(LANE_BLOCK) {
        for [vertical, horizontal] in geometry.phases() {
            for i in 0..vertical.taps {
                for j in 0..horizontal.taps {
                    let row = vertical.last - i * geometry.stride;
                    let tap = row * geometry.kernel + horizontal.last - j * geometry.stride;
                    let from = &weight[tap * weight_row + channel..][..LANE_BLOCK];
                    if let Some(to) = to.next() {
                        to.copy_from_slice(from);
                    }
                }
            }
        }
    }
}
