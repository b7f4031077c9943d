//! Magnitudes in ascending order with their counts: what every method looks at.

/// Weighted magnitudes. Exact zeros are counted apart: every grid represents them exactly, and the many zeros after a
/// ReLU would otherwise drown the shape of the rest.
#[derive(Debug, Clone, Default)]
pub(super) struct Samples {
    /// Positive magnitudes, ascending.
    pub(super) values: Vec<f32>,
    /// How often each occurs; at least 1.
    pub(super) counts: Vec<u64>,
    /// Number of exact zeros.
    pub(super) zeros: u64,
}

impl Samples {
    /// Every magnitude once. Values must be finite.
    pub(super) fn of(values: impl Iterator<Item = f32>) -> Self {
        let mut magnitudes: Vec<f32> = values.map(f32::abs).collect();
        let all = magnitudes.len();
        magnitudes.retain(|&magnitude| magnitude > 0.0);
        magnitudes.sort_unstable_by(f32::total_cmp);
        let zeros = (all - magnitudes.len()) as u64;
        Samples { counts: vec![1; magnitudes.len()], values: magnitudes, zeros }
    }

    /// Largest magnitude; 0 when there is none.
    pub(super) fn largest(&self) -> f32 {
        self.values.last().copied().unwrap_or(0.0)
    }
}

/// Running totals of a function of the samples: entry i is the sum over the samples before i.
pub(super) fn running(samples: &Samples, term: impl Fn(f64, f64) -> f64) -> Vec<f64> {
    let terms =
        samples.values.iter().zip(&samples.counts).map(|(&value, &count)| term(value.into(), count as f64));
    let sums = terms.scan(0.0, |sum, term| {
        *sum += term;
        Some(*sum)
    });
    std::iter::once(0.0).chain(sums).collect()
}

/// Splits ascending magnitudes by the number of the grid that each is rounded to: (number, range of positions).
/// Takes as many steps as there are numbers in use, not as there are magnitudes.
pub(super) fn cells(
    values: &[f32],
    scale: f64,
    steps: u32,
) -> impl Iterator<Item = (u32, std::ops::Range<usize>)> {
    let mut start = 0;
    std::iter::from_fn(move || {
        let first = f64::from(*values.get(start)?);
        let level = ((first / scale).round_ties_even() as u32).min(steps);
        let edge = (f64::from(level) + 0.5) * scale;
        let inside = values[start..].partition_point(|&value| f64::from(value) < edge).max(1);
        let cell = start..if level == steps { values.len() } else { start + inside };
        start = cell.end;
        Some((level, cell))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_apart_and_the_rest_is_sorted() {
        let samples = Samples::of([-3.0, 0.0, 1.0, -0.0, 2.0].into_iter());
        assert_eq!((samples.values.clone(), samples.zeros, samples.largest()), (vec![1.0, 2.0, 3.0], 2, 3.0));
        assert_eq!(running(&samples, |value, count| value * count), [0.0, 1.0, 3.0, 6.0]);
    }

    #[test]
    fn cells_agree_with_rounding_each_value() {
        let values: Vec<f32> = (1..=200).map(|i| i as f32 * 0.037).collect();
        for (scale, steps) in [(1.0, 7), (0.3, 15), (2.0, 1), (0.01, 3)] {
            let mut seen = 0;
            for (level, cell) in cells(&values, scale, steps) {
                assert_eq!(cell.start, seen);
                seen = cell.end;
                for &value in &values[cell] {
                    let expected = ((f64::from(value) / scale).round_ties_even() as u32).min(steps);
                    assert_eq!(level, expected, "{value} at scale {scale}");
                }
            }
            assert_eq!(seen, values.len());
        }
    }
}
