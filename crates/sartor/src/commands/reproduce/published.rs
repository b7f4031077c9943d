//! What the papers printed, for the columns of their own. Their images, supernet and network sizes are not ours.

/// One printed row.
#[derive(Debug, Clone, Copy)]
pub struct Published {
    /// The figure it belongs to.
    pub figure: &'static str,
    /// The arm that it corresponds to.
    pub arm: &'static str,
    /// As printed.
    pub name: &'static str,
    /// Top-1 in percent.
    pub top1: f64,
    /// Milliseconds.
    pub latency_ms: Option<f64>,
    /// Millijoules.
    pub energy_mj: Option<f64>,
    /// 10⁹ BitOps.
    pub giga_bitops: Option<f64>,
    /// GPU hours for one more target.
    pub gpu_hours: Option<f64>,
}

const fn ems(
    arm: &'static str,
    name: &'static str,
    top1: f64,
    costs: (Option<f64>, Option<f64>, Option<f64>),
    gpu_hours: Option<f64>,
) -> Published {
    let (latency_ms, energy_mj, giga_bitops) = costs;
    Published { figure: "table2", arm, name, top1, latency_ms, energy_mj, giga_bitops, gpu_hours }
}

const fn gong(
    figure: &'static str,
    arm: &'static str,
    name: &'static str,
    error: f64,
    energy: f64,
) -> Published {
    Published {
        figure,
        arm,
        name,
        top1: 100.0 - error,
        latency_ms: None,
        energy_mj: Some(energy),
        giga_bitops: None,
        gpu_hours: None,
    }
}

/// EMS, table 2 (ImageNet); Gong and others, tables III and IV (CIFAR-100, batch 16).
pub const PUBLISHED: &[Published] = &[
    ems("uniform-8", "MobileNetV2 - 8bit", 71.8, (Some(9.10), Some(12.46), Some(19.2)), None),
    ems("haq", "MobileNetV2 + HAQ", 71.9, (Some(8.93), Some(11.82), None), Some(96.0)),
    ems("sequential", "ProxylessNAS + AMC + HAQ", 71.8, (Some(8.45), Some(8.84), None), Some(300.0)),
    ems("spos", "SinglePathNAS", 74.6, (None, None, Some(51.9)), Some(24.0)),
    ems("apq-scratch", "Ours-A (w/o transfer)", 72.1, (Some(8.85), Some(11.79), Some(13.2)), Some(0.5)),
    ems("apq", "Ours-B (w/ transfer)", 74.1, (Some(8.42), Some(12.11), Some(16.5)), Some(0.5)),
    gong("gong-table3", "uniform-8", "MobileNetV2, 8-bit", 21.85, 5.09),
    gong("gong-table3", "haq", "HAQ-small", 22.93, 1.17),
    gong("gong-table3", "gong", "ours-small", 22.16, 1.00),
    gong("gong-table4", "nas-then-bits", "NAS+Quantization (Small)", 22.34, 1.04),
    gong("gong-table4", "gong", "ours-small", 22.16, 1.00),
];

/// The printed row of an arm.
pub fn of(figure: &str, arm: &str) -> Option<&'static Published> {
    PUBLISHED.iter().find(|row| row.figure == figure && row.arm == arm)
}
