//! The number of threads changes no bit of a result.

mod support;

use sartor_engine::Executor;
use support::{Noise, zoo};

/// Bits of logits, gradients, statistics and inference.
fn bits(threads: usize) -> Vec<Vec<u32>> {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let mut results = vec![];
    let mut keep = |values: &[f32]| results.push(values.iter().map(|v| v.to_bits()).collect::<Vec<u32>>());
    pool.install(|| {
        for (_, mut builder, batch) in zoo() {
            builder.quantize(6, 8);
            let (network, parameters, images) =
                (&builder.network, &builder.parameters, builder.images(batch));
            let mut executor = Executor::new();
            let logits = executor.forward_train(network, parameters, &images, batch).unwrap().to_vec();
            keep(&logits);
            let mut gradients = vec![0.0; parameters.len()];
            let upstream = Noise(9).fill(logits.len());
            executor.backward(network, parameters, &upstream, &mut gradients).unwrap();
            keep(&gradients);
            let batches = [(&images[..], batch); 2];
            let statistics = executor.recalibrate(network, parameters, batches.into_iter()).unwrap();
            statistics.iter().for_each(|entry| keep(&entry.variance));
            keep(executor.infer(network, parameters, &statistics, &images, batch).unwrap());
        }
    });
    results
}

#[test]
fn one_two_and_five_threads_agree_to_the_bit() {
    let one = bits(1);
    assert!(one == bits(2), "two threads differ");
    assert!(one == bits(5), "five threads differ");
}
