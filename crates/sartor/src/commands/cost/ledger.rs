//! `sartor cost ledger`: what finding a network costs, once and per target.

use std::path::Path;

use anyhow::Result;
use sartor_hardware::ledger::{Device, Ledger, Spent};
use serde_json::json;

use crate::cli::{Global, LedgerArguments};
use crate::failure::Failure;
use crate::run_folder::RunFolder;
use crate::run_folder::timings::Timings;
use crate::stages::Stage;
use crate::talk;

/// Stages whose artefacts serve every target; the others are done again for each.
const FIXED: [Stage; 5] =
    [Stage::Train, Stage::SampleFullPrecision, Stage::Fit, Stage::SampleMixedPrecision, Stage::Transfer];
const SECONDS_PER_HOUR: f64 = 3600.0;

/// Prints the ledger.
///
/// # Errors
/// Hours, power or prices that are impossible, or a run without times.
pub fn run(arguments: &LedgerArguments, global: &Global) -> Result<()> {
    let (fixed, marginal) = match &arguments.run {
        Some(folder) => of_run(folder)?,
        None => (arguments.fixed_hours, arguments.marginal_hours),
    };
    let ledger = device(arguments)?.ledger(fixed, marginal, arguments.targets)?;
    match global.json {
        true => Ok(talk::data_line(&json!(ledger).to_string())?),
        false => print(&ledger),
    }
}

fn device(arguments: &LedgerArguments) -> Result<Device> {
    match (&arguments.device, arguments.watts, &arguments.dollars) {
        (Some(name), Some(watts), Some(dollars)) => Ok(Device::new(name, watts, range(dollars)?)?),
        _ => Ok(Device::of_the_papers()),
    }
}

/// `0.74:2.48`.
fn range(text: &str) -> Result<(f64, f64), Failure> {
    let ends = text.split_once(':').unwrap_or((text, text));
    let number = |text: &str| text.trim().parse::<f64>().ok();
    number(ends.0).zip(number(ends.1)).ok_or_else(|| {
        Failure::bad_input(format!("--dollars {text}: expected a price, or two with a colon"))
            .hint("`--dollars 0.74:2.48`")
    })
}

/// Hours of a run's stages: of those done once, and of those done for each target.
fn of_run(folder: &Path) -> Result<(f64, f64)> {
    let timings = Timings::load(&RunFolder::read_only(folder)?);
    if timings.stages.is_empty() {
        return Err(Failure::bad_input(format!("`{}` holds no times of stages", folder.display())).into());
    }
    let once = |name: &str| FIXED.iter().any(|stage| stage.key() == name);
    let seconds = |fixed: bool| -> f64 {
        let stages = timings.stages.iter().filter(|(name, _)| once(name) == fixed);
        stages.map(|(_, time)| time.seconds).sum()
    };
    Ok((seconds(true) / SECONDS_PER_HOUR, seconds(false) / SECONDS_PER_HOUR))
}

fn print(ledger: &Ledger) -> Result<()> {
    let Device { name, watts, .. } = &ledger.device;
    talk::data_line(&format!("{name}, {watts} W, PUE 1.58, 0.954 lbs CO₂ per kWh"))?;
    let head = ("hours", "kWh", "lbs CO₂", "cloud");
    talk::data_line(&format!("{:<12} {:>12} {:>12} {:>12}  {}", "", head.0, head.1, head.2, head.3))?;
    talk::data_line(&line("once", &ledger.fixed))?;
    talk::data_line(&line("per target", &ledger.marginal))?;
    Ok(talk::data_line(&line(&format!("{} target(s)", ledger.targets), &ledger.total))?)
}

fn line(what: &str, spent: &Spent) -> String {
    let Spent { hours, kilowatt_hours, co2_pounds, dollars_low, dollars_high } = spent;
    format!(
        "{what:<12} {hours:>12.4} {kilowatt_hours:>12.4} {co2_pounds:>12.4}  ${dollars_low:.2} – ${dollars_high:.2}"
    )
}
