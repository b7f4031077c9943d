//! # Fixed networks as workloads
//!
//! Published architectures at 224×224 with 1,000 classes, to price next to what a search finds. Every layer runs
//! at the widths asked for, the first and the last included. Pooling, activation and addition are no layers.
//!
//! - `mobilenet-v1`: Howard et al., "MobileNets", 2017, table 1.
//! - `mobilenet-v2`: Sandler et al., "MobileNetV2", CVPR 2018, table 2.
//! - `resnet-18`, `resnet-50`: He et al., "Deep residual learning", CVPR 2016, table 1; the 50-layer network halves
//!   the image in the 3×3 convolution of a bottleneck, as implementations in use do.
//! - `proxyless-mobile`: Cai et al., "ProxylessNAS", ICLR 2019, figure 4, the network for phones. Its 42
//!   dense and 20 depthwise convolutions are those of the authors' own per-operator latency log
//!   (`mit-han-lab/proxylessnas`, `logs/proxyless_mobile_10_latency.txt`).

use crate::workload::{Layer, Role, Workload};

const IMAGE_SIZE: usize = 224;
const IMAGE_CHANNELS: usize = 3;
const CLASSES: usize = 1000;

/// A function that adds a network's layers.
type Recipe = fn(&mut Builder);

const NETWORKS: &[(&str, Recipe)] = &[
    ("mobilenet-v1", mobilenet_v1),
    ("mobilenet-v2", mobilenet_v2),
    ("resnet-18", resnet_18),
    ("resnet-50", resnet_50),
    ("proxyless-mobile", proxyless_mobile),
];

/// Names of the fixed networks.
pub fn names() -> impl Iterator<Item = &'static str> {
    NETWORKS.iter().map(|(name, _)| *name)
}

/// A fixed network with these widths everywhere (32 is full precision); `None` for an unknown name.
pub fn fixed(name: &str, weight_bits: u8, activation_bits: u8) -> Option<Workload> {
    let (_, recipe) = NETWORKS.iter().find(|(network, _)| *network == name)?;
    let mut builder = Builder {
        weight_bits,
        activation_bits,
        channels: IMAGE_CHANNELS,
        size: IMAGE_SIZE,
        signed: true,
        blocks: 0,
        layers: vec![],
    };
    recipe(&mut builder);
    Some(Workload { layers: builder.layers })
}

/// Output channels and stride of each separable block.
const MOBILENET_V1: [(usize, usize); 13] = [
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (1024, 2),
    (1024, 1),
];

fn mobilenet_v1(network: &mut Builder) {
    network.stem(32, 3);
    for (out_channels, stride) in MOBILENET_V1 {
        let block = network.next_block();
        network.depthwise(Role::Depthwise { block }, 3, stride);
        network.dense(Role::Project { block }, out_channels, 1, 1, true);
    }
    network.classifier();
}

fn mobilenet_v2(network: &mut Builder) {
    network.stem(32, 3);
    network.separable(16);
    let stages = [(24, 2, 2), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1)];
    for (out_channels, blocks, stride) in stages {
        for position in 0..blocks {
            network.inverted(6, 3, out_channels, if position == 0 { stride } else { 1 });
        }
    }
    network.dense(Role::Head, 1280, 1, 1, true);
    network.classifier();
}

/// A stage: output channels, stride of the first block, and each block's expansion and kernel.
type Stage = (usize, usize, &'static [(usize, usize)]);

const PROXYLESS_MOBILE: [Stage; 6] = [
    (32, 2, &[(3, 5), (3, 3)]),
    (40, 2, &[(3, 7), (3, 3), (3, 5), (3, 5)]),
    (80, 2, &[(6, 7), (3, 5), (3, 5), (3, 5)]),
    (96, 1, &[(6, 5), (3, 5), (3, 5), (3, 5)]),
    (192, 2, &[(6, 7), (6, 7), (3, 7), (3, 7)]),
    (320, 1, &[(6, 7)]),
];

fn proxyless_mobile(network: &mut Builder) {
    network.stem(32, 3);
    network.separable(16);
    for (out_channels, stride, blocks) in PROXYLESS_MOBILE {
        for (position, &(expansion, kernel)) in blocks.iter().enumerate() {
            network.inverted(expansion, kernel, out_channels, if position == 0 { stride } else { 1 });
        }
    }
    network.dense(Role::Head, 1280, 1, 1, true);
    network.classifier();
}

/// Channels and number of blocks of the four stages.
const RESNET_WIDTHS: [usize; 4] = [64, 128, 256, 512];

fn resnet_18(network: &mut Builder) {
    resnet(network, [2, 2, 2, 2], 1, |network, block, width, stride| {
        network.dense(Role::Expand { block }, width, 3, stride, true);
        network.dense(Role::Project { block }, width, 3, 1, false);
    });
}

fn resnet_50(network: &mut Builder) {
    resnet(network, [3, 4, 6, 3], 4, |network, block, width, stride| {
        network.dense(Role::Expand { block }, width, 1, 1, true);
        network.dense(Role::Other, width, 3, stride, true);
        network.dense(Role::Project { block }, 4 * width, 1, 1, false);
    });
}

fn resnet(
    network: &mut Builder,
    blocks: [usize; 4],
    widening: usize,
    add_block: impl Fn(&mut Builder, usize, usize, usize),
) {
    network.stem(64, 7);
    network.max_pool();
    for (stage, (width, blocks)) in RESNET_WIDTHS.into_iter().zip(blocks).enumerate() {
        for position in 0..blocks {
            let stride = if position == 0 && stage > 0 { 2 } else { 1 };
            let block = network.next_block();
            network.shortcut(widening * width, stride);
            add_block(network, block, width, stride);
            network.close_residual();
        }
    }
    network.classifier();
}

/// Follows the tensor's shape while layers are added.
struct Builder {
    weight_bits: u8,
    activation_bits: u8,
    channels: usize,
    size: usize,
    signed: bool,
    blocks: usize,
    layers: Vec<Layer>,
}

impl Builder {
    fn stem(&mut self, out_channels: usize, kernel: usize) {
        self.dense(Role::Stem, out_channels, kernel, 2, true);
    }

    /// The fixed separable block after the stem.
    fn separable(&mut self, out_channels: usize) {
        self.depthwise(Role::StemDepthwise, 3, 1);
        self.dense(Role::StemProject, out_channels, 1, 1, false);
    }

    fn inverted(&mut self, expansion: usize, kernel: usize, out_channels: usize, stride: usize) {
        let block = self.next_block();
        let in_channels = self.channels;
        self.dense(Role::Expand { block }, expansion * in_channels, 1, 1, true);
        self.depthwise(Role::Depthwise { block }, kernel, stride);
        self.dense(Role::Project { block }, out_channels, 1, 1, false);
        if let Some(project) = self.layers.last_mut() {
            project.residual = stride == 1 && in_channels == out_channels;
        }
    }

    /// The 1×1 convolution beside a residual block that changes the tensor's shape; the block itself goes on from
    /// the same input.
    fn shortcut(&mut self, out_channels: usize, stride: usize) {
        if stride == 1 && self.channels == out_channels {
            return;
        }
        let (channels, size, signed) = (self.channels, self.size, self.signed);
        self.dense(Role::Other, out_channels, 1, stride, false);
        (self.channels, self.size, self.signed) = (channels, size, signed);
    }

    /// The addition at the end of a residual block, followed by ReLU.
    fn close_residual(&mut self) {
        if let Some(project) = self.layers.last_mut() {
            (project.residual, project.relu) = (true, true);
        }
        self.signed = false;
    }

    fn classifier(&mut self) {
        self.size = 1;
        self.dense(Role::Classifier, CLASSES, 1, 1, false);
    }

    fn max_pool(&mut self) {
        self.size = self.size.div_ceil(2);
    }

    fn next_block(&mut self) -> usize {
        self.blocks += 1;
        self.blocks - 1
    }

    fn dense(&mut self, role: Role, out_channels: usize, kernel: usize, stride: usize, relu: bool) {
        self.push(role, out_channels, kernel, stride, 1, relu);
    }

    fn depthwise(&mut self, role: Role, kernel: usize, stride: usize) {
        self.push(role, self.channels, kernel, stride, self.channels, true);
    }

    fn push(
        &mut self,
        role: Role,
        out_channels: usize,
        kernel: usize,
        stride: usize,
        groups: usize,
        relu: bool,
    ) {
        let layer = Layer {
            name: self.name(role),
            role,
            in_channels: self.channels,
            out_channels,
            input_size: self.size,
            kernel,
            stride,
            padding: kernel / 2,
            groups,
            weight_bits: self.weight_bits,
            activation_bits: self.activation_bits,
            signed_input: self.signed,
            relu,
            residual: false,
            first: role == Role::Stem,
        };
        (self.channels, self.size) = (out_channels, layer.output_size());
        self.signed = !relu;
        self.layers.push(layer);
    }

    fn name(&self, role: Role) -> String {
        match role {
            Role::Stem => "stem".into(),
            Role::StemDepthwise => "stem.depthwise".into(),
            Role::StemProject => "stem.project".into(),
            Role::Expand { block } => format!("block{block}.expand"),
            Role::Depthwise { block } => format!("block{block}.depthwise"),
            Role::Project { block } => format!("block{block}.project"),
            Role::Head => "head".into(),
            Role::Classifier => "classifier".into(),
            Role::Other => format!("layer{}", self.layers.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Case {
        name: &'static str,
        layers: usize,
        giga_macs: f64,
        mega_weights: f64,
    }

    /// The papers' multiply-adds and parameters, without those of batch normalisation.
    const CASES: [Case; 5] = [
        Case { name: "mobilenet-v1", layers: 28, giga_macs: 0.569, mega_weights: 4.21 },
        Case { name: "mobilenet-v2", layers: 53, giga_macs: 0.301, mega_weights: 3.47 },
        Case { name: "resnet-18", layers: 21, giga_macs: 1.814, mega_weights: 11.68 },
        Case { name: "resnet-50", layers: 54, giga_macs: 4.089, mega_weights: 25.50 },
        Case { name: "proxyless-mobile", layers: 62, giga_macs: 0.320, mega_weights: 4.03 },
    ];

    #[test]
    fn networks_have_their_published_sizes() {
        for case in CASES {
            let network = fixed(case.name, 8, 8).unwrap();
            assert_eq!(network.layers.len(), case.layers, "{}", case.name);
            let giga_macs = network.macs() as f64 * 1e-9;
            assert!((giga_macs / case.giga_macs - 1.0).abs() < 0.01, "{}: {giga_macs} GMAC", case.name);
            let weights: u64 = network.layers.iter().map(Layer::weights).sum();
            let mega_weights = weights as f64 * 1e-6;
            assert!((mega_weights / case.mega_weights - 1.0).abs() < 0.01, "{}: {mega_weights} M", case.name);
        }
    }

    #[test]
    fn layers_follow_one_another() {
        for name in names() {
            let network = fixed(name, 4, 8).unwrap();
            let mut layer_names: Vec<_> = network.layers.iter().map(|layer| &layer.name).collect();
            layer_names.sort();
            layer_names.dedup();
            assert_eq!(layer_names.len(), network.layers.len(), "{name}: names are unique");
            assert_eq!(network.layers.iter().filter(|layer| layer.first).count(), 1, "{name}");
            assert_eq!(network.layers.last().unwrap().out_channels, CLASSES, "{name}");
            assert!(network.layers.iter().all(|layer| layer.in_channels % layer.groups == 0), "{name}");
        }
    }

    #[test]
    fn widths_apply_everywhere_and_unknown_names_are_none() {
        let network = fixed("mobilenet-v2", 4, 6).unwrap();
        assert!(network.layers.iter().all(|layer| (layer.weight_bits, layer.activation_bits) == (4, 6)));
        let eight = fixed("mobilenet-v2", 8, 8).unwrap();
        assert!((eight.bitops() as f64 * 1e-9 - 19.2).abs() < 0.1, "MobileNetV2 at 8 bits is 19.2 G BitOps");
        assert_eq!(fixed("mobilenet-v9", 8, 8), None);
    }
}
