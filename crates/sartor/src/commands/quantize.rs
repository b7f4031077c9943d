//! `sartor quantize`: a trained network from elsewhere gets the bits that a budget allows.
//!
//! Reads the network, observes it on training images, measures what every width costs every layer, searches widths
//! under the budget, fine-tunes, exports and verifies. The first layer and the classifier stay at 8 bits.

mod calibrated;
mod choice;
mod compare;
mod outcome;
mod sensitivity;
mod shipped;
mod source;
mod trainee;

use anyhow::Result;
use serde_json::{Value, json};

use crate::cli::{Global, QuantizeArguments};
use crate::talk;
use calibrated::Calibrated;
use outcome::Outcome;
use sensitivity::Sensitivity;
use source::Source;

/// Quantizes.
///
/// # Errors
/// A network or images that cannot be used (exit code 2), a budget that cannot be met (3), a runtime that disagrees.
pub fn run(arguments: &QuantizeArguments, global: &Global) -> Result<()> {
    if arguments.compare_calibrations {
        crate::session::size_thread_pool(global.threads.unwrap_or(0))?;
        return compare::run(arguments, global);
    }
    let seed = global.seed.unwrap_or(0);
    let formats = shipped::formats(arguments)?;
    crate::session::size_thread_pool(global.threads.unwrap_or(0))?;
    let source = Source::open(arguments, seed)?;
    talk::stage_line("network", &source.describe());
    source.network.notes().iter().for_each(|note| talk::stage_line("network", note));
    let calibrated = Calibrated::new(&source, arguments)?;
    let prices = choice::Prices::new(arguments, &calibrated)?;
    let sensitivity = Sensitivity::measure(&calibrated, prices.widths())?;
    let choice = choice::choose(arguments, &calibrated, &prices, &sensitivity, seed)?;
    let outcome = Outcome::reach(arguments, &source, &calibrated, &choice, seed)?;
    let shipped = shipped::ship((arguments, &formats), &source, &outcome, &choice, seed)?;
    report(
        arguments,
        global,
        &[&source.to_json(), &choice.to_json(&sensitivity), &outcome.to_json(), &shipped],
    )
}

fn report(arguments: &QuantizeArguments, global: &Global, parts: &[&Value]) -> Result<()> {
    let fields = parts.iter().filter_map(|part| part.as_object()).flatten();
    let object: Value = Value::Object(fields.map(|(key, value)| (key.clone(), value.clone())).collect());
    let path = arguments.out.join("quantize.json");
    source::write(&path, serde_json::to_string_pretty(&object)?.as_bytes())?;
    if global.json {
        return Ok(talk::data_line(&object.to_string())?);
    }
    Ok(talk::data_line(&arguments.out.display().to_string())?)
}

/// An accuracy as data.
fn accuracy_json(accuracy: crate::statistics::Accuracy) -> Value {
    let (low, high) = accuracy.interval();
    json!({ "value": accuracy.value, "low": low, "high": high, "images": accuracy.images })
}
