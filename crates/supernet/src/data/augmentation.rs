//! # Shift and flip
//!
//! A random crop of the image after padding by its zero point (so the padding is real 0), and a random mirror image.
//! Crop and mirror are drawn anew for every image; the same number of draws is made for every image.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::{DataError, Images};

/// What may be changed about a training image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Augmentation {
    /// Most pixels that the image moves, in each direction.
    pub shift: usize,
    /// Mirror half of the images left to right.
    pub flip: bool,
}

/// What is done to one image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Placement {
    /// Rows by which the source lies further down.
    down: isize,
    /// Columns by which the source lies further right.
    right: isize,
    /// Mirrored left to right, after the crop.
    mirrored: bool,
}

impl Augmentation {
    /// Refuses shifts that could move the whole image out of sight.
    pub fn check(&self, size: usize) -> Result<(), DataError> {
        if self.shift < size {
            return Ok(());
        }
        let expected = format!("below the image size of {size}");
        Err(DataError::Setting { key: "shift", got: self.shift, expected })
    }

    pub(super) fn draw(&self, rng: &mut ChaCha8Rng) -> Placement {
        let shift = i32::try_from(self.shift).unwrap_or(i32::MAX);
        let mut offset = || rng.random_range(-shift..=shift) as isize;
        let (down, right) = (offset(), offset());
        let coin: bool = rng.random();
        Placement { down, right, mirrored: self.flip && coin }
    }
}

/// Writes one image, normalised by `table`, to the end of `out`.
pub(super) fn place(
    images: &Images,
    index: usize,
    placement: Placement,
    table: &[f32; 256],
    out: &mut Vec<f32>,
) {
    let pixels = images.image(index);
    let row_length = images.size * images.channels;
    for row in 0..images.size {
        let start = out.len();
        out.resize(start + row_length, 0.0);
        let source = row.checked_add_signed(placement.down).filter(|&source| source < images.size);
        if let Some(source) = source {
            let line = &pixels[source * row_length..(source + 1) * row_length];
            place_row(line, images.channels, placement, table, &mut out[start..]);
        }
    }
}

/// One row: `target[x] = line[x + right]` where that exists, 0 elsewhere; then mirrored.
fn place_row(line: &[u8], channels: usize, placement: Placement, table: &[f32; 256], target: &mut [f32]) {
    let offset = placement.right.unsigned_abs().saturating_mul(channels).min(line.len());
    let kept = line.len() - offset;
    let (from, to) = if placement.right >= 0 { (offset, 0) } else { (0, offset) };
    for (real, &pixel) in target[to..to + kept].iter_mut().zip(&line[from..from + kept]) {
        *real = table[pixel as usize];
    }
    if placement.mirrored {
        mirror(target, channels);
    }
}

/// Reverses the order of pixels, not of the channels in a pixel.
fn mirror(row: &mut [f32], channels: usize) {
    row.reverse();
    row.chunks_exact_mut(channels).for_each(<[f32]>::reverse);
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    fn placed(images: &Images, placement: Placement) -> Vec<f32> {
        let table = std::array::from_fn(|pixel| pixel as f32);
        let mut out = Vec::new();
        place(images, 0, placement, &table, &mut out);
        out
    }

    #[test]
    fn shifts_and_mirrors_of_a_small_image() {
        let image = Images { size: 2, channels: 1, pixels: vec![1, 2, 3, 4], labels: vec![0] };
        struct Case(isize, isize, bool, [f32; 4]);
        for Case(down, right, mirrored, expected) in [
            Case(0, 0, false, [1., 2., 3., 4.]),
            Case(0, 0, true, [2., 1., 4., 3.]),
            Case(1, 0, false, [3., 4., 0., 0.]),
            Case(-1, 0, false, [0., 0., 1., 2.]),
            Case(0, 1, false, [2., 0., 4., 0.]),
            Case(0, -1, true, [1., 0., 3., 0.]),
            Case(1, 1, false, [4., 0., 0., 0.]),
            Case(5, -9, true, [0.; 4]),
        ] {
            let placement = Placement { down, right, mirrored };
            assert_eq!(placed(&image, placement), expected, "{placement:?}");
        }
    }

    #[test]
    fn mirroring_keeps_channels_in_order() {
        let image = Images { size: 2, channels: 3, pixels: (1..=12).collect(), labels: vec![0] };
        let mirrored = placed(&image, Placement { mirrored: true, ..Placement::default() });
        assert_eq!(mirrored, [4., 5., 6., 1., 2., 3., 10., 11., 12., 7., 8., 9.]);
    }

    #[test]
    fn draws_cover_the_range_and_respect_the_switches() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let all: Vec<Placement> =
            (0..400).map(|_| Augmentation { shift: 2, flip: true }.draw(&mut rng)).collect();
        for offset in -2..=2 {
            assert!(
                all.iter().any(|p| p.down == offset) && all.iter().any(|p| p.right == offset),
                "{offset}"
            );
        }
        assert!(all.iter().any(|p| p.mirrored) && all.iter().any(|p| !p.mirrored));
        assert_eq!(Augmentation::default().draw(&mut rng), Placement::default());
    }

    #[test]
    fn a_shift_must_leave_something_to_see() {
        let augmentation = Augmentation { shift: 28, flip: false };
        assert!(augmentation.check(29).is_ok() && augmentation.check(28).is_err());
    }
}
