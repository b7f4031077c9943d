//! `sartor profile --hardware host`: measures this machine through ONNX Runtime.
//!
//! Every width up to 8 bits runs in 8-bit containers, so such rows share one measurement. A few channel widths of each
//! layer are measured and the rest interpolated; the error on rows held out is stated in the table.

pub mod clock;

use std::collections::HashMap;

use anyhow::Result;
use sartor_hardware::LayerKey;
use sartor_hardware::measured::{HeldOut, Lines};
use serde_json::json;

use super::journal::{Entry, Journal};
use super::layers::{Wanted, wanted};
use super::{measuring, onnx};
use crate::cli::{Global, ProfileArguments};
use crate::talk;
use clock::Clock;

/// Width of the containers of integer kernels.
const CONTAINER_BITS: u8 = 8;

/// Measures the layers on this machine.
///
/// # Errors
/// No runtime, widths it does not compute, or a file that cannot be written.
pub fn run(arguments: &ProfileArguments, global: &Global) -> Result<()> {
    let out = measuring::out(arguments)?;
    let Wanted { layers, space } = wanted(&arguments.layers)?;
    let keys = measuring::distinct(&layers);
    let clock = Clock::open(global.threads.unwrap_or(1))?;
    let title = format!("{} at batch {}, {} widths", clock.describe(), arguments.batch, arguments.widths);
    let mut journal = Journal::open(out, &title, global.force)?;
    let measured = measure(&clock, &keys, arguments.widths, arguments.batch, &mut journal)?;
    let provenance = measuring::provenance(
        arguments,
        space.as_ref(),
        clock.describe(),
        measured.notes(&clock, keys.len()),
    );
    let table = measuring::table(provenance, &keys, |key| measured.of(key))?;
    super::write(&table.to_csv(), Some(out), &format!("{} rows", table.rows().len()))?;
    journal.finish();
    measured.say(&clock);
    if global.json {
        let object = json!({
            "rows": table.rows().len(),
            "measured": measured.count,
            "held_out": measured.held_out,
            "spread_median": measured.spread(0.5),
            "spread_worst": measured.spread(1.0),
            "overhead_ms": clock.overhead_ms(),
            "provenance": table.provenance,
            "file": out,
        });
        talk::data_line(&object.to_string())?;
    }
    Ok(())
}

/// The layer whose kernel runs for this one.
pub fn container(key: &LayerKey) -> Result<LayerKey> {
    let key = LayerKey { first: false, ..*key };
    Ok(match onnx::Arithmetic::of(&key)? {
        onnx::Arithmetic::Integer => {
            LayerKey { weight_bits: CONTAINER_BITS, activation_bits: CONTAINER_BITS, ..key }
        }
        onnx::Arithmetic::Float => key,
    })
}

/// What was measured and what follows from it.
pub struct Measured {
    latencies: HashMap<LayerKey, f64>,
    spreads: Vec<f64>,
    count: usize,
    kernels: usize,
    held_out: Option<HeldOut>,
}

/// Measures a few widths of each line, and fills in the rest.
///
/// # Errors
/// Widths the runtime does not compute, or a model it refuses.
pub fn measure(
    clock: &Clock,
    keys: &[LayerKey],
    widths: usize,
    batch: usize,
    journal: &mut Journal,
) -> Result<Measured> {
    let mut kernels = keys.iter().map(container).collect::<Result<Vec<_>>>()?;
    kernels.sort_unstable();
    kernels.dedup();
    let lines = Lines::new(&kernels, widths);
    let mut measured = HashMap::new();
    let mut spreads = vec![];
    for key in lines.to_measure() {
        let entry = match journal.get(&key) {
            Some(entry) => entry,
            None => {
                let entry = clock.layer(&key, batch)?;
                journal.keep(&key, entry)?;
                entry
            }
        };
        measured.insert(key, entry.latency_ms);
        spreads.extend(entry.spread);
    }
    spreads.sort_by(f64::total_cmp);
    let held_out = lines.held_out(&measured);
    let (count, latencies) = (measured.len(), lines.fill(&measured));
    Ok(Measured { latencies, spreads, count, kernels: kernels.len(), held_out })
}

impl Measured {
    /// The price of a layer.
    pub fn of(&self, key: &LayerKey) -> Option<Entry> {
        let latency_ms = *self.latencies.get(&container(key).ok()?)?;
        Some(Entry { latency_ms, energy_mj: None, spread: None })
    }

    /// A quantile of the spreads of the rows measured.
    fn spread(&self, share: f64) -> f64 {
        let last = self.spreads.len().saturating_sub(1);
        self.spreads.get((share * last as f64).round() as usize).copied().unwrap_or(0.0)
    }

    fn notes(&self, clock: &Clock, rows: usize) -> Vec<String> {
        let Self { count, kernels, .. } = self;
        let mut notes = vec![
            format!("{rows} rows are {kernels} kernels: all widths up to 8 bits run in 8-bit containers"),
            format!("{count} kernels measured, {} interpolated between channel widths", kernels - count),
            format!(
                "spread of the runs: median {:.1} %, worst {:.1} %",
                100.0 * self.spread(0.5),
                100.0 * self.spread(1.0)
            ),
            format!("{:.4} ms of overhead per call subtracted; energy is not measured", clock.overhead_ms()),
        ];
        notes.extend(self.held_out.map(|error| held_out_text(&error)));
        notes
    }

    fn say(&self, clock: &Clock) {
        talk::stage_line("profile", &format!("{} kernels measured on {}", self.count, clock.describe()));
        if let Some(error) = &self.held_out {
            talk::stage_line("profile", &held_out_text(error));
        }
    }
}

fn held_out_text(error: &HeldOut) -> String {
    format!(
        "interpolation error on {} kernels held out: median {:.1} %, worst {:.1} %",
        error.rows,
        100.0 * error.median,
        100.0 * error.worst
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn narrow_widths_share_a_kernel_and_floats_do_not() {
        let key = |weight_bits, activation_bits| LayerKey {
            in_channels: 8,
            out_channels: 8,
            input_size: 8,
            kernel: 1,
            stride: 1,
            padding: 0,
            groups: 1,
            weight_bits,
            activation_bits,
            first: true,
        };
        assert_eq!(container(&key(2, 6)).unwrap(), LayerKey { first: false, ..key(8, 8) });
        assert_eq!(container(&key(32, 32)).unwrap(), LayerKey { first: false, ..key(32, 32) });
        assert!(container(&key(8, 32)).is_err());
    }
}
