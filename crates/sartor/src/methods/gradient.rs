//! What the searches by gradient share: prices in the form that they take, their limit, their history.

use anyhow::{Context, Result};
use sartor_search::{AdditiveCosts, Domain, Metric};
use sartor_space::{Block, BlockBits, Candidate, SearchSpace};
use sartor_supernet::Supernet;
use sartor_supernet::differentiable::{Choices, Costs, Outcome, Row};

use super::{Bench, Proposal};
use crate::config::methods::Start;
use crate::progress::Progress;
use crate::records::Generation;
use crate::stages::Stage;
use crate::stages::search::hunt::{Kind, Wanted};

/// Step by step, what the controller did.
pub const STEPS: &str = "search/steps.csv";
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

/// A progress bar as an observer.
pub fn observer(mut progress: Progress, reference: f64) -> impl FnMut(&Row) {
    move |row: &Row| {
        let text = format!(
            "loss {:.3}  {:.0} % of the batch  expected cost {:.1} %  entropy {:.2}",
            row.training_loss,
            100.0 * row.accuracy,
            100.0 * row.expected_cost / reference,
            row.entropy
        );
        progress.at(row.step as u64 + 1, &text);
    }
}

/// The title of the progress bar.
pub fn title(method: &str) -> String {
    format!("{} {method}", Stage::Search.title())
}

/// Keeps the steps, counts the work, and proposes what was found.
///
/// # Errors
/// An unwritable folder.
pub fn propose(bench: &Bench<'_>, choices: &Choices, outcome: &Outcome) -> Result<Proposal> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    outcome.history.iter().try_for_each(|row| writer.serialize(row))?;
    let text = writer.into_inner().map_err(|error| anyhow::anyhow!("cannot write the steps: {error}"))?;
    bench.session.folder.write(STEPS, &text)?;
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
