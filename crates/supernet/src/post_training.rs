//! # Post-training quantization: a float network at any widths, without training
//!
//! The float network is observed once on training images; after that every width, every calibration and every
//! granularity is a matter of looking at histograms. Batch-norm statistics may be those of the float network, or be
//! estimated again under quantization, which takes the mean shift out that rounding causes (Sun et al., "Hybrid 8-bit
//! floating point training and inference", 2019, and Finkelstein et al., "Fighting quantization bias with bias", 2019).

use sartor_engine::NormStatistics;
use sartor_space::Workload;

use crate::data::Dataset;
use crate::error::Result;
use crate::evaluation::Accuracy;
use crate::finetune::FinetunedModel;
use crate::float_network::{FloatNetwork, input};
use crate::quantized::{Calibration, Histograms, observe};
use crate::workbench::{Part, Workbench};

/// Any width that is not full precision: where quantizers sit does not depend on it.
const SOME_BITS: u8 = 8;

/// A float network and what was seen of it.
pub struct PostTraining<'a> {
    network: &'a FloatNetwork,
    workbench: Workbench<'a>,
    seen: Histograms,
}

impl<'a> PostTraining<'a> {
    /// Observes the network on `images` training images drawn by `seed`.
    ///
    /// # Errors
    /// A data set of another shape, values that are not finite.
    pub fn new(network: &'a FloatNetwork, dataset: &'a Dataset, images: usize, seed: u64) -> Result<Self> {
        let mut workbench = Workbench::on(input(&network.model.network), dataset, seed)?;
        let model = network.at(&uniform(&network.model.workload, SOME_BITS));
        let seen = observe(&model, &network.statistics, &mut workbench, images)?;
        Ok(Self { network, workbench, seen })
    }

    /// Quantizes at the widths of a workload; `how.images` counts for the statistics, if they are `estimated_again`.
    ///
    /// # Errors
    /// Widths or a percentile that there are not.
    pub fn quantize(
        &mut self,
        workload: &Workload,
        how: &Calibration,
        estimated_again: bool,
    ) -> Result<FinetunedModel> {
        let mut model = self.network.at(workload);
        model.quantize(&self.seen, how)?;
        let statistics: Vec<NormStatistics> = match estimated_again {
            true => self.workbench.recalibrate(&model.network, &model.parameters, how.images)?,
            false => self.network.statistics.clone(),
        };
        let normalization = self.workbench.dataset.normalization;
        Ok(FinetunedModel { model, statistics, normalization })
    }

    /// Top-1 accuracy of a quantized model on a split.
    ///
    /// # Errors
    /// Values that are not finite.
    pub fn accuracy(&mut self, model: &FinetunedModel, part: Part) -> Result<Accuracy> {
        model.accuracy_on(&mut self.workbench, part)
    }
}

/// The same layers with one width for everything.
pub fn uniform(workload: &Workload, bits: u8) -> Workload {
    let mut workload = workload.clone();
    workload.layers.iter_mut().for_each(|layer| (layer.weight_bits, layer.activation_bits) = (bits, bits));
    workload
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::{ActivationMethod, WeightMethod};
    use crate::finetune::FinetuneSettings;
    use crate::fixtures;
    use crate::float_network::NetworkTuner;
    use crate::progress::StepReport;
    use crate::training::Trainer;

    const SEED: u64 = 3;
    const CALIBRATION: Calibration = Calibration {
        images: 96,
        weights: WeightMethod::Mse,
        activations: ActivationMethod::Mse,
        per_channel: true,
    };

    fn network(dataset: &Dataset) -> FloatNetwork {
        let space = fixtures::space();
        let mut trainer = Trainer::new(&space, dataset, fixtures::settings(), SEED).unwrap();
        while !trainer.is_done() {
            trainer.step().unwrap();
        }
        FloatNetwork::inherit(&space, &trainer.supernet(), &space.largest(), dataset, (96, SEED)).unwrap()
    }

    #[test]
    fn eight_bits_keep_the_accuracy_and_two_do_not() {
        let dataset = fixtures::dataset();
        let network = network(&dataset);
        let float = network.accuracy(&dataset, Part::Validation).unwrap().value();
        let mut ptq = PostTraining::new(&network, &dataset, 96, SEED).unwrap();
        let mut of = |bits, again| {
            let model = ptq.quantize(&uniform(network.workload(), bits), &CALIBRATION, again).unwrap();
            ptq.accuracy(&model, Part::Validation).unwrap().value()
        };
        assert!((of(8, false) - float).abs() <= 0.05, "{} {float}", of(8, false));
        assert!((of(8, true) - float).abs() <= 0.1, "{} {float}", of(8, true));
        assert!(of(2, false) < float, "{} {float}", of(2, false));
    }

    #[test]
    fn an_adopted_network_is_the_one_that_was_written() {
        let dataset = fixtures::dataset();
        let network = network(&dataset);
        let model = FinetunedModel {
            model: network.model.clone(),
            statistics: network.statistics.clone(),
            normalization: dataset.normalization,
        };
        let adopted = FloatNetwork::adopt(&model.arrays_to_bytes(), network.workload().clone()).unwrap();
        let accuracy = |network: &FloatNetwork| network.accuracy(&dataset, Part::Test).unwrap();
        assert_eq!(accuracy(&adopted), accuracy(&network));
        assert!(FloatNetwork::adopt(&[1, 2, 3], network.workload().clone()).is_err());
    }

    #[test]
    fn tuning_a_network_lowers_its_loss() {
        let dataset = fixtures::dataset();
        let network = network(&dataset);
        let settings =
            FinetuneSettings { epochs: 6, batch: 24, calibration_images: 96, ..Default::default() };
        let workload = uniform(network.workload(), 3);
        let mut tuner = NetworkTuner::new(&network, &dataset, &workload, settings, SEED).unwrap();
        let mut losses = vec![];
        tuner.run(&mut |report: &StepReport| losses.push(report.loss)).unwrap();
        assert_eq!(losses.len(), tuner.total_steps());
        assert!(
            losses[losses.len() - 4..].iter().sum::<f64>() < losses[..4].iter().sum::<f64>(),
            "{losses:?}"
        );
        let model = tuner.finish().unwrap();
        assert!(model.accuracy_of_network(&dataset, Part::Test).unwrap().value() > 0.5);
    }
}
