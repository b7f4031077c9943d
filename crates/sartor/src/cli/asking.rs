//! Flags of the commands that ask a finished run.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Args;

use super::Target;
use crate::config::sections::Budget;

/// Hard limits; without any, those of the run's config.
#[derive(Debug, Clone, Default, Args)]
pub struct BudgetArguments {
    /// Latency of one inference, in milliseconds.
    #[arg(long, value_name = "MS", allow_negative_numbers = true)]
    pub latency_ms: Option<f64>,
    /// Energy of one inference, in millijoules.
    #[arg(long, value_name = "MJ", allow_negative_numbers = true)]
    pub energy_mj: Option<f64>,
    /// MACs × weight bits × activation bits.
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true)]
    pub bitops: Option<f64>,
    /// Stored weights, in bytes.
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true)]
    pub size_bytes: Option<f64>,
    /// Largest sum of live activations, in bytes.
    #[arg(long, value_name = "BYTES", allow_negative_numbers = true)]
    pub peak_activation_bytes: Option<f64>,
    /// Multiply-accumulates.
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true)]
    pub macs: Option<f64>,
}

impl BudgetArguments {
    /// The limits as a config would have them.
    pub fn budget(&self) -> Budget {
        Budget {
            latency_ms: self.latency_ms,
            energy_mj: self.energy_mj,
            bitops: self.bitops,
            size_bytes: self.size_bytes,
            peak_activation_bytes: self.peak_activation_bytes,
            macs: self.macs,
            ..Budget::default()
        }
    }
}

/// A chip, and limits of its own: `NAME` or `NAME:latency_ms=8.4,energy_mj=12.2`.
#[derive(Debug, Clone, PartialEq)]
pub struct ChipArgument {
    /// A preset, a TOML file or a cost table.
    pub name: String,
    /// Limits by metric.
    pub limits: Vec<(String, f64)>,
}

impl FromStr for ChipArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, limits) = match text.rsplit_once(':') {
            Some((name, limits)) if limits.contains('=') => (name, limits),
            _ => (text, ""),
        };
        let limit = |part: &str| {
            let (metric, value) = part.split_once('=').ok_or(format!("`{part}`: expected metric=limit"))?;
            let value = value.trim().parse().map_err(|_| format!("`{part}`: `{value}` is no number"))?;
            Ok((metric.trim().to_owned(), value))
        };
        let limits = limits.split(',').filter(|part| !part.trim().is_empty()).map(limit);
        Ok(Self { name: name.to_owned(), limits: limits.collect::<Result<_, String>>()? })
    }
}

/// Arguments of `sartor search`.
#[derive(Debug, Clone, Args)]
pub struct SearchArguments {
    /// Which run. With a limit or a chip it is only asked, never changed.
    #[command(flatten)]
    pub target: Target,
    /// Answers another budget from a finished run.
    #[command(flatten)]
    pub budget: BudgetArguments,
    /// Answer for another chip, at the limits given or at `NAME:latency_ms=8.4,energy_mj=12.2`; repeated, one network for
    /// all of them.
    #[arg(long, value_name = "HARDWARE")]
    pub hardware: Vec<ChipArgument>,
    /// Rounds of searching, measuring and refitting (config key `search.rounds`).
    #[arg(long, value_name = "N")]
    pub rounds: Option<usize>,
}

/// Arguments of `sartor front`.
#[derive(Debug, Clone, Args)]
pub struct FrontArguments {
    /// Which run.
    #[command(flatten)]
    pub target: Target,
    /// Only what meets these limits.
    #[command(flatten)]
    pub budget: BudgetArguments,
    /// Another chip than the run's.
    #[arg(long, value_name = "HARDWARE")]
    pub hardware: Option<ChipArgument>,
    /// Folder for `front.csv` and `front.html` (default: `front` in the run folder).
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
}

/// Arguments of `sartor retarget`.
#[derive(Debug, Clone, Args)]
pub struct RetargetArguments {
    /// Which run.
    #[command(flatten)]
    pub target: Target,
    /// Another budget; default: the run's.
    #[command(flatten)]
    pub budget: BudgetArguments,
    /// Another chip; default: the run's.
    #[arg(long, value_name = "HARDWARE")]
    pub hardware: Option<ChipArgument>,
    /// Images at a time; default: the run's.
    #[arg(long, value_name = "N")]
    pub batch: Option<usize>,
    /// File for the found candidate's JSON.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Arguments of `sartor portfolio`.
#[derive(Debug, Clone, Args)]
pub struct PortfolioArguments {
    /// Which run.
    #[command(flatten)]
    pub target: Target,
    /// Limits of every chip that names none of its own.
    #[command(flatten)]
    pub budget: BudgetArguments,
    /// A chip to be served, `NAME` or `NAME:latency_ms=8.4,energy_mj=12.2`; repeat it, also with one chip and several
    /// budgets.
    #[arg(long, value_name = "HARDWARE", required = true)]
    pub hardware: Vec<ChipArgument>,
    /// Predicted accuracy, in points, that a chip may lose against a model of its own.
    #[arg(long, value_name = "POINTS", default_value_t = 0.5)]
    pub loss: f64,
}

/// Arguments of `sartor compare`.
#[derive(Debug, Clone, Args)]
pub struct CompareArguments {
    /// Which run.
    #[command(flatten)]
    pub target: Target,
    /// The budget; default: the run's.
    #[command(flatten)]
    pub budget: BudgetArguments,
    /// Another chip than the run's.
    #[arg(long, value_name = "HARDWARE")]
    pub hardware: Option<ChipArgument>,
    /// Searches per baseline, one seed each.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub seeds: u64,
    /// Candidates that every baseline may score (default: as the run's search).
    #[arg(long, value_name = "N")]
    pub evaluations: Option<u64>,
    /// The papers' table 1 instead, from what every method's search was seen to do: training steps, images, evaluations,
    /// look-ups, widths and bits tried.
    #[arg(long)]
    pub capabilities: bool,
    /// Only these baselines; may be repeated.
    #[arg(long = "baseline", value_name = "NAME")]
    pub baselines: Vec<String>,
    /// Measure every winner as the search does (calibration, short fine-tune, validation split).
    #[arg(long)]
    pub measure: bool,
    /// Folder for `compare.csv`, `compare.json` and `compare.html` (default: `compare` in the run folder).
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chip_may_bring_its_limits() {
        let chip = |text: &str| text.parse::<ChipArgument>();
        assert_eq!(chip("eyeriss"), Ok(ChipArgument { name: "eyeriss".into(), limits: vec![] }));
        let limits = vec![("latency_ms".to_owned(), 8.4), ("energy_mj".to_owned(), 12.0)];
        let expected = ChipArgument { name: "c:/a.toml".into(), limits };
        assert_eq!(chip("c:/a.toml:latency_ms=8.4,energy_mj=12"), Ok(expected));
        assert!(chip("a:latency_ms=fast").is_err());
    }
}
