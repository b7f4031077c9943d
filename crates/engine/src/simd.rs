//! Which vector instructions the kernels use: found at run time, or forced by `SARTOR_SIMD`.

use std::sync::OnceLock;

/// An instruction set for which the kernels are compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Portable code, 8 lanes at a time.
    Scalar,
    /// Arm, 4 lanes.
    Neon,
    /// x86-64 with AVX2 and FMA, 8 lanes.
    Avx2,
    /// x86-64 with AVX-512F, 16 lanes.
    Avx512,
}

impl Level {
    /// Name, as `SARTOR_SIMD` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Neon => "neon",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }

    /// Whether this machine can run it.
    pub fn available(self) -> bool {
        match self {
            Self::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => is_x86_feature_detected!("avx512f") && Self::Avx2.available(),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => true,
            _ => false,
        }
    }

    /// Every level this machine can run, best first.
    pub fn all_available() -> impl Iterator<Item = Level> {
        [Self::Avx512, Self::Avx2, Self::Neon, Self::Scalar].into_iter().filter(|level| level.available())
    }
}

/// The level in use: the one `SARTOR_SIMD` names if this machine can run it, else the best one. Read once.
pub fn level() -> Level {
    static LEVEL: OnceLock<Level> = OnceLock::new();
    *LEVEL.get_or_init(|| choose(std::env::var("SARTOR_SIMD").ok().as_deref()))
}

fn choose(wanted: Option<&str>) -> Level {
    let named = |level: &Level| wanted.is_some_and(|name| name.eq_ignore_ascii_case(level.name()));
    let best = Level::all_available().next().unwrap_or(Level::Scalar);
    Level::all_available().find(named).unwrap_or(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_chooses_its_level_and_nonsense_the_best() {
        let best = Level::all_available().next().unwrap();
        assert_eq!(choose(Some("scalar")), Level::Scalar);
        assert_eq!(choose(Some("nonsense")), best);
        assert_eq!(choose(None), best);
        Level::all_available().for_each(|level| assert_eq!(choose(Some(level.name())), level));
    }
}
