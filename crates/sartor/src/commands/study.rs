//! `sartor study`: do subnets inherit what they would have learned alone?
//!
//! Once-for-all (Cai and others, section 4.1) compares subnets of the trained supernet with the same networks trained
//! from scratch. Here random subnets are trained alone for as many epochs as the largest network got, at its rates, and
//! scored on the validation images; beside the supernet as configured stand the same one without distillation, without
//! channel sorting, and scored with the largest network's batch-norm statistics instead of the subnet's own.

use anyhow::{Context, Result};
use rand::{Rng, RngExt};
use sartor_predictor::kendall_tau;
use sartor_space::{Candidate, SearchSpace, Subnet};
use sartor_supernet::evaluation::Evaluator;
use sartor_supernet::finetune::{FinetuneSettings, Finetuner};
use sartor_supernet::schedule::TrainingSettings;
use sartor_supernet::{Part, Supernet};
use serde::{Deserialize, Serialize};

use crate::cli::{Global, StudyArguments};
use crate::config::Config;
use crate::failure::Failure;
use crate::progress::Progress;
use crate::run_folder::checkpoint::Checkpoint;
use crate::session::Session;
use crate::stages::{Stage, train};
use crate::statistics::{Accuracy, mean_with_interval};
use crate::talk;

/// Key of the stamp, and title.
const STUDY: &str = "study";
/// Key of the stamp of a study of spread subnets.
const SPREAD_STUDY: &str = "study-spread";
const RESULT: &str = "study/inheritance";
/// The same of subnets that are spread over the range of costs.
const SPREAD_RESULT: &str = "study/inheritance-spread";
/// Fewest subnets that can be ranked.
const FEWEST: usize = 3;

/// One subnet under one variant.
#[derive(Debug, Clone, Serialize)]
struct Row {
    variant: String,
    subnet: String,
    macs: u64,
    inherited: f64,
    alone: f64,
    images: usize,
}

/// One variant over all subnets.
#[derive(Debug, Clone, Serialize)]
struct Verdict {
    variant: String,
    subnets: usize,
    /// Mean of inherited − alone, in points.
    difference: f64,
    /// Half of its 95 % interval over the subnets.
    half_interval: Option<f64>,
    /// Of inherited against alone.
    kendall_tau: Option<f64>,
}

/// Runs the study, or goes on with it.
///
/// # Errors
/// A bad config, too few subnets, divergence, an unwritable folder.
pub fn run(arguments: &StudyArguments, global: &Global) -> Result<()> {
    if arguments.subnets < FEWEST {
        let message = format!("`--subnets` must be at least {FEWEST}, got {}", arguments.subnets);
        return Err(Failure::bad_input(message).hint("fewer cannot be ranked; 12 is the default").into());
    }
    let session = Session::open(&arguments.target, global)?;
    let weights = train::run(&session)?.weights(&session)?;
    let (space, mut random) = (&session.config.space, session.random(Stage::Train));
    let subnets = match arguments.spread {
        true => spread_subnets(space, &mut random, arguments.subnets),
        false => subnets(space, &mut random, arguments.subnets),
    };
    let alone = trained_alone(&session, &subnets, arguments.spread.then_some(arguments.subnets))?;
    let mut rows = vec![];
    let mut note = |variant: &str, inherited: Vec<Accuracy>| -> Result<()> {
        for ((subnet, alone), inherited) in subnets.iter().zip(&alone).zip(inherited) {
            rows.push(row(&session, variant, subnet, inherited, *alone)?);
        }
        Ok(())
    };
    note("as configured", inherited(&session, &weights, &subnets, Evaluator::subnet)?)?;
    let unchanged = Evaluator::subnet_with_the_largest_statistics;
    note("without recalibration", inherited(&session, &weights, &subnets, unchanged)?)?;
    if !arguments.no_ablation {
        for (variant, change) in ABLATIONS {
            note(variant, ablated(&session.config, global, &subnets, variant, change)?)?;
        }
    }
    let result = if arguments.spread { SPREAD_RESULT } else { RESULT };
    finish(&session, result, rows, global.json)
}

/// A change of the training, by what it leaves out.
type Change = fn(&mut TrainingSettings);

const ABLATIONS: [(&str, Change); 2] = [
    ("without distillation", |settings| {
        settings.phases.iter_mut().for_each(|phase| phase.distillation = 0.0);
    }),
    ("without channel sorting", |settings| settings.sort_channels = false),
];

/// Distinct random subnets; more of them begin with the same ones.
fn subnets(space: &SearchSpace, random: &mut impl Rng, count: usize) -> Vec<Subnet> {
    let mut drawn: Vec<Subnet> = vec![];
    for _ in 0..100 * count {
        let subnet = space.random_subnet(random);
        if drawn.len() < count && !drawn.contains(&subnet) {
            drawn.push(subnet);
        }
    }
    drawn
}

/// Proposals for each part of the range of costs.
const PROPOSALS: usize = 400;
/// How often a proposal may be drawn towards the smallest or the largest subnet.
const MOST_PULLS: usize = 4;

/// One random subnet from each of `count` equal parts of the range of log MACs; parts that no proposal fell into are left out.
fn spread_subnets(space: &SearchSpace, random: &mut impl Rng, count: usize) -> Vec<Subnet> {
    let candidate = |subnet| Candidate { subnet, policy: None };
    let log_macs = |candidate: &Candidate| (space.lower(candidate).macs() as f64).ln();
    let ends = [space.smallest(), space.largest()].map(candidate);
    let [low, high] = [log_macs(&ends[0]), log_macs(&ends[1])];
    let mut parts: Vec<Option<Subnet>> = vec![None; count];
    for _ in 0..PROPOSALS * count {
        let mut proposal = candidate(space.random_subnet(random));
        let end = &ends[random.random_range(0..ends.len())];
        for _ in 0..random.random_range(0..=MOST_PULLS) {
            proposal = space.crossover(&proposal, end, random);
        }
        let place = (log_macs(&proposal) - low) / (high - low).max(f64::MIN_POSITIVE);
        parts[((place * count as f64) as usize).min(count - 1)].get_or_insert(proposal.subnet);
    }
    parts.into_iter().flatten().collect()
}

type Score<'a> = fn(
    &mut Evaluator<'a>,
    &Supernet,
    &Subnet,
    Part,
) -> sartor_supernet::Result<sartor_supernet::evaluation::Accuracy>;

fn inherited<'a>(
    session: &'a Session,
    weights: &Supernet,
    subnets: &[Subnet],
    score: Score<'a>,
) -> Result<Vec<Accuracy>> {
    let (space, images) = (&session.config.space, session.config.supernet.recalibration_images);
    let mut evaluator = Evaluator::new(space, session.dataset()?, images, session.seed(Stage::Train))?;
    subnets
        .iter()
        .map(|subnet| Ok(score(&mut evaluator, weights, subnet, Part::Validation)?.into()))
        .collect()
}

/// Trains another supernet in a folder of its own.
fn ablated(
    config: &Config,
    global: &Global,
    subnets: &[Subnet],
    name: &str,
    change: Change,
) -> Result<Vec<Accuracy>> {
    talk::stage_line(STUDY, name);
    let session = Session::of(config.variant(&name.replace(' ', "-"), change), global.force)?;
    let weights = train::run(&session)?.weights(&session)?;
    inherited(&session, &weights, subnets, Evaluator::subnet)
}

/// Scores so far, kept between processes.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Scores(Vec<Accuracy>);

const SCORES: &str = "scores.json";

/// Scores of the subnets trained alone; `parts` is over how many parts of the range of costs they were spread, if so.
fn trained_alone(session: &Session, subnets: &[Subnet], parts: Option<usize>) -> Result<Vec<Accuracy>> {
    // Neither the whole schedule nor the number of subnets: networks alone know nothing of shrinking, and the first ones
    // are the same however many there are, so another study finds them done. Spread ones depend on the parts.
    let alone = FinetuneSettings::alone(&session.config.supernet);
    let inputs = session.inputs().section("data", &session.config.data).section("alone", &alone);
    let inputs = inputs.value("images", &session.dataset()?.hash);
    let (name, inputs) = match parts {
        Some(parts) => (SPREAD_STUDY, inputs.value("spread", parts)),
        None => (STUDY, inputs),
    };
    let checkpoint = session.folder.checkpoint(name, &inputs.build(), false)?;
    let mut scores: Scores = match checkpoint.read(SCORES)? {
        Some(bytes) => serde_json::from_slice(&bytes).context("cannot understand the study's checkpoint")?,
        None => Scores::default(),
    };
    for (number, subnet) in subnets.iter().enumerate().skip(scores.0.len()) {
        let score = train_alone(session, subnet, number, subnets.len(), &checkpoint)?;
        talk::stage_line(STUDY, &format!("subnet {} of {} alone: {score}", number + 1, subnets.len()));
        scores.0.push(score);
        checkpoint.write(SCORES, &serde_json::to_vec(&scores)?)?;
    }
    scores.0.truncate(subnets.len());
    Ok(scores.0)
}

fn train_alone(
    session: &Session,
    subnet: &Subnet,
    number: usize,
    of: usize,
    checkpoint: &Checkpoint,
) -> Result<Accuracy> {
    let (space, dataset) = (&session.config.space, session.dataset()?);
    let (settings, seed) = (FinetuneSettings::alone(&session.config.supernet), session.seed(Stage::Train));
    let candidate = Candidate { subnet: subnet.clone(), policy: None };
    let fresh = Supernet::new(space, seed);
    let state = format!("subnet-{number}.safetensors");
    let mut tuner = match checkpoint.read(&state)? {
        Some(bytes) => Finetuner::from_bytes(&bytes, space, dataset, &fresh, &candidate, settings, seed)?,
        None => Finetuner::new(space, dataset, &fresh, &candidate, settings, seed)?,
    };
    let (per, done) = (tuner.total_steps(), tuner.position());
    let mut progress = Progress::new(STUDY, (of * per) as u64, (number * per + done) as u64);
    while !tuner.is_done() {
        let report = tuner.step()?;
        let text = format!("subnet {} of {of}  {}", number + 1, report.line());
        progress.at((number * per + tuner.position()) as u64, &text);
        if report.ends_epoch {
            checkpoint.write(&state, &tuner.to_bytes())?;
        }
    }
    Ok(tuner.accuracy(Part::Validation)?.into())
}

fn row(
    session: &Session,
    variant: &str,
    subnet: &Subnet,
    inherited: Accuracy,
    alone: Accuracy,
) -> Result<Row> {
    let space = &session.config.space;
    let candidate = Candidate { subnet: subnet.clone(), policy: None };
    Ok(Row {
        variant: variant.to_owned(),
        macs: space.lower(&candidate).macs(),
        subnet: candidate.to_json(space),
        inherited: inherited.value,
        alone: alone.value,
        images: alone.images,
    })
}

fn verdict(variant: &str, rows: &[Row]) -> Verdict {
    let of: Vec<&Row> = rows.iter().filter(|row| row.variant == variant).collect();
    let column = |value: fn(&Row) -> f64| of.iter().map(|row| value(row)).collect::<Vec<f64>>();
    let (difference, half_interval) = mean_with_interval(&column(|row| 100.0 * (row.inherited - row.alone)));
    let kendall_tau = kendall_tau(&column(|row| row.inherited), &column(|row| row.alone));
    Verdict { variant: variant.to_owned(), subnets: of.len(), difference, half_interval, kendall_tau }
}

fn finish(session: &Session, result: &str, rows: Vec<Row>, json: bool) -> Result<()> {
    let mut writer = csv::Writer::from_writer(vec![]);
    rows.iter().try_for_each(|row| writer.serialize(row))?;
    session.folder.write(&format!("{result}.csv"), &writer.into_inner()?)?;
    let mut variants: Vec<&str> = rows.iter().map(|row| row.variant.as_str()).collect();
    variants.dedup();
    let verdicts: Vec<Verdict> = variants.iter().map(|variant| verdict(variant, &rows)).collect();
    session.folder.write_json(&format!("{result}.json"), &verdicts)?;
    for Verdict { variant, subnets, difference, half_interval, kendall_tau } in &verdicts {
        let half = half_interval.map_or(String::new(), |half| format!(" ± {half:.2}"));
        let tau = kendall_tau.map_or("undefined".to_owned(), |tau| format!("{tau:.2}"));
        talk::data_line(&format!(
            "{variant:<24} inherited − alone {difference:+.2}{half} points, Kendall's τ {tau}, {subnets} subnets"
        ))?;
    }
    if json {
        talk::data_line(&serde_json::to_string(&verdicts)?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn more_subnets_begin_with_the_same_ones() {
        let space = SearchSpace::preset("quickstart").expect("a preset");
        let draw = |count| subnets(&space, &mut ChaCha8Rng::seed_from_u64(3), count);
        let (few, many) = (draw(3), draw(12));
        assert_eq!((few.len(), many.len()), (3, 12));
        assert_eq!(few, many[..3]);
    }

    #[test]
    fn spread_subnets_reach_from_the_smallest_to_the_largest() {
        let space = SearchSpace::preset("micro").expect("a preset");
        let macs = |subnet: Subnet| space.lower(&Candidate { subnet, policy: None }).macs() as f64;
        let drawn = spread_subnets(&space, &mut ChaCha8Rng::seed_from_u64(3), 12);
        let all: Vec<f64> = drawn.into_iter().map(macs).collect();
        let (low, high) = (macs(space.smallest()), macs(space.largest()));
        assert_eq!(all.len(), 12);
        assert!(all.is_sorted());
        let part = (high / low).powf(1.0 / 12.0);
        assert!(all[0] <= low * part && all[11] >= high / part, "{low} {all:?} {high}");
    }
}
