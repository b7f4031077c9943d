//! # Units
//!
//! One newtype per unit, so that a latency cannot be added to an energy. Each serialises as its bare number.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign, Mul};

use serde::{Deserialize, Serialize};

macro_rules! unit {
    ($(#[$doc:meta])* $name:ident($inner:ty), $symbol:literal, $zero:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl $name {
            /// Nothing.
            pub const ZERO: Self = Self($zero);
            /// Written after the number.
            pub const SYMBOL: &'static str = $symbol;

            /// The bare number.
            pub fn value(self) -> $inner {
                self.0
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::ZERO
            }
        }

        impl Add for $name {
            type Output = Self;
            fn add(self, other: Self) -> Self {
                Self(self.0 + other.0)
            }
        }

        impl AddAssign for $name {
            fn add_assign(&mut self, other: Self) {
                self.0 += other.0;
            }
        }

        impl Mul<u64> for $name {
            type Output = Self;
            fn mul(self, times: u64) -> Self {
                Self(self.0 * times as $inner)
            }
        }

        impl Sum for $name {
            fn sum<I: Iterator<Item = Self>>(items: I) -> Self {
                items.fold(Self::ZERO, Add::add)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, formatter)?;
                write!(formatter, " {}", $symbol)
            }
        }
    };
}

unit!(
    /// Clock cycles.
    Cycles(u64), "cycles", 0
);
unit!(
    /// Time.
    Milliseconds(f64), "ms", 0.0
);
unit!(
    /// Energy.
    Millijoules(f64), "mJ", 0.0
);
unit!(
    /// Multiply-accumulates.
    Macs(u64), "MACs", 0
);
unit!(
    /// MACs × weight bits × activation bits.
    BitOps(u64), "BitOps", 0
);
unit!(
    /// Stored numbers: weights and biases.
    Parameters(u64), "parameters", 0
);
unit!(
    /// Storage.
    Bytes(u64), "bytes", 0
);
unit!(
    /// Data moved.
    Bits(u64), "bits", 0
);

impl Cycles {
    /// How long they take at a clock in MHz.
    pub fn at(self, clock_mhz: f64) -> Milliseconds {
        Milliseconds(self.0 as f64 / (clock_mhz * 1e3))
    }
}

impl Millijoules {
    /// From nanojoules.
    pub fn from_nanojoules(nanojoules: f64) -> Self {
        Self(nanojoules * 1e-6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cycles_become_time_at_a_clock() {
        assert_eq!(Cycles(500_000).at(500.0), Milliseconds(1.0));
    }

    #[test]
    fn units_print_with_their_symbol_and_precision() {
        assert_eq!(format!("{:.2}", Milliseconds(9.0986)), "9.10 ms");
        assert_eq!(Bytes(12).to_string(), "12 bytes");
    }

    #[test]
    fn units_serialise_as_bare_numbers() {
        assert_eq!(serde_json::to_string(&Millijoules(1.5)).unwrap(), "1.5");
    }

    #[test]
    fn sums_and_multiples() {
        let total: Cycles = [Cycles(1), Cycles(2) * 3].into_iter().sum();
        assert_eq!(total, Cycles(7));
    }
}
