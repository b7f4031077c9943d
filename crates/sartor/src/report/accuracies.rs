//! Every accuracy with its split, number of images and interval.

use super::Facts;
use super::headline::amount;
use super::page::{Row, percent, percent_interval, remark, table};
use crate::records::Score;
use crate::statistics::{Accuracy, paired_difference};

const HEAD: [&str; 7] = ["network", "split", "accuracy", "95 % interval (%)", "images", "latency", "energy"];

/// Supernet and fine-tuned models.
pub fn write(facts: &Facts) -> Option<String> {
    let mut rows = Vec::new();
    if let Some(supernet) = &facts.supernet {
        rows.push(row(
            "largest network, full precision, after its own phase".to_owned(),
            "validation",
            supernet.teacher,
            None,
        ));
        rows.extend(
            supernet
                .inherited
                .iter()
                .map(|(name, accuracy)| row(name.clone(), "validation", *accuracy, None)),
        );
    }
    if let Some(largest) = &facts.largest {
        rows.push(row(format!("{}, inherited weights", largest.role), "test", largest.test, None));
    }
    for (index, score) in facts.scores.iter().enumerate() {
        let style = if index == 0 { "chosen" } else { "" };
        let name = format!("{} {}", score.role, score.id);
        rows.push(row(name.clone(), "validation", score.validation, Some(score)).styled(style));
        rows.push(row(name.clone(), "test", score.test, Some(score)).styled(style));
        rows.extend(score.integer.map(|integer| {
            row(format!("{name}, in integers"), "test", integer.test, Some(score)).styled(style)
        }));
    }
    let splits = facts.supernet.as_ref().map(|supernet| {
        let images = supernet.images;
        format!(
            "Split by seed {}: {} images to train on, {} for validation, {} for test; disjoint. Search, sampling and \
             predictors saw only validation; the test split is touched by the final score and by verification.",
            images.split_seed, images.train, images.validation, images.test
        )
    });
    let remarks = splits.into_iter().chain(agreement(facts)).chain(differences(facts));
    (!rows.is_empty()).then(|| table(&HEAD, &rows) + &remarks.map(|text| remark(&text)).collect::<String>())
}

/// How often the integer executor classifies like the network that was trained.
fn agreement(facts: &Facts) -> Option<String> {
    let shares = facts.scores.iter().filter_map(|score| Some(score.integer?.agreement));
    let worst = shares.reduce(f64::min)?;
    Some(format!(
        "In integers: the reference executor's accuracy; its top-1 is that of fake quantization on {} of test images or \
         more.",
        percent(worst)
    ))
}

/// The searched network against the others, image by image.
fn differences(facts: &Facts) -> Option<String> {
    let (winner, others) = facts.right.split_first()?;
    let difference = |(score, right): (&Score, &Option<Vec<bool>>)| {
        let (mean, half) = paired_difference(&[(winner.as_deref()?, right.as_deref()?)])?;
        Some(format!("{:+.2} ± {:.2} points against {}", 100.0 * mean, 100.0 * half, score.role))
    };
    let all: Vec<String> = facts.scores.iter().skip(1).zip(others).filter_map(difference).collect();
    (!all.is_empty()).then(|| {
        let all = all.join(", ");
        format!("On the same test images, in integers, the searched network: {all} (95 % intervals of paired differences).")
    })
}

fn row(name: String, split: &str, accuracy: Accuracy, score: Option<&Score>) -> Row {
    let cost = |metric: &str| {
        score.and_then(|score| Some(amount(metric, *score.costs.get(metric)?))).unwrap_or_default()
    };
    Row::plain([
        name,
        split.to_owned(),
        percent(accuracy.value),
        percent_interval(accuracy.interval()),
        accuracy.images.to_string(),
        cost("latency_ms"),
        cost("energy_mj"),
    ])
}
