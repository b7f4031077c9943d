//! # Integer convolutions for inference
//!
//! `sum[o] = Σ x[tap, i] · w[tap, i, o]` with int8 weights and int32 sums that wrap like any int32: the same integers on
//! every instruction set and at any thread count (one image is one thread's work).
//!
//! An activation is passed as `q − zero point` in 16 bits, so that padding is 0 and one code serves unsigned, signed and
//! image tensors (a pixel less its zero point needs nine bits). Products of two neighbouring values are added in one
//! instruction (`vpmaddwd`, with AVX-512 VNNI `vpdpwssd`), which cannot saturate; the eight-bit `vpmaddubsw` could. Arm has
//! no kernels of its own here and runs the portable code.
//!
//! Sums of a few pixels at a time go to a [`Sink`], while they are still in the cache.

use std::ops::Range;

mod dense;
mod depthwise;
mod instructions;
#[cfg(test)]
mod tests;

pub use dense::Dense;
pub use depthwise::Depthwise;

/// Square NHWC image in, square NHWC image out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Height and width of the input.
    pub size: usize,
    /// Channels of the input.
    pub channels: usize,
    /// Height and width of the output.
    pub output_size: usize,
    /// Channels of the output.
    pub output_channels: usize,
    /// Height and width of the kernel.
    pub kernel: usize,
    /// Distance of neighbouring windows.
    pub stride: usize,
    /// Zeros around the input.
    pub padding: usize,
}

impl Geometry {
    /// Elements of an input image.
    pub fn input_len(&self) -> usize {
        self.size * self.size * self.channels
    }

    /// The taps of an output pixel's window that lie on the image, each with the input pixel under it.
    #[inline(always)]
    fn window(&self, pixel: usize, taps: &mut Vec<(usize, usize)>) {
        taps.clear();
        let top = pixel / self.output_size * self.stride;
        let left = pixel % self.output_size * self.stride;
        let rows = self.on_image(top);
        let columns = self.on_image(left);
        for ky in rows {
            let row = (top + ky - self.padding) * self.size + left;
            taps.extend(columns.clone().map(|kx| (ky * self.kernel + kx, row + kx - self.padding)));
        }
    }

    /// Places in a window from `start` on that lie on the image.
    #[inline(always)]
    fn on_image(&self, start: usize) -> Range<usize> {
        self.padding.saturating_sub(start)..self.kernel.min((self.size + self.padding).saturating_sub(start))
    }

    fn pixels(&self) -> usize {
        self.output_size * self.output_size
    }

    fn taps(&self) -> usize {
        self.kernel * self.kernel
    }
}

/// What happens to the sums.
pub trait Sink {
    /// The sums of the next pixels in row-major order, all output channels of each. Mark it `#[inline(always)]`: it is
    /// then compiled with the kernel's vector instructions.
    fn take(&mut self, sums: &[i32]);
}
