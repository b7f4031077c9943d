//! # Windows as matrix rows
//!
//! The pixels under a window are copied side by side (im2col), which makes any dense convolution a pointwise one with
//! `kernel · kernel · in` channels; gradients go back the same way, by addition (col2im).

use std::ops::Range;

use crate::kernels::{Kernel, LANE_BLOCK, Vector};

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

    /// Floats of an image with its border, see [`Self::pad`].
    pub(crate) fn padded_length(&self) -> usize {
        self.padded_side().pow(2) * self.channels + LANE_BLOCK
    }

    fn padded_side(&self) -> usize {
        self.size + 2 * self.padding
    }

    /// Copies an image into a border of zeros, channels side by side without their padding: the pixels under a row of
    /// a window then are one run of numbers. A vector more follows, so that runs may be read in whole vectors.
    pub(crate) fn pad(&self, image: &[f32], to: &mut [f32]) {
        let (channels, line) = (self.channels, self.padded_side() * self.channels);
        to[..self.padded_length()].fill(0.0);
        let lines = to[self.padding * line..].chunks_exact_mut(line);
        for (to, from) in lines.zip(image.chunks_exact(self.size * self.pitch)) {
            let to = to[self.padding * channels..].chunks_exact_mut(channels);
            to.zip(from.chunks_exact(self.pitch))
                .for_each(|(to, from)| to.copy_from_slice(&from[..channels]));
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

/// The windows of some output pixels of a padded image, one a row: `kernel · kernel · channels` numbers, and whatever in the
/// rest of the row.
pub(crate) struct Gather<'a> {
    /// The window.
    pub window: Columns,
    /// See [`Columns::pad`].
    pub padded: &'a [f32],
    /// Output pixels.
    pub pixels: Range<usize>,
    /// Rows.
    pub to: &'a mut [f32],
    /// Floats from row to row.
    pub row: usize,
}

impl Kernel for Gather<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Vector>(self) {
        let Columns { kernel, channels, stride, width, .. } = self.window;
        let (line, run) = (self.window.padded_side() * channels, kernel * channels);
        let (mut y, mut x) = (self.pixels.start / width, self.pixels.start % width);
        for to in self.to.chunks_exact_mut(self.row).take(self.pixels.len()) {
            let mut from = &self.padded[y * stride * line + x * stride * channels..];
            let mut to = to;
            for _ in 1..kernel {
                copy_run(from, to, run);
                (from, to) = (&from[line..], &mut to[run..]);
            }
            copy_run(from, to, run);
            x += 1;
            if x == width {
                (x, y) = (0, y + 1);
            }
        }
    }
}

/// Copies at least `length` numbers, by whole vectors where both sides have room.
#[inline(always)]
fn copy_run(from: &[f32], to: &mut [f32], length: usize) {
    let mut start = 0;
    while start < length {
        let end = start + LANE_BLOCK;
        match (from.get(start..end), to.get_mut(start..end)) {
            (Some(from), Some(to)) => to.copy_from_slice(from),
            _ => to[start..length].copy_from_slice(&from[start..length]),
        }
        start = end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{dispatch, scratch_stride};
    use crate::simd::Level;

    #[test]
    fn every_window_holds_the_pixels_under_it() {
        for (size, kernel, stride, padding, channels, pitch) in [
            (1, 3, 1, 1, 3, 3),
            (5, 3, 2, 1, 3, 16),
            (6, 5, 1, 2, 1, 1),
            (7, 2, 3, 0, 17, 32),
            (4, 4, 1, 0, 16, 16),
        ] {
            let width = (size + 2 * padding - kernel) / stride + 1;
            let window = Columns { size, width, kernel, stride, padding, channels, pitch };
            let image: Vec<f32> = (0..size * size * pitch).map(|i| i as f32 + 1.0).collect();
            let mut padded = vec![f32::NAN; window.padded_length()];
            window.pad(&image, &mut padded);
            let row = scratch_stride(kernel * kernel * channels);
            for level in Level::all_available() {
                let pixels = width / 2..width * width;
                let mut to = vec![f32::NAN; pixels.len() * row];
                dispatch(level, Gather { window, padded: &padded, pixels: pixels.clone(), to: &mut to, row });
                for (pixel, to) in pixels.zip(to.chunks_exact(row)) {
                    let taps = (0..kernel * kernel).map(|tap| (tap / kernel, tap % kernel));
                    let [rows, columns] = window.inside(pixel);
                    for ((r, c), to) in taps.zip(to.chunks_exact(channels)) {
                        let inside = rows.contains(&r) && columns.contains(&c);
                        let under = if inside { window.under(pixel, r, c) * pitch } else { 0 };
                        for (channel, &value) in to.iter().enumerate() {
                            let expected = if inside { image[under + channel] } else { 0.0 };
                            assert_eq!(value, expected, "{window:?} {pixel} {r} {c}");
                        }
                    }
                }
            }
        }
    }
}
