//! Search: the best mixed-precision candidate under the budget, and the best uniform ones beside it. What the
//! predictor likes best is measured, the predictor learns from it, and only what was measured can be chosen.

pub mod asking;
pub mod baselines;
pub mod fleet;
pub mod hunt;
mod knowledge;
pub mod limits;
pub mod proposed;
mod remeasure;

use std::collections::BTreeSet;

use anyhow::Result;
use sartor_predictor::Predictor;
use sartor_space::SearchSpace;
use serde_json::Value;

pub use hunt::{Found, Kind};
pub use knowledge::Knowledge;

use super::Stage;
use super::profile::Prices;
use super::train::TrainedSupernet;
use crate::methods::{self, Meter};
use crate::records::{Best, Counters, Generation, Measured};
use crate::run_folder::artefact::Artefact;
use crate::run_folder::checkpoint::Checkpoint;
use crate::session::{SEARCH_SECONDS, Session};
use crate::talk;
use crate::warnings::Warning;
use limits::Limits;
use remeasure::Round;

const HISTORY: &str = "search/history.csv";
const FRONT: &str = "search/front.json";
/// Artefact of the choice.
pub const BEST: &str = "search/best.json";

/// What the search chose, in the run folder.
#[derive(Debug)]
pub struct Choice {
    artefacts: Vec<Artefact>,
}

impl Choice {
    fn of(artefacts: Vec<Artefact>) -> Self {
        Self { artefacts }
    }

    /// What later stages depend on.
    pub fn artefacts(&self) -> &[Artefact] {
        &self.artefacts
    }

    /// The chosen candidates.
    ///
    /// # Errors
    /// When the artefact cannot be understood.
    pub fn best(&self, session: &Session) -> Result<Best> {
        session.folder.read_json(BEST)
    }
}

/// Proves, before anything is trained, that the budget can be met.
///
/// # Errors
/// When it cannot: which limit, and the closest value.
pub fn check_budget(session: &Session, prices: &Prices) -> Result<()> {
    let limits = Limits::resolve(&session.config.search.budget, &session.config.space, prices)?;
    talk::stage_line("budget", &limits.describe());
    hunt::within(&limits, prices, Kind::Searched, |_| Ok(()))
}

/// Searches and measures, or keeps what is there.
///
/// # Errors
/// An infeasible budget, or whatever measuring fails with.
pub fn run(
    session: &Session,
    supernet: &TrainedSupernet,
    knowledge: &Knowledge<'_>,
    prices: &Prices,
) -> Result<Choice> {
    let config = &session.config;
    let inputs = session
        .inputs()
        .section("search", &config.search)
        .section("samples.finetune", &config.samples.finetune)
        .section("predictor", &config.predictor);
    let inputs = inputs.values(session.other_seed());
    let inputs = inputs
        .artefacts(supernet.artefacts())
        .artefacts(&knowledge.artefacts())
        .artefacts(prices.artefacts());
    let artefacts = session.stage(Stage::Search, inputs.build(), |checkpoint| {
        search(session, supernet, knowledge, prices, checkpoint)
    })?;
    Ok(Choice { artefacts })
}

/// What an earlier process chose.
///
/// # Errors
/// When it has not.
pub fn finished(session: &Session) -> Result<Choice> {
    Ok(Choice { artefacts: session.finished(Stage::Search)? })
}

fn search(
    session: &Session,
    supernet: &TrainedSupernet,
    knowledge: &Knowledge<'_>,
    prices: &Prices,
    checkpoint: &Checkpoint,
) -> Result<Vec<String>> {
    let limits = Limits::resolve(&session.config.search.budget, &session.config.space, prices)?;
    let weights = supernet.weights(session)?;
    let rounds = session.config.search.rounds;
    let (mut front, mut last, mut meter) = (Vec::new(), None, Meter::default());
    let mut searching = 0.0;
    for number in 1..=rounds {
        let predictor = knowledge.after(session, &front)?;
        let hunt = || hunt::run(session, &limits, prices, &predictor, Kind::Searched);
        let found = meter.looking_up(prices, hunt)?;
        searching += found.seconds;
        meter.asked_predictor(found.evaluated);
        meter.tried(&found.tried);
        talk::stage_line(Stage::Search.title(), &format!("round {number} of {rounds}: {}", found.describe()));
        let wanted = wanted(session, &limits, prices, &predictor, &found, &front, number)?;
        let round = Round { number, wanted: &wanted };
        front = remeasure::run(session, &weights, &round, front, prices, checkpoint)?;
        if number < rounds {
            front.iter().filter(|one| one.round == number).for_each(|one| meter.measured(one.work));
        }
        last = Some(found);
    }
    session.note_measured(SEARCH_SECONDS, searching)?;
    let found = last.ok_or_else(|| anyhow::anyhow!("no round was searched"))?;
    write(session, (&limits, prices), (&found, meter.counters()), front)
}

/// What a round measures: the search's own candidates, then the references'.
fn wanted(
    session: &Session,
    limits: &Limits,
    prices: &Prices,
    predictor: &Predictor,
    found: &Found,
    front: &[Measured],
    number: usize,
) -> Result<Vec<hunt::Wanted>> {
    let settings = &session.config.search;
    let known: BTreeSet<String> = front.iter().map(|measured| measured.id.clone()).collect();
    let spread = if number == settings.rounds { settings.measure / 2 } else { 0 };
    let mut wanted = hunt::to_measure(found, settings.measure, spread, &known);
    for &bits in &settings.references {
        let found = reference(session, limits, prices, predictor, bits, number == 1)?;
        wanted.extend(
            found.iter().flat_map(|found| hunt::to_measure(found, settings.measure_references, 0, &known)),
        );
    }
    Ok(wanted)
}

/// The best candidates of one width; none, with a warning in the first round, if nothing meets the budget.
fn reference(
    session: &Session,
    limits: &Limits,
    prices: &Prices,
    predictor: &Predictor,
    bits: u8,
    warn: bool,
) -> Result<Option<Found>> {
    match hunt::run(session, limits, prices, predictor, Kind::Uniform(bits)) {
        Ok(found) => Ok(Some(found)),
        Err(error) if crate::failure::exit_code(&error) == crate::failure::Exit::Infeasible => {
            if warn {
                session.warn(&[Warning::NoReference { bits, reason: error.to_string() }]);
            }
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn write(
    session: &Session,
    (limits, prices): (&Limits, &Prices),
    (found, counters): (&Found, Counters),
    front: Vec<Measured>,
) -> Result<Vec<String>> {
    let best = choose(session, (limits, prices), (found, counters), &front)?;
    keep(session, &best, &found.history, &front)
}

/// Leaves the stage's artefacts.
fn keep(session: &Session, best: &Best, rows: &[Generation], front: &[Measured]) -> Result<Vec<String>> {
    talk::stage_line(
        Stage::Search.title(),
        &format!("chosen {}: {} of validation", best.best.id, best.best.measured),
    );
    session.folder.write(HISTORY, &history(rows)?)?;
    session.folder.write_json(FRONT, &front)?;
    session.folder.write_json(BEST, best)?;
    Ok([HISTORY, FRONT, BEST].map(str::to_owned).into())
}

/// The most accurate measured candidate of every role.
fn choose(
    session: &Session,
    (limits, prices): (&Limits, &Prices),
    (found, counters): (&Found, Counters),
    front: &[Measured],
) -> Result<Best> {
    let of_role = |role: &str| {
        let mine = front.iter().filter(|measured| measured.role == role);
        mine.reduce(|best, other| if better(other, best) { other } else { best }).cloned()
    };
    let best = of_role(&Kind::Searched.role()).ok_or_else(|| anyhow::anyhow!("nothing was measured"))?;
    let references = session.config.search.references.iter();
    let references: Vec<_> = references.filter_map(|&bits| of_role(&Kind::Uniform(bits).role())).collect();
    let chosen = std::iter::once(&best).chain(&references).map(|measured| &measured.candidate);
    Ok(Best {
        extrapolated: any_extrapolated(&session.config.space, prices, chosen)?,
        best,
        references,
        budget: limits.as_costs(),
        largest: limits.largest.clone(),
        evaluated: found.evaluated,
        stop_reason: found.stop_reason.to_owned(),
        feasible_share: limits.feasible_share(prices, &mut session.random(Stage::Search))?,
        method: methods::DEFAULT.to_owned(),
        counters,
    })
}

/// Measured first, predicted second.
fn better(one: &Measured, other: &Measured) -> bool {
    (one.measured.value, one.predicted) > (other.measured.value, other.predicted)
}

fn any_extrapolated<'a>(
    space: &SearchSpace,
    prices: &Prices,
    candidates: impl Iterator<Item = &'a Value>,
) -> Result<bool> {
    for candidate in candidates {
        let candidate = sartor_space::Candidate::from_json(&candidate.to_string(), space)?;
        if prices.extrapolated(&space.lower(&candidate)) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn history(rows: &[Generation]) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    rows.iter().try_for_each(|row| writer.serialize(row))?;
    writer.into_inner().map_err(|error| anyhow::anyhow!("cannot write the history: {error}"))
}
