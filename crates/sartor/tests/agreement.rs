//! The fake-quantized network that is trained and the integer network that ships are one function: layer by layer they
//! round to the same integers, up to values that float32 sums put on the other side of a tie.

use std::path::{Path, PathBuf};

use sartor_engine::{Executor, Tap};
use sartor_export::import::{ImportedNetwork, Shape};
use sartor_export::{QuantizedNetwork, Style, TrainedModel};
use sartor_supernet::Part;
use sartor_supernet::data::{Dataset, Limits, Normalization, Source, Split};
use sartor_supernet::finetune::{FinetuneSettings, FinetunedModel};
use sartor_supernet::float_network::{FloatNetwork, NetworkTuner};
use sartor_supernet::progress::StepReport;

/// Share of a layer's input integers that may lie one step apart: the first layer reads real pixels.
const MOST_FLIPS: f64 = 1e-5;
/// Least share of images with the same top-1.
const LEAST_AGREEMENT: f64 = 0.999;
const IMAGES: usize = 200;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn dataset() -> Dataset {
    let source = Source::idx_folder(&repository().join("data/fmnist-mini")).expect("images");
    let limits = Limits { train: Some(700), test: Some(IMAGES), classes: Some(10) };
    let mut dataset = Dataset::load(&source, &Split { validation: 100, seed: 0 }, &limits).expect("images");
    dataset.normalization = Normalization { zero_point: 0, scale: 1.0 / 255.0 };
    dataset
}

/// A few steps of quantization-aware training at these widths, with the biases that the integers have.
fn tuned(dataset: &Dataset, bits: &[u8]) -> (FinetunedModel, QuantizedNetwork) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/mobile.onnx");
    let shape = Shape { size: 28, channels: 1 };
    let network =
        ImportedNetwork::from_onnx(&std::fs::read(file).expect("a file"), shape).expect("a network");
    let chain = network.chain(&dataset.train.pixels[..64 * shape.len()]).expect("a chain");
    let float =
        FloatNetwork::adopt(&chain.to_bytes().expect("bytes"), network.workload()).expect("a network");
    let mut workload = network.workload();
    let last = workload.layers.len() - 1;
    for (index, layer) in workload.layers.iter_mut().enumerate() {
        let own = if index == 0 || index == last { 8 } else { bits[index % bits.len()] };
        (layer.weight_bits, layer.activation_bits) = (own, own);
    }
    let settings = FinetuneSettings {
        steps: Some(8),
        learning_rate: 0.01,
        recalibration_images: 400,
        ..Default::default()
    };
    let mut tuner = NetworkTuner::new(&float, dataset, &workload, settings, 1).expect("a tuner");
    tuner.run(&mut |_: &StepReport| {}).expect("training");
    let model = tuner.finish().expect("a model");
    let trained = TrainedModel::from_bytes(&model.arrays_to_bytes()).expect("arrays");
    let network = QuantizedNetwork::build(&trained, &workload).expect("integers");
    let settled = trained.with_integer_biases(&network).expect("biases").to_bytes().expect("bytes");
    (FinetunedModel::from_arrays(&settled, workload).expect("a model"), network)
}

/// Share of differing integers among what every convolution but the first reads.
fn flips(dataset: &Dataset, model: &FinetunedModel, network: &QuantizedNetwork) -> Vec<f64> {
    let executor = sartor_export::Executor::new(network, Style::FloatTiesToEven);
    let (images, length) = (&dataset.test, network.image().len());
    let traces: Vec<_> = images.pixels.chunks_exact(length).map(|image| executor.trace(image)).collect();
    let real: Vec<f32> = images.pixels.iter().map(|&pixel| dataset.normalization.real(pixel)).collect();
    let inputs: Vec<usize> = network.convolutions().map(|layer| layer.input).collect();
    let mut shares = vec![0.0; inputs.len()];
    let mut observe = |tap: Tap, values: &[f32]| {
        let Tap::Input(layer) = tap else { return };
        if layer == 0 {
            return;
        }
        let quantizer = network.tensors[inputs[layer]].quantizer;
        let integers = traces.iter().flat_map(|trace| &trace[inputs[layer]]);
        let differs = |(value, integer): (&f32, &i16)| {
            let steps = (value / quantizer.scale).round_ties_even();
            steps.clamp(quantizer.low as f32, quantizer.high as f32) as i16 != *integer
        };
        let count = values.iter().zip(integers).filter(|&pair| differs(pair)).count();
        shares[layer] = count as f64 / values.len() as f64;
    };
    let (parameters, statistics) = (&model.model.parameters, &model.statistics);
    Executor::new()
        .observe(&model.model.network, parameters, statistics, &real, images.len(), &mut observe)
        .expect("observes");
    shares
}

#[test]
fn both_forms_round_alike_layer_by_layer() {
    let dataset = dataset();
    for bits in [&[8][..], &[4], &[2, 8, 4, 6]] {
        let (model, network) = tuned(&dataset, bits);
        let shares = flips(&dataset, &model, &network);
        let executor = sartor_export::Executor::new(&network, Style::FloatTiesToEven);
        let integers = executor.run(&dataset.test.pixels).expect("runs").top1();
        let faked = model.logits_of_network(&dataset, Part::Test).expect("runs");
        let faked: Vec<usize> = faked.chunks_exact(10).map(sartor_export::executor::arg_max).collect();
        let same = integers.iter().zip(&faked).filter(|(a, b)| a == b).count() as f64 / integers.len() as f64;
        eprintln!("{bits:?} bits: agreement {same}, differing integers by layer {shares:?}");
        assert!(shares.iter().all(|&share| share <= MOST_FLIPS), "{bits:?}: {shares:?}");
        assert!(same >= LEAST_AGREEMENT, "{bits:?}: {same}");
    }
}
