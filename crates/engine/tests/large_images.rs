//! The largest network of a space for 224×224 images trains at batch 8 within its memory.

mod support;

use sartor_engine::memory::training_bytes;
use sartor_engine::{Activation, Convolution, Executor};
use support::{Builder, Noise};

const BATCH: usize = 8;
/// Activations, gradients, packed weights and scratch.
const MOST_BYTES: usize = 3 << 30;
/// (channels, stride of the first block, blocks) of each stage; all kernels 7, all widths 6.
const STAGES: [(usize, usize, usize); 6] =
    [(24, 2, 4), (40, 2, 4), (80, 2, 4), (96, 1, 4), (192, 2, 4), (320, 1, 1)];

fn largest() -> Builder {
    let mut builder = Builder::new(224, 3);
    builder.stem(32, 3, 2);
    builder.layer(Convolution::Depthwise { kernel: 3, stride: 1 }, 32, Activation::Relu6);
    builder.layer(Convolution::Pointwise, 16, Activation::Linear);
    let mut channels = 16;
    for (out, stride, blocks) in STAGES {
        for block in 0..blocks {
            builder.block(6 * channels, out, 7, if block == 0 { stride } else { 1 });
            channels = out;
        }
    }
    builder.layer(Convolution::Pointwise, 1280, Activation::Relu6);
    builder.head(1000);
    builder
}

#[test]
fn the_largest_network_trains_within_three_gigabytes() {
    let builder = largest();
    let (network, parameters) = (&builder.network, &builder.parameters);
    let mut executor = Executor::new();
    let logits = executor.forward_train(network, parameters, &builder.images(BATCH), BATCH).unwrap().len();
    let mut gradients = vec![0.0; parameters.len()];
    executor.backward(network, parameters, &Noise(5).fill(logits), &mut gradients).unwrap();
    assert!(gradients.iter().all(|g| g.is_finite()) && gradients.iter().any(|&g| g != 0.0));
    let bytes = executor.memory() + 3 * size_of_val(&parameters[..]);
    let foreseen = training_bytes(network, BATCH, rayon::current_num_threads());
    assert_eq!(foreseen, executor.memory());
    assert!(bytes <= MOST_BYTES, "{} MB", bytes >> 20);
}
