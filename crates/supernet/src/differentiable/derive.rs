//! # Derive: the most probable candidate whose cost lies in a window
//!
//! The papers take the most probable option of every choice, and whatever that costs. Here the candidate must meet the
//! budget (or lie at the target), so it is `argmax log π(α)` over all α with `low ≤ J(α) ≤ high`. J is a sum over
//! blocks, so blocks are added one after the other, keeping for every small range of the sum the most probable way to
//! it; costs are added exactly, only the comparison is by range.

use sartor_space::Candidate;

use super::choices::{Choice, Choices};
use super::cost::{Expected, Term};
use crate::error::{Result, SupernetError};

/// Ranges that the costs up to the window's end are cut into.
const BINS: usize = 4096;

/// Costs that are allowed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    /// At least this.
    pub low: f64,
    /// At most this.
    pub high: f64,
}

/// Share by which what is found may cost less than the controller expects.
const TOLERANCE: f64 = 0.03;

/// What the controller expects to spend, at most the limit; where nothing costs that, anything within the limit. The most
/// probable option of every choice may cost a good deal less than the expectation.
pub fn as_expected(expected_cost: f64, limit: f64) -> [Window; 2] {
    let high = expected_cost.min(limit);
    [Window { low: (1.0 - TOLERANCE) * high, high }, Window { low: 0.0, high: limit }]
}

/// Windows that are tried below the one that is asked for.
const LOWERED: usize = 100;

/// The most probable candidate in the first of these windows in which `allowed` admits one, and the logarithm of its
/// probability as [`most_probable`] gives it. Limits that the costs do not know may refuse a candidate: then the window's
/// end is lowered by hundredths.
///
/// # Errors
/// When there is none in any.
pub fn affordable(
    (choices, logits, expected): (&Choices, &[f32], &Expected),
    windows: &[Window],
    allowed: &dyn Fn(&Candidate) -> bool,
) -> Result<(Candidate, f64)> {
    for window in windows.iter().flat_map(|window| lowered(window, expected)) {
        let Some((chosen, log)) = most_probable(choices, logits, expected, window) else { continue };
        let candidate = choices.candidate(&chosen)?;
        if allowed(&candidate) {
            return Ok((candidate, log));
        }
    }
    let low = windows.iter().map(|window| window.low).fold(f64::INFINITY, f64::min);
    let high = windows.iter().map(|window| window.high).fold(0.0, f64::max);
    Err(SupernetError::NothingAllowed { low, high })
}

/// The window, and narrower ones with lower ends.
fn lowered(window: &Window, expected: &Expected) -> impl Iterator<Item = Window> + use<> {
    let (low, high) = (window.low, window.high.min(expected.most()));
    let step = (high - low.max(expected.fixed)) / LOWERED as f64;
    (0..LOWERED).map(move |number| Window { low, high: high - number as f64 * step })
}

/// A way to some cost.
#[derive(Debug, Clone, Default)]
struct Way {
    log_probability: f64,
    cost: f64,
    options: Vec<usize>,
}

/// The best way to every range of costs.
type Ways = Vec<Option<Way>>;

/// The most probable option of each choice within a window, and the logarithm of its probability over that of the most
/// probable candidate of all (at most 0); `None` if no candidate lies there. Choices of absent blocks take their most
/// probable option.
pub fn most_probable(
    choices: &Choices,
    logits: &[f32],
    expected: &Expected,
    window: Window,
) -> Option<(Vec<usize>, f64)> {
    let scale = BINS as f64 / window.high.max(f64::MIN_POSITIVE);
    let logs = log_ratios(choices, logits);
    let search = Search { logs, scale, terms: reduced(expected, scale) };
    let mut ways: Ways = vec![None; BINS + 1];
    let start = Way { cost: expected.fixed, ..Way::default() };
    keep(&mut ways, start, scale);
    for unit in units(choices) {
        ways = search.add_unit(&ways, &unit);
    }
    let inside = |way: &&Way| (window.low..=window.high).contains(&way.cost);
    let best = ways
        .iter()
        .flatten()
        .filter(inside)
        .max_by(|a, b| a.log_probability.total_cmp(&b.log_probability))?;
    Some((complete(choices, logits, &best.options), best.log_probability))
}

/// Per option: the logarithm of its probability over that of the most probable option of its choice.
fn log_ratios(choices: &Choices, logits: &[f32]) -> Vec<f64> {
    let mut logs = vec![0.0; logits.len()];
    for choice in choices.all() {
        let highest = choice.range.clone().map(|i| logits[i]).fold(f32::NEG_INFINITY, f32::max);
        choice.range.clone().for_each(|i| logs[i] = f64::from(logits[i] - highest));
    }
    logs
}

/// Blocks whose presence is decided together.
struct Unit {
    /// Options of that decision, with the blocks each keeps; one without a place when there is nothing to decide.
    options: Vec<(Option<usize>, Vec<usize>)>,
}

struct Search {
    logs: Vec<f64>,
    scale: f64,
    terms: Vec<Vec<Term>>,
}

impl Search {
    fn add_unit(&self, before: &Ways, unit: &Unit) -> Ways {
        let mut after: Ways = vec![None; BINS + 1];
        for (option, blocks) in &unit.options {
            let mut ways = before.clone();
            if let Some(option) = *option {
                for way in ways.iter_mut().flatten() {
                    way.log_probability += self.logs[option];
                    way.options.push(option);
                }
            }
            for &block in blocks {
                ways = self.add_block(&ways, block);
            }
            ways.into_iter().flatten().for_each(|way| keep(&mut after, way, self.scale));
        }
        after
    }

    fn add_block(&self, before: &Ways, block: usize) -> Ways {
        let log = |term: &Term| -> f64 { term.options.iter().map(|&option| self.logs[option]).sum() };
        let terms = self.best_terms(block, log);
        let mut best: Vec<Option<(f64, f64, usize, &Term)>> = vec![None; BINS + 1];
        for (parent, way) in before.iter().enumerate().filter_map(|(i, way)| Some((i, way.as_ref()?))) {
            for &(term, log) in &terms {
                let (cost, log) = (way.cost + term.cost, way.log_probability + log);
                let bin = (cost * self.scale) as usize;
                if bin <= BINS && best[bin].is_none_or(|(other, ..)| log > other) {
                    best[bin] = Some((log, cost, parent, term));
                }
            }
        }
        let finish = |(log_probability, cost, parent, term): (f64, f64, usize, &Term)| {
            let options = before[parent].as_ref().map_or(&[][..], |way| &way.options);
            Way { log_probability, cost, options: [options, &term.options].concat() }
        };
        best.into_iter().map(|entry| entry.map(finish)).collect()
    }

    /// The most probable term of every range of costs.
    fn best_terms(&self, block: usize, log: impl Fn(&Term) -> f64) -> Vec<(&Term, f64)> {
        let mut best: std::collections::BTreeMap<usize, (&Term, f64)> = Default::default();
        for term in &self.terms[block] {
            let (bin, log) = ((term.cost * self.scale * 4.0) as usize, log(term));
            if best.get(&bin).is_none_or(|(_, other)| log > *other) {
                best.insert(bin, (term, log));
            }
        }
        best.into_values().collect()
    }
}

fn reduced(expected: &Expected, scale: f64) -> Vec<Vec<Term>> {
    let fits = |term: &&Term| (term.cost * scale) as usize <= BINS;
    expected.blocks.iter().map(|terms| terms.iter().filter(fits).cloned().collect()).collect()
}

fn keep(ways: &mut Ways, way: Way, scale: f64) {
    let bin = (way.cost * scale) as usize;
    if bin <= BINS && ways[bin].as_ref().is_none_or(|other| way.log_probability > other.log_probability) {
        ways[bin] = Some(way);
    }
}

fn units(choices: &Choices) -> Vec<Unit> {
    let count = choices.space().blocks().len();
    let block_at =
        |place: &usize| (0..count).find(|&i| choices.block(i).is_some_and(|b| b.presence == *place));
    let mut units: Vec<Unit> = vec![];
    let mut decided = vec![false; count];
    for choice in choices.all().iter().filter(|choice| choice.block.is_none()) {
        let option = |option: usize| {
            let blocks: Vec<usize> = choices.sets(option).iter().filter_map(block_at).collect();
            (Some(option), blocks)
        };
        let options: Vec<_> = choice.range.clone().map(option).collect();
        options.iter().flat_map(|(_, blocks)| blocks).for_each(|&block| decided[block] = true);
        units.push(Unit { options });
    }
    let certain: Vec<usize> = (0..count).filter(|&i| !decided[i] && choices.block(i).is_some()).collect();
    units.push(Unit { options: vec![(None, certain)] });
    units
}

/// The options of a way, and the most probable ones of the choices that it leaves open.
fn complete(choices: &Choices, logits: &[f32], options: &[usize]) -> Vec<usize> {
    let fallback = super::gumbel::hard(choices.all(), logits, &[]);
    let pick = |(choice, fallback): (&Choice, usize)| {
        let chosen = options.iter().find(|option| choice.range.contains(option));
        chosen.map_or(fallback, |option| option - choice.range.start)
    };
    choices.all().iter().zip(fallback).map(pick).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::differentiable::choices::Pinned;
    use crate::differentiable::cost::tests::{COSTS, whole};
    use crate::differentiable::gumbel;
    use sartor_space::SearchSpace;

    fn setting(name: &str) -> (Choices, Vec<f32>, Expected) {
        let space = SearchSpace::preset(name).unwrap();
        let operations = name.starts_with("proxyless");
        let choices = Choices::new(&space, &Pinned { operations, ..Pinned::default() }).unwrap();
        let logits = (0..choices.options()).map(|i| 2.0 * (i as f32 * 1.7).sin()).collect();
        let expected = Expected::new(&choices, &COSTS);
        (choices, logits, expected)
    }

    #[test]
    fn without_a_limit_it_is_the_most_probable_option_of_each() {
        for name in ["gong-28", "quickstart", "proxyless-28"] {
            let (choices, logits, expected) = setting(name);
            let window = Window { low: 0.0, high: 1e9 };
            let (chosen, log) = most_probable(&choices, &logits, &expected, window).unwrap();
            let free = choices.candidate(&gumbel::hard(choices.all(), &logits, &[])).unwrap();
            let found = choices.candidate(&chosen).unwrap();
            assert_eq!(found, free, "{name}");
            assert_eq!(log, 0.0);
        }
    }

    #[test]
    fn the_window_holds() {
        for name in ["gong-28", "quickstart", "proxyless-28"] {
            let (choices, logits, expected) = setting(name);
            let free = choices.candidate(&gumbel::hard(choices.all(), &logits, &[])).unwrap();
            for share in [0.5, 0.7, 0.9, 1.2] {
                let target = share * whole(&free);
                let window = Window { low: 0.99 * target, high: 1.01 * target };
                let found = most_probable(&choices, &logits, &expected, window);
                let (chosen, log) = found.unwrap_or_else(|| panic!("{name} at {share}"));
                let cost = whole(&choices.candidate(&chosen).unwrap());
                assert!((0.99 * target..=1.01 * target + 1e-6).contains(&cost), "{name} at {share}: {cost}");
                assert!(log <= 0.0);
            }
        }
    }

    #[test]
    fn what_is_found_costs_what_is_expected_or_what_is_allowed() {
        let (choices, logits, expected) = setting("quickstart");
        let mean = expected.value(&choices, &gumbel::probabilities(choices.all(), &logits)).0;
        for limit in [f64::MAX, 0.9 * mean] {
            let high = limit.min(mean);
            let windows = as_expected(mean, limit);
            let found = affordable((&choices, &logits, &expected), &windows, &|_| true).unwrap();
            let cost = whole(&found.0);
            assert!((0.97 * high - 1e-6..=high + 1e-6).contains(&cost), "{cost} of {mean}, {limit}");
        }
    }

    #[test]
    fn nothing_is_found_where_nothing_is() {
        let (choices, logits, expected) = setting("gong-28");
        let window = Window { low: 0.0, high: expected.fixed * 0.5 };
        assert_eq!(most_probable(&choices, &logits, &expected, window), None);
    }
}
