//! # Quantized: a candidate's own network, calibrated
//!
//! EMS, section 4, equation 5, after HAQ: weights are quantized symmetrically with a threshold that minimises the
//! KL divergence between the histograms of original and quantized weights; the release does so below 5 bits and
//! takes max|w| otherwise. Activations behind ReLU6 are unsigned in `[0, v]`, linear outputs signed in `[-v, v]`;
//! v starts from a histogram over training images and is learned afterwards.
//!
//! Differences from the paper: thresholds may be per output channel (an integer runtime folds batch norm into the
//! channel's scale, so this costs nothing), and the starting range may be another than the release's `min(6, max)`,
//! which at 2 bits would leave the levels 0, 2, 4 and 6.

use std::collections::BTreeMap;
use std::sync::Arc;

use sartor_engine::{Network, NormStatistics, Tap};
use sartor_space::{Candidate, Layer, SearchSpace, Subnet, Workload};

use crate::calibration::{ActivationHistogram, ActivationMethod, WeightMethod, weight_thresholds};
use crate::error::Result;
use crate::extract::extract;
use crate::instantiate::{self, RangeSlot, Thresholds, is_quantized, quantized_network, range_slots};
use crate::parameters::Layout;
use crate::supernet::Supernet;
use crate::workbench::Workbench;

/// How thresholds and ranges are found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Calibration {
    /// Training images that ranges are observed on.
    pub images: usize,
    /// For weight thresholds.
    pub weights: WeightMethod,
    /// For activation ranges.
    pub activations: ActivationMethod,
    /// One weight threshold per output channel rather than per layer.
    pub per_channel: bool,
}

/// A candidate's network in a buffer of its own: its effective weights, then its activation ranges.
#[derive(Debug, Clone)]
pub struct Model {
    /// What it is.
    pub candidate: Candidate,
    /// The candidate's layers.
    pub workload: Workload,
    /// Where the weights lie.
    pub layout: Layout,
    /// The engine network on `parameters`, with quantizers if the candidate has a policy.
    pub network: Network,
    /// Weights, norms, classifier; then one number per range slot.
    pub parameters: Vec<f32>,
    /// Weight thresholds per layer; empty at full precision.
    pub thresholds: Thresholds,
}

/// What stands for the candidate of a network that comes from no space.
pub(crate) fn no_candidate() -> Candidate {
    Candidate { subnet: Subnet { blocks: vec![] }, policy: None }
}

impl Model {
    /// A copy of a candidate's inherited weights, not yet quantized.
    pub fn inherit(space: &SearchSpace, supernet: &Supernet, candidate: &Candidate) -> Result<Self> {
        space.contains(candidate)?;
        let workload = space.lower(candidate);
        let layout = Layout::fixed(&workload);
        let parameters = extract(supernet.layout(), supernet.parameters(), &workload, &layout)?;
        let network = instantiate::network(&layout, &workload)?;
        Ok(Self { candidate: candidate.clone(), workload, layout, network, parameters, thresholds: vec![] })
    }

    /// The activation ranges, in the order of their numbers behind the weights.
    pub fn ranges(&self) -> impl Iterator<Item = (RangeSlot, f32)> + '_ {
        let values = self.parameters[self.layout.len()..].iter();
        range_slots(&self.workload).into_iter().zip(values.copied())
    }

    /// Finds thresholds and ranges, and puts the quantizers in; does nothing at full precision.
    pub(crate) fn calibrate(&mut self, workbench: &mut Workbench<'_>, how: &Calibration) -> Result<()> {
        if !is_quantized(&self.workload) {
            return Ok(());
        }
        let statistics = workbench.recalibrate(&self.network, &self.parameters, how.images)?;
        let histograms = observe(self, &statistics, workbench, how.images)?;
        self.quantize(&histograms, how)
    }

    /// Puts quantizers into a full-precision network of which these histograms were seen.
    pub(crate) fn quantize(&mut self, seen: &Histograms, how: &Calibration) -> Result<()> {
        let slots = range_slots(&self.workload);
        let ranges: Vec<f32> =
            slots.iter().map(|slot| seen[&slot.tap].range(slot.bits, how.activations)).collect();
        self.thresholds = self.weight_thresholds(how)?;
        self.network = quantized_network(&self.layout, &self.workload, &self.thresholds)?;
        self.parameters.extend(ranges);
        Ok(())
    }

    fn weight_thresholds(&self, how: &Calibration) -> Result<Thresholds> {
        self.workload.layers.iter().map(|layer| self.layer_thresholds(layer, how)).collect()
    }

    fn layer_thresholds(&self, layer: &Layer, how: &Calibration) -> Result<Arc<[f32]>> {
        let slot = self.layout.slot(&layer.name)?;
        let weights = &self.parameters[slot.weight.offset..][..slot.rows * slot.columns];
        let (columns, bits) = (slot.columns, layer.weight_bits);
        Ok(weight_thresholds(weights, columns, bits, how.weights, how.per_channel)?.into())
    }
}

/// What was seen at every place that needs a range.
pub(crate) type Histograms = BTreeMap<Tap, ActivationHistogram>;

/// Histograms over calibration images at full precision; the model's workload names the places by its widths.
pub(crate) fn observe(
    model: &Model,
    statistics: &[NormStatistics],
    workbench: &mut Workbench<'_>,
    images: usize,
) -> Result<Histograms> {
    let slots = range_slots(&model.workload);
    let mut histograms: Histograms =
        slots.iter().map(|slot| (slot.tap, ActivationHistogram::new(slot.signed))).collect();
    workbench.each_calibration_batch(images, |executor, pixels, count| {
        executor.observe(
            &model.network,
            &model.parameters,
            statistics,
            pixels,
            count,
            &mut |tap, values| {
                if let Some(histogram) = histograms.get_mut(&tap) {
                    histogram.observe(values);
                }
            },
        )?;
        Ok(())
    })?;
    Ok(histograms)
}
