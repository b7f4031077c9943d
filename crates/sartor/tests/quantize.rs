//! `sartor quantize` on small networks that another program trained, and what it refuses.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Exit code, the JSON object on stdout, and stderr.
fn quantize(model: &Path, out: &Path, more: &[&str]) -> (i32, Value, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sartor"));
    command
        .arg("quantize")
        .arg("--model")
        .arg(model)
        .arg("--data")
        .arg(repository().join("data/fmnist-mini"));
    command.arg("--out").arg(out).args(["--validation", "200", "--json"]).args(more);
    let output = command.env("NO_COLOR", "1").stdin(Stdio::null()).output().expect("the program starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let object = text(&output.stdout).lines().last().and_then(|line| serde_json::from_str(line).ok());
    (output.status.code().unwrap_or(-1), object.unwrap_or_default(), text(&output.stderr))
}

fn model(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

#[test]
fn an_onnx_network_gets_bits_under_a_budget_and_is_verified() {
    let out = tempfile::tempdir().expect("a folder");
    let more = [
        "--size-bytes",
        "11500",
        "--epochs",
        "1",
        "--sensitivity-images",
        "24",
        "--format",
        "c",
        "--format",
        "onnx",
    ];
    let (code, object, talk) = quantize(&model("mobile.onnx"), out.path(), &more);
    assert_eq!(code, 0, "{talk}");
    let value = |pointer: &str| object.pointer(pointer).and_then(Value::as_f64).unwrap_or(f64::NAN);
    assert!(value("/searched/costs/size_bytes") <= 11_500.0, "{object}");
    assert!(value("/float/test/value") > 0.86, "{object}");
    assert!(value("/test/uniform_8/value") > value("/float/test/value") - 0.01, "{object}");
    assert!(value("/test/quantized/value") > value("/float/test/value") - 0.04, "{object}");
    let bits = object["layers"].as_array().map_or(vec![], |layers| {
        layers.iter().filter_map(|layer| layer["weight_bits"].as_u64()).collect::<Vec<_>>()
    });
    assert!(
        bits.len() == 14 && bits[0] == 8 && bits[13] == 8 && bits.iter().any(|&bits| bits < 8),
        "{bits:?}"
    );
    for file in ["model.onnx", "c/network.c", "policy.json", "model-card.md", "quantize.json"] {
        assert!(out.path().join(file).exists(), "{file}");
    }
}

/// Basic blocks with projections, ReLU behind sums, a max pool: trained as it is wired. At 2 bits nothing is left of it
/// without training.
#[test]
fn a_network_that_is_no_chain_is_fine_tuned_too() {
    let out = tempfile::tempdir().expect("a folder");
    let mut more = vec!["--size-bytes", "10000", "--weights", "2,8", "--activations", "3,8", "--epochs", "1"];
    more.extend(["--sensitivity-images", "24", "--format", "c"]);
    let (code, object, talk) = quantize(&model("resnet.onnx"), out.path(), &more);
    assert_eq!(code, 0, "{talk}");
    assert_eq!(object["finetuned"], true, "{object}");
    let accuracy = |pointer: &str| object.pointer(pointer).and_then(Value::as_f64).unwrap_or(f64::NAN);
    assert!(accuracy("/test/uniform_8/value") > accuracy("/float/test/value") - 0.01, "{object}");
    assert!(accuracy("/test/quantized/value") > accuracy("/float/test/value") - 0.05, "{object}");
    assert!(accuracy("/test/fake_quantized_agreement") >= 0.999, "{object}");
    assert!(out.path().join("weights.safetensors").exists());
    if let Some(same) = object.pointer("/verify/c/same") {
        assert_eq!(same, true, "{object}");
    }
}

/// ReLU behind max pools, no padding, full layers.
#[test]
fn pools_and_full_layers_are_quantized_after_training() {
    let out = tempfile::tempdir().expect("a folder");
    let more = ["--epochs", "0", "--sensitivity-images", "24", "--format", "c", "--target", "c"];
    let (code, object, talk) = quantize(&model("lenet.onnx"), out.path(), &more);
    assert_eq!(code, 0, "{talk}");
    let accuracy = |pointer: &str| object.pointer(pointer).and_then(Value::as_f64).unwrap_or(f64::NAN);
    assert!(accuracy("/test/uniform_8/value") > accuracy("/float/test/value") - 0.01, "{object}");
    assert_eq!(object["finetuned"], false);
    if let Some(same) = object.pointer("/verify/c/same") {
        assert_eq!(same, true, "{object}");
    }
}

/// A training that diverges costs nothing but time: it is tried again more gently, and then left out.
#[test]
fn a_training_that_does_harm_is_not_taken() {
    let out = tempfile::tempdir().expect("a folder");
    let more = ["--epochs", "1", "--learning-rate", "1000", "--sensitivity-images", "24", "--format", "c"];
    let (code, object, talk) = quantize(&model("lenet.onnx"), out.path(), &more);
    assert_eq!(code, 0, "{talk}");
    assert_eq!((&object["finetuned"], &object["learning_rate"]), (&Value::from(false), &Value::Null));
    let why = object["not_finetuned_because"].as_str().unwrap_or_default();
    assert!(why.contains("--learning-rate 1000,") && why.ends_with("--learning-rate 100"), "{why}");
}

#[test]
fn bad_networks_and_budgets_say_what_is_wrong() {
    let out = tempfile::tempdir().expect("a folder");
    let file = |name: &str, bytes: &[u8]| {
        let path = out.path().join(name);
        std::fs::write(&path, bytes).expect("writes");
        path
    };
    let whole = std::fs::read(model("mobile.onnx")).expect("reads");
    let renamed = String::from_utf8_lossy(b"GlobalAveragePool").into_owned();
    let place = whole.windows(renamed.len()).position(|part| part == renamed.as_bytes()).expect("a pool");
    let mut other = whole.clone();
    other[place..place + renamed.len()].copy_from_slice(b"GlobalHarmonyPool");
    for (model, more, code, message) in [
        (file("cut.onnx", &whole[..whole.len() / 2]), &[][..], 2, "not an ONNX file"),
        (file("other.onnx", &other), &[], 2, "node `pool` (GlobalHarmonyPool): is not among"),
        (file("w.safetensors", &[0; 20]), &[], 2, "not a valid safetensors file"),
        (out.path().join("none.onnx"), &[], 2, "cannot read"),
        (model("mobile.onnx"), &["--weights", "9"], 2, "`--weights` has 9, expected widths from 2 to 8"),
        (model("mobile.onnx"), &["--format", "tf"], 2, "there is no format `tf`"),
        (
            model("mobile.onnx"),
            &["--latency-ms", "0.0001", "--sensitivity-images", "2", "--weights", "8", "--activations", "8"],
            3,
            "no candidate meets latency_ms",
        ),
    ] {
        let (got, _, talk) = quantize(&model, &out.path().join("out"), more);
        assert_eq!(got, code, "{model:?}: {talk}");
        assert!(talk.contains(message), "{model:?}: {talk}");
    }
}
