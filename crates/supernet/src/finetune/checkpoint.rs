//! # Fine-tuning checkpoints
//!
//! Weights, ranges, velocity, thresholds and the step. The teacher is made again from the supernet.

use super::{FinetuneSettings, Finetuner, Tuning};
use crate::Supernet;
use crate::archive::{Archive, NamedArray};
use crate::data::Dataset;
use crate::error::Result;
use crate::instantiate::quantized_network;
use crate::quantized::Model;
use crate::supernet::{check_identity, identity};
use sartor_space::{Candidate, SearchSpace};

const WHAT: &str = "fine-tuning checkpoint";
const PARAMETERS: &str = "parameters";
const VELOCITY: &str = "velocity";

impl<'a> Finetuner<'a> {
    /// Everything needed to go on later.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut metadata = identity(self.space);
        metadata.extend(self.run());
        metadata.insert("step".into(), self.tuning.step.to_string());
        let Tuning { model, velocity, .. } = &self.tuning;
        let length = [velocity.len()];
        let mut arrays = vec![
            NamedArray::new(PARAMETERS, &length, &model.parameters),
            NamedArray::new(VELOCITY, &length, velocity),
        ];
        for (index, thresholds) in model.thresholds.iter().enumerate() {
            arrays.push(NamedArray::new(threshold_key(index), &[thresholds.len()], thresholds));
        }
        Archive { metadata, arrays }.to_bytes()
    }

    /// A fine-tuning that goes on where [`to_bytes`](Self::to_bytes) was called.
    ///
    /// # Errors
    /// A damaged checkpoint, or one of another space, data set, candidate, seed or settings; each names the key.
    pub fn from_bytes(
        bytes: &[u8],
        space: &'a SearchSpace,
        dataset: &'a Dataset,
        supernet: &Supernet,
        candidate: &Candidate,
        settings: FinetuneSettings,
        seed: u64,
    ) -> Result<Self> {
        let archive = Archive::from_bytes(bytes, WHAT)?;
        check_identity(&archive, space)?;
        let mut finetuner = Self::new(space, dataset, supernet, candidate, settings, seed)?;
        finetuner.run().iter().try_for_each(|(key, text)| archive.expect(key, text))?;
        finetuner.tuning.restore(&archive)?;
        Ok(finetuner)
    }

    fn run(&self) -> Vec<(String, String)> {
        vec![
            ("dataset_hash".into(), self.workbench.dataset.hash.clone()),
            ("seed".into(), self.tuning.seed.to_string()),
            ("settings".into(), serde_json::json!(self.tuning.settings).to_string()),
            ("candidate".into(), self.tuning.model.candidate.to_json(self.space)),
        ]
    }
}

impl Tuning {
    fn restore(&mut self, archive: &Archive) -> Result<()> {
        let length = [self.velocity.len()];
        self.step = archive.number("step")? as usize;
        self.velocity = archive.array(VELOCITY, &length)?.to_vec();
        let Model { thresholds, parameters, network, layout, workload, .. } = &mut self.model;
        *parameters = archive.array(PARAMETERS, &length)?.to_vec();
        for (index, thresholds) in thresholds.iter_mut().enumerate() {
            *thresholds = archive.array(&threshold_key(index), &[thresholds.len()])?.into();
        }
        if !thresholds.is_empty() {
            *network = quantized_network(layout, workload, thresholds)?;
        }
        Ok(())
    }
}

fn threshold_key(layer: usize) -> String {
    format!("threshold{layer}")
}
