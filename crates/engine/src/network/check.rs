//! Checks a [`Network`] once, so that the kernels behind it never see a bad index.

use super::{
    Activation, ActivationQuantizer, Convolution, Head, KernelTransform, Layer, MAXIMUM_RIVALS, Network,
    Rivals, Source, WeightQuantizer, WeightView,
};
use crate::error::EngineError;

type Checked = Result<(), EngineError>;

/// Sizes beyond this are refused, so that no product of them overflows.
const LARGEST_SIZE: usize = 1 << 16;

impl Network {
    /// Checks every index, shape and offset against a parameter buffer of `parameters` numbers.
    pub fn check(&self, parameters: usize) -> Checked {
        let first = self.layers.first().ok_or_else(|| unsupported("network", "a network without layers"))?;
        equal(&first.name, "input size", self.image_size, first.input_size)?;
        equal(&first.name, "input channels", self.image_channels, first.in_channels)?;
        for (index, layer) in self.layers.iter().enumerate() {
            let context = Context { name: &layer.name, parameters };
            context.layer(layer)?;
            context.links(&self.layers, index)?;
        }
        self.head.check(&self.layers, parameters)
    }
}

impl Head {
    fn check(&self, layers: &[Layer], parameters: usize) -> Checked {
        let context = Context { name: "head", parameters };
        equal("head", "input layer", layers.len() - 1, self.input)?;
        equal("head", "features", layers[self.input].out_channels, self.features)?;
        context.size("classes", self.classes)?;
        context.matrix(self.weight, self.features, self.classes)?;
        context.range("bias", self.bias_offset, self.classes)?;
        context.activation_quantizer(self.input_quantizer)?;
        context.activation_quantizer(self.pooled_quantizer)?;
        context.weight_quantizer(self.weight_quantizer.as_ref(), self.classes)
    }
}

/// What is being checked, for messages.
struct Context<'a> {
    name: &'a str,
    parameters: usize,
}

impl Context<'_> {
    fn layer(&self, layer: &Layer) -> Checked {
        self.size("input size", layer.input_size)?;
        self.size("input channels", layer.in_channels)?;
        self.size("output channels", layer.out_channels)?;
        self.convolution(layer)?;
        self.transform(layer)?;
        self.matrix(layer.weight, layer.weight_rows(), layer.out_channels)?;
        self.range("gamma", layer.gamma_offset, layer.out_channels)?;
        self.range("beta", layer.beta_offset, layer.out_channels)?;
        self.weight_quantizer(layer.weight_quantizer.as_ref(), layer.out_channels)?;
        for quantizer in [layer.input_quantizer, layer.output_quantizer, layer.sum_quantizer] {
            self.activation_quantizer(quantizer)?;
        }
        self.linear_only(layer)
    }

    fn convolution(&self, layer: &Layer) -> Checked {
        let (kernel, stride) = (layer.convolution.kernel(), layer.convolution.stride());
        if kernel.is_multiple_of(2) || kernel > 15 {
            return Err(unsupported(self.name, "an even kernel, or one above 15"));
        }
        if stride != 1 && stride != 2 {
            return Err(unsupported(self.name, "a stride other than 1 and 2"));
        }
        if matches!(layer.convolution, Convolution::Depthwise { .. }) {
            return equal(self.name, "output channels", layer.in_channels, layer.out_channels);
        }
        Ok(())
    }

    fn transform(&self, layer: &Layer) -> Checked {
        let Some(transform) = &layer.kernel_transform else { return Ok(()) };
        if !matches!(layer.convolution, Convolution::Depthwise { .. }) {
            return Err(unsupported(self.name, "a kernel transform on a convolution that is not depthwise"));
        }
        let last = self.transform_steps(transform)?;
        equal(self.name, "kernel after the transform", layer.convolution.kernel(), last)
    }

    fn transform_steps(&self, transform: &KernelTransform) -> Result<usize, EngineError> {
        let mut size = transform.stored;
        if size.is_multiple_of(2) || size > 15 {
            return Err(unsupported(self.name, "an even stored kernel, or one above 15"));
        }
        for step in &transform.steps {
            if step.kernel >= size || step.kernel.is_multiple_of(2) {
                return Err(unsupported(self.name, "a kernel step to an even or not smaller size"));
            }
            self.range("kernel matrix", step.matrix_offset, step.kernel.pow(4))?;
            size = step.kernel;
        }
        Ok(size)
    }

    fn linear_only(&self, layer: &Layer) -> Checked {
        let extras =
            layer.output_quantizer.is_some() || layer.residual.is_some() || layer.sum_quantizer.is_some();
        match layer.activation {
            Activation::Relu6 if extras => {
                Err(unsupported(self.name, "an output quantizer, sum quantizer or residual on a ReLU6 layer"))
            }
            _ => Ok(()),
        }
    }

    fn links(&self, layers: &[Layer], index: usize) -> Checked {
        let layer = &layers[index];
        match (index, layer.input) {
            (0, Source::Image) => {}
            (_, Source::Layer(source)) if source + 1 == index => {
                equal(self.name, "input size", layers[source].output_size(), layer.input_size)?;
                equal(self.name, "input channels", layers[source].out_channels, layer.in_channels)?;
            }
            _ => return Err(unsupported(self.name, "a source other than the layer before it")),
        }
        layer.residual.map_or(Ok(()), |source| self.residual(layers, index, source))
    }

    fn residual(&self, layers: &[Layer], index: usize, source: usize) -> Checked {
        let layer = &layers[index];
        if layers[..index].iter().any(|other| other.residual == Some(source)) {
            return Err(unsupported(self.name, "a residual from a layer that is another one's residual too"));
        }
        if source >= index || layers[source].activation != Activation::Linear {
            return Err(unsupported(self.name, "a residual from anything but an earlier linear layer"));
        }
        equal(self.name, "residual size", layer.output_size(), layers[source].output_size())?;
        equal(self.name, "residual channels", layer.out_channels, layers[source].out_channels)
    }

    fn size(&self, what: &'static str, size: usize) -> Checked {
        if size == 0 || size > LARGEST_SIZE {
            let layer = self.name.to_string();
            return Err(EngineError::Shape {
                layer,
                what,
                expected: LARGEST_SIZE.min(size.max(1)),
                got: size,
            });
        }
        Ok(())
    }

    fn range(&self, what: &'static str, offset: usize, length: usize) -> Checked {
        let end = offset.saturating_add(length);
        if end > self.parameters {
            let layer = self.name.to_string();
            return Err(EngineError::ParameterRange { layer, what, end, length: self.parameters });
        }
        Ok(())
    }

    fn matrix(&self, view: WeightView, rows: usize, columns: usize) -> Checked {
        if view.row_stride < columns || view.row_stride > self.parameters {
            let layer = self.name.to_string();
            return Err(EngineError::Shape {
                layer,
                what: "row stride",
                expected: columns,
                got: view.row_stride,
            });
        }
        self.range("weight", view.offset, (rows - 1).saturating_mul(view.row_stride).saturating_add(columns))
    }

    fn weight_quantizer(&self, quantizer: Option<&WeightQuantizer>, columns: usize) -> Checked {
        let Some(quantizer) = quantizer else { return Ok(()) };
        if !(2..=16).contains(&quantizer.bits) {
            return Err(unsupported(self.name, "a weight width outside 2 to 16 bits"));
        }
        if quantizer.thresholds.len() < columns {
            let (layer, got) = (self.name.to_string(), quantizer.thresholds.len());
            return Err(EngineError::Shape { layer, what: "number of thresholds", expected: columns, got });
        }
        if quantizer.thresholds[..columns].iter().all(|&t| t > 0.0 && t.is_finite()) {
            return Ok(());
        }
        Err(unsupported(self.name, "a weight threshold that is not above zero"))
    }

    fn activation_quantizer(&self, quantizer: Option<ActivationQuantizer>) -> Checked {
        let Some(quantizer) = quantizer else { return Ok(()) };
        let fewest = 1 + u8::from(quantizer.signed);
        if !(fewest..=16).contains(&quantizer.bits) {
            return Err(unsupported(self.name, "an activation width outside 2 to 16 bits (1 when unsigned)"));
        }
        self.range("activation range", quantizer.range_offset, 1)?;
        quantizer.rivals.map_or(Ok(()), |rivals| self.rivals(&rivals, fewest))
    }

    fn rivals(&self, rivals: &Rivals, fewest: u8) -> Checked {
        if rivals.count > MAXIMUM_RIVALS {
            return Err(unsupported(self.name, "more than 4 widths for one activation"));
        }
        if !rivals.bits[..rivals.count].iter().all(|bits| (fewest..=16).contains(bits)) {
            return Err(unsupported(self.name, "a rival activation width outside 2 to 16 bits"));
        }
        self.range("rivals' ranges", rivals.range_offset, rivals.count)?;
        self.range("rivals' gradients", rivals.gradient_offset, rivals.count)
    }
}

/// A setting that this layer cannot have.
pub(crate) fn unsupported(layer: &str, what: &'static str) -> EngineError {
    EngineError::Unsupported { layer: layer.to_string(), what }
}

/// A size of a layer that must be another one's.
pub(crate) fn equal(layer: &str, what: &'static str, expected: usize, got: usize) -> Checked {
    if expected == got {
        return Ok(());
    }
    Err(EngineError::Shape { layer: layer.to_string(), what, expected, got })
}
