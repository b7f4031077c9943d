//! # Predictor transfer: from full precision to mixed precision
//!
//! EMS/APQ, section 3.2: pairs with bits are dear (each needs a fine-tune), pairs without are cheap, and the order of
//! architectures mostly survives quantization. So the mixed-precision predictor starts from the full-precision
//! one; only the policy head starts fresh, and everything is then trained on the few pairs with bits.
//!
//! The text adds the head before the first ReLU, the authors' release after it: [`HeadPlacement`]. After it is the
//! default, because it wins on made-up accuracies (`examples/compare.rs`, pairwise accuracy with 50, 100 and 200
//! pairs: before 0.709, 0.775, 0.853; after 0.764, 0.838, 0.891; from scratch 0.743, 0.815, 0.873).
//! The head's fresh rows start at zero here, and the output is rescaled, so that the predictor starts as the
//! full-precision one: it gives the same differences between architectures in accuracy, times the slope that the
//! few pairs themselves show. Without that the start is in units of standard deviations, which the bits dominate, and
//! architectures start far too important.

use crate::ensemble::{Ensemble, Lesson};
use crate::error::PredictorError;
use crate::metrics::mean;
use crate::mlp::train::{Frozen, MlpSettings};
use crate::mlp::{HeadPlacement, Shape};
use crate::pairs::Pairs;
use crate::predictor::{Precision, Predictor, features, precision_of};
use crate::sharing::Sharing;

/// Standard deviation of the prior on the slope between full-precision and quantized accuracies.
const SLOPE_SPREAD: f64 = 0.5;

/// What of the full-precision predictor stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Freeze {
    /// Nothing: the papers' way.
    #[default]
    Nothing,
    /// The architecture's rows in the first layer.
    Architecture,
    /// Everything but the policy head and the output layer.
    AllButHeads,
}

/// How a transfer is done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TransferSettings {
    /// Where the policy head joins.
    pub placement: HeadPlacement,
    /// What is not trained.
    pub freeze: Freeze,
    /// The head's rows start uniform within ± this.
    pub start: f32,
    /// Training; the width is the full-precision predictor's.
    pub mlp: MlpSettings,
}

impl Default for TransferSettings {
    fn default() -> Self {
        Self {
            placement: HeadPlacement::default(),
            freeze: Freeze::Nothing,
            start: 0.0,
            mlp: MlpSettings::default(),
        }
    }
}

impl Predictor {
    /// A mixed-precision predictor that starts from this full-precision one.
    ///
    /// # Errors
    /// [`PredictorError::NoTransfer`] if this predictor already knows bits or the pairs have none; otherwise as
    /// [`fit`](Predictor::fit).
    pub fn fit_from(
        &self,
        pairs: &Pairs,
        settings: &TransferSettings,
        seed: u64,
    ) -> Result<Predictor, PredictorError> {
        settings.mlp.check()?;
        pairs.check()?;
        self.check_transfer(pairs)?;
        let policy = self.space.encoding().policy_len();
        let sharing = Sharing::as_set(&self.space, true, settings.mlp.sharing);
        let lesson = Lesson {
            features: &features(&self.space, &pairs.candidates, true),
            accuracies: &pairs.accuracies,
            frozen: frozen(settings.freeze, sharing.widened(Shape { policy, ..self.shape() })),
            sharing: &sharing,
            settings: &settings.mlp,
        };
        let slope = slope(&self.score(&pairs.candidates)?, &pairs.accuracies);
        let head = (settings.placement, settings.start, slope);
        let ensemble = Ensemble::fit_from(&self.ensemble, policy, head, &lesson, seed)?;
        Ok(Predictor { space: self.space.clone(), ensemble, process: None })
    }

    fn check_transfer(&self, pairs: &Pairs) -> Result<(), PredictorError> {
        let refuse = |from: &str, message: &str| {
            Err(PredictorError::NoTransfer { from: from.into(), message: message.into() })
        };
        if self.precision() == Precision::Mixed {
            return refuse("a mixed-precision predictor", "expected one fitted on full-precision pairs");
        }
        if precision_of(pairs)? == Precision::Full {
            return refuse("full-precision pairs", "expected pairs with bits");
        }
        Ok(())
    }
}

/// How much of a full-precision difference is left after quantization: least squares of the measured accuracies on
/// the full-precision predictions, with a normal prior around 1.
fn slope(predicted: &[f64], measured: &[f64]) -> f64 {
    let (center, level) = (mean(predicted), mean(measured));
    let products = predicted.iter().zip(measured).map(|(x, y)| (x - center) * (y - level));
    let squares: f64 = predicted.iter().map(|x| (x - center).powi(2)).sum();
    let variance: f64 = measured.iter().map(|y| (y - level).powi(2)).sum::<f64>() / measured.len() as f64;
    let prior = variance / SLOPE_SPREAD.powi(2);
    ((products.sum::<f64>() + prior) / (squares + prior)).max(0.0)
}

fn frozen(freeze: Freeze, shape: Shape) -> Frozen {
    match freeze {
        Freeze::Nothing => Vec::new(),
        Freeze::Architecture => vec![shape.rows()],
        Freeze::AllButHeads => std::iter::once(shape.rows().start..shape.third_bias().end).collect(),
    }
}
