use super::*;
use crate::samples;
use crate::verify::LabelledImages;

const IMAGES: usize = 24;

fn network(seed: u64) -> QuantizedNetwork {
    let workload = samples::workload(seed);
    QuantizedNetwork::build(&samples::model(&workload, seed), &workload).unwrap()
}

fn logits(network: &QuantizedNetwork, pixels: &[u8]) -> Quantizer {
    crate::Executor::new(network, Style::FixedOnce).run(pixels).unwrap().int8_quantizer()
}

/// The installed compiler, or a message that the test is skipped.
fn installed() -> Option<Compiler> {
    Compiler::find().map_err(|error| eprintln!("skipped: {error}")).ok()
}

fn verify(
    network: &QuantizedNetwork,
    pixels: &[u8],
    package: &Package,
) -> Option<crate::Result<crate::Verification>> {
    let compiler = installed()?;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join(HEADER), &package.header).unwrap();
    std::fs::write(folder.path().join(CODE), &package.code).unwrap();
    let labels = vec![0; pixels.len() / network.image().len()];
    let images = LabelledImages { pixels, labels: &labels };
    Some(verify_c(&compiler, folder.path(), network, &logits(network, pixels), images))
}

#[test]
fn compiled_code_computes_the_same_bits_as_the_executor() {
    let mut networks: Vec<(u64, QuantizedNetwork)> = (0..4).map(|seed| (seed, network(seed))).collect();
    networks.extend([2, 6].map(|bits| {
        let workload = samples::uniform_workload(bits);
        (9, QuantizedNetwork::build(&samples::model(&workload, 9), &workload).unwrap())
    }));
    for (seed, network) in networks {
        let pixels = samples::pixels(&samples::workload(seed), IMAGES, seed);
        let package = package(&network, &logits(&network, &pixels));
        let Some(result) = verify(&network, &pixels, &package) else { return };
        let result = result.unwrap();
        assert_eq!((result.agreement, result.max_difference, result.same), (1.0, 0.0, true), "seed {seed}");
        assert!(result.latency_ms.median > 0.0);
    }
}

#[test]
fn another_network_is_not_the_same() {
    let (own, other) = (network(1), network(2));
    let pixels = samples::pixels(&samples::workload(1), IMAGES, 1);
    let package = package(&other, &logits(&own, &pixels));
    let Some(result) = verify(&own, &pixels, &package) else { return };
    assert!(!result.unwrap().same);
}

#[test]
fn code_that_warns_is_refused() {
    let network = network(1);
    let pixels = samples::pixels(&samples::workload(1), 1, 1);
    let mut package = package(&network, &logits(&network, &pixels));
    package.code += "static int idle;\n";
    let Some(result) = verify(&network, &pixels, &package) else { return };
    let error = result.unwrap_err();
    assert!(matches!(error, crate::ExportError::Tool { action: "compile the package", .. }), "{error}");
}

#[test]
fn only_two_standard_headers_and_no_heap() {
    let network = network(3);
    let package = package(&network, &Quantizer::int8(10.0));
    let text = package.header.clone() + &package.code;
    let mut included: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("#include ")).collect();
    included.sort_unstable();
    assert_eq!(included, ["\"network.h\"", "<stdint.h>", "<string.h>"]);
    for word in ["malloc", "free(", "printf", "float", "double"] {
        assert!(!text.contains(word), "{word}");
    }
}

#[test]
fn narrow_weights_take_fewer_bytes() {
    let of = |bits| {
        let workload = samples::uniform_workload(bits);
        let network = QuantizedNetwork::build(&samples::model(&workload, 1), &workload).unwrap();
        let stored: usize = network.convolutions().map(|layer| layer.weights.values.len()).sum();
        (package(&network, &Quantizer::int8(10.0)), stored)
    };
    let ((wide, stored), (narrow, _)) = (of(8), of(4));
    let saved = wide.constant_bytes - narrow.constant_bytes;
    // The stem and the head keep 8 bits; odd rows are filled up to a byte.
    assert!(saved > stored * 3 / 10 && saved <= stored / 2, "{saved} of {stored}");
    assert_eq!(wide.ram_bytes, narrow.ram_bytes);
    assert_eq!(wide, of(8).0);
}
