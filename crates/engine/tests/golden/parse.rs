//! Reads golden files into the engine's own types.

use sartor_engine::*;
use serde_json::Value;
use std::path::PathBuf;

/// One small network with everything PyTorch said about it.
pub struct Case {
    pub name: String,
    pub network: Network,
    pub batch: usize,
    pub parameters: Vec<f32>,
    pub images: Vec<f32>,
    pub logits_gradient: Vec<f32>,
    pub logits: Vec<f32>,
    pub gradients: Vec<f32>,
    pub statistics: Vec<NormStatistics>,
    pub given_statistics: Vec<NormStatistics>,
    pub inferred: Vec<f32>,
}

impl Case {
    pub fn load(name: &str) -> Self {
        let file = load(name);
        Self {
            name: name.to_string(),
            network: network(&file["network"]),
            batch: index(&file["batch"]),
            parameters: floats(&file["parameters"]),
            images: floats(&file["images"]),
            logits_gradient: floats(&file["logits_gradient"]),
            logits: floats(&file["logits"]),
            gradients: floats(&file["gradients"]),
            statistics: list(&file["statistics"], statistics),
            given_statistics: list(&file["inference"]["statistics"], statistics),
            inferred: floats(&file["inference"]["logits"]),
        }
    }

    /// Whether some layer's norm divides by nothing but epsilon.
    pub fn has_zero_variance(&self) -> bool {
        self.statistics.iter().any(|layer| layer.variance.contains(&0.0))
    }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Names of all golden files, sorted.
pub fn names() -> Vec<String> {
    let paths = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path());
    let golden = paths.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    let mut names: Vec<String> =
        golden.map(|path| path.file_stem().unwrap().to_str().unwrap().to_string()).collect();
    names.sort();
    names
}

pub fn load(name: &str) -> Value {
    let path = folder().join(format!("{name}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap()
}

pub fn list<T>(value: &Value, item: impl Fn(&Value) -> T) -> Vec<T> {
    value.as_array().unwrap_or_else(|| panic!("not a list: {value}")).iter().map(item).collect()
}

pub fn floats(value: &Value) -> Vec<f32> {
    list(value, |number| number.as_f64().unwrap() as f32)
}

pub fn indices(value: &Value) -> Vec<usize> {
    list(value, index)
}

pub fn index(value: &Value) -> usize {
    value.as_u64().unwrap_or_else(|| panic!("not an index: {value}")) as usize
}

pub fn network(value: &Value) -> Network {
    Network {
        image_size: index(&value["image_size"]),
        image_channels: index(&value["image_channels"]),
        layers: list(&value["layers"], layer),
        head: head(&value["head"]),
    }
}

fn layer(value: &Value) -> Layer {
    Layer {
        name: value["name"].as_str().unwrap().to_string(),
        convolution: convolution(&value["convolution"]),
        in_channels: index(&value["in_channels"]),
        out_channels: index(&value["out_channels"]),
        input_size: index(&value["input_size"]),
        weight: view(&value["weight"]),
        kernel_transform: optional(&value["kernel_transform"], kernel_transform),
        weight_quantizer: optional(&value["weight_quantizer"], weight_quantizer),
        gamma_offset: index(&value["gamma_offset"]),
        beta_offset: index(&value["beta_offset"]),
        activation: activation(&value["activation"]),
        input: value["input"].as_u64().map_or(Source::Image, |layer| Source::Layer(layer as usize)),
        input_quantizer: optional(&value["input_quantizer"], activation_quantizer),
        output_quantizer: optional(&value["output_quantizer"], activation_quantizer),
        residual: optional(&value["residual"], index),
        sum_quantizer: optional(&value["sum_quantizer"], activation_quantizer),
    }
}

fn head(value: &Value) -> Head {
    Head {
        input: index(&value["input"]),
        features: index(&value["features"]),
        classes: index(&value["classes"]),
        weight: view(&value["weight"]),
        bias_offset: index(&value["bias_offset"]),
        input_quantizer: optional(&value["input_quantizer"], activation_quantizer),
        pooled_quantizer: optional(&value["pooled_quantizer"], activation_quantizer),
        weight_quantizer: optional(&value["weight_quantizer"], weight_quantizer),
    }
}

fn optional<T>(value: &Value, item: impl Fn(&Value) -> T) -> Option<T> {
    (!value.is_null()).then(|| item(value))
}

fn view(value: &Value) -> WeightView {
    WeightView { offset: index(&value["offset"]), row_stride: index(&value["row_stride"]) }
}

fn convolution(value: &Value) -> Convolution {
    let size = |key: &str| index(&value[key]);
    match value["kind"].as_str().unwrap() {
        "dense" => Convolution::Dense { kernel: size("kernel"), stride: size("stride") },
        "pointwise" => Convolution::Pointwise,
        "depthwise" => Convolution::Depthwise { kernel: size("kernel"), stride: size("stride") },
        other => panic!("unknown convolution {other}"),
    }
}

fn activation(value: &Value) -> Activation {
    match value.as_str().unwrap() {
        "relu6" => Activation::Relu6,
        "linear" => Activation::Linear,
        other => panic!("unknown activation {other}"),
    }
}

fn kernel_transform(value: &Value) -> KernelTransform {
    let step = |step: &Value| TransformStep {
        kernel: index(&step["kernel"]),
        matrix_offset: index(&step["matrix_offset"]),
    };
    KernelTransform { stored: index(&value["stored"]), steps: list(&value["steps"], step) }
}

fn weight_quantizer(value: &Value) -> WeightQuantizer {
    WeightQuantizer { bits: index(&value["bits"]) as u8, thresholds: floats(&value["thresholds"]).into() }
}

fn activation_quantizer(value: &Value) -> ActivationQuantizer {
    ActivationQuantizer {
        bits: index(&value["bits"]) as u8,
        signed: value["signed"].as_bool().unwrap(),
        range_offset: index(&value["range_offset"]),
        rivals: None,
    }
}

fn statistics(value: &Value) -> NormStatistics {
    NormStatistics { mean: floats(&value["mean"]), variance: floats(&value["variance"]) }
}
