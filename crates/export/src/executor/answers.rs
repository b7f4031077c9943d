//! # Answers without floats
//!
//! Classes and int8 logits as integer-only targets compute them from the int32 sums of [`Outputs`]. Steps of classes
//! differ; the class is the one with the largest `sum × step`, with steps as 30-bit parts of the largest one.

use super::Outputs;
use crate::graph::{QuantizedNetwork, Quantizer};
use crate::requantize::{FixedFactor, Rescale, Style};

/// Bits of the largest class's factor.
const FACTOR_BITS: i32 = 30;

/// Steps of the classes in proportion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassFactors(Vec<i32>);

impl ClassFactors {
    /// From the real values of the classes' steps.
    pub fn new(steps: &[f32]) -> Self {
        let largest = steps.iter().copied().fold(f32::MIN_POSITIVE, f32::max);
        let unit = f64::from(FACTOR_BITS).exp2() / f64::from(largest);
        Self(steps.iter().map(|&step| (f64::from(step) * unit).round() as i32).collect())
    }

    /// One factor per class, at most 2^30.
    pub fn factors(&self) -> &[i32] {
        &self.0
    }

    /// The class with the largest real value, the first among equals.
    pub fn top1(&self, sums: &[i32]) -> usize {
        let real = |class: usize| i64::from(sums[class]) * i64::from(self.0[class]);
        (1..sums.len()).fold(0, |best, class| if real(class) > real(best) { class } else { best })
    }
}

impl Outputs {
    /// The class of every image by integers alone; `steps` are the classes' steps.
    pub fn integer_top1(&self, steps: &[f32]) -> Vec<usize> {
        let factors = ClassFactors::new(steps);
        self.sums.chunks_exact(self.classes).map(|sums| factors.top1(sums)).collect()
    }

    /// The logits in an 8-bit quantizer, rescaled from the network's sums as the style does it.
    pub fn fixed_logits(&self, network: &QuantizedNetwork, style: Style, quantizer: &Quantizer) -> Vec<i8> {
        self.rescaled(&logit_rescales(network, style, quantizer), quantizer)
    }

    fn rescaled(&self, rescales: &[Rescale], quantizer: &Quantizer) -> Vec<i8> {
        let logit = |(index, &sum): (usize, &i32)| {
            rescales[index % self.classes].apply(sum, quantizer.low, quantizer.high) as i8
        };
        self.sums.iter().enumerate().map(logit).collect()
    }
}

/// From each class's sums to int8 logits.
fn logit_rescales(network: &QuantizedNetwork, style: Style, quantizer: &Quantizer) -> Vec<Rescale> {
    let input = network.tensors[network.classifier.input].quantizer.scale;
    let rescale = |weight: f32| Rescale::new(style, input, weight, quantizer.scale);
    network.classifier.weights.sum_scales().into_iter().map(rescale).collect()
}

/// The integer factors of the classes' int8 logits.
pub fn logit_factors(network: &QuantizedNetwork, quantizer: &Quantizer) -> Vec<FixedFactor> {
    let input = network.tensors[network.classifier.input].quantizer.scale;
    let factor = |weight: f32| FixedFactor::of_sum(input, weight, quantizer.scale);
    network.classifier.weights.sum_scales().into_iter().map(factor).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_compared_by_real_value_not_by_sum() {
        let outputs = Outputs { classes: 3, sums: vec![100, 60, 200, -5, -5, -9], logits: vec![] };
        assert_eq!(outputs.integer_top1(&[0.5, 1.0, 0.25]), [1, 2]);
    }

    #[test]
    fn logits_saturate_and_round() {
        let outputs = Outputs { classes: 2, sums: vec![10, 10_000, -10_000, 3], logits: vec![] };
        let factors = [0.11, 1.0].map(|factor| Rescale::Fixed(FixedFactor::new(factor)));
        assert_eq!(outputs.rescaled(&factors, &Quantizer::int8(12.7)), [1, 127, -128, 3]);
    }
}
