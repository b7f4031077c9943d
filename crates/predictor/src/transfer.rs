//! # Predictor transfer: from full precision to mixed precision
//!
//! EMS/APQ, section 3.2: pairs with bits are dear (each needs a fine-tune), pairs without are cheap, and the order of
//! architectures mostly survives quantization. So the mixed-precision predictor starts from the full-precision
//! one; only the policy head starts fresh, and everything is then trained on the few pairs with bits.
//!
//! The text adds the head before the first ReLU, the authors' release after it: [`HeadPlacement`].
//! The head's fresh rows start at zero here: the predictor then starts exactly as the full-precision one, in the
//! unit of the mixed-precision accuracies.

use crate::ensemble::{Ensemble, standardise};
use crate::error::PredictorError;
use crate::mlp::HeadPlacement;
use crate::mlp::train::{Examples, Frozen, MlpSettings};
use crate::pairs::Pairs;
use crate::predictor::{Precision, Predictor, features, precision_of};

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
            placement: HeadPlacement::BeforeActivation,
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
        let features = features(&self.space, &pairs.candidates, true);
        let (unit, targets) = standardise(&pairs.accuracies);
        let examples = Examples { features: features.iter().map(Vec::as_slice).collect(), targets };
        let policy = self.space.encoding().policy_len();
        let frozen = self.frozen(settings.freeze);
        let head = (settings.placement, settings.start);
        let ensemble =
            Ensemble::fit_from(&self.ensemble, policy, head, &examples, unit, &settings.mlp, &frozen, seed)?;
        Ok(Predictor { space: self.space.clone(), ensemble })
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

    fn frozen(&self, freeze: Freeze) -> Frozen {
        let shape = self.shape();
        match freeze {
            Freeze::Nothing => Vec::new(),
            Freeze::Architecture => vec![shape.rows()],
            Freeze::AllButHeads => vec![shape.rows().start..shape.third_bias().end],
        }
    }
}
