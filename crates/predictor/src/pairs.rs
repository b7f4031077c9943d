//! # Pairs: candidates with their measured accuracies
//!
//! CSV with column `candidate` (one JSON object, DESIGN section 7) or columns `block_0 … block_N` (option names such
//! as `skip` or `k3e6`, for spaces with explicit options), and column `accuracy` (0–1). Other columns and lines that
//! start with `#` are ignored. A repeated candidate with the same accuracy counts once.

use std::collections::BTreeMap;

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sartor_space::{Candidate, SearchSpace, Subnet};

use crate::error::PredictorError;

/// Fewest pairs that anything is fitted on: a fifth is held out inside, and two candidates make no order.
pub const FEWEST_PAIRS: usize = 10;

/// Candidates and accuracies (0–1), in the order of the file.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Pairs {
    /// The candidates, all different.
    pub candidates: Vec<Candidate>,
    /// Their accuracies.
    pub accuracies: Vec<f64>,
}

impl Pairs {
    /// Reads a pairs file.
    ///
    /// # Errors
    /// With the line: not a table, a missing column, a candidate outside the space, an accuracy outside 0–1, a
    /// candidate that occurs twice with different accuracies.
    pub fn from_csv(text: &str, space: &SearchSpace) -> Result<Self, PredictorError> {
        let mut reader =
            csv::ReaderBuilder::new().comment(Some(b'#')).trim(csv::Trim::All).from_reader(text.as_bytes());
        let header = reader.headers().map_err(table_error)?.clone();
        let columns = Columns::find(&header, space)?;
        let mut gathered = Gathered::default();
        for record in reader.records() {
            let record = record.map_err(table_error)?;
            let line = record.position().map_or(0, csv::Position::line);
            gathered.add(columns.candidate(&record, space, line)?, columns.accuracy(&record, line)?, line)?;
        }
        Ok(gathered.pairs)
    }

    /// Writes column `candidate` and column `accuracy`; reads back to the same bits.
    pub fn to_csv(&self, space: &SearchSpace) -> String {
        let mut text = String::from("candidate,accuracy\n");
        for (candidate, accuracy) in self.candidates.iter().zip(&self.accuracies) {
            let json = candidate.to_json(space).replace('"', "\"\"");
            text.push_str(&format!("\"{json}\",{accuracy:?}\n"));
        }
        text
    }

    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.accuracies.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.accuracies.is_empty()
    }

    /// Adds a pair; whoever adds answers for the candidate being in the space and not there already.
    pub fn push(&mut self, candidate: Candidate, accuracy: f64) {
        self.candidates.push(candidate);
        self.accuracies.push(accuracy);
    }

    /// The pairs at these positions.
    pub fn select(&self, positions: &[usize]) -> Self {
        Self {
            candidates: positions.iter().map(|&position| self.candidates[position].clone()).collect(),
            accuracies: positions.iter().map(|&position| self.accuracies[position]).collect(),
        }
    }

    /// `count` random pairs, and the rest.
    pub fn split(&self, count: usize, seed: u64) -> (Self, Self) {
        let order = shuffled(self.len(), &mut ChaCha8Rng::seed_from_u64(seed));
        let (first, rest) = order.split_at(count.min(self.len()));
        (self.select(first), self.select(rest))
    }

    /// Checks that there is something to learn from.
    ///
    /// # Errors
    /// [`PredictorError::TooFewPairs`] (fewer than [`FEWEST_PAIRS`]) or [`PredictorError::ConstantAccuracy`].
    pub fn check(&self) -> Result<(), PredictorError> {
        if self.len() < FEWEST_PAIRS {
            return Err(PredictorError::TooFewPairs { got: self.len(), needed: FEWEST_PAIRS });
        }
        let first = self.accuracies[0];
        if self.accuracies.iter().all(|&accuracy| accuracy == first) {
            return Err(PredictorError::ConstantAccuracy { pairs: self.len(), accuracy: first });
        }
        Ok(())
    }
}

/// The numbers 0 … count − 1 in random order.
pub(crate) fn shuffled(count: usize, rng: &mut impl Rng) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.shuffle(rng);
    order
}

/// Pairs so far, and where each candidate was seen.
#[derive(Default)]
struct Gathered {
    pairs: Pairs,
    seen: BTreeMap<Candidate, (u64, f64)>,
}

impl Gathered {
    fn add(&mut self, candidate: Candidate, accuracy: f64, line: u64) -> Result<(), PredictorError> {
        match self.seen.get(&candidate) {
            Some(&(first, first_accuracy)) if first_accuracy != accuracy => {
                return Err(PredictorError::Disagreement {
                    first,
                    second: line,
                    first_accuracy,
                    second_accuracy: accuracy,
                });
            }
            Some(_) => {}
            None => {
                self.seen.insert(candidate.clone(), (line, accuracy));
                self.pairs.push(candidate, accuracy);
            }
        }
        Ok(())
    }
}

/// Where the candidate and the accuracy stand in a record.
struct Columns {
    candidate: Option<usize>,
    blocks: Vec<usize>,
    accuracy: usize,
}

impl Columns {
    fn find(header: &csv::StringRecord, space: &SearchSpace) -> Result<Self, PredictorError> {
        let position = |name: &str| header.iter().position(|column| column == name);
        let need = |name: String| {
            position(&name).ok_or_else(|| PredictorError::MissingColumn {
                column: name,
                found: header.iter().map(String::from).collect(),
            })
        };
        let accuracy = need("accuracy".into())?;
        let candidate = position("candidate");
        let blocks = match candidate {
            Some(_) => Vec::new(),
            None if position("block_0").is_none() => vec![need("candidate".into())?],
            None => {
                (0..space.blocks().len()).map(|i| need(format!("block_{i}"))).collect::<Result<_, _>>()?
            }
        };
        Ok(Self { candidate, blocks, accuracy })
    }

    fn candidate(
        &self,
        record: &csv::StringRecord,
        space: &SearchSpace,
        line: u64,
    ) -> Result<Candidate, PredictorError> {
        let outside = |source| PredictorError::OutsideSpace { line, source };
        let cell = |column: usize| record.get(column).unwrap_or_default();
        if let Some(column) = self.candidate {
            return Candidate::from_json(cell(column), space).map_err(outside);
        }
        let options =
            self.blocks.iter().enumerate().map(|(i, &column)| space.block_from_option(i, cell(column)));
        let subnet = Subnet { blocks: options.collect::<Result<_, _>>().map_err(outside)? };
        let candidate = Candidate { subnet, policy: None };
        space.contains(&candidate).map_err(outside)?;
        Ok(candidate)
    }

    fn accuracy(&self, record: &csv::StringRecord, line: u64) -> Result<f64, PredictorError> {
        let text = record.get(self.accuracy).unwrap_or_default();
        let value = text.parse::<f64>().ok().filter(|value| (0.0..=1.0).contains(value));
        value.ok_or_else(|| PredictorError::BadAccuracy { line, got: text.to_string() })
    }
}

fn table_error(error: csv::Error) -> PredictorError {
    let line = error.position().map_or(1, csv::Position::line);
    PredictorError::Table { line, message: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = r#"
name = "table"
[input]
size = 32
channels = 3
classes = 10
[stem]
out_channels = 16
stride = 1
[[stage]]
out_channels = 16
stride = 1
blocks = 2
options = ["skip", "k3e3", "k5e6"]
[head]
channels = 64
"#;

    fn read(text: &str) -> Result<Pairs, PredictorError> {
        Pairs::from_csv(text, &SearchSpace::from_toml(TABLE).expect("valid space"))
    }

    #[test]
    fn option_columns_and_candidates_read_alike() {
        let space = SearchSpace::from_toml(TABLE).expect("valid space");
        let pairs =
            read("# provenance\nblock_0,block_1,accuracy\nskip,k3e3,0.5\nk5e6,skip,0.75\n").expect("valid");
        assert_eq!(pairs.len(), 2);
        assert_eq!(Pairs::from_csv(&pairs.to_csv(&space), &space).expect("own output"), pairs);
    }

    #[test]
    fn every_mistake_names_its_line() {
        let head = "block_0,block_1,accuracy\nskip,k3e3,0.5\n";
        let cases = [
            ("k7e3,skip,0.5", "line 3: the candidate is not in the space"),
            ("k3e3,skip,1.5", "line 3: accuracy is `1.5`"),
            ("k3e3,skip,NaN", "line 3: accuracy is `NaN`"),
            ("k3e3,skip,", "line 3: accuracy is ``"),
            ("k3e3,skip", "line 3"),
            ("skip,k3e3,0.6", "lines 2 and 3: the same candidate has accuracy 0.5 and 0.6"),
        ];
        for (row, message) in cases {
            let error = read(&format!("{head}{row}\n")).expect_err(row).to_string();
            assert!(error.starts_with(message), "{row}: {error}");
        }
        assert_eq!(read(&format!("{head}skip,k3e3,0.5\n")).expect("an agreeing repeat").len(), 1);
    }

    #[test]
    fn missing_columns_are_named() {
        for (text, column) in [
            ("candidate,score\n", "accuracy"),
            ("net,accuracy\n", "candidate"),
            ("block_0,accuracy\n", "block_1"),
            ("", "accuracy"),
        ] {
            let error = read(text).expect_err(text);
            assert!(
                matches!(&error, PredictorError::MissingColumn { column: c, .. } if c == column),
                "{error}"
            );
            assert!(error.hint().is_some());
        }
    }

    #[test]
    fn too_few_and_constant_are_refused() {
        let space = SearchSpace::from_toml(TABLE).expect("valid space");
        let mut pairs = Pairs::default();
        assert!(matches!(pairs.check(), Err(PredictorError::TooFewPairs { got: 0, needed: FEWEST_PAIRS })));
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        (0..FEWEST_PAIRS).for_each(|_| pairs.push(space.random_candidate(&mut rng), 0.5));
        assert!(matches!(pairs.check(), Err(PredictorError::ConstantAccuracy { .. })));
        pairs.accuracies[3] = 0.6;
        assert!(pairs.check().is_ok());
    }

    #[test]
    fn split_is_a_partition() {
        let space = SearchSpace::from_toml(TABLE).expect("valid space");
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let mut pairs = Pairs::default();
        (0..20).for_each(|i| pairs.push(space.random_candidate(&mut rng), f64::from(i) / 20.0));
        let (first, rest) = pairs.split(7, 1);
        let mut all = [first.accuracies.clone(), rest.accuracies.clone()].concat();
        all.sort_by(f64::total_cmp);
        assert_eq!((first.len(), all), (7, pairs.accuracies.clone()));
        assert_ne!(first, pairs.split(7, 2).0);
    }
}
