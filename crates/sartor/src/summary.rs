//! What `sartor run` says at its end.

use std::path::PathBuf;

use anyhow::Result;
use serde::Serialize;

use crate::progress::seconds;
use crate::records::{Best, Score};
use crate::report::{amount, plain_name};
use crate::session::Session;
use crate::stages::{finetune, report, search};

/// The result in a few lines.
#[derive(Debug, Serialize)]
pub struct Summary {
    best: Best,
    models: Vec<Score>,
    report: PathBuf,
    model: PathBuf,
    seconds: f64,
}

impl Summary {
    /// Of a finished run.
    ///
    /// # Errors
    /// When a stage is missing.
    pub fn of(session: &Session) -> Result<Self> {
        let choice = search::finished(session)?;
        let best = choice.best(session)?;
        let models = finetune::finished(session, &choice)?.scores().to_vec();
        let model = session.folder.path(&format!("models/{}/model.onnx", best.best.id));
        let seconds = session.timings().total();
        Ok(Self { best, models, report: session.folder.path(report::FILE), model, seconds })
    }

    /// For people.
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.models.iter().map(line).collect();
        lines.push(format!("model   {}", self.model.display()));
        lines.push(format!("report  {}", self.report.display()));
        lines.push(format!("time    {}", seconds(self.seconds)));
        lines
    }
}

fn line(score: &Score) -> String {
    let costs = ["latency_ms", "energy_mj", "size_bytes"];
    let shown = costs
        .iter()
        .filter_map(|name| Some(format!("{} {}", plain_name(name), amount(name, *score.costs.get(*name)?))));
    let shown: Vec<String> = shown.collect();
    format!("{:<10} {}  test {}  {}", score.role, score.id, score.test, shown.join(", "))
}
