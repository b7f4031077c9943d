//! The network, observed: from here on every width is a matter of looking at histograms.

use std::cell::RefCell;
use std::collections::BTreeMap;

use anyhow::Result;
use sartor_export::import::{ImportedNetwork, Place, RangePoint};
use sartor_export::{Executor, QuantizedNetwork, Style};
use sartor_space::Workload;
use sartor_supernet::calibration::{ActivationHistogram, ActivationMethod, WeightMethod, weight_thresholds};
use sartor_supernet::data::Images;

use super::source::{Source, top1};
use crate::cli::QuantizeArguments;
use crate::stages::integers;
use crate::statistics::Accuracy;

/// Widths of a layer: weights and activations.
pub type Widths = (u8, u8);

/// Observed on training images.
pub struct Calibrated<'a> {
    /// The float network.
    pub network: &'a ImportedNetwork,
    /// Its layers, in full precision.
    pub workload: Workload,
    /// Training images that divergences are measured on.
    probes: Images,
    /// What the float network says about them, as probabilities.
    expected: Vec<f64>,
    validation: &'a Images,
    histograms: Vec<ActivationHistogram>,
    ranges: RefCell<BTreeMap<RangePoint, f32>>,
    thresholds: RefCell<BTreeMap<(usize, u8), Vec<f32>>>,
}

impl<'a> Calibrated<'a> {
    /// Observes.
    ///
    /// # Errors
    /// Images that do not fit.
    pub fn new(source: &'a Source, arguments: &QuantizeArguments) -> Result<Self> {
        let (network, train) = (&source.network, &source.dataset.train);
        let calibration = spread(train, arguments.calibration_images);
        let probes = spread(train, arguments.sensitivity_images);
        let mut histograms: Vec<ActivationHistogram> = (0..=network.steps().len())
            .map(|value| ActivationHistogram::new(network.signed(value)))
            .collect();
        network.observe(&calibration.pixels, &mut |place, numbers| {
            if let Place::Value(value) = place {
                histograms[value].observe(numbers);
            }
        })?;
        let expected = probabilities(&network.logits(&probes.pixels)?, network.classes());
        let (ranges, thresholds) = (RefCell::default(), RefCell::default());
        let (workload, validation) = (network.workload(), &source.dataset.validation);
        Ok(Self { network, workload, probes, expected, validation, histograms, ranges, thresholds })
    }

    /// The layers with these widths.
    pub fn at(&self, widths: &[Widths]) -> Workload {
        let mut workload = self.workload.clone();
        for (layer, &(weights, activations)) in workload.layers.iter_mut().zip(widths) {
            (layer.weight_bits, layer.activation_bits) = (weights, activations);
        }
        workload
    }

    /// The integer network at these widths.
    ///
    /// # Errors
    /// Widths that no integer kernel computes.
    pub fn quantize(&self, widths: &[Widths]) -> Result<QuantizedNetwork> {
        let thresholds = self.all_thresholds(widths)?;
        Ok(self.network.quantize(&self.at(widths), &thresholds, &mut |point| self.range(point))?)
    }

    /// Mean Kullback–Leibler divergence of a network's answers from the float network's, in nats.
    ///
    /// # Errors
    /// Images that do not fit.
    pub fn divergence(&self, network: &QuantizedNetwork) -> Result<f64> {
        let logits = Executor::new(network, Style::FloatTiesToEven).run(&self.probes.pixels)?.logits;
        let got = probabilities(&logits, network.classes());
        let term =
            |(p, q): (&f64, &f64)| if *p > 0.0 { p * (p / q.max(f64::MIN_POSITIVE)).ln() } else { 0.0 };
        let sum: f64 = self.expected.iter().zip(&got).map(term).sum();
        Ok((sum / self.probes.len().max(1) as f64).max(0.0))
    }

    /// Accuracy of a network on validation.
    ///
    /// # Errors
    /// Images that do not fit.
    pub fn accuracy(&self, network: &QuantizedNetwork) -> Result<Accuracy> {
        let logits = Executor::new(network, Style::FloatTiesToEven).run(&self.validation.pixels)?.logits;
        Ok(integers::accuracy(&top1(&logits, network.classes()), self.validation))
    }

    /// Some training images.
    pub fn probes(&self) -> &Images {
        &self.probes
    }

    /// Weight thresholds per output channel of every layer at these widths.
    ///
    /// # Errors
    /// Widths that no threshold is known for.
    pub fn all_thresholds(&self, widths: &[Widths]) -> Result<Vec<Vec<f32>>> {
        widths.iter().enumerate().map(|(layer, &(bits, _))| self.thresholds(layer, bits)).collect()
    }

    /// The range of a quantization point, of least squared error.
    pub fn range(&self, point: RangePoint) -> f32 {
        *self.ranges.borrow_mut().entry(point).or_insert_with(|| {
            let steps = point.levels() as u32;
            let histogram = &self.histograms[point.value];
            match histogram.threshold(point.bits, steps, ActivationMethod::Mse) {
                range if range > 0.0 => range,
                _ => 1.0,
            }
        })
    }

    fn thresholds(&self, layer: usize, bits: u8) -> Result<Vec<f32>> {
        if let Some(known) = self.thresholds.borrow().get(&(layer, bits)) {
            return Ok(known.clone());
        }
        let convolutions = self.network.steps().iter().filter_map(|step| step.work.convolution());
        let Some(convolution) = convolutions.filter(|convolution| !convolution.fixed).nth(layer) else {
            anyhow::bail!("the network has no layer {layer}");
        };
        let (weights, channels) = (&convolution.weight, convolution.channels());
        let found = weight_thresholds(weights, channels, bits, WeightMethod::Mse, true)
            .map_err(sartor_supernet::SupernetError::from)?;
        let found: Vec<f32> = found.into_iter().map(|threshold| threshold.max(f32::MIN_POSITIVE)).collect();
        self.thresholds.borrow_mut().insert((layer, bits), found.clone());
        Ok(found)
    }
}

/// Evenly spaced images, at most `count`.
fn spread(images: &Images, count: usize) -> Images {
    let (all, length) = (images.len(), images.size * images.size * images.channels);
    let count = count.clamp(1, all.max(1)).min(all);
    let places = (0..count).map(|index| index * all / count.max(1));
    let mut chosen = Images { pixels: vec![], labels: vec![], ..*images };
    for place in places {
        chosen.pixels.extend_from_slice(&images.pixels[place * length..][..length]);
        chosen.labels.push(images.labels[place]);
    }
    chosen
}

/// Softmax of every row.
fn probabilities(logits: &[f32], classes: usize) -> Vec<f64> {
    let row = |row: &[f32]| {
        let largest = row.iter().fold(f32::NEG_INFINITY, |most, logit| most.max(*logit));
        let powers: Vec<f64> = row.iter().map(|logit| f64::from(logit - largest).exp()).collect();
        let sum: f64 = powers.iter().sum();
        powers.into_iter().map(move |power| power / sum)
    };
    logits.chunks_exact(classes).flat_map(row).collect()
}
