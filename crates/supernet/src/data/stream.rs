//! # Batches ahead of time
//!
//! A thread that prepares training batches while the engine computes. What a batch holds depends on the seed and its
//! step only (the epoch's order and one random stream per batch), so the thread's pace changes nothing and a resumed
//! run asks for the steps it still needs. A bounded channel keeps the thread a few batches ahead, no more.

use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::Builder;

use super::{Augmentation, DataError, Images, Normalization, batch, epoch_order};
use crate::random::{Purpose, stream};

/// Batches that wait in the channel.
const AHEAD: usize = 3;

/// How images become training batches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchPlan {
    /// Images in a batch. What an epoch leaves over is not used (another epoch leaves others over), unless there are
    /// fewer images than that altogether: then a batch is all of them.
    pub batch: usize,
    /// Decides order and augmentation.
    pub seed: u64,
    /// Epochs of the training before this plan's first: no two epochs of a training have the same order.
    pub epochs_before: u64,
    /// Plans of the same seed that must not augment alike have different lanes.
    pub lane: u64,
    /// What may be changed about an image.
    pub augmentation: Option<Augmentation>,
    /// From pixels to numbers.
    pub normalization: Normalization,
}

impl BatchPlan {
    /// Number of batches in an epoch of this many images; at least 1.
    pub fn batches_per_epoch(&self, images: usize) -> u64 {
        (images / self.batch.max(1)).max(1) as u64
    }

    fn order(&self, images: usize, epoch: u64) -> Vec<u32> {
        epoch_order(images, self.seed, self.epochs_before + epoch)
    }

    fn check(&self, images: &Images) -> Result<(), DataError> {
        if self.batch == 0 {
            return Err(DataError::Setting { key: "batch", got: 0, expected: "at least 1 image".into() });
        }
        if images.is_empty() {
            return Err(DataError::Empty { what: "training images", path: "training split".into() });
        }
        self.augmentation.map_or(Ok(()), |augmentation| augmentation.check(images.size))
    }
}

/// One training batch.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Batch {
    /// Epoch, from 0.
    pub epoch: u64,
    /// Place in the epoch, from 0.
    pub index: u64,
    /// Normalised images, `[images, size, size, channels]`.
    pub images: Vec<f32>,
    /// Their classes.
    pub labels: Vec<usize>,
}

impl Batch {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// True when there is no image.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }
}

/// The batch of a step, counted from 0 through all epochs of the plan.
pub fn batch_at(images: &Images, plan: &BatchPlan, step: u64) -> Result<Batch, DataError> {
    plan.check(images)?;
    let mut batch = Batch::default();
    let order = plan.order(images.len(), step / plan.batches_per_epoch(images.len()));
    fill(images, plan, &order, step, &mut batch);
    Ok(batch)
}

/// Fills the batch of a step, given its epoch's order.
fn fill(images: &Images, plan: &BatchPlan, order: &[u32], step: u64, into: &mut Batch) {
    let batches = plan.batches_per_epoch(images.len());
    (into.epoch, into.index) = (step / batches, step % batches);
    let start = into.index as usize * plan.batch;
    let chosen = &order[start..order.len().min(start + plan.batch)];
    let mut rng = stream(plan.seed, Purpose::Augment, [plan.lane, into.epoch, into.index]);
    let augmentation = plan.augmentation.as_ref().map(|augmentation| (augmentation, &mut rng));
    batch(images, chosen, &plan.normalization, augmentation, &mut into.images, &mut into.labels);
}

/// Batches of a range of steps, in order, prepared on another thread. Ends after the last step.
#[derive(Debug)]
pub struct BatchStream {
    batches: Receiver<Batch>,
    used: Sender<Batch>,
}

impl BatchStream {
    /// Starts a thread that ends with the stream or with the last step.
    pub fn spawn(images: Arc<Images>, plan: BatchPlan, steps: Range<u64>) -> Result<Self, DataError> {
        plan.check(&images)?;
        let (this, ends) = Self::connect();
        let thread =
            Builder::new().name("batches".into()).spawn(move || produce(&images, &plan, steps, ends));
        thread.map_err(|source| DataError::Thread { source })?;
        Ok(this)
    }

    /// Gives a batch's memory back, to be filled again.
    pub fn recycle(&self, batch: Batch) {
        // The thread may have ended; then the memory is simply freed.
        let _ = self.used.send(batch);
    }

    fn connect() -> (Self, Ends) {
        let (ready, batches) = sync_channel(AHEAD);
        let (used, free) = channel();
        (Self { batches, used }, Ends { ready, free })
    }
}

impl Iterator for BatchStream {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        self.batches.recv().ok()
    }
}

/// Batches of one plan by step: a stream that starts anew wherever a step does not follow the one before.
#[derive(Debug)]
pub(crate) struct Ahead {
    images: Arc<Images>,
    plan: BatchPlan,
    steps: u64,
    next: u64,
    stream: Option<BatchStream>,
}

impl Ahead {
    /// For the steps below `steps`; starts no thread yet.
    pub fn new(images: Arc<Images>, plan: BatchPlan, steps: u64) -> Self {
        Self { images, plan, steps, next: 0, stream: None }
    }

    /// Puts the batch of a step into `into`, whose memory is used again.
    pub fn take(&mut self, step: u64, into: &mut Batch) -> Result<(), DataError> {
        let stream = match self.stream.take().filter(|_| self.next == step) {
            Some(stream) => stream,
            None => BatchStream::spawn(self.images.clone(), self.plan, step..self.steps.max(step + 1))?,
        };
        let stream = self.stream.insert(stream);
        let ready = stream.next().map_or_else(|| batch_at(&self.images, &self.plan, step), Ok)?;
        stream.recycle(std::mem::replace(into, ready));
        self.next = step + 1;
        Ok(())
    }
}

/// The thread's ends of the two channels.
struct Ends {
    ready: SyncSender<Batch>,
    free: Receiver<Batch>,
}

fn produce(images: &Images, plan: &BatchPlan, steps: Range<u64>, ends: Ends) {
    let batches = plan.batches_per_epoch(images.len());
    let mut order = (u64::MAX, Vec::new());
    for step in steps {
        let epoch = step / batches;
        if order.0 != epoch {
            order = (epoch, plan.order(images.len(), epoch));
        }
        let mut batch = ends.free.try_recv().unwrap_or_default();
        fill(images, plan, &order.1, step, &mut batch);
        if ends.ready.send(batch).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(count: u8) -> Images {
        let pixels = (0..count).flat_map(|pixel| [pixel, 255 - pixel, pixel, 7]).collect();
        Images { size: 2, channels: 1, pixels, labels: (0..u32::from(count)).collect() }
    }

    fn plan(batch: usize) -> BatchPlan {
        let normalization = Normalization { zero_point: 9, scale: 0.25 };
        let augmentation = Some(Augmentation { shift: 1, flip: true });
        BatchPlan { batch, seed: 4, epochs_before: 0, lane: 0, augmentation, normalization }
    }

    #[test]
    fn the_stream_gives_the_batches_of_their_steps_at_any_pace() {
        let images = images(23);
        for steps in [0..12, 5..12, 7..7] {
            let expected: Vec<Batch> =
                steps.clone().map(|step| batch_at(&images, &plan(5), step).unwrap()).collect();
            let mut stream = BatchStream::spawn(Arc::new(images.clone()), plan(5), steps.clone()).unwrap();
            for expected in &expected {
                std::thread::yield_now();
                let batch = stream.next().unwrap();
                assert_eq!(&batch, expected, "{steps:?}");
                stream.recycle(batch);
            }
            assert!(stream.next().is_none());
        }
    }

    #[test]
    fn steps_may_be_taken_in_any_order() {
        let images = Arc::new(images(23));
        let mut ahead = Ahead::new(images.clone(), plan(5), 12);
        let mut batch = Batch::default();
        for step in [3, 4, 5, 0, 1, 11, 11] {
            ahead.take(step, &mut batch).unwrap();
            assert_eq!(batch, batch_at(&images, &plan(5), step).unwrap(), "step {step}");
        }
    }

    #[test]
    fn epochs_and_lanes_of_a_training_differ() {
        let images = images(23);
        let labels = |plan: BatchPlan| batch_at(&images, &plan, 0).unwrap();
        let later = labels(BatchPlan { epochs_before: 3, ..plan(5) });
        assert_eq!(later.labels, batch_at(&images, &plan(5), 12).unwrap().labels);
        let other = labels(BatchPlan { lane: 1, ..plan(5) });
        assert!(other.labels == labels(plan(5)).labels && other.images != labels(plan(5)).images);
    }

    #[test]
    fn an_epoch_shows_every_image_at_most_once() {
        let images = images(23);
        assert_eq!(plan(5).batches_per_epoch(23), 4);
        let mut seen: Vec<usize> =
            (4..8).flat_map(|step| batch_at(&images, &plan(5), step).unwrap().labels).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 20);
        let third = batch_at(&images, &plan(5), 6).unwrap();
        assert_eq!((third.epoch, third.index, third.len()), (1, 2, 5));
    }

    #[test]
    fn few_images_make_one_short_batch() {
        let batch = batch_at(&images(3), &plan(8), 2).unwrap();
        assert_eq!((batch.epoch, batch.index, batch.len()), (2, 0, 3));
    }

    #[test]
    fn a_dropped_stream_ends_its_thread() {
        let images = Arc::new(images(9));
        let mut stream = BatchStream::spawn(images.clone(), plan(2), 0..u64::MAX).unwrap();
        assert!(stream.next().is_some());
        drop(stream);
        let ended = (0..2000).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(1));
            Arc::strong_count(&images) == 1
        });
        assert!(ended);
    }

    #[test]
    fn impossible_plans_are_refused() {
        assert!(matches!(batch_at(&images(3), &plan(0), 0), Err(DataError::Setting { key: "batch", .. })));
        assert!(matches!(batch_at(&Images::default(), &plan(1), 0), Err(DataError::Empty { .. })));
        let far = BatchPlan { augmentation: Some(Augmentation { shift: 2, flip: false }), ..plan(1) };
        assert!(matches!(batch_at(&images(3), &far, 0), Err(DataError::Setting { key: "shift", .. })));
    }
}
