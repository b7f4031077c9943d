//! # Enumeration: the oracle for small spaces
//!
//! Lists every candidate of a space that is small enough, so that a search can be held against the true optimum.

use sartor_space::Candidate;

use crate::boltzmann::Draft;
use crate::domain::Domain;
use crate::error::SearchError;
use crate::table::{ChoiceTable, StageTable};

/// Every allowed candidate, in a fixed order.
///
/// # Errors
/// [`SearchError::TooLarge`] if the space (before the budget) holds more than `limit`.
pub fn enumerate(domain: &Domain<'_>, limit: usize) -> Result<Vec<Candidate>, SearchError> {
    let candidates = domain.space().cardinality();
    if candidates > limit as f64 {
        return Err(SearchError::TooLarge { candidates, limit });
    }
    let table = domain.table();
    let mut all: Vec<Vec<Option<usize>>> = vec![Vec::new()];
    for stage in &table.stages {
        let parts = stage_choices(stage, table);
        all = all.iter().flat_map(|head| parts.iter().map(move |part| [&head[..], part].concat())).collect();
    }
    let candidates = all.iter().map(|rows| candidate(table, rows));
    Ok(candidates.filter(|candidate| domain.allows(candidate)).collect())
}

fn candidate(table: &ChoiceTable, rows: &[Option<usize>]) -> Candidate {
    let mut draft = Draft::new(table);
    for (index, row) in rows.iter().enumerate() {
        if let Some(row) = row {
            draft.set(table, index, *row);
        }
    }
    draft.finish()
}

fn stage_choices(stage: &StageTable, table: &ChoiceTable) -> Vec<Vec<Option<usize>>> {
    let count = stage.blocks.len();
    match &stage.depths {
        Some(depths) => depths
            .iter()
            .flat_map(|&depth| product(stage, table, |position| (position < depth, position >= depth)))
            .collect(),
        None => product(stage, table, |position| {
            (position < count, table.blocks[stage.blocks.start + position].skip > 0.0)
        }),
    }
}

/// All combinations of rows; `may(position)` says whether a block may be active and whether it may be skipped.
fn product(
    stage: &StageTable,
    table: &ChoiceTable,
    may: impl Fn(usize) -> (bool, bool),
) -> Vec<Vec<Option<usize>>> {
    let mut all: Vec<Vec<Option<usize>>> = vec![Vec::new()];
    for (position, index) in stage.blocks.clone().enumerate() {
        let (active, skipped) = may(position);
        let rows = if active { table.blocks[index].rows.len() } else { 0 };
        let choices: Vec<Option<usize>> =
            skipped.then_some(None).into_iter().chain((0..rows).map(Some)).collect();
        all = all
            .iter()
            .flat_map(|head| choices.iter().map(move |&choice| [&head[..], &[choice]].concat()))
            .collect();
    }
    all
}
