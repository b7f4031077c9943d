//! Real numbers of a constant, from any of ONNX's float types.

use crate::onnx::message::{DataType, TensorData};

const FLOAT: i32 = DataType::Float as i32;
const FLOAT16: i32 = DataType::Float16 as i32;
const BRAIN_FLOAT16: i32 = DataType::BrainFloat16 as i32;
const DOUBLE: i32 = DataType::Double as i32;

/// The numbers in single precision; `None` for a type that is no float.
pub(super) fn reals(data: &TensorData) -> Option<Vec<f32>> {
    let raw = data.raw_data.as_deref().filter(|raw| !raw.is_empty());
    Some(match data.data_type? {
        FLOAT => raw.map_or_else(|| data.float_data.clone(), |raw| each(raw, f32::from_le_bytes)),
        DOUBLE => match raw {
            Some(raw) => each(raw, |bytes| f64::from_le_bytes(bytes) as f32),
            None => data.double_data.iter().map(|&number| number as f32).collect(),
        },
        FLOAT16 => short(data, raw, from_half),
        BRAIN_FLOAT16 => short(data, raw, |bits| f32::from_bits(u32::from(bits) << 16)),
        _ => return None,
    })
}

fn each<const N: usize>(raw: &[u8], real: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    raw.as_chunks().0.iter().map(|bytes| real(*bytes)).collect()
}

/// 16-bit numbers; the low halves of 32-bit integers where they are not raw.
fn short(data: &TensorData, raw: Option<&[u8]>, real: impl Fn(u16) -> f32) -> Vec<f32> {
    match raw {
        Some(raw) => each(raw, |bytes| real(u16::from_le_bytes(bytes))),
        None => data.int32_data.iter().map(|&bits| real(bits as u16)).collect(),
    }
}

/// IEEE 754 half precision: sign, 5 bits of exponent, 10 of fraction.
fn from_half(bits: u16) -> f32 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f32::from(bits & 1023));
    let magnitude = match exponent {
        0 => fraction * 2f32.powi(-24),
        31 if fraction == 0.0 => f32::INFINITY,
        31 => f32::NAN,
        _ => (1024.0 + fraction) * 2f32.powi(exponent - 25),
    };
    if bits >> 15 == 1 { -magnitude } else { magnitude }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_float_type_is_read_raw_and_as_a_list() {
        let wanted = [1.5f32, -0.25, 0.0, 96.0];
        let half = [0x3e00u16, 0xb400, 0, 0x5600];
        let brain = wanted.map(|number| (number.to_bits() >> 16) as u16);
        let bytes = |bits: [u16; 4]| bits.iter().flat_map(|bits| bits.to_le_bytes()).collect::<Vec<u8>>();
        let list = |bits: [u16; 4]| bits.map(i32::from).to_vec();
        let raw = |kind, raw| TensorData { data_type: Some(kind), raw_data: Some(raw), ..Default::default() };
        let doubles = wanted.map(f64::from);
        let plain = TensorData::default;
        for data in [
            raw(FLOAT, wanted.iter().flat_map(|number| number.to_le_bytes()).collect()),
            TensorData { data_type: Some(FLOAT), float_data: wanted.to_vec(), ..plain() },
            raw(DOUBLE, doubles.iter().flat_map(|number| number.to_le_bytes()).collect()),
            TensorData { data_type: Some(DOUBLE), double_data: doubles.to_vec(), ..plain() },
            raw(FLOAT16, bytes(half)),
            TensorData { data_type: Some(FLOAT16), int32_data: list(half), ..plain() },
            raw(BRAIN_FLOAT16, bytes(brain)),
            TensorData { data_type: Some(BRAIN_FLOAT16), int32_data: list(brain), ..plain() },
        ] {
            assert_eq!(reals(&data).as_deref(), Some(&wanted[..]), "{data:?}");
        }
        assert_eq!(reals(&raw(DataType::Int64 as i32, vec![0; 8])), None);
    }

    #[test]
    fn half_precision_has_its_extremes() {
        for (bits, wanted) in [
            (0x0001, 5.960_464_5e-8),
            (0x0400, 6.103_515_6e-5),
            (0x7bff, 65504.0),
            (0xfc00, f32::NEG_INFINITY),
        ] {
            assert_eq!(from_half(bits), wanted, "{bits:#x}");
        }
        assert!(from_half(0x7e00).is_nan());
    }
}
