//! One process per run folder, by an advisory lock that the system drops when the process dies, however it dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use super::artefact::cannot_write;
use crate::failure::Failure;

/// Tries before a folder counts as in use, and the pause after each.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_millis(50);

/// A held lock; dropped with the process.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Locks `path` and writes our process id into it.
    ///
    /// # Errors
    /// When another process holds it (named), or the file cannot be written.
    pub fn take(path: &Path, folder: &Path) -> anyhow::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(path).map_err(|error| cannot_write(path, &error))?;
        match try_for_a_while(&file) {
            Ok(()) => {
                sign(&mut file).map_err(|error| cannot_write(path, &error))?;
                Ok(Self { _file: file })
            }
            Err(TryLockError::WouldBlock) => Err(in_use(&mut file, folder).into()),
            Err(TryLockError::Error(error)) => Err(cannot_write(path, &error).into()),
        }
    }
}

/// A process that was just killed may hold its lock for an instant longer.
fn try_for_a_while(file: &File) -> Result<(), TryLockError> {
    for _ in 0..TRIES {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(PAUSE),
            other => return other,
        }
    }
    file.try_lock()
}

fn sign(file: &mut File) -> std::io::Result<()> {
    file.set_len(0)?;
    write!(file, "{}", std::process::id())
}

fn in_use(file: &mut File, folder: &Path) -> Failure {
    let mut holder = String::new();
    let known = file.read_to_string(&mut holder).is_ok() && !holder.is_empty();
    let holder = if known { format!("process {holder}") } else { "another process".to_owned() };
    Failure::bad_input(format!("run folder `{}` is in use by {holder}", folder.display()))
        .hint("wait for it, or choose another folder with `--set run.folder=FOLDER`")
}
