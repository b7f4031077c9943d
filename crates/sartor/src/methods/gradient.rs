//! What the searches by gradient share: prices in the form that they take, their limit, their steps and checkpoints,
//! their history.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use sartor_search::{AdditiveCosts, Domain, Metric};
use sartor_space::{Block, BlockBits, Candidate, SearchSpace};
use sartor_supernet::Supernet;
use sartor_supernet::differentiable::{Choices, Costs, Outcome, Row, Rule, Search};
use serde::{Deserialize, Serialize};

use super::{Bench, Proposal};
use crate::config::methods::Start;
use crate::progress::Progress;
use crate::records::Generation;
use crate::stages::Stage;
use crate::stages::search::hunt::{Kind, Wanted};
use crate::talk;

/// Step by step, what the controller did.
pub const STEPS: &str = "search/steps.csv";
/// How near to what was asked for it came.
pub const LANDING: &str = "search/landing.json";
/// Steps since the last checkpoint are lost when killed; this bounds the loss.
const CHECKPOINT_INTERVAL: Duration = Duration::from_millis(500);
/// Writing checkpoints takes at most this part of the time.
const CHECKPOINT_SHARE: u32 = 20;
/// Width at which a network that is searched in full precision is priced and deployed.
const DEPLOYED_BITS: u8 = 8;

/// What a search pays attention to: one metric, how much of it the largest network needs, and how much is allowed.
#[derive(Debug, Clone, Copy)]
pub struct Aim {
    /// The metric.
    pub metric: Metric,
    /// Of the largest network at 8 bits.
    pub reference: f64,
    /// The budget's limit, if it has one.
    pub limit: Option<f64>,
}

impl Aim {
    /// The configured metric, or the one that the budget limits most tightly, or `preferred` where it limits none.
    ///
    /// # Errors
    /// An unknown metric, or one that does not add up over blocks.
    pub fn of(
        bench: &Bench<'_>,
        domain: &Domain<'_>,
        (named, preferred): (Option<&str>, Metric),
    ) -> Result<Self> {
        let (budget, largest) = (domain.budget(), &bench.limits.largest);
        let limited = budget.limits().iter().filter(|(metric, _)| metric.additive());
        let share = |&(metric, limit): &(Metric, f64)| Some((metric, limit / largest.get(metric.name())?));
        let tightest = limited.filter_map(share).min_by(|one, other| one.1.total_cmp(&other.1));
        let metric = match named {
            Some(name) => additive(name)?,
            None => tightest.map_or(preferred, |(metric, _)| metric),
        };
        let reference = largest.get(metric.name()).copied();
        let reference = reference.with_context(|| format!("{metric} is not priced"))?;
        Ok(Self { metric, reference, limit: budget.limit(metric) })
    }

    /// The limit in percent of the reference.
    pub fn percent(&self) -> Option<f64> {
        self.limit.map(|limit| 100.0 * limit / self.reference)
    }
}

fn additive(name: &str) -> Result<Metric> {
    let mut all = Metric::ALL.into_iter().filter(|metric| metric.additive());
    let found = all.clone().find(|metric| metric.name() == name);
    let known: Vec<&str> = all.by_ref().map(Metric::name).collect();
    found.with_context(|| {
        format!("`{name}` is no metric that adds up over blocks; there are {}", known.join(", "))
    })
}

/// Prices as a search by gradient takes them, handed to `work`.
pub fn with_costs<T>(
    bench: &Bench<'_>,
    domain: &Domain<'_>,
    aim: &Aim,
    work: impl FnOnce(Costs<'_>) -> Result<T>,
) -> Result<T> {
    let (space, metric) = (domain.space(), aim.metric);
    let block = |index: usize, block: Block, bits: Option<BlockBits>| {
        let deployed =
            space.bits().and_then(|all| all.nearest(block.kernel, BlockBits::uniform(DEPLOYED_BITS)));
        bench.prices.block(index, block, bits.or(deployed)).get(metric)
    };
    let whole = |candidate: &Candidate| domain.costs(&deployed(space, candidate)).get(metric);
    let fixed = bench.prices.fixed().get(metric);
    work(Costs { fixed, block: &block, whole: &whole, reference: aim.reference })
}

/// A candidate as it is deployed: one that was searched in full precision runs at 8 bits.
pub fn deployed(space: &SearchSpace, candidate: &Candidate) -> Candidate {
    let policy = candidate.policy.clone();
    let policy = policy.or_else(|| space.uniform_policy(&candidate.subnet, DEPLOYED_BITS));
    Candidate { subnet: candidate.subnet.clone(), policy }
}

/// Weights that a search starts on.
pub fn start(bench: &Bench<'_>, start: Start) -> Supernet {
    match start {
        Start::Supernet => bench.weights.clone(),
        Start::Fresh => Supernet::new(&bench.session.config.space, bench.seed()),
    }
}

/// Takes a search's steps, from its checkpoint on where there is one; `name` is the method's, `label` the checkpoint's.
///
/// # Errors
/// Divergence, a checkpoint that cannot be understood, or one that cannot be written.
pub fn run<R: Rule>(
    bench: &Bench<'_>,
    (name, label): (&str, &str),
    search: &mut Search<'_, R>,
    reference: f64,
) -> Result<()> {
    let mut keeper = Keeper::new(bench, label);
    keeper.resume(search)?;
    let (done, total) = (search.position(), search.total_steps());
    let title = format!("{} {name}", Stage::Search.title());
    if done > 0 {
        talk::stage_line(&title, &format!("resumed after {done} of {total} steps"));
    }
    let mut progress = Progress::new(&title, total as u64, done as u64);
    while !search.is_done() {
        let row = search.step()?;
        progress.at(row.step as u64 + 1, &describe(&row, reference));
        keeper.keep(search)?;
    }
    Ok(())
}

/// Keeps a search's checkpoint. Look-ups of steps that a killed process took are counted as if they had been taken again.
struct Keeper<'b, 'a> {
    bench: &'b Bench<'a>,
    file: String,
    look_ups_before: u64,
    counted: u64,
    last: Instant,
    pause: Duration,
}

impl<'b, 'a> Keeper<'b, 'a> {
    fn new(bench: &'b Bench<'a>, label: &str) -> Self {
        let (file, look_ups_before) = (format!("{label}.safetensors"), bench.prices.lookups());
        Self { bench, file, look_ups_before, counted: 0, last: Instant::now(), pause: CHECKPOINT_INTERVAL }
    }

    fn resume<R: Rule>(&mut self, search: &mut Search<'_, R>) -> Result<()> {
        if let Some(bytes) = self.bench.checkpoint().read(&self.file)? {
            self.counted = search.restore(&bytes).context("cannot go on from the search's checkpoint")?;
            self.bench.looked_up_before(self.counted);
        }
        Ok(())
    }

    /// Writes one where it is time, and of the finished search.
    fn keep<R: Rule>(&mut self, search: &Search<'_, R>) -> Result<()> {
        if self.last.elapsed() < self.pause && !search.is_done() {
            return Ok(());
        }
        let started = Instant::now();
        let counted = self.counted + self.bench.prices.lookups() - self.look_ups_before;
        self.bench.checkpoint().write(&self.file, &search.to_bytes(counted))?;
        self.pause = CHECKPOINT_INTERVAL.max(started.elapsed() * CHECKPOINT_SHARE);
        self.last = Instant::now();
        Ok(())
    }
}

fn describe(row: &Row, reference: f64) -> String {
    format!(
        "loss {:.3}  {:.0} % of the batch  expected cost {:.1} %  entropy {:.2}",
        row.training_loss,
        100.0 * row.accuracy,
        100.0 * row.expected_cost / reference,
        row.entropy
    )
}

/// How near to what was asked for a search came; costs in the metric's unit.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Landing {
    /// The metric.
    pub metric: String,
    /// What it should cost, or cost at most.
    pub target: Option<f64>,
    /// Expectation over the controller's probabilities at the end.
    pub expected: f64,
    /// Of the most probable candidate of all.
    pub most_probable: f64,
    /// Of the most probable one that meets the limits, which is proposed.
    pub found: f64,
    /// Natural logarithm of its probability over that of the most probable of all.
    pub log_probability: f64,
}

/// Keeps the steps, counts the work, and proposes what was found.
///
/// # Errors
/// An unwritable folder.
pub fn propose(bench: &Bench<'_>, aim: &Aim, choices: &Choices, outcome: &Outcome) -> Result<Proposal> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    outcome.history.iter().try_for_each(|row| writer.serialize(row))?;
    let text = writer.into_inner().map_err(|error| anyhow::anyhow!("cannot write the steps: {error}"))?;
    bench.session.folder.write(STEPS, &text)?;
    bench.session.folder.write_json(LANDING, &landing(aim, outcome))?;
    let space = &bench.session.config.space;
    let candidate = deployed(space, &outcome.candidate);
    bench.count(|meter| {
        meter.worked(outcome.counters.work);
        every_option(choices).iter().for_each(|candidate| meter.note(candidate));
        meter.note(&candidate);
    });
    Ok(Proposal {
        ranked: vec![Wanted { role: Kind::Searched.role(), candidate, predicted: 0.0 }],
        evaluated: outcome.counters.work.training_steps,
        stop_reason: "all steps taken".to_owned(),
        history: outcome.history.iter().map(generation).collect(),
    })
}

fn landing(aim: &Aim, outcome: &Outcome) -> Landing {
    Landing {
        metric: aim.metric.name().to_owned(),
        target: aim.limit,
        expected: outcome.expected_cost,
        most_probable: outcome.most_probable_cost,
        found: outcome.cost,
        log_probability: outcome.log_probability,
    }
}

/// Candidates that between them have every option: all of them were in the mixture.
fn every_option(choices: &Choices) -> Vec<Candidate> {
    let most = choices.all().iter().map(|choice| choice.range.len()).max().unwrap_or(0);
    let option = |number: usize| -> Vec<usize> {
        choices.all().iter().map(|choice| number % choice.range.len()).collect()
    };
    (0..most).filter_map(|number| choices.candidate(&option(number)).ok()).collect()
}

fn generation(row: &Row) -> Generation {
    let (number, accuracy) = (row.step as u64, row.accuracy);
    Generation { generation: number, evaluated: number + 1, best: accuracy, mean: accuracy }
}
