//! Activation ranges of a mixture: one for every width that a quantization point may have.

use std::collections::BTreeMap;

use sartor_engine::network::{ActivationQuantizer, MAXIMUM_RIVALS};
use sartor_engine::{Network, Tap};
use sartor_space::{Layer, Role, Workload};

use crate::calibration::{ActivationHistogram, ActivationMethod};
use crate::differentiable::choices::Choices;
use crate::error::Result;
use crate::instantiate::{convolutions, place, range_slots};
use crate::workbench::Workbench;

use super::Rivals;

/// One quantization point.
#[derive(Debug, Clone)]
struct Point {
    tap: Tap,
    signed: bool,
    /// Widths, and the places of their coefficients where there are several.
    widths: Vec<(u8, Option<usize>)>,
    /// First of its ranges among all.
    first: usize,
    /// First of its shares among all; only with several widths.
    share: usize,
}

/// Every quantization point.
#[derive(Debug, Clone, Default)]
pub(super) struct Ranges {
    points: Vec<Point>,
    ranges: usize,
    shares: usize,
}

impl Ranges {
    pub(super) fn new(choices: &Choices, workload: &Workload) -> Self {
        let mut all = Self::default();
        for slot in range_slots(workload) {
            let searched = match slot.tap {
                Tap::Input(index) => searched(choices, &convolutions(workload)[index]),
                _ => vec![],
            };
            let widths = if searched.is_empty() { vec![(slot.bits, None)] } else { searched };
            let (first, share) = (all.ranges, all.shares);
            all.ranges += widths.len();
            all.shares += if widths.len() > 1 { widths.len() } else { 0 };
            all.points.push(Point { tap: slot.tap, signed: slot.signed, widths, first, share });
        }
        all
    }

    /// How many ranges there are.
    pub(super) fn len(&self) -> usize {
        self.ranges
    }

    /// How many shares there are.
    pub(super) fn shares(&self) -> usize {
        self.shares
    }

    /// Puts the quantizers on the network: ranges lie at `offset` and after, shares behind them. Rivals are there only
    /// while they are `competing`.
    pub(super) fn place(&self, network: &mut Network, offset: usize, sampled: &[f32], competing: bool) {
        for point in &self.points {
            let chosen = point.chosen(sampled);
            let rivals = point.rivals(offset, offset + self.ranges).filter(|_| competing);
            let quantizer = ActivationQuantizer {
                bits: point.widths[chosen].0,
                signed: point.signed,
                range_offset: offset + point.first + chosen,
                rivals,
            };
            place(network, point.tap, quantizer);
        }
    }

    /// Adds the shares' gradients to those of the coefficients.
    pub(super) fn backward(&self, shares: &[f32], coefficients: &mut [f32]) {
        for point in self.points.iter().filter(|point| point.widths.len() > 1) {
            for ((_, place), gradient) in point.widths.iter().zip(&shares[point.share..]) {
                if let Some(place) = place {
                    coefficients[*place] += gradient;
                }
            }
        }
    }

    /// Ranges that fit what flows through a network.
    pub(super) fn observe(
        &self,
        workbench: &mut Workbench<'_>,
        network: &Network,
        weights: &[f32],
        images: usize,
    ) -> Result<Vec<f32>> {
        let statistics = workbench.recalibrate(network, weights, images)?;
        let mut histograms: BTreeMap<Tap, ActivationHistogram> =
            self.points.iter().map(|point| (point.tap, ActivationHistogram::new(point.signed))).collect();
        workbench.each_calibration_batch(images, |executor, pixels, count| {
            executor.observe(network, weights, &statistics, pixels, count, &mut |tap, values| {
                if let Some(histogram) = histograms.get_mut(&tap) {
                    histogram.observe(values);
                }
            })?;
            Ok(())
        })?;
        let each = |point: &Point| -> Vec<f32> {
            let range = |&(bits, _): &(u8, _)| histograms[&point.tap].range(bits, ActivationMethod::Mse);
            point.widths.iter().map(range).collect()
        };
        Ok(self.points.iter().flat_map(each).collect())
    }
}

impl Point {
    /// Which width the sample names.
    fn chosen(&self, sampled: &[f32]) -> usize {
        let coefficient = |index: usize| self.widths[index].1.map_or(0.0, |place| sampled[place]);
        (0..self.widths.len()).max_by(|&a, &b| coefficient(a).total_cmp(&coefficient(b))).unwrap_or(0)
    }

    fn rivals(&self, ranges: usize, shares: usize) -> Option<Rivals> {
        let count = self.widths.len();
        if !(2..=MAXIMUM_RIVALS).contains(&count) {
            return None;
        }
        let mut bits = [0; MAXIMUM_RIVALS];
        bits.iter_mut().zip(&self.widths).for_each(|(to, (width, _))| *to = *width);
        let (range_offset, gradient_offset) = (ranges + self.first, shares + self.share);
        Some(Rivals { count, bits, range_offset, gradient_offset })
    }
}

/// The widths that a block layer's input may have.
fn searched(choices: &Choices, layer: &Layer) -> Vec<(u8, Option<usize>)> {
    let (block, field) = match layer.role {
        Role::Expand { block } | Role::Project { block } => (block, 1),
        Role::Depthwise { block } => (block, 3),
        _ => return vec![],
    };
    let places = choices.block(block).map(|places| &places.bits[field][..]).unwrap_or(&[]);
    places.iter().map(|&(bits, place)| (bits, Some(place))).collect()
}
