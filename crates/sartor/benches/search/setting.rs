//! The space, the prices and a predictor that is the same for everyone.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sartor_engine::pool::in_pool;
use sartor_hardware::{Accelerator, CostTable};
use sartor_predictor::{FitSettings, MlpSettings, Pairs, Predictor};
use sartor_search::{
    AdditiveCosts, Budget, Costs, Limits, Metric, Problem, Remembered, Runner, SearchError, Strategy,
};
use sartor_space::{Block, BlockBits, Candidate, Layer, SearchSpace, Workload};

use crate::Result;

/// What APQ's "Ours-B" meets (table 2), every layer counted.
const LATENCY_MS: f64 = 8.4;
const ENERGY_MJ: f64 = 12.2;
const PAIRS: usize = 400;

pub struct Setting {
    space: SearchSpace,
    table: CostTable,
    predictor: Predictor,
}

pub struct Outcome {
    pub score: f64,
    pub evaluated: u64,
    pub distinct: u64,
    /// Of proposing, pricing and scoring; the domain is made before.
    pub seconds: f64,
}

impl Setting {
    /// A network of this width, fitted in so many steps to made-up accuracies.
    pub fn new(hidden: usize, steps: usize) -> Result<Self> {
        let space = SearchSpace::preset("apq")?;
        let table = CostTable::for_space(&Accelerator::preset("bitfusion-apq")?, &space)?;
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let mut pairs = Pairs::default();
        while pairs.len() < PAIRS {
            let candidate = space.random_candidate(&mut rng);
            let accuracy = made_up(&candidate);
            pairs.push(candidate, accuracy);
        }
        let mlp = MlpSettings { hidden, steps, epochs: 1, ..MlpSettings::default() };
        let predictor = Predictor::fit(&space, &pairs, &FitSettings { members: 1, mlp }, 0)?;
        Ok(Self { space, table, predictor })
    }

    /// One search; the generations are those after the first population.
    pub fn search(&self, strategy: Box<dyn Strategy>, generations: u64, seed: u64) -> Result<Outcome> {
        let prices = Prices(&self.space, &self.table);
        let budget = Budget::new([(Metric::LatencyMs, LATENCY_MS), (Metric::EnergyMj, ENERGY_MJ)])?;
        let domain = Problem::new(&self.space, &prices, budget).domain()?;
        let mut known = Remembered::default();
        let started = std::time::Instant::now();
        let search = || {
            Runner::new(&domain, strategy, seed)
                .with_limits(Limits { generations, evaluations: None, stalled: None })
                .run(|candidates| known.scores(candidates, |fresh| self.score(fresh)))
        };
        let found = in_pool(search)?;
        let seconds = started.elapsed().as_secs_f64();
        let (score, evaluated, distinct) = (found.best.score, found.evaluated, known.asked());
        Ok(Outcome { score, evaluated, distinct, seconds })
    }

    fn score(&self, candidates: &[Candidate]) -> std::result::Result<Vec<f64>, SearchError> {
        let scores = self.predictor.score(candidates);
        scores.map_err(|error| SearchError::Evaluation { message: error.to_string() })
    }
}

/// Capacity with diminishing returns, damaged by few bits, early and narrow layers more.
fn made_up(candidate: &Candidate) -> f64 {
    let (mut capacity, mut damage) = (0.0, 0.0);
    for (index, block) in candidate.subnet.active() {
        let strength = 1.0 + 0.5 * (index as f64 * 1.3).sin();
        capacity += strength * ((block.width as f64).ln() + 0.3 * (block.kernel as f64).ln());
        if let Some(policy) = &candidate.policy {
            let fields = policy.blocks[index].fields();
            damage += strength * fields.iter().map(|&bits| (-0.6 * f64::from(bits)).exp()).sum::<f64>();
        }
    }
    0.9 - 0.4 * (-0.02 * capacity).exp() - 0.2 * (1.0 - (-0.3 * damage).exp())
}

struct Prices<'a>(&'a SearchSpace, &'a CostTable);

impl Prices<'_> {
    fn of(&self, layers: Vec<Layer>) -> Costs {
        let Ok(costs) = self.1.price(&Workload { layers }) else { return Costs::UNKNOWN };
        Costs::UNKNOWN
            .with(Metric::LatencyMs, costs.latency_ms.value())
            .with(Metric::EnergyMj, costs.energy_mj.value())
    }
}

impl AdditiveCosts for Prices<'_> {
    fn fixed(&self) -> Costs {
        self.of(self.0.lower_fixed(true))
    }

    fn block(&self, block: usize, choice: Block, bits: Option<BlockBits>) -> Costs {
        self.of(self.0.lower_block(block, choice, bits))
    }
}
