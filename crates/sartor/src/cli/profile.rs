//! What may be typed after `sartor profile`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Arguments of `sartor profile`.
#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct ProfileArguments {
    /// Something else to do with tables.
    #[command(subcommand)]
    pub action: Option<ProfileAction>,
    /// Config file of a run; or use `--space` and `--hardware`.
    #[arg(value_name = "CONFIG", required_unless_present_any = ["run", "space", "file"])]
    pub config: Option<PathBuf>,
    /// Run folder of an earlier run, with the settings it was made with.
    #[arg(long, value_name = "FOLDER", conflicts_with = "config")]
    pub run: Option<PathBuf>,
    /// Which layers, on what.
    #[command(flatten)]
    pub layers: LayersArguments,
    /// Chip (a preset or a TOML file), `host` to measure this machine, or `command` to run one's own.
    #[arg(long, value_name = "HARDWARE", default_value = "bitfusion-apq")]
    pub hardware: String,
    /// Images at a time.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub batch: usize,
    /// File to write; stdout if absent.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Add compute and stall cycles, traffic per memory, energy per part, and what bounds each layer.
    #[arg(long, conflicts_with = "list")]
    pub breakdown: bool,
    /// Print the layers wanted, for measuring them by other means.
    #[arg(long)]
    pub list: bool,
    /// With `--hardware command`: run for each layer's ONNX file, `{model}` standing for its path; prints milliseconds
    /// and, if measured, millijoules.
    #[arg(long, value_name = "COMMAND")]
    pub command: Option<String>,
    /// With `--hardware command`: seconds after which a layer is given up.
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0)]
    pub timeout: f64,
    /// With `--hardware host`: channel widths measured of each layer that differs in nothing else; the rest is
    /// interpolated.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub widths: usize,
    /// Name of the measured hardware in the table.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
}

/// Which layers.
#[derive(Debug, Clone, Default, Args)]
pub struct LayersArguments {
    /// Search space whose layers are meant: a preset or a TOML file.
    #[arg(long, value_name = "SPACE", conflicts_with_all = ["config", "run"])]
    pub space: Option<String>,
    /// CSV of layers instead of a space.
    #[arg(long = "layers", value_name = "FILE", conflicts_with_all = ["config", "run", "space"])]
    pub file: Option<PathBuf>,
}

/// Other things to do with tables.
#[derive(Debug, Clone, Subcommand)]
pub enum ProfileAction {
    /// Read a table made elsewhere: a CSV, the JSON dictionary of APQ's authors, or one line per layer.
    Import(ImportArguments),
    /// Say which bit-widths never pay on a chip.
    Dominance(DominanceArguments),
    /// Measure whole networks on this machine against the sums of their layers.
    Check(CheckArguments),
}

/// Arguments of `sartor profile import`.
#[derive(Debug, Clone, Args)]
pub struct ImportArguments {
    /// File to read.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// What it is; by default that is seen from its beginning.
    #[arg(long, value_name = "FORMAT", value_parser = ["csv", "dictionary", "per-layer"])]
    pub format: Option<String>,
    /// Network whose layers the lines of a `per-layer` file are.
    #[arg(long, value_name = "NETWORK", default_value = "mobilenet-v2")]
    pub network: String,
    /// Name of the hardware; by default the file's.
    #[arg(long, value_name = "NAME")]
    pub hardware: Option<String>,
    /// Images at a time in the measurements.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub batch: usize,
    /// Refuse if this space needs layers that are not in the file.
    #[arg(long, value_name = "SPACE")]
    pub space: Option<String>,
    /// Table to write; stdout if absent.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Arguments of `sartor profile dominance`.
#[derive(Debug, Clone, Args)]
pub struct DominanceArguments {
    /// Search space whose layers are compared (default: `apq`; a table's own layers).
    #[arg(long, value_name = "SPACE")]
    pub space: Option<String>,
    /// CSV of layers instead of a space.
    #[arg(long, value_name = "FILE", conflicts_with = "space")]
    pub layers: Option<PathBuf>,
    /// Chip (a preset or a TOML file), or a cost table (CSV).
    #[arg(long, value_name = "HARDWARE", default_value = "bitfusion-apq")]
    pub hardware: String,
    /// Images at a time.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub batch: usize,
}

/// Arguments of `sartor profile check`.
#[derive(Debug, Clone, Args)]
pub struct CheckArguments {
    /// Table to check; the error is written into it. Without one the layers are measured now.
    #[arg(value_name = "TABLE")]
    pub table: Option<PathBuf>,
    /// Search space to draw networks from (default: the table's).
    #[arg(long, value_name = "SPACE", required_unless_present = "table")]
    pub space: Option<String>,
    /// What to check on; only `host` can run whole networks.
    #[arg(long, value_name = "HARDWARE", default_value = "host", value_parser = ["host"])]
    pub hardware: String,
    /// Networks to measure.
    #[arg(long, value_name = "K", default_value_t = 10)]
    pub subnets: usize,
    /// First multiply every latency of the table by one factor, fitted to as many other networks: what a runtime does
    /// between layers is not in a sum of layers.
    #[arg(long, requires = "table")]
    pub calibrate: bool,
    /// Images at a time (default: the table's).
    #[arg(long, value_name = "N")]
    pub batch: Option<usize>,
}
