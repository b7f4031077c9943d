//! # Choosing widths under a budget
//!
//! Every layer but the first and the last is a block of a search space with one architecture and its own pair of
//! widths, so the search, its budgets and its proofs are those of every other search here. The score is minus the sum of
//! the layers' sensitivities; the best few by that are measured as whole networks, and the one whose answers moved
//! least is chosen.

use std::collections::BTreeMap;

use anyhow::Result;
use sartor_export::Target;
use sartor_hardware::CostTable;
use sartor_search::strategies::by_name;
use sartor_search::{AdditiveCosts, Budget, Control, Metric, ObserverMode, Problem, Runner};
use sartor_space::{Block, BlockBits, Candidate, SearchSpace, Workload};
use serde_json::{Value, json};

use super::accuracy_json;
use super::calibrated::{Calibrated, Widths};
use super::sensitivity::Sensitivity;
use crate::cli::QuantizeArguments;
use crate::config::load_target;
use crate::failure::Failure;
use crate::records::Costs;
use crate::report::{amount, plain_name};
use crate::stages::profile::{Source, additive, named};
use crate::statistics::Accuracy;
use crate::talk;

/// Width of the first layer and of the classifier.
const FIXED_BITS: u8 = 8;
/// Candidates measured as whole networks.
const MEASURED: usize = 8;
/// Most layers that can be searched.
const MOST_LAYERS: usize = 256;

/// What widths cost.
pub struct Prices {
    space: SearchSpace,
    table: CostTable,
    workload: Workload,
    weights: Vec<u8>,
    activations: Vec<u8>,
    budget: Budget,
    target: Option<Target>,
}

impl Prices {
    /// Prices every layer at every width.
    ///
    /// # Errors
    /// Widths that are not usable, a chip that cannot run them.
    pub fn new(arguments: &QuantizeArguments, calibrated: &Calibrated<'_>) -> Result<Self> {
        let (weights, activations) =
            (widths("--weights", &arguments.weights)?, widths("--activations", &arguments.activations)?);
        let source = Source::open(&arguments.hardware, 1)?;
        let workload = calibrated.workload.clone();
        let searched = workload.layers.len().saturating_sub(2);
        if !(1..=MOST_LAYERS).contains(&searched) {
            let message = format!("{} layers, expected 3 to {}", workload.layers.len(), MOST_LAYERS + 2);
            return Err(Failure::bad_input(message).into());
        }
        let mut layers = vec![];
        for layer in &workload.layers {
            for (weight_bits, activation_bits) in pairs(&weights, &activations) {
                layers.push(sartor_space::Layer { weight_bits, activation_bits, ..layer.clone() });
            }
        }
        let table = source.table(&layers)?;
        let space = space(searched, &weights, &activations)?;
        let target = arguments.target.as_deref().map(load_target).transpose()?;
        let prices =
            Self { space, table, workload, weights, activations, budget: budget(arguments)?, target };
        prices.check_fixed()?;
        Ok(prices)
    }

    /// The layers that stay at 8 bits must run on the target.
    fn check_fixed(&self) -> Result<()> {
        let (Some(target), fixed) = (&self.target, (FIXED_BITS, FIXED_BITS)) else { return Ok(()) };
        let last = self.workload.layers.len() - 1;
        match [0, last].into_iter().find(|&layer| !self.runs(layer, fixed)) {
            None => Ok(()),
            Some(layer) => {
                let name = &self.workload.layers[layer].name;
                let message = format!("layer `{name}` does not run at 8 bits on target `{}`", target.name);
                Err(Failure::bad_input(message).into())
            }
        }
    }

    /// Whether a layer runs on the target, if there is one.
    fn runs(&self, layer: usize, (weight_bits, activation_bits): Widths) -> bool {
        let layer =
            sartor_space::Layer { weight_bits, activation_bits, ..self.workload.layers[layer].clone() };
        self.target.as_ref().is_none_or(|target| target.allows(&layer))
    }

    /// Weight and activation widths.
    pub fn widths(&self) -> (&[u8], &[u8]) {
        (&self.weights, &self.activations)
    }

    /// Costs by name of the whole network at these widths.
    ///
    /// # Errors
    /// A layer that is not priced.
    pub fn of(&self, widths: &[Widths]) -> Result<Costs> {
        let mut workload = self.workload.clone();
        for (layer, &(weights, activations)) in workload.layers.iter_mut().zip(widths) {
            (layer.weight_bits, layer.activation_bits) = (weights, activations);
        }
        Ok(named(&self.table.price(&workload)?))
    }

    fn layer(&self, layer: usize, (weight_bits, activation_bits): Widths) -> sartor_search::Costs {
        let layer =
            sartor_space::Layer { weight_bits, activation_bits, ..self.workload.layers[layer].clone() };
        let price = self.table.price(&Workload { layers: vec![layer] });
        price.map_or(sartor_search::Costs::UNKNOWN, |costs| additive(&costs))
    }
}

impl AdditiveCosts for Prices {
    fn fixed(&self) -> sartor_search::Costs {
        let mut costs = self.layer(0, (FIXED_BITS, FIXED_BITS));
        costs.add(&self.layer(self.workload.layers.len() - 1, (FIXED_BITS, FIXED_BITS)));
        costs
    }

    fn block(&self, block: usize, _: Block, bits: Option<BlockBits>) -> sartor_search::Costs {
        bits.map_or(sartor_search::Costs::UNKNOWN, |bits| self.layer(block + 1, of_block(bits)))
    }
}

fn of_block(bits: BlockBits) -> Widths {
    (bits.pointwise_weight, bits.pointwise_activation)
}

/// A space whose blocks stand for layers: one architecture each, a pair of widths each.
fn space(layers: usize, weights: &[u8], activations: &[u8]) -> Result<SearchSpace> {
    let text = format!(
        "name = \"layers\"\n[input]\nsize = 8\nchannels = 1\nclasses = 2\n[stem]\nout_channels = 2\nstride = 1\n\
         [[stage]]\nout_channels = 2\nstride = 1\nblocks = {layers}\nkernel = [3]\nexpand = [1]\n[head]\nchannels = 2\n\
         [bits]\nweights = {weights:?}\nactivations = {activations:?}\ngroups = [\"all\"]\n"
    );
    Ok(SearchSpace::from_toml(&text)?)
}

/// Ascending, with 8 for the layers that are not searched.
fn widths(flag: &str, given: &[u8]) -> Result<Vec<u8>> {
    let mut widths = given.to_vec();
    widths.push(FIXED_BITS);
    widths.sort_unstable();
    widths.dedup();
    match widths.iter().find(|bits| !(2..=8).contains(*bits)) {
        Some(bits) => {
            Err(Failure::bad_input(format!("`{flag}` has {bits}, expected widths from 2 to 8")).into())
        }
        None => Ok(widths),
    }
}

fn pairs<'a>(weights: &'a [u8], activations: &'a [u8]) -> impl Iterator<Item = Widths> + 'a {
    weights.iter().flat_map(|&weight| activations.iter().map(move |&activation| (weight, activation)))
}

fn budget(arguments: &QuantizeArguments) -> Result<Budget> {
    let limits = [
        (Metric::LatencyMs, arguments.latency_ms),
        (Metric::EnergyMj, arguments.energy_mj),
        (Metric::SizeBytes, arguments.size_bytes),
        (Metric::BitOps, arguments.bitops),
    ];
    Ok(Budget::new(limits.into_iter().filter_map(|(metric, limit)| Some((metric, limit?))))?)
}

/// A network that was measured.
#[derive(Debug, Clone)]
pub struct Measured {
    /// What it stands for.
    pub role: String,
    /// By layer.
    pub widths: Vec<Widths>,
    /// Sum of the sensitivities, nats.
    pub predicted: f64,
    /// Of the whole network, nats.
    pub divergence: f64,
    /// In integers.
    pub validation: Accuracy,
    /// By name.
    pub costs: Costs,
}

/// What was chosen and what it was chosen from.
#[derive(Debug, Clone)]
pub struct Choice {
    /// The chosen one.
    pub best: Measured,
    /// 8 bits everywhere, whatever it costs.
    pub uniform: Vec<Measured>,
    /// The others that the search proposed.
    pub others: Vec<Measured>,
    /// Limits by name.
    pub budget: Costs,
    names: Vec<String>,
    evaluated: u64,
}

/// Searches and measures.
///
/// # Errors
/// A budget that no widths meet (exit code 3).
pub fn choose(
    arguments: &QuantizeArguments,
    calibrated: &Calibrated<'_>,
    prices: &Prices,
    sensitivity: &Sensitivity,
    seed: u64,
) -> Result<Choice> {
    let measure = |role: &str, widths: Vec<Widths>| -> Result<Measured> {
        let network = calibrated.quantize(&widths)?;
        let (divergence, validation) = (calibrated.divergence(&network)?, calibrated.accuracy(&network)?);
        let (predicted, costs) = (predicted(sensitivity, &widths), prices.of(&widths)?);
        let measured = Measured { role: role.into(), widths, predicted, divergence, validation, costs };
        talk::stage_line("measure", &measured.describe(&arguments.hardware));
        Ok(measured)
    };
    let both: Vec<u8> =
        prices.weights.iter().copied().filter(|bits| prices.activations.contains(bits)).rev().collect();
    let uniform = both.iter().map(|&bits| measure(&format!("uniform-{bits}"), uniform(calibrated, bits)));
    let uniform = uniform.collect::<Result<Vec<_>>>()?;
    let (found, evaluated) = search(prices, sensitivity, seed)?;
    let proposed = found.into_iter().map(|widths| measure("searched", widths)).collect::<Result<Vec<_>>>()?;
    let best = proposed.iter().min_by(|a, b| a.divergence.total_cmp(&b.divergence)).cloned();
    let Some(best) = best else { anyhow::bail!("the search found nothing") };
    let others = proposed.into_iter().filter(|other| other.widths != best.widths).collect();
    let budget =
        prices.budget.limits().iter().map(|(metric, limit)| (metric.name().to_owned(), *limit)).collect();
    let names = calibrated.workload.layers.iter().map(|layer| layer.name.clone()).collect();
    Ok(Choice { best, uniform, others, budget, names, evaluated })
}

fn uniform(calibrated: &Calibrated<'_>, bits: u8) -> Vec<Widths> {
    let layers = calibrated.workload.layers.len();
    let mut widths = vec![(bits, bits); layers];
    (widths[0], widths[layers - 1]) = ((FIXED_BITS, FIXED_BITS), (FIXED_BITS, FIXED_BITS));
    widths
}

fn predicted(sensitivity: &Sensitivity, widths: &[Widths]) -> f64 {
    let layers = widths.iter().enumerate();
    sensitivity.base + layers.map(|(layer, &widths)| sensitivity.of(layer, widths)).sum::<f64>()
}

/// The widths of a candidate, first layer and classifier included.
fn of_candidate(candidate: &Candidate) -> Vec<Widths> {
    let searched = candidate.policy.iter().flat_map(|policy| &policy.blocks).map(|&bits| of_block(bits));
    let fixed = (FIXED_BITS, FIXED_BITS);
    std::iter::once(fixed).chain(searched).chain([fixed]).collect()
}

/// The best few by prediction, and how many were looked at.
fn search(prices: &Prices, sensitivity: &Sensitivity, seed: u64) -> Result<(Vec<Vec<Widths>>, u64)> {
    let allowed = |block: usize, _: Option<Block>, bits: Option<BlockBits>| {
        bits.is_none_or(|bits| prices.runs(block + 1, of_block(bits)))
    };
    let problem = Problem::new(&prices.space, prices, prices.budget.clone()).with_filter(&allowed);
    let domain = problem.domain()?;
    let mut top: BTreeMap<Vec<Widths>, f64> = BTreeMap::new();
    let observe = |seen: &sartor_search::Progress<'_>| {
        for evaluation in seen.batch {
            top.insert(of_candidate(&evaluation.candidate), evaluation.score);
        }
        keep_best(&mut top);
        Control::Continue
    };
    let outcome = Runner::new(&domain, by_name("evolution", &[])?, seed)
        .with_observer(ObserverMode::Always, observe)
        .run(|candidates| {
            let score = |candidate: &Candidate| -predicted(sensitivity, &of_candidate(candidate));
            Ok(candidates.iter().map(score).collect())
        })?;
    let evaluated = outcome.evaluated;
    Ok((top.into_keys().collect(), evaluated))
}

fn keep_best(top: &mut BTreeMap<Vec<Widths>, f64>) {
    let mut scores: Vec<f64> = top.values().copied().collect();
    scores.sort_unstable_by(|a, b| b.total_cmp(a));
    if let Some(&least) = scores.get(MEASURED - 1) {
        top.retain(|_, score| *score >= least);
    }
    while top.len() > MEASURED {
        let last =
            top.iter().min_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(a.0))).map(|(widths, _)| widths.clone());
        last.and_then(|widths| top.remove(&widths));
    }
}

impl Measured {
    fn describe(&self, hardware: &str) -> String {
        let shown = ["latency_ms", "size_bytes"].iter();
        let costs = shown.filter_map(|name| {
            Some(format!("{} {}", plain_name(name), amount(name, *self.costs.get(*name)?)))
        });
        format!(
            "{}: {} of validation, divergence {:.4} ({:.4} predicted); {} on {hardware}",
            self.role,
            self.validation,
            self.divergence,
            self.predicted,
            costs.collect::<Vec<_>>().join(", ")
        )
    }

    fn to_json(&self) -> Value {
        json!({
            "role": self.role,
            "widths": self.widths,
            "divergence": self.divergence,
            "predicted_divergence": self.predicted,
            "validation": accuracy_json(self.validation),
            "costs": self.costs,
        })
    }
}

impl Choice {
    /// As data.
    pub fn to_json(&self, sensitivity: &Sensitivity) -> Value {
        let layer = |(index, (name, &(weights, activations))): (usize, (&String, &Widths))| {
            let cost = sensitivity.of(index, (weights, activations));
            json!({ "name": name, "weight_bits": weights, "activation_bits": activations, "sensitivity": cost })
        };
        let layers: Vec<Value> = self.names.iter().zip(&self.best.widths).enumerate().map(layer).collect();
        let uniform: serde_json::Map<String, Value> =
            self.uniform.iter().map(|one| (one.role.clone(), one.to_json())).collect();
        json!({
            "layers": layers,
            "searched": self.best.to_json(),
            "uniform": uniform,
            "other_candidates": self.others.iter().map(Measured::to_json).collect::<Vec<_>>(),
            "budget": self.budget,
            "evaluated": self.evaluated,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_space_of_layers_has_a_pair_of_widths_for_each() {
        let space = space(3, &[4, 8], &[4, 6, 8]).unwrap();
        assert_eq!(space.cardinality(), 6f64.powi(3));
        let subnet = space.largest();
        let policy = space.uniform_policy(&subnet, 4);
        let widths = of_candidate(&Candidate { subnet, policy });
        assert_eq!(widths, [(8, 8), (4, 4), (4, 4), (4, 4), (8, 8)]);
    }

    #[test]
    fn the_best_few_are_kept_whatever_the_order() {
        let mut top: BTreeMap<Vec<Widths>, f64> =
            (0..20u8).map(|place| (vec![(place, 8)], f64::from(place % 10))).collect();
        keep_best(&mut top);
        assert_eq!(top.len(), MEASURED);
        assert!(top.values().all(|score| *score >= 6.0));
    }

    #[test]
    fn widths_are_sorted_checked_and_complete() {
        assert_eq!(widths("--weights", &[6, 4]).unwrap(), [4, 6, 8]);
        assert!(widths("--weights", &[9]).is_err());
    }
}
