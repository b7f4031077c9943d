//! Moves between NHWC rows and planes, with everything that happens to single elements on the way.

use super::super::elementwise::{
    CONTESTED, Epilogue, EpilogueSums, Load, NormGradient, QUANTIZED, RangeGradients, UNQUANTIZED, add_lanes,
};
use super::super::{Kernel, LANE_BLOCK, Vector};
use super::Plane;

/// Gathers blocks of channels of one image into planes, as they are loaded. The borders stay as they are.
pub(crate) struct Gather<'a> {
    /// How; its numbers start at the first channel of the layer.
    pub load: Load<'a>,
    /// First channel.
    pub channel: usize,
    /// Blocks.
    pub blocks: usize,
    /// size² rows of `pitch`, from the first block on.
    pub input: &'a [f32],
    /// Floats between rows.
    pub pitch: usize,
    /// The planes' shape.
    pub plane: Plane,
    /// Written: `blocks` planes.
    pub output: &'a mut [f32],
}

impl Kernel for Gather<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let (size, border, length) = (self.plane.size, self.plane.border, self.plane.length());
        let width = self.blocks * LANE_BLOCK;
        self.load.check(self.channel + width);
        assert!((size * size - 1) * self.pitch + width <= self.input.len());
        assert!(self.blocks * length <= self.output.len());
        for row in 0..size {
            for at in (0..width).step_by(V::LANES) {
                let (block, lane) = (at / LANE_BLOCK, at % LANE_BLOCK);
                let place = block * length + self.plane.at(row + border, border) + lane;
                // SAFETY: pixels of the image and places inside the planes' borders, all of which exist as asserted.
                unsafe {
                    let numbers = self.load.at::<V>(self.channel + at);
                    let from = self.input.as_ptr().add(row * size * self.pitch + at);
                    let to = self.output.as_mut_ptr().add(place);
                    for column in 0..size {
                        let stored = V::load(from.add(column * self.pitch));
                        self.load.quantized(stored, &numbers).store(to.add(column * LANE_BLOCK));
                    }
                }
            }
        }
    }
}

/// Gathers the gradient of the convolution output of blocks of channels into their planes.
pub(crate) struct GatherGradient<'a> {
    /// How; its numbers start at the first channel of the layer.
    pub gradient: NormGradient<'a>,
    /// First channel.
    pub channel: usize,
    /// Blocks.
    pub blocks: usize,
    /// Kept gradient, size² rows of `pitch`, from the first block on.
    pub kept: &'a [f32],
    /// Convolution output, likewise.
    pub raw: &'a [f32],
    /// Floats between rows.
    pub pitch: usize,
    /// The planes' shape.
    pub plane: Plane,
    /// Written: `blocks` planes.
    pub output: &'a mut [f32],
}

impl Kernel for GatherGradient<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let (size, border, length) = (self.plane.size, self.plane.border, self.plane.length());
        let width = self.blocks * LANE_BLOCK;
        self.gradient.check(self.channel + width);
        let last = (size * size - 1) * self.pitch + width;
        assert!(last <= self.kept.len() && last <= self.raw.len());
        assert!(self.blocks * length <= self.output.len());
        for row in 0..size {
            for at in (0..width).step_by(V::LANES) {
                let (block, lane) = (at / LANE_BLOCK, at % LANE_BLOCK);
                let place = block * length + self.plane.at(row + border, border) + lane;
                // SAFETY: pixels of the images and places inside the planes' borders, which exist as asserted.
                unsafe {
                    let numbers = self.gradient.at::<V>(self.channel + at);
                    let to = self.output.as_mut_ptr().add(place);
                    for column in 0..size {
                        let at = (row * size + column) * self.pitch + at;
                        let g = V::load(self.kept.as_ptr().add(at));
                        let y = V::load(self.raw.as_ptr().add(at));
                        self.gradient.value(g, y, &numbers).store(to.add(column * LANE_BLOCK));
                    }
                }
            }
        }
    }
}

/// Writes one block of channels to NHWC rows and adds to its shifted sums.
pub(crate) struct Scatter<'a> {
    /// `[pixel][LANE_BLOCK]`.
    pub values: &'a [f32],
    /// Written: rows of `pitch`, from the block on.
    pub output: &'a mut [f32],
    /// Floats between rows.
    pub pitch: usize,
    /// Shift, Σ (y - shift), Σ (y - shift)² of the block, see [`crate::sums`].
    pub sums: Option<[&'a mut [f32]; 3]>,
}

impl Kernel for Scatter<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(mut self) {
        let count = self.values.len() / LANE_BLOCK;
        assert!(count == 0 || (count - 1) * self.pitch + LANE_BLOCK <= self.output.len());
        assert!(self.sums.iter().flatten().all(|sums| sums.len() >= LANE_BLOCK));
        for lane in (0..LANE_BLOCK).step_by(V::LANES) {
            // SAFETY: `count` vectors of values, as many rows, and a block of sums exist, as asserted.
            unsafe {
                let (from, to) = (self.values.as_ptr().add(lane), self.output.as_mut_ptr().add(lane));
                let Some([shift, first, second]) = &mut self.sums else {
                    for i in 0..count {
                        V::load(from.add(i * LANE_BLOCK)).store(to.add(i * self.pitch));
                    }
                    continue;
                };
                let shift = V::load(shift.as_ptr().add(lane));
                let (first, second) = (first.as_mut_ptr().add(lane), second.as_mut_ptr().add(lane));
                let (mut sum, mut square) = (V::load(first), V::load(second));
                for i in 0..count {
                    let value = V::load(from.add(i * LANE_BLOCK));
                    value.store(to.add(i * self.pitch));
                    let distance = value.sub(shift);
                    sum = sum.add(distance);
                    square = distance.mul_add(distance, square);
                }
                sum.store(first);
                square.store(second);
            }
        }
    }
}

/// Puts input gradients of one block of channels through the producer's epilogue.
pub(crate) struct EpiloguePixels<'a> {
    /// How; its tensors are images of rows, its numbers start at the first channel of the layer.
    pub epilogue: Epilogue<'a>,
    /// First channel.
    pub channel: usize,
    /// Gradients, `[rows][count][LANE_BLOCK]`.
    pub gradient: &'a [f32],
    /// Gradients in a row.
    pub count: usize,
    /// Element of the first one's first channel in the epilogue's tensors.
    pub start: usize,
    /// Elements between rows there.
    pub row_step: usize,
    /// Elements between neighbours there.
    pub step: usize,
    /// Written at the same places.
    pub output: &'a mut [f32],
    /// Write the gradient times the norm's scale.
    pub scaled: bool,
    /// Σ g of the block, added to.
    pub first: &'a mut [f64],
    /// Σ g · (y - mean) of the block, added to.
    pub second: &'a mut [f64],
}

impl Kernel for EpiloguePixels<'_> {
    type Output = RangeGradients;

    #[inline(always)]
    unsafe fn run<V: Vector>(mut self) -> RangeGradients {
        let rows = self.gradient.len() / (self.count * LANE_BLOCK).max(1);
        if rows == 0 {
            return RangeGradients::default();
        }
        let last = self.start + (rows - 1) * self.row_step + (self.count - 1) * self.step + LANE_BLOCK;
        self.epilogue.check(last, self.channel + LANE_BLOCK);
        assert!(last <= self.output.len() && self.first.len().min(self.second.len()) >= LANE_BLOCK);
        let mut ranges = RangeGradients::default();
        for lane in (0..LANE_BLOCK).step_by(V::LANES) {
            // SAFETY: every place up to `last` and all numbers of the block exist, as checked.
            unsafe {
                let sums = match (self.epilogue.relu, self.epilogue.quantization()) {
                    (true, UNQUANTIZED) => self.pixels::<V, true, UNQUANTIZED>(rows, lane),
                    (true, QUANTIZED) => self.pixels::<V, true, QUANTIZED>(rows, lane),
                    (true, _) => self.pixels::<V, true, CONTESTED>(rows, lane),
                    (false, CONTESTED) => self.pixels::<V, false, CONTESTED>(rows, lane),
                    (false, _) => self.pixels::<V, false, QUANTIZED>(rows, lane),
                };
                add_lanes(sums.first, &mut self.first[lane..]);
                add_lanes(sums.second, &mut self.second[lane..]);
                ranges.add(sums.ranges());
            }
        }
        ranges
    }
}

impl EpiloguePixels<'_> {
    #[inline(always)]
    unsafe fn pixels<V: Vector, const RELU: bool, const QUANTIZATION: u8>(
        &mut self,
        rows: usize,
        lane: usize,
    ) -> EpilogueSums<V> {
        // SAFETY: as `run`.
        unsafe {
            let numbers = self.epilogue.at::<V>(self.channel + lane);
            let factor = if self.scaled { numbers.scale } else { V::splat(1.0) };
            let mut sums = EpilogueSums::zero();
            for row in 0..rows {
                let from = self.gradient.as_ptr().add(row * self.count * LANE_BLOCK + lane);
                let start = self.start + row * self.row_step + lane;
                for i in 0..self.count {
                    let (g, at) = (V::load(from.add(i * LANE_BLOCK)), start + i * self.step);
                    let kept = self.epilogue.apply::<V, RELU, QUANTIZATION>(g, at, &numbers, &mut sums);
                    kept.mul(factor).store(self.output.as_mut_ptr().add(at));
                }
            }
            sums
        }
    }
}
