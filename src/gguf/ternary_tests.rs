//! Claims about block types: bytes and numbers are those of the package `gguf`, and codes come back exactly.

use super::ternary::{append_codes, read_codes};
use super::{TensorType, append_floats, has_floats, read_floats};
use proptest::prelude::*;
use serde::Deserialize;
use std::path::Path;

const TERNARY: [TensorType; 3] = [TensorType::Tq1_0, TensorType::Tq2_0, TensorType::I2S];

/// Blocks as tests/reference/make_gguf_reference.py recorded them.
#[derive(Deserialize)]
struct Recorded {
    #[serde(rename = "type")]
    kind: String,
    /// What was stored; none for a type that the package only reads.
    input: Option<Vec<f32>>,
    values: Vec<f32>,
    bytes: String,
}

fn recorded() -> Vec<(TensorType, Recorded, Vec<u8>)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/gguf_blocks.json");
    let all: Vec<Recorded> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let bytes = |text: &str| (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect();
    let kind = |name: &str| (0..64).filter_map(TensorType::of_id).find(|kind| kind.name() == name).unwrap();
    all.into_iter().map(|entry| (kind(&entry.kind), bytes(&entry.bytes), entry)).map(|(kind, bytes, entry)| (kind, entry, bytes)).collect()
}

#[test]
fn ternary_blocks_are_those_of_the_package_gguf() {
    let mut seen = Vec::new();
    for (kind, Recorded { values, .. }, bytes) in recorded().into_iter().filter(|(kind, ..)| kind.is_ternary()) {
        let codes: Vec<i8> = values.iter().map(|value| (value / 0.75) as i8).collect();
        let read = read_codes(kind, &bytes, codes.len()).unwrap();
        assert_eq!((&read.codes, read.scale), (&codes, 0.75), "{}", kind.name());
        let mut written = Vec::new();
        append_codes(kind, &codes, 0.75, &mut written).unwrap();
        assert_eq!(written, bytes, "{}", kind.name());
        seen.push(kind);
    }
    assert_eq!(seen, [TensorType::Tq1_0, TensorType::Tq2_0]);
}

#[test]
fn blocks_of_numbers_are_those_of_the_package_gguf() {
    let mut num_seen = 0;
    for (kind, Recorded { input, values, .. }, bytes) in recorded().into_iter().filter(|(kind, ..)| has_floats(*kind)) {
        let block = kind.block_length() as usize;
        for (start, count) in [(0, values.len()), (block, values.len() - block), (values.len() - block, block), (0, 1)] {
            let mut numbers = vec![0.0; count];
            read_floats(kind, &bytes, start, &mut numbers).unwrap();
            assert_eq!(numbers, values[start..start + count], "{}", kind.name());
        }
        if let Some(input) = input.filter(|_| kind != TensorType::Q4_0) {
            let mut written = Vec::new();
            append_floats(kind, &input, &mut written).unwrap();
            assert_eq!(written, bytes, "{}", kind.name());
        }
        num_seen += 1;
    }
    assert_eq!(num_seen, 5);
}

#[test]
fn i2_s_has_the_layout_described() {
    // Numbers 1, 33, 65 and 97 share byte 1, the first in the highest bits; the scale stands behind all blocks.
    let mut codes = vec![0; 256];
    for (at, code) in [(1, -1), (33, 1), (65, 0), (97, 1), (128 + 31, 1)] {
        codes[at] = code;
    }
    let mut bytes = Vec::new();
    append_codes(TensorType::I2S, &codes, 0.1, &mut bytes).unwrap();
    let mut expected = vec![0b01_01_01_01; 64];
    expected[1] = 0b00_10_01_10;
    expected[32 + 31] = 0b10_01_01_01;
    expected.extend(0.1f32.to_le_bytes());
    expected.resize(64 + 32, 0);
    assert_eq!(bytes, expected);
}

#[test]
fn blocks_with_different_scales_are_refused_but_those_of_zeros_may_have_none() {
    for kind in [TensorType::Tq1_0, TensorType::Tq2_0] {
        let matrix = |parts: &[(i8, u16)]| -> Vec<u8> {
            let mut bytes = Vec::new();
            for (code, scale) in parts {
                append_codes(kind, &[*code; 256], 1.0, &mut bytes).unwrap();
                let at = bytes.len() - 2;
                bytes[at..].copy_from_slice(&scale.to_le_bytes());
            }
            bytes
        };
        let (one, two, none, nan, negative) = (0x3c00, 0x4000, 0, 0x7e00, 0xbc00);
        let read = |parts: &[(i8, u16)]| read_codes(kind, &matrix(parts), 256 * parts.len());
        assert_eq!(read(&[(0, none), (1, two), (0, none), (-1, two)]).unwrap().scale, 2.0);
        assert_eq!(read(&[(0, none), (0, none)]).unwrap().scale, 1.0);
        let message = read(&[(1, one), (0, none), (-1, two)]).unwrap_err().to_string();
        assert!(message.contains("blocks 0 and 2 have the scales 1 and 2"), "{message}");
        for scale in [none, nan, negative, 0x7c00] {
            assert!(read(&[(1, scale)]).unwrap_err().to_string().contains("the scale of block 0"));
        }
    }
}

#[test]
fn bits_that_are_no_code_and_scales_that_are_none_are_refused() {
    for (kind, at) in [(TensorType::Tq2_0, 37), (TensorType::I2S, 37)] {
        let mut bytes = Vec::new();
        append_codes(kind, &[1; 256], 1.0, &mut bytes).unwrap();
        bytes[at] |= 0b11 << 4;
        let message = read_codes(kind, &bytes, 256).unwrap_err().to_string();
        let number = if kind == TensorType::I2S { 128 + 32 + 5 } else { 128 + 64 + 5 };
        assert!(message.contains(&format!("number {number} is bits 3")), "{message}");
    }
    for kind in TERNARY {
        for scale in [0.0, -1.0, f32::NAN, f32::INFINITY] {
            assert!(append_codes(kind, &[1; 256], scale, &mut Vec::new()).unwrap_err().to_string().contains("the scale"));
        }
        assert!(append_codes(kind, &[0; 255], 1.0, &mut Vec::new()).is_err());
        assert!(append_codes(kind, &[2; 256], 1.0, &mut Vec::new()).unwrap_err().to_string().contains("code 0 is 2"));
        assert_eq!(append_codes(kind, &[1; 256], 1e-9, &mut Vec::new()).is_ok(), kind == TensorType::I2S);
        assert_eq!(append_codes(kind, &[1; 256], 1e6, &mut Vec::new()).is_ok(), kind == TensorType::I2S);
    }
    let mut i2_s = Vec::new();
    append_codes(TensorType::I2S, &[1; 128], 1.0, &mut i2_s).unwrap();
    i2_s[32..36].copy_from_slice(&f32::NAN.to_le_bytes());
    assert!(read_codes(TensorType::I2S, &i2_s, 128).unwrap_err().to_string().contains("the scale is NaN"));
}

#[test]
fn numbers_beyond_a_type_are_refused() {
    for kind in [TensorType::F16, TensorType::Q8_0] {
        assert!(append_floats(kind, &[1e9; 32], &mut Vec::new()).unwrap_err().to_string().contains("beyond the numbers"));
    }
    assert!(append_floats(TensorType::F32, &[f32::NAN], &mut Vec::new()).is_err());
    assert!(append_floats(TensorType::Q8_0, &[1.0; 33], &mut Vec::new()).is_err());
    assert!(append_floats(TensorType::Q6K, &[1.0; 256], &mut Vec::new()).is_err());
    assert!(read_floats(TensorType::Tq2_0, &[0; 66], 0, &mut [0.0; 256]).is_err());
    assert!(read_floats(TensorType::F32, &[0; 8], 1, &mut [0.0; 2]).is_err());
}

proptest! {
    #[test]
    fn codes_come_back_exactly(num_blocks in 0usize..5, seed in any::<u64>(), bits in 1u16..0x7bff) {
        let codes: Vec<i8> = (0..256 * num_blocks as u64).map(|at| (at.wrapping_add(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as i8 % 2).collect();
        let scale = half::f16::from_bits(bits).to_f32();
        for kind in TERNARY {
            let mut bytes = Vec::new();
            append_codes(kind, &codes, scale, &mut bytes).unwrap();
            if num_blocks > 0 {
                prop_assert_eq!(bytes.len() as u64, kind.num_bytes(&[codes.len() as u64]).unwrap());
                let read = read_codes(kind, &bytes, codes.len()).unwrap();
                prop_assert_eq!((&read.codes, read.scale), (&codes, scale));
            }
        }
    }

    #[test]
    fn arbitrary_blocks_are_codes_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 270)) {
        for kind in TERNARY {
            let width = kind.num_bytes(&[256]).unwrap() as usize;
            if let Ok(read) = read_codes(kind, &bytes[..width], 256) {
                prop_assert!(read.codes.iter().all(|code| (-1..=1).contains(code)) && read.scale > 0.0);
            }
        }
        for kind in [TensorType::Q4_0, TensorType::Q8_0, TensorType::Q6K] {
            let width = kind.num_bytes(&[kind.block_length()]).unwrap() as usize;
            read_floats(kind, &bytes[..width], 0, &mut vec![0.0; kind.block_length() as usize]).unwrap();
        }
    }
}
