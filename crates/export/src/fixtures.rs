//! Small ONNX graphs with random weights, for tests.

use std::collections::BTreeMap;

use prost::Message;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::onnx::message::{
    Attribute, DataType, Dimension, Entry, Extent, Graph, Model, Node, OperatorSet, Shape, TensorData,
    TensorType, ValueInfo, ValueType,
};
use crate::{NamedArray, TrainedModel};

/// A graph in the making: every node's output has the node's name, and the last one is the graph's.
pub struct Nodes {
    rng: ChaCha8Rng,
    graph: Graph,
    opset: i64,
    dims: Vec<i64>,
}

fn attribute(name: &str, values: &[i64]) -> Attribute {
    let (integer, kind) = if values.len() == 1 { (Some(values[0]), 2) } else { (None, 7) };
    let integers = if values.len() == 1 { vec![] } else { values.to_vec() };
    Attribute { name: Some(name.into()), integer, integers, kind: Some(kind), ..Default::default() }
}

impl Nodes {
    fn new(seed: u64) -> Self {
        let rng = ChaCha8Rng::seed_from_u64(seed);
        Self { rng, graph: Graph::default(), opset: 13, dims: vec![-1, 2, 12, 12] }
    }

    fn constant(&mut self, name: &str, dims: &[usize], (low, high): (f32, f32)) -> String {
        let count = dims.iter().product::<usize>();
        let values: Vec<f32> =
            (0..count).map(|_| if low < high { self.rng.random_range(low..high) } else { low }).collect();
        self.graph.initializer.push(TensorData {
            dims: dims.iter().map(|&dim| dim as i64).collect(),
            data_type: Some(DataType::Float as i32),
            name: Some(name.into()),
            raw_data: Some(values.iter().flat_map(|value| value.to_le_bytes()).collect()),
            ..Default::default()
        });
        name.to_string()
    }

    fn node(&mut self, name: &str, operator: &str, inputs: &[&str], attributes: Vec<Attribute>) -> String {
        self.graph.node.push(Node {
            input: inputs.iter().map(|input| input.to_string()).collect(),
            output: vec![name.into()],
            name: Some(name.into()),
            op_type: Some(operator.into()),
            attribute: attributes,
            domain: None,
        });
        name.to_string()
    }

    /// A convolution: `(inputs, outputs, kernel, stride, padding)`; one group per channel if `inputs` is 1.
    fn convolution(
        &mut self,
        name: &str,
        from: &str,
        shape: [usize; 5],
        groups: usize,
        bias: bool,
    ) -> String {
        let [inputs, outputs, kernel, stride, padding] = shape;
        let spread = (3.0 / (inputs * kernel * kernel) as f32).sqrt();
        let weight =
            self.constant(&format!("{name}.weight"), &[outputs, inputs, kernel, kernel], (-spread, spread));
        let mut all = vec![from.to_string(), weight];
        if bias {
            all.push(self.constant(&format!("{name}.bias"), &[outputs], (-0.3, 0.5)));
        }
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let attributes = vec![
            attribute("kernel_shape", &[kernel as i64; 2]),
            attribute("strides", &[stride as i64; 2]),
            attribute("pads", &[padding as i64; 4]),
            attribute("group", &[groups as i64]),
        ];
        self.node(name, "Conv", &all, attributes)
    }

    fn norm(&mut self, name: &str, from: &str, channels: usize) -> String {
        let fields = [("gamma", 0.5, 1.5), ("beta", -0.3, 0.6), ("mean", -0.2, 0.2), ("variance", 0.3, 1.2)];
        let fields = fields
            .map(|(field, low, high)| self.constant(&format!("{name}.{field}"), &[channels], (low, high)));
        let inputs = [from, &fields[0], &fields[1], &fields[2], &fields[3]];
        let epsilon = Attribute {
            name: Some("epsilon".into()),
            float: Some(1e-3),
            kind: Some(1),
            ..Default::default()
        };
        self.node(name, "BatchNormalization", &inputs, vec![epsilon])
    }

    fn relu(&mut self, from: &str, ceiling: Option<f32>) -> String {
        let name = format!("{}.relu", from.trim_end_matches(".norm"));
        let Some(ceiling) = ceiling else { return self.node(&name, "Relu", &[from], vec![]) };
        let low = self.constant(&format!("{name}.low"), &[], (0.0, 0.0));
        let high = self.constant(&format!("{name}.high"), &[], (ceiling, ceiling));
        self.node(&name, "Clip", &[from, &low, &high], vec![])
    }

    fn pool(&mut self, name: &str, operator: &str, from: &str) -> String {
        self.node(
            name,
            operator,
            &[from],
            vec![attribute("kernel_shape", &[2; 2]), attribute("strides", &[2; 2])],
        )
    }

    fn full(&mut self, name: &str, from: &str, features: usize, outputs: usize) -> String {
        let spread = (3.0 / features as f32).sqrt();
        let weight = self.constant(&format!("{name}.weight"), &[outputs, features], (-spread, spread));
        let bias = self.constant(&format!("{name}.bias"), &[outputs], (-0.3, 0.3));
        self.node(name, "Gemm", &[from, &weight, &bias], vec![attribute("transB", &[1])])
    }

    fn head(&mut self, from: &str, features: usize) {
        let pooled = self.node("pool", "GlobalAveragePool", &[from], vec![]);
        let flat = self.node("flat", "Flatten", &[&pooled], vec![attribute("axis", &[1])]);
        self.full("classifier", &flat, features, 5);
    }

    /// Another operator for a node.
    pub fn operator(mut self, name: &str, operator: &str) -> Self {
        let nodes = self.graph.node.iter_mut().filter(|node| node.name.as_deref() == Some(name));
        nodes.for_each(|node| node.op_type = Some(operator.into()));
        self
    }

    /// Whole numbers as a setting of a node, instead of those there are.
    pub fn integers(mut self, node: &str, name: &str, values: &[i64]) -> Self {
        for own in self.graph.node.iter_mut().filter(|own| own.name.as_deref() == Some(node)) {
            own.attribute.retain(|setting| setting.name.as_deref() != Some(name));
            own.attribute.push(attribute(name, values));
        }
        self
    }

    /// Constants of one number or a list of whole numbers as Constant nodes in front, as exporters write them.
    pub fn constant_nodes(mut self, names: &[&str]) -> Self {
        for name in names {
            let place = self.graph.initializer.iter().position(|data| data.name.as_deref() == Some(*name));
            let Some(data) = place.map(|place| self.graph.initializer.remove(place)) else { continue };
            let floats: Vec<f32> = data
                .raw_data
                .unwrap_or_default()
                .as_chunks()
                .0
                .iter()
                .map(|raw| f32::from_le_bytes(*raw))
                .collect();
            let value = match &floats[..] {
                [one] if data.dims.is_empty() => {
                    Attribute { name: Some("value_float".into()), float: Some(*one), ..Default::default() }
                }
                _ => Attribute { name: Some("value_floats".into()), floats, ..Default::default() },
            };
            let (output, op_type) = (vec![name.to_string()], Some("Constant".into()));
            self.graph.node.insert(0, Node { output, op_type, attribute: vec![value], ..Default::default() });
        }
        self
    }

    /// Weights and bias of a node.
    pub fn weights(&self, node: &str) -> (Vec<f32>, Vec<f32>) {
        let named = |field: &str| {
            let name = format!("{node}.{field}");
            let data = self.graph.initializer.iter().find(|data| data.name.as_deref() == Some(&name));
            let raw = data.and_then(|data| data.raw_data.as_deref()).unwrap_or_default();
            raw.as_chunks().0.iter().map(|raw| f32::from_le_bytes(*raw)).collect()
        };
        (named("weight"), named("bias"))
    }

    /// Another operator set.
    pub fn opset(self, opset: i64) -> Self {
        Self { opset, ..self }
    }

    /// Another input.
    pub fn image(self, dims: &[i64]) -> Self {
        Self { dims: dims.to_vec(), ..self }
    }

    /// A constant that lies elsewhere.
    pub fn external(mut self, name: &str) -> Self {
        let entry = Entry { key: Some("location".into()), value: Some("weights.bin".into()) };
        let constants = self.graph.initializer.iter_mut().filter(|data| data.name.as_deref() == Some(name));
        constants.for_each(|data| data.external_data = vec![entry.clone()]);
        self
    }

    /// The weights of a node in brain floats, their numbers cut to what those hold.
    pub fn brain_floats(mut self, name: &str) -> Self {
        let constants = self.graph.initializer.iter_mut().filter(|data| data.name.as_deref() == Some(name));
        for data in constants {
            let raw = data.raw_data.take().unwrap_or_default();
            let upper = raw.as_chunks::<4>().0.iter().flat_map(|bytes| [bytes[2], bytes[3]]);
            (data.raw_data, data.data_type) = (Some(upper.collect()), Some(DataType::BrainFloat16 as i32));
        }
        self
    }

    /// A float setting for a node.
    pub fn setting(mut self, node: &str, name: &str, value: f32) -> Self {
        let setting =
            Attribute { name: Some(name.into()), float: Some(value), kind: Some(1), ..Default::default() };
        let nodes = self.graph.node.iter_mut().filter(|own| own.name.as_deref() == Some(node));
        nodes.for_each(|node| node.attribute.push(setting.clone()));
        self
    }

    /// Padding by `auto_pad` instead of numbers.
    pub fn same_padding(mut self, node: &str) -> Self {
        let same = Attribute {
            name: Some("auto_pad".into()),
            text: Some(b"SAME_UPPER".to_vec()),
            kind: Some(3),
            ..Default::default()
        };
        for own in self.graph.node.iter_mut().filter(|own| own.name.as_deref() == Some(node)) {
            own.attribute.retain(|setting| setting.name.as_deref() != Some("pads"));
            own.attribute.push(same.clone());
        }
        self
    }

    /// The weights of a node under other extents, of which there are as many.
    pub fn extents(mut self, name: &str, dims: &[i64]) -> Self {
        let constants = self.graph.initializer.iter_mut().filter(|data| data.name.as_deref() == Some(name));
        constants.for_each(|data| data.dims = dims.to_vec());
        self
    }

    /// A node of its own that puts zeros around what another node reads: `[top, left, bottom, right]`.
    pub fn framed(mut self, node: &str, [top, left, bottom, right]: [i64; 4]) -> Self {
        let Some(place) = self.graph.node.iter().position(|own| own.name.as_deref() == Some(node)) else {
            return self;
        };
        let (name, pads) = (format!("{node}.frame"), format!("{node}.frame.pads"));
        let source = std::mem::replace(&mut self.graph.node[place].input[0], name.clone());
        self.graph.initializer.push(TensorData {
            dims: vec![8],
            data_type: Some(DataType::Int64 as i32),
            name: Some(pads.clone()),
            int64_data: vec![0, 0, top, left, 0, 0, bottom, right],
            ..Default::default()
        });
        self.node(&name, "Pad", &[&source, &pads], vec![]);
        if let Some(frame) = self.graph.node.pop() {
            self.graph.node.insert(place, frame);
        }
        self
    }

    /// Without a node, which must be the last one.
    pub fn without(mut self, name: &str) -> Self {
        self.graph.node.retain(|node| node.name.as_deref() != Some(name));
        self
    }

    /// The file.
    pub fn bytes(mut self) -> Vec<u8> {
        let value = |name: &str, dims: &[i64]| {
            let extent = |&dim: &i64| if dim < 0 { Extent::Symbol("N".into()) } else { Extent::Fixed(dim) };
            let dim = dims.iter().map(|dim| Dimension { value: Some(extent(dim)) }).collect();
            let tensor = TensorType { element: Some(DataType::Float as i32), shape: Some(Shape { dim }) };
            ValueInfo { name: Some(name.into()), kind: Some(ValueType { tensor: Some(tensor) }) }
        };
        let last = self.graph.node.last().and_then(|node| node.name.clone()).unwrap_or_default();
        self.graph.input = vec![value("image", &self.dims)];
        self.graph.output = vec![value(&last, &[-1, 5])];
        let opset_import = vec![OperatorSet { domain: None, version: Some(self.opset) }];
        Model { ir_version: Some(8), graph: Some(self.graph), opset_import, ..Default::default() }
            .encode_to_vec()
    }
}

/// Stem, an inverted residual with its addition, head; batch norms, ReLU6.
pub fn mobile(seed: u64) -> Nodes {
    let mut nodes = Nodes::new(seed);
    let mut layer = |name: &str, from: &str, shape: [usize; 5], groups: usize, relu: bool| {
        let sums = nodes.convolution(name, from, shape, groups, false);
        let normed = nodes.norm(&format!("{name}.norm"), &sums, shape[1]);
        if relu { nodes.relu(&normed, Some(6.0)) } else { normed }
    };
    let stem = layer("stem", "image", [2, 8, 3, 2, 1], 1, true);
    let source = layer("narrow", &stem, [8, 4, 1, 1, 0], 1, false);
    let wide = layer("expand", &source, [4, 12, 1, 1, 0], 1, true);
    let wide = layer("depthwise", &wide, [1, 12, 3, 1, 1], 12, true);
    let own = layer("project", &wide, [12, 4, 1, 1, 0], 1, false);
    let sum = nodes.node("add", "Add", &[&source, &own], vec![]);
    let sums = nodes.convolution("head", &sum, [4, 16, 1, 1, 0], 1, false);
    let normed = nodes.norm("head.norm", &sums, 16);
    let head = nodes.relu(&normed, Some(6.0));
    nodes.head(&head, 16);
    nodes
}

/// Biases instead of norms; ceilings of 4 and none.
pub fn chain(seed: u64, unlimited: bool) -> Nodes {
    let mut nodes = Nodes::new(seed);
    let ceiling = if unlimited { None } else { Some(4.0) };
    let sums = nodes.convolution("stem", "image", [2, 8, 3, 2, 1], 1, true);
    let stem = nodes.relu(&sums, ceiling);
    let sums = nodes.convolution("spread", &stem, [1, 8, 3, 1, 1], 8, true);
    let spread = nodes.relu(&sums, None);
    let sums = nodes.convolution("last", &spread, [8, 12, 1, 1, 0], 1, true);
    let last = nodes.relu(&sums, ceiling);
    nodes.head(&last, 12);
    nodes
}

/// A first convolution without padding.
pub fn valid(seed: u64) -> Nodes {
    let mut nodes = Nodes::new(seed);
    let sums = nodes.convolution("stem", "image", [2, 8, 3, 1, 0], 1, true);
    let stem = nodes.relu(&sums, None);
    nodes.head(&stem, 8);
    nodes
}

/// Max pools, a sum behind a ReLU that is added again, an average pool, two full layers.
pub fn plain(seed: u64) -> Nodes {
    let mut nodes = Nodes::new(seed);
    let sums = nodes.convolution("first", "image", [2, 6, 3, 1, 1], 1, true);
    let first = nodes.relu(&sums, None);
    let source = nodes.pool("first.pool", "MaxPool", &first);
    let sums = nodes.convolution("second", &source, [6, 6, 3, 1, 1], 1, true);
    let sum = nodes.node("second.add", "Add", &[&sums, &source], vec![]);
    let second = nodes.node("second.relu", "Relu", &[&sum], vec![]);
    let pooled = nodes.pool("second.pool", "AveragePool", &second);
    let flat = nodes.node("flat", "Flatten", &[&pooled], vec![attribute("axis", &[1])]);
    let sums = nodes.full("full", &flat, 54, 10);
    let full = nodes.relu(&sums, None);
    nodes.full("last", &full, 10, 5);
    nodes
}

/// An activation behind a max pool; pools of both kinds, the second average with an activation behind it, too.
pub fn pools(seed: u64, behind: bool) -> Nodes {
    let mut nodes = Nodes::new(seed);
    let first = nodes.convolution("first", "image", [2, 6, 3, 1, 1], 1, true);
    let pooled = if behind {
        let pooled = nodes.pool("first.pool", "MaxPool", &first);
        nodes.relu(&pooled, Some(0.7))
    } else {
        let first = nodes.relu(&first, Some(0.7));
        nodes.pool("first.pool", "MaxPool", &first)
    };
    let second = nodes.convolution("second", &pooled, [6, 8, 3, 1, 1], 1, true);
    let mean = nodes.pool("second.pool", "AveragePool", &second);
    let mean = nodes.relu(&mean, None);
    let again = nodes.node("again", "Relu", &[&mean], vec![]);
    nodes.head(&again, 8);
    nodes
}

/// Convolutions in two groups of four channels, and in groups of one with two filters each.
pub fn groups(seed: u64) -> Nodes {
    let mut nodes = Nodes::new(seed);
    let stem = nodes.convolution("stem", "image", [2, 8, 3, 2, 1], 1, true);
    let stem = nodes.relu(&stem, None);
    let halves = nodes.convolution("halves", &stem, [4, 12, 3, 1, 1], 2, true);
    let halves = nodes.relu(&halves, None);
    let pairs = nodes.convolution("pairs", &halves, [1, 24, 3, 1, 1], 12, true);
    let pairs = nodes.relu(&pairs, None);
    nodes.head(&pairs, 24);
    nodes
}

/// MobileNetV2 a quarter as wide, by torchvision's names (`numbered`) or by timm's.
pub fn mobilenet_weights(numbered: bool, classes: usize) -> TrainedModel {
    let mut arrays = BTreeMap::new();
    let mut put = |name: String, shape: Vec<usize>| {
        let count = shape.iter().product::<usize>();
        let values = (0..count).map(|index| ((index * 37 + shape[0]) % 101) as f32 / 101.0 + 0.01).collect();
        arrays.insert(name, NamedArray { shape, values });
    };
    let mut layer = |convolution: &str, norm: &str, shape: [usize; 4]| {
        put(format!("{convolution}.weight"), shape.to_vec());
        for field in ["weight", "bias", "running_mean", "running_var"] {
            put(format!("{norm}.{field}"), vec![shape[0]]);
        }
    };
    let (stem, head) = match numbered {
        true => (("features.0.0", "features.0.1"), ("features.18.0", "features.18.1")),
        false => (("conv_stem", "bn1"), ("conv_head", "bn2")),
    };
    layer(stem.0, stem.1, [8, 3, 3, 3]);
    let stages = [(4, 1), (6, 2), (8, 3), (16, 4), (24, 3), (40, 3), (80, 1)];
    let (mut channels, mut number) = (8, 0);
    for (stage, (outputs, blocks)) in stages.into_iter().enumerate() {
        for position in 0..blocks {
            let wide = if number == 0 { channels } else { 6 * channels };
            let folder = if numbered {
                format!("features.{}", number + 1)
            } else {
                format!("blocks.{stage}.{position}")
            };
            let names: &[(&str, &str)] = match (numbered, number == 0) {
                (true, true) => &[("conv.0.0", "conv.0.1"), ("conv.1", "conv.2")],
                (true, false) => &[("conv.0.0", "conv.0.1"), ("conv.1.0", "conv.1.1"), ("conv.2", "conv.3")],
                (false, true) => &[("conv_dw", "bn1"), ("conv_pw", "bn2")],
                (false, false) => &[("conv_pw", "bn1"), ("conv_dw", "bn2"), ("conv_pwl", "bn3")],
            };
            let shapes = [[wide, channels, 1, 1], [wide, 1, 3, 3], [outputs, wide, 1, 1]];
            for ((convolution, norm), shape) in names.iter().zip(&shapes[3 - names.len()..]) {
                layer(&format!("{folder}.{convolution}"), &format!("{folder}.{norm}"), *shape);
            }
            (channels, number) = (outputs, number + 1);
        }
    }
    layer(head.0, head.1, [320, channels, 1, 1]);
    let classifier = if numbered { "classifier.1" } else { "classifier" };
    put(format!("{classifier}.weight"), vec![classes, 320]);
    put(format!("{classifier}.bias"), vec![classes]);
    TrainedModel::from_arrays(arrays, BTreeMap::new())
}
