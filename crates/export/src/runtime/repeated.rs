//! # One model, run again and again on the same input
//!
//! For whoever holds a clock: nothing is timed here. The runtime runs as it does for its users by default; verification
//! asks for exact products as well, which costs time where a CPU has to emulate them. The input is allocated once and holds small positive numbers, so
//! that no run meets denormal floats.

use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::value::{DynTensor, Tensor};

use super::{Library, environment, failure};
use crate::error::Result;

/// A model's one input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RepeatedInput {
    /// Unsigned bytes of this shape.
    Bytes(Vec<usize>),
    /// 32-bit floats of this shape.
    Floats(Vec<usize>),
}

/// A model in the runtime with its input.
#[derive(Debug)]
pub struct Repeated {
    session: Session,
    name: String,
    input: DynTensor,
    library: String,
}

impl Repeated {
    /// Loads a model (the bytes of a `.onnx` file) on this many threads.
    pub fn load(library: &Library, model: &[u8], threads: usize, input: &RepeatedInput) -> Result<Self> {
        let path = library.path.display().to_string();
        let environment = environment(library)?;
        let load = || -> ort::Result<(Session, DynTensor)> {
            let session = Session::builder(&environment)?
                .with_optimization_level(GraphOptimizationLevel::All)?
                .with_intra_threads(threads)?
                .with_inter_threads(1)?
                .commit_from_memory(model)?;
            Ok((session, tensor(input)?))
        };
        let (session, input) = load().map_err(|error| failure(&path, "load the model", error))?;
        let name = session.inputs().first().map(|input| input.name().to_owned()).unwrap_or_default();
        Ok(Self { session, name, input, library: path })
    }

    /// Runs it once; the outputs are dropped.
    pub fn run(&mut self) -> Result<()> {
        let Self { session, name, input, library } = self;
        let outcome = session.run(ort::inputs![name.as_str() => &*input]).map(drop);
        outcome.map_err(|error| failure(library, "run the model", error))
    }
}

fn tensor(input: &RepeatedInput) -> ort::Result<DynTensor> {
    let elements = |shape: &[usize]| shape.iter().product::<usize>();
    Ok(match input {
        RepeatedInput::Bytes(shape) => {
            let values: Vec<u8> = (0..elements(shape)).map(|place| (place * 37 % 251) as u8).collect();
            Tensor::from_array((shape.clone(), values))?.upcast()
        }
        RepeatedInput::Floats(shape) => {
            let values: Vec<f32> =
                (0..elements(shape)).map(|place| (place * 37 % 251) as f32 / 251.0).collect();
            Tensor::from_array((shape.clone(), values))?.upcast()
        }
    })
}
