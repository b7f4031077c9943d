//! `sartor compare`: joint search beside baselines, at equal budget and equal evaluations, on a finished run; or, with
//! `--capabilities`, what was searched in a run folder, side by side.

mod capabilities;

use std::path::Path;

use anyhow::Result;
use sartor_predictor::{Interval as LibraryInterval, Predictor};
use sartor_search::Evaluation;
use sartor_space::Candidate;
use serde_json::json;

use super::asked::Asked;
use crate::cli::{CompareArguments, Global};
use crate::config::Config;
use crate::failure::{self, Exit, Failure};
use crate::progress::Progress;
use crate::records::{Compared, Comparison, Found, Interval};
use crate::report::compare_page;
use crate::run_folder::artefact;
use crate::stages::search::asking::Asking;
use crate::stages::search::baselines::{Arena, BASELINES, Baseline, JOINT, SEQUENTIAL, bit_widths};
use crate::stages::search::fleet::Fleet;
use crate::stages::{Stage, sample, train};
use crate::standings;
use crate::talk;

/// The comparison, in the run folder.
pub const FILE: &str = "compare/compare.json";

/// Compares.
///
/// # Errors
/// A budget that joint search cannot meet (exit code 3), or a run that is not finished.
pub fn run(arguments: &CompareArguments, global: &Global) -> Result<()> {
    if arguments.capabilities {
        let config = Config::load(&arguments.target, global)?;
        return capabilities::run(&standings::of(&config.folder)?, global.json);
    }
    let asked = Asked::open(&arguments.target, global)?;
    let chip = asked.chip(arguments.hardware.as_ref(), &arguments.budget.budget(), None)?;
    let fleet = Fleet::new([&chip])?;
    fleet.within(&|_, _, _| true, |_| Ok(()))?;
    let chosen = chosen(arguments, &asked)?;
    let scratch = from_scratch(&asked)?;
    let settings = &asked.session.config.search;
    let (asking, scratch) = (Asking::new(settings, &asked.predictor), Asking::new(settings, &scratch));
    let evaluations = arguments.evaluations.unwrap_or_else(|| asking.usual_evaluations());
    let arena = Arena { fleet: &fleet, asking: &asking, scratch: &scratch, evaluations };
    let mut compared = compete(&asked, &arena, &chosen, arguments.seeds)?;
    if arguments.measure {
        measure(&asked, &mut compared)?;
    }
    let comparison = Comparison {
        hardware: chip.name.clone(),
        budget: chip.limits.as_costs(),
        evaluations,
        seeds: arguments.seeds,
        joint_minus_sequential: difference(&compared, SEQUENTIAL, |found| Some(found.predicted)),
        joint_minus_sequential_measured: difference(&compared, SEQUENTIAL, |found| {
            found.measured.map(|m| m.value)
        }),
        baselines: compared,
    };
    let folder = arguments.out.clone().unwrap_or_else(|| asked.session.folder.path("compare"));
    write(&folder, &asked.session.config.name, &comparison)?;
    say(&comparison, &folder, global.json)
}

/// The baselines that were asked for, joint search among them; widths of bits that the space lacks are left out.
fn chosen(arguments: &CompareArguments, asked: &Asked) -> Result<Vec<&'static Baseline>> {
    if arguments.seeds == 0 {
        return Err(Failure::bad_input("--seeds is 0, expected at least 1").into());
    }
    for name in &arguments.baselines {
        if !BASELINES.iter().any(|baseline| baseline.name == name) {
            let known: Vec<&str> = BASELINES.iter().map(|baseline| baseline.name).collect();
            let failure = Failure::bad_input(format!("there is no baseline `{name}`"));
            return Err(failure.hint(format!("baselines: {}", known.join(", "))).into());
        }
    }
    let widths = bit_widths(&asked.session.config.space);
    let possible = |baseline: &&Baseline| match baseline.name.strip_prefix("uniform-") {
        Some(bits) => bits.parse().is_ok_and(|bits: u8| widths.contains(&bits)),
        None => true,
    };
    let wanted = |baseline: &&Baseline| {
        let all = arguments.baselines.is_empty();
        all || baseline.name == JOINT || arguments.baselines.iter().any(|name| name == baseline.name)
    };
    Ok(BASELINES.iter().filter(possible).filter(wanted).collect())
}

/// The same mixed-precision pairs, without what full precision taught.
fn from_scratch(asked: &Asked) -> Result<Predictor> {
    let config = &asked.session.config;
    let pairs = sample::finished(&asked.session, Stage::SampleMixedPrecision)?.load(&asked.session)?;
    let (settings, seed) = (&config.predictor, asked.session.seed(Stage::Transfer));
    Ok(Predictor::fit_to_judge(&config.space, &pairs, settings.method(), &settings.fit(), seed)?)
}

fn compete(
    asked: &Asked,
    arena: &Arena<'_>,
    chosen: &[&'static Baseline],
    seeds: u64,
) -> Result<Vec<Compared>> {
    let mut progress = Progress::new("compare", chosen.len() as u64, 0);
    let base = asked.session.seed(Stage::Search);
    let mut all = Vec::new();
    for (place, baseline) in chosen.iter().enumerate() {
        progress.at(place as u64, baseline.name);
        all.push(one(asked, arena, baseline, (base, seeds))?);
    }
    Ok(all)
}

fn one(asked: &Asked, arena: &Arena<'_>, baseline: &Baseline, (base, seeds): (u64, u64)) -> Result<Compared> {
    let mut found = Vec::new();
    let mut refused = None;
    for seed in 0..seeds {
        match (baseline.find)(arena, base.wrapping_add(seed)) {
            Ok(evaluation) => found.push(judged(asked, arena, &evaluation, seed)?),
            Err(error) if failure::exit_code(&error) == Exit::Infeasible => {
                refused = Some(error.to_string());
                break;
            }
            Err(error) => return Err(error),
        }
    }
    let predicted: Vec<f64> = found.iter().map(|one| one.predicted).collect();
    Ok(Compared {
        name: baseline.name.to_owned(),
        what: baseline.what.to_owned(),
        predicted: interval(&predicted),
        measured: None,
        infeasible: refused,
        found,
    })
}

/// What was found, by the run's own predictor.
fn judged(asked: &Asked, arena: &Arena<'_>, found: &Evaluation, seed: u64) -> Result<Found> {
    Ok(Found {
        seed,
        id: found.candidate.id(),
        predicted: arena.asking.scores(std::slice::from_ref(&found.candidate))?[0],
        measured: None,
        costs: arena.fleet.costs(&found.candidate)?.remove(0),
        candidate: asked.candidate(found)?,
    })
}

/// Short fine-tunes on the validation split, every candidate once.
fn measure(asked: &Asked, compared: &mut [Compared]) -> Result<()> {
    let session = &asked.session;
    let weights = train::finished(session)?.weights(session)?;
    let mut sampler = sample::sampler(session, &weights, Stage::Search)?;
    let mut known = std::collections::BTreeMap::new();
    let total = compared.iter().map(|baseline| baseline.found.len() as u64).sum();
    let mut progress = Progress::new("measure winners", total, 0);
    let mut done = 0;
    for baseline in compared {
        for found in &mut baseline.found {
            let accuracy = match known.get(&found.id) {
                Some(accuracy) => *accuracy,
                None => {
                    let candidate =
                        Candidate::from_json(&found.candidate.to_string(), &session.config.space)?;
                    sampler.measure_mixed(&candidate, 0)?.into()
                }
            };
            known.insert(found.id.clone(), accuracy);
            found.measured = Some(accuracy);
            done += 1;
            progress.at(done, &baseline.name);
        }
        let values: Vec<f64> =
            baseline.found.iter().filter_map(|found| Some(found.measured?.value)).collect();
        baseline.measured = interval(&values);
    }
    Ok(())
}

/// Joint minus another, in points, seed by seed.
fn difference(all: &[Compared], other: &str, value: impl Fn(&Found) -> Option<f64>) -> Option<Interval> {
    let of = |name: &str| all.iter().find(|baseline| baseline.name == name).map(|baseline| &baseline.found);
    let (joint, other) = (of(JOINT)?, of(other)?);
    let pairs = joint.iter().zip(other).filter_map(|(a, b)| Some(100.0 * (value(a)? - value(b)?)));
    interval(&pairs.collect::<Vec<f64>>())
}

fn interval(values: &[f64]) -> Option<Interval> {
    let LibraryInterval { value, low, high } = LibraryInterval::over_seeds(values)?;
    Some(Interval { value, low, high })
}

fn write(folder: &Path, name: &str, comparison: &Comparison) -> Result<()> {
    artefact::write(&folder.join("compare.json"), &serde_json::to_vec_pretty(comparison)?)?;
    let mut table = csv::Writer::from_writer(Vec::new());
    table.write_record([
        "baseline",
        "seed",
        "id",
        "predicted",
        "measured",
        "latency_ms",
        "energy_mj",
        "size_bytes",
        "candidate",
    ])?;
    for baseline in &comparison.baselines {
        for found in &baseline.found {
            let cost = |name: &str| found.costs.get(name).map_or(String::new(), f64::to_string);
            let measured = found.measured.map_or(String::new(), |measured| measured.value.to_string());
            let start = [
                baseline.name.clone(),
                found.seed.to_string(),
                found.id.clone(),
                found.predicted.to_string(),
                measured,
            ];
            let rest =
                [cost("latency_ms"), cost("energy_mj"), cost("size_bytes"), found.candidate.to_string()];
            table.write_record(start.iter().chain(&rest))?;
        }
    }
    let table = table.into_inner().map_err(|error| anyhow::anyhow!("cannot write the table: {error}"))?;
    artefact::write(&folder.join("compare.csv"), &table)?;
    artefact::write(&folder.join("compare.html"), compare_page(name, comparison).as_bytes())
}

fn say(comparison: &Comparison, folder: &Path, json: bool) -> Result<()> {
    if json {
        let mut object = serde_json::to_value(comparison)?;
        object["csv"] = json!(folder.join("compare.csv"));
        object["picture"] = json!(folder.join("compare.html"));
        return Ok(talk::data_line(&object.to_string())?);
    }
    let points = |interval: &Option<Interval>| match interval {
        Some(Interval { value, low, high }) => {
            format!("{:>6.2} % [{:.2}, {:.2}]", 100.0 * value, 100.0 * low, 100.0 * high)
        }
        None => String::new(),
    };
    for baseline in &comparison.baselines {
        let text = match &baseline.infeasible {
            Some(reason) => format!("infeasible: {reason}"),
            None => format!(
                "predicted {}  {}",
                points(&baseline.predicted),
                match &baseline.measured {
                    Some(_) => format!("measured {}", points(&baseline.measured)),
                    None => String::new(),
                }
            ),
        };
        talk::data_line(&format!("{:<18} {text}", baseline.name))?;
    }
    for (name, difference) in [
        ("predicted", comparison.joint_minus_sequential),
        ("measured", comparison.joint_minus_sequential_measured),
    ] {
        if let Some(Interval { value, low, high }) = difference {
            talk::data_line(&format!(
                "joint minus sequential, {name}: {value:+.2} points [{low:+.2}, {high:+.2}]"
            ))?;
        }
    }
    Ok(talk::data_line(&folder.join("compare.html").display().to_string())?)
}
