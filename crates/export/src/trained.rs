//! # Trained model: named arrays from a safetensors file
//!
//! Everything is `f32`, keyed by layer name (`stage2.block1.expand.weight`, `….gamma`, `….weight_threshold`, …).
//! Reading checks sizes and offsets, every access checks shape and finiteness, so later code cannot see a bad number.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use crate::error::{ExportError, Result};

/// What PyTorch's batch norms count beside their statistics.
const BATCH_COUNTER: &str = ".num_batches_tracked";

/// One array: row-major values with their extents.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NamedArray {
    /// Extents, outermost first.
    pub shape: Vec<usize>,
    /// Product of the extents many numbers.
    pub values: Vec<f32>,
}

/// What the fine-tune leaves: float weights, normalisation, thresholds and ranges, by name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TrainedModel {
    arrays: BTreeMap<String, NamedArray>,
    metadata: BTreeMap<String, String>,
}

impl TrainedModel {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|source| ExportError::File {
            action: "read",
            path: path.to_path_buf(),
            source,
        })?;
        Self::from_bytes(&bytes)
    }

    /// Reads the bytes of a safetensors file; anything malformed is an error, never a panic. PyTorch's whole-numbered
    /// counters of batches are passed over.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let corrupt =
            |error: safetensors::SafeTensorError| ExportError::NotSafetensors { reason: error.to_string() };
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(corrupt)?;
        let metadata = header.metadata().iter().flatten().map(|(key, text)| (key.clone(), text.clone()));
        let tensors = SafeTensors::deserialize(bytes).map_err(corrupt)?;
        let numbers = tensors.tensors().into_iter().filter(|(key, _)| !key.ends_with(BATCH_COUNTER));
        let arrays = numbers.map(|(key, view)| {
            let array = read_array(&key, view.dtype(), view.shape(), view.data())?;
            Ok((key, array))
        });
        Ok(Self { metadata: metadata.collect(), arrays: arrays.collect::<Result<_>>()? })
    }

    /// The bytes of a safetensors file that reads back the same.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let bytes: Vec<Vec<u8>> = self.arrays.values().map(little_endian).collect();
        let corrupt =
            |error: safetensors::SafeTensorError| ExportError::NotSafetensors { reason: error.to_string() };
        let views = self.arrays.iter().zip(&bytes).map(|((key, array), bytes)| {
            let view = TensorView::new(Dtype::F32, array.shape.clone(), bytes).map_err(corrupt)?;
            Ok((key.as_str(), view))
        });
        let metadata = self.metadata.iter().map(|(key, text)| (key.clone(), text.clone())).collect();
        safetensors::serialize(views.collect::<Result<Vec<_>>>()?, Some(metadata)).map_err(corrupt)
    }

    /// Takes arrays that are already in memory.
    pub fn from_arrays(arrays: BTreeMap<String, NamedArray>, metadata: BTreeMap<String, String>) -> Self {
        Self { arrays, metadata }
    }

    /// A metadata text, such as `candidate` or `space_toml`.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }

    /// Whether an array of this name is there.
    pub fn contains(&self, key: &str) -> bool {
        self.arrays.contains_key(key)
    }

    /// An array by its whole name.
    pub fn get(&self, key: &str) -> Option<&NamedArray> {
        self.arrays.get(key)
    }

    /// `<layer>.<field>`, which must have this shape and hold finite numbers only.
    pub fn array(&self, layer: &str, field: &str, shape: &[usize]) -> Result<&[f32]> {
        let key = format!("{layer}.{field}");
        let Some(array) = self.arrays.get(&key) else {
            return Err(ExportError::MissingArray { layer: layer.to_string(), key });
        };
        if array.shape != shape || array.values.len() != shape.iter().product::<usize>() {
            let (expected, got) = (shape.to_vec(), array.shape.clone());
            return Err(ExportError::Shape { layer: layer.to_string(), key, expected, got });
        }
        check_values(layer, field, &array.values, "a finite number", |value| value.is_finite())?;
        Ok(&array.values)
    }

    /// As [`array`](Self::array), with every number positive.
    pub fn positive(&self, layer: &str, field: &str, shape: &[usize]) -> Result<&[f32]> {
        let values = self.array(layer, field, shape)?;
        check_values(layer, field, values, "a positive number", |value| value >= f32::MIN_POSITIVE)?;
        Ok(values)
    }

    /// Puts other numbers into an array that is there.
    pub(crate) fn replace(&mut self, layer: &str, field: &str, values: Vec<f32>) {
        if let Some(array) = self.arrays.get_mut(&format!("{layer}.{field}")) {
            array.values = values;
        }
    }

    /// The arrays by name.
    pub fn arrays(&self) -> impl Iterator<Item = (&str, &NamedArray)> {
        self.arrays.iter().map(|(key, array)| (key.as_str(), array))
    }
}

fn check_values(
    layer: &str,
    field: &str,
    values: &[f32],
    expected: &'static str,
    valid: impl Fn(f32) -> bool,
) -> Result<()> {
    match values.iter().position(|&value| !valid(value)) {
        None => Ok(()),
        Some(index) => Err(ExportError::Value {
            layer: layer.to_string(),
            key: format!("{layer}.{field}"),
            index,
            got: values[index],
            expected,
        }),
    }
}

fn little_endian(array: &NamedArray) -> Vec<u8> {
    array.values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn read_array(key: &str, dtype: Dtype, shape: &[usize], data: &[u8]) -> Result<NamedArray> {
    if dtype != Dtype::F32 {
        return Err(ExportError::ElementType { key: key.to_string(), got: format!("{dtype:?}") });
    }
    let number = |bytes: &[u8]| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    Ok(NamedArray { shape: shape.to_vec(), values: data.chunks_exact(4).map(number).collect() })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file() -> Vec<u8> {
        let data: Vec<u8> = [1.0f32, 2.0, f32::NAN].iter().flat_map(|value| value.to_le_bytes()).collect();
        let view = |range: std::ops::Range<usize>, shape: Vec<usize>| {
            safetensors::tensor::TensorView::new(Dtype::F32, shape, &data[range]).unwrap()
        };
        let metadata = [("space".to_string(), "tiny".to_string())].into();
        let arrays = [("stem.weight", view(0..8, vec![2, 1])), ("stem.bad", view(8..12, vec![1]))];
        safetensors::serialize(arrays, Some(metadata)).unwrap()
    }

    #[test]
    fn arrays_and_metadata_come_back() {
        let model = TrainedModel::from_bytes(&file()).unwrap();
        assert_eq!(model.array("stem", "weight", &[2, 1]).unwrap(), [1.0, 2.0]);
        assert_eq!(model.metadata("space"), Some("tiny"));
        assert!(model.contains("stem.weight") && !model.contains("head.weight"));
    }

    #[test]
    fn counters_of_batches_are_passed_over_and_other_types_refused() {
        let of = |key: &'static str| {
            let data = 7i64.to_le_bytes();
            let view = safetensors::tensor::TensorView::new(Dtype::I64, vec![], &data).unwrap();
            TrainedModel::from_bytes(&safetensors::serialize([(key, view)], None).unwrap())
        };
        assert_eq!(of("features.0.1.num_batches_tracked").unwrap(), TrainedModel::default());
        assert!(matches!(of("features.0.1.weight"), Err(ExportError::ElementType { .. })));
    }

    #[test]
    fn written_bytes_read_back_the_same() {
        let values = vec![0.5, -3.0, 1e-30];
        let arrays = [("stem.beta".to_string(), NamedArray { shape: vec![3], values })].into();
        let model = TrainedModel::from_arrays(arrays, [("space".into(), "tiny".into())].into());
        assert_eq!(TrainedModel::from_bytes(&model.to_bytes().unwrap()).unwrap(), model);
    }

    #[test]
    fn errors_name_layer_key_expected_and_got() {
        let model = TrainedModel::from_bytes(&file()).unwrap();
        let cases = [
            (("stem", "gamma", vec![2]), "layer `stem`: the trained model has no array `stem.gamma`"),
            (("stem", "weight", vec![3]), "layer `stem`: array `stem.weight` has shape [2, 1], expected [3]"),
            (("stem", "bad", vec![1]), "layer `stem`: `stem.bad[0]` is NaN, expected a finite number"),
        ];
        for ((layer, field, shape), message) in cases {
            let error = model.array(layer, field, &shape).unwrap_err();
            assert_eq!(error.to_string(), message);
            assert!(error.hint().is_some());
        }
    }

    #[test]
    fn every_truncation_is_an_error() {
        let bytes = file();
        for length in 0..bytes.len() {
            assert!(TrainedModel::from_bytes(&bytes[..length]).is_err(), "{length} of {} bytes", bytes.len());
        }
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic(position in 0usize..200, value in any::<u8>(), tail in 0usize..64) {
            let mut bytes = file();
            let position = position % bytes.len();
            bytes[position] = value;
            bytes.truncate(bytes.len() - tail.min(bytes.len()));
            let _ = TrainedModel::from_bytes(&bytes);
        }

        #[test]
        fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            prop_assert!(TrainedModel::from_bytes(&bytes).is_err());
        }
    }
}
