//! # Instantiate: a workload on a parameter layout gives an engine network
//!
//! Nothing is copied: a narrower layer is the first columns (rows, for the projection) of the stored matrix, and a
//! smaller kernel a chain of transform steps. A quantized network also needs a threshold per output channel for
//! every weight matrix, and one trainable range per quantization point; the ranges lie behind the layout's numbers
//! in an *extended* buffer, in the order of [`range_slots`].
//!
//! Quantization points (EMS, section 4, and what an integer machine needs besides): the input of every convolution
//! but the first (its input is the pixel itself), the output of every linear projection and the sum of every
//! residual at 8 bits, the last convolution's output and the pooled features at 8 bits.

use std::sync::Arc;

use sartor_engine::network::{
    Activation, ActivationQuantizer, Convolution, Head, KernelTransform, Layer as EngineLayer, Network,
    Source, Tap, WeightQuantizer, WeightView,
};
use sartor_space::{Layer, LayerKind, Role, Workload};

use crate::error::{Result, SupernetError};
use crate::parameters::{LayerSlot, Layout, rows};

/// Bits of the stream between blocks, of residual sums, of the last convolution's output and of pooled features.
pub const FIXED_BITS: u8 = 8;

/// Thresholds of every layer's weight quantizer, in workload order (the classifier last).
pub type Thresholds = Vec<Arc<[f32]>>;

/// One trainable activation range of a quantized network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RangeSlot {
    /// Name in the trained model file, e.g. `stem.depthwise.input_range`.
    pub name: String,
    /// Where it sits; indices are those of the engine's layers.
    pub tap: Tap,
    /// Width.
    pub bits: u8,
    /// Whether negative values are kept.
    pub signed: bool,
}

/// The activation ranges of a quantized workload, in buffer order; none at full precision.
pub fn range_slots(workload: &Workload) -> Vec<RangeSlot> {
    let (convolutions, quantized) = (convolutions(workload), is_quantized(workload));
    if !quantized {
        return vec![];
    }
    let mut slots: Vec<RangeSlot> =
        convolutions.iter().enumerate().flat_map(|(index, layer)| layer_slots(index, layer)).collect();
    slots.push(slot("head_input.range", Tap::HeadInput, FIXED_BITS, false));
    slots.push(slot("pooled.range", Tap::Pooled, FIXED_BITS, false));
    slots
}

fn layer_slots(index: usize, layer: &Layer) -> Vec<RangeSlot> {
    let mut slots = vec![];
    let name = |point: &str| format!("{}.{point}_range", layer.name);
    if index > 0 {
        slots.push(slot(name("input"), Tap::Input(index), layer.activation_bits, layer.signed_input));
    }
    if !layer.relu {
        slots.push(slot(name("output"), Tap::Output(index), FIXED_BITS, true));
    }
    if layer.residual {
        slots.push(slot(name("sum"), Tap::Sum(index), FIXED_BITS, true));
    }
    slots
}

fn slot(name: impl Into<String>, tap: Tap, bits: u8, signed: bool) -> RangeSlot {
    RangeSlot { name: name.into(), tap, bits, signed }
}

/// Whether a workload carries a quantization policy.
pub fn is_quantized(workload: &Workload) -> bool {
    workload.layers.iter().any(|layer| layer.weight_bits < 32)
}

/// The layers before the classifier.
pub fn convolutions(workload: &Workload) -> &[Layer] {
    workload.layers.split_last().map_or(&[], |(_, convolutions)| convolutions)
}

/// The engine network of a workload on a layout's buffer, without quantizers.
pub fn network(layout: &Layout, workload: &Workload) -> Result<Network> {
    let layers = convolutions(workload);
    let (classifier, first) = match (workload.layers.last(), layers.first()) {
        (Some(last), Some(first)) if last.kind() == LayerKind::Linear => (last, first),
        _ => return Err(malformed("network", "a network needs convolutions and a classifier at its end")),
    };
    Ok(Network {
        image_size: first.input_size,
        image_channels: first.in_channels,
        layers: (0..layers.len()).map(|index| engine_layer(layout, layers, index)).collect::<Result<_>>()?,
        head: head(layout, classifier, layers.len() - 1)?,
    })
}

/// The fake-quantized network of a workload; ranges lie at `layout.len()` and after.
pub fn quantized_network(layout: &Layout, workload: &Workload, thresholds: &Thresholds) -> Result<Network> {
    let mut network = network(layout, workload)?;
    for (layer, (planned, thresholds)) in
        network.layers.iter_mut().zip(workload.layers.iter().zip(thresholds))
    {
        layer.weight_quantizer = Some(weight_quantizer(planned, thresholds));
    }
    let classifier = workload.layers.last().zip(thresholds.last());
    network.head.weight_quantizer = classifier.map(|(layer, thresholds)| weight_quantizer(layer, thresholds));
    for (index, slot) in range_slots(workload).into_iter().enumerate() {
        let (bits, signed, range_offset) = (slot.bits, slot.signed, layout.len() + index);
        place(&mut network, slot.tap, ActivationQuantizer { bits, signed, range_offset, rivals: None });
    }
    Ok(network)
}

fn weight_quantizer(layer: &Layer, thresholds: &Arc<[f32]>) -> WeightQuantizer {
    WeightQuantizer { bits: layer.weight_bits, thresholds: thresholds.clone() }
}

/// Puts a quantizer where a tap is.
pub(crate) fn place(network: &mut Network, tap: Tap, quantizer: ActivationQuantizer) {
    let quantizer = Some(quantizer);
    match tap {
        Tap::Input(index) => network.layers[index].input_quantizer = quantizer,
        Tap::Output(index) => network.layers[index].output_quantizer = quantizer,
        Tap::Sum(index) => network.layers[index].sum_quantizer = quantizer,
        Tap::HeadInput => network.head.input_quantizer = quantizer,
        Tap::Pooled => network.head.pooled_quantizer = quantizer,
    }
}

fn engine_layer(layout: &Layout, layers: &[Layer], index: usize) -> Result<EngineLayer> {
    let layer = &layers[index];
    let slot = layout.slot(&layer.name)?;
    fits(layer, "output channels", layer.out_channels, slot.columns)?;
    fits(layer, "weight rows", rows(layer), slot.rows)?;
    Ok(EngineLayer {
        name: layer.name.clone(),
        convolution: convolution(layer),
        in_channels: layer.in_channels,
        out_channels: layer.out_channels,
        input_size: layer.input_size,
        weight: slot.weight,
        kernel_transform: transform(layer, slot)?,
        weight_quantizer: None,
        gamma_offset: slot.gamma,
        beta_offset: slot.beta,
        activation: if layer.relu { Activation::Relu6 } else { Activation::Linear },
        input: if index == 0 { Source::Image } else { Source::Layer(index - 1) },
        input_quantizer: None,
        output_quantizer: None,
        residual: residual(layers, index)?,
        sum_quantizer: None,
    })
}

fn convolution(layer: &Layer) -> Convolution {
    let (kernel, stride) = (layer.kernel, layer.stride);
    match layer.kind() {
        LayerKind::Depthwise => Convolution::Depthwise { kernel, stride },
        LayerKind::Pointwise if stride == 1 => Convolution::Pointwise,
        _ => Convolution::Dense { kernel, stride },
    }
}

fn transform(layer: &Layer, slot: &LayerSlot) -> Result<Option<KernelTransform>> {
    if layer.kernel == slot.kernel {
        return Ok(None);
    }
    let reached = slot.steps.iter().position(|step| step.kernel == layer.kernel);
    let count = reached.ok_or_else(|| wrong_shape(layer, "kernel", layer.kernel, slot.kernel))? + 1;
    Ok(Some(KernelTransform { stored: slot.kernel, steps: slot.steps[..count].to_vec() }))
}

/// The layer whose output a projection adds: the one before its block's expansion.
fn residual(layers: &[Layer], index: usize) -> Result<Option<usize>> {
    let Role::Project { block } = layers[index].role else { return Ok(None) };
    if !layers[index].residual {
        return Ok(None);
    }
    let expand = layers.iter().position(|layer| layer.role == (Role::Expand { block }));
    let source = expand.and_then(|position| position.checked_sub(1));
    source
        .map(Some)
        .ok_or_else(|| malformed(&layers[index].name, "a residual needs a layer before its block"))
}

fn head(layout: &Layout, classifier: &Layer, input: usize) -> Result<Head> {
    let slot = layout.slot(&classifier.name)?;
    fits(classifier, "features", classifier.in_channels, slot.rows)?;
    fits(classifier, "classes", classifier.out_channels, slot.columns)?;
    Ok(Head {
        input,
        features: classifier.in_channels,
        classes: classifier.out_channels,
        weight: WeightView { ..slot.weight },
        bias_offset: slot.beta,
        input_quantizer: None,
        pooled_quantizer: None,
        weight_quantizer: None,
    })
}

fn fits(layer: &Layer, what: &'static str, got: usize, stored: usize) -> Result<()> {
    if got <= stored { Ok(()) } else { Err(wrong_shape(layer, what, got, stored)) }
}

fn wrong_shape(layer: &Layer, what: &'static str, got: usize, stored: usize) -> SupernetError {
    SupernetError::LayerShape { layer: layer.name.clone(), what, got, stored }
}

fn malformed(layer: &str, what: &'static str) -> SupernetError {
    SupernetError::Workload { layer: layer.to_string(), what }
}
