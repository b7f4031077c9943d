//! # DDPG: an agent for continuous actions
//!
//! Lillicrap and others, "Continuous control with deep reinforcement learning", 2016, algorithm 1, as AMC (He and
//! others 2018, section 3) and HAQ (Wang and others 2019, section 3) use it: one action from 0 to 1 a step.
//!
//! Critic: `y = r − b + γ·Q'(s', μ'(s'))`, loss `mean (y − Q(s, a))²`; `b` is a moving average of the batches' rewards
//! (AMC, equation 4), and a last step has no next value. Actor: up the gradient `∂Q(s, μ(s))/∂μ · ∂μ/∂θ`. Targets
//! follow by `θ' ← τθ + (1 − τ)θ'`. The actor's output goes through a sigmoid. Exploration is a normal around the
//! action, cut to 0 … 1 (AMC, equation 3), whose width decays from episode to episode.
//!
//! What differs: nothing in the equations; the networks are small enough (two hidden layers of 300) to be written
//! out by hand in `network`.

mod network;

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use crate::error::SearchError;
use network::{Adam, Network};

/// The share of a batch's mean reward in the moving average (the authors' releases).
const BASELINE_SHARE: f64 = 0.5;
/// Redraws of an exploring action before it is cut instead.
const REDRAWS: usize = 100;

/// Settings (`agent` of `[method.amc]` and `[method.haq]`); the defaults are those of AMC and HAQ.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Width of the two hidden layers of actor and critic.
    pub hidden: usize,
    /// Adam's learning rate of the actor.
    pub actor_rate: f64,
    /// Adam's learning rate of the critic.
    pub critic_rate: f64,
    /// τ: share of the new weights that the targets take over in every update.
    pub soft_update: f64,
    /// γ: worth of the next step's value.
    pub discount: f64,
    /// Standard deviation of the exploration at first; actions run from 0 to 1.
    pub noise: f64,
    /// What is left of the exploration after each episode that follows the warm-up.
    pub noise_decay: f64,
    /// Steps remembered.
    pub memory: usize,
    /// Steps in one update.
    pub batch: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            hidden: 300,
            actor_rate: 1e-4,
            critic_rate: 1e-3,
            soft_update: 0.01,
            discount: 1.0,
            noise: 0.5,
            noise_decay: 0.99,
            memory: 2000,
            batch: 64,
        }
    }
}

/// One step of an episode.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What was seen.
    pub state: Vec<f32>,
    /// What was done, 0 to 1.
    pub action: f32,
    /// What it was worth.
    pub reward: f32,
    /// What was seen next; `None` after the last step.
    pub next: Option<Vec<f32>>,
}

/// Actor and critic with their targets and memory.
#[derive(Debug, Clone)]
pub struct Ddpg {
    settings: Settings,
    states: usize,
    actor: Network,
    critic: Network,
    actor_target: Network,
    critic_target: Network,
    actor_adam: Adam,
    critic_adam: Adam,
    memory: Vec<Step>,
    oldest: usize,
    noise: f64,
    baseline: Option<f64>,
}

impl Ddpg {
    /// An agent that sees `states` numbers.
    ///
    /// # Errors
    /// [`SearchError::BadSetting`].
    pub fn new(settings: Settings, states: usize, rng: &mut impl Rng) -> Result<Self, SearchError> {
        check(&settings)?;
        let actor = Network::random(states, settings.hidden, rng);
        let critic = Network::random(states + 1, settings.hidden, rng);
        Ok(Self {
            actor_adam: Adam::new(settings.actor_rate, actor.weights.len()),
            critic_adam: Adam::new(settings.critic_rate, critic.weights.len()),
            actor_target: actor.clone(),
            critic_target: critic.clone(),
            noise: settings.noise,
            settings,
            states,
            actor,
            critic,
            memory: Vec::new(),
            oldest: 0,
            baseline: None,
        })
    }

    /// What the actor would do, 0 to 1.
    pub fn act(&self, state: &[f32]) -> f64 {
        f64::from(sigmoid(self.actor.forward(state.to_vec()).outputs[0]))
    }

    /// What it does while it explores.
    pub fn explore(&self, state: &[f32], rng: &mut impl Rng) -> f64 {
        let middle = self.act(state);
        let draws = (0..REDRAWS).map(|_| middle + self.noise * normal(rng));
        let mut last = middle;
        for draw in draws {
            if (0.0..=1.0).contains(&draw) {
                return draw;
            }
            last = draw;
        }
        last.clamp(0.0, 1.0)
    }

    /// Standard deviation of the exploration.
    pub fn noise(&self) -> f64 {
        self.noise
    }

    /// Keeps a step in mind; the oldest is forgotten when there are too many.
    pub fn remember(&mut self, step: Step) {
        if self.memory.len() < self.settings.memory {
            self.memory.push(step);
        } else {
            self.memory[self.oldest] = step;
            self.oldest = (self.oldest + 1) % self.settings.memory;
        }
    }

    /// Explores less from now on.
    pub fn calm(&mut self) {
        self.noise *= self.settings.noise_decay;
    }

    /// One update of critic, actor and targets from a random batch; nothing while there is no memory.
    pub fn learn(&mut self, rng: &mut impl Rng) {
        if self.memory.is_empty() {
            return;
        }
        let batch: Vec<usize> =
            (0..self.settings.batch).map(|_| rng.random_range(0..self.memory.len())).collect();
        self.learn_values(&batch);
        self.learn_actions(&batch);
        let share = self.settings.soft_update as f32;
        self.actor_target.follow(&self.actor, share);
        self.critic_target.follow(&self.critic, share);
    }

    fn learn_values(&mut self, batch: &[usize]) {
        let targets = self.targets(batch);
        let steps: Vec<&Step> = batch.iter().map(|&index| &self.memory[index]).collect();
        let seen = steps.iter().map(|step| (step.state.as_slice(), step.action));
        let pass = self.critic.forward(joined(seen));
        let scale = 2.0 / batch.len() as f32;
        let slopes: Vec<f32> =
            pass.outputs.iter().zip(&targets).map(|(value, target)| scale * (value - target)).collect();
        let mut gradients = vec![0.0; self.critic.weights.len()];
        self.critic.backward(&pass, &slopes, &mut gradients);
        self.critic_adam.step(&mut self.critic.weights, &gradients);
    }

    /// What the critic should say about each step.
    fn targets(&mut self, batch: &[usize]) -> Vec<f32> {
        let baseline = self.move_baseline(batch);
        let nothing = vec![0.0; self.states];
        let next: Vec<&[f32]> =
            batch.iter().map(|&index| self.memory[index].next.as_deref().unwrap_or(&nothing)).collect();
        let actions = self.actor_target.forward(next.concat()).outputs;
        let pairs = next.iter().zip(actions).map(|(&state, action)| (state, sigmoid(action)));
        let values = self.critic_target.forward(joined(pairs)).outputs;
        let discount = self.settings.discount as f32;
        let target = |(&index, value): (&usize, f32)| {
            let step = &self.memory[index];
            let later = if step.next.is_some() { discount * value } else { 0.0 };
            step.reward - baseline + later
        };
        batch.iter().zip(values).map(target).collect()
    }

    fn move_baseline(&mut self, batch: &[usize]) -> f32 {
        let sum: f64 = batch.iter().map(|&index| f64::from(self.memory[index].reward)).sum();
        let mean = sum / batch.len() as f64;
        let moved = self.baseline.map_or(mean, |before| before + BASELINE_SHARE * (mean - before));
        self.baseline = Some(moved);
        moved as f32
    }

    fn learn_actions(&mut self, batch: &[usize]) {
        let states: Vec<&[f32]> = batch.iter().map(|&index| self.memory[index].state.as_slice()).collect();
        let pass = self.actor.forward(states.concat());
        let actions: Vec<f32> = pass.outputs.iter().map(|&output| sigmoid(output)).collect();
        let valued = self.critic.forward(joined(states.iter().copied().zip(actions.iter().copied())));
        let downhill = vec![-1.0 / batch.len() as f32; batch.len()];
        let mut unused = vec![0.0; self.critic.weights.len()];
        let slopes = self.critic.backward(&valued, &downhill, &mut unused);
        let action_slopes: Vec<f32> = slopes
            .chunks_exact(self.states + 1)
            .zip(&actions)
            .map(|(row, action)| row[self.states] * action * (1.0 - action))
            .collect();
        let mut gradients = vec![0.0; self.actor.weights.len()];
        self.actor.backward(&pass, &action_slopes, &mut gradients);
        self.actor_adam.step(&mut self.actor.weights, &gradients);
    }
}

/// States, each followed by its action.
fn joined<'a>(pairs: impl Iterator<Item = (&'a [f32], f32)>) -> Vec<f32> {
    pairs.flat_map(|(state, action)| state.iter().copied().chain(std::iter::once(action))).collect()
}

fn sigmoid(value: f32) -> f32 {
    1.0 / (1.0 + (-value).exp())
}

/// One standard normal number (Box and Muller).
fn normal(rng: &mut impl Rng) -> f64 {
    let (u, v): (f64, f64) = (1.0 - rng.random::<f64>(), rng.random());
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

fn check(settings: &Settings) -> Result<(), SearchError> {
    let counts = [("hidden", settings.hidden), ("memory", settings.memory), ("batch", settings.batch)];
    for (setting, value) in counts {
        crate::strategies::evolution::check_count(setting, value)?;
    }
    for (setting, value) in [("actor_rate", settings.actor_rate), ("critic_rate", settings.critic_rate)] {
        if !(value.is_finite() && value > 0.0) {
            return Err(SearchError::BadSetting { setting, value, expected: "a positive number" });
        }
    }
    for (setting, value) in [
        ("soft_update", settings.soft_update),
        ("discount", settings.discount),
        ("noise", settings.noise),
        ("noise_decay", settings.noise_decay),
    ] {
        crate::strategies::evolution::check_probability(setting, value)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    /// The toy: three steps, each seeing where it stands and a number; the best action is a known function of both.
    /// The episode is worth minus the mean squared distance from it, and every step is given that reward, as AMC and
    /// HAQ do.
    const STEPS: usize = 3;

    fn best_action(state: &[f32]) -> f32 {
        0.2 + 0.3 * state[0] + 0.3 * state[1]
    }

    fn episode(
        rng: &mut ChaCha8Rng,
        mut act: impl FnMut(&[f32], &mut ChaCha8Rng) -> f64,
    ) -> (Vec<(Vec<f32>, f32)>, f32) {
        let mut steps = Vec::new();
        for index in 0..STEPS {
            let state = vec![index as f32 / (STEPS - 1) as f32, rng.random::<f32>()];
            let action = act(&state, rng) as f32;
            steps.push((state, action));
        }
        let distance = |(state, action): &(Vec<f32>, f32)| (action - best_action(state)).powi(2);
        let worth = -steps.iter().map(distance).sum::<f32>() / STEPS as f32;
        (steps, worth)
    }

    fn trained(seed: u64) -> Ddpg {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let settings = Settings { hidden: 32, actor_rate: 1e-3, noise_decay: 0.98, ..Settings::default() };
        let mut agent = Ddpg::new(settings, 2, &mut rng).expect("settings");
        for index in 0..400 {
            let explore = |state: &[f32], rng: &mut ChaCha8Rng| match index < 50 {
                true => rng.random(),
                false => agent.explore(state, rng),
            };
            let (steps, reward) = episode(&mut rng, explore);
            for (place, (state, action)) in steps.iter().enumerate() {
                let next = steps.get(place + 1).map(|(state, _)| state.clone());
                agent.remember(Step { state: state.clone(), action: *action, reward, next });
            }
            if index >= 50 {
                (0..2 * STEPS).for_each(|_| agent.learn(&mut rng));
                agent.calm();
            }
        }
        agent
    }

    #[test]
    fn the_agent_finds_the_known_optimum_of_a_toy() {
        for seed in 0..3 {
            let agent = trained(seed);
            let mut rng = ChaCha8Rng::seed_from_u64(100);
            let worth = |act: &mut dyn FnMut(&[f32], &mut ChaCha8Rng) -> f64, rng: &mut ChaCha8Rng| -> f32 {
                (0..200).map(|_| episode(rng, &mut *act).1).sum::<f32>() / 200.0
            };
            let learned = worth(&mut |state, _| agent.act(state), &mut rng);
            let random = worth(&mut |_, rng| rng.random(), &mut rng);
            let constant = worth(&mut |_, _| 0.5, &mut rng);
            assert!(learned > -0.01, "seed {seed}: {learned}, random {random}, constant {constant}");
            assert!(learned > 0.5 * constant && learned > 0.1 * random, "seed {seed}: {learned}");
        }
    }

    #[test]
    fn exploration_stays_between_zero_and_one_and_calms_down() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut agent =
            Ddpg::new(Settings { hidden: 4, ..Settings::default() }, 1, &mut rng).expect("settings");
        let spread = |agent: &Ddpg, rng: &mut ChaCha8Rng| {
            let draws: Vec<f64> = (0..500).map(|_| agent.explore(&[0.5], rng)).collect();
            assert!(draws.iter().all(|draw| (0.0..=1.0).contains(draw)));
            draws.iter().map(|draw| (draw - agent.act(&[0.5])).powi(2)).sum::<f64>()
        };
        let before = spread(&agent, &mut rng);
        (0..200).for_each(|_| agent.calm());
        assert!(spread(&agent, &mut rng) < 0.2 * before);
        agent.learn(&mut rng);
    }

    #[test]
    fn bad_settings_are_refused() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for settings in [
            Settings { hidden: 0, ..Settings::default() },
            Settings { actor_rate: f64::NAN, ..Settings::default() },
            Settings { discount: 1.5, ..Settings::default() },
        ] {
            assert!(Ddpg::new(settings, 1, &mut rng).is_err(), "{settings:?}");
        }
    }
}
