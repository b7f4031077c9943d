//! `sartor profile --hardware command`: one's own command measures each layer.

mod shell;

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use sartor_hardware::{CostTable, LayerKey, measured};
use serde_json::{Value, json};

use super::journal::{Entry, Journal};
use super::layers::{Wanted, wanted};
use super::{measuring, onnx};
use crate::cli::{Global, ProfileArguments};
use crate::failure::Failure;
use crate::talk;

/// What stands for a layer's file in the command.
const PLACE: &str = "{model}";
/// Failures in a row after which the command is taken to be broken.
const HOPELESS: usize = 20;
/// Longest time-out, in seconds.
const LONGEST: f64 = 86_400.0;

/// Measures each layer with the user's command, goes on where an earlier process stopped, and reports what failed.
///
/// # Errors
/// A command that cannot be meant, a file that cannot be written, or layers that failed.
pub fn run(arguments: &ProfileArguments, global: &Global) -> Result<()> {
    let settings = Settings::read(arguments)?;
    let Wanted { layers, space } = wanted(&arguments.layers)?;
    let keys = measuring::distinct(&layers);
    let mut journal = Journal::open(settings.out, &settings.measuring(arguments), global.force)?;
    let tally = measure_all(&settings, &keys, &mut journal, arguments.batch)?;
    let model = format!("measured by `{}`", settings.command);
    let provenance = measuring::provenance(arguments, space.as_ref(), model, tally.notes());
    let table = measuring::table(provenance, &keys, |key| journal.get(key))?;
    super::write(&table.to_csv(), Some(settings.out), &format!("{} rows", table.rows().len()))?;
    report(global, &settings, &tally, &table)?;
    tally.end(journal)
}

/// What was asked for, checked.
struct Settings<'a> {
    command: &'a str,
    timeout: Duration,
    out: &'a Path,
}

impl<'a> Settings<'a> {
    fn read(arguments: &'a ProfileArguments) -> Result<Self, Failure> {
        let command = arguments.command.as_deref().unwrap_or_default();
        if !command.contains(PLACE) {
            return Err(Failure::bad_input(format!(
                "--command `{command}` does not say where the model goes"
            ))
            .hint("for example `--command './time-on-board.sh {model}'`"));
        }
        let seconds = arguments.timeout;
        if !(seconds > 0.0 && seconds <= LONGEST) {
            return Err(Failure::bad_input(format!(
                "--timeout {seconds}: expected seconds, more than 0 and at most {LONGEST}"
            )));
        }
        Ok(Self { command, timeout: Duration::from_secs_f64(seconds), out: measuring::out(arguments)? })
    }

    /// What a journal must be about to be gone on with.
    fn measuring(&self, arguments: &ProfileArguments) -> String {
        format!("`{}` at batch {}", self.command, arguments.batch)
    }
}

/// How it went.
#[derive(Default)]
struct Tally {
    measured: usize,
    resumed: usize,
    failed: Vec<(LayerKey, String)>,
    not_tried: usize,
}

fn measure_all(
    settings: &Settings<'_>,
    keys: &[LayerKey],
    journal: &mut Journal,
    batch: usize,
) -> Result<Tally> {
    let folder = tempfile::tempdir()?;
    let mut tally = Tally::default();
    let mut in_a_row = 0;
    for (place, key) in keys.iter().enumerate() {
        if journal.get(key).is_some() {
            tally.resumed += 1;
            continue;
        }
        if in_a_row == HOPELESS {
            tally.not_tried = keys[place..].iter().filter(|key| journal.get(key).is_none()).count();
            break;
        }
        match measure(settings, key, batch, folder.path()) {
            Ok(entry) => {
                journal.keep(key, entry)?;
                (tally.measured, in_a_row) = (tally.measured + 1, 0);
            }
            Err(reason) => {
                talk::warning_line(&format!("layer {key} failed: {reason}"));
                tally.failed.push((*key, reason));
                in_a_row += 1;
            }
        }
    }
    Ok(tally)
}

/// Writes a layer's model and runs the command; why it failed is told, not returned as an error.
fn measure(settings: &Settings<'_>, key: &LayerKey, batch: usize, folder: &Path) -> Result<Entry, String> {
    let model = onnx::layer(key, batch).map_err(|failure| failure.to_string())?;
    let path = folder.join(onnx::file_name(key));
    std::fs::write(&path, model.bytes).map_err(|error| format!("cannot write its model: {error}"))?;
    let line = settings.command.replace(PLACE, &shell::quoted(&path));
    let output = shell::run(&line, settings.timeout);
    let _ = std::fs::remove_file(&path);
    let measurement = measured::read_output(&output?).map_err(|error| error.to_string())?;
    Ok(Entry { latency_ms: measurement.latency_ms, energy_mj: measurement.energy_mj, spread: None })
}

impl Tally {
    fn notes(&self) -> Vec<String> {
        let missing = self.failed.len() + self.not_tried;
        if missing == 0 {
            vec![]
        } else {
            vec![format!("incomplete: {missing} layers could not be measured")]
        }
    }

    /// The journal is done with once the table holds everything.
    fn end(self, journal: Journal) -> Result<()> {
        let missing = self.failed.len() + self.not_tried;
        if missing == 0 {
            journal.finish();
            return Ok(());
        }
        let stopped = match self.not_tried {
            0 => String::new(),
            count => format!("; {count} more were not tried after {HOPELESS} failures in a row"),
        };
        let message = format!("{} of the layers failed{stopped}", self.failed.len());
        let hint = format!(
            "mend the command and run the same line again; what is measured is kept in `{}`",
            journal.path().display()
        );
        Err(Failure::failed(message).hint(hint).into())
    }

    fn failed_json(&self) -> Vec<Value> {
        let one = |(key, reason): &(LayerKey, String)| json!({ "layer": key, "reason": reason });
        self.failed.iter().map(one).collect()
    }
}

fn report(global: &Global, settings: &Settings<'_>, tally: &Tally, table: &CostTable) -> Result<()> {
    if tally.resumed > 0 {
        talk::stage_line("profile", &format!("{} layers were measured before", tally.resumed));
    }
    if !global.json {
        return Ok(());
    }
    let object = json!({
        "rows": table.rows().len(),
        "measured": tally.measured,
        "resumed": tally.resumed,
        "failed": tally.failed_json(),
        "not_tried": tally.not_tried,
        "provenance": table.provenance,
        "file": settings.out,
    });
    Ok(talk::data_line(&object.to_string())?)
}
