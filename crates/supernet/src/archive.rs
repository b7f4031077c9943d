//! # Archive: named arrays and metadata as safetensors bytes
//!
//! The header is written here rather than by the `safetensors` crate, because that crate keeps metadata in a
//! randomly seeded hash map: two runs of one seed would differ in the order of the keys. Reading goes through the
//! crate, which checks offsets and sizes. Everything is `f32`, little-endian, arrays in the order given.

use std::collections::BTreeMap;

use safetensors::{Dtype, SafeTensors};

use crate::error::{Result, SupernetError};

/// A row-major array with a name.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedArray {
    /// Unique within an archive.
    pub name: String,
    /// Extents, outermost first.
    pub shape: Vec<usize>,
    /// The product of the extents many values.
    pub values: Vec<f32>,
}

impl NamedArray {
    /// Puts the parts together.
    pub fn new(name: impl Into<String>, shape: &[usize], values: &[f32]) -> Self {
        Self { name: name.into(), shape: shape.to_vec(), values: values.to_vec() }
    }
}

/// Named arrays with text metadata.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Archive {
    /// Free text by key.
    pub metadata: BTreeMap<String, String>,
    /// In file order.
    pub arrays: Vec<NamedArray>,
}

impl Archive {
    /// The safetensors file; equal archives give equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut header = self.header();
        header.push_str(&" ".repeat(header.len().next_multiple_of(8) - header.len()));
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        for array in &self.arrays {
            array.values.iter().for_each(|value| bytes.extend_from_slice(&value.to_le_bytes()));
        }
        bytes
    }

    fn header(&self) -> String {
        let mut offset = 0;
        let mut entries = vec![format!("\"__metadata__\":{}", serde_json::json!(self.metadata))];
        for array in &self.arrays {
            let end = offset + 4 * array.values.len();
            let (name, shape) = (serde_json::json!(array.name), serde_json::json!(array.shape));
            entries.push(format!(
                "{name}:{{\"dtype\":\"F32\",\"shape\":{shape},\"data_offsets\":[{offset},{end}]}}"
            ));
            offset = end;
        }
        format!("{{{}}}", entries.join(","))
    }

    /// Reads a safetensors file of `f32` arrays; `what` names the file in errors.
    pub fn from_bytes(bytes: &[u8], what: &'static str) -> Result<Self> {
        let corrupt =
            |error: safetensors::SafeTensorError| SupernetError::Corrupt { what, reason: error.to_string() };
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(corrupt)?;
        let tensors = SafeTensors::deserialize(bytes).map_err(corrupt)?;
        let metadata =
            header.metadata().iter().flatten().map(|(key, text)| (key.clone(), text.clone())).collect();
        let arrays = header.offset_keys().into_iter().map(|name| {
            let view = tensors.tensor(&name).map_err(corrupt)?;
            read_array(name, view.dtype(), view.shape(), view.data())
        });
        Ok(Self { metadata, arrays: arrays.collect::<Result<_>>()? })
    }

    /// The values of an array that must be there, in this shape and finite.
    pub fn array(&self, key: &str, shape: &[usize]) -> Result<&[f32]> {
        let missing = || SupernetError::MissingArray { key: key.to_string() };
        let array = self.arrays.iter().find(|array| array.name == key).ok_or_else(missing)?;
        if array.shape != shape {
            let (expected, got) = (format!("f32{shape:?}"), format!("f32{:?}", array.shape));
            return Err(SupernetError::ArrayShape { key: key.to_string(), expected, got });
        }
        Ok(&array.values)
    }

    /// A metadata entry that must be there.
    pub fn text(&self, key: &str) -> Result<&str> {
        self.metadata.get(key).map(String::as_str).ok_or_else(|| wrong_metadata(key, "some text", "missing"))
    }

    /// A metadata entry that must be a whole number.
    pub fn number(&self, key: &str) -> Result<u64> {
        let text = self.text(key)?;
        text.parse().map_err(|_| wrong_metadata(key, "a whole number", text))
    }

    /// Refuses another value of a metadata entry.
    pub fn expect(&self, key: &str, expected: &str) -> Result<()> {
        match self.text(key)? {
            text if text == expected => Ok(()),
            other => Err(wrong_metadata(key, expected, other)),
        }
    }
}

fn wrong_metadata(key: &str, expected: &str, got: &str) -> SupernetError {
    SupernetError::Metadata { key: key.to_string(), expected: expected.to_string(), got: got.to_string() }
}

fn read_array(name: String, dtype: Dtype, shape: &[usize], data: &[u8]) -> Result<NamedArray> {
    if dtype != Dtype::F32 {
        let (expected, got) = (format!("f32{shape:?}"), format!("{dtype:?}{shape:?}"));
        return Err(SupernetError::ArrayShape { key: name, expected, got });
    }
    let (words, _) = data.as_chunks::<4>();
    let values: Vec<f32> = words.iter().map(|&word| f32::from_le_bytes(word)).collect();
    if values.iter().any(|value| !value.is_finite()) {
        return Err(SupernetError::ArrayNotFinite { key: name });
    }
    Ok(NamedArray { name, shape: shape.to_vec(), values })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Archive {
        let metadata = [("space", "tiny"), ("format", "1"), ("quote", "say \"hi\"\n")];
        Archive {
            metadata: metadata.iter().map(|&(key, text)| (key.to_string(), text.to_string())).collect(),
            arrays: vec![
                NamedArray::new("b.weight", &[2, 3], &[1.0, -2.5, 3.0, 0.0, 5.0, 1e-20]),
                NamedArray::new("a.bias", &[1], &[0.25]),
                NamedArray::new("empty", &[0], &[]),
            ],
        }
    }

    #[test]
    fn round_trip_keeps_everything_and_is_stable() {
        let archive = sample();
        let bytes = archive.to_bytes();
        assert_eq!(bytes, archive.clone().to_bytes());
        let back = Archive::from_bytes(&bytes, "test file").unwrap();
        assert_eq!(back.metadata, archive.metadata);
        for array in &archive.arrays {
            assert_eq!(back.array(&array.name, &array.shape).unwrap(), array.values);
        }
    }

    #[test]
    fn damage_is_named() {
        let bytes = sample().to_bytes();
        let cases: [(&str, Vec<u8>, &str); 4] = [
            ("empty file", vec![], "test file is corrupt"),
            ("cut off", bytes[..bytes.len() - 3].to_vec(), "test file is corrupt"),
            ("header", [&bytes[..20], b"\xff\xff", &bytes[22..]].concat(), "test file is corrupt"),
            ("value", with_infinity(&bytes), "`a.bias`"),
        ];
        for (name, damaged, message) in cases {
            let error = Archive::from_bytes(&damaged, "test file").unwrap_err();
            assert!(error.to_string().contains(message), "{name}: {error}");
            assert!(error.hint().is_some(), "{name}");
        }
    }

    fn with_infinity(bytes: &[u8]) -> Vec<u8> {
        let mut damaged = bytes.to_vec();
        let last = damaged.len() - 4;
        damaged[last..].copy_from_slice(&f32::INFINITY.to_le_bytes());
        damaged
    }

    #[test]
    fn wrong_expectations_name_the_key() {
        let archive = sample();
        let cases = [
            (archive.array("c", &[1]).err(), "`c` is missing"),
            (archive.array("b.weight", &[3, 2]).err(), "f32[2, 3], expected f32[3, 2]"),
            (archive.number("space").err(), "`space` is tiny, expected a whole number"),
            (archive.expect("format", "2").err(), "`format` is 1, expected 2"),
        ];
        for (error, message) in cases {
            assert!(error.unwrap().to_string().contains(message));
        }
    }
}
