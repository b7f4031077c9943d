//! What a value must be beyond its type: a flat list of rules.

use super::reading::line_of_key;
use super::sections::{Budget, Open, Sections};
use crate::failure::Failure;

/// A value outside its range.
#[derive(Debug, PartialEq)]
pub struct Broken {
    key: String,
    got: String,
    expected: &'static str,
}

impl Broken {
    /// The complaint with its place in the config's text.
    pub fn into_failure(self, text: &str, source: &str) -> Failure {
        let place = match line_of_key(text, &self.key) {
            Some(line) => format!("{source}, line {line}"),
            None => source.to_owned(),
        };
        Failure::bad_input(format!("{place}: `{}` must be {}, got {}", self.key, self.expected, self.got))
    }
}

/// Checks every value.
///
/// # Errors
/// The first value outside its range.
pub fn check(sections: &Sections) -> Result<(), Broken> {
    counts(sections)?;
    shares(sections)?;
    rates(sections)?;
    names(sections)?;
    phases(sections)?;
    budget(&sections.search.budget)
}

fn require(holds: bool, key: &str, got: impl ToString, expected: &'static str) -> Result<(), Broken> {
    if holds { Ok(()) } else { Err(Broken { key: key.to_owned(), got: got.to_string(), expected }) }
}

fn counts(sections: &Sections) -> Result<(), Broken> {
    let Sections { data, supernet, samples, predictor, hardware, search, finetune, .. } = sections;
    for (key, got) in [
        ("data.validation", data.validation),
        ("supernet.batch", supernet.batch),
        ("supernet.recalibration_images", supernet.recalibration_images),
        ("samples.policies_per_architecture", samples.policies_per_architecture),
        ("samples.finetune_batch", samples.finetune_batch),
        ("samples.calibration_images", samples.calibration_images),
        ("predictor.epochs", predictor.epochs),
        ("predictor.batch", predictor.batch),
        ("predictor.repeats", predictor.repeats),
        ("hardware.batch", hardware.batch),
        ("search.population", search.population),
        ("search.parents", search.parents),
        ("search.measure", search.measure),
        ("finetune.batch", finetune.batch),
        ("finetune.calibration_images", finetune.calibration_images),
    ] {
        require(got > 0, key, got, "at least 1")?;
    }
    for (key, got) in [
        ("samples.full_precision", samples.full_precision),
        ("samples.mixed_precision", samples.mixed_precision),
    ] {
        require(got >= 10, key, got, "at least 10, or nothing can be held out")?;
    }
    require(
        search.parents <= search.population,
        "search.parents",
        search.parents,
        "at most `search.population`",
    )
}

fn shares(sections: &Sections) -> Result<(), Broken> {
    for (key, got) in [
        ("supernet.label_smoothing", sections.supernet.label_smoothing),
        ("supernet.momentum", sections.supernet.momentum),
        ("search.mutation_probability", sections.search.mutation_probability),
        ("search.mutation_share", sections.search.mutation_share),
    ] {
        require((0.0..=1.0).contains(&got), key, got, "from 0 to 1")?;
    }
    let holdout = sections.predictor.holdout;
    require(holdout > 0.0 && holdout < 1.0, "predictor.holdout", holdout, "between 0 and 1")
}

fn rates(sections: &Sections) -> Result<(), Broken> {
    for (key, got) in [
        ("samples.finetune_learning_rate", sections.samples.finetune_learning_rate),
        ("predictor.learning_rate", sections.predictor.learning_rate),
        ("finetune.learning_rate", sections.finetune.learning_rate),
    ] {
        require(got.is_finite() && got > 0.0, key, got, "a positive number")?;
    }
    for (key, got) in [
        ("supernet.weight_decay", sections.supernet.weight_decay),
        ("supernet.distillation", sections.supernet.distillation),
        ("predictor.weight_decay", sections.predictor.weight_decay),
    ] {
        require(got.is_finite() && got >= 0.0, key, got, "zero or a positive number")?;
    }
    Ok(())
}

fn names(sections: &Sections) -> Result<(), Broken> {
    let strategy = sections.search.strategy.as_str();
    require(
        matches!(strategy, "evolution" | "random"),
        "search.strategy",
        strategy,
        "`evolution` or `random`",
    )?;
    for format in &sections.export.formats {
        require(format == "onnx", "export.formats", format, "a list of formats out of `onnx`")?;
    }
    let hidden = &sections.predictor.hidden;
    let widths = format!("{hidden:?}");
    require(
        !hidden.is_empty() && !hidden.contains(&0),
        "predictor.hidden",
        widths,
        "widths of at least one layer",
    )
}

fn phases(sections: &Sections) -> Result<(), Broken> {
    let phases = &sections.supernet.phases;
    let first = phases.first().map(|phase| phase.open);
    require(
        first == Some(Open::Largest),
        "supernet.phases",
        first.map_or("none".to_owned(), |open| format!("{open:?} first").to_lowercase()),
        "a list that starts with `open = \"largest\"`, the later teacher",
    )?;
    for phase in phases {
        require(
            phase.epochs > 0,
            "supernet.phases",
            format!("epochs = {}", phase.epochs),
            "at least 1 epoch each",
        )?;
        let rate = phase.learning_rate;
        let got = format!("learning_rate = {rate}");
        require(rate.is_finite() && rate > 0.0, "supernet.phases", got, "of positive learning rates")?;
        let subnets = phase.subnets.unwrap_or(1);
        require(subnets > 0, "supernet.phases", "subnets = 0", "at least 1 subnet a step")?;
    }
    Ok(())
}

fn budget(budget: &Budget) -> Result<(), Broken> {
    for (key, got) in [
        ("search.budget.latency_ms", budget.latency_ms),
        ("search.budget.energy_mj", budget.energy_mj),
        ("search.budget.bitops", budget.bitops),
        ("search.budget.size_bytes", budget.size_bytes),
        ("search.budget.peak_activation_bytes", budget.peak_activation_bytes),
        ("search.budget.macs", budget.macs),
        ("search.budget.latency_share", budget.latency_share),
        ("search.budget.energy_share", budget.energy_share),
        ("search.budget.bitops_share", budget.bitops_share),
        ("search.budget.size_share", budget.size_share),
        ("search.budget.peak_activation_share", budget.peak_activation_share),
        ("search.budget.macs_share", budget.macs_share),
    ] {
        let limit = got.unwrap_or(1.0);
        require(limit.is_finite() && limit > 0.0, key, limit, "a positive number")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::reading::read;

    #[test]
    fn defaults_pass() {
        assert_eq!(check(&Sections::default()), Ok(()));
    }

    #[test]
    fn every_kind_of_rule_bites() {
        for (text, message) in [
            ("[search]\npopulation = 0", "c.toml, line 2: `search.population` must be at least 1, got 0"),
            (
                "[predictor]\nholdout = 1.0",
                "c.toml, line 2: `predictor.holdout` must be between 0 and 1, got 1",
            ),
            (
                "[search.budget]\n\nenergy_mj = -2",
                "c.toml, line 3: `search.budget.energy_mj` must be a positive number, got -2",
            ),
            (
                "[[supernet.phases]]\nopen = \"kernel\"\nepochs = 1\nlearning_rate = 0.1",
                "c.toml, line 1: `supernet.phases` must be a list that starts with `open = \"largest\"`, the later teacher, got kernel first",
            ),
            (
                "[search]\nstrategy = \"luck\"",
                "c.toml, line 2: `search.strategy` must be `evolution` or `random`, got luck",
            ),
        ] {
            let broken = check(&read(text, "c.toml").expect(text)).expect_err(text);
            assert_eq!(broken.into_failure(text, "c.toml").to_string(), message);
        }
    }
}
