//! # Timing a model on this machine
//!
//! The measuring thread, and the runtime's threads that it starts, are bound to as many cores as there are threads. A
//! model is warmed up, then run in batches; each batch is summarized by its median without outliers, and the quietest
//! batch counts: on a machine that does other things as well, slow batches tell about those. On one thread the time is
//! the thread's own processor time, which stands still while another process has the core; a kernel never waits, so on
//! a free machine that is its latency. On several threads it is the time on the wall.
//!
//! What a call of the runtime costs by itself is measured on a model that does next to nothing, and subtracted. For a
//! layer so small that this matters, the model holds it several times side by side, and the time is what each further
//! copy adds.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use sartor_export::runtime::{self, Library, Repeated};
use sartor_hardware::LayerKey;
use sartor_hardware::measured::{Summary, summarize};

use super::super::journal::Entry;
use super::super::onnx::{self, Measurable};
use crate::failure::Failure;

/// Batches of runs.
const BATCHES: usize = 5;
/// Runs of a batch, at least.
const FEWEST: usize = 5;
/// Runs of a batch, at most.
const MOST: usize = 100;
/// A batch ends after this time, once it has the fewest runs.
const BATCH_TIME: Duration = Duration::from_millis(6);
/// Runs before anything is timed, at least, and for how long.
const WARM_UP: (usize, Duration) = (3, Duration::from_millis(4));
/// No layer is taken to cost less, in milliseconds: a clock's noise must not make one free.
const LEAST: f64 = 1e-4;
/// A layer that takes less time than this many calls by themselves is measured in copies.
const SMALL: f64 = 40.0;
/// How many.
const COPIES: usize = 8;
const MILLISECONDS: f64 = 1e3;

/// A runtime and the cores it may use.
pub struct Clock {
    library: Library,
    threads: usize,
    pinned: bool,
    overhead_ms: f64,
}

impl Clock {
    /// Finds the runtime, binds this thread, and measures what a call costs by itself.
    ///
    /// # Errors
    /// No runtime.
    pub fn open(threads: usize) -> Result<Self> {
        let library = runtime::find()?;
        let threads = threads.max(1);
        let mut clock = Self { library, threads, pinned: pin(threads), overhead_ms: 0.0 };
        clock.overhead_ms = clock.time(&onnx::layer(&NEXT_TO_NOTHING, 1)?)?.median;
        Ok(clock)
    }

    /// Milliseconds that a call costs by itself.
    pub fn overhead_ms(&self) -> f64 {
        self.overhead_ms
    }

    /// What measures.
    pub fn describe(&self) -> String {
        let version = self.library.version().map_or(String::new(), |version| format!(" {version}"));
        let pinned = if self.pinned { "pinned" } else { "not pinned" };
        let time = if own_time(self.threads) { "processor time" } else { "wall time" };
        format!("ONNX Runtime{version} on {}, {} thread(s), {pinned}, {time}", processor(), self.threads)
    }

    /// The time of one layer.
    ///
    /// # Errors
    /// A model that the runtime refuses.
    pub fn layer(&self, key: &LayerKey, batch: usize) -> Result<Entry> {
        let context = || format!("cannot measure layer {key}");
        let one = self.time(&onnx::layer(key, batch)?).with_context(context)?;
        if one.median >= SMALL * self.overhead_ms {
            return Ok(entry(one.median - self.overhead_ms, &one));
        }
        let all = self.time(&onnx::copies(key, batch, COPIES)?).with_context(context)?;
        Ok(entry((all.median - one.median) / (COPIES - 1) as f64, &all))
    }

    /// The time of a whole model, in milliseconds.
    ///
    /// # Errors
    /// A model that the runtime refuses.
    pub fn time(&self, model: &Measurable) -> Result<Summary> {
        let mut repeated = Repeated::load(&self.library, &model.bytes, self.threads, &model.input)?;
        self.run_for(&mut repeated, WARM_UP.0, WARM_UP.1)?;
        let mut best: Option<Summary> = None;
        for _ in 0..BATCHES {
            let runs = self.run_for(&mut repeated, FEWEST, BATCH_TIME)?;
            best =
                [best, summarize(&runs)].into_iter().flatten().min_by(|a, b| a.median.total_cmp(&b.median));
        }
        best.ok_or_else(|| Failure::failed("the clock did not move during a run").into())
    }

    /// Milliseconds of runs, until there are enough.
    fn run_for(&self, repeated: &mut Repeated, fewest: usize, time: Duration) -> Result<Vec<f64>> {
        let start = Instant::now();
        let mut runs = vec![];
        while runs.len() < fewest || (start.elapsed() < time && runs.len() < MOST) {
            let before = now_ms(start, self.threads);
            repeated.run()?;
            runs.push(now_ms(start, self.threads) - before);
        }
        Ok(runs)
    }
}

fn entry(latency_ms: f64, time: &Summary) -> Entry {
    Entry { latency_ms: latency_ms.max(LEAST), energy_mj: None, spread: Some(time.spread) }
}

/// Whether a thread's own processor time is the time to take.
fn own_time(threads: usize) -> bool {
    cfg!(target_os = "linux") && threads == 1
}

/// Milliseconds since some moment, on the clock to take.
fn now_ms(start: Instant, threads: usize) -> f64 {
    #[cfg(target_os = "linux")]
    if own_time(threads) {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        return time.tv_sec as f64 * MILLISECONDS + time.tv_nsec as f64 * 1e-6;
    }
    let _ = threads;
    start.elapsed().as_secs_f64() * MILLISECONDS
}

/// A convolution whose arithmetic no clock sees.
const NEXT_TO_NOTHING: LayerKey = LayerKey {
    in_channels: 8,
    out_channels: 8,
    input_size: 1,
    kernel: 1,
    stride: 1,
    padding: 0,
    groups: 1,
    weight_bits: 8,
    activation_bits: 8,
    first: false,
};

/// Binds this thread, and those it will start, to the last cores it may use; whether that was possible.
#[cfg(target_os = "linux")]
fn pin(threads: usize) -> bool {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
    let Ok(allowed) = sched_getaffinity(None) else { return false };
    let cores = (0..CpuSet::MAX_CPU).rev().filter(|&core| allowed.is_set(core));
    let mut chosen = CpuSet::new();
    cores.take(threads).for_each(|core| chosen.set(core));
    sched_setaffinity(None, &chosen).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn pin(_threads: usize) -> bool {
    false
}

/// Name of the processor, where the system tells it.
fn processor() -> String {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}
