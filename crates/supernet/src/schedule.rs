//! # Schedule: progressive shrinking as data
//!
//! Cai and others, "Once-for-all: train one network and specialize it for efficient deployment", section 3.3, which
//! the EMS supernet follows: train the largest network, then open kernel, depth and width one after the other, each
//! phase starting from the weights of the one before. What is open stays open. A phase opens the `values` largest
//! values of its dimension, or all of them.
//!
//! `smallest` sends the smallest open subnet through every step, as Yu and others' sandwich rule does ("BigNAS: scaling up
//! neural architecture search with big single-stage models", section 3.1); their largest subnet is not trained along.
//!
//! Differences from the release: epochs are the configuration's choice (by default one long phase instead of the release's
//! even ones, see [`progressive_shrinking`]), and every block has its own list of widths, so "two values" means the two largest of
//! each block.

use sartor_engine::optimizer::Sgd;
use serde::{Deserialize, Serialize};

use crate::error::{Result, SupernetError};

mod freedom;

pub use freedom::Freedom;

/// What a phase opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Open {
    /// Nothing: the largest network alone.
    Largest,
    /// Depthwise kernels.
    Kernel,
    /// Numbers of active blocks.
    Depth,
    /// Expanded widths.
    Width,
}

/// One phase of a schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// The dimension that opens.
    pub open: Open,
    /// How many of its values are open, the largest first; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub values: Option<usize>,
    /// Passes over the training images.
    pub epochs: usize,
    /// Highest learning rate; falls to zero along a cosine.
    pub learning_rate: f64,
    /// Epochs of linear warm-up before the cosine, counted within `epochs`.
    #[serde(default)]
    pub warm_up: f64,
    /// Subnets whose gradients are averaged in one step.
    #[serde(default = "one")]
    pub subnets: usize,
    /// Whether the first of them is the smallest that is open instead of a random one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub smallest: bool,
    /// Weight of the cross-entropy with the teacher's soft labels; 0 trains without a teacher.
    #[serde(default)]
    pub distillation: f64,
}

fn is_true(value: &bool) -> bool {
    *value
}

fn one() -> usize {
    1
}

impl Phase {
    /// A name for messages, e.g. `width 2` or `kernel`.
    pub fn name(&self) -> String {
        let dimension = format!("{:?}", self.open).to_lowercase();
        self.values.map_or(dimension.clone(), |values| format!("{dimension} {values}"))
    }

    /// Learning rate of a step: linear warm-up, then a cosine to zero.
    pub fn learning_rate_at(&self, step: usize, steps_per_epoch: usize) -> f64 {
        let warm_up = (self.warm_up * steps_per_epoch as f64).round() as usize;
        learning_rate(self.learning_rate, step, warm_up, self.epochs * steps_per_epoch)
    }
}

/// What descends the weights of every training: gradient descent with Nesterov's momentum.
pub(crate) fn sgd(momentum: f64, weight_decay: f64) -> Sgd {
    Sgd { momentum: momentum as f32, nesterov: true, weight_decay: weight_decay as f32 }
}

/// Linear warm-up over `warm_up` steps, then a cosine that ends at zero after `steps`.
pub fn learning_rate(highest: f64, step: usize, warm_up: usize, steps: usize) -> f64 {
    if step < warm_up {
        return highest * (step + 1) as f64 / warm_up as f64;
    }
    sartor_engine::optimizer::cosine(highest, (step - warm_up) as u64, steps.saturating_sub(warm_up) as u64)
}

/// How a supernet is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainingSettings {
    /// Images per step.
    pub batch: usize,
    /// Most images that go through a network at once, for little memory: a larger batch goes in even parts whose
    /// gradients are added up, and batch norm sees one part at a time. The whole batch when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub micro_batch: Option<usize>,
    /// Nesterov momentum.
    pub momentum: f64,
    /// Weight decay of weights and kernel transforms (not of norms and biases).
    pub weight_decay: f64,
    /// Label smoothing.
    pub label_smoothing: f64,
    /// Images are shifted by up to this many pixels.
    pub shift: usize,
    /// Whether images are mirrored at random.
    pub flip: bool,
    /// Training images from which batch-norm statistics are recomputed.
    pub recalibration_images: usize,
    /// Whether channels are sorted by importance before narrower widths open.
    #[serde(skip_serializing_if = "is_true")]
    pub sort_channels: bool,
    /// The phases in order; the first trains the largest network.
    pub phases: Vec<Phase>,
}

impl Default for TrainingSettings {
    fn default() -> Self {
        Self {
            batch: 64,
            micro_batch: None,
            momentum: 0.9,
            weight_decay: 3e-5,
            label_smoothing: 0.1,
            shift: 2,
            flip: false,
            recalibration_images: 2000,
            sort_channels: true,
            phases: progressive_shrinking(20, 20, 0.1),
        }
    }
}

/// The largest network for `largest` epochs, then everything else within `shrinking`: kernel and depth for a twentieth each,
/// width with all open for the rest, at the largest network's rate.
///
/// The release spends its 410 epochs of shrinking evenly (kernel 120, depth 25 + 120, width 25 + 120) at 0.02 to 0.23 of
/// the largest network's rate. On 4,000 images of Fashion-MNIST subnets inherit more from one long phase at the full rate
/// with everything open (`docs/results/README.md`, what subnets inherit).
pub fn progressive_shrinking(largest: usize, shrinking: usize, learning_rate: f64) -> Vec<Phase> {
    let first = (shrinking as f64 / 20.0).ceil() as usize;
    let phase = |open, epochs: usize, rate: f64, subnets| Phase {
        open,
        values: None,
        epochs: epochs.max(1),
        learning_rate: learning_rate * rate,
        warm_up: 0.0,
        subnets,
        smallest: false,
        distillation: 1.0,
    };
    vec![
        Phase { warm_up: 1.0, distillation: 0.0, ..phase(Open::Largest, largest, 1.0, 1) },
        phase(Open::Kernel, first, 0.3, 1),
        phase(Open::Depth, first, 0.3, 2),
        phase(Open::Width, shrinking.saturating_sub(2 * first), 1.0, 2),
    ]
}

impl TrainingSettings {
    /// Refuses settings that cannot train.
    pub fn check(&self) -> Result<()> {
        positive("batch", self.batch)?;
        positive("micro_batch", self.micro_batch.unwrap_or(1))?;
        positive("recalibration_images", self.recalibration_images)?;
        fraction("momentum", self.momentum)?;
        fraction("label_smoothing", self.label_smoothing)?;
        not_negative("weight_decay", self.weight_decay)?;
        if self.phases.first().is_none_or(|phase| phase.open != Open::Largest) {
            return Err(setting("phases", &self.phases.len(), "a first phase that opens `largest`"));
        }
        self.phases.iter().try_for_each(check_phase)
    }

    /// What is open in a phase: everything that it and the phases before it opened.
    pub fn freedom(&self, phase: usize) -> Freedom {
        let opened = self.phases.iter().take(phase + 1);
        opened.fold(Freedom::default(), |freedom, phase| freedom.after(phase))
    }
}

fn check_phase(phase: &Phase) -> Result<()> {
    positive("epochs", phase.epochs)?;
    positive("subnets", phase.subnets)?;
    positive("values", phase.values.unwrap_or(1))?;
    not_negative("warm_up", phase.warm_up)?;
    not_negative("distillation", phase.distillation)?;
    not_negative("learning_rate", phase.learning_rate)
}

pub(crate) fn positive(name: &'static str, value: usize) -> Result<()> {
    if value > 0 { Ok(()) } else { Err(setting(name, &value, "at least 1")) }
}

pub(crate) fn not_negative(name: &'static str, value: f64) -> Result<()> {
    let sound = value >= 0.0 && value.is_finite();
    if sound { Ok(()) } else { Err(setting(name, &value, "a finite number, 0 or more")) }
}

pub(crate) fn fraction(name: &'static str, value: f64) -> Result<()> {
    let sound = (0.0..1.0).contains(&value);
    if sound { Ok(()) } else { Err(setting(name, &value, "at least 0 and below 1")) }
}

fn setting(setting: &'static str, got: &dyn std::fmt::Display, expected: &'static str) -> SupernetError {
    SupernetError::Setting { setting, got: got.to_string(), expected }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, stream};
    use sartor_space::{Candidate, SearchSpace, Subnet};

    /// The release's order: two values of depth and width before all of them.
    fn settings() -> TrainingSettings {
        let steps = [
            (Open::Largest, None),
            (Open::Kernel, None),
            (Open::Depth, Some(2)),
            (Open::Depth, None),
            (Open::Width, Some(2)),
            (Open::Width, None),
        ];
        let like = progressive_shrinking(1, 1, 0.1).remove(1);
        let phases = steps.map(|(open, values)| Phase { open, values, ..like.clone() }).to_vec();
        TrainingSettings { phases, ..TrainingSettings::default() }
    }

    #[test]
    fn freedom_grows_phase_by_phase() {
        let settings = settings();
        let open: Vec<_> = (0..settings.phases.len()).map(|phase| settings.freedom(phase)).collect();
        let all = usize::MAX;
        let expected = [(1, 1, 1), (all, 1, 1), (all, 2, 1), (all, all, 1), (all, all, 2), (all, all, all)];
        for (freedom, (kernels, depths, widths)) in open.iter().zip(expected) {
            assert_eq!(*freedom, Freedom { kernels, depths, widths });
        }
        let default = TrainingSettings::default();
        assert_eq!(default.freedom(default.phases.len() - 1), settings.freedom(5));
    }

    #[test]
    fn open_subnets_lie_in_the_space() {
        let settings = settings();
        for name in SearchSpace::presets() {
            let space = SearchSpace::preset(name).unwrap();
            for phase in 0..settings.phases.len() {
                let mut rng = stream(5, Purpose::Subnet, [phase as u64, 0, 0]);
                for _ in 0..50 {
                    let subnet = settings.freedom(phase).random_subnet(&space, &mut rng);
                    space.contains(&Candidate { subnet, policy: None }).unwrap();
                }
            }
        }
    }

    #[test]
    fn the_smallest_open_subnet_is_open_and_smaller_than_any() {
        let settings = settings();
        for name in SearchSpace::presets() {
            let space = SearchSpace::preset(name).unwrap();
            let macs =
                |subnet: &Subnet| space.lower(&Candidate { subnet: subnet.clone(), policy: None }).macs();
            assert_eq!(Freedom::default().smallest_subnet(&space), space.largest(), "{name}");
            for phase in 0..settings.phases.len() {
                let freedom = settings.freedom(phase);
                let smallest = freedom.smallest_subnet(&space);
                space.contains(&Candidate { subnet: smallest.clone(), policy: None }).unwrap();
                let mut rng = stream(6, Purpose::Subnet, [phase as u64, 0, 0]);
                for _ in 0..20 {
                    let other = freedom.random_subnet(&space, &mut rng);
                    let blocks = |subnet: &Subnet| subnet.blocks.iter().flatten().count();
                    assert!(blocks(&smallest) <= blocks(&other), "{name} {phase}");
                    assert!(macs(&smallest) <= macs(&other), "{name} {phase}");
                }
            }
            let all = settings.freedom(settings.phases.len() - 1);
            assert_eq!(all.smallest_subnet(&space), space.smallest(), "{name}");
        }
    }

    #[test]
    fn nothing_open_is_the_largest_and_all_open_reaches_the_smallest_choices() {
        let space = SearchSpace::preset("quickstart").unwrap();
        let mut rng = stream(1, Purpose::Subnet, [0; 3]);
        assert_eq!(Freedom::default().random_subnet(&space, &mut rng), space.largest());
        let all = Freedom { kernels: usize::MAX, depths: usize::MAX, widths: usize::MAX };
        let smallest = space.smallest();
        let mut seen = vec![false; smallest.blocks.len()];
        for _ in 0..500 {
            let subnet = all.random_subnet(&space, &mut rng);
            seen.iter_mut()
                .zip(subnet.blocks.iter().zip(&smallest.blocks))
                .for_each(|(s, (a, b))| *s |= a == b);
        }
        assert!(seen.iter().all(|&seen| seen), "{seen:?}");
    }

    #[test]
    fn learning_rate_warms_up_and_falls() {
        let table = [(0, 0.25), (3, 1.0), (4, 1.0), (9, 0.5), (14, 0.0)];
        for (step, expected) in table {
            assert!((learning_rate(1.0, step, 4, 14) - expected).abs() < 1e-12, "step {step}");
        }
    }

    #[test]
    fn impossible_settings_are_named() {
        type Spoil = fn(&mut TrainingSettings);
        let spoil: [(&str, Spoil); 6] = [
            ("`batch`", |s| s.batch = 0),
            ("`momentum`", |s| s.momentum = 1.0),
            ("`phases`", |s| s.phases.clear()),
            ("`epochs`", |s| s.phases[1].epochs = 0),
            ("`learning_rate`", |s| s.phases[2].learning_rate = f64::NAN),
            ("`values`", |s| s.phases[2].values = Some(0)),
        ];
        for (name, change) in spoil {
            let mut settings = TrainingSettings::default();
            change(&mut settings);
            assert!(settings.check().unwrap_err().to_string().contains(name), "{name}");
        }
        TrainingSettings::default().check().unwrap();
    }
}
