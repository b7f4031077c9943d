//! Checks a [`Graph`] once, so that the loops behind it never see a bad index.

use super::{Affine, Filters, Graph, Rectifier, Shape, Step, Window, Work};
use crate::error::EngineError;
use crate::network::check::{equal, unsupported};
use crate::network::{ActivationQuantizer, WeightQuantizer};

type Checked<T = ()> = Result<T, EngineError>;

/// Sizes beyond this are refused, so that no product of them overflows.
const LARGEST_SIZE: usize = 1 << 16;

/// Shapes of all values.
pub(super) fn shapes(graph: &Graph, parameters: usize) -> Checked<Vec<Shape>> {
    let context = Context { name: "image", parameters };
    let mut shapes = vec![context.shape(graph.image_size, graph.image_channels)?];
    for step in &graph.steps {
        let context = Context { name: &step.name, parameters };
        shapes.push(context.step(step, &shapes)?);
    }
    match graph.steps.last() {
        Some(last) => equal(&last.name, "size of the logits", 1, shapes[graph.steps.len()].size)?,
        None => return Err(unsupported("graph", "a graph without steps")),
    }
    Ok(shapes)
}

/// What is being checked, for messages.
struct Context<'a> {
    name: &'a str,
    parameters: usize,
}

impl Context<'_> {
    fn step(&self, step: &Step, shapes: &[Shape]) -> Checked<Shape> {
        let from = self.value(step.input, shapes)?;
        self.activation_quantizer(step.input_quantizer)?;
        self.activation_quantizer(step.output_quantizer)?;
        if step.input_quantizer.is_some() && !matches!(step.work, Work::Convolution(_)) {
            return Err(unsupported(self.name, "an input quantizer on anything but a convolution"));
        }
        if matches!(step.rectifier, Rectifier::Clipped(ceiling) if ceiling.is_nan() || ceiling <= 0.0) {
            return Err(unsupported(self.name, "a ceiling that is not above zero"));
        }
        match &step.work {
            Work::Convolution(filters) => self.convolution(filters, from),
            Work::Add { other } => self.add(from, self.value(*other, shapes)?),
            Work::MaxPool(window) | Work::AveragePool(window) => {
                self.shape(self.window(*window, from)?, from.channels)
            }
        }
    }

    fn value(&self, value: usize, shapes: &[Shape]) -> Checked<Shape> {
        shapes
            .get(value)
            .copied()
            .ok_or_else(|| unsupported(self.name, "a value that no earlier step writes"))
    }

    fn add(&self, from: Shape, other: Shape) -> Checked<Shape> {
        equal(self.name, "size of the other summand", from.size, other.size)?;
        equal(self.name, "channels of the other summand", from.channels, other.channels)?;
        Ok(from)
    }

    fn convolution(&self, filters: &Filters, from: Shape) -> Checked<Shape> {
        if filters.window.padding != filters.window.padding_after {
            return Err(unsupported(self.name, "a convolution with uneven padding"));
        }
        let shape = self.shape(self.window(filters.window, from)?, filters.channels)?;
        if filters.depthwise {
            equal(self.name, "output channels", from.channels, filters.channels)?;
        }
        let inputs = if filters.depthwise { 1 } else { from.channels };
        let weights = (filters.window.kernel.pow(2) * inputs).saturating_mul(filters.channels);
        self.range("weight", filters.weight_offset, weights)?;
        match filters.affine {
            Affine::Norm { gamma_offset, beta_offset } => {
                self.range("gamma", gamma_offset, filters.channels)?;
                self.range("beta", beta_offset, filters.channels)?;
            }
            Affine::Bias { offset } => self.range("bias", offset, filters.channels)?,
        }
        self.weight_quantizer(filters.weight_quantizer.as_ref(), filters.channels)?;
        Ok(shape)
    }

    /// Size of the output.
    fn window(&self, window: Window, from: Shape) -> Checked<usize> {
        let size = window.output_size(from.size).filter(|_| window.kernel <= LARGEST_SIZE);
        size.ok_or_else(|| unsupported(self.name, "a window that does not lie on its image"))
    }

    fn shape(&self, size: usize, channels: usize) -> Checked<Shape> {
        for (what, got) in [("size", size), ("channels", channels)] {
            if got == 0 || got > LARGEST_SIZE {
                let expected = LARGEST_SIZE.min(got.max(1));
                return Err(EngineError::Shape { layer: self.name.to_string(), what, expected, got });
            }
        }
        Ok(Shape { size, channels })
    }

    fn range(&self, what: &'static str, offset: usize, length: usize) -> Checked {
        let end = offset.saturating_add(length);
        if end > self.parameters {
            let layer = self.name.to_string();
            return Err(EngineError::ParameterRange { layer, what, end, length: self.parameters });
        }
        Ok(())
    }

    fn weight_quantizer(&self, quantizer: Option<&WeightQuantizer>, channels: usize) -> Checked {
        let Some(quantizer) = quantizer else { return Ok(()) };
        if !(2..=16).contains(&quantizer.bits) {
            return Err(unsupported(self.name, "a weight width outside 2 to 16 bits"));
        }
        equal(self.name, "number of thresholds", channels, quantizer.thresholds.len())?;
        if quantizer.thresholds.iter().all(|&t| t > 0.0 && t.is_finite()) {
            return Ok(());
        }
        Err(unsupported(self.name, "a weight threshold that is not above zero"))
    }

    fn activation_quantizer(&self, quantizer: Option<ActivationQuantizer>) -> Checked {
        let Some(quantizer) = quantizer else { return Ok(()) };
        if !(1 + u8::from(quantizer.signed)..=16).contains(&quantizer.bits) || quantizer.rivals.is_some() {
            return Err(unsupported(self.name, "rivals, or an activation width outside 2 to 16 bits"));
        }
        self.range("activation range", quantizer.range_offset, 1)
    }
}
