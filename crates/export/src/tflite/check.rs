//! # The TFLite file in LiteRT
//!
//! Runs the file with PyPI's `ai-edge-litert`, by a small Python script that comes with the program. The reference
//! kernels must give the executor's int8 logits on every image and every tensor of some images, bit by bit; the
//! deployed ones need not round alike: XNNPACK rounds once, with floats; kernels that unpack int4 weights round in
//! fixed point. Against the executor in the style that they are nearest to they must give nearly every top-1; the
//! style, if it is not XNNPACK's, and what they differ by are stated.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::container_zero;
use crate::error::{ExportError, Result};
use crate::executor::Executor;
use crate::graph::{Operation, QuantizedNetwork, Quantizer, Tensor};
use crate::requantize::Style;
use crate::verify::{
    Arithmetic, FLOAT_AGREEMENT, LabelledImages, LayerExecution, Verification, VerifyOptions, check, scratch,
    spread, write,
};

const SCRIPT: &str = include_str!("run.py");
/// Environment variable with the path of the Python that has the package.
pub const PYTHON_VARIABLE: &str = "SARTOR_PYTHON";
/// Images whose every tensor is compared.
const PROBES: usize = 8;
/// A Python with the runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interpreter {
    python: PathBuf,
    /// Version of `ai-edge-litert`.
    pub version: String,
}

impl Interpreter {
    /// `SARTOR_PYTHON`, else the active or local environment's Python, else the system's: the first that has the
    /// package.
    pub fn find() -> Result<Self> {
        let named = std::env::var_os(PYTHON_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
        let environment = std::env::var_os("VIRTUAL_ENV").map(|path| PathBuf::from(path).join("bin/python"));
        let usual =
            environment.into_iter().chain([".runtime/bin/python", "python3", "python"].map(Into::into));
        let candidates: Vec<PathBuf> = named.map_or_else(|| usual.collect(), |path| vec![path]);
        let searched = candidates.iter().map(|path| path.display().to_string()).collect();
        let found = candidates.into_iter().find_map(Self::at);
        found.ok_or(ExportError::ToolMissing { tool: "Python with ai-edge-litert", searched })
    }

    fn at(python: PathBuf) -> Option<Self> {
        let ask = "import ai_edge_litert.interpreter, numpy; from importlib.metadata import version; \
                   print(version('ai-edge-litert'))";
        let output =
            Command::new(&python).args(["-c", ask]).output().ok().filter(|it| it.status.success())?;
        let version = String::from_utf8_lossy(&output.stdout).trim().to_string();
        Some(Self { python, version })
    }

    fn run(&self, arguments: Vec<String>) -> Result<Said> {
        let failure =
            |reason| ExportError::Tool { tool: "LiteRT".to_string(), action: "run the model", reason };
        let output = Command::new(&self.python).arg("-c").arg(SCRIPT).args(arguments).output();
        let output = output.map_err(|error| failure(error.to_string()))?;
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            return Err(failure(text.lines().last().unwrap_or("no message").to_string()));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        serde_json::from_str(text.lines().last().unwrap_or_default())
            .map_err(|error| failure(error.to_string()))
    }
}

/// What the script prints.
#[derive(Debug, serde::Deserialize)]
struct Said {
    version: String,
    milliseconds: Vec<f64>,
    /// Operator by the tensor it writes.
    executed: BTreeMap<String, String>,
}

/// Compares a file with its network on labelled images.
pub fn verify_tflite(
    interpreter: &Interpreter,
    path: &Path,
    network: &QuantizedNetwork,
    logits: &Quantizer,
    images: LabelledImages<'_>,
    options: VerifyOptions,
) -> Result<Verification> {
    check(network, images)?;
    let work = scratch()?;
    let pixels = work.path().join("pixels");
    write(&pixels, images.pixels)?;
    let probes = PROBES.min(images.labels.len());
    let paths = [path, &pixels, work.path()].map(|path| path.display().to_string());
    let numbers = [probes, options.latency_runs, options.threads].map(|number| number.to_string());
    let names = network.tensors.iter().map(|tensor| tensor.name.clone());
    let said = interpreter.run(paths.into_iter().chain(numbers).chain(names).collect())?;
    let executor = Executor::new(network, Style::FixedPoint);
    let outputs = executor.run(images.pixels)?;
    let expected = outputs.fixed_logits(network, Style::FixedPoint, logits);
    let seen = |name: &str| read(&work.path().join(name), expected.len());
    let (reference, deployed) = (seen("reference.logits")?, seen("deployed.logits")?);
    let traces: Vec<u8> = images
        .pixels
        .chunks_exact(network.image().len())
        .take(probes)
        .flat_map(|image| stored_trace(network, &executor, image))
        .collect();
    let tensors = read(&work.path().join("probes"), traces.len())?;
    let differing = first_difference(network, &traces, &tensors)
        .or_else(|| (bytes(&expected) != reference).then(|| "the logits".to_string()));
    let (style, rounded) = nearest(network, logits, images.pixels, &deployed)?;
    Ok(compare(network, (style, &rounded), &deployed, differing, images.labels, said))
}

/// The style whose answers are most often the deployed kernels', XNNPACK's among equals, with its int8 logits.
fn nearest(
    network: &QuantizedNetwork,
    logits: &Quantizer,
    pixels: &[u8],
    deployed: &[u8],
) -> Result<(Style, Vec<i8>)> {
    let deployed: Vec<i8> = deployed.iter().map(|&byte| byte as i8).collect();
    let wanted = top1(&deployed, network.classes());
    let mut best: Option<(usize, Style, Vec<i8>)> = None;
    for style in [Style::FloatTiesToEven, Style::FixedOnce, Style::FixedPoint] {
        let outputs = Executor::new(network, style).run(pixels)?;
        let rounded = outputs.fixed_logits(network, style, logits);
        let got = top1(&rounded, network.classes());
        let equal = got.iter().zip(&wanted).filter(|(a, b)| a == b).count();
        if best.as_ref().is_none_or(|(most, ..)| equal > *most) {
            best = Some((equal, style, rounded));
        }
        if equal == wanted.len() {
            break;
        }
    }
    Ok(best.map_or((Style::FloatTiesToEven, vec![]), |(_, style, rounded)| (style, rounded)))
}

fn read(path: &Path, expected: usize) -> Result<Vec<u8>> {
    let failure = |source| ExportError::File { action: "read", path: path.to_path_buf(), source };
    let bytes = std::fs::read(path).map_err(failure)?;
    match bytes.len() {
        got if got != expected => Err(ExportError::Data { what: "bytes of answers", got, expected }),
        _ => Ok(bytes),
    }
}

fn bytes(values: &[i8]) -> Vec<u8> {
    values.iter().map(|&value| value as u8).collect()
}

/// Every tensor of an image as its container holds it.
fn stored_trace(network: &QuantizedNetwork, executor: &Executor<'_>, image: &[u8]) -> Vec<u8> {
    let trace = executor.trace(image);
    let stored = network.tensors.iter().zip(trace).flat_map(|(tensor, values)| {
        let zero = container_zero(tensor) as i16;
        values.into_iter().map(move |value| (value + zero) as u8)
    });
    stored.collect()
}

/// The first tensor in which the reference kernels differ, with how often.
fn first_difference(network: &QuantizedNetwork, expected: &[u8], got: &[u8]) -> Option<String> {
    let image: usize = network.tensors.iter().map(Tensor::len).sum();
    let mut start = 0;
    for tensor in &network.tensors {
        let place = start..start + tensor.len();
        let pairs = expected.chunks_exact(image).zip(got.chunks_exact(image));
        let differ = |(a, b): (&[u8], &[u8])| {
            a[place.clone()].iter().zip(&b[place.clone()]).filter(|(a, b)| a != b).count()
        };
        let count: usize = pairs.map(differ).sum();
        if count > 0 {
            let all = tensor.len() * expected.len() / image;
            return Some(format!("`{}` in {count} of {all} values", tensor.name));
        }
        start += tensor.len();
    }
    None
}

fn compare(
    network: &QuantizedNetwork,
    (style, expected): (Style, &[i8]),
    deployed: &[u8],
    differing: Option<String>,
    labels: &[u32],
    said: Said,
) -> Verification {
    let classes = network.classes();
    let deployed: Vec<i8> = deployed.iter().map(|&byte| byte as i8).collect();
    let (got, wanted) = (top1(&deployed, classes), top1(expected, classes));
    let part = |count: usize| count as f64 / labels.len() as f64;
    let right = |answers: &[usize]| {
        answers.iter().zip(labels).filter(|&(&class, &label)| class == label as usize).count()
    };
    let steps = deployed.iter().zip(expected).map(|(&a, &b)| (i32::from(a) - i32::from(b)).abs());
    let worst = f64::from(steps.max().unwrap_or(0));
    let agreement = part(got.iter().zip(&wanted).filter(|(a, b)| a == b).count());
    Verification {
        agreement,
        accuracy: part(right(&got)),
        reference_accuracy: part(right(&wanted)),
        max_difference: worst,
        images: labels.len(),
        runtime: format!(
            "LiteRT {} with XNNPACK{}; reference kernels {}",
            said.version,
            match style {
                Style::FloatTiesToEven => "",
                Style::FixedOnce => ", nearest to fixed point rounded once",
                Style::FixedPoint => ", nearest to fixed point rounded twice",
            },
            differing
                .as_ref()
                .map_or("bit-exact in every tensor".to_string(), |what| format!("DIFFER in {what}"))
        ),
        latency_ms: spread(said.milliseconds),
        same: differing.is_none() && agreement >= FLOAT_AGREEMENT,
        layers: layers(network, &said.executed),
    }
}

/// Position of the largest logit, the first one among equals.
fn top1(logits: &[i8], classes: usize) -> Vec<usize> {
    let best =
        |row: &[i8]| (1..row.len()).fold(0, |best, class| if row[class] > row[best] { class } else { best });
    logits.chunks_exact(classes).map(best).collect()
}

/// Operators are found by the tensor that an operation writes first.
fn layers(network: &QuantizedNetwork, executed: &BTreeMap<String, String>) -> Vec<LayerExecution> {
    let written = |output: usize| {
        let name = &network.tensors[output].name;
        executed.get(&format!("{name}/wide")).or_else(|| executed.get(name)).cloned()
    };
    let operation = |operation: &Operation| match operation {
        Operation::Convolution(layer) => (layer.name.clone(), written(layer.output)),
        Operation::Requantize { name, output, .. } => (format!("{name}/stream"), written(*output)),
        Operation::Add { name, output, .. } => (format!("{name}/add"), written(*output)),
        Operation::MaxPool { name, output, .. } | Operation::Pool { name, output, .. } => {
            (name.clone(), written(*output))
        }
    };
    let last = (network.classifier.name.clone(), executed.get(&network.classifier.name).cloned());
    let all = network.operations.iter().map(operation).chain([last]);
    all.map(|(layer, operator)| {
        let arithmetic = match operator.as_deref() {
            None => Arithmetic::Unknown,
            Some(name) if name.starts_with("QUANTIZE") => Arithmetic::Conversion,
            Some(_) => Arithmetic::Integer,
        };
        LayerExecution { layer, operator: operator.unwrap_or_default(), arithmetic }
    })
    .collect()
}
