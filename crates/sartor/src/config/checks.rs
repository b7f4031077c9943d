//! What a value must be beyond its type: a flat list of rules.

use super::methods::{ARCHITECTURE_SEARCHES, Methods};
use super::reading::line_of_key;
use super::sections::{BEST_METHOD, Budget, Sections};
use crate::failure::Failure;
use sartor_export::Format;
use sartor_predictor::Method;
use sartor_search::{ddpg, strategies};
use sartor_supernet::SupernetError;

/// A value outside its range.
#[derive(Debug, PartialEq)]
pub struct Broken {
    key: String,
    got: String,
    expected: String,
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
    methods(&sections.method)?;
    trainings(sections)?;
    budget(&sections.search.budget)
}

fn require(holds: bool, key: &str, got: impl ToString, expected: &str) -> Result<(), Broken> {
    if holds {
        Ok(())
    } else {
        Err(Broken { key: key.to_owned(), got: got.to_string(), expected: expected.to_owned() })
    }
}

fn counts(sections: &Sections) -> Result<(), Broken> {
    let Sections { data, samples, predictor, hardware, search, .. } = sections;
    for (key, got) in [
        ("data.validation", data.validation),
        ("samples.policies_per_architecture", samples.policies_per_architecture),
        ("predictor.members", predictor.members),
        ("predictor.hidden", predictor.hidden),
        ("predictor.epochs", predictor.epochs),
        ("predictor.batch", predictor.batch),
        ("predictor.repeats", predictor.repeats),
        ("hardware.batch", hardware.batch),
        ("search.population", search.population),
        ("search.parents", search.parents),
        ("search.rounds", search.rounds),
        ("search.measure", search.measure),
        ("search.measure_references", search.measure_references),
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
        ("search.mutation_probability", sections.search.mutation_probability),
        ("search.mutation_share", sections.search.mutation_share),
    ] {
        require((0.0..=1.0).contains(&got), key, got, "from 0 to 1")?;
    }
    let holdout = sections.predictor.holdout;
    require(holdout > 0.0 && holdout < 1.0, "predictor.holdout", holdout, "between 0 and 1")
}

fn rates(sections: &Sections) -> Result<(), Broken> {
    let rate = sections.predictor.learning_rate;
    require(rate.is_finite() && rate > 0.0, "predictor.learning_rate", rate, "a positive number")?;
    let decay = sections.predictor.weight_decay;
    require(decay.is_finite() && decay >= 0.0, "predictor.weight_decay", decay, "zero or a positive number")
}

fn names(sections: &Sections) -> Result<(), Broken> {
    let strategy = sections.search.strategy.as_str();
    require(
        strategies::NAMES.contains(&strategy),
        "search.strategy",
        strategy,
        &strategies::NAMES.join(", "),
    )?;
    let method = sections.predictor.method.as_str();
    let methods = Method::ALL.map(Method::name).join(", ");
    let known = method == BEST_METHOD || Method::named(method).is_some();
    require(known, "predictor.method", method, &format!("{BEST_METHOD}, {methods}"))?;
    for format in &sections.export.formats {
        let known = Format::ALL.map(Format::name).join(", ");
        require(
            Format::from_name(format).is_some(),
            "export.formats",
            format,
            &format!("formats out of {known}"),
        )?;
    }
    Ok(())
}

fn methods(methods: &Methods) -> Result<(), Broken> {
    let known: Vec<&str> = crate::methods::names().collect();
    let name = methods.name.as_str();
    require(known.contains(&name), "method.name", name, &known.join(", "))?;
    require(!methods.uniform.bits.is_empty(), "method.uniform.bits", "an empty list", "at least one width")?;
    let Methods { spos, amc, haq, sequential, .. } = methods;
    for (key, got) in [
        ("method.spos.population", spos.population),
        ("method.spos.parents", spos.parents),
        ("method.spos.images", spos.images),
        ("method.amc.episodes", amc.episodes),
        ("method.amc.images", amc.images),
        ("method.haq.episodes", haq.episodes),
        ("method.haq.images", haq.images),
    ] {
        require(got > 0, key, got, "at least 1")?;
    }
    let probability = spos.mutation_probability;
    require(
        (0.0..=1.0).contains(&probability),
        "method.spos.mutation_probability",
        probability,
        "from 0 to 1",
    )?;
    let kept = amc.least_kept;
    require(kept > 0.0 && kept <= 1.0, "method.amc.least_kept", kept, "above 0, up to 1")?;
    positive("method.haq.reward_scale", haq.reward_scale)?;
    positive("method.sequential.architecture_limit", sequential.architecture_limit)?;
    positive("method.sequential.pruning_limit", sequential.pruning_limit)?;
    let search = sequential.architecture.as_str();
    let listed = ARCHITECTURE_SEARCHES.contains(&search);
    require(listed, "method.sequential.architecture", search, &ARCHITECTURE_SEARCHES.join(", "))?;
    agent("amc", &amc.agent)?;
    agent("haq", &haq.agent)
}

fn positive(key: &str, got: f64) -> Result<(), Broken> {
    require(got.is_finite() && got > 0.0, key, got, "a positive number")
}

fn agent(method: &str, agent: &ddpg::Settings) -> Result<(), Broken> {
    let key = |name: &str| format!("method.{method}.agent.{name}");
    for (name, got) in [("hidden", agent.hidden), ("memory", agent.memory), ("batch", agent.batch)] {
        require(got > 0, &key(name), got, "at least 1")?;
    }
    for (name, got) in [("actor_rate", agent.actor_rate), ("critic_rate", agent.critic_rate)] {
        positive(&key(name), got)?;
    }
    for (name, got) in [
        ("soft_update", agent.soft_update),
        ("discount", agent.discount),
        ("noise", agent.noise),
        ("noise_decay", agent.noise_decay),
    ] {
        require((0.0..=1.0).contains(&got), &key(name), got, "from 0 to 1")?;
    }
    Ok(())
}

/// Training settings check themselves; their complaint gets the section's name.
fn trainings(sections: &Sections) -> Result<(), Broken> {
    within("supernet", sections.supernet.check())?;
    within("samples.finetune", sections.samples.finetune.check())?;
    within("finetune", sections.finetune.check())?;
    let methods = &sections.method;
    within("method.gong.search", methods.gong.search.check())?;
    within("method.dnas.gradient.search", methods.dnas.gradient.search.check())?;
    within("method.proxyless.search", methods.proxyless.search.check())
}

fn within(section: &str, checked: Result<(), SupernetError>) -> Result<(), Broken> {
    checked.map_err(|error| match error {
        SupernetError::Setting { setting, got, expected } => {
            Broken { key: format!("{section}.{setting}"), got, expected: expected.to_owned() }
        }
        other => {
            Broken { key: section.to_owned(), got: other.to_string(), expected: "valid settings".to_owned() }
        }
    })
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
                "[finetune]
batch = 0",
                "c.toml, line 2: `finetune.batch` must be at least 1, got 0",
            ),
            (
                "[search]\nstrategy = \"luck\"",
                "c.toml, line 2: `search.strategy` must be evolution, random, regularised, local, nsga, got luck",
            ),
        ] {
            let broken = check(&read(text, "c.toml").expect(text)).expect_err(text);
            assert_eq!(broken.into_failure(text, "c.toml").to_string(), message);
        }
    }
}
