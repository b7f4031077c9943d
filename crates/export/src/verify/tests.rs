use std::time::Instant;

use super::*;
use crate::{runtime, samples};

#[test]
fn planes_are_gathered_image_by_image() {
    let pixels = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
    assert_eq!(channels_first(&pixels, 3, 2), [1, 4, 2, 5, 3, 6, 7, 10, 8, 11, 9, 12]);
}

#[test]
fn quantiles_come_from_sorted_times() {
    let spread = spread((0..=10).rev().map(f64::from).collect());
    assert_eq!((spread.low, spread.median, spread.high), (1.0, 5.0, 9.0));
}

#[test]
fn agreement_accuracy_and_steps_are_counted() {
    let workload = samples::workload(0);
    let network = QuantizedNetwork::build(&samples::model(&workload, 0), &workload).unwrap();
    let step = network.logit_steps().nth(1).unwrap();
    let row =
        |winner: usize| -> Vec<f32> { (0..7).map(|class| f32::from(u8::from(class == winner))).collect() };
    let reference = [row(0), row(3)].concat();
    let mut logits = [row(0), row(1)].concat();
    let same = compare(&network, &reference, &reference, &[0, 1]);
    assert_eq!((same.agreement, same.accuracy, same.max_difference), (1.0, 0.5, 0.0));
    logits[1] += 5.0 * step;
    let other = compare(&network, &logits, &reference, &[0, 1]);
    assert_eq!((other.agreement, other.accuracy, other.reference_accuracy), (0.5, 1.0, 0.5));
    assert!(other.max_difference >= 4.99);
}

/// The installed runtime, or a message that the test is skipped.
fn installed() -> Option<runtime::Library> {
    match runtime::find() {
        Ok(library) => Some(library),
        Err(error) => {
            eprintln!("skipped: {error}; {}", error.hint().unwrap_or_default());
            None
        }
    }
}

fn verify(workload: &sartor_space::Workload, seed: u64, batch: onnx::Batch) -> Option<Verification> {
    let library = installed()?;
    let network = QuantizedNetwork::build(&samples::model(workload, seed), workload).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, onnx::to_bytes(&network, batch, &[("seed", &seed.to_string())])).unwrap();
    let pixels = samples::pixels(workload, IMAGES, seed);
    let labels = vec![0; IMAGES];
    let images = LabelledImages { pixels: &pixels, labels: &labels };
    let options = VerifyOptions { batch: 16, latency_runs: 3, ..Default::default() };
    let start = Instant::now();
    Some(verify_onnx(&library, &path, &network, images, options, &|| start.elapsed()).unwrap())
}

const IMAGES: usize = 50;

#[test]
fn the_runtime_computes_the_same_bits_as_the_executor() {
    for seed in 0..10 {
        let Some(result) = verify(&samples::workload(seed), seed, onnx::Batch::Symbolic) else { return };
        assert_eq!((result.agreement, result.max_difference), (1.0, 0.0), "seed {seed}: {result:#?}");
        assert!(result.same);
    }
}

#[test]
fn every_width_is_exact_and_a_fixed_batch_too() {
    for bits in [2, 4, 6, 8] {
        let Some(result) = verify(&samples::uniform_workload(bits), 7, onnx::Batch::Fixed(4)) else { return };
        assert_eq!((result.agreement, result.max_difference), (1.0, 0.0), "{bits} bits");
    }
}

#[test]
fn compact_files_run_and_agree() {
    let Some(library) = installed() else { return };
    for bits in [2, 4, 6] {
        let workload = samples::uniform_workload(bits);
        let network = QuantizedNetwork::build(&samples::model(&workload, 7), &workload).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        std::fs::write(&path, onnx::to_compact_bytes(&network, onnx::Batch::Symbolic, &[])).unwrap();
        let (pixels, labels) = (samples::pixels(&workload, IMAGES, 7), vec![0; IMAGES]);
        let images = LabelledImages { pixels: &pixels, labels: &labels };
        let options = VerifyOptions { latency_runs: 3, ..Default::default() };
        let result = verify_onnx(&library, &path, &network, images, options, &|| Duration::ZERO).unwrap();
        assert!(result.same, "{bits} bits: {} {}", result.agreement, result.max_difference);
        let float = result.layers.iter().any(|layer| layer.arithmetic == Arithmetic::Float);
        assert_eq!(float, bits < 6, "{bits} bits: {:#?}", result.layers);
    }
}

#[test]
fn layers_run_as_integers() {
    let Some(result) = verify(&samples::uniform_workload(4), 3, onnx::Batch::Symbolic) else { return };
    for layer in &result.layers {
        let wanted =
            if layer.layer.ends_with("/stream") { Arithmetic::Conversion } else { Arithmetic::Integer };
        assert_eq!(layer.arithmetic, wanted, "{layer:?} of {:#?}", result.layers);
    }
}

#[test]
fn another_network_is_not_the_same() {
    let Some(library) = installed() else { return };
    let workload = samples::workload(1);
    let [own, other] =
        [1, 2].map(|seed| QuantizedNetwork::build(&samples::model(&workload, seed), &workload).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    std::fs::write(&path, onnx::to_bytes(&other, onnx::Batch::Symbolic, &[])).unwrap();
    let (pixels, labels) = (samples::pixels(&workload, 20, 1), vec![0; 20]);
    let images = LabelledImages { pixels: &pixels, labels: &labels };
    let result =
        verify_onnx(&library, &path, &own, images, VerifyOptions::default(), &|| Duration::ZERO).unwrap();
    assert!(!result.same && result.max_difference > 1.0);
}

#[test]
fn a_file_that_is_no_model_is_an_error() {
    let Some(library) = installed() else { return };
    let workload = samples::workload(1);
    let network = QuantizedNetwork::build(&samples::model(&workload, 1), &workload).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let pixels = samples::pixels(&workload, 1, 1);
    let images = LabelledImages { pixels: &pixels, labels: &[0] };
    let verify =
        || verify_onnx(&library, &path, &network, images, VerifyOptions::default(), &|| Duration::ZERO);
    assert!(matches!(verify().unwrap_err(), ExportError::File { .. }));
    std::fs::write(&path, [8, 8, 0xff, 0xff, 0xff]).unwrap();
    assert!(matches!(verify().unwrap_err(), ExportError::NotOnnx { .. }));
    std::fs::write(&path, []).unwrap();
    assert!(matches!(verify().unwrap_err(), ExportError::Runtime { action: "load the model", .. }));
}

#[test]
fn labels_and_pixels_must_match() {
    let workload = samples::workload(1);
    let network = QuantizedNetwork::build(&samples::model(&workload, 1), &workload).unwrap();
    let error = check(&network, LabelledImages { pixels: &[0; 10], labels: &[0] }).unwrap_err();
    assert_eq!(error.to_string(), "bytes of pixels: got 10, expected 588");
}
