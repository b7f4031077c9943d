//! # Evaluation: how accurate a subnet with inherited weights is
//!
//! A subnet's batch-norm statistics are recomputed on training images first (Once-for-all, section 3.3: inherited
//! statistics belong to other subnets). Accuracies carry the number of images and a Wilson 95 % interval:
//! `(p + z²/2n ± z·sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n)`, z = 1.96.

use sartor_engine::{Network, NormStatistics};
use sartor_space::{Candidate, SearchSpace, Subnet};

use crate::data::Dataset;
use crate::error::Result;
use crate::instantiate::network;
use crate::supernet::Supernet;
use crate::workbench::{Part, Workbench};

/// Standard normal quantile of a two-sided 95 % interval.
const Z: f64 = 1.959_963_984_540_054;

/// Correct answers among images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accuracy {
    /// Images whose largest logit is their label.
    pub correct: usize,
    /// Images.
    pub images: usize,
}

impl Accuracy {
    /// The share of correct answers, 0 to 1.
    pub fn value(&self) -> f64 {
        self.correct as f64 / self.images.max(1) as f64
    }

    /// Wilson 95 % interval, low and high.
    pub fn interval(&self) -> (f64, f64) {
        wilson(self.value(), self.images)
    }
}

/// Wilson's 95 % score interval of a share of `images`, which stays inside 0 to 1 also for few of them; all of that for none.
pub fn wilson(share: f64, images: usize) -> (f64, f64) {
    if images == 0 {
        return (0.0, 1.0);
    }
    let (n, p) = (images as f64, share);
    let (middle, spread) = (p + Z * Z / (2.0 * n), Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt());
    let scale = 1.0 + Z * Z / n;
    (((middle - spread) / scale).max(0.0), ((middle + spread) / scale).min(1.0))
}

/// Scores subnets of one supernet.
pub struct Evaluator<'a> {
    space: &'a SearchSpace,
    workbench: Workbench<'a>,
    recalibration_images: usize,
}

impl<'a> Evaluator<'a> {
    /// An evaluator that recalibrates on `recalibration_images` training images drawn by `seed` (all if fewer).
    pub fn new(
        space: &'a SearchSpace,
        dataset: &'a Dataset,
        recalibration_images: usize,
        seed: u64,
    ) -> Result<Self> {
        Ok(Self { space, workbench: Workbench::new(space, dataset, seed)?, recalibration_images })
    }

    /// Accuracy of a full-precision subnet with inherited weights on a split.
    pub fn subnet(&mut self, supernet: &Supernet, subnet: &Subnet, part: Part) -> Result<Accuracy> {
        let candidate = Candidate { subnet: subnet.clone(), policy: None };
        self.space.contains(&candidate)?;
        let network = network(supernet.layout(), &self.space.lower(&candidate))?;
        let values = supernet.parameters();
        let statistics = self.workbench.recalibrate(&network, values, self.recalibration_images)?;
        self.workbench.accuracy(&network, values, &statistics, part)
    }

    /// As [`subnet`](Self::subnet), but with the largest network's statistics, those of its first channels where the
    /// subnet is narrower: what leaving out the recalibration costs.
    pub fn subnet_with_the_largest_statistics(
        &mut self,
        supernet: &Supernet,
        subnet: &Subnet,
        part: Part,
    ) -> Result<Accuracy> {
        let full = |subnet: &Subnet| Candidate { subnet: subnet.clone(), policy: None };
        self.space.contains(&full(subnet))?;
        let (layout, values) = (supernet.layout(), supernet.parameters());
        let largest = network(layout, &self.space.lower(&full(&self.space.largest())))?;
        let known = self.workbench.recalibrate(&largest, values, self.recalibration_images)?;
        let network = network(layout, &self.space.lower(&full(subnet)))?;
        let statistics = sliced(&network, &largest, &known);
        self.workbench.accuracy(&network, values, &statistics, part)
    }
}

/// Statistics of the layers of the same name, cut to the channels there are.
fn sliced(network: &Network, largest: &Network, known: &[NormStatistics]) -> Vec<NormStatistics> {
    let of = |name: &str| largest.layers.iter().position(|layer| layer.name == name).unwrap_or(0);
    let cut = |values: &[f32], channels: usize| values[..channels.min(values.len())].to_vec();
    let slice = |layer: &sartor_engine::Layer| {
        let NormStatistics { mean, variance } = &known[of(&layer.name)];
        NormStatistics { mean: cut(mean, layer.out_channels), variance: cut(variance, layer.out_channels) }
    };
    network.layers.iter().map(slice).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_statistics_are_the_largest_networks_own() {
        let (space, dataset) = (crate::fixtures::space(), crate::fixtures::dataset());
        let supernet = Supernet::new(&space, 3);
        let mut evaluator = Evaluator::new(&space, &dataset, 96, 1).unwrap();
        let largest = space.largest();
        let recalibrated = evaluator.subnet(&supernet, &largest, Part::Validation).unwrap();
        let sliced = evaluator.subnet_with_the_largest_statistics(&supernet, &largest, Part::Validation);
        assert_eq!(sliced.unwrap(), recalibrated);
        let smallest = space.smallest();
        evaluator.subnet_with_the_largest_statistics(&supernet, &smallest, Part::Validation).unwrap();
    }

    #[test]
    fn intervals_are_wilsons() {
        // Reference values: statsmodels proportion_confint(method="wilson").
        let cases = [(90, 100, 0.825_6, 0.944_8), (0, 10, 0.0, 0.277_5), (10, 10, 0.722_5, 1.0)];
        for (correct, images, low, high) in cases {
            let interval = Accuracy { correct, images }.interval();
            assert!((interval.0 - low).abs() < 1e-4 && (interval.1 - high).abs() < 1e-4, "{interval:?}");
        }
        assert_eq!(wilson(0.7, 0), (0.0, 1.0));
    }
}
