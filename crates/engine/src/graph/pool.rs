//! # Pools: largest and mean of a window
//!
//! Forward: `y[p] = max` (or `Σ / kernel²`) over the pixels under the window of p; a border never wins, and counts as
//! zeros in a mean. Backward: the first of the largest pixels, row by row, gets the whole gradient; in a mean each
//! gets its share.

use std::ops::Range;

use crate::ops::columns::Columns;

/// Output pixels of one image.
fn pixels(window: &Columns) -> Range<usize> {
    0..window.width * window.width
}

/// Pixels under the window of an output pixel, row by row.
fn under(window: &Columns, pixel: usize) -> impl Iterator<Item = usize> + '_ {
    let [rows, columns] = window.inside(pixel);
    rows.flat_map(move |row| columns.clone().map(move |column| window.under(pixel, row, column)))
}

/// Largest of every window of one image.
pub(super) fn largest(window: &Columns, image: &[f32], output: &mut [f32]) {
    for (pixel, to) in pixels(window).zip(output.chunks_exact_mut(window.pitch)) {
        to.fill(f32::NEG_INFINITY);
        for place in under(window, pixel) {
            let from = &image[place * window.pitch..][..window.pitch];
            to.iter_mut().zip(from).for_each(|(best, &value)| *best = best.max(value));
        }
    }
}

/// Adds the gradient of [`largest`] to that of its image; `output` is what it wrote.
pub(super) fn largest_backward(
    window: &Columns,
    (image, output): (&[f32], &[f32]),
    gradient: &[f32],
    into: &mut [f32],
) {
    let pitch = window.pitch;
    let mut left = vec![0.0; pitch];
    for (pixel, gradient) in pixels(window).zip(gradient.chunks_exact(pitch)) {
        left.copy_from_slice(gradient);
        let best = &output[pixel * pitch..][..pitch];
        for place in under(window, pixel) {
            let at = place * pitch..(place + 1) * pitch;
            let (into, image) = (&mut into[at.clone()], &image[at]);
            for (((to, &value), &best), left) in into.iter_mut().zip(image).zip(best).zip(&mut left) {
                *to += if value == best { std::mem::take(left) } else { 0.0 };
            }
        }
    }
}

/// Mean of every window of one image.
pub(super) fn mean(window: &Columns, image: &[f32], output: &mut [f32]) {
    let mut sums = vec![0.0f64; window.pitch];
    let count = (window.kernel * window.kernel) as f64;
    for (pixel, to) in pixels(window).zip(output.chunks_exact_mut(window.pitch)) {
        sums.fill(0.0);
        for place in under(window, pixel) {
            let from = &image[place * window.pitch..][..window.pitch];
            sums.iter_mut().zip(from).for_each(|(sum, &value)| *sum += f64::from(value));
        }
        to.iter_mut().zip(&sums).for_each(|(to, sum)| *to = (sum / count) as f32);
    }
}

/// Adds the gradient of [`mean`] to that of its image.
pub(super) fn mean_backward(window: &Columns, gradient: &[f32], into: &mut [f32]) {
    let share = 1.0 / (window.kernel * window.kernel) as f32;
    for (pixel, gradient) in pixels(window).zip(gradient.chunks_exact(window.pitch)) {
        for place in under(window, pixel) {
            let into = &mut into[place * window.pitch..][..window.pitch];
            into.iter_mut().zip(gradient).for_each(|(to, g)| *to += g * share);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(kernel: usize, stride: usize, padding: usize) -> Columns {
        let width = (3 + 2 * padding - kernel) / stride + 1;
        Columns { size: 3, width, kernel, stride, padding, channels: 1, pitch: 1 }
    }

    const IMAGE: [f32; 9] = [1.0, 5.0, 2.0, 5.0, -1.0, -2.0, 0.0, 3.0, -9.0];

    #[test]
    fn the_first_of_equal_largest_pixels_gets_the_gradient() {
        let window = window(2, 1, 0);
        let (mut output, mut into) = ([0.0; 4], [0.0; 9]);
        largest(&window, &IMAGE, &mut output);
        assert_eq!(output, [5.0, 5.0, 5.0, 3.0]);
        largest_backward(&window, (&IMAGE, &output), &[1.0, 10.0, 100.0, 1000.0], &mut into);
        assert_eq!(into, [0.0, 11.0, 0.0, 100.0, 0.0, 0.0, 0.0, 1000.0, 0.0]);
    }

    #[test]
    fn a_border_may_be_on_two_sides_only() {
        let window = Columns { width: 2, ..window(2, 2, 0) };
        let (mut output, mut into) = ([0.0; 4], [0.0; 9]);
        largest(&window, &IMAGE, &mut output);
        assert_eq!(output, [5.0, 2.0, 3.0, -9.0]);
        largest_backward(&window, (&IMAGE, &output), &[1.0, 10.0, 100.0, 1000.0], &mut into);
        assert_eq!(into, [0.0, 1.0, 10.0, 0.0, 0.0, 0.0, 0.0, 100.0, 1000.0]);
    }

    #[test]
    fn a_border_never_wins_and_counts_as_zeros() {
        let window = window(3, 2, 1);
        let mut output = [0.0; 4];
        largest(&window, &[-1.0; 9], &mut output);
        assert_eq!(output, [-1.0; 4]);
        mean(&window, &[9.0; 9], &mut output);
        assert_eq!(output, [4.0; 4]);
        let mut into = [0.0; 9];
        mean_backward(&window, &[9.0; 4], &mut into);
        assert_eq!(into, [1.0, 2.0, 1.0, 2.0, 4.0, 2.0, 1.0, 2.0, 1.0]);
    }
}
