//! From 8-bit pixels to centred numbers.

use super::Images;

/// Affine map of a pixel `p` to `(p − zero_point) · scale`, the same for all channels.
///
/// The zero point is an integer, so that a padded pixel is exactly 0 and the first integer layer needs no rounding.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Normalization {
    /// The pixel that becomes 0.
    pub zero_point: u8,
    /// Distance of neighbouring pixel values.
    pub scale: f32,
}

/// Smallest standard deviation believed, in pixel values; constant images would divide by zero.
const SMALLEST_DEVIATION: f64 = 1.0;

impl Normalization {
    /// Mean (rounded) and inverse standard deviation of all pixels, by exact integer sums.
    pub fn of(images: &Images) -> Self {
        let mut counts = [0u64; 256];
        images.pixels.iter().for_each(|&pixel| counts[pixel as usize] += 1);
        let total = images.pixels.len().max(1) as f64;
        let moment = |power: i32| -> f64 {
            let terms =
                counts.iter().enumerate().map(|(pixel, &count)| (pixel as f64).powi(power) * count as f64);
            terms.sum::<f64>() / total
        };
        let (mean, square) = (moment(1), moment(2));
        let deviation = (square - mean * mean).max(0.0).sqrt().max(SMALLEST_DEVIATION);
        Normalization { zero_point: mean.round_ties_even() as u8, scale: (1.0 / deviation) as f32 }
    }

    /// The real number that a pixel stands for.
    pub fn real(&self, pixel: u8) -> f32 {
        (f32::from(pixel) - f32::from(self.zero_point)) * self.scale
    }

    /// [`Normalization::real`] of all 256 pixels.
    pub fn table(&self) -> [f32; 256] {
        std::array::from_fn(|pixel| self.real(pixel as u8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pixels: &[u8]) -> Normalization {
        Normalization::of(&Images {
            size: 1,
            channels: 1,
            pixels: pixels.to_vec(),
            labels: vec![0; pixels.len()],
        })
    }

    #[test]
    fn mean_and_deviation_of_known_pixels() {
        struct Case(&'static [u8], u8, f32);
        for Case(pixels, zero_point, scale) in [
            Case(&[0, 200], 100, 0.01),
            Case(&[90, 110, 90, 110], 100, 0.1),
            Case(&[7, 7, 7], 7, 1.0),
            Case(&[], 0, 1.0),
        ] {
            assert_eq!(of(pixels), Normalization { zero_point, scale }, "{pixels:?}");
        }
    }

    #[test]
    fn the_zero_point_is_exactly_zero() {
        let normalization = of(&[3, 9, 77, 201]);
        assert_eq!(normalization.table()[normalization.zero_point as usize], 0.0);
    }
}
