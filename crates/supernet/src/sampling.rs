//! # Sampling: which pairs of candidate and accuracy to measure, and measuring them
//!
//! APQ/EMS, section 4: the full-precision predictor learns from many subnets with inherited weights; the
//! mixed-precision predictor from fewer candidates that are calibrated and briefly fine-tuned. The release measures
//! 5,000 mixed-precision pairs: 2,500 with a random architecture and a random policy each, and 250 architectures
//! with 10 policies each; other numbers of pairs keep this half-and-half split.
//!
//! Differs from the release in the policies' distribution: with 32 independent draws almost every policy has some
//! layer at the narrowest width, and the predictor never sees the good networks that the search must tell apart. So
//! each policy first draws a floor among the space's widths and then its widths uniformly from the floor up.
//!
//! A pair depends on (seed, index) alone and leaves the supernet untouched, so pairs can be measured in any order,
//! by any number of processes.

use std::sync::Arc;

use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use sartor_space::{Candidate, SearchSpace};

use crate::data::Dataset;
use crate::error::{Result, SupernetError};
use crate::evaluation::Accuracy;
use crate::finetune::{FinetuneSettings, Tuning};
use crate::instantiate::network;
use crate::quantized::Model;
use crate::random::{Purpose, stream};
use crate::supernet::Supernet;
use crate::teacher::Teacher;
use crate::work::Work;
use crate::workbench::{Part, Workbench};

/// Which mixed-precision candidates to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MixedPlan {
    /// All mixed-precision pairs.
    pub pairs: usize,
    /// Policies on each architecture of the second half.
    pub policies_per_architecture: usize,
}

/// The full-precision candidate of an index: a random subnet.
pub fn full_precision_candidate(space: &SearchSpace, seed: u64, index: usize) -> Candidate {
    let mut rng = stream(seed, Purpose::FullPrecisionPair, [index as u64, 0, 0]);
    Candidate { subnet: space.random_subnet(&mut rng), policy: None }
}

impl MixedPlan {
    /// The candidate of an index: even indices have architectures of their own, odd ones share them in groups.
    ///
    /// # Errors
    /// A space without bit-widths.
    pub fn candidate(&self, space: &SearchSpace, seed: u64, index: usize) -> Result<Candidate> {
        if space.bits().is_none() {
            return Err(SupernetError::NoPolicy);
        }
        let (nth, group) = (index / 2, self.policies_per_architecture.max(1));
        let (architecture, first) = match index.is_multiple_of(2) {
            true => ([nth as u64, 0, 0], true),
            false => ([(nth / group) as u64, 1, 0], nth.is_multiple_of(group)),
        };
        let subnet = space.random_subnet(&mut stream(seed, Purpose::MixedPair, architecture));
        let mut rng = stream(seed, Purpose::Policy, [index as u64, 0, 0]);
        let floor = random_floor(space, first, &mut rng);
        let policy = Some(space.random_policy_from(&subnet, floor, &mut rng));
        Ok(Candidate { subnet, policy })
    }
}

/// One of the space's widths: no bit-width of the pair's policy is narrower. The widest leaves a single policy, so
/// only the `first` candidate of an architecture may draw it: no pair is measured twice.
fn random_floor(space: &SearchSpace, first: bool, rng: &mut ChaCha8Rng) -> u8 {
    let mut widths: Vec<u8> = space
        .bits()
        .map_or(&[][..], |bits| bits.slots())
        .iter()
        .flat_map(|slot| slot.choices.clone())
        .collect();
    widths.sort_unstable();
    widths.dedup();
    if !first && widths.len() > 1 {
        widths.pop();
    }
    widths.choose(rng).copied().unwrap_or(0)
}

/// Measures candidates with a supernet's weights on the validation split.
pub struct Sampler<'a> {
    space: &'a SearchSpace,
    supernet: &'a Supernet,
    settings: FinetuneSettings,
    seed: u64,
    workbench: Workbench<'a>,
    teacher: Option<Arc<Teacher>>,
}

impl<'a> Sampler<'a> {
    /// A sampler; `settings` says how a mixed-precision candidate is fine-tuned before it is measured, and on how
    /// many images statistics are recomputed.
    pub fn new(
        space: &'a SearchSpace,
        dataset: &'a Dataset,
        supernet: &'a Supernet,
        settings: FinetuneSettings,
        seed: u64,
    ) -> Result<Self> {
        settings.check()?;
        let workbench = Workbench::new(space, dataset, seed)?;
        Ok(Self { space, supernet, settings, seed, workbench, teacher: None })
    }

    /// What measuring took so far.
    pub fn work(&self) -> Work {
        self.workbench.work
    }

    /// Accuracy of a candidate without policy: inherited weights, recalibrated statistics, no training.
    pub fn measure_full_precision(&mut self, candidate: &Candidate) -> Result<Accuracy> {
        self.space.contains(candidate)?;
        let plain = Candidate { subnet: candidate.subnet.clone(), policy: None };
        let network = network(self.supernet.layout(), &self.space.lower(&plain))?;
        let (values, images) = (self.supernet.parameters(), self.settings.recalibration_images);
        let statistics = self.workbench.recalibrate(&network, values, images)?;
        self.workbench.accuracy(&network, values, &statistics, Part::Validation)
    }

    /// Makes ready what every candidate is measured with (the teacher's statistics), and says what that took. Done by the first
    /// measurement otherwise; whoever notes the work of each must not let it depend on which came first.
    ///
    /// # Errors
    /// Whatever making the teacher fails with.
    pub fn prepare(&mut self) -> Result<Work> {
        let before = self.work();
        self.teacher()?;
        Ok(self.work().since(before))
    }

    /// Accuracy of a candidate with a policy: calibrated, briefly fine-tuned, statistics under quantization.
    ///
    /// `index` selects the random numbers of the fine-tuning.
    pub fn measure_mixed(&mut self, candidate: &Candidate, index: usize) -> Result<Accuracy> {
        if candidate.policy.is_none() {
            return Err(SupernetError::NoPolicy);
        }
        let teacher = self.teacher()?;
        let model = Model::inherit(self.space, self.supernet, candidate)?;
        let seed = self.seed.wrapping_add(index as u64);
        let mut tuning = Tuning::new(model, self.settings.clone(), seed, &mut self.workbench)?;
        while !tuning.is_done() {
            tuning.step(&mut self.workbench, teacher.as_deref())?;
        }
        let model = tuning.finish(&mut self.workbench)?;
        model.accuracy_on(&mut self.workbench, Part::Validation)
    }

    fn teacher(&mut self) -> Result<Option<Arc<Teacher>>> {
        if self.teacher.is_none() {
            self.teacher = self.settings.teacher(self.space, self.supernet, &mut self.workbench)?;
        }
        Ok(self.teacher.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn half_the_pairs_share_architectures() {
        let space = SearchSpace::preset("apq").unwrap();
        let plan = MixedPlan { pairs: 200, policies_per_architecture: 10 };
        let candidates: Vec<_> =
            (0..plan.pairs).map(|index| plan.candidate(&space, 3, index).unwrap()).collect();
        let distinct = |odd: usize| {
            let subnets = candidates.iter().skip(odd).step_by(2).map(|candidate| &candidate.subnet);
            subnets.collect::<BTreeSet<_>>().len()
        };
        assert_eq!((distinct(0), distinct(1)), (100, 10));
        assert_eq!(candidates.iter().collect::<BTreeSet<_>>().len(), 200);
    }

    #[test]
    fn candidates_depend_on_seed_and_index_alone() {
        let space = SearchSpace::preset("quickstart").unwrap();
        let plan = MixedPlan { pairs: 10, policies_per_architecture: 2 };
        let at = |seed, index| plan.candidate(&space, seed, index).unwrap();
        assert_eq!(at(1, 4), at(1, 4));
        assert_ne!(at(1, 4), at(2, 4));
        assert_ne!(full_precision_candidate(&space, 1, 0), full_precision_candidate(&space, 1, 1));
        (0..10).for_each(|index| space.contains(&at(1, index)).unwrap());
    }
}
