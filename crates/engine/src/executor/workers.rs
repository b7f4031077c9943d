//! Scratch memory for each thread of the pool.

use std::sync::{Mutex, PoisonError};

use crate::arena::Arena;

/// What a thread works with.
#[derive(Debug, Default)]
pub(super) struct Worker {
    /// For one operation.
    pub scratch: Arena,
    /// For a group of images on its way through a whole network.
    pub activations: Arena,
}

/// One worker per thread; a thread only ever takes its own.
#[derive(Debug, Default)]
pub(super) struct Workers(Vec<Mutex<Worker>>);

impl Workers {
    /// Makes sure that every thread of the current pool has a worker with this much memory.
    pub(super) fn reserve(&mut self, scratch: usize, activations: usize) {
        let threads = rayon::current_num_threads();
        self.0.resize_with(self.0.len().max(threads), Default::default);
        for worker in &mut self.0[..threads] {
            let worker = worker.get_mut().unwrap_or_else(PoisonError::into_inner);
            worker.scratch.reserve(scratch);
            worker.activations.reserve(activations);
        }
    }

    /// Runs `work` with this thread's worker.
    pub(super) fn with<T>(&self, work: impl FnOnce(&mut Worker) -> T) -> T {
        let index = rayon::current_thread_index().unwrap_or(0) % self.0.len();
        work(&mut self.0[index].lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Floats held.
    pub(super) fn memory(&self) -> usize {
        let held =
            |worker: &Mutex<Worker>| worker.lock().map_or(0, |w| w.scratch.len() + w.activations.len());
        self.0.iter().map(held).sum()
    }
}
