//! # The C package, compiled and run
//!
//! Compiled twice with every warning an error: once under the address and undefined-behaviour sanitizers, once
//! optimised. Both must give the executor's classes and int8 logits bit by bit; times are the optimised one's.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{CODE, HEADER};
use crate::error::{ExportError, Result};
use crate::executor::Executor;
use crate::graph::{Operation, QuantizedNetwork, Quantizer};
use crate::requantize::Style;
use crate::verify::{
    Arithmetic, LabelledImages, LayerExecution, Verification, check, scratch, spread, write,
};

const HARNESS: &str = include_str!("harness.c");
/// What the package must compile with.
const STRICT: [&str; 5] = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Werror"];
/// Any out-of-bounds access, overflow or misaligned load ends the program.
const SANITIZED: [&str; 3] = ["-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"];
const OPTIMISED: [&str; 1] = ["-O2"];
/// Names that are tried when `CC` is not set.
const COMPILERS: [&str; 3] = ["cc", "gcc", "clang"];

/// A C compiler of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compiler {
    program: String,
    /// First line of what `--version` says.
    pub version: String,
}

impl Compiler {
    /// `CC`, else the first usual name that answers.
    pub fn find() -> Result<Self> {
        let named = std::env::var("CC").ok().filter(|name| !name.is_empty());
        let names = named.map_or_else(|| COMPILERS.map(String::from).to_vec(), |name| vec![name]);
        let found = names.iter().find_map(|name| Self::at(name));
        found.ok_or(ExportError::ToolMissing { tool: "C compiler", searched: names })
    }

    fn at(program: &str) -> Option<Self> {
        let output = Command::new(program).arg("--version").output().ok().filter(|it| it.status.success())?;
        let text = String::from_utf8_lossy(&output.stdout);
        Some(Self { program: program.to_string(), version: text.lines().next()?.trim().to_string() })
    }

    /// Compiles the package in `folder` with the harness.
    fn compile(&self, folder: &Path, work: &Path, flags: &[&str], name: &str) -> Result<PathBuf> {
        let (binary, harness) = (work.join(name), work.join("harness.c"));
        write(&harness, HARNESS.as_bytes())?;
        let mut command = Command::new(&self.program);
        command.args(STRICT).args(flags).arg("-D_POSIX_C_SOURCE=199309L").arg("-I").arg(folder);
        command.arg(folder.join(CODE)).arg(&harness).arg("-o").arg(&binary);
        run(&self.program, "compile the package", &mut command)?;
        Ok(binary)
    }
}

/// Output of a command that must succeed.
fn run(tool: &str, action: &'static str, command: &mut Command) -> Result<Vec<u8>> {
    let failure = |reason| ExportError::Tool { tool: tool.to_string(), action, reason };
    let output = command.output().map_err(|error| failure(error.to_string()))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let text = String::from_utf8_lossy(&output.stderr).trim().to_string();
    Err(failure(format!("{}: {}", output.status, text.lines().take(12).collect::<Vec<_>>().join("\n"))))
}

/// Compares the package in `folder` with its network on labelled images.
pub fn verify_c(
    compiler: &Compiler,
    folder: &Path,
    network: &QuantizedNetwork,
    logits: &Quantizer,
    images: LabelledImages<'_>,
) -> Result<Verification> {
    check(network, images)?;
    for name in [HEADER, CODE] {
        let path = folder.join(name);
        std::fs::metadata(&path).map_err(|source| ExportError::File { action: "read", path, source })?;
    }
    let work = scratch()?;
    let pixels = work.path().join("pixels");
    write(&pixels, images.pixels)?;
    let mut seen = Vec::new();
    for (name, flags) in [("sanitized", &SANITIZED[..]), ("optimised", &OPTIMISED)] {
        let binary = compiler.compile(folder, work.path(), flags, name)?;
        seen.push(answers(&binary, &pixels, network.classes(), images.labels.len())?);
    }
    let mut verification = compare(compiler, network, logits, images, &seen);
    if let Some(footprint) = compiler.footprint(folder, work.path()) {
        verification.runtime.push_str(&footprint.describe());
    }
    Ok(verification)
}

/// What the package takes on this machine's instruction set, compiled for size; images and logits are the caller's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Footprint {
    code: usize,
    constants: usize,
    memory: usize,
}

impl Footprint {
    /// Reads the table of `size -A`: a section's name and its bytes in every line.
    fn parse(table: &str) -> Option<Self> {
        let mut footprint = Self::default();
        for line in table.lines() {
            let mut fields = line.split_whitespace();
            let (Some(section), Some(bytes)) = (fields.next(), fields.next()) else { continue };
            let Ok(bytes) = bytes.parse::<usize>() else { continue };
            let kind = ["text", "rodata", "bss"].into_iter().find(|kind| section[1..].starts_with(kind));
            match kind.filter(|_| section.starts_with('.')) {
                Some("text") => footprint.code += bytes,
                Some("rodata") => footprint.constants += bytes,
                Some(_) => footprint.memory += bytes,
                None => {}
            }
        }
        (footprint.code > 0).then_some(footprint)
    }

    fn describe(&self) -> String {
        let Self { code, constants, memory } = self;
        format!(
            "; flash {} bytes ({code} of code at -Os for this machine, {constants} of constants), memory {memory} bytes",
            code + constants
        )
    }
}

impl Compiler {
    /// Sizes as the object file has them, if there is a `size` that reads it.
    fn footprint(&self, folder: &Path, work: &Path) -> Option<Footprint> {
        let object = work.join("network.o");
        let mut command = Command::new(&self.program);
        command.args(["-std=c99", "-Os", "-c"]).arg(folder.join(CODE)).arg("-o").arg(&object);
        command.output().ok().filter(|output| output.status.success())?;
        let output = Command::new("size").arg("-A").arg(&object).output().ok()?;
        Footprint::parse(&String::from_utf8_lossy(&output.stdout))
    }
}

#[cfg(test)]
#[test]
fn sizes_are_read_by_section() {
    let table = "network.o  :\nsection  size  addr\n.text  120  0\n.data  0  0\n.bss  4096  0\n.text.unlikely  8  0\n\
                 .rodata  900  0\n.rodata.str1.1  10  0\n.comment  40  0\nTotal  5174\n";
    assert_eq!(Footprint::parse(table), Some(Footprint { code: 128, constants: 910, memory: 4096 }));
    assert_eq!(Footprint::parse("no table"), None);
}

/// What a binary said about all images.
struct Answers {
    logits: Vec<i8>,
    top1: Vec<usize>,
    milliseconds: Vec<f64>,
}

fn answers(binary: &Path, pixels: &Path, classes: usize, images: usize) -> Result<Answers> {
    let file = binary.with_extension("answers");
    let tool = binary.display().to_string();
    let out = run(&tool, "run the package", Command::new(binary).arg(pixels).arg(&file))?;
    let bytes =
        std::fs::read(&file).map_err(|source| ExportError::File { action: "read", path: file, source })?;
    let (got, expected) = (bytes.len(), images * (classes + 4));
    if got != expected {
        return Err(ExportError::Data { what: "bytes of answers", got, expected });
    }
    let mut answers = Answers { logits: vec![], top1: vec![], milliseconds: vec![] };
    for record in bytes.chunks_exact(classes + 4) {
        let (logits, class) = record.split_at(classes);
        answers.logits.extend(logits.iter().map(|&byte| byte as i8));
        answers.top1.push(i32::from_ne_bytes([class[0], class[1], class[2], class[3]]) as usize);
    }
    let times = String::from_utf8_lossy(&out);
    answers.milliseconds =
        times.lines().filter_map(|line| line.parse::<f64>().ok()).map(|ns| ns / 1e6).collect();
    Ok(answers)
}

fn compare(
    compiler: &Compiler,
    network: &QuantizedNetwork,
    quantizer: &Quantizer,
    images: LabelledImages<'_>,
    seen: &[Answers],
) -> Verification {
    // The images were checked.
    let outputs = Executor::new(network, Style::FixedOnce).run(images.pixels).unwrap_or_default();
    let steps: Vec<f32> = network.logit_steps().collect();
    let (logits, top1) =
        (outputs.fixed_logits(network, Style::FixedOnce, quantizer), outputs.integer_top1(&steps));
    let part = |count: usize| count as f64 / images.labels.len() as f64;
    let right = |top1: &[usize]| {
        top1.iter().zip(images.labels).filter(|&(&class, &label)| class == label as usize).count()
    };
    let equal = |answers: &Answers| answers.top1.iter().zip(&top1).filter(|(a, b)| a == b).count();
    let worst = |answers: &Answers| {
        answers.logits.iter().zip(&logits).map(|(&a, &b)| (i32::from(a) - i32::from(b)).abs()).max()
    };
    let difference = seen.iter().filter_map(worst).max().unwrap_or(0);
    let agreement = seen.iter().map(equal).min().unwrap_or(0);
    let last = seen.last().map_or(&[][..], |answers| &answers.top1);
    Verification {
        agreement: part(agreement),
        accuracy: part(right(last)),
        reference_accuracy: part(right(&top1)),
        max_difference: difference.into(),
        images: images.labels.len(),
        runtime: format!("{}, -Wall -Wextra -Werror, sanitized and -O2", compiler.version),
        latency_ms: spread(seen.last().map_or(vec![], |answers| answers.milliseconds.clone())),
        same: difference == 0 && agreement == images.labels.len(),
        layers: layers(network),
    }
}

/// Every line of the kernels computes in integers.
fn layers(network: &QuantizedNetwork) -> Vec<LayerExecution> {
    let convolution = |operation: &Operation| match operation {
        Operation::Convolution(layer) => {
            (layer.name.clone(), format!("int32 sums of {}-bit weights", layer.weights.bits))
        }
        Operation::Requantize { name, .. } => (format!("{name}/stream"), "rescale".to_string()),
        Operation::Add { name, .. } => (format!("{name}/add"), "int32 addition".to_string()),
        Operation::MaxPool { name, .. } => (name.clone(), "largest byte".to_string()),
        Operation::Pool { name, .. } => (name.clone(), "int32 mean".to_string()),
    };
    let classifier = &network.classifier;
    let last = (classifier.name.clone(), format!("int32 sums of {}-bit weights", classifier.weights.bits));
    let all = network.operations.iter().map(convolution).chain([last]);
    all.map(|(layer, operator)| LayerExecution { layer, operator, arithmetic: Arithmetic::Integer }).collect()
}
