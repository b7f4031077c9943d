//! `sartor quantize --compare-calibrations`: one trained network after training, by every calibration.
//!
//! Every method, per channel and per layer, with the float network's batch-norm statistics and with statistics
//! estimated again under quantization, at 8, 6 and 4 bits; the first layer and the classifier stay at 8. The best of each
//! width by validation is then looked at on test, once.

use anyhow::Result;
use sartor_space::Workload;
use sartor_supernet::Part;
use sartor_supernet::calibration::{ACTIVATION_METHODS, ActivationMethod, WeightMethod};
use sartor_supernet::data::Dataset;
use sartor_supernet::finetune::FinetuneSettings;
use sartor_supernet::float_network::{FloatNetwork, NetworkTuner};
use sartor_supernet::post_training::PostTraining;
use sartor_supernet::progress::StepReport;
use sartor_supernet::quantized::Calibration;
use serde_json::{Value, json};

use super::accuracy_json;
use super::source::Source;
use crate::cli::{Global, QuantizeArguments, Target};
use crate::failure::Failure;
use crate::progress::Progress;
use crate::session::Session;
use crate::stages::train;
use crate::statistics::Accuracy;
use crate::talk;

/// Widths compared.
const BITS: [u8; 3] = [8, 6, 4];
/// Width of the first layer and of the classifier.
const FIXED_BITS: u8 = 8;
/// Training images for statistics estimated again.
const RECALIBRATION_IMAGES: usize = 1000;

/// One way to calibrate.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Way {
    method: &'static str,
    weights: WeightMethod,
    activations: ActivationMethod,
    per_channel: bool,
    estimated_again: bool,
}

/// An accuracy that a way reached.
#[derive(Debug, Clone, Copy)]
struct Row {
    way: Way,
    bits: u8,
    validation: Accuracy,
}

/// Compares.
///
/// # Errors
/// A run that is not trained, a network that cannot be used, or that is no chain of layers.
pub fn run(arguments: &QuantizeArguments, global: &Global) -> Result<()> {
    if arguments.model.is_some() {
        let source = Source::open(arguments, global.seed.unwrap_or(0))?;
        let images = &source.dataset.train;
        let length = images.size * images.size * images.channels;
        let some = arguments.calibration_images.min(images.len()) * length;
        let chain = source.network.chain(&images.pixels[..some]);
        let chain = chain.map_err(|error| {
            let failure = Failure::bad_input(format!("only chains of layers can be compared: {error}"));
            failure.hint("`sartor quantize` without this flag takes it")
        })?;
        let network = FloatNetwork::adopt(&chain.to_bytes()?, source.network.workload())?;
        return compare(arguments, global, &source.name, &network, &source.dataset);
    }
    let target = Target { config: arguments.config.clone(), run: arguments.run.clone() };
    let session = Session::read_only(&target, global)?;
    let (space, dataset) = (&session.config.space, session.dataset()?);
    let weights = train::finished(&session)?.weights(&session)?;
    let recalibration = (session.config.supernet.recalibration_images, session.config.seed);
    let network = FloatNetwork::inherit(space, &weights, &space.largest(), dataset, recalibration)?;
    compare(arguments, global, &format!("the largest network of {}", session.config.name), &network, dataset)
}

fn compare(
    arguments: &QuantizeArguments,
    global: &Global,
    name: &str,
    network: &FloatNetwork,
    dataset: &Dataset,
) -> Result<()> {
    let seed = global.seed.unwrap_or(0);
    let float =
        [Part::Validation, Part::Test].map(|part| network.accuracy(dataset, part).map(Accuracy::from));
    let [validation, test] = float;
    let (validation, test) = (validation?, test?);
    talk::stage_line("network", &format!("{name}: in float {validation} of validation"));
    let mut ptq = PostTraining::new(network, dataset, arguments.calibration_images, seed)?;
    let rows = all(&mut ptq, network.workload())?;
    let best = best(&rows);
    let mut judged = Vec::new();
    for row in &best {
        let accuracy = measure(&mut ptq, network.workload(), row.way, row.bits, Part::Test)?;
        judged.push(json!({ "bits": row.bits, "way": row.way.to_json(), "test": accuracy_json(accuracy) }));
        let text = format!(
            "{} bits after training, {}: {accuracy} of test; float {test}",
            row.bits,
            row.way.describe()
        );
        talk::stage_line("test", &text);
    }
    let tuned = match (arguments.tune, best.last()) {
        (true, Some(row)) => Some(tune(arguments, network, dataset, row, seed)?),
        _ => None,
    };
    let object = json!({
        "network": name,
        "float": { "validation": accuracy_json(validation), "test": accuracy_json(test) },
        "rows": rows.iter().copied().map(Row::to_json).collect::<Vec<_>>(),
        "best": judged,
        "finetuned": tuned,
    });
    if global.json {
        return Ok(talk::data_line(&object.to_string())?);
    }
    table(&rows, validation)
}

fn ways() -> Vec<Way> {
    let mut ways = vec![];
    for (method, activations) in ACTIVATION_METHODS {
        let weights = match activations {
            ActivationMethod::MinMax => WeightMethod::MaxAbs,
            ActivationMethod::Kl => WeightMethod::Kl,
            ActivationMethod::Mse => WeightMethod::Mse,
            ActivationMethod::Percentile(percentile) => WeightMethod::Percentile(percentile),
        };
        for (per_channel, estimated_again) in [(true, true), (true, false), (false, true), (false, false)] {
            ways.push(Way { method, weights, activations, per_channel, estimated_again });
        }
    }
    ways
}

fn all(ptq: &mut PostTraining<'_>, workload: &Workload) -> Result<Vec<Row>> {
    let ways = ways();
    let mut progress = Progress::new("calibrate", (ways.len() * BITS.len()) as u64, 0);
    let mut rows = Vec::new();
    for way in ways {
        for bits in BITS {
            let validation = measure(ptq, workload, way, bits, Part::Validation)?;
            rows.push(Row { way, bits, validation });
            progress.at(rows.len() as u64, &way.describe());
        }
    }
    Ok(rows)
}

fn measure(
    ptq: &mut PostTraining<'_>,
    workload: &Workload,
    way: Way,
    bits: u8,
    part: Part,
) -> Result<Accuracy> {
    let how = Calibration {
        images: RECALIBRATION_IMAGES,
        weights: way.weights,
        activations: way.activations,
        per_channel: way.per_channel,
    };
    let model = ptq.quantize(&at(workload, bits), &how, way.estimated_again)?;
    Ok(ptq.accuracy(&model, part)?.into())
}

fn at(workload: &Workload, bits: u8) -> Workload {
    let mut workload = workload.clone();
    let last = workload.layers.len().saturating_sub(1);
    for (index, layer) in workload.layers.iter_mut().enumerate() {
        let bits = if index == 0 || index == last { FIXED_BITS } else { bits };
        (layer.weight_bits, layer.activation_bits) = (bits, bits);
    }
    workload
}

/// The best row of every width by validation, the first among equals.
fn best(rows: &[Row]) -> Vec<Row> {
    let of = |bits: u8| {
        let mine = rows.iter().filter(move |row| row.bits == bits);
        mine.copied()
            .reduce(|best, row| if row.validation.value > best.validation.value { row } else { best })
    };
    BITS.into_iter().filter_map(of).collect()
}

/// Quantization-aware fine-tuning from the best calibration of the lowest width.
fn tune(
    arguments: &QuantizeArguments,
    network: &FloatNetwork,
    dataset: &Dataset,
    row: &Row,
    seed: u64,
) -> Result<Value> {
    let named = |name: &str| if name == "min-max" { "max-abs".to_owned() } else { name.to_owned() };
    let settings = FinetuneSettings {
        epochs: arguments.epochs,
        learning_rate: arguments.learning_rate,
        calibration_images: arguments.calibration_images,
        per_channel: row.way.per_channel,
        weight_threshold: named(row.way.method),
        activation_range: row.way.method.to_owned(),
        ..FinetuneSettings::default()
    };
    let mut tuner = NetworkTuner::new(network, dataset, &at(network.workload(), row.bits), settings, seed)?;
    let mut progress = Progress::new("fine-tune", tuner.total_steps() as u64, 0);
    tuner.run(&mut |report: &StepReport| {
        progress.at(report.overall as u64 + 1, &format!("loss {:.3}", report.loss));
    })?;
    drop(progress);
    let model = tuner.finish()?;
    let accuracy = |part| model.accuracy_of_network(dataset, part).map(Accuracy::from);
    let (validation, test) = (accuracy(Part::Validation)?, accuracy(Part::Test)?);
    let text = format!("{} bits after {} epochs of fine-tuning: {test} of test", row.bits, arguments.epochs);
    talk::stage_line("test", &text);
    Ok(json!({
        "bits": row.bits,
        "epochs": arguments.epochs,
        "way": row.way.to_json(),
        "validation": accuracy_json(validation),
        "test": accuracy_json(test),
    }))
}

fn table(rows: &[Row], float: Accuracy) -> Result<()> {
    let widths: Vec<String> = BITS.iter().map(|bits| format!("{:>7}", format!("{bits} bits"))).collect();
    talk::data_line(&format!(
        "{:<11} {:<11} {:<15} {}",
        "method",
        "thresholds",
        "norm statistics",
        widths.join("  ")
    ))?;
    for way in rows.chunks(BITS.len()) {
        let values: Vec<String> =
            way.iter().map(|row| format!("{:>5.2} %", 100.0 * row.validation.value)).collect();
        let Way { method, per_channel, estimated_again, .. } = way[0].way;
        let thresholds = if per_channel { "per channel" } else { "per layer" };
        let norms = if estimated_again { "estimated again" } else { "of the float" };
        talk::data_line(&format!("{method:<11} {thresholds:<11} {norms:<15} {}", values.join("  ")))?;
    }
    Ok(talk::data_line(&format!("float {float} of validation"))?)
}

impl Way {
    fn describe(&self) -> String {
        let thresholds = if self.per_channel { "per channel" } else { "per layer" };
        let norms = if self.estimated_again { ", norms estimated again" } else { "" };
        format!("{} {thresholds}{norms}", self.method)
    }

    fn to_json(self) -> Value {
        json!({ "method": self.method, "per_channel": self.per_channel, "estimated_again": self.estimated_again })
    }
}

impl Row {
    fn to_json(self) -> Value {
        let mut object = self.way.to_json();
        object["bits"] = self.bits.into();
        object["validation"] = accuracy_json(self.validation);
        object
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_is_there_once_and_the_best_is_found_per_width() {
        let ways = ways();
        assert_eq!(ways.len(), 16);
        assert!((1..ways.len()).all(|index| !ways[..index].contains(&ways[index])));
        let rows: Vec<Row> = ways
            .iter()
            .enumerate()
            .flat_map(|(index, &way)| BITS.map(|bits| (index, way, bits)))
            .map(|(index, way, bits)| {
                let value = if bits == 4 { index as f64 } else { -(index as f64) };
                Row { way, bits, validation: Accuracy { value, images: 1 } }
            })
            .collect();
        let best: Vec<(u8, Way)> = best(&rows).iter().map(|row| (row.bits, row.way)).collect();
        assert_eq!(best, [(8, ways[0]), (6, ways[0]), (4, ways[15])]);
    }
}
