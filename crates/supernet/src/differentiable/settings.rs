//! # Settings that every search by gradient has
//!
//! A search's settings are one flat table of the configuration, in which unknown keys are refused. So the fields that all
//! share are written here alone and joined to a search's own by [`search_settings`].

use sartor_engine::optimizer::Sgd;

use crate::error::Result;

/// What every search needs to know of its settings, whichever method's they are.
pub trait Shared {
    /// Refuses shared settings that cannot search.
    fn check_shared(&self) -> Result<()>;
    /// Steps of the whole search.
    fn total_steps(&self, steps_per_epoch: usize) -> usize;
    /// Learning rate of the weights at a step.
    fn rate_at(&self, step: usize, steps: usize) -> f64;
    /// Adam's learning rate for the controller.
    fn controller_rate(&self) -> f32;
    /// Whether the controller learns at a step.
    fn started(&self, step: usize, steps: usize) -> bool;
    /// What descends the weights.
    fn sgd(&self) -> Sgd;
    /// Everything as text, to recognise a search again.
    fn text(&self) -> String;
}

/// Declares a search's settings: the shared fields and its own.
macro_rules! search_settings {
    ($(#[$about:meta])* { $($(#[$meta:meta])* pub $field:ident: $kind:ty,)* }) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub struct Settings {
            /// Passes over the weights' images.
            pub epochs: usize,
            /// Stops after this many steps, if that comes first.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub steps: Option<usize>,
            /// Images per step.
            pub batch: usize,
            /// Held-out images per step of the controller; absent: as many as `batch`.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub controller_batch: Option<usize>,
            /// Highest learning rate of the weights; falls to zero along a cosine.
            pub learning_rate: f64,
            /// Nesterov momentum of the weights.
            pub momentum: f64,
            /// Weight decay of weights.
            pub weight_decay: f64,
            /// Label smoothing.
            pub label_smoothing: f64,
            /// Images are shifted by up to this many pixels.
            pub shift: usize,
            /// Whether images are mirrored at random.
            pub flip: bool,
            /// Share of the steps before the controller starts.
            pub warm_up: f64,
            /// Adam's learning rate for the controller.
            pub controller_rate: f64,
            $($(#[$meta])* pub $field: $kind,)*
        }

        impl $crate::differentiable::settings::Shared for Settings {
            fn check_shared(&self) -> $crate::error::Result<()> {
                use $crate::schedule::{fraction, not_negative, positive};
                positive("batch", self.batch)?;
                positive("controller_batch", self.controller_batch.unwrap_or(self.batch))?;
                fraction("momentum", self.momentum)?;
                fraction("label_smoothing", self.label_smoothing)?;
                fraction("warm_up", self.warm_up)?;
                not_negative("learning_rate", self.learning_rate)?;
                not_negative("weight_decay", self.weight_decay)?;
                not_negative("controller_rate", self.controller_rate)
            }

            fn total_steps(&self, steps_per_epoch: usize) -> usize {
                let most = self.epochs * steps_per_epoch;
                self.steps.map_or(most, |steps| steps.min(most))
            }

            fn rate_at(&self, step: usize, steps: usize) -> f64 {
                $crate::schedule::learning_rate(self.learning_rate, step, 0, steps)
            }

            fn controller_rate(&self) -> f32 {
                self.controller_rate as f32
            }

            fn started(&self, step: usize, steps: usize) -> bool {
                step as f64 >= self.warm_up * steps as f64
            }

            fn sgd(&self) -> sartor_engine::optimizer::Sgd {
                $crate::schedule::sgd(self.momentum, self.weight_decay)
            }

            fn text(&self) -> String {
                serde_json::json!(self).to_string()
            }
        }

        impl Settings {
            /// What the weights minimise.
            pub(super) fn objective(&self) -> $crate::objective::Objective {
                $crate::objective::Objective {
                    label_smoothing: self.label_smoothing,
                    distillation: 0.0,
                    micro_batch: None,
                }
            }

            /// Images per step of the weights, images per step of the controller, and how they are altered.
            pub(super) fn images(&self) -> (usize, usize, $crate::data::Augmentation) {
                let augmentation = $crate::data::Augmentation { shift: self.shift, flip: self.flip };
                (self.batch, self.controller_batch.unwrap_or(self.batch), augmentation)
            }
        }
    };
}

pub(super) use search_settings;
