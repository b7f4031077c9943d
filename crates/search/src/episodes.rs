//! # Episodes: a candidate decided step by step by an agent, worth what it scores
//!
//! The loop that AMC and HAQ share: an episode walks over the layers, the candidate it ends with is scored once, and
//! every step of the episode is given that reward. During the warm-up actions are random and nothing is learned;
//! then there is one update for every step, and exploration calms down after every episode.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use sartor_space::Candidate;

use crate::ddpg::{Ddpg, Step};
use crate::domain::Domain;
use crate::error::SearchError;
use crate::evaluation::Evaluation;

/// Best candidates kept.
const KEPT: usize = 64;

/// How many episodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    /// All of them.
    pub episodes: usize,
    /// Those with random actions at the beginning.
    pub warm_up: usize,
}

/// What an observer is told after an episode.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Episode {
    /// From 0.
    pub index: usize,
    /// What its candidate scored.
    pub score: f64,
    /// Best so far.
    pub best: f64,
    /// Standard deviation of the exploration.
    pub noise: f64,
}

/// What all episodes found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The best candidates, each once, the best first.
    pub ranked: Vec<Evaluation>,
    /// Episode by episode.
    pub history: Vec<Episode>,
}

/// An episode's view of the agent.
pub(crate) struct Walk<'a> {
    agent: &'a Ddpg,
    rng: &'a mut ChaCha8Rng,
    random: bool,
    steps: Vec<(Vec<f32>, f32)>,
}

impl Walk<'_> {
    /// The agent's action, 0 to 1, for what it sees.
    pub fn act(&mut self, state: Vec<f32>) -> f64 {
        let action = if self.random { self.rng.random() } else { self.agent.explore(&state, self.rng) };
        self.steps.push((state, action as f32));
        action
    }

    /// What was done instead, when the budget left no choice.
    pub fn corrected(&mut self, action: f64) {
        if let Some(last) = self.steps.last_mut() {
            last.1 = action.clamp(0.0, 1.0) as f32;
        }
    }
}

/// Runs all episodes. `decide` walks to a candidate within the budget, `score` says how good it is, `reward` what that
/// is worth.
pub(crate) fn run(
    (domain, schedule): (&Domain<'_>, Schedule),
    (agent, rng): (&mut Ddpg, &mut ChaCha8Rng),
    mut decide: impl FnMut(&mut Walk<'_>) -> Result<Candidate, SearchError>,
    score: &mut dyn FnMut(&Candidate) -> Result<f64, SearchError>,
    reward: impl Fn(f64) -> f64,
    observe: &mut dyn FnMut(&Episode),
) -> Result<Found, SearchError> {
    let mut found = Found { ranked: Vec::new(), history: Vec::new() };
    for index in 0..schedule.episodes {
        let random = index < schedule.warm_up;
        let mut walk = Walk { agent: &*agent, rng: &mut *rng, random, steps: Vec::new() };
        let candidate = decide(&mut walk)?;
        let steps = walk.steps;
        let value = score(&candidate)?;
        if !value.is_finite() {
            return Err(SearchError::BadScore { index, score: value });
        }
        learn((agent, rng), &steps, reward(value) as f32, random);
        offer(&mut found.ranked, domain, candidate, value);
        let best = found.ranked.first().map_or(value, |best| best.score);
        let episode = Episode { index, score: value, best, noise: agent.noise() };
        observe(&episode);
        found.history.push(episode);
    }
    Ok(found)
}

fn learn((agent, rng): (&mut Ddpg, &mut ChaCha8Rng), steps: &[(Vec<f32>, f32)], reward: f32, random: bool) {
    for (place, (state, action)) in steps.iter().enumerate() {
        let next = steps.get(place + 1).map(|(state, _)| state.clone());
        agent.remember(Step { state: state.clone(), action: *action, reward, next });
    }
    if !random {
        steps.iter().for_each(|_| agent.learn(rng));
        agent.calm();
    }
}

/// Keeps the list of the best, each once; the first found of equals stands first.
fn offer(ranked: &mut Vec<Evaluation>, domain: &Domain<'_>, candidate: Candidate, score: f64) {
    if ranked.iter().any(|known| known.candidate == candidate) {
        return;
    }
    let place = ranked.partition_point(|known| known.score >= score);
    let costs = domain.costs(&candidate);
    ranked.insert(place, Evaluation { candidate, score, costs });
    ranked.truncate(KEPT);
}
