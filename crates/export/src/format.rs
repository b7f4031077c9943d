//! # Formats: the list of what can be written
//!
//! One entry each, with its name on the command line and the files it leaves. To add one: a variant, its row in every
//! `match` here, its writer, and a runtime that verifies it.

use crate::c;
use crate::graph::{QuantizedNetwork, Quantizer};
use crate::onnx;
use crate::tflite;

/// A deployable format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// ONNX, every width in 8-bit containers, integer kernels in ONNX Runtime.
    Onnx,
    /// ONNX, narrow weights in narrow types; computed in float.
    OnnxCompact,
    /// TFLite, every width in int8 containers.
    Tflite,
    /// TFLite, weights of up to 4 bits in int4.
    TfliteCompact,
    /// C99 sources with weights at their true bits.
    C,
}

/// What a writer needs beside the network.
#[derive(Debug, Clone, Copy)]
pub struct Settings<'a> {
    /// Steps of int8 logits, for formats that hand out integers.
    pub logits: &'a Quantizer,
    /// Key–value pairs, for formats that keep such.
    pub metadata: &'a [(&'a str, &'a str)],
}

/// A file of an exported model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Path in the model's folder.
    pub name: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Onnx, Self::OnnxCompact, Self::Tflite, Self::TfliteCompact, Self::C];

    /// Name on the command line and in configs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Onnx => "onnx",
            Self::OnnxCompact => "onnx-compact",
            Self::Tflite => "tflite",
            Self::TfliteCompact => "tflite-compact",
            Self::C => "c",
        }
    }

    /// The format of a name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// The file, or the folder of the files, in the model's folder.
    pub fn place(self) -> &'static str {
        match self {
            Self::Onnx => "model.onnx",
            Self::OnnxCompact => "model-compact.onnx",
            Self::Tflite => "model.tflite",
            Self::TfliteCompact => "model-compact.tflite",
            Self::C => "c",
        }
    }

    /// The network that this format's files compute: its own, or with plain biases where weights are stored narrow.
    pub fn network(self, network: &QuantizedNetwork) -> QuantizedNetwork {
        match self {
            Self::TfliteCompact => network.with_plain_biases(),
            _ => network.clone(),
        }
    }

    /// The files of a network; equal networks give equal files.
    pub fn write(self, network: &QuantizedNetwork, settings: Settings<'_>) -> Vec<File> {
        let file = |name: String, bytes| vec![File { name, bytes }];
        match self {
            Self::Onnx => {
                let bytes = onnx::to_bytes(network, onnx::Batch::Symbolic, settings.metadata);
                file(self.place().to_string(), bytes)
            }
            Self::OnnxCompact => {
                let bytes = onnx::to_compact_bytes(network, onnx::Batch::Symbolic, settings.metadata);
                file(self.place().to_string(), bytes)
            }
            Self::Tflite => {
                let bytes = tflite::to_bytes(network, settings.logits, &note(settings.metadata));
                file(self.place().to_string(), bytes)
            }
            Self::TfliteCompact => {
                let network = network.with_plain_biases();
                let bytes = tflite::to_compact_bytes(&network, settings.logits, &note(settings.metadata));
                file(self.place().to_string(), bytes)
            }
            Self::C => {
                let package = c::package(network, settings.logits);
                let texts = [(c::HEADER, package.header), (c::CODE, package.code)];
                let place = |(name, text): (&str, String)| File {
                    name: format!("{}/{name}", self.place()),
                    bytes: text.into_bytes(),
                };
                texts.map(place).into()
            }
        }
    }
}

/// Key–value pairs as text.
fn note(metadata: &[(&str, &str)]) -> String {
    metadata.iter().map(|(key, text)| format!("{key} = {text}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn names_come_back_and_every_format_writes_below_its_place() {
        let workload = samples::workload(1);
        let network = QuantizedNetwork::build(&samples::model(&workload, 1), &workload).unwrap();
        let logits = Quantizer::int8(4.0);
        let settings = Settings { logits: &logits, metadata: &[("id", "x")] };
        for format in Format::ALL {
            assert_eq!(Format::from_name(format.name()), Some(format));
            let files = format.write(&network, settings);
            assert_eq!(files, format.write(&network, settings), "{format:?}");
            assert!(files.iter().all(|file| file.name.starts_with(format.place()) && !file.bytes.is_empty()));
        }
        assert_eq!(Format::from_name("float"), None);
    }
}
