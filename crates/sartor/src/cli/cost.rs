//! What may be typed after `sartor cost`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// Arguments of `sartor cost`.
#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct CostArguments {
    /// Something else that costs.
    #[command(subcommand)]
    pub action: Option<CostAction>,
    /// `mobilenet-v2`, another known network, or a candidate's JSON file.
    #[arg(
        long,
        value_name = "NETWORK",
        required_unless_present = "candidates",
        conflicts_with = "candidates"
    )]
    pub network: Option<String>,
    /// File of candidates, one JSON object a line.
    #[arg(long, value_name = "FILE")]
    pub candidates: Option<PathBuf>,
    /// Bits of a known network: `8`, or `4:8` for weights and activations.
    #[arg(long, value_name = "W[:A]", default_value = "8")]
    pub bits: String,
    /// Chip (a preset or a TOML file), or a cost table (CSV).
    #[arg(long, value_name = "HARDWARE", default_value = "bitfusion-apq")]
    pub hardware: String,
    /// Images at a time.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub batch: usize,
    /// What is counted: every layer, or the sum of the authors' release.
    #[arg(long, value_name = "WHAT", default_value = "full", value_parser = ["full", "release"])]
    pub accounting: String,
    /// Search space of the candidates, when it is not a preset.
    #[arg(long, value_name = "SPACE")]
    pub space: Option<String>,
    /// Print every layer, not only the totals.
    #[arg(long)]
    pub layers: bool,
}

/// Other costs.
#[derive(Debug, Clone, Subcommand)]
pub enum CostAction {
    /// What finding a network costs: energy, CO₂ and the cloud's price, once and per target.
    Ledger(LedgerArguments),
}

/// Arguments of `sartor cost ledger`.
#[derive(Debug, Clone, Args)]
pub struct LedgerArguments {
    /// Run folder whose stages' times are taken, instead of hours given here.
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["fixed_hours", "marginal_hours"])]
    pub run: Option<PathBuf>,
    /// Device hours that are spent once.
    #[arg(long, value_name = "HOURS", default_value_t = 0.0)]
    pub fixed_hours: f64,
    /// Device hours for each target.
    #[arg(long, value_name = "HOURS", default_value_t = 0.0)]
    pub marginal_hours: f64,
    /// Number of targets in the total.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub targets: u32,
    /// Name of a device other than the papers'.
    #[arg(long, value_name = "NAME", requires_all = ["watts", "dollars"])]
    pub device: Option<String>,
    /// Its power in watts.
    #[arg(long, value_name = "W", requires = "device")]
    pub watts: Option<f64>,
    /// Its price an hour in dollars, cheapest and dearest.
    #[arg(long, value_name = "LOW:HIGH", requires = "device")]
    pub dollars: Option<String>,
}
