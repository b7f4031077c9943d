//! Batches of a search: the training images in two parts, one for the weights and one held out for the controller.
//! The validation split stays unseen, so that the found network can be judged by it.

use rand::seq::SliceRandom;

use crate::data::{self, Augmentation, Dataset, epoch_order};
use crate::error::{Result, SupernetError};
use crate::random::{Purpose, stream};
use crate::workbench::{Part, Workbench};

use super::bilevel::Side;

/// One part of the training images.
#[derive(Debug, Clone)]
struct Half {
    images: Vec<u32>,
    batch: usize,
    order: Vec<u32>,
    epoch: Option<usize>,
}

impl Half {
    fn new(images: &[u32], batch: usize) -> Self {
        Self { images: images.to_vec(), batch: batch.min(images.len()), order: vec![], epoch: None }
    }

    /// Batches in one pass.
    fn batches(&self) -> usize {
        (self.images.len() / self.batch).max(1)
    }
}

/// Batches by number: the same number always gives the same images.
#[derive(Debug, Clone)]
pub(super) struct Feed {
    training: Half,
    held_out: Half,
    seed: u64,
    augmentation: Augmentation,
}

impl Feed {
    /// Splits the training images; `share` of them are held out. The batches are those of weights and controller.
    pub(super) fn new(
        dataset: &Dataset,
        (batch, controller_batch, augmentation): (usize, usize, Augmentation),
        share: f64,
        seed: u64,
    ) -> Result<Self> {
        let mut images: Vec<u32> = (0..dataset.train.len() as u32).collect();
        images.shuffle(&mut stream(seed, Purpose::Controller, [u64::MAX, 0, 0]));
        let held = ((images.len() as f64 * share).round() as usize).clamp(1, images.len().max(2) - 1);
        if images.len() < 2 {
            return Err(SupernetError::EmptySplit { split: Part::Train.name() });
        }
        let (held_out, training) = images.split_at(held);
        let (training, held_out) = (Half::new(training, batch), Half::new(held_out, controller_batch));
        Ok(Self { training, held_out, seed, augmentation })
    }

    /// Batches of weights' images in one pass over them.
    pub(super) fn steps_per_epoch(&self) -> usize {
        self.training.batches()
    }

    /// Loads batch number `step` of a side into the workbench; returns how many images it has.
    pub(super) fn load(&mut self, workbench: &mut Workbench<'_>, side: Side, step: usize) -> usize {
        let (half, salt) = match side {
            Side::Training => (&mut self.training, 0),
            Side::HeldOut => (&mut self.held_out, 1),
        };
        let batch = half.batch;
        let (epoch, index) = (step / half.batches(), step % half.batches());
        if half.epoch != Some(epoch) {
            let order = epoch_order(half.images.len(), self.seed.wrapping_add(salt), epoch as u64);
            half.order = order.iter().map(|&place| half.images[place as usize]).collect();
            half.epoch = Some(epoch);
        }
        let mut rng = stream(self.seed, Purpose::Controller, [2 + salt, step as u64, 0]);
        let indices = &half.order[index * batch..][..batch];
        let augment = Some((&self.augmentation, &mut rng));
        let Workbench { dataset, batch: into, .. } = workbench;
        let normalization = &dataset.normalization;
        data::batch(&dataset.train, indices, normalization, augment, &mut into.images, &mut into.labels);
        batch
    }
}
