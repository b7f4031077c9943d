//! Images a second that the largest network of a space trains on, with batches from three places.
//!
//! `cargo bench -p sartor-supernet --bench pipeline -- [--space NAME] [--steps N]` prints one JSON line: the same batch every
//! step (the engine alone), batches made in line, batches made ahead on a thread, and making batches alone. The first
//! three take turns, so that other work on the machine slows them alike.
#![allow(clippy::print_stdout)]

use std::sync::Arc;
use std::time::Instant;

use sartor_engine::losses::cross_entropy;
use sartor_engine::{Executor, Network};
use sartor_space::{Candidate, SearchSpace};
use sartor_supernet::Supernet;
use sartor_supernet::data::{Augmentation, Batch, BatchPlan, BatchStream, Images, Normalization, batch_at};
use sartor_supernet::instantiate::network;

const BATCH: usize = 64;
/// Steps between turns, long enough that batches prepared in advance do not count.
const BLOCK: u64 = 20;
/// Images of the made-up data set.
const IMAGES: usize = 5000;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().collect();
    let after =
        |flag: &str| arguments.iter().position(|a| a == flag).and_then(|i| arguments.get(i + 1).cloned());
    let name = after("--space").unwrap_or_else(|| "quickstart".into());
    let steps = after("--steps").and_then(|steps| steps.parse().ok()).unwrap_or(60);
    let space = SearchSpace::preset(&name)?;
    let candidate = Candidate { subnet: space.largest(), policy: None };
    let supernet = Supernet::new(&space, 1);
    let network = network(supernet.layout(), &space.lower(&candidate))?;
    let mut training =
        Training { network, numbers: supernet.parameters().to_vec(), executor: Executor::new() };
    println!("{}", measure(&mut training, &name, steps)?);
    Ok(())
}

/// One network that is stepped through, its weights left as they are.
struct Training {
    network: Network,
    numbers: Vec<f32>,
    executor: Executor,
}

impl Training {
    fn step(&mut self, batch: &Batch) -> Result<(), Failure> {
        let Self { network, numbers, executor } = self;
        let logits = executor.forward_train(network, numbers, &batch.images, batch.len())?.to_vec();
        let (mut upstream, mut gradients) = (vec![0.0; logits.len()], vec![0.0; numbers.len()]);
        cross_entropy(&logits, &batch.labels, 0.1, 1.0, &mut upstream)?;
        executor.backward(network, numbers, &upstream, &mut gradients)?;
        Ok(())
    }
}

fn measure(training: &mut Training, space: &str, steps: u64) -> Result<String, Failure> {
    let images = Arc::new(made_up(&training.network));
    let normalization = Normalization { zero_point: 0, scale: 1.0 / 64.0 };
    let augmentation = Some(Augmentation { shift: 2, flip: true });
    let plan = BatchPlan { batch: BATCH, seed: 1, epochs_before: 0, lane: 0, augmentation, normalization };
    let same = batch_at(&images, &plan, 0)?;
    training.step(&same)?;
    let mut seconds = [0.0; 4];
    for first in (0..steps).step_by(BLOCK as usize) {
        let block = first..steps.min(first + BLOCK);
        seconds[0] += timed(|| block.clone().try_for_each(|_| training.step(&same)))?;
        seconds[1] +=
            timed(|| block.clone().try_for_each(|step| training.step(&batch_at(&images, &plan, step)?)))?;
        seconds[2] += timed(|| {
            let mut ahead = BatchStream::spawn(images.clone(), plan, block.clone())?;
            while let Some(batch) = ahead.next() {
                training.step(&batch)?;
                ahead.recycle(batch);
            }
            Ok(())
        })?;
        seconds[3] += timed(|| {
            for step in block.clone() {
                std::hint::black_box(batch_at(&images, &plan, step)?);
            }
            Ok(())
        })?;
    }
    let [same, in_line, ahead, alone] = seconds.map(|seconds| (steps as usize * BATCH) as f64 / seconds);
    Ok(format!(
        "{{\"name\":\"pipeline\",\"space\":\"{space}\",\"same_batch\":{same:.0},\"in_line\":{in_line:.0},\"ahead\":{ahead:.0},\
         \"batches_alone\":{alone:.0},\"ahead_share\":{:.3},\"in_line_share\":{:.3}}}",
        ahead / same,
        in_line / same
    ))
}

fn made_up(network: &Network) -> Images {
    let pixels = (0..IMAGES * network.image_length()).map(|index| (index * 31 % 251) as u8).collect();
    let labels = (0..IMAGES as u32).map(|index| index % network.head.classes as u32).collect();
    Images { size: network.image_size, channels: network.image_channels, pixels, labels }
}

fn timed(work: impl FnOnce() -> Result<(), Failure>) -> Result<f64, Failure> {
    let started = Instant::now();
    work()?;
    Ok(started.elapsed().as_secs_f64())
}
