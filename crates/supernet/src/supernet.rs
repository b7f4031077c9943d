//! # Supernet: trained elastic weights and their file

use sartor_space::SearchSpace;

use crate::archive::Archive;
use crate::error::Result;
use crate::parameters::{Layout, initialise};

/// Version of the weights file; a file of another version is refused.
const FORMAT: &str = "1";
/// What errors call the file.
const WHAT: &str = "supernet weights file";
const TEACHER: &str = "teacher/";

/// Elastic weights of a search space.
#[derive(Debug, Clone, PartialEq)]
pub struct Supernet {
    layout: Layout,
    parameters: Vec<f32>,
    /// The largest network's numbers as it was frozen as the teacher.
    teacher: Option<Vec<f32>>,
}

impl Supernet {
    /// Fresh weights.
    pub fn new(space: &SearchSpace, seed: u64) -> Self {
        let layout = Layout::elastic(space);
        let parameters = initialise(&layout, seed);
        Self { layout, parameters, teacher: None }
    }

    pub(crate) fn from_parts(layout: Layout, parameters: Vec<f32>) -> Self {
        Self { layout, parameters, teacher: None }
    }

    pub(crate) fn with_teacher(self, teacher: Option<&[f32]>) -> Self {
        Self { teacher: teacher.map(<[f32]>::to_vec), ..self }
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

    /// The numbers with which the largest network is at its best: as it was when it was frozen as the teacher, or,
    /// before that, the supernet's own. Smaller subnets share the supernet's own numbers and not these.
    pub fn teacher(&self) -> &[f32] {
        self.teacher.as_deref().unwrap_or(&self.parameters)
    }

    /// The teacher's numbers in place of the supernet's own, to score or run the largest network.
    pub fn as_teacher(&self) -> Self {
        Self::from_parts(self.layout.clone(), self.teacher().to_vec())
    }

    /// The weights file: safetensors with the space's name and hash, the teacher's arrays under `teacher/`.
    pub fn to_bytes(&self, space: &SearchSpace) -> Vec<u8> {
        let mut arrays = self.layout.arrays(&self.parameters, "");
        arrays.extend(self.teacher.iter().flat_map(|teacher| self.layout.arrays(teacher, TEACHER)));
        let mut metadata = identity(space);
        metadata.insert("teacher".into(), u8::from(self.teacher.is_some()).to_string());
        Archive { metadata, arrays }.to_bytes()
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
        // Files without the entry were written before teachers were kept.
        let has_teacher = archive.metadata.contains_key("teacher") && archive.number("teacher")? == 1;
        let teacher = if has_teacher { Some(layout.read(&archive, TEACHER)?) } else { None };
        Ok(Self { layout, parameters, teacher })
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
    fn the_teacher_is_kept_beside_the_weights() {
        let space = SearchSpace::preset("quickstart").unwrap();
        let supernet = Supernet::new(&space, 1);
        assert_eq!(supernet.teacher(), supernet.parameters());
        let teacher = Supernet::new(&space, 2);
        let both = supernet.clone().with_teacher(Some(teacher.parameters()));
        let read = Supernet::from_bytes(&both.to_bytes(&space), &space).unwrap();
        assert_eq!(read, both);
        assert_eq!((read.parameters(), read.teacher()), (supernet.parameters(), teacher.parameters()));
        assert_eq!(read.as_teacher(), teacher);
    }

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
