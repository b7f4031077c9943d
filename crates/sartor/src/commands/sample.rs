//! `sartor sample`: accuracy pairs alone, and which ones to measure next.

use anyhow::Result;
use serde_json::json;

use crate::cli::{Global, SampleArguments};
use crate::failure::Failure;
use crate::session::Session;
use crate::stages::sample::more::{self, Study, Way};
use crate::stages::{Stage, fit, profile, sample, train, transfer};
use crate::talk;

/// Measures the pairs of a run.
///
/// # Errors
/// Whatever the stage fails with, or when there is no supernet yet.
pub fn run(arguments: &SampleArguments, global: &Global) -> Result<()> {
    if let Some(count) = arguments.more {
        return choose(arguments, count, global);
    }
    let session = Session::open(&arguments.target, global)?;
    let supernet = train::finished(&session)?;
    let pairs = match arguments.quantized {
        true => sample::mixed_precision(&session, &supernet)?,
        false => sample::full_precision(&session, &supernet)?,
    };
    if global.json {
        let count = pairs.load(&session)?.len();
        talk::data_line(&json!({ "pairs": count, "file": session.folder.path(pairs.file()) }).to_string())?;
    }
    Ok(())
}

/// Says whether choosing beats chance, then chooses and measures.
fn choose(arguments: &SampleArguments, count: usize, global: &Global) -> Result<()> {
    if count == 0 {
        return Err(Failure::bad_input("--more is 0, expected at least 1").into());
    }
    let session = Session::open(&arguments.target, global)?;
    let pairs = sample::finished(&session, Stage::SampleMixedPrecision)?.load(&session)?;
    let study = more::study(&session, &fit::finished(&session)?.load(&session)?, &pairs)?;
    session.folder.write_json(more::STUDY, &study)?;
    talk::stage_line("study of choosing", &study.verdict);
    let mut object = json!({ "study": study });
    if !arguments.study {
        let way = Way::named(&arguments.by).unwrap_or(Way::Disagreement);
        let predictor = transfer::finished(&session)?.load(&session)?;
        let (supernet, prices) = (train::finished(&session)?, profile::finished(&session)?);
        let chosen = more::measure(&session, &supernet, (&predictor, &pairs), &prices, (count, way))?;
        object["chosen_pairs"] = json!(chosen);
        object["file"] = json!(session.folder.path(more::FILE));
        talk::stage_line(
            "chosen pairs",
            &format!("{chosen} in {}; `sartor transfer` learns from them", more::FILE),
        );
    }
    say(&study, &object, global.json)
}

fn say(study: &Study, object: &serde_json::Value, json: bool) -> Result<()> {
    if json {
        return Ok(talk::data_line(&object.to_string())?);
    }
    for way in &study.ways {
        let (own, difference) = (way.pairwise_accuracy, way.minus_random);
        talk::data_line(&format!(
            "{:<14} pairwise accuracy {:.3} [{:.3}, {:.3}]   minus random {:+.3} [{:+.3}, {:+.3}]",
            way.way, own.value, own.low, own.high, difference.value, difference.low, difference.high
        ))?;
    }
    Ok(())
}
