//! A tiny space and tiny images for tests: the class is the direction of stripes in noise.

use rand::RngExt;
use sartor_space::{Candidate, SearchSpace};

use crate::data::{Dataset, Images, Normalization};
use crate::random::{Purpose, stream};
use crate::schedule::{TrainingSettings, progressive_shrinking};

const SPACE: &str = r#"
name = "test"
[input]
size = 8
channels = 1
classes = 4
[stem]
out_channels = 8
stride = 1
[[stage]]
out_channels = 8
stride = 2
blocks = 2
depth = [1, 2]
kernel = [3, 5, 7]
width = { from = 1, to = 3, step = 8 }
[[stage]]
out_channels = 16
stride = 1
blocks = 2
depth = [1, 2]
kernel = [3, 5]
width = { from = 1, to = 2, step = 8 }
[head]
channels = 16
[bits]
weights = [2, 4, 6, 8]
activations = [2, 4, 6, 8]
groups = ["pointwise", "depthwise"]
"#;

const SIZE: usize = 8;

pub fn space() -> SearchSpace {
    SearchSpace::from_toml(SPACE).unwrap()
}

pub fn dataset() -> Dataset {
    let (train, validation, test) = (images(96, 0), images(40, 1), images(40, 2));
    let normalization = Normalization::of(&train);
    Dataset {
        name: "stripes".into(),
        train: train.into(),
        validation,
        test,
        classes: 4,
        normalization,
        hash: "stripes".into(),
    }
}

/// Noise on stripes: rows, columns, a chequerboard or nothing.
fn images(count: usize, part: u64) -> Images {
    let mut rng = stream(11, Purpose::Images, [part, 0, 0]);
    let labels: Vec<u32> = (0..count as u32).map(|image| image % 4).collect();
    let mut pixels = Vec::with_capacity(count * SIZE * SIZE);
    for &label in &labels {
        for (row, column) in (0..SIZE * SIZE).map(|place| (place / SIZE, place % SIZE)) {
            let bright = [row % 2, column % 2, (row + column) % 2, 0][label as usize];
            pixels.push(bright as u8 * 90 + rng.random_range(0..120u8));
        }
    }
    Images { size: SIZE, channels: 1, pixels, labels }
}

pub fn settings() -> TrainingSettings {
    TrainingSettings {
        batch: 16,
        shift: 1,
        recalibration_images: 96,
        phases: progressive_shrinking(8, 8, 0.1),
        ..TrainingSettings::default()
    }
}

pub fn candidate(space: &SearchSpace, bits: Option<u8>) -> Candidate {
    let subnet = space.random_subnet(&mut stream(3, Purpose::Subnet, [1, 2, 3]));
    let policy = bits.map(|bits| space.uniform_policy(&subnet, bits).unwrap());
    Candidate { subnet, policy }
}
