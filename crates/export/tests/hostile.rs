//! Hostile files: the readers of ONNX and safetensors never panic, and their memory stays in proportion to the file.
//!
//! `SARTOR_FUZZ_EXECUTIONS=1000000 cargo test --release -p sartor-export --test hostile` runs a million of each.

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use prost::Message;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sartor_export::import::{ImportedNetwork, Shape as ImageShape};
use sartor_export::onnx::message::{Dimension, Entry, Extent, Graph, Model, Node, Shape, TensorData};
use sartor_export::onnx::message::{TensorType, ValueInfo, ValueType};
use sartor_export::{NamedArray, TrainedModel};

/// Executions of each reader in continuous integration.
const EXECUTIONS: usize = 20_000;
/// Two bytes of a file can stand for an empty node, which takes some hundred bytes in a vector that doubles.
const BYTES_PER_BYTE: usize = 512;
/// What a reader may take for an empty file.
const BYTES_AT_LEAST: usize = 1 << 16;

/// Counts what is held and the most that ever was.
struct Counting;

static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is handed to the system's allocator unchanged; the counters do not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let held = HELD.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        MOST.fetch_max(held, Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promises are passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn text(text: &str) -> Option<String> {
    Some(text.to_string())
}

fn onnx() -> Vec<u8> {
    let dim = [Extent::Symbol("N".into()), Extent::Fixed(3)].map(|extent| Dimension { value: Some(extent) });
    let shape = Some(Shape { dim: dim.into() });
    let kind = Some(ValueType { tensor: Some(TensorType { element: Some(1), shape }) });
    let node = Node { input: vec!["x".into(), "w".into()], op_type: text("Conv"), ..Default::default() };
    let (dims, raw_data) = (vec![2, 3], Some(vec![7; 6]));
    let data = TensorData { dims, data_type: Some(3), name: text("w"), raw_data, ..Default::default() };
    let graph = Graph {
        node: vec![node; 3],
        initializer: vec![data],
        input: vec![ValueInfo { name: text("x"), kind }],
        ..Default::default()
    };
    let metadata = vec![Entry { key: text("key"), value: text("value") }];
    Model { ir_version: Some(8), graph: Some(graph), metadata, ..Default::default() }.encode_to_vec()
}

fn safetensors() -> Vec<u8> {
    let array = |shape: Vec<usize>| NamedArray { values: vec![1.5; shape.iter().product()], shape };
    let arrays = [("stem.weight".to_string(), array(vec![3, 2])), ("stem.beta".to_string(), array(vec![2]))];
    let metadata = BTreeMap::from([("space".to_string(), "tiny".to_string())]);
    TrainedModel::from_arrays(arrays.into(), metadata).to_bytes().unwrap()
}

/// Flips, overwrites with extreme lengths, repeats, removes, cuts.
fn mutate(seed: &[u8], rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..rng.random_range(1..6) {
        let place = rng.random_range(0..=bytes.len());
        let end = (place + rng.random_range(0..16)).min(bytes.len());
        match rng.random_range(0..6) {
            0 => bytes[place..end].iter_mut().for_each(|byte| *byte ^= 1 << rng.random_range(0..8)),
            1 => bytes[place..end].fill([0, 0x7f, 0x80, 0xff][rng.random_range(0..4)]),
            2 => bytes.extend_from_within(place..end),
            3 => drop(bytes.drain(place..end)),
            4 => bytes.truncate(place),
            _ => drop(bytes.splice(place..place, (0..end - place).map(|_| rng.random()))),
        }
    }
    bytes
}

fn hostile(name: &str, seed: &[u8], read: impl Fn(&[u8]) -> bool) {
    let wanted = std::env::var("SARTOR_FUZZ_EXECUTIONS").ok().and_then(|text| text.parse().ok());
    let (mut rng, mut accepted, mut worst) = (ChaCha8Rng::seed_from_u64(7), 0, 0);
    assert!(read(seed), "{name}: the unharmed file is readable");
    let executions = wanted.unwrap_or(EXECUTIONS);
    for _ in 0..executions {
        let bytes = mutate(seed, &mut rng);
        let before = HELD.load(Ordering::Relaxed);
        MOST.store(before, Ordering::Relaxed);
        accepted += usize::from(read(&bytes));
        let taken = MOST.load(Ordering::Relaxed).saturating_sub(before);
        assert!(taken <= BYTES_AT_LEAST + BYTES_PER_BYTE * bytes.len(), "{name}: {taken} for {bytes:?}");
        worst = worst.max(taken);
    }
    eprintln!("{name}: {executions} files, {accepted} readable, at most {worst} bytes taken");
    assert!(accepted < executions);
}

/// One test, so that no other one allocates meanwhile.
#[test]
fn readers_neither_panic_nor_take_much_memory() {
    hostile("onnx", &onnx(), |bytes| Model::decode(bytes).is_ok());
    let trained = Path::new(env!("CARGO_MANIFEST_DIR")).join("../sartor/tests/data/mobile.onnx");
    let image = ImageShape { size: 28, channels: 1 };
    hostile("trained onnx", &std::fs::read(trained).unwrap(), |bytes| {
        ImportedNetwork::from_onnx(bytes, image).is_ok()
    });
    hostile("safetensors", &safetensors(), |bytes| TrainedModel::from_bytes(bytes).is_ok());
}
