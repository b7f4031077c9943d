use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::fixtures::{self, Nodes};
use crate::{Executor, Style, TrainedModel};

/// Sums run in another order and norms are folded in other steps.
const FLOAT_TOLERANCE: f32 = 1e-4;
/// Of logits whose last layer but one has weights of 8 significant bits.
const SHORT_FLOAT_TOLERANCE: f32 = 0.1;

const IMAGE: Shape = Shape { size: 12, channels: 2 };

fn read(nodes: Nodes) -> Result<ImportedNetwork> {
    ImportedNetwork::from_onnx(&nodes.bytes(), IMAGE)
}

fn pixels(images: usize, seed: u64) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..images * IMAGE.len()).map(|_| rng.random()).collect()
}

/// At `bits` everywhere, with thresholds and ranges that just hold everything.
fn quantized(network: &ImportedNetwork, bits: u8, pixels: &[u8]) -> QuantizedNetworkWithLogits {
    let mut workload = network.workload();
    workload.layers.iter_mut().for_each(|layer| (layer.weight_bits, layer.activation_bits) = (bits, bits));
    let mut largest = vec![0.0f32; network.steps().len() + 1];
    let mut see = |place: Place, numbers: &[f32]| {
        if let Place::Value(value) = place {
            largest[value] = numbers.iter().fold(largest[value], |most, number| most.max(number.abs()));
        }
    };
    network.observe(pixels, &mut see).unwrap();
    let layers =
        network.steps().iter().filter_map(|step| step.work.convolution()).filter(|layer| !layer.fixed);
    let threshold = |layer: &ImportedConvolution| {
        let column = |channel: usize| layer.weight.iter().skip(channel).step_by(layer.channels());
        let largest = |channel: usize| column(channel).fold(1e-3f32, |most, weight| most.max(weight.abs()));
        (0..layer.channels()).map(largest).collect()
    };
    let thresholds: Vec<Vec<f32>> = layers.map(threshold).collect();
    let network = network.quantize(&workload, &thresholds, &mut |point| largest[point.value]).unwrap();
    let logits = Executor::new(&network, Style::FloatTiesToEven).run(pixels).unwrap().logits;
    QuantizedNetworkWithLogits { network, logits }
}

struct QuantizedNetworkWithLogits {
    network: crate::QuantizedNetwork,
    logits: Vec<f32>,
}

#[test]
fn eight_bits_stay_near_the_float_network() {
    for (name, nodes) in [("mobile", fixtures::mobile(3)), ("plain", fixtures::plain(3))] {
        let network = read(nodes).unwrap();
        let pixels = pixels(6, 1);
        let float = network.logits(&pixels).unwrap();
        let spread = float.iter().fold(0.0f32, |most, logit| most.max(logit.abs()));
        for (bits, slack) in [(8, 0.05), (4, 0.8)] {
            let integer = quantized(&network, bits, &pixels).logits;
            let worst = float.iter().zip(&integer).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < slack * spread, "{name} at {bits} bits: {worst} of {spread}");
        }
    }
}

#[test]
fn a_mobile_network_is_a_chain_and_a_plain_one_is_not() {
    let mobile = read(fixtures::mobile(1)).unwrap();
    let workload = mobile.workload();
    assert_eq!(workload.layers.iter().filter(|layer| layer.residual).count(), 1);
    assert_eq!(workload.layers.iter().filter(|layer| layer.first).count(), 1);
    let arrays = mobile.chain(&pixels(8, 2)).unwrap();
    assert!(arrays.contains("classifier.bias") && arrays.contains("expand.gamma"));
    let error = read(fixtures::plain(1)).unwrap().chain(&pixels(8, 2)).unwrap_err();
    assert_eq!(error.to_string(), "node `first.pool` (MaxPool): is a max pool");
}

/// A chain is the same function: norms that were made up and ceilings that were moved change nothing.
#[test]
fn a_chain_computes_what_the_file_does() {
    for relu in [false, true] {
        let network = read(fixtures::chain(5, relu)).unwrap();
        let pixels = pixels(8, 5);
        let arrays = network.chain(&pixels).unwrap();
        let mut again = network.clone();
        for step in &mut again.steps {
            let last = step.name == "classifier";
            let Work::Convolution(layer) = &mut step.work else { continue };
            let field = |field: &str| arrays.get(&format!("{}.{field}", step.name)).unwrap().values.clone();
            layer.weight = field("weight");
            layer.activation =
                if layer.activation.signed() { Activation::Linear } else { Activation::Clipped(6.0) };
            for (channel, norm) in layer.norms.iter_mut().enumerate() {
                *norm = match last {
                    true => Norm::only_shift(field("bias")[channel]),
                    false => Norm {
                        gamma: field("gamma")[channel],
                        beta: field("beta")[channel],
                        mean: field("mean")[channel],
                        variance: field("variance")[channel],
                    },
                };
            }
        }
        let (one, two) = (network.logits(&pixels).unwrap(), again.logits(&pixels).unwrap());
        let worst = one.iter().zip(&two).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < FLOAT_TOLERANCE, "unlimited: {relu}, {worst}");
    }
}

#[test]
fn pixels_carry_means_and_deviations_of_their_channels() {
    let network = read(fixtures::valid(2)).unwrap();
    let (mean, deviation) = ([0.5, 0.25], [0.2, 0.4]);
    let ours = network.clone().on_pixels(&mean, &deviation).unwrap();
    let pixels = pixels(4, 9);
    let got = ours.logits(&pixels).unwrap();
    let mut plain = network;
    (plain.zero_point, plain.scale) = (0, 1.0);
    let Work::Convolution(first) = &mut plain.steps[0].work else { panic!("a convolution") };
    let gains: Vec<f32> = deviation.iter().map(|deviation| 1.0 / (255.0 * deviation)).collect();
    let shifts: Vec<f32> = mean.iter().zip(deviation).map(|(mean, deviation)| -mean / deviation).collect();
    first.absorb(&gains, &shifts);
    let expected = plain.logits(&pixels).unwrap();
    let worst = got.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < FLOAT_TOLERANCE, "{worst}");
    assert!(ours.clone().on_pixels(&[0.5], &deviation).is_err());
    assert!(ours.on_pixels(&mean, &[0.0, 1.0]).is_err());
}

/// Half of a classifier's sums are half of its logits, whichever way the file says so.
#[test]
fn factors_of_a_full_layer_are_taken_in() {
    let pixels = pixels(4, 9);
    let logits = |nodes: Nodes| read(nodes).unwrap().logits(&pixels).unwrap();
    let plain = logits(fixtures::chain(3, true));
    let halved = fixtures::chain(3, true).setting("classifier", "alpha", 0.5);
    let halved = logits(halved.setting("classifier", "beta", 0.5));
    assert!(plain.iter().zip(&halved).all(|(plain, half)| (plain * 0.5 - half).abs() < FLOAT_TOLERANCE));
    let broken = fixtures::chain(3, true).setting("classifier", "alpha", f32::NAN);
    assert!(read(broken).unwrap_err().to_string().contains("node `classifier` (Gemm): factors"));
}

#[test]
fn short_floats_and_automatic_padding_are_read() {
    let pixels = pixels(4, 9);
    let network = |nodes: Nodes| read(nodes).unwrap();
    let plain = network(fixtures::chain(3, true));
    assert_eq!(network(fixtures::chain(3, true).same_padding("spread")), plain);
    let short = network(fixtures::chain(3, true).brain_floats("last.weight"));
    let (short, plain) = (short.logits(&pixels).unwrap(), plain.logits(&pixels).unwrap());
    let worst = plain.iter().zip(&short).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst > 0.0 && worst < SHORT_FLOAT_TOLERANCE, "{worst}");
    let uneven = read(fixtures::plain(3).same_padding("first.pool")).unwrap();
    assert_eq!(uneven, network(fixtures::plain(3)), "an even image needs no padding");
    let error = read(fixtures::chain(3, true).same_padding("stem")).unwrap_err();
    assert!(error.to_string().contains("node `stem` (Conv): padding that differs"), "{error}");
}

#[test]
fn what_is_not_understood_is_named() {
    struct Case {
        nodes: Nodes,
        message: &'static str,
    }
    for case in [
        Case {
            nodes: fixtures::chain(1, false).operator("stem.relu", "HardSwish"),
            message: "node `stem.relu` (HardSwish): is not among the operators that can be quantized",
        },
        Case {
            nodes: fixtures::chain(1, false).opset(5),
            message: "the ONNX graph cannot be used: operator set 5, expected 7 to 26",
        },
        Case {
            nodes: fixtures::chain(1, false).image(&[1, 3, 12, 12]),
            message: "the ONNX graph cannot be used: input `image` is [1, 3, 12, 12], expected [N, 2, 12, 12] as the images are",
        },
        Case {
            nodes: fixtures::chain(1, false).external("stem.weight"),
            message: "node `stem` (Conv): constant `stem.weight` in a file of its own; save the model with its weights inside",
        },
        Case {
            nodes: fixtures::chain(1, false).without("classifier"),
            message: "the graph ends in `pool`, expected one output from a fully connected layer on pooled features",
        },
    ] {
        let error = read(case.nodes).unwrap_err();
        assert!(error.to_string().ends_with(case.message), "{error}");
    }
}

#[test]
fn named_mobilenet_weights_are_read_by_both_conventions() {
    let [one, other] = [true, false].map(|numbered| {
        ImportedNetwork::mobilenet_v2(&fixtures::mobilenet_weights(numbered, 4), 64).unwrap()
    });
    assert_eq!(one, other);
    assert_eq!(one.workload().layers.len(), 53);
    assert_eq!(one.workload().layers.iter().filter(|layer| layer.residual).count(), 10);
    let published = sartor_space::networks::fixed("mobilenet-v2", 32, 32).unwrap();
    for (got, expected) in one.workload().layers.iter().zip(&published.layers) {
        assert_eq!(
            (got.kernel, got.stride, got.relu),
            (expected.kernel, expected.stride, expected.relu),
            "{}",
            got.name
        );
        assert_eq!(
            (got.residual, got.signed_input),
            (expected.residual, expected.signed_input),
            "{}",
            got.name
        );
    }
    let error = ImportedNetwork::mobilenet_v2(&TrainedModel::default(), 64).unwrap_err();
    assert!(error.to_string().contains("features.0.0.weight"), "{error}");
}

#[test]
fn exports_of_pools_and_positive_sums_compile_and_agree() {
    let Ok(compiler) = crate::c::Compiler::find() else { return eprintln!("skipped: no C compiler") };
    let network = read(fixtures::plain(7)).unwrap();
    let pixels = pixels(10, 3);
    for bits in [8, 3] {
        let quantized = quantized(&network, bits, &pixels).network;
        let logits = Executor::new(&quantized, Style::FixedOnce).run(&pixels).unwrap().int8_quantizer();
        let package = crate::c::package(&quantized, &logits);
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(crate::c::HEADER), &package.header).unwrap();
        std::fs::write(folder.path().join(crate::c::CODE), &package.code).unwrap();
        let images = crate::LabelledImages { pixels: &pixels, labels: &[0; 10] };
        let seen = crate::c::verify_c(&compiler, folder.path(), &quantized, &logits, images).unwrap();
        assert!(seen.same, "{bits} bits: {}", seen.max_difference);
    }
}

proptest! {
    #[test]
    fn hostile_graphs_never_panic(position in any::<prop::sample::Index>(), value in any::<u8>(), cut in 0usize..40) {
        let mut bytes = fixtures::plain(2).bytes();
        let place = position.index(bytes.len());
        bytes[place] = value;
        bytes.truncate(bytes.len() - cut);
        if let Ok(network) = ImportedNetwork::from_onnx(&bytes, IMAGE) {
            let _ = network.workload();
            let _ = network.chain(&[]);
        }
    }
}
