//! `sartor profile check`: whole networks on this machine against the sums of their layers.

use std::path::Path;

use anyhow::Result;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sartor_hardware::measured::{ADDITIVITY_LIMIT, Additivity, summarize};
use sartor_hardware::{CostTable, Provenance};
use sartor_space::{Layer, SearchSpace, Workload};
use serde_json::json;

use super::host::{self, clock::Clock};
use super::journal::Journal;
use super::{measuring, onnx};
use crate::cli::{CheckArguments, Global};
use crate::config::load_space;
use crate::failure::Failure;
use crate::run_folder::artefact;
use crate::stages::profile::read_table;
use crate::talk;

/// Channel widths of a line that are measured when there is no table; candidates use few.
const ALL_WIDTHS: usize = usize::MAX;

/// Measures networks, compares, and writes the error into the table.
///
/// # Errors
/// No runtime, a table or space that is not usable, or no network asked for.
pub fn run(arguments: &CheckArguments, global: &Global) -> Result<()> {
    let table = arguments.table.as_deref().map(|path| read_table(&path.display().to_string())).transpose()?;
    let space = space(arguments, table.as_ref())?;
    let batch = batch(arguments, table.as_ref())?;
    let drawn = networks(&space, 2 * arguments.subnets, global.seed.unwrap_or(0))?;
    let (networks, others) = drawn.split_at(arguments.subnets);
    let clock = Clock::open(global.threads.unwrap_or(1))?;
    let mut table = match table {
        Some(table) => table,
        None => measured(&clock, networks, batch)?,
    };
    if arguments.calibrate {
        table = calibrated(&clock, table, others, batch)?;
    }
    let pairs = compare(&clock, &table, networks, batch)?;
    let error = Additivity::of(&pairs)?;
    if let Some(path) = &arguments.table {
        table.provenance.additivity = Some(error);
        write(&table, path)?;
    }
    say(global, &error, &pairs, &clock)
}

fn space(arguments: &CheckArguments, table: Option<&CostTable>) -> Result<SearchSpace> {
    let of_table = table.map(|table| table.provenance.space.clone()).unwrap_or_default();
    match &arguments.space {
        Some(space) => load_space(space),
        None if of_table.is_empty() => {
            Err(Failure::bad_input("the table does not say which space it is for")
                .hint("give `--space`")
                .into())
        }
        None => load_space(&of_table),
    }
}

fn batch(arguments: &CheckArguments, table: Option<&CostTable>) -> Result<usize, Failure> {
    let of_table = table.map_or(1, |table| table.provenance.batch.max(1) as usize);
    match arguments.batch {
        Some(batch) if batch != of_table && table.is_some() => {
            Err(Failure::bad_input(format!("--batch {batch}, but the table is for {of_table}")))
        }
        batch => Ok(batch.unwrap_or(of_table)),
    }
}

fn networks(space: &SearchSpace, count: usize, seed: u64) -> Result<Vec<Workload>, Failure> {
    if count == 0 {
        return Err(Failure::bad_input("--subnets 0: nothing to measure"));
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    Ok((0..count).map(|_| space.lower(&space.random_candidate(&mut rng))).collect())
}

/// A table of just these networks' layers.
fn measured(clock: &Clock, networks: &[Workload], batch: usize) -> Result<CostTable> {
    let layers: Vec<Layer> = networks.iter().flat_map(|network| network.layers.clone()).collect();
    let keys = measuring::distinct(&layers);
    let folder = tempfile::tempdir()?;
    let mut journal = Journal::open(&folder.path().join("check"), "check", true)?;
    let measured = host::measure(clock, &keys, ALL_WIDTHS, batch, &mut journal)?;
    let provenance = Provenance { hardware: "host".into(), marks_first: true, ..Provenance::default() };
    measuring::table(provenance, &keys, |key| measured.of(key))
}

/// The table, multiplied by the median of whole over sum.
fn calibrated(clock: &Clock, table: CostTable, networks: &[Workload], batch: usize) -> Result<CostTable> {
    let pairs = compare(clock, &table, networks, batch)?;
    let ratios: Vec<f64> = pairs.iter().map(|(whole, sum)| whole / sum).collect();
    let factor = summarize(&ratios).map_or(1.0, |ratios| ratios.median);
    let note = format!("latencies multiplied by {factor:.4}, fitted to {} whole networks", networks.len());
    talk::stage_line("profile", &note);
    Ok(table.scaled(factor, &note)?)
}

/// Whole network and sum of layers, in milliseconds.
fn compare(clock: &Clock, table: &CostTable, networks: &[Workload], batch: usize) -> Result<Vec<(f64, f64)>> {
    let pair = |network: &Workload| {
        let sum = table.price(network)?.latency_ms.value();
        let whole = clock.time(&onnx::network(network, batch)?)?.median - clock.overhead_ms();
        Ok((whole, sum))
    };
    networks.iter().map(pair).collect()
}

fn write(table: &CostTable, path: &Path) -> Result<()> {
    artefact::write(path, table.to_csv().as_bytes())?;
    talk::stage_line("profile", &format!("the error is recorded in {}", path.display()));
    Ok(())
}

fn say(global: &Global, error: &Additivity, pairs: &[(f64, f64)], clock: &Clock) -> Result<()> {
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    if error.is_poor() {
        let limit = percent(ADDITIVITY_LIMIT);
        let median = percent(error.median);
        talk::warning_line(&format!(
            "sums of layers are {median} from whole networks (median), more than {limit}"
        ));
        talk::hint_line(
            "`--calibrate` fits one factor; or measure on a quiet machine, or leave a margin in the budget",
        );
    }
    if !global.json {
        talk::data_line(&format!("{} networks on {}", error.networks, clock.describe()))?;
        for (whole, sum) in pairs {
            talk::data_line(&format!(
                "  whole {whole:>9.4} ms   sum of layers {sum:>9.4} ms   {:+.1} %",
                100.0 * (sum / whole - 1.0)
            ))?;
        }
        let Additivity { median, worst, bias, .. } = *error;
        let (median, worst) = (percent(median), percent(worst));
        return Ok(talk::data_line(&format!(
            "additivity error: median {median}, worst {worst}, bias {:+.1} %",
            100.0 * bias
        ))?);
    }
    let networks: Vec<_> =
        pairs.iter().map(|(whole, sum)| json!({ "whole_ms": whole, "sum_ms": sum })).collect();
    let object = json!({ "additivity": error, "poor": error.is_poor(), "networks": networks });
    Ok(talk::data_line(&object.to_string())?)
}
