//! Intervals: no accuracy without its spread.

use sartor_predictor::Interval;

/// Two-sided 95 % quantile of the normal distribution.
pub const Z_95: f64 = 1.959_963_985;

/// A share of `images` that were classified rightly, with its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Accuracy {
    /// Share of right answers, 0–1.
    pub value: f64,
    /// Images it was measured on.
    pub images: usize,
}

impl Accuracy {
    /// Wilson's 95 % score interval, which stays inside 0–1 also for few images.
    pub fn interval(&self) -> (f64, f64) {
        sartor_supernet::evaluation::wilson(self.value, self.images)
    }
}

impl From<sartor_supernet::evaluation::Accuracy> for Accuracy {
    fn from(accuracy: sartor_supernet::evaluation::Accuracy) -> Self {
        Self { value: accuracy.value(), images: accuracy.images }
    }
}

impl std::fmt::Display for Accuracy {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (low, high) = self.interval();
        write!(
            formatter,
            "{:.2} % [{:.2}, {:.2}] on {} images",
            100.0 * self.value,
            100.0 * low,
            100.0 * high,
            self.images
        )
    }
}

/// Mean of some numbers and half the width of its 95 % interval (Student's), absent below two numbers.
pub fn mean_with_interval(values: &[f64]) -> (f64, Option<f64>) {
    let interval = Interval::over_seeds(values).filter(|_| values.len() > 1);
    let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
    (mean, interval.map(|interval| interval.high - interval.value))
}

/// Share of images that the first of each pair of models gets right beyond the second, mean over the pairs, and half the
/// width of its 95 % interval. The models answered the same images: what they get right or wrong together says nothing about
/// the difference, so an image counts as one draw of the difference. `None` without pairs, or for other images.
pub fn paired_difference(pairs: &[(&[bool], &[bool])]) -> Option<(f64, f64)> {
    let images = pairs.first()?.0.len();
    if !pairs.iter().all(|(one, other)| one.len() == images && other.len() == images) {
        return None;
    }
    let share = |right: bool| f64::from(u8::from(right)) / pairs.len() as f64;
    let difference =
        |image: usize| pairs.iter().map(|(one, other)| share(one[image]) - share(other[image])).sum();
    let (mean, half) = mean_with_interval(&(0..images).map(difference).collect::<Vec<f64>>());
    Some((mean, half?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOSE: f64 = 5e-4;

    #[test]
    fn mean_has_an_interval_from_two_values_on() {
        assert_eq!(mean_with_interval(&[2.0]), (2.0, None));
        let (mean, half) = mean_with_interval(&[1.0, 3.0]);
        assert!((mean - 2.0).abs() < CLOSE && (half.unwrap_or(0.0) - 12.706).abs() < CLOSE);
    }

    #[test]
    fn only_images_that_models_answer_differently_widen_the_interval() {
        let right = |wrong: usize| (0..1000).map(|image| image >= wrong).collect::<Vec<bool>>();
        let (one, other) = (right(100), right(110));
        let (mean, half) = paired_difference(&[(&one, &other)]).expect("same images");
        assert!((mean - 0.01).abs() < CLOSE && (half - 1.96 * (0.0099f64 / 1000.0).sqrt()).abs() < CLOSE);
        assert_eq!(paired_difference(&[(&one, &one)]), Some((0.0, 0.0)));
        assert_eq!(paired_difference(&[(&one, &other[1..])]), None);
        assert_eq!(paired_difference(&[]), None);
    }
}
