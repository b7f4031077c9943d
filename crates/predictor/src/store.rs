//! # Predictor files
//!
//! Safetensors: one flat f32 tensor `member.<i>` per network (`base.<i>`: the full-precision ones that a process reads),
//! f64 tensors `process.<name>` if there is a process, sizes and provenance in the metadata. The space's hash
//! is inside, and a predictor is only read for the space it was fitted on.

use std::collections::HashMap;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, serialize};
use sartor_space::SearchSpace;

use crate::ensemble::Ensemble;
use crate::error::PredictorError;
use crate::gaussian_process::GaussianProcess;
use crate::mlp::{HeadPlacement, Mlp, Shape};
use crate::predictor::Predictor;
use crate::process::{Method, Process};

/// Version of the file's layout.
pub const FORMAT_VERSION: u32 = 2;

type Metadata = HashMap<String, String>;

impl Predictor {
    /// The file's bytes; equal predictors give equal bytes.
    ///
    /// # Errors
    /// [`PredictorError::BadFile`] if the numbers cannot be laid out.
    pub fn to_bytes(&self) -> Result<Vec<u8>, PredictorError> {
        let mut arrays = networks("member", &self.ensemble);
        if let Some(process) = &self.process {
            arrays.extend(process.base.iter().flat_map(|base| networks("base", base)));
            arrays.extend(
                process.process.parts().into_iter().map(|(name, values)| Array::of_f64(name, &values)),
            );
        }
        let views = arrays.iter().map(Array::view).collect::<Result<Vec<_>, _>>()?;
        // One metadata entry only: the order of several would differ from run to run.
        let metadata = Metadata::from([("sartor".to_string(), self.header())]);
        serialize(views, Some(metadata)).map_err(bad)
    }

    fn header(&self) -> String {
        let (shape, first) = (self.shape(), &self.ensemble.members()[0]);
        let base = self.process.as_ref().and_then(|process| process.base.as_ref());
        let placement = match shape.placement {
            HeadPlacement::BeforeActivation => "before",
            HeadPlacement::AfterActivation => "after",
        };
        let fields = [
            ("format", FORMAT_VERSION.to_string()),
            ("method", self.method().name().into()),
            ("base_members", base.map_or(0, |base| base.members().len()).to_string()),
            ("base_mean", format!("{:?}", base.map_or(0.0, |base| base.members()[0].mean))),
            ("base_scale", format!("{:?}", base.map_or(1.0, |base| base.members()[0].scale))),
            ("space", self.space.name().into()),
            ("space_hash", self.space.hash()),
            ("members", self.members().to_string()),
            ("architecture", shape.architecture.to_string()),
            ("policy", shape.policy.to_string()),
            ("hidden", shape.hidden.to_string()),
            ("placement", placement.into()),
            ("mean", format!("{:?}", first.mean)),
            ("scale", format!("{:?}", first.scale)),
        ];
        fields.map(|(key, value)| format!("{key}={value}")).join(";")
    }

    /// Reads a predictor for a space.
    ///
    /// # Errors
    /// [`PredictorError::BadFile`], [`PredictorError::OtherVersion`], [`PredictorError::OtherSpace`].
    pub fn from_bytes(bytes: &[u8], space: &SearchSpace) -> Result<Self, PredictorError> {
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(bad)?;
        let text = metadata.metadata().as_ref().and_then(|metadata| metadata.get("sartor"));
        let header = Header::read(text.ok_or_else(|| bad("no header of this program"))?);
        header.check(space)?;
        let shape = header.shape(space)?;
        let tensors = SafeTensors::deserialize(bytes).map_err(bad)?;
        let ensemble = header.networks(&tensors, "member", "", shape)?;
        if ensemble.members().is_empty() {
            return Err(bad("no members"));
        }
        let process = header.process(&tensors, shape)?;
        Ok(Self { space: space.clone(), ensemble, process })
    }
}

/// A named array on its way into the file.
struct Array {
    name: String,
    dtype: Dtype,
    bytes: Vec<u8>,
}

impl Array {
    fn of_f64(name: &str, values: &[f64]) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self { name: format!("process.{name}"), dtype: Dtype::F64, bytes }
    }

    fn view(&self) -> Result<(&str, TensorView<'_>), PredictorError> {
        let length = self.bytes.len() / if self.dtype == Dtype::F64 { 8 } else { 4 };
        let view = TensorView::new(self.dtype, vec![length], &self.bytes).map_err(bad)?;
        Ok((&self.name, view))
    }
}

fn networks(prefix: &str, ensemble: &Ensemble) -> Vec<Array> {
    let array = |(index, mlp): (usize, &Mlp)| Array {
        name: format!("{prefix}.{index:03}"),
        dtype: Dtype::F32,
        bytes: mlp.values.iter().flat_map(|value| value.to_le_bytes()).collect(),
    };
    ensemble.members().iter().enumerate().map(array).collect()
}

/// The fields of the metadata entry.
struct Header(HashMap<String, String>);

impl Header {
    fn read(text: &str) -> Self {
        let fields = text.split(';').filter_map(|field| field.split_once('='));
        Self(fields.map(|(key, value)| (key.to_string(), value.to_string())).collect())
    }

    fn text(&self, key: &str) -> Result<&str, PredictorError> {
        self.0.get(key).map(String::as_str).ok_or_else(|| bad(format!("`{key}` is missing")))
    }

    fn number<T: std::str::FromStr>(&self, key: &str) -> Result<T, PredictorError> {
        let text = self.text(key)?;
        text.parse().map_err(|_| bad(format!("`{key}` is `{text}`, expected a number")))
    }

    fn check(&self, space: &SearchSpace) -> Result<(), PredictorError> {
        let version = self.text("format")?;
        if version != FORMAT_VERSION.to_string() {
            return Err(PredictorError::OtherVersion { got: version.into(), expected: FORMAT_VERSION });
        }
        let (hash, got) = (self.text("space_hash")?, space.hash());
        if hash != got {
            return Err(PredictorError::OtherSpace {
                expected_name: self.text("space")?.into(),
                expected: hash.into(),
                got_name: space.name().into(),
                got,
            });
        }
        Ok(())
    }

    /// Networks `<prefix>.000`, …; their count, mean and scale stand in the fields that start with `fields`.
    fn networks(
        &self,
        tensors: &SafeTensors<'_>,
        prefix: &str,
        fields: &str,
        shape: Shape,
    ) -> Result<Ensemble, PredictorError> {
        let (mean, scale) = (self.number(&format!("{fields}mean"))?, self.number(&format!("{fields}scale"))?);
        let member = |index: usize| -> Result<Mlp, PredictorError> {
            let view = tensors.tensor(&format!("{prefix}.{index:03}")).map_err(bad)?;
            Ok(Mlp { shape, values: floats(&view, shape.len())?, mean, scale })
        };
        let count: usize = self.number(&format!("{fields}members"))?;
        Ok(Ensemble::new((0..count).map(member).collect::<Result<_, _>>()?))
    }

    fn process(&self, tensors: &SafeTensors<'_>, shape: Shape) -> Result<Option<Process>, PredictorError> {
        let name = self.text("method")?;
        let method = Method::named(name);
        let method = method.ok_or_else(|| bad(format!("unknown method `{name}`")))?;
        if method == Method::Networks {
            return Ok(None);
        }
        let base = self.networks(tensors, "base", "base_", Shape { policy: 0, ..shape })?;
        let part =
            |name: &str| tensors.tensor(&format!("process.{name}")).ok().and_then(|view| doubles(&view));
        let process = GaussianProcess::from_parts(method.kernel(), part);
        let process = process.ok_or_else(|| bad("the numbers of the process do not fit each other"))?;
        Ok(Some(Process { method, process, base: Some(base).filter(|base| !base.members().is_empty()) }))
    }

    fn shape(&self, space: &SearchSpace) -> Result<Shape, PredictorError> {
        let placement = match self.text("placement")? {
            "before" => HeadPlacement::BeforeActivation,
            "after" => HeadPlacement::AfterActivation,
            other => return Err(bad(format!("placement `{other}`"))),
        };
        let (architecture, policy) = (self.number("architecture")?, self.number("policy")?);
        let hidden: usize = self.number("hidden")?;
        let encoding = space.encoding();
        let fits =
            architecture == encoding.architecture_len() && (policy == 0 || policy == encoding.policy_len());
        if !fits || !(1..=4096).contains(&hidden) {
            return Err(bad("sizes that do not belong to the space"));
        }
        Ok(Shape { architecture, policy, hidden, placement })
    }
}

fn bad(message: impl ToString) -> PredictorError {
    PredictorError::BadFile { message: message.to_string() }
}

fn floats(view: &TensorView<'_>, length: usize) -> Result<Vec<f32>, PredictorError> {
    if view.dtype() != Dtype::F32 || view.shape() != [length] {
        return Err(bad(format!("a tensor of {:?}, expected {length} f32", view.shape())));
    }
    let values: Vec<f32> =
        view.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    if values.iter().all(|value| value.is_finite()) {
        Ok(values)
    } else {
        Err(bad("a weight that is not finite"))
    }
}

fn doubles(view: &TensorView<'_>) -> Option<Vec<f64>> {
    let values: Vec<f64> =
        view.data().as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect();
    (view.dtype() == Dtype::F64 && values.iter().all(|value| value.is_finite())).then_some(values)
}
