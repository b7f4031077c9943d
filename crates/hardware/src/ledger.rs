//! # What finding a network costs
//!
//! The accounting of EMS and APQ (table 2 of both), after Strubell et al., "Energy and policy considerations for deep
//! learning in NLP", ACL 2019:
//!
//! - energy in kWh = hours × power × PUE, PUE = 1.58 (the average data centre's overhead);
//! - CO₂ in pounds = 0.954 × kWh (the average of the United States);
//! - price = hours × the cloud's range from preemptible to on-demand.
//!
//! A method pays once for what it can use again (`fixed`: supernet, pairs, predictor) and for each target (`marginal`:
//! search and fine-tuning), so its design cost is written `fixed + marginal · N`.
//!
//! The papers do not print their device's power. Their rows (200 GPU hours: 56.72 lbs and $148–$496; 300: 85.08 and
//! $222–$744) give 188.15 W and $0.74–$2.48 an hour, the latter being the range of a V100 in Strubell et al.

use serde::Serialize;

use crate::HardwareError;

/// Power usage effectiveness: energy of the data centre over energy of its computers.
pub const PUE: f64 = 1.58;
/// Pounds of CO₂ per kilowatt-hour.
pub const CO2_POUNDS_PER_KWH: f64 = 0.954;
/// Watts in a kilowatt.
const WATTS: f64 = 1000.0;

/// What computes, and what it draws and costs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// Power while it computes, in watts.
    pub watts: f64,
    /// Cheapest and dearest price of an hour, in dollars.
    pub dollars_per_hour: (f64, f64),
}

impl Device {
    /// The papers' accelerator.
    pub fn of_the_papers() -> Self {
        Self { name: "V100, as in EMS and APQ".into(), watts: 188.15, dollars_per_hour: (0.74, 2.48) }
    }

    /// A device of one's own.
    ///
    /// # Errors
    /// Power or prices that are negative or not finite, or a range upside down.
    pub fn new(name: &str, watts: f64, dollars_per_hour: (f64, f64)) -> Result<Self, HardwareError> {
        let (low, high) = dollars_per_hour;
        check("watts", watts)?;
        check("dollars per hour", low)?;
        check("dollars per hour", high)?;
        if low > high {
            let (key, expected) = ("dollars per hour".to_owned(), format!("at least {low}"));
            return Err(HardwareError::ImpossibleValue { key, expected, got: high.to_string() });
        }
        Ok(Self { name: name.to_owned(), watts, dollars_per_hour })
    }

    /// What some hours cost.
    ///
    /// # Errors
    /// Hours that are negative or not finite.
    pub fn spend(&self, hours: f64) -> Result<Spent, HardwareError> {
        check("hours", hours)?;
        let kilowatt_hours = hours * self.watts / WATTS * PUE;
        let (low, high) = self.dollars_per_hour;
        Ok(Spent {
            hours,
            kilowatt_hours,
            co2_pounds: kilowatt_hours * CO2_POUNDS_PER_KWH,
            dollars_low: hours * low,
            dollars_high: hours * high,
        })
    }

    /// The ledger of a method for some targets.
    ///
    /// # Errors
    /// Hours that are negative or not finite.
    pub fn ledger(
        &self,
        fixed_hours: f64,
        marginal_hours: f64,
        targets: u32,
    ) -> Result<Ledger, HardwareError> {
        Ok(Ledger {
            device: self.clone(),
            targets,
            fixed: self.spend(fixed_hours)?,
            marginal: self.spend(marginal_hours)?,
            total: self.spend(fixed_hours + marginal_hours * f64::from(targets))?,
        })
    }
}

/// What some hours on a device cost.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spent {
    /// Device hours.
    pub hours: f64,
    /// Energy with the data centre's overhead.
    pub kilowatt_hours: f64,
    /// Emissions in pounds of CO₂.
    pub co2_pounds: f64,
    /// Cheapest cloud price.
    pub dollars_low: f64,
    /// Dearest cloud price.
    pub dollars_high: f64,
}

/// Fixed cost, marginal cost per target, and their sum for some targets.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Ledger {
    /// What computes.
    pub device: Device,
    /// Number of targets in `total`.
    pub targets: u32,
    /// Once.
    pub fixed: Spent,
    /// For each target.
    pub marginal: Spent,
    /// For all targets together.
    pub total: Spent,
}

fn check(key: &str, number: f64) -> Result<(), HardwareError> {
    if number.is_finite() && number >= 0.0 {
        return Ok(());
    }
    let expected = "a finite number of at least 0".to_owned();
    Err(HardwareError::ImpossibleValue { key: key.to_owned(), expected, got: number.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reproduces_the_papers_table() {
        let device = Device::of_the_papers();
        let cases = [
            (200.0, "56.72 148 496"),
            (204.0, "57.85 151 506"),
            (96.0, "27.23 71 238"),
            (300.0, "85.08 222 744"),
            (40.0, "11.34 30 99"),
            (24.0, "6.81 18 60"),
            (0.5, "0.14 0 1"),
        ];
        for (hours, expected) in cases {
            let spent = device.spend(hours).unwrap();
            let got = format!("{:.2} {:.0} {:.0}", spent.co2_pounds, spent.dollars_low, spent.dollars_high);
            assert_eq!(got, expected, "{hours} h");
        }
    }

    #[test]
    fn fixed_cost_is_paid_once() {
        let ledger = Device::of_the_papers().ledger(1200.0, 0.5, 40).unwrap();
        assert_eq!(ledger.total.hours, 1220.0);
        assert_eq!(ledger.marginal.hours, 0.5);
    }

    #[test]
    fn impossible_numbers_are_refused() {
        let device = Device::of_the_papers();
        for hours in [-1.0, f64::NAN, f64::INFINITY] {
            assert!(device.spend(hours).is_err(), "{hours}");
        }
        assert!(Device::new("x", -1.0, (0.0, 1.0)).is_err());
        assert!(Device::new("x", 1.0, (2.0, 1.0)).is_err());
    }
}
