mod refusals;

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
}

/// Every value of a network, computed from the definition of its operators in `f64`: `[channels, size, size]`.
fn convolve(image: &[f64], size: usize, layer: &Direct) -> Vec<f64> {
    let Direct { weights, bias, groups, kernel: [height, width], apart, stride, pads } = *layer;
    let [top, left, bottom, _] = pads;
    let (inputs, outputs) = (image.len() / (size * size) / groups, bias.len());
    let to = (size + top + bottom - ((height - 1) * apart + 1)) / stride + 1;
    let at = |start: usize, tap: usize, border: usize| {
        (start * stride + tap * apart).checked_sub(border).filter(|&at| at < size)
    };
    let mut sums = vec![0.0; outputs * to * to];
    for (place, sum) in sums.iter_mut().enumerate() {
        let (output, row, column) = (place / (to * to), place / to % to, place % to);
        *sum = f64::from(bias[output]);
        let filter = &weights[output * inputs * height * width..][..inputs * height * width];
        for (place, weight) in filter.iter().enumerate() {
            let (input, i, j) = (place / (height * width), place / width % height, place % width);
            let input = output / (outputs / groups) * inputs + input;
            if let (Some(y), Some(x)) = (at(row, i, top), at(column, j, left)) {
                *sum += f64::from(*weight) * image[(input * size + y) * size + x];
            }
        }
    }
    sums
}

#[derive(Clone, Copy)]
struct Direct<'a> {
    weights: &'a [f32],
    bias: &'a [f32],
    groups: usize,
    kernel: [usize; 2],
    /// Pixels from tap to tap.
    apart: usize,
    stride: usize,
    pads: [usize; 4],
}

/// A network's first step on one image against its definition; the last value of `got` that was seen.
fn first_sums(network: &ImportedNetwork, step: usize, pixels: &[u8]) -> (Vec<f32>, Vec<f32>) {
    let (mut input, mut sums) = (vec![], vec![]);
    network
        .observe(pixels, &mut |place, numbers| match place {
            Place::Value(value) if value == step => input = numbers.to_vec(),
            Place::Sum(index) if index == step => sums = numbers.to_vec(),
            _ => {}
        })
        .unwrap();
    (input, sums)
}

fn channels_first(values: &[f32], channels: usize) -> Vec<f64> {
    (0..channels).flat_map(|c| values.iter().skip(c).step_by(channels).map(|&v| f64::from(v))).collect()
}

#[test]
fn groups_taps_and_padding_of_any_kind_compute_what_they_say() {
    let (chain, groups) = (|| fixtures::chain(3, true), || fixtures::groups(4));
    let padded = |node: &str, pads: &[i64]| chain().integers(node, "pads", pads);
    let apart = |pads: &[i64]| padded("stem", pads).integers("stem", "dilations", &[2, 2]);
    let row = padded("stem", &[0, 4, 0, 4]).extents("stem.weight", &[8, 2, 1, 9]);
    let stem =
        Direct { weights: &[], bias: &[], groups: 1, kernel: [3; 2], apart: 1, stride: 2, pads: [1; 4] };
    let uneven = Direct { pads: [0, 0, 1, 1], ..stem };
    let square = "a kernel of 4 instead of 3: 1.8 times";
    for (name, nodes, node, index, layer, note) in [
        ("same", chain().same_padding("stem"), "stem", 0, uneven, square),
        ("uneven", padded("stem", &[0, 0, 1, 1]), "stem", 0, uneven, square),
        (
            "very uneven",
            padded("stem", &[0, 1, 2, 1]),
            "stem",
            0,
            Direct { pads: [0, 1, 2, 1], ..stem },
            "a kernel of 5 instead of 3",
        ),
        (
            "depthwise",
            padded("spread", &[2, 2, 1, 1]),
            "spread",
            1,
            Direct { groups: 8, stride: 1, pads: [2, 2, 1, 1], ..stem },
            "a kernel of 4 instead of 3",
        ),
        ("a frame", padded("stem", &[0; 4]).framed("stem", [0, 0, 1, 1]), "stem", 0, uneven, square),
        (
            "a frame and padding",
            chain().framed("stem", [1, 1, 0, 0]),
            "stem",
            0,
            Direct { pads: [2, 2, 1, 1], ..stem },
            square,
        ),
        (
            "apart",
            apart(&[2; 4]),
            "stem",
            0,
            Direct { apart: 2, pads: [2; 4], ..stem },
            "a kernel of 5 instead of 3, 2 apart: 2.8 times",
        ),
        (
            "apart and uneven",
            apart(&[1, 1, 2, 2]),
            "stem",
            0,
            Direct { apart: 2, pads: [1, 1, 2, 2], ..stem },
            "a kernel of 6 instead of 3, 2 apart",
        ),
        (
            "a row",
            row,
            "stem",
            0,
            Direct { kernel: [1, 9], pads: [0, 4, 0, 4], ..stem },
            "a kernel of 9 instead of 1×9: 9.0 times",
        ),
        (
            "halves",
            groups(),
            "halves",
            1,
            Direct { groups: 2, stride: 1, ..stem },
            "2 groups become one dense convolution of 2 times",
        ),
        (
            "pairs",
            groups(),
            "pairs",
            2,
            Direct { groups: 12, stride: 1, ..stem },
            "12 groups become one dense",
        ),
    ] {
        let (weights, bias) = nodes.weights(node);
        let network = read(nodes).unwrap();
        let (input, got) = first_sums(&network, index, &pixels(1, 5));
        let from = network.shape(index);
        let layer = Direct { weights: &weights, bias: &bias, ..layer };
        let want = convolve(&channels_first(&input, from.channels), from.size, &layer);
        let got = channels_first(&got, bias.len());
        assert_eq!(got.len(), want.len(), "{name}");
        let worst = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(worst < f64::from(FLOAT_TOLERANCE), "{name}: {worst}");
        assert!(
            network.notes().iter().any(|own| own.contains(note) && own.contains(&format!("`{node}` (Conv)"))),
            "{name}: {:?}",
            network.notes()
        );
        let pixels = pixels(4, 8);
        let (float, integer) = (network.logits(&pixels).unwrap(), quantized(&network, 8, &pixels).logits);
        let spread = float.iter().fold(0.0f32, |most, logit| most.max(logit.abs()));
        let worst = float.iter().zip(&integer).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 0.05 * spread, "{name} at 8 bits: {worst} of {spread}");
    }
}

/// Zeros around an image of no negative numbers are padding; a size that need not be rounded up is the size.
#[test]
fn pools_take_in_zeros_and_sizes_that_fit() {
    let pool = || fixtures::plain(3).integers("first.pool", "kernel_shape", &[3, 3]);
    let padded = read(pool().integers("first.pool", "pads", &[1; 4])).unwrap();
    assert_eq!(read(pool().framed("first.pool", [1; 4])).unwrap(), padded);
    let fits = fixtures::plain(3).integers("first.pool", "ceil_mode", &[1]);
    assert_eq!(read(fits).unwrap(), read(fixtures::plain(3)).unwrap());
    // On twelve pixels windows of three at stride two are rounded up to a sixth one, which reaches a pixel beyond.
    let up = read(pool().integers("first.pool", "ceil_mode", &[1])).unwrap();
    assert_eq!(read(pool().integers("first.pool", "pads", &[0, 0, 1, 1])).unwrap(), up);
    assert_eq!(read(pool().same_padding("first.pool")).unwrap(), up);
    let beyond = Work::MaxPool { kernel: 3, stride: 2, padding: 0, padding_after: 1 };
    assert_eq!(up.steps()[1].work, beyond);
    // A window that would begin behind the image is left out: on twelve pixels at 0, 3, 6 and 9, not at 12.
    let apart = fixtures::pools(3, false).integers("first.pool", "strides", &[3, 3]);
    let apart =
        apart.integers("first.pool", "kernel_shape", &[1, 1]).integers("first.pool", "ceil_mode", &[1]);
    assert_eq!(read(apart).unwrap().shape(2).size, 4);
    let below = read(fixtures::pools(3, true).framed("first.pool", [1; 4])).unwrap_err();
    assert!(below.to_string().contains("numbers below 0"), "{below}");
}

#[test]
fn activations_go_through_max_pools_and_follow_means() {
    let [behind, before] = [true, false].map(|behind| read(fixtures::pools(6, behind)).unwrap());
    let pixels = pixels(4, 3);
    assert_eq!(behind.logits(&pixels).unwrap(), before.logits(&pixels).unwrap());
    assert_eq!(behind.steps()[0].work.activation(), Activation::Clipped(0.7));
    assert!(!behind.signed(4) && behind.steps()[3].work.activation() == Activation::Relu);
    let (float, integer) = (behind.logits(&pixels).unwrap(), quantized(&behind, 8, &pixels).logits);
    let spread = float.iter().fold(0.0f32, |most, logit| most.max(logit.abs()));
    let worst = float.iter().zip(&integer).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst < 0.05 * spread, "{worst} of {spread}");
}

#[test]
fn constants_among_the_settings_of_nodes_are_read() {
    let names = ["stem.relu.low", "stem.relu.high", "stem.bias", "last.relu.high"];
    let network = read(fixtures::chain(2, false)).unwrap();
    assert_eq!(read(fixtures::chain(2, false).constant_nodes(&names)).unwrap(), network);
}

/// Where a step is quantized is where its integer form has tensors.
#[test]
fn points_are_the_tensors_of_the_integer_network() {
    for nodes in [fixtures::mobile(3), fixtures::plain(3), fixtures::pools(3, true), fixtures::groups(3)] {
        let network = read(nodes).unwrap();
        let mut workload = network.workload();
        workload.layers.iter_mut().enumerate().for_each(|(i, layer)| {
            (layer.weight_bits, layer.activation_bits) = (4, 3 + (i % 5) as u8);
        });
        let points = network.points(&workload).unwrap();
        let (loaded, stored) = (
            points.iter().filter(|p| p.loaded.is_some()).count(),
            points.iter().filter(|p| p.stored.is_some()).count(),
        );
        let pools = network.steps().iter().filter(|step| matches!(step.work, Work::MaxPool { .. })).count();
        let thresholds: Vec<Vec<f32>> =
            workload.layers.iter().map(|layer| vec![1.0; layer.out_channels]).collect();
        let mut asked = vec![];
        let integer = network
            .quantize(&workload, &thresholds, &mut |point| {
                asked.push(point);
                2.0
            })
            .unwrap();
        assert_eq!(integer.tensors.len(), 1 + loaded + stored + pools);
        asked.sort_unstable();
        let mut told: Vec<RangePoint> =
            points.iter().flat_map(|point| [point.loaded, point.stored]).flatten().collect();
        told.sort_unstable();
        assert_eq!(asked, told);
    }
}

#[test]
fn new_numbers_and_integer_biases_are_taken_over() {
    let network = read(fixtures::plain(3)).unwrap();
    let numbers = |network: &ImportedNetwork| -> Vec<_> {
        network
            .steps()
            .iter()
            .map(|step| step.work.convolution().map(|layer| (layer.weight.clone(), layer.norms.clone())))
            .collect()
    };
    assert_eq!(network.retrained(numbers(&network)).unwrap(), network);
    assert!(network.retrained(vec![]).is_err());
    let mut short = numbers(&network);
    short[0].as_mut().unwrap().0.pop();
    assert!(network.retrained(short).unwrap_err().to_string().contains("weights: got"));
    let pixels = pixels(6, 1);
    let integer = quantized(&network, 4, &pixels).network;
    let settled = network.with_integer_biases(&integer);
    assert_ne!(settled, network);
    assert_eq!(settled.with_integer_biases(&integer), settled);
    let arrays = settled.arrays(&[], &[]);
    assert!(arrays.contains("first.weight") && arrays.contains("last.beta"));
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
    let pixels = pixels(10, 3);
    let uneven = fixtures::groups(2).integers("halves", "pads", &[0, 1, 1, 0]);
    let up = fixtures::plain(7).integers("first.pool", "kernel_shape", &[3, 3]).same_padding("first.pool");
    for (nodes, bits) in [
        (fixtures::plain(7), 8),
        (fixtures::plain(7), 3),
        (fixtures::pools(7, true), 5),
        (uneven, 8),
        (up, 8),
    ] {
        let network = read(nodes).unwrap();
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
