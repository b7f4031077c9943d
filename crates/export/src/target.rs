//! # Targets: what runs where
//!
//! A target file says which kind of layer runs at which widths natively, in a wider container, or in float; what no rule
//! names does not run at all. The first rule that fits decides. Also: what channels must be a multiple of, and whether
//! a layer's weights and activations must share a width.
//!
//! ```toml
//! name = "example"
//! summary = "…"                  # one line for people
//! formats = ["c"]                # files it takes
//! channel_multiple = 8           # of input and output channels of every layer; default 1
//! tied = true                    # weights and activations of a layer share a width; default false
//! containers = false             # widths that only run in containers may not be chosen; default true
//! [[rule]]
//! layers = ["dense", "pointwise", "depthwise", "linear"]
//! weights = [4, 8]
//! activations = [8]
//! runs = "native"                # or "container", "float"
//! ```

use sartor_space::suggest::nearest;
use sartor_space::{Layer, LayerKind};
use serde::Deserialize;

use crate::error::{ExportError, Result};
use crate::format::Format;

/// Targets that come with the program: name and TOML text.
const PRESETS: [(&str, &str); 4] = [
    ("onnxruntime-cpu", include_str!("../../../targets/onnxruntime-cpu.toml")),
    ("tflite", include_str!("../../../targets/tflite.toml")),
    ("bitfusion", include_str!("../../../targets/bitfusion.toml")),
    ("c", include_str!("../../../targets/c.toml")),
];

/// How a layer runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Support {
    /// At its widths.
    Native,
    /// In integers of a wider container.
    Container,
    /// In float.
    Float,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    layers: Vec<Kind>,
    weights: Vec<u8>,
    activations: Vec<u8>,
    runs: Support,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Dense,
    Pointwise,
    Depthwise,
    Linear,
}

/// What can ship to one kind of device.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// One line for people.
    pub summary: String,
    /// Names of the formats it takes.
    pub formats: Vec<String>,
    /// Input and output channels of every layer are multiples of this, the image's and the classes apart.
    #[serde(default = "one")]
    pub channel_multiple: usize,
    /// Whether a layer's weights and activations share a width.
    #[serde(default)]
    pub tied: bool,
    /// Whether widths that only run in containers may be chosen.
    #[serde(default = "yes")]
    pub containers: bool,
    #[serde(rename = "rule")]
    rules: Vec<Rule>,
}

fn one() -> usize {
    1
}

fn yes() -> bool {
    true
}

impl Target {
    /// Names of the targets that come with the program.
    pub fn presets() -> impl Iterator<Item = &'static str> {
        PRESETS.iter().map(|(name, _)| *name)
    }

    /// A preset, or the text that `read` finds under the name.
    ///
    /// # Errors
    /// Neither, with the nearest preset; a file that makes no sense.
    pub fn open(name: &str, read: impl Fn(&str) -> std::io::Result<String>) -> Result<Self> {
        if let Some((_, text)) = PRESETS.iter().find(|(preset, _)| *preset == name) {
            return Self::from_toml(text, name);
        }
        match read(name) {
            Ok(text) => Self::from_toml(&text, name),
            Err(error) => {
                let known = match nearest(name, Self::presets()) {
                    Some(preset) => format!("did you mean `{preset}`?"),
                    None => format!("presets: {}", Self::presets().collect::<Vec<_>>().join(", ")),
                };
                Err(bad(name, format!("neither a preset nor a readable file ({error}); {known}")))
            }
        }
    }

    /// Reads and checks a target's text; `name` stands for it in messages.
    ///
    /// # Errors
    /// Unknown keys, wrong types, unknown formats, widths outside 1 to 16, no rule.
    pub fn from_toml(text: &str, name: &str) -> Result<Self> {
        let target: Self = toml::from_str(text).map_err(|error| bad(name, error.to_string()))?;
        if let Some(format) = target.formats.iter().find(|format| Format::from_name(format).is_none()) {
            return Err(bad(name, format!("`formats` has `{format}`, which is no format")));
        }
        let widths = target.rules.iter().flat_map(|rule| rule.weights.iter().chain(&rule.activations));
        if let Some(bits) = widths.into_iter().find(|bits| !(1..=16).contains(*bits)) {
            return Err(bad(name, format!("a rule has the width {bits}, expected 1 to 16")));
        }
        if target.rules.is_empty() || target.channel_multiple == 0 {
            return Err(bad(name, "no rule, or a `channel_multiple` of 0".into()));
        }
        Ok(target)
    }

    /// The preset that a format's files are for.
    pub fn of_format(format: Format) -> Option<Self> {
        let name = match format {
            Format::Onnx | Format::OnnxCompact => "onnxruntime-cpu",
            Format::Tflite | Format::TfliteCompact => "tflite",
            Format::C => "c",
        };
        Self::open(name, |_| Err(std::io::ErrorKind::NotFound.into())).ok()
    }

    /// How a kind of layer runs at these widths; `None` if it does not.
    pub fn support(&self, kind: LayerKind, weight_bits: u8, activation_bits: u8) -> Option<Support> {
        let kind = match kind {
            LayerKind::Dense => Kind::Dense,
            LayerKind::Pointwise => Kind::Pointwise,
            LayerKind::Depthwise => Kind::Depthwise,
            LayerKind::Linear => Kind::Linear,
        };
        let fits = |rule: &&Rule| {
            rule.layers.contains(&kind)
                && rule.weights.contains(&weight_bits)
                && rule.activations.contains(&activation_bits)
        };
        if self.tied && weight_bits != activation_bits {
            return None;
        }
        self.rules.iter().find(fits).map(|rule| rule.runs)
    }

    /// Whether a layer may be chosen: it runs in integers, in a container only if that is allowed, and its channels fit.
    pub fn allows(&self, layer: &Layer) -> bool {
        let fits = |channels: usize| channels.is_multiple_of(self.channel_multiple);
        let inputs = layer.first || fits(layer.in_channels);
        let outputs = layer.kind() == LayerKind::Linear || fits(layer.out_channels);
        let runs = match self.support(layer.kind(), layer.weight_bits, layer.activation_bits) {
            Some(Support::Native) => true,
            Some(Support::Container) => self.containers,
            Some(Support::Float) | None => false,
        };
        inputs && outputs && runs
    }
}

fn bad(target: &str, what: String) -> ExportError {
    ExportError::Target { target: target.to_string(), what }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STRICT: &str = r#"
name = "strict"
summary = "a processor"
formats = ["c"]
channel_multiple = 8
tied = true
containers = false
[[rule]]
layers = ["pointwise", "dense"]
weights = [4, 8]
activations = [4, 8]
runs = "native"
[[rule]]
layers = ["depthwise"]
weights = [4, 8]
activations = [4, 8]
runs = "container"
"#;

    fn nothing(_: &str) -> std::io::Result<String> {
        Err(std::io::ErrorKind::NotFound.into())
    }

    #[test]
    fn presets_are_read_and_take_their_own_formats() {
        for name in Target::presets() {
            let target = Target::open(name, nothing).unwrap();
            assert_eq!(target.name, name);
            assert_eq!(target.support(LayerKind::Pointwise, 8, 8), Some(Support::Native), "{name}");
            assert_eq!(target.support(LayerKind::Depthwise, 1, 8), None, "{name}");
        }
        for format in Format::ALL {
            assert!(
                Target::of_format(format).unwrap().formats.contains(&format.name().to_string()),
                "{format:?}"
            );
        }
        let bitfusion = Target::open("bitfusion", nothing).unwrap();
        assert_eq!(bitfusion.support(LayerKind::Dense, 6, 4), Some(Support::Container));
        assert_eq!(bitfusion.support(LayerKind::Dense, 5, 4), None);
    }

    #[test]
    fn rules_ties_containers_and_channels_decide() {
        let target = Target::open("strict.toml", |_| Ok(STRICT.into())).unwrap();
        let workload = crate::samples::uniform_workload(4);
        let layer =
            |name: &str| workload.layers.iter().find(|layer| layer.name.ends_with(name)).unwrap().clone();
        let project = layer("block0.project");
        assert!(target.allows(&project));
        assert!(!target.allows(&Layer { activation_bits: 8, ..project.clone() }), "tied");
        assert!(!target.allows(&Layer { out_channels: 12, ..project.clone() }), "channels");
        assert!(!target.allows(&Layer { weight_bits: 6, activation_bits: 6, ..project }), "no rule");
        assert!(!target.allows(&layer("block0.depthwise")), "only in containers");
    }

    #[test]
    fn what_makes_no_sense_is_said() {
        for (text, message) in [
            (STRICT.replace("\"c\"", "\"cc\""), "target `t`: `formats` has `cc`, which is no format"),
            (STRICT.replace("[4, 8]", "[4, 17]"), "target `t`: a rule has the width 17, expected 1 to 16"),
            (
                STRICT.replace("multiple = 8", "multiple = 0"),
                "target `t`: no rule, or a `channel_multiple` of 0",
            ),
        ] {
            assert_eq!(Target::from_toml(&text, "t").unwrap_err().to_string(), message);
        }
        let unknown = Target::open("tfltie", nothing).unwrap_err().to_string();
        assert!(unknown.contains("did you mean `tflite`?"), "{unknown}");
        assert!(Target::from_toml(&STRICT.replace("tied", "tide"), "t").is_err());
    }
}
