//! `[method]`: which search system, and one table for each that has settings of its own. The defaults are the papers'.

use sartor_search::ddpg;
use sartor_supernet::differentiable::{dnas, gong, proxyless};
use serde::{Deserialize, Serialize};

/// `[method]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Methods {
    /// Name of the search system; `sartor run --method` overrides it.
    pub name: String,
    /// Another seed of search and fine-tuning on the same supernet; 0 is the run's own.
    pub seed: u64,
    /// Train what was chosen from fresh weights and without a teacher, as Gong and others and ProxylessNAS do, instead
    /// of from the supernet's; `[finetune]` then needs the epochs of a whole training.
    pub from_scratch: bool,
    /// Fixed networks at one width.
    pub uniform: Uniform,
    /// Single Path One-Shot.
    pub spos: Spos,
    /// AMC: channel pruning by reinforcement learning.
    pub amc: Amc,
    /// HAQ: bit-widths by reinforcement learning.
    pub haq: Haq,
    /// One after the other.
    pub sequential: Sequential,
    /// Architecture and bits by gradient descent.
    pub gong: Gradient<gong::Settings>,
    /// Bits by gradient descent.
    pub dnas: Dnas,
    /// Architecture by gradient descent, one path at a time.
    pub proxyless: Gradient<proxyless::Settings>,
}

impl Default for Methods {
    fn default() -> Self {
        Self {
            name: "apq".to_owned(),
            seed: 0,
            from_scratch: false,
            uniform: Uniform::default(),
            spos: Spos::default(),
            amc: Amc::default(),
            haq: Haq::default(),
            sequential: Sequential::default(),
            gong: Gradient::default(),
            dnas: Dnas::default(),
            proxyless: Gradient::default(),
        }
    }
}

/// `[method.uniform]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Uniform {
    /// Widths, one network each.
    pub bits: Vec<u8>,
}

impl Default for Uniform {
    fn default() -> Self {
        Self { bits: vec![8, 6, 4] }
    }
}

/// `[method.spos]` (Guo and others 2019, section 4)
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Spos {
    /// Candidates per generation.
    pub population: usize,
    /// Best candidates kept as parents.
    pub parents: usize,
    /// Generations.
    pub generations: usize,
    /// Chance that a block is redrawn during mutation.
    pub mutation_probability: f64,
    /// Validation images that score one candidate.
    pub images: usize,
}

impl Default for Spos {
    fn default() -> Self {
        Self { population: 50, parents: 10, generations: 20, mutation_probability: 0.1, images: 1000 }
    }
}

/// `[method.amc]` (He and others 2018, section 3)
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Amc {
    /// Networks pruned and scored.
    pub episodes: usize,
    /// Episodes of random actions before the agent learns.
    pub warm_up: usize,
    /// Least share of a layer's channels that is kept.
    pub least_kept: f64,
    /// Width of every searched layer, before and after.
    pub bits: u8,
    /// Validation images that score one network.
    pub images: usize,
    /// The agent.
    pub agent: ddpg::Settings,
}

impl Default for Amc {
    fn default() -> Self {
        Self {
            episodes: 400,
            warm_up: 100,
            least_kept: 0.2,
            bits: 8,
            images: 1000,
            agent: ddpg::Settings::default(),
        }
    }
}

/// `[method.haq]` (Wang and others 2019, section 3)
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Haq {
    /// Policies scored.
    pub episodes: usize,
    /// Episodes of random actions before the agent learns.
    pub warm_up: usize,
    /// The reward is this times the change of accuracy.
    pub reward_scale: f64,
    /// The fixed network is the largest of its family that meets the budget at this width everywhere.
    pub reference_bits: u8,
    /// Whether every policy is briefly fine-tuned (as `samples.finetune` says) before it is scored.
    pub finetune: bool,
    /// Validation images that score one policy without fine-tuning.
    pub images: usize,
    /// The agent.
    pub agent: ddpg::Settings,
}

impl Default for Haq {
    fn default() -> Self {
        Self {
            episodes: 600,
            warm_up: 20,
            reward_scale: 0.1,
            reference_bits: 6,
            finetune: true,
            images: 1000,
            agent: ddpg::Settings::default(),
        }
    }
}

/// `[method.sequential]`: architecture, then channels (`[method.amc]`), then bits (`[method.haq]`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sequential {
    /// How the architecture is found, see [`ARCHITECTURE_SEARCHES`].
    pub architecture: String,
    /// Whether channels are pruned between architecture and bits; without it, this is "NAS + quantization".
    pub pruning: bool,
    /// Limits of the architecture search, as a multiple of the budget.
    pub architecture_limit: f64,
    /// Limits of the pruning, as a multiple of the budget.
    pub pruning_limit: f64,
}

/// What may find the architecture of a sequential search.
pub const ARCHITECTURE_SEARCHES: [&str; 2] = ["proxyless", EVOLUTION];
/// The one that is scored with the supernet's own weights.
pub const EVOLUTION: &str = "evolution";

impl Default for Sequential {
    /// The multiples are those of the papers' table 2: 13.14 ms, 9.77 ms, 8.45 ms.
    fn default() -> Self {
        Self {
            architecture: ARCHITECTURE_SEARCHES[0].to_owned(),
            pruning: true,
            architecture_limit: 1.555,
            pruning_limit: 1.156,
        }
    }
}

/// Weights that a search by gradient starts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// Random ones: the search trains them, as the papers do.
    Fresh,
    /// The trained supernet's.
    Supernet,
}

/// `[method.gong]`, `[method.proxyless]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gradient<S: Default> {
    /// The metric in the loss. Default: what the budget limits most tightly, or energy (`proxyless`: latency).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// Weights that it starts on.
    pub start: Start,
    /// The search itself.
    pub search: S,
}

impl<S: Default> Default for Gradient<S> {
    fn default() -> Self {
        Self { metric: None, start: Start::Fresh, search: S::default() }
    }
}

/// `[method.dnas]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Dnas {
    /// The architecture is the largest of its family that meets the budget at this width everywhere.
    pub reference_bits: u8,
    /// The rest, as for `gong`.
    pub gradient: Gradient<gong::Settings>,
}

impl Default for Dnas {
    fn default() -> Self {
        let gradient = Gradient { metric: None, start: Start::Supernet, search: dnas::settings() };
        Self { reference_bits: 6, gradient }
    }
}
