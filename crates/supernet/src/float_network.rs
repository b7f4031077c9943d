//! # Float network: weights with statistics, from the supernet or from elsewhere
//!
//! One network in full precision that is ready to be quantized: a subnet with inherited weights and recalibrated
//! batch norms, or a network that another program trained. It can be quantized after training
//! ([`PostTraining`](crate::post_training::PostTraining)) or fine-tuned at any widths ([`NetworkTuner`]); the float network
//! itself is then the teacher.

use sartor_engine::{Network, NormStatistics};
use sartor_space::{Candidate, Input, SearchSpace, Subnet, Workload};

use crate::archive::Archive;
use crate::data::Dataset;
use crate::error::Result;
use crate::evaluation::Accuracy;
use crate::finetune::{FinetuneSettings, FinetunedModel, Tuning};
use crate::instantiate::{convolutions, network};
use crate::parameters::Layout;
use crate::progress::{Observer, StepReport};
use crate::quantized::{Model, no_candidate};
use crate::supernet::Supernet;
use crate::teacher::Teacher;
use crate::workbench::{Part, Workbench};

const WHAT: &str = "float network";

/// A network in full precision.
#[derive(Debug, Clone)]
pub struct FloatNetwork {
    pub(crate) model: Model,
    pub(crate) statistics: Vec<NormStatistics>,
}

impl FloatNetwork {
    /// A subnet with inherited weights; its statistics are those of `images` training images drawn by `seed`.
    ///
    /// # Errors
    /// A subnet outside the space, a data set of another shape.
    pub fn inherit(
        space: &SearchSpace,
        supernet: &Supernet,
        subnet: &Subnet,
        dataset: &Dataset,
        (images, seed): (usize, u64),
    ) -> Result<Self> {
        let candidate = Candidate { subnet: subnet.clone(), policy: None };
        let model = Model::inherit(space, supernet, &candidate)?;
        let mut workbench = Workbench::new(space, dataset, seed)?;
        let statistics = workbench.recalibrate(&model.network, &model.parameters, images)?;
        Ok(Self { model, statistics })
    }

    /// Named arrays (`<layer>.{weight, gamma, beta, mean, variance}`, the last layer's `weight` and `bias`) as a
    /// safetensors file, for the layers of a full-precision workload.
    ///
    /// # Errors
    /// A damaged file, a missing or misshapen array, a workload that is no chain of layers.
    pub fn adopt(bytes: &[u8], workload: Workload) -> Result<Self> {
        let archive = Archive::from_bytes(bytes, WHAT)?;
        let layout = Layout::fixed(&workload);
        let parameters = layout.read(&archive, "")?;
        let read = |layer: &sartor_space::Layer, field: &str| {
            archive.array(&format!("{}.{field}", layer.name), &[layer.out_channels]).map(<[f32]>::to_vec)
        };
        let statistics = convolutions(&workload).iter().map(|layer| {
            Ok(NormStatistics { mean: read(layer, "mean")?, variance: read(layer, "variance")? })
        });
        let statistics = statistics.collect::<Result<_>>()?;
        let network = network(&layout, &workload)?;
        let candidate = no_candidate();
        let model = Model { candidate, workload, layout, network, parameters, thresholds: vec![] };
        Ok(Self { model, statistics })
    }

    /// Its layers.
    pub fn workload(&self) -> &Workload {
        &self.model.workload
    }

    /// Top-1 accuracy on a split.
    ///
    /// # Errors
    /// A data set of another shape.
    pub fn accuracy(&self, dataset: &Dataset, part: Part) -> Result<Accuracy> {
        let mut workbench = Workbench::on(input(&self.model.network), dataset, 0)?;
        workbench.accuracy(&self.model.network, &self.model.parameters, &self.statistics, part)
    }

    /// The same weights with other widths, not yet quantized.
    pub(crate) fn at(&self, workload: &Workload) -> Model {
        Model { workload: workload.clone(), ..self.model.clone() }
    }
}

/// Image and classes of a network.
pub(crate) fn input(network: &Network) -> Input {
    Input { size: network.image_size, channels: network.image_channels, classes: network.head.classes }
}

/// Fine-tunes a float network at the widths of a workload, quantization-aware.
pub struct NetworkTuner<'a> {
    workbench: Workbench<'a>,
    teacher: Option<Teacher>,
    tuning: Tuning,
}

impl<'a> NetworkTuner<'a> {
    /// Calibrates; `workload` is the network's own with other widths.
    ///
    /// # Errors
    /// Impossible settings, a data set of another shape.
    pub fn new(
        network: &FloatNetwork,
        dataset: &'a Dataset,
        workload: &Workload,
        settings: FinetuneSettings,
        seed: u64,
    ) -> Result<Self> {
        settings.check()?;
        let mut workbench = Workbench::on(input(&network.model.network), dataset, seed)?;
        let FloatNetwork { model, statistics } = network;
        let teacher = (settings.distillation > 0.0)
            .then(|| Teacher::of(model.network.clone(), model.parameters.clone(), statistics.clone()));
        let tuning = Tuning::new(network.at(workload), settings, seed, &mut workbench)?;
        Ok(Self { workbench, teacher, tuning })
    }

    /// Steps of the whole fine-tuning.
    pub fn total_steps(&self) -> usize {
        self.tuning.total_steps()
    }

    /// Trains to the end.
    ///
    /// # Errors
    /// Divergence, with the step and, where it is known, the layer.
    pub fn run(&mut self, observer: &mut dyn Observer) -> Result<()> {
        while !self.tuning.is_done() {
            let report: StepReport = self.tuning.step(&mut self.workbench, self.teacher.as_ref())?;
            observer.step(&report);
        }
        Ok(())
    }

    /// Recomputes the batch-norm statistics under quantization and gives the trained model.
    ///
    /// # Errors
    /// Values that are not finite.
    pub fn finish(mut self) -> Result<FinetunedModel> {
        self.tuning.finish(&mut self.workbench)
    }
}

impl FinetunedModel {
    /// Top-1 accuracy of a network that comes from no space.
    ///
    /// # Errors
    /// A data set of another shape.
    pub fn accuracy_of_network(&self, dataset: &Dataset, part: Part) -> Result<Accuracy> {
        let mut workbench = Workbench::on(input(&self.model.network), dataset, 0)?;
        self.accuracy_on(&mut workbench, part)
    }

    /// Logits of a network that comes from no space, `[images, classes]`.
    ///
    /// # Errors
    /// A data set of another shape.
    pub fn logits_of_network(&self, dataset: &Dataset, part: Part) -> Result<Vec<f32>> {
        let Model { network, parameters, .. } = &self.model;
        let (mut workbench, mut all) = (Workbench::on(input(network), dataset, 0)?, Vec::new());
        workbench.each_answer(network, parameters, &self.statistics, part, |logits, _| {
            all.extend_from_slice(logits);
        })?;
        Ok(all)
    }
}
