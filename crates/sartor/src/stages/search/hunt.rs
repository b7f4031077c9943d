//! One search with the predictor, and which of what it saw is worth measuring.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use anyhow::Result;
use sartor_engine::pool::in_pool;
use sartor_predictor::Predictor;
use sartor_search::strategies::{by_name, evolution};
use sartor_search::{
    Control, Domain, Evaluation, Metric, ObserverMode, Outcome, Remembered, Runner, SearchError, Strategy,
};
use sartor_space::{Block, BlockBits, Candidate, SearchSpace};

use super::limits::Limits;
use crate::config::sections::Search as Settings;
use crate::methods::Tried;
use crate::progress::{Progress, seconds};
use crate::records::Generation;
use crate::session::Session;
use crate::stages::Stage;
use crate::stages::profile::Prices;

/// What is searched for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Every choice is open.
    Searched,
    /// All searched layers at this width (the nearest allowed one).
    Uniform(u8),
}

impl Kind {
    /// Its name in artefacts.
    pub fn role(self) -> String {
        match self {
            Kind::Searched => "searched".to_owned(),
            Kind::Uniform(bits) => format!("uniform-{bits}"),
        }
    }

    /// Whether a block's choice is of this kind; a skipped block always is.
    fn allows(self, space: &SearchSpace, block: Option<Block>, bits: Option<BlockBits>) -> bool {
        match (self, block, space.bits()) {
            (Kind::Uniform(width), Some(block), Some(choices)) => {
                bits == choices.nearest(block.kernel, BlockBits::uniform(width))
            }
            _ => true,
        }
    }
}

/// Everything `limits` allows of a kind, handed to `work`.
///
/// # Errors
/// When there is nothing: which limit binds, and the closest value. Otherwise what `work` fails with.
pub fn within<T>(
    limits: &Limits,
    prices: &Prices,
    kind: Kind,
    work: impl FnOnce(&Domain<'_>) -> Result<T>,
) -> Result<T> {
    let whole = |candidate: &Candidate| prices.whole(candidate);
    let allowed =
        |_: usize, block: Option<Block>, bits: Option<BlockBits>| kind.allows(prices.space(), block, bits);
    work(&limits.domain(prices, &whole, &allowed)?)
}

/// A candidate to be measured.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// What it stands for.
    pub role: String,
    /// The candidate.
    pub candidate: Candidate,
    /// What the predictor says.
    pub predicted: f64,
}

impl Wanted {
    /// A candidate that a method chose freely.
    pub fn searched(evaluation: Evaluation) -> Self {
        let Evaluation { candidate, score, .. } = evaluation;
        Self { role: Kind::Searched.role(), candidate, predicted: score }
    }

    /// The same candidate as the method's own choice.
    pub fn into_searched(self) -> Self {
        Self { role: Kind::Searched.role(), ..self }
    }
}

/// What a search found.
#[derive(Debug, Clone)]
pub struct Found {
    kind: Kind,
    /// Best by prediction.
    pub best: Evaluation,
    /// Candidates scored.
    pub evaluated: u64,
    /// Why it stopped.
    pub stop_reason: &'static str,
    /// Seconds it took.
    pub seconds: f64,
    /// Generation by generation.
    pub history: Vec<Generation>,
    /// Predicted accuracy against latency and energy.
    pub front: Vec<Evaluation>,
    /// Widths and bits that it looked at.
    pub tried: Tried,
    /// Best by prediction, each candidate once, the best first.
    top: Vec<Evaluation>,
}

impl Found {
    fn of(kind: Kind, outcome: Outcome, seconds: f64) -> Self {
        Self {
            kind,
            best: outcome.best,
            evaluated: outcome.evaluated,
            stop_reason: outcome.stop_reason.name(),
            seconds,
            history: Vec::new(),
            front: outcome.front.sorted().into_iter().cloned().collect(),
            tried: Tried::default(),
            top: Vec::new(),
        }
    }

    /// For people.
    pub fn describe(&self) -> String {
        format!(
            "{} candidates in {}, stopped: {}; best predicted {:.2} %",
            self.evaluated,
            seconds(self.seconds),
            self.stop_reason,
            100.0 * self.best.score
        )
    }
}

/// Runs one search.
///
/// # Errors
/// An infeasible budget.
pub fn run(
    session: &Session,
    limits: &Limits,
    prices: &Prices,
    predictor: &Predictor,
    kind: Kind,
) -> Result<Found> {
    within(limits, prices, kind, |domain| loop_over(session, domain, predictor, kind))
}

/// Searches a domain with a predictor, as `[search]` says.
///
/// # Errors
/// Whatever the strategy or the predictor fails with.
pub fn loop_over(session: &Session, domain: &Domain<'_>, predictor: &Predictor, kind: Kind) -> Result<Found> {
    let (settings, seed) = (&session.config.search, session.seed(Stage::Search));
    in_pool(|| loop_in_pool(settings, seed, domain, predictor, kind))
}

fn loop_in_pool(
    settings: &Settings,
    seed: u64,
    domain: &Domain<'_>,
    predictor: &Predictor,
    kind: Kind,
) -> Result<Found> {
    let started = Instant::now();
    let keep = settings.rounds * settings.measure.max(settings.measure_references);
    let (mut history, mut top, mut tried) = (Vec::new(), Top::new(keep), Tried::default());
    let title = format!("{} {}", Stage::Search.title(), kind.role());
    let mut progress = Progress::new(&title, settings.generations as u64 + 1, 0);
    let observe = |seen: &sartor_search::Progress<'_>| {
        history.push(generation(seen));
        progress.at(seen.generation, &format!("best predicted {:.2} %", 100.0 * seen.best.score));
        seen.batch.iter().for_each(|evaluation| {
            top.offer(evaluation);
            tried.note(&evaluation.candidate);
        });
        Control::Continue
    };
    let mut known = Remembered::default();
    let outcome = Runner::new(domain, strategy(settings)?, seed)
        .with_limits(sartor_search::Limits { generations: settings.generations as u64, ..Default::default() })
        .with_front([Metric::LatencyMs, Metric::EnergyMj])
        .with_observer(ObserverMode::Always, observe)
        .run(|candidates| known.scores(candidates, |fresh| score(predictor, fresh)))?;
    let seconds = started.elapsed().as_secs_f64();
    Ok(Found { history, tried, top: top.sorted(), ..Found::of(kind, outcome, seconds) })
}

/// What the predictor says.
///
/// # Errors
/// What it fails with, as the search's error.
pub fn score(predictor: &Predictor, candidates: &[Candidate]) -> Result<Vec<f64>, SearchError> {
    let scores = predictor.score(candidates);
    scores.map_err(|error| SearchError::Evaluation { message: error.to_string() })
}

/// The strategy of `[search]`.
///
/// # Errors
/// Settings that it refuses.
pub fn strategy(settings: &Settings) -> Result<Box<dyn Strategy>> {
    if settings.strategy != "evolution" {
        return Ok(by_name(&settings.strategy, &[Metric::LatencyMs, Metric::EnergyMj])?);
    }
    let mutated = (settings.population as f64 * settings.mutation_share).round() as usize;
    Ok(Box::new(evolution::Evolution::new(evolution::Settings {
        population: settings.population,
        parents: settings.parents,
        mutated,
        crossed: settings.population - mutated.min(settings.population),
        mutation_probability: settings.mutation_probability,
    })?))
}

/// A generation as the history has it.
pub fn generation(seen: &sartor_search::Progress<'_>) -> Generation {
    let sum: f64 = seen.batch.iter().map(|evaluation| evaluation.score).sum();
    Generation {
        generation: seen.generation - 1,
        evaluated: seen.evaluated,
        best: seen.best.score,
        mean: sum / seen.batch.len().max(1) as f64,
    }
}

/// The best few candidates seen, each once.
pub struct Top {
    keep: usize,
    seen: BTreeMap<Candidate, Evaluation>,
}

impl Top {
    /// Keeps so many.
    pub fn new(keep: usize) -> Self {
        Self { keep, seen: BTreeMap::new() }
    }

    /// Considers a candidate.
    pub fn offer(&mut self, evaluation: &Evaluation) {
        if self.seen.contains_key(&evaluation.candidate) {
            return;
        }
        self.seen.insert(evaluation.candidate.clone(), evaluation.clone());
        if self.seen.len() > 16 * self.keep {
            self.prune();
        }
    }

    fn prune(&mut self) {
        let kept = self.take_sorted().into_iter().take(self.keep);
        self.seen = kept.map(|evaluation| (evaluation.candidate.clone(), evaluation)).collect();
    }

    fn take_sorted(&mut self) -> Vec<Evaluation> {
        let mut all: Vec<Evaluation> = std::mem::take(&mut self.seen).into_values().collect();
        all.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.candidate.cmp(&b.candidate)));
        all
    }

    /// The best, best first.
    pub fn sorted(mut self) -> Vec<Evaluation> {
        let mut all = self.take_sorted();
        all.truncate(self.keep);
        all
    }
}

/// `count` candidates that nobody has measured: the best by prediction, but `spread` of them along the Pareto front
/// by latency.
pub fn to_measure(found: &Found, count: usize, spread: usize, known: &BTreeSet<String>) -> Vec<Wanted> {
    let fresh = |evaluation: &&Evaluation| !known.contains(&evaluation.candidate.id());
    let mut chosen: Vec<&Evaluation> =
        found.top.iter().filter(fresh).take(count.saturating_sub(spread)).collect();
    let mut front: Vec<&Evaluation> = found
        .front
        .iter()
        .filter(fresh)
        .filter(|member| chosen.iter().all(|other| other.candidate != member.candidate))
        .collect();
    front.sort_by(|a, b| a.costs.get(Metric::LatencyMs).total_cmp(&b.costs.get(Metric::LatencyMs)));
    chosen.extend(evenly(&front, spread));
    let wanted = |evaluation: &Evaluation| Wanted {
        role: found.kind.role(),
        candidate: evaluation.candidate.clone(),
        predicted: evaluation.score,
    };
    chosen.into_iter().map(wanted).collect()
}

/// `count` members at even distances; all of them if there are fewer.
fn evenly<'a, T>(members: &[&'a T], count: usize) -> Vec<&'a T> {
    let count = count.min(members.len());
    (0..count).map(|index| members[(2 * index + 1) * members.len() / (2 * count)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_choices_are_distinct_and_ordered() {
        let numbers: Vec<usize> = (0..10).collect();
        let members: Vec<&usize> = numbers.iter().collect();
        assert_eq!(evenly(&members, 3), [&1, &5, &8]);
        assert_eq!(evenly(&members, 20).len(), 10);
        assert!(evenly::<usize>(&[], 3).is_empty());
    }
}
