//! # Activation quantizers
//!
//! Works out low, high and step of a quantizer from its trainable range; the equations are with
//! [`ActivationQuantizer`], the kernels in [`crate::kernels::elementwise`]. The kernels multiply by 1 / step instead of
//! dividing, so a value that lies within a rounding error of a tie may fall to the other side.

use crate::kernels::elementwise::{Quantizer, RivalQuantizers};
use crate::network::{ActivationQuantizer, MAXIMUM_RIVALS, MINIMUM_RANGE};

/// The quantizer with its numbers, if there is one.
pub(crate) fn prepare(quantizer: Option<ActivationQuantizer>, parameters: &[f32]) -> Option<Quantizer> {
    let quantizer = quantizer?;
    let high = parameters[quantizer.range_offset].max(MINIMUM_RANGE);
    let low = if quantizer.signed { -high } else { 0.0 };
    let step = high / quantizer.levels();
    Some(Quantizer { low, high, step, inverse: 1.0 / step })
}

/// The widths that compete with a quantizer, worked out.
pub(crate) fn prepare_rivals(
    quantizer: Option<ActivationQuantizer>,
    parameters: &[f32],
) -> Option<RivalQuantizers> {
    let quantizer = quantizer?;
    let rivals = quantizer.rivals?;
    let each = |i: usize| {
        let index = i.min(rivals.count.saturating_sub(1));
        let range_offset = rivals.range_offset + index;
        let one = ActivationQuantizer { bits: rivals.bits[index], range_offset, rivals: None, ..quantizer };
        prepare(Some(one), parameters)
    };
    let mut all = [each(0)?; MAXIMUM_RIVALS];
    for (i, one) in all.iter_mut().enumerate() {
        *one = each(i)?;
    }
    Some(RivalQuantizers { count: rivals.count, all })
}

/// Quantizes a slice in plain code (for the few numbers of the head).
pub(crate) fn apply(quantizer: Option<Quantizer>, values: &mut [f32]) {
    let Some(q) = quantizer else { return };
    values.iter_mut().for_each(|v| *v = (v.clamp(q.low, q.high) * q.inverse).round_ties_even() * q.step);
}

/// Straight-through gradient in plain code; returns the gradient of the range.
pub(crate) fn backward(quantizer: Option<Quantizer>, before: &[f32], gradient: &mut [f32]) -> f64 {
    let Some(q) = quantizer else { return 0.0 };
    let mut range = 0.0;
    for (g, &x) in gradient.iter_mut().zip(before) {
        if x >= q.high {
            range += f64::from(std::mem::take(g));
        } else if x <= q.low {
            let lost = f64::from(std::mem::take(g));
            range -= if q.low < 0.0 { lost } else { 0.0 };
        }
    }
    range
}
