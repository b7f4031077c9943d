//! Search: the best mixed-precision candidate under the budget, and the best uniform ones beside it. What the
//! predictor likes best is measured before anything is chosen.

mod hunt;
mod limits;
mod remeasure;

use anyhow::Result;
use sartor_space::SearchSpace;
use serde_json::Value;

pub use hunt::{Found, Kind};

use super::Stage;
use super::fit::FittedPredictor;
use super::profile::Prices;
use super::train::TrainedSupernet;
use crate::records::{Best, Costs, Generation, Measured};
use crate::run_folder::artefact::Artefact;
use crate::run_folder::checkpoint::Checkpoint;
use crate::session::Session;
use crate::talk;
use crate::warnings::Warning;
use limits::Limits;

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
    predictor: &FittedPredictor,
    prices: &Prices,
) -> Result<Choice> {
    let config = &session.config;
    let inputs = session
        .inputs()
        .section("search", &config.search)
        .section("samples.finetune", &config.samples.finetune);
    let inputs =
        inputs.artefacts(supernet.artefacts()).artefacts(predictor.artefacts()).artefacts(prices.artefacts());
    let artefacts = session.stage(Stage::Search, inputs.build(), |checkpoint| {
        search(session, supernet, predictor, prices, checkpoint)
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
    predictor: &FittedPredictor,
    prices: &Prices,
    checkpoint: &Checkpoint,
) -> Result<Vec<String>> {
    let limits = Limits::resolve(&session.config.search.budget, &session.config.space, prices)?;
    let predictor = predictor.load(session)?;
    let found = hunt::run(session, &limits, prices, &predictor, Kind::Searched)?;
    talk::stage_line(Stage::Search.title(), &found.describe());
    let mut wanted = hunt::to_measure(&found, session.config.search.measure);
    for &bits in &session.config.search.references {
        wanted.extend(reference(session, &limits, prices, &predictor, bits)?);
    }
    let weights = supernet.weights(session)?;
    let front = remeasure::run(session, &weights, &wanted, prices, checkpoint)?;
    write(session, &limits, prices, &found, front)
}

/// The best candidates of one width, or a warning that there are none under this budget.
fn reference(
    session: &Session,
    limits: &Limits,
    prices: &Prices,
    predictor: &sartor_predictor::Predictor,
    bits: u8,
) -> Result<Vec<hunt::Wanted>> {
    match hunt::run(session, limits, prices, predictor, Kind::Uniform(bits)) {
        Ok(found) => Ok(hunt::to_measure(&found, session.config.search.measure_references)),
        Err(error) if crate::failure::exit_code(&error) == crate::failure::Exit::Infeasible => {
            session.warn(&[Warning::NoReference { bits, reason: error.to_string() }]);
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}

fn write(
    session: &Session,
    limits: &Limits,
    prices: &Prices,
    found: &Found,
    front: Vec<Measured>,
) -> Result<Vec<String>> {
    let best = choose(session, limits, prices, found, &front)?;
    talk::stage_line(
        Stage::Search.title(),
        &format!("chosen {}: {} of validation", best.best.id, best.best.measured),
    );
    session.folder.write(HISTORY, &history(&found.history)?)?;
    session.folder.write_json(FRONT, &front)?;
    session.folder.write_json(BEST, &best)?;
    Ok([HISTORY, FRONT, BEST].map(str::to_owned).into())
}

/// The most accurate measured candidate of every role.
fn choose(
    session: &Session,
    limits: &Limits,
    prices: &Prices,
    found: &Found,
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

/// One search with the predictor alone, under other limits than the run's: nothing in the run folder changes.
///
/// # Errors
/// An infeasible budget, exit code 3.
pub fn answer(
    session: &Session,
    budget: &crate::config::sections::Budget,
    predictor: &FittedPredictor,
    prices: &Prices,
) -> Result<(Found, Costs)> {
    let limits = Limits::resolve(budget, &session.config.space, prices)?;
    let found = hunt::run(session, &limits, prices, &predictor.load(session)?, Kind::Searched)?;
    Ok((found, limits.as_costs()))
}
