//! An imported network as the engine trains it: the same steps, with the quantizers that its integer form has.

use std::collections::BTreeMap;

use anyhow::Result;
use sartor_engine::graph::{Affine, Filters, Graph, Rectifier, Step, Window, Work};
use sartor_engine::network::MINIMUM_RANGE;
use sartor_engine::{ActivationQuantizer, NormStatistics, WeightQuantizer};
use sartor_export::QuantizedNetwork;
use sartor_export::fold::Norm;
use sartor_export::import::{
    self, Activation, ImportedConvolution, ImportedNetwork, PointKind, RangePoint, StepPoints,
};
use sartor_space::Workload;
use sartor_supernet::graph_tuning::GraphModel;

use super::calibrated::{Calibrated, Widths};

/// A network on its way through training.
pub struct Trainee<'a> {
    network: &'a ImportedNetwork,
    workload: Workload,
    thresholds: Vec<Vec<f32>>,
    /// Where the ranges lie.
    ranges: BTreeMap<RangePoint, usize>,
    /// Fake-quantized.
    pub graph: Graph,
    /// Weights, norms, biases, ranges.
    pub parameters: Vec<f32>,
    /// Which of them are weights.
    pub decays: Vec<bool>,
}

/// Where the numbers of a network come to lie.
struct Layout {
    parameters: Vec<f32>,
    decays: Vec<bool>,
}

impl Layout {
    fn put(&mut self, values: impl IntoIterator<Item = f32>, decays: bool) -> usize {
        let offset = self.parameters.len();
        self.parameters.extend(values);
        self.decays.resize(self.parameters.len(), decays);
        offset
    }
}

impl<'a> Trainee<'a> {
    /// Starts from calibrated thresholds and ranges.
    ///
    /// # Errors
    /// Widths that no integer kernel computes.
    pub fn new(calibrated: &Calibrated<'a>, widths: &[Widths]) -> Result<Self> {
        let (network, workload) = (calibrated.network, calibrated.at(widths));
        let thresholds = calibrated.all_thresholds(widths)?;
        let points = network.points(&workload)?;
        let mut layout = Layout { parameters: vec![], decays: vec![] };
        let mut layers = workload.layers.iter().zip(&thresholds);
        let mut steps = Vec::with_capacity(points.len());
        for step in network.steps() {
            let searched = step.work.convolution().is_some_and(|layer| !layer.fixed);
            let quantizer = layers.by_ref().take(usize::from(searched)).next().map(|(layer, thresholds)| {
                WeightQuantizer { bits: layer.weight_bits, thresholds: thresholds[..].into() }
            });
            steps.push(self::step(step, network, quantizer, &mut layout));
        }
        let mut ranges = BTreeMap::new();
        for (step, StepPoints { loaded, stored }) in steps.iter_mut().zip(&points) {
            let mut place = |point: RangePoint| {
                let start = || layout.put([calibrated.range(point)], false);
                quantizer(point, *ranges.entry(point).or_insert_with(start))
            };
            step.input_quantizer = loaded.map(&mut place);
            step.output_quantizer = stored.map(&mut place);
        }
        let image = network.image();
        let graph = Graph { image_size: image.size, image_channels: image.channels, steps };
        let Layout { parameters, decays } = layout;
        Ok(Self { network, workload, thresholds, ranges, graph, parameters, decays })
    }

    /// The float network on the numbers that training starts from.
    pub fn float(&self) -> GraphModel {
        let mut graph = self.graph.clone();
        for step in &mut graph.steps {
            (step.input_quantizer, step.output_quantizer) = (None, None);
            if let Work::Convolution(filters) = &mut step.work {
                filters.weight_quantizer = None;
            }
        }
        let statistics = self.network.steps().iter().map(statistics).collect();
        GraphModel { graph, parameters: self.parameters.clone(), statistics }
    }

    /// The integer network of a trained graph, and the graph with the biases that it has.
    ///
    /// # Errors
    /// Numbers without an integer form.
    pub fn settle(&self, model: &GraphModel) -> Result<Settled> {
        let steps = model.graph.steps.iter().zip(self.network.steps()).zip(&model.statistics);
        let numbers =
            steps.map(|((step, imported), statistics)| match (&step.work, imported.work.convolution()) {
                (Work::Convolution(filters), Some(layer)) => {
                    Some(trained(filters, layer, statistics, &model.parameters))
                }
                _ => None,
            });
        let trained = self.network.retrained(numbers.collect())?;
        let range = |point: RangePoint| {
            let place = self.ranges.get(&point);
            place.map_or(MINIMUM_RANGE, |&place| model.parameters[place].max(MINIMUM_RANGE))
        };
        let network = trained.quantize(&self.workload, &self.thresholds, &mut |point| range(point))?;
        let settled = trained.with_integer_biases(&network);
        let ranges: Vec<(RangePoint, f32)> = self.ranges.keys().map(|&point| (point, range(point))).collect();
        let weights = settled.arrays(&self.thresholds, &ranges).to_bytes()?;
        let mut model = model.clone();
        for (step, imported) in model.graph.steps.iter().zip(settled.steps()) {
            if let (Work::Convolution(filters), Some(layer)) = (&step.work, imported.work.convolution()) {
                shift(filters, layer, &mut model.parameters);
            }
        }
        Ok(Settled { network, model, weights })
    }
}

/// A trained network in both forms.
pub struct Settled {
    /// Integers.
    pub network: QuantizedNetwork,
    /// Fake-quantized.
    pub model: GraphModel,
    /// As safetensors.
    pub weights: Vec<u8>,
}

fn step(
    step: &import::Step,
    network: &ImportedNetwork,
    weight_quantizer: Option<WeightQuantizer>,
    layout: &mut Layout,
) -> Step {
    let work = match &step.work {
        import::Work::Convolution(layer) if layer.fixed => Work::AveragePool(window(layer)),
        import::Work::Convolution(layer) => Work::Convolution(filters(layer, weight_quantizer, layout)),
        import::Work::Add { other, .. } => Work::Add { other: *other },
        &import::Work::MaxPool { kernel, stride, padding, padding_after } => {
            Work::MaxPool(Window { kernel, stride, padding, padding_after })
        }
        import::Work::GlobalPool => {
            let kernel = network.shape(step.input).size;
            Work::AveragePool(Window::even(kernel, 1, 0))
        }
    };
    let rectifier = match step.work.activation() {
        Activation::Linear => Rectifier::None,
        Activation::Relu => Rectifier::Relu,
        Activation::Clipped(ceiling) => Rectifier::Clipped(ceiling),
    };
    let (name, input) = (step.name.clone(), step.input);
    Step { name, input, input_quantizer: None, work, rectifier, output_quantizer: None }
}

fn window(layer: &ImportedConvolution) -> Window {
    Window::even(layer.kernel, layer.stride, layer.padding)
}

fn filters(
    layer: &ImportedConvolution,
    weight_quantizer: Option<WeightQuantizer>,
    layout: &mut Layout,
) -> Filters {
    let weight_offset = layout.put(layer.weight.iter().copied(), true);
    let affine = match layer.normalized {
        true => Affine::Norm {
            gamma_offset: layout.put(layer.norms.iter().map(|norm| norm.gamma), false),
            beta_offset: layout.put(layer.norms.iter().map(|norm| norm.beta), false),
        },
        false => Affine::Bias {
            offset: layout.put(layer.norms.iter().map(|norm| norm.factor_and_shift().1 as f32), false),
        },
    };
    let (depthwise, channels) = (layer.depthwise, layer.channels());
    Filters { depthwise, window: window(layer), channels, weight_offset, weight_quantizer, affine }
}

fn quantizer(point: RangePoint, range_offset: usize) -> ActivationQuantizer {
    let (bits, signed) = match point.kind {
        PointKind::Unsigned => (point.bits, false),
        PointKind::Signed => (point.bits, true),
        // One bit of the container is its sign's.
        PointKind::Positive => (point.bits - 1, false),
    };
    ActivationQuantizer { bits, signed, range_offset, rivals: None }
}

fn statistics(step: &import::Step) -> NormStatistics {
    let norms = step.work.convolution().filter(|layer| layer.normalized).map(|layer| &layer.norms[..]);
    NormStatistics {
        mean: norms.unwrap_or_default().iter().map(|norm| norm.mean).collect(),
        variance: norms.unwrap_or_default().iter().map(|norm| norm.variance).collect(),
    }
}

/// Weights and norms of a trained layer.
fn trained(
    filters: &Filters,
    layer: &ImportedConvolution,
    statistics: &NormStatistics,
    parameters: &[f32],
) -> (Vec<f32>, Vec<Norm>) {
    let norm = |channel: usize| match filters.affine {
        Affine::Norm { gamma_offset, beta_offset } => Norm {
            gamma: parameters[gamma_offset + channel],
            beta: parameters[beta_offset + channel],
            mean: statistics.mean[channel],
            variance: statistics.variance[channel],
        },
        Affine::Bias { offset } => Norm::only_shift(parameters[offset + channel]),
    };
    let weight = parameters[filters.weight_offset..][..layer.weight.len()].to_vec();
    (weight, (0..filters.channels).map(norm).collect())
}

/// Takes a settled layer's shifts over.
fn shift(filters: &Filters, layer: &ImportedConvolution, parameters: &mut [f32]) {
    for (channel, norm) in layer.norms.iter().enumerate() {
        match filters.affine {
            Affine::Norm { beta_offset, .. } => parameters[beta_offset + channel] = norm.beta,
            Affine::Bias { offset } => parameters[offset + channel] = norm.factor_and_shift().1 as f32,
        }
    }
}
