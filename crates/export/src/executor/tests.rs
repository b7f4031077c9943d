use proptest::prelude::*;
use sartor_space::LayerKind;

use super::*;
use crate::graph::{Classifier, Tensor, Weights};
use crate::samples;

fn weights(values: &[i8], scales: &[f32], bias: &[i32]) -> Weights {
    let (values, scales, bias) = (values.to_vec(), scales.to_vec(), bias.to_vec());
    Weights { bits: 8, values, thresholds: scales.clone(), scales, bias_shift: 0, bias }
}

fn tensor(size: usize, channels: usize, quantizer: Quantizer) -> Tensor {
    Tensor { name: format!("{size}x{channels}"), size, channels, quantizer }
}

/// 2×2 image, one 3×3 convolution to two channels, pool, two classes.
fn by_hand() -> QuantizedNetwork {
    let convolution = Convolution {
        name: "stem".into(),
        kind: LayerKind::Dense,
        kernel: 3,
        stride: 1,
        padding: 1,
        weights: weights(&[[1i8, 0]; 9].concat(), &[0.5, 1.0], &[2, 7]),
        input: 0,
        output: 1,
    };
    let unit = Quantizer { scale: 1.0, ..Quantizer::unsigned(8, 255.0) };
    QuantizedNetwork {
        tensors: vec![tensor(2, 1, Quantizer::image(10, 1.0)), tensor(2, 2, unit), tensor(1, 2, unit)],
        operations: vec![
            Operation::Convolution(convolution),
            Operation::Pool { name: "pool".into(), input: 1, output: 2 },
        ],
        classifier: Classifier {
            name: "classifier".into(),
            weights: weights(&[1, -1, 2, 3], &[0.25, 0.5], &[0, 100]),
            input: 2,
        },
    }
}

#[test]
fn a_network_by_hand() {
    let network = by_hand();
    let executor = Executor::new(&network, Style::FloatTiesToEven);
    let trace = executor.trace(&[11, 12, 13, 21]);
    assert_eq!(trace[0], [1, 2, 3, 11]);
    assert_eq!(trace[1], [10, 7, 10, 7, 10, 7, 10, 7], "(1+2+3+11+2) / 2 = 9.5, a tie, to even; 7 stays");
    assert_eq!(trace[2], [10, 7]);
    let outputs = executor.run(&[11, 12, 13, 21]).unwrap();
    assert_eq!((&outputs.sums[..], &outputs.logits[..]), (&[24, 111][..], &[6.0, 55.5][..]));
    assert_eq!(outputs.top1(), [1]);
    assert_eq!(outputs.int8_logits(&Quantizer::signed(8, 127.0)), [6, 56]);
}

#[test]
fn negative_sums_are_cut_by_the_clamp_and_padding_is_real_zero() {
    let network = by_hand();
    let trace = Executor::new(&network, Style::FloatTiesToEven).trace(&[0, 0, 0, 0]);
    assert_eq!(trace[1][0], 0, "4 × −10 + 2 < 0");
}

#[test]
fn partial_images_are_refused() {
    let network = by_hand();
    let error = Executor::new(&network, Style::default()).run(&[0; 5]).unwrap_err();
    assert_eq!(error.to_string(), "bytes of pixels: got 5, expected 8");
}

#[test]
fn the_first_of_equal_logits_wins() {
    for (values, expected) in [(&[1.0, 3.0, 3.0][..], 1), (&[0.0], 0), (&[-2.0, -1.0, -1.5], 1)] {
        assert_eq!(arg_max(values), expected);
    }
}

/// The same graph in real numbers, one value at a time, nothing shared with the executor's code.
mod simulation {
    use super::*;

    fn quantize(real: f64, quantizer: &Quantizer) -> f64 {
        let scale = f64::from(quantizer.scale);
        (real / scale).round_ties_even().clamp(quantizer.low.into(), quantizer.high.into()) * scale
    }

    fn convolution(layer: &Convolution, input: &Tensor, output: &Tensor, values: &[f64]) -> Vec<f64> {
        let at = |y: isize, x: isize, channel: usize| {
            let inside = (0..input.size as isize).contains(&y) && (0..input.size as isize).contains(&x);
            if inside {
                values[(y as usize * input.size + x as usize) * input.channels + channel]
            } else {
                0.0
            }
        };
        let (width, depthwise) = (output.channels, layer.kind == LayerKind::Depthwise);
        let mut result = vec![];
        for (y, x) in (0..output.size).flat_map(|y| (0..output.size).map(move |x| (y, x))) {
            for o in 0..width {
                let step = f64::from(layer.weights.scales[o]);
                let fine = f64::from(input.quantizer.scale) * step / f64::from(1 << layer.weights.bias_shift);
                let mut sum = f64::from(layer.weights.bias[o]) * fine;
                for tap in 0..layer.kernel * layer.kernel {
                    let row = (y * layer.stride + tap / layer.kernel) as isize - layer.padding as isize;
                    let column = (x * layer.stride + tap % layer.kernel) as isize - layer.padding as isize;
                    let inputs = if depthwise { o..o + 1 } else { 0..input.channels };
                    for i in inputs {
                        let row_of = if depthwise { tap } else { tap * input.channels + i };
                        sum +=
                            at(row, column, i) * f64::from(layer.weights.values[row_of * width + o]) * step;
                    }
                }
                result.push(quantize(sum, &output.quantizer));
            }
        }
        result
    }

    fn pool(values: &[f64], input: &Tensor, output: &Tensor) -> Vec<f64> {
        let pixels = (input.size * input.size) as f64;
        let mean = |channel: usize| values.iter().skip(channel).step_by(input.channels).sum::<f64>() / pixels;
        (0..input.channels).map(|channel| quantize(mean(channel), &output.quantizer)).collect()
    }

    /// Each operation is fed the executor's own inputs, so a tie cannot spread; gives the executor's trace in reals
    /// beside what each operation should have given.
    pub fn largest_step_difference(network: &QuantizedNetwork, trace: &Trace) -> f64 {
        let real = |tensor: TensorId| -> Vec<f64> {
            let scale = f64::from(network.tensors[tensor].quantizer.scale);
            trace[tensor].iter().map(|&value| f64::from(value) * scale).collect()
        };
        let mut worst = 0f64;
        for operation in &network.operations {
            let (output, expected) = match operation {
                Operation::Convolution(layer) => {
                    let (input, output) = (&network.tensors[layer.input], &network.tensors[layer.output]);
                    (layer.output, convolution(layer, input, output, &real(layer.input)))
                }
                Operation::Requantize { input, output, .. } => {
                    let quantizer = &network.tensors[*output].quantizer;
                    (*output, real(*input).into_iter().map(|value| quantize(value, quantizer)).collect())
                }
                Operation::Add { left, right, output, .. } => {
                    let sums = real(*left).into_iter().zip(real(*right)).map(|(a, b)| a + b);
                    (*output, sums.map(|sum| quantize(sum, &network.tensors[*output].quantizer)).collect())
                }
                // Checked against the float interpreter of imported networks, which have them.
                Operation::MaxPool { output, .. } => (*output, real(*output)),
                Operation::Pool { input, output, .. } => {
                    (*output, pool(&real(*input), &network.tensors[*input], &network.tensors[*output]))
                }
            };
            let scale = f64::from(network.tensors[output].quantizer.scale);
            let differences = real(output).into_iter().zip(expected).map(|(a, b)| ((a - b) / scale).abs());
            worst = differences.fold(worst, f64::max);
        }
        worst
    }
}

/// A tie that float32 sees and float64 does not, or the other way round, is one step.
const ONE_STEP: f64 = 1.0 + 1e-6;

#[test]
fn every_operation_agrees_with_real_arithmetic() {
    for seed in 0..6 {
        let workload = samples::workload(seed);
        let network = QuantizedNetwork::build(&samples::model(&workload, seed), &workload).unwrap();
        let pixels = samples::pixels(&workload, 1, seed);
        for style in [Style::FloatTiesToEven, Style::FixedPoint, Style::FixedOnce] {
            let trace = Executor::new(&network, style).trace(&pixels);
            let worst = simulation::largest_step_difference(&network, &trace);
            assert!(worst < ONE_STEP, "seed {seed}, {style:?}: {worst} steps");
        }
    }
}

#[test]
fn tensors_of_random_networks_use_their_levels() {
    let workload = samples::uniform_workload(4);
    let network = QuantizedNetwork::build(&samples::model(&workload, 1), &workload).unwrap();
    let trace = Executor::new(&network, Style::default()).trace(&samples::pixels(&workload, 1, 1));
    for (tensor, values) in network.tensors.iter().zip(&trace) {
        let mut levels = values.clone();
        levels.sort_unstable();
        levels.dedup();
        assert!(levels.len() > 3, "{} has the levels {levels:?}", tensor.name);
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let workload = samples::workload(3);
    let network = QuantizedNetwork::build(&samples::model(&workload, 3), &workload).unwrap();
    let pixels = samples::pixels(&workload, 9, 3);
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| Executor::new(&network, Style::default()).run(&pixels).unwrap())
    };
    assert_eq!(run(1), run(4));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn no_value_leaves_its_range(seed in any::<u64>(), fixed in any::<bool>()) {
        let workload = samples::workload(seed);
        let network = QuantizedNetwork::build(&samples::model(&workload, seed), &workload).unwrap();
        let style = if fixed { Style::FixedPoint } else { Style::FloatTiesToEven };
        let trace = Executor::new(&network, style).trace(&samples::pixels(&workload, 1, seed));
        for (tensor, values) in network.tensors.iter().zip(&trace) {
            let Quantizer { low, high, zero_point, .. } = tensor.quantizer;
            let inside = |&value: &i16| (low..=high).contains(&(i32::from(value) + zero_point));
            prop_assert!(values.iter().all(inside), "{}", tensor.name);
        }
    }
}

/// 80 channels of 255 × 127 pass 2^24 in a 3×3 convolution, so the sums run on integers; both ways must be exact.
#[test]
fn sums_beyond_exact_floats_are_exact() {
    let rows = 9 * 80;
    let layer = |weight: i8| Convolution {
        name: "wide".into(),
        kind: LayerKind::Dense,
        kernel: 3,
        stride: 1,
        padding: 1,
        weights: weights(&vec![weight; rows], &[1e-5], &[-1]),
        input: 0,
        output: 1,
    };
    let unit = Quantizer { scale: 1.0, ..Quantizer::unsigned(8, 255.0) };
    let tensors = [tensor(3, 80, Quantizer::image(0, 1.0)), tensor(3, 1, unit)];
    for weight in [1, 127] {
        let layer = layer(weight);
        let result = Prepared::new(&layer, &tensors, Style::default()).run(&vec![255; tensors[0].len()]);
        let centre = (rows * 255 * weight as usize - 1) as f32 * 1e-5;
        assert_eq!(i32::from(result[4]), centre.round_ties_even().min(255.0) as i32, "weight {weight}");
    }
}
