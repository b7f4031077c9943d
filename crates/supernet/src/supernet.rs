//! # Supernet: trained elastic weights and their file

use sartor_space::SearchSpace;

use crate::archive::Archive;
use crate::error::Result;
use crate::parameters::{Layout, initialise};

/// Version of the weights file; a file of another version is refused.
const FORMAT: &str = "1";
/// What errors call the file.
const WHAT: &str = "supernet weights file";

/// Elastic weights of a search space.
#[derive(Debug, Clone, PartialEq)]
pub struct Supernet {
    layout: Layout,
    parameters: Vec<f32>,
}

impl Supernet {
    /// Fresh weights.
    pub fn new(space: &SearchSpace, seed: u64) -> Self {
        let layout = Layout::elastic(space);
        let parameters = initialise(&layout, seed);
        Self { layout, parameters }
    }

    pub(crate) fn from_parts(layout: Layout, parameters: Vec<f32>) -> Self {
        Self { layout, parameters }
    }

    pub(crate) fn into_parts(self) -> (Layout, Vec<f32>) {
        (self.layout, self.parameters)
    }

    /// Where the numbers lie.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The numbers.
    pub fn parameters(&self) -> &[f32] {
        &self.parameters
    }

    /// The weights file: safetensors with the space's name and hash.
    pub fn to_bytes(&self, space: &SearchSpace) -> Vec<u8> {
        let arrays = self.layout.arrays(&self.parameters, "");
        Archive { metadata: identity(space), arrays }.to_bytes()
    }

    /// Reads a weights file.
    ///
    /// # Errors
    /// A damaged file, another space or format version, a missing or misshapen array: each names the key.
    pub fn from_bytes(bytes: &[u8], space: &SearchSpace) -> Result<Self> {
        let archive = Archive::from_bytes(bytes, WHAT)?;
        check_identity(&archive, space)?;
        let layout = Layout::elastic(space);
        let parameters = layout.read(&archive, "")?;
        Ok(Self { layout, parameters })
    }
}

/// Metadata that ties a file to its space.
pub(crate) fn identity(space: &SearchSpace) -> std::collections::BTreeMap<String, String> {
    let entries = [("format", FORMAT), ("space", space.name()), ("space_hash", &space.hash())];
    entries.into_iter().map(|(key, text)| (key.to_string(), text.to_string())).collect()
}

pub(crate) fn check_identity(archive: &Archive, space: &SearchSpace) -> Result<()> {
    archive.expect("format", FORMAT)?;
    archive.expect("space_hash", &space.hash())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_round_trip_and_refusals() {
        let space = SearchSpace::preset("quickstart").unwrap();
        let supernet = Supernet::new(&space, 4);
        let bytes = supernet.to_bytes(&space);
        assert_eq!(Supernet::from_bytes(&bytes, &space).unwrap(), supernet);
        let other = SearchSpace::preset("cifar").unwrap();
        let error = Supernet::from_bytes(&bytes, &other).unwrap_err().to_string();
        assert!(error.contains("`space_hash`"), "{error}");
        let error = Supernet::from_bytes(&bytes[..bytes.len() / 2], &space).unwrap_err().to_string();
        assert!(error.contains("supernet weights file is corrupt"), "{error}");
    }
}
