//! # ONNX Runtime, loaded when it is there
//!
//! The library is a shared object that the user installs (`pip install onnxruntime`); nothing is linked. It is looked
//! for in `ORT_DYLIB_PATH`, then in the standard folders of Python packages and system libraries.
//!
//! A process can load one library; asking for another one afterwards is an error.

mod repeated;

use std::path::{Path, PathBuf};
use std::sync::Mutex;

use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::Tensor;

pub use repeated::{Repeated, RepeatedInput};

use crate::error::{ExportError, Result};
use crate::onnx::{INPUT, OUTPUT};

/// Environment variable with the path of the library.
pub const PATH_VARIABLE: &str = "ORT_DYLIB_PATH";

/// A runtime library on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Library {
    /// The shared object.
    pub path: PathBuf,
}

impl Library {
    /// Version in the file's name, such as `1.31.1`, if it has one.
    pub fn version(&self) -> Option<String> {
        let name = self.path.file_name()?.to_str()?;
        let start = name.find(|letter: char| letter.is_ascii_digit())?;
        let version = name[start..].trim_end_matches(".dylib").trim_end_matches('.');
        version.contains('.').then(|| version.to_string())
    }
}

/// Finds the library: `ORT_DYLIB_PATH`, else the first of the standard folders that has one.
pub fn find() -> Result<Library> {
    match std::env::var_os(PATH_VARIABLE).filter(|path| !path.is_empty()) {
        Some(path) if Path::new(&path).is_file() => Ok(Library { path: path.into() }),
        Some(path) => Err(missing(&[PathBuf::from(path)])),
        None => find_in(&standard_folders()),
    }
}

/// The first library in some folders.
pub fn find_in(folders: &[PathBuf]) -> Result<Library> {
    let found = folders.iter().find_map(|folder| library_in(folder));
    found.map(|path| Library { path }).ok_or_else(|| missing(folders))
}

fn missing(searched: &[PathBuf]) -> ExportError {
    ExportError::RuntimeMissing { searched: searched.iter().map(|path| path.display().to_string()).collect() }
}

/// Where Python packages and system libraries lie: active and local environments first.
fn standard_folders() -> Vec<PathBuf> {
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".local"));
    let environments =
        std::env::var_os("VIRTUAL_ENV").map(PathBuf::from).into_iter().chain([".runtime".into()]);
    let prefixes = environments.chain(home).chain(["/usr/local".into(), "/usr".into()]);
    let mut folders: Vec<PathBuf> = prefixes.flat_map(|prefix| package_folders(&prefix)).collect();
    folders.extend(["/usr/local/lib", "/usr/lib", "/usr/lib/x86_64-linux-gnu"].map(PathBuf::from));
    folders
}

/// Folders of the `onnxruntime` package under a prefix, newest Python first; the prefix may be a `--target` folder.
fn package_folders(prefix: &Path) -> Vec<PathBuf> {
    let package = Path::new("onnxruntime").join("capi");
    let mut folders = vec![prefix.join(&package), prefix.join("Lib/site-packages").join(&package)];
    for python in sorted_entries(&prefix.join("lib"), |name| name.starts_with("python3")) {
        folders.extend(["site-packages", "dist-packages"].map(|kind| python.join(kind).join(&package)));
    }
    folders.retain(|folder| folder.is_dir());
    folders
}

fn library_in(folder: &Path) -> Option<PathBuf> {
    let is_library = |name: &str| {
        name.starts_with("libonnxruntime.so")
            || name == "onnxruntime.dll"
            || (name.starts_with("libonnxruntime.") && name.ends_with(".dylib"))
    };
    sorted_entries(folder, is_library).into_iter().find(|path| path.is_file())
}

/// Entries whose name fits, last name first.
fn sorted_entries(folder: &Path, fits: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.retain(|path| path.file_name().and_then(|name| name.to_str()).is_some_and(&fits));
    paths.sort_unstable_by(|a, b| b.cmp(a));
    paths
}

/// The library of this process, once it is loaded.
static LOADED: Mutex<Option<(PathBuf, Environment)>> = Mutex::new(None);

/// A model in the runtime.
#[derive(Debug)]
pub(crate) struct Model {
    session: Session,
    library: String,
}

impl Model {
    /// Loads the library and a model; the graph as the runtime optimised it is written to `optimized`.
    ///
    /// `plain` leaves quantized operators as they stand: the runtime cannot fuse 2-bit weights and fails if it tries.
    pub(crate) fn load(
        library: &Library,
        path: &Path,
        threads: usize,
        plain: bool,
        optimized: &Path,
    ) -> Result<Self> {
        let name = library.path.display().to_string();
        let environment = environment(library)?;
        let session = session(&environment, path, threads, plain, optimized)
            .map_err(|error| failure(&name, "load the model", error))?;
        Ok(Self { session, library: name })
    }

    /// Logits of NCHW pixels, `[images, classes]`.
    pub(crate) fn run(&mut self, pixels: Vec<u8>, shape: [usize; 4]) -> Result<Vec<f32>> {
        let library = &self.library;
        run(&mut self.session, pixels, shape).map_err(|error| failure(library, "run the model", error))
    }
}

fn failure(library: &str, action: &'static str, error: impl ToString) -> ExportError {
    ExportError::Runtime { library: library.to_string(), action, reason: error.to_string() }
}

fn environment(library: &Library) -> Result<Environment> {
    let mut loaded = LOADED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let name = library.path.display().to_string();
    match &*loaded {
        Some((path, environment)) if *path == library.path => return Ok(environment.clone()),
        Some((path, _)) => {
            let reason = format!("this process has already loaded {}", path.display());
            return Err(failure(&name, "load the library", reason));
        }
        None => {}
    }
    let builder = ort::init_from(&library.path).map_err(|error| failure(&name, "load the library", error))?;
    let environment =
        builder.with_telemetry(false).build().map_err(|error| failure(&name, "load the library", error))?;
    environment.set_log_level(LogLevel::Error);
    *loaded = Some((library.path.clone(), environment.clone()));
    Ok(environment)
}

/// All optimisations; products of unsigned and signed bytes must not saturate where the CPU has no dot product.
fn session(
    environment: &Environment,
    path: &Path,
    threads: usize,
    plain: bool,
    optimized: &Path,
) -> ort::Result<Session> {
    Session::builder(environment)?
        .with_optimization_level(GraphOptimizationLevel::All)?
        .with_intra_threads(threads)?
        .with_inter_threads(1)?
        .with_precise_qmm()?
        .with_log_level(LogLevel::Error)?
        .with_config_entry("session.disable_quant_qdq", if plain { "1" } else { "0" })?
        .with_optimized_model_path(optimized)?
        .commit_from_file(path)
}

fn run(session: &mut Session, pixels: Vec<u8>, shape: [usize; 4]) -> ort::Result<Vec<f32>> {
    let tensor = Tensor::from_array((shape, pixels))?;
    let outputs = session.run(ort::inputs![INPUT => tensor])?;
    let Some(logits) = outputs.get(OUTPUT) else {
        return Err(ort::Error::new(format!("the model has no output `{OUTPUT}`")));
    };
    Ok(logits.try_extract_tensor::<f32>()?.1.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_python_of_the_first_prefix_wins() {
        let root = tempfile::tempdir().unwrap();
        for python in ["python3.11", "python3.13"] {
            let folder = root.path().join("lib").join(python).join("site-packages/onnxruntime/capi");
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join("libonnxruntime.so.1.31.1"), "").unwrap();
            std::fs::write(folder.join("libonnxruntime_providers_shared.so"), "").unwrap();
        }
        let library = find_in(&package_folders(root.path())).unwrap();
        assert!(library.path.to_str().unwrap().contains("python3.13"));
        assert_eq!(library.version().as_deref(), Some("1.31.1"));
    }

    #[test]
    fn an_absent_library_is_a_typed_error_with_a_hint() {
        let error = find_in(&["/nonexistent".into()]).unwrap_err();
        assert_eq!(error.to_string(), "no ONNX Runtime library found (looked at /nonexistent)");
        assert!(error.hint().unwrap().contains("pip install onnxruntime"));
    }

    #[test]
    fn versions_come_from_file_names() {
        for (name, version) in [
            ("/a/libonnxruntime.so.1.24.0", Some("1.24.0")),
            ("/a/libonnxruntime.1.24.0.dylib", Some("1.24.0")),
            ("/a/libonnxruntime.so", None),
            ("/a/onnxruntime.dll", None),
        ] {
            assert_eq!(Library { path: name.into() }.version().as_deref(), version, "{name}");
        }
    }
}
