//! What may be typed: every command and flag, nothing about what it means.

mod asking;
mod cost;
mod profile;
mod quantize;

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

pub use asking::{
    ChipArgument, CompareArguments, FrontArguments, PortfolioArguments, RetargetArguments, SearchArguments,
};
pub use cost::{CostAction, CostArguments, LedgerArguments};
pub use profile::{
    CheckArguments, DominanceArguments, ImportArguments, LayersArguments, ProfileAction, ProfileArguments,
};

pub use quantize::QuantizeArguments;

/// Cuts a neural network to measure: searches architecture, channel widths and bit-widths together for a chip
/// and a budget, and hands back a trained, quantized, verified model.
#[derive(Debug, Parser)]
#[command(name = "sartor", version, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// Flags every command understands.
    #[command(flatten)]
    pub global: Global,
}

/// Flags every command understands.
#[derive(Debug, Clone, Default, Args)]
pub struct Global {
    /// Print one JSON object as the last line of stdout.
    #[arg(long, global = true)]
    pub json: bool,
    /// Seed of every random draw (config key `seed`).
    #[arg(long, global = true, value_name = "N")]
    pub seed: Option<u64>,
    /// Threads to compute with; the results do not depend on it (config key `threads`, default: all cores).
    #[arg(long, global = true, value_name = "N")]
    pub threads: Option<usize>,
    /// Most memory that training may take, for example `2GB`: larger batches go through the network in parts (config
    /// key `run.memory`; the parts' batch norm makes results differ).
    #[arg(long, global = true, value_name = "SIZE")]
    pub memory: Option<String>,
    /// Override one config key, for example `--set search.generations=100`; may be repeated.
    #[arg(long = "set", global = true, value_name = "SECTION.KEY=VALUE")]
    pub overrides: Vec<String>,
    /// Redo stages even if their inputs have not changed.
    #[arg(long, global = true)]
    pub force: bool,
}

/// Where a stage finds its run.
#[derive(Debug, Clone, Args)]
pub struct Target {
    /// Config file of the run.
    #[arg(value_name = "CONFIG", required_unless_present = "run", conflicts_with = "run")]
    pub config: Option<PathBuf>,
    /// Run folder of an earlier run, with the settings it was made with.
    #[arg(long, value_name = "FOLDER")]
    pub run: Option<PathBuf>,
}

/// Where `fit` and `transfer` find their pairs.
#[derive(Debug, Clone, Args)]
pub struct PairsArguments {
    /// Config file of the run.
    #[arg(value_name = "CONFIG", required_unless_present_any = ["run", "pairs"], conflicts_with_all = ["run", "pairs"])]
    pub config: Option<PathBuf>,
    /// Run folder of an earlier run, with the settings it was made with.
    #[arg(long, value_name = "FOLDER", conflicts_with = "pairs")]
    pub run: Option<PathBuf>,
    /// Any CSV of pairs (`candidate` or `block_0 … block_N`, and `accuracy`) instead of a run.
    #[arg(long, value_name = "FILE", requires = "space")]
    pub pairs: Option<PathBuf>,
    /// Search space of the pairs: a preset or a TOML file.
    #[arg(long, value_name = "SPACE", requires = "pairs")]
    pub space: Option<String>,
    /// Pairs to fit on (default: four fifths of them).
    #[arg(long, value_name = "N", requires = "pairs")]
    pub samples: Option<usize>,
    /// Pairs to judge on: `rest`, or a share of the file (default: rest).
    #[arg(long, value_name = "rest|SHARE", requires = "pairs")]
    pub holdout: Option<Holdout>,
}

/// Arguments of `sartor fit`.
#[derive(Debug, Clone, Args)]
pub struct FitArguments {
    /// Which pairs.
    #[command(flatten)]
    pub pairs: PairsArguments,
    /// Every method on the same pairs and splits, the papers' network among them, as a table.
    #[arg(long)]
    pub compare: bool,
}

/// Arguments of `sartor transfer`.
#[derive(Debug, Clone, Args)]
pub struct TransferArguments {
    /// Which pairs; with `--pairs`, the full-precision ones, and `--samples` and `--holdout` speak of `--mixed`.
    #[command(flatten)]
    pub pairs: PairsArguments,
    /// Any CSV of mixed-precision pairs (column `candidate` with bits, and `accuracy`).
    #[arg(long, value_name = "FILE", requires = "pairs")]
    pub mixed: Option<PathBuf>,
    /// Variants on the same pairs and splits: policy head before or after the first ReLU, what is frozen, every method
    /// with and without transfer.
    #[arg(long)]
    pub ablate: bool,
    /// Learning curves: pairwise accuracy against the number of mixed-precision pairs, with and without transfer.
    #[arg(long)]
    pub curves: bool,
    /// CSV of the learning curves (default: `learning-curve.csv`, in the run folder if there is one).
    #[arg(long, value_name = "FILE", requires = "curves")]
    pub out: Option<PathBuf>,
}

/// Which pairs judge a predictor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Holdout {
    /// All that it was not fitted on.
    Rest,
    /// A share of all pairs, above 0 and below 1.
    Share(f64),
}

impl FromStr for Holdout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse::<f64>() {
            Ok(share) if share > 0.0 && share < 1.0 => Ok(Self::Share(share)),
            _ if text == "rest" => Ok(Self::Rest),
            _ => Err("expected `rest` or a share between 0 and 1".to_owned()),
        }
    }
}

/// The commands; the stages stand in the order in which `run` goes through them.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Everything: from images to a verified model and its report.
    Run(RunArguments),
    /// Train the supernet by progressive shrinking.
    Train(Target),
    /// Measure accuracies of random candidates.
    Sample(SampleArguments),
    /// Fit the full-precision accuracy predictor.
    Fit(FitArguments),
    /// Transfer it to mixed precision.
    Transfer(TransferArguments),
    /// Price everything the space can reach on a chip.
    Profile(ProfileArguments),
    /// Search the best candidate under the budget.
    Search(SearchArguments),
    /// Draw accuracy against latency and energy: every candidate worth choosing, from a finished run.
    Front(FrontArguments),
    /// Another chip, batch or budget for a finished run, without training.
    Retarget(RetargetArguments),
    /// The fewest models that serve several chips or budgets, from a finished run.
    Portfolio(PortfolioArguments),
    /// Joint search beside baselines at equal budget and equal evaluations, on a finished run.
    Compare(CompareArguments),
    /// Fine-tune the winner and its references.
    Finetune(Target),
    /// Write the models in deployable formats.
    Export(ExportArguments),
    /// Check the exported models in a real runtime.
    Verify(Target),
    /// Write `report.html`.
    Report(Target),
    /// Give a trained network from elsewhere (ONNX, MobileNetV2 weights) the bits that a budget allows.
    Quantize(Box<QuantizeArguments>),
    /// Price one network or many candidates.
    Cost(CostArguments),
    /// Reproduce a table or figure of the papers on a config's own images.
    Reproduce(ReproduceArguments),
    /// How well subnets inherit: their accuracy against the same networks trained alone, and what each part of the
    /// training buys.
    Study(StudyArguments),
    /// Print a search space.
    Space(SpaceArguments),
    /// Print shell completions.
    Completions {
        /// The shell to write them for.
        shell: Shell,
    },
}

/// Arguments of `sartor run`.
#[derive(Debug, Clone, Args)]
pub struct RunArguments {
    /// Config file, for example `configs/quickstart.toml`.
    #[arg(value_name = "CONFIG")]
    pub config: PathBuf,
    /// Search system (config key `method.name`, default apq): apq, spos, chamnet, amc, haq, sequential, uniform, …
    /// In a run folder that another method has searched, the results go to `methods/<METHOD>` inside it.
    #[arg(long, value_name = "METHOD")]
    pub method: Option<String>,
    /// Use what is finished of another run before its search (supernet, accuracies, predictors, cost table).
    #[arg(long, value_name = "FOLDER")]
    pub from: Option<PathBuf>,
    /// What the result must run on: a target's name or TOML file; cuts the space's widths (config key `space.target`).
    #[arg(long, value_name = "TARGET")]
    pub target: Option<String>,
}

/// Arguments of `sartor export`.
#[derive(Debug, Clone, Args)]
pub struct ExportArguments {
    /// Which run.
    #[command(flatten)]
    pub target: Target,
    /// A format to write (config key `export.formats`); may be repeated.
    #[arg(long = "format", value_name = "FORMAT")]
    pub formats: Vec<String>,
    /// Put a class 0 in front that never wins, for label files of 1,001 classes (config key `export.background_class`).
    #[arg(long)]
    pub background_class: bool,
}

/// Arguments of `sartor sample`.
#[derive(Debug, Clone, Args)]
pub struct SampleArguments {
    /// Which run.
    #[command(flatten)]
    pub target: Target,
    /// Mixed-precision pairs instead of full-precision ones.
    #[arg(long)]
    pub quantized: bool,
    /// Choose and measure so many more mixed-precision pairs on a finished run (`accuracies-more.csv`); the next
    /// `sartor transfer` learns from them. Says whether choosing beats chance on the pairs that are there.
    #[arg(long, value_name = "N")]
    pub more: Option<usize>,
    /// How to choose them: where the ensemble disagrees, near the front under the run's budget, or at random.
    #[arg(long, value_name = "WAY", requires = "more", default_value = "disagreement", value_parser = ["disagreement", "front", "random"])]
    pub by: String,
    /// Only say whether choosing beats chance, measure nothing.
    #[arg(long, requires = "more")]
    pub study: bool,
}

/// Arguments of `sartor reproduce`.
#[derive(Debug, Clone, Args)]
pub struct ReproduceArguments {
    /// table2, fig3, fig4, fig5, fig6, gong-lambda, gong-table3, gong-table4, gong-fig4, lpirc-table1 or
    /// proxyless-targets (searches alone, nothing is fine-tuned).
    #[arg(value_name = "WHAT")]
    pub what: String,
    /// Config whose run is used, and made if it is not there (default: configs/fashion-mnist.toml, with --quick
    /// configs/quickstart.toml).
    #[arg(long, value_name = "CONFIG")]
    pub config: Option<PathBuf>,
    /// Minutes instead of hours: fewer budgets, tries and fine-tuning epochs; the results say so.
    #[arg(long)]
    pub quick: bool,
    /// Seeds of search and fine-tuning, all on the run's one supernet.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub seeds: u64,
    /// Folder of the CSV, the picture and the page.
    #[arg(long, value_name = "FOLDER", default_value = "results")]
    pub out: PathBuf,
}

/// Arguments of `sartor space`.
#[derive(Debug, Clone, Args)]
pub struct SpaceArguments {
    /// A preset or a TOML file; without it the presets are listed.
    #[arg(value_name = "SPACE")]
    pub space: Option<String>,
    /// Show it as this target cuts it: a name (`onnxruntime-cpu`, `tflite`, `bitfusion`, `c`) or a TOML file.
    #[arg(long, value_name = "TARGET", requires = "space")]
    pub target: Option<String>,
}

/// Arguments of `sartor study`.
#[derive(Debug, Clone, Args)]
pub struct StudyArguments {
    /// The run whose supernet is studied.
    #[command(flatten)]
    pub target: Target,
    /// Random subnets that are trained alone.
    #[arg(long, value_name = "N", default_value_t = 12)]
    pub subnets: usize,
    /// Draw one subnet from each equal part of the range of log MACs, so that the smallest and the largest are among them;
    /// otherwise every choice is drawn alone, and most subnets are of middle size.
    #[arg(long)]
    pub spread: bool,
    /// Leave out the supernets without distillation and without channel sorting.
    #[arg(long)]
    pub no_ablation: bool,
}
