//! # ONNX reader
//!
//! Conv (dense, depthwise), BatchNormalization, Relu, Clip, Add, MaxPool, AveragePool, GlobalAveragePool, ReduceMean
//! over the image, Flatten, Reshape, Squeeze, Gemm, MatMul; Identity, Dropout and a Softmax at the end are passed
//! over. Norms and activations go into the step whose only reader they are, activations also through max pools, zeros
//! that a Pad puts around an image into the convolution or pool behind it. Groups of channels become dense convolutions;
//! kernels that are not square, taps that are apart and uneven padding become larger kernels: all with zeros, the same
//! function, and [`notes`](ImportedNetwork::notes) tells what it costs. Everything else is refused by the node's name.

use std::collections::HashMap;

use prost::Message;

use super::values::signed;
use super::{Activation, ImportedConvolution, ImportedNetwork, Shape, Step, ValueId, Work};
use crate::error::Result;
use crate::fold::{EPSILON, Norm};
use crate::onnx::message::{Graph, Model, Node};
use graph::{Names, extents, float, integer, malformed, name, operator, unsupported};
use taps::Sides;

mod convolution;
mod graph;
mod numbers;
mod padding;
mod pools;
mod taps;

/// Operator sets whose operators mean what is read here.
const OPSETS: std::ops::RangeInclusive<i64> = 7..=26;
/// Names that exported files use themselves.
const OWN_NAMES: [&str; 3] = ["image", "pixels", "logits"];
/// Largest side of an image.
const LARGEST_SIZE: usize = 4096;
/// Most steps of a network.
const MOST_STEPS: usize = 4096;
/// Most elements of one value.
const MOST_ELEMENTS: usize = 1 << 28;

impl ImportedNetwork {
    /// Reads a `.onnx` file for images of this shape; where the file leaves height and width open, they are these.
    ///
    /// # Errors
    /// A file that is not ONNX, another image shape, an operator set or a node that is not understood (by name).
    pub fn from_onnx(bytes: &[u8], image: Shape) -> Result<Self> {
        let model = Model::decode(bytes).map_err(|error| malformed(format!("not an ONNX file: {error}")))?;
        check_version(&model)?;
        let graph = model.graph.as_ref().ok_or_else(|| malformed("no graph"))?;
        let mut reader = Reader::new(graph, image)?;
        for node in &graph.node {
            reader.node(node)?;
        }
        reader.finish(graph)
    }
}

fn check_version(model: &Model) -> Result<()> {
    let own = |domain: &Option<String>| matches!(domain.as_deref(), None | Some("" | "ai.onnx"));
    let version = model.opset_import.iter().find(|set| own(&set.domain)).and_then(|set| set.version);
    match version {
        Some(version) if OPSETS.contains(&version) => Ok(()),
        version => {
            let got = version.map_or("none".to_string(), |version| version.to_string());
            let (first, last) = (OPSETS.start(), OPSETS.end());
            Err(malformed(format!("operator set {got}, expected {first} to {last}")))
        }
    }
}

/// What a name in the graph stands for.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Known {
    value: ValueId,
    /// Seen as `[batch, features]`.
    flat: bool,
    /// Zeros that a node has put around the image.
    around: Sides,
}

struct Reader<'a> {
    names: Names<'a>,
    known: HashMap<&'a str, Known>,
    steps: Vec<Step>,
    shapes: Vec<Shape>,
    /// The graph ended in probabilities; nothing may follow.
    ended: bool,
    /// What was read as something else.
    notes: Vec<String>,
}

impl<'a> Reader<'a> {
    fn new(graph: &'a Graph, image: Shape) -> Result<Self> {
        let names = Names::of(graph);
        let inputs = graph.input.iter().filter_map(|input| Some((input.name.as_deref()?, input)));
        let inputs: Vec<_> = inputs.filter(|(name, _)| !names.is_constant(name)).collect();
        let &[(name, info)] = &inputs[..] else {
            return Err(malformed(format!("{} inputs, expected one image", inputs.len())));
        };
        let got = extents(info);
        let wanted = [None, Some(image.channels), Some(image.size), Some(image.size)];
        let fits = |(got, wanted): (&Option<usize>, &Option<usize>)| {
            got.is_none() || wanted.is_none() || got == wanted
        };
        if got.len() != 4 || !got.iter().zip(&wanted).all(fits) {
            let dims: Vec<String> =
                got.iter().map(|dim| dim.map_or("?".into(), |dim| dim.to_string())).collect();
            return Err(malformed(format!(
                "input `{name}` is [{}], expected [N, {}, {}, {}] as the images are",
                dims.join(", "),
                image.channels,
                image.size,
                image.size
            )));
        }
        let known = HashMap::from([(name, Known { value: 0, flat: false, around: [0; 4] })]);
        Ok(Self { names, known, steps: vec![], shapes: vec![image], ended: false, notes: vec![] })
    }

    fn node(&mut self, node: &'a Node) -> Result<()> {
        if operator(node) == "Constant" {
            let read = node.output.first().is_some_and(|name| self.names.is_constant(name));
            return if read { Ok(()) } else { Err(unsupported(node, "neither a tensor nor numbers")) };
        }
        if self.ended || !matches!(node.domain.as_deref(), None | Some("" | "ai.onnx")) {
            return Err(unsupported(node, "an operator of another domain, or after the end"));
        }
        let known = match operator(node) {
            "Conv" => self.convolution(node)?,
            "BatchNormalization" => self.norm(node)?,
            "Relu" => self.activation(node, Activation::Relu)?,
            "Clip" => self.clip(node)?,
            "Add" => self.add(node)?,
            "Pad" => self.pad(node)?,
            "MaxPool" => self.max_pool(node)?,
            "AveragePool" => self.average_pool(node)?,
            "GlobalAveragePool" => self.global_pool(node)?,
            "ReduceMean" => self.mean(node)?,
            "Flatten" | "Reshape" | "Squeeze" => self.flatten(node)?,
            "Gemm" => self.gemm(node)?,
            "MatMul" => self.product(node)?,
            "Identity" | "Dropout" => self.input(node, 0)?,
            "Softmax" | "LogSoftmax" => {
                self.ended = true;
                self.input(node, 0)?
            }
            _ => return Err(unsupported(node, "is not among the operators that can be quantized")),
        };
        let output = node.output.first().ok_or_else(|| unsupported(node, "no output"))?;
        self.known.insert(output, known);
        Ok(())
    }

    fn input(&self, node: &Node, place: usize) -> Result<Known> {
        let known = self.framed(node, place)?;
        match known.around {
            [0, 0, 0, 0] => Ok(known),
            _ => {
                Err(unsupported(node, "zeros around its input, which only a convolution or a pool takes in"))
            }
        }
    }

    /// The input with the zeros around it.
    fn framed(&self, node: &Node, place: usize) -> Result<Known> {
        let name = node.input.get(place).ok_or_else(|| unsupported(node, format!("no input {place}")))?;
        let known = self.known.get(name.as_str()).copied();
        known.ok_or_else(|| unsupported(node, format!("input `{name}`, which nothing has written")))
    }

    /// The input as an image.
    fn image(&self, node: &Node) -> Result<ValueId> {
        self.input(node, 0)?;
        Ok(self.framed_image(node)?.0)
    }

    /// The input as an image, and the zeros around it.
    fn framed_image(&self, node: &Node) -> Result<(ValueId, Sides)> {
        let known = self.framed(node, 0)?;
        if known.flat && self.shapes[known.value].size > 1 {
            return Err(unsupported(node, "flattened features where an image is expected"));
        }
        Ok((known.value, known.around))
    }

    fn push(&mut self, node: &Node, input: ValueId, work: Work, shape: Shape) -> Result<Known> {
        if shape.size == 0 || shape.size > LARGEST_SIZE || shape.len() > MOST_ELEMENTS || shape.channels == 0
        {
            return Err(unsupported(node, format!("an output of {}² × {}", shape.size, shape.channels)));
        }
        if self.steps.len() >= MOST_STEPS {
            return Err(unsupported(node, format!("more than {MOST_STEPS} steps")));
        }
        let name = self.free_name(name(node));
        self.steps.push(Step { name, input, work });
        self.shapes.push(shape);
        Ok(Known { value: self.shapes.len() - 1, flat: false, around: [0; 4] })
    }

    /// A name that no other step has, and none of the exported files' own values.
    fn free_name(&self, name: String) -> String {
        let taken = |name: &str| OWN_NAMES.contains(&name) || self.steps.iter().any(|step| step.name == name);
        let numbered = (0..).map(|number| format!("{name}.{number}"));
        std::iter::once(name.clone()).chain(numbered).find(|name| !taken(name)).unwrap_or(name)
    }

    /// Tells that a node was read as something else, of the same function.
    fn note(&mut self, node: &Node, what: String) {
        self.notes.push(format!("node `{}` ({}): {what}", name(node), operator(node)));
    }

    /// How many nodes read a value; those that only give it another name do not count.
    fn readers(&self, value: ValueId) -> usize {
        let names = self.known.iter().filter(|(_, known)| known.value == value);
        let (count, uses) =
            names.fold((0, 0), |(count, uses), (name, _)| (count + 1, uses + self.names.uses(name)));
        (uses + 1).saturating_sub(count)
    }

    /// The step whose result the node alone reads, directly or behind max pools: they choose, and what does not
    /// change the order may as well be done before.
    fn producer(&mut self, node: &Node, behind_pools: bool) -> Result<(Known, &mut Step)> {
        let known = self.input(node, 0)?;
        let mut value = known.value;
        while self.readers(value) == 1 {
            let Some(index) = value.checked_sub(1) else { break };
            match self.steps[index].work {
                Work::MaxPool { .. } if behind_pools => value = self.steps[index].input,
                Work::MaxPool { .. } => break,
                _ => return Ok((known, &mut self.steps[index])),
            }
        }
        Err(unsupported(node, "not behind a convolution or an addition that only it reads"))
    }

    fn norm(&mut self, node: &'a Node) -> Result<Known> {
        let field = |place| self.names.wanted(node, place).map(|(_, values)| values);
        let (gamma, beta, mean, variance) = (field(1)?, field(2)?, field(3)?, field(4)?);
        let epsilon = f64::from(float(node, "epsilon").unwrap_or(EPSILON as f32));
        let (known, step) = self.producer(node, false)?;
        let Some(convolution) = step.work.open_convolution() else {
            return Err(unsupported(node, "a norm that does not directly follow a convolution"));
        };
        let channels = convolution.channels();
        let lengths = [gamma.len(), beta.len(), mean.len(), variance.len()];
        if convolution.normalized || lengths != [channels; 4] || variance.iter().any(|&value| value < 0.0) {
            return Err(unsupported(
                node,
                format!("{lengths:?} numbers for {channels} channels, or a second norm"),
            ));
        }
        for (channel, norm) in convolution.norms.iter_mut().enumerate() {
            let (factor, shift) = with_epsilon(gamma[channel], variance[channel], epsilon);
            *norm =
                Norm { gamma: factor, beta: beta[channel], mean: mean[channel] - norm.beta, variance: shift };
        }
        // An average pool with a norm is a depthwise convolution like any other.
        (convolution.normalized, convolution.fixed) = (true, false);
        Ok(known)
    }

    fn activation(&mut self, node: &Node, activation: Activation) -> Result<Known> {
        let known = self.input(node, 0)?;
        if activation == Activation::Relu && !signed(&self.steps, known.value) {
            return Ok(known);
        }
        let (known, step) = self.producer(node, true)?;
        match &mut step.work {
            Work::Convolution(ImportedConvolution { activation: own, .. })
            | Work::Add { activation: own, .. } => *own = own.then(activation),
            _ => return Err(unsupported(node, "an activation behind a mean over the image")),
        }
        Ok(known)
    }

    fn clip(&mut self, node: &Node) -> Result<Known> {
        let low = self.names.scalar(node, 1)?.or(float(node, "min"));
        let high = self.names.scalar(node, 2)?.or(float(node, "max"));
        match (low, high) {
            (Some(0.0), None) => self.activation(node, Activation::Relu),
            (Some(0.0), Some(high)) if high > 0.0 && high < f32::MAX => {
                self.activation(node, Activation::Clipped(high))
            }
            _ => Err(unsupported(
                node,
                format!("limits {low:?} and {high:?}, expected 0 and a positive number"),
            )),
        }
    }

    fn add(&mut self, node: &'a Node) -> Result<Known> {
        if node.input.get(1).is_some_and(|name| self.names.is_constant(name)) {
            return self.bias(node);
        }
        let values = [self.input(node, 0)?.value, self.input(node, 1)?.value];
        let (first, last) = (values[0].min(values[1]), values[0].max(values[1]));
        let shape = self.shapes[last];
        if shape != self.shapes[first] || first == 0 {
            return Err(unsupported(node, "summands of different shapes, or the image itself"));
        }
        self.push(node, last, Work::Add { other: first, activation: Activation::Linear }, shape)
    }

    fn flatten(&mut self, node: &Node) -> Result<Known> {
        let known = self.input(node, 0)?;
        let wanted = match operator(node) {
            "Flatten" => integer(node, "axis", 1) == 1,
            "Squeeze" => self.shapes[known.value].size == 1,
            _ => {
                let features = self.shapes[known.value].len() as i64;
                let shape = self.names.integers(node, 1).unwrap_or_default();
                shape.len() == 2 && (shape[1] == -1 || shape[1] == features)
            }
        };
        if wanted {
            Ok(Known { flat: true, ..known })
        } else {
            Err(unsupported(node, "another shape than [N, features]"))
        }
    }

    fn finish(self, graph: &Graph) -> Result<ImportedNetwork> {
        let output = graph.output.first().and_then(|output| self.known.get(output.name.as_deref()?));
        let output = output.filter(|output| output.around == [0; 4]);
        let last = self.steps.last();
        let ends = last.is_some_and(|step| {
            let linear = step
                .work
                .convolution()
                .is_some_and(|last| !last.fixed && last.kernel == 1 && !last.depthwise);
            linear && step.work.activation() == Activation::Linear && self.shapes[step.input].size == 1
        });
        if graph.output.len() != 1 || output.map(|known| known.value) != Some(self.steps.len()) || !ends {
            let last = last.map_or("nothing".to_string(), |step| format!("`{}`", step.name));
            return Err(malformed(format!(
                "the graph ends in {last}, expected one output from a fully connected layer on pooled features"
            )));
        }
        let first =
            self.steps.iter().all(|step| step.input > 0 || step.work.convolution().is_some_and(|c| !c.fixed));
        if !first {
            return Err(malformed("the image is read by something else than a convolution"));
        }
        let Self { steps, shapes, notes, .. } = self;
        Ok(ImportedNetwork { steps, shapes, zero_point: 0, scale: 1.0 / 255.0, notes })
    }
}

/// Factor and variance under this crate's ε of a norm with another one.
fn with_epsilon(gamma: f32, variance: f32, epsilon: f64) -> (f32, f32) {
    let total = f64::from(variance) + epsilon;
    let own = (total - EPSILON).max(0.0);
    ((f64::from(gamma) * ((own + EPSILON) / total).sqrt()) as f32, own as f32)
}
