//! Progress bars with remaining time on a terminal; plain lines at decent intervals elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::talk;

/// Time between two plain lines when stderr is not a terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(15);

/// Progress of one stage.
pub struct Progress {
    stage: String,
    total: u64,
    bar: Option<ProgressBar>,
    started: Instant,
    resumed_at: u64,
    last_line: Instant,
}

impl Progress {
    /// A stage of `total` units of work, of which `done` were done by an earlier, interrupted run.
    pub fn new(stage: &str, total: u64, done: u64) -> Self {
        let now = Instant::now();
        let bar = std::io::stderr().is_terminal().then(|| bar(stage, total, done));
        Self { stage: stage.to_owned(), total, bar, started: now, resumed_at: done, last_line: now }
    }

    /// Says how far the stage is and something about it.
    pub fn at(&mut self, done: u64, message: &str) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            bar.set_message(message.to_owned());
        } else if self.last_line.elapsed() >= LINE_INTERVAL {
            self.last_line = Instant::now();
            let share = 100 * done / self.total.max(1);
            let text = format!("{share:>3} %  {message}  about {} left", seconds(self.remaining(done)));
            talk::stage_line(&self.stage, &text);
        }
    }

    fn remaining(&self, done: u64) -> f64 {
        let fresh = done.saturating_sub(self.resumed_at).max(1) as f64;
        self.started.elapsed().as_secs_f64() / fresh * self.total.saturating_sub(done) as f64
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar(stage: &str, total: u64, done: u64) -> ProgressBar {
    let bar = ProgressBar::new(total).with_position(done);
    let style = ProgressStyle::with_template("{prefix:<20} {bar:30} {percent:>3} %  {eta} left  {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.set_prefix(stage.to_owned());
    bar
}

/// A duration as people say it: `0.4 s`, `42 s`, `3 min 05 s`, `2 h 10 min`.
pub fn seconds(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..10 => format!("{seconds:.1} s"),
        10..60 => format!("{whole} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn durations_read_as_people_say_them() {
        for (seconds, text) in
            [(0.44, "0.4 s"), (41.7, "42 s"), (185.0, "3 min 05 s"), (7800.0, "2 h 10 min")]
        {
            assert_eq!(super::seconds(seconds), text);
        }
    }
}
