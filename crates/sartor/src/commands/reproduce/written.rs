//! What a reproduction leaves: a CSV, a picture, and a page with claims, config, seeds, machine and time.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;

use super::arms::Row;
use super::claims::{Verdict, count_of_seeds};
use super::figures::{Budget, Figure};
use super::landing;
use super::published;
use crate::cli::ReproduceArguments;
use crate::records::CurveRow;
use crate::report::plain_name;
use crate::report::svg::{Axis, Mark, Plot, WIDTH};
use crate::run_folder::artefact;
use crate::session::Session;

/// Style of a picture that stands alone.
const STYLE: &str = "<style>text{font:12px system-ui,sans-serif;fill:#60646c}.label{fill:#1c2024}.grid{stroke:#e6e8eb}\
    .line{fill:none;stroke-width:2}.interval{stroke-width:1.3;opacity:.6}.a{fill:#1f6feb}.b{fill:#c2560a}.c{fill:#18794e}\
    .d{fill:#8e4ec6}.e{fill:#60646c}.f{fill:#d6409f}.g{fill:#0e7490}.line.a,.interval.a{fill:none;stroke:#1f6feb}\
    .line.b,.interval.b{fill:none;stroke:#c2560a}</style>";
/// Colours and shapes of the arms.
const LOOKS: [(&str, Mark); 7] = [
    ("b", Mark::Square),
    ("c", Mark::Diamond),
    ("d", Mark::Square),
    ("e", Mark::Diamond),
    ("f", Mark::Dot),
    ("g", Mark::Square),
    ("a", Mark::Dot),
];

/// A reproduction in the making.
pub struct Record {
    name: String,
    title: String,
    setting: String,
    csv: Vec<u8>,
    picture: String,
    table: String,
    /// How long it took, all processes together.
    pub minutes: f64,
}

/// A row with what the papers print in columns of its own.
#[derive(Serialize)]
struct Line<'a> {
    arm: &'a str,
    method: &'a str,
    seed: u64,
    budget: f64,
    note: &'a str,
    validation: Option<f64>,
    test: Option<f64>,
    test_images: usize,
    latency_ms: Option<f64>,
    energy_mj: Option<f64>,
    bitops: Option<f64>,
    latency_limit_ms: Option<f64>,
    expected_latency_ms: Option<f64>,
    most_probable_latency_ms: Option<f64>,
    search_seconds: Option<f64>,
    training_steps: u64,
    inferred_images: u64,
    accuracy_evaluations: u64,
    published_name: Option<&'a str>,
    published_top1: Option<f64>,
    published_latency_ms: Option<f64>,
    published_energy_mj: Option<f64>,
    published_giga_bitops: Option<f64>,
    published_gpu_hours: Option<f64>,
    candidate: &'a str,
}

impl Record {
    /// Nothing yet.
    ///
    /// # Errors
    /// Images that cannot be read.
    pub fn new(session: &Session, what: &str, arguments: &ReproduceArguments) -> Result<Self> {
        let (config, images) = (&session.config, session.dataset()?);
        let speed = if arguments.quick { "quick" } else { "full" };
        let setting = format!(
            "Config `{}` ({speed}), {} images to train on, {} for validation, {} for test, supernet seed {}, {} of search and \
             fine-tuning, space `{}`, chip `{}`, {}.",
            config.name,
            images.train.len(),
            images.validation.len(),
            images.test.len(),
            config.seed,
            count_of_seeds(arguments.seeds),
            config.space.name(),
            config.hardware.accelerator,
            machine()
        );
        Ok(Self {
            name: format!("{what}-{}-{speed}", config.name),
            title: what.to_owned(),
            setting,
            csv: Vec::new(),
            picture: String::new(),
            table: String::new(),
            minutes: 0.0,
        })
    }

    /// The arms' results.
    ///
    /// # Errors
    /// Never for plain rows.
    pub fn rows(&mut self, figure: &Figure, rows: &[Row]) -> Result<()> {
        self.title = figure.title.to_owned();
        self.minutes = rows.iter().map(|row| row.seconds).sum::<f64>() / 60.0;
        let mut writer = csv::Writer::from_writer(Vec::new());
        rows.iter().try_for_each(|row| writer.serialize(line(figure.name, row)))?;
        self.csv = writer.into_inner().map_err(|error| anyhow::anyhow!("cannot write results: {error}"))?;
        let searched = matches!(figure.budget, Budget::Targets(_));
        self.picture = if searched { landing::picture(figure, rows) } else { picture(figure, rows) };
        self.table = if searched { landing::table(rows) } else { table(rows) };
        Ok(())
    }

    /// Learning curves.
    ///
    /// # Errors
    /// Never for plain rows.
    pub fn curves(&mut self, rows: &[CurveRow]) -> Result<()> {
        self.title = "EMS, figure 6: pairwise accuracy with and without transfer".to_owned();
        let mut writer = csv::Writer::from_writer(Vec::new());
        rows.iter().try_for_each(|row| writer.serialize(row))?;
        self.csv = writer.into_inner().map_err(|error| anyhow::anyhow!("cannot write curves: {error}"))?;
        self.picture = curves(rows);
        self.table = String::from("| pairs | transfer | pairwise accuracy | 95 % |\n|---|---|---|---|\n");
        for row in rows {
            let CurveRow { pairs, pairwise_accuracy, low, high, .. } = row;
            let transfer = if row.transfer { "yes" } else { "no" };
            let _ = writeln!(
                self.table,
                "| {pairs} | {transfer} | {pairwise_accuracy:.3} | {low:.3} to {high:.3} |"
            );
        }
        Ok(())
    }

    /// Writes everything into a folder; gives the files.
    ///
    /// # Errors
    /// An unwritable folder.
    pub fn write(&self, folder: &Path, verdicts: &[Verdict]) -> Result<Vec<PathBuf>> {
        let files = ["csv", "svg", "md"].map(|ending| folder.join(format!("{}.{ending}", self.name)));
        artefact::write(&files[0], &self.csv)?;
        artefact::write(&files[1], self.picture.as_bytes())?;
        artefact::write(&files[2], self.page(verdicts).as_bytes())?;
        Ok(files.into())
    }

    fn page(&self, verdicts: &[Verdict]) -> String {
        let claims: String = verdicts.iter().map(|verdict| format!("- {}\n", verdict.line())).collect();
        format!(
            "# {}\n\n{}\nIt took {:.0} minutes, without the supernet.\n\n{claims}\n{}\n![{}]({}.svg)\n",
            self.title, self.setting, self.minutes, self.table, self.title, self.name
        )
    }
}

fn machine() -> String {
    let threads = rayon::current_num_threads();
    let simd = format!("{:?}", sartor_engine::simd::level()).to_lowercase();
    format!("{} with {simd}, {threads} threads", std::env::consts::ARCH)
}

fn line<'a>(figure: &str, row: &'a Row) -> Line<'a> {
    let printed = published::of(figure, &row.arm);
    Line {
        arm: &row.arm,
        method: &row.method,
        seed: row.seed,
        budget: row.budget,
        note: &row.note,
        validation: row.validation,
        test: row.test,
        test_images: row.images,
        latency_ms: row.latency_ms,
        energy_mj: row.energy_mj,
        bitops: row.bitops,
        latency_limit_ms: row.latency_limit_ms,
        expected_latency_ms: row.expected_latency_ms,
        most_probable_latency_ms: row.most_probable_latency_ms,
        search_seconds: row.search_seconds,
        training_steps: row.training_steps,
        inferred_images: row.inferred_images,
        accuracy_evaluations: row.accuracy_evaluations,
        published_name: printed.map(|row| row.name),
        published_top1: printed.map(|row| row.top1),
        published_latency_ms: printed.and_then(|row| row.latency_ms),
        published_energy_mj: printed.and_then(|row| row.energy_mj),
        published_giga_bitops: printed.and_then(|row| row.giga_bitops),
        published_gpu_hours: printed.and_then(|row| row.gpu_hours),
        candidate: &row.candidate,
    }
}

fn table(rows: &[Row]) -> String {
    let mut text = String::from(
        "| arm | budget | seed | validation | test | latency (ms) | energy (mJ) | BitOps (M) | search (s) | training steps | \
         images |\n|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    let number = |value: Option<f64>, scale: f64, digits: usize| {
        value.map_or("–".to_owned(), |value| format!("{:.digits$}", scale * value))
    };
    for row in rows {
        let cells = [
            row.arm.clone(),
            row.budget.to_string(),
            row.seed.to_string(),
            if row.note.is_empty() { number(row.validation, 100.0, 2) } else { row.note.clone() },
            number(row.test, 100.0, 2),
            number(row.latency_ms, 1.0, 4),
            number(row.energy_mj, 1.0, 4),
            number(row.bitops, 1e-6, 1),
            number(row.search_seconds, 1.0, 1),
            row.training_steps.to_string(),
            row.inferred_images.to_string(),
        ];
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    text
}

fn cost(row: &Row, name: &str) -> Option<f64> {
    match name {
        "latency_ms" => row.latency_ms,
        "energy_mj" => row.energy_mj,
        _ => row.bitops.map(|bitops| bitops * 1e-6),
    }
}

fn picture(figure: &Figure, rows: &[Row]) -> String {
    let points: Vec<(&Row, f64, f64)> =
        rows.iter().filter_map(|row| Some((row, cost(row, figure.cost)?, 100.0 * row.test?))).collect();
    let unit = match figure.cost {
        "latency_ms" => "ms",
        "energy_mj" => "mJ",
        _ => "M",
    };
    let label = format!("{} ({unit})", plain_name(figure.cost));
    let mut plot = Plot::new(
        Axis::around(&label, points.iter().map(|point| point.1)),
        Axis::around("test accuracy (%)", points.iter().map(|point| point.2)),
    );
    for &(row, x, y) in &points {
        let (class, mark) = look(figure, &row.arm);
        plot.mark((x, y), mark, class, &format!("{}: {y:.2} %, {x:.4} {unit}", row.arm));
    }
    let legend = figure.arms.iter().map(|arm| (arm.label, look(figure, arm.label)));
    alone(&plot.finish(figure.title), legend)
}

/// The last arm, which the figure is about, has the last look.
fn look(figure: &Figure, arm: &str) -> (&'static str, Mark) {
    let place = figure.arms.iter().position(|other| other.label == arm).unwrap_or(0);
    let last = place + 1 == figure.arms.len();
    if last { LOOKS[LOOKS.len() - 1] } else { LOOKS[place % (LOOKS.len() - 1)] }
}

fn curves(rows: &[CurveRow]) -> String {
    let mut plot = Plot::new(
        Axis::around("mixed-precision pairs", rows.iter().map(|row| row.pairs as f64)),
        Axis::around("pairwise accuracy", rows.iter().flat_map(|row| [row.low, row.high])),
    );
    for (transfer, class) in [(true, "a"), (false, "b")] {
        let mine: Vec<&CurveRow> = rows.iter().filter(|row| row.transfer == transfer).collect();
        let points: Vec<(f64, f64)> =
            mine.iter().map(|row| (row.pairs as f64, row.pairwise_accuracy)).collect();
        plot.line(&points, class);
        mine.iter().for_each(|row| plot.interval(row.pairs as f64, (row.low, row.high), class));
    }
    let legend = [("with transfer", ("a", Mark::Dot)), ("from scratch", ("b", Mark::Dot))];
    alone(&plot.finish("pairwise accuracy against pairs"), legend.into_iter())
}

/// Width of a legend.
const LEGEND: f64 = 120.0;

/// A picture that needs no page around it, with its legend at the right, where no mark can be.
pub(super) fn alone<'a>(svg: &str, legend: impl Iterator<Item = (&'a str, (&'a str, Mark))>) -> String {
    let mut keys = String::new();
    for (row, (label, (class, mark))) in legend.enumerate() {
        let y = 28 + 16 * row;
        let shape = mark.shape((WIDTH + 8.0, y as f64 - 4.0), class, "");
        let _ = writeln!(keys, r#"{shape}<text x="{}" y="{y}">{label}</text>"#, WIDTH + 18.0);
    }
    let opened = svg.replacen("<svg ", "<svg xmlns=\"http://www.w3.org/2000/svg\" ", 1).replacen(
        &format!("viewBox=\"0 0 {WIDTH} "),
        &format!("viewBox=\"0 0 {} ", WIDTH + LEGEND),
        1,
    );
    let body = opened.trim_end().trim_end_matches("</svg>");
    let (head, rest) = body.split_once('\n').unwrap_or((body, ""));
    format!("{head}\n{STYLE}\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{rest}{keys}</svg>\n")
}

#[cfg(test)]
mod tests {
    use super::super::figures::FIGURES;
    use super::*;

    #[test]
    fn a_legend_stands_right_of_the_plot() {
        let axis = || Axis::around("", [1.0, 2.0]);
        let svg = alone(&Plot::new(axis(), axis()).finish("a plot"), [("arm", ("a", Mark::Dot))].into_iter());
        assert!(
            svg.contains("viewBox=\"0 0 680 360\"") && svg.contains("<text x=\"578\" y=\"28\">arm<"),
            "{svg}"
        );
    }

    #[test]
    fn no_two_arms_of_a_figure_look_alike() {
        for figure in FIGURES {
            let looks: Vec<_> = figure.arms.iter().map(|arm| look(figure, arm.label)).collect();
            for (index, look) in looks.iter().enumerate() {
                assert!(!looks[..index].contains(look), "{}: {}", figure.name, figure.arms[index].label);
            }
        }
    }
}
