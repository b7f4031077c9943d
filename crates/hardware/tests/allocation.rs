//! Pricing a candidate allocates nothing.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sartor_hardware::{Accelerator, CandidatePricer, CostTable};
use sartor_space::SearchSpace;

/// Counts the allocations of each thread.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: everything is passed on to the system's allocator unchanged; the counter allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn pricing_a_candidate_allocates_nothing() {
    let space = SearchSpace::preset("apq").unwrap();
    let table = CostTable::for_space(&Accelerator::preset("bitfusion-apq").unwrap(), &space).unwrap();
    let pricer = CandidatePricer::new(&space, &table).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let candidates: Vec<_> = (0..100).map(|_| space.random_candidate(&mut rng)).collect();
    let before = ALLOCATIONS.with(Cell::get);
    assert!(before > 0, "the counter counts");
    let latency: f64 =
        candidates.iter().map(|it| pricer.price(it).map_or(0.0, |costs| costs.latency_ms.0)).sum();
    assert_eq!(ALLOCATIONS.with(Cell::get), before, "{latency} ms");
    assert!(latency > 0.0);
}
