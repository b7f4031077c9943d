//! # The trained model file
//!
//! Safetensors, `f32`: for every convolution `<layer>.{weight, gamma, beta, mean, variance}`, for the classifier
//! `classifier.{weight, bias}`; with a policy also `<layer>.weight_threshold` per output channel, `<layer>.input_range`
//! and so on for every quantization point; `image.{zero_point, scale}`: real value = (pixel - zero point) · scale.
//! Weights are the effective floats before quantization. Metadata: the candidate as JSON, the space's name and TOML.

use std::collections::BTreeMap;

use sartor_engine::NormStatistics;
use sartor_engine::network::MINIMUM_RANGE;
use sartor_space::{Candidate, SearchSpace, Workload};

use crate::archive::{Archive, NamedArray};
use crate::data::{Dataset, Normalization};
use crate::error::Result;
use crate::evaluation::Accuracy;
use crate::instantiate::{convolutions, is_quantized, network, quantized_network, range_slots};
use crate::parameters::Layout;
use crate::quantized::{Model, no_candidate};
use crate::supernet::{check_identity, identity};
use crate::workbench::{Part, Workbench};

const WHAT: &str = "trained model file";

/// A fine-tuned candidate with everything that inference needs.
#[derive(Debug, Clone)]
pub struct FinetunedModel {
    /// Network, weights, thresholds and ranges.
    pub model: Model,
    /// Batch-norm statistics per convolution, measured under quantization.
    pub statistics: Vec<NormStatistics>,
    /// How a pixel becomes a real value.
    pub normalization: Normalization,
}

impl FinetunedModel {
    /// Top-1 accuracy of the fake-quantized network on a split.
    pub fn accuracy(&self, space: &SearchSpace, dataset: &Dataset, part: Part) -> Result<Accuracy> {
        self.accuracy_on(&mut Workbench::new(space, dataset, 0)?, part)
    }

    /// Logits of the fake-quantized network on every image of a split, `[images, classes]`.
    pub fn logits(&self, space: &SearchSpace, dataset: &Dataset, part: Part) -> Result<Vec<f32>> {
        let Model { network, parameters, .. } = &self.model;
        let (mut workbench, mut all) = (Workbench::new(space, dataset, 0)?, Vec::new());
        workbench.each_answer(network, parameters, &self.statistics, part, |logits, _| {
            all.extend_from_slice(logits);
        })?;
        Ok(all)
    }

    pub(crate) fn accuracy_on(&self, workbench: &mut Workbench<'_>, part: Part) -> Result<Accuracy> {
        workbench.accuracy(&self.model.network, &self.model.parameters, &self.statistics, part)
    }

    /// [`arrays`](Self::arrays) as a safetensors file that names no space; [`from_arrays`](Self::from_arrays) reads it.
    pub fn arrays_to_bytes(&self) -> Vec<u8> {
        Archive { metadata: BTreeMap::new(), arrays: self.arrays() }.to_bytes()
    }

    /// Everything as named arrays.
    pub fn arrays(&self) -> Vec<NamedArray> {
        let Model { layout, parameters, .. } = &self.model;
        let mut arrays = layout.arrays(parameters, "");
        for (layer, statistics) in convolutions(&self.model.workload).iter().zip(&self.statistics) {
            let NormStatistics { mean, variance } = statistics;
            arrays.push(NamedArray::new(format!("{}.mean", layer.name), &[mean.len()], mean));
            arrays.push(NamedArray::new(format!("{}.variance", layer.name), &[variance.len()], variance));
        }
        for (layer, thresholds) in self.model.workload.layers.iter().zip(&self.model.thresholds) {
            let name = format!("{}.weight_threshold", layer.name);
            arrays.push(NamedArray::new(name, &[thresholds.len()], thresholds));
        }
        let range = |(slot, value): (_, f32)| scalar(slot_name(slot), value.max(MINIMUM_RANGE));
        arrays.extend(self.model.ranges().map(range));
        arrays.push(scalar("image.zero_point", f32::from(self.normalization.zero_point)));
        arrays.push(scalar("image.scale", self.normalization.scale));
        arrays
    }

    /// The file; equal models give equal bytes.
    pub fn to_bytes(&self, space: &SearchSpace) -> Vec<u8> {
        let mut metadata = identity(space);
        metadata.insert("candidate".into(), self.model.candidate.to_json(space));
        metadata.insert("space_toml".into(), space.to_toml());
        Archive { metadata, arrays: self.arrays() }.to_bytes()
    }

    /// Reads the file back.
    ///
    /// # Errors
    /// A damaged file, another space, a missing or misshapen array: each names the key.
    pub fn from_bytes(bytes: &[u8], space: &SearchSpace) -> Result<Self> {
        let archive = Archive::from_bytes(bytes, WHAT)?;
        check_identity(&archive, space)?;
        let candidate = Candidate::from_json(archive.text("candidate")?, space)?;
        let workload = space.lower(&candidate);
        Self::from_archive(&archive, candidate, workload)
    }

    /// Arrays of a network that is no candidate of a space, as a safetensors file.
    ///
    /// # Errors
    /// A damaged file, a missing or misshapen array: each names the key.
    pub fn from_arrays(bytes: &[u8], workload: Workload) -> Result<Self> {
        Self::from_archive(&Archive::from_bytes(bytes, WHAT)?, no_candidate(), workload)
    }

    fn from_archive(archive: &Archive, candidate: Candidate, workload: Workload) -> Result<Self> {
        let model = read_model(archive, candidate, workload)?;
        let statistics = convolutions(&model.workload).iter().map(|layer| {
            let read = |array| archive.array(&format!("{}.{array}", layer.name), &[layer.out_channels]);
            Ok(NormStatistics { mean: read("mean")?.to_vec(), variance: read("variance")?.to_vec() })
        });
        let statistics = statistics.collect::<Result<_>>()?;
        let one = |key: &str| archive.array(key, &[1]).map(|values| values[0]);
        let (zero_point, scale) = (one("image.zero_point")? as u8, one("image.scale")?);
        Ok(Self { model, statistics, normalization: Normalization { zero_point, scale } })
    }
}

fn read_model(archive: &Archive, candidate: Candidate, workload: Workload) -> Result<Model> {
    let layout = Layout::fixed(&workload);
    let mut parameters = layout.read(archive, "")?;
    if !is_quantized(&workload) {
        let network = network(&layout, &workload)?;
        return Ok(Model { candidate, workload, layout, network, parameters, thresholds: vec![] });
    }
    let threshold = |layer: &sartor_space::Layer| {
        let key = format!("{}.weight_threshold", layer.name);
        Ok(archive.array(&key, &[layer.out_channels])?.into())
    };
    let thresholds = workload.layers.iter().map(threshold).collect::<Result<_>>()?;
    for slot in range_slots(&workload) {
        parameters.push(archive.array(&slot.name, &[1])?[0]);
    }
    let network = quantized_network(&layout, &workload, &thresholds)?;
    Ok(Model { candidate, workload, layout, network, parameters, thresholds })
}

fn slot_name(slot: crate::instantiate::RangeSlot) -> String {
    slot.name
}

fn scalar(name: impl Into<String>, value: f32) -> NamedArray {
    NamedArray::new(name, &[1], &[value])
}
