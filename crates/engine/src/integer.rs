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

mod dense;
mod depthwise;
mod instructions;
#[cfg(test)]
mod tests;

pub use dense::Dense;
pub use depthwise::Depthwise;

/// Largest magnitude of an activation less its zero point.
pub const LARGEST_VALUE: i16 = 255;

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

    /// The input pixel under a tap of an output pixel's window, if it lies on the image.
    #[inline(always)]
    fn under(&self, pixel: usize, tap: usize) -> Option<usize> {
        let (y, x) = (pixel / self.output_size, pixel % self.output_size);
        let row = (y * self.stride + tap / self.kernel).wrapping_sub(self.padding);
        let column = (x * self.stride + tap % self.kernel).wrapping_sub(self.padding);
        (row < self.size && column < self.size).then_some(row * self.size + column)
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
