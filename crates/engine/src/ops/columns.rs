//! # Windows as matrix rows
//!
//! The pixels under a window are copied side by side (im2col), which makes any dense convolution a pointwise one with
//! `kernel · kernel · in` channels; gradients go back the same way, by addition (col2im).

use std::ops::Range;

/// A window that moves over square images with zeros around them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Columns {
    /// Height and width of the image.
    pub size: usize,
    /// Height and width of the output.
    pub width: usize,
    /// Side of the window.
    pub kernel: usize,
    /// Pixels it moves by.
    pub stride: usize,
    /// Zeros on every side.
    pub padding: usize,
    /// Channels that are copied.
    pub channels: usize,
    /// Floats per pixel of the image.
    pub pitch: usize,
}

impl Columns {
    /// Taps of the window of one output pixel that lie inside the image: rows and columns of the window.
    #[inline(always)]
    pub(crate) fn inside(&self, pixel: usize) -> [Range<usize>; 2] {
        let (top, left) = self.corner(pixel);
        // Positions are counted from the border's corner, so that they are never negative.
        let range = |start: usize| {
            let end = (self.size + self.padding).saturating_sub(start);
            self.padding.saturating_sub(start)..self.kernel.min(end)
        };
        [range(top), range(left)]
    }

    /// The image's pixel under a tap that lies inside.
    #[inline(always)]
    pub(crate) fn under(&self, pixel: usize, row: usize, column: usize) -> usize {
        let (top, left) = self.corner(pixel);
        (top + row - self.padding) * self.size + left + column - self.padding
    }

    #[inline(always)]
    fn corner(&self, pixel: usize) -> (usize, usize) {
        (pixel / self.width * self.stride, pixel % self.width * self.stride)
    }

    /// The window of one output pixel, side by side: `kernel · kernel · channels` numbers.
    #[inline(always)]
    pub(crate) fn gather(&self, image: &[f32], pixel: usize, to: &mut [f32]) {
        let channels = self.channels;
        to[..self.kernel * self.kernel * channels].fill(0.0);
        let [rows, columns] = self.inside(pixel);
        for row in rows.filter(|_| !columns.is_empty()) {
            let (tap, under) = (row * self.kernel + columns.start, self.under(pixel, row, columns.start));
            let to = &mut to[tap * channels..(tap + columns.len()) * channels];
            if self.pitch == channels {
                let from = &image[under * channels..][..to.len()];
                to.iter_mut().zip(from).for_each(|(to, &v)| *to = v);
                continue;
            }
            let from = image[under * self.pitch..].chunks(self.pitch);
            for (to, from) in to.chunks_exact_mut(channels).zip(from) {
                to.copy_from_slice(&from[..channels]);
            }
        }
    }

    /// Adds the numbers of a window back to the pixels that they came from.
    #[inline(always)]
    pub(crate) fn scatter(&self, from: &[f32], pixel: usize, image: &mut [f32]) {
        let channels = self.channels;
        let [rows, columns] = self.inside(pixel);
        for row in rows.filter(|_| !columns.is_empty()) {
            let (tap, under) = (row * self.kernel + columns.start, self.under(pixel, row, columns.start));
            let from = from[tap * channels..(tap + columns.len()) * channels].chunks_exact(channels);
            for (to, from) in image[under * self.pitch..].chunks_mut(self.pitch).zip(from) {
                to.iter_mut().zip(from).for_each(|(to, v)| *to += v);
            }
        }
    }
}
