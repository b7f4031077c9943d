//! # Teacher: the frozen largest network
//!
//! Once-for-all, section 3.3: soft labels of the trained largest network guide every smaller one. The teacher runs
//! in inference with recalibrated statistics; the release runs it with the batch's own.

use sartor_engine::{Network, NormStatistics};
use sartor_space::{Candidate, SearchSpace};

use crate::error::Result;
use crate::instantiate::network;
use crate::parameters::Layout;
use crate::workbench::Workbench;

/// The largest network with frozen weights.
#[derive(Debug, Clone)]
pub(crate) struct Teacher {
    network: Network,
    parameters: Vec<f32>,
    statistics: Vec<NormStatistics>,
}

impl Teacher {
    /// Freezes the largest network as it is in `parameters`.
    pub fn new(
        space: &SearchSpace,
        layout: &Layout,
        parameters: Vec<f32>,
        workbench: &mut Workbench<'_>,
        recalibration_images: usize,
    ) -> Result<Self> {
        let largest = Candidate { subnet: space.largest(), policy: None };
        let network = network(layout, &space.lower(&largest))?;
        let statistics = workbench.recalibrate(&network, &parameters, recalibration_images)?;
        Ok(Self { network, parameters, statistics })
    }

    /// Any network, with its own statistics.
    pub fn of(network: Network, parameters: Vec<f32>, statistics: Vec<NormStatistics>) -> Self {
        Self { network, parameters, statistics }
    }

    /// The frozen numbers.
    pub fn parameters(&self) -> &[f32] {
        &self.parameters
    }

    /// Writes the logits of the workbench's training batch into `logits`.
    pub fn logits(&self, workbench: &mut Workbench<'_>, logits: &mut Vec<f32>) -> Result<()> {
        let (pixels, count) = (&workbench.batch.images, workbench.batch.labels.len());
        let executor = &mut workbench.executor;
        let answer = executor.infer(&self.network, &self.parameters, &self.statistics, pixels, count)?;
        logits.clear();
        logits.extend_from_slice(answer);
        Ok(())
    }
}
