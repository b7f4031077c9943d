//! Work made of many short parallel loops.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};

/// Looks for work in vain, one after another, after which a thread goes back to sleep (some milliseconds).
const PATIENCE: u32 = 1 << 16;

thread_local! {
    /// Whether this thread is somewhere inside [`in_pool`]'s work.
    static LEADING: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` on a thread of the current pool, so that the parallel loops in it start without going through the
/// pool's entrance. Until it ends the other threads stay awake: a layer takes about as long as waking one does.
pub fn in_pool<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let ended = AtomicBool::new(false);
    let lead = || {
        let _end = Lead { ended: &ended, before: LEADING.replace(true) };
        work()
    };
    rayon::join(lead, || keep_company(&ended, rayon::current_num_threads() - 1)).0
}

/// Does a leader's work as it comes, on this thread and up to `others` - 1 more. A leader, who may find this while it
/// waits for a part of its own work, must not: it would wait in vain.
fn keep_company(ended: &AtomicBool, others: usize) {
    if others > 0 && !LEADING.get() {
        rayon::join(|| stay(ended), || keep_company(ended, others - 1));
    }
}

/// Ends when the leader does, or out of patience: this thread may have come here while it waited for something that
/// another leader waits for, too.
fn stay(ended: &AtomicBool) {
    let mut idle = 0;
    while idle < PATIENCE && !ended.load(Ordering::Acquire) {
        let executed = rayon::yield_now() == Some(rayon::Yield::Executed);
        idle = if executed { 0 } else { idle + 1 };
        std::hint::spin_loop();
    }
}

/// Ends the waiting, also when the work panics.
struct Lead<'a> {
    ended: &'a AtomicBool,
    before: bool,
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        LEADING.set(self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rayon::prelude::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    /// Many leaders at once, each with loops inside, on more and fewer threads: all come to an end.
    #[test]
    fn leaders_do_not_wait_for_each_other() {
        for threads in [1, 2, 3, 7] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let loops = |i: usize| {
                in_pool(|| (0..40).map(|j| (0..16).into_par_iter().map(|k| i * j * k).sum::<usize>()).sum())
            };
            let sums: Vec<usize> = pool.install(|| (0..200).into_par_iter().map(loops).collect());
            assert!(sums.iter().enumerate().all(|(i, &sum)| sum == i * 780 * 120), "{threads} threads");
        }
    }

    #[test]
    fn a_panic_ends_the_waiting() {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let fail = AssertUnwindSafe(|| pool.install(|| in_pool(|| assert!(threads_of(3) == 4))));
        assert!(catch_unwind(fail).is_err());
        assert_eq!(pool.install(|| in_pool(|| threads_of(5))), 5);
    }

    fn threads_of(value: usize) -> usize {
        (0..value).into_par_iter().count()
    }
}
