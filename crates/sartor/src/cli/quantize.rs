//! What may be typed after `sartor quantize`.

use std::path::PathBuf;

use clap::Args;

/// Arguments of `sartor quantize`.
#[derive(Debug, Clone, Args)]
pub struct QuantizeArguments {
    /// Trained network: an ONNX file, or safetensors weights of MobileNetV2 by the names of torchvision or timm.
    #[arg(long, value_name = "FILE", required_unless_present_any = ["run", "config"], requires = "data")]
    pub model: Option<PathBuf>,
    /// Folder of images: IDX files, CIFAR binary records, or `train/<class>/*.png`; recognised by what is in it.
    #[arg(long, value_name = "FOLDER")]
    pub data: Option<PathBuf>,
    /// Training images set aside to choose by.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub validation: usize,
    /// Height and width of the network's images, when they come as a folder of pictures.
    #[arg(long, value_name = "PIXELS", default_value_t = 224)]
    pub image_size: usize,
    /// What the network subtracts from a pixel (0 to 1), one number per channel.
    #[arg(long, value_name = "M,…", value_delimiter = ',')]
    pub mean: Vec<f32>,
    /// What it divides by then, one number per channel.
    #[arg(long, value_name = "S,…", value_delimiter = ',')]
    pub std: Vec<f32>,
    /// Chip (a preset or a TOML file), or a cost table (CSV).
    #[arg(long, value_name = "HARDWARE", default_value = "bitfusion-apq")]
    pub hardware: String,
    /// What the result must run on: a name (`onnxruntime-cpu`, `tflite`, `bitfusion`, `c`) or a TOML file; other widths are
    /// not looked at.
    #[arg(long, value_name = "TARGET")]
    pub target: Option<String>,
    /// Latency limit in milliseconds an image.
    #[arg(long, value_name = "MS")]
    pub latency_ms: Option<f64>,
    /// Energy limit in millijoules an image.
    #[arg(long, value_name = "MJ")]
    pub energy_mj: Option<f64>,
    /// Limit on stored weights, scales and biases in bytes.
    #[arg(long, value_name = "BYTES")]
    pub size_bytes: Option<f64>,
    /// Limit on Σ MACs × weight bits × activation bits.
    #[arg(long, value_name = "N")]
    pub bitops: Option<f64>,
    /// Weight widths to choose from; the first layer and the classifier stay at 8.
    #[arg(long, value_name = "BITS,…", value_delimiter = ',', default_value = "4,6,8")]
    pub weights: Vec<u8>,
    /// Activation widths to choose from.
    #[arg(long, value_name = "BITS,…", value_delimiter = ',', default_value = "4,6,8")]
    pub activations: Vec<u8>,
    /// Training images for ranges.
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub calibration_images: usize,
    /// Training images that the sensitivity of every layer is measured on.
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub sensitivity_images: usize,
    /// Epochs of quantization-aware fine-tuning; 0 for none.
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub epochs: usize,
    /// Highest learning rate of the fine-tuning.
    #[arg(long, value_name = "RATE", default_value_t = 0.01)]
    pub learning_rate: f64,
    /// A format to write (onnx, onnx-compact, tflite, c); may be repeated.
    #[arg(long = "format", value_name = "FORMAT", default_values_t = ["onnx".to_owned()])]
    pub formats: Vec<String>,
    /// Folder for what is made.
    #[arg(long, value_name = "FOLDER", default_value = "quantized")]
    pub out: PathBuf,
    /// Instead: compare calibrations on this network, or on the largest network of a run.
    #[arg(long)]
    pub compare_calibrations: bool,
    /// With `--compare-calibrations`: also fine-tune at 4 bits, from the best calibration, for `--epochs`.
    #[arg(long, requires = "compare_calibrations")]
    pub tune: bool,
    /// Config of a run whose network is compared.
    #[arg(value_name = "CONFIG", conflicts_with_all = ["model", "run"], requires = "compare_calibrations")]
    pub config: Option<PathBuf>,
    /// Run folder whose network is compared.
    #[arg(long, value_name = "FOLDER", conflicts_with = "model", requires = "compare_calibrations")]
    pub run: Option<PathBuf>,
}
