//! Ways to predict on equal pairs: methods from scratch, variants of transfer, learning curves.

use std::path::Path;

use anyhow::{Context, Result};
use sartor_predictor::{
    CurvePoint, FEWEST_PAIRS, FitSettings, Freeze, HeadPlacement, Method, MlpSettings, Pairs, Predictor,
    TransferSettings, learning_curve,
};
use sartor_space::SearchSpace;
use serde_json::{Map, Value, json};

use super::quality;
use crate::config::sections::Predictor as Settings;
use crate::progress::Progress;
use crate::records::{Contender, CurveRow, PredictorMetrics};
use crate::run_folder::artefact;
use crate::talk;

/// Learning curves, as a CSV.
pub const CURVES: &str = "learning-curve.csv";
/// The papers' network in the table of methods.
const PAPERS: &str = "papers";
/// Sizes on a learning curve.
const SIZES: usize = 5;

/// Every method from scratch on the same pairs and splits, and the papers' plain network.
///
/// # Errors
/// Whatever fitting fails with.
pub fn methods(space: &SearchSpace, pairs: &Pairs, settings: &Settings, seed: u64) -> Result<Vec<Contender>> {
    let papers = FitSettings { members: 1, mlp: MlpSettings::of_the_papers() };
    let judged = quality::judge_all(pairs, settings, seed, |known, seed| {
        let mut all = Predictor::fit_every_method(space, known, &settings.fit(), seed)?;
        all.push(Predictor::fit(space, known, &papers, seed)?);
        Ok(all)
    })?;
    let names = Method::ALL.map(|method| (method.name(), describe(method)));
    let papers = (PAPERS, "one network, 400 wide, plain regression, as the papers describe it");
    let contender = |((name, what), judged): ((&str, &str), quality::Judged)| Contender {
        name: name.to_owned(),
        what: what.to_owned(),
        quality: judged.quality,
    };
    Ok(names.into_iter().chain([papers]).zip(judged).map(contender).collect())
}

fn describe(method: Method) -> &'static str {
    match method {
        Method::Networks => "an ensemble of networks that share rows while training",
        Method::Process => "a Gaussian process on described candidates",
        Method::Ridge => "ridge regression on the encoding",
        Method::Both => "the mean of networks and process",
    }
}

/// A transfer and everything it is compared with.
pub struct Contest<'a> {
    /// Space of the pairs.
    pub space: &'a SearchSpace,
    /// The full-precision predictor.
    pub base: &'a Predictor,
    /// Mixed-precision pairs.
    pub pairs: &'a Pairs,
    /// How predictors are fitted, and how many pairs are held out.
    pub settings: &'a Settings,
    /// Of splits and fits.
    pub seed: u64,
}

/// Where the policy head may join, and what may stay as it is.
const PLACEMENTS: [(&str, HeadPlacement); 2] =
    [("after", HeadPlacement::AfterActivation), ("before", HeadPlacement::BeforeActivation)];
const FROZEN: [(&str, Freeze); 3] = [
    ("nothing", Freeze::Nothing),
    ("architecture", Freeze::Architecture),
    ("all-but-heads", Freeze::AllButHeads),
];

impl Contest<'_> {
    /// Transferred, and from scratch on the same pairs.
    ///
    /// # Errors
    /// Whatever fitting fails with.
    pub fn judge(&self) -> Result<PredictorMetrics> {
        let settings = self.settings;
        let transferred = quality::judge(self.pairs, settings, self.seed, |known, seed| {
            Ok(self.base.transfer_to_judge(known, settings.method(), &settings.transfer(), seed)?)
        })?;
        let scratch = quality::judge(self.pairs, settings, self.seed, |known, seed| {
            Ok(Predictor::fit_to_judge(self.space, known, settings.method(), &settings.fit(), seed)?)
        })?;
        let metrics = quality::metrics(transferred.method, self.pairs.len(), settings, transferred);
        Ok(PredictorMetrics { scratch: Some(scratch.quality), ..metrics })
    }

    /// Where the policy head joins and what is frozen, for the networks alone; the other methods beside them.
    ///
    /// # Errors
    /// Whatever fitting fails with.
    pub fn variants(&self) -> Result<Vec<Contender>> {
        let mut all = Vec::new();
        let mut progress =
            Progress::new("variants", (PLACEMENTS.len() * FROZEN.len() + 2 * Method::ALL.len()) as u64, 0);
        let mut note = |all: &mut Vec<Contender>, contender: Contender| {
            progress.at(all.len() as u64 + 1, &contender.name);
            all.push(contender);
        };
        for (place, placement) in PLACEMENTS {
            for (frozen, freeze) in FROZEN {
                let settings = TransferSettings { placement, freeze, ..self.settings.transfer() };
                let name = format!("head-{place}-freeze-{frozen}");
                let what = format!(
                    "networks, policy head {place} the first ReLU, frozen: {}",
                    frozen.replace('-', " ")
                );
                note(&mut all, self.contender(name, what, Some((Method::Networks, settings)))?);
            }
        }
        for method in Method::ALL {
            let settings = self.settings.transfer();
            let (name, what) = (method.name(), describe(method));
            let (name, what) = (format!("transfer-{name}"), format!("transferred: {what}"));
            note(&mut all, self.contender(name, what, Some((method, settings)))?);
        }
        for method in Method::ALL {
            note(&mut all, self.scratch(method)?);
        }
        Ok(all)
    }

    fn contender(
        &self,
        name: String,
        what: String,
        way: Option<(Method, TransferSettings)>,
    ) -> Result<Contender> {
        let judged = quality::judge(self.pairs, self.settings, self.seed, |known, seed| match way {
            Some((method, settings)) => {
                Ok(self.base.transfer_to_judge(known, Some(method), &settings, seed)?)
            }
            None => Ok(Predictor::fit_to_judge(self.space, known, None, &self.settings.fit(), seed)?),
        })?;
        Ok(Contender { name, what, quality: judged.quality })
    }

    fn scratch(&self, method: Method) -> Result<Contender> {
        let judged = quality::judge(self.pairs, self.settings, self.seed, |known, seed| {
            Ok(Predictor::fit_to_judge(self.space, known, Some(method), &self.settings.fit(), seed)?)
        })?;
        let (name, what) =
            (format!("scratch-{}", method.name()), format!("from scratch: {}", describe(method)));
        Ok(Contender { name, what, quality: judged.quality })
    }

    /// EMS/APQ, figure 6: pairwise accuracy against pairs, with and without transfer, for the papers' kind of
    /// predictor and for the method that cross-validation prefers.
    ///
    /// # Errors
    /// Whatever fitting fails with.
    pub fn curves(&self) -> Result<Vec<CurveRow>> {
        let held_out = quality::held_out(self.pairs.len(), self.settings.holdout);
        let sizes = sizes(self.pairs.len() - held_out);
        let mut methods = vec![Some(Method::Networks), self.settings.method()];
        methods.dedup();
        // A fit takes about as long as it has pairs.
        let work = 2 * methods.len() * sizes.iter().sum::<usize>();
        let (mut progress, mut done) = (Progress::new("learning curves", work as u64, 0), 0);
        let mut rows = Vec::new();
        for (method, transfer) in methods.into_iter().flat_map(|method| [(method, true), (method, false)]) {
            let name = method.map_or("best", Method::name);
            for size in &sizes {
                let points = self.curve(method, transfer, std::slice::from_ref(size), held_out)?;
                rows.extend(points.iter().map(|point| row(name, transfer, point)));
                done += size;
                progress.at(done as u64, &format!("{name}, {size} pairs"));
            }
        }
        Ok(rows)
    }

    /// Every seed holds out other pairs.
    fn curve(
        &self,
        method: Option<Method>,
        transfer: bool,
        sizes: &[usize],
        held_out: usize,
    ) -> Result<Vec<CurvePoint>> {
        let settings = self.settings;
        let fit = |known: &Pairs, seed: u64| match transfer {
            true => self.base.transfer_to_judge(known, method, &settings.transfer(), seed),
            false => Predictor::fit_to_judge(self.space, known, method, &settings.fit(), seed),
        };
        let seeds: Vec<u64> =
            (0..settings.repeats as u64).map(|repeat| self.seed.wrapping_add(repeat)).collect();
        let splits: Vec<(Pairs, Pairs)> =
            seeds.iter().map(|&seed| self.pairs.split(self.pairs.len() - held_out, seed)).collect();
        Ok(learning_curve(&splits, sizes, &seeds, fit)?)
    }
}

/// From the fewest that can be fitted to all, in equal ratios.
fn sizes(most: usize) -> Vec<usize> {
    let (least, steps) = (FEWEST_PAIRS.min(most) as f64, SIZES as f64 - 1.0);
    let ratio = (most as f64 / least).powf(1.0 / steps);
    let mut sizes: Vec<usize> =
        (0..SIZES).map(|step| (least * ratio.powi(step as i32)).round() as usize).collect();
    sizes.dedup();
    sizes
}

fn row(method: &str, transfer: bool, point: &CurvePoint) -> CurveRow {
    let quality = quality::quality(point.report);
    CurveRow {
        method: method.to_owned(),
        transfer,
        pairs: point.pairs,
        pairwise_accuracy: quality.pairwise_accuracy.value,
        low: quality.pairwise_accuracy.low,
        high: quality.pairwise_accuracy.high,
        kendall_tau: quality.kendall_tau.value,
    }
}

/// Contenders as JSON, if there are any.
///
/// # Errors
/// Never for plain numbers.
pub fn note(object: &mut Map<String, Value>, key: &str, contenders: &[Contender]) -> Result<()> {
    if contenders.is_empty() {
        return Ok(());
    }
    let one = |contender: &Contender| {
        let mut entry = Map::new();
        entry.insert("name".to_owned(), json!(contender.name));
        entry.insert("what".to_owned(), json!(contender.what));
        quality::insert(&mut entry, "", &contender.quality);
        Value::Object(entry)
    };
    object.insert(key.to_owned(), Value::Array(contenders.iter().map(one).collect()));
    Ok(())
}

/// Writes the curves and notes them as JSON.
///
/// # Errors
/// A file that cannot be written.
pub fn note_curves(object: &mut Map<String, Value>, rows: &[CurveRow], file: &Path) -> Result<()> {
    artefact::write(file, &curves_csv(rows)?)?;
    object.insert("learning_curve".to_owned(), serde_json::to_value(rows).context("cannot write the curve")?);
    object.insert("learning_curve_file".to_owned(), json!(file));
    for row in rows {
        let start = if row.transfer { "with transfer" } else { "from scratch" };
        talk::plain_line(&format!(
            "{:<9} {:<14} {:>5} pairs   pairwise accuracy {:.3} [{:.3}, {:.3}]",
            row.method, start, row.pairs, row.pairwise_accuracy, row.low, row.high
        ));
    }
    Ok(())
}

fn curves_csv(rows: &[CurveRow]) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    rows.iter().try_for_each(|row| writer.serialize(row))?;
    writer.into_inner().map_err(|error| anyhow::anyhow!("cannot write the curve: {error}"))
}

/// The answer: one object, or lines for people.
///
/// # Errors
/// When stdout is closed.
pub fn say(
    metrics: &PredictorMetrics,
    contenders: &[Contender],
    object: &Map<String, Value>,
    json: bool,
) -> Result<()> {
    if json {
        return Ok(talk::data_line(&Value::Object(object.clone()).to_string())?);
    }
    talk::data_line(&quality::line(metrics))?;
    for line in quality::lines(&metrics.quality) {
        talk::data_line(&line)?;
    }
    for Contender { name, what, quality } in contenders {
        let (right, tau) =
            (quality::interval(quality.pairwise_accuracy), quality::interval(quality.kendall_tau));
        talk::data_line(&format!("{name:<34} pairwise accuracy {right}   τ {tau}   {what}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_goes_from_the_fewest_pairs_to_all() {
        for (most, expected) in [(160, vec![10, 20, 40, 80, 160]), (10, vec![10]), (12, vec![10, 11, 12])] {
            assert_eq!(sizes(most).first(), Some(&10), "{most}");
            assert_eq!(sizes(most), expected);
        }
    }
}
