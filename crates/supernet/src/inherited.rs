//! # Inherited: how accurate a candidate is as the supernet leaves it
//!
//! Single Path One-Shot (Guo and others 2019, section 3.4): a candidate is scored by the supernet's own weights, its
//! batch-norm statistics recomputed on training images first. With bits, thresholds and ranges are calibrated before
//! (EMS, section 4) and the statistics are those under quantization. Nothing is trained. AMC (He and others 2018,
//! section 3.3) scores pruned networks so, too: without fine-tuning.

use sartor_space::{Candidate, SearchSpace};

use crate::data::Dataset;
use crate::error::Result;
use crate::evaluation::Accuracy;
use crate::finetune::FinetuneSettings;
use crate::quantized::{Calibration, Model};
use crate::supernet::Supernet;
use crate::work::Work;
use crate::workbench::{Part, Workbench};

/// Scores candidates with inherited weights on validation images.
pub struct InheritedScorer<'a> {
    space: &'a SearchSpace,
    supernet: &'a Supernet,
    calibration: Calibration,
    recalibration_images: usize,
    images: usize,
    workbench: Workbench<'a>,
}

impl<'a> InheritedScorer<'a> {
    /// A scorer that calibrates as `settings` say and scores on `images` validation images (all if there are
    /// fewer).
    ///
    /// # Errors
    /// Impossible settings, or a data set that does not fit the space.
    pub fn new(
        space: &'a SearchSpace,
        dataset: &'a Dataset,
        supernet: &'a Supernet,
        (settings, images): (&FinetuneSettings, usize),
        seed: u64,
    ) -> Result<Self> {
        settings.check()?;
        let (calibration, workbench) = (settings.calibration()?, Workbench::new(space, dataset, seed)?);
        let recalibration_images = settings.recalibration_images;
        Ok(Self { space, supernet, calibration, recalibration_images, images, workbench })
    }

    /// Validation accuracy of a candidate, with or without bits.
    ///
    /// # Errors
    /// A candidate outside the space.
    pub fn measure(&mut self, candidate: &Candidate) -> Result<Accuracy> {
        let mut model = Model::inherit(self.space, self.supernet, candidate)?;
        model.calibrate(&mut self.workbench, &self.calibration)?;
        let images = self.recalibration_images;
        let statistics = self.workbench.recalibrate(&model.network, &model.parameters, images)?;
        let part = (Part::Validation, self.images);
        self.workbench.accuracy_on_some(&model.network, &model.parameters, &statistics, part)
    }

    /// What measuring took so far.
    pub fn work(&self) -> Work {
        self.workbench.work
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures;

    #[test]
    fn scoring_trains_nothing_and_counts_its_images() {
        let (space, dataset) = (fixtures::space(), fixtures::dataset());
        let supernet = Supernet::new(&space, 1);
        let settings =
            FinetuneSettings { calibration_images: 4, recalibration_images: 4, ..Default::default() };
        let mut scorer = InheritedScorer::new(&space, &dataset, &supernet, (&settings, 5), 3).unwrap();
        let subnet = space.smallest();
        let policy = space.uniform_policy(&subnet, 8);
        let first = scorer.measure(&Candidate { subnet: subnet.clone(), policy }).unwrap();
        assert_eq!(first.images, 5);
        let work = scorer.work();
        assert_eq!((work.training_steps, work.inferred_images), (0, 4 + 4 + 4 + 5));
        scorer.measure(&Candidate { subnet, policy: None }).unwrap();
        assert_eq!(scorer.work().since(work).inferred_images, 4 + 5);
    }
}
