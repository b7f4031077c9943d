//! Which pairs to measure next, and whether choosing them beats chance.
//!
//! `disagreement`: where the predictor's spread is widest among random candidates. `front`: where the optimistic
//! prediction (mean + spread) is highest among candidates within the run's budget. The study plays the choice through
//! on pairs whose accuracies are known: a part is held out, a predictor is fitted on half of the rest, and the next
//! pairs are chosen among the other half, at equal numbers. It is played with the process, which has a spread of its own and
//! is fitted in a fraction of a second.

use std::collections::HashSet;

use anyhow::Result;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sartor_predictor::{
    Interval as LibraryInterval, Method, Pairs, Predictor, choose_next, pairwise_accuracy,
};
use sartor_space::Candidate;
use serde::Serialize;

use super::{Row, parse, row, sampler, to_csv};
use crate::progress::Progress;
use crate::records::Interval;
use crate::session::Session;
use crate::stages::profile::Prices;
use crate::stages::search::hunt::{self, Kind};
use crate::stages::search::limits::Limits;
use crate::stages::train::TrainedSupernet;
use crate::stages::{Stage, quality};

/// Chosen pairs, in the run folder.
pub const FILE: &str = "accuracies-more.csv";
/// The study, in the run folder.
pub const STUDY: &str = "choice-study.json";
/// Candidates drawn per pair that is chosen.
const POOL: usize = 20;
/// Splits of the study.
const SEEDS: u64 = 8;

/// A way to choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Where the ensemble disagrees.
    Disagreement,
    /// Near the front.
    Front,
    /// At random.
    Random,
}

impl Way {
    const ALL: [Way; 3] = [Way::Disagreement, Way::Front, Way::Random];

    /// The way of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|way| way.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Disagreement => "disagreement",
            Self::Front => "front",
            Self::Random => "random",
        }
    }

    /// Positions in the pool, best first.
    fn choose(self, predictor: &Predictor, pool: &[Candidate], count: usize) -> Result<Vec<usize>> {
        match self {
            Self::Disagreement => Ok(choose_next(predictor, pool, count)?),
            Self::Random => Ok((0..count.min(pool.len())).collect()),
            Self::Front => {
                let hope: Vec<f64> =
                    predictor.predict(pool)?.iter().map(|said| said.mean + said.spread).collect();
                let mut order: Vec<usize> = (0..pool.len()).collect();
                order.sort_by(|&a, &b| hope[b].total_cmp(&hope[a]).then(a.cmp(&b)));
                order.truncate(count);
                Ok(order)
            }
        }
    }
}

/// What the study says about one way.
#[derive(Debug, Clone, Serialize)]
pub struct Studied {
    /// The way.
    pub way: &'static str,
    /// Pairwise accuracy on held-out pairs after the chosen pairs were learnt, over splits.
    pub pairwise_accuracy: Interval,
    /// The same minus that of random choice, split by split.
    pub minus_random: Interval,
}

/// The study on known pairs.
#[derive(Debug, Clone, Serialize)]
pub struct Study {
    /// Pairs fitted on before choosing.
    pub start: usize,
    /// Pairs chosen.
    pub chosen: usize,
    /// Held-out pairs.
    pub held_out: usize,
    /// Splits.
    pub splits: u64,
    /// One entry per way, random last.
    pub ways: Vec<Studied>,
    /// In words.
    pub verdict: String,
}

/// Plays every way through on pairs that are known.
///
/// # Errors
/// Too few pairs, or whatever fitting fails with.
pub fn study(session: &Session, base: &Predictor, pairs: &Pairs) -> Result<Study> {
    let held_out = quality::held_out(pairs.len(), session.config.predictor.holdout);
    let start = (pairs.len() - held_out) / 2;
    let chosen = (pairs.len() - held_out - start) / 2;
    let mut found: Vec<Vec<f64>> = vec![Vec::new(); Way::ALL.len()];
    let mut progress = Progress::new("study of choosing", SEEDS, 0);
    for seed in 0..SEEDS {
        let (rest, asked) = pairs.split(pairs.len() - held_out, seed);
        let (known, pool) = rest.split(start, seed);
        let first = refit(session, base, &known, seed)?;
        for (values, way) in found.iter_mut().zip(Way::ALL) {
            let mut learnt = known.clone();
            let picked = pool.select(&way.choose(&first, &pool.candidates, chosen)?);
            let more = picked.candidates.into_iter().zip(picked.accuracies);
            more.for_each(|(candidate, accuracy)| learnt.push(candidate, accuracy));
            let scores = refit(session, base, &learnt, seed)?.score(&asked.candidates)?;
            values.push(pairwise_accuracy(&scores, &asked.accuracies).unwrap_or(0.5));
        }
        progress.at(seed + 1, "");
    }
    let ways = summary(&found);
    let verdict = verdict(&ways);
    Ok(Study { start, chosen, held_out, splits: SEEDS, ways, verdict })
}

fn refit(session: &Session, base: &Predictor, pairs: &Pairs, seed: u64) -> Result<Predictor> {
    let settings = &session.config.predictor;
    Ok(base.transfer_to_judge(pairs, Some(Method::Process), &settings.transfer(), seed)?)
}

fn summary(found: &[Vec<f64>]) -> Vec<Studied> {
    let random = &found[found.len() - 1];
    let interval = |values: &[f64]| {
        let nothing = LibraryInterval { value: 0.0, low: 0.0, high: 0.0 };
        let LibraryInterval { value, low, high } = LibraryInterval::over_seeds(values).unwrap_or(nothing);
        Interval { value, low, high }
    };
    let one = |(way, values): (Way, &Vec<f64>)| {
        let differences: Vec<f64> = values.iter().zip(random).map(|(a, b)| a - b).collect();
        Studied { way: way.name(), pairwise_accuracy: interval(values), minus_random: interval(&differences) }
    };
    Way::ALL.into_iter().zip(found).map(one).collect()
}

fn verdict(ways: &[Studied]) -> String {
    let one = |studied: &Studied| {
        let Interval { value, low, high } = studied.minus_random;
        let judged = match () {
            () if low > 0.0 => "beats random choice",
            () if high < 0.0 => "is worse than random choice",
            () => "does not differ from random choice beyond chance",
        };
        let points = [value, low, high].map(|share| format!("{:+.2}", 100.0 * share));
        format!("{} {judged} ({} points [{}, {}])", studied.way, points[0], points[1], points[2])
    };
    let all: Vec<String> = ways.iter().filter(|studied| studied.way != Way::Random.name()).map(one).collect();
    all.join("; ")
}

/// Chooses `count` pairs and measures them; those of earlier calls are kept. Returns how many chosen pairs there are.
///
/// # Errors
/// Whatever measuring or writing fails with.
pub fn measure(
    session: &Session,
    supernet: &TrainedSupernet,
    (predictor, known): (&Predictor, &Pairs),
    prices: &Prices,
    (count, way): (usize, Way),
) -> Result<usize> {
    let path = session.folder.path(FILE);
    let mut rows: Vec<Row> = if path.is_file() { parse(&std::fs::read(&path)?)? } else { Vec::new() };
    let pool = pool(session, prices, way, (count, rows.len()), known)?;
    let weights = supernet.weights(session)?;
    let mut sampler = sampler(session, &weights, Stage::SampleMixedPrecision)?;
    let mut progress = Progress::new("measure chosen pairs", count as u64, 0);
    for (done, place) in way.choose(predictor, &pool, count)?.into_iter().enumerate() {
        let accuracy = sampler.measure_mixed(&pool[place], known.len() + done)?;
        rows.push(row(session, &pool[place], accuracy));
        session.folder.write(FILE, &to_csv(&rows)?)?;
        progress.at(done as u64 + 1, "");
    }
    Ok(rows.len())
}

/// Candidates that nobody has measured: of the space, or within the run's budget.
fn pool(
    session: &Session,
    prices: &Prices,
    way: Way,
    (count, before): (usize, usize),
    known: &Pairs,
) -> Result<Vec<Candidate>> {
    let mut rng = ChaCha8Rng::seed_from_u64(session.seed(Stage::SampleMixedPrecision));
    rng.set_stream(1 + before as u64);
    let space = &session.config.space;
    let limits = Limits::resolve(&session.config.search.budget, space, prices)?;
    let mut pool: Vec<Candidate> = hunt::within(&limits, prices, Kind::Searched, |domain| {
        let one = |_: usize| match way {
            Way::Front => Ok(domain.sample(&mut rng)?),
            Way::Disagreement | Way::Random => Ok(space.random_candidate(&mut rng)),
        };
        (0..POOL * count).map(one).collect()
    })?;
    let mut seen: HashSet<Candidate> = known.candidates.iter().cloned().collect();
    pool.retain(|candidate| seen.insert(candidate.clone()));
    Ok(pool)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_follows_the_interval() {
        let ways = summary(&[vec![0.8, 0.81, 0.8], vec![0.7, 0.76, 0.72], vec![0.7, 0.71, 0.7]]);
        assert_eq!(ways[2].minus_random.value, 0.0);
        let text = verdict(&ways);
        assert!(text.starts_with("disagreement beats random choice"), "{text}");
        assert!(text.contains("front does not differ"), "{text}");
        assert_eq!(Way::named("front"), Some(Way::Front));
    }
}
