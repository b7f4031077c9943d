//! Files that are either whole or absent, and known by their hash.

use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::failure::Failure;

/// A file of the run folder and the hash its stage gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artefact {
    /// Name relative to the run folder.
    pub name: String,
    /// SHA-256 of its bytes, in hex.
    pub hash: String,
}

impl Artefact {
    /// An artefact as it lies there.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn hashed(name: &str, path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        Ok(Self { name: name.to_owned(), hash: hash(&bytes) })
    }

    /// An artefact that must have a known hash.
    ///
    /// # Errors
    /// When it has another one.
    pub fn checked(name: &str, path: &Path, expected: &str) -> Result<Self> {
        let found = Self::hashed(name, path)?;
        if found.hash == expected {
            return Ok(found);
        }
        let message = format!(
            "`{}` is corrupt: its SHA-256 should be {}…, got {}…",
            path.display(),
            &expected[..16.min(expected.len())],
            &found.hash[..16]
        );
        Err(Failure::bad_input(message).hint("`--force` makes it anew").into())
    }
}

/// SHA-256 in hex.
pub fn hash(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Creates a folder and its parents.
///
/// # Errors
/// With the folder's name and a way on.
pub fn create_folder(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).map_err(|error| cannot_write(path, &error).into())
}

/// Writes bytes to a temporary file beside `path`, syncs it and renames it: readers see the old file or the new one.
///
/// # Errors
/// With the file's name and a way on; the old file is untouched.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let folder = folder_of(path);
    create_folder(folder)?;
    persist(folder, path, bytes).map_err(|error| cannot_write(path, &error).into())
}

/// The folder of a file; that of a bare name is the working folder, not the empty path.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn persist(folder: &Path, path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file =
        tempfile::Builder::new().prefix(".writing-").permissions(readable()).tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    std::fs::File::open(folder)?.sync_all()
}

/// Artefacts are for everyone to read, unlike temporary files.
#[cfg(unix)]
fn readable() -> std::fs::Permissions {
    std::os::unix::fs::PermissionsExt::from_mode(0o644)
}

/// Removes a file if it is there.
///
/// # Errors
/// When it is there and cannot be removed.
pub fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(cannot_write(path, &error).into()),
        _ => Ok(()),
    }
}

/// The complaint about a file or folder that cannot be written, with what can be done.
pub fn cannot_write(path: &Path, error: &std::io::Error) -> Failure {
    use std::io::ErrorKind;
    let failure = Failure::bad_input(format!("cannot write `{}`: {error}", path.display()));
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            failure.hint("free some space and start again; finished stages and checkpoints are kept")
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            failure.hint("choose a writable run folder with `--set run.folder=FOLDER`")
        }
        _ => failure.hint("check the run folder, or choose another one with `--set run.folder=FOLDER`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_is_sha256() {
        assert_eq!(hash(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn writing_replaces_whole_files_and_leaves_nothing_else() {
        let place = tempfile::tempdir().expect("a temporary folder");
        let path = place.path().join("deep/file");
        write(&path, b"one").expect("writes");
        write(&path, b"two").expect("writes");
        assert_eq!(std::fs::read(&path).expect("reads"), b"two");
        assert_eq!(std::fs::read_dir(place.path().join("deep")).expect("lists").count(), 1);
    }

    #[test]
    fn a_bare_file_name_lies_in_the_working_folder() {
        for (path, folder) in [("costs.csv", "."), ("a/costs.csv", "a"), ("/costs.csv", "/")] {
            assert_eq!(folder_of(Path::new(path)), Path::new(folder), "{path}");
        }
    }

    #[test]
    fn a_full_disk_is_named_with_a_way_on() {
        let error = std::io::Error::from(std::io::ErrorKind::StorageFull);
        let failure: anyhow::Error = cannot_write(Path::new("run/x"), &error).into();
        assert!(failure.to_string().starts_with("cannot write `run/x`"), "{failure}");
        assert!(crate::failure::hint(&failure).is_some_and(|hint| hint.contains("free some space")));
    }
}
