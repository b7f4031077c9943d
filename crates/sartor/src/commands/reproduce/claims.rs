//! Which claims hold, by how much, with how many seeds. A difference counts when it is larger than its 95 % interval: that
//! over seeds, but never less than what the number of test images allows.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::arms::Row;
use super::figures::{About, Arm, Claim, Figure};
use crate::statistics::{Z_95, mean_with_interval, paired_difference};

/// Largest relative distance from a target that counts as on it.
const ON_TARGET: f64 = 0.03;

/// What became of a claim.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// The claim.
    pub claim: String,
    /// `holds`, `does not hold`, `undecided` or `not measured`.
    pub verdict: &'static str,
    /// By how much, in `unit`.
    pub difference: Option<f64>,
    /// Half the 95 % interval.
    pub half_width: Option<f64>,
    /// `points`, `times` or `%`.
    pub unit: &'static str,
    /// Seeds.
    pub seeds: usize,
    /// What the papers print.
    pub published: String,
}

impl Verdict {
    /// One line for people.
    pub fn line(&self) -> String {
        let amount = match (self.difference, self.half_width) {
            (Some(difference), Some(half)) => format!("{difference:+.2} ± {half:.2} {}", self.unit),
            (Some(difference), None) => format!("{difference:.2} {}", self.unit),
            _ => "no pair of results".to_owned(),
        };
        let seeds = count_of_seeds(self.seeds as u64);
        format!("{:<13} {}: {amount}, {seeds}; published: {}", self.verdict, self.claim, self.published)
    }
}

/// Every claim of a figure.
pub fn judge(figure: &Figure, rows: &[Row]) -> Vec<Verdict> {
    figure.claims.iter().map(|claim| judge_one(claim, figure.arms, rows)).collect()
}

fn judge_one(claim: &Claim, arms: &[Arm], rows: &[Row]) -> Verdict {
    let pairs = pairs(claim, rows);
    let seeds = pairs.iter().map(|(better, _)| better.seed).collect::<BTreeSet<_>>().len();
    let (verdict, difference, half_width, unit) = match claim.about {
        About::Accuracy | About::TightAccuracy => accuracy(&pairs),
        About::SearchTime => time(&pairs),
        About::OnTarget => on_target(&pairs, |row| row.latency_ms),
        About::ExpectedOnTarget => on_target(&pairs, |row| row.expected_latency_ms),
        About::MostProbableOnTarget => on_target(&pairs, |row| row.most_probable_latency_ms),
        About::FallingEnergy => falling_energy(arms, rows),
        About::DepthwiseBits => depthwise_bits(rows),
    };
    let (claim, published) = (claim.text.to_owned(), claim.published.to_owned());
    Verdict { claim, verdict, difference, half_width, unit, seeds, published }
}

/// `1 seed`, `3 seeds`.
pub fn count_of_seeds(count: u64) -> String {
    if count == 1 { "1 seed".to_owned() } else { format!("{count} seeds") }
}

/// Both arms' results under the same budget with the same seed.
fn pairs<'a>(claim: &Claim, rows: &'a [Row]) -> Vec<(&'a Row, &'a Row)> {
    let measured = |row: &&Row| row.latency_ms.is_some();
    let of = |label: &str| rows.iter().filter(measured).filter(|row| row.arm == label).collect::<Vec<&Row>>();
    let others = of(claim.other);
    let partner =
        |row: &Row| others.iter().copied().find(|other| other.seed == row.seed && other.budget == row.budget);
    let all: Vec<(&Row, &Row)> =
        of(claim.better).into_iter().filter_map(|row| Some((row, partner(row)?))).collect();
    let tightest = all.iter().map(|(row, _)| row.budget).fold(f64::INFINITY, f64::min);
    let wanted = |row: &Row| claim.about != About::TightAccuracy || row.budget == tightest;
    all.into_iter().filter(|(row, _)| wanted(row)).collect()
}

type Judged = (&'static str, Option<f64>, Option<f64>, &'static str);

fn accuracy(pairs: &[(&Row, &Row)]) -> Judged {
    let unit = "points";
    let mut seeds: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
    for (one, other) in pairs {
        if let (Some(own), Some(theirs)) = (one.test, other.test) {
            seeds.entry(one.seed).or_default().push(100.0 * (own - theirs));
        }
    }
    if seeds.is_empty() {
        return ("not measured", None, None, unit);
    }
    // What differs from budget to budget is no error: every seed has seen all of them.
    let of_seed = |all: &Vec<f64>| all.iter().sum::<f64>() / all.len() as f64;
    let (mean, over_seeds) = mean_with_interval(&seeds.values().map(of_seed).collect::<Vec<f64>>());
    let half = over_seeds.unwrap_or(0.0).max(of_images(pairs));
    (word(mean, half), Some(mean), Some(half), unit)
}

/// Half the interval of the mean difference that the test images alone leave, in points: image by image where the models left
/// their answers.
fn of_images(pairs: &[(&Row, &Row)]) -> f64 {
    fn right(row: &Row) -> Option<&[bool]> {
        row.right.as_deref()
    }
    let answers: Option<Vec<_>> = pairs.iter().map(|(one, other)| right(one).zip(right(other))).collect();
    if let Some((_, half)) = answers.and_then(|answers| paired_difference(&answers)) {
        return 100.0 * half;
    }
    let one = |row: &Row| {
        let share = row.test.unwrap_or(0.0);
        share * (1.0 - share) / row.images.max(1) as f64
    };
    let variance: f64 = pairs.iter().map(|(better, other)| one(better) + one(other)).sum();
    let count = pairs.len().max(1) as f64;
    // The images are the same in every pair: more pairs do not make them more.
    100.0 * Z_95 * (variance / count).sqrt()
}

/// What a mean difference and half the width of its interval say.
pub fn word(mean: f64, half: f64) -> &'static str {
    match () {
        () if mean > half => "holds",
        () if mean < -half => "does not hold",
        () => "undecided",
    }
}

fn time(pairs: &[(&Row, &Row)]) -> Judged {
    let total = |rows: Vec<&Row>| rows.iter().filter_map(|row| row.search_seconds).sum::<f64>();
    let (own, other) =
        (total(pairs.iter().map(|pair| pair.0).collect()), total(pairs.iter().map(|pair| pair.1).collect()));
    if own <= 0.0 || other <= 0.0 {
        return ("not measured", None, None, "times");
    }
    let ratio = other / own;
    (if ratio > 1.0 { "holds" } else { "does not hold" }, Some(ratio), None, "times")
}

/// The worst distance of a latency from its limit.
fn on_target(pairs: &[(&Row, &Row)], latency: fn(&Row) -> Option<f64>) -> Judged {
    let distance = |(row, _): &(&Row, &Row)| {
        let (latency, limit) = (latency(row)?, row.latency_limit_ms?);
        Some((latency / limit - 1.0).abs())
    };
    let worst = pairs.iter().filter_map(distance).reduce(f64::max);
    let verdict =
        worst.map_or("not measured", |worst| if worst <= ON_TARGET { "holds" } else { "does not hold" });
    (verdict, worst.map(|worst| 100.0 * worst), None, "%")
}

/// The mean relative step down over all neighbouring arms; every single one must go down.
fn falling_energy(arms: &[Arm], rows: &[Row]) -> Judged {
    let energies = |seed: u64| -> Vec<f64> {
        let of = |arm: &Arm| rows.iter().find(|row| row.seed == seed && row.arm == arm.label)?.energy_mj;
        arms.iter().filter_map(of).collect()
    };
    let seeds: BTreeSet<u64> = rows.iter().map(|row| row.seed).collect();
    let step = |pair: &[f64]| 100.0 * (pair[0] / pair[1] - 1.0);
    let steps = |seed: u64| energies(seed).windows(2).map(step).collect::<Vec<f64>>();
    let steps: Vec<f64> = seeds.into_iter().flat_map(steps).collect();
    if steps.is_empty() {
        return ("not measured", None, None, "%");
    }
    let verdict = if steps.iter().all(|step| *step > 0.0) { "holds" } else { "does not hold" };
    (verdict, Some(steps.iter().sum::<f64>() / steps.len() as f64), None, "%")
}

/// How many bits more the 1×1 convolutions have than the depthwise layers, mean over blocks, then over rows.
fn depthwise_bits(rows: &[Row]) -> Judged {
    let differences: Vec<f64> = rows.iter().filter_map(|row| more_bits(&row.candidate)).collect();
    if differences.is_empty() {
        return ("not measured", None, None, "bits");
    }
    let (mean, half) = mean_with_interval(&differences);
    let half = half.unwrap_or(f64::INFINITY);
    (word(mean, half), Some(mean), Some(half).filter(|half| half.is_finite()), "bits")
}

fn more_bits(candidate: &str) -> Option<f64> {
    let candidate: serde_json::Value = serde_json::from_str(candidate).ok()?;
    let bits = |block: &serde_json::Value, name: &str| block.get(name).and_then(serde_json::Value::as_f64);
    let of = |block: &serde_json::Value| {
        let layer = |layer: &str| -> Option<f64> {
            let both = [format!("{layer}_weight_bits"), format!("{layer}_activation_bits")];
            Some((bits(block, &both[0])? + bits(block, &both[1])?) / 2.0)
        };
        Some(layer("pointwise")? - layer("depthwise")?)
    };
    let blocks: Vec<f64> = candidate.get("blocks")?.as_array()?.iter().filter_map(of).collect();
    (!blocks.is_empty()).then(|| blocks.iter().sum::<f64>() / blocks.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(arm: &str, seed: u64, budget: f64, test: f64, images: usize) -> Row {
        Row {
            arm: arm.to_owned(),
            method: arm.to_owned(),
            seed,
            budget,
            test: Some(test),
            images,
            latency_ms: Some(1.02 * budget),
            expected_latency_ms: Some(0.9 * budget),
            latency_limit_ms: Some(budget),
            search_seconds: Some(if arm == "a" { 1.0 } else { 50.0 }),
            ..Row::default()
        }
    }

    fn claim(about: About) -> Claim {
        Claim { text: "a is better", better: "a", other: "b", about, published: "+1" }
    }

    #[test]
    fn differences_count_only_beyond_their_interval() {
        for (better, images, expected) in
            [(0.9, 10_000, "holds"), (0.81, 1000, "undecided"), (0.7, 10_000, "does not hold")]
        {
            let rows = [row("a", 0, 1.0, better, images), row("b", 0, 1.0, 0.8, images)];
            let verdict = judge_one(&claim(About::Accuracy), &[], &rows);
            assert_eq!(verdict.verdict, expected, "{}", verdict.line());
            assert_eq!(verdict.seeds, 1);
        }
    }

    #[test]
    fn only_equal_budgets_and_seeds_are_compared() {
        let rows =
            [row("a", 0, 1.0, 0.9, 10_000), row("b", 0, 2.0, 0.1, 10_000), row("b", 1, 1.0, 0.1, 10_000)];
        assert_eq!(judge_one(&claim(About::Accuracy), &[], &rows).verdict, "not measured");
    }

    #[test]
    fn tight_claims_look_at_the_tightest_budget_and_times_at_ratios() {
        let rows = [
            row("a", 0, 1.0, 0.9, 10_000),
            row("b", 0, 1.0, 0.8, 10_000),
            row("a", 0, 2.0, 0.2, 10_000),
            row("b", 0, 2.0, 0.8, 10_000),
        ];
        assert_eq!(judge_one(&claim(About::TightAccuracy), &[], &rows).verdict, "holds");
        assert_eq!(judge_one(&claim(About::Accuracy), &[], &rows).verdict, "does not hold");
        let time = judge_one(&claim(About::SearchTime), &[], &rows);
        assert_eq!((time.verdict, time.difference), ("holds", Some(50.0)));
        assert_eq!(judge_one(&claim(About::OnTarget), &[], &rows).verdict, "holds");
        let expected = judge_one(&claim(About::ExpectedOnTarget), &[], &rows);
        assert_eq!(expected.verdict, "does not hold");
        assert!((expected.difference.unwrap() - 10.0).abs() < 1e-9);
        assert_eq!(judge_one(&claim(About::MostProbableOnTarget), &[], &rows).verdict, "not measured");
    }

    #[test]
    fn energy_must_fall_at_every_step() {
        let arm = |label| Arm { label, method: "gong", set: &[] };
        let arms = [arm("a"), arm("b"), arm("c")];
        let judge = |energies: [f64; 3]| {
            let labels = ["a", "b", "c"].into_iter().zip(energies);
            let with = |(label, energy)| Row { energy_mj: Some(energy), ..row(label, 0, 1.0, 0.5, 100) };
            let rows: Vec<Row> = labels.map(with).collect();
            judge_one(&claim(About::FallingEnergy), &arms, &rows).verdict
        };
        assert_eq!(judge([3.0, 2.0, 1.0]), "holds");
        assert_eq!(judge([3.0, 1.0, 2.0]), "does not hold");
    }

    #[test]
    fn bits_are_compared_block_by_block() {
        let block = |pointwise: u8, depthwise: u8| {
            format!(
                r#"{{"pointwise_weight_bits":{pointwise},"pointwise_activation_bits":{pointwise},"depthwise_weight_bits":{depthwise},"depthwise_activation_bits":{depthwise}}}"#
            )
        };
        let candidate = format!(r#"{{"blocks":[null,{},{}]}}"#, block(8, 4), block(4, 6));
        assert_eq!(more_bits(&candidate), Some(1.0));
        assert_eq!(more_bits("{}"), None);
    }
}
