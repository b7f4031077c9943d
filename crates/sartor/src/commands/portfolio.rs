//! `sartor portfolio`: the fewest models that serve several chips or budgets, from a finished run.
//!
//! A model serves a target if it meets the target's budget and is predicted at most `loss` points worse than the best
//! model for that target alone. What serves a set of targets serves each of its subsets, so sets are built up from
//! smaller ones that can be served (as in the Apriori algorithm, Agrawal and Srikant 1994), each tried by one search
//! under all its budgets; the fewest sets that cover all targets are then found exactly. The searches are heuristic:
//! a set that no model was found for may still have one. Sets of more than four targets are only served by models that are
//! known already.

use std::collections::BTreeMap;

use anyhow::Result;
use sartor_search::{CHIPS, Evaluation};
use serde_json::json;

use super::asked::Asked;
use crate::cli::{Global, PortfolioArguments};
use crate::failure::{self, Exit, Failure};
use crate::progress::Progress;
use crate::report::{amount, plain_name};
use crate::stages::Stage;
use crate::stages::search::asking::{Asking, Effort};
use crate::stages::search::fleet::{Chip, Fleet};
use crate::talk;

/// Most targets: their sets are counted in the bits of a number.
const MOST_TARGETS: usize = 12;

/// Models by the set of targets that they serve.
type Served = BTreeMap<u32, Evaluation>;

/// Finds the models.
///
/// # Errors
/// A target that nothing meets (exit code 3), or too many targets.
pub fn run(arguments: &PortfolioArguments, global: &Global) -> Result<()> {
    let asked = Asked::open(&arguments.target, global)?;
    check(arguments)?;
    let flags = arguments.budget.budget();
    let chips = arguments.hardware.iter().map(|chip| asked.chip(Some(chip), &flags, None));
    let chips: Vec<Chip> = chips.collect::<Result<_>>()?;
    let asking = Asking::new(&asked.session.config.search, &asked.predictor);
    let portfolio = Portfolio { chips: &chips, asking: &asking, loss: arguments.loss / 100.0 };
    let seed = asked.session.seed(Stage::Search);
    let own = portfolio.own(seed)?;
    let served = portfolio.grow(&own, seed)?;
    let cover = fewest(chips.len(), &served.keys().copied().collect::<Vec<_>>());
    say(
        &asked,
        &portfolio,
        &own,
        &cover.iter().map(|set| (*set, &served[set])).collect::<Vec<_>>(),
        global.json,
    )
}

fn check(arguments: &PortfolioArguments) -> Result<()> {
    if arguments.hardware.len() > MOST_TARGETS {
        let count = arguments.hardware.len();
        return Err(Failure::bad_input(format!("{count} targets, expected at most {MOST_TARGETS}")).into());
    }
    if !(arguments.loss.is_finite() && arguments.loss >= 0.0) {
        let failure =
            Failure::bad_input(format!("--loss is {}, expected zero or more points", arguments.loss));
        return Err(failure.into());
    }
    Ok(())
}

struct Portfolio<'a> {
    chips: &'a [Chip],
    asking: &'a Asking<'a>,
    loss: f64,
}

impl Portfolio<'_> {
    /// The best model of every target alone.
    fn own(&self, seed: u64) -> Result<Vec<Evaluation>> {
        let one = |chip: &Chip| {
            Ok(self.asking.best(&Fleet::new([chip])?, &|_, _, _| true, Effort::Patient, seed)?.best)
        };
        self.chips.iter().map(one).collect()
    }

    /// Every set of targets that one model was found for.
    fn grow(&self, own: &[Evaluation], seed: u64) -> Result<Served> {
        let mut served: Served =
            own.iter().enumerate().map(|(place, best)| (1 << place, best.clone())).collect();
        let mut progress = Progress::new("portfolio", self.chips.len() as u64, 1);
        for size in 2..=self.chips.len() {
            let sets: Vec<u32> = sets(self.chips.len(), size, &served);
            for set in sets {
                if let Some(model) = self.serve(set, own, &served, seed)? {
                    served.insert(set, model);
                }
            }
            progress.at(size as u64, &format!("{} sets of targets", served.len()));
        }
        Ok(served)
    }

    /// A model for all targets of a set: one that is known already, or else the best under all their budgets.
    fn serve(&self, set: u32, own: &[Evaluation], served: &Served, seed: u64) -> Result<Option<Evaluation>> {
        let targets: Vec<usize> = members(set).collect();
        let least = targets.iter().map(|&place| own[place].score).fold(f64::MIN, f64::max) - self.loss;
        for known in served.values().filter(|known| known.score >= least) {
            if self.allows(&targets, known)? {
                return Ok(Some(known.clone()));
            }
        }
        if targets.len() > CHIPS {
            return Ok(None);
        }
        let fleet = Fleet::new(targets.iter().map(|&place| &self.chips[place]))?;
        match self.asking.best(&fleet, &|_, _, _| true, Effort::Patient, seed) {
            Ok(found) => Ok(Some(found.best).filter(|best| best.score >= least)),
            Err(error) if failure::exit_code(&error) == Exit::Infeasible => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn allows(&self, targets: &[usize], model: &Evaluation) -> Result<bool> {
        for &place in targets {
            if !self.chips[place].allows(&model.candidate)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Sets of a size whose subsets, one smaller, can all be served.
fn sets(count: usize, size: usize, served: &Served) -> Vec<u32> {
    let whole = |set: &u32| members(*set).all(|place| served.contains_key(&(set & !(1 << place))));
    (1u32..1 << count).filter(|set| set.count_ones() as usize == size).filter(whole).collect()
}

fn members(set: u32) -> impl Iterator<Item = usize> {
    (0..32).filter(move |place| set >> place & 1 == 1)
}

/// The fewest of the sets that cover all targets, each target given to one of them.
fn fewest(count: usize, sets: &[u32]) -> Vec<u32> {
    let all = (1usize << count) - 1;
    let mut best: Vec<Option<(usize, u32)>> = vec![None; all + 1];
    best[0] = Some((0, 0));
    for done in 1..=all {
        for &set in sets {
            let inside = set as usize & done;
            if inside == 0 {
                continue;
            }
            if let Some((models, _)) = best[done & !inside]
                && best[done].is_none_or(|(fewest, _)| models + 1 < fewest)
            {
                best[done] = Some((models + 1, set));
            }
        }
    }
    let (mut rest, mut cover) = (all, Vec::new());
    while let Some((_, set)) = best[rest].filter(|_| rest > 0) {
        cover.push(set);
        rest &= !(set as usize);
    }
    cover
}

fn say(
    asked: &Asked,
    portfolio: &Portfolio<'_>,
    own: &[Evaluation],
    cover: &[(u32, &Evaluation)],
    json: bool,
) -> Result<()> {
    let mut targets = Vec::new();
    for (place, (chip, alone)) in portfolio.chips.iter().zip(own).enumerate() {
        let Some((_, model)) = cover.iter().find(|(set, _)| set >> place & 1 == 1) else { continue };
        targets.push(json!({
            "hardware": chip.name,
            "budget": chip.limits.as_costs(),
            "model": model.candidate.id(),
            "predicted": model.score,
            "predicted_alone": alone.score,
            "loss_points": 100.0 * (alone.score - model.score).max(0.0),
            "costs": chip.prices.of(&model.candidate)?,
        }));
    }
    if json {
        let models = cover.iter().map(|(set, model)| {
            let targets: Vec<usize> = members(*set).collect();
            Ok(json!({ "id": model.candidate.id(), "predicted": model.score, "targets": targets, "candidate": asked.candidate(model)? }))
        });
        let models = models.collect::<Result<Vec<_>>>()?;
        let object = json!({ "models": models, "targets": targets, "loss_points": 100.0 * portfolio.loss });
        return Ok(talk::data_line(&object.to_string())?);
    }
    talk::data_line(&format!("{} models for {} targets", cover.len(), targets.len()))?;
    for target in &targets {
        let costs = ["latency_ms", "energy_mj"].map(|name| {
            let value = target["costs"][name].as_f64().unwrap_or(f64::NAN);
            format!("{} {}", plain_name(name), amount(name, value))
        });
        talk::data_line(&format!(
            "{:<20} {}  {:.2} % ({:.2} points below a model of its own)  {}",
            target["hardware"].as_str().unwrap_or_default(),
            target["model"].as_str().unwrap_or_default(),
            100.0 * target["predicted"].as_f64().unwrap_or(f64::NAN),
            target["loss_points"].as_f64().unwrap_or(f64::NAN),
            costs.join(", ")
        ))?;
    }
    for (_, model) in cover {
        talk::data_line(&asked.candidate(model)?.to_string())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cover_is_smallest() {
        for (count, sets, models) in [
            (1, vec![1], 1),
            (3, vec![1, 2, 4], 3),
            (3, vec![1, 2, 4, 0b011, 0b110], 2),
            (4, vec![1, 2, 4, 8, 0b0111, 0b0011, 0b1100], 2),
            (4, vec![1, 2, 4, 8, 0b1111], 1),
        ] {
            let cover = fewest(count, &sets);
            assert_eq!(cover.len(), models, "{sets:?}");
            assert_eq!(cover.iter().fold(0, |all, set| all | set), (1 << count) - 1);
        }
    }
}
