use super::*;
use crate::verify::{LabelledImages, Verification, VerifyOptions};
use crate::{Executor, Style, samples};

const IMAGES: usize = 24;

/// The installed runtime, or a message that the test is skipped.
fn installed() -> Option<Interpreter> {
    Interpreter::find().map_err(|error| eprintln!("skipped: {error}")).ok()
}

fn built(workload: &sartor_space::Workload, seed: u64) -> QuantizedNetwork {
    QuantizedNetwork::build(&samples::model(workload, seed), workload).unwrap()
}

fn verify(
    file: &[u8],
    network: &QuantizedNetwork,
    logits: &Quantizer,
    pixels: &[u8],
) -> Option<crate::Result<Verification>> {
    let interpreter = installed()?;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.tflite");
    std::fs::write(&path, file).unwrap();
    let labels = vec![0; IMAGES];
    let images = LabelledImages { pixels, labels: &labels };
    let options = VerifyOptions { latency_runs: 3, ..Default::default() };
    Some(verify_tflite(&interpreter, &path, network, logits, images, options))
}

#[test]
fn reference_kernels_compute_the_same_bits_in_every_tensor() {
    let mixed = (0..3).map(|seed| (samples::workload(seed), seed));
    let uniform = [2, 4, 8].map(|bits| (samples::uniform_workload(bits), 9));
    for (workload, seed) in mixed.chain(uniform) {
        let (network, pixels) = (built(&workload, seed), samples::pixels(&workload, IMAGES, seed));
        let logits = Executor::new(&network, Style::FixedPoint).run(&pixels).unwrap().int8_quantizer();
        let Some(result) = verify(&to_bytes(&network, &logits, ""), &network, &logits, &pixels) else {
            return;
        };
        let result = result.unwrap();
        assert!(result.runtime.ends_with("bit-exact in every tensor"), "seed {seed}: {result:#?}");
        assert!(result.layers.iter().all(|layer| layer.operator.ends_with("in XNNPACK")), "{result:#?}");
    }
}

#[test]
fn int4_weights_give_the_bits_of_the_network_with_plain_biases() {
    let mixed = (0..3).map(|seed| (samples::workload(seed), seed));
    let uniform = [2, 4].map(|bits| (samples::uniform_workload(bits), 9));
    for (workload, seed) in mixed.chain(uniform) {
        let (wide, pixels) = (built(&workload, seed), samples::pixels(&workload, IMAGES, seed));
        let network = wide.with_plain_biases();
        let logits = Executor::new(&network, Style::FixedPoint).run(&pixels).unwrap().int8_quantizer();
        let file = to_compact_bytes(&network, &logits, "");
        let narrow = network.convolutions().any(|layer| layer.weights.fit_nibbles());
        assert_eq!(file.len() < to_bytes(&wide, &logits, "").len(), narrow);
        let Some(result) = verify(&file, &network, &logits, &pixels) else { return };
        let result = result.unwrap();
        assert!(result.runtime.ends_with("bit-exact in every tensor"), "seed {seed}: {result:#?}");
    }
}

#[test]
fn another_network_is_not_the_same() {
    let workload = samples::workload(1);
    let (own, other) = (built(&workload, 1), built(&workload, 2));
    let (pixels, logits) = (samples::pixels(&workload, IMAGES, 1), Quantizer::int8(8.0));
    let Some(result) = verify(&to_bytes(&other, &logits, ""), &own, &logits, &pixels) else { return };
    let result = result.unwrap();
    assert!(!result.same && result.runtime.contains("DIFFER"));
}

#[test]
fn a_file_that_is_no_model_is_an_error() {
    let workload = samples::workload(1);
    let network = built(&workload, 1);
    let (pixels, logits) = (samples::pixels(&workload, IMAGES, 1), Quantizer::int8(8.0));
    let Some(result) = verify(b"TFL3", &network, &logits, &pixels) else { return };
    let error = result.unwrap_err();
    assert!(matches!(error, crate::ExportError::Tool { action: "run the model", .. }), "{error}");
}

#[test]
fn constants_lie_at_multiples_of_sixteen() {
    for seed in 0..4 {
        let workload = samples::workload(seed);
        let network = built(&workload, seed);
        let bytes = to_bytes(&network, &Quantizer::int8(8.0), "a note");
        let weights = channels_first(&network.convolutions().next().unwrap().weights);
        let place = bytes.windows(weights.len()).position(|window| window == weights).unwrap();
        assert_eq!(place % 16, 0, "seed {seed}");
        assert_eq!(&bytes[4..8], b"TFL3");
        assert_eq!(bytes, to_bytes(&network, &Quantizer::int8(8.0), "a note"));
    }
}

#[test]
fn narrow_ranges_end_where_the_container_ends() {
    let stored = |quantizer| {
        let tensor = Tensor { name: String::new(), size: 1, channels: 1, quantizer };
        let zero = container_zero(&tensor);
        (zero + quantizer.low, zero + quantizer.high)
    };
    assert_eq!(stored(Quantizer::unsigned(8, 6.0)), (-128, 127));
    assert_eq!(stored(Quantizer::unsigned(4, 6.0)), (112, 127));
    assert_eq!(stored(Quantizer::signed(8, 6.0)), (-128, 126));
    assert_eq!(stored(Quantizer::signed(2, 6.0)), (-128, -126));
}
