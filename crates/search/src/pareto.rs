//! # Pareto front over any number of objectives
//!
//! A point dominates another when it is at least as good everywhere and better somewhere. The front keeps one
//! evaluation per point of objective space: the first that came.

use crate::evaluation::Evaluation;
use crate::metric::Metric;

/// Score (to be maximised) against some costs (to be minimised); holds only evaluations that nothing dominates.
#[derive(Debug, Clone, PartialEq)]
pub struct ParetoFront {
    metrics: Vec<Metric>,
    members: Vec<Evaluation>,
}

/// Whether `a` dominates `b`; both are vectors of values to minimise, of the same length.
pub fn dominates(a: &[f64], b: &[f64]) -> bool {
    a.iter().zip(b).all(|(x, y)| x <= y) && a.iter().zip(b).any(|(x, y)| x < y)
}

/// Values to minimise: minus the score, then the costs.
pub fn objectives(evaluation: &Evaluation, metrics: &[Metric]) -> Vec<f64> {
    let costs = metrics.iter().map(|&metric| evaluation.costs.get(metric));
    std::iter::once(-evaluation.score).chain(costs).collect()
}

impl ParetoFront {
    /// An empty front of score against these metrics.
    pub fn new(metrics: impl IntoIterator<Item = Metric>) -> Self {
        Self { metrics: metrics.into_iter().collect(), members: Vec::new() }
    }

    /// The cost metrics of this front.
    pub fn metrics(&self) -> &[Metric] {
        &self.metrics
    }

    /// Offers an evaluation; true if it entered. Anything not a number is refused.
    pub fn offer(&mut self, evaluation: &Evaluation) -> bool {
        let point = objectives(evaluation, &self.metrics);
        let beaten = |member: &Evaluation| {
            let other = objectives(member, &self.metrics);
            dominates(&other, &point) || other == point
        };
        if point.iter().any(|value| value.is_nan()) || self.members.iter().any(beaten) {
            return false;
        }
        let metrics = &self.metrics;
        self.members.retain(|member| !dominates(&point, &objectives(member, metrics)));
        self.members.push(evaluation.clone());
        true
    }

    /// Members, best score first, then by candidate.
    pub fn sorted(&self) -> Vec<&Evaluation> {
        let mut members: Vec<&Evaluation> = self.members.iter().collect();
        members.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.candidate.cmp(&b.candidate)));
        members
    }

    /// Members in the order they entered.
    pub fn members(&self) -> &[Evaluation] {
        &self.members
    }
}

/// Fast non-dominated sorting (Deb et al. 2002): rank 0 is the front, rank 1 the front without it, and so on.
///
/// `points` are to be minimised.
pub fn ranks(points: &[Vec<f64>]) -> Vec<usize> {
    let count = points.len();
    let mut dominated_by = vec![0usize; count];
    let mut dominated: Vec<Vec<usize>> = vec![Vec::new(); count];
    for a in 0..count {
        for b in 0..count {
            if dominates(&points[a], &points[b]) {
                dominated[a].push(b);
                dominated_by[b] += 1;
            }
        }
    }
    peel(&dominated, dominated_by)
}

fn peel(dominated: &[Vec<usize>], mut dominated_by: Vec<usize>) -> Vec<usize> {
    let mut ranks = vec![0; dominated.len()];
    let mut front: Vec<usize> = (0..dominated.len()).filter(|&index| dominated_by[index] == 0).collect();
    for rank in 0..dominated.len() {
        let mut next = Vec::new();
        for &member in &front {
            ranks[member] = rank;
            for &other in &dominated[member] {
                dominated_by[other] -= 1;
                if dominated_by[other] == 0 {
                    next.push(other);
                }
            }
        }
        front = next;
    }
    ranks
}

/// Crowding distance (Deb et al. 2002) of points of one rank: large where the front is sparse, infinite at its
/// ends.
pub fn crowding(points: &[Vec<f64>]) -> Vec<f64> {
    let mut distances = vec![0.0; points.len()];
    let dimensions = points.first().map_or(0, Vec::len);
    for dimension in 0..dimensions {
        let mut order: Vec<usize> = (0..points.len()).collect();
        order.sort_by(|&a, &b| points[a][dimension].total_cmp(&points[b][dimension]).then(a.cmp(&b)));
        let value = |position: usize| points[order[position]][dimension];
        let range = (value(order.len() - 1) - value(0)).max(f64::MIN_POSITIVE);
        distances[order[0]] = f64::INFINITY;
        distances[order[order.len() - 1]] = f64::INFINITY;
        for position in 1..order.len().saturating_sub(1) {
            distances[order[position]] += (value(position + 1) - value(position - 1)) / range;
        }
    }
    distances
}
