//! Largest-value thresholds and ranges, until the histograms of `calibration` are there.
use crate::error::Result;
pub enum WeightMethod {
    MaxAbs,
    Kl,
}
pub fn weight_thresholds(weights: &[f32], out: usize, _: u8, _: WeightMethod, per_channel: bool) -> Result<Vec<f32>> {
    let mut most = vec![1e-8f32; out];
    for row in weights.chunks_exact(out) {
        most.iter_mut().zip(row).for_each(|(most, weight)| *most = most.max(weight.abs()));
    }
    let all = most.iter().copied().fold(0.0, f32::max);
    if !per_channel {
        most.fill(all);
    }
    Ok(most)
}
pub enum ActivationMethod {
    MaxAbs,
    Mse,
}
pub struct ActivationHistogram(f32);
impl ActivationHistogram {
    pub fn new(_: bool) -> Self {
        Self(1e-4)
    }
    pub fn observe(&mut self, values: &[f32]) {
        self.0 = values.iter().fold(self.0, |most, value| most.max(value.abs()));
    }
    pub fn range(&self, _: u8, _: ActivationMethod) -> f32 {
        self.0
    }
}
