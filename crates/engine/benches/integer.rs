//! Integer convolutions: one JSON line per shape, in 10^9 multiply-adds a second on one thread. Run it once more with
//! `SARTOR_SIMD=avx2` or `scalar` to compare.

use std::time::Instant;

use sartor_engine::integer::{Dense, Depthwise, Geometry, Sink};

/// Seconds for a shape.
const SECONDS: f64 = 0.3;

/// Keeps the sums from being left out.
struct Last(i32);

impl Sink for Last {
    #[inline(always)]
    fn take(&mut self, sums: &[i32]) {
        self.0 ^= sums[sums.len() - 1];
    }
}

#[allow(clippy::print_stdout)]
fn main() {
    for (size, channels, output_channels, kernel, depthwise) in [
        (32, 3, 16, 3, false),
        (32, 16, 96, 1, false),
        (16, 96, 24, 1, false),
        (8, 64, 384, 1, false),
        (32, 96, 96, 3, true),
        (16, 144, 144, 5, true),
        (8, 240, 240, 7, true),
    ] {
        let (output_size, stride, padding) = (size, 1, kernel / 2);
        let shape = Geometry { size, channels, output_size, output_channels, kernel, stride, padding };
        let rate = multiply_adds(shape, depthwise) / seconds(shape, depthwise) / 1e9;
        println!(
            "{{\"op\": \"integer\", \"depthwise\": {depthwise}, \"size\": {size}, \"channels\": {channels}, \
             \"output_channels\": {output_channels}, \"kernel\": {kernel}, \"gmacs_per_second\": {rate:.1}, \
             \"simd\": \"{}\"}}",
            sartor_engine::simd::level().name()
        );
    }
}

fn multiply_adds(shape: Geometry, depthwise: bool) -> f64 {
    let inputs = if depthwise { 1 } else { shape.channels };
    (shape.size.pow(2) * shape.kernel.pow(2) * inputs * shape.output_channels) as f64
}

/// For one image.
fn seconds(shape: Geometry, depthwise: bool) -> f64 {
    let inputs = if depthwise { 1 } else { shape.channels };
    let weights = vec![3i8; shape.kernel.pow(2) * inputs * shape.output_channels];
    let values = vec![5i16; shape.input_len()];
    let mut last = Last(0);
    if depthwise {
        let layer = Depthwise::new(shape, &weights);
        fastest(|| layer.run(&values, &mut last))
    } else {
        let layer = Dense::new(shape, &weights);
        fastest(|| layer.run(&values, &mut last))
    }
}

/// The fastest of the repetitions: others use the machine, too.
fn fastest(mut work: impl FnMut()) -> f64 {
    let (start, mut best) = (Instant::now(), f64::INFINITY);
    while start.elapsed().as_secs_f64() < SECONDS {
        let begin = Instant::now();
        work();
        best = best.min(begin.elapsed().as_secs_f64());
    }
    std::hint::black_box(best)
}
