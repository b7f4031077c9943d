//! A training step allocates nothing once the executor has seen the network: all kinds of layers, quantizers and
//! elastic kernels, and also when networks alternate.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use sartor_engine::Executor;
use support::zoo;

struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: passes every call on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_warm_step_allocates_nothing() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    let mut networks = zoo();
    networks.iter_mut().step_by(2).for_each(|(_, builder, _)| {
        builder.quantize(8, 8);
    });
    let images: Vec<Vec<f32>> = networks.iter().map(|(_, builder, batch)| builder.images(*batch)).collect();
    let upstream = vec![0.1; 1000];
    let mut gradients: Vec<Vec<f32>> =
        networks.iter().map(|(_, b, _)| vec![0.0; b.parameters.len()]).collect();
    let mut executor = Executor::new();
    let counted = pool.install(|| {
        let mut round = || {
            for (((_, builder, batch), images), gradients) in networks.iter().zip(&images).zip(&mut gradients)
            {
                let (network, parameters) = (&builder.network, &builder.parameters);
                let logits = executor.forward_train(network, parameters, images, *batch).unwrap().len();
                executor.backward(network, parameters, &upstream[..logits], gradients).unwrap();
            }
        };
        (0..3).for_each(|_| round());
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        (0..3).for_each(|_| round());
        ALLOCATIONS.load(Ordering::Relaxed) - before
    });
    assert_eq!(counted, 0, "allocations in three warm rounds");
    assert!(ALLOCATIONS.load(Ordering::Relaxed) > 0, "the counter counts");
}
