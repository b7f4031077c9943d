//! # Predictor files
//!
//! Safetensors: one flat f32 tensor `member.<i>` per network, sizes and provenance in the metadata. The space's hash
//! is inside, and a predictor is only read for the space it was fitted on.

use std::collections::HashMap;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView, serialize};
use sartor_space::SearchSpace;

use crate::ensemble::Ensemble;
use crate::error::PredictorError;
use crate::mlp::{HeadPlacement, Mlp, Shape};
use crate::predictor::Predictor;

/// Version of the file's layout.
pub const FORMAT_VERSION: u32 = 1;

type Metadata = HashMap<String, String>;

impl Predictor {
    /// The file's bytes; equal predictors give equal bytes.
    ///
    /// # Errors
    /// [`PredictorError::BadFile`] if the numbers cannot be laid out.
    pub fn to_bytes(&self) -> Result<Vec<u8>, PredictorError> {
        let bytes: Vec<Vec<u8>> = self.ensemble.members.iter().map(little_endian).collect();
        let views = bytes.iter().enumerate().map(|(index, bytes)| member_view(index, bytes));
        let views = views.collect::<Result<Vec<_>, _>>()?;
        // One metadata entry only: the order of several would differ from run to run.
        let metadata = Metadata::from([("sartor".to_string(), self.header())]);
        serialize(views, Some(metadata)).map_err(bad)
    }

    fn header(&self) -> String {
        let (shape, first) = (self.shape(), &self.ensemble.members[0]);
        let placement = match shape.placement {
            HeadPlacement::BeforeActivation => "before",
            HeadPlacement::AfterActivation => "after",
        };
        let fields = [
            ("format", FORMAT_VERSION.to_string()),
            ("kind", "mlp".into()),
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
        let (mean, scale) = (header.number("mean")?, header.number("scale")?);
        let tensors = SafeTensors::deserialize(bytes).map_err(bad)?;
        let member = |index: usize| -> Result<Mlp, PredictorError> {
            let view = tensors.tensor(&format!("member.{index:03}")).map_err(bad)?;
            let values = floats(&view, shape.len())?;
            Ok(Mlp { shape, values, mean, scale })
        };
        let members = (0..header.number("members")?).map(member).collect::<Result<Vec<_>, _>>()?;
        if members.is_empty() {
            return Err(bad("no members"));
        }
        Ok(Self { space: space.clone(), ensemble: Ensemble { members } })
    }
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

fn member_view(index: usize, bytes: &[u8]) -> Result<(String, TensorView<'_>), PredictorError> {
    let view = TensorView::new(Dtype::F32, vec![bytes.len() / size_of::<f32>()], bytes).map_err(bad)?;
    Ok((format!("member.{index:03}"), view))
}

fn little_endian(mlp: &Mlp) -> Vec<u8> {
    mlp.values.iter().flat_map(|value| value.to_le_bytes()).collect()
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
