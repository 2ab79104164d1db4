//! The reference quantizers against what PyTorch recorded (tests/reference/README.md), against hand calculations, and the exact integer
//! forward against float64. Needs no libtorch.

use bitnet::ternary::activations::{int4_absmean, int8_absmax};
use bitnet::ternary::packing::{pack, unpack};
use bitnet::ternary::product::forward;
use bitnet::ternary::statistics::code_shares;
use bitnet::ternary::weights::{TernaryMatrix, sign, ternary_absmean};
use safetensors::{Dtype, SafeTensors};
use std::collections::BTreeSet;

/// The recorded file, parsed.
struct Recorded(SafeTensors<'static>);

impl Recorded {
    fn open() -> Self {
        static BYTES: &[u8] = include_bytes!("reference/quantizers.safetensors");
        Self(SafeTensors::deserialize(BYTES).unwrap())
    }

    /// Names of the matrices that quantizers were recorded for.
    fn cases(&self) -> BTreeSet<String> {
        self.0.names().iter().filter_map(|name| name.strip_suffix("/input")).map(str::to_owned).collect()
    }

    fn shape(&self, name: &str) -> Vec<usize> {
        self.0.tensor(name).unwrap().shape().to_vec()
    }

    fn bytes(&self, name: &str) -> &[u8] {
        self.0.tensor(name).unwrap().data()
    }

    fn codes(&self, name: &str) -> Vec<i8> {
        self.bytes(name).iter().map(|&byte| byte as i8).collect()
    }

    fn has(&self, name: &str) -> bool {
        self.0.tensor(name).is_ok()
    }

    /// Float32, or bfloat16 widened.
    fn floats(&self, name: &str) -> Vec<f32> {
        match self.0.tensor(name).unwrap().dtype() {
            Dtype::BF16 => self.bytes(name).chunks_exact(2).map(|two| f32::from_bits(u32::from_le_bytes([0, 0, two[0], two[1]]))).collect(),
            Dtype::F32 => self.bytes(name).chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect(),
            other => panic!("{name} is {other:?}"),
        }
    }
}

/// Codes, scales and values of every row, one after the other.
#[derive(Default)]
struct Rows {
    codes: Vec<i8>,
    scales: Vec<f32>,
    values: Vec<f32>,
}

fn matrix_as_rows(matrix: TernaryMatrix) -> Rows {
    Rows { values: matrix.values(), scales: vec![matrix.scale], codes: matrix.codes }
}

fn int8_rows(input: &[f32], num_columns: usize) -> Rows {
    let mut rows = Rows::default();
    for row in input.chunks_exact(num_columns).map(|row| int8_absmax(row).unwrap()) {
        rows.values.extend(row.values());
        rows.codes.extend(&row.codes);
        rows.scales.push(row.scale);
    }
    rows
}

fn int4_rows(input: &[f32], num_columns: usize) -> Rows {
    let mut rows = Rows::default();
    for row in input.chunks_exact(num_columns).map(|row| int4_absmean(row).unwrap()) {
        rows.values.extend(row.values());
        rows.codes.extend(&row.codes);
        rows.scales.push(row.mean_magnitude);
    }
    rows
}

/// Compares a quantizer with the record of every case: codes, scales and values must all be equal to the last bit (0 equals -0).
fn assert_equals_the_record(quantizer: &str, quantize: impl Fn(&[f32], usize) -> Rows) {
    let recorded = Recorded::open();
    assert_eq!(recorded.cases().len(), 16);
    for case in recorded.cases() {
        let path = |what: &str| format!("{case}/{quantizer}/{what}");
        let num_columns = recorded.shape(&format!("{case}/input"))[1];
        let rows = quantize(&recorded.floats(&format!("{case}/input")), num_columns);
        assert_eq!(rows.codes, recorded.codes(&path("codes")), "codes of {case}");
        assert_eq!(rows.scales, recorded.floats(&path("scale")), "scales of {case}");
        if recorded.has(&path("values")) {
            assert_eq!(rows.values, recorded.floats(&path("values")), "values of {case}");
        }
    }
}

#[test]
fn ternary_absmean_equals_pytorch_to_the_last_bit() {
    assert_equals_the_record("ternary_absmean", |input, _| matrix_as_rows(ternary_absmean(input).unwrap()));
}

#[test]
fn sign_equals_pytorch_to_the_last_bit() {
    assert_equals_the_record("sign", |input, _| matrix_as_rows(sign(input).unwrap()));
}

#[test]
fn int8_absmax_equals_pytorch_to_the_last_bit() {
    assert_equals_the_record("int8_absmax", int8_rows);
}

#[test]
fn int4_absmean_equals_pytorch_to_the_last_bit() {
    assert_equals_the_record("int4_absmean", int4_rows);
}

#[test]
fn means_are_within_2_ulp_of_pytorchs_own_float32_sums() {
    let recorded = Recorded::open();
    for case in recorded.cases() {
        let input = recorded.floats(&format!("{case}/input"));
        let scale = sign(&input).unwrap().scale;
        let in_float32 = recorded.floats(&format!("{case}/mean_float32"))[0];
        assert!(scale.to_bits().abs_diff(in_float32.to_bits()) <= 2, "{case}: {scale:e} and {in_float32:e}");
        let rows = int4_rows(&input, recorded.shape(&format!("{case}/input"))[1]);
        for (scale, in_float32) in rows.scales.iter().zip(recorded.floats(&format!("{case}/row_mean_float32"))) {
            assert!(scale.to_bits().abs_diff(in_float32.to_bits()) <= 2, "{case}: {scale:e} and {in_float32:e}");
        }
    }
}

#[test]
fn halves_round_to_the_even_code() {
    // mean|W| is 1, so the first two weights lie on the border between 0 and 1.
    assert_eq!(ternary_absmean(&[0.5, -0.5, 1.5, -1.5]).unwrap().codes, [0, 0, 1, -1]);
    // The largest magnitude is 127, so the scale is 1.
    assert_eq!(int8_absmax(&[127.0, 0.5, 1.5, 2.5, -2.5]).unwrap().codes, [127, 0, 2, 2, -2]);
}

#[test]
fn quantizers_by_hand() {
    let ternary = ternary_absmean(&[0.75, -0.25, 0.0, -3.0]).unwrap();
    assert_eq!((ternary.codes.as_slice(), ternary.scale), ([1, 0, 0, -1].as_slice(), 1.0));
    assert_eq!(ternary.values(), [1.0, 0.0, 0.0, -1.0]);
    let binary = sign(&[1.0, 2.0, 3.0, 6.0, 3.0]).unwrap();
    assert_eq!((binary.codes.as_slice(), binary.scale), ([-1, -1, 0, 1, 0].as_slice(), 3.0));
    let eight = int8_absmax(&[0.5, -0.25, 0.0]).unwrap();
    assert_eq!((eight.codes.as_slice(), eight.scale), ([127, -64, 0].as_slice(), 254.0));
    // β is 1, so codes are √7 = 2.65 times the input, at most 7 and at least -8.
    let four = int4_absmean(&[0.1, -0.2, 0.5, 0.2, -5.0, 0.0, 0.0, 2.0]).unwrap();
    assert_eq!((four.codes.as_slice(), four.mean_magnitude), ([0, -1, 1, 1, -8, 0, 0, 5].as_slice(), 1.0));
}

#[test]
fn the_least_scale_holds_for_zeros_and_subnormals() {
    for tiny in [0.0, 1e-40, -1e-34, f32::from_bits(1)] {
        assert_eq!(ternary_absmean(&[tiny; 3]).unwrap(), TernaryMatrix { codes: vec![0; 3], scale: 1e-5 });
        assert_eq!(int8_absmax(&[tiny; 3]).unwrap().scale, 127.0 / 1e-5);
    }
    assert_eq!(int4_absmean(&[0.0; 3]).unwrap().codes, [0; 3]);
    // The mean of these rounds to 0 although one of them is not.
    let mut row = [0.0; 3];
    row[1] = f32::from_bits(1);
    assert_eq!(int4_absmean(&row).unwrap().values(), [0.0; 3]);
}

#[test]
fn the_largest_floats_do_not_overflow() {
    assert_eq!(ternary_absmean(&[f32::MAX, -f32::MAX]).unwrap(), TernaryMatrix { codes: vec![1, -1], scale: f32::MAX });
    let row = int8_absmax(&[f32::MAX, -f32::MAX, 1.0]).unwrap();
    assert_eq!(row.codes, [127, -127, 0]);
    assert!(row.values().iter().all(|value| value.is_finite()));
}

#[test]
fn what_is_not_finite_is_named_and_nothing_is_refused() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let row = [1.0, value, 2.0];
        for error in [ternary_absmean(&row).unwrap_err(), sign(&row).unwrap_err()] {
            assert!(error.to_string().starts_with(&format!("weight 1 is {value}")), "{error}");
        }
        for error in [int8_absmax(&row).unwrap_err(), int4_absmean(&row).unwrap_err()] {
            assert!(error.to_string().starts_with(&format!("activation 1 is {value}")), "{error}");
        }
    }
    assert!(ternary_absmean(&[]).is_err() && sign(&[]).is_err() && int8_absmax(&[]).is_err() && int4_absmean(&[]).is_err());
}

#[test]
fn normal_weights_have_34_5_31_0_and_34_5_percent_of_the_codes() {
    for deviation in [0.02, 1.5] {
        let shares = code_shares(&ternary_absmean(&normal(1_000_000, deviation)).unwrap().codes).unwrap();
        assert!((shares.negative - 0.345).abs() < 0.002, "{shares:?}");
        assert!((shares.zero - 0.310).abs() < 0.002, "{shares:?}");
        assert!((shares.positive - 0.345).abs() < 0.002, "{shares:?}");
    }
}

#[test]
fn dequantized_weights_quantized_again_lose_the_share_of_zeros_from_their_scale() {
    let once = ternary_absmean(&normal(100_000, 0.02)).unwrap();
    let twice = ternary_absmean(&once.values()).unwrap();
    assert!((twice.scale / once.scale - 0.69).abs() < 0.005);
}

#[test]
fn packing_equals_the_recorded_bytes_in_every_shape() {
    let recorded = Recorded::open();
    let names: Vec<String> = recorded.0.names().iter().filter_map(|name| name.strip_suffix("/packed")).map(str::to_owned).collect();
    assert_eq!(names.len(), 6);
    for name in names {
        let (shape, codes) = (recorded.shape(&format!("{name}/codes")), recorded.codes(&format!("{name}/codes")));
        let bytes = recorded.bytes(&format!("{name}/packed"));
        assert_eq!(pack(&codes, shape[0], shape[1]).unwrap(), bytes, "{name}");
        assert_eq!(unpack(bytes, shape[0], shape[1]).unwrap(), codes, "{name}");
    }
}

#[test]
fn the_integer_forward_equals_a_float64_product_of_dequantized_numbers() {
    let (num_tokens, num_outputs, input_size) = (3, 17, 5460);
    let rows: Vec<_> = normal(num_tokens * input_size, 1.0).chunks_exact(input_size).map(|row| int8_absmax(row).unwrap()).collect();
    let weights = ternary_absmean(&normal(num_outputs * input_size, 0.02)).unwrap();
    let outputs = forward(&rows, &weights).unwrap();
    assert_eq!(outputs.len(), num_tokens * num_outputs);
    for (index, output) in outputs.iter().enumerate() {
        let (row, outgoing) = (&rows[index / num_outputs], &weights.codes[index % num_outputs * input_size..][..input_size]);
        let activations = row.codes.iter().map(|&code| f64::from(code) / f64::from(row.scale));
        let exact: f64 = activations.zip(outgoing).map(|(activation, &code)| activation * f64::from(code) * f64::from(weights.scale)).sum();
        assert!((f64::from(*output) - exact).abs() <= 2e-7 * exact.abs(), "output {index}: {output} and {exact}");
    }
}

/// Normal numbers by Box and Muller from a linear congruential generator (Knuth's MMIX constants), the same in every run.
fn normal(count: usize, deviation: f32) -> Vec<f32> {
    let mut state = 1u64;
    let mut uniform = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((state >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    };
    let pair = |_| ((-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos()) as f32 * deviation;
    (0..count).map(pair).collect()
}
